"""Each sender against a service that behaves like the real one: Slack's webhook on loopback, SNS on moto."""

import json
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import boto3
import pytest
import pytest_socket
import requests
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, NoCredentialsError
from moto import mock_aws

from rootwatch import wiring
from rootwatch.channels import slack, sns
from rootwatch.errors import DeliveryError, DeliveryFailedError, DeliveryRefusedError, MessageRefusedError
from rootwatch.timed_session import MOST_BYTES, TimedSession
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
    """A session as the notifier has it, in less of a hurry than a busy machine."""
    with TimedSession(30.0) as session:
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

    @pytest.mark.parametrize("path", ["", "/", "/triggers/T0/1/hunter2", "/workflows/T0/A0/1/hunter2", "/servicesx/T0"])
    def test_what_is_no_incoming_webhook_is_refused(self, path: str) -> None:
        """A workflow's trigger is at the same host, takes whatever comes and shows nobody the alert."""
        with pytest.raises(DeliveryRefusedError, match="/services/") as caught:
            slack.webhook_address({"webhook_url": f"https://hooks.slack.com{path}"}, "https://hooks.slack.com")
        assert "hunter2" not in str(caught.value)

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


def _odd_slack(*parts: bytes, drips: bytes = b"") -> tuple[str, Callable[[], None]]:
    """Serve one answer made of these parts, and then perhaps a byte every while for ever; return address and end."""
    released, server = threading.Event(), socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError), server, server.accept()[0] as connection, connection.makefile("rb") as request:
            lines = list(iter(request.readline, b"\r\n"))  # all of it: what is left unread resets the connection
            request.read(sum(int(line.split()[1]) for line in lines if line.lower().startswith(b"content-length:")))
            for part in parts:
                connection.sendall(part)
            while drips and not released.wait(0.02):
                connection.sendall(drips)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()

    def end() -> None:
        released.set()
        thread.join(10)

    return f"http://127.0.0.1:{server.getsockname()[1]}{WEBHOOK_PATH}", end


HEAD = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n"


class TestOddAnswers:
    """Whatever Slack, or what stands before it, answers, `post` is over in time and takes little of it."""

    @pytest.mark.parametrize(
        ("sent", "drips"),
        [(b"HTTP/1.1 200 OK\r\nX-Drip: ", b"x"), (HEAD % (200, 60_000) + b"\r\n", b"o"), (b"", b"H")],
        ids=["headers", "body", "status"],
    )
    def test_an_answer_that_drips_is_given_up_in_time(self, sent: bytes, drips: bytes) -> None:
        """A byte now and then does not hold up the alerts behind it. If it did, this would not end."""
        address, end = _odd_slack(sent, drips=drips)
        with TimedSession(0.5) as session:
            assert "(Timeout)" in str(_fails(session, address))
        end()

    def test_nor_does_whoever_watches_from_outside(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The address that the watchdog calls is anybody's: what drips there costs a moment."""
        monkeypatch.setattr(wiring, "_OUTSIDE_SECONDS", (0.2, 0.3))
        address, end = _odd_slack(drips=b"H")
        with pytest.raises(DeliveryFailedError, match="out of reach"):
            wiring._outside_watchdog(address)()
        end()

    def test_the_next_message_has_its_own_time(self, receiver: SlackReceiver) -> None:
        """A connection that was cut says nothing of the next one."""
        address, end = _odd_slack(b"HTTP/1.1 200 OK\r\nX-Drip: ", drips=b"x")
        with TimedSession(0.5) as session:
            _fails(session, address)
            end()
            for _ in range(3):
                assert slack.post(session, receiver.webhook_url, slack.payload(make_alert())) == "ok"

    def test_of_a_body_without_end_little_is_kept(self) -> None:
        """A page of megabytes is neither kept nor searched for its encoding, and its status counts."""
        address, end = _odd_slack(HEAD % (404, 2**30) + b"\r\n", *[b"<html>\xff\xfe" * 100_000] * 20)
        with TimedSession(30.0) as session:
            assert "(404)" in str(_fails(session, address))
            answer = session.post(_odd_slack(HEAD % (200, 3 * MOST_BYTES) + b"\r\n", b"x" * 3 * MOST_BYTES)[0])
        end()
        assert len(answer.content) == MOST_BYTES

    def test_where_a_redirect_leads_is_not_asked(self, session: requests.Session) -> None:
        """To find that out, `requests` would read all of its body."""
        leads = b"Location: https://evil.example.com/\r\n\r\n"
        address, end = _odd_slack(HEAD % (302, 2 * MOST_BYTES) + leads, b"x" * 2 * MOST_BYTES)
        answer = session.post(address, allow_redirects=False)
        end()
        assert (answer.status_code, answer.next) == (302, None)

    @pytest.mark.parametrize("encoding", ["idna", "punycode", "undefined", "rot13", "utf-16", "no-such-encoding", ""])
    def test_an_encoding_that_cannot_be_used_is_none(self, session: requests.Session, encoding: str) -> None:
        """Slack's codes are plain letters, whatever a header says of them."""
        kind = f"Content-Type: text/plain; charset={encoding}\r\n\r\n".encode()
        address, end = _odd_slack(HEAD % (404, 10) + kind, b"no_service")
        assert "removed or switched off" in str(_fails(session, address))
        end()

    @pytest.mark.parametrize(
        "parts",
        [
            [HEAD % (200, 2) + b"Content-Encoding: gzip\r\n\r\n", b"ok"],
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n"],
            [HEAD % (200, 50) + b"\r\n", b"ok"],
            [HEAD % (200, 9) + b"\r\n", b"\xff\xfe\x00ok\x1b[m"],
            [b"\x00\xff garbage\r\n\r\n"],
            [b"ok"],
            [b""],
        ],
        ids=["not gzip", "no chunk", "cut short", "not UTF-8", "garbage", "no headers", "nothing"],
    )
    def test_a_broken_answer_is_tried_again(self, session: requests.Session, parts: list[bytes]) -> None:
        """None of them is a receipt, and none a refusal for good."""
        address, end = _odd_slack(*parts)
        assert type(_fails(session, address)) is DeliveryFailedError
        end()


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
