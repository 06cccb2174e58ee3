"""What the deployed watchdog does by itself, when its rule fires, with nothing arriving."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest

from rootwatch.audit.items import moment_text
from rootwatch_cli.demo import STACK_NAME, Stage
from tests.builders.records import build_record

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

PATIENCE = 100.0
"""Seconds; the emulator looks at its schedules every ten, so a run comes within seventy."""

T = TypeVar("T")


def eventually(look: Callable[[], T], enough: Callable[[T], object]) -> T:
    """Look until it is enough, and return what was seen last."""
    deadline = time.monotonic() + PATIENCE
    seen = look()
    while not enough(seen) and time.monotonic() < deadline:
        time.sleep(0.5)
        seen = look()
    return seen


def let_incidents_rest(stage: Stage, account_id: str, hours: int) -> int:
    """Let hours pass: move the moments in the account's incidents back, since a function's clock cannot be moved on."""
    moved = 0
    earlier = {":then": {"S": moment_text(datetime.now(UTC) - timedelta(hours=hours))}}
    for item in stage.items():
        if item["sk"]["S"] == "INCIDENT" and item["account_id"]["S"] == account_id:
            stage.stack.client("dynamodb").update_item(
                TableName=f"{STACK_NAME}-audit",
                Key={"pk": item["pk"], "sk": item["sk"]},
                UpdateExpression="SET opened_at = :then, last_at = :then, touched_at = :then, reported_at = :then",
                ExpressionAttributeValues=earlier,
            )
            moved += 1
    return moved


def slack_texts(stage: Stage, account_id: str) -> list[str]:
    """The notification texts of the Slack messages about an account."""
    return [message.payload["text"] for message in stage.slack.messages if account_id in message.payload["text"]]


def test_an_incident_ends_by_the_clock_alone(stage: Stage) -> None:
    """When root rests for longer than IncidentIdleMinutes, the summary reaches Slack without any further record."""
    account_id = "222233332222"
    changes: dict[str, Any] = {
        "recipientAccountId": account_id,
        "userIdentity.accountId": account_id,
        "userIdentity.arn": f"arn:aws:iam::{account_id}:root",
        "userIdentity.principalId": account_id,
    }
    stage.send([build_record("console_login", **changes)])
    assert len(eventually(lambda: slack_texts(stage, account_id), bool)) == 1
    assert let_incidents_rest(stage, account_id, hours=2) == 1
    texts = eventually(lambda: slack_texts(stage, account_id), lambda found: len(found) >= 2)
    # The message is out before its receipt is in the ledger.
    eventually(
        lambda: {
            item["state"]["S"]
            for item in stage.items()
            if item["sk"]["S"].startswith("DELIVERY#") and item["account_id"]["S"] == account_id
        },
        lambda states: states == {"sent"},
    )

    assert len(texts) == 2
    assert "ended" in texts[1]
    assert stage.store().read_account(account_id, (), datetime.now(UTC)).incidents == ()
    assert stage.store().verify_chain(account_id, ["2026-11"]).faults == ()
