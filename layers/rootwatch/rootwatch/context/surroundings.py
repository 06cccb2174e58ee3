"""What is known around an alert beyond its record: who owns the address, and what the account is called.

Looked up only for an alert that is due, once per batch, within one deadline. It can be missing and it can be late, but
it never keeps a record from being recorded or an alert from being told: whatever goes wrong is "not looked up".
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from rootwatch.context.account_name import can_be_named
from rootwatch.context.network_owner import Owner, owner_of
from rootwatch.errors import LookUpFailedError

BATCH_SECONDS: Final = 1.5
"""For all look-ups of a batch together: table, databases, registries and Organizations, whatever hangs in them."""
KEEP_SECONDS: Final = 0.5
"""That the end of a batch waits for the cache to be written; by then everything is recorded."""

OWNER_FOR: Final = timedelta(days=30)
ACCOUNT_NAME_FOR: Final = timedelta(hours=24)
FAILURE_FOR: Final = timedelta(hours=1)
SILENT_AFTER: Final = BATCH_SECONDS / 2
"""Seconds without an answer after which nobody else's question waits for the same service, for `FAILURE_FOR`.

So a service that is down, or a network without a way out, costs one alert its time and not every one.
"""

MOST_ADDRESSES: Final = 10
"""Of a batch; SQS delivers no more records in one."""
MOST_THREADS: Final = 12
"""That may be under way at once, those included that an earlier batch gave up: a name resolution cannot be cut."""
MOST_REMEMBERED: Final = 1000

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """What was found: the owner by address, without those that are not known, and the account's name or None."""

    owners: Mapping[str, Owner] = field(default_factory=lambda: MappingProxyType({}))
    account_name: str | None = None


class Surroundings(Protocol):
    """Where the pipeline learns what surrounds an alert."""

    def look_up(self, account_id: str, addresses: Mapping[str, bool]) -> Found:
        """Return what is known of an account and of public addresses, within what is left of the batch's time.

        Args:
            account_id: whose alerts are due.
            addresses: in their normal spelling, and whether each is new to the account.

        """

    def end_batch(self) -> None:
        """Keep what was found for the next time. The batch is recorded; the next one has its whole time again."""


@dataclass(frozen=True, slots=True)
class StatedNames:
    """Surroundings without a single look-up: the accounts' names as the operator states them, and nothing else."""

    names: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def look_up(self, account_id: str, addresses: Mapping[str, bool]) -> Found:  # noqa: ARG002 - nobody is asked
        """Return the account's stated name."""
        return Found(account_name=self.names.get(account_id))

    def end_batch(self) -> None:
        """Keep nothing."""


class Subject(NamedTuple):
    """What something is remembered of: its kind and its name, an address or the number of an account."""

    kind: str
    name: str


OWNER: Final = "owner"
ACCOUNT_NAME: Final = "account-name"
SERVICE: Final = "service"
"""Remembered of a service, by its host: that it does not answer."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a look-up found, by field, and until when (UTC) that counts; nothing was found where there is no field."""

    fields: Mapping[str, str]
    until: datetime


class Cache(Protocol):
    """What remembers look-ups beyond the life of a container."""

    def recall(self, subjects: Sequence[Subject]) -> dict[Subject, Remembered]:
        """Return what is remembered, expired or not; what cannot be understood is left out.

        Raises:
            StoreError: the table does not say.

        """

    def keep(self, entries: Mapping[Subject, Remembered]) -> None:
        """Remember these, in place of what was remembered before.

        Raises:
            StoreError: the table does not take them.

        """


class Registries(Protocol):
    """Whoever knows the owners of all addresses: a few hosts, one of which is asked first and refers to the others."""

    @property
    def hosts(self) -> Sequence[str]:
        """Return every host that may be asked."""

    def look_up(self, address: str, seconds: float, silent: frozenset[str], asking: Callable[[str], None]) -> Owner:
        """Return the owner of an address in its normal spelling.

        Args:
            address: a public one.
            seconds: the time there is.
            silent: hosts that must not be asked, because they do not answer.
            asking: is told each host before it is asked.

        Raises:
            LookUpFailedError: it is not known who owns it.

        """


@dataclass(slots=True)
class _Question:
    """One question that is under way in a thread: what it is about, whom it waits for, and its answer."""

    subject: Subject
    ask: Callable[["_Question"], Mapping[str, str]]
    answer: Mapping[str, str] = field(default_factory=dict)
    waits_for: str | None = None
    since: float = 0.0
    ended: float | None = None

    def asking(self, host: str) -> None:
        self.waits_for, self.since = host, monotonic()

    def run(self) -> None:
        try:
            self.answer = self.ask(self)
        finally:
            self.ended = monotonic()


