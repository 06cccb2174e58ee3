"""`rootwatch report`: the monthly report, from a deployed table or from record files."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from rootwatch.alert import visible
from rootwatch.audit.memory import MemoryTable
from rootwatch.audit.store import AuditStore
from rootwatch.context.declared_use import DeclaredUse
from rootwatch.detections.detection import OwnResources
from rootwatch.errors import DeclarationError, ReportError
from rootwatch.pipeline import Clock, Recorder, ReplaySummary
from rootwatch.pipeline import replay as replay_records
from rootwatch.report.aggregate import Reading
from rootwatch.report.files import write_report
from rootwatch.report.model import Origin, Period, period_of
from rootwatch.report.posture import Postures, RootCredentials, read_credential_report
from rootwatch.settings import Network
from rootwatch_cli.declare import address_of, moment_of, task_of
from rootwatch_cli.deployed import TROUBLE, DeployedStack, Where, on_stack
from rootwatch_cli.inspect import Unreadable, observations, told_if_empty

if TYPE_CHECKING:
    from rootwatch.context.observation import Observation


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asked for."""

    month: str
    out: str
    files: Sequence[str] = ()
    declared: str | None = None
    credential_reports: Sequence[str] = ()
    stack_name: str = "rootwatch"
    idle_minutes: int = 60
    acknowledge_minutes: int = 15
    trusted_networks: Sequence[Network] = ()
    account_names: Mapping[str, str] | None = None
    as_json: bool = False


def run_report(where: Where, wanted: Wanted) -> int:
    """Make the report and say where it is; return 1 where some input could not be read, 2 where no report was made."""
    now = datetime.now(UTC).replace(microsecond=0)
    if wanted.declared and not wanted.files:
        sys.stderr.write("--declared is for --from: a deployed table has its own (rootwatch declare).\n")
        return TROUBLE
    try:
        postures = _postures(wanted.credential_reports)
        if wanted.files:
            period_of(wanted.month, datetime.max.replace(tzinfo=UTC))  # what is no month need not wait for the records
            reading, newest = _of_files(wanted, postures)
            # Records may be of a month that this machine's clock has not come to.
            period = period_of(wanted.month, max(now, newest))
            return _write(reading, period, _folder(wanted.out), now, wanted)
        period, folder = period_of(wanted.month, now), _folder(wanted.out)
    except (ReportError, DeclarationError, OSError) as error:
        sys.stderr.write(f"{visible(error, 600)}\n")
        return TROUBLE

    def do(stack: DeployedStack) -> int:
        reading = Reading(
            stack.store,
            Origin.TABLE,
            names=wanted.account_names or {},
            postures=postures,
            acknowledge_within=timedelta(minutes=wanted.acknowledge_minutes),
        )
        try:
            return _write(reading, period, folder, now, wanted)
        except OSError as error:
            sys.stderr.write(f"{visible(error, 600)}\n")
            return TROUBLE

    return on_stack(where, do)


def _folder(out: str) -> Path:
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"--out {visible(out, 200)} cannot be a folder ({error.strerror}). Expected is one to write into."
        raise ReportError(message) from error
    return folder


def _postures(files: Sequence[str]) -> Postures:
    """Read credential reports, one of each account.

    Raises:
        ReportError: one cannot be read, or two are of one account; it names the file.

    """
    found: dict[str, RootCredentials] = {}
    for name in files:
        try:
            credentials = read_credential_report(Path(name).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, ReportError) as error:
            message = f"{visible(name, 200)} (--credential-report): {error}"
            raise ReportError(message) from error
        if credentials.account_id in found:
            message = f"{visible(name, 200)}: a second credential report of account {credentials.account_id}."
            raise ReportError(message)
        found[credentials.account_id] = credentials
    return Postures(found, "not given (--credential-report)" if not found else "not given")


def _write(reading: Reading, period: Period, folder: Path, now: datetime, wanted: Wanted) -> int:
    written = write_report(reading, period, folder, now)
    report = written.report
    paths = [str(path) for path in (written.page, written.register, written.document)]
    if wanted.as_json:
        document = {
            "month": period.name,
            "verdict": report.verdict,
            "uses": report.use_count,
            "exceptions": {str(each.kind): each.count for each in report.exceptions},
            "records": report.integrity.records,
            "files": paths,
        }
        sys.stdout.write(json.dumps(document, ensure_ascii=True) + "\n")
    else:
        console = Console(soft_wrap=True)
        console.print(Text(report.verdict, style="bold green" if report.is_clean else "bold"))
        for each in report.exceptions:
            console.print(Text(f"  {each.count:>5}  {each.title}"))
        for path in paths:
            console.print(Text(path))
    return 1 if reading.unreadable else 0


