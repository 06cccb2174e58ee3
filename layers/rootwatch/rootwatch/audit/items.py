"""Items and keys of the audit table, and how our own types become items and come back. Section 6 of the design.

| item | pk | sk |
|---|---|---|
| event | `EVENTS#<account>#<yyyy-mm>` | `<eventTime>#<eventID>#<first 12 of SHA-256>` |
| head | `ACCOUNT#<id>` | `HEAD` |
| source | `ACCOUNT#<id>` | `SOURCE#<address>` |
| incident | `INCIDENT#<id>` | `INCIDENT` |
| alert | `INCIDENT#<id>` | `ALERT#<number>` |
| delivery | `INCIDENT#<id>` | `DELIVERY#<channel>#<number>` |
"""

import hashlib
import json
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeVar

from rootwatch.alert import Alert
from rootwatch.audit.table import Item, Key, Value
from rootwatch.context.observation import Observation
from rootwatch.detections.detection import Severity, Stage
from rootwatch.errors import DamagedItemError
from rootwatch.incident import GENESIS, AccountState, Incident, RecordedEvent, SourceSeen
from rootwatch.record import canonical_json

SCHEMA_VERSION: Final = 1
COMPRESS_FROM: Final = 4096
"""Characters from which a record is stored compressed."""

_PLAIN_KEY_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}|~[0-9a-f]{32}")


# --- keys ----------------------------------------------------------------------------------------------------------


def key_part(text: str | None) -> str:
    """Return text of a record as a part of a key: itself if it is plain, else a hash of it, `unknown` for nothing.

    What it returned once it returns again unchanged.
    """
    if not text:
        return "unknown"
    if _PLAIN_KEY_PART.fullmatch(text):
        return text
    return "~" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def moment_text(moment: datetime) -> str:
    """Return a moment (UTC) as `2026-11-03T08:15:42Z`, with a fraction only where it has one; sorts as text."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def event_partition(account_id: str | None, month: str) -> str:
    """Return the partition of an account's events of one month (`2026-11`), or of those without a time (`undated`)."""
    return f"EVENTS#{key_part(account_id)}#{month}"


def event_key(observation: Observation) -> Key:
    """Return where a record is stored: the same record always has the same key."""
    record = observation.record
    stated = record.event_time
    time = moment_text(stated) if stated else "undated"
    return Key(
        event_partition(record.account_id, f"{stated:%Y-%m}" if stated else "undated"),
        f"{event_prefix(observation, time)}{record.sha256[:12]}",
    )


def event_prefix(observation: Observation, time: str | None = None) -> str:
    """Return the beginning that the sort keys of all records with this time and event id share."""
    record = observation.record
    if time is None:
        time = moment_text(record.event_time) if record.event_time else "undated"
    # Without an eventID the hash alone is the id.
    return f"{time}#{key_part(record.event_id) if record.event_id else record.sha256}#"


def head_key(account_id: str) -> Key:
    """Return the key of an account's head."""
    return Key(f"ACCOUNT#{key_part(account_id)}", "HEAD")


def source_key(account_id: str, address: str) -> Key:
    """Return the key of what an account remembers of an address."""
    return Key(f"ACCOUNT#{key_part(account_id)}", f"SOURCE#{key_part(address)}")


def incident_key(incident_id: str) -> Key:
    """Return the key of an incident."""
    return Key(f"INCIDENT#{incident_id}", "INCIDENT")


def alert_key(incident_id: str, number: int) -> Key:
    """Return the key of an incident's alert."""
    return Key(f"INCIDENT#{incident_id}", f"ALERT#{number:06d}")


def delivery_key(incident_id: str, channel: str, number: int) -> Key:
    """Return the key of an alert's delivery on a channel; the streams' filters take its prefix."""
    return Key(f"INCIDENT#{incident_id}", f"DELIVERY#{channel}#{number:06d}")


# --- events --------------------------------------------------------------------------------------------------------


