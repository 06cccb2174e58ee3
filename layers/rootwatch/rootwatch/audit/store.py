"""The audit store on a table: read an account, write one transaction, keep the deliveries' ledger, verify the chain."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from rootwatch.alert import Alert
from rootwatch.audit.items import (
    Delivery,
    alert_item,
    alert_key,
    alert_of,
    delivery_item,
    delivery_of,
    event_item,
    event_key,
    event_partition,
    event_prefix,
    head_item,
    head_key,
    head_of,
    incident_item,
    incident_key,
    incident_of,
    source_item,
    source_key,
    source_of,
    stored_record,
)
from rootwatch.audit.table import INCIDENTS, OPEN_INCIDENTS, UNDELIVERED, Item, Key, Put, Table, key_of
from rootwatch.context.observation import Observation
from rootwatch.context.source import SourceKind
from rootwatch.errors import DamagedItemError
from rootwatch.incident import GENESIS, AccountState, Incident, RecordedEvent, next_chain


class Known(StrEnum):
    """What the table knows of a record."""

    NEW = "new"
    DUPLICATE = "duplicate"
    REUSED = "reused"


@dataclass(frozen=True, slots=True)
class Changes:
    """All that one batch of one account writes, in one transaction."""

    before: AccountState
    after: AccountState
    events: Sequence[RecordedEvent]
    incidents: Sequence[Incident]
    alerts: Sequence[Alert]


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What verifying an account's chain found: `faults` in words, empty where everything is as it was written."""

    account_id: str
    events: int
    sequence: int
    chain: str
    faults: tuple[str, ...]


class AuditStore:
    """The audit table in our own words. Errors are those of `Table`, and `DamagedItemError` for an altered item."""

    def __init__(self, table: Table) -> None:
        """Keep the table, in memory or in DynamoDB."""
        self._table = table

    # --- detect ----------------------------------------------------------------------------------------------------

    def read_account(self, account_id: str, observations: Sequence[Observation]) -> AccountState:
        """Return the account's state as the batch needs it: head first, then open incidents and addresses.

        What is read after the head may be newer than it; then the version condition fails and the batch is read again.
        """
        (head_found,) = self._table.get([head_key(account_id)])
        head = head_of(head_found)
        addresses = sorted(
            {
                observation.source.key
                for observation in observations
                if observation.source.kind in {SourceKind.PUBLIC, SourceKind.PRIVATE}
            }
        )
        keys = [incident_key(incident_id) for incident_id in head.open_incidents]
        keys += [source_key(account_id, address) for address in addresses]
        found = self._table.get(keys)
        incident_items, source_items = found[: len(head.open_incidents)], found[len(head.open_incidents) :]
        if any(item is None for item in incident_items):
            message = f"An open incident of account {account_id} is gone from the audit table."
            raise DamagedItemError(message)
        return AccountState(
            account_id=account_id,
            version=head.version,
            sequence=head.sequence,
            chain=head.chain,
            lineages=head.lineages,
            incidents=tuple(incident_of(item) for item in incident_items if item is not None),
            sources=MappingProxyType(
                {
                    address: source_of(item)
                    for address, item in zip(addresses, source_items, strict=True)
                    if item is not None
                }
            ),
        )

    def known(self, observation: Observation) -> Known:
        """Return whether the record is stored already, or another one under its event id and time."""
        key = event_key(observation)
        if self._table.get([key]) != [None]:
            return Known.DUPLICATE
        # One is enough to know; whoever forges thousands under one id must not make us read them all.
        others = self._table.query(key.pk, event_prefix(observation), most=1)
        return Known.REUSED if any(others) else Known.NEW

    def write_account(self, changes: Changes, now: datetime, channels: Sequence[str]) -> None:
        """Write events, incidents, alerts, one delivery per channel and the head: all or nothing.

        Raises:
            StoreConflictError: somebody else wrote this account; nothing was written: read and fold again.
            TransactionTooLargeError: split the batch.
            StoreUnavailableError: a retry helps; the write may have taken effect.

        """
        before, after = changes.before, replace(changes.after, version=changes.before.version + 1)
        new_incidents = {incident.id for incident in changes.incidents} - {incident.id for incident in before.incidents}
        version = before.version or None
        puts = [Put(head_item(after, now), expects=("version", version))]
        puts += [Put(event_item(event, now), absent=True) for event in changes.events]
        puts += [Put(incident_item(incident), absent=incident.id in new_incidents) for incident in changes.incidents]
        puts += [
            Put(source_item(after.account_id, address, seen))
            for address, seen in after.sources.items()
            if before.sources.get(address) != seen
        ]
        for alert in changes.alerts:
            puts.append(Put(alert_item(alert), absent=True))
            for channel in channels:
                delivery = Delivery(alert.incident_id, alert.account_id, channel, alert.number, due_at=now)
                puts.append(Put(delivery_item(delivery), absent=True))
        self._table.write(puts)

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

    # --- find ------------------------------------------------------------------------------------------------------

    def open_incidents(self) -> Iterator[str]:
        """Yield the ids of the open incidents of every account; one that just opened may be missing."""
        return (_incident_id(key) for key in self._table.index(OPEN_INCIDENTS))

    def incidents_of(self, month: str) -> Iterator[str]:
        """Yield the ids of the incidents that opened in a month (`2026-11`), the oldest first."""
        return (_incident_id(key) for key in self._table.index(INCIDENTS, month))

    def undelivered(self, channel: str) -> Iterator[Key]:
        """Yield the keys of a channel's deliveries that are not sent, the oldest first."""
        return self._table.index(UNDELIVERED, channel)

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

    def incident_items(self, incident_id: str) -> Iterator[Item]:
        """Yield an incident's items: alerts, deliveries, itself, steps."""
        return self._table.query(incident_key(incident_id).pk)

    def event_items(self, account_id: str, month: str) -> Iterator[Item]:
        """Yield an account's event items of a month (`2026-11`, or `undated`), by event time."""
        return self._table.query(event_partition(account_id, month))

    def verify_chain(self, account_id: str, months: Sequence[str]) -> ChainReport:
        """Recompute the account's chain from its stored records and compare it with what stands beside them.

        Args:
            account_id: whose chain.
            months: every partition with records of the account, `undated` included if there is one.

        """
        links: dict[int, Mapping[str, object]] = {}
        faults: list[str] = []
        count = 0
        for month in months:
            for item in self.event_items(account_id, month):
                count += 1
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
        return ChainReport(account_id, count, head_sequence, head_chain, tuple(faults))


def _faults_of_event(sk: str, item: Item) -> list[str]:
    try:
        text = stored_record(item)
    except DamagedItemError as error:
        return [f"{sk}: {error}"]
    if hashlib.sha256(text.encode()).hexdigest() != item.get("sha256"):
        return [f"{sk}: its record is not the one that was hashed"]
    return []


def _incident_id(key: Key) -> str:
    return key.pk.removeprefix("INCIDENT#")
