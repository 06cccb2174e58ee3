"""`rootwatch deploy-forwarders`: what it asks of CloudFormation in each region, and what it makes of the answers."""

import json
import re
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
import yaml
from botocore import exceptions
from typer.testing import CliRunner

from rootwatch_cli import deploy_forwarders
from rootwatch_cli.deploy_forwarders import KEPT, Forwarder, Hub, Plan, planned
from rootwatch_cli.main import app
from rootwatch_cli.project import FORWARD_TEMPLATE

BUS = "arn:aws:events:us-east-1:123456789012:event-bus/rootwatch-forwarded"


class Clouds:
    """CloudFormation and EC2 in every region, in memory: what the command asks of them, with AWS's own errors.

    tests/e2e/test_forwarding.py does the same against the emulator.
    """

    REGIONS = ("ap-southeast-2", "eu-west-1", "eu-west-2", "us-east-1", "us-west-2")

    def __init__(self) -> None:
        """Begin without a stack anywhere."""
        self.stacks: dict[tuple[str, str], dict[str, Any]] = {}
        self.rules: set[tuple[str, str]] = set()
        self.region_name = "us-east-1"

    def client(self, service: str, *, region_name: str = "us-east-1", **_: Any) -> Any:
        """Return what stands for a boto3 client."""
        return {"cloudformation": CloudFormation, "ec2": Regions, "events": Rules}[service](self, region_name)

    def hub(self, name: str = "rootwatch", **outputs: str) -> None:
        """A stack in us-east-1 with these outputs."""
        self.stacks["us-east-1", name] = {
            "StackId": name,
            "StackStatus": "CREATE_COMPLETE",
            "Parameters": [{"ParameterKey": "RecordReadOnlyEvents", "ParameterValue": "false"}],
            "Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()],
        }


class Regions:
    """EC2, asked for the regions."""

    def __init__(self, clouds: Clouds, _region: str) -> None:
        """Keep the clouds."""
        self.clouds = clouds

    def describe_regions(self, *, AllRegions: bool) -> Any:  # noqa: N803 - boto3's own name
        """Return those that are enabled."""
        assert AllRegions is False
        return {"Regions": [{"RegionName": region} for region in self.clouds.REGIONS]}


class Rules:
    """EventBridge in one region, asked for a rule."""

    def __init__(self, clouds: Clouds, region: str) -> None:
        """Keep the clouds and the region."""
        self.clouds, self.region = clouds, region

    def describe_rule(self, *, Name: str) -> Any:  # noqa: N803
        """Return the rule, or AWS's error."""
        if (self.region, Name) not in self.clouds.rules:
            raise refused("ResourceNotFoundException", f"Rule {Name} does not exist on EventBus default.")
        return {"Name": Name, "State": "ENABLED"}


DEFAULTS = {"AlarmTopicArn": "", "MemberPosture": "false"}


