"""2,000 records while AWS and Slack refuse three requests in ten: what is stored, told and lost.

It takes minutes: the real handlers behind the queue, the stream and the clock of `tests/crash`.
"""

import contextlib
import io
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import pytest

from tests.crash.flood import flood
from tests.crash.service import running_service

RECORDS = 2_000


def main() -> int:
    """Print the figures; the exit status is 1 where anything is lost."""
    logging.disable()
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        running_service(monkeypatch, endless_retries=False) as service,
        contextlib.redirect_stdout(io.StringIO()),  # metrics, a line for each run of a function
    ):
        figures = flood(service, RECORDS)
    print(figures)
    for problem in figures.problems:
        print(problem)
    return int(bool(figures.problems) or figures.stored != RECORDS or set(figures.told) != {figures.alerts})


if __name__ == "__main__":
    sys.exit(main())
