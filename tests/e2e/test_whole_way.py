"""The whole way, from the event bus to Slack and SNS, on the deployed stack."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import pytest

from rootwatch.audit.items import stored_record
from rootwatch.record import canonical_json, read_document
from rootwatch_cli.demo import STACK_NAME, Stage
from tests.builders.records import ABSENT, build_record

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

PATIENCE = 60.0


T = TypeVar("T")


def eventually(look: Callable[[], T], enough: Callable[[T], object]) -> T:
    """Look until it is enough, at most a minute, and return what was seen last."""
    deadline = time.monotonic() + PATIENCE
    seen = look()
    while not enough(seen) and time.monotonic() < deadline:
        time.sleep(0.2)
        seen = look()
    return seen


def of_account(account_id: str, specimen: str, number: int = 0, **changes: Any) -> dict[str, Any]:
    """A specimen's record as if it had happened in another account."""
    account = {
        "recipientAccountId": account_id,
        "userIdentity.accountId": account_id,
        "userIdentity.arn": f"arn:aws:iam::{account_id}:root",
        "userIdentity.principalId": account_id,
    }
    return build_record(specimen, number=number, **(account | changes))


def events_of(stage: Stage, account_id: str) -> list[dict[str, Any]]:
    """The account's event items, by event time."""
    return [dict(item) for item in stage.store().event_items(account_id, "2026-11")]


def slack_texts(stage: Stage, account_id: str) -> list[str]:
    """The notification texts of the Slack messages about an account."""
    return [message.payload["text"] for message in stage.slack.messages if account_id in message.payload["text"]]


def deliveries_of(stage: Stage, account_id: str) -> list[Mapping[str, Any]]:
    """The ledgers of the account's deliveries."""
    return [item for item in stage.ledgers() if item["account_id"]["S"] == account_id]


def _at_least(count: int) -> Callable[[list[str]], bool]:
    return lambda texts: len(texts) >= count


def queue_depth(stage: Stage) -> int:
    """How many messages wait in the intake queue or are being worked on."""
    queues = stage.stack.client("sqs")
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    url = stage.deployment.resources["IntakeQueue"]
    attributes = queues.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(attributes[name]) for name in names)


def test_every_act_of_the_story_reaches_slack_and_the_topic(stage: Stage) -> None:
    """Four acts and ten reads end as four alerts on both channels, fourteen chained events, and all receipts."""
    account_id = "222233334444"
    stems = ("console_login_failed", "console_login_without_mfa", "access_key_created", "logging_tampered")
    session: dict[str, Any] = {"userIdentity.sessionContext.attributes.creationDate": "2026-11-03T02:14:07Z"}
    stage.subscriber_messages()
    for number, stem in enumerate(stems, start=1):
        stage.send([of_account(account_id, stem, **(session if number > 2 else {}))])
        assert len(eventually(lambda: slack_texts(stage, account_id), _at_least(number))) == number
    reads = [
        of_account(
            account_id,
            "logging_tampered",
            number,
            eventName="DescribeInstances",
            eventSource="ec2.amazonaws.com",
            readOnly=True,
            eventTime=f"2026-11-03T02:45:{number:02d}Z",
            **session,
        )
        for number in range(10)
    ]
    stage.send(reads)
    events = eventually(lambda: events_of(stage, account_id), lambda items: len(items) >= 14)
    ledgers = eventually(
        lambda: deliveries_of(stage, account_id), lambda items: all(item["state"]["S"] == "sent" for item in items)
    )
    received = [each for each in stage.subscriber_messages() if each["account_id"] == account_id]

    assert len(events) == 14
    assert sorted(item["sequence"] for item in events) == list(range(1, 15))
    assert stage.store().verify_chain(account_id, ["2026-11"]).faults == ()
    assert len(slack_texts(stage, account_id)) == 4
    assert [each["severity"] for each in received] == ["medium", "critical", "critical", "critical"]
    assert received[1]["detections"] == ["root.console_login_without_mfa", "root.login_after_failures"]
    assert sorted(item["sk"]["S"] for item in ledgers) == sorted(
        f"DELIVERY#{channel}#{number:06d}" for channel in ("slack", "sns") for number in range(1, 5)
    )
    assert {item["state"]["S"] for item in ledgers} == {"sent"}
    assert all(item["receipt"]["S"] for item in ledgers)


