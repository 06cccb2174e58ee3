"""The wire between the functions and everything else: it sees each call that leaves them, and can break any of it.

AWS is moto, which botocore calls in place of the network, but for what takes moto too long: the table and publishing.
HTTP goes through requests. Both are hooked where the request would leave the process, so botocore's own retries are
seen too, and a call that somebody adds is counted without anyone remembering. A connection that is opened past the
hooks is noted in `unseen`, which the harness takes for a fault.
"""

import json
import re
import socket
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit
from weakref import WeakSet

import pytest
import requests
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ReadTimeoutError
from moto.core.botocore_stubber import BotocoreStubber, MockRawResponse

from tests.contracts.quick_dynamodb import QuickDynamoDb
from tests.contracts.stream_poller import Clock, FunctionTimedOutError

TIMEOUT_SECONDS: Final = 5.0
"""What one try that nobody answers costs on the test's clock."""
_SNS: Final = "http://sns.amazonaws.com/doc/2010-03-31/"
_ONLY_READS: Final = re.compile(r"[a-z0-9-]+\.(?:BatchGet|Describe|Get|List|Query|Scan)[A-Za-z]*|GET .*")


class Kind(StrEnum):
    """How a call is broken."""

    THROTTLED = "throttled"
    """Refused with a throttling error, every time that botocore repeats it; Slack answers 429."""
    ANSWER_LOST = "answer lost"
    """It takes effect, and its answer is lost, at every repetition."""
    ANSWER_LOST_ONCE = "answer lost once"
    """It takes effect and its answer is lost; what botocore sends again is answered."""
    LOST_RACE = "lost race"
    """Refused, because somebody else wrote an item meanwhile; what is sent anew is taken."""
    DIED_BEFORE = "died before"
    """The process ends before the call leaves it."""
    DIED_AFTER = "died after"
    """The call takes effect, and the process ends before it learns of that."""


