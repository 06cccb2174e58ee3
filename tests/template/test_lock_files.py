"""The lock guard of `make check`: what it must notice in a lock file."""

import pathlib

import pytest

from make.lock_guard import EXPORTS, ROOT, foreign_lines


@pytest.mark.parametrize(
    "line",
    [
        'source = { registry = "http://127.0.0.1:8080/simple" }',
        'source = { registry = "http://localhost/simple" }',
        'source = { registry = "https://mirror.example.com/simple" }',
        'source = { path = "/opt/wheels/six.whl" }',
        "six @ file:///opt/wheels/six.whl",
        "--find-links /opt/wheels",
        "--extra-index-url https://mirror.example.com/simple",
    ],
)
def test_what_belongs_to_one_machine_is_noticed(line: str) -> None:
    """A path, a loopback address or another index than PyPI is reported."""
    assert foreign_lines(f"six==1.17.0\n{line}\n") == [line]


@pytest.mark.parametrize("path", [ROOT / "uv.lock", *EXPORTS.values()])
def test_the_lock_files_are_of_no_one_machine(path: pathlib.Path) -> None:
    """The lock files that stand here hold nothing of the machine that made them, and a hash for each thing."""
    text = path.read_text()

    assert "sha256:" in text
    assert foreign_lines(text) == []


def test_each_requirement_has_a_hash() -> None:
    """What is installed into the layer, and uv itself, is pinned to a version and to hashes."""
    for path in EXPORTS.values():
        requirements = path.read_text().replace("\\\n", "").splitlines()[1:]
        assert requirements
        for requirement in requirements:
            assert "==" in requirement
            assert "--hash=sha256:" in requirement
