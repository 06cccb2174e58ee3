"""The handlers as Lambda calls them, on real adapters: moto instead of AWS, a Slack-shaped server on loopback."""

import io
import json
import logging
import subprocess
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
import pytest_socket
from moto import mock_aws

from functions.detect import app as detect
from functions.notify_slack import app as notify_slack
from functions.notify_sns import app as notify_sns
from rootwatch import wiring
from rootwatch.channels import slack, sns
from rootwatch.errors import NothingDeliveredError
from rootwatch_cli.slack_receiver import WEBHOOK_PATH, Behaviour, SlackReceiver
from tests.builders import as_sqs_event, build_envelope
from tests.builders.audit_table import create_audit_table

TABLE, SECRET_NAME = "rootwatch-audit", "rootwatch-slack"
PROJECT = Path(__file__).parents[2]
TOKEN = WEBHOOK_PATH.rpartition("/")[2]

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")


@dataclass
class Context:
    """What Powertools asks of Lambda's context."""

    function_name: str = "rootwatch-test"
    memory_limit_in_mb: int = 256
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:111122223333:function:rootwatch-test"
    aws_request_id: str = "00000000-0000-4000-8000-000000000000"


@dataclass
class Stack:
    """What the template makes, as far as the functions see it."""

    session: boto3.Session
    dead_letters: str
    subscriber: str
    pages: list[Any] = field(default_factory=list)

    def items(self, prefix: str = "") -> list[dict[str, Any]]:
        """The table's items whose sort key begins like this, as the stream's images have them."""
        found = self.session.client("dynamodb").scan(TableName=TABLE)["Items"]
        return [dict(item) for item in found if str(item["sk"]["S"]).startswith(prefix)]

    def messages(self, url: str) -> list[Any]:
        """The messages of a queue."""
        found = self.session.client("sqs").receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        )
        return list(found.get("Messages", []))

    def stream_event(self, channel: str) -> dict[str, Any]:
        """What the table's stream hands to the channel's notifier: one record per new ledger."""
        return {
            "Records": [
                {
                    "eventID": f"event-{number}",
                    "eventName": "INSERT",
                    "eventSource": "aws:dynamodb",
                    "dynamodb": {
                        "Keys": {"pk": item["pk"], "sk": item["sk"]},
                        "NewImage": item,
                        "SequenceNumber": f"{number}00",
                        "StreamViewType": "NEW_IMAGE",
                    },
                }
                for number, item in enumerate(self.items(f"DELIVERY#{channel}#"), start=1)
            ]
        }

    def states(self, channel: str) -> list[str]:
        """What the channel's ledgers say."""
        return [item["state"]["S"] for item in self.items(f"DELIVERY#{channel}#")]

    def store_secret(self, text: str) -> None:
        """Put a text into Slack's secret."""
        self.session.client("secretsmanager").put_secret_value(SecretId=SECRET_NAME, SecretString=text)


@pytest.fixture
def receiver() -> Iterator[SlackReceiver]:
    """A Slack on the loopback address; connections to anywhere else are errors."""
    pytest_socket.socket_allow_hosts(["127.0.0.1"], allow_unix_socket=True)
    with SlackReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="module", autouse=True)
