"""A long session of root, replayed by the command: a handful of alerts, everything new among them, nothing lost."""

import json
import re
import subprocess
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from rootwatch.context.observation import observe
from rootwatch.detections.detection import OwnResources, Severity
from rootwatch.record import read_document
from tests.builders.long_session import INTRUDER, LENGTH, READS, REGIONS, long_session

ROOT = Path(__file__).resolve().parents[2]
MOST_ALERTS = 20

EXPECTED = [
    # the day and time of each alert, why it is told, and an act that its headline names or it lists
    ("03 09:00", "opened signed_in new_source", "signed in to the console"),
    ("03 09:20", "new_detection stage", "UpdateTrail"),
    ("03 09:21", "new_detection", "1 more new act"),  # PutEventSelectors, a minute after it
    ("03 10:00", "new_detection", "CreateTrail"),
    ("03 13:59", "progress", "GOES ON"),
    ("03 14:10", "new_detection", "CreateRole"),
    ("03 14:15", "new_detection", "5 more new acts"),  # the other roles, and their policies
    ("03 15:39", "summary", "ended"),
    ("04 09:57", "opened new_source", "sign-in FAILED"),
    ("04 09:59", "signed_in new_detection new_source severity stage", "signed in after failed attempts"),
    ("04 10:10", "new_detection stage", "UpdateTrail"),
    ("04 10:20", "new_detection", "CreateRole"),
    ("04 10:21", "new_detection", "1 more new act"),  # its policy
    ("04 11:40", "new_detection", "CreateTags"),
    ("04 13:09", "summary", "ended"),
    ("04 16:44", "opened signed_in new_source", "WITHOUT MFA"),
    ("04 16:50", "new_detection stage", "StopLogging"),
    ("04 18:30", "new_detection", "StartLogging"),
    ("04 18:57", "summary", "ended"),
]


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The alerts and the summary that `rootwatch replay --json` prints."""
    file = tmp_path_factory.mktemp("session") / "records.jsonl"
    file.write_text("\n".join(map(json.dumps, long_session())), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "rootwatch_cli", "replay", str(file), "--json"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        timeout=120,
    )
    *alerts, last = [json.loads(line) for line in done.stdout.splitlines()]
    return alerts, last["summary"]


def test_the_session_has_the_shape_of_the_published_one() -> None:
    """656 records in 34 hours: 633 reads in 13 regions, three sign-ins, a failed one, trails changed, roles created."""
    records = long_session()
    reads = [record for record in records if record["readOnly"]]
    names = Counter(record["eventName"] for record in records if not record["readOnly"])
    sign_ins = [record for record in records if record["eventName"] == "ConsoleLogin"]
    times = [datetime.fromisoformat(record["eventTime"]) for record in records]

    assert (len(records), len(reads), len({record["awsRegion"] for record in reads})) == (656, READS, len(REGIONS))
    assert Counter(record["responseElements"]["ConsoleLogin"] for record in sign_ins) == {"Success": 3, "Failure": 1}
    assert names["UpdateTrail"] + names["StopLogging"] >= 3
    assert names["CreateRole"] == 4
    assert 33.5 * 3600 <= (times[-1] - times[0]).total_seconds() <= LENGTH.total_seconds()
    assert len({record["eventID"] for record in records}) == 656
    assert records == long_session()


def test_it_is_a_handful_of_alerts(replayed: tuple[list[dict[str, Any]], dict[str, int]]) -> None:
    """At most 20 alerts tell of the 656 records, and none of these is lost or counted twice."""
    alerts, summary = replayed

    assert len(alerts) <= MOST_ALERTS
    assert summary == {"records": 656, "relevant": 656, "recorded": 656, "duplicates": 0, "incidents": 3,
                       "alerts": len(alerts), "rejected": 0}  # fmt: skip
    assert sum(alert["counts"]["since_last_alert"] for alert in alerts) == 656


def test_each_alert_is_explained_by_its_why(replayed: tuple[list[dict[str, Any]], dict[str, int]]) -> None:
    """Each alert says why it is told, and that is what happened at that moment."""
    alerts, _ = replayed

    found = [(alert["time"][8:16].replace("T", " "), " ".join(alert["why"])) for alert in alerts]
    assert found == [(time, why) for time, why, _ in EXPECTED]
    for alert, (_, _, words) in zip(alerts, EXPECTED, strict=True):
        assert re.search(re.escape(words), alert["headline"]), alert["headline"]


def test_every_new_thing_is_among_them(replayed: tuple[list[dict[str, Any]], dict[str, int]]) -> None:
    """Every sign-in, every address, every detection at medium or above and every record of one at high is told."""
    alerts, _ = replayed
    told = {event_id for alert in alerts for event_id in alert["event_ids"]}
    detections = {detection for alert in alerts for detection in alert["detections"]}
    repeats = Counter[str]()

    for record in long_session():
        observation = observe(read_document(record), OwnResources("rootwatch"))
        if observation.severity is None or observation.severity.rank < Severity.MEDIUM.rank:
            continue
        assert {finding.detection.id for finding in observation.findings} <= detections
        if observation.severity.rank >= Severity.HIGH.rank and record["eventID"] not in told:
            repeats[record["eventName"]] += 1
        elif record["eventName"] == "ConsoleLogin":
            assert record["eventID"] in told
    # Once more on the same trail within the same incident: counted.
    assert repeats == {"PutEventSelectors": 1}
    intruder = next(record for record in long_session() if record["sourceIPAddress"] == INTRUDER)
    [alert] = [alert for alert in alerts if intruder["eventID"] in alert["event_ids"]]
    assert alert["severity"] == "critical"
