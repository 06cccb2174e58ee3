"""`rootwatch redrive`: what lies on the dead-letter queues and why, and with --move back to where it belongs.

A letter is deleted only after its copy was accepted: by the intake queue, with the right checksum, or by the ledger in
the audit table. A copy too many changes nothing, since a record that is stored already is a duplicate, and a ledger
that says sent is left alone.
"""

import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from rootwatch.alert import visible
from rootwatch.audit.dynamodb import DynamoTable
from rootwatch.audit.items import DeliveryState, moment_text
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Key
from rootwatch.errors import RootwatchError
from rootwatch_cli.dead_letters import Judged, Letter, Queue, Way, judge
from rootwatch_cli.deployed import (
    TROUBLE,
    StackNotFoundError,
    Where,
    clients,
    described_stack,
    in_reach,
    in_words,
    physical_ids,
)
from rootwatch_cli.incidents import counted

MOST: Final = 1000
"""Messages of one queue that one run looks at, at the most; the next run goes on with the others."""
MOST_SECONDS: Final = 120.0
"""How long one queue is received from, at the most."""
HIDDEN_SECONDS: Final = 300
"""How long others cannot see what this run looks at; what is left is shown again at its end."""
MOST_LEDGERS: Final = 1000
"""Deliveries of a channel that one place in the stream makes due again, at the most."""
_QUEUES: Final[Mapping[Queue, str]] = {
    Queue.INTAKE: "IntakeDeadLetterQueue",
    Queue.RULE: "RuleDeadLetterQueue",
    Queue.NOTIFY: "NotifyDeadLetterQueue",
}


class NotMovedError(Exception):
    """A letter could not be moved. The message says why; the letter lies where it lay."""


class Letters(Protocol):
    """The dead-letter queues, and the intake queue."""

    def receive(self, queue: Queue, most: int) -> Iterator[Letter]:
        """Yield what lies on a queue, each letter once, hidden from others for five minutes."""

    def send_to_intake(self, body: str) -> None:
        """Put a body on the intake queue; raises NotMovedError where it was not accepted as it is."""

    def delete(self, letter: Letter) -> None:
        """Delete a letter; raises NotMovedError."""

    def show_again(self, letter: Letter) -> None:
        """Let others see a letter at once; where that fails they will in five minutes."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a letter: `fate` is one of moves (it would be moved), moved, stays, failed."""

    judged: Judged
    fate: str
    words: str


@dataclass(frozen=True, slots=True)
class Redrive:
    """Looks at the letters, and moves them.

    `move` says whether to move them at all, `rejected_again` whether also what detect rejected.
    """

    letters: Letters
    store: AuditStore
    move: bool = False
    rejected_again: bool = False

    def run(self, queues: Sequence[Queue], most: int) -> Iterator[Outcome]:
        """Take the queues one after the other, and yield what becomes of each letter, up to `most` of each queue."""
        for queue in queues:
            kept: list[Letter] = []
            try:
                for letter in self.letters.receive(queue, most):
                    outcome = self._handle(judge(letter, rejected_again=self.rejected_again))
                    if outcome.fate != "moved":
                        kept.append(letter)
                    yield outcome
            finally:  # also when a person has seen enough
                for letter in kept:
                    self.letters.show_again(letter)

    def _handle(self, judged: Judged) -> Outcome:
        if judged.way is Way.STAYS:
            return Outcome(judged, "stays", "read it on its queue, and mend what wrote it")
        if not self.move:
            return Outcome(judged, "moves", f"with --move: {judged.way}")
        try:
            words = self._copied(judged)
        except (NotMovedError, RootwatchError) as error:
            return Outcome(judged, "failed", in_words(error))
        try:
            self.letters.delete(judged.letter)
        except NotMovedError as error:
            return Outcome(judged, "failed", f"{words}, but the letter is still there: {error}")
        return Outcome(judged, "moved", words)

    def _copied(self, judged: Judged) -> str:
        """Let the copy be accepted, and return in words by what."""
        if judged.way is Way.INTAKE:
            self.letters.send_to_intake(judged.letter.body)
            return "it is on the intake queue"
        if judged.way is Way.LEDGER and judged.key is not None:
            return self._due_again(judged.key)
        refused = list(self._listed(str(judged.channel), refused=True))
        for key in refused:
            self._due_again(key)
        if len(refused) == MOST_LEDGERS:
            message = f"{MOST_LEDGERS} deliveries are due again, and there are more: run it again"
            raise NotMovedError(message)
        waiting = sum(1 for _ in self._listed(str(judged.channel), refused=False))
        return f"{counted(max(waiting, len(refused)), 'delivery')} of the channel waiting; the watchdog sends them"

    def _listed(self, channel: str, *, refused: bool) -> Iterator[Key]:
        for number, entry in enumerate(self.store.undelivered(channel, refused=refused)):
            if number >= MOST_LEDGERS:
                return
            yield entry.key

    def _due_again(self, key: Key) -> str:
        ledger = self.store.delivery(key)
        if ledger is None:
            message = "the audit table has no such delivery"
            raise NotMovedError(message)
        if ledger.state is DeliveryState.SENT:
            return "it was sent meanwhile"
        if ledger.state is DeliveryState.UNCONFIGURED:
            message = "its channel was not set up when it was due, and it is not sent later"
            raise NotMovedError(message)
        if ledger.refused:
            self.store.write_delivery(ledger, replace(ledger, refused=False))
        return "its delivery is due; the watchdog sends it within a minute"


