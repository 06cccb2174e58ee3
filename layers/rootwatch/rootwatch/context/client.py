"""The client of a record: what userAgent says, as far as it can be believed. Everything in it is the client's claim."""

import re
from collections.abc import Mapping
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
    ("EdgA", "Edge"),
    ("EdgiOS", "Edge"),
    ("OPR", "Opera"),
    ("Firefox", "Firefox"),
    ("FxiOS", "Firefox"),
    ("HeadlessChrome", "Headless Chrome"),
    ("CriOS", "Chrome"),
    ("Chrome", "Chrome"),
    ("Version", "Safari"),
)
"""By the token of the user agent, the more particular first: Edge claims to be Chrome, and all claim to be Safari."""
_CONSOLE: Final = ("S3Console/", "console.", "signin.amazonaws.com", "Coral/", "EC2ConsoleFrontend", "AWS Signin")
_PARTNER: Final = re.compile(r"APN/1\.0 [A-Za-z]{1,20}/1\.0 ")
"""What tools of AWS's partners put before their own name."""
_SDK: Final = re.compile(
    r"(Boto3|Botocore|aws-sdk-[a-z0-9-]{1,20}|Terraform|OpenTofu|Pulumi|AWSPowerShell)(?:Aws|\.[a-z]{1,12})?/"
    r"([0-9.]{1,20})",
    re.IGNORECASE,
)
_SDK_NAMES: Final[Mapping[str, str]] = {
    "aws-sdk-cpp": "AWS SDK for C++",
    "aws-sdk-dotnet-core": "AWS SDK for .NET",
    "aws-sdk-dotnet-coreclr": "AWS SDK for .NET",
    "aws-sdk-go": "AWS SDK for Go",
    "aws-sdk-go-v2": "AWS SDK for Go v2",
    "aws-sdk-java": "AWS SDK for Java",
    "aws-sdk-js": "AWS SDK for JavaScript",
    "aws-sdk-kotlin": "AWS SDK for Kotlin",
    "aws-sdk-nodejs": "AWS SDK for JavaScript",
    "aws-sdk-php": "AWS SDK for PHP",
    "aws-sdk-ruby2": "AWS SDK for Ruby",
    "aws-sdk-ruby3": "AWS SDK for Ruby",
    "aws-sdk-rust": "AWS SDK for Rust",
    "aws-sdk-swift": "AWS SDK for Swift",
    "awspowershell": "AWS Tools for PowerShell",
}
"""How people call what names itself otherwise; an SDK that is not among them keeps its own name."""
_CLI: Final = re.compile(r"aws-cli/([0-9][0-9.]{0,19})?")
_SERVICE: Final = re.compile(r"[a-z0-9.-]{1,100}\.amazonaws\.com(?:\.cn)?", re.IGNORECASE)


def classify(user_agent: str | None) -> Client:  # noqa: PLR0911 - a decision table, read from top to bottom
    """Return the kind and name of the client; never raises and never takes more than linear time."""
    if user_agent is None or not user_agent.strip():
        return Client(ClientKind.ABSENT)
    text = user_agent.strip().strip("[]")[:1024]
    if "cloudshell" in text.casefold():
        return Client(ClientKind.CLOUDSHELL, "CloudShell")
    if text.startswith(("Mozilla/", "Opera/")):
        return Client(ClientKind.BROWSER, _browser(text))
    if text.startswith(_CONSOLE):
        return Client(ClientKind.CONSOLE, "AWS console")
    if match := _CLI.match(text):
        return Client(ClientKind.CLI, f"AWS CLI {match.group(1) or ''}".rstrip())
    partner = _PARTNER.match(text)
    if match := _SDK.match(text, partner.end() if partner else 0):
        name = match.group(1)
        return Client(ClientKind.SDK, f"{_SDK_NAMES.get(name.casefold(), name)} {match.group(2)}")
    if text.casefold().startswith(("aws internal", "aws.internal", "aws-internal/")):
        return Client(ClientKind.SERVICE, "AWS Internal")
    if _SERVICE.fullmatch(text):
        return Client(ClientKind.SERVICE, text)
    return Client(ClientKind.UNKNOWN)


def _browser(text: str) -> str | None:
    if text.startswith("Opera/"):
        return "Opera"
    for token, name in _BROWSERS:
        _, found, rest = text.partition(f" {token}/")
        if found:
            version = re.match(r"[0-9]{1,6}", rest)
            return f"{name} {version.group()}" if version else name
    return None