def event_item(event: RecordedEvent, received_at: datetime) -> Item:
    """Return the item that keeps a record: whole, redacted, hashed, chained, with what was made of it."""
    observation, record = event.observation, event.observation.record
    key = event_key(observation)
    text = canonical_json(record.body)
    item: Item = {
        "pk": key.pk,
        "sk": key.sk,
        "schema_version": SCHEMA_VERSION,
        "account_id": record.account_id,
        "event_id": record.event_id,
        "event_time": moment_text(record.event_time) if record.event_time else None,
        "event_source": _clean(record.event_source),
        "event_name": _clean(record.event_name),
        "region": _clean(record.region),
        "actor": str(record.actor.kind),
        "by_root": record.actor.by_root,
        "lineage": _clean(record.actor.lineage),
        "outcome": str(record.outcome),
        "mfa_used": record.mfa.used,
        "source_kind": str(observation.source.kind),
        "source_ip": observation.source.ip,
        "client_kind": str(observation.client.kind),
        "read_only": record.read_only,
        "target_account_id": _clean(record.target_account_id),
        "severity": str(observation.severity or Severity.INFO),
        "detections": [finding.detection.id for finding in observation.findings],
        "incident_id": event.incident_id,
        "problems": [*map(_clean, observation.problems)],
        "redacted_paths": [*map(_clean, record.redacted_paths)],
        "addendum": _clean(record.addendum),
        "event_id_reused": observation.event_id_reused,
        "from_cloudtrail": record.envelope.from_cloudtrail if record.envelope else None,
        "sent_at": moment_text(observation.sent_at) if observation.sent_at else None,
        "received_at": moment_text(received_at),
        "sha256": record.sha256,
        "sequence": event.sequence,
        "chain": event.chain,
    }
    if len(text) < COMPRESS_FROM:
        item["record"] = text
    else:
        item["record_zlib"] = zlib.compress(text.encode(), 9)
    return item


def stored_record(item: Mapping[str, Value]) -> str:
    """Return the canonical JSON of the record in an event item.

    Raises:
        DamagedItemError: the item holds none that can be read; no retry helps.

    """
    text, compressed = item.get("record"), item.get("record_zlib")
    if isinstance(text, str):
        return text
    if isinstance(compressed, bytes):
        try:
            return zlib.decompress(compressed).decode()
        except (zlib.error, UnicodeDecodeError) as error:
            message = "An event's record cannot be decompressed: the item was changed."
            raise DamagedItemError(message) from error
    message = "An event item holds no record: the item was changed."
    raise DamagedItemError(message)


def _clean(text: str | None) -> str | None:
    """Return text that DynamoDB can hold: a lone surrogate is no character."""
    return None if text is None else text.encode("utf-8", "replace").decode()


# --- account and incident ------------------------------------------------------------------------------------------


def head_item(state: AccountState, updated_at: datetime) -> Item:
    """Return the account's head; it stays under 2 KB, for only ids of open incidents are in it."""
    key = head_key(state.account_id)
    return {
        "pk": key.pk,
        "sk": key.sk,
        "schema_version": SCHEMA_VERSION,
        "account_id": state.account_id,
        "version": state.version,
        "sequence": state.sequence,
        "chain": state.chain,
        "open_incidents": [incident.id for incident in state.incidents],
        "lineages": list(state.lineages),
        "updated_at": moment_text(updated_at),
    }


@dataclass(frozen=True, slots=True)
class Head:
    """What the head says: version and chain of the account, which incidents are open, which credentials were used."""

    version: int
    sequence: int
    chain: str
    open_incidents: tuple[str, ...]
    lineages: tuple[str, ...]


def head_of(item: Item | None) -> Head:
    """Read an account's head; an account without one begins at nothing.

    Raises:
        DamagedItemError: the item cannot be understood; no retry helps.

    """
    if item is None:
        return Head(0, 0, GENESIS, (), ())
    return _reading(
        "the account's head",
        lambda: Head(
            _int(item, "version"),
            _int(item, "sequence"),
            _text(item, "chain"),
            _texts(item, "open_incidents"),
            _texts(item, "lineages"),
        ),
    )


