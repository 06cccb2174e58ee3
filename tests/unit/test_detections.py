"""The catalogue: each row of the design's table fires, does not fire on its near miss, and is as severe as it says."""

import re
from typing import Any

import pytest

from rootwatch.detections.catalogue import BY_ID, CATALOGUE, detect
from rootwatch.detections.detection import OwnResources, Severity
from rootwatch.detections.organization import task_policy
from rootwatch.record import Record, read_envelope
from tests.builders import (
    ABSENT,
    all_specimens,
    build_envelope,
    load_expectations,
    load_specimen,
    near_miss_stems,
    specimen_stems,
)
from tests.unit.workbench import OWN, Changes, make_record

SOMEBODY = {
    "type": "AssumedRole",
    "arn": "arn:aws:sts::111122223333:assumed-role/Operator/kim",
    "accountId": "111122223333",
    "accessKeyId": "ASIAEXAMPLE000000900",
}
"""Somebody who is not root."""
SERVICE = {"type": "Root", "accountId": "111122223333", "invokedBy": "autoscaling.amazonaws.com"}
AKIA = {"type": "Root", "accountId": "111122223333", "accessKeyId": "AKIAEXAMPLE000000009"}

C, H, M, L, INFO = Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM, Severity.LOW, Severity.INFO


def found(record: Record, own: OwnResources = OWN) -> dict[str, Severity]:
    """The detections of a record, without `root.`, with their severities."""
    return {finding.detection.stem: finding.severity for finding in detect(record, own)}


def act(name: str | None, source: str | None = None, /, **changes: Any) -> dict[str, Severity]:
    """What is found in a change root makes in the console, renamed to this event of this source."""
    return found(
        make_record("write", **({"eventName": name, "eventSource": source, "requestParameters": None} | changes))
    )


# --- the catalogue ----------------------------------------------------------------------------------------------------


def test_ids_are_unique_and_named_after_root() -> None:
    """Each id occurs once, begins with `root.`, and goes on in lower case."""
    ids = [detection.id for detection in CATALOGUE]
    assert len(ids) == len(set(ids)) == len(BY_ID)
    assert all(re.fullmatch(r"root\.[a-z]+(_[a-z]+)*", each) for each in ids)


@pytest.mark.parametrize("detection", CATALOGUE, ids=lambda detection: detection.id)
def test_every_detection_says_all_that_a_person_needs(detection: Any) -> None:
    """A detection has words, three different next steps, well-formed techniques and controls."""
    for words in (detection.title, detection.done, detection.tried, detection.why, *detection.next_steps):
        assert words.strip() == words
        assert 5 < len(words) < 160
    assert detection.why.endswith(".")
    assert detection.severity_rule.endswith(".")
    assert ". " not in detection.severity_rule
    assert len(set(detection.next_steps)) == 3
    assert all(step.endswith((".", "?")) for step in detection.next_steps)
    assert all(re.fullmatch(r"T\d{4}(\.\d{3})?", technique) for technique in detection.techniques)
    assert detection.techniques or detection.stem == "service_acted"
    assert detection.controls


@pytest.mark.parametrize("name", all_specimens())
def test_a_severity_rule_names_every_severity_that_occurs(name: str) -> None:
    """Whatever severity a detection has in any specimen, its sentence about severity names that one."""
    for envelope in load_specimen(name):
        for finding in detect(read_envelope(envelope), OWN):
            assert re.search(rf"\b{finding.severity}\b", finding.detection.severity_rule, re.IGNORECASE)


# --- rows and near misses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stem", sorted(detection.stem for detection in CATALOGUE if detection.rule))
def test_a_row_fires_on_its_specimen(stem: str) -> None:
    """Every record of a detection's specimen has that detection."""
    for envelope in load_specimen(stem):
        assert stem in found(read_envelope(envelope))


