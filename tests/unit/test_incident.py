"""One story: an incident opens, what is new is told and repeats are counted, and it closes when it is over."""

import copy
import dataclasses
import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from rootwatch.context.observation import Observation, observe
from rootwatch.detections.detection import Severity, Stage
from rootwatch.incident import (
    FULL_SET_EVERY,
    GATHER_FOR,
    GENESIS,
    LARGEST_SET,
    LONGEST_INCIDENT,
    MOST_GATHERED,
    MOST_LINEAGES,
    MOST_OPEN,
    MOST_TOLD_AT_ONCE,
    PROGRESS_EVERY,
    AccountState,
    FoldOutcome,
    Incident,
    SourceSeen,
    Why,
    fold,
    next_chain,
    next_tick,
    tick,
)
from rootwatch.record import read_envelope
from tests.builders import build_envelope
from tests.unit.workbench import ACCOUNT, IDLE, NOW, OWN, Changes, fold_all, make_observation

START: Final = datetime(2026, 11, 3, 9, 0, tzinfo=UTC)
HOME: Final = "198.51.100.24"
AWAY: Final = "203.0.113.7"
CREATED = "userIdentity.sessionContext.attributes.creationDate"
KEY = "userIdentity.accessKeyId"
TASK = "requestParameters.taskPolicyArn"
SAME_SESSION: Final[Changes] = {CREATED: f"{START:%Y-%m-%dT%H:%M:%SZ}"}
_numbers = itertools.count()


def at(minutes: float, specimen: str = "read", /, **changes: Any) -> Observation:
    """An observation so many minutes after the start; each is a record of its own."""
    moment = START + timedelta(minutes=minutes)
    session = SAME_SESSION if specimen in {"read", "write"} else {}
    time: Changes = {"eventTime": f"{moment:%Y-%m-%dT%H:%M:%SZ}"}
    return make_observation(specimen, number=next(_numbers), **(session | time | changes))


def whys(outcomes: Sequence[FoldOutcome]) -> list[tuple[str, ...]]:
    """Why each record was told, in the order of the records; empty for those that were only counted."""
    assert all(len(outcome.alerts) <= 1 for outcome in outcomes)
    return [tuple(str(why) for why in outcome.alerts[0].why) if outcome.alerts else () for outcome in outcomes]


def told(*observations: Observation, state: AccountState | None = None) -> list[tuple[str, ...]]:
    """Why each of the records was told."""
    return whys(fold_all(observations, state)[1])


def knowing(*addresses: str) -> AccountState:
    """An account that has seen the addresses, and the session of `at`, before."""
    seen = SourceSeen(START - timedelta(days=30), START - timedelta(days=1), 7)
    lineages = fold_all([at(0)])[0].lineages
    assert len(lineages) == 1
    return AccountState(ACCOUNT, sources=dict.fromkeys(addresses, seen), lineages=lineages)


def only(state: AccountState) -> Incident:
    """The one incident of the state."""
    [incident] = state.incidents
    return incident


# --- opening ----------------------------------------------------------------------------------------------------------


def test_an_incident_opens_at_medium_and_is_told() -> None:
    """A change by root opens an incident of at least medium severity, told at once."""
    state, [outcome] = fold_all([at(0, "write")], knowing(HOME))
    assert whys([outcome]) == [("opened",)]
    incident = only(state)
    assert (incident.severity, incident.silent, incident.records, incident.alerts) == (Severity.MEDIUM, False, 1, 1)
    assert outcome.changed == (incident,)
    assert outcome.event is not None
    assert outcome.event.incident_id == incident.id


def test_a_read_from_a_known_address_opens_silently() -> None:
    """Root that only looks, from an address the account knows, opens an incident that nobody is told of yet."""
    state, [outcome] = fold_all([at(0, "read")], knowing(HOME))
    assert outcome.alerts == ()
    incident = only(state)
    assert (incident.silent, incident.severity, incident.since_alert) == (True, Severity.MEDIUM, 1)


def test_a_read_from_an_unseen_address_is_told() -> None:
    """An address that the account has never seen is news, whatever root does."""
    [why] = told(at(0, "read"), state=knowing(AWAY))
    assert why == ("opened", "new_source")


def test_a_read_with_an_unseen_credential_is_told() -> None:
    """A session or key that the account has never seen is news, also from an address that it knows."""
    [why] = told(at(0, **Changes({CREATED: "2026-11-03T05:00:00Z"})), state=knowing(HOME))
    assert why == ("opened", "new_credential")


