"""Alert, button, modal, state, message: the way of an answer on the deployed stack."""

import http.client
import json
import os
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.config import Config
from typer.testing import CliRunner, Result

from rootwatch import wiring
from rootwatch.audit.items import Step
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Put, Table
from rootwatch.incident import TriageState
from rootwatch.reception import Reception, receive
from rootwatch_cli.demo import Stage
from rootwatch_cli.local_stack import ACCOUNT_ID, REGION, LocalStackError
from rootwatch_cli.main import app
from rootwatch_cli.slack_receiver import signed_headers
from tests.e2e.test_commands import run
from tests.e2e.test_whole_way import of_account
from tests.e2e.wire import recorded_stage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

PATIENCE = 60.0
PRESSES = 50
OPERATOR: dict[str, str | None] = {"AWS_ACCESS_KEY_ID": ACCOUNT_ID, "AWS_SECRET_ACCESS_KEY": "local"}
RESOLVER = "U0123456789"


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """A stack apart, with a bot that has buttons."""
    try:
        with recorded_stage(
            parameters=lambda _: {"SlackButtons": "true", "SlackResolvers": RESOLVER}, bot=True
        ) as running:
            yield running
    except LocalStackError as error:
        pytest.fail(f"{error}\n{error.detail}")


def alerted(stage: Stage, *account_ids: str) -> list[str]:
    """Let root of each account sign in without MFA, and return the `ts` of their incidents' messages."""
    at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    stage.send([of_account(each, "console_login_without_mfa", eventTime=at) for each in account_ids])
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        parents = {account_id: each.ts for each in stage.slack.parents for account_id in account_ids
                   if account_id in each.payload["text"]}  # fmt: skip
        if len(parents) == len(account_ids) and all(stage.slack.replies(ts) for ts in parents.values()):
            return [parents[account_id] for account_id in account_ids]
        time.sleep(0.1)
    pytest.fail(f"no alert of {account_ids} after {PATIENCE:.0f} s\n{stage.stack.log_tail()}")


def button(stage: Stage, ts: str, action: str) -> str:
    """What a button of the message carries now."""
    blocks = stage.slack.current(ts)["blocks"]
    elements = [element for block in blocks if block["type"] == "actions" for element in block["elements"]]
    return str(next(each["value"] for each in elements if each["action_id"] == f"rootwatch:{action}"))


def wait_for(stage: Stage, ts: str, words: str) -> None:
    """Wait until the message says these words."""
    deadline = time.monotonic() + PATIENCE
    while words not in json.dumps(stage.slack.current(ts)):
        assert time.monotonic() < deadline, f"the message does not say {words}\n{stage.stack.log_tail()}"
        time.sleep(0.1)


def press(stage: Stage, ts: str, action: str, user: str = RESOLVER) -> tuple[int, str]:
    """Press a button of the message."""
    value = button(stage, ts, action)
    return stage.answer(stage.slack.pressed(value, f"rootwatch:{action}", user, "dana"))


def questions(stage: Stage, incident_id: str) -> list[str]:
    """Which of the questions about an incident were asked, as its steps say."""
    return [step.note for step in stage.store().steps(incident_id) if step.kind == "escalated"]


def let_nobody_answer(stage: Stage, minutes: int, incident_id: str, asked: str) -> None:
    """Let so many minutes pass, and run the watchdog until it asked this question about the incident."""
    stage.let_time_pass(timedelta(minutes=minutes))
    deadline = time.monotonic() + PATIENCE
    while asked not in questions(stage, incident_id):
        assert time.monotonic() < deadline, f"nobody was asked {asked}\n{stage.stack.log_tail()}"
        stage.run_watchdog()  # the one that its rule runs every minute may have been under way
        time.sleep(0.2)