def _session_of_this_module() -> Iterator[None]:
    """Nothing of the session that these tests share is left for others."""
    wiring._session.cache_clear()
    yield
    wiring._session.cache_clear()


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch, receiver: SlackReceiver) -> Iterator[Stack]:
    """Everything deployed, the environment of every function set, Slack's secret as the stack creates it."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_LAMBDA_FUNCTION_NAME": "rootwatch-test", "POWERTOOLS_TRACE_DISABLED": "true", "TABLE_NAME": TABLE,
        "STACK_NAME": "rootwatch", "SLACK_SECRET_ID": SECRET_NAME, "SLACK_ORIGIN": receiver.origin,
        "LOOK_UP_OWNERS": "false",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    made_once = (wiring.intake, wiring.sns_notifier, wiring.slack_notifier)
    for function in made_once:
        function.cache_clear()
    monkeypatch.setattr(slack, "TIMEOUT_SECONDS", (1.0, 0.3))
    with mock_aws():
        session = wiring._session()  # the functions' own: what it has read of the services is read once for all tests
        create_audit_table(session.client("dynamodb"), TABLE)
        sqs, topics = session.client("sqs"), session.client("sns")
        dead_letters = sqs.create_queue(QueueName="rootwatch-intake-dead-letter")["QueueUrl"]
        subscriber = sqs.create_queue(QueueName="subscriber")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=subscriber, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        topic = topics.create_topic(Name="rootwatch-alerts")["TopicArn"]
        topics.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        session.client("secretsmanager").create_secret(Name=SECRET_NAME, SecretString="{}")
        monkeypatch.setenv("DEAD_LETTER_QUEUE_URL", dead_letters)
        monkeypatch.setenv("ALERT_TOPIC_ARN", topic)
        yield Stack(session, dead_letters, subscriber)
    for function in made_once:
        function.cache_clear()


def _detected(*envelopes: Any) -> Any:
    return detect.handler(as_sqs_event(envelopes), Context())


def test_detect_writes_the_table(stack: Stack) -> None:
    """A message of the queue is an event, a head, an incident, an alert and a ledger per channel in the table; and its
    account is heard.
    """
    assert _detected(build_envelope("console_login_without_mfa")) == {"batchItemFailures": []}
    kinds = sorted(str(item["sk"]["S"]).partition("#")[0] for item in stack.items())
    expected = [
        "111122223333",
        "2026-11-03T02:14:07Z",
        "HEAD",
        "SOURCE",
        "SEEN",
        "INCIDENT",
        "ALERT",
        "DELIVERY",
        "DELIVERY",
    ]
    assert kinds == sorted(expected)
    before = stack.items()
    assert _detected(build_envelope("console_login_without_mfa")) == {"batchItemFailures": []}
    assert stack.items() == before


def test_poison_goes_to_the_dead_letter_queue_with_its_reason(stack: Stack) -> None:
    """Each unreadable message is there as it came, with reason and message id, and its neighbours are recorded."""
    poison = ["hunter2 is not JSON", "", '{"source": "aws.signin", "detail": {"hunter2": 1}}']
    event = as_sqs_event([build_envelope("console_login"), *poison, build_envelope("write")])
    assert detect.handler(event, Context()) == {"batchItemFailures": []}
    letters = {
        each["MessageAttributes"]["message_id"]["StringValue"]: each for each in stack.messages(stack.dead_letters)
    }
    assert letters.keys() == {entry["messageId"] for entry in event["Records"][1:4]}
    for entry in event["Records"][1:4]:
        letter = letters[entry["messageId"]]
        assert letter["Body"] == (entry["body"] or "(empty)")
        reason = letter["MessageAttributes"]["reason"]["StringValue"]
        assert len(reason) > 10
        assert "hunter2" not in reason
    assert len(stack.items("2026-11-")) == 2


def test_what_failed_is_reported(stack: Stack) -> None:
    """Without its table and its dead-letter queue detect loses nothing: every message stays in the queue."""
    stack.session.client("dynamodb").delete_table(TableName=TABLE)
    stack.session.client("sqs").delete_queue(QueueUrl=stack.dead_letters)
    event = as_sqs_event([build_envelope("console_login"), "poison", build_envelope("silent/iam_user_sign_in")])
    expected = [{"itemIdentifier": entry["messageId"]} for entry in event["Records"][:2]]
    assert detect.handler(event, Context()) == {"batchItemFailures": expected}


def test_notify_sns_publishes_once(stack: Stack) -> None:
    """The alert reaches a subscriber of the topic, the ledger has SNS's id, and a repetition sends nothing."""
    _detected(build_envelope("console_login_without_mfa"))
    event = stack.stream_event("sns")
    for _ in range(2):
        assert notify_sns.handler(event, Context()) == {"batchItemFailures": []}
    [message] = stack.messages(stack.subscriber)
    notification = json.loads(message["Body"])
    assert json.loads(notification["Message"])["detections"] == ["root.console_login_without_mfa"]
    [ledger] = stack.items("DELIVERY#sns#")
    assert (ledger["state"]["S"], ledger["receipt"]["S"]) == ("sent", notification["MessageId"])
    assert stack.states("slack") == ["pending"]


def test_notify_slack_posts_once(stack: Stack, receiver: SlackReceiver) -> None:
    """With a webhook in the secret the alert reaches Slack, once."""
    stack.store_secret(json.dumps({"webhook_url": receiver.webhook_url}))
    _detected(build_envelope("console_login_without_mfa"))
    for _ in range(2):
        assert notify_slack.handler(stack.stream_event("slack"), Context()) == {"batchItemFailures": []}
    [message] = receiver.messages
    assert "WITHOUT MFA" in message.payload["text"]
    assert stack.states("slack") == ["sent"]
    assert stack.states("sns") == ["pending"]


