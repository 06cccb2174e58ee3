"""Step 4, what is one story: `fold` adds a record to an account's incidents, `tick` lets time pass. No I/O.

Membership goes by event time; `now` only labels and closes. Both functions are pure, total and deterministic: the same
state and input give the same outcome, so a batch that lost a race is simply folded again.
"""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from rootwatch.context.client import ClientKind
from rootwatch.context.declared_use import DeclaredUse, Expectation, ExpectationKind, adjusted, expectation
from rootwatch.context.observation import IssuedKey, Observation
from rootwatch.context.source import SourceKind
from rootwatch.detections import sign_in
from rootwatch.detections.catalogue import CATALOGUE
from rootwatch.detections.detection import Finding, Severity, Stage
from rootwatch.detections.organization import ASSUMED, ASSUMED_SESSION_ACTIVITY, beyond_task, task_policy
from rootwatch.detections.own_resources import ROOTWATCH_TAMPERED
from rootwatch.record import ActorKind, Outcome

GENESIS: Final = "0" * 64
"""The chain's value before an account's first record."""

LONGEST_INCIDENT: Final = timedelta(hours=24)
PROGRESS_EVERY: Final = timedelta(hours=4)
FAILURES_COUNT_FOR: Final = timedelta(hours=1)
FAILURES_BECOME_HIGH: Final = 3
SESSION_BEGINS_WITHIN: Final = timedelta(minutes=2)
"""A session created this close to a recorded sign-in is that sign-in's own, not a new credential."""

SPRAY_WITHIN: Final = timedelta(hours=24)
"""Failed root sign-ins of two accounts this close together are a spray, whatever addresses they come from."""

GATHER_FOR: Final = timedelta(minutes=5)
MOST_GATHERED: Final = 25
"""Acts that wait to be told together; when there are as many, they are told at once."""

MOST_LINEAGES: Final = 24
"""Credential lineages an account remembers beyond the end of an incident, the latest ones."""

MOST_MOMENTS: Final = 6
"""Sign-ins, and failures, that an account remembers beyond the end of an incident, the latest ones."""

MOST_CLOSED: Final = 6
"""Closed incidents an account remembers, so that a late record joins the one it belongs to."""

MOST_ACCOUNTS: Final = 32
"""Accounts that are remembered of one address, the latest ones."""

SEEN_AGAIN_AFTER: Final = timedelta(hours=1)
"""How exactly it is remembered when an account last saw an address; finer would only make writers wait."""

FULL_SET_EVERY: Final = timedelta(minutes=10)
LARGEST_SET: Final = 200
"""Entries a set of an incident holds; a full set counts everything as new, reported at most every ten minutes."""

MOST_TARGETS: Final = 25
"""Acts and targets that are told one by one of one detection; a flood under one name leaves room for the others."""

MOST_NOVELTIES: Final = 1000
"""Entries of one set of novelties beyond which only detections are told by name, and no further target of theirs."""

LONGEST_ENTRY: Final = 64
"""Bytes of a name or an address in a set, so that an incident full of minted ones still fits its item of 400 KB."""

FAILED_ACT: Final = "failed "
"""Stands before the name of an act that did not succeed, among an incident's `acts`; no event's name has blanks."""

MOST_OPEN: Final[Mapping[str, int]] = MappingProxyType({"assume-root": 12})
MOST_OPEN_OF_OTHERS: Final = 4
"""Open incidents of one kind of story. Further stories join the latest one, where all that is new is told as well.

Minted task policies would else open incidents without end; so the account's head stays under 2 KB.
"""

MOST_TOLD_AT_ONCE: Final = 8
"""Incidents that one `tick` reports or closes: with a batch of records besides, all fits one transaction."""

_SIGN_INS: Final = frozenset(
    {sign_in.CONSOLE_LOGIN, sign_in.CONSOLE_LOGIN_WITHOUT_MFA, sign_in.CLI_LOGIN, sign_in.LOGIN_AFTER_FAILURES}
)
_CONSOLE_SIGN_INS: Final = frozenset({sign_in.CONSOLE_LOGIN, sign_in.CONSOLE_LOGIN_WITHOUT_MFA})
_ORDER: Final = {detection.id: position for position, detection in enumerate(CATALOGUE)}


LONGEST_REASON: Final = 300
LONGEST_TICKET: Final = 100
"""Characters of what people type to explain an incident."""


class Why(StrEnum):
    """Why an alert is due."""

    OPENED = "opened"
    SIGNED_IN = "signed_in"
    RECOVERED = "recovered"
    CREDENTIAL_CHANGED = "credential_changed"
    NEW_SOURCE = "new_source"
    NEW_CREDENTIAL = "new_credential"
    NEW_CLIENT = "new_client"
    NEW_DETECTION = "new_detection"
    SEVERITY = "severity"
    STAGE = "stage"
    DECLARED_OVERRUN = "declared_overrun"
    FULL_SET = "full_set"
    PROGRESS = "progress"
    SUMMARY = "summary"
    REOPENED = "reopened"
    NOT_CONTAINED = "not_contained"
    UNANSWERED = "unanswered"
    SILENT = "silent"


class TriageState(StrEnum):
    """How far people have come with an incident, besides whether root still acts in it."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    EXPECTED = "expected"
    SUSPICIOUS = "suspicious"
    CONTAINED = "contained"
    CLOSED = "closed"

    @property
    def is_final(self) -> bool:
        """Return whether people are done with it: only news opens it again."""
        return self in {TriageState.EXPECTED, TriageState.CLOSED}

    @property
    def words(self) -> str:
        """Return the state as people read it."""
        return "resolved as expected" if self is TriageState.EXPECTED else str(self)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A resolution that waits for a second person: who made it (`by` identifies, `by_name` is read), when, UTC."""

    by: str
    by_name: str
    via: str
    at: datetime
    reason: str
    ticket: str


@dataclass(frozen=True, slots=True)
class Triage:
    """What people answered to an incident. Times are UTC.

    `since` is when the state began and `by` who brought it about. `moves` counts changes of the state: whoever acts on
    what they saw says which they saw. `steps` numbers the steps in the timeline. `alerted_at` is when people were first
    told. `waiting_since` is from when an answer is awaited: news that nobody took, or the last step of whoever took it;
    `asked` counts how often it was asked for since, and `asking` says that more questions may follow. `chain` is the
    chain value of the latest step, empty before the first (and in what an older version wrote).
    """

    state: TriageState = TriageState.OPEN
    since: datetime | None = None
    by: str = ""
    moves: int = 0
    steps: int = 0
    chain: str = ""
    alerted_at: datetime | None = None
    waiting_since: datetime | None = None
    asked: int = 0
    asking: bool = False
    proposal: Proposal | None = None


