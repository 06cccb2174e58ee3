"""What other regions and accounts forward: template-forward.yaml, and the hub's bus that takes it."""

import json
import re
from fnmatch import fnmatchcase
from typing import Any

import pytest

from rootwatch.detections.catalogue import detect
from rootwatch.detections.detection import OwnResources
from rootwatch.record import read_envelope
from tests.template import envelopes
from tests.template.event_pattern import OPERATORS, matches, operators
from tests.template.stack import (
    ACCOUNT,
    FORWARD_TEMPLATE,
    REGION,
    ForwardingStack,
    Stack,
    forward_source,
    statements,
)
from tests.template.test_policies import allowed

RULES = ["RootRule", "TamperRule"]
LONGEST_NAME = "r" * 32
LONGEST = {
    "AWS::CloudWatch::Alarm": 255,
    "AWS::SQS::Queue": 80,
    "AWS::IAM::Role": 64,
    "AWS::Events::Rule": 64,
    "AWS::Scheduler::Schedule": 64,
}
HEARTBEAT = "rootwatch.heartbeat"


@pytest.fixture(scope="module")
def forwarding() -> ForwardingStack:
    """The forwarding stack with every parameter left alone. Tests only read it."""
    return ForwardingStack()


def heartbeat(stack: ForwardingStack) -> dict[str, Any]:
    """The heartbeat as EventBridge would carry it."""
    target = stack.resources["Heartbeat"]["Properties"]["Target"]
    [entry] = json.loads(target["Input"])["Entries"]
    assert set(entry) == {"Source", "DetailType", "Detail"}  # no EventBusName: the default bus, where the rule is
    detail = json.loads(entry["Detail"])
    return {"source": entry["Source"], "detail-type": entry["DetailType"], "account": ACCOUNT, "detail": detail}


def without_own(pattern: dict[str, Any]) -> dict[str, Any]:
    """A pattern's content without what only the hub, or only the other side, has."""
    text = json.dumps(pattern["detail"]).replace(', "RootwatchHeartbeat"', "")
    detail: dict[str, Any] = json.loads(text)
    return detail


def test_no_code_and_nothing_that_sam_must_make() -> None:
    """The template is plain CloudFormation without a function, so that StackSets can take it as it is."""
    template = forward_source()

    assert "Transform" not in template
    assert {resource["Type"] for resource in template["Resources"].values()} == {
        "AWS::CloudFormation::WaitConditionHandle",
        "AWS::CloudWatch::Alarm",
        "AWS::Events::Rule",
        "AWS::IAM::Role",
        "AWS::SQS::Queue",
        "AWS::SQS::QueuePolicy",
        "AWS::Scheduler::Schedule",
    }
    assert FORWARD_TEMPLATE.stat().st_size < 51_200  # as text in one call


def test_what_is_forwarded_is_what_the_hub_sees_at_home(forwarding: ForwardingStack) -> None:
    """The root rule's pattern is the hub's own, with the heartbeat in place of the canary."""
    hub = Stack()

    at_home = without_own(hub.pattern("RootRule"))
    # The hub writes its own heartbeat on its own rule; there is none to be tagged elsewhere.
    assert at_home["$or"].pop() == {"eventSource": ["events.amazonaws.com"], "eventName": ["TagResource"]}
    assert without_own(forwarding.pattern("RootRule")) == at_home
    assert forwarding.pattern("RootRule")["source"] == [{"prefix": "aws."}, HEARTBEAT]
    assert forwarding.pattern("TamperRule")["source"] == [{"prefix": "aws."}]


def test_tampering_is_forwarded_as_the_hub_sees_it(forwarding: ForwardingStack) -> None:
    """Whatever names something of ours is forwarded, but for key and alias, which only the hub has."""
    of_hub = {"key deleted by id", "key disabled by ARN", "alias moved", "stack deleted", "stack updated by ARN"}
    for name, event in envelopes.TAMPERING.items():
        assert matches(forwarding.pattern("TamperRule"), event) is (name not in of_hub), name
    for name, event in envelopes.OUR_OWN_WORK_OR_NOT_OURS.items():
        assert not matches(forwarding.pattern("TamperRule"), event), name


