"""Presses on Slack through the real handler: what each does, and what whoever pressed and the channel are told."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from functions.triage import app as triage_app
from rootwatch import wiring
from rootwatch.caller_proof import digest
from rootwatch.channels.slack_buttons import Subject
from rootwatch.incident import TriageState
from rootwatch.reception import receive_command
from rootwatch_cli.slack_receiver import SIGNING_SECRET, interaction_body
from tests.contracts.front_desk import ACCOUNT, OTHER, RESOLVER, Desk
from tests.contracts.world import Context, World, running_world

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

TYPED = {"reason": "replaced the MFA device", "ticket": "OPS-1234"}


@pytest.fixture(scope="module", autouse=True)
def _session_of_this_module() -> Iterator[None]:
    """One session for these tests, since each reads the services' models anew; nothing of it is left for others."""
    wiring._session.cache_clear()
    yield
    wiring._session.cache_clear()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The functions, with buttons, and an app's signing secret beside the bot's token."""
    monkeypatch.setenv("SLACK_BUTTONS", "true")
    monkeypatch.setenv("SLACK_RESOLVERS", RESOLVER)
    wiring.reception.cache_clear()
    with running_world(monkeypatch) as world:
        world.store_secret({**world.slack.bot_secret, "signing_secret": SIGNING_SECRET})
        yield world
    wiring.reception.cache_clear()


@pytest.fixture
def desk(world: World) -> Desk:
    """One incident that people were told of."""
    return Desk(world)


def test_a_replay_is_refused(desk: Desk) -> None:
    """The same signed request a second time, within its five minutes, is refused and does nothing."""
    body = desk.world.slack.pressed(
        Subject("rootwatch", desk.incident.id, 0).value, "rootwatch:acknowledge", RESOLVER, "dana"
    )
    event = desk.event(body)
    assert desk.send(event)["statusCode"] == 200
    after = desk.incident
    assert after.triage.state is TriageState.ACKNOWLEDGED
    again = desk.send(event)
    assert (again["statusCode"], desk.incident, desk.steps()) == (401, after, ["acknowledged"])


def test_without_a_signing_secret_nobody_is_believed(desk: Desk) -> None:
    """Until the secret holds one, every request is refused."""
    desk.world.store_secret(desk.world.slack.bot_secret)
    wiring.reception.cache_clear()
    assert desk.press("acknowledge")["statusCode"] == 401
    assert desk.incident.triage.state is TriageState.OPEN


def test_plain_bodies_verify_as_well(desk: Desk) -> None:
    """Lambda may hand a body over as text."""
    body = desk.world.slack.pressed(
        Subject("rootwatch", desk.incident.id, 0).value, "rootwatch:acknowledge", RESOLVER, "dana"
    )
    assert desk.send(desk.event(body, encoded=False))["statusCode"] == 200
    assert desk.steps() == ["acknowledged"]


# --- what buttons do -----------------------------------------------------------------------------------------------


def test_an_answer_changes_the_message(desk: Desk) -> None:
    """A press is written with who, when and from where; the message that the thread begins with says who has it, has
    the buttons of what can be done next, and the thread says so as well.
    """
    [parent] = desk.world.slack.parents
    assert '"action_id": "rootwatch:acknowledge"' in json.dumps(parent.payload)
    answer = desk.press("acknowledge")
    assert answer == {"statusCode": 200, "body": ""}
    now = json.dumps(desk.world.slack.current(parent.ts))
    assert "Answer: Acknowledged by name-of-u0123456789" in now
    assert "rootwatch:acknowledge" not in now
    assert "rootwatch:suspect" in now
    *_, reply = desk.world.slack.replies(parent.ts)
    assert "name-of-u0123456789 is on it" in reply.payload["text"]
    [step] = wiring.reception().desk.store.steps(desk.incident.id)
    assert (step.by, step.origin) == (f"slack:T00000000/{RESOLVER}", "Slack channel C0000000000")
    assert desk.world.slack.refusals == ()


def test_the_modal_asks_why(desk: Desk) -> None:
    """It was expected… opens a modal; left empty it says what is missing; submitted, it resolves the incident."""
    assert desk.press("resolve")["statusCode"] == 200
    [modal] = desk.world.slack.modals
    assert desk.steps() == []
    empty = desk.send(desk.event(desk.world.slack.submitted(modal, RESOLVER, "dana", {"reason": " ", "ticket": "X-1"})))
    assert json.loads(empty["body"]) == {
        "response_action": "errors",
        "errors": {"reason": "Say what root was needed for."},
    }
    done = desk.send(desk.event(desk.world.slack.submitted(modal, RESOLVER, "dana", TYPED)))
    assert done == {"statusCode": 200, "body": ""}
    assert (desk.incident.triage.state, desk.incident.open) == (TriageState.EXPECTED, False)
    [parent] = desk.world.slack.parents
    assert "Resolved as expected by dana" in json.dumps(desk.world.slack.current(parent.ts))


def test_a_modal_that_somebody_else_overtook(desk: Desk) -> None:
    """Whoever submits a modal after another person's answer is told in it, and changes nothing."""
    desk.press("resolve")
    [modal] = desk.world.slack.modals
    desk.press("suspect", OTHER)
    late = desk.send(desk.event(desk.world.slack.submitted(modal, RESOLVER, "dana", TYPED)))
    shown = json.loads(late["body"])
    assert shown["response_action"] == "update"
    assert "Suspicious by name-of-u9876543210" in json.dumps(shown)
    assert desk.incident.triage.state is TriageState.SUSPICIOUS


