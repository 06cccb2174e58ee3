"""The stream never blocks: the notifiers' handlers behind a poller that follows Lambda's documentation, on a clock of
the test's own, with the settings of template.yaml.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rootwatch import wiring
from rootwatch.channels import slack, sns
from rootwatch_cli.slack_receiver import Behaviour
from tests.contracts.world import World, running_world

pytestmark = [
    pytest.mark.filterwarnings("ignore:No application metrics to publish"),
    pytest.mark.timeout(120),
]

POISONED = "333344440003"
OTHERS = [f"33334444{number:04d}" for number in range(10, 18)]
SECONDS = 10.0
"""How long the alerts behind a poisoned one may take."""
MINUTES = 60


@pytest.fixture(scope="module", autouse=True)
def _session_of_this_module() -> Iterator[None]:
    """One session for these tests, since each reads the services' models anew; nothing of it is left for others."""
    wiring._session.cache_clear()
    yield
    wiring._session.cache_clear()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The functions, with nothing to tell yet."""
    with running_world(monkeypatch) as world:
        yield world


def poison(world: World, trouble: Callable[[World], None]) -> None:
    """Write one alert that is poisoned, among others in its batch and behind it, before anybody polled."""
    for account_id in (*OTHERS[:2], POISONED, *OTHERS[2:]):
        world.sign_in(account_id, 0)
    world.at(0, lambda: trouble(world))
    world.run()


def check_the_others(world: World, channel: str) -> None:
    """Every other alert reached the channel once, within seconds, and its ledger says sent."""
    delays, states = world.delays(channel), world.states(channel)
    assert {account_id: len(world.told[channel][account_id]) for account_id in OTHERS} == dict.fromkeys(OTHERS, 1)
    assert max(delays[account_id] for account_id in OTHERS) < SECONDS
    assert {account_id: states[account_id] for account_id in OTHERS} == dict.fromkeys(OTHERS, "sent")


def faulty_for(account_id: str, good: Callable[..., Any]) -> Callable[..., Any]:
    """A renderer that has a fault with one account."""

    def rendered(alert: Any, *arguments: Any) -> Any:
        if alert.account_id == account_id:
            raise RecursionError(account_id)
        return good(alert, *arguments)

    return rendered


# --- one poisoned alert -----------------------------------------------------------------------------------------------


def refused(world: World) -> None:
    """Slack refuses everything about the account."""
    world.slack.refuse_containing(POISONED, "invalid_payload")


def damaged_alert(world: World) -> None:
    """Somebody changed the alert in the table."""
    world.change(POISONED, "ALERT#", severity={"S": "purple"}, facts={"N": "1"})


def damaged_ledger(world: World) -> None:
    """Somebody changed both ledgers in the table."""
    for channel in world.pollers:
        world.change(POISONED, f"DELIVERY#{channel}#", state={"S": "perhaps"})


@pytest.mark.parametrize("trouble", [damaged_alert, damaged_ledger])
def test_a_damaged_alert_holds_up_nothing(world: World, trouble: Callable[[World], None]) -> None:
    """What cannot be read is a dead letter with its key, never sent, and the alerts behind it arrive within seconds."""
    poison(world, trouble)
    letters = [json.loads(body) for body in world.messages(world.dead_letters)]
    ledgers = [each for each in world.items("DELIVERY#") if each["account_id"]["S"] == POISONED]
    assert sorted(letter["sk"] for letter in letters) == sorted(each["sk"]["S"] for each in ledgers)
    for channel in world.pollers:
        check_the_others(world, channel)
        assert world.told[channel][POISONED] == []
    assert all(each["state"]["S"] != "sent" for each in ledgers)


def test_an_alert_that_slack_refuses_holds_up_nothing(world: World) -> None:
    """What Slack refuses in every form is a dead letter, and everything else arrives within seconds, on SNS too."""
    poison(world, refused)
    [letter] = world.messages(world.dead_letters)
    assert "DELIVERY#slack#" in letter
    assert world.states("slack")[POISONED] == "failed"
    assert world.states("sns")[POISONED] == "sent"
    check_the_others(world, "slack")
    check_the_others(world, "sns")


def test_an_alert_that_cannot_be_rendered_holds_up_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours in rendering costs neither the alert, which arrives in a plainer form, nor those behind it."""
    for module, names in ((slack, ("payload", "plain_payload")), (sns, ("publish_arguments",))):
        for name in names:
            monkeypatch.setattr(module, name, faulty_for(POISONED, getattr(module, name)))
    poison(world, lambda _world: None)
    for channel in world.pollers:
        check_the_others(world, channel)
        assert len(world.told[channel][POISONED]) == 1
        assert world.states(channel)[POISONED] == "sent"
        [ledger] = world.ledgers(channel)[POISONED]
        assert "RecursionError" in str(ledger["attempts"])
    assert world.messages(world.dead_letters) == []


