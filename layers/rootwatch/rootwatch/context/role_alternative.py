"""Which IAM action a role would have needed for what root did.

`role_alternatives.txt` beside this file holds every action of AWS's service authorization reference (`make roles`
writes it). CloudTrail names most events after the action that is checked; where it does not, the action is in
`_RENAMED`, from the documentation of that service. What is in neither has no answer: None, never a guess.

S3: https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
Lambda: https://docs.aws.amazon.com/lambda/latest/dg/logging-using-cloudtrail.html
API Gateway: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-iam-policy-examples.html
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from rootwatch.context.root_tasks import may_need_root, need
from rootwatch.record import ActorKind, Record


def for_record(record: Record) -> str | None:
    """Return the action, such as "ec2:DescribeInstances", with which a role could have done what root did.

    None for what needs root or may need it, for sign-ins, for services and other principals, and for what is not
    known. Never raises.
    """
    actor = record.actor
    is_call = (record.event_type or "").casefold() not in {"awsconsolesignin", "awsconsoleaction", "awsserviceevent"}
    if not actor.by_root or actor.kind is ActorKind.AWS_SERVICE or not is_call or record.service == "signin":
        return None
    if need(record) is not None or may_need_root(record):
        return None
    source, name = record.event_source, record.event_name
    if record.service == "autoscaling" and isinstance(record.request.get("serviceNamespace"), str):
        # Application Auto Scaling shares this event source and some names; its calls state a service namespace.
        source = "application-autoscaling.amazonaws.com"
    action = action_for(source, name)
    if record.service == "s3" and isinstance(record.request.get("versionId"), str):
        return _OF_A_VERSION.get(action or "", action)
    return action


def action_for(event_source: str | None, event_name: str | None) -> str | None:
    """Return the IAM action behind an event source and event name; None where it is not known. Never raises."""
    source = _SOURCE.fullmatch((event_source or "")[:128].casefold())
    if source is None or not event_name or not _NAME.fullmatch(event_name):
        return None
    prefix = _PREFIXES.get(source.group(1), source.group(1))
    name = event_name
    if prefix in _DATES:
        name = _DATES[prefix].sub("", name)
    name = _renamed().get(prefix, {}).get(name, name)
    return f"{prefix}:{name}" if f" {name} " in _actions().get(prefix, "") else None


def known_actions() -> dict[str, tuple[str, ...]]:
    """Return every action of the table by its service's prefix, sorted."""
    return {prefix: tuple(names.split()) for prefix, names in _actions().items()}


def table() -> str:
    """Return the table as it is written: two lines of head, then one line per service."""
    return _TABLE.read_text(encoding="ascii")


@cache
def _actions() -> Mapping[str, str]:
    # Read at the first question: importing does nothing. The names of a service stay one text, which is far quicker
    # to read than 20,000 names, and a search in it takes microseconds.
    lines = (line.partition(" ") for line in table().splitlines() if not line.startswith("#"))
    return {prefix: f" {names} " for prefix, _, names in lines}


@cache
def _renamed() -> Mapping[str, Mapping[str, str]]:
    return {
        service: {event: action for action, events in actions.items() for event in events.split()}
        for service, actions in _RENAMED.items()
    }


_TABLE: Final = Path(__file__).with_name("role_alternatives.txt")
_SOURCE: Final = re.compile(r"([a-z0-9][a-z0-9.-]{0,63})\.amazonaws\.com(?:\.cn)?")
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,127}")

_PREFIXES: Final = {
    "amazonmq": "mq",
    "appstream2": "appstream",
    "email": "ses",
    "models.lex": "lex",
    "monitoring": "cloudwatch",
    "mturk-requester": "mechanicalturk",
    "rdsdata": "rds-data",
    "rdsdataapi": "rds-data",
    "runtime.lex": "lex",
    "streams.dynamodb": "dynamodb",
    "tagging": "tag",
}
"""Event sources whose first part is not the prefix of their actions."""

_DATES: Final = {
    "cloudfront": re.compile(r"20[0-9]{2}_[0-9]{2}_[0-9]{2}\Z"),
    "lambda": re.compile(r"20[0-9]{6}(?:v[0-9])?\Z"),
}
"""Services that write the date of their API behind the name: UpdateFunctionCode20150331v2."""

_OF_A_VERSION: Final = {
    f"s3:{verb}Object{part}": f"s3:{verb}ObjectVersion{part}"
    for verb, part in (
        ("Delete", ""), ("Delete", "Tagging"), ("Get", ""), ("Get", "Acl"), ("Get", "Attributes"), ("Get", "Tagging"),
        ("Put", "Acl"), ("Put", "Tagging"),
    )
}  # fmt: skip
"""S3 checks another action where the call names a version of the object."""

