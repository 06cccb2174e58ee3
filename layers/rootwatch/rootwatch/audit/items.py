"""Items and keys of the audit table, and how our own types become items and come back. Section 6 of the design.

| item | pk | sk |
|---|---|---|
| event | `EVENTS#<account>#<yyyy-mm>` | `<eventTime>#<eventID>#<first 12 of SHA-256>` |
| event that did not come from CloudTrail | as above | as above, and `#not-from-cloudtrail` |
| head | `ACCOUNT#<id>` | `HEAD` |
| source | `ACCOUNT#<id>` | `SOURCE#<address>` |
| damaged item, as it was found | `ACCOUNT#<id>` | `DAMAGED#<digest>` |
| address across accounts | `ADDRESS#<address>` | `SEEN` |
| key issued by AssumeRoot | `KEY#<accessKeyId>` | `ASSUMED` |
| use of a key before its AssumeRoot call was recorded | `KEY#<accessKeyId>` | `USED#<account>` |
| declared use | `ACCOUNT#<id>` | `DECLARED#<from>#<id>` |
| its end, where somebody ended it | `ACCOUNT#<id>` | `DECLARED#<from>#<id>#ENDED` |
| incident | `INCIDENT#<id>` | `INCIDENT` |
| alert | `INCIDENT#<id>` | `ALERT#<number>` |
| delivery | `INCIDENT#<id>` | `DELIVERY#<channel>#<number>` |
| thread | `INCIDENT#<id>` | `THREAD#<channel>` |
| step that somebody took | `INCIDENT#<id>` | `STEP#<time>#<number>` |
| signed requests that came lately | `REQUEST#<first 3 of SHA-256>` | `SEEN` |
| cache | `CACHE#<kind>` | `<address, account or service>` |
| watchdog | `WATCHDOG` | `STATE` |
| proof of the way | `WATCHDOG` | `PROOF` |
| canary, source heartbeat | `CANARY` | `canary#<nonce>`, `heartbeat#<nonce>` |
| canary on a channel | `CANARY` | `DELIVERY#<channel>#<nonce>` |
| account in a region | `COVERAGE` | `<account>#<region>` |
| its heartbeats of a month | `HEARD#<yyyy-mm>` | `<account>#<region>` |
| dead letters seen in a month | `WATCHDOG` | `LETTERS#<yyyy-mm>#<kind>` |
| what became of a month's report | `REPORT` | `<yyyy-mm>` |
"""

import hashlib
import ipaddress
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeVar

from rootwatch.alert import Alert
from rootwatch.audit.table import Item, Key, Value, key_of
from rootwatch.context.declared_use import DeclaredUse
from rootwatch.context.observation import IssuedKey, Observation
from rootwatch.context.surroundings import Remembered, Subject
from rootwatch.coverage import Place
from rootwatch.detections.detection import Severity, Stage
from rootwatch.errors import DamagedItemError, DeclarationError
from rootwatch.incident import (
    GENESIS,
    AccountState,
    AddressSeen,
    ClosedIncident,
    Damage,
    GatheredAct,
    Incident,
    KeyUse,
    Proposal,
    RecordedEvent,
    SourceSeen,
    Triage,
    TriageState,
    Why,
)
from rootwatch.probe import Probe, ProbeKind
from rootwatch.record import canonical_json

SCHEMA_VERSION: Final = 4
"""Of every item that is written. What an older version lacks is filled in when it is read: `_NEW_IN`."""
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


def event_month(observation: Observation) -> str:
    """Return the month under which a record is stored (`2026-11`), or `undated`."""
    stated = observation.record.event_time
    return f"{stated:%Y-%m}" if stated else "undated"


