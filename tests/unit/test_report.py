"""The monthly report: its figures, what it says of every bad state of the table, and that it says the same again."""

import csv
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from make import report_schema
from rootwatch import triage
from rootwatch.audit.items import KeptReport, SeenLetters, event_partition, head_key, kept_report_item, step_key
from rootwatch.audit.memory import MemoryTable
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Item, Put
from rootwatch.context.surroundings import ACCOUNT_NAME, Remembered, Subject
from rootwatch.coverage import Place
from rootwatch.errors import ReportError, StoreUnavailableError
from rootwatch.pipeline import detect_messages
from rootwatch.report import charts, files, html
from rootwatch.report.files import Written
from rootwatch.report.model import AccountStatement, ChainResult, ExceptionKind, Origin, Policy, Report, period_of
from rootwatch.report.policy import policy_documents
from rootwatch.report.posture import Postures, read_credential_report, with_summary
from tests.builders import build_envelope
from tests.builders.hostile import HOSTILE_TEXTS
from tests.contracts.test_store import _remove
from tests.unit import html_rules
from tests.unit.report_world import (
    LATER,
    MONTH,
    OTHER,
    SESSION,
    beats,
    canary,
    filled,
    finish,
    heartbeat,
    make,
    play,
    proven_days,
    record,
    send_all,
    step,
)
from tests.unit.test_declared_use import declare
from tests.unit.test_report_model import credential_report
from tests.unit.workbench import ACCOUNT, CheckedTable, make_message, make_recorder

ANY_TEXT = (
    "event_name", "region", "source_owner", "source_country", "source_ip", "event_id", "actor", "outcome", "severity",
    "client_kind", "incident_id", "source_kind",
)  # fmt: skip
"""Fields of a row that could hold a text of a record, or whatever somebody wrote into the table."""
LATER_FIELDS = {"expected", "declared_use", "source_owner", "role_alternative", "root_need"}
"""Fields that an older version did not write."""
SCHEMA = jsonschema.Draft202012Validator(report_schema.schema())


def found(report: Report) -> dict[ExceptionKind, int]:
    """The exceptions of a report with their counts."""
    return {each.kind: each.count for each in report.exceptions}


def document(written: Written) -> dict[str, Any]:
    """The report's JSON, which is valid by its schema."""
    content: dict[str, Any] = json.loads(written.document.read_text(encoding="utf-8"))
    SCHEMA.validate(content)
    return content


def register(written: Written) -> list[dict[str, str]]:
    """The register's rows."""
    with written.register.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def page(written: Written) -> str:
    """The page, which is valid HTML."""
    text = written.page.read_text(encoding="utf-8")
    assert html_rules.faults(text) == []
    return text


def items_of(table: MemoryTable, account_id: str = ACCOUNT, month: str = MONTH) -> list[Item]:
    """The account's events of a month."""
    return list(table.query(event_partition(account_id, month)))


def test_the_figures_are_those_of_an_independent_count(tmp_path: Path) -> None:
    """Every figure equals a count that is made of the table's items by other means."""
    table = filled()
    record(table, "service_acted", "2026-11-12T00:00:00Z")
    record(table, "console_login_failed", "2026-11-13T00:00:00Z")
    record(table, "read", "2026-10-31T23:59:59Z", **SESSION)
    written = make(table, tmp_path)
    report, items = written.report, [*items_of(table), *items_of(table, OTHER)]
    bodies = [json.loads(str(item["record"])) for item in items]
    names = Counter(body["eventName"] for body in bodies)
    failed = [body for body in bodies if (body.get("responseElements") or {}).get("ConsoleLogin") == "Failure"]

    assert report.integrity.records == len(items) == 16
    in_incidents = {(item["account_id"], item["incident_id"]) for item in items if item["incident_id"]}
    assert report.use_count == len(in_incidents) - 1  # the last one is but an attempt
    assert report.attempt_count == len(failed) == 3
    assert report.mfa == {"yes": 0, "no": names["ConsoleLogin"] - len(failed), "not stated": 0}
    assert report.integrity.service_acts == sum("invokedBy" in body["userIdentity"] for body in bodies)
    assert sum(sum(each.days.values()) for each in report.statements) == len(items) - len(failed) - 1
    assert sum(int(row["records"]) for row in register(written)) + report.integrity.service_acts == len(items)
    assert sum(int(row["reads"]) for row in register(written)) == sum(body["readOnly"] is True for body in bodies)
    assert report.months[-1].records == len(items)
    assert [(each.month, each.records) for each in report.months[-2:]] == [("2026-10", 1), (MONTH, len(items))]
    digest = hashlib.sha256("".join(str(item["sha256"]) for item in items_of(table)).encode()).hexdigest()
    assert report.statements[0].records_sha256 == digest
    assert report.integrity.register_sha256 == hashlib.sha256(written.register.read_bytes()).hexdigest()


def test_every_record_is_in_the_equation(tmp_path: Path) -> None:
    """Records are in the register, acts of services, or opened no incident: nothing is lost between the figures."""
    table = filled()
    record(table, "service_acted", "2026-11-12T00:00:00Z")
    integrity = make(table, tmp_path).report.integrity

    assert integrity.records == integrity.in_register + integrity.service_acts + integrity.outside_incidents


