"""What surrounds an alert is looked up once, remembered, and given up in time: it never stops anything."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

import pytest

from rootwatch.context.network_owner import Owner
from rootwatch.context.surroundings import (
    ACCOUNT_NAME,
    MOST_ADDRESSES,
    MOST_REMEMBERED,
    MOST_THREADS,
    OWNER,
    SERVICE,
    Found,
    LookUps,
    Remembered,
    StatedNames,
    Subject,
)
from rootwatch.errors import LookUpFailedError, StoreUnavailableError
from tests.unit.workbench import ACCOUNT, NOW

ADDRESS, OTHER, THIRD = "203.0.113.7", "198.51.100.9", "2001:db8::7"
HOSTING = Owner("Example Hosting", "NL")
HOST = "rdap.example.com"
SHORT = 0.3
"""Seconds of a batch in which something hangs for ever."""


class Clock:
    """A clock that stands still until it is set forward."""

    def __init__(self) -> None:
        self.moment = NOW

    def __call__(self) -> datetime:
        """Return where it stands."""
        return self.moment


@dataclass
class Cache:
    """A cache that says what it was asked, and fails if told."""

    entries: dict[Subject, Remembered] = field(default_factory=dict)
    read: list[Subject] = field(default_factory=list)
    fault: Exception | None = None

    def recall(self, subjects: Sequence[Subject]) -> dict[Subject, Remembered]:
        """What is remembered of these."""
        self.read += subjects
        if self.fault:
            raise self.fault
        return {subject: self.entries[subject] for subject in subjects if subject in self.entries}

    def keep(self, entries: Mapping[Subject, Remembered]) -> None:
        """Remember these."""
        if self.fault:
            raise self.fault
        self.entries |= entries


@dataclass
class Registries:
    """Registries that answer, fail or hang by address; what hangs is let go at the end of the test."""

    released: threading.Event
    answers: dict[str, Owner | Exception | None] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    hosts: tuple[str, ...] = (HOST,)

    def look_up(self, address: str, seconds: float, silent: frozenset[str], asking: Callable[[str], None]) -> Owner:
        """Answer, fail, or hang where the answer is None."""
        assert 0 < seconds <= 1.5
        if HOST in silent:
            raise LookUpFailedError("silent")
        asking(HOST)
        self.asked.append(address)
        answer = self.answers.get(address, HOSTING)
        if answer is None:
            self.released.wait(60)
            raise LookUpFailedError("let go")
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """What everything that hangs waits for; afterwards no thread of ours is left."""
    event = threading.Event()
    yield event
    event.set()
    for thread in own_threads():
        thread.join(10)
    assert own_threads() == []


def own_threads() -> list[threading.Thread]:
    """The threads of look-ups that are still under way."""
    return [thread for thread in threading.enumerate() if thread.name == "rootwatch-look-up"]


@pytest.fixture
def registries(released: threading.Event) -> Registries:
    """Registries that name the same owner for every address, unless told otherwise."""
    return Registries(released)


@pytest.fixture
def cache() -> Cache:
    """An empty cache."""
    return Cache()


@pytest.fixture
def clock() -> Clock:
    """A clock that stands at the time of the tests."""
    return Clock()


def fields(**texts: str) -> Mapping[str, str]:
    """What was found, as it is remembered."""
    return MappingProxyType(texts)


# --- asked once, remembered -----------------------------------------------------------------------------------------


def test_a_new_address_is_asked_about_once(cache: Cache, registries: Registries, clock: Clock) -> None:
    """The owner is found and kept for thirty days; neither this container nor the next one asks again."""
    look_ups = LookUps(cache=cache, now=clock, registries=registries)
    assert look_ups.look_up(ACCOUNT, {ADDRESS: True}).owners == {ADDRESS: HOSTING}
    assert cache.entries == {}, "it is written at the end of the batch, when everything is recorded"
    look_ups.end_batch()
    kept = {Subject(OWNER, ADDRESS): Remembered(fields(name="Example Hosting", country="NL"), NOW + timedelta(days=30))}
    assert cache.entries == kept

    clock.moment += timedelta(days=29)
    assert look_ups.look_up("444455556666", {ADDRESS: True}).owners == {ADDRESS: HOSTING}
    another = LookUps(cache=cache, now=clock, registries=registries)
    assert another.look_up("444455556666", {ADDRESS: True}).owners == {ADDRESS: HOSTING}
    assert registries.asked == [ADDRESS]

    clock.moment += timedelta(days=2)
    assert another.look_up("444455556666", {ADDRESS: True}).owners == {ADDRESS: HOSTING}
    assert registries.asked == [ADDRESS, ADDRESS]


def test_a_known_address_is_only_remembered(cache: Cache, registries: Registries, clock: Clock) -> None:
    """Nobody is asked about an address that the account knows; what is remembered of it is told."""
    look_ups = LookUps(cache=cache, now=clock, registries=registries)
    cache.entries[Subject(OWNER, OTHER)] = Remembered(fields(name="Example University"), NOW + timedelta(days=3))
    found = look_ups.look_up(ACCOUNT, {ADDRESS: False, OTHER: False})
    assert found.owners == {OTHER: Owner("Example University", None)}
    assert registries.asked == []
    look_ups.end_batch()
    assert set(cache.entries) == {Subject(OWNER, OTHER)}


def test_a_retry_asks_nobody_and_reads_nothing(cache: Cache, registries: Registries, clock: Clock) -> None:
    """What was asked, answered or not, is known to the container before anything is written."""
    registries.answers[OTHER] = LookUpFailedError("no")
    look_ups = LookUps(cache=cache, now=clock, registries=registries)
    first = look_ups.look_up(ACCOUNT, {ADDRESS: True, OTHER: True})
    read = len(cache.read)
    assert look_ups.look_up(ACCOUNT, {ADDRESS: True, OTHER: True}) == first
    assert sorted(registries.asked) == sorted([ADDRESS, OTHER])
    assert len(cache.read) == read


def test_a_failure_counts_for_an_hour(cache: Cache, registries: Registries, clock: Clock) -> None:
    """A failure is remembered, for an hour and not for thirty days, by the next container too."""
    registries.answers[ADDRESS] = LookUpFailedError("it answered with status 503")
    look_ups = LookUps(cache=cache, now=clock, registries=registries)
    assert look_ups.look_up(ACCOUNT, {ADDRESS: True}).owners == {}
    look_ups.end_batch()
    assert cache.entries == {Subject(OWNER, ADDRESS): Remembered(fields(), NOW + timedelta(hours=1))}

    registries.answers[ADDRESS] = HOSTING
    clock.moment += timedelta(minutes=59)
    for container in (look_ups, LookUps(cache=cache, now=clock, registries=registries)):
        assert container.look_up("444455556666", {ADDRESS: True}).owners == {}
    assert registries.asked == [ADDRESS]
    clock.moment += timedelta(minutes=2)
    assert look_ups.look_up("444455556666", {ADDRESS: True}).owners == {ADDRESS: HOSTING}


@pytest.mark.parametrize("span", [timedelta(0), timedelta(seconds=-1), timedelta(days=31), timedelta(days=9_000)])
def test_what_does_not_count_is_not_believed(
    span: timedelta, cache: Cache, registries: Registries, clock: Clock
) -> None:
    """An entry that is over, or that claims to count longer than any of ours, is as good as none."""
    cache.entries[Subject(OWNER, ADDRESS)] = Remembered(fields(name="Forged"), NOW + span)
    look_ups = LookUps(cache=cache, now=clock, registries=registries)
    assert look_ups.look_up(ACCOUNT, {ADDRESS: True}).owners == {ADDRESS: HOSTING}
    assert look_ups.look_up(ACCOUNT, {OTHER: False}).owners == {}


def test_a_container_does_not_remember_without_end(cache: Cache, registries: Registries, clock: Clock) -> None:
    """However many addresses there are, the memory of a container stays bounded."""
    look_ups = LookUps(cache=cache, now=clock, registries=registries)
    for number in range(MOST_REMEMBERED // MOST_ADDRESSES + 20):
        addresses = {f"2001:db8::{number:x}:{each:x}": True for each in range(MOST_ADDRESSES)}
        assert len(look_ups.look_up(ACCOUNT, addresses).owners) == MOST_ADDRESSES
        look_ups.end_batch()
    assert len(look_ups._memory) <= MOST_REMEMBERED + MOST_ADDRESSES


def test_nobody_is_asked_without_registries(cache: Cache, clock: Clock) -> None:
    """Where look-ups are switched off, what is remembered is told and nothing else."""
    cache.entries[Subject(OWNER, OTHER)] = Remembered(fields(name="Example University"), NOW + timedelta(days=3))
    found = LookUps(cache=cache, now=clock).look_up(ACCOUNT, {ADDRESS: True, OTHER: True})
    assert found == Found({OTHER: Owner("Example University", None)}, None)


# --- databases -----------------------------------------------------------------------------------------------------


def test_what_databases_name_is_asked_of_nobody(cache: Cache, registries: Registries, clock: Clock) -> None:
    """The operator's databases go first, for known addresses too; what they leave open is looked up."""
    stated = {ADDRESS: Owner("Example Telecom", None), OTHER: Owner(None, "SE")}
    look_ups = LookUps(cache=cache, now=clock, databases=stated.get, registries=registries)
    found = look_ups.look_up(ACCOUNT, {ADDRESS: True, OTHER: True, THIRD: True})
    assert found.owners == {ADDRESS: stated[ADDRESS], OTHER: Owner("Example Hosting", "SE"), THIRD: HOSTING}
    assert sorted(registries.asked) == sorted([OTHER, THIRD])
    assert look_ups.look_up(ACCOUNT, {ADDRESS: False}).owners == {ADDRESS: stated[ADDRESS]}
    assert Subject(OWNER, ADDRESS) not in cache.read
    look_ups.end_batch()
    assert Subject(OWNER, ADDRESS) not in cache.entries


