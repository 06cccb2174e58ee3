"""The commands on a deployed table, as a person and as a script sees them.

What they print is tested on the table in memory, which has one contract with DynamoDB's; that each of them finds and
reads a deployed one, on moto.
"""

import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore import exceptions
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.httpsession import URLLib3Session
from botocore.stub import Stubber
from typer.testing import CliRunner
from urllib3 import HTTPResponse

from rootwatch import triage
from rootwatch.audit.dynamodb import DynamoTable
from rootwatch.audit.items import declared_key, delivery_key, event_partition, head_key, incident_key
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Key, Put, Table, key_of
from rootwatch.channels import slack, sns
from rootwatch.coverage import Place
from rootwatch.delivery import Sent, Unconfigured, deliver
from rootwatch.errors import (
    DamagedItemError,
    DeclarationError,
    DeliveryFailedError,
    DeliveryRefusedError,
    StoreError,
    StoreUnavailableError,
)
from rootwatch.incident import Incident
from rootwatch.pipeline import Fate, detect_messages, run_timers
from rootwatch_cli import coverage, deployed, test_alert
from rootwatch_cli.declare import address_of, moment_of, task_of
from rootwatch_cli.deployed import DeployedStack
from rootwatch_cli.main import app
from rootwatch_cli.slack_receiver import problem_with
from rootwatch_cli.verify import verify_account
from tests.builders import build_envelope
from tests.contracts.conftest import TABLE_NAME
from tests.contracts.test_store import _remove
from tests.unit.test_declared_use import ALICE, OFFICE, declare
from tests.unit.workbench import ACCOUNT, NOW, CheckedTable, make_message, make_recorder

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