def test_the_same_month_again_is_the_same(tmp_path: Path) -> None:
    """Two runs differ in one line of the page and one of the JSON, which say when they were made; later months do not
    change a month.
    """
    table = filled()
    for account_id, at in ((ACCOUNT, "2026-11-03T09:00:00Z"), (OTHER, "2026-11-09T09:00:00Z")):
        finish(table, at, account_id)
    send_all(table)
    first = make(table, tmp_path)
    before = [path.read_bytes().splitlines() for path in first.paths]
    record(table, "read", "2026-12-01T10:00:00Z", **SESSION)
    play(table, "777788889999", "2026-12-02")
    second = make(table, tmp_path, now=LATER + timedelta(days=40))
    after = [path.read_bytes().splitlines() for path in second.paths]
    differing = [
        [(old, new) for old, new in zip(one, other, strict=True) if old != new]
        for one, other in zip(before, after, strict=True)
    ]

    assert differing[0] == []
    for [(old, new)] in differing[1:]:
        assert b"2026-12-01 00:15:00 UTC" in old or b"2026-12-01T00:15:00Z" in old
        assert b"enerated" in old
        assert b"enerated" in new


def test_an_account_whose_months_were_removed_is_no_later_one(tmp_path: Path) -> None:
    """Where only later records are left of an account's chain, the earlier report says that it is broken."""
    table = filled()
    play(table, OTHER, "2026-12-02")
    del table._partitions[event_partition(OTHER, MONTH)]
    report = make(table, tmp_path, now=LATER + timedelta(days=40)).report

    assert [each.account_id for each in report.statements] == [ACCOUNT, OTHER]
    assert found(report)[ExceptionKind.CHAIN_BROKEN]


def test_an_account_that_was_removed_whole_is_missed(tmp_path: Path) -> None:
    """Without records and head there is no chain that could break: the account's incidents say that it was there."""
    table = filled()
    [incident] = {str(item["incident_id"]) for item in items_of(table, OTHER)}
    assert ExceptionKind.DAMAGED not in found(make(table, tmp_path).report)
    del table._partitions[event_partition(OTHER, MONTH)], table._partitions[head_key(OTHER).pk]
    written = make(table, tmp_path)

    assert found(written.report)[ExceptionKind.DAMAGED] == 1
    assert f"account {OTHER}, incident {incident}: all its records are gone" in page(written)


def test_zero_use_is_stated_and_not_proven(tmp_path: Path) -> None:
    """An account without use has a statement too; without canaries it says that monitoring is not proven."""
    table = CheckedTable()
    record(table, "service_acted", "2026-11-12T00:00:00Z")
    written = make(table, tmp_path, also_accounts=frozenset({OTHER}))

    assert [each.statement for each in written.report.statements] == [
        "No root use recorded; 1 act of AWS services on root's behalf; monitoring not proven.",
        "No root use recorded; monitoring not proven.",
    ]
    assert found(written.report) == {ExceptionKind.MONITORING_GAP: 30}
    assert "No use of root was recorded in 2 accounts; monitoring not proven" in page(written)
    assert "all of 2026-11: nothing proves it" in page(written)


def test_zero_use_with_proof_is_clean(tmp_path: Path) -> None:
    """With canary and source heartbeat on each day the month is clean, and says so; days without are named, and why."""
    table = CheckedTable()
    record(table, "service_acted", "2026-11-12T00:00:00Z")
    proven_days(table, range(1, 31))
    written = make(table, tmp_path)

    assert written.report.is_clean
    assert "monitoring proven on 30 of 30 days" in written.report.statements[0].statement
    canary(table, 17, arrived=False)
    canary(table, 18, state="failed")
    again = make(table, tmp_path)
    words = "monitoring proven on 28 of 30 days, not on 2026-11-17, 2026-11-18 (no canary came through)"
    assert words in again.report.statements[0].statement
    assert found(again.report) == {ExceptionKind.MONITORING_GAP: 2}


def test_a_forwarding_account_has_its_own_proof(tmp_path: Path) -> None:
    """An account that forwards is proven by its own heartbeats too; page, verdict and JSON say where one is missing."""
    table = CheckedTable()
    play(table, OTHER, "2026-11-09")
    proven_days(table, range(1, 31))
    beats(table, OTHER, "eu-central-1", range(1, 31))
    beats(table, OTHER, "us-east-1", (day for day in range(1, 31) if day != 17))
    written = make(table, tmp_path, also_accounts=frozenset({ACCOUNT}))
    of_hub, of_other = (each.statement for each in written.report.statements)

    assert of_hub == "No root use recorded; monitoring proven on 30 of 30 days."
    assert of_other.endswith("proven on 29 of 30 days, not on 2026-11-17 (no heartbeat from us-east-1).")
    assert found(written.report)[ExceptionKind.MONITORING_GAP] == 1
    assert "monitoring proven on 30 of 30 days, on fewer for 1 account that forwards" in written.report.verdict
    assert "2026-11-17: no heartbeat from 444455556666 us-east-1" in page(written)
    monitoring = document(written)["operation"]["monitoring"]
    assert monitoring["heartbeats"] == {
        "expected": 720, "sent": 390, "received": 390, "missing": [], "silent_hours": {},
    }  # fmt: skip
    assert [(each["received"], each["missing"], each["silent_hours"]) for each in monitoring["forwarders"]] == [
        (390, [], {}),
        (377, [17], {"17": 24}),
    ]


