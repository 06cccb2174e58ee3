"""What surrounds a function in Lambda, on this machine's loopback interface: the Runtime API, AWS, Slack, a registry.

AWS, Slack and the registry answer over TLS, because a cold start pays for the certificates as well. DynamoDB is a
dictionary that takes every write: enough for one function at a time, and the same for everyone who is compared.
"""

import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import trustme

LOOPBACK: Final = "127.0.0.1"
WEBHOOK_PATH: Final = "/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"
ALERT_WRITTEN: Final = "alert written"
SLACK_POSTED: Final = "Slack post"
ANSWERED: Final = "answer to a press"
INITIALISED: Final = "initialised"
SIGNING_SECRET: Final = "8f742231b10e8888abcd99yyyzzz85a5"  # noqa: S105 - of Slack's published example

_VIEWS_OPEN: Final = "/api/views.open"
_NEXT: Final = "/2018-06-01/runtime/invocation/next"
_SECONDS_FOR_AN_EVENT: Final = 60
_OWNER: Final = {
    "objectClassName": "ip network",
    "startAddress": "203.0.113.0",
    "endAddress": "203.0.113.255",
    "ipVersion": "v4",
    "name": "EXAMPLE-NET",
    "handle": "NET-203-0-113-0-1",
    "country": "US",
}


@dataclass(slots=True)
class Invocation:
    """One event for one function: what it met, and when things arrived, by `time.perf_counter`.

    `expected` is what the function has to answer; `bot` says that Slack's secret holds a bot's token.
    """

    event: Any
    items: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    moments: dict[str, float] = field(default_factory=dict)
    transaction: list[Any] = field(default_factory=list)
    message: bytes = b""
    unknown: list[str] = field(default_factory=list)
    answer: Any = None
    failure: str = ""
    expected: Any = field(default_factory=lambda: {"batchItemFailures": []})
    bot: bool = False
    modals: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def arrived(self, name: str) -> None:
        """Note the moment of the first arrival of this name."""
        self.moments.setdefault(name, time.perf_counter())


@dataclass(slots=True)
class Loopback:
    """The servers; whoever starts a function says which invocation is to come with `begin`."""

    runtime_api: str
    origin: str
    authority: bytes
    invocation: Invocation = field(default_factory=lambda: Invocation(event={}))

    def begin(self, invocation: Invocation) -> None:
        """Answer from now on for this invocation."""
        self.invocation = invocation

    def environment(self) -> dict[str, str]:
        """Return what Lambda and the template would tell a function, with every service at this machine."""
        return {
            "AWS_LAMBDA_RUNTIME_API": self.runtime_api,
            "AWS_LAMBDA_FUNCTION_NAME": "rootwatch-cold",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/rootwatch-cold",
            "AWS_LAMBDA_LOG_STREAM_NAME": "cold",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "111122223333",
            "AWS_SECRET_ACCESS_KEY": "not-a-secret",
            "AWS_SESSION_TOKEN": "not-a-token",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/nonexistent/config",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent/credentials",
            "AWS_ENDPOINT_URL": self.origin,
            "AWS_XRAY_DAEMON_ADDRESS": f"{LOOPBACK}:9",
            "AWS_XRAY_CONTEXT_MISSING": "IGNORE_ERROR",
            "TZ": "UTC",
            "LANG": "en_US.UTF-8",
            "LOG_LEVEL": "INFO",
            "TABLE_NAME": "rootwatch-audit",
            "DEAD_LETTER_QUEUE_URL": f"{self.origin}/111122223333/letters",
            "STACK_NAME": "rootwatch",
            "INCIDENT_IDLE_MINUTES": "60",
            "LOOK_UP_OWNERS": "false",
            "RDAP_ORIGIN": self.origin,
            "SLACK_SECRET_ID": "rootwatch-slack",
            "SLACK_ORIGIN": self.origin,
            "RUNBOOK_URL": "",
        }


@contextmanager
def loopback() -> Iterator[Loopback]:
    """Serve until the block is left."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    served = Loopback("", "", authority.cert_pem.bytes())
    runtime_api = _Server((LOOPBACK, 0), partial(_RuntimeApi, served))
    services = _Server((LOOPBACK, 0), partial(_Services, served))
    # The handshake is made by the thread that reads, not by the one that accepts.
    services.socket = context.wrap_socket(services.socket, server_side=True, do_handshake_on_connect=False)
    served.runtime_api = f"{LOOPBACK}:{runtime_api.server_address[1]}"
    served.origin = f"https://localhost:{services.server_address[1]}"
    servers = (runtime_api, services)
    for server in servers:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield served
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


def trust(certificates: Path, authority: bytes) -> None:
    """Add our authority to a bundle of certifi, whose own authorities stay: reading them is part of a cold start."""
    certificates.write_bytes(certificates.read_bytes() + b"\n" + authority)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_connection: object) -> None:
        """Say nothing: a process that is ended leaves its connections as they are, and what matters is noted."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, served: Loopback, *arguments: Any) -> None:  # noqa: ANN401 - as socketserver hands them on
        self.served = served
        super().__init__(*arguments)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, body: bytes, kind: str = "application/json", status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


