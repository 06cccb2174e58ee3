"""The name of an account: Organizations' word, if it is about this account."""

from typing import Any

import pytest

from rootwatch.context.account_name import LONGEST_NAME, can_be_named, of_organizations

ACCOUNT = "111122223333"


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ({"Account": {"Id": ACCOUNT, "Name": "Production"}}, "Production"),
        ({"Account": {"Id": ACCOUNT, "Name": " Pro\n duction "}}, "Pro duction"),
        ({"Account": {"Id": ACCOUNT, "Name": "x" * 5_000}}, "x" * LONGEST_NAME),
        ({"Account": {"Id": ACCOUNT, "Name": "\ud800"}}, "?"),
        ({"Account": {"Id": "444455556666", "Name": "Audit"}}, None),
        ({"Account": {"Name": "Audit"}}, None),
        ({"Account": {"Id": int(ACCOUNT), "Name": "Audit"}}, None),
        ({"Account": {"Id": ACCOUNT, "Name": ""}}, None),
        ({"Account": {"Id": ACCOUNT}}, None),
        ({"Account": {"Id": ACCOUNT, "Name": ["Audit"]}}, None),
        ({"Account": None}, None),
        ({}, None),
        (None, None),
    ],
)
def test_a_wrong_name_is_worse_than_none(answer: Any, name: str | None) -> None:
    """The name counts where the answer states the number that was asked for, on one bounded line."""
    assert of_organizations(answer, ACCOUNT) == name


@pytest.mark.parametrize(
    ("account_id", "expected"),
    [
        (ACCOUNT, True),
        ("unknown", False),
        ("~" + "0" * 32, False),
        ("", False),
        ("1" * 11, False),
        ("\u0661" * 12, False),
    ],
)
def test_only_numbers_of_accounts_are_asked_about(account_id: str, expected: bool) -> None:  # noqa: FBT001
    """What a record states instead of a number is nobody's account."""
    assert can_be_named(account_id) is expected
