"""The account itself, its organization, and centralised root access."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from rootwatch.detections.detection import MONITORED_ROOT_USE, Detection, OwnResources, Severity, Stage, named
from rootwatch.record import ActorKind, Record

_TASK_SEVERITIES = {
    "IAMAuditRootUserCredentials": Severity.LOW,
    "S3UnlockBucketPolicy": Severity.MEDIUM,
    "SQSUnlockQueuePolicy": Severity.MEDIUM,
    "IAMDeleteRootUserCredentials": Severity.HIGH,
    "IAMCreateRootUserPassword": Severity.CRITICAL,
}
"""AWS's task policies; a task that is not among them is critical.
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_root-user-privileged-task.html"""
_AWS_TASK = re.compile(r"arn:aws[a-z-]{0,20}:iam::aws:policy/root-task/([A-Za-z0-9]{1,64})")
"""Only AWS can own such a policy; one of somebody's own that is called like a task is an unknown task."""


_AUDIT = frozenset({
    ("iam", "GetUser"), ("iam", "GetLoginProfile"), ("iam", "ListAccessKeys"), ("iam", "ListSigningCertificates"),
    ("iam", "ListMFADevices"), ("iam", "GetAccessKeyLastUsed"),
})  # fmt: skip
TASK_CALLS: Mapping[str, frozenset[tuple[str, str]]] = MappingProxyType({
    "IAMAuditRootUserCredentials": _AUDIT,
    "S3UnlockBucketPolicy": frozenset({
        ("s3", "ListBuckets"), ("s3", "GetBucketPolicy"), ("s3", "PutBucketPolicy"), ("s3", "DeleteBucketPolicy"),
    }),
    "SQSUnlockQueuePolicy": frozenset({
        ("sqs", "ListQueues"), ("sqs", "GetQueueUrl"), ("sqs", "GetQueueAttributes"), ("sqs", "SetQueueAttributes"),
    }),
    "IAMDeleteRootUserCredentials": _AUDIT | {
        ("iam", "DeleteLoginProfile"), ("iam", "DeleteAccessKey"), ("iam", "DeleteSigningCertificate"),
        ("iam", "DeactivateMFADevice"), ("iam", "DeleteVirtualMFADevice"),
    },
    "IAMCreateRootUserPassword": frozenset({("iam", "GetLoginProfile"), ("iam", "CreateLoginProfile")}),
})  # fmt: skip
"""The calls that each of AWS's task policies permits, as (service, event name).

A session's records do not name its task; only the AssumeRoot call does, which issued their access key.
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_root-user-privileged-task.html"""
_CALLS_OF_ANY_TASK = frozenset().union(*TASK_CALLS.values())
_NAMES_OF_ANY_TASK = frozenset(name for _, name in _CALLS_OF_ANY_TASK)


def task_policy(record: Record) -> str | None:
    """Return the ARN of the AssumeRoot call's task policy as stated, or None where the record does not state it."""
    stated = record.request.get("taskPolicyArn")
    arn = stated.get("arn") if isinstance(stated, Mapping) else stated
    return arn if isinstance(arn, str) and arn else None


def beyond_task(task_arn: str | None, service: str, event_name: str) -> bool:
    """Return whether an AssumeRoot session made a call that its task policy does not permit.

    Of a task that is not one of AWS's, or is not stated, nothing is known, so nothing is beyond it.
    """
    task = _AWS_TASK.fullmatch(task_arn or "")
    calls = TASK_CALLS.get(task.group(1)) if task else None
    if calls is None:
        return False
    return (service, event_name) not in calls if service else all(event_name != name for _, name in calls)


def looks_assumed(record: Record) -> bool:
    """Return whether a record of root's that carries no mark has the shape of an AssumeRoot session's.

    The worked example of AWS leaves `assumedRoot` away: temporary credentials without MFA, not older than the fifteen
    minutes that AssumeRoot grants, and a call that some task permits.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_root-user-privileged-task.html
    """
    actor = record.actor
    if actor.kind is not ActorKind.ROOT_TEMPORARY or actor.sign_in_session or record.mfa.used is not False:
        return False
    if not (actor.access_key_id or "").startswith("ASIA") or record.event_time is None:
        return False
    if (record.service, record.event_name) not in _CALLS_OF_ANY_TASK:
        return False
    try:
        created = datetime.fromisoformat(actor.session_created or "")
    except ValueError:
        return False
    created = created if created.tzinfo else created.replace(tzinfo=UTC)
    return timedelta() <= record.event_time - created <= _LONGEST_SESSION