# --- the deadline --------------------------------------------------------------------------------------------------


def test_what_hangs_is_given_up(cache: Cache, registries: Registries, clock: Clock) -> None:
    """One address that hangs takes neither the others' answers nor the alert with it. Without that, this never ends."""
    registries.answers[OTHER] = None
    look_ups = LookUps(cache=cache, now=clock, registries=registries, seconds=SHORT)
    found = look_ups.look_up(ACCOUNT, {OTHER: True, ADDRESS: True, THIRD: True})
    assert found.owners == {ADDRESS: HOSTING, THIRD: HOSTING}
    assert not registries.released.is_set()
    look_ups.end_batch()
    assert cache.entries[Subject(OWNER, OTHER)] == Remembered(fields(), NOW + timedelta(hours=1))


def test_all_look_ups_of_a_batch_share_one_time(cache: Cache, registries: Registries, clock: Clock) -> None:
    """What one account has used up is gone for the next one of the batch; the next batch has its own time."""
    registries.answers[ADDRESS] = None
    look_ups = LookUps(cache=cache, now=clock, registries=registries, seconds=SHORT, silent_after=60)
    look_ups.look_up(ACCOUNT, {ADDRESS: True})
    assert look_ups.look_up("444455556666", {OTHER: True}).owners == {}
    assert registries.asked == [ADDRESS]
    look_ups.end_batch()
    assert Subject(OWNER, OTHER) not in cache.entries, "nobody was asked, so nobody failed"
    assert look_ups.look_up("444455556666", {OTHER: True}).owners == {OTHER: HOSTING}