def test_the_month_of_the_deployment(tmp_path: Path) -> None:
    """Verdict, page, statement and exceptions say since when it was watched, in a line, and count each day before."""
    table = CheckedTable()
    record(table, "service_acted", "2026-11-20T15:00:00Z")
    canary(table, 20, hours=range(14, 24))
    heartbeat(table, 20, hours=range(14, 24))
    proven_days(table, range(21, 31))
    written = make(table, tmp_path)
    words = "monitoring proven on 10 of 30 days, not watched before 2026-11-20 14:00 UTC, the first sign of Rootwatch"

    assert f"{words}; 1 kind of exception." in written.report.verdict
    assert written.report.statements[0].statement.endswith(f"{words}.")
    assert found(written.report) == {ExceptionKind.MONITORING_GAP: 20}
    assert "2026-11-01 to 2026-11-20: not watched before 2026-11-20 14:00 UTC" in page(written)
    assert document(written)["operation"]["monitoring"]["since"] == "2026-11-20T14:00:00Z"
    beats(table, OTHER, "eu-west-1", range(21, 31))
    assert "accounts that forward" not in make(table, tmp_path).report.verdict
    assert "account that forwards" not in make(table, tmp_path).report.verdict
    before = make(table, tmp_path, month="2026-10")
    assert "all of 2026-10: not watched before 2026-11-20 14:00 UTC" in page(before)
    assert found(before.report) == {ExceptionKind.MONITORING_GAP: 31}


def test_a_month_without_anything(tmp_path: Path) -> None:
    """An empty table makes a whole report, with an empty register, valid in every form."""
    written = make(CheckedTable(), tmp_path)

    assert document(written)["register"] == []
    assert register(written) == []
    assert "nothing was recorded" in page(written)


def test_a_month_in_progress_is_marked(tmp_path: Path) -> None:
    """The verdict says "so far", and the page that its figures are preliminary."""
    written = make(filled(), tmp_path, now=datetime(2026, 11, 20, tzinfo=UTC))

    assert document(written)["period"]["in_progress"] is True
    assert "so far" in written.report.verdict
    assert "November 2026 is not over" in page(written)


def test_the_exceptions_of_a_bad_night(tmp_path: Path) -> None:
    """Undeclared, without MFA, from a new address, without need of root, never acknowledged: each is counted."""
    table = filled()
    finish(table)
    send_all(table)
    counts = found(make(table, tmp_path).report)

    assert counts == {
        ExceptionKind.WITHOUT_MFA: 2,
        ExceptionKind.UNDECLARED: 2,
        ExceptionKind.NEW_SOURCE: 2,
        ExceptionKind.AVOIDABLE: 2,
        ExceptionKind.UNACKNOWLEDGED: 2,
        ExceptionKind.NEVER_CLOSED: 2,
        ExceptionKind.MONITORING_GAP: 30,
    }


@pytest.mark.parametrize(
    ("made", "is_told"),
    [("2026-12-01T00:15:00Z", True), ("2026-12-01T00:10:00Z", False), ("2026-11-30T23:59:00Z", False)],
)
def test_an_alert_of_the_last_minutes_waits_beyond_the_month(tmp_path: Path, made: str, is_told: bool) -> None:  # noqa: FBT001
    """Who was alerted shortly before midnight has his minutes, and not until for ever: no other report tells of it."""
    table = CheckedTable()
    record(table, "console_login", "2026-11-30T23:55:00Z")
    send_all(table)
    report = make(table, tmp_path, now=datetime.fromisoformat(made)).report

    assert (ExceptionKind.UNACKNOWLEDGED in found(report)) is is_told


def test_an_alert_of_a_late_record_waits_for_an_answer_too(tmp_path: Path) -> None:
    """A record that came days after its month is alerted then, and nobody's silence is forgiven for that."""
    table = CheckedTable()
    envelope = build_envelope("console_login", eventTime="2026-11-30T23:00:00Z", sourceIPAddress="203.0.113.7")
    came = datetime(2026, 12, 3, tzinfo=UTC)
    detect_messages([make_message(envelope, sent_at=came)], make_recorder(table, came))
    send_all(table)

    assert ExceptionKind.UNACKNOWLEDGED in found(make(table, tmp_path, now=came + timedelta(days=1)).report)


def test_a_record_that_missed_the_report_of_its_month(tmp_path: Path) -> None:
    """The report of the month in which it arrived says that the one before lacks it, until that one is made again."""
    table = filled()
    store = AuditStore(table)
    store.write_kept_report(KeptReport(MONTH, "run", LATER))
    assert "arrived only after" not in page(make(table, tmp_path))
    for number, came in enumerate(("2026-12-01T00:14:00Z", "2026-12-03T10:00:00Z", "2026-12-04T11:30:00Z")):
        changes: dict[str, Any] = {"eventTime": "2026-11-30T23:00:00Z", **SESSION}
        envelope = build_envelope("read", number=7 + number, **changes)
        at = datetime.fromisoformat(came)
        detect_messages([make_message(envelope, sent_at=at)], make_recorder(table, at))
    now = LATER + timedelta(days=31)
    december = make(table, tmp_path, month="2026-12", now=now)

    assert found(december.report)[ExceptionKind.LATE_FOR_REPORT] == 2
    assert f"account {ACCOUNT}, 2026-11: 2 records, the last at 2026-12-04 11:30 UTC" in page(december)
    assert december.report.operation.of_earlier_months == 3
    again = page(make(table, tmp_path, now=now))
    assert "2 records of November 2026 arrived only after the report was due, the last at 2026-12-04 11:30:00" in again
    store.write_kept_report(KeptReport(MONTH, "again", now))
    assert ExceptionKind.LATE_FOR_REPORT not in found(make(table, tmp_path, month="2026-12", now=now).report)
    table.write([Put(kept_report_item(KeptReport(MONTH, "again", now)) | {"kept_at": "when"})])
    assert "what became of the report of 2026-11" in page(make(table, tmp_path, month="2026-12", now=now))


