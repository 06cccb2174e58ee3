"""Where answers come in: a button on Slack, or the command. Who it is gets proved first, then `triage` decides.

What is asked of a request, in this order: size and time, which need no secret; the signature over the raw body; that
it came for the first time; what it says. Nothing of a body is ever logged. Slack gives us three seconds, from a cold
start: the state is written, and whoever pressed is told; the channel's messages follow through the table's stream.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from rootwatch import caller_proof
from rootwatch.alert import shown
from rootwatch.audit.items import alert_of, step_of
from rootwatch.audit.table import key_of
from rootwatch.channels import slack_buttons
from rootwatch.channels.slack_buttons import Subject, subject_of
from rootwatch.channels.slack_request import (
    Interaction,
    Kind,
    check_signature,
    interaction,
    is_of_slack,
    signed_request,
    signing_secret,
)
from rootwatch.errors import DamagedItemError, DeliveryError, RequestRefusedError
from rootwatch.incident import Incident
from rootwatch.triage import Action, Desk, Person, Refused, Request, answer, decide, step_words

_JSON: Final = {"Content-Type": "application/json; charset=utf-8"}
_ACTIONS: Final[Mapping[str, Action]] = {f"{slack_buttons.PREFIX}{action}": action for action in Action}
_TIMELINE: Final = f"{slack_buttons.PREFIX}{slack_buttons.TIMELINE}"
_FORM: Final = f"{slack_buttons.PREFIX}{slack_buttons.FORM}"
_CANCEL: Final = f"{slack_buttons.PREFIX}{slack_buttons.CANCEL}"


class Slack(Protocol):
    """What a press needs of Slack, within the seconds that it has. The errors of both are `DeliveryError`."""

    @property
    def has_bot(self) -> bool:
        """Return whether a modal can be opened."""

    def open_modal(self, trigger_id: str, view: Mapping[str, Any]) -> None:
        """Open a modal for whoever pressed."""

    def respond(self, response_url: str, message: Mapping[str, Any]) -> None:
        """Answer a press at the address that came with it, which was found to be Slack's."""


@dataclass(frozen=True, slots=True)
class Reception:
    """What `functions/triage` works with.

    `secret` fetches Slack's secret, once a request is worth it. `resolvers` are the ids of the Slack users who may
    resolve. `identify` asks AWS whose credentials signed a request, and returns status and body of its answer;
    `function_name` is this function's. `note` takes what went wrong without changing what was done, in words of ours.
    """

    desk: Desk
    secret: Callable[[], object]
    slack: Callable[[object], Slack]
    slack_origin: str
    resolvers: Sequence[str]
    note: Callable[[str], None]
    identify: Callable[[Mapping[str, str]], tuple[int, str]] = lambda _headers: (0, "")
    function_name: str = ""


def take_in(event: Mapping[str, Any], reception: Reception, function_arn: str) -> tuple[dict[str, Any], str]:
    """Do all that `functions/triage` does with an event: return the answer, and the name of what is counted of it.

    What comes through the function URL always has a `requestContext`, which nobody outside can leave away, and is
    judged as Slack's whatever else it holds.

    Raises:
        StoreError, DeliveryError: as `receive` and `receive_command`.

    """
    if "command" in event and "requestContext" not in event:
        answered = receive_command(event, reception, function_arn.split(":")[4])
        return answered, "CommandsDone" if answered["done"] else "CommandsRefused"
    answered = receive(event, reception)
    return answered, f"Requests{answered['statusCode']}"


def receive_command(event: Mapping[str, Any], reception: Reception, account_id: str) -> dict[str, Any]:
    """Take an answer that somebody gives by the command, and return what became of it.

    Args:
        event: `{"command": {…}, "proof": {header: value}}`; see `caller_proof`.
        reception: what it takes.
        account_id: the account of this function: nobody else's credentials count.

    Returns:
        `done`, `words`, and the incident's state and moves as they are now, None where there is no such incident.

    Raises:
        StoreError: the table could not be read or written.

    """
    desk, command = reception.desk, event.get("command")
    try:
        if not isinstance(command, Mapping):
            raise RequestRefusedError(_BAD_REQUEST, "it has no command")  # noqa: TRY301 - the first of its checks
        expected = caller_proof.digest(command, reception.function_name)
        headers, key, signature = caller_proof.checked(event.get("proof"), expected, desk.now())
        arn = caller_proof.caller_of(*reception.identify(headers))
        _check_first(desk, hashlib.sha256(signature.encode()).hexdigest())
        request = _command(command, _caller(arn, key, account_id))
    except RequestRefusedError as error:
        reception.note(f"A command was refused ({error.status}): {error}.")
        return {"done": False, "words": f"The command was refused: {error}.", "state": None, "moves": None}
    result = answer(desk, request)
    triage = result.incident.triage if result.incident else None
    return {
        "done": result.done,
        "words": result.words,
        "state": str(triage.state) if triage else None,
        "moves": triage.moves if triage else None,
    }


