"""Slack with a bot token: chat.postMessage and chat.update, for one thread per incident.

https://docs.slack.dev/reference/methods/chat.postMessage ; https://docs.slack.dev/reference/methods/chat.update
The API answers 200 whether or not it did what was asked; `ok` and `error` say which.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from rootwatch.alert import Alert
from rootwatch.channels import slack
from rootwatch.channels.forms import post_best_form
from rootwatch.channels.slack_buttons import buttons
from rootwatch.errors import (
    DeliveryError,
    DeliveryFailedError,
    DeliveryRefusedError,
    MessageRefusedError,
    ThreadRefusedError,
)
from rootwatch.incident import Incident

if TYPE_CHECKING:
    from requests import Response, Session

POST: Final = "chat.postMessage"
UPDATE: Final = "chat.update"
_TEST: Final = "auth.test"
_INFO: Final = "conversations.info"
_SCOPE: Final = "chat:write"

_OK: Final = 200
_CODE: Final = re.compile(r"[a-z_]{1,64}")
_TS: Final = re.compile(r"[0-9]{1,16}\.[0-9]{1,16}")
_TOKEN: Final = re.compile(r"(?:xoxe\.)?xoxb-[A-Za-z0-9-]{1,400}")
_CHANNEL: Final = re.compile(r"[CDG][A-Z0-9]{2,40}")

_ASK_FOR_IT: Final = "install the app again and store its bot token in the secret"
_ANOTHER: Final = "or store another channel's id in the secret"
_REFUSALS: Final[Mapping[str, str]] = {
    "access_denied": "Slack denies the app access; ask an administrator of the workspace",
    "accesslimited": "Slack admits the app from other networks only; change that in the app's settings",
    "account_inactive": f"the app was removed from the workspace; {_ASK_FOR_IT}",
    "cant_update_message": "the message is not the bot's own",
    "channel_not_found": f"there is no such channel, or it is private; invite the bot, {_ANOTHER}",
    "edit_window_closed": "the workspace lets nobody edit a message after a while",
    "ekm_access_denied": "administrators of the workspace suspended posting; ask one",
    "enterprise_is_restricted": "the organization forbids the app; ask an administrator",
    "invalid_auth": "the bot token is wrong; store the app's bot token, xoxb-..., in the secret",
    "is_archived": f"the channel is archived; unarchive it, {_ANOTHER}",
    "is_inactive": f"the channel is archived or frozen; unarchive it, {_ANOTHER}",
    "missing_scope": f"the app lacks the scope chat:write; add it, {_ASK_FOR_IT}",
    "no_permission": "the bot may not post in the channel; invite it there",
    "not_allowed_token_type": "this is no bot token; store the app's bot token, xoxb-..., in the secret",
    "not_authed": "the bot token is missing; store the app's bot token, xoxb-..., in the secret",
    "not_in_channel": "the bot is not in the channel; invite it there",
    "restricted_action": f"a preference of the workspace forbids the bot to post; ask an administrator, {_ANOTHER}",
    "restricted_action_read_only_channel": f"the channel is read-only; let the bot post there, {_ANOTHER}",
    "restricted_action_thread_only_channel": f"the channel takes replies only; let the bot post there, {_ANOTHER}",
    "team_access_not_granted": f"the app has no access to the workspace; {_ASK_FOR_IT}",
    "token_expired": f"the bot token has expired; switch its rotation off, {_ASK_FOR_IT}",
    "token_revoked": f"the bot token was revoked; {_ASK_FOR_IT}",
    "two_factor_setup_required": "the workspace demands two-factor authentication that is not set up",
}
"""Where a person has to mend something: no form of the alert would pass."""

_FAILURES: Final[Mapping[str, str]] = {
    "external_channel_migrating": "the channel is being moved",
    "fatal_error": "Slack has a fault",
    "internal_error": "Slack has a fault",
    "message_limit_exceeded": "the workspace sends too many messages",
    "org_login_required": "the workspace is being moved",
    "rate_limited": "Slack asks to wait: too many messages",
    "ratelimited": "Slack asks to wait: too many messages",
    "request_timeout": "the request reached Slack in part",
    "service_unavailable": "Slack is not available",
    "team_added_to_org": "the workspace is being moved",
    "update_failed": "Slack has a fault",
}
"""Where time mends it."""

_THREADS: Final[Mapping[str, str]] = {
    "cannot_reply_to_message": "the thread takes no reply",
    "invalid_thread_ts": "the thread is gone",
    "message_not_found": "the message that the thread begins with is gone",
    "restricted_action_non_threadable_channel": "the channel takes no threads",
    "restricted_action_thread_locked": "the thread is locked",
    "thread_not_found": "the thread is gone",
}
"""Where the alert has to leave its thread."""


@dataclass(frozen=True, slots=True)
class BotSecret:
    """A bot's token, which nobody may see, and the id of the channel that it posts to."""

    token: str = field(repr=False)
    channel: str