def test_an_address_of_an_earlier_month_is_not_new(tmp_path: Path) -> None:
    """What root came from before is known; what only failed to sign in is not."""
    table = CheckedTable()
    play(table, day="2026-09-05")
    record(table, "console_login_failed", "2026-09-06T00:00:00Z", sourceIPAddress="198.51.100.9")
    play(table)
    record(table, "console_login", "2026-11-20T00:00:00Z", sourceIPAddress="198.51.100.9")

    assert [use.new_sources for use in make(table, tmp_path).report.uses] == [(), ("198.51.100.9",)]


def test_what_was_declared_stands_in_the_register(tmp_path: Path) -> None:
    """Person, reason, ticket and approver are those of the declaration, and the use is no exception for it."""
    table = CheckedTable()
    declared = declare()
    AuditStore(table).declare(declared)
    at = declared.from_at + timedelta(minutes=5)
    record(table, "mfa_added", f"{at:%Y-%m-%dT%H:%M:%SZ}")
    written = make(table, tmp_path)
    [row] = register(written)

    assert (row["person"], row["reason"]) == (declared.declared_by, declared.reason)
    assert (row["ticket"], row["approver"], row["declared_afterwards"]) == (declared.ticket, declared.approver, "no")
    assert ExceptionKind.UNDECLARED not in found(written.report)
    assert written.report.operation.lowered == 1
    assert f"{declared.ticket}, {declared.approver}" in page(written)


def test_a_step_that_was_dropped_is_an_exception(tmp_path: Path) -> None:
    """Steps as they were taken are none; one that is missing is, and says which of which incident."""
    table = CheckedTable()
    play(table)
    store, at = AuditStore(table), datetime(2026, 11, 3, 2, 30, tzinfo=UTC)
    incident = str(items_of(table)[0]["incident_id"])
    dana = triage.Person("slack:T1/U1", "dana", "slack")
    request = triage.Request(incident, triage.Action.ACKNOWLEDGE, dana)
    assert triage.answer(triage.Desk(store, lambda: at, lambda _: None), request).done
    assert ExceptionKind.DAMAGED not in found(make(table, tmp_path).report)
    [step_taken] = store.steps(incident)
    _remove(table, step_key(step_taken))
    written = make(table, tmp_path)
    assert found(written.report)[ExceptionKind.DAMAGED] == 1
    assert f"incident {incident}: step 1 is missing" in page(written)


@pytest.mark.parametrize(
    ("answers", "is_asked_for"),
    [((), True), (("suspected",), False), (("suspected", "contained"), False), (("suspected", "resolved"), True)],
)
def test_no_role_is_asked_for_what_an_intruder_did(
    tmp_path: Path,
    answers: Sequence[str],
    is_asked_for: bool,  # noqa: FBT001
) -> None:
    """Acts of an incident that was called suspicious are counted as avoidable, and no policy lets a role do them."""
    table = CheckedTable()
    play(table)
    for hour, kind in enumerate(answers, start=3):
        step(table, str(items_of(table)[0]["incident_id"]), kind, f"2026-11-03T0{hour}:00:00Z")
    written = make(table, tmp_path)
    report, text = written.report, page(written)

    assert (report.avoidable_acts, report.suspicious_acts) == (4, 0 if is_asked_for else 4)
    assert ("cloudtrail:StopLogging" in text, "StopLogging" in json.dumps(document(written)["policies"])) == (
        is_asked_for,
        is_asked_for,
    )
    assert ("4 of them were part of incidents that were called suspicious" in text) is not is_asked_for


def test_what_people_answered_stands_in_the_register(tmp_path: Path) -> None:
    """Acknowledgement, reviewer and verdict are read from the steps of triage, with the times they took."""
    table = CheckedTable()
    play(table)
    finish(table)
    send_all(table)
    incident = str(items_of(table)[0]["incident_id"])
    step(table, incident, "acknowledged", "2026-11-03T02:20:00Z", by="slack:T1/U1", by_name="Dana")
    step(table, incident, "escalated", "2026-11-03T02:21:00Z")
    step(
        table,
        incident,
        "resolved",
        "2026-11-03T03:20:00Z",
        by="slack:T1/U2",
        by_name="Kim",
        reason="drill",
        ticket="O-1",
    )
    written = make(table, tmp_path)
    [row] = register(written)

    assert (row["acknowledged_by"], row["reviewer"]) == ("Dana (slack:T1/U1)", "Kim (slack:T1/U2)")
    assert (row["verdict"], row["review_reason"], row["review_ticket"]) == ("expected", "drill", "O-1")
    assert ExceptionKind.UNACKNOWLEDGED not in found(written.report)
    assert written.report.escalations == 1
    to_alert, acknowledged, closed = written.report.timing
    # Two seconds to the queue and five to the channel; the summary, which only time causes, is not measured.
    assert (to_alert.measured, to_alert.median) == (written.report.operation.alerts - 1, 7.0)
    assert (acknowledged.worst, closed.worst) == (373.0, 3600.0)  # from 02:13:47
    late = make(table, tmp_path, acknowledge_within=timedelta(minutes=5))
    assert found(late.report)[ExceptionKind.UNACKNOWLEDGED] == 1


