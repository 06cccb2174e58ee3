"""The proof of the way: every hour a canary and a source heartbeat are sent, and what does not come back is told.

The watchdog runs this every minute. What it tells is a notice, as of any other trouble; what it measures are the ages
of the last canary and the last source heartbeat that came back, in seconds, on which there are alarms.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from rootwatch.alert import clock, shown
from rootwatch.audit.items import DeliveryState, Proof, ProofState, Sending
from rootwatch.channels.notice import Notice, as_text, make_notice, of_text
from rootwatch.coverage import TOLD_EVERY, Place, heard_again, to_tell
from rootwatch.delivery import Sent, Unconfigured
from rootwatch.errors import DamagedItemError, DeliveryRefusedError, StoreConflictError
from rootwatch.pipeline import Recorder
from rootwatch.probe import Probe, ProbeKind, make_probe, place_of
from rootwatch.watchdog import Report

EVERY: Final = timedelta(hours=1)
LOOK_EVERY: Final = timedelta(minutes=10)
"""How often all places are read: an organization may have thousands."""
LATE_AFTER: Final = timedelta(hours=2)
"""After so long without a canary that came through, people are told which part of its way failed."""
MOST_NAMED: Final = 20
MOST_MARKED: Final = 2000
"""Places that one run tells of and marks as told, in about twenty seconds; the next one goes on with the others."""

AGES: Final[Mapping[ProbeKind, str]] = MappingProxyType(
    {ProbeKind.CANARY: "CanaryAge", ProbeKind.HEARTBEAT: "HeartbeatAge"}
)
"""The metrics, in seconds; the template's alarms name them."""
SENT: Final[Mapping[ProbeKind, str]] = MappingProxyType(
    {ProbeKind.CANARY: "CanariesSent", ProbeKind.HEARTBEAT: "HeartbeatsSent"}
)
"""The metrics of how many the event bus, and the rule, took."""

MOST_WAITING: Final = 20
"""Notices that wait for a place which takes none; then the oldest make room."""
OPERATIONS: Final = "operations"
"""The place of notices that is no channel."""

Tell = Callable[[Notice], Sent | Unconfigured]


@dataclass(frozen=True, slots=True)
class Prover:
    """What the proof of the way works with.

    `put` sends a canary to the event bus, `tag` writes a source heartbeat on the rule; both raise where AWS does not
    take it. `call` is an HTTPS GET of the address that an outside watchdog listens on, None where there is none.
    `token` returns 32 random hexadecimal digits. Notices go to `operations`, and to `places`, the channels by name.
    """

    recorder: Recorder
    rule_arn: str
    put: Callable[[Probe], None]
    tag: Callable[[Probe], None]
    call: Callable[[], None] | None
    token: Callable[[], str]
    places: Mapping[str, Tell]
    operations: Tell

    def run(self, report: Report) -> None:
        """Do once all that is due; what fails is in the report, and the next minute tries it again.

        Raises:
            StoreError: what it remembers could not be read or written; the next run tries again.

        """
        run = _Run(self, self._state(report), report)
        for kind in ProbeKind:
            run.follow(kind)
        run.call()
        run.look_at_places()
        run.tell()
        run.remember()

    def _state(self, report: Report) -> ProofState:
        try:
            return self.recorder.store.proof_state()
        except DamagedItemError as error:
            report.fail("what the proof of the way remembers was changed; it begins anew", error)
            return ProofState()


