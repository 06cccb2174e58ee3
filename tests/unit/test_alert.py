"""An alert says what happened in its first words, claims nothing beyond the record, and shows hostile text tamed."""

import copy
import dataclasses
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rootwatch import __version__
from rootwatch.alert import (
    LONGEST_HEADLINE,
    LONGEST_VALUE,
    Alert,
    clock,
    compose,
    detection_title,
    duration,
    shown,
)
from rootwatch.context.observation import Observation, observe
from rootwatch.context.source import SourceKind
from rootwatch.detections.catalogue import CATALOGUE
from rootwatch.incident import DueAlert, Incident, Why, tick
from rootwatch.record import read_document, read_envelope
from tests.builders import ABSENT, build_envelope, build_record, specimen_stems
from tests.unit.workbench import IDLE, NOW, OWN, Changes, fold_all, make_alert, make_observation

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Mn", "Me"}
"""Unicode categories of characters that nobody sees, or that change the ones beside them."""


def due_for(observation: Observation) -> DueAlert:
    """The alert that is due when this is the first record of its account."""
    _, [outcome] = fold_all([observation])
    [due] = outcome.alerts
    return due


def alert_for(observation: Observation) -> Alert:
    """The same, composed."""
    return compose(due_for(observation))


def texts(alert: Alert) -> list[str]:
    """Every text of an alert that a person reads."""
    facts = [part for fact in alert.facts for part in fact]
    briefing = [part for line in alert.briefing for part in line]
    return [alert.headline, *briefing, *facts, *alert.next_steps, *alert.trust, *alert.marks]


# --- the headline -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("specimen", "changes", "words"),
    [
        ("console_login", {}, "Root signed in to the console"),
        ("console_login_without_mfa", {}, "Root signed in to the console WITHOUT MFA"),
        ("console_login_failed", {}, "Root sign-in FAILED"),
        ("console_login", {"responseElements": None}, "Root sign-in UNCONFIRMED (the record states no result)"),
        ("console_login", {"responseElements": None, "errorCode": "Odd"}, "Root sign-in FAILED"),
        ("cli_login", {}, "Root signed in for the command line"),
        ("cli_login", {"additionalEventData.success": "false"}, "Root FAILED: tried to sign in for the command line"),
        ("access_key_created", {}, "Root created an access key for itself"),
        ("access_key_created", {"errorCode": "AccessDenied"}, "Root REFUSED: tried to create an access key"),
        ("access_key_created", {"errorCode": "LimitExceeded"}, "Root FAILED: tried to create an access key"),
        ("logging_tampered", {}, "Root stopped or changed AWS's own logging (StopLogging)"),
        ("denied", {}, "Root REFUSED: tried to change who may do what in the account (CreateUser)"),
        ("write", {"errorCode": "AccessDenied"}, "Root REFUSED: CreateBucket"),
        ("write", {}, "Root changed something (CreateBucket)"),
        ("password_recovery_requested", {}, "Password reset requested for root"),
        ("assumed", {}, "Role CentralRootAccess/dana assumed root of a member account"),
        ("assumed", {"errorCode": "AccessDenied"}, "Role CentralRootAccess/dana REFUSED: tried to assume root"),
        ("rootwatch_tampered", {}, "Role BuildRunner/session-4711 changed Rootwatch itself"),
        ("rootwatch_tampered", {"userIdentity": None}, "Somebody unidentified changed Rootwatch itself"),
        (
            "write",
            {"userIdentity.sessionContext.assumedRoot": "true"},
            "AssumeRoot session acted in a member account",
        ),
    ],
)
def test_the_first_words_say_who_and_whether_it_worked(specimen: str, changes: Changes, words: str) -> None:
    """A headline begins with who acted and whether it was done, refused or failed."""
    headline = make_alert(specimen, **changes).headline
    assert headline.startswith(words)
    assert " · account " in headline


@pytest.mark.parametrize("stem", sorted(set(specimen_stems()) - {"console_login_failed", "denied", "login_spray"}))
def test_a_refused_act_is_never_told_as_done(stem: str) -> None:
    """With an error code of refusal no headline says it was done; without one none says refused."""
    done = alert_of(stem)
    refused = alert_of(stem, errorCode="AccessDenied", responseElements=None)
    if refused is not None:
        sentence = refused.headline.partition(" · ")[0]
        assert "REFUSED" in " ".join(sentence.split()[:3]) or sentence == "Root sign-in FAILED"
        assert ("Outcome", "denied") in [(label, value.partition(" ")[0]) for label, value in refused.facts]
    if done is not None:
        assert "REFUSED" not in done.headline
        assert "FAILED" not in done.headline


