"""The register as CSV: one line for each row, in the register's order, safe to open in a spreadsheet.

A cell that a spreadsheet would run as a formula begins with an apostrophe. So does what follows a semicolon within one:
where a comma is the decimal sign, a spreadsheet ends the cell there, quoted or not.
https://owasp.org/www-community/attacks/CSV_Injection
"""

import csv
from collections.abc import Iterable
from typing import IO, Final

from rootwatch.audit.items import moment_text
from rootwatch.report.model import Use

COLUMNS: Final = (
    "account_id", "account_name", "kind", "first_at", "last_at", "severity", "stage", "acting_as", "outcomes", "mfa",
    "sources", "new_sources", "clients", "regions", "records", "reads", "acts", "detections", "avoidable_actions",
    "expected", "person", "reason", "ticket", "approver", "declared_at", "declared_afterwards", "alerted_at",
    "acknowledged_at", "acknowledged_by", "closed_at", "reviewer", "verdict", "review_reason", "review_ticket",
    "exceptions", "incident_id", "event_ids", "more_event_ids",
)  # fmt: skip
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a formula, or a command of old spreadsheets, begins with; full-width forms included."""
_BEFORE: Final = " '\"\u00a0\u200b\u2060\u3000\ufeff\x00"
"""What some spreadsheets drop before they look how a cell begins."""


class RegisterFile:
    """Writes the register line by line."""

    def __init__(self, file: IO[str]) -> None:
        """Begin with the names of the columns; the file must be open with `newline=""`."""
        self._writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
        self._writer.writerow(COLUMNS)

    def add(self, use: Use) -> None:
        """Write one row."""
        self._writer.writerow([harmless(cell) for cell in _cells(use)])


def harmless(cell: str) -> str:
    """Return a cell that no spreadsheet runs, wherever it ends cells: what begins like a formula gets an apostrophe."""
    return ";".join(f"'{part}" if _is_formula(part) else part for part in cell.split(";"))


def _is_formula(text: str) -> bool:
    """Return whether a text begins like a formula, blanks, quotes and what is not seen aside."""
    return text.startswith(_FORMULA) or text.lstrip(_BEFORE).startswith(_FORMULA)


def _cells(use: Use) -> list[str]:
    declared, review = use.declared, use.review
    return [
        use.account_id,
        use.account_name,
        str(use.kind),
        moment_text(use.first_at),
        moment_text(use.last_at),
        use.severity,
        use.stage,
        _joined(use.actors),
        _joined(f"{name} {count}" for name, count in use.outcomes.items()),
        use.mfa,
        _joined(use.sources),
        _joined(use.new_sources),
        _joined(use.clients),
        _joined(use.regions),
        str(use.records),
        str(use.reads),
        _joined(use.acts),
        _joined(use.detections),
        _joined(f"{action} {count}" for action, count in use.avoidable.items()),
        _joined(f"{name} {count}" for name, count in use.expected.items()),
        _joined(each.person for each in declared),
        _joined(each.reason for each in declared),
        _joined(each.ticket for each in declared),
        _joined(each.approver for each in declared),
        _joined(moment_text(each.declared_at) for each in declared),
        _joined("yes" if each.afterwards else "no" for each in declared),
        moment_text(review.alerted_at) if review.alerted_at else "",
        moment_text(review.acknowledged_at) if review.acknowledged_at else "",
        review.acknowledged_by,
        moment_text(review.closed_at) if review.closed_at else "",
        review.reviewer,
        review.verdict,
        review.reason,
        review.ticket,
        _joined(use.exceptions),
        use.incident_id,
        _joined(use.event_ids),
        str(use.more_event_ids),
    ]


def _joined(parts: Iterable[str]) -> str:
    return "; ".join(parts)
