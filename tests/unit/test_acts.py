"""What root does with the account: severity by act and by whom, near misses, and documents written to do harm."""

import json
from typing import Any, Final

import pytest

from rootwatch.detections.catalogue import detect
from rootwatch.detections.detection import OwnResources, Severity
from rootwatch.detections.organization import TASK_CALLS
from rootwatch.record import ActorKind, Record, read_document
from tests.builders import ABSENT, build_record

OWN: Final = OwnResources("rootwatch")
ACCOUNT: Final = "111122223333"
STRANGER: Final = "444455556666"
SOMEBODY: Final = {
    "type": "AssumedRole",
    "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/Operator/kim",
    "accountId": ACCOUNT,
    "accessKeyId": "ASIAEXAMPLE000000900",
}
SERVICE: Final = {"type": "Root", "accountId": ACCOUNT, "invokedBy": "cloudformation.amazonaws.com"}
FEDERATED: Final = {
    "type": "FederatedUser",
    "accountId": ACCOUNT,
    "accessKeyId": "ASIAEXAMPLE000000901",
    "sessionContext": {"sessionIssuer": {"type": "Root", "arn": f"arn:aws:iam::{ACCOUNT}:root"}},
}
SESSION: Final = {
    "type": "Root",
    "arn": f"arn:aws:iam::{ACCOUNT}:root",
    "accountId": ACCOUNT,
    "accessKeyId": "ASIAEXAMPLE000000902",
    "sessionContext": {"attributes": {"mfaAuthenticated": "false"}, "assumedRoot": "true"},
}
ADMINISTRATOR: Final = "arn:aws:iam::aws:policy/AdministratorAccess"
LOCK: Final = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
ALL_USERS: Final = "http://acs.amazonaws.com/groups/global/AllUsers"
LOG_DELIVERY: Final = "http://acs.amazonaws.com/groups/s3/LogDelivery"

C, H, M, INFO = Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM, Severity.INFO


def act_record(service: str, name: str | None, request: Any = None, /, **changes: Any) -> Record:
    """The record of one act of root's in the console."""
    source = f"{service}.amazonaws.com" if service else ABSENT
    return read_document(
        build_record("write", **({"eventSource": source, "eventName": name, "requestParameters": request} | changes))
    )


def act(service: str, name: str | None, request: Any = None, /, **changes: Any) -> dict[str, Severity]:
    """What is found in one act of root's in the console, by stem."""
    record = act_record(service, name, request, **changes)
    return {finding.detection.stem: finding.severity for finding in detect(record, OWN)}


def policy(*, effect: str = "Allow", **statement: Any) -> str:
    """A policy document of one statement."""
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": effect, **statement}]})


# --- each act, by whom ------------------------------------------------------------------------------------------------