_BAD_REQUEST: Final = 400


def _caller(arn: str, access_key_id: str, account_id: str) -> Person:
    *_, account, name = arn.split(":", 5)
    if account != account_id:
        raise RequestRefusedError(_UNAUTHORIZED, f"the credentials are of another account than {account_id}")
    if name == "root":
        raise RequestRefusedError(_UNAUTHORIZED, "root answers for nobody: use a role or an IAM user")
    return Person(arn, _called(name), "aws", f"access key {access_key_id}")


def _called(name: str) -> str:
    """Return how people know whom an ARN names, the person first: "dana (role Responder)", "dana (IAM user)".

    A role of IAM Identity Center has a name so long that nothing of the person would be left behind it.
    """
    kind, _, rest = name.partition("/")
    path, _, person = rest.rpartition("/")
    if kind == "assumed-role":
        return f"{person} (role {path})"
    return f"{person} (IAM user)" if kind == "user" else name


def _command(command: Mapping[str, Any], person: Person) -> Request:
    def text(name: str) -> str:
        value = command.get(name, "")
        if not isinstance(value, str):
            raise RequestRefusedError(_BAD_REQUEST, f"its {name} is no text")
        return value

    seen, action = command.get("seen"), text("action")
    if action not in set(Action) or not (seen is None or (isinstance(seen, int) and not isinstance(seen, bool))):
        raise RequestRefusedError(_BAD_REQUEST, "it asks for nothing that we know")
    incident_id = text("incident_id")
    if not _INCIDENT.fullmatch(incident_id):
        raise RequestRefusedError(_BAD_REQUEST, "it names no incident")
    return Request(incident_id, Action(action), person, text("reason"), text("ticket"), text("note"), seen)


_INCIDENT: Final = re.compile(r"[0-9]{8}-[0-9a-f]{10}", re.ASCII)


def receive(event: Mapping[str, Any], reception: Reception) -> dict[str, Any]:
    """Take what a function URL hands over and return the answer of the URL.

    Args:
        event: payload format 2.0, https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html
        reception: what it takes.

    Raises:
        StoreError: the table could not be read or written; whoever pressed sees that it did not work.
        DeliveryError: Slack's secret cannot be read.

    """
    desk = reception.desk
    try:
        request = signed_request(event, desk.now())
        secret = reception.secret()
        check_signature(request, signing_secret(secret))
        _check_first(desk, request.digest)
        found = interaction(request.body)
    except RequestRefusedError as error:
        reception.note(f"A request was refused ({error.status}): {error}.")
        return {"statusCode": error.status, "headers": {"Content-Type": "text/plain"}, "body": "refused"}
    return _Press(reception, found, secret).answer()


def _check_first(desk: Desk, digest: str) -> None:
    if not desk.store.is_first(digest, desk.now()):
        raise RequestRefusedError(_UNAUTHORIZED, "it came before")


_UNAUTHORIZED: Final = 401


