"""The Slack-shaped receiver refuses what Slack refuses: otherwise the tests that use it would prove nothing."""

import http.client
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from rootwatch_cli.slack_receiver import (
    BOT_TOKEN,
    CHANNEL,
    MAX_BODY_BYTES,
    WEBHOOK_PATH,
    Behaviour,
    SlackReceiver,
    problem_with,
)


def plain(text: str) -> dict[str, str]:
    """A plain_text object."""
    return {"type": "plain_text", "text": text}


def markdown(text: str) -> dict[str, str]:
    """A mrkdwn object."""
    return {"type": "mrkdwn", "text": text}


def rich(*children: dict[str, Any]) -> dict[str, Any]:
    """A rich_text block with one section."""
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": list(children)}]}


GOOD: list[dict[str, Any]] = [
    {"type": "header", "text": plain("h" * 150)},
    {"type": "section", "text": markdown("s" * 3000)},
    {"type": "section", "fields": [markdown("f" * 2000)] * 10},
    {"type": "context", "elements": [plain("c")] * 10},
    {"type": "divider"},
    rich({"type": "text", "text": "t", "style": {"bold": True}}),
    {"type": "actions", "elements": [{"type": "button", "text": plain("b"), "url": "https://example.com/"}]},
]
BAD: dict[str, dict[str, Any]] = {
    "unknown-type": {"type": "sektion"},
    "long-header": {"type": "header", "text": plain("h" * 151)},
    "header-of-mrkdwn": {"type": "header", "text": markdown("h")},
    "empty-text": {"type": "section", "text": markdown("")},
    "empty-section": {"type": "section"},
    "long-section": {"type": "section", "text": markdown("s" * 3001)},
    "eleven-fields": {"type": "section", "fields": [markdown("f")] * 11},
    "long-field": {"type": "section", "fields": [markdown("f" * 2001)]},
    "eleven-elements": {"type": "context", "elements": [plain("c")] * 11},
    "no-elements": {"type": "context", "elements": []},
    "empty-rich-text": rich({"type": "text", "text": ""}),
    "unknown-rich-text": {"type": "rich_text", "elements": [{"type": "rich_text_table", "elements": []}]},
    "odd-button-address": {
        "type": "actions",
        "elements": [{"type": "button", "text": plain("b"), "url": "javascript:0"}],
    },
    "long-block-id": {"type": "divider", "block_id": "i" * 256},
}


@pytest.fixture
def receiver() -> Iterator[SlackReceiver]:
    """A receiver of this test's own."""
    with SlackReceiver() as running:
        yield running


def post(receiver: SlackReceiver, body: bytes, path: str = WEBHOOK_PATH, **headers: str) -> tuple[int, str, str | None]:
    """Post a body as JSON; return status, text and Retry-After."""
    connection = http.client.HTTPConnection(urlsplit(receiver.origin).netloc, timeout=5)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"} | headers)
        response = connection.getresponse()
        return response.status, response.read().decode(), response.getheader("Retry-After")
    finally:
        connection.close()


@pytest.mark.parametrize("block", GOOD, ids=[f"{number}-{block['type']}" for number, block in enumerate(GOOD)])
def test_a_block_at_its_limit_is_taken(block: dict[str, Any]) -> None:
    """Every kind of block passes at the largest size that Slack documents."""
    assert problem_with({"text": "t", "blocks": [block]}) is None


@pytest.mark.parametrize("block", BAD.values(), ids=BAD)
def test_a_block_beyond_its_limit_is_refused(block: dict[str, Any]) -> None:
    """One character, element or type too many is invalid_blocks, wherever the block stands."""
    problem = problem_with({"text": "t", "blocks": [GOOD[0], block]})

    assert problem is not None
    assert problem[0] == "invalid_blocks"


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ([], "invalid_payload"),
        ({"blocks": GOOD}, "no_text"),
        ({"text": " "}, "no_text"),
        ({"text": "t", "blocks": {}}, "invalid_blocks"),
        ({"text": "t", "blocks": [{"type": "divider"}] * 51}, "invalid_blocks"),
        ({"text": "t", "blocks": [{"type": "divider", "block_id": "same"}] * 2}, "invalid_blocks"),
    ],
)
def test_a_payload_that_slack_refuses_is_refused(payload: object, code: str) -> None:
    """What is no message, has no text for the notification or has too many blocks is refused by its code."""
    problem = problem_with(payload)

    assert problem is not None
    assert problem[0] == code