# --- from record files ---------------------------------------------------------------------------------------------


def _of_files(wanted: Wanted, postures: Postures) -> tuple[Reading, datetime]:
    """Take the records through the pipeline by their own clock, as `rootwatch replay` does, with what was declared.

    Returns what the report is made of, and the time (UTC) of the latest record.
    """
    own = OwnResources(wanted.stack_name)
    records: list[Observation] = []
    unreadable = 0
    for each in told_if_empty(observations(wanted.files, own, wanted.trusted_networks), wanted.files):
        if isinstance(each, Unreadable):
            unreadable += 1
            sys.stderr.write(f"{visible(each.file)}, {visible(each.position)}: {visible(each.error, 400)}\n")
        else:
            records.append(each)
    store = AuditStore(MemoryTable())
    for declared in _declarations(wanted.declared) if wanted.declared else ():
        store.declare(declared)
    clock = Clock(datetime(1970, 1, 1, tzinfo=UTC))
    recorder = Recorder(
        store=store,
        own=own,
        idle=timedelta(minutes=wanted.idle_minutes),
        now=clock,
        pause=lambda _attempt: None,
        trusted_networks=wanted.trusted_networks,
    )
    for _alert in replay_records(records, recorder, clock, ReplaySummary()):
        pass
    watched = {each.record.account_id for each in records} - {None}
    newest = max((each.time for each in records), default=datetime(1970, 1, 1, tzinfo=UTC))
    reading = Reading(
        store,
        Origin.FILES,
        names=wanted.account_names or {},
        postures=postures,
        also_accounts=frozenset(each for each in watched if each and each.isdigit() and len(each) == 12),  # noqa: PLR2004
        unreadable=unreadable,
    )
    return reading, newest


def _declarations(name: str) -> Iterator[DeclaredUse]:
    """Read declarations as `rootwatch declared list --json` prints them: one JSON object a line, or a JSON list.

    Raises:
        ReportError: the file cannot be read, or one of them cannot be; it says which and what is expected.

    """
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{visible(name, 200)} (--declared): {error}"
        raise ReportError(message) from error
    seen: set[str] = set()
    for position, document in enumerate(_documents(text, name), start=1):
        try:
            declared = _declared(document)
        except (DeclarationError, KeyError, TypeError, ValueError, AttributeError) as error:
            what = str(error) if isinstance(error, DeclarationError) else f"{type(error).__name__}: {error}"
            message = (
                f"{visible(name, 200)}, declaration {position}: {visible(what, 200)} Expected are account_id, from, "
                "to, reason, ticket, approver, declared_by, declared_at, as rootwatch declared list --json prints them."
            )
            raise ReportError(message) from error
        if declared.id not in seen:
            seen.add(declared.id)
            yield declared


def _documents(text: str, name: str) -> list[Any]:
    try:
        whole = json.loads(text)
    except ValueError:
        whole = None
    try:
        found = [json.loads(line) for line in text.splitlines() if line.strip()] if whole is None else whole
    except ValueError as error:
        message = f"{visible(name, 200)} (--declared) is neither a JSON list nor JSON lines: {error}"
        raise ReportError(message) from error
    return found if isinstance(found, list) else [found]


def _declared(document: Any) -> DeclaredUse:  # noqa: ANN401 - whatever the file holds
    now = datetime.now(UTC)
    begins = moment_of(document["from"], now, now)
    return DeclaredUse(
        account_id=document["account_id"],
        from_at=begins,
        to_at=moment_of(document["to"], begins, now),
        reason=document["reason"].strip(),
        ticket=document["ticket"].strip(),
        approver=document["approver"].strip(),
        declared_by=document["declared_by"],
        declared_at=moment_of(document["declared_at"], now, now),
        addresses=tuple(dict.fromkeys(map(address_of, document.get("addresses") or ()))),
        tasks=tuple(dict.fromkeys(map(task_of, document.get("tasks") or ()))),
    )
