"""A long session of root on the deployed stack, in any order and delivered twice: the same evidence, nothing untold."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from rootwatch.audit.items import event_key
from rootwatch.context.observation import observe
from rootwatch.detections.detection import OwnResources, Severity
from rootwatch.record import read_document
from rootwatch_cli.demo import ENTRIES_PER_PUT, REPLAY_SOURCE, STACK_NAME, Stage
from tests.builders.long_session import long_session
from tests.e2e.test_commands import lines, run
from tests.e2e.test_whole_way import events_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

ACCOUNT = "222255551111"
PATIENCE = 280.0
VISIBILITY = 20
"""Seconds after which a batch that lost every race comes back here: the emulator runs more functions at once than AWS
would, and the queue's own 300 seconds are long for a test.
"""


def send(stage: Stage, records: Sequence[Mapping[str, Any]]) -> None:
    """Put the records on the bus, through one client: making one takes as long as a batch."""
    events = stage.stack.client("events")
    entries: list[Any] = [
        {"Source": REPLAY_SOURCE, "DetailType": "AWS API Call via CloudTrail", "Detail": json.dumps(record)}
        for record in records
    ]
    for start in range(0, len(entries), ENTRIES_PER_PUT):
        assert events.put_events(Entries=entries[start : start + ENTRIES_PER_PUT])["FailedEntryCount"] == 0


@contextmanager
def visibility_timeout(stage: Stage) -> Iterator[None]:
    """Let messages that failed come back sooner, for the length of the block."""
    queues, url = stage.stack.client("sqs"), stage.deployment.resources["IntakeQueue"]
    before = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
    queues.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": str(VISIBILITY)})
    try:
        yield
    finally:
        queues.set_queue_attributes(QueueUrl=url, Attributes=before)


def wait_until_worked_off(stage: Stage) -> None:
    """Look seldom, and through one client: looking takes time from the functions, which share this machine."""
    queues, url = stage.stack.client("sqs"), stage.deployment.resources["IntakeQueue"]
    names: list[Any] = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        attributes = queues.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        if not any(int(attributes[name]) for name in names):
            return
        time.sleep(2)


def test_a_long_session_shuffled_and_delivered_twice(stage: Stage) -> None:
    """656 records twice in any order leave the 656 events of the session and their hashes in an unbroken chain, and
    every detection at medium or above stands in an alert that was written for both channels.
    """
    records = long_session(ACCOUNT)
    own = OwnResources(STACK_NAME)
    observations = [observe(read_document(record), own) for record in records]
    expected = {(event_key(each).sk, each.record.sha256) for each in observations}
    sent = [*records, *records]
    Random(656).shuffle(sent)  # noqa: S311 - the same order in every run
    with visibility_timeout(stage):
        send(stage, sent)
        wait_until_worked_off(stage)
    stage.let_time_pass(timedelta(minutes=6))  # what was gathered is told
    stage.run_watchdog()
    events = events_of(stage, ACCOUNT)
    alerts = [
        item for item in stage.items() if item["sk"]["S"].startswith("ALERT#") and item["account_id"]["S"] == ACCOUNT
    ]
    told = {detection["S"] for alert in alerts for detection in alert["detections"]["L"]}
    found = {
        finding.detection.id
        for each in observations
        for finding in each.findings
        if finding.severity.rank >= Severity.MEDIUM.rank
    }
    verified = run(stage, "verify", "--account", ACCOUNT, "--json")

    assert {(str(event["sk"]), str(event["sha256"])) for event in events} == expected
    assert sorted(int(event["sequence"]) for event in events) == list(range(1, len(records) + 1))
    assert len(found) >= 5
    assert found <= told
    # What only the story shows: the sign-in after the failure, whichever of them was recorded first.
    assert "root.login_after_failures" in told
    # In an order that no backlog has, the session is cut into pieces; even so it is no flood.
    assert len(alerts) <= len(records) // 10
    assert verified.returncode == 0, verified.stderr
    [report] = lines(verified)
    assert (report["records"], report["faults"]) == (len(records), [])
