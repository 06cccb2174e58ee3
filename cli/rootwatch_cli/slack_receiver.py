"""A receiver on the loopback address that answers incoming webhooks, and a bot's chat.* calls, the way Slack does.

It checks what Slack refuses in earnest (https://docs.slack.dev/reference/block-kit/blocks and
https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks), keeps the messages it took with the time
they came in, and can be told to misbehave: be too busy, fail, hang, refuse connections, refuse with an error code.

Of the API it knows auth.test, chat.postMessage, with threads, chat.update and views.open
(https://docs.slack.dev/reference/methods/chat.postMessage and .../chat.update). It takes what is answered to whoever
pressed a button, and makes the signed requests of presses and modals (`pressed`, `submitted`). A reply to a message
that is not there any more goes to the channel, without a word: so Slack does
(https://github.com/slack-go/slack/issues/1571).
"""

import hashlib
import hmac
import json
import re
import socket
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlencode

LOOPBACK = "127.0.0.1"
# The path of a webhook that Slack could have issued; no such workspace exists.
WEBHOOK_PATH = "/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"

BOT_TOKEN = "xoxb-000000000000-000000000000-XXXXXXXXXXXXXXXXXXXXXXXX"  # noqa: S105 - no such app exists
CHANNEL = "C0000000000"
SIGNING_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"  # noqa: S105 - the one that Slack's documentation shows
TEAM = "T00000000"
TRIGGER_ID = "1234.5678.abcdef"
RESPONSE_PATH = "/actions/T00000000/1/abcdef"

MAX_BODY_BYTES = 256 * 1024
MAX_KEPT_MESSAGES = 10_000
MAX_BLOCKS = 50
_PATH = re.compile(r"/services/T[A-Z0-9]{2,20}/B[A-Z0-9]{2,20}/[A-Za-z0-9]{8,64}")
_API_PATH = re.compile(r"/api/(?P<method>[a-zA-Z.]{1,64})")
_WEBHOOK_STATUS = {
    "action_prohibited": HTTPStatus.FORBIDDEN,
    "channel_is_archived": HTTPStatus.GONE,
    "channel_not_found": HTTPStatus.NOT_FOUND,
    "invalid_token": HTTPStatus.FORBIDDEN,
    "no_service": HTTPStatus.NOT_FOUND,
    "posting_to_general_channel_denied": HTTPStatus.FORBIDDEN,
    "team_disabled": HTTPStatus.FORBIDDEN,
}
"""The status of a webhook's error code; 400 for the others."""
_SOCKET_SECONDS = 30.0
_HANG_SECONDS = 120.0
# Slack: 40,000 characters of `text`, after which it truncates; a message that long is a mistake here.
_MAX_TEXT = 40_000
_MAX_HEADER = 150
_MAX_SECTION = 3000
_MAX_FIELDS = 10
_MAX_FIELD = 2000
_MAX_CONTEXT_ELEMENTS = 10
_MAX_ACTIONS = 25
_MAX_BUTTON_TEXT = 75
_MAX_URL = 3000
_MAX_BLOCK_ID = 255
_MAX_MODAL_WORD = 24
_BLOCK_TYPES = frozenset(
    {"actions", "context", "divider", "header", "image", "input", "markdown", "rich_text", "section"},
)
_RICH_TEXT_ELEMENTS = frozenset(
    {"rich_text_section", "rich_text_list", "rich_text_preformatted", "rich_text_quote"},
)


class Behaviour(StrEnum):
    """How the receiver answers from now on."""

    ACCEPT = "accept"
    TOO_MANY_REQUESTS = "too_many_requests"  # 429 with Retry-After
    SERVER_ERROR = "server_error"  # 500
    HANG = "hang"  # takes the request and does not answer
    REFUSE = "refuse"  # closes the connection without a byte
    NO_SERVICE = "no_service"  # 404: the webhook was revoked; a bot's token likewise
    ERROR = "error"  # refuses with the error code that `answer_with` names


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """One message that was accepted: when, on which path, and its payload as it was first sent.

    What a bot posted has a `ts`, and in a thread the `ts` of its parent; `broadcast`: it is in the channel as well.
    """

    received_at: datetime
    path: str
    payload: Mapping[str, Any]
    ts: str = ""
    thread_ts: str | None = None
    broadcast: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """One request that was refused, and what was wrong with it. The API refuses with status 200, too."""

    received_at: datetime
    status: int
    reason: str


