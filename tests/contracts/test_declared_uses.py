"""What is declared stays as it was declared, on either table, and is found for the moments that it can matter to."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from rootwatch.audit.items import declared_end_item, declared_item, declared_key, head_key
from rootwatch.audit.store import MOST_DECLARED, AuditStore
from rootwatch.audit.table import Put, Table
from rootwatch.context.declared_use import DeclaredUse
from rootwatch.errors import DeclarationError, StoreConflictError
from tests.unit.test_declared_use import ALICE, FROM, TO, declare
from tests.unit.workbench import ACCOUNT

DAY = timedelta(days=1)


@pytest.fixture
def store(table: Table) -> AuditStore:
    """The store on each of the two tables in turn."""
    return AuditStore(table)


def of_day(day: datetime, **changes: object) -> DeclaredUse:
    """A declaration that begins then and lasts half an hour."""
    return declare(**({"from_at": day, "to_at": day + timedelta(minutes=30), "declared_at": day - DAY} | changes))


def test_what_was_declared_is_found_again(store: AuditStore) -> None:
    """A declaration comes back as it was, in its own account only."""
    store.declare(declare())
    assert store.declared_uses(ACCOUNT, FROM).uses == (declare(),)
    assert store.declared_uses("444455556666", FROM).uses == ()
    assert store.declared_uses(ACCOUNT).uses == ()


def test_only_what_can_matter_is_read(store: AuditStore) -> None:
    """31 days before and after a moment are enough; several moments of a backlog are read at once, each one once."""
    days = (-32, -31, -1, 0, 31, 32, 90)
    for n in days:
        store.declare(of_day(FROM + n * DAY))
    assert [(use.from_at - FROM).days for use in store.declared_uses(ACCOUNT, FROM).uses] == [-31, -1, 0, 31]
    moments = (FROM + 90 * DAY, FROM, FROM + DAY)
    assert [(use.from_at - FROM).days for use in store.declared_uses(ACCOUNT, *moments).uses] == [
        -31,
        -1,
        0,
        31,
        32,
        90,
    ]
    assert len(store.every_declared_use(ACCOUNT).uses) == len(days)


@pytest.mark.parametrize("moment", [datetime.min.replace(tzinfo=FROM.tzinfo), datetime.max.replace(tzinfo=FROM.tzinfo)])
def test_the_ends_of_time_are_moments_too(store: AuditStore, moment: datetime) -> None:
    """A record of the year 1 or 9999 reads the declarations around it, which there are none of."""
    store.declare(declare())
    assert store.declared_uses(ACCOUNT, moment).uses == ()


def test_nothing_declared_is_written_again(store: AuditStore, table: Table) -> None:
    """The same declaration twice is a conflict; ending it leaves its item as it was; nobody ends it a second time."""
    declared = declare()
    store.declare(declared)
    with pytest.raises(StoreConflictError):
        store.declare(declared)
    ended = store.end_declared_use(declared, by=ALICE, at=FROM + timedelta(minutes=5))
    assert ended == replace(declared, ended_by=ALICE, ended_at=FROM + timedelta(minutes=5))
    with pytest.raises(StoreConflictError):
        store.end_declared_use(declared, by=ALICE, at=TO)
    assert table.get([declared_key(declared)]) == [declared_item(declared)]
    assert store.declared_uses(ACCOUNT, FROM).uses == (ended,)


def test_root_does_not_end_what_was_declared(store: AuditStore) -> None:
    """Nobody ends a declared use as root, and nothing is written of the attempt."""
    store.declare(declare())
    with pytest.raises(DeclarationError):
        store.end_declared_use(declare(), by=f"arn:aws:iam::{ACCOUNT}:root", at=TO)
    assert store.declared_uses(ACCOUNT, FROM).uses == (declare(),)


def test_damage_hides_no_neighbour(store: AuditStore, table: Table) -> None:
    """An altered declaration counts as none and is named; the others are read; an end alone is damage as well."""
    altered, removed = declare(ticket="OPS-2"), declare(ticket="OPS-3")
    store.declare(declare())
    table.write([Put(declared_item(altered) | {"to_at": "2026-12-01T00:00:00Z"})])
    table.write([Put(declared_end_item(replace(removed, ended_by=ALICE, ended_at=TO)))])
    found = store.declared_uses(ACCOUNT, FROM)
    assert found.uses == (declare(),)
    assert found.damaged == tuple(sorted([declared_key(altered).sk, declared_key(removed).sk]))
    assert store.every_declared_use(ACCOUNT) == found


def test_a_flood_of_declarations_is_bounded(store: AuditStore, table: Table) -> None:
    """Whoever fills the table with declarations does not make us read more than a fixed number of them."""
    uses = [declare(ticket=f"OPS-{n}") for n in range(MOST_DECLARED + 10)]
    for start in range(0, len(uses), 100):
        table.write([Put(declared_item(use)) for use in uses[start : start + 100]])
    assert len(store.declared_uses(ACCOUNT, FROM).uses) == MOST_DECLARED
    assert len(store.every_declared_use(ACCOUNT).uses) == len(uses)


def test_they_stand_beside_the_head(store: AuditStore, table: Table) -> None:
    """A declaration lies in its account's partition, and the account is known by it."""
    store.declare(declare())
    assert [item["sk"] for item in table.query(head_key(ACCOUNT).pk)] == [declared_key(declare()).sk]
    assert store.accounts() == {ACCOUNT: []}
