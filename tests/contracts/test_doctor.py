"""What `rootwatch doctor` asks AWS and Slack, and what it makes of refusals. AWS is a stand-in, Slack on loopback."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import pytest_socket
from botocore.exceptions import ClientError, EndpointConnectionError

from rootwatch_cli.deployed import StackNotFoundError, Where
from rootwatch_cli.doctor import look
from rootwatch_cli.doctor.checks import examine
from rootwatch_cli.doctor.checks.verdict import State
from rootwatch_cli.doctor.deployment import Deployment, NotAnswered, NotThere, Question
from rootwatch_cli.slack_receiver import BOT_TOKEN, CHANNEL, SIGNING_SECRET, Behaviour, SlackReceiver
from tests.builders.deployments import TRAIL, sound_deployment

EU_TRAIL = "arn:aws:cloudtrail:eu-west-1:999988887777:trail/organization"


class Client:
    """A client that answers each operation as it is told, pages included, and keeps what it was asked."""

    def __init__(
        self, service: str, region: str, answers: Mapping[str, Any], asked: list[tuple[str, str, Any]]
    ) -> None:
        """Answer for a service in a region."""
        self._service, self._region, self._answers, self._asked = service, region, answers, asked
        self.meta = type("Meta", (), {"region_name": region})

    def get_paginator(self, operation: str) -> Any:
        """Return what gives the answer as the only page."""
        return type("Pages", (), {"paginate": lambda _, **arguments: [self._answer(operation, arguments)]})()

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        return lambda **arguments: self._answer(operation, arguments)

    def _answer(self, operation: str, arguments: Any) -> Any:
        self._asked.append((self._region, f"{self._service}:{operation}", arguments))
        answer = self._answers.get(f"{self._service}:{operation}", {})
        if isinstance(answer, Exception):
            raise answer
        return answer(**arguments) if callable(answer) else answer


def error(code: str, operation: str = "DescribeRule") -> ClientError:
    """An answer of AWS that is an error."""
    return ClientError({"Error": {"Code": code, "Message": "no"}}, operation)


@pytest.fixture(scope="module")
def sound() -> Deployment:
    """A sound deployment."""
    return sound_deployment()


@pytest.fixture
def asked() -> list[tuple[str, str, Any]]:
    """What AWS was asked: region, operation, arguments."""
    return []


@pytest.fixture
def aws(sound: Deployment, asked: list[tuple[str, str, Any]], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What AWS answers; without more it has the stack, and nothing is in it."""
    resources = [
        {"LogicalResourceId": key, "PhysicalResourceId": each, "ResourceStatus": "CREATE_COMPLETE"}
        for key, each in sound.physical_ids.items()
    ]
    answers = {
        "cloudformation:describe_stacks": {"Stacks": [sound.stack]},
        "cloudformation:get_template": {"TemplateBody": sound.template},
        "cloudformation:list_stack_resources": {"StackResourceSummaries": resources},
        "cloudtrail:describe_trails": {"trailList": []},
        "secretsmanager:get_secret_value": {"SecretString": "{}"},
        "dynamodb:query": {"Items": []},
    }

    def clients(_: Where) -> Callable[..., Client]:
        return lambda service, region_name="us-east-1": Client(service, region_name, answers, asked)

    monkeypatch.setattr(look, "clients", clients)
    return answers


def test_what_aws_says_becomes_what_the_checks_read(aws: dict[str, Any]) -> None:
    """No such thing, a refusal and a network that is down are three different answers, and none of them is well."""
    aws["events:describe_rule"] = lambda Name, **_: (_ for _ in ()).throw(  # noqa: N803 - boto3's name
        {
            "rootwatch-root": error("ResourceNotFoundException"),
            "rootwatch-tamper": error("AccessDeniedException"),
        }.get(Name, EndpointConnectionError(endpoint_url="https://events"))
    )
    deployment = look.look_at(Where())
    found = {finding.subject: finding for finding in examine(deployment) if finding.check == "rule-state"}

    assert deployment.answers[Question("events:DescribeRule", "RootRule")] == NotThere()
    assert isinstance(deployment.answers[Question("events:DescribeRule", "TamperRule")], NotAnswered)
    assert found["RootRule"].state is State.FAULT
    assert found["TamperRule"].state is found["WatchdogFunctionEveryMinute"].state is State.NOT_CHECKED
    assert "AWS refuses DescribeRule to these credentials" in found["TamperRule"].what
    assert "out of reach" in found["WatchdogFunctionEveryMinute"].what


@pytest.mark.parametrize("code", ["AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"])
def test_both_spellings_of_a_queue_that_is_gone(aws: dict[str, Any], code: str) -> None:
    """SQS calls a missing queue by one name in its query protocol and by another in JSON; both mean that it is gone."""
    aws["sqs:get_queue_attributes"] = error(code)
    found = {each.subject: each.state for each in examine(look.look_at(Where())) if each.check == "queue-policy"}

    assert set(found.values()) == {State.FAULT}


