"""Every detection and every provider of context on records broken in every way: none raises, none guesses."""

import ipaddress
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootwatch.context import client, role_alternative, root_tasks, source
from rootwatch.context.observation import FUTURE_AFTER, LATE_AFTER, Observation, observe
from rootwatch.detections.catalogue import CATALOGUE
from rootwatch.detections.detection import Detection, OwnResources, Severity
from rootwatch.record import ActorKind, Record, read_document
from tests.builders import build_envelope, load_specimen
from tests.builders.hostile import CHANGES, HOSTILE_TEXTS, PLACES, REMOVED, SPECIMENS, VALUES, changed
from tests.unit.workbench import NOW, OWN

TEXTS: Final = st.one_of(st.text(max_size=80), st.sampled_from(HOSTILE_TEXTS), st.ip_addresses().map(str))
OWNS: Final = (OWN, OwnResources(""), OwnResources("r" * 32, key_id="x", deployment_role_arn="arn"))
SEVERITIES: Final = {
    detection.id: {
        severity for severity in Severity if re.search(rf"\b{severity}\b", detection.severity_rule, re.IGNORECASE)
    }
    for detection in CATALOGUE
}
"""The severities that a detection's sentence names."""

_ORDER: Final = {detection.id: place for place, detection in enumerate(CATALOGUE)}
every_detection = pytest.mark.parametrize("detection", CATALOGUE, ids=lambda detection: detection.stem)


def own_specimens(stem: str) -> list[tuple[str, int]]:
    """The records of a detection's specimen and of its near miss."""
    return [specimen for specimen in SPECIMENS if specimen[0] in {stem, f"near_misses/{stem}"}]


def check(record: Record, own: OwnResources = OWN) -> None:
    """What is found and what is said around it hold together."""
    observation = observe(record, own, sent_at=NOW)
    check_findings(observation)
    check_context(observation)


def check_findings(observation: Observation) -> None:
    """Findings are unique, in order, of severities that their rules name; root's record has at least one."""
    findings = observation.findings
    places = [_ORDER[finding.detection.id] for finding in findings]
    assert places == sorted(set(places))
    for finding in findings:
        assert finding.severity in SEVERITIES[finding.detection.id]
        assert finding.detection.rule is not None
    assert findings or not observation.record.actor.by_root
    assert observation.relevant is bool(findings)
    assert (observation.severity is None) is not observation.relevant


def check_context(observation: Observation) -> None:
    """What is said about root's need is certain or nothing, and a role's action is one that AWS has."""
    record = observation.record
    need, alternative = observation.root_need, observation.role_alternative
    assert need is None or alternative is None
    if need is not None:
        assert need.task in root_tasks.TASKS
        assert need.sentence.startswith(need.task.sentence)
        assert record.actor.by_root
        assert record.actor.kind is not ActorKind.AWS_SERVICE
    if alternative is not None:
        prefix, _, name = alternative.partition(":")
        assert name in role_alternative.known_actions()[prefix]
        assert record.actor.by_root
        assert not root_tasks.may_need_root(record)


@every_detection
def test_every_key_of_a_detection_s_own_record_can_break(detection: Detection) -> None:
    """Each key of its first record removed, of another type, oversized or hostile: nothing raises, root stays root."""
    specimen = (detection.stem, 0)
    by_root = read_document(build_envelope(detection.stem)["detail"]).actor.by_root
    values: tuple[Any, ...] = (REMOVED, None, 7, {}, "\ud800\u202e" + "x" * 5_000)
    for number, place in enumerate(PLACES[specimen]):
        for value in values:
            record = read_document(changed(specimen, [(number, value)])["detail"])
            check(record)
            if place[0] != "userIdentity":
                assert record.actor.by_root is by_root


@every_detection
@settings(max_examples=20)
@given(data=st.data())
def test_any_change_of_a_detection_s_own_records(detection: Detection, data: st.DataObject) -> None:
    """Several keys at any depth replaced by anything, for any deployment's names: found or not, but never raised."""
    specimen = data.draw(st.sampled_from(own_specimens(detection.stem)))
    record = read_document(changed(specimen, data.draw(CHANGES))["detail"])
    for own in OWNS:
        check(record, own)