ACTS: Final[list[tuple[str, str, Any, str, Severity]]] = [
    ("sts", "GetSessionToken", {"durationSeconds": 900}, "session_exported", C),
    ("sts", "GetFederationToken", {"name": "x"}, "session_exported", C),
    ("signin", "GetSigninToken", None, "session_exported", C),
    ("sts", "GetWebIdentityToken", {"audience": ["x"]}, "session_exported", C),
    ("sts", "GetDelegatedAccessToken", None, "session_exported", C),
    ("iam", "DeleteLoginProfile", None, "password_changed", C),
    ("iam", "UpdateAccessKey", {"accessKeyId": "AKIAEXAMPLE000000001", "status": "Active"}, "access_key_changed", H),
    ("iam", "DeleteAccessKey", {"accessKeyId": "AKIAEXAMPLE000000001"}, "access_key_changed", H),
    ("iam", "UploadSigningCertificate", None, "signing_credential_changed", H),
    ("iam", "UpdateSigningCertificate", {"certificateId": "x"}, "signing_credential_changed", H),
    ("iam", "DeleteSigningCertificate", {"certificateId": "x"}, "signing_credential_changed", H),
    ("iam", "UploadCloudFrontPublicKey", None, "signing_credential_changed", H),
    ("iam", "UpdateCloudFrontPublicKey", None, "signing_credential_changed", H),
    ("iam", "DeleteCloudFrontPublicKey", None, "signing_credential_changed", H),
    ("iam", "CreateLoginProfile", None, "login_profile_created", C),
    ("account", "PutContactInformation", None, "contact_changed", H),
    ("account", "PutAlternateContact", {"alternateContactType": "SECURITY"}, "contact_changed", H),
    ("account", "DeleteAlternateContact", {"alternateContactType": "SECURITY"}, "contact_changed", H),
    ("billingconsole", "SetAdditionalContacts", None, "contact_changed", H),
    ("billingconsole", "SetContactAddress", None, "contact_changed", H),
    ("billingconsole", "SetSecurityQuestions", None, "contact_changed", H),
    ("billingconsole", "SetAccountPreferences", None, "contact_changed", H),
    ("billingconsole", "SetIAMAccessPreference", None, "billing_changed", H),
    ("billingconsole", "SetPayInformation", None, "billing_changed", H),
    ("billingconsole", "SetFxPaymentCurrency", None, "billing_changed", H),
    ("payments", "Instruments_Create", None, "billing_changed", H),
    ("payments", "Preferences_UpdatePaymentProfile", None, "billing_changed", H),
    ("payments", "TermsAndConditions_AcceptTermsAndConditionsForProgramByAccountId", None, "billing_changed", H),
    ("iam", "CreateUser", {"userName": "alice"}, "iam_changed", H),
    ("iam", "CreateAccessKey", {"userName": "alice"}, "iam_changed", H),
    ("iam", "EnableMFADevice", {"userName": "alice", "serialNumber": "x:mfa/alice"}, "iam_changed", H),
    ("iam", "DeleteVirtualMFADevice", {"serialNumber": "x:mfa/alice"}, "iam_changed", H),
    ("iam", "UploadSSHPublicKey", {"userName": "alice"}, "iam_changed", H),
    ("iam", "AddUserToGroup", {"userName": "alice", "groupName": "all"}, "iam_changed", H),
    ("iam", "CreateSAMLProvider", {"name": "x"}, "iam_changed", H),
    ("iam", "DeleteAccountPasswordPolicy", None, "iam_changed", H),
    ("iam", "AttachRolePolicy", {"roleName": "x", "policyArn": ADMINISTRATOR}, "iam_changed", C),
    ("organizations", "DetachPolicy", {"policyId": "p-x"}, "iam_changed", H),
    ("organizations", "MoveAccount", {"accountId": ACCOUNT, "destinationParentId": "ou-x"}, "iam_changed", H),
    ("organizations", "RegisterDelegatedAdministrator", {"servicePrincipal": "x.amazonaws.com"}, "iam_changed", H),
    ("identitystore", "CreateUser", {"userName": "alice"}, "iam_changed", H),
    ("identitystore", "CreateGroupMembership", {"groupId": "x"}, "iam_changed", H),
    ("sso-directory", "AddMemberToGroup", {"groupId": "x"}, "iam_changed", H),
    ("iam", "DeleteLoginProfile", {"userName": "alice"}, "iam_changed", H),
    ("iam", "AcceptDelegationRequest", {"delegationRequestId": "x"}, "iam_changed", H),
    ("sso", "CreateAccountAssignment", None, "iam_changed", H),
    ("secretsmanager", "GetSecretValue", {"secretId": "x"}, "secret_read", H),
    ("secretsmanager", "BatchGetSecretValue", {"secretIdList": ["x"]}, "secret_read", H),
    ("ssm", "GetParameter", {"name": "x", "withDecryption": True}, "secret_read", H),
    ("ssm", "GetParameters", {"names": ["x"], "withDecryption": "true"}, "secret_read", H),
    ("ssm", "GetParametersByPath", {"path": "/", "withDecryption": True}, "secret_read", H),
    ("ssm", "GetParameterHistory", {"name": "x", "withDecryption": True}, "secret_read", H),
    ("kms", "Decrypt", {"encryptionAlgorithm": "SYMMETRIC_DEFAULT"}, "secret_read", H),
    ("ec2", "ModifyImageAttribute", {"launchPermission": {"add": {"items": [{"group": "all"}]}}}, "resource_shared", H),
    ("rds", "ModifyDBSnapshotAttribute", {"valuesToAdd": ["all"]}, "resource_shared", H),
    ("s3", "PutBucketPolicy", {"bucketName": "x"}, "resource_shared", H),
    ("s3", "DeleteBucketPublicAccessBlock", {"bucketName": "x"}, "resource_shared", H),
    ("s3", "DeleteAccountPublicAccessBlock", None, "resource_shared", H),
    ("ram", "CreateResourceShare", {"name": "x"}, "resource_shared", H),
    ("lambda", "AddPermission20150331v2", {"functionName": "x", "principal": "*"}, "resource_shared", H),
    ("lambda", "CreateFunctionUrlConfig", {"functionName": "x", "authType": "NONE"}, "resource_shared", H),
    ("s3", "DeleteBucket", {"bucketName": "x"}, "destroyed", H),
    ("s3", "DeleteObjects", {"bucketName": "x"}, "destroyed", H),
    ("rds", "DeleteDBCluster", {"dBClusterIdentifier": "x"}, "destroyed", H),
    ("dynamodb", "DeleteTable", {"tableName": "x"}, "destroyed", H),
    ("ec2", "TerminateInstances", {"instancesSet": {"items": [{"instanceId": "i-1"}]}}, "destroyed", H),
    ("ec2", "DeleteVolume", {"volumeId": "x"}, "destroyed", H),
    ("ec2", "DeleteSnapshot", {"snapshotId": "x"}, "destroyed", H),
    ("ec2", "DeregisterImage", {"imageId": "x"}, "destroyed", H),
    ("elasticfilesystem", "DeleteFileSystem", {"fileSystemId": "x"}, "destroyed", H),
    ("backup", "DeleteBackupVault", {"backupVaultName": "x"}, "destroyed", H),
    ("backup", "DeleteRecoveryPoint", {"recoveryPointArn": "x"}, "destroyed", H),
    ("cloudformation", "DeleteStack", {"stackName": "x"}, "destroyed", H),
    ("kms", "ScheduleKeyDeletion", {"keyId": "x"}, "destroyed", H),
    ("kms", "DisableKey", {"keyId": "x"}, "destroyed", H),
    ("lambda", "DeleteFunction20150331", {"functionName": "x"}, "destroyed", H),
    ("s3", "PutBucketVersioning", {"VersioningConfiguration": {"MfaDelete": "Disabled"}}, "destroyed", H),
    ("s3", "PutBucketVersioning", {"VersioningConfiguration": {"Status": "Suspended"}}, "destroyed", H),
    ("securityhub", "DisableSecurityHubV2", None, "logging_tampered", C),
    ("guardduty", "DisassociateFromAdministratorAccount", {"detectorId": "x"}, "logging_tampered", C),
    ("guardduty", "DeleteMembers", {"accountIds": [ACCOUNT]}, "logging_tampered", C),
    ("guardduty", "CreateFilter", {"action": "ARCHIVE"}, "logging_tampered", H),
    ("config", "DisassociateResourceTypes", None, "logging_tampered", H),
    ("cloudtrail", "PutEventConfiguration", None, "logging_tampered", H),
]
every_act = pytest.mark.parametrize(
    ("service", "name", "request_made", "stem", "severity"),
    ACTS,
    ids=lambda value: value if isinstance(value, str) else "",
)