class _RuntimeApi(_Handler):
    """https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html, for one event."""

    def do_GET(self) -> None:
        """Hand out the event once; whoever asks for another one waits until it is ended."""
        invocation = self.served.invocation
        if self.path != _NEXT or INITIALISED in invocation.moments:
            time.sleep(_SECONDS_FOR_AN_EVENT)
            return
        invocation.arrived(INITIALISED)
        self.answer(
            json.dumps(invocation.event).encode(),
            Lambda_Runtime_Aws_Request_Id="8476a536-e9f4-11e8-9739-2dfe598c3fcd",
            Lambda_Runtime_Deadline_Ms=str(int(time.time() * 1000) + 50_000),
            Lambda_Runtime_Invoked_Function_Arn="arn:aws:lambda:us-east-1:111122223333:function:rootwatch-cold",
            Lambda_Runtime_Trace_Id="Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1",
        )

    def do_POST(self) -> None:
        """Take the function's answer, or what went wrong."""
        invocation, body = self.served.invocation, self.body()
        if self.path.endswith("/response"):
            invocation.arrived(ANSWERED)
            invocation.answer = json.loads(body or b"null")
        else:
            invocation.failure = body.decode(errors="replace")
        self.answer(b'{"status": "OK"}', status=202)
        invocation.over.set()


class _Services(_Handler):
    def do_GET(self) -> None:
        """Answer as a registry."""
        self.answer(json.dumps(_OWNER).encode(), "application/rdap+json")

    def do_POST(self) -> None:
        """Answer as DynamoDB, as Secrets Manager or as Slack."""
        invocation, body = self.served.invocation, self.body()
        if self.path == WEBHOOK_PATH:
            invocation.arrived(SLACK_POSTED)
            invocation.message = body
            self.answer(b"ok", "text/html")
            return
        if self.path == _VIEWS_OPEN:
            invocation.modals += 1
            self.answer(b'{"ok": true}')
            return
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        if operation == "TransactWriteItems":
            invocation.arrived(ALERT_WRITTEN)
        request = json.loads(body or b"{}")
        if operation == "GetSecretValue":
            secret = {"webhook_url": self.served.origin + WEBHOOK_PATH, "signing_secret": SIGNING_SECRET}
            secret |= {"bot_token": "xoxb-not-a-token", "channel": "C0000000000"} if invocation.bot else {}
            found: dict[str, Any] | None = {"Name": request["SecretId"], "SecretString": json.dumps(secret)}
        else:
            found = _dynamodb(invocation, operation, request)
        if found is None:
            invocation.unknown.append(operation or self.path)
            self.answer(b'{"__type": "UnknownOperationException"}', "application/x-amz-json-1.0", 400)
        else:
            self.answer(json.dumps(found).encode(), "application/x-amz-json-1.0")


def _dynamodb(invocation: Invocation, operation: str, request: dict[str, Any]) -> dict[str, Any] | None:
    """Return DynamoDB's answer, None to an operation that none of the compared functions calls.

    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Operations.html
    """
    items = invocation.items
    match operation:
        case "GetItem":
            found = items.get(_key(request["Key"]))
            return {} if found is None else {"Item": found}
        case "BatchGetItem":
            return {
                "Responses": {
                    table: [items[_key(key)] for key in asked["Keys"] if _key(key) in items]
                    for table, asked in request["RequestItems"].items()
                },
                "UnprocessedKeys": {},
            }
        case "Query":
            values = {name: value["S"] for name, value in request["ExpressionAttributeValues"].items()}
            first = values.get(":first", values.get(":prefix", ""))
            last = values.get(":last", first + "\U0010ffff")
            there = [items[key] for key in sorted(items) if key[0] == values.get(":pk") and first <= key[1] <= last]
            page = there[: request.get("Limit")]
            return {"Items": page, "Count": len(page), "ScannedCount": len(page)}
        case "PutItem":
            items[_key(request["Item"])] = request["Item"]
            return {}
        case "TransactWriteItems":
            invocation.transaction = invocation.transaction or request["TransactItems"]
            for action in request["TransactItems"]:
                items[_key(action["Put"]["Item"])] = action["Put"]["Item"]
            return {}
    return None


def _key(attributes: dict[str, Any]) -> tuple[str, str]:
    return attributes["pk"]["S"], attributes["sk"]["S"]
