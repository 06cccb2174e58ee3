"""The chain of an incident's steps: as it is written it holds, and whatever is done to a step is found."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootwatch.audit.items import STEP_PREFIX, incident_item, incident_key, step_item
from rootwatch.audit.steps import StepsReport, verify_steps
from rootwatch.audit.table import Item, Put, key_of
from rootwatch.incident import Incident, TriageState
from rootwatch.triage import Action
from tests.contracts.test_store import _remove
from tests.unit.test_triage import SAM, Bench, asked_at
from tests.unit.workbench import ACCOUNT

OF_CHAIN = {"chain", "steps_chain"}


def played() -> tuple[Bench, Incident]:
    """An incident that was escalated, acknowledged, noted and resolved: four steps."""
    bench = Bench()
    incident = bench.record()
    asked_at(bench, incident, 6)
    bench.do(incident, Action.ACKNOWLEDGE)
    bench.do(incident, Action.NOTE, SAM, note="called the custodian")
    return bench, bench.resolve(incident)


def steps_of(bench: Bench, incident: Incident) -> list[Item]:
    """The items of its steps, by their number."""
    return [item for item in bench.store.incident_items(incident.id) if key_of(item).sk.startswith(STEP_PREFIX)]


def found(bench: Bench, incident: Incident) -> str:
    """What verifying it finds, in one text."""
    return "; ".join(bench.store.verify_steps(incident.id).faults)


def write(bench: Bench, item: Item, **changes: Any) -> None:
    """Write an item over what is there, as whoever may write the table could."""
    bench.table.write([Put({**item, **changes})])


def test_what_was_answered_holds() -> None:
    """Steps of people and of the watchdog are one chain, whose last value stands on the incident; also after news."""
    bench, incident = played()
    assert bench.store.verify_steps(incident.id) == StepsReport(incident.id, ACCOUNT, 4, ())
    assert bench.incident(incident.id).triage.chain == bench.store.steps(incident.id)[-1].chain
    bench.now += timedelta(minutes=1)
    bench.record("logging_tampered")
    bench.do(incident, Action.SUSPECT)
    assert found(bench, incident) == ""


def _lose(which: int) -> Callable[[Bench, Incident], None]:
    return lambda bench, incident: _remove(bench.table, key_of(steps_of(bench, incident)[which - 1]))


def _alter(which: int, /, **changes: Any) -> Callable[[Bench, Incident], None]:
    return lambda bench, incident: write(bench, steps_of(bench, incident)[which - 1], **changes)


def _renumber(bench: Bench, incident: Incident) -> None:
    """Drop the note, and let the last step take its number and its place, with the count one less."""
    items = steps_of(bench, incident)
    *_, last = bench.store.steps(incident.id)
    for item in items[2:]:
        _remove(bench.table, key_of(item))
    write(bench, step_item(replace(last, number=3)))
    stands = bench.incident(incident.id)
    write(bench, incident_item(replace(stands, triage=replace(stands.triage, steps=3))))


def _swap(bench: Bench, incident: Incident) -> None:
    """Put two steps in each other's place."""
    one, other = steps_of(bench, incident)[1:3]
    keys = [{name: item[name] for name in ("sk", "at", "number")} for item in (one, other)]
    write(bench, one, **keys[1])
    write(bench, other, **keys[0])


def _from_another_incident(bench: Bench, incident: Incident) -> None:
    """Put the acknowledgement of another incident, second step of it as well, in the place of this one's."""
    bench.now += timedelta(hours=2)
    other = bench.record()
    assert other.id != incident.id
    asked_at(bench, other, 6)
    bench.do(other, Action.ACKNOWLEDGE, SAM)
    mine, theirs = steps_of(bench, incident)[1], steps_of(bench, other)[1]
    write(bench, theirs, **{name: mine[name] for name in ("pk", "sk", "incident_id", "at")})


def _set_back(bench: Bench, incident: Incident) -> None:
    """Let the incident count as many steps as are left after the last one was dropped."""
    _lose(4)(bench, incident)
    stands = bench.incident(incident.id)
    write(bench, incident_item(replace(stands, triage=replace(stands.triage, steps=3))))


def _state(**changes: Any) -> Callable[[Bench, Incident], None]:
    def tamper(bench: Bench, incident: Incident) -> None:
        stands = bench.incident(incident.id)
        write(bench, incident_item(replace(stands, triage=replace(stands.triage, **changes))))

    return tamper