@every_act
def test_an_act_of_root_is_called_by_its_name(
    service: str, name: str, request_made: Any, stem: str, severity: Severity
) -> None:
    """Root's act is this one detection with this severity, in the console or in a session that root issued."""
    assert act(service, name, request_made) == {stem: severity}
    assert act(service, name, request_made, userIdentity=FEDERATED) == {stem: severity}


@every_act
def test_a_service_on_root_s_behalf_is_no_excuse(
    service: str, name: str, request_made: Any, stem: str, severity: Severity
) -> None:
    """What an AWS service does for root counts as what it is; only `read` and `write` become `service_acted`."""
    assert act(service, name, request_made, userIdentity=SERVICE) == {stem: severity}


@every_act
def test_the_same_act_of_somebody_else_is_none_of_ours(
    service: str, name: str, request_made: Any, stem: str, severity: Severity
) -> None:
    """Nothing is found when anybody but root does it, a service on their behalf included."""
    del stem, severity
    assert act(service, name, request_made, userIdentity=SOMEBODY) == {}
    assert act(service, name, request_made, userIdentity=SOMEBODY | {"invokedBy": "glue.amazonaws.com"}) == {}


@every_act
def test_an_attempt_keeps_the_act(service: str, name: str, request_made: Any, stem: str, severity: Severity) -> None:
    """Refused or failed, the act keeps its detection."""
    assert act(service, name, request_made, errorCode="AccessDenied") == {stem: severity, "denied": M}
    assert act(service, name, request_made, errorCode="ValidationException") == {stem: severity}


@every_act
def test_a_lost_event_source_hides_nothing(
    service: str, name: str, request_made: Any, stem: str, severity: Severity
) -> None:
    """A record without its event source is judged by the event's name."""
    if service != "billingconsole" or not name.startswith("Set") or name == "SetIAMAccessPreference":
        assert act("", name, request_made)[stem] == severity


@pytest.mark.parametrize(
    ("service", "name"),
    [
        ("billingconsole", "EnableBillingAlerts"),
        ("billingconsole", "RedeemPromoCode"),
        ("billingconsole", "SetFreetierBudgetsPreference"),
        ("billing", "UpdateBillingPreferences"),
        ("billing", "UpdateIAMAccessPreference"),
        ("payments", "MakePayment"),
        ("payments", "Instruments_Authenticate"),
    ],
)
def test_every_change_in_billing_s_own_services_counts(service: str, name: str) -> None:
    """Preferences and payments count under billing's own event sources, whatever the change is called."""
    assert act(service, name) == {"billing_changed": H}
    assert act(service, name, readOnly=ABSENT, eventType="AwsConsoleAction") == {"billing_changed": H}
    assert act(service, name, readOnly=True) == {"read": INFO}
    assert act("example", name) == {"write": M}
    for neither in ("TagResource", "UntagResource"):
        assert act(service, neither) == {"write": M}


@pytest.mark.parametrize(
    ("service", "name"),
    [
        ("taxconsole", "DownloadTaxInvoice"),
        ("billingconsole", "DownloadRegistrationDocument"),
        ("billingconsole", "FindECSVForBillingPeriod"),
        ("billingconsole", "AWSPaymentPortalService.DescribePaymentsDashboard"),
        ("payments", "Instruments_Get"),
        ("payments", "Preferences_BatchGetPaymentProfiles"),
        ("payments", "Policy_GetPaymentInstrumentEligibility"),
    ],
)
@pytest.mark.parametrize("stated", [ABSENT, None, True, "true"])
def test_a_reading_in_the_billing_console_stays_a_reading(service: str, name: str, stated: object) -> None:
    """Console actions that only look or download are reads of root's in the console, also where readOnly is absent."""
    record = act_record(service, name, None, eventType="AwsConsoleAction", readOnly=stated)
    assert {finding.detection.stem for finding in detect(record, OWN)} == {"read"}
    assert record.actor.kind is ActorKind.ROOT_CONSOLE


