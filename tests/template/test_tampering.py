"""Switching off one of our rules, or who hears of it, is told by the other: from the pattern to the alert."""

from typing import Any

import pytest

from rootwatch.detections.detection import Severity
from rootwatch.pipeline import Fate, detect_messages
from tests.builders import build_envelope
from tests.template.event_pattern import matches
from tests.template.stack import ACCOUNT, REGION, Stack
from tests.unit.workbench import CheckedTable, make_message, make_recorder

OTHER = {"RootRule": "TamperRule", "TamperRule": "RootRule"}
ROOT = {"type": "Root", "principalId": ACCOUNT, "arn": f"arn:aws:iam::{ACCOUNT}:root", "accountId": ACCOUNT}
TOPICS = ("AlertTopic", "OperationsTopic")


def acts_on(rule: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """What can be done to a rule so that it no longer tells anybody."""
    return {
        "disabled": ("DisableRule", {"name": rule}),
        "deleted": ("DeleteRule", {"name": rule, "force": True}),
        "target removed": ("RemoveTargets", {"rule": rule, "ids": ["intake"]}),
        "target replaced": ("PutTargets", {"rule": rule, "targets": [{"id": "intake", "arn": "arn:aws:sqs:x:y:z"}]}),
        "rewritten": ("PutRule", {"name": rule, "eventPattern": "{}", "state": "ENABLED"}),
    }


def envelope_of(event_source: str, event_name: str, request: dict[str, Any], *, root: bool) -> dict[str, Any]:
    """The record of such an act, by root or by a role."""
    changes: dict[str, Any] = {"eventSource": event_source, "eventName": event_name, "requestParameters": request}
    envelope = build_envelope("rootwatch_tampered", **changes | ({"userIdentity": ROOT} if root else {}))
    return {**envelope, "source": f"aws.{event_source.partition('.')[0]}"}


def alert_of(envelope: dict[str, Any]) -> Any:
    """What people are told of a record that reaches the intake queue."""
    recorder = make_recorder(CheckedTable())
    [result] = detect_messages([make_message(envelope)], recorder)
    assert result.fate is Fate.RECORDED
    [incident_id] = recorder.store.incidents_of("2026-11")
    return recorder.store.alert(incident_id, 1)


@pytest.mark.parametrize("root", [True, False], ids=["by root", "by a role"])
@pytest.mark.parametrize("act", acts_on(""))
@pytest.mark.parametrize("spoilt", OTHER)
def test_the_other_rule_tells(stack: Stack, spoilt: str, act: str, root: bool) -> None:  # noqa: FBT001 - a column
    """Whatever is done to one rule, by anybody, the other lets its record through to detect, and it is critical."""
    name, request = acts_on(stack.resources[spoilt]["Properties"]["Name"])[act]
    envelope = envelope_of("events.amazonaws.com", name, request, root=root)
    alert = alert_of(envelope)
    targets = [target["Arn"] for target in stack.resources[OTHER[spoilt]]["Properties"]["Targets"]]

    assert matches(stack.pattern(OTHER[spoilt]), envelope)
    assert stack.arn("IntakeQueue") in targets
    assert stack.arn("OperationsTopic") in targets or OTHER[spoilt] == "RootRule"
    assert alert.severity is Severity.CRITICAL
    assert "root.rootwatch_tampered" in alert.detections


@pytest.mark.parametrize("root", [True, False], ids=["by root", "by a role"])
@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_that_is_unsubscribed(stack: Stack, topic: str, root: bool) -> None:  # noqa: FBT001 - a column
    """Who takes people off one topic is told on the other one and on Slack: no topic has to tell of its own end."""
    subscription = f"arn:aws:sns:{REGION}:{ACCOUNT}:{stack.resources[topic]['Properties']['TopicName']}:0c6e3a4e"
    envelope = envelope_of("sns.amazonaws.com", "Unsubscribe", {"subscriptionArn": subscription}, root=root)
    alert = alert_of(envelope)
    told = {target["Arn"] for target in stack.resources["TamperRule"]["Properties"]["Targets"]}

    assert matches(stack.pattern("TamperRule"), envelope)
    assert told == {stack.arn("IntakeQueue"), stack.arn("OperationsTopic")}  # detect tells the alert topic and Slack
    assert alert.severity is Severity.CRITICAL
    assert "root.rootwatch_tampered" in alert.detections


@pytest.mark.parametrize("spoilt", OTHER)
def test_a_rule_of_another_stack_is_not_ours(stack: Stack, spoilt: str) -> None:
    """The same act on a rule of somebody else passes neither rule, and would be no tampering."""
    for name, request in acts_on("orders-root").values():
        assert not matches(stack.pattern(OTHER[spoilt]), envelope_of("events.amazonaws.com", name, request, root=False))