def test_credentials_are_remembered_beyond_the_incident() -> None:
    """A credential that an earlier incident told is no news to the next, but a forgotten one is."""
    state, _ = fold_all([at(0), at(1, "console_login_failed")])
    other = Changes({CREATED: "2026-11-03T05:00:00Z"})
    assert told(at(300), state=dataclasses.replace(state, incidents=())) == [()]
    assert told(at(300, **other), at(301), state=dataclasses.replace(state, incidents=()))[1] == ()
    others = [at(2, **Changes({KEY: f"AKIA{n}"})) for n in range(MOST_LINEAGES)]
    state, _ = fold_all(others, state)
    assert len(state.lineages) == MOST_LINEAGES
    assert told(at(300), state=dataclasses.replace(state, incidents=())) == [("opened", "new_credential")]


def test_what_anybody_puts_on_the_bus_makes_nothing_known() -> None:
    """A forged record is told and kept, but makes neither its address nor its credential a known one."""
    moment = f"{START:%Y-%m-%dT%H:%M:%SZ}"
    envelope = build_envelope("read", eventTime=moment, **Changes(SAME_SESSION)) | {"source": "my.app"}
    forged = observe(read_envelope(envelope), OWN, sent_at=START)
    state, outcomes = fold_all([forged])
    assert whys(outcomes) == [("opened", "new_source", "new_credential")]
    assert (dict(state.sources), state.lineages) == ({}, ())


def test_others_do_not_fill_the_sets_of_root() -> None:
    """What others do, and what fails, has sets of its own, so that root's own first success is still new."""

    def stop(minute: float, trail: int, **changes: Any) -> Observation:
        return at(minute, "logging_tampered", requestParameters={"name": f"trail-{trail}"}, **changes)

    somebody = Changes(userIdentity={"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/kim"})
    floods = [stop(n / 60, n, **somebody) for n in range(LARGEST_SET + 5)]
    floods += [stop(n / 60, n, errorCode="AccessDenied") for n in range(LARGEST_SET + 5)]
    state, _ = fold_all([at(0, "write"), *floods])
    assert "new_detection" in told(stop(5, 7), state=state)[0]


def test_what_a_full_set_hid_is_told_by_the_clock() -> None:
    """New things that found a full set are told ten minutes later at full severity, without a further record."""
    names = [f"198.51.{number // 250}.{number % 250 + 1}" for number in range(LARGEST_SET + 40)]
    state, _ = fold_all([at(0, sourceIPAddress=name) for name in names], now=START)
    assert only(state).overflowed == 39
    assert next_tick(state, idle=IDLE) == START + GATHER_FOR
    outcome = tick(state, START + GATHER_FOR, idle=IDLE)
    [due] = outcome.alerts
    assert [act.source for act in due.gathered] == names[LARGEST_SET - len(due.gathered) : LARGEST_SET]
    assert next_tick(outcome.state, idle=IDLE) == START + FULL_SET_EVERY
    outcome = tick(outcome.state, START + FULL_SET_EVERY, idle=IDLE)
    [due] = outcome.alerts
    assert (due.why, due.severity) == ((Why.FULL_SET,), Severity.MEDIUM)
    assert only(outcome.state).overflowed == 0


def test_what_follows_a_silent_opening_is_told() -> None:
    """The first change in an incident that opened silently is told, with the reads before it counted in."""
    state, outcomes = fold_all([at(0), at(1), at(2, "write")], knowing(HOME))
    assert whys(outcomes) == [(), (), ("new_detection",)]
    assert outcomes[-1].alerts[0].records_told == 3
    assert not only(state).silent


def test_a_service_s_act_opens_none() -> None:
    """What a service does on root's behalf is kept, chained, and part of no story; below medium, others open none."""
    others = at(1, "logging_tampered", eventName="UpdateTrail", userIdentity={"type": "IAMUser", "userName": "kim"})
    state, outcomes = fold_all([at(0, "service_acted"), others])
    assert others.severity is Severity.LOW
    assert state.incidents == ()
    assert state.sequence == 2
    assert all(outcome.event and outcome.event.incident_id is None for outcome in outcomes)
    assert whys(outcomes) == [(), ()]


def test_a_service_s_act_is_counted_in_an_open_incident_and_not_told() -> None:
    """While an incident is open a service's act is counted and brings no news of client or address."""
    state, outcomes = fold_all([at(0, "write"), at(1, "service_acted")])
    assert whys(outcomes)[1] == ()
    assert only(state).records == 2


