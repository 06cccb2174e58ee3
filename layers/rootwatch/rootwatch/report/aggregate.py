"""The one pass over the audit table: account by account, month by month, each record read once and forgotten.

What is kept grows with accounts, incidents and kinds of action, and never with records; every set is capped. Whatever
an item holds, it is counted: a field that cannot be understood is as good as missing, and the chain says that it was
changed.
"""

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import count
from types import MappingProxyType
from typing import Final

from rootwatch import coverage
from rootwatch.alert import act_words, visible
from rootwatch.audit.items import SCHEMA_VERSION, record_of
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Item, Value
from rootwatch.context import role_alternative, root_tasks
from rootwatch.context.declared_use import DeclaredUse, ExpectationKind
from rootwatch.context.surroundings import ACCOUNT_NAME, Subject
from rootwatch.detections.catalogue import BY_ID
from rootwatch.detections.detection import Severity, Stage
from rootwatch.errors import DamagedItemError, UnreadableRecordError
from rootwatch.incident import FAILED_ACT
from rootwatch.record import ActorKind, Outcome, Record, read_document
from rootwatch.report.chain import ChainCheck
from rootwatch.report.model import (
    AccountStatement,
    Attempt,
    ChainResult,
    Change,
    Declared,
    ExceptionKind,
    MonthFigures,
    Origin,
    Period,
    Posture,
    Review,
    Use,
    UseKind,
    counted,
)
from rootwatch.report.posture import NOT_RECORDED, Postures, RootCredentials, compared
from rootwatch.report.review import IncidentReader

MOST_USES: Final = 100
"""Rows of the register that the page shows, the gravest; all of them are in the register's own files."""
MOST_ATTEMPTS: Final = 100
MOST_CHANGES: Final = 50
MOST_PLACES: Final = 10
"""Places that are named of one kind of exception."""
MOST_ENTRIES: Final = 20
"""Addresses, event ids and the like of one row of the register."""
MOST_NAMES: Final = 500
"""Event names of one row of the register, and owners of addresses of the month, that are counted each by itself."""
MOST_ADDRESSES: Final = 20_000
"""Addresses that an account's earlier months are remembered by; who used more has no new ones any more."""
OTHERS: Final = "(others)"

_ATTEMPTS: Final = frozenset({"root.console_login_failed", "root.login_spray", "root.password_recovery_requested"})
_RECOVERIES: Final = frozenset({"root.password_recovery_requested", "root.password_recovery_completed"})
_SIGN_INS: Final = frozenset({"root.console_login", "root.console_login_without_mfa", "root.cli_login"})
_COMPLETED: Final = "root.password_recovery_completed"
_ASSUMED: Final = frozenset({"root.assumed", "root.assumed_session_activity"})
_TAMPERED: Final = "root.rootwatch_tampered"
_STAGE_WORDS: Final = {stage: stage.words if stage else "no takeover stage" for stage in Stage}
_STAGES: Final = {detection.id: detection.stage for detection in BY_ID.values()}
_RANKS: Final = {str(severity): severity.rank for severity in Severity}
_FAILED: Final = frozenset({str(Outcome.FAILURE), str(Outcome.DENIED), str(Outcome.ERROR)})
_EXPECTED: Final = frozenset(map(str, ExpectationKind))
_LATE: Final = timedelta(minutes=15)
_KINDS: Final = (UseKind.OTHER, UseKind.ATTEMPT, UseKind.DELEGATED, UseKind.ROOT)
"""What a row of the register is, by the gravest of its records, the last first."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a report is made of.

    `also_accounts` are accounts that were watched and have no record; `unreadable` is how much of the input could not
    be read. `acknowledge_within` is the time after which an alert counts as unacknowledged. `read_postures` asks for
    the credentials of the accounts that turn out to be there; without it `postures` are those that there are.
    """

    store: AuditStore
    origin: Origin
    names: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    postures: Postures = field(default_factory=Postures)
    acknowledge_within: timedelta = timedelta(minutes=15)
    also_accounts: frozenset[str] = frozenset()
    unreadable: int = 0
    read_postures: Callable[[Sequence[str]], Postures] | None = None


@dataclass(slots=True)
class Place:
    """How often an exception occurred, and the first places where; `named` of them are these places."""

    count: int = 0
    named: int = 0
    places: list[str] = field(default_factory=list)

    def add(self, where: str, times: int = 1) -> None:
        """Count an exception."""
        self.count += times
        if len(self.places) < MOST_PLACES:
            self.places.append(where)
            self.named += times


