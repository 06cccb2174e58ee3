"""Step 5, what people are told: an alert in words, the same for every channel.

An alert answers in the order in which whoever is woken asks: what happened, was it expected, how bad is it, how did
they get in, what is new, what else was done, whom do I call, what do I do, can I trust this. All of that fits one phone
screen; details come after it. Everything that comes from a record is cleaned by `shown` here, once; the channels only
add their own escaping.
"""

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from rootwatch import __version__
from rootwatch.context.client import ClientKind
from rootwatch.context.declared_use import DeclaredUse, Expectation, ExpectationKind
from rootwatch.context.observation import Observation
from rootwatch.context.source import Network, Source, SourceKind
from rootwatch.detections import credentials, sign_in
from rootwatch.detections.activity import DENIED, WRITE
from rootwatch.detections.catalogue import BY_ID, CATALOGUE
from rootwatch.detections.detection import Detection, Finding, Severity, Stage
from rootwatch.detections.organization import ASSUMED, task_policy
from rootwatch.incident import (
    FAILED_ACT,
    GENESIS,
    Damage,
    DueAlert,
    GatheredAct,
    Incident,
    SourceSeen,
    TriageState,
    Why,
)
from rootwatch.record import NOT_FROM_CLOUDTRAIL, ActorKind, Mfa, Outcome, Record

LONGEST_VALUE: Final = 160
LONGEST_HEADLINE: Final = 240
LONGEST_CUSTODIANS: Final = 200
SEPARATOR: Final = " · "
"""Stands between the parts of a headline."""

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
    Why.NOT_CONTAINED: "root acts, although the incident was called contained",
    Why.UNANSWERED: "nobody has answered what was told before",
    Why.SILENT: "whoever took the incident has said nothing since",
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

_STAGE_WORDS: Final[Mapping[Stage, str]] = {
    Stage.ATTEMPT: "an attempt",
    Stage.IN: "inside",
    Stage.CREDENTIALS_CHANGED: "credentials changed",
    Stage.LOGGING_CHANGED: "logging changed",
    Stage.DESTRUCTION: "destruction",
}

NOT_ANNOUNCED: Final = "Not announced: no declared use covers this"
"""What an alert says of its being expected where nobody declared a use of root."""

NO_CUSTODIANS: Final = "the root custodian and the account's owner (the parameter Custodians names nobody)"
AWS_SUPPORT: Final = "AWS Support: aws.amazon.com/contact-us"
"""Leads to a case from the account itself, and to the form for those who cannot sign in to it any more.
https://docs.aws.amazon.com/signin/latest/userguide/console-sign-in-troubleshooting.html"""

DO_NOT: Final = "Do NOT sign in as root to have a look, and delete nothing: both destroy evidence."
"""Stands below the next steps of every alert."""

_STEPS_WHILE_IT_GOES_ON: Final = (
    "Ask the root custodian, by another route than this alert, whether they are still at work.",
    "Read this account's records since the last alert: eventTime, eventName, sourceIPAddress.",
    "If nobody claims it, treat it as a takeover: contain the account, call AWS Support.",
)
_STEPS_TO_ANSWER: Final = (
    "Say that you have it: the button below the incident, or rootwatch ack with its id. Nobody else may be awake.",
    "Ask the root custodian, by another route than this alert, whether it was them.",
    "Then say what it was: expected, with reason and ticket, or suspicious.",
)
_STEPS_AFTER_DAMAGE: Final = (
    "Ask whoever may write to the audit table, by another route than this alert, what they changed.",
    "Keep the copy that was made of what was found; restore the table beside itself, and compare.",
    "Until that is explained, read CloudTrail's event history for the root user by hand.",
)
_STEPS_AT_THE_END: Final = (
    "If nobody claimed this use yet, ask the root custodian, by another route than this alert.",
    "Compare what was done with the reason given; undo the rest from a session you trust.",
    "Keep reason, ticket and who answered for the monthly review.",
)


@dataclass(frozen=True, slots=True)
class Alert:
    """A message that is due. Immutable once written; every text in it is cleaned and one line.

    `headline`, then the lines of `briefing`, `next_steps`, `DO_NOT` and `trust` are the first screen; `facts`,
    `detections` and `marks` are details. The fields with a default were added later: an alert that was stored without
    them has them empty, and is delivered without those lines.
    """

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
    expected: str = ""
    access: str = ""
    news: str = ""
    so_far: str = ""
    contacts: str = ""
    trust: tuple[str, ...] = ()

    @property
    def briefing(self) -> tuple[tuple[str, str], ...]:
        """Return the lines between headline and next steps as (label, text) in order; a label may be empty."""
        answer, _, text = self.expected.partition(": ")  # "Not announced: …" brings its own label
        lines = (
            (answer, text) if text else ("", self.expected),
            ("How bad", self.reason),
            ("How", self.access),
            ("New", self.news),
            ("So far", self.so_far),
            ("Call", self.contacts),
        )
        return tuple((label, text) for label, text in lines if text)