def event_key(observation: Observation) -> Key:
    """Return where a record is stored: the same record always has the same key.

    A copy that did not come from CloudTrail has another, so that it cannot take the place of the real one.
    """
    record = observation.record
    stated = record.event_time
    time = moment_text(stated) if stated else "undated"
    origin = "" if observation.admitted else "#not-from-cloudtrail"
    return Key(
        event_partition(record.account_id, event_month(observation)),
        f"{event_prefix(observation, time)}{record.sha256[:12]}{origin}",
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


def damaged_key(account_id: str, damage: Damage) -> Key:
    """Return the key of the copy of an item that was found damaged."""
    return Key(f"ACCOUNT#{key_part(account_id)}", f"{DAMAGED_PREFIX}{damage.digest}")


DAMAGED_PREFIX: Final = "DAMAGED#"


def address_key(address: str) -> Key:
    """Return the key of what is remembered of an address across accounts."""
    return Key(f"ADDRESS#{key_part(address)}", "SEEN")


def issued_key_key(access_key_id: str) -> Key:
    """Return the key of what is remembered of an access key that AssumeRoot issued."""
    return Key(f"KEY#{key_part(access_key_id)}", "ASSUMED")


def use_key(access_key_id: str, account_id: str) -> Key:
    """Return the key of what an access key did in an account before its AssumeRoot call was recorded."""
    return Key(f"KEY#{key_part(access_key_id)}", f"{USED_PREFIX}{key_part(account_id)}")


USED_PREFIX: Final = "USED#"


def incident_key(incident_id: str) -> Key:
    """Return the key of an incident."""
    return Key(f"INCIDENT#{incident_id}", "INCIDENT")


def alert_key(incident_id: str, number: int) -> Key:
    """Return the key of an incident's alert."""
    return Key(f"INCIDENT#{incident_id}", f"ALERT#{number:06d}")


def delivery_key(incident_id: str, channel: str, number: int) -> Key:
    """Return the key of an alert's delivery on a channel; the streams' filters take its prefix."""
    return Key(f"INCIDENT#{incident_id}", f"DELIVERY#{channel}#{number:06d}")


def watch_key() -> Key:
    """Return the key of what the watchdog remembers from one run to the next."""
    return Key("WATCHDOG", "STATE")


def thread_key(incident_id: str, channel: str) -> Key:
    """Return the key of an incident's thread on a channel."""
    return Key(f"INCIDENT#{incident_id}", f"THREAD#{channel}")


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
        "source_owner": _clean(observation.source.owner),
        "source_country": _clean(observation.source.country),
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
        "expected": str(event.expectation.kind) if event.expectation and event.expectation.applies else None,
        "declared_use": event.expectation.declared.id if event.expectation and event.expectation.declared else None,
        # As it was known at the time: the report of a month must not change with what we learn later.
        "root_need": observation.root_need.sentence if observation.root_need else None,
        "role_alternative": observation.role_alternative,
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
        "sign_ins": [moment_text(moment) for moment in state.sign_ins],
        "failures": [moment_text(moment) for moment in state.failures],
        "closed_incidents": [
            [closed.id, moment_text(closed.opened_at), moment_text(closed.last_at)] for closed in state.closed_incidents
        ],
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
    sign_ins: tuple[datetime, ...] = ()
    failures: tuple[datetime, ...] = ()
    closed_incidents: tuple[ClosedIncident, ...] = ()


def head_of(item: Item | None) -> Head:
    """Read an account's head; an account without one begins at nothing.

    Raises:
        DamagedItemError: the item cannot be understood; no retry helps.

    """
    if item is None:
        return Head(0, 0, GENESIS, (), ())
    item = _migrated("head", item)
    return _reading(
        "the account's head",
        lambda: Head(
            _natural(item, "version"),
            _natural(item, "sequence"),
            _hash(item, "chain"),
            _texts(item, "open_incidents"),
            _texts(item, "lineages"),
            tuple(map(_parsed_moment, _texts(item, "sign_ins"))),
            tuple(map(_parsed_moment, _texts(item, "failures"))),
            tuple(
                ClosedIncident(str(name), _parsed_moment(str(opened)), _parsed_moment(str(last)))
                for name, opened, last in _tuples(item, "closed_incidents", 3)
            ),
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
        "members": [_clean(member) for member in incident.members],
        "expectations": dict(incident.expectations),
        "gathered": [_gathered_value(act) for act in incident.gathered],
        "told": {name: moment_text(moment) for name, moment in incident.told.items()},
        "triage": _triage_value(incident.triage),
        "steps_chain": incident.triage.chain,
        "incident_month": f"{incident.opened_at:%Y-%m}",
        "incident_account": incident.account_id,
    }
    if incident.open:
        item["open_account"] = incident.account_id
    if incident.triage.asking and incident.triage.waiting_since is not None:
        item["unanswered_account"] = incident.account_id
        item["unanswered_since"] = moment_text(incident.triage.waiting_since)
    return item


def _triage_value(triage: Triage) -> dict[str, Value]:
    proposal = triage.proposal
    return {
        "state": str(triage.state),
        "since": moment_text(triage.since) if triage.since else None,
        "by": _clean(triage.by),
        "moves": triage.moves,
        "steps": triage.steps,
        "alerted_at": moment_text(triage.alerted_at) if triage.alerted_at else None,
        "waiting_since": moment_text(triage.waiting_since) if triage.waiting_since else None,
        "asked": triage.asked,
        "asking": triage.asking,
        "proposal": None
        if proposal is None
        else {
            "by": _clean(proposal.by),
            "by_name": _clean(proposal.by_name),
            "via": proposal.via,
            "at": moment_text(proposal.at),
            "reason": _clean(proposal.reason),
            "ticket": _clean(proposal.ticket),
        },
    }


def _triage_of(item: Mapping[str, Value]) -> Triage:
    if item["triage"] is None:
        return Triage()  # it was written before there was triage: nobody answered, and nobody is asked now
    triage = _object(item, "triage")
    return Triage(
        state=TriageState(_text(triage, "state")),
        since=_moment_or_none(triage, "since"),
        by=_text(triage, "by"),
        moves=_natural(triage, "moves"),
        steps=_natural(triage, "steps"),
        chain=_hash_or_none(item, "steps_chain"),
        alerted_at=_moment_or_none(triage, "alerted_at"),
        waiting_since=_moment_or_none(triage, "waiting_since"),
        asked=_natural(triage, "asked"),
        asking=triage["asking"] is True,
        proposal=None if triage["proposal"] is None else _proposal_of(_object(triage, "proposal")),
    )


def _proposal_of(proposal: Mapping[str, Value]) -> Proposal:
    by, by_name, via = (_text(proposal, name) for name in ("by", "by_name", "via"))
    reason, ticket = (_text(proposal, name) for name in ("reason", "ticket"))
    return Proposal(by, by_name, via, _moment(proposal, "at"), reason, ticket)


def incident_of(item: Item) -> Incident:
    """Read an incident's item.

    Raises:
        DamagedItemError: the item cannot be understood; no retry helps.

    """
    item = _migrated("incident", item)
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
            members=_texts(item, "members"),
            expectations=_counts(item, "expectations"),
            gathered=tuple(map(_gathered_of, _objects(item, "gathered"))),
            told=MappingProxyType({name: _parsed_moment(moment) for name, moment in _named_texts(item, "told")}),
            triage=_triage_of(item),
        ),
    )


def _gathered_value(act: GatheredAct) -> dict[str, Value]:
    return {
        "at": moment_text(act.at),
        "gathered_at": moment_text(act.gathered_at),
        "account_id": _clean(act.account_id),
        "event_id": _clean(act.event_id),
        "event_name": _clean(act.event_name),
        "target": _clean(act.target),
        "source": _clean(act.source),
        "severity": str(act.severity),
        "detections": list(act.detections),
        "why": list(act.why),
        "pages": act.pages,
    }


