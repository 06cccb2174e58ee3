"""Root's own credentials are used, made, changed, or recovered; its e-mail address moves."""

from rootwatch.detections.detection import (
    MONITORED_ROOT_USE,
    PRIVILEGED_CREDENTIALS,
    Acts,
    Detection,
    OwnResources,
    Severity,
    Stage,
    by_root_or_nobody_named,
    named,
)
from rootwatch.record import ActorKind, Record

_ROOT_NAME = "AWS ROOT USER"
"""requestParameters.userName in IAM's records of root's MFA; no IAM user can have it, for it holds blanks."""


def _access_key_used(record: Record, _own: OwnResources) -> Severity | None:
    is_long_lived = (record.actor.access_key_id or "").startswith("AKIA")
    return Severity.CRITICAL if record.actor.by_root and is_long_lived else None


def _access_key_created(record: Record, _own: OwnResources) -> Severity | None:
    return Severity.CRITICAL if named(record, "CreateAccessKey", service="iam") and concerns_root(record) else None


def _access_key_changed(record: Record, _own: OwnResources) -> Severity | None:
    is_change = named(record, "UpdateAccessKey", "DeleteAccessKey", service="iam")
    return Severity.HIGH if is_change and concerns_root(record) else None


_SIGNING_CERTIFICATES = tuple(f"{verb}SigningCertificate" for verb in ("Upload", "Update", "Delete"))
_CLOUDFRONT_KEYS = tuple(f"{verb}CloudFrontPublicKey" for verb in ("Upload", "Update", "Delete"))


def _signing_credential_changed(record: Record, _own: OwnResources) -> Severity | None:
    # CloudFront's old key pairs can only be root's; a signing certificate may be an IAM user's.
    is_own = named(record, *_SIGNING_CERTIFICATES, service="iam") and concerns_root(record)
    is_cloudfront = named(record, *_CLOUDFRONT_KEYS, service="iam") and record.actor.by_root
    return Severity.HIGH if is_own or is_cloudfront else None


def _login_profile_created(record: Record, _own: OwnResources) -> Severity | None:
    return Severity.CRITICAL if named(record, "CreateLoginProfile", service="iam") and concerns_root(record) else None


def _session_exported(record: Record, _own: OwnResources) -> Severity | None:
    return Severity.CRITICAL if record in _EXPORTS and record.actor.by_root else None


_EXPORTS = Acts({
    # The last two came in 2025: a signed token for services outside AWS, and credentials for a delegated session.
    "sts": "GetSessionToken GetFederationToken GetWebIdentityToken GetDelegatedAccessToken",
    "signin": "GetSigninToken",
})  # fmt: skip


def _mfa_removed(record: Record, _own: OwnResources) -> Severity | None:
    if named(record, "DeactivateMFADevice", service="iam") and concerns_root(record):
        return Severity.CRITICAL
    if named(record, "DeleteVirtualMFADevice", service="iam") and record.actor.by_root and is_root_device(record):
        return Severity.CRITICAL
    return None


def _mfa_added(record: Record, _own: OwnResources) -> Severity | None:
    is_added = named(record, "EnableMFADevice", "ResyncMFADevice", service="iam")
    return Severity.HIGH if is_added and concerns_root(record) else None


def _password_changed(record: Record, _own: OwnResources) -> Severity | None:
    # Two shapes: signin PasswordUpdated (older documentation) and iam ChangePassword (current). The first can come with
    # hardly any identity, as recovery does; an IAM user's names its user.
    if named(record, "PasswordUpdated"):
        return Severity.CRITICAL if by_root_or_nobody_named(record) else None
    is_change = named(record, "ChangePassword", service="iam") and record.actor.by_root
    return Severity.CRITICAL if is_change or _password_deleted(record) else None


def _password_deleted(record: Record) -> bool:
    # In an AssumeRoot session it is the session's very task.
    is_own = named(record, "DeleteLoginProfile", service="iam") and concerns_root(record)
    return is_own and record.actor.kind is not ActorKind.ASSUMED_ROOT


