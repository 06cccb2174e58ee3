"""Tampering with Rootwatch itself is recognised by the names of this deployment, and nobody else's names are taken."""

from typing import Any

import pytest

from rootwatch.detections.catalogue import detect
from rootwatch.detections.detection import OwnResources, Severity
from tests.unit.workbench import OWN, Changes, make_record

ROLE = "arn:aws:iam::111122223333:role/RootwatchDeployment"
DEPLOYED = OwnResources("rootwatch", key_id=OWN.key_id, deployment_role_arn=ROLE)
DEPLOYER = {
    "type": "AssumedRole",
    "arn": "arn:aws:sts::111122223333:assumed-role/RootwatchDeployment/pipeline",
    "accountId": "111122223333",
    "sessionContext": {"sessionIssuer": {"type": "Role", "arn": ROLE}},
}
SLACK_SECRET = "arn:aws:secretsmanager:us-east-1:111122223333:secret:rootwatch-slack-AbCdEf"


def severity(own: OwnResources = OWN, /, **changes: Any) -> Severity | None:
    """How severe the tampering is in a record of somebody else's with these changes; None where it is none."""
    findings = detect(make_record("rootwatch_tampered", **changes), own)
    return next((each.severity for each in findings if each.detection.stem == "rootwatch_tampered"), None)


OURS = [
    ("events.amazonaws.com", "DeleteRule", {"name": "rootwatch-root"}),
    ("events.amazonaws.com", "RemoveTargets", {"rule": "rootwatch-tamper", "ids": ["Intake"]}),
    (
        "events.amazonaws.com",
        "TagResource",
        {"resourceARN": "arn:aws:events:us-east-1:111122223333:rule/rootwatch-root"},
    ),
    ("sqs.amazonaws.com", "DeleteQueue", {"queueUrl": "https://sqs.us-east-1.amazonaws.com/1/rootwatch-intake"}),
    ("dynamodb.amazonaws.com", "DeleteTable", {"tableName": "rootwatch-audit"}),
    (
        "dynamodb.amazonaws.com",
        "DeleteTable",
        {"tableName": "arn:aws:dynamodb:us-east-1:111122223333:table/rootwatch-audit"},
    ),
    ("sns.amazonaws.com", "Unsubscribe", {"subscriptionArn": "arn:aws:sns:us-east-1:111122223333:rootwatch-alerts:1"}),
    ("sns.amazonaws.com", "DeleteTopic", {"topicArn": "arn:aws:sns:us-east-1:111122223333:rootwatch-operations"}),
    ("lambda.amazonaws.com", "DeleteFunction20150331", {"functionName": "rootwatch-detect"}),
    (
        "lambda.amazonaws.com",
        "UpdateFunctionCode20150331v2",
        {"functionName": "arn:aws:lambda:us-east-1:111122223333:function:rootwatch-notify-slack:live"},
    ),
    ("kms.amazonaws.com", "ScheduleKeyDeletion", {"keyId": OWN.key_id}),
    ("kms.amazonaws.com", "DisableKey", {"keyId": f"arn:aws:kms:us-east-1:111122223333:key/{OWN.key_id}"}),
    ("kms.amazonaws.com", "UpdateAlias", {"aliasName": "alias/rootwatch", "targetKeyId": "another"}),
    ("kms.amazonaws.com", "UpdateAlias", {"aliasName": "alias/another", "targetKeyId": OWN.key_id}),
    ("monitoring.amazonaws.com", "DisableAlarmActions", {"alarmNames": ["other", "rootwatch-intake-age"]}),
    ("secretsmanager.amazonaws.com", "PutSecretValue", {"secretId": SLACK_SECRET}),
    ("logs.amazonaws.com", "DeleteLogGroup", {"logGroupName": "/aws/lambda/rootwatch-detect"}),
    ("iam.amazonaws.com", "DeleteRolePolicy", {"roleName": "rootwatch-detect", "policyName": "x"}),
    ("cloudformation.amazonaws.com", "DeleteStack", {"stackName": "rootwatch"}),
    (
        "cloudformation.amazonaws.com",
        "DeleteStack",
        {"stackName": "arn:aws:cloudformation:us-east-1:111122223333:stack/rootwatch/0f1e2d3c"},
    ),
]


@pytest.mark.parametrize(("source", "name", "request_stated"), OURS, ids=lambda value: str(value)[:60])
def test_a_change_of_ours_is_critical_whoever_makes_it(source: str, name: str, request_stated: dict[str, Any]) -> None:
    """Rules, targets, queues, table, topics, functions, key, alias, alarms, secret, logs, roles and the stack count."""
    changes = {"eventSource": source, "eventName": name, "requestParameters": request_stated}
    assert severity(**changes) is Severity.CRITICAL
    assert severity(**changes, userIdentity={"type": "Root"}) is Severity.CRITICAL
    assert severity(**changes, userIdentity=None) is Severity.CRITICAL
    assert severity(**changes, errorCode="AccessDenied") is Severity.CRITICAL
    assert severity(DEPLOYED, **changes, userIdentity=DEPLOYER) is Severity.LOW


