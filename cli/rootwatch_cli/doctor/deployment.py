"""A deployed stack as AWS described it: what its template asks for, and what was answered about its resources."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

Answer = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """What AWS is asked: an IAM action such as `events:DescribeRule`, and of what; a resource is its logical id."""

    action: str
    subject: str = ""


@dataclass(frozen=True, slots=True)
class NotThere:
    """AWS says that what was asked for does not exist."""


@dataclass(frozen=True, slots=True)
class NotAnswered:
    """AWS refused, or was out of reach; `why` says so in words. It never means that all is well."""

    why: str


class NotReadError(Exception):
    """A check needs what could not be read. The message says why; a retry may help where AWS was out of reach."""


class MissingError(Exception):
    """A check needs a resource that does not exist."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource of the stack: what the template asks for, worked out, and its physical id, None where it has none."""

    logical_id: str
    kind: str
    properties: Mapping[str, Any]
    physical_id: str | None


@dataclass(frozen=True, slots=True)
class Deployment:
    """A stack, described.

    `template` is the template as CloudFormation processed it (SAM's parts made plain), `physical_ids` the resources by
    logical id, `now` when it was looked at (UTC).
    """

    stack: Answer
    account_id: str
    region: str
    partition: str
    now: datetime
    template: Mapping[str, Any]
    physical_ids: Mapping[str, str]
    answers: Mapping[Question, Answer | NotThere | NotAnswered] = field(default_factory=lambda: MappingProxyType({}))
    _worked_out: dict[str, Resource] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The stack's name."""
        return str(self.stack["StackName"])

    def parameter(self, name: str) -> str | None:
        """Return a parameter's value, None where the stack has no such parameter."""
        found = {each["ParameterKey"]: each.get("ParameterValue") for each in self.stack.get("Parameters", [])}
        return found.get(name)

    def answer(self, action: str, subject: str = "") -> Answer:
        """Return what AWS answered.

        Raises:
            NotReadError: AWS did not answer, or was not asked.
            MissingError: what was asked for does not exist.

        """
        found = self.answers.get(Question(action, subject), NotAnswered("this was not asked"))
        if isinstance(found, NotAnswered):
            raise NotReadError(found.why)
        if isinstance(found, NotThere):
            raise MissingError
        return found

    def resources(self, kind: str) -> Iterator[Resource]:
        """Return the template's resources of a type, without those whose condition is not met."""
        for logical_id, resource in sorted(self.template.get("Resources", {}).items()):
            if resource.get("Type") == kind and self._is_asked_for(resource):
                yield self.resource(logical_id)

    def resource(self, logical_id: str) -> Resource:
        """Return a resource of the template; raises KeyError where the template has none of this name."""
        if logical_id not in self._worked_out:
            resource = self.template["Resources"][logical_id]
            properties = self.resolve(resource.get("Properties", {}))
            physical_id = self.physical_ids.get(logical_id)
            self._worked_out[logical_id] = Resource(logical_id, resource["Type"], properties, physical_id)
        return self._worked_out[logical_id]

    def _is_asked_for(self, resource: Mapping[str, Any]) -> bool:
        condition = resource.get("Condition")
        return condition is None or bool(self._condition(condition))

    # --- the template's functions ----------------------------------------------------------------------------------

    def resolve(self, value: Any) -> Any:  # noqa: ANN401 - any part of a template
        """Work out the intrinsic functions in a part of the template; what cannot be is `UNKNOWN`."""
        if isinstance(value, list):
            return [found for each in value if (found := self.resolve(each)) is not _NO_VALUE]
        if not isinstance(value, Mapping):
            return value
        if len(value) == 1:
            [(function, argument)] = value.items()
            if function == "Ref" or function.startswith("Fn::"):
                work_out = _FUNCTIONS.get(function)
                return work_out(self, argument) if work_out else UNKNOWN
        resolved = {key: self.resolve(each) for key, each in value.items()}
        return {key: each for key, each in resolved.items() if each is not _NO_VALUE}

    def _condition(self, name: object) -> bool:
        return bool(self.resolve(self.template.get("Conditions", {}).get(name, False)))

    def _ref(self, name: str) -> Any:  # noqa: ANN401 - a parameter's value, a name, or nothing
        pseudo = {
            "AWS::StackName": self.name,
            "AWS::Region": self.region,
            "AWS::AccountId": self.account_id,
            "AWS::Partition": self.partition,
            "AWS::URLSuffix": "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com",
            "AWS::StackId": self.stack.get("StackId", UNKNOWN),
            "AWS::NoValue": _NO_VALUE,
        }
        if name in pseudo:
            return pseudo[name]
        parameter = self.parameter(name)
        if parameter is None:
            return self.physical_ids.get(name, UNKNOWN)
        is_list = "List" in str(self.template.get("Parameters", {}).get(name, {}).get("Type"))
        return parameter.split(",") if is_list else parameter

    def _attribute(self, logical_id: str, attribute: str) -> Any:  # noqa: ANN401 - text or UNKNOWN
        kind = self.template.get("Resources", {}).get(logical_id, {}).get("Type")
        physical_id = self.physical_ids.get(logical_id)
        if physical_id is None:
            return UNKNOWN
        name = physical_id.rpartition("/")[2] if kind == "AWS::SQS::Queue" else physical_id
        if attribute in {"QueueName", "TopicName"}:
            return name.rpartition(":")[2]
        if attribute not in {"Arn", "TopicArn"} or kind not in _ARNS:
            return UNKNOWN
        place = f"{self.region}:{self.account_id}"
        rest = _ARNS[kind].format(place=place, account=self.account_id, name=name.replace("|", "/"))
        return name if name.startswith("arn:") else f"arn:{self.partition}:{rest}"

    def _substitute(self, argument: Any) -> Any:  # noqa: ANN401 - text or UNKNOWN
        if not isinstance(argument, str):
            return UNKNOWN
        found = {name: self._named(name) for name in _PLACEHOLDER.findall(argument)}
        if any(each is UNKNOWN for each in found.values()):
            return UNKNOWN
        return _PLACEHOLDER.sub(lambda match: str(found[match[1]]), argument)

    def _named(self, name: str) -> Any:  # noqa: ANN401 - text or UNKNOWN
        return self._attribute(*name.split(".", 1)) if "." in name else self._ref(name)

    def _get_attribute(self, argument: str | Sequence[str]) -> Any:  # noqa: ANN401 - text or UNKNOWN
        return self._attribute(*(argument.split(".", 1) if isinstance(argument, str) else argument))

    def _if(self, argument: Sequence[Any]) -> Any:  # noqa: ANN401 - either branch
        condition, when_true, when_false = argument
        return self.resolve(when_true if self._condition(condition) else when_false)

    def _equals(self, argument: Sequence[Any]) -> bool:
        left, right = (self.resolve(each) for each in argument)
        return bool(left == right)

    def _join(self, argument: Sequence[Any]) -> Any:  # noqa: ANN401 - text or UNKNOWN
        separator, parts = argument[0], self.resolve(argument[1])
        return UNKNOWN if holds_unknown(parts) else str(separator).join(str(each) for each in parts)

    def _not(self, argument: Sequence[Any]) -> bool:
        return not self._holds(argument[0])

    def _holds(self, argument: Any) -> bool:  # noqa: ANN401 - a condition, or the name of one
        if isinstance(argument, Mapping) and set(argument) == {"Condition"}:
            return self._condition(argument["Condition"])
        return bool(self.resolve(argument))


