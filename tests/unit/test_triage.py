"""Triage: which moves there are, who may make them, what an incident takes in after one, and what opens it again."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootwatch.alert import standing
from rootwatch.audit.items import incident_item, incident_of, step_item, step_of
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Put
from rootwatch.channels import slack
from rootwatch.detections.detection import Severity
from rootwatch.errors import DamagedItemError
from rootwatch.incident import LONGEST_REASON, LONGEST_TICKET, Incident, Triage, TriageState
from rootwatch.pipeline import Recorder, record_batch, run_timers
from rootwatch.triage import (
    LONGEST_NOTE,
    MOST_ASKED_AGAIN,
    MOST_STEPS,
    MOVES,
    Action,
    Answer,
    Desk,
    Done,
    Escalation,
    Person,
    Refused,
    Request,
    answer,
    ask,
    decide,
    question_times,
    response,
    step_words,
)
from rootwatch_cli.slack_receiver import problem_with
from tests.builders.hostile import HOSTILE_TEXTS
from tests.unit.workbench import ACCOUNT, NOW, CheckedTable, make_observation, make_recorder

DANA = Person("slack:T1/U1", "dana", "slack", "channel C1")
SAM = Person("slack:T1/U2", "sam", "slack", "channel C1")
MINUTE = timedelta(minutes=1)


class Bench:
    """A table with a clock that the test moves; records come in and people answer."""

    def __init__(self) -> None:
        self.table = CheckedTable()
        self.store = AuditStore(self.table)
        self.now: datetime = NOW
        self.recorder: Recorder = replace(make_recorder(self.table), now=lambda: self.now)
        self.desk = Desk(self.store, lambda: self.now, lambda _attempt: None)
        self.told: list[tuple[str, ...]] = []

    def record(self, specimen: str = "console_login_without_mfa", /, **changes: Any) -> Incident:
        """Record a specimen as an act of now, and return its incident."""
        number = len(list(self.store.event_items(ACCOUNT, f"{NOW:%Y-%m}")))
        changes.setdefault("eventTime", f"{self.now:%Y-%m-%dT%H:%M:%SZ}")
        observation = make_observation(specimen, number=number + 1, **changes)
        _, alerts = record_batch(ACCOUNT, [observation], self.recorder)
        self.told += [alert.why for alert in alerts]
        [item] = [
            each
            for each in self.store.event_items(ACCOUNT, f"{NOW:%Y-%m}")
            if each["sha256"] == observation.record.sha256
        ]
        return self.incident(str(item["incident_id"]))

    def incident(self, incident_id: str) -> Incident:
        """The incident as it stands now."""
        found = self.store.incident(incident_id)
        assert found is not None
        return found

    def do(self, incident: Incident, action: Action, person: Person = DANA, /, **rest: Any) -> Answer:
        """Let a person answer, a minute later."""
        self.now += MINUTE
        return answer(self.desk, Request(incident.id, action, person, **rest))

    def resolve(self, incident: Incident) -> Incident:
        """Resolve an incident as expected."""
        given_answer = self.do(incident, Action.RESOLVE, reason="MFA device replaced", ticket="OPS-1")
        assert given_answer.done, given_answer.words
        return self.incident(incident.id)

    def version(self) -> int:
        """The version of the account's head."""
        return self.store.read_account(ACCOUNT, (), self.now).version


@pytest.fixture
def bench() -> Bench:
    """An empty table at noon."""
    return Bench()


def in_session(created: str, **changes: Any) -> dict[str, Any]:
    """Changes that put an act into the session that was created at this time."""
    return {
        "userIdentity.sessionContext.attributes.creationDate": created,
        "userIdentity.sessionContext.signInSessionArn": None,
        "sourceIPAddress": "203.0.113.7",
        **changes,
    }


# --- moves ---------------------------------------------------------------------------------------------------------


