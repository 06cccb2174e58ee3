"""One thread per incident, through the real handlers: a bot token in the secret, a Slack-shaped API on loopback."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from functions.notify_slack import app as notify_slack
from rootwatch import wiring
from rootwatch.channels.notice import make_notice
from rootwatch.delivery import Sent, Unconfigured
from rootwatch.settings import NotifySlackSettings, environment
from rootwatch_cli.slack_receiver import BOT_TOKEN, Behaviour
from tests.contracts.world import START, World, running_world

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

ACCOUNT = "333355557777"
STORY = ("console_login_failed", "console_login_without_mfa", "access_key_created", "logging_tampered")


@pytest.fixture(scope="module", autouse=True)
def _session_of_this_module() -> Iterator[None]:
    """One session for these tests, since each reads the services' models anew; nothing of it is left for others."""
    wiring._session.cache_clear()
    yield
    wiring._session.cache_clear()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The functions, with a bot token in Slack's secret and nothing to tell yet."""
    with running_world(monkeypatch) as world:
        world.store_secret(world.slack.bot_secret)
        yield world


def play(world: World) -> None:
    """Let the demo's story happen in one account, ten seconds between its acts."""
    session: dict[str, Any] = {"userIdentity.sessionContext.attributes.creationDate": "2026-11-03T02:14:07Z"}
    for number, specimen in enumerate(STORY):
        changes = session if number > 1 else {}

        def act(number: int = number, specimen: str = specimen, changes: dict[str, Any] = changes) -> None:
            world.record(ACCOUNT, specimen, number, **changes)

        world.at(number * 10, act)
    world.run()


def test_one_parent_with_every_alert_in_its_thread(world: World) -> None:
    """Four alerts of one incident are one message in the channel, four replies whose `ts` are the receipts, broadcasts
    of what is high or critical, and a parent that says how things stand.
    """
    play(world)
    [parent] = world.slack.parents
    replies = world.slack.replies(parent.ts)
    ledgers = world.ledgers("slack")[ACCOUNT]
    assert [ledger["receipt"]["S"] for ledger in ledgers] == [reply.ts for reply in replies]
    assert {ledger["state"]["S"] for ledger in ledgers} == {"sent"}
    assert len(replies) == len(STORY)
    assert [reply.broadcast for reply in replies] == [False, True, True, True]
    now = json.dumps(world.slack.current(parent.ts), ensure_ascii=False)
    assert "OPEN" in now
    assert "Severity: critical" in now
    assert f"Records: {len(STORY)}" in now
    assert f"Alerts: {len(STORY)}" in now
    [thread] = world.items("THREAD#")
    assert thread["parent"]["S"] == parent.ts
    assert len(world.messages(world.subscriber)) == 0  # taken already: SNS has them, whatever Slack is told
    assert len(world.told["sns"][ACCOUNT]) == len(STORY)


