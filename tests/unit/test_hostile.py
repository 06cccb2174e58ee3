"""Every string that leaves Rootwatch, with hostile text in every place that somebody else can write to: no mention, no
link, no forged line, nothing hidden, and no limit broken, on Slack, in mail, SMS, logs and on the terminal.

The limits are in `limits.py`, the texts in `tests/builders/hostile.py`. What the report and the evidence make of such
texts is in their own tests.
"""

import dataclasses
import io
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, Final, cast

import pytest
from click.testing import Result
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from functions.detect import app as detect
from functions.notify_slack import app as notify_slack
from functions.triage import app as triage
from rootwatch import wiring
from rootwatch.alert import Alert, compose
from rootwatch.audit.items import Attempt, Delivery, DeliveryState, delivery_key
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Item, Key, Put, key_of
from rootwatch.channels import notice, slack, slack_buttons, sns
from rootwatch.channels.notice import Notice
from rootwatch.channels.slack_buttons import Subject
from rootwatch.context.observation import observe
from rootwatch.coverage import Place
from rootwatch.delivery import Sent, deliver
from rootwatch.errors import DeliveryFailedError, NothingDeliveredError
from rootwatch.incident import AccountState, DueAlert, Incident, fold, tick
from rootwatch.pipeline import detect_messages
from rootwatch.proof import heard_again_notice, new_places_notice, quiet_notice
from rootwatch.reception import Reception
from rootwatch.record import read_envelope
from rootwatch.triage import Action, Desk, Person, Request, answer, step_words
from rootwatch.watchdog import Channel, LetterQueue, letters_notice, undelivered_notice
from rootwatch_cli import deployed, redrive
from rootwatch_cli.dead_letters import Letter, Queue
from rootwatch_cli.demo import mail_message, slack_message
from rootwatch_cli.deployed import DeployedStack
from rootwatch_cli.doctor.deployment import Question
from rootwatch_cli.main import app
from rootwatch_cli.redrive import NotMovedError, Redrive
from rootwatch_cli.slack_receiver import modal_problem, problem_with
from tests.builders import all_specimens, as_sqs_event, build_envelope
from tests.builders.deployments import sound_deployment, with_answer
from tests.builders.hostile import ATTACKS, FORGED
from tests.contracts.world import Context
from tests.unit.limits import (
    check_line,
    check_lines,
    check_log,
    check_modal,
    check_nothing_hidden,
    check_slack,
    check_sns,
    check_tame_on_slack,
    check_tame_on_sns,
    texts_of,
)
from tests.unit.workbench import ACCOUNT, IDLE, NOW, OWN, TOPIC, CheckedTable, make_message, make_recorder

pytestmark = pytest.mark.filterwarnings(
    "ignore:Generating overly large repr", "ignore:No application metrics to publish"
)


def drawn(examples: int) -> settings:
    """So many examples; what fails is shown as it was drawn, since to shrink a text of 100 KB takes minutes."""
    return settings(max_examples=examples, phases=(Phase.explicit, Phase.reuse, Phase.generate))


RUNBOOK: Final = "https://runbook.example.com/root#alerts"
CHANNEL: Final = ("<!channel> ", f"<{RUNBOOK}|Runbook>")
"""The one mention and the one link that are ours."""
PLACES: Final = (
    "eventName", "eventSource", "awsRegion", "userAgent", "sourceIPAddress", "errorCode", "errorMessage", "eventID",
    "addendum", "requestParameters", "responseElements", "additionalEventData", "userIdentity.accessKeyId",
    "userIdentity.arn", "userIdentity.principalId", "userIdentity.sessionContext", "recipientAccountId", "eventType",
    "vpcEndpointId", "tlsDetails",
)  # fmt: skip
"""What a record states; whoever signs a request chooses much of it, and who puts an event on a bus chooses all."""


def envelope_of(specimen: str, text: str, places: tuple[str, ...], *, number: int = 0) -> dict[str, Any]:
    """A specimen in which these places hold the text; where a place holds an object, all that is in it."""
    nested: dict[str, Any] = {
        "addendum": {"reason": text},
        "requestParameters": dict.fromkeys(
            ("userName", "targetPrincipal", "accountId", "bucketName", "name", "policyDocument", "roleName"), text
        ),
        "responseElements": {"ConsoleLogin": text, "credentials": {"accessKeyId": text}, text[:40] or "x": text},
        "additionalEventData": {"MFAUsed": text, "LoginTo": text, "MFAIdentifier": text},
        "userIdentity.sessionContext": {"attributes": {"creationDate": text, "mfaAuthenticated": text}},
        "tlsDetails": {"clientProvidedHostHeader": text},
    }
    return build_envelope(specimen, number=number, **{place: nested.get(place, text) for place in places})


