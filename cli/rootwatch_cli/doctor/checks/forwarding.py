"""What other regions and accounts forward: the hub's bus that takes it, and the forwarders of this account.

The forwarders of other accounts are out of reach from here; their heartbeats say whether they work.
"""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final

from rootwatch.alert import visible
from rootwatch_cli.doctor.checks.policies import compared
from rootwatch_cli.doctor.checks.proof import covered
from rootwatch_cli.doctor.checks.verdict import BUS, Verdict, as_json, aws, deploy, fault, rootwatch_command
from rootwatch_cli.doctor.deployment import Answer, Deployment, MissingError, Resource, holds_unknown

RULES: Final = ("root", "tamper")
_ACCOUNT: Final = re.compile(r"[0-9]{12}")
_NO_STATEMENT: Final[Mapping[str, Any]] = {"Statement": []}


def rule_name(deployment: Deployment, which: str) -> str:
    """Return the name of a forwarder's rule; it is made of the hub's name, also in other regions."""
    return f"{deployment.name}-forward-{which}"


def queue_name(deployment: Deployment) -> str:
    """Return the name of a forwarder's dead-letter queue."""
    return f"{deployment.name}-forward-dead-letter"


def other_regions(deployment: Deployment) -> list[str]:
    """Return the regions of the hub's own account that were heard and that somebody waits for, but for its own.

    Raises:
        NotReadError, MissingError: the table could not be read.

    """
    regions = {region for account, region, _ in covered(deployment) if account == deployment.account_id}
    return sorted(regions - {deployment.region})


def bus_policy(deployment: Deployment, bus: Resource) -> Iterator[Verdict]:
    """Compare the bus's policy with the template's, and look whom it admits."""
    name = str(bus.properties.get("Name") or bus.physical_id)
    wanted = _with_arns(bus.properties.get("Policy") or _NO_STATEMENT, deployment)
    answer = deployment.answer("events:DescribeEventBus", bus.logical_id)
    found = _with_arns(json.loads(answer.get("Policy") or as_json(_NO_STATEMENT)), deployment)
    if wanted == _NO_STATEMENT or holds_unknown(wanted):
        mend = aws(deployment, "events", "remove-permission", "--event-bus-name", name, "--remove-all-permissions")
    else:
        mend = aws(deployment, "events", "put-permission", "--event-bus-name", name, "--policy", as_json(wanted))
    open_ones = [each for each in found["Statement"] if _admits_everybody(each)]
    if open_ones:
        what = f"the bus {name} is open to everybody: any AWS account can send its own records and heartbeats"
        yield fault(what, mend)
    rest = [each for each in found["Statement"] if each not in open_ones]
    for verdict in compared({**found, "Statement": rest}, wanted, mend):
        words = f"{verdict.what}; what others forward is refused" if verdict.what.startswith(_LESS) else verdict.what
        yield Verdict(verdict.state, words, verdict.mend)


_LESS: Final = "the policy no longer says: allow"


def admitted(deployment: Deployment, _: None) -> Iterator[Verdict]:
    """Look whether every account that was heard may still forward, as far as the parameters tell."""
    if deployment.parameter("OrganizationId"):
        return  # who belongs to the organization is not known here; the heartbeats tell
    listed = {each.strip() for each in (deployment.parameter("ForwardingAccounts") or "").split(",")}
    heard = {account for account, _, _ in covered(deployment)} - {deployment.account_id}
    for account in sorted(heard - listed):
        shown = visible(account, 40)
        accounts = ",".join(sorted({each for each in listed if each} | {shown}))
        what = f"account {shown} was heard, and may not forward any more: ForwardingAccounts does not list it"
        mend = f"{deploy(deployment, f'ForwardingAccounts={accounts}')}; if it is gone for good: "
        yield fault(what, mend + rootwatch_command(deployment, "coverage", "--retire", f"{shown}/REGION"))


