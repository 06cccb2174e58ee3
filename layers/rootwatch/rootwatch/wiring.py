"""Builds the real adapters, once per container, when a handler first asks. Importing this module does nothing.

The only place that makes clients: one session, and only the clients that the function needs. Root use is rare, so
nearly every alert meets a cold start: what is imported here, and when, is a decision. `make bench` measures it.
"""

import json
import logging
import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from rootwatch.alert import Alert, visible
from rootwatch.audit.dynamodb import DynamoTable
from rootwatch.audit.items import PROBES, STEP_PREFIX, DeliveryState, Step
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Key
from rootwatch.channels.forms import post_best_form
from rootwatch.context import account_name, network_owner
from rootwatch.context.network_owner import Owner
from rootwatch.context.surroundings import BATCH_SECONDS, LookUps
from rootwatch.delivery import Sender, Sent, Unconfigured, deliver, prove_channel
from rootwatch.detections.detection import OwnResources, Severity
from rootwatch.errors import DamagedItemError, DeliveryFailedError, DeliveryRefusedError, LookUpFailedError, ReportError
from rootwatch.incident import Why
from rootwatch.settings import (
    DetectSettings,
    NotifySlackSettings,
    NotifySnsSettings,
    ReportSettings,
    TriageSettings,
    WatchdogSettings,
    environment,
)

if TYPE_CHECKING:
    import boto3
    from types_boto3_iam import IAMClient
    from types_boto3_sns.type_defs import PublishInputTypeDef
    from types_boto3_sqs import SQSClient

    from rootwatch.channels import slack_bot
    from rootwatch.channels.notice import Notice
    from rootwatch.incident import Incident
    from rootwatch.pipeline import Message, Recorder
    from rootwatch.probe import Probe
    from rootwatch.proof import Tell
    from rootwatch.reception import Reception
    from rootwatch.report.posture import RootCredentials
    from rootwatch.report.reporter import Reporter
    from rootwatch.watchdog import LetterQueue, Report, Watchdog

_Answer = TypeVar("_Answer")

_LOGGER: Final = logging.getLogger(__name__)

_CONFIG: Final = Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3})
"""Three tries of eight seconds at most fit the functions' time; what fails then, queue or stream try again."""
_REPORT_CONFIG: Final = Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard", "max_attempts": 8})
"""For the report, which nobody waits for: a throttled table or bucket is asked again for minutes."""
_CREDENTIAL_REPORT_TRIES: Final = 15
_SECONDS_PER_TRY: Final = 2.0
_SHORTEST_SESSION: Final = 900
"""Seconds for which a role is taken at the least."""
_LOOK_UP_CONFIG: Final = Config(
    connect_timeout=BATCH_SECONDS, read_timeout=BATCH_SECONDS, retries={"mode": "standard", "total_max_attempts": 1}
)
"""For what an alert can do without: one try within the time there is."""
_SECONDS_PER_PUBLISH: Final = 1.0
"""Between two messages of one sender. Lambda runs a notifier for each shard of the table's stream, of which a new table
has four, and the watchdog sends too: at most five a second in sum. Over ten, SNS takes an e-mail subscription's
confirmation back. https://repost.aws/knowledge-center/sns-email-subscription-disabled"""
_SECONDS_PER_MESSAGE: Final = 1.0
"""Slack takes one message a second in a channel. https://docs.slack.dev/apis/web-api/rate-limits"""
_LONGEST_WAIT: Final = 10.0
"""Seconds that the Slack notifier waits where Slack asks it to; it has 60 for a batch of five."""
_LONGEST_QUIET: Final = 900.0
"""Seconds for which it is quiet at the most, whatever Slack asks for: days would be no wait, but alerts withheld."""
_REST: Final = 30.0
"""Seconds for which the first messages of threads are left as they are after Slack did not take a change of one."""
_LONGEST_REASON: Final = 1000
"""Characters of what is said of a dead letter."""
_OUTSIDE_SECONDS: Final = (3.0, 5.0)
"""To connect to the outside watchdog, and to wait for what it says."""
_NO_SLACK: Final = "Slack's secret holds neither a webhook_url nor a bot_token yet"
_SECRET_SECONDS: Final = 60
"""How long a container believes Slack's secret, so that a new webhook counts within a minute."""


def _now() -> datetime:
    return datetime.now(UTC)


def _jitter(attempt: int) -> None:
    """Wait a random time of up to 50 ms, doubled with every further attempt, at most half a second.

    Who waits for longer than the others write loses to whoever comes anew, again and again.
    """
    time.sleep(random.uniform(0, min(0.5, 0.025 * 2**attempt)))  # noqa: S311 - not a secret


class _Session:
    """Makes clients as boto3's session does. Those are botocore's; boto3 adds resources and transfers, unused here."""

    def __init__(self) -> None:
        self._session = botocore.session.get_session()

    def client(self, service: str, *, config: Config | None = None) -> Any:  # noqa: ANN401 - a class made at run time
        return self._session.create_client(service, config=config)


