"""Least privilege, both ways: what the functions ask AWS for is allowed to their roles, and nothing else is.

Every call that the real handlers make is recorded where botocore makes it, as action, resource and leading keys, and
matched against the roles' policies out of the transformed template (`tests/template/permissions.py`). What only AWS
itself does with a role is listed with the reason. The calls of the deployed functions are matched in
the end-to-end run (`tests/e2e/wire.py`); here are also those that only a damaged table causes.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Final

import pytest
import pytest_socket
from moto import mock_aws

from functions.detect import app as detect
from functions.notify_slack import app as notify_slack
from functions.notify_sns import app as notify_sns
from functions.report import app as report
from functions.triage import app as triage
from functions.watchdog import app as watchdog
from rootwatch import probe, wiring
from rootwatch.channels import slack
from rootwatch.errors import NothingDeliveredError
from rootwatch_cli.slack_receiver import SIGNING_SECRET, Behaviour, SlackReceiver, signed_headers
from tests.builders import as_sqs_event, build_envelope
from tests.template.permissions import LACKING, NEEDS, NOT_END_TO_END, Asked, admits, table_arn
from tests.template.stack import ACCOUNT, REGION, Stack, statements
from tests.template.test_policies import FUNCTIONS, allowed

MADE_ONCE: Final = (wiring.intake, wiring.sns_notifier, wiring.slack_notifier, wiring.reception)
START: Final = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)
MOTO_ACCOUNT: Final = "123456789012"
HANDLERS: Final[Mapping[str, Any]] = {
    "DetectFunction": detect,
    "NotifySnsFunction": notify_sns,
    "NotifySlackFunction": notify_slack,
    "TriageFunction": triage,
    "WatchdogFunction": watchdog,
    "ReportFunction": report,
}

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")


@dataclass
class Run:
    """A run of the real handlers, each with the environment that the template gives it; each call is recorded."""

    stack: Stack
    session: Any
    receiver: SlackReceiver
    secret_arn: str
    now: datetime = START
    function: str | None = None
    calls: dict[str, list[Asked]] = field(default_factory=lambda: {function: [] for function in FUNCTIONS})
    unknown: set[tuple[str, str]] = field(default_factory=set)

    @contextmanager
    def running(self, function: str) -> Iterator[None]:
        """Be this function: with its environment and nothing of another one's."""
        variables = self.stack.resources[function]["Properties"]["Environment"]["Variables"]
        own = {name: self.real(str(value)) for name, value in variables.items()} | {
            "SLACK_SECRET_ID": self.secret_arn, "SLACK_ORIGIN": self.receiver.origin, "LOOK_UP_OWNERS": "false",
        }  # fmt: skip
        for made_once in (*MADE_ONCE, wiring.watchdog, wiring.reporter):
            made_once.cache_clear()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in own.items():
                if name in variables or name == "LOOK_UP_OWNERS":
                    patch.setenv(name, value)
            self.function = function
            try:
                yield
            finally:
                self.function = None

    def real(self, text: str) -> str:
        """Return a name of the template as moto has it."""
        return text.replace(ACCOUNT, MOTO_ACCOUNT)

    def call(self, function: str, event: dict[str, Any]) -> None:
        """Let Lambda invoke a function once."""
        with self.running(function), suppress(NothingDeliveredError):  # raised where the whole batch failed
            HANDLERS[function].handler(event, Context())

    def record(self, specimen: str, number: int = 0, **changes: Any) -> None:
        """Let detect take a record, which happens now."""
        envelope = build_envelope(specimen, number=number, **changes)
        self.call("DetectFunction", as_sqs_event([envelope]))

    def press(self, account_id: str, action: str) -> None:
        """Let somebody press a button of an account's incident on Slack, now."""
        item = next(each for each in self.items("INCIDENT") if each["account_id"]["S"] == account_id)
        incident_id, moves = item["incident_id"]["S"], item["triage"]["M"]["moves"]["N"]
        body = self.receiver.pressed(f"rootwatch {incident_id} {moves}", f"rootwatch:{action}", "U0123456789", "dana")
        event = {
            "requestContext": {"http": {"method": "POST"}},
            "headers": {name.lower(): value for name, value in signed_headers(body, self.now).items()},
            "body": body.decode(),
        }
        self.call("TriageFunction", event)

    def return_canary(self) -> None:
        """Let detect take the canary that the watchdog put on the bus."""
        [item] = self.items("canary#")
        sent_at = datetime.fromisoformat(item["sent_at"]["S"])
        canary = probe.make_probe(
            probe.ProbeKind.CANARY, item["rule_arn"]["S"], sent_at, item["nonce"]["S"].rpartition("-")[2]
        )
        account_id, region = probe.place_of(canary.rule_arn)
        envelope = {
            "source": probe.CANARY_SOURCE, "account": account_id, "region": region,
            "resources": [probe.canary_resource(canary)],
            "detail": probe.canary_record(canary.nonce, canary.rule_arn, canary.sent_at),
        }  # fmt: skip
        self.call("DetectFunction", as_sqs_event([envelope]))

    def beat(self) -> None:
        """Let detect take the heartbeat of a forwarder."""
        scheduled = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        detail = {"eventName": probe.HEARTBEAT_NAME, "scheduledTime": scheduled, "executionId": "1"}
        place = {"account": "444455556666", "region": REGION}
        envelope = {"source": probe.HEARTBEAT_SOURCE, "time": scheduled, "detail": detail, **place}
        self.call("DetectFunction", as_sqs_event([envelope]))

    def notify(self, channel: str) -> None:
        """Let a notifier have every ledger of its channel, as the stream hands it over."""
        records = [
            {
                "eventID": item["sk"]["S"],
                "eventName": "INSERT",
                "eventSource": "aws:dynamodb",
                "dynamodb": {"Keys": {"pk": item["pk"], "sk": item["sk"]}, "SequenceNumber": f"{number}00"},
            }
            for number, item in enumerate(self.items(f"DELIVERY#{channel}#"), start=1)
        ]
        self.call({"sns": "NotifySnsFunction", "slack": "NotifySlackFunction"}[channel], {"Records": records})

    def items(self, prefix: str) -> list[dict[str, Any]]:
        """The table's items whose sort key begins like this."""
        found = self.session.client("dynamodb").scan(TableName="rootwatch-audit")["Items"]
        return [dict(item) for item in found if str(item["sk"]["S"]).startswith(prefix)]

    def spoil(self, item: Mapping[str, Any], **attributes: Any) -> None:
        """Change an item, as somebody with access to the table could."""
        self.session.client("dynamodb").put_item(TableName="rootwatch-audit", Item={**item, **attributes})

    def break_head(self, account_id: str) -> None:
        """Change an account's head so that nobody understands it."""
        [head] = [item for item in self.items("HEAD") if item["pk"]["S"] == f"ACCOUNT#{account_id}"]
        self.spoil(head, sequence={"S": "broken"})

    def remove_head(self, account_id: str) -> None:
        """Take an account's head away."""
        key = {"pk": {"S": f"ACCOUNT#{account_id}"}, "sk": {"S": "HEAD"}}
        self.session.client("dynamodb").delete_item(TableName="rootwatch-audit", Key=key)

    def store_secret(self, secret: object) -> None:
        """Put something into Slack's secret."""
        text = json.dumps(secret)
        self.session.client("secretsmanager").put_secret_value(SecretId=self.secret_arn, SecretString=text)

    # --- recording -------------------------------------------------------------------------------------------------

    def note(self, **call: Any) -> None:
        """Note a call that botocore is about to make, for the function that runs now."""
        params, model = call["params"], call["model"]
        if self.function is not None:
            operation = f"{model.service_model.service_name}:{model.name}"
            if operation not in NEEDS:  # not raised here: a handler may take it for a failure of AWS, and go on
                self.unknown.add((self.function, operation))
                return
            self.calls[self.function] += NEEDS[operation](self.ideal, params)

    def ideal(self, arn: str) -> str:
        """Return a name of moto's as the template has it."""
        return arn.replace(self.secret_arn, self.stack.arn("SlackSecret")).replace(MOTO_ACCOUNT, ACCOUNT)