@dataclass(slots=True)
class _Order:
    behaviour: Behaviour = Behaviour.ACCEPT
    times: int | None = None  # None: until told otherwise
    retry_after_seconds: int = 1
    code: str = "invalid_blocks"
    only: str = ""


@dataclass(slots=True)
class _State:
    lock: threading.Condition = field(default_factory=threading.Condition)
    released: threading.Event = field(default_factory=threading.Event)
    order: _Order = field(default_factory=_Order)
    messages: deque[ReceivedMessage] = field(default_factory=lambda: deque(maxlen=MAX_KEPT_MESSAGES))
    refusals: deque[Refusal] = field(default_factory=lambda: deque(maxlen=MAX_KEPT_MESSAGES))
    edits: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    """What stands in each of a bot's messages now, and stood there before, by `ts`."""
    refused_texts: dict[str, str] = field(default_factory=dict)
    channel: dict[str, bool] | None = None
    """What the channel is like, None where the app has no scope to ask."""
    proofs: int = 0
    requests: int = 0
    count: int = 0
    modals: list[Mapping[str, Any]] = field(default_factory=list)
    told: list[Mapping[str, Any]] = field(default_factory=list)


class SlackReceiver:
    """A Slack-shaped HTTP server in a thread of its own; use it with `with`. It listens on 127.0.0.1 only."""

    def __init__(self) -> None:
        """Take a free port. Nothing is answered before the `with` block begins."""
        self._state = _State()
        self._server = _Server((LOOPBACK, 0), _Handler)
        self._server.state = self._state
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="slack-receiver", daemon=True
        )

    def __enter__(self) -> Self:
        """Begin to answer."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop answering and free the port; a hanging request is let go."""
        self._state.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def origin(self) -> str:
        """Scheme, host and port: what stands in place of https://hooks.slack.com."""
        return f"http://{LOOPBACK}:{self._server.server_address[1]}"

    @property
    def webhook_url(self) -> str:
        """The address to put into the Slack secret."""
        return self.origin + WEBHOOK_PATH

    @property
    def bot_secret(self) -> dict[str, str]:
        """What to put into the Slack secret for threads in place of the webhook's address."""
        return {"bot_token": BOT_TOKEN, "channel": CHANNEL}

    @property
    def modals(self) -> tuple[Mapping[str, Any], ...]:
        """The modals that were opened, in their order."""
        with self._state.lock:
            return tuple(self._state.modals)

    @property
    def told(self) -> tuple[Mapping[str, Any], ...]:
        """What people who pressed were told alone, in its order."""
        with self._state.lock:
            return tuple(self._state.told)

    def pressed(
        self, value: str, action_id: str, user: str, name: str, typed: Mapping[str, str] | None = None
    ) -> bytes:
        """Return the body that Slack sends when a person presses a button of ours, unsigned."""
        values = {block: {block: {"type": "plain_text_input", "value": text}} for block, text in (typed or {}).items()}
        return interaction_body(
            {
                "type": "block_actions",
                "user": {"id": user, "username": name, "team_id": TEAM},
                "team": {"id": TEAM, "domain": "example"},
                "channel": {"id": CHANNEL, "name": "root-alerts"},
                "trigger_id": TRIGGER_ID,
                "response_url": self.origin + RESPONSE_PATH,
                "state": {"values": values},
                "actions": [{"type": "button", "action_id": action_id, "value": value, "action_ts": "1.2"}],
            }
        )

    @staticmethod
    def submitted(modal: Mapping[str, Any], user: str, name: str, typed: Mapping[str, str]) -> bytes:
        """Return the body that Slack sends when a person submits a modal, unsigned."""
        values = {block: {block: {"type": "plain_text_input", "value": text}} for block, text in typed.items()}
        return interaction_body(
            {
                "type": "view_submission",
                "user": {"id": user, "username": name, "team_id": TEAM},
                "team": {"id": TEAM, "domain": "example"},
                "view": {**modal, "state": {"values": values}},
            }
        )

    @property
    def messages(self) -> tuple[ReceivedMessage, ...]:
        """The messages accepted so far, in the order in which they came."""
        with self._state.lock:
            return tuple(self._state.messages)

    @property
    def alerts(self) -> tuple[ReceivedMessage, ...]:
        """The messages of webhooks and those in threads: all but what a thread begins with."""
        return tuple(message for message in self.messages if message.thread_ts or not message.ts)

    @property
    def parents(self) -> tuple[ReceivedMessage, ...]:
        """The messages that a bot posted outside of any thread."""
        return tuple(message for message in self.messages if message.ts and not message.thread_ts)

    def replies(self, parent: str) -> tuple[ReceivedMessage, ...]:
        """The messages in the thread of a message."""
        return tuple(message for message in self.messages if message.thread_ts == parent)

    def current(self, ts: str) -> Mapping[str, Any]:
        """What stands in a bot's message now."""
        with self._state.lock:
            return self._state.edits[ts][-1]

    def delete(self, ts: str) -> None:
        """Delete a message of a bot, as a person in the channel could; what was received stays in `messages`."""
        with self._state.lock:
            del self._state.edits[ts]

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """The requests refused so far, whatever the reason."""
        with self._state.lock:
            return tuple(self._state.refusals)

    @property
    def requests(self) -> int:
        """How many requests came, accepted or not."""
        with self._state.lock:
            return self._state.requests

    def answer_with(
        self,
        behaviour: Behaviour,
        *,
        times: int | None = None,
        retry_after_seconds: int = 1,
        code: str = "invalid_blocks",
        only: str = "",
    ) -> None:
        """Behave like this for the next `times` requests (None: from now on), then accept again.

        Args:
            behaviour: how.
            times: how often.
            retry_after_seconds: what TOO_MANY_REQUESTS asks for.
            code: Slack's error code, for ERROR.
            only: a method such as `chat.update`; other requests are accepted and do not count.

        """
        with self._state.lock:
            self._state.order = _Order(behaviour, times, retry_after_seconds, code, only)

    @property
    def proofs(self) -> int:
        """How often somebody asked whether webhook, token or channel are good, and posted nothing."""
        with self._state.lock:
            return self._state.proofs

    def show_channel(self, **details: bool) -> None:
        """From now on tell the app what the channel is like, as if it had the scope channels:read."""
        with self._state.lock:
            self._state.channel = details

    def refuse_containing(self, text: str, code: str) -> None:
        """From now on refuse with this error code every message in which this text stands, and accept the others."""
        with self._state.lock:
            self._state.refused_texts[text] = code

    def forgive(self) -> None:
        """Accept again what `refuse_containing` named."""
        with self._state.lock:
            self._state.refused_texts.clear()

    def wait_for(self, count: int, seconds: float) -> tuple[ReceivedMessage, ...]:
        """Return the alerts as soon as there are `count`, or those there are after so many seconds."""
        with self._state.lock:
            self._state.lock.wait_for(lambda: len(self.alerts) >= count, timeout=seconds)
        return self.alerts


