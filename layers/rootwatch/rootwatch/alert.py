"""Step 5, what people are told: an alert in words, the same for every channel.

Everything that comes from a record is cleaned by `shown` here, once; the channels only add their own escaping.
"""

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from rootwatch.context.declared_use import DeclaredUse, Expectation, ExpectationKind
from rootwatch.context.observation import Observation
from rootwatch.context.source import Network, SourceKind
from rootwatch.detections import sign_in
from rootwatch.detections.catalogue import BY_ID, CATALOGUE
from rootwatch.detections.detection import Detection, Finding, Severity
from rootwatch.incident import DueAlert, GatheredAct, Incident, SourceSeen, Why
from rootwatch.record import NOT_FROM_CLOUDTRAIL, ActorKind, Mfa, Outcome, Record

LONGEST_VALUE: Final = 160
LONGEST_HEADLINE: Final = 240

_WHY_WORDS: Final[Mapping[Why, str]] = {
    Why.OPENED: "it opens a new incident",
    Why.SIGNED_IN: "a successful sign-in",
    Why.RECOVERED: "a completed password recovery",
    Why.CREDENTIAL_CHANGED: "a credential of root was created or changed",
    Why.NEW_SOURCE: "an address that is new to this incident",
    Why.NEW_CREDENTIAL: "a session or key that this account has not seen lately",
    Why.NEW_CLIENT: "a kind of client that is new to this incident",
    Why.NEW_DETECTION: "an act that is new to this incident",
    Why.SEVERITY: "more severe than anything before in this incident",
    Why.STAGE: "a further stage of a takeover",
    Why.DECLARED_OVERRUN: "root use goes on beyond what was declared",
    Why.FULL_SET: "more novelty than one incident can hold: every further act counts as new",
    Why.PROGRESS: "the incident goes on",
    Why.SUMMARY: "the incident has ended",
    Why.REOPENED: "something new in an incident that was closed",
}

_ACTOR_WORDS: Final[Mapping[ActorKind, str]] = {
    ActorKind.ROOT_CONSOLE: "console session",
    ActorKind.ROOT_ACCESS_KEY: "long-lived access key",
    ActorKind.ROOT_TEMPORARY: "temporary credentials",
    ActorKind.ROOT_CLI_LOGIN: "command-line sign-in (aws login)",
    ActorKind.ASSUMED_ROOT: "AssumeRoot session",
    ActorKind.FEDERATED_FROM_ROOT: "session issued by root",
    ActorKind.AWS_SERVICE: "AWS service",
    ActorKind.OTHER_PRINCIPAL: "another principal",
    ActorKind.UNKNOWN: "not stated",
}

DO_NOT: Final = "Do NOT sign in as root to have a look, and delete nothing: both destroy evidence."
"""Stands below the next steps of every alert about an act."""


@dataclass(frozen=True, slots=True)
class Alert:
    """A message that is due. Immutable once written; `facts` and `marks` are cleaned text in display order."""

    alert_id: str
    incident_id: str
    account_id: str
    number: int
    time: datetime
    kind: str
    why: tuple[str, ...]
    severity: Severity
    headline: str
    reason: str
    facts: tuple[tuple[str, str], ...]
    next_steps: tuple[str, ...]
    marks: tuple[str, ...]
    detections: tuple[str, ...]
    event_ids: tuple[str, ...]
    counts: Mapping[str, int]
    sequence: int
    chain: str


