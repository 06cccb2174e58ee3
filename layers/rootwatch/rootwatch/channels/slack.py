"""Slack: an incoming webhook, Block Kit within its limits, and hostile text that stays text.

Limits: https://docs.slack.dev/reference/block-kit/blocks ; escaping: https://docs.slack.dev/messaging/formatting-message-text
Every value out of a record is in a `plain_text` object or in a text element of `rich_text`, which Slack does not
interpret; `text`, the notification, is escaped. What must be seen at once stands in `header` and `rich_text`: a
`section` may be cut with "see more" (its `expand` says not to), of these two blocks nothing like that is documented.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from rootwatch.alert import (
    DO_NOT,
    LONGEST_HEADLINE,
    SEPARATOR,
    TEST_KIND,
    Alert,
    clock,
    detection_title,
    runbook_address,
    shown,
    standing,
    story,
)
from rootwatch.channels.forms import bare_words, escaped, fitting
from rootwatch.detections.detection import Severity
from rootwatch.errors import DeliveryFailedError, DeliveryRefusedError, MessageRefusedError
from rootwatch.incident import Incident, TriageState, Why

if TYPE_CHECKING:
    from requests import Response, Session

LONGEST_HEADER: Final = 150
LONGEST_TEXT: Final = 3000
LONGEST_ELEMENT: Final = 2000

TIMEOUT_SECONDS: Final = (3.05, 6.0)
"""To connect, and to wait for an answer; five messages that all hang fit the function's minute."""
LONGEST_EXCHANGE: Final = sum(TIMEOUT_SECONDS)
"""Seconds for all of a message and its answer, also where that drips: what a session of `exchange` is given."""

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
_FORM_STATUSES: Final = frozenset({400, 413})
_PASSING_STATUSES: Final = frozenset({408, 425})
"""A request that took too long or came too early: with that, nothing is said of the message."""
_CODE: Final = re.compile(r"[a-z_]{1,40}")
"""An error code of Slack's. Nothing of this shape can hold the webhook's address or a token."""

FORM_CODES: Final[Mapping[str, str]] = {
    "invalid_payload": "Slack does not understand the message",
    "invalid_blocks": "Slack does not take the message's blocks",
    "invalid_blocks_format": "Slack does not take the message's blocks",
    "invalid_attachments": "Slack does not take the message's blocks",
    "msg_blocks_too_long": "the message's blocks are too long for Slack",
    "msg_too_long": "the message is too long for Slack",
    "no_text": "Slack found no text in the message",
    "too_many_attachments": "the message has too many parts for Slack",
}
"""Codes about the form of a message, which webhooks and the API share: the same alert in a plainer form may pass."""

_REFUSALS: Final[Mapping[str, str]] = {
    "no_service": "the webhook was removed or switched off; make a new one and store its address in the secret",
    "no_service_id": "the webhook's address is incomplete; store the whole address in the secret",
    "no_active_hooks": "the webhook was switched off; make a new one and store its address in the secret",
    "no_team": "the webhook's address names no workspace; store the whole address in the secret",
    "team_disabled": "the Slack workspace is disabled; store a webhook of another workspace in the secret",
    "invalid_token": "the webhook's address has a wrong token; store the whole address in the secret",
    "user_not_found": "the user whom the webhook belongs to is gone; make a new webhook",
    "channel_not_found": "the webhook's channel was deleted; make a webhook for another channel",
    "channel_is_archived": "the webhook's channel is archived; unarchive it or make a webhook for another one",
    "action_prohibited": "an administrator of the workspace forbids the webhook to post; ask one to allow the app",
    "posting_to_general_channel_denied": "the webhook may not post to #general; make one for another channel",
}
"""Where a person has to mend something: no form of the alert would pass.
https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors"""


_CHANNEL: Final = "<!channel>"
"""Wakes everybody in the channel; the one mention that we ever make. It stands in words of ours alone."""


def mentions_channel(alert: Alert) -> bool:
    """Return whether an alert calls the whole channel: nobody answered the ones before it."""
    return alert.kind == str(Why.UNANSWERED)


