"""The steps joined: read this first.

    message ─▶ record ─▶ detection ─▶ context ─▶ incident ─▶ alert ─▶ one transaction
               record.py detections/  context/   incident.py alert.py  audit/

`inspect`, `replay` and `functions/detect` call the same functions here. Nothing is lost: every message ends recorded,
known already, not concerning root, rejected with a reason, or failed, which leaves it in the queue.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from types import MappingProxyType
from typing import Final

from rootwatch.alert import Alert, compose
from rootwatch.audit.items import event_key, key_part
from rootwatch.audit.store import AuditStore, Changes, Known
from rootwatch.context.observation import IssuedKey, Observation, observe, tied
from rootwatch.context.source import SourceKind
from rootwatch.context.surroundings import Found, StatedNames, Surroundings
from rootwatch.coverage import Place, hear_canary, hear_heartbeat, hear_record
from rootwatch.detections.detection import OwnResources, Severity
from rootwatch.errors import (
    DamagedItemError,
    RootwatchError,
    StoreConflictError,
    StoreUnavailableError,
    UnreadableRecordError,
)
from rootwatch.incident import (
    AccountState,
    DueAlert,
    FoldOutcome,
    Incident,
    Link,
    RecordedEvent,
    append,
    fold,
    issued_key,
    join,
    next_tick,
    report_damage,
    tick,
)
from rootwatch.probe import ForgedBeatError, ProbeKind, answers, heard_from, named_probe, place_of, read_beat
from rootwatch.record import ActorKind, Record, read_document, read_envelope, read_json
from rootwatch.settings import CHANNELS, Network

_LOG: Final = logging.getLogger(__name__)

MOST_TRIES = 24
"""Times a batch is folded again after somebody else wrote its account, before it goes back to the queue."""

MOST_PER_TRANSACTION = 10
"""Records of one account that are folded into one transaction; SQS delivers no more in a batch."""


class Fate(StrEnum):
    """What became of a message."""

    RECORDED = "recorded"
    DUPLICATE = "duplicate"
    IRRELEVANT = "irrelevant"
    REJECTED = "rejected"
    PROOF = "proof"
    WAITING = "waiting"
    FAILED = "failed"

    @property
    def stays(self) -> bool:
        """Return whether the message has to stay in the queue, which hands it over again."""
        return self in {Fate.WAITING, Fate.FAILED}


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the intake queue: its id, its text, when it was sent to the queue (UTC) if that is stated.

    `receives` is how often the queue handed it over, 0 if that is not stated.
    """

    id: str
    body: str
    sent_at: datetime | None
    receives: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one message, and why where it did not end well. `reason` holds nothing of the content."""

    message: Message
    fate: Fate
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Recorder:
    """What records need to be recorded: the store, our own names and networks, the clock and the patience.

    `pause` waits before try number n (from 1) after a conflict, with jitter; tests pass one that does not wait.
    `custodians` is whom alerts say to call.
    `surroundings` knows what an alert says beyond its record; by default nothing is looked up.
    """

    store: AuditStore
    own: OwnResources
    idle: timedelta
    now: Callable[[], datetime]
    pause: Callable[[int], None]
    channels: Sequence[str] = CHANNELS
    custodians: str = ""
    trusted_networks: Sequence[Network] = ()
    surroundings: Surroundings = StatedNames()  # noqa: RUF009 - frozen, and without any state


# --- functions/detect ----------------------------------------------------------------------------------------------


def message_of(entry: Mapping[str, object]) -> Message:
    """Return the message in one entry of an SQS event; what is missing in it is empty, never fatal."""
    attributes = entry.get("attributes")
    attributes = attributes if isinstance(attributes, Mapping) else {}
    milliseconds = _number(attributes.get("SentTimestamp"))
    return Message(
        id=str(entry.get("messageId", "")),
        body=str(entry.get("body", "")),
        sent_at=datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds is not None else None,
        receives=_number(attributes.get("ApproximateReceiveCount")) or 0,
    )


def _number(text: object) -> int | None:
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 15 else None  # noqa: PLR2004


def detect_messages(messages: Sequence[Message], recorder: Recorder, replay_source: str = "") -> list[Result]:
    """Take a batch of the intake queue through all steps; one result per message, in their order.

    A message that cannot be read is `rejected`; one that could not be written is `failed` and must stay in the queue.
    """
    results: dict[int, Result] = {}
    accounts: dict[str, list[tuple[int, Observation]]] = {}
    for position, message in enumerate(messages):
        read = _read_message(message, recorder, replay_source)
        if isinstance(read, Result):
            results[position] = read
        else:
            accounts.setdefault(key_part(read.record.account_id), []).append((position, read))
    for account_id, entries in accounts.items():
        entries.sort(key=lambda entry: entry[1].time)
        for start in range(0, len(entries), MOST_PER_TRANSACTION):
            part = entries[start : start + MOST_PER_TRANSACTION]
            for position, fate, reason in _record_or_fail(account_id, part, recorder):
                results[position] = Result(messages[position], fate, reason)
    _end_batch(recorder.surroundings)
    _note_places((observation for entries in accounts.values() for _, observation in entries), recorder)
    return [results[position] for position in range(len(messages))]


def _read_message(message: Message, recorder: Recorder, replay_source: str) -> Result | Observation:
    """Read a message: the observation that is to be recorded, or else what became of it."""
    try:
        record = read_envelope(read_json(message.body), replay_source=replay_source)
        fate, reason = _sign_of_life(record, message, recorder)
        if fate is not None:
            return Result(message, fate, reason)
        observation = observe(record, recorder.own, sent_at=message.sent_at, trusted_networks=recorder.trusted_networks)
    except UnreadableRecordError as error:
        return Result(message, Fate.REJECTED, str(error))
    except Exception as error:  # noqa: BLE001 - a fault of ours must not hold up the neighbours
        return Result(message, Fate.FAILED, f"a fault in Rootwatch ({type(error).__name__})")
    if observation.relevant:
        return replace(observation, may_wait=message.receives == 1)
    return Result(message, Fate.IRRELEVANT if reason is None else Fate.REJECTED, reason)


def _sign_of_life(record: Record, message: Message, recorder: Recorder) -> tuple[Fate | None, str | None]:
    """Take a canary or a heartbeat, which no people hear of; return no fate for all that goes the ordinary way.

    Something with the heartbeats' source that is none goes the ordinary way with a reason: if it does not concern root,
    it is rejected for that.
    """
    try:
        beat = read_beat(record, message.sent_at)
    except ForgedBeatError as error:
        return None, str(error)
    named = named_probe(record)
    if beat is None and named is None:
        return None, None
    at, store = message.sent_at or recorder.now(), recorder.store
    try:
        if beat is not None:
            hear = partial(hear_heartbeat, at=at, scheduled_at=beat.scheduled_at)
            is_heard = store.change_place(beat.account_id, beat.region, _hearing(hear, beat.account_id, beat.region))
            # Also of one that a later one overtook: it proves the day for which it was scheduled.
            is_new = store.add_heard_hour(beat.account_id, beat.region, beat.scheduled_at)
            return (Fate.PROOF if is_heard or is_new else Fate.DUPLICATE), None
        return (None if named is None else _take_probe(record, *named, recorder, at)), None
    except RootwatchError as error:
        return Fate.FAILED, f"{type(error).__name__}: {error}"


def _take_probe(record: Record, kind: ProbeKind, nonce: str, recorder: Recorder, at: datetime) -> Fate | None:
    """Use up the nonce of a probe that waits for exactly this record; None where none does: a forgery, or a replay."""
    store = recorder.store
    probe = store.probe(kind, nonce)
    if probe is None or not answers(record, probe):
        return None
    is_repeated = probe.arrived_at is not None
    if is_repeated and probe.arrived != record.sha256:
        return None
    account_id, region = place_of(probe.rule_arn)
    if not is_repeated:
        channels = recorder.channels if kind is ProbeKind.CANARY else ()
        store.write_probe_arrival(probe, at, record.sha256, channels)
    hear = hear_canary if kind is ProbeKind.CANARY else partial(hear_heartbeat, scheduled_at=probe.sent_at)
    store.change_place(account_id, region, _hearing(partial(hear, at=at), account_id, region))
    return Fate.DUPLICATE if is_repeated else Fate.PROOF


def _hearing(hear: Callable[..., Place | None], account_id: str, region: str) -> Callable[[Place | None], Place | None]:
    return lambda known: hear(known, account_id, region)


def _note_places(observations: Iterable[Observation], recorder: Recorder) -> None:
    """Note which accounts and regions CloudTrail's records came from; the records themselves are recorded by now."""
    for place in sorted({place for each in observations if (place := heard_from(each.record)) is not None}):
        try:
            hear = partial(hear_record, at=recorder.now())
            recorder.store.change_place(*place, _hearing(hear, *place))
        except Exception as error:  # noqa: BLE001 - only the overview lacks a moment; the next record brings another one
            _LOG.warning("that a record of an account came could not be noted (%s)", type(error).__name__)


