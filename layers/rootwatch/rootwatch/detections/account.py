"""The account's own particulars: whom AWS calls, and who pays.

Event names: https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/logging-using-cloudtrail.html
and https://docs.aws.amazon.com/accounts/latest/reference/monitoring-cloudtrail.html
"""

from typing import Final

from rootwatch.detections.detection import (
    MONITORED_ROOT_USE,
    Acts,
    Detection,
    OwnResources,
    Severity,
    by_root_or_nobody_named,
)
from rootwatch.record import Record, verb_reads

_CONTACTS: Final = Acts({
    "account": "PutContactInformation PutAlternateContact DeleteAlternateContact",
    # SetAccountPreferences holds the account's name, e-mail address or password; the record does not say which.
    "billingconsole": "SetAdditionalContacts SetContactAddress SetSecurityQuestions SetAccountPreferences",
})  # fmt: skip
_BILLING_SERVICES: Final = frozenset({"billing", "billingconsole", "payments"})
_ACCESS: Final = frozenset({"SetIAMAccessPreference", "UpdateIAMAccessPreference"})
"""Whether IAM users and roles see the bills: a task of root alone."""
_BILLING_NAMES: Final = _ACCESS | {"AcceptFxPaymentCurrencyTermsAndConditions"}
_PAYMENT_FAMILIES: Final = ("Instruments_", "Preferences_", "Financing_", "TermsAndConditions_",
                            "AWSPaymentInstrumentGateway.", "AWSPaymentPreferenceGateway.")  # fmt: skip
_NOT_BILLING: Final = frozenset({"CloseAccount", "TagResource", "UntagResource"})
"""What the billing services record besides."""


def _contact_changed(record: Record, _own: OwnResources) -> Severity | None:
    return Severity.HIGH if record.actor.by_root and record in _CONTACTS else None


def _billing_changed(record: Record, _own: OwnResources) -> Severity | None:
    is_roots = record.actor.by_root or (record.event_name in _ACCESS and by_root_or_nobody_named(record))
    return Severity.HIGH if is_roots and _changes_billing(record) else None


def _changes_billing(record: Record) -> bool:
    name, service = record.event_name or "", record.service
    if record.read_only or record in _CONTACTS or name in _NOT_BILLING:
        return False
    if not service:  # it lost its event source: only what no other service calls so
        return name in _BILLING_NAMES or (name.startswith(_PAYMENT_FAMILIES) and not verb_reads(name))
    # Every change in these services is one of access, preferences or payment; a reading may carry no readOnly.
    return service in _BILLING_SERVICES and bool(name) and not verb_reads(name)


CONTACT_CHANGED = Detection(
    id="root.contact_changed",
    title="The account's contacts were changed",
    done="changed the account's contacts or security questions",
    tried="tried to change the account's contacts or security questions",
    why="AWS proves ownership and sends its warnings through these; changed ones lock the owner out of recovery.",
    severity_rule="High, for the account's own contact, the alternate contacts and the security questions.",
    techniques=("T1098",),
    controls=(*MONITORED_ROOT_USE, "CIS AWS Foundations 5.0.0: 1.2"),
    next_steps=(
        "Compare the account's contacts now with those you keep; requestParameters.alternateContactType names which.",
        "Look for PasswordRecoveryRequested and EmailUpdated for 24 hours; SetAccountPreferences may itself be one.",
        "If nobody claims it, set the contacts back and tell AWS Support that the account may be taken over.",
    ),
    rule=_contact_changed,
)
BILLING_CHANGED = Detection(
    id="root.billing_changed",
    title="Billing access or payment was changed",
    done="changed who sees the bills, or how they are paid",
    tried="tried to change who sees the bills, or how they are paid",
    why="Opening billing to IAM is a task of root alone; payment changes hide or shift the cost of an intrusion.",
    severity_rule="High, for access to billing, for its preferences and for means of payment alike.",
    techniques=("T1098",),
    controls=MONITORED_ROOT_USE,
    next_steps=(
        "Ask the account's owner and whoever pays its bills whether this change was planned.",
        "Compare payment methods and preferences now with those before eventTime; requestParameters may be empty.",
        "Look at the cost of the 24 hours before and after eventTime, and for RunInstances in every region.",
    ),
    rule=_billing_changed,
)
