"""The steps joined: every message ends recorded, known, irrelevant, rejected or failed, and nothing is lost."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rootwatch import pipeline
from rootwatch.audit.items import COVERAGE, DeliveryState, delivery_of, event_prefix
from rootwatch.audit.memory import MemoryTable
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Item, Put
from rootwatch.context.observation import observe
from rootwatch.errors import (
    DamagedItemError,
    DeliveryFailedError,
    StoreConflictError,
    StoreUnavailableError,
    TransactionTooLargeError,
)
from rootwatch.incident import MOST_OPEN
from rootwatch.pipeline import (
    MOST_TRIES,
    Clock,
    Fate,
    Message,
    ReplaySummary,
    detect_messages,
    inspect_document,
    inspection,
    message_of,
    next_timer,
    record_batch,
    replay,
    run_timers,
    take_in,
)
from rootwatch.settings import CHANNELS, networks
from tests.builders import all_specimens, as_sqs_event, build_envelope, load_expectations, load_specimen
from tests.unit.workbench import (
    ACCOUNT,
    NOW,
    OWN,
    Changes,
    CheckedTable,
    make_message,
    make_observation,
    make_recorder,
)

UNREADABLE = [
    "hunter2", "", "null", "[]", '"hunter2"', "7", "{}", '{"hunter2": 1}', '{"detail": null}', '{"detail": "hunter2"}',
    '{"detail": {}}', '{"detail": {"hunter2": "hunter2"}}', '{"detail": ["hunter2"]}', "[" * 100_000,
    '{"detail": {"eventName": "hunter2"',
]  # fmt: skip


def items(table: MemoryTable, prefix: str) -> list[Item]:
    """The items whose partition and sort key begin like this."""
    pk, _, sk = prefix.partition("/")
    return [item for each in sorted(table._partitions) if each.startswith(pk) for item in table.query(each, sk)]


# --- messages ---------------------------------------------------------------------------------------------------------


def test_a_message_becomes_event_incident_alert_deliveries_and_head() -> None:
    """One sign-in leaves one event, one incident, one alert, one pending delivery per channel, one source, one head."""
    table = CheckedTable()
    [result] = detect_messages([make_message(build_envelope("console_login"))], make_recorder(table))
    assert (result.fate, result.reason) == (Fate.RECORDED, None)
    assert len(items(table, "EVENTS#111122223333#2026-11")) == 1
    assert len(items(table, "INCIDENT#/INCIDENT")) == len(items(table, "INCIDENT#/ALERT#")) == 1
    deliveries = [delivery_of(item) for item in items(table, "INCIDENT#/DELIVERY#")]
    assert {delivery.channel for delivery in deliveries} == set(CHANNELS)
    assert {delivery.state for delivery in deliveries} == {DeliveryState.PENDING}
    assert [item["sk"] for item in items(table, f"ACCOUNT#{ACCOUNT}")] == ["HEAD", "SOURCE#198.51.100.24"]


@pytest.mark.parametrize("body", UNREADABLE)
def test_an_unreadable_message_is_rejected_and_its_neighbours_pass(body: str) -> None:
    """What is no record is rejected with a reason that quotes nothing of it; the messages beside it are recorded."""
    messages = [make_message(build_envelope("write", number=n), str(n)) for n in range(2)]
    messages.insert(1, make_message(body, "poison"))
    first, poison, last = detect_messages(messages, make_recorder())
    assert (first.fate, poison.fate, last.fate) == (Fate.RECORDED, Fate.REJECTED, Fate.RECORDED)
    assert poison.reason
    assert "hunter2" not in poison.reason


def test_results_keep_the_order_of_the_messages() -> None:
    """Whatever account and time the messages are of, each result stands where its message stood."""
    envelopes: list[Any] = [
        build_envelope("write", number=1, eventTime="2026-11-03T10:00:00Z"),
        build_envelope("assumed"),
        build_envelope("silent/iam_user_sign_in"),
        build_envelope("write", number=2, eventTime="2026-11-03T09:00:00Z"),
        "rubbish",
    ]
    messages = [make_message(envelope, str(number)) for number, envelope in enumerate(envelopes)]
    results = detect_messages(messages, make_recorder())
    assert [result.message.id for result in results] == ["0", "1", "2", "3", "4"]
    assert [result.fate for result in results] == [
        Fate.RECORDED, Fate.RECORDED, Fate.IRRELEVANT, Fate.RECORDED, Fate.REJECTED,
    ]  # fmt: skip


def test_a_recorder_passes_its_trusted_networks_on() -> None:
    """What detect records was classified with the networks of its recorder."""
    seen: list[bool | None] = []

    class Store(AuditStore):
        def read_account(self, account_id: str, observations: Sequence[Any], now: datetime) -> Any:
            seen.extend(observation.source.trusted for observation in observations)
            return super().read_account(account_id, observations, now)

    recorder = replace(
        make_recorder(), store=Store(CheckedTable()), trusted_networks=networks(["198.51.100.0/24"], "-")
    )
    detect_messages([make_message(build_envelope("console_login"))], recorder)
    assert seen == [True]


def test_a_duplicate_adds_nothing() -> None:
    """The same record again, in the same batch or a later one, in another message and later, changes no item, but for
    when its account was heard last in its region.
    """
    table = CheckedTable()
    envelope = build_envelope("console_login")
    results = detect_messages([make_message(envelope, "a"), make_message(envelope, "b")], make_recorder(table))
    assert [result.fate for result in results] == [Fate.RECORDED, Fate.DUPLICATE]
    before = {pk: list(table.query(pk)) for pk in table._partitions if pk != COVERAGE}
    spelled = make_message(json.dumps(envelope, indent=4, sort_keys=True), "c", NOW + timedelta(minutes=5))
    [result] = detect_messages([spelled], make_recorder(table, NOW + timedelta(minutes=5)))
    assert result.fate is Fate.DUPLICATE
    assert {pk: list(table.query(pk)) for pk in table._partitions if pk != COVERAGE} == before


@pytest.mark.parametrize("together", [True, False])
def test_two_records_with_one_event_id_are_both_kept_and_told(together: bool) -> None:  # noqa: FBT001
    """Another record under a known event id is stored beside it, marked, and told of even where it is nothing new."""
    table = CheckedTable()
    first = build_envelope("read", userAgent="Mozilla/5.0 Firefox/145.0")
    second = json.loads(json.dumps(first))
    second["detail"]["requestParameters"] = {"forged": "yes"}
    messages = [make_message(first, "a"), make_message(second, "b")]
    for batch in [messages] if together else [messages[:1], messages[1:]]:
        assert {result.fate for result in detect_messages(batch, make_recorder(table))} == {Fate.RECORDED}
    events = items(table, "EVENTS#")
    assert sorted(bool(event["event_id_reused"]) for event in events) == [False, True]
    assert len({str(event["sk"])[: len(event_prefix(make_observation("read")))] for event in events}) == 1
    alerts = items(table, "INCIDENT#/ALERT#")
    assert any("EVENT ID REUSED" in str(alert["trust"]) for alert in alerts)


def test_a_batch_of_one_account_is_one_write() -> None:
    """Ten records of an account are one transaction, those of another another; where they were heard comes after."""

    class Counting(CheckedTable):
        writes = 0

        def write(self, puts: Sequence[Put]) -> None:
            self.writes += [str(put.item["pk"]) for put in puts] != [COVERAGE]
            super().write(puts)

    table = Counting()
    envelopes = [build_envelope("read", number=n) for n in range(10)] + [build_envelope("assumed")]
    messages = [make_message(envelope, str(n)) for n, envelope in enumerate(envelopes)]
    assert {result.fate for result in detect_messages(messages, make_recorder(table))} == {Fate.RECORDED}
    assert table.writes == 2
    sequences = sorted(int(str(event["sequence"])) for event in items(table, f"EVENTS#{ACCOUNT}"))
    assert sequences == list(range(1, 11))


# --- a store that fails -----------------------------------------------------------------------------------------------


class Failing(CheckedTable):
    """A table whose next writes, or every read, end as told."""

    def __init__(self, *errors: Exception, on_read: Exception | None = None) -> None:
        super().__init__()
        self.errors = list(errors)
        self.on_read = on_read

    def get(self, keys: Sequence[Any]) -> list[Item | None]:
        """Fail, or read."""
        if self.on_read:
            raise self.on_read
        return super().get(keys)

    def write(self, puts: Sequence[Put]) -> None:
        """Fail as often as told, then write."""
        if self.errors:
            raise self.errors.pop(0)
        super().write(puts)


def three_messages() -> list[Message]:
    """Three records of one account."""
    return [make_message(build_envelope("write", number=n), str(n)) for n in range(3)]


def test_a_conflict_is_tried_again() -> None:
    """When somebody else wrote the account, it is read and folded again, with a growing pause."""
    pauses: list[int] = []
    table = Failing(*[StoreConflictError("x")] * 3)
    recorder = replace(make_recorder(table), pause=pauses.append)
    assert {result.fate for result in detect_messages(three_messages(), recorder)} == {Fate.RECORDED}
    assert pauses == [1, 2, 3]
    assert AuditStore(table).verify_chain(ACCOUNT, ["2026-11"]).faults == ()


def test_a_real_conflict_keeps_both_writers_records() -> None:
    """Two writers that read the same state both end recorded, in one chain without a gap."""

    class Interrupted(CheckedTable):
        interrupt = True

        def write(self, puts: Sequence[Put]) -> None:
            if self.interrupt:
                self.interrupt = False
                [other] = detect_messages([make_message(build_envelope("read"))], make_recorder(self))
                assert other.fate is Fate.RECORDED
            super().write(puts)

    table = Interrupted()
    assert {result.fate for result in detect_messages(three_messages(), make_recorder(table))} == {Fate.RECORDED}
    report = AuditStore(table).verify_chain(ACCOUNT, ["2026-11"])
    assert (report.events, report.sequence, report.faults) == (4, 4, ())


def test_a_conflict_without_end_leaves_the_messages_in_the_queue() -> None:
    """After so many tries the batch fails, with a reason, and is not rejected."""
    table = Failing(*[StoreConflictError("x")] * MOST_TRIES)
    results = detect_messages(three_messages(), make_recorder(table))
    assert {result.fate for result in results} == {Fate.FAILED}
    assert table.errors == []
    assert all("StoreConflictError" in str(result.reason) for result in results)


@pytest.mark.parametrize("error", [StoreUnavailableError("out"), DamagedItemError("odd"), RuntimeError("hunter2")])
@pytest.mark.parametrize("on_read", [True, False])
def test_a_store_that_is_out_fails_every_message_and_rejects_none(error: Exception, on_read: bool) -> None:  # noqa: FBT001
    """Whatever the store's trouble is, its messages stay in the queue; what cannot be read is still rejected."""
    table = Failing(on_read=error) if on_read else Failing(*[error] * 100)
    rejected: list[Message] = []
    event = as_sqs_event([*(build_envelope("write", number=n) for n in range(3)), "rubbish"])
    results = take_in(event, make_recorder(table), lambda message, _reason: rejected.append(message))
    assert [result.fate for result in results] == [Fate.FAILED] * 3 + [Fate.REJECTED]
    assert [message.body for message in rejected] == ["rubbish"]
    assert not any("hunter2" in str(result.reason) for result in results)
    assert table._partitions == {}