def take_in(
    event: Mapping[str, object], recorder: Recorder, reject: Callable[[Message, str], None], replay_source: str = ""
) -> list[Result]:
    """Do all that `functions/detect` does with an SQS event, the dead-letter queue included.

    Args:
        event: what Lambda hands over: `{"Records": [message, …]}`.
        recorder: how records are recorded.
        reject: puts an unreadable message on the dead-letter queue with its reason; may raise.
        replay_source: see `read_envelope`.

    Returns:
        One result per message. Those that `failed` must be reported to SQS, so that it keeps them.

    """
    entries = event.get("Records")
    entries = entries if isinstance(entries, list) else []
    messages = [message_of(entry) for entry in entries if isinstance(entry, Mapping)]
    results = detect_messages(messages, recorder, replay_source)
    for position, result in enumerate(results):
        if result.fate is Fate.REJECTED:
            try:
                reject(result.message, result.reason or "")
            except RootwatchError as error:
                results[position] = replace(result, fate=Fate.FAILED, reason=str(error))
    return results


def _record_or_fail(
    account_id: str, entries: Sequence[tuple[int, Observation]], recorder: Recorder
) -> Iterator[tuple[int, Fate, str | None]]:
    """Record the entries; where the store cannot, say so per message: the queue keeps it and tries again."""
    try:
        fates, _ = record_batch(account_id, [observation for _, observation in entries], recorder)
    except (StoreConflictError, StoreUnavailableError, DamagedItemError) as error:
        for position, _ in entries:
            yield position, Fate.FAILED, f"{type(error).__name__}: {error}"
    except Exception as error:  # noqa: BLE001 - too large, or a fault of ours: find the one record that causes it
        if len(entries) == 1:
            known = f": {error}" if isinstance(error, RootwatchError) else ""
            yield entries[0][0], Fate.FAILED, f"{type(error).__name__}{known}"
            return
        half = len(entries) // 2
        yield from _record_or_fail(account_id, entries[:half], recorder)
        yield from _record_or_fail(account_id, entries[half:], recorder)
    else:
        for (position, _), fate in zip(entries, fates, strict=True):
            yield position, fate, None


