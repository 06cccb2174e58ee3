"""What whoever is woken sees first: everything needed to act, in its order, on one phone screen, in our own words."""

import dataclasses
import json
import math
import textwrap
import unicodedata
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rootwatch.alert import (
    AWS_SUPPORT,
    DO_NOT,
    LONGEST_CUSTODIANS,
    NO_CUSTODIANS,
    NOT_ANNOUNCED,
    SEPARATOR,
    Alert,
    act_words,
    compose,
    story,
)
from rootwatch.channels import slack, sns
from rootwatch.context.declared_use import Expectation, ExpectationKind
from rootwatch.context.observation import IssuedKey, Observation
from rootwatch.detections.detection import Severity
from rootwatch.incident import FAILED_ACT, AccountState, Damage, DueAlert, SourceSeen, fold, report_damage, tick
from rootwatch.record import Outcome
from tests.builders import all_specimens, load_specimen
from tests.unit.test_declared_use import declare
from tests.unit.workbench import IDLE, NOW, Changes, check_channels, fold_all, make_alert, make_observation

CUSTODIANS = "Dana, +1 555 0100; on-call: security@example.com"

SCREEN = 844
"""Height in points of the phone that `make/pictures.py` draws, 390 wide."""
SLACK_BARS, MAIL_BARS = 136, 88
"""What the phone's own and the program's bars take of it."""
SLACK_COLUMNS, SLACK_HEADER_COLUMNS, SLACK_STEP_COLUMNS, SLACK_SMALL_COLUMNS = 44, 34, 41, 54
MAIL_COLUMNS, SUBJECT_COLUMNS = 51, 38
"""Characters of average text that fit a line there: 15 points, the header 18 in bold, the small print 12."""


def due_alerts() -> Iterator[tuple[str, DueAlert]]:
    """Every alert that any specimen makes due in an account of its own, its summary at the end included."""
    for name in all_specimens():
        state = AccountState("111122223333")
        for place in range(len(load_specimen(name))):
            observation = make_observation(name, position=place, sent_after=timedelta(seconds=40))
            if observation.relevant:
                outcome = fold(state, observation, NOW, idle=IDLE)
                state = outcome.state
                yield from ((name, due) for due in outcome.alerts)
        yield from ((name, due) for due in tick(state, NOW + timedelta(days=30), idle=IDLE).alerts)


DUE = list(due_alerts())


def due_for(observation: Observation) -> DueAlert:
    """The alert that is due when this is the first record of its account."""
    _, [outcome] = fold_all([observation])
    [due] = outcome.alerts
    return due


def lines(text: str, columns: int) -> int:
    """How many lines a text takes on a screen of so many columns."""
    return sum(len(textwrap.wrap(line, columns)) or 1 for line in text.split("\n"))


# --- order ------------------------------------------------------------------------------------------------------------


def parts_of(alert: Alert) -> list[str]:
    """What the first screen says, in the order in which it is needed; nothing stands for what could not be expected."""
    numbered = [f"{number}. {step}" for number, step in enumerate(alert.next_steps, start=1)]
    briefing = [alert.reason, alert.access, alert.news, alert.so_far, alert.contacts]
    expected = [alert.expected] if alert.expected else []
    return [alert.headline, *expected, *briefing, *numbered, DO_NOT, *alert.trust]


def slack_text(alert: Alert) -> str:
    """The text of a Slack message from its top to its end, steps numbered as Slack numbers them."""

    def spoken(value: Any) -> Iterator[str]:
        if isinstance(value, list):
            for entry in value:
                yield from spoken(entry)
        elif value.get("type") == "rich_text_list":
            for number, entry in enumerate(value["elements"], start=1):
                yield f"{number}. "
                yield from spoken(entry)
        elif value.get("type") == "divider":
            yield "\n" + sns.DETAILS
        elif isinstance(value.get("text"), str):
            yield value["text"]
        else:
            yield from spoken(value["text"] if "text" in value else value["elements"])
            yield "\n"

    return "".join(spoken(slack.payload(alert)["blocks"])).replace(f"\n{alert.headline.partition(SEPARATOR)[2]}", "")


