"""What lies on a dead-letter queue: what it is about, why it is there, and where it belongs. Pure.

Three kinds of queue, and five kinds of message:

    intake   what detect rejected (it states a reason), and what it failed on 100 times
    rule     what EventBridge could not hand to a target (attributes RULE_ARN, TARGET_ARN, ERROR_CODE, ERROR_MESSAGE)
    notify   what a notifier could not deliver for good (it states a reason), and a place in the table's stream that
             Lambda gave up on
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from rootwatch.alert import shown
from rootwatch.audit.table import Key

LONGEST: Final = 300


class Queue(StrEnum):
    """The dead-letter queues, by what fills them."""

    INTAKE = "intake"
    RULE = "rule"
    NOTIFY = "notify"


class Way(StrEnum):
    """Where a dead letter belongs."""

    INTAKE = "to the intake queue"
    LEDGER = "its delivery is due again"
    CHANNEL = "all that its channel did not take is due again"
    STAYS = "stays"


@dataclass(frozen=True, slots=True)
class Letter:
    """A message of a dead-letter queue. `receipt` is what it takes to delete it, None where that is not wanted."""

    queue: Queue
    id: str
    body: str
    attributes: Mapping[str, str]
    sent_at: datetime | None
    receipt: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Judged:
    """A letter with what is known of it: `about` and `why` in words, cleaned; the delivery or channel that it names."""

    letter: Letter
    about: str
    why: str
    way: Way
    key: Key | None = None
    channel: str | None = None


def judge(letter: Letter, *, rejected_again: bool = False) -> Judged:
    """Say of a letter what it is about, why it lies there, and where it belongs.

    Args:
        letter: the letter.
        rejected_again: also what detect rejected goes back, for after detect itself was mended.

    """
    if letter.queue is Queue.NOTIFY:
        return _of_notifier(letter)
    document = _mapping(letter.body)
    detail = document.get("detail")
    about = _about(document)
    if letter.queue is Queue.RULE:
        why = _of_eventbridge(letter.attributes)
        way = Way.INTAKE if isinstance(detail, Mapping) else Way.STAYS
        return Judged(letter, about, why if way is Way.INTAKE else f"{why}; it is no event that detect could read", way)
    reason = letter.attributes.get("reason")
    if reason is None:
        why = "detect failed on it again and again for eight hours; its log says why"
        return Judged(letter, about, why, Way.INTAKE)
    why = f"detect could not read it: {shown(reason, LONGEST)}"
    return Judged(letter, about, why, Way.INTAKE if rejected_again else Way.STAYS)


def _mapping(text: str) -> Mapping[str, object]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, Mapping) else {}


def _about(envelope: Mapping[str, object]) -> str:
    detail = envelope.get("detail")
    if not isinstance(detail, Mapping):
        return "not an event of EventBridge"
    account = detail.get("recipientAccountId") or envelope.get("account")
    name, time = detail.get("eventName") or "an event without a name", detail.get("eventTime") or "no stated time"
    return f"{shown(name, 80)} in account {shown(account or 'not stated', 40)} at {shown(time, 40)}"


_CODES: Final[Mapping[str, str]] = {
    "NO_PERMISSIONS": "the target's policy or key does not admit EventBridge",
    "NO_RESOURCE": "the target does not exist",
    "RESOURCE_LIMIT_EXCEEDED": "the target was at its limit",
    "THROTTLING": "the target asked to slow down",
    "SERVICE_UNAVAILABLE": "the target's service was not available",
    "TIMEOUT": "the target did not answer in time",
    "INTERNAL_ERROR": "AWS had a fault",
}
"""https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html"""


def _of_eventbridge(attributes: Mapping[str, str]) -> str:
    target = shown(attributes.get("TARGET_ARN") or "a target that is not stated", 200)
    code = attributes.get("ERROR_CODE") or "no code"
    words = _CODES.get(code) or shown(attributes.get("ERROR_MESSAGE") or "no message", 200)
    return f"EventBridge could not hand it to {target}: {words} ({shown(code, 60)})"


_CHANNEL: Final = re.compile(r":function:[A-Za-z0-9-]+-notify-(sns|slack)(?::|$)")


def _of_notifier(letter: Letter) -> Judged:
    document = _mapping(letter.body)
    pk, sk = document.get("pk"), document.get("sk")
    reason = letter.attributes.get("reason")
    if isinstance(pk, str) and isinstance(sk, str):
        channel = sk.split("#")[1] if sk.startswith("DELIVERY#") and sk.count("#") == 2 else None  # noqa: PLR2004
        why = f"the notifier left it: {shown(reason, LONGEST)}" if reason else "the notifier gave no reason"
        way = Way.LEDGER if channel else Way.STAYS
        about = f"alert {shown(sk.rpartition('#')[2], 20)} of {shown(pk, 80)} on {shown(channel or '?', 20)}"
        return Judged(letter, about, why, way, Key(pk, sk), channel)
    context = document.get("requestContext")
    function = str(context.get("functionArn", "")) if isinstance(context, Mapping) else ""
    found = _CHANNEL.search(function)
    if found and isinstance(document.get("DDBStreamBatchInfo"), Mapping):
        condition = shown(context.get("condition") if isinstance(context, Mapping) else "", 60)
        why = f"what the channel did not take within an hour was passed over by the stream ({condition})"
        return Judged(letter, f"a place in the stream, for {found[1]}", why, Way.CHANNEL, channel=found[1])
    why = f"it says of itself: {shown(reason, LONGEST)}" if reason else "nothing says what it is"
    return Judged(letter, "not a delivery and no place in the stream", why, Way.STAYS)