@cache
def _session() -> "boto3.Session":
    return cast("boto3.Session", _Session())


def _store(table_name: str) -> AuditStore:
    return AuditStore(DynamoTable(_session().client("dynamodb", config=_CONFIG), table_name))


# --- detect --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Intake:
    """What `functions/detect` works with."""

    recorder: "Recorder"
    reject: "Callable[[Message, str], None]"
    replay_source: str


@cache
def intake() -> Intake:
    """Return what `functions/detect` works with.

    Raises:
        SettingsError: the environment is wrong; no retry helps before the deployment is mended.

    """
    from rootwatch.pipeline import Recorder  # noqa: PLC0415 - the notifiers do without it

    settings = DetectSettings.from_environment(environment())
    store = _store(settings.table_name)
    recorder = Recorder(
        store=store,
        own=OwnResources(settings.stack_name, settings.key_id, settings.deployment_role_arn),
        idle=timedelta(minutes=settings.idle_minutes),
        now=_now,
        pause=_jitter,
        custodians=settings.custodians,
        trusted_networks=settings.trusted_networks,
        surroundings=_look_ups(settings, store),
    )
    leave = _dead_letters(settings.dead_letter_queue_url)

    def reject(message: "Message", reason: str) -> None:
        """Put an unreadable message on the dead-letter queue, as it came, with its reason."""
        # SQS takes no empty text; an empty message says so instead.
        leave(message.body or "(empty)", reason, message.id)

    return Intake(recorder, reject, settings.replay_source)


def _look_ups(settings: DetectSettings, store: AuditStore) -> LookUps:
    return LookUps(
        cache=store,
        now=_now,
        databases=_databases(Path(settings.owner_database_folder)),
        registries=_Registries(settings.rdap_origin) if settings.look_up_owners else None,
        organizations=_organizations() if settings.look_up_account_names else None,
        names=settings.account_names,
    )


def _databases(folder: Path) -> "Callable[[str], Owner | None] | None":
    if not folder.is_dir():
        return None
    from rootwatch.context.owner_databases import OwnerDatabases  # noqa: PLC0415 - only where there is one

    return OwnerDatabases(folder).look_up


@dataclass(frozen=True, slots=True)
class _Registries:
    """The internet registries, the first of which answers at `origin`."""

    origin: str

    @property
    def hosts(self) -> tuple[str, ...]:
        return network_owner.hosts(self.origin)

    def look_up(self, address: str, seconds: float, silent: frozenset[str], asking: Callable[[str], None]) -> Owner:
        from rootwatch.context import rdap  # noqa: PLC0415 - it imports requests: only who asks pays for that

        with rdap.RegistrySession(seconds) as session:
            return rdap.look_up(session, self.origin, address, silent, asking)


def _organizations() -> Callable[[str], str]:
    """Return what asks AWS Organizations for the name of an account."""
    client = _session().client("organizations", config=_LOOK_UP_CONFIG)  # here: boto3 makes none in several threads

    def ask(account_id: str) -> str:
        try:
            answer = client.describe_account(AccountId=account_id)
        except (ClientError, BotoCoreError) as error:
            raise LookUpFailedError(type(error).__name__) from error
        name = account_name.of_organizations(answer, account_id)
        if name is None:
            message = "Organizations named no account of this number"
            raise LookUpFailedError(message)
        return name

    return ask


def _dead_letters(url: str) -> Callable[[str, str, str], None]:
    """Return what leaves a message on a dead-letter queue: its body, the reason and the id of what it is about."""

    @cache
    def queue() -> "SQSClient":
        return _session().client("sqs", config=_CONFIG)  # made only when something goes wrong

    def leave(body: str, reason: str, subject_id: str) -> None:
        attributes: dict[str, Any] = {
            # A key may hold what SQS takes in no attribute; the body, JSON or as it came from SQS, has all of it.
            "reason": {"DataType": "String", "StringValue": visible(reason, _LONGEST_REASON)},
            "message_id": {"DataType": "String", "StringValue": visible(subject_id, _LONGEST_REASON) or "not stated"},
        }
        try:
            queue().send_message(QueueUrl=url, MessageBody=body, MessageAttributes=attributes)
        except (ClientError, BotoCoreError) as error:
            text = f"The dead-letter queue did not take a message ({type(error).__name__})."
            raise DeliveryFailedError(text) from error

    return leave


