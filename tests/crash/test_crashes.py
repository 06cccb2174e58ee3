"""A failure before and after every call: nothing is lost, nothing is stored twice, and at most one message is repeated.

Every call of the functions to AWS and to Slack is found by playing a story undisturbed; then the story is played anew
for each of these calls and each way in which it can break, and AWS's own ways of trying again do the rest.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.conftest import PRINTED
from tests.crash.service import FUNCTIONS, Service, Story, running_service
from tests.crash.stories import STORIES, Ending, problems
from tests.crash.wire import Fault, Kind

pytestmark = [
    pytest.mark.filterwarnings("ignore:No application metrics to publish"),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """One service for all stories; each begins with nothing in it."""
    with pytest.MonkeyPatch.context() as monkeypatch, running_service(monkeypatch) as service:
        logging.disable()  # a line for each of a hundred thousand calls
        yield service
        logging.disable(logging.NOTSET)


def points(service: Service, function: str) -> list[Fault]:
    """Every way of breaking every call that the function makes in the story that was just played."""
    return [Fault(call, kind) for call in service.wire.calls if call.function == function for kind in call.kinds]


@pytest.mark.parametrize(
    ("story", "function"),
    [(story, function) for story in STORIES for function in story.functions],
    ids=lambda value: value.name.replace(" ", "-") if isinstance(value, Story) else value,
)
def test_a_failure_at_every_call_loses_nothing(
    service: Service, story: Story, function: str, record_property: Callable[[str, object], None]
) -> None:
    """Whatever fails, whenever: stored once, the chain intact, told on each channel, at most one message repeated."""
    service.play(story)
    clean = Ending(service)
    assert problems(service, story, None, None) == []
    tried = points(service, function)
    lost: list[str] = []
    longest = 0.0
    for fault in tried:
        try:
            service.play(story, fault)
            found = problems(service, story, fault, clean)
        except AssertionError as error:
            found = [str(error).partition("\n")[0]]
        lost += [f"{fault.call.name} {fault.call.number} {fault.kind}: {each}" for each in found]
        longest = max(longest, service.clock.monotonic() - clean.seconds)
    kinds = Counter(fault.kind for fault in tried)
    counts = ", ".join(f"{kinds[kind]} {kind}" for kind in Kind)
    figures = (
        f"{function}, {story.name}: {len({fault.call for fault in tried})} calls, {len(tried)} points ({counts}), "
        f"{len(lost)} with a loss; done at most {longest:.0f} s later than undisturbed"
    )
    record_property(PRINTED, str(figures))
    assert not lost, "\n".join(lost)


def test_every_function_has_a_story() -> None:
    """A function that is added has to be in a story, too."""
    assert {function for story in STORIES for function in story.functions} == FUNCTIONS.keys()
