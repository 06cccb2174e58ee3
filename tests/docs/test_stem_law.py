"""One stem for one thing, walked both ways: detection, specimen, near miss, expectation, row, runbook's section."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from rootwatch.alert import runbook_address
from rootwatch.detections.catalogue import CATALOGUE
from rootwatch.incident import Why
from tests.builders.specimens import EVENTS, EXPECTATIONS, PROJECT
from tests.unit.workbench import make_alert

STEMS: Final = [detection.stem for detection in CATALOGUE]
STATEFUL: Final = {detection.stem for detection in CATALOGUE if detection.rule is None}
"""Found from the account's history, so never in one record alone."""

RUNBOOK: Final = (PROJECT / "docs" / "runbook.md").read_text(encoding="utf-8")
COMMON: Final = [
    "First five minutes",
    "Answer it",
    "Look it up",
    "Contain",
    "Get help from AWS",
    "Keep evidence",
    "takeover",
]
"""The runbook's sections that belong to no single detection, in their order, before all that do."""

PARTS: Final = ["Look", "Decide", "Do", "Do not", "Evidence"]


def _headings(text: str) -> list[str]:
    return re.findall(r"^## (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)


def _sections() -> dict[str, str]:
    parts = re.split(r"^## (.+)\n", RUNBOOK, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _stems(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


@pytest.mark.parametrize(
    "folder", [EVENTS, EVENTS / "near_misses", EXPECTATIONS, EXPECTATIONS / "near_misses"], ids=lambda path: path.name
)
def test_every_detection_has_its_file_and_no_file_is_left_over(folder: Path) -> None:
    """Specimens, near misses and what is expected of both are named after the detections, one file each, no other."""
    assert _stems(folder) == sorted(f"{stem}.json" for stem in STEMS)


def test_silent_specimens_have_their_expectations_and_no_detection_s_name() -> None:
    """What must stay silent has its expectation too, and is named after no detection."""
    silent = _stems(EVENTS / "silent")
    assert silent == _stems(EXPECTATIONS / "silent")
    assert not {Path(name).stem for name in silent} & set(STEMS)


def test_every_detection_has_its_row_and_its_section_in_the_list() -> None:
    """docs/detections.md has a row and a section of each detection, in the catalogue's order, and no other."""
    text = (PROJECT / "docs" / "detections.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \[`(\S+)`\]\(#(\S+)\)", text, re.MULTILINE) == [(each.id, each.stem) for each in CATALOGUE]
    assert _headings(text) == STEMS


def test_alerts_link_to_the_section_that_they_need() -> None:
    """A runbook's address gets the fragment of a heading that is there, as GitHub makes it, or keeps its own."""
    anchors = {heading.lower().replace(" ", "-") for heading in _headings(RUNBOOK)}
    alert = make_alert("access_key_created")
    url = "https://wiki.example.com/runbook"
    assert runbook_address(alert, url) == f"{url}#access_key_created"
    assert runbook_address(alert, f"{url}#top") == f"{url}#top"
    assert runbook_address(replace(alert, detections=("root.of_another_version> <x",)), url) == url
    for why in Why:
        address = runbook_address(replace(alert, why=(str(why),)), url)
        assert address.partition("#")[2] in anchors
    assert runbook_address(replace(alert, why=("new_source", "not_contained")), url) == f"{url}#takeover"


def test_every_detection_has_its_section_in_the_runbook() -> None:
    """docs/runbook.md has what is common first, then a section of each detection, in the catalogue's order."""
    assert _headings(RUNBOOK) == COMMON + STEMS


@pytest.mark.parametrize("stem", sorted(STATEFUL))
@pytest.mark.parametrize("folder", [EVENTS, EVENTS / "near_misses"], ids=lambda path: path.name)
def test_a_stateful_detection_s_specimen_is_a_story(folder: Path, stem: str) -> None:
    """What needs the account's history has a list of several records for its specimen and for its near miss."""
    specimen = json.loads((folder / f"{stem}.json").read_text(encoding="utf-8"))
    assert isinstance(specimen, list)
    assert len(specimen) > 1


@pytest.fixture(scope="module")
def inspected() -> list[dict[str, Any]]:
    """Give what `rootwatch inspect events/ --json` prints."""
    command = [sys.executable, "-m", "rootwatch_cli", "inspect", str(EVENTS), "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PROJECT, timeout=60)
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_inspecting_the_specimens_shows_every_detection(inspected: list[dict[str, Any]]) -> None:
    """The command shows each detection that one record can show, and none that needs more than one."""
    found = {detection for line in inspected for detection in line["detections"]}
    assert found == {detection.id for detection in CATALOGUE if detection.stem not in STATEFUL}


def test_inspecting_the_specimens_takes_each_record_once(inspected: list[dict[str, Any]]) -> None:
    """Every record in the folder gives a line, near misses and silent ones included."""
    expected = []
    for path in EVENTS.rglob("*.json"):
        document = json.loads(path.read_text(encoding="utf-8"))
        expected += [each["detail"]["eventID"] for each in (document if isinstance(document, list) else [document])]
    assert sorted(line["event_id"] for line in inspected) == sorted(expected)


@pytest.mark.parametrize("stem", ["takeover", *STEMS])
def test_a_runbook_section_has_its_five_parts(stem: str) -> None:
    """A section says what to look at, to decide, to do, not to do, and how to keep the evidence, each in words."""
    parts = re.findall(r"^- \*\*([^*]+)\*\*: (.+?)(?=^- |\Z)", _sections()[stem], re.MULTILINE | re.DOTALL)
    assert [name for name, _ in parts] == PARTS
    assert all(len(text.split()) > 2 for _, text in parts)


def test_the_runbook_says_nothing_twice() -> None:
    """What holds for many detections stands once on top: no part of a section repeats another's."""
    sections = _sections()
    parts = [
        " ".join(text.split())
        for stem in STEMS
        for text in re.findall(r"\*\*: (.+?)(?=^- |\Z)", sections[stem], re.MULTILINE | re.DOTALL)
    ]
    assert len(parts) == len(STEMS) * len(PARTS)
    assert sorted(part for part in set(parts) if parts.count(part) > 1) == []


def test_the_runbook_names_what_the_stack_has() -> None:
    """Each resource of ours that a command in the runbook names is one that the template makes."""
    template = (PROJECT / "template.yaml").read_text(encoding="utf-8")
    named = set(re.findall(r"\brootwatch-([a-z-]+)", RUNBOOK))
    assert named
    assert {name for name in named if f"${{AWS::StackName}}-{name}\n" not in template} == set()
