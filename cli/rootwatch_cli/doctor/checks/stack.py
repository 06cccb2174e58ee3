"""The stack itself, and where it is."""

from collections.abc import Iterator
from typing import Final

from rootwatch.alert import visible
from rootwatch_cli.doctor.checks.proof import covered
from rootwatch_cli.doctor.checks.verdict import Verdict, aws, deploy, fault, rootwatch_command, warning
from rootwatch_cli.doctor.deployment import Deployment

SIGN_IN_REGIONS: Final = ("us-east-1", "us-east-2", "us-west-2")
"""Root's sign-ins are recorded in one of these.
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-aws-console-sign-in-events.html"""
_SOUND: Final = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE"})


def status(deployment: Deployment, _: None) -> Iterator[Verdict]:
    """Look whether the stack stands."""
    status = str(deployment.stack.get("StackStatus"))
    if status not in _SOUND and not status.endswith("_IN_PROGRESS"):
        mend = aws(deployment, "cloudformation", "describe-stack-events", "--stack-name", deployment.name)
        yield fault(f"the stack is {visible(status, 60)}: parts of it may be missing", f"{mend} says what failed")
    elif status.endswith("_IN_PROGRESS"):
        yield warning(f"the stack is {visible(status, 60)}: what is found now may change", "run doctor again")


def protection(deployment: Deployment, _: None) -> Iterator[Verdict]:
    """Look whether the stack is protected against deletion."""
    if not deployment.stack.get("EnableTerminationProtection"):
        mend = aws(
            deployment, "cloudformation", "update-termination-protection", "--enable-termination-protection",
            "--stack-name", deployment.name,
        )  # fmt: skip
        yield warning("one call deletes the stack: its termination protection is off", mend)


def reads(deployment: Deployment, _: None) -> Iterator[Verdict]:
    """Look whether reads are recorded."""
    if deployment.parameter("RecordReadOnlyEvents") == "false":
        yield warning(
            "RecordReadOnlyEvents is false: nobody hears of what root only looks at, nor of some sign-ins "
            "(AuthorizeOAuth2Access), which are reads to CloudTrail",
            deploy(deployment, "RecordReadOnlyEvents=true"),
        )


def replay(deployment: Deployment, _: None) -> Iterator[Verdict]:
    """Look whether somebody else than AWS can put records on the way."""
    source = deployment.parameter("ReplaySource")
    if source:
        yield warning(
            f"ReplaySource is {visible(source, 60)}: whoever may call PutEvents can forge records",
            deploy(deployment, "ReplaySource="),
        )


def region(deployment: Deployment, _: None) -> Iterator[Verdict]:
    """Look whether root's sign-ins are recorded where the stack is."""
    places = {place for _, place, _ in covered(deployment)} | {deployment.region}
    missing = [each for each in SIGN_IN_REGIONS if each not in places]
    forward = f"{rootwatch_command(deployment, 'deploy-forwarders', '--regions', 'all')} (docs/organization.md)"
    if missing == list(SIGN_IN_REGIONS):
        yield fault(
            f"no root sign-in is ever recorded in {deployment.region}: they are in {', '.join(SIGN_IN_REGIONS)}",
            forward,
        )
    elif missing:
        yield warning(
            f"root sign-ins that AWS records in {' or '.join(missing)}, and root's other calls outside of "
            f"{deployment.region}, do not reach this stack unless they are forwarded to it",
            forward,
        )


def watched_account(deployment: Deployment, _: None) -> Iterator[Verdict]:
    """Look whether the stack is in the account that it watches."""
    others = {account for account, _, _ in covered(deployment)} - {deployment.account_id}
    if not others:
        yield warning(
            f"the stack is in the account that it watches ({deployment.account_id}): root of it can delete or rewrite "
            "all that was recorded, so this is detection, not evidence",
            "deploy the stack in an audit account, and forward from this account to it (docs/organization.md)",
        )
