"""The watchdog: what is due although nothing arrives, one part never stopping another, two runs never at once."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import pytest

from rootwatch import watchdog as watchdog_module
from rootwatch.alert import Alert
from rootwatch.audit.items import (
    SCHEMA_VERSION,
    Delivery,
    DeliveryState,
    KeptReport,
    SeenLetters,
    Told,
    WatchState,
    head_key,
    watch_item,
    watch_key,
)
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Key, Put, Table
from rootwatch.channels.notice import Notice, make_notice, slack_payload, sns_arguments
from rootwatch.coverage import Place
from rootwatch.delivery import Sent, Unconfigured, deliver
from rootwatch.errors import (
    DeliveryFailedError,
    DeliveryRefusedError,
    StoreConflictError,
    StoreUnavailableError,
)
from rootwatch.pipeline import Recorder, detect_messages
from rootwatch.watchdog import (
    LEASE,
    LETTERS,
    LETTERS_EVERY,
    MORE_LETTERS_EVERY,
    MOST_FAILURES,
    REFUSED_AGAIN_AFTER,
    REPORT_AFTER,
    REPORT_EVERY,
    SEND_AGAIN_AFTER,
    SENDING_ENDS,
    TIMERS_END,
    TROUBLE_AFTER,
    TROUBLE_EVERY,
    Channel,
    LetterQueue,
    Report,
    Watchdog,
    reports_due,
)
from rootwatch_cli.slack_receiver import problem_with
from tests.builders import build_envelope
from tests.unit.limits import check_slack
from tests.unit.workbench import IDLE, NOW, TOPIC, CheckedTable, make_message, make_recorder

HERE = ("999988887777", "us-east-1")
ACCOUNTS = tuple(f"1111222233{number:02}" for number in range(5))
PLENTY = 180.0
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


@dataclass
class FakeChannel:
    """A channel that takes everything until it is told otherwise, and keeps what it took."""

    name: str
    answer: Callable[[Alert], Exception | Unconfigured | None] = lambda _alert: None
    notice_answer: Exception | Unconfigured | None = None
    sent: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    def send(self, alert: Alert) -> Sent | Unconfigured:
        """Take an alert, or not."""
        self.asked.append(alert.account_id)
        answer = self.answer(alert)
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            self.sent.append(alert.account_id)
        return answer or Sent("ok")

    def tell(self, notice: Notice) -> Sent | Unconfigured:
        """Take a notice, or not."""
        if isinstance(self.notice_answer, Exception):
            raise self.notice_answer
        if self.notice_answer is None:
            self.notices.append(notice)
        return self.notice_answer or Sent("ok")

    def all_fail(self, error: Exception | Unconfigured | None) -> None:
        """Answer every alert like this."""
        self.answer = lambda _alert: error


class Bench:
    """A table, a clock that the test moves, two channels, three queues, and the watchdog on all of it."""

    def __init__(self, table: CheckedTable | None = None) -> None:
        self.table = table or CheckedTable()
        self.store = AuditStore(self.table)
        self.now: datetime = NOW
        self.recorder: Recorder = replace(make_recorder(self.table), now=lambda: self.now)
        self.slack, self.sns = FakeChannel("slack"), FakeChannel("sns")
        self.operations = FakeChannel("operations")
        self.letters: dict[str, int] = dict.fromkeys(LETTERS, 0)
        self.left: list[tuple[Key, str]] = []
        self.most = 100

    def watchdog(self, store: AuditStore | None = None) -> Watchdog:
        """The watchdog on this bench."""
        channels = [
            Channel(each.name, title, f"the {each.name} thing", each.send, each.tell, self.most, lambda: None)
            for each, title in ((self.sns, "SNS"), (self.slack, "Slack"))
        ]
        queues = [LetterQueue(kind, f"rootwatch-{kind}-dead-letter", self._counter(kind)) for kind in LETTERS]
        recorder = replace(self.recorder, store=store) if store else self.recorder
        return Watchdog(recorder, channels, queues, self.operations.tell, self._leave, place=HERE)

    def _leave(self, key: Key, why: str) -> None:
        self.left.append((key, why))

    def _counter(self, kind: str) -> Callable[[], int]:
        return lambda: self.letters[kind]

    def open_incident(self, account_id: str, specimen: str = "console_login") -> None:
        """Let root sign in in an account: one alert, due on both channels."""
        changes: dict[str, Any] = {"recipientAccountId": account_id, "userIdentity.accountId": account_id}
        [result] = detect_messages([make_message(build_envelope(specimen, **changes))], self.recorder)
        assert result.fate == "recorded", result

    def run(self, seconds_left: Callable[[], float] = lambda: PLENTY, store: AuditStore | None = None) -> Report:
        """Run the watchdog at the clock's moment."""
        return self.watchdog(store).run(seconds_left)

    def run_after(self, time: timedelta) -> Report:
        """Run the watchdog when so much time has passed."""
        self.now += time
        return self.run()

    def open_accounts(self) -> list[str]:
        """The accounts whose head names an open incident."""
        return [account_id for account_id in ACCOUNTS if self.store.read_account(account_id, (), NOW).incidents]

    def ledgers(self, channel: str = "slack") -> dict[str, Delivery]:
        """The ledgers of the channel's first alerts, by account."""
        keys = [Key(pk, str(item["sk"])) for pk in self.table._partitions for item in self._deliveries(pk, channel)]
        found = [self.store.delivery(key) for key in keys]
        return {ledger.account_id: ledger for ledger in found if ledger is not None and ledger.number == 1}

    def _deliveries(self, pk: str, channel: str) -> Iterable[Any]:
        return self.table.query(pk, f"DELIVERY#{channel}#")

    def deliver_all(self, *channels: FakeChannel) -> None:
        """Let the notifiers do their work once, as the stream calls them."""
        for channel in channels:
            for ledger in self.ledgers(channel.name).values():
                with suppress(DeliveryFailedError):  # what failed is in the ledger, which the tests read
                    deliver(self.store, ledger.key, channel.send, lambda: self.now, self._leaver(ledger.key))

    def _leaver(self, key: Key) -> Callable[[str], None]:
        return lambda reason: self.left.append((key, reason))


