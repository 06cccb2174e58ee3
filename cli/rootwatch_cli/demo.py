"""`rootwatch demo`: a story of root use, through the real template and functions, on an AWS of this machine's own.

Everything listens on the loopback interface only and is gone when the demo ends, however it ends.
"""

import copy
import http.client
import json
import re
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.rule import Rule
from rich.status import Status
from rich.table import Table
from rich.text import Text

from rootwatch.alert import Alert, shown
from rootwatch.audit.dynamodb import DynamoTable
from rootwatch.audit.items import moment_text
from rootwatch.audit.store import AuditStore
from rootwatch.channels import canary, sns
from rootwatch.incident import Incident
from rootwatch.settings import CHANNELS
from rootwatch_cli.local_stack import ACCOUNT_ID, Deployment, LocalStack, LocalStackError, local_stack
from rootwatch_cli.project import BUILT_TEMPLATE, PROJECT
from rootwatch_cli.rdap_server import RdapServer, Registration
from rootwatch_cli.slack_receiver import SIGNING_SECRET, ReceivedMessage, SlackReceiver, signed_headers
from rootwatch_cli.specimen import load_specimen

STACK_NAME: Final = "rootwatch"
REPLAY_SOURCE: Final = "rootwatch.replay"
"""PutEvents takes no source that begins with `aws.`, here as in AWS, so the stack is told to admit this one."""

REPORT_FOLDER: Final = PROJECT / "demo-report"
"""Where the demo leaves the month's report: the one thing that stays."""

READS: Final = 50
PERSON_ON_SLACK: Final = "U0123456789"
"""The one who may resolve."""
SECONDS_PER_ALERT: Final = 60.0
SECONDS_FOR_READS: Final = 120.0
ENTRIES_PER_PUT: Final = 10
MOST_RUNS: Final = 100
"""Runs of the watchdog in which every incident has to end; each tells of a few incidents of each account."""
_LINK: Final = re.compile(r"<(https://[^|>]+)\|([^>]+)>")
"""A link as Slack's markup has it; only our own text holds one."""
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


REGISTRATIONS: Final = (
    Registration("203.0.113.0/24", "Example Hosting", "NL", elsewhere=True),
    Registration("198.51.100.0/24", "Example University", "US"),
)
"""The networks of the story, as the internet registries would know them."""


@dataclass(frozen=True, slots=True)
class Act:
    """One act of the story: what a narrator says, and the specimen that it is."""

    narration: str
    specimen: str


STORY: Final = (
    Act("Somebody tries to sign in as root, and mistypes.", "console_login_failed"),
    Act("Then it works, without MFA.", "console_login_without_mfa"),
    Act("Root makes itself an access key, to come back later.", "access_key_created"),
    Act("Root stops the trail.", "logging_tampered"),
)


