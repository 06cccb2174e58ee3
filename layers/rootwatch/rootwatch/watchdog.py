"""What runs every minute, also when nothing arrives: time passes, what did not arrive is sent again, trouble is told.

One part that fails never stops the others: it is counted and named in the report, the function makes a metric of that,
and the metric has an alarm. The next run, a minute later, is the retry. A run itself fails only where it cannot take
its lease or write what it remembers. Every loop is bounded by the time that the function has left.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from itertools import islice
from types import MappingProxyType
from typing import Final

from rootwatch.alert import clock, shown
from rootwatch.audit.items import (
    Delivery,
    DeliveryState,
    KeptReport,
    SeenLetters,
    Told,
    WatchState,
    undelivered_partition,
)
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import IndexEntry, Key
from rootwatch.channels.notice import Notice, make_notice
from rootwatch.delivery import Sender, Sent, Unconfigured, deliver, is_leased
from rootwatch.errors import (
    DamagedItemError,
    DeliveryFailedError,
    DeliveryRefusedError,
    RootwatchError,
    StoreConflictError,
)
from rootwatch.pipeline import Recorder, run_timers
from rootwatch.report.model import listed, month_name
from rootwatch.triage import Desk, Escalation, ask

LEASE: Final = timedelta(seconds=190)
"""Longer than the function may run, so that a lease only outlives a run that died."""

TIMERS_END: Final = 140.0
"""No account's timers begin with fewer of the function's 180 seconds left; the next run goes on with the others."""
SENDING_ENDS: Final[Mapping[str, float]] = MappingProxyType({"sns": 120.0, "slack": 90.0})
"""The same for what is sent again: one alert on Slack may take most of a minute where Slack hangs or asks to wait."""

SEND_AGAIN_AFTER: Final = timedelta(minutes=5)
"""Until then an alert is the notifier's own affair."""
REFUSED_AGAIN_AFTER: Final = timedelta(minutes=15)
"""How often one alert that a channel refused for good is tried again: a person may have mended the channel."""
MOST_FAILURES: Final = 3
"""Alerts in a row that a channel does not take before the run leaves it alone; the next one goes on behind them."""

TROUBLE_AFTER: Final = timedelta(minutes=15)
TROUBLE_EVERY: Final = timedelta(hours=1)
LETTERS_EVERY: Final = timedelta(hours=6)
MORE_LETTERS_EVERY: Final = timedelta(minutes=10)
"""A rising number is told at once, but not more often than this: a flood of dead letters must not drown the topic."""

REPORT_DUE: Final = timedelta(minutes=15)
"""After the end of its month a report is begun; the template's schedule says so too."""
REPORT_AFTER: Final = timedelta(hours=8)
"""Until then a report may still be made: Lambda repeats what failed for six hours at the most."""
REPORT_EVERY: Final = timedelta(days=1)
MOST_REPORTS: Final = 3
"""Reports of so many months are missed; what is older, nobody waits for any more."""

MOST_LEDGERS_READ: Final = 25
"""Ledgers that are read for a notice; the index counts the others."""
MOST_ALERTS_NAMED: Final = 5
MOST_COUNTED: Final = 1000

NOBODY_IS_ASKED: Final = Escalation(MappingProxyType({}), None)

OPERATIONS: Final = "operations"
"""The place of notices that is no channel: the operations topic."""