class CloudFormation:
    """CloudFormation in one region; a stack is under way for one look, and found by its name or its id."""

    def __init__(self, clouds: Clouds, region: str) -> None:
        """Keep the clouds and the region."""
        self.clouds, self.region = clouds, region
        self.meta = SimpleNamespace(region_name=region)

    def describe_stacks(self, *, StackName: str) -> Any:  # noqa: N803
        """Return the stack, or AWS's error; one that was removed again is found by its id alone."""
        found = self.clouds.stacks.get((self.region, StackName.removeprefix("id of ")))
        if found is None or (found["StackStatus"] == "DELETE_COMPLETE" and not StackName.startswith("id of ")):
            raise refused("ValidationError", f"Stack with id {StackName} does not exist")
        shown = dict(found)
        found["StackStatus"] = found["StackStatus"].replace("_IN_PROGRESS", "_COMPLETE")
        return {"Stacks": [shown]}

    def create_stack(self, *, StackName: str, OnFailure: str, **arguments: Any) -> Any:  # noqa: N803
        """Begin to make a stack."""
        assert OnFailure == "DELETE"
        if (self.region, StackName) in self.clouds.stacks:
            raise refused("AlreadyExistsException", "it exists")
        stack = {"StackId": f"id of {StackName}", "StackStatus": "CREATE_IN_PROGRESS", **arguments}
        stack["Parameters"] = self._stated(arguments["Parameters"], DEFAULTS)
        self.clouds.stacks[self.region, StackName] = stack
        return {"StackId": stack["StackId"]}

    def update_stack(self, *, StackName: str, **arguments: Any) -> Any:  # noqa: N803
        """Begin to change a stack, where there is something to change."""
        stack = self.clouds.stacks[self.region, StackName]
        before = {each["ParameterKey"]: each["ParameterValue"] for each in stack["Parameters"]}
        kept = {each["ParameterKey"] for each in arguments["Parameters"] if each.get("UsePreviousValue")}
        arguments["Parameters"] = self._stated(
            [each for each in arguments["Parameters"] if not each.get("UsePreviousValue")],
            DEFAULTS | {key: before[key] for key in kept},
        )
        if all(stack.get(key) == value for key, value in arguments.items()):
            raise refused("ValidationError", "No updates are to be performed.")
        stack |= {**arguments, "StackStatus": "UPDATE_IN_PROGRESS"}
        return {"StackId": stack["StackId"]}

    @staticmethod
    def _stated(parameters: list[dict[str, str]], others: dict[str, str]) -> list[dict[str, str]]:
        """Every parameter of the template, as CloudFormation shows them: also those that were left alone."""
        stated = others | {each["ParameterKey"]: each["ParameterValue"] for each in parameters}
        return [{"ParameterKey": key, "ParameterValue": value} for key, value in sorted(stated.items())]


def refused(code: str, message: str) -> exceptions.ClientError:
    """AWS's answer no."""
    return exceptions.ClientError({"Error": {"Code": code, "Message": message}}, "CreateStack")


@pytest.fixture
def clouds(monkeypatch: pytest.MonkeyPatch) -> Clouds:
    """Every region without a stack, but for a hub in us-east-1."""
    clouds = Clouds()
    clouds.hub(ForwardedBusArn=BUS)
    monkeypatch.setattr(boto3, "Session", lambda **_: clouds)
    monkeypatch.setattr(deploy_forwarders, "_POLL_SECONDS", 0.0)
    monkeypatch.delenv("ROOTWATCH_STACK", raising=False)
    return clouds


def run(*arguments: str) -> tuple[int, list[dict[str, str]], str]:
    """Run the command in us-east-1, and return its status, its lines of JSON and its standard error."""
    answer = CliRunner().invoke(app, ["deploy-forwarders", "--json", "--region", "us-east-1", *arguments])
    return answer.exit_code, [json.loads(line) for line in answer.stdout.splitlines()], answer.stderr


def test_every_other_region_gets_a_stack_of_the_hub(clouds: Clouds) -> None:
    """Regions get the forwarding stack with the hub's bus, name and setting of reads; the hub's own is left out."""
    status, lines, _ = run("--regions", "eu-west-1,us-east-1", "--regions", "ap-southeast-2")

    assert status == 0
    assert [(each["region"], each["result"]) for each in lines] == [
        ("ap-southeast-2", "done"),
        ("eu-west-1", "done"),
        ("us-east-1", "skip"),
    ]
    stack = clouds.stacks["eu-west-1", "rootwatch-forward"]
    assert {each["ParameterKey"]: each["ParameterValue"] for each in stack["Parameters"]} == {
        "HubBusArn": BUS,
        "HubStackName": "rootwatch",
        "RecordReadOnlyEvents": "false",
        **DEFAULTS,
    }
    assert stack["TemplateBody"] == FORWARD_TEMPLATE.read_text()
    assert stack["Capabilities"] == ["CAPABILITY_NAMED_IAM"]