@pytest.mark.parametrize("stem", near_miss_stems())
def test_a_row_does_not_fire_on_its_near_miss(stem: str) -> None:
    """A near miss differs in the one thing that matters, so the detection stays away from it."""
    expectations = load_expectations(f"near_misses/{stem}")
    for envelope, expected in zip(load_specimen(f"near_misses/{stem}"), expectations, strict=True):
        names = found(read_envelope(envelope))
        assert stem not in names
        assert {f"root.{name}" for name in names} == set(expected["detections"])


MFA = "additionalEventData.MFAUsed"


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("Yes", {"console_login": H}),
        ("YES", {"console_login": H}),
        ("true", {"console_login": H}),
        (True, {"console_login": H}),
        ("No", {"console_login_without_mfa": C}),
        ("NO", {"console_login_without_mfa": C}),
        (False, {"console_login_without_mfa": C}),
        (ABSENT, {"console_login": H}),
        (None, {"console_login": H}),
        ("rubbish", {"console_login": H}),
        (["No"], {"console_login": H}),
    ],
)
def test_a_sign_in_is_without_mfa_only_where_the_record_says_no(stated: Any, expected: dict[str, Severity]) -> None:
    """MFA that is used, absent or rubbish leaves a sign-in high; only a stated "no" makes it critical."""
    assert found(make_record("console_login", **Changes({MFA: stated}))) == expected


@pytest.mark.parametrize("stated", ["Yes", "No", ABSENT])
def test_a_failed_sign_in_is_only_that(stated: Any) -> None:
    """Whatever a failed sign-in says of MFA, it is one failed sign-in of medium severity."""
    assert found(make_record("console_login_failed", **Changes({MFA: stated}))) == {"console_login_failed": M}


@pytest.mark.parametrize("error", ["AccessDenied", "InternalFailure"])
def test_a_sign_in_that_met_an_error_failed(error: str) -> None:
    """An error instead of a result is a failed sign-in; beside a stated success, the success counts."""
    assert found(make_record("console_login", responseElements=None, errorCode=error))["console_login_failed"] is M
    assert found(make_record("console_login", errorCode=error))["console_login"] is H


def test_a_sign_in_of_unknown_result_is_taken_for_a_success() -> None:
    """A sign-in that lost its result is reported as a sign-in: nothing is lost by doubt."""
    assert found(make_record("console_login", responseElements=None)) == {"console_login": H}


ANYONE_ROWS = [
    ("PasswordRecoveryRequested", "signin.amazonaws.com", "password_recovery_requested", H),
    ("PasswordRecoveryCompleted", "signin.amazonaws.com", "password_recovery_completed", C),
    ("EmailUpdated", "signin.amazonaws.com", "email_changed", C),
    ("EmailUpdated", "iam.amazonaws.com", "email_changed", C),
    ("UpdateAccountEmailAddress", "iam.amazonaws.com", "email_changed", C),
    ("StartPrimaryEmailUpdate", "account.amazonaws.com", "email_changed", C),
    ("AcceptPrimaryEmailUpdate", "account.amazonaws.com", "email_changed", C),
    ("EnableOrganizationsRootSessions", "iam.amazonaws.com", "central_access_changed", H),
    ("DisableOrganizationsRootSessions", "iam.amazonaws.com", "central_access_changed", H),
    ("EnableOrganizationsRootCredentialsManagement", "iam.amazonaws.com", "central_access_changed", H),
    ("DisableOrganizationsRootCredentialsManagement", "iam.amazonaws.com", "central_access_changed", H),
    ("CloseAccount", "organizations.amazonaws.com", "account_closed", C),
    ("CloseAccount", "account.amazonaws.com", "account_closed", C),
    ("CloseAccount", "billingconsole.amazonaws.com", "account_closed", C),
    ("LeaveOrganization", "organizations.amazonaws.com", "organization_left", C),
    ("RemoveAccountFromOrganization", "organizations.amazonaws.com", "organization_left", C),
    ("AccountDepartedOrganization", "organizations.amazonaws.com", "organization_left", C),
    ("CloseAccountResult", "organizations.amazonaws.com", "account_closed", C),
    ("PutConsoleAuthorizationConfiguration", "signin.amazonaws.com", "signin_policy_changed", H),
    ("DeleteConsoleAuthorizationConfiguration", "signin.amazonaws.com", "signin_policy_changed", H),
    ("PutResourcePermissionStatement", "signin.amazonaws.com", "signin_policy_changed", H),
    ("DeleteResourcePermissionStatement", "signin.amazonaws.com", "signin_policy_changed", H),
    ("AssumeRoot", "sts.amazonaws.com", "assumed", C),
]