def test_a_secret_without_address_is_unconfigured(stack: Stack, receiver: SlackReceiver) -> None:
    """The secret as the stack creates it makes the ledger say `unconfigured`, which is no failure and never sent."""
    _detected(build_envelope("console_login"))
    assert notify_slack.handler(stack.stream_event("slack"), Context()) == {"batchItemFailures": []}
    assert stack.states("slack") == ["unconfigured"]
    assert receiver.requests == 0


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """All that the Slack notifier and Powertools log, down to the last detail."""
    text = io.StringIO()
    handler, logger = logging.StreamHandler(text), logging.getLogger("aws_lambda_powertools")
    monkeypatch.setattr(notify_slack.logger.registered_handler, "stream", text)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    yield text
    logger.removeHandler(handler)
    logger.setLevel(level)


def _secret_is_not_json(stack: Stack, receiver: SlackReceiver) -> None:
    stack.store_secret(receiver.webhook_url)


def _secret_is_of_another_origin(stack: Stack, _: SlackReceiver) -> None:
    stack.store_secret(json.dumps({"webhook_url": f"https://evil.example.com{WEBHOOK_PATH}"}))


def _secret_is_gone(stack: Stack, _: SlackReceiver) -> None:
    stack.session.client("secretsmanager").delete_secret(SecretId=SECRET_NAME, ForceDeleteWithoutRecovery=True)


def _cause(stack: Stack, receiver: SlackReceiver, trouble: Any) -> None:
    """Record one alert, and let Slack or its secret cause trouble."""
    stack.store_secret(json.dumps({"webhook_url": receiver.webhook_url}))
    if isinstance(trouble, Behaviour):
        receiver.answer_with(trouble)
    else:
        trouble(stack, receiver)
    _detected(build_envelope("console_login_without_mfa"))


def _check_that_nothing_tells(stack: Stack, log: io.StringIO, *others: str) -> None:
    """The log says what went wrong, and neither it nor the table holds the webhook's address."""
    told = "".join([log.getvalue(), str(stack.items()), *others])
    assert "delivery: " in log.getvalue()
    assert TOKEN not in told
    assert WEBHOOK_PATH[:20] not in told


@pytest.mark.parametrize(
    "trouble",
    [Behaviour.TOO_MANY_REQUESTS, Behaviour.SERVER_ERROR, Behaviour.HANG, Behaviour.REFUSE, _secret_is_gone],
)
def test_what_slack_did_not_take_is_tried_again(
    stack: Stack, receiver: SlackReceiver, trouble: Any, capfd: pytest.CaptureFixture[str], log: io.StringIO
) -> None:
    """The stream hears of it and comes again, the ledger says failed, and nobody learns the webhook's address."""
    _cause(stack, receiver, trouble)
    with pytest.raises(NothingDeliveredError) as caught:
        notify_slack.handler(stack.stream_event("slack"), Context())
    assert stack.states("slack") == ["failed"]
    assert stack.messages(stack.dead_letters) == []
    assert "Slack" in log.getvalue()
    _check_that_nothing_tells(stack, log, *capfd.readouterr(), *traceback.format_exception(caught.value))
    assert receiver.messages == ()


def test_the_ledger_says_why_the_secret_cannot_be_read(stack: Stack, receiver: SlackReceiver) -> None:
    """Gone, forbidden or without its key are mended in three places: AWS's own word for it says where."""
    _cause(stack, receiver, _secret_is_gone)
    with pytest.raises(NothingDeliveredError, match="ResourceNotFoundException"):
        notify_slack.handler(stack.stream_event("slack"), Context())
    [ledger] = stack.items("DELIVERY#slack#")
    assert f"{SECRET_NAME} cannot be read (ResourceNotFoundException)" in str(ledger["attempts"])


@pytest.mark.parametrize("trouble", [Behaviour.NO_SERVICE, _secret_is_not_json, _secret_is_of_another_origin])
def test_what_slack_refused_for_good_is_a_dead_letter(
    stack: Stack, receiver: SlackReceiver, trouble: Any, capfd: pytest.CaptureFixture[str], log: io.StringIO
) -> None:
    """It does not hold up the alerts behind it: ledger and dead letter name the reason, and never the address."""
    _cause(stack, receiver, trouble)
    assert notify_slack.handler(stack.stream_event("slack"), Context()) == {"batchItemFailures": []}
    assert stack.states("slack") == ["failed"]
    [letter] = stack.messages(stack.dead_letters)
    [ledger] = stack.items("DELIVERY#slack#")
    assert json.loads(letter["Body"]) == {"pk": ledger["pk"]["S"], "sk": ledger["sk"]["S"]}
    assert letter["MessageAttributes"]["reason"]["StringValue"] == ledger["attempts"]["L"][0]["M"]["error"]["S"]
    _check_that_nothing_tells(stack, log, *capfd.readouterr(), str(letter))
    assert receiver.messages == ()