def test_a_function_that_dies_in_the_middle_loses_nothing(world: World) -> None:
    """When Slack hangs beyond the function's time, Lambda ends it; the alert it died with waits for its lease only."""

    def hang() -> None:
        world.slack_seconds = 70.0

    def heal() -> None:
        world.slack_seconds = 0.1

    for number, account_id in enumerate(OTHERS):
        world.sign_in(account_id, number)
    world.at(3.1, hang)
    world.at(30, heal)
    world.run()
    assert world.states("slack") == dict.fromkeys(OTHERS, "sent")
    assert {account_id: len(told) for account_id, told in world.told["slack"].items()} == dict.fromkeys(OTHERS, 1)
    assert max(world.delays("slack").values()) < 5 * MINUTES
    check_the_others(world, "sns")


# --- Slack is out -----------------------------------------------------------------------------------------------------


def trouble(world: World, since: float, behaviour: Behaviour, seconds: float = 0.1) -> None:
    """Let Slack behave like this from one second on, each call to it taking so many seconds."""

    def begin() -> None:
        world.slack.answer_with(behaviour, retry_after_seconds=30)
        world.slack_seconds = seconds

    world.at(since, begin)


def test_half_an_hour_without_slack_loses_nothing(world: World) -> None:
    """Every alert of an outage arrives once after it, in order; SNS has each within seconds; no dead letter."""
    trouble(world, 1 * MINUTES, Behaviour.REFUSE)
    trouble(world, 8 * MINUTES, Behaviour.SERVER_ERROR)
    trouble(world, 16 * MINUTES, Behaviour.REFUSE, 9.0)  # it hangs: the time of a call until it is given up
    trouble(world, 24 * MINUTES, Behaviour.TOO_MANY_REQUESTS)
    trouble(world, 31 * MINUTES, Behaviour.ACCEPT)
    accounts = [f"55556666{number:04d}" for number in range(8)]
    for number, account_id in enumerate(accounts):
        world.sign_in(account_id, number * 5 * MINUTES)
    world.run()
    assert [len(world.told["slack"][account_id]) for account_id in accounts] == [1] * len(accounts)
    assert list(world.told["slack"]) == accounts
    behind = [world.told["slack"][account_id][0] for account_id in accounts[1:7]]
    assert min(behind) > 31 * MINUTES
    assert max(behind) < 33 * MINUTES
    assert world.states("slack") == dict.fromkeys(accounts, "sent")
    assert len(world.delays("sns")) == len(accounts)
    assert max(world.delays("sns").values()) < SECONDS
    assert world.messages(world.dead_letters) == []
    told = str(world.ledgers("slack")[accounts[1]][0]["attempts"])
    for words in ("out of reach", "500", "too many messages"):
        assert words in told


def test_what_is_given_up_is_a_dead_letter_and_not_sent(world: World) -> None:
    """After an hour of outage the stream goes on without the oldest: each is sent, or failed with its place as a dead
    letter; later alerts arrive, and SNS has them all.
    """
    trouble(world, 0, Behaviour.REFUSE)
    trouble(world, 75 * MINUTES, Behaviour.ACCEPT)
    accounts = [f"77778888{number:04d}" for number in range(8)]
    for number, account_id in enumerate(accounts):
        world.sign_in(account_id, number * 12 * MINUTES + 1)
    world.run()
    states = world.states("slack")
    given_up = [account_id for account_id in accounts if not world.told["slack"][account_id]]
    assert accounts[0] in given_up
    assert accounts[-1] not in given_up
    for account_id in accounts:
        assert states[account_id] == ("failed" if account_id in given_up else "sent")
        assert len(world.told["slack"][account_id]) == (0 if account_id in given_up else 1)
    letters = [json.loads(body) for body in world.messages(world.dead_letters)]
    assert sum(letter["DDBStreamBatchInfo"]["batchSize"] for letter in letters) == len(given_up)
    assert all(letter["requestContext"]["condition"] == "RecordAgeExceeded" for letter in letters)
    assert max(world.delays("sns").values()) < SECONDS
    assert len(world.delays("sns")) == len(accounts)
