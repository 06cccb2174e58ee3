"""What becomes of an alert when Slack is busy, broken or gone."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from rootwatch_cli.demo import Stage
from rootwatch_cli.local_stack import LocalStackError
from rootwatch_cli.slack_receiver import Behaviour
from tests.builders.records import build_record
from tests.e2e.wire import recorded_stage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

PATIENCE = 60.0


@pytest.fixture(scope="module")
def own_stage() -> Iterator[Stage]:
    """A stack apart: for the other tests a refusal by Slack is a failure."""
    try:
        with recorded_stage() as running:
            yield running
    except LocalStackError as error:
        pytest.fail(f"{error}\n{error.detail}")


def sign_in_of(account_id: str) -> dict[str, Any]:
    """A successful root sign-in in an account of the test's own."""
    changes: dict[str, Any] = {
        "recipientAccountId": account_id,
        "userIdentity.accountId": account_id,
        "userIdentity.arn": f"arn:aws:iam::{account_id}:root",
        "userIdentity.principalId": account_id,
    }
    return build_record("console_login", **changes)


def ledgers_once(stage: Stage, account_id: str, state: str) -> dict[str, dict[str, Any]]:
    """The account's deliveries by channel, as soon as the one to Slack has this state and SNS has answered."""
    deadline = time.monotonic() + PATIENCE
    ledgers: dict[str, dict[str, Any]] = {}
    while time.monotonic() < deadline:
        ledgers = {item["channel"]["S"]: item for item in stage.ledgers() if item["account_id"]["S"] == account_id}
        if states(ledgers) == {"slack": state, "sns": "sent"}:
            break
        time.sleep(0.2)
    return ledgers


def states(ledgers: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The state of each channel's delivery."""
    return {channel: item["state"]["S"] for channel, item in ledgers.items()}


def subscribed_of(stage: Stage, account_id: str) -> list[dict[str, Any]]:
    """What reached the topic's subscriber about the account."""
    return [each for each in stage.subscriber_messages() if each["account_id"] == account_id]


def test_an_alert_outlives_trouble_on_slack(own_stage: Stage) -> None:
    """What Slack did not take is sent again and arrives once; for a webhook that is gone the ledger says failed, never
    sent; the failed attempt stays in the ledger; and SNS has each alert once, whatever Slack does.
    """
    account_id = "333344440001"
    own_stage.slack.answer_with(Behaviour.SERVER_ERROR, times=1)
    own_stage.send([sign_in_of(account_id)])
    ledgers = ledgers_once(own_stage, account_id, "sent")
    attempts = [attempt["M"]["error"] for attempt in ledgers["slack"]["attempts"]["L"]]

    assert states(ledgers) == {"slack": "sent", "sns": "sent"}
    assert [next(iter(error)) for error in attempts] == ["S", "NULL"]
    assert len(own_stage.slack.refusals) == 1
    assert len(own_stage.slack.messages) == 1
    assert len(subscribed_of(own_stage, account_id)) == 1

    # Last, and not in a test of its own: this alert is tried again, and would use up another one's trouble.
    account_id = "333344440002"
    own_stage.slack.answer_with(Behaviour.NO_SERVICE)
    own_stage.send([sign_in_of(account_id)])
    ledgers = ledgers_once(own_stage, account_id, "failed")

    assert states(ledgers) == {"slack": "failed", "sns": "sent"}
    assert not ledgers["slack"].get("receipt", {}).get("S")
    assert len(own_stage.slack.messages) == 1
    assert len(subscribed_of(own_stage, account_id)) == 1
