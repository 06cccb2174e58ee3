"""The audit store keeps and gives back what it was given, on either table, and finds what somebody changed."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import pytest

from rootwatch.alert import compose
from rootwatch.audit.dynamodb import DynamoTable
from rootwatch.audit.items import (
    Attempt,
    Delivery,
    DeliveryState,
    Told,
    WatchState,
    address_key,
    alert_key,
    cache_key,
    delivery_key,
    event_key,
    head_key,
    incident_key,
    record_of,
    source_key,
    watch_item,
)
from rootwatch.audit.memory import MemoryTable
from rootwatch.audit.store import AuditStore, Changes, Known
from rootwatch.audit.table import Item, Key, Put, Table, Value, key_of
from rootwatch.context.observation import Observation
from rootwatch.context.surroundings import Remembered, Subject
from rootwatch.errors import DamagedItemError, StoreConflictError
from rootwatch.incident import AccountState, fold
from rootwatch.record import canonical_json
from rootwatch.settings import CHANNELS
from tests.unit.workbench import ACCOUNT, IDLE, NOW, make_observation

MONTH = "2026-11"
LOGIN = make_observation("console_login_without_mfa")
KEY_CREATED = make_observation("access_key_created")
READ = make_observation("read")
STORY = (LOGIN, KEY_CREATED, READ)


@pytest.fixture
def store(table: Table) -> AuditStore:
    """The store on each of the two tables in turn."""
    return AuditStore(table)


def _changes(before: AccountState, observations: Sequence[Observation]) -> Changes:
    """What a batch makes of an account."""
    state, events, incidents, alerts = before, [], {}, []
    for observation in observations:
        outcome = fold(state, observation, NOW, idle=IDLE)
        state = outcome.state
        assert outcome.event is not None
        events.append(outcome.event)
        incidents.update({incident.id: incident for incident in outcome.changed})
        alerts += [compose(due) for due in outcome.alerts]
    return Changes([(before, state)], events, list(incidents.values()), alerts)


def _record(store: AuditStore, *observations: Observation) -> Changes:
    """Record a batch and return what was written."""
    changes = _changes(store.read_account(ACCOUNT, observations, NOW), observations)
    store.write_account(changes, NOW, CHANNELS)
    return changes


def _everything(table: Table, changes: Changes) -> list[Item]:
    """Every item that the changes could have written."""
    partitions = [head_key(ACCOUNT).pk, f"EVENTS#{ACCOUNT}#{MONTH}"]
    partitions += [incident_key(incident.id).pk for incident in changes.incidents]
    return [item for pk in partitions for item in table.query(pk)]


class TestAccount:
    """An account comes back as it was written, and only one of two writers writes."""

    def test_an_account_without_a_head_is_at_its_beginning(self, store: AuditStore) -> None:
        """Nothing is known of an account that nobody wrote."""
        assert store.read_account(ACCOUNT, STORY, NOW) == AccountState(ACCOUNT)
        assert store.account_head(ACCOUNT) == (0, AccountState(ACCOUNT).chain)

    def test_roundtrip(self, store: AuditStore) -> None:
        """State, events, incident, alerts and one pending delivery per channel are there as they were folded."""
        changes = _record(store, *STORY)
        assert len(changes.alerts) >= 2
        assert store.read_account(ACCOUNT, STORY, NOW) == replace(changes.accounts[0][1], version=1)
        assert store.account_head(ACCOUNT) == (3, changes.accounts[0][1].chain)
        for incident in changes.incidents:
            assert store.incident(incident.id) == incident
            assert len(list(store.incident_items(incident.id))) == 1 + 3 * incident.alerts
        for alert in changes.alerts:
            assert store.alert(alert.incident_id, alert.number) == alert
            for channel in CHANNELS:
                assert store.delivery(delivery_key(alert.incident_id, channel, alert.number)) == Delivery(
                    alert.incident_id, ACCOUNT, channel, alert.number, due_at=NOW
                )
        stored = {item["event_id"]: item for item in store.event_items(ACCOUNT, MONTH)}
        for event in changes.events:
            item = stored[event.observation.record.event_id]
            assert canonical_json(record_of(item)) == canonical_json(event.observation.record.body)
            assert (item["sequence"], item["chain"]) == (event.sequence, event.chain)
        assert len(stored) == 3

    def test_a_second_batch_goes_on_where_the_first_ended(self, store: AuditStore) -> None:
        """The next batch sees the first one's incident, address and chain."""
        first = _record(store, LOGIN)
        second = _record(store, KEY_CREATED)
        assert second.accounts[0][0] == replace(first.accounts[0][1], version=1)
        assert second.accounts[0][0].sources.keys() == {LOGIN.source.key}
        assert store.read_account(ACCOUNT, (LOGIN,), NOW).version == 2
        assert [incident.id for incident in second.incidents] == [incident.id for incident in first.incidents]

    def test_only_the_addresses_of_the_batch_are_read(self, store: AuditStore) -> None:
        """An address that the batch does not name stays in the table."""
        _record(store, LOGIN)
        elsewhere = make_observation("read", sourceIPAddress="198.51.100.77")
        assert dict(store.read_account(ACCOUNT, (elsewhere,), NOW).sources) == {}

    @pytest.mark.parametrize("written", [(), (LOGIN,), (LOGIN, KEY_CREATED)])
    def test_a_stale_version_is_a_conflict_and_writes_nothing(
        self, store: AuditStore, table: Table, written: tuple[Observation, ...]
    ) -> None:
        """Of two writers that read the same head the second one is told, and leaves no item behind."""
        for observation in written:
            _record(store, observation)
        before = store.read_account(ACCOUNT, STORY, NOW)
        first = _changes(before, (make_observation("write"),))
        second = _changes(before, (make_observation("denied"),))
        store.write_account(first, NOW, CHANNELS)
        held = _everything(table, first), _everything(table, second)
        with pytest.raises(StoreConflictError):
            store.write_account(second, NOW, CHANNELS)
        assert (_everything(table, first), _everything(table, second)) == held

    def test_an_event_is_never_overwritten(self, store: AuditStore, table: Table) -> None:
        """Even with the right version the same record is not written a second time."""
        changes = _record(store, LOGIN)
        held = _everything(table, changes)
        again = _changes(store.read_account(ACCOUNT, (LOGIN,), NOW), (LOGIN,))
        with pytest.raises(StoreConflictError):
            store.write_account(again, NOW, CHANNELS)
        assert _everything(table, changes) == held

    def test_accounts_are_apart(self, store: AuditStore) -> None:
        """A record of one account does nothing to another."""
        _record(store, *STORY)
        other = store.read_account("444455556666", STORY, NOW)
        assert replace(other, addresses={}) == AccountState("444455556666", addresses={})
        assert {each for seen in other.addresses.values() for each in seen.accounts} == {ACCOUNT}