def test_a_silent_registry_costs_one_alert_its_time(cache: Cache, registries: Registries, clock: Clock) -> None:
    """After one question that was never answered nobody waits for that registry for an hour, in no container."""
    registries.answers[ADDRESS] = None
    look_ups = LookUps(cache=cache, now=clock, registries=registries, seconds=SHORT, silent_after=SHORT / 2)
    look_ups.look_up(ACCOUNT, {ADDRESS: True})
    look_ups.end_batch()
    assert cache.entries[Subject(SERVICE, HOST)].until == NOW + timedelta(hours=1)
    another = LookUps(cache=cache, now=clock, registries=registries)
    for minutes, address in ((0, OTHER), (59, THIRD)):
        clock.moment = NOW + timedelta(minutes=minutes)
        for container in (look_ups, another):
            assert container.look_up(ACCOUNT, {address: True}).owners == {}
            container.end_batch()
    assert registries.asked == [ADDRESS]
    clock.moment = NOW + timedelta(hours=3)
    assert another.look_up(ACCOUNT, {OTHER: True}).owners == {OTHER: HOSTING}


def test_a_registry_that_refuses_is_not_silent(cache: Cache, registries: Registries, clock: Clock) -> None:
    """A failure that took no time holds up nobody, so the registry is asked about the next address."""
    registries.answers[ADDRESS] = LookUpFailedError("it answered with status 404")
    look_ups = LookUps(cache=cache, now=clock, registries=registries)
    look_ups.look_up(ACCOUNT, {ADDRESS: True})
    assert look_ups.look_up(ACCOUNT, {OTHER: True}).owners == {OTHER: HOSTING}
    look_ups.end_batch()
    assert Subject(SERVICE, HOST) not in cache.entries