def due_of(envelope: Mapping[str, Any]) -> list[DueAlert]:
    """Every alert of a record, those included that time makes due."""
    observation = observe(read_envelope(envelope), OWN, sent_at=NOW)
    if not observation.relevant:
        return []
    outcome = fold(AccountState(ACCOUNT), observation, NOW, idle=IDLE)
    return [*outcome.alerts, *tick(outcome.state, NOW + timedelta(days=2), idle=IDLE).alerts]


ENVELOPES: Final = st.builds(
    envelope_of,
    st.sampled_from([name for name in all_specimens() if not name.startswith(("silent/", "near_misses/"))]),
    ATTACKS,
    st.lists(st.sampled_from(PLACES), min_size=1, max_size=len(PLACES), unique=True).map(tuple),
)


def check_message(message: Mapping[str, Any]) -> None:
    """A message is one that Slack takes, by the limits and by the local receiver, and nothing in it does harm."""
    check_slack(message)
    assert problem_with(message) is None
    check_tame_on_slack(message, CHANNEL)


# --- what a record becomes --------------------------------------------------------------------------------------------


@drawn(120)
@given(ENVELOPES)
def test_an_alert_stays_tame_in_every_form_on_every_channel(envelope: dict[str, Any]) -> None:
    """Webhook with and without buttons, text without blocks, bare line, thread's first message; mail, subject, SMS."""
    for due in due_of(envelope):
        alert = compose(due)
        buttons = slack_buttons.buttons(due.incident, "rootwatch")
        for message in (
            slack.payload(alert, RUNBOOK, buttons),
            slack.payload(alert),
            slack.plain_payload(alert),
            slack.bare_payload(alert),
            slack.parent_payload(alert, due.incident, buttons),
            slack.parent_payload(alert, None),
        ):
            check_message(message)
        for arguments in (
            dict(sns.publish_arguments(alert, TOPIC, RUNBOOK)),
            dict(sns.bare_arguments(alert, TOPIC)),
        ):
            check_sns(arguments)
            check_tame_on_sns(arguments, FORGED)


@drawn(30)
@given(ATTACKS, ATTACKS)
def test_what_is_known_around_an_act_stays_tame(name: str, owner: str) -> None:
    """The account's name, and the owner and country of a network, are somebody else's words, too."""
    [due, *_] = due_of(build_envelope("console_login_without_mfa", sourceIPAddress="203.0.113.7"))
    assert due.observation is not None
    source = dataclasses.replace(due.observation.source, owner=owner, country=owner, trusted=True)
    due = dataclasses.replace(due, observation=dataclasses.replace(due.observation, source=source), account_name=name)
    alert = compose(due)
    check_message(slack.payload(alert, RUNBOOK))
    check_message(slack.parent_payload(alert, due.incident))
    arguments = dict(sns.publish_arguments(alert, TOPIC, RUNBOOK))
    check_sns(arguments)
    check_tame_on_sns(arguments, FORGED)


# --- what people answer, and what the watch says of itself ------------------------------------------------------------


@drawn(30)
@given(ATTACKS, st.sampled_from(Action), st.integers(0, 10**6))
def test_what_people_typed_stays_tame(text: str, action: Action, moves: int) -> None:
    """Buttons, modal, form, answers to one person, the step in the channel and the timeline, whoever typed what."""
    [due, *_] = due_of(envelope_of("console_login_without_mfa", text, ("sourceIPAddress", "eventName")))
    store = AuditStore(CheckedTable())
    detect_messages([make_message(build_envelope("console_login_without_mfa"))], make_recorder(store._table))
    [incident_id] = store.open_incidents()
    desk = Desk(store, lambda: NOW, lambda _attempt: None)
    person = Person(f"slack:{text}"[:80], text, "slack", text)
    answered = answer(desk, Request(incident_id, action, person, reason=text, ticket=text, note=text))
    incident = dataclasses.replace(due.incident, triage=_stored(store, incident_id).triage)
    lines = [step_words(step) for step in store.steps(incident_id)]
    words = [answered.words, *lines, slack_buttons.timeline_words(incident, lines * 200)]
    for each in words:
        check_message(slack_buttons.told(each))
        check_modal(slack_buttons.told_in_modal(each)["view"])
        check_message(slack_buttons.step_message(each[:2900], incident, "rootwatch"))
    for line in lines:
        check_line(line)
    subject = Subject("r" * 128, incident_id, moves)
    view = slack_buttons.modal(incident, subject)
    check_modal(view)
    assert modal_problem(view) is None
    for line in texts_of(view["blocks"]):
        check_line(line)
    check_message(slack_buttons.form(incident, subject))


