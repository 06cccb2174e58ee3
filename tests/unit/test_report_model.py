"""The report's month, and the small parts that stand on their own."""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootwatch.audit.memory import MemoryTable
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Put
from rootwatch.context.role_alternative import known_actions
from rootwatch.coverage import Place
from rootwatch.errors import DamagedItemError, ReportError
from rootwatch.report.csv import harmless
from rootwatch.report.model import ProbeFigures, month_before, period_of
from rootwatch.report.monitoring import gaps, monitoring_of, proof_words
from rootwatch.report.policy import grants_more, policy_documents
from rootwatch.report.posture import read_credential_report
from tests.unit.report_world import OTHER, beats, canary, heartbeat, proven_days
from tests.unit.workbench import ACCOUNT

NOW = datetime(2026, 11, 28, 9, 30, tzinfo=UTC)
LATER = datetime(2026, 12, 1, tzinfo=UTC)
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
HEADER = (
    "user,arn,user_creation_time,password_enabled,password_last_used,password_last_changed,password_next_rotation,"
    "mfa_active,access_key_1_active,access_key_1_last_rotated,access_key_1_last_used_date,access_key_1_last_used_region,"
    "access_key_1_last_used_service,access_key_2_active,access_key_2_last_rotated,access_key_2_last_used_date"
)


def credential_report(
    password: str = "no_information",  # noqa: S107 - when it was used, not what it is
    mfa: str = "true",
    key: str = "N/A",
    active: str = "false",
    account_id: str = "111122223333",
) -> str:
    """A credential report as IAM makes it."""
    root = (
        f"<root_account>,arn:aws:iam::{account_id}:root,2019-01-01T00:00:00+00:00,not_supported,{password},not_supported,"
        f"not_supported,{mfa},{active},N/A,{key},N/A,N/A,false,N/A,N/A"
    )
    return (
        f"{HEADER}\n{root}\nalice,arn:aws:iam::{account_id}:user/alice,2020-01-01T00:00:00+00:00,true,N/A,N/A,N/A,false"
    )


def test_a_month_is_half_open() -> None:
    """The first moment belongs to a month and the first of the next one does not, at the end of a year too."""
    december = period_of("2025-12", NOW)

    assert datetime(2025, 12, 1, tzinfo=UTC) in december
    assert datetime(2025, 12, 31, 23, 59, 59, 999999, tzinfo=UTC) in december
    assert datetime(2026, 1, 1, tzinfo=UTC) not in december
    assert not december.in_progress
    assert (december.days, december.days_begun, december.title) == (31, 31, "December 2025")
    assert december.before()[0] == "2024-12"
    assert december.before()[-1] == "2025-11"
    assert period_of("2024-02", NOW).days == 29


def test_a_month_in_progress_is_marked() -> None:
    """The month that goes on counts the days that have begun, also on its first moment."""
    november = period_of("2026-11", NOW)

    assert november.in_progress
    assert november.days_begun == 28
    assert period_of("2026-12", LATER).days_begun == 1


@pytest.mark.parametrize(
    "text",
    ["2026-12", "2026-13", "2026-00", "2026-1", "26-11", "", "November", "0000-01", "\u0662\u0660\u0662\u0666-11"],
)
def test_what_is_no_month_says_what_is_expected(text: str) -> None:
    """A month that has not begun, or is none, is an error that says what is expected."""
    with pytest.raises(ReportError, match=r"2026-1[12]"):
        period_of(text, NOW)


def test_the_month_before() -> None:
    """The report of the first of a month is of the month before, over the end of a year too."""
    assert month_before(LATER) == "2026-11"
    assert month_before(datetime(2026, 1, 1, tzinfo=UTC)) == "2025-12"


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "'=1", '"=1', "\uff1d1", "%0A=1", "|cmd"]
)
def test_no_cell_is_a_formula(cell: str) -> None:
    """What a spreadsheet would run begins with an apostrophe, so that it is text."""
    assert harmless(cell) == f"'{cell}"