OTHER = "444455556666"
SESSION = {"userIdentity.sessionContext.attributes.creationDate": "2026-11-03T02:14:07Z"}
HOSTILE = "Create\x1b[31m\u202eUser\nForged: line https://evil.example.com"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command printed, and its exit status."""

    status: int
    out: str
    errors: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


Command = Callable[..., Answer]


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns without colour, and nothing of this machine's AWS set-up."""
    for name, value in {"COLUMNS": "80", "NO_COLOR": "1", "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    for name in ("ROOTWATCH_STACK", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: str) -> Answer:
    """Run the command; a traceback fails the test."""
    result = CliRunner().invoke(app, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return Answer(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def table() -> CheckedTable:
    """An empty audit table."""
    return CheckedTable()


@pytest.fixture
def store(table: Table) -> AuditStore:
    """The store on it."""
    return AuditStore(table)


@pytest.fixture
def command(store: AuditStore, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command on this table, run by an IAM user."""
    stack = DeployedStack(store, TABLE_NAME, lambda: f"arn:aws:iam::{OTHER}:user/dana")
    monkeypatch.setattr(deployed, "_found", lambda _where: stack)
    return run


def record(table: Any, specimen: str, number: int = 0, /, **changes: Any) -> None:
    """Take one record through the whole pipeline, which receives it two seconds later."""
    envelope = build_envelope(specimen, number=number, **changes)
    at = datetime.fromisoformat(str(envelope["time"])) + timedelta(seconds=2)
    [result] = detect_messages([make_message(envelope, sent_at=at)], make_recorder(table, at))
    assert result.fate is Fate.RECORDED, result


def play(table: Any, account_id: str = ACCOUNT) -> None:
    """A failed sign-in, one without MFA, three reads and a stopped trail."""
    acts: list[tuple[str, str, dict[str, Any]]] = [
        ("console_login_failed", "02:13:40", {}),
        ("console_login_without_mfa", "02:14:07", {}),
        *(
            (("read", f"02:15:0{n}", SESSION | {"eventName": name}))
            for n, name in enumerate(("ListA", "ListB", "ListB"))
        ),
        ("logging_tampered", "02:20:00", SESSION),
    ]
    for number, (specimen, at, changes) in enumerate(acts):
        of_account = {"recipientAccountId": account_id, "userIdentity.accountId": account_id}
        place = {"sourceIPAddress": "203.0.113.7", "eventTime": f"2026-11-03T{at}Z"}
        record(table, specimen, number, **(of_account | place | changes))


def incident_of(store: AuditStore, account_id: str = ACCOUNT) -> Incident:
    """The account's one open incident."""
    [incident] = store.read_account(account_id, (), NOW).incidents
    return incident


def told(store: AuditStore, incident: Incident, channel: str, answer: Any, number: int = 1) -> None:
    """Let a channel answer to an alert: a receipt, nothing configured, or an error."""

    def send(_alert: object) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    at = datetime(2026, 11, 3, 2, 13, 50, tzinfo=UTC)
    with suppress(DeliveryFailedError):
        deliver(store, delivery_key(incident.id, channel, number), send, lambda: at, lambda _reason: None)


# --- incidents --------------------------------------------------------------------------------------------------------


def test_incidents_are_listed_worst_first(command: Command, table: Table, store: AuditStore) -> None:
    """What is open comes before what is closed, the more severe before the less; each in words."""
    record(table, "write", recipientAccountId=OTHER, eventTime="2026-11-04T10:00:00Z")
    record(table, "console_login", recipientAccountId="999988887777", eventTime="2026-11-02T10:00:00Z")
    run_timers("999988887777", make_recorder(table, datetime(2026, 11, 4, tzinfo=UTC)))
    play(table)
    answer = command("incidents", "--months", "120")
    assert answer.status == 0
    assert re.findall(r"account ([0-9]+)", answer.out) == [ACCOUNT, OTHER, "999988887777"]
    assert re.findall(r"^(critical|medium|high) +(open|closed)", answer.out, flags=re.MULTILINE) == [
        ("critical", "open"), ("medium", "open"), ("high", "closed"),
    ]  # fmt: skip
    words = " ".join(answer.out.split())
    assert "2026-11-03 02:13 to 02:20 UTC · 6 records" in words
    assert "stopped 1 trail" in words
    assert "3 reads" in words
    assert "3 incidents, 2 open, 3 not answered." in words
    assert max(map(len, answer.out.splitlines())) <= 80
    assert incident_of(store).id in answer.out


def test_an_incident_that_ended_is_not_answered_by_that(command: Command, table: Table, store: AuditStore) -> None:
    """What waits for an answer is counted, also where root is silent; a proposal is shown as one, not as no answer."""
    record(table, "console_login_without_mfa", eventTime="2026-11-02T10:00:00Z")
    [incident] = store.read_account(ACCOUNT, (), NOW).incidents
    run_timers(ACCOUNT, make_recorder(table, datetime(2026, 11, 4, tzinfo=UTC)))
    assert "1 incident, 0 open, 1 not answered." in " ".join(command("incidents", "--months", "120").out.split())
    desk = triage.Desk(store, lambda: NOW, lambda _attempt: None, second_person=True)
    dana = triage.Person("slack:T1/U1", "dana", "slack")
    request = triage.Request(incident.id, triage.Action.RESOLVE, dana, "MFA device replaced", "OPS-1")
    assert triage.answer(desk, request).done
    words = " ".join(command("incidents", "--months", "120").out.split())
    assert "Open, and proposed as expected by dana" in words
    assert "1 incident, 0 open, 0 not answered." in words


def test_incidents_as_json_lines(command: Command, table: Table, store: AuditStore) -> None:
    """With --json each incident is a line, and standard output holds nothing else."""
    play(table)
    [line] = command("incidents", "--json").lines
    assert line["incident_id"] == incident_of(store).id
    assert (line["account_id"], line["state"], line["severity"], line["records"]) == (ACCOUNT, "open", "critical", 6)
    assert (line["opened_at"], line["last_at"]) == ("2026-11-03T02:13:40Z", "2026-11-03T02:20:00Z")
    assert line["stage"] == "logging changed"


def test_incidents_of_one_month(command: Command, table: Table) -> None:
    """--month lists what opened in that month, open or not, and nothing else."""
    play(table)
    record(table, "console_login", eventTime="2026-12-01T10:00:00Z", recipientAccountId=OTHER)
    assert [line["account_id"] for line in command("incidents", "--month", "2026-11", "--json").lines] == [ACCOUNT]
    assert [line["account_id"] for line in command("incidents", "--month", "2026-12", "--json").lines] == [OTHER]
    answer = command("incidents", "--month", "2020-01")
    assert (answer.status, answer.errors) == (0, "")
    assert "none opened in 2020-01" in answer.out
    assert command("incidents", "--month", "January").status == 2


def test_a_damaged_incident_hides_no_other(command: Command, table: Table, store: AuditStore) -> None:
    """An incident that was altered is named on standard error, with status 1; the others are listed."""
    play(table)
    record(table, "write", recipientAccountId=OTHER)
    [item] = table.get([incident_key(incident_of(store, OTHER).id)])
    assert item is not None
    table.write([Put(item | {"acts": "none"})])
    answer = command("incidents", "--json")
    assert answer.status == 1
    assert [line["account_id"] for line in answer.lines] == [ACCOUNT]
    assert str(item["incident_id"]) in answer.errors


# --- show -------------------------------------------------------------------------------------------------------------


def test_show_tells_an_incident_as_it_went(command: Command, table: Table, store: AuditStore) -> None:
    """Acts in words, alerts when they became due, deliveries that had trouble: all by time, in 80 columns."""
    play(table)
    incident = incident_of(store)
    told(store, incident, "sns", Sent("receipt-1"))
    told(store, incident, "slack", DeliveryFailedError("Slack answered 500."))
    told(store, incident, "slack", Unconfigured("no webhook yet"), number=2)
    answer = command("show", incident.id)
    assert answer.status == 0, answer.errors
    assert max(map(len, answer.out.splitlines())) <= 80
    words = " ".join(answer.out.split())
    story = [
        "Account 111122223333",
        "open, critical, stage: logging changed",
        "6 records, 3 alerts",
        "2026-11-03 UTC",
        "02:13:40 medium Root sign-in FAILED, from 203.0.113.7",
        "02:13:42 medium alert 1: Root sign-in FAILED",
        "→ sns 02:13:50",
        "02:13:50 alert 1 on slack: failed: Slack answered 500.",
        "02:13:50 alert 2 on slack: unconfigured: no webhook yet",
        "02:14:07 critical Root signed in to the console WITHOUT MFA, from 203.0.113.7",
        "02:14:09 critical alert 2: Root signed in",
        "02:15:00 info 3 acts until 02:15:02: ListA, 2 times ListB",
        "02:20:00 critical Root stopped or changed AWS's own logging (StopLogging) on arn:aws:cloudtrail",
        "02:20:02 critical alert 3",
        "alert 3 on slack: pending, not tried yet",
    ]
    positions = [words.find(each) for each in story]
    assert -1 not in positions, story[positions.index(-1)]
    assert positions == sorted(positions)
    assert "alert 1 on sns" not in words  # told by the alert's own line


def test_show_as_json_lines(command: Command, table: Table, store: AuditStore) -> None:
    """With --json the first line is the incident, and each act, alert and delivery is a line of its own, by time."""
    play(table)
    incident = incident_of(store)
    told(store, incident, "sns", Sent("receipt-1"))
    answer = command("show", incident.id, "--json")
    first, *rest = answer.lines
    assert (answer.status, answer.errors) == (0, "")
    assert (first["kind"], first["incident_id"]) == ("incident", incident.id)
    assert [line["kind"] for line in rest].count("act") == 6
    assert [line["kind"] for line in rest].count("alert") == 3
    assert [line["kind"] for line in rest].count("delivery") == 6
    assert [line["at"] for line in rest] == sorted(line["at"] for line in rest)
    act = next(line for line in rest if line["kind"] == "act")
    assert (act["event_name"], act["outcome"], act["sequence"]) == ("ConsoleLogin", "failure", 1)
    assert act["detections"] == ["root.console_login_failed"]
    assert next(line for line in rest if line.get("receipt"))["receipt"] == "receipt-1"


def test_show_finds_by_beginning_and_by_alert(command: Command, table: Table, store: AuditStore) -> None:
    """The beginning of an id will do, and so does an alert's id out of a message; too short a beginning lists them."""
    play(table)
    play(table, OTHER)
    incident = incident_of(store)
    for text in (incident.id[:13], incident.id.upper(), f"{incident.id}-0002", f" {incident.id} "):
        assert command("show", text, "--json").lines[0]["incident_id"] == incident.id
    answer = command("show", "202611")
    assert answer.status == 1
    assert answer.errors.startswith("2 incidents begin with 202611: ")
    assert incident.id in answer.errors


@pytest.mark.parametrize("text", ["", "x", "2026", "20261103-0000000000", "202611", "\x1b[31m", "20269911"])
def test_show_says_what_it_expects(command: Command, text: str) -> None:
    """What is no incident gives status 1 and says where to look, without a traceback or a terminal's escapes."""
    answer = command("show", text)
    assert (answer.status, answer.out) == (1, "")
    assert "rootwatch incidents" in answer.errors
    assert "\x1b" not in answer.errors


def test_hostile_text_stays_text_on_the_terminal(command: Command, table: Table, store: AuditStore) -> None:
    """Escapes, reordering marks, line breaks and links of a record, a ledger or a step do nothing on the terminal."""
    record(table, "iam_changed", eventName=HOSTILE, awsRegion=HOSTILE, sourceIPAddress=HOSTILE, errorCode=HOSTILE)
    incident = incident_of(store)
    told(store, incident, "slack", DeliveryFailedError(HOSTILE))
    step = {"pk": f"INCIDENT#{incident.id}", "sk": "STEP#2026-11-03T09:00:00Z#1", "note": HOSTILE, HOSTILE: [HOSTILE]}
    table.write([Put(step)])  # type: ignore[arg-type] # a list of texts is a value
    answer = command("show", incident.id)
    listed = command("incidents", "--months", "120")
    for text in (answer.out, listed.out, command("show", incident.id, "--json").out):
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert not [line for line in text.splitlines() if line.startswith("Forged")]
    assert "://" not in answer.out
    assert "step: note Create" in answer.out


def test_what_was_altered_is_shown_as_altered(command: Command, table: Table, store: AuditStore) -> None:
    """An event, alert or ledger that cannot be read is a line of its own, and the exit status is 1."""
    play(table)
    incident = incident_of(store)
    [event, *_] = store.event_items(ACCOUNT, "2026-11")
    [alert] = table.get([Key(incident_key(incident.id).pk, "ALERT#000001")])
    assert alert is not None
    table.write([Put(event | {"record": "{"}), Put(alert | {"facts": 7})])
    answer = command("show", incident.id)
    words = " ".join(answer.out.split())
    assert answer.status == 1
    assert "an event that cannot be read any more" in words
    assert "ALERT#000001: The item of an alert cannot be understood" in words
    assert "2 entries were altered in the table: rootwatch verify" in words
    assert [line["kind"] for line in command("show", incident.id, "--json").lines].count("damage") == 2


def test_what_is_missing_is_said(command: Command, table: Table, store: AuditStore) -> None:
    """Records that the incident counts and the table does not hold are not passed over."""
    play(table)
    [event, *_] = store.event_items(ACCOUNT, "2026-11")
    _remove(table, key_of(event))
    incident = incident_of(store)
    assert "1 of its 6 records cannot be found" in " ".join(command("show", incident.id).out.split())
    assert "1 of its 6 records cannot be found" in command("show", incident.id, "--json").errors


def test_a_damaged_incident_is_an_error_in_words(command: Command, table: Table, store: AuditStore) -> None:
    """An incident that cannot be read is said to be altered."""
    play(table)
    [item] = table.get([incident_key(incident_of(store).id)])
    assert item is not None
    table.write([Put(item | {"stage": "high"})])
    answer = command("show", str(item["incident_id"]))
    assert answer.status != 0
    assert "it was changed" in answer.errors


def test_the_same_act_again_is_one_line(command: Command, table: Table, store: AuditStore) -> None:
    """Two hundred refused attempts are one line with their number and end, not two hundred."""
    for number in range(30):
        record(table, "denied", number, eventTime=f"2026-11-03T02:00:{number:02d}Z")
    answer = command("show", incident_of(store).id)
    assert "27 times until 02:00:29: Root REFUSED" in " ".join(answer.out.split())
    assert answer.out.count("Root REFUSED") < 10


# --- verify -----------------------------------------------------------------------------------------------------------


def test_verify_finds_everything_in_order(command: Command, table: Table, store: AuditStore) -> None:
    """Every account is verified over all its months, and told where its chain stands."""
    play(table)
    answered(store)
    record(table, "write", 7, eventTime="2027-02-01T10:00:00Z")
    record(table, "read", recipientAccountId=OTHER)
    store.declare(declare())
    verified = command("verify")
    words = " ".join(verified.out.split())
    assert verified.status == 0
    assert f"account {ACCOUNT} 7 records, 1 declared use, 1 step of triage intact record 7 has the chain value" in words
    assert store.account_head(ACCOUNT)[1] in words
    assert f"account {OTHER} 1 record, 0 declared uses, 0 steps of triage intact" in words
    lines = command("verify", "--json").lines
    assert [(line["account_id"], line["records"], line["faults"]) for line in lines] == [
        (ACCOUNT, 7, []),
        (OTHER, 1, []),
    ]
    assert [line["account_id"] for line in command("verify", "--account", OTHER, "--json").lines] == [OTHER]


def answered(store: AuditStore) -> None:
    """Somebody acknowledges the account's incident."""
    at = datetime(2026, 11, 3, 2, 30, tzinfo=UTC)
    dana = triage.Person(f"arn:aws:iam::{ACCOUNT}:user/dana", "user/dana", "aws")
    request = triage.Request(incident_of(store).id, triage.Action.ACKNOWLEDGE, dana)
    given_answer = triage.answer(triage.Desk(store, lambda: at, lambda _: None), request)
    assert given_answer.done, given_answer.words


def _steps(store: AuditStore) -> list[Any]:
    items = store.incident_items(incident_of(store).id)
    return [item for item in items if key_of(item).sk.startswith("STEP#")]


TAMPERING: dict[str, tuple[Callable[[Table, AuditStore], None], str]] = {
    "a record": (
        lambda table, store: table.write([Put(next(store.event_items(ACCOUNT, "2026-11")) | {"record": "{}"})]),
        "not the one that was hashed",
    ),
    "a record removed": (
        lambda table, store: _remove(table, key_of(next(store.event_items(ACCOUNT, "2026-11")))),
        "records 1 to 1 are missing",
    ),
    "the head removed": (lambda table, _: _remove(table, head_key(ACCOUNT)), "the head says 0 records"),
    "a record in a month of its own": (
        lambda table, _: table.write([Put({"pk": event_partition(ACCOUNT, "2019-01"), "sk": "\x1b[31m"})]),
        "sequence number is missing",
    ),
    "a declared use": (
        lambda table, store: table.write(
            [Put((table.get([declared_key(store.every_declared_use(ACCOUNT).uses[0])])[0] or {}) | {"reason": "other"})]
        ),
        "declared use was altered",
    ),
    "a step of triage": (
        lambda table, store: table.write([Put(_steps(store)[0] | {"by_name": "mallory"})]),
        "step 1: its chain value does not follow",
    ),
    "a step of triage removed": (lambda table, store: _remove(table, key_of(_steps(store)[0])), "step 1 is missing"),
    "an incident removed": (
        lambda table, store: _remove(table, incident_key(incident_of(store).id)),
        "the incident is gone",
    ),
    "a declared use removed beside its end": (
        lambda table, store: _remove(table, declared_key(store.every_declared_use(ACCOUNT).uses[0])),
        "only its end is left",
    ),
}


@pytest.mark.parametrize("name", TAMPERING)
def test_verify_finds_what_was_changed(command: Command, table: Table, store: AuditStore, name: str) -> None:
    """Each change gives status 1 and is named, in words and as JSON, without a terminal's escapes."""
    play(table)
    store.declare(declare())
    store.end_declared_use(declare(), by=ALICE, at=declare().from_at)
    answered(store)
    tamper, words = TAMPERING[name]
    tamper(table, store)
    verified = command("verify")
    assert verified.status == 1
    assert words in " ".join(verified.out.split())
    assert "\x1b" not in verified.out
    assert "intact" not in verified.out
    as_json = command("verify", "--json")
    assert as_json.status == 1
    assert any(words in fault for fault in as_json.lines[0]["faults"])


def test_nothing_verified_is_not_the_same_as_intact(command: Command, table: Table) -> None:
    """An account that the table does not know gives status 2, an empty table says that it is empty."""
    assert "nothing to verify" in command("verify").out
    play(table)
    answer = command("verify", "--account", OTHER)
    assert (answer.status, answer.out) == (2, "")
    assert "nothing was verified" in answer.errors


def test_a_record_that_arrives_meanwhile_is_no_fault() -> None:
    """While events are read another arrives, in a new month even: that is read again, and not taken for damage."""

    class Busy(CheckedTable):
        arrivals = 0

        def query(self, pk: str, prefix: str = "", *, most: int | None = None) -> Iterator[Any]:
            found = list(super().query(pk, prefix, most=most))
            number, self.arrivals = self.arrivals, 0  # what arrives reads as well
            if number and pk.startswith("EVENTS#"):
                record(self, "write", 90 + number, eventTime=f"2027-0{number}-01T10:00:00Z")
                number -= 1
            self.arrivals = number
            return iter(found)

    table = Busy()
    record(table, "write")
    table.arrivals = 2
    store = AuditStore(table)
    report = verify_account(store, ACCOUNT, ["2026-11"])
    assert (report.faults, report.chain.events) == ((), 3)
    _remove(table, key_of(next(store.event_items(ACCOUNT, "2026-11"))))
    assert verify_account(store, ACCOUNT, store.accounts()[ACCOUNT]).faults != ()


# --- declare ----------------------------------------------------------------------------------------------------------

DECLARE = ("declare", "--account", ACCOUNT, "--from", "now", "--to", "+2h", "--reason", "rotate MFA",
           "--ticket", "OPS-1", "--approver", "Dana Doe")  # fmt: skip


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("now", 0),
        (" NOW ", 0),
        ("+90m", 150),
        ("+2h", 180),
        ("+1d", 60 + 24 * 60),
        ("+1d2h30m", 60 + 26 * 60 + 30),
        ("2026-11-03T13:00Z", 60),
        ("2026-11-03T13:00:00.5+00:00", 60),
        ("2026-11-03T14:00+01:00", 60),
    ],
)
def test_a_moment_as_people_type_it(text: str, minutes: int) -> None:
    """Now is now, a span counts from the base (here an hour later), and ISO 8601 is taken with any zone."""
    assert moment_of(text, NOW + timedelta(hours=1), NOW) == NOW + timedelta(minutes=minutes)


@pytest.mark.parametrize(
    "text", ["", "+", "2h", "+2", "+2x", "-2h", "tomorrow", "2026-11-03", "2026-13-01T00:00Z", "0001-01-01T00:00+14:00"]
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    """Anything else is an error that says what is expected, a moment without a zone included."""
    with pytest.raises(DeclarationError, match=r"Expected is now, \+2h"):
        moment_of(text, NOW, NOW)


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("203.0.113.7", "203.0.113.7/32"),
        (" 203.0.113.0/24 ", "203.0.113.0/24"),
        ("203.0.113.7/24", "203.0.113.0/24"),
        ("2001:db8::/32", "2001:db8::/32"),
    ],
)
def test_an_address_is_one_or_a_network(text: str, network: str) -> None:
    """An address is read as people type it, of both versions."""
    assert str(address_of(text)) == network


@pytest.mark.parametrize("text", ["", "office", "203.0.113.0/33", "0.0.0.0/0", "::/0", "203.0.113.1-9"])
def test_what_is_no_address_is_refused(text: str) -> None:
    """What names no address, or all of them, is an error and never "any"."""
    with pytest.raises(DeclarationError):
        address_of(text)


def test_a_task_is_a_detection_or_an_event() -> None:
    """A detection's name goes with and without `root.`; a misspelt one is answered with those near it."""
    assert task_of("root.mfa_added") == task_of(" mfa_added ") == "mfa_added"
    assert task_of("EnableMFADevice") == "EnableMFADevice"
    with pytest.raises(DeclarationError, match="Did you mean mfa_added"):
        task_of("mfa_aded")
    for text in ("", "a b", "Enable MFA", "é"):
        with pytest.raises(DeclarationError):
            task_of(text)


def test_declare_stores_what_was_typed(command: Command, store: AuditStore) -> None:
    """The declaration is stored with who declared it, and shown with when it ends."""
    answer = command(
        *DECLARE, "--from-address", "203.0.113.9/24", "--task", "root.mfa_added", "--task", "EnableMFADevice"
    )
    assert answer.status == 0, answer.errors
    [use] = store.every_declared_use(ACCOUNT).uses
    assert use.to_at - use.from_at == timedelta(hours=2)
    assert not use.is_late
    assert use.addresses == (OFFICE,)
    assert use.tasks == ("mfa_added", "EnableMFADevice")
    assert use.declared_by == f"arn:aws:iam::{OTHER}:user/dana"
    words = " ".join(answer.out.split())
    assert f"in force {use.id} account {ACCOUNT}" in words
    assert 'OPS-1 "rotate MFA", approved by Dana Doe' in words
    assert "from 203.0.113.0/24 · for mfa_added, EnableMFADevice" in words
    assert "Alerts still come" in words
    assert max(map(len, answer.out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"--account": "1111"}, "twelve digits"),
        ({"--from": "yesterday"}, "is no moment"),
        ({"--from": "2026-11-03T10:00"}, "time zone"),
        ({"--to": "+0h"}, "ends after it begins"),
        ({"--to": "+31d"}, "at most 30 days"),
        ({"--from": "+40d"}, "within 30 days from now"),
        ({"--reason": " "}, "Reason"),
        ({"--reason": "a\nb"}, "Reason"),
        ({"--ticket": "two words"}, "one word"),
        ({"--from-address": "office"}, "An address is"),
        ({"--task": "mfa_aded"}, "Did you mean mfa_added"),
    ],
)
def test_declare_says_what_it_expects(command: Command, store: AuditStore, changes: dict[str, str], words: str) -> None:
    """A declaration that cannot be gives status 2, says why, and stores nothing."""
    arguments = list(DECLARE)
    for name, value in changes.items():
        if name in arguments:
            arguments[arguments.index(name) + 1] = value
        else:
            arguments += [name, value]
    answer = command(*arguments)
    assert (answer.status, answer.out) == (2, "")
    assert words in answer.errors
    assert len(answer.errors.splitlines()) == 1
    assert store.accounts() == {}


