"""Secrets are taken out of a record before anything else sees it, wherever they stand; all else stays."""

import json
from typing import Any

import pytest

from rootwatch.record import DEEPEST_LEVEL, MOST_PATHS, REDACTED, canonical_json, read_envelope, redact
from tests.builders import all_specimens, load_specimen
from tests.unit.workbench import make_record

SECRET = "hunter2-never-to-be-seen"


def redacted(detail: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...], list[str]]:
    """The record without its secrets, the paths, the problems."""
    problems: list[str] = []
    body, paths = redact(detail, problems)
    return body, paths, problems


@pytest.mark.parametrize(
    "name",
    [
        "password", "newPassword", "NewPassword", "oldPassword", "masterUserPassword", "sessionToken",
        "secretAccessKey", "x-amz-security-token", "SecretString", "secretBinary", "privateKey",
        "clientSecret", "qRCodePNG",
        "base32StringSeed", "authenticationCode1", "idToken", "refreshToken", "keyMaterial", "code_verifier",
        "SAMLAssertion", "webIdentityToken", "SigninToken",
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", [SECRET, [SECRET], {"a": {"b": SECRET}}, [[{"x": SECRET}]]])
def test_secrets_are_taken_out_wherever_they_stand(name: str, value: Any) -> None:
    """A field with a secret's name loses its whole value, whatever its type and depth, and its path is listed."""
    detail = {"requestParameters": {"list": [{"deep": {name: value}}], "kept": "kept"}, name: value}
    body, paths, _ = redacted(detail)
    assert SECRET not in canonical_json(body)
    assert body[name] == REDACTED
    assert body["requestParameters"]["kept"] == "kept"
    assert set(paths) == {name, f"requestParameters.list[0].deep.{name}"}


@pytest.mark.parametrize(
    "name", ["passwordPolicy", "tokenType", "secretId", "keyId", "policyDocument", "accessKeyId", "userName"]
)
def test_names_that_only_resemble_a_secret_stay(name: str) -> None:
    """What a person needs to understand the act stays as it is."""
    body, paths, _ = redacted({name: "value"})
    assert body == {name: "value"}
    assert paths == ()


@pytest.mark.parametrize("name", ["LoginTo", "RedirectTo", "redirect_uri", "SwitchFrom", "elsewhere"])
@pytest.mark.parametrize("mark", ["?", "#"])
def test_the_query_of_a_sign_in_address_is_taken_out(name: str, mark: str) -> None:
    """Addresses with tokens in their query keep the address and lose the query."""
    body, paths, _ = redacted({name: f" https://console.aws.amazon.com/x{mark}SigninToken={SECRET}"})
    assert body[name] == f" https://console.aws.amazon.com/x{mark}{REDACTED}"
    assert paths == (name,)


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        (f"/console/home?state={SECRET}", "/console/home?"),
        (f"//console.aws.amazon.com/x#{SECRET}", "//console.aws.amazon.com/x#"),
        (f"https%3A%2F%2Faws.amazon.com%2F%3Fstate%3D{SECRET}", "https%3A%2F%2Faws.amazon.com%2F%3F"),
    ],
)
def test_a_sign_in_address_of_any_spelling_loses_its_query(address: str, kept: str) -> None:
    """Without host or scheme, or with all of it encoded, it is where a sign-in leads to all the same."""
    body, paths, _ = redacted({"additionalEventData": {"LoginTo": address}})
    assert body == {"additionalEventData": {"LoginTo": f"{kept}{REDACTED}"}}
    assert paths == ("additionalEventData.LoginTo",)
    assert redacted(body)[:2] == (body, ())


def test_who_signs_in_at_an_address_is_taken_out() -> None:
    """A subscription's endpoint or a database's address may hold user and password before its host."""
    for scheme in ("https", "postgres"):
        body, paths, _ = redacted({"endpoint": f"to {scheme}://root:{SECRET}@db.example.com:5432/x?page=2"})
        assert body == {"endpoint": f"to {scheme}://{REDACTED}@db.example.com:5432/x?page=2"}
        assert paths == ("endpoint",)
    for address in ("https://dana@example.com/x", "https://[2001:db8::1]:443/a:b@c", "arn:aws:s3:::a@b"):
        assert redacted({"endpoint": address})[:2] == ({"endpoint": address}, ())


