"""The report as JSON, for machines: docs/root-usage-report.schema.json says what is in it.

The register's rows are written as they are known and joined at the end, so that memory does not grow with them.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import IO, Any, Final

from rootwatch.audit.items import moment_text
from rootwatch.report.model import Report, Use

FORMAT: Final = 1
"""Of the document; a field that is added does not change it."""
LEFT_OUT: Final = frozenset({"uses", "more_uses", "period", "more_attempts"})
"""What the register, the period or the page has instead."""


def plain(value: object) -> Any:  # noqa: ANN401 - JSON's own values
    """Return a part of the model as JSON's own types; moments as in the table, every enumeration by its value."""
    if isinstance(value, datetime):
        return moment_text(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    return str(value) if isinstance(value, str) else value


def register_line(use: Use) -> str:
    """Return a row of the register as one line of JSON, ASCII only."""
    return json.dumps(plain(use), ensure_ascii=True)


def write_json(report: Report, generated: datetime, rows: Iterator[str], file: IO[str]) -> None:
    """Write the report; `rows` are the lines of its register, `generated` (UTC) has a line of its own."""
    period = report.period
    head = {
        "format": FORMAT,
        "generated": moment_text(generated),
        "period": {
            "month": period.name,
            "from": moment_text(period.first),
            "until": moment_text(period.end),
            "in_progress": period.in_progress,
        },
    }
    body = {name: value for name, value in plain(report).items() if name not in LEFT_OUT}
    text = json.dumps(head | body, ensure_ascii=True, indent=2)
    file.write(text.removesuffix("\n}"))
    file.write(',\n  "register": [')
    for position, line in enumerate(rows):
        file.write(f"{',' if position else ''}\n    {line}")
    file.write("\n  ]\n}\n")
