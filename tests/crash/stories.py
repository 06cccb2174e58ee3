"""Small stories that between them make every kind of call that the functions make, and what must hold at the end.

A story is played once for each way of breaking each call, so it is as short as it can be; add a story, or an act, where
a function gains calls that none of them makes.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from rootwatch.alert import standing
from rootwatch.incident import TriageState
from rootwatch_cli.slack_receiver import Behaviour
from tests.builders import build_envelope
from tests.crash.service import POISON, Service, Story
from tests.crash.wire import Fault

PRODUCTION: Final = "111122223333"
AUDIT: Final = "444455556666"


def act(account_id: str, specimen: str, **changes: Any) -> dict[str, Any]:
    """A specimen as an act of an account's root, ten seconds before the stories begin."""
    account: dict[str, Any] = {
        "recipientAccountId": account_id,
        "userIdentity.accountId": account_id,
        "userIdentity.arn": f"arn:aws:iam::{account_id}:root",
        "userIdentity.principalId": account_id,
        "sourceIPAddress": "203.0.113.7",
        "eventTime": "2026-11-03T11:59:50Z",
    }
    return build_envelope(specimen, **(account | changes))


def _records(service: Service) -> None:
    """Two acts of one account and one of another in one batch, and between them what nobody can read."""
    service.send(
        act(PRODUCTION, "console_login_without_mfa"),
        POISON,
        act(PRODUCTION, "access_key_created"),
        act(AUDIT, "console_login"),
    )


def _sign_in(service: Service) -> None:
    service.send(act(PRODUCTION, "console_login_without_mfa"))


def _new_key(service: Service) -> None:
    service.send(act(PRODUCTION, "access_key_created", eventTime="2026-11-03T12:00:05Z"))


def _webhook_is_gone(service: Service) -> None:
    service.slack.answer_with(Behaviour.NO_SERVICE)


def _slack_has_a_fault(service: Service) -> None:
    service.slack.answer_with(Behaviour.SERVER_ERROR)


def _bus_is_whole(service: Service) -> None:
    service.bus_is_whole = True


def _slack_is_well(service: Service) -> None:
    service.slack.answer_with(Behaviour.ACCEPT)


def _acknowledge(service: Service) -> None:
    service.answer("acknowledge", {}, TriageState.ACKNOWLEDGED)


def _resolve(service: Service) -> None:
    service.answer("resolve", {"reason": "MFA device replaced", "ticket": "OPS-1234"}, TriageState.EXPECTED)


def _report(service: Service) -> None:
    service.report("2026-11")


STORIES: Final = (
    Story("records of two accounts", [(0, _records)], ("detect", "notify_sns", "notify_slack"), letters=1),
    Story(
        "a thread of a bot",
        [(0, _sign_in), (10, _new_key)],
        ("notify_slack",),
        channels=("slack",),
        bot=True,
    ),
    Story(
        "a webhook that is gone, and comes back",
        [(0, _webhook_is_gone), (0, _sign_in), (60, _slack_is_well)],
        ("notify_slack",),
        minutes=(6,),
        letters=1,
    ),
    Story(
        "streams that are stuck, and Slack in trouble",
        [(0, _slack_has_a_fault), (0, _sign_in), (17 * 60, _slack_is_well)],
        ("watchdog",),
        stuck_until=18,
        minutes=(16, 20),
        ends=True,
    ),
    Story(
        "a canary that does not come through, and one that does",
        [(126 * 60, _bus_is_whole)],
        ("watchdog",),
        minutes=(0, 125, 186, 188, 200),
        probes=True,
        only_writes=True,
    ),
    Story(
        "people answer by buttons and a modal",
        [(0, _sign_in), (30, _acknowledge), (60, _resolve)],
        ("triage",),
        channels=("slack",),
        bot=True,
        answered=(TriageState.EXPECTED, ("acknowledged", "resolved")),
    ),
    Story(
        "the report of a month",
        [(0, _sign_in), (120, _report)],
        ("report",),
        only_writes=True,
        reports="2026-11",
    ),
)


