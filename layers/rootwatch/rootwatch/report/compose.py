"""The steps joined: from the table to the report. Read this first."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from rootwatch import __version__
from rootwatch.alert import clock, visible
from rootwatch.audit.items import moment_text
from rootwatch.audit.store import AuditStore
from rootwatch.errors import DamagedItemError
from rootwatch.report.aggregate import MOST_ATTEMPTS, Reading, Totals, read_months
from rootwatch.report.exceptions import exceptional
from rootwatch.report.model import (
    AccountStatement,
    DeadLetters,
    Exceptional,
    ExceptionKind,
    Integrity,
    Monitoring,
    Operation,
    Origin,
    Period,
    Policy,
    PostureNotRead,
    Report,
    Use,
    UseKind,
    counted,
    listed,
)
from rootwatch.report.monitoring import (
    NOT_PROVEN,
    days_before,
    gaps,
    monitoring_of,
    named_days,
    proof_words,
    unwatched_words,
)
from rootwatch.report.policy import grants_more, policy_documents
from rootwatch.report.review import IncidentReader

MOST_COVERED: Final = 200
"""Accounts and regions whose coverage the page lists."""
LETTERS: Final = {
    "intake": "records that could not be read or stored",
    "rule": "records that EventBridge could not hand over",
    "notify": "alerts that a channel refused, or that were not delivered within an hour",
}
"""What lies in each of the watchdog's dead-letter queues, by its kind."""
MOST_NEEDS: Final = 20
MOST_OWNERS: Final = 10


