"""Triage on the two tables: many people at once, one winner."""

import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from rootwatch.audit.items import incident_item
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Item, Key, Put, Table
from rootwatch.incident import TriageState
from rootwatch.pipeline import detect_messages
from rootwatch.triage import Action, Answer, Desk, Person, Request, answer
from tests.builders import build_envelope
from tests.unit.workbench import ACCOUNT, NOW, make_message, make_recorder

PRESSES = 50


class Crowd:
    """A table on which everybody has read the account before anybody writes.

    The lock makes one write one act, as DynamoDB's transactions are; moto's, which run in threads of ours, are not.
    """

    def __init__(self, table: Table, people: int) -> None:
        self._table = table
        self._lock = threading.Lock()
        self._barrier = threading.Barrier(people)
        self._waited = threading.local()
        self.refused = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._table, name)

    def get(self, keys: Sequence[Key]) -> list[Item | None]:
        """Read, one at a time."""
        with self._lock:
            return self._table.get(keys)

    def write(self, puts: Sequence[Put]) -> None:
        """Write, the first time when all others are about to."""
        if not getattr(self._waited, "once", False):
            self._waited.once = True
            self._barrier.wait(60)
        with self._lock:
            self._table.write(puts)


@pytest.mark.parametrize("actions", [[Action.ACKNOWLEDGE], [Action.ACKNOWLEDGE, Action.SUSPECT, Action.RESOLVE]])
def test_fifty_presses_at_once(table: Table, actions: list[Action]) -> None:
    """Fifty people answer what they saw at the same moment: one of them wins, 49 are told who it was, and the table has
    one step, one move, and a head that was bumped once.
    """
    detect_messages([make_message(build_envelope("console_login_without_mfa"))], make_recorder(table))
    store = AuditStore(table)
    [incident] = [each for _, each in store.incidents(store.open_incidents()) if not isinstance(each, Exception)]
    version = store.read_account(ACCOUNT, (), NOW).version
    crowd = AuditStore(Crowd(table, PRESSES))  # type: ignore[arg-type] # the rest of it is the table's own
    desk = Desk(crowd, lambda: NOW + timedelta(minutes=1), lambda _attempt: None)

    def press(number: int) -> Answer:
        person = Person(f"slack:T1/U{number}", f"person-{number}", "slack")
        action = actions[number % len(actions)]
        return answer(desk, Request(incident.id, action, person, reason="because", ticket="OPS-1", seen=0))

    with ThreadPoolExecutor(PRESSES) as people:
        answers = list(people.map(press, range(PRESSES)))

    assert Counter(each.done for each in answers) == {True: 1, False: PRESSES - 1}
    [step] = store.steps(incident.id)
    told = {each.words for each in answers if not each.done}
    assert all(step.by_name in words for words in told)
    after = store.incident(incident.id)
    assert after is not None
    assert (after.triage.state, after.triage.by, after.triage.moves) == (step.after, step.by_name, 1)
    assert after.triage.state is not TriageState.OPEN
    assert store.verify_steps(incident.id).faults == ()
    assert store.read_account(ACCOUNT, (), NOW).version == version + 1


def test_steps_are_never_written_twice(table: Table) -> None:
    """A second step under the key of the first is refused as a conflict, and the first stays as it is."""
    detect_messages([make_message(build_envelope("console_login_without_mfa"))], make_recorder(table))
    store = AuditStore(table)
    [incident_id] = store.open_incidents()
    desk = Desk(store, lambda: NOW, lambda _attempt: None)
    assert answer(desk, Request(incident_id, Action.ACKNOWLEDGE, Person("arn:one", "one", "aws"))).done
    incident = store.incident(incident_id)
    assert incident is not None
    # Somebody puts the counter of steps back: the next step would take the place of the first.
    altered = replace(incident, triage=replace(incident.triage, steps=0))
    before = store.read_account(ACCOUNT, (), NOW)
    table.write([Put(incident_item(altered))])
    with pytest.raises(Exception, match=r"changed meanwhile|there already"):
        answer(desk, Request(incident_id, Action.NOTE, Person("arn:two", "two", "aws"), note="over it"))
    [step] = store.steps(incident_id)
    assert step.by == "arn:one"
    assert store.read_account(ACCOUNT, (), NOW).version == before.version


def test_a_request_is_first_once(table: Table) -> None:
    """A signed request is new once, also around midnight; another one is new, too, if its hash begins alike even."""
    store = AuditStore(table)
    late = NOW.replace(hour=23, minute=59)
    assert store.is_first("a" * 64, late)
    assert not store.is_first("a" * 64, late)
    assert not store.is_first("a" * 64, late + timedelta(minutes=11))  # longer than any signature holds
    assert store.is_first("b" * 64, late)
    assert store.is_first("aaab" + "a" * 60, late)
    assert not store.is_first("a" * 64, late)


def test_requests_are_not_remembered_for_ever(table: Table) -> None:
    """What came more than an hour ago is forgotten where something else is remembered, so that nothing grows."""
    store = AuditStore(table)
    for number in range(30):
        assert store.is_first(f"aaa{number:061x}", NOW + timedelta(minutes=10 * number))
    [item] = [*table.query("REQUEST#aaa")]
    seen = item["seen"]
    assert isinstance(seen, dict)
    assert len(seen) == 6
    assert store.is_first("aaa" + "0" * 61, NOW + timedelta(hours=6))


def test_the_same_request_at_once_is_first_once(table: Table) -> None:
    """Of the same request that comes ten times in the same moment one is the first; ten others beside it all are."""
    crowd = AuditStore(Crowd(table, 10))  # type: ignore[arg-type] # the rest of it is the table's own
    with ThreadPoolExecutor(10) as people:
        same = list(people.map(lambda _number: crowd.is_first("c" * 64, NOW), range(10)))
    assert Counter(same) == {True: 1, False: 9}
    others = [f"ddd{number:061x}" for number in range(4)]
    crowd = AuditStore(Crowd(table, 4))  # type: ignore[arg-type] # as above
    with ThreadPoolExecutor(4) as people:
        assert all(people.map(lambda digest: crowd.is_first(digest, NOW), others))
