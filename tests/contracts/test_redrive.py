"""`rootwatch redrive`: dead letters on moto's SQS and the ledgers of a real store, listed and moved back."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from rootwatch.audit.items import DeliveryState, delivery_key
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Key
from rootwatch.delivery import Sent, deliver
from rootwatch.errors import DeliveryRefusedError, StoreUnavailableError
from rootwatch.pipeline import detect_messages
from rootwatch_cli import redrive as command
from rootwatch_cli.dead_letters import Judged, Letter, Queue, Way, judge
from rootwatch_cli.redrive import NotMovedError, Options, Outcome, Redrive, SqsLetters, run_redrive
from tests.builders import build_envelope
from tests.unit.workbench import CheckedTable, make_message, make_recorder

AT = datetime(2026, 11, 3, 2, 15, tzinfo=UTC)
PLACE = {
    # https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html : the record of a failed batch, as documented there.
    "requestContext": {
        "requestId": "316aa6d0-8154-xmpl-9af7-85d5f4a6bc81",
        "functionArn": "arn:aws:lambda:us-east-1:111122223333:function:rootwatch-notify-slack",
        "condition": "RetryAttemptsExhausted",
        "approximateInvokeCount": 1,
    },
    "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
    "version": "1.0",
    "timestamp": "2026-11-03T03:15:00.000Z",
    "DDBStreamBatchInfo": {
        "shardId": "shardId-00000001573689847184-864758bb",
        "startSequenceNumber": "800000000003126276362",
        "endSequenceNumber": "800000000003126276362",
        "batchSize": 1,
        "streamArn": "arn:aws:dynamodb:us-east-1:111122223333:table/rootwatch-audit/stream/2026-11-01T00:00:00.000",
    },
}


@dataclass(frozen=True, slots=True)
class Deployed:
    """The four queues, and the store."""

    sqs: Any
    letters: SqsLetters
    store: AuditStore

    def leave(self, queue: Queue, body: object, **attributes: str) -> None:
        """Leave a message on a dead-letter queue."""
        self.sqs.send_message(
            QueueUrl=self.letters.urls[queue],
            MessageBody=body if isinstance(body, str) else json.dumps(body),
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
            },
        )

    def redrive(self, **how: bool) -> list[Outcome]:
        """Run it on all queues."""
        return list(Redrive(self.letters, self.store, **how).run(list(Queue), 100))

    def bodies(self, url: str) -> list[str]:
        """What lies on a queue and can be seen."""
        found = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)
        return [message["Body"] for message in found.get("Messages", [])]

    def left(self, queue: Queue) -> list[str]:
        """What lies on a dead-letter queue and can be seen."""
        return self.bodies(self.letters.urls[queue])

    def refuse_an_alert(self) -> Key:
        """Record a sign-in whose alert Slack refuses for good, with the dead letter that the notifier leaves."""
        table = self.store._table
        detect_messages([make_message(build_envelope("console_login"), sent_at=AT)], make_recorder(table, AT))
        [incident_id] = self.store.incidents_of("2026-11")
        key = delivery_key(incident_id, "slack", 1)

        def leave(reason: str) -> None:
            self.leave(Queue.NOTIFY, {"pk": key.pk, "sk": key.sk}, reason=reason, message_id=f"{key.pk} {key.sk}")

        def send(_: object) -> Sent:
            raise DeliveryRefusedError("the webhook was removed")

        deliver(self.store, key, send, lambda: AT, leave)
        return key


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    """Empty queues in moto, and an empty table in memory, which has one contract with DynamoDB's."""
    for name, value in {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        sqs = boto3.client("sqs", region_name="us-east-1")
        urls = {queue: sqs.create_queue(QueueName=f"rootwatch-{queue}-dead-letter")["QueueUrl"] for queue in Queue}
        intake = sqs.create_queue(QueueName="rootwatch-intake")["QueueUrl"]
        yield Deployed(sqs, SqsLetters(sqs, urls, intake, wait_seconds=0), AuditStore(CheckedTable()))


def test_listing_changes_nothing(deployed: Deployed) -> None:
    """Without --move each letter is told with its reason, and lies where it lay, to be seen by others at once."""
    envelope = build_envelope("console_login")
    deployed.leave(Queue.INTAKE, envelope)
    deployed.leave(Queue.INTAKE, "no JSON", reason="It is not JSON.")
    deployed.leave(
        Queue.RULE, envelope, TARGET_ARN="arn:aws:sqs:us-east-1:111122223333:rootwatch-intake",
        ERROR_CODE="NO_PERMISSIONS", ERROR_MESSAGE="not authorized",
    )  # fmt: skip
    key = deployed.refuse_an_alert()
    outcomes = deployed.redrive()
    told = {(each.judged.letter.queue, each.fate): each for each in outcomes}

    assert len(outcomes) == 4
    assert told[Queue.INTAKE, "moves"].judged.about == f"ConsoleLogin in account 111122223333 at {envelope['time']}"
    assert "failed on it again and again" in told[Queue.INTAKE, "moves"].judged.why
    assert told[Queue.INTAKE, "stays"].judged.why == "detect could not read it: It is not JSON."
    assert "policy or key does not admit EventBridge (NO_PERMISSIONS)" in told[Queue.RULE, "moves"].judged.why
    assert "the webhook was removed" in told[Queue.NOTIFY, "moves"].judged.why
    assert [len(deployed.left(queue)) for queue in Queue] == [2, 1, 1]
    assert deployed.bodies(deployed.letters.intake_url) == []
    ledger = deployed.store.delivery(key)
    assert ledger is not None
    assert ledger.refused


def test_records_go_back_to_the_intake_queue_as_they_came(deployed: Deployed) -> None:
    """What detect failed on, and what EventBridge could not hand over, goes to detect again, byte for byte."""
    body = json.dumps(build_envelope("console_login"), indent=1)
    deployed.leave(Queue.INTAKE, body)
    deployed.leave(Queue.RULE, body, ERROR_CODE="NO_RESOURCE")
    outcomes = deployed.redrive(move=True)

    assert [each.fate for each in outcomes] == ["moved", "moved"]
    assert deployed.bodies(deployed.letters.intake_url) == [body, body]
    assert [deployed.left(queue) for queue in Queue] == [[], [], []]


def test_poison_stays_with_its_reason(deployed: Deployed) -> None:
    """What detect rejected stays unless --rejected asks for it, and what is no event at all stays in any case."""
    deployed.leave(Queue.INTAKE, {"x": 1}, reason="The message has no detail.")
    deployed.leave(Queue.RULE, "no event", ERROR_CODE="TIMEOUT")
    deployed.leave(Queue.NOTIFY, "{}", reason="A stream record names no item.")
    assert [each.fate for each in deployed.redrive(move=True)] == ["stays", "stays", "stays"]
    assert [len(deployed.left(queue)) for queue in Queue] == [1, 1, 1]

    again = deployed.redrive(move=True, rejected_again=True)
    assert [each.fate for each in again] == ["moved", "stays", "stays"]
    assert deployed.bodies(deployed.letters.intake_url) == ['{"x": 1}']


def test_a_refused_alert_is_due_again(deployed: Deployed) -> None:
    """The ledger of an alert that a channel refused is due again, so that the watchdog sends it."""
    key = deployed.refuse_an_alert()
    assert [entry.key for entry in deployed.store.undelivered("slack", refused=True)] == [key]
    [outcome] = deployed.redrive(move=True)

    assert outcome.fate == "moved"
    assert [entry.key for entry in deployed.store.undelivered("slack")] == [key]
    assert list(deployed.store.undelivered("slack", refused=True)) == []
    assert deployed.left(Queue.NOTIFY) == []


def test_what_was_sent_meanwhile_is_left_alone(deployed: Deployed) -> None:
    """A letter about an alert that the watchdog has delivered since only goes; nothing is sent a second time."""
    key = deployed.refuse_an_alert()
    ledger = deployed.store.delivery(key)
    assert ledger is not None
    deployed.store.write_delivery(ledger, replace(ledger, refused=False))
    deliver(deployed.store, key, lambda _alert: Sent("ok"), lambda: AT + timedelta(minutes=9), lambda _reason: None)
    sent = deployed.store.delivery(key)
    [outcome] = deployed.redrive(move=True)

    assert (outcome.fate, outcome.words) == ("moved", "it was sent meanwhile")
    assert deployed.store.delivery(key) == sent
    assert sent is not None
    assert sent.state is DeliveryState.SENT


def test_a_place_in_the_stream_makes_its_channel_due_again(deployed: Deployed) -> None:
    """What Lambda gave up on names no delivery: all that the channel did not take is due again, the other's is not."""
    key = deployed.refuse_an_alert()
    deployed.leave(Queue.NOTIFY, PLACE)
    outcomes = deployed.redrive(move=True)
    ledger = deployed.store.delivery(key)

    assert [each.fate for each in outcomes] == ["moved", "moved"]
    assert any("RetryAttemptsExhausted" in each.judged.why for each in outcomes)
    assert any(each.words.startswith("1 delivery of the channel waiting") for each in outcomes)
    assert ledger is not None
    assert not ledger.refused


def test_a_delivery_that_the_table_does_not_have(deployed: Deployed) -> None:
    """A letter about a ledger that is gone stays, and says so: it may be all that is left of an alert."""
    deployed.leave(Queue.NOTIFY, {"pk": "INCIDENT#x", "sk": "DELIVERY#slack#000001"}, reason="damaged")
    [outcome] = deployed.redrive(move=True)

    assert (outcome.fate, outcome.words) == ("failed", "the audit table has no such delivery")
    assert len(deployed.left(Queue.NOTIFY)) == 1


@pytest.mark.parametrize("broken", ["send_message", "delete_message"])
def test_nothing_is_deleted_before_its_copy_is_accepted(
    deployed: Deployed, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the queue does not take the copy, or does not let go of the letter, the letter is still there, and told."""

    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "SendMessage")

    deployed.leave(Queue.INTAKE, build_envelope("console_login"))
    deployed.leave(Queue.INTAKE, build_envelope("access_key_created"))
    monkeypatch.setattr(deployed.sqs, broken, refuse)
    outcomes = deployed.redrive(move=True)

    assert [each.fate for each in outcomes] == ["failed", "failed"]  # and the second was tried after the first
    assert all("AWS refuses" in each.words for each in outcomes)
    assert len(deployed.left(Queue.INTAKE)) == 2


def test_a_copy_that_arrived_otherwise_is_no_copy(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer whose checksum is another one than that of what was sent counts as not accepted."""
    monkeypatch.setattr(deployed.sqs, "send_message", lambda **_: {"MD5OfMessageBody": "0"})

    with pytest.raises(NotMovedError, match="checksums differ"):
        deployed.letters.send_to_intake("x")


def test_it_is_bounded(deployed: Deployed) -> None:
    """No more letters of a queue are looked at than was asked for, and each of them once."""
    for number in range(25):
        deployed.leave(Queue.INTAKE, {"detail": {"eventName": f"Act{number}"}})
    outcomes = list(Redrive(deployed.letters, deployed.store).run([Queue.INTAKE], 12))

    assert len({each.judged.letter.id for each in outcomes}) == len(outcomes) == 12


def test_the_time_is_bounded(deployed: Deployed) -> None:
    """A queue that fills as fast as it is read does not hold the command for ever."""
    deployed.leave(Queue.INTAKE, {"detail": {}})
    ticks = iter(range(0, 10_000, 100))
    letters = replace(deployed.letters, clock=lambda: float(next(ticks)))

    assert len(list(Redrive(letters, deployed.store).run([Queue.INTAKE], 100))) == 1


# --- what the command prints ---------------------------------------------------------------------------------------


@pytest.fixture
def _found(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(_: object, options: Options) -> Redrive:
        return Redrive(deployed.letters, deployed.store, move=options.move, rejected_again=options.rejected_again)

    monkeypatch.setattr(command, "_found", found)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.mark.usefixtures("_found")
def test_the_command_tells_scripts_and_people(deployed: Deployed, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each letter and a summary; the exit status is 1 as long as dead letters are left."""
    assert run_redrive(None, Options(), as_json=True) == 0  # type: ignore[arg-type] # the stack is at hand
    deployed.leave(Queue.INTAKE, build_envelope("console_login"))
    deployed.leave(Queue.INTAKE, "\x1b[31mno JSON", reason="not\x1b[31m JSON\nFORGED")
    capsys.readouterr()
    assert run_redrive(None, Options(), as_json=False) == 1  # type: ignore[arg-type]
    shown = capsys.readouterr().out
    assert run_redrive(None, Options(move=True), as_json=True) == 1  # type: ignore[arg-type]
    *lines, last = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert "2 dead letters: 1 moves, 1 stays." in shown
    assert "rootwatch redrive --move" in shown
    assert "\x1b" not in shown
    assert "\nFORGED" not in shown
    assert {(each["queue"], each["fate"]) for each in lines} == {("intake", "moved"), ("intake", "stays")}
    assert last == {"summary": {"moves": 0, "moved": 1, "stays": 1, "failed": 0}, "not_read": [], "more_on": []}


@pytest.mark.usefixtures("_found")
@pytest.mark.parametrize("as_json", [True, False])
def test_a_queue_that_cannot_be_read_hides_no_other(
    deployed: Deployed, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *, as_json: bool
) -> None:
    """What was moved from the others is told, the queue is named with the reason, and the exit status is 2."""
    deployed.leave(Queue.INTAKE, build_envelope("console_login"))
    deployed.leave(Queue.NOTIFY, "{}", reason="A stream record names no item.")
    receive = deployed.sqs.receive_message

    def refuse(**arguments: Any) -> Any:
        if arguments["QueueUrl"] == deployed.letters.urls[Queue.RULE]:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ReceiveMessage")
        return receive(**arguments)

    monkeypatch.setattr(deployed.sqs, "receive_message", refuse)
    status = run_redrive(None, Options(move=True), as_json=as_json)  # type: ignore[arg-type] # the stack is at hand
    printed = capsys.readouterr()

    assert status == 2
    assert "The dead-letter queue rule could not be read: AWS refuses ReceiveMessage" in printed.err
    if as_json:
        *lines, last = [json.loads(line) for line in printed.out.splitlines()]
        assert [each["fate"] for each in lines] == ["moved", "stays"]
        assert last["not_read"] == ["rule"]
    else:
        assert "2 dead letters: 1 moved, 1 stays." in printed.out
    assert run_redrive(None, Options(queue="rule"), as_json=False) == 2  # type: ignore[arg-type]
    assert "No dead letters" not in capsys.readouterr().out


@pytest.mark.usefixtures("_found")
def test_as_many_as_asked_for_need_not_be_all(deployed: Deployed, capsys: pytest.CaptureFixture[str]) -> None:
    """Where a run ended at its limit the exit status is not that of empty queues, and the words say to go on."""
    for number in range(3):
        deployed.leave(Queue.INTAKE, {"detail": {"eventName": f"Act{number}"}})
    assert run_redrive(None, Options(move=True, most=2), as_json=False) == 1  # type: ignore[arg-type]
    assert "There may be more on intake: run it again." in capsys.readouterr().out

    assert run_redrive(None, Options(move=True, most=2), as_json=True) == 0  # type: ignore[arg-type]
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["more_on"] == []


def test_why_the_table_did_not_do_it_is_told(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A delivery that could not be made due says what the table's service said, not only that it did not do it."""
    deployed.refuse_an_alert()
    failed = StoreUnavailableError("DynamoDB did not do it (AccessDeniedException).")
    failed.__cause__ = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "PutItem")

    def refuse(*_: Any) -> None:
        raise failed

    monkeypatch.setattr(AuditStore, "delivery", refuse)
    [outcome] = deployed.redrive(move=True)

    assert outcome.fate == "failed"
    assert "AWS refuses PutItem to these credentials" in outcome.words


# --- hostile letters -----------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["detail", "pk", "sk", "requestContext", "functionArn", "DDBStreamBatchInfo", "account", "x"]),
        inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(
    queue=st.sampled_from(list(Queue)),
    body=st.text(max_size=50) | json_values.map(json.dumps),
    attributes=st.dictionaries(
        st.sampled_from(["reason", "TARGET_ARN", "ERROR_CODE", "ERROR_MESSAGE"]), st.text(max_size=40)
    ),
    again=st.booleans(),
)
def test_any_letter_is_judged(queue: Queue, body: str, attributes: dict[str, str], again: bool) -> None:  # noqa: FBT001 - drawn
    """Whatever lies there is judged without an error, told in printable words, and goes where it can be handled."""
    judged = judge(Letter(queue, "id", body, attributes, None), rejected_again=again)

    assert isinstance(judged, Judged)
    for text in (judged.about, judged.why):
        assert text.isprintable()
    if judged.way is Way.LEDGER:
        assert judged.key is not None
    if judged.way is Way.CHANNEL:
        assert judged.channel in {"slack", "sns"}
    if queue is Queue.INTAKE and "reason" in attributes and not again:
        assert judged.way is Way.STAYS
