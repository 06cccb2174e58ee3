"""Step 4, what is one story: `fold` adds a record to an account's incidents, `tick` lets time pass. No I/O.

Membership goes by event time; `now` only labels and closes. Both functions are pure, total and deterministic: the same
state and input give the same outcome, so a batch that lost a race is simply folded again.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from rootwatch.context.client import ClientKind
from rootwatch.context.observation import Observation
from rootwatch.context.source import SourceKind
from rootwatch.detections import sign_in
from rootwatch.detections.catalogue import CATALOGUE
from rootwatch.detections.detection import Finding, Severity, Stage
from rootwatch.detections.organization import ASSUMED, task_policy
from rootwatch.record import ActorKind, Outcome

GENESIS: Final = "0" * 64
"""The chain's value before an account's first record."""

LONGEST_INCIDENT: Final = timedelta(hours=24)
PROGRESS_EVERY: Final = timedelta(hours=4)
FAILURES_COUNT_FOR: Final = timedelta(hours=1)
FAILURES_BECOME_HIGH: Final = 3
SESSION_BEGINS_WITHIN: Final = timedelta(minutes=2)
"""A session created this close to a recorded sign-in is that sign-in's own, not a new credential."""

MOST_LINEAGES: Final = 32
"""Credential lineages an account remembers beyond the end of an incident, the latest ones."""

FULL_SET_EVERY: Final = timedelta(minutes=10)
LARGEST_SET: Final = 200
"""Entries a set of an incident holds; a full set counts everything as new, reported at most every ten minutes."""

MOST_TARGETS: Final = 25
"""Acts and targets that are told one by one of one detection; a flood under one name leaves room for the others."""

LONGEST_ENTRY: Final = 64
"""Characters of a name or an address in a set, so that an incident full of minted ones still fits its item."""

MOST_OPEN: Final = 16
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


def _empty() -> Mapping[str, int]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Incident:
    """One story of root use in one account. Times are UTC; every set is capped at `LARGEST_SET`.

    `last_at` is the latest event time; `touched_at` the moment at which we last added a record. `silent` holds until
    the first alert. `since_alert` counts the records that no alert has told of yet, `overflowed` those of them that
    were new and found a full set. What root did, what others did and what failed have sets of their own, so that
    nobody fills the set in which another's success would be new; `failed_sources` holds the addresses of failed
    sign-ins and of others than root.
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


@dataclass(frozen=True, slots=True)
class SourceSeen:
    """What is remembered of an address in one account; times are event times (UTC)."""

    first_at: datetime
    last_at: datetime
    times: int


@dataclass(frozen=True, slots=True)
class AccountState:
    """All that `fold` needs to know of an account: its head, its open incidents, the addresses of the batch.

    `lineages` are the credential lineages that root used lately, oldest first, as short hashes.
    """

    account_id: str
    version: int = 0
    sequence: int = 0
    chain: str = GENESIS
    incidents: tuple[Incident, ...] = ()
    sources: Mapping[str, SourceSeen] = field(default_factory=lambda: MappingProxyType({}))
    lineages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DueAlert:
    """An alert that is due, before it is put into words: the incident as it stands, and what is new."""

    incident: Incident
    why: tuple[Why, ...]
    severity: Severity
    time: datetime
    observation: Observation | None
    source_seen: SourceSeen | None
    records_told: int
    sequence: int
    chain: str

    @property
    def number(self) -> int:
        """Return the alert's number within its incident, from 1."""
        return self.incident.alerts


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """A record with its place in the account's chain and its incident, if it has one."""

    observation: Observation
    sequence: int
    chain: str
    incident_id: str | None


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
    """Let time pass: report progress of long incidents, close those that ended, at most `MOST_TOLD_AT_ONCE` of them.

    Args:
        state: the account's state.
        now: the clock, UTC. It closes an incident only `idle` after its last event *and* after we last added to it,
            so that a backlog of ours cannot cut one story into pieces.
        idle: how long an incident may rest before it is closed.

    """
    alerts: list[DueAlert] = []
    incidents: list[Incident] = []
    for incident in state.incidents:
        closes_at, progress_at = _closes_at(incident, idle), _progress_at(incident)
        if len(alerts) >= MOST_TOLD_AT_ONCE:
            incidents.append(incident)  # `next_tick` stays in the past, so the next call goes on with it
        elif now >= closes_at:
            closed = _reported(replace(incident, open=False), now)
            alerts.append(_due(state, closed, incident, (Why.SUMMARY,), incident.last_at))
        elif progress_at is not None and now >= progress_at:
            told = _reported(incident, now)
            incidents.append(told)
            why = Why.FULL_SET if incident.overflowed else Why.PROGRESS
            alerts.append(_due(state, told, incident, (why,), incident.last_at))
        else:
            incidents.append(incident)
    changed = tuple(alert.incident for alert in alerts)
    return FoldOutcome(replace(state, incidents=tuple(incidents)), None, changed, tuple(alerts))