@dataclass
class Context:
    """What Powertools and the watchdog ask of Lambda's context."""

    function_name: str = "rootwatch-test"
    memory_limit_in_mb: int = 256
    invoked_function_arn: str = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:rootwatch-test"
    aws_request_id: str = "00000000-0000-4000-8000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        """As long as the template gives the watchdog."""
        return 180_000


# --- the run -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Everything that the functions do, also when something is wrong, on the template's own names."""
    pytest_socket.socket_allow_hosts(["127.0.0.1"], allow_unix_socket=True)
    stack = Stack(LookUpAccountNames="true", MemberPosture="true")
    with pytest.MonkeyPatch.context() as patch, mock_aws(), SlackReceiver() as receiver:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": REGION,
            "AWS_LAMBDA_FUNCTION_NAME": "rootwatch-test", "POWERTOOLS_TRACE_DISABLED": "true",
        }.items():  # fmt: skip
            patch.setenv(name, value)
        for name in ("TABLE_NAME", "DEAD_LETTER_QUEUE_URL"):
            assert name not in os.environ
        patch.setattr(slack, "TIMEOUT_SECONDS", (1.0, 0.5))
        patch.setattr(wiring, "_SECONDS_PER_MESSAGE", 0.0)
        patch.setattr(wiring, "_SECONDS_PER_PUBLISH", 0.0)
        wiring._session.cache_clear()
        session = wiring._session()
        played = Run(stack, session, receiver, _deployed(stack, session))
        session._session.register("provide-client-params.*.*", played.note)
        patch.setattr(wiring, "_now", lambda: played.now)
        _play(played)
        yield played
        for made_once in (*MADE_ONCE, wiring.watchdog, wiring._session):
            made_once.cache_clear()