def incident_item(incident: Incident) -> Item:
    """Return an incident's item; while it is open the sparse index `open-incidents` has it."""
    key = incident_key(incident.id)
    item: Item = {
        "pk": key.pk,
        "sk": key.sk,
        "schema_version": SCHEMA_VERSION,
        "incident_id": incident.id,
        "account_id": incident.account_id,
        "story": incident.story,
        "state": "open" if incident.open else "closed",
        "opened_at": moment_text(incident.opened_at),
        "last_at": moment_text(incident.last_at),
        "touched_at": moment_text(incident.touched_at),
        "reported_at": moment_text(incident.reported_at),
        "severity": str(incident.severity),
        "stage": int(incident.stage),
        "silent": incident.silent,
        "records": incident.records,
        "since_alert": incident.since_alert,
        "alerts": incident.alerts,
        "detections": dict(incident.detections),
        "acts": {_clean(name) or "(no event name)": count for name, count in incident.acts.items()},
        "reads": incident.reads,
        "regions": [_clean(region) for region in incident.regions],
        "sources": [_clean(source) for source in incident.sources],
        "lineages": list(incident.lineages),
        "clients": list(incident.clients),
        "failed_sources": [_clean(source) for source in incident.failed_sources],
        "novelties": list(incident.novelties),
        "other_novelties": list(incident.other_novelties),
        "failed_novelties": list(incident.failed_novelties),
        "overflowed": incident.overflowed,
        "sign_ins": [moment_text(moment) for moment in incident.sign_ins],
        "failures": [moment_text(moment) for moment in incident.failures],
        "full_set_at": moment_text(incident.full_set_at) if incident.full_set_at else None,
        "incident_month": f"{incident.opened_at:%Y-%m}",
    }
    if incident.open:
        item["open_account"] = incident.account_id
    return item


def incident_of(item: Item) -> Incident:
    """Read an incident's item.

    Raises:
        DamagedItemError: the item cannot be understood; no retry helps.

    """
    return _reading(
        "an incident",
        lambda: Incident(
            id=_text(item, "incident_id"),
            account_id=_text(item, "account_id"),
            story=_text(item, "story"),
            opened_at=_moment(item, "opened_at"),
            last_at=_moment(item, "last_at"),
            touched_at=_moment(item, "touched_at"),
            reported_at=_moment(item, "reported_at"),
            severity=Severity(_text(item, "severity")),
            stage=Stage(_int(item, "stage")),
            open=_text(item, "state") == "open",
            silent=item["silent"] is True,
            records=_int(item, "records"),
            since_alert=_int(item, "since_alert"),
            alerts=_int(item, "alerts"),
            detections=_counts(item, "detections"),
            acts=_counts(item, "acts"),
            reads=_int(item, "reads"),
            regions=_texts(item, "regions"),
            sources=_texts(item, "sources"),
            lineages=_texts(item, "lineages"),
            clients=_texts(item, "clients"),
            failed_sources=_texts(item, "failed_sources"),
            novelties=_texts(item, "novelties"),
            other_novelties=_texts(item, "other_novelties"),
            failed_novelties=_texts(item, "failed_novelties"),
            overflowed=_int(item, "overflowed"),
            sign_ins=tuple(map(_parsed_moment, _texts(item, "sign_ins"))),
            failures=tuple(map(_parsed_moment, _texts(item, "failures"))),
            full_set_at=None if item["full_set_at"] is None else _moment(item, "full_set_at"),
        ),
    )


def source_item(account_id: str, address: str, seen: SourceSeen) -> Item:
    """Return what the account remembers of an address."""
    key = source_key(account_id, address)
    return {
        "pk": key.pk,
        "sk": key.sk,
        "schema_version": SCHEMA_VERSION,
        "account_id": account_id,
        "address": _clean(address),
        "first_at": moment_text(seen.first_at),
        "last_at": moment_text(seen.last_at),
        "times": seen.times,
    }


