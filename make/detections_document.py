"""Writes docs/detections.md from the catalogue; `make docs` runs it, and a test compares the two."""

import sys
from pathlib import Path

from rootwatch.detections.catalogue import CATALOGUE
from rootwatch.detections.detection import Detection

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "detections.md"

_INTRODUCTION = """\
# Detections

Written by `make docs` from `rootwatch/detections/`; change it there. Each detection has a specimen of the same name in
`events/`, a near miss in `events/near_misses/`, an expectation in `tests/expectations/`, and a section in the
[runbook](runbook.md) that says what to do. A record has every detection that fits; `write`, `read` and `service_acted`
only where nothing else but `access_key_used` does. A refused or failed attempt keeps the detection of the act.

| detection | title | found by | MITRE ATT&CK |
|---|---|---|---|
"""


def document() -> str:
    """Return the whole document as text."""
    rows = "".join(_row(detection) for detection in CATALOGUE)
    return _INTRODUCTION + rows + "".join(_section(detection) for detection in CATALOGUE)


def _row(detection: Detection) -> str:
    found_by = "one record" if detection.rule else "the account's history"
    techniques = ", ".join(detection.techniques) or "none"
    return f"| [`{detection.id}`](#{detection.stem}) | {detection.title} | {found_by} | {techniques} |\n"


def _section(detection: Detection) -> str:
    steps = "\n".join(f"{number}. {step}" for number, step in enumerate(detection.next_steps, start=1))
    controls = "; ".join(detection.controls)
    return (
        f"\n## {detection.stem}\n\n**{detection.title}.** {detection.why}\n\n"
        f"Severity: {detection.severity_rule}\n\n{steps}\n\n"
        f"More: [runbook](runbook.md#{detection.stem}). Supports: {controls}.\n"
    )


def main() -> None:
    """Write the document where `--write` is given, else print it."""
    if "--write" in sys.argv[1:]:
        DOCUMENT.write_text(document(), encoding="utf-8")
    else:
        sys.stdout.write(document())


if __name__ == "__main__":
    main()