def test_a_refusal_without_a_dead_letter_queue_is_tried_again(stack: Stack, receiver: SlackReceiver) -> None:
    """What cannot be left anywhere stays in the stream."""
    _cause(stack, receiver, Behaviour.NO_SERVICE)
    stack.session.client("sqs").delete_queue(QueueUrl=stack.dead_letters)
    with pytest.raises(NothingDeliveredError):
        notify_slack.handler(stack.stream_event("slack"), Context())
    assert stack.states("slack") == ["failed"]


def test_slack_is_given_the_time_that_it_asks_for(stack: Stack, receiver: SlackReceiver) -> None:
    """After a 429 with a short Retry-After the notifier waits and posts again, and the alert arrives once."""
    stack.store_secret(json.dumps({"webhook_url": receiver.webhook_url}))
    _detected(build_envelope("console_login"))
    receiver.answer_with(Behaviour.TOO_MANY_REQUESTS, times=1, retry_after_seconds=0)
    assert notify_slack.handler(stack.stream_event("slack"), Context()) == {"batchItemFailures": []}
    assert stack.states("slack") == ["sent"]
    assert len(receiver.messages) == 1


def test_a_message_that_slack_refuses_goes_out_as_plain_text(stack: Stack, receiver: SlackReceiver) -> None:
    """Blocks that Slack does not take cost the blocks, not the alert, and the ledger tells both attempts."""
    _cause(stack, receiver, lambda *_: receiver.answer_with(Behaviour.ERROR, code="invalid_blocks", times=1))
    assert notify_slack.handler(stack.stream_event("slack"), Context()) == {"batchItemFailures": []}
    [message] = receiver.messages
    assert "blocks" not in message.payload
    assert "WITHOUT MFA" in message.payload["text"]
    [ledger] = stack.items("DELIVERY#slack#")
    attempts = [attempt["M"]["error"] for attempt in ledger["attempts"]["L"]]
    assert "does not take the message's blocks" in attempts[0]["S"]
    assert attempts[1:] == [{"NULL": True}]
    assert (ledger["state"]["S"], ledger["receipt"]["S"]) == ("sent", "ok")
    assert stack.messages(stack.dead_letters) == []


def test_a_message_that_slack_refuses_in_every_form_is_a_dead_letter(stack: Stack, receiver: SlackReceiver) -> None:
    """Three forms are tried, and then a person is told."""
    _cause(stack, receiver, lambda *_: receiver.answer_with(Behaviour.ERROR, code="invalid_payload"))
    assert notify_slack.handler(stack.stream_event("slack"), Context()) == {"batchItemFailures": []}
    assert receiver.requests == 3
    assert stack.states("slack") == ["failed"]
    assert len(stack.messages(stack.dead_letters)) == 1


def _faulty(*_arguments: object) -> Any:
    message = "a record's own words"
    raise ZeroDivisionError(message)


@pytest.mark.parametrize("faults", [("payload",), ("payload", "plain_payload")])
def test_a_fault_in_rendering_for_slack_costs_no_alert(
    stack: Stack, receiver: SlackReceiver, monkeypatch: pytest.MonkeyPatch, faults: tuple[str, ...]
) -> None:
    """A fault of ours is in the ledger by its kind, and what could still be rendered reaches people."""
    for fault in faults:
        monkeypatch.setattr(slack, fault, _faulty)
    _cause(stack, receiver, lambda *_: None)
    assert notify_slack.handler(stack.stream_event("slack"), Context()) == {"batchItemFailures": []}
    [message] = receiver.messages
    [alert] = stack.items("ALERT#")
    assert alert["incident_id"]["S"] in message.payload["text"]
    assert ("WITHOUT MFA" in message.payload["text"]) is (len(faults) == 1)
    assert stack.states("slack") == ["sent"]
    told = str(stack.items("DELIVERY#slack#"))
    assert told.count("ZeroDivisionError") == len(faults)
    assert "own words" not in told