@pytest.fixture
def bench() -> Bench:
    """Five accounts, an open incident in each."""
    bench = Bench()
    for account_id in ACCOUNTS:
        bench.open_incident(account_id)
    bench.deliver_all(bench.sns, bench.slack)
    return bench


@pytest.fixture
def down() -> Bench:
    """The same, but Slack is out of reach, and its notifier has tried each alert once."""
    bench = Bench()
    bench.slack.all_fail(OUT)
    for number, account_id in enumerate(ACCOUNTS):
        bench.now = NOW + number * SECOND
        bench.open_incident(account_id)
    bench.deliver_all(bench.sns, bench.slack)
    bench.now = NOW
    bench.slack.asked.clear()
    return bench


OUT = DeliveryFailedError("Slack is out of reach (ConnectionError).")
REFUSED = DeliveryRefusedError("Slack refused the message for good (404): the webhook was removed.")


# --- timers -----------------------------------------------------------------------------------------------------------


def test_incidents_end_without_another_record(bench: Bench) -> None:
    """Every account's incident ends when it is idle for long enough, with a summary on each channel, and only once."""
    assert bench.run().counts == {}
    assert bench.open_accounts() == list(ACCOUNTS)
    bench.now += IDLE
    report = bench.run()
    assert (dict(report.counts), report.failures) == ({"AlertsDue": len(ACCOUNTS)}, [])
    assert bench.open_accounts() == []
    summaries = [
        item
        for pk in bench.table._partitions
        for item in bench.table.query(pk, "ALERT#000002")
        if item["why"] == ["summary"]
    ]
    ledgers = [item for pk in bench.table._partitions for item in bench.table.query(pk, "DELIVERY#")]
    assert len(summaries) == len(ACCOUNTS)
    assert len(ledgers) == 2 * 2 * len(ACCOUNTS)
    assert bench.run().counts == {}


def test_one_account_s_damage_does_not_stop_the_others(bench: Bench) -> None:
    """A damaged head is an alert of its own, found by the timers, and every account's incident ends all the same."""
    [head] = bench.table.get([head_key(ACCOUNTS[1])])
    assert head is not None
    bench.table.write([Put({**head, "version": "many"})])
    bench.now += IDLE
    report = bench.run()
    assert (dict(report.counts), report.failures) == ({"AlertsDue": len(ACCOUNTS) + 1}, [])
    assert bench.store.open_accounts() == [ACCOUNTS[1]]  # the incident of the damage itself


class Troubled(CheckedTable):
    """A table that fails some calls in the middle of the work."""

    def __init__(self, error: Exception, fails: Callable[[Sequence[Put]], bool]) -> None:
        super().__init__()
        self.error, self.fails, self.broken = error, fails, False

    def write(self, puts: Sequence[Put]) -> None:
        """Fail where told to."""
        if self.broken and self.fails(puts):
            raise self.error
        super().write(puts)


@pytest.mark.parametrize(
    "error",
    [
        StoreUnavailableError("throttled"),
        StoreConflictError("changed meanwhile"),
        ZeroDivisionError("never-to-be-seen"),
    ],
)
def test_neither_a_throttle_nor_a_conflict_nor_a_fault_stops_the_others(error: Exception) -> None:
    """What fails for one account is tried again by the next run; the text of an error that is not ours is not told."""
    table = Troubled(error, lambda puts: any(put.key == head_key(ACCOUNTS[0]) for put in puts))
    bench = Bench(table)
    for account_id in ACCOUNTS:
        bench.open_incident(account_id)
    bench.deliver_all(bench.sns, bench.slack)
    bench.now += IDLE
    table.broken = True
    report = bench.run()
    assert dict(report.counts) == {"AlertsDue": len(ACCOUNTS) - 1, "PartsFailed": 1}
    assert "never-to-be-seen" not in "".join(report.failures)
    assert bench.open_accounts() == [ACCOUNTS[0]]
    table.broken = False
    assert bench.run().counts == {"AlertsDue": 1}
    assert bench.open_accounts() == []


def test_nobody_starves_when_time_runs_out(bench: Bench) -> None:
    """A run that has time for two accounts goes on with the next two a minute later, until each had its turn."""
    turns: list[str] = []
    read = AuditStore.read_account

    class Watched(AuditStore):
        def read_account(self, account_id: str, observations: Any, now: datetime) -> Any:
            turns.append(account_id)
            return read(self, account_id, observations, now)

    for _ in range(5):
        seconds = iter([PLENTY, PLENTY, TIMERS_END - 0.1])
        assert bench.run(lambda seconds=seconds: next(seconds), Watched(bench.table)).failures == []  # type: ignore[misc]
    assert turns == list(ACCOUNTS) * 2


def test_a_list_that_cannot_be_read_is_reported(bench: Bench) -> None:
    """Without the index the run says so, keeps its place, and lets the lease go."""

    class Unlisted(AuditStore):
        def open_accounts(self) -> list[str]:
            raise StoreUnavailableError("throttled")

    bench.store.write_watch_state(WatchState(), WatchState(timers_after=ACCOUNTS[2]))
    report = bench.run(store=Unlisted(bench.table))
    assert dict(report.counts) == {"PartsFailed": 1}
    assert "could not be listed" in report.failures[0]
    assert (bench.store.watch_state().timers_after, bench.store.watch_state().lease_until) == (ACCOUNTS[2], None)


# --- the lease --------------------------------------------------------------------------------------------------------