def test_a_service_that_stops_the_logging_is_told() -> None:
    """A dangerous act is told, also when a service did it on root's behalf."""
    service = Changes({"userIdentity.invokedBy": "glue.amazonaws.com", "sourceIPAddress": "glue.amazonaws.com"})
    reasons = told(at(0, "write"), at(1, "logging_tampered", **(service | SAME_SESSION)))
    assert reasons[1] == ("new_detection", "severity", "stage")


# --- repeats and news -------------------------------------------------------------------------------------------------


def test_repeats_are_counted() -> None:
    """The same again is counted, and the next alert says how many there were."""
    quiet = [at(minute / 10, name) for minute in range(1, 30) for name in ("write", "read")]
    state, outcomes = fold_all([at(0, "write"), *quiet, at(4, "access_key_created")])
    assert whys(outcomes)[1:-1] == [()] * len(quiet)
    incident = only(state)
    assert incident.records == len(quiet) + 2
    assert incident.since_alert == 0
    assert outcomes[-1].alerts[0].records_told == len(quiet) + 1
    assert incident.detections == {"root.write": 30, "root.read": 29, "root.access_key_created": 1}
    assert incident.acts == {"CreateBucket": 30, "CreateAccessKey": 1}
    assert incident.reads == 29


def test_signed_in() -> None:
    """Every successful sign-in is told, also the second one from the same address with the same device."""
    reasons = told(at(0, "write"), at(1, "console_login"), at(2, "console_login"), at(3, "cli_login"))
    assert all("signed_in" in why for why in reasons[1:])
    assert reasons[2] == ("signed_in",)
    assert "signed_in" not in told(at(0, "write"), at(1, "console_login_failed"))[1]
    assert "signed_in" not in told(at(0, "write"), at(1, "console_login", responseElements=None))[1]


def test_recovered() -> None:
    """Every completed recovery of the password is told; one that failed is not told as completed."""
    reasons = told(at(0, "write"), at(1, "password_recovery_completed"), at(2, "password_recovery_completed"))
    assert all("recovered" in why and "credential_changed" in why for why in reasons[1:])
    failed = Changes(responseElements={"PasswordRecoveryCompleted": "Failure"})
    assert "recovered" not in told(at(0, "write"), at(1, "password_recovery_completed", **failed))[1]


@pytest.mark.parametrize("specimen", ["access_key_created", "mfa_removed", "mfa_added", "password_changed"])
def test_credential_changed(specimen: str) -> None:
    """Every credential created or changed is told, also the same again; an attempt that failed is not told as done."""
    reasons = told(at(0, "write"), at(1, specimen), at(2, specimen))
    assert all("credential_changed" in why for why in reasons[1:])
    refused = told(at(0, "write"), at(1, specimen, errorCode="AccessDenied", responseElements=None))[1]
    assert "credential_changed" not in refused
    assert "new_detection" in refused


def test_new_source() -> None:
    """Use from an address that the incident has not seen is told once."""
    reasons = told(at(0), at(1, sourceIPAddress=AWAY), at(2, sourceIPAddress=AWAY), at(3))
    assert reasons[1:] == [("new_source",), (), ()]
    internal = told(at(0), at(1, sourceIPAddress="AWS Internal"), at(2, sourceIPAddress=None))
    assert internal[1:] == [(), ()]


def test_new_source_that_is_no_address() -> None:
    """Rubbish in the field of the address is news too: it is not where root was before."""
    assert told(at(0), at(1, sourceIPAddress="rubbish"), at(2, sourceIPAddress="rubbish"))[1:] == [("new_source",), ()]


def test_new_credential() -> None:
    """Use with another session or key is told once; fresh keys of the same session are not another."""
    fresh = Changes({KEY: "ASIAEXAMPLE000000777"})
    other = Changes({CREATED: "2026-11-03T05:00:00Z"})
    reasons = told(at(0), at(1, **fresh), at(2, **other), at(3, **other), at(4))
    assert reasons[1:] == [(), ("new_credential",), (), ()]


def test_new_client() -> None:
    """Use with another kind of client is told once; the console's own guises are one kind."""
    cli = Changes(userAgent="aws-cli/2.32.6", sessionCredentialFromConsole=None)
    console = Changes(userAgent="console.amazonaws.com")
    assert told(at(0), at(1, **console), at(2, **cli), at(3, **cli), at(4))[1:] == [(), ("new_client",), (), ()]


