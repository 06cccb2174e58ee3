"""Delivery: sent once, kept apart by a lease, every attempt in the ledger, and nothing unconfigured called sent."""

import traceback
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rootwatch.alert import Alert
from rootwatch.audit.items import Delivery, DeliveryState, delivery_key
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Key
from rootwatch.delivery import (
    LEASE,
    MOST_ATTEMPTS_KEPT,
    Sender,
    Sent,
    Unconfigured,
    answer_of,
    deliver,
    deliver_batch,
)
from rootwatch.errors import (
    DamagedItemError,
    DeliveryFailedError,
    DeliveryRefusedError,
    NothingDeliveredError,
    StoreConflictError,
)
from rootwatch.pipeline import detect_messages
from tests.builders import build_envelope
from tests.unit.workbench import NOW, CheckedTable, make_message, make_recorder


class Channel:
    """A sender that answers as told, one answer after the other, the last one for ever; keeps what it sent."""

    def __init__(self, *answers: Sent | Unconfigured | Exception) -> None:
        self.answers = list(answers)
        self.sent: list[Alert] = []

    def __call__(self, alert: Alert) -> Sent | Unconfigured:
        """Answer."""
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.sent.append(alert)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Desk:
    """One alert that is due on Slack, and a clock that the test moves."""

    def __init__(self) -> None:
        self.table = CheckedTable()
        self.store = AuditStore(self.table)
        detect_messages([make_message(build_envelope("console_login"))], make_recorder(self.table))
        [self.key] = [
            Key(pk, str(item["sk"]))
            for pk in self.table._partitions
            for item in self.table.query(pk, "DELIVERY#slack#")
        ]  # fmt: skip
        self.now: datetime = NOW
        self.letters: list[str] = []

    def deliver(self, send: Sender) -> DeliveryState:
        """Deliver at the clock's moment."""
        return deliver(self.store, self.key, send, lambda: self.now, self.letters.append)

    @property
    def ledger(self) -> Delivery:
        """The ledger as it stands."""
        delivery = self.store.delivery(self.key)
        assert delivery is not None
        return delivery


@pytest.fixture
def desk() -> Desk:
    """An alert that is due on Slack."""
    return Desk()


def test_sent_once_and_never_again(desk: Desk) -> None:
    """What has a receipt is not sent again, however often the stream names it."""
    channel = Channel(Sent("ok"))
    for _ in range(3):
        assert desk.deliver(channel) is DeliveryState.SENT
    assert len(channel.sent) == 1
    assert channel.sent[0].headline.startswith("Root signed in")
    ledger = desk.ledger
    assert (ledger.state, ledger.receipt, ledger.tries, ledger.lease_until) == (DeliveryState.SENT, "ok", 1, None)
    assert [attempt.error for attempt in ledger.attempts] == [None]


def test_what_went_wrong_before_it_was_sent_is_kept(desk: Desk) -> None:
    """Each richer form that failed is an attempt of its own in the ledger, and the alert is sent all the same."""
    assert desk.deliver(Channel(Sent("ok", before=("no blocks", "too long")))) is DeliveryState.SENT
    assert [attempt.error for attempt in desk.ledger.attempts] == ["no blocks", "too long", None]
    assert (desk.ledger.state, desk.ledger.tries, desk.ledger.receipt) == (DeliveryState.SENT, 3, "ok")


def test_unconfigured_is_never_sent(desk: Desk) -> None:
    """A channel without a secret leaves the state unconfigured, with the reason, no receipt and no second try."""
    channel = Channel(Unconfigured("no webhook_url yet"))
    for _ in range(2):
        assert desk.deliver(channel) is DeliveryState.UNCONFIGURED
    assert len(channel.sent) == 1
    assert (desk.ledger.receipt, desk.ledger.attempts[0].error) == (None, "no webhook_url yet")


def test_a_fault_of_ours_is_kept_and_raised_without_its_text(desk: Desk) -> None:
    """An unforeseen exception of a sender lets the lease go, and only its kind is kept: its text may hold a secret."""
    faulty = Channel(ZeroDivisionError("never-to-be-seen"))
    with pytest.raises(DeliveryFailedError, match="ZeroDivisionError") as caught:
        desk.deliver(faulty)
    assert "never-to-be-seen" not in "".join(traceback.format_exception(caught.value))
    assert (desk.ledger.state, desk.ledger.lease_until) == (DeliveryState.FAILED, None)
    assert "never-to-be-seen" not in str(desk.ledger)
    assert desk.deliver(Channel(Sent("ok"))) is DeliveryState.SENT