class ProcessDiedError(FunctionTimedOutError):
    """The function's process is gone. Not an Exception: nothing in it runs any more."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a function: which one, what it calls, and how many calls of this name it has made before in the story.

    Calls are told apart by name and not by place, because some are made in threads, at once.
    """

    function: str
    name: str
    number: int

    @property
    def only_reads(self) -> bool:
        """Whether it surely changes nothing; a name that is not known is taken for one that does."""
        return _ONLY_READS.fullmatch(self.name) is not None

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The ways in which breaking this call can end differently.

        Dying after a read is dying before the next call; a read whose answer is lost is one that was refused.
        """
        if self.only_reads:
            return (Kind.THROTTLED, Kind.DIED_BEFORE)
        left_out = set() if " " not in self.name else {Kind.ANSWER_LOST_ONCE}
        if self.name != "dynamodb.TransactWriteItems":
            left_out.add(Kind.LOST_RACE)
        return tuple(kind for kind in Kind if kind not in left_out)


@dataclass(frozen=True, slots=True)
class Fault:
    """One call that is broken, and how."""

    call: Call
    kind: Kind


@dataclass(frozen=True, slots=True)
class Taken:
    """A request that took effect: its name and its body, as the service understood it."""

    name: str
    body: Mapping[str, Any]


@dataclass
class Wire:
    """Hooks botocore and requests for as long as a test lasts; nothing is counted outside of `running`.

    Nor is what a thread does that the function did not start: another test's servers may live in this process.
    `taken` is told each write that took effect. `throttle` may refuse any try of a call.
    """

    clock: Clock
    taken: Callable[[Taken], None]
    dynamodb: QuickDynamoDb = field(default_factory=QuickDynamoDb)
    fault: Fault | None = None
    throttle: Callable[[], bool] = lambda: False
    calls: list[Call] = field(default_factory=list)
    tries: int = 0
    refused: int = 0
    struck: int = 0
    unseen: list[str] = field(default_factory=list)
    _function: str | None = None
    _counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    _known: dict[str, Call] = field(default_factory=dict)
    _attempts: Counter[Call] = field(default_factory=Counter)
    _is_dead: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _inside: threading.local = field(default_factory=threading.local)
    _threads: WeakSet[threading.Thread] = field(default_factory=WeakSet)

    def reset(self, fault: Fault | None) -> None:
        """Begin a story anew, with one call that is to be broken or none."""
        self.fault, self.struck, self._is_dead = fault, 0, False
        self.tries = self.refused = 0
        self.calls.clear()
        self._counts.clear()
        self._known.clear()
        self._attempts.clear()
        self.dynamodb.clear()

    @contextmanager
    def running(self, function: str) -> Iterator[None]:
        """Count, and perhaps break, what this function calls."""
        self._function = function
        self._threads.add(threading.current_thread())
        connect = socket.socket.connect

        def connected(connection: socket.socket, address: Any) -> None:
            if self._is_running() and not getattr(self._inside, "is_seen", False):
                self.unseen.append(f"{self._function} connects to {address}")
            connect(connection, address)

        # Here and not with the other hooks: pytest-socket puts the true one back at the end of every test.
        setattr(socket.socket, "connect", connected)  # noqa: B010 - a method that is replaced, as pytest-socket does
        try:
            yield
            if self._is_dead:  # in a thread, of which the rest has heard nothing yet
                raise ProcessDiedError
        finally:
            setattr(socket.socket, "connect", connect)  # noqa: B010 - as above
            self._function, self._is_dead = None, False

    def _is_running(self) -> bool:
        return self._function is not None and threading.current_thread() in self._threads

    def hook(self, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: C901 - one hook after the other
        """Put the hooks in, until the test ends."""
        to_moto, send = BotocoreStubber.__call__, requests.Session.send
        excepthook, start = threading.excepthook, threading.Thread.start

        def aws(
            stubber: BotocoreStubber, event_name: str, request: AWSPreparedRequest, **rest: Any
        ) -> AWSResponse | None:
            def answer() -> AWSResponse | None:
                if name.startswith("dynamodb."):
                    return self.dynamodb.before_send(event_name, request)
                if name == "sns.Publish":
                    return _published(request)
                return to_moto(stubber, event_name, request, **rest)

            name = event_name.removeprefix("before-send.")
            if not self._is_running():
                return answer()
            call = self._call(name, _text(request.headers["amz-sdk-invocation-id"]))
            answered: AWSResponse | None = self._through(
                call,
                lambda: self._telling(name, request, answer),
                refuse=lambda kind: _lost_race(request) if kind is Kind.LOST_RACE else _aws_refusal(request),
                lost=ReadTimeoutError(endpoint_url=request.url),
            )
            return answered

        def http(session: requests.Session, request: requests.PreparedRequest, **rest: Any) -> requests.Response:
            if not self._is_running():
                return send(session, request, **rest)
            name = f"{request.method} {'/'.join(urlsplit(str(request.url)).path.split('/')[:3])}"
            unread: list[requests.Response] = []

            def answer() -> requests.Response:
                unread.append(self._inside_of(lambda: send(session, request, **rest)))
                return unread[0]

            try:
                answered: requests.Response = self._through(
                    self._call(name, None),
                    answer,
                    refuse=lambda _kind: _too_many(request),
                    # It names the address, as requests does: nothing of it may be seen anywhere.
                    lost=requests.ReadTimeout(f"{request.url} timed out"),
                )
            except BaseException:  # a process that dies takes its connections along
                for each in unread:
                    each.close()
                raise
            return answered

        def started(thread: threading.Thread) -> None:
            if self._is_running():
                self._threads.add(thread)
            start(thread)

        def died(arguments: threading.ExceptHookArgs) -> None:
            if not isinstance(arguments.exc_value, ProcessDiedError):
                excepthook(arguments)

        monkeypatch.setattr(threading, "excepthook", died)
        monkeypatch.setattr(threading.Thread, "start", started)
        monkeypatch.setattr(BotocoreStubber, "__call__", aws)
        monkeypatch.setattr(requests.Session, "send", http)

    def _call(self, name: str, invocation: str | None) -> Call:
        """Return the call that a try belongs to: what botocore repeats has one invocation id."""
        with self._lock:
            call = self._known.get(invocation) if invocation else None
            if call is None:
                function = str(self._function)
                self._counts[function, name] += 1
                call = Call(function, name, self._counts[function, name])
                self.calls.append(call)
                if invocation:
                    self._known[invocation] = call
            self._attempts[call] += 1
            return call

    def _through(
        self,
        call: Call,
        send: Callable[[], Any],
        *,
        refuse: Callable[[Kind | None], Any],
        lost: Exception,
    ) -> Any:
        """Let a try through, or break it."""
        self.tries += 1
        if self._is_dead:
            raise ProcessDiedError
        kind = self.fault.kind if self.fault is not None and self.fault.call == call else None
        if kind is Kind.ANSWER_LOST_ONCE and self._attempts[call] > 1:
            kind = None
        self.struck += kind is not None
        if kind is Kind.DIED_BEFORE:
            self._die()
        if kind in {Kind.THROTTLED, Kind.LOST_RACE} or self.throttle():
            self.refused += 1
            return refuse(kind)
        answer = send()
        if kind is Kind.DIED_AFTER:
            self._die()
        if kind in {Kind.ANSWER_LOST, Kind.ANSWER_LOST_ONCE}:
            self._wait()
            raise lost
        return answer

    def _die(self) -> None:
        self._is_dead = True
        raise ProcessDiedError

    def _wait(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # a thread has a limit of its own
        try:
            self.clock.advance(TIMEOUT_SECONDS)
        except FunctionTimedOutError:
            self._is_dead = True
            raise

    def _inside_of(self, send: Callable[[], Any]) -> Any:
        self._inside.is_seen = True
        try:
            return send()
        finally:
            self._inside.is_seen = False

    def _telling(self, name: str, request: AWSPreparedRequest, send: Callable[[], AWSResponse | None]) -> AWSResponse:
        """Let a service answer, and tell what took effect."""
        answer = send()
        assert answer is not None, f"moto does not know {name}"
        if answer.status_code < 300:
            self.taken(Taken(name, _body(request)))
        return answer


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _body(request: AWSPreparedRequest) -> Mapping[str, Any]:
    """Return a request's body, whether it is JSON or a form."""
    text = _text(request.body or b"{}")
    if text.startswith("{"):
        body: Mapping[str, Any] = json.loads(text)
        return body
    return {name: values[0] for name, values in parse_qs(text).items()}


