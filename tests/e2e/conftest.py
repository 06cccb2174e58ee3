"""One deployed stack for all end-to-end tests; each test uses an account of its own, so none depends on another.

It ends with this package, not with the run: it has servers in this process, and the unit tests, which may follow here,
forbid all sockets in it. `tests/schedule.py` keeps the package together.
"""

from collections.abc import Iterator

import pytest

from rootwatch_cli.demo import Stage
from rootwatch_cli.local_stack import LocalStackError
from tests.e2e.wire import recorded_stage


@pytest.fixture(scope="package")
def stage() -> Iterator[Stage]:
    """The real template with its real functions on the emulator, a Slack receiver and a subscriber to the topic."""
    try:
        with recorded_stage() as running:
            yield running
    except LocalStackError as error:
        pytest.fail(f"{error}\n{error.detail}")