def test_what_the_channel_did_not_take_is_kept_and_raised(desk: Desk) -> None:
    """A failure is in the ledger in its own words, is raised, leaves no dead letter, and may be tried again at once."""
    channel = Channel(DeliveryFailedError("out of reach"), Sent("ok"))
    with pytest.raises(DeliveryFailedError, match="out of reach"):
        desk.deliver(channel)
    assert (desk.ledger.state, desk.ledger.lease_until) == (DeliveryState.FAILED, None)
    assert [attempt.error for attempt in desk.ledger.attempts] == ["out of reach"]
    assert desk.letters == []
    assert desk.deliver(channel) is DeliveryState.SENT
    assert desk.ledger.tries == 2


def test_what_the_channel_refused_for_good_is_left_once_and_not_tried_again(desk: Desk) -> None:
    """A refusal is in the ledger, leaves one dead letter, and later tries neither send it nor leave another."""
    channel = Channel(DeliveryRefusedError("no service"), Sent("never"))
    for _ in range(3):
        assert desk.deliver(channel) is DeliveryState.FAILED
    assert (desk.ledger.state, desk.ledger.refused, desk.ledger.lease_until) == (DeliveryState.FAILED, True, None)
    assert [attempt.error for attempt in desk.ledger.attempts] == ["no service"]
    assert desk.letters == ["no service"]
    assert len(channel.sent) == 1


def test_a_refusal_that_could_not_be_left_is_tried_again(desk: Desk) -> None:
    """Where the dead letter cannot be left, the refusal is kept, raised, and not yet called final."""

    def broken(_reason: str) -> None:
        message = "no queue"
        raise DeliveryFailedError(message)

    channel = Channel(DeliveryRefusedError("no service"))
    with pytest.raises(DeliveryFailedError, match="no queue"):
        deliver(desk.store, desk.key, channel, lambda: NOW, broken)
    assert (desk.ledger.state, desk.ledger.refused, desk.ledger.lease_until) == (DeliveryState.FAILED, False, None)
    assert desk.deliver(channel) is DeliveryState.FAILED
    assert desk.ledger.refused


def test_the_lease_keeps_two_senders_apart(desk: Desk) -> None:
    """While one sender is at it, another one fails and says when to come back; the alert goes out once."""
    second = Channel(Sent("second"))
    caught: list[DeliveryFailedError] = []

    def first(_alert: Alert) -> Sent:
        try:
            desk.deliver(second)
        except DeliveryFailedError as error:
            caught.append(error)
        return Sent("first")

    assert desk.deliver(first) is DeliveryState.SENT
    assert second.sent == []
    assert caught[0].retry_after == LEASE.total_seconds()
    assert desk.ledger.receipt == "first"


def test_two_that_read_the_ledger_at_once(desk: Desk) -> None:
    """Of two senders that both saw the ledger without a lease, only one gets it."""

    class Overtaken(AuditStore):
        overtaken = False

        def delivery(self, key: Key) -> Delivery | None:
            found = super().delivery(key)
            if not self.overtaken:
                self.overtaken = True
                assert desk.deliver(Channel(Sent("faster"))) is DeliveryState.SENT
            return found

    channel = Channel(Sent("slower"))
    with pytest.raises(DeliveryFailedError, match="Somebody else"):
        deliver(Overtaken(desk.table), desk.key, channel, lambda: NOW, desk.letters.append)
    assert channel.sent == []
    assert desk.ledger.receipt == "faster"


def test_a_lease_outlives_only_a_sender_that_died(desk: Desk) -> None:
    """A sender that died without a word blocks the alert for a minute, and then it goes out."""

    def dying(_alert: Alert) -> Sent:
        raise KeyboardInterrupt  # as when Lambda ends the process: nothing of ours runs any more

    with pytest.raises(KeyboardInterrupt):
        desk.deliver(dying)
    with pytest.raises(DeliveryFailedError):
        desk.deliver(Channel(Sent("ok")))
    desk.now += LEASE
    assert desk.deliver(Channel(Sent("ok"))) is DeliveryState.SENT


def test_nobody_holds_an_alert_back_with_a_lease_without_end(desk: Desk) -> None:
    """A lease that reaches further than a sender's can is none: whoever writes it into the table gains nothing."""
    desk.store.write_delivery(desk.ledger, replace(desk.ledger, lease_until=NOW + timedelta(days=365)))
    assert desk.deliver(Channel(Sent("ok"))) is DeliveryState.SENT


def test_a_lease_of_a_clock_that_is_ahead_is_respected(desk: Desk) -> None:
    """Two senders' clocks need not agree to the second."""
    ahead = NOW + LEASE + timedelta(seconds=20)
    desk.store.write_delivery(desk.ledger, replace(desk.ledger, lease_until=ahead))
    with pytest.raises(DeliveryFailedError, match="right now"):
        desk.deliver(Channel(Sent("twice")))