def test_a_modal_does_not_cover_what_came_after_it_was_opened(desk: Desk) -> None:
    """Root acts from another address while somebody types: nothing is resolved, and they are told of it; a modal that
    is opened after it says what it covers, and does.
    """
    desk.press("resolve")
    desk.world.record(ACCOUNT, "logging_tampered", sourceIPAddress="198.51.100.99")
    desk.world.run()
    [modal] = desk.world.slack.modals
    late = desk.send(desk.event(desk.world.slack.submitted(modal, RESOLVER, "dana", TYPED)))
    assert "Something new came after you looked" in late["body"]
    assert desk.steps() == []
    desk.press("resolve")
    *_, modal = desk.world.slack.modals
    assert "198.51.100.99" in json.dumps(modal)
    assert "stopped 1 trail" in json.dumps(modal)
    desk.send(desk.event(desk.world.slack.submitted(modal, RESOLVER, "dana", TYPED)))
    assert desk.incident.triage.state is TriageState.EXPECTED


def test_what_is_too_long_stays_in_the_modal(desk: Desk) -> None:
    """What somebody typed is not cut and not lost: Slack shows beside the field what to mend."""
    desk.press("resolve")
    [modal] = desk.world.slack.modals
    typed = {"reason": "x" * 301, "ticket": "--"}
    answer = desk.send(desk.event(desk.world.slack.submitted(modal, RESOLVER, "dana", typed)))
    assert json.loads(answer["body"])["errors"] == {"reason": "At most 300 characters.", "ticket": "Name the ticket."}


def test_a_confirmation_of_what_nobody_saw(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever confirms below a message that knew less is told what is new, with the button of now, which works."""
    monkeypatch.setenv("SECOND_PERSON", "true")
    monkeypatch.setenv("SLACK_RESOLVERS", f"{RESOLVER},{OTHER}")
    wiring.reception.cache_clear()
    desk.press("resolve")
    [modal] = desk.world.slack.modals
    desk.send(desk.event(desk.world.slack.submitted(modal, RESOLVER, "dana", TYPED)))
    old = desk.incident
    assert old.triage.proposal is not None
    desk.world.record(ACCOUNT, "logging_tampered", sourceIPAddress="198.51.100.99")
    desk.world.run()
    value = Subject("rootwatch", old.id, old.triage.moves, old.listed).value
    desk.press("confirm", OTHER, value=value)
    assert "Something new came after you looked" in desk.last_told()
    [fresh] = [
        element["value"]
        for block in desk.world.slack.told[-1]["blocks"]
        for element in block.get("elements", ())
        if element["action_id"] == "rootwatch:confirm"
    ]
    desk.press("confirm", OTHER, value=fresh)
    assert desk.incident.triage.state is TriageState.EXPECTED


def test_who_may_not_resolve(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person outside the list is told, and the try recorded; with an empty list that is everybody, and it says so."""
    desk.press("resolve", OTHER)
    assert f"You ({OTHER}) are not among those who may resolve" in desk.last_told()
    assert desk.steps() == ["refused:resolve"]
    assert desk.world.slack.modals == ()
    monkeypatch.setenv("SLACK_RESOLVERS", "")
    wiring.reception.cache_clear()
    desk.press("resolve")
    assert "Nobody may resolve on Slack: the parameter SlackResolvers is empty" in desk.last_told()
    [parent] = desk.world.slack.parents
    assert "tried to resolve it, and may not" in json.dumps(
        [each.payload for each in desk.world.slack.replies(parent.ts)]
    )


def test_the_second_press_is_told_of_the_first(desk: Desk) -> None:
    """Whoever presses what somebody else pressed already hears whose it is; the others hear nothing."""
    value = Subject("rootwatch", desk.incident.id, 0).value
    desk.press("acknowledge", value=value)
    assert desk.world.slack.told == ()
    desk.press("acknowledge", OTHER, value=value)
    assert "Acknowledged by name-of-u0123456789" in desk.last_told()
    assert desk.steps() == ["acknowledged"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("another 20261103-0123456789 0", "belongs to the deployment another, here is rootwatch"),
        ("rootwatch 20261103-0123456789 0", "There is no incident 20261103-0123456789 in rootwatch"),
        ("rootwatch INCIDENT#x 0", "none of Rootwatch's"),
        ("rootwatch 20261103-0123456789 0 7", "There is no incident 20261103-0123456789 in rootwatch"),
        ("rootwatch 20261103-0123456789 0 x", "none of Rootwatch's"),
        ("rootwatch 20261103-0123456789 0 7 7", "none of Rootwatch's"),
        ("x" * 2000, "none of Rootwatch's"),
    ],
)
@pytest.mark.parametrize("action", ["acknowledge", "resolve", "timeline"])
def test_buttons_of_something_else(desk: Desk, value: str, expected: str, action: str) -> None:
    """A button of another deployment, of an unknown incident or of nothing is said to be that, and changes nothing."""
    desk.press(action, value=value)
    assert expected in desk.last_told()
    assert desk.steps() == []