def interaction_body(payload: Mapping[str, Any]) -> bytes:
    """Return the form in which Slack sends an interaction."""
    return urlencode({"payload": json.dumps(payload)}).encode()


def signed_headers(body: bytes, at: datetime, secret: str = SIGNING_SECRET) -> dict[str, str]:
    """Return the headers with which Slack sends a body at a moment.

    https://docs.slack.dev/authentication/verifying-requests-from-slack
    """
    timestamp = str(int(at.timestamp()))
    digest = hmac.new(secret.encode(), f"v0:{timestamp}:".encode() + body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": f"v0={digest}",
    }


def problem_with(payload: object) -> tuple[str, str] | None:
    """Return Slack's error code and a sentence on what is wrong with a webhook payload, or None when it is fine."""
    if not isinstance(payload, dict):
        return "invalid_payload", "the payload is not an object"
    text = payload.get("text")
    if not isinstance(text, str) or not text.strip():
        # Slack takes blocks without text, with a warning; the notification on a phone is then empty.
        return "no_text", "`text` is missing: it is what a notification shows"
    if len(text) > _MAX_TEXT:
        return "msg_too_long", f"`text` has {len(text)} characters"
    blocks = payload.get("blocks", [])
    if not isinstance(blocks, list):
        return "invalid_blocks", "`blocks` is not a list"
    if len(blocks) > MAX_BLOCKS:
        return "invalid_blocks", f"{len(blocks)} blocks, at most {MAX_BLOCKS}"
    problem = next((problem for problem in map(_block_problem, blocks) if problem), None)
    if problem is None:
        problem = _duplicate_block_id(blocks)
    return None if problem is None else ("invalid_blocks", problem)


