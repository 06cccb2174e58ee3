"""Who answers by the command: what the command signs passes, and whatever was changed, is old or is for something else
does not.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rootwatch.caller_proof import BOUND, caller_of, checked, digest
from rootwatch.errors import RequestRefusedError
from rootwatch_cli.answer import signed_proof
from rootwatch_cli.deployed import Where

COMMAND = {"action": "acknowledge", "incident_id": "20261103-0123456789", "note": "übernommen"}
FUNCTION = "rootwatch-triage"
ARN = "arn:aws:sts::111122223333:assumed-role/Responder/dana"
ANSWER = f"<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>{ARN}</Arn></GetCallerIdentityResult>"


@pytest.fixture
def proof(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The headers that the command signs for the answer above."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "ASIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token",
        "AWS_DEFAULT_REGION": "eu-central-1", "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    return signed_proof(Where(), digest(COMMAND, FUNCTION))


def test_what_the_command_signs_passes(proof: dict[str, str]) -> None:
    """The command's own proof is taken, with the id of its key; it holds the token, and not the secret."""
    headers, key, signature = checked(proof, digest(COMMAND, FUNCTION), datetime.now(UTC))
    assert key == "ASIAIOSFODNN7EXAMPLE"
    assert len(signature) == 64
    assert headers["x-amz-security-token"] == "token"
    assert "secret" not in str(proof)


CHANGES: dict[str, Callable[[dict[str, str]], Any]] = {
    "nothing": lambda _proof: None,
    "no object": lambda _proof: ["Authorization"],
    "no authorization": lambda proof: {name: value for name, value in proof.items() if name != "Authorization"},
    "no time": lambda proof: proof | {"X-Amz-Date": "yesterday"},
    "not bound": lambda proof: {name: value for name, value in proof.items() if name != BOUND},
    "bound to something else": lambda proof: proof | {BOUND: digest(COMMAND, "another-triage")},
    "bound, and not signed": lambda proof: (
        proof | {"Authorization": proof["Authorization"].replace(f";{BOUND.lower()}", "")}
    ),
    "of another service": lambda proof: (
        proof | {"Authorization": proof["Authorization"].replace("/sts/", "/s3/")}
    ),
    "with a header of its own": lambda proof: proof | {"Host": "evil.example"},
    "with a line end": lambda proof: proof | {"X-Amz-Security-Token": "a\r\nHost: evil.example"},
    "with a value that is no text": lambda proof: proof | {"X-Amz-Date": 20261103},
    "endless": lambda proof: proof | {"X-Amz-Security-Token": "x" * 10_000},
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_does_not_pass(proof: dict[str, str], change: str) -> None:
    """A proof that was changed, or that covers something else, is refused before AWS is asked."""
    with pytest.raises(RequestRefusedError):
        checked(CHANGES[change](proof), digest(COMMAND, FUNCTION), datetime.now(UTC))


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_proof_is_good_for_five_minutes(proof: dict[str, str], minutes: int) -> None:
    """An old proof, or one from the future, is refused."""
    with pytest.raises(RequestRefusedError, match="stale"):
        checked(proof, digest(COMMAND, FUNCTION), datetime.now(UTC) + timedelta(minutes=minutes))


def test_every_word_of_an_answer_is_bound() -> None:
    """Another action, incident, text or function has another hash."""
    hashes = {digest(COMMAND | {name: "other"}, FUNCTION) for name in COMMAND} | {digest(COMMAND, FUNCTION)}
    assert len(hashes | {digest(COMMAND, "other")}) == len(COMMAND) + 2


def test_whose_credentials_they_are() -> None:
    """Only an answer of STS with an ARN in it names somebody."""
    assert caller_of(200, ANSWER) == ARN
    for status, answer in ((403, ANSWER), (200, ""), (200, "<Arn>dana</Arn>"), (200, f"<Arn>{ARN}\n</Arn>")):
        with pytest.raises(RequestRefusedError):
            caller_of(status, answer)