def test_a_closed_incident_stays_a_suspicious_one(tmp_path: Path) -> None:
    """The verdict tells all that was found, in its order, and each once; the reviewer is whoever answered last."""
    table = CheckedTable()
    play(table)
    incident = str(items_of(table)[0]["incident_id"])
    for minute, kind in enumerate(("acknowledged", "suspected", "contained", "suspected", "contained", "closed")):
        step(table, incident, kind, f"2026-11-03T02:3{minute}:00Z", by=f"slack:T1/U{minute}", by_name="Dana")
    [row] = register(make(table, tmp_path))

    assert (row["verdict"], row["reviewer"]) == ("suspicious, contained, closed", "Dana (slack:T1/U5)")


def test_an_alert_that_reached_nobody_is_an_exception(tmp_path: Path) -> None:
    """Deliveries that are not sent are counted by channel and named."""
    table = CheckedTable()
    play(table)
    written = make(table, tmp_path)

    assert found(written.report)[ExceptionKind.NOT_DELIVERED] == 2 * written.report.operation.alerts
    assert {each.channel: each.not_sent for each in written.report.operation.channels} == {
        "slack": written.report.operation.alerts,
        "sns": written.report.operation.alerts,
    }


def test_dead_letters_are_an_exception(tmp_path: Path) -> None:
    """What the watchdog saw of them stands on the first page and in the operation of the control; else it says none."""
    table = CheckedTable()
    play(table)
    assert "noted none in this month" in page(make(table, tmp_path))
    store, at = AuditStore(table), datetime(2026, 11, 7, tzinfo=UTC)
    store.write_seen_letters(
        SeenLetters(MONTH, "intake", "rootwatch-intake-dead-letter", 3, at, at + timedelta(days=1))
    )
    store.write_seen_letters(SeenLetters(MONTH, "notify", "rootwatch-notify-dead-letter", 2, at))
    store.write_seen_letters(SeenLetters("2026-12", "rule", "rootwatch-rule-dead-letter", 9, LATER))
    written = make(table, tmp_path)

    assert found(written.report)[ExceptionKind.DEAD_LETTERS] == 5
    assert [(each.most, each.gone_at) for each in written.report.operation.dead_letters] == [
        (3, at + timedelta(days=1)),
        (2, None),
    ]
    assert "records that could not be read or stored, from 2026-11-07 00:00:00 UTC on" in page(written)
    assert document(written)["operation"]["dead_letters"][1]["gone_at"] is None
    table._partitions["WATCHDOG"]["LETTERS#2026-11#notify"]["first_at"] = 7
    again = found(make(table, tmp_path).report)
    assert (again[ExceptionKind.DEAD_LETTERS], again[ExceptionKind.DAMAGED]) == (3, 1)


@pytest.mark.parametrize("name", ["record", "sha256", "chain", "sequence", "everything"])
def test_a_broken_chain_is_an_exception_on_the_first_page(tmp_path: Path, name: str) -> None:
    """A record that was changed or removed is told before anything else, and the report is made all the same."""
    table = filled()
    partition = table._partitions[event_partition(ACCOUNT, MONTH)]
    sk = sorted(partition)[2]
    if name == "everything":
        del partition[sk]
    else:
        changed: Any = {"record": "{}", "sha256": "0" * 64, "chain": "f" * 64, "sequence": 99}[name]
        partition[sk] = {**partition[sk], name: changed}
    written = make(table, tmp_path)
    text = page(written)

    assert written.report.exceptions[0].kind is ExceptionKind.CHAIN_BROKEN
    assert 0 < text.index("The chain of records is broken") < text.index("Statement for each account</h2>")
    assert written.report.integrity.broken_chains == 1
    assert written.report.statements[1].chain.faults == ()
    assert document(written)["integrity"]["broken_chains"] == 1


def test_a_head_that_was_changed_is_an_exception(tmp_path: Path) -> None:
    """A head that cannot be read, or is gone, is a broken chain; the month's figures stand."""
    table = filled()
    key = head_key(ACCOUNT)
    table._partitions[key.pk][key.sk]["chain"] = 7
    assert found(make(table, tmp_path).report)[ExceptionKind.CHAIN_BROKEN]
    del table._partitions[key.pk][key.sk]
    written = make(table, tmp_path)

    assert found(written.report)[ExceptionKind.CHAIN_BROKEN]
    assert written.report.use_count == 2


def test_rows_of_an_older_version_are_read(tmp_path: Path) -> None:
    """Rows that lack what a later version writes are counted as what they are, and as older."""
    table = filled()
    before = make(table, tmp_path).report
    for sk, item in table._partitions[event_partition(ACCOUNT, MONTH)].items():
        kept = {name: value for name, value in item.items() if name not in LATER_FIELDS}
        table._partitions[event_partition(ACCOUNT, MONTH)][sk] = {**kept, "schema_version": 1}
    written = make(table, tmp_path)

    assert written.report.integrity.older_rows == 7
    assert written.report.use_count == 2
    assert found(written.report)[ExceptionKind.UNDECLARED] == 2
    assert written.report.policies == before.policies
    assert written.report.needed_root == before.needed_root


