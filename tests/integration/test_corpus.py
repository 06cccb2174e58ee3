"""The command on records that nobody here wrote, and on our own specimens: a whole run, from the file to the JSON."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from tests.builders.specimens import EVENTS, PROJECT

COMMAND: Final = Path(sys.executable).with_name("rootwatch")
CORPUS: Final = PROJECT.parent / "shared" / "corpus" / "records.jsonl"
RECORDS: Final = 898
NO_RECORD: Final = 80
"""The one line whose `event` is an empty object: it stands for a finding of another product."""

needs_corpus = pytest.mark.skipif(
    not CORPUS.exists(), reason=f"{CORPUS.parent.name}/{CORPUS.name} is not beside the project"
)


class Verdict(NamedTuple):
    """What a careful reader says of one record in the corpus; `mark` begins the hash of what stands on that line."""

    line: int
    mark: str
    name: str
    actor: str
    mfa: bool | None
    detections: str
    severity: str
    outcome: str = "success"


YES: Final = True
NO: Final = False
NOT_STATED: Final = None
"""What a record says of MFA."""

ROOT_RECORDS: Final = (
    Verdict(4, "b1e435ec", "virtual node made", "root_console", YES, "write", "medium"),
    Verdict(9, "1ef16740", "bucket made", "root_console", NO, "write", "medium"),
    Verdict(19, "520fca31", "instances started by auto scaling", "aws_service", NOT_STATED, "service_acted", "info"),
    # Its result was blanked out before it was published; so it counts as a sign-in.
    Verdict(71, "c49d77c0", "sign-in, blanked", "root_console", YES, "console_login", "high", "unknown"),
    # Its makers take it for an act of AWS; signin.amazonaws.com is a person in the console. What it was is blanked out.
    Verdict(72, "2bf69b43", "something, blanked", "root_console", YES, "write", "medium"),
    # Made, but not yet root's own: EnableMFADevice would be.
    Verdict(91, "3c3b854a", "virtual device made", "root_console", NO, "write", "medium"),
    Verdict(92, "a2e7a4bf", "root's device deactivated", "root_console", YES, "mfa_removed", "critical"),
    Verdict(93, "051d1ef1", "password policy deleted", "root_console", NO, "iam_changed", "high"),
    # From "AWS Internal", as the console does it; the session says that root did.
    Verdict(105, "7336a953", "root's device deleted", "root_console", YES, "mfa_removed", "critical"),
    Verdict(107, "cbe47d2e", "health events looked at", "root_console", YES, "read", "info"),
    Verdict(124, "4c10eedf", "password policy weakened", "root_console", NO, "iam_changed", "high"),
    # The type says Root, the ARN a user: the type counts.
    Verdict(130, "981c8442", "sign-in with MFA", "root_console", YES, "console_login", "high"),
    Verdict(131, "383721db", "sign-in without MFA", "root_console", NO, "console_login_without_mfa", "critical"),
    Verdict(132, "bcd3d579", "detector deleted", "root_console", NOT_STATED, "logging_tampered", "critical"),
    Verdict(133, "2f383721", "recorder stopped", "root_console", NOT_STATED, "logging_tampered", "critical"),
    # Its type is that of another event; the name counts.
    Verdict(134, "f1b0a0f9", "secret read", "root_console", NOT_STATED, "secret_read", "high"),
    Verdict(135, "0e59c836", "flow logs deleted", "root_console", NOT_STATED, "logging_tampered", "critical"),
    Verdict(141, "87865186", "sign-in, texts for booleans", "root_console", YES, "console_login", "high"),
    # invokedBy signin.amazonaws.com and no readOnly: a person, and the verb says that it is a read.
    Verdict(147, "1d0cc34c", "tags looked at", "root_console", NO, "read", "info"),
    Verdict(148, "81dcbf48", "resources looked at by Glue", "aws_service", NO, "service_acted", "info"),
    Verdict(149, "ac9fb7d7", "instances looked at", "root_console", NO, "read", "info"),
    Verdict(150, "23f58e9c", "image closed to everybody", "root_console", NO, "write", "medium"),
    Verdict(151, "48db0493", "image opened to everybody", "root_console", NO, "resource_shared", "high"),
    Verdict(152, "5d6e368b", "buckets looked at", "root_console", NO, "read", "info"),
    Verdict(153, "06af9992", "port opened, to whom is not said", "root_console", YES, "write", "medium"),
    Verdict(154, "cb0a1fdf", "bucket made, 2016", "root_console", NO, "write", "medium"),
    # A long-lived key, although a session stands beside it.
    Verdict(157, "bbcd9952", "read with an access key", "root_access_key", NO, "access_key_used read", "critical"),
    Verdict(165, "1d7dc506", "bucket made, 2017", "root_console", NO, "write", "medium"),
    # An AssumeRoot session in truth, as the AssumeRoot one line above it tells; the record alone does not say so.
    Verdict(898, "733348d3", "bucket policy deleted", "assumed_root", NO, "assumed_session_activity", "medium"),
)  # fmt: skip
"""Every record of root's, read by hand before it was given to the program."""

