"""Step 1, what CloudTrail said: one lenient reading of a record; everything after it has types.

The only module that knows CloudTrail's field names for identity, outcome and MFA. A missing or odd field lowers what
we know, is listed in `problems` and shown in the alert; it never stops a record. "Not stated" (None) is never "no".

Field names: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
and .../cloudtrail-event-reference-user-identity.html and .../cloudtrail-event-reference-aws-console-sign-in-events.html
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final

from rootwatch.errors import UnreadableRecordError

LONGEST_NAME: Final = 256
"""Characters kept of a name (event name, region, account…) after reading; the whole record is stored as it came."""

DEEPEST_LEVEL: Final = 64
"""Levels of nesting kept; CloudTrail's own records have fewer than ten."""

MOST_PATHS: Final = 64
"""Redacted paths that are listed, so that a record made of secrets still fits its item; all of them are redacted."""

REDACTED: Final = "[redacted]"

NOT_FROM_CLOUDTRAIL: Final = "the envelope's source does not begin with aws."
"""The problem of a record that anybody may have put on the bus."""

OTHER_ACCOUNT: Final = "the envelope's account is another than the record's"
"""The problem of a record that claims to be of another account than the one that it came from."""

_RECORD_FIELDS: Final = ("eventName", "eventSource", "userIdentity", "eventType")
"""A mapping with none of these is not a record at all."""


class ActorKind(StrEnum):
    """How root, or somebody else, acted."""

    ROOT_CONSOLE = "root_console"
    ROOT_ACCESS_KEY = "root_access_key"
    ROOT_TEMPORARY = "root_temporary"
    ROOT_CLI_LOGIN = "root_cli_login"
    ASSUMED_ROOT = "assumed_root"
    FEDERATED_FROM_ROOT = "federated_from_root"
    AWS_SERVICE = "aws_service"
    OTHER_PRINCIPAL = "other_principal"
    UNKNOWN = "unknown"


class Outcome(StrEnum):
    """How the act ended, as the record states it."""

    SUCCESS = "success"
    FAILURE = "failure"
    DENIED = "denied"
    ERROR = "error"
    UNKNOWN = "unknown"


class MfaDevice(StrEnum):
    """The kind of MFA device, read off its serial number."""

    VIRTUAL = "virtual"
    PASSKEY = "passkey"
    HARDWARE = "hardware"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acted. `by_root` is true for root in any form, a service on its behalf and sessions issued by it included."""

    kind: ActorKind
    by_root: bool
    identity_type: str | None = None
    arn: str | None = None
    principal_id: str | None = None
    account_id: str | None = None
    access_key_id: str | None = None
    issuer_arn: str | None = None
    session_created: str | None = None
    sign_in_session: str | None = None
    invoked_by: str | None = None

    @property
    def lineage(self) -> str | None:
        """Return the credential lineage: the sign-in session, else its creation date, else the access key id.

        A console session draws fresh ASIA keys all the time; they are one lineage. None where nothing is stated.
        """
        if self.sign_in_session:
            return f"session:{self.sign_in_session}"
        if self.access_key_id and self.access_key_id.startswith("AKIA"):
            return f"key:{self.access_key_id}"
        if self.session_created:
            return f"created:{self.session_created}"
        return f"key:{self.access_key_id}" if self.access_key_id else None


@dataclass(frozen=True, slots=True)
class Mfa:
    """What the record states about MFA: `used` true, false, or None for "not stated"; `stated_by` is the field."""

    used: bool | None = None
    device: MfaDevice | None = None
    serial: str | None = None
    stated_by: str | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """EventBridge's wrapping of a record. Only AWS itself can send a `source` that begins with `aws.`.

    `admitted` is true for these and for the one source that the deployment admits for replay.
    """

    source: str | None
    account: str | None
    region: str | None
    event_id: str | None
    time: datetime | None
    admitted: bool
    resources: tuple[str, ...] = ()

    @property
    def from_cloudtrail(self) -> bool:
        """Return whether the envelope's source is one that PutEvents cannot forge."""
        return self.source is not None and _is_of_aws(self.source)


def _is_of_aws(source: str) -> bool:
    # Not a partner's, although it begins alike: what is in its events is the partner's, or the partner's customer's.
    # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-saas.html
    return source.startswith("aws.") and not source.startswith("aws.partner/")


