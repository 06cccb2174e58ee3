"""A marked secret goes through everything, and nothing that comes out at any end holds it.

What CloudTrail records of secrets is taken out of a record before anything else sees it. What is not a record at all
cannot be cleaned: it lies in the dead-letter queue as it came, which is all of it that is kept anywhere.
"""

import io
import json
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from functions.detect import app as detect
from functions.notify_slack import app as notify_slack
from rootwatch.record import REDACTED
from rootwatch_cli.main import app
from rootwatch_cli.slack_receiver import BOT_TOKEN, WEBHOOK_PATH, Behaviour
from tests.crash.service import Service, Story, running_service
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
    assert SECRET not in told


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
