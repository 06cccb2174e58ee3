"""The audit store on a table: read an account, write one transaction, keep the deliveries' ledger, verify the chain."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import takewhile
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar

from rootwatch.alert import Alert
from rootwatch.audit.items import (
    COVERAGE,
    DAMAGED_PREFIX,
    STEP_PREFIX,
    USED_PREFIX,
    Delivery,
    Head,
    HeardHours,
    KeptReport,
    Proof,
    ProofState,
    SeenLetters,
    SeenRequests,
    Step,
    Thread,
    WatchState,
    address_item,
    address_key,
    address_of,
    alert_item,
    alert_key,
    alert_of,
    cache_item,
    cache_key,
    cache_of,
    damage_of,
    damaged_item,
    declared_end_item,
    declared_item,
    declared_of,
    delivery_item,
    delivery_of,
    event_item,
    event_key,
    event_month,
    event_partition,
    event_prefix,
    head_item,
    head_key,
    head_of,
    heard_item,
    heard_key,
    heard_of,
    heard_partition,
    incident_item,
    incident_key,
    incident_of,
    issued_key_item,
    issued_key_key,
    issued_key_of,
    kept_report_item,
    kept_report_key,
    kept_report_of,
    moment_text,
    paired_declarations,
    place_item,
    place_key,
    place_of,
    probe_item,
    probe_key,
    probe_of,
    proof_item,
    proof_of,
    proof_state_item,
    proof_state_key,
    proof_state_of,
    request_key,
    seen_item,
    seen_letters_item,
    seen_letters_key,
    seen_letters_of,
    seen_letters_prefix,
    seen_of,
    source_item,
    source_key,
    source_of,
    step_item,
    step_of,
    stored_record,
    thread_item,
    thread_key,
    thread_of,
    undelivered_partition,
    use_item,
    use_key,
    use_of,
    watch_item,
    watch_key,
    watch_of,
)
from rootwatch.audit.table import (
    ACCOUNT_INCIDENTS,
    INCIDENTS,
    OPEN_INCIDENTS,
    UNANSWERED,
    UNDELIVERED,
    IndexEntry,
    Item,
    Key,
    Put,
    Table,
    key_of,
)
from rootwatch.context.declared_use import LONGEST_PERIOD, OVERRUN_WITHIN, DeclaredUse
from rootwatch.context.observation import IssuedKey, Observation
from rootwatch.context.source import SourceKind
from rootwatch.context.surroundings import Remembered, Subject
from rootwatch.coverage import Place
from rootwatch.errors import DamagedItemError, StoreConflictError
from rootwatch.incident import (
    FAILED_SIGN_INS,
    GENESIS,
    AccountState,
    Damage,
    Incident,
    KeyUse,
    RecordedEvent,
    is_issued_key,
    issued_key,
    next_chain,
)
from rootwatch.probe import Probe, ProbeKind

if TYPE_CHECKING:
    from rootwatch.audit.steps import StepsReport


class Known(StrEnum):
    """What the table knows of a record."""

    NEW = "new"
    DUPLICATE = "duplicate"
    REUSED = "reused"


@dataclass(frozen=True, slots=True)
class Changes:
    """All that one batch writes, in one transaction.

    `accounts` has each account's state before and after: the records' own, and those whose AssumeRoot sessions they
    are. `issued` are access keys that AssumeRoot issued, `steps` what somebody did in triage.
    """

    accounts: Sequence[tuple[AccountState, AccountState]]
    events: Sequence[RecordedEvent]
    incidents: Sequence[Incident]
    alerts: Sequence[Alert]
    issued: Mapping[str, IssuedKey] = field(default_factory=dict)
    steps: Sequence[Step] = ()


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What verifying an account's chain found: `faults` in words, empty where everything is as it was written.

    `incident_ids` are the incidents that its records say they belong to.
    """

    account_id: str
    events: int
    sequence: int
    chain: str
    faults: tuple[str, ...]
    incident_ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class DeclaredUses:
    """Declared uses of one account, by their beginning; `damaged` has the sort keys of those that were altered."""

    uses: tuple[DeclaredUse, ...]
    damaged: tuple[str, ...]