def _gathered_of(value: Mapping[str, Value]) -> GatheredAct:
    return GatheredAct(
        at=_moment(value, "at"),
        gathered_at=_moment(value, "gathered_at"),
        account_id=_text(value, "account_id"),
        event_id=_text_or_none(value, "event_id"),
        event_name=_text_or_none(value, "event_name"),
        target=_text_or_none(value, "target"),
        source=_text_or_none(value, "source"),
        severity=Severity(_text(value, "severity")),
        detections=_texts(value, "detections"),
        why=tuple(map(Why, _texts(value, "why"))),
        pages=value["pages"] is True,
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


# --- what is remembered across accounts ----------------------------------------------------------------------------


def address_item(address: str, seen: AddressSeen) -> Item:
    """Return what is remembered of an address across accounts."""
    key = address_key(address)
    return {
        "pk": key.pk,
        "sk": key.sk,
        "schema_version": SCHEMA_VERSION,
        "address": _clean(address),
        "version": seen.version,
        "accounts": {account: moment_text(moment) for account, moment in seen.accounts.items()},
    }


def address_of(item: Item) -> AddressSeen:
    """Read what is remembered of an address across accounts.

    Raises:
        DamagedItemError: the item cannot be understood; no retry helps.

    """
    return _reading(
        "an address",
        lambda: AddressSeen(
            _natural(item, "version"),
            MappingProxyType({account: _parsed_moment(moment) for account, moment in _named_texts(item, "accounts")}),
        ),
    )


def issued_key_item(access_key_id: str, issued: IssuedKey) -> Item:
    """Return what is remembered of an access key that AssumeRoot issued."""
    key = issued_key_key(access_key_id)
    return {
        "pk": key.pk,
        "sk": key.sk,
        "schema_version": SCHEMA_VERSION,
        "account_id": _clean(issued.account_id),
        "story": issued.story,
        "caller": _clean(issued.caller),
        "task_policy": _clean(issued.task_policy),
        "target_account_id": _clean(issued.target_account_id),
        "issued_at": moment_text(issued.issued_at),
    }


def issued_key_of(item: Item) -> IssuedKey:
    """Read what is remembered of an access key that AssumeRoot issued.

    Raises:
        DamagedItemError: the item cannot be understood; no retry helps.

    """
    return _reading(
        "a key issued by AssumeRoot",
        lambda: IssuedKey(
            account_id=_text(item, "account_id"),
            story=_text(item, "story"),
            caller=_text(item, "caller"),
            task_policy=_text_or_none(item, "task_policy"),
            target_account_id=_text_or_none(item, "target_account_id"),
            issued_at=_moment(item, "issued_at"),
        ),
    )


def use_item(access_key_id: str, use: KeyUse) -> Item:
    """Return what a key did in an account before its AssumeRoot call was recorded."""
    key = use_key(access_key_id, use.account_id)
    return {
        "pk": key.pk,
        "sk": key.sk,
        "schema_version": SCHEMA_VERSION,
        "account_id": use.account_id,
        "calls": [[_clean(service), _clean(name)] for service, name in use.calls],
    }


def use_of(item: Item) -> KeyUse:
    """Read what a key did in an account before its AssumeRoot call was recorded.

    Raises:
        DamagedItemError: the item cannot be understood; no retry helps.

    """
    return _reading(
        "the use of a key",
        lambda: KeyUse(
            _text(item, "account_id"), tuple((str(service), str(name)) for service, name in _pairs(item, "calls"))
        ),
    )


def damaged_item(account_id: str, damage: Damage, found_at: datetime) -> Item:
    """Return a copy of an item that was found damaged, or gone: evidence, and never read by us again."""
    key = damaged_key(account_id, damage)
    return {
        "pk": key.pk,
        "sk": key.sk,
        "schema_version": SCHEMA_VERSION,
        "account_id": account_id,
        "what": damage.what,
        "damaged_pk": damage.pk,
        "damaged_sk": damage.sk,
        "content": damage.content,
        "found_at": moment_text(found_at),
    }


LONGEST_DAMAGED: Final = 20_000
"""Characters that are kept of a damaged item."""


def damage_of(what: str, key: Key, item: Item | None) -> Damage:
    """Return the damage of an item that cannot be understood, with its content as text; of None, that it is gone."""
    content = None if item is None else _clean(repr(sorted(item.items()))[:LONGEST_DAMAGED])
    return Damage(what, key.pk, key.sk, content)


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
        "expected": alert.expected,
        "access": alert.access,
        "news": alert.news,
        "so_far": alert.so_far,
        "contacts": _clean(alert.contacts),
        "trust": list(alert.trust),
    }


def alert_of(item: Item) -> Alert:
    """Read an alert's item; one that an earlier version wrote lacks the later fields and has them empty.

    Raises:
        DamagedItemError: the item cannot be understood; no retry helps.

    """
    item = _migrated("alert", item)
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
            expected=_text(item, "expected"),
            access=_text(item, "access"),
            news=_text(item, "news"),
            so_far=_text(item, "so_far"),
            contacts=_text(item, "contacts"),
            trust=_texts(item, "trust"),
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


def undelivered_partition(channel: str, *, refused: bool) -> str:
    """Return under which name the index `undelivered` holds a channel's deliveries, those refused for good apart."""
    return f"{channel}#refused" if refused else channel


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
        item["undelivered_channel"] = undelivered_partition(delivery.channel, refused=delivery.refused)
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


@dataclass(frozen=True, slots=True)
class Thread:
    """Where the alerts of one incident stand together on a channel that has threads.

    `place` is where the channel keeps it (Slack's channel id), `parent` the message that it begins with (Slack's `ts`),
    None while there is none; `opened_by` the number of the alert for which it was posted. `claimed_until` (UTC) keeps
    two senders from beginning it together; `revision` counts writes.
    """

    incident_id: str
    account_id: str
    channel: str
    place: str
    parent: str | None = None
    opened_by: int = 0
    claimed_until: datetime | None = None
    revision: int = 0


def thread_item(thread: Thread) -> Item:
    """Return a thread's item."""
    key = thread_key(thread.incident_id, thread.channel)
    return {
        "pk": key.pk,
        "sk": key.sk,
        "schema_version": SCHEMA_VERSION,
        "incident_id": thread.incident_id,
        "account_id": thread.account_id,
        "channel": thread.channel,
        "place": thread.place,
        "parent": thread.parent,
        "opened_by": thread.opened_by,
        "claimed_until": moment_text(thread.claimed_until) if thread.claimed_until else None,
        "revision": thread.revision,
    }


