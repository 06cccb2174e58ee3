"""What Slack sends when somebody presses a button: is it Slack's, is it whole, and what does it say. Pure.

Signing: https://docs.slack.dev/authentication/verifying-requests-from-slack ; what comes:
https://docs.slack.dev/reference/interaction-payloads . Everything is hostile until the signature holds, and what a
person typed stays so after it. No error here holds anything of a request.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from rootwatch.errors import RequestRefusedError

MOST_BYTES: Final = 128 * 1024
"""Of a body. A press brings the message that it was made on, which has 50 blocks at most."""
VALID_SECONDS: Final = 300
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_SIGNATURE: Final = re.compile(r"v0=[0-9a-f]{64}", re.ASCII)
_SIGNING_SECRET: Final = re.compile(r"[0-9A-Za-z]{16,128}", re.ASCII)
_ID: Final = re.compile(r"[A-Z0-9]{1,32}", re.ASCII)
_FORM: Final = "application/x-www-form-urlencoded"
_UNAUTHORIZED: Final = 401
_BAD_REQUEST: Final = 400


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What a request states of itself, before anything of it is believed. `timestamp` is as it stands in the header."""

    body: bytes
    timestamp: str
    signature: str

    @property
    def digest(self) -> str:
        """Return by what the request is remembered: the same signature is the same request."""
        return hashlib.sha256(self.signature.encode()).hexdigest()


def signed_request(event: Mapping[str, Any], now: datetime) -> SignedRequest:
    """Read a function URL's event as far as it can be judged without the secret: method, headers, time and size.

    Args:
        event: as Lambda hands it over, payload format 2.0.
        now: the clock, UTC.

    Raises:
        RequestRefusedError: it has no valid signature header, is too old or from the future, too large, or cannot be
            decoded.

    """
    context = event.get("requestContext")
    http = context.get("http") if isinstance(context, Mapping) else None
    if not isinstance(http, Mapping) or http.get("method") != "POST":
        raise RequestRefusedError(_BAD_REQUEST, "it is no POST")
    given = event.get("headers")
    headers = {str(name).lower(): value for name, value in given.items()} if isinstance(given, Mapping) else {}
    timestamp, signature = headers.get("x-slack-request-timestamp"), headers.get("x-slack-signature")
    if not isinstance(timestamp, str) or not _TIMESTAMP.fullmatch(timestamp):
        raise RequestRefusedError(_UNAUTHORIZED, "it has no timestamp")
    if abs(now.timestamp() - int(timestamp)) > VALID_SECONDS:
        raise RequestRefusedError(_UNAUTHORIZED, "it is stale, or from the future")
    if not isinstance(signature, str) or not _SIGNATURE.fullmatch(signature):
        raise RequestRefusedError(_UNAUTHORIZED, "it has no signature")
    content_type = headers.get("content-type")
    if not isinstance(content_type, str) or content_type.partition(";")[0].strip().lower() != _FORM:
        raise RequestRefusedError(_BAD_REQUEST, "it is no form")
    return SignedRequest(_body(event), timestamp, signature)


def _body(event: Mapping[str, Any]) -> bytes:
    text = event.get("body")
    if not isinstance(text, str) or not text:
        raise RequestRefusedError(_BAD_REQUEST, "it has no body")
    if len(text) > MOST_BYTES * 4 // 3 + 4:
        raise RequestRefusedError(_BAD_REQUEST, "it is too large")
    try:
        # The signature is over the bytes that were sent; Lambda hands them over as text, or as base64 of them.
        body = base64.b64decode(text, validate=True) if event.get("isBase64Encoded") is True else text.encode()
    except (binascii.Error, ValueError):
        raise RequestRefusedError(_BAD_REQUEST, "it cannot be decoded") from None
    if not body or len(body) > MOST_BYTES:
        raise RequestRefusedError(_BAD_REQUEST, "it is too large, or empty")
    return body


