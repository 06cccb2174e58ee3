"""Items: what is kept reads back as it was, keys are safe whatever a record holds, an altered item is recognised."""

import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rootwatch.alert import Alert, compose
from rootwatch.audit.items import (
    COMPRESS_FROM,
    SCHEMA_VERSION,
    Attempt,
    Delivery,
    DeliveryState,
    Thread,
    alert_item,
    alert_of,
    cache_item,
    cache_key,
    cache_of,
    declared_end_item,
    declared_item,
    declared_of,
    delivery_item,
    delivery_of,
    event_item,
    event_key,
    event_prefix,
    head_item,
    head_of,
    incident_item,
    incident_of,
    key_part,
    moment_text,
    paired_declarations,
    record_of,
    source_item,
    source_of,
    stored_record,
    thread_item,
    thread_of,
)
from rootwatch.audit.table import Item, Key
from rootwatch.channels import slack, sns
from rootwatch.context.surroundings import Remembered, Subject
from rootwatch.errors import DamagedItemError
from rootwatch.incident import GENESIS, AccountState, SourceSeen
from tests.unit.test_declared_use import ALICE, OFFICE, declare
from tests.unit.workbench import ACCOUNT, NOW, check_channels, check_item, fold_all, make_alert, make_observation


def some_event_item(**changes: Any) -> Item:
    """The item of one recorded event."""
    _, [outcome] = fold_all([make_observation("write", **changes)])
    assert outcome.event is not None
    return event_item(outcome.event, NOW)


# --- keys -------------------------------------------------------------------------------------------------------------


def test_a_plain_part_of_a_key_stays_and_any_other_is_hashed() -> None:
    """Text of a record cannot break out of its place in a key; different texts stay different."""
    assert key_part("111122223333") == "111122223333"
    assert key_part(None) == key_part("") == "unknown"
    hostile = ["a#b", "ACCOUNT#1", "\ud800", "x" * 65, "é", " ", "\n", "-a", "../x"]
    parts = [key_part(text) for text in hostile]
    assert len(set(parts)) == len(hostile)
    assert all(part.startswith("~") and len(part) == 33 and "#" not in part for part in parts)


def test_the_key_of_an_event() -> None:
    """An event's key is made of account, month, time, id and hash: the same record always has the same one."""
    observation = make_observation("write")
    record, key = observation.record, event_key(observation)
    assert key.pk == "EVENTS#111122223333#2026-11"
    assert key.sk == f"{moment_text(observation.time)}#{record.event_id}#{record.sha256[:12]}"
    assert key.sk.startswith(event_prefix(observation))
    assert event_key(make_observation("write", sent_after=timedelta(hours=9))) == key


def test_a_record_without_an_id_or_a_time_has_a_key_of_its_own() -> None:
    """Without an eventID the hash is the id; without a time the partition is `undated`."""
    first, second = (make_observation("write", eventID=None, userAgent=text) for text in ("a", "b"))
    assert event_prefix(first) != event_prefix(second)
    assert first.record.sha256 in event_key(first).sk
    undated = make_observation("write", eventTime="0001-01-01T00:00:00Z", sent_after=None)
    assert undated.record.event_time is None or event_key(undated).pk.endswith("#2026-11")


def test_moments_sort_as_text() -> None:
    """Times are UTC, with a fraction only where there is one."""
    assert moment_text(datetime(2026, 11, 3, 8, 15, 42, tzinfo=UTC)) == "2026-11-03T08:15:42Z"
    assert moment_text(datetime.fromisoformat("2026-11-03T10:15:42.5+02:00")) == "2026-11-03T08:15:42.500000Z"


# --- there and back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, COMPRESS_FROM * 3])
def test_an_event_keeps_the_whole_record(length: int) -> None:
    """The record comes back as it was, short or long, and a long one is compressed."""
    item = some_event_item(userAgent="x" * length or "short")
    check_item(item)
    assert ("record_zlib" in item) is (length > 0)
    observation = make_observation("write", userAgent="x" * length or "short")
    assert record_of(item) == observation.record.body
    assert item["sha256"] == observation.record.sha256
    assert item["sequence"] == 1


