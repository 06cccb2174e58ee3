"""Each sender against a service that behaves like the real one: Slack's webhook on loopback, SNS on moto."""

import json
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import boto3
import pytest
import pytest_socket
import requests
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, NoCredentialsError
from moto import mock_aws

from rootwatch.channels import slack, sns
from rootwatch.errors import DeliveryError, DeliveryFailedError, DeliveryRefusedError, MessageRefusedError
from rootwatch_cli.slack_receiver import WEBHOOK_PATH, Behaviour, SlackReceiver
from tests.builders import specimen_stems
from tests.unit.workbench import make_alert

if TYPE_CHECKING:
    from types_boto3_sns import SNSClient

SECRET = WEBHOOK_PATH.rpartition("/")[2]
RUNBOOK = "https://runbook.example.com/root"


@pytest.fixture
def receiver() -> Iterator[SlackReceiver]:
    """A Slack that listens on the loopback address."""
    with SlackReceiver() as receiver:
        yield receiver


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """A session as the notifier has it."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture(autouse=True)
def _loopback_only() -> None:
    """A connection to anywhere but the loopback address is an error."""
    pytest_socket.socket_allow_hosts(["127.0.0.1"], allow_unix_socket=True)


@pytest.fixture(autouse=True)
def _short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slack, "TIMEOUT_SECONDS", (1.0, 0.3))


def _fails(session: requests.Session, address: str, message: dict[str, Any] | None = None) -> DeliveryError:
    """Post, and return the error; nothing of the webhook's address is in it or in its traceback."""
    with pytest.raises(DeliveryError) as caught:
        slack.post(session, address, slack.payload(make_alert()) if message is None else message)
    told = "".join(traceback.format_exception(caught.value))
    assert SECRET not in told
    assert "/services/" not in told
    return caught.value