@dataclass(slots=True)
class Totals:
    """What the pass counted of all accounts together."""

    statements: list[AccountStatement] = field(default_factory=list)
    gravest: list[tuple[tuple[int, int, int], int, Use]] = field(default_factory=list)
    kinds: Counter[UseKind] = field(default_factory=Counter)
    rows: int = 0
    records: int = 0
    in_register: int = 0
    service_acts: int = 0
    outside: int = 0
    undated: int = 0
    older: int = 0
    late: int = 0
    of_earlier_months: int = 0
    lowered: int = 0
    attempts: list[Attempt] = field(default_factory=list)
    attempt_count: int = 0
    recovery_count: int = 0
    changes: list[Change] = field(default_factory=list)
    change_count: int = 0
    mfa: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    owners: Counter[str] = field(default_factory=Counter)
    regions: set[str] = field(default_factory=set)
    avoidable: dict[str, Counter[str]] = field(default_factory=dict)
    suspicious_acts: int = 0
    """Acts without need of root in incidents that people called suspicious: for them no role is asked for."""
    needed_root: Counter[str] = field(default_factory=Counter)
    exceptions: dict[ExceptionKind, Place] = field(default_factory=dict)
    months: dict[str, Counter[str]] = field(default_factory=dict)
    first_received: datetime | None = None
    """When the first of all records arrived, of whatever month it is."""
    after_end: int = 0
    """Records of the month that arrived only after its report was due."""
    last_received: datetime | None = None
    """When the last of those arrived."""
    late_for_report: dict[str, tuple[int, datetime]] = field(default_factory=dict)
    """By earlier month, how many records of one account missed the report of it, and when the last of them arrived."""
    credentials: Postures = field(default_factory=Postures)
    postures: list[Posture] = field(default_factory=list)
    names: Mapping[str, str] = field(default_factory=dict)

    def receive(self, item: Item) -> datetime | None:
        """Take note of when a record arrived, and return it."""
        received = _moment(item, "received_at")
        if received is not None:
            self.first_received = min(received, self.first_received or received)
        return received

    def arrive(self, received: datetime | None, due: datetime) -> None:
        """Count a record of the month that arrived only after the report of it was due."""
        if received is not None and received >= due:
            self.after_end += 1
            self.last_received = max(received, self.last_received or received)

    def note(self, kind: ExceptionKind, where: str, times: int = 1) -> None:
        """Count an exception."""
        self.exceptions.setdefault(kind, Place()).add(where, times)

    def figures(self, month: str) -> MonthFigures:
        """Return the figures of one month."""
        return MonthFigures(month, **dict(self.months.get(month, {})))


def read_months(reading: Reading, period: Period, register: Callable[[Use], None], incidents: IncidentReader) -> Totals:
    """Read every account of the table once and count its month.

    Args:
        reading: what to read.
        period: the month.
        register: takes each row of the register, by account and time.
        incidents: reads what channels and people did about an incident.

    Raises:
        StoreUnavailableError: the table did not answer; a retry helps.

    """
    totals, serial = Totals(), count()
    one_pass = _Pass(reading, period, totals, incidents)
    known, heard = reading.store.accounts(), _heard(reading, period)
    accounts = sorted({*known, *heard, *reading.also_accounts})
    # Accounts that came later belong to no report of before: the same month is to say the same again.
    one_pass.later.update(account_id for account_id, months in known.items() if _is_later(months, period))
    one_pass.later.difference_update(heard, reading.also_accounts)
    asked = [account_id for account_id in accounts if account_id not in one_pass.later]
    totals.credentials = reading.read_postures(asked) if reading.read_postures else reading.postures
    accounts = sorted({*accounts, *totals.credentials.by_account})
    if reading.origin is Origin.TABLE:
        one_pass.made.update(_made(reading.store, period, totals))
        one_pass.unseen.update(reading.store.incidents_of(period.name))
    totals.names = _names(reading, accounts)
    for account_id in accounts:
        for use in one_pass.read_account(account_id, known.get(account_id, [])):
            register(use)
            totals.rows += 1
            totals.kinds[use.kind] += 1
            grave = (use.kind.is_use, _RANKS.get(use.severity, 0), len(use.exceptions))
            entry = (grave, -next(serial), use)
            if len(totals.gravest) < MOST_USES:
                heapq.heappush(totals.gravest, entry)
            else:
                heapq.heappushpop(totals.gravest, entry)
    _note_unseen(reading.store, one_pass.unseen, totals)
    return totals


