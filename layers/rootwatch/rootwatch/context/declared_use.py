"""Root use that was announced beforehand, and whether an act is as it was announced. No I/O.

A declaration lowers what matches it by one step of severity and mutes nothing; what contradicts one, or goes on after
its end, is raised. It is typed by people and read back from a table that others may write: a `DeclaredUse` is checked
whenever one is made, and `alert.announcement` cleans what is shown of it.
"""

import hashlib
import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from rootwatch.context.observation import Observation
from rootwatch.context.source import Network, SourceKind
from rootwatch.detections import credentials, organization, sign_in
from rootwatch.detections.detection import Severity
from rootwatch.errors import DeclarationError
from rootwatch.record import ActorKind, canonical_json

LONGEST_PERIOD: Final = timedelta(days=30)
"""Longer root use is no exception any more. With `OVERRUN_WITHIN`, it bounds what has to be read for one moment."""

OVERRUN_WITHIN: Final = timedelta(hours=24)
"""So long after its end a declared use can be overrun."""

MOST_ENTRIES: Final = 20
"""Addresses, and tasks, of one declaration."""

_LONGEST: Final = {"reason": 200, "ticket": 64, "approver": 80, "declared_by": 256, "ended_by": 256}
_ACCOUNT: Final = re.compile(r"[0-9]{12}")
_TICKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/#-]*")
_TASK: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{1,63}")
_IDENTITY: Final = re.compile(r"arn:[a-z-]{3,16}:(?:iam|sts)::[0-9]{12}:[a-z-]{1,16}/[!-~]+")
"""A role, a session, a user. Root's own ARN ends in `:root`: nobody announces himself."""


@dataclass(frozen=True, slots=True)
class DeclaredUse:
    """Root use of one account, announced for a period. Times are UTC; `to_at` and `ended_at` are not part of it.

    `declared_by` and `ended_by` are the ARNs of those who declared and ended it. No `addresses`, or no `tasks`, means
    any. A task is the name of a detection without `root.` or of an event (`mfa_added`, `EnableMFADevice`).

    Raises `DeclarationError` where it could not be shown or compared: so whoever has one has a sound one.
    """

    account_id: str
    from_at: datetime
    to_at: datetime
    reason: str
    ticket: str
    approver: str
    declared_by: str
    declared_at: datetime
    addresses: tuple[Network, ...] = ()
    tasks: tuple[str, ...] = ()
    ended_at: datetime | None = None
    ended_by: str | None = None

    def __post_init__(self) -> None:
        """Check every field."""
        _check(self)

    @property
    def id(self) -> str:
        """Return the first 16 hex digits of the SHA-256 of what was declared.

        So an alert that names the id vouches for the content; ending a declaration does not change it.
        """
        declared = {
            "account_id": self.account_id,
            "from_at": self.from_at.astimezone(UTC).isoformat(),
            "to_at": self.to_at.astimezone(UTC).isoformat(),
            "reason": self.reason,
            "ticket": self.ticket,
            "approver": self.approver,
            "declared_by": self.declared_by,
            "declared_at": self.declared_at.astimezone(UTC).isoformat(),
            "addresses": [str(network) for network in self.addresses],
            "tasks": list(self.tasks),
        }
        return hashlib.sha256(canonical_json(declared).encode()).hexdigest()[:16]

    @property
    def until(self) -> datetime:
        """Return the first moment (UTC) that it does not cover any more: its end, or when somebody ended it."""
        return self.to_at if self.ended_at is None else min(self.to_at, self.ended_at)

    @property
    def is_late(self) -> bool:
        """Return whether it was declared only after it had begun."""
        return self.declared_at > self.from_at

    def covers(self, moment: datetime) -> bool:
        """Return whether a moment (UTC) lies in it."""
        return self.from_at <= moment < self.until


def _check(declared: DeclaredUse) -> None:
    for name, longest in _LONGEST.items():
        text = getattr(declared, name) or ("" if name != "ended_by" else "nobody")
        if not text.strip() or len(text) > longest or not text.isprintable():
            message = f"{name.replace('_', ' ').capitalize()}: 1 to {longest} printable characters on one line."
            raise DeclarationError(message)
    fault = next((words for holds, words in _rules(declared) if not holds), None)
    if fault is not None:
        raise DeclarationError(fault)