def test_a_trail_is_asked_about_where_it_lives(aws: dict[str, Any], asked: list[tuple[str, str, Any]]) -> None:
    """Only a trail's own region answers for it, and an organization's trail is known by its ARN alone."""
    trail = {"Name": "organization", "TrailARN": EU_TRAIL, "HomeRegion": "eu-west-1", "IsMultiRegionTrail": True}
    aws["cloudtrail:describe_trails"] = {"trailList": [trail]}
    aws["cloudtrail:get_trail_status"] = {"IsLogging": True}
    aws["cloudtrail:get_event_selectors"] = {"EventSelectors": [{"ReadWriteType": "All"}]}
    findings = examine(look.look_at(Where()))

    assert ("eu-west-1", "cloudtrail:get_trail_status", {"Name": EU_TRAIL}) in asked
    assert ("eu-west-1", "cloudtrail:get_event_selectors", {"TrailName": EU_TRAIL}) in asked
    states = {each.check: each.state for each in findings if each.check.startswith("trail")}
    assert set(states.values()) == {State.OK}
    assert TRAIL not in str(asked)


def test_a_resource_that_cloudformation_lists_no_more_is_missing(
    aws: dict[str, Any], asked: list[tuple[str, str, Any]]
) -> None:
    """What the template asks for and the stack does not have is a fault, and nobody is asked about no name."""
    summaries = aws["cloudformation:list_stack_resources"]["StackResourceSummaries"]
    summaries[:] = [each for each in summaries if each["LogicalResourceId"] != "TamperRule"]
    findings = examine(look.look_at(Where()))

    assert [each.state for each in findings if (each.check, each.subject) == ("rule-state", "TamperRule")] == [
        State.FAULT
    ]
    assert not [arguments for _, operation, arguments in asked if operation == "events:describe_rule"
                and arguments["Name"] in {"None", ""}]  # fmt: skip


@pytest.mark.parametrize("body", ["Resources: {}", {"Resources": {"Bucket": {"Type": "AWS::S3::Bucket"}}}, {}])
def test_a_stack_of_somebody_else(aws: dict[str, Any], body: object) -> None:
    """A stack whose template is no JSON, or has nothing of ours, is not examined as if it were ours."""
    aws["cloudformation:get_template"] = {"TemplateBody": body}

    with pytest.raises(StackNotFoundError, match="another stack than Rootwatch's"):
        look.look_at(Where())


