"""What proves that the watch itself worked, day by day: canaries and heartbeats. Nothing is ever assumed.

One of each is due every hour. One may be lost, or come a minute late and so in the next hour: one hour alone may be
without. Two in a row are more than that, and their day is not proven.
"""

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
_HOURS: Final = 24
_TOLERATED: Final = 1
"""Hours in a row that may be without a sign of life."""
_AS_RANGE: Final = 3
"""So many days in a row are named by the first and the last."""
_MOST_REGIONS: Final = 3
"""Regions that one reason names."""


@dataclass(slots=True)
class _Count:
    """The probes of one kind."""

    sent: int = 0
    received: int = 0
    hours: dict[int, int] = field(default_factory=dict)
    """By day, a bit for each hour in which one was sent that came through, as in `HeardHours`."""

    def receive(self, sent: datetime) -> None:
        """Count one that came through."""
        self.received += 1
        self.hours[sent.day] = self.hours.get(sent.day, 0) | 1 << sent.hour


def monitoring_of(
    items: Iterable[Mapping[str, Value]],
    period: Period,
    places: Iterable[Place | DamagedItemError] = (),
    heard: Iterable[HeardHours | DamagedItemError] = (),
    first_received: datetime | None = None,
) -> Monitoring:
    """Return what canaries and heartbeats of a month prove.

    Each counts in the hour in which it was sent (`sent_at`; of a forwarder: for which it was scheduled). A canary came
    through where it arrived (`arrived_at`) and a channel took it, which an item of its own says
    (`DELIVERY#<channel>#<nonce>`): it proves everything from the rule to the channel, and nothing of CloudTrail. A
    source heartbeat came back where its record arrived, which proves CloudTrail, and nothing behind `detect`. So a day
    is proven by both. What is damaged proves nothing, and is counted in the remark.

    Args:
        items: the items of the probes' partition, by their sort key: so the deliveries come first.
        period: the month.
        places: every account and region that was ever heard.
        heard: of which hours of the month heartbeats of forwarders came.
        first_received: when the first record of the whole table arrived (UTC), if there is any.

    """
    counts = {kind: _Count() for kind in ProbeKind}
    unreadable = 0
    delivered: set[str] = set()
    hubs: set[tuple[str, str]] = set()
    known = list(places)
    signs = [first_received, *(each.first_at for each in known if isinstance(each, Place))]
    first_sign = min((each for each in signs if each is not None), default=None)
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
            continue
        first_sign = min(sent, first_sign or sent)
        if sent in period:
            counts[kind].sent += 1
            hubs.update(_place(item))
            passed = kind is ProbeKind.HEARTBEAT or str(item.get("nonce")) in delivered
            if _moment(item, "arrived_at") is not None and passed:
                counts[kind].receive(sent)
    since = first_sign if first_sign is not None and first_sign > period.first else None
    forwarders, damaged = _forwarders(known, heard, hubs, period)
    remark = _remark(unreadable, damaged)
    if not any(count.sent for count in counts.values()):
        return Monitoring(since=since, remark=remark)
    canaries, heartbeats = (_figures(counts[kind], period, since) for kind in (ProbeKind.CANARY, ProbeKind.HEARTBEAT))
    missing = {*canaries.missing, *heartbeats.missing}
    return Monitoring(
        recorded=True,
        proven=tuple(day for day in _days(period) if day not in missing),
        missing=tuple(sorted(missing)),
        canaries=canaries,
        heartbeats=heartbeats,
        hubs=tuple(sorted({account_id for account_id, _ in hubs})),
        forwarders=tuple(forwarders),
        since=since,
        remark=remark,
    )


