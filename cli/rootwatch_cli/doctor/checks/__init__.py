"""The checks of `rootwatch doctor`: each judges a described deployment. Pure.

A check says nothing where all is well. What it could not read makes it "not checked", never "ok": reading raises, and
`examine` catches that around the whole check. One module per part of the way, with one function per check.
"""

from collections.abc import Iterator
from typing import Final

from rootwatch.alert import visible
from rootwatch_cli.doctor.checks import (
    alarms,
    forwarding,
    functions,
    proof,
    queues,
    rules,
    slack,
    stack,
    table,
    topics,
    trail,
)
from rootwatch_cli.doctor.checks.verdict import (
    ALARM,
    BUS,
    FUNCTION,
    KEY,
    MAPPING,
    QUEUE,
    RULE,
    SECRET,
    TABLE,
    TOPIC,
    Check,
    Finding,
    State,
    made_again,
)
from rootwatch_cli.doctor.deployment import Deployment, MissingError, NotReadError, Resource


def examine(deployment: Deployment) -> list[Finding]:
    """Make every check; return the findings, the worst first and otherwise in the order of the data's way."""
    missing: dict[str, str] = {}
    found = [_once(finding, missing) for check in CHECKS for finding in _made(check, deployment)]
    return sorted(found, key=lambda finding: list(State).index(finding.state))


def _made(check: Check, deployment: Deployment) -> Iterator[Finding]:
    if check.kind is None:
        yield from _judged(check, deployment, deployment.name, None)
        return
    resources = list(deployment.resources(check.kind))
    for resource in resources:
        yield from _judged(check, deployment, resource.logical_id, resource)
    if not resources:
        what = f"the stack's template has no {check.kind}: it is no Rootwatch, or one of another version"
        yield Finding(check.id, deployment.name, State.NOT_CHECKED, what)


def _once(finding: Finding, missing: dict[str, str]) -> Finding:
    """Return the finding; of what does not exist only the first is a fault, and the others say where to look."""
    if finding.what != _MISSING.format(finding.subject):
        return finding
    first = missing.setdefault(finding.subject, finding.check)
    if first == finding.check:
        return finding
    what = f"{finding.subject} does not exist; see the check {first}"
    return Finding(finding.check, finding.subject, State.NOT_CHECKED, what)


_MISSING: Final = "{} does not exist in AWS: it was deleted, or never made"


def _judged(check: Check, deployment: Deployment, subject: str, resource: Resource | None) -> Iterator[Finding]:
    try:
        verdicts = list(check.judge(deployment, resource))
    except NotReadError as error:
        yield Finding(check.id, subject, State.NOT_CHECKED, str(error))
        return
    except MissingError:
        yield Finding(check.id, subject, State.FAULT, _MISSING.format(subject), made_again(deployment, subject))
        return
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"AWS's answer has another form than expected ({type(error).__name__}: {visible(error, 100)})"
        yield Finding(check.id, subject, State.NOT_CHECKED, what)
        return
    for verdict in verdicts:
        yield Finding(check.id, subject, verdict.state, verdict.what, verdict.mend)
    if not verdicts:
        yield Finding(check.id, subject, State.OK, check.well)


CHECKS: Final = (
    Check("stack-status", "the stack stands", stack.status),
    Check("trail", "a trail logs in this region", trail.logging),
    Check("trail-multi-region", "a trail logs in all regions, global services included", trail.all_regions),
    Check("trail-events", "a trail logs all management events that the rules need", trail.events),
    Check("region", "root's sign-ins reach this stack", stack.region),
    Check("rule-state", "the rule is in the state that the template asks for", rules.state, RULE),
    Check("rule-pattern", "the rule lets through what the template says", rules.pattern, RULE),
    Check("rule-matches", "EventBridge lets our specimens through", rules.matching, RULE),
    Check("rule-targets", "the rule has its targets, and they their dead-letter queue", rules.targets, RULE),
    Check("bus-policy", "the hub's bus admits whom the template admits, and nobody else", forwarding.bus_policy, BUS),
    Check("bus-accounts", "every account that was heard may still forward", forwarding.admitted),
    Check(
        "forwarders",
        "this account's other regions forward; of other accounts only heartbeats tell",
        forwarding.forwarders,
    ),
    Check("queue-policy", "the queue's policy is the template's", queues.policy, QUEUE),
    Check("queue-encryption", "the queue is encrypted so that all who fill it can", queues.encryption, QUEUE),
    Check("queue-redrive", "the queue keeps and hands on as the template says", queues.redrive, QUEUE),
    Check("queue-readers", "nobody else takes messages from the queue", functions.readers, QUEUE),
    Check("dead-letters", "no dead letters lie there", queues.dead_letters, QUEUE),
    Check("mapping", "Lambda hands over what arrives", functions.mapping, MAPPING),
    Check("function", "the function is as it was deployed", functions.function, FUNCTION),
    Check("function-concurrency", "nothing keeps the function from running", functions.concurrency, FUNCTION),
    Check("account-concurrency", "the account has room for the functions", functions.account_concurrency),
    Check("table", "the table stands, protected against deletion", table.standing, TABLE),
    Check("table-stream", "what is written leaves the table on its stream", table.stream, TABLE),
    Check("table-recovery", "what is changed in the table can be undone", table.recovery, TABLE),
    Check("table-expiry", "nothing in the table expires", table.expiry, TABLE),
    Check("key-state", "the topics' key can be used", topics.key_state, KEY),
    Check("key-policy", "whoever publishes may use the topics' key", topics.key_policy, KEY),
    Check("topic-key", "the topic is encrypted with the stack's key", topics.topic_key, TOPIC),
    Check("topic-policy", "the topic's policy is the template's", topics.topic_policy, TOPIC),
    Check("topic-subscription", "somebody receives what the topic is told", topics.subscriptions, TOPIC),
    Check("slack-secret", "Slack's secret can be read and has the right form", slack.secret, SECRET),
    Check("slack", "Slack accepts what the secret holds", slack.accepted, SECRET),
    Check("alarm", "the alarm is the template's, and tells the operations topic", alarms.definition, ALARM),
    Check("alarm-state", "the alarm is not raised", alarms.state, ALARM),
    Check("canary", "the canary came back within two hours", proof.canary),
    Check("heartbeat", "every source's heartbeat came within two hours", proof.heartbeat),
    Check("watched-account", "the evidence is out of reach of the root users that it is about", stack.watched_account),
    Check("stack-protection", "the stack is protected against deletion", stack.protection),
    Check("reads-recorded", "reads are recorded, too", stack.reads),
    Check("replay-source", "only AWS can put records on the way", stack.replay),
)
"""Every check, in the order in which the data travels."""