@pytest.mark.parametrize(("name", "due"), DUE, ids=lambda value: value if isinstance(value, str) else "")
def test_everything_needed_to_act_comes_first_and_in_its_order(name: str, due: DueAlert) -> None:
    """Headline, expected, how bad, how, new, so far, whom to call, steps, what not to do, marks: then the details."""
    alert = compose(due, CUSTODIANS)
    sentence = alert.headline.partition(SEPARATOR)[0]
    for text in (sns.email_text(alert), slack_text(alert)):
        place = 0
        for part in [sentence, *parts_of(alert)[1:], sns.DETAILS, *(value for _, value in alert.facts)]:
            found = text.find(part, place)
            assert found >= 0, f"{name}: {part!r} is missing, or comes before what must precede it"
            place = found
    assert all(parts_of(alert)), name
    assert len(alert.next_steps) == 3


@pytest.mark.parametrize(("name", "due"), DUE, ids=lambda value: value if isinstance(value, str) else "")
def test_the_first_screen_is_one_screen(name: str, due: DueAlert) -> None:
    """Before the first detail, a Slack message and a mail take no more than the height of a phone."""
    for custodians in ("", CUSTODIANS):
        alert = compose(due, custodians)
        assert slack_height(alert) <= SCREEN, name
        assert mail_height(alert) <= SCREEN, name


def adorned(due: DueAlert) -> DueAlert:
    """The same alert with all that may be known around it: names, owner, country, history, last use."""
    observation = due.observation
    if observation is not None and observation.source.ip:
        source = dataclasses.replace(
            observation.source, owner="Example Hosting Europe B.V.", country="NL", trusted=False
        )
        observation = dataclasses.replace(observation, source=source)
    seen = SourceSeen(NOW - timedelta(days=9), NOW - timedelta(days=1), 7)
    return dataclasses.replace(
        due,
        observation=observation,
        source_seen=seen if due.source_seen else None,
        account_name="payments-production",
        last_sign_in=NOW - timedelta(days=40) if observation is not None and observation.record.actor.by_root else None,
    )


@pytest.mark.parametrize(("name", "due"), DUE, ids=lambda value: value if isinstance(value, str) else "")
def test_the_first_screen_is_one_screen_with_all_that_may_be_known(name: str, due: DueAlert) -> None:
    """Names, owner, country, history and last use make no alert longer than the height of a phone."""
    alert = compose(adorned(due), CUSTODIANS)
    assert slack_height(alert) <= SCREEN, name
    assert mail_height(alert) <= SCREEN, name


def test_most_first_screens_fit_between_the_bars() -> None:
    """Three of four need no scrolling at all, whatever bars the program has above and below."""
    told = [compose(due, CUSTODIANS) for _, due in DUE]
    assert sum(slack_height(alert) <= SCREEN - SLACK_BARS for alert in told) >= 0.75 * len(told)
    assert sum(mail_height(alert) <= SCREEN - MAIL_BARS for alert in told) >= 0.75 * len(told)


def mail_height(alert: Alert) -> int:
    """The height in points of a mail's subject and text up to its details."""
    first = sns.email_text(alert).partition(sns.DETAILS)[0].rstrip()
    return 20 + 22 * lines(sns.subject(alert), SUBJECT_COLUMNS) + 21 * lines(first, MAIL_COLUMNS)


def slack_height(alert: Alert) -> int:
    """The height in points of a Slack message up to its first detail."""
    height = 40  # the app's name
    for block in slack.payload(alert)["blocks"]:
        match block["type"]:
            case "divider":
                return height
            case "header":
                height += 6 + 23 * lines(block["text"]["text"], SLACK_HEADER_COLUMNS)
            case "context":
                height += 8 + 16 * sum(lines(each["text"], SLACK_SMALL_COLUMNS) for each in block["elements"])
            case "rich_text":
                height += 8 + 21 * sum(map(rich_lines, block["elements"]))
    raise AssertionError("no divider")