@dataclass(slots=True)
class Report:
    """What one run did: how often, and what it measured, by the names of the metrics; and in words what went wrong."""

    counts: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def count(self, name: str, times: int = 1) -> None:
        """Count what was done; nothing is no metric."""
        if times:
            self.counts[name] += times

    def metrics(self) -> Iterator[tuple[str, str, float]]:
        """Yield each metric's name, its unit as CloudWatch calls it, and its value."""
        yield from ((name, "Count", count) for name, count in self.counts.items())
        yield from ((name, "Seconds", seconds) for name, seconds in self.seconds.items())

    def fail(self, what: str, error: Exception) -> None:
        """Note that a part failed. Of an error that is not ours only the kind is kept: its text may hold anything."""
        known = f": {error}" if isinstance(error, RootwatchError) else ""
        self.count("PartsFailed")
        self.failures.append(f"{what} ({type(error).__name__}{known})")

    @contextmanager
    def part(self, what: str) -> Iterator[None]:
        """Do a part of the work: if it fails, that is reported, and the work goes on behind it."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported, and has an alarm
            self.fail(what, error)


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel as the watchdog uses it: the notifier's own sender, and what posts a notice there.

    `title` is its name for people and `look_at` what they look at first when it is in trouble; `most` is how many
    alerts one run sends again, and `pause` keeps the distance between two of them.
    """

    name: str
    title: str
    look_at: str
    send: Sender
    tell: Callable[[Notice], Sent | Unconfigured]
    most: int
    pause: Callable[[], None]


@dataclass(frozen=True, slots=True)
class LetterQueue:
    """A dead-letter queue: its kind (a key of `LETTERS`), its name, and what counts its messages."""

    kind: str
    name: str
    count: Callable[[], int]


@dataclass(frozen=True, slots=True)
class Watchdog:
    """What `functions/watchdog` works with.

    `leave` puts what a channel refuses for good on the dead-letter queue, with the reason; `tell_operations` posts a
    notice on the operations topic. `desk` and `escalation` say how and when people are asked for an answer; without a
    desk nobody is. `prove` proves the way; see `rootwatch.proof`. `place` is the account and region that it all runs
    in: reports are expected since it was heard first; None where nobody makes any.
    """

    recorder: Recorder
    channels: Sequence[Channel]
    queues: Sequence[LetterQueue]
    tell_operations: Callable[[Notice], Sent | Unconfigured]
    leave: Callable[[Key, str], None]
    desk: Desk | None = None
    escalation: Escalation = NOBODY_IS_ASKED
    prove: Callable[[Report], None] = lambda _report: None
    place: tuple[str, str] | None = None

    def run(self, seconds_left: Callable[[], float]) -> Report:
        """Do once all that is due.

        Args:
            seconds_left: says how many seconds the function may still run.

        Raises:
            StoreError: the lease could not be taken, or the state not written; the next run tries again.

        """
        report = Report()
        state = self._leased(report)
        if state is None:
            report.count("RunsSkipped")
            return report
        run = _Run(self, state, report, seconds_left)
        run.run_timers()
        run.ask()
        for channel in self.channels:
            run.send_again(channel)
        # What takes least time first: a channel that hangs may use up the rest.
        for queue in self.queues:
            run.watch_letters(queue)
        run.watch_reports()
        with report.part("the way could not be proven"):
            self.prove(report)
        for channel in self.channels:
            run.watch_channel(channel)
        run.remember(replace(run.state, lease_until=None))
        return report

    def _leased(self, report: Report) -> WatchState | None:
        """Take the lease and return the state, or None where another run holds it."""
        store, now = self.recorder.store, self.recorder.now()
        try:
            state = store.watch_state()
        except DamagedItemError as error:
            report.fail("what the watchdog remembers was changed; it begins anew", error)
            return store.replace_watch_state(WatchState(lease_until=now + LEASE))
        # One that reaches further than any run of ours takes it is no lease: it would silence the watchdog for ever.
        if state.lease_until is not None and now < state.lease_until <= now + LEASE:
            return None
        try:
            return store.write_watch_state(state, replace(state, lease_until=now + LEASE))
        except StoreConflictError:
            return None  # the other run has it now


