"""A marked secret goes through everything, and nothing that comes out at any end holds it.

What CloudTrail records of secrets is taken out of a record before anything else sees it. What is not a record at all
cannot be cleaned: it lies in the dead-letter queue as it came, which is all of it that is kept anywhere.
"""

import io
import json
import logging
import traceback
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from functions.detect import app as detect
from functions.notify_slack import app as notify_slack
from functions.triage import app as triage
from rootwatch.incident import TriageState
from rootwatch.record import REDACTED
from rootwatch_cli import deployed, redrive
from rootwatch_cli.dead_letters import Queue
from rootwatch_cli.deployed import DeployedStack
from rootwatch_cli.main import app
from rootwatch_cli.redrive import Redrive, SqsLetters
from rootwatch_cli.slack_receiver import BOT_TOKEN, SIGNING_SECRET, WEBHOOK_PATH, Behaviour
from tests.crash.service import TABLE, Service, Story, running_service
from tests.crash.stories import PRODUCTION, act

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

SECRET = "MarkedSecret7f3a"
DOCUMENT = json.dumps({"Statement": [{"Condition": {"StringEquals": {"password": SECRET}}}]})
PLACES: dict[str, dict[str, Any]] = {
    "a session token": {"responseElements": {"credentials": {"sessionToken": SECRET, "accessKeyId": "ASIAEXAMPLE"}}},
    "a secret key": {"responseElements": {"accessKey": {"secretAccessKey": SECRET, "status": "Active"}}},
    "a password": {"requestParameters": {"newPassword": SECRET, "list": [{"deep": {"masterUserPassword": SECRET}}]}},
    "JSON as text": {"requestParameters": json.dumps({"inner": json.dumps({"sessionToken": SECRET})})},
    "a policy document": {"requestParameters": {"policyDocument": DOCUMENT}},
    "the query of a sign-in address": {
        "additionalEventData": {"LoginTo": f"https://signin.aws.amazon.com/x?SigninToken={SECRET}"}
    },
    "a message of an error": {"errorCode": "ValidationError", "errorMessage": f'bad input: "password": "{SECRET}"'},
    "another message of an error": {"errorCode": "E", "errorMessage": f"secretAccessKey={SECRET} is not valid"},
    "a client's name": {"userAgent": f"tool/1 (https://signin.aws.amazon.com/federation?SigninToken={SECRET})"},
    "a client's other name": {"userAgent": f"signin.aws.amazon.com/federation?Action=login&SigninToken={SECRET}"},
    "an address within a text": {
        "errorCode": "E",
        "errorMessage": f"see https://x.example.com/?X-Amz-Signature={SECRET}",
    },
}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """The service, in which nothing is broken."""
    with pytest.MonkeyPatch.context() as monkeypatch, running_service(monkeypatch) as service:
        yield service


def everything(service: Service) -> str:
    """All that the table holds, that SNS and Slack were told, and that lies in a queue."""
    slack = [message.payload for message in service.slack.messages]
    return str([list(service.items()), service.published, slack, service.slack._state.edits, service.letters])