class TestKnown:
    """A record is new, a duplicate, or another one under a used event id."""

    def test_new(self, store: AuditStore) -> None:
        """What is not stored is new, whatever else is."""
        assert store.known([LOGIN])[0] is Known.NEW
        _record(store, KEY_CREATED)
        assert store.known([LOGIN])[0] is Known.NEW

    def test_duplicate(self, store: AuditStore) -> None:
        """The same record, however it arrives, is a duplicate."""
        _record(store, LOGIN)
        assert store.known([LOGIN])[0] is Known.DUPLICATE
        assert store.known([replace(LOGIN, sent_at=None)])[0] is Known.DUPLICATE

    def test_reused(self, store: AuditStore) -> None:
        """The same event id and time with another content is neither new nor a duplicate."""
        _record(store, LOGIN)
        other = make_observation(
            "console_login_without_mfa", eventID=LOGIN.record.event_id, sourceIPAddress="198.51.100.77"
        )
        assert other.record.event_id == LOGIN.record.event_id
        assert store.known([other])[0] is Known.REUSED
        _record(store, replace(other, event_id_reused=True))
        assert store.known([other])[0] is Known.DUPLICATE
        assert store.known([LOGIN])[0] is Known.DUPLICATE

    def test_records_without_an_event_id(self, store: AuditStore) -> None:
        """Without an event id the hash alone is the id: two such records are two, and neither is reused."""
        one = make_observation("console_login", eventID=None, number=1)
        other = make_observation("console_login", eventID=None, userAgent="other")
        _record(store, one)
        assert store.known([one])[0] is Known.DUPLICATE
        assert store.known([other])[0] is Known.NEW

    def test_an_event_id_that_begins_another(self, store: AuditStore) -> None:
        """An id that is the beginning of a stored one is not the same id."""
        _record(store, make_observation("console_login", eventID="abc-1"))
        assert store.known([make_observation("console_login", eventID="abc")])[0] is Known.NEW


