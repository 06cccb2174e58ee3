"""Reading a record: what CloudTrail states, no more and no less; what is odd is listed and stops nothing."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from rootwatch.errors import UnreadableRecordError
from rootwatch.record import (
    NOT_FROM_CLOUDTRAIL,
    OTHER_ACCOUNT,
    ActorKind,
    MfaDevice,
    Outcome,
    canonical_json,
    read_document,
    read_envelope,
    read_json,
    verb_reads,
)
from tests.builders import ABSENT, build_envelope, build_record
from tests.unit.workbench import Changes, make_record

SESSION = "userIdentity.sessionContext"
ROOT_ARN = "arn:aws:iam::111122223333:root"
NO_CONSOLE: Changes = {"sessionCredentialFromConsole": ABSENT, "userAgent": "x"}
"""Takes away what tells that a specimen came from the console."""


# --- whose record it is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "counts"),
    [("aws.signin", "999988887777"), ("custom.app", "999988887777"), ("rootwatch.replay", "111122223333")],
)
def test_no_account_speaks_for_another(source: str, counts: str) -> None:
    """The envelope's account, which EventBridge itself writes, goes before the record's; not for the replay source."""
    envelope = build_envelope("console_login") | {"source": source, "account": "999988887777"}
    record = read_envelope(envelope, replay_source="rootwatch.replay")

    assert record.account_id == counts
    assert OTHER_ACCOUNT in record.problems


def test_the_identity_s_account_may_be_another_one() -> None:
    """A record that states no recipient keeps the account of its identity, and nothing is odd about that."""
    envelope = build_envelope("console_login", recipientAccountId=ABSENT) | {"account": "999988887777"}
    record = read_envelope(envelope)

    assert record.account_id == "111122223333"
    assert OTHER_ACCOUNT not in record.problems


@pytest.mark.parametrize("source", ["aws.partner/example.com/root", "AWS.signin", "aws", "rootwatch.heartbeat"])
def test_a_partner_is_not_aws(source: str) -> None:
    """A partner's source begins with aws. as well, but what its events say is the partner's."""
    record = read_envelope(build_envelope("console_login") | {"source": source})

    assert record.envelope is not None
    assert (record.envelope.from_cloudtrail, record.envelope.admitted) == (False, False)
    assert NOT_FROM_CLOUDTRAIL in record.problems


# --- what is no record ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("hunter2", "not JSON"),
        ('{"hunter2": ', "not JSON"),
        ("[" * 200_000, "nests too deeply"),
    ],
)
def test_what_is_not_json_is_named_without_its_content(text: str, words: str) -> None:
    """A text that is not JSON is unreadable, and the reason says where and why but quotes nothing of it."""
    with pytest.raises(UnreadableRecordError, match=words) as caught:
        read_json(text)
    assert "hunter2" not in str(caught.value)


def test_a_number_of_any_length_is_read() -> None:
    """A number with more digits than Python converts is kept as it is written, and stops no record."""
    digits = "9" * 9_000
    text = json.dumps(build_envelope("write")).replace('"readOnly": false', f'"readOnly": {digits}')
    assert digits in canonical_json(read_envelope(read_json(text)).body)


def test_what_is_no_number_in_json_becomes_text() -> None:
    """Integers of more digits than Python converts, NaN and infinities are kept as text and stop nothing."""
    digits = "9" * 5_000
    assert read_json(f'{{"a": {digits}, "b": [NaN, 1e999, -Infinity, 1.5, 7]}}') == {
        "a": digits,
        "b": ["NaN", "1e999", "-Infinity", 1.5, 7],
    }


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (None, "null"),
        ([], "a list"),
        ("hunter2", "a text"),
        (7, "a number"),
        ({}, "no `detail`"),
        ({"hunter2": 1}, "no `detail`"),
        ({"detail": None}, "`detail` is null"),
        ({"detail": "hunter2"}, "`detail` is a text"),
        ({"detail": ["hunter2"]}, "`detail` is a list"),
        ({"detail": {}}, "not a CloudTrail record"),
        ({"detail": {"hunter2": "hunter2"}}, "not a CloudTrail record"),
    ],
)
def test_what_is_no_envelope_is_named_without_its_content(document: Any, words: str) -> None:
    """An envelope without a record in it is unreadable, and the reason names the kind of fault only."""
    with pytest.raises(UnreadableRecordError, match=words) as caught:
        read_envelope(document)
    assert "hunter2" not in str(caught.value)


def test_a_document_is_a_record_or_an_envelope() -> None:
    """A file may hold the record itself or EventBridge's envelope around it; both read the same."""
    envelope = build_envelope("console_login")
    assert read_document(envelope).sha256 == read_document(envelope["detail"]).sha256
    assert read_document(envelope).envelope is not None
    assert read_document(envelope["detail"]).envelope is None
    others: list[object] = [[], "x", {"a": 1}, {"detail": {"a": 1}}]
    for document in others:
        with pytest.raises(UnreadableRecordError):
            read_document(document)