@dataclass(frozen=True, slots=True)
class _Pass:
    """The pass over one account after the other."""

    reading: Reading
    period: Period
    totals: Totals
    incidents: IncidentReader
    later: set[str] = field(default_factory=set)
    made: dict[str, datetime] = field(default_factory=dict)
    """When the reports of earlier months were made."""
    unseen: set[str] = field(default_factory=set)
    """Incidents of the month of which no record has gone by."""

    def read_account(self, account_id: str, months: Sequence[str]) -> list[Use]:
        """Read all months of one account; count them in the totals and return its rows of the register."""
        store, period, totals = self.reading.store, self.period, self.totals
        name = totals.names.get(account_id, "")
        head, head_fault = _head(store, account_id)
        check = ChainCheck(*head)
        if head_fault:
            check.fault(head_fault)
        current = _Month(account_id, period, totals)
        credentials = totals.credentials.by_account.get(account_id)
        self._read_months(account_id, months, check, current, credentials)
        for month, (records, last) in sorted(totals.late_for_report.items()):
            where = (
                f"account {account_id}, {month}: {counted(records, 'record')}, the last at {last:%Y-%m-%d %H:%M} UTC"
            )
            totals.note(ExceptionKind.LATE_FOR_REPORT, where, records)
        totals.late_for_report.clear()
        for sk, found_at in store.damaged_items(account_id):
            if found_at is None or found_at in period:
                totals.note(ExceptionKind.DAMAGED, f"account {account_id}: {visible(sk, 80)}")
        chain = check.result(_head(store, account_id)[0][0])
        if chain.faults:
            words = f"account {account_id}: {visible(chain.faults[0], 200)}"
            totals.note(ExceptionKind.CHAIN_BROKEN, words, len(chain.faults) + chain.more_faults)
        uses = current.uses(name, _declarations(store, account_id), self.incidents, self.reading)
        totals.months.setdefault(period.name, Counter()).update(current.figures(uses))
        if credentials is not None:
            _compare(credentials, period, name, totals)
        # Where something is missing in its chain, records of before may have been removed.
        if account_id not in self.later or chain.faults or credentials is not None:
            totals.statements.append(current.statement(name, uses, chain))
        return uses

    def _read_months(
        self,
        account_id: str,
        months: Sequence[str],
        check: ChainCheck,
        current: "_Month",
        credentials: RootCredentials | None,
    ) -> None:
        period = self.period
        before = {month: _EarlierMonth() for month in period.before()}
        compares = credentials is not None and bool(credentials.uses)
        # Those without a time come last: they may have arrived in any month.
        for month in sorted(months, key=lambda each: (each == "undated", each)):
            is_undated, earlier = month == "undated", before.get(month)
            is_before = month < period.name and not is_undated
            for item in self.reading.store.event_items(account_id, month):
                received = self.totals.receive(item)
                self.unseen.discard(_text(item, "incident_id"))
                check.add(_text(item, "sk"), item, counts=is_undated or month <= period.name)
                if compares and credentials is not None:
                    _note_credential(credentials, item)
                if month == period.name or (is_undated and received in period):
                    current.add(item, received)
                elif earlier is not None:
                    earlier.add(item)
                if is_before:
                    current.remember(item, received, month, self.made.get(month))
        for month, figures in before.items():
            self.totals.months.setdefault(month, Counter()).update(figures.figures())


def _made(store: AuditStore, period: Period, totals: Totals) -> Iterator[tuple[str, datetime]]:
    """Yield the months before that were reported, and when."""
    months = period.before()
    for month, kept in zip(months, store.kept_reports(months), strict=True):
        if isinstance(kept, DamagedItemError):
            totals.note(ExceptionKind.DAMAGED, f"what became of the report of {month}")
        elif kept is not None:
            yield month, kept.kept_at


def _note_unseen(store: AuditStore, incident_ids: set[str], totals: Totals) -> None:
    """Note incidents without a record: whoever removes an account's records and its head leaves no chain to break."""
    for incident_id, incident in store.incidents(sorted(incident_ids)):
        of_account = "" if isinstance(incident, DamagedItemError) else f"account {visible(incident.account_id, 40)}, "
        totals.note(ExceptionKind.DAMAGED, f"{of_account}incident {visible(incident_id, 64)}: all its records are gone")


def _is_later(months: Sequence[str], period: Period) -> bool:
    """Return whether all that is recorded of an account is of later months."""
    return bool(months) and all(month != "undated" and month > period.name for month in months)


