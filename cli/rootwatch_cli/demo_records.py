"""`rootwatch demo --records FILE...`: people's own CloudTrail records through the stack on this machine.

What concerns root is put on the event bus, and each alert is shown as people would see it. Nothing leaves the machine.
Alerts and the summary go to standard output, progress and errors to standard error.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from rootwatch.alert import visible
from rootwatch.audit.items import event_key, key_part
from rootwatch.context.observation import Observation
from rootwatch.detections.detection import OwnResources
from rootwatch.errors import UnreadableRecordError
from rootwatch.pipeline import inspect_document
from rootwatch.record import read_document
from rootwatch_cli.demo import (
    ENTRIES_PER_PUT,
    REPLAY_SOURCE,
    STACK_NAME,
    Stage,
    slack_message,
    staged,
    wait_until_delivered,
)
from rootwatch_cli.input import InputItem, read_inputs
from rootwatch_cli.local_stack import LocalStackError

LARGEST_PUT: Final = 256 * 1024
"""Bytes of all entries of one PutEvents; EventBridge delivers no larger event either.
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevent-size.html"""
RECORDS_AT_ONCE: Final = 10_000
"""Records that are held in memory and put into the order of their event times before they are sent."""
MOST_UNDER_WAY: Final = 200
"""Records that are sent and not yet stored, before more are sent."""
IDLE: Final = timedelta(minutes=60)
STORIES_AT_ONCE: Final = 8
"""Pauses of over an hour in the records after which what is open is let end, as it would have ended."""
SECONDS_WITHOUT_PROGRESS: Final = 360.0
"""A read of an AssumeRoot session may wait in the queue, once, for five minutes, for the call that began it."""
SECONDS_UNTIL_TOLD: Final = 20.0

_DETAIL_TYPES: Final[Mapping[str, str]] = {
    "AwsConsoleSignIn": "AWS Console Sign In via CloudTrail",
    "AwsServiceEvent": "AWS Service Event via CloudTrail",
}


@dataclass(slots=True)
class _Counts:
    """What the input holds: records = relevant + irrelevant + rejected. `months` has those of each account's events."""

    records: int = 0
    relevant: int = 0
    irrelevant: int = 0
    duplicates: int = 0
    rejected: int = 0
    keys: set[str] = field(default_factory=set)
    months: dict[str, set[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Due:
    """A record that concerns root, ready for the bus. `envelope` is set where the bus would write a wrong one."""

    time: datetime
    entry: Mapping[str, Any]
    envelope: Mapping[str, Any] | None

    @property
    def size(self) -> int:
        """Return the bytes that EventBridge counts for the entry, never fewer than it does."""
        texts = (REPLAY_SOURCE, self.entry["DetailType"], self.entry["Detail"], *self.entry["Resources"])
        return 14 + sum(len(text.encode()) for text in texts)


def run_records(console: Console, files: Sequence[str]) -> int:
    """Play the files' records and show each alert.

    Returns 0, 1 if anything was unreadable, missing in the end or damaged, 130 after Ctrl-C.
    """
    errors = Console(stderr=True, soft_wrap=True)
    began = time.monotonic()
    try:
        with staged(lambda words: errors.print(Text(f"✓ {words}"))) as stage:
            is_well = play_records(console, errors, stage, files)
        errors.print(Text("✓ everything is stopped and removed: emulator, functions, receiver, files"))
    except LocalStackError as error:
        errors.print(Text(f"The demo cannot run: {error}.", style="red"))
        if error.detail:
            errors.print(Text(error.detail))
        return 1
    except KeyboardInterrupt:
        errors.print(Text("Stopped; nothing is left running."))
        return 130
    words = (
        f"The whole demo took {time.monotonic() - began:.0f} s. The stack is gone; nothing left this machine.\n\n"
        "The same alerts offline: rootwatch replay FILE... --json\n"
        "Each record: rootwatch inspect FILE... --json\n"
        "What the detections mean: docs/detections.md   what to do: docs/runbook.md\n"
        "The way: docs/architecture.md   to AWS: README.md, Deploy"
    )
    console.print(Panel(Text(words), title=Text("That was it")))
    return 0 if is_well else 1


def play_records(console: Console, errors: Console, stage: Stage, files: Sequence[str]) -> bool:
    """Play the files' records on a stack that runs; return whether all was readable, stored, sound and delivered."""
    counts = _Counts()
    is_complete = _Show(console, errors, stage, counts).play(files)
    return _show_summary(console, stage, counts) and is_complete and not counts.rejected


# --- what is sent --------------------------------------------------------------------------------------------------


def _ready(document: Mapping[str, object], observation: Observation) -> _Due:
    """Return a record ready for the bus.

    Raises UnreadableRecordError where it is larger than the bus takes.
    """
    wrapped = observation.record.envelope is not None
    detail = document["detail"] if wrapped else document
    assert isinstance(detail, dict)  # noqa: S101 - it was read as a record
    resources = document.get("resources") if wrapped else None
    stated = document.get("detail-type") if wrapped else None
    fallback = _DETAIL_TYPES.get(str(detail.get("eventType")), "AWS API Call via CloudTrail")
    entry = {
        "Source": REPLAY_SOURCE,
        "DetailType": stated if isinstance(stated, str) and stated else fallback,
        "Resources": [each for each in resources if isinstance(each, str)] if isinstance(resources, list) else [],
        # ASCII only: a lone surrogate in a record stays what it was.
        "Detail": json.dumps(detail, ensure_ascii=True),
    }
    alone = read_document(detail)
    is_whole = alone.account_id is not None and alone.event_time is not None and alone.region is not None
    envelope = document if wrapped else {"detail-type": entry["DetailType"], "detail": detail}
    due = _Due(observation.time, entry, None if is_whole else {**envelope, "source": REPLAY_SOURCE})
    if due.size > LARGEST_PUT:
        message = f"It has {due.size} bytes; EventBridge takes events of {LARGEST_PUT} at the most."
        raise UnreadableRecordError(message)
    return due


def _groups(records: Iterable[_Due]) -> Iterator[list[_Due]]:
    """Yield what one PutEvents takes, ten entries of 256 KB together, never across a pause of more than `IDLE`."""
    group: list[_Due] = []
    for due in records:
        is_full = len(group) == ENTRIES_PER_PUT or sum(each.size for each in group) + due.size > LARGEST_PUT
        if group and (is_full or due.time - group[-1].time > IDLE):
            yield group
            group = []
        group.append(due)
    if group:
        yield group


class _Show:
    """Sends the records in the order of their times, never too many at once, and shows each message as it arrives."""

    def __init__(self, console: Console, errors: Console, stage: Stage, counts: _Counts) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._console, self._errors, self._stage, self._counts = console, errors, stage, counts
        self._own = OwnResources(STACK_NAME)
        self._progress = Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal)
        self._task = self._progress.add_task("records in the audit table", total=None)
        self._sent = self._stories = 0
        self._shown = len(stage.slack.messages)
        self._last: datetime | None = None

    def play(self, files: Sequence[str]) -> bool:
        """Play everything; return whether every record that was sent is stored and every alert delivered."""
        records = self._records(read_inputs(files, sys.stdin.buffer))
        stored = True
        with self._progress:
            while stored and (chunk := list(islice(records, RECORDS_AT_ONCE))):
                chunk.sort(key=lambda due: due.time)
                for group in _groups(chunk):
                    stored = self._begin_story(group[0].time)
                    self._put(group)
                    stored = stored and self._wait(MOST_UNDER_WAY)
                    if not stored:
                        break
            stored = self._wait(0) and self._end_stories()
        if not self._counts.records:
            self._errors.print(Text(f"No records were found in {', '.join(visible(file) for file in files)}."))
        if not stored:
            self._errors.print(Text("Some records were not stored. The end of the emulator's log:", style="red"))
            self._errors.print(Text(self._stage.stack.log_tail()))
        return stored

    def _records(self, items: Iterable[InputItem]) -> Iterator[_Due]:
        """Yield what concerns root, each record once; count everything, and name what cannot be read."""
        for item in items:
            self._counts.records += 1
            try:
                due = self._record(item)
            except UnreadableRecordError as error:
                self._counts.rejected += 1
                where = f"{visible(item.file)}, {visible(item.position)}"
                self._paused(self._errors.print, Text(f"{where}: {visible(error, 400)}", style="red"))
            else:
                if due is not None:
                    yield due

    def _record(self, item: InputItem) -> _Due | None:
        if item.document is None:
            raise UnreadableRecordError(item.error or "There is nothing in it.")
        observation = inspect_document(item.document, self._own)
        if not observation.relevant:
            self._counts.irrelevant += 1
            return None
        due, key = _ready(item.document, observation), event_key(observation)
        self._counts.relevant += 1
        if f"{key.pk} {key.sk}" in self._counts.keys:
            self._counts.duplicates += 1  # the table would not take it twice
            return None
        self._counts.keys.add(f"{key.pk} {key.sk}")
        months = self._counts.months.setdefault(key_part(observation.record.account_id), set())
        months.add(key.pk.rpartition("#")[2])
        return due

    def _put(self, group: Sequence[_Due]) -> None:
        """Put records on the bus, and those that only their envelope dates or places into the queue behind it.

        The bus writes account, region and time of an envelope itself, and would give these wrong ones.
        """
        entries = [due.entry for due in group if due.envelope is None]
        if entries:
            self._stage.put(entries)
        for due in group:
            if due.envelope is not None:
                self._stage.stack.client("sqs").send_message(
                    QueueUrl=self._stage.deployment.resources["IntakeQueue"], MessageBody=json.dumps(due.envelope)
                )
        self._sent += len(group)
        self._last = group[-1].time

    def _begin_story(self, moment: datetime) -> bool:
        """Let what is open end where the records have paused often enough; return False if some were not stored."""
        if self._last is None or moment - self._last <= IDLE:
            return True
        self._stories += 1
        return self._stories < STORIES_AT_ONCE or (self._wait(0) and self._end_stories())

    def _end_stories(self) -> bool:
        self._stories = 0
        self._stage.let_incidents_end(IDLE)
        wait_until_delivered(self._stage)
        self._show_messages()
        return True

    def _wait(self, most_under_way: int) -> bool:
        """Show what arrives until so few records are under way; return False if none was stored for minutes."""
        since, before, told = time.monotonic(), -1, False
        while True:
            store = self._stage.store()
            stored = sum(store.account_head(account_id)[0] for account_id in self._counts.months)
            self._progress.update(self._task, completed=stored, total=self._sent)
            self._show_messages()
            if self._sent - stored <= most_under_way:
                return True
            if stored > before:
                since, before, told = time.monotonic(), stored, False
            waited = time.monotonic() - since
            if waited > SECONDS_WITHOUT_PROGRESS:
                return False
            if waited > SECONDS_UNTIL_TOLD and not told:
                told = True
                words = f"{self._sent - stored} records are not stored yet"
                self._paused(self._errors.print, Text(f"{words}; a read of an AssumeRoot session may wait 5 minutes"))
            time.sleep(0.1)

    def _show_messages(self) -> None:
        messages = self._stage.slack.messages
        for message in messages[self._shown :]:
            self._paused(self._console.print, slack_message(message.payload))
        self._shown = len(messages)

    def _paused(self, show: Callable[..., None], what: Text | Panel) -> None:
        """Show something while the progress display is out of the way: both may be on one terminal."""
        self._progress.stop()
        show(what)
        self._progress.start()


# --- the end -------------------------------------------------------------------------------------------------------


def _show_summary(console: Console, stage: Stage, counts: _Counts) -> bool:
    """Show what became of the records; return whether the audit is sound and every alert was delivered."""
    store = stage.store()
    reports = [store.verify_chain(account_id, sorted(months)) for account_id, months in sorted(counts.months.items())]
    faults = [f"{report.account_id}: {fault}" for report in reports for fault in report.faults]
    recorded = sum(report.events for report in reports)
    ledgers = Counter((item["channel"]["S"], item["state"]["S"]) for item in stage.ledgers())
    alerts = ", ".join(f"{count} {channel} {state}" for (channel, state), count in sorted(ledgers.items()))
    missing = counts.relevant - counts.duplicates - recorded
    table = Table(title="What became of your records", title_justify="left", box=None, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    for name, count, remark in (
        ("records", counts.records, ""),
        ("do not concern root", counts.irrelevant, "not sent"),
        ("not readable", counts.rejected, "each named above, with file and position" if counts.rejected else ""),
        ("concern root", counts.relevant, f"{counts.duplicates} of them the same record again"),
        ("recorded", recorded, f"in {len(reports)} accounts"),
        ("missing", missing, "sent and not stored" if missing else ""),
        ("alerts", sum(ledgers.values()), alerts),
        ("chains verified", len(reports) - len({fault.partition(":")[0] for fault in faults}), "; ".join(faults[:5])),
    ):
        table.add_row(name, str(count), Text(visible(remark, 400)))
    console.print()
    console.print(table)
    is_delivered = all(state == "sent" for _, state in ledgers)
    return not faults and not missing and is_delivered