def _items(store: AuditStore) -> list[Item]:
    return sorted(store.event_items(ACCOUNT, MONTH), key=lambda item: int(str(item["sequence"])))


def _change(table: Table, key: Key, **attributes: Value) -> None:
    """Change attributes of an item behind the store's back."""
    [item] = table.get([key])
    assert item is not None
    table.write([Put(item | attributes)])


def _remove(table: Table, *keys: Key) -> None:
    """Remove items behind the store's back; no code of ours can."""
    for key in keys:
        if isinstance(table, MemoryTable):
            del table._partitions[key.pk][key.sk]
        else:
            assert isinstance(table, DynamoTable)
            table._client.delete_item(TableName=table._name, Key={"pk": {"S": key.pk}, "sk": {"S": key.sk}})


Tamper = Callable[[Table, list[Item]], None]


def _other_record(table: Table, items: list[Item]) -> None:
    _change(table, key_of(items[1]), record=str(items[1]["record"]).replace("203.0.113", "192.0.2"))


def _other_record_and_hash(table: Table, items: list[Item]) -> None:
    _change(table, key_of(items[1]), record=items[0]["record"], sha256=items[0]["sha256"])


def _compressed(table: Table, items: list[Item]) -> None:
    item = {name: value for name, value in items[1].items() if name != "record"}
    table.write([Put(item | {"record_zlib": b"no zlib"})])


def _without_record(table: Table, items: list[Item]) -> None:
    table.write([Put({name: value for name, value in items[1].items() if name != "record"})])


TAMPERING: dict[str, tuple[Tamper, str]] = {
    "record": (_other_record, "its record is not the one that was hashed"),
    "record and hash": (_other_record_and_hash, "its chain value does not follow from record 1"),
    "record emptied": (_without_record, "holds no record"),
    "record not to be decompressed": (_compressed, "cannot be decompressed"),
    "hash": (lambda table, items: _change(table, key_of(items[2]), sha256="0" * 64), "is not the one that was hashed"),
    "chain": (
        lambda table, items: _change(table, key_of(items[1]), chain="f" * 64),
        "its chain value does not follow from record 1",
    ),
    "chain of the last": (
        lambda table, items: _change(table, key_of(items[3]), chain="f" * 64),
        "the head's chain value is not that of the last record",
    ),
    "first removed": (lambda table, items: _remove(table, key_of(items[0])), "records 1 to 1 are missing"),
    "two removed": (
        lambda table, items: _remove(table, *map(key_of, items[1:3])),
        "records 2 to 3 are missing",
    ),
    "last removed": (
        lambda table, items: _remove(table, key_of(items[3])),
        "the head says 4 records, the events say 3",
    ),
    "all removed": (
        lambda table, items: _remove(table, *map(key_of, items)),
        "the head says 4 records, the events say 0",
    ),
    "sequence reused": (lambda table, items: _change(table, key_of(items[2]), sequence=2), "is missing or taken"),
    "sequence taken away": (
        lambda table, items: _change(table, key_of(items[2]), sequence=None),
        "is missing or taken",
    ),
    "sequence not a number": (
        lambda table, items: _change(table, key_of(items[0]), sequence=True),
        "is missing or taken",
    ),
    "sequences swapped": (
        lambda table, items: table.write(
            [Put(items[1] | {"sequence": items[2]["sequence"]}), Put(items[2] | {"sequence": items[1]["sequence"]})]
        ),
        "its chain value does not follow from record 1",
    ),
    "added": (
        lambda table, items: table.write(
            [Put(items[3] | {"sk": "2026-11-30T00:00:00Z#added#000000000000", "sequence": 5})]
        ),
        "its chain value does not follow from record 4",
    ),
    "head's chain": (
        lambda table, _: _change(table, head_key(ACCOUNT), chain="f" * 64),
        "the head's chain value is not that of the last record",
    ),
    "head's sequence": (
        lambda table, _: _change(table, head_key(ACCOUNT), sequence=3),
        "the head says 3 records, the events say 4",
    ),
    "head removed": (lambda table, _: _remove(table, head_key(ACCOUNT)), "the head says 0 records, the events say 4"),
}


