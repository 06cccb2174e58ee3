"""Slack: an incoming webhook, Block Kit within its limits, and hostile text that stays text.

Limits: https://docs.slack.dev/reference/block-kit/blocks ; escaping: https://docs.slack.dev/messaging/formatting-message-text
Every value out of a record is in a `plain_text` object or in a text element of `rich_text`, which Slack does not
interpret; `text`, the notification, is escaped. What must be seen at once stands in `header` and `rich_text`: a
`section` may be cut with "see more" (its `expand` says not to), of these two blocks nothing like that is documented.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from rootwatch.alert import DO_NOT, SEPARATOR, Alert, detection_title
from rootwatch.detections.detection import Severity
from rootwatch.errors import DeliveryFailedError, DeliveryRefusedError

if TYPE_CHECKING:
    from requests import Session

LONGEST_HEADER: Final = 150
LONGEST_TEXT: Final = 3000
LONGEST_ELEMENT: Final = 2000

TIMEOUT_SECONDS: Final = (3.05, 6.0)
"""To connect, and to wait for an answer; five messages that all hang fit the function's minute."""

_SIGNS: Final[Mapping[Severity, str]] = {
    Severity.CRITICAL: "🔴",
    Severity.HIGH: "🟠",
    Severity.MEDIUM: "🟡",
    Severity.LOW: "🔵",
    Severity.INFO: "⚪",
}
_OK: Final = 200
_TOO_MANY: Final = 429
_CLIENT_ERROR: Final = 400
_SERVER_ERROR: Final = 500
_REFUSALS: Final[Mapping[str, str]] = {
    "no_service": "the webhook was removed or switched off; make a new one and store its address in the secret",
    "no_service_id": "the webhook's address is incomplete; store the whole address in the secret",
    "no_active_hooks": "the webhook was switched off; make a new one and store its address in the secret",
    "no_team": "the webhook's address names no workspace; store the whole address in the secret",
    "team_disabled": "the Slack workspace is disabled",
    "invalid_token": "the webhook's address has a wrong token; store the whole address in the secret",
    "channel_not_found": "the webhook's channel was deleted; make a webhook for another channel",
    "channel_is_archived": "the webhook's channel is archived; unarchive it or make a webhook for another one",
    "action_prohibited": "an administrator of the workspace forbids the webhook to post",
    "posting_to_general_channel_denied": "the webhook may not post to #general; make one for another channel",
    "invalid_payload": "Slack does not understand the message",
    "invalid_blocks": "Slack does not take the message's blocks",
    "invalid_blocks_format": "Slack does not take the message's blocks",
    "no_text": "Slack found no text in the message",
}


