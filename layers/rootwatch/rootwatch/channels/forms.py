"""The forms of one alert on one channel: where the best one fails, a plainer one goes out, so that none is lost."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC
from typing import Final, TypeVar

from rootwatch.alert import Alert
from rootwatch.errors import DeliveryFailedError, MessageRefusedError

LONGEST_LINE: Final = 900
"""Bytes of a mail's line; https://www.rfc-editor.org/rfc/rfc5322#section-2.1.1 has 998."""

_Message = TypeVar("_Message")
_Answer = TypeVar("_Answer")


def post_best_form(
    forms: Sequence[Callable[[], _Message]], post: Callable[[_Message], _Answer]
) -> tuple[_Answer, tuple[str, ...]]:
    """Post the first form that can be made and that the channel takes.

    Args:
        forms: each makes the message in one form, the richest first. One that raises is a fault of ours.
        post: posts a message and returns the channel's answer.

    Returns:
        The channel's answer, and in words what went wrong with each richer form.

    Raises:
        MessageRefusedError: the channel refused every form that could be made; a person has to mend us.
        DeliveryFailedError: what `post` raised; or no form could be made at all.
        DeliveryRefusedError: what `post` raised.

    """
    before: list[str] = []
    refused = False
    for form in forms:
        try:
            message = form()
        except Exception as fault:  # noqa: BLE001 - kept in words, and a plainer form goes out
            # Only the kind of the fault: its text may quote the record.
            before.append(f"A fault in Rootwatch kept a form of the message from being made ({type(fault).__name__}).")
            continue
        try:
            return post(message), tuple(before)
        except MessageRefusedError as error:
            before.append(str(error))
            refused = True
    words = " ".join(before)
    raise MessageRefusedError(words) if refused else DeliveryFailedError(words)


def bare_words(alert: Alert) -> str:
    """Return one line that stands for an alert that cannot be shown: id, severity, account and time, nothing else."""
    moment = f"{alert.time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return (
        f"Rootwatch {_safe(alert.severity).upper()}: alert {_safe(alert.alert_id)}, account {_safe(alert.account_id)}, "
        f"{moment}. It cannot be shown here; the audit table has all of it."
    )


def _safe(value: object) -> str:
    return re.sub(r"[^A-Za-z0-9~_-]", "?", str(value)[:80]) or "unknown"


def mail_line(text: str) -> str:
    """Return a paragraph of a mail as the one line that it is, at most as long as mail takes one.

    Nothing of ours wraps it: the reader's program does, and no text of a record can begin a line.
    """
    encoded = text.encode("utf-8", "replace")
    return f"{encoded[: LONGEST_LINE - 3].decode('utf-8', 'ignore')}…" if len(encoded) > LONGEST_LINE else text


def units(text: str) -> int:
    """Return how long a text is in the units of UTF-16: Slack says "characters", and no way to count them gives more.

    Half a character counts as one.
    """
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def fitting(text: str, longest: int) -> str:
    """Return text of at most so many characters, however Slack counts them."""
    if units(text) <= longest:
        return text
    encoded = text.encode("utf-16-le", "surrogatepass")
    return f"{encoded[: 2 * longest - 2].decode('utf-16-le', 'ignore')}…"


def escaped(text: str, longest: int) -> str:
    """Return text in which Slack finds no mention and no link: only &, < and > are special to it."""
    whole = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # Not half an escape at the end: & is no letter of a name.
    return re.sub(r"&[a-z]{0,3}…\Z", "…", fitting(whole, longest))
