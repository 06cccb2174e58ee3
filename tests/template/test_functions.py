"""The functions and what stands around each: its settings, its log group, its source of events."""

import pathlib
from typing import Any

import pytest

from rootwatch import delivery
from rootwatch.watchdog import LEASE, SENDING_ENDS, TIMERS_END
from tests.template.stack import TEMPLATE, Stack, source

FUNCTIONS = {
    "DetectFunction": "detect",
    "NotifySnsFunction": "notify-sns",
    "NotifySlackFunction": "notify-slack",
    "TriageFunction": "triage",
    "WatchdogFunction": "watchdog",
    "ReportFunction": "report",
}
# `sam validate` accepts a runtime that does not exist, so this list decides.
RUNTIMES = {"python3.13"}
NOTIFIERS = {"NotifySnsFunction": "sns", "NotifySlackFunction": "slack"}


def mapping(stack: Stack, function: str) -> dict[str, object]:
    """Return the one event source mapping of a function."""
    name = stack.resources[function]["Properties"]["FunctionName"]
    mappings = stack.of_type("AWS::Lambda::EventSourceMapping").values()
    [found] = [one for one in mappings if one["FunctionName"] in {name, function}]
    return found


def test_every_function_is_known(stack: Stack) -> None:
    """A function that is added must be added here, so that each of these tests looks at it."""
    assert set(stack.of_type("AWS::Lambda::Function")) == set(FUNCTIONS)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_runtime_and_layer(stack: Stack, function: str) -> None:
    """Every function runs on an allowed runtime and on arm64, with the layer, and its handler is app.handler."""
    properties = stack.resources[function]["Properties"]

    assert properties["FunctionName"] == f"rootwatch-{FUNCTIONS[function]}"
    assert properties["Runtime"] in RUNTIMES
    assert properties["Architectures"] == ["arm64"]
    assert properties["Handler"] == "app.handler"
    [layer] = properties["Layers"]
    assert layer.startswith("RootwatchLayer")


def test_the_layer_of_databases_is_the_operator_s() -> None:
    """With an ARN, detect has the operator's layer beside ours; the other functions have no use for it."""
    arn = "arn:aws:lambda:us-east-1:111122223333:layer:owners:7"
    stack = Stack(OwnerDatabaseLayerArn=arn)

    own, *others = (stack.resources[function]["Properties"]["Layers"] for function in FUNCTIONS)
    assert sorted(own) == sorted([*others[0], arn])
    assert all(len(layers) == 1 for layers in others)


def test_the_layer_fits_the_functions(stack: Stack) -> None:
    """The layer is built for the same runtime and processor as the functions that use it."""
    [layer] = stack.of_type("AWS::Lambda::LayerVersion").values()

    assert set(layer["CompatibleRuntimes"]) == RUNTIMES
    assert layer["CompatibleArchitectures"] == ["arm64"]
    assert source()["Resources"]["RootwatchLayer"]["Metadata"]["BuildArchitecture"] == "arm64"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_each_artifact_is_its_own(function: str) -> None:
    """Each function is built by a target of its own that copies its own app.py and nothing else."""
    resource = source()["Resources"][function]
    makefile = (TEMPLATE.parent / "functions/Makefile").read_text()
    folder = FUNCTIONS[function].replace("-", "_")

    assert resource["Metadata"] == {"BuildMethod": "makefile"}
    assert f'build-{function}:\n\tcp {folder}/app.py "$(ARTIFACTS_DIR)/app.py"\n' in makefile


