"""Adversaries: each tries to hide something from a deployment that runs, and ends in an alert that names it."""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any, Final

import pytest

from rootwatch import pipeline
from rootwatch.alert import Alert, compose
from rootwatch.detections.detection import Severity
from rootwatch.incident import (
    FULL_SET_EVERY,
    LONGEST_INCIDENT,
    MOST_GATHERED,
    MOST_TARGETS,
    PROGRESS_EVERY,
    DueAlert,
    Incident,
)
from rootwatch.pipeline import Fate
from tests.unit.simulation import MINUTE, START, VISIBILITY, Simulation, in_account, naming
from tests.unit.workbench import IDLE, Changes

HOME: Final = "198.51.100.24"
INTRUDER: Final = "203.0.113.66"
CREATED: Final = "userIdentity.sessionContext.attributes.creationDate"
KEY: Final = "userIdentity.accessKeyId"
ADMINISTRATOR: Final = "arn:aws:iam::aws:policy/AdministratorAccess"
NEWS: Final = frozenset({"alert", "gathered"})
"""Kinds of alerts that tell an act; the others tell that time has passed."""


@pytest.fixture
def simulation() -> Simulation:
    """A deployment with nothing in it yet."""
    return Simulation()


@pytest.fixture
def due(monkeypatch: pytest.MonkeyPatch) -> list[DueAlert]:
    """Every alert before it is put into words: what it is made of."""
    made: list[DueAlert] = []

    def listening(alert: DueAlert, *rest: Any, **named: Any) -> Alert:
        made.append(alert)
        return compose(alert, *rest, **named)

    monkeypatch.setattr(pipeline, "compose", listening)
    return made


def session(since: datetime) -> Changes:
    """The console session that a sign-in at this moment began."""
    return {CREATED: f"{since:%Y-%m-%dT%H:%M:%SZ}"}


def administrator_at_work(simulation: Simulation, minutes: int = 20) -> Changes:
    """The administrator signs in with MFA and looks around for a while; returns their session."""
    own = session(simulation.clock())
    simulation.happens("console_login")
    for _ in range(minutes):
        simulation.run_for(minutes=1)
        simulation.happens("read", **own)
    return own


def told(alerts: Sequence[Alert], *names: str, severity: Severity, why: str) -> Alert:
    """The one alert about an act that names all of this, with its severity and its reason."""
    found = [alert for alert in naming(alerts, *names) if alert.kind in NEWS and why in alert.why]
    assert found, f"nothing names {names}; told: {[alert.headline for alert in alerts]}"
    [alert] = found
    assert alert.severity is severity
    return alert


def by_minutes(moments: Sequence[datetime]) -> list[timedelta]:
    """The gaps between moments."""
    return [later - earlier for earlier, later in pairwise(moments)]


# --- a second intruder ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", [HOME, INTRUDER], ids=["same address", "another address"])
@pytest.mark.parametrize("mfa", ["Yes", "No"])
def test_a_second_sign_in_while_the_administrator_is_at_work(simulation: Simulation, address: str, mfa: str) -> None:
    """Somebody who signs in besides the administrator is told at once, also from the administrator's own address."""
    administrator_at_work(simulation)
    mark = {"additionalEventData.MFAUsed": mfa}

    alerts = simulation.happens("console_login", sourceIPAddress=address, **mark)

    severity = Severity.HIGH if mfa == "Yes" else Severity.CRITICAL
    alert = told(alerts, "ConsoleLogin", address, severity=severity, why="signed_in")
    assert ("new_source" in alert.why) is (address == INTRUDER)
    assert len({each.id for each in simulation.incidents()}) == 1


def test_a_second_sign_in_within_the_minutes_of_the_first(simulation: Simulation) -> None:
    """Sign-ins within five minutes, all of one kind, are told within six minutes, each by its address and event."""
    simulation.happens("console_login")
    addresses = [HOME, HOME, "203.0.113.1", "203.0.113.2", "203.0.113.3"]
    ids = []
    for address in addresses:
        simulation.run_for(seconds=20)
        envelope = simulation.record("console_login", sourceIPAddress=address)
        ids.append(envelope["detail"]["eventID"])
        simulation.deliver([envelope])
    simulation.run_for(minutes=6)

    named = [alert for alert in simulation.alerts if "signed_in" in alert.why]
    assert {event_id for alert in named for event_id in alert.event_ids} >= set(ids)
    for address in addresses:
        assert naming(named, address)
    assert all(alert.severity is Severity.HIGH for alert in named)