def test_buttons_of_a_closed_incident(desk: Desk) -> None:
    """The buttons of an incident that is closed say so."""
    for action in ("suspect", "contain", "close"):
        desk.press(action)
    assert desk.incident.triage.state is TriageState.CLOSED
    desk.press("suspect")
    assert "Closed by name-of-u0123456789" in desk.last_told()


def test_the_timeline_is_told_to_whoever_asks(desk: Desk) -> None:
    """Timeline shows alerts and steps, to the one person who asked."""
    desk.press("acknowledge")
    desk.press("timeline")
    assert "alert 1: Root signed in" in desk.last_told()
    assert "is on it" in desk.last_told()


def test_an_address_that_is_not_slacks_is_not_called(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """A press whose `response_url` leads elsewhere is answered, and nobody is called."""
    value = Subject("rootwatch", "20261103-0123456789", 0).value
    requests = desk.world.slack.requests
    body = interaction_body(
        {
            "type": "block_actions", "user": {"id": OTHER, "username": "x"}, "team": {"id": "T1"},
            "response_url": desk.world.slack.origin.replace("127.0.0.1", "localhost") + "/actions/T1/1/x",
            "actions": [{"action_id": "rootwatch:acknowledge", "value": value}],
        }
    )  # fmt: skip
    assert desk.send(desk.event(body))["statusCode"] == 200
    assert desk.world.slack.requests == requests
    assert "is not Slack's" in caplog.text


# --- with a webhook ------------------------------------------------------------------------------------------------


@pytest.fixture
def webhook_desk(world: World) -> Desk:
    """The same with a webhook, which can open no modal and change no message."""
    world.store_secret({"webhook_url": world.slack.webhook_url, "signing_secret": SIGNING_SECRET})
    wiring.slack_notifier.cache_clear()
    wiring.reception.cache_clear()
    return Desk(world)


def test_a_webhook_has_buttons_too(webhook_desk: Desk) -> None:
    """The alert has buttons; a press is told in the channel, with the buttons of what can be done next."""
    desk = webhook_desk
    [alert] = desk.world.slack.alerts
    assert '"action_id": "rootwatch:acknowledge"' in json.dumps(alert.payload)
    desk.press("acknowledge")
    *_, message = desk.world.slack.messages
    assert "name-of-u0123456789 is on it" in message.payload["text"]
    assert "rootwatch:suspect" in json.dumps(message.payload)
    assert desk.world.slack.refusals == ()


def test_a_form_stands_in_for_the_modal(webhook_desk: Desk) -> None:
    """Without a bot token whoever presses gets a form of their own; filled in, it resolves, and is gone."""
    desk = webhook_desk
    desk.press("resolve")
    form = desk.world.slack.told[-1]
    assert [block["type"] for block in form["blocks"]] == ["section", "input", "input", "actions"]
    desk.press("resolve_form", typed={"reason": "", "ticket": ""})
    assert "Name the ticket" in desk.last_told()
    desk.press("resolve_form", typed=TYPED)
    assert desk.world.slack.told[-1] == {"delete_original": True}
    assert desk.incident.triage.state is TriageState.EXPECTED


# --- the command ---------------------------------------------------------------------------------------------------

WHO = "arn:aws:sts::111122223333:assumed-role/Responder/dana"


def by_command(desk: Desk, arn: str = WHO, status: int = 200, **command: Any) -> dict[str, Any]:
    """Give an answer by the command, as whoever STS says, now."""
    at = desk.world.clock.now
    document = {"action": "acknowledge", "incident_id": desk.incident.id, **command}
    signature = hashlib.sha256(f"{document} {arn}".encode()).hexdigest()
    proof = {
        "Authorization": "AWS4-HMAC-SHA256 Credential=ASIAIOSFODNN7EXAMPLE/20261103/us-east-1/sts/aws4_request, "
        f"SignedHeaders=host;x-amz-date;x-rootwatch-request, Signature={signature}",
        "X-Amz-Date": f"{at:%Y%m%dT%H%M%SZ}",
        "X-Rootwatch-Request": digest(document, "rootwatch-triage"),
    }
    reception = replace(wiring.reception(), identify=lambda _headers: (status, f"<Arn>{arn}</Arn>"))
    answer = receive_command({"command": document, "proof": proof}, reception, "111122223333")
    desk.world.run()
    return answer


def test_an_answer_by_the_command(desk: Desk) -> None:
    """Who AWS says it is stands in the step, with the id of the key; the channel is told as for a press."""
    answer = by_command(desk)
    assert (answer["done"], answer["state"], answer["moves"]) == (True, "acknowledged", 1)
    [step] = wiring.reception().desk.store.steps(desk.incident.id)
    assert (step.by, step.via, step.origin) == (WHO, "aws", "access key ASIAIOSFODNN7EXAMPLE")
    [parent] = desk.world.slack.parents
    assert "Answer: Acknowledged by dana (role Responder)" in json.dumps(desk.world.slack.current(parent.ts))


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("sts::111122223333:assumed-role/AWSReservedSSO_SecurityResponder_0123456789abcdef/dana", "dana (role AWSRes"),
        ("iam::111122223333:user/security/dana", "dana (IAM user)"),
        ("sts::111122223333:federated-user/dana", "federated-user/dana"),
    ],
)
def test_who_has_it_is_named_first(desk: Desk, name: str, called: str) -> None:
    """However long the name of a role is, everybody reads who has the incident; the step has all of the ARN."""
    assert by_command(desk, arn=f"arn:aws:{name}")["done"]
    [step] = wiring.reception().desk.store.steps(desk.incident.id)
    assert step.by == f"arn:aws:{name}"
    [parent] = desk.world.slack.parents
    assert f"Answer: Acknowledged by {called}" in json.dumps(desk.world.slack.current(parent.ts))


