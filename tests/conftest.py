"""What tests have to say about themselves, at the end of the run: also where they ran in processes of their own."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

PRINTED = "printed"
"""The name under which a test hands over a line with `record_property`, such as how its examples were distributed."""


def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter") -> None:
    """Print each line that a test handed over."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    lines = [value for each in reports for name, value in getattr(each, "user_properties", ()) if name == PRINTED]
    if lines:
        terminalreporter.section("examples of the properties, and points of failure")
    for line in dict.fromkeys(map(str, lines)):
        terminalreporter.write_line(line)
