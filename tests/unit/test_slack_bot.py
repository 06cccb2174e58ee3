"""Slack's API: token and channel out of the secret, every answer classified in words, and a token that nobody sees."""

import json
import re
import traceback
from typing import Any

import pytest
import requests

from rootwatch.channels import slack, slack_bot
from rootwatch.channels.slack_bot import POST, UPDATE, BotSecret, Posted, api_origin, bot_secret, call, prove
from rootwatch.errors import (
    DeliveryError,
    DeliveryFailedError,
    DeliveryRefusedError,
    MessageRefusedError,
    ThreadRefusedError,
)
from tests.unit.test_slack import FakeSession, answer

TOKEN = "xoxb-1-hunter2"
SECRET = BotSecret(TOKEN, "C0000000000")
ORIGIN = "https://slack.com"
TS = "1788000000.000100"


def says(document: Any, **headers: str) -> requests.Response:
    """An answer of the API's."""
    return answer(200, json.dumps(document), **headers)


# --- the secret -------------------------------------------------------------------------------------------------------


def test_token_and_channel_are_read_out_of_the_secret() -> None:
    """White space around them, as copying leaves it, does no harm; a webhook beside them does not matter."""
    assert bot_secret({"bot_token": f" {TOKEN}\n", "channel": " C0000000000 "}) == SECRET
    assert bot_secret({"bot_token": "xoxe.xoxb-1-a", "channel": "G01"}) == BotSecret("xoxe.xoxb-1-a", "G01")
    assert bot_secret({"bot_token": TOKEN, "channel": "C0000000000", "webhook_url": "x"}) == SECRET
    assert TOKEN not in repr(SECRET)


@pytest.mark.parametrize("secret", [{}, {"bot_token": "", "channel": None}, {"webhook_url": "x"}, [], None, "xoxb-1"])
def test_a_secret_without_a_bot_is_a_webhook_s(secret: object) -> None:
    """Where neither token nor channel stands, the secret is read as a webhook's."""
    assert bot_secret(secret) is None


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ({"bot_token": TOKEN}, 'id of a "channel"'),
        ({"bot_token": TOKEN, "channel": "#root-alerts"}, "A channel's name will not do"),
        ({"bot_token": TOKEN, "channel": "C1\nX"}, 'id of a "channel"'),
        ({"bot_token": TOKEN, "channel": ["C01"]}, 'id of a "channel"'),
        ({"channel": "C0000000000"}, "xoxb-"),
        ({"bot_token": "xoxp-1-hunter2", "channel": "C0000000000"}, "xoxb-"),
        ({"bot_token": "xoxb-1-hunter2\r\nHost: x", "channel": "C0000000000"}, "xoxb-"),
        ({"bot_token": ["xoxb-1-hunter2"], "channel": "C0000000000"}, "xoxb-"),
    ],
    ids=str,
)
def test_half_a_secret_is_refused_without_naming_it(secret: object, words: str) -> None:
    """One without the other, a user's token, a channel's name or a header in disguise is refused, and not repeated."""
    with pytest.raises(DeliveryRefusedError, match=words) as caught:
        bot_secret(secret)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("webhooks", "api"),
    [
        ("https://hooks.slack.com", "https://slack.com"),
        ("https://hooks.slack-gov.com", "https://slack-gov.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
    ],
)
def test_the_api_is_beside_the_webhooks(webhooks: str, api: str) -> None:
    """One setting says where Slack is, for both ways of posting."""
    assert api_origin(webhooks) == api


# --- a call -----------------------------------------------------------------------------------------------------------


def test_a_call_names_channel_and_token_once() -> None:
    """The token is in a header, the channel in the body, and the call is bounded and follows no redirect."""
    session = FakeSession(says({"ok": True, "ts": TS, "message": {"ts": TS}}))
    assert call(session, ORIGIN, SECRET, POST, {"text": "x"}) == Posted(TS, in_thread=False)
    [(url, arguments)] = session.asked
    assert url == "https://slack.com/api/chat.postMessage"
    assert arguments["json"] == {"channel": "C0000000000", "text": "x"}
    assert arguments["headers"]["Authorization"] == f"Bearer {TOKEN}"
    assert arguments["headers"]["Content-Type"] == "application/json; charset=utf-8"
    assert arguments["allow_redirects"] is False
    assert all(0 < seconds <= 30 for seconds in arguments["timeout"])