@given(st.text(max_size=20))
def test_a_harmless_cell_begins_like_no_formula(cell: str) -> None:
    """Whatever a cell holds, what is written begins with none of a formula's characters and holds the cell."""
    parts = harmless(cell).split(";")

    assert not [part for part in parts if part.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert all(part in {before, f"'{before}"} for part, before in zip(parts, cell.split(";"), strict=True))


def test_a_policy_allows_what_was_done_and_nothing_else() -> None:
    """The policy lists the actions once, sorted; a text that is no action never reaches it."""
    [document] = policy_documents({"s3:ListAllMyBuckets": 3, "ec2:DescribeInstances": 1, "*": 4, 's3:"]}': 1})
    policy = json.loads(document)

    assert policy["Version"] == "2012-10-17"
    assert policy["Statement"][0]["Action"] == ["ec2:DescribeInstances", "s3:ListAllMyBuckets"]
    assert policy_documents({}) == []


def test_policies_fit_into_iam() -> None:
    """Every action there is makes several policies, each within the size of a managed policy, and none is lost."""
    every = {f"{prefix}:{name}": 1 for prefix, names in known_actions().items() for name in names[:40]}
    documents = policy_documents(every)

    assert all(len("".join(document.split())) <= 6144 for document in documents)
    assert [action for document in documents for action in json.loads(document)["Statement"][0]["Action"]] == sorted(
        every
    )


def test_a_policy_that_grants_more_is_recognised() -> None:
    """Actions with which somebody can give himself further rights are marked."""
    assert grants_more({"iam:CreateUser": 1})
    assert not grants_more({"s3:ListAllMyBuckets": 1})


def test_the_credential_report_of_root() -> None:
    """Root's row tells MFA, active keys and when each credential was used last; what is not stated is no use."""
    found = read_credential_report(
        credential_report("2026-11-03T02:14:07+00:00", "false", "2026-11-04T01:00:00Z", "true")
    )

    assert (found.account_id, found.mfa, found.active_keys) == ("111122223333", False, 1)
    assert [(use.what, use.at) for use in found.uses] == [
        ("password", datetime(2026, 11, 3, 2, 14, 7, tzinfo=UTC)),
        ("access key 1", datetime(2026, 11, 4, 1, tzinfo=UTC)),
    ]
    assert read_credential_report(credential_report()).uses == ()


@pytest.mark.parametrize("text", ["", "user,arn\nalice,arn:aws:iam::1:user/alice", "\x00", "<root_account>", "{}"])
def test_what_is_no_credential_report(text: str) -> None:
    """Anything else is an error that says what is expected."""
    with pytest.raises(ReportError, match="get-credential-report"):
        read_credential_report(text)


def test_a_day_is_proven_by_both() -> None:
    """A canary counts only if it arrived and a channel took it, and only with a source heartbeat that came back."""
    november = period_of("2026-11", LATER)
    table = MemoryTable()
    for day in range(1, 31):
        canary(table, day, arrived=day != 28, state=None if day == 29 else "sent")
        heartbeat(table, day, arrived=day != 30)
    table.write([Put({"pk": "CANARY", "sk": "heartbeat#1", "sent_at": "2026-11-30T00:00:00Z", "arrived_at": "x"})])
    proven = monitoring_of(table.query("CANARY"), november)

    assert proven.canaries == ProbeFigures(720, sent=390, received=364, missing=(28, 29), silent_hours={28: 24, 29: 24})
    assert proven.heartbeats == ProbeFigures(720, sent=391, received=377, missing=(30,), silent_hours={30: 24})
    assert (proven.hubs, len(proven.proven), proven.missing) == (("111122223333",), 27, (28, 29, 30))
    assert proof_words(proven, november) == (
        "monitoring proven on 27 of 30 days, not on 2026-11-28, 2026-11-29 (no canary came through), "
        "nor on 2026-11-30 (no source heartbeat came back)"
    )
    assert not monitoring_of(table.query("CANARY"), period_of("2026-10", LATER)).recorded


@pytest.mark.parametrize(
    ("kept", "lacking"), [(canary, "no source heartbeat came back"), (heartbeat, "no canary came")]
)
def test_one_of_both_proves_no_day(kept: Callable[..., None], lacking: str) -> None:
    """Canaries without CloudTrail, or CloudTrail without a way to people: neither proves a single day."""
    november = period_of("2026-11", LATER)
    table = MemoryTable()
    for day in range(1, 31):
        kept(table, day)
    monitoring = monitoring_of(table.query("CANARY"), november)

    assert (monitoring.proven, len(monitoring.missing)) == ((), 30)
    assert proof_words(monitoring, november).startswith(
        "monitoring proven on 0 of 30 days, not on 2026-11-01 to 2026-11-30 ("
    )
    assert lacking in proof_words(monitoring, november)


def test_without_any_probe_nothing_is_proven() -> None:
    """Probes of which nobody knows when they were sent prove nothing, and are counted."""
    november = period_of("2026-11", LATER)
    nothing = monitoring_of([{"sk": "canary#of no time"}, {"sk": "heartbeat#neither"}], november)

    assert not nothing.recorded
    assert nothing.remark == "2 canaries or heartbeats without a readable time: they prove nothing"
    assert proof_words(nothing, november) == "monitoring not proven"


def test_a_forwarder_is_proven_by_its_own_heartbeats() -> None:
    """Each hour counts once, however late and often its heartbeat comes; before it was heard nothing watched it."""
    november = period_of("2026-11", LATER)
    table = MemoryTable()
    store = AuditStore(table)
    proven_days(table, range(1, 31))
    beats(table, OTHER, "eu-west-1", (day for day in range(1, 31) if day != 17))
    beats(table, OTHER, "eu-central-1", range(15, 31))
    assert not store.add_heard_hour(OTHER, "eu-west-1", datetime(2026, 11, 16, 2, 59, tzinfo=UTC))
    assert store.add_heard_hour(OTHER, "eu-west-1", datetime(2026, 11, 16, 5, tzinfo=UTC))
    monitoring = monitoring_of(table.query("CANARY"), november, store.places(), store.heard_hours("2026-11"))
    central, west = monitoring.forwarders

    assert (west.expected, west.received, west.missing) == (720, 29 * 13 + 1, (17,))
    assert (central.expected, central.missing, central.since) == (
        384,
        tuple(range(1, 15)),
        NOON.replace(day=15, hour=0),
    )
    assert proof_words(monitoring, november) == "monitoring proven on 30 of 30 days"
    assert proof_words(monitoring, november, ACCOUNT) == "monitoring proven on 30 of 30 days"
    assert proof_words(monitoring, november, OTHER) == (
        "monitoring proven on 15 of 30 days, not on 2026-11-01 to 2026-11-14 (not heard yet: eu-central-1), "
        "nor on 2026-11-17 (no heartbeat from eu-west-1)"
    )
    assert gaps(monitoring, november) == [
        (f"2026-11-01 to 2026-11-14: not heard yet: {OTHER} eu-central-1", 14),
        (f"2026-11-17: no heartbeat from {OTHER} eu-west-1", 1),
    ]
    assert proof_words(monitoring, november, "777788889999") == (
        "monitoring not proven (no heartbeat of this account is recorded)"
    )


@pytest.mark.parametrize(
    ("silent", "words"),
    [
        ([], "30 of 30 days"),
        ([5], "30 of 30 days"),
        ([5, 6], "29 of 30 days, not on 2026-11-17 (no canary came through in 2 hours)"),
        ([1, 5, 6, 10, 11, 12], "29 of 30 days, not on 2026-11-17 (no canary came through in 5 hours)"),
        (range(24), "29 of 30 days, not on 2026-11-17 (no canary came through)"),
    ],
)
def test_a_day_with_hours_of_silence_is_not_proven(silent: Iterable[int], words: str) -> None:
    """One hour alone may be without a canary, two in a row are too many: one canary proves no whole day."""
    november = period_of("2026-11", LATER)
    table = MemoryTable()
    proven_days(table, range(1, 31))
    canary(table, 17, hours=range(24))
    canary(table, 17, arrived=False, hours=silent)
    monitoring = monitoring_of(table.query("CANARY"), november)

    assert proof_words(monitoring, november) == f"monitoring proven on {words}"


def test_silence_over_midnight_belongs_to_both_days() -> None:
    """Hours in a row are counted over the end of a day, and up to the end of the month."""
    november = period_of("2026-11", LATER)
    table = MemoryTable()
    proven_days(table, range(1, 31))
    for day, hour in ((6, 23), (7, 0), (30, 22), (30, 23)):
        heartbeat(table, day, arrived=False, hours=[hour])
    monitoring = monitoring_of(table.query("CANARY"), november)

    assert (monitoring.missing, monitoring.heartbeats.silent_hours) == ((6, 7, 30), {6: 1, 7: 2, 30: 3})


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ("2026-11-03T00:10:00Z", "2 of 2 days"),
        ("2026-11-03T01:10:00Z", "2 of 3 days, not on 2026-11-03 (no canary came through in 1 hour)"),
        ("2026-11-03T07:59:00Z", "2 of 3 days, not on 2026-11-03 (no canary came through in 7 hours)"),
    ],
)
def test_a_month_in_progress_is_judged_by_the_hours_that_are_over(now: str, words: str) -> None:
    """A day that has but begun proves nothing and lacks nothing yet; then it needs a sign of life as any other."""
    november = period_of("2026-11", datetime.fromisoformat(now))
    table = MemoryTable()
    proven_days(table, (1, 2))
    heartbeat(table, 3, hours=range(8))
    monitoring = monitoring_of(table.query("CANARY"), november)

    assert proof_words(monitoring, november) == f"monitoring proven on {words}"