@every_detection
@settings(max_examples=5)
@given(
    value=VALUES, field=st.sampled_from(["requestParameters", "responseElements", "additionalEventData", "resources"])
)
def test_parameters_of_any_kind_leave_root_s_record_relevant(detection: Detection, value: Any, field: str) -> None:
    """Whatever stands for what was asked and answered, root's record keeps a meaning."""
    for name, position in own_specimens(detection.stem):
        check(read_document(build_envelope(name, position=position)["detail"] | {field: value}))


ROOTS: Final = (
    {"type": "Root"},
    {"type": "Root", "invokedBy": "cloudformation.amazonaws.com"},
    {"type": "FederatedUser", "sessionContext": {"sessionIssuer": {"type": "Root"}}},
    {"type": "Root", "sessionContext": {"assumedRoot": "true"}},
)


@settings(max_examples=200)
@given(
    identity=st.sampled_from(ROOTS),
    rest=st.dictionaries(
        st.sampled_from(
            ["eventName", "eventSource", "eventType", "readOnly", "errorCode", "errorMessage", "userAgent"]
        ),
        st.one_of(
            VALUES, st.sampled_from(["ConsoleLogin", "AssumeRoot", "PutBucketPolicy", "iam.amazonaws.com", "true"])
        ),
    ),
)
def test_root_is_relevant_whatever_else_the_record_says(identity: dict[str, Any], rest: dict[str, Any]) -> None:
    """An identity that is root's is enough: everything else may be missing or rubbish."""
    record = read_document({"userIdentity": identity} | rest)
    assert record.actor.by_root
    check(record)


# --- providers of context ---------------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(TEXTS)
def test_a_source_s_address_is_one(text: str) -> None:
    """An address that comes out is one that a host can have, in plain spelling, and only for kinds that have one."""
    where = source.classify(text)
    assert (where.ip is not None) is (where.kind in {source.SourceKind.PUBLIC, source.SourceKind.PRIVATE})
    if where.ip is not None:
        address = ipaddress.ip_address(where.ip)
        assert str(address) == where.ip
        assert not address.is_multicast
        assert not address.is_unspecified
        assert getattr(address, "ipv4_mapped", None) is None
    assert source.classify(f"  {text} ").kind is where.kind


@settings(max_examples=300)
@given(TEXTS)
def test_a_client_is_named_in_plain_characters_or_not_at_all(text: str) -> None:
    """The client's name is short, plain and no address, whatever the caller wrote; brackets around it do not matter."""
    found = client.classify(text)
    if found.name is not None:
        assert re.fullmatch(r"[A-Za-z0-9 ._/+-]{1,120}", found.name)
    if not text.strip().startswith(("[", "]")):
        assert client.classify(f"[{text.strip()}]").kind is found.kind or not text.strip()


@settings(max_examples=300)
@given(
    st.one_of(st.none(), TEXTS, st.sampled_from(["s3.amazonaws.com", "iam.amazonaws.com.cn", "lambda.amazonaws.com"])),
    st.one_of(st.none(), TEXTS, st.sampled_from(["ListBuckets", "HeadObject", "Invoke20150331", "GetUser"])),
)
def test_a_role_s_action_is_known_or_nothing(event_source: str | None, event_name: str | None) -> None:
    """Whatever the names, the action that comes out stands in AWS's own reference."""
    action = role_alternative.action_for(event_source, event_name)
    if action is not None:
        prefix, _, name = action.partition(":")
        assert name in role_alternative.known_actions()[prefix]


MOMENTS: Final = st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))  # noqa: DTZ001


@settings(max_examples=200)
@given(stated=st.one_of(st.none(), TEXTS, MOMENTS.map(datetime.isoformat)), sent_at=st.one_of(st.none(), MOMENTS))
def test_an_observation_s_time_is_never_later_than_its_arrival(stated: Any, sent_at: datetime | None) -> None:
    """A record joins a story at a time with a zone, not after it came; what is late is late by its own time only."""
    [envelope] = load_specimen("console_login")
    observation = observe(read_document(envelope["detail"] | {"eventTime": stated}), OWN, sent_at=sent_at)
    assert observation.time.utcoffset() == timedelta(0)
    if sent_at is not None:
        assert observation.time <= sent_at + FUTURE_AFTER
    believed = observation.record.event_time
    assert observation.late is (sent_at is not None and believed is not None and sent_at - believed > LATE_AFTER)
    assert len(set(observation.problems)) == len(observation.problems)