class _Run:
    """One run: the state as it stands, and the moment of the run."""

    def __init__(self, prover: Prover, state: ProofState, report: Report) -> None:
        self.state = state
        self._prover, self._report = prover, report
        self._store = prover.recorder.store
        self._now = prover.recorder.now()
        self._marks: list[tuple[Sequence[Place], Mapping[str, object]]] = []
        self._has_news = False

    def remember(self) -> None:
        """Write the state; raises StoreError."""
        self.state = self._store.write_proof_state(self.state)

    # --- canary and source heartbeat -------------------------------------------------------------------------------

    def follow(self, kind: ProbeKind) -> None:
        """See whether the last probe came back, send the next one when it is due, and measure the age."""
        sending = self.state.sendings.get(kind)
        missing = ""
        if sending is not None:
            with self._report.part(f"the last {kind} could not be looked at"):
                missing = self._missing(kind, sending)
                if not missing:
                    sending = replace(sending, proven_at=sending.sent_at)
        # A moment that lies ahead is not ours: it would keep the next one from being sent.
        if sending is None or not timedelta() <= self._now - sending.sent_at < EVERY:
            sending = self._send(kind, sending)
        age = self._now - (sending.proven_at or sending.since)
        self._report.seconds[AGES[kind]] = max(0.0, age.total_seconds())
        # The heartbeat's silence is that of its place; see `look_at_places`.
        if kind is ProbeKind.CANARY:
            sending = self._tell_of_canary(sending, age, missing)
        self.state = replace(self.state, sendings=MappingProxyType({**self.state.sendings, str(kind): sending}))

    def _missing(self, kind: ProbeKind, sending: Sending) -> str:
        """Return in words what is missing until a probe has come through; empty where nothing is."""
        probe = self._store.probe(kind, sending.nonce)
        if probe is None:
            return "It was not sent, or its item is gone."
        if probe.arrived_at is None:
            return "It did not reach detect: look at the root rule, its target, and the intake queue."
        if kind is ProbeKind.HEARTBEAT:
            return ""
        failed: list[str] = []
        for channel in self._prover.recorder.channels:
            proof = self._store.proof(Proof(sending.nonce, channel).key)
            if proof is None or proof.state is DeliveryState.PENDING:
                failed.append(f"{channel}: nobody has tried yet; look at the function notify-{channel}")
            elif proof.state is DeliveryState.FAILED:
                failed.append(f"{channel}: {shown(proof.words or 'no error is named', 300)}")
        return "; ".join(failed)

    def _send(self, kind: ProbeKind, before: Sending | None) -> Sending:
        probe = make_probe(kind, self._prover.rule_arn, self._now, self._prover.token())
        sending = Sending(probe.nonce, self._now, self._now)
        if before is not None:
            sending = replace(before, nonce=probe.nonce, sent_at=self._now)
        try:
            self._store.add_probe(probe)
            (self._prover.put if kind is ProbeKind.CANARY else self._prover.tag)(probe)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported, and has an alarm
            self._report.fail(f"the {kind} could not be sent", error)
            # Not sent: the next minute tries again, and the age goes on from where it was.
            return before or replace(sending, sent_at=self._now - EVERY)
        self._report.count(SENT[kind])
        return sending

    def _tell_of_canary(self, sending: Sending, age: timedelta, missing: str) -> Sending:
        """Say that no canary comes through, once and every day, and that one does again."""
        if age <= LATE_AFTER:
            if sending.told_at is None:
                return sending
            self._add(make_notice("The canary comes through again", [CANARY_WELL], self._now, urgent=False))
            return replace(sending, told_at=None)
        if sending.told_at is not None and timedelta() <= self._now - sending.told_at < TOLD_EVERY:
            return sending
        self._add(canary_notice(sending, missing, self._now))
        return replace(sending, told_at=self._now)

    def call(self) -> None:
        """Tell the outside watchdog that both came back, once for each pair of them."""
        proven = [sending.proven_at for sending in self.state.sendings.values()]
        if self._prover.call is None or len(proven) < len(ProbeKind) or None in proven:
            return
        both = min(moment for moment in proven if moment is not None)
        if self._now - both > LATE_AFTER or self.state.called_for == both:
            return
        with self._report.part("the outside watchdog (HeartbeatUrl) could not be called"):
            self._prover.call()
            self._report.count("HeartbeatUrlCalled")
            self.state = replace(self.state, called_for=both)

    # --- coverage --------------------------------------------------------------------------------------------------

    def look_at_places(self) -> None:
        """Say which accounts and regions are quiet, which are heard again, and which are new."""
        looked_at = self.state.looked_at
        if looked_at is not None and timedelta() <= self._now - looked_at < LOOK_EVERY:
            return
        with self._report.part("the accounts and regions could not be looked at"):
            self._know_the_hub()
            places: list[Place] = []
            for found in self._store.places():
                if isinstance(found, DamagedItemError):
                    self._report.fail("what is known of an account in a region was changed", found)
                else:
                    places.append(found)
            self._report.count("QuietPlaces", sum(place.is_quiet(self._now) for place in places))
            self._mark(to_tell(places, self._now), quiet_notice, told_at=self._now)
            self._mark(heard_again(places, self._now), heard_again_notice, told_at=None)
            new = [place for place in places if not place.introduced]
            self._mark(new, new_places_notice, only_operations=True, introduced=True)
            self.state = replace(self.state, looked_at=self._now)

    def _know_the_hub(self) -> None:
        """Wait for the hub's own heartbeat also where none ever came."""
        account_id, region = place_of(self._prover.rule_arn)
        if self._store.place(account_id, region) is None:
            self._store.write_place(Place(account_id, region, self._now, introduced=True))

    def _mark(
        self,
        places: Sequence[Place],
        notice: Callable[[Sequence[Place], datetime], Notice],
        *,
        only_operations: bool = False,
        **changes: object,
    ) -> None:
        """Tell of places in one notice, and mark them as told of."""
        places = places[:MOST_MARKED]
        if places:
            self._add(notice(places, self._now), only_operations=only_operations)
            self._marks.append((places, changes))

    def _change(self, place: Place, changes: Mapping[str, object]) -> None:
        try:
            self._store.write_place(replace(place, **changes))  # type: ignore[arg-type] # fields of Place by name
        except StoreConflictError:  # it was heard meanwhile
            self._store.change_place(
                place.account_id,
                place.region,
                lambda now: replace(now or place, **changes),  # type: ignore[arg-type]
            )

    # --- telling ---------------------------------------------------------------------------------------------------

    def _add(self, notice: Notice, *, only_operations: bool = False) -> None:
        """Let a notice wait for every place, the topic alone if so said."""
        waiting = dict(self.state.waiting)
        for place in (OPERATIONS,) if only_operations else (OPERATIONS, *self._prover.places):
            waiting[place] = (*waiting.get(place, ()), as_text(notice))[-MOST_WAITING:]
        self.state = replace(self.state, waiting=MappingProxyType(waiting))
        self._has_news = True

    def tell(self) -> None:
        """Tell every place what waits for it, in the order in which it became due.

        That it waits is kept before anybody is told, and that somebody was told after it: a run that ends in between
        repeats a notice, and loses none. What a place does not take waits there for the next minute, and nowhere else.
        """
        if self._has_news:
            self.remember()
        for places, changes in self._marks:
            for place in places:
                with self._report.part(f"that {place.account_id} {place.region} was told of could not be kept"):
                    self._change(place, changes)
        waiting: dict[str, tuple[str, ...]] = {}
        for name, tell in {OPERATIONS: self._prover.operations, **self._prover.places}.items():
            texts = self.state.waiting.get(name, ())
            told = 0
            with self._report.part(f"a notice could not be told on {name}"):
                for text in texts:
                    self._tell_one(name, tell, text)
                    told += 1
            if told < len(texts):
                waiting[name] = texts[told:]
        self.state = replace(self.state, waiting=MappingProxyType(waiting))

    def _tell_one(self, place: str, tell: Tell, text: str) -> None:
        try:
            notice = of_text(text)
        except (TypeError, ValueError) as error:
            self._report.fail(f"a notice for {place} was changed", error)
            return
        try:
            self._report.count("NoticesSent", int(isinstance(tell(notice), Sent)))
        except DeliveryRefusedError as error:
            self._report.fail(f"a notice was refused on {place}", error)  # no repetition helps


