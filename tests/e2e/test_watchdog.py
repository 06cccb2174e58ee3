"""What the deployed watchdog does: by itself when its rule fires, and when Slack was down for long."""

import io
import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from rich.console import Console

from rootwatch_cli.demo import Stage
from rootwatch_cli.demo_records import play_records
from rootwatch_cli.local_stack import LocalStackError
from rootwatch_cli.slack_receiver import Behaviour
from tests.builders import build_envelope
from tests.builders.records import build_record
from tests.e2e.wire import recorded_stage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

PATIENCE = 100.0

T = TypeVar("T")


def eventually(look: Callable[[], T], enough: Callable[[T], object]) -> T:
    """Look until it is enough, and return what was seen last."""
    deadline = time.monotonic() + PATIENCE
    seen = look()
    while not enough(seen) and time.monotonic() < deadline:
        time.sleep(0.5)
        seen = look()
    return seen


def sign_in_of(account_id: str) -> dict[str, Any]:
    """A successful root sign-in in an account of the test's own."""
    changes: dict[str, Any] = {
        "recipientAccountId": account_id,
        "userIdentity.accountId": account_id,
        "userIdentity.arn": f"arn:aws:iam::{account_id}:root",
        "userIdentity.principalId": account_id,
    }
    return build_record("console_login", **changes)


def slack_texts(stage: Stage, account_id: str) -> list[str]:
    """The notification texts of the Slack messages about an account."""
    return [message.payload["text"] for message in stage.slack.messages if account_id in message.payload["text"]]


def ledgers_of(stage: Stage, channel: str, *accounts: str) -> dict[str, dict[str, Any]]:
    """The accounts' ledgers on a channel, by account."""
    return {
        item["account_id"]["S"]: item
        for item in stage.ledgers()
        if item["channel"]["S"] == channel and item["account_id"]["S"] in accounts
    }


def states_of(stage: Stage, channel: str, *accounts: str) -> dict[str, str]:
    """What the accounts' ledgers on a channel say."""
    return {account: item["state"]["S"] for account, item in ledgers_of(stage, channel, *accounts).items()}


def test_an_incident_ends_by_the_clock_alone(stage: Stage) -> None:
    """When root rests for longer than IncidentIdleMinutes, the watchdog's next run sends the summary by itself."""
    account_id = "222233332222"
    stage.send([sign_in_of(account_id)])
    assert len(eventually(lambda: slack_texts(stage, account_id), bool)) == 1
    stage.let_time_pass(timedelta(minutes=61))
    stage.run_watchdog()
    texts = eventually(lambda: slack_texts(stage, account_id), lambda found: len(found) >= 2)
    # The message is out before its receipt is in the ledger.
    eventually(lambda: set(states_of(stage, "slack", account_id).values()), lambda states: states == {"sent"})

    assert len(texts) == 2
    assert "ended" in texts[1]
    assert stage.store().read_account(account_id, (), datetime.now(UTC)).incidents == ()
    assert stage.store().verify_chain(account_id, ["2026-11"]).faults == ()


@pytest.fixture
def apart() -> Iterator[Stage]:
    """A stack of its own: for the other tests a refusal by Slack is a failure."""
    try:
        with recorded_stage() as running:
            yield running
    except LocalStackError as error:
        pytest.fail(f"{error}\n{error.detail}")


TROUBLES = {
    Behaviour.HANG: "out of reach (ReadTimeout)",  # first, while only one alert has to wait for it
    Behaviour.REFUSE: "out of reach (ConnectionError)",
    Behaviour.SERVER_ERROR: "(500)",
    Behaviour.TOO_MANY_REQUESTS: "too many messages (429)",
    Behaviour.NO_SERVICE: "the webhook was removed",
}