def _duplicate_block_id(blocks: Iterable[Mapping[str, Any]]) -> str | None:
    seen = [block["block_id"] for block in blocks if "block_id" in block]
    return None if len(seen) == len(set(seen)) else "a block_id occurs twice"


def _block_problem(block: object) -> str | None:  # noqa: C901, PLR0911 - one way out per kind of block
    if not isinstance(block, dict):
        return "a block is not an object"
    kind = block.get("type")
    if kind not in _BLOCK_TYPES:
        return f"unknown block type {kind!r}"
    block_id = block.get("block_id", "-")
    if not isinstance(block_id, str) or not 1 <= len(block_id) <= _MAX_BLOCK_ID:
        return f"{kind}: block_id is not 1 to {_MAX_BLOCK_ID} characters"
    match kind:
        case "header":
            return _text_problem("header", block.get("text"), _MAX_HEADER, kinds=("plain_text",))
        case "section":
            return _section_problem(block)
        case "context":
            return _list_problem("context", block, _MAX_CONTEXT_ELEMENTS, _context_element_problem)
        case "actions":
            return _list_problem("actions", block, _MAX_ACTIONS, _action_problem)
        case "input":
            return _input_problem(block)
        case "rich_text":
            return _list_problem("rich_text", block, None, _rich_text_problem)
        case "image":
            return _image_problem(block)
        case "markdown":
            ok = isinstance(block.get("text"), str) and len(block["text"]) <= 12_000  # noqa: PLR2004 - used once
            return None if ok else "markdown: text is not a string of at most 12000 characters"
    return None


def _section_problem(block: Mapping[str, Any]) -> str | None:
    if "text" not in block and "fields" not in block:
        return "section: neither text nor fields"
    if "text" in block and (problem := _text_problem("section", block["text"], _MAX_SECTION)):
        return problem
    if "fields" not in block:
        return None
    fields = block["fields"]
    if not isinstance(fields, list) or not 1 <= len(fields) <= _MAX_FIELDS:
        return f"section: fields is not a list of 1 to {_MAX_FIELDS}"
    return next((problem for one in fields if (problem := _text_problem("section field", one, _MAX_FIELD))), None)


def _list_problem(kind: str, block: Mapping[str, Any], maximum: int | None, check: Any) -> str | None:  # noqa: ANN401
    elements = block.get("elements")
    if not isinstance(elements, list) or not elements or (maximum is not None and len(elements) > maximum):
        return f"{kind}: elements is not a list of 1 to {maximum or 'many'}"
    return next((problem for element in elements if (problem := check(element))), None)


def _context_element_problem(element: object) -> str | None:
    if isinstance(element, dict) and element.get("type") == "image":
        return _image_problem(element)
    return _text_problem("context", element, None)


def _image_problem(element: Mapping[str, Any]) -> str | None:
    for name in ("image_url", "alt_text"):
        if not isinstance(element.get(name), str) or not element[name]:
            return f"image: {name} is missing"
    return None


def _action_problem(element: object) -> str | None:
    if not isinstance(element, dict) or element.get("type") != "button":
        return "actions: an element is not a button"
    url = element.get("url", "https://")
    if not isinstance(url, str) or len(url) > _MAX_URL or not url.startswith(("http://", "https://")):
        return f"button: url is not a web address of at most {_MAX_URL} characters"
    if element.get("style", "primary") not in {"primary", "danger"}:
        return "button: style is neither primary nor danger"
    for name, longest in (("action_id", _MAX_BLOCK_ID), ("value", _MAX_FIELD)):
        if not isinstance(element.get(name, ""), str) or len(element.get(name, "")) > longest:
            return f"button: {name} is no text of at most {longest} characters"
    return _text_problem("button", element.get("text"), _MAX_BUTTON_TEXT, kinds=("plain_text",))


