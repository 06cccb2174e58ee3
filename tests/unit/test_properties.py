"""Whatever a record holds, it becomes a record, an event and an alert; whatever the order, one story."""

import json
import unicodedata
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rootwatch.alert import LONGEST_VALUE, compose, shown
from rootwatch.audit.items import event_item, head_item, incident_item, incident_of, record_of
from rootwatch.audit.memory import MemoryTable
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Key, size_of
from rootwatch.context import client, source
from rootwatch.context.observation import Observation, observe
from rootwatch.detections.catalogue import CATALOGUE
from rootwatch.incident import LARGEST_SET, AccountState, fold, next_chain, next_tick, tick
from rootwatch.pipeline import Fate, detect_messages
from rootwatch.record import canonical_json, read_document, read_envelope
from tests.builders import build_envelope
from tests.builders.hostile import (
    ENVELOPES,
    HOSTILE_TEXTS,
    PLACES,
    REMOVED,
    SPECIMENS,
    VALUES,
    changed,
)
from tests.unit.workbench import (
    ACCOUNT,
    IDLE,
    NOW,
    OWN,
    Changes,
    CheckedTable,
    check_channels,
    check_item,
    fold_all,
    make_message,
    make_observation,
    make_recorder,
)


def _is_record(envelope: dict[str, Any]) -> bool:
    return any(name in envelope["detail"] for name in ("eventName", "eventSource", "userIdentity", "eventType"))


def _check_observation(observation: Observation) -> None:
    """What is made of an observation, alone in its account, is fit to be kept, shown and sent."""
    assert len({*observation.problems}) == len(observation.problems)
    assert all(len(problem) < 300 for problem in observation.problems)
    assert observation.relevant or not observation.record.actor.by_root
    if not observation.relevant:
        return
    outcome = fold(AccountState(ACCOUNT), observation, NOW, idle=IDLE)
    assert outcome.event is not None
    item = event_item(outcome.event, NOW)
    check_item(item)
    assert canonical_json(record_of(item)) == canonical_json(observation.record.body)
    check_item(head_item(outcome.state, NOW))
    for incident in outcome.changed:
        check_item(incident_item(incident))
        assert next_tick(outcome.state, idle=IDLE) is not None
        for due in tick(outcome.state, NOW + timedelta(days=400), idle=IDLE).alerts:
            check_channels(compose(due))
    for due in outcome.alerts:
        alert = compose(due)
        check_channels(alert)
        parts = (
            *(text for _, text in alert.briefing),
            *alert.trust,
            *(value for _, value in alert.facts),
            *alert.marks,
        )
        for text in (alert.headline, *parts):
            _check_shown(text, 2_000)


def _check_shown(text: str, longest: int) -> None:
    assert len(text) <= longest
    assert "://" not in text
    assert not {unicodedata.category(character) for character in text} & {"Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn"}


@pytest.mark.parametrize(
    "specimen",
    # The same fields again in the others; the random changes below take them too.
    [each for each in SPECIMENS if not each[0].startswith(("silent/", "near_misses/"))],
    ids=lambda each: f"{each[0]}-{each[1]}",
)
def test_every_key_of_a_specimen_removed_or_nulled_or_of_another_type(specimen: tuple[str, int]) -> None:
    """Each key of each specimen, one at a time, removed, nulled, or replaced by each other type, stops nothing."""
    for number in range(len(PLACES[specimen])):
        for value in (REMOVED, None, True, "\ud800\u202e://", [{"x": "y"}]):
            _check_observation(observe(read_envelope(changed(specimen, [(number, value)])), OWN, sent_at=NOW))


@settings(max_examples=300)
@given(ENVELOPES.filter(_is_record), st.sampled_from([None, NOW]))
def test_any_change_of_a_specimen_still_makes_a_record_and_an_alert(envelope: dict[str, Any], sent_at: Any) -> None:
    """Keys at any depth replaced by anything: there is a record, an event that DynamoDB holds, and an alert to send."""
    _check_observation(observe(read_envelope(envelope), OWN, sent_at=sent_at))
    _check_observation(observe(read_document(envelope["detail"]), OWN, sent_at=sent_at))


@settings(max_examples=100)
@given(st.lists(ENVELOPES.filter(_is_record), min_size=1, max_size=12))
def test_any_batch_is_taken_whole(envelopes: list[dict[str, Any]]) -> None:
    """A batch of broken records goes through all steps: each is recorded, known already or none of our business."""
    table = CheckedTable()
    messages = [make_message(envelope, str(number)) for number, envelope in enumerate(envelopes)]
    results = detect_messages(messages, make_recorder(table))
    assert [result.message for result in results] == messages
    assert {result.fate for result in results} <= {Fate.RECORDED, Fate.DUPLICATE, Fate.IRRELEVANT}, results
    again = detect_messages(messages, make_recorder(table))
    assert {result.fate for result in again} <= {Fate.DUPLICATE, Fate.IRRELEVANT}