class _Unknown:
    """What a template's function gives that only AWS can work out. It is equal to nothing."""

    def __repr__(self) -> str:
        return "(not known)"


UNKNOWN: Final = _Unknown()
_NO_VALUE: Final = object()
_PLACEHOLDER: Final = re.compile(r"\$\{([^!][^}]*)}")
_ARNS: Final = {
    "AWS::SQS::Queue": "sqs:{place}:{name}",
    "AWS::DynamoDB::Table": "dynamodb:{place}:table/{name}",
    "AWS::IAM::Role": "iam::{account}:role/{name}",
    "AWS::KMS::Key": "kms:{place}:key/{name}",
    "AWS::Lambda::Function": "lambda:{place}:function:{name}",
    "AWS::Logs::LogGroup": "logs:{place}:log-group:{name}:*",
    "AWS::Events::Rule": "events:{place}:rule/{name}",
    "AWS::Events::EventBus": "events:{place}:event-bus/{name}",
    "AWS::SNS::Topic": "sns:{place}:{name}",
}
_FUNCTIONS: Final[Mapping[str, Callable[[Deployment, Any], Any]]] = {
    "Ref": Deployment._ref,  # noqa: SLF001 - a table of this class's own methods
    "Fn::GetAtt": Deployment._get_attribute,  # noqa: SLF001
    "Fn::Sub": Deployment._substitute,  # noqa: SLF001
    "Fn::Join": Deployment._join,  # noqa: SLF001
    "Fn::If": Deployment._if,  # noqa: SLF001
    "Fn::Equals": Deployment._equals,  # noqa: SLF001
    "Fn::Not": Deployment._not,  # noqa: SLF001
    "Fn::And": lambda deployment, argument: all(deployment._holds(each) for each in argument),  # noqa: SLF001
    "Fn::Or": lambda deployment, argument: any(deployment._holds(each) for each in argument),  # noqa: SLF001
}


def holds_unknown(value: Any) -> bool:  # noqa: ANN401 - any worked out part of a template
    """Return whether a part of the template holds something that only AWS can work out."""
    if isinstance(value, Mapping):
        return any(holds_unknown(each) for each in value.values())
    if isinstance(value, list):
        return any(holds_unknown(each) for each in value)
    return value is UNKNOWN
