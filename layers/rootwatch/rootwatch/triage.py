"""Step 9, what people answered: the states of an incident, the moves between them, the steps that are kept of both.

    open ─▶ acknowledged ─▶ resolved as expected
      └──────────┴────────▶ suspicious ─▶ contained ─▶ closed

`decide` is the whole table, pure; `answer` reads the account, decides, and writes incident, step and head in one
transaction. Whoever loses a race reads again and is told what the other did. News opens again what people were done
with (`incident.fold`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from rootwatch.alert import addresses, compose, says_something, shown, standing, story
from rootwatch.audit.items import Step
from rootwatch.audit.steps import chained
from rootwatch.audit.store import AuditStore, Changes
from rootwatch.detections.detection import Severity
from rootwatch.errors import DamagedItemError, StoreConflictError
from rootwatch.incident import (
    LONGEST_REASON,
    LONGEST_TICKET,
    AccountState,
    DueAlert,
    Incident,
    Proposal,
    Triage,
    TriageState,
    Why,
    asked_again,
    close_by_triage,
    report_damage,
    severity_told,
    with_incident,
)
from rootwatch.settings import CHANNELS

MOST_TRIES: Final = 12
"""Times an answer is given again after somebody else wrote the account."""

MOST_STEPS: Final = 500
"""Steps of one incident that change no state: notes, and tries of people who may not. Moves are not bounded by it."""

LONGEST_NOTE: Final = 1000


class Action(StrEnum):
    """What a person can do with an incident."""

    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"
    CONFIRM = "confirm"
    SUSPECT = "suspect"
    CONTAIN = "contain"
    CLOSE = "close"
    NOTE = "note"


class StepKind(StrEnum):
    """What a step in the timeline is."""

    ACKNOWLEDGED = "acknowledged"
    PROPOSED = "proposed"
    RESOLVED = "resolved"
    SUSPECTED = "suspected"
    CONTAINED = "contained"
    CLOSED = "closed"
    NOTED = "noted"
    REFUSED = "refused"
    ESCALATED = "escalated"
    ASKED_AGAIN = "asked_again"


_OPEN, _ACKNOWLEDGED, _EXPECTED = TriageState.OPEN, TriageState.ACKNOWLEDGED, TriageState.EXPECTED
_SUSPICIOUS, _CONTAINED, _CLOSED = TriageState.SUSPICIOUS, TriageState.CONTAINED, TriageState.CLOSED

MOVES: Final[Mapping[Action, Mapping[TriageState, TriageState]]] = MappingProxyType(
    {
        Action.ACKNOWLEDGE: MappingProxyType({_OPEN: _ACKNOWLEDGED}),
        Action.RESOLVE: MappingProxyType(dict.fromkeys((_OPEN, _ACKNOWLEDGED, _SUSPICIOUS), _EXPECTED)),
        Action.CONFIRM: MappingProxyType(dict.fromkeys((_OPEN, _ACKNOWLEDGED, _SUSPICIOUS), _EXPECTED)),
        # What was taken for expected may turn out not to be.
        Action.SUSPECT: MappingProxyType(dict.fromkeys((_OPEN, _ACKNOWLEDGED, _EXPECTED), _SUSPICIOUS)),
        Action.CONTAIN: MappingProxyType({_SUSPICIOUS: _CONTAINED}),
        Action.CLOSE: MappingProxyType({_CONTAINED: _CLOSED}),
    }
)
"""From which state an action leads to which; what is not in it is not allowed."""

RESOLVING: Final = frozenset({Action.RESOLVE, Action.CONFIRM, Action.CONTAIN, Action.CLOSE})
"""What only those may do who may resolve: each of them says that something is over."""

_KINDS: Final[Mapping[Action, StepKind]] = MappingProxyType(
    {
        Action.ACKNOWLEDGE: StepKind.ACKNOWLEDGED,
        Action.RESOLVE: StepKind.RESOLVED,
        Action.CONFIRM: StepKind.RESOLVED,
        Action.SUSPECT: StepKind.SUSPECTED,
        Action.CONTAIN: StepKind.CONTAINED,
        Action.CLOSE: StepKind.CLOSED,
        Action.NOTE: StepKind.NOTED,
    }
)


@dataclass(frozen=True, slots=True)
class Person:
    """Who answers. `id` identifies (`slack:T…/U…`, an ARN), `name` is how people know them; see `Step` for the rest.

    `bar` says in words why this person may not resolve, and is empty for whoever may.
    """

    id: str
    name: str
    via: str
    origin: str = ""
    bar: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """What a person wants to do. The texts are as they were typed.

    `seen` is the number of moves that the person saw (`Triage.moves`), and `listed` how much they saw standing on the
    incident (`Incident.listed`); None for whoever asks for the present state whatever it is.
    """

    incident_id: str
    action: Action
    person: Person
    reason: str = ""
    ticket: str = ""
    note: str = ""
    seen: int | None = None
    listed: int | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The action is allowed: how triage stands after it, and what kind of step it is."""

    triage: Triage
    kind: StepKind
    reason: str = ""
    ticket: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """The action is not allowed; `words` say why and what to do. `kept` says that the try belongs into the timeline."""

    words: str
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request: whether it was done, in words, and the incident as it stands now, if there is one."""

    words: str
    incident: Incident | None = None
    done: bool = False


@dataclass(frozen=True, slots=True)
class Desk:
    """Where answers are taken: the store, the clock, and what alerts need that an answer makes due.

    `pause` waits before try number n (from 1) after a conflict. `second_person` asks for a second person before a
    critical incident counts as expected. `deployment` is the stack's name.
    """

    store: AuditStore
    now: Callable[[], datetime]
    pause: Callable[[int], None]
    deployment: str = "rootwatch"
    channels: Sequence[str] = CHANNELS
    custodians: str = ""
    second_person: bool = False
    account_names: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


# --- the table of moves --------------------------------------------------------------------------------------------


def decide(incident: Incident, request: Request, now: datetime, *, second_person: bool = False) -> Done | Refused:
    """Return what a request does to an incident, or why it does nothing. Pure.

    Args:
        incident: the incident as it stands.
        request: what a person wants.
        now: the clock, UTC.
        second_person: whether a critical incident needs a second person to count as expected.

    """
    triage, action = incident.triage, request.action
    too_long = _too_long(request)
    if too_long is not None:
        return too_long
    if action is Action.NOTE:
        has_text = _typed(request.note)
        return Done(_touched(triage, now), StepKind.NOTED) if has_text else Refused("A note needs a text.")
    target = MOVES[action].get(triage.state)
    refused = _out_of_place(incident, request)
    if refused is not None or target is None:
        return refused or Refused(f"{standing(incident)}. {_INSTEAD[triage.state]} Nothing was changed.")
    reason, ticket = _typed(request.reason), _typed(request.ticket)
    if action is Action.CONFIRM and triage.proposal is not None:
        reason, ticket = triage.proposal.reason, triage.proposal.ticket
    if action is Action.RESOLVE and second_person and incident.severity is Severity.CRITICAL:
        made = Proposal(request.person.id, request.person.name, request.person.via, now, reason, ticket)
        waiting = replace(triage, proposal=made, moves=triage.moves + 1)
        return Done(_touched(waiting, now), StepKind.PROPOSED, reason, ticket)
    after = replace(
        triage,
        state=target,
        since=now,
        by=request.person.name,
        moves=triage.moves + 1,
        proposal=None,
        waiting_since=None if target.is_final else now,
        asked=0,
        asking=not target.is_final,
    )
    is_explained = action in {Action.RESOLVE, Action.CONFIRM}
    return Done(after, _KINDS[action], reason if is_explained else "", ticket if is_explained else "")


def _out_of_place(incident: Incident, request: Request) -> Refused | None:
    """Return why a move cannot be made, whatever state it leads to; None where it can."""
    triage, action, person = incident.triage, request.action, request.person
    if request.seen is not None and request.seen != triage.moves:
        return Refused(f"{standing(incident)}: that came after the message you answered. Nothing was changed.")
    if triage.state not in MOVES[action]:
        return None
    if action in RESOLVING and person.bar:
        return Refused(person.bar, kept=True)
    if action is Action.CONFIRM:
        return _not_confirmed(triage.proposal, person) or _not_looked_at(incident, request)
    if action is Action.RESOLVE and not (says_something(request.reason) and says_something(request.ticket)):
        return Refused("A reason and a ticket are required to resolve an incident as expected.")
    return _not_looked_at(incident, request)


def _not_looked_at(incident: Incident, request: Request) -> Refused | None:
    """Return why nobody may call expected what came after they looked: it would be covered, and nobody saw it."""
    is_asked = request.action in {Action.RESOLVE, Action.CONFIRM}
    if not is_asked or request.listed is None or request.listed == incident.listed:
        return None
    sources = addresses(incident.sources) or "no address that is stated"
    by_now = f"By now: root from {sources}; {story(incident)}."
    words = "Something new came after you looked, and this would cover it."
    return Refused(f"{words} {by_now} Nothing was changed: look at it, then begin your answer anew.")


def _too_long(request: Request) -> Refused | None:
    typed = (
        ("reason", request.reason, LONGEST_REASON),
        ("ticket", request.ticket, LONGEST_TICKET),
        ("note", request.note, LONGEST_NOTE),
    )
    for name, text, longest in typed:
        if len(_typed(text)) > longest:
            words = f"The {name} has {len(_typed(text))} characters, {longest} fit: shorten it. Nothing was changed."
            return Refused(words)
    return None


def _not_confirmed(proposal: Proposal | None, person: Person) -> Refused | None:
    if proposal is None:
        return Refused("Nobody proposed to resolve this incident as expected, so there is nothing to confirm.")
    if proposal.by == person.id:
        return Refused("You proposed it yourself: a second person has to confirm it.")
    if proposal.via != person.via:
        # One person may be known on Slack and to AWS, and nobody can tell.
        there = {"slack": "on Slack", "aws": "by the command"}.get(proposal.via, shown(proposal.via, 20))
        return Refused(f"{_name(proposal.by_name)} proposed it {there}: confirm it {there}, too.")
    return None


_INSTEAD: Final[Mapping[TriageState, str]] = MappingProxyType(
    {
        _OPEN: "It can be acknowledged, resolved as expected, or called suspicious.",
        _ACKNOWLEDGED: "It can be resolved as expected, or called suspicious.",
        _EXPECTED: "It can be called suspicious after all; news opens it again by itself.",
        _SUSPICIOUS: "It can be contained, or resolved as expected after all.",
        _CONTAINED: "It can be closed; whatever root does alerts again by itself.",
        _CLOSED: "Whatever root does alerts again by itself.",
    }
)
"""What can be done in each state."""


def _touched(triage: Triage, now: datetime) -> Triage:
    """Return triage of which somebody took care just now: the time until the next question begins anew."""
    if triage.state.is_final or triage.state is _OPEN or triage.waiting_since is None:
        return triage
    return replace(triage, waiting_since=now, asked=0, asking=True)


def _typed(text: str) -> str:
    """Return text as somebody typed it, on one line; whoever shows it cleans it."""
    return " ".join(text.split())


def _name(name: str) -> str:
    return shown(name, 80)


# --- one answer ----------------------------------------------------------------------------------------------------


def answer(desk: Desk, request: Request) -> Answer:
    """Do what a person wants with an incident, if it is allowed; write state, step, head and what is due at once.

    Raises:
        StoreConflictError: somebody else wrote the account each of `MOST_TRIES` times; a retry helps.
        StoreError: the table could not be read or written; the write may have taken effect.

    """
    for attempt in range(1, MOST_TRIES):
        try:
            return _answer_once(desk, request)
        except StoreConflictError:
            desk.pause(attempt)
    return _answer_once(desk, request)


def _answer_once(desk: Desk, request: Request) -> Answer:
    now = desk.now()
    unknown = Answer(f"There is no incident {shown(request.incident_id, 40)} in {desk.deployment}.")
    try:
        found = desk.store.incident(request.incident_id)
        if found is None:
            return unknown
        before = desk.store.read_account_of(found, now)
    except DamagedItemError as error:
        return Answer(f"{error} Nothing was changed.")
    incident = next((each for each in (*before.incidents, *before.closed) if each.id == found.id), None)
    if incident is None:  # altered between the two reads
        return unknown
    decision = decide(incident, request, now, second_person=desk.second_person)
    if isinstance(decision, Refused):
        if decision.kept and incident.triage.steps < MOST_STEPS:
            kept = Done(incident.triage, StepKind.REFUSED)
            _write(desk, before, incident, kept, request, now)
        return Answer(decision.words, incident)
    if decision.kind is StepKind.NOTED and incident.triage.steps >= MOST_STEPS:
        return Answer(f"This incident has {MOST_STEPS} steps already: keep further notes in the ticket.", incident)
    after = _write(desk, before, incident, decision, request, now)
    return Answer(done_words(decision.kind, after), after, done=True)


def _write(  # noqa: PLR0913, PLR0917 - what one answer is made of
    desk: Desk, before: AccountState, incident: Incident, done: Done, request: Request, now: datetime
) -> Incident:
    """Write one step with all that follows from it, and return the incident as it is then."""
    person = request.person
    triage = replace(done.triage, steps=incident.triage.steps + 1)
    step = Step(
        incident_id=incident.id,
        account_id=incident.account_id,
        number=triage.steps,
        at=now,
        kind=str(done.kind) if done.kind is not StepKind.REFUSED else f"{StepKind.REFUSED}:{request.action}",
        by=person.id,
        by_name=person.name,
        via=person.via,
        before=incident.triage.state,
        after=triage.state,
        origin=person.origin,
        note=_typed(request.note),
        reason=done.reason,
        ticket=done.ticket,
    )
    return write_step(desk, before, replace(incident, triage=triage), step, now)


def write_step(  # noqa: PLR0913, PLR0917 - what one step is made of
    desk: Desk,
    before: AccountState,
    incident: Incident,
    step: Step | None,
    now: datetime,
    due: Sequence[DueAlert] = (),
) -> Incident:
    """Write an incident, a step of it, if there is one, and the alerts due with it; return the incident as it is then.

    The step is joined to the one before it here.

    Raises:
        StoreConflictError: somebody else wrote the account; nothing was written.
        StoreError: as the store says.

    """
    if step is not None:
        step = chained(step, incident.triage.chain)
        incident = replace(incident, triage=replace(incident.triage, chain=step.chain))
    damage = report_damage(before, now)
    state, alerts = damage.state, [*damage.alerts, *due]
    if step is not None and step.after is _CONTAINED and step.before is not _CONTAINED:
        # None of the sessions that the account knows should be alive: whichever acts is news, however long it waited.
        state = replace(state, lineages=())
    told_of = next((each for each in damage.changed if each.id == incident.id), None)
    if told_of is not None:  # it is the one that tells of damage, and there is more of it
        incident = replace(told_of, triage=incident.triage)
    if step is not None and step.after.is_final and step.after is not step.before:
        incident, told = close_by_triage(state, incident, now)
        alerts += told
    name = desk.account_names.get(incident.account_id)
    composed = [compose(replace(each, account_name=name), desk.custodians) for each in alerts]
    changed = {each.id: each for each in (*damage.changed, incident)}
    changes = Changes(
        accounts=[(before, with_incident(state, incident))],
        events=(),
        incidents=list(changed.values()),
        alerts=composed,
        steps=[step] if step is not None else (),
    )
    desk.store.write_account(changes, now, desk.channels)
    return incident


_DONE: Final[Mapping[StepKind, str]] = MappingProxyType(
    {
        StepKind.ACKNOWLEDGED: "You have it: the escalation is stopped. Say what it was, or you are asked again.",
        StepKind.PROPOSED: "Proposed as expected. It is critical: a second person has to confirm it.",
        StepKind.RESOLVED: "Resolved as expected. It covers root from {sources} in the sessions so far, nothing else.",
        StepKind.SUSPECTED: "Marked as suspicious. Contain the account (runbook), then say so.",
        StepKind.CONTAINED: "Contained. Whatever root does from now on alerts again, however small it is.",
        StepKind.CLOSED: "Closed.",
        StepKind.NOTED: "The note is in the timeline.",
    }
)


def done_words(kind: StepKind, incident: Incident) -> str:
    """Return what whoever took a step is told."""
    words = _DONE[kind].format(sources=addresses(incident.sources) or "no address that is stated")
    return f"{words} ({incident.id})"


# --- questions -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Escalation:
    """When people are asked: after how long nobody answered, by severity, and how long whoever took it may be silent.

    `ask_again` is None where nobody is asked again.
    """

    after: Mapping[Severity, Sequence[timedelta]]
    ask_again: timedelta | None


MOST_ASKED_AGAIN: Final = 6
"""How often whoever took an incident and is silent is asked again, until they take a step."""


def question_times(incident: Incident, escalation: Escalation) -> list[datetime]:
    """Return the moments (UTC) at which people are asked about an incident as it stands, asked or not yet. Pure."""
    triage = incident.triage
    if not triage.asking or triage.waiting_since is None or triage.state.is_final:
        return []
    if triage.state is _OPEN:
        # As severe as it is told: what was announced wakes nobody a second time for it.
        spans = escalation.after.get(severity_told(incident), ())
    elif escalation.ask_again is not None:
        spans = [escalation.ask_again * number for number in range(1, MOST_ASKED_AGAIN + 1)]
    else:
        spans = ()
    return [triage.waiting_since + span for span in spans]


def ask(desk: Desk, incident_id: str, escalation: Escalation) -> bool:
    """Ask people about an incident if that is due, once however often it was due; return whether they were asked.

    An incident about which nobody will be asked any more leaves the index `unanswered`.

    Raises:
        StoreConflictError: somebody else wrote the account; the next run asks.
        StoreError: as the store says.

    """
    now = desk.now()
    incident = desk.store.incident(incident_id)
    if incident is None or not incident.triage.asking:
        return False  # the index was behind
    if _due(incident, escalation, now) <= incident.triage.asked and not _is_over(incident, escalation, now):
        return False
    before = desk.store.read_account_of(incident, now)
    incident = next((each for each in (*before.incidents, *before.closed) if each.id == incident_id), incident)
    due, triage = _due(incident, escalation, now), incident.triage
    if due <= triage.asked:
        if _is_over(incident, escalation, now):
            write_step(desk, before, replace(incident, triage=replace(triage, asking=False)), None, now)
        return False
    is_open = triage.state is _OPEN
    kind, why = (StepKind.ESCALATED, Why.UNANSWERED) if is_open else (StepKind.ASKED_AGAIN, Why.SILENT)
    asked, alert = asked_again(before, incident, now, why, due)
    steps = triage.steps + 1
    step = Step(
        incident_id=incident.id,
        account_id=incident.account_id,
        number=steps,
        at=now,
        kind=str(kind),
        by="watchdog",
        by_name="the watchdog",
        via="watchdog",
        before=triage.state,
        after=triage.state,
        note=f"{due} of {len(question_times(incident, escalation))}",
    )
    write_step(desk, before, replace(asked, triage=replace(asked.triage, steps=steps)), step, now, [alert])
    return True


def _due(incident: Incident, escalation: Escalation, now: datetime) -> int:
    return sum(moment <= now for moment in question_times(incident, escalation))


def _is_over(incident: Incident, escalation: Escalation, now: datetime) -> bool:
    """Return whether nobody will be asked any more; where nobody ever is, that is noted only after a day."""
    triage, count = incident.triage, len(question_times(incident, escalation))
    if not triage.asking or triage.waiting_since is None:
        return False
    return count <= triage.asked if count else now - triage.waiting_since > NOTED_AFTER


NOTED_AFTER: Final = timedelta(hours=24)


# --- steps in words ------------------------------------------------------------------------------------------------

_STEP_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        StepKind.ACKNOWLEDGED: "{by} is on it",
        StepKind.PROPOSED: "{by} proposes that it was expected; a second person has to confirm it",
        StepKind.RESOLVED: "{by} resolved it as expected",
        StepKind.SUSPECTED: "{by} calls it suspicious",
        StepKind.CONTAINED: "{by} says that it is contained",
        StepKind.CLOSED: "{by} closed it",
        StepKind.NOTED: "{by} noted",
        StepKind.ESCALATED: "Escalated: nobody answered",
        StepKind.ASKED_AGAIN: "Asked again: whoever has it was silent",
    }
)


TOLD_BY_ALERT: Final = frozenset({str(StepKind.ESCALATED), str(StepKind.ASKED_AGAIN)})
"""Kinds of steps that an alert tells of, so that no channel has to."""


def step_words(step: Step) -> str:
    """Return a step on one line; what people typed is cleaned, and cannot be mistaken for words of ours."""
    kind, _, action = step.kind.partition(":")
    by = _name(step.by_name or step.by)
    if kind == StepKind.REFUSED:
        words = f"{by} tried to {shown(action, 20)} it, and may not"
    else:
        words = _STEP_WORDS.get(kind, f"{{by}} did something unknown ({shown(kind, 20)})").format(by=by)
    if step.ticket or step.reason:
        words += f': {shown(step.ticket, LONGEST_TICKET)} "{shown(step.reason, LONGEST_REASON)}"'
    if step.note:
        note = shown(step.note, LONGEST_NOTE)
        words += f" ({note})" if step.via == "watchdog" else f': "{note}"'
    way = {"slack": "on Slack", "aws": "by the command", "watchdog": ""}.get(step.via, shown(step.via, 20))
    return f"{words} ({way})" if way else words


# --- how long it took ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Response:
    """When an incident's first act happened, people were told, one of them took it, and it was over; UTC.

    What has not happened is None. `told_at` is when the first alert became due; when it arrived is in its ledger.
    """

    acted_at: datetime
    told_at: datetime | None
    acknowledged_at: datetime | None
    closed_at: datetime | None


def response(incident: Incident, steps: Sequence[Step]) -> Response:
    """Return how an incident was answered. Pure.

    Any first move of a person counts as taking it. It is over with the last move to a final state, unless news, or a
    person, opened it again.
    """
    by_people = [step for step in sorted(steps, key=lambda step: (step.at, step.number)) if step.via != "watchdog"]
    moved = [step for step in by_people if step.after is not step.before]
    over = [step for step in moved if step.after.is_final]
    return Response(
        acted_at=incident.opened_at,
        told_at=incident.triage.alerted_at,
        acknowledged_at=moved[0].at if moved else None,
        closed_at=over[-1].at if over and incident.triage.state.is_final else None,
    )
