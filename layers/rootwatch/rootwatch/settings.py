"""One frozen class per function: what it needs from its environment. The only reader of `os.environ`."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from types import MappingProxyType
from urllib.parse import urlsplit

from rootwatch.errors import SettingsError

Network = IPv4Network | IPv6Network

CHANNELS = ("slack", "sns")
"""The channels that every alert is due on. A channel without a secret keeps its delivery as `unconfigured`."""


def environment() -> Mapping[str, str]:
    """Return the process's environment, for the `from_environment` of the classes below."""
    return os.environ


def _required(values: Mapping[str, str], name: str) -> str:
    value = values.get(name, "").strip()
    if not value:
        message = f"The environment variable {name} is missing or empty; the template sets it from a resource's name."
        raise SettingsError(message)
    return value


def _flag(values: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = values.get(name, "").strip() or ("true" if default else "false")
    if text not in {"true", "false"}:
        message = f"The environment variable {name} must be true or false."
        raise SettingsError(message)
    return text == "true"


def _origin(values: Mapping[str, str], name: str, default: str) -> str:
    """Return an origin without a slash at its end: https, or http on this machine for a local stack."""
    origin = values.get(name, "").strip() or default
    try:
        parts = urlsplit(origin)
    except ValueError:
        parts = urlsplit("")  # which is no origin either
    if parts.scheme not in {"https", "http"} or not parts.netloc or parts.path not in {"", "/"}:
        message = f"The environment variable {name} must be an origin such as {default}"
        raise SettingsError(message)
    if parts.scheme == "http" and parts.hostname not in {"127.0.0.1", "localhost"}:
        message = f"The environment variable {name} must begin with https:// (http:// is for a local stack only)"
        raise SettingsError(message)
    return f"{parts.scheme}://{parts.netloc}"


def _address(values: Mapping[str, str], name: str) -> str:
    """Return a web address, or nothing: https, or http on this machine for a local stack. No error holds it."""
    text = values.get(name, "").strip()
    try:
        parts = urlsplit(text)
        is_local = parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost"}
        fits = (parts.scheme == "https" or is_local) and bool(parts.hostname)
    except ValueError:
        fits = False
    if text and not fits:
        message = f"The environment variable {name} must be empty or an address that begins with https://"
        raise SettingsError(message)
    return text


def _rule_arn(values: Mapping[str, str], name: str) -> str:
    text = _required(values, name)
    if not re.fullmatch(
        r"arn:[a-z0-9-]{1,20}:events:[a-z0-9-]{1,24}:[0-9]{12}:rule/[A-Za-z0-9._-]{1,64}", text, re.ASCII
    ):
        message = f"The environment variable {name} must be the ARN of a rule; the template sets it."
        raise SettingsError(message)
    return text


def _whole_number(values: Mapping[str, str], name: str, *, default: int, least: int, most: int) -> int:
    text = values.get(name, "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > len(str(most)) or not least <= int(text) <= most:
        message = f"The environment variable {name} must be a whole number from {least} to {most}."
        raise SettingsError(message)
    return int(text)


def networks(entries: Sequence[str], where: str) -> tuple[Network, ...]:
    """Read networks in CIDR notation; a bare address is a network of one.

    Raises:
        SettingsError: names `where`, the position of the entry from 1, and what is expected; no retry helps.

    """
    found: list[Network] = []
    for position, entry in enumerate(entries, start=1):
        try:
            network = ip_network(entry.strip())
        except ValueError:
            network = None
        # Sources are compared in their IPv4 spelling, so such a network would match nothing, and nobody would know.
        if network is None or (network.version == 6 and network.network_address.ipv4_mapped):  # noqa: PLR2004
            message = (
                f"Entry {position} of {where} is no network. Expected CIDR notation that begins at the network's first "
                "address, such as 203.0.113.0/24 or 2001:db8::/32."
            )
            raise SettingsError(message)
        found.append(network)
    return tuple(found)


def account_names(entries: Sequence[str], where: str) -> Mapping[str, str]:
    """Read the names of accounts, each entry an account's number, `=` and its name.

    Raises:
        SettingsError: names `where`, the position of the entry from 1, and what is expected; no retry helps.

    """
    names: dict[str, str] = {}
    for position, entry in enumerate(entries, start=1):
        number, _, name = (part.strip() for part in entry.partition("="))
        if not re.fullmatch(r"[0-9]{12}", number, re.ASCII) or not name or len(name) > _LONGEST_ACCOUNT_NAME:
            message = (
                f"Entry {position} of {where} is no account's name. Expected the account's 12 digits, = and at most "
                f"{_LONGEST_ACCOUNT_NAME} characters without a comma, such as 111122223333=Production."
            )
            raise SettingsError(message)
        if number in names:
            message = f"Entry {position} of {where} names an account a second time. Expected one name for each account."
            raise SettingsError(message)
        names[number] = name
    return MappingProxyType(names)


_LONGEST_ACCOUNT_NAME = 50
"""As in AWS Organizations."""


def _entries(values: Mapping[str, str], name: str) -> list[str]:
    text = values.get(name, "").strip()
    return text.split(",") if text else []


@dataclass(frozen=True, slots=True)
class DetectSettings:
    """What `functions/detect` needs.

    `owner_database_folder` is where Lambda unpacks the operator's layer; the template leaves it alone.
    """

    table_name: str
    dead_letter_queue_url: str
    stack_name: str
    key_id: str
    deployment_role_arn: str
    idle_minutes: int
    replay_source: str
    custodians: str = ""
    trusted_networks: tuple[Network, ...] = ()
    look_up_owners: bool = True
    rdap_origin: str = "https://rdap.arin.net"
    owner_database_folder: str = "/opt/mmdb"
    look_up_account_names: bool = False
    account_names: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def from_environment(cls, values: Mapping[str, str]) -> "DetectSettings":
        """Read the settings of `functions/detect`.

        Raises:
            SettingsError: a variable is missing or malformed; no retry helps before the deployment is mended.

        """
        return cls(
            table_name=_required(values, "TABLE_NAME"),
            dead_letter_queue_url=_required(values, "DEAD_LETTER_QUEUE_URL"),
            stack_name=_required(values, "STACK_NAME"),
            key_id=values.get("KEY_ID", "").strip(),
            deployment_role_arn=values.get("DEPLOYMENT_ROLE_ARN", "").strip(),
            idle_minutes=_idle_minutes(values),
            replay_source=values.get("REPLAY_SOURCE", "").strip(),
            custodians=values.get("CUSTODIANS", "").strip(),
            trusted_networks=networks(_entries(values, "TRUSTED_NETWORKS"), "TRUSTED_NETWORKS"),
            look_up_owners=_flag(values, "LOOK_UP_OWNERS", default=True),
            rdap_origin=_origin(values, "RDAP_ORIGIN", "https://rdap.arin.net"),
            owner_database_folder=values.get("OWNER_DATABASE_FOLDER", "").strip() or "/opt/mmdb",
            look_up_account_names=_flag(values, "LOOK_UP_ACCOUNT_NAMES", default=False),
            account_names=account_names(_entries(values, "ACCOUNT_NAMES"), "ACCOUNT_NAMES"),
        )


@dataclass(frozen=True, slots=True)
class NotifySnsSettings:
    """What `functions/notify_sns` needs."""

    table_name: str
    dead_letter_queue_url: str
    alert_topic_arn: str
    runbook_url: str
    escalation_topic_arn: str = ""

    @classmethod
    def from_environment(cls, values: Mapping[str, str]) -> "NotifySnsSettings":
        """Read the settings of `functions/notify_sns`.

        Raises:
            SettingsError: a variable is missing; no retry helps before the deployment is mended.

        """
        return cls(
            table_name=_required(values, "TABLE_NAME"),
            dead_letter_queue_url=_required(values, "DEAD_LETTER_QUEUE_URL"),
            alert_topic_arn=_required(values, "ALERT_TOPIC_ARN"),
            runbook_url=values.get("RUNBOOK_URL", "").strip(),
            escalation_topic_arn=values.get("ESCALATION_TOPIC_ARN", "").strip(),
        )


@dataclass(frozen=True, slots=True)
class NotifySlackSettings:
    """What `functions/notify_slack` needs. The webhook's address is a secret and never part of the environment.

    `buttons_of` is the stack's name, which buttons carry; None where there are none.
    """

    table_name: str
    dead_letter_queue_url: str
    slack_secret_id: str
    slack_origin: str
    runbook_url: str
    buttons_of: str | None = None

    @classmethod
    def from_environment(cls, values: Mapping[str, str]) -> "NotifySlackSettings":
        """Read the settings of `functions/notify_slack`.

        Raises:
            SettingsError: a variable is missing or malformed; no retry helps before the deployment is mended.

        """
        has_buttons = _flag(values, "SLACK_BUTTONS", default=False)
        return cls(
            table_name=_required(values, "TABLE_NAME"),
            dead_letter_queue_url=_required(values, "DEAD_LETTER_QUEUE_URL"),
            slack_secret_id=_required(values, "SLACK_SECRET_ID"),
            slack_origin=_origin(values, "SLACK_ORIGIN", "https://hooks.slack.com"),
            runbook_url=values.get("RUNBOOK_URL", "").strip(),
            buttons_of=_required(values, "STACK_NAME") if has_buttons else None,
        )


@dataclass(frozen=True, slots=True)
class TriageSettings:
    """What `functions/triage` needs. The signing secret is a secret and never part of the environment."""

    table_name: str
    stack_name: str
    slack_secret_id: str
    slack_origin: str
    slack_resolvers: tuple[str, ...] = ()
    second_person: bool = False
    custodians: str = ""
    account_names: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def from_environment(cls, values: Mapping[str, str]) -> "TriageSettings":
        """Read the settings of `functions/triage`.

        Raises:
            SettingsError: a variable is missing or malformed; no retry helps before the deployment is mended.

        """
        return cls(
            table_name=_required(values, "TABLE_NAME"),
            stack_name=_required(values, "STACK_NAME"),
            slack_secret_id=_required(values, "SLACK_SECRET_ID"),
            slack_origin=_origin(values, "SLACK_ORIGIN", "https://hooks.slack.com"),
            slack_resolvers=_slack_users(values, "SLACK_RESOLVERS"),
            second_person=_flag(values, "SECOND_PERSON", default=False),
            custodians=values.get("CUSTODIANS", "").strip(),
            account_names=account_names(_entries(values, "ACCOUNT_NAMES"), "ACCOUNT_NAMES"),
        )


def _slack_users(values: Mapping[str, str], name: str) -> tuple[str, ...]:
    users = tuple(entry.strip() for entry in _entries(values, name))
    if not all(re.fullmatch(r"[UW][A-Z0-9]{2,31}", user, re.ASCII) for user in users):
        message = f"The environment variable {name} must hold ids of Slack users, such as U0123456789,U1234567890."
        raise SettingsError(message)
    return users


@dataclass(frozen=True, slots=True)
class WatchdogSettings:
    """What `functions/watchdog` needs, besides what the two notifiers need: it sends with their senders."""

    table_name: str
    stack_name: str
    idle_minutes: int
    operations_topic_arn: str
    intake_letters_url: str
    rule_letters_url: str
    notify_letters_url: str
    sns: NotifySnsSettings
    slack: NotifySlackSettings
    rule_arn: str
    escalation_minutes: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: MappingProxyType({}))
    ask_again_hours: int = 0
    custodians: str = ""
    heartbeat_url: str = field(default="", repr=False)
    look_up_account_names: bool = False
    account_names: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def from_environment(cls, values: Mapping[str, str]) -> "WatchdogSettings":
        """Read the settings of `functions/watchdog`.

        Raises:
            SettingsError: a variable is missing or malformed; no retry helps before the deployment is mended.

        """
        return cls(
            table_name=_required(values, "TABLE_NAME"),
            stack_name=_required(values, "STACK_NAME"),
            idle_minutes=_idle_minutes(values),
            operations_topic_arn=_required(values, "OPERATIONS_TOPIC_ARN"),
            intake_letters_url=_required(values, "INTAKE_DEAD_LETTER_QUEUE_URL"),
            rule_letters_url=_required(values, "RULE_DEAD_LETTER_QUEUE_URL"),
            notify_letters_url=_required(values, "DEAD_LETTER_QUEUE_URL"),
            sns=NotifySnsSettings.from_environment(values),
            slack=NotifySlackSettings.from_environment(values),
            escalation_minutes=MappingProxyType(
                {
                    severity: _minutes(values, f"ESCALATE_{severity.upper()}")
                    for severity in ("critical", "high", "medium")
                }
            ),
            ask_again_hours=_whole_number(values, "ASK_AGAIN_HOURS", default=0, least=0, most=72),
            custodians=values.get("CUSTODIANS", "").strip(),
            rule_arn=_rule_arn(values, "ROOT_RULE_ARN"),
            heartbeat_url=_address(values, "HEARTBEAT_URL"),
            look_up_account_names=_flag(values, "LOOK_UP_ACCOUNT_NAMES", default=False),
            account_names=account_names(_entries(values, "ACCOUNT_NAMES"), "ACCOUNT_NAMES"),
        )


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """What `functions/report` needs. `region` is where the bucket is, as Lambda states it.

    `posture_role` is the name of the role that lets it read the credential report of another account; empty where it
    reads its own account's only.
    """

    table_name: str
    stack_name: str
    bucket_name: str
    alert_topic_arn: str
    slack_secret_id: str
    slack_origin: str
    acknowledge_minutes: int
    region: str
    account_names: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    posture_role: str = ""

    @classmethod
    def from_environment(cls, values: Mapping[str, str]) -> "ReportSettings":
        """Read the settings of `functions/report`.

        Raises:
            SettingsError: a variable is missing or malformed; no retry helps before the deployment is mended.

        """
        return cls(
            table_name=_required(values, "TABLE_NAME"),
            stack_name=_required(values, "STACK_NAME"),
            bucket_name=_required(values, "REPORT_BUCKET"),
            alert_topic_arn=_required(values, "ALERT_TOPIC_ARN"),
            slack_secret_id=_required(values, "SLACK_SECRET_ID"),
            slack_origin=_origin(values, "SLACK_ORIGIN", "https://hooks.slack.com"),
            acknowledge_minutes=_whole_number(values, "ACKNOWLEDGE_MINUTES", default=15, least=1, most=1440),
            region=values.get("AWS_REGION", "").strip() or values.get("AWS_DEFAULT_REGION", "").strip() or "us-east-1",
            account_names=account_names(_entries(values, "ACCOUNT_NAMES"), "ACCOUNT_NAMES"),
            posture_role=values.get("POSTURE_ROLE", "").strip(),
        )


def _minutes(values: Mapping[str, str], name: str) -> tuple[int, ...]:
    """Return moments in rising order, whatever their order: the watch must not stand still for one."""
    entries = [entry.strip() for entry in _entries(values, name)]
    if not all(re.fullmatch(r"[0-9]{1,4}", entry, re.ASCII) and int(entry) for entry in entries):
        message = f"The environment variable {name} must be empty, or numbers of minutes from 1, such as 5,15,30."
        raise SettingsError(message)
    return tuple(sorted(set(map(int, entries))))


def _idle_minutes(values: Mapping[str, str]) -> int:
    return _whole_number(values, "INCIDENT_IDLE_MINUTES", default=60, least=5, most=1440)