def test_the_whole_way(bench: Bench) -> None:
    """An incident goes from open over acknowledged, suspicious and contained to closed; each step says who, when and
    from where, bumps the head, and is told in the timeline's words.
    """
    incident = bench.record()
    versions = [bench.version()]
    for action in (Action.ACKNOWLEDGE, Action.SUSPECT, Action.CONTAIN, Action.CLOSE):
        assert bench.do(incident, action).done
        versions.append(bench.version())
    closed, steps = bench.incident(incident.id), bench.store.steps(incident.id)
    assert [step.after for step in steps] == ["acknowledged", "suspicious", "contained", "closed"]
    assert [step.before for step in steps] == ["open", "acknowledged", "suspicious", "contained"]
    assert [step.number for step in steps] == [1, 2, 3, 4]
    assert {(step.by, step.by_name, step.via, step.origin) for step in steps} == {
        ("slack:T1/U1", "dana", "slack", "channel C1")
    }
    assert all(later == earlier + 1 for earlier, later in pairwise(versions))
    assert (closed.open, closed.triage.state, closed.triage.asking) == (False, TriageState.CLOSED, False)
    assert bench.store.open_accounts() == []
    assert step_words(steps[0]) == "dana is on it (on Slack)"
    assert standing(closed) == "Closed by dana, 2026-11-03 12:04:00 UTC"


def test_an_end_by_triage_is_told_once(bench: Bench) -> None:
    """Closing tells the summary at once, and the end by time, which never comes then, tells nothing more."""
    incident = bench.resolve(bench.record())
    assert incident.alerts == 2
    alert = bench.store.alert(incident.id, 2)
    assert alert is not None
    assert alert.why == ("summary",)
    bench.now += timedelta(hours=2)
    assert run_timers(ACCOUNT, bench.recorder) == []


@pytest.mark.parametrize("state", TriageState)
@pytest.mark.parametrize("action", [action for action in Action if action is not Action.NOTE])
def test_only_the_moves_of_the_table(bench: Bench, state: TriageState, action: Action) -> None:
    """From each state an action leads where the table says, or is refused in words that say how the incident stands."""
    incident = replace(bench.record(), triage=Triage(state=state))
    decision = decide(incident, Request(incident.id, action, DANA, reason="because", ticket="OPS-1"), NOW)
    target = MOVES[action].get(state)
    if action is Action.CONFIRM:  # nothing was proposed
        assert isinstance(decision, Refused)
    elif target is None:
        assert isinstance(decision, Refused)
        assert decision.words.startswith(state.words.capitalize())
        assert not decision.kept
    else:
        assert isinstance(decision, Done)
        assert (decision.triage.state, decision.triage.moves) == (target, 1)
        assert decision.triage.asking is not target.is_final


def test_what_a_resolution_needs(bench: Bench) -> None:
    """Without a reason, or without a ticket, nothing is resolved and no step is written."""
    incident = bench.record()
    for typed in ({}, {"reason": "because"}, {"ticket": "OPS-1"}, {"reason": " \n", "ticket": "OPS-1"}):
        refused = bench.do(incident, Action.RESOLVE, **typed)
        assert (refused.done, refused.words[:34]) == (False, "A reason and a ticket are required")
    assert bench.store.steps(incident.id) == []
    assert bench.incident(incident.id) == incident


def test_whoever_may_not_resolve_is_told_and_recorded(bench: Bench) -> None:
    """A person outside the list is told; the try is a step that changes nothing; acknowledging still works."""
    incident = bench.record()
    outside = replace(SAM, bar="Nobody may resolve on Slack: the parameter is empty.")
    refused = bench.do(incident, Action.RESOLVE, outside, reason="x", ticket="y")
    assert (refused.done, refused.words) == (False, outside.bar)
    [step] = bench.store.steps(incident.id)
    assert (step.kind, step.before, step.after, step.by) == ("refused:resolve", "open", "open", SAM.id)
    assert step_words(step) == "sam tried to resolve it, and may not (on Slack)"
    assert bench.incident(incident.id).triage.state is TriageState.OPEN
    assert bench.do(incident, Action.ACKNOWLEDGE, outside).done


def test_whoever_acts_on_an_old_message_is_told(bench: Bench) -> None:
    """A press says how many moves its message knew; after another person's move nothing changes but what is said."""
    incident = bench.record()
    assert bench.do(incident, Action.ACKNOWLEDGE, SAM, seen=0).done
    refused = bench.do(incident, Action.SUSPECT, DANA, seen=0)
    assert (refused.done, refused.words.partition(",")[0]) == (False, "Acknowledged by sam")
    assert bench.do(incident, Action.SUSPECT, DANA, seen=1).done