def _stored(store: AuditStore, incident_id: str) -> Incident:
    found = store.incident(incident_id)
    assert found is not None
    return found


@drawn(30)
@given(ATTACKS, st.integers(1, 40))
def test_a_notice_about_the_watch_itself_stays_tame(text: str, count: int) -> None:
    """What a ledger, a queue, or a place in an account that nobody knows says of itself is shown, and no more."""
    attempt = Attempt(NOW, text)
    ledgers = [Delivery(text, text, text, 1, NOW, DeliveryState.FAILED, (attempt,)), None]
    channel = Channel("slack", "Slack", "the secret", lambda _: None, lambda _: None, 1, lambda: None)  # type: ignore[arg-type,return-value] # it sends nothing
    places = [Place(text, f"{text}{number}", NOW - timedelta(days=1), NOW) for number in range(count)]
    notices = [
        undelivered_notice(channel, ledgers, count, 1, NOW),
        letters_notice(LetterQueue("intake", "rootwatch-intake-dead-letter", lambda: count), count, NOW),
        *(make(places, NOW) for make in (quiet_notice, heard_again_notice, new_places_notice)),
    ]
    for each in notices:
        check_notice(each)


def check_notice(each: Notice) -> None:
    """A notice is one that Slack and SNS take."""
    message = notice.slack_payload(each)
    check_message(message)
    arguments = dict(notice.sns_arguments(each, TOPIC))
    check_sns(arguments)
    check_tame_on_sns(arguments, FORGED)


# --- logs -------------------------------------------------------------------------------------------------------------


@drawn(25)
@given(ENVELOPES.map(json.dumps) | ATTACKS, ATTACKS)
def test_every_line_of_a_log_is_one_json_object(body: str, text: str) -> None:
    """Whatever a message holds, a channel answers or a request says: one object a line, and our own words besides."""
    table = CheckedTable()
    recorder, letters = make_recorder(table), list[str]()
    notifier = wiring.Notifier(recorder.store, _failing(text), lambda *each: letters.append(str(each)), _failing(text))
    reception = _reception(recorder.store)
    with pytest.MonkeyPatch.context() as patch, _logged(patch) as (stream, ours):
        patch.setattr(wiring, "intake", lambda: wiring.Intake(recorder, lambda *each: letters.append(str(each)), ""))
        patch.setattr(wiring, "slack_notifier", lambda: notifier)
        patch.setattr(wiring, "reception", lambda: reception)
        detect.handler(as_sqs_event([body]), Context())
        keys = [(key.pk, key.sk) for key in _keys_of(table) if key.sk.startswith("DELIVERY#slack")]
        for pk, sk in [*keys, (text, f"STEP#{text}"), ("CANARY", text), (text, text)]:
            with suppress(NothingDeliveredError):  # nothing of it was delivered: the stream tries it again
                notify_slack.handler(_stream_event(pk, sk), Context())
        for event in ({"body": text, "requestContext": {"http": {"method": "POST"}}, "headers": {text: text}},
                      {"command": {"action": text, "incident_id": text}, "proof": {text: text}}):  # fmt: skip
            triage.handler(event, Context())
    check_log(stream.getvalue())
    for each in ours:
        check_line(each)


class UglyError(Exception):
    """A fault of ours, whose text quotes what it was given."""


def _failing(text: str) -> Any:
    def fail(_: object) -> Any:
        raise UglyError(text)

    return fail


def _reception(store: AuditStore) -> Reception:
    desk = Desk(store, lambda: NOW, lambda _attempt: None)
    return Reception(
        desk, _failing(""), _failing(""), "https://hooks.slack.com", (), logging.getLogger("rootwatch").warning
    )


