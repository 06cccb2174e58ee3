"""Declared use: what may be declared, how an act stands to it, what that does to severity and how an alert says it."""

import ipaddress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootwatch.alert import LONGEST_ANNOUNCEMENT, announcement
from rootwatch.context.declared_use import (
    LONGEST_PERIOD,
    MOST_ENTRIES,
    DeclaredUse,
    Expectation,
    ExpectationKind,
    adjusted,
    expectation,
)
from rootwatch.context.observation import Observation
from rootwatch.detections import sign_in
from rootwatch.detections.detection import Finding, Severity
from rootwatch.errors import DeclarationError
from tests.unit.workbench import ACCOUNT, Changes, make_observation

FROM = datetime(2026, 11, 3, 10, 0, tzinfo=UTC)
TO = datetime(2026, 11, 3, 10, 30, tzinfo=UTC)
ALICE = "arn:aws:sts::444455556666:assumed-role/RootCustodian/alice"
OFFICE = ipaddress.ip_network("203.0.113.0/24")


def declare(**changes: Any) -> DeclaredUse:
    """A declaration of half an hour, made an hour before it begins, with changes."""
    fields: dict[str, Any] = {
        "account_id": ACCOUNT,
        "from_at": FROM,
        "to_at": TO,
        "reason": "rotate MFA",
        "ticket": "OPS-1",
        "approver": "Dana Doe",
        "declared_by": ALICE,
        "declared_at": FROM - timedelta(hours=1),
    }
    return DeclaredUse(**(fields | changes))


def happens(specimen: str = "mfa_added", at: str = "10:15:00", /, **changes: Any) -> Observation:
    """A specimen that happens at a time of that day, from an address of the office."""
    fields = {"eventTime": f"2026-11-03T{at}Z", "sourceIPAddress": "203.0.113.7"} | changes
    return make_observation(specimen, **fields)


def kind(*declarations: DeclaredUse, act: Observation, began_at: datetime | None = None) -> ExpectationKind:
    """How an act stands to the declarations."""
    return expectation(declarations, act, began_at=began_at).kind


# --- what may be declared ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"account_id": "1111"}, "twelve digits"),
        ({"account_id": "111122223333\n"}, "twelve digits"),
        ({"reason": ""}, "Reason"),
        ({"reason": "  "}, "Reason"),
        ({"reason": "two\nlines"}, "Reason"),
        ({"reason": "x" * 201}, "Reason"),
        ({"reason": "turned \u202e round"}, "Reason"),
        ({"approver": "\ud800"}, "Approver"),
        ({"approver": "x" * 81}, "Approver"),
        ({"ticket": "two words"}, "ticket is one word"),
        ({"ticket": ""}, "Ticket"),
        ({"declared_by": f"arn:aws:iam::{ACCOUNT}:root"}, "not as root"),
        ({"declared_by": "alice"}, "not as root"),
        ({"ended_by": f"arn:aws:iam::{ACCOUNT}:root", "ended_at": FROM}, "not as root"),
        ({"ended_at": FROM}, "says when"),
        ({"ended_by": ALICE}, "says when"),
        ({"to_at": FROM}, "ends after it begins"),
        ({"to_at": FROM - timedelta(hours=1)}, "ends after it begins"),
        ({"to_at": FROM + LONGEST_PERIOD + timedelta(seconds=1)}, "at most 30 days"),
        ({"from_at": FROM.replace(tzinfo=None)}, "time zone"),
        ({"declared_at": FROM.replace(tzinfo=None)}, "time zone"),
        ({"addresses": (OFFICE,) * (MOST_ENTRIES + 1)}, "at most 20 addresses"),
        ({"tasks": ("read",) * (MOST_ENTRIES + 1)}, "at most 20 tasks"),
        ({"tasks": ("mfa added",)}, "name of a detection"),
        ({"tasks": ("",)}, "name of a detection"),
    ],
)
def test_a_declaration_that_cannot_be_says_what_is_expected(changes: dict[str, Any], words: str) -> None:
    """Every field is checked wherever a declaration is made, so that what is read back is checked too."""
    with pytest.raises(DeclarationError, match=words):
        declare(**changes)