def compose(due: DueAlert, custodians: str = "") -> Alert:
    """Put a due alert into words. Pure: the same alert always reads the same.

    Args:
        due: what is due.
        custodians: whom to call, as the parameter Custodians has it; empty where it names nobody.

    """
    incident, observation = due.incident, due.observation
    detections = _detections(due)
    lead = detections[0] if detections else None
    return Alert(
        alert_id=f"{incident.id}-{due.number:04d}",
        incident_id=incident.id,
        account_id=incident.account_id,
        number=due.number,
        time=due.time,
        kind=_kind(due),
        why=tuple(str(reason) for reason in due.why),
        severity=due.severity,
        headline=shown(_headline(due, lead), LONGEST_HEADLINE),
        expected=_expected(due),
        reason=_reason(due, lead),
        access=_access(observation) if observation else _access_of_incident(due),
        news=_news(due, observation) if observation else _news_of_incident(due),
        so_far=_so_far(due),
        contacts=f"{visible(custodians.strip().rstrip('.'), LONGEST_CUSTODIANS) or NO_CUSTODIANS}. {AWS_SUPPORT}",
        next_steps=_next_steps(due, lead),
        trust=_trust_marks(due),
        facts=_facts(due, observation) if observation else (*_facts_of_due(due), *_facts_of_incident(incident)),
        marks=_marks(due),
        detections=tuple(detection.id for detection in detections),
        event_ids=_event_ids(due),
        counts={
            "records": incident.records,
            "since_last_alert": due.records_told,
            **{name: incident.detections[name] for name in sorted(incident.detections)},
        },
        sequence=due.sequence,
        chain=due.chain,
    )


def compose_test(account_id: str, severity: Severity, at: datetime, token: str, by: str) -> Alert:
    """Put into words an alert that only shows that alerts arrive. Pure.

    It stands in an incident of its own name that does not exist, so no list and no count ever has it.

    Args:
        account_id: the account of the stack.
        severity: as a pager's filter would let it through.
        at: the moment, UTC.
        token: eight random hexadecimal digits.
        by: who asked for it, as STS states it.

    """
    incident_id = f"test-{at:%Y%m%dT%H%M%SZ}-{token}"
    return Alert(
        alert_id=f"{incident_id}-0001",
        incident_id=incident_id,
        account_id=account_id,
        number=1,
        time=at,
        kind=TEST_KIND,
        why=(TEST_KIND,),
        severity=severity,
        headline=f"TEST of Rootwatch: nothing happened{SEPARATOR}account {account_id}{SEPARATOR}{clock(at)}",
        reason="not at all: this is a test, sent on purpose to show that alerts arrive.",
        facts=(("Asked for by", shown(by, 200)),),
        next_steps=(
            "If you read this, this channel works: tell whoever asked for the test.",
            "Nobody else has to do anything.",
        ),
        marks=(f"{incident_id}, {clock(at)}",),
        detections=(),
        event_ids=(),
        counts={},
        sequence=0,
        chain=GENESIS,
        trust=("TEST",),
    )


TEST_KIND: Final = "test"
REPLAYED: Final = "REPLAYED from a file"
"""Of what no table holds, so that nobody can answer it."""


def _expected(due: DueAlert) -> str:
    """Return whether what is told was announced, in one line; empty for what nobody announces."""
    if due.expectation is not None:
        return announcement(due.expectation)
    counts = due.incident.expectations
    announced, all_acts = counts.get(str(ExpectationKind.MATCHED), 0), sum(counts.values())
    if due.damage is not None or not all_acts:
        return ""
    if announced == all_acts:
        return "Announced: all of it"
    return f"Announced in part: {announced} of {all_acts} acts" if announced else NOT_ANNOUNCED


def _event_ids(due: DueAlert) -> tuple[str, ...]:
    """Return the ids of the events that an alert is about: one, or all that were gathered."""
    told = [due.observation.record.event_id] if due.observation else [act.event_id for act in due.gathered]
    return tuple(event_id for event_id in told if event_id)


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


def says_something(text: str) -> bool:
    """Return whether a text that somebody typed has a letter or a digit: dashes and what nobody can see say nothing."""
    return any(character.isalnum() for character in text)


def unlinked(text: str) -> str:
    """Return text in which no mail program or chat finds an address to link: `[:]//`, and `[.]` for any kind of dot."""
    plain_dots = text.translate(_DOTS).replace("://", "[:]//")
    return _WORD_WITH_DOTS.sub(_without_host, plain_dots) if "." in plain_dots else plain_dots


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


def standing(incident: Incident) -> str:
    """Return what people answered to an incident: "Acknowledged by dana, 2026-11-03 12:04:10 UTC"."""
    triage = incident.triage
    # Only news gives an open one a beginning of its own.
    is_again = triage.state is TriageState.OPEN and triage.since is not None
    words = "Opened again" if is_again else triage.state.words.capitalize()
    if triage.proposal is not None:
        words += f", and proposed as expected by {shown(triage.proposal.by_name, 80)}"
    by = f" by {shown(triage.by, 80)}" if triage.by else ""
    since = f", {clock(triage.since)}" if triage.since else ""
    return f"{words}{by}{since}"


def addresses(known: Sequence[str], most: int = 8) -> str:
    """Return addresses in words, so many of them by name and the rest as a number; empty where there are none."""
    named = ", ".join(shown(each, 48) for each in known[:most])
    return f"{named} and {len(known) - most} more" if len(known) > most else named


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


def _headline(due: DueAlert, lead: Detection | None) -> str:
    observation = due.observation
    if observation is None:
        return _joined([_sentence_of_incident(due), _origin(due), _account(due), *_content(due)])
    record = observation.record
    contained = "NOT CONTAINED" if Why.NOT_CONTAINED in due.why else ""
    parts = [_sentence(record, lead), contained, _origin(due), _account(due)]
    if record.target_account_id:
        parts.append(f"target account {shown(record.target_account_id, 40)}")
    if observation.issued is not None and record.account_id:
        parts.append(f"in account {shown(record.account_id, 40)}")  # the incident is its caller's
    if _claims_mfa(observation):
        parts.append(f"MFA {_mfa_words(record.mfa)}")
    parts += [_place(observation), _moment(observation)]
    return _joined(parts)


