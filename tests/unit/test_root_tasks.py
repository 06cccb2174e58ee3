"""A task is called root-only where the record shows it for certain; the kind of account is never guessed."""

from typing import Any

import pytest

from rootwatch.alert import LONGEST_VALUE
from rootwatch.context.root_tasks import TASKS, AccountKind, Holds, RootNeed, may_need_root, need
from rootwatch.record import Record, read_document
from tests.builders import ABSENT, build_record

USER = {"userName": "dana"}
ROOT_DEVICE = "arn:aws:iam::111122223333:mfa/root-account-mfa-device"


def root_record(service: str, name: str, request_parameters: Any = None, **changes: Any) -> Record:
    """What root did by an API call."""
    stated: dict[str, Any] = {
        "eventSource": f"{service}.amazonaws.com",
        "eventName": name,
        "requestParameters": request_parameters,
        "responseElements": None,
    }
    return read_document(build_record("read", **{**stated, **changes}))


SHOWN = [
    ("signin", "EmailUpdated", None, "change_root_email"),
    ("iam", "UpdateAccountEmailAddress", None, "change_root_email"),
    ("iam", "ChangePassword", None, "change_root_password"),
    ("signin", "PasswordUpdated", None, "change_root_password"),
    ("iam", "CreateAccessKey", None, "add_root_credential"),
    ("iam", "UpdateAccessKey", {"accessKeyId": "AKIAEXAMPLE000000001"}, "add_root_credential"),
    ("iam", "UploadSigningCertificate", None, "add_root_credential"),
    ("iam", "EnableMFADevice", {"userName": "AWS ROOT USER"}, "add_root_credential"),
    ("iam", "CreateVirtualMFADevice", {"virtualMFADeviceName": "root-account-mfa-device"}, "add_root_credential"),
    ("iam", "DeleteAccessKey", {"accessKeyId": "AKIAEXAMPLE000000001"}, "remove_root_credential"),
    ("iam", "DeactivateMFADevice", {"serialNumber": ROOT_DEVICE}, "remove_root_credential"),
    ("iam", "DeleteVirtualMFADevice", {"serialNumber": ROOT_DEVICE}, "remove_root_credential"),
    ("iam", "DeleteLoginProfile", None, "remove_root_credential"),
    ("iam", "UploadCloudFrontPublicKey", None, "change_cloudfront_key_pair"),
    ("billingconsole", "CloseAccount", None, "close_account"),
    ("account", "CloseAccount", None, "close_account"),
    ("billingconsole", "SetIAMAccessPreference", None, "open_billing_to_iam"),
    ("s3", "PutBucketVersioning", {"VersioningConfiguration": {"MfaDelete": "Enabled"}}, "set_mfa_delete"),
]
UNLOCKING = [
    ("s3", "DeleteBucketPolicy", {"bucketName": "example"}, "unlock_bucket_policy"),
    ("s3", "PutBucketPolicy", {"bucketName": "example"}, "unlock_bucket_policy"),
    ("sqs", "SetQueueAttributes", {"attributes": {"Policy": ""}}, "unlock_queue_policy"),
]
ASSUMED = {"userIdentity.sessionContext.assumedRoot": "true"}


@pytest.mark.parametrize(("service", "name", "request_parameters", "task"), SHOWN)
def test_a_record_shows_its_task(service: str, name: str, request_parameters: Any, task: str) -> None:
    """Each task that a record can show is recognised; the kind of account is not stated in it."""
    found = need(root_record(service, name, request_parameters))

    assert found is not None
    assert (found.task.id, found.account) == (task, AccountKind.NOT_STATED)


@pytest.mark.parametrize(("service", "name", "request_parameters", "task"), UNLOCKING)
def test_a_locked_policy_shows_only_in_a_session_for_it(
    service: str, name: str, request_parameters: Any, task: str
) -> None:
    """A policy that locks everybody out is known from an AssumeRoot session; from root's own call it is unknown."""
    in_session = need(root_record(service, name, request_parameters, **ASSUMED))
    plain = root_record(service, name, request_parameters)

    assert in_session is not None
    assert (in_session.task.id, in_session.account) == (task, AccountKind.MEMBER)
    assert need(plain) is None
    assert may_need_root(plain)


@pytest.mark.parametrize(
    ("service", "name", "request_parameters"),
    [
        ("ec2", "DescribeInstances", None),
        ("iam", "CreateAccessKey", USER),
        ("iam", "DeleteVirtualMFADevice", {"serialNumber": "arn:aws:iam::111122223333:mfa/dana"}),
        ("iam", "DeleteVirtualMFADevice", None),
        ("ec2", "CreateAccessKey", None),
        ("organizations", "CloseAccount", {"accountId": "111122223333"}),
        ("account", "PutContactInformation", None),
        ("account", "StartPrimaryEmailUpdate", None),
        ("billingconsole", "SetAccountPreferences", None),
        ("s3", "PutBucketVersioning", {"VersioningConfiguration": {"Status": "Enabled"}}),
        ("s3", "PutBucketVersioning", {"VersioningConfiguration": ["MfaDelete"]}),
        ("iam", "AttachUserPolicy", USER),
    ],
)
def test_what_others_can_do_is_no_task_of_root(service: str, name: str, request_parameters: Any) -> None:
    """What a role could do, or what the record does not show for certain, is not called root-only."""
    assert need(root_record(service, name, request_parameters)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"userIdentity.type": "IAMUser", "userIdentity.arn": "arn:aws:iam::111122223333:user/dana"},
        {"userIdentity.invokedBy": "cloudformation.amazonaws.com"},
        {"eventSource": ABSENT},
    ],
)
def test_only_root_s_own_acts_are_tasks(changes: dict[str, Any]) -> None:
    """Others, services, and a record that lost its event source show no task of root."""
    assert need(root_record("iam", "CreateAccessKey", **changes)) is None


def test_every_task_is_told_apart() -> None:
    """Each task has an id and a sentence of its own; those that hold for some accounts say what the others do."""
    assert len({task.id for task in TASKS}) == len({task.sentence for task in TASKS}) == len(TASKS)
    assert {task.id for task in TASKS if task.rule} == {case[3] for case in [*SHOWN, *UNLOCKING]}
    for task in TASKS:
        assert bool(task.instead) is (task.holds is Holds.STANDALONE_AND_MANAGEMENT)


def test_the_sentence_does_not_guess_the_account() -> None:
    """Where the kind of account is not stated the sentence says "if"; in an AssumeRoot session it is a member."""
    task = next(task for task in TASKS if task.id == "remove_root_credential")

    assert "; if this is a member account, " in RootNeed(task, AccountKind.NOT_STATED).sentence
    assert "; in this member account " in RootNeed(task, AccountKind.MEMBER).sentence
    for each in TASKS:
        assert len(f"yes: {RootNeed(each, AccountKind.NOT_STATED).sentence}") <= LONGEST_VALUE
