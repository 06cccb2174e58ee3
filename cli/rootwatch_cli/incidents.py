"""`rootwatch incidents`: what is open, and what opened lately, the worst first."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rootwatch.alert import shown, standing, story, visible
from rootwatch.audit.items import moment_text
from rootwatch.audit.store import AuditStore
from rootwatch.errors import DamagedItemError
from rootwatch.incident import Incident, TriageState
from rootwatch_cli.deployed import DeployedStack, Where, on_stack
from rootwatch_cli.inspect import SEVERITY_STYLES

STATE_STYLES: Final = {"open": "bold", "closed": "dim"}


def run_incidents(where: Where, *, months: int, month: str | None, as_json: bool) -> int:
    """Print the open incidents and those of the last months, or those of one month; return 1 if one is damaged."""

    def do(stack: DeployedStack) -> int:
        wanted = [month] if month else last_months(datetime.now(UTC), months)
        ids = [incident_id for each in wanted for incident_id in stack.store.incidents_of(each)]
        if not month:
            ids += stack.store.open_incidents()
        found, damaged = read_incidents(stack.store, ids)
        if as_json:
            for incident in found:
                sys.stdout.write(json.dumps(incident_document(incident), ensure_ascii=True) + "\n")
            sys.stdout.flush()
        else:
            _print_list(found, wanted)
        for incident_id, error in damaged:
            sys.stderr.write(f"{visible(incident_id)}: {error}\n")
        return 1 if damaged else 0

    return on_stack(where, do)


def read_incidents(
    store: AuditStore, incident_ids: Sequence[str]
) -> tuple[list[Incident], list[tuple[str, DamagedItemError]]]:
    """Return the incidents of these ids, the worst first, and what is wrong with those that cannot be read."""
    found, damaged = [], []
    for incident_id, incident in store.incidents(dict.fromkeys(incident_ids)):
        if isinstance(incident, DamagedItemError):
            damaged.append((incident_id, incident))
        else:
            found.append(incident)
    found.sort(key=lambda each: (each.open, each.severity.rank, each.last_at, each.id), reverse=True)
    return found, damaged


def last_months(now: datetime, count: int) -> list[str]:
    """Return the last months (`2026-11`), this one first."""
    number = now.year * 12 + now.month - 1
    return [f"{each // 12:04d}-{each % 12 + 1:02d}" for each in range(number, number - count, -1)]


def state_of(incident: Incident) -> str:
    """Return an incident's state in a word."""
    return "open" if incident.open else "closed"


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its word: "1 alert", "4 alerts"."""
    return f"{number} {one}" if number == 1 else f"{number} {many or one + 's'}"


def incident_document(incident: Incident) -> dict[str, object]:
    """Return an incident as `--json` prints it."""
    return {
        "incident_id": incident.id,
        "account_id": incident.account_id,
        "state": state_of(incident),
        "severity": str(incident.severity),
        "stage": incident.stage.words,
        "triage": str(incident.triage.state),
        "triage_by": incident.triage.by or None,
        "triage_since": moment_text(incident.triage.since) if incident.triage.since else None,
        "opened_at": moment_text(incident.opened_at),
        "last_at": moment_text(incident.last_at),
        "what": story(incident),
        "records": incident.records,
        "reads": incident.reads,
        "alerts": incident.alerts,
        "detections": dict(incident.detections),
        "acts": dict(incident.acts),
        "sources": list(incident.sources),
        "failed_sources": list(incident.failed_sources),
        "regions": list(incident.regions),
    }


def _answered(incident: Incident) -> str:
    return "not answered" if _is_unanswered(incident) else standing(incident)


def _is_unanswered(incident: Incident) -> bool:
    return incident.triage.state is TriageState.OPEN and incident.triage.proposal is None


def span_of(incident: Incident) -> str:
    """Return from when to when an incident lasts, in UTC, without repeating the day."""
    first, last = incident.opened_at, incident.last_at
    same_day = first.date() == last.date()
    end = f"{last:%H:%M}" if same_day else f"{last:%Y-%m-%d %H:%M}"
    return f"{first:%Y-%m-%d %H:%M} to {end} UTC"


def _print_list(incidents: Sequence[Incident], months: Sequence[str]) -> None:
    console = Console()
    if not incidents:
        console.print(Text(f"No incident: none is open, and none opened in {' or '.join(months)}."))
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for position, incident in enumerate(incidents):
        if position:
            table.add_row()
        severity, state = str(incident.severity), state_of(incident)
        counts = f"{counted(incident.records, 'record')} · {counted(incident.alerts, 'alert')}"
        rows = Text.assemble(
            (incident.id, "bold"),
            f"  account {visible(incident.account_id, 40)}\n",
            f"{span_of(incident)} · {counts}\n{_answered(incident)}\n",
            shown(story(incident), 400),
        )
        table.add_row(Text(severity, style=SEVERITY_STYLES[severity]), Text(state, style=STATE_STYLES[state]), rows)
    console.print(table)
    console.print()
    still_open = sum(incident.open for incident in incidents)
    # One that ended waits for an answer all the same, if anybody was told of it.
    unanswered = sum(_is_unanswered(each) and each.triage.alerted_at is not None for each in incidents)
    words = f"{counted(len(incidents), 'incident')}, {still_open} open, {unanswered} not answered."
    console.print(Text(words, style="bold"), end=" ")
    console.print(Text("One in full: rootwatch show INCIDENT"))
