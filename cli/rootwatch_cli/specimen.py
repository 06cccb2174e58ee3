"""`rootwatch specimen`: a specimen out of events/, as it is or wrapped as the invoking service wraps it."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rootwatch_cli.project import EVENTS

QUEUE_ARN: Final = "arn:aws:sqs:us-east-1:111122223333:rootwatch-intake"


def specimen_names() -> list[str]:
    """Return the names of all specimens, near misses and silent records, such as `near_misses/console_login`."""
    return sorted(path.relative_to(EVENTS).with_suffix("").as_posix() for path in EVENTS.rglob("*.json"))


def load_specimen(name: str) -> Any:  # noqa: ANN401 - an envelope or a list of envelopes
    """Return a specimen as it stands in its file: one EventBridge event or a list of them.

    Raises:
        KeyError: there is none of this name.

    """
    if name not in specimen_names():
        raise KeyError(name)
    return json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))


def as_sqs_event(envelopes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the event with which Lambda invokes `detect` for these envelopes, sent 20 seconds after each event."""
    return {"Records": [_sqs_record(number, envelope) for number, envelope in enumerate(envelopes, start=1)]}


def _sqs_record(number: int, envelope: Mapping[str, Any]) -> dict[str, Any]:
    sent_at = datetime.fromisoformat(str(envelope["time"])).astimezone(UTC) + timedelta(seconds=20)
    sent = str(int(sent_at.timestamp() * 1000))
    return {
        "messageId": f"00000000-0000-4000-8000-{number:012d}",
        "receiptHandle": "synthetic-receipt-handle",
        "body": json.dumps(envelope, separators=(",", ":")),
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": sent,
            "SenderId": "AIDAEXAMPLE0000000001",
            "ApproximateFirstReceiveTimestamp": sent,
        },
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": QUEUE_ARN,
        "awsRegion": "us-east-1",
    }


def run_specimen(name: str, *, wrapped_for: str | None) -> int:
    """Print a specimen as JSON; return 1 and say which there are if there is none of this name."""
    try:
        specimen = load_specimen(name)
    except KeyError:
        sys.stderr.write(f"There is no specimen {name!r}. There are: {', '.join(specimen_names())}\n")
        return 1
    envelopes = specimen if isinstance(specimen, list) else [specimen]
    document = as_sqs_event(envelopes) if wrapped_for == "detect" else specimen
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    return 0