class TestSlack:
    """`post` knows what to do after each answer of Slack."""

    @pytest.mark.parametrize("specimen", [stem for stem in specimen_stems() if stem not in {"read", "service_acted"}])
    def test_every_alert_is_taken(self, session: requests.Session, receiver: SlackReceiver, specimen: str) -> None:
        """What we render passes Slack's own checks, arrives as rendered, and Slack's ok is the receipt."""
        payload = slack.payload(make_alert(specimen), RUNBOOK)
        assert slack.post(session, receiver.webhook_url, payload) == "ok"
        [message] = receiver.messages
        assert message.payload == payload
        assert message.path == WEBHOOK_PATH

    @pytest.mark.parametrize("seconds", [0, 1, 30, 86_400])
    def test_too_many_requests(self, session: requests.Session, receiver: SlackReceiver, seconds: int) -> None:
        """A 429 is tried again, not before the seconds that Slack names."""
        receiver.answer_with(Behaviour.TOO_MANY_REQUESTS, retry_after_seconds=seconds)
        error = _fails(session, receiver.webhook_url)
        assert isinstance(error, DeliveryFailedError)
        assert error.retry_after == seconds

    @pytest.mark.parametrize("text", [None, "", "-1", "soon", "1e9", "Wed, 21 Oct 2026 07:28:00 GMT", "١٢", "9" * 400])
    def test_retry_after_that_is_no_number(self, text: str | None) -> None:
        """Where Slack names no whole seconds, we name none."""
        answer = Mock(status_code=429, text="rate_limited", headers={} if text is None else {"Retry-After": text})
        with pytest.raises(DeliveryFailedError) as caught:
            slack.post(Mock(post=Mock(return_value=answer)), "https://hooks.slack.com/services/x", {})
        assert caught.value.retry_after is None

    def test_server_error(self, session: requests.Session, receiver: SlackReceiver) -> None:
        """A 500 is tried again."""
        receiver.answer_with(Behaviour.SERVER_ERROR)
        error = _fails(session, receiver.webhook_url)
        assert isinstance(error, DeliveryFailedError)
        assert "500" in str(error)

    def test_hang(self, session: requests.Session, receiver: SlackReceiver) -> None:
        """A Slack that takes the request and never answers is given up in time, and tried again."""
        receiver.answer_with(Behaviour.HANG)
        error = _fails(session, receiver.webhook_url)
        assert isinstance(error, DeliveryFailedError)
        assert "Timeout" in str(error)

    def test_refused_connection(self, session: requests.Session, receiver: SlackReceiver) -> None:
        """A connection that breaks is tried again."""
        receiver.answer_with(Behaviour.REFUSE)
        assert isinstance(_fails(session, receiver.webhook_url), DeliveryFailedError)

    def test_nobody_listens(self, session: requests.Session) -> None:
        """A port without a listener is tried again."""
        with SlackReceiver() as gone:
            address = gone.webhook_url
        assert isinstance(_fails(session, address), DeliveryFailedError)

    def test_no_service(self, session: requests.Session, receiver: SlackReceiver) -> None:
        """A webhook that was removed is refused for good, and the message says what to mend."""
        receiver.answer_with(Behaviour.NO_SERVICE)
        error = _fails(session, receiver.webhook_url)
        assert isinstance(error, DeliveryRefusedError)
        assert "make a new one" in str(error)

    @pytest.mark.parametrize(
        ("message", "words"),
        [
            (
                {"text": "x", "blocks": [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}]},
                "blocks",
            ),
            ({"text": "x", "blocks": [{"type": "marquee"}]}, "blocks"),
            ({"text": ""}, "no text"),
        ],
    )
    def test_a_message_that_slack_does_not_take(
        self, session: requests.Session, receiver: SlackReceiver, message: dict[str, Any], words: str
    ) -> None:
        """A message outside of Slack's rules is refused in words, which say that its form is at fault."""
        error = _fails(session, receiver.webhook_url, message)
        assert isinstance(error, MessageRefusedError)
        assert words in str(error)
        assert receiver.messages == ()

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            ("action_prohibited", "administrator"),
            ("channel_is_archived", "unarchive it"),
            ("channel_not_found", "another channel"),
            ("invalid_token", "whole address"),
            ("no_service", "make a new one"),
            ("posting_to_general_channel_denied", "#general"),
            ("team_disabled", "workspace is disabled"),
            ("user_not_found", "make a new webhook"),
        ],
    )
    def test_what_a_person_has_to_mend(
        self, session: requests.Session, receiver: SlackReceiver, code: str, words: str
    ) -> None:
        """Slack's code becomes words that say what to mend; no other form of the message would pass."""
        receiver.answer_with(Behaviour.ERROR, code=code)
        error = _fails(session, receiver.webhook_url)
        assert type(error) is DeliveryRefusedError
        assert words in str(error)
        assert code in str(error)

    @pytest.mark.parametrize(
        ("status", "expected"), [(400, MessageRefusedError), (403, DeliveryRefusedError), (413, MessageRefusedError)]
    )
    def test_a_code_that_is_not_known(self, status: int, expected: type[DeliveryError]) -> None:
        """A code that we do not know is repeated if it is one; with 400 and 413 a plainer form is worth a try."""
        answer = Mock(status_code=status, text="no_such_code", headers={})
        with pytest.raises(expected, match=f"{status} no_such_code.*no reason that is known") as caught:
            slack.post(Mock(post=Mock(return_value=answer)), "https://hooks.slack.com/services/x", {})
        assert type(caught.value) is expected

    @pytest.mark.parametrize("specimen", ["console_login_without_mfa", "logging_tampered", "assumed"])
    def test_every_plainer_form_is_taken(
        self, session: requests.Session, receiver: SlackReceiver, specimen: str
    ) -> None:
        """Slack takes the plain text and the bare one, which have no blocks."""
        for form in (slack.plain_payload, slack.bare_payload):
            payload = form(make_alert(specimen))
            assert slack.post(session, receiver.webhook_url, payload) == "ok"
            assert "blocks" not in payload
        assert len(receiver.messages) == 2

    @pytest.mark.parametrize(
        ("status", "expected"),
        [
            *((status, DeliveryRefusedError) for status in (400, 403, 404, 410)),
            *((status, DeliveryFailedError) for status in (301, 302, 500, 503)),
        ],
    )
    def test_the_answers_own_words_are_never_repeated(self, status: int, expected: type[DeliveryError]) -> None:
        """An answer that is not Slack's could hold anything, the webhook's address too: it is not passed on."""
        answer = Mock(status_code=status, text=f"no webhook at {WEBHOOK_PATH}", headers={"Location": WEBHOOK_PATH})
        with pytest.raises(expected) as caught:
            slack.post(Mock(post=Mock(return_value=answer)), "https://hooks.slack.com/services/x", {})
        assert SECRET not in str(caught.value)

    def test_redirects_are_not_followed(self) -> None:
        """The address is for one host: nobody can send it and the alert elsewhere; and no call waits for ever."""
        post = Mock(return_value=Mock(status_code=200, text="ok"))
        slack.post(Mock(post=post), "https://hooks.slack.com/services/x", {})
        assert post.call_args.kwargs["allow_redirects"] is False
        assert post.call_args.kwargs["timeout"] == slack.TIMEOUT_SECONDS

    @pytest.mark.parametrize("secret", [{}, {"webhook_url": ""}, {"webhook_url": None}, {"other": "x"}])
    def test_a_secret_without_address_is_unconfigured(self, secret: object) -> None:
        """The secret as the stack creates it holds no address yet, which is no error."""
        assert slack.webhook_address(secret, "https://hooks.slack.com") is None

    def test_an_address_of_the_origin_is_taken(self) -> None:
        """White space around the address, as copying leaves it, does no harm."""
        address = f"https://hooks.slack.com{WEBHOOK_PATH}"
        assert slack.webhook_address({"webhook_url": f" {address}\n"}, "https://hooks.slack.com") == address

    @pytest.mark.parametrize(
        "secret",
        [
            None, [], "x", 7, {"webhook_url": 7}, {"webhook_url": [WEBHOOK_PATH]},
            *({"webhook_url": address + WEBHOOK_PATH} for address in (
                "http://hooks.slack.com", "https://hooks.slack.com.evil.example.com", "https://hooks.slack.com@evil.example.com",
                "https://evil.example.com", "https://hooks.slack.com:8443", "", "https://[hooks.slack.com", "https://user@hooks.slack.com",
                "https://hooks.slack.com\\@evil.example.com", "file://",
            )),
        ],
    )  # fmt: skip
    def test_a_secret_of_another_shape_or_origin_is_refused(self, secret: object) -> None:
        """An address elsewhere never gets an alert, and is not repeated in the message."""
        with pytest.raises(DeliveryRefusedError) as caught:
            slack.webhook_address(secret, "https://hooks.slack.com")
        told = "".join(traceback.format_exception(caught.value))
        assert SECRET not in told
        assert "evil" not in told