def record_batch(
    account_id: str, observations: Sequence[Observation], recorder: Recorder
) -> tuple[list[Fate], list[Alert]]:
    """Fold relevant records of one account and write all that follows in one transaction.

    Returns:
        Per record whether it was recorded or known already, and the alerts that became due.

    Raises:
        StoreConflictError: somebody else wrote the account each of `MOST_TRIES` times; a retry helps.
        TransactionTooLargeError: split the batch.
        StoreUnavailableError, DamagedItemError, StoreError: as the store says.

    """
    for attempt in range(1, MOST_TRIES):
        try:
            return _record_once(account_id, observations, recorder)
        except StoreConflictError:
            recorder.pause(attempt)
    return _record_once(account_id, observations, recorder)


def _record_once(
    account_id: str, observations: Sequence[Observation], recorder: Recorder
) -> tuple[list[Fate], list[Alert]]:
    now = recorder.now()
    before = recorder.store.read_account(account_id, observations, now)
    observations = [_with_issued_key(observation, before, recorder.own) for observation in observations]
    work = _Work(before, now, recorder.idle)
    callers = {_caller(each) for each in observations} - {None, account_id}
    for caller_id in sorted(each for each in callers if each is not None):
        sessions = [each for each in observations if _caller(each) == caller_id]
        work.add_account(recorder.store.read_account(caller_id, sessions, now))
    fates: list[Fate] = []
    stored_now: set[str] = set()
    prefixes: set[tuple[str | None, datetime | None]] = set()
    for observation, stored in zip(observations, recorder.store.known(observations), strict=True):
        key, name = event_key(observation).sk, (observation.record.event_id, observation.record.event_time)
        known = Known.DUPLICATE if key in stored_now else stored
        if known is Known.DUPLICATE:
            fates.append(Fate.DUPLICATE)
            continue
        if _waits(observation):
            fates.append(Fate.WAITING)
            continue
        reused = known is Known.REUSED or (name in prefixes and observation.record.event_id is not None)
        stored_now.add(key)
        prefixes.add(name)
        work.record(replace(observation, event_id_reused=reused))
        fates.append(Fate.RECORDED)
    # Only now: a record of a backlog joins the incident that was open when it happened, and keeps it open.
    work.let_time_pass()
    if not work.events and not work.due:
        return fates, []
    work.surround(recorder.surroundings)
    alerts = [compose(due, recorder.custodians) for due in work.due]
    recorder.store.write_account(work.changes(alerts), now, recorder.channels)
    return fates, alerts


