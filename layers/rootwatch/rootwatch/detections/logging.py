"""Somebody makes AWS's own records stop, or changes what they hold."""

import re

from rootwatch.detections.detection import AUDIT_TRAIL_PROTECTED, Acts, Detection, OwnResources, Severity, Stage, named
from rootwatch.record import LONGEST_NAME, Record

# The root rule's pattern in template.yaml names the same events, since it delivers them of any principal.
_STOPS = frozenset({
    ("cloudtrail", "StopLogging"), ("cloudtrail", "DeleteTrail"), ("cloudtrail", "DeleteEventDataStore"),
    ("cloudtrail", "StopEventDataStoreIngestion"), ("config", "StopConfigurationRecorder"),
    ("config", "DeleteConfigurationRecorder"), ("config", "DeleteDeliveryChannel"), ("guardduty", "DeleteDetector"),
    ("guardduty", "StopMonitoringMembers"), ("securityhub", "DisableSecurityHub"), ("ec2", "DeleteFlowLogs"),
})  # fmt: skip
_CHANGES = frozenset({
    ("cloudtrail", "UpdateTrail"), ("cloudtrail", "PutEventSelectors"), ("cloudtrail", "PutInsightSelectors"),
    ("cloudtrail", "UpdateEventDataStore"), ("config", "PutConfigurationRecorder"), ("config", "PutDeliveryChannel"),
    ("guardduty", "UpdateDetector"),
})  # fmt: skip
_STOP_NAMES = frozenset(name for _, name in _STOPS)
_CHANGE_NAMES = frozenset(name for _, name in _CHANGES)

# By root only: many of these names are several services', and the rule brings nobody else's.
_STOPS_BY_ROOT = Acts({
    "config": "DeleteServiceLinkedConfigurationRecorder",
    "guardduty": """
        DeleteMembers DisassociateMembers DisassociateFromAdministratorAccount DisassociateFromMasterAccount
        DisableOrganizationAdminAccount""",
    "securityhub": """
        DisableSecurityHubV2 DeleteMembers DisassociateMembers DisassociateFromAdministratorAccount
        DisassociateFromMasterAccount DisableOrganizationAdminAccount""",
})  # fmt: skip
_CHANGES_BY_ROOT = Acts({
    "cloudtrail": "PutEventConfiguration DeleteChannel DeregisterOrganizationDelegatedAdmin",
    "config": "DisassociateResourceTypes PutServiceLinkedConfigurationRecorder",
    "guardduty": """
        CreateFilter UpdateFilter CreateIPSet UpdateIPSet DeletePublishingDestination UpdatePublishingDestination
        UpdateMemberDetectors UpdateOrganizationConfiguration""",
    "securityhub": "BatchDisableStandards UpdateOrganizationConfiguration UpdateSecurityHubConfiguration",
})  # fmt: skip


_LOG_BUCKET = re.compile(
    r"cloudtrail|config-bucket|aws-?logs|(?:access|audit|flow|log|vpc)-?logs?|guardduty", re.IGNORECASE
)
"""Names that buckets with logs go by; S3 itself does not say what a bucket is for."""
_BUCKET_STOPS = frozenset({"DeleteBucket", "PutBucketLifecycle", "PutBucketLifecycleConfiguration"})
_BUCKET_CHANGES = frozenset({"PutBucketPolicy", "DeleteBucketPolicy", "PutBucketVersioning", "PutBucketLogging"})


def _log_bucket_tampered(record: Record) -> Severity | None:
    bucket = record.request.get("bucketName")
    if record.service != "s3" or not record.actor.by_root or not isinstance(bucket, str):
        return None
    if not _LOG_BUCKET.search(bucket[:LONGEST_NAME]):
        return None
    if record.event_name in _BUCKET_STOPS:
        return Severity.CRITICAL
    return Severity.HIGH if record.event_name in _BUCKET_CHANGES else None


def _logging_tampered(record: Record, _own: OwnResources) -> Severity | None:
    name, service, by_root = record.event_name or "", record.service, record.actor.by_root
    if severity := _log_bucket_tampered(record):
        return severity
    if (service, name) in _STOPS or (not service and name in _STOP_NAMES) or _disables_detector(record):
        return Severity.CRITICAL if by_root else Severity.HIGH
    if (service, name) in _CHANGES or (not service and name in _CHANGE_NAMES):
        return Severity.HIGH if by_root else Severity.LOW
    if not by_root:
        return None
    return Severity.CRITICAL if record in _STOPS_BY_ROOT else Severity.HIGH if record in _CHANGES_BY_ROOT else None


def _disables_detector(record: Record) -> bool:
    """Return whether GuardDuty is switched off by a setting: UpdateDetector with `enable` false."""
    enabled = record.request.get("enable")
    is_off = enabled is False or (isinstance(enabled, str) and enabled.casefold() == "false")
    return is_off and named(record, "UpdateDetector", service="guardduty")


LOGGING_TAMPERED = Detection(
    id="root.logging_tampered",
    title="Logging was stopped or changed",
    done="stopped or changed AWS's own logging",
    tried="tried to stop or change AWS's own logging",
    why="Without these records nobody sees what happens next; intruders do it early.",
    severity_rule=(
        "Stopping, deleting or disabling is critical by root and high by others; changing is high by root "
        "and low by others."
    ),
    techniques=("T1562.008",),
    controls=AUDIT_TRAIL_PROTECTED,
    next_steps=(
        "Switch the logging back on from a session you trust; requestParameters names the trail or detector.",
        "Note the time from eventTime to the repair: what happened in between is not recorded.",
        "Read what the same identity did in the hour before eventTime.",
    ),
    rule=_logging_tampered,
    stage=Stage.LOGGING_CHANGED,
)
