"""The deployed functions on a clock that the test moves: moto instead of AWS, a Slack-shaped server on loopback.

For each notifier there is a poller that follows Lambda's documentation, with the settings that template.yaml gives it.
Each function has its own time: while one waits, the other goes on. The world always lets that act next whose turn comes
first. The table's stream is made of what changed in the table: with streams of its own, moto copies all that it holds
with every transaction, and takes minutes.
"""

import heapq
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
import pytest_socket
from moto import mock_aws

from functions.detect import app as detect
from functions.notify_slack import app as notify_slack
from functions.notify_sns import app as notify_sns
from rootwatch import wiring
from rootwatch.audit.dynamodb import DynamoTable, _encode
from rootwatch.audit.table import Put
from rootwatch.channels import slack
from rootwatch_cli.slack_receiver import SlackReceiver
from tests.builders import as_sqs_event, build_envelope
from tests.contracts.stream_poller import Clock, StreamPoller, StreamRecord
from tests.template.stack import Stack

START: Final = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)
TABLE: Final = "rootwatch-audit"
SECRET: Final = "rootwatch-slack"
MOST_STEPS: Final = 20_000
FUNCTIONS: Final = {
    "slack": ("NotifySlackFunction", notify_slack),
    "sns": ("NotifySnsFunction", notify_sns),
}


@dataclass
class Context:
    """What Powertools asks of Lambda's context."""

    function_name: str = "rootwatch-test"
    memory_limit_in_mb: int = 256
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:111122223333:function:rootwatch-test"
    aws_request_id: str = "00000000-0000-4000-8000-000000000000"


