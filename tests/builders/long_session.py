"""One long session of root, as long ones are: 656 records within 34 hours, of which 633 are reads in 13 regions.

Beside the reads there are three sign-ins (the last one from elsewhere, without MFA), one failed sign-in, changes of
trails, roles made, and a few other acts. The shape is that of a session that was published; every record is our own.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tests.builders.records import build_record

LENGTH: Final = timedelta(hours=34)
READS: Final = 633
REGIONS: Final = (
    "us-east-1", "us-east-2", "us-west-1", "us-west-2", "eu-central-1", "eu-west-1", "eu-west-2", "eu-north-1",
    "ap-southeast-1", "ap-southeast-2", "ap-northeast-1", "ca-central-1", "sa-east-1",
)  # fmt: skip

OFFICE: Final = "198.51.100.24"
HOME: Final = "198.51.100.77"
INTRUDER: Final = "203.0.113.66"

_BEGINS: Final = datetime(2026, 11, 3, 9, 0, tzinfo=UTC)
_LOOKED_AT: Final = (
    ("ec2", "DescribeInstances"), ("ec2", "DescribeVpcs"), ("ec2", "DescribeSecurityGroups"), ("s3", "ListBuckets"),
    ("cloudtrail", "DescribeTrails"), ("cloudtrail", "GetTrailStatus"), ("iam", "ListRoles"), ("iam", "GetRole"),
    ("rds", "DescribeDBInstances"), ("lambda", "ListFunctions20150331"), ("monitoring", "DescribeAlarms"),
    ("kms", "ListKeys"), ("config", "DescribeConfigurationRecorders"),
)  # fmt: skip
_WORK: Final = (
    # first and last minute of the session in which root looks around, from where
    (0, 400, OFFICE), (1_500, 1_690, HOME), (1_905, 2_039, INTRUDER),
)  # fmt: skip
_SIGN_INS: Final = ((0, OFFICE, "Yes"), (1_499, HOME, "Yes"), (1_904, INTRUDER, "No"))
_FAILED_SIGN_IN: Final = (1_497, HOME)
_READ_ONLY: Final = "arn:aws:iam::aws:policy/ReadOnlyAccess"
_TRAIL, _ROLES = {"name": "organisation"}, ("deployment", "backup", "audit")
_ACTS: Final[tuple[tuple[int, str, str, dict[str, Any]], ...]] = (
    (20, "cloudtrail", "UpdateTrail", _TRAIL | {"isMultiRegionTrail": True}),
    (21, "cloudtrail", "PutEventSelectors", {"trailName": "organisation"}),
    (60, "cloudtrail", "CreateTrail", {"name": "second", "s3BucketName": "example-records"}),
    (61, "cloudtrail", "StartLogging", {"name": "second"}),
    *((310 + 2 * number, "iam", "CreateRole", {"roleName": role}) for number, role in enumerate(_ROLES)),
    *((311 + 2 * number, "iam", "AttachRolePolicy",
       {"roleName": role, "policyArn": _READ_ONLY})
      for number, role in enumerate(_ROLES)),
    (350, "s3", "CreateBucket", {"bucketName": "example-records"}),
    (355, "ec2", "CreateTags", {"resourcesSet": {"items": [{"resourceId": "vpc-0example"}]}}),
    (390, "cloudtrail", "PutEventSelectors", {"trailName": "organisation"}),
    (1_510, "cloudtrail", "UpdateTrail", _TRAIL | {"isMultiRegionTrail": True}),
    (1_520, "iam", "CreateRole", {"roleName": "reporting"}),
    (1_521, "iam", "AttachRolePolicy", {"roleName": "reporting", "policyArn": _READ_ONLY}),
    (1_600, "ec2", "CreateTags", {"resourcesSet": {"items": [{"resourceId": "vpc-0example"}]}}),
    (1_910, "cloudtrail", "StopLogging", _TRAIL),
    (2_010, "cloudtrail", "StartLogging", _TRAIL),
)  # fmt: skip


def long_session(account_id: str = "111122223333") -> list[dict[str, Any]]:
    """The 656 records of the session in one account, by event time; the same at every call."""
    records = [*_sign_ins(account_id), *_acts(account_id), *_reads(account_id)]
    return sorted(records, key=lambda record: str(record["eventTime"]))


def _sign_ins(account_id: str) -> Iterator[dict[str, Any]]:
    for minute, address, mfa in _SIGN_INS:
        specimen = "console_login" if mfa == "Yes" else "console_login_without_mfa"
        yield _record(specimen, account_id, minute * 60, address)
    minute, address = _FAILED_SIGN_IN
    yield _record("console_login_failed", account_id, minute * 60, address)


def _acts(account_id: str) -> Iterator[dict[str, Any]]:
    for minute, service, name, request in _ACTS:
        stated: dict[str, Any] = {
            "eventName": name,
            "eventSource": f"{service}.amazonaws.com",
            "requestParameters": request,
            "responseElements": None,
            "awsRegion": "us-east-1" if service == "iam" else "eu-central-1",
        }
        yield _record("write", account_id, minute * 60 + 30, _address(minute), **stated, **_session(minute))


def _reads(account_id: str) -> Iterator[dict[str, Any]]:
    minutes = sum(last - first for first, last, _ in _WORK)
    for number in range(READS):
        second = number * minutes * 60 // READS
        for first, last, _ in _WORK:
            if second < (last - first) * 60:
                second += first * 60 + 5
                break
            second -= (last - first) * 60
        service, name = _LOOKED_AT[number % len(_LOOKED_AT)]
        stated: dict[str, Any] = {
            "eventName": name,
            "eventSource": f"{service}.amazonaws.com",
            "awsRegion": REGIONS[number * 7 // len(_LOOKED_AT) % len(REGIONS)],
        }
        minute = second // 60
        yield _record("read", account_id, second, _address(minute), number, **stated, **_session(minute))


def _address(minute: int) -> str:
    return next(address for _, last, address in _WORK if minute <= last)


def _session(minute: int) -> dict[str, Any]:
    """The session that the last sign-in before a minute began."""
    began, _, mfa = max(entry for entry in _SIGN_INS if entry[0] <= minute)
    attributes = "userIdentity.sessionContext.attributes"
    return {
        f"{attributes}.creationDate": _time(began * 60),
        f"{attributes}.mfaAuthenticated": "true" if mfa == "Yes" else "false",
        "userIdentity.accessKeyId": f"ASIAEXAMPLE{began:09}",
    }


def _record(
    specimen: str, account_id: str, second: int, address: str, number: int = 0, **changes: Any
) -> dict[str, Any]:
    account: dict[str, Any] = {
        "recipientAccountId": account_id,
        "userIdentity.accountId": account_id,
        "userIdentity.arn": f"arn:aws:iam::{account_id}:root",
        "userIdentity.principalId": account_id,
    }
    stated: dict[str, Any] = {"eventTime": _time(second), "sourceIPAddress": address}
    if specimen != "console_login_failed":
        stated["userAgent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
    return build_record(specimen, number=number, **account, **stated, **changes)


def _time(second: int) -> str:
    return f"{_BEGINS + timedelta(seconds=second):%Y-%m-%dT%H:%M:%SZ}"
