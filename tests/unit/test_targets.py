"""What an act was done to: an incident tells each act once per target, so two acts must not look like one."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from rootwatch.context.observation import observe
from rootwatch.detections.catalogue import CATALOGUE
from rootwatch.detections.detection import Finding, OwnResources, Severity
from rootwatch.incident import AccountState, Why, fold
from rootwatch.record import LONGEST_NAME, Record, read_document
from tests.builders import build_record

NOW: Final = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)
READER: Final = "arn:aws:iam::aws:policy/ReadOnlyAccess"
ADMINISTRATOR: Final = "arn:aws:iam::aws:policy/AdministratorAccess"


def act(request: Any, /, **changes: Any) -> Record:
    """The record of an act with these parameters."""
    return read_document(build_record("write", **({"requestParameters": request} | changes)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"userName": "a", "policyArn": READER}, {"userName": "a", "policyArn": ADMINISTRATOR}),
        ({"roleName": "a", "policyName": "x"}, {"roleName": "a", "policyName": "y"}),
        ({"instancesSet": {"items": [{"instanceId": "a"}]}}, {"instancesSet": {"items": [{"instanceId": "b"}]}}),
        ({"alternateContactType": "BILLING"}, {"alternateContactType": "SECURITY"}),
        ({"names": ["a"]}, {"names": ["b"]}),
        ({"volumeId": "a"}, {"volumeId": "b"}),
        ({"subscriptionArn": "topic-a:1"}, {"subscriptionArn": "topic-b:1"}),
        ({"uUID": "a", "enabled": False}, {"uUID": "b", "enabled": False}),
        ({"alarmNames": ["a"]}, {"alarmNames": ["b"]}),
        ({"functionName": "a", "principal": "x"}, {"functionName": "a", "principal": "y"}),
    ],
)
def test_another_target_is_another_act(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Whatever parameter tells two acts apart, their targets differ; the same act has the same target."""
    assert act(one).target != act(other).target
    assert act(one).target == act(one, number=2).target


def test_each_new_key_of_a_user_is_another_target() -> None:
    """Two keys for one user are two ways in; a response without a key id changes nothing."""
    keys = ("AKIAEXAMPLE000000001", "AKIAEXAMPLE000000002", None, 7)
    targets = {act({"userName": "a"}, responseElements={"accessKey": {"accessKeyId": key}}).target for key in keys}
    assert targets == {"a", "a, AKIAEXAMPLE000000001", "a, AKIAEXAMPLE000000002"}


@pytest.mark.parametrize("value", [None, 7, [], [7], {}, {"items": 7}, {"items": [{"instanceId": 7}]}, [[]]], ids=repr)
def test_odd_parameters_have_no_target(value: Any) -> None:
    """What is no text names nothing."""
    assert act({"userName": value, "instancesSet": value, "names": value}).target == ""


def test_a_target_is_short() -> None:
    """Names and lists of 100 KB are cut: a target is for comparing."""
    assert len(act({"userName": "x" * 100_000, "policyArn": "y" * 100_000}).target) == LONGEST_NAME
    assert len(act({"names": ["x" * 9] * 10_000}).target) == LONGEST_NAME


def test_the_same_act_that_does_more_harm_is_told_again() -> None:
    """In an incident that is critical already, an act that turns from high to critical is still news."""
    [detection] = [each for each in CATALOGUE if each.id == "root.logging_tampered"]
    acts = (("First", Severity.CRITICAL), ("X", Severity.HIGH), ("X", Severity.HIGH), ("X", Severity.CRITICAL))
    state, why = AccountState("111122223333"), []
    for number, (name, severity) in enumerate(acts):
        record = act({"name": "a"}, eventName=name, number=number)
        observation = observe(record, OwnResources("rootwatch"), sent_at=NOW)
        outcome = fold(state, replace(observation, findings=(Finding(detection, severity),)), NOW)
        state = outcome.state
        why.append([reason for alert in outcome.alerts for reason in alert.why])
    assert why[1:] == [[Why.NEW_DETECTION], [], [Why.NEW_DETECTION]]