def test_a_second_person_confirms(bench: Bench) -> None:
    """With the parameter, a critical incident is proposed by one and resolved by another, who comes by the same way."""
    bench.desk = replace(bench.desk, second_person=True)
    incident = bench.record()
    assert incident.severity is Severity.CRITICAL
    assert bench.do(incident, Action.RESOLVE, reason="drill", ticket="OPS-2").words.startswith("Proposed")
    proposed = bench.incident(incident.id)
    assert (proposed.triage.state, proposed.open) == (TriageState.OPEN, True)
    assert "proposed as expected by dana" in standing(proposed)
    assert "second person" in bench.do(incident, Action.CONFIRM).words
    by_the_command = replace(SAM, via="aws", id="arn:aws:iam::111122223333:role/dana")
    assert "dana proposed it on Slack: confirm it on" in bench.do(incident, Action.CONFIRM, by_the_command).words
    assert bench.do(incident, Action.CONFIRM, SAM).done
    *_, step = bench.store.steps(incident.id)
    assert (step.by_name, step.reason, step.ticket, step.after) == ("sam", "drill", "OPS-2", "expected")


def test_a_less_severe_one_needs_no_second_person(bench: Bench) -> None:
    """The parameter is about critical incidents only."""
    bench.desk = replace(bench.desk, second_person=True)
    assert bench.resolve(bench.record("console_login")).triage.state is TriageState.EXPECTED


def test_notes_change_nothing_and_are_bounded(bench: Bench) -> None:
    """A note is a step; an incident takes so many of them and no more, while its moves go on."""
    incident = bench.record()
    assert bench.do(incident, Action.NOTE, note="called the custodian\nno answer").done
    assert bench.do(incident, Action.NOTE, note="  ").words == "A note needs a text."
    [step] = bench.store.steps(incident.id)
    assert step_words(step) == 'dana noted: "called the custodian no answer" (on Slack)'
    full = replace(bench.incident(incident.id), triage=Triage(steps=MOST_STEPS))
    bench.table.write([Put(incident_item(full))])
    assert "500 steps" in bench.do(incident, Action.NOTE, note="one more").words
    assert bench.do(incident, Action.ACKNOWLEDGE).done


def test_an_unknown_or_damaged_incident(bench: Bench) -> None:
    """An id of another deployment, or an incident that somebody altered, is said so, and nothing is written."""
    incident = bench.record()
    unknown = bench.do(replace(incident, id="20260101-0000000000"), Action.ACKNOWLEDGE)
    assert unknown.words == "There is no incident 20260101-0000000000 in rootwatch."
    bench.table.write([Put({**incident_item(incident), "records": "many"})])
    damaged = bench.do(incident, Action.ACKNOWLEDGE)
    assert "cannot be understood" in damaged.words
    assert bench.store.steps(incident.id) == []


def test_what_came_after_somebody_looked_is_not_expected(bench: Bench) -> None:
    """Nobody calls expected what they did not see: an address, a session or an act that came since is refused and
    named; whoever looks again may. Who says nothing of what they saw hears afterwards what is covered.
    """
    incident = bench.record("write", **in_session(SESSION))
    given_texts = {"reason": "MFA device replaced", "ticket": "OPS-1"}
    bench.now += MINUTE
    for late in (
        bench.record("write", **in_session(OTHER_SESSION, sourceIPAddress="198.51.100.99")),
        bench.record("logging_tampered", **in_session(SESSION)),
    ):
        assert late.id == incident.id
        refused = bench.do(incident, Action.RESOLVE, seen=0, listed=incident.listed, **given_texts)
        assert not refused.done
        assert "Something new came after you looked" in refused.words
        assert "198.51.100.99" in refused.words
        incident = late
    assert bench.store.steps(incident.id) == []
    same = bench.record("write", **in_session(SESSION))
    assert same.listed == incident.listed
    done = bench.do(incident, Action.RESOLVE, seen=0, listed=incident.listed, **given_texts)
    assert done.done
    assert "covers root from 203.0.113.7, 198.51.100.99 in" in done.words


def test_what_came_after_the_proposal_is_not_confirmed_unseen(bench: Bench) -> None:
    """The second person, too, has to have seen what they agree to."""
    bench.desk = replace(bench.desk, second_person=True)
    incident = bench.record("logging_tampered", **in_session(SESSION))
    assert bench.do(incident, Action.RESOLVE, reason="drill", ticket="OPS-1").done
    late = bench.record("write", **in_session(SESSION, sourceIPAddress="198.51.100.99"))
    assert not bench.do(incident, Action.CONFIRM, SAM, listed=incident.listed).done
    assert bench.do(incident, Action.CONFIRM, SAM, listed=late.listed).done