@pytest.mark.parametrize(
    ("message", "in_thread"), [({"ts": TS, "thread_ts": "1.1"}, True), ({"ts": TS}, False), (None, True)]
)
def test_a_reply_that_left_its_thread_is_noticed(message: object, in_thread: bool) -> None:  # noqa: FBT001
    """To a parent that was deleted Slack replies in the channel, and only the answer's missing field says so."""
    document = {"ok": True, "ts": TS} | ({"message": message} if message else {})
    assert call(FakeSession(says(document)), ORIGIN, SECRET, POST, {}).in_thread is in_thread


CODES = {
    "account_inactive": (DeliveryRefusedError, "install the app again"),
    "invalid_auth": (DeliveryRefusedError, "bot token is wrong"),
    "token_revoked": (DeliveryRefusedError, "revoked"),
    "token_expired": (DeliveryRefusedError, "rotation"),
    "missing_scope": (DeliveryRefusedError, "chat:write"),
    "not_in_channel": (DeliveryRefusedError, "invite it"),
    "channel_not_found": (DeliveryRefusedError, "no such channel"),
    "is_archived": (DeliveryRefusedError, "unarchive"),
    "restricted_action": (DeliveryRefusedError, "administrator"),
    "invalid_blocks": (MessageRefusedError, "blocks"),
    "msg_too_long": (MessageRefusedError, "too long"),
    "msg_blocks_too_long": (MessageRefusedError, "too long"),
    "no_text": (MessageRefusedError, "no text"),
    "brand_new_code": (MessageRefusedError, "no reason that is known"),
    "thread_not_found": (ThreadRefusedError, "thread is gone"),
    "message_not_found": (ThreadRefusedError, "begins with is gone"),
    "restricted_action_thread_locked": (ThreadRefusedError, "locked"),
    "ratelimited": (DeliveryFailedError, "asks to wait"),
    "internal_error": (DeliveryFailedError, "fault"),
    "fatal_error": (DeliveryFailedError, "fault"),
    "service_unavailable": (DeliveryFailedError, "not available"),
    "request_timeout": (DeliveryFailedError, "in part"),
    "team_added_to_org": (DeliveryFailedError, "being moved"),
}


@pytest.mark.parametrize("code", CODES)
def test_an_error_code_says_what_to_do(code: str) -> None:
    """Each code that Slack answers with 200 is classified, and named in words that say what to mend."""
    expected, words = CODES[code]
    with pytest.raises(expected, match=words) as caught:
        call(FakeSession(says({"ok": False, "error": code})), ORIGIN, SECRET, POST, {})
    assert type(caught.value) is expected


def test_every_code_of_the_tables_is_in_one_of_them_only() -> None:
    """A code that a person must mend is none that time mends, and none that a plainer form mends."""
    tables = [slack_bot._REFUSALS, slack_bot._FAILURES, slack_bot._THREADS, slack.FORM_CODES]
    codes = [code for table in tables for code in table]
    assert len(codes) == len(set(codes))
    assert all(slack_bot._CODE.fullmatch(code) for code in codes)


@pytest.mark.parametrize(
    ("response", "error", "words"),
    [
        (answer(404, "hunter2"), DeliveryRefusedError, "404"),
        (answer(403, '{"ok": true}'), DeliveryRefusedError, "403"),
        (answer(500, "hunter2"), DeliveryFailedError, "500"),
        (answer(302, Location="hunter2"), DeliveryFailedError, "302"),
        (answer(200, "<html>hunter2"), DeliveryFailedError, "cannot be understood"),
        (answer(200, "[]"), DeliveryFailedError, "cannot be understood"),
        (says({"ok": "yes", "ts": TS}), MessageRefusedError, "no code"),
        (says({"ok": False, "error": f"{TOKEN} and more"}), MessageRefusedError, "no code"),
        (says({"ok": False, "error": 7}), MessageRefusedError, "no code"),
        (says({"ok": True}), DeliveryFailedError, "names no message"),
        (says({"ok": True, "ts": f"{TOKEN}"}), DeliveryFailedError, "names no message"),
        (requests.ConnectionError(f"failed: {TOKEN}"), DeliveryFailedError, "ConnectionError"),
        (requests.exceptions.InvalidHeader(TOKEN), DeliveryFailedError, "InvalidHeader"),
    ],
    ids=repr,
)
def test_an_odd_answer_is_never_taken_for_sent_and_tells_no_secret(
    response: requests.Response | Exception, error: type[DeliveryError], words: str
) -> None:
    """Only `ok` with a `ts` is sent; whatever else comes back, no error holds the token or Slack's own text."""
    with pytest.raises(error, match=words) as caught:
        call(FakeSession(response), ORIGIN, SECRET, UPDATE, {})
    assert "hunter2" not in str(caught.value)
    if isinstance(response, Exception):
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "response",
    [answer(429, "", **{"Retry-After": "7"}), says({"ok": False, "error": "ratelimited"}, **{"Retry-After": "7"})],
)
def test_the_wait_that_slack_asks_for_is_passed_on(response: requests.Response) -> None:
    """Both ways of asking to wait name the seconds."""
    with pytest.raises(DeliveryFailedError) as caught:
        call(FakeSession(response), ORIGIN, SECRET, POST, {})
    assert caught.value.retry_after == 7