@pytest.mark.parametrize(
    "changes",
    [{"record": None}, {"record": 7}, {"record": "{"}, {"record": "[]"}, {"record": None, "record_zlib": b"x"},
     {"record": None, "record_zlib": zlib.compress(b"\xff")}],
)  # fmt: skip
def test_an_altered_event_is_recognised(changes: dict[str, Any]) -> None:
    """A record that cannot be read back any more is damaged, and not empty."""
    with pytest.raises(DamagedItemError):
        record_of(some_event_item() | changes)
    assert json.loads(stored_record(some_event_item()))


def test_a_head_comes_back() -> None:
    """The head says version, sequence, chain and the open incidents, and stays small."""
    state, _ = fold_all([make_observation("write")])
    head = head_of(head_item(replace(state, version=3), NOW))
    assert (head.version, head.sequence, head.chain) == (3, 1, state.chain)
    assert head.open_incidents == tuple(incident.id for incident in state.incidents)
    assert head_of(None).chain == GENESIS
    assert head_of(head_item(AccountState(ACCOUNT), NOW)).open_incidents == ()


def test_an_incident_comes_back_and_only_an_open_one_is_indexed() -> None:
    """An incident reads back equal, with every set and count, and leaves the index when it is closed."""
    specimens = ("console_login_failed", "console_login", "access_key_created", "read")
    state, _ = fold_all(
        [make_observation(name, eventTime=f"2026-11-03T08:0{n}:00Z") for n, name in enumerate(specimens)]
    )
    [incident] = state.incidents
    incident = replace(incident, full_set_at=NOW)
    assert incident_of(incident_item(incident)) == incident
    assert incident_item(incident)["open_account"] == ACCOUNT
    closed = replace(incident, open=False)
    assert incident_of(incident_item(closed)) == closed
    assert "open_account" not in incident_item(closed)


def test_an_alert_comes_back() -> None:
    """An alert reads back equal, so that what a notifier sends is what was decided."""
    alert = make_alert()
    assert alert_of(alert_item(alert)) == alert
    check_item(
        alert_item(make_alert("write", eventID="\ud800", userAgent="\udfff", requestParameters={"name": "\ud800"}))
    )


def test_an_alert_of_the_version_before_is_delivered() -> None:
    """An alert that was stored without the later fields reads back, and each channel sends all that it holds."""
    item = {name: value for name, value in alert_item(make_alert()).items() if name not in LATER}
    item["schema_version"] = 1
    alert = alert_of(item)
    assert (alert.expected, alert.access, alert.news, alert.so_far, alert.contacts, alert.trust) == ("",) * 5 + ((),)
    check_channels(alert)
    sent = json.dumps(slack.payload(alert)), sns.email_text(alert)
    for text in sent:
        assert "not stated" not in text
        for part in (alert.reason, *alert.next_steps, *(value for _, value in alert.facts), *alert.marks):
            assert part in text


def test_a_source_comes_back() -> None:
    """What is remembered of an address reads back."""
    seen = SourceSeen(NOW, NOW + timedelta(seconds=1), 7)
    assert source_of(source_item(ACCOUNT, "203.0.113.7", seen)) == seen


@pytest.mark.parametrize("state", DeliveryState)
def test_a_delivery_comes_back_and_only_an_undelivered_one_is_indexed(state: DeliveryState) -> None:
    """The ledger reads back equal, and is in the index until it is sent or has nowhere to go."""
    delivery = Delivery(
        "i-1",
        ACCOUNT,
        "slack",
        1,
        NOW,
        state,
        (Attempt(NOW, "no"), Attempt(NOW, None)),
        2,
        "ok",
        lease_until=NOW,
        revision=5,
        refused=True,
    )
    item = delivery_item(delivery)
    check_item(item)
    assert delivery_of(item) == delivery
    assert item["sk"] == "DELIVERY#slack#000001"
    assert ("undelivered_channel" in item) is (state in {DeliveryState.PENDING, DeliveryState.FAILED})
    assert item.get("undelivered_channel", "slack#refused") == "slack#refused"  # those refused for good lie apart


