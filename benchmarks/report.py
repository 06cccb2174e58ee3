"""How long the monthly report takes, and how much memory, beside the bare cost of reading the same rows.

The rows are real ones: specimens taken through the pipeline, in the JSON that DynamoDB answers with, in pages of its
size. Reading them bare is what the report's own table adapter does: the JSON of each page, and each row's types, of
every record and of every incident's alerts and deliveries. What the report asks beyond that, the keys of the whole
table, heads, what was damaged, is in the report's time alone. There is no network in either, so that the ratio is the
worst there is. Each account has one of a few histories, so that what is remembered of one's texts helps little with
the next one's; each story in it is an incident and a row of the register. A history may reach over thirteen months.

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
from collections.abc import Callable, Iterable, Iterator, Sequence
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
MONTHS: Final = (*(f"2025-{month:02d}" for month in (11, 12)), *(f"2026-{month:02d}" for month in range(1, 12)))
"""The report's month, the last, and the twelve that it is compared with."""
ACCOUNT: Final = "111122223333"
NOW: Final = datetime(2026, 12, 1, 0, 15, tzinfo=UTC)
PAGE: Final = 1_000_000
"""Characters of a page, of a query's or a scan's, which DynamoDB ends after 1 MB."""
STORY: Final = ("console_login_failed", "console_login_without_mfa", *("read",) * 30, *("write",) * 6, "mfa_added")
HISTORIES: Final = 8
ROUNDS: Final = 3
GOAL: Final = (1_000, 1_000_000)


class History:
    """What the table holds of one account, as the text of DynamoDB's answers."""

    def __init__(self, number: int, rows: int, months: Sequence[str]) -> None:
        """Play one story after the other until there are so many records, in these months."""
        table = _played(number, rows, months)
        self.events = {month: list(table.query(event_partition(ACCOUNT, month))) for month in months}
        self.rows = sum(map(len, self.events.values()))
        self.pages = {f"EVENTS#{ACCOUNT}#{month}": _pages(events) for month, events in self.events.items()}
        of_month = {f"INCIDENT#{event['incident_id']!s}" for event in self.events[MONTH]}
        self.incidents = sorted(of_month)
        items = {pk: list(table.query(pk)) for pk in self.incidents}
        self.items = sum(map(len, items.values()))
        self.pages |= {pk: _pages(found) for pk, found in items.items()}
        self.bytes = sum(len(page) for month in self.events for page in self.pages[f"EVENTS#{ACCOUNT}#{month}"])
        [head] = table.get([head_key(ACCOUNT)])
        assert head is not None
        self.head = _values(head)