def test_again_updates_what_is_there(clouds: Clouds) -> None:
    """A second run finds the stacks: one that is as it should be is left, one that is not is updated."""
    run("--regions", "eu-west-1,us-west-2")
    clouds.stacks["us-west-2", "rootwatch-forward"]["TemplateBody"] = "an older one"
    status, lines, _ = run("--regions", "eu-west-1,us-west-2")

    assert (status, [each["result"] for each in lines]) == (0, ["unchanged", "done"])
    assert lines[1]["words"] == "updated"


def test_an_update_keeps_what_somebody_set_there(clouds: Clouds) -> None:
    """The topic that a region's alarm tells is not the hub's to say: it stays when the template is deployed again."""
    run("--regions", "eu-west-1")
    stack = clouds.stacks["eu-west-1", "rootwatch-forward"]
    topic = {"ParameterKey": "AlarmTopicArn", "ParameterValue": "arn:aws:sns:eu-west-1:123456789012:on-call"}
    stack["Parameters"] = [topic if each["ParameterKey"] == "AlarmTopicArn" else each for each in stack["Parameters"]]
    stack["TemplateBody"] = "an older one"
    status, lines, _ = run("--regions", "eu-west-1")

    assert (status, lines[0]["words"]) == (0, "updated")
    assert topic in clouds.stacks["eu-west-1", "rootwatch-forward"]["Parameters"]


def test_every_parameter_is_the_hub_s_or_kept() -> None:
    """No parameter of the template is set back by an update because nobody thought of it."""
    stated = yaml.safe_load(re.sub(r"!\w+", "", FORWARD_TEMPLATE.read_text().partition("\nConditions:")[0]))
    hub = Hub("rootwatch", "us-east-1", BUS, "true")
    given = deploy_forwarders._parameters(hub, Forwarder("eu-west-1", Plan.UPDATE, kept=KEPT))

    assert {each["ParameterKey"] for each in given} == set(stated["Parameters"])
    assert all(deploy_forwarders._parameters(hub, Forwarder("eu-west-1", Plan.CREATE))[n] == given[n] for n in range(3))


def test_a_region_that_a_stack_set_covers_is_left_alone(clouds: Clouds) -> None:
    """Where the rules are there already, by a stack of another name, nothing is made that could only fail on them."""
    clouds.rules.add(("eu-west-1", "rootwatch-forward-root"))
    status, lines, _ = run("--regions", "eu-west-1,eu-west-2")

    assert status == 0
    assert [each["result"] for each in lines] == ["skip", "done"]
    assert "stack set" in lines[0]["words"]
    assert ("eu-west-1", "rootwatch-forward") not in clouds.stacks


@pytest.mark.usefixtures("clouds")
def test_a_stack_that_was_removed_again_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """CloudFormation removes what it could not create, before anybody looks; the reason is told all the same."""
    create = CloudFormation.create_stack

    def failing(self: CloudFormation, **arguments: Any) -> Any:
        answer = create(self, **arguments)
        self.clouds.stacks[self.region, arguments["StackName"]]["StackStatus"] = "DELETE_COMPLETE"
        return answer

    monkeypatch.setattr(CloudFormation, "create_stack", failing)
    monkeypatch.setattr(
        CloudFormation, "describe_stack_events",
        lambda _, StackName: {"StackEvents": [failure("ForwardRole", f"{StackName}: already exists")]},  # noqa: N803
        raising=False,
    )  # fmt: skip
    status, lines, _ = run("--regions", "eu-west-1")

    assert (status, lines[0]["result"]) == (1, "failed")
    assert "ForwardRole: id of rootwatch-forward: already exists" in lines[0]["words"]
    assert "removed again" in lines[0]["words"]


def failure(logical_id: str, reason: str) -> dict[str, str]:
    """What CloudFormation's events say of a resource that it could not make."""
    return {"ResourceStatus": "CREATE_FAILED", "ResourceStatusReason": reason, "LogicalResourceId": logical_id}


