"""`rootwatch doctor`: says what is wrong with a deployment and how to mend it, on the terminal or as JSON lines."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from rootwatch_cli.deployed import Where, in_reach
from rootwatch_cli.doctor.checks import examine
from rootwatch_cli.doctor.checks.verdict import Finding, State
from rootwatch_cli.doctor.look import look_at
from rootwatch_cli.incidents import counted

NOT_ALL_CHECKED: Final = 3
"""The exit status where nothing is wrong that could be checked, and something could not be."""

_MOST_NAMED: Final = 3

_STYLES: Final = {State.FAULT: "bold red", State.WARNING: "yellow", State.NOT_CHECKED: "cyan", State.OK: "green"}


def run_doctor(where: Where, *, as_json: bool) -> int:
    """Check a deployed stack and print what was found.

    Returns 0 where all is well or there are warnings only, 1 for a fault, 3 where nothing is wrong but something could
    not be checked, 2 where the stack could not be reached at all.
    """

    def do() -> int:
        errors = Console(stderr=True)
        with errors.status("Asking AWS about every part of the stack…"):
            deployment = look_at(where)
        findings = examine(deployment)
        if as_json:
            _print_json(findings)
        else:
            _print_list(
                findings, f"the stack {deployment.name} in {deployment.region}, account {deployment.account_id}"
            )
        return status_of(findings)

    return in_reach(do)


def status_of(findings: Sequence[Finding]) -> int:
    """Return the exit status of what was found."""
    states = {finding.state for finding in findings}
    if State.FAULT in states:
        return 1
    return NOT_ALL_CHECKED if State.NOT_CHECKED in states else 0


def _print_json(findings: Sequence[Finding]) -> None:
    for finding in findings:
        document = {
            "check": finding.check,
            "subject": finding.subject,
            "state": str(finding.state),
            "what": finding.what,
            "mend": finding.mend or None,
        }
        sys.stdout.write(json.dumps(document, ensure_ascii=True) + "\n")
    counts = Counter(str(finding.state).replace(" ", "_") for finding in findings)
    summary = {str(state).replace(" ", "_"): counts[str(state).replace(" ", "_")] for state in State}
    sys.stdout.write(json.dumps({"summary": summary}, ensure_ascii=True) + "\n")


def _print_list(findings: Sequence[Finding], what: str) -> None:
    console = Console()
    console.print(Text(what, style="bold"))
    same: dict[tuple[State, str, str], list[Finding]] = {}
    for finding in findings:
        if finding.state is not State.OK:
            same.setdefault((finding.state, finding.what, finding.mend), []).append(finding)
    for (state, words, mend), told in same.items():
        console.print()
        console.print(Text.assemble((f"{state}".upper(), _STYLES[state]), f"  {_about(told)}"))
        console.print(Padding(Text(words), (0, 0, 0, 2)))
        if mend:
            # As one line, however narrow the terminal is: a command that is wrapped cannot be copied.
            console.print(Text(f"  → {mend}", style="dim"), soft_wrap=True)
    counts = Counter(finding.state for finding in findings)
    console.print()
    console.print(Text(_verdict(counts), style="bold"))


def _about(told: Sequence[Finding]) -> str:
    """Return which checks found the same of what: one refusal of AWS is told once, and not for every alarm."""
    subjects: dict[str, list[str]] = {}
    for finding in told:
        subjects.setdefault(finding.check, []).append(finding.subject)
    return "; ".join(f"{check}: {_listed(each)}" for check, each in subjects.items())


def _listed(subjects: Sequence[str]) -> str:
    more = len(subjects) - _MOST_NAMED
    return f"{', '.join(subjects[:_MOST_NAMED])} and {more} more" if more > 0 else ", ".join(subjects)


def _verdict(counts: Counter[State]) -> str:
    parts = [
        counted(counts[State.FAULT], "fault"),
        counted(counts[State.WARNING], "warning"),
        f"{counts[State.NOT_CHECKED]} not checked",
        f"{counts[State.OK]} ok",
    ]
    return ", ".join(parts)