def test_records_without_a_time_count_by_their_arrival(tmp_path: Path) -> None:
    """A record that states no time is in the month in which it arrived, and said to state none."""
    table = filled()
    record(table, "read", "2026-11-21T00:00:00Z", **{"eventTime": "no time", **SESSION})
    report = make(table, tmp_path).report

    assert (report.integrity.records, report.integrity.undated) == (15, 1)
    assert not report.integrity.broken_chains


def test_items_that_hold_anything_stop_nothing(tmp_path: Path) -> None:
    """Whatever stands in the fields of the rows, the report is made and says that the chain is broken."""
    table = MemoryTable()
    play(table)
    partition = table._partitions[event_partition(ACCOUNT, MONTH)]
    values: list[Any] = [None, 7, True, b"x", [], {}, [None, {"a": 1}], "x" * 5000, "\u202e<script>"]
    for position, sk in enumerate(sorted(partition)):
        item = partition[sk]
        names = sorted(set(item) - {"pk", "sk"})
        partition[sk] = {**item, **{name: values[(position + at) % 9] for at, name in enumerate(names) if at % 2}}
    written = make(table, tmp_path)

    assert found(written.report)[ExceptionKind.CHAIN_BROKEN]
    assert page(written)
    assert document(written)
    assert written.report.integrity.records == 7


FORMULAS = (
    "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\u00a0=1", "\ufeff=1", '"=1', "'=1", "\uff1d1+1",
    "\uff0b1", "\uff0d1", "\uff20SUM(A1)", "|calc", "%0", "x;=cmd|' /C calc'!A0;y", "x; \uff1d1", 'x";=1;"', "x;\t=1",
)  # fmt: skip
"""What a spreadsheet would run: from the beginning of a cell, or from where it ends one in its own country."""


@pytest.mark.parametrize("text", FORMULAS, ids=range(len(FORMULAS)))
def test_no_spreadsheet_runs_a_formula(tmp_path: Path, text: str) -> None:
    """Wherever the register's text is taken apart, by comma, semicolon or tab, no cell begins like a formula."""
    table = MemoryTable()
    declared = declare()
    if text.isprintable():  # a declaration takes nothing else
        declared = replace(declared, reason=text, approver=text)
    AuditStore(table).declare(declared)
    play(table)
    for item in table._partitions[event_partition(ACCOUNT, MONTH)].values():
        for name in ANY_TEXT:
            item[name] = text
        item["detections"] = [text, "root.console_login"]
        item["declared_use"], item["expected"] = declared.id, "matched"
    written = make(table, tmp_path, names={ACCOUNT: text})
    content = written.register.read_text(encoding="utf-8")

    assert len(register(written)) == 1
    for delimiter in (",", ";", "\t"):
        for cells in csv.reader(io.StringIO(content, newline=""), delimiter=delimiter):
            begins = [cell.lstrip(" \u00a0\ufeff\u200b'\"")[:1] for cell in cells if cell[:1] != "'"]
            assert not [each for each in begins if each and each in "=+-@|%\t\r\n\uff1d\uff0b\uff0d\uff20"]


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=range(len(HOSTILE_TEXTS)))
def test_hostile_text_stays_text(tmp_path: Path, text: str) -> None:
    """Whatever a record says is text in every cell: no tag, no formula, no broken JSON, nothing hidden."""
    table = MemoryTable()
    play(table)
    for item in table._partitions[event_partition(ACCOUNT, MONTH)].values():
        for name in ANY_TEXT:
            item[name] = text
        item["detections"] = [text, "root.rootwatch_tampered", "root.console_login_failed"]
    written = make(table, tmp_path, names={ACCOUNT: text})
    content = page(written)

    assert document(written)["integrity"]["records"] == 7
    for row in register(written):
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row.values())
    assert content.count("<style>") == 1
    assert not re.search(r"<script|javascript:|<img|<a [^>]*href=\"(?!#)", content)
    assert "\u202e" not in content + written.register.read_text(encoding="utf-8")


def test_the_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    """No script, no outside address, and a policy that would stop both."""
    table = filled()
    send_all(table)
    content = page(make(table, tmp_path, postures=_postures("2026-11-03T02:14:07+00:00")))

    assert "<script" not in content
    assert "default-src 'none'" in content
    assert not re.search(r"(?:src|href|url)\s*[=(]\s*[\"']?(?!#)(?:https?:|//)", content)


def test_every_picture_has_its_table_and_its_words(tmp_path: Path) -> None:
    """Each picture is an image with a title and a description, and the table beside it has its figures."""
    content = page(make(filled(), tmp_path))
    pictures = re.findall(r"<figure[^>]*>(.*?)</figure>", content, flags=re.DOTALL)

    assert len(pictures) == 5
    for picture in pictures:
        assert re.search(r'<svg class="chart" role="img"[^>]*aria-labelledby="(\S+) (\S+)"', picture)
        assert re.search(r"<title id=.+?>.+?</title>\s*<desc id=.+?>.+?</desc>", picture)
        assert picture.count("<tr>") > 1
        numbers = set(re.findall(r'<text class="strong"[^>]*>([\d,]+)</text>', picture))
        assert numbers <= set(re.findall(r"<t[dh][^>]*>([\d,]+)</t[dh]>", picture))