def source_of(item: Item) -> SourceSeen:
    """Read what the account remembers of an address.

    Raises:
        DamagedItemError: the item cannot be understood; no retry helps.

    """
    return _reading(
        "a source", lambda: SourceSeen(_moment(item, "first_at"), _moment(item, "last_at"), _int(item, "times"))
    )


# --- alerts and deliveries -----------------------------------------------------------------------------------------


def alert_item(alert: Alert) -> Item:
    """Return an alert's item: all that a channel needs to render it, so that no notifier reads anything else."""
    key = alert_key(alert.incident_id, alert.number)
    return {
        "pk": key.pk,
        "sk": key.sk,
        "schema_version": SCHEMA_VERSION,
        "alert_id": alert.alert_id,
        "incident_id": alert.incident_id,
        "account_id": alert.account_id,
        "number": alert.number,
        "time": moment_text(alert.time),
        "kind": alert.kind,
        "why": list(alert.why),
        "severity": str(alert.severity),
        "headline": alert.headline,
        "reason": alert.reason,
        "facts": [[label, value] for label, value in alert.facts],
        "next_steps": list(alert.next_steps),
        "marks": list(alert.marks),
        "detections": list(alert.detections),
        "event_ids": [_clean(event_id) for event_id in alert.event_ids],
        "counts": dict(alert.counts),
        "sequence": alert.sequence,
        "chain": alert.chain,
    }


def alert_of(item: Item) -> Alert:
    """Read an alert's item.

    Raises:
        DamagedItemError: the item cannot be understood; no retry helps.

    """
    return _reading(
        "an alert",
        lambda: Alert(
            alert_id=_text(item, "alert_id"),
            incident_id=_text(item, "incident_id"),
            account_id=_text(item, "account_id"),
            number=_int(item, "number"),
            time=_moment(item, "time"),
            kind=_text(item, "kind"),
            why=_texts(item, "why"),
            severity=Severity(_text(item, "severity")),
            headline=_text(item, "headline"),
            reason=_text(item, "reason"),
            facts=tuple((str(label), str(value)) for label, value in _pairs(item, "facts")),
            next_steps=_texts(item, "next_steps"),
            marks=_texts(item, "marks"),
            detections=_texts(item, "detections"),
            event_ids=_texts(item, "event_ids"),
            counts=_counts(item, "counts"),
            sequence=_int(item, "sequence"),
            chain=_text(item, "chain"),
        ),
    )


class DeliveryState(StrEnum):
    """What became of an alert on a channel."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"
    UNCONFIGURED = "unconfigured"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to deliver; `error` is None for the one that succeeded. The time is UTC."""

    at: datetime
    error: str | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """The ledger of one alert on one channel. `lease_until` (UTC) keeps two senders apart; `revision` counts writes.

    `refused` is true once the channel refused it for good and a dead letter says so: nobody tries again by itself.
    """

    incident_id: str
    account_id: str
    channel: str
    number: int
    due_at: datetime
    state: DeliveryState = DeliveryState.PENDING
    attempts: tuple[Attempt, ...] = ()
    tries: int = 0
    receipt: str | None = None
    refused: bool = False
    lease_until: datetime | None = None
    revision: int = 1

    @property
    def key(self) -> Key:
        """Return the key of the ledger's item."""
        return delivery_key(self.incident_id, self.channel, self.number)


