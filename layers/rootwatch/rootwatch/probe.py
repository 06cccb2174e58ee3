"""The signs of life that we send ourselves, and how they are told from a forgery of them.

A *canary* is a synthetic record of the canary's source: it takes the way of root's records, from the rule to each
channel's sender. A *source heartbeat* is a tag that the watchdog writes on our own rule: its CloudTrail record has to
come back, which only a trail makes. Both carry a nonce that is used once. Neither is recognised by a field of a record:

- a canary by its envelope's source, its nonce among the envelope's resources, and the hash of exactly what was sent;
- a source heartbeat by CloudTrail's own source, and a nonce that was given out for the rule that it names.

Whatever only looks like one goes the ordinary way: recorded, alerted, marked. A forwarder's heartbeat (`Beat`) proves
the account and region that EventBridge wrote into its envelope, whatever it says itself.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from rootwatch.record import Record, read_document

CANARY_SOURCE: Final = "rootwatch.canary"
HEARTBEAT_SOURCE: Final = "rootwatch.heartbeat"
HEARTBEAT_NAME: Final = "RootwatchHeartbeat"
TAG_KEY: Final = "rootwatch-heartbeat"

OLDEST_BEAT: Final = timedelta(hours=25)
"""EventBridge tries for 24 hours to hand a heartbeat over; an older one is somebody's replay."""
BEAT_AHEAD: Final = timedelta(minutes=5)

_NONCE: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{32}")
_ACCOUNT: Final = re.compile(r"[0-9]{12}")
_REGION: Final = re.compile(r"[a-z]{2}-[a-z-]{2,24}-[0-9]{1,2}")
_BEAT_FIELDS: Final = frozenset({"eventName", "scheduledTime", "executionId"})


class ProbeKind(StrEnum):
    """What a probe proves."""

    CANARY = "canary"
    HEARTBEAT = "heartbeat"


@dataclass(frozen=True, slots=True)
class Probe:
    """A canary or a source heartbeat: its nonce, when it was sent, what came back. Times are UTC.

    `sha256` is the hash of the canary's record as it was sent, empty for a heartbeat; `arrived` is the hash of the
    record that used the nonce up. `revision` counts writes, 0 for none yet.
    """

    kind: ProbeKind
    nonce: str
    rule_arn: str
    sent_at: datetime
    sha256: str = ""
    arrived_at: datetime | None = None
    arrived: str | None = None
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Beat:
    """A forwarder's heartbeat: whose and where, as EventBridge wrote it, and for when it was scheduled (UTC)."""

    account_id: str
    region: str
    scheduled_at: datetime


class ForgedBeatError(ValueError):
    """Something has the source of the heartbeats and is none; the message says in words why."""


def make_nonce(at: datetime, token: str) -> str:
    """Return a nonce that sorts by its time; `token` is 32 random hexadecimal digits."""
    return f"{at:%Y%m%dT%H%M%SZ}-{token}"


def make_probe(kind: ProbeKind, rule_arn: str, at: datetime, token: str) -> Probe:
    """Return a probe that is about to be sent."""
    nonce = make_nonce(at, token)
    sha256 = read_document(canary_record(nonce, rule_arn, at)).sha256 if kind is ProbeKind.CANARY else ""
    return Probe(kind, nonce, rule_arn, at, sha256)


def place_of(rule_arn: str) -> tuple[str, str]:
    """Return account and region of a rule's ARN."""
    _, _, _, region, account_id, _ = rule_arn.split(":", 5)
    return account_id, region


def canary_record(nonce: str, rule_arn: str, at: datetime) -> dict[str, Any]:
    """Return the record of a canary. Pure: the same arguments give the same record, and so the same hash.

    Root is its actor and it is a write: so it passes the rule, and one that is not ours alerts. Its name says to
    everybody who reads it that nothing happened.
    """
    account_id, region = place_of(rule_arn)
    return {
        "eventVersion": "1.11",
        "eventType": "AwsApiCall",
        "eventID": nonce,
        "eventTime": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "eventSource": CANARY_SOURCE,
        "eventName": "RootwatchCanary",
        "awsRegion": region,
        "recipientAccountId": account_id,
        "readOnly": False,
        "managementEvent": True,
        "sourceIPAddress": "AWS Internal",
        "userAgent": "rootwatch",
        "userIdentity": {"type": "Root", "accountId": account_id},
    }


