"""What the two rules let through, and what they do not."""

import copy
import json
import pathlib
from typing import Any

import pytest
from moto.events.models import EventPattern

from rootwatch.context import role_alternative
from rootwatch.context.observation import observe
from rootwatch.detections.detection import OwnResources
from rootwatch.record import read_envelope
from tests.template import envelopes
from tests.template.event_pattern import OPERATORS, matches, operators
from tests.template.stack import TEMPLATE, Stack

LONGEST_NAME = "r" * 32
LONGEST_REPLAY_SOURCE = "rootwatch." + "s" * 32
RULES = ["RootRule", "TamperRule"]
EVENTS = TEMPLATE.parent / "events"


def specimens(folder: pathlib.Path) -> list[Any]:
    """Return every envelope of the files right in a folder, each named after its file, for parametrizing."""
    found = []
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text())
        envelopes_of_file = content if isinstance(content, list) else [content]
        found += [pytest.param(one, id=f"{path.stem}-{place}") for place, one in enumerate(envelopes_of_file, 1)]
    return found


@pytest.mark.parametrize("rule", RULES)
def test_patterns_fit(rule: str) -> None:
    """A pattern has fewer than 2,048 characters with the longest stack name and the longest replay source."""
    stack = Stack(LONGEST_NAME, ReplaySource=LONGEST_REPLAY_SOURCE)
    text = json.dumps(stack.pattern(rule), separators=(",", ":"))

    assert LONGEST_NAME in text
    assert LONGEST_REPLAY_SOURCE in text
    assert len(text) < 2048


@pytest.mark.parametrize("rule", RULES)
def test_patterns_use_known_operators(stack: Stack, rule: str) -> None:
    """A pattern uses only operators on the allow-list: emulators let a misspelt one match."""
    used = operators(stack.pattern(rule))

    assert used
    assert used <= OPERATORS


@pytest.mark.parametrize("rule", RULES)
def test_patterns_do_not_filter_on_the_detail_type(stack: Stack, rule: str) -> None:
    """AWS spells the detail-type of a sign-in in two ways, so no rule looks at it."""
    assert set(stack.pattern(rule)) == {"source", "detail"}


@pytest.mark.parametrize("name", envelopes.CONCERNS_ROOT)
def test_root_rule_sees(stack: Stack, name: str) -> None:
    """What root does, and what concerns root whoever does it, reaches the queue."""
    assert matches(stack.pattern("RootRule"), envelopes.CONCERNS_ROOT[name])


@pytest.mark.parametrize("name", envelopes.NOT_ABOUT_ROOT)
def test_root_rule_leaves_alone(stack: Stack, name: str) -> None:
    """What others do, and what is forged, does not reach the queue."""
    assert not matches(stack.pattern("RootRule"), envelopes.NOT_ABOUT_ROOT[name])


@pytest.mark.parametrize("name", envelopes.CONCERNS_ROOT)
def test_what_the_root_rule_sees_has_a_meaning(name: str) -> None:
    """Whatever the rule lets through by its name still means something where the identity is as thin as can be."""
    event = copy.deepcopy(envelopes.CONCERNS_ROOT[name])
    if event["detail"]["userIdentity"] not in (envelopes.ROOT, envelopes.OF_ROOT):
        event["detail"]["userIdentity"] = {}
    assert observe(read_envelope(event), OwnResources("rootwatch")).relevant


def test_the_root_rule_sees_whatever_means_something_by_anybody(stack: Stack) -> None:
    """Each of AWS's calls that some detection finds by somebody who is not root reaches the queue."""
    unseen, pattern, own = [], stack.pattern("RootRule"), OwnResources("rootwatch")
    for service, names in role_alternative.known_actions().items():
        for name in names:
            event = envelopes.envelope(service, name, requestParameters={"servicePrincipal": "iam.amazonaws.com"})
            if observe(read_envelope(event), own).relevant and not matches(pattern, event):
                unseen.append(f"{service}:{name}")
    assert unseen == []


@pytest.mark.parametrize("name", envelopes.TAMPERING)
def test_tamper_rule_sees(stack: Stack, name: str) -> None:
    """A change to anything that this stack is made of is seen."""
    assert matches(stack.pattern("TamperRule"), envelopes.TAMPERING[name])


@pytest.mark.parametrize("name", envelopes.OUR_OWN_WORK_OR_NOT_OURS)
def test_tamper_rule_leaves_alone(stack: Stack, name: str) -> None:
    """Our own work, reads, other people's things and forgeries are not tampering; our own work would never end."""
    assert not matches(stack.pattern("TamperRule"), envelopes.OUR_OWN_WORK_OR_NOT_OURS[name])


