"""Floods: whatever fills an incident's sets, what root does besides is told at once and named."""

from datetime import timedelta
from typing import Any

import pytest

from rootwatch.audit.items import incident_item
from rootwatch.audit.memory import MemoryTable
from rootwatch.audit.table import size_of
from rootwatch.incident import MOST_TARGETS
from rootwatch.pipeline import Fate, detect_messages
from tests.builders import build_envelope
from tests.unit.workbench import ACCOUNT, NOW, make_message, make_recorder

SOMEBODY = {
    "type": "IAMUser",
    "arn": f"arn:aws:iam::{ACCOUNT}:user/intern",
    "accountId": ACCOUNT,
    "principalId": "AIDAEXAMPLE0000000009",
    "accessKeyId": "ASIAEXAMPLE000000099",
}
ACTS = (
    ("StopLogging", "cloudtrail.amazonaws.com", {"name": "main"}, "root.logging_tampered"),
    ("CloseAccount", "account.amazonaws.com", None, "root.account_closed"),
    ("DisableRule", "events.amazonaws.com", {"name": "rootwatch-root"}, "root.rootwatch_tampered"),
    ("LeaveOrganization", "organizations.amazonaws.com", None, "root.organization_left"),
    ("GetSecretValue", "secretsmanager.amazonaws.com", {"secretId": "payments"}, "root.secret_read"),
)


class Account:
    """An account whose records go through the whole of `detect`, a second apart."""

    def __init__(self) -> None:
        self.table = MemoryTable()
        self.number = 0

    def happens(self, name: str, source: str, request: Any, **changes: Any) -> list[str]:
        """Let a record happen and return the detections of the alert that it caused, none for no alert."""
        self.number += 1
        now = NOW + timedelta(seconds=self.number)
        envelope = build_envelope(
            "write",
            number=self.number,
            eventName=name,
            eventSource=source,
            requestParameters=request,
            eventTime=f"{now:%Y-%m-%dT%H:%M:%SZ}",
            **changes,
        )
        before = self.alerts()
        [result] = detect_messages([make_message(envelope, sent_at=now)], make_recorder(self.table, now))
        assert result.fate is Fate.RECORDED, result
        new = [alert for alert in self.alerts() if alert not in before]
        return [str(detection) for alert in new for detection in alert["detections"]]

    def alerts(self) -> list[dict[str, Any]]:
        """Every alert so far."""
        return [dict(item) for pk in self.table._partitions for item in self.table.query(pk, "ALERT#")]


def create_users(account: Account) -> None:
    """Root creates 250 users of different names."""
    for number in range(250):
        account.happens("CreateUser", "iam.amazonaws.com", {"userName": f"user-{number}"})


def refused_trails(account: Account) -> None:
    """An IAM user is refused 250 times to delete a trail."""
    for number in range(250):
        account.happens(
            "DeleteTrail",
            "cloudtrail.amazonaws.com",
            {"name": f"trail-{number}"},
            errorCode="AccessDenied",
            userIdentity=SOMEBODY,
        )


@pytest.mark.parametrize("flood", [create_users, refused_trails], ids=["by root", "by somebody refused"])
def test_no_flood_hides_what_root_does_besides(flood: Any) -> None:
    """After a flood of one kind, each of root's other dangerous acts is told at once, by its own name."""
    account = Account()
    account.happens("TerminateInstances", "ec2.amazonaws.com", {"instancesSet": {"items": [{"instanceId": "i-1"}]}})
    flood(account)

    for name, source, request, detection in ACTS:
        assert detection in account.happens(name, source, request), name


def test_a_flood_of_one_kind_is_told_up_to_a_number_and_then_every_ten_minutes() -> None:
    """250 new targets within minutes are at most 25 alerts and one that says there are more."""
    account = Account()
    create_users(account)

    assert len(account.alerts()) <= MOST_TARGETS + 2
    assert sum("full_set" in alert["why"] for alert in account.alerts()) == 1


@pytest.mark.parametrize("name", ["StopLogging", "DeleteTrail"])
def test_a_refusal_does_not_use_up_the_success(name: str) -> None:
    """What was refused, to root or to somebody else, is told again when root succeeds."""
    account = Account()
    act = (name, "cloudtrail.amazonaws.com", {"name": "main"})
    account.happens("CloseAccount", "account.amazonaws.com", None)
    account.happens(*act, errorCode="AccessDenied", userIdentity=SOMEBODY)
    account.happens(*act, errorCode="AccessDenied")

    assert account.happens(*act) == ["root.logging_tampered"]
    assert account.happens(*act) == []


def test_what_was_forged_does_not_use_up_what_is_real() -> None:
    """A record put on the bus by somebody else than AWS leaves its real twin as new as it was."""
    account = Account()
    for number, source in enumerate(("rootwatch.canary", "aws.cloudtrail"), start=1):
        envelope = build_envelope("logging_tampered", number=number) | {"source": source}
        detect_messages([make_message(envelope, sent_at=NOW)], make_recorder(account.table, NOW))
        assert len(account.alerts()) == number
    forged, real = sorted(account.alerts(), key=lambda alert: int(alert["sequence"]))

    assert forged["incident_id"] != real["incident_id"]
    assert {"opened", "new_source", "new_credential"} <= set(real["why"])


def test_a_flooded_incident_still_fits_its_item() -> None:
    """After both floods the largest incident is far from the 400 KB of an item."""
    account = Account()
    create_users(account)
    refused_trails(account)
    store = make_recorder(account.table, NOW).store
    [state] = [store.read_account(ACCOUNT, (), NOW)]

    assert state.incidents
    assert max(size_of(incident_item(incident)) for incident in state.incidents) < 100_000