# --- SQS -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SqsLetters:
    """The queues of a deployed stack."""

    client: Any  # boto3 makes its clients at run time
    urls: Mapping[Queue, str]
    intake_url: str
    wait_seconds: int = 1  # then SQS asks all its servers, and takes no queue for empty that is not
    clock: Callable[[], float] = time.monotonic

    def receive(self, queue: Queue, most: int) -> Iterator[Letter]:
        """Yield what lies on a queue, as `Letters` says.

        Raises:
            ClientError, BotoCoreError: AWS refuses, or is out of reach.

        """
        ends, seen, empty = self.clock() + MOST_SECONDS, set[str](), False
        while len(seen) < most and not empty and self.clock() < ends:
            found = self.client.receive_message(
                QueueUrl=self.urls[queue],
                MaxNumberOfMessages=min(10, most - len(seen)),
                VisibilityTimeout=HIDDEN_SECONDS,
                WaitTimeSeconds=self.wait_seconds,
                MessageAttributeNames=["All"],
                AttributeNames=["SentTimestamp"],
            ).get("Messages", [])
            empty = not found
            for message in found:
                if message["MessageId"] not in seen:
                    seen.add(message["MessageId"])
                    yield _letter(queue, message)

    def send_to_intake(self, body: str) -> None:
        """Put a body on the intake queue, as `Letters` says."""
        try:
            answer = self.client.send_message(QueueUrl=self.intake_url, MessageBody=body)
        except (ClientError, BotoCoreError) as error:
            raise NotMovedError(in_words(error)) from error
        checksum = hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
        if answer.get("MD5OfMessageBody") != checksum:
            message = "SQS accepted something else than what was sent: the checksums differ"
            raise NotMovedError(message)

    def delete(self, letter: Letter) -> None:
        """Delete a letter, as `Letters` says."""
        try:
            self.client.delete_message(QueueUrl=self.urls[letter.queue], ReceiptHandle=letter.receipt)
        except (ClientError, BotoCoreError) as error:
            raise NotMovedError(in_words(error)) from error

    def show_again(self, letter: Letter) -> None:
        """Let others see a letter at once, as `Letters` says."""
        with suppress(ClientError, BotoCoreError):  # it is seen again by itself when it is no longer hidden
            self.client.change_message_visibility(
                QueueUrl=self.urls[letter.queue], ReceiptHandle=letter.receipt, VisibilityTimeout=0
            )


def _letter(queue: Queue, message: Mapping[str, Any]) -> Letter:
    sent = str(message.get("Attributes", {}).get("SentTimestamp", ""))
    attributes = message.get("MessageAttributes") or {}
    return Letter(
        queue=queue,
        id=str(message["MessageId"]),
        body=str(message.get("Body", "")),
        attributes={name: str(each.get("StringValue", "")) for name, each in attributes.items()},
        sent_at=datetime.fromtimestamp(int(sent) / 1000, UTC) if sent.isdigit() else None,
        receipt=str(message.get("ReceiptHandle", "")),
    )


# --- the command ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Options:
    """What the command was asked for: which queues (None: all), how many letters of each, and what to do with them."""

    queue: str | None = None
    most: int = MOST
    move: bool = False
    rejected_again: bool = False


