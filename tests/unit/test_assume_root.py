"""AssumeRoot: the caller's record and the session's records are one story, whichever half comes first."""

from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from rootwatch.audit.items import issued_key_key
from rootwatch.audit.memory import MemoryTable
from rootwatch.audit.store import AuditStore
from rootwatch.incident import Incident
from rootwatch.pipeline import Fate, Message, detect_messages, run_timers
from tests.builders import build_envelope
from tests.unit.workbench import NOW, Changes, CheckedTable, make_message, make_recorder

CALLER: Final = "444455556666"
AUDIT: Final = "IAMAuditRootUserCredentials"
UNLOCK: Final = "S3UnlockBucketPolicy"
ADDRESS: Final = "203.0.113.9"
MARKED: Final[Changes] = {"userIdentity.sessionContext.assumedRoot": "true"}


def call(number: int, task: str = AUDIT, at: datetime = NOW, **changes: Any) -> dict[str, Any]:
    """The caller's AssumeRoot record for the member account of this number."""
    stated: dict[str, Any] = {
        "eventTime": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "sourceIPAddress": ADDRESS,
        "requestParameters.targetPrincipal": member(number),
        "requestParameters.taskPolicyArn": {"arn": f"arn:aws:iam::aws:policy/root-task/{task}"},
        "responseElements.credentials.accessKeyId": key(number),
    }
    return build_envelope("assumed", number=number, **(stated | changes))


def act(
    number: int, name: str = "ListAccessKeys", at: datetime = NOW + timedelta(seconds=5), **changes: Any
) -> dict[str, Any]:
    """A record of the session in the member account, without any mark, as AWS's own example has it."""
    account = member(number)
    created = at - timedelta(hours=1)  # too old to be recognised by its shape
    stated: dict[str, Any] = {
        "eventTime": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "eventName": name,
        "eventSource": "iam.amazonaws.com",
        "recipientAccountId": account,
        "sourceIPAddress": ADDRESS,
        "userIdentity": {
            "type": "Root",
            "principalId": account,
            "arn": f"arn:aws:iam::{account}:root",
            "accountId": account,
            "accessKeyId": key(number),
            "sessionContext": {
                "attributes": {"creationDate": f"{created:%Y-%m-%dT%H:%M:%SZ}", "mfaAuthenticated": "false"}
            },
        },
    }
    specimen = "read" if name.startswith(("Get", "List")) else "write"
    return build_envelope(specimen, number=number, **(stated | changes))


def member(number: int) -> str:
    """A member account's number."""
    return f"{200_000_000_000 + number}"


def key(number: int) -> str:
    """The access key id that AssumeRoot issued for the member account of this number."""
    return f"ASIAEXAMPLE{number:09}"


class Bench:
    """A table with `detect` in front of it."""

    def __init__(self) -> None:
        self.table = CheckedTable()
        self.store = AuditStore(self.table)

    def take(self, *envelopes: dict[str, Any], receives: int = 2, now: datetime = NOW) -> list[Fate]:
        """Let `detect` take a batch."""
        messages = [make_message(envelope, f"m{n}", now) for n, envelope in enumerate(envelopes)]
        again = [Message(each.id, each.body, each.sent_at, receives) for each in messages]
        return [result.fate for result in detect_messages(again, make_recorder(self.table, now))]

    def incidents(self, account_id: str) -> tuple[Incident, ...]:
        """The open incidents of an account."""
        return self.store.read_account(account_id, (), NOW).incidents

    def alerts(self) -> list[dict[str, Any]]:
        """Every alert so far."""
        return [dict(item) for pk in self.table._partitions for item in self.table.query(pk, "ALERT#")]

    def events(self, account_id: str) -> list[dict[str, Any]]:
        """The event items of an account."""
        return [dict(item) for item in self.store.event_items(account_id, "2026-11")]


def test_the_session_s_records_join_the_caller_s_incident() -> None:
    """By the issued key alone the member's record is an AssumeRoot session's, and part of the caller's story."""
    bench = Bench()
    assert bench.take(call(1), act(1)) == [Fate.RECORDED, Fate.RECORDED]
    [incident] = bench.incidents(CALLER)
    assert bench.incidents(member(1)) == ()
    [event] = bench.events(member(1))
    assert (event["incident_id"], event["actor"], event["sequence"]) == (incident.id, "assumed_root", 1)
    assert (incident.records, incident.members) == (2, (member(1),))
    for account_id in (CALLER, member(1)):
        assert bench.store.verify_chain(account_id, ["2026-11"]).faults == ()


