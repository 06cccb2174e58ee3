"""A notice: a message about the watch itself, in plain words, for Slack and for SNS. It is no alert and has no ledger.

Limits are those of the alerts: https://docs.slack.dev/reference/block-kit/blocks and
https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from rootwatch.alert import clock, visible
from rootwatch.channels.forms import escaped, fitting, mail_line

if TYPE_CHECKING:
    from types_boto3_sns.type_defs import PublishInputTypeDef

LONGEST_HEADLINE: Final = 99
"""Characters of an SNS subject; Slack's header takes 150."""
LONGEST_PARAGRAPH: Final = 900
MOST_PARAGRAPHS: Final = 10
LONGEST_HEADER: Final = 150
LONGEST_TEXT: Final = 3000
"""Both on Slack."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What people are told about the watch itself: `at` is the moment (UTC), `paragraphs` in the order of reading.

    `urgent` says whether something is wrong; what is well again is not. The texts are on one line each and bounded by
    `make_notice`. `links` are addresses of our own with what they lead to, and hold nothing of a record.
    """

    headline: str
    paragraphs: tuple[str, ...]
    urgent: bool
    at: datetime
    links: tuple[tuple[str, str], ...] = ()


def make_notice(
    headline: str, paragraphs: Sequence[str], at: datetime, *, urgent: bool, links: Sequence[tuple[str, str]] = ()
) -> Notice:
    """Return a notice whose texts are bounded and have nothing hidden in them, whatever a table's item said."""
    return Notice(
        visible(headline, LONGEST_HEADLINE),
        tuple(visible(paragraph, LONGEST_PARAGRAPH) for paragraph in paragraphs[:MOST_PARAGRAPHS]),
        urgent,
        at,
        tuple(links),
    )


def as_text(notice: Notice) -> str:
    """Return a notice as it is kept until it is told."""
    links = [list(link) for link in notice.links]
    return json.dumps([notice.headline, list(notice.paragraphs), notice.urgent, notice.at.isoformat(), links])


def of_text(text: str) -> Notice:
    """Return a notice that was kept; it is bounded again, whatever somebody made of it.

    Raises:
        ValueError, TypeError: it is none.

    """
    headline, paragraphs, urgent, at, links = json.loads(text)
    moment = datetime.fromisoformat(at).astimezone(UTC)
    return make_notice(headline, paragraphs, moment, urgent=bool(urgent), links=[(name, to) for name, to in links])


def slack_payload(notice: Notice) -> dict[str, Any]:
    """Return the message of a notice as Slack takes it: `plain_text`, which Slack does not interpret, but for links."""
    sign = "⚠️" if notice.urgent else "✅"
    # Escaped, because the notification's text is the one thing here that Slack reads as markup.
    text = escaped(notice.headline, LONGEST_TEXT)
    title = f"{sign} Rootwatch: {notice.headline}"
    blocks: list[dict[str, Any]] = [{"type": "header", "text": _plain(title, LONGEST_HEADER)}]
    blocks += [{"type": "section", "text": _plain(paragraph)} for paragraph in notice.paragraphs]
    blocks += [
        {"type": "section", "text": {"type": "mrkdwn", "text": f"<{address}|{label}>"}}
        for label, address in notice.links
    ]
    blocks.append({"type": "context", "elements": [_plain(f"About the watch itself, {clock(notice.at)}")]})
    return {"text": f"{sign} Rootwatch: {text}", "blocks": blocks, "unfurl_links": False, "unfurl_media": False}


def _plain(text: str, longest: int = LONGEST_TEXT) -> dict[str, Any]:
    return {"type": "plain_text", "text": fitting(text, longest), "emoji": False}


def sns_arguments(notice: Notice, topic_arn: str) -> "PublishInputTypeDef":
    """Return the arguments of the one publish for a notice: text for people, JSON for machines, `kind` is `notice`.

    The attribute `severity` lets a pager that takes only high and critical hear of trouble, and not of its end.
    """
    severity = "high" if notice.urgent else "info"
    lines = [mail_line(notice.headline)]
    for paragraph in notice.paragraphs:
        lines += ["", mail_line(paragraph)]
    for label, address in notice.links:
        lines += ["", f"{label}:", address]
    text = "\n".join([*lines, "", f"About the watch itself, {clock(notice.at)}"]) + "\n"
    document = json.dumps(
        {
            "kind": "notice",
            "severity": severity,
            "time": notice.at.isoformat().replace("+00:00", "Z"),
            "headline": notice.headline,
            "paragraphs": list(notice.paragraphs),
            "links": [{"label": label, "address": address} for label, address in notice.links],
        },
        ensure_ascii=False,
    )
    ascii_headline = notice.headline.encode("ascii", "replace").decode()
    message = {
        "default": text,
        "email": text,
        "email-json": document,
        "sms": f"Rootwatch: {ascii_headline}",
        "sqs": document,
        "lambda": document,
        "https": document,
        "http": document,
        "firehose": document,
    }
    return {
        "TopicArn": topic_arn,
        "Subject": ascii_headline,
        "Message": json.dumps(message, ensure_ascii=False),
        "MessageStructure": "json",
        "MessageAttributes": {
            "severity": {"DataType": "String", "StringValue": severity},
            "kind": {"DataType": "String", "StringValue": "notice"},
        },
    }