ENVELOPE_CHANGES = st.dictionaries(
    st.sampled_from(["source", "account", "time", "region", "id", "detail-type", "version", "resources"]), VALUES
)


@settings(max_examples=100)
@given(st.sampled_from(SPECIMENS), ENVELOPE_CHANGES)
def test_any_envelope_around_a_record_is_read(specimen: tuple[str, int], changes: dict[str, Any]) -> None:
    """Whatever stands in the envelope beside `detail`, the record is read."""
    envelope = build_envelope(specimen[0], position=specimen[1]) | changes
    _check_observation(observe(read_envelope(envelope), OWN, sent_at=NOW))


@settings(max_examples=500)
@given(st.one_of(st.text(max_size=400), st.sampled_from(HOSTILE_TEXTS)), st.integers(2, 300))
@example("a:\u200b//b", 20)
@example(":" * 50 + "//" * 50, 60)
@example("www" + "." * 30, 20)
def test_shown_text_is_one_bounded_visible_line(text: str, longest: int) -> None:
    """Text out of a record is shown on one line, bounded, with nothing hidden in it and nothing that becomes a link."""
    _check_shown(shown(text, longest), longest)
    _check_shown(shown(text), LONGEST_VALUE)
    assert shown(text).isprintable()


@settings(max_examples=300)
@given(st.text(max_size=200))
def test_shown_leaves_plain_words_alone(text: str) -> None:
    """Plain text is shown as it is: cleaning takes nothing away that a person could read."""
    plain = " ".join("".join(c for c in text if (c.isascii() and c.isalnum()) or c == " ").split())[:LONGEST_VALUE]
    assert shown(plain) == plain.replace("www.", "www[.]")


@settings(max_examples=300)
@given(st.one_of(st.text(max_size=80), st.sampled_from(HOSTILE_TEXTS), st.ip_addresses().map(str)))
def test_any_source_and_any_client_are_classified(text: str) -> None:
    """Any text is some kind of source and some kind of client, and the names made of it are short and plain."""
    where, with_what = source.classify(text), client.classify(text)
    if where.ip is not None:
        assert set(where.ip) <= set("0123456789abcdef:.")
    if with_what.name is not None:
        assert len(with_what.name) <= 60
        assert with_what.name.isascii()
        _check_shown(with_what.name, 60)


RELEVANT = [specimen for specimen in SPECIMENS if make_observation(specimen[0], position=specimen[1]).relevant]
STORIES = st.lists(
    st.tuples(st.sampled_from(RELEVANT), st.integers(0, 3)), min_size=1, max_size=10, unique=True
).flatmap(lambda story: st.tuples(st.just(story), st.lists(st.sampled_from(story), max_size=8), st.randoms()))


def _stored(table: MemoryTable) -> dict[str, set[tuple[str, str, str]]]:
    """The events in the table by account: partition, sort key and hash."""
    stored: dict[str, set[tuple[str, str, str]]] = {}
    for pk in table._partitions:
        if pk.startswith("EVENTS#"):
            events = stored.setdefault(pk.split("#")[1], set())
            events |= {(pk, str(item["sk"]), str(item["sha256"])) for item in table.query(pk)}
    return stored


@settings(max_examples=60)
@given(STORIES)
def test_any_order_and_repetition_leaves_the_same_events(story: Any) -> None:
    """However often, in whatever order and batches records arrive, the same events are kept in an unbroken chain."""
    once, repeated, random = story
    expected, other = MemoryTable(), MemoryTable()

    def take(table: MemoryTable, chosen: list[Any], size: int) -> None:
        messages = [
            make_message(build_envelope(name, position=place, number=number), str(position))
            for position, ((name, place), number) in enumerate(chosen)
        ]
        for start in range(0, len(messages), size):
            results = detect_messages(messages[start : start + size], make_recorder(table))
            assert {result.fate for result in results} <= {Fate.RECORDED, Fate.DUPLICATE}, results

    take(expected, once, 10)
    shuffled = [*once, *repeated]
    random.shuffle(shuffled)
    take(other, shuffled, random.randint(1, 10))
    assert _stored(other) == _stored(expected)
    for account_id, events in _stored(other).items():
        months = sorted({pk.split("#")[2] for pk, _, _ in events})
        report = AuditStore(other).verify_chain(account_id, months)
        assert report.faults == ()
        assert report.events == report.sequence == len(events)


