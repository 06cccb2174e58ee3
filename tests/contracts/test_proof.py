"""The proof of the way on both tables: canaries and heartbeats from sending to channel, and forgeries of them."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rootwatch.audit.items import PROBES, DeliveryState, HeardHours, Proof, Sending, place_key, proof_state_key
from rootwatch.audit.store import AuditStore
from rootwatch.audit.table import Key, Put, Table
from rootwatch.channels.notice import Notice
from rootwatch.coverage import Place
from rootwatch.delivery import Sent, Unconfigured, prove_channel
from rootwatch.errors import DamagedItemError, DeliveryFailedError, DeliveryRefusedError, StoreConflictError
from rootwatch.pipeline import Fate, Recorder, Result, detect_messages
from rootwatch.probe import CANARY_SOURCE, TAG_KEY, Probe, ProbeKind, canary_record, canary_resource, make_probe
from rootwatch.proof import EVERY, LATE_AFTER, LOOK_EVERY, Prover
from rootwatch.record import OTHER_ACCOUNT
from rootwatch.watchdog import Report
from tests.builders import build_envelope
from tests.unit.workbench import NOW, CheckedTable, make_message, make_recorder

HUB, REGION = "111122223333", "us-east-1"
RULE = f"arn:aws:events:{REGION}:{HUB}:rule/rootwatch-root"
OTHER = "444455556666"
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


class Bench:
    """A table, a clock that the test moves, what was sent, and what people were told."""

    def __init__(self, table: Table) -> None:
        """Begin with nothing sent."""
        self.table, self.store, self.now = table, AuditStore(table), NOW
        self.sent: list[Probe] = []
        self.told: dict[str, list[Notice]] = {"operations": [], "slack": [], "sns": []}
        self.calls = 0
        self.refuses: Exception | None = None
        self.silent: set[str] = set()
        self.recorder: Recorder = replace(make_recorder(table), now=lambda: self.now)
        self.prover = Prover(
            recorder=self.recorder,
            rule_arn=RULE,
            put=self._send,
            tag=self._send,
            call=self._call,
            token=lambda: f"{len(self.sent):032x}",
            places={name: self._tell(name) for name in ("slack", "sns")},
            operations=self._tell("operations"),
        )

    def _send(self, probe: Probe) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.sent.append(probe)

    def _call(self) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.calls += 1

    def _tell(self, name: str) -> Any:
        def tell(notice: Notice) -> Sent | Unconfigured:
            if name in self.silent:
                message = "Slack is out of reach."
                raise DeliveryFailedError(message)
            self.told[name].append(notice)
            return Sent("ok")

        return tell

    def run(self, after: timedelta = timedelta()) -> Report:
        """Run the proof of the way, so long after the last run."""
        self.now += after
        report = Report()
        self.prover.run(report)
        return report

    def last(self, kind: ProbeKind) -> Probe:
        """The last probe of a kind that was sent."""
        return [probe for probe in self.sent if probe.kind is kind][-1]

    def take(self, envelope: Mapping[str, Any]) -> Result:
        """Let detect take an envelope now."""
        message = replace(make_message(dict(envelope)), sent_at=self.now)
        [result] = detect_messages([message], self.recorder)
        return result

    def come_back(self, *kinds: ProbeKind) -> None:
        """Let the last probes come back, and every channel prove itself."""
        for kind in kinds or tuple(ProbeKind):
            probe = self.last(kind)
            envelope = canary(probe) if kind is ProbeKind.CANARY else tagged(probe)
            assert self.take(envelope).fate is Fate.PROOF
            if kind is ProbeKind.CANARY:
                for channel in self.recorder.channels:
                    self.prove(channel)

    def prove(self, channel: str, answer: Any = None) -> DeliveryState:
        """Let a channel prove itself with the last canary, as its notifier would."""

        def prove(_nonce: str) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer or Sent("ok")

        key = Proof(self.last(ProbeKind.CANARY).nonce, channel).key
        return prove_channel(self.store, key, prove, lambda: self.now)

    def headlines(self, place: str = "operations") -> list[str]:
        """What people were told at a place."""
        return [notice.headline for notice in self.told[place]]

    def alerts(self) -> list[str]:
        """The ids of every incident there is."""
        return [*self.store.open_incidents()]


@pytest.fixture
def bench(table: Table) -> Bench:
    """A bench on the table of the test."""
    return Bench(table)


@pytest.fixture
def memory() -> Bench:
    """A bench on the table in memory, for what does not depend on the table."""
    return Bench(CheckedTable())


def canary(probe: Probe, **changes: Any) -> dict[str, Any]:
    """A canary as EventBridge delivers it."""
    return {
        "version": "0",
        "id": "0c6e3a4e-1111-4222-8333-aaaaaaaaaaaa",
        "detail-type": "Rootwatch canary",
        "source": CANARY_SOURCE,
        "account": HUB,
        "region": REGION,
        "time": "2026-11-03T02:48:20Z",
        "resources": [canary_resource(probe)],
        "detail": canary_record(probe.nonce, probe.rule_arn, probe.sent_at),
        **changes,
    }


def tagged(probe: Probe, **changes: Any) -> dict[str, Any]:
    """CloudTrail's record of a source heartbeat, as EventBridge delivers it."""
    detail: dict[str, Any] = {
        "requestParameters": {"resourceARN": probe.rule_arn, "tags": [{"key": TAG_KEY, "value": probe.nonce}]},
        "eventSource": "events.amazonaws.com",
        "eventName": "TagResource",
        "recipientAccountId": HUB,
        "awsRegion": REGION,
        "readOnly": False,
        "managementEvent": True,
        "userIdentity": {"type": "AssumedRole", "accountId": HUB, "arn": f"arn:aws:sts::{HUB}:assumed-role/w/w"},
    }
    return build_envelope("write", **(detail | changes)) | {"source": "aws.events", "account": HUB, "region": REGION}