def _empty() -> Mapping[str, int]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Incident:
    """One story of root use in one account, or of one caller's AssumeRoot sessions in many (`members`).

    Times are UTC; every set is capped at `LARGEST_SET`.

    `last_at` is the latest event time; `touched_at` the moment at which we last added a record. `silent` holds until
    the first alert. `since_alert` counts the records that no alert has told of yet, `overflowed` those of them that
    were new and found a full set. What root did, what others did and what failed have sets of their own, so that
    nobody fills the set in which another's success would be new; `failed_sources` holds the addresses of failed
    sign-ins and of others than root. `severity` is what it is without declarations; `expectations` counts how the acts
    stood to them. `gathered` waits to be told together; `told` says when each class of news last
    came: what follows within `GATHER_FOR` is gathered. `open` says whether root may still act in it, `triage` what
    people answered.
    """

    id: str
    account_id: str
    story: str
    opened_at: datetime
    last_at: datetime
    touched_at: datetime
    reported_at: datetime
    severity: Severity
    stage: Stage = Stage.NONE
    open: bool = True
    silent: bool = True
    records: int = 0
    since_alert: int = 0
    alerts: int = 0
    detections: Mapping[str, int] = field(default_factory=_empty)
    acts: Mapping[str, int] = field(default_factory=_empty)
    reads: int = 0
    regions: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    lineages: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()
    failed_sources: tuple[str, ...] = ()
    novelties: tuple[str, ...] = ()
    other_novelties: tuple[str, ...] = ()
    failed_novelties: tuple[str, ...] = ()
    overflowed: int = 0
    sign_ins: tuple[datetime, ...] = ()
    failures: tuple[datetime, ...] = ()
    full_set_at: datetime | None = None
    members: tuple[str, ...] = ()
    expectations: Mapping[str, int] = field(default_factory=_empty)
    gathered: tuple["GatheredAct", ...] = ()
    told: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))
    triage: Triage = field(default_factory=Triage)

    @property
    def listed(self) -> int:
        """Return how much stands on it that "expected" would cover. It only grows: whoever looked can say how far."""
        by_root = (self.sources, self.lineages, self.clients, self.sign_ins, self.novelties)
        return sum(map(len, (*by_root, self.other_novelties)))


@dataclass(frozen=True, slots=True)
class GatheredAct:
    """Something new that waits to be told with others of its class. `at` is its event time, UTC; the texts are raw."""

    at: datetime
    gathered_at: datetime
    account_id: str
    event_id: str | None
    event_name: str | None
    target: str | None
    source: str | None
    severity: Severity
    detections: tuple[str, ...]
    why: tuple[Why, ...]
    pages: bool


@dataclass(frozen=True, slots=True)
class SourceSeen:
    """What is remembered of an address in one account; times are event times (UTC)."""

    first_at: datetime
    last_at: datetime
    times: int


@dataclass(frozen=True, slots=True)
class AddressSeen:
    """Which accounts saw an address when, the latest `MOST_ACCOUNTS`; event times, UTC. `version` counts writes."""

    version: int = 0
    accounts: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))

    def within(self, span: timedelta, time: datetime, but: str) -> tuple[str, ...]:
        """Return the accounts that saw it within `span` before or after `time`, but for one."""
        return tuple(each for each, seen in self.accounts.items() if each != but and abs(seen - time) <= span)


FAILED_SIGN_INS: Final = "failed-sign-ins"
"""Stands for an address in `AccountState.addresses`: which accounts saw root sign-ins fail, from wherever."""


@dataclass(frozen=True, slots=True)
class KeyUse:
    """What a session's key did before the AssumeRoot call that issued it was recorded: (service, event name) each."""

    account_id: str
    calls: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ClosedIncident:
    """What an account's head remembers of a closed incident: between which event times (UTC) it lies."""

    id: str
    opened_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Damage:
    """An item of ours that cannot be understood, or is gone: what it was, where, and its content as far as there is."""

    what: str
    pk: str
    sk: str
    content: str | None = None

    @property
    def digest(self) -> str:
        """Return what this damage is remembered by."""
        return _digest(f"{self.pk} {self.sk} {self.content}")


@dataclass(frozen=True, slots=True)
class AccountState:
    """All that `fold` needs to know of an account: its head, its open incidents, what it remembers of the batch.

    `lineages` are the credential lineages that root used lately, oldest first, as short hashes; `sign_ins` and
    `failures` the latest of them, beyond the end of an incident. `closed_incidents` is what the head remembers of
    closed ones, `closed` those of them in whose time the batch lies. `addresses`, `issued` and `uses` are remembered
    across accounts, by address and by access key id. `damages` was found while reading; `head_is_readable` is false
    where even the version of the head is lost. `declared` are the declared uses around the batch.
    """

    account_id: str
    version: int = 0
    sequence: int = 0
    chain: str = GENESIS
    incidents: tuple[Incident, ...] = ()
    sources: Mapping[str, SourceSeen] = field(default_factory=lambda: MappingProxyType({}))
    lineages: tuple[str, ...] = ()
    sign_ins: tuple[datetime, ...] = ()
    failures: tuple[datetime, ...] = ()
    closed_incidents: tuple[ClosedIncident, ...] = ()
    closed: tuple[Incident, ...] = ()
    addresses: Mapping[str, AddressSeen] = field(default_factory=lambda: MappingProxyType({}))
    issued: Mapping[str, IssuedKey] = field(default_factory=lambda: MappingProxyType({}))
    uses: Mapping[str, tuple[KeyUse, ...]] = field(default_factory=lambda: MappingProxyType({}))
    declared: tuple[DeclaredUse, ...] = ()
    damages: tuple[Damage, ...] = ()
    head_is_readable: bool = True


@dataclass(frozen=True, slots=True)
class DueAlert:
    """An alert that is due, before it is put into words: the incident as it stands, and what is new.

    `elsewhere` are the other accounts that saw the address within 24 hours (for a failed sign-in: those that saw any).
    `last_sign_in` is when root last signed in to the account before this incident, where that is remembered (UTC).
    An alert that does not page (`pages`) is told like every other, but wakes nobody.
    `expected` says which declared use covers it, `account_name` how people call the account; None where that is not
    known.
    """

    incident: Incident
    why: tuple[Why, ...]
    severity: Severity
    time: datetime
    observation: Observation | None
    source_seen: SourceSeen | None
    records_told: int
    sequence: int
    chain: str
    pages: bool = True
    elsewhere: tuple[str, ...] = ()
    gathered: tuple[GatheredAct, ...] = ()
    damages: tuple[Damage, ...] = ()
    expectation: Expectation | None = None
    account_name: str | None = None
    last_sign_in: datetime | None = None

    @property
    def number(self) -> int:
        """Return the alert's number within its incident, from 1."""
        return self.incident.alerts

    @property
    def damage(self) -> Damage | None:
        """Return the first of the damages that it tells of; None where it tells of something else."""
        return self.damages[0] if self.damages else None


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """A record with its place in the account's chain and its incident, if it has one."""

    observation: Observation
    sequence: int
    chain: str
    incident_id: str | None
    expectation: Expectation | None = None


@dataclass(frozen=True, slots=True)
class FoldOutcome:
    """The account's next state, the event to store (None for `tick`), what changed and the alerts that are due."""

    state: AccountState
    event: RecordedEvent | None
    changed: tuple[Incident, ...]
    alerts: tuple[DueAlert, ...]


def next_chain(previous: str, record_sha256: str) -> str:
    """Return the chain's next value: SHA-256 (hex) of the previous value followed by the record's hash (both hex)."""
    return hashlib.sha256(f"{previous}{record_sha256}".encode()).hexdigest()


# --- time passes ---------------------------------------------------------------------------------------------------