def next_tick(state: AccountState, *, idle: timedelta = timedelta(minutes=60)) -> datetime | None:
    """Return the moment (UTC) at which `tick` next has something to do; None without an open incident."""
    moments = [_closes_at(incident, idle) for incident in state.incidents]
    moments += [moment for incident in state.incidents if (moment := _progress_at(incident)) is not None]
    return min(moments, default=None)


def _closes_at(incident: Incident, idle: timedelta) -> datetime:
    rests = max(incident.last_at, incident.touched_at) + idle
    return min(rests, max(incident.opened_at + LONGEST_INCIDENT, incident.touched_at + idle))


def _progress_at(incident: Incident) -> datetime | None:
    if incident.overflowed:
        return incident.reported_at + FULL_SET_EVERY
    return incident.reported_at + PROGRESS_EVERY if incident.since_alert else None


def _reported(incident: Incident, now: datetime) -> Incident:
    return replace(incident, alerts=incident.alerts + 1, since_alert=0, overflowed=0, silent=False, reported_at=now)


def _due(state: AccountState, told: Incident, before: Incident, why: tuple[Why, ...], time: datetime) -> DueAlert:
    # What nobody was told of yet is news; otherwise this is the quiet course of a known story.
    is_news = before.silent or before.overflowed > 0
    return DueAlert(
        incident=told,
        why=why,
        severity=before.severity if is_news else Severity.INFO,
        time=time,
        observation=None,
        source_seen=None,
        records_told=before.since_alert,
        sequence=state.sequence,
        chain=state.chain,
    )


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
    sequence, chain = state.sequence + 1, next_chain(state.chain, observation.record.sha256)
    seen = state.sources.get(observation.source.key) if _is_address(observation) else None
    known_lineages = state.lineages
    state = replace(
        state,
        sequence=sequence,
        chain=chain,
        sources=_sources_after(state, observation),
        lineages=_lineages_after(state, observation),
    )
    incident = _incident_for(state, observation, idle)
    observation = _with_history(observation, incident)
    if incident is None and not _opens(observation):
        event = RecordedEvent(observation, sequence, chain, None)
        return FoldOutcome(state, event, (), ())
    is_new = incident is None
    before = incident or _open_incident(state, observation, now)
    if is_new:
        why, overflows = _why_opened(observation, seen, known_lineages), False
    else:
        why, overflows = _why(before, observation, known_lineages)
    after = _add(before, observation, now)
    if overflows:
        after = replace(after, overflowed=after.overflowed + 1)
    if Why.FULL_SET in why:
        after = replace(after, full_set_at=max(observation.time, before.full_set_at or observation.time))
    alerts: tuple[DueAlert, ...] = ()
    if why:
        after = replace(_reported(after, now), severity=max(after.severity, _alert_severity(observation), key=_rank))
        alerts = (
            DueAlert(
                incident=after,
                why=why,
                severity=_alert_severity(observation),
                time=observation.time,
                observation=observation,
                source_seen=seen,
                records_told=before.since_alert + 1,
                sequence=sequence,
                chain=chain,
            ),
        )
    others = tuple(each for each in state.incidents if each.id != after.id)
    state = replace(state, incidents=(*others, after))
    return FoldOutcome(state, RecordedEvent(observation, sequence, chain, after.id), (after,), alerts)


def _rank(severity: Severity) -> int:
    return severity.rank