def test_the_longest_declaration_is_one() -> None:
    """Limits are limits: what just fits is a declaration, and nothing of it is cut."""
    made = declare(
        to_at=FROM + LONGEST_PERIOD,
        reason="x" * 200,
        ticket="https://tickets.example.com/OPS-1#2",
        approver="x" * 80,
        addresses=(OFFICE,) * MOST_ENTRIES,
        tasks=("EnableMFADevice",) * MOST_ENTRIES,
        declared_by="arn:aws-us-gov:iam::444455556666:user/people/alice@example.com",
    )

    assert made.to_at - made.from_at == LONGEST_PERIOD
    assert (len(made.reason), len(made.approver), len(made.addresses), len(made.tasks)) == (
        200, 80, MOST_ENTRIES, MOST_ENTRIES,
    )  # fmt: skip


def test_the_id_vouches_for_what_was_declared() -> None:
    """Any other content has another id, the same content the same one, and an end leaves it as it is."""
    one = declare()
    changes: list[dict[str, Any]] = [
        {"account_id": "444455556666"},
        {"from_at": FROM + timedelta(seconds=1)},
        {"to_at": TO + timedelta(seconds=1)},
        {"reason": "another"},
        {"ticket": "OPS-2"},
        {"approver": "another"},
        {"declared_by": ALICE + "2"},
        {"declared_at": FROM},
        {"addresses": (OFFICE,)},
        {"tasks": ("read",)},
    ]
    assert len({one.id, *(declare(**each).id for each in changes)}) == len(changes) + 1
    assert declare().id == one.id == declare(ended_at=FROM, ended_by=ALICE).id
    assert declare(from_at=FROM.astimezone()).id == one.id


# --- how an act stands to it ------------------------------------------------------------------------------------------


def test_without_a_declaration_nothing_is_announced() -> None:
    """An act that no declaration covers is not announced, and its severity stays."""
    found = expectation((), happens())
    assert found.kind is ExpectationKind.NONE
    assert announcement(found) == "Not announced: no declared use covers this"
    assert adjusted(Severity.CRITICAL, found) is Severity.CRITICAL


def test_an_act_in_its_time_matches() -> None:
    """What happens in the time, from the address and for the task, is announced, and the alert says by whom."""
    found = expectation([declare(addresses=(OFFICE,), tasks=("mfa_added",))], happens())
    assert found.kind is ExpectationKind.MATCHED
    assert announcement(found) == (
        'Announced: OPS-1 "rotate MFA" by assumed-role/RootCustodian/alice, until 10:30 UTC; approved by Dana Doe'
    )


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("09:59:59", ExpectationKind.NONE),
        ("10:00:00", ExpectationKind.MATCHED),
        ("10:29:59", ExpectationKind.MATCHED),
        ("10:30:00", ExpectationKind.NONE),
    ],
)
def test_its_end_is_not_part_of_it(at: str, expected: ExpectationKind) -> None:
    """The first moment is covered, the last one is not."""
    assert kind(declare(), act=happens("mfa_added", at)) is expected


def test_another_address_is_not_as_announced() -> None:
    """The same act from elsewhere contradicts the declaration, and the alert names both."""
    found = expectation([declare(addresses=(OFFICE,))], happens(sourceIPAddress="198.51.100.7"))
    assert found.kind is ExpectationKind.MISMATCHED
    assert announcement(found) == "NOT as announced: OPS-1 covers 203.0.113.0/24, this came from 198.51.100.7"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2001:db8::7", ExpectationKind.MISMATCHED),
        ("no address at all", ExpectationKind.MISMATCHED),
        ("AWS Internal", ExpectationKind.NONE),
        ("cloudformation.amazonaws.com", ExpectationKind.NONE),
        ("", ExpectationKind.NONE),
        ("::ffff:203.0.113.9", ExpectationKind.MATCHED),
    ],
)
def test_an_address_that_is_not_stated_proves_nothing(text: str, expected: ExpectationKind) -> None:
    """Where the record states no address of its own it neither matches nor contradicts; rubbish contradicts."""
    assert kind(declare(addresses=(OFFICE,)), act=happens(sourceIPAddress=text)) is expected
    assert kind(declare(), act=happens(sourceIPAddress=text)) is ExpectationKind.MATCHED


