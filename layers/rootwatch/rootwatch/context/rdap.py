"""Asks the internet registries whose network an address is in: RDAP over HTTPS, within one deadline.

Importing this module imports `requests`; only who asks imports it.
"""

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any, Final, Self

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from rootwatch.context.network_owner import Owner, first_question, host_of, next_question, of_registry
from rootwatch.errors import LookUpFailedError

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


class RegistrySession(requests.Session):
    """A session whose connections are all cut when its time is over, so that nothing that drips outlives it.

    A time limit of `requests` holds for each single wait, and starts again with every byte that arrives.
    """

    def __init__(self, seconds: float) -> None:
        """Begin; everything must be over in so many seconds, but for the name resolution, which cannot be cut."""
        super().__init__()
        self.trust_env = False  # no proxy and no .netrc of the environment may see whom we ask about
        self.headers.update(_HEADERS)
        self._until = monotonic() + seconds
        self._connections = _Connections()
        self._timer = threading.Timer(seconds, self._connections.cut)
        self._timer.daemon = True
        for scheme in ("https://", "http://"):
            self.mount(scheme, _Adapter(self._connections))

    def __enter__(self) -> Self:
        """Let the time run."""
        self._timer.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Close every connection."""
        self._timer.cancel()
        super().__exit__(*exception)

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 - the signature of requests
        """Return None for every answer: to find out where one leads, `requests` would read its body to the end."""
        return None

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


class _Connections:
    """The open connections of a session."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[HTTPConnection] = []
        self._over = False

    def take(self, connection: HTTPConnection) -> None:
        with self._lock:
            self._open.append(connection)
            if self._over:
                _cut(connection)

    def cut(self) -> None:
        with self._lock:
            self._over = True
            for connection in self._open:
                _cut(connection)


def _cut(connection: HTTPConnection) -> None:
    connected = connection.sock
    if connected is not None:
        with suppress(OSError):  # it was closed meanwhile
            # Not SSLSocket's own: that takes the encryption away from under the thread that reads.
            socket.socket.shutdown(connected, socket.SHUT_RDWR)


class _Adapter(HTTPAdapter):
    """Makes connections that a session can cut. HTTPS only, but for a stand-in on this machine's own address."""

    def __init__(self, connections: _Connections) -> None:
        self._connections = connections
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - as requests hands them on
        connections = self._connections

        class Plain(HTTPConnection):
            def connect(self) -> None:
                super().connect()
                connections.take(self)

        class Encrypted(HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                connections.take(self)

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class EncryptedPool(HTTPSConnectionPool):
            ConnectionCls = Encrypted

        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": EncryptedPool}


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
