"""What channels and people did about an incident: its alerts, their deliveries, the steps of triage."""

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median
from typing import Final

from rootwatch.alert import visible
from rootwatch.audit.items import Delivery, DeliveryState, alert_of, delivery_of
from rootwatch.audit.steps import verify_steps
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Item, Value, key_of
from rootwatch.errors import DamagedItemError
from rootwatch.incident import Why
from rootwatch.report.model import ChannelFigures, Review, Span

_ACKNOWLEDGING: Final = frozenset({"acknowledged", "resolved", "suspected", "contained", "closed"})
_ENDING: Final = frozenset({"resolved", "closed"})
_ANSWERED: Final = frozenset({"resolved", "suspected", "contained", "closed"})
_BY_TIME: Final = frozenset({str(Why.SUMMARY), str(Why.PROGRESS)})
_VERDICTS: Final = {"resolved": "expected", "suspected": "suspicious", "contained": "contained", "closed": "closed"}
"""Kinds of steps of triage, and the verdict that each of them is."""


@dataclass(slots=True)
class _Channel:
    sent: int = 0
    at_once: int = 0
    failed_tries: int = 0
    not_sent: int = 0
    unconfigured: int = 0


@dataclass(slots=True)
class IncidentReader:
    """Reads incidents' own partitions, one at a time, and keeps figures of them.

    `is_live` is false where records come from files: nobody was told of anything then.
    """

    store: AuditStore
    is_live: bool
    channels: dict[str, _Channel] = field(default_factory=dict)
    alerts: int = 0
    escalations: int = 0
    steps: int = 0
    damaged: list[str] = field(default_factory=list)
    undelivered: Counter[str] = field(default_factory=Counter)
    to_alert: "array[float]" = field(default_factory=lambda: array("d"))
    to_acknowledge: "array[float]" = field(default_factory=lambda: array("d"))
    to_close: "array[float]" = field(default_factory=lambda: array("d"))

    def read(self, incident_id: str, account_id: str) -> Review:
        """Return what was done about an incident; its figures count once, in the account whose incident it is."""
        if not self.is_live:
            return Review()
        alert_times: dict[int, datetime | None] = {}
        deliveries: list[Delivery] = []
        steps: list[Item] = []
        incident: Item = {}
        items = list(self.store.incident_items(incident_id))
        for item in items:
            sk = key_of(item).sk
            try:
                if sk.startswith("ALERT#"):
                    alert = alert_of(item)
                    # What only time causes tells of no event.
                    alert_times[alert.number] = None if _BY_TIME.issuperset(alert.why) else alert.time
                elif sk.startswith("DELIVERY#"):
                    deliveries.append(delivery_of(item))
                elif sk.startswith("STEP#"):
                    steps.append(item)
                elif sk == "INCIDENT":
                    incident = item
            except DamagedItemError:
                self.damaged.append(f"account {account_id}: {visible(incident_id, 64)} {visible(sk, 64)}")
        review = _review(incident, alert_times, deliveries, steps)
        if incident.get("account_id") == account_id:
            self._count(review, alert_times, deliveries, len(steps))
            faults = verify_steps(incident_id, items).faults
            self.damaged += [f"account {account_id}: {visible(fault, 240)}" for fault in faults]
        return review

    def _count(
        self, review: Review, alert_times: Mapping[int, datetime | None], deliveries: Sequence[Delivery], steps: int
    ) -> None:
        self.alerts += len(alert_times)
        self.steps += steps
        self.escalations += review.escalations
        for delivery in deliveries:
            self._count_delivery(delivery)
        sent = _first_sent(deliveries)
        for number, at in alert_times.items():
            if at is not None and number in sent:
                self.to_alert.append(max(0.0, (sent[number] - at).total_seconds()))
        if review.alerted_at is not None and review.acknowledged_at is not None:
            self.to_acknowledge.append(max(0.0, (review.acknowledged_at - review.alerted_at).total_seconds()))
            if review.closed_at is not None:
                self.to_close.append(max(0.0, (review.closed_at - review.acknowledged_at).total_seconds()))

    def _count_delivery(self, delivery: Delivery) -> None:
        figures = self.channels.setdefault(visible(delivery.channel, 20), _Channel())
        failed = sum(attempt.error is not None for attempt in delivery.attempts)
        figures.failed_tries += failed
        if delivery.state is DeliveryState.SENT:
            figures.sent += 1
            figures.at_once += failed == 0
        elif delivery.state is DeliveryState.UNCONFIGURED:
            figures.unconfigured += 1
        else:
            figures.not_sent += 1
            self.undelivered[f"incident {visible(delivery.incident_id, 64)} on {visible(delivery.channel, 20)}"] += 1

    def channel_figures(self) -> tuple[ChannelFigures, ...]:
        """Return what became of the deliveries, by channel."""
        return tuple(
            ChannelFigures(name, each.sent, each.at_once, each.failed_tries, each.not_sent, each.unconfigured)
            for name, each in sorted(self.channels.items())
        )

    def spans(self) -> tuple[Span, ...]:
        """Return how long alerts, acknowledgements and closures took."""
        measured = {
            "Event to alert": self.to_alert,
            "Alert to acknowledgement": self.to_acknowledge,
            "Acknowledgement to closure": self.to_close,
        }
        return tuple(
            Span(name, len(times), median(times) if times else None, max(times, default=None))
            for name, times in measured.items()
        )