def payload(alert: Alert, runbook_url: str = "", buttons: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """Return the message of an alert as the webhook takes it, with blocks of buttons to answer it. Pure."""
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
    if mentions_channel(alert):
        blocks.append({"type": "section", "text": _markdown(f"{_CHANNEL} nobody has answered this yet.")})
    blocks += [{"type": "rich_text", "elements": elements} for elements in (first, then) if elements]
    if runbook_url:
        address = escaped(runbook_address(alert, runbook_url), LONGEST_TEXT)
        blocks.append({"type": "section", "text": _markdown(f"<{address}|Runbook>"), "expand": True})
    if alert.trust:
        blocks.append({"type": "context", "elements": [_plain(SEPARATOR.join(alert.trust), LONGEST_ELEMENT)]})
    blocks += buttons
    blocks.append({"type": "divider"})
    facts = [_section(_text(f"{label}: ", bold=True), _text(value)) for label, value in alert.facts]
    if facts:
        blocks.append({"type": "rich_text", "elements": facts})
    if alert.detections:
        titles = "; ".join(f"{detection_title(detection)} ({detection})" for detection in alert.detections)
        blocks.append({"type": "context", "elements": [_plain(f"Detected: {titles}", LONGEST_ELEMENT)]})
    blocks.append({"type": "context", "elements": [_plain("\n".join(alert.marks), LONGEST_ELEMENT)]})
    return {
        "text": f"{_CHANNEL} " * mentions_channel(alert) + escaped(f"{sign}: {alert.headline}", LONGEST_TEXT),
        "blocks": blocks,
        "unfurl_links": False,
        "unfurl_media": False,
    }


_STORIES: Final[Mapping[str, str]] = {
    "assume-root": "AssumeRoot use",
    "assumed-session": "AssumeRoot use",
    "damage": "audit data CHANGED by somebody",
    "not-from-cloudtrail": "records NOT FROM CLOUDTRAIL",
}
"""What an incident is called by the kind of its story; root use else."""


def parent_payload(alert: Alert, incident: Incident | None, buttons: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """Return the message that an incident's thread begins with: how the incident stands now. Pure.

    Args:
        alert: the alert that was just sent, or is to be sent first.
        incident: the incident as the table has it; None where it cannot be read, and then the alert alone speaks.
        buttons: blocks of buttons to answer it.

    """
    severity = incident.severity if incident else alert.severity
    state = "CLOSED" if incident and not incident.open else "OPEN"
    what = _STORIES.get(incident.story.partition(":")[0], "root use") if incident else "root use"
    if alert.kind == TEST_KIND:
        state, what = "TEST", "nothing happened"
    title = f"{_SIGNS[severity]} {state}: {what} in account {shown(alert.account_id, 64)}"
    records = incident.records if incident else alert.counts.get("records", 0)
    facts = [("State", state.lower()), ("Severity", str(severity)), ("Records", str(records))]
    if incident:
        facts += [("Alerts", str(incident.alerts)), ("Since", clock(incident.opened_at))]
    facts.append(("Last act", clock(incident.last_at if incident else alert.time)))
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(title, LONGEST_HEADER)},
        {"type": "section", "fields": [_plain(f"{label}: {value}", LONGEST_ELEMENT) for label, value in facts]},
    ]
    if incident:
        blocks.append({"type": "section", "text": _plain(f"Answer: {_answered(incident)}", LONGEST_TEXT)})
        blocks.append({"type": "section", "text": _plain(f"So far: {story(incident)}", LONGEST_TEXT)})
    if incident is None or alert.number >= incident.alerts:  # an older one that is late is not the latest
        headline = f"Latest alert: {shown(alert.headline, LONGEST_HEADLINE)}"
        blocks.append({"type": "section", "text": _plain(headline, LONGEST_TEXT)})
    blocks += buttons
    where = f"incident {shown(alert.incident_id, 64)}; every alert is in the thread of this message"
    blocks.append({"type": "context", "elements": [_plain(where, LONGEST_ELEMENT)]})
    text = SEPARATOR.join((title, str(severity), shown(alert.headline, LONGEST_HEADLINE)))
    return {"text": escaped(text, LONGEST_TEXT), "blocks": blocks}


