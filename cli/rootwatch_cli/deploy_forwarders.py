"""`rootwatch deploy-forwarders`: the stack of template-forward.yaml in the other regions of the hub's own account.

What is to be done is asked region by region; then all of them begin at once, and are waited for together.
A region that fails stops no other one; its reason is said in words.
"""

import json
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, TypeAlias

from botocore import exceptions
from rich.console import Console
from rich.table import Table

from rootwatch.alert import visible
from rootwatch_cli.deployed import StackNotFoundError, Where, clients, in_reach, in_words
from rootwatch_cli.project import FORWARD_TEMPLATE

Client: TypeAlias = Any
"""A boto3 client: boto3 makes them at run time, one type per service."""

_ALL: Final = "all"
_REGION: Final = re.compile(r"[a-z]{2}(?:-[a-z]+)+-[0-9]{1,2}")
_POLL_SECONDS: Final = 5.0
_MOST_SECONDS: Final = 1200.0
"""A stack of a few roles and rules takes a minute or two; what takes longer is named, and goes on without us."""
_OF_THE_HUB: Final = "the hub itself"
KEPT: Final = ("AlarmTopicArn", "MemberPosture")
"""Parameters of the template that are not the hub's to say: an update leaves them as somebody set them there."""


class Plan(StrEnum):
    """What is to be done in a region, or what came of it."""

    CREATE = "create"
    UPDATE = "update"
    SKIP = "skip"
    DONE = "done"
    UNCHANGED = "unchanged"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Forwarder:
    """The forwarding stack of one region: what is done, and in words why or with what result."""

    region: str
    plan: Plan
    words: str = ""
    kept: tuple[str, ...] = ()
    """Which of `KEPT` the stack has a value of."""


@dataclass(frozen=True, slots=True)
class Hub:
    """The deployed stack that is forwarded to: its region, its bus, and whether it records reads (`true`, `false`)."""

    stack: str
    region: str
    bus_arn: str
    reads: str

    @property
    def forwarding_stack(self) -> str:
        """Return the name of the stacks in the other regions; the hub recognises changes to them by it."""
        return f"{self.stack}-forward"


def run_deploy_forwarders(where: Where, regions: Sequence[str], *, dry_run: bool, as_json: bool) -> int:
    """Deploy the forwarding stack; return 0, 1 where a region failed, 2 where it could not even begin."""

    def do() -> int:
        client = clients(where)
        hub = find_hub(client("cloudformation"), where.stack)
        wanted = chosen_regions(regions, lambda: client("ec2"))
        forwarders = _deployed(hub, wanted, _template(), client, dry_run=dry_run)
        _show(forwarders, as_json=as_json)
        return int(any(each.plan is Plan.FAILED for each in forwarders))

    return in_reach(do)


def _template() -> str:
    try:
        return FORWARD_TEMPLATE.read_text(encoding="utf-8")
    except OSError as error:
        message = f"The forwarders' template cannot be read: {visible(error, 300)}"
        raise StackNotFoundError(message) from error


def find_hub(cloudformation: Client, stack: str) -> Hub:
    """Return the hub out of its stack's outputs and parameters.

    Raises:
        StackNotFoundError: there is no such stack here, or one that takes nothing; the message says what to do.
        ClientError, BotoCoreError: as CloudFormation says.

    """
    region = cloudformation.meta.region_name
    try:
        [found] = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    except exceptions.ClientError as error:
        if "does not exist" not in str(error):
            raise
        message = (
            f"There is no stack {visible(stack)} in {region}. Name the hub's with --stack and its region with --region."
        )
        raise StackNotFoundError(message) from error
    outputs = {output.get("OutputKey"): output.get("OutputValue") for output in found.get("Outputs", [])}
    parameters = {each.get("ParameterKey"): each.get("ParameterValue") for each in found.get("Parameters", [])}
    bus_arn = outputs.get("ForwardedBusArn")
    if not bus_arn:
        message = (
            f"The stack {visible(stack)} ({found['StackStatus']}) has no output ForwardedBusArn: it is another "
            "stack, or one from before forwarding. Deploy the hub again first (make deploy)."
        )
        raise StackNotFoundError(message)
    return Hub(stack, region, bus_arn, parameters.get("RecordReadOnlyEvents") or "true")


