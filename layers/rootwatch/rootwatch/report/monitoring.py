"""What proves that the watch itself worked: canaries that came through, by day. Nothing is ever assumed."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from rootwatch.audit.table import Value
from rootwatch.report.model import Monitoring, Period

NOT_PROVEN: Final = "monitoring not proven"
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z", re.ASCII)


def monitoring_of(items: Iterable[Mapping[str, Value]], period: Period) -> Monitoring:
    """Return what the canaries of a month prove.

    A canary counts on the day on which it was sent, and as received where its item says when (`received_at`). A day is
    proven by one that was received; a day with none, or with canaries that were all lost, is not.
    """
    expected = received = unreadable = 0
    proven: set[int] = set()
    for item in items:
        sent = _sent(item)
        if sent is None:
            unreadable += 1
            continue
        if sent not in period:
            continue
        expected += 1
        if isinstance(item.get("received_at"), str):
            received += 1
            proven.add(sent.day)
    remark = f"{unreadable} canaries state no time and prove nothing" if unreadable else ""
    if not expected:
        return Monitoring(remark=remark)
    missing = tuple(day for day in range(1, period.days_begun + 1) if day not in proven)
    return Monitoring(
        recorded=True,
        proven=tuple(sorted(proven)),
        missing=missing,
        expected=expected,
        received=received,
        remark=remark,
    )


def _sent(item: Mapping[str, Value]) -> datetime | None:
    for name in ("sent_at", "sk"):
        found = _MOMENT.search(str(item.get(name) or ""))
        if found is not None:
            try:
                return datetime.fromisoformat(found.group()).astimezone(UTC)
            except ValueError:
                continue
    return None


def proof_words(monitoring: Monitoring, period: Period) -> str:
    """Return how far monitoring is proven, the days without proof named."""
    if not monitoring.recorded:
        return NOT_PROVEN
    words = f"monitoring proven on {len(monitoring.proven)} of {period.days_begun} days"
    if monitoring.missing:
        words += f", not on {', '.join(f'{period.name}-{day:02d}' for day in monitoring.missing)}"
    return words
