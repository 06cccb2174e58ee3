"""What can be set, what is kept, and what fits into AWS's limits."""

import re

import pytest

from rootwatch.audit.table import INDEXES
from tests.template.stack import Stack, source

LONGEST_NAME = "r" * 32
# https://docs.aws.amazon.com/general/latest/gr/aws-service-information.html, per service under "quotas"
LONGEST = {
    "AWS::SQS::Queue": 80,
    "AWS::SNS::Topic": 256,
    "AWS::DynamoDB::Table": 255,
    "AWS::IAM::Role": 64,
    "AWS::Logs::LogGroup": 512,
    "AWS::Events::Rule": 64,
    "AWS::Events::EventBus": 256,
    "AWS::Scheduler::Schedule": 64,
    "AWS::Lambda::Function": 64,
    "AWS::CloudWatch::Alarm": 255,
    "AWS::SecretsManager::Secret": 512,
    "AWS::KMS::Alias": 256,
}
PARAMETERS = {
    "AlertEmail": None,
    "RecordReadOnlyEvents": "true",
    "ReplaySource": "",
    "IncidentIdleMinutes": 60,
    "DeploymentRoleArn": "",
    "OrganizationId": "",
    "ForwardingAccounts": "",
    "TrustedNetworks": "",
    "LookUpOwners": "true",
    "RdapOrigin": "https://rdap.arin.net",
    "OwnerDatabaseLayerArn": "",
    "LookUpAccountNames": "false",
    "AccountNames": "",
    "SlackOrigin": "https://hooks.slack.com",
    "EscalationEmail": "",
    "EscalateCritical": "5,15,30",
    "EscalateHigh": "5,15,30",
    "EscalateMedium": "",
    "AskAgainHours": 4,
    "SlackButtons": "false",
    "SlackResolvers": "",
    "SecondPerson": "false",
    "TriageConcurrency": 5,
    "HeartbeatUrl": "",
    "RunbookUrl": "",
    "Custodians": "",
    "ReportRetentionDays": 400,
    "AcknowledgeMinutes": 15,
    "MemberPosture": "false",
    "LogRetentionDays": 400,
    "LogLevel": "INFO",
}


def test_parameters_and_their_defaults() -> None:
    """The parameters are these, with these defaults; only the address of the alerts has none."""
    declared = source()["Parameters"]

    assert {name: parameter.get("Default") for name, parameter in declared.items()} == PARAMETERS


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_say_what_happens_if_left_alone(name: str) -> None:
    """Every description says what happens if the parameter is left alone, and every free text has a pattern."""
    parameter = source()["Parameters"][name]

    assert re.search(r"[Ll]eft alone|no default", parameter["Description"])
    assert parameter["Type"] == "Number" or {"AllowedPattern", "AllowedValues"} & set(parameter)


@pytest.mark.parametrize(
    ("name", "value", "fits"),
    [
        ("AlertEmail", "security@example.com", True),
        ("AlertEmail", "", False),
        ("AlertEmail", "a@example.com b@example.com", False),
        ("ReplaySource", "rootwatch.replay", True),
        ("ReplaySource", "", True),
        ("ReplaySource", "aws.signin", False),
        ("OrganizationId", "o-a1b2c3d4e5", True),
        ("OrganizationId", "*", False),
        ("OrganizationId", "111122223333", False),
        ("TrustedNetworks", "", True),
        ("TrustedNetworks", "203.0.113.0/24", True),
        ("TrustedNetworks", "203.0.113.0/24, 198.51.100.7,2001:db8::/32", True),
        ("TrustedNetworks", "203.0.113.0/24,", False),
        ("TrustedNetworks", "office.example.com", False),
        ("RdapOrigin", "https://rdap.arin.net", True),
        ("RdapOrigin", "http://127.0.0.1:8089", True),
        ("RdapOrigin", "https://rdap.arin.net.example.com", False),
        ("RdapOrigin", "http://rdap.arin.net", False),
        ("RdapOrigin", "https://rdap.db.ripe.net", False),
        ("OwnerDatabaseLayerArn", "", True),
        ("OwnerDatabaseLayerArn", "arn:aws:lambda:eu-west-1:111122223333:layer:owners:7", True),
        ("OwnerDatabaseLayerArn", "arn:aws:lambda:eu-west-1:111122223333:layer:owners", False),
        ("AccountNames", "", True),
        ("AccountNames", "111122223333=Production,444455556666=Audit and log", True),
        ("AccountNames", "111122223333", False),
        ("AccountNames", "Production=111122223333", False),
        ("AccountNames", "111122223333=Production,", False),
        ("SlackOrigin", "https://hooks.slack.com", True),
        ("SlackOrigin", "http://127.0.0.1:8089", True),
        ("SlackOrigin", "https://hooks.slack.com.example.com", False),
        ("SlackOrigin", "http://192.0.2.1:80", False),
        ("DeploymentRoleArn", "arn:aws:iam::111122223333:role/deploy", True),
        ("DeploymentRoleArn", "deploy", False),
        ("EscalateCritical", "", True),
        ("EscalateCritical", "5,15, 30", True),
        ("EscalateHigh", "0", False),
        ("EscalateMedium", "5,,15", False),
        ("SlackResolvers", "U0123456789, W1234567890", True),
        ("SlackResolvers", "dana", False),
        ("RunbookUrl", "https://wiki.example.com/rootwatch", True),
        ("HeartbeatUrl", "https://example.com/ping/0c6e3a4e", True),
        ("HeartbeatUrl", "http://example.com/ping", False),
        ("RunbookUrl", "javascript:alert(1)", False),
        ("Custodians", "Dana, +1 555 0100; on-call: security@example.com", True),
        ("Custodians", "", True),
        ("Custodians", "Dana\nReal custodian: Mallory", False),
        ("Custodians", "x" * 201, False),
    ],
)
def test_parameters_refuse_what_cannot_be_right(name: str, value: str, *, fits: bool) -> None:
    """A value that would send alerts astray, or admit a forger, is refused before anything is deployed."""
    assert bool(re.fullmatch(source()["Parameters"][name]["AllowedPattern"], value)) is fits


