"""Two processes at one account: who is closed on, dies in the middle or has another clock loses and hides nothing."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rootwatch.audit.items import head_item, incident_item
from rootwatch.audit.store import Changes
from rootwatch.audit.table import MOST_ITEM_BYTES, size_of
from rootwatch.detections.catalogue import CATALOGUE
from rootwatch.detections.detection import Severity
from rootwatch.errors import StoreUnavailableError
from rootwatch.incident import (
    LARGEST_SET,
    LONGEST_ENTRY,
    MOST_CLOSED,
    MOST_GATHERED,
    MOST_LINEAGES,
    MOST_MEMBERS,
    MOST_MOMENTS,
    MOST_NOVELTIES,
    MOST_OPEN,
    MOST_OPEN_OF_OTHERS,
    MOST_TIMES,
    AccountState,
    ClosedIncident,
    GatheredAct,
    Why,
    _entry,
    _has_room,
)
from rootwatch.pipeline import Fate, run_timers
from tests.unit.simulation import START, ListeningStore, Simulation, naming
from tests.unit.test_adversaries import HOME, administrator_at_work, grant, told
from tests.unit.workbench import ACCOUNT, NOW, fold_all, make_observation


@pytest.fixture
def simulation() -> Simulation:
    """A deployment with nothing in it yet."""
    return Simulation()


class InterruptedStore(ListeningStore):
    """A store that does something once, before or after a write."""

    before: Callable[[], object] | None = None
    after: Callable[[], object] | None = None

    def write_account(self, changes: Changes, now: datetime, channels: Sequence[str]) -> None:
        """Do what is to be done before, write, and do what is to be done after."""
        act, self.before = self.before, None
        if act is not None:
            act()
        super().write_account(changes, now, channels)
        act, self.after = self.after, None
        if act is not None:
            act()


def interrupted(simulation: Simulation) -> InterruptedStore:
    """The simulation's store, for one interruption."""
    store = InterruptedStore(simulation.table)
    store.alerts = simulation.store.alerts
    simulation.store = store
    simulation.recorder = replace(simulation.recorder, store=store)
    return store


def test_an_incident_that_closes_between_reading_and_writing(simulation: Simulation) -> None:
    """The watchdog ends the incident while detect works on it: the act is told, and no closed incident grows unseen."""
    own = administrator_at_work(simulation, minutes=2) | {"sourceIPAddress": HOME}
    envelope = simulation.record("logging_tampered", requestParameters={"name": "payments"}, **own)
    simulation.clock.move_to(simulation.clock() + timedelta(minutes=61))
    store = interrupted(simulation)
    store.before = lambda: run_timers(ACCOUNT, simulation.recorder)

    alerts = simulation.deliver([envelope], delay=timedelta(seconds=2))

    assert [alert.kind for alert in alerts[:1]] == ["summary"]
    told(alerts, "StopLogging", "payments", severity=Severity.CRITICAL, why="reopened")
    [incident] = simulation.incidents()
    assert incident.open
    simulation.run_out()
    simulation.check_counts()
    simulation.check_chains()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_process_that_dies_with_something_gathered(simulation: Simulation, when: str) -> None:
    """What waits to be told survives a detect, or a watchdog, that dies around its write, and is told once."""
    own = administrator_at_work(simulation, minutes=2) | {"sourceIPAddress": HOME}
    simulation.deliver([grant(simulation, "mallory", **own)])
    second = grant(simulation, "trudy", **own)
    store = interrupted(simulation)

    def die() -> None:
        message = "the process is gone"
        raise StoreUnavailableError(message)

    setattr(store, when, die)
    with pytest.raises(AssertionError, match="the process is gone"):
        simulation.deliver([second])  # the queue keeps it
    simulation.deliver([second])
    assert simulation.fates[-1] is (Fate.RECORDED if when == "before" else Fate.DUPLICATE)
    simulation.clock.move_to(simulation.clock() + timedelta(minutes=6))
    setattr(store, when, die)
    with pytest.raises(StoreUnavailableError):
        run_timers(ACCOUNT, simulation.recorder)
    simulation.run_for(minutes=2)

    [alert] = naming(store.alerts if when == "before" else written(simulation), "AttachUserPolicy", "trudy")
    assert alert.severity is Severity.CRITICAL
    simulation.check_chains()


def written(simulation: Simulation) -> list[Any]:
    """The alerts in the table: one that was written before its process died was heard of by nobody else."""
    keys = [(str(item["incident_id"]), int(str(item["number"]))) for item in simulation.items("INCIDENT#", "ALERT#")]
    return [simulation.store.alert(incident_id, number) for incident_id, number in keys]


