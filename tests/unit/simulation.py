"""A deployment in memory with a moving clock: records go through `detect`, the timers run each minute.

What the queue, the watchdog and the channels do around the core is done here as they do it: a message that has to wait
comes back after the visibility timeout, timers run for every account with an open incident, an alert is what its
mail says.
"""

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rootwatch.alert import Alert
from rootwatch.audit.memory import MemoryTable
from rootwatch.audit.store import AuditStore, Changes
from rootwatch.audit.table import Item
from rootwatch.channels import sns
from rootwatch.incident import Incident
from rootwatch.pipeline import Clock, Fate, Message, Recorder, detect_messages, next_timer, run_timers
from tests.builders import build_envelope
from tests.unit.workbench import ACCOUNT, IDLE, OWN

START: Final = datetime(2026, 11, 3, 9, 0, tzinfo=UTC)
MINUTE: Final = timedelta(minutes=1)
VISIBILITY: Final = timedelta(seconds=300)
ON_THE_WAY: Final = timedelta(seconds=2)
PER_BATCH: Final = 10


class ListeningStore(AuditStore):
    """The audit store, which remembers every alert that was written, in order."""

    def __init__(self, table: MemoryTable) -> None:
        """Begin with no alert."""
        super().__init__(table)
        self.alerts: list[Alert] = []

    def write_account(self, changes: Changes, now: datetime, channels: Sequence[str]) -> None:
        """Write, and remember the alerts once they are written."""
        super().write_account(changes, now, channels)
        self.alerts += changes.alerts