def test_root_cannot_announce_itself(store: AuditStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """With root's own credentials nothing is declared."""
    stack = DeployedStack(store, TABLE_NAME, lambda: f"arn:aws:iam::{ACCOUNT}:root")
    monkeypatch.setattr(deployed, "_found", lambda _where: stack)
    answer = run(*DECLARE)
    assert answer.status == 2
    assert "nobody announces himself" in answer.errors
    assert store.accounts() == {}


def test_a_late_declaration_is_told_to_be_late(command: Command) -> None:
    """Whoever declares what has begun is told how alerts will call it."""
    begun = datetime.now(UTC) - timedelta(minutes=90)
    answer = command(*DECLARE[:4], f"{begun:%Y-%m-%dT%H:%M}Z", *DECLARE[5:])
    assert answer.status == 0, answer.errors
    assert "declared afterwards" in " ".join(answer.out.split())
    [line] = command("declared", "list", "--json").lines
    assert (line["state"], line["declared_afterwards"]) == ("in force", True)


def test_list_and_end(command: Command, store: AuditStore) -> None:
    """What is in force is listed first; ending takes the beginning of an id, works once, and stays on record."""
    assert "No root use was declared" in command("declared", "list").out
    [planned] = command(*DECLARE[:4], "+1d", *DECLARE[5:], "--json").lines
    [in_force] = command(*DECLARE, "--json").lines
    [other] = command(*DECLARE[:2], OTHER, *DECLARE[3:], "--json").lines
    listed = command("declared", "list").out
    assert listed.index(in_force["id"]) < listed.index(planned["id"])
    assert [line["id"] for line in command("declared", "list", "--account", OTHER, "--json").lines] == [other["id"]]
    answer = command("declared", "end", in_force["id"][:8])
    assert answer.status == 0, answer.errors
    assert "Ended." in answer.out
    again = command("declared", "end", in_force["id"])
    assert again.status == 1
    assert f"user/dana of {OTHER} ended it at" in again.errors
    states = {line["id"]: line["state"] for line in command("declared", "list", "--json").lines}
    assert states == {planned["id"]: "planned", in_force["id"]: "ended", other["id"]: "in force"}
    [ended] = [use for use in store.every_declared_use(ACCOUNT).uses if use.id == in_force["id"]]
    assert ended.ended_by is not None
    assert ended.until < ended.to_at


@pytest.mark.parametrize("text", ["", "zz", "\x1b[31m"])
def test_end_says_that_there_is_none(command: Command, text: str) -> None:
    """What is no declaration's id gives status 1 and says where to look."""
    assert command(*DECLARE).status == 0
    answer = command("declared", "end", text)
    assert answer.status == 1
    assert "rootwatch declared list" in answer.errors
    assert "\x1b" not in answer.errors


def test_an_altered_declaration_is_named(command: Command, table: Table, store: AuditStore) -> None:
    """A declaration that somebody altered is not listed as one, and gives status 1."""
    assert command(*DECLARE).status == 0
    [use] = store.every_declared_use(ACCOUNT).uses
    [item] = table.get([declared_key(use)])
    assert item is not None
    table.write([Put(item | {"approver": "somebody else"})])
    answer = command("declared", "list")
    assert answer.status == 1
    assert "altered after it was declared" in answer.errors
    assert use.id not in answer.out


# --- on DynamoDB ------------------------------------------------------------------------------------------------------


def test_every_command_on_dynamodb(dynamodb: "DynamoDBClient") -> None:
    """Each command finds its table by name, reads and writes it, and names who is asking."""
    table = DynamoTable(dynamodb, TABLE_NAME)
    play(table)
    store, on_table = AuditStore(table), ("--table", TABLE_NAME)
    incident = incident_of(store)
    assert [line["incident_id"] for line in run("incidents", "--json", *on_table).lines] == [incident.id]
    assert [line["kind"] for line in run("show", incident.id[:10], "--json", *on_table).lines].count("act") == 6
    declared = run(*DECLARE, "--json", *on_table)
    assert declared.status == 0, declared.errors
    assert declared.lines[0]["declared_by"].endswith(":user/moto")
    assert run("declared", "end", declared.lines[0]["id"], *on_table).status == 0
    assert [line["state"] for line in run("declared", "list", "--json", *on_table).lines] == ["ended"]
    verified = run("verify", "--json", *on_table)
    assert (verified.status, verified.lines[0]["records"], verified.lines[0]["declared_uses"]) == (0, 6, 1)
    table.write([Put(next(store.event_items(ACCOUNT, "2026-11")) | {"record": "{}"})])
    assert run("verify", *on_table).status == 1


# --- finding the stack ------------------------------------------------------------------------------------------------


@pytest.fixture
def _no_moto(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_DEFAULT_REGION",
    ):
        monkeypatch.delenv(name, raising=False)
    impatient = Config(connect_timeout=1, read_timeout=1, retries={"total_max_attempts": 1}, proxies={})
    monkeypatch.setattr(deployed, "_CONFIG", impatient)


COMMANDS = (("incidents",), ("show", "20261103"), ("verify",), DECLARE, ("declared", "list"), ("declared", "end", "x"))
MORE_COMMANDS = (("doctor",), ("coverage",), ("redrive",), ("test-alert",), ("deploy-forwarders", "--regions", "all"))
NOWHERE = ("--endpoint-url", "http://127.0.0.1:1")


@pytest.mark.usefixtures("_no_moto")
@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: " ".join(arguments[:2]))
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((*NOWHERE, "--region", "us-east-1"), "no usable AWS credentials"),
        (("--profile", "nobody"), "aws configure list-profiles"),
        ((), "No region is named"),
        (("--region", "us-east-1", "--endpoint-url", "nonsense"), "is no address"),
    ],
)
def test_trouble_with_the_configuration_is_said_in_words(
    arguments: tuple[str, ...], options: tuple[str, ...], words: str
) -> None:
    """Every command says on one line what is missing and what to do, with status 2 and nothing on standard output."""
    answer = run(*arguments, *options)
    assert (answer.status, answer.out) == (2, "")
    assert words in answer.errors
    assert len(answer.errors.splitlines()) == 1


