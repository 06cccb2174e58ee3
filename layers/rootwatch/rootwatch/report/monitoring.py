"""What proves that the watch itself worked, day by day: canaries and heartbeats. Nothing is ever assumed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from rootwatch.alert import visible
from rootwatch.audit.items import DeliveryState, HeardHours
from rootwatch.audit.table import Value
from rootwatch.coverage import Place
from rootwatch.errors import DamagedItemError
from rootwatch.probe import ProbeKind, place_of
from rootwatch.report.model import ForwarderFigures, Monitoring, Period, ProbeFigures, counted, listed

NOT_PROVEN: Final = "monitoring not proven"
NO_CANARY: Final = "no canary came through"
NO_HEARTBEAT: Final = "no source heartbeat came back"
_DELIVERIES: Final = "DELIVERY#"
_HOUR: Final = timedelta(hours=1)
_MOST_REGIONS: Final = 3
"""Regions that one reason names."""


@dataclass(slots=True)
class _Count:
    """The probes of one kind."""

    sent: int = 0
    received: int = 0
    days: set[int] = field(default_factory=set)


def monitoring_of(
    items: Iterable[Mapping[str, Value]],
    period: Period,
    places: Iterable[Place | DamagedItemError] = (),
    heard: Iterable[HeardHours | DamagedItemError] = (),
) -> Monitoring:
    """Return what canaries and heartbeats of a month prove.

    Each counts on the day on which it was sent (`sent_at`; of a forwarder: for which it was scheduled). A canary came
    through where it arrived (`arrived_at`) and a channel took it, which an item of its own says
    (`DELIVERY#<channel>#<nonce>`): it proves everything from the rule to the channel, and nothing of CloudTrail. A
    source heartbeat came back where its record arrived, which proves CloudTrail, and nothing behind `detect`. So a day
    is proven by one of each. What is damaged proves nothing, and is counted in the remark.

    Args:
        items: the items of the probes' partition, by their sort key: so the deliveries come first.
        period: the month.
        places: every account and region that was ever heard.
        heard: of which hours of the month heartbeats of forwarders came.

    """
    counts = {kind: _Count() for kind in ProbeKind}
    unreadable = 0
    delivered: set[str] = set()
    hubs: set[tuple[str, str]] = set()
    for item in items:
        sk = str(item.get("sk") or "")
        if sk.startswith(_DELIVERIES):
            if item.get("state") == str(DeliveryState.SENT):
                delivered.add(str(item.get("nonce")))
            continue
        kind = ProbeKind.HEARTBEAT if sk.startswith(f"{ProbeKind.HEARTBEAT}#") else ProbeKind.CANARY
        sent = _moment(item, "sent_at")
        if sent is None:
            unreadable += 1
        elif sent in period:
            counts[kind].sent += 1
            hubs.update(_place(item))
            passed = kind is ProbeKind.HEARTBEAT or str(item.get("nonce")) in delivered
            if _moment(item, "arrived_at") is not None and passed:
                counts[kind].received += 1
                counts[kind].days.add(sent.day)
    forwarders, damaged = _forwarders(places, heard, hubs, period)
    remark = _remark(unreadable, damaged)
    if not any(count.sent for count in counts.values()):
        return Monitoring(remark=remark)
    canaries, heartbeats = (_figures(counts[kind], period) for kind in (ProbeKind.CANARY, ProbeKind.HEARTBEAT))
    missing = {*canaries.missing, *heartbeats.missing}
    return Monitoring(
        recorded=True,
        proven=tuple(day for day in _days(period) if day not in missing),
        missing=tuple(sorted(missing)),
        canaries=canaries,
        heartbeats=heartbeats,
        hubs=tuple(sorted({account_id for account_id, _ in hubs})),
        forwarders=tuple(forwarders),
        remark=remark,
    )


def _days(period: Period) -> range:
    return range(1, period.days_begun + 1)


def _hours(first: datetime, end: datetime) -> int:
    return max(0, (end - first) // _HOUR)


def _figures(count: _Count, period: Period) -> ProbeFigures:
    missing = tuple(day for day in _days(period) if day not in count.days)
    return ProbeFigures(_hours(period.first, period.until), count.sent, count.received, missing)


def _place(item: Mapping[str, Value]) -> Iterator[tuple[str, str]]:
    """Yield the account and region whose rule sent a probe, if its item says so."""
    try:
        yield place_of(str(item.get("rule_arn")))
    except ValueError:
        return


def _forwarders(
    places: Iterable[Place | DamagedItemError],
    heard: Iterable[HeardHours | DamagedItemError],
    hubs: set[tuple[str, str]],
    period: Period,
) -> tuple[list[ForwarderFigures], int]:
    """Return how it stood with each place that somebody waited for in the month, and how many items are damaged."""
    damaged = 0
    known: dict[tuple[str, str], Place] = {}
    hours: dict[tuple[str, str], HeardHours] = {}
    for each in (*places, *heard):
        if isinstance(each, DamagedItemError):
            damaged += 1
        elif isinstance(each, Place):
            known[each.account_id, each.region] = each
        else:
            hours[each.account_id, each.region] = each
    found = []
    for where in sorted({*known, *hours} - hubs):
        place, of_place = known.get(where), hours.get(where)
        ended = place.retired_at if place is not None else None
        until = period.until if ended is None else min(period.until, ended)
        # One that is heard first after the month, or was given up before it, is no part of it.
        if of_place is None and (until <= period.first or (place is not None and place.first_at >= period.end)):
            continue
        received = {day: mask.bit_count() for day, mask in of_place.days.items() if mask} if of_place else {}
        waited = [day for day in _days(period) if period.first + timedelta(days=day - 1) < until]
        found.append(
            ForwarderFigures(
                account_id=visible(where[0], 40),
                region=visible(where[1], 40),
                expected=_hours(period.first, until),
                received=sum(received.values()),
                missing=tuple(day for day in waited if day not in received),
                since=place.first_at if place is not None and place.first_at in period else None,
            )
        )
    return found, damaged


def _remark(unreadable: int, damaged: int) -> str:
    parts = []
    if unreadable:
        parts.append(f"{counted(unreadable, 'canary or heartbeat', 'canaries or heartbeats')} without a readable time")
    if damaged:
        parts.append(counted(damaged, "damaged item of coverage", "damaged items of coverage"))
    return (
        f"{' and '.join(parts)}: {'it proves' if unreadable + damaged == 1 else 'they prove'} nothing" if parts else ""
    )


def _moment(item: Mapping[str, Value], name: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(item.get(name)))
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo is not None else None


def _reasons(monitoring: Monitoring, forwarders: Sequence[ForwarderFigures], *, named: bool) -> dict[int, list[str]]:
    """Return why each day is not proven, by day."""
    reasons: dict[int, list[str]] = {}
    for figures, words in ((monitoring.canaries, NO_CANARY), (monitoring.heartbeats, NO_HEARTBEAT)):
        for day in figures.missing:
            reasons.setdefault(day, []).append(words)
    silent: dict[int, list[str]] = {}
    for each in forwarders:
        for day in each.missing:
            silent.setdefault(day, []).append(f"{each.account_id} {each.region}" if named else each.region)
    for day, where in silent.items():
        reasons.setdefault(day, []).append(f"no heartbeat from {listed(where, _MOST_REGIONS)}")
    return dict(sorted(reasons.items()))


def gaps(monitoring: Monitoring) -> dict[int, str]:
    """Return the days of the month that are not proven for every account and region, each with the reasons in words."""
    return {day: "; ".join(words) for day, words in _reasons(monitoring, monitoring.forwarders, named=True).items()}


def proof_words(monitoring: Monitoring, period: Period, account_id: str | None = None) -> str:
    """Return how far monitoring is proven, the days without proof named, and why.

    Args:
        monitoring: what proves it.
        period: the month.
        account_id: of which account; None for the hub's own region, which every other one's records pass too.

    """
    if not monitoring.recorded:
        return NOT_PROVEN
    of_account = [each for each in monitoring.forwarders if each.account_id == account_id]
    if account_id is not None and account_id not in monitoring.hubs and not of_account:
        return f"{NOT_PROVEN} (no heartbeat of this account is recorded)"
    by_reason: dict[str, list[str]] = {}
    reasons = _reasons(monitoring, of_account, named=False)
    for day, why in reasons.items():
        by_reason.setdefault("; ".join(why), []).append(f"{period.name}-{day:02d}")
    words = f"monitoring proven on {period.days_begun - len(reasons)} of {period.days_begun} days"
    missing = [f"{', '.join(days)} ({why})" for why, days in by_reason.items()]
    return f"{words}, not on {', nor on '.join(missing)}" if missing else words