def alert_of(stem: str, /, **changes: Any) -> Alert | None:
    """The alert of a specimen's last record, or None where it opens no incident that is told."""
    observation = make_observation(stem, position=-1, **changes)
    _, [outcome] = fold_all([observation])
    return compose(outcome.alerts[0]) if outcome.alerts else None


def test_the_headline_has_account_source_and_time() -> None:
    """Whoever reads the headline alone knows account, MFA, address and time."""
    words = make_alert("console_login").headline.split(" · ")
    assert words[1:] == [
        "account 111122223333",
        "MFA yes (passkey device)",
        "from 198.51.100.24",
        "08:15 UTC, seen 2 s later",
    ]


# --- MFA --------------------------------------------------------------------------------------------------------------

MFA = "additionalEventData.MFAUsed"


@pytest.mark.parametrize("stated", ["Yes", "No", ABSENT])
def test_a_failed_sign_in_claims_nothing_of_mfa(stated: Any) -> None:
    """On a failed sign-in the flag proves nothing, so neither headline nor facts speak of MFA."""
    alert = make_alert("console_login_failed", **Changes({MFA: stated}))
    assert "MFA" not in alert.headline
    assert "MFA" not in dict(alert.facts)


@pytest.mark.parametrize("stated", [ABSENT, None, "rubbish", 0])
def test_not_stated_is_never_no(stated: Any) -> None:
    """MFA that the record does not state is told as not stated."""
    alert = make_alert("console_login", **Changes({MFA: stated, "additionalEventData.MFAIdentifier": ABSENT}))
    assert " · MFA not stated · " in alert.headline
    assert dict(alert.facts)["MFA"].startswith("not stated")
    assert "WITHOUT" not in alert.headline


def test_a_stated_no_is_said_loudly() -> None:
    """MFA that the record denies is told as NO, with the field that says so."""
    alert = make_alert("console_login_without_mfa")
    assert " · MFA NO · " in alert.headline
    assert dict(alert.facts)["MFA"] == "NO (says MFAUsed)"


def test_what_others_use_is_not_root_s_mfa() -> None:
    """An alert on somebody else's act, or a service's, does not speak of MFA."""
    service = Changes({"userIdentity.invokedBy": "glue.amazonaws.com"})
    for alert in (make_alert("assumed"), make_alert("rootwatch_tampered"), make_alert("logging_tampered", **service)):
        assert "MFA" not in alert.headline
        assert "MFA" not in dict(alert.facts)


def test_what_is_missing_is_not_stated() -> None:
    """Absent fields are told as not stated, in the facts and in the headline."""
    nothing: Changes = dict.fromkeys(("sourceIPAddress", "userAgent", "eventName", "eventSource", "awsRegion"), ABSENT)
    envelope = build_envelope("write", **nothing) | {"region": None}
    alert = alert_for(observe(read_envelope(envelope), OWN, sent_at=NOW))
    assert "source not stated" in alert.headline
    facts = dict(alert.facts)
    assert {name: facts[name] for name in ("Act", "Outcome", "Source", "Client", "Region")} == {
        "Act": "not stated (not stated)",
        "Outcome": "not stated",
        "Source": "not stated",
        "Client": "not stated",
        "Region": "not stated",
    }


# --- whether root was needed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("specimen", "changes", "told"),
    [
        ("access_key_created", {}, "yes: adding or changing an access key, signing certificate or MFA device of root"),
        ("account_closed", {}, "yes: closing the account; if this is a member account, its management account can"),
        ("read", {}, "no: a role with ec2:DescribeInstances would do"),
        ("console_login", {}, None),
        ("resource_shared", {"eventSource": "s3.amazonaws.com", "eventName": "PutBucketPolicy"}, None),
        ("write", {"eventName": "\u202eCreateBucket https://evil.example.com"}, None),
    ],
)
def test_whether_root_was_needed(specimen: str, changes: Changes, told: str | None) -> None:
    """One fact answers it with yes and the task or no and the action, and is left out where that is not known."""
    facts = dict(alert_for(make_observation(specimen, **changes)).facts)

    assert ("Root needed" in facts) is (told is not None)
    assert facts.get("Root needed", "").startswith(told or "")