def test_nothing_watched_before_the_first_sign() -> None:
    """The month of the deployment says since when it was watched; the days before it are one entry, and all counted."""
    november = period_of("2026-11", LATER)
    table = MemoryTable()
    canary(table, 20, hours=range(14, 24))
    heartbeat(table, 20, hours=range(14, 24))
    proven_days(table, (day for day in range(21, 31) if day != 24))
    beats(table, OTHER, "eu-west-1", range(22, 31))
    store = AuditStore(table)
    monitoring = monitoring_of(table.query("CANARY"), november, store.places(), store.heard_hours("2026-11"))
    first = "not watched before 2026-11-20 14:00 UTC, the first sign of Rootwatch"

    assert (monitoring.since, monitoring.canaries.expected) == (datetime(2026, 11, 20, 14, tzinfo=UTC), 250)
    assert len(monitoring.proven) + len(monitoring.missing) == 30
    assert proof_words(monitoring, november) == (
        f"monitoring proven on 9 of 30 days, {first}, "
        "not on 2026-11-24 (no canary came through; no source heartbeat came back)"
    )
    assert gaps(monitoring, november) == [
        (f"2026-11-01 to 2026-11-20: {first}", 20),
        (f"2026-11-21: not heard yet: {OTHER} eu-west-1", 1),
        ("2026-11-24: no canary came through; no source heartbeat came back", 1),
    ]


