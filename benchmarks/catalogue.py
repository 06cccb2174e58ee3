"""How long one record takes: the catalogue, and everything that is said of it, beside `json.loads` of the same record.

Every figure is taken in each round, one after the other, so that whatever else the machine does falls on all of them
alike; compare the ratios, not the microseconds of two runs.
"""

import gc
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from rootwatch.context.observation import observe
from rootwatch.detections.catalogue import CATALOGUE, detect
from rootwatch.detections.detection import OwnResources
from rootwatch.record import read_document

ROUNDS: Final = 201
CALLS: Final = 20
"""Calls that are timed together, so that the clock's own cost does not count."""

RECORD: Final = Path(__file__).resolve().parents[1] / "events" / "write.json"
"""A change that root makes in the console and that nothing but `root.write` fits, so that every detection is asked."""

BASE: Final = "json.loads"


def microseconds(act: Callable[[], object]) -> float:
    """Return the processor time of one call, in microseconds; waiting for other programs does not count."""
    begun = time.thread_time_ns()
    for _ in range(CALLS):
        act()
    return (time.thread_time_ns() - begun) / CALLS / 1000


def main() -> None:
    """Measure all of it in one run and print figures and ratios."""
    envelope = json.loads(RECORD.read_text(encoding="utf-8"))
    document = (envelope[0] if isinstance(envelope, list) else envelope)["detail"]
    text, record, own = json.dumps(document), read_document(document), OwnResources("rootwatch")
    assert [finding.detection.id for finding in detect(record, own)] == ["root.write"]

    def said() -> object:
        observation = observe(record, own)
        return observation.root_need, observation.role_alternative

    measured: dict[str, Callable[[], object]] = {
        BASE: lambda: json.loads(text),
        "detect: the whole catalogue": lambda: detect(record, own),
        "observe: detections, source, client": lambda: observe(record, own),
        "observe, with root's need and a role's action": said,
        "read_document: identity, outcome, redaction, hash": lambda: read_document(document),
        "read_document and observe": lambda: observe(read_document(document), own),
    }
    rounds: dict[str, list[float]] = {name: [] for name in measured}
    for act in measured.values():
        microseconds(act)
    gc.disable()
    for _ in range(ROUNDS):
        for name, act in measured.items():
            rounds[name].append(microseconds(act))
    gc.enable()

    print(f"{len(CATALOGUE)} detections, one record of {len(text):,} bytes, {ROUNDS} rounds of {CALLS} calls")
    print(f"{'':50} {'median µs':>10} {'min µs':>8} {'median of the ratios to ' + BASE:>35}")
    for name, figures in rounds.items():
        ratio = statistics.median(figure / base for figure, base in zip(figures, rounds[BASE], strict=True))
        print(f"{name:50} {statistics.median(figures):10.1f} {min(figures):8.1f} {ratio:35.2f}")


if __name__ == "__main__":
    main()