def beat(at: datetime, account: str = OTHER, region: str = "eu-west-1", **changes: Any) -> dict[str, Any]:
    """A forwarder's heartbeat as the hub's bus delivers it."""
    detail = {"eventName": "RootwatchHeartbeat", "scheduledTime": f"{at:%Y-%m-%dT%H:%M:%SZ}", "executionId": "e"}
    return {
        "version": "0", "id": "i", "detail-type": "Rootwatch heartbeat", "source": "rootwatch.heartbeat",
        "account": account, "region": region, "resources": [], "detail": detail | changes,
    }  # fmt: skip


# --- canary and source heartbeat --------------------------------------------------------------------------------------


def test_both_are_sent_once_an_hour(bench: Bench) -> None:
    """The watchdog runs every minute; canary and heartbeat go out in the first one, and an hour later again."""
    for _ in range(125):
        bench.run(MINUTE)

    assert [probe.kind for probe in bench.sent] == [*ProbeKind, *ProbeKind, *ProbeKind]
    assert len({probe.nonce for probe in bench.sent}) == 6
    assert bench.sent[2].sent_at - bench.sent[0].sent_at == EVERY


def test_what_comes_back_is_no_alert_and_no_record(bench: Bench) -> None:
    """Canary and heartbeat use up their nonces and are kept, marked; no incident opens and no event is recorded."""
    bench.run()
    bench.come_back()

    kept = [*bench.table.query(PROBES)]
    assert len(kept) == 2 + len(bench.recorder.channels)
    assert all(item["synthetic"] is True for item in kept)
    assert bench.alerts() == []
    assert bench.store.accounts() == {}
    place = bench.store.place(HUB, REGION)
    assert place is not None
    assert (place.canary_at, place.heartbeat_at) == (bench.now, bench.now)