class Pages:
    """DynamoDB as the report asks it: a few accounts' answers, given for each of many accounts in turn."""

    def __init__(self, rows: int, accounts: int, months: Sequence[str]) -> None:
        """Make the histories of accounts with so many records each."""
        self._histories = [History(number, rows, months) for number in range(min(HISTORIES, accounts))]
        self._accounts = [f"{100000000000 + number}" for number in range(accounts)]
        self.rows = sum(self._of(account).rows for account in self._accounts)
        self.items = sum(self._of(account).items for account in self._accounts)
        self.bytes_per_row = sum(each.bytes for each in self._histories) // sum(each.rows for each in self._histories)
        self._account = self._accounts[0]
        self.asked = 0

    def _of(self, account: str) -> History:
        return self._histories[int(account[-6:]) % len(self._histories)]

    def query(self, **request: object) -> dict[str, Any]:
        """Answer a query of one partition, a page at a time; one of the index with all incidents of the month."""
        self.asked += 1
        if "IndexName" in request:
            return self._incidents()
        values: Any = request["ExpressionAttributeValues"]
        start: Any = request.get("ExclusiveStartKey", {"page": 0})
        pk = values[":pk"]["S"]
        if pk.startswith("EVENTS#"):
            _, self._account, month = pk.split("#")  # whose incidents are asked for after that
            pk = f"EVENTS#{ACCOUNT}#{month}"
        pages = self._of(self._account).pages.get(pk, [])
        number = int(start["page"])
        # Whose records they are stands in their key; an incident's alerts count where it is the account's own.
        text = pages[number] if pages else '{"Items": []}'
        answer: dict[str, Any] = json.loads(text.replace(ACCOUNT, self._account) if pk.startswith("INC") else text)
        if number + 1 < len(pages):
            answer["LastEvaluatedKey"] = {"page": number + 1}
        return answer

    def _incidents(self) -> dict[str, Any]:
        entry = {"sk": "INCIDENT", "incident_month": MONTH, "opened_at": f"{MONTH}-01T00:00:00Z"}
        found = [_values({"pk": pk, **entry}) for account in self._accounts for pk in self._of(account).incidents]
        answer: dict[str, Any] = json.loads(json.dumps({"Items": found}))
        return answer

    def scan(self, **request: object) -> dict[str, Any]:
        """Answer with the partition of every item, a page for each account and month, as DynamoDB does."""
        self.asked += 1
        start: Any = request.get("ExclusiveStartKey", {"account": 0, "month": 0})
        account, months = self._accounts[start["account"]], list(self._of(self._accounts[start["account"]]).events)
        month = months[start["month"]]
        keys = [f"EVENTS#{account}#{month}"] * len(self._of(account).events[month])
        keys += [f"ACCOUNT#{account}"] if start["month"] == 0 else []
        answer: dict[str, Any] = json.loads(json.dumps({"Items": [{"pk": {"S": pk}} for pk in keys]}))
        is_last = start["month"] + 1 == len(months)
        following = {"account": start["account"] + is_last, "month": 0 if is_last else start["month"] + 1}
        if following["account"] < len(self._accounts):
            answer["LastEvaluatedKey"] = following
        return answer

    def batch_get_item(self, **request: object) -> dict[str, Any]:
        """Answer with heads."""
        self.asked += 1
        asked: Any = request["RequestItems"]
        [(name, wanted)] = asked.items()
        found = [
            {**self._of(key["pk"]["S"]).head, "pk": key["pk"]} for key in wanted["Keys"] if key["sk"]["S"] == "HEAD"
        ]
        return {"Responses": {name: found}}

    def partitions(self) -> Iterator[str]:
        """Every partition whose rows the report reads: each account's records, and the incidents of its month."""
        for account in self._accounts:
            yield from (f"EVENTS#{account}#{month}" for month in self._of(account).events)
            yield from self._of(account).incidents


def _played(history: int, rows: int, months: Sequence[str]) -> MemoryTable:
    """Return a table in which one account has so many records: stories with a rest of two hours between them."""
    table = MemoryTable()
    moment = {"now": datetime.min.replace(tzinfo=UTC)}
    recorder = Recorder(
        AuditStore(table), OwnResources(), timedelta(minutes=60), lambda: moment["now"], lambda _n: None
    )
    specimens = [load_specimen(name) for name in STORY]
    number = 0
    for position, month in enumerate(months, start=1):
        moment["now"] = datetime.fromisoformat(f"{month}-01T00:00:00+00:00")
        while number < rows * position // len(months):
            envelope: Any = json.loads(json.dumps(specimens[number % len(STORY)]))
            detail = envelope["detail"]
            detail["eventID"] = hashlib.sha256(f"{history} {number}".encode()).hexdigest()[:32]
            detail["eventTime"] = f"{moment['now']:%Y-%m-%dT%H:%M:%SZ}"
            detail["recipientAccountId"] = ACCOUNT
            detail["sourceIPAddress"] = f"203.0.{history}.{number // len(STORY) % 200}"
            detect_messages([Message("one", json.dumps(envelope), moment["now"])], recorder)
            number += 1
            moment["now"] += timedelta(seconds=20)
            if number % len(STORY) == 0:
                moment["now"] += timedelta(hours=2)
                run_timers(ACCOUNT, recorder)
    return table


def _values(item: Item) -> dict[str, Any]:
    return {name: TypeSerializer().serialize(value) for name, value in item.items()}


def _pages(items: list[Item]) -> list[str]:
    pages: list[list[str]] = [[]]
    size = 0
    for text in (json.dumps(_values(item)) for item in items):
        if pages[-1] and size + len(text) > PAGE:
            pages.append([])
            size = 0
        pages[-1].append(text)
        size += len(text)
    return [f'{{"Items": [{", ".join(page)}]}}' for page in pages]