def test_the_audit_record_is_the_record_without_its_secrets(stage: Stage) -> None:
    """What the table holds of a record is the whole record, redacted, under its own hash."""
    account_id = "222233335555"
    record = of_account(account_id, "console_login")
    stage.send([record])
    (item,) = eventually(lambda: events_of(stage, account_id), bool)

    assert stored_record(item) == canonical_json(read_document(record).body)
    assert item["sha256"] == read_document(record).sha256
    assert "additionalEventData.LoginTo" in item["redacted_paths"]
    assert "state=" not in stored_record(item)


def test_a_second_delivery_of_the_same_event_adds_nothing(stage: Stage) -> None:
    """The same event three times leaves one event, one alert and one message on each channel."""
    account_id = "222233336666"
    record = of_account(account_id, "console_login")
    stage.send([record])
    assert len(eventually(lambda: slack_texts(stage, account_id), bool)) == 1
    before = stage.store().account_head(account_id)
    stage.send([record])
    stage.send([record])
    # A later record of the same account shows that the repetitions before it have been worked off.
    stage.send([of_account(account_id, "access_key_created")])
    eventually(lambda: len(events_of(stage, account_id)), lambda count: count >= 2)
    eventually(lambda: queue_depth(stage), lambda depth: depth == 0)
    eventually(lambda: slack_texts(stage, account_id), lambda texts: len(texts) >= 2)

    assert before[0] == 1
    assert len(events_of(stage, account_id)) == 2
    assert len(slack_texts(stage, account_id)) == 2
    assert len(deliveries_of(stage, account_id)) == 4


def test_poison_ends_in_the_dead_letter_queue_and_its_neighbours_pass(stage: Stage) -> None:
    """What is no record lies in the dead-letter queue with its reason; the records around it are stored."""
    account_id = "222233337777"
    queues = stage.stack.client("sqs")
    intake, dead = stage.deployment.resources["IntakeQueue"], stage.deployment.resources["IntakeDeadLetterQueue"]
    good = [of_account(account_id, "read", number) for number in range(3)]
    poison = ["not JSON, and a secret: hunter2", '{"no": "detail"}', '{"detail": {"foo": 1}}', '{"detail": "text"}']
    bodies = [json.dumps({"source": "rootwatch.replay", "detail": record}) for record in good]
    for body in (bodies[0], poison[0], bodies[1], *poison[1:], bodies[2]):
        queues.send_message(QueueUrl=intake, MessageBody=body)
    found: dict[str, str] = {}

    def dead_letters() -> dict[str, str]:
        answer = queues.receive_message(QueueUrl=dead, MaxNumberOfMessages=10, MessageAttributeNames=["All"])
        for message in answer.get("Messages", []):
            found[message["Body"]] = message["MessageAttributes"]["reason"]["StringValue"]
        return found

    eventually(dead_letters, lambda letters: len(letters) >= 4)
    events = eventually(lambda: events_of(stage, account_id), lambda items: len(items) >= 3)

    assert set(found) == set(poison)
    assert "not JSON" in found[poison[0]]
    assert "no `detail`" in found[poison[1]]
    assert "not a CloudTrail record" in found[poison[2]]
    assert "`detail` is a text" in found[poison[3]]
    assert "hunter2" not in "".join(found.values())
    assert len(events) == 3


