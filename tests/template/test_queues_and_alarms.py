"""Nothing is lost: every queue keeps its messages long enough, every dead letter and every failure has an alarm."""

from typing import Any

import pytest

from rootwatch.channels import canary
from rootwatch.probe import ProbeKind
from rootwatch.proof import AGES, LATE_AFTER
from tests.template.stack import Stack

FOURTEEN_DAYS = 1209600
DEAD_LETTER_QUEUES = ["IntakeDeadLetterQueue", "RuleDeadLetterQueue", "NotifyDeadLetterQueue"]
FUNCTIONS = ["DetectFunction", "NotifySnsFunction", "NotifySlackFunction", "WatchdogFunction", "ReportFunction"]


def alarms_on(stack: Stack, metric: str, dimension: str, value: str) -> list[dict[str, Any]]:
    """Return the alarms on one metric of one thing."""
    return [
        alarm
        for alarm in stack.of_type("AWS::CloudWatch::Alarm").values()
        if alarm["MetricName"] == metric and alarm["Dimensions"] == [{"Name": dimension, "Value": value}]
    ]


def name(stack: Stack, queue: str) -> str:
    """Return the name of a queue."""
    return str(stack.resources[queue]["Properties"]["QueueName"])


def test_every_queue_is_known_encrypted_and_patient(stack: Stack) -> None:
    """Every queue is encrypted by SQS and keeps messages for fourteen days, the longest there is."""
    queues = stack.of_type("AWS::SQS::Queue")

    assert set(queues) == {"IntakeQueue", *DEAD_LETTER_QUEUES}
    for queue in queues.values():
        assert queue["SqsManagedSseEnabled"] is True
        assert queue["MessageRetentionPeriod"] == FOURTEEN_DAYS


def test_intake_retries_for_eight_hours(stack: Stack) -> None:
    """A record is tried for at least eight hours before it becomes a dead letter, which the other queue admits."""
    queue = stack.resources["IntakeQueue"]["Properties"]
    dead = stack.resources["IntakeDeadLetterQueue"]["Properties"]
    redrive = queue["RedrivePolicy"]

    assert (queue["VisibilityTimeout"], redrive["maxReceiveCount"]) == (300, 100)
    assert queue["VisibilityTimeout"] * redrive["maxReceiveCount"] >= 8 * 3600
    assert redrive["deadLetterTargetArn"] == stack.arn("IntakeDeadLetterQueue")
    assert dead["RedriveAllowPolicy"] == {
        "redrivePermission": "byQueue",
        "sourceQueueArns": [stack.arn("IntakeQueue")],
    }


def test_visibility_is_six_timeouts(stack: Stack) -> None:
    """A record stays invisible for six timeouts of detect, so that a slow attempt is not overtaken by the next."""
    visibility = stack.resources["IntakeQueue"]["Properties"]["VisibilityTimeout"]

    assert visibility >= 6 * stack.resources["DetectFunction"]["Properties"]["Timeout"]


@pytest.mark.parametrize("rule", ["RootRule", "TamperRule", "ForwardedRule"])
def test_every_target_leaves_dead_letters(stack: Stack, rule: str) -> None:
    """Every target of every rule has the rules' dead-letter queue, and EventBridge tries for as long as it can."""
    for target in stack.resources[rule]["Properties"]["Targets"]:
        assert target["DeadLetterConfig"] == {"Arn": stack.arn("RuleDeadLetterQueue")}
        assert target["RetryPolicy"] == {"MaximumRetryAttempts": 185, "MaximumEventAgeInSeconds": 86400}


def test_where_the_rules_lead(stack: Stack) -> None:
    """Every rule with a pattern leads to the intake queue, and the tamper rule straight to the operations topic too."""
    rules = stack.of_type("AWS::Events::Rule")
    leads = {key: [t["Arn"] for t in rule["Targets"]] for key, rule in rules.items() if "EventPattern" in rule}

    assert leads == {
        "RootRule": [stack.arn("IntakeQueue")],
        "TamperRule": [stack.arn("IntakeQueue"), stack.arn("OperationsTopic")],
        "ForwardedRule": [stack.arn("IntakeQueue")],
    }


