"""The pipeline joins alerts with what surrounds them, and loses none of them whatever happens there."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootwatch.audit.memory import MemoryTable
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Item, Put
from rootwatch.context.network_owner import Owner
from rootwatch.context.surroundings import Found, LookUps
from rootwatch.errors import StoreConflictError, StoreUnavailableError
from rootwatch.pipeline import Fate, Recorder, detect_messages, run_timers
from tests.builders import build_envelope, load_specimen
from tests.unit.workbench import ACCOUNT, NOW, CheckedTable, make_message, make_recorder

LOGIN_ADDRESS = "198.51.100.24"
HOSTING = Owner("Example Hosting", "NL")


@dataclass
class Told:
    """Surroundings that say what they were asked and find what they are told to."""

    found: Any = field(default_factory=lambda: Found({LOGIN_ADDRESS: HOSTING}, "Production"))
    asked: list[tuple[str, dict[str, bool]]] = field(default_factory=list)
    batches: int = 0

    def look_up(self, account_id: str, addresses: Mapping[str, bool]) -> Found:
        """Find what it is told to."""
        self.asked.append((account_id, dict(addresses)))
        found: Found = self.found
        return found

    def end_batch(self) -> None:
        """Count the batches."""
        self.batches += 1


def items(table: MemoryTable, prefix: str) -> list[Item]:
    """The items whose partition and sort key begin like this."""
    pk, _, sk = prefix.partition("/")
    return [item for each in sorted(table._partitions) if each.startswith(pk) for item in table.query(each, sk)]


def recorder_with(surroundings: Any, table: MemoryTable, **changes: Any) -> Recorder:
    """A recorder on the table with these surroundings."""
    return replace(make_recorder(table), surroundings=surroundings, **changes)


def facts(alert: Item) -> dict[str, str]:
    """The facts of an alert's item."""
    stated = alert["facts"]
    assert isinstance(stated, list)
    return {str(pair[0]): str(pair[1]) for pair in stated if isinstance(pair, list)}


def test_the_alert_says_whose_address_it_is_and_what_the_account_is_called() -> None:
    """Owner, country and name reach the alert, owner and country its event too, and the record's hash is the same."""
    table, plain = CheckedTable(), CheckedTable()
    message = make_message(build_envelope("console_login"))
    detect_messages([message], recorder_with(Told(), table))
    detect_messages([message], make_recorder(plain))
    [alert] = items(table, "INCIDENT#/ALERT#")
    assert "account Production (111122223333)" in str(alert["headline"])
    assert facts(alert)["Source"].endswith("country NL, owner Example Hosting")
    [event], [without] = items(table, "EVENTS#"), items(plain, "EVENTS#")
    assert (event["source_owner"], event["source_country"]) == ("Example Hosting", "NL")
    assert (without["source_owner"], without["source_country"]) == (None, None)
    assert (event["sha256"], event["chain"]) == (without["sha256"], without["chain"])
    assert AuditStore(table).verify_chain(ACCOUNT, ["2026-11"]).faults == ()


def test_only_what_is_told_is_looked_up() -> None:
    """A repetition that causes no alert asks nobody, and its event holds no owner."""
    table, told = CheckedTable(), Told()
    for number in range(3):
        detect_messages([make_message(build_envelope("read", number=number))], recorder_with(told, table))
    asked = len(told.asked)
    assert len(items(table, "INCIDENT#/ALERT#")) == asked
    assert told.batches == 3
    detect_messages([make_message(build_envelope("read", number=9))], recorder_with(told, table))
    assert len(told.asked) == asked
    told.asked.clear()
    detect_messages([make_message(build_envelope("silent/iam_user_sign_in"))], recorder_with(told, table))
    assert told.asked == []


def test_an_address_is_new_until_the_account_has_recorded_it() -> None:
    """Within one batch each record of a new address is new; a day later the account knows it."""
    table, told = CheckedTable(), Told()
    batch = [make_message(build_envelope("console_login", number=number), str(number)) for number in range(3)]
    detect_messages(batch, recorder_with(told, table))
    assert told.asked == [(ACCOUNT, {LOGIN_ADDRESS: True})]
    sent = NOW + timedelta(days=1)
    later = build_envelope("console_login", number=5, eventTime=f"{sent:%Y-%m-%dT%H:%M:%SZ}")
    detect_messages([make_message(later, sent_at=sent)], recorder_with(told, table, now=lambda: sent))
    assert told.asked[1:] == [(ACCOUNT, {LOGIN_ADDRESS: False})]