@pytest.mark.parametrize("name", ["SetIAMAccessPreference", "UpdateIAMAccessPreference"])
def test_billing_opened_by_nobody_named_was_root(name: str) -> None:
    """Only root can open billing to IAM: it counts where the record names nobody, and not where it names somebody."""
    for identity in ({}, None, {"accountId": ACCOUNT}):
        assert act("billingconsole", name, userIdentity=identity) == {"billing_changed": H}
        assert act("billingconsole", "SetPayInformation", userIdentity=identity) == {}
    assert act("billingconsole", name, userIdentity=SOMEBODY) == {}


@pytest.mark.parametrize(
    "name",
    [
        "RegisterDelegatedAdministrator", "DeregisterDelegatedAdministrator", "EnableAWSServiceAccess",
        "DisableAWSServiceAccess",
    ],
)  # fmt: skip
@pytest.mark.parametrize("identity", [SOMEBODY, {}, FEDERATED], ids=["somebody", "nobody", "root"])
def test_who_may_assume_root_is_decided_by_anybody(name: str, identity: dict[str, Any]) -> None:
    """Handing IAM's centralised root access to another account, or taking it back, counts whoever does it."""
    found = act("organizations", name, {"servicePrincipal": "iam.amazonaws.com"}, userIdentity=identity)
    assert found["central_access_changed"] is H
    for principal in ("guardduty.amazonaws.com", "", None, ["iam.amazonaws.com"]):
        other = act("organizations", name, {"servicePrincipal": principal}, userIdentity=identity)
        assert "central_access_changed" not in other
        assert bool(other) is (identity is FEDERATED)


def test_root_s_password_deleted_in_a_session_is_the_session_s_task() -> None:
    """AssumeRoot for deleting credentials does that; root deleting its own password elsewhere is a changed password."""
    assert act("iam", "DeleteLoginProfile", userIdentity=SESSION) == {"assumed_session_activity": M}
    assert act("iam", "DeleteLoginProfile", {"userName": "AWS ROOT USER"}) == {"password_changed": C}


NEAR_MISSES: Final[list[tuple[str, str, Any, bool]]] = [
    ("account", "GetAlternateContact", {"alternateContactType": "SECURITY"}, True),
    ("taxconsole", "DownloadTaxInvoice", None, True),
    ("payments", "Instruments_Get", None, True),
    ("billingconsole", "GetIAMAccessPreference", None, True),
    ("example", "SetIAMAccessPreference", None, False),
    ("iam", "CreateServiceLinkedRole", {"aWSServiceName": "autoscaling.amazonaws.com"}, False),
    ("iam", "CreateAccountAlias", {"accountAlias": "x"}, False),
    ("iam", "GetPolicyVersion", {"policyArn": ADMINISTRATOR}, True),
    ("example", "CreateUser", {"userName": "x"}, False),
    ("secretsmanager", "DescribeSecret", {"secretId": "x"}, True),
    ("ssm", "GetParameter", {"name": "x", "withDecryption": False}, True),
    ("ssm", "GetParameter", {"name": "x"}, True),
    ("kms", "GenerateDataKey", {"keyId": "x"}, True),
    ("ec2", "ModifyImageAttribute", {"imageId": "x", "description": {"value": "y"}}, False),
    ("ec2", "ModifySnapshotAttribute", {"createVolumePermission": {"remove": {"items": [{"group": "all"}]}}}, False),
    ("rds", "ModifyDBSnapshotAttribute", {"attributeName": "restore", "valuesToRemove": ["all"]}, False),
    ("s3", "PutBucketPublicAccessBlock", {"PublicAccessBlockConfiguration": LOCK}, False),
    ("s3", "PutBucketAcl", {"x-amz-acl": ["private"]}, False),
    ("s3", "PutBucketPolicy", {"bucketPolicy": json.loads(policy(effect="Deny", Principal="*", Action="s3:*"))}, False),
    ("s3", "DeleteBucketPolicy", {"bucketName": "x"}, False),
    ("sqs", "SetQueueAttributes", {"attributes": {"VisibilityTimeout": "30"}}, False),
    ("sns", "SetTopicAttributes", {"attributeName": "DisplayName", "attributeValue": "x"}, False),
    ("lambda", "AddPermission20150331v2", {"principal": "events.amazonaws.com"}, False),
    ("lambda", "CreateFunctionUrlConfig", {"authType": "AWS_IAM"}, False),
    ("kms", "CreateGrant", {"granteePrincipal": f"arn:aws:iam::{ACCOUNT}:role/x"}, False),
    ("ec2", "StopInstances", {"instancesSet": {"items": [{"instanceId": "i-1"}]}}, False),
    ("kms", "CancelKeyDeletion", {"keyId": "x"}, False),
    ("example", "DeleteTable", {"tableName": "x"}, False),
    ("s3", "PutBucketVersioning", {"VersioningConfiguration": {"Status": "Enabled", "MfaDelete": "Enabled"}}, False),
    ("dynamodb", "UpdateContinuousBackups", {"pointInTimeRecoverySpecification": {"x": 1}}, False),
]