# --- notifiers -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Notifier:
    """Delivers what the table's stream names, on one channel.

    `leave` puts what no repetition can help on the dead-letter queue, so that it does not hold up the alerts behind it.
    `tell_step` tells of a step of triage, where the channel does.
    """

    store: AuditStore
    send: Sender
    leave: Callable[[str, str, str], None]
    prove: Callable[[str], Sent | Unconfigured]
    damaged: set[Key] = field(default_factory=set)
    tell_step: "Callable[[Step], Sent | Unconfigured] | None" = None

    def deliver(self, record: Mapping[str, Any]) -> str:
        """Deliver the alert whose ledger the stream record is about.

        Args:
            record: one entry of a DynamoDB stream event.

        Returns:
            What the ledger says afterwards; `failed` where the channel refused it for good and a dead letter says so.
            For a canary `proof`, however it ended: it is in no count of alerts.

        Raises:
            DeliveryFailedError, StoreError: not delivered this time; the stream has to try again.

        """
        try:
            keys = record["dynamodb"]["Keys"]
            key = Key(keys["pk"]["S"], keys["sk"]["S"])
        except (KeyError, TypeError):
            self.leave("{}", "A stream record names no item.", "not stated")
            return DeliveryState.FAILED

        def leave(reason: str) -> None:
            self.leave(json.dumps({"pk": key.pk, "sk": key.sk}), reason, f"{key.pk} {key.sk}")

        try:
            if key.sk.startswith(STEP_PREFIX):
                return self._tell_step(key, leave)
            if key.pk == PROBES:
                state = prove_channel(self.store, key, self.prove, _now)
                if state is DeliveryState.FAILED:
                    _LOGGER.warning("a canary did not pass: %s %s", key.pk, key.sk)
                return "proof"
            return deliver(self.store, key, self.send, _now, leave)
        except DamagedItemError as error:
            if key not in self.damaged:  # once per container: the stream repeats a batch for its neighbours' sake
                leave(str(error))
                self.damaged.add(key)
            return DeliveryState.FAILED

    def _tell_step(self, key: Key, leave: Callable[[str], None]) -> DeliveryState:
        """Tell of a step. It has no ledger: what came of it is in the incident, and the stream tries it for an hour."""
        step = self.store.step(key)
        if step is None or self.tell_step is None:
            message = "A step of triage is gone from the audit table."
            raise DamagedItemError(message)
        try:
            answer = self.tell_step(step)
        except DeliveryRefusedError as error:
            leave(str(error))
            return DeliveryState.FAILED
        return DeliveryState.UNCONFIGURED if isinstance(answer, Unconfigured) else DeliveryState.SENT


@cache
def sns_notifier() -> Notifier:
    """Return what `functions/notify_sns` works with.

    Raises:
        SettingsError: the environment is wrong; no retry helps before the deployment is mended.

    """
    from rootwatch.channels import canary, sns  # noqa: PLC0415 - each function imports its own channel only

    settings = NotifySnsSettings.from_environment(environment())
    client = _session().client("sns", config=_CONFIG)
    pace = _Pace(_SECONDS_PER_PUBLISH)

    def send(alert: Alert) -> Sent:
        is_escalation = alert.kind == str(Why.UNANSWERED)
        topic = (settings.escalation_topic_arn if is_escalation else "") or settings.alert_topic_arn
        forms = (
            lambda: sns.publish_arguments(alert, topic, settings.runbook_url),
            lambda: sns.bare_arguments(alert, topic),
        )

        def publish(arguments: "PublishInputTypeDef") -> str:
            pace.wait()
            return sns.publish(client, arguments)

        return Sent(*post_best_form(forms, publish))

    def prove(nonce: str) -> Sent:
        pace.wait()
        return Sent(sns.publish(client, canary.sns_arguments(nonce, settings.alert_topic_arn)))

    return Notifier(_store(settings.table_name), send, _dead_letters(settings.dead_letter_queue_url), prove)


@cache
def slack_notifier() -> Notifier:
    """Return what `functions/notify_slack` works with.

    Raises:
        SettingsError: the environment is wrong; no retry helps before the deployment is mended.

    """
    settings = NotifySlackSettings.from_environment(environment())
    store = _store(settings.table_name)
    sender = _SlackSender(settings, store)
    letters = _dead_letters(settings.dead_letter_queue_url)
    return Notifier(store, sender.send, letters, sender.prove, tell_step=sender.tell_step)


