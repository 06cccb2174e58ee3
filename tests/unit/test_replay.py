"""A replay is the whole pipeline with the records' own clock, and sees what `inspect` and `detect` see."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootwatch.alert import Alert
from rootwatch.audit.items import moment_text
from rootwatch.audit.memory import MemoryTable
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Item
from rootwatch.incident import Why
from rootwatch.pipeline import (
    Clock,
    Fate,
    Recorder,
    ReplaySummary,
    detect_messages,
    inspect_document,
    inspection,
    record_batch,
    replay,
)
from tests.builders import ABSENT, all_specimens, build_envelope, load_specimen
from tests.unit.workbench import IDLE, NOW, OWN, CheckedTable, make_message, make_observation, make_recorder

MEMBER, MANAGEMENT = "111122223333", "444455556666"


def _replayed(documents: Sequence[Any]) -> tuple[list[Alert], ReplaySummary, MemoryTable]:
    """Replay documents out of a file on an empty table."""
    table = CheckedTable()
    observations = [inspect_document(document, OWN) for document in documents]
    clock = Clock(min((observation.time for observation in observations), default=NOW))
    recorder = Recorder(AuditStore(table), OWN, IDLE, now=clock, pause=lambda _attempt: None)
    summary = ReplaySummary()
    return list(replay(observations, recorder, clock, summary)), summary, table


def _events(table: MemoryTable, account_id: str) -> list[Item]:
    """The stored events of an account, in the order of their chain, which is in order."""
    months = sorted(pk.split("#")[2] for pk in table._partitions if pk.startswith(f"EVENTS#{account_id}#"))
    assert AuditStore(table).verify_chain(account_id, months).faults == ()
    items = [item for month in months for item in table.query(f"EVENTS#{account_id}#{month}")]
    return sorted(items, key=lambda item: int(str(item["sequence"])))


def _alerts(table: MemoryTable) -> list[Item]:
    return [item for pk in table._partitions for item in table.query(pk, "ALERT#")]


def _due(table: MemoryTable) -> list[str]:
    """When the alerts were written, by our clock, in order."""
    return sorted(str(item["due_at"]) for pk in table._partitions for item in table.query(pk, "DELIVERY#sns#"))


@pytest.mark.parametrize("name", all_specimens())
def test_inspect_detect_and_replay_agree_on_every_specimen(name: str) -> None:
    """Relevance, detections, severity, actor, outcome, problems and the stored record are the same on each way."""
    for envelope in load_specimen(name):
        inspected = inspection(inspect_document(envelope, OWN))
        raw = inspection(inspect_document(envelope["detail"], OWN))
        assert {**raw, "problems": None} == {**inspected, "problems": None}
        detected, (_, summary, replayed) = CheckedTable(), _replayed([envelope])
        [result] = detect_messages([make_message(envelope)], make_recorder(detected))
        assert (result.fate is Fate.RECORDED) == inspected["relevant"] == bool(summary.recorded)
        stored = [_events(table, str(inspected["account_id"])) for table in (detected, replayed)]
        assert [len(items) for items in stored] == [int(bool(inspected["relevant"]))] * 2
        for here, there in zip(*stored, strict=True):
            assert (here["record"], here["chain"]) == (there["record"], there["chain"])
            for field in ("event_id", "detections", "severity", "actor", "outcome", "target_account_id", "problems"):
                assert here[field] == there[field] == inspected[field], field


@pytest.mark.parametrize("name", all_specimens())
def test_the_alerts_of_a_specimen_are_those_of_a_live_run(name: str) -> None:
    """A specimen's records, recorded live at their own times, make the same alerts, word for word."""
    envelopes = sorted(load_specimen(name), key=lambda envelope: str(envelope["detail"]["eventTime"]))
    alerts, _, _ = _replayed(envelopes)
    table = CheckedTable()
    for envelope in envelopes:
        observation = inspect_document(envelope, OWN)
        if observation.relevant:
            record_batch(str(observation.record.account_id), [observation], make_recorder(table, observation.time))
    live = [
        (item["headline"], item["why"], item["time"], item["chain"], f"-{item['kind']!s}") for item in _alerts(table)
    ]
    told = [
        (alert.headline, list(map(str, alert.why)), moment_text(alert.time), alert.chain, f"-{alert.kind}")
        for alert in alerts
    ]
    # What only time makes due is written with the next batch when live, and at its own time in a replay.
    timed = ("-summary", "-progress", "-gathered")
    assert sorted(str(each[:4]) for each in told if not each[4].endswith(timed)) == sorted(
        str(each[:4]) for each in live if not each[4].endswith(timed)
    )


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(all_specimens()), st.integers(0, 3), st.integers(0, 47)), max_size=12))
def test_the_summary_adds_up(chosen: list[tuple[str, int, int]]) -> None:
    """Whatever the mix, what is counted is what is stored, and in the end every incident is closed and told."""
    documents = [
        build_envelope(name, number=number, eventTime=f"2026-11-{3 + hour // 24:02}T{hour % 24:02}:30:00Z")
        for name, number, hour in chosen
    ]
    alerts, summary, table = _replayed(documents)
    assert summary.records == len(documents) == summary.relevant + summary.irrelevant
    assert summary.relevant == summary.recorded + summary.duplicates
    assert summary.recorded == sum(len(_events(table, account)) for account in (MEMBER, MANAGEMENT))
    assert summary.alerts == len(alerts) == len(_alerts(table)) == len({alert.alert_id for alert in alerts})
    incidents = [item for pk in table._partitions for item in table.query(pk, "INCIDENT")]
    assert summary.incidents == len(incidents)
    assert all(item["state"] == "closed" for item in incidents)