def test_ages_are_counted_from_what_came_back(memory: Bench) -> None:
    """The ages are 0 when the first ones are sent, grow while nothing comes back, and are of the last that did."""
    first = memory.run()
    assert first.seconds == {"CanaryAge": 0.0, "HeartbeatAge": 0.0}
    assert (first.counts["CanariesSent"], first.counts["HeartbeatsSent"]) == (1, 1)
    assert memory.run(30 * MINUTE).seconds == {"CanaryAge": 1800.0, "HeartbeatAge": 1800.0}
    memory.come_back(ProbeKind.HEARTBEAT)
    assert memory.run(40 * MINUTE).seconds == {"CanaryAge": 4200.0, "HeartbeatAge": 4200.0}
    memory.come_back(ProbeKind.CANARY)
    seconds = memory.run(MINUTE).seconds
    assert seconds["CanaryAge"] == 60.0
    assert seconds["HeartbeatAge"] == 4260.0  # of the second one nothing was heard yet


def test_a_canary_has_come_through_when_every_channel_proved_itself(memory: Bench) -> None:
    """Detect alone is not enough: a channel that fails keeps the age growing, one without a secret does not."""
    memory.run()
    assert memory.take(canary(memory.last(ProbeKind.CANARY))).fate is Fate.PROOF
    assert memory.prove("sns") is DeliveryState.SENT
    assert memory.run(MINUTE).seconds["CanaryAge"] == 60.0
    assert memory.prove("slack", DeliveryRefusedError("the webhook was removed")) is DeliveryState.FAILED
    memory.run(LATE_AFTER + MINUTE)
    # An hour later the next one was sent, and nobody took it.
    assert "No canary comes through: alerts may not either" in memory.headlines()
    memory.take(canary(memory.last(ProbeKind.CANARY)))
    memory.prove("sns")
    memory.prove("slack", Unconfigured("no secret"))
    memory.run(MINUTE)
    assert "The canary comes through again" in memory.headlines()


def test_people_hear_which_part_of_the_way_fails(memory: Bench) -> None:
    """The notice names the channel with its error, or says that the canary did not even reach detect; once a day."""
    memory.run()
    memory.run(HOUR)
    memory.take(canary(memory.last(ProbeKind.CANARY)))
    memory.prove("sns")
    memory.prove("slack", DeliveryFailedError("Slack is out of reach (ReadTimeout)."))
    memory.run(HOUR - MINUTE)
    memory.run(2 * MINUTE)
    [notice] = [each for each in memory.told["sns"] if "canary" in each.headline]
    assert "slack: Slack is out of reach (ReadTimeout)" in " ".join(notice.paragraphs)
    for _ in range(23):
        memory.run(HOUR)
    assert sum("canary" in headline for headline in memory.headlines()) == 1
    memory.run(HOUR)
    [_, again] = [each for each in memory.told["operations"] if "canary" in each.headline]
    assert "did not reach detect" in " ".join(again.paragraphs)


@pytest.mark.parametrize(
    ("trouble", "end"),
    [("No canary comes through", "The canary comes through again"), ("not heard for two hours", "not quiet any more")],
)
def test_the_end_is_told_though_the_run_that_told_of_the_trouble_died(memory: Bench, trouble: str, end: str) -> None:
    """What a run told right before it ended is told once more, and then its end, though all is well by then."""
    memory.run()
    tell = memory.prover.operations

    def die(notice: Notice) -> Sent | Unconfigured:
        answer = tell(notice)
        if trouble in notice.headline:
            raise KeyboardInterrupt
        return answer

    memory.prover = replace(memory.prover, operations=die)
    with pytest.raises(KeyboardInterrupt):
        memory.run(LATE_AFTER + MINUTE)
    memory.prover = replace(memory.prover, operations=tell)
    # Well again before the next run.
    for kind in ProbeKind:
        memory.sent.append(replace(make_probe(kind, RULE, memory.now, f"{len(memory.sent):032x}")))
        memory.store.add_probe(memory.sent[-1])
        state = memory.store.proof_state()
        sending = replace(state.sendings[kind], nonce=memory.sent[-1].nonce, sent_at=memory.now)
        memory.store.write_proof_state(replace(state, sendings={**state.sendings, kind: sending}))
    memory.come_back()
    memory.run(MINUTE)
    memory.run(LOOK_EVERY)
    told = [headline for headline in memory.headlines() if trouble in headline or end in headline]
    assert [trouble in headline for headline in told] == [True, True, False]


