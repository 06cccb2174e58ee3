"""`rootwatch report`, offline and on a deployed table, as a person and as a script see it."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from make import report_schema
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Table
from rootwatch.report.aggregate import Reading
from rootwatch.report.compose import make_report
from rootwatch.report.model import Origin, period_of
from rootwatch_cli import deployed
from rootwatch_cli.deployed import DeployedStack
from rootwatch_cli.main import app
from tests.builders import build_record
from tests.contracts.conftest import TABLE_NAME
from tests.unit.report_world import LATER, MONTH, filled, play
from tests.unit.test_report_model import credential_report
from tests.unit.workbench import ACCOUNT, CheckedTable

MONTH_OF_FILES = "2024-02"


def run(*arguments: str) -> Any:
    """Run the command; a traceback fails the test."""
    result = CliRunner().invoke(app, ["report", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """A file of CloudTrail records: root signs in and looks around, and somebody else of another account does."""
    found = [
        build_record("console_login_without_mfa", eventTime="2024-02-29T08:00:00Z"),
        build_record("read", eventTime="2024-02-29T08:01:00Z"),
        build_record("read", eventTime="2024-02-29T08:02:00Z", recipientAccountId="444455556666",
                     userIdentity={"type": "IAMUser", "accountId": "444455556666"}),
    ]  # fmt: skip
    path = tmp_path / "records.json"
    path.write_text(json.dumps({"Records": found}))
    return path


def test_from_files(records: Path, tmp_path: Path) -> None:
    """Three files are written and named; the account without root use has its statement too."""
    out = tmp_path / "new" / "folder"
    result = run("--from", str(records), "--month", MONTH_OF_FILES, "--out", str(out), "--json")
    told = json.loads(result.stdout)

    assert result.exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == [
        f"root-usage-{MONTH_OF_FILES}.{kind}" for kind in ("csv", "html", "json")
    ]
    assert sorted(told["files"]) == sorted(str(path) for path in out.iterdir())
    assert told["uses"] == 1
    content = json.loads((out / f"root-usage-{MONTH_OF_FILES}.json").read_text())
    jsonschema.Draft202012Validator(report_schema.schema()).validate(content)
    assert [each["statement"] for each in content["statements"]][1] == "No root use recorded; monitoring not proven."


def test_declarations_out_of_a_file(records: Path, tmp_path: Path) -> None:
    """What was declared is compared with the records, as a list or as the lines of `declared list --json`."""
    declaration = {
        "account_id": ACCOUNT, "from": "2024-02-29T07:30:00Z", "to": "2024-02-29T09:00:00Z", "reason": "a drill",
        "ticket": "OPS-9", "approver": "Dana", "declared_by": "arn:aws:iam::444455556666:user/dana",
        "declared_at": "2024-02-28T00:00:00Z", "addresses": [], "tasks": [],
    }  # fmt: skip
    file = tmp_path / "declared.json"
    arguments = (
        "--from",
        str(records),
        "--month",
        MONTH_OF_FILES,
        "--out",
        str(tmp_path),
        "--json",
        "--declared",
        str(file),
    )
    for text in (json.dumps([declaration]), f"{json.dumps(declaration)}\n", f"{json.dumps(declaration)}\n" * 2):
        file.write_text(text)
        assert "undeclared" not in json.loads(run(*arguments).stdout)["exceptions"]
    file.write_text("[]")
    assert json.loads(run(*arguments).stdout)["exceptions"]["undeclared"] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--month", "2024-13"), "2026-11"),
        (("--month", "9998-01"), "has not begun"),
        (("--month", MONTH_OF_FILES, "--declared", "{here}/missing.json"), "--declared"),
        (("--month", MONTH_OF_FILES, "--declared", "{here}/broken.json"), "neither a JSON list nor JSON lines"),
        (("--month", MONTH_OF_FILES, "--declared", "{here}/empty.json"), "declaration 1"),
        (("--month", MONTH_OF_FILES, "--credential-report", "{here}/empty.json"), "get-credential-report"),
        (("--month", MONTH_OF_FILES, "--out", "{here}/empty.json"), "--out"),
    ],
)
def test_bad_input_is_said_in_a_line(records: Path, tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    """What is wrong, and what is expected, is one line on standard error; nothing is written."""
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "empty.json").write_text("[{}]")
    out = tmp_path / "out"
    given = [each.replace("{here}", str(tmp_path)) for each in arguments]
    result = run("--from", str(records), *(() if "--out" in given else ("--out", str(out))), *given)

    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert not out.exists() or not any(out.iterdir())


def test_what_cannot_be_read_is_an_exception(records: Path, tmp_path: Path) -> None:
    """One broken file costs the status 1 and an exception on the first page; everything beside it is reported."""
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    arguments = ("--month", MONTH_OF_FILES, "--out", str(tmp_path / "out"), "--json")
    result = run("--from", str(records), *arguments, str(broken))

    assert result.exit_code == 1
    assert json.loads(result.stdout)["exceptions"]["unreadable"] == 1
    assert json.loads(result.stdout)["uses"] == 1


def test_credential_reports_of_several_accounts(records: Path, tmp_path: Path) -> None:
    """Each account's credential report is compared; a second one of the same account is refused."""
    mine, other = tmp_path / "a.csv", tmp_path / "b.csv"
    mine.write_text(credential_report("2024-02-29T08:00:00+00:00"))
    other.write_text(credential_report("2024-02-11T08:00:00+00:00", account_id="444455556666"))
    arguments = ("--from", str(records), "--month", MONTH_OF_FILES, "--out", str(tmp_path), "--json")
    reports = ("--credential-report", str(mine), "--credential-report")

    assert json.loads(run(*arguments, *reports, str(other)).stdout)["exceptions"]["not_recorded"] == 1
    assert "second credential report" in run(*arguments, *reports, str(mine)).stderr


def test_on_a_deployed_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --from the deployed table is read, with what channels and people did."""
    table = CheckedTable()
    play(table, day="2024-02-03")
    stack = DeployedStack(AuditStore(table), TABLE_NAME, lambda: "")
    monkeypatch.setattr(deployed, "_found", lambda _where: stack)
    result = run("--month", MONTH_OF_FILES, "--out", str(tmp_path))

    assert result.exit_code == 0
    assert "Root was used once in 1 of 1 account" in result.stdout.replace("accounts", "account")
    assert (
        "not_delivered"
        in json.loads(run("--month", MONTH_OF_FILES, "--out", str(tmp_path), "--json").stdout)["exceptions"]
    )
    assert run("--month", MONTH_OF_FILES, "--out", str(tmp_path), "--declared", "x").exit_code == 2


def test_the_report_is_the_same_of_both_tables(table: Table) -> None:
    """In memory and in DynamoDB the same story makes the same report."""
    play(table)
    reference = CheckedTable()
    play(reference)
    made = [
        make_report(Reading(AuditStore(each), Origin.TABLE), period_of(MONTH, LATER), lambda _use: None)
        for each in (table, reference)
    ]

    assert made[0] == made[1]
    assert made[0].integrity.records == 7


def test_months_are_utc(tmp_path: Path) -> None:
    """The report of a month that begins now is one in progress, and not an error."""
    period = period_of(MONTH, datetime(2026, 11, 1, tzinfo=UTC))

    assert period.in_progress
    assert make_report(Reading(AuditStore(filled()), Origin.TABLE), period, lambda _use: None).use_count == 2
    assert not any(tmp_path.iterdir())