def _with_surroundings(
    due: Sequence[DueAlert], addresses: Mapping[str, bool], surroundings: Surroundings
) -> list[DueAlert]:
    """Join alerts that are due with what surrounds them; whatever is wrong there, the same alerts are due."""
    try:
        accounts = dict.fromkeys(each.incident.account_id for each in due)
        found = {account_id: surroundings.look_up(account_id, addresses) for account_id in accounts}
        return [_joined(each, found[each.incident.account_id]) for each in due]
    except Exception as error:  # noqa: BLE001 - nobody may lose an alert because of what would only have adorned it
        _LOG.warning("surroundings could not be looked up (%s)", type(error).__name__)
        return list(due)


def _joined(due: DueAlert, found: Found) -> DueAlert:
    observation = due.observation
    owner = found.owners.get(observation.source.ip or "") if observation is not None else None
    if observation is not None and owner is not None:
        source = replace(observation.source, owner=owner.name, country=owner.country)
        observation = replace(observation, source=source)
    return replace(due, observation=observation, account_name=found.account_name)


def _end_batch(surroundings: Surroundings) -> None:
    try:
        surroundings.end_batch()
    except Exception as error:  # noqa: BLE001 - the batch is recorded; what was looked up is asked again next time
        _LOG.warning("what was looked up was not kept (%s)", type(error).__name__)


def _caller(observation: Observation) -> str | None:
    """Return the account whose AssumeRoot call issued the record's key, None where no such call is known."""
    return key_part(observation.issued.account_id) if observation.issued else None


def _with_issued_key(observation: Observation, state: AccountState, own: OwnResources) -> Observation:
    issued = state.issued.get(observation.record.actor.access_key_id or "")
    # A forged record may name any key; it stays in a story of its own.
    may_be_tied = issued is not None and observation.record.actor.by_root and observation.admitted
    return tied(observation, issued, own) if issued is not None and may_be_tied else observation


def _waits(observation: Observation) -> bool:
    """Return whether a record may wait in the queue, once, for the AssumeRoot call that issued its key.

    Two accounts' records arrive in any order; a read of such a session tells nobody anything without its other half.
    """
    is_session = observation.record.actor.kind is ActorKind.ASSUMED_ROOT and observation.issued is None
    return observation.may_wait and is_session and observation.severity is Severity.INFO