def compose(due: DueAlert) -> Alert:
    """Put a due alert into words. Pure: the same alert always reads the same."""
    incident, observation = due.incident, due.observation
    detections = _detections(due)
    lead = detections[0] if detections else None
    if observation is None:
        headline, facts = _headline_of_incident(due), (*_facts_of_due(due), *_facts_of_incident(incident))
    else:
        headline = _headline(observation, lead, due.incident.account_id)
        facts = _facts(observation, due.source_seen, incident)
    return Alert(
        alert_id=f"{incident.id}-{due.number:04d}",
        incident_id=incident.id,
        account_id=incident.account_id,
        number=due.number,
        time=due.time,
        kind=_kind(due),
        why=tuple(str(reason) for reason in due.why),
        severity=due.severity,
        headline=shown(headline, LONGEST_HEADLINE),
        reason=_reason(due, lead),
        facts=facts,
        next_steps=lead.next_steps if lead and observation is not None else (),
        marks=_marks(due),
        detections=tuple(detection.id for detection in detections),
        event_ids=(observation.record.event_id,) if observation and observation.record.event_id else (),
        counts={
            "records": incident.records,
            "since_last_alert": due.records_told,
            **{name: incident.detections[name] for name in sorted(incident.detections)},
        },
        sequence=due.sequence,
        chain=due.chain,
    )


def _kind(due: DueAlert) -> str:
    if due.gathered:
        return "gathered"
    if due.damage is not None:
        return "damage"
    return "alert" if due.observation is not None else str(due.why[-1])


# --- cleaning ------------------------------------------------------------------------------------------------------


def shown(text: object, longest: int = LONGEST_VALUE) -> str:
    r"""Return hostile text so that it can be shown on one line: bounded, without control, hidden or reordering marks.

    Characters that no one can see become their code (`\\u202e`), blanks become one blank, `://` becomes `[:]//` and the
    dots of what could be a host name become `[.]`, so that no mail program or chat makes a link of it. The names of
    AWS services (`iam.amazonaws.com`) stay as they are.
    """
    return _shortened(unlinked(visible(text, longest * 4)), longest)


def unlinked(text: str) -> str:
    """Return text in which no mail program or chat finds an address to link: `[:]//`, and `[.]` for any kind of dot."""
    plain_dots = text.translate(_DOTS).replace("://", "[:]//")
    return _WORD_WITH_DOTS.sub(_without_host, plain_dots)


def visible(text: object, longest: int = LONGEST_VALUE) -> str:
    """Return text on one line, bounded, and with every character that cannot be seen as its code; links stay links.

    For the terminal and for what people named themselves, such as a file.
    """
    cleaned = " ".join(str(text)[: longest * 4].split())
    if not cleaned.isascii() or not cleaned.isprintable():
        cleaned = "".join(map(_visible, cleaned))
    return _shortened(cleaned, longest)


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


_DOTS: Final = {ord(dot): "." for dot in "\u2024\u3002\ufe52\uff0e\uff61"}
"""What browsers take for the dot of a host name besides the full stop."""
_WORD_WITH_DOTS: Final = re.compile(r"[\w.-]+")
_SERVICE_NAME: Final = re.compile(r"[a-z0-9-]{1,40}\.amazonaws\.com(?:\.cn)?")
_DOT_OF_A_HOST: Final = re.compile(r"\.(?=[^\W\d_]{2})|(?<=www)\.", re.IGNORECASE)


def _without_host(word: re.Match[str]) -> str:
    return word.group() if _SERVICE_NAME.fullmatch(word.group()) else _DOT_OF_A_HOST.sub("[.]", word.group())