# --- what an incident takes in afterwards --------------------------------------------------------------------------


SESSION = "2026-11-03T11:00:00Z"
OTHER_SESSION = "2026-11-03T11:30:00Z"


def resolved(bench: Bench) -> Incident:
    """An incident of one session and one address that was resolved as expected."""
    return bench.resolve(bench.record("write", **in_session(SESSION)))


def test_what_was_expected_covers_its_own_session(bench: Bench) -> None:
    """More of the same from a listed address and session joins it, alerts nobody, and is counted in a last summary."""
    incident = resolved(bench)
    bench.told.clear()
    bench.now += 5 * MINUTE
    joined = bench.record("write", **in_session(SESSION))
    assert (joined.id, joined.records, joined.triage.state) == (incident.id, 2, TriageState.EXPECTED)
    assert bench.told == []
    bench.now += timedelta(hours=2)
    [summary] = run_timers(ACCOUNT, bench.recorder)
    assert (summary.why, summary.counts["records"]) == (("summary",), 2)
    assert bench.incident(incident.id).triage.state is TriageState.EXPECTED


@pytest.mark.parametrize(
    "changes",
    [
        in_session(SESSION, sourceIPAddress="198.51.100.99"),
        in_session(OTHER_SESSION),
    ],
    ids=["another address", "another session"],
)
def test_anything_else_opens_a_new_incident(bench: Bench, changes: dict[str, Any]) -> None:
    """From another address or session the same act is another incident, and alerts."""
    incident = resolved(bench)
    bench.told.clear()
    bench.now += 5 * MINUTE
    other = bench.record("write", **changes)
    assert other.id != incident.id
    assert [why[0] for why in bench.told] == ["opened"]
    assert bench.incident(incident.id) == incident
    assert other.triage.state is TriageState.OPEN


def test_a_new_sign_in_is_covered_by_nothing(bench: Bench) -> None:
    """Whoever signs in begins a session that nobody looked at, whatever address it comes from."""
    incident = bench.resolve(bench.record("console_login"))
    bench.now += 5 * MINUTE
    assert bench.record("console_login").id != incident.id


def test_a_new_detection_opens_it_again(bench: Bench) -> None:
    """An act of the same session that is new to the incident alerts as reopened, and people have to answer anew."""
    incident = resolved(bench)
    bench.told.clear()
    bench.now += 5 * MINUTE
    again = bench.record("logging_tampered", **in_session(SESSION))
    assert again.id == incident.id
    assert "reopened" in bench.told[-1]
    assert (again.open, again.triage.state, again.triage.waiting_since) == (True, TriageState.OPEN, bench.now)
    assert standing(again) == "Opened again, 2026-11-03 12:06:00 UTC"
    alert = bench.store.alert(again.id, again.alerts)
    assert alert is not None
    parent = slack.parent_payload(alert, again)
    assert "Answer: nobody since it was opened again, 2026" in json.dumps(parent)
    assert again.triage.moves == incident.triage.moves + 1
    assert list(bench.store.unanswered()) == [incident.id]


def test_an_act_after_containment_opens_it_again(bench: Bench) -> None:
    """What is new after it was contained shows that it was not; what happened before and came late shows nothing."""
    incident = bench.record("write", **in_session(SESSION))
    bench.do(incident, Action.SUSPECT)
    bench.do(incident, Action.CONTAIN)
    bench.now += MINUTE
    late = bench.record("access_key_created", **in_session(SESSION, eventTime="2026-11-03T12:00:30Z"))
    assert (late.id, late.triage.state) == (incident.id, TriageState.CONTAINED)
    again = bench.record("logging_tampered", **in_session(SESSION))
    assert (again.id, again.triage.state) == (incident.id, TriageState.OPEN)