@pytest.mark.parametrize(("service", "name", "request_made", "reads"), NEAR_MISSES)
def test_a_near_miss_is_a_plain_read_or_write(service: str, name: str, request_made: Any, reads: bool) -> None:  # noqa: FBT001 - a column
    """What looks alike and does no such thing stays a read or a write; by a service, a service's act."""
    assert act(service, name, request_made, readOnly=reads) == ({"read": INFO} if reads else {"write": M})
    assert act(service, name, request_made, readOnly=reads, userIdentity=SERVICE) == {"service_acted": INFO}


# --- administrator rights ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        policy(Action="*", Resource="*"),
        policy(Action=["s3:GetObject", "*"], Resource=["arn:aws:s3:::x", "*"]),
        policy(Action="*:*", Resource="*"),
        policy(Action="IAM:*", Resource="*"),
        policy(Action="i?m:**", Resource="*"),
        policy(Action="iam:*", Resource=f"arn:aws:iam::{ACCOUNT}:*"),
        policy(Action="iam:*", Resource="arn:aws-us-gov:iam::*"),
        policy(NotAction="s3:*", Resource="*"),
        policy(Action="*", NotResource="arn:aws:s3:::x"),
        policy(Action="*", Resource="*", Condition={"Bool": {"aws:MultiFactorAuthPresent": "true"}}),
        json.dumps({"statement": {"effect": "Allow", "ACTION": "*", "resource": "*"}}),
        json.loads(policy(Action="*", Resource="*")),
        "%7B%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22%2A%22%2C%22Resource%22%3A%22%2A%22%7D%5D%7D",
        "  \n" + policy(Action="*", Resource="*"),
    ],
)
@pytest.mark.parametrize(
    "name", ["PutUserPolicy", "PutGroupPolicy", "PutRolePolicy", "CreatePolicy", "CreatePolicyVersion"]
)
def test_a_policy_that_allows_everything_is_critical(name: str, document: Any) -> None:
    """`*`, or all of IAM, on everything is administrator rights, in every spelling that IAM takes."""
    assert act("iam", name, {"policyName": "x", "policyDocument": document}) == {"iam_changed": C}


@pytest.mark.parametrize(
    "document",
    [
        policy(Action="s3:*", Resource="*"),
        policy(Action="*", Resource="arn:aws:s3:::x/*"),
        policy(Action="iam:*", Resource=f"arn:aws:iam::{ACCOUNT}:user/alice"),
        policy(Action="iam:Get*", Resource="*"),
        policy(NotAction=["iam:*", "organizations:*"], Resource="*"),
        policy(effect="Deny", Action="*", Resource="*"),
        policy(Action="*"),
        policy(Action=None, Resource="*"),
        policy(Action={"*": "*"}, Resource="*"),
        "",
        "not JSON",
        "[]",
        "{}",
        '{"Statement": "x"}',
        '{"Statement": [null, 7, "Allow", []]}',
        None,
        7,
        ["x"],
    ],
    ids=repr,
)
def test_any_other_policy_is_high(document: Any) -> None:
    """A narrower policy, and one that cannot be read, is a change of IAM and no more is claimed."""
    assert act("iam", "PutUserPolicy", {"userName": "x", "policyDocument": document}) == {"iam_changed": H}


@pytest.mark.parametrize(
    ("arn", "severity"),
    [
        (ADMINISTRATOR, C),
        ("arn:aws-cn:iam::aws:policy/IAMFullAccess", C),
        ("arn:aws:iam::aws:policy/ReadOnlyAccess", H),
        (f"arn:aws:iam::{ACCOUNT}:policy/AdministratorAccess", H),
        ("AdministratorAccess", H),
        (None, H),
        ([ADMINISTRATOR], H),
    ],
)
def test_aws_s_own_administrator_policies_are_critical(arn: Any, severity: Severity) -> None:
    """Only AWS's own policies go by their name; one of somebody's own may hold anything."""
    for name in ("AttachUserPolicy", "AttachGroupPolicy", "AttachRolePolicy"):
        assert act("iam", name, {"policyArn": arn}) == {"iam_changed": severity}