def tick(state: AccountState, now: datetime, *, idle: timedelta = timedelta(minutes=60)) -> FoldOutcome:
    """Let time pass: tell what was gathered, report progress, close what ended, at most `MOST_TOLD_AT_ONCE` of them.

    Args:
        state: the account's state.
        now: the clock, UTC. It closes an incident only `idle` after its last event *and* after we last added to it,
            so that a backlog of ours cannot cut one story into pieces.
        idle: how long an incident may rest before it is closed.

    """
    alerts: list[DueAlert] = []
    incidents: list[Incident] = []
    closed_now: list[ClosedIncident] = []
    for incident in state.incidents:
        closes_at, progress_at = _closes_at(incident, idle), _progress_at(incident)
        if len(alerts) >= MOST_TOLD_AT_ONCE:
            incidents.append(incident)  # `next_tick` stays in the past, so the next call goes on with it
        elif incident.gathered and now >= _gathered_until(incident):
            told, alert = _tell_gathered(state, incident, now)
            incidents.append(told)
            alerts.append(alert)
        elif now >= closes_at:
            closed, summary = _ended(state, incident, now)
            alerts.append(summary)
            closed_now.append(ClosedIncident(closed.id, closed.opened_at, closed.last_at))
        elif progress_at is not None and now >= progress_at:
            told = _reported(incident, now)
            if incident.overflowed:
                told = replace(told, overflowed=0, full_set_at=now)
            incidents.append(told)
            why = Why.FULL_SET if incident.overflowed else Why.PROGRESS
            alerts.append(_due(state, told, incident, (why,), incident.last_at))
        else:
            incidents.append(incident)
    changed = tuple(alert.incident for alert in alerts)
    remembered = (*state.closed_incidents, *closed_now)[-MOST_CLOSED:]
    after = replace(state, incidents=tuple(incidents), closed_incidents=remembered)
    return FoldOutcome(after, None, changed, tuple(alerts))


def _ended(state: AccountState, incident: Incident, now: datetime) -> tuple[Incident, DueAlert]:
    closed = _reported(replace(incident, open=False), now)
    return closed, _due(state, closed, incident, (Why.SUMMARY,), incident.last_at)


def close_by_triage(state: AccountState, incident: Incident, now: datetime) -> tuple[Incident, tuple[DueAlert, ...]]:
    """Return an incident that people are done with as closed, with what is to be told at its end.

    What was gathered is told first, then the summary. One that ended before has nothing more to tell.
    """
    if not incident.open:
        return incident, ()
    alerts: list[DueAlert] = []
    if incident.gathered:
        incident, gathered = _tell_gathered(state, incident, now)
        alerts.append(gathered)
    closed, summary = _ended(state, incident, now)
    return closed, (*alerts, summary)


def asked_again(
    state: AccountState, incident: Incident, now: datetime, why: Why, asked: int
) -> tuple[Incident, DueAlert]:
    """Return an incident about which people are asked (`asked` is how often by now), and the alert that asks."""
    told = _reported(replace(incident, triage=replace(incident.triage, asked=asked)), now)
    due = _due(state, told, incident, (why,), incident.last_at)
    return told, replace(due, severity=severity_told(incident))


def with_incident(state: AccountState, after: Incident) -> AccountState:
    """Return the account's state with one of its incidents as it is now: among the open ones, or the closed ones."""
    others = tuple(each for each in state.incidents if each.id != after.id)
    if after.open:
        return replace(state, incidents=(*others, after))
    was_open = len(others) < len(state.incidents)
    remembered = ClosedIncident(after.id, after.opened_at, after.last_at)
    closed = (*state.closed_incidents, remembered)[-MOST_CLOSED:] if was_open else state.closed_incidents
    return replace(state, incidents=others, closed_incidents=closed)


def next_tick(state: AccountState, *, idle: timedelta = timedelta(minutes=60)) -> datetime | None:
    """Return the moment (UTC) at which `tick` next has something to do; None without an open incident."""
    moments = [_closes_at(incident, idle) for incident in state.incidents]
    moments += [_gathered_until(incident) for incident in state.incidents if incident.gathered]
    moments += [moment for incident in state.incidents if (moment := _progress_at(incident)) is not None]
    return min(moments, default=None)


def _closes_at(incident: Incident, idle: timedelta) -> datetime:
    rests = max(incident.last_at, incident.touched_at) + idle
    return min(rests, max(incident.opened_at + LONGEST_INCIDENT, incident.touched_at + idle))


def _gathered_until(incident: Incident) -> datetime:
    return incident.gathered[0].gathered_at + GATHER_FOR


def _progress_at(incident: Incident) -> datetime | None:
    if incident.overflowed:
        return (incident.full_set_at or incident.reported_at) + FULL_SET_EVERY
    return incident.reported_at + PROGRESS_EVERY if incident.since_alert else None


def _reported(incident: Incident, now: datetime) -> Incident:
    return replace(incident, alerts=incident.alerts + 1, since_alert=0, silent=False, reported_at=now)


def _tell_gathered(state: AccountState, incident: Incident, now: datetime) -> tuple[Incident, DueAlert]:
    """Return the incident with nothing gathered any more, and the one alert that names all of it."""
    acts = incident.gathered
    pages = any(act.pages for act in acts)
    triage = _awaited(incident.triage, now) if pages else incident.triage
    told = _reported(replace(incident, gathered=(), triage=triage), now)
    reasons = {reason for act in acts for reason in act.why}
    return told, DueAlert(
        incident=told,
        why=tuple(reason for reason in Why if reason in reasons),
        severity=max((act.severity for act in acts), key=_rank),
        time=max(act.at for act in acts),
        observation=None,
        source_seen=None,
        records_told=incident.since_alert,
        sequence=state.sequence,
        chain=state.chain,
        pages=pages,
        gathered=acts,
    )


def _due(state: AccountState, told: Incident, before: Incident, why: tuple[Why, ...], time: datetime) -> DueAlert:
    # What nobody was told of yet is news; otherwise this is the quiet course of a known story.
    is_news = before.silent or before.overflowed > 0
    return DueAlert(
        incident=told,
        why=why,
        severity=severity_told(before) if is_news else Severity.INFO,
        time=time,
        observation=None,
        source_seen=None,
        records_told=before.since_alert,
        sequence=state.sequence,
        chain=state.chain,
    )


def severity_told(incident: Incident) -> Severity:
    """Return the severity with which an incident is told as a whole: lower where all was as announced."""
    if set(incident.expectations) == {str(ExpectationKind.MATCHED)}:
        return list(Severity)[max(incident.severity.rank - 1, 0)]
    return incident.severity


# --- a record arrives ----------------------------------------------------------------------------------------------


def fold(
    state: AccountState, observation: Observation, now: datetime, *, idle: timedelta = timedelta(minutes=60)
) -> FoldOutcome:
    """Add one relevant record, not seen before, to the account's story.

    Args:
        state: the account's state.
        observation: the record; its own time decides which incident it joins.
        now: the clock, UTC; it only labels and closes.
        idle: how long an incident may rest before a later record opens another.

    """
    state, seen = append(state, observation)
    return join(state, observation, now, Link(state.sequence, state.chain, seen), idle=idle)


@dataclass(frozen=True, slots=True)
class Link:
    """A record's place in its account's chain, and what the account remembered of its address before it."""

    sequence: int
    chain: str
    source_seen: SourceSeen | None


def append(state: AccountState, observation: Observation) -> tuple[AccountState, SourceSeen | None]:
    """Add a record to its account's chain and memory, but to no incident; see `fold`.

    Returns:
        The account's next state, and what it remembered of the record's address before.

    """
    seen = state.sources.get(observation.source.key) if _is_address(observation) else None
    return replace(
        state,
        sequence=state.sequence + 1,
        chain=next_chain(state.chain, observation.record.sha256),
        sources=_sources_after(state, observation),
        addresses=_addresses_after(state, observation),
        uses=_uses_after(state, observation),
    ), seen


