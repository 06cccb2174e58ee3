"""What `rootwatch demo --records` makes of files before it sends anything."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rootwatch.errors import UnreadableRecordError
from rootwatch.pipeline import inspect_document
from rootwatch_cli.demo import ENTRIES_PER_PUT, _earlier
from rootwatch_cli.demo_records import IDLE, LARGEST_PUT, _Due, _groups, _ready
from tests.builders import build_envelope
from tests.unit.workbench import OWN

BEGINNING = datetime(2026, 11, 3, tzinfo=UTC)


def ready(document: dict[str, Any]) -> _Due:
    """What a document of a file becomes."""
    return _ready(document, inspect_document(document, OWN))


def due(minutes: float, size: int = 100) -> _Due:
    """A record of a moment and about a size."""
    entry = {"Source": "s", "DetailType": "t", "Resources": [], "Detail": "x" * size}
    return _Due(BEGINNING + timedelta(minutes=minutes), entry, None)


def test_an_envelope_keeps_its_detail_type_and_resources() -> None:
    """What a file says around a record goes onto the bus with it; only the source is the one that may be replayed."""
    envelope = build_envelope("console_login") | {
        "detail-type": "AWS Console Signin via CloudTrail",
        "resources": ["arn:x"],
    }
    found = ready(envelope)
    assert found.entry["DetailType"] == "AWS Console Signin via CloudTrail"
    assert found.entry["Resources"] == ["arn:x"]
    assert json.loads(found.entry["Detail"]) == envelope["detail"]
    assert found.entry["Source"] == "rootwatch.replay"
    assert found.envelope is None


@pytest.mark.parametrize(
    ("event_type", "detail_type"),
    [
        ("AwsConsoleSignIn", "AWS Console Sign In via CloudTrail"),
        ("AwsServiceEvent", "AWS Service Event via CloudTrail"),
        ("AwsApiCall", "AWS API Call via CloudTrail"),
        (["odd"], "AWS API Call via CloudTrail"),
    ],
)
def test_a_bare_record_gets_the_detail_type_of_its_kind(event_type: object, detail_type: str) -> None:
    """A raw record goes onto the bus under the detail-type that EventBridge gives its kind."""
    assert (
        ready({**build_envelope("console_login")["detail"], "eventType": event_type}).entry["DetailType"] == detail_type
    )


@pytest.mark.parametrize(
    "changes",
    [{"recipientAccountId": None, "userIdentity.accountId": None}, {"eventTime": None}, {"awsRegion": None}],
)
def test_what_only_the_envelope_states_keeps_its_envelope(changes: dict[str, Any]) -> None:
    """A record that does not name its account, time or region itself is not given the emulator's."""
    envelope = build_envelope("write", **changes)
    found = ready(envelope)
    assert found.envelope is not None
    assert {name: found.envelope[name] for name in ("account", "time", "region")} == {
        name: envelope[name] for name in ("account", "time", "region")
    }
    assert found.envelope["source"] == "rootwatch.replay"


def test_a_bare_record_without_an_account_is_given_none() -> None:
    """A raw record that names no account stays one of an unknown account."""
    changes: dict[str, Any] = {"recipientAccountId": None, "userIdentity.accountId": None}
    record = build_envelope("write", **changes)["detail"]
    found = ready(record)
    assert found.envelope is not None
    assert "account" not in found.envelope
    assert found.envelope["detail"] == record


def test_what_eventbridge_does_not_take_is_named() -> None:
    """A record that is larger than EventBridge takes is refused before it is sent, with its size."""
    envelope = build_envelope("write", requestParameters={"text": "é" * LARGEST_PUT})
    with pytest.raises(UnreadableRecordError, match=r"has \d{7} bytes"):
        ready(envelope)


def test_one_put_holds_ten_entries_of_256_kb_and_no_pause() -> None:
    """Groups hold at most ten records and 256 KB, end at a pause of more than an hour, and lose nothing."""
    many = [due(number) for number in range(23)]
    assert [len(group) for group in _groups(many)] == [10, 10, 3]
    large = [due(number, 100_000) for number in range(5)]
    groups = list(_groups(large))
    assert [len(group) for group in groups] == [2, 2, 1]
    assert all(sum(each.size for each in group) <= LARGEST_PUT for group in groups)
    minutes = IDLE / timedelta(minutes=1)
    paused = [due(0), due(minutes), due(2 * minutes + 1), due(2 * minutes + 2)]
    assert [len(group) for group in _groups(paused)] == [2, 2]
    assert list(_groups([])) == []
    assert [each for group in _groups([*many, *large]) for each in group] == [*many, *large]


def test_letting_time_pass_moves_what_is_recent_and_nothing_else() -> None:
    """Moments within the span go back by it, later ones too; what lies longer ago, and what is no moment, stays."""
    now, span = datetime(2026, 11, 3, 12, 0, tzinfo=UTC), timedelta(hours=1)
    item = {
        "a": {"S": "2026-11-03T11:59:00Z"},
        "b": {"L": [{"M": {"at": {"S": "2026-11-03T11:30:00.250000Z"}}}]},
        "c": {"S": "2026-11-03T10:59:59Z"},
        "d": {"S": "2027-01-01T00:00:00Z"},
        "e": {"S": "2026-11-03T11:59:00Z, said somebody"},
        "f": {"N": "20261103"},
        "g": {"BOOL": True},
    }
    assert _earlier(item, now, span) == {
        "a": {"S": "2026-11-03T10:59:00Z"},
        "b": {"L": [{"M": {"at": {"S": "2026-11-03T10:30:00.250000Z"}}}]},
        "c": {"S": "2026-11-03T10:59:59Z"},
        "d": {"S": "2026-11-03T11:00:00Z"},
        "e": {"S": "2026-11-03T11:59:00Z, said somebody"},
        "f": {"N": "20261103"},
        "g": {"BOOL": True},
    }


def test_the_bounds_are_those_of_eventbridge() -> None:
    """PutEvents takes ten entries of 256 KB together."""
    assert (ENTRIES_PER_PUT, LARGEST_PUT) == (10, 262_144)