def test_a_session_stolen_from_the_administrator(simulation: Simulation) -> None:
    """The administrator's own session used from elsewhere, or with another kind of client, is told at once."""
    own = administrator_at_work(simulation)

    alerts = simulation.happens("read", sourceIPAddress=INTRUDER, **own)
    told(alerts, "DescribeInstances", INTRUDER, severity=Severity.MEDIUM, why="new_source")
    alerts = simulation.happens("read", userAgent="aws-cli/2.32.6", sessionCredentialFromConsole=None, **own)
    told(alerts, "DescribeInstances", severity=Severity.MEDIUM, why="new_client")


# --- floods that try to fill the sets ---------------------------------------------------------------------------------


def proxy(number: int) -> str:
    """An address of a proxy, a new one for each number."""
    return f"2001:db8::{number + 1:x}"


def proxy_flood(simulation: Simulation, count: int, per_second: int = 10) -> list[dict[str, Any]]:
    """Failed root sign-ins, each from an address and with a client of its own, some in each second."""
    began = simulation.clock()
    return [
        simulation.record(
            "console_login_failed",
            at=began + timedelta(seconds=number // per_second),
            sourceIPAddress=proxy(number),
            userAgent=f"Agent{number}/1.0",
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("address", [proxy(7), proxy(999_999)], ids=["one of the proxies", "a new address"])
def test_one_success_after_a_proxy_flood(simulation: Simulation, address: str) -> None:
    """After 1,000 failed sign-ins, which fill every set of failures, the one success is told at once as critical."""
    simulation.deliver(proxy_flood(simulation, 1_000))
    simulation.run_for(minutes=2)
    [incident] = simulation.incidents()
    assert len(incident.failed_sources) == 200

    alerts = simulation.happens("console_login", sourceIPAddress=address)

    alert = told(alerts, "ConsoleLogin", address, severity=Severity.CRITICAL, why="signed_in")
    assert {"root.console_login", "root.login_after_failures"} <= set(alert.detections)
    assert "new_source" in alert.why


def test_a_success_whose_record_comes_behind_the_flood_that_went_on(simulation: Simulation) -> None:
    """A success between the failures, delivered only after all of them, still is one after failures."""
    flood = proxy_flood(simulation, 600, per_second=1)
    success = simulation.record("console_login", at=START + timedelta(seconds=30), sourceIPAddress=proxy(30))
    simulation.clock.move_to(START + timedelta(minutes=11))
    simulation.deliver(flood)

    alerts = simulation.deliver([success])

    alert = told(alerts, proxy(30), severity=Severity.CRITICAL, why="signed_in")
    assert "root.login_after_failures" in alert.detections


def test_a_proxy_flood_is_told_within_bounds(simulation: Simulation) -> None:
    """The flood itself is a handful of alerts: the first failure at once, then what is new, then one in ten minutes."""
    for _ in range(5):
        simulation.deliver(proxy_flood(simulation, 250, per_second=1))
        simulation.run_for(minutes=5)
    alerts = simulation.alerts

    assert naming(alerts[:1], proxy(0))
    assert alerts[0].severity is Severity.MEDIUM
    assert len(alerts) <= 200 / MOST_GATHERED + 8
    told_full = [alert.time for alert in alerts if "full_set" in alert.why]
    assert told_full
    assert min(by_minutes(told_full), default=FULL_SET_EVERY) >= FULL_SET_EVERY - MINUTE
    simulation.run_out()
    simulation.check_counts()


@pytest.mark.parametrize("minutes", [(0, 0, 0), (0, 30, 59), (59, 30, 0), (30, 59, 0)])
def test_three_tries_within_an_hour_in_any_order(simulation: Simulation, minutes: tuple[int, ...]) -> None:
    """The third guess within an hour is high, also within one second, and in whatever order they arrive."""
    guesses = [simulation.record("console_login_failed", at=START + timedelta(minutes=each)) for each in minutes]
    simulation.clock.move_to(START + timedelta(hours=1))
    alerts = [simulation.deliver([guess]) for guess in guesses]

    assert [alert.severity for each in alerts for alert in each] == [Severity.MEDIUM, Severity.HIGH]


def minted_session(number: int) -> Changes:
    """An address, a key and a session that nobody has seen before."""
    return {
        "sourceIPAddress": proxy(number),
        KEY: f"ASIAEXAMPLE{number:09}",
        CREATED: f"{START - timedelta(days=1, seconds=number * 130):%Y-%m-%dT%H:%M:%SZ}",
    }


def test_thousands_of_minted_addresses_and_keys_hide_nothing(simulation: Simulation) -> None:
    """Reads with 2,000 addresses and keys are bounded in alerts; what root does besides is told at once, by name."""
    number = 0
    for _ in range(10):
        batch = [simulation.record("read", **minted_session(number + place)) for place in range(200)]
        number += 200
        simulation.deliver(batch)
        simulation.run_for(minutes=2)
    flood = len(simulation.alerts)
    [incident] = simulation.incidents()
    assert incident.records == 2_000
    # Each of the two capped sets of 200 names up to 200, 25 in an alert; then one in ten minutes.
    assert flood <= 2 * 200 / MOST_GATHERED + 2 + 20 / 10

    trail = simulation.happens("logging_tampered", requestParameters={"name": "payments"}, **minted_session(number))
    told(trail, "StopLogging", "payments", severity=Severity.CRITICAL, why="new_detection")
    sign_in = simulation.happens("console_login", sourceIPAddress=INTRUDER)
    told(sign_in, INTRUDER, severity=Severity.HIGH, why="signed_in")
    key = simulation.happens("access_key_created", **minted_session(number + 1))
    told(key, "CreateAccessKey", severity=Severity.CRITICAL, why="credential_changed")
    simulation.run_out()
    simulation.check_counts()


def test_what_a_full_set_holds_back_is_told_while_the_flood_lasts(simulation: Simulation) -> None:
    """Once a set is full, further novelty is told as such every ten minutes, with the incident's severity."""
    simulation.deliver([simulation.record("read", **minted_session(number)) for number in range(300)])
    before = len(simulation.alerts)
    for minute in range(60):
        simulation.run_for(minutes=1)
        simulation.happens("read", **minted_session(1_000 + minute))

    alerts = [alert for alert in simulation.alerts[before:] if "full_set" in alert.why]
    assert 5 <= len(alerts) <= 7
    assert all(alert.severity.rank >= Severity.MEDIUM.rank for alert in alerts)


# --- something new of a known kind ------------------------------------------------------------------------------------


def grant(simulation: Simulation, user: str, **changes: Any) -> dict[str, Any]:
    """Root attaches the administrator policy to a user."""
    request = {"userName": user, "policyArn": ADMINISTRATOR}
    return simulation.record("iam_changed", position=1, requestParameters=request, **changes)


def test_a_new_administrator_after_an_earlier_iam_change(simulation: Simulation) -> None:
    """Roles made before do not use up the news of an administrator, nor does the first administrator of the second."""
    own = administrator_at_work(simulation, minutes=2) | {"sourceIPAddress": HOME}
    for name in ("reader", "writer"):
        simulation.happens("iam_changed", eventName="CreateRole", requestParameters={"roleName": name}, **own)
        simulation.run_for(minutes=7)

    alerts = simulation.deliver([grant(simulation, "mallory", **own)])
    told(alerts, "AttachUserPolicy", "mallory", severity=Severity.CRITICAL, why="new_detection")
    simulation.run_for(minutes=7)
    alerts = simulation.deliver([grant(simulation, "trudy", **own)])
    told(alerts, "AttachUserPolicy", "trudy", severity=Severity.CRITICAL, why="new_detection")
    simulation.run_for(minutes=1)
    assert simulation.deliver([grant(simulation, "trudy", **own)]) == []


def test_a_new_administrator_within_a_flood_of_iam_changes(simulation: Simulation) -> None:
    """200 users made within minutes fill the targets of iam_changed, and an administrator is still told at once."""
    users = [simulation.record("iam_changed", requestParameters={"userName": f"user-{n}"}) for n in range(200)]
    simulation.deliver(users)

    alerts = simulation.deliver([grant(simulation, "mallory")])

    told(alerts, "AttachUserPolicy", "mallory", severity=Severity.CRITICAL, why="new_detection")


def test_each_of_several_administrators_made_at_once_is_named(simulation: Simulation) -> None:
    """Twenty administrators within a minute are one alert and one more that names each of the others."""
    names = [f"backdoor-{number:02}" for number in range(20)]
    simulation.deliver([grant(simulation, name) for name in names])
    simulation.run_for(minutes=6)

    assert len(simulation.alerts) <= 3
    for name in names:
        [alert] = naming(simulation.alerts, "AttachUserPolicy", name)
        assert (alert.severity, alert.detections) == (Severity.CRITICAL, ("root.iam_changed",))


def test_a_burst_of_one_kind_is_one_alert_and_a_gathered_one(simulation: Simulation) -> None:
    """Roles made for ten minutes, one every half minute: the first at once, the others within five minutes of theirs.

    That the first one was more severe than all before, and a further stage, does not make a class of its own of it.
    """
    own = administrator_at_work(simulation, minutes=2) | {"sourceIPAddress": HOME}
    before = len(simulation.alerts)
    names = [f"role-{number:02}-end" for number in range(20)]
    for name in names:
        simulation.happens("iam_changed", eventName="CreateRole", requestParameters={"roleName": name}, **own)
        simulation.run_for(seconds=28)
    simulation.run_for(minutes=6)

    first, *others = simulation.alerts[before:]
    assert {"new_detection", "stage"} <= set(first.why)
    assert [(alert.kind, alert.why) for alert in others] == [("gathered", ("new_detection",))] * 2
    assert all(naming([first, *others], name) for name in names)


# --- patience ---------------------------------------------------------------------------------------------------------


def each_within_bounds(simulation: Simulation, incidents: list[Incident]) -> None:
    """Every incident is told of, is no longer than a day, and has no more alerts than time allows."""
    for incident in incidents:
        alerts = [alert for alert in simulation.alerts if alert.incident_id == incident.id]
        assert incident.last_at - incident.opened_at < LONGEST_INCIDENT
        assert alerts
        assert max(alert.severity.rank for alert in alerts) >= Severity.MEDIUM.rank
        assert len(alerts) <= 2 + LONGEST_INCIDENT / PROGRESS_EVERY


@pytest.mark.parametrize("specimen", ["read", "access_key_used"])
def test_one_call_every_59_minutes_for_three_days(simulation: Simulation, specimen: str) -> None:
    """Whoever never lets an incident rest is told of at once, every four hours, and as a new incident every day."""
    own = session(START) if specimen == "read" else {}
    first = simulation.happens(specimen, **own)
    count = 1
    while simulation.clock() < START + timedelta(days=3):
        simulation.run_for(minutes=59)
        simulation.happens(specimen, **own)
        count += 1
    last = simulation.clock()
    simulation.run_for(hours=2)

    assert len(first) == 1
    incidents = simulation.incidents()
    assert 3 <= len(incidents) <= 5
    each_within_bounds(simulation, incidents)
    # Nobody waits longer than four hours to hear of it again.
    moments = [START, *(alert.time for alert in simulation.alerts), last]
    assert max(by_minutes(sorted(moments))) <= PROGRESS_EVERY + timedelta(minutes=60)
    assert sum(incident.records for incident in incidents) == count
    simulation.check_counts()


def test_one_call_every_59_minutes_that_arrives_backwards(simulation: Simulation) -> None:
    """Three days of them delivered in the wrong order are several incidents as well, none of more than a day."""
    records = [
        simulation.record("read", at=START + timedelta(minutes=59 * n), **session(START)) for n in range(3 * 24 + 2)
    ]
    simulation.clock.move_to(START + timedelta(days=4))
    for record in reversed(records):
        simulation.deliver([record], delay=timedelta(seconds=2))
    simulation.run_out()

    incidents = simulation.incidents()
    assert len(incidents) >= 3
    each_within_bounds(simulation, incidents)
    assert sum(incident.records for incident in incidents) == len(records)
    simulation.check_counts()


def test_an_access_key_cron_job_hides_nothing_within_it(simulation: Simulation) -> None:
    """A job with root's key every ten minutes keeps an incident open for ever; what is new in it is told at once."""
    job = Changes(eventName="ListBuckets", eventSource="s3.amazonaws.com", sourceIPAddress=HOME)
    news: list[tuple[int, tuple[str, ...], Severity, str, str, dict[str, Any]]] = [
        (300, (INTRUDER,), Severity.CRITICAL, "new_source", "access_key_used", {"sourceIPAddress": INTRUDER}),
        (
            620,
            ("GetSecretValue", "payments"),
            Severity.CRITICAL,
            "new_detection",
            "access_key_used",
            {
                "eventName": "GetSecretValue",
                "eventSource": "secretsmanager.amazonaws.com",
                "requestParameters": {"secretId": "payments"},
            },
        ),
        (900, ("AKIAEXAMPLE000000666",), Severity.CRITICAL, "new_credential", "access_key_used",
         {KEY: "AKIAEXAMPLE000000666"}),
        (1_210, ("ConsoleLogin",), Severity.HIGH, "signed_in", "console_login", {"sourceIPAddress": HOME}),
        (1_600, ("CreateUser", "mallory"), Severity.CRITICAL, "new_detection", "iam_changed",
         {"requestParameters": {"userName": "mallory"}, KEY: "AKIAEXAMPLE000000001",
          "userIdentity.sessionContext": None}),
    ]  # fmt: skip
    quiet = 0
    for minute in range(0, 48 * 60, 10):
        simulation.run_until(START + timedelta(minutes=minute))
        while news and minute >= news[0][0]:
            _, names, severity, why, specimen, changes = news.pop(0)
            changes = job | changes if specimen == "access_key_used" else changes
            told(simulation.happens(specimen, **changes), *names, severity=severity, why=why)
        quiet += sum(alert.kind in NEWS for alert in simulation.happens("access_key_used", **job))
    simulation.run_out()

    assert news == []
    # The job itself: told when it begins, and when a new day's incident opens.
    assert quiet <= 3
    assert len(simulation.alerts) <= 5 + quiet + 3 * (2 + LONGEST_INCIDENT / PROGRESS_EVERY)
    simulation.check_counts()


# --- our own outage ---------------------------------------------------------------------------------------------------


def takeover(simulation: Simulation) -> list[tuple[dict[str, Any], tuple[str, ...], str]]:
    """Two hours of a takeover: records, what an alert has to name of each, and its detection."""
    own = session(START + timedelta(minutes=6)) | {"sourceIPAddress": INTRUDER}

    def at(minute: int) -> datetime:
        return START + timedelta(minutes=minute)

    acts: list[tuple[dict[str, Any], tuple[str, ...], str]] = [
        (simulation.record("console_login_failed", at=at(3), sourceIPAddress="203.0.113.5"),
         ("ConsoleLogin", "203.0.113.5"), "root.console_login_failed"),
        (simulation.record("console_login_without_mfa", at=at(6), sourceIPAddress=INTRUDER),
         ("ConsoleLogin", INTRUDER), "root.console_login_without_mfa"),
        (simulation.record("access_key_created", at=at(31), **own), ("CreateAccessKey",), "root.access_key_created"),
        (grant(simulation, "mallory", at=at(44), **own), ("AttachUserPolicy", "mallory"), "root.iam_changed"),
        (simulation.record("logging_tampered", at=at(58), requestParameters={"name": "payments"}, **own),
         ("StopLogging", "payments"), "root.logging_tampered"),
        (simulation.record("console_login", at=at(75), sourceIPAddress="203.0.113.77"),
         ("ConsoleLogin", "203.0.113.77"), "root.console_login"),
        (simulation.record("destroyed", at=at(93), **own), (), "root.destroyed"),
        (simulation.record("account_closed", at=at(115), **own), ("CloseAccount",), "root.account_closed"),
    ]  # fmt: skip
    reads = [(simulation.record("read", at=at(minute), **own), (), "") for minute in range(7, 119, 2)]
    return sorted([*acts, *reads], key=lambda entry: str(entry[0]["time"]))


@pytest.mark.parametrize("order", ["as it happened", "backwards", "shuffled"])
def test_our_own_outage_and_then_the_backlog(simulation: Simulation, due: list[DueAlert], order: str) -> None:
    """After two hours in which we were down, everything is told with full severity, and nothing is called late."""
    acts = takeover(simulation)
    simulation.clock.move_to(START + timedelta(hours=2))
    if order == "backwards":
        acts.reverse()
    elif order == "shuffled":
        Random(1).shuffle(acts)  # noqa: S311 - the same order in every run
    for start in range(0, len(acts), 10):
        simulation.deliver([envelope for envelope, _, _ in acts[start : start + 10]], delay=timedelta(seconds=2))
        simulation.run_for(seconds=20)
    simulation.run_for(minutes=6)

    severities = {"root.console_login_failed": Severity.MEDIUM, "root.console_login": Severity.HIGH}
    for _, names, detection in acts:
        if detection:
            found = [each for each in naming(simulation.alerts, *names) if detection in each.detections]
            assert found, (names, detection)
            assert max(each.severity.rank for each in found) >= severities.get(detection, Severity.HIGH).rank
    assert all(alert.pages for alert in due)
    assert not any(alert.observation.late for alert in due if alert.observation)
    incidents = simulation.incidents()
    assert len(incidents) == 1 if order == "as it happened" else len(incidents) <= 4
    assert len(simulation.alerts) <= 25
    simulation.run_out()
    simulation.check_counts()
    simulation.check_chains()


# --- forgeries --------------------------------------------------------------------------------------------------------


def twin(envelope: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The same envelope with other content in its record."""
    copy: dict[str, Any] = json.loads(json.dumps(envelope))
    copy["detail"] |= changes
    return copy


@pytest.mark.parametrize("forged_first", [True, False])
@pytest.mark.parametrize("minutes", [0, 30])
def test_the_same_event_id_with_other_content(simulation: Simulation, forged_first: bool, minutes: int) -> None:  # noqa: FBT001
    """Both are kept and told, whichever comes first, in one batch or half an hour apart; the second is marked."""
    administrator_at_work(simulation)
    real = simulation.record("logging_tampered", requestParameters={"name": "payments"})
    harmless = twin(real, eventName="DescribeTrails", readOnly=True, requestParameters=None)
    first, second = (harmless, real) if forged_first else (real, harmless)
    if minutes:
        simulation.deliver([first])
        simulation.run_for(minutes=minutes)
        simulation.deliver([second])
    else:
        simulation.deliver([first, second])
    simulation.run_for(minutes=6)

    told(simulation.alerts, "StopLogging", "payments", severity=Severity.CRITICAL, why="new_detection")
    events = [item for item in simulation.items("EVENTS#") if item["event_id"] == real["detail"]["eventID"]]
    assert sorted(str(item["event_name"]) for item in events) == ["DescribeTrails", "StopLogging"]
    assert sorted(bool(item["event_id_reused"]) for item in events) == [False, True]
    [marked] = naming(simulation.alerts, "EVENT ID REUSED")
    assert marked.event_ids == (real["detail"]["eventID"],)


def test_a_forged_copy_that_comes_first_does_not_replace_the_real_record(simulation: Simulation) -> None:
    """A word-for-word copy that somebody else put on the bus earlier leaves the real one stored and told."""
    administrator_at_work(simulation)
    real = simulation.record("logging_tampered", requestParameters={"name": "payments"})
    simulation.deliver([real | {"source": "rootwatch.canary", "id": "00000000-0000-4000-8000-000000000001"}])

    alerts = simulation.deliver([real])

    told(alerts, "StopLogging", "payments", severity=Severity.CRITICAL, why="new_detection")
    assert simulation.deliver([real]) == []
    assert simulation.fates[-3:] == [Fate.RECORDED, Fate.RECORDED, Fate.DUPLICATE]
    simulation.check_chains()


def test_a_flood_of_forged_sessions_is_bounded(simulation: Simulation) -> None:
    """Whoever may put records on the bus makes a bounded number of alerts, however many sessions they make up."""
    forged = [
        simulation.record("read", **minted_session(number)) | {"source": "rootwatch.canary"} for number in range(700)
    ]
    simulation.deliver(forged)
    simulation.run_for(minutes=6)

    assert len(simulation.alerts) <= 2 * 200 / MOST_GATHERED + 4
    told(
        simulation.happens("logging_tampered", requestParameters={"name": "payments"}),
        "StopLogging",
        "payments",
        severity=Severity.CRITICAL,
        why="opened",
    )


# --- AssumeRoot -------------------------------------------------------------------------------------------------------

MANAGEMENT: Final = "444455556666"
AUDIT: Final = "arn:aws:iam::aws:policy/root-task/IAMAuditRootUserCredentials"


def member(number: int) -> str:
    """A member account."""
    return f"{300_000_000_000 + number}"


def call(simulation: Simulation, number: int, at: datetime) -> dict[str, Any]:
    """The caller's half: AssumeRoot into a member account, for an audit."""
    stated: dict[str, Any] = {
        "requestParameters.targetPrincipal": member(number),
        "requestParameters.taskPolicyArn": {"arn": AUDIT},
        "responseElements.credentials.accessKeyId": f"ASIAEXAMPLE{number:09}",
    }
    return simulation.record("assumed", at=at, **stated)


def act(
    simulation: Simulation, number: int, at: datetime, name: str = "ListAccessKeys", **changes: Any
) -> dict[str, Any]:
    """The member's half: what the session did in its account."""
    identity = in_account(member(number)) | {
        KEY: f"ASIAEXAMPLE{number:09}",
        "userIdentity.sessionContext.assumedRoot": "true",
        "userIdentity.sessionContext.attributes.mfaAuthenticated": "false",
        **session(at),
    }
    acts: dict[str, Any] = {"eventName": name, "eventSource": "iam.amazonaws.com", "sessionCredentialFromConsole": None}
    caller = {"sourceIPAddress": "2001:db8:40:17::2a", "userAgent": "aws-cli/2.32.6"}  # as in the specimen of the call
    return simulation.record("read", at=at, **(identity | acts | caller | changes))


def root_access_management(simulation: Simulation, accounts: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Somebody opens "Root access management" over so many accounts: the caller's records, and the members'."""
    calls = [call(simulation, number, START + timedelta(seconds=number * 2)) for number in range(accounts)]
    acts = [
        act(simulation, number, START + timedelta(seconds=number * 2 + 1), name)
        for number in range(accounts)
        for name in ("ListAccessKeys", "GetLoginProfile")
    ]
    return calls, acts


@pytest.mark.parametrize(
    ("first", "accounts"), [("the caller's half", 100), ("the members' half", 500), ("as it happened", 500)]
)
def test_root_access_management_over_500_accounts_is_one_incident(
    simulation: Simulation, first: str, accounts: int
) -> None:
    """All the accounts are members of one incident of the caller, which is one quiet alert at its end."""
    calls, acts = root_access_management(simulation, accounts)
    simulation.clock.move_to(START + timedelta(minutes=20))
    if first == "the caller's half":
        simulation.deliver([*calls, *acts])
    elif first == "the members' half":
        simulation.deliver([*acts, *calls])
        assert Counter(simulation.fates) == {Fate.WAITING: 2 * accounts, Fate.RECORDED: accounts}
    else:
        simulation.deliver(sorted([*calls, *acts], key=lambda envelope: str(envelope["time"])))
    simulation.run_for(seconds=VISIBILITY.total_seconds() + 60)

    assert Counter(simulation.fates)[Fate.RECORDED] == 3 * accounts
    assert simulation.alerts == []
    [item] = simulation.items("INCIDENT#", "INCIDENT")
    [incident] = simulation.incidents(MANAGEMENT)
    assert item["incident_id"] == incident.id
    assert incident.records == 3 * accounts
    assert set(incident.members) == {member(number) for number in range(accounts)}
    [summary] = simulation.run_out()
    assert (summary.account_id, summary.severity, summary.why) == (MANAGEMENT, Severity.LOW, ("summary",))
    simulation.check_counts()
    simulation.check_chains()


@pytest.mark.parametrize("order", ["call first", "act first"])
@pytest.mark.parametrize(
    ("name", "source", "extra"),
    [
        ("GetUserPolicy", "iam.amazonaws.com", {}),
        ("PutBucketPolicy", "s3.amazonaws.com", {"readOnly": False, "requestParameters": {"bucketName": "payments"}}),
    ],
    ids=["a read beyond the task", "a change beyond the task"],
)
def test_the_one_session_that_goes_beyond_its_task(
    simulation: Simulation, order: str, name: str, source: str, extra: dict[str, Any]
) -> None:
    """Among 100 audits the one session that does something else is critical, and an alert names it and its account."""
    calls, acts = root_access_management(simulation, 100)
    odd = act(simulation, 42, START + timedelta(seconds=86), name, eventSource=source, **extra)
    simulation.clock.move_to(START + timedelta(minutes=20))
    batches = [*calls, *acts, odd] if order == "call first" else [odd, *acts, *calls]
    simulation.deliver(batches)
    simulation.run_for(minutes=12)

    critical = [alert for alert in simulation.alerts if alert.severity is Severity.CRITICAL]
    assert [alert for alert in critical if "root.assumed_session_activity" in alert.detections]
    assert naming(simulation.alerts, name, member(42))
    others = [number for number in range(100) if number != 42]
    assert not [number for number in others if naming(simulation.alerts, member(number))]
    assert len(simulation.alerts) <= 3


# --- many accounts ----------------------------------------------------------------------------------------------------


def test_a_spray_over_accounts(simulation: Simulation) -> None:
    """One failed sign-in in each of 40 accounts, each from another address, is a spray from the second account on."""
    accounts = [member(number) for number in range(40)]
    alerts = []
    for number, account in enumerate(accounts):
        alerts.append(simulation.happens("console_login_failed", account=account, sourceIPAddress=proxy(number)))
        simulation.run_for(minutes=30)

    assert [len(each) for each in alerts] == [1] * len(accounts)
    assert alerts[0][0].severity is Severity.MEDIUM
    for number, [alert] in enumerate(alerts[1:], start=1):
        assert "root.login_spray" in alert.detections
        assert alert.severity is Severity.HIGH
        assert naming([alert], proxy(number))


@pytest.mark.parametrize(("hours", "found"), [(23.9, True), (26, False)])
def test_a_slow_spray(simulation: Simulation, hours: float, found: bool) -> None:  # noqa: FBT001
    """Two accounts within 24 hours are a spray, also where the first one was tried several times in its hour."""
    simulation.happens("console_login_failed", account=member(1))
    simulation.run_for(minutes=50)
    simulation.happens("console_login_failed", account=member(1))
    simulation.run_for(hours=hours)

    [alert] = simulation.happens("console_login_failed", account=member(2), sourceIPAddress=INTRUDER)

    assert ("root.login_spray" in alert.detections) is found


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delay", "addendum", "pages"),
    [
        (timedelta(minutes=1), None, True),
        (timedelta(hours=23), None, True),
        (timedelta(hours=30), None, False),
        (timedelta(minutes=1), {"reason": "DELIVERY_DELAY"}, False),
    ],
    ids=["prompt", "23 hours late", "30 hours late", "addendum"],
)
def test_a_late_record_reopens_its_incident(
    simulation: Simulation,
    due: list[DueAlert],
    delay: timedelta,
    addendum: Any,
    pages: bool,  # noqa: FBT001
) -> None:
    """A record that belongs to a closed incident reopens it with full severity; an old one wakes nobody."""
    own = administrator_at_work(simulation, minutes=2)
    late = simulation.record("logging_tampered", requestParameters={"name": "payments"}, addendum=addendum, **own)
    simulation.run_for(hours=2)
    [closed] = simulation.incidents()
    assert not closed.open
    simulation.run_until(datetime.fromisoformat(late["time"]) + max(delay, timedelta(hours=2)))

    alerts = simulation.deliver([late], delay=delay)

    alert = told(alerts, "StopLogging", "payments", severity=Severity.CRITICAL, why="reopened")
    assert alert.incident_id == closed.id
    assert due[-1].pages is pages
    assert simulation.incidents()[0].open
    simulation.run_out()
    simulation.check_counts()


@pytest.mark.parametrize("ahead", [timedelta(hours=3), timedelta(days=400), timedelta(days=2_900_000)])
def test_an_event_time_in_the_future(simulation: Simulation, ahead: timedelta) -> None:
    """A record that claims to be of the future counts by its arrival: told now, and it holds no incident open."""
    own = administrator_at_work(simulation, minutes=2)
    envelope = simulation.record("logging_tampered", requestParameters={"name": "payments"}, **own)
    claimed = simulation.clock() + ahead
    envelope["detail"]["eventTime"] = envelope["time"] = f"{claimed:%Y-%m-%dT%H:%M:%SZ}"

    alerts = simulation.deliver([envelope])

    told(alerts, "StopLogging", "payments", severity=Severity.CRITICAL, why="new_detection")
    [incident] = simulation.incidents()
    assert incident.last_at <= simulation.clock()
    simulation.run_for(minutes=IDLE.total_seconds() / 60 + 2)
    assert simulation.accounts() == []
    simulation.check_chains()


@pytest.mark.parametrize("envelope_time", [True, False])
def test_an_event_time_that_is_absent(simulation: Simulation, envelope_time: bool) -> None:  # noqa: FBT001
    """A record without a time is told by its arrival, kept once however often it comes, and part of the chain."""
    own = administrator_at_work(simulation, minutes=2)
    envelope = simulation.record("logging_tampered", requestParameters={"name": "payments"}, **own)
    del envelope["detail"]["eventTime"]
    if not envelope_time:
        del envelope["time"]

    alerts = simulation.deliver([envelope])
    simulation.run_for(minutes=3)
    again = simulation.deliver([envelope])

    told(alerts, "StopLogging", "payments", severity=Severity.CRITICAL, why="new_detection")
    assert (again, simulation.fates[-1]) == ([], Fate.DUPLICATE)
    assert len(simulation.incidents()) == 1
    simulation.run_out()
    simulation.check_counts()
    simulation.check_chains()


def test_targets_beyond_the_limit_are_told_as_such(simulation: Simulation) -> None:
    """Of 60 trails stopped within minutes the first 25 are named, and another is in the alert that there were more."""
    names = [f"trail-{number:02}-end" for number in range(60)]
    simulation.deliver([simulation.record("logging_tampered", requestParameters={"name": name}) for name in names])
    simulation.run_for(minutes=12)

    assert [bool(naming(simulation.alerts, name)) for name in names] == [True] * (MOST_TARGETS + 1) + [False] * 34
    at_once, later = [alert for alert in simulation.alerts if "full_set" in alert.why]
    assert at_once.severity is later.severity is Severity.CRITICAL
    assert [alert.severity for alert in simulation.alerts] == [Severity.CRITICAL] * len(simulation.alerts)