class TestChain:
    """Whoever changes the stored records without computing the chain anew is found."""

    @pytest.fixture
    def chained(self, store: AuditStore) -> list[Item]:
        """Four records in two transactions."""
        _record(store, LOGIN, KEY_CREATED)
        _record(store, READ, make_observation("write"))
        return _items(store)

    def test_an_untouched_chain_has_no_faults(self, store: AuditStore, chained: list[Item]) -> None:
        """What the store wrote it finds in order."""
        report = store.verify_chain(ACCOUNT, [MONTH])
        assert report.faults == ()
        assert (report.events, report.sequence, report.chain) == (4, 4, chained[-1]["chain"])

    def test_a_large_record_is_compressed_and_verified(self, store: AuditStore) -> None:
        """A record that is stored compressed hashes to what was chained, and a changed one does not."""
        large = make_observation("write", requestParameters={"policy": "x" * 20_000})
        _record(store, large)
        [item] = _items(store)
        assert "record_zlib" in item
        assert "record" not in item
        assert store.verify_chain(ACCOUNT, [MONTH]).faults == ()
        assert canonical_json(record_of(item)) == canonical_json(large.record.body)

    def test_months_and_records_without_a_time_are_one_chain(self, store: AuditStore) -> None:
        """The chain runs through every partition of the account."""
        _record(
            store,
            LOGIN,
            make_observation("write", eventTime="2026-12-01T00:00:00Z"),
            replace(READ, record=replace(READ.record, event_time=None)),
        )
        report = store.verify_chain(ACCOUNT, [MONTH, "2026-12", "undated"])
        assert (report.faults, report.events) == ((), 3)
        assert store.verify_chain(ACCOUNT, [MONTH, "2026-12"]).faults != ()

    @pytest.mark.parametrize("name", TAMPERING)
    def test_tampering_is_found(self, store: AuditStore, table: Table, chained: list[Item], name: str) -> None:
        """Each kind of change is named in the report."""
        tamper, words = TAMPERING[name]
        tamper(table, chained)
        faults = store.verify_chain(ACCOUNT, [MONTH]).faults
        assert any(words in fault for fault in faults), faults


