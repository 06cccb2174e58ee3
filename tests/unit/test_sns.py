"""What SNS gets: one publish within its limits, a text for people and the whole alert for machines."""

import dataclasses
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from rootwatch.alert import DO_NOT, REPLAYED, SEPARATOR, Alert, compose
from rootwatch.channels.sns import (
    DETAILS,
    alert_document,
    bare_arguments,
    email_text,
    publish,
    publish_arguments,
    subject,
)
from rootwatch.detections.catalogue import CATALOGUE
from rootwatch.errors import DeliveryFailedError, MessageRefusedError
from tests.builders import all_specimens, load_specimen
from tests.unit.limits import check_sns
from tests.unit.workbench import TOPIC, fold_all, make_alert, make_observation

RUNBOOK = "https://runbook.example.com/root"
HOSTILE = (
    "x" * 100_000,
    "\u202e" * 50_000,
    "\ud800" * 50_000,
    "🔴" * 50_000,
    "\ufb03\uff1a//\u2025" * 5_000,
    "a\nSubject: forged\r\n\r\nb",
    '"}],"x":"',
    "word " * 20_000,
    "\ufdfa" * 10_000,
)
"""Texts that grow, break lines, escape, decompose into many characters or cannot be encoded."""


def message_of(alert: Alert, runbook: str = RUNBOOK) -> dict[str, Any]:
    """The message of a publish by protocol."""
    message: dict[str, Any] = json.loads(publish_arguments(alert, TOPIC, runbook)["Message"])
    return message


def hostile_alert(text: str) -> Alert:
    """An alert in which every text of the record is hostile."""
    fields = ("eventName", "userAgent", "sourceIPAddress", "errorMessage", "errorCode", "eventID", "awsRegion")
    return make_alert(
        "write", **dict.fromkeys(fields, text), addendum={"reason": text}, requestParameters={"userName": text}
    )


# --- the publish ------------------------------------------------------------------------------------------------------


def test_every_specimen_s_alert_is_one_that_sns_takes() -> None:
    """Each alert of each specimen is within the limits of a publish."""
    count = 0
    for name in all_specimens():
        observations = [make_observation(name, position=place) for place in range(len(load_specimen(name)))]
        _, outcomes = fold_all([each for each in observations if each.relevant])
        for due in [due for outcome in outcomes for due in outcome.alerts]:
            check_sns(dict(publish_arguments(compose(due), TOPIC, RUNBOOK)))
            count += 1
    assert count > 30


def test_the_message_speaks_to_every_protocol() -> None:
    """SNS requires `default`; people get the text, machines the alert as JSON, and every value is a text."""
    alert = make_alert("access_key_created")
    arguments = publish_arguments(alert, TOPIC, RUNBOOK)
    message = message_of(alert)
    assert arguments["TopicArn"] == TOPIC
    assert arguments["MessageStructure"] == "json"
    assert {"default", "email", "email-json", "sms", "sqs", "lambda", "https", "http", "firehose"} == set(message)
    assert all(isinstance(text, str) and text for text in message.values())
    assert message["default"] == message["email"] == email_text(alert, RUNBOOK)
    for protocol in ("email-json", "sqs", "lambda", "https", "http", "firehose"):
        assert json.loads(message[protocol]) == alert_document(alert)


def test_the_attributes_are_valid_and_fit_for_filters() -> None:
    """The attributes are texts that are not empty, and the detections a list that filter policies understand."""
    alert = make_alert("access_key_created")
    attributes = publish_arguments(alert, TOPIC)["MessageAttributes"]
    assert attributes == {
        "severity": {"DataType": "String", "StringValue": "critical"},
        "account_id": {"DataType": "String", "StringValue": "111122223333"},
        "detections": {"DataType": "String.Array", "StringValue": '["root.access_key_created"]'},
        "kind": {"DataType": "String", "StringValue": "alert"},
    }
    everything = dataclasses.replace(alert, detections=tuple(detection.id for detection in CATALOGUE))
    check_sns(dict(publish_arguments(everything, TOPIC, RUNBOOK)))
    nothing = dataclasses.replace(alert, detections=())
    assert publish_arguments(nothing, TOPIC)["MessageAttributes"]["detections"]["StringValue"] == "[]"


def test_machines_get_the_whole_alert() -> None:
    """The document has the names of `rootwatch replay --json` and the words besides."""
    alert = make_alert("console_login_without_mfa")
    document = alert_document(alert)
    assert {
        "alert_id", "incident_id", "account_id", "time", "why", "severity", "headline", "detections", "event_ids",
        "counts", "chain",
    } <= set(document)  # fmt: skip
    assert document["time"] == "2026-11-03T02:14:07Z"
    assert document["why"] == ["opened", "signed_in", "new_source"]
    assert document["facts"] == [{"label": label, "value": value} for label, value in alert.facts]
    assert json.loads(json.dumps(document)) == document