def _input_problem(block: Mapping[str, Any]) -> str | None:
    element = block.get("element")
    if not isinstance(element, dict) or element.get("type") != "plain_text_input":
        return "input: element is not a plain_text_input"
    if not 1 <= element.get("max_length", 1) <= _MAX_SECTION:
        return f"input: max_length is not 1 to {_MAX_SECTION}"
    hint = _text_problem("placeholder", element.get("placeholder"), _MAX_HEADER, kinds=("plain_text",))
    return hint or _text_problem("input", block.get("label"), _MAX_FIELD, kinds=("plain_text",))


def modal_problem(view: object) -> str | None:
    """Return what Slack would refuse a modal for, by https://docs.slack.dev/reference/views/modal-views ."""
    if not isinstance(view, dict) or view.get("type") != "modal":
        return "the view is no modal"
    for name in ("title", "submit", "close"):
        if problem := _text_problem(name, view.get(name), _MAX_MODAL_WORD, kinds=("plain_text",)):
            return problem
    if len(view.get("private_metadata", "")) > _MAX_SECTION or len(view.get("callback_id", "")) > _MAX_BLOCK_ID:
        return "private_metadata or callback_id is too long"
    return next((problem for problem in map(_block_problem, view.get("blocks", [])) if problem), None)


def _rich_text_problem(element: object) -> str | None:  # noqa: PLR0911 - one way out per fault
    if not isinstance(element, dict) or element.get("type") not in _RICH_TEXT_ELEMENTS:
        return "rich_text: unknown element"
    children = element.get("elements")
    if not isinstance(children, list):
        return f"{element['type']}: elements is not a list"
    if element["type"] == "rich_text_list":
        if element.get("style") not in {"bullet", "ordered"}:
            return "rich_text_list: style is neither bullet nor ordered"
        return next((problem for child in children if (problem := _rich_text_problem(child))), None)
    for child in children:
        if not isinstance(child, dict) or not isinstance(child.get("type"), str):
            return f"{element['type']}: a child has no type"
        if child["type"] == "text" and (not isinstance(child.get("text"), str) or not child["text"]):
            return f"{element['type']}: an empty text"
        if child["type"] == "link" and not isinstance(child.get("url"), str):
            return f"{element['type']}: a link without url"
    return None


