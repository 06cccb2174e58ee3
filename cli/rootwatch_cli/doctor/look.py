"""Asks AWS, and Slack, what `rootwatch doctor` judges. It changes nothing, and keeps no secret in what it describes."""

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any, Final

from botocore import exceptions

from rootwatch.alert import visible
from rootwatch.audit.dynamodb import DynamoTable
from rootwatch.channels import slack, slack_bot
from rootwatch.channels.slack_request import signing_secret
from rootwatch.errors import DeliveryFailedError, DeliveryRefusedError, RequestRefusedError, StoreError
from rootwatch.timed_session import TimedSession
from rootwatch_cli.deployed import StackNotFoundError, Where, clients, described_stack, in_words, physical_ids
from rootwatch_cli.doctor.checks import forwarding
from rootwatch_cli.doctor.checks.rules import PROBES, place_of_rule
from rootwatch_cli.doctor.deployment import (
    Answer,
    Deployment,
    MissingError,
    NotAnswered,
    NotReadError,
    NotThere,
    Question,
    Resource,
)
from rootwatch_cli.specimen import load_specimen

MOST_AT_ONCE: Final = 8
"""Questions at the same time."""
MOST_ITEMS: Final = 200_000
"""Items of the coverage that are read: accounts times regions. Where there are more, nothing is claimed of any."""

Client = Any  # boto3 makes its clients at run time, one type per service
Asked = Answer | NotThere | NotAnswered
Ask = Callable[[], Asked]
Questions = Iterator[tuple[Question, Ask]]


def _all(client: Client, operation: str, result: str, **arguments: str) -> Answer:
    """Return an answer of several pages as one."""
    pages = client.get_paginator(operation).paginate(**arguments)
    return {result: [each for page in pages for each in page.get(result, [])]}


def _readers(client: Client, queue: Resource, deployment: Deployment) -> Answer:
    arn = deployment.resolve({"Fn::GetAtt": [queue.logical_id, "Arn"]})
    return _all(client, "list_event_source_mappings", "EventSourceMappings", EventSourceArn=arn)


def _rule(client: Client, rule: Resource, _: Deployment) -> Answer:
    bus, name = place_of_rule(rule)
    found: Answer = client.describe_rule(Name=name, EventBusName=bus)
    return found


def _targets(client: Client, rule: Resource, _: Deployment) -> Answer:
    bus, name = place_of_rule(rule)
    return _all(client, "list_targets_by_rule", "Targets", Rule=name, EventBusName=bus)


def _subscriptions(client: Client, topic: Resource, _: Deployment) -> Answer:
    return _all(client, "list_subscriptions_by_topic", "Subscriptions", TopicArn=str(topic.physical_id))


def _by(operation: str, argument: str, **more: object) -> Callable[[Client, Resource, Deployment], Answer]:
    """Return what asks about a resource by its physical id."""

    def ask(client: Client, resource: Resource, _: Deployment) -> Answer:
        found: Answer = getattr(client, operation)(**{argument: resource.physical_id}, **more)
        return found

    return ask


_ASKS: Final[Mapping[str, Mapping[str, Callable[[Client, Resource, Deployment], Answer]]]] = {
    "AWS::Events::Rule": {"events:DescribeRule": _rule, "events:ListTargetsByRule": _targets},
    "AWS::Events::EventBus": {"events:DescribeEventBus": _by("describe_event_bus", "Name")},
    "AWS::SQS::Queue": {
        "sqs:GetQueueAttributes": _by("get_queue_attributes", "QueueUrl", AttributeNames=["All"]),
        "lambda:ListEventSourceMappings": _readers,
    },
    "AWS::Lambda::EventSourceMapping": {"lambda:GetEventSourceMapping": _by("get_event_source_mapping", "UUID")},
    "AWS::Lambda::Function": {
        "lambda:GetFunctionConfiguration": _by("get_function_configuration", "FunctionName"),
        "lambda:GetFunctionConcurrency": _by("get_function_concurrency", "FunctionName"),
    },
    "AWS::DynamoDB::Table": {
        "dynamodb:DescribeTable": _by("describe_table", "TableName"),
        "dynamodb:DescribeContinuousBackups": _by("describe_continuous_backups", "TableName"),
        "dynamodb:DescribeTimeToLive": _by("describe_time_to_live", "TableName"),
    },
    "AWS::KMS::Key": {
        "kms:DescribeKey": _by("describe_key", "KeyId"),
        "kms:GetKeyPolicy": _by("get_key_policy", "KeyId", PolicyName="default"),
    },
    "AWS::SNS::Topic": {
        "sns:GetTopicAttributes": _by("get_topic_attributes", "TopicArn"),
        "sns:ListSubscriptionsByTopic": _subscriptions,
    },
}
"""What is asked about each resource of a type."""