def concerns_root(record: Record) -> bool:
    """Return whether root acts on itself: IAM's requestParameters are null or name no user, or name root."""
    user_name = record.request.get("userName")
    return record.actor.by_root and (not isinstance(user_name, str) or user_name in {"", _ROOT_NAME})


def is_root_device(record: Record) -> bool:
    """Return whether an MFA device is root's by its serial number, or the record does not state one."""
    serial = record.request.get("serialNumber")
    return not isinstance(serial, str) or serial.endswith(":mfa/root-account-mfa-device") or ":u2f/root/" in serial


def _password_recovery_requested(record: Record, _own: OwnResources) -> Severity | None:
    # By name alone: only the root "forgot password" flow emits these, sometimes with hardly any identity.
    is_recovery = (record.event_name or "").startswith("PasswordRecovery")
    return Severity.HIGH if is_recovery and not named(record, "PasswordRecoveryCompleted") else None


def _password_recovery_completed(record: Record, _own: OwnResources) -> Severity | None:
    return Severity.CRITICAL if named(record, "PasswordRecoveryCompleted") else None


_EMAIL_EVENTS = ("EmailUpdated", "UpdateAccountEmailAddress", "StartPrimaryEmailUpdate", "AcceptPrimaryEmailUpdate")


def _email_changed(record: Record, _own: OwnResources) -> Severity | None:
    # By name under any event source: sources disagree on it. https://docs.aws.amazon.com/accounts/latest/reference/
    return Severity.CRITICAL if named(record, *_EMAIL_EVENTS) else None


