"""The matcher that the pattern tests rest on."""

from typing import Any

import pytest

from tests.template.event_pattern import UnknownOperatorError, matches, operators


@pytest.mark.parametrize(
    ("pattern", "event", "expected"),
    [
        ({"a": ["x"]}, {"a": "x"}, True),
        ({"a": ["x"]}, {"a": "X"}, False),
        ({"a": ["x"]}, {}, False),
        ({"a": ["x"]}, {"a": ["y", "x"]}, True),
        ({"a": [True]}, {"a": True}, True),
        ({"a": [True]}, {"a": "true"}, False),
        ({"a": [True]}, {"a": 1}, False),
        ({"a": [None]}, {"a": None}, True),
        ({"a": [None]}, {}, False),
        ({"a": [{"prefix": "aws."}]}, {"a": "aws.iam"}, True),
        ({"a": [{"prefix": "aws."}]}, {"a": "my.aws.iam"}, False),
        ({"a": [{"prefix": ""}]}, {"a": None}, False),
        ({"a": [{"suffix": "-id"}]}, {"a": "key-id"}, True),
        ({"a": [{"suffix": "-id"}]}, {"a": "key-id2"}, False),
        ({"a": [{"equals-ignore-case": "Root"}]}, {"a": "ROOT"}, True),
        ({"a": [{"equals-ignore-case": "Root"}]}, {"a": "Roots"}, False),
        ({"a": [{"wildcard": "*b*d"}]}, {"a": "abcd"}, True),
        ({"a": [{"wildcard": "*b*d"}]}, {"a": "abcde"}, False),
        ({"a": [{"wildcard": "*.b"}]}, {"a": "axb"}, False),
        ({"a": [{"anything-but": ["x", "y"]}]}, {"a": "z"}, True),
        ({"a": [{"anything-but": ["x", "y"]}]}, {"a": "x"}, False),
        ({"a": [{"anything-but": "x"}]}, {}, False),
        ({"a": [{"exists": False}]}, {}, True),
        ({"a": [{"exists": False}]}, {"a": None}, False),
        ({"a": [{"exists": True}]}, {"a": None}, True),
        ({"a": {"b": ["x"]}}, {"a": {"b": "x"}}, True),
        ({"a": {"b": ["x"]}}, {"a": None}, False),
        ({"a": {"b": [{"exists": False}]}}, {}, True),
        ({"a": {"b": ["x"]}}, {"a": [{"b": "y"}, {"b": "x"}]}, True),
        ({"a": ["x"], "b": ["y"]}, {"a": "x", "b": "z"}, False),
        ({"$or": [{"a": ["x"]}, {"b": ["y"]}]}, {"b": "y"}, True),
        ({"$or": [{"a": ["x"]}, {"b": ["y"]}]}, {"a": "y", "b": "x"}, False),
        ({"c": ["z"], "$or": [{"a": ["x"]}, {"b": ["y"]}]}, {"b": "y"}, False),
    ],
)
def test_matches_as_documented(pattern: dict[str, Any], event: dict[str, Any], *, expected: bool) -> None:
    """Each operator matches and refuses as the EventBridge guide says."""
    assert matches(pattern, event) is expected


@pytest.mark.parametrize(
    "pattern",
    [
        {"a": [{"prefx": "R"}]},
        {"a": [{"prefix": "R", "suffix": "t"}]},
        {"a": [{"anything-but": {"prefx": "R"}}]},
        {"a": [{"wildcard": "a**b"}]},
        {"a": [{"prefix": ["a"]}]},
        {"a": "x"},
        {"a": []},
        {"$or": {"a": ["x"]}},
        {"$or": [{"a": ["x"]}]},
    ],
)
def test_refuses_what_it_does_not_know(pattern: dict[str, Any]) -> None:
    """A misspelt operator or a pattern of the wrong shape is an error, whatever the event."""
    for event in ({}, {"a": "x"}, {"a": "R"}):
        with pytest.raises(UnknownOperatorError):
            matches(pattern, event)


def test_a_misspelling_is_found_behind_what_decides() -> None:
    """A part that no longer matters for the answer is judged all the same."""
    with pytest.raises(UnknownOperatorError):
        matches({"$or": [{"a": ["x"]}, {"b": [{"prefx": "y"}]}]}, {"a": "x"})


def test_operators_are_listed_wherever_they_stand() -> None:
    """The list of operators reaches into objects and choices, and takes no field for an operator."""
    pattern = {
        "a": [{"prefix": "x"}],
        "b": {"c": ["y", {"suffix": "z"}]},
        "$or": [{"d": [{"prefx": "w"}]}, {"e": ["v"]}],
    }

    assert operators(pattern) == {"prefix", "suffix", "prefx"}