def thread_of(item: Item) -> Thread:
    """Read a thread's item.

    Raises:
        DamagedItemError: the item cannot be understood; no retry helps.

    """
    return _reading(
        "a thread",
        lambda: Thread(
            incident_id=_text(item, "incident_id"),
            account_id=_text(item, "account_id"),
            channel=_text(item, "channel"),
            place=_text(item, "place"),
            parent=None if item["parent"] is None else _text(item, "parent"),
            opened_by=_int(item, "opened_by"),
            claimed_until=None if item["claimed_until"] is None else _moment(item, "claimed_until"),
            revision=_int(item, "revision"),
        ),
    )


# --- triage --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """One step of triage, never written again: what was done (`kind`), by whom, when (UTC), from where.

    `by` identifies the person (`slack:T…/U…`, or an ARN that AWS proved), `by_name` is how people know them, `via` the
    way it came: `slack`, `aws` or `watchdog`. `origin` is where it came from as far as that way states it: a network
    address, or Slack's channel. `before` and `after` are states; a step that changes none has the same twice. The texts
    are as they were typed, and hostile. `chain` joins it to the step before it (`audit.steps`), and is empty in what an
    older version wrote.
    """

    incident_id: str
    account_id: str
    number: int
    at: datetime
    kind: str
    by: str
    by_name: str
    via: str
    before: TriageState
    after: TriageState
    origin: str = ""
    note: str = ""
    reason: str = ""
    ticket: str = ""
    chain: str = ""


STEP_PREFIX: Final = "STEP#"


def step_key(step: Step) -> Key:
    """Return the key of a step; the stream's filter takes its prefix."""
    return Key(f"INCIDENT#{step.incident_id}", f"{STEP_PREFIX}{moment_text(step.at)}#{step.number:06d}")


def step_item(step: Step) -> Item:
    """Return the item that keeps a step; nothing of ours ever writes it again."""
    key = step_key(step)
    return {
        "pk": key.pk,
        "sk": key.sk,
        "schema_version": SCHEMA_VERSION,
        "incident_id": step.incident_id,
        "account_id": step.account_id,
        "number": step.number,
        "at": moment_text(step.at),
        "kind": step.kind,
        "by": _clean(step.by),
        "by_name": _clean(step.by_name),
        "via": step.via,
        "before": str(step.before),
        "after": str(step.after),
        "origin": _clean(step.origin),
        "note": _clean(step.note),
        "reason": _clean(step.reason),
        "ticket": _clean(step.ticket),
        "chain": step.chain,
    }


def step_of(item: Item) -> Step:
    """Read a step.

    Raises:
        DamagedItemError: the item cannot be understood, or is not the one that its key names; no retry helps.

    """
    item = _migrated("step", item)

    def read() -> Step:
        step = Step(
            incident_id=_text(item, "incident_id"),
            account_id=_text(item, "account_id"),
            number=_natural(item, "number"),
            at=_moment(item, "at"),
            kind=_text(item, "kind"),
            by=_text(item, "by"),
            by_name=_text(item, "by_name"),
            via=_text(item, "via"),
            before=TriageState(_text(item, "before")),
            after=TriageState(_text(item, "after")),
            origin=_text(item, "origin"),
            note=_text(item, "note"),
            reason=_text(item, "reason"),
            ticket=_text(item, "ticket"),
            chain=_hash_or_none(item, "chain"),
        )
        if step_key(step) != key_of(item):
            raise ValueError("the key")
        return step

    return _reading("a step", read)


@dataclass(frozen=True, slots=True)
class SeenRequests:
    """Signed requests that came lately, by their hash, and when (UTC): those whose hashes begin alike."""

    seen: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))
    revision: int = 0


def request_key(digest: str) -> Key:
    """Return the key of the item that remembers a signed request: there are 4,096 of them, each written over again."""
    return Key(f"REQUEST#{digest[:3]}", "SEEN")


def seen_item(digest: str, requests: SeenRequests) -> Item:
    """Return the item that remembers signed requests; nothing of their content is in it."""
    key = request_key(digest)
    return {
        "pk": key.pk,
        "sk": key.sk,
        "schema_version": SCHEMA_VERSION,
        "seen": {name: moment_text(at) for name, at in requests.seen.items()},
        "revision": requests.revision,
    }


def seen_of(item: Item) -> SeenRequests:
    """Read which signed requests are remembered.

    Raises:
        DamagedItemError: the item cannot be understood; no retry helps.

    """
    return _reading(
        "seen requests",
        lambda: SeenRequests(
            MappingProxyType({name: _parsed_moment(at) for name, at in _named_texts(item, "seen")}),
            _natural(item, "revision"),
        ),
    )


# --- declared use --------------------------------------------------------------------------------------------------


def declared_key(declared: DeclaredUse) -> Key:
    """Return the key of a declared use."""
    return Key(f"ACCOUNT#{key_part(declared.account_id)}", f"DECLARED#{moment_text(declared.from_at)}#{declared.id}")


def declared_item(declared: DeclaredUse) -> Item:
    """Return the item that keeps what was declared; nothing of ours ever writes it again."""
    key = declared_key(declared)
    return {
        "pk": key.pk,
        "sk": key.sk,
        "schema_version": SCHEMA_VERSION,
        "declared_id": declared.id,
        "account_id": declared.account_id,
        "from_at": moment_text(declared.from_at),
        "to_at": moment_text(declared.to_at),
        "reason": declared.reason,
        "ticket": declared.ticket,
        "approver": declared.approver,
        "declared_by": declared.declared_by,
        "declared_at": moment_text(declared.declared_at),
        "addresses": [str(network) for network in declared.addresses],
        "tasks": list(declared.tasks),
    }


