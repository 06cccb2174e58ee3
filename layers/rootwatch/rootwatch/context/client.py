"""The client of a record: what userAgent says, as far as it can be believed. Everything in it is the client's claim."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class ClientKind(StrEnum):
    """What kind of program made the call, by its own account."""

    BROWSER = "browser"
    CONSOLE = "console"
    CLI = "cli"
    SDK = "sdk"
    CLOUDSHELL = "cloudshell"
    SERVICE = "service"
    UNKNOWN = "unknown"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Client:
    """The kind of client and the name (with version, where one is stated) that a person recognises."""

    kind: ClientKind
    name: str | None = None


_BROWSERS: Final = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("Firefox", "Firefox"),
    ("Chrome", "Chrome"),
    ("Version", "Safari"),
)
_SDK: Final = re.compile(
    r"(Boto3|Botocore|aws-sdk-[a-z0-9-]{1,20}|APN/1\.0 HashiCorp/1\.0 Terraform|Terraform|pulumi)/([0-9.]{1,20})",
    re.IGNORECASE,
)
_CLI: Final = re.compile(r"aws-cli/([0-9][0-9.]{0,19})?")
_SERVICE: Final = re.compile(r"[a-z0-9.-]{1,100}\.amazonaws\.com(?:\.cn)?", re.IGNORECASE)


def classify(user_agent: str | None) -> Client:  # noqa: PLR0911 - a decision table, read from top to bottom
    """Return the kind and name of the client; never raises and never takes more than linear time."""
    if user_agent is None or not user_agent.strip():
        return Client(ClientKind.ABSENT)
    text = user_agent.strip().strip("[]")[:1024]
    if "cloudshell" in text.casefold():
        return Client(ClientKind.CLOUDSHELL, "CloudShell")
    if text.startswith("Mozilla/"):
        return Client(ClientKind.BROWSER, _browser(text))
    if text.startswith(("S3Console/", "console.", "signin.amazonaws.com", "Coral/")):
        return Client(ClientKind.CONSOLE, "AWS console")
    if match := _CLI.match(text):
        return Client(ClientKind.CLI, f"AWS CLI {match.group(1) or ''}".rstrip())
    if match := _SDK.match(text):
        return Client(ClientKind.SDK, f"{match.group(1)} {match.group(2)}")
    if text.casefold().startswith(("aws internal", "aws.internal")):
        return Client(ClientKind.SERVICE, "AWS Internal")
    if _SERVICE.fullmatch(text):
        return Client(ClientKind.SERVICE, text)
    return Client(ClientKind.UNKNOWN)


def _browser(text: str) -> str | None:
    for token, name in _BROWSERS:
        _, found, rest = text.partition(f" {token}/")
        if found:
            version = re.match(r"[0-9]{1,6}", rest)
            return f"{name} {version.group()}" if version else name
    return None