def chosen_regions(regions: Sequence[str], ec2: Callable[[], Client]) -> list[str]:
    """Return the regions in order, each once; `all` stands for those that are enabled in the account.

    Raises:
        StackNotFoundError: one is no region; the message names it.
        ClientError, BotoCoreError: as EC2 says.

    """
    asked = [part.strip() for each in regions for part in each.split(",") if part.strip()]
    wrong = [each for each in asked if each != _ALL and not _REGION.fullmatch(each)]
    if wrong or not asked:
        message = (
            f"{visible(', '.join(wrong) or 'Nothing')} is no region. Expected is all, or such as eu-west-1,us-west-2."
        )
        raise StackNotFoundError(message)
    if _ALL in asked:
        enabled = [each["RegionName"] for each in ec2().describe_regions(AllRegions=False)["Regions"]]
        asked = [each for each in asked if each != _ALL] + enabled
    return sorted(set(asked))


def _deployed(
    hub: Hub, regions: Sequence[str], template: str, client: Callable[..., Client], *, dry_run: bool
) -> list[Forwarder]:
    arguments = {
        "StackName": hub.forwarding_stack,
        "TemplateBody": template,
        "Capabilities": ["CAPABILITY_NAMED_IAM"],
    }
    forwarders: dict[str, Forwarder] = {}
    under_way: dict[str, tuple[Client, str]] = {}
    for region in regions:
        if region == hub.region:
            forwarders[region] = Forwarder(region, Plan.SKIP, _OF_THE_HUB)
            continue
        cloudformation = client("cloudformation", region_name=region)
        try:
            forwarder = planned(cloudformation, hub.forwarding_stack, region)
            if forwarder.plan is Plan.CREATE:
                forwarder = _of_another_stack(client("events", region_name=region), forwarder, hub)
            if not dry_run and forwarder.plan in {Plan.CREATE, Plan.UPDATE}:
                sys.stderr.write(f"{region}: {forwarder.plan}\n")
                stated = {**arguments, "Parameters": _parameters(hub, forwarder)}
                forwarder, stack_id = _begin(cloudformation, forwarder, stated)
                if stack_id is not None:
                    under_way[region] = cloudformation, stack_id
        except (exceptions.ClientError, exceptions.BotoCoreError) as error:
            forwarder = Forwarder(region, Plan.FAILED, in_words(error))
        forwarders[region] = forwarder
    if under_way:
        sys.stderr.write(f"Waiting for {', '.join(under_way)}…\n")
    _wait(under_way, forwarders)
    return [forwarders[region] for region in regions]


def _parameters(hub: Hub, forwarder: Forwarder) -> list[dict[str, object]]:
    """Return what the hub says of a forwarder, and that an update leaves alone what somebody set there."""
    of_the_hub = {"HubBusArn": hub.bus_arn, "HubStackName": hub.stack, "RecordReadOnlyEvents": hub.reads}
    stated: list[dict[str, object]] = [
        {"ParameterKey": name, "ParameterValue": value} for name, value in of_the_hub.items()
    ]
    return stated + [{"ParameterKey": name, "UsePreviousValue": True} for name in forwarder.kept]


def planned(cloudformation: Client, stack: str, region: str) -> Forwarder:
    """Return what is to be done in a region, by how its stack stands.

    Raises:
        ClientError, BotoCoreError: as CloudFormation says.

    """
    try:
        [found] = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    except exceptions.ClientError as error:
        if "does not exist" in str(error):
            return Forwarder(region, Plan.CREATE)
        raise
    status = str(found["StackStatus"])
    if status in _STUCK:
        command = f"aws cloudformation delete-stack --stack-name {stack} --region {region}"
        words = f"the stack is {status} and cannot be updated. Delete it, then try again: {command}"
        return Forwarder(region, Plan.FAILED, words)
    if status.endswith("_IN_PROGRESS"):
        return Forwarder(region, Plan.FAILED, f"the stack is {status}: somebody else is at it, try again afterwards")
    if status == "DELETE_COMPLETE":
        return Forwarder(region, Plan.CREATE)
    there = {each.get("ParameterKey") for each in found.get("Parameters", [])}
    return Forwarder(region, Plan.UPDATE, kept=tuple(name for name in KEPT if name in there))


# The first: somebody made a change set for a new stack and never executed it.
_STUCK: Final = frozenset(
    {"REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"}
)