SOMEBODY: Final = "other_principal"
NAMED_EVENTS: Final = (
    Verdict(31, "30b1e940", "UpdateTrail", SOMEBODY, YES, "logging_tampered", "low"),
    Verdict(32, "a57ee753", "StopLogging", SOMEBODY, NO, "logging_tampered", "high"),
    Verdict(34, "4648d68b", "StopConfigurationRecorder", SOMEBODY, NO, "logging_tampered", "high"),
    # In these four invokedBy is blanked out, so something called on somebody's behalf.
    Verdict(35, "7b7612a6", "DeleteFlowLogs", "aws_service", YES, "logging_tampered", "high"),
    Verdict(37, "3d47c674", "DeleteDetector", "aws_service", YES, "logging_tampered", "high"),
    Verdict(38, "a3ff3bca", "UpdateDetector, off", "aws_service", YES, "logging_tampered", "high"),
    Verdict(39, "610cc50a", "UpdateDetector, on", "aws_service", YES, "logging_tampered", "low"),
    Verdict(95, "fdfe1e15", "DeleteDetector", SOMEBODY, NOT_STATED, "logging_tampered", "high", "error"),
    Verdict(104, "00267440", "DeleteTrail", SOMEBODY, NOT_STATED, "logging_tampered", "high"),
    Verdict(123, "f447be14", "StopLogging", SOMEBODY, NOT_STATED, "logging_tampered", "high"),
    Verdict(127, "5fa46fd0", "UpdateTrail", SOMEBODY, NOT_STATED, "logging_tampered", "low"),
    Verdict(138, "d7bb7a8c", "StopLogging", SOMEBODY, NOT_STATED, "logging_tampered", "high"),
    Verdict(139, "ff018e8f", "UpdateTrail", SOMEBODY, NOT_STATED, "logging_tampered", "low"),
    Verdict(140, "ec78075a", "DeleteTrail", SOMEBODY, NOT_STATED, "logging_tampered", "high"),
    Verdict(158, "ee30ff83", "PutEventSelectors", SOMEBODY, YES, "logging_tampered", "low"),
    Verdict(187, "3c0a18a1", "DeleteTrail", SOMEBODY, NOT_STATED, "logging_tampered", "high", "denied"),
    Verdict(189, "0be59205", "StopLogging", SOMEBODY, NOT_STATED, "logging_tampered", "high", "denied"),
    Verdict(190, "e01c4b74", "UpdateTrail", SOMEBODY, NOT_STATED, "logging_tampered", "low", "denied"),
    Verdict(201, "b39ce76a", "DeleteConfigurationRecorder", SOMEBODY, NOT_STATED, "logging_tampered", "high", "denied"),
    Verdict(202, "64b5a622", "DeleteDeliveryChannel", SOMEBODY, NOT_STATED, "logging_tampered", "high", "denied"),
    Verdict(203, "143b5860", "StopConfigurationRecorder", SOMEBODY, NOT_STATED, "logging_tampered", "high", "denied"),
    Verdict(223, "4d389ac8", "DeleteFlowLogs", SOMEBODY, NOT_STATED, "logging_tampered", "high", "error"),
    Verdict(298, "7f2b5537", "DeleteDetector", SOMEBODY, NOT_STATED, "logging_tampered", "high", "denied"),
    Verdict(309, "0464430a", "StopMonitoringMembers", SOMEBODY, NOT_STATED, "logging_tampered", "high", "denied"),
    Verdict(310, "e2321b7c", "UpdateDetector", SOMEBODY, NOT_STATED, "logging_tampered", "low", "denied"),
    Verdict(388, "6a221389", "LeaveOrganization", SOMEBODY, NOT_STATED, "organization_left", "critical", "denied"),
    Verdict(599, "ab42c929", "DeleteTrail", SOMEBODY, NOT_STATED, "logging_tampered", "high"),
    Verdict(600, "670c9d5b", "PutEventSelectors", SOMEBODY, NOT_STATED, "logging_tampered", "low"),
    Verdict(601, "b75c4535", "StopLogging", SOMEBODY, NOT_STATED, "logging_tampered", "high"),
    Verdict(604, "fa10cfb1", "LeaveOrganization", SOMEBODY, NO, "organization_left", "critical", "denied"),
    Verdict(606, "371f57d0", "DeleteFlowLogs", SOMEBODY, NOT_STATED, "logging_tampered", "high"),
    # With assumedRoot on the caller, who is a role all the same.
    Verdict(897, "e481df3f", "AssumeRoot", SOMEBODY, NO, "assumed", "medium"),
)  # fmt: skip
"""Every other record that concerns root: one of the events that do so whoever causes them."""