def test_a_fault_in_rendering_for_sns_costs_no_alert(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours is in the ledger, and the subscriber gets the alert's id, severity, account and time."""
    monkeypatch.setattr(sns, "publish_arguments", _faulty)
    _detected(build_envelope("console_login_without_mfa"))
    assert notify_sns.handler(stack.stream_event("sns"), Context()) == {"batchItemFailures": []}
    [message] = stack.messages(stack.subscriber)
    document = json.loads(json.loads(message["Body"])["Message"])
    assert (document["severity"], document["account_id"]) == ("critical", "111122223333")
    assert stack.states("sns") == ["sent"]
    assert "ZeroDivisionError" in str(stack.items("DELIVERY#sns#"))


def test_a_publish_that_sns_refuses_goes_out_in_its_barest_form(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A publish beyond SNS's limits is followed by one within them."""
    good = sns.publish_arguments

    def too_long(*arguments: Any) -> Any:
        return good(*arguments) | {"Message": "x" * 300_000, "MessageStructure": ""}

    monkeypatch.setattr(sns, "publish_arguments", too_long)
    _detected(build_envelope("console_login_without_mfa"))
    assert notify_sns.handler(stack.stream_event("sns"), Context()) == {"batchItemFailures": []}
    assert len(stack.messages(stack.subscriber)) == 1
    [ledger] = stack.items("DELIVERY#sns#")
    assert "InvalidParameter" in ledger["attempts"]["L"][0]["M"]["error"]["S"]
    assert ledger["state"]["S"] == "sent"


@pytest.mark.parametrize("record", [{}, {"dynamodb": {}}, {"dynamodb": {"Keys": {"pk": {"S": "x"}}}}])
def test_a_stream_record_that_names_no_item_is_a_dead_letter(stack: Stack, record: dict[str, Any]) -> None:
    """What no repetition can help does not hold up the stream, and does not vanish either."""
    assert notify_sns.handler({"Records": [record]}, Context()) == {"batchItemFailures": []}
    [letter] = stack.messages(stack.dead_letters)
    assert "names no item" in letter["MessageAttributes"]["reason"]["StringValue"]


def test_of_a_batch_only_what_failed_is_reported(stack: Stack, receiver: SlackReceiver) -> None:
    """The stream starts again at the first alert that Slack did not take; what was sent is not sent again then."""
    stack.store_secret(json.dumps({"webhook_url": receiver.webhook_url}))
    _detected(*(build_envelope(name) for name in ("console_login", "access_key_created", "logging_tampered")))
    event = stack.stream_event("slack")
    assert len(event["Records"]) == 3
    receiver.answer_with(Behaviour.SERVER_ERROR, times=1)
    assert notify_slack.handler(event, Context()) == {"batchItemFailures": [{"itemIdentifier": "100"}]}
    assert sorted(stack.states("slack")) == ["failed", "sent", "sent"]
    assert notify_slack.handler(event, Context()) == {"batchItemFailures": []}
    assert stack.states("slack") == ["sent"] * 3
    assert len(receiver.messages) == 3


def test_a_new_webhook_counts_without_a_new_deployment(
    stack: Stack, receiver: SlackReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A running container believes the secret for a minute at most; an alert from before stays `unconfigured`."""
    assert wiring._SECRET_SECONDS <= 60
    monkeypatch.setattr(wiring, "_SECRET_SECONDS", 0)
    _detected(build_envelope("console_login"))
    notify_slack.handler(stack.stream_event("slack"), Context())
    stack.store_secret(json.dumps({"webhook_url": receiver.webhook_url}))
    _detected(build_envelope("console_login", number=2))
    notify_slack.handler(stack.stream_event("slack"), Context())
    assert sorted(stack.states("slack")) == ["sent", "unconfigured"]
    assert len(receiver.messages) == 1


DETECT_PATH = """
import sys
from functions.detect import app
print(*sorted({"requests", "jinja2", "pydantic", "typer", "rich"} & sys.modules.keys()))
"""


def test_detect_imports_nothing_that_it_does_not_need() -> None:
    """A cold start of detect pays neither for Slack's HTTP client nor for templates, models or the terminal."""
    done = subprocess.run(
        [sys.executable, "-c", DETECT_PATH],
        cwd=PROJECT,
        env={"PYTHONPATH": f"{PROJECT}:{PROJECT / 'layers/rootwatch'}", "POWERTOOLS_TRACE_DISABLED": "true"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
