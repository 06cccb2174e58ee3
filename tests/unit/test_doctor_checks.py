"""Every check of `rootwatch doctor`, on both sides: on a sound deployment, and on one with one thing spoilt."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from rootwatch_cli.deployed import Where
from rootwatch_cli.doctor import command
from rootwatch_cli.doctor.checks import CHECKS, examine
from rootwatch_cli.doctor.checks.trail import logged_by
from rootwatch_cli.doctor.checks.verdict import Finding, State
from rootwatch_cli.doctor.command import NOT_ALL_CHECKED, status_of
from rootwatch_cli.doctor.deployment import UNKNOWN, Deployment, NotAnswered, NotThere, Question, holds_unknown
from tests.builders.deployments import NOW, TRAIL, WATCHED, changed, forwarder, sound_deployment, with_answer

Spoil = Callable[[Deployment], Deployment]


@dataclass(frozen=True, slots=True)
class Spoilt:
    """One thing that is not as it should be, the check that has to find it, how bad it is and a word it has to say."""

    check: str
    state: State
    word: str
    spoil: Spoil


OFF = False
"""By name, so that what is switched off reads as such."""


def to(action: str, subject: str, path: str, value: Any) -> Spoil:
    """Return what changes one value in one of AWS's answers."""
    return lambda deployment: changed(deployment, action, subject, path, value)


def answered(action: str, subject: str, answer: Any) -> Spoil:
    """Return what lets AWS answer something else."""
    return lambda deployment: with_answer(deployment, action, subject, answer)


def of_stack(**changes: Any) -> Spoil:
    """Return what changes CloudFormation's description of the stack."""
    return lambda deployment: replace(deployment, stack={**deployment.stack, **changes})


def parameter(name: str, value: str) -> Spoil:
    """Return what gives a parameter another value, and leaves all that depends on it as it would then be."""
    return lambda _deployment: sound_deployment(**{name: value})


def moved_to(region: str) -> Spoil:
    """Return what puts the region check elsewhere, with nothing forwarded."""
    alone = answered("dynamodb:Query", "COVERAGE", {"Items": []})
    return lambda deployment: replace(alone(deployment), region=region)


def alarm(field: str, value: Any) -> Spoil:
    """Return what changes the first alarm."""
    return to("cloudwatch:DescribeAlarms", "", f"MetricAlarms.0.{field}", value)


def attribute(queue: str, path: str, value: Any) -> Spoil:
    """Return what changes an attribute of a queue."""
    return to("sqs:GetQueueAttributes", queue, f"Attributes.{path}", value)


def selectors(answer: dict[str, Any]) -> Spoil:
    """Return what lets the trail have other selectors."""
    return answered("cloudtrail:GetEventSelectors", TRAIL, answer)


def elsewhere(spoil: Spoil) -> Spoil:
    """Return what spoils the forwarder of another region of the stack's own account."""
    return lambda deployment: spoil(forwarder(deployment, "eu-west-1"))


