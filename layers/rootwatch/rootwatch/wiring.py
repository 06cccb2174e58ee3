"""Builds the real adapters, once per container, when a handler first asks. Importing this module does nothing.

The only place that makes clients: one boto3 session, and only the clients that the function needs.
"""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from rootwatch.alert import Alert
from rootwatch.audit.dynamodb import DynamoTable
from rootwatch.audit.items import DeliveryState
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Key
from rootwatch.delivery import Sender, Sent, Unconfigured, deliver
from rootwatch.detections.detection import OwnResources
from rootwatch.errors import DamagedItemError, DeliveryFailedError, DeliveryRefusedError
from rootwatch.pipeline import Message, Recorder
from rootwatch.settings import DetectSettings, NotifySlackSettings, NotifySnsSettings, environment

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

_CONFIG: Final = Config(connect_timeout=3, read_timeout=8, retries={"mode": "standard", "max_attempts": 3})
_SECONDS_PER_PUBLISH: Final = 0.2
"""At most five messages a second: over ten, SNS suspends e-mail subscriptions.
https://docs.aws.amazon.com/sns/latest/dg/sns-email-notifications.html"""
_SECRET_SECONDS: Final = 60
"""How long a container believes Slack's secret, so that a new webhook counts within a minute."""


def _now() -> datetime:
    return datetime.now(UTC)


def _jitter(attempt: int) -> None:
    """Wait a random time of up to 25 ms, doubled with every attempt, at most 2 seconds."""
    time.sleep(random.uniform(0, min(2.0, 0.025 * 2**attempt)))  # noqa: S311 - not a secret


@cache
def _session() -> "boto3.Session":
    return boto3.Session()


def _store(table_name: str) -> AuditStore:
    return AuditStore(DynamoTable(_session().client("dynamodb", config=_CONFIG), table_name))


# --- detect --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Intake:
    """What `functions/detect` works with."""

    recorder: Recorder
    reject: Callable[[Message, str], None]
    replay_source: str


@cache
def intake() -> Intake:
    """Return what `functions/detect` works with.

    Raises:
        SettingsError: the environment is wrong; no retry helps before the deployment is mended.

    """
    settings = DetectSettings.from_environment(environment())
    recorder = Recorder(
        store=_store(settings.table_name),
        own=OwnResources(settings.stack_name, settings.key_id, settings.deployment_role_arn),
        idle=timedelta(minutes=settings.idle_minutes),
        now=_now,
        pause=_jitter,
    )
    queue = _session().client("sqs", config=_CONFIG)
    return Intake(recorder, _rejecter(queue, settings.dead_letter_queue_url), settings.replay_source)


def _rejecter(queue: "SQSClient", url: str) -> Callable[[Message, str], None]:
    def reject(message: Message, reason: str) -> None:
        """Put an unreadable message on the dead-letter queue, as it came, with its reason."""
        attributes: dict[str, Any] = {
            "reason": {"DataType": "String", "StringValue": reason},
            "message_id": {"DataType": "String", "StringValue": message.id or "not stated"},
        }
        try:
            # SQS takes no empty text; an empty message says so instead.
            queue.send_message(QueueUrl=url, MessageBody=message.body or "(empty)", MessageAttributes=attributes)
        except (ClientError, BotoCoreError) as error:
            text = f"The dead-letter queue did not take an unreadable message ({type(error).__name__})."
            raise DeliveryFailedError(text) from error

    return reject


# --- notifiers -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Notifier:
    """Delivers what the table's stream names, on one channel."""

    store: AuditStore
    send: Sender

    def deliver(self, record: Mapping[str, Any]) -> DeliveryState:
        """Deliver the alert whose ledger the stream record is about.

        Args:
            record: one entry of a DynamoDB stream event; Powertools Batch hands it over under this name.

        Raises:
            DeliveryError, StoreError: see `rootwatch.delivery.deliver`.

        """
        try:
            keys = record["dynamodb"]["Keys"]
            key = Key(keys["pk"]["S"], keys["sk"]["S"])
        except (KeyError, TypeError) as error:
            message = "A stream record names no item."
            raise DamagedItemError(message) from error
        return deliver(self.store, key, self.send, _now)


@cache
def sns_notifier() -> Notifier:
    """Return what `functions/notify_sns` works with.

    Raises:
        SettingsError: the environment is wrong; no retry helps before the deployment is mended.

    """
    from rootwatch.channels import sns  # noqa: PLC0415 - each function imports its own channel only

    settings = NotifySnsSettings.from_environment(environment())
    client = _session().client("sns", config=_CONFIG)
    pace = _Pace(_SECONDS_PER_PUBLISH)

    def send(alert: Alert) -> Sent:
        pace.wait()
        return Sent(sns.publish(client, sns.publish_arguments(alert, settings.alert_topic_arn, settings.runbook_url)))

    return Notifier(_store(settings.table_name), send)


@cache
def slack_notifier() -> Notifier:
    """Return what `functions/notify_slack` works with.

    Raises:
        SettingsError: the environment is wrong; no retry helps before the deployment is mended.

    """
    import requests  # noqa: PLC0415 - each function imports its own channel only
    from aws_lambda_powertools.utilities.parameters import SecretsProvider  # noqa: PLC0415

    from rootwatch.channels import slack  # noqa: PLC0415

    settings = NotifySlackSettings.from_environment(environment())
    secrets = SecretsProvider(boto3_client=_session().client("secretsmanager", config=_CONFIG))
    session = requests.Session()
    session.trust_env = False  # no proxy and no .netrc of the environment may see the webhook's address

    def send(alert: Alert) -> Sent | Unconfigured:
        address = slack.webhook_address(_slack_secret(secrets, settings.slack_secret_id), settings.slack_origin)
        if address is None:
            return Unconfigured("Slack's secret holds no webhook_url yet")
        return Sent(slack.post(session, address, slack.payload(alert, settings.runbook_url)))

    return Notifier(_store(settings.table_name), send)


def _slack_secret(secrets: Any, name: str) -> object:  # noqa: ANN401 - SecretsProvider, imported only where it is used
    from aws_lambda_powertools.utilities.parameters.exceptions import (  # noqa: PLC0415 - Slack's notifier only
        GetParameterError,
        TransformParameterError,
    )

    try:
        return secrets.get(name, transform="json", max_age=_SECRET_SECONDS)
    except TransformParameterError:
        message = 'Slack\'s secret is not JSON. Expected {"webhook_url": "…"}.'
        raise DeliveryRefusedError(message) from None  # the original error may hold the secret
    except GetParameterError:
        message = "Slack's secret cannot be read; check the function's permission and the secret's key."
        raise DeliveryFailedError(message) from None


class _Pace:
    """Keeps a least number of seconds between two moments."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last = float("-inf")

    def wait(self) -> None:
        """Wait until the least time since the last call has passed."""
        rest = self._last + self._seconds - time.monotonic()
        if rest > 0:
            time.sleep(rest)
        self._last = time.monotonic()