def join(
    state: AccountState,
    observation: Observation,
    now: datetime,
    link: Link,
    *,
    idle: timedelta = timedelta(minutes=60),
) -> FoldOutcome:
    """Add a record, which `append` gave its place, to the incident that it belongs to.

    Args:
        state: the state of the account whose story it is: the record's own, or, of an AssumeRoot session whose call is
            known (`observation.issued`), the account that called.
        observation: the record.
        now: the clock, UTC.
        link: the record's place in its own account's chain.
        idle: how long an incident may rest before a later record opens another.

    """
    known_lineages = state.lineages
    incident = _incident_for(state, observation, idle)
    observation = _with_history(observation, state, incident)
    state = replace(
        state,
        lineages=_lineages_after(state, observation),
        sign_ins=_latest(state.sign_ins, observation, counts=_is_successful_sign_in(observation)),
        failures=_latest(state.failures, observation, counts=_is_failed_sign_in(observation)),
    )
    expected = expectation(state.declared, observation, began_at=_began_at(observation, incident))
    if incident is None and not _opens(observation):
        event = RecordedEvent(observation, link.sequence, link.chain, None)
        return FoldOutcome(state, event, (), ())
    reopens = incident is not None and (not incident.open or incident.triage.state.is_final)
    before = replace(incident, open=True) if incident is not None else _open_incident(state, observation, now)
    if incident is None:
        why, overflows = _why_opened(observation, link.source_seen, known_lineages), False
    else:
        why, overflows = _why(before, observation, known_lineages)
        if _acts_although_contained(incident, observation):
            why = (*why, Why.REOPENED, Why.NOT_CONTAINED) if reopens else (*why, Why.NOT_CONTAINED)
        elif why and reopens:
            why = (*why, Why.REOPENED)
    against = _against_declaration(expected)
    if against is not None and against[1] not in before.novelties:
        # Once for each declaration: root does what was not announced, or goes on after its end.
        why = why if against[0] in why else tuple(sorted({*why, against[0]}, key=list(Why).index))
        before = replace(before, novelties=(*before.novelties, against[1]))
    after = _add(before, observation, now, expected)
    if overflows:
        after = replace(after, overflowed=after.overflowed + 1)
    if Why.FULL_SET in why:
        last = before.full_set_at or observation.time
        after = replace(after, overflowed=0, full_set_at=max(observation.time, last))
    alerts: tuple[DueAlert, ...] = ()
    if why:
        after = replace(after, severity=max(after.severity, _alert_severity(observation), key=_rank))
        after, alerts = _tell(state, after, observation, why, now, link, expected)
        told, risen = bool(alerts) and _pages(observation), Why.SEVERITY in why
        triage = _after_news(after.triage, now, observation.time, told=told, risen=risen)
        after = replace(after, triage=triage)
        alerts = tuple(replace(alert, incident=replace(alert.incident, triage=triage)) for alert in alerts)
    others = tuple(each for each in state.incidents if each.id != after.id)
    state = replace(
        state,
        incidents=(*others, after),
        closed=tuple(each for each in state.closed if each.id != after.id),
        closed_incidents=tuple(each for each in state.closed_incidents if each.id != after.id),
    )
    event = RecordedEvent(observation, link.sequence, link.chain, after.id, expected)
    return FoldOutcome(state, event, (after,), alerts)


def _after_news(triage: Triage, now: datetime, time: datetime, *, told: bool, risen: bool = False) -> Triage:
    """Return what people still have to answer after something new was told.

    What they were done with is open again; what they contained is, too, where the act came after that. An answer that
    nobody gave, although all who could be asked were, is asked for anew.

    Args:
        triage: what they answered so far.
        now: the clock, UTC.
        time: when the new act happened, UTC.
        told: whether people were told of it and woken.
        risen: whether it is more severe than all before: who was not asked yet has as long as if it began now.

    """
    contained = triage.state is TriageState.CONTAINED and triage.since is not None and time > triage.since
    if triage.state.is_final or contained:
        triage = replace(
            triage, state=TriageState.OPEN, since=now, by="", moves=triage.moves + 1, asking=False, proposal=None
        )
    return _awaited(triage, now, risen=risen) if told else triage


def _awaited(triage: Triage, now: datetime, *, risen: bool = False) -> Triage:
    """Return triage after people were told and woken: an answer is awaited from now on, if none was before."""
    begins = not triage.asking or (risen and triage.asked == 0)
    if triage.state is not TriageState.OPEN or not begins:
        return triage
    return replace(triage, waiting_since=now, asked=0, asking=True, alerted_at=triage.alerted_at or now)


def _acts_although_contained(incident: Incident, observation: Observation) -> bool:
    """Return whether root did something after people said that it cannot any more: also what it did before is news.

    What it tried in vain is what a containment looks like from inside; that is told where it is new, as ever.
    """
    triage = incident.triage
    is_over = triage.state in {TriageState.CONTAINED, TriageState.CLOSED}
    if not is_over or triage.since is None or observation.time <= triage.since or not observation.admitted:
        return False
    is_service = observation.record.actor.kind is ActorKind.AWS_SERVICE
    return _is_root_use(observation) and not _failed(observation) and not is_service


def _began_at(observation: Observation, incident: Incident | None) -> datetime | None:
    """Return when the use of root that a record belongs to began: the earlier of its incident and its session."""
    moments = [incident.opened_at if incident else None, _session_time(observation.record.actor.session_created)]
    return min((moment for moment in moments if moment is not None), default=None)


def _against_declaration(expected: Expectation) -> tuple[Why, str] | None:
    """Return why an act that contradicts a declaration, or goes on after it, is told, and by what it is told once."""
    if expected.declared is None:
        return None
    if expected.kind is ExpectationKind.OVERRUN:
        return Why.DECLARED_OVERRUN, f"declared_overrun {expected.declared.id}"
    if expected.kind is ExpectationKind.MISMATCHED:
        return Why.NEW_DETECTION, f"declared_mismatch {expected.declared.id}"
    return None


def _tell(  # noqa: PLR0913, PLR0917 - what an alert is made of
    state: AccountState,
    incident: Incident,
    observation: Observation,
    why: tuple[Why, ...],
    now: datetime,
    link: Link,
    expected: Expectation,
) -> tuple[Incident, tuple[DueAlert, ...]]:
    """Tell what is new at once, or keep it for a while where the same class of news was told a moment ago."""
    severity = adjusted(_alert_severity(observation), expected)
    if Why.NOT_CONTAINED in why:  # however small the act, it is as bad as what was to be ended
        severity = max(severity, severity_told(incident), key=_rank)
    kind = _class_of_news(observation, why, severity)
    recent = {name: moment for name, moment in incident.told.items() if timedelta() <= now - moment < GATHER_FOR}
    is_gathered = kind in recent and Why.NOT_CONTAINED not in why
    if is_gathered or len(recent) < LARGEST_SET:
        recent[kind] = now
    incident = replace(incident, told=MappingProxyType(recent))
    if is_gathered:
        gathered = replace(incident, gathered=(*incident.gathered, _gathered_act(observation, why, severity, now)))
        if len(gathered.gathered) < MOST_GATHERED:
            return gathered, ()
        told, alert = _tell_gathered(state, gathered, now)
        return told, (alert,)
    told = _reported(incident, now)
    return told, (
        DueAlert(
            incident=told,
            why=why,
            severity=severity,
            time=observation.time,
            observation=observation,
            source_seen=link.source_seen,
            records_told=incident.since_alert,
            sequence=link.sequence,
            chain=link.chain,
            pages=_pages(observation),
            elsewhere=_elsewhere(state, observation),
            expectation=expected,
            last_sign_in=_last_sign_in(state, incident, observation),
        ),
    )