@dataclass(frozen=True, slots=True)
class Posted:
    """Slack's answer to a message: its `ts`, and whether it stands in the thread that it was meant for."""

    ts: str
    in_thread: bool = True


def bot_secret(secret: object) -> BotSecret | None:
    """Return token and channel out of Slack's secret, or None where it holds neither.

    Raises:
        DeliveryRefusedError: the secret holds one without the other, or something else than
            `{"bot_token": "xoxb-…", "channel": "C…"}`; the message never holds the token itself.

    """
    if not isinstance(secret, Mapping):
        return None
    token, channel = secret.get("bot_token"), secret.get("channel")
    if not token and not channel:
        return None
    if not isinstance(token, str) or not _TOKEN.fullmatch(token.strip()):
        message = 'Slack\'s secret needs a "bot_token" that begins with xoxb-, beside its "channel".'
        raise DeliveryRefusedError(message)
    if not isinstance(channel, str) or not _CHANNEL.fullmatch(channel.strip()):
        message = (
            'Slack\'s secret needs the id of a "channel", such as C0123456789, beside its "bot_token": '
            "Slack shows it at the end of the channel's details. A channel's name will not do."
        )
        raise DeliveryRefusedError(message)
    return BotSecret(token.strip(), channel.strip())


def api_origin(webhook_origin: str) -> str:
    """Return where Slack's API is, beside where its webhooks are: slack.com for hooks.slack.com.

    slack-gov.com for hooks.slack-gov.com (https://docs.slack.dev/govslack); a local receiver serves both.
    """
    scheme, separator, host = webhook_origin.partition("://")
    return f"{scheme}{separator}{host.removeprefix('hooks.')}"


def call(session: "Session", origin: str, secret: BotSecret, method: str, arguments: Mapping[str, Any]) -> Posted:
    """Call a method that posts or changes a message, in the secret's channel.

    Raises:
        DeliveryFailedError: Slack is out of reach, has a fault, or asks us to wait; a retry helps, after `retry_after`
            seconds where Slack names them.
        MessageRefusedError: Slack does not take this form of the message; a plainer one may pass.
        ThreadRefusedError: the thread, or the message to change, is gone or locked.
        DeliveryRefusedError: Slack refused it for good; the message says in words what to mend.

    """
    document, _ = _called(session, origin, secret, method, {"channel": secret.channel, **arguments})
    ts = document.get("ts")
    if not isinstance(ts, str) or not _TS.fullmatch(ts):
        text = "Slack's answer names no message."
        raise DeliveryFailedError(text)
    # To a parent that was deleted Slack replies in the channel, and says so only by leaving this field out.
    # https://github.com/slack-go/slack/issues/1571
    posted = document.get("message")
    return Posted(ts, in_thread=not isinstance(posted, Mapping) or bool(posted.get("thread_ts")))


def prove(session: "Session", origin: str, secret: BotSecret) -> str:
    """Prove token and channel without posting, and return in words what is proven.

    Slack names the token's scopes in a header of every answer. The channel can be asked for only with the scope
    channels:read (or groups:read), which posting does not need.
    https://docs.slack.dev/reference/methods/auth.test ; https://docs.slack.dev/reference/methods/conversations.info

    Raises:
        DeliveryFailedError: as `call`.
        DeliveryRefusedError: Slack does not accept the token, the scope chat:write is missing, or the bot could not
            post in the channel; the message says in words what to mend.

    """
    _, headers = _called(session, origin, secret, _TEST, {})
    scopes = headers.get("x-oauth-scopes")
    if scopes is not None and _SCOPE not in {scope.strip() for scope in scopes.split(",")}:
        raise _refused("missing_scope")
    try:
        document, _ = _called(session, origin, secret, _INFO, {"channel": secret.channel}, form=True)
    except DeliveryRefusedError as error:
        if "(missing_scope)" not in str(error):
            raise
        return "token accepted; the app may not ask for the channel"
    channel = document.get("channel")
    channel = channel if isinstance(channel, Mapping) else {}
    code = "is_archived" if channel.get("is_archived") is True else "not_in_channel"
    if code == "is_archived" or channel.get("is_member") is False:
        raise _refused(code)
    return "token and channel accepted"


