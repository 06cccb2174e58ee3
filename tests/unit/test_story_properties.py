"""Three properties of every story, each over 500 examples, and each proved by faults that it has to find.

Every property prints how its examples were distributed, and fails where the generator leaves out what it is there for.
"""

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any, Final

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from rootwatch import incident as incident_module
from rootwatch import pipeline
from rootwatch.audit import store as store_module
from rootwatch.audit.items import event_key
from rootwatch.audit.memory import MemoryTable
from rootwatch.audit.store import AuditStore, Changes, Known
from rootwatch.audit.table import Key
from rootwatch.detections.detection import Severity, Stage
from rootwatch.incident import RecordedEvent, Why
from rootwatch.pipeline import Fate, Recorder, detect_messages, next_timer, run_timers
from tests.builders import build_envelope
from tests.conftest import PRINTED
from tests.unit.simulation import START, ListeningStore, in_account
from tests.unit.workbench import IDLE, OWN, make_message

pytestmark = pytest.mark.timeout(600)  # 500 examples take their time where the machine has other work

EXAMPLES: Final = 500
ADDRESSES: Final = ("198.51.100.24", "203.0.113.66", "2001:db8::66")
ACCOUNTS: Final = ("111122223333", "300000000001")
ACTS: Final = (
    # specimen, position in it, which field names its target, and how often it is drawn
    ("read", 0, None, 4), ("write", 0, "bucketName", 3), ("console_login", 0, None, 2),
    ("console_login_without_mfa", 0, None, 1), ("console_login_failed", 0, None, 3), ("iam_changed", 0, "userName", 3),
    ("iam_changed", 1, "userName", 2), ("logging_tampered", 0, "name", 2), ("access_key_created", 0, None, 1),
    ("mfa_removed", 0, None, 1), ("secret_read", 0, "secretId", 1), ("denied", 0, None, 1), ("destroyed", 0, None, 1),
    ("access_key_used", 0, None, 1), ("account_closed", 0, None, 1),
)  # fmt: skip
SIGN_INS: Final = frozenset({"console_login", "console_login_without_mfa"})
UNREPEATABLE: Final = SIGN_INS | {"access_key_created", "mfa_removed"}
"""Specimens of which each record is news: successful sign-ins, and changes of root's credentials."""


@dataclass(frozen=True, slots=True)
class Act:
    """One record of a story: which specimen, on what, when, from where, in which session. `event` makes its eventID."""

    specimen: str
    position: int
    field: str | None
    target: str
    minute: int
    address: str
    account: str
    session: int
    event: int
    refused: bool = False
    forged: bool = False
    twin: bool = False

    @property
    def changes(self) -> dict[str, Any]:
        """What makes the record another one than its specimen."""
        moment = START + timedelta(minutes=self.minute, seconds=self.event % 60)
        changes: dict[str, Any] = in_account(self.account) | {
            "eventID": f"00000000-0000-4000-8000-{self.event:012}",
            "eventTime": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
            "sourceIPAddress": self.address,
        }
        if "console_login" not in self.specimen and self.specimen != "access_key_used":
            began = START - timedelta(days=1, minutes=10 * self.session)
            changes["userIdentity.sessionContext.attributes.creationDate"] = f"{began:%Y-%m-%dT%H:%M:%SZ}"
        if self.field is not None:
            changes[f"requestParameters.{self.field}"] = self.target
        if self.refused and "console_login" not in self.specimen:
            changes["errorCode"] = "AccessDenied"
        return changes


@functools.cache
def envelope_of(act: Act) -> dict[str, Any]:
    """The envelope of an act; a forged one comes from a source that is not AWS's."""
    envelope = build_envelope(act.specimen, position=act.position, **act.changes)
    return envelope | {"source": "somebody.else"} if act.forged else envelope


def varied(act: Act, how: str) -> list[Act]:
    """Other acts that an adversary would put beside one, or that come beside it by chance."""
    event = act.event + 10_000
    if how == "twin":  # other content under the same eventID and time
        return [dataclasses.replace(act, address="192.0.2.99", twin=True)]
    if how == "forged":  # word for word, but put on the bus by somebody else
        return [dataclasses.replace(act, forged=True)]
    if how == "refused before":
        return [dataclasses.replace(act, refused=True, minute=max(act.minute - 3, 0), event=event)]
    targets = [f"{act.target}-{how}-{number}" for number in range(3 if how == "burst" else 1)]
    return [
        dataclasses.replace(act, target=target, minute=act.minute + 1, event=event + 10_000 * number)
        for number, target in enumerate(targets)
    ]