def _of_another_stack(events: Client, forwarder: Forwarder, hub: Hub) -> Forwarder:
    """Leave a region alone that forwards already, by a stack of another name: StackSets make up the names of theirs.

    Raises:
        ClientError, BotoCoreError: as EventBridge says.

    """
    name = f"{hub.forwarding_stack}-root"
    try:
        events.describe_rule(Name=name)
    except exceptions.ClientError as error:
        if error.response.get("Error", {}).get("Code") == "ResourceNotFoundException":
            return forwarder
        raise
    words = f"the rule {name} is there already, made by another stack such as a stack set's: that one forwards"
    return replace(forwarder, plan=Plan.SKIP, words=words)


def _begin(cloudformation: Client, forwarder: Forwarder, arguments: Mapping[str, Any]) -> tuple[Forwarder, str | None]:
    """Begin with a stack, and return its id; None where there is nothing to do.

    By its id a stack is found also after CloudFormation removed it again, and says why.
    """
    try:
        if forwarder.plan is Plan.CREATE:
            answer = cloudformation.create_stack(**arguments, OnFailure="DELETE")
        else:
            answer = cloudformation.update_stack(**arguments)
    except exceptions.ClientError as error:
        if "No updates are to be performed" in str(error):
            return replace(forwarder, plan=Plan.UNCHANGED), None
        raise
    return forwarder, str(answer["StackId"])


def _wait(under_way: Mapping[str, tuple[Client, str]], forwarders: dict[str, Forwarder]) -> None:
    """Wait until every stack that was begun is done or has failed, and note which."""
    waiting, deadline = dict(under_way), time.monotonic() + _MOST_SECONDS
    while waiting:
        for region, (cloudformation, stack_id) in list(waiting.items()):
            try:
                ended = _ended(cloudformation, forwarders[region], stack_id)
            except (exceptions.ClientError, exceptions.BotoCoreError) as error:
                ended = Forwarder(region, Plan.FAILED, in_words(error))
            if ended is None and time.monotonic() > deadline:
                ended = Forwarder(region, Plan.FAILED, f"not done after {_MOST_SECONDS / 60:.0f} minutes; it goes on")
            if ended is not None:
                forwarders[region] = ended
                del waiting[region]
        if waiting:
            time.sleep(_POLL_SECONDS)


def _ended(cloudformation: Client, forwarder: Forwarder, stack_id: str) -> Forwarder | None:
    [found] = cloudformation.describe_stacks(StackName=stack_id)["Stacks"]
    status = str(found["StackStatus"])
    if status in {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"}:
        return replace(forwarder, plan=Plan.DONE, words=f"{forwarder.plan}d")
    if status.endswith("_IN_PROGRESS") and "ROLLBACK" not in status and not status.startswith("DELETE"):
        return None
    words = _reason(cloudformation, stack_id, status)
    if forwarder.plan is Plan.CREATE:
        words = f"{words} (what was begun is removed again)"
    return replace(forwarder, plan=Plan.FAILED, words=words)


def _reason(cloudformation: Client, stack_id: str, status: str) -> str:
    """Return what failed first in the stack's last operation, in CloudFormation's words; without them the status."""
    try:
        events = cloudformation.describe_stack_events(StackName=stack_id)["StackEvents"]
    except (exceptions.ClientError, exceptions.BotoCoreError):
        events = []
    first = None
    for event in events:  # the newest stands first; what lies behind the operation's own begin is an earlier one's
        if str(event.get("ResourceStatus", "")).endswith("_FAILED") and event.get("ResourceStatusReason"):
            first = event
        if event.get("ResourceType") == _STACK and event.get("ResourceStatus") in _BEGUN:
            break
    if first is None:
        return f"the stack is {status}"
    return f"{status}: {visible(first.get('LogicalResourceId', ''), 80)}: {visible(first['ResourceStatusReason'], 300)}"


_STACK: Final = "AWS::CloudFormation::Stack"
_BEGUN: Final = frozenset({"CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS"})


def _show(forwarders: Sequence[Forwarder], *, as_json: bool) -> None:
    if as_json:
        for each in forwarders:
            print(json.dumps({"region": each.region, "result": str(each.plan), "words": each.words}))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("region", "forwarder", ""):
        table.add_column(heading, overflow="fold")
    for each in forwarders:
        table.add_row(each.region, str(each.plan), each.words)
    Console().print(table)
