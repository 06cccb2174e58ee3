"""Throttling of almost a third of all calls, for a run of many records: nothing is lost, it only takes longer."""

import logging
import random
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.crash.service import Service, Story, running_service
from tests.crash.stories import act, problems

pytestmark = [
    pytest.mark.filterwarnings("ignore:No application metrics to publish"),
    pytest.mark.timeout(300),
]

RECORDS = 2_000
ACCOUNTS = tuple(f"5555666600{number:02d}" for number in range(20))
SHARE = 0.3
SEED = 20261103


@pytest.fixture
def service() -> Iterator[Service]:
    """The service, whose containers use up botocore's quota of repetitions as they would."""
    with pytest.MonkeyPatch.context() as monkeypatch, running_service(monkeypatch, endless_retries=False) as service:
        monkeypatch.setenv("LOOK_UP_OWNERS", "false")
        monkeypatch.setenv("LOOK_UP_ACCOUNT_NAMES", "false")
        logging.disable()  # a line for each of tens of thousands of calls
        yield service
        logging.disable(logging.NOTSET)


def send(service: Service, second: int) -> None:
    """Send as many records as fit one second: reads mostly, and now and then what is told at once."""
    names = ("read",) * 8 + ("console_login_without_mfa", "access_key_created")
    for number in range(10):
        account_id = ACCOUNTS[(second + number // 5) % len(ACCOUNTS)]
        event_time = f"2026-11-03T12:{second // 60:02d}:{second % 60:02d}Z"
        service.send(act(account_id, names[number], number=second * 10 + number, eventTime=event_time))


def test_throttling_of_three_calls_in_ten_loses_nothing(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    """Of 2,000 records of twenty accounts each is stored once and every alert told, though AWS and Slack refuse 30 % of
    all requests for as long as the run lasts.
    """
    chance = random.Random(SEED)  # noqa: S311 - not a secret: the same run every time
    service.wire.throttle = lambda: chance.random() < SHARE
    acts = [(float(second), lambda service, second=second: send(service, second)) for second in range(RECORDS // 10)]
    service.play(Story("a flood under throttling", acts, ("detect",)))
    tries, refused, minutes = service.wire.tries, service.wire.refused, service.clock.monotonic() / 60
    service.wire.throttle = lambda: False
    stored, alerts = service.events(), service.alerts()
    told = Counter({channel: len(service.told(channel)) for channel in ("slack", "sns")})
    figures = (
        f"{refused} of {tries} requests refused ({refused / tries:.1%}); {len(stored)} records stored, "
        f"{len(alerts)} alerts, each told on {len(told)} channels, after {minutes:.0f} minutes of the test's clock"
    )
    with capsys.disabled():
        sys.stdout.write(f"\n{figures}\n")
    assert problems(service, Story("", (), ()), None, None) == []
    assert len(stored) == RECORDS
    assert set(told.values()) == {len(alerts)}
    assert abs(refused / tries - SHARE) < 0.02