@pytest.mark.parametrize("actions", [(), (Action.CLOSE,)], ids=["contained", "closed"])
def test_more_of_the_same_after_containment_opens_it_again(bench: Bench, actions: tuple[Action, ...]) -> None:
    """Whatever root does after it was contained alerts as severely as the incident, although it is nothing new to it;
    what happened before and came late, and what root tried in vain, is counted.
    """
    sign_in = {"eventTime": "2026-11-03T11:00:00Z", "sourceIPAddress": "203.0.113.7"}
    incident = bench.record("console_login_without_mfa", **sign_in)
    for _ in range(2):
        bench.record("read", **in_session(SESSION))
        bench.record("denied", **in_session(SESSION))
    for action in (Action.SUSPECT, Action.CONTAIN, *actions):
        bench.do(incident, action)
    bench.told.clear()
    bench.now += MINUTE
    bench.record("denied", **in_session(SESSION))
    quiet = bench.record("read", **in_session(SESSION, eventTime="2026-11-03T11:30:00Z"))
    assert (quiet.id, quiet.triage.state.is_final, bench.told) == (incident.id, bool(actions), [])
    again = bench.record("read", **in_session(SESSION))
    assert (again.id, again.triage.state, again.triage.waiting_since) == (incident.id, TriageState.OPEN, bench.now)
    assert [why[-1] for why in bench.told] == ["not_contained"]
    alert = bench.store.alert(incident.id, again.alerts)
    assert alert is not None
    assert (alert.severity, alert.headline.split(" · ")[1]) == (Severity.CRITICAL, "NOT CONTAINED")
    bench.record("read", **in_session(SESSION))
    assert len(bench.told) == 1


@pytest.mark.parametrize("contained", [True, False])
def test_a_contained_session_is_no_known_one(bench: Bench, contained: bool) -> None:  # noqa: FBT001 - both cases
    """An intruder who waits until the incident has ended is told even if all they do is read, in the session that the
    account knows: nothing of it should be alive. Without a containment a read in a known session stays silent.
    """
    incident = bench.record("console_login_without_mfa", **in_session("2026-11-03T12:00:00Z"))
    bench.record("read", **in_session("2026-11-03T12:00:00Z"))
    for action in (Action.SUSPECT, Action.CONTAIN) if contained else (Action.SUSPECT,):
        assert bench.do(incident, action).done
    bench.now += timedelta(minutes=90)
    run_timers(ACCOUNT, bench.recorder)
    bench.told.clear()
    again = bench.record("read", **in_session("2026-11-03T12:00:00Z"))
    assert again.id != incident.id
    assert bench.told == ([("opened", "new_credential")] if contained else [])
    assert bool(list(bench.store.unanswered()).count(again.id)) is contained


def test_whoever_has_it_keeps_it(bench: Bench) -> None:
    """News of an acknowledged incident alerts, and does not take it from whoever is on it."""
    incident = bench.record("write", **in_session(SESSION))
    bench.do(incident, Action.ACKNOWLEDGE)
    bench.now += MINUTE
    again = bench.record("logging_tampered", **in_session(SESSION))
    assert (again.id, again.triage.state, again.triage.by) == (incident.id, TriageState.ACKNOWLEDGED, "dana")


def test_an_incident_that_ended_can_still_be_answered(bench: Bench) -> None:
    """After an hour without an act people acknowledge and resolve it all the same, without a second summary."""
    incident = bench.record()
    bench.now += timedelta(hours=2)
    run_timers(ACCOUNT, bench.recorder)
    alerts = bench.incident(incident.id).alerts
    assert bench.do(incident, Action.ACKNOWLEDGE).done
    assert bench.resolve(incident).alerts == alerts


def test_gathered_acts_are_told_before_the_end(bench: Bench) -> None:
    """What waited to be told together is told when people resolve the incident, and then the summary."""
    for number in range(3):
        bucket = {"requestParameters.bucketName": f"bucket-{number}"}
        incident = bench.record("destroyed", **in_session(SESSION), **bucket)
    assert incident.gathered
    closed = bench.resolve(incident)
    assert closed.gathered == ()
    kinds = [alert.kind for number in range(1, closed.alerts + 1) if (alert := bench.store.alert(incident.id, number))]
    assert kinds[-2:] == ["gathered", "summary"]


def test_the_account_remembers_what_was_closed(bench: Bench) -> None:
    """A closed incident is in the head's memory once, and no longer among the open ones."""
    incident = resolved(bench)
    state = bench.store.read_account(ACCOUNT, (), bench.now)
    assert [closed.id for closed in state.closed_incidents] == [incident.id]
    assert state.incidents == ()
    bench.do(incident, Action.SUSPECT)
    state = bench.store.read_account(ACCOUNT, (), bench.now)
    assert [closed.id for closed in state.closed_incidents] == [incident.id]


