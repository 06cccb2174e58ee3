"""Which accounts and regions are heard, and since when one of them is not. Pure: a place is an account and a region."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

QUIET_AFTER: Final = timedelta(hours=2)
"""A heartbeat comes every hour; one of them may be late."""
TOLD_EVERY: Final = timedelta(days=1)
KEPT_FOR: Final = timedelta(minutes=5)
"""A record changes what is kept of its place at most so often: a flood of records must not become a flood of writes."""


@dataclass(frozen=True, slots=True)
class Place:
    """What is known of one account in one region: when it was heard first, and last of each kind. Times are UTC.

    `scheduled_at` is for when its last heartbeat was scheduled, so that none counts twice. `told_at` is when people
    were told that it is quiet, None while it is not. `introduced` is whether they were told that it is there at all.
    `retired_at` is since when nobody waits for it; it is over when it is heard again. `revision` counts writes.
    """

    account_id: str
    region: str
    first_at: datetime
    heartbeat_at: datetime | None = None
    scheduled_at: datetime | None = None
    canary_at: datetime | None = None
    record_at: datetime | None = None
    told_at: datetime | None = None
    introduced: bool = False
    retired_at: datetime | None = None
    revision: int = 0

    @property
    def last_heartbeat(self) -> datetime:
        """Return since when a heartbeat is missing: the last one, or the moment at which the place was first heard."""
        return self.heartbeat_at or self.first_at

    def is_quiet(self, now: datetime) -> bool:
        """Return whether its heartbeat is missing for too long, and somebody waits for it.

        Only its own heartbeat counts: records come when root acts, and prove nothing when none come.
        """
        return self.retired_at is None and now - self.last_heartbeat > QUIET_AFTER


def hear_record(known: Place | None, account_id: str, region: str, at: datetime) -> Place | None:
    """Return the place after a record of it came; None where that is known already."""
    place = known or Place(account_id, region, at)
    if place.record_at is not None and timedelta() <= at - place.record_at < KEPT_FOR:
        return None
    return replace(place, record_at=at)


def hear_heartbeat(
    known: Place | None, account_id: str, region: str, at: datetime, scheduled_at: datetime | None = None
) -> Place | None:
    """Return the place after a heartbeat of it came; None for one that came before, or that a later one overtook."""
    place = known or Place(account_id, region, at)
    if scheduled_at is not None and place.scheduled_at is not None and scheduled_at <= place.scheduled_at:
        return None
    return replace(place, heartbeat_at=at, scheduled_at=scheduled_at or place.scheduled_at, retired_at=None)


def hear_canary(known: Place | None, account_id: str, region: str, at: datetime) -> Place:
    """Return the place after its canary came."""
    return replace(known or Place(account_id, region, at), canary_at=at)


def to_tell(places: Iterable[Place], now: datetime) -> list[Place]:
    """Return the quiet places of which people were not told yet, or not for a day; the longest quiet first.

    A moment that lies ahead is not ours: it would keep the place quiet for ever.
    """
    due = [
        place
        for place in places
        if place.is_quiet(now) and (place.told_at is None or not timedelta() <= now - place.told_at < TOLD_EVERY)
    ]
    return sorted(due, key=lambda place: (place.last_heartbeat, place.account_id, place.region))


def heard_again(places: Iterable[Place], now: datetime) -> list[Place]:
    """Return the places of which people were told that they are quiet, and which are not any more."""
    return [place for place in places if place.told_at is not None and not place.is_quiet(now)]