def _answered(incident: Incident) -> str:
    triage = incident.triage
    if triage.state is not TriageState.OPEN or triage.proposal is not None:
        return standing(incident)
    return f"nobody since it was opened again, {clock(triage.since)}" if triage.since else "nobody yet"


def forms(
    alert: Alert, runbook_url: str = "", buttons: Sequence[dict[str, Any]] = ()
) -> tuple[Callable[[], dict[str, Any]], ...]:
    """Return what makes the forms of an alert's message, the richest first; see `post_best_form`."""
    return lambda: payload(alert, runbook_url, buttons), lambda: plain_payload(alert), lambda: bare_payload(alert)


_PLAIN_PARTS: Final[tuple[Callable[[Alert], str], ...]] = (
    lambda alert: f"{_SIGNS[alert.severity]} {alert.severity.upper()}: {shown(alert.headline, LONGEST_ELEMENT)}",
    lambda alert: _lines(alert.briefing),
    lambda alert: "\n".join([*(f"{number}. {step}" for number, step in enumerate(alert.next_steps, start=1)), DO_NOT]),
    lambda alert: _lines(("", mark) for mark in (*alert.trust, *alert.marks)),
    lambda alert: _lines(alert.facts),
)
"""What the plain text is made of, the most important first. Each part is made apart, so that none can spoil another."""


def _lines(labelled: Iterable[tuple[str, str]]) -> str:
    parts = ((f"{shown(label)}: " if label else "", shown(text, LONGEST_ELEMENT)) for label, text in labelled)
    return "\n".join(f"{label}{text}" for label, text in parts)


def plain_payload(alert: Alert) -> dict[str, Any]:
    """Return the alert as text without blocks, as far as its parts can be made. Pure, and raises nothing.

    For an alert that cannot be rendered, or whose blocks Slack refuses.
    """
    parts = []
    for part in _PLAIN_PARTS:
        try:
            parts.append(part(alert))
        except Exception:  # noqa: BLE001 - said in its place, and the other parts still reach a person
            parts.append("(A part of this alert cannot be shown.)")
    return _text_only("\n\n".join(part for part in parts if part))


def bare_payload(alert: Alert) -> dict[str, Any]:
    """Return the least that can be said of an alert: its id, severity, account and time. Pure."""
    return _text_only(bare_words(alert))


def _text_only(text: str) -> dict[str, Any]:
    return {"text": escaped(text, LONGEST_TEXT), "mrkdwn": False, "unfurl_links": False, "unfurl_media": False}