_SERVICES: Final = (
    "cloudformation", "cloudtrail", "cloudwatch", "dynamodb", "events", "kms", "lambda", "secretsmanager", "sns", "sqs",
)  # fmt: skip

ACTIONS: Final = tuple(
    sorted(
        {action for asks in _ASKS.values() for action in asks}
        | {
            "cloudformation:DescribeStacks", "cloudformation:GetTemplate", "cloudformation:ListStackResources",
            "cloudtrail:DescribeTrails", "cloudtrail:GetEventSelectors", "cloudtrail:GetTrailStatus",
            "cloudwatch:DescribeAlarms", "dynamodb:Query", "events:TestEventPattern", "lambda:GetAccountSettings",
            "secretsmanager:GetSecretValue", "sqs:GetQueueUrl",
        }
    )
)  # fmt: skip
"""What an identity has to be allowed to, so that every check can be made; what it is not allowed to is not checked."""

_NOT_THERE: Final = frozenset(
    {
        "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "ResourceNotFoundException",
        "ResourceNotFound", "NotFound", "NotFoundException", "TrailNotFoundException", "TableNotFoundException",
    }
)  # fmt: skip


_OURS: Final = frozenset({"RootRule", "AuditTable"})
"""Resources that every version of the template has."""


def look_at(where: Where) -> Deployment:
    """Describe a deployed stack.

    Raises:
        StackNotFoundError: there is no such stack, or its template cannot be read as one of ours.
        ClientError, BotoCoreError: AWS refuses, or is out of reach, for what nothing can be checked without.

    """
    make = clients(where)
    client = {service: make(service) for service in _SERVICES}  # here: boto3 makes none in several threads
    cloudformation = client["cloudformation"]
    stack = described_stack(cloudformation, where.stack)
    template = cloudformation.get_template(StackName=where.stack, TemplateStage="Processed")["TemplateBody"]
    if not isinstance(template, Mapping) or not template.get("Resources", {}).keys() >= _OURS:
        message = (
            f"The stack {visible(where.stack)} is another stack than Rootwatch's: its template has no "
            f"{' and no '.join(sorted(_OURS))}. Name Rootwatch's own with --stack."
        )
        raise StackNotFoundError(message)
    _, partition, _, region, account_id, _ = str(stack["StackId"]).split(":", 5)
    deployment = Deployment(
        stack=stack,
        account_id=account_id,
        region=region,
        partition=partition,
        now=datetime.now(UTC),
        template=template,
        physical_ids=physical_ids(cloudformation, where.stack),
    )
    for questions in (_first_questions, _then_questions):
        asked = dict(questions(deployment, client, make))
        with ThreadPoolExecutor(MOST_AT_ONCE) as threads:
            answers = zip(asked, threads.map(_answered, asked.values()), strict=True)
            deployment = replace(deployment, answers=dict(deployment.answers) | dict(answers))
    return deployment


def _answered(ask: Ask) -> Asked:
    try:
        return ask()
    except exceptions.ClientError as error:
        if str(error.response.get("Error", {}).get("Code")) in _NOT_THERE:
            return NotThere()
        return NotAnswered(in_words(error))
    except (exceptions.BotoCoreError, StoreError, DeliveryFailedError) as error:
        return NotAnswered(in_words(error))
    except (KeyError, TypeError, ValueError) as error:
        return NotAnswered(f"AWS's answer has another form than expected ({type(error).__name__})")


# --- what does not depend on another answer ------------------------------------------------------------------------


def _first_questions(deployment: Deployment, client: Mapping[str, Client], _: object) -> Questions:
    for kind, asks in _ASKS.items():
        for resource in deployment.resources(kind):
            for action, ask in asks.items():
                asking = partial(ask, client[action.partition(":")[0]], resource, deployment)
                yield Question(action, resource.logical_id), asking if resource.physical_id else NotThere
    yield Question("lambda:GetAccountSettings"), client["lambda"].get_account_settings
    yield Question("cloudtrail:DescribeTrails"), client["cloudtrail"].describe_trails  # those of other regions, too
    alarms = partial(_all, client["cloudwatch"], "describe_alarms", "MetricAlarms")
    yield Question("cloudwatch:DescribeAlarms"), partial(alarms, AlarmNamePrefix=f"{deployment.name}-")
    for secret in deployment.resources("AWS::SecretsManager::Secret"):
        origin, read = deployment.parameter("SlackOrigin") or "", partial(_read, client["secretsmanager"], secret)
        yield Question("secretsmanager:GetSecretValue", secret.logical_id), partial(_form, read, origin)
        yield Question("slack:Accepts", secret.logical_id), partial(_accepted, read, origin)
    for table in deployment.resources("AWS::DynamoDB::Table"):
        for partition in ("WATCHDOG", "COVERAGE"):
            items = partial(_items, client["dynamodb"], table, partition)
            yield Question("dynamodb:Query", partition), items