@pytest.mark.usefixtures("_no_moto")
@pytest.mark.parametrize("arguments", MORE_COMMANDS, ids=lambda arguments: arguments[0])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--region", "us-east-1", "--endpoint-url", "http://127.0.0.1:99999"), "99999 is no address"),
        ((*NOWHERE, "--region", "us_east_1"), "us_east_1 is no region"),
    ],
)
def test_a_name_that_cannot_be_one_is_named(arguments: tuple[str, ...], options: tuple[str, ...], words: str) -> None:
    """A port that there cannot be, or a region's name that is none, is what the line names, and nothing else."""
    answer = run(*arguments, *options)
    assert (answer.status, answer.out) == (2, "")
    assert words in answer.errors
    assert len(answer.errors.splitlines()) == 1


@pytest.mark.usefixtures("_no_moto")
def test_an_aws_that_is_out_of_reach_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """With credentials and nobody listening, the address and where to look are named."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    answer = run("incidents", *NOWHERE, "--region", "us-east-1")
    assert answer.status == 2
    assert "AWS is out of reach" in answer.errors
    assert "127.0.0.1:1" in answer.errors


@pytest.mark.usefixtures("_no_moto")
@pytest.mark.parametrize("page", [b"<html><body>Sign in</body></html>", b"<html>Sign in", b"{}", b""])
def test_what_is_not_aws_at_all_is_said_to_be(monkeypatch: pytest.MonkeyPatch, page: bytes) -> None:
    """A sign-in page of the network, or another server's, is no traceback, whatever form it has."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    body = HTTPResponse(io.BytesIO(page), preload_content=False)
    monkeypatch.setattr(URLLib3Session, "send", lambda *_: AWSResponse("http://127.0.0.1:1", 200, HTTPHeaders(), body))
    answer = run("coverage", *NOWHERE, "--region", "us-east-1")

    assert (answer.status, answer.out) == (2, "")
    assert len(answer.errors.splitlines()) == 1