def rich_lines(element: Any) -> int:
    """How many lines an element of rich text takes on a phone."""
    if element["type"] == "rich_text_list":
        return sum(lines(each["elements"][0]["text"], SLACK_STEP_COLUMNS) for each in element["elements"])
    return lines("".join(each["text"] for each in element["elements"]), SLACK_COLUMNS)


def test_the_first_screen_shows_no_json() -> None:
    """Nobody has to read braces, quoted names or null at night."""
    for name, due in DUE:
        for part in parts_of(compose(due)):
            assert not set(part) & set('{}"'), name
            assert "null" not in part


# --- the headline -----------------------------------------------------------------------------------------------------

RESULTS = {
    Outcome.FAILURE: "FAILED",
    Outcome.ERROR: "FAILED",
    Outcome.DENIED: "REFUSED",
    Outcome.UNKNOWN: "UNCONFIRMED",
}


@pytest.mark.parametrize("name", all_specimens())
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"errorCode": "AccessDenied", "responseElements": None},
        {"errorCode": "Odd", "responseElements": None},
        {"errorMessage": "Failed", "responseElements": None},
        {"responseElements": None, "errorCode": None, "errorMessage": None},
    ],
    ids=["as it is", "refused", "failed", "with a message", "without a result"],
)
def test_the_first_three_words_say_whether_it_worked(name: str, changes: Changes) -> None:
    """FAILED, REFUSED or UNCONFIRMED stands in the first three words, and where it worked, the verb in the past."""
    for place in range(len(load_specimen(name))):
        observation = make_observation(name, position=place, **changes)
        if not observation.relevant:
            continue
        due = due_for(observation) if fold_all([observation])[1][0].alerts else due_anyway(observation)
        words = compose(due).headline.split()[:3]
        result = RESULTS.get(observation.record.outcome)
        stated = [word for word in words if word.strip(":,") in set(RESULTS.values())]
        if result is None:
            assert not stated
            assert set(words) & PAST, words
        else:
            assert stated, words
            is_sign_in = words[:2] == ["Root", "sign-in"]
            assert stated[0].strip(":,") == ("FAILED" if is_sign_in and result == "REFUSED" else result)


PAST = {
    "acted", "assumed", "asked", "became", "began", "changed", "closed", "completed", "created", "destroyed", "did",
    "exported", "had", "left", "looked", "opened", "read", "removed", "requested", "reset", "signed", "stopped",
    "switched", "took", "used", "added", "deactivated", "enabled",
}  # fmt: skip
"""How a sentence says that it was done."""


def due_anyway(observation: Observation) -> DueAlert:
    """An alert about a record that by itself makes none due: it opens an incident in silence, or none."""
    return dataclasses.replace(due_for(make_observation("write")), observation=observation)


@pytest.mark.parametrize(
    ("name", "result", "words"),
    [
        ("CheckMfa", "Success", "Root passed a step of signing in (CheckMfa)"),
        ("CheckMfa", "Failure", "Root FAILED at a step of signing in (CheckMfa)"),
        ("ExternalIdPDirectoryLogin", "Failure", "Root FAILED at a step of signing in (ExternalIdPDirectoryLogin)"),
        ("SwitchRole", "Odd", "Root UNCONFIRMED at a step of signing in (SwitchRole)"),
    ],
)
def test_a_step_of_signing_in_is_no_change(name: str, result: str, words: str) -> None:
    """What the sign-in page records besides the sign-in itself is told as what it is, not as something changed."""
    alert = compose(due_for(make_observation("console_login", eventName=name, responseElements={name: result})))
    assert alert.headline.startswith(f"{words}{SEPARATOR}")


