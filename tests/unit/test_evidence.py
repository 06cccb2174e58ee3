"""The evidence of an incident: all of it, checkable without us, and a page that opens anywhere."""

import hashlib
import io
import json
import zipfile
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from rootwatch.audit.table import Put, key_of
from rootwatch.incident import Incident
from rootwatch.triage import Action
from rootwatch_cli.evidence import Pack, collect, zipped
from tests.builders.hostile import HOSTILE_TEXTS
from tests.contracts.test_store import _remove
from tests.unit.test_triage import DANA, SESSION, Bench, asked_at, in_session
from tests.unit.workbench import ACCOUNT, NOW, CheckedTable

MAKER = "arn:aws:sts::111122223333:assumed-role/Responder/dana"


def played() -> tuple[Bench, Incident]:
    """An incident of two acts that was escalated, acknowledged, noted and resolved."""
    bench = Bench()
    incident = bench.record("write", **in_session(SESSION))
    bench.now += timedelta(minutes=1)
    bench.record("logging_tampered", **in_session(SESSION))
    asked_at(bench, incident, 6)
    bench.do(incident, Action.ACKNOWLEDGE)
    bench.do(incident, Action.NOTE, note="called the custodian")
    return bench, bench.resolve(incident)


def packed(bench: Bench, incident: Incident) -> Pack:
    """The evidence of an incident as the table has it now."""
    return collect(bench.store, bench.incident(incident.id), MAKER, NOW)


def lines(pack: Pack, name: str) -> list[dict[str, Any]]:
    """A file of JSON lines."""
    return [json.loads(line) for line in pack.files[name].splitlines()]


def test_everything_is_in_it() -> None:
    """Records, other items, timeline with acts, alerts and steps, and who made it when."""
    bench, incident = played()
    pack = packed(bench, incident)
    assert pack.faults == ()
    assert [each["record"]["eventName"] for each in lines(pack, "records.jsonl")] == ["CreateBucket", "StopLogging"]
    kinds = {each["sk"].partition("#")[0] for each in lines(pack, "items.jsonl")}
    assert kinds == {"INCIDENT", "ALERT", "DELIVERY", "STEP"}
    steps = [each["step"] for each in lines(pack, "timeline.jsonl") if each["kind"] == "step"]
    assert steps == ["escalated", "acknowledged", "noted", "resolved"]
    manifest = json.loads(pack.files["manifest.json"])
    assert (manifest["incident_id"], manifest["made_by"]) == (incident.id, MAKER)


def test_it_can_be_checked_without_us() -> None:
    """Every file has the checksum that stands beside it; the chain follows from the records by hashing alone."""
    bench, incident = played()
    pack = packed(bench, incident)
    with zipfile.ZipFile(io.BytesIO(zipped(pack.files, "x"))) as archive:
        files = {name.removeprefix("x/"): archive.read(name) for name in archive.namelist()}
    assert files == dict(pack.files)
    stated = [line.split("  ") for line in files.pop("SHA256SUMS").decode().splitlines()]
    sums = {name: digest for digest, name in stated}
    assert sums == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    chain = "0" * 64
    records = {each["sha256"]: each["record"] for each in lines(pack, "records.jsonl")}
    for link in lines(pack, "chain.jsonl"):
        text = json.dumps(records[link["sha256"]], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        assert hashlib.sha256(text.encode()).hexdigest() == link["sha256"]
        chain = hashlib.sha256(f"{chain}{link['sha256']}".encode()).hexdigest()
        assert chain == link["chain"]
    assert json.loads(pack.files["chain.json"])["chain"] == chain
    chain, items = "0" * 64, lines(pack, "items.jsonl")
    steps = sorted((each for each in items if each["sk"].startswith("STEP#")), key=lambda each: int(each["number"]))
    for step in steps:
        content = {name: value for name, value in step.items() if name != "chain"}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        chain = hashlib.sha256(f"{chain}{hashlib.sha256(text.encode()).hexdigest()}".encode()).hexdigest()
        assert chain == step["chain"]
    assert [each["steps_chain"] for each in items if each["sk"] == "INCIDENT"] == [chain]


def test_the_same_incident_gives_the_same_bytes() -> None:
    """Nothing of this machine or of the order of a dict is in it."""
    bench, incident = played()
    assert zipped(packed(bench, incident).files, "x") == zipped(packed(bench, incident).files, "x")


def test_what_was_altered_is_said() -> None:
    """A record that somebody changed is a fault of the pack, on the page as well, and the rest is still in it."""
    bench, incident = played()
    [first, *_] = bench.store.event_items(ACCOUNT, f"{NOW:%Y-%m}")
    bench.table.write([Put({**first, "record": '{"eventName":"Nothing"}'})])
    pack = packed(bench, incident)
    assert any("not the one that was hashed" in fault for fault in pack.faults)
    page = pack.files["timeline.html"].decode()
    assert "not the one that was hashed" in page
    assert "is intact" not in page
    assert len(lines(pack, "records.jsonl")) == 2


class _Tags(HTMLParser):
    """Notes every tag and attribute of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


@pytest.mark.parametrize("text", [*HOSTILE_TEXTS, "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'])
def test_the_page_holds_text_alone(text: str) -> None:
    """Whatever a record or a person says, the page has our own tags and attributes only, and calls nothing."""
    bench = Bench()
    changes = in_session(SESSION, **{"userAgent": text, "requestParameters.bucketName": text})
    incident = bench.record("write", **changes)
    bench.do(incident, Action.ACKNOWLEDGE, replace(DANA, name=text), note=text)
    pack = packed(bench, incident)
    page = pack.files["timeline.html"].decode()
    tags = _Tags()
    tags.feed(page)
    assert tags.tags <= {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "dl", "div", "dt", "dd",
                         "code", "ol", "li", "time", "b"}  # fmt: skip
    assert tags.attributes <= {"lang", "charset", "name", "content", "http-equiv", "class", "datetime"}
    assert "url(" not in page
    assert "@import" not in page


def test_an_empty_table_gives_a_pack_of_what_there_is() -> None:
    """An incident whose records are gone says so."""
    bench, incident = played()
    table = CheckedTable()
    for item in bench.table.query(f"INCIDENT#{incident.id}"):
        table.write([Put(item)])
    bench.table = table
    bench.store = type(bench.store)(table)
    pack = packed(bench, incident)
    assert "2 of its 2 records are not among its events" in pack.faults


def test_a_step_that_was_dropped_is_said() -> None:
    """The pack names a step that is missing, on its page as well, and counts as altered."""
    bench, incident = played()
    [*_, step] = [item for item in bench.store.incident_items(incident.id) if key_of(item).sk.startswith("STEP#")]
    _remove(bench.table, key_of(step))
    pack = packed(bench, incident)
    words = f"incident {incident.id}: step 4 is missing"
    assert words in pack.faults
    assert words in json.loads(pack.files["chain.json"])["faults_of_steps"]
    assert words in pack.files["timeline.html"].decode()
    assert "is intact" not in pack.files["timeline.html"].decode()