def stories(most: int, last_minute: int, *, most_varied: int) -> st.SearchStrategy[list[Act]]:
    """Some acts, mostly close together and in one account, and what stands beside some of them."""
    act = st.builds(
        lambda entry, *drawn: Act(entry[0], entry[1], entry[2], *drawn),
        st.sampled_from([entry for entry in ACTS for _ in range(entry[3])]),
        st.sampled_from(["alpha", "beta"]),
        st.one_of(st.integers(0, 30), st.integers(0, last_minute)),
        st.sampled_from(ADDRESSES),
        st.sampled_from([ACCOUNTS[0], ACCOUNTS[0], ACCOUNTS[0], ACCOUNTS[1]]),
        st.integers(0, 1),
        st.integers(1, 5_000),
    )
    beside = st.tuples(
        st.integers(0, most - 1), st.sampled_from(["twin", "forged", "refused before", "more", "others", "burst"])
    )
    return st.builds(
        lambda chosen, variations: list(
            dict.fromkeys(
                [*chosen, *(act for place, how in variations for act in varied(chosen[place % len(chosen)], how))]
            )
        ),
        st.lists(act, min_size=1, max_size=most, unique_by=lambda act: act.event),
        st.lists(beside, max_size=most_varied),
    )


STORIES: Final = stories(4, 40 * 60, most_varied=3)


class Deployment:
    """A deployment in memory whose timers run from moment to moment, which remembers all that was recorded."""

    def __init__(self) -> None:
        """Begin with an empty table."""
        self.table = MemoryTable()
        self.now = START
        self.store = RecordingStore(self.table)
        self.recorder = Recorder(self.store, OWN, IDLE, now=lambda: self.now, pause=lambda _attempt: None)

    def deliver(self, batch: Sequence[Act]) -> None:
        """Hand a batch to `detect`; each message reached the queue a moment ago."""
        messages = [make_message(envelope_of(act), str(number), self.now) for number, act in enumerate(batch)]
        for result in detect_messages(messages, self.recorder):
            assert result.fate in {Fate.RECORDED, Fate.DUPLICATE}, result

    def run_until(self, minute: int | None) -> None:
        """Let time pass to a minute of the story, or until nothing is open."""
        end = None if minute is None else START + timedelta(minutes=minute)
        for _ in range(2_000):
            due = [
                moment for each in self.store.open_accounts() if (moment := next_timer(each, self.recorder)) is not None
            ]
            if not due or (end is not None and min(due) > end):
                self.now = max(self.now, end or self.now)
                return
            self.now = max(self.now, min(due))
            for account_id in self.store.open_accounts():
                run_timers(account_id, self.recorder)
        message = "timers without end"
        raise AssertionError(message)

    def events(self) -> set[tuple[str, str, str]]:
        """Every stored event: partition, sort key, hash. Each account's chain has to be whole."""
        found: set[tuple[str, str, str]] = set()
        for account_id, months in self.store.accounts().items():
            items = [item for month in months for item in self.store.event_items(account_id, month)]
            report = self.store.verify_chain(account_id, months)
            assert report.faults == ()
            assert sorted(int(str(item["sequence"])) for item in items) == list(range(1, len(items) + 1))
            found |= {(str(item["pk"]), str(item["sk"]), str(item["sha256"])) for item in items}
        return found


class RecordingStore(ListeningStore):
    """The store, which remembers what was recorded as well."""

    def __init__(self, table: MemoryTable) -> None:
        """Begin with nothing recorded."""
        super().__init__(table)
        self.recorded: list[RecordedEvent] = []

    def write_account(self, changes: Changes, now: Any, channels: Sequence[str]) -> None:
        """Write, and remember the events once they are written."""
        super().write_account(changes, now, channels)
        self.recorded += changes.events