# --- marks ------------------------------------------------------------------------------------------------------------


def marked(alert: Alert, word: str) -> bool:
    """Whether a mark of the alert begins with the word."""
    return any(mark.startswith(word) for mark in (*alert.trust, *alert.marks))


@pytest.mark.parametrize(("minutes", "late"), [(0, False), (15, False), (16, True), (60 * 24 * 30, True)])
def test_late(minutes: int, late: bool) -> None:  # noqa: FBT001
    """More than 15 minutes from the event to the queue is marked as late; our own backlog is not."""
    alert = alert_for(make_observation(sent_after=timedelta(minutes=minutes)))
    assert marked(alert, "LATE") is late
    assert marked(alert, "LIVE") is not late
    assert ("2026-11-03 08:15 UTC, LATE: seen" in alert.headline) is late


def test_out_of_a_file_nothing_is_late() -> None:
    """A record without a time of arrival is not late, and its alert names no delay."""
    alert = alert_for(make_observation(sent_after=None))
    assert not marked(alert, "LATE")
    assert not marked(alert, "LIVE")
    assert marked(alert, "REPLAYED from a file")
    assert "reached us" not in dict(alert.facts)["When"]
    assert alert.headline.endswith(" · 2026-11-03 08:15 UTC")


def test_addendum() -> None:
    """A record that AWS delivered again carries the reason."""
    assert (
        "ADDENDUM: delivered again by AWS (SERVICE_OUTAGE)" in make_alert(addendum={"reason": "SERVICE_OUTAGE"}).trust
    )
    assert not marked(make_alert(), "ADDENDUM")


def test_a_time_in_the_future_is_not_believed() -> None:
    """An event time after the arrival is shown, marked as odd, and the arrival counts."""
    record = read_envelope(build_envelope(eventTime="2030-01-01T00:00:00Z"))
    alert = alert_for(observe(record, OWN, sent_at=NOW))
    assert alert.time == NOW
    assert "2030-01-01 00:00:00 UTC" in dict(alert.facts)["When"]
    assert alert.headline.endswith("2030-01-01 00:00 UTC (in the future), arrived 2026-11-03 12:00 UTC")
    assert any("lies in the future" in mark for mark in alert.marks)
    assert not marked(alert, "LATE")


def test_a_record_without_a_time_is_told_by_its_arrival() -> None:
    """A record that states no time says so and is counted by its arrival."""
    alert = alert_for(observe(read_document(build_record(eventTime=ABSENT)), OWN, sent_at=NOW))
    assert alert.time == NOW
    assert dict(alert.facts)["When"] == "not stated; counted as 2026-11-03 12:00:00 UTC"
    assert alert.headline.endswith("time not stated, arrived 2026-11-03 12:00 UTC")
    assert any("eventTime is not stated" in mark for mark in alert.marks)


def test_what_was_put_on_the_bus_is_marked() -> None:
    """A record whose envelope AWS cannot have sent says who put it on the bus."""
    alert = alert_for(observe(read_envelope(build_envelope() | {"source": "my.app"}), OWN, sent_at=NOW))
    assert alert.trust[0] == "NOT FROM CLOUDTRAIL: put on the bus by my[.]app"
    assert alert.headline.split(" · ")[1] == "NOT FROM CLOUDTRAIL"
    assert not marked(make_alert(), "NOT FROM CLOUDTRAIL")
    state, _ = fold_all([observe(read_envelope(build_envelope() | {"source": "my.app"}), OWN, sent_at=NOW)])
    [due] = tick(state, NOW + timedelta(days=1)).alerts
    ended = compose(due)
    assert ended.headline.split(" · ")[1] == "NOT FROM CLOUDTRAIL"
    assert ended.trust[0].startswith("NOT FROM CLOUDTRAIL")