def make_report(reading: Reading, period: Period, register: Callable[[Use], None]) -> Report:
    """Read the table once and return what the report says; its integrity lacks the register's own hash.

    Args:
        reading: what to read.
        period: the month.
        register: takes each row of the register as it is known, by account and time.

    Raises:
        StoreUnavailableError: the table did not answer; a retry helps.

    """
    is_live = reading.origin is Origin.TABLE
    incidents = IncidentReader(reading.store, is_live)
    totals = read_months(reading, period, register, incidents)
    monitoring = _monitoring(reading.store, period, totals) if is_live else Monitoring()
    letters = _dead_letters(reading, period, totals) if is_live else ()
    _note_what_is_missing(totals, reading, period, monitoring, incidents)
    exceptions = [
        exceptional(kind, found.count, found.places, found.count - found.named)
        for kind in ExceptionKind
        if (found := totals.exceptions.get(kind)) is not None
    ]
    statements = tuple(replace(each, statement=_statement(each, monitoring, period)) for each in totals.statements)
    gravest = sorted((entry[2] for entry in totals.gravest), key=lambda use: (use.first_at, use.account_id))
    policies = tuple(_policies(totals))
    months = tuple(totals.figures(month) for month in [*period.before(), period.name])
    use_count = totals.kinds[UseKind.ROOT] + totals.kinds[UseKind.DELEGATED]
    return Report(
        period=period,
        origin=reading.origin,
        verdict=_verdict(use_count, exceptions, statements, monitoring, period),
        is_clean=not exceptions,
        exceptions=tuple(exceptions),
        statements=statements,
        uses=tuple(gravest),
        more_uses=totals.rows - len(gravest),
        use_count=use_count,
        attempts=tuple(totals.attempts),
        more_attempts=max(0, totals.attempt_count + totals.recovery_count - MOST_ATTEMPTS),
        attempt_count=totals.attempt_count,
        recovery_count=totals.recovery_count,
        timing=incidents.spans(),
        escalations=incidents.escalations,
        acknowledge_within=int(reading.acknowledge_within.total_seconds() // 60),
        operation=_operation(totals, reading, monitoring, incidents, letters, period),
        policies=policies,
        avoidable_acts=sum(actions.total() for actions in totals.avoidable.values()) + totals.suspicious_acts,
        suspicious_acts=totals.suspicious_acts,
        needed_root=dict(totals.needed_root.most_common(MOST_NEEDS)),
        postures=tuple(totals.postures),
        postures_not_read=tuple(_not_read(totals)),
        posture_remark=totals.credentials.remark,
        months=months,
        mfa={name: totals.mfa[name] for name in ("yes", "no", "not stated")},
        stages=dict(totals.stages),
        owners=dict(sorted(totals.owners.items(), key=lambda entry: (-entry[1], entry[0]))),
        regions=tuple(sorted(totals.regions)),
        integrity=_integrity(totals, statements),
        limits=tuple(_limits(reading, period, monitoring, incidents, totals)),
    )


def _monitoring(store: AuditStore, period: Period, totals: Totals) -> Monitoring:
    heard = store.heard_hours(period.name)
    return monitoring_of(store.canary_items(), period, store.places(), heard, totals.first_received)


def _note_what_is_missing(
    totals: Totals, reading: Reading, period: Period, monitoring: Monitoring, incidents: IncidentReader
) -> None:
    if reading.unreadable:
        words = counted(reading.unreadable, "part of the input", "parts of the input")
        totals.note(ExceptionKind.UNREADABLE, words, reading.unreadable)
    for where in incidents.damaged:
        totals.note(ExceptionKind.DAMAGED, where)
    for where, times in sorted(incidents.undelivered.items()):
        totals.note(ExceptionKind.NOT_DELIVERED, where, times)
    if not monitoring.recorded:
        was_there = monitoring.since is None or monitoring.since < period.until
        why = "nothing proves it" if was_there else unwatched_words(monitoring)
        totals.note(ExceptionKind.MONITORING_GAP, f"all of {period.name}: {why}", period.days_begun)
    else:
        for words, days in gaps(monitoring, period):
            totals.note(ExceptionKind.MONITORING_GAP, words, days)
    for each in _not_read(totals):
        totals.note(ExceptionKind.POSTURE_NOT_READ, f"account {each.account_id}: {each.why}")


def _not_read(totals: Totals) -> list[PostureNotRead]:
    return [
        PostureNotRead(visible(account_id, 40), visible(totals.names.get(account_id, ""), 60), visible(why, 200))
        for account_id, why in sorted(totals.credentials.not_read.items())
    ]


def _statement(each: AccountStatement, monitoring: Monitoring, period: Period) -> str:
    """Return what is stated of an account: the same sentence whether root was used or not."""
    parts = [f"{counted(each.uses, 'use')} of root recorded" if each.uses else "No root use recorded"]
    if each.attempts:
        parts.append(counted(each.attempts, "failed or recovery attempt"))
    if each.service_acts:
        parts.append(f"{counted(each.service_acts, 'act')} of AWS services on root's behalf")
    if each.others_acts:
        parts.append(f"{counted(each.others_acts, 'act')} of others that concern root")
    return f"{'; '.join(parts)}; {proof_words(monitoring, period, each.account_id)}."


def _verdict(
    uses: int,
    exceptions: Sequence[Exceptional],
    statements: Sequence[AccountStatement],
    monitoring: Monitoring,
    period: Period,
) -> str:
    used = sum(each.uses > 0 for each in statements)
    accounts = counted(len(statements), "account")
    if uses:
        what = f"Root was used {'once' if uses == 1 else f'{uses:,} times'} in {used} of {accounts}"
    else:
        what = f"No use of root was recorded in {accounts}"
    so_far = " so far" if period.in_progress else ""
    if not statements:
        what = "No account is known, and nothing was recorded"
    kinds = len(exceptions)
    found = f"{counted(kinds, 'kind')} of exception" if kinds else "no exceptions"
    proof = NOT_PROVEN
    if monitoring.recorded:
        proof = f"monitoring proven on {len(monitoring.proven)} of {monitoring.days} days"
        if monitoring.since is not None:
            proof += f", {unwatched_words(monitoring)}"
    others = [day for day in monitoring.missing if day not in days_before(period, monitoring.since)]
    if 0 < len(others) <= 3:  # noqa: PLR2004 - more, and why, are named one by one further down
        proof += f", not on {', '.join(named_days(period.name, others))}"
    if silent := {each.account_id for each in monitoring.forwarders if not {*each.missing} <= {*monitoring.missing}}:
        proof += (
            f", on fewer for {counted(len(silent), 'account')} that {'forwards' if len(silent) == 1 else 'forward'}"
        )
    return f"{what}{so_far}; {proof}; {found}."


def _policies(totals: Totals) -> list[Policy]:
    return [
        Policy(
            account_id=visible(account_id, 40),
            account_name=visible(totals.names.get(account_id, ""), 60),
            acts=sum(actions.values()),
            actions=dict(sorted(actions.items(), key=lambda entry: (-entry[1], entry[0]))),
            document=document,
            grants_more=grants_more(actions),
        )
        for account_id, actions in sorted(totals.avoidable.items())
        for document in policy_documents(actions)
    ]


def _dead_letters(reading: Reading, period: Period, totals: Totals) -> tuple[DeadLetters, ...]:
    """Return what the watchdog saw of dead letters, each queue's an exception; what was changed there is one too."""
    found = []
    for seen in reading.store.every_seen_letters(period.name):
        if isinstance(seen, DamagedItemError):
            totals.note(ExceptionKind.DAMAGED, f"what was seen of dead letters in {period.name}")
            continue
        queue, what = visible(seen.queue, 100), LETTERS.get(seen.kind, "of another kind")
        totals.note(ExceptionKind.DEAD_LETTERS, f"{queue}: {what}, from {clock(seen.first_at)} on", seen.most)
        found.append(DeadLetters(queue, what, seen.most, seen.first_at, seen.gone_at))
    return tuple(found)


def _operation(  # noqa: PLR0913, PLR0917 - what the operation is told by
    totals: Totals,
    reading: Reading,
    monitoring: Monitoring,
    incidents: IncidentReader,
    letters: tuple[DeadLetters, ...],
    period: Period,
) -> Operation:
    items = reading.store.coverage_items(MOST_COVERED) if reading.origin is Origin.TABLE else iter(())
    # Those that were heard only later belong to no report of before.
    covered = [
        visible(str(item.get("sk") or ""), 60).replace("#", ", ")
        for item in items
        if str(item.get("first_at") or "") < moment_text(period.end)
    ]
    return Operation(
        monitoring=monitoring,
        channels=incidents.channel_figures(),
        alerts=incidents.alerts,
        dead_letters=letters,
        changes=tuple(totals.changes),
        more_changes=totals.change_count - len(totals.changes),
        lowered=totals.lowered,
        late=totals.late,
        of_earlier_months=totals.of_earlier_months,
        coverage=tuple(covered),
    )


def _integrity(totals: Totals, statements: Sequence[AccountStatement]) -> Integrity:
    digest = hashlib.sha256()
    for each in statements:
        digest.update(f"{each.account_id} {each.records_sha256}\n".encode())
    return Integrity(
        version=__version__,
        records=totals.records,
        in_register=totals.in_register,
        service_acts=totals.service_acts,
        outside_incidents=totals.outside,
        undated=totals.undated,
        register_rows=totals.rows,
        register_sha256="",
        records_sha256=digest.hexdigest(),
        older_rows=totals.older,
        chains=len(statements),
        broken_chains=sum(bool(each.chain.faults) for each in statements),
    )


def _limits(
    reading: Reading, period: Period, monitoring: Monitoring, incidents: IncidentReader, totals: Totals
) -> list[str]:
    """Return what this report cannot say, in words."""
    limits = []
    if period.in_progress:
        limits.append(f"{period.title} is not over: these figures are preliminary.")
    if totals.last_received is not None:
        came = f"{counted(totals.after_end, 'record')} of {period.title} arrived only after the report was due"
        limits.append(
            f"{came}, the last at {clock(totals.last_received)}: a report that was made before lacks the later ones."
        )
    if reading.origin is Origin.FILES:
        limits.append(
            "Made from record files: nobody was alerted of them, the files may not be complete, and nothing proves "
            "that anything watched the accounts. Timing, deliveries and answers are not measured."
        )
    elif not monitoring.recorded:
        limits.append(
            "No canary and no source heartbeat is recorded: that no use was recorded does not prove there was none."
        )
    if reading.origin is Origin.TABLE and not incidents.steps:
        limits.append("No step of triage is recorded: acknowledgement, reviewer and verdict are not recorded.")
    if monitoring.remark:
        limits.append(f"{monitoring.remark}.")
    if not totals.credentials.by_account:
        limits.append(f"Credential posture: {visible(totals.credentials.remark, 200)}.")
    if totals.regions:
        limits.append(
            f"Records came from these regions, and say nothing of others: {listed(sorted(totals.regions), 20)}."
        )
    return limits
