"""What README and docs claim is true: each claim here is compared with the thing it is about."""

import json
import re
import struct
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from make.detections_document import document
from rootwatch import proof
from rootwatch.audit.items import DeliveryState
from rootwatch.detections.catalogue import CATALOGUE
from rootwatch.pipeline import Fate
from rootwatch_cli.doctor.look import ACTIONS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


class _Loader(yaml.SafeLoader):
    """Reads a CloudFormation template without its functions."""


_Loader.add_multi_constructor("!", lambda _loader, _suffix, _node: None)


def _rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading of the README, without its head."""
    section = README.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


COMMANDS = set(re.findall(r"^\| `rootwatch ([a-z-]+)", README, flags=re.MULTILINE))


def _run(*arguments: str) -> str:
    command = [sys.executable, "-m", "rootwatch_cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=60).stdout


def test_every_metric_is_in_the_table() -> None:
    """The architecture's table names each metric that the functions and the watchdog write, and no other."""
    section = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").split("\n## What is measured\n")[1]
    table = [line for line in section.split("\n## ")[0].splitlines() if line.startswith("|")]
    code = "".join(
        path.read_text(encoding="utf-8")
        for path in (*(ROOT / "functions").glob("*/app.py"), *(ROOT / "layers/rootwatch/rootwatch").glob("*.py"))
    )
    written = set(re.findall(r'(?:_metric\(name=|(?:report|self)\.count\()"([A-Za-z]+)"', code))
    written |= set(re.findall(r'"(Commands[A-Z][a-z]+)"', code)) | {"Requests200"}
    written |= {f"Messages{fate.capitalize()}" for fate in Fate}
    states = {*DeliveryState, "proof"} - {DeliveryState.PENDING}  # what a notifier leaves behind is not pending
    written |= {f"Deliveries{state.capitalize()}" for state in states}
    written |= {*proof.AGES.values(), *proof.SENT.values()}

    assert {"PartsFailed", "ReportsMade", "CommandsDone"} <= written
    assert set(re.findall(r"`([A-Z][A-Za-z0-9]+)`", "".join(table))) == written


def test_the_alert_at_the_top_is_what_the_specimens_cause() -> None:
    """The README begins with an alert as `rootwatch replay` makes it of two specimens today, its lines wrapped."""
    lines = _run(
        "replay",
        "events/console_login_failed.json",
        "events/console_login_without_mfa.json",
        "--render",
        "sns",
    ).splitlines()

    mail = json.loads(json.loads(lines[1])["Message"])["email"].rstrip()
    wrapped = [textwrap.fill(line, 76, break_long_words=False, break_on_hyphens=False) for line in mail.split("\n")]

    assert "```text\n{}\n```".format("\n".join(wrapped)) in README


@pytest.mark.parametrize("name", ["slack", "mail"])
def test_the_pictures_are_small_and_of_no_machine(name: str) -> None:
    """Both pictures are PNG of a phone's size, quick to load, and hold nothing but the picture itself."""
    path = ROOT / "docs" / "pictures" / f"{name}.png"
    picture = path.read_bytes()

    assert f"(docs/pictures/{path.name})" in README
    assert picture.startswith(b"\x89PNG")
    assert struct.unpack(">II", picture[16:24]) == (390, 844)
    assert len(picture) < 120_000
    assert not re.search(rb"tEXt|iTXt|zTXt|eXIf", picture)


def test_the_picture_of_the_report_is_small_and_of_no_machine() -> None:
    """The report's first page is a PNG of the size that `make pictures` draws, and holds nothing but the picture."""
    picture = (ROOT / "docs" / "pictures" / "report.png").read_bytes()

    assert "(docs/pictures/report.png)" in README
    assert picture.startswith(b"\x89PNG")
    assert struct.unpack(">II", picture[16:24]) == (1200, 1180)
    assert len(picture) < 250_000
    assert not re.search(rb"tEXt|iTXt|zTXt|eXIf", picture)