def test_a_rehearsal_is_marked_and_the_real_thing_never() -> None:
    """What the admitted replay source put on the bus is a TEST, in headline and marks; what AWS sent cannot be one."""
    envelope = build_envelope() | {"source": "rootwatch.replay"}
    rehearsed = alert_for(observe(read_envelope(envelope, replay_source="rootwatch.replay"), OWN, sent_at=NOW))
    assert rehearsed.headline.split(" · ")[1] == "TEST"
    assert rehearsed.trust[0] == "TEST: put on the bus by rootwatch[.]replay"
    real = alert_for(observe(read_envelope(build_envelope(), replay_source="rootwatch.replay"), OWN, sent_at=NOW))
    assert "TEST" not in real.headline
    assert not marked(real, "TEST")


def test_a_reused_event_id_is_marked() -> None:
    """Two records with one id: the second says so."""
    alert = alert_for(dataclasses.replace(make_observation(), event_id_reused=True))
    assert marked(alert, "EVENT ID REUSED")


def test_oddities_are_shown_and_bounded() -> None:
    """The first oddities of a record are shown, the rest is counted."""
    odd: Changes = dict.fromkeys(
        ("eventID", "awsRegion", "eventSource", "sourceIPAddress", "userAgent", "eventType"), 1.5
    )
    observation = make_observation("logging_tampered", **odd, recipientAccountId="x", readOnly="odd")
    marks = [mark for mark in alert_for(observation).marks if mark.startswith("Odd record")]
    assert len(marks) == 6
    assert marks[-1] == f"Odd record: {len(observation.problems) - 5} further oddities"


def test_every_alert_names_its_place() -> None:
    """Event, incident, number, the record's place in the account and the chain are marks of every alert."""
    due = due_for(make_observation())
    alert = compose(due)
    assert f"event {due.observation.record.event_id}" in alert.trust if due.observation else False
    assert f"alert {alert.alert_id}" in alert.trust
    assert f"v{__version__}" in alert.trust
    assert f"incident {due.incident.id}, alert 1, 2026-11-03 08:15:42 UTC" in alert.marks
    assert f"record 1 of this account, chain {due.chain[:12]}" in alert.marks
    assert alert.alert_id == f"{due.incident.id}-0001"


# --- hostile text -----------------------------------------------------------------------------------------------------

HOSTILE = [
    "<!channel> <@U123> <https://evil.example.com|Click>",
    "@everyone @here #general",
    "https://evil.example.com/a?b=c",
    "www.evil.example.com",
    "HTTPS://EVIL.EXAMPLE.COM",
    "a\u202egnp.exe",
    "\u2066hidden\u2069",
    "a\u200bb\u200dc\ufeffd\u00ade",
    "a\u0301\u0302\u0303" * 50,
    "line one\nline two\r\nline three\x0bfour\u2028five\u2029six\x85seven",
    "\x1b[31mred\x07\x00",
    "\ud800 half",
    "x" * 100_000,
    "\u202e" * 100_000,
    " " * 100_000 + "end",
    "\U000e0041\U000e0042 tags",
    "\ue000 private",
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text)[:24])
def test_hostile_text_becomes_one_bounded_line(text: str) -> None:
    """Mentions, links, bidirectional and zero-width marks, newlines and 100 KB stay one bounded visible line."""
    hostile = Changes(
        {
            "eventName": text,
            "eventSource": text,
            "awsRegion": text,
            "userAgent": text,
            "sourceIPAddress": text,
            "errorCode": text,
            "errorMessage": text,
            "eventID": text,
            "addendum": {"reason": text},
            "requestParameters": {"userName": text, "targetPrincipal": text, "accountId": text},
            "additionalEventData.MFAIdentifier": text,
            "userIdentity.accessKeyId": text,
        }
    )
    identity = {"type": text, "arn": text, "principalId": text, "accountId": "111122223333"}
    others = make_observation("assumed", userIdentity=identity, **(hostile | {"eventName": "CloseAccount"}))
    for observation in (make_observation("write", **hostile), others):
        alert = alert_for(observation)
        assert len(alert.headline) <= LONGEST_HEADLINE
        for shown_text in texts(alert):
            assert len(shown_text) < 1_000
            assert not {unicodedata.category(character) for character in shown_text} & HIDDEN
            assert "://" not in shown_text
            assert "www." not in shown_text.casefold()
        assert sum(map(len, texts(alert))) < 8_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("  two\n\tlines ", "two lines"),
        ("a\u202eb", "a\\u202eb"),
        ("a\U000e0041", "a\\U000e0041"),
        ("https://x", "https[:]//x"),
        ("www.x", "www[.]x"),
        ("WWW.x", "WWW[.]x"),
        ("é 中 🔴", "é 中 🔴"),
        (None, "None"),
    ],
)
def test_shown(text: object, expected: str) -> None:
    """Plain words stay, blanks become one, hidden characters become their code, and links are broken."""
    assert shown(text) == expected


