"""What the report says, as types without any form: the page, the register and the JSON all show these figures.

Every text in here is on one line, bounded, and has nothing hidden in it (`alert.visible`); each form only adds its own
escaping. Times are UTC.
"""

import calendar
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from rootwatch.errors import ReportError

MONTHS_BEFORE: Final = 12
"""Months that the report's month is compared with."""

_MONTH: Final = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])", re.ASCII)


@dataclass(frozen=True, slots=True)
class Period:
    """A calendar month in UTC, half open: `first` belongs to it, `end` does not.

    `until` is how far it has come, `asked_at` when that was asked, which may be long after its end.
    """

    name: str
    first: datetime
    end: datetime
    until: datetime
    asked_at: datetime

    @property
    def in_progress(self) -> bool:
        """Return whether the month is not over yet: then its figures are preliminary."""
        return self.until < self.end

    @property
    def days(self) -> int:
        """Return the number of days that the month has."""
        return (self.end - self.first).days

    @property
    def days_begun(self) -> int:
        """Return the number of days of the month that have begun, all of them once it is over."""
        return self.days if not self.in_progress else (self.until - self.first).days + 1

    @property
    def title(self) -> str:
        """Return the month as people write it: November 2026."""
        return f"{calendar.month_name[self.first.month]} {self.first.year}"

    def __contains__(self, moment: datetime | None) -> bool:
        return moment is not None and self.first <= moment < self.end

    def before(self) -> list[str]:
        """Return the names of the twelve months before it, the oldest first."""
        number = self.first.year * 12 + self.first.month - 1
        return [month_name(number - back) for back in range(MONTHS_BEFORE, 0, -1)]


def month_name(number: int) -> str:
    """Return the name of a month, such as 2026-11, of its number: twelve times the year, and the month from 0."""
    return f"{number // 12:04d}-{number % 12 + 1:02d}"


def month_before(now: datetime) -> str:
    """Return the name of the month before the one that a moment (UTC) lies in."""
    return month_name(now.year * 12 + now.month - 2)


def period_of(name: str, now: datetime) -> Period:
    """Return the month of a name such as 2026-11.

    Raises:
        ReportError: it is no month, or one that has not begun at `now` (UTC); no retry helps before it has.

    """
    found = _MONTH.fullmatch(name)
    if found is None or int(found[1]) < 2:  # noqa: PLR2004 - datetime knows no year 0, and a year is looked back
        message = "Expected is a month such as 2026-11."
        raise ReportError(message)
    year, month = int(found[1]), int(found[2])
    first = datetime(year, month, 1, tzinfo=UTC)
    if first > now:
        message = f"{name} has not begun yet: there is nothing to report before {first:%Y-%m-%d} 00:00 UTC."
        raise ReportError(message)
    end = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    return Period(name, first, end, min(now, end), now)


class Origin(StrEnum):
    """What a report was made of."""

    TABLE = "table"
    FILES = "files"


class UseKind(StrEnum):
    """What a row of the register is. The first two are use of root."""

    ROOT = "root"
    DELEGATED = "delegated"
    ATTEMPT = "attempt"
    OTHER = "other"

    @property
    def is_use(self) -> bool:
        """Return whether root was used, by itself or through AssumeRoot."""
        return self in {UseKind.ROOT, UseKind.DELEGATED}

    @property
    def words(self) -> str:
        """Return the kind as people read it."""
        return _KIND_WORDS[self]


_KIND_WORDS: Final = {
    UseKind.ROOT: "use of root",
    UseKind.DELEGATED: "delegated use (AssumeRoot)",
    UseKind.ATTEMPT: "attempt only",
    UseKind.OTHER: "act of others that concerns root",
}


class ExceptionKind(StrEnum):
    """What an auditor has to look at, in the order of the page."""

    CHAIN_BROKEN = "chain_broken"
    NOT_RECORDED = "not_recorded"
    UNREADABLE = "unreadable"
    LATE_FOR_REPORT = "late_for_report"
    DAMAGED = "damaged"
    EVENT_ID_REUSED = "event_id_reused"
    NOT_FROM_CLOUDTRAIL = "not_from_cloudtrail"
    WITHOUT_MFA = "without_mfa"
    UNDECLARED = "undeclared"
    OUTSIDE_DECLARED = "outside_declared"
    DECLARED_AFTERWARDS = "declared_afterwards"
    NEW_SOURCE = "new_source"
    AVOIDABLE = "avoidable"
    NOT_DELIVERED = "not_delivered"
    UNACKNOWLEDGED = "unacknowledged"
    NEVER_CLOSED = "never_closed"
    ROOT_KEY = "root_key"
    ROOT_WITHOUT_MFA = "root_without_mfa"
    DEAD_LETTERS = "dead_letters"
    MONITORING_GAP = "monitoring_gap"
    POSTURE_NOT_READ = "posture_not_read"


