"""In which order tests run, and what they have to say about themselves at the end: also in processes of their own.

Beside what a test hands over, these are the permissions that the end-to-end run used (`tests/e2e/wire.py`): each
process sees its own files, and only all of them together tell what no call needs; a part of them tells nothing of it.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from xdist.remote import Producer

from tests import schedule

PRINTED = "printed"
"""The name under which a test hands over a line with `record_property`, such as how its examples were distributed."""
WIRE: Final = "wire"
"""The name under which a process of its own hands over what it saw of the end-to-end run."""

_END_TO_END: Final = Path(__file__).parent / "e2e"
_SEEN: Final[dict[str, Any]] = {"files": set(), "is_part": False, "used": set(), "unused": None}
"""What is known of the end-to-end run: its files, whether tests were left out, the permissions that calls used."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let what takes long begin first, where there is more than one process; else what is quick should tell first."""
    if hasattr(config, "workerinput"):
        schedule.sort(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> schedule.Schedule | None:
    """Keep together what shares a stage, where files are dealt out whole."""
    return schedule.Schedule(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Note that a part of the end-to-end tests is left out."""
    _SEEN["is_part"] |= any(item.path.parent == _END_TO_END for item in items)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Note which files of the end-to-end tests are going to be run."""
    _SEEN["files"] |= {item.path.name for item in session.items if item.path.parent == _END_TO_END}
    _SEEN["is_part"] |= any("::" in argument for argument in session.config.args)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:  # noqa: ARG001 - as the hook hands it over
    """Take what a process of its own saw, when it is done."""
    handed: dict[str, Any] = getattr(node, "workeroutput", {}).get(WIRE, {})
    _SEEN["files"] |= set(handed.get("files", ()))
    _SEEN["is_part"] |= handed.get("is_part", False)
    _SEEN["used"] |= {(sid, action) for sid, action in handed.get("used", ())}


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Hand over what this process saw; the last one fails the run for a permission that nothing in it used."""
    recorder: Any = sys.modules.get("tests.e2e.wire")
    if recorder is not None:
        _SEEN["used"] |= recorder.USED
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output[WIRE] = {
            "files": sorted(_SEEN["files"]),
            "is_part": _SEEN["is_part"],
            "used": sorted(_SEEN["used"]),
        }
        return
    whole = {path.name for path in _END_TO_END.glob("test_*.py")} == _SEEN["files"]
    if whole and not _SEEN["is_part"] and exitstatus == pytest.ExitCode.OK:
        from tests.e2e.wire import unused  # noqa: PLC0415 - only after the end-to-end run

        _SEEN["unused"] = unused(_SEEN["used"])
        if _SEEN["unused"]:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print each line that a test handed over, and what the end-to-end run says of the permissions."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    lines = [value for each in reports for name, value in getattr(each, "user_properties", ()) if name == PRINTED]
    if lines:
        terminalreporter.section("examples of the properties, and points of failure")
    for line in dict.fromkeys(map(str, lines)):
        terminalreporter.write_line(line)
    if _SEEN["unused"] is not None:
        terminalreporter.section("permissions in the end-to-end run")
        terminalreporter.write_line(f"Its calls used {len(_SEEN['used'])} permissions; each call was allowed.")
        for sid, action in sorted(_SEEN["unused"]):
            words = f"NOT USED, and not listed in tests/template/permissions.py: {action} of the statement {sid}"
            terminalreporter.write_line(words, red=True)