@pytest.mark.parametrize("source", ["cache", "databases"])
def test_a_table_or_database_that_hangs_is_given_up(
    source: str, cache: Cache, registries: Registries, clock: Clock
) -> None:
    """The deadline holds for everything that is read, and for what is written: without it, this never ends."""

    def hang(*_arguments: object) -> Any:
        registries.released.wait(60)

    class Hanging(Cache):
        def recall(self, subjects: Sequence[Subject]) -> dict[Subject, Remembered]:
            hang()
            return super().recall(subjects)

        def keep(self, entries: Mapping[Subject, Remembered]) -> None:
            hang()
            super().keep(entries)

    look_ups = LookUps(
        cache=Hanging() if source == "cache" else cache,
        now=clock,
        databases=hang if source == "databases" else None,
        registries=registries,
        names={ACCOUNT: "Production"},
        seconds=SHORT,
    )
    assert look_ups.look_up(ACCOUNT, {ADDRESS: True}) == Found({}, "Production")
    look_ups.end_batch()
    assert look_ups.look_up("444455556666", {OTHER: False}).account_name is None
    look_ups._unkept = {Subject(OWNER, OTHER): Remembered(fields(), NOW)}
    look_ups.end_batch()
    assert not registries.released.is_set()


def test_threads_that_hang_do_not_pile_up(cache: Cache, registries: Registries, clock: Clock) -> None:
    """However often look-ups hang, the threads that wait for them are bounded, and end when they are let go."""
    look_ups = LookUps(cache=cache, now=clock, registries=registries, seconds=0.05, silent_after=60)
    for number in range(MOST_THREADS * 2):
        address = f"192.0.2.{number}"
        registries.answers[address] = None
        look_ups.look_up(ACCOUNT, {address: True})
        look_ups.end_batch()
        assert len(own_threads()) <= MOST_THREADS
    assert len(own_threads()) > 1
    assert all(thread.daemon for thread in own_threads()), "none may keep a process from ending"
    registries.released.set()
    for thread in own_threads():
        thread.join(10)
    assert look_ups.look_up(ACCOUNT, {ADDRESS: True}).owners == {ADDRESS: HOSTING}


def test_a_batch_asks_about_so_many_addresses_at_most(cache: Cache, registries: Registries, clock: Clock) -> None:
    """A batch with more addresses than one can hold is looked up in part."""
    addresses = {f"192.0.2.{number}": True for number in range(50)}
    found = LookUps(cache=cache, now=clock, registries=registries).look_up(ACCOUNT, addresses)
    assert len(found.owners) == len(registries.asked) == MOST_ADDRESSES


# --- faults --------------------------------------------------------------------------------------------------------