def delivery_item(delivery: Delivery) -> Item:
    """Return a delivery's item; until it is sent the sparse index `undelivered` has it."""
    item: Item = {
        "pk": delivery.key.pk,
        "sk": delivery.key.sk,
        "schema_version": SCHEMA_VERSION,
        "incident_id": delivery.incident_id,
        "account_id": delivery.account_id,
        "channel": delivery.channel,
        "number": delivery.number,
        "due_at": moment_text(delivery.due_at),
        "state": str(delivery.state),
        "attempts": [{"at": moment_text(attempt.at), "error": attempt.error} for attempt in delivery.attempts],
        "tries": delivery.tries,
        "receipt": delivery.receipt,
        "refused": delivery.refused,
        "lease_until": moment_text(delivery.lease_until) if delivery.lease_until else None,
        "revision": delivery.revision,
    }
    if delivery.state in {DeliveryState.PENDING, DeliveryState.FAILED}:
        item["undelivered_channel"] = delivery.channel
        item["undelivered_since"] = moment_text(delivery.due_at)
    return item


def delivery_of(item: Item) -> Delivery:
    """Read a delivery's item.

    Raises:
        DamagedItemError: the item cannot be understood; no retry helps.

    """
    return _reading(
        "a delivery",
        lambda: Delivery(
            incident_id=_text(item, "incident_id"),
            account_id=_text(item, "account_id"),
            channel=_text(item, "channel"),
            number=_int(item, "number"),
            due_at=_moment(item, "due_at"),
            state=DeliveryState(_text(item, "state")),
            attempts=tuple(
                Attempt(_moment(attempt, "at"), None if attempt["error"] is None else _text(attempt, "error"))
                for attempt in _objects(item, "attempts")
            ),
            tries=_int(item, "tries"),
            receipt=None if item["receipt"] is None else _text(item, "receipt"),
            refused=item["refused"] is True,
            lease_until=None if item["lease_until"] is None else _moment(item, "lease_until"),
            revision=_int(item, "revision"),
        ),
    )


# --- reading an item back ------------------------------------------------------------------------------------------


_T = TypeVar("_T")


def _reading(what: str, read: Callable[[], _T]) -> _T:
    try:
        return read()
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        # Not the error's text: it may quote what somebody wrote into the item.
        message = f"The item of {what} cannot be understood ({type(error).__name__}): it was changed."
        raise DamagedItemError(message) from error


def _text(item: Mapping[str, Value], name: str) -> str:
    value = item[name]
    if not isinstance(value, str):
        raise TypeError(name)
    return value


def _int(item: Mapping[str, Value], name: str) -> int:
    value = item[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(name)
    return value


def _moment(item: Mapping[str, Value], name: str) -> datetime:
    return _parsed_moment(_text(item, name))


def _parsed_moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _list(item: Mapping[str, Value], name: str) -> Sequence[Value]:
    value = item[name]
    if not isinstance(value, list):
        raise TypeError(name)
    return value


def _texts(item: Mapping[str, Value], name: str) -> tuple[str, ...]:
    return tuple(str(value) for value in _list(item, name))


def _pairs(item: Mapping[str, Value], name: str) -> list[tuple[Value, Value]]:
    pairs = []
    for value in _list(item, name):
        if not isinstance(value, list) or len(value) != 2:  # noqa: PLR2004 - a pair
            raise TypeError(name)
        pairs.append((value[0], value[1]))
    return pairs


def _objects(item: Mapping[str, Value], name: str) -> list[dict[str, Value]]:
    objects = []
    for value in _list(item, name):
        if not isinstance(value, dict):
            raise TypeError(name)
        objects.append(value)
    return objects


def _counts(item: Mapping[str, Value], name: str) -> Mapping[str, int]:
    value = item[name]
    if not isinstance(value, dict):
        raise TypeError(name)
    return MappingProxyType({key: int(str(count)) for key, count in value.items()})


def record_of(item: Mapping[str, Value]) -> Mapping[str, object]:
    """Return the redacted record of an event item as CloudTrail's own JSON.

    Raises:
        DamagedItemError: the item holds none that can be read; no retry helps.

    """
    try:
        value = json.loads(stored_record(item))
    except ValueError as error:
        message = "An event's record is not JSON any more: the item was changed."
        raise DamagedItemError(message) from error
    if not isinstance(value, dict):
        message = "An event's record is no object any more: the item was changed."
        raise DamagedItemError(message)
    return value
