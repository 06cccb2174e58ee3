"""The steps joined: read this first.

    message ─▶ record ─▶ detection ─▶ context ─▶ incident ─▶ alert ─▶ one transaction
               record.py detections/  context/   incident.py alert.py  audit/

`inspect`, `replay` and `functions/detect` call the same functions here. Nothing is lost: every message ends recorded,
known already, not concerning root, rejected with a reason, or failed, which leaves it in the queue.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from rootwatch.alert import Alert, compose
from rootwatch.audit.items import event_key, key_part
from rootwatch.audit.store import AuditStore, Changes, Known
from rootwatch.context.observation import Observation, observe
from rootwatch.detections.detection import OwnResources
from rootwatch.errors import (
    DamagedItemError,
    RootwatchError,
    StoreConflictError,
    StoreUnavailableError,
    UnreadableRecordError,
)
from rootwatch.incident import AccountState, DueAlert, FoldOutcome, Incident, RecordedEvent, fold, next_tick, tick
from rootwatch.record import Record, read_document, read_envelope, read_json
from rootwatch.settings import CHANNELS

MOST_TRIES = 12
"""Times a batch is folded again after somebody else wrote its account, before it goes back to the queue."""

MOST_PER_TRANSACTION = 10
"""Records of one account that are folded into one transaction; SQS delivers no more in a batch."""


class Fate(StrEnum):
    """What became of a message."""

    RECORDED = "recorded"
    DUPLICATE = "duplicate"
    IRRELEVANT = "irrelevant"
    REJECTED = "rejected"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the intake queue: its id, its text, and when it was sent to the queue (UTC) if that is stated."""

    id: str
    body: str
    sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one message, and why where it did not end well. `reason` holds nothing of the content."""

    message: Message
    fate: Fate
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Recorder:
    """What records need to be recorded: the store, our own names, the clock and the patience.

    `pause` waits before try number n (from 1) after a conflict, with jitter; tests pass one that does not wait.
    """

    store: AuditStore
    own: OwnResources
    idle: timedelta
    now: Callable[[], datetime]
    pause: Callable[[int], None]
    channels: Sequence[str] = CHANNELS


# --- functions/detect ----------------------------------------------------------------------------------------------


def message_of(entry: Mapping[str, object]) -> Message:
    """Return the message in one entry of an SQS event; what is missing in it is empty, never fatal."""
    attributes = entry.get("attributes")
    sent = attributes.get("SentTimestamp") if isinstance(attributes, Mapping) else None
    milliseconds = int(sent) if isinstance(sent, str) and sent.isascii() and sent.isdigit() and len(sent) < 15 else None  # noqa: PLR2004
    return Message(
        id=str(entry.get("messageId", "")),
        body=str(entry.get("body", "")),
        sent_at=datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds is not None else None,
    )


def detect_messages(messages: Sequence[Message], recorder: Recorder, replay_source: str = "") -> list[Result]:
    """Take a batch of the intake queue through all steps; one result per message, in their order.

    A message that cannot be read is `rejected`; one that could not be written is `failed` and must stay in the queue.
    """
    results: dict[int, Result] = {}
    accounts: dict[str, list[tuple[int, Observation]]] = {}
    for position, message in enumerate(messages):
        try:
            record = read_envelope(read_json(message.body), replay_source=replay_source)
            observation = observe(record, recorder.own, sent_at=message.sent_at)
        except UnreadableRecordError as error:
            results[position] = Result(message, Fate.REJECTED, str(error))
        except Exception as error:  # noqa: BLE001 - a fault of ours must not hold up the neighbours
            results[position] = Result(message, Fate.FAILED, f"a fault in Rootwatch ({type(error).__name__})")
        else:
            if observation.relevant:
                accounts.setdefault(key_part(record.account_id), []).append((position, observation))
            else:
                results[position] = Result(message, Fate.IRRELEVANT)
    for account_id, entries in accounts.items():
        entries.sort(key=lambda entry: entry[1].time)
        for start in range(0, len(entries), MOST_PER_TRANSACTION):
            part = entries[start : start + MOST_PER_TRANSACTION]
            for position, fate, reason in _record_or_fail(account_id, part, recorder):
                results[position] = Result(messages[position], fate, reason)
    return [results[position] for position in range(len(messages))]


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
    before = recorder.store.read_account(account_id, observations)
    work = _Work(before)
    fates: list[Fate] = []
    stored_now: set[str] = set()
    prefixes: set[tuple[str | None, datetime | None]] = set()
    for observation in observations:
        key, name = event_key(observation).sk, (observation.record.event_id, observation.record.event_time)
        known = Known.DUPLICATE if key in stored_now else recorder.store.known(observation)
        if known is Known.DUPLICATE:
            fates.append(Fate.DUPLICATE)
            continue
        reused = known is Known.REUSED or (name in prefixes and observation.record.event_id is not None)
        stored_now.add(key)
        prefixes.add(name)
        work.add(fold(work.state, replace(observation, event_id_reused=reused), now, idle=recorder.idle))
        fates.append(Fate.RECORDED)
    # Only now: a record of a backlog joins the incident that was open when it happened, and keeps it open.
    work.add(tick(work.state, now, idle=recorder.idle))
    if not work.events and not work.due:
        return fates, []
    alerts = [compose(due) for due in work.due]
    changes = Changes(before, work.state, work.events, list(work.changed.values()), alerts)
    recorder.store.write_account(changes, now, recorder.channels)
    return fates, alerts


class _Work:
    """What the folds of one batch add up to."""

    def __init__(self, state: AccountState) -> None:
        self.state = state
        self.events: list[RecordedEvent] = []
        self.changed: dict[str, Incident] = {}
        self.due: list[DueAlert] = []

    def add(self, outcome: FoldOutcome) -> None:
        self.state = outcome.state
        self.changed.update({incident.id: incident for incident in outcome.changed})
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
        before = recorder.store.read_account(account_id, ())
        outcome = tick(before, now, idle=recorder.idle)
        if not outcome.alerts:
            return []
        alerts = [compose(due) for due in outcome.alerts]
        changes = Changes(before, outcome.state, (), outcome.changed, alerts)
        try:
            recorder.store.write_account(changes, now, recorder.channels)
        except StoreConflictError:
            if attempt == MOST_TRIES:
                raise
            recorder.pause(attempt)
        else:
            return alerts
    return []


def next_timer(account_id: str, recorder: Recorder) -> datetime | None:
    """Return when `run_timers` next has something to do for the account (UTC); None without an open incident."""
    return next_tick(recorder.store.read_account(account_id, ()), idle=recorder.idle)


# --- inspect and replay --------------------------------------------------------------------------------------------


def inspect_document(document: object, own: OwnResources) -> Observation:
    """Read one record or envelope out of a file, with its detections and context; stateless.

    Raises:
        UnreadableRecordError: it is no record; no retry helps.

    """
    return observe(read_document(document), own)


def inspection(observation: Observation) -> dict[str, object]:
    """Return an observation as `rootwatch inspect --json` prints it; section 8 of the design."""
    record, mfa, source = observation.record, observation.record.mfa, observation.source
    return {
        "event_id": record.event_id,
        "event_time": _time_text(record),
        "account_id": record.account_id,
        "account_name": None,
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
            if not alerts:
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
        state = recorder.store.read_account(account_id, ())
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