# --- the hash ---------------------------------------------------------------------------------------------------------


def test_the_hash_is_of_the_content_and_not_of_its_spelling() -> None:
    """Order of keys and blanks do not matter to a record's hash; any value does."""
    envelope = build_envelope("console_login")
    turned = {**envelope, "detail": dict(reversed(envelope["detail"].items()))}
    assert read_envelope(json.loads(json.dumps(turned, indent=3))).sha256 == read_envelope(envelope).sha256
    assert make_record("console_login", tlsDetails=None).sha256 != read_envelope(envelope).sha256
    assert canonical_json({"b": "é", "a": [1, None]}) == '{"a":[1,null],"b":"\\u00e9"}'


# --- who acted --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("specimen", "changes", "kind"),
    [
        ("console_login", {}, ActorKind.ROOT_CONSOLE),
        ("access_key_used", {}, ActorKind.ROOT_ACCESS_KEY),
        ("cli_login", {}, ActorKind.ROOT_CLI_LOGIN),
        ("service_acted", {}, ActorKind.AWS_SERVICE),
        ("assumed", {}, ActorKind.OTHER_PRINCIPAL),
        ("write", {"userIdentity.invokedBy": "glue.amazonaws.com"}, ActorKind.AWS_SERVICE),
        ("write", {"userIdentity.invokedBy": "Signin.amazonaws.com"}, ActorKind.ROOT_CONSOLE),
        ("write", {"eventType": "AwsServiceEvent"}, ActorKind.AWS_SERVICE),
        ("write", {f"{SESSION}.assumedRoot": "true"}, ActorKind.ASSUMED_ROOT),
        (
            "write",
            {"userIdentity.type": "FederatedUser", f"{SESSION}.sessionIssuer": {"type": "Root"}},
            ActorKind.FEDERATED_FROM_ROOT,
        ),
        (
            "write",
            {"userIdentity.type": "FederatedUser", f"{SESSION}.sessionIssuer": {"arn": ROOT_ARN}},
            ActorKind.FEDERATED_FROM_ROOT,
        ),
        (
            "write",
            {"userIdentity.type": "FederatedUser", f"{SESSION}.sessionIssuer": {"type": "IAMUser", "arn": ROOT_ARN}},
            ActorKind.OTHER_PRINCIPAL,
        ),
        (
            "write",
            {"userIdentity": {"type": "Root", "accessKeyId": "ASIAEXAMPLE"}} | NO_CONSOLE,
            ActorKind.ROOT_TEMPORARY,
        ),
        ("write", {"userIdentity": {"type": "Root"}} | NO_CONSOLE, ActorKind.UNKNOWN),
        ("write", {"userIdentity": {"type": "Root"}, "sessionCredentialFromConsole": ABSENT}, ActorKind.ROOT_CONSOLE),
        ("write", {"userIdentity": {}}, ActorKind.UNKNOWN),
        ("write", {"userIdentity": {"type": "IAMUser", "userName": "root"}}, ActorKind.OTHER_PRINCIPAL),
        ("write", {"userIdentity": {"type": "root"}}, ActorKind.OTHER_PRINCIPAL),
    ],
)
def test_actor_kinds(specimen: str, changes: Changes, kind: ActorKind) -> None:
    """Each way in which root, or somebody else, acts is told apart by what the identity states."""
    assert make_record(specimen, **changes).actor.kind is kind


def test_root_by_its_arn_alone() -> None:
    """An identity that lost its type is root where its ARN is root's, and says so; a lookalike is not."""
    record = make_record("write", **Changes({"userIdentity.type": None}))
    assert record.actor.by_root
    assert any("arn is root's" in problem for problem in record.problems)
    for arn in ("arn:aws:iam::111122223333:user/root", "x arn:aws:iam::111122223333:root", "arn:aws:iam::1:root"):
        changes = Changes({"userIdentity.type": None, "userIdentity.arn": arn})
        assert not make_record("write", **changes).actor.by_root


