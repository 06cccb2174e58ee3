"""What a detection is: a named meaning of a record, with all that a person needs to act on it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Final

from rootwatch.record import ActorKind, Record


class Severity(StrEnum):
    """How urgent a meaning is. Compare with `rank`; the values are what people and filters see."""

    INFO = "info"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Return 0 for info up to 4 for critical."""
        return _RANKS[self]


_RANKS = {severity: rank for rank, severity in enumerate(Severity)}


class Stage(IntEnum):
    """How far a takeover of the account has come."""

    NONE = 0
    ATTEMPT = 1
    IN = 2
    CREDENTIALS_CHANGED = 3
    LOGGING_CHANGED = 4
    DESTRUCTION = 5

    @property
    def words(self) -> str:
        """Return the stage as people read it, such as "credentials changed"."""
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True, slots=True)
class OwnResources:
    """The names of this deployment of Rootwatch: how tampering with it is recognised."""

    stack_name: str = "rootwatch"
    key_id: str = ""
    deployment_role_arn: str = ""


@dataclass(frozen=True, slots=True)
class Detection:
    """One row of the catalogue.

    `done` and `tried` complete a sentence that begins with who acted ("Root …"). `severity_rule` says in one sentence
    when it has which severity. `rule` returns that severity, or None where the record does not mean this; it never
    raises. A detection without a rule needs the account's history and is found by `incident.fold`.
    """

    id: str
    title: str
    done: str
    tried: str
    why: str
    severity_rule: str
    techniques: tuple[str, ...]
    controls: tuple[str, ...]
    next_steps: tuple[str, str, str]
    rule: Callable[[Record, OwnResources], Severity | None] | None = field(default=None, repr=False)
    stage: Stage = Stage.NONE
    changes_credential: bool = False

    @property
    def stem(self) -> str:
        """Return the id without `root.`: the name of the specimen, the expectation and the runbook's heading."""
        return self.id.removeprefix("root.")


@dataclass(frozen=True, slots=True)
class Finding:
    """A detection that fits a record, with the severity it has there."""

    detection: Detection
    severity: Severity


MONITORED_ROOT_USE = (
    "CIS AWS Foundations 3.0.0: 1.7, 4.3",
    "CIS AWS Foundations 5.0.0: 1.6, 4.3",
    "PCI DSS 4.0.1: 10.2.1.2",
    "NIST 800-53 r5: AC-6(9), AU-6",
    "SOC 2: CC7.2",
)
"""Controls that every detection of root use supports: use of root is rare, monitored and reviewed."""

PRIVILEGED_CREDENTIALS = (*MONITORED_ROOT_USE, "NIST 800-53 r5: AC-2(1), IA-2(1)", "SOC 2: CC6.1")
"""Controls that detections of changed root credentials support besides."""

AUDIT_TRAIL_PROTECTED = ("PCI DSS 4.0.1: 10.2.1.6, 10.3.2", "NIST 800-53 r5: AU-9, AU-12", "SOC 2: CC7.2")
"""Controls that detections of changed logging support."""


def named(record: Record, *names: str, service: str = "") -> bool:
    """Return whether the record is one of these events, of this service where both name one.

    A record that lost its event source still counts: the name alone is enough to look at it.
    """
    if record.event_name not in names:
        return False
    return not service or not record.service or record.service == service


def by_root_or_nobody_named(record: Record) -> bool:
    """Return whether root did it, or the record names nobody: what only root can do was then root's."""
    return record.actor.by_root or record.actor.kind is ActorKind.UNKNOWN


class Acts:
    """Events, by the service that records them: `record in acts` says whether a record is one of them.

    A record that lost its event source still counts, by its name alone. Lambda's events carry the date of their API
    (DeleteFunction20150331); it is left away.
    """

    def __init__(self, events: Mapping[str, str]) -> None:
        """Take the names of each service's events, parted by blanks."""
        self._events: Final = {service: frozenset(names.split()) for service, names in events.items()}
        self._names: Final = frozenset().union(*self._events.values())

    def __contains__(self, record: Record) -> bool:
        name = undated_name(record)
        return name in self._names and (not record.service or name in self._events.get(record.service, ()))


def undated_name(record: Record) -> str:
    """Return the event's name without the date of Lambda's API: DeleteFunction of DeleteFunction20150331."""
    name = record.event_name or ""
    return _API_DATE.sub("", name) if name[-1:].isdigit() else name


_API_DATE: Final = re.compile(r"20[0-9]{6}(?:v[0-9])?\Z")