def seconds(act: Callable[[], object]) -> float:
    """Return the processor time of one call; waiting for other programs does not count."""
    begun = time.process_time()
    act()
    return time.process_time() - begun


def measure(accounts: int, rows_each: int, months: int) -> dict[str, float]:
    """Measure one size in this process: bare reading and report in turn, and the peak memory of all of it."""
    pages = Pages(rows_each, accounts, MONTHS[-months:])
    table = DynamoTable(pages, "bench")  # type: ignore[arg-type] # the calls that a report makes
    period = period_of(MONTH, NOW)
    before = _peak()

    def bare() -> None:
        for pk in pages.partitions():
            for _item in table.query(pk):
                pass

    with TemporaryDirectory() as folder:

        def report() -> None:
            pages.asked = 0
            written = write_report(Reading(AuditStore(table), Origin.TABLE), period, Path(folder), NOW)
            assert sum(each.records for each in written.report.months) == pages.rows
            assert written.report.integrity.broken_chains == 0
            found.update(register=written.report.integrity.register_rows, megabytes=_megabytes(written.paths))

        found: dict[str, float] = {}
        figures = [(seconds(bare), seconds(report)) for _ in range(ROUNDS if pages.rows <= 100_000 else 1)]  # noqa: PLR2004
    best = min(figures, key=lambda figure: figure[1] / figure[0])
    ratios = sorted(figure[1] / figure[0] for figure in figures)
    return {
        "rows": pages.rows, "items": pages.items, "accounts": accounts, "months": months, "bytes": pages.bytes_per_row,
        "bare": best[0], "report": best[1], "ratio": ratios[len(ratios) // 2], "before": before, "peak": _peak(),
        "asked": pages.asked, **found,
    }  # fmt: skip


def _peak() -> float:
    """Return the most memory that this process had so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024)


def _megabytes(paths: Iterable[Path]) -> float:
    return sum(path.stat().st_size for path in paths) / 1_000_000


COLUMNS: Final = (
    ("accounts", 9, 0), ("months", 7, 0), ("rows", 10, 0), ("items", 10, 0), ("register", 9, 0), ("bytes", 6, 0),
    ("asked", 7, 0), ("bare", 8, 2), ("report", 8, 2), ("ratio", 6, 2), ("before", 7, 0), ("peak", 6, 0),
    ("megabytes", 10, 1),
)  # fmt: skip
"""What is printed of each size: name, width, decimals."""
LEGEND: Final = (
    "rows: records; items: the month's alerts, deliveries and incidents; bytes: of a record's row; asked: requests to "
    "DynamoDB; bare, report: seconds of processor time; before, peak: MB of memory before the first reading and at its "
    "most; megabytes: of the three files."
)


def main() -> None:
    """Measure each size in a process of its own, and print figures and ratios."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--whole", action="store_true", help="take all 1,000 accounts and 1,000,000 rows")
    arguments.add_argument(
        "--size", nargs=3, type=int, metavar=("ACCOUNTS", "ROWS", "MONTHS"), help="measure one size, as JSON"
    )
    given = arguments.parse_args()
    if given.size:
        print(json.dumps(measure(*given.size)))
        return
    sizes = [(100, 100, 1), (100, 1_000, 13), (1_000, 100, 1), (100, 1_000, 1)]
    print(" ".join(f"{name:>{width}}" for name, width, _ in COLUMNS))
    for size in [(1_000, 1_000, 1)] if given.whole else sizes:
        command = [sys.executable, __file__, "--size", *map(str, size)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=3_000)  # noqa: S603
        found = json.loads(done.stdout)
        print(" ".join(f"{found[name]:{width},.{decimals}f}" for name, width, decimals in COLUMNS))
    print(LEGEND)
    if not given.whole:
        whole = found["report"] / found["rows"] * GOAL[1]
        print(
            f"Extrapolated, not measured: {GOAL[0]:,} accounts and {GOAL[1]:,} rows in {whole / 60:.1f} minutes of "
            "this processor; what DynamoDB's network adds comes on top."
        )


if __name__ == "__main__":
    main()