def batches(drawn: Sequence[Act], random: Random) -> Iterator[Sequence[Act]]:
    """Cut what arrives into batches of one to ten."""
    position = 0
    while position < len(drawn):
        size = random.randint(1, 10)
        yield drawn[position : position + size]
        position += size


Printed = Callable[[str, object], None]
"""Pytest's `record_property`."""


class Distribution:
    """What the examples of a property were made of."""

    def __init__(self) -> None:
        """Begin with no example."""
        self.examples = 0
        self.with_it: Counter[str] = Counter()

    def add(self, story: Sequence[Act], **marks: bool) -> None:
        """Count an example by what is in it."""
        self.examples += 1
        found = {
            "several accounts": len({act.account for act in story}) > 1,
            "several days": max(act.minute for act in story) - min(act.minute for act in story) > 24 * 60,
            "several addresses": len({act.address for act in story}) > 1,
            "a sign-in": any(act.specimen in SIGN_INS for act in story),
            "a failed sign-in": any(act.specimen == "console_login_failed" for act in story),
            "a burst of one kind": any("-burst-" in act.target for act in story),
            "something refused": any(act.refused for act in story),
            "something forged": any(act.forged for act in story),
            "an eventID twice": any(act.twin for act in story),
            "five records or more": len(story) >= 5,
        }
        self.with_it.update(name for name, is_in_it in (found | marks).items() if is_in_it)

    def show(self, printed: Printed, title: str, least: int = EXAMPLES) -> None:
        """Have the shares printed at the end of the run; each has to be one in fifty at least, of so many examples."""
        shares = {name: count * 100 // self.examples for name, count in sorted(self.with_it.items())}
        listed = ", ".join(f"{name} {share}%" for name, share in shares.items())
        printed(PRINTED, f"{title}: {self.examples} examples; {listed}")
        assert self.examples >= least
        assert len(shares) >= 8
        assert min(shares.values()) >= 2, shares


Check = Callable[..., None]


def holds(check: Check, *strategies: st.SearchStrategy[Any], examples: int = EXAMPLES) -> None:
    """Run a property over all its examples."""
    settings(max_examples=examples, deadline=None, database=None, derandomize=True)(given(*strategies)(check))()


def finds(check: Check, *strategies: st.SearchStrategy[Any]) -> None:
    """A fault was planted: the property has to fail within its examples."""
    hunted = settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=(Phase.generate,),
        report_multiple_bugs=False,
    )(given(*strategies)(check))
    with pytest.raises(AssertionError):
        hunted()


# --- any order, any repetition ----------------------------------------------------------------------------------------

REPEATED: Final = (STORIES, st.lists(st.integers(0, 8), max_size=8), st.randoms(use_true_random=False))


def same_events(story: list[Act], repeats: list[int], random: Random) -> None:
    """The same records in another order, some of them again: the same events under the same hashes."""
    expected, other = Deployment(), Deployment()
    for act in sorted(story, key=lambda act: act.minute):
        expected.now = max(expected.now, START + timedelta(minutes=act.minute + 1))
        expected.deliver([act])
    other.now = expected.now
    shuffled = [*story, *(story[each % len(story)] for each in repeats)]
    random.shuffle(shuffled)
    for batch in batches(shuffled, random):
        other.deliver(batch)
    assert other.events() == expected.events()
    # The count is that of the records' own content: what is different is kept, twins and forgeries included.
    contents = {(act.forged, str(sorted(envelope_of(act)["detail"].items(), key=str))) for act in story}
    assert len(expected.events()) == len(contents)


def test_any_order_and_any_repetition_leaves_the_same_events(record_property: Printed) -> None:
    """However often, in whatever order and batches records arrive, the same events and hashes are kept."""
    seen = Distribution()

    def check(story: list[Act], repeats: list[int], random: Random) -> None:
        seen.add(story, **{"a repetition": bool(repeats)})
        same_events(story, repeats, random)

    holds(check, *REPEATED)
    seen.show(record_property, "any order and repetition")


def known_by_its_id(self: AuditStore, observations: Sequence[Any]) -> list[Known]:
    """Fault: a record whose eventID is known counts as a duplicate, whatever is in it."""
    return [Known.DUPLICATE if known is Known.REUSED else known for known in KNOWN(self, observations)]


KNOWN: Final = AuditStore.known
EVENT_KEY: Final = event_key