class Run(NamedTuple):
    """What one run of the command gave."""

    lines: list[dict[str, Any]]
    status: int
    errors: str


def run(*arguments: str | Path) -> Run:
    """Run the command offline and read the JSON lines that it prints, and nothing but JSON lines."""
    result = subprocess.run(
        [COMMAND, *arguments], capture_output=True, text=True, encoding="utf-8", timeout=110, check=False, cwd=PROJECT
    )
    return Run([json.loads(line) for line in result.stdout.splitlines()], result.returncode, result.stderr)


@pytest.fixture(scope="module")
def corpus() -> list[dict[str, Any]]:
    """Give the wrappers in the corpus, one per line."""
    return [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def inspected() -> Run:
    """Give the result of `inspect` on the corpus, run once."""
    return run("inspect", CORPUS, "--json")


@needs_corpus
def test_inspect_gives_one_line_per_record(inspected: Run, corpus: list[dict[str, Any]]) -> None:
    """Each of the 898 lines gives a line, in order; the one that is no record says so, and so does the exit status."""
    assert "Traceback" not in inspected.errors
    assert len(inspected.lines) == len(corpus) == RECORDS
    broken = [number for number, line in enumerate(inspected.lines, start=1) if "error" in line]
    assert broken == [NO_RECORD]
    assert inspected.lines[NO_RECORD - 1]["position"] == f"line {NO_RECORD}"
    assert inspected.status == 1
    for wrapper, line in zip(corpus, inspected.lines, strict=True):
        assert line.get("event_name") == (wrapper["event"].get("eventName") if "error" not in line else None)


@needs_corpus
def test_the_list_of_root_records_is_whole(corpus: list[dict[str, Any]]) -> None:
    """The records named here are those whose identity is Root, no more and no fewer."""
    identities = [wrapper["event"].get("userIdentity") for wrapper in corpus]
    found = [
        line
        for line, identity in enumerate(identities, start=1)
        if isinstance(identity, dict) and identity.get("type") == "Root"
    ]
    assert [verdict.line for verdict in ROOT_RECORDS] == found
    assert len(found) == 29


@needs_corpus
@pytest.mark.parametrize(
    "verdict", [*ROOT_RECORDS, *NAMED_EVENTS], ids=lambda verdict: f"{verdict.line}-{verdict.name.replace(' ', '-')}"
)
def test_a_record_is_understood_as_by_a_careful_reader(
    inspected: Run, corpus: list[dict[str, Any]], verdict: Verdict
) -> None:
    """Each record that concerns root has the actor, outcome, MFA, detections and severity that were read in it."""
    text = json.dumps(corpus[verdict.line - 1]["event"], sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest().startswith(verdict.mark), "another record stands on this line"
    line = inspected.lines[verdict.line - 1]
    assert line["relevant"] is True
    assert [name.removeprefix("root.") for name in line["detections"]] == verdict.detections.split()
    assert line["severity"] == verdict.severity
    assert (line["actor"], line["outcome"], line["mfa"]["used"]) == (verdict.actor, verdict.outcome, verdict.mfa)


@needs_corpus
def test_no_other_record_concerns_root(inspected: Run) -> None:
    """Without root, only the events that concern it whoever causes them are relevant; all others are nothing to us."""
    relevant = [number for number, line in enumerate(inspected.lines, start=1) if line.get("relevant")]
    assert relevant == sorted(verdict.line for verdict in (*ROOT_RECORDS, *NAMED_EVENTS))
    for number, line in enumerate(inspected.lines, start=1):
        if number not in relevant and number != NO_RECORD:
            assert (line["detections"], line["severity"]) == ([], None)


@needs_corpus
def test_replay_records_each_distinct_relevant_record(inspected: Run, corpus: list[dict[str, Any]]) -> None:
    """The summary's arithmetic holds, and what differs in anything is recorded, also under a shared eventID."""
    replayed = run("replay", CORPUS, "--json")
    assert "Traceback" not in replayed.errors
    *alerts, last = replayed.lines
    summary = last["summary"]
    relevant = [
        json.dumps(wrapper["event"], sort_keys=True)
        for wrapper, line in zip(corpus, inspected.lines, strict=True)
        if line.get("relevant")
    ]
    irrelevant = sum(1 for line in inspected.lines if line.get("relevant") is False)
    assert summary["records"] == RECORDS
    assert summary["rejected"] == 1
    assert summary["relevant"] == len(relevant)
    assert summary["records"] == summary["relevant"] + irrelevant + summary["rejected"]
    assert summary["recorded"] == len(set(relevant))
    assert summary["relevant"] == summary["recorded"] + summary["duplicates"]
    assert summary["alerts"] == len(alerts)
    assert replayed.status == 1
    assert len({alert["alert_id"] for alert in alerts}) == len(alerts)


@needs_corpus
def test_replaying_the_corpus_twice_over_adds_nothing() -> None:
    """The same file named twice gives the same records once, and as many duplicates as there were records."""
    once = run("replay", CORPUS, "--json").lines[-1]["summary"]
    twice = run("replay", CORPUS, CORPUS, "--json").lines[-1]["summary"]
    assert twice["recorded"] == once["recorded"]
    assert twice["duplicates"] == once["duplicates"] + once["relevant"]
    assert twice["incidents"] == once["incidents"]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (f"{folder}{stem}", not folder)
        for stem in ("login_after_failures", "login_spray")
        for folder in ("", "near_misses/")
    ],
)
def test_what_takes_several_records_is_found_in_replay(*, name: str, found: bool) -> None:
    """A success soon after a failure, or failures in two accounts within a day, are found; an hour, or one, are not."""
    replayed = run("replay", EVENTS / f"{name}.json", "--json")
    *alerts, last = replayed.lines
    assert replayed.status == 0
    assert last["summary"]["recorded"] == 2
    assert any(f"root.{name.rpartition('/')[2]}" in alert["detections"] for alert in alerts) is found
    severity = "critical" if "after" in name else "high"
    assert any(alert["severity"] == severity and len(alert["detections"]) > 1 for alert in alerts) is found
