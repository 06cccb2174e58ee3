"""The credential reports of other accounts: the real reader on moto, which knows accounts, and where AWS refuses."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError
from moto import mock_aws
from moto.iam.models import IAMBackend

from rootwatch import wiring
from rootwatch.report.members import NOT_IN_TIME, PAUSE, WITHIN, MemberReader
from rootwatch.settings import ReportSettings
from tests.unit.test_report_model import credential_report

HERE = "123456789012"
MEMBERS = tuple(f"2222333344{number:02}" for number in range(20))


def refusal(operation: str, code: str) -> ClientError:
    """AWS's refusal of a call."""
    return ClientError({"Error": {"Code": code, "Message": "no"}}, operation)


class Iam:
    """IAM in one account: it makes the report within so many questions."""

    def __init__(
        self, account_id: str, asked: int = 0, error: Exception | None = None, summary: int | None = 1
    ) -> None:
        self._account_id, self._left, self._error, self._summary = account_id, asked, error, summary

    def generate_credential_report(self) -> dict[str, str]:
        """Begin the report."""
        return {"State": "STARTED"}

    def get_credential_report(self) -> dict[str, bytes]:
        """Give the report, or say that it is being made."""
        if self._error is not None:
            raise self._error
        if self._left:
            self._left -= 1
            raise refusal("GetCredentialReport", "ReportInProgress" if self._left else "ReportNotPresent")
        return {"Content": credential_report(account_id=self._account_id).encode()}

    def get_account_summary(self) -> dict[str, dict[str, int]]:
        """Say whether root has a password, where that is known."""
        return {"SummaryMap": {} if self._summary is None else {"AccountPasswordPresent": self._summary}}


class Clock:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Say the seconds."""
        return self.now

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


def reader(take: Callable[[str], Any], clock: Clock | None = None) -> MemberReader:
    """A reader of accounts that are made by a test."""
    clock = clock or Clock()
    return MemberReader(lambda account_id: lambda: take(account_id), clock, clock.wait)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Sequence[str]], Any]]:
    """What the function reads other accounts with, on moto, whose reports get the row of root that AWS's have."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(
        IAMBackend, "get_credential_report", lambda backend: credential_report(account_id=backend.account_id)
    )
    with mock_aws():
        wiring._session.cache_clear()
        topic = f"arn:aws:sns:us-east-1:{HERE}:rootwatch-alerts"
        yield wiring._members(
            ReportSettings("t", "rootwatch", "b", topic, "s", "https://hooks.slack.com", 15, "us-east-1",
                           posture_role="rootwatch-posture")
        )  # fmt: skip
    wiring._session.cache_clear()


def test_each_account_is_read_with_its_own_role(read: Callable[[Sequence[str]], Any]) -> None:
    """What is read for an account is that account's, however many are asked at once; moto states no password."""
    found, not_read = read(MEMBERS)

    assert sorted(found) == sorted(MEMBERS)
    assert not_read == {}
    assert {account_id: each.account_id for account_id, each in found.items()} == {each: each for each in MEMBERS}
    assert {(each.mfa, each.active_keys, each.unstated_keys, each.password) for each in found.values()} == {
        (True, 0, 0, None)
    }


@pytest.mark.parametrize(("summary", "password"), [(0, False), (1, True), (None, None)])
def test_whether_root_has_a_password_is_as_stated(summary: int | None, password: bool | None) -> None:  # noqa: FBT001
    """What the account summary does not state is not stated, and never "no"."""
    found, _ = reader(lambda account_id: Iam(account_id, summary=summary)).read([MEMBERS[0]])

    assert found[MEMBERS[0]].password is password


def test_a_report_is_waited_for_while_iam_makes_it() -> None:
    """IAM says that it is at it, or that there is none yet: it is asked again every two seconds."""
    clock, iam = Clock(), Iam(MEMBERS[0], asked=3)
    found, not_read = reader(lambda _account_id: iam, clock).read([MEMBERS[0]])

    assert (list(found), not_read) == ([MEMBERS[0]], {})
    assert clock.now == 3 * PAUSE


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (refusal("GetCredentialReport", "AccessDenied"), "not read: GetCredentialReport was refused (AccessDenied)"),
        (ConnectTimeoutError(endpoint_url="https://x"), "not read: AWS is out of reach (ConnectTimeoutError)"),
        (refusal("GetCredentialReport", "\u202e<b>"), "not read: GetCredentialReport was refused ("),
    ],
)
def test_what_one_account_refuses_stops_no_other(error: Exception, words: str) -> None:
    """The account is named with the reason, and the others are read."""
    broken, *others = MEMBERS
    found, not_read = reader(lambda each: Iam(each, error=error if each == broken else None)).read(MEMBERS)

    assert sorted(found) == sorted(others)
    assert list(not_read) == [broken]
    assert not_read[broken].startswith(words)
    assert "\u202e" not in not_read[broken]


def test_a_role_that_is_not_there_is_named() -> None:
    """An account that did not admit the report is said to be not read, with the call that was refused."""

    def take(_account_id: str) -> Any:
        raise refusal("AssumeRole", "AccessDenied")

    found, not_read = MemberReader(take, Clock(), lambda _seconds: None).read(MEMBERS[:2])

    assert found == {}
    assert not_read == dict.fromkeys(MEMBERS[:2], "not read: AssumeRole was refused (AccessDenied)")


def test_the_time_is_bounded_for_all_accounts_together() -> None:
    """Where IAM never ends, each account is given up at the same moment, and those behind it are not begun."""
    clock = Clock()
    never = refusal("GetCredentialReport", "ReportInProgress")
    found, not_read = reader(lambda each: Iam(each, error=never), clock).read(MEMBERS)

    assert found == {}
    assert not_read == dict.fromkeys(MEMBERS, NOT_IN_TIME)
    assert clock.now <= WITHIN + len(MEMBERS) * PAUSE
    too_late = MemberReader(lambda _each: pytest.fail("begun"), iter([0.0, WITHIN]).__next__, clock.wait)
    assert too_late.read(MEMBERS[:1]) == ({}, {MEMBERS[0]: NOT_IN_TIME})


def test_another_account_s_report_is_no_answer() -> None:
    """A report of another account than was asked is not taken for this one's."""
    _, not_read = reader(lambda _each: Iam(HERE)).read([MEMBERS[0]])

    assert not_read == {MEMBERS[0]: f"the credential report is that of account {HERE}"}