@dataclass(frozen=True, slots=True)
class Exceptional:
    """One kind of exception: how often it occurred, what that means, and where (`more` places are not listed)."""

    kind: ExceptionKind
    count: int
    title: str
    meaning: str
    places: tuple[str, ...]
    more: int = 0


@dataclass(frozen=True, slots=True)
class Declared:
    """What was declared for a use: who announced it, why, by which ticket, who approved."""

    person: str
    reason: str
    ticket: str
    approver: str
    declared_at: datetime
    from_at: datetime
    to_at: datetime
    afterwards: bool


@dataclass(frozen=True, slots=True)
class Review:
    """What people and channels did about an incident; None and empty for what is not recorded."""

    alerted_at: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""
    closed_at: datetime | None = None
    reviewer: str = ""
    verdict: str = ""
    reason: str = ""
    ticket: str = ""
    escalations: int = 0
    is_open: bool | None = None

    @property
    def is_suspicious(self) -> bool:
        """Return whether somebody called it suspicious, and nobody said later that it was expected after all."""
        verdicts = self.verdict.split(", ")
        return "suspicious" in verdicts and verdicts[-1] != "expected"


@dataclass(frozen=True, slots=True)
class Use:
    """One row of the register: the records of one incident in one account within the month.

    `outcomes` counts the records by outcome. `mfa` is "yes", "no" or "not stated", and "in part" where the records
    differ. `expected` counts them by how they stood to what was declared. `event_ids` are the first ones,
    `more_event_ids` how many follow.
    """

    account_id: str
    account_name: str
    kind: UseKind
    incident_id: str
    first_at: datetime
    last_at: datetime
    severity: str
    stage: str
    actors: tuple[str, ...]
    outcomes: Mapping[str, int]
    mfa: str
    sources: tuple[str, ...]
    new_sources: tuple[str, ...]
    clients: tuple[str, ...]
    regions: tuple[str, ...]
    records: int
    reads: int
    acts: tuple[str, ...]
    detections: tuple[str, ...]
    avoidable: Mapping[str, int]
    event_ids: tuple[str, ...]
    more_event_ids: int
    expected: Mapping[str, int]
    declared: tuple[Declared, ...]
    review: Review
    exceptions: tuple[ExceptionKind, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """The IAM policy of a role that could have done in an account what root did there without need."""

    account_id: str
    account_name: str
    acts: int
    actions: Mapping[str, int]
    document: str
    grants_more: bool


@dataclass(frozen=True, slots=True)
class ChainResult:
    """An account's chain: its records, its last value in the months up to the report's, and what is wrong with it."""

    records: int
    sequence: int
    chain: str
    faults: tuple[str, ...]
    more_faults: int = 0


@dataclass(frozen=True, slots=True)
class AccountStatement:
    """What is stated of one account, also where it was not used. `days` counts acts of root by day of the month."""

    account_id: str
    account_name: str
    statement: str
    uses: int
    attempts: int
    records: int
    service_acts: int
    others_acts: int
    days: Mapping[int, int]
    attempt_days: Mapping[int, int]
    worst: str
    records_sha256: str
    chain: ChainResult

    @property
    def has_chain(self) -> bool:
        """Return whether there is a chain to speak of: a record up to the month, or something wrong."""
        return bool(self.chain.sequence or self.chain.records or self.chain.faults)


@dataclass(frozen=True, slots=True)
class MonthFigures:
    """The figures of one month, over all accounts."""

    month: str
    uses: int = 0
    without_mfa: int = 0
    sign_ins: int = 0
    attempts: int = 0
    records: int = 0


@dataclass(frozen=True, slots=True)
class Span:
    """How long something took: how often it was measured, the median and the worst, in seconds."""

    name: str
    measured: int
    median: float | None
    worst: float | None


@dataclass(frozen=True, slots=True)
class Change:
    """A change to Rootwatch itself."""

    at: datetime
    account_id: str
    what: str
    who: str
    severity: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One failed or recovery attempt."""

    at: datetime | None
    account_id: str
    what: str
    outcome: str
    source: str
    event_id: str


@dataclass(frozen=True, slots=True)
class ChannelFigures:
    """What became of the deliveries on one channel."""

    channel: str
    sent: int
    at_once: int
    failed_tries: int
    not_sent: int
    unconfigured: int


@dataclass(frozen=True, slots=True)
class ProbeFigures:
    """How it stood with canaries, or with source heartbeats: one is expected for each hour that was watched.

    `received` counts those of the `sent` ones that came through; `missing` are the days that they do not prove, and
    `silent_hours` how many hours of each such day are to blame: those without one that follow each other, or all.
    """

    expected: int = 0
    sent: int = 0
    received: int = 0
    missing: tuple[int, ...] = ()
    silent_hours: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ForwarderFigures:
    """How it stood with the heartbeats of an account in a region: as `ProbeFigures`, by the hours for which one came.

    `since` is when the place was heard for the first time, where that is within the month: before it nothing watched.
    """

    account_id: str
    region: str
    expected: int
    received: int
    missing: tuple[int, ...]
    silent_hours: Mapping[int, int]
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Monitoring:
    """What proves that the watch worked. `proven` and `missing` are days of the month, in the hub's region.

    A day is proven by both canaries that came through and source heartbeats that came back; of a forwarded account or
    region, also by heartbeats of its own. No two hours of it in a row may be without one. `hubs` are the accounts that
    sent the former two, by their rule. `since` is the first sign of Rootwatch in the table, unless it is older than
    the month: no day that began before it is proven. `recorded` is false where nothing proves anything at all; then
    only `since` and `remark` mean something.
    """

    recorded: bool = False
    proven: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()
    canaries: ProbeFigures = field(default_factory=ProbeFigures)
    heartbeats: ProbeFigures = field(default_factory=ProbeFigures)
    hubs: tuple[str, ...] = ()
    forwarders: tuple[ForwarderFigures, ...] = ()
    since: datetime | None = None
    remark: str = ""

    @property
    def days(self) -> int:
        """Return how many days of the month are judged: all of them once it is over."""
        return len(self.proven) + len(self.missing)


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Dead letters of a queue in the month: `most` of them at a time, the first seen and the queue seen empty again.

    `gone_at` is None where they were there to the end.
    """

    queue: str
    what: str
    most: int
    first_at: datetime
    gone_at: datetime | None


@dataclass(frozen=True, slots=True)
class Operation:
    """How the control itself worked in the month."""

    monitoring: Monitoring
    channels: tuple[ChannelFigures, ...]
    alerts: int
    dead_letters: tuple[DeadLetters, ...]
    changes: tuple[Change, ...]
    more_changes: int
    lowered: int
    late: int
    of_earlier_months: int
    coverage: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CredentialUse:
    """A use of a credential of root that the credential report knows, and how it compares with what was recorded."""

    what: str
    at: datetime
    state: str


@dataclass(frozen=True, slots=True)
class Posture:
    """Root's credentials in one account, as IAM states them.

    None is what it does not state; of `unstated_keys` keys it does not say whether they are active.
    """

    account_id: str
    account_name: str
    mfa: bool | None
    password: bool | None
    active_keys: int
    unstated_keys: int
    uses: tuple[CredentialUse, ...]


@dataclass(frozen=True, slots=True)
class PostureNotRead:
    """Why the state of root's credentials in one account could not be read."""

    account_id: str
    account_name: str
    why: str


@dataclass(frozen=True, slots=True)
class Integrity:
    """What the figures can be checked by."""

    version: str
    records: int
    in_register: int
    service_acts: int
    outside_incidents: int
    undated: int
    register_rows: int
    register_sha256: str
    records_sha256: str
    older_rows: int
    chains: int
    broken_chains: int


@dataclass(frozen=True, slots=True)
class Report:
    """All that the report says of a month, but for the register's rows beyond the gravest, which are in its files."""

    period: Period
    origin: Origin
    verdict: str
    is_clean: bool
    exceptions: tuple[Exceptional, ...]
    statements: tuple[AccountStatement, ...]
    uses: tuple[Use, ...]
    more_uses: int
    use_count: int
    attempts: tuple[Attempt, ...]
    more_attempts: int
    attempt_count: int
    recovery_count: int
    timing: tuple[Span, ...]
    escalations: int
    acknowledge_within: int
    operation: Operation
    policies: tuple[Policy, ...]
    avoidable_acts: int
    suspicious_acts: int
    needed_root: Mapping[str, int]
    postures: tuple[Posture, ...]
    postures_not_read: tuple[PostureNotRead, ...]
    posture_remark: str
    months: tuple[MonthFigures, ...]
    mfa: Mapping[str, int]
    stages: Mapping[str, int]
    owners: Mapping[str, int]
    regions: tuple[str, ...]
    integrity: Integrity
    limits: tuple[str, ...] = ()


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: 1 use, 3 uses."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def listed(parts: Sequence[str], most: int = 8) -> str:
    """Return the first parts with commas, and how many more there are."""
    more = f" and {len(parts) - most} more" if len(parts) > most else ""
    return ", ".join(parts[:most]) + more