def test_what_was_not_read_to_its_end_is_not_well(aws: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are more accounts and regions than are read, nothing is claimed of their heartbeats."""
    monkeypatch.setattr(look, "MOST_ITEMS", 1)
    items = [{"pk": {"S": "COVERAGE"}, "sk": {"S": place}} for place in ("111122223333#us-east-1", "444455556666#x")]
    aws["dynamodb:query"] = {"Items": items}
    [finding] = [each for each in examine(look.look_at(Where())) if each.check == "heartbeat"]

    assert finding.state is State.NOT_CHECKED
    assert "more than 1 items of COVERAGE" in finding.what


def test_the_forwarders_of_this_account_are_asked_about_where_they_are(
    aws: dict[str, Any], asked: list[tuple[str, str, Any]]
) -> None:
    """Another region of the hub's account is asked there; another account is out of reach, and not asked at all."""
    places = ("111122223333#eu-west-1", "111122223333#us-east-1", "444455556666#eu-west-2")
    aws["dynamodb:query"] = {"Items": [{"pk": {"S": "COVERAGE"}, "sk": {"S": place}} for place in places]}
    aws["sqs:get_queue_url"] = error("AWS.SimpleQueueService.NonExistentQueue")
    aws["events:describe_rule"] = lambda Name, **_: error("ResourceNotFoundException") if "forward-" in Name else {}  # noqa: N803
    findings = [each for each in examine(look.look_at(Where())) if each.check == "forwarders"]
    elsewhere = {(region, operation) for region, operation, _ in asked if region != "us-east-1"}

    assert elsewhere == {
        ("eu-west-1", "events:describe_rule"), ("eu-west-1", "events:list_targets_by_rule"),
        ("eu-west-1", "sqs:get_queue_url"),
    }  # fmt: skip
    assert {each.state for each in findings} <= {State.FAULT, State.NOT_CHECKED}


def test_every_permission_that_is_needed_is_stated(aws: dict[str, Any], asked: list[tuple[str, str, Any]]) -> None:
    """The list of what an identity has to be allowed to is what is asked, no more and no less."""
    trail = {"Name": "t", "TrailARN": EU_TRAIL, "HomeRegion": "eu-west-1"}
    aws["cloudtrail:describe_trails"] = {"trailList": [trail]}
    aws["events:describe_rule"] = {"State": "ENABLED", "EventPattern": "{}"}
    aws["dynamodb:query"] = {"Items": [{"pk": {"S": "COVERAGE"}, "sk": {"S": "111122223333#eu-west-1"}}]}
    look.look_at(Where())
    operations = {operation.replace("_", "").lower() for _, operation, _ in asked}

    assert operations == {action.lower() for action in look.ACTIONS}


# --- Slack ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def receiver() -> Iterator[SlackReceiver]:
    """A Slack on the loopback address."""
    pytest_socket.socket_allow_hosts(["127.0.0.1"], allow_unix_socket=True)
    with SlackReceiver() as running:
        yield running


def slack_states(secret: object, origin: str, aws: dict[str, Any]) -> tuple[tuple[State, str], tuple[State, str], str]:
    """What the two checks of Slack find with a secret, and the whole description as text."""
    text = secret if isinstance(secret, str) else json.dumps(secret)
    aws["secretsmanager:get_secret_value"] = {"SecretString": text}
    described = aws["cloudformation:describe_stacks"]["Stacks"][0]
    parameters = [each for each in described["Parameters"] if each["ParameterKey"] != "SlackOrigin"]
    parameters.append({"ParameterKey": "SlackOrigin", "ParameterValue": origin})
    aws["cloudformation:describe_stacks"] = {"Stacks": [{**described, "Parameters": parameters}]}
    deployment = look.look_at(Where())
    found = {each.check: (each.state, each.what) for each in examine(deployment)}
    return found["slack-secret"], found["slack"], str(deployment)


def test_slack_is_asked_and_nothing_is_posted(receiver: SlackReceiver, aws: dict[str, Any]) -> None:
    """A webhook and a bot that Slack accepts are well; neither the secret nor a message goes anywhere."""
    for secret in ({"webhook_url": receiver.webhook_url}, {"bot_token": BOT_TOKEN, "channel": CHANNEL}):
        (form, _), (accepted, _), described = slack_states(secret, receiver.origin, aws)

        assert (form, accepted) == (State.OK, State.OK)
        assert receiver.webhook_url not in described
        assert BOT_TOKEN not in described
    assert receiver.messages == ()
    assert receiver.requests == 3  # the webhook once, the bot about token and channel


@pytest.mark.parametrize(
    ("secret", "state", "word"),
    [
        ({}, State.WARNING, "not set up"),
        ("not JSON", State.FAULT, "not JSON"),
        ("", State.FAULT, "not JSON"),
        ({"webhook_url": "https://evil.example.com/services/x"}, State.FAULT, "must be JSON such as"),
        ({"bot_token": BOT_TOKEN}, State.FAULT, "needs the id"),
        ({"bot_token": "xoxp-user", "channel": CHANNEL}, State.FAULT, "begins with xoxb-"),
    ],
)
def test_a_secret_of_another_form(
    receiver: SlackReceiver, aws: dict[str, Any], secret: object, state: State, word: str
) -> None:
    """A secret that our notifier could not use is told in words, and Slack is not asked about it."""
    (found, what), (accepted, _), _ = slack_states(secret, receiver.origin, aws)

    assert found is state
    assert word in what
    assert accepted is State.NOT_CHECKED
    assert receiver.requests == 0


@pytest.mark.parametrize(
    ("signing_secret", "state"),
    [(None, State.FAULT), ("", State.FAULT), ("xoxb-not-one", State.FAULT), (SIGNING_SECRET, State.OK)],
)
def test_buttons_need_a_signing_secret(
    receiver: SlackReceiver, aws: dict[str, Any], signing_secret: str | None, state: State
) -> None:
    """With buttons and a secret that can check no press, doctor says that they do nothing, and never the secret."""
    described = aws["cloudformation:describe_stacks"]["Stacks"][0]
    buttons = {"ParameterKey": "SlackButtons", "ParameterValue": "true"}
    others = [each for each in described["Parameters"] if each["ParameterKey"] != "SlackButtons"]
    aws["cloudformation:describe_stacks"] = {"Stacks": [{**described, "Parameters": [*others, buttons]}]}
    secret = {"webhook_url": receiver.webhook_url, "signing_secret": signing_secret}
    (found, what), _, deployed = slack_states(secret, receiver.origin, aws)

    assert found is state
    assert ("every press is refused" in what) is (state is State.FAULT)
    assert SIGNING_SECRET not in deployed


def test_slack_refuses_or_is_out_of_reach(receiver: SlackReceiver, aws: dict[str, Any]) -> None:
    """A removed webhook or a wrong token is a fault; a Slack that is down proves nothing."""
    webhook, bot = {"webhook_url": receiver.webhook_url}, {"bot_token": BOT_TOKEN, "channel": CHANNEL}
    _, wrong, _ = slack_states({**bot, "bot_token": "xoxb-wrong"}, receiver.origin, aws)
    receiver.answer_with(Behaviour.NO_SERVICE)
    _, removed, _ = slack_states(webhook, receiver.origin, aws)
    receiver.answer_with(Behaviour.SERVER_ERROR)
    _, down, _ = slack_states(webhook, receiver.origin, aws)

    assert wrong[0] is removed[0] is State.FAULT
    assert "the bot token is wrong" in wrong[1]
    assert "the webhook was removed" in removed[1]
    assert down[0] is State.NOT_CHECKED
    assert "(500)" in down[1]
