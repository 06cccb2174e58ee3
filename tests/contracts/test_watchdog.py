"""The watchdog as Lambda calls it, on real adapters: moto instead of AWS, a Slack-shaped server on loopback."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import boto3
import pytest
import pytest_socket
from moto import mock_aws

from functions.detect import app as detect
from functions.notify_slack import app as notify_slack
from functions.notify_sns import app as notify_sns
from functions.watchdog import app as watchdog
from rootwatch import wiring
from rootwatch.audit.items import moment_text
from rootwatch.channels import slack
from rootwatch.errors import NothingDeliveredError
from rootwatch_cli.slack_receiver import Behaviour, SlackReceiver
from tests.builders import as_sqs_event, build_envelope
from tests.builders.audit_table import create_audit_table

TABLE, SECRET_NAME = "rootwatch-audit", "rootwatch-slack"

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")


@dataclass
class Context:
    """What Powertools and the watchdog ask of Lambda's context."""

    function_name: str = "rootwatch-test"
    memory_limit_in_mb: int = 256
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:111122223333:function:rootwatch-test"
    aws_request_id: str = "00000000-0000-4000-8000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        """As long as the template gives it."""
        return 180_000


class HttpServer:
    """A web server on loopback that answers everything alike, and keeps what it was asked for."""

    def __init__(self, status: int) -> None:
        """Keep the status."""
        self.paths: list[str] = []
        paths = self.paths

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                paths.append(self.path)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Stack:
    """What the template makes, as far as the watchdog sees it."""

    session: boto3.Session
    queues: dict[str, str]

    def items(self, prefix: str) -> list[dict[str, Any]]:
        """The table's items whose sort key begins like this."""
        found = self.session.client("dynamodb").scan(TableName=TABLE)["Items"]
        return [dict(item) for item in found if str(item["sk"]["S"]).startswith(prefix)]

    def states(self, channel: str) -> set[str]:
        """What the channel's ledgers say."""
        return {item["state"]["S"] for item in self.items(f"DELIVERY#{channel}#")}

    def age_ledgers(self, minutes: int) -> None:
        """Let minutes pass, for every alert that is due: a function's clock cannot be moved on, a ledger can."""
        then = moment_text(datetime.now(UTC) - timedelta(minutes=minutes))
        for item in self.items("DELIVERY#"):
            if "undelivered_since" in item:
                item |= {"due_at": {"S": then}, "undelivered_since": {"S": then}}
                self.session.client("dynamodb").put_item(TableName=TABLE, Item=item)

    def received(self, subscriber: str) -> list[dict[str, Any]]:
        """What reached a subscriber of a topic since the last look, as machines get it."""
        client, url = self.session.client("sqs"), self.queues[subscriber]
        messages = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        for message in messages:
            client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return [json.loads(json.loads(message["Body"])["Message"]) for message in messages]

    def notify(self, channel: str) -> None:
        """Let the channel's notifier have every new ledger, as the stream hands it over."""
        records = [
            {
                "eventID": item["sk"]["S"],
                "eventName": "INSERT",
                "eventSource": "aws:dynamodb",
                "dynamodb": {"Keys": {"pk": item["pk"], "sk": item["sk"]}, "SequenceNumber": f"{number}00"},
            }
            for number, item in enumerate(self.items(f"DELIVERY#{channel}#"), start=1)
        ]
        handler = {"slack": notify_slack, "sns": notify_sns}[channel].handler
        handler({"Records": records}, Context())


@pytest.fixture
def receiver() -> Iterator[SlackReceiver]:
    """A Slack on the loopback address; connections to anywhere else are errors."""
    pytest_socket.socket_allow_hosts(["127.0.0.1"], allow_unix_socket=True)
    with SlackReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="module", autouse=True)