@dataclass(frozen=True, slots=True)
class Record:
    """One CloudTrail record, read leniently; times are UTC. `body` is the whole record, redacted."""

    body: Mapping[str, object]
    sha256: str
    redacted_paths: tuple[str, ...]
    problems: tuple[str, ...]
    envelope: Envelope | None
    event_id: str | None
    event_time: datetime | None
    account_id: str | None
    region: str | None
    event_source: str | None
    event_name: str | None
    event_type: str | None
    actor: Actor
    outcome: Outcome
    error_code: str | None
    error_message: str | None
    mfa: Mfa
    source_text: str | None
    user_agent: str | None
    read_only: bool
    request: Mapping[str, object]
    response: Mapping[str, object]
    additional: Mapping[str, object]
    target_account_id: str | None
    addendum: str | None

    @property
    def service(self) -> str:
        """Return the service's short name, such as `iam` for the event source iam.amazonaws.com; may be empty."""
        return (self.event_source or "").casefold().removesuffix(".cn").removesuffix(".amazonaws.com")

    @property
    def is_sign_in(self) -> bool:
        """Return whether it records a step of signing in to the console, whatever the spelling of its type."""
        return (self.event_type or "").casefold() == "awsconsolesignin"

    @property
    def target(self) -> str:
        """Return what the act was done to, as a short text for comparing; empty where the record does not say.

        Of an act that joins two things both are named, such as a user and the policy attached to it.
        """
        found = [text for fields in (_TARGET_FIELDS, _JOINED_FIELDS) if (text := _first_text(self.request, fields))]
        made = self.response.get("accessKey")
        if isinstance(made, Mapping) and isinstance(made.get("accessKeyId"), str):
            found.append(made["accessKeyId"])
        return ", ".join(text[:LONGEST_NAME] for text in dict.fromkeys(found))[:LONGEST_NAME]


_TARGET_FIELDS: Final = (
    "accessKeyId", "serialNumber", "userName", "roleName", "groupName", "policyArn", "policyName", "trailName", "name",
    "bucketName", "secretId", "keyId", "functionName", "tableName", "queueUrl", "topicArn", "detectorId", "rule",
    "instanceId", "dBInstanceIdentifier", "imageId", "snapshotId", "targetPrincipal", "alternateContactType",
    "accountId", "resourceArn", "instancesSet", "volumeId", "dBClusterIdentifier", "dBSnapshotIdentifier",
    "dBClusterSnapshotIdentifier", "fileSystemId", "recoveryPointArn", "backupVaultName", "stackName", "repositoryName",
    "vaultName", "logGroupName", "names", "secretIdList", "subscriptionArn", "uUID", "alarmName", "alarmNames",
)  # fmt: skip
"""requestParameters that name what is acted on, the more particular first."""

_JOINED_FIELDS: Final = ("policyArn", "policyName", "versionId", "principal", "granteePrincipal")
"""requestParameters that name the other half of an act: the same user with another policy is another act."""


def _first_text(request: Mapping[str, object], names: tuple[str, ...]) -> str:
    for name in names:
        value = request.get(name)
        if isinstance(value, Mapping):
            value = value.get("items")  # EC2's {"items": [{"instanceId": "i-…"}, …]}
        if isinstance(value, list):
            entries = [each.get("instanceId") if isinstance(each, Mapping) else each for each in value]
            value = " ".join(entry[:LONGEST_NAME] for entry in entries if isinstance(entry, str))
        if isinstance(value, str) and value:
            return value[:LONGEST_NAME]
    return ""


# --- reading -------------------------------------------------------------------------------------------------------