class _Took(Enum):
    """Whether the channel took an alert that was to be sent again."""

    YES = auto()
    NO = auto()
    NOT_NOW = auto()  # it said when to come back
    NOT_ASKED = auto()  # somebody else is at it, or has been; or the fault is ours


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Something that people have to hear of: how much of it there is, where and how often it is told, in what words."""

    subject: str
    count: int
    since: datetime
    places: Mapping[str, Callable[[Notice], Sent | Unconfigured]]
    every: timedelta
    more_every: timedelta
    notice: Notice


class _Run:
    """One run: the state as it stands, and what is left of the time."""

    def __init__(
        self, watchdog: Watchdog, state: WatchState, report: Report, seconds_left: Callable[[], float]
    ) -> None:
        self.state = state
        self._watchdog = watchdog
        self._report = report
        self._seconds_left = seconds_left

    @property
    def _store(self) -> AuditStore:
        return self._watchdog.recorder.store

    def _now(self) -> datetime:
        return self._watchdog.recorder.now()

    def remember(self, state: WatchState) -> None:
        """Write the state; raises StoreError."""
        self.state = self._store.write_watch_state(self.state, state)

    # --- timers ----------------------------------------------------------------------------------------------------

    def run_timers(self) -> None:
        """Let time pass for every account with an open incident."""
        accounts: list[str] = []
        with self._report.part("the open incidents could not be listed"):
            accounts = self._store.open_accounts()
        first = bisect_right(accounts, self.state.timers_after)
        for account_id in (*accounts[first:], *accounts[:first]):
            if self._seconds_left() < TIMERS_END:
                return
            self.state = replace(self.state, timers_after=account_id)
            with self._report.part(f"the timers of account {account_id}"):
                self._report.count("AlertsDue", len(run_timers(account_id, self._watchdog.recorder)))
        if accounts:
            self.state = replace(self.state, timers_after="")

    # --- questions -------------------------------------------------------------------------------------------------

    def ask(self) -> None:
        """Ask for the answers that are due: of nobody yet, or of whoever took an incident and is silent."""
        desk, incidents = self._watchdog.desk, list[str]()
        if desk is None:
            return
        with self._report.part("the unanswered incidents could not be listed"):
            incidents = list(self._store.unanswered())
        for incident_id in incidents:
            if self._seconds_left() < TIMERS_END:
                return
            with self._report.part(f"asking about the incident {incident_id}"), suppress(StoreConflictError):
                self._report.count("QuestionsAsked", int(ask(desk, incident_id, self._watchdog.escalation)))

    # --- redelivery ------------------------------------------------------------------------------------------------

    def send_again(self, channel: Channel) -> None:
        """Send what the channel did not take, and now and then what it refused for good."""
        with self._report.part(f"alerts could not be sent again on {channel.name}"):
            self._send_all(channel, refused=False, most_failures=MOST_FAILURES)
        with self._report.part(f"refused alerts could not be sent again on {channel.name}"):
            again_at = self.state.refused_again_at.get(channel.name)
            now = self._now()
            # A moment that lies further ahead than we ever set it is not ours.
            if again_at is not None and now < again_at <= now + REFUSED_AGAIN_AFTER:
                return
            later = dict(self.state.refused_again_at)
            later.pop(channel.name, None)
            if self._send_all(channel, refused=True, most_failures=1):
                later[channel.name] = now + REFUSED_AGAIN_AFTER
            self.state = replace(self.state, refused_again_at=MappingProxyType(later))

    def _send_all(self, channel: Channel, *, refused: bool, most_failures: int) -> int:
        """Send one after the other, beginning behind the last one of the run before; return how many were not taken."""
        partition = undelivered_partition(channel.name, refused=refused)
        entries = self._listed(channel.name, self._now() - SEND_AGAIN_AFTER, refused=refused)
        first = bisect_right([_place(entry) for entry in entries], self.state.sent_after.get(partition, ""))
        failures = in_a_row = 0
        for entry in (*entries[first:], *entries[:first])[: channel.most]:
            if self._seconds_left() < SENDING_ENDS.get(channel.name, TIMERS_END) or in_a_row >= most_failures:
                return failures
            self._remember_place(partition, _place(entry))
            took = self._send_one(channel, entry.key, refused=refused)
            if took in {_Took.NO, _Took.NOT_NOW}:
                failures += 1
                in_a_row = in_a_row + 1 if took is _Took.NO else most_failures
            elif took is _Took.YES:
                in_a_row = 0
        if len(entries) <= channel.most:  # every one had its turn
            self._remember_place(partition, "")
        return failures

    def _remember_place(self, partition: str, place: str) -> None:
        places = {**self.state.sent_after, partition: place} if place else dict(self.state.sent_after)
        if not place:
            places.pop(partition, None)
        self.state = replace(self.state, sent_after=MappingProxyType(places))

    def _send_one(self, channel: Channel, key: Key, *, refused: bool) -> _Took:
        now = self._now()
        try:
            delivery = self._store.delivery(key)
            if delivery is not None and not self._is_due(delivery, now, refused=refused):
                return _Took.NOT_ASKED  # the index was behind, or a notifier is at it
            channel.pause()
            if delivery is not None and refused:
                self._store.write_delivery(delivery, replace(delivery, refused=False))
            state = deliver(
                self._store,
                key,
                channel.send,
                self._watchdog.recorder.now,
                # For one that was refused before a dead letter lies there already.
                lambda reason: None if refused else self._watchdog.leave(key, reason),
            )
        except DeliveryFailedError as error:
            self._report.count("DeliveriesFailed")  # the ledger says why, and `watch_channel` tells it
            return _Took.NO if error.retry_after is None else _Took.NOT_NOW
        except Exception as error:  # noqa: BLE001 - reported; one ledger must not stop the others
            self._report.fail(f"the delivery {key.pk} {key.sk}", error)
            return _Took.NOT_ASKED
        self._report.count(f"Deliveries{state.capitalize()}")
        return _Took.NO if state is DeliveryState.FAILED else _Took.YES

    def _is_due(self, delivery: Delivery, now: datetime, *, refused: bool) -> bool:
        return not is_leased(delivery, now) and delivery.refused is refused and _undelivered(delivery)

    # --- trouble on a channel --------------------------------------------------------------------------------------

    def watch_channel(self, channel: Channel) -> None:
        """Say on the other channels and on the operations topic when alerts do not arrive, and when they do again."""
        with self._report.part(f"what does not arrive on {channel.name} could not be looked at"):
            now = self._now()
            due_until = now - TROUBLE_AFTER
            waiting = self._listed(channel.name, due_until, refused=False)
            refused = self._listed(channel.name, due_until, refused=True)
            ledgers = self._ledgers(waiting, refused)
            others = {other.name: other.tell for other in self._watchdog.channels if other is not channel}
            places = {OPERATIONS: self._watchdog.tell_operations, **others}
            subject = f"channel:{channel.name}"
            if not ledgers:
                self._tell_end(subject, f"No alert waits for {channel.title} any more", CHANNEL_WELL, places)
                return
            count = max(len(waiting) + len(refused), len(ledgers))
            notice = undelivered_notice(channel, ledgers, count, len(refused), now)
            since = min((ledger.due_at for ledger in ledgers if ledger is not None), default=now)
            self._tell(_Trouble(subject, count, since, places, TROUBLE_EVERY, TROUBLE_EVERY, notice))

    def _listed(self, channel: str, due_until: datetime, *, refused: bool) -> list[IndexEntry]:
        found = self._store.undelivered(channel, refused=refused, due_until=due_until)
        return list(islice(found, MOST_COUNTED))

    def _ledgers(self, *lists: list[IndexEntry]) -> list[Delivery | None]:
        """Return the oldest ledgers of each list, as they stand now; None for one that is damaged or gone."""
        ledgers: list[Delivery | None] = []
        for entries in lists:
            for entry in entries[:MOST_LEDGERS_READ]:
                try:
                    delivery = self._store.delivery(entry.key)
                except DamagedItemError:
                    delivery = None  # it is reported where it is sent again
                # The index may be a moment behind the ledger.
                if delivery is None or _undelivered(delivery):
                    ledgers.append(delivery)
        return ledgers

    # --- dead letters ----------------------------------------------------------------------------------------------

    def watch_letters(self, queue: LetterQueue) -> None:
        """Say on the operations topic that a dead-letter queue is not empty, has more, or is empty again."""
        with self._report.part(f"the messages of {queue.name} could not be counted"):
            count, now = queue.count(), self._now()
            places = {OPERATIONS: self._watchdog.tell_operations}
            subject = f"letters:{queue.kind}"
            if count or subject in self.state.troubles:
                with self._report.part(f"the messages of {queue.name} could not be noted for the monthly report"):
                    self._note_letters(queue, count, now)
            if count == 0:
                self._tell_end(subject, f"{queue.name} is empty again", LETTERS_GONE, places)
                return
            notice = letters_notice(queue, count, now)
            self._tell(_Trouble(subject, count, now, places, LETTERS_EVERY, MORE_LETTERS_EVERY, notice))

    def _note_letters(self, queue: LetterQueue, count: int, now: datetime) -> None:
        """Keep for the month's report how many dead letters there were at the most, and when they were gone."""
        month = f"{now:%Y-%m}"
        try:
            seen = self._store.seen_letters(month, queue.kind)
        except DamagedItemError as error:
            self._report.fail(f"what was seen of {queue.name} was changed; it begins anew", error)
            seen = None
        known = seen or SeenLetters(month, queue.kind, queue.name, 0, now)
        after = replace(known, most=max(known.most, count), gone_at=None if count else known.gone_at or now)
        if after != seen and after.most:  # letters that were gone before this month began are none of it
            self._store.write_seen_letters(after)

    # --- monthly reports -------------------------------------------------------------------------------------------

    def watch_reports(self) -> None:
        """Say on the operations topic which monthly reports are missing, once and every day, and when they are there.

        Alarms cannot: a run that never starts, since its schedule is gone or switched off, fails nowhere.
        """
        if self._watchdog.place is None:
            return
        with self._report.part("the monthly reports could not be looked at"):
            now, here = self._now(), self._store.place(*self._watchdog.place)
            months = reports_due(now, here.first_at) if here is not None else []
            found = zip(months, self._store.kept_reports(months), strict=True)
            # One that was made while its month went on, as people may ask for, is not the month's.
            missing = [
                month for month, kept in found if not isinstance(kept, KeptReport) or kept.kept_at < _month_end(month)
            ]
            places, subject = {OPERATIONS: self._watchdog.tell_operations}, "report"
            if not missing:
                self._tell_end(subject, "The monthly report is there", REPORTS_THERE, places)
                return
            notice = reports_notice(missing, self._watchdog.recorder.own.stack_name, now)
            since = _month_end(min(missing)) + REPORT_DUE
            self._tell(_Trouble(subject, len(missing), since, places, REPORT_EVERY, REPORT_EVERY, notice))

    # --- telling ---------------------------------------------------------------------------------------------------

    def _tell(self, trouble: _Trouble) -> None:
        """Tell a trouble where it was not told yet, or not for long; remember each place as soon as it is told."""
        known = self.state.troubles.get(trouble.subject) or Told(trouble.since, trouble.count)
        grew = trouble.count > known.count
        every = trouble.more_every if grew else trouble.every
        now = self._now()
        for place, tell in trouble.places.items():
            last = known.at.get(place)
            # A moment that lies ahead is not ours: it would keep the trouble quiet.
            if last is not None and timedelta() <= now - last < every:
                continue
            with self._report.part(f"{trouble.subject} could not be told on {place}"):
                if last is None:
                    # First that somebody there may hear of it: a run that ends right after it told does not come to
                    # keep that, and the end has to be told there, too. As told so long ago it is still due.
                    before = now - max(trouble.every, trouble.more_every)
                    known = replace(known, at=MappingProxyType({**known.at, place: before}))
                    self._keep_trouble(trouble.subject, known)
                if isinstance(tell(trouble.notice), Sent):
                    self._report.count("NoticesSent")
                    known = replace(known, count=trouble.count, at=MappingProxyType({**known.at, place: now}))
                    self._keep_trouble(trouble.subject, known)
        if trouble.count < known.count:
            self._keep_trouble(trouble.subject, replace(known, count=trouble.count))

    def _tell_end(
        self,
        subject: str,
        headline: str,
        words: str,
        places: Mapping[str, Callable[[Notice], Sent | Unconfigured]],
    ) -> None:
        """Say that a trouble is over, wherever somebody may have heard of it, and forget it."""
        known = self.state.troubles.get(subject)
        if known is None:
            return
        now = self._now()
        notice = make_notice(headline, [f"{words} The trouble began {clock(known.since)}."], now, urgent=False)
        for place in tuple(known.at):
            tell = places.get(place)
            with self._report.part(f"the end of {subject} could not be told on {place}"):
                try:
                    answer = tell(notice) if tell is not None else None
                except DeliveryRefusedError as error:
                    self._report.fail(f"the end of {subject} was refused on {place}", error)
                    answer = None  # no repetition helps
                self._report.count("NoticesSent", int(isinstance(answer, Sent)))
                known = replace(
                    known, at=MappingProxyType({name: at for name, at in known.at.items() if name != place})
                )
                self._keep_trouble(subject, known if known.at else None)
        if not known.at:
            self._keep_trouble(subject, None)

    def _keep_trouble(self, subject: str, told: Told | None) -> None:
        troubles = {name: each for name, each in self.state.troubles.items() if name != subject}
        if told is not None:
            troubles[subject] = told
        self.remember(replace(self.state, troubles=MappingProxyType(troubles)))


