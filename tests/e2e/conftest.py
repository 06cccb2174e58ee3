"""One deployed stack for all end-to-end tests; each test uses an account of its own, so none depends on another."""

from collections.abc import Iterator

import pytest

from rootwatch_cli.demo import Stage
from rootwatch_cli.local_stack import LocalStackError
from tests.e2e.wire import recorded_stage


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    """The real template with its real functions on the emulator, a Slack receiver and a subscriber to the topic."""
    try:
        with recorded_stage() as running:
            yield running
    except LocalStackError as error:
        pytest.fail(f"{error}\n{error.detail}")
