"""The lock guard: what is locked is what is asked for, and nothing of the machine that locked it.

Run by `make check` from the root of the project; exits with status 1 and one line for each thing that is wrong.
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEADER = "# Exported from uv.lock by `make lock`. Do not edit: `make check` compares.\n"
EXPORTS = {"installer": ROOT / "make/uv.txt", "layer": ROOT / "layers/rootwatch/requirements.txt"}

# A mirror, a wheel folder or a proxy of one machine would break, or take over, every other one.
OF_ONE_MACHINE = re.compile(
    r"""file:|(?:^|["'\s=])/[a-z]|[A-Z]:\\|localhost|127\.0\.0\.1|\[::1\]|://(?!pypi\.org/simple|files\.pythonhosted\.org/)""",
    re.MULTILINE,
)


def uv(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the uv of this environment in the root of the project and return what it printed."""
    command = [str(pathlib.Path(sys.executable).parent / "uv"), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def export(group: str) -> str:
    """Return the hashed requirements of one dependency group as uv.lock has them; raises if uv fails."""
    printed = uv("export", "--frozen", "--quiet", "--only-group", group, "--no-header", "--no-annotate")
    printed.check_returncode()
    return HEADER + printed.stdout


def foreign_lines(text: str) -> list[str]:
    """Return the lines of a lock file that name a path, a loopback address or an index other than PyPI."""
    return [line.strip() for line in text.splitlines() if OF_ONE_MACHINE.search(line)]


def problems() -> list[str]:
    """Return one sentence for each thing that is wrong with the lock files."""
    found = []
    check = uv("lock", "--check")
    if check.returncode:
        found.append(f"uv.lock does not fit pyproject.toml; run `make lock`. uv says: {check.stderr.strip()}")
    found += [
        f"{path.relative_to(ROOT)} differs from uv.lock; run `make lock`"
        for group, path in EXPORTS.items()
        if not path.exists() or path.read_text() != export(group)
    ]
    found += [
        f"{path.relative_to(ROOT)} names something of one machine: {line[:120]}"
        for path in (ROOT / "uv.lock", *EXPORTS.values())
        for line in foreign_lines(path.read_text())
    ]
    return found


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        for group, path in EXPORTS.items():
            path.write_text(export(group))
    else:
        wrong = problems()
        print("\n".join(wrong) or "lock files: in step, and of no one machine")
        sys.exit(bool(wrong))