def test_account_owner_and_country_are_shown_where_they_are_known() -> None:
    """The headline has the account's name before its number, and the owner and country of the address behind it."""
    due = dataclasses.replace(due_for(make_observation("console_login_without_mfa")), account_name="Payments")
    assert due.observation is not None
    source = dataclasses.replace(due.observation.source, owner="Example Networks", country="NL", trusted=False)
    known = dataclasses.replace(due, observation=dataclasses.replace(due.observation, source=source))
    assert compose(known).headline == (
        "Root signed in to the console WITHOUT MFA · account Payments (111122223333) · MFA NO"
        " · from 203.0.113.7 (Example Networks, NL) · 02:14 UTC, seen 2 s later"
    )
    assert "NOT in a trusted network" in compose(known).news
    assert dict(compose(known).facts)["Source"].endswith(", country NL, owner Example Networks")
    assert "trusted" not in compose(due).news
    assert "owner not looked up" in dict(compose(due).facts)["Source"]
    assert not any("looked up" in part for part in parts_of(compose(due)))


@pytest.mark.parametrize("text", ["a · MFA yes", "x) · account 999999999999 (", "y·z"])
def test_no_record_adds_a_part_to_the_headline(text: str) -> None:
    """What stands between a headline's parts, and the brackets around a network's owner, are ours alone."""
    plain = due_for(make_observation("write"))
    assert plain.observation is not None
    hostile = make_observation("write", eventName=text, **Changes({"recipientAccountId": "111122223333"}))
    source = dataclasses.replace(hostile.source, owner=text, country=text)
    hostile = dataclasses.replace(hostile, source=source)
    told = compose(dataclasses.replace(plain, observation=hostile, account_name=text))
    assert len(told.headline.split(SEPARATOR)) == len(compose(plain).headline.split(SEPARATOR))
    assert told.headline.count("(") == told.headline.count(")") == 3


# --- the lines --------------------------------------------------------------------------------------------------------


def test_a_use_that_nobody_declared_is_said_to_be_so() -> None:
    """Without a declaration the alert says so; with one it says what the declaration says, under its own label."""
    due = due_for(make_observation())
    assert compose(due).expected == NOT_ANNOUNCED
    assert compose(due).briefing[0] == ("Not announced", "no declared use covers this")
    matched = Expectation(ExpectationKind.MATCHED, due.time, declare(ticket="SEC-1"))
    label, text = compose(dataclasses.replace(due, expectation=matched)).briefing[0]
    assert (label, text.partition(" ")[0]) == ("Announced", "SEC-1")
    nobody_s = Expectation(ExpectationKind.NONE, due.time, applies=False)
    assert compose(dataclasses.replace(due, expectation=nobody_s)).briefing[0][0] == "How bad"


def test_how_bad_names_severity_stage_and_reason() -> None:
    """One line has the severity, how far a takeover has come, the incident where that is worse, and why it matters."""
    observations = [make_observation(name) for name in ("console_login_without_mfa", "console_login_failed")]
    observations[1] = make_observation("console_login_failed", sourceIPAddress="192.0.2.1")
    _, outcomes = fold_all(observations)
    first, second = (compose(outcome.alerts[0]) for outcome in outcomes)
    assert first.reason.startswith("critical, stage 2/5 (inside). A password alone opened the account")
    second = compose(dataclasses.replace(outcomes[1].alerts[0], severity=Severity.MEDIUM))
    assert second.reason.startswith("medium (the incident: critical), stage 2/5 (inside). ")


@pytest.mark.parametrize(
    ("specimen", "changes", "words"),
    [
        ("console_login", {}, "console, Firefox 145, MFA yes (passkey device) break-glass-key-EXAMPLE7Q2LTZ"),
        ("console_login_without_mfa", {}, "console, Chrome 142, MFA NO"),
        ("console_login", {"additionalEventData": None}, "console, Firefox 145, MFA not stated"),
        (
            "console_login_failed",
            {},
            "not in; refused at the console's sign-in page: Failed authentication, Chrome 142",
        ),
        ("password_recovery_requested", {}, "password recovery, through root's mailbox, Chrome 142, MFA not stated"),
        ("assumed", {}, "AssumeRoot by role CentralRootAccess/dana, task S3UnlockBucketPolicy, AWS CLI 2.32.6"),
        ("rootwatch_tampered", {}, "not root, but role BuildRunner/session-4711, key"),
        ("access_key_used", {}, "access key AKIAEXAMPLE"),
        ("service_acted", {}, "an AWS service, on root's behalf"),
        ("cli_login", {}, "aws login on a command line"),
        ("write", {"userIdentity.sessionContext.assumedRoot": "true"}, "AssumeRoot session ASIA"),
    ],
)
def test_how_they_got_in(specimen: str, changes: Changes, words: str) -> None:
    """The way in, the key or the caller, the client, and what is stated of MFA, in one line."""
    observation = make_observation(specimen, **changes)
    due = dataclasses.replace(due_for(make_observation("write")), observation=observation)
    assert compose(due).access.startswith(words)