def canary_resource(probe: Probe) -> str:
    """Return the one resource that a canary's envelope names: its nonce, in the shape of an ARN."""
    return f"{probe.rule_arn}/canary/{probe.nonce}"


def named_probe(record: Record) -> tuple[ProbeKind, str] | None:
    """Return the kind and the nonce that a record claims; None for all that claims none."""
    envelope = record.envelope
    if envelope is None:
        return None
    if envelope.source == CANARY_SOURCE:
        if len(envelope.resources) != 1:
            return None
        nonce = envelope.resources[0].rpartition("/canary/")[2]
        return (ProbeKind.CANARY, nonce) if _NONCE.fullmatch(nonce) else None
    if not envelope.from_cloudtrail or record.event_name != "TagResource" or record.service != "events":
        return None
    value = None if record.actor.by_root else _tag_value(record.request.get("tags"))
    return (ProbeKind.HEARTBEAT, value) if value is not None else None


def _tag_value(tags: object) -> str | None:
    """Return the nonce where a heartbeat's tag is the one tag there is."""
    if not isinstance(tags, list) or len(tags) != 1 or not isinstance(tags[0], Mapping):
        return None
    tag = {str(name).casefold(): value for name, value in tags[0].items()}
    value = tag.get("value")
    is_nonce = tag.get("key") == TAG_KEY and isinstance(value, str) and _NONCE.fullmatch(value)
    return str(value) if is_nonce else None


def answers(record: Record, probe: Probe) -> bool:
    """Return whether a record is what the probe waits for, and not only something with its nonce."""
    envelope = record.envelope
    if envelope is None or (envelope.account, envelope.region) != place_of(probe.rule_arn):
        return False
    if probe.kind is ProbeKind.CANARY:
        return record.sha256 == probe.sha256 and envelope.resources == (canary_resource(probe),)
    # CloudTrail spells the parameter as the API does, which was not seen: both ways that AWS uses elsewhere.
    return probe.rule_arn in {record.request.get("resourceARN"), record.request.get("resourceArn")}


def read_beat(record: Record, sent_at: datetime | None) -> Beat | None:
    """Return the forwarder's heartbeat that a record is; None for what does not come from the heartbeats' source.

    Args:
        record: what arrived.
        sent_at: when it reached the intake queue (UTC), if that is known.

    Raises:
        ForgedBeatError: it has the source and is no heartbeat: it says more than a heartbeat does, or at another time.

    """
    envelope = record.envelope
    if envelope is None or envelope.source != HEARTBEAT_SOURCE:
        return None
    if record.event_name != HEARTBEAT_NAME or set(record.body) != _BEAT_FIELDS:
        message = "It has the source of the heartbeats and says more, or other things, than a heartbeat does."
        raise ForgedBeatError(message)
    account_id, region = envelope.account or "", envelope.region or ""
    if not _ACCOUNT.fullmatch(account_id) or not _REGION.fullmatch(region):
        message = "The envelope of a heartbeat names no account or no region."
        raise ForgedBeatError(message)
    scheduled_at = _moment(record.body.get("scheduledTime"))
    if scheduled_at is None:
        message = "A heartbeat does not say for when it was scheduled."
        raise ForgedBeatError(message)
    if sent_at is not None and not sent_at - OLDEST_BEAT <= scheduled_at <= sent_at + BEAT_AHEAD:
        message = "A heartbeat was scheduled for another day than the one on which it came."
        raise ForgedBeatError(message)
    return Beat(account_id, region, scheduled_at)


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    if moment is None:
        return None
    return moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def heard_from(record: Record) -> tuple[str, str] | None:
    """Return account and region that a record of CloudTrail came from, as EventBridge wrote them; None for all else."""
    envelope = record.envelope
    if envelope is None or not envelope.from_cloudtrail:
        return None
    account_id, region = envelope.account or "", envelope.region or ""
    return (account_id, region) if _ACCOUNT.fullmatch(account_id) and _REGION.fullmatch(region) else None
