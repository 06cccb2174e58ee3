"""What the command reads of the table: which accounts and months there are, incidents by id, the events of one."""

from datetime import datetime
from typing import Any

import pytest

from rootwatch.audit.items import head_key, incident_key, key_part
from rootwatch.audit.store import MOST_MONTHS, AuditStore, _months
from rootwatch.audit.table import Put, Table
from rootwatch.errors import DamagedItemError
from rootwatch.incident import Incident
from rootwatch.pipeline import Fate, detect_messages
from tests.builders import build_envelope
from tests.contracts.test_store import _remove
from tests.unit.workbench import ACCOUNT, NOW, make_message, make_recorder

OTHER = "444455556666"


@pytest.fixture
def store(table: Table) -> AuditStore:
    """The store on each of the two tables in turn."""
    return AuditStore(table)


def record(table: Table, specimen: str, number: int = 0, /, **changes: Any) -> None:
    """Take one record of a specimen through the whole pipeline; without an eventTime its envelope has none either."""
    envelope = build_envelope(specimen, number=number, **changes)
    if envelope["detail"]["eventTime"] is None:
        del envelope["time"]
    message = make_message(envelope, sent_at=datetime.fromisoformat(str(envelope.get("time", f"{NOW}"))))
    [result] = detect_messages([message], make_recorder(table))
    assert result.fate is Fate.RECORDED


def incident_of(store: AuditStore, account_id: str = ACCOUNT) -> Incident:
    """The account's one open incident."""
    [incident] = store.read_account(account_id, (), NOW).incidents
    return incident


def test_every_account_is_known_with_its_months(store: AuditStore, table: Table) -> None:
    """Accounts are found with all that holds events of theirs, whatever time a record states and whatever its name."""
    for number, time in enumerate(("2026-11-03T08:00:00Z", "2026-12-31T23:59:59Z", "2031-01-01T00:00:00Z")):
        record(table, "write", number, eventTime=time)
    record(table, "write", 3, eventTime=None)
    record(table, "read", 4, recipientAccountId=OTHER)
    table.write([Put({"pk": f"EVENTS#{OTHER}#2026-11#forged", "sk": "S"}), Put({"pk": "COVERAGE", "sk": "S"})])
    assert store.accounts() == {
        ACCOUNT: ["2026-11", "2026-12", "2031-01", "undated"],
        OTHER: ["2026-11", "2026-11#forged"],
    }
    assert store.verify_chain(ACCOUNT, store.accounts()[ACCOUNT]).faults == ()
    assert store.verify_chain(OTHER, store.accounts()[OTHER]).faults != ()


def test_an_account_with_an_odd_name_is_verified_too(store: AuditStore, table: Table) -> None:
    """What is no account number is kept under a name of ours, and found under it."""
    record(table, "write", recipientAccountId="not an account", **{"userIdentity.accountId": None})
    [(account_id, months)] = store.accounts().items()
    assert account_id == key_part(account_id)
    assert store.verify_chain(account_id, months).events == 1


def test_events_are_found_without_their_head(store: AuditStore, table: Table) -> None:
    """An account whose head was removed is known by its events, and its chain has a fault."""
    record(table, "write")
    _remove(table, head_key(ACCOUNT))
    assert store.accounts() == {ACCOUNT: ["2026-11"]}
    assert store.verify_chain(ACCOUNT, ["2026-11"]).faults == ("the head says 0 records, the events say 1",)


def test_incidents_are_read_together_and_damage_stays_alone(store: AuditStore, table: Table) -> None:
    """Each id comes back with its incident; what is gone or altered is an error beside the others."""
    record(table, "write")
    record(table, "write", recipientAccountId=OTHER, **{"userIdentity.accountId": OTHER})
    whole, altered = incident_of(store), incident_of(store, OTHER)
    [item] = table.get([incident_key(altered.id)])
    assert item is not None
    table.write([Put(item | {"severity": "odd"})])
    found = dict(store.incidents(["gone", altered.id, whole.id]))
    assert found[whole.id] == whole
    assert isinstance(found["gone"], DamagedItemError)
    assert isinstance(found[altered.id], DamagedItemError)


def test_the_events_of_an_incident_are_its_own(store: AuditStore, table: Table) -> None:
    """Its events come by time, over the end of a month, those without a time last; another incident's do not."""
    for number, time in enumerate(("2026-11-30T23:30:00.5Z", "2026-11-30T23:30:00Z", "2026-12-01T00:10:00.9Z")):
        record(table, "write", number, eventTime=time)
    incident = incident_of(store)
    record(table, "write", 3, eventTime="2026-11-30T18:00:00Z")
    times = [item["event_time"] for item in store.incident_events(incident)]
    assert sorted(str(time) for time in times) == [
        "2026-11-30T23:30:00.500000Z",
        "2026-11-30T23:30:00Z",
        "2026-12-01T00:10:00.900000Z",
    ]
    assert times[-1] == "2026-12-01T00:10:00.900000Z"


def test_an_event_without_a_time_is_found(store: AuditStore, table: Table) -> None:
    """A record without a time joins the incident by its arrival, and is found with it."""
    record(table, "write", eventTime=f"{NOW:%Y-%m-%dT%H:%M:%SZ}")
    record(table, "write", 1, eventTime=None)
    assert [item["event_time"] for item in store.incident_events(incident_of(store))] == ["2026-11-03T12:00:00Z", None]


def test_months_are_bounded() -> None:
    """The months of a span are all of them, over the end of a year; of a forged span only the first and the last."""
    assert _months(NOW, NOW) == ["2026-11"]
    assert _months(NOW, NOW.replace(year=2027, month=2)) == ["2026-11", "2026-12", "2027-01", "2027-02"]
    forged = _months(NOW.replace(year=1), NOW.replace(year=9999))
    assert len(forged) == MOST_MONTHS
    assert (forged[0], forged[-1]) == ("0001-11", "9999-11")
