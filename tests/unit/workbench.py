"""What the tests of the core work with: observations out of specimens, a recorder whose clock stands still, and
tables and limits that check everything they are given.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from rootwatch.alert import Alert, compose
from rootwatch.audit.memory import MemoryTable
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import MOST_ITEM_BYTES, Item, Put, Table, Value, size_of
from rootwatch.channels import slack, sns
from rootwatch.context.observation import Observation, observe
from rootwatch.detections.detection import OwnResources
from rootwatch.incident import AccountState, FoldOutcome, fold
from rootwatch.pipeline import Message, Recorder
from rootwatch.record import Record, read_envelope
from tests.builders import build_envelope
from tests.unit.limits import check_slack, check_sns

NOW: Final = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)
ACCOUNT: Final = "111122223333"
OWN: Final = OwnResources("rootwatch", key_id="0f1e2d3c-0000-4000-8000-1234567890ab")
IDLE: Final = timedelta(minutes=60)
Changes = dict[str, Any]
"""Changes of a specimen by dotted path, for `make_record("write", **Changes({"userIdentity.type": None}))`."""

TOPIC: Final = "arn:aws:sns:us-east-1:111122223333:rootwatch-alerts"


class CheckedTable(MemoryTable):
    """A table in memory that refuses what DynamoDB would refuse."""

    def write(self, puts: Sequence[Put]) -> None:
        """Check every item, then write."""
        for put in puts:
            check_item(put.item)
        super().write(puts)


def check_item(item: Item) -> None:
    """An item is one that DynamoDB takes, and comes back as it was."""
    typed = {name: TypeSerializer().serialize(value) for name, value in item.items()}
    json.dumps(typed, default=lambda value: value.hex() if isinstance(value, bytes) else list(value)).encode()
    _check_texts(item)
    for name, longest in (("pk", 2048), ("sk", 1024)):
        key = item[name]
        assert isinstance(key, str)
        assert 0 < len(key.encode()) <= longest
    back = {name: TypeDeserializer().deserialize(value) for name, value in typed.items()}
    assert back.keys() == item.keys()
    assert size_of(item) < MOST_ITEM_BYTES


def _check_texts(value: Value) -> None:
    if isinstance(value, str):
        value.encode()  # raises on a lone surrogate, which DynamoDB cannot hold
    elif isinstance(value, dict):
        for name, entry in value.items():
            assert name
            name.encode()
            _check_texts(entry)
    elif isinstance(value, list):
        for entry in value:
            _check_texts(entry)
    else:
        assert value is None or isinstance(value, int | bytes)


def make_record(specimen: str = "console_login", /, *, position: int = 0, number: int = 0, **changes: Any) -> Record:
    """The record of a specimen with changes, read out of its envelope."""
    return read_envelope(build_envelope(specimen, position=position, number=number, **changes))


def make_observation(
    specimen: str = "console_login",
    /,
    *,
    position: int = 0,
    number: int = 0,
    sent_after: timedelta | None = timedelta(seconds=2),
    **changes: Any,
) -> Observation:
    """The observation of a specimen with changes; it reached the queue `sent_after` its event time."""
    record = make_record(specimen, position=position, number=number, **changes)
    sent_at = record.event_time + sent_after if record.event_time and sent_after is not None else None
    return observe(record, OWN, sent_at=sent_at)


def make_message(envelope: Mapping[str, Any] | str, name: str = "one", sent_at: datetime | None = NOW) -> Message:
    """A message of the intake queue."""
    return Message(name, envelope if isinstance(envelope, str) else json.dumps(envelope), sent_at)


def make_recorder(table: Table | None = None, now: datetime = NOW) -> Recorder:
    """A recorder on the table, or on an empty one in memory that checks; it never waits."""
    store = AuditStore(CheckedTable() if table is None else table)
    return Recorder(store=store, own=OWN, idle=IDLE, now=lambda: now, pause=lambda _attempt: None)


def fold_all(
    observations: Sequence[Observation], state: AccountState | None = None, now: datetime | None = None
) -> tuple[AccountState, list[FoldOutcome]]:
    """Fold one observation after the other, each at its own time or all at `now`; the last state, every outcome."""
    state = state or AccountState(ACCOUNT)
    outcomes = []
    for observation in observations:
        outcome = fold(state, observation, now or observation.time, idle=IDLE)
        outcomes.append(outcome)
        state = outcome.state
    return state, outcomes


def make_alert(specimen: str = "console_login", /, **changes: Any) -> Alert:
    """The alert that the first use of root in an account makes due."""
    _, [outcome] = fold_all([make_observation(specimen, **changes)])
    [due] = outcome.alerts
    return compose(due)


def check_channels(alert: Alert) -> None:
    """An alert renders on every channel within the channel's limits."""
    check_slack(slack.payload(alert, "https://runbook.example.com/root"))
    check_sns(dict(sns.publish_arguments(alert, TOPIC, "https://runbook.example.com/root")))
