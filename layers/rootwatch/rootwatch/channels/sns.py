"""Amazon SNS: one publish per alert, with a text for people and the whole alert for machines.

Limits: https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
"""

import json
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from rootwatch.alert import DO_NOT, REPLAYED, SEPARATOR, TEST_KIND, Alert, detection_title, runbook_address, unlinked
from rootwatch.channels.forms import bare_words, mail_line
from rootwatch.errors import DeliveryFailedError, MessageRefusedError

if TYPE_CHECKING:
    from types_boto3_sns import SNSClient
    from types_boto3_sns.type_defs import MessageAttributeValueTypeDef, PublishInputTypeDef

LONGEST_SUBJECT: Final = 99
LONGEST_SMS: Final = 139
DETAILS: Final = "---- Details ----"
_REFUSED: Final[Mapping[str, str]] = {
    "InvalidParameter": "SNS does not take the message",
    "InvalidParameterValue": "SNS does not take the message",
    "ParameterValueInvalid": "SNS does not take the message",
    "ValidationError": "SNS does not take the message",
    "ValidationException": "SNS does not take the message",
}
"""Only what is wrong with the message itself is refused for good, and a plainer form may still pass."""
_FAILED: Final[Mapping[str, str]] = {
    "AccessDenied": "the function's role may not publish to the topic; deploy the stack again",
    "AuthorizationError": "the function's role may not publish to the topic; deploy the stack again",
    "InvalidSecurity": "the request's signature is not valid; look at the function's clock and role",
    "InternalError": "SNS has a fault",
    "InternalFailure": "SNS has a fault",
    "KMSAccessDenied": "the topic's key admits neither the function nor SNS; put its policy back",
    "KMSDisabled": "the topic's key is disabled; enable it",
    "KMSInvalidState": "the topic's key cannot be used, perhaps it is to be deleted; cancel that",
    "KMSNotFound": "the topic's key is gone; deploy the stack again",
    "KMSOptInRequired": "the account has no access to AWS KMS",
    "KMSThrottling": "AWS KMS asks to wait",
    "NotFound": "the alert topic is gone; deploy the stack again",
    "Throttled": "SNS asks to wait",
    "Throttling": "SNS asks to wait",
}
"""What time or a person mends while the stream, and then the watchdog, try again.
https://docs.aws.amazon.com/sns/latest/api/API_Publish.html#API_Publish_Errors"""


def publish_arguments(alert: Alert, topic_arn: str, runbook_url: str = "") -> "PublishInputTypeDef":
    """Return the arguments of the one publish for an alert. Pure.

    E-mail and SMS get text; queues, functions and HTTPS endpoints get the alert as JSON, and so does `default`'s
    reader through the attributes severity, account_id, detections and kind, which filter policies can use.
    """
    # UTF-8 and not \u escapes: escaped twice and repeated per protocol, they could fill SNS's 256 KB.
    text, document = email_text(alert, runbook_url), json.dumps(alert_document(alert), ensure_ascii=False)
    message = {
        "default": text,
        "email": text,
        "email-json": document,
        "sms": _whole_parts(f"Rootwatch {alert.severity.upper()}: {alert.headline}", alert.account_id, LONGEST_SMS),
        "sqs": document,
        "lambda": document,
        "https": document,
        "http": document,
        "firehose": document,
    }
    return {
        "TopicArn": topic_arn,
        "Subject": subject(alert),
        "Message": json.dumps(message, ensure_ascii=False),
        "MessageStructure": "json",
        "MessageAttributes": {
            "severity": {"DataType": "String", "StringValue": str(alert.severity)},
            "account_id": {"DataType": "String", "StringValue": alert.account_id},
            "detections": {"DataType": "String.Array", "StringValue": json.dumps(list(alert.detections))},
            "kind": {"DataType": "String", "StringValue": alert.kind},
        },
    }


def bare_arguments(alert: Alert, topic_arn: str) -> "PublishInputTypeDef":
    """Return the publish of an alert that cannot be rendered, or that SNS refused: id, severity, account, time. Pure.

    The attributes are there as far as they can be made, so that a subscription's filter still lets it through.
    """
    words = bare_words(alert)
    document = {
        "alert_id": alert.alert_id,
        "account_id": alert.account_id,
        "time": alert.time.isoformat().replace("+00:00", "Z"),
        "severity": str(alert.severity),
        "headline": words,
    }
    machines = dict.fromkeys(("email-json", "sqs", "lambda", "https", "http", "firehose"), json.dumps(document))
    attributes: dict[str, MessageAttributeValueTypeDef] = {
        "severity": {"DataType": "String", "StringValue": str(alert.severity) or "unknown"},
        "account_id": {"DataType": "String", "StringValue": alert.account_id or "unknown"},
    }
    with suppress(Exception):  # one that cannot be made must not keep the alert from those who filter on nothing
        attributes |= {
            "detections": {"DataType": "String.Array", "StringValue": json.dumps(list(alert.detections))},
            "kind": {"DataType": "String", "StringValue": alert.kind},
        }
    return {
        "TopicArn": topic_arn,
        "Subject": f"[{_ascii(str(alert.severity))[:20].upper()}] Rootwatch alert",
        "Message": json.dumps({"default": words, "sms": words[:LONGEST_SMS], **machines}),
        "MessageStructure": "json",
        "MessageAttributes": attributes,
    }