class TestLedger:
    """The ledger of a delivery has one writer at a time."""

    @pytest.fixture
    def delivery(self, store: AuditStore) -> Delivery:
        """A pending delivery."""
        changes = _record(store, LOGIN)
        found = store.delivery(delivery_key(changes.incidents[0].id, "sns", 1))
        assert found is not None
        return found

    def test_roundtrip(self, store: AuditStore, delivery: Delivery) -> None:
        """State, attempts, receipt and lease come back, with the next revision."""
        at = datetime(2026, 11, 3, 12, 0, 1, 5, tzinfo=UTC)
        after = replace(
            delivery,
            state=DeliveryState.FAILED,
            attempts=(Attempt(NOW, "throttled"), Attempt(at, None)),
            tries=2,
            receipt="receipt",
            lease_until=at,
        )
        written = store.write_delivery(delivery, after)
        assert written == replace(after, revision=delivery.revision + 1)
        assert store.delivery(delivery.key) == written

    def test_a_stale_revision_is_a_conflict_and_writes_nothing(self, store: AuditStore, delivery: Delivery) -> None:
        """Of two writers that read the same ledger the second one is told."""
        first = store.write_delivery(delivery, replace(delivery, receipt="first"))
        with pytest.raises(StoreConflictError):
            store.write_delivery(delivery, replace(delivery, receipt="second"))
        assert store.delivery(delivery.key) == first

    @pytest.mark.parametrize("state", DeliveryState)
    def test_the_undelivered_index_holds_what_must_still_be_sent(
        self, store: AuditStore, table: Table, delivery: Delivery, state: DeliveryState
    ) -> None:
        """Only pending and failed deliveries carry the attributes of the sparse index."""
        store.write_delivery(delivery, replace(delivery, state=state))
        [item] = table.get([delivery.key])
        assert item is not None
        assert ("undelivered_channel" in item) == (state in {DeliveryState.PENDING, DeliveryState.FAILED})

    def test_what_is_not_there_is_none(self, store: AuditStore, delivery: Delivery) -> None:
        """A ledger, an alert or an incident that nobody wrote is None, no error."""
        assert store.delivery(delivery_key(delivery.incident_id, "sns", 2)) is None
        assert store.alert(delivery.incident_id, 2) is None
        assert store.incident("other") is None


class TestWatch:
    """What the watchdog remembers and reads."""

    def test_it_comes_back_and_a_stale_revision_is_a_conflict(self, store: AuditStore) -> None:
        """Before the first run there is nothing; of two that read the same state the second writer is told."""
        first = store.watch_state()
        assert first == WatchState()
        after = replace(
            first,
            lease_until=NOW,
            timers_after=ACCOUNT,
            sent_after=MappingProxyType({"slack#refused": "2026 x y"}),
            refused_again_at=MappingProxyType({"slack": NOW}),
            troubles=MappingProxyType({"channel:slack": Told(NOW, 7, MappingProxyType({"operations": NOW}))}),
        )
        written = store.write_watch_state(first, after)
        assert written == replace(after, revision=1) == store.watch_state()
        with pytest.raises(StoreConflictError):
            store.write_watch_state(first, after)
        assert store.write_watch_state(written, replace(written, lease_until=None)).revision == 2

    def test_a_damaged_one_is_an_error_and_can_be_replaced(self, store: AuditStore, table: Table) -> None:
        """An altered state is damage, and the only thing that may be written over it is a fresh one."""
        table.write([Put({**watch_item(WatchState()), "revision": "many"})])
        with pytest.raises(DamagedItemError):
            store.watch_state()
        assert store.replace_watch_state(WatchState(timers_after="1")) == store.watch_state()

    def test_undelivered_ones_come_oldest_first_and_refused_ones_apart(self, store: AuditStore) -> None:
        """The index gives a channel's deliveries by when they were due, up to a moment, those refused apart."""
        changes = _record(store, *STORY)
        first, second = (
            store.delivery(delivery_key(alert.incident_id, "slack", alert.number)) for alert in changes.alerts[:2]
        )
        assert first is not None
        assert second is not None
        first = store.write_delivery(first, replace(first, due_at=NOW + timedelta(minutes=2)))
        found = list(store.undelivered("slack"))
        assert [entry.key for entry in found][-1] == first.key
        assert [entry.sort for entry in found] == sorted(entry.sort for entry in found)
        assert len(found) == len(changes.alerts)
        until = list(store.undelivered("slack", due_until=NOW + timedelta(minutes=1)))
        assert [entry.key for entry in until] == [entry.key for entry in found[:-1]]
        store.write_delivery(second, replace(second, state=DeliveryState.FAILED, refused=True))
        assert second.key not in {entry.key for entry in store.undelivered("slack")}
        assert [entry.key for entry in store.undelivered("slack", refused=True)] == [second.key]
        assert list(store.undelivered("sns", refused=True)) == []

    def test_open_accounts_are_each_named_once(self, store: AuditStore) -> None:
        """An account with open incidents is named once, in order, and not any more when they are closed."""
        assert store.open_accounts() == []
        changes = _record(store, LOGIN)
        assert store.open_accounts() == [ACCOUNT]
        closed = [replace(incident, open=False) for incident in changes.incidents]
        before = store.read_account(ACCOUNT, (), NOW)
        store.write_account(Changes([(before, replace(before, incidents=()))], (), closed, ()), NOW, ())
        assert store.open_accounts() == []