def forwarders(deployment: Deployment, _: None) -> Iterator[Verdict]:
    """Look at the forwarders of this account's other regions: rules, their target, and their dead letters."""
    bus = next((each.physical_id for each in deployment.resources(BUS)), None)
    wanted = "ENABLED" if deployment.parameter("RecordReadOnlyEvents") == "false" else _ALL_READS
    for region in other_regions(deployment):
        mend = _made_again(deployment, region)
        for which in RULES:
            name = rule_name(deployment, which)
            try:
                rule = deployment.answer("events:DescribeRule", f"{region}/{which}")
                targets = deployment.answer("events:ListTargetsByRule", f"{region}/{which}")["Targets"]
            except MissingError:
                yield fault(f"{region} does not forward: its rule {name} does not exist", mend)
                continue
            state, asked = rule.get("State"), wanted if which == "root" else "ENABLED"
            # Not enable-rule: it would give the rule the state without reads.
            put = shlex.join([
                "aws", "events", "put-rule", "--name", name, "--state", asked,
                "--event-pattern", str(rule.get("EventPattern") or "{}"), "--region", region,
            ])  # fmt: skip
            if state == "DISABLED":
                yield fault(f"{region} does not forward: its rule {name} is switched off", put)
            elif state != asked:
                yield fault(f"the rule {name} of {region} is {visible(state, 60)}, not {asked}: reads are lost", put)
            if not any(str(each["Arn"]).endswith(f":event-bus/{bus}") for each in targets):
                yield fault(f"the rule {name} of {region} has lost its target, the hub's bus", mend)
        try:
            attributes = deployment.answer("sqs:GetQueueAttributes", f"{region}/dead-letter")["Attributes"]
        except MissingError:
            what = f"what {region} cannot forward is lost: its queue {queue_name(deployment)} does not exist"
            yield fault(what, mend)
            continue
        count = int(attributes.get("ApproximateNumberOfMessages", 0))
        if count:
            letters = "1 record" if count == 1 else f"{count} records"
            lie = "lies" if count == 1 else "lie"
            read = f"aws sqs receive-message --queue-url {attributes.get('QueueUrl', queue_name(deployment))}"
            what = f"{letters} of {region} did not reach the hub and {lie} on its queue {queue_name(deployment)}"
            yield fault(what, f"{read} --region {region} says why; SQS deletes each 14 days after it was sent")


def _made_again(deployment: Deployment, region: str) -> str:
    """Return how a forwarder is made again: an update leaves alone what the template did not change."""
    stack = shlex.quote(f"{deployment.name}-forward")
    delete = f"aws cloudformation delete-stack --stack-name {stack} --region {region}"
    return f"{delete}; when it is gone: {rootwatch_command(deployment, 'deploy-forwarders', '--regions', region)}"


_ALL_READS: Final = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"


def _admits_everybody(statement: Answer) -> bool:
    principal = statement.get("Principal")
    everybody = principal == "*" or (isinstance(principal, Mapping) and "*" in _list(principal.get("AWS")))
    return statement.get("Effect") == "Allow" and everybody and not statement.get("Condition")


def _with_arns(policy: Answer, deployment: Deployment) -> dict[str, Any]:
    """Return a policy with accounts as AWS writes them down: the ARN of their root, for the number alone."""
    statements = [
        {**each, "Principal": _principal(each.get("Principal"), deployment)} for each in _list(policy["Statement"])
    ]
    return {**policy, "Statement": statements}


def _principal(principal: Any, deployment: Deployment) -> Any:  # noqa: ANN401 - a policy's own forms
    if not isinstance(principal, Mapping) or "AWS" not in principal:
        return principal
    accounts = [
        f"arn:{deployment.partition}:iam::{each}:root" if _ACCOUNT.fullmatch(str(each)) else each
        for each in _list(principal["AWS"])
    ]
    return {**principal, "AWS": accounts}


def _list(value: Any) -> list[Any]:  # noqa: ANN401 - one value or several
    return value if isinstance(value, list) else [value]
