"""Step 8, what arrived: the ledger of one alert on one channel, and the one way to send it.

A lease stops two senders from sending together; a receipt stops everybody from sending again. A sender that dies
between the channel's answer and the receipt causes one repetition, never a loss.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from rootwatch.alert import Alert
from rootwatch.audit.items import Attempt, Delivery, DeliveryState
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Key
from rootwatch.errors import (
    DamagedItemError,
    DeliveryError,
    DeliveryFailedError,
    DeliveryRefusedError,
    NothingDeliveredError,
    RootwatchError,
    StoreConflictError,
    StoreError,
)

LEASE: Final = timedelta(seconds=90)
"""Longer than a notifier may run, so that a lease only outlives a sender that died."""
LONGEST_LEASE: Final = 2 * LEASE
"""What reaches further is none, as far as two senders' clocks may differ: it would hold an alert back for ever."""

MOST_ATTEMPTS_KEPT: Final = 20


@dataclass(frozen=True, slots=True)
class Sent:
    """The channel's receipt: an SNS message id, Slack's "ok" or the message's `ts`.

    `before`: what went wrong with richer forms of the message before this one went out, each an attempt of its own.
    """

    receipt: str
    before: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unconfigured:
    """The channel has no secret yet, so there is nothing to send to. Never the same as sent."""

    reason: str


Sender = Callable[[Alert], Sent | Unconfigured]
"""Sends one alert; raises a `DeliveryError` where the channel did not take it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one record of the stream: what the ledger says, or `failed` with the `fault` of a later try."""

    sequence_number: str
    state: str
    fault: str | None = None


def deliver_batch(records: Sequence[Mapping[str, Any]], deliver: Callable[[Mapping[str, Any]], str]) -> list[Outcome]:
    """Deliver what the records of a stream's batch are about; a fault of one does not hold up the next.

    Args:
        records: the entries of a DynamoDB stream event.
        deliver: delivers what one entry is about and returns its state; whatever it raises makes the stream come again.

    Returns:
        One outcome for each record, in their order.

    """
    outcomes = []
    for record in records:
        number = str((record.get("dynamodb") or {}).get("SequenceNumber", ""))
        try:
            outcomes.append(Outcome(number, deliver(record)))
        except RootwatchError as error:
            outcomes.append(Outcome(number, DeliveryState.FAILED, str(error) or type(error).__name__))
        except Exception as error:  # noqa: BLE001 - reported below, and the stream comes again
            # Its text is not ours: it may hold a webhook's address or whatever stands in a record.
            outcomes.append(Outcome(number, DeliveryState.FAILED, f"a fault in Rootwatch ({type(error).__name__})"))
    return outcomes


def answer_of(outcomes: Sequence[Outcome]) -> dict[str, list[dict[str, str]]]:
    """Return Lambda's answer for a batch of a stream: which records it has to hand over again, if any.

    An empty sequence number makes it hand over the whole batch:
    https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html

    Raises:
        NothingDeliveredError: nothing of the batch was delivered; Lambda hands over all of it, and counts an error.

    """
    again = [{"itemIdentifier": each.sequence_number} for each in outcomes if each.fault is not None]
    if outcomes and len(again) == len(outcomes):
        message = "Nothing of the batch was delivered: " + "; ".join(sorted({each.fault or "" for each in outcomes}))
        raise NothingDeliveredError(message)
    return {"batchItemFailures": again}


