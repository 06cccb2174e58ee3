"""The deployed stack that a command talks to: how it is found, and what AWS answered, in words."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import boto3
from botocore import exceptions
from botocore.config import Config

from rootwatch.alert import visible
from rootwatch.audit.dynamodb import DynamoTable
from rootwatch.audit.store import AuditStore
from rootwatch.errors import RootwatchError

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_cloudformation.type_defs import StackTypeDef

TROUBLE: Final = 2
"""The exit status of a command that could not reach its stack; 1 is kept for what it found there."""

_CONFIG: Final = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 5})
_TABLE_OUTPUT: Final = "AuditTableName"


@dataclass(frozen=True, slots=True)
class Where:
    """How a person names a deployed stack; None leaves it to the AWS configuration of this machine."""

    stack: str = "rootwatch"
    table: str | None = None
    profile: str | None = None
    region: str | None = None
    endpoint_url: str | None = None


@dataclass(frozen=True, slots=True)
class DeployedStack:
    """A deployed stack: its audit store, and who is asking."""

    store: AuditStore
    table_name: str
    caller: Callable[[], str]
    """Returns the ARN of the credentials in use, as STS states it."""


class StackNotFoundError(Exception):
    """There is no such stack, or it is not one of Rootwatch's. The message says what to do."""


def on_stack(where: Where, do: Callable[[DeployedStack], int]) -> int:
    """Find the stack and do something on it; return its exit status, or 2 with words on standard error.

    Nothing that AWS, the table or the configuration of this machine answers becomes a traceback.
    """
    return in_reach(lambda: do(_found(where)))


def in_reach(do: Callable[[], int]) -> int:
    """Do something on AWS; return its exit status, or 2 with words on standard error, as `on_stack` does."""
    try:
        return do()
    except (exceptions.ClientError, exceptions.BotoCoreError, RootwatchError, StackNotFoundError) as error:
        sys.stderr.write(f"{in_words(error)}\n")
        return TROUBLE
    except Exception as error:
        if not _is_no_answer_of_aws(error):
            raise
        sys.stderr.write(f"{_NOT_AWS}\n")
        return TROUBLE


def _is_no_answer_of_aws(error: Exception) -> bool:
    """Return whether botocore failed on an answer that is XML but not AWS's: it has no error of its own for that."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return place is not None and place.tb_frame.f_globals.get("__name__") == "botocore.parsers"


def clients(where: Where) -> Callable[..., Any]:
    """Return what makes a client of a service: by its name, and `region_name` where it is another than the stack's.

    What it returns raises StackNotFoundError where the endpoint is no address, or the region's name none.
    """
    session = boto3.Session(profile_name=where.profile, region_name=where.region)
    _check_address(where.endpoint_url)

    def client(service: str, **options: str) -> Any:  # noqa: ANN401 - boto3 makes its clients at run time, one type each
        make: Any = session.client
        try:
            return make(service, endpoint_url=where.endpoint_url, config=_CONFIG, **options)
        except exceptions.InvalidRegionError:
            region = visible(options.get("region_name") or session.region_name, 60)
            message = f"{region} is no region. Expected is one such as us-east-1: --region, or the AWS configuration."
            raise StackNotFoundError(message) from None
        except ValueError:
            raise StackNotFoundError(_no_address(where.endpoint_url)) from None

    return client


def _check_address(endpoint_url: str | None) -> None:
    """Refuse an address whose port botocore would stumble over only when it calls."""
    try:
        urlsplit(endpoint_url or "").port  # noqa: B018 - reading it is the check
    except ValueError:
        raise StackNotFoundError(_no_address(endpoint_url)) from None


def _no_address(endpoint_url: str | None) -> str:
    return f"{visible(endpoint_url)} is no address. Expected is one such as http://127.0.0.1:4566."


def _found(where: Where) -> DeployedStack:
    client = clients(where)
    name = where.table or _table_of(client("cloudformation"), where.stack)
    return DeployedStack(
        store=AuditStore(DynamoTable(client("dynamodb"), name)),
        table_name=name,
        caller=lambda: str(client("sts").get_caller_identity()["Arn"]),
    )


def described_stack(cloudformation: "CloudFormationClient", stack: str) -> "StackTypeDef":
    """Return CloudFormation's description of a stack.

    Raises:
        StackNotFoundError: there is none of this name; the message says where to look.

    """
    region = cloudformation.meta.region_name
    try:
        [found] = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    except exceptions.ClientError as error:
        if "does not exist" not in str(error):
            raise
        message = (
            f"There is no stack {visible(stack)} in {region}. Name the one there is with --stack, its region with "
            "--region, its account with --profile; or deploy it (README.md, Deploy)."
        )
        raise StackNotFoundError(message) from error
    return found


def physical_ids(cloudformation: "CloudFormationClient", stack: str) -> dict[str, str]:
    """Return the physical ids of a stack's resources, by their logical ids."""
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
    return {
        each["LogicalResourceId"]: each["PhysicalResourceId"]
        for page in pages
        for each in page["StackResourceSummaries"]
        if each.get("PhysicalResourceId") and each["ResourceStatus"] != "DELETE_COMPLETE"
    }


