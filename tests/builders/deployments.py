"""A sound deployment, described as `rootwatch doctor` would after asking AWS: each part of it can then be spoilt."""

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rootwatch_cli.doctor.checks.rules import PROBES
from rootwatch_cli.doctor.deployment import Deployment, Question, Resource
from tests.template.stack import ACCOUNT, REGION, Stack, transformed

NOW: Final = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)
TRAIL: Final = f"arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/management-events"
WATCHED: Final = "444455556666"
LONG_AGO: Final = (NOW - timedelta(days=30)).isoformat()


def sound_deployment(**parameters: str) -> Deployment:
    """Return a deployment of template.yaml in an audit account, in which everything is as it should be.

    Args:
        parameters: parameters of the stack, with other values than their defaults.

    """
    stack = Stack(**{"ForwardingAccounts": WATCHED} | parameters)
    template = json.loads(transformed())
    kept = {key: each for key, each in template["Resources"].items() if key in stack.resources}
    physical_ids = {key: _physical_id(stack, key, each["Type"]) for key, each in kept.items()}
    described = {
        "StackName": "rootwatch",
        "StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/rootwatch/0c6e3a4e",
        "StackStatus": "UPDATE_COMPLETE",
        "EnableTerminationProtection": True,
        "Parameters": [{"ParameterKey": key, "ParameterValue": each} for key, each in stack.parameters.items()],
    }
    deployment = Deployment(described, ACCOUNT, REGION, "aws", NOW, template, physical_ids)
    return replace(deployment, answers={Question(*key): each for key, each in _answers(deployment)})


def with_answer(deployment: Deployment, action: str, subject: str, answer: Any) -> Deployment:
    """Return the deployment with another answer to one question."""
    return replace(deployment, answers={**deployment.answers, Question(action, subject): answer})


def changed(deployment: Deployment, action: str, subject: str, path: str, value: Any) -> Deployment:
    """Return the deployment with one value in an answer changed; None takes it out.

    `path` names it with dots between the keys; the text of a JSON document is opened on the way.
    """
    answer = copy.deepcopy(deployment.answers[Question(action, subject)])
    return with_answer(deployment, action, subject, _with(answer, path.split("."), value))


def _with(document: Any, path: list[str], value: Any) -> Any:
    if isinstance(document, str):
        return json.dumps(_with(json.loads(document), path, value))
    key: Any = int(path[0]) if isinstance(document, list) else path[0]
    if len(path) > 1:
        document[key] = _with(document[key], path[1:], value)
    elif value is None:
        del document[key]
    else:
        document[key] = value
    return document


def _physical_id(stack: Stack, logical_id: str, kind: str) -> str:
    found = str(stack.resolve({"Ref": logical_id}))
    return f"uuid-of-{logical_id}" if kind == "AWS::Lambda::EventSourceMapping" else found


