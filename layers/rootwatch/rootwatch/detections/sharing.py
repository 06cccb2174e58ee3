"""What the account holds is opened: to everybody, to another account, or to whoever a policy names.

An act counts unless its record shows that it opens nothing: a missing or unreadable policy is not taken for a harmless
one. Field names are those that CloudTrail records, in each service's own spelling.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from rootwatch.detections.detection import MONITORED_ROOT_USE, Detection, OwnResources, Severity, undated_name
from rootwatch.detections.policy_document import allowing_statements, is_outsider, open_to_outsiders, texts
from rootwatch.record import ActorKind, Record


def _resource_shared(record: Record, _own: OwnResources) -> Severity | None:
    if not record.actor.by_root:
        return None
    shares = _ACTS.get(undated_name(record))
    return Severity.HIGH if shares is not None and shares(record) else None


def _always(_record: Record) -> bool:
    return True


# --- images, snapshots, documents: lists of accounts -----------------------------------------------------------------


def _launch_permission(record: Record) -> bool:
    return _adds(record, "launchPermission", "loadPermission")


def _volume_permission(record: Record) -> bool:
    return _adds(record, "createVolumePermission")


def _adds(record: Record, *fields: str) -> bool:
    """Return whether an attribute gains a group or an account; the older spelling has operationType add."""
    request = record.request
    if not request or request.get("operationType") == "add":
        return True
    return any(_entries(_mapping(request.get(field)).get("add")) for field in fields)


def _values_added(record: Record) -> bool:
    request = record.request
    return not request or any(_entries(request.get(field)) for field in ("valuesToAdd", "accountIdsToAdd"))


def _entries(value: object) -> bool:
    return bool(value.get("items") if isinstance(value, Mapping) else value)


# --- policies on resources -------------------------------------------------------------------------------------------

_POLICY_FIELDS: Final = ("policy", "bucketPolicy", "policyText", "resourcePolicy", "policyInJson", "policyDocument",
                         "accessPolicies", "accessPolicy", "repositoryPolicy")  # fmt: skip


def _resource_policy(record: Record) -> bool:
    policies = list(_policies(record.request))
    return not policies or any(open_to_outsiders(policy, record.account_id) is not False for policy in policies)


def _policy_if_stated(record: Record) -> bool:
    """Return whether one attribute of many is a policy that lets outsiders in."""
    return any(open_to_outsiders(policy, record.account_id) is not False for policy in _policies(record.request))


def _bucket_policy(record: Record) -> bool:
    # An AssumeRoot session unlocks a bucket by putting a sound policy: there, only what lets outsiders in counts.
    if record.actor.kind is ActorKind.ASSUMED_ROOT:
        return _resource_policy(record)
    policies = list(_policies(record.request))
    return not policies or any(allowing_statements(policy) != () for policy in policies)


def _policies(request: Mapping[str, object]) -> Iterator[object]:
    for field in _POLICY_FIELDS:
        value = request.get(field)
        inner = value.get("policy") if isinstance(value, Mapping) else None  # Glacier wraps it once more
        policy = inner if inner is not None else value
        if policy and policy != [""]:  # S3 has `policy` as an empty sub-resource beside the policy itself
            yield policy
    attributes = _mapping(request.get("attributes"))
    named = request.get("attributeName") == "Policy"
    for policy in (attributes.get("Policy"), request.get("attributeValue") if named else None):
        if policy:
            yield policy


def _permission(record: Record) -> bool:
    """Return whether a permission is given to somebody outside the account, or to nobody that the record names."""
    fields = ("principal", "granteePrincipal", "aWSAccountId", "aWSAccountIds", "AWSAccountIds", "organizationId",
              "principalOrgID")  # fmt: skip
    given = [text for field in fields for text in texts(record.request.get(field))]
    return not given or any(_is_stranger(text, record.account_id) for text in given)


def _is_stranger(text: str, account_id: str | None) -> bool:
    return text.startswith("o-") or is_outsider(text, account_id)


def _function_url(record: Record) -> bool:
    return not record.request or record.request.get("authType") == "NONE"


# --- buckets ---------------------------------------------------------------------------------------------------------

_BLOCKS: Final = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
_PRIVATE_ACLS: Final = frozenset({"private", "bucket-owner-read", "bucket-owner-full-control", "log-delivery-write"})
_LOG_DELIVERY: Final = "http://acs.amazonaws.com/groups/s3/LogDelivery"


def _public_access_block(record: Record) -> bool:
    stated = _mapping(record.request.get("PublicAccessBlockConfiguration"))
    return not all(stated.get(block) in (True, "true") for block in _BLOCKS)


def _access_list(record: Record) -> bool:
    request = record.request
    given = [request, _mapping(request.get("accessControlList")), _mapping(request.get("AccessControlList"))]
    canned = [text for each in given for field in ("x-amz-acl", "x_amz_acl") for text in texts(each.get(field))]
    grants = any(str(field).casefold().replace("_", "-").startswith("x-amz-grant-") for each in given for field in each)
    policy = _mapping(request.get("AccessControlPolicy"))
    if canned or grants:
        return grants or any(text not in _PRIVATE_ACLS for text in canned)
    if not policy:
        return True
    owner = _mapping(policy.get("Owner")).get("ID")
    entries = _mapping(policy.get("AccessControlList")).get("Grant")
    grantees = [
        _mapping(_mapping(entry).get("Grantee")) for entry in (entries if isinstance(entries, list) else [entries])
    ]
    return any(_is_other(grantee, owner) for grantee in grantees)


def _is_other(grantee: Mapping[str, object], owner: object) -> bool:
    if grantee.get("URI") == _LOG_DELIVERY:
        return False
    grantee_id = grantee.get("ID")
    return bool(grantee) and not (isinstance(grantee_id, str) and isinstance(owner, str) and grantee_id == owner)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


_ACTS: Final[Mapping[str, Callable[[Record], bool]]] = {
    # EC2, RDS, Redshift, Systems Manager
    "ModifyImageAttribute": _launch_permission,
    "ModifyFpgaImageAttribute": _launch_permission,
    "ModifySnapshotAttribute": _volume_permission,
    "DisableImageBlockPublicAccess": _always,
    "DisableSnapshotBlockPublicAccess": _always,
    "ModifyDBSnapshotAttribute": _values_added,
    "ModifyDBClusterSnapshotAttribute": _values_added,
    "AuthorizeSnapshotAccess": _always,
    "AuthorizeDataShare": _always,
    "ModifyDocumentPermission": _values_added,
    # S3
    "PutBucketPolicy": _bucket_policy,
    "PutAccessPointPolicy": _resource_policy,
    "PutBucketAcl": _access_list,
    "PutObjectAcl": _access_list,
    "PutBucketPublicAccessBlock": _public_access_block,
    "PutAccountPublicAccessBlock": _public_access_block,
    "DeleteBucketPublicAccessBlock": _always,
    "DeleteAccountPublicAccessBlock": _always,
    "PutBucketReplication": _always,
    # Resource Access Manager
    "CreateResourceShare": _always,
    "AssociateResourceShare": _always,
    # policies on resources of every other kind
    "PutResourcePolicy": _resource_policy,
    "PutKeyPolicy": _resource_policy,
    "SetRepositoryPolicy": _resource_policy,
    "PutRegistryPolicy": _resource_policy,
    "SetVaultAccessPolicy": _resource_policy,
    "PutBackupVaultAccessPolicy": _resource_policy,
    "PutFileSystemPolicy": _resource_policy,
    "PutDestinationPolicy": _resource_policy,
    "PutDomainPermissionsPolicy": _resource_policy,
    "PutRepositoryPermissionsPolicy": _resource_policy,
    "SetQueueAttributes": _policy_if_stated,
    "SetTopicAttributes": _policy_if_stated,
    "UpdateDomainConfig": _policy_if_stated,
    "UpdateElasticsearchDomainConfig": _policy_if_stated,
    "AddPermission": _permission,
    "AddLayerVersionPermission": _permission,
    "PutPermission": _permission,
    "CreateGrant": _permission,
    "CreateFunctionUrlConfig": _function_url,
    "UpdateFunctionUrlConfig": _function_url,
}
"""By name alone: the names are each one service's own, or mean the same in all of them."""

RESOURCE_SHARED = Detection(
    id="root.resource_shared",
    title="Root opened something to others",
    done="opened something the account holds to others",
    tried="tried to open something the account holds to others",
    why="A shared image, snapshot, key or bucket can be copied out of the account without any further trace in it.",
    severity_rule="High, unless the record shows that it opens nothing.",
    techniques=("T1537", "T1530"),
    controls=MONITORED_ROOT_USE,
    next_steps=(
        "Read requestParameters: to whom was it opened, and is that account or principal yours?",
        "Close it again from a session you trust; a copy that was made meanwhile stays with whoever made it.",
        "Look for reads of it from eventTime on (S3 data events, CopySnapshot, CreateVolume) for 24 hours.",
    ),
    rule=_resource_shared,
)