def test_new_detection_at_high_is_each_act_and_target() -> None:
    """From high on, each new (detection, event name, target) is told; the same again is counted."""

    def stop(minute: float, name: str, trail: str) -> Observation:
        return at(minute, "logging_tampered", eventName=name, requestParameters={"name": trail})

    reasons = told(
        at(0, "console_login_without_mfa"),
        stop(1, "StopLogging", "one"),
        stop(7, "StopLogging", "one"),
        stop(13, "StopLogging", "two"),
        stop(19, "DeleteTrail", "one"),
    )
    assert "new_detection" in reasons[1]
    assert reasons[2:] == [(), ("new_detection",), ("new_detection",)]


def test_new_detection_at_medium_is_the_detection_alone() -> None:
    """At medium a new kind of act is told once, whatever its name; below medium it is only counted."""
    here = Changes({"sourceIPAddress": HOME} | SAME_SESSION)
    reasons = told(
        at(0, "write"), at(1, "write", eventName="PutObject"), at(2, "write", errorCode="AccessDenied", **here), at(3)
    )
    assert reasons[1:] == [(), ("new_detection",), ()]


def test_severity() -> None:
    """A record more severe than anything before is told as such, and raises the incident."""
    state, outcomes = fold_all([at(0, "write"), at(1, "mfa_added"), at(2, "access_key_created"), at(3, "mfa_added")])
    assert ["severity" in why for why in whys(outcomes)] == [False, True, True, False]
    assert only(state).severity is Severity.CRITICAL
    assert [outcome.alerts[0].severity for outcome in outcomes] == ["medium", "high", "critical", "high"]


def test_stage() -> None:
    """Each further stage of a takeover is told once: attempt, in, credentials, logging, destruction."""
    state, outcomes = fold_all(
        [
            at(0, "write"),
            at(1, "console_login_failed"),
            at(2, "console_login"),
            at(3, "access_key_created"),
            at(4, "console_login"),
            at(5, "logging_tampered"),
            at(6, "account_closed"),
            at(7, "account_closed"),
        ]
    )
    assert ["stage" in why for why in whys(outcomes)] == [False, True, True, True, False, True, True, False]
    assert only(state).stage is Stage.DESTRUCTION


def test_an_attempt_is_no_further_stage_than_an_attempt() -> None:
    """A refused or failed act does not count as a stage that was reached."""
    state, _ = fold_all([at(0, "write"), at(1, "logging_tampered", errorCode="AccessDenied")])
    assert only(state).stage is Stage.ATTEMPT


def test_a_reused_event_id_is_told() -> None:
    """A record whose id another record has is news every time, also where it would open silently."""
    reused = dataclasses.replace(at(1), event_id_reused=True)
    assert told(at(0), reused, dataclasses.replace(at(7), event_id_reused=True))[1:] == [("new_detection",)] * 2
    assert told(reused, state=knowing(HOME)) == [("opened", "new_detection")]


def test_full_set() -> None:
    """A full set is told, then again only after ten minutes while new things go on; everything is counted meanwhile."""
    names = [f"198.51.{number // 250}.{number % 250 + 1}" for number in range(LARGEST_SET + 40)]
    floods = [at(number / 60, sourceIPAddress=name) for number, name in enumerate(names)]
    state, outcomes = fold_all(floods, knowing(names[0]))
    reasons = whys(outcomes)
    assert reasons[:2] == [(), ("new_source",)]
    # What is new until then is told 25 at a time, each by its name.
    gathered = [outcome.alerts[0] for outcome in outcomes[2:LARGEST_SET] if outcome.alerts]
    assert [act.source for due in gathered for act in due.gathered] == names[2 : 2 + MOST_GATHERED * len(gathered)]
    assert len(gathered) == (LARGEST_SET - 2) // MOST_GATHERED
    assert reasons[LARGEST_SET] == ("full_set",)
    assert set(reasons[LARGEST_SET + 1 :]) == {()}
    later = floods[LARGEST_SET].time + FULL_SET_EVERY
    minutes = (later - START).total_seconds() / 60
    after = [at(minutes - 1, sourceIPAddress="192.0.2.1"), at(minutes, sourceIPAddress="192.0.2.2")]
    state, outcomes = fold_all(after, state)
    assert whys(outcomes) == [(), ("full_set",)]
    assert only(state).records == len(names) + 2
    assert len(only(state).sources) == LARGEST_SET