def test_damage_is_told_although_somebody_answers(bench: Bench) -> None:
    """A damaged head is overwritten by an answer as by anything else, so its alert goes out with the answer."""
    incident = bench.record()
    [head] = list(bench.table.query(f"ACCOUNT#{ACCOUNT}", "HEAD"))
    bench.table.write([Put({**head, "chain": "gone"})])
    assert bench.do(incident, Action.ACKNOWLEDGE).done
    found = [bench.incident(each) for each in bench.store.open_incidents()]
    assert sorted(each.story for each in found) == ["damage", "root"]


# --- items ---------------------------------------------------------------------------------------------------------


def test_an_incident_from_before_there_was_triage(bench: Bench) -> None:
    """An item of an earlier version reads as open, unanswered and not to be asked about; an answer migrates it."""
    incident = bench.record()
    old = {name: value for name, value in incident_item(incident).items() if not name.startswith(("triage", "unansw"))}
    bench.table.write([Put({**old, "schema_version": 2})])
    assert bench.incident(incident.id) == replace(incident, triage=Triage())
    assert list(bench.store.unanswered()) == []
    assert bench.do(incident, Action.ACKNOWLEDGE).done
    assert bench.incident(incident.id).triage.state is TriageState.ACKNOWLEDGED


@pytest.mark.parametrize(
    "change",
    [{"state": "solved"}, {"moves": -1}, {"since": 5}, {"proposal": "yes"}, {"asked": None}],
    ids=lambda change: next(iter(change)),
)
def test_altered_triage_is_damage(bench: Bench, change: dict[str, Any]) -> None:
    """An item whose triage was altered cannot be understood, and is said to be changed."""
    item = incident_item(bench.record())
    triage = item["triage"]
    assert isinstance(triage, dict)
    with pytest.raises(DamagedItemError, match="was changed"):
        incident_of({**item, "triage": {**triage, **change}})


def test_a_step_that_was_altered_is_damage(bench: Bench) -> None:
    """A step whose content does not fit its key, or has none of its fields, cannot be understood."""
    incident = bench.resolve(bench.record())
    [step] = bench.store.steps(incident.id)
    assert step_of(step_item(step)) == step
    for change in ({"number": 7}, {"after": "fine"}, {"at": "2020-01-01T00:00:00Z"}, {"by": None}):
        with pytest.raises(DamagedItemError):
            step_of({**step_item(step), **change})


@given(st.sampled_from(HOSTILE_TEXTS) | st.text(max_size=400))
def test_hostile_texts_are_kept_and_shown_on_one_line(text: str) -> None:
    """Whatever a person types is stored, read back the same, and shown on one printable line."""
    bench = Bench()
    incident = bench.record()
    hostile = Person(f"slack:{text}"[:80], text, "slack", text)
    fits = len(" ".join(text.split())) <= LONGEST_NOTE
    assert bench.do(incident, Action.ACKNOWLEDGE, hostile, note=text if fits else "").done
    bench.do(incident, Action.RESOLVE, hostile, reason=text, ticket=text)
    for step in bench.store.steps(incident.id):
        assert step_of(step_item(step)) == step
        assert step_words(step).isprintable()
        assert len(step.reason) <= LONGEST_REASON
    assert standing(bench.incident(incident.id)).isprintable()


@pytest.mark.parametrize(
    ("action", "texts", "words"),
    [
        (Action.NOTE, {"note": "x" * (LONGEST_NOTE + 1)}, "The note has 1001 characters, 1000 fit"),
        (Action.ACKNOWLEDGE, {"note": "x" * 1200}, "The note has 1200 characters"),
        (Action.RESOLVE, {"reason": "x" * (LONGEST_REASON + 1), "ticket": "OPS-1"}, "The reason has 301 characters"),
        (Action.RESOLVE, {"reason": "drill", "ticket": "y" * (LONGEST_TICKET + 1)}, "The ticket has 101 characters"),
        (Action.RESOLVE, {"reason": "\u200b\x00", "ticket": "OPS-1"}, "A reason and a ticket are required"),
        (Action.RESOLVE, {"reason": "drill", "ticket": "-"}, "A reason and a ticket are required"),
    ],
)
def test_texts_that_are_too_long_or_say_nothing(
    bench: Bench, action: Action, texts: dict[str, str], words: str
) -> None:
    """What does not fit is refused and not cut, so that nothing of it is lost; what nobody can read is no reason."""
    incident = bench.record()
    refused = bench.do(incident, action, **texts)
    assert (refused.done, words in refused.words) == (False, True), refused.words
    assert (bench.incident(incident.id), bench.store.steps(incident.id)) == (incident, [])