class _SlackSender:
    """Tells Slack of alerts and of steps of triage, by a bot where the secret holds one, else by a webhook."""

    def __init__(self, settings: NotifySlackSettings, store: AuditStore) -> None:
        from rootwatch.channels.slack import LONGEST_EXCHANGE  # noqa: PLC0415 - each function imports its own channel
        from rootwatch.timed_session import TimedSession  # noqa: PLC0415

        self._secret: Callable[[], object] = _SlackSecret(settings.slack_secret_id).read
        self._session = TimedSession(LONGEST_EXCHANGE)
        self._quiet, self._updates = _Quiet(), _Quiet()
        self._settings, self._store = settings, store
        self._deployment = settings.buttons_of

    def send(self, alert: Alert) -> Sent | Unconfigured:
        """Send one alert; see `Sender`."""
        from rootwatch.channels import slack, slack_bot  # noqa: PLC0415 - as above
        from rootwatch.slack_thread import send_in_thread  # noqa: PLC0415

        secret = self._secret()
        of_bot = slack_bot.bot_secret(secret)
        if of_bot is not None:
            return Sent(*send_in_thread(self._store, self._bot(of_bot), alert, _now, _LOGGER.warning))
        address = slack.webhook_address(secret, self._settings.slack_origin)
        if address is None:
            return Unconfigured(_NO_SLACK)
        forms = slack.forms(alert, self._settings.runbook_url, self._buttons_below(alert))
        return Sent(*post_best_form(forms, lambda message: self._post(address, message)))

    def tell_step(self, step: Step) -> Sent | Unconfigured:
        """Tell of a step of triage, and bring the messages that stand for its incident up to date."""
        from rootwatch.channels import slack, slack_bot  # noqa: PLC0415 - as above
        from rootwatch.channels.slack_buttons import step_message  # noqa: PLC0415
        from rootwatch.slack_thread import tell_in_thread  # noqa: PLC0415
        from rootwatch.triage import TOLD_BY_ALERT, step_words  # noqa: PLC0415

        incident = _incident_of(self._store, step)
        words = "" if step.kind in TOLD_BY_ALERT else step_words(step)
        mark = f"step {step.number}, chain {step.chain[:12]}" if step.chain else ""
        secret = self._secret()
        of_bot = slack_bot.bot_secret(secret)
        if of_bot is not None:
            # Its buttons are on the message that the thread begins with.
            message = step_message(words, incident, None, mark) if words else None
            tell_in_thread(self._store, self._bot(of_bot), incident, message, _LOGGER.warning)
            return Sent("told")
        address = slack.webhook_address(secret, self._settings.slack_origin)
        if address is None:
            return Unconfigured(_NO_SLACK)
        if words:
            self._post(address, step_message(words, incident, self._deployment, mark))
        return Sent("told")

    def prove(self, _nonce: str) -> Sent | Unconfigured:
        """Prove, without telling anybody, that Slack would take an alert now."""
        from rootwatch.channels import slack, slack_bot  # noqa: PLC0415 - as above

        secret = self._secret()
        of_bot = slack_bot.bot_secret(secret)
        if of_bot is not None:
            return Sent(slack_bot.prove(self._session, slack_bot.api_origin(self._settings.slack_origin), of_bot))
        address = slack.webhook_address(secret, self._settings.slack_origin)
        if address is None:
            return Unconfigured(_NO_SLACK)
        return Sent(slack.prove(self._session, address))

    def _post(self, address: str, message: Mapping[str, Any]) -> str:
        from rootwatch.channels import slack  # noqa: PLC0415 - as above

        return self._quiet.keep(lambda: slack.post(self._session, address, message))

    def _bot(self, secret: "slack_bot.BotSecret") -> "slack_bot.SlackBot":
        from rootwatch.channels import slack_bot  # noqa: PLC0415 - as above

        origin = slack_bot.api_origin(self._settings.slack_origin)

        def call(method: str, arguments: Mapping[str, Any]) -> slack_bot.Posted:
            # The thread's first message can wait for the next alert; the alerts cannot wait for it.
            keep = self._updates.keep_short if method == slack_bot.UPDATE else self._quiet.keep
            return keep(lambda: slack_bot.call(self._session, origin, secret, method, arguments))

        return slack_bot.SlackBot(call, secret.channel, self._settings.runbook_url, self._deployment)

    def _buttons_below(self, alert: Alert) -> list[dict[str, Any]]:
        """Return the buttons of the alert's incident as it stands now; none where it cannot be read."""
        from rootwatch.channels.slack_buttons import buttons  # noqa: PLC0415 - as above

        if self._deployment is None:
            return []
        try:
            incident = self._store.incident(alert.incident_id)
        except DamagedItemError:
            return []  # the alert goes out without them
        return buttons(incident, self._deployment) if incident else []


def _incident_of(store: AuditStore, step: Step) -> "Incident":
    incident = store.incident(step.incident_id)
    if incident is None:
        message = "The incident of a step of triage is gone from the audit table."
        raise DamagedItemError(message)
    return incident


# --- triage --------------------------------------------------------------------------------------------------------


@cache
def reception() -> "Reception":
    """Return what `functions/triage` works with.

    Raises:
        SettingsError: the environment is wrong; no retry helps before the deployment is mended.

    """
    from rootwatch.reception import Reception  # noqa: PLC0415 - the other functions do without it
    from rootwatch.triage import Desk  # noqa: PLC0415

    settings = TriageSettings.from_environment(environment())
    table = DynamoTable(_session().client("dynamodb", config=_ANSWER_CONFIG), settings.table_name)
    return Reception(
        desk=Desk(
            AuditStore(table),
            _now,
            _jitter,
            deployment=settings.stack_name,
            custodians=settings.custodians,
            second_person=settings.second_person,
            account_names=settings.account_names,
        ),
        secret=_SlackSecret(settings.slack_secret_id, _ANSWER_CONFIG).read,
        slack=lambda secret: _SlackDesk(secret, settings.slack_origin),
        slack_origin=settings.slack_origin,
        resolvers=settings.slack_resolvers,
        note=_LOGGER.warning,
        identify=_identify,
        function_name=f"{settings.stack_name}-triage",
    )