_LONGEST_SESSION = timedelta(minutes=15)


def _assumed(record: Record, _own: OwnResources) -> Severity | None:
    if not named(record, "AssumeRoot", service="sts"):
        return None
    task = _AWS_TASK.fullmatch(task_policy(record) or "")
    return _TASK_SEVERITIES.get(task.group(1), Severity.CRITICAL) if task else Severity.CRITICAL


def _assumed_session_activity(record: Record, _own: OwnResources) -> Severity | None:
    if record.actor.kind is not ActorKind.ASSUMED_ROOT:
        return None
    if record.read_only:
        return Severity.INFO
    name = record.event_name or ""
    is_a_task_s = (record.service, name) in _CALLS_OF_ANY_TASK or (not record.service and name in _NAMES_OF_ANY_TASK)
    return Severity.MEDIUM if is_a_task_s else Severity.CRITICAL


def _account_closed(record: Record, _own: OwnResources) -> Severity | None:
    # Three event sources close accounts (billingconsole, account, organizations), so the name decides.
    return Severity.CRITICAL if named(record, "CloseAccount", "CloseAccountResult") else None


def _organization_left(record: Record, _own: OwnResources) -> Severity | None:
    return Severity.CRITICAL if named(record, *_DEPARTURES) else None


_DEPARTURES = ("LeaveOrganization", "RemoveAccountFromOrganization", "AccountDepartedOrganization")
"""The last is what Organizations itself records in the management account since May 2026, however the account left."""


_CENTRAL_ACCESS = tuple(
    f"{verb}OrganizationsRoot{feature}"
    for verb in ("Enable", "Disable")
    for feature in ("CredentialsManagement", "Sessions")
)


_FOR_IAM = (
    "RegisterDelegatedAdministrator", "DeregisterDelegatedAdministrator", "EnableAWSServiceAccess",
    "DisableAWSServiceAccess",
)  # fmt: skip
"""For the service principal of IAM, these decide which account may call AssumeRoot at all."""


def _central_access_changed(record: Record, _own: OwnResources) -> Severity | None:
    for_iam = record.request.get("servicePrincipal") == "iam.amazonaws.com"
    is_delegation = for_iam and named(record, *_FOR_IAM, service="organizations")
    return Severity.HIGH if is_delegation or named(record, *_CENTRAL_ACCESS) else None


_SIGN_IN_POLICIES = (
    "PutConsoleAuthorizationConfiguration",
    "DeleteConsoleAuthorizationConfiguration",
    "PutResourcePermissionStatement",
    "DeleteResourcePermissionStatement",
)


def _signin_policy_changed(record: Record, _own: OwnResources) -> Severity | None:
    # https://docs.aws.amazon.com/signin/latest/userguide/console-access-control.html
    return Severity.HIGH if named(record, *_SIGN_IN_POLICIES, service="signin") else None