def _hours(first: datetime, end: datetime) -> int:
    return max(0, (end - first) // _HOUR)


def _days(period: Period) -> range:
    """Return the days of which an hour at least is over; the first one in any case."""
    return range(1, max(1, -(-_hours(period.first, period.until) // _HOURS)) + 1)


def days_before(period: Period, since: datetime | None) -> range:
    """Return the days that began before something was heard for the first time."""
    return range(1, -(-(since - period.first) // timedelta(days=1)) + 1) if since is not None else range(0)


def _figures(count: _Count, period: Period, since: datetime | None) -> ProbeFigures:
    begun = max(period.first, since or period.first)
    silent = _silent_hours(count.hours, period, begun, period.until)
    missing = sorted({*silent, *days_before(period, since)} & {*_days(period)})
    return ProbeFigures(_hours(begun, period.until), count.sent, count.received, tuple(missing), silent)


def _silent_hours(heard: Mapping[int, int], period: Period, begun: datetime, until: datetime) -> dict[int, int]:
    """Return, by day, how many hours between two moments are without a sign of life: too many in a row, or all."""
    first, end = -(-(begun - period.first) // _HOUR), _hours(period.first, until)
    silent: dict[int, int] = {}
    run: list[int] = []
    for hour in range(first, end + 1):
        day, of_day = divmod(hour, _HOURS)
        if hour < end and not heard.get(day + 1, 0) >> of_day & 1:
            run.append(day + 1)
            continue
        if len(run) > _TOLERATED:
            for each in run:
                silent[each] = silent.get(each, 0) + 1
        run.clear()
    for day in _days(period):
        begins = period.first + timedelta(days=day - 1)
        # One hour alone may be without a sign, but not where it is all that there is of a day.
        if begun < begins + timedelta(days=1) and begins < until and not heard.get(day):
            silent[day] = max(1, _hours(max(begins, begun), min(begins + timedelta(days=1), until)))
    return dict(sorted(silent.items()))


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
        days = of_place.days if of_place is not None else {}
        since = place.first_at if place is not None and place.first_at in period else None
        if since is not None and any(mask and day < since.day for day, mask in days.items()):
            since = None  # it was heard before, whatever its place says
        begun = since or period.first
        silent = _silent_hours(days, period, begun, until)
        found.append(
            ForwarderFigures(
                account_id=visible(where[0], 40),
                region=visible(where[1], 40),
                expected=_hours(begun, until),
                received=sum(mask.bit_count() for mask in days.values()),
                missing=tuple(sorted({*silent, *days_before(period, since)} & {*_days(period)})),
                silent_hours=silent,
                since=since,
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


def _reasons(
    monitoring: Monitoring, period: Period, forwarders: Sequence[ForwarderFigures], *, named: bool
) -> dict[int, str]:
    """Return in words why each day is not proven, by day."""
    reasons: dict[int, list[str]] = {}
    unwatched = days_before(period, monitoring.since)
    for figures, what in ((monitoring.canaries, NO_CANARY), (monitoring.heartbeats, NO_HEARTBEAT)):
        for day in figures.missing:
            if day not in unwatched:
                reasons.setdefault(day, []).append(f"{what}{_for_hours(figures.silent_hours[day])}")
    silent: dict[int, dict[str, list[str]]] = {}
    for each in forwarders:
        where = f"{each.account_id} {each.region}" if named else each.region
        before = days_before(period, each.since)
        for day in each.missing:
            if day not in unwatched:
                hours = _for_hours(each.silent_hours.get(day, _HOURS))
                why = "not heard yet: {}" if day in before else f"no heartbeat from {{}}{hours}"
                silent.setdefault(day, {}).setdefault(why, []).append(where)
    for day, by_reason in silent.items():
        reasons.setdefault(day, []).extend(why.format(listed(where, _MOST_REGIONS)) for why, where in by_reason.items())
    for day in unwatched:
        if day in monitoring.missing:
            reasons[day] = [unwatched_words(monitoring)]
    return {day: "; ".join(words) for day, words in sorted(reasons.items())}


def _for_hours(hours: int) -> str:
    return "" if hours >= _HOURS else f" in {counted(hours, 'hour')}"


def unwatched_words(monitoring: Monitoring) -> str:
    """Return since when there is any sign of Rootwatch; empty where that is older than the month."""
    if monitoring.since is None:
        return ""
    return f"not watched before {monitoring.since:%Y-%m-%d %H:%M} UTC, the first sign of Rootwatch"


def named_days(month: str, days: Iterable[int]) -> list[str]:
    """Return sorted days as people read them: 2026-11-03, and 2026-11-05 to 2026-11-09 where many follow each other."""
    runs: list[list[int]] = []
    for day in days:
        if runs and day == runs[-1][-1] + 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    words = []
    for run in runs:
        names = [f"{month}-{day:02d}" for day in run]
        words += names if len(run) < _AS_RANGE else [f"{names[0]} to {names[-1]}"]
    return words


def gaps(monitoring: Monitoring, period: Period) -> list[tuple[str, int]]:
    """Return the days of the month that are not proven for every account and region, and why, with their number.

    Days that follow each other for the same reason are one entry.
    """
    found: list[tuple[str, list[int]]] = []
    for day, why in _reasons(monitoring, period, monitoring.forwarders, named=True).items():
        if found and found[-1][0] == why and found[-1][1][-1] == day - 1:
            found[-1][1].append(day)
        else:
            found.append((why, [day]))
    return [(f"{', '.join(named_days(period.name, days))}: {why}", len(days)) for why, days in found]


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
    reasons = _reasons(monitoring, period, of_account, named=False)
    words = f"monitoring proven on {monitoring.days - len(reasons)} of {monitoring.days} days"
    by_reason: dict[str, list[int]] = {}
    for day, why in reasons.items():
        by_reason.setdefault(why, []).append(day)
    if by_reason.pop(unwatched_words(monitoring), None):
        words += f", {unwatched_words(monitoring)}"
    missing = [f"{', '.join(named_days(period.name, days))} ({why})" for why, days in by_reason.items()]
    return f"{words}, not on {', nor on '.join(missing)}" if missing else words