@pytest.mark.parametrize("bot", [False, True], ids=["webhook", "bot"])
@pytest.mark.parametrize("place", PLACES)
def test_a_secret_in_a_record_comes_out_nowhere(  # noqa: PLR0913, PLR0917 - fixtures
    service: Service,
    place: str,
    bot: bool,  # noqa: FBT001
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Table, mail, Slack, logs, and what the command prints of the same record hold everything but the secret."""
    envelope = act(PRODUCTION, "access_key_created", **PLACES[place])
    with caplog.at_level(logging.DEBUG, logger="rootwatch"):
        service.play(Story(place, [(0, lambda service: service.send(envelope))], (), bot=bot))
    assert len(service.alerts()) == 1
    kept = everything(service)
    assert REDACTED in kept
    told = kept + caplog.text + "".join(capfd.readouterr())
    file = tmp_path / "record.json"
    file.write_text(json.dumps(envelope))
    runner = CliRunner()
    for arguments in (
        ["inspect", str(file)], ["inspect", str(file), "--json"], ["replay", str(file)],
        ["replay", str(file), "--json"],
        ["replay", str(file), "--render", "slack"], ["replay", str(file), "--render", "sns"],
    ):  # fmt: skip
        result = runner.invoke(app, arguments)
        assert result.exit_code == 0, result.output
        told += result.output + result.stderr
    told += commands_on_the_table(service, tmp_path)
    assert SECRET not in told


def commands_on_the_table(service: Service, folder: Path) -> str:
    """All that the commands print of the deployed table, and every file that they write."""
    stack = DeployedStack(service.store(), TABLE, lambda: "arn:aws:iam::111122223333:user/dana")
    [incident_id] = {item["incident_id"]["S"] for item in service.alerts().values()}
    printed = ""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deployed, "_found", lambda _where: stack)
        for arguments in (
            ["incidents", "--months", "120"], ["incidents", "--months", "120", "--json"],
            ["show", incident_id], ["show", incident_id, "--json"], ["coverage"], ["verify"],
            ["evidence", incident_id, "--out", str(folder)],
            ["report", "--month", "2026-11", "--out", str(folder)],
        ):  # fmt: skip
            result = CliRunner().invoke(app, arguments)
            assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
            printed += result.stdout + result.stderr
    [pack] = folder.glob("*.zip")
    with zipfile.ZipFile(pack) as files:
        written = [files.read(name).decode() for name in files.namelist()]
    written += [path.read_text() for path in folder.glob("root-usage-*")]
    assert sum(len(text) > 100 for text in written) >= 5
    assert incident_id in printed
    return printed + "".join(written)


def test_a_secret_is_neither_in_a_modal_nor_in_the_log_of_triage(
    service: Service,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever answers, or reads logs, learns neither a secret of the record nor one of Slack."""
    text = io.StringIO()
    monkeypatch.setattr(triage.logger.registered_handler, "stream", text)
    changes = {name: value for place in PLACES.values() for name, value in place.items()}
    typed = {"reason": "MFA device replaced", "ticket": "OPS-1234"}

    def begin(service: Service) -> None:
        caplog.clear()  # of the test's own client, which has just stored the secret
        service.send(act(PRODUCTION, "access_key_created", **changes))

    acts = [(0.0, begin), (30.0, lambda service: service.answer("resolve", typed, TriageState.EXPECTED)),
            (60.0, lambda service: service._request(b"payload=" + SECRET.encode()))]  # fmt: skip
    with caplog.at_level(logging.DEBUG):
        service.play(Story("an answer", acts, (), channels=("slack",), bot=True))
    assert [modal["type"] for modal in service.slack.modals] == ["modal"]
    seen = str([service.slack.modals, service.slack.told]) + everything(service)
    told = seen + text.getvalue() + caplog.text + "".join(capfd.readouterr())
    assert "Requests" in told
    for secret in (SECRET, BOT_TOKEN, SIGNING_SECRET):
        assert secret not in told


def test_redrive_tells_no_more_than_the_reason(service: Service) -> None:
    """Of an unreadable message the command says why it lies there, and nothing of what it holds."""
    service.play(Story("poison", [(0, lambda service: service.send(f'{{"detail": "{SECRET}'))], ()))
    queues = {Queue(kind): url for kind, url in service.urls.items()}
    letters = SqsLetters(service.session.client("sqs"), queues, queues[Queue.INTAKE], wait_seconds=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redrive, "_found", lambda *_: Redrive(letters, service.store()))
        for arguments in (["redrive"], ["redrive", "--json"]):
            result = CliRunner().invoke(app, arguments)
            assert "detect could not read it" in result.stdout
            assert SECRET not in result.stdout + result.stderr


@pytest.mark.parametrize("poison", [f"password={SECRET}", json.dumps({"detail": [SECRET]}), f'{{"detail": "{SECRET}'])
def test_what_cannot_be_read_lies_in_one_place_only(
    service: Service, poison: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unreadable message is kept whole in the dead-letter queue, and neither its reason nor any log quotes it."""
    text = io.StringIO()
    monkeypatch.setattr(detect.logger.registered_handler, "stream", text)
    service.play(Story("poison", [(0, lambda service: service.send(poison))], ()))
    assert service.letters == [poison]
    [letter] = service.session.client("sqs").receive_message(
        QueueUrl=service.urls["intake"], MessageAttributeNames=["All"]
    )["Messages"]
    assert SECRET not in str(letter["MessageAttributes"])
    assert "rejected" in text.getvalue()
    assert SECRET not in text.getvalue() + "".join(capfd.readouterr()) + str(list(service.items()))


@pytest.mark.parametrize("bot", [False, True], ids=["webhook", "bot"])
@pytest.mark.parametrize("trouble", [*Behaviour])
def test_slack_s_secret_is_in_no_log_and_no_traceback(  # noqa: PLR0913, PLR0917 - fixtures
    service: Service,
    trouble: Behaviour,
    bot: bool,  # noqa: FBT001
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With every logger at DEBUG and the whole chain of every exception written out, nobody learns address or token."""
    text = io.StringIO()
    monkeypatch.setattr(notify_slack.logger.registered_handler, "stream", text)
    tracebacks: list[str] = []
    handler = notify_slack.handler

    def watched(event: Any, context: Any) -> Any:
        try:
            return handler(event, context)
        except Exception as error:
            tracebacks.extend(traceback.format_exception(error))
            notify_slack.logger.exception("the function failed")
            raise

    monkeypatch.setattr(notify_slack, "handler", watched)
    monkeypatch.setattr("rootwatch.channels.slack.TIMEOUT_SECONDS", (1.0, 0.3))

    def begin(service: Service) -> None:
        caplog.clear()  # of the test's own client, which has just stored the secret
        service.slack.answer_with(trouble, times=3, retry_after_seconds=30)
        service.send(act(PRODUCTION, "console_login_without_mfa"))

    with caplog.at_level(logging.DEBUG):
        service.play(Story("trouble", [(0, begin)], (), minutes=(20,), bot=bot))
    told = text.getvalue() + caplog.text + "".join([*capfd.readouterr(), *tracebacks]) + everything(service)
    assert "delivery: " in text.getvalue()
    if trouble in {Behaviour.REFUSE, Behaviour.HANG, Behaviour.SERVER_ERROR}:
        assert tracebacks
    for secret in (WEBHOOK_PATH.rpartition("/")[2], BOT_TOKEN, BOT_TOKEN.rpartition("-")[2]):
        assert secret not in told