def test_the_end_of_an_incident_is_told_after_an_hour() -> None:
    """After 60 minutes without activity a summary comes, before the next story opens."""
    documents = [build_envelope("console_login", eventTime=f"2026-11-03T{hour:02}:00:00Z") for hour in (10, 8)]
    alerts, summary, table = _replayed(documents)
    assert [alert.why[0] for alert in alerts] == [Why.OPENED, Why.SUMMARY, Why.OPENED, Why.SUMMARY]
    assert [alert.incident_id == alerts[0].incident_id for alert in alerts] == [True, True, False, False]
    assert summary.incidents == 2
    assert _due(table) == [f"2026-11-03T{hour:02}:00:00Z" for hour in ("08", "09", "10", "11")]


def test_progress_is_told_every_four_hours() -> None:
    """An incident that stays open reports what no alert told of yet, four hours after the last report."""
    times = [NOW + timedelta(minutes=50 * number) for number in range(12)]
    documents = [
        build_envelope("read", number=number, eventTime=moment_text(time)) for number, time in enumerate(times)
    ]
    alerts, summary, table = _replayed(documents)
    assert [alert.why[0] for alert in alerts] == [Why.OPENED, Why.PROGRESS, Why.PROGRESS, Why.SUMMARY]
    assert summary.incidents == 1
    moments = [*(NOW + timedelta(hours=hours) for hours in (0, 4, 8)), times[-1] + IDLE]
    assert _due(table) == [moment_text(moment) for moment in moments]


def test_records_far_from_any_time_end_too() -> None:
    """Records without a time, or at the ends of it, neither stop the replay nor keep its timers running."""
    times: list[Any] = [ABSENT, None, "", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1970-01-01T00:00:00Z"]
    documents = [build_envelope("console_login", number=number, eventTime=time) for number, time in enumerate(times)]
    for document in documents:
        document["time"] = None
    alerts, summary, _ = _replayed(documents)
    assert summary.recorded == len(documents)
    assert len(alerts) < 50


def test_nothing_to_replay() -> None:
    """No records make no alerts, and a summary of zeros."""
    alerts, summary, _ = _replayed([])
    assert (alerts, summary) == ([], ReplaySummary())


def test_alerts_come_as_they_become_due() -> None:
    """A replay yields its first alert before it has taken the last record."""
    observations = [make_observation("console_login", number=number, sent_after=None) for number in range(3)]
    clock, summary = Clock(observations[0].time), ReplaySummary()
    recorder = Recorder(AuditStore(CheckedTable()), OWN, IDLE, now=clock, pause=lambda _attempt: None)
    next(replay(observations, recorder, clock, summary))
    assert summary.records == 1
