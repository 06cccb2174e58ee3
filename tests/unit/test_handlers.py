"""The handlers: thin, silent on import, honest about what failed, and discreet in their logs."""

import json
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import requests

from functions.detect import app as detect
from functions.notify_slack import app as notify_slack
from functions.notify_sns import app as notify_sns
from functions.watchdog import app as watchdog
from rootwatch import wiring
from rootwatch.alert import Alert
from rootwatch.audit.items import DeliveryState, head_key
from rootwatch.audit.memory import MemoryTable
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Key, Put
from rootwatch.channels import slack
from rootwatch.delivery import Sent, Unconfigured
from rootwatch.errors import (
    DeliveryFailedError,
    DeliveryRefusedError,
    NothingDeliveredError,
    SettingsError,
    StoreUnavailableError,
)
from rootwatch.pipeline import Message, detect_messages
from rootwatch.watchdog import Watchdog
from rootwatch.wiring import Intake, Notifier
from tests.builders import as_sqs_event, build_envelope
from tests.unit.workbench import IDLE, NOW, CheckedTable, make_message, make_recorder

PROJECT = Path(__file__).parents[2]
HANDLERS = sorted(PROJECT.glob("functions/*/app.py"))
NOTIFIERS = {"slack": (notify_slack, "slack_notifier"), "sns": (notify_sns, "sns_notifier")}
SECRET = "never-to-be-seen"


@dataclass
class Context:
    """What Powertools asks of Lambda's context."""

    function_name: str = "rootwatch-test"
    memory_limit_in_mb: int = 256
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:111122223333:function:rootwatch-test"
    aws_request_id: str = "00000000-0000-4000-8000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        """Plenty."""
        return 180_000


@pytest.fixture(autouse=True)
def _forget() -> None:
    """No test uses another's adapters."""
    for made_once in (wiring.intake, wiring.sns_notifier, wiring.slack_notifier, wiring.watchdog, wiring._session):
        made_once.cache_clear()


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """All that was logged, with the fields beside the messages."""
    return "\n".join(str(vars(record)) for record in caplog.records)


def metrics_of(printed: str) -> dict[str, list[float]]:
    """The metrics in what a handler printed."""
    found: dict[str, list[float]] = {}
    for line in printed.splitlines():
        document = json.loads(line)
        for directive in document.get("_aws", {}).get("CloudWatchMetrics", []):
            for metric in directive["Metrics"]:
                found[metric["Name"]] = document[metric["Name"]]
    return found


# --- thin and silent --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", HANDLERS, ids=lambda path: path.parent.name)
def test_a_handler_has_at_most_25_lines(path: Path) -> None:
    """All that a handler does is in the package; what is left fits on a screen."""
    assert len(path.read_text().splitlines()) <= 25


def test_there_are_handlers() -> None:
    """The test above looks at something."""
    assert {path.parent.name for path in HANDLERS} >= {"detect", "notify_slack", "notify_sns", "watchdog"}


SILENT_IMPORT = """
import importlib, os, pkgutil, socket, sys
import aws_lambda_powertools.utilities.parameters
import boto3, botocore.session, requests
import rootwatch

def forbidden(*_arguments, **_named):
    raise AssertionError("forbidden on import")

class Tripwire(dict):
    __getitem__ = get = __contains__ = keys = items = __iter__ = copy = forbidden

boto3.Session.__init__ = boto3.client = boto3.resource = botocore.session.Session.create_client = forbidden
socket.socket.__init__ = socket.create_connection = forbidden
environment, os.environ = os.environ, Tripwire()
names = [module.name for module in pkgutil.walk_packages(rootwatch.__path__, "rootwatch.")]
for name in names:
    importlib.import_module(name)
os.environ = environment
for name in sys.argv[1:]:
    importlib.import_module(name)
print(len(names))
"""