def test_the_way_to_closed_by_the_command(desk: Desk) -> None:
    """Whoever may invoke the function may resolve: IAM says who that is, not the list of Slack's users."""
    for action in ("suspect", "contain", "close"):
        assert by_command(desk, action=action)["done"]
    assert desk.incident.triage.state is TriageState.CLOSED


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"arn": "arn:aws:iam::111122223333:root"}, "root answers for nobody"),
        ({"arn": "arn:aws:iam::999988887777:user/dana"}, "another account"),
        ({"status": 403}, "AWS does not say"),
        ({"action": "delete"}, "nothing that we know"),
        ({"incident_id": "INCIDENT#1"}, "names no incident"),
        ({"note": 5}, "note is no text"),
        ({"seen": "0"}, "nothing that we know"),
    ],
)
def test_commands_that_are_refused(desk: Desk, changes: dict[str, Any], words: str) -> None:
    """Root, another account, nobody, and what cannot be understood change nothing, and hear why."""
    answer = by_command(desk, **changes)
    assert not answer["done"]
    assert words in answer["words"]
    assert desk.steps() == []


def test_a_proof_is_good_once(desk: Desk) -> None:
    """The same signed answer a second time is refused."""
    assert by_command(desk, action="note", note="called the custodian")["done"]
    again = by_command(desk, action="note", note="called the custodian")
    assert (again["done"], again["words"]) == (False, "The command was refused: it came before.")
    assert desk.steps() == ["noted"]


def test_an_event_without_a_proof(desk: Desk) -> None:
    """Whoever may invoke the function and brings no proof is nobody; what comes through the URL is no command."""
    command = {"action": "acknowledge", "incident_id": desk.incident.id}
    assert not triage_app.handler({"command": command}, Context())["done"]
    event = {"command": command, "proof": {}, "requestContext": {"http": {"method": "POST"}}}
    assert triage_app.handler(event, Context())["statusCode"] == 401
    assert desk.steps() == []