def _table_of(cloudformation: "CloudFormationClient", stack: str) -> str:
    found = described_stack(cloudformation, stack)
    outputs = {output.get("OutputKey"): output.get("OutputValue") for output in found.get("Outputs", [])}
    name = outputs.get(_TABLE_OUTPUT)
    if not name:
        status = found["StackStatus"]
        message = (
            f"The stack {visible(stack)} ({status}) has no output {_TABLE_OUTPUT}: it is another stack, or it is not "
            "deployed yet. Name the audit table itself with --table."
        )
        raise StackNotFoundError(message)
    return name


# --- what went wrong, in words -------------------------------------------------------------------------------------

_EXPIRED: Final = "The AWS credentials have expired. Sign in again, for example with: aws sso login"
_NONE: Final = (
    "There are no usable AWS credentials. Sign in (aws sso login, aws configure), or name a profile with --profile."
)
_NOT_AWS: Final = (
    "What answered is not AWS: a proxy or a sign-in page of the network, or another server at --endpoint-url. "
    "Look at both."
)
_OUT_OF_REACH: Final = "AWS is out of reach: {} Look at the network, --region and --endpoint-url."
_LOCAL: Final[Mapping[type[Exception], str]] = {
    exceptions.NoCredentialsError: _NONE,
    exceptions.PartialCredentialsError: _NONE,
    exceptions.CredentialRetrievalError: _NONE,
    exceptions.UnauthorizedSSOTokenError: _EXPIRED,
    exceptions.SSOTokenLoadError: _EXPIRED,
    exceptions.TokenRetrievalError: _EXPIRED,
    exceptions.NoRegionError: "No region is named. Name the stack's: --region us-east-1, or AWS_DEFAULT_REGION.",
    exceptions.ProfileNotFound: "{}. These there are: aws configure list-profiles",
    exceptions.ConnectionError: _OUT_OF_REACH,
    exceptions.HTTPClientError: _OUT_OF_REACH,
}
_BY_CODE: Final[Mapping[str, str]] = {
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"), _EXPIRED),
    **dict.fromkeys(
        (
            "AuthFailure",
            "InvalidClientTokenId",
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
            "UnrecognizedClientException",
        ),
        "AWS does not know these credentials. Sign in again, or name another profile with --profile. A region that is "
        "not enabled in the account knows none at all.",
    ),
    **dict.fromkeys(
        ("ThrottlingException", "Throttling", "ProvisionedThroughputExceededException", "RequestLimitExceeded"),
        "AWS asks to slow down, and did so five times. Try again in a minute.",
    ),
    "ResourceNotFoundException": "The audit table is not there. Look at --table and --region.",
}
_DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})


def in_words(error: BaseException) -> str:
    """Return what went wrong on one line, with what to do about it; never raises."""
    # The store's own errors say less than what caused them.
    cause = error.__cause__ if isinstance(error, RootwatchError) else None
    if isinstance(cause, exceptions.ClientError | exceptions.BotoCoreError):
        error = cause
    if isinstance(error, exceptions.ClientError):
        return _answer_in_words(error)
    if isinstance(error, exceptions.BotoCoreError):
        known = next((words for kind, words in _LOCAL.items() if isinstance(error, kind)), "The AWS configuration: {}")
        return known.format(visible(error, 300))
    return visible(error, 600)


def _answer_in_words(error: exceptions.ClientError) -> str:
    details = error.response.get("Error", {})
    code, text = str(details.get("Code", "")), visible(details.get("Message", ""), 300)
    if code in _DENIED:
        return f"AWS refuses {error.operation_name} to these credentials. It says: {text}"
    return _BY_CODE.get(code) or f"AWS answered {error.operation_name} with {visible(code, 64)}: {text}"