def test_what_is_new() -> None:
    """An address is new to the account, new with this incident, or known since a day; so are session and client."""
    first = make_observation("console_login_without_mfa")
    again = make_observation("console_login_without_mfa", number=1)
    key = make_observation("access_key_used", sourceIPAddress="192.0.2.9")
    _, outcomes = fold_all([first, again, key])
    told = [compose(outcome.alerts[0]).news for outcome in outcomes]
    assert told[0] == "address first time, first record of this account"
    assert told[1] == "address new at 02:14, in this incident"
    assert told[2] == "address first time, access key first time, another kind of client, 2 addresses in this incident"
    seen = SourceSeen(NOW - timedelta(days=9), NOW - timedelta(days=1), 7)
    known = dataclasses.replace(outcomes[1].alerts[0], source_seen=seen)
    assert compose(known).news == "address seen 7 times since 2026-10-25, last 2026-11-02"
    seen = SourceSeen(NOW - timedelta(days=9), NOW - timedelta(days=9), 1)
    known = dataclasses.replace(known, source_seen=seen, last_sign_in=NOW - timedelta(days=30))
    assert compose(known).news == "address seen once on 2026-10-25, previous root sign-in 2026-10-04"


def test_what_happened_since_is_told_with_what_failed_apart() -> None:
    """An act that was refused is never told as done."""
    specimens = ["console_login_failed", "console_login", "write", "write", "logging_tampered", "access_key_created"]
    refused = Changes({"errorCode": "AccessDenied", "responseElements": None})
    observations = [
        make_observation(name, number=number, eventTime="2026-11-03T08:30:00Z", **(refused if number == 3 else {}))
        for number, name in enumerate(specimens)
    ]
    state, outcomes = fold_all(observations)
    [incident] = state.incidents
    assert incident.acts[f"{FAILED_ACT}CreateBucket"] == incident.acts["CreateBucket"] == 1
    assert story(incident) == (
        "stopped 1 trail, 1 sign-in, created 1 access key, created 1 bucket, 1 failed sign-in, "
        "failed to create 1 bucket in 2 regions; last act 08:30"
    )
    assert compose(outcomes[0].alerts[0]).so_far == "nothing else; still open"
    assert compose(outcomes[-1].alerts[0]).so_far.endswith("; last act 08:30, still open")


def test_a_long_story_is_cut_short_on_the_first_screen_and_told_among_the_details() -> None:
    """Of many kinds of change the first screen names four, the worst first, and counts the rest."""
    names = ["CreateRole", "DeleteTrail", "CreateUser", "PutBucketPolicy", "CreateGroup", "StopLogging"]
    observations = [make_observation("write", number=number, eventName=name) for number, name in enumerate(names)]
    state, outcomes = fold_all(observations)
    alert = compose(dataclasses.replace(outcomes[0].alerts[0], incident=state.incidents[0]))
    assert alert.so_far == (
        "deleted 1 trail, stopped 1 trail, created 1 group, created 1 role, 2 other kinds of change; "
        "last act 08:40, still open"
    )
    assert dict(alert.facts)["Incident so far"] == (
        "deleted 1 trail, stopped 1 trail, created 1 group, created 1 role, created 1 user, set a bucket policy; "
        "last act 08:40"
    )