def _joined(parts: list[str]) -> str:
    """Join what a headline is made of; the mark between its parts is ours alone, so that no record adds one."""
    return SEPARATOR.join(part.replace(SEPARATOR.strip(), "-") for part in parts if part)


def _sentence(record: Record, lead: Detection | None) -> str:  # noqa: PLR0911 - a decision table, read from top to bottom
    """Return who did what; its first three words say whether it was done, FAILED, was REFUSED, or is UNCONFIRMED."""
    result = _RESULTS.get(record.outcome, "")
    act = _inside(record.event_name or "an event without a name", 48)
    if lead is sign_in.LOGIN_SPRAY:
        return "Root sign-in FAILED, as in other accounts"
    if (lead in _PLAIN or lead is sign_in.CONSOLE_LOGIN_FAILED) and result:
        silent = " (the record states no result)" if record.outcome is Outcome.UNKNOWN else ""
        return f"Root sign-in {'FAILED' if record.outcome is not Outcome.UNKNOWN else result}{silent}"
    if lead is credentials.PASSWORD_RECOVERY_REQUESTED:
        return f"Password reset {result or 'requested'} for root"
    if lead is credentials.PASSWORD_RECOVERY_COMPLETED:
        return f"Password reset {result or 'completed'} for root, through its mailbox"
    who = subject(record)
    if lead is None or (lead.stem == "denied" and result):
        return f"{who} {result or 'did'}: {act}"
    if lead is WRITE and record.is_sign_in:  # CheckMfa and its like change nothing
        return f"{who} {f'{result} at' if result else 'passed'} a step of signing in ({act})"
    words = f"{result}: {lead.tried}" if result else lead.done
    return f"{who} {words}" + ("" if lead in _PLAIN or lead in _EXACT else f" ({act})")


_RESULTS: Final[Mapping[Outcome, str]] = {
    Outcome.FAILURE: "FAILED",
    Outcome.ERROR: "FAILED",
    Outcome.DENIED: "REFUSED",
    Outcome.UNKNOWN: "UNCONFIRMED",
}
_PLAIN: Final = (sign_in.CONSOLE_LOGIN, sign_in.CONSOLE_LOGIN_WITHOUT_MFA, sign_in.LOGIN_AFTER_FAILURES)
_EXACT: Final = (credentials.ACCESS_KEY_CREATED, credentials.LOGIN_PROFILE_CREATED, ASSUMED)
"""Whose words say all that the event's name would say."""


def subject(record: Record) -> str:  # noqa: PLR0911 - a decision table, read from top to bottom
    """Return who acted, in two words at most: "Root", "Service glue.amazonaws.com", "Role SecAdmin/dana"."""
    actor = record.actor
    if actor.kind is ActorKind.AWS_SERVICE:
        return f"Service {_word(actor.invoked_by, 48)}" if actor.invoked_by else "AWS service"
    if actor.kind is ActorKind.ASSUMED_ROOT:
        return "AssumeRoot session"
    if actor.kind is ActorKind.FEDERATED_FROM_ROOT:
        return "Root-issued session"
    if actor.by_root:
        return "Root"
    if actor.kind is ActorKind.UNKNOWN:
        return "Somebody unidentified"
    name = (actor.arn or actor.principal_id or "not-named").rpartition(":")[2]
    for kind, prefix in (("Role", "assumed-role/"), ("User", "user/")):
        if name.startswith(prefix):
            return f"{kind} {_word(name.removeprefix(prefix), 64)}"
    return f"{_word(actor.identity_type or 'Principal', 24)} {_word(name, 64)}"


def _word(text: str, longest: int) -> str:
    """Return hostile text as one word, so that it cannot push the verb out of a headline's first words."""
    return shown(text, longest).replace(" ", "_") or "not-named"


def _account(due: DueAlert) -> str:
    number = shown(due.incident.account_id, 40)
    return f"account {_inside(due.account_name, 50)} ({number})" if due.account_name else f"account {number}"


def _origin(due: DueAlert) -> str:
    """Return in capitals what tells a rehearsal or a forgery from the real thing; empty for what CloudTrail sent."""
    if due.observation is None:
        return _UNPROVEN if due.incident.story == "not-from-cloudtrail" else ""
    envelope = due.observation.record.envelope
    if envelope is None or envelope.from_cloudtrail:
        return ""
    return "TEST" if envelope.admitted else _UNPROVEN


_UNPROVEN: Final = "NOT FROM CLOUDTRAIL"


def _place(observation: Observation) -> str:
    source = observation.source
    if source.ip:
        known = ", ".join(_inside(text, 40) for text in (source.owner, source.country) if text)
        return f"from {source.ip} ({known})" if known else f"from {source.ip}"
    if source.kind is SourceKind.ABSENT:
        return "source not stated"
    return f"from {shown(source.raw or '', 48)}"


def _inside(text: str, longest: int) -> str:
    """Return hostile text that cannot end the brackets around it: whoever registers a network chooses its name."""
    return shown(text, longest).translate(_BRACKETS)


_BRACKETS: Final = {ord("("): "[", ord(")"): "]"}