def test_a_good_message_is_answered_ok_and_kept(receiver: SlackReceiver) -> None:
    """The answer is 200 and the two letters that Slack sends; the payload is kept with its time."""
    assert post(receiver, json.dumps({"text": "t", "blocks": GOOD}).encode()) == (200, "ok", None)

    (message,) = receiver.wait_for(1, seconds=5)
    assert message.payload["blocks"] == GOOD
    assert message.received_at.utcoffset() is not None


@pytest.mark.parametrize(
    ("body", "path", "headers", "answer"),
    [
        (b"{", WEBHOOK_PATH, {}, (400, "invalid_payload", None)),
        (b"[" * 100_000, WEBHOOK_PATH, {}, (400, "invalid_payload", None)),
        (b'{"text": "t"}', WEBHOOK_PATH, {"Content-Type": "text/plain"}, (400, "invalid_payload", None)),
        (b'{"text": "t"}', "/services/T1/B1", {}, (404, "no_service", None)),
        (b"{}", WEBHOOK_PATH, {"Content-Length": str(MAX_BODY_BYTES + 1)}, (413, "invalid_payload", None)),
        (b"{}", WEBHOOK_PATH, {"Content-Length": "9" * 5000}, (413, "invalid_payload", None)),
        (b"{}", WEBHOOK_PATH, {"Content-Length": "-1"}, (411, "invalid_payload", None)),
    ],
    ids=["no-json", "deep-json", "content-type", "path", "too-large", "far-too-large", "negative-length"],
)
def test_a_bad_request_is_refused_and_not_kept(
    receiver: SlackReceiver, body: bytes, path: str, headers: dict[str, str], answer: tuple[int, str, None]
) -> None:
    """A request that Slack would not understand gets its status and code, and leaves no message."""
    assert post(receiver, body, path, **headers) == answer
    assert receiver.messages == ()
    assert [refusal.status for refusal in receiver.refusals] == [answer[0]]


@pytest.mark.parametrize(
    ("behaviour", "answer"),
    [
        (Behaviour.TOO_MANY_REQUESTS, (429, "rate_limited", "7")),
        (Behaviour.SERVER_ERROR, (500, "rollup_error", None)),
        (Behaviour.NO_SERVICE, (404, "no_service", None)),
    ],
)
def test_it_misbehaves_as_told_and_as_often(
    receiver: SlackReceiver, behaviour: Behaviour, answer: tuple[int, str, str | None]
) -> None:
    """The next two requests are answered as told, the third is accepted."""
    receiver.answer_with(behaviour, times=2, retry_after_seconds=7)
    body = b'{"text": "t"}'

    assert [post(receiver, body) for _ in range(3)] == [answer, answer, (200, "ok", None)]
    assert len(receiver.messages) == 1


@pytest.mark.parametrize(
    ("code", "status"), [("action_prohibited", 403), ("channel_is_archived", 410), ("invalid_blocks", 400)]
)
def test_it_refuses_with_the_code_it_is_told(receiver: SlackReceiver, code: str, status: int) -> None:
    """A webhook's refusal is the code with the status that Slack gives it."""
    receiver.answer_with(Behaviour.ERROR, code=code)
    assert post(receiver, b'{"text": "t"}') == (status, code, None)


# --- the API ----------------------------------------------------------------------------------------------------------


def call(receiver: SlackReceiver, method: str = "chat.postMessage", token: str = BOT_TOKEN, **payload: Any) -> Any:
    """Call a method of the API as a bot, with a text and the channel where nothing else is said; return its answer."""
    body = json.dumps({"channel": CHANNEL, "text": "t"} | payload).encode()
    status, text, _ = post(receiver, body, f"/api/{method}", Authorization=f"Bearer {token}")
    assert status == 200
    return json.loads(text)