@pytest.mark.parametrize(
    ("name", "count", "words"),
    [
        ("CreateRole", 1, "created 1 role"),
        ("CreateRole", 2, "created 2 roles"),
        ("CreatePolicy", 3, "created 3 policies"),
        ("CreateKey", 2, "created 2 keys"),
        ("UpdateTrail", 1, "changed 1 trail"),
        ("UpdateTrail", 3, "changed trails 3 times"),
        ("StopLogging", 1, "stopped 1 trail"),
        ("PutBucketPolicy", 1, "set a bucket policy"),
        ("PutBucketPolicy", 2, "set a bucket policy 2 times"),
        ("RunInstances", 1, "launched instances"),
        ("ConsoleLogin", 1, "1 sign-in"),
        ("ConsoleLogin", 3, "3 sign-ins"),
        ("failed ConsoleLogin", 1, "1 failed sign-in"),
        ("failed ConsoleLogin", 4, "4 failed sign-ins"),
        ("failed CreateRole", 1, "failed to create 1 role"),
        ("failed CreateRole", 2, "failed 2 times to create roles"),
        ("failed PutBucketPolicy", 2, "failed 2 times to set a bucket policy"),
        ("ChangePassword", 1, "changed the password"),
        ("InventTheWheel", 1, "InventTheWheel"),
        ("InventTheWheel", 2, "InventTheWheel 2 times"),
        ("failed InventTheWheel", 2, "InventTheWheel 2 times (failed)"),
        ("CreateRoleAndSayAllIsWell", 1, "CreateRoleAndSayAllIsWell"),
        ("(others)", 9, "(others) 9 times"),
    ],
)
def test_acts_in_words(name: str, count: int, words: str) -> None:
    """An event's name becomes a verb and a noun, one or many; a name that is not known stays itself."""
    assert act_words(name, count) == words


def test_whom_to_call() -> None:
    """The custodians as they are configured, with their links and addresses, or that nobody is named; and AWS."""
    due = due_for(make_observation())
    assert compose(due).contacts == f"{NO_CUSTODIANS}. {AWS_SUPPORT}"
    assert compose(due, f"  {CUSTODIANS} ").contacts == f"{CUSTODIANS}. {AWS_SUPPORT}"
    assert len(compose(due, "x" * 10_000).contacts) == LONGEST_CUSTODIANS + 2 + len(AWS_SUPPORT)


def test_similar_ones_are_merged_and_counted() -> None:
    """What was not told by itself since the last alert is counted in the next one."""
    writes = [make_observation("write", number=number) for number in range(4)]
    stopped = make_observation("logging_tampered", eventTime=writes[0].record.body["eventTime"])
    _, outcomes = fold_all([*writes, stopped])
    first, last = (compose(due) for outcome in outcomes for due in outcome.alerts)
    assert not any("merged" in mark for mark in first.trust)
    assert "3 similar merged" in last.trust


@pytest.mark.parametrize(
    ("specimen", "words"),
    [
        ("console_login", "Root use"),
        ("console_login_failed", "Root sign-in attempts"),
        ("assumed", "AssumeRoot use"),
    ],
)
def test_an_end_says_what_ended(specimen: str, words: str) -> None:
    """An incident in which nobody got in was no use of root, and AssumeRoot has a name of its own."""
    state, _ = fold_all([make_observation(specimen)])
    [due] = tick(state, NOW + timedelta(days=1), idle=IDLE).alerts
    alert = compose(due)
    assert alert.headline.startswith(f"{words} ended · ")
    assert alert.so_far.endswith(", ended")
    assert ("not in; tries from 203.0.113.7" in alert.access) is (specimen == "console_login_failed")


# --- what is no single record -----------------------------------------------------------------------------------------