def test_shown_is_cut_with_a_sign() -> None:
    """What is too long ends in an ellipsis, at exactly the length."""
    assert shown("x" * 1_000) == "x" * (LONGEST_VALUE - 1) + "…"
    assert shown("x" * LONGEST_VALUE) == "x" * LONGEST_VALUE


# --- composing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stem", specimen_stems())
def test_composing_is_pure(stem: str) -> None:
    """The same due alert always reads the same, and composing changes neither the record nor the incident."""
    _, [outcome] = fold_all([make_observation(stem)])
    for due in outcome.alerts:
        assert due.observation is not None
        before = copy.deepcopy(due.observation.record.body)
        assert compose(due) == compose(due)
        assert due.observation.record.body == before


def test_detections_are_named_the_most_urgent_first() -> None:
    """The most severe detection leads: its words make the headline, its steps are the next steps."""
    akia = Changes({"userIdentity.accessKeyId": "AKIAEXAMPLE000000001", "errorCode": "AccessDenied"})
    alert = make_alert("mfa_added", **akia)
    assert alert.detections == ("root.access_key_used", "root.mfa_added", "root.denied")
    assert alert.next_steps[0].startswith("Find out where the key")


def test_an_alert_holds_what_machines_need() -> None:
    """Ids, why, counts and chain are those of the due alert."""
    due = due_for(make_observation("access_key_created"))
    alert = compose(due)
    assert alert.event_ids == (str(due.observation.record.event_id) if due.observation else "",)
    assert alert.why == ("opened", "credential_changed", "new_source", "new_credential")
    assert alert.kind == "alert"
    assert alert.counts == {"records": 1, "since_last_alert": 1, "root.access_key_created": 1}
    assert (alert.sequence, alert.chain) == (1, due.chain)


def test_the_source_s_history_is_told() -> None:
    """An address is new to the account, or has been seen so many times since a day."""
    observations = [
        make_observation("console_login", number=number, eventTime=f"2026-11-03T0{number}:00:00Z")
        for number in range(3)
    ]
    _, outcomes = fold_all(observations)
    told = [dict(compose(outcome.alerts[0]).facts)["Source"] for outcome in outcomes]
    assert told == [
        "198.51.100.24 (public, first time in this account), owner not looked up",
        "198.51.100.24 (public, seen once on 2026-11-03), owner not looked up",
        "198.51.100.24 (public, seen 2 times on 2026-11-03), owner not looked up",
    ]


def source_fact(**fields: Any) -> str:
    """What the alert says of a source with these fields."""
    observation = make_observation("console_login")
    source = dataclasses.replace(observation.source, **fields)
    return dict(alert_for(dataclasses.replace(observation, source=source)).facts)["Source"]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"owner": "Example Hosting", "country": "NL"}, "), country NL, owner Example Hosting"),
        ({"owner": "Example Hosting"}, "), owner Example Hosting"),
        ({"country": "NL"}, "), country NL, owner not looked up"),
        ({"trusted": True, "owner": "Us"}, ", in a trusted network), owner Us"),
        ({"trusted": False, "owner": "Us"}, ", NOT in a trusted network), owner Us"),
        ({"kind": SourceKind.PRIVATE, "ip": "10.1.2.3"}, "10.1.2.3 (private, first time in this account)"),
        ({"kind": SourceKind.PRIVATE, "ip": "10.1.2.3", "trusted": True}, "account, in a trusted network)"),
    ],
)
def test_whose_address_it_is(fields: dict[str, Any], told: str) -> None:
    """Owner and country stand behind the address, or that nobody looked; a private address has no owner to look up."""
    assert source_fact(**fields).endswith(told)


def test_an_owner_s_name_claims_nothing_of_ours() -> None:
    """Whoever registers a network chooses its name: it comes last, bounded, visible and without links."""
    hostile = "Us, in a trusted network) \u202e\x1b[31m https://evil.example.com " + "x" * 500
    told = source_fact(owner=hostile, country="N\nL\u200b", trusted=False)
    before, _, after = told.partition(", owner ")
    assert before.endswith("NOT in a trusted network), country N L\\u200b")
    assert after.startswith("Us, in a trusted network) \\u202e\\u001b[31m https[:]//evil[.]example[.]com")
    assert len(after) <= 96


