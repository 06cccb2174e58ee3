"""The deployed service on one clock, with AWS's ways of trying again: queue, stream, a rule of every minute.

The real handlers run on moto behind the wire of `wire.py`. What AWS does around them follows its documentation:

- The intake queue hands a batch to `detect`; what is not acknowledged is hidden for the queue's VisibilityTimeout and
  comes again, at most `maxReceiveCount` times.
  https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
- The table's stream is polled for each notifier as in `tests/contracts/stream_poller.py`.
- The watchdog's rule fires every minute, whatever became of the run before.

Of the watchdog's minutes only those count in which something is due: a story says when it is called, and where it has
to wait for something it is called every fourth minute.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import boto3
import botocore.endpoint
import pytest
import pytest_socket
from botocore.config import Config
from botocore.retries.quota import RetryQuota
from moto import mock_aws
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.iam.models import iam_backends
from moto.sqs.models import sqs_backends

from functions.detect import app as detect
from functions.notify_slack import app as notify_slack
from functions.notify_sns import app as notify_sns
from functions.report import app as report
from functions.triage import app as triage
from functions.watchdog import app as watchdog
from rootwatch import wiring
from rootwatch.audit import store
from rootwatch.audit.dynamodb import DynamoTable
from rootwatch.audit.store import AuditStore
from rootwatch.channels.slack_buttons import Subject
from rootwatch.context.surroundings import LookUps
from rootwatch.errors import ReportError
from rootwatch.incident import Incident, TriageState
from rootwatch_cli.rdap_server import RdapServer, Registration
from rootwatch_cli.slack_receiver import SIGNING_SECRET, Behaviour, ReceivedMessage, SlackReceiver, signed_headers
from tests.builders import as_sqs_message, build_envelope
from tests.contracts.stream_poller import Clock, FunctionTimedOutError, StreamPoller, StreamRecord
from tests.crash.wire import Fault, Taken, Wire
from tests.template.stack import Stack

START: Final = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)
REGION: Final = "us-east-1"
TABLE: Final = "rootwatch-audit"
SECRET: Final = "rootwatch-slack"
BUCKET: Final = "rootwatch-reports"
RESOLVER: Final = "U0123456789"
MOST_STEPS: Final = 20_000
MOST_PRESSES: Final = 5
MOST_MINUTES: Final = 600
"""After the end of a story; nothing may take the service longer."""
EVERY: Final = 4
"""Minutes between the calls of the watchdog that no story asks for; a run that died holds its lease for three."""
POISON: Final = "this is no record"
CHANNELS: Final = ("slack", "sns")


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the template: its logical id, its module, and what a new container of it makes anew."""

    logical_id: str
    module: ModuleType
    made_once: tuple[Any, ...]


FUNCTIONS: Final[Mapping[str, Function]] = {
    "detect": Function("DetectFunction", detect, (wiring.intake,)),
    "notify_sns": Function("NotifySnsFunction", notify_sns, (wiring.sns_notifier,)),
    "notify_slack": Function("NotifySlackFunction", notify_slack, (wiring.slack_notifier,)),
    "report": Function("ReportFunction", report, (wiring.reporter,)),
    "triage": Function("TriageFunction", triage, (wiring.reception,)),
    # It sends with the notifiers' senders.
    "watchdog": Function("WatchdogFunction", watchdog, (wiring.watchdog, wiring.sns_notifier, wiring.slack_notifier)),
}
"""Every function that runs on its own: a new one needs its line here, and a story that calls it."""