def test_the_alert_says_that_the_address_is_not_stated() -> None:
    """What cannot be compared is called so, and neither lowered nor raised."""
    found = expectation([declare(addresses=(OFFICE,))], happens(sourceIPAddress="AWS Internal"))
    assert announcement(found) == "Perhaps announced: OPS-1 covers 203.0.113.0/24; this record states no address"
    assert adjusted(Severity.HIGH, found) is Severity.HIGH


@pytest.mark.parametrize(
    ("tasks", "specimen", "expected"),
    [
        (("mfa_added",), "mfa_added", ExpectationKind.MATCHED),
        (("EnableMFADevice",), "mfa_added", ExpectationKind.MATCHED),
        (("mfa_removed",), "mfa_added", ExpectationKind.MISMATCHED),
        (("mfa_removed",), "console_login", ExpectationKind.MATCHED),
        (("mfa_removed",), "console_login_failed", ExpectationKind.MATCHED),
        (("mfa_removed",), "cli_login", ExpectationKind.MATCHED),
        (("mfa_removed",), "read", ExpectationKind.MATCHED),
        (("mfa_removed",), "console_login_without_mfa", ExpectationKind.MISMATCHED),
        (("console_login_without_mfa",), "console_login_without_mfa", ExpectationKind.MATCHED),
        ((), "console_login_without_mfa", ExpectationKind.MATCHED),
        (("mfa_removed",), "access_key_used", ExpectationKind.MISMATCHED),
    ],
)
def test_signing_in_and_looking_belong_to_every_task(
    tasks: tuple[str, ...], specimen: str, expected: ExpectationKind
) -> None:
    """A task covers itself, signing in with MFA and looking around; anything else was not announced."""
    assert kind(declare(tasks=tasks), act=happens(specimen)) is expected


def test_a_success_after_failures_has_to_be_announced_by_name() -> None:
    """A finding that only the account's history shows counts like any other."""
    login = happens("console_login")
    guessed = replace(login, findings=(*login.findings, Finding(sign_in.LOGIN_AFTER_FAILURES, Severity.CRITICAL)))
    assert kind(declare(tasks=("mfa_added",)), act=guessed) is ExpectationKind.MISMATCHED
    assert kind(declare(), act=guessed) is ExpectationKind.MATCHED


def test_the_alert_names_the_task_and_the_act() -> None:
    """An act beyond the tasks is named by detection and event; both contradictions are told."""
    found = expectation(
        [declare(addresses=(OFFICE,), tasks=("mfa_added", "mfa_removed"))],
        happens("access_key_created", sourceIPAddress="198.51.100.7"),
    )
    assert announcement(found) == (
        "NOT as announced: OPS-1 covers 203.0.113.0/24, this came from 198.51.100.7; covers mfa_added, mfa_removed, "
        "this is access_key_created (CreateAccessKey)"
    )


def test_one_declaration_that_fits_is_enough() -> None:
    """Where several cover the time, the one that fits counts, in any order."""
    fitting, other = declare(ticket="OPS-1"), declare(ticket="OPS-2", tasks=("account_closed",))
    for order in ((fitting, other), (other, fitting)):
        found = expectation(order, happens())
        assert (found.kind, found.declared) == (ExpectationKind.MATCHED, fitting)


