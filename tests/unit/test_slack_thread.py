"""One thread per incident: the alert comes first, one parent whoever sends, and its parent says how things stand."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rootwatch.alert import Alert
from rootwatch.audit.items import Thread, thread_key
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Key, Put
from rootwatch.channels import slack
from rootwatch.channels.slack_bot import POST, UPDATE, Posted, SlackBot
from rootwatch.detections.detection import Severity
from rootwatch.errors import (
    DeliveryFailedError,
    DeliveryRefusedError,
    MessageRefusedError,
    StoreConflictError,
    StoreUnavailableError,
    ThreadRefusedError,
)
from rootwatch.pipeline import detect_messages, run_timers
from rootwatch.slack_thread import CHANNEL, CLAIM, send_in_thread
from tests.builders import build_envelope
from tests.unit.workbench import ACCOUNT, NOW, CheckedTable, make_message, make_recorder

PLACE = "C0000000000"
STORY = ("console_login_failed", "console_login_without_mfa", "access_key_created", "logging_tampered")


class FakeSlack:
    """A channel of Slack's: posts, threads, changes; `trouble` is asked before each call and may raise."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Mapping[str, Any]]] = []
        self.messages: dict[str, Mapping[str, Any]] = {}
        self.gone: set[str] = set()
        self.trouble: Callable[[str, Mapping[str, Any]], None] = lambda _method, _arguments: None

    def call(self, method: str, arguments: Mapping[str, Any]) -> Posted:
        """Answer as the API does."""
        self.calls.append((method, arguments))
        self.trouble(method, arguments)
        if method == UPDATE:
            if arguments["ts"] in self.gone:
                raise ThreadRefusedError("the message is gone")
            self.messages[arguments["ts"]] = arguments
            return Posted(arguments["ts"])
        ts = f"1788000000.{len(self.calls):06d}"
        self.messages[ts] = arguments
        parent = arguments.get("thread_ts")
        return Posted(ts, in_thread=parent in self.messages and parent not in self.gone)

    @property
    def parents(self) -> list[str]:
        """The messages outside of any thread."""
        return [ts for ts, message in self.messages.items() if "thread_ts" not in message]

    def replies(self, parent: str) -> list[Mapping[str, Any]]:
        """The messages in a thread."""
        return [message for message in self.messages.values() if message.get("thread_ts") == parent]

    def count(self, method: str) -> int:
        """How often a method was called."""
        return sum(1 for called, _ in self.calls if called == method)


class Desk:
    """An incident with alerts, Slack, and what was noted beside the alerts."""

    def __init__(self, specimens: tuple[str, ...] = STORY) -> None:
        self.table = CheckedTable()
        self.store = AuditStore(self.table)
        self.slack = FakeSlack()
        self.notes: list[str] = []
        self.now = NOW
        for number, specimen in enumerate(specimens):
            session: dict[str, Any] = {"userIdentity.sessionContext.attributes.creationDate": "2026-11-03T02:14:07Z"}
            changes = session if number > 1 else {}
            detect_messages(
                [make_message(build_envelope(specimen, number=number, **changes))], make_recorder(self.table)
            )
        [self.incident_id] = {
            pk.removeprefix("INCIDENT#") for pk in self.table._partitions if pk.startswith("INCIDENT#")
        }
        self.count = sum(1 for sk in self.table._partitions[f"INCIDENT#{self.incident_id}"] if sk.startswith("ALERT#"))

    def alert(self, number: int) -> Alert:
        """One of the incident's alerts."""
        alert = self.store.alert(self.incident_id, number)
        assert alert is not None
        return alert

    def send(self, number: int, *, place: str = PLACE, store: AuditStore | None = None) -> tuple[str, tuple[str, ...]]:
        """Send one of the incident's alerts."""
        bot = SlackBot(self.slack.call, place)
        return send_in_thread(store or self.store, bot, self.alert(number), self.clock, self.notes.append)

    def clock(self) -> datetime:
        """The clock, which the test moves."""
        return self.now

    @property
    def thread(self) -> Thread:
        """The thread as the table has it."""
        thread = self.store.thread(self.incident_id, CHANNEL)
        assert thread is not None
        return thread


@pytest.fixture
def desk() -> Desk:
    """The incident of the demo, of which nothing is sent yet."""
    return Desk()


def words(message: Mapping[str, Any]) -> str:
    """All that a person reads in a message."""
    return json.dumps(message, ensure_ascii=False)


def fail(*, method: str = POST, error: Exception, times: int = 1, reply: bool | None = None) -> Any:
    """Trouble: so many calls of a method fail, of replies only or of parents only where that is said."""
    left = [times]

    def trouble(called: str, arguments: Mapping[str, Any]) -> None:
        fits = called == method and reply in {None, "thread_ts" in arguments}
        if fits and left[0] > 0:
            left[0] -= 1
            raise error

    return trouble