def test_a_thread_is_kept_as_one(receiver: SlackReceiver) -> None:
    """A reply names its parent in the answer, stands in its thread, and in the channel only if it is broadcast."""
    parent = call(receiver)
    told = [call(receiver, thread_ts=parent["ts"], reply_broadcast=loud) for loud in (True, False)]
    assert all(answer["message"]["thread_ts"] == parent["ts"] for answer in told)
    assert [reply.broadcast for reply in receiver.replies(parent["ts"])] == [True, False]
    assert [message.ts for message in receiver.parents] == [parent["ts"]]
    assert [message.ts for message in receiver.alerts] == [answer["ts"] for answer in told]
    assert len({message.ts for message in receiver.messages}) == 3


def test_an_update_replaces_what_stands_there(receiver: SlackReceiver) -> None:
    """chat.update changes a message of the bot, keeps what was first sent, and posts nothing."""
    ts = call(receiver)["ts"]
    assert call(receiver, "chat.update", ts=ts, text="new")["ok"] is True
    assert receiver.current(ts)["text"] == "new"
    [message] = receiver.messages
    assert message.payload["text"] == "t"
    assert call(receiver, "chat.update", ts="1.000001") == {"ok": False, "error": "message_not_found"}


def test_a_reply_to_a_deleted_message_goes_to_the_channel(receiver: SlackReceiver) -> None:
    """Slack says nothing when the parent is gone, but that its answer names no thread."""
    ts = call(receiver)["ts"]
    receiver.delete(ts)
    assert "thread_ts" not in call(receiver, thread_ts=ts, reply_broadcast=True)["message"]
    assert receiver.messages[-1].broadcast is False


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"token": "xoxb-wrong"}, "invalid_auth"),
        ({"channel": "#alerts"}, "channel_not_found"),
        ({"text": ""}, "no_text"),
        ({"blocks": [{"type": "marquee"}]}, "invalid_blocks"),
        ({"method": "chat.shout"}, "unknown_method"),
    ],
)
def test_a_call_that_slack_refuses_is_refused(receiver: SlackReceiver, arguments: dict[str, Any], code: str) -> None:
    """The API refuses with 200 and a code, and nothing is kept."""
    assert call(receiver, **arguments) == {"ok": False, "error": code}
    assert receiver.messages == ()
    assert [refusal.reason.partition(":")[0] for refusal in receiver.refusals] == [code]


def test_it_refuses_what_it_is_told_by_its_text(receiver: SlackReceiver) -> None:
    """A message with the text is refused by webhook and API, others are not, until it is forgiven."""
    receiver.refuse_containing("poison", "invalid_payload")
    assert post(receiver, b'{"text": "a poison"}') == (400, "invalid_payload", None)
    assert call(receiver, text="a poison") == {"ok": False, "error": "invalid_payload"}
    assert post(receiver, b'{"text": "t"}') == (200, "ok", None)
    receiver.forgive()
    assert call(receiver, text="a poison")["ok"] is True


def test_it_misbehaves_for_one_method_only(receiver: SlackReceiver) -> None:
    """Trouble with updates leaves posts alone, and posts do not use it up."""
    receiver.answer_with(Behaviour.ERROR, code="fatal_error", times=1, only="chat.update")
    ts = call(receiver)["ts"]
    assert call(receiver, "chat.update", ts=ts) == {"ok": False, "error": "fatal_error"}
    assert call(receiver, "chat.update", ts=ts)["ok"] is True


def test_it_hangs_up_as_told(receiver: SlackReceiver) -> None:
    """A refused connection ends without a byte of an answer."""
    receiver.answer_with(Behaviour.REFUSE)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        post(receiver, b'{"text": "t"}')


def test_a_hanging_request_does_not_keep_it_from_stopping() -> None:
    """Leaving the block frees the port at once although a request is still unanswered."""
    with SlackReceiver() as receiver:
        receiver.answer_with(Behaviour.HANG)
        connection = http.client.HTTPConnection(urlsplit(receiver.origin).netloc, timeout=5)
        connection.request("POST", WEBHOOK_PATH, b'{"text": "t"}', {"Content-Type": "application/json"})
        deadline = time.monotonic() + 5
        while not receiver.refusals and time.monotonic() < deadline:
            time.sleep(0.01)
        began = time.monotonic()

    assert time.monotonic() - began < 2
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        connection.getresponse()
    connection.close()