def deliver(
    store: AuditStore, key: Key, send: Sender, now: Callable[[], datetime], leave: Callable[[str], None]
) -> DeliveryState:
    """Send one alert on one channel, unless it is sent already, and keep the ledger.

    Args:
        store: the audit store.
        key: the delivery's key, as the table's stream has it.
        send: the channel's sender.
        now: the clock, UTC.
        leave: leaves a dead letter with the reason; may raise, and then the ledger does not say refused yet.

    Returns:
        What the ledger says afterwards: sent, unconfigured, or failed where the channel refused it for good.

    Raises:
        DeliveryFailedError: the channel did not take it, or somebody else is sending it right now; a retry helps.
        DamagedItemError: ledger or alert are missing or altered; no retry helps.
        StoreError: the table could not be read or written.

    """
    delivery = store.delivery(key)
    if delivery is None:
        message = "The ledger of a delivery is gone from the audit table."
        raise DamagedItemError(message)
    if delivery.refused or delivery.state in {DeliveryState.SENT, DeliveryState.UNCONFIGURED}:
        return delivery.state
    alert = store.alert(delivery.incident_id, delivery.number)
    if alert is None:
        message = "An alert is gone from the audit table."
        raise DamagedItemError(message)
    delivery = _leased(store, delivery, now())
    try:
        answer = send(alert)
    except DeliveryRefusedError as error:
        failed = store.write_delivery(delivery, _after(delivery, DeliveryState.FAILED, now(), str(error)))
        leave(str(error))
        store.write_delivery(failed, replace(failed, refused=True))
        return DeliveryState.FAILED
    except (DeliveryError, StoreError) as error:
        store.write_delivery(delivery, _after(delivery, DeliveryState.FAILED, now(), str(error)))
        raise
    except Exception as error:  # noqa: BLE001 - it is kept and raised again
        # A fault of ours: let the lease go, so that the next try says what is wrong. Only the kind of the error is
        # kept, and nothing is chained: its text may hold the webhook's address.
        message = f"A fault in Rootwatch kept the alert from being sent ({type(error).__name__})."
        store.write_delivery(delivery, _after(delivery, DeliveryState.FAILED, now(), message))
        raise DeliveryFailedError(message) from None
    if isinstance(answer, Unconfigured):
        store.write_delivery(delivery, _after(delivery, DeliveryState.UNCONFIGURED, now(), answer.reason))
        return DeliveryState.UNCONFIGURED
    tried = delivery
    for words in answer.before:
        tried = _after(tried, DeliveryState.FAILED, now(), words)
    sent = replace(_after(tried, DeliveryState.SENT, now(), None), receipt=answer.receipt)
    store.write_delivery(delivery, sent)
    return DeliveryState.SENT


def prove_channel(
    store: AuditStore, key: Key, prove: Callable[[str], Sent | Unconfigured], now: Callable[[], datetime]
) -> DeliveryState:
    """Let a channel prove itself with a canary, and keep what came of it.

    A channel that fails is an item that says so, and no error: the stream must not hold up alerts for the sake of a
    canary. The next one comes within the hour, and the canary's age has an alarm.

    Args:
        store: the audit store.
        key: the key of the canary on this channel, as the table's stream has it.
        prove: proves the channel's sender with a nonce, where nobody sees it; raises a `DeliveryError` where it fails.
        now: the clock, UTC.

    Returns:
        What is kept afterwards: sent, unconfigured or failed.

    Raises:
        DamagedItemError: the item is missing or altered; no retry helps.
        StoreError: the table could not be read or written; a retry helps.

    """
    proof = store.proof(key)
    if proof is None:
        message = "What became of a canary is gone from the audit table."
        raise DamagedItemError(message)
    if proof.state is not DeliveryState.PENDING:
        return proof.state
    try:
        answer = prove(proof.nonce)
    except DeliveryError as error:
        proven = replace(proof, state=DeliveryState.FAILED, words=str(error))
    except Exception as error:  # noqa: BLE001 - kept by its kind alone: its text may hold the webhook's address
        proven = replace(proof, state=DeliveryState.FAILED, words=f"A fault in Rootwatch ({type(error).__name__}).")
    else:
        if isinstance(answer, Unconfigured):
            proven = replace(proof, state=DeliveryState.UNCONFIGURED, words=answer.reason)
        else:
            proven = replace(proof, state=DeliveryState.SENT, words=answer.receipt)
    store.write_proof(replace(proven, at=now()))
    return proven.state


def is_leased(delivery: Delivery, now: datetime) -> bool:
    """Return whether somebody is sending the alert at the moment `now` (UTC)."""
    return delivery.lease_until is not None and now < delivery.lease_until <= now + LONGEST_LEASE


def _leased(store: AuditStore, delivery: Delivery, now: datetime) -> Delivery:
    if delivery.lease_until is not None and is_leased(delivery, now):
        message = "Somebody else is sending this alert right now."
        raise DeliveryFailedError(message, retry_after=(delivery.lease_until - now).total_seconds())
    try:
        return store.write_delivery(delivery, replace(delivery, lease_until=now + LEASE))
    except StoreConflictError as error:
        message = "Somebody else began to send this alert."
        raise DeliveryFailedError(message, retry_after=LEASE.total_seconds()) from error


def _after(delivery: Delivery, state: DeliveryState, at: datetime, error: str | None) -> Delivery:
    attempts = (*delivery.attempts, Attempt(at, error))[-MOST_ATTEMPTS_KEPT:]
    return replace(delivery, state=state, attempts=attempts, tries=delivery.tries + 1, lease_until=None)