REFUSED = ("InvalidParameter", "InvalidParameterValue", "ValidationError", "ValidationException")
FAILED = (
    "Throttling", "ThrottledException", "InternalError", "AuthorizationError", "NotFound", "KMSAccessDenied",
    "KMSDisabled", "EndpointDisabled", "SomethingNew",
)  # fmt: skip


def _client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "secret words"}}, "Publish")


class TestSns:
    """`publish` hands an alert to SNS and says what came of it."""

    @pytest.fixture
    def aws(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[boto3.Session]:
        """A session whose calls end in moto."""
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        with mock_aws():
            yield boto3.Session(region_name="us-east-1")

    @pytest.fixture
    def client(self, aws: boto3.Session) -> "SNSClient":
        """A client whose calls end in moto."""
        return aws.client("sns")

    @pytest.mark.parametrize("specimen", ["console_login_without_mfa", "logging_tampered", "assumed"])
    def test_reaches_a_queue_with_its_attributes(self, aws: boto3.Session, client: "SNSClient", specimen: str) -> None:
        """SNS takes the message structure, its id is the receipt, and a queue gets the whole alert as JSON."""
        alert = make_alert(specimen)
        topic = client.create_topic(Name="alerts")["TopicArn"]
        sqs = aws.client("sqs")
        url = sqs.create_queue(QueueName=f"subscriber-{specimen}")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        client.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        receipt = sns.publish(client, sns.publish_arguments(alert, topic, RUNBOOK))
        [message] = sqs.receive_message(QueueUrl=url)["Messages"]
        notification = json.loads(message["Body"])
        assert notification["MessageId"] == receipt
        assert notification["Subject"] == sns.subject(alert)
        assert json.loads(notification["Message"])["alert_id"] == alert.alert_id
        assert notification["MessageAttributes"]["severity"]["Value"] == alert.severity
        assert json.loads(notification["MessageAttributes"]["detections"]["Value"]) == list(alert.detections)
        assert notification["MessageAttributes"]["account_id"]["Value"] == alert.account_id

    def test_a_filter_on_severity_works(self, aws: boto3.Session, client: "SNSClient") -> None:
        """A subscription can take critical alerts only."""
        topic = client.create_topic(Name="filtered")["TopicArn"]
        sqs = aws.client("sqs")
        url = sqs.create_queue(QueueName="pager")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        policy = json.dumps({"severity": ["critical"], "detections": ["root.console_login_without_mfa"]})
        client.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"FilterPolicy": policy})
        for specimen in ("console_login", "console_login_without_mfa"):
            sns.publish(client, sns.publish_arguments(make_alert(specimen), topic))
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
        assert [json.loads(json.loads(each["Body"])["Message"])["severity"] for each in messages] == ["critical"]

    def test_a_topic_that_is_not_there_is_tried_again(self, client: "SNSClient") -> None:
        """A deployment that is wrong must not lose the alert."""
        arguments = sns.publish_arguments(make_alert(), "arn:aws:sns:us-east-1:111122223333:no-such-topic")
        with pytest.raises(DeliveryFailedError):
            sns.publish(client, arguments)

    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            *((_client_error(code), MessageRefusedError) for code in REFUSED),
            *((_client_error(code), DeliveryFailedError) for code in FAILED),
            (EndpointConnectionError(endpoint_url="https://sns.us-east-1.amazonaws.com"), DeliveryFailedError),
            (ConnectTimeoutError(endpoint_url="https://sns.us-east-1.amazonaws.com"), DeliveryFailedError),
            (NoCredentialsError(), DeliveryFailedError),
        ],
        ids=lambda value: getattr(value, "__name__", str(value)[:60]),
    )
    def test_errors(self, error: Exception, expected: type[DeliveryError]) -> None:
        """Only what SNS will never take is refused for good; all else is tried again."""
        with pytest.raises(DeliveryError) as caught:
            sns.publish(Mock(publish=Mock(side_effect=error)), sns.publish_arguments(make_alert(), "arn"))
        assert type(caught.value) is expected
        assert "secret words" not in str(caught.value)
