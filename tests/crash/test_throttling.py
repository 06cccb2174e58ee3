"""Throttling of three requests in ten, for as long as a flood lasts: nothing is lost, it only takes longer."""

import logging
from collections.abc import Callable

import pytest

from tests.conftest import PRINTED
from tests.crash.flood import SHARE, flood
from tests.crash.service import running_service

RECORDS = 100
"""`benchmarks/throttling.py` does the same with 2,000."""


@pytest.mark.filterwarnings("ignore:No application metrics to publish")
@pytest.mark.timeout(600)
def test_throttling_of_three_requests_in_ten_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    """Each record is stored once and every alert told, though AWS and Slack refuse 30 % of all requests."""
    with running_service(monkeypatch, endless_retries=False) as service:
        logging.disable()  # a line for each of thousands of calls
        try:
            figures = flood(service, RECORDS)
        finally:
            logging.disable(logging.NOTSET)
    record_property(PRINTED, str(figures))
    assert figures.problems == ()
    assert figures.stored == RECORDS
    assert set(figures.told) == {figures.alerts}
    assert abs(figures.refused / figures.tries - SHARE) < 0.05