def test_a_canary_that_cannot_be_sent_is_tried_again(memory: Bench) -> None:
    """What the event bus refuses is a failure of the run with an alarm; the next minute tries again, the age grows."""
    memory.refuses = DeliveryFailedError("The event bus did not take the canary (InternalFailure).")
    report = memory.run()
    assert report.counts["PartsFailed"] == 2
    assert "InternalFailure" in report.failures[0]
    memory.run(MINUTE)
    memory.refuses = None
    assert memory.run(MINUTE).seconds["CanaryAge"] == 120.0
    assert [probe.kind for probe in memory.sent] == [*ProbeKind]


def test_a_channel_s_failure_holds_up_nothing(memory: Bench) -> None:
    """A channel that fails with a canary is kept as failed with its words and no error is raised, whatever it is."""
    memory.run()
    memory.take(canary(memory.last(ProbeKind.CANARY)))
    assert memory.prove("slack", RuntimeError("https://hooks.slack.com/secret")) is DeliveryState.FAILED
    proof = memory.store.proof(Proof(memory.last(ProbeKind.CANARY).nonce, "slack").key)
    assert proof is not None
    assert proof.words == "A fault in Rootwatch (RuntimeError)."
    assert memory.prove("slack") is DeliveryState.FAILED  # the stream's repetition asks nobody again
    with pytest.raises(DamagedItemError):
        prove_channel(memory.store, Key(PROBES, "DELIVERY#sns#none"), lambda _nonce: Sent("ok"), lambda: NOW)


# --- forgeries --------------------------------------------------------------------------------------------------------