def test_lineage_prefers_the_session() -> None:
    """A console session's fresh keys are one lineage; a long-lived key is its own; nothing stated is no lineage."""

    def lineage(identity: dict[str, Any]) -> str | None:
        return make_record("write", userIdentity={"type": "Root"} | identity).actor.lineage

    created = {"attributes": {"creationDate": "2026-11-03T08:00:00Z"}}
    first = lineage({"accessKeyId": "ASIA1", "sessionContext": created})
    assert first == lineage({"accessKeyId": "ASIA2", "sessionContext": created})
    signed_in = created | {"signInSessionArn": "arn:s"}
    assert lineage({"accessKeyId": "ASIA1", "sessionContext": signed_in}) == "session:arn:s"
    assert lineage({"accessKeyId": "AKIA1", "sessionContext": created}) == "key:AKIA1"
    assert lineage({"accessKeyId": "ASIA1"}) == "key:ASIA1"
    assert lineage({}) is None


# --- how it ended -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("specimen", "changes", "outcome"),
    [
        ("console_login", {}, Outcome.SUCCESS),
        ("console_login_failed", {}, Outcome.FAILURE),
        ("console_login", {"responseElements": None}, Outcome.UNKNOWN),
        ("console_login", {"responseElements": None, "errorMessage": "Failed authentication"}, Outcome.FAILURE),
        ("console_login", {"responseElements": {"ConsoleLogin": "Odd"}}, Outcome.UNKNOWN),
        ("console_login", {"errorCode": "AccessDenied"}, Outcome.SUCCESS),
        ("console_login_failed", {"errorCode": "AccessDenied"}, Outcome.FAILURE),
        ("console_login", {"responseElements": None, "errorCode": "AccessDenied"}, Outcome.DENIED),
        ("write", {}, Outcome.SUCCESS),
        ("write", {"responseElements": {"CreateBucket": "Failure"}}, Outcome.SUCCESS),
        ("write", {"errorCode": "AccessDenied"}, Outcome.DENIED),
        ("write", {"errorCode": "Client.UnauthorizedOperation"}, Outcome.DENIED),
        ("write", {"errorCode": "NoSuchBucketPolicy"}, Outcome.ERROR),
        ("write", {"errorCode": "NotAccessDeniedAtAll"}, Outcome.ERROR),
        ("write", {"errorCode": 403}, Outcome.ERROR),
        ("write", {"errorCode": ["AccessDenied"]}, Outcome.ERROR),
        ("write", {"errorMessage": "it broke"}, Outcome.ERROR),
        ("write", {"eventName": ABSENT}, Outcome.UNKNOWN),
    ],
)
def test_outcomes(specimen: str, changes: Changes, outcome: Outcome) -> None:
    """The outcome is what the record states: a refusal, another error, a success, or nothing known."""
    assert make_record(specimen, **changes).outcome is outcome


# --- MFA --------------------------------------------------------------------------------------------------------------

MFA_USED = "additionalEventData.MFAUsed"
MFA_SESSION = f"{SESSION}.attributes.mfaAuthenticated"


@pytest.mark.parametrize(
    ("changes", "used", "stated_by"),
    [
        ({MFA_USED: "Yes"}, True, MFA_USED),
        ({MFA_USED: "No"}, False, MFA_USED),
        ({MFA_USED: "no "}, False, MFA_USED),
        ({MFA_USED: False}, False, MFA_USED),
        ({MFA_USED: ABSENT}, None, None),
        ({MFA_USED: None}, None, None),
        ({MFA_USED: "maybe"}, None, None),
        ({MFA_USED: 0}, None, None),
        ({MFA_USED: "No", MFA_SESSION: "true"}, False, MFA_USED),
        ({MFA_USED: ABSENT, MFA_SESSION: "true"}, True, MFA_SESSION),
        ({MFA_USED: ABSENT, MFA_SESSION: "false"}, False, MFA_SESSION),
        ({"additionalEventData": None}, None, None),
        ({"additionalEventData": "No"}, None, None),
    ],
)
def test_mfa_is_what_is_stated_and_never_guessed(
    changes: Changes,
    used: bool | None,  # noqa: FBT001
    stated_by: str | None,
) -> None:
    """MFA is true, false or not stated, and the field that said so is named."""
    mfa = make_record("console_login", **changes).mfa
    assert (mfa.used, mfa.stated_by) == (used, stated_by)