@pytest.mark.parametrize(("name", "source", "stem", "severity"), ANYONE_ROWS)
@pytest.mark.parametrize("identity", [SOMEBODY, {}, None, SERVICE, {"type": "Root"}], ids=repr)
def test_rows_for_anyone_fire_whoever_acts(
    name: str, source: str, stem: str, severity: Severity, identity: object
) -> None:
    """Events that concern root by their name count by anybody, by a thin identity and by a service, and alone."""
    assert act(name, source, userIdentity=identity) == {stem: severity}
    assert act(name, None, userIdentity=identity) == {stem: severity}
    assert stem not in act(f"{name}x" if not name.startswith("Password") else f"x{name}", source, userIdentity=identity)


ROOT_ROWS = [
    ("AuthorizeOAuth2Access", "signin.amazonaws.com", "cli_login", H),
    ("CreateOAuth2Token", "signin.amazonaws.com", "cli_login", H),
    ("ConsoleLogin", "signin.amazonaws.com", "console_login", H),
    ("PasswordUpdated", "signin.amazonaws.com", "password_changed", C),
    ("ChangePassword", "iam.amazonaws.com", "password_changed", C),
    ("CreateAccessKey", "iam.amazonaws.com", "access_key_created", C),
    ("DeactivateMFADevice", "iam.amazonaws.com", "mfa_removed", C),
    ("DeleteVirtualMFADevice", "iam.amazonaws.com", "mfa_removed", C),
    ("EnableMFADevice", "iam.amazonaws.com", "mfa_added", H),
    ("ResyncMFADevice", "iam.amazonaws.com", "mfa_added", H),
]


@pytest.mark.parametrize(("name", "source", "stem", "severity"), ROOT_ROWS)
def test_rows_for_root_fire_for_root_only(name: str, source: str, stem: str, severity: Severity) -> None:
    """Root's own acts count when root does them, with or without an event source, and nobody else's do."""
    assert act(name, source) == {stem: severity}
    assert act(name, None) == {stem: severity}
    assert act(name, source, userIdentity=SOMEBODY) == {}
    assert act(name, source, userIdentity={}) == ({stem: severity} if name == "PasswordUpdated" else {})
    assert stem not in act(f"{name}Again", source)


@pytest.mark.parametrize(
    ("name", "stem"),
    [("AssumeRoot", "assumed"), ("CreateAccessKey", "access_key_created"), ("EnableMFADevice", "mfa_added")],
)
def test_the_same_name_of_another_service_is_another_act(name: str, stem: str) -> None:
    """A name that two services could have counts for the one service that the row means."""
    assert stem not in act(name, "example.amazonaws.com")
    assert stem in act(name, "")


LOGGING = [
    ("cloudtrail", "StopLogging", C, H),
    ("cloudtrail", "DeleteTrail", C, H),
    ("cloudtrail", "DeleteEventDataStore", C, H),
    ("config", "StopConfigurationRecorder", C, H),
    ("guardduty", "DeleteDetector", C, H),
    ("securityhub", "DisableSecurityHub", C, H),
    ("ec2", "DeleteFlowLogs", C, H),
    ("cloudtrail", "UpdateTrail", H, L),
    ("cloudtrail", "PutEventSelectors", H, L),
    ("config", "PutConfigurationRecorder", H, L),
    ("guardduty", "UpdateDetector", H, L),
]