def _moment(observation: Observation) -> str:
    """Return time and age as a headline ends: "02:14 UTC, seen 40 s later"; with the day unless it is just now."""
    stated, delay = observation.record.event_time, observation.delay
    if stated is None:
        return f"time not stated, arrived {clock(observation.time)[:16]} UTC"
    if observation.time != stated:
        return f"{clock(stated)[:16]} UTC (in the future), arrived {clock(observation.time)[:16]} UTC"
    if delay is None:
        return f"{clock(stated)[:16]} UTC"
    if observation.late:
        return f"{clock(stated)[:16]} UTC, LATE: seen {duration(delay)} later"
    return f"{stated:%H:%M} UTC, seen {duration(delay)} later"


def _claims_mfa(observation: Observation) -> bool:
    # An AssumeRoot session never carries MFA: its "no" says nothing of its caller, and stands among the details.
    return _states_mfa(observation) and observation.record.actor.kind is not ActorKind.ASSUMED_ROOT


def _states_mfa(observation: Observation) -> bool:
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


def _sentence_of_incident(due: DueAlert) -> str:
    question = _question(due)
    return f"{question}: {_state_of_incident(due)}" if question else _state_of_incident(due)


def _question(due: DueAlert) -> str:
    """Return what an alert asks that tells nothing new; empty for every other."""
    triage = due.incident.triage
    waited = duration(due.incident.reported_at - triage.waiting_since) if triage.waiting_since else "some time"
    if Why.UNANSWERED in due.why:
        return f"UNANSWERED for {waited}"
    return f"STILL {str(triage.state).upper()}, silent for {waited}" if Why.SILENT in due.why else ""


def _state_of_incident(due: DueAlert) -> str:
    incident = due.incident
    if due.damage is not None:
        return "Audit data CHANGED by somebody"
    if due.gathered:
        return _sentence_of_gathered(due.gathered)
    if incident.story == "damage":
        return "Audit data: no further damage"
    who = "AssumeRoot use" if incident.story.startswith(("assume-root", "assumed-session")) else "Root use"
    if _attempts_only(incident):
        who = "Root sign-in attempts"  # nobody got in, so it was no use of root
    if incident.open:
        return f"{who} GO ON" if who.endswith("s") else f"{who} GOES ON"
    return f"{who} ended"


def _attempts_only(incident: Incident) -> bool:
    attempts = {sign_in.CONSOLE_LOGIN_FAILED.id, sign_in.LOGIN_SPRAY.id}
    return bool(incident.detections) and incident.detections.keys() <= attempts


def _sentence_of_gathered(acts: tuple[GatheredAct, ...]) -> str:
    count = len(acts)
    if all(sign_in.CONSOLE_LOGIN_FAILED.id in act.detections for act in acts):
        return f"Root sign-in FAILED {count} more time{'' if count == 1 else 's'}"
    refused = sum(DENIED.id in act.detections for act in acts)
    more = f"{count} more new act{'' if count == 1 else 's'}"
    if refused == count:
        return f"Root REFUSED: {more}"
    return f"Done or tried: {more}" + (f", {refused} of them REFUSED" if refused else "")


def _content(due: DueAlert) -> list[str]:
    if due.damage is not None:
        more = f", and {len(due.damages) - 1} more" if len(due.damages) > 1 else ""
        return [f"{due.damage.what} {_damage_words(due.damage)}{more}"]
    return [] if due.incident.story == "damage" else [story(due.incident, 2)]


def _damage_words(damage: Damage) -> str:
    return "is gone" if damage.content is None else "cannot be understood"


# --- the story, in words -------------------------------------------------------------------------------------------


def story(incident: Incident, most: int = 8) -> str:
    """Return what happened in an incident: "stopped 1 trail, created 2 roles, 633 reads in 13 regions; last act …".

    Every call is counted. `most` is how many kinds of change are named; the rest is a number.
    """
    acts = sorted(incident.acts.items(), key=lambda act: (_urgency(act[0]), act[1], act[0]))
    parts = [act_words(name, count) for name, count in acts[:most]]
    if len(acts) > most:
        rest = len(acts) - most
        parts.append(f"{rest} other kind{'' if rest == 1 else 's'} of change")
    if incident.reads:
        parts.append(f"{incident.reads} reads" if incident.reads > 1 else "1 read")
    regions = len(incident.regions)
    where = f" in {regions} regions" if regions > 1 else ""
    return f"{', '.join(parts)}{where}; last act {incident.last_at:%H:%M}" if parts else "no act recorded"


def _urgency(name: str) -> int:
    """Return where an act stands in a story; of equal ones the rare come first: once among hundreds is what matters."""
    if name.startswith(FAILED_ACT):
        return 2
    return 0 if name.startswith(_HARMS) else 1


_HARMS: Final = ("Stop", "Delete", "Disable", "Deactivate", "Terminate", "Schedule", "Close", "Leave")


def act_words(name: str, count: int) -> str:
    """Return an event's name and how often it occurred as people say it: "created 2 roles", "signed in 3 times".

    `name` is as an incident counts it; what failed says so. A name that this table does not hold stays itself: words
    are made of our own vocabulary only, so that no record can write a sentence.
    """
    failed, name = name.startswith(FAILED_ACT), name.removeprefix(FAILED_ACT)
    known = _known_act(name)
    times = "" if count == 1 else f" {count} times"
    if known is None:
        return f"{shown(name, 40)}{times}" + (" (failed)" if failed else "")
    done, do, one, many = known
    if not done:
        return f"{count} {'failed ' if failed else ''}{one if count == 1 else many}"
    if failed:
        return f"failed{times} to {do} {one if one == many else f'1 {one}' if count == 1 else many}".rstrip()
    if one == many:
        return f"{done} {one}".rstrip() + times
    # Only what was made or deleted is another thing each time; what was changed twice may be one thing.
    if count == 1 or done in {"created", "deleted"}:
        return f"{done} {count} {one if count == 1 else many}"
    return f"{done} {many}{times}"