class _Work:
    """What a batch adds up to: in its records' own account, and in those whose AssumeRoot sessions they are."""

    def __init__(self, state: AccountState, now: datetime, idle: timedelta) -> None:
        self._own = state.account_id
        self._now, self._idle = now, idle
        self._before = {state.account_id: state}
        self._states = {state.account_id: state}
        self._changed: dict[str, Incident] = {}
        self._issued: dict[str, IssuedKey] = {}
        self.events: list[RecordedEvent] = []
        self.due: list[DueAlert] = []

    def add_account(self, state: AccountState) -> None:
        """Add the account of a caller whose AssumeRoot session the batch has records of."""
        self._before[state.account_id] = self._states[state.account_id] = state

    def record(self, observation: Observation) -> None:
        """Fold a record of the batch's own account."""
        caller_id = _caller(observation) or self._own
        state = self._states[self._own]
        if caller_id == self._own:
            self._add(fold(state, observation, self._now, idle=self._idle))
        else:
            state, seen = append(state, observation)
            self._states[self._own] = state
            link = Link(state.sequence, state.chain, seen)
            self._add(join(self._states[caller_id], observation, self._now, link, idle=self._idle))
        issuing = issued_key(observation)
        if issuing is not None:
            self._issued[issuing[0]] = issuing[1]

    def let_time_pass(self) -> None:
        """Tell of what was found damaged, and do what is due by the clock."""
        for account_id in self._states:
            self._add(report_damage(self._states[account_id], self._now))
        self._add(tick(self._states[self._own], self._now, idle=self._idle))

    def surround(self, surroundings: Surroundings) -> None:
        """Join the alerts that are due, and their records' events, with what is known around them."""
        known = self._before[self._own].sources
        sources = [due.observation.source for due in self.due if due.observation is not None]
        public = [source for source in sources if source.kind is SourceKind.PUBLIC]
        addresses = {source.ip: source.key not in known for source in public if source.ip is not None}
        self.due = _with_surroundings(self.due, addresses, surroundings)
        told = {due.sequence: due.observation for due in self.due if due.observation is not None}
        self.events = [replace(each, observation=told.get(each.sequence, each.observation)) for each in self.events]

    def changes(self, alerts: Sequence[Alert]) -> Changes:
        """Return what is to be written."""
        accounts = [(self._before[account_id], state) for account_id, state in self._states.items()]
        return Changes(accounts, self.events, list(self._changed.values()), alerts, self._issued)

    def _add(self, outcome: FoldOutcome) -> None:
        self._states[outcome.state.account_id] = outcome.state
        self._changed.update({incident.id: incident for incident in outcome.changed})
        self.due.extend(outcome.alerts)
        if outcome.event is not None:
            self.events.append(outcome.event)


def run_timers(account_id: str, recorder: Recorder) -> list[Alert]:
    """Let time pass for one account: report progress and close what ended, in one transaction.

    Raises:
        StoreError: as `record_batch`.

    """
    for attempt in range(1, MOST_TRIES + 1):
        now = recorder.now()
        work = _Work(recorder.store.read_account(account_id, (), now), now, recorder.idle)
        work.let_time_pass()
        if not work.due:
            return []
        work.surround(recorder.surroundings)
        alerts = [compose(due, recorder.custodians) for due in work.due]
        try:
            recorder.store.write_account(work.changes(alerts), now, recorder.channels)
        except StoreConflictError:
            if attempt == MOST_TRIES:
                raise
            recorder.pause(attempt)
        else:
            _end_batch(recorder.surroundings)
            return alerts
    return []


def next_timer(account_id: str, recorder: Recorder) -> datetime | None:
    """Return when `run_timers` next has something to do for the account (UTC); None without an open incident."""
    return next_tick(recorder.store.read_account(account_id, (), recorder.now()), idle=recorder.idle)


# --- inspect and replay --------------------------------------------------------------------------------------------


def inspect_document(document: object, own: OwnResources, trusted_networks: Sequence[Network] = ()) -> Observation:
    """Read one record or envelope out of a file, with its detections and context; stateless.

    Raises:
        UnreadableRecordError: it is no record; no retry helps.

    """
    return observe(read_document(document), own, trusted_networks=trusted_networks)