def _last_sign_in(state: AccountState, incident: Incident, observation: Observation) -> datetime | None:
    """Return when root last signed in before this incident; None where that is not remembered, or not about root."""
    if observation.issued is not None or not observation.record.actor.by_root:
        return None
    return max((moment for moment in state.sign_ins if moment < incident.opened_at), default=None)


def _class_of_news(observation: Observation, why: tuple[Why, ...], severity: Severity) -> str:
    """Return what makes two pieces of news alike: the reasons, the detections from medium and how severe they are."""
    findings = sorted(
        f"{finding.detection.stem} {finding.severity}"
        for finding in observation.findings
        if finding.severity.rank >= Severity.MEDIUM.rank
    )
    who = observation.record.actor.by_root
    # Once acts of these findings were told, a higher severity or a further stage can be no news of theirs any more. A
    # sign-in after the first one is told at once all the same.
    is_act = Why.NEW_DETECTION in why and Why.SIGNED_IN not in why
    reasons = sorted(set(why) - ({Why.SEVERITY, Why.STAGE} if is_act else set()))
    return _digest(f"{who} {observation.record.outcome} {severity} {' '.join(reasons)} {' '.join(findings)}")


def _gathered_act(observation: Observation, why: tuple[Why, ...], severity: Severity, now: datetime) -> GatheredAct:
    record = observation.record
    source = observation.source
    return GatheredAct(
        at=observation.time,
        gathered_at=now,
        account_id=_entry(record.account_id or "unknown"),
        event_id=_entry(record.event_id) if record.event_id else None,
        event_name=_entry(record.event_name) if record.event_name else None,
        target=_entry(_target(observation)) or None,
        source=_entry(source.key) if source.kind is not SourceKind.ABSENT else None,
        severity=severity,
        detections=tuple(finding.detection.id for finding in observation.findings),
        why=why,
        pages=_pages(observation),
    )


def _target(observation: Observation) -> str:
    return observation.record.target_account_id or observation.record.target or ""


def _pages(observation: Observation) -> bool:
    """Return whether an alert about the record may wake people: old records and those AWS delivers again may not."""
    is_old = observation.delay is not None and observation.delay > PAGES_WITHIN
    return not is_old and not observation.record.addendum


PAGES_WITHIN: Final = timedelta(hours=24)


def _elsewhere(state: AccountState, observation: Observation) -> tuple[str, ...]:
    if observation.issued is not None:
        return ()  # one caller's sessions reach many accounts from one address: that is their story, and told as such
    key = FAILED_SIGN_INS if _is_failed_sign_in(observation) else observation.source.key
    seen = state.addresses.get(key)
    # What is remembered may be so much older than the latest of them.
    return seen.within(SPRAY_WITHIN + SEEN_AGAIN_AFTER, observation.time, state.account_id) if seen else ()


# --- an item of ours is damaged -------------------------------------------------------------------------------------


def report_damage(state: AccountState, now: datetime) -> FoldOutcome:
    """Tell of each damaged item of ours that was found while the account was read: somebody changed the audit table.

    Each is told once as critical, all of them in one alert and in an incident of their own kind, so that however many
    somebody damages, what has to be written beside the records that came still fits one transaction.
    """
    found = next((each for each in state.incidents if each.story == "damage"), None)
    known = found.novelties if found is not None else ()
    new = {key: damage for damage in state.damages if (key := f"damage critical:{damage.digest}") not in known}
    if not new:
        return FoldOutcome(replace(state, damages=()), None, (), ())
    damages = tuple(new.values())
    before = found or _damage_incident(state, damages[0], now)
    counted = dict(before.detections)
    counted[ROOTWATCH_TAMPERED.id] = counted.get(ROOTWATCH_TAMPERED.id, 0) + len(damages)
    told = _reported(
        replace(
            before,
            last_at=max(before.last_at, now),
            touched_at=max(before.touched_at, now),
            detections=MappingProxyType(counted),
            novelties=(*before.novelties, *new)[-LARGEST_SET:],
            triage=_after_news(before.triage, now, now, told=True),
        ),
        now,
    )
    alert = DueAlert(
        incident=told,
        why=(Why.NEW_DETECTION,) if found else (Why.OPENED,),
        severity=Severity.CRITICAL,
        time=now,
        observation=None,
        source_seen=None,
        records_told=before.since_alert,
        sequence=state.sequence,
        chain=state.chain,
        damages=damages,
    )
    others = tuple(each for each in state.incidents if each.id != told.id)
    return FoldOutcome(replace(state, incidents=(*others, told), damages=()), None, (told,), (alert,))


def _damage_incident(state: AccountState, damage: Damage, now: datetime) -> Incident:
    return Incident(
        id=f"{now:%Y%m%d}-{_digest(f'{state.account_id} {state.sequence} {damage.digest} {now.timestamp()}')}",
        account_id=state.account_id,
        story="damage",
        opened_at=now,
        last_at=now,
        touched_at=now,
        reported_at=now,
        severity=Severity.CRITICAL,
        stage=Stage.LOGGING_CHANGED,
    )


# --- which story ---------------------------------------------------------------------------------------------------


def _rank(severity: Severity) -> int:
    return severity.rank


def story_of(observation: Observation) -> str:
    """Return which story of its account a record belongs to: AssumeRoot has one per caller and task policy.

    The session's own records belong to it as well, once the call that issued their key is known; until then they have a
    story apart from root's own. What did not come from CloudTrail has a story of its own: whoever may call PutEvents
    could else use up what would be new when it really happens.
    """
    record = observation.record
    if not observation.admitted:
        return "not-from-cloudtrail"
    if observation.issued is not None:
        return observation.issued.story
    if record.event_name == "AssumeRoot":
        caller = record.actor.arn or record.actor.principal_id or "unknown"
        return f"assume-root:{_digest(f'{caller} {task_policy(record)}')}"
    return "assumed-session" if record.actor.kind is ActorKind.ASSUMED_ROOT else "root"


def issued_key(observation: Observation) -> tuple[str, IssuedKey] | None:
    """Return the access key id that an AssumeRoot call issued, with what must be remembered of it; None for none.

    Only CloudTrail's own record counts: a forged one could else claim root's real key for a story of its own.
    """
    record = observation.record
    if record.event_name != "AssumeRoot" or _failed(observation) or not observation.admitted:
        return None
    credentials = record.response.get("credentials")
    key = credentials.get("accessKeyId") if isinstance(credentials, Mapping) else None
    if not isinstance(key, str) or not is_issued_key(key) or record.account_id is None:
        return None
    caller = record.actor.arn or record.actor.principal_id or "unknown"
    return key, IssuedKey(
        account_id=record.account_id,
        story=story_of(observation),
        caller=caller[: 4 * LONGEST_ENTRY],
        task_policy=(task_policy(record) or "")[: 4 * LONGEST_ENTRY] or None,
        target_account_id=(record.target_account_id or "")[:LONGEST_ENTRY] or None,
        issued_at=observation.time,
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:10]


