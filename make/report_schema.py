"""Writes docs/root-usage-report.schema.json from the report's types, so that the schema cannot drift.

`make docs` runs it with --write; a test compares. The register's rows stand under `register`, one object for each.
"""

import json
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from rootwatch.report.json import FORMAT, LEFT_OUT
from rootwatch.report.model import Report, Use

PATH: Final = Path(__file__).resolve().parents[1] / "docs" / "root-usage-report.schema.json"
_MOMENT: Final = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"}
_PLAIN: Final[Mapping[object, dict[str, Any]]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    datetime: _MOMENT,
}


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the report."""
    definitions: dict[str, Any] = {}
    report = _of_dataclass(Report, definitions, LEFT_OUT)
    period = {
        "type": "object",
        "description": "The month, half open: `until` does not belong to it. Times are UTC.",
        "properties": {
            "month": {"type": "string", "pattern": r"^\d{4}-(0[1-9]|1[0-2])$"},
            "from": _MOMENT,
            "until": _MOMENT,
            "in_progress": {"type": "boolean"},
        },
        "required": ["month", "from", "until", "in_progress"],
        "additionalProperties": False,
    }
    register = {"type": "array", "items": _of(Use, definitions), "description": "Every row, by account and time."}
    head = {"format": {"const": FORMAT}, "generated": _MOMENT, "period": period}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Monthly root usage report",
        "description": "What `rootwatch report` writes as root-usage-<month>.json.",
        "type": "object",
        "properties": {**head, **report["properties"], "register": register},
        "required": [*head, *report["required"], "register"],
        "additionalProperties": False,
        "$defs": dict(sorted(definitions.items())),
    }


def _of_dataclass(kind: type, definitions: dict[str, Any], left_out: frozenset[str] = frozenset()) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    names = [each.name for each in fields(kind) if each.name not in left_out]
    return {
        "type": "object",
        "description": " ".join((kind.__doc__ or "").split()),
        "properties": {name: _of(hints[name], definitions) for name in names},
        "required": names,
        "additionalProperties": False,
    }


def _of(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - whatever a field is annotated with
    if kind in _PLAIN:
        return _PLAIN[kind]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        return {"anyOf": [_of(each, definitions) for each in arguments]}
    if origin is tuple:
        return {"type": "array", "items": _of(arguments[0], definitions)}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _of(arguments[1], definitions)}
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return {"enum": [str(each) for each in kind]}
    if isinstance(kind, type) and is_dataclass(kind):
        definitions.setdefault(kind.__name__, {})  # so that one which holds itself would end
        definitions[kind.__name__] = _of_dataclass(kind, definitions)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    raise TypeError(kind)


def document() -> str:
    """Return the schema as it is kept in docs/."""
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        PATH.write_text(document(), encoding="utf-8")
    elif PATH.read_text(encoding="utf-8") != document():
        sys.exit(f"{PATH.name} is not what the report's types say; run `make docs`.")
