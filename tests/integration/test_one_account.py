"""Several invocations of `detect` on one account at once, against the emulator's DynamoDB with its transactions.

`benchmarks/one_account.py` does the same with 2,000 records and prints conflicts and time.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rootwatch.audit.dynamodb import DynamoTable
from rootwatch.audit.store import AuditStore
from rootwatch.detections.detection import OwnResources
from rootwatch.pipeline import Fate, Message, Recorder, detect_messages
from rootwatch.wiring import _jitter
from rootwatch_cli.local_stack import LocalStack, local_stack
from tests.builders import build_record
from tests.builders.audit_table import create_audit_table

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

TABLE = "rootwatch-audit"

ACCOUNT = "111122223333"
WRITERS, RECORDS, PER_BATCH = 8, 80, 5
MOST_ROUNDS = 20


@pytest.fixture
def stack() -> Iterator[LocalStack]:
    """The emulator with an empty audit table, and nothing else on it."""
    with local_stack() as running:
        create_audit_table(running.client("dynamodb"), TABLE)
        yield running


def test_eight_writers_on_one_account(stack: LocalStack) -> None:
    """Eight writers end with every record once, no gap in the sequence, a whole chain and one incident that counts all;
    whoever lost too many races has failed his messages, which the queue would hand over again.
    """
    began = datetime(2026, 11, 3, 9, 0, tzinfo=UTC)
    messages = []
    for number in range(RECORDS):
        at = began + timedelta(seconds=number)
        record = build_record("write", number=number, eventTime=f"{at:%Y-%m-%dT%H:%M:%SZ}")
        body = json.dumps({"source": "aws.s3", "account": ACCOUNT, "detail": record})
        messages.append(Message(str(number), body, at + timedelta(seconds=2), receives=2))
    conflicts = 0

    def write(writer: int) -> None:
        nonlocal conflicts

        def pause(attempt: int) -> None:
            nonlocal conflicts
            conflicts += 1
            _jitter(attempt)

        store = AuditStore(DynamoTable(stack.client("dynamodb"), TABLE))
        recorder = Recorder(
            store, OwnResources("rootwatch"), timedelta(minutes=60), now=lambda: datetime.now(UTC), pause=pause
        )
        mine = messages[writer::WRITERS]
        for start in range(0, len(mine), PER_BATCH):
            waiting = mine[start : start + PER_BATCH]
            for _ in range(MOST_ROUNDS):
                results = detect_messages(waiting, recorder)
                assert {result.fate for result in results} <= {Fate.RECORDED, Fate.DUPLICATE, Fate.FAILED}, results
                waiting = [replace(each.message, receives=3) for each in results if each.fate is Fate.FAILED]
                if not waiting:
                    break
            assert not waiting

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS)))
    store = AuditStore(DynamoTable(stack.client("dynamodb"), TABLE))
    events = list(store.event_items(ACCOUNT, "2026-11"))
    [incident_id] = {str(event["incident_id"]) for event in events}
    incident = store.incident(incident_id)
    report = store.verify_chain(ACCOUNT, ["2026-11"])

    assert conflicts, "nobody was in anybody's way: this proves nothing"
    assert len({event["event_id"] for event in events}) == len(events) == RECORDS
    assert sorted(int(str(event["sequence"])) for event in events) == list(range(1, RECORDS + 1))
    assert (report.faults, report.sequence) == ((), RECORDS)
    assert incident is not None
    assert incident.records == RECORDS