def test_the_account_s_name_stands_before_its_number() -> None:
    """The headline calls the account by its name where one is known, and never without its number."""
    observation = make_observation("console_login")
    due = due_for(observation)
    assert "account 111122223333 ·" in compose(due).headline
    named = compose(dataclasses.replace(due, account_name="Production"))
    assert "account Production (111122223333) ·" in named.headline
    hostile = "Audit (444455556666) \u202e<!channel> https://evil.example.com" + "x" * 100
    headline = compose(dataclasses.replace(due, account_name=hostile)).headline
    assert "\u202e" not in headline
    assert "://" not in headline
    assert "… (111122223333) ·" in headline


def test_a_summary_names_the_account() -> None:
    """The end of an incident calls the account by its name too."""
    state, _ = fold_all([make_observation("console_login")])
    [due] = tick(state, NOW + timedelta(days=1), idle=IDLE).alerts
    named = dataclasses.replace(due, account_name="Production")
    assert compose(named).headline.startswith("Root use ended · account Production (111122223333) · ")


def test_a_summary_tells_the_story() -> None:
    """At its end an incident is told in words: how many of what, from where, until when; there is no event in it."""
    records = [make_observation("console_login"), *(make_observation("read", number=number) for number in range(3))]
    state, _ = fold_all([*records, make_observation("write"), make_observation("write", number=1)])
    [due] = tick(state, NOW + IDLE + timedelta(hours=1), idle=IDLE).alerts
    alert = compose(due)
    assert alert.kind == "summary"
    assert alert.headline == (
        "Root use ended · account 111122223333 · 1 sign-in, created 2 buckets, 3 reads in 2 regions; last act 08:40"
    )
    assert alert.so_far == "1 sign-in, created 2 buckets, 3 reads in 2 regions; last act 08:40, ended"
    assert alert.event_ids == ()
    assert len(alert.next_steps) == 3
    assert alert.severity == "info"
    assert dict(alert.facts)["Records"] == "6"
    assert dict(alert.facts)["Sources"] == "198.51.100.24"


def test_every_why_has_words() -> None:
    """Each reason for an alert is said in words of its own, among the details."""
    due = due_for(make_observation())
    said = {dict(compose(dataclasses.replace(due, why=(why,))).facts)["Told because"] for why in Why}
    assert len(said) == len(Why)


def test_titles() -> None:
    """A detection is named by its title, one of another version by its id."""
    assert detection_title("root.console_login") == "Root signed in to the console"
    assert detection_title("root.of_tomorrow") == "root.of_tomorrow"
    assert len({detection_title(detection.id) for detection in CATALOGUE}) == len(CATALOGUE)


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(seconds=-5), "0 s"),
        (timedelta(seconds=119), "119 s"),
        (timedelta(seconds=120), "2 min"),
        (timedelta(minutes=119), "119 min"),
        (timedelta(hours=2), "2 h"),
        (timedelta(hours=3, minutes=10), "3 h 10 min"),
        (timedelta(hours=47, minutes=59), "47 h 59 min"),
        (timedelta(days=12, hours=5), "12 days"),
    ],
)
def test_durations(span: timedelta, words: str) -> None:
    """A span is told in the unit that a person would use."""
    assert duration(span) == words


def test_clocks_are_utc() -> None:
    """A moment is told in UTC, whatever zone it comes in."""
    assert clock(datetime.fromisoformat("2026-11-03T10:15:42+02:00")) == "2026-11-03 08:15:42 UTC"
    assert clock(datetime(2026, 11, 3, 8, tzinfo=UTC)) == "2026-11-03 08:00:00 UTC"


def test_an_incident_without_anything_is_still_told() -> None:
    """An incident of which hardly anything is known has a headline and facts all the same."""
    incident = Incident("x", "111122223333", "root", NOW, NOW, NOW, NOW, make_alert().severity)
    due = DueAlert(incident, (Why.PROGRESS,), incident.severity, NOW, None, None, 0, 0, "0" * 64)
    alert = compose(due)
    assert alert.headline.startswith("Root use GOES ON")
    assert all(value for _, value in alert.facts)