@pytest.mark.parametrize(
    ("statement", "severity"),
    [
        ({"Principal": "*"}, C),
        ({"Principal": {"AWS": "*"}}, C),
        ({"Principal": {"AWS": [f"arn:aws:iam::{ACCOUNT}:root", "*"]}}, C),
        ({"NotPrincipal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}, C),
        ({"Principal": "*", "Condition": {"StringEquals": {"sts:ExternalId": "x"}}}, C),
        ({"Principal": "*", "Condition": {"StringLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/x"}}}, C),
        ({"Principal": "*", "Condition": {"StringLike": {"aws:PrincipalOrgID": "o-*"}}}, C),
        ({"Principal": "*", "Condition": {"StringNotEquals": {"aws:PrincipalAccount": ACCOUNT}}}, C),
        ({"Principal": "*", "Condition": {"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-exampleorg1"}}}, C),
        ({"Principal": "*", "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-exampleorg1"}}}, H),
        ({"Principal": "*", "Condition": {"StringEquals": {"AWS:PrincipalAccount": [ACCOUNT, STRANGER]}}}, H),
        ({"Principal": {"AWS": f"arn:aws:iam::{STRANGER}:root"}}, H),
        ({"Principal": {"Service": "ec2.amazonaws.com"}}, H),
        ({"Principal": {"AWS": None}}, H),
        ({"Principal": "*", "Condition": ["x"]}, C),
        ({"Principal": "*", "Condition": {"StringEquals": "x"}}, C),
    ],
)
def test_trust_opened_to_everybody_is_critical(statement: dict[str, Any], severity: Severity) -> None:
    """A role that anybody may assume is critical; a condition helps only where it names accounts or an organization."""
    document = policy(Action="sts:AssumeRole", **statement)
    assert act("iam", "UpdateAssumeRolePolicy", {"policyDocument": document}) == {"iam_changed": severity}
    assert act("iam", "CreateRole", {"assumeRolePolicyDocument": document}) == {"iam_changed": severity}


