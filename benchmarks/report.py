"""How long the monthly report takes, and how much memory, beside the bare cost of reading the same rows.

The rows are real ones: specimens taken through the pipeline, in the JSON that DynamoDB answers with, in pages of its
size. Reading them bare is what the report's own table adapter does: the JSON of each page, and each row's types. There
is no network in either, so that the ratio is the worst there is. Every account has the same rows.

Without arguments it takes a tenth of the goal (1,000 accounts, 1,000,000 rows) and says what that would come to, which
is an extrapolation; with --whole it takes all of it, which takes some minutes.
"""

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from boto3.dynamodb.types import TypeSerializer

from rootwatch.audit.dynamodb import DynamoTable
from rootwatch.audit.items import event_partition, head_key
from rootwatch.audit.memory import MemoryTable
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Item
from rootwatch.detections.detection import OwnResources
from rootwatch.pipeline import Message, Recorder, detect_messages, run_timers
from rootwatch.report.aggregate import Reading
from rootwatch.report.files import write_report
from rootwatch.report.model import Origin, period_of
from rootwatch_cli.specimen import load_specimen

MONTH: Final = "2026-11"
ACCOUNT: Final = "111122223333"
NOW: Final = datetime(2026, 12, 1, 0, 15, tzinfo=UTC)
ROWS_PER_PAGE: Final = 400
"""A page of a query holds 1 MB."""
STORY: Final = ("console_login_failed", "console_login_without_mfa", *("read",) * 30, *("write",) * 6, "mfa_added")
ROUNDS: Final = 3
GOAL: Final = (1_000, 1_000_000)


class Pages:
    """DynamoDB as the report asks it: one account's answers, given for each of many accounts."""

    def __init__(self, rows: int, accounts: int) -> None:
        """Play the story until one account has so many rows, and keep its items as the text of DynamoDB's answers."""
        table = _played(rows)
        self._accounts = [f"{100000000000 + number}" for number in range(accounts)]
        events = list(table.query(event_partition(ACCOUNT, MONTH)))
        self.rows = len(events) * accounts
        self._events = [_page(events[at : at + ROWS_PER_PAGE]) for at in range(0, len(events), ROWS_PER_PAGE)]
        self.bytes_per_row = sum(map(len, self._events)) // len(events)
        self._incidents = {
            pk: _page(list(table.query(pk))) for pk in {f"INCIDENT#{event['incident_id']!s}" for event in events}
        }
        [head] = table.get([head_key(ACCOUNT)])
        assert head is not None
        self._head = _values(head)

    def query(self, **request: object) -> dict[str, Any]:
        """Answer a query of one partition, a page at a time."""
        values: Any = request["ExpressionAttributeValues"]
        start: Any = request.get("ExclusiveStartKey", {"page": 0})
        pk = values[":pk"]["S"]
        if pk.startswith("EVENTS#"):
            number = int(start["page"])
            answer: dict[str, Any] = json.loads(self._events[number])
            if number + 1 < len(self._events):
                answer["LastEvaluatedKey"] = {"page": number + 1}
            return answer
        empty: dict[str, Any] = {"Items": []}
        return json.loads(self._incidents[pk]) if pk in self._incidents else empty

    def scan(self, **_request: object) -> dict[str, Any]:
        """Answer with the partitions of all accounts, once each; DynamoDB answers with one for each row."""
        pks = (each for account in self._accounts for each in (f"ACCOUNT#{account}", f"EVENTS#{account}#{MONTH}"))
        return {"Items": [{"pk": {"S": pk}} for pk in pks]}

    def batch_get_item(self, **request: object) -> dict[str, Any]:
        """Answer with heads."""
        asked: Any = request["RequestItems"]
        [(name, wanted)] = asked.items()
        found = [{**self._head, "pk": key["pk"]} for key in wanted["Keys"] if key["sk"]["S"] == "HEAD"]
        return {"Responses": {name: found}}

    def partitions(self) -> Iterator[str]:
        """Every partition that the report reads: each account's records, and their incidents."""
        for account in self._accounts:
            yield f"EVENTS#{account}#{MONTH}"
            yield from self._incidents