def declared_end_item(declared: DeclaredUse) -> Item:
    """Return the item that says who ended a declared use and when; it stands beside the declaration, which stays."""
    key = declared_key(declared)
    return {
        "pk": key.pk,
        "sk": f"{key.sk}{_ENDED}",
        "schema_version": SCHEMA_VERSION,
        "declared_id": declared.id,
        "account_id": declared.account_id,
        "ended_at": moment_text(declared.ended_at) if declared.ended_at else None,
        "ended_by": declared.ended_by,
    }


_ENDED: Final = "#ENDED"


def declared_of(item: Item | None, end: Item | None) -> DeclaredUse:
    """Read a declared use and, if somebody ended it, its end.

    Raises:
        DamagedItemError: there is an end without a declaration, one of them cannot be understood, or the declaration is
            not the one that its key names; no retry helps.

    """
    if item is None:
        message = "A declared use is gone from the audit table; its end is still there."
        raise DamagedItemError(message)

    def read() -> DeclaredUse:
        declared = DeclaredUse(
            account_id=_text(item, "account_id"),
            from_at=_moment(item, "from_at"),
            to_at=_moment(item, "to_at"),
            reason=_text(item, "reason"),
            ticket=_text(item, "ticket"),
            approver=_text(item, "approver"),
            declared_by=_text(item, "declared_by"),
            declared_at=_moment(item, "declared_at"),
            addresses=tuple(ipaddress.ip_network(_text_itself(entry)) for entry in _list(item, "addresses")),
            tasks=tuple(_text_itself(entry) for entry in _list(item, "tasks")),
            ended_at=_moment(end, "ended_at") if end is not None else None,
            ended_by=_text(end, "ended_by") if end is not None else None,
        )
        if declared_key(declared) != key_of(item):
            raise ValueError("the key")
        return declared

    return _reading("a declared use", read)


def paired_declarations(items: Iterable[Item]) -> Iterator[tuple[str, Item | None, Item | None]]:
    """Yield each declaration's sort key with its item and its end, None for what is not there."""
    found: dict[str, list[Item | None]] = {}
    for item in items:
        sk = key_of(item).sk
        found.setdefault(sk.removesuffix(_ENDED), [None, None])[sk.endswith(_ENDED)] = item
    for sk, (declaration, end) in found.items():
        yield sk, declaration, end


# --- caches --------------------------------------------------------------------------------------------------------


def cache_key(subject: Subject) -> Key:
    """Return the key of what is remembered of an address, an account or a service."""
    return Key(f"CACHE#{subject.kind}", key_part(subject.name))


def cache_item(subject: Subject, remembered: Remembered) -> Item:
    """Return the item that remembers a look-up. `expires` is in seconds since 1970; nothing but its reader heeds it."""
    key = cache_key(subject)
    return {
        "pk": key.pk,
        "sk": key.sk,
        "schema_version": SCHEMA_VERSION,
        "name": _clean(subject.name),
        "fields": {field: _clean(text) for field, text in remembered.fields.items()},
        "expires": int(remembered.until.timestamp()),
    }


def cache_of(item: Item) -> Remembered:
    """Read what is remembered of a look-up.

    Raises:
        DamagedItemError: the item cannot be understood; look it up again.

    """

    def read() -> Remembered:
        fields = item["fields"]
        if not isinstance(fields, dict):
            raise TypeError("fields")
        texts = {name: _text(fields, name) for name in fields}
        return Remembered(MappingProxyType(texts), datetime.fromtimestamp(_int(item, "expires"), UTC))

    return _reading("a cache", read)


# --- watchdog ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Told:
    """A trouble that the watchdog told of: since when it lasts, how much of it there was, and when each place was told.

    Places are channels and `operations`; times are UTC.
    """

    since: datetime
    count: int
    at: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class WatchState:
    """What the watchdog remembers. `lease_until` (UTC) keeps two runs apart; `revision` counts writes, 0 for none yet.

    `timers_after` is the account whose timers ran last in a run that had to stop early; the next one goes on after it.
    `sent_after` is the same for each partition of the index `undelivered`, `refused_again_at` the moment (UTC) at which
    what a channel refused for good is tried again. `troubles` are by subject: `channel:slack`, `letters:intake`.
    """

    revision: int = 0
    lease_until: datetime | None = None
    timers_after: str = ""
    sent_after: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    refused_again_at: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))
    troubles: Mapping[str, Told] = field(default_factory=lambda: MappingProxyType({}))


def watch_item(state: WatchState) -> Item:
    """Return the watchdog's item."""
    key = watch_key()
    return {
        "pk": key.pk,
        "sk": key.sk,
        "schema_version": SCHEMA_VERSION,
        "revision": state.revision,
        "lease_until": moment_text(state.lease_until) if state.lease_until else None,
        "timers_after": state.timers_after,
        "sent_after": dict(state.sent_after),
        "refused_again_at": {channel: moment_text(moment) for channel, moment in state.refused_again_at.items()},
        "troubles": {
            subject: {
                "since": moment_text(told.since),
                "count": told.count,
                "at": {place: moment_text(moment) for place, moment in told.at.items()},
            }
            for subject, told in state.troubles.items()
        },
    }


def watch_of(item: Item) -> WatchState:
    """Read the watchdog's item.

    Raises:
        DamagedItemError: the item cannot be understood; no retry helps.

    """
    return _reading(
        "the watchdog's state",
        lambda: WatchState(
            revision=_int(item, "revision"),
            lease_until=None if item["lease_until"] is None else _moment(item, "lease_until"),
            timers_after=_text(item, "timers_after"),
            sent_after=_by_name(item, "sent_after", _text),
            refused_again_at=_by_name(item, "refused_again_at", _moment),
            troubles=_by_name(item, "troubles", _told),
        ),
    )


def _told(troubles: Mapping[str, Value], subject: str) -> Told:
    told = _object(troubles, subject)
    return Told(_moment(told, "since"), _int(told, "count"), _by_name(told, "at", _moment))


