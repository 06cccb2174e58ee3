"""What truly needs the root user: AWS's own list, and how a record shows that it was one of these tasks.

https://docs.aws.amazon.com/IAM/latest/UserGuide/id_root-user.html has the list,
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_root-user-privileged-task.html what a management account can do for
its members. A record never says which kind of account it is from, save one: only a member account has sessions of
AssumeRoot. So the kind is stated where it is known, and "not stated" everywhere else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from rootwatch.detections.credentials import concerns_root
from rootwatch.record import ActorKind, Record


class Holds(StrEnum):
    """In which accounts a task needs root's own credentials."""

    EVERY_ACCOUNT = "every account"
    STANDALONE_AND_MANAGEMENT = "standalone and management accounts"


class AccountKind(StrEnum):
    """What a record shows of its account's place in an organisation."""

    MEMBER = "member"
    NOT_STATED = "not stated"


@dataclass(frozen=True, slots=True)
class RootTask:
    """One task of AWS's list. `sentence` begins in lower case and names the task as people say it.

    `instead` says how a member account is served without root's credentials; empty where the task holds for every
    account. `rule` says whether a record of root's is certainly this task; None where no record can show that.
    """

    id: str
    sentence: str
    holds: Holds
    instead: str = ""
    rule: Callable[[Record], bool] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class RootNeed:
    """A task that a record shows, and what the record shows of the kind of account it was done in."""

    task: RootTask
    account: AccountKind

    @property
    def sentence(self) -> str:
        """Return the task in words, with what is different for a member account where that matters."""
        if self.task.holds is Holds.EVERY_ACCOUNT:
            return self.task.sentence
        if self.account is AccountKind.MEMBER:
            return f"{self.task.sentence}; in this member account {self.task.instead}"
        return f"{self.task.sentence}; if this is a member account, {self.task.instead}"


def need(record: Record) -> RootNeed | None:
    """Return the root-only task that a record certainly shows; None for any other, and for acts of others.

    Never raises. None does not mean that the act could have done without root: see `may_need_root`.
    """
    actor = record.actor
    if not actor.by_root or actor.kind is ActorKind.AWS_SERVICE:
        return None
    task = next((task for task in TASKS if task.rule is not None and task.rule(record)), None)
    if task is None:
        return None
    return RootNeed(task, AccountKind.MEMBER if actor.kind is ActorKind.ASSUMED_ROOT else AccountKind.NOT_STATED)


def may_need_root(record: Record) -> bool:
    """Return whether an act of root may have needed root, without the record showing it; never raises.

    A bucket's or queue's policy locks everybody but root out, or it does not: the record of its change does not say.
    What IAM does to "the caller" no role can do to root, and STS gives sessions like these to nobody else but users.
    """
    return (
        _changes_bucket_policy(record)
        or _changes_queue_policy(record)
        or (_is(record, "iam", *_OF_THE_CALLER) and concerns_root(record))
        or (_is(record, "iam", *_OF_A_DEVICE) and not _device_of_another(record))
        or _is(record, "sts", "GetFederationToken", "GetSessionToken")
    )


# --- how a record shows a task -------------------------------------------------------------------------------------

_ADDING: Final = (
    "CreateAccessKey", "EnableMFADevice", "ResyncMFADevice", "UpdateAccessKey", "UpdateSigningCertificate",
    "UploadSigningCertificate",
)  # fmt: skip
_REMOVING: Final = ("DeactivateMFADevice", "DeleteAccessKey", "DeleteLoginProfile", "DeleteSigningCertificate")
_OF_THE_CALLER: Final = (
    *_ADDING, *_REMOVING, "ChangePassword", "CreateLoginProfile", "CreateServiceSpecificCredential", "GetLoginProfile",
    "GetMFADevice", "GetUser", "ListAccessKeys", "ListMFADevices", "ListSSHPublicKeys",
    "ListServiceSpecificCredentials", "ListSigningCertificates", "UpdateLoginProfile",
)  # fmt: skip
"""What IAM does to the caller where no userName is stated."""
_OF_A_DEVICE: Final = ("CreateVirtualMFADevice", "DeleteVirtualMFADevice")
_ROOT_DEVICE: Final = "root-account-mfa-device"


def _is(record: Record, service: str, *names: str) -> bool:
    # Stricter than detections.named: a record that lost its event source shows nothing for certain.
    return record.service == service and record.event_name in names


def _device(record: Record) -> str | None:
    """Return what names the virtual MFA device that is made or deleted; None where the record does not."""
    made = record.response.get("virtualMFADevice")
    values = (
        record.request.get("serialNumber"),
        record.request.get("virtualMFADeviceName"),
        made.get("serialNumber") if isinstance(made, Mapping) else None,
    )
    return next((value for value in values if isinstance(value, str) and value), None)


def _device_of_root(record: Record) -> bool:
    return (_device(record) or "").endswith(_ROOT_DEVICE)


def _device_of_another(record: Record) -> bool:
    return _device(record) is not None and not _device_of_root(record)


def _changes_email(record: Record) -> bool:
    # By name under any source, as sources disagree on it; SetAccountPreferences does not say what was changed.
    return record.event_name in {"EmailUpdated", "UpdateAccountEmailAddress"}