def test_one_record_that_cannot_be_written_takes_no_neighbour_with_it() -> None:
    """A batch too large, or with one record that always fails, is split until only that one is left."""

    class Picky(CheckedTable):
        def write(self, puts: Sequence[Put]) -> None:
            names = [put.item.get("event_name") for put in puts if put.key.pk.startswith("EVENTS#")]
            if len(names) > 2:
                raise TransactionTooLargeError("too large")
            if "Odd" in names:
                raise RuntimeError("always")
            super().write(puts)

    envelopes = [build_envelope("write", number=n, eventName="Odd" if n == 4 else "CreateBucket") for n in range(7)]
    table = Picky()
    results = detect_messages([make_message(each, str(n)) for n, each in enumerate(envelopes)], make_recorder(table))
    assert [result.message.id for result in results if result.fate is Fate.FAILED] == ["4"]
    assert [result.fate for result in results].count(Fate.RECORDED) == 6
    assert AuditStore(table).verify_chain(ACCOUNT, ["2026-11"]).faults == ()


def test_a_fault_of_ours_in_one_record_fails_only_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception while a record is read leaves its message in the queue, quotes nothing, and its neighbours pass."""

    def faulty(record: Any, *rest: Any, **named: Any) -> Any:
        if record.event_name == "Odd":
            raise ZeroDivisionError("hunter2")
        return observe(record, *rest, **named)

    monkeypatch.setattr(pipeline, "observe", faulty)
    messages = [make_message(build_envelope("write", eventName=name), name) for name in ("Good", "Odd", "Fine")]
    results = detect_messages(messages, make_recorder())
    assert [result.fate for result in results] == [Fate.RECORDED, Fate.FAILED, Fate.RECORDED]
    assert results[1].reason == "a fault in Rootwatch (ZeroDivisionError)"


def test_a_write_that_took_effect_unseen_is_known_the_next_time() -> None:
    """A write that times out after it took effect fails, and the redelivery finds the record and adds nothing."""

    class Late(CheckedTable):
        late = True

        def write(self, puts: Sequence[Put]) -> None:
            super().write(puts)
            if self.late:
                self.late = False
                raise StoreUnavailableError("timed out")

    table = Late()
    assert {result.fate for result in detect_messages(three_messages(), make_recorder(table))} == {Fate.FAILED}
    assert {result.fate for result in detect_messages(three_messages(), make_recorder(table))} == {Fate.DUPLICATE}
    assert len(items(table, "EVENTS#")) == 3


# --- the whole SQS event ----------------------------------------------------------------------------------------------


def test_a_reject_that_fails_leaves_the_message_in_the_queue() -> None:
    """When the dead-letter queue does not take a message, it has failed and is kept; the others are as they were."""

    def reject(_message: Message, _reason: str) -> None:
        raise DeliveryFailedError("The dead-letter queue did not take it.")

    results = take_in(as_sqs_event(["rubbish", build_envelope("write")]), make_recorder(), reject)
    assert [result.fate for result in results] == [Fate.FAILED, Fate.RECORDED]
    assert "dead-letter queue" in str(results[0].reason)


def test_rejected_messages_go_out_with_their_reason() -> None:
    """Each rejected message is handed over once, whole, with its reason."""
    rejected: list[tuple[str, str]] = []
    take_in(as_sqs_event(UNREADABLE), make_recorder(), lambda message, reason: rejected.append((message.body, reason)))
    assert [body for body, _ in rejected] == UNREADABLE
    assert all(reason for _, reason in rejected)


@pytest.mark.parametrize("event", [{}, {"Records": None}, {"Records": {}}, {"Records": []}])
def test_an_event_without_messages(event: dict[str, Any]) -> None:
    """An event without messages has no results."""
    assert take_in(event, make_recorder(), lambda *_: None) == []


@pytest.mark.parametrize(
    ("attributes", "stated"),
    [({"SentTimestamp": "1793693742000"}, True), ({"SentTimestamp": 1793693742000}, False),
     ({"SentTimestamp": "x"}, False), ({"SentTimestamp": "9" * 50}, False), ({"SentTimestamp": "99999999999999"}, True),
     ({}, False), (None, False)],
)  # fmt: skip
def test_when_a_message_was_sent(attributes: Any, stated: bool) -> None:  # noqa: FBT001
    """SentTimestamp is read where it is one, and its absence is no error."""
    message = message_of({"messageId": "m", "body": "b", "attributes": attributes})
    assert (message.id, message.body) == ("m", "b")
    assert (message.sent_at is not None) is stated


def test_late_is_what_cloudtrail_delays_and_not_our_backlog() -> None:
    """A record that lay in our queue for a day is not late; one that reached the queue after an hour is."""
    table = CheckedTable()
    observation = make_observation("console_login")
    prompt = make_message(build_envelope("console_login"), sent_at=observation.time + timedelta(seconds=9))
    detect_messages([prompt], make_recorder(table, NOW + timedelta(days=1)))
    late = make_message(build_envelope("console_login", number=1), sent_at=observation.time + timedelta(hours=1))
    detect_messages([late], make_recorder(table, NOW + timedelta(days=1)))
    marks = [str(alert["trust"]) for alert in items(table, "INCIDENT#/ALERT#")]
    assert ["LATE" in mark for mark in marks] == [False, True]


# --- timers -----------------------------------------------------------------------------------------------------------


def test_timers_close_what_ended_and_say_so_once() -> None:
    """An hour after the last record the incident is closed with a summary; the next run has nothing to do."""
    table = CheckedTable()
    detect_messages([make_message(build_envelope("write"))], make_recorder(table))
    due = next_timer(ACCOUNT, make_recorder(table))
    assert due is not None
    assert run_timers(ACCOUNT, make_recorder(table, due - timedelta(seconds=1))) == []
    [alert] = run_timers(ACCOUNT, make_recorder(table, due))
    assert alert.kind == "summary"
    assert run_timers(ACCOUNT, make_recorder(table, due + timedelta(hours=9))) == []
    assert next_timer(ACCOUNT, make_recorder(table)) is None
    assert len(items(table, "INCIDENT#/DELIVERY#")) == 2 * len(CHANNELS)


def test_timers_try_again_after_a_conflict_and_give_up_in_the_end() -> None:
    """A conflict while closing is tried again; one without end is raised, and nothing is written."""
    table = Failing()
    detect_messages([make_message(build_envelope("write"))], make_recorder(table))
    later = make_recorder(table, NOW + timedelta(days=1))
    table.errors = [StoreConflictError("x")] * MOST_TRIES
    with pytest.raises(StoreConflictError):
        run_timers(ACCOUNT, later)
    table.errors = [StoreConflictError("x")]
    assert len(run_timers(ACCOUNT, later)) == 1


def test_a_batch_closes_what_ended_before_it() -> None:
    """Records that come a day later close the incident of the day before in the same write."""
    table = CheckedTable()
    detect_messages([make_message(build_envelope("write"))], make_recorder(table))
    sent = NOW + timedelta(days=1)
    envelope = build_envelope("write", number=2, eventTime=f"{sent:%Y-%m-%dT%H:%M:%SZ}")
    detect_messages([make_message(envelope, sent_at=sent)], make_recorder(table, sent))
    assert sorted(str(item["state"]) for item in items(table, "INCIDENT#/INCIDENT")) == ["closed", "open"]


# --- inspect and replay -----------------------------------------------------------------------------------------------


def test_inspect_and_detect_agree_on_every_specimen() -> None:
    """What inspect says of a record is what detect stores of it."""
    fields = {"actor": "actor", "outcome": "outcome", "detections": "detections", "severity": "severity"}
    for name in all_specimens():
        for envelope, expected in zip(load_specimen(name), load_expectations(name), strict=True):
            told = inspection(inspect_document(envelope, OWN))
            assert told["relevant"] == expected["relevant"]
            table = CheckedTable()
            [result] = detect_messages([make_message(envelope)], make_recorder(table))
            assert (result.fate is Fate.RECORDED) is told["relevant"]
            for item in items(table, "EVENTS#"):
                assert {key: item[key] for key in fields} == {key: told[key] for key in fields}
                assert item["mfa_used"] == told["mfa"]["used"]  # type: ignore[index] # a JSON object
            json.dumps(told)


def replayed(observations: Sequence[Any]) -> tuple[list[Any], ReplaySummary, MemoryTable]:
    """The alerts, the counts and the table of a replay."""
    table = CheckedTable()
    clock, summary = Clock(min(observation.time for observation in observations)), ReplaySummary()
    recorder = replace(make_recorder(table), now=clock)
    return list(replay(observations, recorder, clock, summary)), summary, table


def test_replay_counts_add_up_and_every_story_ends() -> None:
    """Records in any order, with duplicates and irrelevant ones, add up; every incident opened is told the end of."""
    names = [name for name in all_specimens() if not name.startswith("silent/")]
    observations = [make_observation(name, sent_after=None) for name in names]
    observations += [*observations[:5], make_observation("silent/iam_user_sign_in", sent_after=None)]
    alerts, summary, table = replayed(observations)
    assert summary.records == summary.relevant + summary.irrelevant == len(observations)
    assert summary.relevant == summary.recorded + summary.duplicates
    assert summary.duplicates >= 5
    assert summary.alerts == len(alerts)
    assert {item["state"] for item in items(table, "INCIDENT#/INCIDENT")} == {"closed"}
    ended = {alert.incident_id for alert in alerts if alert.kind == "summary"}
    assert len(ended) == summary.incidents == len(items(table, "INCIDENT#/INCIDENT"))


def test_replay_in_any_order_gives_the_same_alerts() -> None:
    """A replay sorts by event time: the order of the files does not matter."""
    observations = [
        make_observation("read", number=n, eventTime=f"2026-11-03T08:{n:02}:00Z", sent_after=None) for n in range(4)
    ]
    observations.append(make_observation("console_login", eventTime="2026-11-03T09:00:00Z", sent_after=None))
    expected = replayed(observations)[0]
    for order in itertools.islice(itertools.permutations(observations), 0, 120, 17):
        assert replayed(order)[0] == expected


def test_replay_tells_all_of_many_stories_that_end_at_once() -> None:
    """More incidents than one write closes all end, and the replay comes to its end."""
    observations = [
        make_observation(
            "assumed", number=n, sent_after=None, **Changes({"requestParameters.taskPolicyArn": {"arn": f"p/{n}"}})
        )
        for n in range(30)
    ]
    alerts, summary, _ = replayed(observations)
    # No more than MOST_OPEN are open at once; the others join the latest.
    most = MOST_OPEN["assume-root"]
    assert summary.incidents == most
    assert sum(alert.kind == "summary" for alert in alerts) == most


def test_the_records_clock_never_goes_back() -> None:
    """The clock of a replay stands until it is moved forward."""
    clock = Clock(NOW)
    clock.move_to(NOW - timedelta(hours=1))
    assert clock() == NOW
    clock.move_to(NOW + timedelta(hours=1))
    assert clock() == NOW + timedelta(hours=1)


def test_record_batch_gives_fates_and_alerts() -> None:
    """The fates stand in the order of the records, and alerts come with them."""
    observation = make_observation("write")
    fates, alerts = record_batch(ACCOUNT, [observation, observation, make_observation("read")], make_recorder())
    assert fates == [Fate.RECORDED, Fate.DUPLICATE, Fate.RECORDED]
    assert alerts