def _published(request: AWSPreparedRequest) -> AWSResponse:
    """Return what SNS says to a publish; moto, in the other tests, knows what SNS refuses, and takes its time."""
    message_id = f"<MessageId>{uuid.uuid4()}</MessageId>"
    body = f'<PublishResponse xmlns="{_SNS}"><PublishResult>{message_id}</PublishResult></PublishResponse>'
    return AWSResponse(request.url, 200, HTTPHeaders(), MockRawResponse(body))


def _aws_refusal(request: AWSPreparedRequest) -> AWSResponse:
    """Return AWS's answer to who calls too often, in the protocol of the request."""
    if "X-Amz-Target" in request.headers:
        body = json.dumps({"__type": "com.amazonaws#ThrottlingException", "message": "Rate exceeded"})
    else:
        error = "<Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message></Error>"
        body = f"<ErrorResponse>{error}<RequestId>0</RequestId></ErrorResponse>"
    return AWSResponse(request.url, 400, HTTPHeaders(), MockRawResponse(body))


def _lost_race(request: AWSPreparedRequest) -> AWSResponse:
    """Return DynamoDB's answer to a transaction of which a condition does not hold any more."""
    reasons = [{"Code": "ConditionalCheckFailed"} for _ in _body(request)["TransactItems"]]
    kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException"
    body = json.dumps({"__type": kind, "message": "Transaction cancelled", "CancellationReasons": reasons})
    return AWSResponse(request.url, 400, HTTPHeaders(), MockRawResponse(body))


def _too_many(request: requests.PreparedRequest) -> requests.Response:
    """Return Slack's answer to who posts too often: longer to wait than the notifier does by itself."""
    answer = requests.Response()
    answer.status_code, answer.url, answer.request = 429, str(request.url), request
    answer.headers["Retry-After"] = "30"
    answer._content = b"rate_limited"
    answer._content_consumed = True  # type: ignore[attr-defined] # as requests has it, once all of it is read
    return answer
