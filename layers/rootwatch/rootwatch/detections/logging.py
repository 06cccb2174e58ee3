"""Somebody makes AWS's own records stop, or changes what they hold."""

from rootwatch.detections.detection import AUDIT_TRAIL_PROTECTED, Detection, OwnResources, Severity, Stage
from rootwatch.record import Record

# The root rule's pattern in template.yaml names the same events, since it delivers them of any principal.
_STOPS = frozenset({
    ("cloudtrail", "StopLogging"), ("cloudtrail", "DeleteTrail"), ("cloudtrail", "DeleteEventDataStore"),
    ("cloudtrail", "StopEventDataStoreIngestion"), ("config", "StopConfigurationRecorder"),
    ("config", "DeleteConfigurationRecorder"), ("config", "DeleteDeliveryChannel"), ("guardduty", "DeleteDetector"),
    ("securityhub", "DisableSecurityHub"), ("ec2", "DeleteFlowLogs"),
})  # fmt: skip
_CHANGES = frozenset({
    ("cloudtrail", "UpdateTrail"), ("cloudtrail", "PutEventSelectors"), ("cloudtrail", "PutInsightSelectors"),
    ("cloudtrail", "UpdateEventDataStore"), ("config", "PutConfigurationRecorder"), ("config", "PutDeliveryChannel"),
    ("guardduty", "UpdateDetector"),
})  # fmt: skip
_STOP_NAMES = frozenset(name for _, name in _STOPS)
_CHANGE_NAMES = frozenset(name for _, name in _CHANGES)


def _logging_tampered(record: Record, _own: OwnResources) -> Severity | None:
    name, service, by_root = record.event_name or "", record.service, record.actor.by_root
    if (service, name) in _STOPS or (not service and name in _STOP_NAMES):
        return Severity.CRITICAL if by_root else Severity.HIGH
    if (service, name) in _CHANGES or (not service and name in _CHANGE_NAMES):
        return Severity.HIGH if by_root else Severity.LOW
    return None


LOGGING_TAMPERED = Detection(
    id="root.logging_tampered",
    title="Logging was stopped or changed",
    done="stopped or changed AWS's own logging",
    tried="tried to stop or change AWS's own logging",
    why="Without these records nobody sees what happens next; intruders do it early.",
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
