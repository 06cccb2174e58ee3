"""The whole pipeline on both tables, forged numbers in the chain, and the sparse indexes as DynamoDB keeps them."""

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rootwatch.audit.dynamodb import DynamoTable
from rootwatch.audit.items import DeliveryState, Thread, delivery_key
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Put, Table, Value
from rootwatch.errors import StoreConflictError
from rootwatch.pipeline import Fate, detect_messages, run_timers
from tests.builders import all_specimens, build_envelope, load_specimen
from tests.contracts.conftest import TABLE_NAME
from tests.unit.workbench import ACCOUNT, NOW, make_message, make_recorder

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

MONTH = "2026-11"


def record_writes(table: Table, count: int) -> AuditStore:
    """The store of an account with so many records."""
    for number in range(count):
        [result] = detect_messages([make_message(build_envelope("write", number=number))], make_recorder(table))
        assert result.fate is Fate.RECORDED
    return AuditStore(table)


def test_all_specimens_in_one_table(table: Table, request: pytest.FixtureRequest) -> None:
    """Every specimen goes through the whole pipeline into the table, and a second time adds nothing."""
    # moto copies the whole table for each transaction, so it gets a quarter; what it does must be what the others do.
    is_moto = request.node.callspec.id == "dynamodb"
    envelopes = [envelope for name in list(all_specimens())[:: 4 if is_moto else 1] for envelope in load_specimen(name)]
    for fates in ({Fate.RECORDED, Fate.IRRELEVANT, Fate.DUPLICATE}, {Fate.DUPLICATE, Fate.IRRELEVANT}):
        for start in range(0, len(envelopes), 10):
            messages = [make_message(each, str(n)) for n, each in enumerate(envelopes[start : start + 10])]
            assert {result.fate for result in detect_messages(messages, make_recorder(table))} <= fates
    for account_id in (ACCOUNT, "444455556666"):
        report = AuditStore(table).verify_chain(account_id, [MONTH])
        assert report.faults == ()
        assert report.events == report.sequence > 0


def test_of_two_that_begin_a_thread_one_does(table: Table) -> None:
    """A thread is begun once and changed only by whoever saw its latest state, on either table."""
    store, thread = AuditStore(table), Thread("20261103-0123456789", ACCOUNT, "slack", "C0000000000")
    assert store.thread(thread.incident_id, "slack") is None
    claimed = store.write_thread(None, replace(thread, claimed_until=NOW))
    with pytest.raises(StoreConflictError):
        store.write_thread(None, thread)
    begun = store.write_thread(claimed, replace(claimed, parent="1788000000.000100", claimed_until=None))
    with pytest.raises(StoreConflictError):
        store.write_thread(claimed, thread)
    assert store.thread(thread.incident_id, "slack") == begun
    assert (begun.parent, begun.revision) == ("1788000000.000100", 2)


@pytest.mark.parametrize(
    ("sequence", "words"),
    [
        (0, "missing or taken"),
        (-7, "missing or taken"),
        (10**12, "records 4 to 999999999999 are missing"),
        (4, "does not follow"),
    ],
)
def test_an_event_that_is_added_under_any_number_is_found(table: Table, sequence: int, words: str) -> None:
    """A forged event is found whatever number it takes, and a huge number makes no huge report."""
    store = record_writes(table, 3)
    [last] = [item for item in store.event_items(ACCOUNT, MONTH) if item["sequence"] == 3]
    forged: dict[str, Value] = {**last, "sk": "2026-11-30T00:00:00Z#forged#000000000000", "sequence": sequence}
    table.write([Put(forged)])
    faults = store.verify_chain(ACCOUNT, [MONTH]).faults
    assert any(words in fault for fault in faults), faults
    assert len(faults) < 5


def test_the_sparse_indexes_hold_only_what_is_open_and_undelivered(dynamodb: "DynamoDBClient") -> None:
    """The index of open incidents empties when they close, and the one of deliveries when they are sent."""
    table = DynamoTable(dynamodb, TABLE_NAME)

    def count(index: str, name: str, value: str) -> int:
        found = dynamodb.query(
            TableName=TABLE_NAME,
            IndexName=index,
            KeyConditionExpression="#name = :value",
            ExpressionAttributeNames={"#name": name},
            ExpressionAttributeValues={":value": {"S": value}},
        )
        return found["Count"]

    store = record_writes(table, 1)
    assert count("open-incidents", "open_account", ACCOUNT) == 1
    assert count("undelivered", "undelivered_channel", "slack") == 1
    [incident] = store.read_account(ACCOUNT, (), NOW).incidents
    delivery = store.delivery(delivery_key(incident.id, "slack", 1))
    assert delivery is not None
    store.write_delivery(delivery, replace(delivery, state=DeliveryState.SENT))
    assert count("undelivered", "undelivered_channel", "slack") == 0
    assert count("undelivered", "undelivered_channel", "sns") == 1
    run_timers(ACCOUNT, make_recorder(table, NOW.replace(year=2027)))
    assert count("open-incidents", "open_account", ACCOUNT) == 0
