"""`rootwatch inspect`: one line per record, in input order."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from rootwatch.alert import shown, visible
from rootwatch.context.observation import Observation
from rootwatch.detections.detection import OwnResources
from rootwatch.errors import UnreadableRecordError
from rootwatch.pipeline import inspect_document, inspection
from rootwatch.settings import Network
from rootwatch_cli.input import read_inputs

SEVERITY_STYLES = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "cyan", "info": "dim"}


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something in the input that is no record: what is wrong, and where."""

    file: str
    position: str
    error: str


def observations(
    files: Sequence[str], own: OwnResources, trusted_networks: Sequence[Network]
) -> Iterator[Observation | Unreadable]:
    """Yield every record in the files with what is seen in it, and every thing that cannot be read, in input order."""
    for item in read_inputs(files, sys.stdin.buffer):
        if item.error is not None:
            yield Unreadable(item.file, item.position, item.error)
            continue
        try:
            yield inspect_document(item.document, own, trusted_networks)
        except UnreadableRecordError as error:
            yield Unreadable(item.file, item.position, str(error))


def run_inspect(
    files: Sequence[str],
    *,
    as_json: bool,
    stack_name: str,
    trusted_networks: Sequence[Network],
    account_names: Mapping[str, str],
) -> int:
    """Print what is seen in the records; return 1 if anything could not be read, else 0."""
    found = told_if_empty(observations(files, OwnResources(stack_name), trusted_networks), files)
    return _print_json(found, account_names) if as_json else _print_list(found)


def told_if_empty(
    found: Iterator[Observation | Unreadable], files: Sequence[str]
) -> Iterator[Observation | Unreadable]:
    """Yield what was found; say on standard error if that is nothing: a wrong path must not look like no root use."""
    empty = True
    for each in found:
        empty = False
        yield each
    if empty:
        sys.stderr.write(f"No records were found in {', '.join(visible(file) for file in files)}.\n")


def _print_json(found: Iterator[Observation | Unreadable], account_names: Mapping[str, str]) -> int:
    status = 0
    for each in found:
        if isinstance(each, Unreadable):
            status = 1
            line: dict[str, object] = {"error": each.error, "file": each.file, "position": each.position}
        else:
            line = inspection(each, account_names)
        # ASCII only: a record's terminal escapes and lone surrogates stay harmless text.
        sys.stdout.write(json.dumps(line, ensure_ascii=True) + "\n")
    sys.stdout.flush()
    return status


def _print_list(found: Iterator[Observation | Unreadable]) -> int:
    """Print two lines for each record of root's, which fit 80 columns, and only count the others."""
    status, listed, silent = 0, 0, 0
    # Without colour where this is no terminal; lines are cut by the terminal, not wrapped into each other.
    console, errors = Console(soft_wrap=True), Console(stderr=True, soft_wrap=True)
    for each in found:
        if isinstance(each, Unreadable):
            status = 1
            errors.print(
                Text(f"{visible(each.file)}, {visible(each.position)}: {visible(each.error, 400)}", style="red")
            )
        elif each.relevant:
            listed += 1
            console.print(_lines(each))
        else:
            silent += 1
    console.print(Text(f"{listed} concern root, {silent} do not.", style="bold"))
    return status


def _lines(observation: Observation) -> Text:
    record, severity = observation.record, str(observation.severity or "info")
    moment = f"{record.event_time:%Y-%m-%d %H:%M:%S}" if record.event_time else "time not stated    "
    detections = ", ".join(finding.detection.stem for finding in observation.findings)
    source = observation.source.ip or shown(observation.source.raw or "source not stated", 40)
    return Text.assemble(
        f"{moment}  ",
        (f"{severity:<8}", SEVERITY_STYLES[severity]),
        f"  {shown(record.account_id or 'account not stated', 20):<12}  ",
        (shown(record.event_name or "event not stated", 48), "bold"),
        "\n" + " " * 21,
        (f"{detections}\n" + " " * 21, SEVERITY_STYLES[severity]),
        f"{record.actor.kind}, {record.outcome}, {source}",
    )
