"""Alert, button, modal, state, message: the way of an answer on the deployed stack."""

import http.client
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest

from rootwatch.incident import TriageState
from rootwatch_cli.demo import Stage, staged
from rootwatch_cli.local_stack import ACCOUNT_ID, LocalStackError
from rootwatch_cli.slack_receiver import signed_headers
from tests.builders.records import build_record
from tests.e2e.test_commands import lines, run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

PATIENCE = 60.0
RESOLVER = "U0123456789"


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """A stack apart, with a bot that has buttons."""
    try:
        with staged(parameters=lambda _: {"SlackButtons": "true", "SlackResolvers": RESOLVER}, bot=True) as running:
            yield running
    except LocalStackError as error:
        pytest.fail(f"{error}\n{error.detail}")


def post(stage: Stage, body: bytes) -> tuple[int, str]:
    """Send what Slack would, signed, to the function's address; its status and its body."""
    address = urlsplit(stage.deployment.outputs["SlackRequestUrl"])
    gateway = urlsplit(stage.stack.endpoint_url)
    connection = http.client.HTTPConnection(str(gateway.hostname), gateway.port, timeout=60)
    try:
        headers = {**signed_headers(body, datetime.now(UTC)), "Host": str(address.hostname)}
        connection.request("POST", "/", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def alerted(stage: Stage, account_id: str) -> str:
    """Let root of an account sign in without MFA, and return the `ts` of its incident's message."""
    account: dict[str, Any] = {
        "recipientAccountId": account_id,
        "userIdentity.accountId": account_id,
        "userIdentity.arn": f"arn:aws:iam::{account_id}:root",
        "userIdentity.principalId": account_id,
    }
    stage.send(
        [build_record("console_login_without_mfa", eventTime=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", **account)]
    )
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = [each.ts for each in stage.slack.parents if account_id in each.payload["text"]]
        if found and stage.slack.replies(found[0]):
            return found[0]
        time.sleep(0.1)
    pytest.fail(f"no alert of {account_id} after {PATIENCE:.0f} s\n{stage.stack.log_tail()}")


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
    return post(stage, stage.slack.pressed(value, f"rootwatch:{action}", user, "dana"))


def test_from_the_alert_to_the_explained_incident(stage: Stage) -> None:
    """An alert has buttons; one press has it acknowledged; the modal takes reason and ticket and resolves it; the
    message follows; the timeline has every step with who and from where.
    """
    ts = alerted(stage, "333355550001")
    incident_id = button(stage, ts, "acknowledge").split()[1]
    assert press(stage, ts, "acknowledge") == (200, ""), stage.stack.log_tail()
    wait_for(stage, ts, "Answer: Acknowledged by dana")

    assert press(stage, ts, "resolve")[0] == 200
    modal = stage.slack.modals[-1]
    typed = {"reason": "replaced the MFA device", "ticket": "OPS-1234"}
    assert post(stage, stage.slack.submitted(modal, RESOLVER, "dana", typed)) == (200, "")
    wait_for(stage, ts, "Answer: Resolved as expected by dana")

    store = stage.store()
    incident = store.incident(incident_id)
    assert incident is not None
    assert (incident.triage.state, incident.open) == (TriageState.EXPECTED, False)
    steps = store.steps(incident_id)
    assert [(step.kind, step.by, step.ticket) for step in steps] == [
        ("acknowledged", f"slack:T00000000/{RESOLVER}", ""),
        ("resolved", f"slack:T00000000/{RESOLVER}", "OPS-1234"),
    ]
    assert stage.slack.refusals == ()


def test_what_is_forged_changes_nothing(stage: Stage) -> None:
    """A body that was signed for something else is refused by the function behind its address."""
    ts = alerted(stage, "333355550002")
    body = stage.slack.pressed(button(stage, ts, "acknowledge"), "rootwatch:acknowledge", RESOLVER, "dana")
    address, gateway = urlsplit(stage.deployment.outputs["SlackRequestUrl"]), urlsplit(stage.stack.endpoint_url)
    connection = http.client.HTTPConnection(str(gateway.hostname), gateway.port, timeout=60)
    headers = {**signed_headers(b"payload=other", datetime.now(UTC)), "Host": str(address.hostname)}
    connection.request("POST", "/", body, headers)
    assert connection.getresponse().status == 401
    connection.close()
    assert '"action_id": "rootwatch:acknowledge"' in json.dumps(stage.slack.current(ts))


def test_the_same_by_the_command_alone(stage: Stage) -> None:
    """Without Slack: the command acknowledges, calls suspicious, contains, closes; AWS says who did, root is refused,
    Slack's message follows all the same, and show tells every step.
    """
    ts = alerted(stage, "333355550003")
    incident_id = button(stage, ts, "acknowledge").split()[1]
    sts = stage.stack.client("sts")
    arn = f"arn:aws:iam::{ACCOUNT_ID}:role/Responder"
    session = sts.assume_role(RoleArn=arn, RoleSessionName="dana")["Credentials"]
    dana = {
        "AWS_ACCESS_KEY_ID": session["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
        "AWS_SESSION_TOKEN": session["SessionToken"],
    }
    refused = run(stage, "ack", incident_id)
    assert (refused.returncode, "root answers for nobody" in refused.stderr) == (1, True), (
        refused.stderr + stage.stack.log_tail()
    )
    assert run(stage, "ack", incident_id[:12], **dana).returncode == 0
    again = run(stage, "ack", incident_id, **dana)
    assert (again.returncode, "Acknowledged by assumed-role/Responder/dana" in again.stderr) == (1, True)
    wait_for(stage, ts, "Answer: Acknowledged by assumed-role/Responder/dana")
    assert run(stage, "note", incident_id, "called the custodian", **dana).returncode == 0
    for command in ("suspicious", "contain", "close"):
        done = run(stage, command, incident_id, **dana)
        assert done.returncode == 0, done.stderr
    wait_for(stage, ts, "Answer: Closed by assumed-role/Responder/dana")
    shown = lines(run(stage, "show", incident_id, "--json"))
    steps = [(each["step"], each["by"].rpartition(":")[2]) for each in shown if each["kind"] == "step"]
    assert steps == [
        (kind, "assumed-role/Responder/dana") for kind in ("acknowledged", "noted", "suspected", "contained", "closed")
    ]
    late = run(stage, "resolve", incident_id, "--reason", "drill", "--ticket", "OPS-1", **dana)
    assert (late.returncode, "Closed by" in late.stderr) == (1, True)