def _statement_of(number: int, acts: int = 0) -> AccountStatement:
    """An account's statement, with so many acts on the fifth."""
    days = {5: acts} if acts else {}
    chain = ChainResult(acts, acts, "0" * 64, ())
    words = f"{'1 use' if acts else 'No use'}."
    return AccountStatement(
        f"{100000000000 + number}", "", words, bool(acts), 0, acts, 0, 0, days, {}, "info", "0" * 64, chain
    )


def test_the_calendar_says_what_it_does_not_draw() -> None:
    """Of many accounts it draws those with most use and a line of all; how many are left out stands in the picture."""
    statements = [_statement_of(number, acts=number) for number in range(301)]
    period = period_of(MONTH, LATER)
    figure = charts._calendar(period, statements)
    assert figure is not None
    few = charts._calendar(period, statements[:5])
    assert few is not None

    left_out = 300 - charts.MOST_CALENDARS
    assert f">{left_out} more accounts not drawn: see the table<" in figure.svg
    assert f"{left_out} accounts with acts or attempts are not drawn" in figure.says
    assert figure.rows[0] == ("All 300 accounts with acts or attempts", f"5: {300 * 301 // 2:,}", "none")
    assert figure.rows[1] == ("100000000300", "5: 300", "none")
    assert len(figure.rows) == 1 + charts.MOST_LISTED
    assert f"The table has the first {charts.MOST_LISTED}" in figure.says
    assert "not drawn" not in few.svg + few.says
    assert len(few.rows) == 4


def test_the_statements_of_a_thousand_accounts_can_be_read() -> None:
    """Accounts with use come first, one by one; those of which the same is stated share a row that names each."""
    rows = html.stated([_statement_of(number, acts=2 if number in {7, 900} else 0) for number in range(1000)])

    assert [row.accounts for row in rows[:-1]] == [("100000000007",), ("100000000900",)]
    assert (rows[-1].words, len(rows[-1].accounts), rows[-1].records) == (("No use.",), 998, 0)


def test_equal_policies_are_one_for_all_their_accounts() -> None:
    """The page shows a policy once, with every account that it is for; the one for most acts first."""
    [document] = policy_documents({"s3:ListAllMyBuckets": 1})
    policies = [Policy(str(number), "", 2, {"s3:ListAllMyBuckets": 2}, document, False) for number in range(3)]  # noqa: FBT003
    other = Policy("9", "Audit", 7, {"iam:CreateUser": 7}, "{}", True)  # noqa: FBT003
    [(first, of_first), (second, of_second)] = html.replacing([*policies, other])

    assert (first.acts, of_first) == (7, ("9 Audit",))
    assert (second.acts, second.actions, of_second) == (6, {"s3:ListAllMyBuckets": 6}, ("0", "1", "2"))


def _postures(password: str, **stated: str) -> Postures:
    return Postures({ACCOUNT: read_credential_report(credential_report(password, **stated))}, "not read")


@pytest.mark.parametrize(
    ("password", "state"),
    [
        ("2026-11-03T02:14:07+00:00", "recorded"),
        ("2026-11-03T02:20:00+00:00", "recorded"),
        ("2026-11-03T03:14:07+00:00", "NOT recorded"),
        ("2026-10-03T02:14:07+00:00", "before this month"),
        ("2026-12-01T00:00:00+00:00", "after this month"),
    ],
)
def test_a_use_that_only_aws_knows_is_an_exception(tmp_path: Path, password: str, state: str) -> None:
    """The credential report's last use is compared with the records; the failed sign-in before it is none."""
    table = CheckedTable()
    play(table)
    report = make(table, tmp_path, postures=_postures(password)).report

    assert [use.state for use in report.postures[0].uses] == [state]
    assert found(report).get(ExceptionKind.NOT_RECORDED, 0) == (state == "NOT recorded")


def test_keys_and_missing_mfa_are_exceptions(tmp_path: Path) -> None:
    """Active keys of root and a missing MFA stand on the first page; a key's use needs a record made with a key."""
    table = CheckedTable()
    play(table)
    postures = _postures("N/A", mfa="false", key="2026-11-03T02:16:00+00:00", active="true")
    counts = found(make(table, tmp_path, postures=postures).report)

    assert counts[ExceptionKind.ROOT_KEY] == 1
    assert counts[ExceptionKind.ROOT_WITHOUT_MFA] == 1
    assert counts[ExceptionKind.NOT_RECORDED] == 1


def test_what_iam_does_not_state_is_not_no(tmp_path: Path) -> None:
    """Keys and MFA that the credential report does not state are an exception of their own, and no clean posture."""
    credentials = read_credential_report(credential_report(mfa="", active="no_information"))
    written = make(filled(), tmp_path, postures=Postures({ACCOUNT: credentials}, "not read"))
    [posture], counts = written.report.postures, found(written.report)

    assert (posture.mfa, posture.active_keys, posture.unstated_keys, posture.password) == (None, 0, 1, None)
    assert counts[ExceptionKind.POSTURE_NOT_READ] == 1
    assert not {ExceptionKind.ROOT_KEY, ExceptionKind.ROOT_WITHOUT_MFA} & counts.keys()
    assert "IAM does not state whether root has MFA or whether its access keys are active" in page(written)
    assert '<td data-label="Active keys">1 not stated</td>' in page(written)