def test_our_own_faults_are_not_taken_for_an_answer() -> None:
    """What is wrong with the command itself is not told as somebody else's fault."""
    with pytest.raises(KeyError):
        deployed.in_reach(lambda: dict[str, int]()["a fault of ours"])


def test_a_table_that_is_not_there(dynamodb: "DynamoDBClient") -> None:
    """A table's name with a mistake in it is said to be one."""
    assert dynamodb is not None
    answer = run("verify", "--table", "no-such-table")
    assert answer.status == 2
    assert "The audit table is not there" in answer.errors


STACK: dict[str, Any] = {
    "StackName": "rootwatch",
    "CreationTime": datetime(2026, 11, 1, tzinfo=UTC),
    "StackStatus": "CREATE_COMPLETE",
}


def _cloudformation(outputs: dict[str, str] | None = None, **error: Any) -> Any:
    client = boto3.client("cloudformation", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    stubber = Stubber(client)
    if error:
        stubber.add_client_error("describe_stacks", **error)
    else:
        found = [{"OutputKey": key, "OutputValue": value} for key, value in (outputs or {}).items()]
        stubber.add_response("describe_stacks", {"Stacks": [STACK | {"Outputs": found}]}, {"StackName": "rootwatch"})
    stubber.activate()
    return client


def test_the_table_is_the_stack_s_output() -> None:
    """The stack says which table is its own; another stack, or none, is said to be that."""
    assert deployed._table_of(_cloudformation({"Other": "x", "AuditTableName": "t"}), "rootwatch") == "t"
    with pytest.raises(deployed.StackNotFoundError, match=r"CREATE_COMPLETE.*no output AuditTableName"):
        deployed._table_of(_cloudformation({"Other": "x"}), "rootwatch")
    missing = _cloudformation(
        service_error_code="ValidationError", service_message="Stack with id rootwatch does not exist"
    )
    with pytest.raises(deployed.StackNotFoundError, match=r"no stack rootwatch in us-east-1\. .*--stack"):
        deployed._table_of(missing, "rootwatch")
    with pytest.raises(exceptions.ClientError):
        deployed._table_of(_cloudformation(service_error_code="AccessDenied"), "rootwatch")


def _answered(code: str, message: str = "no") -> exceptions.ClientError:
    return exceptions.ClientError({"Error": {"Code": code, "Message": message}}, "Query")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            _answered("AccessDenied", "User x may not dynamodb:Query"),
            "AWS refuses Query to these credentials. It says: User x",
        ),
        (_answered("AccessDeniedException"), "AWS refuses Query"),
        (_answered("ExpiredToken"), "have expired"),
        (_answered("ExpiredTokenException"), "have expired"),
        (_answered("UnrecognizedClientException"), "does not know these credentials"),
        (_answered("ThrottlingException"), "slow down"),
        (_answered("ResourceNotFoundException"), "--table"),
        (_answered("Odd\x1b[31m", "text\n\x1b[31m"), "AWS answered Query with Odd"),
        (exceptions.NoCredentialsError(), "no usable AWS credentials"),
        (exceptions.UnauthorizedSSOTokenError(), "have expired"),
        (exceptions.ConnectTimeoutError(endpoint_url="https://x"), "out of reach"),
        (exceptions.InvalidConfigError(error_msg="odd {0} {braces}"), "odd {0} {braces}"),
        (DamagedItemError("An item was changed."), "An item was changed."),
    ],
)
def test_what_aws_answers_is_said_in_words(error: Exception, words: str) -> None:
    """An error is one printable line that says what to do, whether it comes by itself or through the store."""
    through_the_store = StoreUnavailableError("DynamoDB did not do it.")
    through_the_store.__cause__ = error
    for each in (error, through_the_store) if not isinstance(error, StoreError) else (error,):
        said = deployed.in_words(each)
        assert words in said
        assert said.isprintable()