def _answers(deployment: Deployment) -> Iterator[tuple[tuple[str, str], Mapping[str, Any]]]:
    for kind, answers in _BY_KIND.items():
        for resource in deployment.resources(kind):
            for action, answer in answers(deployment, resource).items():
                yield (action, resource.logical_id), answer
    for rule, specimens in PROBES.items():
        for specimen in specimens:
            yield ("events:TestEventPattern", f"{rule}/{specimen}"), {"Result": True}
    yield (
        ("cloudtrail:DescribeTrails", ""),
        {
            "trailList": [
                {
                    "Name": "management-events",
                    "TrailARN": TRAIL,
                    "HomeRegion": REGION,
                    "IsMultiRegionTrail": True,
                    "IncludeGlobalServiceEvents": True,
                }
            ]
        },
    )
    yield ("cloudtrail:GetTrailStatus", TRAIL), {"IsLogging": True}
    yield (
        ("cloudtrail:GetEventSelectors", TRAIL),
        {
            "TrailARN": TRAIL,
            "EventSelectors": [{"ReadWriteType": "All", "IncludeManagementEvents": True, "DataResources": []}],
        },
    )
    yield (
        ("lambda:GetAccountSettings", ""),
        {"AccountLimit": {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 1000}},
    )
    yield (
        ("cloudwatch:DescribeAlarms", ""),
        {
            "MetricAlarms": [
                {**alarm.properties, "ActionsEnabled": True, "StateValue": "OK"}
                for alarm in deployment.resources("AWS::CloudWatch::Alarm")
            ]
        },
    )
    hour = (NOW - timedelta(hours=1)).isoformat()
    canary = {"nonce": "20261103T110000Z-0", "sent_at": hour, "since": LONG_AGO, "proven_at": hour}
    yield (
        ("dynamodb:Query", "WATCHDOG"),
        {
            "Items": [
                {"pk": "WATCHDOG", "sk": "PROOF", "sendings": {"canary": canary}},
                {"pk": "WATCHDOG", "sk": "STATE"},
            ]
        },
    )
    places = [(ACCOUNT, REGION), *((WATCHED, region) for region in ("us-east-1", "us-east-2", "us-west-2"))]
    yield (
        ("dynamodb:Query", "COVERAGE"),
        {
            "Items": [
                {"pk": "COVERAGE", "sk": f"{account}#{region}", "first_at": LONG_AGO, "heartbeat_at": hour}
                for account, region in places
            ]
        },
    )


def _rule(_: Deployment, rule: Resource) -> dict[str, Any]:
    pattern = rule.properties.get("EventPattern")
    described = {"Name": rule.physical_id, "State": rule.properties.get("State", "ENABLED")}
    described |= {"EventPattern": json.dumps(pattern)} if pattern else {}
    described |= {key: each for key, each in rule.properties.items() if key == "ScheduleExpression"}
    return {
        "events:DescribeRule": described,
        "events:ListTargetsByRule": {"Targets": copy.deepcopy(rule.properties["Targets"])},
    }


def _policy(deployment: Deployment, kind: str, listed: str, resource: Resource) -> dict[str, str]:
    found = [each.properties["PolicyDocument"] for each in deployment.resources(kind)
             if resource.physical_id in each.properties[listed]]  # fmt: skip
    return {"Policy": json.dumps(found[0])} if found else {}


def _queue(deployment: Deployment, queue: Resource) -> dict[str, Any]:
    attributes = {
        name: json.dumps(value) if isinstance(value, dict) else str(value).lower() if value is True else str(value)
        for name, value in queue.properties.items()
        if name != "QueueName"
    }
    attributes |= {
        "QueueArn": str(deployment.resolve({"Fn::GetAtt": [queue.logical_id, "Arn"]})),
        "ApproximateNumberOfMessages": "0",
        "ApproximateNumberOfMessagesNotVisible": "0",
        **_policy(deployment, "AWS::SQS::QueuePolicy", "Queues", queue),
    }
    return {
        "sqs:GetQueueAttributes": {"Attributes": attributes},
        "lambda:ListEventSourceMappings": {"EventSourceMappings": []},
    }


def _mapping(_: Deployment, mapping: Resource) -> dict[str, Any]:
    answer = {**copy.deepcopy(mapping.properties), "UUID": mapping.physical_id, "State": "Enabled"}
    answer["FunctionArn"] = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{mapping.properties['FunctionName']}"
    return {"lambda:GetEventSourceMapping": answer | {"LastProcessingResult": "OK"}}


def _function(_: Deployment, function: Resource) -> dict[str, Any]:
    properties = function.properties
    variables = {key: str(each) for key, each in properties["Environment"]["Variables"].items()}
    return {
        "lambda:GetFunctionConfiguration": {
            "FunctionName": properties["FunctionName"],
            "Role": properties["Role"],
            "State": "Active",
            "LastUpdateStatus": "Successful",
            "Environment": {"Variables": variables},
        },
        "lambda:GetFunctionConcurrency": {},
    }