def test_a_dry_run_changes_nothing(clouds: Clouds) -> None:
    """With --dry-run each region says what would be done, and nothing is there afterwards."""
    status, lines, _ = run("--regions", "all", "--dry-run")

    assert status == 0
    assert {each["region"]: each["result"] for each in lines} == {
        region: "skip" if region == "us-east-1" else "create" for region in clouds.REGIONS
    }
    assert set(clouds.stacks) == {("us-east-1", "rootwatch")}


def test_a_region_that_refuses_stops_no_other(clouds: Clouds, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one region refuses is said in words beside the others' results, and the status is 1."""
    create = CloudFormation.create_stack

    def refusing(self: CloudFormation, **arguments: Any) -> Any:
        if self.region == "eu-west-1":
            raise refused("AccessDenied", "an explicit deny in a service control policy")
        return create(self, **arguments)

    monkeypatch.setattr(CloudFormation, "create_stack", refusing)
    status, lines, _ = run("--regions", "eu-west-1,eu-west-2")

    assert status == 1
    assert [each["result"] for each in lines] == ["failed", "done"]
    assert "service control policy" in lines[0]["words"]
    assert ("eu-west-2", "rootwatch-forward") in clouds.stacks


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--regions", "eu-west-1", "--stack", "none"), "There is no stack none in us-east-1"),
        (("--regions", "eu-west-1", "--stack", "other"), "no output ForwardedBusArn"),
        (("--regions", "Ireland"), "Ireland is no region"),
        (("--regions", " "), "Nothing is no region"),
    ],
)
def test_what_cannot_be_done_is_said(clouds: Clouds, arguments: tuple[str, ...], words: str) -> None:
    """Without a hub, or with what is no region, the command says what it expects, and the status is 2."""
    clouds.hub("other")
    status, lines, errors = run(*arguments)

    assert (status, lines) == (2, [])
    assert words in errors
    assert "Traceback" not in errors


def answering(status: str, reason: str = "") -> Any:
    """A CloudFormation whose stack stands like this."""

    class Answering:
        def describe_stacks(self, **_: Any) -> Any:
            return {"Stacks": [{"StackStatus": status, "StackId": "id"}]}

        def describe_stack_events(self, **_: Any) -> Any:
            events = [
                failure("Heartbeat", "cancelled"),
                failure("RootRule", reason),
                {"ResourceStatus": "CREATE_IN_PROGRESS", "LogicalResourceId": "RootRule"},
                {"ResourceStatus": "UPDATE_IN_PROGRESS", "ResourceType": "AWS::CloudFormation::Stack"},
                failure("TamperRule", "the update before this one"),
            ]
            return {"StackEvents": events}

    return Answering()


@pytest.mark.parametrize(
    ("status", "plan", "words"),
    [
        ("CREATE_COMPLETE", Plan.UPDATE, ""),
        ("UPDATE_ROLLBACK_COMPLETE", Plan.UPDATE, ""),
        ("ROLLBACK_COMPLETE", Plan.FAILED, "delete-stack --stack-name rootwatch-forward --region eu-west-1"),
        ("REVIEW_IN_PROGRESS", Plan.FAILED, "delete-stack --stack-name rootwatch-forward --region eu-west-1"),
        ("UPDATE_IN_PROGRESS", Plan.FAILED, "try again afterwards"),
    ],
)
def test_how_a_stack_stands_decides(status: str, plan: Plan, words: str) -> None:
    """A stack that cannot be updated is named with what to do; one that somebody is at is left alone."""
    forwarder = planned(answering(status), "rootwatch-forward", "eu-west-1")

    assert forwarder.plan is plan
    assert words in forwarder.words


@pytest.mark.parametrize("status", ["ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE", "CREATE_FAILED"])
def test_what_failed_first_is_the_reason(status: str) -> None:
    """A stack that rolls back has failed, and the words are those of what failed first, cleaned."""
    ended = deploy_forwarders._ended(
        answering(status, "already exists\x1b[2J"), Forwarder("eu-west-1", Plan.CREATE), "rootwatch-forward"
    )

    assert ended is not None
    assert ended.plan is Plan.FAILED
    assert "RootRule: already exists" in ended.words
    assert "\x1b" not in ended.words
