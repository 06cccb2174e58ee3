"""Who gives an answer by the command: AWS says so, not the caller. Pure.

The command signs a request to STS, GetCallerIdentity, with its own credentials, and hands over the signed headers. The
function sends exactly that request to STS, which says whose credentials they were. Among the signed headers is the hash
of the answer and of the function that it is for: a proof is good for nothing else, and for five minutes.
Signing: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-signing-elements.html
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from rootwatch.errors import RequestRefusedError
from rootwatch.record import canonical_json

BOUND: Final = "X-Rootwatch-Request"
"""The signed header that binds the proof to one answer."""
BODY: Final = "Action=GetCallerIdentity&Version=2011-06-15"
CONTENT_TYPE: Final = "application/x-www-form-urlencoded; charset=utf-8"
VALID_SECONDS: Final = 300
LONGEST_HEADER: Final = 8192
_UNAUTHORIZED: Final = 401
_NEEDED: Final = frozenset({"authorization", "x-amz-date", BOUND.lower()})
_KNOWN: Final = _NEEDED | {"x-amz-security-token", "content-type"}
_ALGORITHM: Final = "AWS4-HMAC-SHA256 "
# Each part by itself: one pattern for the whole header would try a hostile one in millions of ways.
_SCOPE: Final = re.compile(r"/[0-9]{8}/[a-z0-9-]{1,32}/sts/aws4_request", re.ASCII)
_KEY: Final = re.compile(r"[A-Z0-9]{12,128}", re.ASCII)
_SIGNED: Final = re.compile(r"[a-z0-9;-]{1,256}", re.ASCII)
_SIGNATURE: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_ARN: Final = re.compile(r"arn:[a-z0-9-]{1,20}:(?:iam|sts)::[0-9]{12}:[^<>&\s]{1,600}", re.ASCII)


def digest(command: Mapping[str, Any], function_name: str) -> str:
    """Return the hash of an answer and of the function that it is for."""
    return hashlib.sha256(canonical_json({"command": dict(command), "function": function_name}).encode()).hexdigest()


def checked(proof: object, expected: str, now: datetime) -> tuple[dict[str, str], str, str]:
    """Check a proof as far as that needs no AWS.

    Args:
        proof: the signed headers, by name.
        expected: the hash of the answer that came with it; see `digest`.
        now: the clock, UTC.

    Returns:
        The headers to send to STS, the id of the access key, and the signature, which is good for one request.

    Raises:
        RequestRefusedError: it is none, too old, or was made for something else.

    """
    is_proof = isinstance(proof, Mapping) and all(
        isinstance(name, str) and isinstance(value, str) and len(value) <= LONGEST_HEADER and value.isprintable()
        for name, value in proof.items()
    )
    headers = {name.lower(): value for name, value in proof.items()} if is_proof and isinstance(proof, Mapping) else {}
    found = _authorization(headers.get("authorization", ""))
    if found is None or not headers.keys() >= _NEEDED or not headers.keys() <= _KNOWN:
        raise RequestRefusedError(_UNAUTHORIZED, "it proves nobody")
    key, signed, signature = found
    if not set(signed.split(";")) >= {"host", "x-amz-date", BOUND.lower()}:
        raise RequestRefusedError(_UNAUTHORIZED, "its proof does not cover what it is for")
    try:
        at = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise RequestRefusedError(_UNAUTHORIZED, "its proof has no time") from None
    if abs((now - at).total_seconds()) > VALID_SECONDS:
        raise RequestRefusedError(_UNAUTHORIZED, "its proof is stale, or from the future")
    if not hmac.compare_digest(headers[BOUND.lower()].encode(), expected.encode()):
        raise RequestRefusedError(_UNAUTHORIZED, "its proof was made for something else")
    return headers, key, signature


def _authorization(header: str) -> tuple[str, str, str] | None:
    """Return key, signed headers and signature of a Signature Version 4 header for STS, None where it is none.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
    """
    parts = header.removeprefix(_ALGORITHM).split(",") if header.startswith(_ALGORITHM) else []
    names = ("Credential=", "SignedHeaders=", "Signature=")
    if len(parts) != len(names):
        return None
    # One blank may stand after each comma.
    parts = [part.removeprefix(" ") if place else part for place, part in enumerate(parts)]
    if not all(part.startswith(name) for part, name in zip(parts, names, strict=True)):
        return None
    credential, signed, signature = (part.removeprefix(name) for part, name in zip(parts, names, strict=True))
    key, slash, scope = credential.partition("/")
    fits = _KEY.fullmatch(key) and _SCOPE.fullmatch(slash + scope)
    if not fits or not _SIGNED.fullmatch(signed) or not _SIGNATURE.fullmatch(signature):
        return None
    return key, signed, signature


def caller_of(status: int, answer: str) -> str:
    """Return the ARN in STS's answer.

    Raises:
        RequestRefusedError: STS did not say whose credentials they are.

    """
    arn, end, _ = answer.partition("<Arn>")[2].partition("</Arn>")
    if status != _OK or not end or not _ARN.fullmatch(arn):
        raise RequestRefusedError(_UNAUTHORIZED, "AWS does not say whose credentials signed it")
    return arn


_OK: Final = 200