def _changes_password(record: Record) -> bool:
    return _is(record, "signin", "PasswordUpdated") or _is(record, "iam", "ChangePassword")


def _adds_credential(record: Record) -> bool:
    is_own = _is(record, "iam", *_ADDING) and concerns_root(record)
    return is_own or (_is(record, "iam", "CreateVirtualMFADevice") and _device_of_root(record))


def _removes_credential(record: Record) -> bool:
    is_own = _is(record, "iam", *_REMOVING) and concerns_root(record)
    return is_own or (_is(record, "iam", "DeleteVirtualMFADevice") and _device_of_root(record))


def _changes_cloudfront_key(record: Record) -> bool:
    names = (f"{verb}CloudFrontPublicKey" for verb in ("Upload", "Update", "Delete"))
    return _is(record, "iam", *names)


def _closes_account(record: Record) -> bool:
    return record.service in {"account", "billingconsole"} and record.event_name == "CloseAccount"


def _opens_billing(record: Record) -> bool:
    names = {"SetIAMAccessPreference", "UpdateIAMAccessPreference"}
    return record.service in {"billing", "billingconsole"} and record.event_name in names


def _sets_mfa_delete(record: Record) -> bool:
    settings = record.request.get("VersioningConfiguration")
    stated = isinstance(settings, Mapping) and isinstance(settings.get("MfaDelete"), str)
    return stated and _is(record, "s3", "PutBucketVersioning")


def _changes_bucket_policy(record: Record) -> bool:
    return _is(record, "s3", "DeleteBucketPolicy", "PutBucketPolicy")


def _changes_queue_policy(record: Record) -> bool:
    attributes = record.request.get("attributes")
    names_others = isinstance(attributes, Mapping) and bool(attributes) and "Policy" not in attributes
    return _is(record, "sqs", "SetQueueAttributes") and not names_others


def _unlocks_bucket(record: Record) -> bool:
    # Only a session that was issued for it shows that the policy locked everybody out.
    return record.actor.kind is ActorKind.ASSUMED_ROOT and _changes_bucket_policy(record)


def _unlocks_queue(record: Record) -> bool:
    return record.actor.kind is ActorKind.ASSUMED_ROOT and _changes_queue_policy(record)


_BY_ASSUME_ROOT: Final = "its management account can do it through AssumeRoot"

TASKS: Final = (
    RootTask(
        "change_root_email",
        "changing root's e-mail address",
        Holds.STANDALONE_AND_MANAGEMENT,
        "its management account can do it (StartPrimaryEmailUpdate)",
        _changes_email,
    ),
    RootTask("change_root_password", "changing root's password", Holds.EVERY_ACCOUNT, rule=_changes_password),
    RootTask(
        "add_root_credential",
        "adding or changing an access key, signing certificate or MFA device of root",
        Holds.EVERY_ACCOUNT,
        rule=_adds_credential,
    ),
    RootTask(
        "remove_root_credential",
        "removing root's password, access key, certificate or MFA device",
        Holds.STANDALONE_AND_MANAGEMENT,
        _BY_ASSUME_ROOT,
        _removes_credential,
    ),
    RootTask(
        "change_cloudfront_key_pair",
        "changing a CloudFront key pair of the account",
        Holds.EVERY_ACCOUNT,
        rule=_changes_cloudfront_key,
    ),
    RootTask(
        "close_account",
        "closing the account",
        Holds.STANDALONE_AND_MANAGEMENT,
        "its management account can do it (organizations CloseAccount)",
        _closes_account,
    ),
    RootTask(
        "open_billing_to_iam",
        "opening or closing billing to IAM users and roles",
        Holds.EVERY_ACCOUNT,
        rule=_opens_billing,
    ),
    RootTask("set_mfa_delete", "switching MFA delete of a bucket", Holds.EVERY_ACCOUNT, rule=_sets_mfa_delete),
    RootTask(
        "unlock_bucket_policy",
        "changing a bucket policy that denies everybody",
        Holds.STANDALONE_AND_MANAGEMENT,
        _BY_ASSUME_ROOT,
        _unlocks_bucket,
    ),
    RootTask(
        "unlock_queue_policy",
        "changing a queue policy that denies everybody",
        Holds.STANDALONE_AND_MANAGEMENT,
        _BY_ASSUME_ROOT,
        _unlocks_queue,
    ),
    # What follows no record shows for certain: an ordinary call, a web form, or a case with AWS Support.
    RootTask("restore_administrator", "giving the only administrator its permissions back", Holds.EVERY_ACCOUNT),
    RootTask("view_tax_invoice", "viewing certain tax invoices", Holds.EVERY_ACCOUNT),
    RootTask("sign_up_for_govcloud", "signing up for GovCloud, or asking for its root keys", Holds.EVERY_ACCOUNT),
    RootTask("sell_reserved_instances", "registering as a seller of reserved instances", Holds.EVERY_ACCOUNT),
    RootTask("link_mechanical_turk", "linking the account to a Mechanical Turk requester", Holds.EVERY_ACCOUNT),
    RootTask("recover_kms_key", "recovering an unmanageable KMS key with AWS Support", Holds.EVERY_ACCOUNT),
)
"""Every task of AWS's list, those first that a record can show."""