@dataclass(frozen=True, slots=True)
class SeenLetters:
    """That there were dead letters in a month (`2026-11`): in which queue, how many at the most, from when (UTC) on.

    `kind` is the queue's (`intake`, `rule`, `notify`), `gone_at` when it was seen empty again, None while it is not.
    """

    month: str
    kind: str
    queue: str
    most: int
    first_at: datetime
    gone_at: datetime | None = None


def seen_letters_prefix(month: str) -> str:
    """Return how the sort keys of a month's dead letters begin, in the watchdog's partition."""
    return f"LETTERS#{month}#"


def seen_letters_key(month: str, kind: str) -> Key:
    """Return the key of what was seen of a queue's dead letters in a month."""
    return Key(watch_key().pk, f"{seen_letters_prefix(month)}{kind}")


def seen_letters_item(seen: SeenLetters) -> Item:
    """Return the item of what was seen of a queue's dead letters in a month."""
    key = seen_letters_key(seen.month, seen.kind)
    return {
        "pk": key.pk,
        "sk": key.sk,
        "schema_version": SCHEMA_VERSION,
        "month": seen.month,
        "kind": seen.kind,
        "queue": seen.queue,
        "most": seen.most,
        "first_at": moment_text(seen.first_at),
        "gone_at": moment_text(seen.gone_at) if seen.gone_at else None,
    }


def seen_letters_of(item: Item) -> SeenLetters:
    """Read what was seen of a queue's dead letters in a month.

    Raises:
        DamagedItemError: the item cannot be understood, or lies under another one's key; no retry helps.

    """

    def read() -> SeenLetters:
        seen = SeenLetters(
            month=_text(item, "month"),
            kind=_text(item, "kind"),
            queue=_text(item, "queue"),
            most=_int(item, "most"),
            first_at=_moment(item, "first_at"),
            gone_at=_moment_or_none(item, "gone_at"),
        )
        if key_of(item) != seen_letters_key(seen.month, seen.kind):
            raise ValueError("key")
        return seen

    return _reading("seen dead letters", read)


# --- probes and coverage -------------------------------------------------------------------------------------------

PROBES: Final = "CANARY"
"""The partition of canaries and source heartbeats; also of what became of a canary on each channel."""
COVERAGE: Final = "COVERAGE"


def probe_key(kind: ProbeKind, nonce: str) -> Key:
    """Return the key of a canary or a source heartbeat; those of a kind are sorted by time."""
    return Key(PROBES, f"{kind}#{nonce}")


def probe_item(probe: Probe) -> Item:
    """Return the item of a canary or a source heartbeat."""
    key = probe_key(probe.kind, probe.nonce)
    return {
        "pk": key.pk,
        "sk": key.sk,
        "schema_version": SCHEMA_VERSION,
        "synthetic": True,
        "kind": str(probe.kind),
        "nonce": probe.nonce,
        "rule_arn": probe.rule_arn,
        "sent_at": moment_text(probe.sent_at),
        "sha256": probe.sha256,
        "arrived_at": moment_text(probe.arrived_at) if probe.arrived_at else None,
        "arrived": probe.arrived,
        "revision": probe.revision,
    }


def probe_of(item: Item) -> Probe:
    """Read the item of a canary or a source heartbeat.

    Raises:
        DamagedItemError: the item cannot be understood; no retry helps.

    """
    return _reading(
        "a probe",
        lambda: Probe(
            kind=ProbeKind(_text(item, "kind")),
            nonce=_text(item, "nonce"),
            rule_arn=_text(item, "rule_arn"),
            sent_at=_moment(item, "sent_at"),
            sha256=_text(item, "sha256"),
            arrived_at=_moment_or_none(item, "arrived_at"),
            arrived=_text_or_none(item, "arrived"),
            revision=_int(item, "revision"),
        ),
    )


@dataclass(frozen=True, slots=True)
class Proof:
    """What became of a canary on a channel: its state, the receipt or the error in words, when (UTC)."""

    nonce: str
    channel: str
    state: DeliveryState = DeliveryState.PENDING
    at: datetime | None = None
    words: str | None = None

    @property
    def key(self) -> Key:
        """Return the key of the item; each notifier's filter takes its own channel's."""
        return Key(PROBES, f"DELIVERY#{self.channel}#{self.nonce}")


def proof_item(proof: Proof) -> Item:
    """Return the item that says what became of a canary on a channel."""
    return {
        "pk": proof.key.pk,
        "sk": proof.key.sk,
        "schema_version": SCHEMA_VERSION,
        "synthetic": True,
        "nonce": proof.nonce,
        "channel": proof.channel,
        "state": str(proof.state),
        "at": moment_text(proof.at) if proof.at else None,
        "words": proof.words,
    }


def proof_of(item: Item) -> Proof:
    """Read what became of a canary on a channel.

    Raises:
        DamagedItemError: the item cannot be understood; no retry helps.

    """
    return _reading(
        "a canary on a channel",
        lambda: Proof(
            nonce=_text(item, "nonce"),
            channel=_text(item, "channel"),
            state=DeliveryState(_text(item, "state")),
            at=_moment_or_none(item, "at"),
            words=_text_or_none(item, "words"),
        ),
    )


def place_key(account_id: str, region: str) -> Key:
    """Return the key of what is known of an account in a region."""
    return Key(COVERAGE, f"{account_id}#{region}")


def place_item(place: Place) -> Item:
    """Return the item of an account in a region."""
    key = place_key(place.account_id, place.region)
    moments = {name: getattr(place, name) for name in _PLACE_MOMENTS}
    return {
        "pk": key.pk,
        "sk": key.sk,
        "schema_version": SCHEMA_VERSION,
        "account_id": place.account_id,
        "region": place.region,
        "first_at": moment_text(place.first_at),
        "introduced": place.introduced,
        "revision": place.revision,
        **{name: moment_text(moment) if moment else None for name, moment in moments.items()},
    }