# --- how long it took ----------------------------------------------------------------------------------------------


def test_how_long_an_answer_took(bench: Bench) -> None:
    """From act over alert and acknowledgement to the end; a note and a refused try count as neither."""
    incident = bench.record()
    bench.do(incident, Action.NOTE, note="hm")
    bench.do(incident, Action.RESOLVE, replace(SAM, bar="no"), reason="x", ticket="y")
    assert response(bench.incident(incident.id), bench.store.steps(incident.id)).acknowledged_at is None
    bench.do(incident, Action.ACKNOWLEDGE)
    bench.resolve(incident)
    found = response(bench.incident(incident.id), bench.store.steps(incident.id))
    assert found.acted_at == incident.opened_at
    assert found.told_at == NOW
    assert found.acknowledged_at == NOW + 3 * MINUTE
    assert found.closed_at == NOW + 4 * MINUTE


def test_what_was_opened_again_is_not_over(bench: Bench) -> None:
    """After news the incident has no end any more; who took it first, and when, stays."""
    incident = resolved(bench)
    bench.now += MINUTE
    bench.record("logging_tampered", **in_session(SESSION))
    found = response(bench.incident(incident.id), bench.store.steps(incident.id))
    assert found.closed_at is None
    assert found.acknowledged_at is not None


# --- questions -----------------------------------------------------------------------------------------------------

ESCALATION = Escalation(
    {severity: [5 * MINUTE, 15 * MINUTE, 30 * MINUTE] for severity in (Severity.CRITICAL, Severity.HIGH)},
    timedelta(hours=4),
)


def asked_at(bench: Bench, incident: Incident, minutes: int) -> list[int]:
    """Let so many minutes pass, asking in each as the watchdog does; in which of them people were asked."""
    began, asked = bench.now, []
    for minute in range(1, minutes + 1):
        bench.now = began + minute * MINUTE
        if incident.id in set(bench.store.unanswered()) and ask(bench.desk, incident.id, ESCALATION):
            asked.append(minute)
    return asked


def test_what_nobody_answers_is_told_again(bench: Bench) -> None:
    """After 5, 15 and 30 minutes an alert of full severity goes out, with a step each, and then never again; the
    incident leaves the index.
    """
    incident = bench.record()
    assert asked_at(bench, incident, 120) == [5, 15, 30]
    after = bench.incident(incident.id)
    assert (after.triage.state, after.triage.asking, list(bench.store.unanswered())) == (TriageState.OPEN, False, [])
    alert = bench.store.alert(incident.id, after.alerts)
    assert alert is not None
    assert (alert.kind, alert.severity) == ("unanswered", Severity.CRITICAL)
    assert alert.headline.startswith("UNANSWERED for 30 min: Root use GOES ON")
    steps = bench.store.steps(incident.id)
    assert [(step.kind, step.via, step.note) for step in steps] == [
        ("escalated", "watchdog", f"{number} of 3") for number in (1, 2, 3)
    ]
    assert bench.do(incident, Action.ACKNOWLEDGE, seen=0).done  # a question is no move


def test_an_answer_stops_the_escalation(bench: Bench) -> None:
    """Whoever acknowledges after the first question is not asked the second one, but after four silent hours."""
    incident = bench.record()
    assert asked_at(bench, incident, 8) == [5]
    bench.do(incident, Action.ACKNOWLEDGE)
    assert asked_at(bench, incident, 6 * 60) == [4 * 60]
    alert = bench.store.alert(incident.id, bench.incident(incident.id).alerts)
    assert alert is not None
    assert alert.headline.startswith("STILL ACKNOWLEDGED, silent for 4 h: ")
    bench.do(incident, Action.NOTE, note="waiting for the custodian")
    assert asked_at(bench, incident, 5 * 60) == [4 * 60]