@pytest.mark.parametrize("rule", RULES)
def test_patterns_fit(rule: str) -> None:
    """A pattern has fewer than 2,048 characters with the longest name of a hub, and only operators that we trust."""
    pattern = ForwardingStack(LONGEST_NAME).pattern(rule)

    assert LONGEST_NAME in str(pattern)
    assert len(json.dumps(pattern, separators=(",", ":"))) < 2048
    assert operators(pattern) <= OPERATORS


@pytest.mark.parametrize("name", envelopes.CONCERNS_ROOT)
def test_what_concerns_root_passes_both_buses(forwarding: ForwardingStack, name: str) -> None:
    """Whatever the hub would see at home passes the rule that forwards and the hub's rule on its bus."""
    event = envelopes.CONCERNS_ROOT[name]
    if not event["source"].startswith("aws."):
        pytest.skip("a canary is of the hub alone")
    assert matches(forwarding.pattern("RootRule"), event)
    assert matches(Stack().pattern("ForwardedRule"), event)


@pytest.mark.parametrize("name", envelopes.NOT_ABOUT_ROOT)
def test_what_does_not_concern_root_stays_where_it_is(forwarding: ForwardingStack, name: str) -> None:
    """What others do, and what is forged, is not forwarded."""
    assert not matches(forwarding.pattern("RootRule"), envelopes.NOT_ABOUT_ROOT[name])


def test_the_heartbeat_takes_the_way_of_the_records(forwarding: ForwardingStack) -> None:
    """The heartbeat goes through the same rule as root's records, and through the hub's; no two are the same."""
    event = heartbeat(forwarding)

    assert event["source"] == HEARTBEAT
    assert matches(forwarding.pattern("RootRule"), event)
    assert matches(Stack().pattern("ForwardedRule"), event)
    assert not any(matches(Stack().pattern(rule), event) for rule in RULES)  # the hub has no heartbeat of this kind
    assert event["detail"]["executionId"] == "<aws.scheduler.execution-id>"
    assert event["detail"]["scheduledTime"] == "<aws.scheduler.scheduled-time>"


def test_the_schedule_runs_every_hour(forwarding: ForwardingStack) -> None:
    """The heartbeat comes every hour and not in some window, and an old one is not sent late."""
    schedule = forwarding.resources["Heartbeat"]["Properties"]

    assert schedule["ScheduleExpression"] == "rate(1 hour)"
    assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
    assert schedule.get("State", "ENABLED") == "ENABLED"
    assert schedule["Target"]["Arn"] == "arn:aws:scheduler:::aws-sdk:eventbridge:putEvents"
    assert schedule["Target"]["RoleArn"] == forwarding.arn("HeartbeatRole")
    assert schedule["Target"]["RetryPolicy"]["MaximumEventAgeInSeconds"] < 3600


@pytest.mark.parametrize("rule", RULES)
def test_one_hop_to_the_hub(forwarding: ForwardingStack, rule: str) -> None:
    """Each rule leads to the hub's bus and nowhere else, in the hub's state, with a dead-letter queue."""
    properties = forwarding.resources[rule]["Properties"]
    [target] = properties["Targets"]

    assert target["Arn"] == forwarding.parameters["HubBusArn"]
    assert target["RoleArn"] == forwarding.arn("ForwardRole")
    assert target["DeadLetterConfig"] == {"Arn": forwarding.arn("DeadLetterQueue")}
    assert target["RetryPolicy"] == {"MaximumRetryAttempts": 185, "MaximumEventAgeInSeconds": 86400}
    assert properties["State"] == Stack().resources[rule]["Properties"]["State"]
    without_reads = ForwardingStack(RecordReadOnlyEvents="false")
    assert without_reads.resources[rule]["Properties"]["State"] == "ENABLED"