# --- what people are told --------------------------------------------------------------------------------------------

CANARY_WELL: Final = "An alert would pass again, from the rule to every channel."


def canary_notice(sending: Sending, missing: str, now: datetime) -> Notice:
    """Put into words that no canary comes through, and which part of its way fails."""
    last = f"The last one that did was sent {clock(sending.proven_at)}." if sending.proven_at else "None ever did."
    paragraphs = (
        f"For two hours no canary has come through all of its way: rule, intake queue, detect, table, channels. {last}",
        f"Of the last one: {missing or 'it came, too late.'}",
        "What to do: mend that first. While it lasts an alert may take the same way in vain.",
        "This is said again every day while it lasts.",
    )
    return make_notice("No canary comes through: alerts may not either", paragraphs, now, urgent=True)


def quiet_notice(places: Sequence[Place], now: datetime) -> Notice:
    """Put into words that accounts or regions are quiet; at least one, the longest quiet first."""
    first = places[0]
    heartbeat = f"since {clock(first.heartbeat_at)}" if first.heartbeat_at else "and none ever came"
    what = (
        "The forwarding stack there is deleted or disabled, or its roles or the hub's bus do not let it pass (its "
        "queue forward-dead-letter has what did not arrive). Of the hub's own region it is the trail: stopped, "
        "deleted, or without management events."
    )
    paragraphs = (
        f"No heartbeat has come for more than two hours from: {_named(places)}.",
        f"The longest quiet is {_named([first])}, {heartbeat}.",
        f"Until this is mended, root can act there unseen. {what}",
        "What to do: look up in CloudTrail there who changed what, and deploy template-forward.yaml again.",
        "If an account or region is gone for good: rootwatch coverage --retire ACCOUNT/REGION.",
        "This is said again every day while it lasts. All of them: rootwatch coverage.",
    )
    return make_notice(f"{_counted(places)} not heard for two hours", paragraphs, now, urgent=True)