@pytest.mark.parametrize("minutes", [-10, -4, 4, 10])
def test_clocks_that_differ(simulation: Simulation, minutes: int) -> None:
    """A watchdog whose clock is minutes off tells what was gathered, ends each incident once and no more than that."""
    own = administrator_at_work(simulation, minutes=2) | {"sourceIPAddress": HOME}
    other = replace(simulation.recorder, now=lambda: simulation.clock() + timedelta(minutes=minutes))
    names = [f"backdoor-{number}-end" for number in range(8)]
    for name in names:
        simulation.deliver([grant(simulation, name, **own)])
        run_timers(ACCOUNT, other)
        simulation.run_for(minutes=1)
    for _ in range(120):
        simulation.clock.move_to(simulation.clock() + timedelta(minutes=1))
        run_timers(ACCOUNT, other)

    for name in names:
        assert len(naming(simulation.alerts, "AttachUserPolicy", name)) == 1
    assert sum(alert.kind == "summary" for alert in simulation.alerts) == 1
    assert len(simulation.alerts) <= 2 + len(names)
    simulation.check_counts()


def test_a_full_incident_and_a_full_head_fit_their_items() -> None:
    """With every set full, and every entry as long as it may be, an incident stays under 400 KB and HEAD under 2 KB."""
    entries = tuple(f"{number:04}{'x' * LONGEST_ENTRY}"[:LONGEST_ENTRY] for number in range(MOST_MEMBERS))
    some = entries[:LARGEST_SET]
    stem = max((detection.stem for detection in CATALOGUE), key=len)
    novelties = tuple(f"others {stem} critical:{number:010}" for number in range(MOST_NOVELTIES + len(CATALOGUE) * 6))
    times = (START,) * MOST_TIMES
    act = GatheredAct(
        START, START, some[0], some[0], some[0], some[0], some[0], Severity.CRITICAL,
        tuple(detection.id for detection in CATALOGUE[:10]), tuple(Why), pages=True,
    )  # fmt: skip
    state, _ = fold_all([make_observation("write")])
    full = replace(
        state.incidents[0],
        detections={detection.id: 10**9 for detection in CATALOGUE},
        acts={f"failed {entry}": 10**9 for entry in some} | {"(others)": 10**9},
        regions=some, sources=some, failed_sources=some, lineages=some, clients=some, members=entries,
        novelties=novelties, other_novelties=novelties, failed_novelties=novelties,
        sign_ins=times, failures=times, gathered=(act,) * MOST_GATHERED,
        told={entry[:10] + str(number): START for number, entry in enumerate(some)},
    )  # fmt: skip
    assert size_of(incident_item(full)) < MOST_ITEM_BYTES

    others = ["root", "not-from-cloudtrail", "assumed-session"]
    most_open = MOST_OPEN["assume-root"] + MOST_OPEN_OF_OTHERS * len(others) + 1  # and one of the damage
    moments = (START + timedelta(microseconds=1),) * MOST_MOMENTS
    head = AccountState(
        "x" * LONGEST_ENTRY, 10**9, 10**9, "f" * 64,
        incidents=tuple(replace(full, id=f"20261103-{number:010}") for number in range(most_open)),
        lineages=tuple(entry[:10] for entry in some[:MOST_LINEAGES]),
        sign_ins=moments, failures=moments,
        closed_incidents=(ClosedIncident("20261103-0123456789", moments[0], moments[0]),) * MOST_CLOSED,
    )  # fmt: skip
    assert size_of(head_item(head, NOW)) < 2048


def test_entries_that_begin_alike_stay_apart() -> None:
    """A long address is cut to what an item holds, in bytes, and two of them that begin alike are still two."""
    first, second = ("𐀀" * 300 + last for last in "ab")
    assert _entry(first) != _entry(second)
    assert max(len(_entry(text).encode()) for text in (first, second, "é" * 33, "x" * 65)) <= LONGEST_ENTRY
    assert [_entry(text) for text in ("198.51.100.24", "x" * 64, "é" * 32)] == ["198.51.100.24", "x" * 64, "é" * 32]


def test_a_full_set_of_novelties_still_has_room_for_every_detection() -> None:
    """Where no further target is told by name, a detection that is new always is."""
    full = tuple(f"kind-{number // 25} high:{number:010}" for number in range(MOST_NOVELTIES))
    assert not _has_room(full, "iam_changed critical:0123456789")
    assert _has_room(full, "iam_changed critical")
    assert _has_room(full[:-1], "iam_changed critical:0123456789")