def test_the_straight_message_holds_no_free_text(stack: Stack) -> None:
    """What goes straight to people holds only fields that AWS writes: no request, no user agent, no error text."""
    [target] = [t for t in stack.resources["TamperRule"]["Properties"]["Targets"] if t["Id"] == "operations"]
    transformer = target["InputTransformer"]

    assert set(transformer["InputPathsMap"].values()) <= {
        "$.detail.eventName",
        "$.detail.eventSource",
        "$.detail.userIdentity.type",
        "$.detail.sourceIPAddress",
        "$.detail.eventTime",
        "$.detail.eventID",
        "$.account",
        "$.region",
    }
    for variable in transformer["InputPathsMap"]:
        assert f"<{variable}>" in transformer["InputTemplate"]
    for line in transformer["InputTemplate"].strip().splitlines():
        assert line.startswith('"')
        assert line.endswith('"')


@pytest.mark.parametrize("queue", DEAD_LETTER_QUEUES)
def test_a_single_dead_letter_alarms(stack: Stack, queue: str) -> None:
    """One message in a dead-letter queue is enough for an alarm."""
    [alarm] = alarms_on(stack, "ApproximateNumberOfMessagesVisible", "QueueName", name(stack, queue))

    assert (alarm["Namespace"], alarm["Statistic"]) == ("AWS/SQS", "Maximum")
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (0, "GreaterThanThreshold")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_single_error_alarms(stack: Stack, function: str) -> None:
    """One failed invocation of a function is enough for an alarm."""
    [alarm] = alarms_on(stack, "Errors", "FunctionName", stack.resources[function]["Properties"]["FunctionName"])

    assert (alarm["Namespace"], alarm["Statistic"]) == ("AWS/Lambda", "Sum")
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (0, "GreaterThanThreshold")


def test_waiting_alarms(stack: Stack) -> None:
    """A record that waits in the queue, or an alert that waits in the stream, raises an alarm within ten minutes."""
    [intake] = alarms_on(stack, "ApproximateAgeOfOldestMessage", "QueueName", name(stack, "IntakeQueue"))
    assert intake["Threshold"] <= 600
    for function in ("NotifySnsFunction", "NotifySlackFunction"):
        [alarm] = alarms_on(
            stack, "IteratorAge", "FunctionName", stack.resources[function]["Properties"]["FunctionName"]
        )
        assert alarm["Threshold"] <= 600_000


@pytest.mark.parametrize("rule", ["RootRule", "TamperRule"])
def test_a_lost_dead_letter_alarms(stack: Stack, rule: str) -> None:
    """What EventBridge can neither deliver nor put on the dead-letter queue is lost, so it raises an alarm."""
    alarms = alarms_on(stack, "InvocationsFailedToBeSentToDlq", "RuleName", stack.resources[rule]["Properties"]["Name"])

    assert len(alarms) == 1


def test_a_lost_dead_letter_of_the_bus_alarms(stack: Stack) -> None:
    """The same for the rule on the bus of our own, whose metrics have two dimensions."""
    [alarm] = [
        a
        for a in stack.of_type("AWS::CloudWatch::Alarm").values()
        if len(a["Dimensions"]) == 2 and a["Namespace"] == "AWS/Events"
    ]

    assert alarm["MetricName"] == "InvocationsFailedToBeSentToDlq"
    assert {each["Value"] for each in alarm["Dimensions"]} == {"rootwatch-forwarded"}