def test_the_ledger_keeps_the_last_attempts_and_counts_all(desk: Desk) -> None:
    """A channel that fails for long has a bounded ledger and a true count."""
    channel = Channel(DeliveryFailedError("out"))
    for number in range(MOST_ATTEMPTS_KEPT + 7):
        desk.now = NOW + timedelta(minutes=number)
        with pytest.raises(DeliveryFailedError):
            desk.deliver(channel)
    assert len(desk.ledger.attempts) == MOST_ATTEMPTS_KEPT
    assert desk.ledger.tries == MOST_ATTEMPTS_KEPT + 7
    assert desk.ledger.attempts[-1].at == desk.now


def test_a_missing_ledger_or_alert_is_damage_and_nothing_is_sent(desk: Desk) -> None:
    """Without its ledger or its alert a delivery is damaged, which is raised and never called sent."""
    channel = Channel(Sent("ok"))
    with pytest.raises(DamagedItemError):
        deliver(desk.store, delivery_key("gone", "slack", 1), channel, lambda: NOW, desk.letters.append)
    del desk.table._partitions[desk.key.pk]["ALERT#000001"]
    with pytest.raises(DamagedItemError):
        desk.deliver(channel)
    assert channel.sent == []


def test_a_receipt_that_cannot_be_written_is_raised(desk: Desk) -> None:
    """If the ledger was changed while the channel answered, the delivery is not called sent."""

    def meddling(_alert: Alert) -> Sent:
        desk.store.write_delivery(desk.ledger, replace(desk.ledger, tries=99))
        return Sent("ok")

    with pytest.raises(StoreConflictError):
        desk.deliver(meddling)
    assert desk.ledger.state is DeliveryState.PENDING


def test_channels_do_not_wait_for_each_other(desk: Desk) -> None:
    """A failure on Slack leaves the alert's delivery on SNS as it was."""
    with pytest.raises(DeliveryFailedError):
        desk.deliver(Channel(DeliveryFailedError("out")))
    sns_key = Key(desk.key.pk, desk.key.sk.replace("slack", "sns"))
    ledger: Any = desk.store.delivery(sns_key)
    assert ledger.state is DeliveryState.PENDING
    assert deliver(desk.store, sns_key, Channel(Sent("m-1")), lambda: NOW, desk.letters.append) is DeliveryState.SENT


def delivering(*failing: str) -> Any:
    """Return what delivers a record by its sequence number, but for those that fail."""

    def deliver_one(record: Any) -> str:
        number = record["dynamodb"]["SequenceNumber"]
        if number in failing:
            raise DeliveryFailedError(f"{number} failed")
        return "sent"

    return deliver_one


def records(*numbers: str) -> list[Any]:
    """Return records of a stream."""
    return [{"dynamodb": {"SequenceNumber": number}} for number in numbers]


def test_of_a_batch_only_what_failed_comes_again() -> None:
    """A fault of any kind does not keep the next from being tried, and only it is reported."""
    outcomes = deliver_batch(records("1", "2", "3"), delivering("2"))

    assert [(each.state, each.fault) for each in outcomes] == [("sent", None), ("failed", "2 failed"), ("sent", None)]
    assert answer_of(outcomes) == {"batchItemFailures": [{"itemIdentifier": "2"}]}
    assert answer_of(deliver_batch(records("1", "2"), delivering())) == {"batchItemFailures": []}
    assert answer_of([]) == {"batchItemFailures": []}


def test_a_batch_of_which_nothing_was_delivered_is_an_error() -> None:
    """Lambda then hands over all of it again, and counts an error, for which there is an alarm."""
    outcomes = deliver_batch(records("1", "2"), delivering("1", "2"))

    with pytest.raises(NothingDeliveredError, match="1 failed; 2 failed"):
        answer_of(outcomes)


@pytest.mark.parametrize("record", [{}, {"dynamodb": None}, {"dynamodb": {}}])
def test_a_failure_without_a_number_brings_the_whole_batch_again(record: Any) -> None:
    """Lambda reads an empty identifier as: all of it. It is never left out of the answer."""

    def fails(_record: Any) -> str:
        if _record is record:
            raise RuntimeError
        return "sent"

    outcomes = deliver_batch([record, *records("1")], fails)

    assert answer_of(outcomes) == {"batchItemFailures": [{"itemIdentifier": ""}]}
    assert outcomes[0].fault == "a fault in Rootwatch (RuntimeError)"


def test_the_text_of_a_fault_that_is_not_ours_goes_nowhere() -> None:
    """What another library says may hold the webhook's address; the log and Lambda's error get its kind alone."""

    def fails(_record: Any) -> str:
        raise ValueError("https://hooks.slack.example/services/T0/B0/secret")

    outcomes = deliver_batch(records("1"), fails)

    assert [each.fault for each in outcomes] == ["a fault in Rootwatch (ValueError)"]
    with pytest.raises(NothingDeliveredError, match=r"a fault in Rootwatch \(ValueError\)$") as caught:
        answer_of(outcomes)
    assert "secret" not in "".join(traceback.format_exception(caught.value))