MANAGEMENT = {"Field": "eventCategory", "Equals": ["Management"]}
OLD = (NOW - timedelta(hours=3)).isoformat()
FAULT, WARNING, NOT_CHECKED = State.FAULT, State.WARNING, State.NOT_CHECKED
TRAILS, RULE, TARGETS = "cloudtrail:DescribeTrails", "events:DescribeRule", "events:ListTargetsByRule"
BUS, LETTERS = "events:DescribeEventBus", "sqs:GetQueueAttributes"
MAPPING, FUNCTION = "lambda:GetEventSourceMapping", "lambda:GetFunctionConfiguration"
TABLE, TOPIC, SUBSCRIPTIONS = "dynamodb:DescribeTable", "sns:GetTopicAttributes", "sns:ListSubscriptionsByTopic"
SECRET, KEY_POLICY = "secretsmanager:GetSecretValue", "kms:GetKeyPolicy"
INTAKE = "DetectFunctionIntake"
PROOF, PLACES = ("dynamodb:Query", "WATCHDOG"), ("dynamodb:Query", "COVERAGE")
DENY = {"Sid": "X", "Effect": "Deny", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"}

SPOILT = {
    "stack rolled back": Spoilt("stack-status", FAULT, "ROLLBACK", of_stack(StackStatus="UPDATE_ROLLBACK_FAILED")),
    "stack being updated": Spoilt("stack-status", WARNING, "IN_PROGRESS", of_stack(StackStatus="UPDATE_IN_PROGRESS")),
    "no termination protection": Spoilt(
        "stack-protection", WARNING, "termination", of_stack(EnableTerminationProtection=False)
    ),
    "reads not recorded": Spoilt("reads-recorded", WARNING, "reads", parameter("RecordReadOnlyEvents", "false")),
    "replay admitted": Spoilt("replay-source", WARNING, "forge", parameter("ReplaySource", "rootwatch.replay")),
    "no trail": Spoilt("trail", FAULT, "no trail", answered(TRAILS, "", {"trailList": []})),
    "trail of another region": Spoilt(
        "trail", FAULT, "no trail", answered(TRAILS, "", {"trailList": [{"HomeRegion": "eu-west-1", "Name": "t"}]})
    ),
    "trail stopped": Spoilt("trail", FAULT, "stopped", to("cloudtrail:GetTrailStatus", TRAIL, "IsLogging", OFF)),
    "trail of one region": Spoilt(
        "trail-multi-region", WARNING, "all regions", to(TRAILS, "", "trailList.0.IsMultiRegionTrail", OFF)
    ),
    "trail without global services": Spoilt(
        "trail-multi-region", FAULT, "global services",
        lambda deployment: changed(
            changed(deployment, TRAILS, "", "trailList.0.IsMultiRegionTrail", OFF),
            TRAILS, "", "trailList.0.IncludeGlobalServiceEvents", OFF,
        ),
    ),
    "trail without management events": Spoilt(
        "trail-events", FAULT, "write",
        to("cloudtrail:GetEventSelectors", TRAIL, "EventSelectors.0.IncludeManagementEvents", OFF),
    ),
    "trail without reads": Spoilt(
        "trail-events", FAULT, "read",
        to("cloudtrail:GetEventSelectors", TRAIL, "EventSelectors.0.ReadWriteType", "WriteOnly"),
    ),
    "trail without KMS": Spoilt(
        "trail-events", WARNING, "kms.amazonaws.com",
        to("cloudtrail:GetEventSelectors", TRAIL, "EventSelectors.0.ExcludeManagementEventSources",
           ["kms.amazonaws.com"]),
    ),
    "advanced selectors without reads": Spoilt(
        "trail-events", FAULT, "read",
        selectors({"AdvancedEventSelectors": [
            {"FieldSelectors": [MANAGEMENT, {"Field": "readOnly", "Equals": ["false"]}]}]}),
    ),
    "advanced selectors of data events only": Spoilt(
        "trail-events", FAULT, "write",
        selectors({"AdvancedEventSelectors": [
            {"FieldSelectors": [{"Field": "eventCategory", "Equals": ["Data"]}]}]}),
    ),
    "region without sign-ins": Spoilt("region", FAULT, "no root sign-in", moved_to("eu-central-1")),
    "region with some of the sign-ins": Spoilt("region", WARNING, "us-west-2", moved_to("us-east-1")),
    "watches its own account": Spoilt(
        "watched-account", WARNING, "not evidence", answered("dynamodb:Query", "COVERAGE", {"Items": []})
    ),
    "rule deleted": Spoilt("rule-state", FAULT, "does not exist", answered(RULE, "RootRule", NotThere())),
    "rule disabled": Spoilt("rule-state", FAULT, "switched off", to(RULE, "RootRule", "State", "DISABLED")),
    "rule without reads": Spoilt("rule-state", FAULT, "only reads", to(RULE, "RootRule", "State", "ENABLED")),
    "watchdog's schedule off": Spoilt(
        "rule-state", FAULT, "switched off", to(RULE, "WatchdogFunctionEveryMinute", "State", "DISABLED")
    ),
    "pattern narrowed": Spoilt(
        "rule-pattern", FAULT, "pattern", to(RULE, "RootRule", "EventPattern.source", ["aws.signin"])
    ),
    "schedule stretched": Spoilt(
        "rule-pattern", FAULT, "fires",
        to(RULE, "WatchdogFunctionEveryMinute", "ScheduleExpression", "rate(365 days)"),
    ),
    "pattern that EventBridge reads otherwise": Spoilt(
        "rule-matches", FAULT, "console_login",
        to("events:TestEventPattern", "RootRule/console_login", "Result", OFF),
    ),
    "target lost": Spoilt("rule-targets", FAULT, "lost its target", to(TARGETS, "RootRule", "Targets", [])),
    "target without a dead-letter queue": Spoilt(
        "rule-targets", FAULT, "dead-letter", to(TARGETS, "RootRule", "Targets.0.DeadLetterConfig", None)
    ),
    "target given up at once": Spoilt(
        "rule-targets", WARNING, "again", to(TARGETS, "RootRule", "Targets.0.RetryPolicy.MaximumRetryAttempts", 0)
    ),
    "another target": Spoilt(
        "rule-targets", WARNING, "also sends",
        lambda deployment: with_answer(deployment, TARGETS, "RootRule", {"Targets": [
            *deployment.answer(TARGETS, "RootRule")["Targets"], {"Id": "x", "Arn": "arn:aws:sqs:x:y:z"}]}),
    ),
    "hub's bus without its policy": Spoilt("bus-policy", FAULT, "is refused", to(BUS, "ForwardedBus", "Policy", None)),
    "hub's bus without one account": Spoilt(
        "bus-policy", FAULT, "444455556666", to(BUS, "ForwardedBus", "Policy.Statement.0.Principal.AWS", [])
    ),
    "hub's bus open to everybody": Spoilt(
        "bus-policy", FAULT, "open to everybody",
        lambda deployment: with_answer(deployment, BUS, "ForwardedBus", {"Policy": json.dumps({"Statement": [
            *json.loads(deployment.answer(BUS, "ForwardedBus")["Policy"])["Statement"],
            {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "events:PutEvents", "Resource": "*"}]})}),
    ),
    "hub's bus deleted": Spoilt("bus-policy", FAULT, "does not exist", answered(BUS, "ForwardedBus", NotThere())),
    "account not listed any more": Spoilt("bus-accounts", FAULT, "444455556666", parameter("ForwardingAccounts", "")),
    "forwarder deleted": Spoilt(
        "forwarders", FAULT, "does not exist", elsewhere(answered(RULE, "eu-west-1/root", NotThere()))
    ),
    "forwarder disabled": Spoilt(
        "forwarders", FAULT, "switched off", elsewhere(to(RULE, "eu-west-1/tamper", "State", "DISABLED"))
    ),
    "forwarder without reads": Spoilt(
        "forwarders", FAULT, "reads are lost", elsewhere(to(RULE, "eu-west-1/root", "State", "ENABLED"))
    ),
    "forwarder without its target": Spoilt(
        "forwarders", FAULT, "lost its target", elsewhere(to(TARGETS, "eu-west-1/root", "Targets", []))
    ),
    "forwarder with dead letters": Spoilt(
        "forwarders", FAULT, "1 record of eu-west-1",
        elsewhere(to(LETTERS, "eu-west-1/dead-letter", "Attributes.ApproximateNumberOfMessages", "1")),
    ),
    "forwarder without a dead-letter queue": Spoilt(
        "forwarders", FAULT, "is lost", elsewhere(answered(LETTERS, "eu-west-1/dead-letter", NotThere()))
    ),
    "region that may not be asked": Spoilt(
        "forwarders", NOT_CHECKED, "no permission",
        elsewhere(answered(RULE, "eu-west-1/root", NotAnswered("no permission"))),
    ),
    "queue deleted": Spoilt(
        "queue-policy", FAULT, "does not exist", answered("sqs:GetQueueAttributes", "IntakeQueue", NotThere())
    ),
    "queue shut to the rules": Spoilt(
        "queue-policy", FAULT, "no longer says", attribute("IntakeQueue", "Policy.Statement", [])
    ),
    "queue open to one rule only": Spoilt(
        "queue-policy", FAULT, "no longer says",
        attribute("IntakeQueue", "Policy.Statement.0.Condition.ArnEquals.aws:SourceArn", "arn:aws:events:x:y:rule/z"),
    ),
    "queue that denies": Spoilt(
        "queue-policy", FAULT, "besides", attribute("NotifyDeadLetterQueue", "Policy.Statement.0", DENY)
    ),
    "queue open to the world": Spoilt(
        "queue-policy", WARNING, "besides",
        attribute("NotifyDeadLetterQueue", "Policy.Statement.0", {**DENY, "Effect": "Allow"}),
    ),
    "queue not encrypted": Spoilt(
        "queue-encryption", WARNING, "not encrypted", attribute("IntakeQueue", "SqsManagedSseEnabled", "false")
    ),
    "queue under the AWS-managed key": Spoilt(
        "queue-encryption", FAULT, "AWS-managed", attribute("IntakeQueue", "KmsMasterKeyId", "alias/aws/sqs")
    ),
    "queue under some key": Spoilt(
        "queue-encryption", WARNING, "that key", attribute("IntakeQueue", "KmsMasterKeyId", "alias/mine")
    ),
    "queue without redrive": Spoilt(
        "queue-redrive", FAULT, "redrive policy", attribute("IntakeQueue", "RedrivePolicy", None)
    ),
    "queue that gives up at once": Spoilt(
        "queue-redrive", FAULT, "redrive policy", attribute("IntakeQueue", "RedrivePolicy.maxReceiveCount", 1)
    ),
    "dead letters of anybody": Spoilt(
        "queue-redrive", FAULT, "redrive-allow", attribute("IntakeDeadLetterQueue", "RedriveAllowPolicy", None)
    ),
    "queue that forgets": Spoilt(
        "queue-redrive", WARNING, "60 seconds", attribute("IntakeQueue", "MessageRetentionPeriod", "60")
    ),
    "another reader of the queue": Spoilt(
        "queue-readers", FAULT, "another function",
        answered("lambda:ListEventSourceMappings", "IntakeQueue",
                 {"EventSourceMappings": [{"UUID": "other", "State": "Enabled", "FunctionArn": "arn:x"}]}),
    ),
    "a dead letter": Spoilt(
        "dead-letters", FAULT, "1 message lies", attribute("IntakeDeadLetterQueue", "ApproximateNumberOfMessages", "1")
    ),
    "dead letters that somebody looks at": Spoilt(
        "dead-letters", FAULT, "3 messages lie",
        attribute("RuleDeadLetterQueue", "ApproximateNumberOfMessagesNotVisible", "3"),
    ),
    "mapping off": Spoilt("mapping", FAULT, "handed nothing", to(MAPPING, INTAKE, "State", "Disabled")),
    "mapping refused": Spoilt(
        "mapping", FAULT, "permission", to(MAPPING, INTAKE, "LastProcessingResult", "PROBLEM: no permission")
    ),
    "mapping without a bound": Spoilt("mapping", WARNING, "at once", to(MAPPING, INTAKE, "ScalingConfig", None)),
    "mapping that knows no single failures": Spoilt(
        "mapping", FAULT, "single failures", to(MAPPING, INTAKE, "FunctionResponseTypes", [])
    ),
    "stream without a dead-letter queue": Spoilt(
        "mapping", FAULT, "lost", to(MAPPING, "NotifySnsFunctionDeliveries", "DestinationConfig", {})
    ),
    "stream with another filter": Spoilt(
        "mapping", FAULT, "filter",
        to(MAPPING, "NotifySnsFunctionDeliveries", "FilterCriteria.Filters.0.Pattern", '{"eventName":["REMOVE"]}'),
    ),
    "function failed": Spoilt("function", FAULT, "Failed", to(FUNCTION, "DetectFunction", "State", "Failed")),
    "function not updated": Spoilt(
        "function", FAULT, "update", to(FUNCTION, "DetectFunction", "LastUpdateStatus", "Failed")
    ),
    "function under another role": Spoilt(
        "function", FAULT, "role", to(FUNCTION, "DetectFunction", "Role", "arn:aws:iam::111122223333:role/x")
    ),
    "function with another table": Spoilt(
        "function", FAULT, "TABLE_NAME", to(FUNCTION, "DetectFunction", "Environment.Variables.TABLE_NAME", "other")
    ),
    "function throttled to nothing": Spoilt(
        "function-concurrency", FAULT, "switched off",
        answered("lambda:GetFunctionConcurrency", "DetectFunction", {"ReservedConcurrentExecutions": 0}),
    ),
    "function throttled": Spoilt(
        "function-concurrency", WARNING, "at most 1",
        answered("lambda:GetFunctionConcurrency", "DetectFunction", {"ReservedConcurrentExecutions": 1}),
    ),
    "account without room": Spoilt(
        "account-concurrency", FAULT, "0 are free",
        to("lambda:GetAccountSettings", "", "AccountLimit.UnreservedConcurrentExecutions", 0),
    ),
    "account with little room": Spoilt(
        "account-concurrency", WARNING, "only 3",
        to("lambda:GetAccountSettings", "", "AccountLimit.UnreservedConcurrentExecutions", 3),
    ),
    "table gone": Spoilt("table", FAULT, "does not exist", answered(TABLE, "AuditTable", NotThere())),
    "table archived": Spoilt("table", FAULT, "recorded", to(TABLE, "AuditTable", "Table.TableStatus", "ARCHIVED")),
    "table without protection": Spoilt(
        "table", FAULT, "deletion protection", to(TABLE, "AuditTable", "Table.DeletionProtectionEnabled", OFF)
    ),
    "table without an index": Spoilt(
        "table", FAULT, "lost its index", to(TABLE, "AuditTable", "Table.GlobalSecondaryIndexes", [])
    ),
    "table without a stream": Spoilt(
        "table-stream", FAULT, "no stream", to(TABLE, "AuditTable", "Table.StreamSpecification", None)
    ),
    "table with another stream": Spoilt(
        "table-stream", FAULT, "KEYS_ONLY",
        to(TABLE, "AuditTable", "Table.StreamSpecification.StreamViewType", "KEYS_ONLY"),
    ),
    "table without recovery": Spoilt(
        "table-recovery", FAULT, "recovery",
        to("dynamodb:DescribeContinuousBackups", "AuditTable",
           "ContinuousBackupsDescription.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus", "DISABLED"),
    ),
    "table that forgets": Spoilt(
        "table-expiry", FAULT, "event_time",
        answered("dynamodb:DescribeTimeToLive", "AuditTable",
                 {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": "event_time"}}),
    ),
    "key disabled": Spoilt(
        "key-state", FAULT, "nothing can be published", to("kms:DescribeKey", "RootwatchKey", "KeyMetadata.KeyState",
                                                           "Disabled")
    ),
    "key about to be deleted": Spoilt(
        "key-state", FAULT, "deleted", to("kms:DescribeKey", "RootwatchKey", "KeyMetadata.KeyState", "PendingDeletion")
    ),
    "key that does not admit EventBridge": Spoilt(
        "key-policy", FAULT, "silently", to(KEY_POLICY, "RootwatchKey", "Policy.Statement.1", None)
    ),
    "key with a condition on EventBridge": Spoilt(
        "key-policy", FAULT, "silently",
        to(KEY_POLICY, "RootwatchKey", "Policy.Statement.1.Condition",
           {"StringEquals": {"aws:SourceAccount": "111122223333"}}),
    ),
    "topic under the AWS-managed key": Spoilt(
        "topic-key", FAULT, "AWS-managed", to(TOPIC, "AlertTopic", "Attributes.KmsMasterKeyId", "alias/aws/sns")
    ),
    "topic under some key": Spoilt(
        "topic-key", FAULT, "another key", to(TOPIC, "AlertTopic", "Attributes.KmsMasterKeyId", "alias/mine")
    ),
    "topic not encrypted": Spoilt(
        "topic-key", WARNING, "not encrypted", to(TOPIC, "AlertTopic", "Attributes.KmsMasterKeyId", None)
    ),
    "topic shut to the tamper rule": Spoilt(
        "topic-policy", FAULT, "events.amazonaws.com",
        to(TOPIC, "OperationsTopic", "Attributes.Policy.Statement.0", None),
    ),
    "topic gone": Spoilt("topic-key", FAULT, "does not exist", answered(TOPIC, "AlertTopic", NotThere())),
    "nobody subscribed": Spoilt(
        "topic-subscription", FAULT, "nobody", answered(SUBSCRIPTIONS, "AlertTopic", {"Subscriptions": []})
    ),
    "nobody confirmed": Spoilt(
        "topic-subscription", FAULT, "confirm",
        to(SUBSCRIPTIONS, "AlertTopic", "Subscriptions.0.SubscriptionArn", "PendingConfirmation"),
    ),
    "one of two confirmed": Spoilt(
        "topic-subscription", WARNING, "late@example.com",
        lambda deployment: with_answer(deployment, SUBSCRIPTIONS, "AlertTopic", {"Subscriptions": [
            *deployment.answer(SUBSCRIPTIONS, "AlertTopic")["Subscriptions"],
            {"SubscriptionArn": "PendingConfirmation", "Protocol": "email", "Endpoint": "late@example.com"}]}),
    ),
    "secret gone": Spoilt("slack-secret", FAULT, "does not exist", answered(SECRET, "SlackSecret", NotThere())),
    "secret of another form": Spoilt(
        "slack-secret", FAULT, "not JSON", answered(SECRET, "SlackSecret", {"problem": "Slack's secret is not JSON."})
    ),
    "secret empty": Spoilt(
        "slack-secret", WARNING, "not set up", answered(SECRET, "SlackSecret", {"form": "none"})
    ),
    "buttons without a signing secret": Spoilt(
        "slack-secret", FAULT, "every press is refused", parameter("SlackButtons", "true")
    ),
    "Slack refuses": Spoilt(
        "slack", FAULT, "removed",
        answered("slack:Accepts", "SlackSecret", {"accepted": False, "why": "the webhook was removed"}),
    ),
    "alarm deleted": Spoilt(
        "alarm", FAULT, "does not exist", answered("cloudwatch:DescribeAlarms", "", {"MetricAlarms": []})
    ),
    "alarm without actions": Spoilt("alarm", FAULT, "switched off", alarm("ActionsEnabled", OFF)),
    "alarm that tells nobody": Spoilt("alarm", FAULT, "tells nobody", alarm("AlarmActions", [])),
    "alarm with another threshold": Spoilt("alarm", FAULT, "Threshold", alarm("Threshold", 1000000.0)),
    "alarm on another thing": Spoilt("alarm", FAULT, "Dimensions", alarm("Dimensions", [{"Name": "x", "Value": "y"}])),
    "alarm raised": Spoilt("alarm-state", WARNING, "in alarm", alarm("StateValue", "ALARM")),
    "canary late": Spoilt("canary", FAULT, "3.0 hours", to(*PROOF, "Items.0.sendings.canary.proven_at", OLD)),
    "canary never": Spoilt("canary", FAULT, "ever", to(*PROOF, "Items.0.sendings.canary.proven_at", None)),
    "canary waited for": Spoilt(
        "canary", NOT_CHECKED, "waited for",
        answered(*PROOF, {"Items": [{"sk": "PROOF", "sendings": {"canary": {"since": NOW.isoformat()}}}]}),
    ),
    "canary never sent": Spoilt("canary", FAULT, "ever", answered(*PROOF, {"Items": [{"sk": "STATE"}]})),
    "heartbeat late": Spoilt("heartbeat", FAULT, "us-west-2", to(*PLACES, "Items.3.heartbeat_at", OLD)),
    "heartbeat never": Spoilt("heartbeat", FAULT, "ever", to(*PLACES, "Items.3.heartbeat_at", None)),
    "heartbeat waited for": Spoilt(
        "heartbeat", NOT_CHECKED, "waited for",
        answered(*PLACES, {"Items": [{"sk": "111122223333#us-east-1", "first_at": NOW.isoformat()}]}),
    ),
    "no heartbeat of the stack itself": Spoilt(
        "heartbeat", FAULT, "111122223333", to(*PLACES, "Items.0", None)
    ),
    "heartbeat of nobody": Spoilt("heartbeat", FAULT, "ever", answered(*PLACES, {"Items": []})),
    "heartbeat changed in the table": Spoilt(
        "heartbeat", NOT_CHECKED, WATCHED, to(*PLACES, "Items.3.heartbeat_at", "no moment")
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def sound() -> Deployment:
    """A deployment in which everything is as it should be. Tests only read it."""
    return sound_deployment()


def of(findings: list[Finding], check: str) -> list[Finding]:
    """Return what a check found that is not well."""
    return [finding for finding in findings if finding.check == check and finding.state is not State.OK]


def test_a_sound_deployment(sound: Deployment) -> None:
    """In a sound deployment every check is made, and every one of them finds nothing."""
    findings = examine(sound)

    assert {finding.check for finding in findings} == {check.id for check in CHECKS}
    assert [finding for finding in findings if finding.state is not State.OK] == []
    assert status_of(findings) == 0


@pytest.mark.parametrize("name", SPOILT)
def test_what_is_spoilt_is_found(sound: Deployment, name: str) -> None:
    """Each thing that is spoilt is found by its check, with its state, in words, and with a way to mend it."""
    spoilt = SPOILT[name]
    found = of(examine(spoilt.spoil(sound)), spoilt.check)

    assert spoilt.state in {finding.state for finding in found}
    [*told] = [finding for finding in found if finding.state is spoilt.state and spoilt.word in finding.what]
    assert told, found
    assert all(finding.mend for finding in told) is (spoilt.state is not NOT_CHECKED)
    assert not any("(not known)" in finding.mend for finding in told)


def test_every_check_is_spoilt_once() -> None:
    """No check is left without something that it has to find."""
    assert {check.id for check in CHECKS} == {spoilt.check for spoilt in SPOILT.values()}


def test_what_is_refused_is_never_ok(sound: Deployment) -> None:
    """Whatever AWS refuses to say turns what depends on it into "not checked", with AWS's words, and nothing else."""
    before = {(finding.check, finding.subject): finding for finding in examine(sound)}
    for question in sound.answers:
        refused = NotAnswered(f"AWS refuses {question.action} to these credentials.")
        findings = examine(with_answer(sound, question.action, question.subject, refused))
        differing = [each for each in findings if each != before[each.check, each.subject]]

        assert differing, question
        assert {each.state for each in differing} == {NOT_CHECKED}, question
        assert {each.what for each in differing} == {refused.why}
        assert status_of(findings) == NOT_ALL_CHECKED


@pytest.mark.parametrize("form", [{}, {"Attributes": None}, {"State": 7}, {"Policy": "no JSON"}])
def test_an_answer_of_another_form_stops_nothing(sound: Deployment, form: dict[str, Any]) -> None:
    """What AWS answers in a form that nobody knows ends no check with a traceback and stops no other one."""
    for question in sound.answers:
        findings = examine(with_answer(sound, question.action, question.subject, form))
        assert {finding.check for finding in findings} == {check.id for check in CHECKS}


def test_a_place_that_nobody_waits_for(sound: Deployment) -> None:
    """A place that was retired is no heartbeat that is missing, and no region or account that is covered."""
    late = changed(sound, *PLACES, "Items.3.heartbeat_at", OLD)
    retired = changed(late, *PLACES, "Items.3.retired_at", OLD)

    assert of(examine(retired), "heartbeat") == []
    assert "us-west-2" in of(examine(retired), "region")[0].what


def test_a_fault_decides_the_exit_status(sound: Deployment) -> None:
    """Beside a fault, what could not be checked does not matter to a script; beside a warning, it does."""
    fault, unknown = SPOILT["rule disabled"].spoil(sound), SPOILT["canary waited for"]

    assert status_of(examine(unknown.spoil(fault))) == 1
    assert status_of(examine(SPOILT["topic not encrypted"].spoil(sound))) == 0
    assert status_of(examine(unknown.spoil(sound))) == NOT_ALL_CHECKED


def test_the_command_that_mends_a_rule_is_whole(sound: Deployment) -> None:
    """The command gives the rule its state and its whole pattern back: enable-rule would lose the reads."""
    [finding] = of(examine(SPOILT["rule disabled"].spoil(sound)), "rule-state")
    pattern = sound.resource("RootRule").properties["EventPattern"]

    assert "put-rule --name rootwatch-root --state ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS" in finding.mend
    assert json.dumps(pattern, separators=(",", ":"), sort_keys=True) in finding.mend


def test_what_is_gone_is_told_once(sound: Deployment) -> None:
    """A queue that was deleted is one fault: its other checks say where it is told, and are not made."""
    findings = [each for each in examine(SPOILT["queue deleted"].spoil(sound)) if each.subject == "IntakeQueue"]

    assert [each.check for each in findings if each.state is FAULT] == ["queue-policy"]
    others = [each for each in findings if each.state is NOT_CHECKED]
    assert {each.check for each in others} == {"queue-encryption", "queue-redrive", "dead-letters"}
    assert {each.what for each in others} == {"IntakeQueue does not exist; see the check queue-policy"}


def test_hostile_text_is_shown_as_text(sound: Deployment) -> None:
    """A name that somebody chose for a target can forge no line and hide no character."""
    arn = "arn:aws:sqs:x:y:z\nOK everything\u202e\x1b[31m"
    spoilt = with_answer(sound, TARGETS, "RootRule", {"Targets": [{"Id": "i", "Arn": arn}]})
    told = [finding.what for finding in of(examine(spoilt), "rule-targets")]

    assert any("arn:aws:sqs:x:y:z OK everything" in each for each in told)
    assert all(each.isprintable() and each.isascii() for each in told)


def test_a_rule_on_a_bus_of_its_own(sound: Deployment) -> None:
    """A rule that is on another bus than the default one is asked for, and mended, there."""
    template = json.loads(json.dumps(sound.template))
    template["Resources"]["RootRule"]["Properties"]["EventBusName"] = "rootwatch-forwarded"
    spoilt = changed(replace(sound, template=template), RULE, "RootRule", "State", "DISABLED")
    [finding] = of(examine(spoilt), "rule-state")

    assert "--name rootwatch-root --event-bus-name rootwatch-forwarded" in finding.mend


@pytest.mark.parametrize(
    ("selector", "reads", "writes", "excluded"),
    [
        ({}, True, True, set()),
        ({"EventSelectors": [{"ReadWriteType": "ReadOnly"}]}, True, False, set()),
        ({"AdvancedEventSelectors": [{"FieldSelectors": [MANAGEMENT]}]}, True, True, set()),
        (
            {"AdvancedEventSelectors": [
                {"FieldSelectors": [MANAGEMENT, {"Field": "readOnly", "Equals": ["true"]}]},
                {"FieldSelectors": [MANAGEMENT, {"Field": "readOnly", "Equals": ["false"]}]},
            ]},
            True, True, set(),
        ),
        (
            {"AdvancedEventSelectors": [{"FieldSelectors": [
                MANAGEMENT, {"Field": "eventSource", "NotEquals": ["kms.amazonaws.com"]}]}]},
            True, True, {"kms.amazonaws.com"},
        ),
        (
            {"AdvancedEventSelectors": [{"FieldSelectors": [
                MANAGEMENT, {"Field": "eventSource", "Equals": ["s3.amazonaws.com"]}]}]},
            False, False, set(),
        ),
        (
            {"AdvancedEventSelectors": [{"FieldSelectors": [
                MANAGEMENT, {"Field": "eventName", "NotStartsWith": ["Console"]}]}]},
            False, False, set(),
        ),
    ],
)  # fmt: skip
def test_what_a_trail_logs(selector: dict[str, Any], reads: bool, writes: bool, excluded: set[str]) -> None:  # noqa: FBT001 - columns
    """Basic and advanced selectors are read as CloudTrail's documentation says; a condition on more is not all."""
    logged = logged_by(selector)

    assert (logged.reads, logged.writes, set(logged.excluded)) == (reads, writes, excluded)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            {"Fn::Sub": "${AWS::StackName}-x ${IntakeQueue.Arn}"},
            "rootwatch-x arn:aws:sqs:us-east-1:111122223333:rootwatch-intake",
        ),
        ({"Fn::Join": ["-", ["a", {"Ref": "AWS::Region"}]]}, "a-us-east-1"),
        ({"Fn::If": ["ReplayIsAdmitted", 1, {"Ref": "AWS::NoValue"}]}, None),
        ([{"Ref": "AWS::NoValue"}, "b"], ["b"]),
        ({"Fn::GetAtt": ["AuditTable", "StreamArn"]}, UNKNOWN),
        ({"Fn::Sub": "${AuditTable.StreamArn}/x"}, UNKNOWN),
        ({"Fn::ImportValue": "x"}, UNKNOWN),
        ({"Ref": "Nothing"}, UNKNOWN),
        ({"Fn::And": [{"Condition": "ReadsAreRecorded"}, {"Fn::Not": [{"Condition": "ReplayIsAdmitted"}]}]}, True),
        ({"Fn::Or": [{"Condition": "ReplayIsAdmitted"}, {"Fn::Equals": ["a", "b"]}]}, False),
    ],
)  # fmt: skip
def test_the_template_is_worked_out(sound: Deployment, value: Any, expected: Any) -> None:
    """The functions that a template may use are worked out as CloudFormation does; what AWS alone knows is unknown."""
    found = sound.resolve({"x": value}).get("x")

    assert found == expected
    assert holds_unknown([{"y": found}]) is (expected is UNKNOWN)


def test_what_the_template_asks_for_is_what_another_reader_finds(sound: Deployment) -> None:
    """Patterns, targets and policies come out as the reader of the template's own tests works them out."""
    from tests.template.stack import Stack  # noqa: PLC0415 - the other reader

    stack = Stack(ForwardingAccounts=WATCHED)
    for kind in ("AWS::Events::Rule", "AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "AWS::KMS::Key", "AWS::SNS::Topic"):
        for resource in sound.resources(kind):
            assert resource.properties == stack.of_type(kind)[resource.logical_id]


def test_a_question_that_was_not_asked_is_not_answered(sound: Deployment) -> None:
    """A check whose question was forgotten says so, and does not pass."""
    answers = {question: answer for question, answer in sound.answers.items() if question != Question(RULE, "RootRule")}
    [finding] = of(examine(replace(sound, answers=answers)), "rule-state")

    assert finding.state is NOT_CHECKED


def test_the_forwarders_of_other_regions(sound: Deployment) -> None:
    """A sound forwarder in another region is well; a broken one is made again, since an update mends nothing."""
    [broken] = of(examine(SPOILT["forwarder without its target"].spoil(sound)), "forwarders")
    [disabled] = of(examine(SPOILT["forwarder disabled"].spoil(sound)), "forwarders")

    assert of(examine(forwarder(sound, "eu-west-1")), "forwarders") == []
    assert broken.mend == (
        "aws cloudformation delete-stack --stack-name rootwatch-forward --region eu-west-1; when it is gone: "
        "rootwatch deploy-forwarders --regions eu-west-1 --stack rootwatch --region us-east-1"
    )
    assert "put-rule --name rootwatch-forward-tamper --state ENABLED --event-pattern" in disabled.mend


def test_an_organization_s_accounts_are_not_guessed() -> None:
    """Who belongs to an organization is not known here: no account that was heard is called not admitted."""
    findings = examine(sound_deployment(OrganizationId="o-a1b2c3d4e5", ForwardingAccounts=""))

    assert of(findings, "bus-accounts") == []
    assert of(findings, "bus-policy") == []


def test_a_silent_forwarder_is_mended_where_it_is(sound: Deployment) -> None:
    """Whose heartbeat is missing is named with what to do there; the hub's own is for its trail and watchdog."""
    places = [{"sk": f"{place}#us-east-1", "first_at": OLD, "heartbeat_at": OLD} for place in (WATCHED, "111122223333")]
    found = of(examine(with_answer(sound, *PLACES, {"Items": places})), "heartbeat")
    [silent] = [each for each in found if WATCHED in each.what]

    assert len(found) == 2
    assert "deploy template-forward.yaml there again" in silent.mend
    assert f"rootwatch coverage --retire {WATCHED}/us-east-1 --stack rootwatch" in silent.mend


def test_one_damaged_place_hides_no_silence(sound: Deployment) -> None:
    """Who damages what the table knows of one place cannot keep doctor from telling that another one is silent."""
    damaged = changed(sound, *PLACES, "Items.1.heartbeat_at", 7)
    found = of(examine(changed(damaged, *PLACES, "Items.3.heartbeat_at", OLD)), "heartbeat")

    assert [(each.state, "us-west-2" in each.what) for each in found] == [(FAULT, True), (NOT_CHECKED, False)]


def test_a_stack_that_was_just_made_is_waited_for(sound: Deployment) -> None:
    """Before its watchdog ran for the first time nothing is known; that is no fault until the first signs are due."""
    nothing = replace(SPOILT["heartbeat of nobody"].spoil(sound), stack={**sound.stack, "CreationTime": NOW})
    fresh = with_answer(nothing, *PROOF, {"Items": []})
    later = replace(fresh, now=NOW + timedelta(hours=3))

    for check in ("canary", "heartbeat"):
        assert [each.state for each in of(examine(fresh), check)] == [NOT_CHECKED]
        assert [each.state for each in of(examine(later), check)] == [FAULT]


def test_a_silent_organization_is_told_in_a_few_words(sound: Deployment) -> None:
    """Where hundreds of places are silent, the first are told by name and the others by their number."""
    places = [{"sk": f"{number:012}#eu-west-1", "first_at": OLD, "heartbeat_at": OLD} for number in range(300)]
    hub = {"sk": "111122223333#us-east-1", "first_at": OLD, "heartbeat_at": NOW.isoformat()}
    *first, last = of(examine(with_answer(sound, *PLACES, {"Items": [hub, *places]})), "heartbeat")

    assert len(first) == 20
    assert last.what == "280 more accounts or regions are silent"
    assert "rootwatch coverage" in last.mend


def test_what_many_checks_found_alike_is_printed_once(
    sound: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One refusal that keeps every alarm from being checked is one paragraph; as JSON each check has its line."""
    refused = with_answer(sound, "cloudwatch:DescribeAlarms", "", NotAnswered("AWS refuses DescribeAlarms."))
    monkeypatch.setattr(command, "look_at", lambda _: refused)
    monkeypatch.setenv("COLUMNS", "80")

    assert command.run_doctor(Where(), as_json=False) == NOT_ALL_CHECKED
    shown = capsys.readouterr().out
    assert shown.count("AWS refuses DescribeAlarms.") == 1
    assert "alarm-state: " in shown
    assert " more" in shown
    assert command.run_doctor(Where(), as_json=True) == NOT_ALL_CHECKED
    assert capsys.readouterr().out.count("AWS refuses DescribeAlarms.") > 40