def heard_again_notice(places: Sequence[Place], now: datetime) -> Notice:
    """Put into words that accounts or regions that were quiet are heard again, or not waited for any more."""
    paragraphs = (
        f"Heard again, or retired: {_named(places)}.",
        "What root did there meanwhile is in CloudTrail: read it for the hours in between, it was not seen here.",
    )
    return make_notice(f"{_counted(places)} not quiet any more", paragraphs, now, urgent=False)


def new_places_notice(places: Sequence[Place], now: datetime) -> Notice:
    """Put into words that accounts or regions are heard for the first time."""
    paragraphs = (
        f"Heard for the first time: {_named(places)}.",
        "If one of them is none of yours, look at the parameters OrganizationId and ForwardingAccounts.",
        "What is heard proves the way from there, not that a trail logs there: see once that one does.",
    )
    return make_notice(f"{_counted(places)} new", paragraphs, now, urgent=False)


def _named(places: Sequence[Place]) -> str:
    by_account: dict[str, list[str]] = {}
    for place in places[:MOST_NAMED]:
        by_account.setdefault(shown(place.account_id, 20), []).append(shown(place.region, 20))
    listed = "; ".join(f"{account_id} {', '.join(regions)}" for account_id, regions in by_account.items())
    return f"{listed} and {len(places) - MOST_NAMED} more" if len(places) > MOST_NAMED else listed


def _counted(places: Sequence[Place]) -> str:
    return f"{len(places)} region{'' if len(places) == 1 else 's'} of {_accounts(places)}"


def _accounts(places: Sequence[Place]) -> str:
    accounts = sorted({place.account_id for place in places})
    return f"account {shown(accounts[0], 20)}" if len(accounts) == 1 else f"{len(accounts)} accounts"