@pytest.mark.parametrize(
    ("specimen", "changes"),
    [
        ("service_acted", {}),
        (
            "logging_tampered",
            {"userIdentity.type": "IAMUser", "userIdentity.arn": f"arn:aws:iam::{ACCOUNT}:user/mallory"},
        ),
    ],
)
def test_what_is_no_use_of_root_is_not_announced_and_not_judged(specimen: str, changes: Changes) -> None:
    """Acts of AWS's services and of others than root stay as severe as they are, whatever was declared."""
    found = expectation([declare(), declare(tasks=("read",))], happens(specimen, **changes))
    assert not found.applies
    assert announcement(found) == ""
    assert adjusted(Severity.HIGH, found) is Severity.HIGH


@pytest.mark.parametrize("specimen", ["assumed", "password_recovery_requested", "password_recovery_completed"])
def test_use_of_root_by_others_can_be_announced(specimen: str) -> None:
    """AssumeRoot and the reset of root's password are recorded as somebody else's, and are use of root."""
    assert kind(declare(), act=happens(specimen)) is ExpectationKind.MATCHED


# --- after the end, before the beginning, declared afterwards ---------------------------------------------------------


def test_going_on_after_the_end_is_an_overrun() -> None:
    """An act of the same story after the end overruns the declaration, for a day."""
    found = expectation([declare()], happens("mfa_added", "10:55:00"), began_at=FROM)
    assert found.kind is ExpectationKind.OVERRUN
    assert announcement(found) == "Overrun: OPS-1 ended at 10:30 UTC, 25 min before this"
    day = happens(eventTime="2026-11-04T10:29:59Z")
    assert kind(declare(), act=day, began_at=FROM) is ExpectationKind.OVERRUN
    assert announcement(expectation([declare()], day, began_at=FROM)) == (
        "Overrun: OPS-1 ended at 2026-11-03 10:30 UTC, 23 h 59 min before this"
    )
    assert kind(declare(), act=happens(eventTime="2026-11-04T10:30:00Z"), began_at=FROM) is ExpectationKind.NONE


def test_a_new_story_after_the_end_is_not_announced() -> None:
    """What began after the end overruns nothing; the alert still names what ended shortly before."""
    act = happens("mfa_added", "10:55:00")
    for began_at in (None, TO, TO + timedelta(minutes=5)):
        found = expectation([declare()], act, began_at=began_at)
        assert found.kind is ExpectationKind.NONE
        assert announcement(found) == "Not announced: OPS-1 ended at 10:30 UTC, 25 min before this"


def test_a_failed_sign_in_overruns_nothing() -> None:
    """Whoever knocks after the end is not root going on."""
    act = happens("console_login_failed", "10:55:00")
    assert kind(declare(), act=act, began_at=FROM) is ExpectationKind.NONE


def test_an_end_before_its_time_counts() -> None:
    """Once somebody ended it, a declaration covers nothing more, and what goes on overruns it."""
    ended = declare(ended_at=FROM + timedelta(minutes=10), ended_by=ALICE)
    assert kind(ended, act=happens("mfa_added", "10:09:59")) is ExpectationKind.MATCHED
    assert kind(ended, act=happens("mfa_added", "10:10:00"), began_at=FROM) is ExpectationKind.OVERRUN
    never = declare(ended_at=FROM - timedelta(minutes=1), ended_by=ALICE)
    found = expectation([never], happens(), began_at=FROM)
    assert (found.kind, found.declared) == (ExpectationKind.NONE, None)


def test_too_early_is_not_announced() -> None:
    """An act before the beginning is not announced, and the alert says what begins and when."""
    found = expectation([declare()], happens("mfa_added", "09:45:00"))
    assert announcement(found) == "Not announced: OPS-1 begins at 10:00 UTC, 15 min after this"
    later = expectation([declare()], happens(eventTime="2026-11-02T23:30:00Z"))
    assert announcement(later) == "Not announced: OPS-1 begins at 2026-11-03 10:00 UTC, 10 h 30 min after this"


