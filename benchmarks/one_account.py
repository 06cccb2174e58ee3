"""What one account sustains: 8 writers at once on the emulator, and 100,000 records of one account in memory.

The first part starts MiniStack, writes 2,000 records of one account with eight processes, each as `detect` does, in
batches of ten, and checks that every record is stored once, that no sequence number is missing and that the chain is
whole. One writer that writes a quarter of them in the same run is the floor. The second part shows how large the items
and the memory get in a flood, when every record mints names. `--flood N` and `--records N` make either part smaller.
"""

import argparse
import json
import multiprocessing
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from rootwatch.audit.dynamodb import DynamoTable
from rootwatch.audit.memory import MemoryTable
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import MOST_ITEM_BYTES, Item, Put, size_of
from rootwatch.detections.detection import OwnResources
from rootwatch.pipeline import Fate, Message, Recorder, detect_messages
from rootwatch.wiring import _jitter
from rootwatch_cli.local_stack import LocalStack, local_stack
from tests.builders.audit_table import create_audit_table

WRITERS: Final = 8
PER_BATCH: Final = 10
TABLE: Final = "rootwatch-audit"
ACCOUNT: Final = "111122223333"
BEGINS: Final = datetime(2026, 11, 3, 9, 0, tzinfo=UTC)
RECORD: Final = json.loads((Path(__file__).resolve().parents[1] / "events" / "write.json").read_text(encoding="utf-8"))
MOST_HEAD_BYTES: Final = 2_048
MOST_ROUNDS: Final = 20
"""How often a batch that lost every race is handed over again, as the queue would."""


def message(number: int, account_id: str = ACCOUNT, *, minted: bool = False) -> Message:
    """One message of the intake queue, with a record of its own."""
    at = BEGINS + timedelta(seconds=number / 4)
    detail = {
        **RECORD["detail"],
        "eventID": f"00000000-0000-4000-8000-{number:012}",
        "eventTime": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "recipientAccountId": account_id,
    }
    if minted:
        odd = "\U00010000" * 250
        detail |= {
            "eventName": f"{number}{odd}",
            "awsRegion": f"{number}{odd}",
            "sourceIPAddress": f"2001:db8::{number % 65_536:x}:{number // 65_536:x}",
            "requestParameters": {"bucketName": f"{number}{odd}"},
            "errorCode": "AccessDenied" if number % 2 else None,
        }
        detail["userIdentity"] = {**detail["userIdentity"], "accessKeyId": f"AKIA{number:016}", "sessionContext": None}
    envelope = {**RECORD, "time": detail["eventTime"], "account": account_id, "detail": detail}
    return Message(str(number), json.dumps(envelope), at + timedelta(seconds=2), receives=1)