class World:
    """The stack, what was told on each channel at which second, and what is still to happen."""

    def __init__(self, receiver: SlackReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make the stack in moto and its pollers; the functions' clock is this world's."""
        self.clock = Clock(START)
        self.slack = receiver
        self.slack_seconds = 0.1
        self.told: dict[str, dict[str, list[float]]] = {channel: defaultdict(list) for channel in FUNCTIONS}
        self.written: dict[str, float] = {}
        self._acts: list[tuple[float, int, Callable[[], None]]] = []
        self._seen = 0
        self.session = wiring._session()
        self._shard: list[StreamRecord] = []
        self._keys: set[tuple[str, str]] = set()
        stack = Stack()
        self._make(stack, monkeypatch)
        self.pollers = {channel: self._poller(stack, channel) for channel in FUNCTIONS}
        monkeypatch.setattr(wiring, "_now", lambda: self.clock.now)
        monkeypatch.setattr(wiring, "time", self.clock)
        exchange = slack.exchange

        def timed(*arguments: Any, **options: Any) -> Any:
            self.clock.advance(self.slack_seconds)
            return exchange(*arguments, **options)

        monkeypatch.setattr(slack, "exchange", timed)
        write = DynamoTable.write

        def followed(table: DynamoTable, puts: Sequence[Put]) -> None:
            write(table, puts)
            for put in puts:
                self._follow_stream(_encode(put.item))

        monkeypatch.setattr(DynamoTable, "write", followed)

    def _make(self, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
        table = stack.resources["AuditTable"]["Properties"]
        assert table["StreamSpecification"] == {"StreamViewType": "NEW_IMAGE"}
        self.session.client("dynamodb").create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=table["KeySchema"],
            AttributeDefinitions=table["AttributeDefinitions"],
            GlobalSecondaryIndexes=table["GlobalSecondaryIndexes"],
        )
        queues, topics = self.session.client("sqs"), self.session.client("sns")
        self.dead_letters = queues.create_queue(QueueName="rootwatch-notify-dead-letter")["QueueUrl"]
        self.subscriber = queues.create_queue(QueueName="subscriber")["QueueUrl"]
        attributes = queues.get_queue_attributes(QueueUrl=self.subscriber, AttributeNames=["QueueArn"])["Attributes"]
        topic = topics.create_topic(Name="rootwatch-alerts")["TopicArn"]
        topics.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=attributes["QueueArn"])
        self.session.client("secretsmanager").create_secret(
            Name=SECRET, SecretString=json.dumps({"webhook_url": self.slack.webhook_url})
        )
        for name, value in {
            "TABLE_NAME": TABLE, "STACK_NAME": "rootwatch", "LOOK_UP_OWNERS": "false", "SLACK_SECRET_ID": SECRET,
            "SLACK_ORIGIN": self.slack.origin, "DEAD_LETTER_QUEUE_URL": self.dead_letters, "ALERT_TOPIC_ARN": topic,
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)

    def _poller(self, stack: Stack, channel: str) -> StreamPoller:
        logical_id, module = FUNCTIONS[channel]
        function = stack.resources[logical_id]["Properties"]
        [mapping] = [
            each
            for each in stack.of_type("AWS::Lambda::EventSourceMapping").values()
            if each["FunctionName"] in {logical_id, function["FunctionName"]}
        ]
        destination = mapping["DestinationConfig"]["OnFailure"]["Destination"]
        assert destination.endswith(":rootwatch-notify-dead-letter")
        queues = self.session.client("sqs")

        def discard(document: Any) -> None:
            queues.send_message(QueueUrl=self.dead_letters, MessageBody=json.dumps(document))

        return StreamPoller(
            mapping=mapping,
            function=lambda event: module.handler(dict(event), Context()),
            timeout_seconds=float(function["Timeout"]),
            clock=self.clock,
            shard=self._shard,
            discard=discard,
        )

    # --- what happens ------------------------------------------------------------------------------------------------

    def at(self, seconds: float, act: Callable[[], None]) -> None:
        """Let something happen so many seconds after the beginning."""
        heapq.heappush(self._acts, (seconds, len(self._acts), act))

    def sign_in(self, account_id: str, seconds: float) -> None:
        """Let root of an account sign in without MFA: one alert on each channel is due then."""
        self.at(seconds, lambda: self.record(account_id, "console_login_without_mfa"))

    def record(self, account_id: str, specimen: str, number: int = 0, **changes: Any) -> None:
        """Let detect record a specimen as an act in another account, now."""
        account: dict[str, Any] = {
            "recipientAccountId": account_id,
            "userIdentity.accountId": account_id,
            "userIdentity.arn": f"arn:aws:iam::{account_id}:root",
            "userIdentity.principalId": account_id,
        }
        envelope = build_envelope(specimen, number=number, **(account | changes))
        assert detect.handler(as_sqs_event([envelope]), Context()) == {"batchItemFailures": []}
        self.written.setdefault(account_id, self.clock.monotonic())

    def store_secret(self, secret: object) -> None:
        """Put something into Slack's secret."""
        self.session.client("secretsmanager").put_secret_value(SecretId=SECRET, SecretString=json.dumps(secret))

    def run(self, *, most_seconds: float = 4 * 3600) -> None:
        """Let everything happen, until nothing is left to do; it must end within so many seconds of the world's."""
        for _ in range(MOST_STEPS):
            busy = [poller for poller in self.pollers.values() if not poller.is_idle]
            if not self._acts and not busy:
                return
            poller = min(busy or self.pollers.values(), key=lambda each: each.next_at)
            if self._acts and (not busy or START + timedelta(seconds=self._acts[0][0]) <= poller.next_at):
                seconds, _, act = heapq.heappop(self._acts)
                self.clock.now = START + timedelta(seconds=seconds)
                act()
                for each in self.pollers.values():  # they polled meanwhile, and found nothing
                    if each not in busy:
                        each.next_at = max(each.next_at, self.clock.now)
                continue
            self.clock.now = poller.next_at
            assert self.clock.monotonic() < most_seconds, "something is tried for ever"
            poller.step()
            self._note_what_was_told()
        pytest.fail(f"not done after {MOST_STEPS} steps")

    def _follow_stream(self, item: Mapping[str, Any]) -> None:
        """Put an item that was written into the stream's shard."""
        key = (item["pk"]["S"], item["sk"]["S"])
        number = len(self._shard) + 1
        body = {
            "eventID": f"event-{number}",
            "eventName": "MODIFY" if key in self._keys else "INSERT",
            "eventSource": "aws:dynamodb",
            "dynamodb": {
                "Keys": {"pk": item["pk"], "sk": item["sk"]},
                "NewImage": item,
                "SequenceNumber": f"{number}00000",
                "StreamViewType": "NEW_IMAGE",
            },
        }
        self._keys.add(key)
        self._shard.append(StreamRecord(body, self.clock.now))

    def _note_what_was_told(self) -> None:
        now = self.clock.monotonic()
        messages = self.slack.messages
        for message in messages[self._seen :]:
            for account_id in self.written:
                if account_id in message.payload["text"]:
                    self.told["slack"][account_id].append(now)
        self._seen = len(messages)
        for body in self.messages(self.subscriber):
            self.told["sns"][json.loads(json.loads(body)["Message"])["account_id"]].append(now)

    # --- what is there -----------------------------------------------------------------------------------------------

    def messages(self, url: str) -> list[str]:
        """Take the messages of a queue, and return their bodies."""
        queues, taken = self.session.client("sqs"), []
        for _ in range(100):
            messages = queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
            if not messages:
                break
            for message in messages:
                taken.append(message["Body"])
                queues.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return taken

    def items(self, prefix: str = "") -> list[dict[str, Any]]:
        """The table's items whose sort key begins like this."""
        pages = self.session.client("dynamodb").get_paginator("scan")
        # The table picks them out: moto takes a millisecond to answer with an item.
        picked: Any = {
            "FilterExpression": "begins_with(sk, :prefix)",
            "ExpressionAttributeValues": {":prefix": {"S": prefix}},
        }
        return [
            dict(item)
            for page in pages.paginate(TableName=TABLE, **(picked if prefix else {}))
            for item in page["Items"]
        ]

    def ledgers(self, channel: str) -> dict[str, list[dict[str, Any]]]:
        """The channel's ledgers by account, in the order of their numbers."""
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for item in sorted(self.items(f"DELIVERY#{channel}#"), key=lambda each: (each["pk"]["S"], each["sk"]["S"])):
            found[item["account_id"]["S"]].append(item)
        return found

    def states(self, channel: str) -> dict[str, str]:
        """What the ledger of each account's one alert on the channel says."""
        return {account_id: ledger["state"]["S"] for account_id, [ledger] in self.ledgers(channel).items()}

    def change(self, account_id: str, prefix: str, **attributes: Any) -> None:
        """Change the one item of an account whose sort key begins like this, as somebody with access to it could."""
        [item] = [each for each in self.items(prefix) if each.get("account_id", {}).get("S") == account_id]
        self.session.client("dynamodb").put_item(TableName=TABLE, Item={**item, **attributes})

    def delays(self, channel: str) -> dict[str, float]:
        """How many seconds each account's first alert took to its channel."""
        return {account_id: told[0] - self.written[account_id] for account_id, told in self.told[channel].items()}


@contextmanager
def running_world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A world with nothing in it, whose functions are built anew."""
    pytest_socket.socket_allow_hosts(["127.0.0.1"], allow_unix_socket=True)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_LAMBDA_FUNCTION_NAME": "rootwatch-test", "POWERTOOLS_TRACE_DISABLED": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(slack, "TIMEOUT_SECONDS", (1.0, 0.5))
    made_once = (wiring.intake, wiring.sns_notifier, wiring.slack_notifier, wiring.reception)
    for function in made_once:
        function.cache_clear()
    with mock_aws(), SlackReceiver() as receiver:
        yield World(receiver, monkeypatch)
    for function in made_once:
        function.cache_clear()