def _keys_of(table: CheckedTable) -> list[Key]:
    return [key_of(item) for pk in list(table._partitions) for item in table.query(pk)]


def _stream_event(pk: str, sk: str) -> dict[str, Any]:
    keys = {"pk": {"S": pk}, "sk": {"S": sk}}
    body = {"Keys": keys, "SequenceNumber": "1", "StreamViewType": "NEW_IMAGE", "NewImage": keys}
    return {"Records": [{"eventID": "1", "eventName": "INSERT", "eventSource": "aws:dynamodb", "dynamodb": body}]}


@contextmanager
def _logged(patch: pytest.MonkeyPatch) -> Iterator[tuple[io.StringIO, list[str]]]:
    """What the functions' own loggers write, and what the package says through Python's."""
    stream, ours = io.StringIO(), list[str]()
    handler = logging.Handler()
    patch.setattr(handler, "emit", lambda record: ours.append(record.getMessage()))
    for module in (detect, notify_slack, triage):
        patch.setattr(module.logger.registered_handler, "stream", stream)
    package = logging.getLogger("rootwatch")
    package.addHandler(handler)
    try:
        yield stream, ours
    finally:
        package.removeHandler(handler)


# --- the terminal -----------------------------------------------------------------------------------------------------

WIDE: Final = {"COLUMNS": "4000", "NO_COLOR": "1", "TERM": "dumb"}
"""So wide that nothing is wrapped: a line begins where somebody began it."""


def run(*arguments: str, given: str | None = None) -> Result:
    """What a command prints; a traceback fails the test."""
    result = CliRunner(env=WIDE).invoke(app, arguments, input=given)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return cast("Result", result)


def check_terminal(result: Result, check: Callable[[str], None] = check_line) -> None:
    """Nothing that a terminal would obey or link, nothing hidden, and no line that somebody made up."""
    check_lines(result.stdout + result.stderr, FORGED, check)


def check_json(result: Result) -> None:
    """Every line is JSON of its own, in characters that no terminal obeys; what goes with it is as tame as always."""
    assert result.stdout.isascii()
    for line in result.stdout.splitlines():
        assert line.isprintable()
        json.loads(line)
    check_lines(result.stderr, FORGED)


@drawn(12)
@given(ENVELOPES)
def test_inspect_and_replay_print_tame_lines(envelope: dict[str, Any]) -> None:
    """For people one tame line after the other, for programs JSON lines, also of what each channel would send."""
    document = json.dumps(envelope)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rootwatch_cli.replay.WIDTH", 4000)
        for command in ("inspect", "replay"):
            check_terminal(run(command, "-", given=document))
    for arguments in (["inspect", "--json"], ["replay", "--json"], ["replay", "--render", "slack"],
                      ["replay", "--render", "sns"]):  # fmt: skip
        check_json(run(*arguments, "-", given=document))


@drawn(15)
@given(ENVELOPES, ATTACKS)
def test_the_commands_on_a_table_print_tame_lines(envelope: dict[str, Any], text: str) -> None:
    """`incidents`, `show` and `coverage`, with hostile records, ledgers, steps, places, and altered items."""
    table = CheckedTable()
    store = AuditStore(table)
    detect_messages(
        [make_message(envelope), make_message(build_envelope("console_login_without_mfa"), "two")], make_recorder(table)
    )
    whole = text[:200].encode(errors="replace").decode()
    store.write_place(Place(f"4{whole}", whole, NOW, NOW))
    for incident_id in store.open_incidents():
        _spoil(store, incident_id, text)
    stack = DeployedStack(store, "rootwatch-audit", lambda: "arn:aws:iam::111122223333:user/dana")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deployed, "_found", lambda _where: stack)
        for arguments in (
            ["incidents", "--months", "120"],
            ["coverage"],
            *(["show", each] for each in store.open_incidents()),
        ):
            check_terminal(run(*arguments))
            check_json(run(*arguments, "--json"))