FORGERIES = {
    "root content in place of the canary's": {"detail": build_envelope("logging_tampered")["detail"]},
    "another field": {"detail": {"userIdentity": {"type": "Root"}, "eventName": "StopLogging"}},
    "a nonce nobody gave out": {"resources": [f"{RULE}/canary/20261103T120000Z-{'0' * 31}f"]},
    "no nonce": {"resources": []},
    "two nonces": {"resources": [f"{RULE}/canary/a", f"{RULE}/canary/b"]},
    "another account": {"account": OTHER},
    "another region": {"region": "eu-west-1"},
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_canary_is_recorded_and_alerted(bench: Bench, name: str) -> None:
    """Whatever has the canary's source and is not exactly what was sent is recorded and alerted as not CloudTrail's."""
    bench.run()
    result = bench.take(canary(bench.last(ProbeKind.CANARY), **FORGERIES[name]))

    assert result.fate is Fate.RECORDED
    [incident] = bench.alerts()
    items = [*bench.store.incident_items(incident)]
    assert [item for item in items if str(item["sk"]).startswith("ALERT#")]
    [(account_id, months)] = bench.store.accounts().items()
    [event] = [event for month in months for event in bench.store.event_items(account_id, month)]
    assert event["from_cloudtrail"] is False
    probe = bench.store.probe(ProbeKind.CANARY, bench.last(ProbeKind.CANARY).nonce)
    assert probe is not None
    assert probe.arrived_at is None


def test_a_replayed_canary_proves_nothing(memory: Bench) -> None:
    """The same canary again changes nothing; its nonce with anything else in it is a forgery."""
    memory.run()
    memory.come_back(ProbeKind.CANARY)
    probe = memory.last(ProbeKind.CANARY)
    assert memory.take(canary(probe)).fate is Fate.DUPLICATE
    memory.run(LATE_AFTER)
    first = memory.sent[0]
    assert memory.take(canary(first)).fate is Fate.DUPLICATE
    assert memory.run(MINUTE).seconds["CanaryAge"] > LATE_AFTER.total_seconds()
    forged = canary(first, detail=build_envelope("console_login")["detail"])
    assert memory.take(forged).fate is Fate.RECORDED


TAGS: dict[str, dict[str, Any]] = {
    "by root": {"userIdentity": {"type": "Root", "accountId": HUB, "arn": f"arn:aws:iam::{HUB}:root"}},
    "on another rule": {"requestParameters.resourceARN": RULE.replace("-root", "-tamper")},
    "with another nonce": {
        "requestParameters.tags": [{"key": TAG_KEY, "value": f"20261103T120000Z-{'0' * 31}f"}],
    },
    "with one more tag": {"more": True},
    "with another key": {"requestParameters.tags": [{"key": "owner", "value": "me"}]},
}


@pytest.mark.parametrize("name", TAGS)
def test_a_tag_that_is_not_the_watchdog_s_is_tampering(memory: Bench, name: str) -> None:
    """Whoever tags our rule without a nonce that was given out for it has changed Rootwatch, and people hear of it."""
    memory.run()
    probe, changes = memory.last(ProbeKind.HEARTBEAT), dict(TAGS[name])
    if changes.pop("more", False):
        tags = [{"key": TAG_KEY, "value": probe.nonce}, {"key": "owner", "value": "me"}]
        changes["requestParameters.tags"] = tags
    assert memory.take(tagged(probe, **changes)).fate is Fate.RECORDED
    assert memory.alerts()


def test_a_heartbeat_comes_from_cloudtrail_or_is_none(memory: Bench) -> None:
    """The heartbeat's very record, put on the bus by somebody, is no proof of CloudTrail; nor is it when replayed."""
    memory.run()
    probe = memory.last(ProbeKind.HEARTBEAT)
    assert memory.take(tagged(probe) | {"source": "rootwatch.canary"}).fate is Fate.RECORDED
    assert memory.take(tagged(probe)).fate is Fate.PROOF
    assert memory.take(tagged(probe)).fate is Fate.DUPLICATE
    assert memory.take(tagged(probe, **{"requestParameters.note": "again"})).fate is Fate.RECORDED


# --- forwarders -------------------------------------------------------------------------------------------------------


def test_accounts_and_regions_appear_by_themselves(bench: Bench) -> None:
    """A heartbeat makes its account and region known, people are told once, and each later one moves its moment."""
    bench.run()
    assert bench.take(beat(bench.now)).fate is Fate.PROOF
    assert bench.take(beat(bench.now, region="us-west-2")).fate is Fate.PROOF
    bench.run(LOOK_EVERY)
    assert bench.headlines() == [f"2 regions of account {OTHER} new"]
    # Nobody but who is admitted can be heard; who is none of ours is told with where to look.
    assert "If one of them is none of yours, look at the parameters" in str(bench.told["operations"][0].paragraphs)
    assert bench.headlines("slack") == []
    bench.now += HOUR
    assert bench.take(beat(bench.now)).fate is Fate.PROOF
    bench.run(LOOK_EVERY)
    assert len(bench.headlines()) == 1
    place = bench.store.place(OTHER, "eu-west-1")
    assert place is not None
    assert (place.heartbeat_at, place.introduced) == (bench.now - LOOK_EVERY, True)


def test_a_record_of_cloudtrail_is_heard_too(bench: Bench) -> None:
    """A forwarded record counts for the account and region of its envelope; not one that anybody may write."""
    sign_in = build_envelope("console_login", recipientAccountId=OTHER)
    assert bench.take(sign_in).fate is Fate.RECORDED
    assert bench.take(build_envelope("console_login") | {"source": "custom.app"}).fate is Fate.RECORDED
    [place] = [*bench.store.places()]
    assert isinstance(place, Place)
    assert (place.account_id, place.region, place.record_at) == (OTHER, sign_in["region"], bench.now)
    assert place.heartbeat_at is None


def test_a_forwarded_record_counts_for_who_forwarded_it(bench: Bench) -> None:
    """A record that names another account than its envelope counts for the envelope's, marked, never for the hub's."""
    posing = build_envelope("console_login_without_mfa") | {"account": OTHER}
    assert posing["detail"]["recipientAccountId"] == HUB

    assert bench.take(posing).fate is Fate.RECORDED
    [(account_id, months)] = bench.store.accounts().items()
    assert account_id == OTHER
    [event] = [event for month in months for event in bench.store.event_items(account_id, month)]
    assert OTHER_ACCOUNT in str(event["problems"])
    [place] = [*bench.store.places()]
    assert isinstance(place, Place)
    assert place.account_id == OTHER
    [incident] = bench.alerts()
    [alert] = [item for item in bench.store.incident_items(incident) if str(item["sk"]).startswith("ALERT#")]
    assert alert["account_id"] == OTHER


BEATS: dict[str, tuple[dict[str, Any], str]] = {
    "another account in it": ({"recipientAccountId": "999900009999"}, "says more"),
    "another name": ({"eventName": "Heartbeat"}, "says more"),
    "no time": ({"scheduledTime": "soon"}, "for when it was scheduled"),
    "an old one": ({"scheduledTime": "2026-10-01T00:00:00Z"}, "another day"),
    "one of the future": ({"scheduledTime": "2027-10-01T00:00:00Z"}, "another day"),
}


@pytest.mark.parametrize("name", BEATS)
def test_a_forged_heartbeat_is_a_dead_letter_with_its_reason(memory: Bench, name: str) -> None:
    """What has the heartbeats' source and is none counts for nobody, and people hear of it by the dead letter."""
    changes, words = BEATS[name]
    result = memory.take(beat(memory.now, **changes))

    assert result.fate is Fate.REJECTED
    assert words in str(result.reason)
    assert [*memory.store.places()] == []


def test_root_content_in_a_heartbeat_is_recorded_as_forged(memory: Bench) -> None:
    """Somebody's record of root with the heartbeats' source is recorded and alerted, for the envelope's account."""
    forged = build_envelope("logging_tampered") | {"source": "rootwatch.heartbeat", "account": OTHER}

    assert memory.take(forged).fate is Fate.RECORDED
    assert set(memory.store.accounts()) == {OTHER}
    assert [*memory.store.places()] == []


def test_a_replayed_heartbeat_keeps_nobody_alive(memory: Bench) -> None:
    """A heartbeat counts once, and one that a later one overtook proves its own hour and keeps nobody alive."""
    overtaken, first = beat(memory.now - HOUR), beat(memory.now)
    assert memory.take(first).fate is Fate.PROOF
    memory.now += HOUR
    assert memory.take(first).fate is Fate.DUPLICATE
    assert memory.take(overtaken).fate is Fate.PROOF
    assert memory.take(overtaken).fate is Fate.DUPLICATE
    place = memory.store.place(OTHER, "eu-west-1")
    assert place is not None
    assert place.heartbeat_at == memory.now - HOUR
    months = {f"{memory.now - back * HOUR:%Y-%m}" for back in (1, 2)}
    heard = [each for month in months for each in memory.store.heard_hours(month)]
    assert sum(hours.bit_count() for each in heard if isinstance(each, HeardHours) for hours in each.days.values()) == 2


def test_who_falls_silent_is_told_once_and_every_day(bench: Bench) -> None:
    """Two hours after the last heartbeat people hear who is silent, again a day later, and when it is over."""

    def quiet() -> list[str]:
        return [each for each in bench.headlines("slack") if OTHER in each]

    def let_pass(hours: int, *regions: str) -> None:
        for _ in range(hours * 6):
            bench.run(LOOK_EVERY)
            for region in regions:
                bench.take(beat(bench.now, region=region))

    let_pass(1, "eu-west-1", "us-west-2")
    let_pass(2, "us-west-2")
    assert quiet() == []
    let_pass(1, "us-west-2")
    assert quiet() == [f"1 region of account {OTHER} not heard for two hours"]
    [notice] = [each for each in bench.told["slack"] if OTHER in each.headline]
    assert f"{OTHER} eu-west-1" in notice.paragraphs[0]
    assert "us-west-2" not in " ".join(notice.paragraphs)
    let_pass(23, "us-west-2")
    assert len(quiet()) == 1
    let_pass(2, "us-west-2")
    assert len(quiet()) == 2
    let_pass(1, "eu-west-1", "us-west-2")
    assert quiet()[2:] == [f"1 region of account {OTHER} not quiet any more"]


def test_the_hub_s_own_silence_is_told_though_it_was_never_heard(memory: Bench) -> None:
    """Without a trail no source heartbeat ever comes back; after two hours people hear of the hub's own region."""
    memory.run()
    for _ in range(13):
        memory.run(LOOK_EVERY)
    assert f"1 region of account {HUB} not heard for two hours" in memory.headlines("sns")
    [notice] = [each for each in memory.told["sns"] if HUB in each.headline]
    assert "none ever came" in " ".join(notice.paragraphs)


def test_a_silence_that_nobody_took_is_told_again(memory: Bench) -> None:
    """A notice waits at each place until that place takes it, in its order, and is not repeated where it was taken."""
    memory.silent = {"operations", "slack", "sns"}
    memory.run()
    report = memory.run(LATE_AFTER + MINUTE)
    assert report.counts["PartsFailed"] >= 3
    quiet = f"1 region of account {HUB} not heard for two hours"
    memory.silent = {"slack"}
    memory.run(MINUTE)
    assert memory.headlines().count(quiet) == memory.headlines("sns").count(quiet) == 1
    assert memory.headlines("slack") == []
    memory.come_back()
    memory.run(LOOK_EVERY)
    memory.silent = set()
    memory.run(MINUTE)
    assert memory.headlines("slack") == memory.headlines() == memory.headlines("sns")
    assert "not quiet any more" in memory.headlines("slack")[-1]
    assert memory.headlines().count(quiet) == 1
    memory.run(MINUTE)
    assert memory.headlines("slack") == memory.headlines()


def test_a_notice_that_was_changed_or_refused_keeps_no_other_waiting(memory: Bench) -> None:
    """What cannot be read, or what a place refuses for good, is reported and left out."""
    memory.run()
    state = memory.store.proof_state()
    memory.store.write_proof_state(replace(state, waiting={"slack": ("{", "[]", '["x", [1], 2, 3, 4]')}))
    report = memory.run(LATE_AFTER + MINUTE)
    assert report.counts["PartsFailed"] == 3
    assert any("No canary comes through" in headline for headline in memory.headlines("slack"))
    assert memory.store.proof_state().waiting == {}


def test_a_thousand_silent_regions_are_one_notice(memory: Bench) -> None:
    """When the hub's bus lets nobody pass, people get one notice that names some and counts the others."""
    for number in range(1_000):
        memory.store.write_place(Place(f"{number:012}", "eu-west-1", NOW - DAY, introduced=True))
    memory.run()
    [notice] = [each for each in memory.told["operations"] if "not heard" in each.headline]
    assert notice.headline == "1000 regions of 1000 accounts not heard for two hours"
    assert "and 980 more" in notice.paragraphs[0]
    memory.run(LOOK_EVERY)
    assert sum("not heard" in each for each in memory.headlines()) == 1


def test_who_is_retired_is_not_waited_for(memory: Bench) -> None:
    """A retired region is silent without a word, and is waited for again when it is heard again."""
    memory.store.write_place(Place(OTHER, "eu-west-1", NOW - DAY, introduced=True, retired_at=NOW - HOUR))
    memory.run()
    assert memory.headlines() == []
    memory.take(beat(memory.now))
    place = memory.store.place(OTHER, "eu-west-1")
    assert place is not None
    assert place.retired_at is None


# --- the outside watchdog ---------------------------------------------------------------------------------------------


def test_the_outside_watchdog_is_called_after_both(memory: Bench) -> None:
    """It is called once for each hour in which both came back, not for one of them, and not for old ones."""
    memory.run()
    memory.come_back(ProbeKind.CANARY)
    memory.run(MINUTE)
    assert memory.calls == 0
    memory.come_back(ProbeKind.HEARTBEAT)
    memory.run(MINUTE)
    memory.run(MINUTE)
    assert memory.calls == 1
    memory.run(HOUR)
    memory.come_back()
    memory.run(MINUTE)
    assert memory.calls == 2
    memory.run(3 * HOUR)
    assert memory.calls == 2


def test_an_outside_watchdog_that_fails_is_called_again(memory: Bench) -> None:
    """A call that fails is a failure of the run with an alarm, and the next minute calls again."""
    memory.run()
    memory.come_back()
    memory.refuses = DeliveryFailedError("The outside watchdog answered 500.")
    assert memory.run(MINUTE).failures
    memory.refuses = None
    memory.run(MINUTE)
    assert memory.calls == 1


# --- the store --------------------------------------------------------------------------------------------------------


def test_a_nonce_is_given_out_and_used_once(bench: Bench) -> None:
    """No nonce is given out twice, and of two who would use one up only the first does."""
    probe = make_probe(ProbeKind.CANARY, RULE, NOW, "a" * 32)
    bench.store.add_probe(probe)
    with pytest.raises(StoreConflictError):
        bench.store.add_probe(probe)
    known = bench.store.probe(ProbeKind.CANARY, probe.nonce)
    assert known is not None
    bench.store.write_probe_arrival(known, NOW, known.sha256, ["sns"])
    with pytest.raises(StoreConflictError):
        bench.store.write_probe_arrival(known, NOW, known.sha256, ["sns"])
    assert bench.store.probe(ProbeKind.HEARTBEAT, probe.nonce) is None


def test_two_who_hear_one_place_lose_nothing(bench: Bench) -> None:
    """Who lost the race for a place reads it again, so that neither a record nor a heartbeat is forgotten."""
    bench.store.write_place(Place(OTHER, REGION, NOW))
    raced: list[int] = []

    def hear(known: Place | None) -> Place | None:
        assert known is not None
        if not raced:
            raced.append(1)
            bench.store.write_place(replace(known, record_at=NOW))
        return replace(known, heartbeat_at=NOW)

    assert bench.store.change_place(OTHER, REGION, hear) is True
    place = bench.store.place(OTHER, REGION)
    assert place is not None
    assert (place.record_at, place.heartbeat_at) == (NOW, NOW)


def test_what_was_changed_is_said_and_stops_nothing(bench: Bench) -> None:
    """A damaged place, a place under another one's key and a damaged memory are reported; the rest goes on."""
    bench.store.write_place(Place(OTHER, REGION, NOW - DAY, introduced=True))
    [item] = [*bench.table.query("COVERAGE")]
    bench.table.write([Put({**item, "sk": place_key(HUB, "eu-west-1").sk})])
    bench.table.write([Put({**item, "sk": place_key(HUB, "eu-west-2").sk, "first_at": 5})])
    memory = proof_state_key()
    bench.table.write([Put({"pk": memory.pk, "sk": memory.sk, "revision": "x"})])
    report = bench.run()

    assert sum("was changed" in failure for failure in report.failures) == 3
    assert f"1 region of account {OTHER} not heard for two hours" in bench.headlines()
    assert len(bench.sent) == 2


def test_a_moment_that_lies_ahead_keeps_nothing_quiet(memory: Bench) -> None:
    """Whoever can write to the table cannot silence the proof with a moment of the future."""
    memory.run()
    ahead = memory.now + DAY
    state = memory.store.proof_state()
    sendings = {kind: Sending(each.nonce, ahead, each.since, None, ahead) for kind, each in state.sendings.items()}
    memory.store.write_proof_state(replace(state, sendings=sendings, looked_at=ahead))
    memory.run(LATE_AFTER + MINUTE)
    assert len(memory.sent) == 4
    assert "No canary comes through: alerts may not either" in memory.headlines()
    assert f"1 region of account {HUB} not heard for two hours" in memory.headlines()