ASSUMED = Detection(
    id="root.assumed",
    title="A principal assumed root of a member account",
    done="assumed root of a member account",
    tried="tried to assume root of a member account",
    why="For up to 15 minutes the caller acts as root of another account, limited only by the task policy.",
    severity_rule=(
        "By the task policy: audit low, unlocking a bucket or queue medium, deleting credentials high, "
        "creating a password critical, and so is any policy that is none of AWS's own tasks."
    ),
    techniques=("T1078.004", "T1548.005"),
    controls=(*MONITORED_ROOT_USE, "CIS AWS Foundations 7.0.0: 2.1.1"),
    next_steps=(
        "Ask the person behind userIdentity.arn for the ticket of this task.",
        "Compare requestParameters.taskPolicyArn with what the ticket allows.",
        "Read the target account's records with responseElements.credentials.accessKeyId for the next 15 minutes.",
    ),
    rule=_assumed,
    stage=Stage.IN,
)
ASSUMED_SESSION_ACTIVITY = Detection(
    id="root.assumed_session_activity",
    title="An AssumeRoot session acted in a member account",
    done="acted in a member account",
    tried="tried to act in a member account",
    why="The session acts as root of the member account; a change that no task policy permits should be impossible.",
    severity_rule="Info for a read, medium for a change that some task policy permits, critical for any other.",
    techniques=("T1078.004", "T1548.005"),
    controls=(*MONITORED_ROOT_USE, "CIS AWS Foundations 7.0.0: 2.1.1"),
    next_steps=(
        "Find the AssumeRoot call whose responseElements.credentials.accessKeyId is this accessKeyId.",
        "Compare eventName with that call's requestParameters.taskPolicyArn, and both with the ticket.",
        "Read every record with this accessKeyId in the 15 minutes before and after eventTime.",
    ),
    rule=_assumed_session_activity,
)
CENTRAL_ACCESS_CHANGED = Detection(
    id="root.central_access_changed",
    title="Centralised root access was switched",
    done="switched centralised root access for the organization",
    tried="tried to switch centralised root access for the organization",
    why="It decides who may act as root of every member account, and whether members keep root credentials.",
    severity_rule="High, by anybody: the two features, and whether IAM and another account may use them.",
    techniques=("T1098.003",),
    controls=(*MONITORED_ROOT_USE, "CIS AWS Foundations 7.0.0: 2.1.1"),
    next_steps=(
        "Ask the person behind userIdentity.arn for the change request.",
        "Look for AssumeRoot in the management account in the following 24 hours, in every region.",
        "If nobody claims it, switch it back from a session you trust.",
    ),
    rule=_central_access_changed,
)
ACCOUNT_CLOSED = Detection(
    id="root.account_closed",
    title="The account is being closed",
    done="closed an account, or began to",
    tried="tried to close an account",
    why="Everything in the account stops; it can be reopened for 90 days, and only through AWS Support.",
    severity_rule="Critical, by anybody and under every event source that closes accounts.",
    techniques=("T1485", "T1531"),
    controls=MONITORED_ROOT_USE,
    next_steps=(
        "Ask the account's owner whether it was to be closed; requestParameters.accountId names it.",
        "If not, open a case with AWS Support at once to have it reinstated (within 90 days).",
        "Read what the same identity did in the 24 hours before eventTime.",
    ),
    rule=_account_closed,
    stage=Stage.DESTRUCTION,
)
ORGANIZATION_LEFT = Detection(
    id="root.organization_left",
    title="An account left the organization",
    done="took an account out of the organization",
    tried="tried to take an account out of the organization",
    why="Service control policies, the organization's trail and its billing no longer hold it.",
    severity_rule="Critical, by anybody: the account leaves by itself, is removed, or is recorded as departed.",
    techniques=("T1562.008", "T1078.004"),
    controls=MONITORED_ROOT_USE,
    next_steps=(
        "Ask the account's owner and the organization's administrator whether this was planned.",
        "Look for StopLogging, DeleteTrail and new access keys in that account in the following hours.",
        "If not planned, invite the account back and open a case with AWS Support.",
    ),
    rule=_organization_left,
    stage=Stage.DESTRUCTION,
)
SIGNIN_POLICY_CHANGED = Detection(
    id="root.signin_policy_changed",
    title="The console's sign-in policy was changed",
    done="changed who may sign in to the console, and from where",
    tried="tried to change who may sign in to the console",
    why="These policies can keep root out before the password prompt, or open the door again.",
    severity_rule="High, by anybody.",
    techniques=("T1556",),
    controls=MONITORED_ROOT_USE,
    next_steps=(
        "Ask the person behind userIdentity.arn for the change request.",
        "Compare requestParameters with the policy you expect.",
        "Look for root ConsoleLogin from new addresses in the following 24 hours.",
    ),
    rule=_signin_policy_changed,
)