def test_a_full_set_hides_no_sign_in() -> None:
    """However full the sets are, a sign-in, a credential and a stage are still told."""
    floods = [at(0, sourceIPAddress=f"198.51.{n // 250}.{n % 250 + 1}") for n in range(LARGEST_SET + 10)]
    state, _ = fold_all(floods)
    reasons = told(at(1, "console_login", sourceIPAddress="192.0.2.9"), at(2, "access_key_created"), state=state)
    assert "signed_in" in reasons[0]
    assert {"credential_changed", "stage"} <= set(reasons[1])


# --- intruders --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", [HOME, AWAY])
def test_a_second_intruder_is_told(address: str) -> None:
    """Somebody who signs in while the incident is open is told, from the same and from another address."""
    login = at(30, "console_login_without_mfa", sourceIPAddress=address)
    reasons = told(at(0, "console_login"), at(1), at(2, "write"), login)
    assert "signed_in" in reasons[-1]
    assert ("new_source" in reasons[-1]) is (address != HOME)
    assert "severity" in reasons[-1]


def test_a_session_stolen_from_elsewhere_is_told() -> None:
    """The session of a known sign-in used from another address is told by its address."""
    assert told(at(0, "console_login"), at(1), at(2, sourceIPAddress=AWAY))[2] == ("new_source",)


def test_a_session_created_with_a_recorded_sign_in_is_no_new_credential() -> None:
    """The keys that a recorded sign-in brings are that sign-in's own; a session of another time is news."""
    near = Changes({CREATED: f"{START + timedelta(minutes=2):%Y-%m-%dT%H:%M:%SZ}"})
    far = Changes({CREATED: f"{START + timedelta(minutes=3):%Y-%m-%dT%H:%M:%SZ}"})
    assert told(at(0, "console_login"), at(1))[1] == ()
    assert told(at(0, "console_login"), at(3, **near))[1] == ()
    assert told(at(0, "console_login"), at(4, **far))[1] == ("new_credential",)
    assert told(at(0, "console_login"), at(4, **Changes({CREATED: "soon"})))[1] == ("new_credential",)


def test_an_access_key_beside_a_sign_in_is_a_new_credential() -> None:
    """A long-lived key never belongs to a sign-in, whatever creation date its record claims."""
    key = Changes({KEY: "AKIAEXAMPLE000000005"})
    assert "new_credential" in told(at(0, "console_login"), at(1, **key))[1]


# --- failures ---------------------------------------------------------------------------------------------------------


def severities(outcomes: Sequence[FoldOutcome]) -> list[str | None]:
    """The severity of each record with its history."""
    return [str(outcome.event.observation.severity) if outcome.event else None for outcome in outcomes]


def test_three_failures_in_an_hour_are_high() -> None:
    """The third failed sign-in within an hour is high, and told."""
    _, outcomes = fold_all([at(minute, "console_login_failed") for minute in (0, 20, 59, 60)])
    assert severities(outcomes) == ["medium", "medium", "high", "high"]
    assert whys(outcomes) == [("opened", "new_source"), (), ("new_detection", "severity"), ()]


def test_failures_further_apart_are_not() -> None:
    """Three failures that no single hour holds stay medium."""
    _, outcomes = fold_all([at(minute, "console_login_failed") for minute in (0, 31, 62, 93)])
    assert severities(outcomes) == ["medium"] * 4


@pytest.mark.parametrize("specimen", ["console_login", "console_login_without_mfa"])
@pytest.mark.parametrize(("minutes", "found"), [(1, True), (60, True), (61, False)])
def test_login_after_failures(specimen: str, minutes: int, found: bool) -> None:  # noqa: FBT001
    """A success within an hour of a failure is critical, however the failure's address and the success's differ."""
    keep_open = at(30, "write")
    login = at(minutes, specimen, sourceIPAddress="192.0.2.77")
    state, outcomes = fold_all(sorted([at(0, "console_login_failed"), keep_open, login], key=lambda each: each.time))
    assert ("root.login_after_failures" in only(state).detections) is found
    if found:
        event = next(
            o.event for o in outcomes if o.event and o.event.observation.record.event_id == login.record.event_id
        )
        assert event.observation.severity is Severity.CRITICAL
        assert [finding.detection.stem for finding in event.observation.findings][-1] == "login_after_failures"


def test_a_sign_in_of_unknown_result_after_a_failure_is_no_success() -> None:
    """Only a stated success after a failure is what a guessed password looks like."""
    state, _ = fold_all([at(0, "console_login_failed"), at(5, "console_login", responseElements=None)])
    assert "root.login_after_failures" not in only(state).detections
    assert only(state).sign_ins == ()