def test_a_declared_use_comes_back() -> None:
    """A declaration reads back equal, with its end where somebody ended it, and stands where its key says."""
    declared = declare(addresses=(OFFICE,), tasks=("mfa_added",), declared_at=NOW + timedelta(microseconds=7))
    item = declared_item(declared)
    check_item(item)
    assert item["sk"] == f"DECLARED#2026-11-03T10:00:00Z#{declared.id}"
    assert declared_of(item, None) == declared
    ended = replace(declared, ended_at=NOW, ended_by=ALICE)
    end = declared_end_item(ended)
    check_item(end)
    assert declared_of(item, end) == ended
    other = declared_item(declare(ticket="OPS-2"))
    assert [*paired_declarations([item, end, other])] == [(item["sk"], item, end), (other["sk"], other, None)]


@pytest.mark.parametrize(
    "changes",
    [
        {"reason": "something else"},
        {"to_at": "2026-11-09T10:30:00Z"},
        {"addresses": []},
        {"declared_at": "2026-11-01T10:30:00Z"},
        {"account_id": "444455556666"},
        {"ticket": "two words"},
        {"addresses": ["203.0.113.7/24"]},
        {"sk": "DECLARED#2026-11-03T10:00:00Z#0123456789abcdef"},
    ],
)
def test_an_altered_declaration_is_recognised(changes: dict[str, Any]) -> None:
    """Content that is not the one its key vouches for is damage, and so is an end without a declaration."""
    with pytest.raises(DamagedItemError):
        declared_of(declared_item(declare(addresses=(OFFICE,))) | changes, None)
    with pytest.raises(DamagedItemError):
        declared_of(None, declared_end_item(declare(ended_at=NOW, ended_by=ALICE)))


@pytest.mark.parametrize("parent", [None, "1788000000.000100"])
def test_a_thread_comes_back(parent: str | None) -> None:
    """What is kept of an incident's thread reads back as it was, claimed or begun."""
    claimed_until = None if parent else NOW
    thread = Thread("i-1", ACCOUNT, "slack", "C0000000000", parent, 3, claimed_until, revision=7)
    item = thread_item(thread)
    check_item(item)
    assert thread_of(item) == thread
    assert (item["pk"], item["sk"]) == ("INCIDENT#i-1", "THREAD#slack")


ITEMS = {
    "incident": lambda: incident_item(fold_all([make_observation("write")])[0].incidents[0]),
    "alert": lambda: alert_item(make_alert()),
    "delivery": lambda: delivery_item(Delivery("i-1", ACCOUNT, "slack", 1, NOW, attempts=(Attempt(NOW, None),))),
    "head": lambda: head_item(AccountState(ACCOUNT), NOW),
    "source": lambda: source_item(ACCOUNT, "203.0.113.7", SourceSeen(NOW, NOW, 1)),
    "cache": lambda: cache_item(Subject("owner", "203.0.113.7"), Remembered({"name": "Example"}, NOW)),
    "declared use": lambda: declared_item(declare(addresses=(OFFICE,), tasks=("mfa_added",))),
    "declared end": lambda: declared_end_item(declare(ended_at=NOW, ended_by=ALICE)),
    "thread": lambda: thread_item(Thread("i-1", ACCOUNT, "slack", "C0000000000", "1788000000.000100", 1, NOW, 1)),
}
READERS: dict[str, Callable[[Item], object]] = {
    "incident": incident_of,
    "alert": alert_of,
    "delivery": delivery_of,
    "head": head_of,
    "source": source_of,
    "cache": cache_of,
    "declared use": lambda item: declared_of(item, None),
    "declared end": lambda item: declared_of(declared_item(declare()), item),
    "thread": thread_of,
}
NOT_READ = {"pk", "sk", "schema_version", "account_id", "open_account", "updated_at", "address", "undelivered_channel",
            "unanswered_account", "unanswered_since", "undelivered_since", "incident_month", "incident_account",
            "declared_id", "name"}  # fmt: skip