def test_two_runs_never_overlap(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one run is at work another does nothing and says that it was skipped; afterwards the next one works."""
    inner: list[Report] = []

    def run_timers(_account_id: str, _recorder: Recorder) -> list[Any]:
        inner.append(bench.run())
        return []

    monkeypatch.setattr(watchdog_module, "run_timers", run_timers)
    assert bench.run().failures == []
    assert [dict(report.counts) for report in inner] == [{"RunsSkipped": 1}] * len(ACCOUNTS)
    monkeypatch.undo()
    assert bench.run().counts == {}


def test_of_two_that_saw_no_lease_one_gets_it(bench: Bench) -> None:
    """The lease is written only over the state that was read."""

    class Overtaken(AuditStore):
        def write_watch_state(self, before: WatchState, after: WatchState) -> WatchState:
            bench.store.write_watch_state(before, after)
            return super().write_watch_state(before, after)

    assert bench.run(store=Overtaken(bench.table)).counts == {"RunsSkipped": 1}


def test_a_lease_outlives_only_a_run_that_died(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that died without a word keeps the others out for as long as a run may take, and no longer."""

    def dying(_account_id: str, _recorder: Recorder) -> list[Any]:
        raise KeyboardInterrupt  # as when Lambda ends the process: nothing of ours runs any more

    monkeypatch.setattr(watchdog_module, "run_timers", dying)
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    monkeypatch.undo()
    bench.now += LEASE - timedelta(seconds=1)
    assert bench.run().counts == {"RunsSkipped": 1}
    bench.now += timedelta(seconds=1) + IDLE
    assert bench.run().counts == {"AlertsDue": len(ACCOUNTS)}


def test_nobody_silences_the_watchdog_with_a_lease_without_end(bench: Bench) -> None:
    """A lease that reaches further than a run can is none: whoever writes it into the table gains nothing."""
    bench.store.write_watch_state(WatchState(), WatchState(lease_until=NOW + timedelta(days=365)))
    bench.now += IDLE
    assert bench.run().counts == {"AlertsDue": len(ACCOUNTS)}


@pytest.mark.parametrize(
    "change",
    [
        {"revision": "x"},
        {"lease_until": "tomorrow"},
        {"timers_after": 7},
        {"sent_after": ["x"]},
        {"refused_again_at": {"slack": "soon"}},
        {"troubles": {"channel:slack": {"since": "x"}}},
        {"troubles": {"channel:slack": "x"}},
    ],
)
def test_a_damaged_state_is_reported_and_begun_anew(bench: Bench, change: Mapping[str, Any]) -> None:
    """Whoever alters what the watchdog remembers is reported, and stops nothing."""
    bench.table.write([Put({**watch_item(WatchState(revision=3)), **change})])
    bench.now += IDLE
    report = bench.run()
    assert dict(report.counts) == {"AlertsDue": len(ACCOUNTS), "PartsFailed": 1}
    assert "was changed" in report.failures[0]
    assert bench.run().counts == {}


def test_without_its_table_the_run_fails() -> None:
    """Where not even the lease can be taken the invocation fails, which is the alarm."""

    class Out(CheckedTable):
        def get(self, _keys: Sequence[Key]) -> Any:
            raise StoreUnavailableError("out of reach")

    table: Table = Out()
    with pytest.raises(StoreUnavailableError):
        Bench().run(store=AuditStore(table))


def test_every_run_writes_a_higher_revision(bench: Bench) -> None:
    """The state's revision counts its writes, so that a writer who read an older one is told."""
    revisions = []
    for _ in range(3):
        bench.run()
        revisions.append(bench.store.watch_state().revision)
    assert all(later - earlier == 2 for earlier, later in pairwise(revisions))
    [item] = bench.table.get([watch_key()])
    assert item is not None
    assert item["schema_version"] == SCHEMA_VERSION


# --- sending again ----------------------------------------------------------------------------------------------------


def test_what_did_not_arrive_is_sent_again_after_five_minutes(down: Bench) -> None:
    """An alert that its notifier could not deliver goes out when it has been due for five minutes, and only once."""
    down.slack.all_fail(None)
    assert down.run_after(SEND_AGAIN_AFTER - SECOND).counts == {}
    assert down.run_after(len(ACCOUNTS) * SECOND).counts == {"DeliveriesSent": len(ACCOUNTS)}
    assert down.slack.sent == list(ACCOUNTS)  # the oldest first
    assert {ledger.state for ledger in down.ledgers().values()} == {DeliveryState.SENT}
    assert {ledger.tries for ledger in down.ledgers().values()} == {2}
    assert down.run_after(MINUTE).counts == {}
    assert len(down.sns.sent) == len(ACCOUNTS)


def test_an_alert_whose_notifier_never_ran_is_found_too(bench: Bench) -> None:
    """A ledger whose place in the stream ended in the dead-letter queue says pending, and is found like any other."""
    bench.now += IDLE
    assert bench.run().counts == {"AlertsDue": len(ACCOUNTS)}  # two new ledgers each, which nobody delivers
    counts = bench.run_after(SEND_AGAIN_AFTER + SECOND).counts
    assert counts == {"DeliveriesSent": 2 * len(ACCOUNTS)}


@pytest.mark.parametrize("state", [DeliveryState.SENT, DeliveryState.UNCONFIGURED])
def test_what_is_sent_or_unconfigured_is_left_alone(bench: Bench, state: DeliveryState) -> None:
    """A delivery that has a receipt, or no channel to go to, is never sent again by itself."""
    if state is DeliveryState.UNCONFIGURED:
        bench = Bench()
        bench.slack.all_fail(Unconfigured("no webhook_url yet"))
        bench.open_incident(ACCOUNTS[0])
        bench.deliver_all(bench.sns, bench.slack)
        bench.slack.all_fail(None)
    assert {ledger.state for ledger in bench.ledgers().values()} == {state}
    before = len(bench.slack.asked)
    assert bench.run_after(IDLE / 2).counts == {}
    assert len(bench.slack.asked) == before
    assert bench.operations.notices == []


def test_a_live_lease_is_respected(down: Bench) -> None:
    """While a notifier is at an alert the watchdog leaves it alone, and sends the others."""
    ledger = down.ledgers()[ACCOUNTS[0]]
    down.now += SEND_AGAIN_AFTER + MINUTE
    down.store.write_delivery(ledger, replace(ledger, lease_until=down.now + MINUTE))
    down.slack.all_fail(None)
    assert down.run().counts == {"DeliveriesSent": len(ACCOUNTS) - 1}
    assert ACCOUNTS[0] not in down.slack.sent
    assert down.run_after(MINUTE).counts == {"DeliveriesSent": 1}


def test_a_lease_without_end_keeps_no_alert_from_being_sent_again(down: Bench) -> None:
    """One that reaches further than a sender's can is none, here as in the notifiers."""
    ledger = down.ledgers()[ACCOUNTS[0]]
    down.store.write_delivery(ledger, replace(ledger, lease_until=down.now + timedelta(days=365)))
    down.slack.all_fail(None)
    assert down.run_after(SEND_AGAIN_AFTER + MINUTE).counts == {"DeliveriesSent": len(ACCOUNTS)}


def test_an_index_that_is_behind_sends_nothing_twice(down: Bench) -> None:
    """The ledger decides, not the index: what was sent a moment ago is neither sent again nor told as trouble."""
    stale = {refused: list(down.store.undelivered("slack", refused=refused)) for refused in (False, True)}
    down.slack.all_fail(None)
    down.now += TROUBLE_AFTER
    down.deliver_all(down.slack)

    class Behind(AuditStore):
        def undelivered(self, channel: str, *, refused: bool = False, due_until: datetime | None = None) -> Any:
            assert due_until is not None
            return iter(stale[refused]) if channel == "slack" else super().undelivered(channel, due_until=due_until)

    asked = len(down.slack.asked)
    assert down.run(store=Behind(down.table)).counts == {}
    assert len(down.slack.asked) == asked
    assert down.operations.notices == []


def test_a_channel_that_is_down_is_asked_a_few_times_a_minute(down: Bench) -> None:
    """A run gives up after a few failures in a row, and the next one goes on with other alerts than those."""
    down.now += SEND_AGAIN_AFTER + MINUTE
    assert down.run().counts == {"DeliveriesFailed": MOST_FAILURES}
    assert down.slack.asked == list(ACCOUNTS[:MOST_FAILURES])
    down.run_after(MINUTE)
    assert down.slack.asked[MOST_FAILURES:] == [*ACCOUNTS[MOST_FAILURES:], ACCOUNTS[0]]


def test_a_channel_that_asks_to_wait_is_asked_once(down: Bench) -> None:
    """Where Slack says when to come back, the run asks it no more."""
    down.slack.all_fail(DeliveryFailedError("Slack asks to wait", retry_after=3600))
    assert down.run_after(SEND_AGAIN_AFTER + MINUTE).counts == {"DeliveriesFailed": 1}
    assert len(down.slack.asked) == 1


def test_bad_deliveries_do_not_block_the_others(down: Bench) -> None:
    """With as many alerts that never pass as stop a run, at the head of the queue, every other one still arrives."""
    bad = ACCOUNTS[:MOST_FAILURES]
    down.slack.answer = lambda alert: OUT if alert.account_id in bad else None
    down.now += SEND_AGAIN_AFTER + MINUTE
    for _ in range(2):
        down.run_after(MINUTE)
    assert sorted(down.slack.sent) == list(ACCOUNTS[MOST_FAILURES:])


def test_a_run_sends_no_more_than_the_channel_takes_in_a_minute(down: Bench) -> None:
    """A backlog goes out in portions, oldest first, none of them twice."""
    down.slack.all_fail(None)
    down.most = 2
    down.now += SEND_AGAIN_AFTER + MINUTE
    portions = [down.run_after(MINUTE).counts["DeliveriesSent"] for _ in range(4)]
    assert portions == [2, 2, 1, 0]
    assert down.slack.sent == list(ACCOUNTS)


def test_more_bad_ones_than_a_portion_still_let_the_others_pass(down: Bench) -> None:
    """A portion that is full of damage does not come first every time."""
    down.slack.all_fail(None)
    down.most = 2
    ledgers = down.ledgers()
    for account_id in ACCOUNTS[:3]:
        [item] = down.table.get([ledgers[account_id].key])
        assert item is not None
        down.table.write([Put({**item, "tries": "many"})])
    down.now += SEND_AGAIN_AFTER + MINUTE
    assert [down.run_after(MINUTE).counts["PartsFailed"] for _ in range(3)] == [2, 1, 1]
    assert down.slack.sent == list(ACCOUNTS[3:])


def test_sending_stops_in_time(down: Bench) -> None:
    """With little time left nothing is begun on a channel, and the notices still go out."""
    down.slack.all_fail(None)
    down.now += TROUBLE_AFTER + MINUTE
    report = down.run(lambda: SENDING_ENDS["slack"] - 1)
    assert down.slack.asked == []
    assert dict(report.counts) == {"NoticesSent": 2}


def test_one_damaged_ledger_does_not_stop_the_others(down: Bench) -> None:
    """A ledger that somebody altered is named and counted, and the others are delivered."""
    key = down.ledgers()[ACCOUNTS[1]].key
    [item] = down.table.get([key])
    assert item is not None
    down.table.write([Put({**item, "state": "done"})])
    down.slack.all_fail(None)
    report = down.run_after(SEND_AGAIN_AFTER + MINUTE)
    assert dict(report.counts) == {"DeliveriesSent": len(ACCOUNTS) - 1, "PartsFailed": 1}
    assert key.pk in report.failures[0]


# --- what a channel refused for good ----------------------------------------------------------------------------------


@pytest.fixture
def removed() -> Bench:
    """Slack's webhook was removed: every alert is refused for good, and lies as a dead letter."""
    bench = Bench()
    bench.slack.all_fail(REFUSED)
    for account_id in ACCOUNTS:
        bench.open_incident(account_id)
    bench.deliver_all(bench.sns, bench.slack)
    assert all(ledger.refused for ledger in bench.ledgers().values())
    assert len(bench.left) == len(ACCOUNTS)
    bench.slack.asked.clear()
    return bench


def test_a_refused_alert_is_tried_every_quarter_of_an_hour_one_at_a_time(removed: Bench) -> None:
    """While the webhook is gone one alert in turn asks whether it is back; no second dead letter is left for it."""
    for _ in range(61):
        removed.run_after(MINUTE)
    every = REFUSED_AGAIN_AFTER // MINUTE
    assert len(removed.slack.asked) == 1 + (61 - SEND_AGAIN_AFTER // MINUTE) // every
    assert len(set(removed.slack.asked)) == len(removed.slack.asked)  # never the same one twice
    assert len(removed.left) == len(ACCOUNTS)
    assert all(ledger.refused for ledger in removed.ledgers().values())


def test_a_mended_webhook_brings_every_alert(removed: Bench) -> None:
    """When the webhook is replaced, every alert that was refused arrives within a quarter of an hour."""
    removed.run_after(SEND_AGAIN_AFTER + MINUTE)
    removed.slack.all_fail(None)
    for _ in range(REFUSED_AGAIN_AFTER // MINUTE):
        removed.run_after(MINUTE)
    assert sorted(removed.slack.sent) == list(ACCOUNTS)
    assert {ledger.state for ledger in removed.ledgers().values()} == {DeliveryState.SENT}
    first = removed.ledgers()[removed.slack.asked[0]]
    assert first.refused is False
    assert [attempt.error for attempt in first.attempts] == [str(REFUSED), str(REFUSED), None]


def test_one_alert_that_slack_never_takes_does_not_block_the_refused_ones(removed: Bench) -> None:
    """A message that is refused for what it is costs its own turn and no other one's."""
    removed.slack.answer = lambda alert: REFUSED if alert.account_id == ACCOUNTS[0] else None
    for _ in range(2 * (REFUSED_AGAIN_AFTER // MINUTE)):
        removed.run_after(MINUTE)
    assert sorted(removed.slack.sent) == list(ACCOUNTS[1:])


def test_a_refusal_met_by_the_watchdog_leaves_a_dead_letter(down: Bench) -> None:
    """What the channel refuses for good only now is left as the notifier would leave it, with key and reason."""
    down.slack.all_fail(REFUSED)
    report = down.run_after(SEND_AGAIN_AFTER + MINUTE)
    assert report.counts["DeliveriesFailed"] >= MOST_FAILURES
    assert len(down.left) == MOST_FAILURES
    key, reason = down.left[0]
    assert key == down.ledgers()[ACCOUNTS[0]].key
    assert reason == str(REFUSED)
    assert down.ledgers()[ACCOUNTS[0]].refused


def test_a_moment_to_try_again_that_is_not_ours_is_not_believed(removed: Bench) -> None:
    """Whoever writes a far moment into the state does not keep refused alerts from being tried."""
    far = MappingProxyType({"slack": NOW + timedelta(days=365)})
    removed.store.write_watch_state(WatchState(), WatchState(refused_again_at=far))
    removed.slack.all_fail(None)
    assert removed.run_after(SEND_AGAIN_AFTER + MINUTE).counts == {"DeliveriesSent": len(ACCOUNTS)}


# --- trouble on a channel ---------------------------------------------------------------------------------------------


def test_trouble_is_told_once_and_every_hour_and_when_it_is_over(down: Bench) -> None:
    """After fifteen minutes the other channel and the operations topic hear of it, then hourly, then of its end."""
    for _ in range(14):
        down.run_after(MINUTE)
    assert down.operations.notices == down.sns.notices == []
    for _ in range(100):
        down.run_after(MINUTE)
    assert len(down.operations.notices) == len(down.sns.notices) == 2
    assert down.slack.notices == []
    down.slack.all_fail(None)
    down.run_after(MINUTE)
    down.run_after(MINUTE)
    for place in (down.operations, down.sns):
        first, second, end = place.notices
        assert second.at - first.at == TROUBLE_EVERY
        assert first.urgent
        assert (end.headline, end.urgent) == ("No alert waits for Slack any more", False)
    assert down.store.watch_state().troubles == {}
    before = len(down.operations.notices)
    down.run_after(TROUBLE_EVERY)
    assert [notice.headline for notice in down.operations.notices[before:]] == []


def test_a_notice_says_how_many_since_when_why_and_what_to_do(down: Bench) -> None:
    """It names the number, the oldest moment, the alerts, the last error of the ledger, where to look, what goes on."""
    down.run_after(TROUBLE_AFTER + MINUTE)
    [notice] = down.sns.notices
    text = " ".join([notice.headline, *notice.paragraphs])
    assert notice.headline == "5 alerts did not arrive on Slack"
    assert "the oldest since 2026-11-03 12:00:00 UTC" in text
    assert f"{down.ledgers()[ACCOUNTS[0]].incident_id}-0001" in text
    assert "Slack is out of reach (ConnectionError)" in text
    assert "look at the slack thing first" in text
    assert "sent again every minute" in text
    assert "every hour while it lasts" in text
    assert [each.headline for each in down.operations.notices] == [notice.headline]


def test_refused_alerts_count_as_trouble(removed: Bench) -> None:
    """A webhook that was removed is told like any other trouble, with how many were refused and why."""
    removed.run_after(TROUBLE_AFTER + MINUTE)
    [notice] = removed.sns.notices
    assert notice.headline == "5 alerts did not arrive on Slack"
    assert "refused for good (5 of them), every 15 minutes" in " ".join(notice.paragraphs)
    assert "the webhook was removed" in " ".join(notice.paragraphs)


def test_a_notifier_that_never_ran_is_named(bench: Bench) -> None:
    """Where no attempt is in the ledger, the notice points at the notifier instead of at an error."""
    bench = Bench()
    bench.open_incident(ACCOUNTS[0])
    bench.deliver_all(bench.sns)
    report = bench.run_after(TROUBLE_AFTER + MINUTE)
    assert report.counts == {"DeliveriesSent": 1}  # the watchdog itself delivers it
    bench.open_incident(ACCOUNTS[1])
    bench.now += TROUBLE_AFTER + MINUTE
    bench.deliver_all(bench.sns)
    bench.run(lambda: SENDING_ENDS["slack"] - 1)
    [notice] = bench.sns.notices
    assert notice.headline == "1 alert did not arrive on Slack"
    assert "look at the function notify-slack" in " ".join(notice.paragraphs)


def test_trouble_with_sns_is_told_on_slack(bench: Bench) -> None:
    """When SNS takes nothing, Slack hears of it, and the operations topic is tried as well."""
    bench = Bench()
    bench.sns.all_fail(DeliveryFailedError("SNS did not take the alert: KMSAccessDenied."))
    bench.open_incident(ACCOUNTS[0])
    bench.deliver_all(bench.slack, bench.sns)
    bench.operations.notice_answer = DeliveryFailedError("SNS did not take the alert: KMSAccessDenied.")
    report = bench.run_after(TROUBLE_AFTER + MINUTE)
    [notice] = bench.slack.notices
    assert notice.headline == "1 alert did not arrive on SNS"
    assert report.counts["PartsFailed"] == 1  # the operations topic, with an alarm that is CloudWatch's own
    assert "operations" in report.failures[0]
    assert bench.sns.notices == []
    bench.operations.notice_answer = None
    bench.run_after(MINUTE)
    assert [len(place.notices) for place in (bench.operations, bench.slack)] == [1, 1]


def test_a_channel_without_a_secret_is_told_nothing(bench: Bench) -> None:
    """Where Slack was never set up, trouble with SNS goes to the operations topic alone, and is no failure."""
    bench = Bench()
    bench.sns.all_fail(OUT)
    bench.slack.all_fail(Unconfigured("no webhook_url yet"))
    bench.slack.notice_answer = Unconfigured("no webhook_url yet")
    bench.open_incident(ACCOUNTS[0])
    bench.deliver_all(bench.slack, bench.sns)
    report = bench.run_after(TROUBLE_AFTER + MINUTE)
    assert (report.counts["NoticesSent"], report.failures) == (1, [])
    assert len(bench.operations.notices) == 1


def test_both_channels_in_trouble_are_both_told(down: Bench) -> None:
    """Each channel's trouble is one of its own; the operations topic hears of both."""
    down.open_incident("111122223399")
    down.sns.all_fail(DeliveryFailedError("SNS is out of reach."))
    down.deliver_all(down.sns)
    down.run_after(TROUBLE_AFTER + MINUTE)
    headlines = {notice.headline for notice in down.operations.notices}
    assert headlines == {"6 alerts did not arrive on Slack", "1 alert did not arrive on SNS"}


def test_an_end_that_a_place_refuses_is_not_told_for_ever(down: Bench) -> None:
    """The end of a trouble is repeated where it was not taken, but not where it was refused for good."""
    down.run_after(TROUBLE_AFTER + MINUTE)
    down.slack.all_fail(None)
    down.sns.notice_answer = OUT
    assert down.run_after(MINUTE).counts["PartsFailed"] == 1
    down.operations.notices.clear()
    down.sns.notice_answer = REFUSED
    assert down.run_after(MINUTE).counts == {"PartsFailed": 1}
    assert down.operations.notices == []
    assert down.run_after(MINUTE).counts == {}


class DyingAfterTheNotice(AuditStore):
    """A store at which the process ends when it is to keep that the operations topic was told."""

    def write_watch_state(self, before: WatchState, after: WatchState) -> WatchState:
        """Write, but for that."""
        if any(told.at.get("operations", NOW) > NOW for told in after.troubles.values()):
            raise KeyboardInterrupt
        return super().write_watch_state(before, after)


def test_a_notice_is_repeated_at_most_once_when_a_run_dies(down: Bench) -> None:
    """If the state cannot be written after a notice, the next run tells it once more, and then no more."""
    down.now += TROUBLE_AFTER + MINUTE
    with pytest.raises(KeyboardInterrupt):
        down.run(store=DyingAfterTheNotice(down.table))
    assert (len(down.operations.notices), len(down.sns.notices)) == (1, 0)
    down.run_after(LEASE)
    down.run_after(MINUTE)
    assert (len(down.operations.notices), len(down.sns.notices)) == (2, 1)


def test_the_end_of_a_trouble_is_told_though_the_run_that_told_of_it_died(down: Bench) -> None:
    """Whoever may have heard of a trouble hears of its end, and nobody else does."""
    down.now += TROUBLE_AFTER + MINUTE
    with pytest.raises(KeyboardInterrupt):
        down.run(store=DyingAfterTheNotice(down.table))
    down.slack.all_fail(None)
    down.run_after(LEASE)
    assert [notice.headline for notice in down.operations.notices][1:] == ["No alert waits for Slack any more"]
    assert down.sns.notices == []
    assert down.store.watch_state().troubles == {}


def test_a_state_that_cannot_be_written_fails_the_run(down: Bench) -> None:
    """A run that could not keep what it told is no success, whatever it did before."""

    class Full(AuditStore):
        def write_watch_state(self, before: WatchState, after: WatchState) -> WatchState:
            if after.lease_until is None:
                raise StoreUnavailableError("throttled")
            return super().write_watch_state(before, after)

    with pytest.raises(StoreUnavailableError):
        down.run(store=Full(down.table))


def test_nobody_keeps_trouble_quiet_with_a_moment_that_lies_ahead(down: Bench) -> None:
    """A state that says the trouble was told next year is not believed."""
    ahead = NOW + timedelta(days=365)
    told = Told(NOW, 5, MappingProxyType({"operations": ahead, "sns": ahead}))
    down.store.write_watch_state(WatchState(), WatchState(troubles=MappingProxyType({"channel:slack": told})))
    down.run_after(TROUBLE_AFTER + MINUTE)
    assert (len(down.operations.notices), len(down.sns.notices)) == (1, 1)


def test_what_somebody_wrote_into_a_ledger_stays_text(down: Bench) -> None:
    """A forged error in a ledger becomes neither a mention nor a link nor a line of its own, on Slack as in mail."""
    for ledger in down.ledgers().values():
        hostile = "<!channel> <https://evil.example.com|ok> \u202egnp\nForged: all is well" + "x" * 5000
        attempt = replace(ledger.attempts[0], error=hostile)
        down.store.write_delivery(ledger, replace(ledger, attempts=(attempt,)))
    down.slack.all_fail(Unconfigured("nothing may be sent"))
    down.now += TROUBLE_AFTER + MINUTE
    down.run(lambda: SENDING_ENDS["slack"] - 1)
    [notice] = down.sns.notices
    check_notice(notice)
    told = json.dumps([slack_payload(notice), sns_arguments(notice, TOPIC)], ensure_ascii=False)
    assert "Forged: all is well" in told
    assert "\nForged" not in "".join(notice.paragraphs)
    assert "\u202e" not in told
    assert "://evil" not in told
    assert "evil.example.com" not in told


def check_notice(notice: Notice) -> None:
    """A notice renders within the limits of Slack and SNS."""
    message = slack_payload(notice)
    assert problem_with(message) is None
    check_slack(message)
    arguments = sns_arguments(notice, TOPIC)
    subject = arguments["Subject"]
    assert 0 < len(subject) < 100
    assert subject.isascii()
    assert subject.isprintable()
    assert len(arguments["Message"].encode()) < 256 * 1024
    bodies = json.loads(arguments["Message"])
    document = json.loads(bodies["sqs"])
    assert (document["kind"], document["headline"]) == ("notice", notice.headline)
    assert notice.headline[:40] in bodies["email"]
    assert len(bodies["sms"]) <= 140
    assert arguments["MessageAttributes"]["kind"]["StringValue"] == "notice"
    assert arguments["MessageAttributes"]["severity"]["StringValue"] == ("high" if notice.urgent else "info")


@pytest.mark.parametrize("text", ["x", "<!channel> & co", "é🔑" * 3000, "\x00\x1b[31m", "line\nline", "a" * 100_000])
@pytest.mark.parametrize("urgent", [True, False])
def test_a_notice_fits_wherever_it_is_told(text: str, urgent: bool) -> None:  # noqa: FBT001
    """Whatever a notice is made of, it is within the limits of Slack and SNS, and mentions nobody."""
    notice = make_notice(text, [text] * 20, NOW, urgent=urgent)
    check_notice(notice)
    assert "<!" not in slack_payload(notice)["text"]


# --- dead letters -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LETTERS)
def test_dead_letters_are_told_and_told_again_while_there_are_any(bench: Bench, kind: str) -> None:
    """Once, then every six hours, then that the queue is empty again; on the operations topic alone."""
    bench.letters[kind] = 2
    minutes = 2 * (LETTERS_EVERY // MINUTE) + 1
    for _ in range(minutes):
        bench.run_after(MINUTE)
    moments = [notice.at for notice in bench.operations.notices]
    assert [later - earlier for earlier, later in pairwise(moments)] == [LETTERS_EVERY] * 2
    notice = bench.operations.notices[0]
    assert notice.headline == f"2 dead letters in rootwatch-{kind}-dead-letter"
    assert "14 days" in " ".join(notice.paragraphs)
    assert "What to do: " in " ".join(notice.paragraphs)
    check_notice(notice)
    bench.letters[kind] = 0
    bench.run_after(MINUTE)
    bench.run_after(MINUTE)
    [end] = bench.operations.notices[3:]
    assert (end.headline, end.urgent) == (f"rootwatch-{kind}-dead-letter is empty again", False)
    assert (bench.slack.notices, bench.sns.notices) == ([], [])


def test_more_dead_letters_are_told_at_once_but_no_flood_of_them(bench: Bench) -> None:
    """A rising number is told without waiting for six hours, and a flood of letters at most every ten minutes."""
    bench.letters["intake"] = 1
    bench.run_after(MINUTE)
    bench.letters["intake"] = 2
    assert bench.run_after(MORE_LETTERS_EVERY).counts == {"NoticesSent": 1}
    for number in range(60):
        bench.letters["intake"] = 3 + number
        bench.run_after(MINUTE)
    assert len(bench.operations.notices) == 2 + 60 // 10
    assert bench.operations.notices[-1].headline.startswith("62 ")


def test_fewer_dead_letters_are_no_news_but_remembered(bench: Bench) -> None:
    """After some were removed, one that comes anew is a rise again."""
    bench.letters["intake"] = 5
    bench.run_after(MINUTE)
    bench.letters["intake"] = 2
    assert bench.run_after(MORE_LETTERS_EVERY).counts == {}
    bench.letters["intake"] = 3
    assert bench.run_after(MINUTE).counts == {"NoticesSent": 1}


def test_a_queue_that_cannot_be_counted_is_reported_and_the_others_are(bench: Bench) -> None:
    """Without permission for one queue the others are still watched, and the failure is named."""
    bench.letters["rule"] = 1
    del bench.letters["intake"]
    report = bench.run()
    assert dict(report.counts) == {"NoticesSent": 1, "PartsFailed": 1}
    assert "rootwatch-intake-dead-letter" in report.failures[0]
    assert bench.operations.notices[0].headline == "1 dead letter in rootwatch-rule-dead-letter"


def test_a_topic_that_takes_nothing_is_reported_and_tried_again(bench: Bench) -> None:
    """A notice that was not taken is not remembered as told."""
    bench.letters["notify"] = 1
    bench.operations.notice_answer = OUT
    assert bench.run().counts == {"PartsFailed": 1}
    bench.operations.notice_answer = None
    assert bench.run_after(MINUTE).counts == {"NoticesSent": 1}


def test_dead_letters_are_kept_for_the_month_s_report() -> None:
    """How many there were at the most, from when on, and when the queue was empty; each month by itself."""
    bench = Bench()
    assert bench.run().counts == {}
    first = bench.now
    for count in (2, 5, 1):
        bench.letters["intake"] = count
        bench.run_after(MINUTE)
    [seen] = bench.store.every_seen_letters("2026-11")
    assert seen == SeenLetters("2026-11", "intake", "rootwatch-intake-dead-letter", 5, first + MINUTE)
    bench.letters["intake"] = 0
    for _ in range(3):
        bench.run_after(MINUTE)
    assert bench.store.seen_letters("2026-11", "intake") == replace(seen, gone_at=first + 4 * MINUTE)
    bench.letters["intake"] = 1
    bench.run_after(MINUTE)
    assert bench.store.seen_letters("2026-11", "intake") == seen
    bench.now = datetime(2026, 12, 1, tzinfo=UTC)
    bench.run()
    bench.letters["intake"] = 0
    bench.run_after(MINUTE)
    assert bench.store.seen_letters("2026-11", "intake") == seen
    december = SeenLetters("2026-12", "intake", seen.queue, 1, datetime(2026, 12, 1, tzinfo=UTC), bench.now)
    assert list(bench.store.every_seen_letters("2026-12")) == [december]


def test_what_was_seen_of_dead_letters_and_was_changed_begins_anew() -> None:
    """An item that cannot be read is reported, and what is there now is kept over it."""
    bench = Bench()
    bench.letters["intake"] = 2
    bench.run()
    bench.table._partitions["WATCHDOG"]["LETTERS#2026-11#intake"]["most"] = "many"
    report = bench.run_after(MINUTE)
    assert "it begins anew" in report.failures[0]
    assert [getattr(each, "most", None) for each in bench.store.every_seen_letters("2026-11")] == [2]


# --- monthly reports --------------------------------------------------------------------------------------------------


DUE = datetime(2026, 12, 1, 0, 15, tzinfo=UTC)
"""When the report of November is begun."""


def heard_since(at: datetime) -> Bench:
    """A bench without any incident, on which the watch itself was heard for the first time at this moment."""
    bench = Bench()
    bench.store.write_place(Place(*HERE, at))
    return bench


def test_a_report_that_was_never_begun_is_told_once_and_every_day() -> None:
    """No alarm knows of a run that never starts: the watchdog says so, and that it is there at last."""
    bench = heard_since(NOW)
    bench.now = DUE + REPORT_AFTER - MINUTE
    assert bench.run().counts == {}
    for _ in range(2 * (REPORT_EVERY // timedelta(minutes=30)) + 1):
        bench.run_after(timedelta(minutes=30))
    moments = [notice.at for notice in bench.operations.notices]
    assert [later - earlier for earlier, later in pairwise(moments)] == [REPORT_EVERY] * 2
    notice = bench.operations.notices[0]
    assert notice.headline == "1 monthly report missing, 2026-11"
    assert '{"month": "2026-11"}' in " ".join(notice.paragraphs)
    check_notice(notice)
    bench.store.write_kept_report(KeptReport("2026-11", "run", bench.now))
    bench.run_after(MINUTE)
    bench.run_after(MINUTE)
    [end] = bench.operations.notices[3:]
    assert (end.headline, end.urgent) == ("The monthly report is there", False)
    assert (bench.slack.notices, bench.sns.notices) == ([], [])


def test_a_report_that_is_kept_is_not_missed() -> None:
    """Nothing is said of a month whose report was kept, nor of those that ended before anybody watched."""
    bench = heard_since(NOW)
    bench.store.write_kept_report(KeptReport("2026-11", "run", DUE))
    bench.now = DUE + REPORT_AFTER
    assert bench.run().counts == {}
    assert bench.operations.notices == []


def test_a_report_of_a_month_in_progress_is_not_the_months() -> None:
    """Whoever asked for it before the month was over does not keep the watchdog from missing the one that was due."""
    bench = heard_since(NOW)
    bench.store.write_kept_report(KeptReport("2026-11", "run", DUE - REPORT_EVERY))
    bench.now = DUE + REPORT_AFTER
    assert bench.run().counts == {"NoticesSent": 1}


def test_what_became_of_a_report_and_cannot_be_read_is_no_report() -> None:
    """An item that somebody changed does not say that the report is there."""
    bench = heard_since(NOW)
    bench.store.write_kept_report(KeptReport("2026-11", "run", DUE))
    bench.table._partitions["REPORT"]["2026-11"]["kept_at"] = "for ever"
    bench.now = DUE + REPORT_AFTER
    assert bench.run().counts == {"NoticesSent": 1}


@pytest.mark.parametrize(
    ("now", "since", "months"),
    [
        ("2026-12-01T08:14", "2026-01-01T00:00", ["2026-09", "2026-10"]),
        ("2026-12-01T08:15", "2026-01-01T00:00", ["2026-09", "2026-10", "2026-11"]),
        ("2026-12-31T23:59", "2026-11-20T00:00", ["2026-11"]),
        ("2027-01-01T09:00", "2026-11-01T00:16", ["2026-11", "2026-12"]),
        ("2026-12-15T00:00", "2026-12-01T00:15", []),
        ("2026-12-15T00:00", "2027-06-01T00:00", []),
    ],
)
def test_which_reports_are_due(now: str, since: str, months: list[str]) -> None:
    """A report is due eight hours after its schedule, from the first schedule on that the watch lived to see."""
    assert reports_due(datetime.fromisoformat(f"{now}Z"), datetime.fromisoformat(f"{since}Z")) == months