def _incident_for(state: AccountState, observation: Observation, idle: timedelta) -> Incident | None:
    story, time = story_of(observation), observation.time
    fitting = [
        incident
        for incident in (*state.incidents, *state.closed)
        if incident.story == story
        and incident.opened_at - idle <= time <= incident.last_at + idle
        # Records that come backwards must not make it longer either.
        and max(time, incident.last_at) - min(time, incident.opened_at) < LONGEST_INCIDENT
        and _covers(incident, observation)
    ]
    if not fitting and _opens(observation):
        kind = story.partition(":")[0]
        of_kind = [
            incident
            for incident in state.incidents
            if incident.story.partition(":")[0] == kind and _covers(incident, observation)
        ]
        fitting = of_kind if len(of_kind) >= MOST_OPEN.get(kind, MOST_OPEN_OF_OTHERS) else []
    return max(fitting, key=lambda incident: (incident.open, incident.last_at, incident.id), default=None)


def _covers(incident: Incident, observation: Observation) -> bool:
    """Return whether an incident may take a record: one that people are done with covers what is listed on it, no more.

    A successful sign-in begins a session of its own, which nobody can have looked at.
    """
    if not incident.triage.state.is_final:
        return True
    if _is_successful_sign_in(observation):
        return False
    source, lineage = _source_key(observation), None
    known = incident.sources
    if _is_root_use(observation):
        lineage = _lineage_key(incident, observation)
    else:
        known = (*known, *incident.failed_sources)
    return (source is None or source in known) and (lineage is None or lineage in incident.lineages)


def _opens(observation: Observation) -> bool:
    """Return whether a record opens an incident: at medium or above, a reused event id, or when root itself acts.

    AssumeRoot opens one whatever its task: the records of its session join it.
    """
    severity = observation.severity
    if any(finding.detection is ASSUMED for finding in observation.findings):
        return True
    if observation.event_id_reused or (severity is not None and severity.rank >= Severity.MEDIUM.rank):
        return True
    actor = observation.record.actor
    return actor.by_root and actor.kind is not ActorKind.AWS_SERVICE


def _open_incident(state: AccountState, observation: Observation, now: datetime) -> Incident:
    severity = observation.severity or Severity.MEDIUM
    # An audit of root credentials over all accounts is routine: it opens silently, and stays as low as its call.
    least = Severity.LOW if any(finding.detection is ASSUMED for finding in observation.findings) else Severity.MEDIUM
    record = observation.record
    opening = _digest(f"{state.account_id} {state.sequence} {record.event_id} {record.sha256}")
    return Incident(
        id=f"{observation.time:%Y%m%d}-{opening}",
        account_id=state.account_id,
        story=story_of(observation),
        opened_at=observation.time,
        last_at=observation.time,
        touched_at=now,
        reported_at=now,
        severity=max(severity, least, key=_rank),
    )


def _with_history(observation: Observation, state: AccountState, incident: Incident | None) -> Observation:
    """Return the observation with the findings that need the account's history, or that of other accounts."""
    time, span = observation.time, FAILURES_COUNT_FOR
    remembered = (state.failures, state.sign_ins) if observation.admitted else ((), ())
    known_failures = incident.failures if incident else ()
    # Of the same second there may be several in the incident; what the account remembers names each second once.
    all_failures = (*known_failures, *(moment for moment in remembered[0] if moment not in known_failures))
    all_sign_ins = {*(incident.sign_ins if incident else ()), *remembered[1]}
    failures = sum(1 for moment in all_failures if time - span <= moment <= time)
    # CloudTrail promises no order: the success may have been folded before the failure that it followed.
    successes = sum(1 for moment in all_sign_ins if time <= moment <= time + span)
    findings = _within_task(observation, state)
    is_failed, is_successful = _is_failed_sign_in(observation), _is_successful_sign_in(observation)
    if (is_successful and failures) or (is_failed and successes):
        findings.append(Finding(sign_in.LOGIN_AFTER_FAILURES, Severity.CRITICAL))
    if is_failed and _most_within(span, all_failures, time) + 1 >= FAILURES_BECOME_HIGH:
        findings = [
            Finding(finding.detection, Severity.HIGH) if finding.detection is sign_in.CONSOLE_LOGIN_FAILED else finding
            for finding in findings
        ]
    if is_failed and observation.admitted and _elsewhere(state, observation):
        findings.append(Finding(sign_in.LOGIN_SPRAY, Severity.HIGH))
    findings.sort(key=lambda finding: _ORDER[finding.detection.id])
    return replace(observation, findings=tuple(findings))


def _most_within(span: timedelta, moments: tuple[datetime, ...], time: datetime) -> int:
    """Return how many of the moments, at the most, lie within one span together with `time`, in whatever order."""
    near = sorted(moment for moment in moments if abs(moment - time) <= span)
    starts = [moment for moment in (*near, time) if moment <= time]
    return max(bisect_right(near, start + span) - bisect_left(near, start) for start in starts)


def _within_task(observation: Observation, state: AccountState) -> list[Finding]:
    """Return the findings, with a call outside the task of its AssumeRoot call as critical, whichever came first."""
    findings = list(observation.findings)
    record, issued = observation.record, observation.issued
    if issued is not None:
        if not beyond_task(issued.task_policy, record.service or "", record.event_name or ""):
            return findings
        return [
            Finding(finding.detection, Severity.CRITICAL) if finding.detection is ASSUMED_SESSION_ACTIVITY else finding
            for finding in findings
        ]
    issuing = issued_key(observation)
    if issuing is not None:
        calls = [call for use in state.uses.get(issuing[0], ()) for call in use.calls]
        if any(beyond_task(task_policy(record), service, name) for service, name in calls):
            findings.append(Finding(ASSUMED_SESSION_ACTIVITY, Severity.CRITICAL))
    return findings


def _is_successful_sign_in(observation: Observation) -> bool:
    is_sign_in = any(finding.detection in _CONSOLE_SIGN_INS for finding in observation.findings)
    return is_sign_in and observation.record.outcome is Outcome.SUCCESS


def _is_failed_sign_in(observation: Observation) -> bool:
    return any(finding.detection is sign_in.CONSOLE_LOGIN_FAILED for finding in observation.findings)


def _is_address(observation: Observation) -> bool:
    return observation.source.kind in {SourceKind.PUBLIC, SourceKind.PRIVATE}


def _failed(observation: Observation) -> bool:
    return observation.record.outcome in {Outcome.FAILURE, Outcome.DENIED, Outcome.ERROR}


# --- why an alert is due -------------------------------------------------------------------------------------------


def _why_opened(observation: Observation, seen: SourceSeen | None, known_lineages: tuple[str, ...]) -> tuple[Why, ...]:
    severity = observation.severity
    news = tuple(_always(observation))
    if observation.issued is not None or any(finding.detection is ASSUMED for finding in observation.findings):
        known_lineages = (*known_lineages, _lineage(observation) or "")
        seen = seen or SourceSeen(observation.time, observation.time, 0)  # only the caller's address would be news
    is_urgent = observation.event_id_reused or (severity is not None and severity.rank >= Severity.MEDIUM.rank)
    unseen: tuple[Why, ...] = (Why.NEW_SOURCE,) if _is_address(observation) and seen is None else ()
    lineage = _lineage(observation)
    if lineage is not None and lineage not in known_lineages:
        unseen = (*unseen, Why.NEW_CREDENTIAL)
    # Below medium the opening is silent, unless the account has never seen the address or the credential.
    return (Why.OPENED, *news, *unseen) if is_urgent or unseen else ()