_RENAMED: Final[Mapping[str, Mapping[str, str]]] = {
    "apigateway": {
        "DELETE": "DeleteApi DeleteApiKey DeleteAuthorizer DeleteBasePathMapping DeleteDeployment DeleteIntegration "
                  "DeleteMethod DeleteModel DeleteResource DeleteRestApi DeleteRoute DeleteStage DeleteUsagePlan "
                  "DeleteUsagePlanKey DeleteVpcLink",
        "GET": "GetAccount GetApi GetApiKey GetApiKeys GetApis GetAuthorizer GetAuthorizers GetDeployment "
               "GetDeployments GetDomainName GetDomainNames GetExport GetIntegration GetMethod GetModel GetModels "
               "GetResource GetResources GetRestApi GetRestApis GetStage GetStages GetUsagePlan GetUsagePlans "
               "GetVpcLink GetVpcLinks",
        "PATCH": "UpdateAccount UpdateApi UpdateApiKey UpdateAuthorizer UpdateDeployment UpdateIntegration "
                 "UpdateMethod UpdateModel UpdateResource UpdateRestApi UpdateRoute UpdateStage UpdateUsagePlan",
        "POST": "CreateApi CreateApiKey CreateAuthorizer CreateBasePathMapping CreateDeployment CreateIntegration "
                "CreateModel CreateResource CreateRestApi CreateRoute CreateStage CreateUsagePlan CreateUsagePlanKey "
                "CreateVpcLink ImportRestApi",
        "PUT": "PutGatewayResponse PutIntegration PutIntegrationResponse PutMethod PutMethodResponse PutRestApi",
    },
    "bedrock": {"InvokeModel": "Converse", "InvokeModelWithResponseStream": "ConverseStream"},
    "dynamodb": {"GetItem": "TransactGetItems"},
    "lambda": {"GetLayerVersion": "GetLayerVersionByArn", "InvokeFunction": "Invoke InvokeWithResponseStream"},
    "s3": {
        "DeleteObject": "DeleteObjects",
        "GetAccelerateConfiguration": "GetBucketAccelerateConfiguration",
        "GetAnalyticsConfiguration": "GetBucketAnalyticsConfiguration ListBucketAnalyticsConfigurations",
        "GetBucketCORS": "GetBucketCors",
        "GetBucketNotification": "GetBucketNotificationConfiguration",
        "GetBucketObjectLockConfiguration": "GetObjectLockConfiguration",
        "GetEncryptionConfiguration": "GetBucketEncryption",
        "GetIntelligentTieringConfiguration": "GetBucketIntelligentTieringConfiguration "
                                              "ListBucketIntelligentTieringConfigurations",
        "GetInventoryConfiguration": "GetBucketInventoryConfiguration ListBucketInventoryConfigurations",
        "GetLifecycleConfiguration": "GetBucketLifecycle GetBucketLifecycleConfiguration",
        "GetMetricsConfiguration": "GetBucketMetricsConfiguration ListBucketMetricsConfigurations",
        "GetObject": "HeadObject SelectObjectContent",
        "GetReplicationConfiguration": "GetBucketReplication",
        "ListAllMyBuckets": "ListBuckets",
        "ListBucket": "HeadBucket ListObjects ListObjectsV2",
        "ListBucketMultipartUploads": "ListMultipartUploads",
        "ListBucketVersions": "ListObjectVersions",
        "ListMultipartUploadParts": "ListParts",
        "PutAccelerateConfiguration": "PutBucketAccelerateConfiguration",
        "PutAccountPublicAccessBlock": "DeleteAccountPublicAccessBlock",
        "PutAnalyticsConfiguration": "DeleteBucketAnalyticsConfiguration PutBucketAnalyticsConfiguration",
        "PutBucketCORS": "DeleteBucketCors PutBucketCors",
        "PutBucketNotification": "PutBucketNotificationConfiguration",
        "PutBucketObjectLockConfiguration": "PutObjectLockConfiguration",
        "PutBucketOwnershipControls": "DeleteBucketOwnershipControls",
        "PutBucketPublicAccessBlock": "DeleteBucketPublicAccessBlock",
        "PutBucketTagging": "DeleteBucketTagging",
        "PutEncryptionConfiguration": "DeleteBucketEncryption PutBucketEncryption",
        "PutIntelligentTieringConfiguration": "DeleteBucketIntelligentTieringConfiguration "
                                              "PutBucketIntelligentTieringConfiguration",
        "PutInventoryConfiguration": "DeleteBucketInventoryConfiguration PutBucketInventoryConfiguration",
        "PutLifecycleConfiguration": "DeleteBucketLifecycle PutBucketLifecycle PutBucketLifecycleConfiguration",
        "PutMetricsConfiguration": "DeleteBucketMetricsConfiguration PutBucketMetricsConfiguration",
        "PutObject": "CompleteMultipartUpload CopyObject CreateMultipartUpload UploadPart UploadPartCopy",
        "PutReplicationConfiguration": "DeleteBucketReplication PutBucketReplication",
    },
    "sns": {"Publish": "PublishBatch"},
    "sqs": {
        "ChangeMessageVisibility": "ChangeMessageVisibilityBatch",
        "DeleteMessage": "DeleteMessageBatch",
        "SendMessage": "SendMessageBatch",
    },
}  # fmt: skip
"""By service and action: the events that are checked against it and named otherwise."""