class LookUps:
    """Surroundings that are looked up: what is remembered first, then databases, registries and Organizations."""

    def __init__(  # noqa: PLR0913 - each source is one argument
        self,
        *,
        cache: Cache,
        now: Callable[[], datetime],
        databases: Callable[[str], Owner | None] | None = None,
        registries: Registries | None = None,
        organizations: Callable[[str], str] | None = None,
        names: Mapping[str, str] = MappingProxyType({}),
        seconds: float = BATCH_SECONDS,
        silent_after: float = SILENT_AFTER,
    ) -> None:
        """Take the sources of what is to be known; each may raise anything and take any time.

        Args:
            cache: what earlier containers found.
            now: the clock, UTC.
            databases: what the operator's own databases know of an address; None where there are none.
            registries: who is asked for the owner of an address; None where nobody may be.
            organizations: the name of an account; None where Organizations may not be asked.
            names: the accounts' names as the operator states them.
            seconds: for all look-ups of a batch together.
            silent_after: seconds without an answer after which a service is left alone for a while.

        """
        self._cache = cache
        self._now = now
        self._databases = databases
        self._registries = registries
        self._organizations = organizations
        self._names = names
        self._seconds = self._rest = seconds
        self._silent_after = silent_after
        self._places = threading.BoundedSemaphore(MOST_THREADS)
        self._memory: dict[Subject, Remembered] = {}
        self._unkept: dict[Subject, Remembered] = {}

    def look_up(self, account_id: str, addresses: Mapping[str, bool]) -> Found:
        """Return what is known of an account and of public addresses; see `Surroundings`. Never raises."""
        began = monotonic()
        try:
            return self._look_up(account_id, dict(list(addresses.items())[:MOST_ADDRESSES]), began + self._rest)
        except Exception as error:  # noqa: BLE001 - the alert is due, whatever is wrong here
            _LOG.warning("surroundings could not be looked up (%s)", type(error).__name__)
            return Found(account_name=self._names.get(account_id))
        finally:
            self._rest = max(0.0, self._rest - (monotonic() - began))

    def end_batch(self) -> None:
        """Write what was found into the cache, and begin the next batch's time. Never raises."""
        self._rest = self._seconds
        unkept, self._unkept = self._unkept, {}
        if not unkept:
            return
        try:
            self._do([partial(self._cache.keep, unkept)], monotonic() + KEEP_SECONDS, "the cache was not written")
        except Exception as error:  # noqa: BLE001 - everything is recorded; the next look-up asks again
            _LOG.warning("the cache was not written (%s)", type(error).__name__)

    def _look_up(self, account_id: str, addresses: Mapping[str, bool], until: float) -> Found:
        stated = self._in_databases(addresses, until)
        subjects = [Subject(OWNER, each) for each in addresses if not _named(stated.get(each))]
        account = Subject(ACCOUNT_NAME, account_id)
        if self._organizations is not None and can_be_named(account_id):
            subjects.append(account)
        known = self._known([*subjects, *self._services(subjects)], until)
        silent = frozenset(subject.name for subject in known if subject.kind == SERVICE)
        questions = []
        for subject in subjects:
            if subject in known:
                continue
            if subject == account:
                if _ORGANIZATIONS not in silent:
                    questions.append(_Question(subject, self._ask_organizations))
            elif self._registries is not None and addresses[subject.name]:
                questions.append(_Question(subject, partial(self._ask_registries, until=until, silent=silent)))
        known |= self._answers(questions, until)
        owners = {address: _joined(stated.get(address), known.get(Subject(OWNER, address))) for address in addresses}
        name = known[account].fields.get("name") if account in known else None
        return Found(
            {address: owner for address, owner in owners.items() if owner is not None},
            name or self._names.get(account_id),
        )

    # --- the sources -----------------------------------------------------------------------------------------------

    def _in_databases(self, addresses: Iterable[str], until: float) -> dict[str, Owner]:
        databases, found = self._databases, dict[str, Owner]()
        if databases is None or not addresses:
            return found

        def search() -> None:
            for address in addresses:
                owner = databases(address)
                if owner is not None:
                    found[address] = owner

        self._do([search], until, "the databases did not answer")
        return dict(found)

    def _services(self, subjects: Sequence[Subject]) -> list[Subject]:
        """Return the services that may be asked about these."""
        kinds = {subject.kind for subject in subjects}
        hosts = list(self._registries.hosts) if self._registries is not None and OWNER in kinds else []
        return [Subject(SERVICE, host) for host in [*hosts, *([_ORGANIZATIONS] if ACCOUNT_NAME in kinds else [])]]

    def _known(self, subjects: Sequence[Subject], until: float) -> dict[Subject, Remembered]:
        """Return what this container or an earlier one found, as long as it counts."""
        now = self._now()
        known = {
            each: self._memory[each] for each in subjects if each in self._memory and self._memory[each].until > now
        }
        missing = [each for each in subjects if each not in known]
        recalled: dict[Subject, Remembered] = {}
        if any(each.kind != SERVICE for each in missing):
            self._do([lambda: recalled.update(self._cache.recall(missing))], until, "the cache was not read")
        for subject, remembered in list(recalled.items()):
            # Nothing of ours counts longer than this: somebody else wrote it.
            if now < remembered.until <= now + OWNER_FOR:
                known[subject] = self._memory[subject] = remembered
        return known

    def _ask_registries(self, question: _Question, until: float, silent: frozenset[str]) -> Mapping[str, str]:
        if self._registries is None:
            return {}
        owner = self._registries.look_up(question.subject.name, until - monotonic(), silent, question.asking)
        fields = {"name": owner.name, "country": owner.country}
        return {name: text for name, text in fields.items() if text}

    def _ask_organizations(self, question: _Question) -> Mapping[str, str]:
        if self._organizations is None:
            return {}
        question.asking(_ORGANIZATIONS)
        return {"name": self._organizations(question.subject.name)}

    def _answers(self, questions: Sequence[_Question], until: float) -> dict[Subject, Remembered]:
        """Ask all at once, wait until the deadline at most, and remember every answer and every failure."""
        begun = self._do([each.run for each in questions], until, "an owner or a name was not looked up")
        now, remembered = self._now(), dict[Subject, Remembered]()
        for question, did_begin in zip(questions, begun, strict=True):
            if not did_begin:
                continue  # nobody was asked, so nobody failed
            fields, kind = MappingProxyType(dict(question.answer)), question.subject.kind
            counts_for = (OWNER_FOR if kind == OWNER else ACCOUNT_NAME_FOR) if fields else FAILURE_FOR
            remembered[question.subject] = Remembered(fields, now + counts_for)
            waited = (question.ended or monotonic()) - question.since
            if not fields and question.waits_for is not None and waited >= self._silent_after:
                remembered[Subject(SERVICE, question.waits_for)] = Remembered(fields, now + FAILURE_FOR)
        if len(self._memory) > MOST_REMEMBERED:
            self._memory.clear()
        self._memory |= remembered
        self._unkept |= remembered
        return remembered

    # --- within the deadline ---------------------------------------------------------------------------------------

    def _do(self, tasks: Sequence[Callable[[], object]], until: float, trouble: str) -> list[bool]:
        """Do the tasks at once, each in a thread of its own, and wait for them until the deadline at most.

        Returns which of them could begin: not those for which too many threads still hang from before, and none once
        the time is over.
        """
        begun: list[threading.Thread | None] = []
        for task in tasks:
            if monotonic() >= until or not self._places.acquire(blocking=False):
                _LOG.warning("%s (no time, or too many still under way)", trouble)
                begun.append(None)
                continue
            thread = threading.Thread(target=self._run, args=(task, trouble), name="rootwatch-look-up", daemon=True)
            try:
                thread.start()
            except Exception:  # the machine has no thread left
                self._places.release()
                raise
            begun.append(thread)
        for each in begun:
            if each is not None:
                each.join(max(0.0, until - monotonic()))
        if any(each is not None and each.is_alive() for each in begun):
            _LOG.warning("%s (the time was over)", trouble)
        return [each is not None for each in begun]

    def _run(self, task: Callable[[], object], trouble: str) -> None:
        try:
            task()
        except LookUpFailedError as error:
            _LOG.warning("%s (%s)", trouble, error)
        except Exception as error:  # noqa: BLE001 - nobody waits for what a thread raises; its text may hold anything
            _LOG.warning("%s (%s)", trouble, type(error).__name__)
        finally:
            self._places.release()


_ORGANIZATIONS: Final = "organizations"


def _named(owner: Owner | None) -> bool:
    return owner is not None and owner.name is not None


def _joined(stated: Owner | None, remembered: Remembered | None) -> Owner | None:
    """Return what the databases state, and where they state nothing what was looked up."""
    fields = remembered.fields if remembered else {}
    name, country = (stated.name, stated.country) if stated else (None, None)
    return owner_of(name or fields.get("name"), country or fields.get("country"))