_PLACE_MOMENTS: Final = ("heartbeat_at", "scheduled_at", "canary_at", "record_at", "told_at", "retired_at")


def place_of(item: Item) -> Place:
    """Read what is known of an account in a region.

    Raises:
        DamagedItemError: the item cannot be understood, or lies under another one's key; no retry helps.

    """

    def read() -> Place:
        moments = {name: _moment_or_none(item, name) for name in _PLACE_MOMENTS}
        place = Place(
            account_id=_text(item, "account_id"),
            region=_text(item, "region"),
            first_at=_moment(item, "first_at"),
            introduced=item["introduced"] is True,
            revision=_int(item, "revision"),
            **moments,
        )
        if key_of(item) != place_key(place.account_id, place.region):
            raise ValueError("key")
        return place

    return _reading("a place", read)


_HOURS_OF_A_DAY: Final = (1 << 24) - 1
"""A bit for each hour; whatever somebody wrote there, a day has no more."""


@dataclass(frozen=True, slots=True)
class HeardHours:
    """The hours (UTC) of a month for which a forwarder's heartbeat came: what proves its days later.

    `days` has a number for each day of the month on which one came, with the bit `1 << hour` set for each hour. So a
    heartbeat that comes twice, late or after a later one counts once, for its own hour. `revision` counts writes.
    """

    account_id: str
    region: str
    month: str
    days: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    revision: int = 0

    def has(self, at: datetime) -> bool:
        """Return whether a heartbeat of this hour (UTC) came."""
        return bool(self.days.get(at.day, 0) & 1 << at.hour)

    def with_hour(self, at: datetime) -> "HeardHours":
        """Return the hours with that of a heartbeat (UTC) among them."""
        return replace(self, days=MappingProxyType({**self.days, at.day: self.days.get(at.day, 0) | 1 << at.hour}))


def heard_partition(month: str) -> str:
    """Return the partition of the forwarders' heartbeats of a month (`2026-11`)."""
    return f"HEARD#{month}"


def heard_key(account_id: str, region: str, month: str) -> Key:
    """Return the key of the heartbeats of an account in a region in a month."""
    return Key(heard_partition(month), f"{account_id}#{region}")


def heard_item(heard: HeardHours) -> Item:
    """Return the item of the heartbeats of an account in a region in a month."""
    key = heard_key(heard.account_id, heard.region, heard.month)
    return {
        "pk": key.pk,
        "sk": key.sk,
        "schema_version": SCHEMA_VERSION,
        "account_id": heard.account_id,
        "region": heard.region,
        "month": heard.month,
        "days": {f"{day:02d}": hours for day, hours in sorted(heard.days.items())},
        "revision": heard.revision,
    }


def heard_of(item: Item) -> HeardHours:
    """Read the heartbeats of an account in a region in a month.

    Raises:
        DamagedItemError: the item cannot be understood, or lies under another one's key; no retry helps.

    """

    def read() -> HeardHours:
        days = _by_name(item, "days", _int)
        heard = HeardHours(
            account_id=_text(item, "account_id"),
            region=_text(item, "region"),
            month=_text(item, "month"),
            days=MappingProxyType({int(day): hours & _HOURS_OF_A_DAY for day, hours in days.items()}),
            revision=_int(item, "revision"),
        )
        if key_of(item) != heard_key(heard.account_id, heard.region, heard.month):
            raise ValueError("key")
        return heard

    return _reading("the heartbeats of a month", read)


@dataclass(frozen=True, slots=True)
class Sending:
    """How it stands with one kind of probe: the last one, and since when the way is proven. Times are UTC.

    `since` is when the first one was sent: until one has come back, its age is counted from there. `proven_at` is when
    the last one that came back was sent.
    """

    nonce: str
    sent_at: datetime
    since: datetime
    proven_at: datetime | None = None
    told_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ProofState:
    """What the proof of the way remembers from one minute to the next. `sendings` are by kind of probe.

    `waiting` are the notices that a place has still to be told, the oldest first: by channel or `operations`, each as
    `channels.notice.as_text` writes it.
    """

    revision: int = 0
    sendings: Mapping[str, Sending] = field(default_factory=lambda: MappingProxyType({}))
    called_for: datetime | None = None
    looked_at: datetime | None = None
    waiting: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))


def proof_state_key() -> Key:
    """Return the key of what the proof of the way remembers."""
    return Key("WATCHDOG", "PROOF")


def proof_state_item(state: ProofState) -> Item:
    """Return the item of what the proof of the way remembers."""
    key = proof_state_key()
    return {
        "pk": key.pk,
        "sk": key.sk,
        "schema_version": SCHEMA_VERSION,
        "revision": state.revision,
        "called_for": moment_text(state.called_for) if state.called_for else None,
        "looked_at": moment_text(state.looked_at) if state.looked_at else None,
        "waiting": {place: list(texts) for place, texts in state.waiting.items()},
        "sendings": {
            kind: {
                "nonce": each.nonce,
                "sent_at": moment_text(each.sent_at),
                "since": moment_text(each.since),
                "proven_at": moment_text(each.proven_at) if each.proven_at else None,
                "told_at": moment_text(each.told_at) if each.told_at else None,
            }
            for kind, each in state.sendings.items()
        },
    }


def proof_state_of(item: Item) -> ProofState:
    """Read what the proof of the way remembers.

    Raises:
        DamagedItemError: the item cannot be understood; no retry helps.

    """

    def sending(sendings: Mapping[str, Value], kind: str) -> Sending:
        each = _object(sendings, kind)
        return Sending(
            nonce=_text(each, "nonce"),
            sent_at=_moment(each, "sent_at"),
            since=_moment(each, "since"),
            proven_at=_moment_or_none(each, "proven_at"),
            told_at=_moment_or_none(each, "told_at"),
        )

    return _reading(
        "the proof's state",
        lambda: ProofState(
            revision=_int(item, "revision"),
            sendings=_by_name(item, "sendings", sending),
            called_for=_moment_or_none(item, "called_for"),
            looked_at=_moment_or_none(item, "looked_at"),
            waiting=_by_name({"waiting": {}, **item}, "waiting", _texts),
        ),
    )