@pytest.mark.parametrize(("password", "exceptions"), [(0, 0), (1, 1), (None, 1)])
def test_root_without_a_password_needs_no_mfa(tmp_path: Path, password: int | None, exceptions: int) -> None:
    """Where credentials are managed centrally root has no password, and a missing MFA opens nothing."""
    summary = {} if password is None else {"AccountPasswordPresent": password}
    credentials = with_summary(read_credential_report(credential_report(mfa="false")), summary)
    report = make(filled(), tmp_path, postures=Postures({ACCOUNT: credentials}, "not read")).report

    assert found(report).get(ExceptionKind.ROOT_WITHOUT_MFA, 0) == exceptions


def test_the_accounts_that_are_there_are_asked_for_their_credentials(tmp_path: Path) -> None:
    """Those that were only heard are asked too; what one refuses is said of that account, on the first page."""
    table = CheckedTable()
    play(table)
    for account_id, at, retired in (
        (OTHER, "2026-11-02T00:00:00Z", None), ("777788889999", "2026-12-01T00:00:00Z", None),
        ("888899990000", "2026-01-01T00:00:00Z", "2026-10-31T00:00:00Z"),
    ):  # fmt: skip
        retired_at = datetime.fromisoformat(retired) if retired else None
        AuditStore(table).write_place(Place(account_id, "us-east-1", datetime.fromisoformat(at), retired_at=retired_at))
    asked: list[str] = []

    def read(accounts: Sequence[str]) -> Postures:
        asked.extend(accounts)
        credentials = read_credential_report(credential_report("2026-11-03T02:14:07+00:00"))
        return Postures({ACCOUNT: credentials}, "there are none", {OTHER: "not read: AssumeRole was refused"})

    written = make(table, tmp_path, read_postures=read)

    assert asked == [ACCOUNT, OTHER]
    assert [each.account_id for each in written.report.statements] == [ACCOUNT, OTHER]
    assert written.report.statements[1].statement.startswith("No root use recorded; ")
    assert [each.state for each in written.report.postures[0].uses] == ["recorded"]
    assert found(written.report)[ExceptionKind.POSTURE_NOT_READ] == 1
    assert f"account {OTHER}: not read: AssumeRole was refused" in page(written)
    assert document(written)["postures_not_read"][0]["account_id"] == OTHER


def test_a_credential_report_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    """What was not compared is an exception, never silence."""
    written = make(filled(), tmp_path, postures=Postures(not_read={ACCOUNT: "not read: AccessDenied"}))

    assert found(written.report)[ExceptionKind.POSTURE_NOT_READ] == 1
    assert "AccessDenied" in page(written)


def test_accounts_have_the_names_that_organizations_gave(tmp_path: Path) -> None:
    """The name that was looked up for an alert goes before the one that is stated."""
    table = filled()
    AuditStore(table).keep({Subject(ACCOUNT_NAME, ACCOUNT): Remembered({"name": "Payments"}, LATER)})
    written = make(table, tmp_path, names={ACCOUNT: "stated", OTHER: "Audit"})

    assert [each.account_name for each in written.report.statements] == ["Payments", "Audit"]


def test_changes_to_rootwatch_are_told_with_who(tmp_path: Path) -> None:
    """Who changed the watch itself stands in the operation of the control."""
    table = CheckedTable()
    record(table, "rootwatch_tampered", "2026-11-05T00:00:00Z")
    [change] = make(table, tmp_path).report.operation.changes

    assert change.who.startswith("arn:aws")
    assert change.at == datetime(2026, 11, 5, tzinfo=UTC)


def test_out_of_files_nobody_was_alerted(tmp_path: Path) -> None:
    """A report out of record files claims nothing of alerts, answers or monitoring."""
    written = make(filled(), tmp_path, origin=Origin.FILES, unreadable=2)
    counts = found(written.report)

    assert counts[ExceptionKind.UNREADABLE] == 2
    assert ExceptionKind.UNACKNOWLEDGED not in counts
    assert ExceptionKind.NOT_DELIVERED not in counts
    assert "Made from record files" in page(written)


def test_nothing_half_written_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the page or the table fails half way, the files of the last run stay as they were, and nothing else."""
    table = filled()
    before = {path: path.read_bytes() for path in make(table, tmp_path).paths}

    def broken(*_arguments: object) -> object:
        raise StoreUnavailableError("half way")

    for module, name in ((files, "page_parts"), (AuditStore, "incident_items")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, broken)
            with pytest.raises(StoreUnavailableError):
                make(table, tmp_path)
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_published_schema_is_that_of_the_types() -> None:
    """docs/root-usage-report.schema.json is what `make docs` writes, and a schema."""
    assert report_schema.PATH.read_text(encoding="utf-8") == report_schema.document()
    jsonschema.Draft202012Validator.check_schema(report_schema.schema())


def test_the_schema_knows_what_is_wrong(tmp_path: Path) -> None:
    """A report with a field too many, or one too few, is not valid."""
    content = document(make(filled(), tmp_path))

    assert not SCHEMA.is_valid({**content, "more": 1})
    assert not SCHEMA.is_valid({name: value for name, value in content.items() if name != "register"})
    assert not SCHEMA.is_valid({**content, "register": [{**content["register"][0], "kind": "nothing"}]})


def test_a_use_whose_time_cannot_be_read_is_no_missing_use() -> None:
    """A time that is none is an error that names its column: left out, a use that AWS knows would look like none."""
    with pytest.raises(ReportError, match="password_last_used"):
        read_credential_report(credential_report("yesterday"))