# --- what is opened, and to whom --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "opened"),
    [
        ({"Principal": "*"}, True),
        ({"Principal": {"AWS": STRANGER}}, True),
        ({"Principal": {"AWS": f"arn:aws:iam::{STRANGER}:role/x"}}, True),
        ({"Principal": {"Federated": "accounts.example.com"}}, True),
        ({"Principal": {"CanonicalUser": "0a1b"}}, True),
        ({"Principal": "*", "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-exampleorg1"}}}, True),
        ({"Principal": "*", "Condition": {"StringEquals": {"aws:SourceAccount": STRANGER}}}, True),
        ({"Principal": {"AWS": "*"}, "Condition": {"StringEquals": {"AWS:SourceOwner": ACCOUNT}}}, False),
        ({"Principal": {"AWS": [ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root"]}}, False),
        ({"Principal": {"Service": "sns.amazonaws.com"}}, False),
        ({"effect": "Deny", "Principal": "*"}, False),
    ],
)
def test_a_resource_policy_counts_when_it_lets_outsiders_in(statement: dict[str, Any], opened: bool) -> None:  # noqa: FBT001 - a column
    """Everybody, another account or a federation are outsiders; the own account and AWS's services are not."""
    document = policy(Action="*", Resource="*", **statement)
    for service, name, request in (
        ("sqs", "SetQueueAttributes", {"attributes": {"Policy": document}}),
        ("sns", "SetTopicAttributes", {"attributeName": "Policy", "attributeValue": document}),
        ("secretsmanager", "PutResourcePolicy", {"resourcePolicy": document}),
        ("glue", "PutResourcePolicy", {"policyInJson": document}),
        ("ecr", "SetRepositoryPolicy", {"policyText": document}),
        ("kms", "PutKeyPolicy", {"policy": document}),
        ("glacier", "SetVaultAccessPolicy", {"policy": {"policy": document}}),
    ):
        assert act(service, name, request) == ({"resource_shared": H} if opened else {"write": M}), name


@pytest.mark.parametrize(
    ("request_made", "opened"),
    [
        ({"x-amz-acl": ["public-read"]}, True),
        ({"x-amz-acl": "authenticated-read"}, True),
        ({"accessControlList": {"x-amz-grant-read": f"uri={ALL_USERS}"}}, True),
        ({"AccessControlList": {"x_amz_grant_read": f"uri={ALL_USERS}"}}, True),
        (None, True),
        ({"grants": [{"Grantee": {"URI": ALL_USERS}}]}, True),
        ({"grants": {"Grantee": {"ID": "stranger"}}}, True),
        ({"grants": [{"Grantee": {"emailAddress": "x@example.com"}}]}, True),
        ({"grants": [{"Grantee": {"ID": "me"}}, {"Grantee": {"URI": LOG_DELIVERY}}]}, False),
        ({"grants": "x"}, False),
        ({"x-amz-acl": ["bucket-owner-full-control"]}, False),
    ],
)
def test_an_access_list_counts_when_it_names_others(request_made: Any, opened: bool) -> None:  # noqa: FBT001 - a column
    """Public and foreign grantees count, the owner and S3's log delivery do not; an unknown list counts."""
    request = request_made
    if isinstance(request, dict) and "grants" in request:
        request = {"AccessControlPolicy": {"Owner": {"ID": "me"}, "AccessControlList": {"Grant": request["grants"]}}}
    for name in ("PutBucketAcl", "PutObjectAcl"):
        assert act("s3", name, request) == ({"resource_shared": H} if opened else {"write": M})


@pytest.mark.parametrize(
    ("principal", "opened"),
    [
        ("*", True),
        (STRANGER, True),
        (f"arn:aws:iam::{STRANGER}:root", True),
        (ACCOUNT, False),
        ("s3.amazonaws.com", False),
    ],
)
def test_a_permission_counts_when_an_outsider_gets_it(principal: str, opened: bool) -> None:  # noqa: FBT001 - a column
    """Lambda, SQS, SNS and KMS name the one who gets a permission in fields of their own."""
    for service, name, request in (
        ("lambda", "AddPermission20150331v2", {"principal": principal}),
        ("kms", "CreateGrant", {"granteePrincipal": principal}),
        ("sqs", "AddPermission", {"aWSAccountIds": [principal]}),
    ):
        assert act(service, name, request) == ({"resource_shared": H} if opened else {"write": M})


# --- what is given up -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "destroys"),
    [
        ({"Status": "Enabled", "Filter": "", "Expiration": {"Days": 1}}, True),
        ({"Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": "7"}}, True),
        ({"Status": "Enabled", "Prefix": "", "Expiration": {"Date": "2026-11-04T00:00:00Z"}}, True),
        ({"Status": "Enabled", "Filter": {"Prefix": "*"}, "Expiration": {"Days": 1}}, True),
        ({"Status": "Enabled", "Expiration": {"Days": 400}}, False),
        ({"Status": "Disabled", "Expiration": {"Days": 1}}, False),
        ({"Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 1}}, False),
        ({"Status": "Enabled", "Filter": {"Tag": {"Key": "x"}}, "Expiration": {"Days": 1}}, False),
        ({"Status": "Enabled", "Filter": {"Prefix": ["x"]}, "Expiration": {"Days": 1}}, False),
        ({"Status": "Enabled", "Expiration": {"ExpiredObjectDeleteMarker": True}}, False),
        ({"Status": "Enabled", "Expiration": {"Days": "9" * 5_000}}, False),
        ({"Status": "Enabled", "Expiration": {"Days": "¹"}}, False),
        ({"Status": "Enabled", "Transition": {"Days": 1}}, False),
        (None, False),
        ("x", False),
    ],
)
def test_a_lifecycle_that_expires_the_whole_bucket_soon_is_a_deletion(rule: Any, destroys: bool) -> None:  # noqa: FBT001 - a column
    """Within a week and without a filter it destroys; anything narrower or later is housekeeping."""
    for rules in (rule, [{"Status": "Disabled"}, rule]):
        request = {"bucketName": "x", "LifecycleConfiguration": {"Rule": rules}}
        assert act("s3", "PutBucketLifecycle", request) == ({"destroyed": H} if destroys else {"write": M})


@pytest.mark.parametrize("enabled", [False, "false"])
def test_continuous_backups_switched_off_are_data_given_up(enabled: object) -> None:
    """A table without point-in-time recovery cannot be brought back."""
    request = {"tableName": "x", "pointInTimeRecoverySpecification": {"pointInTimeRecoveryEnabled": enabled}}
    assert act("dynamodb", "UpdateContinuousBackups", request) == {"destroyed": H}


# --- AssumeRoot sessions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("service", "name"), sorted(frozenset().union(*TASK_CALLS.values())))
def test_a_call_of_a_task_is_medium_in_a_session(service: str, name: str) -> None:
    """A write that some task permits is medium by itself, a read is info; what it does besides keeps its detection."""
    assert act(service, name, userIdentity=SESSION, readOnly=False)["assumed_session_activity"] == M
    assert act(service, name, userIdentity=SESSION, readOnly=True)["assumed_session_activity"] == INFO
    assert act("", name, userIdentity=SESSION)["assumed_session_activity"] == M
    assert act("example", name, userIdentity=SESSION)["assumed_session_activity"] == C
    assert "assumed_session_activity" not in act(service, name)


@pytest.mark.parametrize(
    ("service", "name", "besides"),
    [
        ("ec2", "RunInstances", {}),
        ("iam", "CreateUser", {"iam_changed": H}),
        ("iam", "CreateAccessKey", {"access_key_created": C}),
        ("s3", "DeleteBucket", {"destroyed": H}),
        ("", "", {}),
    ],
)
def test_any_other_change_in_a_session_is_critical(service: str, name: str, besides: dict[str, Severity]) -> None:
    """No task policy permits it, so the session is not what it seems."""
    assert act(service, name, userIdentity=SESSION) == besides | {"assumed_session_activity": C}


def test_unlocking_is_medium_and_opening_is_not() -> None:
    """A sound policy put back in a session is its task; one that lets outsiders in is news of its own."""
    sound = policy(Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:role/x"}, Action="s3:*", Resource="*")
    foul = policy(Principal="*", Action="s3:*", Resource="*")
    for document, besides in ((sound, {}), (foul, {"resource_shared": H})):
        found = act("s3", "PutBucketPolicy", {"bucketPolicy": json.loads(document)}, userIdentity=SESSION)
        assert found == besides | {"assumed_session_activity": M}


@pytest.mark.parametrize(
    "place",
    [
        "userIdentity.sessionContext.assumedRoot",
        "userIdentity.sessionContext.attributes.assumedRoot",
        "userIdentity.sessionContext.sessionIssuer.assumedRoot",
        "userIdentity.assumedRoot",
        "assumedRoot",
    ],
)
def test_the_mark_of_a_session_counts_wherever_it_stands(place: str) -> None:
    """AWS's own documents disagree about the place of `assumedRoot`; what the caller asked for is none."""
    assert act("ec2", "RunInstances", **{place: "true"})["assumed_session_activity"] is C
    assert "assumed_session_activity" not in act("ec2", "RunInstances", **{place: "false"})
    assert "assumed_session_activity" not in act("ec2", "RunInstances", {"assumedRoot": "true"})


def test_a_service_in_a_session_s_name_is_the_session() -> None:
    """What CloudFormation does on behalf of an AssumeRoot session is outside its task, and no service's own act."""
    invoked = {"userIdentity.invokedBy": "cloudformation.amazonaws.com"}
    assert act("ec2", "RunInstances", **{"userIdentity.sessionContext.assumedRoot": "true"}, **invoked) == {
        "assumed_session_activity": C
    }
    assert act("ec2", "RunInstances", **invoked) == {"service_acted": INFO}


def test_the_tasks_are_those_of_assume_root() -> None:
    """Each task whose severity is known has its calls."""
    for task in TASK_CALLS:
        request = {"taskPolicyArn": {"arn": f"arn:aws:iam::aws:policy/root-task/{task}"}}
        found = act("sts", "AssumeRoot", request, userIdentity=SOMEBODY)
        assert (found["assumed"] is C) is (task == "IAMCreateRootUserPassword")


# --- never raises; that it takes linear time is tests/unit/test_linear_time.py's -------------------------------------

FIELDS: Final = (
    "policyDocument", "assumeRolePolicyDocument", "policyArn", "policy", "bucketPolicy", "resourcePolicy", "attributes",
    "attributeValue", "principal", "granteePrincipal", "launchPermission", "createVolumePermission", "valuesToAdd",
    "PublicAccessBlockConfiguration", "AccessControlPolicy", "accessControlList", "x-amz-acl", "authType",
    "LifecycleConfiguration", "pointInTimeRecoverySpecification", "withDecryption", "userName", "names",
    "serialNumber", "instancesSet", "name", "organizationId", "operationType", "attributeName",
    "VersioningConfiguration",
)  # fmt: skip
NAMES: Final = (
    *sorted({name for _, name, _, _, _ in ACTS} | {name for _, name, _, _ in NEAR_MISSES}),
    "PutUserPolicy", "UpdateAssumeRolePolicy", "PutResourcePolicy", "PutBucketLifecycle",
)  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [
        None, True, 7, 1.5, "", "x", [], {}, [[]], [None], [{"a": 1}], {"items": 7}, {"items": [7, {"instanceId": 7}]},
        {"add": 7}, {"add": {"items": []}}, {"Policy": 7}, {"policy": {"policy": {"policy": []}}}, {"Rule": [7]}, "{",
        {"Rule": {"Status": "Enabled", "Filter": {"Prefix": {}}, "Expiration": {"Days": {}}}}, "\ud800",
        {"Owner": {"ID": {}}, "AccessControlList": {"Grant": [{"Grantee": {"ID": {}}}, 7]}}, {"Statement": [[]]},
        {"Statement": {"Effect": ["Allow"]}}, {"Statement": {"Effect": "Allow", "Principal": {"AWS": {"AWS": "*"}}}},
        {"Statement": {"Effect": "Allow", "Principal": 7, "Action": 7, "Resource": {}, "Condition": {"x": {"y": {}}}}},
    ],
    ids=repr,
)  # fmt: skip
def test_odd_parameters_never_raise(value: Any) -> None:
    """Whatever stands in a parameter that is looked at, root's act has a meaning."""
    for name in NAMES:
        assert act("", name, dict.fromkeys(FIELDS, value))
        assert act("", name, value)


def nested(depth: int, inner: str = "{}") -> str:
    """JSON that nests this deeply."""
    return '{"Statement":[' * depth + inner + "]}" * depth


@pytest.mark.parametrize("depth", [60, 500, 20_000])
def test_documents_that_nest_deeply_never_raise(depth: int) -> None:
    """A policy as deep as JSON allows, or deeper, is one that cannot be read."""
    text = nested(depth)
    for place in (text, f'{{"Statement": {{"Effect": {text}, "Principal": {text}, "Action": {text}}}}}'):
        assert act("iam", "PutUserPolicy", {"policyDocument": place}) == {"iam_changed": H}
        assert act("iam", "CreateRole", {"assumeRolePolicyDocument": place}) == {"iam_changed": H}
        assert act("kms", "PutKeyPolicy", {"policy": place})
        assert act(
            "s3", "PutBucketAcl", f'{{"AccessControlPolicy": {{"Owner": {{"ID": {text}}}}}, "bucketPolicy": {text}}}'
        )