def _heard(reading: Reading, period: Period) -> set[str]:
    """Return the accounts that were heard by the end of the month: most of them have no record of root at all."""
    places = reading.store.places() if reading.origin is Origin.TABLE else iter(())
    return {
        place.account_id
        for place in places
        if isinstance(place, coverage.Place)
        and place.first_at < period.end
        and (place.retired_at is None or place.retired_at >= period.first)
    }


def _names(reading: Reading, accounts: Sequence[str]) -> dict[str, str]:
    """Return what accounts are called: as Organizations was heard to say, else as stated."""
    remembered = reading.store.recall([Subject(ACCOUNT_NAME, account_id) for account_id in accounts])
    heard = {subject.name: each.fields["name"] for subject, each in remembered.items() if each.fields.get("name")}
    return {**reading.names, **heard}


def _head(store: AuditStore, account_id: str) -> tuple[tuple[int, str], str]:
    try:
        return store.account_head(account_id), ""
    except DamagedItemError as error:
        return (0, ""), str(error)


def _declarations(store: AuditStore, account_id: str) -> dict[str, DeclaredUse]:
    return {declared.id: declared for declared in store.every_declared_use(account_id).uses}


def _note_credential(credentials: RootCredentials, item: Item) -> None:
    at = _moment(item, "event_time")
    if at is None or item.get("outcome") == str(Outcome.FAILURE):
        return
    if item.get("actor") == str(ActorKind.ROOT_ACCESS_KEY):
        credentials.note(at, by_key=True)
    elif _SIGN_INS & set(_texts(item, "detections")):
        credentials.note(at, by_key=False)


def _compare(credentials: RootCredentials, period: Period, name: str, totals: Totals) -> None:
    posture = compared(credentials, period, name)
    totals.postures.append(posture)
    where = f"account {credentials.account_id}"
    for use in posture.uses:
        if use.state == NOT_RECORDED:
            words = f"{where}: {use.what}, {use.at:%Y-%m-%d %H:%M:%S} UTC"
            totals.note(ExceptionKind.NOT_RECORDED, words)
    if posture.active_keys:
        totals.note(
            ExceptionKind.ROOT_KEY, f"{where}: {counted(posture.active_keys, 'active key')}", posture.active_keys
        )
    if posture.mfa is False and posture.password is not False:
        totals.note(ExceptionKind.ROOT_WITHOUT_MFA, where)
    if credentials.unstated:
        totals.note(ExceptionKind.POSTURE_NOT_READ, f"{where}: IAM does not state {' or '.join(credentials.unstated)}")


# --- one record ----------------------------------------------------------------------------------------------------


def _text(item: Mapping[str, Value], name: str) -> str:
    value = item.get(name)
    return value if isinstance(value, str) else ""


def _texts(item: Mapping[str, Value], name: str) -> list[str]:
    value = item.get(name)
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


@lru_cache(maxsize=4096)
def _shown(text: str, longest: int) -> str:
    """Clean a text as `visible` does; most of a month's texts are the same few."""
    return visible(text, longest)