# --- coverage ---------------------------------------------------------------------------------------------------------


def hear(store: AuditStore, account_id: str, region: str, minutes: int, **changes: Any) -> None:
    """Let an account be heard in a region so many minutes ago."""
    at = datetime.now(UTC) - timedelta(minutes=minutes)
    store.write_place(replace(Place(account_id, region, at, heartbeat_at=at, introduced=True), **changes))


def test_coverage_says_who_is_heard(command: Command, store: AuditStore) -> None:
    """Each account and region stands with its last heartbeat, canary and record; a quiet one is the exit status."""
    now = datetime.now(UTC)
    hear(store, ACCOUNT, "us-east-1", 5, canary_at=now, record_at=now - timedelta(days=3))
    alone = command("coverage")
    assert alone.status == 0
    assert coverage.OF_OTHERS not in " ".join(alone.out.split())
    hear(store, "444455556666", "eu-west-1", 150)
    hear(store, "444455556666", "eu-west-2", 10, heartbeat_at=None)
    answer = command("coverage")

    assert answer.status == 1
    lines = [line.split() for line in answer.out.splitlines()]
    assert [ACCOUNT, "us-east-1", "heard", "5", "min", "ago", "0", "min", "ago", "3", "days", "ago"] in lines
    assert ["444455556666", "eu-west-1", "quiet", "2", "h", "ago", "never", "never"] in lines
    assert ["444455556666", "eu-west-2", "waiting", "never", "never", "never"] in lines
    assert "3 regions of 2 accounts, 1 quiet." in answer.out
    assert coverage.OF_OTHERS in " ".join(answer.out.split())