def key_without_origin(observation: Any) -> Key:
    """Fault: what anybody put on the bus is stored in the place of CloudTrail's own record."""
    key = EVENT_KEY(observation)
    return Key(key.pk, key.sk.removesuffix("#not-from-cloudtrail").rpartition("#")[0])


@pytest.mark.parametrize("fault", ["known by its id", "stored by its id"])
def test_the_first_property_finds_a_fault(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """A store that knows records by their eventID alone keeps whichever comes first, and the property says so."""
    if fault == "known by its id":
        monkeypatch.setattr(AuditStore, "known", known_by_its_id)
    else:
        for module in (store_module, pipeline):
            monkeypatch.setattr(module, "event_key", key_without_origin)
    finds(same_events, *REPEATED)


# --- every detection is told ------------------------------------------------------------------------------------------

TOLD: Final = (STORIES, st.booleans(), st.randoms(use_true_random=False))


def every_detection_is_told(story: list[Act], backlog: bool, random: Random) -> None:  # noqa: FBT001
    """Every detection at medium or above stands in some alert of the account whose incident it is in, and of each
    distinct act at high or above in an incident an alert names one record.
    """
    deployment = Deployment()
    if backlog:
        shuffled = list(story)
        random.shuffle(shuffled)
        deployment.run_until(max(act.minute for act in story) + 1)
        for batch in batches(shuffled, random):
            deployment.deliver(batch)
    else:
        for act in sorted(story, key=lambda act: act.minute):
            deployment.run_until(act.minute + 1)
            deployment.deliver([act])
    deployment.run_until(None)
    alerts = deployment.store.alerts
    told = {(alert.account_id, detection) for alert in alerts for detection in alert.detections}
    named = {(alert.incident_id, event_id) for alert in alerts for event_id in alert.event_ids}
    acts_told: dict[tuple[Any, ...], bool] = {}
    for event in deployment.store.recorded:
        record = event.observation.record
        for finding in event.observation.findings:
            if finding.severity.rank < Severity.MEDIUM.rank:
                continue
            assert event.incident_id is not None
            assert (record.account_id, finding.detection.id) in told, finding
            if finding.severity.rank >= Severity.HIGH.rank:
                what = (finding.detection.id, finding.severity, record.event_name, record.target, record.outcome)
                signature = (event.incident_id, *what)
                is_named = (event.incident_id, record.event_id) in named
                acts_told[signature] = acts_told.get(signature, False) or is_named
    assert all(acts_told.values()), [act for act, is_named in acts_told.items() if not is_named]
    assert all(alert.why and set(alert.why) <= set(Why) for alert in alerts)


@pytest.mark.parametrize(("limits", "examples"), [("as they are", EXAMPLES), ("small", EXAMPLES // 5)])
def test_every_detection_is_told(
    record_property: Printed, monkeypatch: pytest.MonkeyPatch, limits: str, examples: int
) -> None:
    """Live or as a backlog in any order, nothing at medium or above stays untold, also where every set is full."""
    if limits == "small":
        for name, value in (("MOST_GATHERED", 2), ("LARGEST_SET", 2), ("MOST_MOMENTS", 1), ("MOST_OPEN_OF_OTHERS", 1)):
            monkeypatch.setattr(incident_module, name, value)
    seen = Distribution()

    def check(story: list[Act], backlog: bool, random: Random) -> None:  # noqa: FBT001
        seen.add(story, **{"a backlog": backlog})
        every_detection_is_told(story, backlog, random)

    holds(check, *TOLD, examples=examples)
    seen.show(record_property, f"every detection is told, limits {limits}", examples)


def one_key_for_all(observation: Any) -> list[str]:
    """Fault: what is new is asked of the incident and not of the detection."""
    return ["anything"] if NOVELTY_KEYS(observation) else []


def kinds_only(observation: Any) -> list[str]:
    """Fault: what is new is asked of the detection and not of event and target."""
    return [key for key in NOVELTY_KEYS(observation) if ":" not in key]


def first_of_gathered(state: Any, incident: Any, now: Any) -> Any:
    """Fault: of what was gathered only the first is told."""
    return TELL_GATHERED(state, dataclasses.replace(incident, gathered=incident.gathered[:1]), now)


NOVELTY_KEYS: Final = incident_module._novelty_keys
TELL_GATHERED: Final = incident_module._tell_gathered


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("_novelty_keys", one_key_for_all),
        ("_novelty_keys", kinds_only),
        ("_tell_gathered", first_of_gathered),
    ],
    ids=["one novelty an incident", "targets forgotten", "gathered acts lost"],
)
def test_the_second_property_finds_a_fault(monkeypatch: pytest.MonkeyPatch, name: str, fault: Any) -> None:
    """Whatever hides an act behind an earlier one, the property finds a story in which it does."""
    monkeypatch.setattr(incident_module, name, fault)
    finds(every_detection_is_told, *TOLD)


# --- alerts are bounded -----------------------------------------------------------------------------------------------

COPIES: Final = (
    # No twins: that somebody gives one eventID to two records is news each time.
    stories(3, 60, most_varied=2).map(lambda story: [act for act in story if not act.twin]),
    st.integers(1, 8),
    st.sampled_from([1, 7, 59]),
)


def alerts_are_bounded(story: list[Act], copies: int, every: int) -> None:
    """What happens again and again, by records of their own, makes no more alerts than its novelties and time allow."""
    deployment = Deployment()
    drawn = [
        dataclasses.replace(act, minute=act.minute + every * copy, event=act.event + 100_000 * copy)
        for act in story
        for copy in range(1 if act.specimen in UNREPEATABLE else copies)
    ]
    for act in sorted(drawn, key=lambda act: act.minute):
        deployment.run_until(act.minute + 1)
        deployment.deliver([act])
    deployment.run_until(None)
    novelties: set[tuple[Any, ...]] = set()
    quiet = 0
    spans: dict[str, timedelta] = {}
    for event in deployment.store.recorded:
        observation, record = event.observation, event.observation.record
        if event.incident_id is None:
            continue
        for finding in observation.findings:
            novelties.add((event.incident_id, finding.detection.id, finding.severity, record.event_name, record.target,
                           record.outcome))  # fmt: skip
        novelties.add((event.incident_id, "address", observation.source.key, record.outcome))
        novelties.add((event.incident_id, "session", record.actor.lineage))
        novelties.add((event.incident_id, "client", observation.client.kind))
    for incident_id in {event.incident_id for event in deployment.store.recorded} - {None}:
        incident = deployment.store.incident(str(incident_id))
        assert incident is not None
        spans[incident.id] = incident.last_at - incident.opened_at
        quiet += 1 + int((spans[incident.id] + IDLE) / timedelta(hours=4))  # its end, and progress
    once = sum(act.specimen in UNREPEATABLE for act in story)
    assert len(deployment.store.alerts) <= len(novelties) + once + quiet
    counted = Counter(alert.incident_id for alert in deployment.store.alerts)
    for incident_id, count in counted.items():
        own = sum(1 for novelty in novelties if novelty[0] == incident_id)
        assert count <= own + once + 1 + int((spans[incident_id] + IDLE) / timedelta(hours=4)) + len(Stage)


def test_alerts_are_bounded_by_novelty_and_time(record_property: Printed) -> None:
    """The number of alerts is bounded by what is new and by how long it lasts, never by the number of records."""
    seen = Distribution()

    def check(story: list[Act], copies: int, every: int) -> None:
        seen.add(
            story,
            **{
                "four hours or more": copies * every > 4 * 60,
                "eight copies": copies == 8,
                "several days": False,
                "an eventID twice": False,
            },
        )
        alerts_are_bounded(story, copies, every)

    holds(check, *COPIES)
    seen.show(record_property, "alerts are bounded")


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("_with_all", lambda known, _keys: known),
        ("_with", lambda known, _key, _most=0: known),
        ("PROGRESS_EVERY", timedelta(minutes=20)),
    ],
    ids=["novelties forgotten", "addresses forgotten", "progress without end"],
)
def test_the_third_property_finds_a_fault(monkeypatch: pytest.MonkeyPatch, name: str, fault: Any) -> None:
    """Where a repetition is told again, or time alone tells too much, the property finds a story that shows it."""
    monkeypatch.setattr(incident_module, name, fault)
    finds(alerts_are_bounded, *COPIES)