class TestDamage:
    """An item that somebody altered is an error of its own, never a guess."""

    @pytest.fixture
    def changes(self, store: AuditStore) -> Changes:
        """One recorded sign-in."""
        return _record(store, LOGIN)

    @pytest.mark.parametrize(
        "attributes",
        [{"version": "1"}, {"version": -1}, {"sequence": None}, {"open_incidents": "x"}, {"chain": 7}, {"chain": "ab"}],
    )
    def test_of_the_head(self, store: AuditStore, table: Table, changes: Changes, attributes: dict[str, Any]) -> None:
        """An altered head is put together again from what else is stored; the account goes on, the damage is known."""
        _change(table, head_key(ACCOUNT), **attributes)
        state = store.read_account(ACCOUNT, (KEY_CREATED,), NOW)
        assert [(damage.what, damage.pk, damage.sk) for damage in state.damages] == [
            ("the account's head", head_key(ACCOUNT).pk, "HEAD")
        ]
        assert (state.sequence, state.chain) == (1, changes.events[0].chain)
        assert [incident.id for incident in state.incidents] == [changes.incidents[0].id]
        _record(store, KEY_CREATED)
        after = store.read_account(ACCOUNT, (), NOW)
        assert (after.damages, after.sequence) == ((), 2)
        assert store.verify_chain(ACCOUNT, [MONTH]).faults == ()

    def test_a_head_that_is_gone(self, store: AuditStore, table: Table, changes: Changes) -> None:
        """An account whose head was removed does not begin anew: its events tell that there was one."""
        _remove(table, head_key(ACCOUNT))
        state = store.read_account(ACCOUNT, (), NOW)
        [damage] = state.damages
        assert (damage.what, damage.content) == ("the account's head", None)
        assert (state.sequence, state.chain) == (1, changes.events[0].chain)
        _record(store, KEY_CREATED)
        assert store.verify_chain(ACCOUNT, [MONTH]).faults == ()

    @pytest.mark.parametrize("attributes", [None, {"sequence": None}], ids=["gone", "altered"])
    def test_a_head_after_a_long_rest(
        self, store: AuditStore, table: Table, changes: Changes, attributes: dict[str, Any] | None
    ) -> None:
        """Root may rest for more than a year: the old events are found all the same, and the chain goes on."""
        if attributes is None:
            _remove(table, head_key(ACCOUNT))
        else:
            _change(table, head_key(ACCOUNT), **attributes)
        state = store.read_account(ACCOUNT, (), NOW + timedelta(days=400))
        assert [damage.what for damage in state.damages] == ["the account's head"]
        assert (state.sequence, state.chain) == (1, changes.events[0].chain)

    def test_of_incident_address_alert_and_ledger(self, store: AuditStore, table: Table, changes: Changes) -> None:
        """Each kind of item is read with the same care, and what detect reads does not stop the account."""
        incident_id = changes.incidents[0].id
        ledger = delivery_key(incident_id, "slack", 1)
        _change(table, alert_key(incident_id, 1), facts=[["only a label"]])
        _change(table, ledger, state="done")
        _change(table, source_key(ACCOUNT, LOGIN.source.key), times="many")
        _change(table, address_key(LOGIN.source.key), accounts=7)
        with pytest.raises(DamagedItemError):
            store.alert(incident_id, 1)
        with pytest.raises(DamagedItemError):
            store.delivery(ledger)
        assert store.read_account(ACCOUNT, (), NOW).damages == ()
        _change(table, incident_key(incident_id), opened_at="yesterday")
        with pytest.raises(DamagedItemError):
            store.incident(incident_id)
        state = store.read_account(ACCOUNT, (LOGIN,), NOW)
        assert [damage.what for damage in state.damages] == ["an incident", "a source", "an address"]
        assert all(damage.content for damage in state.damages)
        assert (state.version, state.incidents, state.sources, state.addresses) == (1, (), {}, {})
        _record(store, make_observation("console_login_without_mfa", number=7))
        again = store.read_account(ACCOUNT, (LOGIN,), NOW)
        assert again.damages == ()
        assert again.sources.keys() == {LOGIN.source.key}
        copies = list(table.query(head_key(ACCOUNT).pk, "DAMAGED#"))
        assert sorted(str(item["what"]) for item in copies) == ["a source", "an address", "an incident"]

    def test_an_open_incident_that_is_gone(self, store: AuditStore, table: Table, changes: Changes) -> None:
        """Removing an open incident does not make the next record open a fresh one quietly."""
        _remove(table, incident_key(changes.incidents[0].id))
        state = store.read_account(ACCOUNT, (), NOW)
        assert [(damage.what, damage.content) for damage in state.damages] == [("an incident", None)]


