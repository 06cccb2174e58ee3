"""Records and messages derived from a specimen.

Nothing here reads a clock or draws a number: the same call gives the same value, in any order, on any machine.
"""

import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tests.builders.specimens import load_specimen

ABSENT: Final = object()
"""As a value in a change: the key is taken away."""

QUEUE_ARN: Final = "arn:aws:sqs:us-east-1:111122223333:rootwatch-intake"
MIDNIGHT: Final = datetime(2026, 11, 3, tzinfo=UTC)
TIME_ON_THE_BUS: Final = timedelta(seconds=2)


def build_record(
    specimen: str = "console_login", /, *, position: int = 0, number: int = 0, **changes: Any
) -> dict[str, Any]:
    """One CloudTrail record: a specimen's, with changes.

    A change is named by its dotted path (`**{"userIdentity.type": "IAMUser"}`), missing objects on the way are made,
    and the value ABSENT takes the key away. A changed record, or one with another `number`, has an eventID of its own,
    derived from its content; an unchanged one keeps the specimen's.
    """
    envelope = build_envelope(specimen, position=position, number=number, **changes)
    record: dict[str, Any] = envelope["detail"]
    return record


def build_envelope(
    specimen: str = "console_login", /, *, position: int = 0, number: int = 0, **changes: Any
) -> dict[str, Any]:
    """The EventBridge envelope of `build_record`; account, time and region follow the record where they are text."""
    envelope = load_specimen(specimen)[position]
    record = envelope["detail"]
    for path, value in changes.items():
        _change(record, path.split("."), value)
    if (changes or number) and "eventID" not in changes:
        record["eventID"] = _identifier("event", str(number), _canonical(record))
    if changes or number:
        envelope["id"] = _identifier("envelope", str(number), _canonical(record))
    for name, field in (("account", "recipientAccountId"), ("time", "eventTime"), ("region", "awsRegion")):
        if isinstance(record.get(field), str):
            envelope[name] = record[field]
    return envelope


def as_sqs_message(
    envelope: Mapping[str, Any] | str,
    *,
    sent: datetime | None = None,
    receive_count: int = 1,
    queue_arn: str = QUEUE_ARN,
) -> dict[str, Any]:
    """One record of an SQS event, as Lambda hands it to a function.

    `envelope` is the body, or, as a string, the body's exact text. `sent` (with a time zone) becomes SentTimestamp in
    milliseconds; by default two seconds after the envelope's time, or after midnight of 2026-11-03 if it states none.
    """
    body = envelope if isinstance(envelope, str) else json.dumps(envelope)
    if sent is None:
        time = (
            "2026-11-03T00:00:00Z" if isinstance(envelope, str) else str(envelope.get("time", "2026-11-03T00:00:00Z"))
        )
        sent = datetime.fromisoformat(time) + TIME_ON_THE_BUS
    milliseconds = str(round(sent.timestamp() * 1000))
    return {
        "messageId": _identifier("message", body),
        "receiptHandle": f"receipt-{_identifier('receipt', body, str(receive_count))}",
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": str(receive_count),
            "SentTimestamp": milliseconds,
            "SenderId": "AIDAEXAMPLESENDER0001",
            "ApproximateFirstReceiveTimestamp": milliseconds,
        },
        "messageAttributes": {},
        "md5OfBody": hashlib.md5(body.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": "us-east-1",
    }


def as_sqs_event(envelopes: Iterable[Mapping[str, Any] | str]) -> dict[str, Any]:
    """The whole event of one invocation: a batch with one message per envelope, in order."""
    return {"Records": [as_sqs_message(envelope) for envelope in envelopes]}


def _time_of(envelope: Mapping[str, Any] | str) -> datetime:
    try:
        time = datetime.fromisoformat("" if isinstance(envelope, str) else str(envelope.get("time")))
    except ValueError:
        return MIDNIGHT
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _change(record: dict[str, Any], path: list[str], value: Any) -> None:
    *way, key = path
    for step in way:
        if not isinstance(record.get(step), dict):
            record[step] = {}
        record = record[step]
    if value is ABSENT:
        record.pop(key, None)
    else:
        record[key] = value


def _canonical(document: object) -> str:
    return json.dumps(document, sort_keys=True, default=repr)


def _identifier(*parts: str) -> str:
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))