def _undelivered(delivery: Delivery) -> bool:
    return delivery.state in {DeliveryState.PENDING, DeliveryState.FAILED}


def _place(entry: IndexEntry) -> str:
    return f"{entry.sort} {entry.key.pk} {entry.key.sk}"


def reports_due(now: datetime, since: datetime) -> list[str]:
    """Return the months (`2026-11`) whose reports have to be there, the oldest first.

    Args:
        now: the moment (UTC).
        since: when the watch was first heard (UTC): what was due before, nobody was there to make.

    """
    last = now.year * 12 + now.month - 2
    months = [month_name(number) for number in range(last - MOST_REPORTS + 1, last + 1)]
    return [month for month in months if since < _month_end(month) + REPORT_DUE <= now - REPORT_AFTER]


def _month_end(month: str) -> datetime:
    year, number = map(int, month.split("-"))
    return datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)


# --- what people are told --------------------------------------------------------------------------------------------

LETTERS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "intake": (
            "They are records that could not be read or stored, so nobody was told of them.",
            "`rootwatch redrive` says why each lies there; mend the cause, then `rootwatch redrive --move`.",
        ),
        "rule": (
            "They are records that EventBridge could not hand over, so nobody was told of them.",
            "`rootwatch redrive` says why, and to whom; mend that, then `rootwatch redrive --move`.",
        ),
        "notify": (
            "They name alerts that a channel refused for good, or that were not delivered within an hour.",
            "look at the other channel; `rootwatch redrive` says why; mend that, then `rootwatch redrive --move`.",
        ),
    }
)
"""What lies in each dead-letter queue, and what a person does about it."""

