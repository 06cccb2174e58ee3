"""Asking the registries over real sockets: what answers well, and everything that a server can do to hold us up."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self

import pytest
import pytest_socket
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from rootwatch import wiring
from rootwatch.context.network_owner import LONGEST_NAME, Owner, hosts
from rootwatch.context.rdap import MOST_BYTES, MOST_REFERRALS, RegistrySession, look_up
from rootwatch.context.surroundings import Found, LookUps, Remembered, Subject
from rootwatch.errors import LookUpFailedError
from rootwatch_cli.rdap_server import RdapServer, Registration, answer

ADDRESS = "203.0.113.7"
REGISTRATION = Registration("203.0.113.0/24", "Example Hosting", "NL", elsewhere=True)
GOOD = json.dumps(answer(REGISTRATION)).encode()
OWNER = Owner("Example Hosting", "NL")
SECONDS = 30.0
"""More than any test takes: where something hangs, a test has to be shorter."""
SHORT = 0.4

Serve = Callable[[BaseHTTPRequestHandler, threading.Event], None]


@pytest.fixture(autouse=True)
def _loopback_only() -> None:
    """Connections to anywhere else are errors."""
    pytest_socket.socket_allow_hosts(["127.0.0.1"], allow_unix_socket=True)


class Server:
    """A registry's stand-in that does what a test tells it to; what hangs in it is let go at the end."""

    def __init__(self, serve: Serve) -> None:
        self.released = threading.Event()
        self.paths: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        released, paths, headers = self.released, self.paths, self.headers

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                paths.append(self.path)
                headers.append(dict(self.headers))
                serve(self, released)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, _request: object, _client_address: object) -> None:
                """Say nothing."""

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


def ask(origin: str, address: str = ADDRESS, seconds: float = SECONDS) -> Owner:
    """Ask for the owner of an address, as the function does."""
    with RegistrySession(seconds) as session:
        return look_up(session, origin, address)


def reply(status: int = 200, body: bytes = GOOD, **headers: str) -> Serve:
    """Answer every question like this."""

    def serve(handler: BaseHTTPRequestHandler, _released: threading.Event) -> None:
        handler.send_response(status)
        for name, value in ({"Content_Length": str(len(body))} | headers).items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return serve


def test_the_demo_s_registries_answer_after_a_referral() -> None:
    """The owner is found where the first registry refers on, and where it does not."""
    plain = Registration("198.51.100.0/24", "Example University", "US")
    with RdapServer([REGISTRATION, plain, Registration("2001:db8::/32", "Example IPv6", "SE")]) as server:
        assert ask(server.origin) == OWNER
        assert ask(server.origin, "198.51.100.9") == Owner("Example University", "US")
        assert ask(server.origin, "2001:db8::7") == Owner("Example IPv6", "SE")
        assert server.asked[:2] == (f"/registry/ip/{ADDRESS}", f"/ip/{ADDRESS}")
        with pytest.raises(LookUpFailedError, match="status 404"):
            ask(server.origin, "192.0.2.7")


def test_what_is_said_about_us(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The question holds the address and nothing else: no proxy and no password of the environment is used."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login root password hunter2\n", encoding="utf-8")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with Server(reply()) as server:
        assert ask(server.origin) == OWNER
        assert server.paths == [f"/registry/ip/{ADDRESS}"]
        assert {name.casefold() for name in server.headers[0]} == {
            "host", "user-agent", "accept", "accept-encoding", "connection",
        }  # fmt: skip
        assert server.headers[0]["User-Agent"] == "Rootwatch"


# --- referrals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_so_many_referrals_are_followed(status: int) -> None:
    """Four referrals are followed, whatever their kind, and the fifth is a failure."""

    def serve(handler: BaseHTTPRequestHandler, released: threading.Event) -> None:
        number = len(server.paths)
        is_last = number > most
        reply(200 if is_last else status, GOOD if is_last else b"", Location=f"/next/{number}")(handler, released)

    for most in (MOST_REFERRALS, MOST_REFERRALS + 1):
        with Server(serve) as server:
            if most == MOST_REFERRALS:
                assert ask(server.origin) == OWNER
            else:
                with pytest.raises(LookUpFailedError, match="more than 4 times"):
                    ask(server.origin)
            assert len(server.paths) == 1 + MOST_REFERRALS


def test_a_referral_to_elsewhere_is_not_followed() -> None:
    """A referral to another server of this machine, to AWS's metadata or to anybody else is a failure."""
    with Server(reply()) as victim:
        port = victim.origin.rpartition(":")[2]
        for place in (
            victim.origin + "/ip/203.0.113.7",
            f"http://localhost:{port}/",
            f"//127.0.0.1:{port}/",
            "http://169.254.169.254/latest/meta-data/iam/",
            "https://example.com/ip/203.0.113.7",
            "file:///etc/passwd",
        ):
            with (
                Server(reply(302, b"", Location=place)) as server,
                pytest.raises(LookUpFailedError, match="no registry"),
            ):
                ask(server.origin)
            assert len(server.paths) == 1
        assert victim.paths == []


