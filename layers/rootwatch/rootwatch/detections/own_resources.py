"""Somebody changes Rootwatch itself, matched by the names and ARNs of this stack."""

from collections.abc import Iterator, Mapping

from rootwatch.detections.detection import AUDIT_TRAIL_PROTECTED, Detection, OwnResources, Severity, Stage
from rootwatch.record import Record

_NAMING_FIELDS = (
    "name", "rule", "tableName", "alarmName", "alarmNames", "roleName", "bucketName", "functionName", "topicArn",
    "subscriptionArn", "queueUrl", "queueName", "secretId", "logGroupName", "resourceArn", "resourceARN", "stackName",
    "layerName", "aliasName", "eventSourceArn", "eventBusName",
)  # fmt: skip
_NEVER = frozenset({"CreateLogStream", "CreateGrant", "RetireGrant"})
"""What the stack's own functions and its key cause all day, besides reading and writing data: no feedback loop."""


def _rootwatch_tampered(record: Record, own: OwnResources) -> Severity | None:
    if record.read_only or _is_our_own_work(record):
        return None
    if not any(_is_ours(name, own) for name in _names(record)):
        return None
    return Severity.LOW if _is_own_deployment(record, own) else Severity.CRITICAL


def _is_our_own_work(record: Record) -> bool:
    """Return whether the running stack may have caused it; root never is the stack, whatever it writes or deletes."""
    return not record.actor.by_root and (record.event_name in _NEVER or record.body.get("managementEvent") is False)


def _names(record: Record) -> Iterator[str]:
    for field in _NAMING_FIELDS:
        value = record.request.get(field)
        for name in value if isinstance(value, list) else (value,):
            if isinstance(name, str):
                yield name
    for field in ("keyId", "targetKeyId"):
        value = record.request.get(field)
        if isinstance(value, str):
            yield f"key/{value.rpartition('/')[2]}"
    function = record.response.get("functionArn")
    if isinstance(function, str):
        yield function
    resources = record.body.get("resources")
    for resource in resources if isinstance(resources, list) else ():
        arn = resource.get("ARN") if isinstance(resource, Mapping) else None
        if isinstance(arn, str):
            yield arn


def _is_ours(name: str, own: OwnResources) -> bool:
    # A name counts at its beginning or behind a separator: "rootwatch-detect", "…:function:rootwatch-detect",
    # "https://sqs…/rootwatch-intake", "alias/rootwatch"; "my-rootwatch-x" is somebody else's.
    if own.key_id and (name == f"key/{own.key_id}" or name.endswith(f":key/{own.key_id}")):
        return True
    last = name.rpartition("/")[2].rpartition(":")[2]
    if own.stack_name in {name, last} or f":stack/{own.stack_name}/" in name:
        return True
    prefix = f"{own.stack_name}-"
    # StackSets put their own words around the name of a stack set.
    return name.startswith((prefix, f"StackSet-{prefix}")) or any(f"{mark}{prefix}" in name for mark in "/:")


def _is_own_deployment(record: Record, own: OwnResources) -> bool:
    # The deployment's own role, directly or through CloudFormation acting for it. Root is never the deployment.
    arns = {record.actor.arn, record.actor.issuer_arn}
    return bool(own.deployment_role_arn) and not record.actor.by_root and own.deployment_role_arn in arns


ROOTWATCH_TAMPERED = Detection(
    id="root.rootwatch_tampered",
    title="Rootwatch itself was changed",
    done="changed Rootwatch itself",
    tried="tried to change Rootwatch itself",
    why="Whoever misuses root can switch off what watches it; after this, silence proves nothing.",
    severity_rule=(
        "Critical, by anybody; low only by the deployment's own role (DeploymentRoleArn), which root never is."
    ),
    techniques=("T1562.008",),
    controls=AUDIT_TRAIL_PROTECTED,
    next_steps=(
        "Ask the person behind userIdentity.arn whether this was a deployment; if so, set DeploymentRoleArn.",
        "Run rootwatch doctor: it names what is not as it was deployed, each with a command that mends it.",
        "Until it is repaired, read CloudTrail's event history for the root user by hand.",
    ),
    rule=_rootwatch_tampered,
    stage=Stage.LOGGING_CHANGED,
)