@pytest.mark.parametrize("function", FUNCTIONS)
def test_log_group_with_retention(stack: Stack, function: str) -> None:
    """Every function has a log group of the name that Lambda writes to, kept as long as the parameter says."""
    name = stack.resources[function]["Properties"]["FunctionName"]
    groups = stack.of_type("AWS::Logs::LogGroup")
    [group] = [one for one in groups.values() if one["LogGroupName"] == f"/aws/lambda/{name}"]

    assert int(group["RetentionInDays"]) == 400


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (
            "DetectFunction",
            {
                "LOG_LEVEL",
                "TABLE_NAME",
                "DEAD_LETTER_QUEUE_URL",
                "STACK_NAME",
                "KEY_ID",
                "DEPLOYMENT_ROLE_ARN",
                "INCIDENT_IDLE_MINUTES",
                "REPLAY_SOURCE",
                "CUSTODIANS",
                "TRUSTED_NETWORKS",
                "LOOK_UP_OWNERS",
                "RDAP_ORIGIN",
                "LOOK_UP_ACCOUNT_NAMES",
                "ACCOUNT_NAMES",
            },
        ),
        (
            "NotifySnsFunction",
            {
                "LOG_LEVEL",
                "TABLE_NAME",
                "DEAD_LETTER_QUEUE_URL",
                "ALERT_TOPIC_ARN",
                "ESCALATION_TOPIC_ARN",
                "RUNBOOK_URL",
            },
        ),
        (
            "NotifySlackFunction",
            {
                "LOG_LEVEL",
                "TABLE_NAME",
                "STACK_NAME",
                "DEAD_LETTER_QUEUE_URL",
                "SLACK_SECRET_ID",
                "SLACK_ORIGIN",
                "SLACK_BUTTONS",
                "RUNBOOK_URL",
            },
        ),
        (
            "TriageFunction",
            {
                "LOG_LEVEL",
                "TABLE_NAME",
                "STACK_NAME",
                "SLACK_SECRET_ID",
                "SLACK_ORIGIN",
                "SLACK_RESOLVERS",
                "SECOND_PERSON",
                "CUSTODIANS",
                "ACCOUNT_NAMES",
            },
        ),
        (
            "WatchdogFunction",
            {
                "LOG_LEVEL",
                "TABLE_NAME",
                "STACK_NAME",
                "INCIDENT_IDLE_MINUTES",
                "INTAKE_DEAD_LETTER_QUEUE_URL",
                "RULE_DEAD_LETTER_QUEUE_URL",
                "DEAD_LETTER_QUEUE_URL",
                "ALERT_TOPIC_ARN",
                "ESCALATION_TOPIC_ARN",
                "OPERATIONS_TOPIC_ARN",
                "ESCALATE_CRITICAL",
                "ESCALATE_HIGH",
                "ESCALATE_MEDIUM",
                "ASK_AGAIN_HOURS",
                "CUSTODIANS",
                "SLACK_SECRET_ID",
                "SLACK_ORIGIN",
                "SLACK_BUTTONS",
                "RUNBOOK_URL",
                "ROOT_RULE_ARN",
                "HEARTBEAT_URL",
                "LOOK_UP_ACCOUNT_NAMES",
                "ACCOUNT_NAMES",
            },
        ),
        (
            "ReportFunction",
            {
                "LOG_LEVEL",
                "TABLE_NAME",
                "STACK_NAME",
                "REPORT_BUCKET",
                "ALERT_TOPIC_ARN",
                "SLACK_SECRET_ID",
                "SLACK_ORIGIN",
                "ACCOUNT_NAMES",
                "ACKNOWLEDGE_MINUTES",
                "POSTURE_ROLE",
            },
        ),
    ],
)
def test_environment(stack: Stack, function: str, expected: set[str]) -> None:
    """A function is told what it needs and no more; Globals give only what every one of them needs."""
    assert set(stack.resources[function]["Properties"]["Environment"]["Variables"]) == expected
    assert set(source()["Globals"]["Function"]["Environment"]["Variables"]) == {"LOG_LEVEL"}


def test_no_secret_in_the_environment(stack: Stack) -> None:
    """A function is told the secret's ARN, and the secret is created as an empty object, which is no webhook."""
    secret = stack.resources["SlackSecret"]["Properties"]

    assert secret["SecretString"] == "{}"
    variables = stack.resources["NotifySlackFunction"]["Properties"]["Environment"]["Variables"]
    assert variables["SLACK_SECRET_ID"] == stack.arn("SlackSecret")