def _moment(item: Mapping[str, Value], name: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(_text(item, name))
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo is not None else None


def _kind(item: Mapping[str, Value], detections: list[str]) -> UseKind:
    """Return what a record is: root's own use, use through AssumeRoot, an attempt, or an act of others."""
    if not _ATTEMPTS.isdisjoint(detections):
        return UseKind.ATTEMPT
    if item.get("actor") == str(ActorKind.ASSUMED_ROOT) or not _ASSUMED.isdisjoint(detections):
        return UseKind.DELEGATED
    if item.get("by_root") is True or _COMPLETED in detections:
        return UseKind.ROOT
    return UseKind.OTHER


def _is_service(item: Mapping[str, Value]) -> bool:
    return item.get("actor") == str(ActorKind.AWS_SERVICE)


def _record(item: Mapping[str, Value]) -> Record | None:
    """Return a row's record as CloudTrail stated it; None where the row was changed, which the chain tells."""
    try:
        return read_document(record_of(item))
    except (DamagedItemError, UnreadableRecordError):
        return None


def _stage(detections: list[str]) -> Stage:
    return max((_STAGES[each] for each in detections if each in _STAGES), default=Stage.NONE)


def _mfa(used: Value) -> str:
    return "yes" if used is True else "no" if used is False else "not stated"


# --- a month before ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _EarlierMonth:
    """What an earlier month is compared by."""

    counts: Counter[str] = field(default_factory=Counter)
    used: dict[str, bool] = field(default_factory=dict)
    """Each use's incident, and whether it was without MFA."""

    def add(self, item: Item) -> None:
        """Count one record."""
        detections = _texts(item, "detections")
        kind = _kind(item, detections)
        self.counts["records"] += 1
        if _is_service(item):
            return
        if kind is UseKind.ATTEMPT:
            self.counts["attempts"] += 1
        elif kind.is_use and (incident_id := _text(item, "incident_id")):
            self.used[incident_id] = self.used.get(incident_id, False) or item.get("mfa_used") is False
            if item.get("outcome") == str(Outcome.SUCCESS) and not _SIGN_INS.isdisjoint(detections):
                self.counts["sign_ins"] += 1

    def figures(self) -> dict[str, int]:
        """Return the month's figures."""
        return {**self.counts, "uses": len(self.used), "without_mfa": sum(self.used.values())}


# --- the month itself ----------------------------------------------------------------------------------------------


def _insert(known: dict[str, None], entry: str) -> None:
    """Add an entry to an ordered set that is capped."""
    if entry and entry not in known and len(known) < MOST_ENTRIES:
        known[entry] = None


@dataclass(slots=True)
class _UseCount:
    """What was counted of one incident's records in one account."""

    kind: UseKind
    first_at: datetime
    last_at: datetime
    severity: str = "info"
    stage: Stage = Stage.NONE
    records: int = 0
    reads: int = 0
    actors: dict[str, None] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    mfa: set[str] = field(default_factory=set)
    sources: dict[str, str] = field(default_factory=dict)
    """Addresses, with owner and country as far as they are known."""
    new_sources: dict[str, None] = field(default_factory=dict)
    clients: dict[str, None] = field(default_factory=dict)
    regions: dict[str, None] = field(default_factory=dict)
    acts: Counter[str] = field(default_factory=Counter)
    detections: dict[str, None] = field(default_factory=dict)
    avoidable: Counter[str] = field(default_factory=Counter)
    event_ids: dict[str, None] = field(default_factory=dict)
    expected: Counter[str] = field(default_factory=Counter)
    declared: dict[str, None] = field(default_factory=dict)

    def reach(self, at: datetime) -> None:
        """Let it last from its first record to its last."""
        if at > self.last_at:
            self.last_at = at
        elif at < self.first_at:
            self.first_at = at


class _Month:
    """The report's month of one account."""

    def __init__(self, account_id: str, period: Period, totals: Totals) -> None:
        self._account_id = account_id
        self._period = period
        self._totals = totals
        self._known: set[str] = set()
        self._owners: dict[str, str] = {}
        self._uses: dict[str, _UseCount] = {}
        self._days: Counter[int] = Counter()
        self._attempt_days: Counter[int] = Counter()
        self._digest = hashlib.sha256()
        self._counts: Counter[str] = Counter()
        self._worst = "info"

    def remember(self, item: Item, received: datetime | None, month: str, made_at: datetime | None) -> None:
        """Take note of a record of an earlier month, whose report was made at a time, if it was.

        Its address is not new, and it may have arrived only now.
        """
        if item.get("by_root") is True and item.get("outcome") == str(Outcome.SUCCESS):
            self._know(_text(item, "source_ip"))
        if received is not None and received >= self._period.first and received in self._period:
            self._totals.of_earlier_months += 1
            if made_at is not None and received > made_at:
                records, last = self._totals.late_for_report.get(month, (0, received))
                self._totals.late_for_report[month] = records + 1, max(last, received)

    def _know(self, address: str) -> bool:
        """Remember an address; return whether it is new."""
        if not address or address in self._known or len(self._known) >= MOST_ADDRESSES:
            return False
        self._known.add(address)
        return True

    def add(self, item: Item, received: datetime | None) -> None:
        """Count one record of the month."""
        totals, detections = self._totals, _texts(item, "detections")
        stated = _moment(item, "event_time")
        at = stated or received or self._period.first
        kind = _kind(item, detections)
        self._digest.update(_text(item, "sha256").encode())
        self._counts["records"] += 1
        totals.records += 1
        totals.undated += stated is None
        totals.arrive(received, self._period.end + _LATE)
        version = item.get("schema_version")
        totals.older += not isinstance(version, int) or version < SCHEMA_VERSION
        if region := _text(item, "region"):
            self._region(_shown(region, 40))
        if item.get("event_id_reused") is True:
            totals.note(ExceptionKind.EVENT_ID_REUSED, self._where(item))
        if item.get("from_cloudtrail") is False:
            totals.note(ExceptionKind.NOT_FROM_CLOUDTRAIL, self._where(item))
        sent = _moment(item, "sent_at")
        totals.late += sent is not None and stated is not None and sent - stated > _LATE
        if _TAMPERED in detections:
            self._changed(item, at)
        if _is_service(item):
            self._counts["service_acts"] += 1
            totals.service_acts += 1
            if not _text(item, "incident_id"):
                return
        around = self._around(item)
        self._count_act(item, at, kind, detections, around)
        incident_id = _text(item, "incident_id")
        if not incident_id:
            self._counts["outside"] += 1
            totals.outside += 1
            return
        totals.in_register += 1
        use = self._uses.get(incident_id)
        if use is None:
            use = self._uses[incident_id] = _UseCount(kind, at, at)
        if kind is not UseKind.OTHER:
            self._count_source(use, item, kind, around)
        self._count_use(use, item, at, kind, detections)

    def _where(self, item: Item) -> str:
        return f"account {self._account_id}, event {_shown(_text(item, 'event_id') or 'without an event id', 64)}"

    def _region(self, region: str) -> None:
        if len(self._totals.regions) < MOST_NAMES:
            self._totals.regions.add(region)

    def _count_act(self, item: Item, at: datetime, kind: UseKind, detections: list[str], around: str) -> None:
        totals, day = self._totals, at.day
        stage = _stage(detections)
        totals.stages[_STAGE_WORDS[stage]] += 1
        if kind is UseKind.OTHER:
            self._counts["others_acts"] += 1
            return
        if kind is UseKind.ATTEMPT or not _RECOVERIES.isdisjoint(detections):
            self._attempted(item, at, detections)
        if kind is UseKind.ATTEMPT:
            self._counts["attempts"] += 1
            self._attempt_days[day] += 1
            return
        self._days[day] += 1
        if item.get("outcome") == str(Outcome.SUCCESS) and not _SIGN_INS.isdisjoint(detections):
            totals.mfa[_mfa(item.get("mfa_used"))] += 1
            self._counts["sign_ins"] += 1
        name = around or _kind_of_source(item)
        totals.owners[name if name in totals.owners or len(totals.owners) < MOST_NAMES else OTHERS] += 1

    def _attempted(self, item: Item, at: datetime, detections: list[str]) -> None:
        totals = self._totals
        is_recovery = not _RECOVERIES.isdisjoint(detections)
        totals.recovery_count += is_recovery
        totals.attempt_count += not is_recovery
        if len(totals.attempts) < MOST_ATTEMPTS:
            what = _shown(BY_ID[detections[0]].title if detections[0] in BY_ID else detections[0], 80)
            totals.attempts.append(
                Attempt(
                    at,
                    self._account_id,
                    what,
                    _shown(_text(item, "outcome") or "not stated", 20),
                    _shown(_text(item, "source_ip") or "not stated", 48),
                    _shown(_text(item, "event_id") or "not stated", 64),
                )
            )

    def _changed(self, item: Item, at: datetime) -> None:
        totals = self._totals
        totals.change_count += 1
        if len(totals.changes) >= MOST_CHANGES:
            return
        record = _record(item)
        who = record.actor.arn or record.actor.principal_id if record is not None else None
        target = f" on {_shown(record.target, 80)}" if record is not None and record.target else ""
        what = f"{_shown(_text(item, 'event_name') or 'not stated', 64)}{target}"
        severity = _shown(_text(item, "severity"), 16)
        totals.changes.append(Change(at, self._account_id, what, _shown(who or "not stated", 120), severity))

    def _count_use(self, use: _UseCount, item: Item, at: datetime, kind: UseKind, detections: list[str]) -> None:
        outcome = _shown(_text(item, "outcome") or "unknown", 20)
        if kind is not use.kind:
            use.kind = max(use.kind, kind, key=_KINDS.index)
        use.reach(at)
        severity = _text(item, "severity")
        if _RANKS.get(severity, 0) > _RANKS.get(use.severity, 0):
            use.severity = severity
        if _RANKS.get(severity, 0) > _RANKS[self._worst]:
            self._worst = severity
        use.stage = max(use.stage, _stage(detections))
        use.records += 1
        use.outcomes[outcome if outcome in use.outcomes or len(use.outcomes) < MOST_ENTRIES else OTHERS] += 1
        for detection in filter(BY_ID.__contains__, detections):
            _insert(use.detections, detection)
        if len(use.event_ids) < MOST_ENTRIES:
            _insert(use.event_ids, _shown(_text(item, "event_id") or "without an event id", 64))
        _insert(use.regions, _shown(_text(item, "region"), 40))
        if kind.is_use:
            self._count_expected(use, item)
        if item.get("read_only") is True:
            use.reads += 1
        else:
            name = _shown(_text(item, "event_name") or "(no event name)", 60)
            name = f"{FAILED_ACT}{name}" if outcome in _FAILED else name
            use.acts[name if name in use.acts or len(use.acts) < MOST_NAMES else OTHERS] += 1
        if kind is UseKind.ROOT and outcome == str(Outcome.SUCCESS) and _SIGN_INS.isdisjoint(detections):
            self._count_need(use, item)

    def _count_expected(self, use: _UseCount, item: Item) -> None:
        use.mfa.add(_mfa(item.get("mfa_used")))
        stated = _text(item, "expected")
        expected = stated if stated in _EXPECTED else str(ExpectationKind.NONE)
        use.expected[expected] += 1
        if expected != str(ExpectationKind.NONE):
            _insert(use.declared, _text(item, "declared_use"))
        self._totals.lowered += expected == str(ExpectationKind.MATCHED)

    def _count_source(self, use: _UseCount, item: Item, kind: UseKind, around: str) -> None:
        _insert(use.actors, _shown(_text(item, "actor"), 30).replace("_", " "))
        _insert(use.clients, _shown(_text(item, "client_kind"), 30).replace("_", " "))
        address = _text(item, "source_ip")
        words = _shown(address, 48) or _kind_of_source(item)
        if words in use.sources or len(use.sources) < MOST_ENTRIES:
            use.sources[words] = around or use.sources.get(words, "")
        if kind.is_use and item.get("outcome") == str(Outcome.SUCCESS) and self._know(address):
            _insert(use.new_sources, _shown(address, 48))

    def _around(self, item: Item) -> str:
        """Return owner and country of a record's address; what one alert found out holds for the month."""
        address = _text(item, "source_ip")
        owner, country = _shown(_text(item, "source_owner"), 60), _shown(_text(item, "source_country"), 20)
        if owner or country:
            words = f"{owner} ({country})" if owner and country else owner or country
            if address and len(self._owners) < MOST_NAMES:
                self._owners[address] = words
            return words
        return self._owners.get(address, "")

    def _count_need(self, use: _UseCount, item: Item) -> None:
        """Count what root did although a role could have, and what needed root."""
        if "role_alternative" in item:
            action, need = _text(item, "role_alternative") or None, _text(item, "root_need") or None
        else:  # a row of an older version
            record = _record(item)
            action = role_alternative.for_record(record) if record is not None else None
            found = root_tasks.need(record) if record is not None else None
            need = found.sentence if found is not None else None
        if need is not None:
            self._totals.needed_root[_shown(need, 200)] += 1
        elif action is not None:
            use.avoidable[_shown(action, 160)] += 1

    # --- at the end ------------------------------------------------------------------------------------------------

    def uses(
        self, name: str, declared: Mapping[str, DeclaredUse], incidents: IncidentReader, reading: Reading
    ) -> list[Use]:
        """Return the account's rows of the register by time, with what people and channels did about each."""
        in_order = sorted(self._uses.items(), key=lambda entry: (entry[1].first_at, entry[0]))
        return [self._use(name, incident_id, each, declared, incidents, reading) for incident_id, each in in_order]

    def _use(  # noqa: PLR0913, PLR0917 - what a row is made of
        self,
        name: str,
        incident_id: str,
        use: _UseCount,
        declared: Mapping[str, DeclaredUse],
        incidents: IncidentReader,
        reading: Reading,
    ) -> Use:
        review = incidents.read(incident_id, self._account_id)
        found = [_declared(declared[each], use.first_at) for each in use.declared if each in declared]
        row_id = visible(incident_id, 64)
        where = f"account {self._account_id}, incident {row_id}, {use.first_at:%Y-%m-%d %H:%M} UTC"
        kinds = list(_exceptions_of(use, found, review, self._period, reading))
        for kind in kinds:
            self._totals.note(kind, where)
        if review.is_suspicious:
            self._totals.suspicious_acts += use.avoidable.total()
        elif use.avoidable:
            self._totals.avoidable.setdefault(self._account_id, Counter()).update(use.avoidable)
        return Use(
            account_id=self._account_id,
            account_name=visible(name, 60),
            kind=use.kind,
            incident_id=row_id,
            first_at=use.first_at,
            last_at=use.last_at,
            severity=use.severity if use.severity in _RANKS else "info",
            stage=use.stage.words,
            actors=tuple(use.actors),
            outcomes=dict(sorted(use.outcomes.items())),
            mfa=_mfa_of(use.mfa),
            sources=tuple(f"{address}, {around}" if around else address for address, around in use.sources.items()),
            new_sources=tuple(use.new_sources),
            clients=tuple(use.clients),
            regions=tuple(use.regions),
            records=use.records,
            reads=use.reads,
            acts=tuple(act_words(act, times) for act, times in sorted(use.acts.items(), key=lambda e: (-e[1], e[0]))),
            detections=tuple(use.detections),
            avoidable=dict(sorted(use.avoidable.items())),
            event_ids=tuple(use.event_ids),
            more_event_ids=use.records - len(use.event_ids),
            expected=dict(sorted(use.expected.items())),
            declared=tuple(found),
            review=review,
            exceptions=tuple(kinds),
        )

    def figures(self, uses: Sequence[Use]) -> dict[str, int]:
        """Return the month's figures, counted as those of the months before."""
        real = [use for use in uses if use.kind.is_use]
        return {
            "uses": len(real),
            "without_mfa": sum(ExceptionKind.WITHOUT_MFA in use.exceptions for use in real),
            "sign_ins": self._counts["sign_ins"],
            "attempts": self._counts["attempts"],
            "records": self._counts["records"],
        }

    def statement(self, name: str, uses: Sequence[Use], chain: ChainResult) -> AccountStatement:
        """Return what is stated of the account; `chain` is what checking its chain found."""
        return AccountStatement(
            account_id=visible(self._account_id, 40),
            account_name=visible(name, 60),
            statement="",
            uses=sum(use.kind.is_use for use in uses),
            attempts=self._counts["attempts"],
            records=self._counts["records"],
            service_acts=self._counts["service_acts"],
            others_acts=self._counts["others_acts"],
            days=dict(sorted(self._days.items())),
            attempt_days=dict(sorted(self._attempt_days.items())),
            worst=self._worst,
            records_sha256=self._digest.hexdigest(),
            chain=chain,
        )


def _kind_of_source(item: Mapping[str, Value]) -> str:
    kind = _text(item, "source_kind")
    return "owner not looked up" if kind == "public" else _shown(kind.replace("_", " ") or "not stated", 30)


def _mfa_of(stated: set[str]) -> str:
    if not stated:
        return "not stated"
    if "no" in stated:
        return "no" if stated == {"no"} else "no, in part"
    return "yes" if stated == {"yes"} else "not stated" if stated == {"not stated"} else "yes, in part not stated"


def _declared(declared: DeclaredUse, at: datetime) -> Declared:
    return Declared(
        person=visible(declared.declared_by, 160),
        reason=visible(declared.reason, 200),
        ticket=visible(declared.ticket, 64),
        approver=visible(declared.approver, 80),
        declared_at=declared.declared_at,
        from_at=declared.from_at,
        to_at=declared.until,
        afterwards=declared.declared_at > at,
    )


def _exceptions_of(
    use: _UseCount, declared: Sequence[Declared], review: Review, period: Period, reading: Reading
) -> Iterator[ExceptionKind]:
    """Yield what an auditor has to look at in a row of the register, in the order of the page."""
    expected = use.expected
    against = expected[str(ExpectationKind.MISMATCHED)] or expected[str(ExpectationKind.OVERRUN)]
    of_use: list[tuple[ExceptionKind, object]] = [
        (ExceptionKind.WITHOUT_MFA, "no" in use.mfa),
        (ExceptionKind.UNDECLARED, expected[str(ExpectationKind.NONE)]),
        (ExceptionKind.OUTSIDE_DECLARED, against),
        (ExceptionKind.DECLARED_AFTERWARDS, any(each.afterwards for each in declared)),
        (ExceptionKind.NEW_SOURCE, use.new_sources),
        (ExceptionKind.AVOIDABLE, use.avoidable),
    ]
    if use.kind.is_use:
        yield from (kind for kind, holds in of_use if holds)
    if reading.origin is Origin.FILES or review.alerted_at is None:
        return
    # An alert of the month's last minutes, or of a record that came after it, waits for an answer beyond its end.
    if (review.acknowledged_at or period.asked_at) - review.alerted_at > reading.acknowledge_within:
        yield ExceptionKind.UNACKNOWLEDGED
    if review.is_open:
        yield ExceptionKind.NEVER_CLOSED
