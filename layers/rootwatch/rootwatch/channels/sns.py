"""Amazon SNS: one publish per alert, with a text for people and the whole alert for machines.

Limits: https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
"""

import json
import unicodedata
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from rootwatch.alert import DO_NOT, SEPARATOR, Alert, detection_title, unlinked
from rootwatch.errors import DeliveryFailedError, DeliveryRefusedError

if TYPE_CHECKING:
    from types_boto3_sns import SNSClient
    from types_boto3_sns.type_defs import PublishInputTypeDef

LONGEST_SUBJECT: Final = 99
LONGEST_SMS: Final = 139
DETAILS: Final = "---- Details ----"
LONGEST_LINE: Final = 900
"""Bytes of a mail's line; https://www.rfc-editor.org/rfc/rfc5322#section-2.1.1 has 998."""
_REFUSED: Final = frozenset({"InvalidParameter", "InvalidParameterValue", "ValidationError", "ValidationException"})


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
        "sms": _ascii(f"Rootwatch {alert.severity.upper()}: {alert.headline}")[:LONGEST_SMS],
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
    text = _ascii(f"[{alert.severity.upper()}] {alert.headline}")
    return text if len(text) <= LONGEST_SUBJECT else f"{text[: LONGEST_SUBJECT - 3]}..."


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
        lines.append(f"Runbook: {runbook_url}")
    if alert.trust:
        lines += ["", SEPARATOR.join(alert.trust)]
    lines += ["", DETAILS]
    lines += [f"{label}: {value}" for label, value in alert.facts]
    lines += [f"Detected: {detection_title(detection)} ({detection})" for detection in alert.detections]
    lines += [f"Mark: {mark}" for mark in alert.marks]
    return "\n".join(map(_line, lines)) + "\n"


def _line(text: str) -> str:
    encoded = text.encode("utf-8", "replace")
    return f"{encoded[: LONGEST_LINE - 3].decode('utf-8', 'ignore')}…" if len(encoded) > LONGEST_LINE else text


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
        DeliveryRefusedError: SNS does not take these arguments; no retry helps.

    """
    try:
        return client.publish(**arguments)["MessageId"]
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        message = f"SNS did not take the alert: {code}."
        raise DeliveryRefusedError(message) if code in _REFUSED else DeliveryFailedError(message) from error
    except BotoCoreError as error:
        message = f"SNS is out of reach ({type(error).__name__})."
        raise DeliveryFailedError(message) from error
