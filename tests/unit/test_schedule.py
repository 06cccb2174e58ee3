"""The order of the tests: long folders first, and what shares a stage in one process, with nothing else between."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.e2e.conftest import stage
from tests.schedule import LONGEST_FIRST, Schedule, sort

TESTS = Path(__file__).resolve().parents[1]


def test_every_folder_of_tests_has_its_place() -> None:
    """A new folder of tests is put where it belongs, and not silently last."""
    folders = {path.parent.name for path in TESTS.glob("*/test_*.py")}

    assert folders == set(LONGEST_FIRST)


def test_long_folders_come_first_and_chance_stays() -> None:
    """Within a folder the order stays as it was chosen; a folder that nobody knows comes last."""
    names = ["unit/b", "else/x", "e2e/b", "unit/a", "crash/a", "e2e/a"]
    items: Any = [SimpleNamespace(path=TESTS / f"{name}.py") for name in names]

    sort(items)

    assert [item.path.relative_to(TESTS).with_suffix("").as_posix() for item in items] == [
        "e2e/b", "e2e/a", "crash/a", "unit/b", "unit/a", "else/x",
    ]  # fmt: skip


def test_end_to_end_tests_are_one_unit_of_work(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them go to one process; any other file goes where there is time."""
    monkeypatch.setattr(pytestconfig.option, "tx", ["popen"])
    monkeypatch.setattr(pytestconfig.option, "loadscopereorder", True)
    schedule = Schedule(pytestconfig)
    files = ["tests/e2e/test_a.py", "tests/e2e/test_b.py", "tests/unit/test_a.py", "tests/unit/test_b.py"]

    scopes = {schedule._split_scope(f"{file}::test_it[a::b]") for file in files}

    assert scopes == {"tests/e2e/", "tests/unit/test_a.py", "tests/unit/test_b.py"}
    assert pytestconfig.option.loadscopereorder is False


def test_the_shared_stage_ends_with_its_package() -> None:
    """Its servers live in this process: in one that lasted longer, the unit tests would forbid them their sockets."""
    assert stage._fixture_function_marker.scope == "package"
    assert (TESTS / "e2e" / "__init__.py").is_file()