def _deployed(stack: Stack, session: Any) -> str:
    """Make the template's table, queues, topics and secret; return the secret's ARN."""
    table = stack.resources["AuditTable"]["Properties"]
    session.client("dynamodb").create_table(
        **{key: table[key] for key in ("TableName", "BillingMode", "KeySchema", "AttributeDefinitions")},
        GlobalSecondaryIndexes=table["GlobalSecondaryIndexes"],
    )
    for queue in stack.of_type("AWS::SQS::Queue").values():
        session.client("sqs").create_queue(QueueName=queue["QueueName"])
    for topic in stack.of_type("AWS::SNS::Topic").values():
        session.client("sns").create_topic(Name=topic["TopicName"])
    for bucket in stack.of_type("AWS::S3::Bucket"):
        session.client("s3").create_bucket(Bucket=bucket)
    session.client("events").put_rule(Name="rootwatch-root", EventPattern='{"source": ["rootwatch.canary"]}')
    secret = session.client("secretsmanager").create_secret(Name="rootwatch-slack", SecretString="{}")
    return str(secret["ARN"])


def _play(run: Run) -> None:
    bot, webhook = run.receiver.bot_secret, {"webhook_url": run.receiver.webhook_url}
    run.store_secret(bot)
    # Ordinary days: a sign-in, an AssumeRoot session with the call that issued its key, and what is no record.
    run.record("console_login")
    run.record("assumed")
    run.record("assumed_session_activity")
    run.call("DetectFunction", as_sqs_event(["no JSON"]))
    # The watchdog's first run sends a canary, which comes back.
    run.call("WatchdogFunction", {})
    run.return_canary()
    run.beat()
    run.notify("sns")
    run.notify("slack")
    # An hour later the incidents end; Slack is away, and then refuses for good.
    run.now += timedelta(hours=3)
    run.receiver.answer_with(Behaviour.SERVER_ERROR)
    run.call("WatchdogFunction", {})
    run.now += timedelta(minutes=20)
    run.store_secret(webhook)
    run.receiver.answer_with(Behaviour.NO_SERVICE)
    run.call("WatchdogFunction", {})
    run.receiver.answer_with(Behaviour.ACCEPT)
    # Nobody answers a new key, and then somebody does, on Slack.
    run.store_secret({**bot, "signing_secret": SIGNING_SECRET})
    run.record("access_key_created", recipientAccountId="555566667777")
    run.now += timedelta(minutes=6)
    run.call("WatchdogFunction", {})
    run.notify("sns")
    run.press("555566667777", "acknowledge")
    run.press("555566667777", "timeline")
    run.store_secret(webhook)
    # Somebody changed the table: a ledger of each channel, and the head of an account with an open incident.
    run.record("access_key_created", recipientAccountId="444455556666")
    for channel in ("sns", "slack"):
        ledgers = [item for item in run.items(f"DELIVERY#{channel}#") if "account_id" in item]
        ledger = next(item for item in ledgers if item["account_id"]["S"] == "444455556666")
        run.spoil(ledger, state={"S": "broken"})
        run.notify(channel)
    # Its head is broken in turn for each function that reads one; that of another account is gone.
    run.break_head("444455556666")
    run.remove_head("555566667777")
    run.now += timedelta(hours=5)
    run.call("WatchdogFunction", {})
    run.break_head("444455556666")
    run.record("read", recipientAccountId="444455556666")
    run.break_head("444455556666")
    run.remove_head("555566667777")
    run.store_secret({**bot, "signing_secret": SIGNING_SECRET})
    run.press("444455556666", "suspect")
    run.press("555566667777", "suspect")
    # The month is over.
    run.store_secret(bot)
    run.now = datetime(2026, 12, 1, 0, 15, tzinfo=UTC)
    run.call("ReportFunction", {})
    run.now += timedelta(hours=9)
    run.call("WatchdogFunction", {})


# --- the comparison ------------------------------------------------------------------------------------------------


