"""What the tests of the report work with: a table that was filled through the real pipeline, and the report of it."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from rootwatch.audit.items import DeliveryState, probe_item
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Item, Put
from rootwatch.delivery import Sent, deliver
from rootwatch.pipeline import Fate, detect_messages, run_timers
from rootwatch.probe import HEARTBEAT_NAME, HEARTBEAT_SOURCE, ProbeKind, make_probe
from rootwatch.report.aggregate import Reading
from rootwatch.report.files import Written, write_report
from rootwatch.report.model import Origin, period_of
from tests.builders import build_envelope
from tests.unit.workbench import ACCOUNT, CheckedTable, make_message, make_recorder

MONTH: Final = "2026-11"
LATER: Final = datetime(2026, 12, 1, 0, 15, tzinfo=UTC)
"""When the report of November is made."""
OTHER: Final = "444455556666"
RULE: Final = f"arn:aws:events:eu-central-1:{ACCOUNT}:rule/rootwatch-root"
"""The hub's, which sends canaries and source heartbeats."""
SESSION: Final = {"userIdentity.sessionContext.attributes.creationDate": "2026-11-03T02:14:07Z"}


def record(table: Any, specimen: str, at: str, number: int = 0, /, **changes: Any) -> None:
    """Take one record through the whole pipeline, which receives it two seconds after `at`."""
    place = {"eventTime": at, "sourceIPAddress": "203.0.113.7"}
    envelope = build_envelope(specimen, number=number, **(place | changes))
    received = datetime.fromisoformat(at) + timedelta(seconds=2)
    [result] = detect_messages([make_message(envelope, sent_at=received)], make_recorder(table, received))
    assert result.fate is Fate.RECORDED, result


def play(table: Any, account_id: str = ACCOUNT, day: str = "2026-11-03") -> None:
    """A failed sign-in, one without MFA, two reads, a key made, a trail stopped, and a bucket made without need."""
    of_account = {"recipientAccountId": account_id, "userIdentity.accountId": account_id}
    session = of_account | {"userIdentity.sessionContext.attributes.creationDate": f"{day}T02:14:07Z"}
    record(table, "console_login_failed", f"{day}T02:13:40Z", **of_account)
    record(table, "console_login_without_mfa", f"{day}T02:14:07Z", **of_account)
    for number in range(2):
        record(table, "read", f"{day}T02:15:0{number}Z", number, **session)
    record(table, "access_key_created", f"{day}T02:16:00Z", **session)
    record(table, "logging_tampered", f"{day}T02:20:00Z", **session)
    record(table, "write", f"{day}T02:21:00Z", **session)


def finish(table: Any, at: str = "2026-11-03T04:00:00Z", account_id: str = ACCOUNT) -> None:
    """Let the account's incidents end by the clock."""
    run_timers(account_id, make_recorder(table, datetime.fromisoformat(at)))


def _same(moment: datetime) -> datetime:
    return moment


def send_all(table: Any, after: timedelta = timedelta(seconds=5)) -> None:
    """Deliver every alert on every channel, each so long after it became due."""
    store = AuditStore(table)
    for channel in ("slack", "sns"):
        for entry in list(store.undelivered(channel)):
            delivery = store.delivery(entry.key)
            assert delivery is not None
            at = partial(_same, delivery.due_at + after)
            state = deliver(store, entry.key, lambda _alert: Sent("receipt"), at, lambda _reason: None)
            assert state is DeliveryState.SENT


def step(table: Any, incident_id: str, kind: str, at: str, **said: Any) -> None:
    """Keep a step of triage beside an incident."""
    item: Item = {"pk": f"INCIDENT#{incident_id}", "sk": f"STEP#{at}#000001", "kind": kind, "at": at, **said}
    table.write([Put(item)])


EVERY_OTHER: Final = (*range(0, 24, 2), 23)
"""Hours of a day that are enough to prove it: one alone may be without a sign of life."""


def canary(
    table: Any, day: int, *, arrived: bool = True, state: str | None = "sent", hours: Iterable[int] = EVERY_OTHER
) -> None:
    """Keep canaries of a day of the month, and what became of them on one channel."""
    for hour in hours:
        nonce = f"2026-11-{day:02d}T{hour:02d}:00:00Z-{day}"
        sent, arrived_at = (f"2026-11-{day:02d}T{hour:02d}:00:{second}Z" for second in ("00", "09"))
        item: Item = {"pk": "CANARY", "sk": f"canary#{nonce}", "nonce": nonce, "sent_at": sent}
        table.write([Put(item | {"arrived_at": arrived_at if arrived else None})])
        if state is not None:
            table.write([Put({"pk": "CANARY", "sk": f"DELIVERY#sns#{nonce}", "nonce": nonce, "state": state})])


def heartbeat(table: Any, day: int, *, arrived: bool = True, hours: Iterable[int] = EVERY_OTHER) -> None:
    """Keep source heartbeats of a day of the month, sent from the hub's rule in the account of the stories."""
    for hour in hours:
        at = datetime(2026, 11, day, hour, tzinfo=UTC)
        probe = make_probe(ProbeKind.HEARTBEAT, RULE, at, f"{day:032x}")
        arrived_at = at + timedelta(minutes=4) if arrived else None
        table.write([Put(probe_item(replace(probe, arrived_at=arrived_at, arrived="record" if arrived else None)))])


def beats(table: Any, account_id: str, region: str, days: Iterable[int], hours: Iterable[int] = EVERY_OTHER) -> None:
    """Hear the heartbeats of a forwarder for these hours of each day, the first of a day through the real pipeline."""
    store = AuditStore(table)
    for day in days:
        for position, hour in enumerate(hours):
            at = datetime(2026, 11, day, hour, tzinfo=UTC)
            if position:
                store.add_heard_hour(account_id, region, at)
                continue
            detail = {"eventName": HEARTBEAT_NAME, "scheduledTime": f"{at:%Y-%m-%dT%H:%M:%SZ}", "executionId": "once"}
            envelope = {"source": HEARTBEAT_SOURCE, "account": account_id, "region": region, "detail": detail}
            [result] = detect_messages([make_message(envelope, sent_at=at)], make_recorder(table, at))
            assert result.fate is Fate.PROOF, result


def proven_days(table: Any, days: Iterable[int]) -> None:
    """Keep a canary and a source heartbeat of each of these days."""
    for day in days:
        canary(table, day)
        heartbeat(table, day)


def make(table: Any, folder: Path, month: str = MONTH, now: datetime = LATER, **reading: Any) -> Written:
    """The report of a month, made of a deployed table."""
    given: dict[str, Any] = {"origin": Origin.TABLE} | reading
    return write_report(Reading(store=AuditStore(table), **given), period_of(month, now), folder, now)


def filled() -> CheckedTable:
    """A table with one story in each of two accounts."""
    table = CheckedTable()
    play(table)
    play(table, OTHER, "2026-11-09")
    return table