def test_gathered_acts_say_in_their_first_words_whether_they_worked() -> None:
    """Failed tries are told as failed, refused acts as refused; of what was gathered each act is a detail."""
    addresses = [f"192.0.2.{number}" for number in range(8)]
    tries = [
        make_observation("console_login_failed", sourceIPAddress=address, eventTime=f"2026-11-03T08:30:0{number}Z")
        for number, address in enumerate(addresses)
    ]
    state = AccountState("111122223333")
    for observation in tries:
        state = fold(state, observation, observation.time, idle=IDLE).state
    [due] = tick(state, tries[-1].time + timedelta(minutes=6), idle=IDLE).alerts
    failed = compose(due)
    assert failed.headline.startswith(f"Root sign-in FAILED {len(due.gathered)} more times · account 111122223333")
    assert failed.next_steps[0] == "Ask the root custodian whether they mistyped at eventTime."
    assert [label for label, _ in failed.facts[: len(due.gathered)]] == [
        f"{act.at:%H:%M:%S} UTC" for act in due.gathered
    ]
    mixed = dataclasses.replace(
        due, gathered=tuple(dataclasses.replace(act, detections=("root.write",)) for act in due.gathered)
    )
    assert compose(mixed).headline.startswith("Done or tried: ")
    one = dataclasses.replace(due.gathered[0], detections=("root.denied",))
    assert compose(dataclasses.replace(due, gathered=(one,))).headline.startswith("Root REFUSED: 1 more new act ·")
    both = compose(dataclasses.replace(mixed, gathered=(one, *mixed.gathered)))
    assert ", 1 of them REFUSED · " in both.headline
    for alert in (failed, both):
        check_channels(alert)
        assert all(parts_of(alert))
        assert slack_height(alert) <= SCREEN


def test_damage_is_told_as_what_it_is() -> None:
    """A changed audit table is no act of root's: the alert says what is damaged, what is not known, and what to do."""
    state = dataclasses.replace(AccountState("111122223333"), damages=(Damage("the account's head", "A", "B", "{}"),))
    outcome = report_damage(state, NOW)
    [due] = outcome.alerts
    alert = compose(due, CUSTODIANS)
    assert alert.headline == (
        "Audit data CHANGED by somebody · account 111122223333 · the account's head cannot be understood"
    )
    assert alert.reason.startswith("critical, stage 4/5 (logging changed). Whoever misuses root can switch off")
    assert alert.access.startswith("not known")
    assert alert.so_far == "1 damaged item; still open"
    assert alert.next_steps[0].startswith("Ask whoever may write to the audit table")
    assert slack_height(alert) <= SCREEN
    check_channels(alert)
    [ended] = tick(outcome.state, NOW + timedelta(days=1), idle=IDLE).alerts
    assert compose(ended).headline.startswith("Audit data: no further damage · account 111122223333")
    assert all(parts_of(compose(ended)))


def test_other_accounts_are_told() -> None:
    """What other accounts saw within a day is news, and they are named among the details."""
    failed = dataclasses.replace(due_for(make_observation("console_login_failed")), elsewhere=("444455556666", "x"))
    assert "root sign-ins failed in 2 other accounts within 24 h" in compose(failed).news
    assert dict(compose(failed).facts)["Other accounts"] == "444455556666, x"
    used = dataclasses.replace(due_for(make_observation("console_login")), elsewhere=("444455556666",))
    assert "seen by 1 other account within 24 h" in compose(used).news


def test_a_session_whose_call_is_known_names_its_caller() -> None:
    """Of an AssumeRoot session the alert says by whom, for which task, and in which account."""
    arn = "arn:aws:sts::444455556666:assumed-role/CentralRootAccess/dana"
    task = "arn:aws:iam::aws:policy/root-task/S3UnlockBucketPolicy"
    issued = IssuedKey("444455556666", "assume-root:1", arn, task, "111122223333", NOW)
    observation = dataclasses.replace(make_observation("assumed_session_activity", position=-1), issued=issued)
    alert = compose(dataclasses.replace(due_for(make_observation("write")), observation=observation))
    key = observation.record.actor.access_key_id
    assert alert.access.startswith(f"AssumeRoot session {key} of CentralRootAccess/dana, task S3UnlockBucketPolicy")
    assert " · in account 111122223333 · " in alert.headline
    assert "MFA" not in alert.headline + alert.access
    assert dict(alert.facts)["MFA"].startswith("NO")


