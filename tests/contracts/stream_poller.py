"""A poller that reads a table's stream for a function the way Lambda documents it, on a clock that the test moves.

MiniStack ignores partial batches, bisecting, retry limits and the on-failure destination; so this stands in for Lambda:

- Polls four times a second, in order, one batch of a shard at a time.
  https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
- ReportBatchItemFailures: the lowest sequence number that failed is the checkpoint, and everything from it on is tried
  again; an empty or missing list is success; an identifier that is empty, null or not of the batch fails all of it.
  BisectBatchOnFunctionError: an invocation that failed splits the batch in two; with both switched on, a part that
  failed is cut at the checkpoint.
  https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
- MaximumRetryAttempts, which splitting does not use up, and MaximumRecordAgeInSeconds: then the batch is given up, a
  JSON document with its place in the stream, and without its records, goes to the on-failure destination, and the
  stream goes on.
  https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
- Filters are patterns as EventBridge has them.
  https://docs.aws.amazon.com/lambda/latest/dg/with-ddb-filtering.html

How long Lambda waits before it tries again is documented nowhere: the test says so, and tries fast and slow.
"""

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from tests.template.event_pattern import matches

POLL_SECONDS: Final = 0.25
"""Four times a second."""


class FunctionTimedOutError(BaseException):
    """The function's time is up. Not an Exception: when Lambda ends a process, nothing in it runs any more."""


class Clock:
    """A clock that moves only when it is told. A function that runs beyond its deadline dies."""

    def __init__(self, start: datetime) -> None:
        self.start = self.now = start
        self.deadline: datetime | None = None

    def advance(self, seconds: float) -> None:
        """Let seconds pass."""
        then = self.now + timedelta(seconds=seconds)
        if self.deadline is not None and then > self.deadline:
            self.now = self.deadline
            raise FunctionTimedOutError
        self.now = then

    # What wiring uses of `time`.

    def monotonic(self) -> float:
        """Seconds since the clock began."""
        return (self.now - self.start).total_seconds()

    def sleep(self, seconds: float) -> None:
        """Let seconds pass."""
        self.advance(seconds)


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """A record of the stream, with the moment at which it was written."""

    body: Mapping[str, Any]
    written_at: datetime

    @property
    def sequence_number(self) -> str:
        """Its place in the shard."""
        return str(self.body["dynamodb"]["SequenceNumber"])


@dataclass(slots=True)
class _Batch:
    records: list[StreamRecord]
    attempts: int = 0


def ever_slower(attempts: int) -> float:
    """Try again after one second, then two, four, and so on, a minute at most."""
    return min(60.0, 2.0 ** min(attempts - 1, 6))


@dataclass
class StreamPoller:
    """One event source mapping: its settings as the template has them, its function, its place in the shard.

    `shard` is the stream's one shard, which the test fills; `discard` is the on-failure destination.
    """

    mapping: Mapping[str, Any]
    function: Callable[[Mapping[str, Any]], Any]
    timeout_seconds: float
    clock: Clock
    shard: Sequence[StreamRecord]
    discard: Callable[[Mapping[str, Any]], None]
    pause: Callable[[int], float] = ever_slower
    invocation_seconds: float = 0.2
    next_at: datetime = field(init=False)
    invocations: int = 0
    _position: int = 0
    _batches: deque[_Batch] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.next_at = self.clock.now

    def step(self) -> None:
        """Do what Lambda does at the clock's moment, and set when it comes again."""
        if not self._batches:
            records = self._read()
            if not records:
                self.next_at = self.clock.now + timedelta(seconds=POLL_SECONDS)
                return
            self._batches.append(_Batch(records))
        batch = self._batches[0]
        self._discard_what_is_too_old(batch)
        if not batch.records:
            self._batches.popleft()
        else:
            self._invoke(batch)
        self.next_at = self.clock.now + timedelta(seconds=self.pause(batch.attempts) if batch.attempts else 0)

    @property
    def is_idle(self) -> bool:
        """Whether everything that was written is delivered or discarded."""
        return not self._batches and self._position == len(self.shard)

    def _read(self) -> list[StreamRecord]:
        records: list[StreamRecord] = []
        while self._position < len(self.shard) and len(records) < int(self.mapping["BatchSize"]):
            record = self.shard[self._position]
            self._position += 1
            patterns = [json.loads(each["Pattern"]) for each in self.mapping["FilterCriteria"]["Filters"]]
            if any(matches(pattern, record.body) for pattern in patterns):
                records.append(record)
        return records

    def _invoke(self, batch: _Batch) -> None:
        self.invocations += 1
        self.clock.deadline = self.clock.now + timedelta(seconds=self.timeout_seconds)
        try:
            answer = self.function({"Records": [record.body for record in batch.records]})
            self.clock.advance(self.invocation_seconds)
        except (Exception, FunctionTimedOutError):  # noqa: BLE001 - whatever a function raises, Lambda tries again
            failed = 0
            is_whole = True
        else:
            failed, is_whole = self._checkpoint(answer, batch)
        finally:
            self.clock.deadline = None
        if failed == len(batch.records):
            batch.attempts = 0
            self._batches.popleft()
        elif is_whole and self.mapping["BisectBatchOnFunctionError"] and len(batch.records) > 1:
            middle = len(batch.records) // 2
            self._batches.popleft()
            for half in (batch.records[middle:], batch.records[:middle]):
                self._batches.appendleft(_Batch(half, batch.attempts))
        else:
            batch.records = batch.records[failed:]
            batch.attempts += 1
            most = int(self.mapping["MaximumRetryAttempts"])
            if 0 <= most < batch.attempts:
                self._give_up(batch.records, "RetryAttemptsExhausted")
                self._batches.popleft()

    def _checkpoint(self, answer: Any, batch: _Batch) -> tuple[int, bool]:
        """Return how many records from the beginning are done, and whether the whole invocation counts as failed."""
        failures = (answer or {}).get("batchItemFailures") or []
        if not failures or "ReportBatchItemFailures" not in self.mapping["FunctionResponseTypes"]:
            return len(batch.records), False
        places = {record.sequence_number: place for place, record in enumerate(batch.records)}
        found = [places.get(str(failure.get("itemIdentifier") or "")) for failure in failures]
        if None in found:
            return 0, True
        return min(place for place in found if place is not None), False

    def _discard_what_is_too_old(self, batch: _Batch) -> None:
        longest = int(self.mapping["MaximumRecordAgeInSeconds"])
        limit = self.clock.now - timedelta(seconds=longest)
        old = [record for record in batch.records if longest >= 0 and record.written_at < limit]
        if old:
            batch.records = [record for record in batch.records if record not in old]
            self._give_up(old, "RecordAgeExceeded")  # the page shows the other condition by name, not this one

    def _give_up(self, records: Sequence[StreamRecord], condition: str) -> None:
        self.discard(
            {
                "requestContext": {
                    "requestId": "00000000-0000-4000-8000-000000000000",
                    "functionArn": self.mapping["FunctionName"],
                    "condition": condition,
                    "approximateInvokeCount": self.invocations,
                },
                "version": "1.0",
                "timestamp": self.clock.now.isoformat(),
                "DDBStreamBatchInfo": {
                    "shardId": "shardId-00000000000000000000-00000000",
                    "startSequenceNumber": records[0].sequence_number,
                    "endSequenceNumber": records[-1].sequence_number,
                    "approximateArrivalOfFirstRecord": records[0].written_at.isoformat(),
                    "approximateArrivalOfLastRecord": records[-1].written_at.isoformat(),
                    "batchSize": len(records),
                    "streamArn": self.mapping["EventSourceArn"],
                },
            }
        )