@dataclass(frozen=True, slots=True)
class Stage:
    """The running stack with everything the demo listens on."""

    stack: LocalStack
    deployment: Deployment
    slack: SlackReceiver
    registries: RdapServer
    subscriber_url: str

    def subscriber_messages(self) -> list[dict[str, Any]]:
        """Take and return the alerts that reached the queue which is subscribed to the alert topic, as JSON."""
        queues, taken = self.stack.client("sqs"), []
        for _ in range(20):  # ten at a time; the demo sends a handful
            messages = queues.receive_message(QueueUrl=self.subscriber_url, MaxNumberOfMessages=10).get("Messages", [])
            if not messages:
                break
            for message in messages:
                taken.append(json.loads(json.loads(message["Body"])["Message"]))
                queues.delete_message(QueueUrl=self.subscriber_url, ReceiptHandle=message["ReceiptHandle"])
        return taken

    def store(self) -> AuditStore:
        """Return the audit store on the deployed table."""
        return AuditStore(DynamoTable(self.stack.client("dynamodb"), f"{STACK_NAME}-audit"))

    def items(self) -> list[dict[str, Any]]:
        """Return every item of the audit table, as the DynamoDB client has them."""
        pages = self.stack.client("dynamodb").get_paginator("scan").paginate(TableName=f"{STACK_NAME}-audit")
        return [item for page in pages for item in page["Items"]]

    def ledgers(self) -> list[dict[str, Any]]:
        """Return what the audit table holds of each alert on each channel; what became of a canary is no alert's."""
        return [
            item
            for item in self.items()
            if item["pk"]["S"].startswith("INCIDENT#") and item["sk"]["S"].startswith("DELIVERY#")
        ]

    def let_time_pass(self, span: timedelta) -> None:
        """Let time pass for what is open, waits, or was told: a function's clock cannot be moved on, but moments can.

        Every moment of the last `span` in open incidents, in ledgers that are not sent and in what the watchdog
        remembers is moved back by it. An item that a function changes meanwhile stays as it is.
        """
        table, now = self.stack.client("dynamodb"), datetime.now(UTC)
        for item in self.items():
            guard = _guard(item)
            if guard is None:
                continue
            with suppress(table.exceptions.ConditionalCheckFailedException):
                table.put_item(
                    TableName=f"{STACK_NAME}-audit",
                    Item=_earlier(item, now, span),
                    ConditionExpression="#guard = :guard",
                    ExpressionAttributeNames={"#guard": guard},
                    ExpressionAttributeValues={":guard": item[guard]},
                )

    def run_watchdog(self) -> None:
        """Run the watchdog now, besides the runs that its rule causes every minute.

        Raises LocalStackError when it fails.
        """
        answer = self.stack.client("lambda").invoke(FunctionName=f"{STACK_NAME}-watchdog", Payload=b"{}")
        if answer.get("FunctionError"):
            message = "the watchdog failed"
            raise LocalStackError(message, answer["Payload"].read().decode(errors="replace"))

    def answer(self, body: bytes) -> tuple[int, str]:
        """Send what Slack sends when somebody presses or submits, signed, to the address of the function triage.

        Returns its status and its body.
        """
        address = urlsplit(self.deployment.outputs["SlackRequestUrl"])
        gateway = urlsplit(self.stack.endpoint_url)
        connection = http.client.HTTPConnection(str(gateway.hostname), gateway.port, timeout=SECONDS_PER_ALERT)
        try:
            headers = {**signed_headers(body, datetime.now(UTC)), "Host": str(address.hostname)}
            connection.request("POST", "/", body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def report(self, month: str, folder: Path) -> tuple[dict[str, Any], list[Path]]:
        """Run the report of a month now, and return what it answers and its files, fetched from its bucket.

        Raises LocalStackError when it fails.
        """
        payload = json.dumps({"month": month}).encode()
        answer = self.stack.client("lambda").invoke(FunctionName=f"{STACK_NAME}-report", Payload=payload)
        body = answer["Payload"].read()
        if answer.get("FunctionError"):
            message = "the report failed"
            raise LocalStackError(message, body.decode(errors="replace"))
        kept: dict[str, Any] = json.loads(body)
        storage, bucket = self.stack.client("s3"), self.deployment.resources["ReportBucket"]
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / name for name in kept["objects"]]
        for path in paths:
            path.write_bytes(storage.get_object(Bucket=bucket, Key=path.name)["Body"].read())
        return kept, paths

    def let_incidents_end(self, idle: timedelta = timedelta(minutes=60)) -> None:
        """Let root rest for longer than `idle`, so that the watchdog ends every open incident.

        Raises LocalStackError when it does not.
        """
        for _ in range(MOST_RUNS):
            if not self.store().open_accounts():
                return
            self.let_time_pass(idle + timedelta(minutes=1))
            self.run_watchdog()
        message = f"incidents are still open after {MOST_RUNS} runs of the watchdog"
        raise LocalStackError(message, self.stack.log_tail())

    def send(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Put CloudTrail records on the default event bus.

        Raises LocalStackError when the bus does not take them.
        """
        for start in range(0, len(records), ENTRIES_PER_PUT):
            self.put(
                [
                    {"Source": REPLAY_SOURCE, "DetailType": "AWS API Call via CloudTrail", "Detail": json.dumps(record)}
                    for record in records[start : start + ENTRIES_PER_PUT]
                ]
            )

    def put(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Put up to ten entries on the default event bus with one PutEvents.

        Raises LocalStackError when the bus does not take them all.
        """
        if self.stack.client("events").put_events(Entries=list(entries))["FailedEntryCount"]:
            message = "the event bus did not take a record"
            raise LocalStackError(message, self.stack.log_tail())


def _guard(item: Mapping[str, Any]) -> str | None:
    """Return the attribute that every change of an item changes, None for an item for which no time passes."""
    sk = str(item["sk"]["S"])
    if sk == "INCIDENT":
        return "touched_at" if "open_account" in item else None
    if sk.startswith("DELIVERY#"):
        return "revision" if "undelivered_since" in item else None
    # Not what the proof of the way remembers: canaries come and go by the clock on the wall.
    return "revision" if (item["pk"]["S"], sk) == ("WATCHDOG", "STATE") else None


def _earlier(value: Any, now: datetime, span: timedelta) -> Any:  # noqa: ANN401 - whatever an item holds
    if isinstance(value, dict):
        return {name: _earlier(each, now, span) for name, each in value.items()}
    if isinstance(value, list):
        return [_earlier(each, now, span) for each in value]
    if isinstance(value, str) and _MOMENT.fullmatch(value):
        moment = datetime.fromisoformat(value)
        return moment_text(min(moment, now) - span) if moment > now - span else value
    return value


@contextmanager
def staged(
    told: Callable[[str], None] = lambda _words: None,
    parameters: Callable[[LocalStack], Mapping[str, str]] = lambda _stack: {},
    *,
    bot: bool = False,
    template: Path = BUILT_TEMPLATE,
) -> Iterator[Stage]:
    """Start emulator, receiver and registries, deploy the built template, subscribe a queue, hand over Slack's secret.

    Args:
        told: is called with each step in words, when the step is done.
        parameters: further parameters of the stack, made on the emulator before the stack is deployed.
        bot: give the stack a bot token, for one thread per incident, in place of a webhook.
        template: what to deploy, in the folder of the built template.

    Raises LocalStackError when something is missing or does not start; its message says what to do.
    """
    with SlackReceiver() as slack, RdapServer(REGISTRATIONS) as registries, local_stack() as stack:
        told(f"an AWS of our own (MiniStack) listens on {stack.endpoint_url}")
        deployment = stack.deploy(
            template,
            {
                "AlertEmail": "you@example.com",
                "RecordReadOnlyEvents": "false",  # the emulator's rules know no other state than ENABLED
                "ReplaySource": REPLAY_SOURCE,
                "SlackOrigin": slack.origin,
                "RdapOrigin": registries.origin,
                "AccountNames": f"{ACCOUNT_ID}=Production",
            }
            | dict(parameters(stack)),
            STACK_NAME,
        )
        told(f"template.yaml is deployed with its functions: {len(deployment.resources)} resources")
        queues = stack.client("sqs")
        subscriber_url = queues.create_queue(QueueName="demo-subscriber")["QueueUrl"]
        attributes = queues.get_queue_attributes(QueueUrl=subscriber_url, AttributeNames=["QueueArn"])
        topics = stack.client("sns")
        topics.subscribe(
            TopicArn=deployment.resources["AlertTopic"],
            Protocol="sqs",
            Endpoint=attributes["Attributes"]["QueueArn"],
            Attributes={"FilterPolicy": json.dumps({"kind": [{"anything-but": [canary.KIND]}]})},
        )
        told("a queue is subscribed to the alert topic, as a pager or a SIEM would be")
        secret = {**(slack.bot_secret if bot else {"webhook_url": slack.webhook_url}), "signing_secret": SIGNING_SECRET}
        stack.client("secretsmanager").put_secret_value(SecretId=f"{STACK_NAME}-slack", SecretString=json.dumps(secret))
        what = "a bot token" if bot else "the webhook"
        told(f"Slack's secret holds {what} of a Slack-shaped receiver on {slack.origin}")
        told(f"a stand-in for the internet registries on {registries.origin} knows whose networks the story's are")
        yield Stage(stack, deployment, slack, registries, subscriber_url)


def story_records(now: datetime) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the story's records and the reads that follow, as if they happened at `now` (UTC).

    They are the specimens with fresh ids and times; what follows the sign-in belongs to its session.
    """
    acts = [_fresh(load_specimen(act.specimen)["detail"], now) for act in STORY]
    signed_in, session = acts[1], acts[2]["userIdentity"]
    session["sessionContext"]["attributes"]["creationDate"] = signed_in["eventTime"]
    reads = [_fresh(load_specimen("read")["detail"], now) for _ in range(READS)]
    for record in (acts[3], *reads):
        record["userIdentity"] = copy.deepcopy(session)
        record["sourceIPAddress"], record["userAgent"] = signed_in["sourceIPAddress"], signed_in["userAgent"]
    return acts, reads


def happen(record: dict[str, Any], now: datetime, signed_in: Mapping[str, Any]) -> None:
    """Let a record happen at `now` (UTC), in the session that began with the record `signed_in`.

    Called as each record is sent: an alert says how long its record took to reach us, and that must not count the
    acts before it.
    """
    record["eventTime"] = f"{now:%Y-%m-%dT%H:%M:%SZ}"
    if "sessionContext" in record["userIdentity"]:
        record["userIdentity"]["sessionContext"]["attributes"]["creationDate"] = signed_in["eventTime"]


def _fresh(detail: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    return {**copy.deepcopy(dict(detail)), "eventID": str(uuid.uuid4()), "eventTime": f"{now:%Y-%m-%dT%H:%M:%SZ}"}


# --- the show ------------------------------------------------------------------------------------------------------


def run_demo(console: Console, *, bot: bool = False) -> int:
    """Play the story and show each step as it happens; return 0, 1 where something is missing, 130 after Ctrl-C.

    Args:
        console: where to show it.
        bot: let Slack be told by a bot, with one thread per incident, and not by a webhook.

    """
    began = time.monotonic()
    errors = Console(stderr=True)
    try:
        console.print(Rule(Text("Rootwatch: the whole way of an alert, on this machine", style="bold")))
        with (
            console.status("Starting…") as status,
            staged(lambda words: step(console, words), _with_buttons, bot=bot) as stage,
        ):
            first_alert = _play(console, stage, status)
            _show_answers(console, stage)
            _show_what_was_expected(console, stage)
            _show_threads(console, stage)
            found = _show_table(console, stage)
            page = _show_report(console, stage)
        step(console, "everything is stopped and removed: emulator, functions, receiver, files")
    except LocalStackError as error:
        errors.print(Text(f"The demo cannot run: {error}.", style="red"))
        if error.detail:
            errors.print(Text(error.detail))
        return 1
    except KeyboardInterrupt:
        errors.print(Text("Stopped; nothing is left running."))
        return 130
    _show_end(console, found, first_alert, time.monotonic() - began, page)
    return 1 if found.faults else 0


def _with_buttons(_stack: LocalStack) -> dict[str, str]:
    return {"SlackButtons": "true", "SlackResolvers": PERSON_ON_SLACK}


def step(console: Console, words: str) -> None:
    """Say that something is done."""
    console.print(Text.assemble(("✓ ", "green"), words))


def _play(console: Console, stage: Stage, status: Status) -> float:
    """Send the story act by act, show what people get; return the seconds from the first record to its message."""
    acts, reads = story_records(datetime.now(UTC))
    first_alert = 0.0
    for number, (act, record) in enumerate(zip(STORY, acts, strict=True), start=1):
        console.print()
        console.print(Rule(Text(f"{number}. {act.narration}", style="bold"), align="left"))
        happen(record, datetime.now(UTC), acts[1])
        console.print(_record_line(record))
        status.update("on its way through EventBridge, SQS, detect, DynamoDB and its stream…")
        sent_at = time.monotonic()
        stage.send([record])
        messages = stage.slack.wait_for(number, SECONDS_PER_ALERT)
        if len(messages) < number:
            words = f"no message reached Slack within {SECONDS_PER_ALERT:.0f} seconds"
            raise LocalStackError(words, stage.stack.log_tail())
        seconds = time.monotonic() - sent_at
        first_alert = first_alert or seconds
        step(console, f"on Slack after {seconds:.1f} s:")
        message = messages[number - 1]
        console.print(slack_message(message.payload, _where(message)))
        _show_subscriber(console, stage, number)
    console.print()
    console.print(Rule(Text(f"{len(STORY) + 1}. Then root looks around: {READS} reads.", style="bold"), align="left"))
    status.stop()  # one live display at a time
    for record in reads:
        happen(record, datetime.now(UTC), acts[1])
    _send_reads(console, stage, reads, len(acts) + len(reads))
    return first_alert


def _record_line(record: Mapping[str, Any]) -> Text:
    who = f"{record['userIdentity']['type']} of {record['recipientAccountId']}"
    what = f"{record['eventName']} ({record['eventSource']})"
    return Text(f"→ CloudTrail: {what} by {who} from {record['sourceIPAddress']}, at {record['eventTime']}")


def _show_subscriber(console: Console, stage: Stage, number: int) -> None:
    deadline = time.monotonic() + SECONDS_PER_ALERT
    received = stage.subscriber_messages()
    while not received and time.monotonic() < deadline:
        time.sleep(0.1)
        received = stage.subscriber_messages()
    if not received:
        message = f"no message reached the topic's subscriber within {SECONDS_PER_ALERT:.0f} seconds"
        raise LocalStackError(message, stage.stack.log_tail())
    document = received[0]
    words = f"{document['severity']}, {', '.join(document['detections'])}, chain {document['chain'][:12]}"
    step(console, f"on the topic's subscriber, as JSON: {words}")
    alert = _stored_alert(stage, document)
    if number == 2:  # noqa: PLR2004 - one whole mail is enough to see how they look
        step(console, "and by mail:")
        console.print(mail_message(alert))
    else:
        step(console, f"and by mail: {sns.subject(alert)}")


def _stored_alert(stage: Stage, document: Mapping[str, Any]) -> Alert:
    number = int(str(document["alert_id"]).rpartition("-")[2])
    alert = stage.store().alert(str(document["incident_id"]), number)
    if alert is None:
        message = f"the alert {document['alert_id']} is not in the table"
        raise LocalStackError(message, stage.stack.log_tail())
    return alert


def _send_reads(console: Console, stage: Stage, reads: Sequence[Mapping[str, Any]], expected: int) -> None:
    account_id = str(reads[0]["recipientAccountId"])
    before = len(stage.slack.alerts)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    deadline = time.monotonic() + SECONDS_FOR_READS
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("records in the audit table", total=expected)
        stage.send(reads)
        recorded = 0
        while recorded < expected and time.monotonic() < deadline:
            recorded, _ = stage.store().account_head(account_id)
            progress.update(task, completed=recorded)
            time.sleep(0.1)
    if recorded < expected:
        message = f"only {recorded} of {expected} records were stored within {SECONDS_FOR_READS:.0f} seconds"
        raise LocalStackError(message, stage.stack.log_tail())
    more = len(stage.slack.alerts) - before
    step(console, f"{len(reads)} records stored, {more} messages: repeats are counted, not told one by one")


def _latest_incident(stage: Stage) -> Incident:
    """Return the incident that opened last, as it stands now."""
    store = stage.store()
    ids = store.incidents_of(f"{datetime.now(UTC):%Y-%m}")
    found = [each for _, each in store.incidents(ids) if isinstance(each, Incident)]
    if not found:
        message = "there is no incident"
        raise LocalStackError(message, stage.stack.log_tail())
    return max(found, key=lambda each: each.opened_at)


def _show_answers(console: Console, stage: Stage) -> None:
    """Let a person take the incident on Slack, find no explanation, contain it, close it, and tell it by time."""
    from rootwatch_cli.demo_answers import by_command, press, wait_for  # noqa: PLC0415 - it shows with what is here

    _rule(console, 2, "Somebody takes it, and nobody can explain it.")
    incident = _latest_incident(stage)
    press(console, stage, incident, "acknowledge", "I'm on it")
    by_command(console, stage, "suspicious", incident.id, "--note", "the custodian is on leave, and it was not them")
    by_command(console, stage, "contain", incident.id, "--note", "root denied by the SCP contain-root")
    by_command(console, stage, "close", incident.id, "--note", "key deleted, MFA back on, trail started")
    wait_for(lambda: _is_told(stage, incident.id), "the end of the incident on every channel", stage)
    by_command(console, stage, "show", incident.id)


def _is_told(stage: Stage, incident_id: str) -> bool:
    return all(item["state"]["S"] == "sent" for item in stage.ledgers() if item["incident_id"]["S"] == incident_id)


def _show_what_was_expected(console: Console, stage: Stage) -> None:
    """Play another sign-in, which ends by the clock and was expected, and show the watchdog's summary."""
    from rootwatch_cli.demo_answers import explain, press  # noqa: PLC0415 - as above

    _rule(console, 3, "Later root signs in again, from elsewhere and with MFA: that is news.")
    record = _fresh(load_specimen("console_login")["detail"], datetime.now(UTC))
    record["sourceIPAddress"] = "198.51.100.24"
    before = len(stage.slack.alerts)
    console.print(_record_line(record))
    stage.send([record])
    step(console, f"on Slack: {_safe(str(_next(stage, before, 'message').payload['text']))}")
    opened = _latest_incident(stage)
    press(console, stage, opened, "acknowledge", "I'm on it")
    wait_until_delivered(stage)

    _rule(console, 4, "Then root rests for an hour, and it turns out to have been expected.")
    before = len(stage.slack.alerts)
    stage.let_incidents_end()
    message = _next(stage, before, "summary")
    step(console, "the watchdog, which runs every minute, ends the incident, and Slack gets the summary:")
    console.print(slack_message(message.payload, _where(message)))
    ended = stage.store().incident(opened.id)
    explain(console, stage, ended or opened, "changed the support plan", "OPS-1234")
    wait_until_delivered(stage)


def _next(stage: Stage, before: int, what: str) -> ReceivedMessage:
    messages = stage.slack.wait_for(before + 1, SECONDS_PER_ALERT)[before:]
    if not messages:
        message = f"no {what} reached Slack within {SECONDS_PER_ALERT:.0f} seconds"
        raise LocalStackError(message, stage.stack.log_tail())
    return messages[0]


def _rule(console: Console, number: int, words: str) -> None:
    """Begin a part that follows the acts of the story."""
    console.print()
    console.print(Rule(Text(f"{len(STORY) + number}. {words}", style="bold"), align="left"))


def wait_until_delivered(stage: Stage) -> None:
    """Wait until no delivery waits any more, at most a minute; what then still waits is seen in the ledgers."""
    deadline = time.monotonic() + SECONDS_PER_ALERT
    while time.monotonic() < deadline and any(any(stage.store().undelivered(channel)) for channel in CHANNELS):
        time.sleep(0.1)


def _show_threads(console: Console, stage: Stage) -> None:
    """Show what each thread begins with now; with a webhook there are none."""
    for parent in stage.slack.parents:
        replies = len(stage.slack.replies(parent.ts))
        console.print()
        step(console, f"what the thread of these {replies} messages begins with, as it stands now:")
        console.print(slack_message(stage.slack.current(parent.ts)))


def _where(message: ReceivedMessage) -> str:
    if message.thread_ts is None:
        return ""
    return ", in the thread and in the channel" if message.broadcast else ", in the thread"


@dataclass(frozen=True, slots=True)
class Found:
    """What the table holds at the end: records, alerts and steps, and what was found altered of them."""

    records: int
    alerts: int
    steps: int
    faults: tuple[str, ...]


def _show_table(console: Console, stage: Stage) -> Found:
    """Show what the audit table holds, and verify its chains."""
    from rootwatch_cli.verify import verify_account  # noqa: PLC0415 - only the demo needs it here

    items, store = stage.items(), stage.store()
    counts, ledgers = Counter(_kind_of(item) for item in items), stage.ledgers()
    counts["delivery"] = len(ledgers)  # without those of canaries
    states = Counter(f"{item['channel']['S']} {item['state']['S']}" for item in ledgers)
    reports = [verify_account(store, account_id, months) for account_id, months in store.accounts().items()]
    table = Table(title="What the audit table holds", title_justify="left", box=None, pad_edge=False)
    table.add_column("item")
    table.add_column("count", justify="right")
    table.add_column("", overflow="fold")
    remarks = {
        "event": "each record whole and redacted, hashed and chained",
        "head": ", ".join(f"record {each.chain.sequence}, chain {each.chain.chain[:12]}…" for each in reports),
        "delivery": ", ".join(f"{count} {state}" for state, count in sorted(states.items())),
        "alert": "what was told, as it was told",
        "step": "what people answered, chained for each incident",
        "cache": "whose networks the addresses are in",
    }
    for kind in ("event", "incident", "alert", "delivery", "step", "source", "cache", "head"):
        table.add_row(kind, str(counts[kind]), Text(remarks.get(kind, "")))
    console.print()
    console.print(table)
    faults = tuple(fault for each in reports for fault in each.faults)
    return Found(sum(each.chain.events for each in reports), counts["alert"], counts["step"], faults)


def _show_report(console: Console, stage: Stage) -> Path:
    """Let the month be reported, keep its files and return the page."""
    _rule(console, 5, "At the end, the month's report.")
    before = len(stage.slack.messages)
    kept, paths = stage.report(f"{datetime.now(UTC):%Y-%m}", REPORT_FOLDER)
    step(console, f"kept in the bucket, and fetched from there: {', '.join(path.name for path in paths)}")
    for message in stage.slack.wait_for(before + 1, SECONDS_PER_ALERT)[before:]:
        console.print(slack_message(message.payload))
    step(console, str(kept["verdict"]))
    return next(path for path in paths if path.suffix == ".html")


def _kind_of(item: Mapping[str, Any]) -> str:
    if item["pk"]["S"].startswith("EVENTS#"):
        return "event"
    if item["pk"]["S"].startswith("CACHE#"):
        return "cache"
    return str(item["sk"]["S"]).partition("#")[0].lower()


def _show_end(console: Console, found: Found, first_alert: float, seconds: float, page: Path) -> None:
    intact = "are intact" if not found.faults else f"are DAMAGED: {'; '.join(found.faults)}"
    console.print()
    console.print(
        Panel(
            Text(
                f"{len(STORY) + READS + 1} records in, {found.records} stored, {found.alerts} alerts on each channel, "
                f"{found.steps} answers.\n"
                f"First message after {first_alert:.1f} s, from a cold start. The chains {intact}.\n"
                f"The whole demo took {seconds:.0f} s.\n\n"
                f"The report, for any browser: {page}\n"
                "The story: events/   the stack: template.yaml   the way: docs/architecture.md\n"
                "Your own records: rootwatch replay FILE...   to AWS: README.md, Deploy"
            ),
            title=Text("That was it"),
            border_style="green" if not found.faults else "red",
        )
    )


# --- messages as people see them -----------------------------------------------------------------------------------


def slack_message(payload: Mapping[str, Any], where: str = "") -> Panel:
    """Return a Slack message as a person would see it. Its text is never read as markup or terminal escapes.

    Args:
        payload: the message.
        where: what to add to the channel's name.

    """
    parts: list[RenderableType] = [part for block in payload["blocks"] for part in _block(block)]
    title = Text(f"Slack · #root-alerts{where}", style="bold")
    return Panel(Group(*parts), title=title, title_align="left", width=_width())


def mail_message(alert: Alert) -> Panel:
    """Return an alert's mail as a person would see it."""
    text = Text(f"Subject: {sns.subject(alert)}\n\n", style="bold").append(Text(sns.email_text(alert).rstrip()))
    return Panel(text, title=Text("Mail", style="bold"), title_align="left", width=_width())


def _width() -> int:
    return 80


def _block(block: Mapping[str, Any]) -> Iterator[Text]:
    kind = block["type"]
    if kind == "header":
        yield Text(_safe(block["text"]["text"]), style="bold")
    elif kind == "section":
        texts = [block["text"]] if "text" in block else block["fields"]
        yield Text("\n".join(_LINK.sub(r"\2: \1", _safe(text["text"])) for text in texts))
    elif kind == "context":
        yield Text("\n".join(_safe(element["text"]) for element in block["elements"]), style="dim")
    elif kind == "rich_text":
        for element in block["elements"]:
            yield _rich_text(element)
    elif kind == "divider":
        yield Text("─" * 40, style="dim")
    elif kind == "actions":
        buttons = [f"[ {_safe(element['text']['text'])} ]" for element in block["elements"]]
        yield Text("  ".join(buttons), style="cyan")


def _rich_text(element: Mapping[str, Any]) -> Text:
    if element["type"] == "rich_text_list":
        lines = [Text.assemble(f" {number}. ", _rich_text(each)) for number, each in enumerate(element["elements"], 1)]
        return Text("\n").join(lines)
    text = Text()
    for part in element["elements"]:
        text.append(_safe(part["text"]), style="bold" if part.get("style", {}).get("bold") else "")
    text.rstrip()
    return text


def _safe(text: str) -> str:
    """Return text without anything that a terminal would obey; line ends stay."""
    return "\n".join(shown(line, 4000) if not line.isprintable() else line for line in text.split("\n"))


if __name__ == "__main__":
    sys.exit(run_demo(Console()))