def _called(  # noqa: PLR0913 - a call has so many parts
    session: "Session", origin: str, secret: BotSecret, method: str, message: Mapping[str, Any], *, form: bool = False
) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """Return the document and the headers of an answer that says `ok`; raises as `call` does.

    Methods that only read take a form and no JSON. https://docs.slack.dev/apis/web-api
    """
    kind = "application/x-www-form-urlencoded" if form else "application/json; charset=utf-8"
    headers = {"Authorization": f"Bearer {secret.token}", "Content-Type": kind}
    answer = slack.exchange(session, f"{origin}/api/{method}", message, headers, form=form)
    if answer.status_code != _OK:
        text = f"Slack's API refused the call ({answer.status_code}): {slack.UNKNOWN}."
        raise DeliveryRefusedError(text)
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, Mapping):
        text = "Slack's answer cannot be understood."
        raise DeliveryFailedError(text)
    if document.get("ok") is not True:
        raise _error(document.get("error"), answer)
    return document, answer.headers


def _refused(code: str) -> DeliveryRefusedError:
    return DeliveryRefusedError(f"Slack refused the message for good ({code}): {_REFUSALS[code]}.")


def _error(stated: object, answer: "Response") -> DeliveryError:
    code = stated if isinstance(stated, str) and _CODE.fullmatch(stated) else "no code"
    if code in {"ratelimited", "rate_limited"}:
        return slack.asked_to_wait(answer)
    if code in _FAILURES:
        return DeliveryFailedError(f"Slack did not take the message ({code}): {_FAILURES[code]}.")
    if code in _THREADS:
        return ThreadRefusedError(f"Slack refused the thread ({code}): {_THREADS[code]}.")
    if code in _REFUSALS:
        return _refused(code)
    return MessageRefusedError(f"Slack refused the message ({code}): {slack.FORM_CODES.get(code, slack.UNKNOWN)}.")


@dataclass(frozen=True, slots=True)
class SlackBot:
    """What an incident's thread needs of Slack: to begin it, to reply in it, to keep its first message up to date.

    `call` calls a method with arguments, as `call` above does; `channel` is the id of the channel. `deployment` is the
    stack's name, where its incidents have buttons. The errors are those of `call`.
    """

    call: Callable[[str, Mapping[str, Any]], Posted]
    channel: str
    runbook_url: str = ""
    deployment: str | None = None

    def _parent(self, alert: Alert, incident: Incident | None) -> dict[str, Any]:
        blocks = buttons(incident, self.deployment) if incident is not None and self.deployment is not None else []
        return slack.parent_payload(alert, incident, blocks)

    def begin(self, alert: Alert, incident: Incident | None) -> tuple[Posted, tuple[str, ...]]:
        """Post the message that a thread begins with, and return what `post_best_form` does."""
        forms = (lambda: self._parent(alert, incident), lambda: slack.bare_payload(alert))
        return post_best_form(forms, lambda message: self.call(POST, message))

    def reply(self, alert: Alert, parent: str | None, *, broadcast: bool) -> tuple[Posted, tuple[str, ...]]:
        """Post an alert in the thread of `parent` (None: in the channel), and return what `post_best_form` does.

        Args:
            alert: the alert.
            parent: the `ts` of the message that the thread begins with.
            broadcast: show it in the channel, too.

        """
        place = {"thread_ts": parent, "reply_broadcast": broadcast} if parent else {}
        forms = slack.forms(alert, self.runbook_url)
        return post_best_form(forms, lambda message: self.call(POST, message | place))

    def update(self, parent: str, alert: Alert, incident: Incident | None) -> None:
        """Change the message that a thread begins with to how the incident stands now."""
        # `parse`: left out, chat.update looks for links in the text, which chat.postMessage does not.
        self.call(UPDATE, {"ts": parent, "parse": "none", **self._parent(alert, incident)})

    def tell(self, parent: str | None, message: Mapping[str, Any]) -> None:
        """Post a message in the thread of `parent` (None: in the channel)."""
        self.call(POST, {**message, **({"thread_ts": parent} if parent else {})})