def test_the_body_of_a_referral_is_not_read() -> None:
    """However much a registry sends along with a referral, only where it leads is read. Else this would fail late."""

    def serve(handler: BaseHTTPRequestHandler, released: threading.Event) -> None:
        if len(server.paths) > 1:
            reply()(handler, released)
            return
        handler.wfile.write(b"HTTP/1.1 302 Found\r\nLocation: /ip/next\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not released.is_set():
            handler.wfile.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
            sent.append(0x10000)

    sent: list[int] = []
    with Server(serve) as server:
        assert ask(server.origin) == OWNER
        assert server.paths[1:] == ["/ip/next"]
    assert sum(sent) < 64 * 1024 * 1024, "no more than what waits on its way"


def test_a_silent_registry_is_not_asked() -> None:
    """A host that has not answered lately is not asked, be it the first or one that is referred to."""
    with RdapServer([REGISTRATION]) as server, RegistrySession(SECONDS) as session:
        asked: list[str] = []
        silent = frozenset({hosts(server.origin)[0]})
        with pytest.raises(LookUpFailedError, match="not answered lately"):
            look_up(session, server.origin, ADDRESS, silent, asked.append)
        assert server.asked == ()
        assert asked == []
        look_up(session, server.origin, ADDRESS, frozenset({"rdap.db.ripe.net"}), asked.append)
        assert asked == [hosts(server.origin)[0]] * 2


# --- bad answers ---------------------------------------------------------------------------------------------------

DEEP = b'{"name": ' + b"[" * 30_000 + b"]" * 30_000 + b"}"


@pytest.mark.parametrize(
    ("serve", "words"),
    [
        pytest.param(reply(404), "status 404", id="unknown"),
        pytest.param(reply(429), "status 429", id="too many questions"),
        pytest.param(reply(500), "status 500", id="broken"),
        pytest.param(reply(204, b""), "status 204", id="empty"),
        pytest.param(reply(302, b""), "more than 4 times", id="a referral to nowhere"),
        pytest.param(reply(200, b"<html>no</html>"), "not JSON", id="html"),
        pytest.param(reply(200, b""), "not JSON", id="nothing"),
        pytest.param(reply(200, b'{"name": 1' + b"0" * 9_999 + b"}"), "not JSON", id="a huge number"),
        pytest.param(reply(200, DEEP), "not JSON", id="deep"),
        pytest.param(reply(200, GOOD[:-1]), "not JSON", id="cut short"),
        pytest.param(reply(200, b"[]"), "names no owner", id="a list"),
        pytest.param(reply(200, b'{"errorCode": 404, "name": "x"}'), "names no owner", id="an error"),
        pytest.param(reply(200, b" " * 1_000_000 + GOOD), "longer than 65536", id="1 MB"),
        pytest.param(reply(200, GOOD, Content_Encoding="gzip"), "compressed", id="compressed"),
        pytest.param(reply(200, GOOD, **{f"X-{n}": "x" for n in range(200)}), "ConnectionError", id="200 headers"),
    ],
)
def test_a_bad_answer_is_a_failure(serve: Serve, words: str) -> None:
    """What is no good answer is a failure in words of ours, without a word of the server's."""
    with Server(serve) as server, pytest.raises(LookUpFailedError, match=words) as caught:
        ask(server.origin)
    assert ADDRESS not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_answer_of_just_the_most_bytes_is_read() -> None:
    """64 KB are read to the last byte; one more is too long."""
    for length, is_good in ((MOST_BYTES, True), (MOST_BYTES + 1, False)):
        with Server(reply(200, GOOD + b" " * (length - len(GOOD)))) as server:
            if is_good:
                assert ask(server.origin) == OWNER
            else:
                with pytest.raises(LookUpFailedError, match="longer"):
                    ask(server.origin)


@pytest.mark.parametrize(
    "name",
    ["<!channel> <https://evil.example/|x>", "\u202egnp\u0000\x1b[31m", "A\r\nB", "x" * 20_000, "\ud800", "'; DROP"],
)
def test_a_hostile_name_is_one_bounded_line(name: str) -> None:
    """What a registrant calls itself arrives as one bounded line that can be stored; showing it cleans the rest."""
    document = answer(Registration("203.0.113.0/24", name, name))
    with Server(reply(200, json.dumps(document).encode())) as server:
        owner = ask(server.origin)
    assert owner.name is not None
    assert len(owner.name) <= LONGEST_NAME
    assert "\n" not in owner.name
    owner.name.encode()


# --- what holds us up ----------------------------------------------------------------------------------------------


def hang(_handler: BaseHTTPRequestHandler, released: threading.Event) -> None:
    """Take the question and say nothing."""
    released.wait(60)


def drip_headers(handler: BaseHTTPRequestHandler, released: threading.Event) -> None:
    """Send a header without end, a letter now and then."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    while not released.wait(0.02):
        handler.wfile.write(b"x")


def drip_body(handler: BaseHTTPRequestHandler, released: threading.Event) -> None:
    """Send a body that stays far below the limit, a blank now and then."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
    while not released.wait(0.02):
        handler.wfile.write(b" ")


def drip_chunks(handler: BaseHTTPRequestHandler, released: threading.Event) -> None:
    """Send a body of unknown length, a chunk now and then."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not released.wait(0.02):
        handler.wfile.write(b"1\r\n \r\n")


def drip_referrals(handler: BaseHTTPRequestHandler, released: threading.Event) -> None:
    """Refer on and on, each time after a while that is shorter than the deadline."""
    released.wait(SHORT * 0.6)
    reply(302, b"", Location="/ip/next")(handler, released)


HELD_UP = [hang, drip_headers, drip_body, drip_chunks, drip_referrals]


@pytest.mark.parametrize("serve", HELD_UP, ids=lambda serve: serve.__name__)
def test_what_holds_us_up_is_cut(serve: Serve) -> None:
    """The thread that asks ends by itself, while the server still drips. If it did not, this would not end."""
    with Server(serve) as server:
        with pytest.raises(LookUpFailedError):
            ask(server.origin, seconds=SHORT)
        assert server.paths
        assert not server.released.is_set()


@pytest.mark.parametrize("serve", HELD_UP, ids=lambda serve: serve.__name__)
def test_an_alert_does_not_wait_for_it(serve: Serve) -> None:
    """The look-up comes back without an owner, and no thread of it is left while the server still drips."""
    with Server(serve) as server:
        look_ups = _look_ups(server.origin)
        assert look_ups.look_up("111122223333", {ADDRESS: True}) == Found()
        assert server.paths
        for thread in _threads():
            thread.join(20)
        assert _threads() == []
        assert not server.released.is_set()


def test_a_name_resolution_that_hangs_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that never answers cannot be cut, so the alert goes on without it."""
    released, real = threading.Event(), socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        if host == "rdap.example.com":
            released.wait(60)
        return real(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert _look_ups("https://rdap.example.com").look_up("111122223333", {ADDRESS: True}) == Found()
    assert len(_threads()) == 1
    assert not released.is_set()
    released.set()
    for thread in _threads():
        thread.join(20)
    assert _threads() == []


def test_a_port_that_nobody_listens_on_is_a_failure() -> None:
    """A registry that is not there is a failure at once."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(LookUpFailedError, match="ConnectionError"):
            ask(f"http://127.0.0.1:{unused.getsockname()[1]}")


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "rootwatch-look-up"]


class _NoCache:
    def recall(self, _subjects: object) -> dict[Subject, Remembered]:
        return {}

    def keep(self, _entries: object) -> None:
        """Forget it."""


def _look_ups(origin: str) -> LookUps:
    now = datetime(2026, 11, 3, tzinfo=UTC)
    return LookUps(cache=_NoCache(), now=lambda: now, registries=wiring._Registries(origin), seconds=SHORT)


# --- over TLS, as the registries are asked -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 with its key, made for these tests."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


def _encrypted(server: Server, certificate: Path) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.server.socket = context.wrap_socket(server.server.socket, server_side=True)
    return server.origin.replace("http://", "https://")


def test_an_answer_over_tls(certificate: Path) -> None:
    """Over TLS the owner is found where the certificate is trusted, and nowhere else."""
    server = Server(reply())
    origin = _encrypted(server, certificate)
    with server:
        with RegistrySession(SECONDS) as session:
            session.verify = str(certificate)
            assert look_up(session, origin, ADDRESS) == OWNER
        with pytest.raises(LookUpFailedError, match="SSLError"):
            ask(origin)
        assert len(server.paths) == 1


@pytest.mark.parametrize("serve", [hang, drip_headers, drip_body, drip_chunks], ids=lambda serve: serve.__name__)
def test_what_holds_us_up_over_tls_is_cut(serve: Serve, certificate: Path) -> None:
    """A connection that drips is cut over TLS as well."""
    server = Server(serve)
    origin = _encrypted(server, certificate)
    with server:
        with RegistrySession(SHORT) as session:
            session.verify = str(certificate)
            with pytest.raises(LookUpFailedError):
                look_up(session, origin, ADDRESS)
        assert server.paths
        assert not server.released.is_set()
