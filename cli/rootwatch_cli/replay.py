"""`rootwatch replay`: the whole pipeline on files, by the records' own clock."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from rootwatch.alert import Alert, visible
from rootwatch.audit.memory import MemoryTable
from rootwatch.audit.store import AuditStore
from rootwatch.channels import slack, sns
from rootwatch.context.surroundings import StatedNames
from rootwatch.detections.detection import OwnResources
from rootwatch.pipeline import Clock, Recorder, ReplaySummary
from rootwatch.pipeline import replay as replay_records
from rootwatch.settings import Network
from rootwatch_cli.inspect import SEVERITY_STYLES, Unreadable, observations, told_if_empty

if TYPE_CHECKING:
    from rootwatch.context.observation import Observation

TOPIC_ARN = "arn:aws:sns:us-east-1:111122223333:rootwatch-alerts"
"""The topic that `--render sns` names: offline there is none."""

WIDTH = 84
"""Columns of an alert on the terminal."""

_ALERT_FIELDS = (
    "alert_id", "incident_id", "account_id", "time", "why", "severity", "headline", "detections", "event_ids", "counts",
    "chain",
)  # fmt: skip


def run_replay(  # noqa: PLR0913 - the command's options
    files: Sequence[str],
    *,
    as_json: bool,
    render: str | None,
    stack_name: str,
    idle_minutes: int,
    runbook_url: str,
    custodians: str,
    trusted_networks: Sequence[Network],
    account_names: Mapping[str, str],
) -> int:
    """Print each alert that the records cause; return 1 if anything could not be read, else 0."""
    errors = Console(stderr=True, soft_wrap=True)
    own = OwnResources(stack_name)
    summary = ReplaySummary()
    records: list[Observation] = []
    with errors.status("Reading…") if errors.is_terminal else _Quiet():
        for each in told_if_empty(observations(files, own, trusted_networks), files):
            if isinstance(each, Unreadable):
                summary.rejected += 1
                summary.records += 1
                errors.print(
                    Text(f"{visible(each.file)}, {visible(each.position)}: {visible(each.error, 400)}", style="red")
                )
            else:
                records.append(each)
    clock = Clock(datetime(1970, 1, 1, tzinfo=UTC))
    recorder = Recorder(
        store=AuditStore(MemoryTable()),
        own=own,
        idle=timedelta(minutes=idle_minutes),
        now=clock,
        pause=lambda _attempt: None,
        custodians=custodians,
        trusted_networks=trusted_networks,
        surroundings=StatedNames(account_names),
    )
    show = _printer(as_json=as_json, render=render, runbook_url=runbook_url)
    for alert in replay_records(records, recorder, clock, summary):
        show(alert)
    _print_summary(summary, as_json=as_json, render=render)
    return 1 if summary.rejected else 0


class _Quiet:
    """Stands in for the progress display where standard error is no terminal."""

    def __enter__(self) -> None:
        """Show nothing."""

    def __exit__(self, *_exception: object) -> None:
        """Show nothing."""


def _printer(*, as_json: bool, render: str | None, runbook_url: str) -> Callable[[Alert], None]:
    if render == "slack":
        return lambda alert: _line(slack.payload(alert, runbook_url))
    if render == "sns":
        return lambda alert: _line(dict(sns.publish_arguments(alert, TOPIC_ARN, runbook_url)))
    if as_json:
        return lambda alert: _line(_fields(alert))
    console = Console()
    return lambda alert: console.print(_panel(alert, runbook_url))


def _fields(alert: Alert) -> dict[str, object]:
    document = sns.alert_document(alert)
    return {name: document[name] for name in _ALERT_FIELDS}


def _line(value: object) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=True) + "\n")
    sys.stdout.flush()


def _panel(alert: Alert, runbook_url: str) -> Panel:
    text = sns.email_text(alert, runbook_url).rstrip()
    title = Text(f"{alert.severity.upper()} · {', '.join(alert.why)}")
    return Panel(Text(text), title=title, border_style=SEVERITY_STYLES[str(alert.severity)], width=WIDTH)


def _print_summary(summary: ReplaySummary, *, as_json: bool, render: str | None) -> None:
    counts = asdict(summary)
    del counts["irrelevant"]  # records - relevant - rejected
    if render:
        return
    if as_json:
        _line({"summary": counts})
    else:
        text = ", ".join(f"{name} {count}" for name, count in counts.items())
        Console().print(Text(text, style="bold"))
