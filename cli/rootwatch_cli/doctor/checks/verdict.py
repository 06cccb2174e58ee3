"""What a check is and says, and the commands with which it is mended."""

import json
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from rootwatch_cli.doctor.deployment import (
    Deployment,
)


class State(StrEnum):
    """What a check found, the worst first."""

    FAULT = "fault"
    WARNING = "warning"
    NOT_CHECKED = "not checked"
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: about what, in words, and how to mend it (empty where there is nothing to mend)."""

    check: str
    subject: str
    state: State
    what: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One thing that is not well."""

    state: State
    what: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One check: `well` says what holds where it finds nothing; `kind` is the type of resource that it is made for."""

    id: str
    well: str
    judge: Callable[[Deployment, Any], Iterator[Verdict]]
    kind: str | None = None


RULE: Final = "AWS::Events::Rule"
BUS: Final = "AWS::Events::EventBus"
QUEUE: Final = "AWS::SQS::Queue"
MAPPING: Final = "AWS::Lambda::EventSourceMapping"
FUNCTION: Final = "AWS::Lambda::Function"
TABLE: Final = "AWS::DynamoDB::Table"
KEY: Final = "AWS::KMS::Key"
TOPIC: Final = "AWS::SNS::Topic"
SECRET: Final = "AWS::SecretsManager::Secret"  # noqa: S105 - a type of resource
ALARM: Final = "AWS::CloudWatch::Alarm"


def fault(what: str, mend: str) -> Verdict:
    """Return what is wrong."""
    return Verdict(State.FAULT, what, mend)


def warning(what: str, mend: str) -> Verdict:
    """Return what is worth knowing, or will be wrong one day."""
    return Verdict(State.WARNING, what, mend)


def not_checked(what: str, mend: str = "") -> Verdict:
    """Return what could not be checked, and why."""
    return Verdict(State.NOT_CHECKED, what, mend)


def aws(deployment: Deployment, *arguments: str) -> str:
    """Return a command of the AWS CLI, quoted for a shell, in the stack's region."""
    return _joined(["aws", *arguments, "--region", deployment.region])


def _joined(words: Iterable[str]) -> str:
    """Return a command on one line, of which a person sees every character: names in it may be somebody else's."""
    return " ".join(shlex.quote(word) if word.isprintable() else _escaped(word) for word in words)


def _escaped(word: str) -> str:
    r"""Return a word as $'...', which bash and zsh read: line ends and marks that nobody sees stand in it as codes."""
    codes = (f"\\u{ord(each):04x}" if ord(each) < 0x10000 else f"\\U{ord(each):08x}" for each in word)  # noqa: PLR2004
    told = (
        f"\\{each}" if each in "\\'" else each if each.isprintable() else code
        for each, code in zip(word, codes, strict=True)
    )
    return f"$'{''.join(told)}'"


def as_json(value: Any) -> str:  # noqa: ANN401 - any JSON
    """Return JSON in one line."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def made_again(deployment: Deployment, logical_id: str) -> str:
    """Return how a resource that was deleted is made again: an update leaves alone what the template did not change."""
    return (
        f"{aws(deployment, 'cloudformation', 'detect-stack-drift', '--stack-name', deployment.name)} shows all "
        f"that is gone; then remove {logical_id} from a copy of template.yaml, deploy that, then template.yaml again"
    )


def rootwatch_command(deployment: Deployment, *arguments: str) -> str:
    """Return a command of ours on this stack, quoted for a shell."""
    return _joined(["rootwatch", *arguments, "--stack", deployment.name, "--region", deployment.region])


def deploy(deployment: Deployment, parameters: str = "") -> str:
    """Return the command that deploys the stack, with a parameter changed."""
    stated = f" PARAMETERS={shlex.quote(parameters)}" if parameters else ""
    return f"make deploy STACK={shlex.quote(deployment.name)}{stated}"