@pytest.mark.parametrize("source", ["10.1.2.3", "cloudformation.amazonaws.com", "AWS Internal", "rubbish", None, ""])
def test_only_public_addresses_are_looked_up(source: str | None) -> None:
    """Nobody learns of a private address or of what is none; the account's name is looked up all the same."""
    table, told = CheckedTable(), Told()
    detect_messages([make_message(build_envelope("console_login", sourceIPAddress=source))], recorder_with(told, table))
    assert told.asked == [(ACCOUNT, {})]
    [alert] = items(table, "INCIDENT#/ALERT#")
    assert "Production" in str(alert["headline"])


@pytest.mark.parametrize("source", ["192.0.2.7", "198.51.100.7", "203.0.113.7", "2001:db8::7", "::ffff:203.0.113.7"])
def test_documentation_s_addresses_are_public(source: str) -> None:
    """The ranges of examples and tests are looked up like any other, in one spelling."""
    told = Told()
    detect_messages(
        [make_message(build_envelope("console_login", sourceIPAddress=source))], recorder_with(told, CheckedTable())
    )
    assert told.asked == [(ACCOUNT, {source.removeprefix("::ffff:"): True})]


def test_a_summary_is_told_with_the_account_s_name() -> None:
    """When time closes an incident the account is called by its name, and no address is looked up."""
    table, told = CheckedTable(), Told()
    detect_messages([make_message(build_envelope("console_login"))], make_recorder(table))
    recorder = recorder_with(told, table, now=lambda: NOW + timedelta(days=2))
    [alert] = run_timers(ACCOUNT, recorder)
    assert alert.headline.startswith("Root use ended · account Production (111122223333)")
    assert told.asked == [(ACCOUNT, {})]
    assert told.batches == 1


def test_a_batch_that_closes_an_incident_names_the_account_twice() -> None:
    """The summary of the day before and the new alert come out of one look-up."""
    table, told = CheckedTable(), Told()
    detect_messages([make_message(build_envelope("console_login"))], make_recorder(table))
    sent = NOW + timedelta(days=1)
    envelope = build_envelope("console_login", number=2, eventTime=f"{sent:%Y-%m-%dT%H:%M:%SZ}")
    recorder = recorder_with(told, table, now=lambda: sent)
    detect_messages([make_message(envelope, sent_at=sent)], recorder)
    headlines = [str(alert["headline"]) for alert in items(table, "INCIDENT#/ALERT#")]
    assert sum("Production" in headline for headline in headlines) == 2
    assert told.asked == [(ACCOUNT, {LOGIN_ADDRESS: False})]


# --- a retry, and faults -------------------------------------------------------------------------------------------


@dataclass
class Counting:
    """Registries that count what they are asked."""

    asked: list[str] = field(default_factory=list)
    hosts: Sequence[str] = ("rdap.example.com",)

    def look_up(self, address: str, _seconds: float, _silent: frozenset[str], _asking: Callable[[str], None]) -> Owner:
        """Name the same owner for every address."""
        self.asked.append(address)
        return HOSTING