@pytest.mark.parametrize("source", ["guardduty.amazonaws.com", None])
@pytest.mark.parametrize("enable", [False, "false", "False"])
def test_a_detector_that_is_disabled_is_as_good_as_deleted(source: str | None, enable: object) -> None:
    """UpdateDetector that switches GuardDuty off is no mere change; one that leaves it on, or is another's, is."""
    off = {"requestParameters": {"detectorId": "x", "enable": enable}}
    assert act("UpdateDetector", source, **off) == {"logging_tampered": C}
    assert act("UpdateDetector", source, **off, userIdentity=SOMEBODY) == {"logging_tampered": H}
    for stated in (True, "true", None, "", 0, [False]):
        on = {"requestParameters": {"detectorId": "x", "enable": stated}}
        assert act("UpdateDetector", source, **on) == {"logging_tampered": H}
    assert act("UpdateDetector", "example.amazonaws.com", **off) == {"write": M}


@pytest.mark.parametrize(("service", "name", "by_root", "by_others"), LOGGING)
def test_logging_by_whom(service: str, name: str, by_root: Severity, by_others: Severity) -> None:
    """Stopping is critical by root and high by others; changing is high by root and low by others."""
    for source in (f"{service}.amazonaws.com", None, ""):
        assert act(name, source) == {"logging_tampered": by_root}
        assert act(name, source, userIdentity=SOMEBODY) == {"logging_tampered": by_others}
    assert act(name, "example.amazonaws.com", userIdentity=SOMEBODY) == {}


# --- root's own credentials or somebody else's ------------------------------------------------------------------------


@pytest.mark.parametrize("request_stated", [None, "null", "", {}, {"userName": None}, {"userName": ""}, [], ABSENT])
@pytest.mark.parametrize(
    ("name", "stem"), [("CreateAccessKey", "access_key_created"), ("DeactivateMFADevice", "mfa_removed")]
)
def test_no_user_named_is_root_itself(name: str, stem: str, request_stated: Any) -> None:
    """IAM's parameters that are null, the text "null", empty, a list or without a user name mean root's own."""
    assert stem in act(name, "iam.amazonaws.com", requestParameters=request_stated)


@pytest.mark.parametrize("name", ["CreateAccessKey", "DeactivateMFADevice", "EnableMFADevice", "ResyncMFADevice"])
def test_an_iam_user_s_credential_is_not_root_s(name: str) -> None:
    """The same call for a named IAM user is a change of IAM by root, also when the parameters came as text."""
    for request in ({"userName": "dana"}, '{"userName": "dana"}', {"userName": "root"}):
        assert act(name, "iam.amazonaws.com", requestParameters=request) == {"iam_changed": H}


def test_root_s_device_goes_by_its_serial_number() -> None:
    """Deleting root's virtual device or passkey counts; deleting an IAM user's device is a change of IAM."""
    prefix = "arn:aws:iam::111122223333"
    for serial in (f"{prefix}:mfa/root-account-mfa-device", f"{prefix}:u2f/root/key-EXAMPLE"):
        changes = {"requestParameters": {"serialNumber": serial}}
        assert act("DeleteVirtualMFADevice", "iam.amazonaws.com", **changes) == {"mfa_removed": C}
    changes = {"requestParameters": {"serialNumber": f"{prefix}:mfa/dana"}}
    assert act("DeleteVirtualMFADevice", "iam.amazonaws.com", **changes) == {"iam_changed": H}


def test_the_name_that_iam_gives_root_is_root() -> None:
    """IAM names root "AWS ROOT USER" in the parameters of MFA calls."""
    changes = {"requestParameters": {"userName": "AWS ROOT USER"}}
    assert act("EnableMFADevice", "iam.amazonaws.com", **changes) == {"mfa_added": H}


# --- AssumeRoot -------------------------------------------------------------------------------------------------------

TASK = "arn:aws:iam::aws:policy/root-task/"