ACCESS_KEY_USED = Detection(
    id="root.access_key_used",
    title="Root's access key was used",
    done="used its long-lived access key",
    tried="used its long-lived access key",
    why="A root access key has no MFA, no expiry and no limit; AWS advises that it should not exist.",
    severity_rule="Critical, whatever the call: a read with root's long-lived key as much as a change.",
    techniques=("T1078.004",),
    controls=(*PRIVILEGED_CREDENTIALS, "CIS AWS Foundations 5.0.0: 1.3"),
    next_steps=(
        "Find out where the key userIdentity.accessKeyId is kept, and who could read it.",
        "Read every record with this accessKeyId for the last 90 days (LookupEvents, AccessKeyId).",
        "Have the root custodian deactivate the key, then delete it once nothing legitimate breaks.",
    ),
    rule=_access_key_used,
    stage=Stage.IN,
)
ACCESS_KEY_CREATED = Detection(
    id="root.access_key_created",
    title="An access key was created for root",
    done="created an access key for itself",
    tried="tried to create an access key for itself",
    why="It is the classic way to stay in an account after the password has been changed back.",
    severity_rule="Critical where the key is root's own; one made for an IAM user is iam_changed.",
    techniques=("T1098.001",),
    controls=(*PRIVILEGED_CREDENTIALS, "CIS AWS Foundations 5.0.0: 1.3"),
    next_steps=(
        "Ask the root custodian, by another route than this alert, whether they created it.",
        "Search responseElements.accessKey.accessKeyId as accessKeyId in every region for the next 24 hours.",
        "If nobody claims it, deactivate the key from a session you trust and keep this record as evidence.",
    ),
    rule=_access_key_created,
    stage=Stage.CREDENTIALS_CHANGED,
    changes_credential=True,
)
ACCESS_KEY_CHANGED = Detection(
    id="root.access_key_changed",
    title="Root's access key was changed or deleted",
    done="changed or deleted its own access key",
    tried="tried to change or delete its own access key",
    why="It switches a root key on or off: a clean-up, a door opened again, or a trace removed after use.",
    severity_rule="High where the key is root's own; an IAM user's is iam_changed.",
    techniques=("T1098.001", "T1531"),
    controls=(*PRIVILEGED_CREDENTIALS, "CIS AWS Foundations 5.0.0: 1.3"),
    next_steps=(
        "Ask the root custodian about the key requestParameters.accessKeyId; status Active means it works again.",
        "Read every record with this accessKeyId for the 90 days before eventTime (LookupEvents, AccessKeyId).",
        "Look for CreateAccessKey of this account in the 24 hours around eventTime: a deleted key may be replaced.",
    ),
    rule=_access_key_changed,
    stage=Stage.CREDENTIALS_CHANGED,
    changes_credential=True,
)
SIGNING_CREDENTIAL_CHANGED = Detection(
    id="root.signing_credential_changed",
    title="Root's signing certificate or key was changed",
    done="changed a signing certificate or CloudFront key of its own",
    tried="tried to change a signing certificate or CloudFront key of its own",
    why="Hardly anybody uses these old credentials, so a new one is a quiet way to keep signing as root.",
    severity_rule=(
        "High for root's own certificate and for any CloudFront key; an IAM user's certificate is iam_changed."
    ),
    techniques=("T1098.001",),
    controls=PRIVILEGED_CREDENTIALS,
    next_steps=(
        "Ask the root custodian which system still needs a certificate or CloudFront key of root.",
        "Compare responseElements.certificate.certificateId with those you know (ListSigningCertificates).",
        "Look for other new credentials of root (CreateAccessKey, EnableMFADevice) in the 24 hours around eventTime.",
    ),
    rule=_signing_credential_changed,
    stage=Stage.CREDENTIALS_CHANGED,
    changes_credential=True,
)
LOGIN_PROFILE_CREATED = Detection(
    id="root.login_profile_created",
    title="A console password was created for root",
    done="created a console password for root",
    tried="tried to create a console password for root",
    why="A member account whose root had no password can be signed in to again, by whoever reads root's mailbox.",
    severity_rule="Critical where no user is named, which means root itself; an IAM user's is iam_changed.",
    techniques=("T1098.001", "T1078.004"),
    controls=PRIVILEGED_CREDENTIALS,
    next_steps=(
        "Ask the central security team whether root of this account was to be recovered, and by which ticket.",
        "Look for PasswordRecoveryRequested and ConsoleLogin of this account in the next 24 hours.",
        "If nobody claims it, delete the login profile again through AssumeRoot (IAMDeleteRootUserCredentials).",
    ),
    rule=_login_profile_created,
    stage=Stage.CREDENTIALS_CHANGED,
    changes_credential=True,
)
SESSION_EXPORTED = Detection(
    id="root.session_exported",
    title="Root's session was exported",
    done="exported its session as temporary credentials",
    tried="tried to export its session as temporary credentials",
    why="The credentials work anywhere until they expire, whatever becomes of the password or key behind them.",
    severity_rule="Critical, for GetSessionToken, GetFederationToken, GetSigninToken and their kin alike.",
    techniques=("T1550.001", "T1078.004"),
    controls=PRIVILEGED_CREDENTIALS,
    next_steps=(
        "Ask the root custodian who needed temporary credentials of root, and where they are kept.",
        "Search responseElements.credentials.accessKeyId as accessKeyId in every region for the next 12 hours.",
        "If nobody claims it, contain the account: such a session ends only by its expiry, not by a new password.",
    ),
    rule=_session_exported,
    stage=Stage.CREDENTIALS_CHANGED,
    changes_credential=True,
)
MFA_REMOVED = Detection(
    id="root.mfa_removed",
    title="Root's MFA was removed",
    done="removed its own MFA device",
    tried="tried to remove its own MFA device",
    why="From now on the password or the mailbox alone opens the account.",
    severity_rule=(
        "Critical for root's own device, or one that the record does not name; an IAM user's is iam_changed."
    ),
    techniques=("T1556.006",),
    controls=(*PRIVILEGED_CREDENTIALS, "CIS AWS Foundations 5.0.0: 1.4, 1.5", "PCI DSS 4.0.1: 8.4.2"),
    next_steps=(
        "Ask the root custodian whether they are replacing the device requestParameters.serialNumber right now.",
        "Look for EnableMFADevice of this account in the following 15 minutes; without one root stands open.",
        "Read what the same session did in the hour before and after eventTime.",
    ),
    rule=_mfa_removed,
    stage=Stage.CREDENTIALS_CHANGED,
    changes_credential=True,
)
MFA_ADDED = Detection(
    id="root.mfa_added",
    title="An MFA device was added to root",
    done="added or resynchronised an MFA device of its own",
    tried="tried to add or resynchronise an MFA device of its own",
    why="An intruder's own device locks the owner out and survives a new password.",
    severity_rule="High for root's own device; an IAM user's is iam_changed.",
    techniques=("T1556.006", "T1098"),
    controls=PRIVILEGED_CREDENTIALS,
    next_steps=(
        "Compare requestParameters.serialNumber with the devices the custodians hold.",
        "Look for DeactivateMFADevice of this account in the hour before eventTime.",
        "If nobody claims the device, treat it as a takeover and open a case with AWS Support.",
    ),
    rule=_mfa_added,
    stage=Stage.CREDENTIALS_CHANGED,
    changes_credential=True,
)
PASSWORD_CHANGED = Detection(
    id="root.password_changed",
    title="Root's password was changed",
    done="changed its password",
    tried="tried to change its password",
    why="Whoever knows the new password owns the account; the old custodian may be locked out.",
    severity_rule="Critical in every shape: PasswordUpdated, ChangePassword, or deleted outside an AssumeRoot session.",
    techniques=("T1098",),
    controls=PRIVILEGED_CREDENTIALS,
    next_steps=(
        "Ask the root custodian, by another route than this alert, whether they changed it.",
        "Look for PasswordRecoveryRequested of this account in the 24 hours before eventTime.",
        "If nobody claims it, start account recovery with AWS Support before the intruder changes the e-mail address.",
    ),
    rule=_password_changed,
    stage=Stage.CREDENTIALS_CHANGED,
    changes_credential=True,
)
PASSWORD_RECOVERY_REQUESTED = Detection(
    id="root.password_recovery_requested",
    title="A password reset for root was requested",
    done="had a password reset requested",
    tried="had a password reset requested, without success",
    why="Whoever reads root's mailbox can now take the account.",
    severity_rule="High, whoever asked, and even where the record names nobody.",
    techniques=("T1078.004",),
    controls=MONITORED_ROOT_USE,
    next_steps=(
        "Ask the root custodian whether they asked for it, and check who can read root's mailbox.",
        "Look for PasswordRecoveryCompleted and ConsoleLogin of this account in the next 24 hours.",
        "If nobody claims it, change the mailbox's password and look at its forwarding rules now.",
    ),
    rule=_password_recovery_requested,
    stage=Stage.ATTEMPT,
)
PASSWORD_RECOVERY_COMPLETED = Detection(
    id="root.password_recovery_completed",
    title="Root's password was reset through its mailbox",
    done="had its password reset through the mailbox",
    tried="had a password reset attempted through the mailbox",
    why="Somebody with access to root's mailbox has set a new password.",
    severity_rule="Critical, whoever did it, and even where the record names nobody.",
    techniques=("T1078.004", "T1098"),
    controls=PRIVILEGED_CREDENTIALS,
    next_steps=(
        "Ask the root custodian, by telephone and not by the mailbox, whether they did it.",
        "Look for ConsoleLogin of this account in the hours after eventTime, and at its sourceIPAddress.",
        "If nobody claims it, secure the mailbox first, then start account recovery with AWS Support.",
    ),
    rule=_password_recovery_completed,
    stage=Stage.CREDENTIALS_CHANGED,
    changes_credential=True,
)
EMAIL_CHANGED = Detection(
    id="root.email_changed",
    title="Root's e-mail address was changed",
    done="changed root's e-mail address, or began to",
    tried="tried to change root's e-mail address",
    why="Password resets go to the new address; this is how an account is stolen for good.",
    severity_rule=(
        "Critical, by anybody and under any event source, from the first step (StartPrimaryEmailUpdate) on."
    ),
    techniques=("T1098", "T1531"),
    controls=PRIVILEGED_CREDENTIALS,
    next_steps=(
        "Ask the account's owner, by another route than e-mail, whether the address was to change.",
        "Look for PasswordRecoveryRequested of this account in the next 24 hours.",
        "If nobody claims it, open a case with AWS Support from another account of the organization at once.",
    ),
    rule=_email_changed,
    stage=Stage.CREDENTIALS_CHANGED,
    changes_credential=True,
)
