"""The commands on the deployed stack, each in a process of its own: found by its name, read and written for real."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rootwatch_cli.demo import Stage
from rootwatch_cli.local_stack import ACCOUNT_ID, REGION
from tests.e2e.test_whole_way import _at_least, eventually, of_account, slack_texts

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "rootwatch_cli"]
ACCOUNT = "222233334455"
ANNOUNCED = "222233334466"
DECLARE = ("declare", "--account", ANNOUNCED, "--from", "now", "--to", "+30m", "--reason", "close the account",
           "--ticket", "OPS-7", "--approver", "Dana Doe", "--task", "account_closed")  # fmt: skip


def run(stage: Stage, *arguments: str, **credentials: str) -> subprocess.CompletedProcess[str]:
    """Run the command on the emulator, with nothing of this machine's own AWS set-up."""
    environment = {
        "PATH": os.defpath,
        "COLUMNS": "80",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_ACCESS_KEY_ID": ACCOUNT_ID,
        "AWS_SECRET_ACCESS_KEY": "local",
    }
    done = subprocess.run(
        [*COMMAND, *arguments, "--endpoint-url", stage.stack.endpoint_url, "--region", REGION],
        env=environment | credentials,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    return done


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """Standard output as JSON lines."""
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_happened_can_be_listed_shown_and_verified(stage: Stage) -> None:
    """After a sign-in and a new key the incident is listed, shown act by act with its receipts, and verified."""
    stage.send([of_account(ACCOUNT, "console_login_without_mfa")])
    eventually(lambda: slack_texts(stage, ACCOUNT), _at_least(1))
    stage.send([of_account(ACCOUNT, "access_key_created")])
    eventually(lambda: slack_texts(stage, ACCOUNT), _at_least(2))

    [incident] = [each for each in lines(run(stage, "incidents", "--month", "2026-11", "--json"))
                  if each["account_id"] == ACCOUNT]  # fmt: skip
    shown = eventually(
        lambda: run(stage, "show", incident["incident_id"]), lambda done: "not tried yet" not in done.stdout
    )
    words = " ".join(shown.stdout.split())
    verified = run(stage, "verify", "--account", ACCOUNT)

    assert (incident["state"], incident["severity"]) == ("open", "critical")
    assert shown.returncode == 0, shown.stderr
    assert "Root signed in to the console WITHOUT MFA, from 203.0.113.7" in words
    assert "Root created an access key for itself on AKIAEXAMPLE000000001, from 203.0.113.7, us-east-1" in words
    assert len(re.findall(r"alert [12]: .*? → slack [0-9:]{8}, sns [0-9:]{8}", words)) == 2
    assert verified.returncode == 0, verified.stderr
    assert f"account {ACCOUNT} 2 records, 0 declared uses, 0 steps of triage intact" in " ".join(
        verified.stdout.split()
    )


def test_root_use_is_declared_listed_and_ended(stage: Stage) -> None:
    """A role declares root use and ends it; root itself cannot; the declaration stays verified beside the records."""
    sts = stage.stack.client("sts")
    role = sts.assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT_ID}:role/RootCustodian", RoleSessionName="alice")[
        "Credentials"
    ]
    alice = {
        "AWS_ACCESS_KEY_ID": role["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": role["SecretAccessKey"],
        "AWS_SESSION_TOKEN": role["SessionToken"],
    }
    refused = run(stage, *DECLARE)
    declared = run(stage, *DECLARE, "--json", **alice)
    [listed] = lines(run(stage, "declared", "list", "--account", ANNOUNCED, "--json"))
    ended = run(stage, "declared", "end", listed["id"][:8], "--account", ANNOUNCED, **alice)
    [after] = lines(run(stage, "declared", "list", "--account", ANNOUNCED, "--json"))
    [report] = lines(run(stage, "verify", "--account", ANNOUNCED, "--json"))

    assert refused.returncode == 2
    assert "nobody announces himself" in refused.stderr
    assert lines(declared) == [listed]
    assert (listed["state"], listed["declared_by"].rpartition(":")[2]) == (
        "in force",
        "assumed-role/RootCustodian/alice",
    )
    assert ended.returncode == 0, ended.stderr
    assert after["state"] == "ended"
    assert (report["declared_uses"], report["faults"]) == (1, [])


def test_a_stack_that_is_not_there(stage: Stage) -> None:
    """Another stack's name is answered with where to look, status 2 and no traceback."""
    done = run(stage, "incidents", "--stack", "no-such-stack")

    assert (done.returncode, done.stdout) == (2, "")
    assert f"There is no stack no-such-stack in {REGION}" in done.stderr