def payload(alert: Alert, runbook_url: str = "") -> dict[str, Any]:
    """Return the message of an alert as the webhook takes it. Pure."""
    sign = f"{_SIGNS[alert.severity]} {alert.severity.upper()}"  # the word, for whoever sees no colours
    sentence, _, rest = alert.headline.partition(SEPARATOR)
    header = _plain(f"{sign}: {sentence}", LONGEST_HEADER)
    if header["text"].endswith("…"):
        rest = alert.headline  # what the header has no room for
    first: list[dict[str, Any]] = [_section(_text(rest))] if rest else []
    for label, value in alert.briefing:
        first.append(_section(*([_text(f"{label}: ", bold=True)] if label else []), _text(value)))
    steps = [_section(_text(step)) for step in alert.next_steps]
    then: list[dict[str, Any]] = [_section(_text(DO_NOT, bold=True))]
    if steps:
        then.insert(0, {"type": "rich_text_list", "style": "ordered", "elements": steps})
    blocks: list[dict[str, Any]] = [{"type": "header", "text": header}]
    blocks += [{"type": "rich_text", "elements": elements} for elements in (first, then) if elements]
    if runbook_url:
        blocks.append({"type": "section", "text": _markdown(f"<{escaped(runbook_url)}|Runbook>"), "expand": True})
    if alert.trust:
        blocks.append({"type": "context", "elements": [_plain(SEPARATOR.join(alert.trust), LONGEST_ELEMENT)]})
    blocks.append({"type": "divider"})
    facts = [_section(_text(f"{label}: ", bold=True), _text(value)) for label, value in alert.facts]
    if facts:
        blocks.append({"type": "rich_text", "elements": facts})
    if alert.detections:
        titles = "; ".join(f"{detection_title(detection)} ({detection})" for detection in alert.detections)
        blocks.append({"type": "context", "elements": [_plain(f"Detected: {titles}", LONGEST_ELEMENT)]})
    blocks.append({"type": "context", "elements": [_plain("\n".join(alert.marks), LONGEST_ELEMENT)]})
    return {
        "text": escaped(f"{sign}: {alert.headline}")[:LONGEST_TEXT],
        "blocks": blocks,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def escaped(text: str) -> str:
    """Return text in which Slack finds no mention and no link: only &, < and > are special to it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _plain(text: str, longest: int) -> dict[str, Any]:
    shortened = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return {"type": "plain_text", "text": shortened or "not stated", "emoji": False}


def _section(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"type": "rich_text_section", "elements": list(elements)}


def _text(text: str, *, bold: bool = False) -> dict[str, Any]:
    element: dict[str, Any] = {"type": "text", "text": text[:LONGEST_ELEMENT] or "not stated"}
    return element | {"style": {"bold": True}} if bold else element


def _markdown(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text[:LONGEST_TEXT], "verbatim": True}


def webhook_address(secret: object, origin: str) -> str | None:
    """Return the webhook's address out of Slack's secret, or None where the secret holds none yet.

    Raises:
        DeliveryRefusedError: the secret holds something else than `{"webhook_url": "https://hooks.slack.com/…"}`; the
            message never holds the address itself.

    """
    address = secret.get("webhook_url") if isinstance(secret, Mapping) else None
    if isinstance(secret, Mapping) and (address is None or address == ""):
        return None
    message = f'Slack\'s secret must be JSON such as {{"webhook_url": "{origin}/services/…"}}.'
    if not isinstance(address, str):
        raise DeliveryRefusedError(message)
    try:
        parts = urlsplit(address.strip())
    except ValueError:
        raise DeliveryRefusedError(message) from None  # the original error may hold the address
    if f"{parts.scheme}://{parts.netloc}" != origin:
        raise DeliveryRefusedError(message)
    return address.strip()


def post(session: "Session", address: str, message: Mapping[str, Any]) -> str:
    """Post a message to the webhook and return Slack's answer `ok`, which is the receipt.

    Raises:
        DeliveryFailedError: Slack is out of reach, overloaded (5xx) or asks us to wait (429); a retry helps, after
            `retry_after` seconds where Slack names them.
        DeliveryRefusedError: Slack refused it for good; the message says in words what to mend.

    """
    import requests  # noqa: PLC0415 - only the Slack notifier pays for this import

    try:
        answer = session.post(address, json=message, timeout=TIMEOUT_SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        # The error's own text holds the webhook's address, which is a secret: name its kind, and raise from nothing.
        text = f"Slack is out of reach ({type(error).__name__})."
        raise DeliveryFailedError(text) from None
    if answer.status_code == _OK:
        return answer.text[:100] or "ok"
    if answer.status_code == _TOO_MANY:
        text = "Slack asks to wait: too many messages (429)."
        raise DeliveryFailedError(text, retry_after=_seconds(answer.headers.get("Retry-After")))
    if _CLIENT_ERROR <= answer.status_code < _SERVER_ERROR:
        code = answer.text.strip()[:64]
        words = _REFUSALS.get(code, "Slack names no reason that is known")
        text = f"Slack refused the message for good ({answer.status_code}): {words}."
        raise DeliveryRefusedError(text)
    text = f"Slack did not take the message ({answer.status_code})."
    raise DeliveryFailedError(text)


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isascii() and text.isdigit() and len(text) < 6 else None  # noqa: PLR2004