@pytest.mark.parametrize("watched", ["rootwatch-root", "rootwatch-tamper"])
@pytest.mark.parametrize("rule", RULES)
def test_each_rule_watches_both(stack: Stack, rule: str, watched: str) -> None:
    """A rule that is switched off cannot report that, so each sees changes to both."""
    for change in (
        envelopes.request("events", "DisableRule", name=watched),
        envelopes.request("events", "DeleteRule", name=watched),
        envelopes.request("events", "PutTargets", rule=watched),
    ):
        assert matches(stack.pattern(rule), change)


def test_a_tag_on_a_rule_comes_back_by_one_way(stack: Stack) -> None:
    """The record of the watchdog's hourly tag reaches the queue through the root rule, and nobody's mailbox."""
    tagged = envelopes.request("events", "TagResource", resourceARN=stack.arn("RootRule"))

    assert matches(stack.pattern("RootRule"), tagged)
    assert not matches(stack.pattern("TamperRule"), tagged)
    assert observe(read_envelope(tagged), OwnResources("rootwatch")).relevant  # unless its nonce was given out


@pytest.mark.parametrize("rule", RULES)
def test_replay_is_admitted_only_when_asked(rule: str) -> None:
    """The replay source passes both rules where its parameter names it, and then no other made-up source does."""
    event = envelopes.envelope(
        "events", "DisableRule", envelopes.ROOT, source="rootwatch.replay", requestParameters={"name": "rootwatch-root"}
    )
    local = Stack(ReplaySource="rootwatch.replay").pattern(rule)

    assert not matches(Stack().pattern(rule), event)
    assert matches(local, event)
    assert matches(local, {**event, "source": "aws.events"})
    assert not matches(local, {**event, "source": "rootwatch.replay2"})


def test_every_resource_of_the_stack_is_watched(stack: Stack) -> None:
    """Whatever the template names is recognised by its ARN, so that a new resource cannot be forgotten."""
    unwatched = {"RootwatchKeyAlias"}  # an alias is a name; the topics use the key itself
    pattern = stack.pattern("TamperRule")

    for logical_id, _, _ in stack.names():
        event = envelopes.envelope("any", "Change", resources=[{"ARN": stack.arn(logical_id)}])
        assert matches(pattern, event) is (logical_id not in unwatched), logical_id


def test_another_stack_has_rules_of_its_own() -> None:
    """The patterns follow the stack's name: a second deployment does not answer for the first."""
    second = Stack("watch-two")

    assert not matches(second.pattern("TamperRule"), envelopes.TAMPERING["table deleted"])
    assert matches(
        second.pattern("TamperRule"), envelopes.request("dynamodb", "DeleteTable", tableName="watch-two-audit")
    )
    assert not matches(second.pattern("RootRule"), envelopes.CONCERNS_ROOT["tamper rule disabled"])


@pytest.mark.parametrize("event", specimens(EVENTS))
def test_every_specimen_passes_a_rule(stack: Stack, event: dict[str, Any]) -> None:
    """Whatever the specimens of the detections show would reach us from AWS."""
    assert event["source"].startswith("aws.")
    assert any(matches(stack.pattern(rule), event) for rule in RULES)


@pytest.mark.parametrize("event", specimens(EVENTS / "silent"))
def test_silent_specimens_pass_no_rule(stack: Stack, event: dict[str, Any]) -> None:
    """What must stay silent does not even reach us."""
    assert not any(matches(stack.pattern(rule), event) for rule in RULES)


@pytest.mark.parametrize("rule", RULES)
def test_another_matcher_agrees(stack: Stack, rule: str) -> None:
    """Moto's matcher, written by others, judges as ours does, but for arrays of objects, which it cannot read."""
    pattern = stack.pattern(rule)
    other = EventPattern(json.dumps(pattern), pattern)
    collections = (
        envelopes.CONCERNS_ROOT,
        envelopes.NOT_ABOUT_ROOT,
        envelopes.TAMPERING,
        envelopes.OUR_OWN_WORK_OR_NOT_OURS,
    )
    judged = {
        name: (matches(pattern, event), other.matches_event(event))  # type: ignore[arg-type] # moto's own event type
        for collection in collections
        for name, event in collection.items()
        if not event["detail"].get("resources")
    }

    assert len(judged) > 70
    assert {name: both for name, both in judged.items() if both[0] is not both[1]} == {}
