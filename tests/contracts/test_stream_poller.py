"""The poller that stands in for Lambda does what Lambda documents: else the tests that use it would prove nothing."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.contracts.stream_poller import POLL_SECONDS, Clock, StreamPoller, StreamRecord
from tests.template.stack import Stack

START = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)
SETTINGS: Mapping[str, Any] = {
    "FunctionName": "notify",
    "EventSourceArn": "arn:aws:dynamodb:us-east-1:111122223333:table/audit/stream/x",
    "BatchSize": 4,
    "FilterCriteria": {"Filters": [{"Pattern": '{"eventName": ["INSERT"]}'}]},
    "FunctionResponseTypes": ["ReportBatchItemFailures"],
    "BisectBatchOnFunctionError": True,
    "MaximumRetryAttempts": 3,
    "MaximumRecordAgeInSeconds": 3600,
}


class Function:
    """A function that answers as told, and remembers every batch that it got."""

    def __init__(self, answer: Callable[[list[str]], Any]) -> None:
        self.answer = answer
        self.batches: list[list[str]] = []

    def __call__(self, event: Mapping[str, Any]) -> Any:
        """Answer one invocation."""
        numbers = [record["dynamodb"]["SequenceNumber"] for record in event["Records"]]
        self.batches.append(numbers)
        return self.answer(numbers)


def shard(count: int, *, event_name: str = "INSERT") -> list[StreamRecord]:
    """So many records, all written at the beginning."""
    bodies = [{"eventName": event_name, "dynamodb": {"SequenceNumber": str(number)}} for number in range(1, count + 1)]
    return [StreamRecord(body, START) for body in bodies]


def polled(
    answer: Callable[[list[str]], Any], records: Sequence[StreamRecord], *, steps: int = 200, **settings: Any
) -> tuple[list[list[str]], list[Mapping[str, Any]], StreamPoller]:
    """Poll until nothing is left to do; return the batches, what was discarded, and the poller."""
    discarded: list[Mapping[str, Any]] = []
    function, clock = Function(answer), Clock(START)
    poller = StreamPoller(
        {**SETTINGS, **settings}, function, 60.0, clock, records, discarded.append, lambda _attempts: 1.0
    )
    for _ in range(steps):
        if poller.is_idle:
            return function.batches, discarded, poller
        poller.step()
        clock.now = poller.next_at
    pytest.fail("it polls for ever")


def failing(*numbers: str) -> Callable[[list[str]], Any]:
    """An answer that names these records as failed, where they are in the batch."""
    return lambda batch: {"batchItemFailures": [{"itemIdentifier": one} for one in batch if one in numbers]}


def raising(*numbers: str) -> Callable[[list[str]], Any]:
    """A function that raises where one of these records is in the batch."""

    def answer(batch: list[str]) -> None:
        if set(batch) & set(numbers):
            message = "poisoned"
            raise ValueError(message)

    return answer


@pytest.mark.parametrize("answer", [None, {}, {"batchItemFailures": []}, {"batchItemFailures": None}])
def test_success_in_every_spelling(answer: Any) -> None:
    """Batches follow each other in order, none larger than the setting, each once."""
    batches, discarded, _ = polled(lambda _batch: answer, shard(6))
    assert batches == [["1", "2", "3", "4"], ["5", "6"]]
    assert discarded == []


def test_the_lowest_failure_is_the_checkpoint() -> None:
    """Everything from the first failure on comes again, what succeeded behind it as well; nothing before it does."""
    batches, _, _ = polled(failing("2", "3"), shard(5), MaximumRetryAttempts=1)
    assert batches[:2] == [["1", "2", "3", "4"], ["2", "3", "4"]]
    assert all("1" not in batch for batch in batches[1:])


def test_the_next_batch_waits_for_a_failure() -> None:
    """Records behind the batch come only when it is done or given up."""
    batches, discarded, _ = polled(failing("4"), shard(5))
    assert batches[-1] == ["5"]
    assert [batch for batch in batches if "5" in batch] == [["5"]]
    assert len(batches) == 1 + SETTINGS["MaximumRetryAttempts"] + 1
    assert len(discarded) == 1


def test_an_error_splits_the_batch_without_using_up_the_retries() -> None:
    """A function that raises gets its batch in halves until the poisoned record is alone, and only that is given up."""
    batches, discarded, _ = polled(raising("2"), shard(4))
    assert batches[:3] == [["1", "2", "3", "4"], ["1", "2"], ["1"]]
    assert batches.count(["2"]) == 1 + SETTINGS["MaximumRetryAttempts"]
    assert batches[-1] == ["3", "4"]
    [letter] = discarded
    assert letter["requestContext"]["condition"] == "RetryAttemptsExhausted"
    place = letter["DDBStreamBatchInfo"]
    assert (place["startSequenceNumber"], place["endSequenceNumber"], place["batchSize"]) == ("2", "2", 1)
    assert "Records" not in letter


def test_without_bisecting_the_whole_batch_is_given_up() -> None:
    """The setting is what isolates a poisoned record."""
    _, [letter], _ = polled(raising("2"), shard(4), BisectBatchOnFunctionError=False)
    assert letter["DDBStreamBatchInfo"]["batchSize"] == 4


def test_without_partial_failures_an_answer_is_ignored() -> None:
    """A list of failures counts only where the mapping asks for it: without it, what failed is lost."""
    batches, discarded, _ = polled(failing("2"), shard(4), FunctionResponseTypes=[])
    assert batches == [["1", "2", "3", "4"]]
    assert discarded == []


@pytest.mark.parametrize("identifier", ["", None, "77"])
def test_an_identifier_that_is_none_of_the_batch_fails_all_of_it(identifier: str | None) -> None:
    """Lambda takes such an answer for a failure of the whole batch."""
    answers = [{"batchItemFailures": [{"itemIdentifier": identifier}]}]
    batches, _, _ = polled(lambda _batch: answers.pop() if answers else None, shard(4))
    assert batches == [["1", "2", "3", "4"], ["1", "2"], ["3", "4"]]


def test_what_is_too_old_is_given_up_with_its_place() -> None:
    """Records beyond the age leave the batch, the others go on."""
    old, young = shard(2), shard(4)[2:]
    young = [StreamRecord(record.body, START + timedelta(seconds=20)) for record in young]
    batches, discarded, _ = polled(
        failing("1", "2"), [*old, *young], MaximumRetryAttempts=-1, MaximumRecordAgeInSeconds=10
    )
    assert batches[-1] == ["3", "4"]
    assert [letter["requestContext"]["condition"] for letter in discarded] == ["RecordAgeExceeded"]
    assert discarded[0]["DDBStreamBatchInfo"]["endSequenceNumber"] == "2"


def test_what_the_filter_leaves_out_reaches_no_function() -> None:
    """Records that do not fit the pattern are passed over."""
    batches, discarded, poller = polled(lambda _batch: None, shard(9, event_name="MODIFY"))
    assert (batches, discarded, poller.invocations) == ([], [], 0)


def test_a_function_that_takes_too_long_has_failed() -> None:
    """Beyond its time a function dies, and its batch is tried again in halves."""
    clock = Clock(START)
    slow = [True]

    def answer(_batch: list[str]) -> None:
        seconds = 61 if slow else 1
        slow.clear()
        clock.advance(seconds)

    function = Function(answer)
    poller = StreamPoller(SETTINGS, function, 60.0, clock, shard(2), lambda _letter: None, lambda _attempts: 1.0)
    for _ in range(4):
        poller.step()
    assert function.batches == [["1", "2"], ["1"], ["2"]]


@pytest.mark.parametrize("function", ["NotifySlackFunction", "NotifySnsFunction"])
@pytest.mark.parametrize("seconds", [0.05, POLL_SECONDS, 60.0])
def test_half_an_hour_is_outlasted_however_fast_lambda_tries_again(function: str, seconds: float) -> None:
    """With the template's settings nothing is given up in half an hour, at any pace; after an hour it is."""
    stack = Stack()
    [mapping] = [
        each
        for each in stack.of_type("AWS::Lambda::EventSourceMapping").values()
        if each["FunctionName"] in {function, stack.resources[function]["Properties"]["FunctionName"]}
    ]
    body = {
        "eventName": "INSERT",
        "dynamodb": {
            "Keys": {"sk": {"S": "DELIVERY#slack#000001" if "Slack" in function else "DELIVERY#sns#000001"}},
            "SequenceNumber": "1",
        },
    }
    discarded: list[Mapping[str, Any]] = []
    clock = Clock(START)
    records, failed = [StreamRecord(body, START)], Function(failing("1"))
    poller = StreamPoller(mapping, failed, 60.0, clock, records, discarded.append, lambda _n: seconds, 0.0)

    def run(until: timedelta) -> None:
        while clock.now < START + until and not poller.is_idle:
            poller.step()
            clock.now = poller.next_at

    run(timedelta(minutes=30))
    assert discarded == []
    run(timedelta(minutes=62))
    assert len(discarded) == 1