def _identify(headers: Mapping[str, str]) -> tuple[int, str]:
    """Send a signed request for GetCallerIdentity to STS, and nowhere else, and return its status and answer.

    Raises:
        DeliveryFailedError: STS is out of reach; a retry helps.

    """
    import requests  # noqa: PLC0415 - only the command pays for this import

    from rootwatch import caller_proof  # noqa: PLC0415
    from rootwatch.timed_session import TimedSession  # noqa: PLC0415

    # Where the function's own client would go: no word of the caller decides that.
    address = _session().client("sts", config=_ANSWER_CONFIG).meta.endpoint_url
    sent = {**headers, "Content-Type": caller_proof.CONTENT_TYPE}
    sent.pop("content-type", None)
    with TimedSession(sum(_STS_SECONDS)) as session:
        try:
            answer = session.post(
                f"{address.rstrip('/')}/", data=caller_proof.BODY, headers=sent, timeout=_STS_SECONDS,
                allow_redirects=False,
            )  # fmt: skip
        except requests.RequestException as error:
            message = f"STS is out of reach ({type(error).__name__})."
            raise DeliveryFailedError(message) from None  # the error's own text may hold headers
    return answer.status_code, answer.text[:10_000]


class _SlackDesk:
    """Slack, as far as a press needs it, within the second that is left for it."""

    def __init__(self, secret: object, origin: str) -> None:
        from rootwatch.channels import slack_bot  # noqa: PLC0415 - triage only

        self._bot = slack_bot.bot_secret(secret)
        self._api = slack_bot.api_origin(origin)

    @property
    def has_bot(self) -> bool:
        return self._bot is not None

    def open_modal(self, trigger_id: str, view: Mapping[str, Any]) -> None:
        if self._bot is None:
            message = "Slack's secret holds no bot token"
            raise DeliveryRefusedError(message)
        headers = {"Authorization": f"Bearer {self._bot.token}"}
        document = self._post(f"{self._api}/api/views.open", {"trigger_id": trigger_id, "view": view}, headers)
        if document.get("ok") is not True:
            message = "Slack did not open the modal"
            raise DeliveryFailedError(message)

    def respond(self, response_url: str, message: Mapping[str, Any]) -> None:
        self._post(response_url, message, {})

    def _post(self, address: str, message: Mapping[str, Any], headers: Mapping[str, str]) -> Mapping[str, Any]:
        import requests  # noqa: PLC0415 - only a press that has to be answered pays for this import

        from rootwatch.timed_session import TimedSession  # noqa: PLC0415

        with TimedSession(sum(_ANSWER_SECONDS)) as session:
            try:
                answer = session.post(
                    address, json=message, headers=headers, timeout=_ANSWER_SECONDS, allow_redirects=False
                )
            except requests.RequestException as error:
                text = f"Slack is out of reach ({type(error).__name__})"
                raise DeliveryFailedError(text) from None  # the error's own text holds the address
        if answer.status_code != _HTTP_OK:
            text = f"Slack answered {answer.status_code}"
            raise DeliveryFailedError(text)
        try:
            document = answer.json()
        except ValueError:
            return {}
        return document if isinstance(document, Mapping) else {}


_HTTP_OK: Final = 200
_STS_SECONDS: Final = (1.0, 3.0)
"""To connect to STS, and to wait for it."""
_ANSWER_SECONDS: Final = (0.7, 0.9)
"""To connect to Slack, and to wait for it: a press is answered within three seconds, whatever Slack does."""
_ANSWER_CONFIG: Final = Config(connect_timeout=1, read_timeout=1.5, retries={"mode": "standard", "max_attempts": 2})