def _rules(declared: DeclaredUse) -> Iterator[tuple[object, str]]:
    """Yield what must hold, one after the other, and what to say where it does not."""
    yield _ACCOUNT.fullmatch(declared.account_id), "An account is twelve digits, such as 111122223333."
    yield (
        _TICKET.fullmatch(declared.ticket),
        "A ticket is one word of letters, digits and . _ : / # -, such as OPS-1234.",
    )
    for arn in (declared.declared_by, declared.ended_by):
        yield (
            arn is None or _IDENTITY.fullmatch(arn),
            "Declare and end with a role or an IAM user, not as root: nobody announces himself.",
        )
    for moment in (declared.from_at, declared.to_at, declared.declared_at, declared.ended_at):
        yield (
            moment is None or moment.utcoffset() is not None,
            "A moment states its time zone, such as 2026-11-03T10:00Z.",
        )
    yield declared.to_at > declared.from_at, "A declared use ends after it begins."
    yield (
        declared.to_at - declared.from_at <= LONGEST_PERIOD,
        f"A declared use lasts at most {LONGEST_PERIOD.days} days.",
    )
    yield (declared.ended_at is None) is (declared.ended_by is None), "Who ended a declared use says when."
    yield len(declared.addresses) <= MOST_ENTRIES, f"A declared use names at most {MOST_ENTRIES} addresses."
    yield len(declared.tasks) <= MOST_ENTRIES, f"A declared use names at most {MOST_ENTRIES} tasks."
    yield (
        all(_TASK.fullmatch(task) for task in declared.tasks),
        "A task is the name of a detection or of an event, such as mfa_added or EnableMFADevice.",
    )


# --- is an act as it was announced? --------------------------------------------------------------------------------


class ExpectationKind(StrEnum):
    """How an act stands to what was declared."""

    NONE = "none"
    MATCHED = "matched"
    MISMATCHED = "mismatched"
    OVERRUN = "overrun"


@dataclass(frozen=True, slots=True)
class Expectation:
    """How an act at the time `at` (UTC) stands to what was declared; `alert.announcement` puts it into words.

    `declared` is the declaration it matches, contradicts or overruns; with the kind `none`, one near it in time that
    does not cover it, or covers it but for an address that the record does not state. `came_from` is the address or
    text that contradicts it, `did` the detections that do, with `event_name`. All of them are hostile text.

    `applies` is false for what nobody announces: acts of others than root, and of AWS's services.
    """

    kind: ExpectationKind
    at: datetime
    declared: DeclaredUse | None = None
    came_from: str | None = None
    did: tuple[str, ...] = ()
    event_name: str | None = None
    applies: bool = True

    @property
    def is_afterwards(self) -> bool:
        """Return whether the declaration came only after the act: then it announced nothing."""
        return self.declared is not None and self.declared.declared_at > self.at


_OTHERS_USE: Final = frozenset(
    {organization.ASSUMED, credentials.PASSWORD_RECOVERY_REQUESTED, credentials.PASSWORD_RECOVERY_COMPLETED}
)
"""Use of root in a record of somebody else: a call of AssumeRoot, and the reset of root's password."""

_ALWAYS_PART: Final = frozenset({sign_in.CONSOLE_LOGIN, sign_in.CONSOLE_LOGIN_FAILED, sign_in.CLI_LOGIN})
"""Signing in, and mistyping, belong to every task. Without MFA, or after failures, only where it was announced."""

_NO_ADDRESS: Final = frozenset({SourceKind.ABSENT, SourceKind.AWS_INTERNAL, SourceKind.AWS_SERVICE})
_PREFERENCE: Final = (ExpectationKind.MATCHED, ExpectationKind.NONE, ExpectationKind.MISMATCHED)