def story_of(observation: Observation) -> str:
    """Return which story of its account a record belongs to: AssumeRoot has one per caller and task policy.

    What did not come from CloudTrail has a story of its own: whoever may call PutEvents could else use up what would
    be new when it really happens.
    """
    record = observation.record
    if not _is_admitted(observation):
        return "not-from-cloudtrail"
    if record.event_name == "AssumeRoot":
        caller = record.actor.arn or record.actor.principal_id or "unknown"
        return f"assume-root:{_digest(f'{caller} {task_policy(record)}')}"
    return "root"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:10]


def _incident_for(state: AccountState, observation: Observation, idle: timedelta) -> Incident | None:
    story, time = story_of(observation), observation.time
    fitting = [
        incident
        for incident in state.incidents
        if incident.story == story
        and incident.opened_at - idle <= time <= incident.last_at + idle
        and time < incident.opened_at + LONGEST_INCIDENT
    ]
    if not fitting and _opens(observation):
        kind = story.partition(":")[0]
        of_kind = [incident for incident in state.incidents if incident.story.partition(":")[0] == kind]
        fitting = of_kind if len(of_kind) >= MOST_OPEN else []
    return max(fitting, key=lambda incident: (incident.last_at, incident.id), default=None)


def _opens(observation: Observation) -> bool:
    """Return whether a record opens an incident: at medium or above, a reused event id, or when root itself acts."""
    severity = observation.severity
    if observation.event_id_reused or (severity is not None and severity.rank >= Severity.MEDIUM.rank):
        return True
    actor = observation.record.actor
    return actor.by_root and actor.kind is not ActorKind.AWS_SERVICE


def _open_incident(state: AccountState, observation: Observation, now: datetime) -> Incident:
    severity = observation.severity or Severity.MEDIUM
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
        severity=max(severity, Severity.MEDIUM, key=_rank),
    )


def _with_history(observation: Observation, incident: Incident | None) -> Observation:
    """Return the observation with the findings that need the account's history."""
    if incident is None:
        return observation
    time, span = observation.time, FAILURES_COUNT_FOR
    failures = sum(1 for moment in incident.failures if time - span <= moment <= time)
    # CloudTrail promises no order: the success may have been folded before the failure that it followed.
    successes = sum(1 for moment in incident.sign_ins if time <= moment <= time + span)
    findings = list(observation.findings)
    is_failed, is_successful = _is_failed_sign_in(observation), _is_successful_sign_in(observation)
    if (is_successful and failures) or (is_failed and successes):
        findings.append(Finding(sign_in.LOGIN_AFTER_FAILURES, Severity.CRITICAL))
    if is_failed and failures + 1 >= FAILURES_BECOME_HIGH:
        findings = [
            Finding(finding.detection, Severity.HIGH) if finding.detection is sign_in.CONSOLE_LOGIN_FAILED else finding
            for finding in findings
        ]
    findings.sort(key=lambda finding: _ORDER[finding.detection.id])
    return replace(observation, findings=tuple(findings))


def _is_successful_sign_in(observation: Observation) -> bool:
    is_sign_in = any(finding.detection in _CONSOLE_SIGN_INS for finding in observation.findings)
    return is_sign_in and observation.record.outcome is Outcome.SUCCESS


def _is_admitted(observation: Observation) -> bool:
    """Return whether a record may count as CloudTrail's: out of a file, from AWS, or from the replay source."""
    envelope = observation.record.envelope
    return envelope is None or envelope.admitted


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
    why = list(_always(observation)) if _is_admitted(observation) else []
    told: tuple[str, ...] = getattr(incident, _novelty_set(observation))
    unseen = [key for key in _novelty_keys(observation) if key not in told]
    overflows = any(not _has_room(told, key) for key in unseen)
    if Why.NEW_DETECTION not in why and any(_has_room(told, key) for key in unseen):
        why.append(Why.NEW_DETECTION)
    checks: list[tuple[Why, tuple[str, ...], str | None]] = []
    if _is_root_use(observation):
        checks.append((Why.NEW_SOURCE, incident.sources, _source_key(observation)))
        checks.append((Why.NEW_CREDENTIAL, (*incident.lineages, *known_lineages), _lineage_key(incident, observation)))
        # The first client of all is no news beside the sign-in or address that it came with.
        checks.append((Why.NEW_CLIENT, incident.clients, _client_key(observation) if incident.clients else None))
    else:
        checks.append((Why.NEW_SOURCE, incident.failed_sources, _source_key(observation)))
    for reason, known, key in checks:
        if key is None or key in known or reason in why:
            continue
        if len(known) >= LARGEST_SET + MOST_LINEAGES * (reason is Why.NEW_CREDENTIAL):
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
    """Return whether root's credentials were used: not a failed sign-in, and not somebody else's act."""
    return observation.record.actor.by_root and not _is_failed_sign_in(observation)