class _SlackSecret:
    """Slack's secret, which a container believes for a minute, so that a new webhook counts within one.

    The only thing of Powertools' Parameters that was needed here; that imports boto3 whole, for every other provider.
    """

    def __init__(self, name: str, config: Config = _CONFIG) -> None:
        # Whoever reads it: their DEBUG lines hold the secret, the webhook's path and requests.
        for library in ("botocore", "urllib3"):
            logging.getLogger(library).setLevel(logging.INFO)
        self._client = _session().client("secretsmanager", config=config)
        self._name = name
        self._secret: object = None
        self._until = float("-inf")

    def read(self) -> object:
        """Return what the secret holds, of whatever shape it is.

        Raises:
            DeliveryRefusedError: it is not JSON; no retry helps before it is changed.
            DeliveryFailedError: it cannot be read; a retry helps once it can.

        """
        now = time.monotonic()
        if now >= self._until:
            try:
                answer = self._client.get_secret_value(SecretId=self._name)
            except (ClientError, BotoCoreError) as error:
                message = (
                    f"Slack's secret {self._name} cannot be read ({_code(error)}); check that it is there, the "
                    "function's permission and the secret's key."
                )
                raise DeliveryFailedError(message) from None
            try:
                self._secret = json.loads(answer.get("SecretString") or answer.get("SecretBinary") or "")
            except (ValueError, RecursionError):
                message = (
                    'Slack\'s secret is not JSON. Expected {"webhook_url": "…"} or {"bot_token": "…", "channel": "…"}.'
                )
                raise DeliveryRefusedError(message) from None  # the original error may hold the secret
            self._until = now + _SECRET_SECONDS
        return self._secret


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


class _Quiet:
    """Holds back every message of this container for as long as the channel asked for with the last one."""

    def __init__(self) -> None:
        self._until = float("-inf")

    def keep(self, call: Callable[[], _Answer]) -> _Answer:
        """Call Slack, and once more after a wait that it asked for, if that is short.

        Raises:
            DeliveryFailedError: what the call raised, or Slack still wants quiet; a retry helps.
            DeliveryRefusedError: what the call raised.

        """
        self.check()
        try:
            return call()
        except DeliveryFailedError as error:
            self.begin(error.retry_after)
            if error.retry_after is None or error.retry_after > _LONGEST_WAIT:
                raise
        time.sleep(self.rest())  # Slack said how long; the stream would come back at its own pace
        try:
            return call()
        except DeliveryFailedError as error:
            self.begin(error.retry_after)
            raise

    def keep_short(self, call: Callable[[], _Answer]) -> _Answer:
        """Call Slack for what is not urgent: it is left out for a while once Slack did not take it.

        Raises:
            DeliveryFailedError: what the call raised, or a call failed a moment ago; a retry helps later.
            DeliveryRefusedError: what the call raised.

        """
        self.check()
        try:
            return call()
        except DeliveryFailedError as error:
            self.begin(_REST if error.retry_after is None else error.retry_after)
            raise

    def begin(self, seconds: float | None) -> None:
        """Be quiet for so many seconds, or for as long as it may be; None changes nothing."""
        if seconds is not None:
            self._until = max(self._until, time.monotonic() + min(seconds, _LONGEST_QUIET))

    def rest(self) -> float:
        """Return the seconds that are left, 0 for none."""
        return max(0.0, self._until - time.monotonic())

    def check(self) -> None:
        """Raise while the channel wants quiet; a retry helps when `retry_after` has passed."""
        rest = self.rest()
        if rest > 0:
            message = "Slack asked to wait, or had a fault, with the message before this one."
            raise DeliveryFailedError(message, retry_after=rest)


# --- watchdog ------------------------------------------------------------------------------------------------------


@cache
def watchdog() -> "Watchdog":
    """Return what `functions/watchdog` works with; it sends with the senders of the two notifiers.

    Raises:
        SettingsError: the environment is wrong; no retry helps before the deployment is mended.

    """
    from rootwatch.pipeline import Recorder  # noqa: PLC0415 - the notifiers do without it
    from rootwatch.probe import place_of  # noqa: PLC0415 - the watchdog only
    from rootwatch.triage import Desk, Escalation  # noqa: PLC0415 - the other functions do without it
    from rootwatch.watchdog import Channel, Watchdog  # noqa: PLC0415

    settings = WatchdogSettings.from_environment(environment())
    store = _store(settings.table_name)
    recorder = Recorder(
        store=store,
        own=OwnResources(settings.stack_name),
        idle=timedelta(minutes=settings.idle_minutes),
        now=_now,
        pause=_jitter,
        # What time causes has no address of its own: only the account's name is looked up.
        surroundings=LookUps(
            cache=store,
            now=_now,
            organizations=_organizations() if settings.look_up_account_names else None,
            names=settings.account_names,
        ),
    )
    letters = _dead_letters(settings.notify_letters_url)
    operations = _sns_notices(settings.operations_topic_arn)
    channels = (
        Channel(
            name="sns",
            title="SNS",
            look_at="the alert topic, its policy and its key",
            send=sns_notifier().send,
            tell=_sns_notices(settings.sns.alert_topic_arn),
            most=100,
            pause=lambda: None,  # its sender keeps the distance
        ),
        Channel(
            name="slack",
            title="Slack",
            look_at=f"the secret {settings.stack_name}-slack",
            send=slack_notifier().send,
            tell=_slack_notices(settings.slack),
            most=30,
            pause=_Pace(_SECONDS_PER_MESSAGE).wait,
        ),
    )
    return Watchdog(
        recorder,
        channels,
        queues=(
            _letter_queue("intake", settings.intake_letters_url),
            _letter_queue("rule", settings.rule_letters_url),
            _letter_queue("notify", settings.notify_letters_url),
        ),
        tell_operations=operations,
        leave=lambda key, reason: letters(json.dumps({"pk": key.pk, "sk": key.sk}), reason, f"{key.pk} {key.sk}"),
        desk=Desk(
            store,
            _now,
            _jitter,
            deployment=settings.stack_name,
            custodians=settings.custodians,
            account_names=settings.account_names,
        ),
        escalation=Escalation(
            {
                Severity(severity): [timedelta(minutes=each) for each in minutes]
                for severity, minutes in settings.escalation_minutes.items()
            },
            timedelta(hours=settings.ask_again_hours) if settings.ask_again_hours else None,
        ),
        prove=_prover(settings, recorder, {channel.name: channel.tell for channel in channels}, operations),
        place=place_of(settings.rule_arn),
    )


