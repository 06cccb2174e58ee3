"""The command as a person or a script calls it, in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "rootwatch_cli"]

INSPECT_FIELDS = [
    "event_id", "event_time", "account_id", "account_name", "region", "event_source", "event_name", "relevant", "actor",
    "outcome", "detections", "severity", "target_account_id", "mfa", "source", "client", "root_only_task",
    "role_alternative", "addendum", "problems",
]  # fmt: skip
ALERT_FIELDS = [
    "alert_id", "incident_id", "account_id", "time", "why", "severity", "headline", "detections", "event_ids", "counts",
    "chain",
]  # fmt: skip


def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Run the command in the project's folder and return what it printed."""
    done = subprocess.run([*COMMAND, *arguments], input=stdin, capture_output=True, check=False, cwd=ROOT, timeout=60)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def test_a_line_of_inspect_has_the_fields_that_scripts_rely_on() -> None:
    """Every line of `inspect --json` has the same fields in the same order."""
    lines = [json.loads(line) for line in run("inspect", "events", "--json").stdout.splitlines()]

    assert len(lines) > 50
    for line in lines:
        assert list(line) == INSPECT_FIELDS
        assert list(line["mfa"]) == ["used", "device", "serial", "from"]
        assert list(line["source"]) == ["kind", "ip", "raw", "trusted", "owner", "country"]
        assert list(line["client"]) == ["kind", "name"]


def test_replay_prints_alerts_and_then_one_summary() -> None:
    """Every line of `replay --json` is an alert, but the last, whose counts add up."""
    *alerts, last = [json.loads(line) for line in run("replay", "events", "--json").stdout.splitlines()]
    summary = last["summary"]

    assert alerts
    assert all(list(alert) == ALERT_FIELDS for alert in alerts)
    assert list(summary) == ["records", "relevant", "recorded", "duplicates", "incidents", "alerts", "rejected"]
    assert summary["alerts"] == len(alerts)
    assert summary["relevant"] == summary["recorded"] + summary["duplicates"]


@pytest.mark.parametrize("channel", ["slack", "sns"])
def test_render_prints_what_the_channel_is_sent_and_nothing_else(channel: str) -> None:
    """With `--render` there is one JSON object per alert and no summary."""
    alerts = len(run("replay", "events", "--json").stdout.splitlines()) - 1
    lines = [json.loads(line) for line in run("replay", "events", "--render", channel).stdout.splitlines()]

    assert len(lines) == alerts
    expected = {"text", "blocks"} if channel == "slack" else {"TopicArn", "Subject", "Message", "MessageStructure"}
    assert all(expected <= set(line) for line in lines)


@pytest.mark.parametrize("command", ["inspect", "replay"])
def test_bad_input_is_named_and_the_good_beside_it_read(command: str, tmp_path: Path) -> None:
    """What cannot be read gives an error and status 1; the record beside it is still read, without a traceback."""
    good = (ROOT / "events" / "console_login.json").read_bytes()
    done = run(command, "-", str(tmp_path / "missing.json"), "--json", stdin=b"{broken\n" + good)
    lines = [json.loads(line) for line in done.stdout.splitlines()]

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    if command == "inspect":
        assert [line["event_name"] for line in lines if "event_name" in line] == ["ConsoleLogin"]
        assert [line["file"] for line in lines if "error" in line] == ["-", str(tmp_path / "missing.json")]
    else:
        assert lines[-1]["summary"]["recorded"] == 1
        assert f"{tmp_path / 'missing.json'}, file: cannot be opened" in done.stderr


@pytest.mark.parametrize("command", ["inspect", "replay"])
def test_a_network_that_is_none_is_refused_in_words(command: str) -> None:
    """A trusted network that is none ends the command with status 2, its position and what is expected."""
    done = run(command, "events", "--trusted-network", "203.0.113.0/24", "--trusted-network", "office")

    assert (done.returncode, done.stdout) == (2, "")
    assert "Entry 2 of --trusted-network" in done.stderr
    assert "Traceback" not in done.stderr


def test_inspect_says_which_sources_are_trusted() -> None:
    """With a trusted network every address is in it or not; without one nothing is said."""
    networks = ("--trusted-network", "203.0.113.0/24", "--trusted-network", "2001:db8::/32")
    sources = [json.loads(line)["source"] for line in run("inspect", "events", "--json", *networks).stdout.splitlines()]

    for source in sources:
        expected = source["ip"].startswith(("203.0.113.", "2001:db8:")) if source["ip"] else None
        assert source["trusted"] is expected
    assert {source["trusted"] for source in sources} == {True, False, None}
    silent = [json.loads(line)["source"] for line in run("inspect", "events", "--json").stdout.splitlines()]
    assert {source["trusted"] for source in silent} == {None}


def test_inspect_names_the_accounts_that_it_is_told() -> None:
    """With a name for an account every record of it has that name, and a record of another has none."""
    names = ("--account-name", "111122223333=Production", "--account-name", "444455556666=Audit")
    lines = [json.loads(line) for line in run("inspect", "events", "--json", *names).stdout.splitlines()]

    expected = {"111122223333": "Production", "444455556666": "Audit"}
    assert {line["account_id"] for line in lines} >= set(expected)
    assert all(line["account_name"] == expected.get(line["account_id"]) for line in lines)


def test_replay_names_the_accounts_that_it_is_told() -> None:
    """With a name for an account its alerts are headed by name and number."""
    done = run("replay", "events/console_login.json", "--json", "--account-name", "111122223333=Production")
    *alerts, _ = [json.loads(line) for line in done.stdout.splitlines()]

    assert alerts
    assert all("account Production (111122223333)" in alert["headline"] for alert in alerts)


@pytest.mark.parametrize("command", ["inspect", "replay"])
def test_a_name_that_is_none_is_refused_in_words(command: str) -> None:
    """What is no account's name ends the command with status 2, its position and what is expected."""
    done = run(command, "events", "--account-name", "Production")

    assert (done.returncode, done.stdout) == (2, "")
    assert "Entry 1 of --account-name" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_found_is_not_the_same_as_no_root_use(tmp_path: Path) -> None:
    """An empty folder is said to hold no records, on standard error."""
    done = run("inspect", str(tmp_path), "--json")

    assert (done.returncode, done.stdout) == (0, "")
    assert "No records were found" in done.stderr


def test_a_reader_who_has_had_enough_sees_no_traceback() -> None:
    """A pipe that is closed early ends the command quietly."""
    command = f"{' '.join(COMMAND)} inspect events events events events --json | head -n 1"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)

    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_a_specimen_is_printed_as_it_is_or_as_sqs_delivers_it() -> None:
    """`specimen` prints the file; with `--for detect` the event that invokes the function, one message per envelope."""
    plain = json.loads(run("specimen", "login_after_failures").stdout)
    wrapped = json.loads(run("specimen", "login_after_failures", "--for", "detect").stdout)

    assert [json.loads(record["body"]) for record in wrapped["Records"]] == plain
    assert all(record["eventSource"] == "aws:sqs" for record in wrapped["Records"])
    assert all(record["attributes"]["SentTimestamp"].isdigit() for record in wrapped["Records"])


def test_an_unknown_specimen_is_answered_with_those_there_are() -> None:
    """A name that is not there gives status 1 and the names that are."""
    done = run("specimen", "../template")

    assert done.returncode == 1
    assert "console_login" in done.stderr