def test_every_operation_is_one_that_can_be_compared(run: Run) -> None:
    """No function calls an operation of AWS of which this test does not know what permission it needs."""
    assert run.unknown == set()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_nothing_is_asked_for_that_is_not_allowed(run: Run, function: str) -> None:
    """Every call that a function makes is allowed to its role, resource and keys included."""
    role = allowed(run.stack, function)
    refused = {asked for asked in run.calls[function] if not any(admits(each, asked) for each in role)}

    assert run.calls[function]
    assert refused == set()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_nothing_is_allowed_that_is_not_asked_for(run: Run, function: str) -> None:
    """Every action of every statement is used, unless it is listed with the behaviour of AWS that needs it."""
    unused = {
        (str(statement["Sid"]), action)
        for statement in allowed(run.stack, function)
        for action in _list(statement["Action"])
        if not any(asked.action == action and admits(statement, asked) for asked in run.calls[function])
    }

    assert unused - LACKING.keys() == set()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_key_is_allowed_that_is_not_touched(run: Run, function: str) -> None:
    """Every pattern of keys that a statement names is that of some item which the function reads or writes."""
    for statement in allowed(run.stack, function):
        condition: Any = statement.get("Condition", {})
        for pattern in condition.get("ForAllValues:StringLike", {}).get("dynamodb:LeadingKeys", []):
            keys = {key for asked in run.calls[function] if admits(statement, asked) for key in asked.keys}
            assert any(fnmatchcase(key, pattern) for key in keys), (statement["Sid"], pattern)


def test_what_the_end_to_end_run_does_not_ask_for_is_asked_for_here(run: Run) -> None:
    """Every permission that only this run is said to need is needed by it."""
    asked_for = {
        (str(statement["Sid"]), asked.action)
        for function in FUNCTIONS
        for statement in allowed(run.stack, function)
        for asked in run.calls[function]
        if admits(statement, asked)
    }

    assert NOT_END_TO_END.keys() <= asked_for


def test_what_is_listed_is_there_and_not_asked_for(run: Run) -> None:
    """The list of what moto lacks names nothing that no role has, or that the run does ask for."""
    there, asked_for = set(), set()
    for function in FUNCTIONS:
        for statement in allowed(run.stack, function):
            for action in _list(statement["Action"]):
                there.add((str(statement["Sid"]), action))
                if any(asked.action == action and admits(statement, asked) for asked in run.calls[function]):
                    asked_for.add((str(statement["Sid"]), action))

    assert LACKING.keys() <= there
    assert LACKING.keys() & asked_for == set()


def _list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


# --- the comparison can fail ---------------------------------------------------------------------------------------

STATEMENT = {
    "Sid": "X",
    "Action": ["dynamodb:PutItem"],
    "Resource": [table_arn("rootwatch-audit")],
    "Condition": {
        "ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["INCIDENT#*", "WATCHDOG"]},
        "Null": {"dynamodb:LeadingKeys": "false"},
    },
}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (Asked("dynamodb:PutItem", table_arn("rootwatch-audit"), ("INCIDENT#1", "WATCHDOG")), True),
        (Asked("dynamodb:PutItem", table_arn("rootwatch-audit"), ("INCIDENT#1", "EVENTS#1")), False),
        (Asked("dynamodb:PutItem", table_arn("rootwatch-audit"), ("WATCHDOG#1",)), False),
        (Asked("dynamodb:PutItem", table_arn("rootwatch-audit")), False),
        (Asked("dynamodb:PutItem", table_arn("orders"), ("WATCHDOG",)), False),
        (Asked("dynamodb:DeleteItem", table_arn("rootwatch-audit"), ("WATCHDOG",)), False),
    ],
)
def test_how_a_statement_is_evaluated(asked: Asked, expected: bool) -> None:  # noqa: FBT001 - a column
    """Action, resource and each key have to fit, and a call without keys is not one that fits by having none."""
    assert admits(STATEMENT, asked) is expected


@pytest.mark.parametrize(("attributes", "expected"), [(("pk",), True), (("pk", "record"), False), ((), False)])
def test_how_a_scan_is_bounded(attributes: tuple[str, ...], expected: bool) -> None:  # noqa: FBT001 - a column
    """A scan that asks for more than it may, or for all there is, is none that a statement with attributes admits."""
    condition = {
        "ForAllValues:StringEquals": {"dynamodb:Attributes": ["pk"]},
        "StringEqualsIfExists": {"dynamodb:Select": "SPECIFIC_ATTRIBUTES"},
    }
    table = table_arn("rootwatch-audit")
    statement = {"Sid": "X", "Action": ["dynamodb:Scan"], "Resource": [table], "Condition": condition}

    assert admits(statement, Asked("dynamodb:Scan", table, attributes=attributes)) is expected


def test_every_statement_of_a_role_is_compared(stack: Stack) -> None:
    """The roles have no other policies than those that are compared, and these only allow."""
    for role in stack.of_type("AWS::IAM::Role").values():
        assert set(role) <= {"RoleName", "AssumeRolePolicyDocument", "Policies", "Tags"}
        for policy in role["Policies"]:
            assert all(statement["Effect"] == "Allow" for statement in statements(policy["PolicyDocument"]))


@pytest.fixture(scope="module")
def stack() -> Stack:
    """The stack with every parameter left alone."""
    return Stack()