REPORTS_THERE: Final = "No monthly report is missing any more."
LETTERS_GONE: Final = "No dead letter is left in it."
CHANNEL_WELL: Final = "What was late there is sent; if the channel lost its secret, the ledger says unconfigured."


def undelivered_notice(
    channel: Channel, ledgers: Sequence[Delivery | None], count: int, refused: int, now: datetime
) -> Notice:
    """Put into words that alerts did not arrive on a channel.

    Args:
        channel: which channel.
        ledgers: the oldest of their ledgers, None for one that cannot be read; at least one.
        count: how many alerts did not arrive, `refused` of them refused for good.
        refused: see there.
        now: the moment (UTC).

    """
    known = [ledger for ledger in ledgers if ledger is not None]
    names = [shown(f"{ledger.incident_id}-{ledger.number:04d}", 80) for ledger in known[:MOST_ALERTS_NAMED]]
    listed = ", ".join(names) or "none that can be read"
    more = f" and {count - len(names)} more" if count > len(names) else ""
    oldest = clock(min(ledger.due_at for ledger in known)) if known else "a time that cannot be read"
    tried = [ledger.attempts[-1] for ledger in known if ledger.attempts]
    last = max(tried, key=lambda attempt: attempt.at, default=None)
    error = (
        f"Nobody has tried to send them: look at the function notify-{channel.name} and its log."
        if last is None
        else f"Last error, {clock(last.at)}: {shown(last.error or 'none is named', 400)}"
    )
    look = f"What to do: mend what the error names; look at {channel.look_at} first."
    again = f"Nothing is lost: every alert is kept and sent again every minute; what {channel.title} refused for good"
    paragraphs = (
        f"They have waited for more than {_span(TROUBLE_AFTER)}, the oldest since {oldest}: {listed}{more}.",
        error,
        f"{look} Until then read the alerts on the other channel, which has its own copies.",
        f"{again} ({refused} of them), every {_span(REFUSED_AGAIN_AFTER)}.",
        f"This is said again every {_span(TROUBLE_EVERY)} while it lasts.",
    )
    return make_notice(f"{_many(count, 'alert')} did not arrive on {channel.title}", paragraphs, now, urgent=True)