class Pager:
    """A queue that is subscribed to the escalation topic, as whoever comes second is."""

    def __init__(self, stage: Stage, name: str) -> None:
        self._queues = stage.stack.client("sqs")
        self._url = self._queues.create_queue(QueueName=name)["QueueUrl"]
        attributes = self._queues.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])["Attributes"]
        topic = stage.deployment.resources["EscalationTopic"]
        stage.stack.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=attributes["QueueArn"])
        self._woken: list[dict[str, Any]] = []

    def woken(self, incident_id: str) -> list[str]:
        """The headlines about an incident so far."""
        while messages := self._queues.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                self._woken.append(json.loads(json.loads(message["Body"])["Message"]))
                self._queues.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return [str(each["headline"]) for each in self._woken if each["incident_id"] == incident_id]

    def wait_for(self, incident_id: str, count: int) -> list[str]:
        """The headlines about an incident, as soon as there are so many."""
        deadline = time.monotonic() + PATIENCE
        while len(found := self.woken(incident_id)) < count:
            assert time.monotonic() < deadline, f"only {found}"
            time.sleep(0.1)
        return found


def by_command(stage: Stage, *arguments: str, **credentials: str) -> Result:
    """Run the command as `run` does, in this process, which takes a third of the time."""
    where = ("--endpoint-url", stage.stack.endpoint_url, "--region", REGION)
    nothing_of_ours = {"AWS_PROFILE": None, "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    done = CliRunner().invoke(app, [*arguments, *where], env=nothing_of_ours | OPERATOR | credentials)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    return done


def moves(steps: list[Step]) -> list[tuple[str, str, str]]:
    """What each step was, whose, and for which ticket."""
    return [(step.kind, step.by, step.ticket) for step in steps]


def test_from_the_alert_to_the_explained_incident(stage: Stage) -> None:
    """Nobody answers an alert, so whoever comes second is woken and the channel called; one press has it acknowledged,
    and nobody is asked any more, as they are about another incident in the same minute; the modal takes reason and
    ticket and resolves it; the message follows; the timeline has every step with who and from where.
    """
    pager = Pager(stage, "pager-of-buttons")
    ts, other = alerted(stage, "333355550001", "333355550004")
    incident_id, unanswered = (button(stage, each, "acknowledge").split()[1] for each in (ts, other))
    let_nobody_answer(stage, 6, incident_id, "1 of 3")
    [woken] = pager.wait_for(incident_id, 1)
    assert woken.startswith("UNANSWERED for 6 min: ")
    deadline = time.monotonic() + PATIENCE
    while len(replies := stage.slack.replies(ts)) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert replies[1].payload["text"].startswith("<!channel> 🔴 CRITICAL: UNANSWERED")

    assert press(stage, ts, "acknowledge") == (200, ""), stage.stack.log_tail()
    wait_for(stage, ts, "Answer: Acknowledged by dana")
    let_nobody_answer(stage, 40, unanswered, "3 of 3")
    assert len(pager.wait_for(unanswered, 2)) == 2
    assert (questions(stage, incident_id), pager.woken(incident_id)) == (["1 of 3"], [woken])

    assert press(stage, ts, "resolve")[0] == 200
    modal = stage.slack.modals[-1]
    typed = {"reason": "replaced the MFA device", "ticket": "OPS-1234"}
    assert stage.answer(stage.slack.submitted(modal, RESOLVER, "dana", typed)) == (200, "")
    wait_for(stage, ts, "Answer: Resolved as expected by dana")

    store = stage.store()
    incident = store.incident(incident_id)
    assert incident is not None
    assert (incident.triage.state, incident.open, incident.triage.asking) == (TriageState.EXPECTED, False, False)
    assert moves(store.steps(incident_id)) == [
        ("escalated", "watchdog", ""),
        ("acknowledged", f"slack:T00000000/{RESOLVER}", ""),
        ("resolved", f"slack:T00000000/{RESOLVER}", "OPS-1234"),
    ]
    assert stage.slack.refusals == ()
    assert store.verify_steps(incident_id).faults == ()
    shown = [json.loads(line) for line in by_command(stage, "show", incident_id, "--json").stdout.splitlines()]
    assert [each["step"] for each in shown if each["kind"] == "step"] == ["escalated", "acknowledged", "resolved"]
    assert [each["alert_kind"] for each in shown if each["kind"] == "alert"].count("unanswered") == 1


def test_what_is_forged_changes_nothing(stage: Stage) -> None:
    """A body that was signed for something else is refused by the function behind its address."""
    [ts] = alerted(stage, "333355550002")
    body = stage.slack.pressed(button(stage, ts, "acknowledge"), "rootwatch:acknowledge", RESOLVER, "dana")
    address, gateway = urlsplit(stage.deployment.outputs["SlackRequestUrl"]), urlsplit(stage.stack.endpoint_url)
    connection = http.client.HTTPConnection(str(gateway.hostname), gateway.port, timeout=60)
    headers = {**signed_headers(b"payload=other", datetime.now(UTC)), "Host": str(address.hostname)}
    connection.request("POST", "/", body, headers)
    assert connection.getresponse().status == 401
    connection.close()
    assert '"action_id": "rootwatch:acknowledge"' in json.dumps(stage.slack.current(ts))


class _Together:
    """A table on which everybody who is about to write an answer waits until all of them are; no lock orders them."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._barrier = threading.Barrier(PRESSES)
        self._waited = threading.local()

    def __getattr__(self, name: str) -> object:
        return getattr(self._table, name)

    def write(self, puts: Sequence[Put]) -> None:
        """Write; the first transaction of each thread when all others are about to."""
        if len(puts) > 1 and not getattr(self._waited, "once", False):
            self._waited.once = True
            self._barrier.wait(PATIENCE)
        self._table.write(puts)


@pytest.fixture
def triage_beside(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reception]:
    """What the deployed function works with, in this process: its settings, the deployed table, secret and Slack."""
    function = stage.stack.client("lambda").get_function_configuration(FunctionName="rootwatch-triage")
    for name, value in function["Environment"]["Variables"].items():
        monkeypatch.setenv(name, value)
    for name, text in {**OPERATOR, "AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": stage.stack.endpoint_url}.items():
        monkeypatch.setenv(name, str(text))
    # Fifty presses in one process wait for each other as no fifty functions would.
    patient = Config(connect_timeout=20, read_timeout=20, max_pool_connections=PRESSES)
    monkeypatch.setattr(wiring, "_ANSWER_CONFIG", patient)
    monkeypatch.setattr(wiring, "_ANSWER_SECONDS", (20.0, 20.0))
    for cached in (wiring._session, wiring.reception):
        cached.cache_clear()
    yield wiring.reception()
    for cached in (wiring._session, wiring.reception):
        cached.cache_clear()


def test_fifty_presses_at_once(stage: Stage, triage_beside: Reception) -> None:
    """Fifty people press what they saw, each with a request that Slack signed, and are about to write at the same
    moment: one of them wins and hears nothing, 49 are told whose it is, and the table has one step.
    """
    [ts] = alerted(stage, "333355550006")
    value = button(stage, ts, "acknowledge")
    incident_id = value.split()[1]
    store = AuditStore(_Together(triage_beside.desk.store._table))  # type: ignore[arg-type] # the rest is the table's own
    reception = replace(triage_beside, desk=replace(triage_beside.desk, store=store))
    before, told = stage.store().read_account("333355550006", (), datetime.now(UTC)), len(stage.slack.told)

    def pressed(number: int) -> dict[str, Any]:
        body = stage.slack.pressed(value, "rootwatch:acknowledge", f"U{number:010}", f"person-{number}")
        headers = {name.lower(): text for name, text in signed_headers(body, datetime.now(UTC)).items()}
        event = {"headers": headers, "requestContext": {"http": {"method": "POST"}}, "body": body.decode()}
        return receive(event, reception)

    with ThreadPoolExecutor(PRESSES) as people:
        answers = list(people.map(pressed, range(PRESSES)))

    assert answers == [{"statusCode": 200, "body": ""}] * PRESSES
    [step] = stage.store().steps(incident_id)
    told_now = [str(each["text"]) for each in stage.slack.told[told:]]
    assert len(told_now) == PRESSES - 1
    assert all(f"Acknowledged by {step.by_name}" in words for words in told_now)
    after = stage.store().incident(incident_id)
    assert after is not None
    assert (after.triage.state, after.triage.by, after.triage.moves, after.triage.steps) == (
        TriageState.ACKNOWLEDGED, step.by_name, 1, 1
    )  # fmt: skip
    assert stage.store().read_account("333355550006", (), datetime.now(UTC)).version == before.version + 1
    wait_for(stage, ts, f"Answer: Acknowledged by {step.by_name}")


def test_the_same_by_the_command_alone(stage: Stage, tmp_path: Path) -> None:
    """Without Slack: what is listed wakes whoever comes second, until the command acknowledges it; then it is called
    suspicious, contained and closed; AWS says who did, root is refused, Slack's message follows all the same; show
    tells every step, and they are handed over as evidence.
    """
    pager = Pager(stage, "pager-of-the-command")
    ts, other = alerted(stage, "333355550003", "333355550005")
    listed = {
        each["account_id"]: each
        for each in [json.loads(line) for line in by_command(stage, "incidents", "--json").stdout.splitlines()]
    }
    incident_id, unanswered = (listed[each]["incident_id"] for each in ("333355550003", "333355550005"))
    assert button(stage, other, "acknowledge").split()[1] == unanswered
    let_nobody_answer(stage, 6, incident_id, "1 of 3")
    [woken] = pager.wait_for(incident_id, 1)

    sts = stage.stack.client("sts")
    arn = f"arn:aws:iam::{ACCOUNT_ID}:role/Responder"
    session = sts.assume_role(RoleArn=arn, RoleSessionName="dana")["Credentials"]
    dana = {
        "AWS_ACCESS_KEY_ID": session["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
        "AWS_SESSION_TOKEN": session["SessionToken"],
    }
    refused = by_command(stage, "ack", incident_id)
    assert (refused.exit_code, "root answers for nobody" in refused.stderr) == (1, True), (
        refused.stderr + stage.stack.log_tail()
    )
    assert run(stage, "ack", incident_id, **dana).returncode == 0
    again = by_command(stage, "ack", incident_id, **dana)
    assert (again.exit_code, "Acknowledged by dana (role Responder)" in again.stderr) == (1, True)
    wait_for(stage, ts, "Answer: Acknowledged by dana (role Responder)")
    let_nobody_answer(stage, 40, unanswered, "3 of 3")
    assert len(pager.wait_for(unanswered, 2)) == 2
    assert (questions(stage, incident_id), pager.woken(incident_id)) == (["1 of 3"], [woken])

    assert by_command(stage, "note", incident_id, "called the custodian", **dana).exit_code == 0
    for command in ("suspicious", "contain", "close"):
        done = by_command(stage, command, incident_id, **dana)
        assert done.exit_code == 0, done.stderr
    wait_for(stage, ts, "Answer: Closed by dana (role Responder)")
    shown = [json.loads(line) for line in by_command(stage, "show", incident_id, "--json").stdout.splitlines()]
    steps = [(each["step"], each["by"].rpartition(":")[2]) for each in shown if each["kind"] == "step"]
    assert steps == [("escalated", "watchdog")] + [
        (kind, "assumed-role/Responder/dana") for kind in ("acknowledged", "noted", "suspected", "contained", "closed")
    ]
    late = by_command(stage, "resolve", incident_id, "--reason", "drill", "--ticket", "OPS-1", **dana)
    assert (late.exit_code, "Closed by" in late.stderr) == (1, True)
    # It says that a record is missing: the incident's clock was put forward, that of its record was not.
    assert by_command(stage, "evidence", incident_id, "--out", str(tmp_path), **dana).exit_code == 1
    with zipfile.ZipFile(tmp_path / f"rootwatch-{incident_id}.zip") as pack:
        told = pack.read(f"rootwatch-{incident_id}/timeline.jsonl").decode().splitlines()
    packed_steps = [each["step"] for each in map(json.loads, told) if each["kind"] == "step"]
    assert packed_steps == [kind for kind, _ in steps]