def test_the_detections_named_are_those_of_the_catalogue() -> None:
    """The README names every detection with its title, in the catalogue's order, and no other."""
    assert _rows("What it detects") == [[f"`{each.id}`", each.title] for each in CATALOGUE]


def test_the_settings_are_the_template_s_parameters() -> None:
    """The README's table of settings says what the template's parameters say."""
    template: dict[str, Any] = yaml.load((ROOT / "template.yaml").read_text(encoding="utf-8"), _Loader)  # noqa: S506

    expected = []
    for name, parameter in template["Parameters"].items():
        default = parameter.get("Default")
        shown = "required" if default is None else f"`{default}`" if default != "" else "empty"
        expected.append([f"`{name}`", shown, " ".join(parameter["Description"].split())])

    assert _rows("Settings") == expected


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_of_the_readme_has_help(command: str) -> None:
    """Each command that the README names is there, and its --help says what it does."""
    assert len(_run(command, "--help").splitlines()) > 3


def test_the_commands_listed_by_help_are_those_of_the_readme() -> None:
    """A command that is added without a word in the README is noticed."""
    listed = set(re.findall(r"^  ([a-z-]+)  ", _run("--help").split("Commands:")[1], flags=re.MULTILINE))

    assert listed == COMMANDS


def test_the_permissions_of_doctor_are_stated() -> None:
    """The README names every permission with which `rootwatch doctor` can check all, and no other."""
    section = README.split("### Check a deployment\n", 1)[1].split("\n###", 1)[0].split("all of them reads:", 1)[1]
    stated = {
        f"{service}:{name.strip()}"
        for service, names in re.findall(r"([a-z]+):([A-Za-z,\s]+?)(?=[;.])", section)
        for name in names.split(",")
    }

    assert stated == set(ACTIONS)


def test_every_make_target_named_exists() -> None:
    """A `make` target that README, CHANGELOG or docs name is in the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    named = {
        target
        for path in DOCUMENTS
        for target in re.findall(r"(?:`|^)make ([a-z]+)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    }

    assert named
    assert named <= targets


def test_the_list_of_detections_is_generated() -> None:
    """docs/detections.md is what `make docs` writes today."""
    assert (ROOT / "docs" / "detections.md").read_text(encoding="utf-8") == document()


def test_the_runbook_has_the_commands_that_answer() -> None:
    """Whoever is woken finds every command of triage in the runbook, in the order of its states, and no other word."""
    text = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
    named = re.findall(r"`rootwatch ([a-z-]+)", text)
    assert set(named) <= COMMANDS
    first = [named.index(each) for each in ("ack", "resolve", "suspicious")]
    assert first == sorted(first)
    table = re.findall(r"^\| .*?`rootwatch ([a-z]+) INCIDENT", text, flags=re.MULTILINE)
    assert table == ["show", "ack", "note", "resolve", "suspicious", "contain", "evidence", "close"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    """Every relative link in a document leads to a file of the project."""
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), f"{path.name} links to {target}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_anchors_lead_to_headings(path: Path) -> None:
    """Every link to a place in a document of ours leads to one of its headings, spelt as GitHub spells it."""
    for file, anchor in re.findall(r"\]\((?!https?://)([^)#]*)#([^)]+)\)", path.read_text(encoding="utf-8")):
        text = ((path.parent / file) if file else path).read_text(encoding="utf-8")
        headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, anchor


def test_a_decision_has_a_number_of_its_own() -> None:
    """The pages of docs/decisions/ count from 1, and no two have one number."""
    numbers = [int(path.name[:4]) for path in sorted((ROOT / "docs" / "decisions").glob("*.md"))]

    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "decisions").glob("*.md")), ids=lambda path: path.name)
def test_a_decision_says_what_was_decided(path: Path) -> None:
    """Every page of docs/decisions/ has a title with its number and a decision."""
    text = path.read_text(encoding="utf-8")

    assert re.match(rf"# {int(path.name[:4])}\. \S", text)
    assert "**Decision.**" in text
