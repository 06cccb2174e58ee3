"""The report's month, and the small parts that stand on their own."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootwatch.audit.memory import MemoryTable
from rootwatch.audit.table import Put
from rootwatch.context.role_alternative import known_actions
from rootwatch.errors import ReportError
from rootwatch.report.csv import harmless
from rootwatch.report.model import month_before, period_of
from rootwatch.report.monitoring import monitoring_of, proof_words
from rootwatch.report.policy import grants_more, policy_documents
from rootwatch.report.posture import read_credential_report
from tests.unit.report_world import canary

NOW = datetime(2026, 11, 28, 9, 30, tzinfo=UTC)
LATER = datetime(2026, 12, 1, tzinfo=UTC)
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
    written = harmless(cell)

    assert not written.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r"))
    assert written.removeprefix("'").endswith(cell.removeprefix("'"))


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


def test_monitoring_is_proven_by_what_came_through() -> None:
    """A day counts as proven only by a canary that arrived and that a channel took; without any, nothing is proven."""
    november = period_of("2026-11", LATER)
    table = MemoryTable()
    for day in range(1, 31):
        canary(table, day, arrived=day != 29, state=None if day == 30 else "sent")
    table.write([Put({"pk": "CANARY", "sk": "heartbeat#1", "sent_at": "2026-11-30T00:00:00Z", "arrived_at": "x"})])
    proven = monitoring_of(table.query("CANARY"), november)

    assert (proven.expected, proven.received, proven.missing) == (30, 28, (29, 30))
    assert proof_words(proven, november) == "monitoring proven on 28 of 30 days, not on 2026-11-29, 2026-11-30"
    assert not monitoring_of(table.query("CANARY"), period_of("2026-10", LATER)).recorded
    nothing = monitoring_of([{"sk": "canary#of no time"}], november)
    assert not nothing.recorded
    assert nothing.remark
    assert proof_words(nothing, november) == "monitoring not proven"
