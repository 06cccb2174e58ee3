"""The stack that the template tests look at."""

import pytest

from tests.template.stack import Stack


@pytest.fixture(scope="session")
def stack() -> Stack:
    """The stack as it is with every parameter left alone. Tests only read it."""
    return Stack()