@pytest.mark.parametrize(
    ("stated", "severity"),
    [
        ({"arn": f"{TASK}IAMAuditRootUserCredentials"}, L),
        ({"arn": f"{TASK}S3UnlockBucketPolicy"}, M),
        ({"arn": f"{TASK}SQSUnlockQueuePolicy"}, M),
        ({"arn": f"{TASK}IAMDeleteRootUserCredentials"}, H),
        ({"arn": f"{TASK}IAMCreateRootUserPassword"}, C),
        (f"{TASK}IAMAuditRootUserCredentials", L),
        ({"arn": f"{TASK}SomethingNew"}, C),
        ({"arn": ""}, C),
        ({"arn": None}, C),
        ({"arn": ["x"]}, C),
        ({"arn": {"arn": f"{TASK}IAMAuditRootUserCredentials"}}, C),
        ({}, C),
        ([], C),
        (None, C),
        (7, C),
        ("", C),
        ({"arn": f"{TASK}iamauditrootusercredentials"}, C),
        ({"arn": f"{TASK}IAMAuditRootUserCredentials/"}, C),
    ],
)
def test_an_assume_root_is_as_severe_as_its_task(stated: object, severity: Severity) -> None:
    """AWS's own tasks have their severity; an unknown or malformed task is critical."""
    assert found(make_record("assumed", **Changes({"requestParameters.taskPolicyArn": stated}))) == {
        "assumed": severity
    }


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:iam::111122223333:policy/IAMAuditRootUserCredentials",
        "arn:aws:iam::111122223333:policy/root-task/IAMAuditRootUserCredentials",
        "x/IAMAuditRootUserCredentials",
        "IAMAuditRootUserCredentials",
    ],
)
def test_a_policy_that_is_only_called_like_a_task_is_unknown(arn: str) -> None:
    """A policy of somebody's own with the name of a harmless task is an unknown task, and so critical."""
    assert found(make_record("assumed", **Changes({"requestParameters.taskPolicyArn": {"arn": arn}}))) == {"assumed": C}


def test_the_task_s_name() -> None:
    """The task is told by AWS's own policy in any partition; nothing stated is no task."""
    for partition in ("aws", "aws-cn", "aws-us-gov"):
        arn = f"arn:{partition}:iam::aws:policy/root-task/S3UnlockBucketPolicy"
        for stated in (arn, {"arn": arn}):
            record = make_record("assumed", **Changes({"requestParameters.taskPolicyArn": stated}))
            assert task_policy(record) == arn
            assert found(record) == {"assumed": M}
    assert task_policy(make_record("assumed", requestParameters=None)) is None


# --- attempts, reads, writes, services --------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "source", "stem", "severity"), ROOT_ROWS[3:])
@pytest.mark.parametrize("error", ["AccessDenied", "Client.UnauthorizedOperation"])
def test_a_denied_attempt_keeps_the_act_s_detection(
    name: str, source: str, stem: str, severity: Severity, error: str
) -> None:
    """A refused dangerous act is both what was tried and a refusal."""
    assert act(name, source, errorCode=error) == {stem: severity, "denied": M}


def test_another_error_is_no_refusal() -> None:
    """An act that broke is still the act; a read that found nothing is still a read."""
    assert act("StopLogging", "cloudtrail.amazonaws.com", errorCode="TrailNotFoundException") == {"logging_tampered": C}
    assert found(make_record("read", errorCode="NoSuchBucketPolicy")) == {"read": INFO}
    assert found(make_record("write", errorCode="BucketAlreadyExists")) == {"write": M}


def test_a_refusal_takes_the_place_of_read_and_write() -> None:
    """What root was refused is a refusal and nothing weaker besides; of others, nothing."""
    assert found(make_record("read", errorCode="AccessDenied")) == {"denied": M}
    assert found(make_record("write", errorCode="AccessDenied")) == {"denied": M}
    assert found(make_record("denied", userIdentity=SOMEBODY)) == {}


