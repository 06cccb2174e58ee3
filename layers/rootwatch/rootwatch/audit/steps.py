"""The chain of an incident's steps: which of them was dropped, altered, renumbered or moved elsewhere. Pure.

Each step holds `chain`, the SHA-256 of the chain value of the step before it followed by the SHA-256 of its own item
without `chain` as canonical JSON, both in hex; the first one follows 64 zeros. The incident holds how many steps there
are, and the last value. Steps of an older version have no chain value, and are held to their numbers alone.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from rootwatch.alert import shown
from rootwatch.audit.items import STEP_PREFIX, Step, incident_key, incident_of, step_item, step_of
from rootwatch.audit.table import Item, key_of
from rootwatch.errors import DamagedItemError
from rootwatch.incident import GENESIS, Incident, TriageState, next_chain
from rootwatch.record import canonical_json


@dataclass(frozen=True, slots=True)
class StepsReport:
    """What verifying the steps of an incident found: `faults` in words, empty where they are as they were written."""

    incident_id: str
    account_id: str | None
    steps: int
    faults: tuple[str, ...]


def chained(step: Step, previous: str) -> Step:
    """Return a step with its chain value.

    Args:
        step: as it will be written.
        previous: the chain value of the step before it, as its incident has it; empty where there is none.

    """
    plain = replace(step, chain="")
    return replace(step, chain=next_chain(previous or GENESIS, _sha256(step_item(plain))))


def _sha256(item: Item) -> str:
    content = {name: value for name, value in item.items() if name != "chain"}
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def verify_steps(incident_id: str, items: Iterable[Item]) -> StepsReport:
    """Compute the chain of an incident's steps again and compare it with what stands beside them.

    Args:
        incident_id: which incident.
        items: all that its partition holds, read once: a step that was written meanwhile looks like one too many.

    """
    found: Item | None = None
    faults: list[str] = []
    links: dict[int, tuple[Step, Item]] = {}
    count = 0
    for item in items:
        key = key_of(item)
        if key == incident_key(incident_id):
            found = item
        if not key.sk.startswith(STEP_PREFIX):
            continue
        count += 1
        try:
            step = step_of(item)
        except DamagedItemError as error:
            faults.append(f"{key.sk}: {error}")
            continue
        if step.number < 1 or step.number in links:
            faults.append(f"{key.sk}: its number is none or taken")
            continue
        links[step.number] = (step, item)
    faults += _breaks(links)
    account_id = None
    try:
        if found is None:
            faults.append("the incident is gone")
        else:
            incident = incident_of(found)
            account_id = incident.account_id
            faults += _against(incident, [step for _, (step, _) in sorted(links.items())])
    except DamagedItemError as error:
        faults.append(str(error))
    return StepsReport(incident_id, account_id, count, tuple(f"incident {incident_id}: {fault}" for fault in faults))


def _breaks(links: dict[int, tuple[Step, Item]]) -> Iterable[str]:
    """Yield where numbers or chain values do not follow from what is before them."""
    chain, last = "", 0
    for number, (step, item) in sorted(links.items()):
        is_next = number == last + 1
        if not is_next:
            yield _missing(last + 1, number - 1)
        if chain and not step.chain:
            yield f"step {number} has no chain value, although one before it has"
        elif step.chain and is_next and not _follows(step, item, chain):
            yield f"step {number}: its chain value does not follow from what it says and the step before it"
        chain, last = step.chain or chain, number


def _follows(step: Step, item: Item, previous: str) -> bool:
    try:
        return step.chain == next_chain(previous or GENESIS, _sha256(item))
    except TypeError:
        return False  # somebody added an attribute of bytes


def _missing(first: int, last: int) -> str:
    return f"step {first} is missing" if first == last else f"steps {first} to {last} are missing"


def _against(incident: Incident, steps: list[Step]) -> Iterable[str]:
    """Yield in what an incident and its steps, by their number, contradict each other."""
    triage = incident.triage
    last, chain = (steps[-1].number, steps[-1].chain) if steps else (0, "")
    if last < triage.steps:
        yield _missing(last + 1, triage.steps)
        return  # what else does not fit follows from that
    if last > triage.steps:
        yield f"it counts {triage.steps} steps, and there is a step {last}"
    elif chain != triage.chain:
        yield "its chain value is not that of its last step"
    if triage.state is TriageState.OPEN:
        return  # as it began, or since news opened it again
    moves = [step for step in steps if step.after is not step.before]
    says = (moves[-1].after, moves[-1].by_name) if moves else (TriageState.OPEN, "")
    if says != (triage.state, triage.by):
        stands, by_steps = f"{triage.state} by {shown(triage.by, 80)}", f"{says[0]} by {shown(says[1] or 'nobody', 80)}"
        yield f"it stands as {stands}, by its steps as {by_steps}"
