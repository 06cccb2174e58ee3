"""A failure before and after every call: nothing is lost, nothing is stored twice, and at most one message is repeated.

Every call of the functions to AWS and to Slack is found by playing a story undisturbed; then the story is played anew
for each of these calls and each way in which it can break, and AWS's own ways of trying again do the rest.
"""

import logging
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from rootwatch import pipeline, watchdog, wiring
from rootwatch.alert import Alert
from rootwatch.audit.items import Attempt, DeliveryState
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Key
from rootwatch.delivery import Sender, Sent, Unconfigured, deliver
from rootwatch.errors import DeliveryError, DeliveryFailedError, StoreConflictError, StoreUnavailableError
from rootwatch.pipeline import Recorder
from tests.conftest import PRINTED
from tests.crash.service import FUNCTIONS, Service, Story, running_service
from tests.crash.stories import STORIES, Ending, problems
from tests.crash.wire import Fault, Kind

pytestmark = [
    pytest.mark.filterwarnings("ignore:No application metrics to publish"),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """One service for all stories; each begins with nothing in it."""
    with pytest.MonkeyPatch.context() as monkeypatch, running_service(monkeypatch) as service:
        logging.disable()  # a line for each of a hundred thousand calls
        yield service
        logging.disable(logging.NOTSET)


def points(service: Service, story: Story, function: str) -> list[Fault]:
    """Every way of breaking every call that the function makes in the story that was just played."""
    calls = [call for call in service.wire.calls if call.function == function]
    return [Fault(call, kind) for call in calls if not (story.only_writes and call.only_reads) for kind in call.kinds]


@pytest.mark.parametrize("_again", range(2))
def test_only_what_a_function_starts_is_seen(service: Service, _again: int) -> None:
    """What a thread of the function connects to past the hooks is noted, what somebody else's thread does is not."""
    go = threading.Event()

    def connect() -> None:
        go.wait(10)
        with suppress(OSError), socket.create_connection(("127.0.0.1", 9), timeout=1):
            pass

    others, own = threading.Thread(target=connect), threading.Thread(target=connect)
    others.start()
    with service.wire.running("detect"):
        own.start()
        go.set()
        own.join(10)
        others.join(10)
    seen = list(service.wire.unseen)
    service.wire.unseen.clear()

    assert seen == ["detect connects to ('127.0.0.1', 9)"]


@pytest.mark.parametrize(
    ("story", "function"),
    [(story, function) for story in STORIES for function in story.functions],
    ids=lambda value: value.name.replace(" ", "-") if isinstance(value, Story) else value,
)
def test_a_failure_at_every_call_loses_nothing(
    service: Service, story: Story, function: str, record_property: Callable[[str, object], None]
) -> None:
    """Whatever fails, whenever: stored once, the chain intact, told on each channel, at most one message repeated."""
    service.play(story)
    clean = Ending(service)
    assert problems(service, story, None, None) == []
    tried = points(service, story, function)
    lost: list[str] = []
    longest = 0.0
    for fault in tried:
        try:
            service.play(story, fault)
            found = problems(service, story, fault, clean)
        except AssertionError as error:
            found = [str(error).partition("\n")[0]]
        lost += [f"{fault.call.name} {fault.call.number} {fault.kind}: {each}" for each in found]
        longest = max(longest, service.clock.monotonic() - clean.seconds)
    kinds = Counter(fault.kind for fault in tried)
    counts = ", ".join(f"{kinds[kind]} {kind}" for kind in Kind)
    figures = (
        f"{function}, {story.name}: {len({fault.call for fault in tried})} calls, {len(tried)} points ({counts}), "
        f"{len(lost)} with a loss; done at most {longest:.0f} s later than undisturbed"
    )
    record_property(PRINTED, str(figures))
    assert not lost, "\n".join(lost)


# --- a harness that cannot fail proves nothing ------------------------------------------------------------------------


def _swallow(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    """Take a failed write of detect's for one that succeeded."""
    write = AuditStore.write_account

    def swallowing(store: AuditStore, *arguments: Any) -> Any:
        with suppress(error):
            return write(store, *arguments)
        return None

    monkeypatch.setattr(AuditStore, "write_account", swallowing)


def _failed_put(monkeypatch: pytest.MonkeyPatch) -> None:
    _swallow(monkeypatch, StoreUnavailableError)


def _lost_condition(monkeypatch: pytest.MonkeyPatch) -> None:
    _swallow(monkeypatch, StoreConflictError)


def _receipt_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the receipt before the alert is sent."""

    def too_early(store: AuditStore, key: Key, send: Sender, now: Callable[[], datetime], _leave: Any) -> DeliveryState:
        ledger = store.delivery(key)
        alert = store.alert(ledger.incident_id, ledger.number) if ledger else None
        assert ledger is not None
        assert alert is not None
        if ledger.state is DeliveryState.PENDING:
            sent = replace(ledger, state=DeliveryState.SENT, receipt="ok", attempts=(Attempt(now(), None),), tries=1)
            store.write_delivery(ledger, sent)
            send(alert)
        return DeliveryState.SENT

    monkeypatch.setattr(wiring, "deliver", too_early)


def _failure_called_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take whatever a channel answers for its receipt."""

    def deaf(store: AuditStore, key: Key, send: Sender, now: Callable[[], datetime], leave: Any) -> DeliveryState:
        def sent(alert: Alert) -> Sent | Unconfigured:
            try:
                return send(alert)
            except DeliveryError:
                return Sent("ok")

        return deliver(store, key, sent, now, leave)

    monkeypatch.setattr(wiring, "deliver", deaf)


def _letter_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Call a message rejected though the dead-letter queue did not take it."""
    take_in = pipeline.take_in

    def careless(event: Any, recorder: Recorder, reject: Callable[..., None], source: str = "") -> Any:
        def quiet(*arguments: Any) -> None:
            with suppress(DeliveryFailedError):
                reject(*arguments)

        return take_in(event, recorder, quiet, source)

    monkeypatch.setattr(pipeline, "take_in", careless)


def _end_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget a trouble before its end was told."""
    tell_end = watchdog._Run._tell_end

    def forgetful(run: watchdog._Run, subject: str, *arguments: Any) -> None:
        known = run.state.troubles.get(subject)
        run._keep_trouble(subject, None)
        if known is not None:
            run.state = replace(run.state, troubles={**run.state.troubles, subject: known})
        tell_end(run, subject, *arguments)

    monkeypatch.setattr(watchdog._Run, "_tell_end", forgetful)


@pytest.mark.parametrize(
    ("plant", "story", "call", "loss"),
    [
        (_failed_put, 0, "detect dynamodb.TransactWriteItems", "is not stored"),
        (_lost_condition, 0, "detect dynamodb.TransactWriteItems", "is not stored"),
        (_letter_swallowed, 0, "detect sqs.SendMessage", "dead letters instead of"),
        (_receipt_first, 0, "notify_sns sns.Publish", "never reached sns"),
        (_receipt_first, 0, "notify_slack POST", "never reached slack"),
        (_failure_called_sent, 0, "notify_slack POST", "never reached slack"),
        (_end_forgotten, 3, "watchdog sns.Publish", "never heard the end of"),
    ],
    ids=lambda value: value.__name__ if callable(value) else str(value).replace(" ", "-"),
)
def test_a_planted_loss_is_found(  # noqa: PLR0913, PLR0917 - what is planted, and where it shows
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    plant: Callable[[pytest.MonkeyPatch], None],
    story: int,
    call: str,
    loss: str,
) -> None:
    """Each way to lose something, built into the real code, is found at some point, and in words that say what."""
    service.play(STORIES[story])
    clean = Ending(service)
    function, _, name = call.partition(" ")
    tried = [each for each in points(service, STORIES[story], function) if each.call.name.startswith(name)]
    plant(monkeypatch)
    for fault in reversed(tried):  # the end of a story is where what was lost is seen first
        try:
            service.play(STORIES[story], fault)
            found = problems(service, STORIES[story], fault, clean)
        except AssertionError as error:
            found = [str(error)]
        if any(loss in each for each in found):
            return
    pytest.fail(f"{len(tried)} points were tried, and nothing was found")


def test_every_function_has_a_story() -> None:
    """A function that is added has to be in a story, too."""
    assert {function for story in STORIES for function in story.functions} == FUNCTIONS.keys()