class Failing(CheckedTable):
    """A table whose next writes of an account end as told; the cache's are written."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self.errors = list(errors)

    def write(self, puts: Sequence[Put]) -> None:
        """Fail as often as told, then write."""
        if self.errors and not puts[0].key.pk.startswith("CACHE#"):
            raise self.errors.pop(0)
        super().write(puts)


@pytest.mark.parametrize("count", [1, 5])
def test_a_conflict_asks_nobody_a_second_time(count: int) -> None:
    """However often a batch is folded again, each address is asked about once, and the alert has its owner."""
    table, registries = Failing(*[StoreConflictError("x")] * count), Counting()
    look_ups = LookUps(cache=AuditStore(table), now=lambda: NOW, registries=registries)
    [result] = detect_messages([make_message(build_envelope("console_login"))], recorder_with(look_ups, table))
    assert result.fate is Fate.RECORDED
    assert registries.asked == [LOGIN_ADDRESS]
    [alert] = items(table, "INCIDENT#/ALERT#")
    assert facts(alert)["Source"].endswith("owner Example Hosting")
    [cached] = items(table, "CACHE#")
    assert cached["name"] == LOGIN_ADDRESS


def test_what_was_found_is_kept_when_the_record_could_not_be() -> None:
    """A batch that failed for good asks nobody again when the queue brings it back."""
    table, registries = Failing(StoreUnavailableError("out")), Counting()
    look_ups = LookUps(cache=AuditStore(table), now=lambda: NOW, registries=registries)
    message = make_message(build_envelope("console_login"))
    assert [each.fate for each in detect_messages([message], recorder_with(look_ups, table))] == [Fate.FAILED]
    assert [each.fate for each in detect_messages([message], recorder_with(look_ups, table))] == [Fate.RECORDED]
    assert registries.asked == [LOGIN_ADDRESS]


class Broken:
    """Surroundings that raise wherever they are called."""

    def __init__(self, fault: Exception) -> None:
        self.fault = fault

    def look_up(self, _account_id: str, _addresses: Mapping[str, bool]) -> Found:
        """Raise."""
        raise self.fault

    def end_batch(self) -> None:
        """Raise."""
        raise self.fault


def plain_alerts(table: MemoryTable) -> list[str]:
    """The headlines of the alerts in a table."""
    return [str(alert["headline"]) for alert in items(table, "INCIDENT#/ALERT#")]


@pytest.mark.parametrize(
    "fault", [RuntimeError("x"), RecursionError(), MemoryError(), StoreConflictError("x"), StoreUnavailableError("x")]
)
def test_no_fault_of_the_surroundings_loses_anything(fault: Exception) -> None:
    """The same records are recorded and the same alerts told as without any surroundings; nothing is tried again."""
    names = ("console_login", "access_key_created", "assumed", "console_login_failed")
    messages = [make_message(build_envelope(name), name) for name in names]
    broken, plain = CheckedTable(), CheckedTable()
    results = detect_messages(messages, recorder_with(Broken(fault), broken))
    assert results == detect_messages(messages, make_recorder(plain))
    assert {result.fate for result in results} == {Fate.RECORDED}
    assert plain_alerts(broken) == plain_alerts(plain)
    assert len(items(broken, "INCIDENT#/DELIVERY#")) == len(items(plain, "INCIDENT#/DELIVERY#"))
    later = NOW + timedelta(days=2)
    closing = recorder_with(Broken(fault), broken, now=lambda: later)
    assert len(run_timers(ACCOUNT, closing)) == len(run_timers(ACCOUNT, make_recorder(plain, later)))


ODD = st.one_of(
    st.none(),
    st.integers(),
    st.text(max_size=20),
    st.sampled_from(["\ud800", "x" * 100_000, "\u202e://evil.example.com\x00", "\n" * 999]),
)
ODD_FOUND = st.one_of(
    ODD,
    st.builds(Found, st.one_of(ODD, st.dictionaries(st.just(LOGIN_ADDRESS), ODD)), ODD),
    st.builds(
        Found, st.fixed_dictionaries({LOGIN_ADDRESS: st.builds(Owner, st.text(max_size=20), st.text(max_size=9))}), ODD
    ),
)


@settings(max_examples=200)
@given(ODD_FOUND)
def test_whatever_is_found_the_record_is_recorded(found: Any) -> None:
    """Surroundings of any shape leave a record that is stored and an alert that is told."""
    table = CheckedTable()
    [result] = detect_messages([make_message(build_envelope("console_login"))], recorder_with(Told(found), table))
    assert result.fate is Fate.RECORDED, result
    assert len(items(table, "INCIDENT#/ALERT#")) == 1


def test_a_session_s_alert_is_called_by_its_caller_s_account() -> None:
    """What an AssumeRoot session does is told in the incident of the account that assumed it, under that one's name."""
    names = {"444455556666": "Management", "111122223333": "Production"}

    class ByAccount(Told):
        def look_up(self, account_id: str, addresses: Mapping[str, bool]) -> Found:
            super().look_up(account_id, addresses)
            return Found(account_name=names.get(account_id))

    table, told = CheckedTable(), ByAccount()
    for envelope in (*load_specimen("assumed"), *load_specimen("assumed_session_activity")):
        detect_messages([make_message(envelope)], recorder_with(told, table))
    alerts = items(table, "INCIDENT#/ALERT#")
    assert alerts
    for alert in alerts:
        account_id = str(alert["account_id"])
        assert f"account {names[account_id]} ({account_id})" in str(alert["headline"])
    assert "444455556666" in {account_id for account_id, _ in told.asked}