# --- hostile text -----------------------------------------------------------------------------------------------------

HOSTILE = st.one_of(
    st.text(max_size=400),
    st.sampled_from([
        "<!channel> <https://evil.example.com|Click>", "a\nSubject: forged", "\u202egnp.exe" * 50, "x" * 5_000,
        "http://evil.example.com", "Networks, NL) · MFA yes (", "\ud800", "·" * 500, '{"a": 1}', " " * 500,
    ]),
)  # fmt: skip
UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@settings(max_examples=200)
@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, st.sampled_from(all_specimens()))
@example("x", "", "", "", "", "console_login")
def test_hostile_text_in_every_new_part_stays_tame(  # noqa: PLR0913, PLR0917 - one per part
    expected: str, account: str, owner: str, country: str, field: str, name: str
) -> None:
    """Whatever stands in a declaration, a name, a network's owner or a record: one bounded line without a link."""
    fields = ("eventName", "userAgent", "errorMessage", "eventID", "sourceIPAddress")
    changes = Changes(dict.fromkeys(fields, field)) if field else Changes()
    changes |= {"userIdentity.accessKeyId": field, "additionalEventData.MFAIdentifier": field}
    observation = make_observation(name, **changes)
    source = dataclasses.replace(observation.source, ip="203.0.113.7", owner=owner, country=country, trusted=True)
    observation = dataclasses.replace(observation, source=source)
    against = Expectation(ExpectationKind.MISMATCHED, NOW, declare(), expected, (expected,), expected)
    due = dataclasses.replace(
        due_for(make_observation("write")), observation=observation, expectation=against, account_name=account
    )
    alert = compose(due)
    assert alert == compose(due)
    for part in parts_of(alert):
        assert not {unicodedata.category(character) for character in part} & UNSEEN
        assert "://" not in part.replace(AWS_SUPPORT, "")
        assert "\n" not in part
        assert len(part) <= 480
    check_channels(alert)
    assert math.ceil(sum(map(len, parts_of(alert))) / SLACK_COLUMNS) < 60
    assert "forged" not in [line.partition(":")[0] for line in sns.email_text(alert).split("\n")]


@settings(max_examples=100)
@given(st.text(max_size=300))
def test_hostile_custodians_stay_one_line(text: str) -> None:
    """The operator's own words cannot break a message either."""
    alert = compose(due_for(make_observation()), text)
    assert alert.contacts.isprintable()
    check_channels(alert)


@settings(max_examples=200)
@given(st.text(max_size=100), st.integers(1, 10**6))
def test_no_name_becomes_a_sentence_of_ours(name: str, count: int) -> None:
    """Words come only from names that are in our own table; anything else is shown as it is, bounded."""
    words = act_words(name, count)
    assert words.isprintable()
    assert len(words) < 120


def test_severity_is_a_word_and_not_only_a_colour() -> None:
    """Whoever sees no colours, or no pictures, reads the severity in the first word of each message."""
    for severity in Severity:
        alert = dataclasses.replace(make_alert(), severity=severity)
        message = slack.payload(alert)
        assert severity.upper() in message["blocks"][0]["text"]["text"].split(":")[0].split()
        assert severity.upper() in message["text"].split(":")[0].split()
        assert sns.email_text(alert).startswith(f"{severity.upper()}: ")
        assert sns.subject(alert).startswith(f"[{severity.upper()}] ")


def test_the_message_of_a_machine_has_the_parts_by_name() -> None:
    """Queues and functions get each part of the first screen under a name of its own."""
    alert = make_alert("console_login_without_mfa")
    document = sns.alert_document(alert)
    for name in ("expected", "reason", "access", "news", "so_far", "contacts"):
        assert document[name] == getattr(alert, name)
    assert document["trust"] == list(alert.trust)
    assert json.loads(json.dumps(document)) == document