TAMPERING: dict[str, tuple[Callable[[Bench, Incident], None], str]] = {
    "the first step dropped": (_lose(1), "step 1 is missing"),
    "one within dropped": (_lose(3), "step 3 is missing"),
    "the last dropped": (_lose(4), "step 4 is missing"),
    "the last dropped, and the count set back": (_set_back, "chain value is not that of its last step"),
    "a text": (_alter(3, note="said that all is well"), "step 3: its chain value does not follow"),
    "who it was": (_alter(2, by="slack:T1/U9", by_name="mallory"), "step 2: its chain value does not follow"),
    "something put in": (_alter(2, approved=True), "step 2: its chain value does not follow"),
    "bytes put in": (_alter(2, approved=b"x"), "step 2: its chain value does not follow"),
    "its chain value": (_alter(2, chain="f" * 64), "step 2: its chain value does not follow"),
    "its chain value taken out": (_alter(2, chain=""), "step 2 has no chain value, although one before it has"),
    "made to look old": (_alter(4, chain="", schema_version=3), "step 4 has no chain value"),
    "no step any more": (_alter(2, number="two"), "cannot be understood"),
    "a number in place of a text": (_alter(2, chain=7), "cannot be understood"),
    "renumbered": (_renumber, "step 3: its chain value does not follow"),
    "swapped": (_swap, "step 2: its chain value does not follow"),
    "taken from another incident": (_from_another_incident, "step 2: its chain value does not follow"),
    "the count": (_state(steps=3), "it counts 3 steps, and there is a step 4"),
    "the chain value of the incident": (_state(chain="0" * 64), "its chain value is not that of its last step"),
    "the state": (_state(state=TriageState.CLOSED), "it stands as closed by dana, by its steps as expected by dana"),
    "whose it is": (_state(by="mallory"), "it stands as expected by mallory, by its steps as expected by dana"),
    "the incident dropped": (
        lambda bench, incident: _remove(bench.table, incident_key(incident.id)),
        "the incident is gone",
    ),
    "the incident damaged": (
        lambda bench, incident: write(bench, incident_item(incident), triage="x"),
        "cannot be understood",
    ),
}


@pytest.mark.parametrize("name", TAMPERING)
def test_what_is_done_to_steps_is_found(name: str) -> None:
    """A step that is dropped, altered, renumbered, swapped or taken from elsewhere is named, with its incident."""
    bench, incident = played()
    tamper, words = TAMPERING[name]
    tamper(bench, incident)
    faults = bench.store.verify_steps(incident.id).faults
    assert any(words in fault for fault in faults), faults
    assert all(fault.startswith(f"incident {incident.id}: ") for fault in faults)


@given(data=st.data())
def test_no_attribute_can_be_changed(data: st.DataObject) -> None:
    """Whatever attribute of whatever step is changed or taken away: something is found."""
    items = list(_PLAYED[0].store.incident_items(_PLAYED[1].id))
    places = [place for place, item in enumerate(items) if key_of(item).sk.startswith(STEP_PREFIX)]
    place = data.draw(st.sampled_from(places))
    name = data.draw(st.sampled_from(sorted(items[place].keys() - {"pk", "sk"})))
    changed = dict(items[place])
    value = data.draw(st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just(_GONE))
    if value is _GONE:
        del changed[name]
    elif (type(value), value) == (type(changed[name]), changed[name]):
        return
    else:
        changed[name] = value  # type: ignore[assignment] # any of them
    items[place] = changed
    assert verify_steps(_PLAYED[1].id, items).faults, (name, value)


_GONE = object()
_PLAYED = played()


def test_steps_of_an_older_version_are_read_and_counted() -> None:
    """Steps without a chain value are no fault, whatever was answered after them; one that is missing is."""
    bench, incident = played()
    for item in list(bench.store.incident_items(incident.id)):
        if key_of(item).sk == "INCIDENT" or key_of(item).sk.startswith(STEP_PREFIX):
            old = {name: value for name, value in item.items() if name not in OF_CHAIN} | {"schema_version": 3}
            bench.table.write([Put(old)])
    assert found(bench, incident) == ""
    assert [step.kind for step in bench.store.steps(incident.id)] == ["escalated", "acknowledged", "noted", "resolved"]
    bench.do(incident, Action.SUSPECT)
    *_, last = bench.store.steps(incident.id)
    assert (last.number, len(last.chain), bench.incident(incident.id).triage.chain) == (5, 64, last.chain)
    assert found(bench, incident) == ""
    _lose(2)(bench, incident)
    assert found(bench, incident) == f"incident {incident.id}: step 2 is missing"


def test_a_flood_of_gaps_is_a_line_each() -> None:
    """Numbers far apart are named as ranges, not one by one."""
    bench, incident = played()
    *_, last = bench.store.steps(incident.id)
    write(bench, step_item(replace(last, number=999_999)))
    assert "steps 5 to 999998 are missing" in found(bench, incident)