def _text_problem(
    where: str, text: object, maximum: int | None, kinds: Iterable[str] = ("plain_text", "mrkdwn")
) -> str | None:
    if not isinstance(text, dict) or text.get("type") not in tuple(kinds):
        return f"{where}: not a text object of type {' or '.join(kinds)}"
    value = text.get("text")
    if not isinstance(value, str) or not value:
        return f"{where}: text is empty"
    if maximum is not None and len(value) > maximum:
        return f"{where}: {len(value)} characters, at most {maximum}"
    if text["type"] == "plain_text" and "verbatim" in text:
        return f"{where}: verbatim belongs to mrkdwn"
    return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128  # with the five that Python has, whoever connects beside a crowd waits a second or more
    state: _State

    def handle_error(self, _request: object, _client_address: object) -> None:
        """Say nothing: a client that hangs up is its own affair, and the terminal belongs to the demo."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _SOCKET_SECONDS
    # Slack's own name for it does not matter; Python's would tell a version.
    server_version = "slack-shaped"
    sys_version = ""

    def do_POST(self) -> None:  # noqa: C901 - one case per behaviour
        """Answer one call as told, or after checking it as Slack would."""
        order = self._order()
        api = _API_PATH.fullmatch(self.path)
        body = self._body()
        match order.behaviour:
            case Behaviour.TOO_MANY_REQUESTS:
                wait = {"Retry-After": str(order.retry_after_seconds)}
                self._refuse(HTTPStatus.TOO_MANY_REQUESTS, "rate_limited", "as told", wait)
            case Behaviour.SERVER_ERROR:
                self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "rollup_error", "as told")
            case Behaviour.NO_SERVICE if api:
                self._deny("account_inactive", "as told")
            case Behaviour.NO_SERVICE:
                self._refuse(HTTPStatus.NOT_FOUND, "no_service", "as told")
            case Behaviour.ERROR if api:
                self._deny(order.code, "as told")
            case Behaviour.ERROR:
                self._refuse(_WEBHOOK_STATUS.get(order.code, HTTPStatus.BAD_REQUEST), order.code, "as told")
            case Behaviour.HANG:
                self._note(0, "hung, as told")
                self.server.state.released.wait(_HANG_SECONDS)
                self._hang_up()
            case Behaviour.REFUSE:
                self._note(0, "hung up, as told")
                self._hang_up()
            case Behaviour.ACCEPT if body is not None and api:
                self._call(api["method"], body)
            case Behaviour.ACCEPT if body is not None:
                self._check(body)

    def _order(self) -> _Order:
        """Return how to answer this request, and count it."""
        with self.server.state.lock:
            self.server.state.requests += 1
            order = self.server.state.order
            if order.behaviour is Behaviour.ACCEPT or not self.path.endswith(order.only):
                return _Order()
            if order.times is not None:
                order.times -= 1
                if order.times <= 0:
                    self.server.state.order = _Order()
            return order

    def _check(self, body: bytes) -> None:  # noqa: PLR0911 - one way out per fault
        if self.path == RESPONSE_PATH:
            return self._respond(body)
        if not _PATH.fullmatch(self.path):
            return self._refuse(HTTPStatus.NOT_FOUND, "no_service", "not the path of a webhook")
        payload = self._json(body)
        if payload is None:
            return None
        if code := self._poison(body):
            return self._refuse(_WEBHOOK_STATUS.get(code, HTTPStatus.BAD_REQUEST), code, "as told, for its text")
        if problem := problem_with(payload):
            if payload != {}:
                return self._refuse(HTTPStatus.BAD_REQUEST, *problem)
            self._count_proof()  # it asks whether the webhook is good, and is no fault
            return self._answer(HTTPStatus.BAD_REQUEST, "no_text")
        self._keep(ReceivedMessage(datetime.now(UTC), self.path, payload))
        return self._answer(HTTPStatus.OK, "ok")

    def _respond(self, body: bytes) -> None:
        """Take what somebody who pressed is told."""
        payload = json.loads(body)
        if payload.get("delete_original") is not True and (problem := problem_with(payload)):
            return self._refuse(HTTPStatus.BAD_REQUEST, *problem)
        with self.server.state.lock:
            self.server.state.told.append(payload)
            self.server.state.lock.notify_all()
        return self._answer(HTTPStatus.OK, "ok")

    def _open(self, payload: Mapping[str, Any]) -> None:
        view = payload.get("view")
        problem = modal_problem(view) if payload.get("trigger_id") == TRIGGER_ID else "not the trigger_id of a press"
        if problem:
            return self._deny("invalid_arguments", problem)
        with self.server.state.lock:
            self.server.state.modals.append(dict(view or {}))
        return self._say({"ok": True, "view": view})

    def _json(self, body: bytes) -> Any:  # noqa: ANN401 - any JSON there is
        """Return what a webhook is sent, or None after having refused it."""
        if self.headers.get_content_type() != "application/json":
            self._refuse(HTTPStatus.BAD_REQUEST, "invalid_payload", "the content type is not application/json")
            return None
        try:
            return [] if (payload := json.loads(body)) is None else payload
        except (ValueError, RecursionError):
            self._refuse(HTTPStatus.BAD_REQUEST, "invalid_payload", "the body is not JSON")
            return None

    def _call(self, method: str, body: bytes) -> None:  # noqa: PLR0911 - one way out per method
        """Answer a call of the API: always 200, and `ok` says whether it was done."""
        if method in {"auth.test", "conversations.info"}:
            return self._ask(method, body)
        try:
            payload = json.loads(body)
        except (ValueError, RecursionError):
            payload = None
        if problem := self._token_problem() or self._call_problem(payload, method):
            return self._deny(*problem)
        if code := self._poison(body):
            return self._deny(code, "as told, for its text")
        if method == "chat.postMessage":
            return self._post(payload)
        if method == "chat.update":
            return self._update(payload)
        if method == "views.open":
            return self._open(payload)
        return self._deny("unknown_method", method)

    def _ask(self, method: str, body: bytes) -> None:
        """Answer whether the token is good, or what the channel is like, for which the app needs one more scope."""
        if problem := self._token_problem():
            return self._deny(*problem)
        self._count_proof()
        if method == "auth.test":
            return self._say({"ok": True, "bot_id": "B0123456789"}, {"x-oauth-scopes": "chat:write"})
        if parse_qs(body.decode(errors="replace")) != {"channel": [CHANNEL]}:
            return self._deny("channel_not_found", "not the channel's id, or not as a form")
        with self.server.state.lock:
            channel = self.server.state.channel
        if channel is None:
            return self._say({"ok": False, "error": "missing_scope"})
        return self._say({"ok": True, "channel": {"id": CHANNEL, **channel}})

    def _count_proof(self) -> None:
        with self.server.state.lock:
            self.server.state.proofs += 1

    def _poison(self, body: bytes) -> str | None:
        """Return the error code for a message in which a text stands that is to be refused."""
        with self.server.state.lock:
            poisons = self.server.state.refused_texts
            return next((code for text, code in poisons.items() if text.encode() in body), None)

    def _token_problem(self) -> tuple[str, str] | None:
        token = self.headers.get("Authorization", "")
        if not token:
            return "not_authed", "no token"
        return None if token == f"Bearer {BOT_TOKEN}" else ("invalid_auth", "not the bot's token")

    def _call_problem(self, payload: object, method: str) -> tuple[str, str] | None:
        if self.headers.get_content_type() != "application/json":
            return "invalid_post_type", "the content type is not application/json"
        if not isinstance(payload, dict):
            return "json_not_object", "the body is not a JSON object"
        if not method.startswith("chat."):
            return None
        if payload.get("channel") != CHANNEL:
            return "channel_not_found", "not the channel's id"
        return problem_with(payload)

    def _post(self, payload: dict[str, Any]) -> None:
        state, parent = self.server.state, str(payload.get("thread_ts"))
        with state.lock:
            state.count += 1
            ts = f"{int(datetime.now(UTC).timestamp())}.{state.count:06d}"
            thread_ts = parent if parent in state.edits else None
            state.edits[ts] = [payload]
        broadcast = thread_ts is not None and payload.get("reply_broadcast") is True
        self._keep(ReceivedMessage(datetime.now(UTC), self.path, payload, ts, thread_ts, broadcast))
        message = {"text": payload["text"], "ts": ts} | ({"thread_ts": thread_ts} if thread_ts else {})
        self._say({"ok": True, "channel": CHANNEL, "ts": ts, "message": message})

    def _update(self, payload: dict[str, Any]) -> None:
        state, ts = self.server.state, payload.get("ts")
        with state.lock:
            known = isinstance(ts, str) and ts in state.edits
            if known:
                state.edits[str(ts)].append(payload)
                state.lock.notify_all()
        if not known:
            return self._deny("message_not_found", "no message has this ts")
        return self._say({"ok": True, "channel": CHANNEL, "ts": ts, "text": payload["text"]})

    def _keep(self, message: ReceivedMessage) -> None:
        with self.server.state.lock:
            self.server.state.messages.append(message)
            self.server.state.lock.notify_all()

    def _deny(self, code: str, reason: str) -> None:
        self._note(HTTPStatus.OK, f"{code}: {reason}")
        self._say({"ok": False, "error": code})

    def _say(self, document: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        self._answer(HTTPStatus.OK, json.dumps(document), headers, "application/json; charset=utf-8")

    def _body(self) -> bytes | None:
        """Return the request's body, or None after having refused it."""
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit():
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "invalid_payload", "no Content-Length")
            return None
        if len(length) > len(str(MAX_BODY_BYTES)) or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "invalid_payload", "the body is too large")
            return None
        return self.rfile.read(int(length))

    def _refuse(self, status: HTTPStatus, code: str, reason: str, headers: Mapping[str, str] | None = None) -> None:
        self._note(status, f"{code}: {reason}")
        self._answer(status, code, headers)

    def _note(self, status: int, reason: str) -> None:
        with self.server.state.lock:
            self.server.state.refusals.append(Refusal(datetime.now(UTC), status, reason))
            self.server.state.lock.notify_all()

    def _answer(
        self,
        status: HTTPStatus,
        text: str,
        headers: Mapping[str, str] | None = None,
        content_type: str = "text/html",  # as Slack's webhooks do
    ) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        """Log nothing: webhook paths are secrets, and the terminal belongs to the demo."""
