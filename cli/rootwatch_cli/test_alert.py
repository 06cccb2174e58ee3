"""`rootwatch test-alert`: an alert on every channel that says that it is a test, and what became of it."""

import json
import re
import secrets
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from rootwatch.alert import compose_test, visible
from rootwatch.audit.items import Delivery, DeliveryState
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Key
from rootwatch.detections.detection import Severity
from rootwatch.settings import CHANNELS
from rootwatch_cli.deployed import DeployedStack, Where, on_stack

_LOOK_SECONDS: Final = 1.0
_ACCOUNT: Final = re.compile(r":([0-9]{12}):")


def run_test_alert(where: Where, severity: str, *, wait_seconds: float, as_json: bool) -> int:
    """Make a test alert due and wait for its ledgers; return 1 if a channel did not take it in time."""

    def do(stack: DeployedStack) -> int:
        by = stack.caller()
        account = _ACCOUNT.search(by)
        now = datetime.now(UTC)
        alert = compose_test(account[1] if account else "unknown", Severity(severity), now, secrets.token_hex(4), by)
        keys = stack.store.add_test_alert(alert, now, CHANNELS)
        if not as_json:
            print(f"{alert.alert_id}: due on {' and '.join(CHANNELS)}")
        deliveries = wait_for(stack.store, keys, wait_seconds)
        for channel, delivery in zip(CHANNELS, deliveries, strict=True):
            _print(channel, delivery, as_json=as_json)
        return int(any(each is None or not _is_done(each) or each.state is DeliveryState.FAILED for each in deliveries))

    return on_stack(where, do)


def wait_for(store: AuditStore, keys: Sequence[Key], seconds: float) -> list[Delivery | None]:
    """Return the ledgers as soon as every channel has said yes or no, or as they are after so many seconds.

    They are in the order of the keys, None for one that is gone: somebody removed it, and it will not come back.
    """
    deadline = time.monotonic() + seconds
    while True:
        deliveries = [store.delivery(key) for key in keys]
        if all(each is None or _is_done(each) for each in deliveries) or time.monotonic() >= deadline:
            return deliveries
        time.sleep(_LOOK_SECONDS)


def _is_done(delivery: Delivery) -> bool:
    return delivery.refused or delivery.state in {DeliveryState.SENT, DeliveryState.UNCONFIGURED}


def _print(channel: str, delivery: Delivery | None, *, as_json: bool) -> None:
    if delivery is None:
        gone = "its ledger was removed from the audit table; nobody can tell whether it was sent"
        line = json.dumps({"channel": channel, "state": "gone", "error": gone}) if as_json else f"{channel}: {gone}"
        sys.stdout.write(f"{line}\n")
        return
    last = delivery.attempts[-1].error if delivery.attempts else None
    state = str(delivery.state)
    if as_json:
        sys.stdout.write(json.dumps({"channel": delivery.channel, "state": state, "error": last}) + "\n")
        return
    words = {
        DeliveryState.SENT: f"sent ({visible(delivery.receipt, 80)}): look whether it is there",
        DeliveryState.UNCONFIGURED: f"unconfigured: {visible(last or 'no secret yet', 300)}",
        DeliveryState.FAILED: f"failed: {visible(last or 'no error is named', 300)}",
        DeliveryState.PENDING: f"nobody has sent it yet: look at the function notify-{delivery.channel} and its log",
    }
    print(f"{delivery.channel}: {words[delivery.state]}")
