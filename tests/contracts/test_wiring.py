"""What the adapters see to besides sending: the distance between publishes, and that no log holds the webhook."""

import json
import logging
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import Mock

import boto3
import pytest

from rootwatch import wiring
from rootwatch.alert import compose
from rootwatch.channels.notice import make_notice
from rootwatch.context.network_owner import Owner
from rootwatch.context.surroundings import Found
from rootwatch.delivery import Sent
from rootwatch.errors import DeliveryFailedError
from rootwatch.settings import NotifySlackSettings, environment
from rootwatch_cli.slack_receiver import WEBHOOK_PATH, Behaviour, SlackReceiver
from tests.builders.databases import FIVE_NETWORKS, write_database
from tests.contracts.conftest import TABLE_NAME
from tests.unit.workbench import NOW, fold_all, make_observation

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

LIBRARIES = ("botocore", "urllib3")
PROJECT = Path(__file__).parents[2]


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


def _send_alert() -> object:
    _, [outcome] = fold_all([make_observation("console_login")])
    return wiring.slack_notifier().send(compose(outcome.alerts[0]))


def _tell_notice() -> object:
    """As the report does, which sends no alert."""
    settings = NotifySlackSettings.from_environment(environment())
    return wiring._slack_notices(settings)(make_notice("The report is there", [], NOW, urgent=False))