def signing_secret(secret: object) -> str:
    """Return the app's signing secret out of Slack's secret.

    Raises:
        RequestRefusedError: there is none, or it is none; the reason says what to store, and never the secret.

    """
    value = secret.get("signing_secret") if isinstance(secret, Mapping) else None
    if not isinstance(value, str) or not _SIGNING_SECRET.fullmatch(value.strip()):
        reason = 'Slack\'s secret holds no "signing_secret": store that of the app beside the webhook or the bot token'
        raise RequestRefusedError(_UNAUTHORIZED, reason)
    return value.strip()


def signature_of(secret: str, timestamp: str, body: bytes) -> str:
    """Return the signature that Slack gives a body, version v0."""
    signed = b"v0:" + timestamp.encode() + b":" + body
    return "v0=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def check_signature(request: SignedRequest, secret: str) -> None:
    """Check that Slack signed exactly these bytes at this time; in constant time.

    Raises:
        RequestRefusedError: it did not.

    """
    if not hmac.compare_digest(signature_of(secret, request.timestamp, request.body), request.signature):
        raise RequestRefusedError(_UNAUTHORIZED, "its signature is not Slack's")


# --- what it says --------------------------------------------------------------------------------------------------


class Kind(StrEnum):
    """What a person did on Slack."""

    PRESSED = "block_actions"
    SUBMITTED = "view_submission"


@dataclass(frozen=True, slots=True)
class Interaction:
    """What a person did: which button or modal, with what value, what was typed (by block), and who.

    `value` is what our own message carried. `response_url` and `trigger_id` are Slack's ways to answer, or None.
    """

    kind: Kind
    action: str
    value: str
    typed: Mapping[str, str]
    team_id: str
    user_id: str
    user_name: str
    channel_id: str
    response_url: str | None = None
    trigger_id: str | None = None


def interaction(body: bytes) -> Interaction:
    """Read the body of a request whose signature holds.

    Raises:
        RequestRefusedError: it is not the form that Slack sends, or about something that we did not put on a message.

    """
    try:
        fields = parse_qsl(
            body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=5, errors="strict"
        )
        [text] = [value for name, value in fields if name == "payload"]
        payload = json.loads(text)
    except (ValueError, RecursionError):
        raise RequestRefusedError(_BAD_REQUEST, "it cannot be read") from None
    try:
        return _interaction(payload)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        raise RequestRefusedError(_BAD_REQUEST, "it says nothing that we know") from None


def _interaction(payload: Mapping[str, Any]) -> Interaction:
    kind, user = Kind(payload["type"]), payload["user"]
    if kind is Kind.PRESSED:
        [pressed] = payload["actions"]
        action, value, state = pressed["action_id"], pressed["value"], payload.get("state") or {}
    else:
        view = payload["view"]
        action, value, state = view["callback_id"], view["private_metadata"], view["state"]
    team, channel = payload.get("team") or {}, payload.get("channel") or {}
    return Interaction(
        kind=kind,
        action=_text(action),
        value=_text(value),
        typed=_typed(state.get("values") or {}),
        team_id=_id(team.get("id") or user.get("team_id")),
        user_id=_id(user["id"]),
        user_name=_text(user.get("username") or user.get("name") or user["id"])[:80],
        channel_id=_id(channel["id"]) if channel.get("id") else "",
        response_url=payload.get("response_url") if isinstance(payload.get("response_url"), str) else None,
        trigger_id=payload.get("trigger_id") if isinstance(payload.get("trigger_id"), str) else None,
    )


def _typed(values: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for block_id, elements in values.items():
        for element in elements.values():
            if isinstance(element.get("value"), str):
                found[_text(block_id)] = element["value"]
    return found


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _id(value: object) -> str:
    text = _text(value)
    if not _ID.fullmatch(text):
        raise ValueError
    return text


def is_of_slack(response_url: str | None, origin: str) -> bool:
    """Return whether an address to answer at is one of Slack's, beside its webhooks: only then it is called."""
    try:
        parts = urlsplit(response_url or "")
    except ValueError:
        return False
    return f"{parts.scheme}://{parts.netloc}" == origin and parts.path.startswith("/actions/")