_UNSEEN: Final = frozenset({"Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Mn", "Me"})
"""Unicode's categories of what cannot be seen by itself: formats, unassigned and private characters, marks."""
_BLANK_LETTERS: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters by their category, blanks to the eye."""


def _visible(character: str) -> str:
    unseen = unicodedata.category(character) in _UNSEEN or character in _BLANK_LETTERS
    if character.isprintable() and not unseen:
        return character
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"  # noqa: PLR2004


def clock(moment: datetime) -> str:
    """Return a moment as people read it in an alert: 2026-11-03 08:15:42 UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def duration(span: timedelta) -> str:
    """Return a span of time in words, such as "40 s", "5 min", "3 h 10 min" or "12 days"."""
    seconds = max(0, int(span.total_seconds()))
    if seconds < 120:  # noqa: PLR2004 - two minutes
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 120:  # noqa: PLR2004 - two hours
        return f"{minutes} min"
    hours = minutes // 60
    if hours < 48:  # noqa: PLR2004 - two days
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{hours // 24} days"


# --- the headline --------------------------------------------------------------------------------------------------


def _detections(due: DueAlert) -> tuple[Detection, ...]:
    """Return the detections an alert names, the most urgent first."""
    observation = due.observation
    if observation is None:
        names: Collection[str] = due.incident.detections
        if due.gathered:
            names = {name for act in due.gathered for name in act.detections}
        return tuple(detection for detection in CATALOGUE if detection.id in names)
    findings = sorted(observation.findings, key=lambda finding: -finding.severity.rank)
    return tuple(finding.detection for finding in findings)


def _headline(observation: Observation, lead: Detection | None, account_id: str) -> str:
    record = observation.record
    parts = [_sentence(record, lead), f"account {account_id}"]
    if _claims_mfa(observation):
        parts.append(f"MFA {_mfa_words(record.mfa)}")
    parts += [_place(observation), f"{observation.time:%H:%M} UTC"]
    return " · ".join(parts)


def _sentence(record: Record, lead: Detection | None) -> str:  # noqa: PLR0911 - a decision table, from top to bottom
    who = subject(record)
    act = shown(record.event_name or "an event without a name", 64)
    if lead is None:
        return f"{who}: {act}"
    if lead is sign_in.CONSOLE_LOGIN_FAILED:
        return "Root sign-in FAILED"
    if lead in _PLAIN and record.outcome is not Outcome.SUCCESS:
        return "Root sign-in, RESULT NOT STATED" if record.outcome is Outcome.UNKNOWN else "Root sign-in FAILED"
    if lead.stem == "denied":
        return f"{who} was REFUSED {act}"
    if record.outcome is Outcome.DENIED:
        return f"{who} was REFUSED: {lead.tried} ({act})"
    if record.outcome in {Outcome.FAILURE, Outcome.ERROR}:
        return f"{who} FAILED: {lead.tried} ({act})"
    return f"{who} {lead.done}" + ("" if lead in _PLAIN else f" ({act})")


_PLAIN: Final = (sign_in.CONSOLE_LOGIN, sign_in.CONSOLE_LOGIN_WITHOUT_MFA, sign_in.LOGIN_AFTER_FAILURES)


def subject(record: Record) -> str:  # noqa: PLR0911 - a decision table, read from top to bottom
    """Return who acted, as a headline begins: "Root", "An AWS service (glue.amazonaws.com)", "Role SecAdmin/dana"."""
    actor = record.actor
    if actor.kind is ActorKind.AWS_SERVICE:
        return f"An AWS service ({shown(actor.invoked_by or 'not named', 48)})"
    if actor.kind is ActorKind.ASSUMED_ROOT:
        return "An AssumeRoot session"
    if actor.kind is ActorKind.FEDERATED_FROM_ROOT:
        return "A session issued by root"
    if actor.by_root:
        return "Root"
    if (record.event_name or "").startswith("PasswordRecovery"):
        return "Root"  # only the root "forgot password" flow emits these
    if actor.kind is ActorKind.UNKNOWN:
        return "Somebody (identity not stated)"
    name = (actor.arn or actor.principal_id or "not named").rpartition(":")[2]
    for kind, prefix in (("Role", "assumed-role/"), ("IAM user", "user/")):
        if name.startswith(prefix):
            return f"{kind} {shown(name.removeprefix(prefix), 64)}"
    return f"{shown(actor.identity_type or 'Principal', 24)} {shown(name, 64)}"


def _place(observation: Observation) -> str:
    source = observation.source
    if source.ip:
        return f"from {source.ip}"
    if source.kind is SourceKind.ABSENT:
        return "source not stated"
    return f"from {shown(source.raw or '', 48)}"


def _claims_mfa(observation: Observation) -> bool:
    # On a failed sign-in the flag proves nothing; for other principals it is not about root.
    record = observation.record
    is_person = record.actor.by_root and record.actor.kind is not ActorKind.AWS_SERVICE
    return is_person and record.outcome is not Outcome.FAILURE


def _mfa_words(mfa: Mfa) -> str:
    if mfa.used is None:
        return "not stated"
    if not mfa.used:
        return "NO"
    return f"yes ({mfa.device} device)" if mfa.device else "yes"


def _headline_of_incident(due: DueAlert) -> str:
    incident = due.incident
    if due.damage is not None:
        return f"Rootwatch's own audit data was CHANGED · account {incident.account_id} · {due.damage.what}"
    if due.gathered:
        return f"Root: {len(due.gathered)} more new acts · account {incident.account_id} · {story(incident)}"
    ended = "ended" if Why.SUMMARY in due.why else "goes on"
    return f"Root use {ended} · account {incident.account_id} · {story(incident)}"


def story(incident: Incident) -> str:
    """Return what happened in an incident, in words: "2 times CreateRole, UpdateTrail, 633 reads in 13 regions; …"."""
    # The rare acts first: what was done once, among hundreds of another, is what matters.
    acts = sorted(incident.acts.items(), key=lambda act: (act[1], act[0]))
    parts = [shown(name, 40) if count == 1 else f"{count} times {shown(name, 40)}" for name, count in acts[:8]]
    if len(acts) > 8:  # noqa: PLR2004 - what fits on one line
        parts.append(f"{len(acts) - 8} other kinds of change")
    if incident.reads:
        parts.append(f"{incident.reads} reads" if incident.reads > 1 else "1 read")
    regions = len(incident.regions)
    where = f" in {regions} regions" if regions > 1 else ""
    return f"{', '.join(parts)}{where}; last act {incident.last_at:%H:%M} UTC"


# --- the facts -----------------------------------------------------------------------------------------------------


def _facts(observation: Observation, seen: SourceSeen | None, incident: Incident) -> tuple[tuple[str, str], ...]:
    record = observation.record
    facts = [
        ("Act", f"{shown(record.event_name or 'not stated', 64)} ({shown(record.event_source or 'not stated', 64)})")
    ]
    if record.target:
        facts.append(("On", shown(record.target)))
    if record.target_account_id:
        facts.append(("Target account", shown(record.target_account_id, 64)))
    facts.append(("Outcome", _outcome_words(record)))
    facts.append(("When", _when(observation)))
    if _claims_mfa(observation):
        facts.append(("MFA", _mfa_fact(record.mfa)))
    facts.append(("Source", _source_fact(observation, seen)))
    facts.append(("Client", _client_fact(observation)))
    facts.append(("Acting through", _acting_through(record)))
    needed = _root_needed(observation)
    if needed:
        facts.append(("Root needed", needed))
    facts.append(("Region", shown(record.region or "not stated", 64)))
    if incident.records > 1:
        facts.append(("Incident so far", story(incident)))
    return tuple(facts)


def _facts_of_due(due: DueAlert) -> tuple[tuple[str, str], ...]:
    if due.damage is not None:
        gone = "is gone" if due.damage.content is None else "cannot be understood"
        return (("Damaged", f"{due.damage.what} {gone}: {shown(due.damage.pk, 64)} {shown(due.damage.sk, 64)}"),)
    return tuple((f"{act.at:%H:%M:%S} UTC", _gathered_fact(act)) for act in due.gathered)


def _gathered_fact(act: GatheredAct) -> str:
    what = shown(act.event_name or "an event without a name", 64)
    on = f" on {shown(act.target, 64)}" if act.target else ""
    source = f" from {shown(act.source, 48)}" if act.source else ""
    return f"{act.severity}: {what}{on}{source}"


def _facts_of_incident(incident: Incident) -> tuple[tuple[str, str], ...]:
    return (
        ("What happened", story(incident)),
        ("Records", str(incident.records)),
        ("From", clock(incident.opened_at)),
        ("To", clock(incident.last_at)),
        ("Sources", ", ".join(shown(source, 48) for source in incident.sources[:5]) or "none stated"),
        ("Highest severity", str(incident.severity)),
        ("Stage", incident.stage.words),
    )


def _outcome_words(record: Record) -> str:
    if record.outcome is Outcome.UNKNOWN:
        return "not stated"
    detail = ": ".join(shown(text) for text in (record.error_code, record.error_message) if text)
    return f"{record.outcome} ({detail})" if detail else str(record.outcome)


def _when(observation: Observation) -> str:
    stated = observation.record.event_time
    if stated is None:
        return f"not stated; counted as {clock(observation.time)}"
    delay = observation.delay
    return clock(stated) if delay is None else f"{clock(stated)}, reached us after {duration(delay)}"


def _mfa_fact(mfa: Mfa) -> str:
    serial = f", {shown(mfa.serial, 96)}" if mfa.serial else ""
    by = f" (says {mfa.stated_by.rpartition('.')[2]})" if mfa.stated_by else ""
    return f"{_mfa_words(mfa)}{serial}{by}"


def _source_fact(observation: Observation, seen: SourceSeen | None) -> str:
    source = observation.source
    if source.kind is SourceKind.ABSENT:
        return "not stated"
    if not source.ip:
        return f"{shown(source.raw or '')} ({str(source.kind).replace('_', ' ')})"
    if seen is None:
        history = "first time in this account"
    else:
        times = "once" if seen.times == 1 else f"{seen.times} times"
        history = f"seen {times} since {seen.first_at:%Y-%m-%d}"
    return f"{source.ip} ({source.kind}, {history})"


def _client_fact(observation: Observation) -> str:
    client, agent = observation.client, observation.record.user_agent
    if agent is None:
        return "not stated"
    return f"{shown(client.name, 96)} ({client.kind})" if client.name else f"{shown(agent, 96)} ({client.kind})"


def _root_needed(observation: Observation) -> str | None:
    if observation.root_need is not None:
        return shown(f"yes: {observation.root_need.sentence}")
    action = observation.role_alternative
    return f"no: a role with {action} would do" if action else None


def _acting_through(record: Record) -> str:
    actor = record.actor
    key = f", key {shown(actor.access_key_id, 40)}" if actor.access_key_id else ""
    arn = f", {shown(actor.arn, 120)}" if actor.arn and not actor.by_root else ""
    return f"{_ACTOR_WORDS[actor.kind]}{arn}{key}"


def _reason(due: DueAlert, lead: Detection | None) -> str:
    why = "; ".join(_WHY_WORDS[reason] for reason in due.why)
    return f"{lead.why} This alert: {why}." if lead and due.observation else f"This alert: {why}."


def _marks(due: DueAlert) -> tuple[str, ...]:
    observation = due.observation
    marks = []
    if observation is not None:
        record = observation.record
        if observation.late and observation.delay is not None:
            marks.append(f"LATE: CloudTrail delivered it {duration(observation.delay)} after the event")
        if record.addendum:
            marks.append(f"ADDENDUM: delivered again by AWS ({shown(record.addendum, 64)})")
        if observation.event_id_reused:
            marks.append("EVENT ID REUSED: another record has this event id and other content")
        if record.envelope is not None and not record.envelope.from_cloudtrail:
            marks.append(
                f"NOT FROM CLOUDTRAIL: put on the bus by {shown(record.envelope.source or 'nobody named', 64)}"
            )
        oddities = [problem for problem in observation.problems if problem != NOT_FROM_CLOUDTRAIL]
        marks += [f"Odd record: {oddity}" for oddity in oddities[:5]]
        if len(oddities) > 5:  # noqa: PLR2004 - what fits on a screen
            marks.append(f"Odd record: {len(oddities) - 5} further oddities")
        marks.append(f"event {shown(record.event_id or 'without an id', 64)}")
    marks.append(f"incident {due.incident.id}, alert {due.number}")
    marks.append(f"record {due.sequence} of this account, chain {due.chain[:12]}")
    return tuple(marks)


def detection_title(detection_id: str) -> str:
    """Return a detection's title, or the id itself where the catalogue of this version does not hold it."""
    detection = BY_ID.get(detection_id)
    return detection.title if detection else detection_id


# --- acts and declarations in words --------------------------------------------------------------------------------


def act(record: Record, findings: Sequence[Finding]) -> str:
    """Return an act in one cleaned sentence, as a headline begins: "Root stopped or changed logging (StopLogging)"."""
    lead = max(findings, key=lambda finding: finding.severity.rank, default=None)
    return shown(_sentence(record, lead.detection if lead else None), LONGEST_HEADLINE)


def announcement(expectation: Expectation) -> str:
    """Return in one cleaned line whether an act was announced; empty for what nobody announces.

    What people typed into a declaration stands behind our own words, so that none of it can pass for them.
    """
    declared = expectation.declared
    if not expectation.applies:
        return ""
    if declared is None:
        return "Not announced: no declared use covers this"
    if expectation.kind is ExpectationKind.MATCHED:
        begin, rest = "Announced", _declared_words(declared, expectation.at)
    elif expectation.kind is ExpectationKind.MISMATCHED:
        begin, rest = "NOT as announced", f"{declared.ticket} {_difference(declared, expectation)}"
    elif expectation.kind is ExpectationKind.OVERRUN:
        begin, rest = "Overrun", f"{declared.ticket} {_period_words(declared, expectation.at)}"
    elif declared.covers(expectation.at):
        networks = _listed([_network(network) for network in declared.addresses])
        begin, rest = "Perhaps announced", f"{declared.ticket} covers {networks}; this record states no address"
    else:
        begin, rest = "Not announced", f"{declared.ticket} {_period_words(declared, expectation.at)}"
    covered = declared.covers(expectation.at)
    if expectation.is_afterwards and (covered or expectation.kind is ExpectationKind.OVERRUN):
        begin += f", declared afterwards ({duration(declared.declared_at - expectation.at)} after this)"
    elif declared.is_late and covered:
        begin += f", declared afterwards ({duration(declared.declared_at - declared.from_at)} after it began)"
    return shown(f"{begin}: {rest}", LONGEST_ANNOUNCEMENT)


LONGEST_ANNOUNCEMENT: Final = 480


def _declared_words(declared: DeclaredUse, at: datetime) -> str:
    who = declared.declared_by.rpartition(":")[2]
    reason = declared.reason.replace('"', "'")
    until = _moment_near(declared.until, at)
    return f'{declared.ticket} "{reason}" by {who}, until {until}; approved by {declared.approver}'


def _difference(declared: DeclaredUse, expectation: Expectation) -> str:
    parts = []
    if expectation.came_from is not None:
        networks = _listed([_network(network) for network in declared.addresses])
        parts.append(f"covers {networks}, this came from {shown(expectation.came_from, 48)}")
    if expectation.did:
        name = shown(expectation.event_name or "not stated", 64)
        parts.append(f"covers {_listed(declared.tasks)}, this is {_listed(expectation.did)} ({name})")
    return "; ".join(parts)


def _period_words(declared: DeclaredUse, at: datetime) -> str:
    if at < declared.from_at:
        return f"begins at {_moment_near(declared.from_at, at)}, {duration(declared.from_at - at)} after this"
    return f"ended at {_moment_near(declared.until, at)}, {duration(at - declared.until)} before this"


def _moment_near(moment: datetime, at: datetime) -> str:
    moment, at = moment.astimezone(UTC), at.astimezone(UTC)
    return f"{moment:%H:%M} UTC" if moment.date() == at.date() else f"{moment:%Y-%m-%d %H:%M} UTC"


def _network(network: Network) -> str:
    """Return a network as people write it: one address without its prefix."""
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""  # noqa: PLR2004 - what fits on one line
    return ", ".join(names[:4]) + more