@pytest.mark.usefixtures("_as_if_new", "dynamodb")
@pytest.mark.parametrize("tell", [_send_alert, _tell_notice])
def test_no_log_holds_the_webhook_however_much_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tell: Callable[[], object]
) -> None:
    """With every logger at DEBUG, neither reading the secret nor posting nor failing writes the webhook's address."""
    with SlackReceiver() as receiver:
        secret, name_of_it = json.dumps({"webhook_url": receiver.webhook_url}), f"rootwatch-slack-{tell.__name__}"
        boto3.client("secretsmanager").create_secret(Name=name_of_it, SecretString=secret)
        for name, value in {
            "TABLE_NAME": TABLE_NAME,
            "DEAD_LETTER_QUEUE_URL": "https://sqs/dead",
            "SLACK_SECRET_ID": name_of_it,
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SLACK_ORIGIN", receiver.webhook_url.removesuffix(WEBHOOK_PATH))
        with caplog.at_level(logging.DEBUG):
            caplog.clear()
            logging.getLogger("rootwatch.test").debug("the loggers are at DEBUG")
            assert tell() == Sent("ok")
            receiver.answer_with(Behaviour.REFUSE)
            with pytest.raises(DeliveryFailedError) as caught:
                tell()
        assert len(receiver.messages) == 1
    assert "the loggers are at DEBUG" in caplog.text
    told = caplog.text + "".join(traceback.format_exception(caught.value))
    assert WEBHOOK_PATH.rpartition("/")[2] not in told
    assert "/services/" not in told


@pytest.fixture
def _detect_as_if_new(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment of detect, and no adapter that another test made."""
    for name, value in {
        "TABLE_NAME": TABLE_NAME, "DEAD_LETTER_QUEUE_URL": "https://sqs/dead", "STACK_NAME": "rootwatch",
        "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1",
        "LOOK_UP_OWNERS": "false",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    for function in (wiring.intake, wiring._session):
        function.cache_clear()
    yield
    for function in (wiring.intake, wiring._session):
        function.cache_clear()


@pytest.mark.usefixtures("_detect_as_if_new")
def test_detect_is_joined_with_what_its_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dynamodb: "DynamoDBClient"
) -> None:
    """Networks, names, databases and registries reach the recorder; what was looked up reaches the table."""
    assert dynamodb is not None
    write_database(tmp_path / "mmdb/five.mmdb", FIVE_NETWORKS)
    for name, value in {
        "TRUSTED_NETWORKS": "203.0.113.0/24", "ACCOUNT_NAMES": "111122223333=Production",
        "OWNER_DATABASE_FOLDER": str(tmp_path / "mmdb"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    recorder = wiring.intake().recorder
    assert [str(network) for network in recorder.trusted_networks] == ["203.0.113.0/24"]
    found = recorder.surroundings.look_up("111122223333", {"192.0.2.7": True, "203.0.113.7": True})
    assert found == Found({"192.0.2.7": Owner("Example Telecom", "DE")}, "Production")


@pytest.mark.usefixtures("_detect_as_if_new")
def test_organizations_is_asked_where_that_is_wanted(
    monkeypatch: pytest.MonkeyPatch, dynamodb: "DynamoDBClient"
) -> None:
    """The name that Organizations gives is told and kept; for an account that it does not know, the stated one."""
    assert dynamodb is not None
    organizations = boto3.client("organizations")
    organizations.create_organization(FeatureSet="ALL")
    created = organizations.create_account(Email="payments@example.com", AccountName="Payments")
    account_id = created["CreateAccountStatus"]["AccountId"]
    monkeypatch.setenv("LOOK_UP_ACCOUNT_NAMES", "true")
    monkeypatch.setenv("ACCOUNT_NAMES", f"{account_id}=Stated,111122223333=Stated")
    surroundings = wiring.intake().recorder.surroundings
    assert surroundings.look_up(account_id, {}).account_name == "Payments"
    assert surroundings.look_up("111122223333", {}).account_name == "Stated"
    assert surroundings.look_up("444455556666", {}).account_name is None
    surroundings.end_batch()
    items = dynamodb.query(
        TableName=TABLE_NAME,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": "CACHE#account-name"}},
    )["Items"]
    found = {item["sk"]["S"]: item["fields"]["M"] for item in items}
    assert found == {account_id: {"name": {"S": "Payments"}}, "111122223333": {}, "444455556666": {}}


@pytest.mark.usefixtures("_detect_as_if_new")
def test_the_watchdog_names_accounts_and_looks_up_no_address(
    monkeypatch: pytest.MonkeyPatch, dynamodb: "DynamoDBClient"
) -> None:
    """What time causes is told with the account's name; nobody is asked about an address for it."""
    assert dynamodb is not None
    for name in (
        "INTAKE_DEAD_LETTER_QUEUE_URL", "RULE_DEAD_LETTER_QUEUE_URL", "ALERT_TOPIC_ARN", "OPERATIONS_TOPIC_ARN",
        "SLACK_SECRET_ID",
    ):  # fmt: skip
        monkeypatch.setenv(name, "https://sqs/other")
    monkeypatch.setenv("ROOT_RULE_ARN", "arn:aws:events:us-east-1:111122223333:rule/rootwatch-root")
    monkeypatch.setenv("LOOK_UP_OWNERS", "true")
    monkeypatch.setenv("ACCOUNT_NAMES", "111122223333=Production")
    wiring.watchdog.cache_clear()
    surroundings = wiring.watchdog().recorder.surroundings
    wiring.watchdog.cache_clear()
    assert surroundings.look_up("111122223333", {"203.0.113.7": True}) == Found({}, "Production")


IMPORTS = """
import sys
from functions.detect import app
from rootwatch import wiring
wiring.intake()
wiring._session().client
print(sorted({name.partition(".")[0] for name in sys.modules} & {"requests", "maxminddb"}))
"""


def test_what_is_not_asked_is_not_imported() -> None:
    """Until an owner is looked up, detect imports neither the library for the registries nor the one for databases."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS],
        cwd=PROJECT,
        env={
            "PYTHONPATH": f"{PROJECT}:{PROJECT / 'layers/rootwatch'}", "TABLE_NAME": "audit", "STACK_NAME": "rootwatch",
            "DEAD_LETTER_QUEUE_URL": "https://sqs/dead", "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_a_dead_letter_is_left_whatever_a_key_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key with control characters, which DynamoDB takes and SQS does not, must not hold up the alerts behind it."""
    queue = Mock()
    monkeypatch.setattr(wiring, "_session", lambda: Mock(client=Mock(return_value=queue)))
    wiring._dead_letters("https://sqs/dead")(
        '{"sk": "\\u0001"}', "gone\x00\nreally", "DELIVERY#\x01\x1b[2J\ud800" * 400
    )
    sent = queue.send_message.call_args.kwargs
    assert sent["MessageBody"] == '{"sk": "\\u0001"}'
    values = [each["StringValue"] for each in sent["MessageAttributes"].values()]
    assert values[0] == "gone\\u0000 really"
    assert all(each.isprintable() and len(each) <= 1000 for each in values)


def _clock(monkeypatch: pytest.MonkeyPatch) -> tuple[list[float], list[float]]:
    """A clock that only waiting moves: the moment that it shows, and how long was waited each time."""
    moments, waits = [1_000.0], list[float]()

    class Time:
        @staticmethod
        def monotonic() -> float:
            return moments[0]

        @staticmethod
        def sleep(seconds: float) -> None:
            waits.append(seconds)
            moments[0] += seconds

    monkeypatch.setattr(wiring, "time", Time)
    return moments, waits


def test_publishes_keep_their_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten publishes of one sender take nine seconds: five may send at once, and SNS gives mail up over ten a second."""
    moments, waits = _clock(monkeypatch)
    pace = wiring._Pace(wiring._SECONDS_PER_PUBLISH)
    for _ in range(10):
        pace.wait()
    assert sum(waits) == pytest.approx(9.0)
    moments[0] += 60
    pace.wait()
    assert len(waits) == 9


@pytest.mark.parametrize(("asked", "quiet"), [(0.0, 0.0), (60.0, 60.0), (99_999.0, 900.0)])
def test_slack_is_left_alone_as_it_asks_and_not_for_days(
    monkeypatch: pytest.MonkeyPatch, asked: float, quiet: float
) -> None:
    """Retry-After is obeyed; a wait without reason would withhold every alert for as long as the container lives."""
    moments, waits = _clock(monkeypatch)
    held_back = wiring._Quiet()

    def refuse() -> None:
        raise DeliveryFailedError("429", retry_after=asked)

    for call in (held_back.keep, held_back.keep):
        with pytest.raises(DeliveryFailedError):
            call(refuse)
    assert held_back.rest() == quiet
    assert sum(waits) == 0.0
    moments[0] += quiet
    held_back.check()