def _session_of_this_module() -> Iterator[None]:
    """What the session has read of the services is read once for these tests, and nothing of it is left for others."""
    wiring._session.cache_clear()
    yield
    wiring._session.cache_clear()


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch, receiver: SlackReceiver) -> Iterator[Stack]:
    """Table, queues, topics with a subscriber each, and Slack's webhook; every function's environment is set."""
    made_once = (wiring.intake, wiring.sns_notifier, wiring.slack_notifier, wiring.watchdog)
    for function in made_once:
        function.cache_clear()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_LAMBDA_FUNCTION_NAME": "rootwatch-test", "POWERTOOLS_TRACE_DISABLED": "true", "TABLE_NAME": TABLE,
        "STACK_NAME": "rootwatch", "SLACK_SECRET_ID": SECRET_NAME, "SLACK_ORIGIN": receiver.origin,
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(slack, "TIMEOUT_SECONDS", (1.0, 0.3))
    monkeypatch.setattr(wiring, "_SECRET_SECONDS", 0)
    monkeypatch.setattr(wiring, "_SECONDS_PER_MESSAGE", 0.0)
    with mock_aws():
        session = wiring._session()
        create_audit_table(session.client("dynamodb"), TABLE)
        sqs, sns, queues = session.client("sqs"), session.client("sns"), {}
        for name in ("intake-dead-letter", "rule-dead-letter", "notify-dead-letter", "alerts", "operations"):
            queues[name] = sqs.create_queue(QueueName=f"rootwatch-{name}")["QueueUrl"]
        for name in ("alerts", "operations"):
            arn = sqs.get_queue_attributes(QueueUrl=queues[name], AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
            topic = sns.create_topic(Name=f"rootwatch-{name}")["TopicArn"]
            sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
            monkeypatch.setenv({"alerts": "ALERT_TOPIC_ARN", "operations": "OPERATIONS_TOPIC_ARN"}[name], topic)
        monkeypatch.setenv("DEAD_LETTER_QUEUE_URL", queues["notify-dead-letter"])
        rule = session.client("events").put_rule(Name="rootwatch-root", EventPattern='{"source": ["rootwatch.canary"]}')
        monkeypatch.setenv("ROOT_RULE_ARN", rule["RuleArn"])
        monkeypatch.setenv("INTAKE_DEAD_LETTER_QUEUE_URL", queues["intake-dead-letter"])
        monkeypatch.setenv("RULE_DEAD_LETTER_QUEUE_URL", queues["rule-dead-letter"])
        secret = json.dumps({"webhook_url": receiver.webhook_url})
        session.client("secretsmanager").create_secret(Name=SECRET_NAME, SecretString=secret)
        yield Stack(session, queues)
    for function in made_once:
        function.cache_clear()


def test_a_quiet_run_touches_nothing_but_its_own_item(stack: Stack, receiver: SlackReceiver) -> None:
    """With nothing due the watchdog leaves the table as it was, but for its state, and says nothing."""
    detect.handler(as_sqs_event([build_envelope("console_login")]), Context())
    stack.notify("sns")
    stack.notify("slack")
    own = {"WATCHDOG", "CANARY", "COVERAGE"}
    before = [item for item in stack.items("") if item["pk"]["S"] not in own]
    watchdog.handler({}, Context())
    watchdog.handler({}, Context())
    assert [item for item in stack.items("") if item["pk"]["S"] not in own] == before
    [state] = stack.items("STATE")
    assert (state["revision"]["N"], state["lease_until"]) == ("4", {"NULL": True})
    assert len(receiver.messages) == 1
    # The record's account is another one than the stack's, and is heard for the first time.
    assert [each["headline"] for each in stack.received("operations")] == ["1 region of account 111122223333 new"]


def test_a_canary_takes_the_whole_way(stack: Stack, receiver: SlackReceiver) -> None:
    """What the watchdog puts on the bus passes the rule, detect and both notifiers, and no person sees it."""
    sqs, events, sent = stack.session.client("sqs"), stack.session.client("events"), []
    session: Any = stack.session._session  # botocore's, which wiring.session keeps
    session.register("provide-client-params.events.PutEvents", lambda params, **_: sent.extend(params["Entries"]))
    topic = os.environ["ALERT_TOPIC_ARN"]
    people = sqs.create_queue(QueueName="people")["QueueUrl"]
    endpoint = sqs.get_queue_attributes(QueueUrl=people, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"kind": [{"anything-but": ["canary"]}]})
    stack.session.client("sns").subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=endpoint, Attributes={"FilterPolicy": policy}
    )
    watchdog.handler({}, Context())
    [entry] = sent
    assert entry["Source"] == "rootwatch.canary"
    envelope = {
        "source": entry["Source"], "detail-type": entry["DetailType"], "detail": json.loads(entry["Detail"]),
        "resources": entry["Resources"], "account": "123456789012", "region": "us-east-1", "id": "one",
    }  # fmt: skip
    assert detect.handler(as_sqs_event([envelope]), Context()) == {"batchItemFailures": []}
    stack.notify("sns")
    stack.notify("slack")
    assert stack.states("sns") == stack.states("slack") == {"sent"}
    assert [each["kind"] for each in stack.received("alerts")] == ["canary"]
    assert "Messages" not in sqs.receive_message(QueueUrl=people)
    assert (receiver.messages, receiver.refusals, receiver.proofs) == ((), (), 1)
    assert stack.items("ALERT#") == stack.items("INCIDENT") == []
    [tag] = events.list_tags_for_resource(ResourceARN=os.environ["ROOT_RULE_ARN"])["Tags"]
    [heartbeat] = stack.items("heartbeat#")
    assert tag == {"Key": "rootwatch-heartbeat", "Value": heartbeat["nonce"]["S"]}