# --- the subject ------------------------------------------------------------------------------------------------------


def test_the_subject_begins_with_severity_and_what_happened() -> None:
    """A mail's list of subjects is enough to see who did what and whether it worked."""
    assert subject(make_alert("console_login_failed")).startswith("[MEDIUM] Root sign-in FAILED, account 111122223333")
    assert subject(make_alert("console_login_without_mfa")).startswith(
        "[CRITICAL] Root signed in to the console WITHOUT"
    )


def test_subject_and_short_message_hold_whole_parts_only() -> None:
    """Half of an address or of an account's number would be taken for another one; the account is always there."""
    for name in all_specimens():
        observations = [make_observation(name, position=place) for place in range(len(load_specimen(name)))]
        _, outcomes = fold_all([each for each in observations if each.relevant])
        for due in [due for outcome in outcomes for due in outcome.alerts]:
            for account_name in (None, "payments-production-and-its-very-long-name"):
                alert = compose(dataclasses.replace(due, account_name=account_name))
                begins, *parts = (part.replace("…", "...") for part in alert.headline.split(SEPARATOR))
                for text in (subject(alert), message_of(alert)["sms"]):
                    begun, _, rest = text.partition(begins if begins in text else "...")
                    assert begins.startswith(begun.partition(" ")[2].removeprefix(f"{alert.severity.upper()}: "))
                    for part in (f"account {alert.account_id}", *parts):
                        rest = rest.replace(f", {part}", "", 1)
                    assert rest == "", text
                    assert alert.account_id in text


@pytest.mark.parametrize("length", [1, 60, 85, 88, 89, 90, 91, 100, 10_000])
@pytest.mark.parametrize("filler", ["x", "é", "\ufb03", "·", "…", "🔴", "\uff1a//"])
def test_a_subject_of_any_length_fits(length: int, filler: str) -> None:
    """A headline of any length and script becomes fewer than 100 printable ASCII characters on one line."""
    alert = dataclasses.replace(make_alert(), headline=filler * length)
    text = subject(alert)
    assert 0 < len(text) < 100
    assert text.isascii()
    assert text.isprintable()
    assert "://" not in text


# --- the mail ---------------------------------------------------------------------------------------------------------


def lines_of(alert: Alert) -> list[str]:
    """The lines of the mail."""
    return email_text(alert, RUNBOOK).split("\n")


@pytest.mark.parametrize("text", ["short", *HOSTILE], ids=lambda text: ascii(text)[:24])
def test_a_mail_s_lines_are_paragraphs_that_a_mail_may_hold(text: str) -> None:
    """A line is broken by the reader's own program, and still no line is longer than a mail's may be, in bytes."""
    lines = lines_of(hostile_alert(text))
    assert max(len(line.encode()) for line in lines) <= 998
    assert len(lines) < 60
    made = dataclasses.replace(hostile_alert(text), headline=text, marks=(text,), facts=((text, text),))
    assert max(len(line.encode("utf-8", "replace")) for line in lines_of(made)) <= 998


def test_a_mail_has_no_line_of_the_record_s_making() -> None:
    """A record cannot begin a line of its own: its line breaks are gone."""
    assert not any(line.startswith("Subject: forged") for line in lines_of(hostile_alert("a\nSubject: forged\n\nb")))


def test_a_mail_says_what_matters_first() -> None:
    """The mail begins with severity and headline, goes on with reason, steps and runbook, and ends with details."""
    alert = make_alert("console_login_without_mfa")
    text = " ".join(email_text(alert, RUNBOOK).split())
    places = [
        text.index(part)
        for part in (
            f"CRITICAL: {alert.headline}",
            alert.reason,
            *(f"{number}. {step}" for number, step in enumerate(alert.next_steps, start=1)),
            DO_NOT,
            f"Runbook: {RUNBOOK}#console_login_without_mfa",
            f"alert {alert.alert_id}",
            "---- Details ----",
            "Outcome: success",
            "Detected: Root signed in without MFA (root.console_login_without_mfa)",
            f"Mark: {alert.marks[0]}",
        )
    ]
    assert places == sorted(places)
    assert places[0] == 0


def test_a_mail_without_a_runbook_names_none() -> None:
    """Where no runbook is set, the mail has no line for it."""
    assert "Runbook" not in email_text(make_alert())


