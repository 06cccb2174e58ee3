"""One frozen class per function: what it needs from its environment. The only reader of `os.environ`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from rootwatch.errors import SettingsError

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


def _whole_number(values: Mapping[str, str], name: str, *, default: int, least: int, most: int) -> int:
    text = values.get(name, "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > len(str(most)) or not least <= int(text) <= most:
        message = f"The environment variable {name} must be a whole number from {least} to {most}."
        raise SettingsError(message)
    return int(text)


@dataclass(frozen=True, slots=True)
class DetectSettings:
    """What `functions/detect` needs."""

    table_name: str
    dead_letter_queue_url: str
    stack_name: str
    key_id: str
    deployment_role_arn: str
    idle_minutes: int
    replay_source: str
    custodians: str = ""

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
            idle_minutes=_whole_number(values, "INCIDENT_IDLE_MINUTES", default=60, least=5, most=1440),
            replay_source=values.get("REPLAY_SOURCE", "").strip(),
            custodians=values.get("CUSTODIANS", "").strip(),
        )


@dataclass(frozen=True, slots=True)
class NotifySnsSettings:
    """What `functions/notify_sns` needs."""

    table_name: str
    dead_letter_queue_url: str
    alert_topic_arn: str
    runbook_url: str

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
        )


@dataclass(frozen=True, slots=True)
class NotifySlackSettings:
    """What `functions/notify_slack` needs. The webhook's address is a secret and never part of the environment."""

    table_name: str
    dead_letter_queue_url: str
    slack_secret_id: str
    slack_origin: str
    runbook_url: str

    @classmethod
    def from_environment(cls, values: Mapping[str, str]) -> "NotifySlackSettings":
        """Read the settings of `functions/notify_slack`.

        Raises:
            SettingsError: a variable is missing or malformed; no retry helps before the deployment is mended.

        """
        origin = values.get("SLACK_ORIGIN", "").strip() or "https://hooks.slack.com"
        try:
            parts = urlsplit(origin)
        except ValueError:
            parts = urlsplit("")  # which is no origin either
        if parts.scheme not in {"https", "http"} or not parts.netloc or parts.path not in {"", "/"}:
            message = "The environment variable SLACK_ORIGIN must be an origin such as https://hooks.slack.com"
            raise SettingsError(message)
        if parts.scheme == "http" and parts.hostname not in {"127.0.0.1", "localhost"}:
            message = (
                "The environment variable SLACK_ORIGIN must begin with https:// (http:// is for a local stack only)"
            )
            raise SettingsError(message)
        return cls(
            table_name=_required(values, "TABLE_NAME"),
            dead_letter_queue_url=_required(values, "DEAD_LETTER_QUEUE_URL"),
            slack_secret_id=_required(values, "SLACK_SECRET_ID"),
            slack_origin=f"{parts.scheme}://{parts.netloc}",
            runbook_url=values.get("RUNBOOK_URL", "").strip(),
        )