# --- asking without posting -------------------------------------------------------------------------------------------


IN_IT = says({"ok": True, "channel": {"id": "C0123456789", "is_member": True, "is_archived": False}})


def test_token_and_channel_are_proven_without_a_message() -> None:
    """auth.test says whether Slack accepts the token, conversations.info whether the bot is in; nothing is posted."""
    session = FakeSession(says({"ok": True}, **{"x-oauth-scopes": "chat:write,channels:read"}), IN_IT)
    assert prove(session, ORIGIN, SECRET) == "token and channel accepted"
    (address, asked), (about, form) = session.asked

    assert (address, asked["json"]) == (f"{ORIGIN}/api/auth.test", {})
    assert (about, form["data"]) == (f"{ORIGIN}/api/conversations.info", {"channel": SECRET.channel})
    assert form["headers"]["Content-Type"] == "application/x-www-form-urlencoded"


def test_an_app_that_may_not_ask_for_the_channel_is_no_fault() -> None:
    """Posting needs no scope to read channels: without it the token alone is proven, and that is what is said."""
    may_not = says({"ok": False, "error": "missing_scope"})
    found = prove(FakeSession(says({"ok": True}), may_not), ORIGIN, SECRET)

    assert found == "token accepted; the app may not ask for the channel"


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (says({"ok": True, "channel": {"is_archived": True, "is_member": True}}), DeliveryRefusedError, "is archived"),
        (says({"ok": True, "channel": {"is_member": False}}), DeliveryRefusedError, "not in the channel"),
        (says({"ok": False, "error": "channel_not_found"}), DeliveryRefusedError, "no such channel"),
        (says({"ok": False, "error": "ratelimited"}), DeliveryFailedError, "asks to wait"),
    ],
)
def test_a_channel_that_would_take_nothing(reply: requests.Response, kind: type[DeliveryError], words: str) -> None:
    """A channel that is archived, gone or without the bot is told in words; a Slack that is busy proves nothing."""
    with pytest.raises(kind, match=re.escape(words)):
        prove(FakeSession(says({"ok": True}), reply), ORIGIN, SECRET)


def test_a_channel_that_states_nothing_is_accepted() -> None:
    """A missing field is no refusal: Slack answered for the channel, and says neither archived nor left."""
    assert prove(FakeSession(says({"ok": True}), says({"ok": True, "channel": None})), ORIGIN, SECRET) == (
        "token and channel accepted"
    )


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (says({"ok": True}, **{"x-oauth-scopes": "users:read"}), DeliveryRefusedError, "lacks the scope chat:write"),
        (says({"ok": False, "error": "invalid_auth"}), DeliveryRefusedError, "the bot token is wrong"),
        (says({"ok": False, "error": "ratelimited"}), DeliveryFailedError, "asks to wait"),
        (answer(500), DeliveryFailedError, "(500)"),
    ],
)
def test_a_token_that_is_not_accepted(reply: requests.Response, kind: type[DeliveryError], words: str) -> None:
    """A wrong token or a missing scope is told in words, a Slack that is down proves nothing; nobody sees the token."""
    with pytest.raises(kind, match=re.escape(words)) as caught:
        prove(FakeSession(reply), ORIGIN, SECRET)
    assert TOKEN not in "".join(traceback.format_exception(caught.value))