@pytest.mark.parametrize(("name", "value"), [("name", "value"), ("key", "value"), ("parameterKey", "parameterValue")])
def test_the_value_of_a_pair_goes_by_the_name_beside_it(name: str, value: str) -> None:
    """Variables of a container or parameters of a stack are pairs: what is a secret's name there is one as well."""
    pairs = [
        {name: "DB_PASSWORD", value: SECRET},
        {name: "MODE", value: "kept"},
        {value: "kept", name: 7},
        {value: None},
    ]
    body, paths, _ = redacted({"requestParameters": {"environment": pairs}})
    assert body["requestParameters"]["environment"] == [{name: "DB_PASSWORD", value: REDACTED}, *pairs[1:]]
    assert paths == (f"requestParameters.environment[0].{value}",)


def test_a_plain_address_stays() -> None:
    """An address without a secret in its query stays whole."""
    for address in ("https://sqs.us-east-1.amazonaws.com/111122223333/q", "https://example.com/?page=2"):
        assert redacted({"queueUrl": address})[0]["queueUrl"] == address


def test_secrets_in_json_delivered_as_text() -> None:
    """Parameters delivered as a text of JSON, even within such a text, lose their secrets too."""
    inner = json.dumps({"password": SECRET, "a": 1})
    body, paths, _ = redacted({"requestParameters": json.dumps({"inner": inner, "kept": "kept"})})
    assert SECRET not in body["requestParameters"]
    assert "kept" in body["requestParameters"]
    assert paths == ("requestParameters.inner.password",)


def test_a_text_that_looks_like_json_and_cannot_be_searched() -> None:
    """Broken JSON that names a secret is taken out whole."""
    body, paths, _ = redacted({"x": f'{{"password": "{SECRET}", '})
    assert body["x"] == REDACTED
    assert paths == ("x",)
    policy = '{"Version": "2012-10-17", "Statement": []'
    assert redacted({"x": policy})[0]["x"] == policy


def test_a_secret_within_an_element_s_text() -> None:
    """XML names a secret before it, too."""
    assert redacted({"x": f"<SecretAccessKey>{SECRET}</SecretAccessKey>"})[0]["x"] == (
        f"<SecretAccessKey>{REDACTED}</SecretAccessKey>"
    )


def test_more_secrets_than_are_listed_are_all_taken_out() -> None:
    """The list of paths is bounded; the redaction is not, also in JSON delivered as text."""
    many = {f"{number}password": SECRET for number in range(MOST_PATHS + 50)}
    body, paths, problems = redacted({"a": many, "b": json.dumps(many), "c" * 5_000: {"password": SECRET}})
    assert SECRET not in canonical_json(body)
    assert len(paths) == MOST_PATHS
    assert any(f"more than {MOST_PATHS}" in problem for problem in problems)
    assert all(len(path) <= 256 for path in redacted({"c" * 5_000: {"password": SECRET}})[1])


def test_nesting_without_end_is_cut() -> None:
    """What lies too deep is not kept, nothing runs out of stack, and the record says so."""
    deep: Any = SECRET
    for _ in range(400):
        deep = {"x": [deep]}
    body, _, problems = redacted({"requestParameters": deep})
    assert SECRET not in canonical_json(body)
    assert any(f"{DEEPEST_LEVEL} levels" in problem for problem in problems)


def test_the_record_s_other_parts_hold_no_secret_either() -> None:
    """The typed parts of a record are read after the redaction."""
    record = make_record("write", requestParameters={"password": SECRET}, responseElements={"sessionToken": SECRET})
    assert record.request == {"password": REDACTED}
    assert SECRET not in repr(record)
    assert record.redacted_paths == ("requestParameters.password", "responseElements.sessionToken")


def test_no_specimen_s_policy_or_name_is_lost() -> None:
    """In the project's own specimens only secrets are redacted: the paths are few and all name one."""
    words = ("token", "secret", "password", "loginto", "redirect", "code", "url")
    for name in all_specimens():
        for envelope in load_specimen(name):
            for path in read_envelope(envelope).redacted_paths:
                last = path.rpartition(".")[2].casefold()
                assert any(word in last for word in words), path