def test_coverage_as_json_lines(command: Command, store: AuditStore) -> None:
    """With --json each account and region is a line of its own, and nothing else is printed."""
    hear(store, ACCOUNT, "us-east-1", 5)
    [line] = command("coverage", "--json").lines

    assert (line["account_id"], line["region"], line["state"]) == (ACCOUNT, "us-east-1", "heard")
    assert line["canary_at"] is None


def test_who_is_gone_for_good_is_retired(command: Command, store: AuditStore) -> None:
    """A retired region is not waited for; one that was never heard is named, with what is expected."""
    hear(store, "444455556666", "eu-west-1", 150)
    answer = command("coverage", "--retire", "444455556666/eu-west-1", "--retire", "Ireland")

    assert answer.status == 2
    assert "444455556666 eu-west-1 is not waited for" in answer.out
    assert "Ireland was never heard" in answer.errors
    again = command("coverage", "--json", "--retire", "444455556666/eu-west-1", "--retire", "Ireland")
    assert [(line["account_id"], line["state"]) for line in again.lines] == [
        ("444455556666", "retired"),
        ("Ireland", "unknown"),
    ]
    [line] = command("coverage", "--json").lines
    assert line["state"] == "retired"
    assert command("coverage").status == 0


def test_a_damaged_place_hides_no_other(command: Command, table: Table, store: AuditStore) -> None:
    """An item that somebody changed is said on standard error; the others are listed."""
    hear(store, ACCOUNT, "us-east-1", 5)
    [item] = [*table.query("COVERAGE")]
    table.write([Put({**item, "sk": "444455556666#eu-west-1"})])
    answer = command("coverage", "--json")

    assert answer.status == 1
    assert len(answer.lines) == 1
    assert "was changed" in answer.errors