class AuditStore:
    """The audit table in our own words. Errors are those of `Table`, and `DamagedItemError` for an altered item."""

    def __init__(self, table: Table) -> None:
        """Keep the table, in memory or in DynamoDB."""
        self._table = table

    # --- detect ----------------------------------------------------------------------------------------------------

    def read_account(self, account_id: str, observations: Sequence[Observation], now: datetime) -> AccountState:
        """Return the account's state as the batch needs it: head first, then incidents, addresses and keys.

        What is read after the head may be newer than it; then the version condition fails and the batch is read again.
        An item that cannot be understood, or is gone, is listed in `damages`, and the account goes on without it.

        Args:
            account_id: whose state.
            observations: the batch, or nothing for timers.
            now: the clock, UTC: where to look for events if the head is damaged.

        """
        return self._read_account(account_id, observations, now)

    def read_account_of(self, incident: Incident, now: datetime) -> AccountState:
        """Return the state of an incident's account, with this incident among the open ones or the `closed` ones."""
        return self._read_account(incident.account_id, (), now, besides=(incident.id,))

    def _read_account(
        self, account_id: str, observations: Sequence[Observation], now: datetime, besides: Sequence[str] = ()
    ) -> AccountState:
        keys = sorted({key for each in observations if (key := _access_key(each)) is not None})
        (head_found, *issued_found) = self._table.get([head_key(account_id), *map(issued_key_key, keys)])
        damages: list[Damage] = []
        head, head_is_readable = self._head(account_id, head_found, observations, now, damages)
        times = [each.time for each in observations]
        closed_ids = [
            closed.id
            for closed in head.closed_incidents
            if any(closed.opened_at - LOOK_BACK <= time <= closed.last_at + LOOK_BACK for time in times)
        ]
        closed_ids += [each for each in besides if each not in {*head.open_incidents, *closed_ids}]
        addresses = sorted({each.source.key for each in observations if each.source.kind in _ADDRESS_KINDS})
        shared = [*addresses, FAILED_SIGN_INS] if observations else []
        incident_ids = [*head.open_incidents, *closed_ids]
        wanted = [
            *map(incident_key, incident_ids),
            *(source_key(account_id, address) for address in addresses),
            *map(address_key, shared),
            *(use_key(key, account_id) for key in keys),
        ]
        found = iter(zip(wanted, self._table.get(wanted), strict=True))

        def read(what: str, count: Sequence[str], reader: Callable[[Item], _T]) -> dict[str, _T]:
            readable: dict[str, _T] = {}
            for name, (key, item) in zip(count, found, strict=False):
                if item is None:
                    if reader is incident_of:
                        damages.append(damage_of(what, key, item))
                    continue
                try:
                    readable[name] = reader(item)
                except DamagedItemError:
                    damages.append(damage_of(what, key, item))
            return readable

        incidents = read("an incident", incident_ids, incident_of)
        sources = read("a source", addresses, source_of)
        seen = read("an address", shared, address_of)
        uses: dict[str, tuple[KeyUse, ...]] = {
            key: (use,) for key, use in read("the use of a key", keys, use_of).items()
        }
        found = iter(zip(map(issued_key_key, keys), issued_found, strict=True))
        issued = read("a key issued by AssumeRoot", keys, issued_key_of)
        for observation in observations:
            if (key_issued := issued_key(observation)) is not None:
                uses[key_issued[0]] = tuple(self._uses(key_issued[0], damages))
        declared = self.declared_uses(account_id, *times) if times else DeclaredUses((), ())
        pk = head_key(account_id).pk
        damages += [Damage("a declared use", pk, sk, _SEE_ITEM) for sk in declared.damaged[:MOST_DECLARED_DAMAGED]]
        if rest := declared.damaged[MOST_DECLARED_DAMAGED:]:
            # Known again by all of their names: one more of them is other damage.
            names = hashlib.sha256(" ".join(rest).encode()).hexdigest()[:12]
            damages.append(Damage(f"{len(rest)} more declared uses", pk, f"DECLARED#...#{names}", _SEE_ITEM))
        return AccountState(
            account_id=account_id,
            declared=declared.uses,
            version=head.version,
            sequence=head.sequence,
            chain=head.chain,
            lineages=head.lineages,
            sign_ins=head.sign_ins,
            failures=head.failures,
            closed_incidents=head.closed_incidents,
            incidents=tuple(incidents[each] for each in head.open_incidents if each in incidents),
            closed=tuple(incidents[each] for each in closed_ids if each in incidents),
            sources=MappingProxyType(sources),
            addresses=MappingProxyType(seen),
            issued=MappingProxyType(issued),
            uses=MappingProxyType(uses),
            damages=tuple(damages),
            head_is_readable=head_is_readable,
        )

    def _uses(self, access_key_id: str, damages: list[Damage]) -> Iterator[KeyUse]:
        partition = issued_key_key(access_key_id).pk
        for item in self._table.query(partition, USED_PREFIX, most=MOST_USES):
            try:
                yield use_of(item)
            except DamagedItemError:
                damages.append(damage_of("the use of a key", key_of(item), item))

    def _head(
        self,
        account_id: str,
        item: Item | None,
        observations: Sequence[Observation],
        now: datetime,
        damages: list[Damage],
    ) -> tuple[Head, bool]:
        """Return the account's head, put together again from what else is stored where it is damaged or gone."""
        months = [*_months_until(now), "undated"]
        months += [month for each in observations if (month := event_month(each)) not in months]
        try:
            if item is not None:
                return head_of(item), True
            if self._is_new(account_id, {event_month(each) for each in observations} | {months[0]}):
                return head_of(None), True  # the account's first record
        except DamagedItemError:
            pass  # as with one that is gone: kept, told as a critical alert, and put together again below
        damages.append(damage_of("the account's head", head_key(account_id), item))
        sequence, chain = 0, GENESIS
        for month in dict.fromkeys(months):
            for event in self.event_items(account_id, month):
                number, value = event.get("sequence"), event.get("chain")
                if type(number) is int and number > sequence and isinstance(value, str):
                    sequence, chain = number, value
        version = item.get("version") if item is not None else None
        is_number = type(version) is int and version >= 0
        open_incidents = [_incident_id(entry.key) for entry in self._table.index(OPEN_INCIDENTS, account_id)]
        head = Head(version if type(version) is int and is_number else 0, sequence, chain, tuple(open_incidents), ())
        return head, item is None or is_number or "version" not in item

    def _is_new(self, account_id: str, months: AbstractSet[str]) -> bool:
        """Tell whether nothing is stored of an account without a head: no incident ever, no event in these months.

        Every event belongs to an incident, so the index says it alone; the months are asked for whoever deletes all
        incidents with the head. Asking every month there may be would be the dearest part of an account's first alert.
        """
        if any(self._table.index(ACCOUNT_INCIDENTS, account_id)):
            return False
        return not any(any(self._table.query(event_partition(account_id, month), most=1)) for month in sorted(months))

    def known(self, observations: Sequence[Observation]) -> list[Known]:
        """Return of each record whether it is stored already, or another one under its event id and time."""
        found = self._table.get([event_key(observation) for observation in observations])
        return [
            Known.DUPLICATE if item is not None else self._reused(observation)
            for observation, item in zip(observations, found, strict=True)
        ]

    def _reused(self, observation: Observation) -> Known:
        if observation.record.event_id is None:
            return Known.NEW
        # One is enough to know; whoever forges thousands under one id must not make us read them all.
        others = self._table.query(event_key(observation).pk, event_prefix(observation), most=1)
        return Known.REUSED if any(others) else Known.NEW

    def write_account(self, changes: Changes, now: datetime, channels: Sequence[str]) -> None:
        """Write events, incidents, alerts, one delivery per channel and the heads: all or nothing.

        Raises:
            StoreConflictError: somebody else wrote an account; nothing was written: read and fold again.
            TransactionTooLargeError: split the batch.
            StoreUnavailableError: a retry helps; the write may have taken effect.

        """
        puts: list[Put] = []
        known_incidents: set[str] = set()
        for before, after in changes.accounts:
            puts += _account_puts(before, after, now)
            known_incidents |= {incident.id for incident in (*before.incidents, *before.closed)}
        puts += [Put(event_item(event, now), absent=True) for event in changes.events]
        puts += [
            Put(incident_item(incident), absent=incident.id not in known_incidents) for incident in changes.incidents
        ]
        puts += [Put(issued_key_item(key, issued)) for key, issued in changes.issued.items()]
        puts += [Put(step_item(step), absent=True) for step in changes.steps]
        for alert in changes.alerts:
            puts.append(Put(alert_item(alert), absent=True))
            for channel in channels:
                delivery = Delivery(alert.incident_id, alert.account_id, channel, alert.number, due_at=now)
                puts.append(Put(delivery_item(delivery), absent=True))
        self._table.write(list({put.key: put for put in puts}.values()))

    # --- caches ----------------------------------------------------------------------------------------------------

    def recall(self, subjects: Sequence[Subject]) -> dict[Subject, Remembered]:
        """Return what is remembered of each, expired or not; a damaged item is as good as none, and is replaced."""
        found = {}
        for subject, item in zip(subjects, self._table.get([cache_key(each) for each in subjects]), strict=True):
            if item is not None:
                with suppress(DamagedItemError):
                    found[subject] = cache_of(item)
        return found

    def keep(self, entries: Mapping[Subject, Remembered]) -> None:
        """Remember these, in place of what was remembered before; all of them or none."""
        self._table.write([Put(cache_item(subject, remembered)) for subject, remembered in entries.items()])

    # --- deliver ---------------------------------------------------------------------------------------------------

    def delivery(self, key: Key) -> Delivery | None:
        """Return the ledger of an alert on a channel, or None where there is none."""
        (item,) = self._table.get([key])
        return delivery_of(item) if item else None

    def alert(self, incident_id: str, number: int) -> Alert | None:
        """Return an alert, or None where there is none."""
        (item,) = self._table.get([alert_key(incident_id, number)])
        return alert_of(item) if item else None

    def write_delivery(self, before: Delivery, after: Delivery) -> Delivery:
        """Write the ledger if nobody wrote it since `before`, and return it with its new revision.

        Raises:
            StoreConflictError: somebody else did; read it again.

        """
        written = replace(after, revision=before.revision + 1)
        self._table.write([Put(delivery_item(written), expects=("revision", before.revision))])
        return written

    def thread(self, incident_id: str, channel: str) -> Thread | None:
        """Return the thread of an incident on a channel, or None where nobody began one."""
        (item,) = self._table.get([thread_key(incident_id, channel)])
        return thread_of(item) if item else None

    def write_thread(self, before: Thread | None, after: Thread) -> Thread:
        """Write a thread if nobody wrote it since `before` (None: it was not there), and return its new revision.

        Raises:
            StoreConflictError: somebody else did; read it again.

        """
        if before is None:
            written = replace(after, revision=1)
            self._table.write([Put(thread_item(written), absent=True)])
        else:
            written = replace(after, revision=before.revision + 1)
            self._table.write([Put(thread_item(written), expects=("revision", before.revision))])
        return written

    # --- triage ----------------------------------------------------------------------------------------------------

    def steps(self, incident_id: str) -> list[Step]:
        """Return the steps of an incident by their time.

        Raises:
            DamagedItemError: one of them cannot be understood; no retry helps.

        """
        return [step_of(item) for item in self._table.query(incident_key(incident_id).pk, STEP_PREFIX)]

    def step(self, key: Key) -> Step | None:
        """Return one step, or None where there is none."""
        (item,) = self._table.get([key])
        return step_of(item) if item else None

    def is_first(self, digest: str, now: datetime) -> bool:
        """Remember a signed request by its hash, and return whether it came for the first time within an hour.

        Its signature holds for minutes, so that what comes again later fails by that. What is older is forgotten when
        the item that remembers it is written again: nothing is ever removed, and nothing grows without end.

        Raises:
            StoreConflictError: somebody else wrote the same item each of `MOST_CHANGES` times; a retry helps.
            DamagedItemError: what is remembered cannot be understood; another request has another item.

        """
        for _ in range(MOST_CHANGES):
            (item,) = self._table.get([request_key(digest)])
            before = seen_of(item) if item else SeenRequests()
            if digest in before.seen:
                return False
            fresh = {name: at for name, at in before.seen.items() if now - at < REQUESTS_REMEMBERED}
            after = SeenRequests({**fresh, digest: now}, before.revision + 1)
            with suppress(StoreConflictError):
                self._table.write([Put(seen_item(digest, after), expects=("revision", before.revision or None))])
                return True
        message = "The item that remembers this request was changed meanwhile, each time."
        raise StoreConflictError(message)

    def unanswered(self) -> Iterator[str]:
        """Yield the ids of the incidents about which people may be asked; one of a moment ago may be missing."""
        return (_incident_id(entry.key) for entry in self._table.index(UNANSWERED))

    def add_test_alert(self, alert: Alert, now: datetime, channels: Sequence[str]) -> list[Key]:
        """Make an alert due that is only a test, and return the keys of its deliveries, one for each channel.

        Raises:
            StoreConflictError: there is one under its id already.

        """
        deliveries = [
            Delivery(alert.incident_id, alert.account_id, channel, alert.number, due_at=now) for channel in channels
        ]
        puts = [Put(alert_item(alert), absent=True)]
        self._table.write(puts + [Put(delivery_item(delivery), absent=True) for delivery in deliveries])
        return [delivery.key for delivery in deliveries]

    # --- declared use ----------------------------------------------------------------------------------------------

    def declare(self, declared: DeclaredUse) -> None:
        """Keep what was declared; it is never written again.

        Raises:
            StoreConflictError: exactly this has been declared already.

        """
        self._table.write([Put(declared_item(declared), absent=True)])

    def end_declared_use(self, declared: DeclaredUse, *, by: str, at: datetime) -> DeclaredUse:
        """Keep who ended a declared use before its time and when, beside the declaration, and return it as it is now.

        Raises:
            StoreConflictError: somebody ended it already.
            DeclarationError: `by` is no role or IAM user.

        """
        ended = replace(declared, ended_by=by, ended_at=at)
        self._table.write([Put(declared_end_item(ended), absent=True)])
        return ended

    def declared_uses(self, account_id: str, *around: datetime) -> DeclaredUses:
        """Return the declared uses of an account that can matter at these moments (UTC).

        They are those that begin within 31 days before or after one of them: none lasts longer than 30, none is overrun
        more than a day later. A damaged one counts as if nobody had declared it, which lowers nothing.
        """
        reach = LONGEST_PERIOD + OVERRUN_WITHIN
        items: dict[str, Item] = {}
        for first, last in _spans(around, reach):
            pk = head_key(account_id).pk
            bounds = f"DECLARED#{moment_text(first)}", f"DECLARED#{moment_text(last)}~"
            items |= {key_of(item).sk: item for item in self._table.between(pk, *bounds, most=MOST_DECLARED)}
        return _declared_uses(items.values())

    def every_declared_use(self, account_id: str) -> DeclaredUses:
        """Return all that was ever declared for an account."""
        return _declared_uses(self._table.query(head_key(account_id).pk, "DECLARED#"))

    # --- find ------------------------------------------------------------------------------------------------------

    def open_incidents(self) -> Iterator[str]:
        """Yield the ids of the open incidents of every account; one that just opened may be missing."""
        return (_incident_id(entry.key) for entry in self._table.index(OPEN_INCIDENTS))

    def every_incident(self) -> Iterator[str]:
        """Yield the ids of all incidents, open or not; one that just opened may be missing."""
        return (_incident_id(entry.key) for entry in self._table.index(INCIDENTS))

    def open_accounts(self) -> list[str]:
        """Return the accounts with an open incident, sorted; one whose incident just opened may be missing."""
        return sorted({entry.partition for entry in self._table.index(OPEN_INCIDENTS)})

    def incidents_of(self, month: str) -> Iterator[str]:
        """Yield the ids of the incidents that opened in a month (`2026-11`), the oldest first."""
        return (_incident_id(entry.key) for entry in self._table.index(INCIDENTS, month))

    def undelivered(
        self, channel: str, *, refused: bool = False, due_until: datetime | None = None
    ) -> Iterator[IndexEntry]:
        """Yield the channel's deliveries that are not sent, the oldest first; a change a moment ago may be missing.

        Args:
            channel: which channel.
            refused: those that the channel refused for good, instead of the others.
            due_until: only those that were due by then (UTC), to the second.

        """
        entries = self._table.index(UNDELIVERED, undelivered_partition(channel, refused=refused))
        if due_until is None:
            return entries
        last = moment_text(due_until)
        return takewhile(lambda entry: entry.sort <= last, entries)

    # --- watch -----------------------------------------------------------------------------------------------------

    def watch_state(self) -> WatchState:
        """Return what the watchdog remembers; nothing before its first run.

        Raises:
            DamagedItemError: somebody changed it; no retry helps.

        """
        (item,) = self._table.get([watch_key()])
        return watch_of(item) if item else WatchState()

    def write_watch_state(self, before: WatchState, after: WatchState) -> WatchState:
        """Write what the watchdog remembers if nobody did since `before`, and return it with its new revision.

        Raises:
            StoreConflictError: another run did.

        """
        written = replace(after, revision=before.revision + 1)
        self._table.write([Put(watch_item(written), expects=("revision", before.revision or None))])
        return written

    def replace_watch_state(self, after: WatchState) -> WatchState:
        """Write what the watchdog remembers over an item that cannot be understood, and return it as written."""
        written = replace(after, revision=1)
        self._table.write([Put(watch_item(written))])
        return written

    def seen_letters(self, month: str, kind: str) -> SeenLetters | None:
        """Return what was seen of a queue's dead letters in a month (`2026-11`); None for nothing.

        Raises:
            DamagedItemError: somebody changed it; no retry helps.

        """
        (item,) = self._table.get([seen_letters_key(month, kind)])
        return seen_letters_of(item) if item else None

    def write_seen_letters(self, seen: SeenLetters) -> None:
        """Write what was seen of a queue's dead letters in a month; only the watchdog writes it."""
        self._table.write([Put(seen_letters_item(seen))])

    def every_seen_letters(self, month: str) -> Iterator[SeenLetters | DamagedItemError]:
        """Yield what was seen of dead letters in a month, queue by queue; the error for a damaged item."""
        for item in self._table.query(watch_key().pk, seen_letters_prefix(month)):
            try:
                yield seen_letters_of(item)
            except DamagedItemError as error:
                yield error

    # --- probes ----------------------------------------------------------------------------------------------------

    def probe(self, kind: ProbeKind, nonce: str) -> Probe | None:
        """Return a canary or a source heartbeat that was given out under this nonce, or None."""
        (item,) = self._table.get([probe_key(kind, nonce)])
        return probe_of(item) if item else None

    def add_probe(self, probe: Probe) -> None:
        """Keep a probe before it is sent, so that its record can never come first.

        Raises:
            StoreConflictError: the nonce was given out already.

        """
        self._table.write([Put(probe_item(replace(probe, revision=1)), absent=True)])

    def write_probe_arrival(self, probe: Probe, at: datetime, sha256: str, channels: Sequence[str]) -> None:
        """Use a probe's nonce up, and let each channel prove itself, in one transaction.

        Args:
            probe: as it was read.
            at: when its record came (UTC).
            sha256: the hash of that record.
            channels: those that have to prove themselves; none for a source heartbeat.

        Raises:
            StoreConflictError: somebody else used it; read it again.

        """
        arrived = replace(probe, arrived_at=at, arrived=sha256, revision=probe.revision + 1)
        puts = [Put(probe_item(arrived), expects=("revision", probe.revision))]
        puts += [Put(proof_item(Proof(probe.nonce, channel)), absent=True) for channel in channels]
        self._table.write(puts)

    def proof(self, key: Key) -> Proof | None:
        """Return what became of a canary on a channel, or None where there is none."""
        (item,) = self._table.get([key])
        return proof_of(item) if item else None

    def write_proof(self, proof: Proof) -> None:
        """Write what became of a canary on a channel."""
        self._table.write([Put(proof_item(proof))])

    def proof_state(self) -> ProofState:
        """Return what the proof of the way remembers; nothing before its first run.

        Raises:
            DamagedItemError: somebody changed it; no retry helps.

        """
        (item,) = self._table.get([proof_state_key()])
        return proof_state_of(item) if item else ProofState()

    def write_proof_state(self, state: ProofState) -> ProofState:
        """Write what the proof of the way remembers, and return it as written; only the watchdog writes it."""
        written = replace(state, revision=state.revision + 1)
        self._table.write([Put(proof_state_item(written))])
        return written

    # --- coverage --------------------------------------------------------------------------------------------------

    def place(self, account_id: str, region: str) -> Place | None:
        """Return what is known of an account in a region, or None."""
        (item,) = self._table.get([place_key(account_id, region)])
        return place_of(item) if item else None

    def places(self) -> Iterator[Place | DamagedItemError]:
        """Yield every account and region that was ever heard, sorted; the error for one that is damaged."""
        for item in self._table.query(COVERAGE):
            try:
                yield place_of(item)
            except DamagedItemError as error:
                yield error

    def write_place(self, place: Place) -> Place:
        """Write what is known of an account in a region if nobody did since it was read, and return it as written.

        Raises:
            StoreConflictError: somebody else did; read it again.

        """
        written = replace(place, revision=place.revision + 1)
        self._table.write([Put(place_item(written), expects=("revision", place.revision or None))])
        return written

    def change_place(self, account_id: str, region: str, change: Callable[[Place | None], Place | None]) -> bool:
        """Change what is known of an account in a region; return whether there was anything to change.

        Raises:
            StoreConflictError: somebody else wrote it each of `MOST_CHANGES` times; a retry helps.
            DamagedItemError: it cannot be understood; no retry helps.

        """
        for attempt in range(1, MOST_CHANGES + 1):
            changed = change(self.place(account_id, region))
            if changed is None:
                return False
            try:
                self.write_place(changed)
            except StoreConflictError:
                if attempt == MOST_CHANGES:
                    raise
            else:
                return True
        return False

    def add_heard_hour(self, account_id: str, region: str, at: datetime) -> bool:
        """Keep that the heartbeat of an hour (UTC) came from an account in a region; return False where it had before.

        Raises:
            StoreConflictError: somebody else wrote the same item each of `MOST_CHANGES` times; a retry helps.
            DamagedItemError: it cannot be understood; no retry helps.

        """
        month = f"{at:%Y-%m}"
        for attempt in range(1, MOST_CHANGES + 1):
            (item,) = self._table.get([heard_key(account_id, region, month)])
            heard = heard_of(item) if item else HeardHours(account_id, region, month)
            if heard.has(at):
                return False
            after = replace(heard.with_hour(at), revision=heard.revision + 1)
            try:
                self._table.write([Put(heard_item(after), expects=("revision", heard.revision or None))])
            except StoreConflictError:
                if attempt == MOST_CHANGES:
                    raise
            else:
                return True
        return False

    def heard_hours(self, month: str) -> Iterator[HeardHours | DamagedItemError]:
        """Yield for which hours of a month (`2026-11`) heartbeats came, by place; the error for a damaged item."""
        for item in self._table.query(heard_partition(month)):
            try:
                yield heard_of(item)
            except DamagedItemError as error:
                yield error

    # --- reports ---------------------------------------------------------------------------------------------------

    def kept_reports(self, months: Sequence[str]) -> list[KeptReport | DamagedItemError | None]:
        """Return what became of the reports of these months (`2026-11`), in their order, None where none was kept."""
        found: list[KeptReport | DamagedItemError | None] = []
        for item in self._table.get([*map(kept_report_key, months)]):
            try:
                found.append(kept_report_of(item) if item else None)
            except DamagedItemError as error:
                found.append(error)
        return found

    def write_kept_report(self, kept: KeptReport) -> KeptReport:
        """Write what became of a month's report over what was known of it, and return it."""
        self._table.write([Put(kept_report_item(kept))])
        return kept

    def accounts(self) -> dict[str, list[str]]:
        """Return every account that the table knows, with the months that hold events of it (or `undated`).

        It reads the whole table, so that events are found whatever time their records state and whoever removed a head.
        """
        found: dict[str, list[str]] = {}
        for partition in self._table.partitions("ACCOUNT#", "EVENTS#"):
            kind, account_id, *month = partition.split("#", 2)
            found.setdefault(account_id, []).extend(month if kind == "EVENTS" else [])
        return {account_id: sorted(months) for account_id, months in sorted(found.items())}

    def incidents(self, incident_ids: Iterable[str]) -> Iterator[tuple[str, Incident | DamagedItemError]]:
        """Yield the incidents of these ids, in any order; the error for one that is gone or damaged."""
        wanted = list(incident_ids)
        for incident_id, item in zip(wanted, self._table.get([*map(incident_key, wanted)]), strict=True):
            if item is None:
                yield incident_id, DamagedItemError("The incident is gone from the audit table.")
                continue
            try:
                yield incident_id, incident_of(item)
            except DamagedItemError as error:
                yield incident_id, error

    def incident_events(self, incident: Incident) -> Iterator[Item]:
        """Yield the events of an incident by event time, those without one at the end.

        Events that state a time outside of the incident's, as a clock in the future does, are not among them.
        """
        first, last = moment_text(incident.opened_at)[:19], moment_text(incident.last_at)[:19]
        for month in _months(incident.opened_at, incident.last_at):
            for item in self._table.between(event_partition(incident.account_id, month), first, f"{last}~"):
                if item.get("incident_id") == incident.id:
                    yield item
        for item in self.event_items(incident.account_id, "undated"):
            if item.get("incident_id") == incident.id:
                yield item

    # --- read ------------------------------------------------------------------------------------------------------

    def account_head(self, account_id: str) -> tuple[int, str]:
        """Return how many records the account's chain holds, and its last value."""
        (item,) = self._table.get([head_key(account_id)])
        head = head_of(item)
        return head.sequence, head.chain

    def incident(self, incident_id: str) -> Incident | None:
        """Return an incident, or None where there is none."""
        (item,) = self._table.get([incident_key(incident_id)])
        return incident_of(item) if item else None

    def verify_steps(self, incident_id: str) -> "StepsReport":
        """Compute the chain of an incident's steps again; see `audit.steps`."""
        from rootwatch.audit.steps import verify_steps  # noqa: PLC0415 - an alert does without it

        return verify_steps(incident_id, self.incident_items(incident_id))

    def incident_items(self, incident_id: str) -> Iterator[Item]:
        """Yield an incident's items: alerts, deliveries, itself, steps."""
        return self._table.query(incident_key(incident_id).pk)

    def event_items(self, account_id: str, month: str) -> Iterator[Item]:
        """Yield an account's event items of a month (`2026-11`, or `undated`), by event time."""
        return self._table.query(event_partition(account_id, month))

    def damaged_items(self, account_id: str) -> Iterator[tuple[str, datetime | None]]:
        """Yield the sort key of each item of an account that was found damaged, and when (UTC), None if not stated."""
        for item in self._table.query(head_key(account_id).pk, DAMAGED_PREFIX):
            try:
                yield str(item.get("damaged_sk")), datetime.fromisoformat(str(item.get("found_at"))).astimezone(UTC)
            except ValueError:
                yield str(item.get("damaged_sk")), None

    def canary_items(self) -> Iterator[Item]:
        """Yield the canaries' items by their sort key; nothing where none was ever sent."""
        return self._table.query("CANARY")

    def coverage_items(self, most: int) -> Iterator[Item]:
        """Yield the items of known accounts and regions by their sort key, so many at the most."""
        return self._table.query("COVERAGE", most=most)

    def verify_chain(self, account_id: str, months: Sequence[str]) -> ChainReport:
        """Recompute the account's chain from its stored records and compare it with what stands beside them.

        Args:
            account_id: whose chain.
            months: every partition with records of the account, `undated` included if there is one.

        """
        links: dict[int, Mapping[str, object]] = {}
        faults: list[str] = []
        incident_ids: set[str] = set()
        count = 0
        for month in months:
            for item in self.event_items(account_id, month):
                count += 1
                if isinstance(incident_id := item.get("incident_id"), str):
                    incident_ids.add(incident_id)
                sk = key_of(item).sk
                faults += _faults_of_event(sk, item)
                sequence = item.get("sequence")
                if type(sequence) is not int or sequence < 1 or sequence in links:
                    faults.append(f"{sk}: its sequence number is missing or taken")
                    continue
                links[sequence] = {"sk": sk, "sha256": item.get("sha256"), "chain": item.get("chain")}
        chain, last = GENESIS, 0
        for sequence, link in sorted(links.items()):
            if sequence != last + 1:
                faults.append(f"records {last + 1} to {sequence - 1} are missing")
            last = sequence
            expected = next_chain(chain, str(link["sha256"]))
            if link["chain"] != expected:
                faults.append(f"{link['sk']}: its chain value does not follow from record {sequence - 1}")
            chain = str(link["chain"])
        head_sequence, head_chain = self.account_head(account_id)
        if head_sequence != last:
            faults.append(f"the head says {head_sequence} records, the events say {last}")
        elif head_chain != chain:
            faults.append("the head's chain value is not that of the last record")
        return ChainReport(account_id, count, head_sequence, head_chain, tuple(faults), frozenset(incident_ids))