FAULTS = [ValueError("hunter2"), StoreUnavailableError("hunter2"), RecursionError(), MemoryError(), KeyError("hunter2")]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("source", ["cache", "databases", "registries", "organizations", "now", "thread"])
def test_no_fault_comes_out(  # noqa: PLR0913, PLR0917 - fixtures
    source: str,
    fault: Exception,
    registries: Registries,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever goes wrong in whichever source, the stated name is found, the log says what kind of fault it was."""

    def fail(*_arguments: object) -> Any:
        raise fault

    registries.answers[ADDRESS] = fault if source == "registries" else HOSTING
    if source == "thread":
        monkeypatch.setattr(threading.Thread, "start", fail)
    look_ups = LookUps(
        cache=Cache(fault=fault if source == "cache" else None),
        now=fail if source == "now" else clock,
        databases=fail if source == "databases" else None,
        registries=registries,
        organizations=fail if source == "organizations" else None,
        names={ACCOUNT: "Production"},
    )
    with caplog.at_level(logging.WARNING):
        found = look_ups.look_up(ACCOUNT, {ADDRESS: True})
        look_ups.end_batch()
    assert found.account_name == "Production"
    assert found.owners == ({ADDRESS: HOSTING} if source in {"cache", "databases", "organizations"} else {})
    assert type(fault).__name__ in caplog.text
    assert "hunter2" not in caplog.text
    assert ADDRESS not in caplog.text


def test_a_machine_without_threads_gets_its_places_back(
    registries: Registries, clock: Clock, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that could not be started takes no place for ever."""
    look_ups = LookUps(cache=cache, now=clock, registries=registries)

    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        for _ in range(MOST_THREADS * 2):
            assert look_ups.look_up(ACCOUNT, {ADDRESS: True}).owners == {}
    assert look_ups.look_up(ACCOUNT, {ADDRESS: True}).owners == {ADDRESS: HOSTING}


# --- the account's name --------------------------------------------------------------------------------------------


@dataclass
class Organizations:
    """An organization that names accounts, fails or hangs."""

    names: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def __call__(self, account_id: str) -> str:
        """The account's name."""
        self.asked.append(account_id)
        if account_id not in self.names:
            raise LookUpFailedError("AccountNotFoundException")
        return self.names[account_id]


def test_organizations_goes_first_and_is_remembered_for_a_day(cache: Cache, clock: Clock) -> None:
    """The name that Organizations gives stands before the stated one, and is asked for once a day."""
    organizations = Organizations({ACCOUNT: "Payments"})
    look_ups = LookUps(cache=cache, now=clock, organizations=organizations, names={ACCOUNT: "Production"})
    assert look_ups.look_up(ACCOUNT, {}).account_name == "Payments"
    look_ups.end_batch()
    assert cache.entries == {
        Subject(ACCOUNT_NAME, ACCOUNT): Remembered(fields(name="Payments"), NOW + timedelta(hours=24))
    }
    clock.moment += timedelta(hours=23)
    for container in (look_ups, LookUps(cache=cache, now=clock, organizations=organizations)):
        assert container.look_up(ACCOUNT, {}).account_name == "Payments"
    assert organizations.asked == [ACCOUNT]
    clock.moment += timedelta(hours=2)
    look_ups.look_up(ACCOUNT, {})
    assert organizations.asked == [ACCOUNT, ACCOUNT]


def test_where_organizations_says_nothing_the_stated_name_stands(cache: Cache, clock: Clock) -> None:
    """A failure counts for an hour; meanwhile and afterwards the stated name stands, else the number alone."""
    organizations = Organizations()
    look_ups = LookUps(cache=cache, now=clock, organizations=organizations, names={ACCOUNT: "Production"})
    assert look_ups.look_up(ACCOUNT, {}).account_name == "Production"
    assert look_ups.look_up("444455556666", {}).account_name is None
    organizations.names = {ACCOUNT: "Payments"}
    clock.moment += timedelta(minutes=59)
    assert look_ups.look_up(ACCOUNT, {}).account_name == "Production"
    assert organizations.asked == [ACCOUNT, "444455556666"]
    clock.moment += timedelta(minutes=2)
    assert look_ups.look_up(ACCOUNT, {}).account_name == "Payments"


def test_organizations_that_hangs_costs_no_owner(cache: Cache, registries: Registries, clock: Clock) -> None:
    """Organizations and the registries are asked at once, and one that hangs is left alone for an hour."""
    asked: list[str] = []

    def hang(account_id: str) -> str:
        asked.append(account_id)
        registries.released.wait(60)
        return "too late"

    look_ups = LookUps(
        cache=cache, now=clock, registries=registries, organizations=hang, seconds=SHORT, silent_after=SHORT / 2
    )
    assert look_ups.look_up(ACCOUNT, {ADDRESS: True}) == Found({ADDRESS: HOSTING}, None)
    look_ups.end_batch()
    assert look_ups.look_up("444455556666", {ADDRESS: True}) == Found({ADDRESS: HOSTING}, None)
    assert asked == [ACCOUNT]


@pytest.mark.parametrize("account_id", ["unknown", "~" + "0" * 32, "11112222333"])
def test_nobody_is_asked_about_what_is_no_number(account_id: str, cache: Cache, clock: Clock) -> None:
    """What a record states instead of an account's number is not sent to Organizations."""
    organizations = Organizations({account_id: "wrong"})
    assert LookUps(cache=cache, now=clock, organizations=organizations).look_up(account_id, {}) == Found()
    assert organizations.asked == []


def test_stated_names_alone() -> None:
    """Without look-ups the stated names are all there is."""
    stated = StatedNames({ACCOUNT: "Production"})
    assert stated.look_up(ACCOUNT, {ADDRESS: True}) == Found({}, "Production")
    assert StatedNames().look_up(ACCOUNT, {}) == Found()
    stated.end_batch()