@dataclass(slots=True)
class Simulation:
    """A deployment whose clock stands at `START` until it is moved."""

    table: MemoryTable = field(default_factory=MemoryTable)
    clock: Clock = field(default_factory=lambda: Clock(START))
    store: ListeningStore = field(init=False)
    recorder: Recorder = field(init=False)
    fates: list[Fate] = field(default_factory=list)
    _waiting: list[tuple[datetime, Message]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.store = ListeningStore(self.table)
        self.recorder = Recorder(self.store, OWN, IDLE, now=self.clock, pause=lambda _attempt: None)

    @property
    def alerts(self) -> list[Alert]:
        """Every alert so far, in the order in which they were written."""
        return self.store.alerts

    # --- what happens ------------------------------------------------------------------------------------------------

    def record(
        self,
        specimen: str,
        /,
        at: datetime | None = None,
        account: str | None = None,
        position: int = 0,
        **changes: Any,
    ) -> dict[str, Any]:
        """Return the envelope of a record that happens now, or at a moment; each is a record of its own."""
        moment = at or self.clock()
        stated: dict[str, Any] = {"eventTime": f"{moment:%Y-%m-%dT%H:%M:%SZ}"}
        if account is not None:
            stated |= in_account(account)
        number = next(self._numbers)
        return build_envelope(specimen, position=position, number=number, **(stated | changes))

    def happens(self, specimen: str, /, **changes: Any) -> list[Alert]:
        """Let a record happen now and reach us two seconds later; return the alerts that it caused at once."""
        envelope = self.record(specimen, **changes)
        self.clock.move_to(self.clock() + ON_THE_WAY)
        return self.deliver([envelope])

    def deliver(self, envelopes: Iterable[Mapping[str, Any]], delay: timedelta | None = None) -> list[Alert]:
        """Hand records to `detect` in batches of ten; return the alerts that they caused at once.

        They reached the queue now, or `delay` after each one's event time.
        """
        messages = []
        for envelope in envelopes:
            sent_at = self.clock() if delay is None else datetime.fromisoformat(envelope["time"]) + delay
            name = hashlib.sha256(json.dumps(envelope, sort_keys=True).encode()).hexdigest()
            messages.append(Message(name, json.dumps(envelope), sent_at, receives=1))
        return self._detect(messages)

    def _detect(self, messages: Sequence[Message]) -> list[Alert]:
        before = len(self.alerts)
        for start in range(0, len(messages), PER_BATCH):
            results = detect_messages(messages[start : start + PER_BATCH], self.recorder)
            for result in results:
                assert result.fate is not Fate.FAILED, result.reason
                if result.fate.stays:
                    again = replace(result.message, receives=result.message.receives + 1)
                    self._waiting.append((self.clock() + VISIBILITY, again))
                self.fates.append(result.fate)
        return self.alerts[before:]

    # --- time passes -------------------------------------------------------------------------------------------------

    def run_until(self, moment: datetime) -> list[Alert]:
        """Let time pass to a moment, with the watchdog's timers each minute; return the alerts that became due."""
        before = len(self.alerts)
        while self.clock() < moment:
            next_minute = self.clock().replace(second=0, microsecond=0) + MINUTE
            self.clock.move_to(min(moment, next_minute))
            self._redeliver()
            self._tick()
        return self.alerts[before:]

    def run_for(self, **span: float) -> list[Alert]:
        """Let a span of time pass, as `timedelta` takes it; see `run_until`."""
        return self.run_until(self.clock() + timedelta(**span))

    def run_out(self) -> list[Alert]:
        """Let time pass, from timer to timer, until no message waits and no incident is open."""
        before = len(self.alerts)
        for _ in range(2_000):
            due = [moment for moment, _ in self._waiting]
            due += [moment for account in self.accounts() if (moment := next_timer(account, self.recorder))]
            if not due:
                return self.alerts[before:]
            self.clock.move_to(min(due))
            self._redeliver()
            self._tick()
        message = "Timers without end."
        raise AssertionError(message)

    def _redeliver(self) -> None:
        due = [message for moment, message in self._waiting if moment <= self.clock()]
        self._waiting = [entry for entry in self._waiting if entry[0] > self.clock()]
        self._detect(due)

    def _tick(self) -> None:
        for account in self.accounts():
            run_timers(account, self.recorder)

    def accounts(self) -> list[str]:
        """Return the accounts with an open incident, as the watchdog finds them."""
        return self.store.open_accounts()

    # --- what is kept ------------------------------------------------------------------------------------------------

    def items(self, partition: str, prefix: str = "") -> list[Item]:
        """Return the items of all partitions that begin like this, and whose sort key does."""
        pks = sorted(pk for pk in self.table._partitions if pk.startswith(partition))
        return [item for pk in pks for item in self.table.query(pk, prefix)]

    def incidents(self, account: str = ACCOUNT) -> list[Incident]:
        """Return every incident of an account, open or closed, the oldest first."""
        ids = [str(item["incident_id"]) for item in self.items("INCIDENT#", "INCIDENT")]
        found = [incident for each in ids if (incident := self.store.incident(each)) is not None]
        return sorted((each for each in found if each.account_id == account), key=lambda each: each.opened_at)

    def check_chains(self) -> None:
        """Every account's chain is whole."""
        months: dict[str, list[str]] = {}
        for pk in self.table._partitions:
            if pk.startswith("EVENTS#"):
                _, account, month = pk.split("#")
                months.setdefault(account, []).append(month)
        for account, found in months.items():
            report = self.store.verify_chain(account, found)
            assert report.faults == ()
            assert report.events == report.sequence

    def check_counts(self) -> None:
        """Each record of a closed incident was counted in exactly one of its alerts, which are numbered 1, 2, 3, …"""
        for item in self.items("INCIDENT#", "INCIDENT"):
            alerts = [alert for alert in self.alerts if alert.incident_id == item["incident_id"]]
            assert [alert.number for alert in alerts] == list(range(1, len(alerts) + 1))
            assert item["state"] == "closed"
            assert sum(alert.counts["since_last_alert"] for alert in alerts) == item["records"]


def in_account(account: str) -> dict[str, Any]:
    """The changes that make a record one of root in another account."""
    return {
        "recipientAccountId": account,
        "userIdentity.accountId": account,
        "userIdentity.arn": f"arn:aws:iam::{account}:root",
        "userIdentity.principalId": account,
    }


def words(alert: Alert) -> str:
    """All that the mail about an alert says, without blanks, so that no line break cuts a name in two."""
    return "".join(sns.email_text(alert).split())


def naming(alerts: Iterable[Alert], *names: str) -> list[Alert]:
    """The alerts whose mail has all of the names in it."""
    wanted = ["".join(name.split()) for name in names]
    return [alert for alert in alerts if all(name in words(alert) for name in wanted)]