def test_what_was_declared_after_the_act_lowers_nothing() -> None:
    """A declaration after the act matches and says so, but it announced nothing."""
    found = expectation([declare(declared_at=FROM + timedelta(minutes=40))], happens())
    assert found.kind is ExpectationKind.MATCHED
    assert announcement(found).startswith('Announced, declared afterwards (25 min after this): OPS-1 "rotate MFA"')
    assert adjusted(Severity.CRITICAL, found) is Severity.CRITICAL


def test_what_was_declared_after_its_beginning_is_marked() -> None:
    """A declaration between its beginning and the act announced the act, late; the alert says so."""
    found = expectation([declare(declared_at=FROM + timedelta(minutes=12))], happens())
    assert announcement(found).startswith("Announced, declared afterwards (12 min after it began): OPS-1")
    assert adjusted(Severity.CRITICAL, found) is Severity.HIGH
    on_time = expectation([declare(declared_at=FROM)], happens())
    assert "afterwards" not in announcement(on_time)


def test_one_declared_beforehand_is_preferred() -> None:
    """Where one of two that fit was declared before the act, that one counts."""
    late, early = declare(declared_at=TO, ticket="LATE-1"), declare(ticket="EARLY-1")
    for order in ((late, early), (early, late)):
        assert expectation(order, happens()).declared == early


# --- severity and words -----------------------------------------------------------------------------------------------


def test_one_step_down_and_one_step_up() -> None:
    """A match lowers by one step and never below info; a contradiction raises by one step, to high at least."""
    matched = expectation([declare()], happens())
    mismatched = expectation([declare(tasks=("read",))], happens())
    overrun = expectation([declare()], happens("mfa_added", "10:55:00"), began_at=FROM)
    assert [adjusted(each, matched) for each in Severity] == ["info", "info", "low", "medium", "high"]
    for found in (mismatched, overrun):
        assert [adjusted(each, found) for each in Severity] == ["high", "high", "high", "critical", "critical"]


HOSTILE = 'x" by CEO; all is well\\ https://evil.example.com <!channel> ' + "y" * 100


def test_what_people_typed_cannot_pass_for_our_words() -> None:
    """A reason cannot leave its quotation marks, make a link or a second line; the line is bounded."""
    line = announcement(expectation([declare(reason=HOSTILE, approver=HOSTILE[:80])], happens()))
    assert line.count('"') == 3  # two of ours, one in the approver, behind which nothing of ours follows
    assert "://" not in line
    assert line.isprintable()
    assert len(line) <= LONGEST_ANNOUNCEMENT


@given(text=st.text(max_size=400), seconds=st.integers(-200_000, 200_000), started=st.none() | st.integers(-9, 90_000))
def test_any_act_can_be_judged_and_said(text: str, seconds: int, started: int | None) -> None:
    """Whatever address and name a record states, and whenever, the answer is one bounded printable line or none."""
    act = happens("iam_changed", sourceIPAddress=text, eventName=text or None)
    act = replace(act, record=replace(act.record, event_time=FROM + timedelta(seconds=seconds)), sent_at=None)
    began_at = None if started is None else FROM + timedelta(seconds=started)
    declarations = [declare(addresses=(OFFICE,), tasks=("mfa_added",)), declare(tasks=("read",))]
    found = expectation(declarations, act, began_at=began_at)
    line = announcement(found)
    assert line.isprintable()
    assert len(line) <= LONGEST_ANNOUNCEMENT
    assert adjusted(Severity.HIGH, found).rank >= Severity.MEDIUM.rank
    assert isinstance(found, Expectation)


@pytest.mark.parametrize("moment", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_the_ends_of_time_are_moments_too(moment: datetime) -> None:
    """A record of the year 1 or 9999 is judged like any other."""
    act = replace(happens(), sent_at=None)
    act = replace(act, record=replace(act.record, event_time=moment))
    assert kind(declare(), act=act, began_at=FROM) is ExpectationKind.NONE