# --- the way it should go ---------------------------------------------------------------------------------------------


def test_one_parent_and_every_alert_in_its_thread(desk: Desk) -> None:
    """An incident of several alerts is one message in the channel, with each alert in its thread, in order."""
    assert desk.count >= 4
    receipts = [desk.send(number) for number in range(1, desk.count + 1)]
    [parent] = desk.slack.parents
    replies = desk.slack.replies(parent)
    assert [reply["text"] for reply in replies] == [
        slack.payload(desk.alert(number))["text"] for number in range(1, desk.count + 1)
    ]
    assert all(desk.slack.messages[ts] in replies and before == () for ts, before in receipts)
    assert (desk.thread.place, desk.thread.parent, desk.thread.claimed_until) == (PLACE, parent, None)
    assert desk.notes == []


def test_what_is_high_or_critical_is_shown_in_the_channel_too(desk: Desk) -> None:
    """Later alerts are broadcast from high upwards; the first one's headline is in the channel with the parent."""
    for number in range(1, desk.count + 1):
        desk.send(number)
    [parent] = desk.slack.parents
    severities = [desk.alert(number).severity for number in range(1, desk.count + 1)]
    assert Severity.MEDIUM in severities
    expected = [number > 0 and severity.rank >= Severity.HIGH.rank for number, severity in enumerate(severities)]
    assert [reply["reply_broadcast"] for reply in desk.slack.replies(parent)] == expected
    assert True in expected


def test_what_is_below_high_stays_in_the_thread(desk: Desk) -> None:
    """A later alert of medium severity is in the thread only, and so is a critical one that its parent tells of."""
    desk.send(2)
    bot = SlackBot(desk.slack.call, PLACE)
    medium = replace(desk.alert(3), severity=Severity.MEDIUM)
    send_in_thread(desk.store, bot, medium, desk.clock, desk.notes.append)
    assert desk.alert(2).severity is Severity.CRITICAL
    assert [reply["reply_broadcast"] for reply in desk.slack.replies(desk.slack.parents[0])] == [False, False]


def test_the_parent_is_kept_up_to_date(desk: Desk) -> None:
    """After each alert the parent says how the incident stands: severity, counts, last act, latest alert."""
    desk.send(1)
    [parent] = desk.slack.parents
    desk.send(2)
    assert desk.slack.count(UPDATE) == 1
    desk.send(desk.count)
    now = words(desk.slack.messages[parent])
    incident = desk.store.incident(desk.incident_id)
    assert incident is not None
    assert "OPEN" in now
    assert f"Severity: {incident.severity}" in now
    assert f"Records: {incident.records}" in now
    assert f"Alerts: {desk.count}" in now
    assert "last act" in now
    assert desk.alert(desk.count).headline in now


def test_the_parent_says_when_the_incident_is_closed(desk: Desk) -> None:
    """The summary that ends an incident goes into its thread, and the parent then says closed."""
    desk.send(1)
    run_timers(ACCOUNT, make_recorder(desk.table, NOW + timedelta(hours=3)))
    desk.send(desk.count + 1)
    [parent] = desk.slack.parents
    assert "CLOSED" in desk.slack.messages[parent]["text"]
    assert "Root use ended" in words(desk.slack.messages[parent])


def test_a_late_alert_is_not_called_the_latest(desk: Desk) -> None:
    """An older alert that is sent again late does not put itself in front of a newer one."""
    desk.send(1)
    desk.send(desk.count)
    desk.send(2)
    [parent] = desk.slack.parents
    assert "Latest alert" not in words(desk.slack.messages[parent]["blocks"])
    assert desk.alert(2).headline not in words(desk.slack.messages[parent]["blocks"])


# --- who begins it ----------------------------------------------------------------------------------------------------


def test_two_senders_make_one_parent(desk: Desk) -> None:
    """While one sender begins the thread, another fails and comes again, and finds the thread then."""
    caught: list[DeliveryFailedError] = []

    def second(method: str, arguments: Mapping[str, Any]) -> None:
        if method == POST and "thread_ts" not in arguments and not caught:
            with pytest.raises(DeliveryFailedError, match="beginning this incident's thread") as error:
                desk.send(2)
            caught.append(error.value)

    desk.slack.trouble = second
    desk.send(1)
    desk.send(2)
    [parent] = desk.slack.parents
    assert len(desk.slack.replies(parent)) == 2
    assert caught[0].retry_after == CLAIM.total_seconds()