def alert_document(alert: Alert) -> dict[str, object]:
    """Return the alert as machines get it; the same names as `rootwatch replay --json`, and the words besides."""
    return {
        "alert_id": alert.alert_id,
        "incident_id": alert.incident_id,
        "account_id": alert.account_id,
        "time": alert.time.isoformat().replace("+00:00", "Z"),
        "why": list(alert.why),
        "severity": str(alert.severity),
        "headline": alert.headline,
        "detections": list(alert.detections),
        "event_ids": list(alert.event_ids),
        "counts": dict(alert.counts),
        "chain": alert.chain,
        "kind": alert.kind,
        "sequence": alert.sequence,
        "expected": alert.expected,
        "reason": alert.reason,
        "access": alert.access,
        "news": alert.news,
        "so_far": alert.so_far,
        "contacts": alert.contacts,
        "facts": [{"label": label, "value": value} for label, value in alert.facts],
        "next_steps": list(alert.next_steps),
        "trust": list(alert.trust),
        "marks": list(alert.marks),
    }


def subject(alert: Alert) -> str:
    """Return the mail's subject: plain ASCII of fewer than 100 characters on one line, as every SNS region takes it."""
    return _whole_parts(f"[{alert.severity.upper()}] {alert.headline}", alert.account_id, LONGEST_SUBJECT)


def _whole_parts(headline: str, account_id: str, longest: int) -> str:
    """Return of a headline the parts that fit: half an address or half a number would be taken for a whole one.

    Its first part is a sentence, and is cut where that makes room for the account, without its name if need be.
    """
    first, *others = headline.split(SEPARATOR)
    text, number = _ascii(first), _ascii(f"account {account_id}")
    names_account = any(part.startswith("account ") for part in others) and len(number) < longest // 2
    room = longest - len(f", {number}") if names_account else longest
    if len(text) > room:
        text = f"{text[: room - 3]}..."
    for part in others:
        for words in (part, number) if part.startswith("account ") else (part,):
            longer = f"{text}, {_ascii(words)}"
            if len(longer) <= longest:
                text = longer
                break
    return text


def email_text(alert: Alert, runbook_url: str = "") -> str:
    """Return the mail's text: the first screen of a phone, a line of dashes, the details.

    A line of it is a paragraph, which the reader's own program wraps: lines broken for a wide screen are broken again,
    in the wrong places, on a phone.
    """
    lines = [f"{alert.severity.upper()}: {alert.headline}", ""]
    lines += [f"{label}: {text}" if label else text for label, text in alert.briefing]
    lines.append("")
    lines += [f"{number}. {step}" for number, step in enumerate(alert.next_steps, start=1)]
    lines.append(DO_NOT)
    if runbook_url:
        lines.append(f"Runbook: {runbook_address(alert, runbook_url)}")
    if alert.trust:
        lines += ["", SEPARATOR.join(alert.trust)]
    lines += ["", DETAILS]
    if alert.kind != TEST_KIND and REPLAYED not in alert.trust:
        lines.append(f"To answer: rootwatch ack {alert.alert_id}; then resolve, or suspicious, contain, close")
    lines += [f"{label}: {value}" for label, value in alert.facts]
    lines += [f"Detected: {detection_title(detection)} ({detection})" for detection in alert.detections]
    lines += [f"Mark: {mark}" for mark in alert.marks]
    return "\n".join(map(mail_line, lines)) + "\n"


def _ascii(text: str) -> str:
    plain = text.replace(SEPARATOR, ", ").replace("…", "...")
    decomposed = unicodedata.normalize("NFKD", plain)
    ascii_only = "".join(character if " " <= character <= "~" else "?" for character in decomposed)
    return unlinked(ascii_only)  # again, for what became a dot, a colon or a letter only now


def publish(client: "SNSClient", arguments: "PublishInputTypeDef") -> str:
    """Publish and return SNS's message id, which is the receipt.

    Raises:
        DeliveryFailedError: throttled, out of reach, or refused for a permission or key that a person must mend; a
            retry helps then.
        MessageRefusedError: SNS does not take these arguments; no retry helps, a plainer form may pass.

    """
    try:
        return client.publish(**arguments)["MessageId"]
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        words = _REFUSED.get(code) or _FAILED.get(code.removesuffix("Exception"))
        message = f"SNS did not take the alert: {f'{words} ({code})' if words else code}."
        raise MessageRefusedError(message) if code in _REFUSED else DeliveryFailedError(message) from error
    except BotoCoreError as error:
        message = f"SNS is out of reach ({type(error).__name__})."
        raise DeliveryFailedError(message) from error
