"""Declared use in the story: what matches is told one step lower, what does not is raised, and nothing is muted."""

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import Any, Final

from rootwatch.audit.items import declared_key
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Put
from rootwatch.context.declared_use import DeclaredUse, ExpectationKind
from rootwatch.context.observation import Observation
from rootwatch.detections.detection import Severity
from rootwatch.incident import AccountState, DueAlert, tick
from rootwatch.pipeline import detect_messages
from tests.builders import build_envelope
from tests.unit.workbench import (
    ACCOUNT,
    IDLE,
    NOW,
    CheckedTable,
    fold_all,
    make_message,
    make_observation,
    make_recorder,
)

HOME: Final = "198.51.100.24"
AWAY: Final = "203.0.113.7"


def declared(**changes: Any) -> DeclaredUse:
    """A declared use of the hour after NOW, from HOME, for anything."""
    stated: dict[str, Any] = {
        "account_id": ACCOUNT,
        "from_at": NOW,
        "to_at": NOW + timedelta(hours=1),
        "reason": "rotate root's MFA",
        "ticket": "OPS-1",
        "approver": "the head of security",
        "declared_by": f"arn:aws:iam::{ACCOUNT}:user/dana",
        "declared_at": NOW - timedelta(days=1),
        "addresses": (ip_network(HOME),),
    }
    return DeclaredUse(**(stated | changes))


def at(minutes: float, specimen: str = "console_login", /, **changes: Any) -> Observation:
    """An observation so many minutes after NOW, from HOME."""
    moment = NOW + timedelta(minutes=minutes)
    stated: dict[str, Any] = {"eventTime": f"{moment:%Y-%m-%dT%H:%M:%SZ}", "sourceIPAddress": HOME}
    return make_observation(specimen, number=int(minutes * 60), **(stated | changes))


def alerts(*observations: Observation, uses: Sequence[DeclaredUse] = ()) -> list[DueAlert]:
    """The alerts that the observations make due in an account with these declared uses."""
    state = AccountState(ACCOUNT, declared=tuple(uses))
    return [alert for outcome in fold_all(observations, state)[1] for alert in outcome.alerts]


def test_a_matched_act_is_told_one_step_lower() -> None:
    """A sign-in as announced is told like every other, at medium instead of high, and says which declaration it is."""
    [plain], [lower] = alerts(at(5)), alerts(at(5), uses=[declared()])
    assert (plain.severity, lower.severity) == (Severity.HIGH, Severity.MEDIUM)
    assert plain.why == lower.why
    assert lower.expectation is not None
    assert (lower.expectation.kind, lower.expectation.declared) == (ExpectationKind.MATCHED, declared())


def test_nothing_is_told_less_often_for_a_declaration() -> None:
    """With a declaration that covers everything as many alerts are due as without one, for the same records."""
    story = [at(1), at(2, "access_key_created"), at(14, "iam_changed"), at(21, "write"), at(30, "logging_tampered")]
    with_one, without = alerts(*story, uses=[declared(addresses=())]), alerts(*story)
    assert [alert.why for alert in with_one] == [alert.why for alert in without]
    assert all(a.severity.rank == b.severity.rank - 1 for a, b in zip(with_one, without, strict=True))


def test_a_mismatch_is_told_once_and_raised() -> None:
    """A read from another address while use from HOME is declared is told although a read is not, and is high."""
    known = fold_all([at(1), at(2, "read", sourceIPAddress=AWAY)])[0]
    state = dataclasses.replace(known, declared=(declared(),))
    first, second = (at(minute, "read", sourceIPAddress=AWAY) for minute in (20, 30))
    _, outcomes = fold_all([first, second], state)
    [[alert], rest] = [outcome.alerts for outcome in outcomes]
    assert [str(why) for why in alert.why] == ["new_detection"]
    assert alert.severity is Severity.HIGH
    assert rest == ()


def test_use_that_goes_on_after_its_end_is_an_overrun() -> None:
    """Root that goes on after the declared hour is told once as an overrun, and at least high."""
    told = alerts(at(50), at(59, "read"), at(65, "read"), at(70, "read"), uses=[declared()])
    overruns = [alert for alert in told if "declared_overrun" in alert.why]
    assert len(overruns) == 1
    assert overruns[0].severity is Severity.HIGH
    assert overruns[0].time == NOW + timedelta(minutes=65)


def test_an_incident_of_announced_reads_ends_as_announced() -> None:
    """What only looked, as announced, is told in the end one step lower than if nobody had announced it."""
    severities = []
    for uses in ((), (declared(),)):
        state = AccountState(ACCOUNT, declared=uses, sources=fold_all([at(-600)])[0].sources)
        lineages = fold_all([at(1, "read")])[0].lineages
        state, outcomes = fold_all([at(1, "read")], dataclasses.replace(state, lineages=lineages))
        assert outcomes[0].alerts == ()
        [summary] = tick(state, NOW + timedelta(hours=3), idle=IDLE).alerts
        severities.append(summary.severity)
    assert severities == [Severity.MEDIUM, Severity.LOW]


def test_detect_reads_the_declared_uses_of_the_account() -> None:
    """What is declared in the table counts for the records of its time, and the event says so for the report."""
    table = CheckedTable()
    store = AuditStore(table)
    use = declared()
    store.declare(use)
    moment = NOW + timedelta(minutes=5)
    envelope = build_envelope("console_login", eventTime=f"{moment:%Y-%m-%dT%H:%M:%SZ}", sourceIPAddress=HOME)
    detect_messages([make_message(envelope, sent_at=moment)], make_recorder(table, moment))
    [event] = store.event_items(ACCOUNT, "2026-11")
    assert (event["expected"], event["declared_use"]) == ("matched", use.id)
    [alert] = [item for pk in table._partitions for item in table.query(pk, "ALERT#")]
    assert alert["severity"] == "medium"


def test_an_altered_declaration_lowers_nothing_and_is_told_as_tampering() -> None:
    """A declaration that somebody changed in the table counts for nothing, and its damage is a critical alert."""
    table = CheckedTable()
    store = AuditStore(table)
    use = declared()
    store.declare(use)
    key = declared_key(use)
    [item] = table.get([key])
    assert item is not None
    table.write([Put({**item, "reason": "another"})])
    moment: datetime = NOW + timedelta(minutes=5)
    envelope = build_envelope("console_login", eventTime=f"{moment:%Y-%m-%dT%H:%M:%SZ}", sourceIPAddress=HOME)
    detect_messages([make_message(envelope, sent_at=moment)], make_recorder(table, moment))
    found = [dict(item) for pk in table._partitions for item in table.query(pk, "ALERT#")]
    assert sorted(str(alert["severity"]) for alert in found) == ["critical", "high"]