# --- reports -------------------------------------------------------------------------------------------------------

REPORTS: Final = "REPORT"
"""The partition of what became of the monthly reports."""


@dataclass(frozen=True, slots=True)
class KeptReport:
    """What became of the report of a month (`2026-11`): that its files are kept, since when (UTC), and who was told.

    `run` names the invocation that made it, by which a repetition of it is known; `told` is what each channel did with
    its summary: sent, or unconfigured. A channel that failed is not in there.
    """

    month: str
    run: str
    kept_at: datetime
    told: Mapping[str, DeliveryState] = field(default_factory=lambda: MappingProxyType({}))


def kept_report_key(month: str) -> Key:
    """Return the key of what became of a month's report."""
    return Key(REPORTS, month)


def kept_report_item(kept: KeptReport) -> Item:
    """Return the item of what became of a month's report."""
    key = kept_report_key(kept.month)
    return {
        "pk": key.pk,
        "sk": key.sk,
        "schema_version": SCHEMA_VERSION,
        "month": kept.month,
        "run": kept.run,
        "kept_at": moment_text(kept.kept_at),
        "told": {channel: str(state) for channel, state in kept.told.items()},
    }


def kept_report_of(item: Item) -> KeptReport:
    """Read what became of a month's report.

    Raises:
        DamagedItemError: the item cannot be understood, or lies under another one's key; no retry helps.

    """

    def read() -> KeptReport:
        kept = KeptReport(
            month=_text(item, "month"),
            run=_text(item, "run"),
            kept_at=_moment(item, "kept_at"),
            told=_by_name(item, "told", lambda told, channel: DeliveryState(_text(told, channel))),
        )
        if key_of(item) != kept_report_key(kept.month):
            raise ValueError("key")
        return kept

    return _reading("a kept report", read)


# --- reading an item back ------------------------------------------------------------------------------------------


_NEW_IN: Final[Mapping[int, Mapping[str, Mapping[str, Value]]]] = MappingProxyType({
    2: {
        "head": {"sign_ins": [], "failures": [], "closed_incidents": []},
        "incident": {"members": [], "expectations": {}, "gathered": [], "told": {}},
        "alert": {"expected": "", "access": "", "news": "", "so_far": "", "contacts": "", "trust": []},
    },
    3: {"incident": {"triage": None}},
    4: {"incident": {"steps_chain": ""}, "step": {"chain": ""}},
})  # fmt: skip
"""What each schema version added to an item, with what an older item has instead."""


def _migrated(kind: str, item: Item) -> Item:
    """Return an item as the present schema version has it; it is written so when it next changes."""
    version = item.get("schema_version")
    if not isinstance(version, int):
        return item
    # By our own versions and not up to ours from the item's: one of minus a quintillion must not hold us up.
    for number, added in sorted(_NEW_IN.items()):
        if number > version:
            item = {**added.get(kind, {}), **item}
    return item


_T = TypeVar("_T")


def _reading(what: str, read: Callable[[], _T]) -> _T:
    try:
        return read()
    except (KeyError, TypeError, ValueError, OverflowError, OSError, DeclarationError) as error:
        # Not the error's text: it may quote what somebody wrote into the item.
        message = f"The item of {what} cannot be understood ({type(error).__name__}): it was changed."
        raise DamagedItemError(message) from error


def _text(item: Mapping[str, Value], name: str) -> str:
    value = item[name]
    if not isinstance(value, str):
        raise TypeError(name)
    return value


def _text_itself(value: Value) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _int(item: Mapping[str, Value], name: str) -> int:
    value = item[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(name)
    return value


def _text_or_none(item: Mapping[str, Value], name: str) -> str | None:
    return None if item[name] is None else _text(item, name)


def _moment_or_none(item: Mapping[str, Value], name: str) -> datetime | None:
    return None if item[name] is None else _moment(item, name)


def _natural(item: Mapping[str, Value], name: str) -> int:
    value = _int(item, name)
    if value < 0:
        raise ValueError(name)
    return value


def _hash(item: Mapping[str, Value], name: str) -> str:
    value = _text(item, name)
    if not _SHA256.fullmatch(value):
        raise ValueError(name)
    return value


def _hash_or_none(item: Mapping[str, Value], name: str) -> str:
    """Return a hash, or an empty text where there is none."""
    return _hash(item, name) if item[name] != "" else ""


_SHA256: Final = re.compile(r"[0-9a-f]{64}")


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
    return [(first, second) for first, second in _tuples(item, name, 2)]


def _tuples(item: Mapping[str, Value], name: str, length: int) -> list[list[Value]]:
    tuples = []
    for value in _list(item, name):
        if not isinstance(value, list) or len(value) != length:
            raise TypeError(name)
        tuples.append(value)
    return tuples


def _named_texts(item: Mapping[str, Value], name: str) -> list[tuple[str, str]]:
    value = item[name]
    if not isinstance(value, dict):
        raise TypeError(name)
    return [(key, _text(value, key)) for key in value]


def _objects(item: Mapping[str, Value], name: str) -> list[dict[str, Value]]:
    objects = []
    for value in _list(item, name):
        if not isinstance(value, dict):
            raise TypeError(name)
        objects.append(value)
    return objects


def _object(item: Mapping[str, Value], name: str) -> Mapping[str, Value]:
    value = item[name]
    if not isinstance(value, dict):
        raise TypeError(name)
    return value


def _by_name(item: Mapping[str, Value], name: str, read: Callable[[Mapping[str, Value], str], _T]) -> Mapping[str, _T]:
    value = _object(item, name)
    return MappingProxyType({key: read(value, key) for key in value})


def _counts(item: Mapping[str, Value], name: str) -> Mapping[str, int]:
    return MappingProxyType({key: int(str(count)) for key, count in _object(item, name).items()})


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
