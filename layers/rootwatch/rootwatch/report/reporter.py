"""The report by the clock: made, kept in the bucket, and told where to find it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

from rootwatch.audit.items import DeliveryState, KeptReport
from rootwatch.audit.store import AuditStore
from rootwatch.channels.notice import Notice, make_notice
from rootwatch.delivery import Sent, Unconfigured
from rootwatch.errors import DeliveryError, DeliveryFailedError, ReportError
from rootwatch.report.aggregate import Reading
from rootwatch.report.files import Written, file_name, sha256_of, write_report
from rootwatch.report.model import Origin, counted, month_before, period_of
from rootwatch.report.posture import Postures, RootCredentials

CONTENT_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
}
MOST_TOLD: Final = 8
"""Kinds of exception that the summary names."""
OTHERS_NOT_READ: Final = "not read (the stack's parameter MemberPosture is false)"
NO_OTHERS: Final = "there are none"
_ACCOUNT: Final = re.compile(r"[0-9]{12}", re.ASCII)
_CONSOLES: Final = {"aws-cn": "console.amazonaws.cn", "aws-us-gov": "console.amazonaws-us-gov.com"}
"""https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html"""


def asked_for(event: object, request_id: str) -> tuple[object, str]:
    """Return the month that the function's event names, if any, and the name of the run that it belongs to.

    The run's name is the same for every repetition: Lambda repeats a failed invocation under the same request id, and
    EventBridge may hand over one event twice.
    """
    asked = event if isinstance(event, dict) else {}
    is_scheduled = "detail-type" in asked and isinstance(asked.get("id"), str)
    return asked.get("month"), asked["id"] if is_scheduled else request_id


@dataclass(frozen=True, slots=True)
class Reporter:
    """Makes the report of a month, keeps it and tells of it.

    `put` keeps a file of this content type under its name; `address` is where a kept file is found; `credentials` reads
    the account's own credential report, and raises `ReportError` where it cannot; `members` reads those of others, and
    says of each why it could not, None where nobody may; `tell` are the channels.
    """

    store: AuditStore
    stack_name: str
    account_id: str
    names: Mapping[str, str]
    acknowledge_within: timedelta
    now: Callable[[], datetime]
    put: Callable[[Path, str], None]
    address: Callable[[str], str]
    credentials: Callable[[], RootCredentials]
    tell: Mapping[str, Callable[[Notice], Sent | Unconfigured]]
    members: Callable[[Sequence[str]], tuple[Mapping[str, RootCredentials], Mapping[str, str]]] | None = None

    def report(self, month: object = None, run: str = "") -> dict[str, Any]:
        """Report a month (`2026-11`), by default the one before now, and return what was kept and found.

        The page, which people open, is kept last, and nobody is told before all of it is kept. Each channel's receipt
        is kept as soon as it has taken the summary, so that a repetition of the same run keeps the same again and tells
        only where it was not told; another run tells it everywhere. A receipt that could not be kept lets it be told
        twice.

        Args:
            month: which month.
            run: names the invocation and its repetitions; empty for one that is told in any case.

        Raises:
            ReportError: there is no such month, or it has not begun; no retry helps before it has.
            StoreError: the table did not answer; a retry helps.
            DeliveryFailedError: the bucket or a channel did not take it; a retry helps.

        """
        now = self.now().replace(microsecond=0)
        if month is not None and not isinstance(month, str):
            message = "Expected is a month such as 2026-11."
            raise ReportError(message)
        period = period_of(month or month_before(now), now)
        reading = Reading(
            self.store,
            Origin.TABLE,
            self.names,
            acknowledge_within=self.acknowledge_within,
            read_postures=self._postures,
        )
        with TemporaryDirectory() as folder:
            written = write_report(reading, period, Path(folder), now)
            hashes = {path.name: sha256_of(path) for path in written.paths}
            for path in written.paths:
                self.put(path, CONTENT_TYPES[path.suffix])
        known = self._known(period.name, run) or KeptReport(period.name, run, now)
        failed = self._tell_all(self._summary(written, hashes, now), self.store.write_kept_report(known))
        if failed:
            message = f"The report is kept, but {', '.join(failed)} did not take its summary."
            raise DeliveryFailedError(message)
        return {
            "month": period.name,
            "objects": list(hashes),
            "verdict": written.report.verdict,
            "exceptions": {str(each.kind): each.count for each in written.report.exceptions},
        }

    def _postures(self, accounts: Sequence[str]) -> Postures:
        """Read what IAM says of root here and, where that is allowed, in these accounts.

        What cannot be read, the report says on its first page.
        """
        found: dict[str, RootCredentials] = {}
        not_read: dict[str, str] = {}
        try:
            own = self.credentials()
            found[own.account_id] = own
        except ReportError as error:
            not_read[self.account_id] = str(error)
        if self.members is None:
            return Postures(found, OTHERS_NOT_READ, not_read)
        others = [each for each in accounts if _ACCOUNT.fullmatch(each) and each != self.account_id]
        of_others, others_not_read = self.members(others)
        return Postures({**found, **of_others}, NO_OTHERS, {**not_read, **others_not_read})

    def _known(self, month: str, run: str) -> KeptReport | None:
        """Return what became of the month's report in this run; None in its first try, or where nobody can tell."""
        [known] = self.store.kept_reports([month])
        return known if isinstance(known, KeptReport) and run and known.run == run else None

    def _tell_all(self, notice: Notice, kept: KeptReport) -> list[str]:
        """Tell every channel that has no receipt yet, and keep its receipt; return those that did not take it."""
        failed = []
        for channel, tell in self.tell.items():
            if channel in kept.told:
                continue
            try:
                taken = tell(notice)
            except DeliveryError as error:
                failed.append(f"{channel} ({error})")
                continue
            state = DeliveryState.SENT if isinstance(taken, Sent) else DeliveryState.UNCONFIGURED
            told = MappingProxyType({**kept.told, channel: state})
            kept = self.store.write_kept_report(replace(kept, told=told))
        return failed

    def _summary(self, written: Written, hashes: Mapping[str, str], now: datetime) -> Notice:
        report = written.report
        total = sum(each.count for each in report.exceptions)
        found = [f"{each.title}: {each.count:,}" for each in report.exceptions[:MOST_TOLD]]
        more = len(report.exceptions) - len(found)
        paragraphs = [report.verdict]
        if found:
            paragraphs.append("; ".join(found) + (f"; and {counted(more, 'other kind')}" if more else "") + ".")
        # Whoever holds the message can tell whether a file is the one that was made, without a word of ours.
        paragraphs.append(f"SHA-256: {'; '.join(f'{name} {sha256}' for name, sha256 in hashes.items())}.")
        paragraphs.append("The links need access to the console of the account that Rootwatch runs in.")
        kinds = {"html": "Open the report", "csv": "The register as CSV"}
        links = [(words, self.address(file_name(report.period, kind))) for kind, words in kinds.items()]
        uses = counted(report.use_count, "use")
        headline = f"Root usage in {report.period.title}: {uses}, {counted(total, 'exception')}"
        return make_notice(headline, paragraphs, now, urgent=not report.is_clean, links=links)


def console_address(arn: str, region: str, bucket: str, name: str) -> str:
    """Return where the console shows an object, from where whoever may read it opens it.

    Args:
        arn: any ARN of the stack: its partition decides which console it is.
        region: the bucket's region.
        bucket: the bucket's name.
        name: the object's key.

    """
    partition = arn.split(":")[1] if arn.count(":") > 1 else "aws"
    console = _CONSOLES.get(partition) or f"{region}.console.aws.amazon.com"
    return f"https://{console}/s3/object/{quote(bucket)}?region={quote(region)}&prefix={quote(name, safe='')}"
