"""A record with everything that is known about it: what the later steps work on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from rootwatch.context import client, role_alternative, root_tasks, source
from rootwatch.context.client import Client
from rootwatch.context.root_tasks import RootNeed
from rootwatch.context.source import Network, Source
from rootwatch.detections.catalogue import detect, highest
from rootwatch.detections.detection import Finding, OwnResources, Severity
from rootwatch.detections.organization import looks_assumed
from rootwatch.record import ActorKind, Record

LATE_AFTER = timedelta(minutes=15)
"""CloudTrail delivers most records within 15 minutes; later ones carry the mark "late"."""

FUTURE_AFTER = timedelta(minutes=5)
"""Clocks differ by less; a later event time is not believed for membership in an incident."""


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """What is remembered of an access key that AssumeRoot issued: by whose call, for which task, for which account.

    `account_id` is the account that called, `story` the story of its incident; `issued_at` is the call's time, UTC.
    """

    account_id: str
    story: str
    caller: str
    task_policy: str | None
    target_account_id: str | None
    issued_at: datetime


@dataclass(frozen=True, slots=True)
class Observation:
    """One record, its findings and its surroundings. `sent_at` is when it reached the intake queue (UTC).

    `sent_at` is None for records out of files, which have no time of arrival. `issued` is the AssumeRoot call that
    issued the record's access key, where that is known. `may_wait` is true the first time that the queue hands it over.
    """

    record: Record
    findings: tuple[Finding, ...]
    source: Source
    client: Client
    sent_at: datetime | None
    problems: tuple[str, ...]
    event_id_reused: bool = False
    issued: IssuedKey | None = None
    may_wait: bool = False

    @property
    def relevant(self) -> bool:
        """Return whether the record concerns root at all."""
        return self.record.actor.by_root or bool(self.findings)

    @property
    def admitted(self) -> bool:
        """Return whether a record may count as CloudTrail's: out of a file, from AWS, or from the replay source."""
        return self.record.envelope is None or self.record.envelope.admitted

    @property
    def severity(self) -> Severity | None:
        """Return the highest severity of the findings; None for a record that does not concern root."""
        return highest(tuple(finding.severity for finding in self.findings))

    @property
    def time(self) -> datetime:
        """Return the time (UTC) by which the record joins an incident: its event time.

        A record without one, or with one in the future, counts by its arrival; without either, by the start of 1970.
        """
        stated = self.record.event_time
        if self.sent_at is not None and (stated is None or stated > self.sent_at + FUTURE_AFTER):
            return self.sent_at
        return stated or datetime(1970, 1, 1, tzinfo=UTC)

    @property
    def delay(self) -> timedelta | None:
        """Return the time from the event to its arrival in our queue, so that our own backlog is never "late"."""
        if self.sent_at is None or self.record.event_time is None:
            return None
        return self.sent_at - self.record.event_time

    @property
    def root_need(self) -> RootNeed | None:
        """Return the task that only root can do, where the record shows one."""
        return root_tasks.need(self.record)

    @property
    def role_alternative(self) -> str | None:
        """Return the IAM action with which a role could have done what root did; None where that is not known."""
        return role_alternative.for_record(self.record)

    @property
    def late(self) -> bool:
        """Return whether CloudTrail delivered the record more than 15 minutes after the event."""
        return self.delay is not None and self.delay > LATE_AFTER


def observe(
    record: Record,
    own: OwnResources,
    *,
    sent_at: datetime | None = None,
    trusted_networks: Sequence[Network] = (),
) -> Observation:
    """Join a record with its detections and its stateless context; never raises."""
    if looks_assumed(record):
        record = replace(record, actor=replace(record.actor, kind=ActorKind.ASSUMED_ROOT))
    problems = list(record.problems)
    where = source.classify(record.source_text, trusted_networks)
    if where.raw is not None and "," in where.raw and where.ip:
        problems.append("sourceIPAddress is a list; the first public address counts")
    elif where.kind is source.SourceKind.INVALID:
        problems.append("sourceIPAddress is no address")
    if sent_at is not None and record.event_time is not None and record.event_time > sent_at + FUTURE_AFTER:
        problems.append("eventTime lies in the future; the time of arrival counts")
    return Observation(
        record=record,
        findings=detect(record, own),
        source=where,
        client=client.classify(record.user_agent),
        sent_at=sent_at,
        problems=tuple(dict.fromkeys(problems)),
    )


def tied(observation: Observation, issued: IssuedKey, own: OwnResources) -> Observation:
    """Return the observation of a record whose access key an AssumeRoot call issued, whatever its record says of it."""
    record = observation.record
    record = replace(record, actor=replace(record.actor, kind=ActorKind.ASSUMED_ROOT))
    return replace(observation, record=record, findings=detect(record, own), issued=issued)
