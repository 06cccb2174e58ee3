"""A stand-in for the internet registries on the loopback address: it knows a few made-up networks, and nobody else.

It answers as registries do (RFC 9082 and 9083): ARIN's way of asking, a referral to another registry's way where a
network is registered there, the network with its registrant as a vCard, 404 for what it does not know.
"""

import ipaddress
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

LOOPBACK = "127.0.0.1"
_SOCKET_SECONDS = 10.0
_MOST_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Registration:
    """A network in CIDR notation, who registered it and where; `elsewhere`: at another registry than ARIN."""

    network: str
    owner: str
    country: str
    elsewhere: bool = False


class RdapServer:
    """An RDAP server in a thread of its own; use it with `with`. It listens on 127.0.0.1 only."""

    def __init__(self, registrations: Sequence[Registration]) -> None:
        """Take a free port. Nothing is answered before the `with` block begins."""
        self._server = _Server((LOOPBACK, 0), _Handler)
        self._server.registrations = tuple(registrations)
        self._server.asked = []
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="rdap-server", daemon=True
        )

    def __enter__(self) -> Self:
        """Begin to answer."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop answering and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def origin(self) -> str:
        """Scheme, host and port: what stands in place of https://rdap.arin.net."""
        return f"http://{LOOPBACK}:{self._server.server_address[1]}"

    @property
    def asked(self) -> tuple[str, ...]:
        """The paths asked for so far, in their order."""
        return tuple(self._server.asked)


def answer(registration: Registration) -> dict[str, Any]:
    """Return what a registry answers about an address of this network."""
    network = ipaddress.ip_network(registration.network)
    card = [
        ["version", {}, "text", "4.0"],
        ["fn", {}, "text", registration.owner],
        ["kind", {}, "text", "org"],
        ["adr", {"label": f"1 Example Street\n{registration.country}"}, "text", ["", "", "", "", "", "", ""]],
    ]
    return {
        "objectClassName": "ip network",
        "handle": f"NET-{registration.network}",
        "startAddress": str(network[0]),
        "endAddress": str(network[-1]),
        "name": "EXAMPLE-NET",
        "country": registration.country,
        "entities": [{"objectClassName": "entity", "roles": ["registrant"], "vcardArray": ["vcard", card]}],
    }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    registrations: tuple[Registration, ...]
    asked: list[str]

    def handle_error(self, _request: object, _client_address: object) -> None:
        """Say nothing: a client that hangs up is its own affair, and the terminal belongs to the demo."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _SOCKET_SECONDS
    server_version = "rdap-shaped"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer one question."""
        if len(self.server.asked) < _MOST_KEPT:
            self.server.asked.append(self.path)
        way, _, address = self.path.rpartition("/ip/")
        found = next((each for each in self.server.registrations if _holds(each, address)), None)
        if found is None:
            self._answer(HTTPStatus.NOT_FOUND, {"errorCode": 404, "title": "Not Found"})
        elif way == "/registry" and found.elsewhere:
            self.send_response(HTTPStatus.FOUND)
            self.send_header("Location", f"http://{LOOPBACK}:{self.server.server_address[1]}/ip/{address}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._answer(HTTPStatus.OK, answer(found))

    def _answer(self, status: HTTPStatus, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/rdap+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing: the terminal belongs to the demo."""


def _holds(registration: Registration, address: str) -> bool:
    try:
        asked = ipaddress.ip_address(address)
    except ValueError:
        return False
    network = ipaddress.ip_network(registration.network)
    return asked.version == network.version and asked in network