def _played(rows: int) -> MemoryTable:
    """Return a table in which one account has so many rows, out of one story after the other."""
    table = MemoryTable()
    moment = {"now": datetime(2026, 11, 1, tzinfo=UTC)}
    recorder = Recorder(
        AuditStore(table), OwnResources(), timedelta(minutes=60), lambda: moment["now"], lambda _n: None
    )
    specimens = [load_specimen(name) for name in STORY]
    step = min(timedelta(minutes=3), timedelta(days=29) / rows)
    for number in range(rows):
        envelope: Any = json.loads(json.dumps(specimens[number % len(STORY)]))
        detail = envelope["detail"]
        detail["eventID"] = hashlib.sha256(str(number).encode()).hexdigest()[:32]
        detail["eventTime"] = f"{moment['now']:%Y-%m-%dT%H:%M:%SZ}"
        detail["recipientAccountId"] = ACCOUNT
        detect_messages([Message("one", json.dumps(envelope), moment["now"])], recorder)
        moment["now"] += step
        if number % len(STORY) == 0:
            run_timers(ACCOUNT, recorder)
    return table


def _values(item: Item) -> dict[str, Any]:
    return {name: TypeSerializer().serialize(value) for name, value in item.items()}


def _page(items: list[Item]) -> str:
    return json.dumps({"Items": [_values(item) for item in items]})


def seconds(act: Callable[[], object]) -> float:
    """Return the processor time of one call; waiting for other programs does not count."""
    begun = time.process_time()
    act()
    return time.process_time() - begun


def measure(accounts: int, rows_each: int) -> dict[str, float]:
    """Measure one size in this process: bare reading and report in turn, and the peak memory of all of it."""
    pages = Pages(rows_each, accounts)
    table = DynamoTable(pages, "bench")  # type: ignore[arg-type] # the four calls that a report makes
    period = period_of(MONTH, NOW)

    def bare() -> None:
        for pk in pages.partitions():
            for _item in table.query(pk):
                pass

    with TemporaryDirectory() as folder:

        def report() -> None:
            written = write_report(Reading(AuditStore(table), Origin.TABLE), period, Path(folder), NOW)
            assert written.report.integrity.records == pages.rows
            assert written.report.integrity.broken_chains == 0

        figures = [(seconds(bare), seconds(report)) for _ in range(ROUNDS if pages.rows <= 100_000 else 1)]  # noqa: PLR2004
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024)
    best = min(figures, key=lambda figure: figure[1] / figure[0])
    ratios = sorted(figure[1] / figure[0] for figure in figures)
    return {
        "rows": pages.rows, "accounts": accounts, "bytes": pages.bytes_per_row, "bare": best[0], "report": best[1],
        "ratio": ratios[len(ratios) // 2], "peak": peak,
    }  # fmt: skip


def main() -> None:
    """Measure each size in a process of its own, and print figures and ratios."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--whole", action="store_true", help="take all 1,000 accounts and 1,000,000 rows")
    arguments.add_argument("--size", nargs=2, type=int, metavar=("ACCOUNTS", "ROWS"), help="measure one size, as JSON")
    given = arguments.parse_args()
    if given.size:
        print(json.dumps(measure(*given.size)))
        return
    sizes = [(100, 100), (100, 1_000), (1_000, 100)] if not given.whole else [(1_000, 1_000)]
    print(f"{'accounts':>9} {'rows':>10} {'bytes/row':>9} {'bare s':>8} {'report s':>8} {'ratio':>6} {'peak MB':>8}")
    for accounts, rows_each in sizes:
        command = [sys.executable, __file__, "--size", str(accounts), str(rows_each)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=900)  # noqa: S603
        found = json.loads(done.stdout)
        print(
            f"{found['accounts']:9,} {found['rows']:10,} {found['bytes']:9,} {found['bare']:8.2f} "
            f"{found['report']:8.2f} {found['ratio']:6.2f} {found['peak']:8.0f}"
        )
    if not given.whole:
        whole = found["report"] / found["rows"] * GOAL[1]
        print(
            f"Extrapolated, not measured: {GOAL[0]:,} accounts and {GOAL[1]:,} rows in {whole / 60:.1f} minutes of "
            "this processor; what DynamoDB's network adds comes on top."
        )


if __name__ == "__main__":
    main()
