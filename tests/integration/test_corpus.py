"""The command on records that nobody here wrote, and on our own specimens: a whole run, from the file to the JSON."""

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


class Root(NamedTuple):
    """One record of root's in the corpus, and what a careful reader says of it."""

    line: int
    name: str
    actor: str
    mfa: bool | None
    outcome: str = "success"


ROOT_RECORDS: Final = (
    Root(4, "event-appmesh-create-virtualnode.json:CreateVirtualNode", "root_console", mfa=True),
    Root(9, "event-cloud-trail-create-bucket.json:CreateBucket", "root_console", mfa=False),
    Root(19, "event-cloud-trail-run-instances.json:RunInstances", "aws_service", mfa=None),
    # The outcome of this sign-in was blanked out before it was published.
    Root(71, "Use of the AWS 'Root' account will create an alert.", "root_console", mfa=True, outcome="unknown"),
    # Its makers take it for an act of AWS; signin.amazonaws.com is a person in the console.
    Root(
        72,
        "AWS 'Root' account activity initiated automatically by an AWS service on your behalf "
        "will not create an alert.",
        "root_console",
        mfa=True,
    ),
    Root(91, "aws_cloudtrail_createvirtualmfadevice.yml:CreateVirtualMFADevice", "root_console", mfa=False),
    Root(92, "aws_cloudtrail_deactivatemfadevice.yml:DeactivateMFADevice", "root_console", mfa=True),
    Root(93, "aws_cloudtrail_deleteaccountpasswordpolicy.yml:DeleteAccountPasswordPolicy", "root_console", mfa=False),
    Root(105, "aws_cloudtrail_deletevirtualmfadevice.yml:DeleteVirtualMFADevice", "root_console", mfa=True),
    Root(107, "aws_cloudtrail_describeeventaggregates.yml:DescribeEventAggregates", "root_console", mfa=True),
    Root(124, "aws_cloudtrail_updateaccountpasswordpolicy.yml:UpdateAccountPasswordPolicy", "root_console", mfa=False),
    Root(130, "Root login with MFA", "root_console", mfa=True),
    Root(131, "Root login without MFA", "root_console", mfa=False),
    Root(132, "GuardDuty - Delete detector", "root_console", mfa=None),
    Root(133, "Config - Stop configuration recorder", "root_console", mfa=None),
    Root(134, "Secrets Manager - Get secret", "root_console", mfa=None),
    Root(135, "EC - Delete Flow Logs", "root_console", mfa=None),
    Root(141, "test_events.json:ConsoleLogin", "root_console", mfa=True),
    Root(147, "GetTags", "root_console", mfa=False),
    Root(148, "GetResources", "aws_service", mfa=False),
    Root(149, "DescribeInstances", "root_console", mfa=False),
    Root(150, "ModifyImageAttribute", "root_console", mfa=False),
    Root(151, "ModifyImageAttribute", "root_console", mfa=False),
    Root(152, "ListBuckets", "root_console", mfa=False),
    Root(153, "AuthorizeSecurityGroupIngress", "root_console", mfa=True),
    Root(154, "CreateBucket", "root_console", mfa=False),
    Root(157, "events-for-smoke-test.json:GetResource", "root_access_key", mfa=False),
    Root(165, "cloudwatch_events_test.go:CreateBucket", "root_console", mfa=False),
    # No mark in it, but the shape of an AssumeRoot session, which it is, as the AssumeRoot one line above it tells.
    Root(898, "DeleteBucketPolicy", "assumed_root", mfa=False),
)


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
        (number, wrapper["name"])
        for number, (wrapper, identity) in enumerate(zip(corpus, identities, strict=True), start=1)
        if isinstance(identity, dict) and identity.get("type") == "Root"
    ]
    assert [(root.line, root.name) for root in ROOT_RECORDS] == found
    assert len(found) == 29


@needs_corpus
@pytest.mark.parametrize("root", ROOT_RECORDS, ids=lambda root: f"{root.line}-{root.name[:40]}")
def test_every_record_of_root_is_understood(inspected: Run, root: Root) -> None:
    """Every record of root's is relevant, with the actor, the outcome and the MFA that a careful reader gives it."""
    line = inspected.lines[root.line - 1]
    assert line["relevant"] is True
    assert line["detections"]
    assert (line["actor"], line["outcome"], line["mfa"]["used"]) == (root.actor, root.outcome, root.mfa)


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