def test_hostile_text_reaches_slack_as_text(stage: Stage) -> None:
    """Mentions, links, line breaks and reordering marks in a record arrive on Slack as harmless text."""
    account_id = "222233338888"
    hostile = "<!channel> <https://evil.example/|click> *bold* \u202egnp.exe\u200b\nForged: line & more"
    record = of_account(
        account_id,
        "denied",
        userAgent=hostile,
        errorMessage=hostile,
        eventName="Create<!here>User",
        sourceIPAddress=hostile,
    )
    stage.send([record])
    eventually(lambda: slack_texts(stage, account_id), bool)
    (message,) = [each for each in stage.slack.messages if account_id in each.payload["text"]]
    texts = list(_interpreted_texts(message.payload))

    assert stage.slack.refusals == ()
    assert texts
    assert not [text for text in texts if "<!" in text or "<https" in text]
    assert "://evil" not in json.dumps(message.payload)
    assert "\u202e" not in str(message.payload)
    assert "\u200b" not in str(message.payload)


def _interpreted_texts(payload: Mapping[str, Any]) -> list[str]:
    """Everything in a message that Slack interprets: `text` and each mrkdwn object."""
    found = [payload["text"]]
    waiting: list[Any] = list(payload["blocks"])
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            if each.get("type") == "mrkdwn":
                found.append(each["text"])
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)
    return found


def test_two_records_with_one_event_id_are_both_kept(stage: Stage) -> None:
    """Another record under a known event id is stored beside the first, marked, and told."""
    account_id = "222233339999"
    first = of_account(account_id, "console_login", eventID="7d0f0c52-aaaa-4bbb-8ccc-000000000001")
    second = first | {"userAgent": "aws-cli/2.32.0", "sourceIPAddress": "198.51.100.9"}
    stage.send([first])
    eventually(lambda: len(events_of(stage, account_id)), lambda count: count >= 1)
    stage.send([second])
    events = eventually(lambda: events_of(stage, account_id), lambda items: len(items) >= 2)
    eventually(lambda: slack_texts(stage, account_id), lambda texts: len(texts) >= 2)
    messages = [each.payload for each in stage.slack.messages if account_id in each.payload["text"]]

    assert sorted(item["event_id_reused"] for item in events) == [False, True]
    assert len({item["sha256"] for item in events}) == 2
    assert "EVENT ID REUSED" in json.dumps(messages[-1])


def test_a_record_that_does_not_concern_root_is_not_stored(stage: Stage) -> None:
    """A record that a rule lets through although it does not concern root is counted and goes no further."""
    account_id = "222233330000"
    other: dict[str, Any] = {
        "userIdentity.type": "IAMUser",
        "userIdentity.arn": f"arn:aws:iam::{account_id}:user/alice",
    }
    intake = stage.deployment.resources["IntakeQueue"]
    record = of_account(account_id, "read", **other)
    root = of_account(account_id, "read", 1, **{"userIdentity.sessionContext": ABSENT})
    for each in (record, root):
        body = json.dumps({"source": "rootwatch.replay", "detail": each})
        stage.stack.client("sqs").send_message(QueueUrl=intake, MessageBody=body)
    events = eventually(lambda: events_of(stage, account_id), bool)
    eventually(lambda: queue_depth(stage), lambda depth: depth == 0)

    assert [item["event_id"] for item in events_of(stage, account_id)] == [root["eventID"]]
    assert len(events) == 1


def test_the_functions_log_nothing_of_a_record(stage: Stage) -> None:
    """The functions' output names messages and reasons, and nothing that stands in a record or a secret."""
    account_id = "222233331111"
    stage.send([of_account(account_id, "console_login", userAgent="marked-agent-4711")])
    eventually(lambda: slack_texts(stage, account_id), bool)
    log = stage.stack.log_file.read_text(encoding="utf-8", errors="replace")

    assert f"{STACK_NAME}-detect" in log
    assert "marked-agent-4711" not in log
    assert stage.slack.webhook_url not in log