def test_a_mail_says_how_to_answer_it() -> None:
    """The first line of the details is the command for this very alert; what is only a test or a replay has none."""
    live = dataclasses.replace(make_alert(), trust=("LIVE",))
    details = email_text(live).split(DETAILS)[1].strip().split("\n")
    assert details[0] == f"To answer: rootwatch ack {live.alert_id}; then resolve, or suspicious, contain, close"
    assert "rootwatch ack" not in email_text(dataclasses.replace(live, trust=(REPLAYED, "v1")))
    assert "rootwatch ack" not in email_text(dataclasses.replace(live, kind="test"))


def test_rendering_is_pure() -> None:
    """The same alert always gives the same publish."""
    alert = make_alert()
    assert publish_arguments(alert, TOPIC, RUNBOOK) == publish_arguments(alert, TOPIC, RUNBOOK)


# --- publishing -------------------------------------------------------------------------------------------------------


class FakeClient:
    """An SNS client that answers, or fails, as it is told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[dict[str, Any]] = []

    def publish(self, **arguments: Any) -> dict[str, str]:
        """Answer without any network."""
        self.asked.append(arguments)
        if self.error:
            raise self.error
        return {"MessageId": "7b2c"}


def test_a_publish_has_a_receipt() -> None:
    """SNS's message id is the receipt, and it is asked once."""
    client: Any = FakeClient()
    assert publish(client, publish_arguments(make_alert(), TOPIC)) == "7b2c"
    assert len(client.asked) == 1


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("InvalidParameter", MessageRefusedError),
        ("ValidationException", MessageRefusedError),
        ("Throttling", DeliveryFailedError),
        ("AuthorizationError", DeliveryFailedError),
        ("KMSAccessDenied", DeliveryFailedError),
        ("NotFound", DeliveryFailedError),
        ("", DeliveryFailedError),
    ],
)
def test_an_error_says_whether_a_retry_helps(code: str, error: type[Exception]) -> None:
    """Only arguments that SNS never takes are refused for good; all else may be mended and is tried again."""
    client: Any = FakeClient(ClientError({"Error": {"Code": code, "Message": "hunter2"}}, "Publish"))
    with pytest.raises(error, match="SNS did not take the alert") as caught:
        publish(client, publish_arguments(make_alert(), TOPIC))
    assert "hunter2" not in str(caught.value)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("AuthorizationError", "may not publish"),
        ("KMSDisabled", "enable it"),
        ("KMSDisabledException", "enable it"),
        ("NotFound", "deploy the stack again"),
        ("Throttled", "asks to wait"),
        ("ThrottlingException", "asks to wait"),
        ("SomethingNew", "alert: SomethingNew"),
    ],
)
def test_an_error_is_named_in_words(code: str, words: str) -> None:
    """The ledger says what to mend, and the code; a code that is not known stands by itself."""
    client: Any = FakeClient(ClientError({"Error": {"Code": code, "Message": "hunter2"}}, "Publish"))
    with pytest.raises(DeliveryFailedError, match=words) as caught:
        publish(client, publish_arguments(make_alert(), TOPIC))
    assert code in str(caught.value)


@pytest.mark.parametrize("text", ["", "<!channel> \u202e\n=1+1", "x" * 300_000, "\ud800"])
def test_the_least_that_is_published_is_within_the_limits(text: str) -> None:
    """The bare publish of an alert in which every text is hostile is one that SNS takes, and says where to look."""
    alert = dataclasses.replace(
        make_alert(), headline=text, reason=text, facts=((text, text),), marks=(text,), next_steps=(text,)
    )
    arguments = dict(bare_arguments(alert, TOPIC))
    check_sns(arguments)
    message = json.loads(str(arguments["Message"]))
    for words in (message["default"], json.loads(message["sqs"])["headline"]):
        assert alert.alert_id in words
        assert "the audit table has all of it" in words
        assert "<!channel>" not in words
    assert json.loads(message["sqs"])["severity"] == alert.severity


def test_the_least_that_is_published_passes_a_filter() -> None:
    """The bare publish has the same attributes as the full one, so that no subscription's filter drops it."""
    alert = make_alert()
    full, bare = publish_arguments(alert, TOPIC), bare_arguments(alert, TOPIC)
    assert bare["MessageAttributes"] == full["MessageAttributes"]
    spoilt = dataclasses.replace(alert, detections=(b"not text",))  # type: ignore[arg-type] # as only a fault makes it
    assert bare_arguments(spoilt, TOPIC)["MessageAttributes"].keys() == {"severity", "account_id"}


def test_sns_out_of_reach_is_tried_again() -> None:
    """A connection that fails is no refusal."""
    client: Any = FakeClient(EndpointConnectionError(endpoint_url="https://sns.us-east-1.amazonaws.com"))
    with pytest.raises(DeliveryFailedError, match="out of reach"):
        publish(client, publish_arguments(make_alert(), TOPIC))