def run_redrive(where: Where, options: Options, *, as_json: bool) -> int:
    """List the dead letters, or move them back.

    Returns 0 where none is left, 1 where some are or may be, 2 where AWS or a queue was out of reach; what was done on
    the other queues is told all the same.
    """

    def do() -> int:
        redrive = _found(where, options)
        queues = [Queue(options.queue)] if options.queue else list(Queue)
        outcomes: list[Outcome] = []
        not_read: list[Queue] = []
        more_on: list[Queue] = []
        with Console(stderr=True).status("Looking at the dead-letter queues…"):
            for queue in queues:
                before, begun = len(outcomes), time.monotonic()
                try:
                    for outcome in redrive.run([queue], options.most):
                        outcomes.append(outcome)
                        if as_json:
                            sys.stdout.write(json.dumps(_document(outcome), ensure_ascii=True) + "\n")
                except (ClientError, BotoCoreError) as error:
                    not_read.append(queue)
                    sys.stderr.write(f"The dead-letter queue {queue} could not be read: {in_words(error)}\n")
                    continue
                if len(outcomes) - before >= options.most or time.monotonic() - begun >= MOST_SECONDS:
                    more_on.append(queue)
        counts = Counter(outcome.fate for outcome in outcomes)
        if as_json:
            summary = {
                "summary": {fate: counts[fate] for fate in _FATES},
                "not_read": [str(each) for each in not_read],
                "more_on": [str(each) for each in more_on],
            }
            sys.stdout.write(json.dumps(summary, ensure_ascii=True) + "\n")
        else:
            _print_list(outcomes, counts, [each for each in queues if each not in not_read])
            if more_on:
                print(f"There may be more on {', '.join(more_on)}: run it again.")
        if not_read:
            return TROUBLE
        return 1 if more_on or len(outcomes) > counts["moved"] else 0

    return in_reach(do)


def _found(where: Where, options: Options) -> Redrive:
    client = clients(where)
    cloudformation = client("cloudformation")
    described_stack(cloudformation, where.stack)  # says in words that there is none
    ids = physical_ids(cloudformation, where.stack)
    missing = [each for each in ("AuditTable", "IntakeQueue", *_QUEUES.values()) if each not in ids]
    if missing:
        message = f"The stack {visible(where.stack)} has no {', '.join(missing)}: rootwatch doctor says what is wrong."
        raise StackNotFoundError(message)
    urls = {queue: ids[logical_id] for queue, logical_id in _QUEUES.items()}
    letters = SqsLetters(client("sqs"), urls, ids["IntakeQueue"])
    store = AuditStore(DynamoTable(client("dynamodb"), ids["AuditTable"]))
    return Redrive(letters, store, move=options.move, rejected_again=options.rejected_again)


_FATES: Final[Mapping[str, str]] = {"moves": "yellow", "moved": "green", "stays": "cyan", "failed": "bold red"}


def _document(outcome: Outcome) -> dict[str, object]:
    letter = outcome.judged.letter
    return {
        "queue": str(letter.queue),
        "message_id": letter.id,
        "sent_at": moment_text(letter.sent_at) if letter.sent_at else None,
        "about": outcome.judged.about,
        "why": outcome.judged.why,
        "fate": outcome.fate,
        "what": outcome.words,
    }


def _print_list(outcomes: Sequence[Outcome], counts: Counter[str], queues: Sequence[Queue]) -> None:
    console = Console()
    for outcome in outcomes:
        letter = outcome.judged.letter
        sent = f"{letter.sent_at:%Y-%m-%d %H:%M} UTC" if letter.sent_at else "at a time that is not stated"
        head = f"  {letter.queue}: {outcome.judged.about}"
        console.print(Text.assemble((outcome.fate.upper(), _FATES[outcome.fate]), head))
        for line in (f"since {sent}, message {visible(letter.id, 60)}", outcome.judged.why, outcome.words):
            console.print(Padding(Text(line), (0, 0, 0, 2)))
        console.print()
    if not outcomes and not queues:
        return  # none could be read, which is said already
    if not outcomes:
        names = ", ".join(queues)
        console.print(Text(f"No dead letters: nothing lies on the dead-letter queues ({names}).", style="bold"))
        return
    verdict = ", ".join(f"{count} {fate}" for fate, count in counts.items())
    console.print(Text(f"{counted(len(outcomes), 'dead letter')}: {verdict}.", style="bold"))
    if counts["moves"]:
        console.print(Text("Nothing was moved. Mend what the reasons name, then: rootwatch redrive --move"))
    if counts["stays"]:
        console.print(Text("What stays is kept for 14 days after it was sent, and is never deleted by this command."))