class CountingStore(AuditStore):
    """The store, which counts what was read: each reading beyond the first of a batch is a lost race."""

    reads = 0

    def read_account(self, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - as the store has it
        """Count, and read."""
        self.reads += 1
        return super().read_account(*arguments, **named)


def write(  # noqa: PLR0913, PLR0917 - a process of its own is handed all it needs
    endpoint: str,
    directory: str,
    account_id: str,
    numbers: Sequence[int],
    together: Any,  # noqa: ANN401 - what the context makes
    results: Any,  # noqa: ANN401
) -> None:
    """Write records in batches, from when all writers are ready until all of them are stored; report what it took."""
    stack = LocalStack(endpoint, Path(directory), Path(directory), os.getpid())
    store = CountingStore(DynamoTable(stack.client("dynamodb"), TABLE))
    recorder = Recorder(store, OwnResources("rootwatch"), timedelta(minutes=60), lambda: datetime.now(UTC), _jitter)
    found: Counter[str] = Counter()
    slowest = 0.0
    store.known([])
    together.wait()
    begun_at = time.monotonic()
    for start in range(0, len(numbers), PER_BATCH):
        waiting = [message(number, account_id) for number in numbers[start : start + PER_BATCH]]
        begun = time.monotonic()
        for _ in range(MOST_ROUNDS):
            found["batches"] += 1
            outcome = detect_messages(waiting, recorder)
            waiting = [replace(each.message, receives=2) for each in outcome if each.fate.stays]
            found["back to the queue"] += len(waiting)
            if not waiting:
                break
        found["lost"] += len(waiting)
        slowest = max(slowest, time.monotonic() - begun)
    results.put((dict(found), store.reads, slowest, begun_at, time.monotonic()))


def at_once(stack: LocalStack, account_id: str, records: int, writers: int) -> float:
    """Write records of one account with so many writers; print what happened and return records a second."""
    context = multiprocessing.get_context("spawn")
    results, together = context.Queue(), context.Barrier(writers)
    shares = [range(first, records, writers) for first in range(writers)]
    workers = [
        context.Process(
            target=write, args=(stack.endpoint_url, str(stack.directory), account_id, share, together, results)
        )
        for share in shares
    ]
    for worker in workers:
        worker.start()
    answers = [results.get(timeout=1_800) for _ in workers]
    for worker in workers:
        worker.join()
    seconds = max(ended for *_, ended in answers) - min(begun for *_, begun, _ in answers)
    found = sum((Counter(each) for each, *_ in answers), Counter[str]())
    slowest = max(slowest for _, _, slowest, *_ in answers)
    conflicts = sum(reads for _, reads, *_ in answers) - found["batches"]
    store = AuditStore(DynamoTable(stack.client("dynamodb"), TABLE))
    events = list(store.event_items(account_id, f"{BEGINS:%Y-%m}"))
    report = store.verify_chain(account_id, [f"{BEGINS:%Y-%m}"])
    assert sorted(int(str(event["sequence"])) for event in events) == list(range(1, records + 1))
    assert len({event["event_id"] for event in events}) == records
    assert report.faults == (), report.faults
    assert not found["lost"]
    print(
        f"{writers} writer(s), {records} records: {seconds:.1f} s, {records / seconds:.0f} records/s, "
        f"{conflicts} conflicts in {found['batches']} batches, {found['back to the queue']} records went back to the "
        f"queue, slowest batch {slowest:.1f} s; each record once, no gap, chain whole"
    )
    return float(records / seconds)


class SizingTable(MemoryTable):
    """A table that keeps the state and only measures the evidence, so that what grows is the state alone."""

    def __init__(self) -> None:
        """Begin with nothing measured."""
        super().__init__()
        self.largest: Counter[str] = Counter()
        self.transactions: Counter[str] = Counter()

    def write(self, puts: Sequence[Put]) -> None:
        """Measure each item and each transaction, then keep what is read again."""
        total = 0
        for put in puts:
            size = size_of(put.item)
            total += size
            kind = _kind(put.item)
            self.largest[kind] = max(self.largest[kind], size)
        self.transactions["items"] = max(self.transactions["items"], len(puts))
        self.transactions["bytes"] = max(self.transactions["bytes"], total)
        super().write([put for put in puts if _kind(put.item) in {"HEAD", "INCIDENT"}])


def _kind(item: Item) -> str:
    partition, name = str(item["pk"]).split("#")[0], str(item["sk"]).split("#")[0]
    return partition if partition in {"EVENTS", "ADDRESS", "KEY"} else name


def flood(records: int) -> None:
    """Let one account flood us with records that mint names, addresses and keys; print the peaks."""
    table = SizingTable()
    now = BEGINS
    recorder = Recorder(
        AuditStore(table), OwnResources("rootwatch"), timedelta(minutes=60), lambda: now, lambda _attempt: None
    )
    peaks = [peak_memory()]
    begun = time.monotonic()
    for start in range(0, records, PER_BATCH):
        batch = [message(number, minted=True) for number in range(start, min(start + PER_BATCH, records))]
        now = batch[-1].sent_at or now
        results = detect_messages(batch, recorder)
        assert {result.fate for result in results} == {Fate.RECORDED}, results
        if (start + PER_BATCH) % max(records // 4, PER_BATCH) == 0:
            peaks.append(peak_memory())
    seconds = time.monotonic() - begun
    incidents = [item for pk in table.partitions("INCIDENT#") for item in table.query(pk, "INCIDENT")]
    alerts = sum(int(str(item["alerts"])) for item in incidents)
    print(f"flood of {records} records that mint everything: {seconds:.0f} s, {alerts} alerts")
    print("  largest items: " + ", ".join(f"{kind} {size:,} bytes" for kind, size in sorted(table.largest.items())))
    print(f"  largest transaction: {table.transactions['items']} items, {table.transactions['bytes']:,} bytes")
    print(
        "  the process's largest memory before and after each quarter: " + ", ".join(f"{each:.0f} MB" for each in peaks)
    )
    assert table.largest["HEAD"] < MOST_HEAD_BYTES
    assert max(table.largest.values()) < MOST_ITEM_BYTES


def peak_memory() -> float:
    """Return the largest memory that this process has had so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def main() -> None:
    """Measure both and print figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=2_000, help="records of the eight writers")
    parser.add_argument("--flood", type=int, default=100_000, help="records of the flood")
    options = parser.parse_args()
    if options.records:
        with local_stack() as stack:
            create_audit_table(stack.client("dynamodb"), TABLE)
            alone = at_once(stack, "111122223331", options.records // 4, 1)
            together = at_once(stack, "111122223332", options.records, WRITERS)
            print(f"{WRITERS} writers at once reach {together / alone:.2f} of what one writer does alone")
    if options.flood:
        flood(options.flood)


if __name__ == "__main__":
    main()