def _plain(text: str, longest: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": fitting(text, longest) or "not stated", "emoji": False}


def _section(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"type": "rich_text_section", "elements": list(elements)}


def _text(text: str, *, bold: bool = False) -> dict[str, Any]:
    element: dict[str, Any] = {"type": "text", "text": fitting(text, LONGEST_ELEMENT) or "not stated"}
    return element | {"style": {"bold": True}} if bold else element


def _markdown(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text[:LONGEST_TEXT], "verbatim": True}


def webhook_address(secret: object, origin: str) -> str | None:
    """Return the webhook's address out of Slack's secret, or None where the secret holds none yet.

    Raises:
        DeliveryRefusedError: the secret holds something else than `{"webhook_url": "https://hooks.slack.com/services/…"}`;
            the message never holds the address itself.

    """
    address = secret.get("webhook_url") if isinstance(secret, Mapping) else None
    if isinstance(secret, Mapping) and (address is None or address == ""):
        return None
    message = f'Slack\'s secret must be JSON such as {{"webhook_url": "{origin}/services/…"}}, or hold a bot_token.'
    if not isinstance(address, str):
        raise DeliveryRefusedError(message)
    try:
        parts = urlsplit(address.strip())
    except ValueError:
        raise DeliveryRefusedError(message) from None  # the original error may hold the address
    # A workflow's trigger is at the same host: it would take every message, and each proof, and show none.
    if f"{parts.scheme}://{parts.netloc}" != origin or not parts.path.startswith("/services/"):
        raise DeliveryRefusedError(message)
    return address.strip()


def post(session: "Session", address: str, message: Mapping[str, Any]) -> str:
    """Post a message to the webhook and return Slack's answer `ok`, which is the receipt.

    Raises:
        DeliveryFailedError: as `exchange`, or something answered that is no incoming webhook of Slack's: a proxy's
            page, or a workflow's trigger, takes the message and shows it to nobody.
        MessageRefusedError: Slack does not take this form of the message; a plainer one may pass.
        DeliveryRefusedError: Slack refused it for good; the message says in words what to mend.

    """
    answer = exchange(session, address, message)
    if answer.status_code != _OK:
        raise _refusal(answer)
    if answer.text.strip() != RECEIPT:
        raise DeliveryFailedError(NO_RECEIPT)
    return RECEIPT


RECEIPT: Final = "ok"
"""https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks : a plain text, and nothing else."""
NO_RECEIPT: Final = (
    "What answered (200) did not say ok, as Slack's incoming webhooks do: nobody knows whether the message is there; "
    "store the address of an incoming webhook in the secret."
)


def prove(session: "Session", address: str) -> str:
    """Prove a webhook without posting, and return in words what is proven.

    It is asked to take a message without text, which Slack never posts.

    Raises:
        DeliveryFailedError: as `post`.
        DeliveryRefusedError: Slack refuses more than that form; the message says in words what to mend.

    """
    answer = exchange(session, address, {})
    if answer.status_code != _OK and answer.text.strip() not in {"no_text", "invalid_payload"}:
        raise _refusal(answer)
    if answer.status_code == _OK and answer.text.strip() != RECEIPT:
        raise DeliveryFailedError(NO_RECEIPT)
    return "webhook accepted"


def _refusal(answer: "Response") -> DeliveryRefusedError:
    code = answer.text.strip()
    said = f"{answer.status_code} {code}" if _CODE.fullmatch(code) else str(answer.status_code)
    if code in _REFUSALS or (code not in FORM_CODES and answer.status_code not in _FORM_STATUSES):
        return DeliveryRefusedError(f"Slack refused the message for good ({said}): {_REFUSALS.get(code, UNKNOWN)}.")
    return MessageRefusedError(f"Slack refused the message ({said}): {FORM_CODES.get(code, UNKNOWN)}.")


UNKNOWN: Final = "Slack names no reason that is known"


def exchange(
    session: "Session",
    address: str,
    message: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
    *,
    form: bool = False,
) -> "Response":
    """Post JSON, or a form, to Slack and return an answer that says yes (200) or no (4xx).

    Raises:
        DeliveryFailedError: Slack is out of reach, overloaded (5xx), took too long (408, 425) or asks us to wait (429);
            a retry helps, after `retry_after` seconds where Slack names them.

    """
    import requests  # noqa: PLC0415 - only the Slack notifier pays for this import

    try:
        answer = session.post(
            address,
            data=message if form else None,
            json=None if form else message,
            timeout=TIMEOUT_SECONDS,
            allow_redirects=False,
            headers=headers,
        )
    except requests.RequestException as error:
        # The error's own text holds the webhook's address, which is a secret: name its kind, and raise from nothing.
        text = f"Slack is out of reach ({type(error).__name__})."
        raise DeliveryFailedError(text) from None
    if answer.status_code == _TOO_MANY:
        raise asked_to_wait(answer)
    is_refusal = _CLIENT_ERROR <= answer.status_code < _SERVER_ERROR and answer.status_code not in _PASSING_STATUSES
    if answer.status_code != _OK and not is_refusal:
        text = f"Slack did not take the message ({answer.status_code})."
        raise DeliveryFailedError(text, retry_after=_seconds(answer.headers.get("Retry-After")))
    return answer


def asked_to_wait(answer: "Response") -> DeliveryFailedError:
    """Return the error of an answer that asks us to wait, with the seconds where Slack names them."""
    text = "Slack asks to wait: too many messages (429)."
    return DeliveryFailedError(text, retry_after=_seconds(answer.headers.get("Retry-After")))


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isascii() and text.isdigit() and len(text) < 6 else None  # noqa: PLR2004
