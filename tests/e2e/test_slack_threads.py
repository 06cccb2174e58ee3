"""One thread per incident, on the deployed stack with a bot token in Slack's secret."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from rootwatch_cli.demo import STORY, Stage, wait_until_delivered
from rootwatch_cli.local_stack import LocalStackError
from tests.builders.records import build_record
from tests.e2e.wire import recorded_stage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

PATIENCE = 60.0
ACCOUNT = "333355558888"


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """A stack apart, whose secret holds a bot token."""
    try:
        with recorded_stage(bot=True) as running:
            yield running
    except LocalStackError as error:
        pytest.fail(f"{error}\n{error.detail}")


def test_an_incident_is_one_thread(stage: Stage) -> None:
    """The story's alerts are one message in the channel, a reply each, broadcast when high or critical; each reply is
    its ledger's receipt, and the first message says how the incident stands after the last: at the end, closed.
    """
    session: dict[str, Any] = {"userIdentity.sessionContext.attributes.creationDate": "2026-11-03T02:14:07Z"}
    for number, act in enumerate(STORY):
        account: dict[str, Any] = {
            "recipientAccountId": ACCOUNT,
            "userIdentity.accountId": ACCOUNT,
            "userIdentity.arn": f"arn:aws:iam::{ACCOUNT}:root",
            "userIdentity.principalId": ACCOUNT,
        }
        changes = account | (session if number > 1 else {})
        stage.send([build_record(act.specimen, number=number, **changes)])
        assert len(stage.slack.wait_for(number + 1, PATIENCE)) == number + 1
    [parent] = stage.slack.parents
    deadline = time.monotonic() + PATIENCE
    while f"Alerts: {len(STORY)}" not in json.dumps(stage.slack.current(parent.ts)) and time.monotonic() < deadline:
        time.sleep(0.2)
    now = json.dumps(stage.slack.current(parent.ts))
    replies = stage.slack.replies(parent.ts)
    ledgers = [each for each in stage.ledgers() if each["channel"]["S"] == "slack"]

    for words in ("OPEN", ACCOUNT, "Severity: critical", f"Records: {len(STORY)}", f"Alerts: {len(STORY)}"):
        assert words in now
    assert [reply.broadcast for reply in replies] == [False, True, True, True]
    assert sorted(each["receipt"]["S"] for each in ledgers) == [reply.ts for reply in replies]
    assert {each["state"]["S"] for each in ledgers} == {"sent"}
    stage.let_incidents_end()
    assert len(stage.slack.wait_for(len(STORY) + 1, PATIENCE)) == len(STORY) + 1
    wait_until_delivered(stage)
    assert "CLOSED" in stage.slack.current(parent.ts)["text"]
    assert stage.slack.parents == (parent,)
    assert stage.slack.refusals == ()