def test_the_event_key_is_that_of_the_design() -> None:
    """Partition and sort key are as the design has them."""
    key = event_key(LOGIN)
    assert key.pk == f"EVENTS#{ACCOUNT}#2026-11"
    assert key.sk == f"2026-11-03T02:14:07Z#{LOGIN.record.event_id}#{LOGIN.record.sha256[:12]}"


def test_an_attribute_that_is_null_is_there(table: Table) -> None:
    """A put that expects no attribute conflicts with one that is null, in memory as in DynamoDB."""
    table.write([Put({"pk": "A", "sk": "a", "version": None})])
    with pytest.raises(StoreConflictError):
        table.write([Put({"pk": "A", "sk": "a", "version": 1}, expects=("version", None))])
    assert table.get([Key("A", "a")]) == [{"pk": "A", "sk": "a", "version": None}]


class TestCaches:
    """What was looked up is remembered beside the evidence, and its loss or damage is never an error."""

    SUBJECTS = (Subject("owner", "203.0.113.7"), Subject("owner", "::7"), Subject("account-name", ACCOUNT))

    def test_nothing_is_remembered_at_first(self, store: AuditStore) -> None:
        """An empty table knows nothing of anything."""
        assert store.recall(self.SUBJECTS) == {}
        assert store.recall([]) == {}

    def test_what_is_kept_comes_back(self, store: AuditStore) -> None:
        """Several kinds at once, each under its own key, and a later entry in place of an earlier one."""
        entries = {subject: Remembered({"name": f"{subject.name}"}, NOW) for subject in self.SUBJECTS}
        store.keep(entries)
        assert store.recall([*self.SUBJECTS, Subject("service", "rdap.arin.net")]) == entries
        later = {self.SUBJECTS[0]: Remembered({}, NOW.replace(year=2027))}
        store.keep(later)
        assert store.recall(self.SUBJECTS) == entries | later

    @pytest.mark.parametrize("attributes", [{"fields": "x"}, {"expires": "soon"}, {"fields": {"name": 7}}])
    def test_a_damaged_entry_is_as_good_as_none(
        self, store: AuditStore, table: Table, attributes: dict[str, Any]
    ) -> None:
        """The others are still read, and the damaged one is replaced."""
        entries = {subject: Remembered({"name": "Example"}, NOW) for subject in self.SUBJECTS}
        store.keep(entries)
        damaged = self.SUBJECTS[0]
        _change(table, cache_key(damaged), **attributes)
        assert store.recall(self.SUBJECTS) == {each: entries[each] for each in self.SUBJECTS[1:]}
        store.keep({damaged: entries[damaged]})
        assert store.recall(self.SUBJECTS) == entries

    def test_the_evidence_stays_as_it_is(self, store: AuditStore) -> None:
        """A cache is no part of an account, its incidents or its chain."""
        changes = _record(store, *STORY)
        before = store.read_account(ACCOUNT, STORY, NOW)
        store.keep({subject: Remembered({}, NOW) for subject in self.SUBJECTS})
        assert store.read_account(ACCOUNT, STORY, NOW) == before
        assert store.verify_chain(ACCOUNT, [MONTH]).faults == ()
        assert len(changes.events) == 3
