"""HTTP that ends: requests that are over in time, whatever the other side drips, and answers of bounded length.

A time limit of `requests` holds for each single wait, and starts again with every byte that arrives. Importing this
module imports `requests`; only who asks imports it.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final
from weakref import WeakSet

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

MOST_BYTES: Final = 1024 * 1024
"""Of an answer's body. Slack's answer to a bot repeats the message that was posted."""


class CuttableSession(requests.Session):
    """A session all of whose connections can be cut. What waits on one then gets an error of `requests`."""

    def __init__(self) -> None:
        """Make a session that no proxy and no .netrc of the environment sees anything of."""
        super().__init__()
        self.trust_env = False
        self._connections = _Connections()
        for scheme in ("https://", "http://"):
            self.mount(scheme, _Adapter(self._connections))

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 - the signature of requests
        """Return None for every answer: to find out where one leads, `requests` would read its body to the end."""
        return None

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Cut every connection when so many seconds are over, those included that are made only then.

        Only the name resolution cannot be cut.
        """
        timer = threading.Timer(seconds, self._connections.cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()  # it may be cutting right now: the next request is not meant
            self._connections.begin()


class TimedSession(CuttableSession):
    """A session each of whose requests is over after so many seconds, with at most `MOST_BYTES` of a body.

    What is longer is cut off. A body is read as UTF-8, whatever it says of itself: some encodings raise errors, and to
    guess one takes long.
    """

    def __init__(self, seconds: float) -> None:
        """Make a session whose requests may take so many seconds."""
        super().__init__()
        self._seconds = seconds

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # noqa: ANN401 - as requests has it
        """Send a request and read its answer; see `requests.Session.send`."""
        with self.within(self._seconds):
            try:
                answer = super().send(request, **{**options, "stream": True})
                with answer:
                    body = _first_bytes(answer)
            except requests.RequestException:
                self._check_time()
                raise
            self._check_time()  # what was cut off may look like a whole answer
        answer._content = body  # noqa: SLF001 - where requests itself keeps what it has read
        answer.encoding = "utf-8"
        return answer

    def _check_time(self) -> None:
        if self._connections.over:
            message = f"it took longer than {self._seconds:g} seconds"
            raise requests.Timeout(message) from None


def _first_bytes(answer: requests.Response) -> bytes:
    body = b""
    for part in answer.iter_content(MOST_BYTES // 16):
        body += part
        if len(body) >= MOST_BYTES:
            break
    return body[:MOST_BYTES]


class _Connections:
    """The open connections of a session."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: WeakSet[HTTPConnection] = WeakSet()
        self.over = False

    def begin(self) -> None:
        with self._lock:
            self.over = False

    def take(self, connection: HTTPConnection) -> None:
        with self._lock:
            self._open.add(connection)
            if self.over:
                _cut(connection)

    def cut(self) -> None:
        with self._lock:
            self.over = True
            for connection in self._open:
                _cut(connection)


def _cut(connection: HTTPConnection) -> None:
    connected = connection.sock
    if connected is not None:
        with suppress(OSError):  # it was closed meanwhile
            # Not SSLSocket's own: that takes the encryption away from under the thread that reads.
            socket.socket.shutdown(connected, socket.SHUT_RDWR)


class _Adapter(HTTPAdapter):
    """Makes connections that a session can cut."""

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
