"""Who may do what: root changes users, keys, roles, trust and policies that are not its own credentials."""

from typing import Final

from rootwatch.detections.credentials import concerns_root, is_root_device
from rootwatch.detections.detection import (
    MONITORED_ROOT_USE,
    Acts,
    Detection,
    OwnResources,
    Severity,
    Stage,
    named,
)
from rootwatch.detections.policy_document import grants_administration, trusts_everybody
from rootwatch.record import Record

_CHANGES: Final = Acts({
    "iam": """
        CreateUser UpdateUser DeleteUser AddUserToGroup RemoveUserFromGroup AttachUserPolicy DetachUserPolicy
        PutUserPolicy DeleteUserPolicy PutUserPermissionsBoundary DeleteUserPermissionsBoundary
        CreateLoginProfile UpdateLoginProfile DeleteLoginProfile CreateAccessKey UpdateAccessKey DeleteAccessKey
        EnableMFADevice DeactivateMFADevice ResyncMFADevice DeleteVirtualMFADevice
        UploadSigningCertificate UpdateSigningCertificate DeleteSigningCertificate
        UploadSSHPublicKey UpdateSSHPublicKey DeleteSSHPublicKey CreateServiceSpecificCredential
        UpdateServiceSpecificCredential ResetServiceSpecificCredential DeleteServiceSpecificCredential
        CreateGroup UpdateGroup DeleteGroup AttachGroupPolicy DetachGroupPolicy PutGroupPolicy DeleteGroupPolicy
        CreateRole UpdateRole UpdateRoleDescription DeleteRole UpdateAssumeRolePolicy AttachRolePolicy DetachRolePolicy
        PutRolePolicy DeleteRolePolicy PutRolePermissionsBoundary DeleteRolePermissionsBoundary
        CreateInstanceProfile DeleteInstanceProfile AddRoleToInstanceProfile RemoveRoleFromInstanceProfile
        CreatePolicy DeletePolicy CreatePolicyVersion DeletePolicyVersion SetDefaultPolicyVersion
        CreateSAMLProvider UpdateSAMLProvider DeleteSAMLProvider CreateOpenIDConnectProvider
        DeleteOpenIDConnectProvider UpdateOpenIDConnectProviderThumbprint AddClientIDToOpenIDConnectProvider
        RemoveClientIDFromOpenIDConnectProvider UpdateAccountPasswordPolicy DeleteAccountPasswordPolicy
        AcceptDelegationRequest EnableOutboundWebIdentityFederation""",
    "identitystore": """
        CreateUser UpdateUser DeleteUser CreateGroup DeleteGroup CreateGroupMembership DeleteGroupMembership""",
    "organizations": """
        AttachPolicy DetachPolicy UpdatePolicy DeletePolicy DisablePolicyType MoveAccount PutResourcePolicy
        RegisterDelegatedAdministrator DeregisterDelegatedAdministrator""",
    "rolesanywhere": """
        CreateTrustAnchor UpdateTrustAnchor EnableTrustAnchor CreateProfile UpdateProfile EnableProfile
        PutAttributeMapping""",
    "sso": """
        CreateAccountAssignment DeleteAccountAssignment CreatePermissionSet UpdatePermissionSet DeletePermissionSet
        AttachManagedPolicyToPermissionSet DetachManagedPolicyFromPermissionSet PutInlinePolicyToPermissionSet
        AttachCustomerManagedPolicyReferenceToPermissionSet DetachCustomerManagedPolicyReferenceFromPermissionSet
        DeleteInlinePolicyFromPermissionSet PutPermissionsBoundaryToPermissionSet
        DeletePermissionsBoundaryFromPermissionSet CreateTrustedTokenIssuer UpdateTrustedTokenIssuer
        CreateApplicationAssignment UpdateSSOConfiguration""",
    "sso-directory": """
        CreateUser UpdateUser DeleteUser UpdatePassword AddMemberToGroup RemoveMemberFromGroup
        DeleteMfaDeviceForUser CreateExternalIdPConfigurationForDirectory UpdateExternalIdPConfigurationForDirectory
        EnableExternalIdPConfigurationForDirectory DisableExternalIdPConfigurationForDirectory
        ImportExternalIdPCertificate CreateBearerToken""",
})  # fmt: skip
"""Service-linked roles are not among them: AWS defines them, and making one gives nobody anything."""

_OWN_CREDENTIALS: Final = Acts({
    "iam": """
        CreateAccessKey UpdateAccessKey DeleteAccessKey CreateLoginProfile DeleteLoginProfile EnableMFADevice
        DeactivateMFADevice ResyncMFADevice UploadSigningCertificate UpdateSigningCertificate
        DeleteSigningCertificate""",
})  # fmt: skip
"""Without a user name they concern root itself, and have detections of their own."""

_ADMINISTRATION: Final = frozenset({"AdministratorAccess", "IAMFullAccess"})
"""AWS's policies that give administrator rights, or the power to take them."""

_ATTACHMENTS: Final = Acts({
    "iam": "AttachUserPolicy AttachGroupPolicy AttachRolePolicy",
    "sso": "AttachManagedPolicyToPermissionSet",
})  # fmt: skip
_TRUST: Final = Acts({"iam": "CreateRole UpdateAssumeRolePolicy"})
_DOCUMENTS: Final = Acts({
    "iam": "PutUserPolicy PutGroupPolicy PutRolePolicy CreatePolicy CreatePolicyVersion",
    "sso": "PutInlinePolicyToPermissionSet",
})  # fmt: skip


def _iam_changed(record: Record, _own: OwnResources) -> Severity | None:
    if not record.actor.by_root or record not in _CHANGES or _is_own_credential(record):
        return None
    return Severity.CRITICAL if _gives_administration(record) else Severity.HIGH


def _is_own_credential(record: Record) -> bool:
    if named(record, "DeleteVirtualMFADevice", service="iam"):
        return is_root_device(record)
    return record in _OWN_CREDENTIALS and concerns_root(record)


def _gives_administration(record: Record) -> bool:
    request = record.request
    if record in _ATTACHMENTS:
        arn = request.get("policyArn", request.get("managedPolicyArn"))
        return isinstance(arn, str) and ":aws:policy/" in arn and arn.rpartition("/")[2] in _ADMINISTRATION
    if record in _TRUST:
        return trusts_everybody(request.get("assumeRolePolicyDocument", request.get("policyDocument")))
    if record in _DOCUMENTS:
        return grants_administration(request.get("policyDocument", request.get("inlinePolicy")), record.account_id)
    return False


IAM_CHANGED = Detection(
    id="root.iam_changed",
    title="Root changed who may do what",
    done="changed who may do what in the account",
    tried="tried to change who may do what in the account",
    why="A user, key, role or policy made as root stays when root is locked again: a way to come back.",
    severity_rule="High; critical where it gives administrator rights, or lets everybody assume a role.",
    techniques=("T1098.001", "T1098.003", "T1136.003"),
    controls=(*MONITORED_ROOT_USE, "NIST 800-53 r5: AC-2(1), AC-6(2)", "SOC 2: CC6.1, CC6.2, CC6.3"),
    next_steps=(
        "Read requestParameters: who was given which policy, key or trust, and does it allow * or iam:*?",
        "Search the new user, role or accessKeyId in every region's records for the next 24 hours.",
        "If nobody claims it, detach or deactivate it from a session you trust; keep this record as evidence.",
    ),
    rule=_iam_changed,
    stage=Stage.CREDENTIALS_CHANGED,
)
