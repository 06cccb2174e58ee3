"""The template as CloudFormation sees it: SAM's parts made plain, references and conditions worked out.

Names and ARNs are what a deployment in account 111122223333 would give; what only AWS can know is a stand-in.
"""

import copy
import functools
import json
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

TEMPLATE = pathlib.Path(__file__).resolve().parents[2] / "template.yaml"
FORWARD_TEMPLATE = TEMPLATE.with_name("template-forward.yaml")
ACCOUNT = "111122223333"
REGION = "us-east-1"
KEY_ID = "1234abcd-12ab-34cd-56ef-1234567890ab"

# Type to the property that names the resource, and the ARN made of that name.
_NAMED = {
    "AWS::SQS::Queue": ("QueueName", f"arn:aws:sqs:{REGION}:{ACCOUNT}:{{}}"),
    "AWS::SNS::Topic": ("TopicName", f"arn:aws:sns:{REGION}:{ACCOUNT}:{{}}"),
    "AWS::DynamoDB::Table": ("TableName", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{{}}"),
    "AWS::IAM::Role": ("RoleName", f"arn:aws:iam::{ACCOUNT}:role/{{}}"),
    "AWS::Logs::LogGroup": ("LogGroupName", f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{{}}:*"),
    "AWS::Events::Rule": ("Name", f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{{}}"),
    "AWS::Events::EventBus": ("Name", f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{{}}"),
    "AWS::Scheduler::Schedule": ("Name", f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/{{}}"),
    "AWS::Lambda::Function": ("FunctionName", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{{}}"),
    "AWS::CloudWatch::Alarm": ("AlarmName", f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{{}}"),
    "AWS::SecretsManager::Secret": ("Name", f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{{}}-AbCdEf"),
    "AWS::KMS::Alias": ("AliasName", f"arn:aws:kms:{REGION}:{ACCOUNT}:{{}}"),
}
_NO_VALUE = object()
"""What `Ref: AWS::NoValue` gives: as an element of a list, or as a property, it leaves no trace."""
# What Ref gives is the ARN for these, and the name for the others.
_REF_IS_ARN = {"AWS::SNS::Topic", "AWS::SecretsManager::Secret"}


@functools.cache
def source() -> dict[str, Any]:
    """Return template.yaml as it is written."""
    parsed: dict[str, Any] = yaml_parse(TEMPLATE.read_text())  # type: ignore[no-untyped-call] # it has no types
    return parsed


@functools.cache
def transformed() -> str:
    """Return the plain template as CloudFormation gets it from SAM, as JSON with its functions in it."""
    template = copy.deepcopy(source())
    # The translator wants code that is uploaded already.
    template["Globals"]["Function"]["CodeUri"] = "s3://code/functions.zip"
    template["Resources"]["RootwatchLayer"]["Properties"]["ContentUri"] = "s3://code/layer.zip"
    parameters = {"AlertEmail": "security@example.com"}
    session = boto3.Session(region_name=REGION)
    return json.dumps(Translator({}, Parser(), boto_session=session).translate(template, parameters))


class Stack:
    """The stack as one deployment would make it."""

    def __init__(self, name: str = "rootwatch", **parameters: str) -> None:
        """Work the template out for a stack of this name, with these parameters and the defaults of the others."""
        self.name = name
        self._template = self._read()
        self.parameters = {
            parameter: str(parameters.get(parameter, declared.get("Default", "security@example.com")))
            for parameter, declared in self._template["Parameters"].items()
        }
        self.resources: dict[str, dict[str, Any]] = {
            logical_id: {**resource, "Properties": self.resolve(resource.get("Properties", {}))}
            for logical_id, resource in self._template["Resources"].items()
            if "Condition" not in resource or self._condition(resource["Condition"])
        }

    def _read(self) -> dict[str, Any]:
        template: dict[str, Any] = json.loads(transformed())
        return template

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the properties of each resource of one type, by logical id."""
        return {key: value["Properties"] for key, value in self.resources.items() if value["Type"] == kind}

    def arn(self, logical_id: str) -> str:
        """Return the ARN that a resource would have, or a stand-in for a type that has none here."""
        resource = self._template["Resources"][logical_id]
        if resource["Type"] == "AWS::KMS::Key":
            return f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{KEY_ID}"
        if resource["Type"] not in _NAMED:
            return f"arn-of-{logical_id}"
        name = self._name_of(logical_id)
        bus = resource["Properties"].get("EventBusName") if resource["Type"] == "AWS::Events::Rule" else None
        return _NAMED[resource["Type"]][1].format(f"{self.resolve(bus)}/{name}" if bus else name)

    def pattern(self, logical_id: str) -> dict[str, Any]:
        """Return the event pattern of a rule."""
        pattern: dict[str, Any] = self.resources[logical_id]["Properties"]["EventPattern"]
        return pattern

    def resolve(self, value: Any) -> Any:
        """Work out the intrinsic functions in a part of the template; an unknown one raises KeyError."""
        if isinstance(value, list):
            return [resolved for element in value if (resolved := self.resolve(element)) is not _NO_VALUE]
        if not isinstance(value, Mapping):
            return value
        if len(value) == 1:
            [(function, argument)] = value.items()
            if function == "Ref":
                return self._ref(argument)
            if function == "Condition" and isinstance(argument, str) and argument in self._template["Conditions"]:
                return self._condition(argument)
            if function.startswith("Fn::"):
                return self._intrinsic(function, argument)
        resolved = {key: self.resolve(element) for key, element in value.items()}
        return {key: element for key, element in resolved.items() if element is not _NO_VALUE}

    def _intrinsic(self, function: str, argument: Any) -> Any:  # noqa: PLR0911 - one way out per function
        if function == "Fn::Sub":
            text, given = argument if isinstance(argument, list) else (argument, {})
            known = self.resolve(given)
            return re.sub(
                r"\$\{([^!][^}]*)}", lambda found: str(known.get(found[1]) or self._substitute(found[1])), text
            )
        if function == "Fn::Select":
            position, elements = argument
            return self.resolve(elements)[int(position)]
        if function == "Fn::Split":
            separator, text = argument
            return str(self.resolve(text)).split(separator)
        if function == "Fn::GetAtt":
            return self._attribute(*(argument.split(".", 1) if isinstance(argument, str) else argument))
        if function == "Fn::If":
            condition, when_true, when_false = argument
            return self.resolve(when_true if self._condition(condition) else when_false)
        if function == "Fn::Equals":
            left, right = self.resolve(argument)
            return str(left) == str(right)
        if function == "Fn::And":
            return all(self.resolve(each) for each in argument)
        if function == "Fn::Join":
            separator, elements = argument
            return str(separator).join(self.resolve(elements))
        if function in {"Fn::Or", "Fn::Not"}:
            judged = [self.resolve(each) for each in argument]
            return any(judged) is (function == "Fn::Or")
        raise KeyError(function)

    def _condition(self, name: str) -> bool:
        return bool(self.resolve(self._template["Conditions"][name]))

    def _substitute(self, name: str) -> Any:
        return self._attribute(*name.split(".", 1)) if "." in name else self._ref(name)

    def _ref(self, name: str) -> Any:
        pseudo = {
            "AWS::StackName": self.name,
            "AWS::Region": REGION,
            "AWS::AccountId": ACCOUNT,
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::NoValue": _NO_VALUE,
        }
        if name in pseudo:
            return pseudo[name]
        if name in self.parameters:
            is_list = self._template["Parameters"][name]["Type"] == "CommaDelimitedList"
            return self.parameters[name].split(",") if is_list else self.parameters[name]
        kind = self._template["Resources"][name]["Type"]
        if kind == "AWS::KMS::Key":
            return KEY_ID
        if kind == "AWS::SQS::Queue":
            return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{self._name_of(name)}"
        if kind in _REF_IS_ARN:
            return self.arn(name)
        return self._name_of(name) if kind in _NAMED else name

    def _attribute(self, logical_id: str, attribute: str) -> str:
        if attribute == "Arn":
            return self.arn(logical_id)
        if attribute == "StreamArn":
            return f"{self.arn(logical_id)}/stream/2026-11-01T00:00:00.000"
        if attribute in {"QueueName", "TopicName"}:
            return self._name_of(logical_id)
        raise KeyError(attribute)

    def _name_of(self, logical_id: str) -> str:
        resource = self._template["Resources"][logical_id]
        return str(self.resolve(resource["Properties"][_NAMED[resource["Type"]][0]]))

    def names(self) -> Iterator[tuple[str, str, str]]:
        """Yield logical id, type and name of every resource that the template names."""
        for logical_id, resource in self._template["Resources"].items():
            if resource["Type"] in _NAMED:
                yield logical_id, resource["Type"], self._name_of(logical_id)


class ForwardingStack(Stack):
    """The stack of template-forward.yaml, which SAM has no part in, in the region and account of `ACCOUNT`."""

    HUB = "arn:aws:events:us-east-1:999900009999:event-bus/{}-forwarded"

    def __init__(self, hub: str = "rootwatch", **parameters: str) -> None:
        """Work the template out for the hub's stack of this name, in another account; StackSets name this stack."""
        super().__init__(
            f"StackSet-{hub}-forward-0c6e3a4e", **{"HubStackName": hub, "HubBusArn": self.HUB.format(hub)} | parameters
        )

    def _read(self) -> dict[str, Any]:
        return forward_source()


@functools.cache
def forward_source() -> dict[str, Any]:
    """Return template-forward.yaml as it is written."""
    parsed: dict[str, Any] = yaml_parse(FORWARD_TEMPLATE.read_text())  # type: ignore[no-untyped-call] # it has no types
    return parsed


def statements(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the statements of a policy, actions and resources always as lists."""
    listed = []
    for statement in document["Statement"]:
        plain = dict(statement)
        for key in ("Action", "Resource"):
            if key in plain and not isinstance(plain[key], list):
                plain[key] = [plain[key]]
        listed.append(plain)
    return listed