def _prover(
    settings: WatchdogSettings,
    recorder: "Recorder",
    places: "Mapping[str, Tell]",
    operations: "Tell",
) -> "Callable[[Report], None]":
    """Return what proves the way: canary, source heartbeat, coverage, the outside watchdog."""
    from rootwatch import probe, proof  # noqa: PLC0415 - the watchdog only

    client = _session().client("events", config=_CONFIG)

    def put(each: "Probe") -> None:
        record = probe.canary_record(each.nonce, each.rule_arn, each.sent_at)
        entry: Any = {
            "Source": probe.CANARY_SOURCE,
            "DetailType": "Rootwatch canary",
            "Detail": json.dumps(record),
            "Resources": [probe.canary_resource(each)],
        }
        answer = client.put_events(Entries=[entry])
        if answer["FailedEntryCount"]:
            code = answer["Entries"][0].get("ErrorCode", "no code")
            message = f"The event bus did not take the canary ({code})."
            raise DeliveryFailedError(message)

    def tag(each: "Probe") -> None:
        client.tag_resource(ResourceARN=each.rule_arn, Tags=[{"Key": probe.TAG_KEY, "Value": each.nonce}])

    return proof.Prover(
        recorder=recorder,
        rule_arn=settings.rule_arn,
        put=put,
        tag=tag,
        call=_outside_watchdog(settings.heartbeat_url) if settings.heartbeat_url else None,
        token=lambda: secrets.token_hex(16),
        places=places,
        operations=operations,
    ).run


def _outside_watchdog(address: str) -> Callable[[], None]:
    """Return what calls the address on which somebody outside of AWS listens; its errors do not hold the address."""

    def call() -> None:
        import requests  # noqa: PLC0415 - only who calls pays for that

        from rootwatch.timed_session import CuttableSession  # noqa: PLC0415

        with CuttableSession() as session, session.within(sum(_OUTSIDE_SECONDS)):
            try:
                answer = session.get(address, timeout=_OUTSIDE_SECONDS, allow_redirects=False, stream=True)
            except requests.RequestException as error:
                message = f"The outside watchdog is out of reach ({type(error).__name__})."
                raise DeliveryFailedError(message) from None
            with answer:  # nothing of its body is read
                if not answer.ok or answer.is_redirect:
                    message = f"The outside watchdog answered {answer.status_code}."
                    raise DeliveryFailedError(message)

    return call


def _letter_queue(kind: str, url: str) -> "LetterQueue":
    """Return a dead-letter queue with what counts its messages, those included that somebody is looking at."""
    from rootwatch.watchdog import LetterQueue  # noqa: PLC0415 - the watchdog only

    @cache
    def client() -> "SQSClient":
        return _session().client("sqs", config=_CONFIG)

    def count() -> int:
        found = client().get_queue_attributes(
            QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        )["Attributes"]
        return int(found["ApproximateNumberOfMessages"]) + int(found["ApproximateNumberOfMessagesNotVisible"])

    return LetterQueue(kind, url.rpartition("/")[2], count)


def _sns_notices(topic_arn: str) -> "Callable[[Notice], Sent]":
    from rootwatch.channels import notice, sns  # noqa: PLC0415 - the watchdog only

    client = _session().client("sns", config=_CONFIG)
    return lambda each: Sent(sns.publish(client, notice.sns_arguments(each, topic_arn)))


def _slack_notices(settings: NotifySlackSettings | ReportSettings) -> "Callable[[Notice], Sent | Unconfigured]":
    from rootwatch.channels import notice, slack, slack_bot  # noqa: PLC0415 - the watchdog and the report only
    from rootwatch.timed_session import TimedSession  # noqa: PLC0415

    stored = _SlackSecret(settings.slack_secret_id)
    session = TimedSession(slack.LONGEST_EXCHANGE)

    def tell(each: "Notice") -> Sent | Unconfigured:
        secret, message = stored.read(), notice.slack_payload(each)
        of_bot = slack_bot.bot_secret(secret)
        if of_bot is not None:  # in the channel, and in no thread: it is about no incident
            origin = slack_bot.api_origin(settings.slack_origin)
            return Sent(slack_bot.call(session, origin, of_bot, slack_bot.POST, message).ts)
        address = slack.webhook_address(secret, settings.slack_origin)
        if address is None:
            return Unconfigured(_NO_SLACK)
        return Sent(slack.post(session, address, message))

    return tell