def test_two_that_saw_no_thread_at_once(desk: Desk) -> None:
    """Of two senders that both found no thread, the table lets only one begin it."""

    class Overtaken(AuditStore):
        def thread(self, incident_id: str, channel: str) -> Thread | None:
            found = super().thread(incident_id, channel)
            desk.send(1)
            return found

    with pytest.raises(DeliveryFailedError, match="beginning this incident's thread"):
        desk.send(2, store=Overtaken(desk.table))
    assert len(desk.slack.parents) == 1


def test_a_sender_that_dies_costs_an_orphan_and_no_alert(desk: Desk) -> None:
    """A sender that dies between Slack's answer and our table blocks the thread for its claim; then it begins again."""

    def die(_method: str, arguments: Mapping[str, Any]) -> None:
        if "thread_ts" in arguments:
            raise KeyboardInterrupt  # as when Lambda ends the process: nothing of ours runs any more

    class Dying(AuditStore):
        def write_thread(self, before: Thread | None, after: Thread) -> Thread:
            if after.parent is not None:
                raise KeyboardInterrupt
            return super().write_thread(before, after)

    with pytest.raises(KeyboardInterrupt):
        desk.send(1, store=Dying(desk.table))
    with pytest.raises(DeliveryFailedError):
        desk.send(1)
    desk.now += CLAIM
    desk.send(1)
    assert len(desk.slack.parents) == 2
    assert len(desk.slack.replies(str(desk.thread.parent))) == 1
    desk.slack.trouble = die
    with pytest.raises(KeyboardInterrupt):
        desk.send(2)
    desk.slack.trouble = lambda _method, _arguments: None
    desk.send(2)
    assert len(desk.slack.parents) == 2


def test_a_claim_without_end_keeps_no_alert_back(desk: Desk) -> None:
    """One that reaches further than a sender's can is none: whoever writes it into the table gains nothing."""
    desk.send(1)
    forged = replace(desk.thread, parent=None, claimed_until=desk.now + timedelta(days=365))
    desk.store.write_thread(desk.thread, forged)
    desk.send(2)
    assert len(desk.slack.replies(str(desk.thread.parent))) == 1


def test_where_the_thread_is_cannot_be_kept(desk: Desk) -> None:
    """The alert is sent all the same, which is noted; the next alert begins another thread."""

    class Forgetful(AuditStore):
        def write_thread(self, before: Thread | None, after: Thread) -> Thread:
            if after.parent is not None:
                raise StoreUnavailableError("throttled")
            return super().write_thread(before, after)

    desk.send(1, store=Forgetful(desk.table))
    assert len(desk.slack.replies(desk.slack.parents[0])) == 1
    assert "could not be kept" in desk.notes[0]
    desk.now += CLAIM
    desk.send(2)
    assert len(desk.slack.parents) == 2


def test_another_channel_in_the_secret_begins_another_thread(desk: Desk) -> None:
    """When the operator moves alerts to another channel, open incidents go on there."""
    desk.send(1)
    desk.send(2, place="C0000000001")
    assert desk.thread.place == "C0000000001"
    assert len(desk.slack.parents) == 2
    assert len(desk.slack.replies(str(desk.thread.parent))) == 1


# --- trouble ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [DeliveryFailedError("out of reach"), DeliveryRefusedError("is_archived")])
def test_a_parent_that_is_not_taken_fails_the_delivery(desk: Desk, error: Exception) -> None:
    """Without its parent an alert is not sent; the claim is let go, so the next try need not wait."""
    desk.slack.trouble = fail(error=error, reply=False)
    with pytest.raises(type(error)):
        desk.send(1)
    assert desk.slack.messages == {}
    assert desk.thread.claimed_until is None
    desk.send(1)
    assert len(desk.slack.parents) == 1


def test_an_alert_that_is_not_taken_fails_the_delivery_and_keeps_its_thread(desk: Desk) -> None:
    """The next try finds the parent, and does not show the headline in the channel a second time."""
    desk.slack.trouble = fail(error=DeliveryFailedError("out of reach"), reply=True)
    assert desk.alert(2).severity is Severity.CRITICAL
    with pytest.raises(DeliveryFailedError):
        desk.send(2)
    desk.send(2)
    [parent] = desk.slack.parents
    [reply] = desk.slack.replies(parent)
    assert reply["reply_broadcast"] is False


