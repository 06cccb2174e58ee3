"""A flood of records while AWS and Slack refuse almost a third of all requests."""

import random
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from tests.crash.service import CHANNELS, Service, Story
from tests.crash.stories import act, problems

if TYPE_CHECKING:
    from collections.abc import Callable

ACCOUNTS: Final = tuple(f"5555666600{number:02d}" for number in range(20))
SPECIMENS: Final = ("read",) * 8 + ("console_login_without_mfa", "access_key_created")
SHARE: Final = 0.3
SEED: Final = 20261103


@dataclass(frozen=True, slots=True)
class Figures:
    """What became of a flood: `problems` in words, nothing where nothing is lost.

    A message is repeated where it was sent and the table did not take the receipt.
    """

    tries: int
    refused: int
    stored: int
    alerts: int
    told: tuple[int, ...]
    repeated: int
    letters: int
    minutes: float
    problems: tuple[str, ...]

    def __str__(self) -> str:
        """Return the figures in a sentence."""
        return (
            f"{self.refused} of {self.tries} requests refused ({self.refused / self.tries:.1%}): {self.stored} records "
            f"stored, {self.alerts} alerts told on each of {len(self.told)} channels, {self.repeated} "
            f"messages repeated, {self.letters} dead letters of the streams, {len(self.problems)} problems, "
            f"within {self.minutes:.0f} minutes of the service's clock"
        )


def _second(service: Service, second: int) -> None:
    """Send ten records of two accounts: reads mostly, and what is told at once."""
    for number, specimen in enumerate(SPECIMENS):
        account_id = ACCOUNTS[(second + number // 5) % len(ACCOUNTS)]
        event_time = f"2026-11-03T12:{second // 60:02d}:{second % 60:02d}Z"
        service.send(act(account_id, specimen, number=second * 10 + number, eventTime=event_time))


def flood(service: Service, records: int) -> Figures:
    """Let so many records arrive, ten in a second, while three requests in ten are refused, by a fixed seed."""
    chance = random.Random(SEED)  # noqa: S311 - not a secret: the same run every time
    acts: list[tuple[float, Callable[[Service], None]]] = [
        (float(second), partial(_second, second=second)) for second in range(records // len(SPECIMENS))
    ]
    story = Story("a flood under throttling", acts, ("detect",), ends_told=True)
    service.wire.throttle = lambda: chance.random() < SHARE
    try:
        service.play(story)
    finally:
        service.wire.throttle = lambda: False
    return Figures(
        tries=service.wire.tries,
        refused=service.wire.refused,
        stored=len(service.events()),
        alerts=len(service.alerts()),
        told=tuple(len(service.told(channel)) for channel in CHANNELS),
        repeated=sum(service.told(channel).total() - len(service.told(channel)) for channel in CHANNELS),
        minutes=service.clock.monotonic() / 60,
        # A notice, like a message, is repeated where the table did not take that it was told. Streams give up after an
        # hour, and the watchdog delivers. No canary and no heartbeat comes back in this story, so that is never over.
        letters=len(service.letters),
        problems=tuple(
            each
            for each in problems(service, story, None, None)
            if not re.search(r"were repeated|heard \d+ times|dead letters instead|end of: (No canary|not heard)", each)
        ),
    )