def test_a_failure_after_the_success_is_none_before_it() -> None:
    """A failure that happened after the sign-in does not make it a guessed one, in whatever order they arrive."""
    state, _ = fold_all([at(10, "console_login_failed"), at(5, "console_login")])
    assert "root.login_after_failures" not in only(state).detections


def test_failed_attempts_do_not_fill_the_sets_of_successful_use() -> None:
    """Guesses from hundreds of addresses leave the sets of successful use empty, so that a new address is told."""
    guesses = [
        at(n / 60, "console_login_failed", sourceIPAddress=f"198.51.{n // 250}.{n % 250 + 1}", userAgent=f"Boto3/1.{n}")
        for n in range(LARGEST_SET + 20)
    ]
    state, _ = fold_all(guesses)
    incident = only(state)
    assert (incident.sources, incident.lineages, incident.clients) == ((), (), ())
    assert len(incident.failed_sources) == LARGEST_SET
    reasons = told(at(5, sourceIPAddress="198.51.0.1"), at(6, sourceIPAddress=AWAY), state=state)
    assert "new_source" in reasons[0]
    assert "new_source" in reasons[1]


def test_a_failed_attempt_from_another_address_is_told_once() -> None:
    """Failed attempts have a set of addresses of their own."""
    fails = [at(minute, "console_login_failed", sourceIPAddress=AWAY) for minute in (1, 2)]
    reasons = told(at(0, "console_login"), *fails)
    assert "new_source" in reasons[1]
    assert reasons[2] == ()


# --- membership -------------------------------------------------------------------------------------------------------


def test_records_out_of_order_join_the_same_incident() -> None:
    """Membership goes by event time: a record that arrives late joins the story it belongs to."""
    for order in itertools.permutations([at(0, "console_login"), at(20, "write"), at(50), at(60, "write")]):
        state, _ = fold_all(order)
        incident = only(state)
        assert (incident.opened_at, incident.last_at) == (START, START + timedelta(minutes=60))
        assert incident.records == 4


def test_a_backlog_is_not_cut_into_pieces() -> None:
    """Days of ours late, an hour of root use is still one incident, and no clock closes it while records come in."""
    state = AccountState(ACCOUNT)
    now = START + timedelta(days=3)
    for number in range(20):
        observation = at(number * 3, "write" if number % 5 == 0 else "read")
        now += timedelta(minutes=30)
        before = tick(state, now, idle=IDLE)
        assert all(alert.why == (Why.PROGRESS,) for alert in before.alerts)
        state = fold(before.state, observation, now, idle=IDLE).state
    assert only(state).records == 20


def test_a_later_record_opens_another_incident() -> None:
    """After more than the idle time a record is another story, even if nothing closed the first one yet."""
    state, outcomes = fold_all([at(0, "write"), at(60, "write"), at(121, "write")])
    assert len(state.incidents) == 2
    assert whys(outcomes)[1:] == [(), ("opened",)]
    assert len({incident.id for incident in state.incidents}) == 2


def test_an_incident_lasts_24_hours_at_most() -> None:
    """Root use without end is succeeded by a new incident after 24 hours."""
    state, outcomes = fold_all([at(30 * number) for number in range(2 * 24 + 2)])
    first, second = sorted(state.incidents, key=lambda incident: incident.opened_at)
    assert second.opened_at - first.opened_at == LONGEST_INCIDENT
    assert first.last_at - first.opened_at < LONGEST_INCIDENT
    assert first.records == 48
    assert outcomes[-1].event is not None
    assert outcomes[-1].event.incident_id == second.id


def test_one_incident_per_caller_and_task() -> None:
    """AssumeRoot by one caller under one task policy is one story; another caller or task is another."""
    other_task = Changes({TASK: {"arn": "arn:aws:iam::aws:policy/root-task/SQSUnlockQueuePolicy"}})
    other_caller = Changes({"userIdentity.arn": "arn:aws:sts::444455556666:assumed-role/CentralRootAccess/kim"})
    others = [
        at(1, "assumed", **Changes({"requestParameters.targetPrincipal": f"{number:012}"})) for number in range(5)
    ]
    state, _ = fold_all([at(0, "assumed"), *others, at(2, "assumed", **other_task), at(3, "assumed", **other_caller)])
    assert sorted(incident.records for incident in state.incidents) == [1, 1, 6]
    state, _ = fold_all([at(4, "write")], state)
    assert len(state.incidents) == 4