def test_every_alarm_reaches_people(stack: Stack) -> None:
    """Every alarm goes to the operations topic, says what to do, and is quiet while there is nothing to measure; but
    for those on silence itself.
    """
    alarms = stack.of_type("AWS::CloudWatch::Alarm")

    assert len(alarms) >= 10
    for alarm in alarms.values():
        assert alarm["AlarmActions"] == [stack.arn("OperationsTopic")]
        assert len(alarm["AlarmDescription"]) > 60
        if alarm["AlarmName"] not in {"rootwatch-watchdog-stopped", "rootwatch-canary-age", "rootwatch-heartbeat-age"}:
            assert alarm["TreatMissingData"] == "notBreaching"
            assert alarm["Period"] * alarm["EvaluationPeriods"] <= 60


def test_a_watchdog_that_does_not_run_alarms(stack: Stack) -> None:
    """Five minutes without an invocation of the watchdog raise an alarm, although there is then nothing to measure."""
    [alarm] = alarms_on(stack, "Invocations", "FunctionName", "rootwatch-watchdog")

    assert (alarm["Namespace"], alarm["Statistic"]) == ("AWS/Lambda", "Sum")
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (1, "LessThanThreshold")
    assert (alarm["Period"], alarm["EvaluationPeriods"]) == (60, 5)
    assert "DatapointsToAlarm" not in alarm
    assert alarm["TreatMissingData"] == "breaching"
    assert alarm["OKActions"] == [stack.arn("OperationsTopic")]


@pytest.mark.parametrize(("kind", "metric"), AGES.items())
def test_a_silent_way_alarms(stack: Stack, kind: ProbeKind, metric: str) -> None:
    """Two hours without a canary, or without a source heartbeat, raise an alarm; so does no age at all."""
    [alarm] = [a for a in stack.of_type("AWS::CloudWatch::Alarm").values() if a["MetricName"] == metric]

    assert alarm["AlarmName"] == f"rootwatch-{kind}-age"
    assert (alarm["Namespace"], alarm["Statistic"]) == ("Rootwatch", "Maximum")
    assert alarm["Dimensions"] == [{"Name": "service", "Value": "watchdog"}, {"Name": "stack", "Value": "rootwatch"}]
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (LATE_AFTER.total_seconds(), "GreaterThanThreshold")
    assert alarm["TreatMissingData"] == "breaching"
    assert alarm["OKActions"] == [stack.arn("OperationsTopic")]


def test_people_never_see_a_canary(stack: Stack) -> None:
    """The alert address's subscription leaves canaries out, and takes whatever else has a kind."""
    subscription = stack.of_type("AWS::SNS::Subscription")["AlertEmailSubscription"]

    assert subscription["FilterPolicy"] == {"kind": [{"anything-but": [canary.KIND]}]}
    [kind] = [canary.sns_arguments("n", "t")["MessageAttributes"]["kind"]["StringValue"]]
    assert kind == canary.KIND


def test_a_part_of_the_watchdog_that_failed_alarms(stack: Stack) -> None:
    """One account whose timers fail is an alarm although the run is no failure: the metric is the one it publishes."""
    [alarm] = [a for a in stack.of_type("AWS::CloudWatch::Alarm").values() if a["MetricName"] == "PartsFailed"]

    assert (alarm["Namespace"], alarm["Statistic"]) == ("Rootwatch", "Sum")
    assert alarm["Dimensions"] == [{"Name": "service", "Value": "watchdog"}, {"Name": "stack", "Value": "rootwatch"}]
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (0, "GreaterThanThreshold")


@pytest.mark.parametrize("topic", ["AlertTopic", "OperationsTopic"])
def test_topics_are_encrypted_and_read(stack: Stack, topic: str) -> None:
    """Both topics use the stack's own key, not the AWS-managed one, and the alert address is subscribed to both."""
    assert stack.resources[topic]["Properties"]["KmsMasterKeyId"] == stack.arn("RootwatchKey")
    subscriptions = stack.of_type("AWS::SNS::Subscription").values()
    [subscription] = [one for one in subscriptions if one["TopicArn"] == stack.arn(topic)]
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "security@example.com")