def inspection(observation: Observation, account_names: Mapping[str, str] = MappingProxyType({})) -> dict[str, object]:
    """Return an observation as `rootwatch inspect --json` prints it, with the account's name where it is stated."""
    record, mfa, source = observation.record, observation.record.mfa, observation.source
    return {
        "event_id": record.event_id,
        "event_time": _time_text(record),
        "account_id": record.account_id,
        "account_name": account_names.get(record.account_id or ""),
        "region": record.region,
        "event_source": record.event_source,
        "event_name": record.event_name,
        "relevant": observation.relevant,
        "actor": str(record.actor.kind),
        "outcome": str(record.outcome),
        "detections": [finding.detection.id for finding in observation.findings],
        "severity": str(observation.severity) if observation.relevant and observation.severity else None,
        "target_account_id": record.target_account_id,
        "mfa": {
            "used": mfa.used,
            "device": str(mfa.device) if mfa.device else None,
            "serial": mfa.serial,
            "from": mfa.stated_by,
        },
        "source": {
            "kind": str(source.kind),
            "ip": source.ip,
            "raw": source.raw,
            "trusted": source.trusted,
            "owner": source.owner,
            "country": source.country,
        },
        "client": {"kind": str(observation.client.kind), "name": observation.client.name},
        "root_only_task": observation.root_need.task.id if observation.root_need else None,
        "role_alternative": observation.role_alternative,
        "addendum": record.addendum,
        "problems": list(observation.problems),
    }


def _time_text(record: Record) -> str | None:
    return record.event_time.isoformat().replace("+00:00", "Z") if record.event_time else None


@dataclass(slots=True)
class ReplaySummary:
    """What a replay counted: records = relevant + irrelevant + rejected, and relevant = recorded + duplicates."""

    records: int = 0
    relevant: int = 0
    irrelevant: int = 0
    recorded: int = 0
    duplicates: int = 0
    incidents: int = 0
    alerts: int = 0
    rejected: int = 0


class Clock:
    """The records' own clock: it stands at a moment until it is moved, and never moves back."""

    def __init__(self, moment: datetime) -> None:
        """Begin at a moment, UTC."""
        self.moment = moment

    def __call__(self) -> datetime:
        """Return the moment at which the clock stands, UTC."""
        return self.moment

    def move_to(self, moment: datetime) -> None:
        """Move the clock forward to a moment; an earlier one leaves it where it stands."""
        self.moment = max(self.moment, moment)


def replay(
    observations: Iterable[Observation], recorder: Recorder, clock: Clock, summary: ReplaySummary
) -> Iterator[Alert]:
    """Take records out of files through the whole pipeline with their own clock, timers included.

    Args:
        observations: relevant and irrelevant records in any order; they are sorted by event time.
        recorder: with a store (in memory) and with `clock` as its clock.
        clock: the records' own clock.
        summary: counts what happens, as it happens.

    Yields:
        Each alert when it becomes due.

    """
    timers: dict[str, datetime] = {}
    incidents: set[str] = set()

    def told(alerts: Iterable[Alert]) -> Iterator[Alert]:
        for alert in alerts:
            summary.alerts += 1
            yield alert

    def timers_until(moment: datetime | None) -> Iterator[Alert]:
        while timers:
            account_id, due_at = min(timers.items(), key=lambda entry: (entry[1], entry[0]))
            if moment is not None and due_at > moment:
                return
            clock.move_to(due_at)
            alerts = run_timers(account_id, recorder)
            yield from told(alerts)
            _set_timer(timers, account_id, recorder)
            if not alerts and timers.get(account_id, due_at) <= due_at:
                timers.pop(account_id, None)  # a timer that does nothing must not run for ever

    for observation in sorted(observations, key=lambda each: each.time):
        summary.records += 1
        if not observation.relevant:
            summary.irrelevant += 1
            continue
        summary.relevant += 1
        yield from timers_until(observation.time)
        clock.move_to(observation.time)
        account_id = key_part(observation.record.account_id)
        fates, alerts = record_batch(account_id, [observation], recorder)
        summary.recorded += fates.count(Fate.RECORDED)
        summary.duplicates += fates.count(Fate.DUPLICATE)
        state = recorder.store.read_account(account_id, (), clock())
        incidents.update(incident.id for incident in state.incidents)
        incidents.update(alert.incident_id for alert in alerts)
        summary.incidents = len(incidents)
        yield from told(alerts)
        _set_timer(timers, account_id, recorder)
    yield from timers_until(None)


def _set_timer(timers: dict[str, datetime], account_id: str, recorder: Recorder) -> None:
    due_at = next_timer(account_id, recorder)
    if due_at is None:
        timers.pop(account_id, None)
    else:
        timers[account_id] = due_at
