"""The specimens under `events/` and what a careful reader expects of each, under `tests/expectations/`.

A specimen is named by its path below `events/` without the suffix: `console_login`, `near_misses/console_login`,
`silent/iam_user_sign_in`. Its expectations have the same name and are a list parallel to its records.
"""

import json
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
EVENTS = PROJECT / "events"
EXPECTATIONS = PROJECT / "tests" / "expectations"


def specimen_stems() -> list[str]:
    """The stems of the detections that have a specimen, sorted."""
    return _names(EVENTS)


def near_miss_stems() -> list[str]:
    """The stems of the detections that have a near miss, sorted, without the folder."""
    return _names(EVENTS / "near_misses")


def silent_names() -> list[str]:
    """The names of the specimens that must stay silent, sorted, without the folder."""
    return _names(EVENTS / "silent")


def all_specimens() -> list[str]:
    """Every specimen's name in a stable order: detections, near misses, silent ones."""
    return [
        *specimen_stems(),
        *(f"near_misses/{stem}" for stem in near_miss_stems()),
        *(f"silent/{name}" for name in silent_names()),
    ]


def load_specimen(name: str) -> list[dict[str, Any]]:
    """The EventBridge envelopes of one specimen, fresh objects at every call, always a list."""
    return _load(EVENTS / f"{name}.json")


def load_expectations(name: str) -> list[dict[str, Any]]:
    """What `rootwatch inspect` must say of each record of one specimen: the fields that matter, in its order."""
    return _load(EXPECTATIONS / f"{name}.json")


def _names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.json"))


def _load(path: Path) -> list[dict[str, Any]]:
    document = json.loads(path.read_text(encoding="utf-8"))
    return document if isinstance(document, list) else [document]