def test_detect_takes_batches_and_reports_parts(stack: Stack) -> None:
    """The function detect takes ten records at a time, two batches at once, and hands back only those that failed."""
    found = mapping(stack, "DetectFunction")

    assert found["EventSourceArn"] == stack.arn("IntakeQueue")
    assert found["BatchSize"] == 10
    assert found["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert found["ScalingConfig"] == {"MaximumConcurrency": 2}


@pytest.mark.parametrize("function", NOTIFIERS)
def test_notifiers_read_their_own_deliveries(stack: Stack, function: str) -> None:
    """A notifier wakes for new deliveries of its own channel, retries within bounds and leaves a dead letter."""
    found = mapping(stack, function)
    pattern = (
        '{"eventName":["INSERT"],"dynamodb":{"Keys":{"sk":{"S":[{"prefix":"DELIVERY#' + NOTIFIERS[function] + '#"}]}}}}'
    )

    assert str(found["EventSourceArn"]).startswith(stack.arn("AuditTable") + "/stream/")
    # What people answered changes the messages on Slack.
    steps = ['{"eventName":["INSERT"],"dynamodb":{"Keys":{"sk":{"S":[{"prefix":"STEP#"}]}}}}']
    also = steps if function == "NotifySlackFunction" else []
    assert found["FilterCriteria"] == {"Filters": [{"Pattern": each} for each in (pattern, *also)]}
    assert found["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert found["BisectBatchOnFunctionError"] is True
    assert found["ParallelizationFactor"] == 1
    assert found["StartingPosition"] == "TRIM_HORIZON"
    assert 1 <= int(str(found["BatchSize"])) <= 10
    assert int(str(found["MaximumRetryAttempts"])) == -1  # bounded by age: a number would depend on Lambda's pace
    assert 60 <= int(str(found["MaximumRecordAgeInSeconds"])) <= 21600
    assert found["DestinationConfig"] == {"OnFailure": {"Destination": stack.arn("NotifyDeadLetterQueue")}}


@pytest.mark.parametrize("function", ["NotifySnsFunction", "NotifySlackFunction"])
def test_failed_batches_have_somewhere_to_go(stack: Stack, function: str) -> None:
    """The role of a notifier may write to the queue that its mapping names for failures."""
    role = stack.resources[function]["Properties"]["Role"]
    [properties] = [p for key, p in stack.of_type("AWS::IAM::Role").items() if stack.arn(key) == role]
    allowed = [
        statement
        for policy in properties["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Action"] == "sqs:SendMessage"
    ]

    assert [statement["Resource"] for statement in allowed] == [stack.arn("NotifyDeadLetterQueue")]


def test_the_watchdog_runs_every_minute(stack: Stack) -> None:
    """A rule that is enabled invokes the watchdog every minute, and may; a run that failed or is late is let go."""
    rule = stack.of_type("AWS::Events::Rule")["WatchdogFunctionEveryMinute"]
    [target] = rule["Targets"]
    permission, asynchronous = invoked(stack, "Watchdog")
    not_again = {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}

    assert (rule["Name"], rule["ScheduleExpression"]) == ("rootwatch-watchdog", "rate(1 minute)")
    assert rule.get("State", "ENABLED") == "ENABLED"
    assert target["Arn"] == stack.arn("WatchdogFunction")
    assert target["RetryPolicy"] == not_again
    assert permission["Principal"] == "events.amazonaws.com"
    assert permission["SourceArn"] == stack.arn("WatchdogFunctionEveryMinute")
    assert {key: asynchronous[key] for key in not_again} == not_again


def invoked(stack: Stack, stem: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Who may invoke a function, and what becomes of an invocation that fails."""
    kinds = ("AWS::Lambda::Permission", "AWS::Lambda::EventInvokeConfig")
    [permission], [asynchronous] = (
        [properties for name, properties in stack.of_type(kind).items() if name.startswith(f"{stem}Function")]
        for kind in kinds
    )
    return permission, asynchronous


def test_the_report_runs_on_the_first_of_the_month(stack: Stack) -> None:
    """A rule that is enabled invokes the report on each first of the month, UTC, and may; what fails is tried again."""
    rule = stack.of_type("AWS::Events::Rule")["ReportFunctionFirstOfTheMonth"]
    [target] = rule["Targets"]
    permission, asynchronous = invoked(stack, "Report")

    assert (rule["Name"], rule["ScheduleExpression"]) == ("rootwatch-report", "cron(15 0 1 * ? *)")
    assert rule.get("State", "ENABLED") == "ENABLED"
    assert target["Arn"] == stack.arn("ReportFunction")
    assert "Input" not in target  # the month before is its default
    assert permission["SourceArn"] == stack.arn("ReportFunctionFirstOfTheMonth")
    assert asynchronous["MaximumRetryAttempts"] == 2  # the most that Lambda does
    assert stack.resources["ReportFunction"]["Properties"]["Timeout"] == 900


def test_two_runs_of_the_watchdog_never_overlap(stack: Stack) -> None:
    """A run is over before its lease, and nothing is reserved: an account whose limit is ten can deploy the stack."""
    properties = stack.resources["WatchdogFunction"]["Properties"]

    assert max(TIMERS_END, *SENDING_ENDS.values()) < properties["Timeout"] < LEASE.total_seconds()
    assert min(SENDING_ENDS.values()) >= delivery.LEASE.total_seconds()
    for function in FUNCTIONS:
        assert "ReservedConcurrentExecutions" not in stack.resources[function]["Properties"]


def test_the_public_address_is_asked_for(stack: Stack) -> None:
    """Nothing of the stack is public by itself; with buttons triage has one address that anybody may call, both
    permissions that a function URL needs, and a bound on how often it runs at once, unless the account has no room.
    """
    assert stack.of_type("AWS::Lambda::Url") == {}
    assert {each["Principal"] for each in stack.of_type("AWS::Lambda::Permission").values()} == {"events.amazonaws.com"}

    public = Stack(SlackButtons="true")
    [url] = public.of_type("AWS::Lambda::Url").values()
    assert url == {"AuthType": "NONE", "TargetFunctionArn": public.arn("TriageFunction")}
    granted = [each for each in public.of_type("AWS::Lambda::Permission").values() if each["Principal"] == "*"]
    assert [(each["Action"], each["FunctionName"]) for each in granted] == [
        ("lambda:InvokeFunctionUrl", "rootwatch-triage"),
        ("lambda:InvokeFunction", "rootwatch-triage"),
    ]
    assert (granted[0]["FunctionUrlAuthType"], granted[1]["InvokedViaFunctionUrl"]) == ("NONE", True)
    reserved = {function: public.resources[function]["Properties"].get(RESERVED) for function in FUNCTIONS}
    assert {function: str(number) for function, number in reserved.items() if number} == {"TriageFunction": "5"}
    unreserved = Stack(SlackButtons="true", TriageConcurrency="0")
    assert RESERVED not in unreserved.resources["TriageFunction"]["Properties"]


RESERVED = "ReservedConcurrentExecutions"


def test_what_ends_an_incident_is_the_same_for_both(stack: Stack) -> None:
    """The functions detect and watchdog are told the same number of minutes after which an incident ends."""
    told = [
        stack.resources[function]["Properties"]["Environment"]["Variables"]["INCIDENT_IDLE_MINUTES"]
        for function in ("DetectFunction", "WatchdogFunction")
    ]

    assert [str(each) for each in told] == ["60", "60"]


def test_the_order_of_the_stack() -> None:
    """Resources stand in the order in which data travels; each function is followed by role, log group and alarms."""
    order = list(source()["Resources"])
    way = [
        "RootwatchKey",
        "OperationsTopic",
        "IntakeQueue",
        "RootRule",
        "TamperRule",
        "DetectFunction",
        "AuditTable",
        "AlertTopic",
        "EscalationTopic",
        "NotifySnsFunction",
        "SlackSecret",
        "NotifySlackFunction",
        "TriageFunction",
        "WatchdogFunction",
        "ReportFunction",
    ]

    assert sorted(way, key=order.index) == way
    for function in FUNCTIONS:
        stem = function.removesuffix("Function")
        at = order.index(function)
        assert order[at : at + 4] == [function, f"{stem}Role", f"{stem}LogGroup", f"{stem}ErrorsAlarm"]


def test_no_path_of_a_machine() -> None:
    """The template names its code by folders of this project."""
    assert source()["Globals"]["Function"]["CodeUri"] == "functions/"
    content = source()["Resources"]["RootwatchLayer"]["Properties"]["ContentUri"]
    assert not pathlib.PurePath(content).is_absolute()
    assert (TEMPLATE.parent / content).is_dir()