def test_a_parent_that_cannot_be_changed_is_a_warning(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The alert is sent all the same; the log says so, and the next alert brings the parent up to date."""
    world.slack.answer_with(Behaviour.ERROR, code="edit_window_closed", times=2, only="chat.update")
    play(world)
    [parent] = world.slack.parents
    assert f"Alerts: {len(STORY)}" in json.dumps(world.slack.current(parent.ts))
    assert {ledger["state"]["S"] for ledger in world.ledgers("slack")[ACCOUNT]} == {"sent"}
    warnings = [record.getMessage() for record in caplog.records if record.name == "rootwatch.wiring"]
    assert [words for words in warnings if "not up to date" in words and "edit_window_closed" in words] == warnings
    assert len(warnings) == 2


def test_trouble_with_changes_leaves_slack_alone_for_a_while(world: World) -> None:
    """Slack is not asked to change a parent while it wants rest, and the alerts do not wait for that."""
    world.slack.answer_with(Behaviour.TOO_MANY_REQUESTS, retry_after_seconds=15, only="chat.update")
    play(world)
    assert len(world.slack.refusals) == 2  # with the second and the fourth alert; the third came within 15 seconds
    assert len(world.slack.alerts) == len(STORY)
    assert {ledger["state"]["S"] for ledger in world.ledgers("slack")[ACCOUNT]} == {"sent"}


def test_an_outage_between_parent_and_alert_makes_no_second_parent(world: World) -> None:
    """When the parent is posted and the alert is not, the alert follows in the thread that is there."""
    world.slack.refuse_containing("thread_ts", "internal_error")
    world.at(0, lambda: world.record(ACCOUNT, "console_login_without_mfa"))
    world.at(95, world.slack.forgive)
    world.run()
    [parent] = world.slack.parents
    [reply] = world.slack.replies(parent.ts)
    assert reply.broadcast is False
    [ledger] = world.ledgers("slack")[ACCOUNT]
    errors = [attempt["M"]["error"].get("S", "") for attempt in ledger["attempts"]["L"]]
    assert "internal_error" in errors[0]
    assert errors[-1] == ""


def test_a_notice_of_the_watchdog_stands_in_the_channel(world: World) -> None:
    """What is about the watch itself is posted by the bot, outside of every thread; without a secret it is not sent."""
    tell = wiring._slack_notices(NotifySlackSettings.from_environment(environment()))
    notice = make_notice("Alerts do not arrive by SNS", ["Look at the topic."], START, urgent=True)
    sent = tell(notice)
    [message] = world.slack.messages
    assert sent == Sent(message.ts)
    assert message.thread_ts is None
    assert "SNS" in message.payload["text"]
    world.store_secret({})
    assert isinstance(wiring._slack_notices(NotifySlackSettings.from_environment(environment()))(notice), Unconfigured)


@pytest.mark.parametrize(
    ("code", "words"),
    [("is_archived", "unarchive"), ("not_in_channel", "invite"), ("token_revoked", "install the app again")],
)
def test_what_a_person_has_to_mend_is_a_dead_letter(world: World, code: str, words: str) -> None:
    """The ledger and the dead letter say what to mend, and the stream goes on."""
    world.slack.answer_with(Behaviour.ERROR, code=code)
    world.at(0, lambda: world.record(ACCOUNT, "console_login_without_mfa"))
    world.run(most_seconds=60)
    [ledger] = world.ledgers("slack")[ACCOUNT]
    assert ledger["state"]["S"] == "failed"
    assert words in ledger["attempts"]["L"][0]["M"]["error"]["S"]
    assert len(world.messages(world.dead_letters)) == 1


def test_blocks_that_slack_refuses_go_out_plain_in_the_thread(world: World) -> None:
    """The plain text stands in the thread, and the ledger tells both attempts."""
    world.at(0, lambda: world.record(ACCOUNT, "console_login_without_mfa"))
    world.slack.refuse_containing('"divider"', "invalid_blocks")  # the parent has none
    world.run()
    [parent] = world.slack.parents
    [reply] = world.slack.replies(parent.ts)
    assert "blocks" not in reply.payload
    [ledger] = world.ledgers("slack")[ACCOUNT]
    assert "invalid_blocks" in ledger["attempts"]["L"][0]["M"]["error"]["S"]
    assert ledger["receipt"]["S"] == reply.ts


@pytest.mark.parametrize("trouble", [None, Behaviour.REFUSE, Behaviour.SERVER_ERROR, Behaviour.NO_SERVICE])
def test_nobody_learns_the_token(
    world: World,
    trouble: Behaviour | None,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With every logger at DEBUG, no log, ledger, dead letter or output holds the bot's token, whatever Slack does."""
    text = io.StringIO()
    monkeypatch.setattr(notify_slack.logger.registered_handler, "stream", text)
    if trouble:
        world.slack.answer_with(trouble, times=3)
    world.at(0, lambda: world.record(ACCOUNT, "console_login_without_mfa"))
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("rootwatch.test").debug("the loggers are at DEBUG")
        world.run()
    told = "".join([caplog.text, text.getvalue(), *capfd.readouterr(), str(world.items())])
    told += "".join(world.messages(world.dead_letters))
    assert "the loggers are at DEBUG" in told
    assert "delivery: " in text.getvalue()
    assert BOT_TOKEN not in told
    assert BOT_TOKEN.rpartition("-")[2] not in told