@pytest.mark.parametrize(
    "error",
    [
        DeliveryFailedError("ratelimited"),
        DeliveryRefusedError("edit_window_closed"),
        MessageRefusedError("invalid_blocks"),
        ZeroDivisionError("secret words"),
    ],
)
def test_a_parent_that_cannot_be_changed_costs_no_alert(desk: Desk, error: Exception) -> None:
    """The alert is sent and noted is only that the parent is behind; the next alert brings it up to date."""
    desk.send(1)
    desk.slack.trouble = fail(method=UPDATE, error=error)
    receipt, before = desk.send(2)
    assert receipt in desk.slack.messages
    assert before == ()
    [note] = desk.notes
    assert "not up to date" in note
    assert "secret words" not in note
    desk.send(desk.count)
    [parent] = desk.slack.parents
    assert f"Alerts: {desk.count}" in words(desk.slack.messages[parent])
    assert len(desk.notes) == 1


def test_an_incident_that_cannot_be_read_costs_no_alert(desk: Desk) -> None:
    """With a damaged incident the parent says what the alert says, later changes are left out, and it is noted."""
    key = Key(f"INCIDENT#{desk.incident_id}", "INCIDENT")
    desk.table._partitions[key.pk][key.sk]["severity"] = "purple"
    desk.send(1)
    desk.send(2)
    [parent] = desk.slack.parents
    assert desk.alert(1).headline in words(desk.slack.messages[parent])
    assert len(desk.slack.replies(parent)) == 2
    assert len(desk.notes) == 2


def test_a_thread_item_that_was_changed_costs_no_alert(desk: Desk) -> None:
    """Where the item of the thread cannot be understood, the alert stands in the channel by itself, and it is noted."""
    desk.send(1)
    item = desk.table._partitions[f"INCIDENT#{desk.incident_id}"]["THREAD#slack"]
    del item["parent"]
    receipt, _ = desk.send(2)
    assert "thread_ts" not in desk.slack.messages[receipt]
    assert "was changed" in desk.notes[0]


def test_a_parent_that_somebody_deleted(desk: Desk) -> None:
    """Slack then puts the reply in the channel; the next alert begins a new thread."""
    desk.send(1)
    desk.slack.gone = set(desk.slack.parents)
    desk.send(2)
    assert "gone from Slack" in desk.notes[0]
    desk.send(3)
    [_, parent] = desk.slack.parents
    assert [reply["text"] for reply in desk.slack.replies(parent)] == [slack.payload(desk.alert(3))["text"]]
    assert desk.slack.count(UPDATE) == 0


def test_a_parent_that_was_deleted_after_the_reply(desk: Desk) -> None:
    """When only the change finds the parent gone, the next alert begins a new thread."""
    desk.send(1)
    desk.slack.trouble = fail(method=UPDATE, error=ThreadRefusedError("message_not_found"))
    desk.send(2)
    assert desk.thread.parent is None
    desk.send(3)
    assert len(desk.slack.parents) == 2


def test_a_thread_that_takes_no_reply(desk: Desk) -> None:
    """A locked thread costs the thread: the alert stands in the channel, and the ledger is told why."""
    desk.send(1)
    desk.slack.trouble = fail(error=ThreadRefusedError("the thread is locked"), reply=True)
    receipt, before = desk.send(2)
    assert "thread_ts" not in desk.slack.messages[receipt]
    assert before == ("the thread is locked",)
    assert desk.thread.parent is None


def test_a_form_that_slack_refuses_goes_out_plain_in_the_thread(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither refused blocks nor a rendering fault takes an alert out of its thread; a faulty parent is noted."""

    def faulty(*_arguments: object) -> Any:
        message = "a record's own words"
        raise ZeroDivisionError(message)

    desk.slack.trouble = fail(error=MessageRefusedError("no blocks"), reply=True)
    with monkeypatch.context() as patched:
        patched.setattr(slack, "parent_payload", faulty)
        _, before = desk.send(1)
    [parent] = desk.slack.parents
    [reply] = desk.slack.replies(parent)
    assert "blocks" not in reply
    assert desk.alert(1).alert_id in desk.slack.messages[parent]["text"]
    assert before == ("no blocks",)
    assert "ZeroDivisionError" in desk.notes[0]
    assert "own words" not in desk.notes[0]


def test_the_thread_s_item_is_written_under_a_condition(desk: Desk) -> None:
    """Whoever writes on an old state is told so."""
    desk.send(1)
    thread = desk.thread
    desk.store.write_thread(thread, thread)
    for before in (None, thread):
        with pytest.raises(StoreConflictError):
            desk.store.write_thread(before, thread)


def test_a_foreign_item_in_the_thread_s_place_is_not_overwritten(desk: Desk) -> None:
    """An item that is no thread is left as it is."""
    key = thread_key(desk.incident_id, CHANNEL)
    desk.table.write([Put({"pk": key.pk, "sk": key.sk, "odd": 1})])
    desk.send(1)
    [item] = desk.table.get([key])
    assert item == {"pk": key.pk, "sk": key.sk, "odd": 1}
    assert len(desk.slack.messages) == 1