def _first_sent(deliveries: Sequence[Delivery]) -> dict[int, datetime]:
    """Return when each alert first reached a channel."""
    sent: dict[int, datetime] = {}
    for delivery in deliveries:
        if delivery.state is DeliveryState.SENT:
            at = max((attempt.at for attempt in delivery.attempts), default=delivery.due_at)
            sent[delivery.number] = min(at, sent.get(delivery.number, at))
    return sent


def _review(
    incident: Mapping[str, Value],
    alert_times: Mapping[int, datetime | None],
    deliveries: Sequence[Delivery],
    steps: Sequence[Item],
) -> Review:
    sent = _first_sent(deliveries)
    due = [delivery.due_at for delivery in deliveries]
    # An alert that reached nobody is still one that somebody should have acknowledged.
    alerted_at = min(sent.values(), default=min(due, default=None)) if alert_times else None
    acknowledged = closed = answered = None
    escalations = 0
    verdicts: list[str] = []  # a closed incident may have been a suspicious one
    for step in steps:  # in the order of their time, which their key begins with
        kind = _text(step, "kind")
        escalations += kind == "escalated"
        acknowledged = acknowledged or (step if kind in _ACKNOWLEDGING else None)
        closed = step if kind in _ENDING else closed
        answered = step if kind in _ANSWERED else answered
        verdicts += [_VERDICTS[kind]] if kind in _ANSWERED else []
    return Review(
        alerted_at=alerted_at,
        acknowledged_at=_moment(acknowledged),
        acknowledged_by=_who(acknowledged),
        closed_at=_moment(closed),
        reviewer=_who(answered),
        verdict=", ".join(dict.fromkeys(verdicts)),
        reason=visible(_text(answered, "reason"), 200),
        ticket=visible(_text(answered, "ticket"), 64),
        escalations=escalations,
        is_open=_is_open(incident) if incident else None,
    )


def _is_open(incident: Mapping[str, Value]) -> bool:
    """Return whether root may still act in it, or people are not done with it where triage is recorded at all."""
    triage = incident.get("triage")
    is_answered = not isinstance(triage, dict) or triage.get("state") in {"expected", "closed"}
    return incident.get("state") == "open" or not is_answered


def _text(item: Mapping[str, Value] | None, name: str) -> str:
    value = item.get(name) if item is not None else None
    return value if isinstance(value, str) else ""


def _who(step: Mapping[str, Value] | None) -> str:
    name, identity = _text(step, "by_name"), _text(step, "by")
    words = f"{name} ({identity})" if name and identity and name != identity else name or identity
    return visible(words, 160)


def _moment(step: Item | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(_text(step, "at"))
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo is not None else None