def test_stories_are_bounded_and_nothing_is_lost() -> None:
    """Minted task policies open no more incidents than are allowed; what joins the last one is still told as new."""
    most = MOST_OPEN["assume-root"]
    minted = [at(n / 60, "assumed", **Changes({TASK: {"arn": f"task/{n}"}})) for n in range(most + 5)]
    state, outcomes = fold_all(minted)
    assert len(state.incidents) == most
    assert sum(incident.records for incident in state.incidents) == len(minted)
    assert all(outcome.event and outcome.event.incident_id for outcome in outcomes)
    state, _ = fold_all([at(1, "write")], state)
    assert len(state.incidents) == most + 1


def test_sets_are_capped() -> None:
    """Whatever root does, no set of an incident holds more than its cap, and every record is counted."""
    state = AccountState(ACCOUNT)
    for number in range(LARGEST_SET + 30):
        changes = Changes(
            {
                "eventName": f"Create{number}",
                "awsRegion": f"region-{number}",
                "sourceIPAddress": f"198.51.{number // 250}.{number % 250 + 1}",
                CREATED: f"{START + timedelta(hours=1, seconds=number * 130):%Y-%m-%dT%H:%M:%SZ}",
                KEY: f"AKIA{number}",
            }
        )
        state, _ = fold_all([at(number / 60, "write", **changes)], state)
    incident = only(state)
    for entries in (incident.regions, incident.sources, incident.lineages, incident.clients, incident.novelties):
        assert len(entries) <= LARGEST_SET
    assert len(incident.acts) <= LARGEST_SET + 1
    assert sum(incident.acts.values()) == incident.records == LARGEST_SET + 30
    assert incident.acts["(others)"] == 30


# --- closing ----------------------------------------------------------------------------------------------------------


def opened(now: datetime = START) -> AccountState:
    """An account in which root wrote once, at the start, told at `now`."""
    return fold_all([at(0, "write")], now=now)[0]


def test_closing_needs_both_clocks() -> None:
    """An incident closes the idle time after its last event and after we last added to it, whichever is later."""
    late = START + timedelta(hours=5)
    state = opened(late)
    assert next_tick(state, idle=IDLE) == late + IDLE
    assert tick(state, late + IDLE - timedelta(seconds=1), idle=IDLE).alerts == ()
    assert tick(state, late + IDLE, idle=IDLE).state.incidents == ()
    early = opened(START - timedelta(minutes=30))
    assert next_tick(early, idle=IDLE) == START + IDLE


def test_summary() -> None:
    """At its end an incident is told once, quietly, with all that was counted since the last alert."""
    state, _ = fold_all([at(1), at(2)], opened(), now=START)
    outcome = tick(state, NOW + timedelta(days=1), idle=IDLE)
    [due] = outcome.alerts
    assert (due.why, due.severity, due.records_told) == ((Why.SUMMARY,), Severity.INFO, 2)
    assert outcome.state.incidents == ()
    assert outcome.event is None
    [closed] = outcome.changed
    assert not closed.open
    assert closed == due.incident
    assert tick(outcome.state, NOW + timedelta(days=2), idle=IDLE).alerts == ()


def test_the_summary_of_a_silent_incident_is_news() -> None:
    """An incident that nobody was told of ends with its full severity."""
    state, _ = fold_all([at(0)], knowing(HOME), now=START)
    [due] = tick(state, START + IDLE, idle=IDLE).alerts
    assert due.severity is Severity.MEDIUM
    assert due.records_told == 1


def test_progress() -> None:
    """An incident that goes on reports every four hours what was not told yet, and stays open."""
    state = opened()
    for half_hours in range(1, 9):
        state, _ = fold_all([at(30 * half_hours)], state, now=START + timedelta(minutes=30 * half_hours))
    now = START + PROGRESS_EVERY
    assert next_tick(state, idle=IDLE) == now
    assert tick(state, now - timedelta(seconds=1), idle=IDLE).alerts == ()
    outcome = tick(state, now, idle=IDLE)
    [due] = outcome.alerts
    assert (due.why, due.severity, due.records_told) == ((Why.PROGRESS,), Severity.INFO, 8)
    assert only(outcome.state).open
    assert only(outcome.state).since_alert == 0
    assert tick(outcome.state, now, idle=IDLE).alerts == ()


def test_nothing_uncounted_is_no_progress() -> None:
    """Where every record was told, four hours later there is nothing to report."""
    rest = timedelta(hours=24)
    state = opened()
    assert next_tick(state, idle=rest) == START + rest
    assert tick(state, START + PROGRESS_EVERY, idle=rest).alerts == ()
    state, _ = fold_all([at(1)], state, now=START)
    assert next_tick(state, idle=rest) == START + PROGRESS_EVERY