def _why(  # noqa: C901 - one line per reason
    incident: Incident, observation: Observation, known_lineages: tuple[str, ...]
) -> tuple[tuple[Why, ...], bool]:
    """Return why a record of an open incident is told, and whether something new in it found a full set."""
    actor = observation.record.actor
    severity = observation.severity or Severity.INFO
    if actor.kind is ActorKind.AWS_SERVICE and severity.rank < Severity.MEDIUM.rank and not observation.event_id_reused:
        return (), False
    # What anybody may have put on the bus is told once per kind: a flood of it must not bury what is real.
    why = list(_always(observation)) if observation.admitted else []
    told: tuple[str, ...] = getattr(incident, _novelty_set(observation))
    unseen = [key for key in _novelty_keys(observation) if key not in told]
    overflows = any(not _has_room(told, key) for key in unseen)
    if Why.NEW_DETECTION not in why and any(_has_room(told, key) for key in unseen):
        why.append(Why.NEW_DETECTION)
    checks: list[tuple[Why, tuple[str, ...], str | None]] = []
    if _is_root_use(observation):
        checks.append((Why.NEW_SOURCE, incident.sources, _source_key(observation)))
        lineage = _lineage_key(incident, observation)
        checks.append((Why.NEW_CREDENTIAL, incident.lineages, None if lineage in known_lineages else lineage))
        # The first client of all is no news beside the sign-in or address that it came with.
        checks.append((Why.NEW_CLIENT, incident.clients, _client_key(observation) if incident.clients else None))
    else:
        checks.append((Why.NEW_SOURCE, incident.failed_sources, _source_key(observation)))
    for reason, known, key in checks:
        if key is None or key in known or reason in why:
            continue
        if len(known) >= LARGEST_SET:
            overflows = True
        else:
            why.append(reason)
    if severity.rank > incident.severity.rank:
        why.append(Why.SEVERITY)
    if _stage(observation) > incident.stage:
        why.append(Why.STAGE)
    if overflows and not why:
        last = incident.full_set_at
        if last is None or observation.time - last >= FULL_SET_EVERY:
            why.append(Why.FULL_SET)
    return tuple(why), overflows and not why


def _always(observation: Observation) -> list[Why]:
    detections = {finding.detection for finding in observation.findings}
    why = []
    if observation.event_id_reused:
        why.append(Why.NEW_DETECTION)  # CloudTrail never does that: somebody made one of the two records
    if not _failed(observation):
        if detections & _SIGN_INS and observation.record.outcome is Outcome.SUCCESS:
            why.append(Why.SIGNED_IN)
        if any(detection.id == "root.password_recovery_completed" for detection in detections):
            why.append(Why.RECOVERED)
        if any(detection.changes_credential for detection in detections):
            why.append(Why.CREDENTIAL_CHANGED)
    return why


def _novelty_keys(observation: Observation) -> list[str]:
    """Return what must be new to be told again, of each finding at medium or above.

    `detection severity` from medium, and besides `detection severity:hash` of event name and target from high, and of
    the target account of AssumeRoot: the same act on the same target is another one when it does more harm. What others
    did not succeed in has keys of its own in the set of failures.
    """
    record = observation.record
    who = "" if record.actor.by_root else "others "
    keys = []
    for finding in observation.findings:
        if finding.severity.rank < Severity.MEDIUM.rank:
            continue
        kind = f"{who}{finding.detection.stem} {finding.severity}"
        keys.append(kind)
        if finding.severity.rank >= Severity.HIGH.rank or finding.detection is ASSUMED:
            target = record.target_account_id if finding.detection is ASSUMED else record.target
            keys.append(f"{kind}:{_digest(f'{record.event_name} {target}')}")
    return keys


def _novelty_set(observation: Observation) -> str:
    """Return the name of the incident's set in which what the record shows has to be new."""
    if _failed(observation):
        return "failed_novelties"
    return "novelties" if observation.record.actor.by_root else "other_novelties"


def _is_root_use(observation: Observation) -> bool:
    """Return whether root's credentials were used or issued: not a failed sign-in, and not somebody else's act."""
    if any(finding.detection is ASSUMED for finding in observation.findings):
        return not _failed(observation)
    return observation.record.actor.by_root and not _is_failed_sign_in(observation)


def _source_key(observation: Observation) -> str | None:
    return _entry(observation.source.key) if observation.source.kind not in _NO_PLACE else None


_NO_PLACE: Final = frozenset({SourceKind.AWS_INTERNAL, SourceKind.AWS_SERVICE, SourceKind.ABSENT})


def _lineage(observation: Observation) -> str | None:
    """Return the credential lineage of root's own act as a short hash; None for others, services and sign-ins."""
    actor = observation.record.actor
    if not actor.by_root or actor.kind is ActorKind.AWS_SERVICE or actor.lineage is None:
        return None
    if observation.issued is not None:
        return None  # the AssumeRoot call that issued its key was told
    return _digest(actor.lineage)


def _lineage_key(incident: Incident, observation: Observation) -> str | None:
    """Return the lineage, or None where a sign-in of this incident, which was told, began the session."""
    actor = observation.record.actor
    # A long-lived key is no sign-in's own, whatever date stands beside it.
    is_key = (actor.lineage or "").startswith("key:")
    created = None if is_key else _session_time(actor.session_created)
    if created is not None and any(abs(created - moment) <= SESSION_BEGINS_WITHIN for moment in incident.sign_ins):
        return None
    return _lineage(observation)


