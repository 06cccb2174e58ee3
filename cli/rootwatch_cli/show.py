"""`rootwatch show INCIDENT`: one incident as it went, act by act, alert by alert."""

import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import merge
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rootwatch.alert import Alert, act, addresses, shown, standing, story, visible
from rootwatch.audit.items import Delivery, DeliveryState, alert_of, delivery_of, moment_text, record_of, step_of
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Item, Value, key_of
from rootwatch.channels.sns import alert_document
from rootwatch.detections.catalogue import BY_ID, detect
from rootwatch.detections.detection import Finding, OwnResources, Severity
from rootwatch.errors import DamagedItemError, UnreadableRecordError
from rootwatch.incident import Incident
from rootwatch.record import read_document
from rootwatch.triage import step_words
from rootwatch_cli.deployed import DeployedStack, Where, on_stack
from rootwatch_cli.incidents import STATE_STYLES, counted, incident_document, span_of, state_of
from rootwatch_cli.inspect import SEVERITY_STYLES

_MOST_ROWS: Final = 1000
_ALERT_ID: Final = re.compile(r"([0-9]{8}-[0-9a-f]{10})-[0-9]{4,}")
_MONTH: Final = re.compile(r"([0-9]{4})(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened in an incident. `words` are cleaned; `document` is what `--json` prints of it.

    `kind` is act, alert, delivery, step, or damage for what cannot be understood any more. A delivery that succeeded at
    once is `told` by its alert's own words, and needs no line of its own on the terminal.
    """

    at: datetime
    kind: str
    words: str
    document: Mapping[str, object]
    severity: Severity | None = None
    name: str = ""
    told: bool = False


def run_show(where: Where, incident_id: str, *, as_json: bool) -> int:
    """Print an incident's timeline; return 1 if there is no such incident, or something in it was altered."""

    def do(stack: DeployedStack) -> int:
        found = find_incident(stack.store, incident_id)
        if isinstance(found, str):
            sys.stderr.write(f"{found}\n")
            return 1
        entries = timeline(stack.store, found)
        faults = stack.store.verify_steps(found.id).faults
        status = _print_json(found, entries, faults) if as_json else _print_timeline(found, entries, faults)
        return 1 if status else 0

    return on_stack(where, do)


def find_incident(store: AuditStore, text: str) -> Incident | str:
    """Return the incident of this id, of a unique beginning of it, or of an alert's id; else what to say.

    Raises:
        DamagedItemError: the incident cannot be understood; no retry helps.

    """
    wanted = text.strip().lower()
    of_alert = _ALERT_ID.fullmatch(wanted)
    wanted = of_alert.group(1) if of_alert else wanted
    incident = store.incident(wanted) if wanted else None
    if incident is not None:
        return incident
    month = _MONTH.match(wanted)
    if not month:
        return (
            f"{visible(text, 40)} is no incident. Expected is an id such as 20261103-486e570919, the beginning of one "
            "(its month at least: 202611), or the id of one of its alerts: rootwatch incidents"
        )
    ids = {incident_id for each in _months_around(month) for incident_id in store.incidents_of(each)}
    ids |= set(store.open_incidents())
    found = sorted(each for each in ids if each.startswith(wanted))
    if len(found) > 1:
        few = ", ".join(visible(each) for each in found[:5])
        return f"{len(found)} incidents begin with {visible(text, 40)}: {few}{', …' if len(found) > 5 else ''}"  # noqa: PLR2004
    incident = store.incident(found[0]) if found else None
    return incident or f"No incident begins with {visible(text, 40)}: rootwatch incidents"


def _months_around(month: re.Match[str]) -> list[str]:
    """Return the month of an id and the one before: a record that came late may have moved the beginning there."""
    number = int(month.group(1)) * 12 + int(month.group(2)) - 1
    return [f"{each // 12:04d}-{each % 12 + 1:02d}" for each in (number, number - 1)]


# --- what happened -------------------------------------------------------------------------------------------------


def timeline(store: AuditStore, incident: Incident) -> Iterator[Entry]:
    """Yield what happened in an incident by its time: acts, alerts, their deliveries and the steps people took.

    Acts are read as they are asked for, so that an incident of any size fits.
    """
    undated: list[Entry] = []
    items = store.incident_items(incident.id)
    others = list(_of_items(items, incident.opened_at))

    def acts() -> Iterator[Entry]:
        for item in store.incident_events(incident):
            entry = _act(item)
            if item.get("event_time") is None:
                undated.append(entry)
            else:
                yield entry

    yield from merge(acts(), sorted(others, key=_order), key=_order)
    yield from sorted(undated, key=_order)


def _order(entry: Entry) -> tuple[datetime, int]:
    """Return by what entries are ordered: at one moment first what was done, then what was told of it."""
    return entry.at, _KINDS.index(entry.kind)


_KINDS: Final = ("damage", "act", "alert", "delivery", "step")


def _act(item: Item) -> Entry:
    stated = item.get("event_time")
    at = _moment(stated) or _moment(item.get("received_at")) or datetime.fromtimestamp(0, UTC)
    names = ("event_id", "event_name", "event_source", "region", "actor", "outcome", "source_ip", "severity",
             "detections", "target_account_id", "received_at", "sequence", "sha256")  # fmt: skip
    document = {"time": stated, **{name: item.get(name) for name in names}}
    try:
        record = read_document(record_of(item))
        severity = Severity(str(item.get("severity")))
    except (DamagedItemError, UnreadableRecordError, ValueError):
        words = f"an event that cannot be read any more: {shown(key_of(item).sk, 200)}"
        return Entry(at, "damage", words, document)
    fresh = {finding.detection.id: finding for finding in detect(record, OwnResources())}
    stored = item.get("detections")
    ids = [str(each) for each in stored] if isinstance(stored, list) else []
    findings = [fresh.get(each) or Finding(BY_ID[each], severity) for each in ids if each in BY_ID]
    words = act(record, findings)
    if record.target:
        words += f" on {shown(record.target, 80)}"
    source = item.get("source_ip") or record.source_text
    words += f", from {shown(source, 48)}" if source else ", source not stated"
    if record.region:
        words += f", {shown(record.region, 24)}"
    return Entry(at, "act", words, document, severity, shown(record.event_name or "(no event name)", 40))


def _of_items(items: Iterable[Item], opened_at: datetime) -> Iterator[Entry]:
    """Yield the entries of an incident's own items; an alert counts when it became due, not by its act's time."""
    alerts: list[Alert] = []
    deliveries: dict[int, list[Delivery]] = {}
    for item in items:
        sk = key_of(item).sk
        try:
            if sk.startswith("ALERT#"):
                alerts.append(alert_of(item))
            elif sk.startswith("DELIVERY#"):
                delivery = delivery_of(item)
                deliveries.setdefault(delivery.number, []).append(delivery)
                yield from _attempts(delivery)
            elif sk.startswith("STEP#"):
                yield _step(sk, item)
        except DamagedItemError as error:
            yield Entry(opened_at, "damage", f"{shown(sk, 200)}: {error}", {"sk": sk})
    for alert in alerts:
        of_it = deliveries.get(alert.number, [])
        due_at = min((delivery.due_at for delivery in of_it), default=alert.time)
        words = f"alert {alert.number}: {shown(alert.headline, 240)}"
        sent = [f"{shown(each.channel, 20)} {each.attempts[0].at:%H:%M:%S}" for each in of_it if _sent_at_once(each)]
        words += f" → {', '.join(sent)}" if sent else ""
        document = {**alert_document(alert), "kind": "alert", "alert_kind": alert.kind}
        yield Entry(due_at, "alert", words, document, alert.severity)


def _sent_at_once(delivery: Delivery) -> bool:
    return delivery.state is DeliveryState.SENT and len(delivery.attempts) == 1


def _attempts(delivery: Delivery) -> Iterator[Entry]:
    """Yield each try to deliver an alert, the last one with the state that it led to."""
    for position, attempt in enumerate(delivery.attempts, start=1):
        is_last = position == len(delivery.attempts)
        state = delivery.state if is_last else DeliveryState.FAILED
        receipt = f", receipt {shown(delivery.receipt, 80)}" if is_last and delivery.receipt else ""
        error = f": {shown(attempt.error, 200)}" if attempt.error else ""
        final = ", for good" if is_last and delivery.refused else ""
        words = f"alert {delivery.number} on {shown(delivery.channel, 20)}: {state}{final}{receipt}{error}"
        yield _delivery(delivery, attempt.at, words, str(state), attempt.error)
    if not delivery.attempts:
        words = f"alert {delivery.number} on {shown(delivery.channel, 20)}: {delivery.state}, not tried yet"
        yield _delivery(delivery, delivery.due_at, words, str(delivery.state), None)


def _delivery(delivery: Delivery, at: datetime, words: str, state: str, error: str | None) -> Entry:
    document = {
        "time": moment_text(at),
        "channel": delivery.channel,
        "number": delivery.number,
        "state": state,
        "error": error,
        "receipt": delivery.receipt,
    }
    return Entry(at, "delivery", words, document, told=_sent_at_once(delivery))


def _step(sk: str, item: Item) -> Entry:
    """Return a step of triage, with all that its item says; one of a kind we do not know as it stands."""
    said = {name: value for name, value in item.items() if name not in {"pk", "sk", "schema_version"}}
    at = _moment(sk.split("#")[1]) or datetime.fromtimestamp(0, UTC)
    try:
        words = f"triage: {step_words(step_of(item))}"
    except DamagedItemError:
        words = ", ".join(f"{shown(name, 40)} {shown(value, 200)}" for name, value in said.items() if value is not None)
        return Entry(at, "step", f"step: {words}", {"time": moment_text(at), **said})
    document = {"time": moment_text(at), **{("step" if name == "kind" else name): said[name] for name in said}}
    return Entry(at, "step", words, document)


def _moment(value: Value) -> datetime | None:
    try:
        return datetime.fromisoformat(str(value)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


# --- how it is printed ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Count:
    """What was seen of a timeline while it went by."""

    acts: int = 0
    damaged: int = 0

    def passing(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Yield the entries as they are and count them."""
        for entry in entries:
            self.acts += entry.kind == "act"
            self.damaged += entry.kind == "damage"
            yield entry


def _print_json(incident: Incident, entries: Iterable[Entry], faults: Sequence[str]) -> int:
    """Print the incident and then a line for each entry; return 1 if anything was altered."""
    count = _Count()
    _line({"kind": "incident", **incident_document(incident)})
    for entry in count.passing(entries):
        _line({"kind": entry.kind, "at": moment_text(entry.at), "words": entry.words, **entry.document})
    sys.stdout.flush()
    sys.stderr.write("".join(f"{remark}\n" for remark in _remarks(incident, count, faults)))
    return 1 if count.damaged or faults else 0


def _line(document: Mapping[str, object]) -> None:
    # ASCII only: a record's terminal escapes stay harmless text. Bytes can only stand in an item that was altered.
    sys.stdout.write(json.dumps(document, ensure_ascii=True, default=repr) + "\n")


def _remarks(incident: Incident, count: _Count, faults: Sequence[str]) -> Iterator[str]:
    missing = incident.records - count.acts - count.damaged
    if missing > 0:
        yield (
            f"{missing} of its {counted(incident.records, 'record')} cannot be found between its first and last act. "
            "They state a time far from it, or were removed: rootwatch verify"
        )
    if count.damaged:
        yield f"{counted(count.damaged, 'entry was', 'entries were')} altered in the table: rootwatch verify"
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        yield f"{visible(faults[0], 400)}{more}: rootwatch verify"


def _print_timeline(incident: Incident, entries: Iterable[Entry], faults: Sequence[str]) -> int:
    """Print the incident and its timeline; return 1 if anything was altered."""
    console, count = Console(), _Count()
    console.print(_head(incident))
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    day, rows = "", 0
    for row in _rows(count.passing(entries)):
        rows += 1
        if rows > _MOST_ROWS:
            continue
        if f"{row.first.at:%Y-%m-%d}" != day:
            day = f"{row.first.at:%Y-%m-%d}"
            table.add_row(Text(day, style="bold"), Text("UTC", style="bold"))
        severity = str(row.first.severity or "")
        style = SEVERITY_STYLES.get(severity, "")
        words = Text(row.words, style=_STYLES.get(row.first.kind, ""))
        table.add_row(f"{row.first.at:%H:%M:%S}", Text(severity, style=style), words)
    console.print(table)
    remarks = [*_remarks(incident, count, faults)]
    if rows > _MOST_ROWS:
        remarks.append(f"{rows - _MOST_ROWS} further lines: rootwatch show {incident.id} --json")
    for remark in remarks:
        console.print(Text(remark, style="bold red"))
    return 1 if count.damaged or faults else 0


_STYLES: Final = {"alert": "dim", "delivery": "dim", "step": "cyan", "damage": "bold red"}


def _head(incident: Incident) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    severity, state = str(incident.severity), state_of(incident)
    table.add_row("Incident", Text(incident.id, style="bold"))
    table.add_row("Account", Text(visible(incident.account_id, 40)))
    table.add_row(
        "State",
        Text.assemble(
            (state, STATE_STYLES[state]), ", ", (severity, SEVERITY_STYLES[severity]), f", {_stage(incident)}"
        ),
    )
    table.add_row("Triage", Text(standing(incident)))
    table.add_row("When", Text(span_of(incident)))
    table.add_row("Root from", Text(addresses(incident.sources) or "none stated"))
    if incident.failed_sources:
        table.add_row(
            "Also from", Text(f"{addresses(incident.failed_sources)} (failed attempts, and others than root)")
        )
    counts = f"{counted(incident.records, 'record')}, {counted(incident.alerts, 'alert')}"
    table.add_row("Counts", Text(counts))
    table.add_row("What", Text(shown(story(incident), 400)))
    table.add_row("")
    return table


def _stage(incident: Incident) -> str:
    return f"stage: {incident.stage.words}"


@dataclass(slots=True)
class _Row:
    """Acts in a row that a person reads as one, quiet ones or the same thing again; or any other single entry."""

    first: Entry
    last: Entry
    key: str | None
    names: Counter[str]

    @property
    def words(self) -> str:
        """Return what happened, and how often."""
        times = self.names.total()
        if times == 1:
            return self.first.words
        until = "" if self.first.at == self.last.at else f" until {self.last.at:%H:%M:%S}"
        if self.key != _QUIET:
            return f"{times} times{until}: {self.first.words}"
        rare_first = sorted(self.names.items(), key=lambda each: (each[1], each[0]))
        names = [name if count == 1 else f"{count} times {name}" for name, count in rare_first[:6]]
        more = f" and {len(rare_first) - 6} other names" if len(rare_first) > 6 else ""  # noqa: PLR2004 - two lines
        if len(names) == 1:
            return f"{names[0]}{until}"
        return f"{times} acts{until}: {', '.join(names)}{more}"


_QUIET: Final = "quiet"


def _rows(entries: Iterable[Entry]) -> Iterator[_Row]:
    row: _Row | None = None
    for entry in entries:
        if entry.told:
            continue
        key = (_QUIET if entry.severity is Severity.INFO else entry.words) if entry.kind == "act" else None
        if row is not None and key is not None and key == row.key and entry.at.date() == row.first.at.date():
            row.last = entry
            row.names[entry.name] += 1
            continue
        if row is not None:
            yield row
        row = _Row(entry, entry, key, Counter({entry.name: 1}))
    if row is not None:
        yield row
