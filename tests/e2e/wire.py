"""The wire between the deployed functions and the emulator: each call is matched against the caller's own role.

The built template is deployed with one more variable for each function, `AWS_ENDPOINT_URL`, which leads to a listener
of the function's own; so it is known who calls, although the emulator gives all of them the same credentials. What is
called goes on unchanged to the emulator. A call that the role in the transformed template does not allow fails the
stage that saw it. At the end of a whole run `tests/conftest.py` puts together what all processes saw, and fails it for
a permission that no call used, unless `tests/template/permissions.py` lists it with the reason.
"""

import http.client
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from rootwatch_cli.demo import Stage, staged
from rootwatch_cli.local_stack import LOOPBACK, LocalStack
from rootwatch_cli.project import BUILT_TEMPLATE
from tests.template.permissions import LACKING, NEEDS, NOT_END_TO_END, Asked, admits
from tests.template.stack import Stack
from tests.template.test_policies import FUNCTIONS, allowed

Used = set[tuple[str, str]]
"""Permissions that calls used, each by the statement's Sid and the action."""

USED: Final[Used] = set()
"""What all stages of this process have seen so far."""

FREE: Final[Mapping[str, str]] = {
    "sts:GetCallerIdentity": "The triage function hands on what the person who answers signed; it takes no permission.",
}
"""Operations that no role has to be allowed to, and why."""

_SCOPE: Final = re.compile(r"Credential=[^/]+/\d+/[^/]+/(?P<service>[a-z0-9-]+)/aws4_request")
_HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


def read_call(method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[str, dict[str, Any]]:
    """Return the operation that a request is, such as `dynamodb:Query`, and its parameters as botocore names them."""
    named = {name.lower(): value for name, value in headers.items()}
    scope = _SCOPE.search(named.get("authorization", ""))
    service = scope["service"] if scope else "unsigned"
    if target := named.get("x-amz-target"):
        return f"{service}:{target.rpartition('.')[2]}", json.loads(body)
    if service == "s3":
        bucket, _, key = urlsplit(path).path.lstrip("/").partition("/")
        name = "PutObject" if method == "PUT" and key else f"{method} {path}"
        return f"s3:{name}", {"Bucket": bucket, "Key": key}
    fields = dict(parse_qsl(body.decode()))
    return f"{service}:{fields.get('Action', f'{method} {path}')}", fields


class Wire:
    """Listens for each function on a port of its own, hands on what it calls, and notes what that needs."""

    def __init__(self) -> None:
        """Listen; nothing calls before `lead` says where to."""
        self._lock = threading.Lock()
        self._names: dict[str, str] = {}
        self.calls = 0
        self.used: Used = set()
        self.refused: set[str] = set()
        self._fronts = {function: _front(self, function) for function in FUNCTIONS}

    def close(self) -> None:
        """Stop to listen."""
        for front in self._fronts.values():
            front.shutdown()
            front.server_close()

    def template(self, text: str) -> str:
        """Return a built template in which each function calls AWS through its listener."""
        for function, front in self._fronts.items():
            before, name, after = text.partition(f"\n  {function}:\n")
            head, variables, rest = after.partition("\n        Variables:\n")
            assert name
            assert variables
            address = f"          AWS_ENDPOINT_URL: http://{LOOPBACK}:{front.server_port}\n"
            text = f"{before}{name}{head}{variables}{address}{rest}"
        return text

    def lead(self, endpoint_url: str, parameters: Mapping[str, str]) -> None:
        """Lead to an emulator on which the stack is about to be deployed with these parameters."""
        address = urlsplit(endpoint_url)
        self.emulator = (str(address.hostname), int(address.port or 0))
        self._stack = Stack(**parameters)
        self._roles = {function: allowed(self._stack, function) for function in FUNCTIONS}

    def know(self, resources: Mapping[str, str]) -> None:
        """Know what the emulator made up for names of the template: its physical ids by logical id."""
        secret, bucket = resources["SlackSecret"], resources["ReportBucket"]
        self._names = {secret: self._stack.arn("SlackSecret"), bucket: "ReportBucket"}

    def ideal(self, name: str) -> str:
        """Return a name as the template's stack has it."""
        return self._names.get(name, name)

    def note(self, function: str, call: tuple[str, dict[str, Any]]) -> None:
        """Note which statements of its role allow what a function calls."""
        operation, params = call
        asked: Iterable[Asked] = NEEDS[operation](self.ideal, params) if operation in NEEDS else ()
        with self._lock:
            self.calls += 1
            if not asked and operation not in FREE:
                self.refused.add(f"{function} calls {operation}, of which nobody knows what permission it needs")
            for each in asked:
                by = {str(statement["Sid"]) for statement in self._roles[function] if admits(statement, each)}
                self.used |= {(sid, each.action) for sid in by}
                if not by:
                    self.refused.add(f"{function} is not allowed {each}")


class _Front(ThreadingHTTPServer):
    daemon_threads = True


def _front(wire: Wire, function: str) -> _Front:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 120

        def _hand_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            wire.note(function, read_call(self.command, self.path, dict(self.headers.items()), body))
            connection = http.client.HTTPConnection(*wire.emulator, timeout=100)
            try:
                connection.request(self.command, self.path, body, dict(self.headers.items()))
                answer = connection.getresponse()
                content = answer.read()
            finally:
                connection.close()
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _hand_on  # noqa: N815 - as the base class names them

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Say nothing."""

    front = _Front((LOOPBACK, 0), Handler)
    threading.Thread(target=front.serve_forever, daemon=True, kwargs={"poll_interval": 0.05}).start()
    return front


@contextmanager
def recorded_stage(
    parameters: Callable[[LocalStack], Mapping[str, str]] = lambda _stack: {}, *, bot: bool = False
) -> Iterator[Stage]:
    """Be `staged`, with every call of the functions matched; one that its role does not allow fails at the end."""
    wire = Wire()

    def lead(emulator: LocalStack) -> Mapping[str, str]:
        chosen = parameters(emulator)
        wire.lead(emulator.endpoint_url, chosen)
        return chosen

    with ExitStack() as stack:
        stack.callback(wire.close)
        template = BUILT_TEMPLATE
        if template.is_file():  # else deploying says what to do
            template = BUILT_TEMPLATE.with_name(f"recorded-{uuid.uuid4()}.yaml")
            stack.callback(template.unlink, missing_ok=True)
            template.write_text(wire.template(BUILT_TEMPLATE.read_text(encoding="utf-8")), encoding="utf-8")
        running = stack.enter_context(staged(parameters=lead, bot=bot, template=template))
        wire.know(running.deployment.resources)
        yield running
    USED.update(wire.used)
    assert wire.calls, "The functions called nothing through the wire."
    assert not wire.refused, "\n".join(sorted(wire.refused))


def unused(used: Used) -> set[tuple[str, str]]:
    """Return the permissions of all functions that are neither used nor listed with the reason why they cannot be."""
    stack = Stack(LookUpAccountNames="true", MemberPosture="true", SlackButtons="true")
    there = {
        (str(statement["Sid"]), action)
        for function in FUNCTIONS
        for statement in allowed(stack, function)
        for action in _list(statement["Action"])
    }
    return there - used - LACKING.keys() - NOT_END_TO_END.keys()


def _list(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]