def test_slack_is_down_in_every_way_and_comes_back(apart: Stage) -> None:
    """While Slack is down SNS has every alert and says that Slack is down; when it is back every alert arrives there,
    once; and the ledgers tell the story.
    """
    operations = subscribed_to_operations(apart)
    accounts = [f"33334444{number:04}" for number in range(len(TROUBLES))]
    received: list[dict[str, Any]] = []

    def on_the_topic() -> list[str]:
        received.extend(apart.subscriber_messages())
        return [each["headline"] for each in received if each["kind"] == "notice"]

    def errors() -> str:
        ledgers = ledgers_of(apart, "slack", *accounts).values()
        return str([attempt["M"]["error"].get("S") for item in ledgers for attempt in item["attempts"]["L"]])

    def cause(account_id: str, trouble: Behaviour, words: str) -> None:
        apart.slack.answer_with(trouble)
        apart.send([sign_in_of(account_id)])
        assert eventually(lambda: states_of(apart, "slack", account_id), bool)
        assert words in eventually(errors, lambda told: words in told)

    for account_id, (trouble, words) in zip(accounts, TROUBLES.items(), strict=True):
        cause(account_id, trouble, words)
    eventually(lambda: states_of(apart, "sns", *accounts), lambda states: list(states.values()) == ["sent"] * 5)
    assert on_the_topic() == []
    assert sorted(each["account_id"] for each in received) == accounts
    assert apart.slack.messages == ()

    def all_have_waited() -> bool:
        # A ledger that its notifier writes meanwhile keeps its moments: once more, for that one alone.
        apart.let_time_pass(timedelta(minutes=20))
        since = [item["undelivered_since"]["S"] for item in ledgers_of(apart, "slack", *accounts).values()]
        long_ago = datetime.now(UTC) - timedelta(minutes=15)
        return len(since) == len(accounts) and all(datetime.fromisoformat(each) < long_ago for each in since)

    assert eventually(all_have_waited, bool)
    apart.run_watchdog()
    # The rule's own run may come while time passes, and tells of those that have waited by then.
    headline, *_ = eventually(on_the_topic, bool)
    assert re.fullmatch("1 alert did not arrive on Slack|[2-5] alerts did not arrive on Slack", headline)
    told = eventually(operations, lambda headlines: headline in headlines)
    assert any("dead letter" in headline for headline in told)  # for what Slack refused for good

    apart.slack.answer_with(Behaviour.ACCEPT)

    def states_after_a_run() -> set[str]:
        apart.let_time_pass(timedelta(minutes=20))  # what was refused for good is tried every quarter of an hour
        apart.run_watchdog()
        return set(states_of(apart, "slack", *accounts).values())

    assert eventually(states_after_a_run, lambda states: states == {"sent"}) == {"sent"}
    for account_id, ledger in ledgers_of(apart, "slack", *accounts).items():
        assert len(slack_texts(apart, account_id)) == 1
        attempts = [attempt["M"]["error"] for attempt in ledger["attempts"]["L"]]
        assert attempts[-1] == {"NULL": True}
        assert all("S" in error for error in attempts[:-1])
        assert ledger["receipt"]["S"] == "ok"
        assert ledger["refused"] == {"BOOL": False}
    apart.run_watchdog()
    end = "No alert waits for Slack any more"
    assert end in eventually(on_the_topic, lambda headlines: end in headlines)
    assert end in eventually(operations, lambda headlines: end in headlines)
    # Besides the runs by hand, the rule has caused one: the emulator looks every ten seconds whether a minute is over.
    fired = "EventBridge → Lambda rootwatch-watchdog: dispatched"
    assert fired in eventually(apart.stack.log_file.read_text, lambda log: fired in log)


def subscribed_to_operations(stage: Stage) -> Callable[[], list[str]]:
    """Subscribe a queue to the operations topic; return what gives all headlines that reached it so far."""
    queues, found = stage.stack.client("sqs"), list[str]()
    url = queues.create_queue(QueueName="operator")["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = stage.deployment.resources["OperationsTopic"]
    stage.stack.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    def headlines() -> list[str]:
        for message in queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            found.append(json.loads(json.loads(message["Body"])["Message"])["headline"])
            queues.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return list(found)

    return headlines


def test_the_demo_plays_files_of_any_wrapping(stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Records in three wrappings go through the stack; what cannot be read is named, does not stop it, and counts."""
    account_id = "222233334321"
    of_account: dict[str, Any] = {"recipientAccountId": account_id, "userIdentity.accountId": account_id}
    sign_in = build_envelope("console_login", **of_account)["detail"]
    unplaced: dict[str, Any] = {"recipientAccountId": None, "userIdentity.accountId": None}
    (tmp_path / "a.json").write_text(json.dumps({"Records": [sign_in]}))
    lines = [
        json.dumps(sign_in),
        "no JSON at all",
        json.dumps(build_envelope("access_key_created", **of_account)),
        json.dumps(build_envelope("silent/iam_user_sign_in")),
        json.dumps({**build_envelope("write", **unplaced), "account": account_id}),
    ]
    (tmp_path / "b.jsonl").write_text("\n".join(lines))
    out = io.StringIO()

    assert not play_records(Console(file=out, width=100), Console(stderr=True), stage, [str(tmp_path)])
    shown, errors = out.getvalue(), capsys.readouterr().err
    rows = dict(re.findall(r"^ ([a-z ]+?) +(\d+)", shown, flags=re.MULTILINE))
    expected = {
        "records": 6,
        "do not concern root": 1,
        "not readable": 1,
        "concern root": 4,
        "recorded": 3,
        "missing": 0,
    }
    assert {name: int(rows[name]) for name in expected} == expected
    assert "1 of them the same record again" in shown
    assert "in 1 accounts" in shown  # the one without an account kept that of its envelope
    assert "b.jsonl,line2:notJSON" in "".join(errors.split())  # wherever the terminal's width broke it
    assert "Root created an access key for itself" in shown
    assert f"Root use ended account {account_id}" in " ".join(shown.replace("│", "").split())