@pytest.mark.parametrize("status", [200, 404])
def test_the_outside_watchdog_hears_of_both(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """With HeartbeatUrl set, it is called when both came back; a refusal is a failed part without the address."""
    with HttpServer(status) as server:
        monkeypatch.setenv("HEARTBEAT_URL", f"{server.origin}/ping/geheim")
        watchdog.handler({}, Context())
        for prefix in ("canary#", "heartbeat#"):
            [probe] = stack.items(prefix)
            probe |= {"arrived_at": {"S": moment_text(datetime.now(UTC))}, "arrived": {"S": "x"}}
            stack.session.client("dynamodb").put_item(TableName=TABLE, Item=probe)
        [canary] = stack.items("canary#")
        for channel in ("sns", "slack"):
            proof = {
                "pk": {"S": "CANARY"}, "sk": {"S": f"DELIVERY#{channel}#{canary['nonce']['S']}"},
                "nonce": canary["nonce"], "channel": {"S": channel}, "state": {"S": "sent"},
                "at": {"NULL": True}, "words": {"NULL": True}, "schema_version": {"N": "2"},
            }  # fmt: skip
            stack.session.client("dynamodb").put_item(TableName=TABLE, Item=proof)
        watchdog.handler({}, Context())
        watchdog.handler({}, Context())
    assert server.paths == ["/ping/geheim"] * (1 if status == 200 else 2)
    logged = "".join(capfd.readouterr())
    assert ("PartsFailed" in logged) is (status == 404)
    assert "geheim" not in logged


def sign_in_of(account_id: str) -> dict[str, Any]:
    """A root sign-in in an account, as EventBridge delivers it."""
    changes: dict[str, Any] = {"recipientAccountId": account_id, "userIdentity.accountId": account_id}
    return build_envelope("console_login", **changes)


@pytest.mark.parametrize(
    "trouble",
    [Behaviour.REFUSE, Behaviour.SERVER_ERROR, Behaviour.TOO_MANY_REQUESTS, Behaviour.HANG, Behaviour.NO_SERVICE],
)
def test_whatever_slack_does_every_alert_arrives(stack: Stack, receiver: SlackReceiver, trouble: Behaviour) -> None:
    """While Slack is down SNS and the operations topic say so; when it is back, every alert arrives on it, once."""
    receiver.answer_with(trouble, retry_after_seconds=0)
    envelopes = [sign_in_of(account_id) for account_id in ("111122223333", "444455556666", "777788889999")]
    detect.handler(as_sqs_event(envelopes), Context())
    stack.notify("sns")
    with suppress(NothingDeliveredError):  # the whole batch failed
        stack.notify("slack")
    assert stack.states("slack") == {"failed"}
    alerts = [each["alert_id"] for each in stack.received("alerts")]
    assert len(alerts) == 3

    stack.age_ledgers(minutes=20)
    watchdog.handler({}, Context())
    assert stack.states("slack") == {"failed"}
    for subscriber in ("alerts", "operations"):
        notices = {each["headline"] for each in stack.received(subscriber) if each["kind"] == "notice"}
        assert "3 alerts did not arrive on Slack" in notices
    assert not receiver.messages

    receiver.answer_with(Behaviour.ACCEPT)
    wiring.slack_notifier.cache_clear()  # a container that was told to wait may be another one by now
    wiring.watchdog.cache_clear()
    _let_refused_ones_be_tried(stack)
    watchdog.handler({}, Context())
    assert stack.states("slack") == {"sent"}
    messages = [json.dumps(message.payload) for message in receiver.messages]
    assert len(messages) == len(set(messages)) == 3
    assert all(any(alert_id.rpartition("-")[0] in message for message in messages) for alert_id in alerts)
    for ledger in stack.items("DELIVERY#slack#"):
        errors = [attempt["M"]["error"] for attempt in ledger["attempts"]["L"]]
        assert "S" in errors[0]
        assert errors[-1] == {"NULL": True}
    watchdog.handler({}, Context())
    assert "No alert waits for Slack any more" in {each["headline"] for each in stack.received("alerts")}
    assert len(receiver.messages) == 3


def _let_refused_ones_be_tried(stack: Stack) -> None:
    """Let a quarter of an hour pass for what Slack refused for good."""
    [state] = stack.items("STATE")
    then = {"S": moment_text(datetime.now(UTC) - timedelta(seconds=1))}
    waiting = state["refused_again_at"]["M"]
    state["refused_again_at"] = {"M": dict.fromkeys(waiting, then)}
    stack.session.client("dynamodb").put_item(TableName=TABLE, Item=state)


def test_trouble_with_sns_is_told_on_slack(stack: Stack, receiver: SlackReceiver) -> None:
    """Without its topic SNS takes nothing; Slack says so, as a message that Slack takes, and the alert is kept."""
    detect.handler(as_sqs_event([build_envelope("console_login")]), Context())
    stack.notify("slack")
    stack.session.client("sns").delete_topic(TopicArn=os.environ["ALERT_TOPIC_ARN"])
    stack.age_ledgers(minutes=20)
    watchdog.handler({}, Context())
    assert receiver.refusals == ()
    assert "1 alert did not arrive on SNS" in receiver.messages[-1].payload["text"]
    assert stack.states("sns") == {"failed"}


def test_dead_letters_are_counted_with_those_that_somebody_looks_at(stack: Stack) -> None:
    """A dead letter is told of although somebody has just received it and SQS hides it."""
    client, url = stack.session.client("sqs"), stack.queues["rule-dead-letter"]
    client.send_message(QueueUrl=url, MessageBody="one")
    client.send_message(QueueUrl=url, MessageBody="two")
    assert client.receive_message(QueueUrl=url, VisibilityTimeout=60)["Messages"]
    watchdog.handler({}, Context())
    [notice] = stack.received("operations")
    assert notice["headline"] == "2 dead letters in rootwatch-rule-dead-letter"


def test_the_webhook_is_in_no_notice_and_no_state(
    stack: Stack, receiver: SlackReceiver, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever fails, the webhook's address is neither told nor logged nor kept."""
    receiver.answer_with(Behaviour.REFUSE)
    detect.handler(as_sqs_event([build_envelope("console_login")]), Context())
    stack.age_ledgers(minutes=20)
    watchdog.handler({}, Context())
    told = "".join(
        [str(stack.received("operations")), str(stack.received("alerts")), str(stack.items("")), *capfd.readouterr()]
    )
    assert "did not arrive on Slack" in told
    assert receiver.webhook_url.rpartition("/")[2] not in told