# --- report --------------------------------------------------------------------------------------------------------


@cache
def reporter() -> "Reporter":
    """Return what `functions/report` works with.

    Raises:
        SettingsError: the environment is wrong; no retry helps before the deployment is mended.

    """
    from rootwatch.report.reporter import Reporter, console_address  # noqa: PLC0415 - the report only

    settings = ReportSettings.from_environment(environment())
    client = _session().client("s3", config=_REPORT_CONFIG)

    def put(path: Path, content_type: str) -> None:
        try:
            with path.open("rb") as file:
                client.put_object(
                    Bucket=settings.bucket_name,
                    Key=path.name,
                    Body=file,
                    ContentType=content_type,
                    ChecksumAlgorithm="SHA256",  # S3 refuses what arrived otherwise than it was sent
                )
        except (ClientError, BotoCoreError) as error:
            message = (
                f"The bucket did not take {path.name} ({_code(error)}); look at its policy and the function's role."
            )
            raise DeliveryFailedError(message) from error

    return Reporter(
        store=AuditStore(DynamoTable(_session().client("dynamodb", config=_REPORT_CONFIG), settings.table_name)),
        stack_name=settings.stack_name,
        account_id=_account_of(settings.alert_topic_arn),
        names=settings.account_names,
        acknowledge_within=timedelta(minutes=settings.acknowledge_minutes),
        now=_now,
        put=put,
        address=lambda name: console_address(settings.alert_topic_arn, settings.region, settings.bucket_name, name),
        credentials=_own_credentials,
        tell={
            "sns": _sns_notices(settings.alert_topic_arn),
            "slack": _slack_notices(settings),
        },
        members=_members(settings) if settings.posture_role else None,
    )


def _account_of(arn: str) -> str:
    return arn.split(":")[4] if arn.count(":") > 4 else ""  # noqa: PLR2004 - the fifth part


def _members(
    settings: ReportSettings,
) -> "Callable[[Sequence[str]], tuple[dict[str, RootCredentials], dict[str, str]]]":
    """Return what reads the credential reports of other accounts, with the role that lets the report do so there."""
    from threading import Lock  # noqa: PLC0415 - the report only

    from rootwatch.report.members import MemberReader  # noqa: PLC0415 - the report only

    partition = settings.alert_topic_arn.split(":")[1]
    # Clients are safe to use in several threads, and what makes them is not.
    sts, session, one_at_a_time = _session().client("sts", config=_CONFIG), botocore.session.get_session(), Lock()

    def take(account_id: str) -> "Callable[[], IAMClient]":
        taken = sts.assume_role(
            RoleArn=f"arn:{partition}:iam::{account_id}:role/{settings.posture_role}",
            RoleSessionName=f"{settings.stack_name}-report",
            DurationSeconds=_SHORTEST_SESSION,
        )["Credentials"]

        def client() -> "IAMClient":
            with one_at_a_time:
                return cast(
                    "IAMClient",
                    session.create_client(
                        "iam",
                        config=_CONFIG,
                        aws_access_key_id=taken["AccessKeyId"],
                        aws_secret_access_key=taken["SecretAccessKey"],
                        aws_session_token=taken["SessionToken"],
                    ),
                )

        return client

    return MemberReader(take, time.monotonic, time.sleep).read


def _own_credentials() -> "RootCredentials":
    """Return what the credential report of this account says of root.

    Raises:
        ReportError: IAM did not give it, or not within 30 seconds; the message says why.

    """
    from rootwatch.report.posture import read_credential_report, with_summary  # noqa: PLC0415 - the report only

    client = _session().client("iam", config=_CONFIG)
    try:
        for _ in range(_CREDENTIAL_REPORT_TRIES):
            if client.generate_credential_report()["State"] == "COMPLETE":
                break
            time.sleep(_SECONDS_PER_TRY)
        text = client.get_credential_report()["Content"].decode(errors="replace")
        summary = client.get_account_summary()["SummaryMap"]
    except (ClientError, BotoCoreError) as error:
        message = f"not read: IAM refused {_operation(error)} ({_code(error)})"
        raise ReportError(message) from error
    return with_summary(read_credential_report(text), summary)


def _operation(error: ClientError | BotoCoreError) -> str:
    return str(error.operation_name) if isinstance(error, ClientError) else "the credential report"


def _code(error: ClientError | BotoCoreError) -> str:
    code = error.response.get("Error", {}).get("Code") if isinstance(error, ClientError) else None
    return str(code or type(error).__name__)