def _finite(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _convertible(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text


JSON_DECODER: Final = json.JSONDecoder(parse_float=_finite, parse_constant=str)
"""Reads JSON; what is no number in JSON (NaN, 1e999) becomes text, so that every record has one canonical spelling."""

PATIENT_JSON_DECODER: Final = json.JSONDecoder(parse_float=_finite, parse_constant=str, parse_int=_convertible)
"""The same, slower: integers of more digits than Python converts (4,300) become text as well."""


def read_json(text: str) -> object:
    """Return the JSON value in `text`.

    Raises:
        UnreadableRecordError: it is not JSON or nests too deeply. The message names the kind of fault and its
            position, nothing of the content. A retry does not help.

    """
    try:
        try:
            return JSON_DECODER.decode(text)
        except json.JSONDecodeError:
            raise
        except ValueError:  # an integer of more digits than Python converts
            return PATIENT_JSON_DECODER.decode(text)
    except RecursionError:
        message = "It is not JSON that can be read: it nests too deeply. Expected one JSON object."
    except json.JSONDecodeError as error:
        message = f"It is not JSON ({error.msg}, line {error.lineno}, column {error.colno}). Expected one JSON object."
    raise UnreadableRecordError(message)


def read_envelope(document: object, *, replay_source: str = "") -> Record:
    """Read what EventBridge delivers: an envelope whose `detail` is the CloudTrail record.

    Args:
        document: the parsed envelope.
        replay_source: the one source besides `aws.*` whose records may be of another account than the envelope.

    Raises:
        UnreadableRecordError: no envelope, no `detail`, or no record in it. A retry does not help.

    """
    if not isinstance(document, Mapping):
        message = f"It is {_kind(document)}. Expected an EventBridge event, an object with `detail`."
        raise UnreadableRecordError(message)
    if "detail" not in document:
        message = "It has no `detail`. Expected an EventBridge event whose `detail` is a CloudTrail record."
        raise UnreadableRecordError(message)
    detail = document["detail"]
    if not isinstance(detail, Mapping):
        message = f"Its `detail` is {_kind(detail)}. Expected a CloudTrail record, an object."
        raise UnreadableRecordError(message)
    problems: list[str] = []
    time = _time(document, "time", problems, path="envelope time")
    source = _text(document, "source", problems, path="envelope source")
    envelope = Envelope(
        source=source,
        account=_text(document, "account", problems, path="envelope account"),
        region=_text(document, "region", problems, path="envelope region"),
        event_id=_text(document, "id", problems, path="envelope id"),
        time=time,
        resources=_resources(document),
        admitted=source is not None and (_is_of_aws(source) or (replay_source != "" and source == replay_source)),
    )
    return _read(detail, envelope, problems)


def _resources(document: Mapping[str, object]) -> tuple[str, ...]:
    named = document.get("resources")
    return tuple(each for each in named if isinstance(each, str)) if isinstance(named, list) else ()


def read_document(document: object) -> Record:
    """Read a raw CloudTrail record or an EventBridge envelope around one, as files hold them.

    Raises:
        UnreadableRecordError: it is neither. A retry does not help.

    """
    if isinstance(document, Mapping) and "detail" in document and not any(name in document for name in _RECORD_FIELDS):
        return read_envelope(document)
    if not isinstance(document, Mapping):
        message = f"It is {_kind(document)}. Expected a CloudTrail record or an EventBridge event, an object."
        raise UnreadableRecordError(message)
    return _read(document, None, [])


def _read(detail: Mapping[str, object], envelope: Envelope | None, problems: list[str]) -> Record:
    if not any(name in detail for name in _RECORD_FIELDS):
        message = f"It is not a CloudTrail record: it has none of {', '.join(_RECORD_FIELDS)}."
        raise UnreadableRecordError(message)
    body, redacted_paths = redact(detail, problems)
    identity = _object(body, "userIdentity", problems)
    additional = _object(body, "additionalEventData", problems, optional=True)
    request = _object(body, "requestParameters", problems, optional=True)
    response = _object(body, "responseElements", problems, optional=True)
    event_name = _text(body, "eventName", problems)
    event_type = _text(body, "eventType", problems)
    event_time = _time(body, "eventTime", problems)
    if event_time is None and envelope is not None and envelope.time is not None:
        event_time = envelope.time
        problems.append("the event time is the envelope's")
    user_agent = _text(body, "userAgent", problems)
    session = _object(identity, "sessionContext", problems, path="userIdentity.sessionContext", optional=True)
    actor = _actor(body, identity, session, problems, user_agent=user_agent)
    error_code = _text(body, "errorCode", problems, optional=True)
    error_message = _text(body, "errorMessage", problems, optional=True, longest=1024)
    return Record(
        body=body,
        sha256=hashlib.sha256(canonical_json(body).encode()).hexdigest(),
        redacted_paths=redacted_paths,
        envelope=envelope,
        event_id=_text(body, "eventID", problems),
        event_time=event_time,
        account_id=_account(body, actor, envelope, problems),
        region=_text(body, "awsRegion", problems) or (envelope.region if envelope else None),
        event_source=_text(body, "eventSource", problems),
        event_name=event_name,
        event_type=event_type,
        actor=actor,
        outcome=_outcome(body, response, additional, error_code=error_code),
        error_code=error_code,
        error_message=error_message,
        mfa=_mfa(additional, session, problems),
        source_text=_source_text(body, problems),
        user_agent=user_agent,
        read_only=_read_only(body, event_name, problems),
        request=request,
        response=response,
        additional=additional,
        target_account_id=_target_account(event_name, request, _closing(body)),
        addendum=_addendum(body, problems),
        problems=tuple(dict.fromkeys(problems)),
    )


def canonical_json(value: object) -> str:
    """Return the one spelling of a JSON value that its hash is taken of: sorted keys, no blanks, ASCII only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def verb_reads(event_name: str) -> bool:
    """Return whether an API action's name begins with a verb that only reads (for records without readOnly).

    Billing's names carry a family before their verb: Instruments_Get, AWSPaymentPortalService.DescribePayments.
    """
    behind_family = event_name.rpartition(".")[2].rpartition("_")[2]
    return (_READ_VERBS.match(event_name) or _READ_VERBS.match(behind_family)) is not None


_READ_VERBS: Final = re.compile(
    r"(?:BatchGet|Check|Describe|Download|Estimate|Filter|Find|Get|Head|List|Lookup|Preview|Query|Scan|Search|Select|"
    r"Simulate|Validate|View)(?=[A-Z0-9_]|$)"
)
_NOT_READS: Final = frozenset({
    "GetDelegatedAccessToken", "GetFederationToken", "GetSessionToken", "GetSigninToken", "GetWebIdentityToken",
    "CheckMfa",
})  # fmt: skip
"""Names that begin like a read and give out credentials, or are a step of signing in."""


def _read_only(body: Mapping[str, object], event_name: str | None, problems: list[str]) -> bool:
    stated = _boolean(body.get("readOnly"))
    if stated is not None:
        return stated
    if body.get("readOnly") is not None:
        problems.append("readOnly is neither true nor false; judged by the event's name")
    return event_name is not None and event_name not in _NOT_READS and verb_reads(event_name)


# --- who acted -----------------------------------------------------------------------------------------------------

_CONSOLE_AGENTS: Final = (
    "console.",
    "signin.amazonaws.com",
    "[S3Console/",
    "S3Console/",
    "Coral/",
    "EC2ConsoleFrontend",
    "AWS Signin",
    "Mozilla/",
    "Opera/",
)
"""How the console calls on a person's behalf: its own names, Coral (AWS's internal client), or the person's browser."""
_COMMAND_LINE_AGENTS: Final = ("aws-cli/", "Boto3/", "Botocore/", "aws-sdk-", "APN/", "Terraform/", "[aws-")
_CLI_LOGIN_EVENTS: Final = frozenset({"AuthorizeOAuth2Access", "CreateOAuth2Token"})


def _actor(
    body: Mapping[str, object],
    identity: Mapping[str, object],
    session: Mapping[str, object],
    problems: list[str],
    *,
    user_agent: str | None,
) -> Actor:
    event_name, event_type = _name(body, "eventName"), _name(body, "eventType")
    path = "userIdentity.sessionContext"
    issuer = _object(session, "sessionIssuer", problems, path=f"{path}.sessionIssuer", optional=True)
    attributes = _object(session, "attributes", problems, path=f"{path}.attributes", optional=True)
    is_service_event = event_type.casefold() == "awsserviceevent"
    identity_type = _text(identity, "type", problems, path="userIdentity.type", optional=is_service_event)
    arn = _text(identity, "arn", problems, path="userIdentity.arn", optional=True, longest=2048)
    access_key_id = _text(identity, "accessKeyId", problems, path="userIdentity.accessKeyId", optional=True)
    invoked_by = _text(identity, "invokedBy", problems, path="userIdentity.invokedBy", optional=True)
    sign_in_session = _text(session, "signInSessionArn", problems, path=f"{path}.signInSessionArn", optional=True)
    is_root = identity_type == "Root"
    if identity_type is None and arn is not None and _ROOT_ARN.fullmatch(arn):
        is_root = True
        problems.append("userIdentity.type is not stated; userIdentity.arn is root's")
    issued_by_root = _is_root_issuer(issuer) and not is_root
    by_console = (invoked_by or "").casefold().removesuffix(".cn") == "signin.amazonaws.com"
    by_service = (invoked_by is not None and not by_console) or is_service_event or identity_type == "AWSService"
    return Actor(
        kind=_actor_kind(
            identity_stated=identity_type is not None or is_root,
            is_root=is_root,
            issued_by_root=issued_by_root,
            by_service=by_service,
            # Documents place it in the session; what reads it elsewhere must not lose it.
            assumed_root=any(
                _boolean(place.get("assumedRoot")) is True for place in (session, attributes, issuer, identity, body)
            ),
            access_key_id=access_key_id or "",
            has_session=bool(attributes) or sign_in_session is not None,
            sign_in_session=sign_in_session is not None,
            cli_login=event_name in _CLI_LOGIN_EVENTS or "md/command#login" in (user_agent or ""),
            from_console=_boolean(body.get("sessionCredentialFromConsole")) is True
            or event_type.casefold() in {"awsconsolesignin", "awsconsoleaction"}
            or by_console
            or (user_agent or "").startswith(_CONSOLE_AGENTS),
            command_line=(user_agent or "").startswith(_COMMAND_LINE_AGENTS),
        ),
        by_root=is_root or issued_by_root,
        identity_type=identity_type,
        arn=arn,
        principal_id=_text(identity, "principalId", problems, path="userIdentity.principalId", optional=True),
        account_id=_account_number(identity, "accountId", problems, path="userIdentity.accountId"),
        access_key_id=access_key_id,
        issuer_arn=_text(issuer, "arn", problems, path=f"{path}.sessionIssuer.arn", optional=True, longest=2048),
        session_created=_text(
            attributes, "creationDate", problems, path=f"{path}.attributes.creationDate", optional=True
        ),
        sign_in_session=sign_in_session,
        invoked_by=invoked_by,
    )


_ROOT_ARN: Final = re.compile(r"arn:aws[a-z-]{0,20}:iam::[0-9]{12}:root")


def _is_root_issuer(issuer: Mapping[str, object]) -> bool:
    """Return whether root issued a session: by the issuer's type or, where that is not stated, by its ARN."""
    kind, arn = issuer.get("type"), issuer.get("arn")
    if isinstance(kind, str) and kind:
        return kind == "Root"
    return isinstance(arn, str) and _ROOT_ARN.fullmatch(arn) is not None


def _actor_kind(  # noqa: PLR0911, PLR0913 - a decision table, read from top to bottom
    *,
    identity_stated: bool,
    is_root: bool,
    issued_by_root: bool,
    by_service: bool,
    assumed_root: bool,
    access_key_id: str,
    has_session: bool,
    sign_in_session: bool,
    cli_login: bool,
    from_console: bool,
    command_line: bool,
) -> ActorKind:
    if is_root and assumed_root:
        return ActorKind.ASSUMED_ROOT  # a service that goes on in the session's name is no excuse for it
    if by_service:
        return ActorKind.AWS_SERVICE
    if issued_by_root:
        return ActorKind.FEDERATED_FROM_ROOT
    if not is_root:
        return ActorKind.OTHER_PRINCIPAL if identity_stated else ActorKind.UNKNOWN
    if access_key_id.startswith("AKIA"):
        return ActorKind.ROOT_ACCESS_KEY
    if cli_login or (sign_in_session and command_line and not from_console):
        return ActorKind.ROOT_CLI_LOGIN
    if from_console:
        return ActorKind.ROOT_CONSOLE
    if has_session or access_key_id.startswith("ASIA"):
        return ActorKind.ROOT_TEMPORARY
    return ActorKind.UNKNOWN


# --- how it ended --------------------------------------------------------------------------------------------------

_DENIED: Final = re.compile(
    r"(?:Client\.)?(?:AccessDenied(?:Exception|Fault)?|UnauthorizedOperation|UnauthorizedAccess|Unauthorized|"
    r"UnauthorizedException|NotAuthorized(?:Exception)?|AuthorizationError|AuthorizationErrorException|AuthFailure|"
    r"Forbidden(?:Exception)?|InvalidClientTokenId|OptInRequired|OperationNotPermitted|AccountAccessDenied(?:Exception)?|"
    r"kms:AccessDeniedException|NotPermitted)"
)
_SIGN_IN_RESULTS: Final = {"success": Outcome.SUCCESS, "failure": Outcome.FAILURE}


def _closing(body: Mapping[str, object]) -> Mapping[str, object]:
    """Return what Organizations records when it has closed a member account, or could not (CloseAccountResult)."""
    return _mapping(_mapping(body.get("serviceEventDetails")).get("closeAccountStatus"))


def _outcome(  # noqa: PLR0911 - a decision table, read from top to bottom
    body: Mapping[str, object],
    response: Mapping[str, object],
    additional: Mapping[str, object],
    *,
    error_code: str | None,
) -> Outcome:
    event_name, event_type = _name(body, "eventName"), _name(body, "eventType")
    is_sign_in = event_type.casefold() == "awsconsolesignin" or event_name == "ConsoleLogin"
    result = response.get(event_name)
    if is_sign_in and isinstance(result, str) and result.casefold() in _SIGN_IN_RESULTS:
        return _SIGN_IN_RESULTS[result.casefold()]  # what a sign-in states of itself, whatever stands beside it
    if error_code:
        return Outcome.DENIED if _DENIED.fullmatch(error_code) else Outcome.ERROR
    if _closing(body).get("state") == "FAILED":
        return Outcome.ERROR
    if body.get("errorCode") not in (None, ""):
        return Outcome.ERROR  # an error code of another type than text is still an error
    if body.get("errorMessage") not in (None, ""):
        # A failed sign-in has an errorMessage and no errorCode: "Failed authentication".
        return Outcome.FAILURE if is_sign_in else Outcome.ERROR
    if event_name in _CLI_LOGIN_EVENTS and additional.get("success") is not None:
        return {True: Outcome.SUCCESS, False: Outcome.FAILURE, None: Outcome.UNKNOWN}[_boolean(additional["success"])]
    if is_sign_in or not event_name:
        return Outcome.UNKNOWN  # a sign-in record states its result; without one nothing is known
    return Outcome.SUCCESS


# --- MFA as stated -------------------------------------------------------------------------------------------------


def _mfa(additional: Mapping[str, object], session: Mapping[str, object], problems: list[str]) -> Mfa:
    serial = _text(additional, "MFAIdentifier", problems, path="additionalEventData.MFAIdentifier", optional=True)
    device = _mfa_device(serial)
    for value, path in (
        (additional.get("MFAUsed"), "additionalEventData.MFAUsed"),
        (
            _mapping(session.get("attributes")).get("mfaAuthenticated"),
            "userIdentity.sessionContext.attributes.mfaAuthenticated",
        ),
    ):
        if value is None or value == "":
            continue
        used = _boolean(value)
        if used is not None:
            return Mfa(used=used, device=device, serial=serial, stated_by=path)
        problems.append(f"{path} is neither yes nor no")
    return Mfa(device=device, serial=serial)


def _mfa_device(serial: str | None) -> MfaDevice | None:
    # arn:aws:iam::ACCOUNT:mfa/root-account-mfa-device is a virtual device, …:u2f/root/NAME-ID a passkey or security
    # key; a hardware token has a plain serial number. https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetMFADevice.html
    if not serial:
        return None
    if serial.startswith("arn:"):
        if ":mfa/" in serial:
            return MfaDevice.VIRTUAL
        return MfaDevice.PASSKEY if ":u2f/" in serial else MfaDevice.UNKNOWN
    return MfaDevice.HARDWARE if _HARDWARE_SERIAL.fullmatch(serial) else MfaDevice.UNKNOWN


_HARDWARE_SERIAL: Final = re.compile(r"[A-Za-z]{0,8}[0-9]{6,20}")


# --- which account -------------------------------------------------------------------------------------------------


def _account(body: Mapping[str, object], actor: Actor, envelope: Envelope | None, problems: list[str]) -> str | None:
    recipient = _account_number(body, "recipientAccountId", problems)
    stated = recipient or actor.account_id
    if envelope is None:
        return stated
    from_envelope = envelope.account if _ACCOUNT.fullmatch(envelope.account or "") else None
    if not envelope.from_cloudtrail:
        problems.append(NOT_FROM_CLOUDTRAIL)
    elif recipient is None:
        return stated or from_envelope  # the identity's account may well be another one
    if from_envelope and stated and stated != from_envelope:
        problems.append(OTHER_ACCOUNT)
        # EventBridge itself writes the envelope's account, also when an account forwards: no account can speak for
        # another one. Only the replay source is for records of any account.
        if envelope.from_cloudtrail or not envelope.admitted:
            return from_envelope
    return stated or from_envelope


_ACCOUNT: Final = re.compile(r"[0-9]{12}")


def _account_number(values: Mapping[str, object], name: str, problems: list[str], path: str = "") -> str | None:
    text = _text(values, name, problems, path=path, optional=bool(path))
    if text is not None and not _ACCOUNT.fullmatch(text):
        problems.append(f"{path or name} is not an account number of 12 digits")
    return text


_EVENTS_WITH_ACCOUNT: Final = frozenset(
    {"AcceptPrimaryEmailUpdate", "CloseAccount", "RemoveAccountFromOrganization", "StartPrimaryEmailUpdate"}
)
_ACCOUNT_IN_ARN: Final = re.compile(r"arn:[a-z-]{1,20}:iam::([0-9]{12}):root")


def _target_account(event_name: str | None, request: Mapping[str, object], closing: Mapping[str, object]) -> str | None:
    name = (
        "targetPrincipal" if event_name == "AssumeRoot" else "accountId" if event_name in _EVENTS_WITH_ACCOUNT else ""
    )
    value = request.get(name, closing.get("accountId"))
    if not isinstance(value, str) or not value:
        return None
    in_arn = _ACCOUNT_IN_ARN.fullmatch(value)
    return in_arn.group(1) if in_arn else value[:LONGEST_NAME]


def _addendum(body: Mapping[str, object], problems: list[str]) -> str | None:
    if body.get("addendum") is None:
        return None
    reason = _mapping(body["addendum"]).get("reason")
    if isinstance(reason, str) and reason:
        return reason[:LONGEST_NAME]
    problems.append("addendum has no reason")
    return "not stated"


# --- redaction -----------------------------------------------------------------------------------------------------

_SECRET_NAMES: Final = frozenset({
    "accesstoken", "apikey", "authenticationcode1", "authenticationcode2", "authorizationcode", "authorizationtoken",
    "authtoken", "base32stringseed", "bearertoken", "clientsecret", "codeverifier", "idtoken", "keymaterial",
    "passworddata", "plaintextkey", "qrcodepng", "refreshtoken", "samlassertion", "secretaccesskey", "secretbinary",
    "secretstring", "signintoken", "token", "tokencode", "webidentitytoken", "xamzsignature",
})  # fmt: skip
_SECRET_ENDINGS: Final = ("password", "passwd", "privatekey", "secretaccesskey", "securitytoken", "sessiontoken")
_SIGN_IN_URLS: Final = frozenset({"loginto", "redirectto", "redirecturi", "switchfrom", "returnurl"})
_SECRET_IN_URL: Final = ("signin", "x-amz-", "token", "password", "code=")


def redact(detail: Mapping[str, object], problems: list[str]) -> tuple[dict[str, object], tuple[str, ...]]:
    """Return the record without its secrets, and the paths at which something was taken out.

    Session tokens, secret keys, passwords and the query of console sign-in addresses must not be stored, logged or
    sent; a policy document or a name stays as it is.
    """
    walk = _Redaction([], problems)
    cleaned = {str(name): walk.value(str(name), value, _step(name), 1) for name, value in detail.items()}
    return cleaned, tuple(walk.paths)


@dataclass(frozen=True, slots=True)
class _Redaction:
    """One walk through a record: where something was taken out, and what was odd."""

    paths: list[str]
    problems: list[str]

    def value(self, name: str, value: object, path: str, level: int) -> object:  # noqa: PLR0911 - one per type
        if isinstance(value, bool) or value is None:
            return value
        plain_name = _plain_name(name[-LONGEST_NAME:])
        if _is_secret(plain_name):
            self.took_out(path)
            return REDACTED
        if isinstance(value, str):
            return self.text(plain_name, value, path, level)
        if not isinstance(value, Mapping | list):
            return value
        if level >= DEEPEST_LEVEL:
            self.problems.append(f"it nests more than {DEEPEST_LEVEL} levels; what lies deeper is not kept")
            return "[nested too deeply]"
        if isinstance(value, list):
            return [self.value(name, entry, f"{path}[{place}]", level + 1) for place, entry in enumerate(value)]
        return {
            str(key): self.entry(str(key), entry, value, f"{path}.{_step(key)}", level + 1)
            for key, entry in value.items()
        }

    def entry(self, name: str, value: object, siblings: Mapping[object, object], path: str, level: int) -> object:
        """Redact an entry of an object; what the value of a pair is called stands beside it, as with variables."""
        if value is not None and name[-5:] in {"value", "Value"}:
            for ending in ("name", "key", "Name", "Key"):
                beside = siblings.get(name[:-5] + ending)
                if isinstance(beside, str) and _is_secret(_plain_name(beside[-LONGEST_NAME:])):
                    self.took_out(path)
                    return REDACTED
        return self.value(name, value, path, level)

    def took_out(self, path: str) -> None:
        if len(self.paths) < MOST_PATHS:
            self.paths.append(path[:LONGEST_NAME])
        else:
            self.problems.append(f"more than {MOST_PATHS} values were taken out; the paths of the first are listed")

    def text(self, plain_name: str, value: str, path: str, level: int) -> str:
        if plain_name == "code" and len(value) >= SHORTEST_OAUTH_CODE:
            self.took_out(path)
            return REDACTED
        cleaned = value
        if plain_name in _SIGN_IN_URLS:  # also without a scheme, or with all of it encoded
            cleaned = _cut_query(value)
        elif "://" in value:
            cleaned = _ADDRESS.sub(lambda found: _without_query(found.group()), value)
        if "://" in value:
            cleaned = _AUTHORITY.sub(lambda found: _without_password(found.group()), cleaned)
        if cleaned != value:
            self.took_out(path)
        value = cleaned
        folded = value.casefold()
        if not any(word in folded for word in _SECRET_WORDS):
            return value
        if value.lstrip()[:1] in ("{", "["):
            return self.document(value, path, level)
        cleaned = _SECRET_IN_TEXT.sub(rf"\g<name>{REDACTED}", value)
        if cleaned != value:
            self.took_out(path)
        return cleaned

    def document(self, value: str, path: str, level: int) -> str:
        """Redact a JSON document inside a text, such as requestParameters delivered as text."""
        try:
            document = json.loads(value)
        except (ValueError, RecursionError):
            self.took_out(path)
            return REDACTED  # looks like JSON, names a secret, and cannot be searched
        cleaned = self.value("", document, path, level + 1)
        return canonical_json(cleaned) if cleaned != document else value


@lru_cache(maxsize=4096)
def _plain_name(name: str) -> str:
    """Return a key without punctuation and case. Remembered: keys repeat, and each entry of a list asks for its own."""
    return "".join(character for character in name.casefold() if character.isalnum())


def _is_secret(plain_name: str) -> bool:
    return plain_name in _SECRET_NAMES or plain_name.endswith(_SECRET_ENDINGS)


def _step(name: object) -> str:
    return str(name)[:64]  # a path names the place; a key made long must not make every path below it long


_SECRET_WORDS: Final = ("password", "passwd", "secret", "token", "private", "signature", "keymaterial")


_SECRET_IN_TEXT: Final = re.compile(
    r"(?P<name>(?:password|passwd|secret_?access_?key|security[_-]token|session_?token|signin_?token|access_?token"
    r"|refresh_?token|client_?secret|private_?key)[\\\"' ]{0,4}[=:>][\\\"' ]{0,4})(?!\[redacted)"
    r"[^\s\\\"'&,;<>]{1,8192}",
    re.IGNORECASE,
)
"""A secret beside its name within any other text, such as a message of an error or what a client says it is."""

_ADDRESS: Final = re.compile(r"https?://[^\s\"'<>\\]{1,8192}", re.IGNORECASE)
"""A web address, wherever it stands in a text."""

_AUTHORITY: Final = re.compile(r"://[^\s/?#\"'<>\\]{1,2048}")
"""Of an address of any scheme: host and port, and who is to sign in there with which password."""

SHORTEST_OAUTH_CODE: Final = 16
"""Characters from which a field called `code` is taken for an OAuth authorization code and not for an error's code."""


def _without_query(address: str) -> str:
    before, mark, query = _split_query(address)
    if mark and any(word in query.casefold() for word in _SECRET_IN_URL):
        return f"{before}{mark}{REDACTED}"
    return address


def _cut_query(address: str) -> str:
    """Return the address of a sign-in without its query; a mark may be encoded, as in an address within another one."""
    folded = address.casefold()
    found = [place + len(mark) for mark in ("?", "#", "%3f", "%23") if (place := folded.find(mark)) >= 0]
    return f"{address[: min(found)]}{REDACTED}" if found and min(found) < len(address) else address


def _without_password(authority: str) -> str:
    who, at, host = authority.removeprefix("://").rpartition("@")
    return f"://{REDACTED}{at}{host}" if ":" in who else authority


def _split_query(address: str) -> tuple[str, str, str]:
    position = min((found for found in (address.find("?"), address.find("#")) if found >= 0), default=-1)
    if position < 0:
        return address, "", ""
    return address[:position], address[position], address[position + 1 :]


# --- fields of any type --------------------------------------------------------------------------------------------


def _kind(value: object) -> str:
    names = {
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        list: "a list",
        type(None): "null",
    }
    return names.get(type(value), "an object")


def _name(body: Mapping[str, object], field: str) -> str:
    """Return a name that is read elsewhere too, without listing its oddities again; empty where it is none."""
    value = body.get(field)
    return value[:LONGEST_NAME] if isinstance(value, str) else ""


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _object(
    values: Mapping[str, object], name: str, problems: list[str], *, path: str = "", optional: bool = False
) -> Mapping[str, object]:
    value = values.get(name)
    if isinstance(value, Mapping):
        return value
    if isinstance(value, str) and value.lstrip()[:1] == "{":
        problems.append(f"{path or name} is a text; expected an object")
        try:
            return _mapping(json.loads(value))
        except (ValueError, RecursionError):
            return {}
    if value is None or value in ("", "null"):
        if not optional:
            problems.append(f"{path or name} is not stated")
    else:
        problems.append(f"{path or name} is {_kind(value)}; expected an object")
    return {}


def _source_text(body: Mapping[str, object], problems: list[str]) -> str | None:
    """Return the text of sourceIPAddress; of a list its texts with commas between them, as a list of proxies has it."""
    stated = body.get("sourceIPAddress")
    if not isinstance(stated, list):
        return _text(body, "sourceIPAddress", problems)
    problems.append("sourceIPAddress is a list; expected a text")
    listed = ", ".join(each[:LONGEST_NAME] for each in stated[:16] if isinstance(each, str) and each.strip())
    return _text({"sourceIPAddress": listed}, "sourceIPAddress", problems)


def _text(  # noqa: PLR0913 - keyword-only choices, each with a default
    values: Mapping[str, object],
    name: str,
    problems: list[str],
    *,
    path: str = "",
    optional: bool = False,
    longest: int = LONGEST_NAME,
) -> str | None:
    value = values.get(name)
    if isinstance(value, str):
        if value:
            if len(value) > longest and name != "userAgent":
                problems.append(f"{path or name} is longer than {longest} characters; shown shortened")
            text = value[:longest] if name != "userAgent" else value[:1024]
            if text.isascii() or not _HALF_CHARACTER.search(text):
                return text
            # No table, log or channel can hold half a character; the stored record keeps it, escaped.
            problems.append(f"{path or name} holds half a character; shown as \ufffd")
            return _HALF_CHARACTER.sub("\ufffd", text)
        if not optional:
            problems.append(f"{path or name} is empty")
        return None
    if value is None:
        if not optional:
            problems.append(f"{path or name} is not stated")
        return None
    problems.append(f"{path or name} is {_kind(value)}; expected a text")
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**15:
        return str(value)  # an account number or an id that lost its quotes
    return None


_HALF_CHARACTER: Final = re.compile(r"[\ud800-\udfff]")


def _boolean(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        word = value.strip().casefold()
        if word in {"true", "yes"}:
            return True
        if word in {"false", "no"}:
            return False
    return None


_FIRST_YEAR: Final = 2000
_LAST_YEAR: Final = 2999
"""AWS is younger than the first; near the year 1 or 9999 every sum of times would overflow."""


def _time(values: Mapping[str, object], name: str, problems: list[str], *, path: str = "") -> datetime | None:
    value = values.get(name)
    if value is None or value == "":
        problems.append(f"{path or name} is not stated")
        return None
    stated = _stated_time(value)
    if stated is None:
        problems.append(f"{path or name} cannot be read as a time")
        return None
    moment = stated if stated.tzinfo is not None else stated.replace(tzinfo=UTC)
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        problems.append(f"{path or name} is no time at which a record can have been made")
        return None
    if stated.tzinfo is None:
        problems.append(f"{path or name} names no time zone; read as UTC")
    return moment


def _stated_time(value: object) -> datetime | None:
    """Return the time that a value states, in UTC if it names a zone; None where it states none that exists."""
    if not isinstance(value, str) or len(value) > LONGEST_NAME:
        return None
    try:
        stated = datetime.fromisoformat(value.strip())
        return stated if stated.tzinfo is None else stated.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
