"""The catalogue: every detection, in the order in which alerts name them, and the one function that applies it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from rootwatch.detections import (
    account,
    activity,
    credentials,
    data,
    iam,
    logging,
    organization,
    own_resources,
    sharing,
    sign_in,
)
from rootwatch.detections.detection import Detection, Finding, OwnResources, Severity
from rootwatch.record import Record

CATALOGUE: Final[tuple[Detection, ...]] = (
    sign_in.CONSOLE_LOGIN,
    sign_in.CONSOLE_LOGIN_WITHOUT_MFA,
    sign_in.CONSOLE_LOGIN_FAILED,
    sign_in.LOGIN_AFTER_FAILURES,
    sign_in.LOGIN_SPRAY,
    sign_in.CLI_LOGIN,
    credentials.SESSION_EXPORTED,
    credentials.PASSWORD_RECOVERY_REQUESTED,
    credentials.PASSWORD_RECOVERY_COMPLETED,
    credentials.PASSWORD_CHANGED,
    credentials.EMAIL_CHANGED,
    account.CONTACT_CHANGED,
    credentials.ACCESS_KEY_USED,
    credentials.ACCESS_KEY_CREATED,
    credentials.ACCESS_KEY_CHANGED,
    credentials.MFA_REMOVED,
    credentials.MFA_ADDED,
    credentials.SIGNING_CREDENTIAL_CHANGED,
    credentials.LOGIN_PROFILE_CREATED,
    organization.ASSUMED,
    organization.ASSUMED_SESSION_ACTIVITY,
    organization.CENTRAL_ACCESS_CHANGED,
    organization.ACCOUNT_CLOSED,
    organization.ORGANIZATION_LEFT,
    account.BILLING_CHANGED,
    organization.SIGNIN_POLICY_CHANGED,
    logging.LOGGING_TAMPERED,
    own_resources.ROOTWATCH_TAMPERED,
    iam.IAM_CHANGED,
    data.SECRET_READ,
    sharing.RESOURCE_SHARED,
    data.DESTROYED,
    activity.DENIED,
    activity.WRITE,
    activity.READ,
    activity.SERVICE_ACTED,
)

BY_ID: Final[Mapping[str, Detection]] = MappingProxyType({detection.id: detection for detection in CATALOGUE})

_ELSE: Final = (activity.WRITE, activity.READ, activity.SERVICE_ACTED)
"""Only where nothing else fits; the use of an access key says nothing about what was done with it."""

_SPECIFIC: Final = tuple(detection for detection in CATALOGUE if detection not in _ELSE)


def detect(record: Record, own: OwnResources) -> tuple[Finding, ...]:
    """Return every detection that fits the record by itself, in the catalogue's order; never raises.

    An empty tuple means that the record concerns root in no way. A record of root's always has at least one.
    """
    findings = [finding for detection in _SPECIFIC if (finding := _apply(detection, record, own))]
    if all(finding.detection is credentials.ACCESS_KEY_USED for finding in findings):
        findings += [finding for detection in _ELSE if (finding := _apply(detection, record, own))]
    return tuple(findings)


def _apply(detection: Detection, record: Record, own: OwnResources) -> Finding | None:
    severity = detection.rule(record, own) if detection.rule else None
    return Finding(detection, severity) if severity else None


def highest(severities: tuple[Severity, ...]) -> Severity | None:
    """Return the most urgent of the severities, or None for none."""
    return max(severities, key=lambda severity: severity.rank, default=None)