def test_any_older_sign_takes_the_excuse_away() -> None:
    """Whoever removes canaries moves no deployment: a record or a place that is older, and the days are gaps."""
    november = period_of("2026-11", LATER)
    table = MemoryTable()
    proven_days(table, range(20, 31))
    items = list(table.query("CANARY"))
    old = datetime(2026, 10, 30, tzinfo=UTC)
    words = "monitoring proven on 11 of 30 days, not on 2026-11-01 to 2026-11-19 (no canary came through; "

    assert monitoring_of(items, november).since == datetime(2026, 11, 20, tzinfo=UTC)
    for known in ({"first_received": old}, {"places": [Place(ACCOUNT, "eu-central-1", old)]}):
        monitoring = monitoring_of(items, november, **known)
        assert monitoring.since is None
        assert proof_words(monitoring, november).startswith(words)


def test_nobody_waits_for_a_place_outside_of_its_time() -> None:
    """A place that was retired before the month, or heard first after it, is no part of it; one that was retired within
    it is expected until then; what is damaged proves nothing and is counted.
    """
    november = period_of("2026-11", LATER)
    begun = NOON.replace(month=10)
    places: list[Place | DamagedItemError] = [
        Place("1" * 12, "eu-west-1", begun, retired_at=begun),
        Place("2" * 12, "eu-west-1", datetime(2026, 12, 2, tzinfo=UTC)),
        Place("3" * 12, "eu-west-1", begun, retired_at=NOON.replace(day=2)),
        DamagedItemError("changed"),
    ]
    table = MemoryTable()
    proven_days(table, range(1, 31))
    monitoring = monitoring_of(table.query("CANARY"), november, places)

    [kept] = monitoring.forwarders
    assert (kept.account_id, kept.expected, kept.received, kept.missing) == ("3" * 12, 36, 0, (1, 2))
    assert monitoring.remark == "1 damaged item of coverage: it proves nothing"