def test_reads_need_the_long_state() -> None:
    """The root rule receives reads by default, and has the state that the emulator knows when they are not wanted."""
    assert Stack().resources["RootRule"]["Properties"]["State"] == "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"
    assert Stack().resources["ForwardedRule"]["Properties"]["State"] == "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"
    local = Stack(RecordReadOnlyEvents="false")
    assert local.resources["ForwardedRule"]["Properties"]["State"] == "ENABLED"
    assert local.resources["RootRule"]["Properties"]["State"] == "ENABLED"
    assert local.resources["TamperRule"]["Properties"]["State"] == "ENABLED"


def test_the_table_keeps_the_evidence(stack: Stack) -> None:
    """The table has deletion protection and point-in-time recovery, and outlives the stack."""
    table = stack.resources["AuditTable"]

    assert (table["DeletionPolicy"], table["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert table["Properties"]["DeletionProtectionEnabled"] is True
    assert table["Properties"]["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["Properties"]["BillingMode"] == "PAY_PER_REQUEST"
    assert table["Properties"]["StreamSpecification"] == {"StreamViewType": "NEW_IMAGE"}
    assert "TimeToLiveSpecification" not in table["Properties"]


def test_the_keys_of_the_table(stack: Stack) -> None:
    """The table and its sparse indexes have the keys that the package reads, and hold keys only."""
    table = stack.resources["AuditTable"]["Properties"]
    keys = {
        index: [key["AttributeName"] for key in schema]
        for index, schema in [
            ("table", table["KeySchema"]),
            *((index["IndexName"], index["KeySchema"]) for index in table["GlobalSecondaryIndexes"]),
        ]
    }

    assert keys == {"table": ["pk", "sk"]} | {index.name: [index.partition, index.sort] for index in INDEXES}
    assert all(index["Projection"] == {"ProjectionType": "KEYS_ONLY"} for index in table["GlobalSecondaryIndexes"])
    assert {attribute["AttributeType"] for attribute in table["AttributeDefinitions"]} == {"S"}


def test_the_reports_are_kept(stack: Stack) -> None:
    """Reports are versioned and locked in compliance mode for as long as the parameter says, and outlive the stack."""
    bucket = stack.resources["ReportBucket"]
    lock = bucket["Properties"]["ObjectLockConfiguration"]

    assert (bucket["DeletionPolicy"], bucket["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert bucket["Properties"]["ObjectLockEnabled"] is True
    assert bucket["Properties"]["VersioningConfiguration"] == {"Status": "Enabled"}
    assert (lock["Rule"]["DefaultRetention"]["Mode"], lock["ObjectLockEnabled"]) == ("COMPLIANCE", "Enabled")
    assert int(lock["Rule"]["DefaultRetention"]["Days"]) == 400


def test_the_key_outlives_the_stack(stack: Stack) -> None:
    """The key is retained and rotated: messages under way must stay readable."""
    key = stack.resources["RootwatchKey"]

    assert (key["DeletionPolicy"], key["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert key["Properties"]["EnableKeyRotation"] is True
    assert key["Properties"]["PendingWindowInDays"] == 30


def test_names_fit_at_the_longest_stack_name() -> None:
    """With 32 characters of stack name, in the Region of the longest name, each name is within its limit."""
    named = list(Stack(LONGEST_NAME).names())
    longer_region = len("ap-southeast-2") - len("us-east-1")

    assert len(named) > 20
    for logical_id, kind, name in named:
        longest = len(name) + (longer_region if kind == "AWS::IAM::Role" else 0)
        assert longest <= LONGEST[kind], logical_id


def test_every_name_carries_the_name_of_the_stack() -> None:
    """Every name holds the stack's name, so that the tamper rule knows it and two stacks can live side by side."""
    for logical_id, kind, name in Stack("watch-two").names():
        assert "watch-two-" in name or kind == "AWS::KMS::Alias", logical_id


def test_the_limit_of_the_name_is_written_down() -> None:
    """The template's description tells who deploys it how long the stack's name may be."""
    assert "at most 32 characters" in source()["Description"]


def test_outputs_tell_what_is_next(stack: Stack) -> None:
    """The outputs name the table, queues, topics and secret, what is unconfigured and what to do next."""
    outputs = source()["Outputs"]

    assert {
        "AuditTableName",
        "ForwardedBusArn",
        "IntakeQueueUrl",
        "IntakeDeadLetterQueueUrl",
        "AlertTopicArn",
        "OperationsTopicArn",
        "ReportBucketName",
        "SlackSecretName",
        "Unconfigured",
        "NextSteps",
    } <= set(outputs)
    assert "Slack" in stack.resolve(outputs["Unconfigured"]["Value"])
    assert "DeploymentRoleArn" in stack.resolve(outputs["Unconfigured"]["Value"])
    known = Stack(DeploymentRoleArn="arn:aws:iam::111122223333:role/deploy")
    assert "DeploymentRoleArn" not in known.resolve(outputs["Unconfigured"]["Value"])
    assert "rootwatch-slack" in stack.resolve(outputs["NextSteps"]["Value"])
