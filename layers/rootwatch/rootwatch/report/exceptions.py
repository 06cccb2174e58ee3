"""The exceptions in words: what each is called, and what it means to whoever has to answer for it."""

from collections.abc import Mapping, Sequence
from typing import Final

from rootwatch.report.model import Exceptional, ExceptionKind

WORDS: Final[Mapping[ExceptionKind, tuple[str, str]]] = {
    ExceptionKind.CHAIN_BROKEN: (
        "The chain of records is broken",
        "Records, or their account's head, were changed after recording. The figures are of what is there now.",
    ),
    ExceptionKind.NOT_RECORDED: (
        "Root use that AWS knows and Rootwatch did not record",
        "The credential report states a use within the month that no record shows within 15 minutes of it.",
    ),
    ExceptionKind.UNREADABLE: (
        "Input that could not be read",
        "The population is not complete: what is named here is in no figure of this report.",
    ),
    ExceptionKind.LATE_FOR_REPORT: (
        "Records that arrived only after the report of their month",
        "They are in no figure of that report, nor of this one. Make the report of that month again.",
    ),
    ExceptionKind.DAMAGED: (
        "Items of the audit table that were changed",
        "Something else than Rootwatch changed or removed what it had written. Copies were kept beside it.",
    ),
    ExceptionKind.EVENT_ID_REUSED: (
        "Records under an event id that another record has",
        "CloudTrail gives an id once: one of the two is not what CloudTrail wrote.",
    ),
    ExceptionKind.NOT_FROM_CLOUDTRAIL: (
        "Records that did not come from CloudTrail",
        "Somebody put them on the event bus (PutEvents): they prove nothing of what root did.",
    ),
    ExceptionKind.WITHOUT_MFA: ("Root use without MFA", "The record itself states that no MFA was used."),
    ExceptionKind.UNDECLARED: (
        "Undeclared root use",
        "Nobody announced it beforehand for this account and time, or not all of it.",
    ),
    ExceptionKind.OUTSIDE_DECLARED: (
        "Root use outside of what was declared",
        "Another address, another task, or longer than was announced.",
    ),
    ExceptionKind.DECLARED_AFTERWARDS: (
        "Root use that was declared only afterwards",
        "The declaration was made after the use began: it explains, and announced nothing.",
    ),
    ExceptionKind.NEW_SOURCE: (
        "Root use from an address that is new to the account",
        "No successful act of root from it is recorded before this use.",
    ),
    ExceptionKind.AVOIDABLE: (
        "Root use that did not need root",
        "A role would have sufficed for what was done: see Avoidable use.",
    ),
    ExceptionKind.NOT_DELIVERED: ("Alerts that reached nobody on a channel", "They are still tried again."),
    ExceptionKind.UNACKNOWLEDGED: (
        "Alerts that nobody acknowledged in time",
        "No acknowledgement is recorded within the target, or none at all.",
    ),
    ExceptionKind.NEVER_CLOSED: (
        "Incidents that are not closed",
        "Root may still act in them, or nobody has said what they were.",
    ),
    ExceptionKind.ROOT_KEY: (
        "Root has access keys",
        "Keys of root cannot be limited by any policy. Delete them; a role does the same.",
    ),
    ExceptionKind.ROOT_WITHOUT_MFA: (
        "Root has no MFA",
        "A password alone opens the account. Accounts whose root has no password do not count here.",
    ),
    ExceptionKind.DEAD_LETTERS: (
        "Dead letters",
        "Records or alerts that were not processed: what lies there still is in no figure of this report.",
    ),
    ExceptionKind.MONITORING_GAP: (
        "Days on which monitoring is not proven",
        "Nothing proves that records reached people on them: that no use was recorded does not mean no use.",
    ),
    ExceptionKind.POSTURE_NOT_READ: (
        "Root's credentials whose state could not be read",
        "What AWS knows of them was not compared with what was recorded, or not all of it: it may be well or not.",
    ),
}


def exceptional(kind: ExceptionKind, count: int, places: Sequence[str], more: int) -> Exceptional:
    """Return an exception in words; `more` is how many of its `count` the places do not name."""
    title, meaning = WORDS[kind]
    return Exceptional(kind, count, title, meaning, tuple(places), more)