def _spoil(store: AuditStore, incident_id: str, text: str) -> None:
    """Let a channel refuse with a text, a person type it, and somebody write it into items of the incident."""
    table, whole = store._table, text.encode(errors="replace").decode()  # DynamoDB has no half characters
    key = delivery_key(incident_id, "slack", 1)

    def refuse(_: Alert) -> Sent:
        raise DeliveryFailedError(whole)

    with suppress(DeliveryFailedError):
        deliver(store, key, refuse, lambda: NOW, lambda _reason: None)
    desk = Desk(store, lambda: NOW, lambda _attempt: None)
    answer(desk, Request(incident_id, Action.NOTE, Person(text, text, "slack", text), note=text))
    strange: Item = {"pk": f"INCIDENT#{incident_id}", "sk": "STEP#2026-11-03T09:00:00Z#9", "note": whole}
    strange[whole[:200] or "x"] = [whole]
    [alert] = table.get([Key(f"INCIDENT#{incident_id}", "ALERT#000001")])
    assert alert is not None
    altered = {**alert, "sk": "ALERT#000002", "number": 2, "headline": whole, "kind": whole}
    ledger = {"pk": f"INCIDENT#{incident_id}", "sk": f"DELIVERY#{whole[:100]}#000001"}
    table.write([Put(strange), Put(altered), Put(ledger)])  # type: ignore[arg-type] # texts are values


@dataclasses.dataclass
class Heap:
    """Dead letters in a list."""

    kept: list[Letter]

    def receive(self, queue: Queue, most: int) -> Iterator[Letter]:
        """Each letter of a queue."""
        yield from [letter for letter in self.kept if letter.queue is queue][:most]

    def send_to_intake(self, body: str) -> None:
        """Never accepted."""
        message = f"SQS did not take {len(body)} characters"
        raise NotMovedError(message)

    def delete(self, _letter: Letter) -> None:
        """Nothing to do."""

    def show_again(self, _letter: Letter) -> None:
        """Nothing to do."""


@drawn(10)
@given(ENVELOPES.map(json.dumps) | ATTACKS, ATTACKS)
def test_redrive_prints_tame_lines(body: str, text: str) -> None:
    """Whatever lies on a dead-letter queue, under whatever reason, its line is tame; so is what AWS says of it."""
    attributes = dict.fromkeys(("reason", "TARGET_ARN", "ERROR_CODE", "ERROR_MESSAGE"), text)
    bodies = (body, json.dumps({"pk": text, "sk": f"DELIVERY#{text}#1"}), json.dumps({"detail": {"eventName": text}}))
    letters = [
        Letter(queue, "0f1e2d3c", each, given, NOW, "r")
        for queue in Queue
        for each in bodies
        for given in (attributes, {})
    ]
    heap, store = Heap(letters), AuditStore(CheckedTable())
    with pytest.MonkeyPatch.context() as patch:
        for move in (False, True):
            patch.setattr(redrive, "_found", lambda *_, move=move: Redrive(heap, store, move=move))
            check_terminal(run("redrive"))
            check_json(run("redrive", "--json"))


DEPLOYMENT: Final = sound_deployment()


@drawn(30)
@given(st.sampled_from(list(DEPLOYMENT.answers)), ATTACKS)
def test_doctor_prints_tame_lines(question: Question, text: str) -> None:
    """Whatever AWS answers with, the names in it, which whoever may change a deployment chose, stay text."""
    spoilt = with_answer(DEPLOYMENT, question.action, question.subject, _filled(DEPLOYMENT.answers[question], text))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rootwatch_cli.doctor.command.look_at", lambda _where: spoilt)
        check_terminal(run("doctor"), check_nothing_hidden)  # an endpoint is shown as whoever mends it needs it
        check_json(run("doctor", "--json"))


def _filled(value: Any, text: str) -> Any:
    """The same document with the text in place of every other one."""
    if isinstance(value, str):
        return text
    if isinstance(value, Mapping):
        return {name: _filled(each, text) for name, each in value.items()}
    return [_filled(each, text) for each in value] if isinstance(value, list) else value


@drawn(20)
@given(ENVELOPES)
def test_the_demo_shows_tame_lines(envelope: dict[str, Any]) -> None:
    """A message on Slack and a mail, drawn on the terminal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rootwatch_cli.demo._width", lambda: 4000)
        for due in due_of(envelope)[:1]:
            alert, text = compose(due), io.StringIO()
            console = Console(file=text, width=4000)
            for message in (slack.payload(alert, RUNBOOK), slack.parent_payload(alert, due.incident)):
                console.print(slack_message(message))
            console.print(mail_message(alert))
            check_lines(text.getvalue(), FORGED)