def _known_act(name: str) -> tuple[str, str, str, str] | None:
    """Return past tense, infinitive, and what it was done to, one and many; None for a name that is not known.

    Without a verb the noun is the act itself.
    """
    if name in _ACTS:
        return _ACTS[name]
    for verb, (done, do) in _VERBS.items():
        if name.startswith(verb):
            noun = name[len(verb) :]
            if noun in _THINGS:
                return done, do, _THINGS[noun], _plural(_THINGS[noun])
            if noun in _SETTINGS:
                return done, do, _SETTINGS[noun], _SETTINGS[noun]
    return None


def _plural(noun: str) -> str:
    return f"{noun[:-1]}ies" if noun.endswith("y") and not noun.endswith("ey") else f"{noun}s"


_VERBS: Final[Mapping[str, tuple[str, str]]] = {
    "Create": ("created", "create"),
    "Delete": ("deleted", "delete"),
    "Update": ("changed", "change"),
    "Modify": ("changed", "change"),
    "Put": ("set", "set"),
    "Set": ("set", "set"),
    "Attach": ("attached", "attach"),
    "Detach": ("detached", "detach"),
    "Start": ("started", "start"),
    "Stop": ("stopped", "stop"),
    "Enable": ("switched on", "switch on"),
    "Disable": ("switched off", "switch off"),
    "Deactivate": ("switched off", "switch off"),
    "Upload": ("uploaded", "upload"),
}
_THINGS: Final[Mapping[str, str]] = {
    "AccessKey": "access key", "AccountAssignment": "account assignment", "Alarm": "alarm", "Bucket": "bucket",
    "ConfigurationRecorder": "configuration recorder", "DBCluster": "database cluster", "DBInstance": "database",
    "DBSnapshot": "database snapshot", "DeliveryChannel": "delivery channel", "Detector": "GuardDuty detector",
    "EventDataStore": "event data store", "FileSystem": "file system", "Function": "function", "Group": "group",
    "HostedZone": "hosted zone", "Image": "image", "InstanceProfile": "instance profile", "Key": "key",
    "KeyPair": "key pair", "LogGroup": "log group", "LoginProfile": "console password", "MFADevice": "MFA device",
    "PermissionSet": "permission set", "Policy": "policy", "PolicyVersion": "policy version", "Queue": "queue",
    "Role": "role", "Rule": "rule", "SAMLProvider": "SAML provider", "SSHPublicKey": "SSH key", "Secret": "secret",
    "SecurityGroup": "security group", "SigningCertificate": "signing certificate", "Snapshot": "snapshot",
    "Stack": "stack", "Subnet": "subnet", "Table": "table", "Topic": "topic", "Trail": "trail", "User": "user",
    "VirtualMFADevice": "virtual MFA device", "Volume": "volume", "Vpc": "network", "CloudFrontPublicKey":
    "CloudFront key", "OpenIDConnectProvider": "identity provider",
}  # fmt: skip
_SETTINGS: Final[Mapping[str, str]] = {
    "AccountPasswordPolicy": "the password policy", "AlternateContact": "an alternate contact",
    "AssumeRolePolicy": "a role's trust", "BucketAcl": "bucket access lists", "BucketLifecycle": "bucket expiry",
    "BucketLogging": "bucket logging", "BucketPolicy": "a bucket policy", "BucketVersioning": "bucket versioning",
    "ContactAddress": "the contact address", "ContactInformation": "the contact details",
    "EventDataStoreIngestion": "an event data store", "EventSelectors": "what a trail records",
    "FlowLogs": "flow logs", "GroupPolicy": "a group's policy", "InstanceAttribute": "an instance's settings",
    "Instances": "instances", "KeyPolicy": "a key's policy", "PublicAccessBlock": "the public access block",
    "RolePolicy": "a role's policy", "SecurityHub": "Security Hub", "SecurityQuestions": "the security questions",
    "SnapshotAttribute": "who may use a snapshot", "ImageAttribute": "who may use an image",
    "UserPolicy": "a user's policy", "IAMAccessPreference": "IAM access to billing",
}  # fmt: skip
_TRAIL: Final = ("trail", "trails")
_ACTS: Final[Mapping[str, tuple[str, str, str, str]]] = {
    "ConsoleLogin": ("", "", "sign-in", "sign-ins"),
    "AuthorizeOAuth2Access": ("", "", "command-line sign-in", "command-line sign-ins"),
    "CreateOAuth2Token": ("drew command-line credentials", "draw command-line credentials", "", ""),
    "AssumeRoot": ("assumed root", "assume root", "", ""),
    "GetSessionToken": ("exported a session", "export a session", "", ""),
    "GetFederationToken": ("exported a session", "export a session", "", ""),
    "GetSigninToken": ("exported a session", "export a session", "", ""),
    "PasswordRecoveryRequested": ("", "", "request to reset the password", "requests to reset the password"),
    "PasswordRecoveryCompleted": ("reset the password by mail", "reset the password by mail", "", ""),
    "PasswordUpdated": ("changed the password", "change the password", "", ""),
    "ChangePassword": ("changed the password", "change the password", "", ""),
    "EmailUpdated": ("changed the e-mail address", "change the e-mail address", "", ""),
    "UpdateAccountEmailAddress": ("changed the e-mail address", "change the e-mail address", "", ""),
    "StartPrimaryEmailUpdate": ("began to change the e-mail address", "change the e-mail address", "", ""),
    "AcceptPrimaryEmailUpdate": ("changed the e-mail address", "change the e-mail address", "", ""),
    "CloseAccount": ("closed an account", "close an account", "", ""),
    "LeaveOrganization": ("left the organization", "leave the organization", "", ""),
    "StartLogging": ("started", "start", *_TRAIL),
    "StopLogging": ("stopped", "stop", *_TRAIL),
    "RunInstances": ("launched", "launch", "instances", "instances"),
    "TerminateInstances": ("terminated", "terminate", "instances", "instances"),
    "ScheduleKeyDeletion": ("scheduled the deletion of", "schedule the deletion of", "key", "keys"),
    "AddUserToGroup": ("added users to groups", "add a user to a group", "", ""),
    "GetSecretValue": ("read", "read", "secret", "secrets"),
    "Decrypt": ("decrypted something", "decrypt something", "", ""),
}
"""What the verbs and nouns above do not make, or would make wrongly."""