def _faults_of_event(sk: str, item: Item) -> list[str]:
    try:
        text = stored_record(item)
    except DamagedItemError as error:
        return [f"{sk}: {error}"]
    if hashlib.sha256(text.encode()).hexdigest() != item.get("sha256"):
        return [f"{sk}: its record is not the one that was hashed"]
    return []


_T = TypeVar("_T")
_ADDRESS_KINDS: Final = frozenset({SourceKind.PUBLIC, SourceKind.PRIVATE})


def _access_key(observation: Observation) -> str | None:
    """Return the record's access key id where AssumeRoot may have issued it to root."""
    actor = observation.record.actor
    return actor.access_key_id if actor.by_root and is_issued_key(actor.access_key_id) else None


def _account_puts(before: AccountState, after: AccountState, now: datetime) -> list[Put]:
    written = replace(after, version=before.version + 1)
    # Where even the version is lost there is no condition to write; the alert about it says what follows.
    expects = ("version", before.version or None) if before.head_is_readable else None
    puts = [Put(head_item(written, now), expects=expects)]
    puts += [
        Put(source_item(after.account_id, address, seen))
        for address, seen in after.sources.items()
        if before.sources.get(address) != seen
    ]
    for address, seen in after.addresses.items():
        old = before.addresses.get(address)
        if old != seen:
            is_damaged = any(damage.pk == address_key(address).pk for damage in before.damages)
            condition = None if is_damaged else ("version", old.version if old else None)
            puts.append(Put(address_item(address, seen), expects=condition))
    puts += [
        Put(use_item(key, use))
        for key, uses in after.uses.items()
        for use in uses
        if use not in before.uses.get(key, ()) and use.account_id == after.account_id
    ]
    # What stays where it is, as a declaration and an incident do, is evidence by itself.
    copied = sorted(before.damages, key=lambda damage: damage.what in _STAY)[:MOST_COPIES]
    puts += [Put(damaged_item(before.account_id, damage, now)) for damage in copied if damage.content != _SEE_ITEM]
    return puts