@dataclass
class Context:
    """What Powertools and the watchdog ask of Lambda's context."""

    clock: Clock
    function_name: str = "rootwatch-test"
    memory_limit_in_mb: int = 256
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:111122223333:function:rootwatch-test"
    aws_request_id: str = "00000000-0000-4000-8000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        """The time until Lambda ends the function."""
        assert self.clock.deadline is not None
        return int((self.clock.deadline - self.clock.now).total_seconds() * 1000)


@dataclass(slots=True)
class _Waiting:
    """A message of the intake queue: its body, when it was sent, how often it was handed over, from when it is seen."""

    body: str
    sent: datetime
    visible_at: datetime
    receives: int = 0


@dataclass
class QueuePoller:
    """The intake queue and its event source mapping, with the settings of the template."""

    batch_size: int
    visibility_seconds: float
    most_receives: int
    function: Callable[[Mapping[str, Any]], Any]
    clock: Clock
    messages: list[_Waiting] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)

    def send(self, body: str) -> None:
        """Put a message into the queue, now."""
        self.messages.append(_Waiting(body, self.clock.now, self.clock.now))

    @property
    def is_idle(self) -> bool:
        """Whether the queue is empty."""
        return not self.messages

    @property
    def next_at(self) -> datetime:
        """When the next message can be seen."""
        return min((message.visible_at for message in self.messages), default=self.clock.now)

    def step(self) -> None:
        """Hand over a batch of what can be seen now."""
        batch = [message for message in self.messages if message.visible_at <= self.clock.now][: self.batch_size]
        for message in batch:
            message.receives += 1
            message.visible_at = self.clock.now + timedelta(seconds=self.visibility_seconds)
            if message.receives > self.most_receives:
                self.messages.remove(message)
                self.given_up.append(message.body)
        batch = [message for message in batch if message.receives <= self.most_receives]
        if not batch:
            return
        entries = [as_sqs_message(each.body, sent=each.sent, receive_count=each.receives) for each in batch]
        try:
            answer = self.function({"Records": entries})
        except (Exception, FunctionTimedOutError):  # noqa: BLE001 - whatever a function raises, nothing is deleted
            return
        failed = {each["itemIdentifier"] for each in answer["batchItemFailures"]}
        for message, entry in zip(batch, entries, strict=True):
            if entry["messageId"] not in failed:
                self.messages.remove(message)


@dataclass(frozen=True)
class Story:
    """What happens to the service, and from which minute on the watchdog is called.

    `acts`: at which second what happens. `functions`: whose calls are to be broken. `channels`: whose stream is read.
    `stuck_until`: the minute until which the streams are not read at all. `minutes`: when the watchdog is called; after
    the last of them until nothing is left to do. `ends`: whether the incidents have to end. `letters`: how many dead
    letters belong to the story. `probes`: whether canaries come back, once the bus is whole. `only_writes`: leave alone
    the calls that change nothing, since another story breaks these. `answered`: the state that people bring it to, with
    the kinds of their steps. `reports`: the month that is reported. `ends_told`: whether it lasts until the end of
    every trouble is told, though the watchdog is not called by the minute.
    """

    name: str
    acts: Sequence[tuple[float, Callable[["Service"], None]]]
    functions: tuple[str, ...]
    channels: tuple[str, ...] = CHANNELS
    bot: bool = False
    stuck_until: int = 0
    minutes: tuple[int, ...] = ()
    ends: bool = False
    letters: int = 0
    probes: bool = False
    only_writes: bool = False
    answered: tuple[TriageState, tuple[str, ...]] | None = None
    reports: str = ""
    ends_told: bool = False


class _OneSession:
    """A boto3 session that makes each client once: a new container would only have others of the same kind."""

    def __init__(self) -> None:
        self._session: Any = boto3.Session(region_name=REGION)
        self._clients: dict[tuple[str, int], Any] = {}

    def client(self, name: str, config: Config | None = None) -> Any:
        key = name, id(config)
        if key not in self._clients:
            self._clients[key] = self._session.client(name, config=config)
        return self._clients[key]


class Service:
    """Queue, functions, table, stream and channels, and all that reached a person."""

    def __init__(self, receiver: SlackReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make the stack in moto, with the settings of template.yaml."""
        self.clock = Clock(START)
        self.slack = receiver
        self.wire = Wire(self.clock, self._take)
        self.published: list[Mapping[str, Any]] = []
        self.letters: list[str] = []
        self.poisoned = 0
        self.bus_is_whole = False
        self.reported: datetime | None = None
        self.session = _OneSession()
        self._stack = Stack()
        self._shard: list[StreamRecord] = []
        self._keys: set[tuple[str, str]] = set()
        monkeypatch.setattr(wiring, "_session", lambda: self.session)
        self._make(monkeypatch)
        self.queue = self._queue()
        self.pollers: dict[str, StreamPoller] = {}
        monkeypatch.setattr(wiring, "_now", lambda: self.clock.now)
        self._credentials: Callable[[], Any] = wiring._own_credentials
        monkeypatch.setattr(wiring, "_own_credentials", self._watched(wiring._own_credentials))
        monkeypatch.setattr(wiring, "time", self.clock)
        # For an account's first record it looks for events of years; each look is the same call again.
        monkeypatch.setattr(store, "MOST_MONTHS_BACK", 2)
        monkeypatch.setattr(botocore.endpoint, "time", self.clock)  # it waits before it tries again
        self.wire.hook(monkeypatch)

    def _make(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.session.client("secretsmanager").create_secret(Name=SECRET, SecretString="{}")
        self.session.client("s3").create_bucket(Bucket=BUCKET)
        self.session.client("events").put_rule(Name="rootwatch-root", EventPattern="{}")
        self.urls = {
            kind: self.session.client("sqs").create_queue(QueueName=f"rootwatch-{kind}-dead-letter")["QueueUrl"]
            for kind in ("intake", "rule", "notify")
        }
        self.topics = {
            kind: self.session.client("sns").create_topic(Name=f"rootwatch-{kind}")["TopicArn"]
            for kind in ("alerts", "operations")
        }
        for name, value in {
            "TABLE_NAME": TABLE, "STACK_NAME": "rootwatch", "SLACK_SECRET_ID": SECRET,
            "SLACK_ORIGIN": self.slack.origin, "ALERT_TOPIC_ARN": self.topics["alerts"],
            "OPERATIONS_TOPIC_ARN": self.topics["operations"], "INTAKE_DEAD_LETTER_QUEUE_URL": self.urls["intake"],
            "RULE_DEAD_LETTER_QUEUE_URL": self.urls["rule"], "INCIDENT_IDLE_MINUTES": "5",
            "SLACK_RESOLVERS": RESOLVER, "REPORT_BUCKET": BUCKET, "AWS_REGION": REGION,
            "ROOT_RULE_ARN": f"arn:aws:events:{REGION}:{DEFAULT_ACCOUNT_ID}:rule/rootwatch-root",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        self._monkeypatch = monkeypatch

    def _queue(self) -> QueuePoller:
        queue = self._stack.resources["IntakeQueue"]["Properties"]
        mapping = self._mapping("detect")
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        return QueuePoller(
            int(mapping["BatchSize"]),
            float(queue["VisibilityTimeout"]),
            int(queue["RedrivePolicy"]["maxReceiveCount"]),
            partial(self.invoke, "detect"),
            self.clock,
        )

    def _mapping(self, name: str) -> Mapping[str, Any]:
        logical_id = FUNCTIONS[name].logical_id
        function_name = self._stack.resources[logical_id]["Properties"]["FunctionName"]
        mappings = self._stack.of_type("AWS::Lambda::EventSourceMapping").values()
        [mapping] = [each for each in mappings if each["FunctionName"] in {logical_id, function_name}]
        found: Mapping[str, Any] = mapping
        return found

    def timeout(self, name: str) -> float:
        """How many seconds the template gives a function."""
        return float(self._stack.resources[FUNCTIONS[name].logical_id]["Properties"]["Timeout"])

    # --- what happens ------------------------------------------------------------------------------------------------

    def invoke(self, name: str, event: Mapping[str, Any]) -> Any:
        """Let Lambda call a function: one that dies has a new container the next time."""
        function = FUNCTIONS[name]
        # Both dead-letter queues have this name in the environment of their functions.
        letters = self.urls["intake" if name == "detect" else "notify"]
        self._monkeypatch.setenv("DEAD_LETTER_QUEUE_URL", letters)
        self.clock.deadline = self.clock.now + timedelta(seconds=self.timeout(name))
        try:
            with self.wire.running(name):
                return function.module.handler(dict(event), Context(self.clock))
        except FunctionTimedOutError:
            for made in function.made_once:
                made.cache_clear()
            raise
        finally:
            self.clock.deadline = None

    def play(self, story: Story, fault: Fault | None = None) -> None:
        """Let a story happen from its beginning to the moment at which nothing is left to do."""
        self._reset(story, fault)
        acts = sorted(story.acts, key=lambda act: act[0])
        minutes = list(story.minutes)
        for _ in range(MOST_STEPS):
            pollers: list[StreamPoller | QueuePoller] = [*self.pollers.values(), self.queue]
            busy = [poller for poller in pollers if not poller.is_idle]
            if not acts and not busy and not minutes and self._is_quiet(story):
                return
            minute = minutes[0] if minutes else int(self.clock.monotonic() // 60 // EVERY + 1) * EVERY
            assert minute <= max(story.minutes, default=0) + MOST_MINUTES, "something is never done"
            due = [
                (max(poller.next_at, self.clock.now), 1 + place, poller.step)
                for place, poller in enumerate(pollers)
                if not poller.is_idle
            ]
            if acts:
                due.append((START + timedelta(seconds=acts[0][0]), 0, lambda: acts.pop(0)[1](self)))
            due.append((START + timedelta(minutes=minute), 9, partial(self._watch, minutes)))
            moment, _, step = min(due, key=lambda each: each[:2])
            self.clock.now = max(self.clock.now, moment)
            step()
        pytest.fail(f"not done after {MOST_STEPS} steps")

    def _watch(self, minutes: list[int]) -> None:
        if minutes:
            minutes.pop(0)
        try:
            self.invoke("watchdog", {})
        except (Exception, FunctionTimedOutError):  # noqa: BLE001 - the rule does not ask; it fires again in a minute
            return

    def _reset(self, story: Story, fault: Fault | None) -> None:
        self.clock.now = self.clock.start
        for name in FUNCTIONS:
            for made in FUNCTIONS[name].made_once:
                made.cache_clear()
        for url in self.urls.values():
            sqs_backends[DEFAULT_ACCOUNT_ID][REGION].queues[url.rpartition("/")[2]]._messages.clear()
        iam_backends[DEFAULT_ACCOUNT_ID]["aws"].credential_report = None
        self.slack._state.messages.clear()
        self.slack._state.edits.clear()
        self.slack._state.modals.clear()
        self.slack._state.told.clear()
        self.slack.answer_with(Behaviour.ACCEPT)
        place = self.slack.bot_secret if story.bot else {"webhook_url": self.slack.webhook_url}
        self.store_secret({**place, "signing_secret": SIGNING_SECRET})
        for kept in (self.published, self.letters, self._shard, self.queue.messages, self.queue.given_up):
            kept.clear()
        self._keys.clear()
        self.poisoned = 0
        self.bus_is_whole = False
        self.reported = None
        for name in self.objects():
            self.session.client("s3").delete_object(Bucket=BUCKET, Key=name)
        self.pollers = {channel: self._poller(channel, story) for channel in story.channels}
        self.wire.reset(fault)

    def _poller(self, channel: str, story: Story) -> StreamPoller:
        name = f"notify_{channel}"
        poller = StreamPoller(
            mapping=self._mapping(name),
            function=partial(self.invoke, name),
            timeout_seconds=self.timeout(name),
            clock=self.clock,
            shard=self._shard,
            discard=lambda document: self.letters.append(json.dumps(document)),
        )
        poller.next_at = START + timedelta(minutes=story.stuck_until)
        return poller

    def send(self, *envelopes: Mapping[str, Any] | str) -> None:
        """Put messages into the intake queue, now."""
        self.poisoned += envelopes.count(POISON)
        for envelope in envelopes:
            self.queue.send(envelope if isinstance(envelope, str) else json.dumps(envelope))

    def store_secret(self, secret: object) -> None:
        """Put something into Slack's secret."""
        self.session.client("secretsmanager").put_secret_value(SecretId=SECRET, SecretString=json.dumps(secret))

    def answer(self, action: str, typed: Mapping[str, str], wanted: TriageState) -> None:
        """Let a person press a button, and once more as long as nothing came of it; a modal or a form is filled in."""
        for _ in range(MOST_PRESSES):
            incident = self.incident()
            if incident.triage.state is wanted:
                return
            value = Subject("rootwatch", incident.id, incident.triage.moves).value
            modals, told = len(self.slack.modals), len(self.slack.told)
            self._request(self.slack.pressed(value, f"rootwatch:{action}", RESOLVER, "dana"))
            if len(self.slack.modals) > modals:
                self._request(self.slack.submitted(self.slack.modals[-1], RESOLVER, "dana", typed))
            elif len(self.slack.told) > told and "resolve_form" in str(self.slack.told[-1]):
                self._request(self.slack.pressed(value, "rootwatch:resolve_form", RESOLVER, "dana", typed))
        pytest.fail(f"{MOST_PRESSES} times nothing came of {action}")

    def report(self, month: str) -> None:
        """Let the schedule ask for a report; Lambda tries what failed twice more, after one minute and after two.

        https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
        """
        for minutes in (0, 1, 2):
            self.clock.now += timedelta(minutes=minutes)
            self.reported = self.clock.now
            with suppress(Exception, FunctionTimedOutError):
                self.invoke("report", {"month": month})
                return

    def _watched(self, read: Callable[[], Any]) -> Callable[[], Any]:
        """Keep what IAM said of root, so that the same report can be made once more."""

        def watched() -> Any:
            try:
                found = read()
            except ReportError as error:
                self._credentials = partial(_raise, error)
                raise
            self._credentials = lambda: found
            return found

        return watched

    def objects(self) -> dict[str, bytes]:
        """What is in the bucket of reports, by name."""
        client = self.session.client("s3")
        names = [str(each["Key"]) for each in client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
        return {name: client.get_object(Bucket=BUCKET, Key=name)["Body"].read() for name in names}

    def reported_again(self, month: str) -> dict[str, bytes]:
        """The files of the same report, made once more at the moment of the last one."""
        assert self.reported is not None
        made: dict[str, bytes] = {}
        now, self.clock.now = self.clock.now, self.reported

        def keep(path: Path, _content_type: str) -> None:
            made[path.name] = path.read_bytes()

        replace(wiring.reporter(), put=keep, tell={}, credentials=self._credentials).report(month)
        self.clock.now = now
        return made

    def _request(self, body: bytes) -> None:
        """Hand a signed request to the function URL; a person whom Slack tells that it failed waits a moment."""
        self.clock.now += timedelta(seconds=2)
        headers = {name.lower(): value for name, value in signed_headers(body, self.clock.now).items()}
        event = {"headers": headers, "requestContext": {"http": {"method": "POST"}}, "body": body.decode()}
        with suppress(Exception, FunctionTimedOutError):
            self.invoke("triage", event)

    def incident(self) -> Incident:
        """The one incident of a story, as it stands now."""
        [found] = self._of("INCIDENT")
        incident = self.store().incident(found["pk"]["S"].partition("#")[2])
        assert incident is not None
        return incident

    def store(self) -> AuditStore:
        """The audit store, past the functions."""
        return AuditStore(DynamoTable(self.session.client("dynamodb"), TABLE))

    def steps(self) -> list[tuple[int, str]]:
        """The steps of triage by their numbers, and their kinds."""
        return sorted((int(item["number"]["N"]), item["kind"]["S"]) for item in self._of("STEP#"))

    def _take(self, taken: Taken) -> None:
        """Note what took effect: what the table's stream tells, what SNS passes on, what lies in a queue."""
        if taken.name == "dynamodb.PutItem":
            self._follow(taken.body["Item"])
        elif taken.name == "dynamodb.TransactWriteItems":
            for action in taken.body["TransactItems"]:
                self._follow(action["Put"]["Item"])
        elif taken.name == "sns.Publish":
            self.published.append(taken.body)
        elif taken.name == "sqs.SendMessage":
            self.letters.append(taken.body["MessageBody"])
        elif taken.name == "eventbridge.PutEvents" and self.bus_is_whole:
            for entry in taken.body["Entries"]:
                self.send(_delivered(entry))
        elif taken.name == "eventbridge.TagResource" and self.bus_is_whole:
            self.send(_recorded(taken.body))

    def _follow(self, item: Mapping[str, Any]) -> None:
        key = item["pk"]["S"], item["sk"]["S"]
        number = len(self._shard) + 1
        body = {
            "eventID": f"event-{number}",
            "eventName": "MODIFY" if key in self._keys else "INSERT",
            "eventSource": "aws:dynamodb",
            "dynamodb": {
                "Keys": {"pk": item["pk"], "sk": item["sk"]},
                "NewImage": item,
                "SequenceNumber": f"{number}00000",
                "StreamViewType": "NEW_IMAGE",
            },
        }
        self._keys.add(key)
        self._shard.append(StreamRecord(body, self.clock.now))

    # --- what is there -----------------------------------------------------------------------------------------------

    def items(self) -> Iterable[Mapping[str, Any]]:
        """Every item of the table."""
        return self.wire.dynamodb.items()

    def _of(self, prefix: str) -> list[Mapping[str, Any]]:
        return [item for item in self.items() if item["sk"]["S"].startswith(prefix)]

    def _is_quiet(self, story: Story) -> bool:
        """Whether every incident has ended that has to, every alert is sent, and everything is told."""
        is_open = story.ends and any("open_account" in item for item in self._of("INCIDENT"))
        # A canary's own ledger on a channel is done once it was tried: the next one comes within the hour.
        ledgers = [
            item
            for channel in story.channels
            for item in self._of(f"DELIVERY#{channel}#")
            if item["pk"] not in ({"S": "CANARY"}, "CANARY")
        ]
        are_sent = all(item["state"]["S"] == "sent" for item in ledgers)
        is_told = self._is_told() if story.minutes or story.ends_told else True
        return not is_open and are_sent and is_told and self._is_proven(story)

    def _is_proven(self, story: Story) -> bool:
        """Whether people heard that a canary comes through again, and that the hub is heard again."""
        if not story.probes:
            return True
        [state] = self._of("PROOF") or [{"sendings": {"M": {}}}]
        told = [each["M"]["told_at"] for each in state["sendings"]["M"].values()]
        places = [item["told_at"] for item in self.items() if item["pk"]["S"] == "COVERAGE"]
        return bool(told) and all(each == {"NULL": True} for each in (*told, *places)) and state["waiting"] == {"M": {}}

    def _is_told(self) -> bool:
        """Whether the watchdog has told of every dead letter, and of the end of every other trouble."""
        [state] = self._of("STATE") or [{"troubles": {"M": {}}}]
        troubles = set(state["troubles"]["M"])
        queues = sqs_backends[DEFAULT_ACCOUNT_ID][REGION].queues
        waiting = {f"letters:{kind}" for kind, url in self.urls.items() if queues[url.rpartition("/")[2]]._messages}
        return troubles == waiting

    def events(self) -> Counter[tuple[str, str]]:
        """How often each record is stored, by account and event id."""
        found = [item for item in self.items() if item["pk"]["S"].startswith("EVENTS#")]
        return Counter((item["pk"]["S"].split("#")[1], item["event_id"]["S"]) for item in found)

    def alerts(self) -> dict[str, Mapping[str, Any]]:
        """Every alert in the table, by its id."""
        return {item["alert_id"]["S"]: item for item in self._of("ALERT#")}

    def told(self, channel: str) -> Counter[str]:
        """How often each alert reached a channel, by the alert's id; Slack's threads count as `thread <incident>`."""
        if channel == "sns":
            return Counter(
                document["alert_id"]
                for each in self.published
                if "alert_id" in (document := json.loads(json.loads(each["Message"])["sqs"]))
            )
        messages = [
            each for each in self.slack.messages if not _is_notice(each) and "on Slack)" not in str(each.payload)
        ]
        return Counter(self._alert_of(message) for message in messages)

    def _alert_of(self, message: ReceivedMessage) -> str:
        text = json.dumps(message.payload)
        if message.ts and not message.thread_ts:
            incidents = {each["incident_id"]["S"] for each in self.alerts().values()}
            return f"thread {next(each for each in incidents if each in text)}"
        [found] = [
            alert_id
            for alert_id, each in self.alerts().items()
            if f"incident {each['incident_id']['S']}, alert {each['number']['N']}," in text
        ]
        return found

    def notices(self, place: str) -> list[str]:
        """The headlines of the notices that a topic, or Slack, got."""
        if place == "slack":
            return [message.payload["text"] for message in self.slack.messages if _is_notice(message)]
        documents = [
            json.loads(json.loads(each["Message"])["sqs"])
            for each in self.published
            if each["TopicArn"] == self.topics[place]
        ]
        return [document["headline"] for document in documents if document.get("kind") == "notice"]

    def faults_of_chains(self) -> list[str]:
        """What `rootwatch verify` would find."""
        audit = self.store()
        return [
            f"{account_id}: {fault}"
            for account_id, months in audit.accounts().items()
            for fault in audit.verify_chain(account_id, months).faults
        ]


def _raise(error: Exception) -> None:
    raise error


def _delivered(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of PutEvents as EventBridge's rule hands it to the intake queue."""
    return {
        "version": "0", "id": "0c6e3a4e-1111-4222-8333-aaaaaaaaaaaa", "detail-type": entry["DetailType"],
        "source": entry["Source"], "account": DEFAULT_ACCOUNT_ID, "region": REGION, "time": "2026-11-03T12:00:00Z",
        "resources": entry["Resources"], "detail": json.loads(entry["Detail"]),
    }  # fmt: skip


def _recorded(tagging: Mapping[str, Any]) -> dict[str, Any]:
    """What CloudTrail records of a source heartbeat, as EventBridge hands it to the intake queue."""
    tags = [{"key": each["Key"], "value": each["Value"]} for each in tagging["Tags"]]
    role = {"type": "AssumedRole", "arn": f"arn:aws:sts::{DEFAULT_ACCOUNT_ID}:assumed-role/w/w"}
    record = build_envelope(
        "write",
        requestParameters={"resourceARN": tagging["ResourceARN"], "tags": tags},
        eventSource="events.amazonaws.com", eventName="TagResource", recipientAccountId=DEFAULT_ACCOUNT_ID,
        awsRegion=REGION, userIdentity=role | {"accountId": DEFAULT_ACCOUNT_ID},
    )  # fmt: skip
    return record | {"source": "aws.events", "account": DEFAULT_ACCOUNT_ID, "region": REGION}


def _is_notice(message: ReceivedMessage) -> bool:
    return "About the watch itself" in str(message.payload)


@contextmanager
def running_service(monkeypatch: pytest.MonkeyPatch, *, endless_retries: bool = True) -> Iterator[Service]:
    """The service with nothing in it.

    With `endless_retries` botocore's quota of repetitions is never used up: a story has containers of its own.
    """
    pytest_socket.socket_allow_hosts(["127.0.0.1"], allow_unix_socket=True)
    network = Registration("203.0.113.0/24", "Example Carrier", "NL")
    with mock_aws(), SlackReceiver() as receiver, RdapServer([network]) as registries:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": REGION,
            "AWS_LAMBDA_FUNCTION_NAME": "rootwatch-test", "POWERTOOLS_TRACE_DISABLED": "true",
            "RDAP_ORIGIN": registries.origin, "LOOK_UP_ACCOUNT_NAMES": "true",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        # What is looked up has 1.5 seconds of the real clock; a machine that is busy must not change the story.
        monkeypatch.setattr(wiring, "LookUps", partial(LookUps, seconds=60.0, silent_after=30.0))
        if endless_retries:
            monkeypatch.setattr(RetryQuota, "acquire", lambda *_: True)
        try:
            yield Service(receiver, monkeypatch)
        finally:
            for function in FUNCTIONS.values():
                for made in function.made_once:
                    made.cache_clear()