class _Press:
    """One interaction on its way to an answer."""

    def __init__(self, reception: Reception, found: Interaction, secret: object) -> None:
        self._reception, self._found, self._secret = reception, found, secret
        self._desk = reception.desk
        self._subject = subject_of(found.value)

    def answer(self) -> dict[str, Any]:
        """Do what the button says, and return what Slack is answered."""
        found, subject = self._found, self._subject
        if subject is None or found.action not in {*_ACTIONS, _TIMELINE, _FORM, _CANCEL}:
            return self._told("This button is none of Rootwatch's.")
        if subject.deployment != self._desk.deployment:
            theirs = shown(subject.deployment, 128)
            return self._told(f"This button belongs to the deployment {theirs}, here is {self._desk.deployment}.")
        if found.action == _CANCEL:
            return self._done()
        if found.action == _TIMELINE:
            return self._timeline(subject)
        return self._move(subject)

    def _move(self, subject: Subject) -> dict[str, Any]:
        if self._found.action == _FORM or self._found.kind is Kind.SUBMITTED:
            return self._resolved(subject)
        action = _ACTIONS[self._found.action]
        return self._asked_why(subject) if action is Action.RESOLVE else self._answered(self._request(subject, action))

    def _request(self, subject: Subject, action: Action, reason: str = "", ticket: str = "") -> Request:
        found = self._found
        origin = f"Slack channel {found.channel_id}" if found.channel_id else "a modal on Slack"
        person = Person(f"slack:{found.team_id}/{found.user_id}", found.user_name, "slack", origin, self._bar())
        seen, listed = subject.moves, subject.listed
        return Request(subject.incident_id, action, person, reason, ticket, seen=seen, listed=listed)

    def _bar(self) -> str:
        resolvers = self._reception.resolvers
        if self._found.user_id in resolvers:
            return ""
        who = (
            f"You ({self._found.user_id}) are not among those who may resolve on Slack (the parameter SlackResolvers)"
            if resolvers
            else "Nobody may resolve on Slack: the parameter SlackResolvers is empty"
        )
        return f"{who}. Your try was recorded; rootwatch resolve works with AWS credentials that may."

    # --- what each button does -------------------------------------------------------------------------------------

    def _answered(self, request: Request) -> dict[str, Any]:
        result, incident = answer(self._desk, request), None
        if result.incident is not None and request.listed not in {None, result.incident.listed}:
            incident = result.incident  # the button was older than what stands on it now: here are those of now
        # Who succeeds sees it in the channel; who does not is told alone.
        return self._done() if result.done else self._told(result.words, incident)

    def _asked_why(self, subject: Subject) -> dict[str, Any]:
        """Ask for reason and ticket, or say at once why there is nothing to ask."""
        # What came after the message with the button is on the modal.
        request = replace(self._request(subject, Action.RESOLVE, "asked", "asked"), listed=None)
        if request.person.bar:
            return self._answered(request)  # refused, and kept in the timeline
        incident = self._incident(subject)
        if isinstance(incident, str):
            return self._told(incident)
        decision = decide(incident, request, self._desk.now(), second_person=self._desk.second_person)
        if isinstance(decision, Refused):
            return self._told(decision.words)
        subject = replace(subject, listed=incident.listed)
        slack, trigger_id = self._slack(), self._found.trigger_id
        if not slack.has_bot or trigger_id is None:
            return self._responded(slack_buttons.form(incident, subject))
        try:
            slack.open_modal(trigger_id, slack_buttons.modal(incident, subject))
        except DeliveryError as error:
            self._reception.note(f"The modal could not be opened: {error}")
            return self._responded(slack_buttons.form(incident, subject))
        return _ok()

    def _resolved(self, subject: Subject) -> dict[str, Any]:
        typed = self._found.typed
        is_modal = self._found.kind is Kind.SUBMITTED
        faults = slack_buttons.to_mend(typed)
        if faults:
            words = " ".join(faults.values())
            return _ok({"response_action": "errors", "errors": faults}) if is_modal else self._told(words)
        reason, ticket = typed[slack_buttons.REASON], typed[slack_buttons.TICKET]
        result = answer(self._desk, self._request(subject, Action.RESOLVE, reason, ticket))
        if is_modal:
            return _ok() if result.done else _ok(slack_buttons.told_in_modal(result.words))
        return self._done() if result.done else self._told(result.words)

    def _timeline(self, subject: Subject) -> dict[str, Any]:
        incident = self._incident(subject)
        if isinstance(incident, str):
            return self._told(incident)
        return self._told(slack_buttons.timeline_words(incident, _lines(self._desk, incident)))

    def _incident(self, subject: Subject) -> Incident | str:
        try:
            incident = self._desk.store.incident(subject.incident_id)
        except DamagedItemError as error:
            return str(error)
        return incident or f"There is no incident {subject.incident_id} in {self._desk.deployment}."

    # --- how whoever pressed is told -------------------------------------------------------------------------------

    def _slack(self) -> Slack:
        return self._reception.slack(self._secret)

    def _done(self) -> dict[str, Any]:
        if self._found.action in {_FORM, _CANCEL}:
            return self._responded({"delete_original": True})  # the form has done its work
        return _ok()

    def _told(self, words: str, incident: Incident | None = None) -> dict[str, Any]:
        """Tell whoever pressed, with the buttons of an incident as it stands now where one is given."""
        if self._found.kind is Kind.SUBMITTED:
            return _ok(slack_buttons.told_in_modal(words))
        blocks = slack_buttons.buttons(incident, self._desk.deployment) if incident is not None else ()
        return self._responded(slack_buttons.told(words, blocks))

    def _responded(self, message: Mapping[str, Any]) -> dict[str, Any]:
        url = self._found.response_url
        if url is None or not is_of_slack(url, self._reception.slack_origin):
            self._reception.note("Whoever pressed was not told: the address to answer at is not Slack's.")
            return _ok()
        try:
            self._slack().respond(url, message)
        except DeliveryError as error:
            self._reception.note(f"Whoever pressed was not told: {error}")
        return _ok()


def _ok(document: Mapping[str, Any] | None = None) -> dict[str, Any]:
    if document is None:
        return {"statusCode": 200, "body": ""}
    return {"statusCode": 200, "headers": _JSON, "body": json.dumps(document, ensure_ascii=True)}


def _lines(desk: Desk, incident: Incident) -> list[str]:
    """Return an incident's alerts and steps by their time, a line each."""
    found: list[tuple[Any, str]] = []
    for item in desk.store.incident_items(incident.id):
        sk = key_of(item).sk
        try:
            if sk.startswith("ALERT#"):
                alert = alert_of(item)
                found.append((alert.time, f"alert {alert.number}: {shown(alert.headline, 240)}"))
            elif sk.startswith("STEP#"):
                step = step_of(item)
                found.append((step.at, step_words(step)))
        except DamagedItemError as error:
            found.append((incident.opened_at, str(error)))
    return [f"{at:%m-%d %H:%M:%S} {words}" for at, words in sorted(found, key=lambda each: each[0])]