def test_after_24_hours_the_incident_is_closed() -> None:
    """The longest incident closes after 24 hours, though its last event is fresh."""
    state, _ = fold_all([at(30 * number) for number in range(48)], now=START)
    assert next_tick(state, idle=IDLE) == START + PROGRESS_EVERY
    [due] = tick(state, START + LONGEST_INCIDENT, idle=IDLE).alerts
    assert due.why == (Why.SUMMARY,)


def test_many_incidents_close_in_steps() -> None:
    """One tick tells a bounded number of incidents, and the next call goes on with the rest."""
    minted = [at(n / 60, "assumed", **Changes({TASK: {"arn": f"task/{n}"}})) for n in range(MOST_TOLD_AT_ONCE + 3)]
    state, _ = fold_all(minted, now=START)
    now = START + timedelta(days=2)
    first = tick(state, now, idle=IDLE)
    assert len(first.alerts) == len(first.changed) == MOST_TOLD_AT_ONCE
    moment = next_tick(first.state, idle=IDLE)
    assert moment is not None
    assert moment <= now
    second = tick(first.state, now, idle=IDLE)
    assert len(second.alerts) == 3
    assert next_tick(second.state, idle=IDLE) is None


def test_an_empty_account_has_nothing_to_do() -> None:
    """Without an open incident time passes unnoticed."""
    outcome = tick(AccountState(ACCOUNT), NOW, idle=IDLE)
    assert outcome == FoldOutcome(AccountState(ACCOUNT), None, (), ())


# --- purity -----------------------------------------------------------------------------------------------------------

STORY: Final = (
    "console_login_failed", "console_login_without_mfa", "read", "access_key_created", "mfa_removed", "write",
    "logging_tampered", "service_acted", "assumed", "account_closed",
)  # fmt: skip


def test_the_same_input_gives_the_same_outcome() -> None:
    """A batch that lost a race is folded again and gives the same incidents, ids and alerts."""
    observations = [at(minute, name) for minute, name in enumerate(STORY)]
    assert fold_all(observations) == fold_all(observations)
    state, _ = fold_all(observations)
    assert tick(state, NOW, idle=IDLE) == tick(state, NOW, idle=IDLE)


def test_the_state_is_not_mutated() -> None:
    """Folding and ticking leave the state they were given as it was."""
    state, _ = fold_all([at(minute, name) for minute, name in enumerate(STORY)])
    before = repr(state)
    sources = copy.copy(dict(state.sources))
    for name in STORY:
        fold(state, at(20, name, sourceIPAddress="192.0.2.200"), NOW, idle=IDLE)
    tick(state, NOW + timedelta(days=30), idle=IDLE)
    assert repr(state) == before
    assert dict(state.sources) == sources


def test_the_chain_grows_with_every_record() -> None:
    """Each record has the next number and the hash of the chain before it with its own."""
    observations = [at(minute, name) for minute, name in enumerate(STORY)]
    state, outcomes = fold_all(observations)
    chain = GENESIS
    for number, (observation, outcome) in enumerate(zip(observations, outcomes, strict=True), start=1):
        chain = next_chain(chain, observation.record.sha256)
        assert outcome.event is not None
        assert (outcome.event.sequence, outcome.event.chain) == (number, chain)
        for due in outcome.alerts:
            assert (due.sequence, due.chain) == (number, chain)
    assert (state.sequence, state.chain) == (len(STORY), chain)


def test_alerts_are_numbered_within_their_incident() -> None:
    """The alerts of an incident have the numbers 1, 2, 3 without a gap."""
    state, outcomes = fold_all([at(0, "write"), at(1), at(2, "console_login"), at(3, "access_key_created")], now=START)
    [last] = tick(state, NOW + timedelta(days=1), idle=IDLE).alerts
    assert [due.number for outcome in outcomes for due in outcome.alerts] + [last.number] == [1, 2, 3, 4]


def test_addresses_are_remembered() -> None:
    """The account remembers when and how often it saw an address, out of order as well; a failed guess counts too."""
    state, _ = fold_all([at(10), at(0), at(20, "console_login_failed", sourceIPAddress=AWAY)])
    assert state.sources[HOME] == SourceSeen(START, START + timedelta(minutes=10), 2)
    assert state.sources[AWAY].times == 1