@pytest.mark.parametrize(
    ("serial", "device"),
    [
        ("arn:aws:iam::111122223333:mfa/root-account-mfa-device", MfaDevice.VIRTUAL),
        ("arn:aws:iam::111122223333:u2f/root/key-EXAMPLE", MfaDevice.PASSKEY),
        ("arn:aws:iam::111122223333:other/x", MfaDevice.UNKNOWN),
        ("GAHT12345678", MfaDevice.HARDWARE),
        ("something else", MfaDevice.UNKNOWN),
        ("", None),
    ],
)
def test_mfa_devices(serial: str, device: MfaDevice | None) -> None:
    """The kind of device is read off its serial number."""
    assert make_record("console_login", **Changes({"additionalEventData.MFAIdentifier": serial})).mfa.device is device


# --- which account ----------------------------------------------------------------------------------------------------


def test_the_account_is_the_recipient_then_the_identity_then_the_envelope() -> None:
    """The account falls back from recipientAccountId to the identity's to the envelope's."""
    first = {"recipientAccountId": "444455556666"}
    assert make_record("write", **Changes(first)).account_id == "444455556666"
    envelope = build_envelope("write", recipientAccountId=ABSENT)
    assert read_envelope(envelope).account_id == "111122223333"
    del envelope["detail"]["userIdentity"]["accountId"]
    assert read_envelope(envelope | {"account": "444455556666"}).account_id == "444455556666"
    assert read_envelope(envelope | {"account": "x"}).account_id is None


def test_a_forged_source_counts_for_its_own_account_only() -> None:
    """Who sends a record over PutEvents cannot make it another account's; only the named replay source may."""
    envelope = build_envelope("write") | {"source": "my.app", "account": "444455556666"}
    record = read_envelope(envelope)
    assert record.account_id == "444455556666"
    assert any("source does not begin with aws." in problem for problem in record.problems)
    assert any("another than the record's" in problem for problem in record.problems)
    assert read_envelope(envelope, replay_source="my.app").account_id == "111122223333"
    assert read_envelope(envelope, replay_source="my.other").account_id == "444455556666"
    assert read_envelope(envelope | {"source": None}, replay_source="").account_id == "444455556666"


def test_an_account_that_lost_its_quotes() -> None:
    """A number where CloudTrail has a text is taken for the text, and listed as odd."""
    record = make_record("write", recipientAccountId=111122223333)
    assert record.account_id == "111122223333"
    assert any("recipientAccountId is a number" in problem for problem in record.problems)


def test_the_target_account() -> None:
    """AssumeRoot's target is a number or root's ARN, and the account in it is the target."""
    for principal in ("111122223333", "arn:aws:iam::111122223333:root"):
        record = make_record("assumed", **Changes({"requestParameters.targetPrincipal": principal}))
        assert record.target_account_id == "111122223333"
    elsewhere = Changes({"requestParameters.targetPrincipal": "111122223333"})
    assert make_record("write", **elsewhere).target_account_id is None


# --- times, read-only, oddities ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "moment", "odd"),
    [
        ("2026-11-03T08:15:42Z", datetime(2026, 11, 3, 8, 15, 42, tzinfo=UTC), False),
        ("2026-11-03T10:15:42+02:00", datetime(2026, 11, 3, 8, 15, 42, tzinfo=UTC), False),
        ("2026-11-03T08:15:42", datetime(2026, 11, 3, 8, 15, 42, tzinfo=UTC), True),
        ("0001-01-01T00:00:00Z", None, True),
        ("9999-12-31T23:59:59-14:00", None, True),
        ("yesterday", None, True),
        ("2" * 5_000, None, True),
        (1_793_693_742, None, True),
        ([], None, True),
    ],
)
def test_times(text: Any, moment: datetime | None, odd: bool) -> None:  # noqa: FBT001
    """An event time is read with its zone; what is none, or no plausible one, is listed and not believed."""
    record = read_document(build_record("write", eventTime=text))
    assert record.event_time == moment
    assert any(problem.startswith("eventTime") for problem in record.problems) is odd


def test_without_an_event_time_the_envelope_s_counts() -> None:
    """A record that lost its time has the envelope's, and says so."""
    envelope = build_envelope("write")
    del envelope["detail"]["eventTime"]
    record = read_envelope(envelope | {"time": "2026-11-03T09:00:00Z"})
    assert record.event_time == datetime(2026, 11, 3, 9, tzinfo=UTC)
    assert "the event time is the envelope's" in record.problems