def _session_time(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None  # an odd creationDate belongs to no sign-in, and so counts as a lineage of its own


def _client_key(observation: Observation) -> str | None:
    kind = observation.client.kind
    if not observation.record.actor.by_root or kind is ClientKind.ABSENT:
        return None
    # One person at the console shows up as a browser, as the console and as AWS's own client in turn.
    return "console" if kind in {ClientKind.BROWSER, ClientKind.CONSOLE, ClientKind.SERVICE} else str(kind)


def _stage(observation: Observation) -> Stage:
    stage = max((finding.detection.stage for finding in observation.findings), default=Stage.NONE)
    return min(stage, Stage.ATTEMPT) if _failed(observation) else stage


def _alert_severity(observation: Observation) -> Severity:
    return max(observation.severity or Severity.MEDIUM, Severity.MEDIUM, key=_rank)


def _member(observation: Observation) -> str | None:
    """Return the member account that AssumeRoot reached, of the call and of its session's records."""
    record = observation.record
    if observation.issued is not None:
        return _entry(record.account_id or "unknown")
    if any(finding.detection is ASSUMED for finding in observation.findings) and record.target_account_id:
        return _entry(record.target_account_id)
    return None


# --- the incident after the record ---------------------------------------------------------------------------------


def _add(incident: Incident, observation: Observation, now: datetime, expected: Expectation) -> Incident:
    record = observation.record
    root_use = _is_root_use(observation)
    source, client = _source_key(observation), _client_key(observation)
    told, novelties = _novelty_set(observation), _novelty_keys(observation)
    severity = observation.severity or Severity.INFO
    detections = dict(incident.detections)
    for finding in observation.findings:
        detections[finding.detection.id] = detections.get(finding.detection.id, 0) + 1
    acts = dict(incident.acts)
    name = _entry(record.event_name or "(no event name)")
    name = f"{FAILED_ACT}{name}" if _failed(observation) else name
    if not record.read_only:
        name = name if name in acts or len(acts) < LARGEST_SET else "(others)"
        acts[name] = acts.get(name, 0) + 1
    return replace(
        incident,
        opened_at=min(incident.opened_at, observation.time),
        last_at=max(incident.last_at, observation.time),
        touched_at=max(incident.touched_at, now),
        severity=max(incident.severity, severity, key=_rank),
        stage=max(incident.stage, _stage(observation)),
        records=incident.records + 1,
        since_alert=incident.since_alert + 1,
        detections=MappingProxyType(detections),
        acts=MappingProxyType(acts),
        reads=incident.reads + (1 if record.read_only else 0),
        regions=_with(incident.regions, _entry(record.region) if record.region else None),
        sources=_with(incident.sources, source) if root_use else incident.sources,
        failed_sources=incident.failed_sources if root_use else _with(incident.failed_sources, source),
        lineages=_with(incident.lineages, _lineage_key(incident, observation)) if root_use else incident.lineages,
        clients=_with(incident.clients, client) if root_use else incident.clients,
        sign_ins=_moments(incident.sign_ins, observation) if _is_successful_sign_in(observation) else incident.sign_ins,
        failures=_moments(incident.failures, observation) if _is_failed_sign_in(observation) else incident.failures,
        novelties=_with_all(incident.novelties, novelties if told == "novelties" else []),
        other_novelties=_with_all(incident.other_novelties, novelties if told == "other_novelties" else []),
        failed_novelties=_with_all(incident.failed_novelties, novelties if told == "failed_novelties" else []),
        members=_with(incident.members, _member(observation), MOST_MEMBERS),
        expectations=MappingProxyType(_counted(incident.expectations, str(expected.kind), counts_it=expected.applies)),
    )


def _counted(counts: Mapping[str, int], name: str, *, counts_it: bool) -> dict[str, int]:
    return {**counts, name: counts.get(name, 0) + 1} if counts_it else dict(counts)


MOST_MEMBERS: Final = 1000
"""Member accounts that one AssumeRoot incident lists."""


def _has_room(told: tuple[str, ...], key: str) -> bool:
    """Return whether a key of `_novelty_keys` may be told: a detection always, its targets up to `MOST_TARGETS`."""
    kind, mark, _ = key.partition(":")
    if not mark:
        return True
    return len(told) < MOST_NOVELTIES and sum(1 for each in told if each.startswith(f"{kind}:")) < MOST_TARGETS


def _entry(text: str) -> str:
    """Return text as an entry of a set: itself, or where it is too long its beginning and a hash of all of it."""
    data = text.encode("utf-8", "replace")
    if len(data) <= LONGEST_ENTRY:
        return text
    digest = _digest(text)
    return f"{data[: LONGEST_ENTRY - len(digest) - 1].decode('utf-8', 'ignore')}~{digest}"


def _with(known: tuple[str, ...], key: str | None, most: int = LARGEST_SET) -> tuple[str, ...]:
    return known if key is None or key in known or len(known) >= most else (*known, key)


def _with_all(known: tuple[str, ...], keys: list[str]) -> tuple[str, ...]:
    for key in keys:
        if key not in known and _has_room(known, key):
            known = (*known, key)
    return known


MOST_TIMES: Final = 50
"""Sign-ins, and failures, whose times an incident remembers."""


def _moments(known: tuple[datetime, ...], observation: Observation) -> tuple[datetime, ...]:
    """Return the moments with one more; of too many the one with the closest neighbours goes.

    A flood must not push out the failure before it, after which the one success was.
    """
    moments = sorted((*known, observation.time))
    if len(moments) > MOST_TIMES:
        spans = [later - earlier for earlier, later in zip(moments, moments[2:], strict=False)]
        del moments[spans.index(min(spans)) + 1]
    return tuple(moments)


def _lineages_after(state: AccountState, observation: Observation) -> tuple[str, ...]:
    lineage = _lineage(observation)
    if lineage is None or not observation.admitted:
        return state.lineages
    return (*(each for each in state.lineages if each != lineage), lineage)[-MOST_LINEAGES:]


def _sources_after(state: AccountState, observation: Observation) -> Mapping[str, SourceSeen]:
    if not _is_address(observation) or not observation.admitted:
        return state.sources
    key, time = observation.source.key, observation.time
    seen = state.sources.get(key)
    after = (
        SourceSeen(min(seen.first_at, time), max(seen.last_at, time), seen.times + 1)
        if seen
        else SourceSeen(time, time, 1)
    )
    return MappingProxyType({**state.sources, key: after})


def _latest(moments: tuple[datetime, ...], observation: Observation, *, counts: bool) -> tuple[datetime, ...]:
    """Return the latest `MOST_MOMENTS` sign-ins, or failures, of an account after a record, which may be one."""
    if not counts or not observation.admitted:
        return moments
    return tuple(sorted({*moments, observation.time})[-MOST_MOMENTS:])


def _addresses_after(state: AccountState, observation: Observation) -> Mapping[str, AddressSeen]:
    if not observation.admitted:
        return state.addresses
    keys = [FAILED_SIGN_INS] if _is_failed_sign_in(observation) else []
    if _is_address(observation) and observation.record.actor.by_root:
        keys.append(observation.source.key)
    after = dict(state.addresses)
    for key in keys:
        seen = after.get(key, AddressSeen())
        last = seen.accounts.get(state.account_id)
        if last is not None and observation.time - last < SEEN_AGAIN_AFTER:
            continue
        accounts = {**seen.accounts, state.account_id: observation.time}
        latest = sorted(accounts.items(), key=lambda entry: (entry[1], entry[0]))[-MOST_ACCOUNTS:]
        after[key] = AddressSeen(seen.version + 1, MappingProxyType(dict(latest)))
    return MappingProxyType(after)


MOST_CALLS: Final = 32
"""Calls that are remembered of a session whose AssumeRoot call is not known yet."""


def _uses_after(state: AccountState, observation: Observation) -> Mapping[str, tuple[KeyUse, ...]]:
    """Return what is remembered of the keys of sessions whose AssumeRoot call is not recorded yet."""
    record, key = observation.record, observation.record.actor.access_key_id
    temporary = {ActorKind.ASSUMED_ROOT, ActorKind.ROOT_TEMPORARY}
    if observation.issued is not None or key is None or record.actor.kind not in temporary:
        return state.uses
    if not observation.admitted or not is_issued_key(key):
        return state.uses
    uses = state.uses.get(key, ())
    mine = next((use for use in uses if use.account_id == state.account_id), KeyUse(state.account_id))
    call = (_entry(record.service or ""), _entry(record.event_name or ""))
    if call in mine.calls or len(mine.calls) >= MOST_CALLS:
        return state.uses
    after = replace(mine, calls=(*mine.calls, call))
    return MappingProxyType({**state.uses, key: (*(use for use in uses if use is not mine), after)})


def is_issued_key(access_key_id: str | None) -> bool:
    """Return whether an access key id is one that AssumeRoot may have issued: a temporary one of plain letters."""
    key = access_key_id or ""
    return key.startswith("ASIA") and key.isascii() and key.isalnum() and len(key) <= LONGEST_ENTRY
