"""What the account holds: root reads its secrets, or destroys its data and what would bring it back."""

from collections.abc import Mapping
from typing import Final

from rootwatch.detections.detection import (
    MONITORED_ROOT_USE,
    Acts,
    Detection,
    OwnResources,
    Severity,
    Stage,
    named,
)
from rootwatch.record import Record

_SECRETS: Final = Acts({"secretsmanager": "GetSecretValue BatchGetSecretValue", "kms": "Decrypt"})
_PARAMETERS: Final = Acts({"ssm": "GetParameter GetParameters GetParametersByPath GetParameterHistory"})


def _secret_read(record: Record, _own: OwnResources) -> Severity | None:
    if not record.actor.by_root:
        return None
    is_secret = record in _SECRETS or (record in _PARAMETERS and _is_true(record.request.get("withDecryption")))
    return Severity.HIGH if is_secret else None


_DESTROYS: Final = Acts({
    "backup": "DeleteBackupVault DeleteRecoveryPoint DeleteBackupVaultLockConfiguration",
    "cloudformation": "DeleteStack DeleteStackSet DeleteStackInstances",
    "cloudhsm": "DeleteCluster DeleteHsm DeleteBackup",
    "cognito-idp": "DeleteUserPool",
    "dynamodb": "DeleteTable DeleteBackup",
    "ec2": "TerminateInstances DeleteVolume DeleteSnapshot DeregisterImage UnlockSnapshot",
    "ecr": "DeleteRepository BatchDeleteImage",
    "eks": "DeleteCluster",
    "elasticache": "DeleteCacheCluster DeleteReplicationGroup DeleteSnapshot DeleteServerlessCache",
    "elasticfilesystem": "DeleteFileSystem",
    "elasticmapreduce": "TerminateJobFlows",
    "es": "DeleteElasticsearchDomain DeleteDomain",
    "fsx": "DeleteFileSystem DeleteVolume DeleteBackup DeleteSnapshot",
    "glacier": "DeleteVault DeleteArchive AbortVaultLock",
    "glue": "DeleteDatabase DeleteTable BatchDeleteTable",
    "kinesis": "DeleteStream",
    "kms": "ScheduleKeyDeletion DisableKey DeleteImportedKeyMaterial DisconnectCustomKeyStore DeleteCustomKeyStore",
    "lambda": "DeleteFunction",
    "lightsail": "DeleteInstance DeleteDisk DeleteInstanceSnapshot DeleteRelationalDatabase DeleteBucket",
    "logs": "DeleteLogGroup DeleteLogStream",
    "memorydb": "DeleteCluster DeleteSnapshot",
    "opensearch": "DeleteDomain",
    "rbin": "DeleteRule UnlockRule",
    "rds": """
        DeleteDBInstance DeleteDBCluster DeleteGlobalCluster DeleteDBSnapshot DeleteDBClusterSnapshot
        DeleteDBInstanceAutomatedBackup DeleteDBClusterAutomatedBackup DeleteTenantDatabase""",
    "redshift": "DeleteCluster DeleteClusterSnapshot",
    "redshift-serverless": "DeleteNamespace DeleteSnapshot",
    "route53": "DeleteHostedZone",
    "s3": "DeleteBucket DeleteObject DeleteObjects",
    "secretsmanager": "DeleteSecret",
    "sqs": "DeleteQueue PurgeQueue",
    "ssm": "DeleteParameter DeleteParameters",
    "workspaces": "TerminateWorkspaces",
})  # fmt: skip

_SOON: Final = 7
"""Days. A rule that lets a whole bucket expire by then is a deletion; the objects are gone before most would notice."""


def _destroyed(record: Record, _own: OwnResources) -> Severity | None:
    if not record.actor.by_root:
        return None
    return Severity.HIGH if record in _DESTROYS or _lets_go(record) else None


def _lets_go(record: Record) -> bool:
    """Return whether a setting gives up the data, or the versions and backups that would bring it back."""
    if named(record, "PutBucketVersioning", service="s3"):
        stated = _mapping(record.request.get("VersioningConfiguration"))
        # Only root can set MFA delete at all; https://docs.aws.amazon.com/AmazonS3/latest/userguide/MultiFactorAuthenticationDelete.html
        return stated.get("Status") == "Suspended" or stated.get("MfaDelete") == "Disabled"
    if named(record, "PutBucketLifecycle", "PutBucketLifecycleConfiguration", service="s3"):
        rules = _mapping(record.request.get("LifecycleConfiguration")).get("Rule")
        return any(_expires_all(_mapping(rule)) for rule in (rules if isinstance(rules, list) else [rules]))
    if named(record, "UpdateContinuousBackups", service="dynamodb"):
        stated = _mapping(record.request.get("pointInTimeRecoverySpecification"))
        return _is_false(stated.get("pointInTimeRecoveryEnabled"))
    return False


def _expires_all(rule: Mapping[str, object]) -> bool:
    filtered = _mapping(rule.get("Filter"))
    prefixes = (filtered.get("Prefix"), rule.get("Prefix"))
    is_narrow = any(prefix not in (None, "", "*") for prefix in prefixes) or not filtered.keys() <= {"Prefix", "xmlns"}
    if rule.get("Status") != "Enabled" or is_narrow:
        return False
    expiration = _mapping(rule.get("Expiration"))
    return expiration.get("Date") is not None or _is_soon(expiration.get("Days"))


def _is_soon(days: object) -> bool:
    if isinstance(days, str) and days.isascii() and days.isdecimal() and len(days) < 6:  # noqa: PLR2004 - S3 takes no more
        days = int(days)
    return isinstance(days, int | float) and days <= _SOON


def _is_true(value: object) -> bool:
    return value is True or (isinstance(value, str) and value.casefold() == "true")


def _is_false(value: object) -> bool:
    return value is False or (isinstance(value, str) and value.casefold() == "false")


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


SECRET_READ = Detection(
    id="root.secret_read",
    title="Root read a secret",
    done="read a secret, or decrypted something",
    tried="tried to read a secret, or to decrypt something",
    why="No routine reads secrets as root; whoever did holds the passwords and keys of other systems as well.",
    severity_rule="High, for each secret, decrypted parameter and Decrypt.",
    techniques=("T1555.006", "T1552"),
    controls=MONITORED_ROOT_USE,
    next_steps=(
        "List which secrets: requestParameters.secretId, secretIdList, name or names, or the key in resources.",
        "Change each of them, unless the root custodian claims the reading at eventTime.",
        "Read the logs of the systems those secrets open, from eventTime on for 24 hours.",
    ),
    rule=_secret_read,
)
DESTROYED = Detection(
    id="root.destroyed",
    title="Root destroyed data, or what protects it",
    done="destroyed data, or what would bring it back",
    tried="tried to destroy data, or what would bring it back",
    why="Nothing in the account can stop root from deleting; what has no copy elsewhere may be gone for good.",
    severity_rule="High, for a deletion as for a setting that gives the data or its backups up.",
    techniques=("T1485", "T1490"),
    controls=(*MONITORED_ROOT_USE, "NIST 800-53 r5: SI-4, IR-5"),
    next_steps=(
        "Ask the root custodian by telephone; if nobody claims it, contain the account at once.",
        "Undo what can be: CancelKeyDeletion, EnableKey, RestoreSecret, recycle bin, versions, backups.",
        "List every Delete and Terminate of the session in all regions, from 24 hours before eventTime on.",
    ),
    rule=_destroyed,
    stage=Stage.DESTRUCTION,
)
