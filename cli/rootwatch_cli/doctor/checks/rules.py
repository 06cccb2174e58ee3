"""The rules: their state, what they let through, and to whom."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rootwatch.alert import visible
from rootwatch_cli.doctor.checks.verdict import (
    Verdict,
    as_json,
    aws,
    fault,
    made_again,
    not_checked,
    warning,
)
from rootwatch_cli.doctor.deployment import (
    UNKNOWN,
    Answer,
    Deployment,
    Resource,
    holds_unknown,
)


def place_of_rule(rule: Resource) -> tuple[str, str]:
    """Return the event bus and the name of a rule; the physical id is `bus|name` on a bus of one's own."""
    bus, _, name = (rule.physical_id or "").rpartition("|")
    return str(rule.properties.get("EventBusName") or bus or "default"), name


def _bus(rule: Resource) -> tuple[str, ...]:
    bus, _ = place_of_rule(rule)
    return () if bus == "default" else ("--event-bus-name", bus)


def _rule_name(rule: Resource) -> str:
    return place_of_rule(rule)[1]


def _put_rule(deployment: Deployment, rule: Resource) -> str:
    wanted = rule.properties
    if holds_unknown(wanted.get("EventPattern")):
        return made_again(deployment, rule.logical_id)
    how = (
        ("--schedule-expression", str(wanted["ScheduleExpression"]))
        if "ScheduleExpression" in wanted
        else ("--event-pattern", as_json(wanted["EventPattern"]))
    )
    state = str(wanted.get("State", "ENABLED"))
    return aws(deployment, "events", "put-rule", "--name", _rule_name(rule), *_bus(rule), "--state", state, *how)


def state(deployment: Deployment, rule: Resource) -> Iterator[Verdict]:
    """Compare a rule's state with the one that the template asks for."""
    state, wanted = deployment.answer("events:DescribeRule", rule.logical_id)["State"], rule.properties.get("State")
    if state == "DISABLED":
        yield fault(f"the rule {_rule_name(rule)} is switched off: it hands over nothing", _put_rule(deployment, rule))
    elif state != (wanted or "ENABLED"):
        what = f"the rule {_rule_name(rule)} is {visible(state, 60)}, not {wanted}"
        if state == "ENABLED":
            what += ": EventBridge keeps from it whatever only reads, some root sign-ins included"
        yield fault(what, _put_rule(deployment, rule))


def pattern(deployment: Deployment, rule: Resource) -> Iterator[Verdict]:
    """Compare a rule's pattern or schedule with the template's."""
    answer = deployment.answer("events:DescribeRule", rule.logical_id)
    wanted_pattern, wanted_schedule = rule.properties.get("EventPattern"), rule.properties.get("ScheduleExpression")
    if holds_unknown(wanted_pattern):
        yield not_checked("a part of the template's pattern is known to AWS alone")
    elif wanted_pattern is not None and json.loads(answer.get("EventPattern") or "{}") != wanted_pattern:
        what = (
            f"the pattern of the rule {_rule_name(rule)} is not the template's: somebody changed what it lets through"
        )
        yield fault(what, _put_rule(deployment, rule))
    if wanted_schedule is not None and answer.get("ScheduleExpression") != wanted_schedule:
        what = (
            f"the rule {_rule_name(rule)} fires {visible(answer.get('ScheduleExpression'), 60)}, not {wanted_schedule}"
        )
        yield fault(what, _put_rule(deployment, rule))


PROBES: Final[Mapping[str, Sequence[str]]] = {
    "RootRule": (
        "console_login", "console_login_failed", "cli_login", "password_recovery_requested", "access_key_created",
        "assumed", "email_changed", "account_closed", "logging_tampered", "read", "write", "rootwatch_tampered",
    ),
    "TamperRule": ("rootwatch_tampered",),
}  # fmt: skip
"""Specimens that a rule has to let through; EventBridge itself is asked whether it does."""


def matching(deployment: Deployment, rule: Resource) -> Iterator[Verdict]:
    """Look whether EventBridge itself lets our specimens through."""
    for specimen in PROBES.get(rule.logical_id, ()):
        if not deployment.answer("events:TestEventPattern", f"{rule.logical_id}/{specimen}")["Result"]:
            yield fault(
                f"EventBridge says that the rule {_rule_name(rule)} does not let our specimen {specimen} through",
                _put_rule(deployment, rule),
            )


def targets(deployment: Deployment, rule: Resource) -> Iterator[Verdict]:
    """Compare a rule's targets, with their dead-letter queue, with the template's."""
    name = _rule_name(rule)
    found = {each["Arn"]: each for each in deployment.answer("events:ListTargetsByRule", rule.logical_id)["Targets"]}
    wanted = {each["Arn"]: each for each in rule.properties.get("Targets", [])}
    if UNKNOWN in wanted:
        yield not_checked("a target of the template is known to AWS alone")
        return
    for arn, target in wanted.items():
        mend = aws(deployment, "events", "put-targets", "--rule", name, *_bus(rule), "--targets", as_json([target]))
        if arn not in found:
            yield fault(f"the rule {name} has lost its target {arn}: what it lets through does not get there", mend)
            continue
        letters = (target.get("DeadLetterConfig") or {}).get("Arn")
        if letters and (found[arn].get("DeadLetterConfig") or {}).get("Arn") != letters:
            what = f"the target {arn} of the rule {name} has no dead-letter queue: what it does not take is lost"
            yield fault(what, mend)
        if _tries(found[arn]) != _tries(target):
            yield warning(f"EventBridge tries the target {arn} of the rule {name} again in another way", mend)
    for arn in found.keys() - wanted.keys():
        mend = aws(deployment, "events", "remove-targets", "--rule", name, *_bus(rule), "--ids", str(found[arn]["Id"]))
        what = f"the rule {name} also sends to {visible(arn, 200)}, which is not of the template"
        yield warning(what, f"if nobody knows why: {mend}")


def _tries(target: Answer) -> tuple[int, int]:
    policy = target.get("RetryPolicy") or {}
    # What EventBridge does where nothing is stated.
    return int(policy.get("MaximumRetryAttempts", 185)), int(policy.get("MaximumEventAgeInSeconds", 86400))