_SEE_ITEM: Final = "see the item itself"
_STAY: Final = frozenset({"an incident"})
MOST_DECLARED_DAMAGED: Final = 20
"""Damaged declarations that are told one by one; the others are told as one, so that a thousand forged ones still
leave room for the record in its transaction.
"""
MOST_COPIES: Final = 20
"""Damaged items that are copied in one transaction, for the same reason; those that are written anew come first."""

LOOK_BACK: Final = timedelta(hours=24)
"""How far from a closed incident a record may lie and still make us read it; more than an incident may rest."""
REQUESTS_REMEMBERED: Final = timedelta(hours=1)
"""A signature is taken five minutes before and after its time, and clocks may differ; longer than all of it."""
MOST_CHANGES: Final = 5
"""Times that a place is read again after somebody else wrote it."""
MOST_USES: Final = 50
"""Accounts in which one key may have been used before its AssumeRoot call was recorded; one session has one account."""


def _incident_id(key: Key) -> str:
    return key.pk.removeprefix("INCIDENT#")


MOST_DECLARED: Final = 500
"""Declarations, and ends of them, that are read at once: whoever fills the table with them does not hold up detect."""

MOST_MONTHS: Final = 24
"""Months of one incident that are read. It lasts about a day; only forged times can stretch it."""