@settings(max_examples=60)
@given(st.lists(ENVELOPES.filter(_is_record), min_size=1, max_size=10), st.sampled_from([None, NOW]))
def test_fold_takes_any_sequence(envelopes: list[dict[str, Any]], sent_at: Any) -> None:
    """Any sequence of broken records folds into one account: numbered, chained, with incidents that read back."""
    observations = [observe(read_envelope(envelope), OWN, sent_at=sent_at) for envelope in envelopes]
    state, outcomes = fold_all([observation for observation in observations if observation.relevant])
    chain = AccountState(ACCOUNT).chain
    for number, outcome in enumerate(outcomes, start=1):
        assert outcome.event is not None
        chain = next_chain(chain, outcome.event.observation.record.sha256)
        assert (outcome.event.sequence, outcome.event.chain) == (number, chain)
        for due in outcome.alerts:
            check_channels(compose(due))
    assert state.sequence == len(outcomes)
    for incident in state.incidents:
        assert incident_of(incident_item(incident)) == incident
        assert incident.detections.keys() <= {detection.id for detection in CATALOGUE}
    tick(state, NOW + timedelta(days=40_000), idle=IDLE)


def test_a_flood_of_minted_names_leaves_the_incident_storable() -> None:
    """Names, regions, addresses, keys and clients without end fill the sets and then count; the item stays small."""
    state = AccountState(ACCOUNT)
    for number in range(LARGEST_SET + 60):
        filler = "𐀀" * 250 + str(number)
        observation = make_observation(
            "write",
            number=number,
            eventName=f"Mint{number}{filler}",
            awsRegion=f"{number}{filler}",
            sourceIPAddress=f"{number}{filler}",
            userAgent=filler,
            **Changes({"userIdentity.accessKeyId": f"AKIA{number}{filler}", "userIdentity.sessionContext": None}),
            requestParameters={"bucketName": filler},
        )
        failed = make_observation(
            "console_login_failed",
            number=number,
            sourceIPAddress=f"f{number}{filler}",
            eventTime=observation.record.body["eventTime"],
        )
        state, _ = fold_all([observation, failed], state)
    [incident] = state.incidents
    item = incident_item(incident)
    check_item(item)
    assert size_of(item) < 300 * 1024
    assert incident.records == 2 * (LARGEST_SET + 60)
    assert sum(incident.acts.values()) == incident.records
    assert len(incident.sources) == len(incident.failed_sources) == LARGEST_SET


def test_a_flood_of_stories_leaves_the_head_small_and_the_account_writable() -> None:
    """AssumeRoot under hundreds of policies keeps the head small, and an hour later all can be closed."""
    table = CheckedTable()
    envelopes = [
        build_envelope(
            "assumed", number=number, **Changes({"requestParameters.taskPolicyArn": {"arn": f"task/{number}"}})
        )
        for number in range(150)
    ]
    sent = make_observation("assumed").time
    for start in range(0, len(envelopes), 10):
        messages = [make_message(envelope, sent_at=sent) for envelope in envelopes[start : start + 10]]
        results = detect_messages(messages, make_recorder(table, sent))
        assert {result.fate for result in results} == {Fate.RECORDED}, results
    account_id = str(make_observation("assumed").record.account_id)
    head_key = Key(f"ACCOUNT#{account_id}", "HEAD")
    [head] = table.get([head_key])
    assert head is not None
    assert size_of(head) < 2048
    for number in range(40):
        late = sent + timedelta(hours=2, minutes=number)
        envelope = build_envelope("assumed", number=1_000 + number, eventTime=f"{late:%Y-%m-%dT%H:%M:%SZ}")
        [result] = detect_messages([make_message(envelope, sent_at=late)], make_recorder(table, late))
        assert result.fate is Fate.RECORDED, result
    [head] = table.get([head_key])
    assert head is not None
    assert isinstance(head["open_incidents"], list)
    assert len(head["open_incidents"]) <= 2  # the first late record found every place taken and joined one


def test_a_record_made_to_be_large_is_kept() -> None:
    """Secrets and long names without end, in a record of 250 KB, make an event that DynamoDB holds."""
    many = {f"{number:05}password": number for number in range(9_000)}
    deep: Any = ["x"] * 40_000
    for _ in range(3):
        deep = {"n" * 20_000: deep}
    for request in (many, deep, {"a" * 100_000: [{"password": "x"}] * 5_000}):
        observation = make_observation("write", requestParameters=request)
        assert len(json.dumps(request)) < 270 * 1024
        _check_observation(observation)
