"""What proves that the watch itself worked: canaries that came through, by day. Nothing is ever assumed."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from rootwatch.audit.items import DeliveryState
from rootwatch.audit.table import Value
from rootwatch.report.model import Monitoring, Period

NOT_PROVEN: Final = "monitoring not proven"
_DELIVERIES: Final = "DELIVERY#"
_HEARTBEATS: Final = "heartbeat#"


def monitoring_of(items: Iterable[Mapping[str, Value]], period: Period) -> Monitoring:
    """Return what the canaries of a month prove.

    A canary counts on the day on which it was sent (`sent_at`), and as received where it arrived (`arrived_at`) and a
    channel took it, which an item of its own says (`DELIVERY#<channel>#<nonce>`). A day is proven by one that was
    received; a day with none, or with canaries that were all lost, is not. Heartbeats of sources prove less than the
    whole way, and count for nothing here.

    Args:
        items: the items of the canaries' partition, by their sort key: so the deliveries come first.
        period: the month.

    """
    expected = received = unreadable = 0
    proven: set[int] = set()
    delivered: set[str] = set()
    for item in items:
        sk = str(item.get("sk") or "")
        if sk.startswith(_DELIVERIES):
            if item.get("state") == str(DeliveryState.SENT):
                delivered.add(str(item.get("nonce")))
            continue
        if sk.startswith(_HEARTBEATS):
            continue
        sent = _moment(item, "sent_at")
        if sent is None:
            unreadable += 1
        elif sent in period:
            expected += 1
            if _moment(item, "arrived_at") is not None and str(item.get("nonce")) in delivered:
                received += 1
                proven.add(sent.day)
    remark = f"{unreadable} canaries state no time and prove nothing" if unreadable else ""
    if not expected:
        return Monitoring(remark=remark)
    return Monitoring(
        recorded=True,
        proven=tuple(sorted(proven)),
        missing=tuple(day for day in range(1, period.days_begun + 1) if day not in proven),
        expected=expected,
        received=received,
        remark=remark,
    )


def _moment(item: Mapping[str, Value], name: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(item.get(name)))
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo is not None else None


def proof_words(monitoring: Monitoring, period: Period) -> str:
    """Return how far monitoring is proven, the days without proof named."""
    if not monitoring.recorded:
        return NOT_PROVEN
    words = f"monitoring proven on {len(monitoring.proven)} of {period.days_begun} days"
    if monitoring.missing:
        words += f", not on {', '.join(f'{period.name}-{day:02d}' for day in monitoring.missing)}"
    return words
