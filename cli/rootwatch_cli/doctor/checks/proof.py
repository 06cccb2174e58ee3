"""Canary and heartbeat: what proves that silence means that nothing happened."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from rootwatch.alert import visible
from rootwatch_cli.doctor.checks.verdict import Verdict, fault, not_checked
from rootwatch_cli.doctor.deployment import Answer, Deployment


def covered(deployment: Deployment) -> Iterator[tuple[str, str, Answer]]:
    """Return account, region and item of each source that the table knows."""
    for item in deployment.answer("dynamodb:Query", "COVERAGE")["Items"]:
        account, _, region = str(item.get("sk", "")).partition("#")
        yield account, region, item


PROVEN_EVERY: Final = timedelta(hours=2)
"""Heartbeat and canary come every hour; one that is missed may still be late, two are not."""


def _moments(item: Answer, *names: str) -> Iterator[datetime]:
    for name, value in item.items():
        if not isinstance(value, str) or (names and not any(each in name for each in names)):
            continue
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            continue
        yield moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _is_built(deployment: Deployment, word: str) -> bool:
    return any(word in logical_id for logical_id in deployment.template.get("Resources", {}))


_NOT_BUILT: Final = "not built into this deployment"


def _age(deployment: Deployment, what: str, found: Sequence[datetime], proves: str) -> Iterator[Verdict]:
    mend = "look at the log of the function watchdog, and at what the other checks name"
    if not found:
        yield fault(f"no {what} ever came back: nothing proves {proves}", mend)
    elif deployment.now - max(found) > PROVEN_EVERY:
        hours = (deployment.now - max(found)) / timedelta(hours=1)
        yield fault(f"the last {what} came back {hours:.1f} hours ago: since then nothing proves {proves}", mend)


def canary(deployment: Deployment, _: None) -> Iterator[Verdict]:
    """Look when the canary came back last."""
    items = deployment.answer("dynamodb:Query", "CANARY")["Items"]
    if not items and not _is_built(deployment, "Canary"):
        yield not_checked(f"the canary is {_NOT_BUILT}: nothing proves the way from the rule to the channels")
        return
    found = [moment for item in items for moment in _moments(item)]
    yield from _age(deployment, "canary", found, "the way from the rule to the channels")


def heartbeat(deployment: Deployment, _: None) -> Iterator[Verdict]:
    """Look when each source's heartbeat came last."""
    sources = list(covered(deployment))
    if not sources and not _is_built(deployment, "Heartbeat"):
        yield not_checked(f"the heartbeat is {_NOT_BUILT}: nothing proves that CloudTrail's records still arrive")
        return
    for account, region, item in sources or [(deployment.account_id, deployment.region, {})]:
        found = list(_moments(item, "heartbeat"))
        place = f"heartbeat of account {visible(account, 40)} in {visible(region, 40)}"
        yield from _age(deployment, place, found, "that its records arrive")