def _items(client: Client, table: Resource, partition: str) -> Asked:
    items = list(islice(DynamoTable(client, str(table.physical_id)).query(partition), MOST_ITEMS + 1))
    if len(items) > MOST_ITEMS:
        return NotAnswered(f"the table has more than {MOST_ITEMS:,} items of {partition}; see rootwatch coverage")
    return {"Items": items}


# --- Slack ---------------------------------------------------------------------------------------------------------


def _read(client: Client, secret: Resource) -> object:
    """Return what Slack's secret holds; raises ValueError where that is not JSON."""
    return json.loads(client.get_secret_value(SecretId=secret.physical_id).get("SecretString") or "")


def _form(read: Callable[[], object], origin: str) -> Answer:
    """Return the form of Slack's secret, and whether it can check presses, or what is wrong; never what it holds."""
    try:
        secret = read()
    except ValueError:
        return {"problem": "Slack's secret is not JSON."}
    try:
        if slack_bot.bot_secret(secret) is not None:
            form = "bot"
        else:
            form = "webhook" if slack.webhook_address(secret, origin) else "none"
    except DeliveryRefusedError as error:
        return {"problem": str(error)}
    try:
        signing_secret(secret)
    except RequestRefusedError:
        return {"form": form, "signed": False}
    return {"form": form, "signed": True}


def _accepted(read: Callable[[], object], origin: str) -> Answer:
    """Ask Slack whether it takes messages with this secret; raises DeliveryFailedError where it is out of reach."""
    if _form(read, origin).get("form") not in {"bot", "webhook"}:
        return {"accepted": False, "why": "there is nothing to ask Slack about"}
    secret = read()
    with TimedSession(slack.LONGEST_EXCHANGE) as session:
        try:
            of_bot = slack_bot.bot_secret(secret)
            if of_bot is not None:
                slack_bot.prove(session, slack_bot.api_origin(origin), of_bot)
            else:
                slack.prove(session, str(slack.webhook_address(secret, origin)))
        except DeliveryRefusedError as error:
            return {"accepted": False, "why": str(error)}
    return {"accepted": True}


# --- what does -----------------------------------------------------------------------------------------------------


def _then_questions(deployment: Deployment, client: Mapping[str, Client], make: Callable[..., Client]) -> Questions:
    for rule in deployment.resources("AWS::Events::Rule"):
        described = deployment.answers.get(Question("events:DescribeRule", rule.logical_id))
        for specimen in PROBES.get(rule.logical_id, ()):
            question = Question("events:TestEventPattern", f"{rule.logical_id}/{specimen}")
            # Where the rule itself could not be read, that is also the answer to what it lets through.
            yield question, partial(_probe, client["events"], described, specimen)
    trails = deployment.answers.get(Question("cloudtrail:DescribeTrails"))
    for trail in trails["trailList"] if isinstance(trails, Mapping) else ():
        # Only the trail's own region answers for it.
        cloudtrail = make("cloudtrail", region_name=str(trail.get("HomeRegion") or deployment.region))
        arn = str(trail["TrailARN"])
        yield Question("cloudtrail:GetTrailStatus", arn), partial(cloudtrail.get_trail_status, Name=arn)
        yield Question("cloudtrail:GetEventSelectors", arn), partial(cloudtrail.get_event_selectors, TrailName=arn)
    yield from _forwarder_questions(deployment, make)


def _forwarder_questions(deployment: Deployment, make: Callable[..., Client]) -> Questions:
    """Ask about the forwarders of this account's other regions; another account's are out of reach."""
    try:
        regions = forwarding.other_regions(deployment)
    except (NotReadError, MissingError):  # the check itself says so
        return
    for region in regions:
        events, queues = make("events", region_name=region), make("sqs", region_name=region)
        for which in forwarding.RULES:
            name = forwarding.rule_name(deployment, which)
            yield Question("events:DescribeRule", f"{region}/{which}"), partial(events.describe_rule, Name=name)
            targets = partial(_all, events, "list_targets_by_rule", "Targets", Rule=name)
            yield Question("events:ListTargetsByRule", f"{region}/{which}"), targets
        letters = partial(_letters, queues, forwarding.queue_name(deployment))
        yield Question("sqs:GetQueueAttributes", f"{region}/dead-letter"), letters


def _letters(client: Client, name: str) -> Answer:
    url = client.get_queue_url(QueueName=name)["QueueUrl"]
    found: Answer = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return {"Attributes": {**found, "QueueUrl": url}}


def _probe(client: Client, described: Asked | None, specimen: str) -> Asked:
    if not isinstance(described, Mapping):
        return described or NotThere()
    if not described.get("EventPattern"):
        return {"Result": False}  # it is a schedule now, and lets nothing through
    envelopes = load_specimen(specimen)
    envelope = envelopes[0] if isinstance(envelopes, list) else envelopes
    found: Answer = client.test_event_pattern(EventPattern=described["EventPattern"], Event=json.dumps(envelope))
    return found