@pytest.mark.parametrize(
    ("stated", "name", "read_only"),
    [
        (True, "CreateBucket", True),
        ("true", "CreateBucket", True),
        (False, "ListBuckets", False),
        (None, "ListBuckets", True),
        (None, "Listen", False),
        (None, "GetSessionToken", False),
        (None, "CreateBucket", False),
        ("odd", "DescribeInstances", True),
        (None, None, False),
    ],
)
def test_read_only(stated: Any, name: str | None, read_only: bool) -> None:  # noqa: FBT001
    """What readOnly states counts; without it the event's verb does, and what gives out credentials is no read."""
    assert make_record("write", readOnly=stated, eventName=name).read_only is read_only


def test_verbs() -> None:
    """A reading verb counts only as a whole word."""
    assert verb_reads("GetObject")
    assert verb_reads("List")
    assert not verb_reads("Getaway")
    assert not verb_reads("DeleteBucket")


def test_an_object_delivered_as_text_is_read() -> None:
    """An identity that is JSON text still names root, and is listed as odd."""
    record = make_record("write", userIdentity=json.dumps({"type": "Root", "accountId": "111122223333"}))
    assert record.actor.by_root
    assert any("userIdentity is a text" in problem for problem in record.problems)


@pytest.mark.parametrize(
    ("stated", "text"),
    [
        (["203.0.113.7"], "203.0.113.7"),
        (["10.0.0.1", "203.0.113.7", 7, "", None], "10.0.0.1, 203.0.113.7"),
        ([], None),
        ([{}], None),
        (["x" * 5_000], "x" * 256),
        ({"ip": "203.0.113.7"}, None),
    ],
)
def test_a_list_of_sources_is_read(stated: Any, text: str | None) -> None:
    """Addresses that came as a list are read as a text with commas, bounded; the record is odd all the same."""
    record = make_record("write", sourceIPAddress=stated)
    assert record.source_text == text
    assert any(problem.startswith("sourceIPAddress is a") for problem in record.problems)


def test_half_a_character_is_replaced() -> None:
    """A lone surrogate in a name is shown as U+FFFD, so that every table and channel can hold the name."""
    record = make_record("write", eventID="a\ud800b", recipientAccountId="\udfff")
    assert record.event_id == "a\ufffdb"
    assert record.account_id == "\ufffd"
    assert any("half a character" in problem for problem in record.problems)
    assert "\\ud800" in canonical_json(record.body)


def test_a_strange_record_lists_its_oddities_once() -> None:
    """Each oddity is listed once, in words that hold nothing of the content."""
    record = make_record("write", eventName={"hunter2": 1}, awsRegion="x" * 300, eventID="", addendum={"hunter2": 1})
    assert len(record.problems) == len(set(record.problems))
    for words in ("eventName is an object", "awsRegion is longer", "eventID is empty", "addendum has no reason"):
        assert any(words in problem for problem in record.problems), words
    assert not any("hunter2" in problem for problem in record.problems)
    assert make_record("write").problems == ()


def test_what_organizations_says_of_a_closing() -> None:
    """CloseAccountResult names the closed account and the outcome in serviceEventDetails, without an identity type."""
    identity = {"accountId": "444455556666", "invokedBy": "organizations.amazonaws.com"}
    changes: Changes = {
        "eventName": "CloseAccountResult",
        "eventType": "AwsServiceEvent",
        "userIdentity": identity,
        "requestParameters": None,
        "responseElements": None,
    }
    for state, outcome in (("SUCCEEDED", Outcome.SUCCESS), ("FAILED", Outcome.ERROR), (None, Outcome.SUCCESS)):
        details = {"closeAccountStatus": {"accountId": "111122223333", "state": state}}
        record = make_record("account_closed", **changes, serviceEventDetails=details)
        assert (record.target_account_id, record.outcome) == ("111122223333", outcome)
        assert (record.actor.kind, record.problems) == (ActorKind.AWS_SERVICE, ())
    rubbish: Any
    for rubbish in (None, "x", [], {"closeAccountStatus": "FAILED"}, {"closeAccountStatus": {"accountId": 7}}):
        assert make_record("account_closed", **changes, serviceEventDetails=rubbish).target_account_id is None


def test_addendum() -> None:
    """An addendum carries the reason for which AWS delivered the record again."""
    assert make_record("write", addendum={"reason": "UPDATED_DATA"}).addendum == "UPDATED_DATA"
    assert make_record("write", addendum={}).addendum == "not stated"
    assert make_record("write").addendum is None