def test_an_audit_of_many_accounts_is_one_quiet_incident() -> None:
    """Root access management opened over 60 accounts is one incident, and one message of low severity in the end."""
    bench = Bench()
    for number in range(60):
        bench.take(call(number))
        bench.take(act(number), act(number, "GetLoginProfile"))
    assert bench.alerts() == []
    [incident] = bench.incidents(CALLER)
    assert (incident.records, len(incident.members)) == (180, 60)
    run_timers(CALLER, make_recorder(bench.table, NOW + timedelta(hours=3)))
    [alert] = bench.alerts()
    assert (alert["kind"], alert["severity"]) == ("summary", "low")


def test_a_read_waits_once_for_its_other_half() -> None:
    """A session's read that comes before its call stays in the queue once, and then joins the call's incident."""
    bench = Bench()
    marked = act(1, **MARKED)
    assert bench.take(marked, receives=1) == [Fate.WAITING]
    assert bench.events(member(1)) == []
    bench.take(call(1))
    assert bench.take(marked, receives=2) == [Fate.RECORDED]
    assert bench.incidents(member(1)) == ()


def test_a_read_whose_other_half_never_comes_is_recorded_and_told() -> None:
    """Where nobody watches the calling account the session's record is news of the member account itself."""
    bench = Bench()
    marked = act(1, **MARKED)
    assert bench.take(marked, receives=2) == [Fate.RECORDED]
    [incident] = bench.incidents(member(1))
    assert incident.story == "assumed-session"
    assert len(bench.alerts()) == 1


def test_a_change_never_waits() -> None:
    """Only a read may wait for its other half."""
    bench = Bench()
    marked = act(1, "CreateUser", **MARKED)
    assert bench.take(marked, receives=1) == [Fate.RECORDED]


@pytest.mark.parametrize(("task", "severity"), [(AUDIT, "info"), (UNLOCK, "critical")])
def test_a_call_beyond_the_task_is_critical(task: str, severity: str) -> None:
    """What the task policy of the call does not permit is critical, even a read; what it permits is not."""
    bench = Bench()
    bench.take(call(1, task), act(1))
    [event] = bench.events(member(1))
    assert event["severity"] == severity
    assert any("root.assumed_session_activity" in alert["detections"] for alert in bench.alerts()) is (
        severity == "critical"
    )


@pytest.mark.parametrize(("task", "beyond"), [(AUDIT, False), (UNLOCK, True)])
def test_what_was_beyond_the_task_is_found_when_the_call_comes_later(task: str, beyond: bool) -> None:  # noqa: FBT001
    """The session's acts are remembered by its key, so that the call which comes after them is judged with them."""
    bench = Bench()
    marked = act(1, **MARKED)
    bench.take(marked)
    bench.take(call(1, task))
    [event] = bench.events(CALLER)
    assert ("root.assumed_session_activity" in event["detections"]) is beyond
    assert (
        any(
            alert["account_id"] == CALLER and alert["severity"] == "critical" and "AssumeRoot" in alert["headline"]
            for alert in bench.alerts()
        )
        is beyond
    )


def test_a_forged_call_ties_nothing() -> None:
    """A record that anybody may have put on the bus issues no key, and a forged session joins nobody's story."""
    bench = Bench()
    bench.take(call(1) | {"source": "my.app"})
    assert bench.table.get([issued_key_key(key(1))]) == [None]
    bench.take(call(1, UNLOCK))
    before = bench.incidents(CALLER)
    bench.take(act(1) | {"source": "my.app"})
    after = bench.incidents(CALLER)
    assert [incident.records for incident in before if incident.story.startswith("assume-root")] == [
        incident.records for incident in after if incident.story.startswith("assume-root")
    ]


def test_a_refused_call_issues_no_key() -> None:
    """A call that was refused has no session."""
    bench = Bench()
    bench.take(call(1, errorCode="AccessDenied", responseElements=None))
    assert bench.table.get([issued_key_key(key(1))]) == [None]


def test_a_conflict_on_the_caller_s_head_folds_again() -> None:
    """Somebody who writes the caller's account meanwhile makes the member's batch start over, and nothing is lost."""

    class Interrupted(MemoryTable):
        """A table in which the caller's head moves once between our reading and our writing."""

        armed = False

        def write(self, puts: Any) -> None:
            """Let another writer in before the first write that touches both accounts."""
            accounts = {put.key.pk for put in puts if put.key.sk == "HEAD"}
            if self.armed and len(accounts) == 2:
                self.armed = False
                other = call(7, at=NOW + timedelta(seconds=2))
                detect_messages([make_message(other, "other", NOW)], make_recorder(self, NOW))
            super().write(puts)

    bench = Bench()
    bench.table = table = Interrupted()  # type: ignore[assignment]
    bench.store = AuditStore(table)
    bench.take(call(1))
    table.armed = True
    assert bench.take(act(1)) == [Fate.RECORDED]
    [incident] = bench.incidents(CALLER)
    assert (incident.records, set(incident.members)) == (3, {member(1), member(7)})
    for account_id in (CALLER, member(1)):
        assert bench.store.verify_chain(account_id, ["2026-11"]).faults == ()