LATER = {"expected", "access", "news", "so_far", "contacts", "trust"}
"""What an alert of schema version 1 does not have."""
NOTHING_WRONG = {
    ("incident", "silent"),
    ("incident", "full_set_at"),
    ("delivery", "receipt"),
    ("delivery", "lease_until"),
}


@pytest.mark.parametrize("what", ITEMS)
def test_an_altered_item_is_damaged_and_never_another_error(what: str) -> None:
    """Any attribute removed or of another type is a DamagedItemError that names the item, or reads as before."""
    item, read = ITEMS[what](), READERS[what]
    for name in item.keys() - NOT_READ:
        removed = {key: value for key, value in item.items() if key != name}
        with pytest.raises(DamagedItemError):
            read(removed)
        for value in (
            None,
            True,
            7.5,
            "odd",
            "0001-01-01T00:00:00+14:00",
            [["x"]],
            [7],
            {"x": None},
            {"x": "y"},
            b"x",
            [],
        ):
            try:
                read({**item, name: value})  # type: ignore[dict-item] # on purpose
            except DamagedItemError as error:
                assert "changed" in str(error)  # noqa: PT017 - some values may do


@pytest.mark.parametrize("fields", [{}, {"name": "Example"}, {"name": "Example", "country": "NL"}])
def test_a_cache_comes_back(fields: dict[str, str]) -> None:
    """What was looked up is kept with its version and its end, as seconds since 1970."""
    item = cache_item(Subject("owner", "203.0.113.7"), Remembered(fields, NOW + timedelta(days=30)))
    check_item(item)
    assert cache_of(item) == Remembered(fields, NOW + timedelta(days=30))
    assert (item["pk"], item["sk"], item["schema_version"]) == ("CACHE#owner", "203.0.113.7", SCHEMA_VERSION)
    assert item["expires"] == int((NOW + timedelta(days=30)).timestamp())


@pytest.mark.parametrize("expires", [10**18, -(10**18), 10**300])
def test_a_cache_of_no_time_is_damaged(expires: int) -> None:
    """A moment that no calendar holds is a damaged item, and no other error."""
    with pytest.raises(DamagedItemError):
        cache_of(cache_item(Subject("owner", "x"), Remembered({}, NOW)) | {"expires": expires})


def test_an_odd_name_has_a_safe_key() -> None:
    """An address that begins with a colon has a key all the same, and keeps its spelling beside it."""
    assert cache_key(Subject("owner", "2001:db8::7")) == Key("CACHE#owner", "2001:db8::7")
    item = cache_item(Subject("owner", "::7"), Remembered({}, NOW))
    assert str(item["sk"]).startswith("~")
    assert item["name"] == "::7"


def test_an_event_keeps_whose_address_it_was() -> None:
    """Owner and country stand in the event where they are known, and null where they are not."""
    _, [outcome] = fold_all([make_observation("console_login")])
    assert outcome.event is not None
    plain = event_item(outcome.event, NOW)
    assert (plain["source_owner"], plain["source_country"]) == (None, None)
    observation = outcome.event.observation
    source = replace(observation.source, owner="Example \ud800", country="NL")
    told = replace(outcome.event, observation=replace(observation, source=source))
    item = event_item(told, NOW)
    check_item(item)
    assert (item["source_owner"], item["source_country"]) == ("Example ?", "NL")
    assert item["sha256"] == plain["sha256"]


def test_alerts_of_an_incident_s_end_come_back() -> None:
    """An alert without a record of its own is stored like any other."""
    from rootwatch.incident import tick  # noqa: PLC0415 - only here

    state, _ = fold_all([make_observation("write")])
    [due] = tick(state, NOW + timedelta(days=1)).alerts
    alert: Alert = compose(due)
    assert alert_of(alert_item(alert)) == alert
    assert alert.kind == "summary"