def _table(_: Deployment, table: Resource) -> dict[str, Any]:
    return {
        "dynamodb:DescribeTable": {
            "Table": {
                "TableStatus": "ACTIVE",
                "DeletionProtectionEnabled": True,
                "GlobalSecondaryIndexes": copy.deepcopy(table.properties["GlobalSecondaryIndexes"]),
                "StreamSpecification": {"StreamEnabled": True, **table.properties["StreamSpecification"]},
            }
        },
        "dynamodb:DescribeContinuousBackups": {
            "ContinuousBackupsDescription": {"PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "ENABLED"}}
        },
        "dynamodb:DescribeTimeToLive": {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}},
    }


def _key(_: Deployment, key: Resource) -> dict[str, Any]:
    return {
        "kms:DescribeKey": {"KeyMetadata": {"KeyState": "Enabled"}},
        "kms:GetKeyPolicy": {"Policy": json.dumps(key.properties["KeyPolicy"])},
    }


def _topic(deployment: Deployment, topic: Resource) -> dict[str, Any]:
    subscription = {
        "SubscriptionArn": f"{topic.physical_id}:0c6e3a4e", "Protocol": "email", "Endpoint": "security@example.com"
    }  # fmt: skip
    attributes = {
        "KmsMasterKeyId": topic.properties["KmsMasterKeyId"],
        **_policy(deployment, "AWS::SNS::TopicPolicy", "Topics", topic),
    }
    return {
        "sns:GetTopicAttributes": {"Attributes": attributes},
        "sns:ListSubscriptionsByTopic": {"Subscriptions": [subscription]},
    }


def _secret(_: Deployment, _secret: Resource) -> dict[str, Any]:
    return {"secretsmanager:GetSecretValue": {"form": "webhook", "signed": False}, "slack:Accepts": {"accepted": True}}


def _bus(_: Deployment, bus: Resource) -> dict[str, Any]:
    policy = copy.deepcopy(bus.properties.get("Policy"))
    for statement in policy["Statement"] if policy else ():
        if isinstance(statement["Principal"], dict):  # AWS writes accounts down as their root's ARN
            statement["Principal"] = {"AWS": [f"arn:aws:iam::{each}:root" for each in statement["Principal"]["AWS"]]}
    return {"events:DescribeEventBus": {"Name": bus.physical_id} | ({"Policy": json.dumps(policy)} if policy else {})}


def forwarder(deployment: Deployment, region: str) -> Deployment:
    """Return the deployment with a sound forwarder in another region of its own account."""
    bus = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/rootwatch-forwarded"
    found = deployment.answer("dynamodb:Query", "COVERAGE")["Items"]
    place = {**found[0], "sk": f"{ACCOUNT}#{region}"}
    answers: dict[Question, Any] = {Question("dynamodb:Query", "COVERAGE"): {"Items": [*found, place]}}
    for which, state in (("root", "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"), ("tamper", "ENABLED")):
        answers[Question("events:DescribeRule", f"{region}/{which}")] = {"State": state}
        answers[Question("events:ListTargetsByRule", f"{region}/{which}")] = {"Targets": [{"Id": "hub", "Arn": bus}]}
    letters = {"Attributes": {"ApproximateNumberOfMessages": "0", "QueueUrl": f"https://sqs.{region}.amazonaws.com/q"}}
    answers[Question("sqs:GetQueueAttributes", f"{region}/dead-letter")] = letters
    return replace(deployment, answers={**deployment.answers, **answers})


_BY_KIND: Final = {
    "AWS::Events::EventBus": _bus,
    "AWS::Events::Rule": _rule,
    "AWS::SQS::Queue": _queue,
    "AWS::Lambda::EventSourceMapping": _mapping,
    "AWS::Lambda::Function": _function,
    "AWS::DynamoDB::Table": _table,
    "AWS::KMS::Key": _key,
    "AWS::SNS::Topic": _topic,
    "AWS::SecretsManager::Secret": _secret,
}