# --- the lines of the first screen ---------------------------------------------------------------------------------


def _reason(due: DueAlert, lead: Detection | None) -> str:
    """Return how bad it is and why: severity, how far the incident has come, the standing reason."""
    incident = due.incident
    worse = incident.severity.rank > due.severity.rank
    parts = [f"{due.severity} (the incident: {incident.severity})" if worse else str(due.severity)]
    if incident.stage is not Stage.NONE:
        parts.append(f"stage {int(incident.stage)}/{int(max(Stage))} ({_STAGE_WORDS[incident.stage]})")
    is_one_act = due.observation is not None or due.damage is not None
    why = lead.why if lead and is_one_act else _WHY_WORDS[due.why[-1]].capitalize() + "."
    return f"{', '.join(parts)}. {why}"


def _access(observation: Observation) -> str:
    """Return how they got in: the way, the device or key, the client, and MFA where it says anything about root."""
    record, client = observation.record, observation.client
    words = [_way_in(observation)]
    if record.actor.kind is not ActorKind.AWS_SERVICE and client.kind is not ClientKind.SERVICE and client.name:
        words.append(shown(client.name, 48))
    if _claims_mfa(observation):
        words.append(f"MFA {_mfa_words(record.mfa)}")
        if record.mfa.serial:
            words[-1] += f" {shown(record.mfa.serial.rpartition('/')[2], 32)}"
    return ", ".join(words)


def _way_in(observation: Observation) -> str:  # noqa: PLR0911 - a decision table, read from top to bottom
    record, issued = observation.record, observation.issued
    actor = record.actor
    key = f" {shown(actor.access_key_id, 32)}" if actor.access_key_id else ""
    if record.event_name == "ConsoleLogin" and actor.by_root and record.outcome not in _GOT_IN:
        said = f": {shown(record.error_message, 48)}" if record.error_message else ""
        return f"not in; refused at the console's sign-in page{said}"
    if (record.event_name or "").startswith("PasswordRecovery"):
        return "password recovery, through root's mailbox"
    if record.event_name == "AssumeRoot":
        return f"AssumeRoot by {_named(record)}, task {_task(task_policy(record))}"
    if issued is not None:
        caller = issued.caller.rpartition(":")[2].removeprefix("assumed-role/").removeprefix("user/")
        return f"AssumeRoot session{key} of {shown(caller, 64)}, task {_task(issued.task_policy)}"
    if actor.kind is ActorKind.AWS_SERVICE:
        return "an AWS service, on root's behalf" if actor.by_root else "an AWS service, not root"
    if actor.kind is ActorKind.OTHER_PRINCIPAL:
        return f"not root, but {_named(record)}" + (f", key{key}" if key else "")
    return _WAYS[actor.kind].format(key=key)


_WAYS: Final[Mapping[ActorKind, str]] = {
    ActorKind.ROOT_CONSOLE: "console",
    ActorKind.ROOT_ACCESS_KEY: "access key{key} of root, which never expires",
    ActorKind.ROOT_TEMPORARY: "temporary credentials{key}",
    ActorKind.ROOT_CLI_LOGIN: "aws login on a command line{key}",
    ActorKind.ASSUMED_ROOT: "AssumeRoot session{key}, caller not in this record",
    ActorKind.FEDERATED_FROM_ROOT: "session{key} that root issued",
    ActorKind.UNKNOWN: "not stated",
}
_GOT_IN: Final = frozenset({Outcome.SUCCESS, Outcome.UNKNOWN})


def _task(policy: str | None) -> str:
    return shown((policy or "not stated").rpartition("/")[2], 48)


def _named(record: Record) -> str:
    who = subject(record)
    return who if who == "Root" else who[0].lower() + who[1:]