def test_write_and_read_only_where_nothing_else_fits_but_the_access_key() -> None:
    """Plain use is a write or a read; with root's access key it is both the use of the key and what was done."""
    assert found(make_record("write")) == {"write": M}
    assert found(make_record("read")) == {"read": INFO}
    assert found(make_record("write", userIdentity=AKIA)) == {"access_key_used": C, "write": M}
    assert found(make_record("read", userIdentity=AKIA)) == {"access_key_used": C, "read": INFO}
    assert act("StopLogging", "cloudtrail.amazonaws.com", userIdentity=AKIA) == {
        "access_key_used": C,
        "logging_tampered": C,
    }
    denied = act("CreateBucket", "s3.amazonaws.com", userIdentity=AKIA, errorCode="AccessDenied")
    assert denied == {"access_key_used": C, "denied": M}


def test_an_access_key_of_root_s_is_no_temporary_one_and_nobody_else_s() -> None:
    """Only root's AKIA keys are its long-lived ones."""
    for key in ("ASIAEXAMPLE000000009", "", None, 7, "xAKIA", "akia"):
        assert "access_key_used" not in found(make_record("write", **Changes({"userIdentity.accessKeyId": key})))
    assert found(make_record("write", userIdentity=SOMEBODY | {"accessKeyId": "AKIAEXAMPLE000000009"})) == {}


def test_a_service_s_act_replaces_read_and_write_only() -> None:
    """An AWS service on root's behalf is told apart, but hides no other detection."""
    assert found(make_record("write", userIdentity=SERVICE)) == {"service_acted": INFO}
    assert found(make_record("read", userIdentity=SERVICE)) == {"service_acted": INFO}
    assert act("StopLogging", "cloudtrail.amazonaws.com", userIdentity=SERVICE) == {"logging_tampered": C}
    assert act("CreateAccessKey", "iam.amazonaws.com", userIdentity=SERVICE) == {"access_key_created": C}
    assert found(make_record("write", userIdentity=SERVICE, errorCode="AccessDenied")) == {"denied": M}
    assert found(make_record("write", userIdentity=SOMEBODY | {"invokedBy": "glue.amazonaws.com"})) == {}


@pytest.mark.parametrize(
    "identity",
    [
        {"type": "Root"},
        {"type": "Root", "invokedBy": "signin.amazonaws.com"},
        {"type": "Root", "sessionContext": {"assumedRoot": "true"}},
        {"type": "FederatedUser", "sessionContext": {"sessionIssuer": {"type": "Root"}}},
        {"arn": "arn:aws:iam::111122223333:root"},
        SERVICE,
        AKIA,
    ],
    ids=repr,
)
@pytest.mark.parametrize("name", [None, "", 7, "CreateBucket", "ListBuckets", "ConsoleLogin"])
def test_root_in_any_form_has_at_least_one_detection(identity: dict[str, Any], name: Any) -> None:
    """No record of root's is without a meaning, however thin it is."""
    assert act(name, None, userIdentity=identity, readOnly=ABSENT)


def test_somebody_else_s_plain_acts_have_none() -> None:
    """What others do counts only where a row names it."""
    for specimen in ("write", "read", "console_login", "console_login_failed", "cli_login", "password_changed"):
        assert found(make_record(specimen, userIdentity=SOMEBODY)) == {}


# --- never raises; that it takes linear time is tests/unit/test_linear_time.py's -------------------------------------


@pytest.mark.parametrize(
    "value", [None, True, 7, 1.5, "", "x", [], ["x", {"a": 1}], {}, {"x": ["y"]}, "{", "null"], ids=repr
)
@pytest.mark.parametrize("field", ["requestParameters", "responseElements", "additionalEventData", "resources"])
def test_detect_never_raises(field: str, value: object) -> None:
    """Whatever stands where an object is expected, every specimen still has a meaning."""
    for stem in specimen_stems():
        for position in range(len(load_specimen(stem))):
            detect(read_envelope(build_envelope(stem, position=position, **Changes({field: value}))), OWN)