def _source_key(observation: Observation) -> str | None:
    return observation.source.key[:LONGEST_ENTRY] if observation.source.kind not in _NO_PLACE else None


_NO_PLACE: Final = frozenset({SourceKind.AWS_INTERNAL, SourceKind.AWS_SERVICE, SourceKind.ABSENT})


def _lineage(observation: Observation) -> str | None:
    """Return the credential lineage of root's own act as a short hash; None for others, services and sign-ins."""
    actor = observation.record.actor
    if not actor.by_root or actor.kind is ActorKind.AWS_SERVICE or actor.lineage is None:
        return None
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


# --- the incident after the record ---------------------------------------------------------------------------------


def _add(incident: Incident, observation: Observation, now: datetime) -> Incident:
    record = observation.record
    root_use = _is_root_use(observation)
    source, client = _source_key(observation), _client_key(observation)
    told, novelties = _novelty_set(observation), _novelty_keys(observation)
    severity = observation.severity or Severity.INFO
    detections = dict(incident.detections)
    for finding in observation.findings:
        detections[finding.detection.id] = detections.get(finding.detection.id, 0) + 1
    acts = dict(incident.acts)
    name = (record.event_name or "(no event name)")[:LONGEST_ENTRY]
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
        regions=_with(incident.regions, record.region[:LONGEST_ENTRY] if record.region else None),
        sources=_with(incident.sources, source) if root_use else incident.sources,
        failed_sources=incident.failed_sources if root_use else _with(incident.failed_sources, source),
        lineages=_with(incident.lineages, _lineage_key(incident, observation)) if root_use else incident.lineages,
        clients=_with(incident.clients, client) if root_use else incident.clients,
        sign_ins=_moments(incident.sign_ins, observation) if _is_successful_sign_in(observation) else incident.sign_ins,
        failures=_moments(incident.failures, observation) if _is_failed_sign_in(observation) else incident.failures,
        novelties=_with_all(incident.novelties, novelties if told == "novelties" else []),
        other_novelties=_with_all(incident.other_novelties, novelties if told == "other_novelties" else []),
        failed_novelties=_with_all(incident.failed_novelties, novelties if told == "failed_novelties" else []),
    )


def _has_room(told: tuple[str, ...], key: str) -> bool:
    """Return whether a key of `_novelty_keys` may be told: a detection always, its targets up to `MOST_TARGETS`."""
    kind, mark, _ = key.partition(":")
    return not mark or sum(1 for each in told if each.startswith(f"{kind}:")) < MOST_TARGETS


def _with(known: tuple[str, ...], key: str | None) -> tuple[str, ...]:
    return known if key is None or key in known or len(known) >= LARGEST_SET else (*known, key)


def _with_all(known: tuple[str, ...], keys: list[str]) -> tuple[str, ...]:
    for key in keys:
        if key not in known and _has_room(known, key):
            known = (*known, key)
    return known


def _moments(known: tuple[datetime, ...], observation: Observation) -> tuple[datetime, ...]:
    return (*known, observation.time)[-50:]


def _lineages_after(state: AccountState, observation: Observation) -> tuple[str, ...]:
    lineage = _lineage(observation)
    if lineage is None or not _is_admitted(observation):
        return state.lineages
    return (*(each for each in state.lineages if each != lineage), lineage)[-MOST_LINEAGES:]


def _sources_after(state: AccountState, observation: Observation) -> Mapping[str, SourceSeen]:
    if not _is_address(observation) or not _is_admitted(observation):
        return state.sources
    key, time = observation.source.key, observation.time
    seen = state.sources.get(key)
    after = (
        SourceSeen(min(seen.first_at, time), max(seen.last_at, time), seen.times + 1)
        if seen
        else SourceSeen(time, time, 1)
    )
    return MappingProxyType({**state.sources, key: after})