def test_whoever_is_silent_is_not_asked_for_ever(bench: Bench) -> None:
    """Six times, and then the incident leaves the index."""
    incident = bench.record()
    bench.do(incident, Action.ACKNOWLEDGE)
    bench.now += timedelta(hours=3)
    times = 0
    for _ in range(40):
        bench.now += timedelta(hours=1)
        times += ask(bench.desk, incident.id, ESCALATION)
    assert times == MOST_ASKED_AGAIN
    assert list(bench.store.unanswered()) == []


def test_a_watchdog_that_was_away_asks_once(bench: Bench) -> None:
    """Three questions that became due meanwhile are one."""
    incident = bench.record()
    bench.now += timedelta(hours=1)
    assert ask(bench.desk, incident.id, ESCALATION)
    assert not ask(bench.desk, incident.id, ESCALATION)
    assert [step.note for step in bench.store.steps(incident.id)] == ["3 of 3"]


def test_less_severe_ones_wake_nobody_twice(bench: Bench) -> None:
    """Where the severity has no minutes, nobody is asked; what was resolved asks nobody either."""
    quiet = bench.record("console_login_failed")
    assert quiet.severity is Severity.MEDIUM
    version = bench.version()
    assert asked_at(bench, quiet, 40) == []
    assert bench.version() == version
    assert list(bench.store.unanswered()) == [quiet.id]
    bench.now += timedelta(hours=24)
    assert not ask(bench.desk, quiet.id, ESCALATION)
    assert list(bench.store.unanswered()) == []
    incident = bench.resolve(bench.record("access_key_created"))
    assert asked_at(bench, incident, 10 * 60) == []


def test_an_incident_that_ended_is_still_asked_about(bench: Bench) -> None:
    """The end of root use is no answer."""
    bench.recorder = replace(bench.recorder, idle=5 * MINUTE)
    incident = bench.record()
    bench.now += 6 * MINUTE
    run_timers(ACCOUNT, bench.recorder)
    assert not bench.incident(incident.id).open
    assert ask(bench.desk, incident.id, ESCALATION)
    alert = bench.store.alert(incident.id, bench.incident(incident.id).alerts)
    assert alert is not None
    assert alert.headline.startswith("UNANSWERED for 6 min: Root use ended")


def test_news_of_what_nobody_answered_asks_anew(bench: Bench) -> None:
    """Where all questions were asked in vain, something new begins the escalation again."""
    incident = bench.record("write", **in_session(SESSION))
    assert len(asked_at(bench, incident, 45)) == (3 if incident.severity.rank >= Severity.HIGH.rank else 0)
    again = bench.record("logging_tampered", **in_session(SESSION))
    assert again.id == incident.id
    assert asked_at(bench, again, 10) == [5]


def test_news_that_was_gathered_asks_for_an_answer_too(bench: Bench) -> None:
    """What opens an incident again and is told with others of its kind a moment later begins the questions, too."""
    incident = bench.resolve(bench.record("destroyed", **in_session(SESSION)))
    for number in range(2):
        again = bench.record("destroyed", **in_session(SESSION), **{"requestParameters.bucketName": f"bucket-{number}"})
        assert (again.id, again.triage.state) == (incident.id, TriageState.OPEN)
        if not again.gathered:
            bench.resolve(again)
    assert again.gathered
    assert not again.triage.asking
    bench.now += 6 * MINUTE
    run_timers(ACCOUNT, bench.recorder)
    assert asked_at(bench, again, 10) == [5]


def test_a_question_calls_the_channel(bench: Bench) -> None:
    """Slack's message of an escalation mentions the whole channel, in words of ours; no other alert does."""
    incident = bench.record()
    asked_at(bench, incident, 5)
    first, second = (bench.store.alert(incident.id, number) for number in (1, 2))
    assert first is not None
    assert second is not None
    assert "<!channel>" not in json.dumps(slack.payload(first))
    assert slack.payload(second)["text"].startswith("<!channel> 🔴 CRITICAL: UNANSWERED")
    assert problem_with(slack.payload(second)) is None


def test_when_nothing_is_to_be_asked(bench: Bench) -> None:
    """An unknown incident, or one of before there was triage, asks nobody."""
    assert not ask(bench.desk, "20261103-0123456789", ESCALATION)
    assert question_times(replace(bench.record(), triage=Triage()), ESCALATION) == []
