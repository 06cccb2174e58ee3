"""The wire of the end-to-end run: what it reads off a request, and that it lets nothing pass unseen."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e import wire
from tests.e2e.wire import Wire, read_call, unused
from tests.template.permissions import LACKING, NOT_END_TO_END
from tests.template.stack import Stack
from tests.template.test_policies import FUNCTIONS, allowed

AUDIT = "rootwatch-audit"
RESOURCES = {"SlackSecret": "arn:secret-of-the-emulator", "ReportBucket": "bucket-of-the-emulator"}


def signed_for(service: str, **headers: str) -> dict[str, str]:
    """The headers of a request to a service."""
    scope = f"AWS4-HMAC-SHA256 Credential=111122223333/20261103/us-east-1/{service}/aws4_request, SignedHeaders=host"
    return {"authorization": scope, **headers}


@pytest.fixture
def listening() -> Iterator[Wire]:
    """A wire for the stack with every parameter left alone."""
    found = Wire()
    found.lead("http://127.0.0.1:1", {})
    found.know(RESOURCES)
    yield found
    found.close()


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "expected"),
    [
        (
            "POST", "/", signed_for("dynamodb", **{"X-Amz-Target": "DynamoDB_20120810.Query"}), b'{"TableName": "t"}',
            ("dynamodb:Query", {"TableName": "t"}),
        ),
        (
            "POST", "/", signed_for("sns"), b"Action=Publish&TopicArn=arn%3Aaws%3Asns",
            ("sns:Publish", {"Action": "Publish", "TopicArn": "arn:aws:sns"}),
        ),
        ("PUT", "/b/usage.csv?x=1", signed_for("s3"), b"", ("s3:PutObject", {"Bucket": "b", "Key": "usage.csv"})),
        ("GET", "/b", signed_for("s3"), b"", ("s3:GET /b", {"Bucket": "b", "Key": ""})),
        ("GET", "/somewhere", {}, b"", ("unsigned:GET /somewhere", {})),
    ],
)  # fmt: skip
def test_what_a_request_asks_for(
    method: str, path: str, headers: dict[str, str], body: bytes, expected: tuple[str, dict[str, Any]]
) -> None:
    """Each of AWS's protocols is read, and what is none of them has a name that no list of operations holds."""
    assert read_call(method, path, headers, body) == expected


def query(key: str) -> tuple[str, dict[str, Any]]:
    """A query of one partition of the audit table."""
    params = {
        "TableName": AUDIT, "KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": {":pk": {"S": key}}
    }  # fmt: skip
    return "dynamodb:Query", params


def test_what_the_role_allows_is_used(listening: Wire) -> None:
    """A call is matched with the role of the function that makes it, and names are those of the template."""
    listening.note("WatchdogFunction", query("COVERAGE"))
    listening.note("NotifySlackFunction", ("secretsmanager:GetSecretValue", {"SecretId": RESOURCES["SlackSecret"]}))
    listening.note("ReportFunction", ("s3:PutObject", {"Bucket": RESOURCES["ReportBucket"], "Key": "root-usage-1.csv"}))

    assert listening.refused == set()
    assert listening.used == {
        ("WatchdogReadsWhichAccountsAreHeard", "dynamodb:Query"),
        ("NotifySlackReadsItsSecret", "secretsmanager:GetSecretValue"),
        ("ReportPutsItsThreeFiles", "s3:PutObject"),
    }


@pytest.mark.parametrize(
    ("function", "call", "words"),
    [
        ("WatchdogFunction", query("CANARY#"), "is not allowed"),
        ("NotifySnsFunction", query("COVERAGE"), "is not allowed"),
        ("ReportFunction", ("s3:PutObject", {"Bucket": RESOURCES["ReportBucket"], "Key": "other"}), "is not allowed"),
        ("DetectFunction", ("dynamodb:DeleteItem", {"TableName": AUDIT}), "nobody knows"),
        ("DetectFunction", ("s3:GET /b", {}), "nobody knows"),
    ],
)
def test_what_the_role_does_not_allow_is_refused(
    listening: Wire, function: str, call: tuple[str, dict[str, Any]], words: str
) -> None:
    """Another key, another function, another object, and an operation that is on no list: each is named."""
    listening.note(function, call)

    [refused] = listening.refused
    assert words in refused
    assert refused.startswith(function)
    assert listening.used == set()


def test_a_permission_that_nothing_used_is_named() -> None:
    """What no call used and no list explains is left over; a new statement in a role would be."""
    stack = Stack(LookUpAccountNames="true", MemberPosture="true", SlackButtons="true")
    there = {
        (str(statement["Sid"]), str(action))
        for function in FUNCTIONS
        for statement in allowed(stack, function)
        for action in wire._list(statement["Action"])
    }
    listed = LACKING.keys() | NOT_END_TO_END.keys()
    one = ("DetectReadsStateAndWritesOneTransaction", "dynamodb:PutItem")

    assert listed <= there
    assert unused(there - listed) == set()
    assert unused(there - listed - {one}) == {one}


def test_each_function_calls_through_its_own_listener(listening: Wire) -> None:
    """In the template that is deployed each function has one more variable, and no two have the same."""
    text = "".join(
        f"  {name}:\n    Properties:\n      Environment:\n        Variables:\n          X: 1\n" for name in FUNCTIONS
    )
    lines = [line.strip() for line in listening.template(f"Resources:\n{text}").splitlines()]
    addresses = [line for line in lines if line.startswith("AWS_ENDPOINT_URL: http://127.0.0.1:")]

    assert len(set(addresses)) == len(addresses) == len(FUNCTIONS)
    assert json.dumps(lines).count("X: 1") == len(FUNCTIONS)