def expectation(
    declarations: Sequence[DeclaredUse], observation: Observation, *, began_at: datetime | None = None
) -> Expectation:
    """Say how an act stands to the declared uses of its account. Pure, and never raises.

    Args:
        declarations: those of the account around the act's time; see `AuditStore.declared_uses`.
        observation: the act, with the findings that need history.
        began_at: when the incident that the act joins opened, or its session began, whichever is earlier (UTC); None
            for an act that opens an incident with a session of its own. By it an act *goes on* after the end, or not.

    Returns:
        Matched if one declaration that covers the time fits; mismatched if those that cover it all contradict the act;
        overrun if root goes on within 24 hours after the end of one; else none.

    """
    at = observation.time
    if not _can_be_announced(observation):
        return Expectation(ExpectationKind.NONE, at, applies=False)
    latest_first = sorted(declarations, key=lambda declared: (declared.from_at, declared.id), reverse=True)
    judged = [_judge(declared, observation) for declared in latest_first if declared.covers(at)]
    if judged:
        return min(judged, key=lambda each: (_PREFERENCE.index(each.kind), each.is_afterwards))
    ended = [
        declared
        for declared in latest_first
        if declared.from_at < declared.until and timedelta(0) <= at - declared.until < OVERRUN_WITHIN
    ]
    overrun = [declared for declared in ended if began_at is not None and began_at < declared.until]
    if overrun and sign_in.CONSOLE_LOGIN_FAILED not in _detections(observation):
        return Expectation(ExpectationKind.OVERRUN, at, _nearest(overrun, at))
    planned = [
        declared
        for declared in latest_first
        if declared.from_at < declared.until and timedelta(0) < declared.from_at - at < OVERRUN_WITHIN
    ]
    return Expectation(ExpectationKind.NONE, at, _nearest([*ended, *planned], at))


def adjusted(severity: Severity, expectation: Expectation) -> Severity:
    """Return an act's severity in the light of what was declared.

    Matched is one step lower, unless it was declared only after the act. Mismatched and overrun are one step higher,
    high at least. Whether an alert is due is decided by the severity before this: a declaration mutes nothing.
    """
    steps = tuple(Severity)
    if expectation.kind is ExpectationKind.MATCHED and not expectation.is_afterwards:
        return steps[max(severity.rank - 1, 0)]
    if expectation.kind in {ExpectationKind.MISMATCHED, ExpectationKind.OVERRUN}:
        return steps[min(max(severity.rank + 1, Severity.HIGH.rank), len(steps) - 1)]
    return severity


def _can_be_announced(observation: Observation) -> bool:
    actor = observation.record.actor
    by_root = actor.by_root and actor.kind is not ActorKind.AWS_SERVICE
    return by_root or bool(_OTHERS_USE & _detections(observation))


def _detections(observation: Observation) -> frozenset[object]:
    return frozenset(finding.detection for finding in observation.findings)


def _judge(declared: DeclaredUse, observation: Observation) -> Expectation:
    """Compare an act with a declaration that covers its time."""
    source, record, at = observation.source, observation.record, observation.time
    did = tuple(_beyond_tasks(declared, observation))
    is_known = source.kind not in _NO_ADDRESS
    came_from = (source.ip or source.raw) if is_known and not _within(source.ip, declared.addresses) else None
    if did or came_from is not None:
        return Expectation(ExpectationKind.MISMATCHED, at, declared, came_from, did, record.event_name)
    if declared.addresses and not is_known:
        return Expectation(ExpectationKind.NONE, at, declared)
    return Expectation(ExpectationKind.MATCHED, at, declared)


def _within(address: str | None, networks: tuple[Network, ...]) -> bool:
    if not networks:
        return True
    if address is None:
        return False
    host = ipaddress.ip_address(address)
    return any(host.version == network.version and host in network for network in networks)


def _beyond_tasks(declared: DeclaredUse, observation: Observation) -> Iterator[str]:
    """Yield the names of the findings at medium or above that no task of the declaration covers."""
    if not declared.tasks or observation.record.event_name in declared.tasks:
        return
    for finding in observation.findings:
        is_part = finding.severity.rank < Severity.MEDIUM.rank or finding.detection in _ALWAYS_PART
        if not is_part and finding.detection.stem not in declared.tasks:
            yield finding.detection.stem


def _nearest(declarations: Sequence[DeclaredUse], at: datetime) -> DeclaredUse | None:
    def distance(declared: DeclaredUse) -> timedelta:
        return min(abs(at - declared.until), abs(at - declared.from_at))

    return min(declarations, key=distance, default=None)