# --- test-alert -------------------------------------------------------------------------------------------------------


def answering(store: AuditStore, monkeypatch: pytest.MonkeyPatch, **answers: Any) -> list[Any]:
    """Let the notifiers send whatever is due while the command waits; return the alerts that they were handed."""
    handed: list[Any] = []

    def sleep(_seconds: float) -> None:
        for channel, answer in answers.items():
            for entry in [*store.undelivered(channel)]:

                def send(alert: Any, answer: Any = answer) -> Any:
                    handed.append(alert)
                    if isinstance(answer, Exception):
                        raise answer
                    return answer

                with suppress(DeliveryFailedError):
                    deliver(store, entry.key, send, lambda: datetime.now(UTC), lambda _reason: None)

    monkeypatch.setattr(test_alert.time, "sleep", sleep)  # type: ignore[attr-defined] # the module's own clock
    return handed


def test_a_test_alert_is_seen_on_every_channel(
    command: Command, store: AuditStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alert says that it is a test wherever it is shown, arrives on each channel, and is in no list or count."""
    alerts = answering(store, monkeypatch, slack=Sent("ok"), sns=Sent("id-1"))
    answer = command("test-alert")

    assert (answer.status, len(alerts)) == (0, 2)
    assert "slack: sent (ok)" in answer.out
    assert "sns: sent (id-1)" in answer.out
    alert = alerts[0]
    assert (alert.kind, alert.severity, alert.account_id) == (
        "test",
        "high",
        OTHER,
    )  # who asked is of the stack's account
    mail = sns.publish_arguments(alert, "arn:topic")
    assert mail["Subject"].startswith("[HIGH] TEST of Rootwatch: nothing happened")
    assert mail["MessageAttributes"]["kind"]["StringValue"] == "test"
    for message in (slack.payload(alert), slack.parent_payload(alert, None), slack.plain_payload(alert)):
        assert problem_with(message) is None
        assert "TEST" in message["text"]
        assert "root use" not in message["text"]
    assert command("incidents").out.startswith("No incident")
    assert store.accounts() == {}


REFUSED = DeliveryRefusedError("Slack refused the message for good (404 no_service).")


@pytest.mark.parametrize(
    ("said", "expected"),
    [(REFUSED, ("failed: Slack refused", 1)), (Unconfigured("no secret yet"), ("unconfigured: no secret yet", 0))],
)
def test_a_channel_that_does_not_take_the_test_is_named(
    command: Command, store: AuditStore, monkeypatch: pytest.MonkeyPatch, said: Any, expected: tuple[str, int]
) -> None:
    """What a channel says against a test alert is printed; one without a secret is named and is no failure."""
    answering(store, monkeypatch, slack=said, sns=Sent("id-1"))
    told = command("test-alert", "--severity", "info")

    assert (f"slack: {expected[0]}" in told.out, told.status) == (True, expected[1])


def test_a_test_that_nobody_sends_is_said_to_be_waiting(command: Command) -> None:
    """Where no notifier runs, the command says so when its patience is over."""
    answer = command("test-alert", "--wait", "0", "--json")

    assert answer.status == 1
    assert [line["state"] for line in answer.lines] == ["pending", "pending"]


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_a_test_whose_ledger_was_removed_is_no_success(
    command: Command, store: AuditStore, monkeypatch: pytest.MonkeyPatch, option: list[str]
) -> None:
    """A ledger that is gone while the command waits is named, and is no success: nobody knows whether it was sent."""
    answering(store, monkeypatch, sns=Sent("id-1"))
    found = AuditStore.delivery
    monkeypatch.setattr(
        AuditStore, "delivery", lambda self, key: None if key.sk.startswith("DELIVERY#slack#") else found(self, key)
    )

    answer = command("test-alert", *option)

    assert answer.status == 1
    if option:
        assert [(line["channel"], line["state"]) for line in answer.lines] == [("slack", "gone"), ("sns", "sent")]
    else:
        assert "slack: its ledger was removed from the audit table" in answer.out
        assert "sns: sent (id-1)" in answer.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--reason and --ticket are required"),
        (["--reason", "drill"], "--reason and --ticket are required"),
        (["--confirm", "--reason", "drill"], "leave --reason and --ticket out"),
    ],
)
def test_resolve_says_what_it_needs(options: list[str], words: str) -> None:
    """What is missing, or would be left out silently, is said before anything is asked of AWS."""
    refused = run("resolve", "20261103-0123456789", *options)
    said = " ".join(refused.errors.replace("│", " ").split())
    assert (refused.status, words in said) == (2, True), said