def _access_of_incident(due: DueAlert) -> str:
    incident = due.incident
    if due.damage is not None or incident.story == "damage":
        return "not known: CloudTrail's management events do not show who writes to the audit table"
    members = f"in {len(incident.members)} member account{'' if len(incident.members) == 1 else 's'}, "
    known = incident.failed_sources if _attempts_only(incident) else incident.sources
    sources = addresses(known, 2) or "no address stated"
    signed_in = len(incident.sign_ins)
    ways = f"signed in {_times(signed_in)} at the console; " if signed_in else ""
    ways = "not in; tries " if _attempts_only(incident) else ways
    return f"{ways}{members if incident.members else ''}from {sources}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _news(due: DueAlert, observation: Observation) -> str:
    """Return what the account had not seen before, and how well it knows the address."""
    incident, source = due.incident, observation.source
    news = []
    if source.ip:
        news.append(f"address {_history(due.source_seen, incident)}")
    if source.trusted is not None:
        news.append("in a trusted network" if source.trusted else "NOT in a trusted network")
    if due.last_sign_in is not None:
        news.append(f"previous root sign-in {due.last_sign_in:%Y-%m-%d}")
    if Why.NEW_CREDENTIAL in due.why and due.sequence > 1:
        is_key = observation.record.actor.kind is ActorKind.ROOT_ACCESS_KEY
        news.append(f"{'access key' if is_key else 'session'} first time")
    if Why.NEW_CLIENT in due.why:
        news.append("another kind of client")
    if len(incident.sources) > 1:
        news.append(f"{len(incident.sources)} addresses in this incident")
    if due.elsewhere:
        others = f"{len(due.elsewhere)} other account{'' if len(due.elsewhere) == 1 else 's'} within 24 h"
        failed = due.observation is not None and _is_failed_sign_in(due.observation)
        news.append(f"root sign-ins failed in {others}" if failed else f"seen by {others}")
    if due.sequence == 1:
        news.append("first record of this account")
    return ", ".join(news) or "nothing that this account had not seen"


def _history(seen: SourceSeen | None, incident: Incident) -> str:
    if seen is None:
        return "first time"
    if seen.first_at >= incident.opened_at:
        return f"new at {seen.first_at:%H:%M}, in this incident"  # its own first tries do not make it known
    return _seen(seen)


def _seen(seen: SourceSeen) -> str:
    """Return how often an address was seen, and when: "seen 3 times since 2026-10-01, last 2026-11-02"."""
    first, last = f"{seen.first_at:%Y-%m-%d}", f"{seen.last_at:%Y-%m-%d}"
    return f"seen {_times(seen.times)}" + (f" on {first}" if first == last else f" since {first}, last {last}")


def _is_failed_sign_in(observation: Observation) -> bool:
    return any(finding.detection is sign_in.CONSOLE_LOGIN_FAILED for finding in observation.findings)


def _news_of_incident(due: DueAlert) -> str:
    told = due.records_told
    if due.damage is not None:
        count = len(due.damages)
        return "damage that was not told before" + (f", in {count} items" if count > 1 else "")
    if due.gathered:
        first, last = min(act.at for act in due.gathered), max(act.at for act in due.gathered)
        return f"{len(due.gathered)} acts, each of them new, from {first:%H:%M} to {last:%H:%M} UTC"
    return f"{told} record{'' if told == 1 else 's'} since the last alert" if told else "nothing since the last alert"


def _so_far(due: DueAlert) -> str:
    """Return what the incident holds so far in words, and whether it goes on."""
    incident = due.incident
    state = "still open" if incident.open else "ended"
    if incident.story == "damage":
        count = len(incident.novelties)
        return f"{count} damaged item{'' if count == 1 else 's'}; {state}"
    if due.observation is not None and incident.records == 1:
        return f"nothing else; {state}"
    return f"{story(incident, 4 if due.observation else 6)}, {state}"


def _next_steps(due: DueAlert, lead: Detection | None) -> tuple[str, ...]:
    if due.damage is not None:
        return _STEPS_AFTER_DAMAGE
    # What was gathered has one answer where all of it is of one kind.
    if Why.UNANSWERED in due.why or Why.SILENT in due.why:
        return _STEPS_TO_ANSWER
    is_alike = bool(due.gathered) and lead is not None and all(lead.id in act.detections for act in due.gathered)
    if lead is not None and (due.observation is not None or is_alike):
        return lead.next_steps
    return _STEPS_WHILE_IT_GOES_ON if due.incident.open else _STEPS_AT_THE_END


def _trust_marks(due: DueAlert) -> tuple[str, ...]:
    """Return what says how far to trust this message: live or not, ids to find it again by, version, what is merged."""
    observation, marks = due.observation, []
    if observation is not None:
        record = observation.record
        marks.append(_arrival(observation))
        if record.addendum:
            marks.append(f"ADDENDUM: delivered again by AWS ({shown(record.addendum, 48)})")
        if observation.event_id_reused:
            marks.append("EVENT ID REUSED: another record has this event id and other content")
    elif due.incident.story == "not-from-cloudtrail":
        marks.append(f"{_UNPROVEN}: whoever may put events on the bus may have made these")
    marks += [f"alert {due.incident.id}-{due.number:04d}", f"v{__version__}"]
    if observation is not None:
        marks.append(f"event {shown(observation.record.event_id or 'without an id', 48)}")
        merged = due.records_told - 1
        if merged > 0:
            marks.append(f"{merged} similar merged")
    return tuple(marks)


def _arrival(observation: Observation) -> str:
    envelope, delay = observation.record.envelope, observation.delay
    if envelope is not None and not envelope.from_cloudtrail:
        by = shown(envelope.source or "nobody named", 48)
        return f"TEST: put on the bus by {by}" if envelope.admitted else f"{_UNPROVEN}: put on the bus by {by}"
    if observation.sent_at is None:
        return REPLAYED
    if observation.late and delay is not None:
        return f"LATE: CloudTrail delivered it {duration(delay)} after the event"
    return "LIVE"