def test_the_roles_may_do_one_thing_each(forwarding: ForwardingStack) -> None:
    """One role puts events on the hub's bus, the other heartbeats on the default one; both trust this account only."""
    may: dict[str, list[dict[str, Any]]] = {}
    for logical_id, role in forwarding.of_type("AWS::IAM::Role").items():
        [trust] = statements(role["AssumeRolePolicyDocument"])
        assert trust["Condition"]["StringEquals"]["aws:SourceAccount"] == ACCOUNT
        assert "aws:SourceArn" in str(trust["Condition"])
        [policy] = role["Policies"]
        may[logical_id] = statements(policy["PolicyDocument"])
        for statement in (trust, *may[logical_id]):
            assert re.fullmatch(r"(?:[A-Z][a-z0-9]*){3,}", statement["Sid"])
    [forward], [beat] = may["ForwardRole"], may["HeartbeatRole"]

    assert (forward["Action"], forward["Resource"]) == (["events:PutEvents"], [forwarding.parameters["HubBusArn"]])
    assert (beat["Action"], beat["Condition"]) == (["events:PutEvents"], {"StringEquals": {"events:source": HEARTBEAT}})
    assert beat["Resource"] == [f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default"]


def test_only_the_hub_s_report_reads_credentials_and_only_where_that_is_admitted() -> None:
    """The role is there if the account says so, in the hub's region alone, for the report's role, to read that."""
    hub, stack = Stack(MemberPosture="true"), ForwardingStack(MemberPosture="true")
    role = stack.resources["PostureRole"]["Properties"]
    [trust] = statements(role["AssumeRolePolicyDocument"])
    [policy] = role["Policies"]
    [may] = statements(policy["PolicyDocument"])
    [takes] = [s for s in allowed(hub, "ReportFunction") if s["Action"] == ["sts:AssumeRole"]]
    reads = [s for s in allowed(hub, "ReportFunction") if s["Action"] == may["Action"]]

    assert trust["Principal"] == {"AWS": "arn:aws:iam::999900009999:root"}
    its_role = hub.arn("ReportRole").replace(ACCOUNT, "999900009999")
    assert trust["Condition"] == {"ArnEquals": {"aws:PrincipalArn": its_role}}
    assert fnmatchcase(stack.arn("PostureRole"), str(takes["Resource"])[2:-2])
    assert hub.resources["ReportFunction"]["Properties"]["Environment"]["Variables"]["POSTURE_ROLE"] == role["RoleName"]
    assert reads
    assert all(re.fullmatch(r"iam:(?:Get|Generate)[A-Za-z]+", action) for action in may["Action"])
    elsewhere = ForwardingStack.HUB.format("rootwatch").replace("us-east-1", "eu-west-1")
    for without in (ForwardingStack(), ForwardingStack(MemberPosture="true", HubBusArn=elsewhere)):
        assert "PostureRole" not in without.resources
    assert not [s for s in allowed(Stack(), "ReportFunction") if s["Action"] == ["sts:AssumeRole"]]


def test_only_the_two_rules_leave_dead_letters(forwarding: ForwardingStack) -> None:
    """The dead-letter queue is encrypted, patient, closed to plain HTTP, and takes from the two rules only."""
    queue = forwarding.resources["DeadLetterQueue"]["Properties"]
    [policy] = forwarding.of_type("AWS::SQS::QueuePolicy").values()
    allow, deny = statements(policy["PolicyDocument"])

    assert (queue["SqsManagedSseEnabled"], queue["MessageRetentionPeriod"]) == (True, 1209600)
    assert allow["Condition"] == {"ArnEquals": {"aws:SourceArn": [forwarding.arn(rule) for rule in RULES]}}
    assert (deny["Effect"], deny["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_dead_letters_have_an_alarm(forwarding: ForwardingStack) -> None:
    """One record that does not reach the hub raises an alarm here, which tells a topic where one is given."""
    alarm = forwarding.resources["DeadLetterAlarm"]["Properties"]
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:security"
    told = ForwardingStack(AlarmTopicArn=topic).resources["DeadLetterAlarm"]["Properties"]

    assert alarm["Dimensions"] == [{"Name": "QueueName", "Value": "rootwatch-forward-dead-letter"}]
    assert (alarm["Threshold"], alarm["ComparisonOperator"], alarm["Statistic"]) == (
        0,
        "GreaterThanThreshold",
        "Maximum",
    )
    assert "AlarmActions" not in alarm
    assert told["AlarmActions"] == [topic]


def test_names_fit_and_are_the_hub_s(forwarding: ForwardingStack) -> None:
    """Every name fits with the longest name of a hub in the Region of the longest name, and tells whose it is."""
    longer_region = len("ap-southeast-2") - len(REGION)
    named = list(ForwardingStack(LONGEST_NAME).names())

    assert len(named) == 8
    for logical_id, kind, name in named:
        assert name.startswith(f"{LONGEST_NAME}-"), logical_id
        assert len(name) + (longer_region if kind == "AWS::IAM::Role" else 0) <= LONGEST[kind], logical_id
    for logical_id, _, _ in forwarding.names():
        event = envelopes.envelope("any", "Change", resources=[{"ARN": forwarding.arn(logical_id)}])
        assert matches(forwarding.pattern("TamperRule"), event), logical_id


@pytest.mark.parametrize(
    "event",
    [
        envelopes.request("events", "DisableRule", name="rootwatch-forward-root"),
        envelopes.request("events", "RemoveTargets", rule="rootwatch-forward-tamper", ids=["hub"]),
        envelopes.request("scheduler", "DeleteSchedule", name="rootwatch-forward-heartbeat"),
        envelopes.request("iam", "DeleteRolePolicy", roleName="rootwatch-us-east-1-forward"),
        envelopes.request("cloudformation", "DeleteStack", stackName="rootwatch-forward"),
        envelopes.request("cloudformation", "DeleteStack", stackName="StackSet-rootwatch-forward-0c6e3a4e"),
    ],
)
def test_what_is_done_to_a_forwarder_means_something_in_the_hub(
    forwarding: ForwardingStack, event: dict[str, Any]
) -> None:
    """A change to what forwards is forwarded, and the hub knows by its name that it is tampering."""
    assert matches(forwarding.pattern("TamperRule"), event)
    findings = detect(read_envelope(event), OwnResources("rootwatch"))
    assert "root.rootwatch_tampered" in [finding.detection.id for finding in findings]


def test_the_hub_forwards_nothing_to_itself() -> None:
    """Where StackSets deploy it in the hub's own account and region, nothing is made but a place holder."""
    bus = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/rootwatch-forwarded"

    assert set(ForwardingStack(HubBusArn=bus).resources) == {"Placeholder"}
    assert bus == Stack().arn("ForwardedBus")


def test_nobody_is_admitted_unless_named(stack: Stack) -> None:
    """Left alone the bus has no policy, so that only this account's own regions reach it."""
    bus = stack.resources["ForwardedBus"]["Properties"]

    assert bus["Name"] == "rootwatch-forwarded"
    assert "Policy" not in bus


def test_the_bus_admits_the_organization_or_the_accounts() -> None:
    """An organization is admitted by its id, accounts by their numbers; both may put events and nothing else."""

    def admitted(**parameters: str) -> list[dict[str, Any]]:
        return statements(Stack(**parameters).resources["ForwardedBus"]["Properties"]["Policy"])

    accounts = "444455556666,777788889999"
    of_organization, of_accounts = admitted(OrganizationId="o-a1b2c3d4e5", ForwardingAccounts=accounts)

    assert of_organization["Principal"] == "*"
    assert of_organization["Condition"] == {"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}}
    assert of_accounts["Principal"] == {"AWS": accounts.split(",")}
    for statement in (of_organization, of_accounts):
        assert statement["Effect"] == "Allow"
        assert statement["Action"] == ["events:PutEvents"]
        assert statement["Resource"] == [Stack().arn("ForwardedBus")]
    assert admitted(OrganizationId="o-a1b2c3d4e5") == [of_organization]
    assert admitted(ForwardingAccounts=accounts) == [of_accounts]


def test_every_parameter_says_what_happens_if_left_alone() -> None:
    """Every parameter has a pattern or a list of values, and says what it is when it is left alone."""
    for parameter in forward_source()["Parameters"].values():
        assert re.search(r"[Ll]eft alone|no default", parameter["Description"])
        assert {"AllowedPattern", "AllowedValues"} & set(parameter)
    pattern = forward_source()["Parameters"]["HubBusArn"]["AllowedPattern"]
    assert re.fullmatch(pattern, Stack().arn("ForwardedBus"))
    assert not re.fullmatch(pattern, "rootwatch-forwarded")
