"""Canary and heartbeat: what proves that silence means that nothing happened."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rootwatch.alert import visible
from rootwatch_cli.doctor.checks.verdict import State, Verdict, fault, not_checked, rootwatch_command
from rootwatch_cli.doctor.deployment import Answer, Deployment

PROVEN_EVERY: Final = timedelta(hours=2)
"""Heartbeat and canary come every hour; one that is missed may still be late, two are not."""
MOST_NAMED: Final = 20
"""Silent places that are told one by one: where a whole organization is silent, one cause has thousands."""
_MEND: Final = "look at the log of the function watchdog, and at what the other checks name"


def covered(deployment: Deployment) -> Iterator[tuple[str, str, Answer]]:
    """Yield account, region and item of each source that the table knows and somebody waits for."""
    for item in deployment.answer("dynamodb:Query", "COVERAGE")["Items"]:
        account, _, region = str(item["sk"]).partition("#")
        if not item.get("retired_at"):
            yield account, region, item


def canary(deployment: Deployment, _: None) -> Iterator[Verdict]:
    """Look when the canary last came through, from the rule to every channel."""
    states = [each for each in deployment.answer("dynamodb:Query", "WATCHDOG")["Items"] if each["sk"] == "PROOF"]
    sending = states[0].get("sendings", {}).get("canary", {}) if states else {}
    if not sending and not _is_built(deployment, "Canary"):
        yield not_checked("the canary is not built into this deployment: nothing proves the way to the channels")
        return
    proves = "the way from the rule to the channels"
    since = _moment(sending, "since") or _created(deployment)
    yield from _age(deployment, "canary", _moment(sending, "proven_at"), since, proves)


def heartbeat(deployment: Deployment, _: None) -> Iterator[Verdict]:
    """Look when each source's heartbeat came last: of this stack by CloudTrail, of others by what they forward."""
    places = {(account, region): item for account, region, item in covered(deployment)}
    if not places and not _is_built(deployment, "Heartbeat"):
        yield not_checked("the heartbeat is not built into this deployment: nothing proves that records still arrive")
        return
    places.setdefault((deployment.account_id, deployment.region), {})
    faults = 0
    for (account, region), item in sorted(places.items(), key=lambda place: place[0]):
        for verdict in _of_place(deployment, account, region, item):
            faults += verdict.state is State.FAULT
            if verdict.state is not State.FAULT or faults <= MOST_NAMED:
                yield verdict
    if faults > MOST_NAMED:
        more = f"{faults - MOST_NAMED} more accounts or regions are silent"
        yield fault(more, f"{rootwatch_command(deployment, 'coverage')} lists all of them")


def _of_place(deployment: Deployment, account: str, region: str, item: Answer) -> Iterator[Verdict]:
    shown = f"account {visible(account, 40)} in {visible(region, 40)}"
    is_hub = (account, region) == (deployment.account_id, deployment.region)
    try:
        last, first = _moment(item, "heartbeat_at"), _moment(item, "first_at")
    except (TypeError, ValueError):  # it must not keep the others from being told
        yield not_checked(f"what the table knows of {shown} was changed; rootwatch coverage says what")
        return
    if is_hub:
        first = first or _created(deployment)
    for verdict in _age(deployment, f"heartbeat of {shown}", last, first, "that its records arrive"):
        is_elsewhere = verdict.mend and not is_hub
        yield replace(verdict, mend=_mend_forwarder(deployment, account, region)) if is_elsewhere else verdict


def _mend_forwarder(deployment: Deployment, account: str, region: str) -> str:
    place = f"{visible(account, 40)}/{visible(region, 40)}"
    retire = rootwatch_command(deployment, "coverage", "--retire", place)
    again = "look up in its CloudTrail who changed what, and deploy template-forward.yaml there again"
    return f"{again} (docs/organization.md); if it is gone for good: {retire}"


def _is_built(deployment: Deployment, word: str) -> bool:
    return any(word in logical_id for logical_id in deployment.template.get("Resources", {}))


def _age(
    deployment: Deployment, what: str, last: datetime | None, first: datetime | None, proves: str
) -> Iterator[Verdict]:
    """Judge the age of what came last; until something has come, it is waited for from `first` on."""
    if last is not None and deployment.now - last <= PROVEN_EVERY:
        return
    if last is not None:
        hours = (deployment.now - last) / timedelta(hours=1)
        yield fault(f"the last {what} came back {hours:.1f} hours ago: since then nothing proves {proves}", _MEND)
    elif first is not None and deployment.now - first <= PROVEN_EVERY:
        yield not_checked(f"the first {what} is still waited for; run doctor again in an hour")
    else:
        yield fault(f"no {what} ever came back: nothing proves {proves}", _MEND)


def _created(deployment: Deployment) -> datetime | None:
    """Return when the stack was made: from then on its first signs are waited for, also before its watchdog ran."""
    created = deployment.stack.get("CreationTime")
    return created if isinstance(created, datetime) else None


def _moment(item: Mapping[str, Any], name: str) -> datetime | None:
    value = item.get(name)
    if value is None:
        return None
    moment = datetime.fromisoformat(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