def letters_notice(queue: LetterQueue, count: int, now: datetime) -> Notice:
    """Put into words that a dead-letter queue is not empty."""
    what, to_do = LETTERS[queue.kind]
    paragraphs = (
        f"{what} SQS deletes each of them 14 days after it came.",
        f"What to do: {to_do}",
        f"This is said again every {_span(LETTERS_EVERY)} while there are any, and when there are more.",
    )
    return make_notice(f"{_many(count, 'dead letter')} in {queue.name}", paragraphs, now, urgent=True)


def reports_notice(months: Sequence[str], stack_name: str, now: datetime) -> Notice:
    """Put into words that reports of months are missing, the oldest first."""
    function = f"{stack_name}-report"
    what = (
        f"Missing: {', '.join(months)}. Each was due on the first of the next month at 00:15 UTC, more than "
        f"{_span(REPORT_AFTER)} ago: it was not begun, or it failed each time."
    )
    nothing_is_lost = "Nothing is lost with it: a report is made of the audit table, at any time."
    to_do = (
        f"What to do: look whether the rule {function} exists and is enabled (whoever changed it is told as tampering) "
        f"and at the log of the function {function}. Then invoke that function with the payload "
        f'{{"month": "{months[0]}"}} (README.md, The monthly report).'
    )
    again = f"This is said again every {_span(REPORT_EVERY)} while one is missing."
    paragraphs = (what, to_do, nothing_is_lost, again)
    return make_notice(
        f"{_many(len(months), 'monthly report')} missing, {listed(months, 3)}", paragraphs, now, urgent=True
    )


def _many(count: int, what: str) -> str:
    number = f"{count}{' or more' if count >= MOST_COUNTED else ''}"
    return f"{number} {what}{'' if count == 1 else 's'}"


def _span(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    if minutes % 60 == 0:
        return "hour" if minutes == 60 else f"{minutes // 60} hours"  # noqa: PLR2004 - an hour
    return f"{minutes} minutes"
