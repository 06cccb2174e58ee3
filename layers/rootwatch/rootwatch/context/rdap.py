"""Asks the internet registries whose network an address is in: RDAP over HTTPS, within one deadline.

Importing this module imports `requests`; only who asks imports it.
"""

import json
from collections.abc import Callable
from contextlib import ExitStack
from time import monotonic
from typing import Final, Self

import requests
from urllib3.exceptions import HTTPError

from rootwatch.context.network_owner import Owner, first_question, host_of, next_question, of_registry
from rootwatch.errors import LookUpFailedError
from rootwatch.timed_session import CuttableSession

MOST_REFERRALS: Final = 4
MOST_BYTES: Final = 64 * 1024
"""Of one answer, as it travels: we ask for no compression and take none."""

_OK: Final = 200
_REFERRALS: Final = frozenset({301, 302, 303, 307, 308})
_HEADERS: Final = {
    "Accept": "application/rdap+json, application/json",
    "Accept-Encoding": "identity",
    "User-Agent": "Rootwatch",
}


class RegistrySession(CuttableSession):
    """A session whose connections are all cut when its time is over, so that nothing that drips outlives it."""

    def __init__(self, seconds: float) -> None:
        """Begin; everything must be over in so many seconds, but for the name resolution, which cannot be cut."""
        super().__init__()
        self.headers.update(_HEADERS)
        self._until = monotonic() + seconds
        self._time = ExitStack()

    def __enter__(self) -> Self:
        """Let the time run."""
        self._time.enter_context(self.within(self._until - monotonic()))
        return self

    def __exit__(self, *exception: object) -> None:
        """Close every connection."""
        self._time.close()
        super().__exit__(*exception)

    def rest(self) -> float:
        """Return the seconds that are left.

        Raises:
            LookUpFailedError: none.

        """
        rest = self._until - monotonic()
        if rest <= 0:
            message = "the time was over"
            raise LookUpFailedError(message)
        return rest


def look_up(
    session: RegistrySession,
    origin: str,
    address: str,
    silent: frozenset[str] = frozenset(),
    asking: Callable[[str], None] = lambda _host: None,
) -> Owner:
    """Return the owner of an address (in its normal spelling), within the session's time.

    Asks ARIN at `origin`, which refers to the other registries; at most `MOST_REFERRALS` times, to registries only.
    Never asks a `silent` host, and tells `asking` each host before it is asked.

    Raises:
        LookUpFailedError: it is not known who owns it; a retry may help. The message holds nothing of the answer.

    """
    question = first_question(origin, address)
    for _ in range(1 + MOST_REFERRALS):
        host = host_of(question)
        if host in silent:
            message = "its registry has not answered lately"
            raise LookUpFailedError(message)
        asking(host)
        try:
            with session.get(question, timeout=session.rest(), stream=True, allow_redirects=False) as answer:
                if answer.status_code in _REFERRALS:
                    referred = next_question(answer.headers.get("Location"), question, origin)
                    if referred is None:
                        message = "it referred to what is no registry"
                        raise LookUpFailedError(message)
                    question = referred
                    continue
                body = _body(answer)
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            raise LookUpFailedError(type(error).__name__) from None  # its text holds the address
        session.rest()
        return _owner(body, address)
    message = f"it referred further more than {MOST_REFERRALS} times"
    raise LookUpFailedError(message)


def _body(answer: requests.Response) -> bytes:
    if answer.status_code != _OK:
        message = f"it answered with status {answer.status_code}"
        raise LookUpFailedError(message)
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        message = "it answered compressed, although it was asked not to"
        raise LookUpFailedError(message)
    body: bytes = answer.raw.read(MOST_BYTES + 1, decode_content=False)
    if len(body) > MOST_BYTES:
        message = f"its answer is longer than {MOST_BYTES} bytes"
        raise LookUpFailedError(message)
    return body


def _owner(body: bytes, address: str) -> Owner:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        message = "its answer is not JSON"
        raise LookUpFailedError(message) from None
    owner = of_registry(document, address)
    if owner is None:
        message = "its answer names no owner of this address"
        raise LookUpFailedError(message)
    return owner
