"""Step 8, one story in one place: on Slack, with a bot token, each incident has one thread.

The alert comes first. A thread that is damaged, gone or locked costs the thread: then the alert stands in the channel
by itself. Only the first message of a thread has to be there before an alert can stand in it.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from rootwatch.alert import Alert
from rootwatch.audit.items import Thread
from rootwatch.audit.store import AuditStore
from rootwatch.channels.slack import mentions_channel
from rootwatch.channels.slack_bot import SlackBot
from rootwatch.detections.detection import Severity
from rootwatch.errors import (
    DamagedItemError,
    DeliveryFailedError,
    RootwatchError,
    StoreConflictError,
    StoreError,
    ThreadRefusedError,
)
from rootwatch.incident import Incident

CHANNEL: Final = "slack"
CLAIM: Final = timedelta(seconds=60)
"""As long as the notifier may run: a claim that is older belongs to a sender that died."""


def send_in_thread(
    store: AuditStore, bot: SlackBot, alert: Alert, now: Callable[[], datetime], note: Callable[[str], None]
) -> tuple[str, tuple[str, ...]]:
    """Send an alert in its incident's thread, and keep the message that the thread begins with up to date.

    Args:
        store: the audit store; it keeps where the thread is.
        bot: Slack.
        alert: the alert.
        now: the clock, UTC.
        note: is told, in words, what went wrong without keeping the alert from being sent.

    Returns:
        The receipt, Slack's `ts` of the alert, and in words what went wrong with richer forms of it.

    Raises:
        DeliveryFailedError, StoreError: not sent this time, or somebody else is beginning the thread; a retry helps.
        DeliveryRefusedError: Slack refused it for good; the message says what to mend.

    """
    thread, is_new = _thread(store, bot, alert, now, note)
    parent = thread.parent if thread else None
    # The message that a thread begins with is in the channel already, with this alert's headline.
    is_told = thread is not None and thread.opened_by == alert.number
    broadcast = (alert.severity.rank >= Severity.HIGH.rank or mentions_channel(alert)) and not is_told
    try:
        posted, before = bot.reply(alert, parent, broadcast=broadcast)
    except ThreadRefusedError as error:
        _forget(store, thread, note)
        posted, before = bot.reply(alert, None, broadcast=False)
        return posted.ts, (str(error), *before)
    if thread is None or parent is None:
        return posted.ts, before
    if not posted.in_thread:
        note("An incident's thread is gone from Slack: this alert stands in the channel, the next begins a new thread.")
        _forget(store, thread, note)
    elif not is_new:
        _bring_up_to_date(store, bot, alert, thread, note)
    return posted.ts, before


def tell_in_thread(
    store: AuditStore, bot: SlackBot, incident: Incident, message: Mapping[str, Any] | None, note: Callable[[str], None]
) -> None:
    """Bring the message that an incident's thread begins with up to date, and post another one in the thread.

    Args:
        store: the audit store.
        bot: Slack.
        incident: the incident as it stands.
        message: what to post, None for nothing.
        note: is told, in words, what went wrong with the first message without keeping the other from being posted.

    Raises:
        DeliveryFailedError, StoreError: not told this time; a retry helps, and tells again what it told already.
        DeliveryRefusedError: Slack refused it for good; the message says what to mend.

    """
    thread = store.thread(incident.id, CHANNEL)
    parent = thread.parent if thread is not None and thread.place == bot.channel else None
    alert = store.alert(incident.id, incident.alerts)
    if thread is not None and parent is not None and alert is not None:
        # First: it may be repeated. The message with the buttons must not lag behind the state, so this one may fail.
        try:
            bot.update(parent, alert, incident)
        except ThreadRefusedError as error:
            note(f"An incident's thread begins anew with the next alert. {error}")
            _forget(store, thread, note)
            parent = None
    if message is not None:
        bot.tell(parent, message)


def _thread(
    store: AuditStore, bot: SlackBot, alert: Alert, now: Callable[[], datetime], note: Callable[[str], None]
) -> tuple[Thread | None, bool]:
    """Return the incident's thread and whether it begins only now; None where its item cannot be read."""
    try:
        found = store.thread(alert.incident_id, CHANNEL)
    except DamagedItemError as error:
        note(f"An alert stands in the channel by itself. {error}")
        return None, False
    # Of another channel: the secret names a new one, and the thread begins again there.
    if found is not None and found.parent is not None and found.place == bot.channel:
        return found, False
    claimed = _claimed(store, found, bot, alert, now())
    try:
        posted, before = bot.begin(alert, _incident(store, alert, note))
    except Exception:
        with suppress(StoreError):  # the claim ends by itself
            store.write_thread(claimed, replace(claimed, claimed_until=None))
        raise
    for words in before:
        note(f"The first message of an incident's thread is not what it should be. {words}")
    begun = replace(claimed, parent=posted.ts, opened_by=alert.number, claimed_until=None)
    try:
        return store.write_thread(claimed, begun), True
    except StoreError as error:
        note(f"Where an incident's thread is could not be kept: the next alert begins another one. {error}")
        return begun, True


def _claimed(store: AuditStore, found: Thread | None, bot: SlackBot, alert: Alert, now: datetime) -> Thread:
    """Keep everybody else from beginning this thread, or raise where somebody else is at it."""
    message = "Somebody else is beginning this incident's thread right now."
    # One that reaches further than any of ours, and the clocks of two senders apart, is no claim: it would keep every
    # alert of the incident back.
    if found is not None and found.claimed_until is not None and now < found.claimed_until <= now + 2 * CLAIM:
        raise DeliveryFailedError(message, retry_after=(found.claimed_until - now).total_seconds())
    fresh = Thread(alert.incident_id, alert.account_id, CHANNEL, bot.channel, claimed_until=now + CLAIM)
    try:
        return store.write_thread(found, fresh)
    except StoreConflictError as error:
        raise DeliveryFailedError(message, retry_after=CLAIM.total_seconds()) from error


def _incident(store: AuditStore, alert: Alert, note: Callable[[str], None]) -> Incident | None:
    try:
        return store.incident(alert.incident_id)
    except DamagedItemError as error:
        note(f"An incident's thread begins with what its alert says. {error}")
        return None


def _bring_up_to_date(
    store: AuditStore, bot: SlackBot, alert: Alert, thread: Thread, note: Callable[[str], None]
) -> None:
    """Change the thread's first message; what goes wrong is told, and the next alert tries again."""
    try:
        bot.update(str(thread.parent), alert, store.incident(alert.incident_id))
    except ThreadRefusedError as error:
        note(f"An incident's thread begins anew with the next alert. {error}")
        _forget(store, thread, note)
    except Exception as error:  # noqa: BLE001 - the alert is sent: only its ledger may say otherwise
        words = str(error) if isinstance(error, RootwatchError) else f"A fault in Rootwatch ({type(error).__name__})."
        note(f"The first message of an incident's thread is not up to date. {words}")


def _forget(store: AuditStore, thread: Thread | None, note: Callable[[str], None]) -> None:
    if thread is None:
        return
    try:
        store.write_thread(thread, replace(thread, parent=None))
    except StoreError as error:
        note(f"That an incident's thread is gone could not be kept. {error}")