# --- the details ---------------------------------------------------------------------------------------------------


def _facts(due: DueAlert, observation: Observation) -> tuple[tuple[str, str], ...]:
    record, incident = observation.record, due.incident
    facts = [
        ("Act", f"{shown(record.event_name or 'not stated', 64)} ({shown(record.event_source or 'not stated', 64)})")
    ]
    if record.target:
        facts.append(("On", shown(record.target)))
    if record.target_account_id:
        facts.append(("Target account", shown(record.target_account_id, 64)))
    if observation.issued is not None:  # the incident is the caller's, the act was in a member account
        facts.append(("In account", shown(record.account_id or "not stated", 64)))
    facts.append(("Outcome", _outcome_words(record)))
    facts.append(("When", _when(observation)))
    if _states_mfa(observation):
        facts.append(("MFA", _mfa_fact(record.mfa)))
    facts.append(("Source", _source_fact(observation, due.source_seen)))
    facts.append(("Client", _client_fact(observation)))
    facts.append(("Acting through", _acting_through(record)))
    needed = _root_needed(observation)
    if needed:
        facts.append(("Root needed", needed))
    facts.append(("Region", shown(record.region or "not stated", 64)))
    if incident.records > 1:
        facts.append(("Incident so far", story(incident)))
    if due.elsewhere:
        facts.append(("Other accounts", ", ".join(shown(account, 40) for account in due.elsewhere[:10])))
    facts.append(("Told because", "; ".join(_WHY_WORDS[reason] for reason in due.why)))
    return tuple(facts)


def _facts_of_due(due: DueAlert) -> tuple[tuple[str, str], ...]:
    if due.damages:
        named = [("Damaged", _damage_fact(damage)) for damage in due.damages[:MOST_DAMAGES_NAMED]]
        rest = len(due.damages) - len(named)
        return (*named, ("Damaged", f"{rest} more; run `rootwatch verify`")) if rest else tuple(named)
    return tuple((f"{act.at:%H:%M:%S} UTC", _gathered_fact(act, due.incident)) for act in due.gathered)


MOST_DAMAGES_NAMED: Final = 10


def _damage_fact(damage: Damage) -> str:
    return f"{damage.what} {_damage_words(damage)}: {shown(damage.pk, 64)} {shown(damage.sk, 64)}"


def _gathered_fact(act: GatheredAct, incident: Incident) -> str:
    what = shown(act.event_name or "an event without a name", 64)
    on = f" on {shown(act.target, 64)}" if act.target else ""
    where = f" in account {shown(act.account_id, 64)}" if act.account_id != incident.account_id else ""
    source = f" from {shown(act.source, 48)}" if act.source else ""
    return f"{act.severity}: {what}{on}{where}{source}"


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
    history = "first time in this account" if seen is None else _seen(seen)
    return f"{source.ip} ({source.kind}, {history}{_network(source)}){_owner(source)}"


def _network(source: Source) -> str:
    if source.trusted is None:
        return ""
    return ", in a trusted network" if source.trusted else ", NOT in a trusted network"


def _owner(source: Source) -> str:
    if source.kind is not SourceKind.PUBLIC:
        return ""
    country = f", country {shown(source.country, 56)}" if source.country else ""
    # The owner's name comes last: whoever registers a network chooses it, and nothing of ours may seem a part of it.
    return f"{country}, owner {shown(source.owner, 96)}" if source.owner else f"{country}, owner not looked up"


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


def _marks(due: DueAlert) -> tuple[str, ...]:
    marks = []
    if due.observation is not None:
        oddities = [problem for problem in due.observation.problems if problem != NOT_FROM_CLOUDTRAIL]
        marks += [f"Odd record: {oddity}" for oddity in oddities[:5]]
        if len(oddities) > 5:  # noqa: PLR2004 - what fits on a screen
            marks.append(f"Odd record: {len(oddities) - 5} further oddities")
    marks.append(f"incident {due.incident.id}, alert {due.number}, {clock(due.time)}")
    marks.append(f"record {due.sequence} of this account, chain {due.chain[:12]}")
    return tuple(marks)


def detection_title(detection_id: str) -> str:
    """Return a detection's title, or the id itself where the catalogue of this version does not hold it."""
    detection = BY_ID.get(detection_id)
    return detection.title if detection else detection_id


def runbook_address(alert: Alert, runbook_url: str) -> str:
    """Return the address of the section of docs/runbook.md that an alert needs, where the runbook is at `runbook_url`.

    An address with a fragment of its own stays as it is, and so does one for a detection that is not in the catalogue.
    """
    if not runbook_url or "#" in runbook_url:
        return runbook_url
    reason = next((each for each in alert.why if each in _SECTIONS), None)
    detection = BY_ID.get(alert.detections[0]) if alert.detections else None
    section = _SECTIONS[reason] if reason else detection.stem if detection else ""
    return f"{runbook_url}#{section}" if section else runbook_url


_SECTIONS: Final[Mapping[str, str]] = {
    Why.NOT_CONTAINED: "takeover",
    Why.UNANSWERED: "first-five-minutes",
    Why.SILENT: "answer-it",
}
"""Sections of the runbook for what is more urgent than the detection, by why the alert is told."""


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
        networks = _listed([_written(network) for network in declared.addresses])
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
        networks = _listed([_written(network) for network in declared.addresses])
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


def _written(network: Network) -> str:
    """Return a network as people write it: one address without its prefix."""
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""  # noqa: PLR2004 - what fits on one line
    return ", ".join(names[:4]) + more