@pytest.mark.parametrize(
    "request_stated",
    [
        {"name": "my-rootwatch-root"},
        {"name": "rootwatcher"},
        {"name": "rootwatch2-root"},
        {"name": "root"},
        {"name": ""},
        {"name": None},
        {"name": 7},
        {"tableName": "arn:aws:dynamodb:us-east-1:111122223333:table/my-rootwatch-audit"},
        {"queueUrl": "https://sqs.us-east-1.amazonaws.com/111122223333/not-rootwatch-intake"},
        {"keyId": "11111111-0000-4000-8000-1234567890ab"},
        {"keyId": ""},
        {"description": "rootwatch-root"},
        {"stackName": "arn:aws:cloudformation:us-east-1:111122223333:stack/rootwatch2/0f1e2d3c"},
        {},
        None,
        "rootwatch-root",
        ["rootwatch-root"],
    ],
    ids=repr,
)
def test_somebody_else_s_names_are_not_ours(request_stated: object) -> None:
    """A name that only resembles ours, or stands in a field that names nothing, is none of ours."""
    assert severity(requestParameters=request_stated) is None


@pytest.mark.parametrize("changes", [{"readOnly": True}, {"eventName": "DescribeRule", "readOnly": None}])
def test_looking_at_us_is_no_tampering(changes: Changes) -> None:
    """Reads of our own resources are no change."""
    assert severity(**changes) is None


@pytest.mark.parametrize("name", ["CreateLogStream", "CreateGrant", "RetireGrant"])
def test_what_our_own_functions_cause_is_no_tampering(name: str) -> None:
    """Log streams and grants come from our own running, and data events from our own work: no feedback loop."""
    assert severity(eventName=name) is None
    assert severity(managementEvent=False) is None
    assert severity(managementEvent=None) is Severity.CRITICAL


@pytest.mark.parametrize(
    ("source", "name", "request_stated"),
    [
        ("dynamodb.amazonaws.com", "DeleteItem", {"tableName": "rootwatch-audit"}),
        ("dynamodb.amazonaws.com", "BatchExecuteStatement", {"tableName": "rootwatch-audit"}),
        ("sqs.amazonaws.com", "DeleteMessage", {"queueUrl": "https://sqs.us-east-1.amazonaws.com/1/rootwatch-intake"}),
        ("kms.amazonaws.com", "CreateGrant", {"keyId": OWN.key_id}),
        ("logs.amazonaws.com", "CreateLogStream", {"logGroupName": "/aws/lambda/rootwatch-detect"}),
    ],
)
def test_root_s_own_hand_on_our_data_is_tampering(source: str, name: str, request_stated: dict[str, Any]) -> None:
    """Where a trail records data events, root that deletes an audit item, a message or takes our key is told."""
    changes = {"eventSource": source, "eventName": name, "requestParameters": request_stated, "managementEvent": False}
    assert severity(**changes) is None
    assert severity(**changes, userIdentity={"type": "Root"}) is Severity.CRITICAL
    assert severity(**changes, userIdentity={"type": "Root"}, readOnly=True) is None


def test_the_resources_and_the_response_name_ours_too() -> None:
    """An ARN of ours in `resources` or as the changed function counts without any parameter."""
    nothing = Changes(requestParameters=None)
    arn = f"arn:aws:kms:us-east-1:111122223333:key/{OWN.key_id}"
    topic = "arn:aws:sns:us-east-1:111122223333:rootwatch-alerts"
    function = {"functionArn": "arn:aws:lambda:us-east-1:111122223333:function:rootwatch-detect"}
    assert severity(**nothing) is None
    assert severity(**nothing, resources=[{"ARN": topic}]) is Severity.CRITICAL
    assert severity(**nothing, resources=[7, {"ARN": 7}, {"ARN": arn}]) is Severity.CRITICAL
    assert severity(**nothing, responseElements=function) is Severity.CRITICAL
    assert severity(**nothing, resources={"ARN": topic}) is None


def test_only_the_deployment_role_itself_is_the_deployment() -> None:
    """Another role, a role that is only called alike, root, and an unset role are not our deployment."""
    assert severity(DEPLOYED, userIdentity=DEPLOYER) is Severity.LOW
    assert severity(DEPLOYED, userIdentity=DEPLOYER | {"sessionContext": {}, "arn": ROLE}) is Severity.LOW
    assert severity(DEPLOYED) is Severity.CRITICAL
    assert severity(OWN, userIdentity=DEPLOYER) is Severity.CRITICAL
    for issuer in (f"{ROLE}2", ROLE.casefold(), "arn:aws:iam::444455556666:role/RootwatchDeployment", "", None, [ROLE]):
        identity = DEPLOYER | {"sessionContext": {"sessionIssuer": {"type": "Role", "arn": issuer}}}
        assert severity(DEPLOYED, userIdentity=identity) is Severity.CRITICAL
    assert severity(DEPLOYED, userIdentity=DEPLOYER | {"type": "Root"}) is Severity.CRITICAL
    issued_by_root = DEPLOYER | {"sessionContext": {"sessionIssuer": {"type": "Root", "arn": ROLE}}}
    assert severity(DEPLOYED, userIdentity=issued_by_root) is Severity.CRITICAL


def test_without_a_key_of_our_own_no_key_is_ours() -> None:
    """A deployment that does not know its key takes no key for it, not even an empty one."""
    for key in ("", "key/", "/", OWN.key_id):
        assert severity(OwnResources("rootwatch"), requestParameters={"keyId": key}) is None


def test_another_stack_s_name_counts_for_that_stack() -> None:
    """The names follow the stack's own name."""
    own = OwnResources("watch-eu")
    assert severity(own) is None
    assert severity(own, requestParameters={"name": "watch-eu-root"}) is Severity.CRITICAL
