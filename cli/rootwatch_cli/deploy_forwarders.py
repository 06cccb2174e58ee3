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

import boto3
from botocore import exceptions
from botocore.config import Config
from rich.console import Console
from rich.table import Table

from rootwatch.alert import visible
from rootwatch_cli.deployed import TROUBLE, StackNotFoundError, Where, in_words
from rootwatch_cli.project import FORWARD_TEMPLATE

Client: TypeAlias = Any
"""A boto3 client: boto3 makes them at run time, one type per service."""

_CONFIG: Final = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 5})
_ALL: Final = "all"
_REGION: Final = re.compile(r"[a-z]{2}(?:-[a-z]+)+-[0-9]{1,2}")
_POLL_SECONDS: Final = 5.0
_MOST_SECONDS: Final = 1200.0
"""A stack of a few roles and rules takes a minute or two; what takes longer is named, and goes on without us."""
_OF_THE_HUB: Final = "the hub itself"


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
    try:
        session = boto3.Session(profile_name=where.profile, region_name=where.region)

        def client(service: str, region: str) -> Client:
            make: Any = session.client
            try:
                return make(service, region_name=region, endpoint_url=where.endpoint_url, config=_CONFIG)
            except ValueError:
                message = f"{visible(where.endpoint_url)} is no address. Expected is one such as http://127.0.0.1:4566."
                raise StackNotFoundError(message) from None

        home = session.region_name
        if not home:
            raise exceptions.NoRegionError
        hub = find_hub(client("cloudformation", home), where.stack)
        wanted = chosen_regions(regions, lambda: client("ec2", home))
        template = FORWARD_TEMPLATE.read_text(encoding="utf-8")
        forwarders = _deployed(hub, wanted, template, lambda region: client("cloudformation", region), dry_run=dry_run)
    except (exceptions.ClientError, exceptions.BotoCoreError, StackNotFoundError, OSError) as error:
        sys.stderr.write(f"{in_words(error)}\n")
        return TROUBLE
    _show(forwarders, as_json=as_json)
    return int(any(each.plan is Plan.FAILED for each in forwarders))


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
    hub: Hub, regions: Sequence[str], template: str, client: Callable[[str], Client], *, dry_run: bool
) -> list[Forwarder]:
    parameters = [
        {"ParameterKey": "HubBusArn", "ParameterValue": hub.bus_arn},
        {"ParameterKey": "HubStackName", "ParameterValue": hub.stack},
        {"ParameterKey": "RecordReadOnlyEvents", "ParameterValue": hub.reads},
    ]
    arguments = {
        "StackName": hub.forwarding_stack,
        "TemplateBody": template,
        "Parameters": parameters,
        "Capabilities": ["CAPABILITY_NAMED_IAM"],
    }
    forwarders: dict[str, Forwarder] = {}
    under_way: dict[str, Client] = {}
    for region in regions:
        if region == hub.region:
            forwarders[region] = Forwarder(region, Plan.SKIP, _OF_THE_HUB)
            continue
        cloudformation = client(region)
        try:
            forwarder = planned(cloudformation, hub.forwarding_stack, region)
            if not dry_run and forwarder.plan in {Plan.CREATE, Plan.UPDATE}:
                sys.stderr.write(f"{region}: {forwarder.plan}\n")
                begun = _begin(cloudformation, forwarder, arguments)
                if begun.plan is forwarder.plan:
                    under_way[region] = cloudformation
                forwarder = begun
        except (exceptions.ClientError, exceptions.BotoCoreError) as error:
            forwarder = Forwarder(region, Plan.FAILED, in_words(error))
        forwarders[region] = forwarder
    _wait(under_way, forwarders, hub.forwarding_stack)
    return [forwarders[region] for region in regions]


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
    if status in {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"}:
        command = f"aws cloudformation delete-stack --stack-name {stack} --region {region}"
        words = f"the stack is {status} and cannot be updated. Delete it, then try again: {command}"
        return Forwarder(region, Plan.FAILED, words)
    if status.endswith("_IN_PROGRESS"):
        return Forwarder(region, Plan.FAILED, f"the stack is {status}: somebody else is at it, try again afterwards")
    return Forwarder(region, Plan.CREATE if status == "DELETE_COMPLETE" else Plan.UPDATE)


def _begin(cloudformation: Client, forwarder: Forwarder, arguments: Mapping[str, Any]) -> Forwarder:
    try:
        if forwarder.plan is Plan.CREATE:
            cloudformation.create_stack(**arguments, OnFailure="DELETE")
        else:
            cloudformation.update_stack(**arguments)
    except exceptions.ClientError as error:
        if "No updates are to be performed" in str(error):
            return replace(forwarder, plan=Plan.UNCHANGED)
        raise
    return forwarder


def _wait(under_way: Mapping[str, Client], forwarders: dict[str, Forwarder], stack: str) -> None:
    """Wait until every stack that was begun is done or has failed, and note which."""
    waiting, deadline = dict(under_way), time.monotonic() + _MOST_SECONDS
    while waiting:
        for region, cloudformation in list(waiting.items()):
            try:
                ended = _ended(cloudformation, forwarders[region], stack)
            except (exceptions.ClientError, exceptions.BotoCoreError) as error:
                ended = Forwarder(region, Plan.FAILED, in_words(error))
            if ended is None and time.monotonic() > deadline:
                ended = Forwarder(region, Plan.FAILED, f"not done after {_MOST_SECONDS / 60:.0f} minutes; it goes on")
            if ended is not None:
                forwarders[region] = ended
                del waiting[region]
        if waiting:
            time.sleep(_POLL_SECONDS)


def _ended(cloudformation: Client, forwarder: Forwarder, stack: str) -> Forwarder | None:
    try:
        [found] = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    except exceptions.ClientError as error:
        if "does not exist" not in str(error):
            raise
        words = (
            "it could not be created, and was removed again; CloudFormation's console lists it among the deleted stacks"
        )
        return replace(forwarder, plan=Plan.FAILED, words=words)
    status = str(found["StackStatus"])
    if status in {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"}:
        return replace(forwarder, plan=Plan.DONE, words=f"{forwarder.plan}d")
    if status.endswith("_IN_PROGRESS") and "ROLLBACK" not in status and not status.startswith("DELETE"):
        return None
    return replace(forwarder, plan=Plan.FAILED, words=_reason(cloudformation, found["StackId"], status))


def _reason(cloudformation: Client, stack_id: str, status: str) -> str:
    """Return the first thing that failed, as CloudFormation tells it; nothing that fails here hides the status."""
    try:
        events = cloudformation.describe_stack_events(StackName=stack_id)["StackEvents"]
    except (exceptions.ClientError, exceptions.BotoCoreError):
        events = []
    failed = [
        e for e in events if str(e.get("ResourceStatus", "")).endswith("_FAILED") and e.get("ResourceStatusReason")
    ]
    if not failed:
        return f"the stack is {status}"
    first = failed[-1]  # the newest stands first
    return f"{status}: {visible(first.get('LogicalResourceId', ''), 80)}: {visible(first['ResourceStatusReason'], 300)}"


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
