"""The account's own particulars: whom AWS calls, and who pays.

Event names: https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/logging-using-cloudtrail.html
and https://docs.aws.amazon.com/accounts/latest/reference/monitoring-cloudtrail.html
"""

from typing import Final

from rootwatch.detections.detection import MONITORED_ROOT_USE, Acts, Detection, OwnResources, Severity
from rootwatch.record import Record, verb_reads

_CONTACTS: Final = Acts({
    "account": "PutContactInformation PutAlternateContact DeleteAlternateContact",
    # SetAccountPreferences holds the account's name, e-mail address or password; the record does not say which.
    "billingconsole": "SetAdditionalContacts SetContactAddress SetSecurityQuestions SetAccountPreferences",
})  # fmt: skip
_BILLING_SERVICES: Final = frozenset({"billing", "billingconsole", "payments"})
_BILLING_NAMES: Final = frozenset({
    "AcceptFxPaymentCurrencyTermsAndConditions", "SetIAMAccessPreference", "UpdateIAMAccessPreference",
})  # fmt: skip
_PAYMENT_FAMILIES: Final = ("Instruments_", "Preferences_", "Financing_", "AWSPaymentInstrumentGateway.",
                            "AWSPaymentPreferenceGateway.")  # fmt: skip


def _contact_changed(record: Record, _own: OwnResources) -> Severity | None:
    return Severity.HIGH if record.actor.by_root and record in _CONTACTS else None


def _billing_changed(record: Record, _own: OwnResources) -> Severity | None:
    return Severity.HIGH if record.actor.by_root and _changes_billing(record) else None


def _changes_billing(record: Record) -> bool:
    name, service = record.event_name or "", record.service
    if record.read_only or (service and service not in _BILLING_SERVICES) or record in _CONTACTS:
        return False
    if name in _BILLING_NAMES or (service and name.startswith("Set")):
        return True
    # Some readings of payment methods carry no readOnly, and their verb stands behind the family.
    family = next((prefix for prefix in _PAYMENT_FAMILIES if name.startswith(prefix)), None)
    return family is not None and not verb_reads(name.removeprefix(family))


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
        "Look for PasswordRecoveryRequested and EmailUpdated of this account in the next 24 hours.",
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
    severity_rule="High, for access to billing as for means of payment.",
    techniques=("T1098",),
    controls=MONITORED_ROOT_USE,
    next_steps=(
        "Ask the account's owner and whoever pays its bills whether this change was planned.",
        "Compare payment methods and preferences now with those before eventTime; requestParameters may be empty.",
        "Look at the cost of the 24 hours before and after eventTime, and for RunInstances in every region.",
    ),
    rule=_billing_changed,
)
