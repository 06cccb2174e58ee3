"""Probes and coverage: what is recognised, whatever a record says, and who is quiet at which moment."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootwatch.coverage import (
    KEPT_FOR,
    QUIET_AFTER,
    TOLD_EVERY,
    Place,
    hear_canary,
    hear_heartbeat,
    hear_record,
    heard_again,
    to_tell,
)
from rootwatch.probe import (
    CANARY_SOURCE,
    HEARTBEAT_SOURCE,
    ForgedBeatError,
    ProbeKind,
    answers,
    canary_record,
    canary_resource,
    heard_from,
    make_probe,
    named_probe,
    place_of,
    read_beat,
)
from rootwatch.record import Record, read_document, read_envelope
from tests.builders import build_envelope
from tests.unit.workbench import NOW

RULE = "arn:aws:events:us-east-1:111122223333:rule/rootwatch-root"
PROBE = make_probe(ProbeKind.CANARY, RULE, NOW, "0123456789abcdef" * 2)
MINUTE = timedelta(minutes=1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)


def canary(**changes: Any) -> Record:
    """The canary as it arrives."""
    envelope = {
        "source": CANARY_SOURCE, "account": "111122223333", "region": "us-east-1",
        "resources": [canary_resource(PROBE)], "detail": canary_record(PROBE.nonce, RULE, NOW),
    }  # fmt: skip
    return read_envelope(envelope | changes)


def test_a_canary_is_the_same_each_time() -> None:
    """The record that is hashed when it is sent is the one that arrives: it depends on nonce, rule and moment alone."""
    assert canary_record(PROBE.nonce, RULE, NOW) == canary_record(PROBE.nonce, RULE, NOW)
    assert read_document(canary_record(PROBE.nonce, RULE, NOW)).sha256 == PROBE.sha256
    assert place_of(RULE) == ("111122223333", "us-east-1")
    assert named_probe(canary()) == (ProbeKind.CANARY, PROBE.nonce)
    assert answers(canary(), PROBE)


@given(field=st.sampled_from(sorted(canary_record(PROBE.nonce, RULE, NOW))), value=JSON)
def test_nothing_in_the_detail_makes_a_canary(field: str, value: object) -> None:
    """Whatever is changed in the canary's record, it is not the canary any more."""
    detail = canary_record(PROBE.nonce, RULE, NOW)
    if detail[field] != value:
        assert not answers(canary(detail={**detail, field: value}), PROBE)
    assert not answers(canary(detail={**detail, "more": value}), PROBE)


@given(source=st.text(max_size=30), resources=JSON, detail=st.dictionaries(st.text(max_size=12), JSON, max_size=4))
def test_nothing_else_names_a_probe(source: str, resources: object, detail: dict[str, Any]) -> None:
    """Whatever arrives with another source, or with no nonce among its resources, names no probe and breaks nothing."""
    envelope = {"source": source, "resources": resources, "detail": {"eventName": "TagResource", **detail}}
    assert named_probe(read_envelope(envelope)) is None
    assert named_probe(read_envelope(envelope | {"source": CANARY_SOURCE})) is None
    assert heard_from(read_envelope(envelope)) is None


@given(detail=st.dictionaries(st.text(max_size=12), JSON, max_size=4), scheduled=JSON)
def test_whatever_claims_to_be_a_heartbeat_is_one_or_is_forged(detail: dict[str, Any], scheduled: object) -> None:
    """A heartbeat has three fields and a moment of its day; everything else with its source is called forged."""
    body = {"eventName": "RootwatchHeartbeat", "executionId": "e", "scheduledTime": scheduled, **detail}
    envelope = {"source": HEARTBEAT_SOURCE, "account": "111122223333", "region": "us-east-1", "detail": body}
    beat = None
    with suppress(ForgedBeatError):
        beat = read_beat(read_envelope(envelope), NOW)
    if beat is not None:
        assert set(body) == {"eventName", "executionId", "scheduledTime"}
        assert abs(beat.scheduled_at - NOW) <= timedelta(hours=25)


@pytest.mark.parametrize(("account", "region"), [("", "us-east-1"), ("111122223333", ""), ("1" * 13, "us-east-1")])
def test_a_heartbeat_of_nowhere_is_none(account: str, region: str) -> None:
    """A heartbeat whose envelope names no account or region counts for nobody."""
    body = {"eventName": "RootwatchHeartbeat", "executionId": "e", "scheduledTime": f"{NOW:%Y-%m-%dT%H:%M:%SZ}"}
    envelope = {"source": HEARTBEAT_SOURCE, "account": account, "region": region, "detail": body}
    with pytest.raises(ForgedBeatError, match="no account or no region"):
        read_beat(read_envelope(envelope), NOW)
    assert read_beat(read_envelope(build_envelope("write")), NOW) is None


def test_records_are_noted_now_and_then() -> None:
    """A flood of records is one change of its place every five minutes, and none goes unnoticed for longer."""
    first = hear_record(None, "111122223333", "us-east-1", NOW)
    assert first is not None
    assert hear_record(first, "111122223333", "us-east-1", NOW + KEPT_FOR - MINUTE) is None
    later = hear_record(first, "111122223333", "us-east-1", NOW + KEPT_FOR)
    assert later is not None
    assert (later.first_at, later.record_at) == (NOW, NOW + KEPT_FOR)
    ahead = Place("111122223333", "us-east-1", NOW, record_at=datetime(2100, 1, 1, tzinfo=UTC))
    assert hear_record(ahead, "111122223333", "us-east-1", NOW) is not None


def test_who_is_quiet_and_who_is_told_of() -> None:
    """A place is quiet two hours after its last heartbeat, is due once and a day later again, until it is heard."""
    place = Place("111122223333", "us-east-1", NOW, heartbeat_at=NOW)
    assert to_tell([place], NOW + QUIET_AFTER) == []
    late = NOW + QUIET_AFTER + MINUTE
    assert to_tell([place], late) == [place]
    told = Place("111122223333", "us-east-1", NOW, heartbeat_at=NOW, told_at=late)
    assert to_tell([told], late + TOLD_EVERY - MINUTE) == []
    assert to_tell([told], late + TOLD_EVERY) == [told]
    assert heard_again([told], late) == []
    again = hear_heartbeat(told, "111122223333", "us-east-1", late)
    assert again is not None
    assert heard_again([again], late) == [again]


def test_a_canary_or_a_record_is_no_heartbeat() -> None:
    """Only its own heartbeat keeps a place from being quiet: records come when root acts, and prove nothing else."""
    place = hear_canary(None, "111122223333", "us-east-1", NOW)
    late = NOW + QUIET_AFTER + MINUTE
    heard = hear_record(hear_canary(place, "111122223333", "us-east-1", late), "111122223333", "us-east-1", late)
    assert heard is not None
    assert heard.is_quiet(late)
