"""What the adapters see to besides sending: the distance between publishes, and that no log holds the webhook."""

import json
import logging
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING

import boto3
import pytest

from rootwatch import wiring
from rootwatch.alert import compose
from rootwatch.delivery import Sent
from rootwatch.errors import DeliveryFailedError
from rootwatch_cli.slack_receiver import WEBHOOK_PATH, Behaviour, SlackReceiver
from tests.contracts.conftest import TABLE_NAME
from tests.unit.workbench import fold_all, make_observation

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

LIBRARIES = ("botocore", "urllib3")


@pytest.fixture
def _as_if_new() -> Iterator[None]:
    """No adapter that another test made is used, and none of this one's; the libraries log as they do by default."""
    before = {name: logging.getLogger(name).level for name in LIBRARIES}
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.NOTSET)
    for function in (wiring.slack_notifier, wiring._session):
        function.cache_clear()
    yield
    for function in (wiring.slack_notifier, wiring._session):
        function.cache_clear()
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.usefixtures("_as_if_new")
def test_no_log_holds_the_webhook_however_much_is_logged(
    dynamodb: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With every logger at DEBUG, neither reading the secret nor posting nor failing writes the webhook's address."""
    assert dynamodb is not None
    _, [outcome] = fold_all([make_observation("console_login")])
    alert = compose(outcome.alerts[0])
    with SlackReceiver() as receiver:
        secret = json.dumps({"webhook_url": receiver.webhook_url})
        boto3.client("secretsmanager").create_secret(Name="rootwatch-slack", SecretString=secret)
        for name, value in {
            "TABLE_NAME": TABLE_NAME,
            "DEAD_LETTER_QUEUE_URL": "https://sqs/dead",
            "SLACK_SECRET_ID": "rootwatch-slack",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SLACK_ORIGIN", receiver.webhook_url.removesuffix(WEBHOOK_PATH))
        with caplog.at_level(logging.DEBUG):
            caplog.clear()
            logging.getLogger("rootwatch.test").debug("the loggers are at DEBUG")
            assert wiring.slack_notifier().send(alert) == Sent("ok")
            receiver.answer_with(Behaviour.REFUSE)
            with pytest.raises(DeliveryFailedError) as caught:
                wiring.slack_notifier().send(alert)
        assert len(receiver.messages) == 1
    assert "the loggers are at DEBUG" in caplog.text
    told = caplog.text + "".join(traceback.format_exception(caught.value))
    assert WEBHOOK_PATH.rpartition("/")[2] not in told
    assert "/services/" not in told


def test_publishes_keep_their_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten publishes take at least nine fifths of a second: over ten a second, SNS suspends e-mail subscriptions."""
    moments, waits = [1_000.0], []

    class Time:
        @staticmethod
        def monotonic() -> float:
            return moments[0]

        @staticmethod
        def sleep(seconds: float) -> None:
            waits.append(seconds)
            moments[0] += seconds

    monkeypatch.setattr(wiring, "time", Time)
    pace = wiring._Pace(wiring._SECONDS_PER_PUBLISH)
    for _ in range(10):
        pace.wait()
    assert sum(waits) == pytest.approx(1.8)
    moments[0] += 60
    pace.wait()
    assert len(waits) == 9