def problems(service: Service, story: Story, fault: Fault | None, clean: "Ending | None") -> list[str]:
    """What does not hold at the end of a story, in words; nothing where it is as it must be."""
    found = [f"not seen by the harness: {each}" for each in service.wire.unseen]
    if fault is not None and not service.wire.struck:
        found.append("the call that was to be broken was never made")
    found += [f"the chain is broken: {each}" for each in service.faults_of_chains()]
    found += [f"{name} is stored {times} times" for name, times in service.events().items() if times != 1]
    if service.queue.given_up:
        found.append("a record was given up by the intake queue")
    alerts = service.alerts()
    repeated = 0
    for channel in story.channels:
        told = service.told(channel)
        found += [f"{alert_id} never reached {channel}" for alert_id in alerts.keys() - told.keys()]
        threads = {alert_id for alert_id in told if alert_id.startswith("thread ")}
        found += [
            f"{channel} was told of {each}, which is not stored" for each in told.keys() - alerts.keys() - threads
        ]
        repeated += sum(told.values()) - len(told)
    # Whoever does not hear that a message arrived can only send it again: once for each time.
    most = 0 if fault is None else max(1, service.wire.struck)
    if repeated > most:
        found.append(f"{repeated} messages were repeated")
    for place in ("alerts", "operations", "slack"):
        notices = Counter(service.notices(place))
        found += [f"{place} heard {times} times: {each}" for each, times in notices.items() if times > 1 + most]
        found += [f"{place} never heard the end of: {each}" for each in _open_ends(notices)]
    if story.minutes and service.letters and not any("dead letter" in each for each in service.notices("operations")):
        found.append("nobody was told of the dead letters")
    # Fewer, where the channel was well again before it was asked; but what nobody can read lies nowhere else.
    if len(service.letters) > story.letters + most or service.poisoned > service.letters.count(POISON):
        found.append(f"{len(service.letters)} dead letters instead of {story.letters}")
    found += [*_unanswered(service, story), *_unreported(service, story)]
    if clean is not None:
        ending = Ending(service)
        found += [f"nobody was told of {each}" for each in clean.told - ending.told]
        found += [f"{each} is not stored" for each in clean.stored - ending.stored]
        found += [f"{each} is stored and was never sent" for each in ending.stored - clean.stored]
    return found


_ENDS: Final = {
    "did not arrive": "any more",
    "No canary comes through": "comes through again",
    "not heard for two hours": "not quiet any more",
}
"""In what words a trouble begins and ends; dead letters stay until a person removes them."""


def _open_ends(notices: Iterable[str]) -> list[str]:
    """The troubles that began in these notices and did not end."""
    told = list(notices)
    return [
        began for began, ended in _ENDS.items() if any(began in each for each in told)
        and not any(ended in each for each in told)
    ]  # fmt: skip


def _unanswered(service: Service, story: Story) -> list[str]:
    """What is wrong with the answers of a story: moved once each, steps without a gap, the channel up to date."""
    if story.answered is None:
        return []
    state, kinds = story.answered
    incident, found = service.incident(), []
    if (incident.triage.state, incident.triage.moves) != (state, len(kinds)):
        found.append(f"the incident is {incident.triage.state} after {incident.triage.moves} moves")
    if service.steps() != list(enumerate(kinds, start=1)):
        found.append(f"the steps are {service.steps()}")
    [first, *_] = service.slack.parents
    if standing(incident) not in str(service.slack.current(first.ts)):
        found.append("the message in the channel does not say who answered")
    return found


def _unreported(service: Service, story: Story) -> list[str]:
    """What is wrong with the report of a story: three whole files of one moment, and a summary at both places."""
    if not story.reports:
        return []
    kept = service.objects()
    found = [] if len(kept) == 3 else [f"in the bucket are {sorted(kept)}"]
    if kept != service.reported_again(story.reports):
        found.append("the files are not those of one and the same report")
    deaf = [each for each in ("alerts", "slack") if not any("Root usage in" in told for told in service.notices(each))]
    return found + [f"{place} never heard of the report" for place in deaf]


class Ending:
    """How a story ended: when, which records are stored, of which and of which detections people were told."""

    def __init__(self, service: Service) -> None:
        """Read it off the service."""
        self.seconds = service.clock.monotonic()
        alerts = service.alerts().values()
        self.stored = set(service.events())
        self.told = {
            (alert["account_id"]["S"], each["S"])
            for alert in alerts
            for name in ("event_ids", "detections")
            for each in alert[name]["L"]
        }
