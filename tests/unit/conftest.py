"""What every unit test stands on: no network, no AWS credentials, and Powertools told what Lambda would tell it."""

import pytest
import pytest_socket
from hypothesis import settings

# The same examples in every run, so that a clean checkout always gives the same answer.
settings.register_profile("steady", deadline=None, database=None, derandomize=True)
settings.load_profile("steady")


@pytest.fixture(autouse=True)
def _no_sockets() -> None:
    """Any socket that a unit test opens is an error."""
    pytest_socket.disable_socket()


@pytest.fixture(autouse=True)
def _lambda_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the developer's own AWS set-up is seen, and traces and metrics go nowhere."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "TABLE_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("POWERTOOLS_TRACE_DISABLED", "true")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "rootwatch-test")