def test_importing_makes_no_client_opens_no_socket_and_reads_no_environment() -> None:
    """Importing any module of the package does nothing, and a handler's import makes no client and opens no socket."""
    handlers = [f"functions.{path.parent.name}.app" for path in HANDLERS]
    done = subprocess.run(
        [sys.executable, "-c", SILENT_IMPORT, *handlers],
        cwd=PROJECT,
        env={"PYTHONPATH": f"{PROJECT}:{PROJECT / 'layers/rootwatch'}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20


@pytest.mark.filterwarnings("ignore:No application metrics to publish")
@pytest.mark.parametrize("module", [detect, notify_slack, notify_sns, watchdog])
def test_a_wrong_deployment_is_named(module: Any) -> None:
    """A handler without its settings fails with the name of the one that is missing."""
    with pytest.raises(SettingsError, match="TABLE_NAME"):
        module.handler({"Records": [{}]}, Context())


# --- detect -----------------------------------------------------------------------------------------------------------


def take_in(
    monkeypatch: pytest.MonkeyPatch, table: MemoryTable, event: dict[str, Any], reject: Callable[[Message, str], None]
) -> dict[str, Any]:
    """Hand an event to the detect handler, which works on the table."""
    monkeypatch.setattr(wiring, "intake", lambda: Intake(make_recorder(table), reject, ""))
    answer: dict[str, Any] = detect.handler(event, Context())
    return answer


def test_detect_reports_what_must_stay_in_the_queue(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Recorded, irrelevant and rejected messages leave the queue, a failed one stays; each fate is a metric."""
    rejected: list[str] = []

    def reject(message: Message, _reason: str) -> None:
        if "kept" in message.body:
            raise DeliveryFailedError("The dead-letter queue did not take it.")
        rejected.append(message.body)

    poison = f'{{"detail": {{"password": "{SECRET}"}}}}'
    event = as_sqs_event([build_envelope("write"), build_envelope("silent/iam_user_sign_in"), poison, f"kept {SECRET}"])
    answer = take_in(monkeypatch, CheckedTable(), event, reject)
    assert answer == {"batchItemFailures": [{"itemIdentifier": event["Records"][3]["messageId"]}]}
    assert rejected == [poison]
    printed = capsys.readouterr().out
    assert SECRET not in printed + logged(caplog)
    assert event["Records"][2]["messageId"] in logged(caplog)
    assert {name: sum(values) for name, values in metrics_of(printed).items()} == {
        "MessagesRecorded": 1, "MessagesIrrelevant": 1, "MessagesRejected": 1, "MessagesFailed": 1,
    }  # fmt: skip


def test_detect_without_its_table_fails_every_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage of the table leaves the whole batch in the queue."""

    class Out(CheckedTable):
        def get(self, _keys: object) -> Any:
            raise StoreUnavailableError("out of reach")

    event = as_sqs_event([build_envelope("write", number=n) for n in range(3)])
    answer = take_in(monkeypatch, Out(), event, lambda *_: pytest.fail("nothing may be rejected"))
    expected = [{"itemIdentifier": entry["messageId"]} for entry in event["Records"]]
    assert answer == {"batchItemFailures": expected}


# --- notifiers --------------------------------------------------------------------------------------------------------


def due(table: MemoryTable, channel: str, count: int) -> list[Key]:
    """So many alerts that are due on a channel."""
    for number in range(count):
        now = NOW + timedelta(minutes=10 * number)
        envelope = build_envelope("console_login", number=number, eventTime=f"{now:%Y-%m-%dT%H:%M:%SZ}")
        detect_messages([make_message(envelope, sent_at=now)], make_recorder(table, now))
    return [
        Key(pk, str(item["sk"])) for pk in table._partitions for item in table.query(pk, f"DELIVERY#{channel}#")
    ]  # fmt: skip


def no_letter(*_arguments: str) -> None:
    """Nothing may be put on the dead-letter queue."""
    pytest.fail("nothing may be put on the dead-letter queue")


def no_proof(_nonce: str) -> Sent:
    """No canary may be sent."""
    pytest.fail("no canary may be sent")


def stream_event(keys: list[Key]) -> dict[str, Any]:
    """What the table's stream hands to a notifier for new items with these keys."""
    return {
        "Records": [
            {
                "eventID": f"e{number}",
                "eventName": "INSERT",
                "eventSource": "aws:dynamodb",
                "dynamodb": {
                    "Keys": {"pk": {"S": key.pk}, "sk": {"S": key.sk}},
                    "NewImage": {"pk": {"S": key.pk}, "sk": {"S": key.sk}},
                    "SequenceNumber": f"{number}00",
                    "StreamViewType": "NEW_IMAGE",
                },
            }
            for number, key in enumerate(keys, start=1)
        ]
    }


@pytest.mark.parametrize("channel", NOTIFIERS)
def test_a_notifier_delivers_and_reports_what_was_not_taken(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    channel: str,
) -> None:
    """Of a batch, what the channel took is sent, what it did not is reported to the stream, and each is a metric."""
    module, name = NOTIFIERS[channel]
    table = CheckedTable()
    store, keys = AuditStore(table), due(table, channel, 3)
    sent: list[str] = []

    def send(alert: Alert) -> Sent | Unconfigured:
        if alert.number == 2:
            raise DeliveryFailedError("out of reach")
        sent.append(alert.alert_id)
        return Sent("ok")

    monkeypatch.setattr(wiring, name, lambda: Notifier(store, send, no_letter, no_proof))
    assert module.handler(stream_event(keys), Context()) == {"batchItemFailures": [{"itemIdentifier": "200"}]}
    ledgers = [store.delivery(key) for key in keys]
    assert [ledger and ledger.state for ledger in ledgers] == [
        DeliveryState.SENT, DeliveryState.FAILED, DeliveryState.SENT,
    ]  # fmt: skip
    assert len(sent) == 2
    assert "out of reach" in logged(caplog)
    metrics = {name: sum(values) for name, values in metrics_of(capsys.readouterr().out).items()}
    assert metrics == {"DeliveriesSent": 2, "DeliveriesFailed": 1}
    module.handler(stream_event([keys[0], keys[2]]), Context())
    assert len(sent) == 2


def test_the_webhook_s_address_is_in_no_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """When Slack is out of reach, nothing that the handler raises, prints or logs holds the webhook's address."""
    table = CheckedTable()
    store, keys = AuditStore(table), due(table, "slack", 2)
    address = f"https://hooks.slack.com/services/{SECRET}"

    class Broken:
        def post(self, url: str, **_options: Any) -> Any:
            raise requests.ConnectionError(f"Max retries exceeded with url: {url}")

    def send(alert: Alert) -> Sent:
        return Sent(slack.post(cast("requests.Session", Broken()), address, slack.payload(alert)))

    monkeypatch.setattr(wiring, "slack_notifier", lambda: Notifier(store, send, no_letter, no_proof))
    with caplog.at_level("DEBUG"), pytest.raises(NothingDeliveredError) as caught:
        notify_slack.handler(stream_event(keys), Context())
    printed = capsys.readouterr()
    assert "Slack is out of reach" in logged(caplog)
    told = [printed.out, printed.err, caplog.text, logged(caplog), *traceback.format_exception(caught.value)]
    assert SECRET not in "\n".join(told)
    assert SECRET not in "".join(str(item) for pk in table._partitions for item in table.query(pk))


@pytest.mark.parametrize(
    "record", [{}, {"dynamodb": {}}, {"dynamodb": {"Keys": {"pk": {"S": "x"}}}}, {"dynamodb": None}]
)
def test_a_stream_record_without_keys_is_left_as_a_dead_letter(record: dict[str, Any]) -> None:
    """A stream record that names no item is left with its reason, nothing is sent, and it is never called sent."""
    letters: list[tuple[str, ...]] = []
    notifier = Notifier(
        AuditStore(MemoryTable()),
        lambda _alert: pytest.fail("nothing may be sent"),
        lambda *letter: letters.append(letter),
        no_proof,
    )
    assert notifier.deliver(record) is DeliveryState.FAILED
    assert [reason for _, reason, _ in letters] == ["A stream record names no item."]


@pytest.mark.parametrize("refused", [True, False])
def test_what_no_repetition_can_help_is_left_and_holds_up_nothing(refused: bool) -> None:  # noqa: FBT001
    """A refusal for good, or a ledger that is gone, is left with key and reason; a dead letter that fails is raised."""
    table = CheckedTable()
    store, [key] = AuditStore(table), due(table, "slack", 1)
    letters: list[tuple[str, ...]] = []

    def send(_alert: Alert) -> Sent:
        raise DeliveryRefusedError("the webhook was removed")

    def full(*_letter: str) -> None:
        raise DeliveryFailedError("The dead-letter queue did not take it.")

    [record] = stream_event([key] if refused else [Key("INCIDENT#gone", "DELIVERY#slack#000001")])["Records"]
    with pytest.raises(DeliveryFailedError):
        Notifier(store, send, full, no_proof).deliver(record)
    assert (
        Notifier(store, send, lambda *letter: letters.append(letter), no_proof).deliver(record) is DeliveryState.FAILED
    )
    [(body, reason, _)] = letters
    keys = record["dynamodb"]["Keys"]
    assert json.loads(body) == {"pk": keys["pk"]["S"], "sk": keys["sk"]["S"]}
    assert ("webhook was removed" if refused else "gone") in reason
    ledger = store.delivery(key)
    assert ledger is not None
    assert ledger.state is (DeliveryState.FAILED if refused else DeliveryState.PENDING)


# --- watchdog ---------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:No application metrics to publish")
def test_the_watchdog_counts_what_it_did_and_names_what_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A summary that became due and an account that failed are a metric each, the latter is logged; a quiet run says
    nothing.
    """
    table = CheckedTable()
    others: dict[str, Any] = {"recipientAccountId": "444455556666", "userIdentity.accountId": "444455556666"}
    for changes in ({}, others):
        detect_messages([make_message(build_envelope("console_login", **changes))], make_recorder(table))
    recorder = make_recorder(table, NOW)
    nothing: Any = pytest.fail  # nothing is said and nothing is left
    monkeypatch.setattr(wiring, "watchdog", lambda: Watchdog(recorder, (), (), nothing, nothing))
    watchdog.handler({}, Context())
    assert metrics_of(capsys.readouterr().out) == {}

    class Troubled(CheckedTable):
        def write(self, puts: Sequence[Put]) -> None:
            if head_key("444455556666") in {put.key for put in puts}:
                raise StoreUnavailableError("throttled")
            super().write(puts)

    troubled = Troubled()
    troubled._partitions = table._partitions
    recorder = make_recorder(troubled, NOW + IDLE)
    watchdog.handler({}, Context())
    metrics = metrics_of(capsys.readouterr().out)
    assert {name: sum(values) for name, values in metrics.items()} == {"AlertsDue": 1, "PartsFailed": 1}
    assert "the timers of account 444455556666" in logged(caplog)