def _spans(moments: Iterable[datetime], reach: timedelta) -> list[tuple[datetime, datetime]]:
    """Return the spans from `reach` before each moment to `reach` after it, those that overlap as one."""
    spans: list[tuple[datetime, datetime]] = []
    for moment in sorted(moments):
        first, last = max(moment, _EARLIEST + reach) - reach, min(moment, _LATEST - reach) + reach
        if spans and first <= spans[-1][1]:
            spans[-1] = (spans[-1][0], last)
        else:
            spans.append((first, last))
    return spans


_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
_LATEST: Final = datetime.max.replace(tzinfo=UTC)


def _declared_uses(items: Iterable[Item]) -> DeclaredUses:
    uses: list[DeclaredUse] = []
    damaged: list[str] = []
    for sk, item, end in paired_declarations(items):
        try:
            uses.append(declared_of(item, end))
        except DamagedItemError:
            damaged.append(sk)
    return DeclaredUses(tuple(sorted(uses, key=lambda use: (use.from_at, use.id))), tuple(sorted(damaged)))


MOST_MONTHS_BACK: Final = 36
"""Months in which an account's events are looked for where it has no head. Root may well rest for a year."""


def _months_until(now: datetime) -> list[str]:
    """Return the last months (`2026-11`), the present one (UTC) first."""
    present = now.year * 12 + now.month - 1
    return [f"{number // 12:04d}-{number % 12 + 1:02d}" for number in range(present, present - MOST_MONTHS_BACK, -1)]


def _months(first: datetime, last: datetime) -> list[str]:
    """Return the months from one moment to the other (UTC), the first and the last where there are too many."""
    start, end = (moment.year * 12 + moment.month - 1 for moment in (first, last))
    numbers: Sequence[int] = range(start, end + 1)
    if len(numbers) > MOST_MONTHS:
        numbers = [*numbers[: MOST_MONTHS // 2], *numbers[-MOST_MONTHS // 2 :]]
    return [f"{number // 12:04d}-{number % 12 + 1:02d}" for number in numbers]
