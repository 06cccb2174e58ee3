"""What a call to AWS needs, and whether a role's statement allows it, as IAM evaluates it.

No engine that runs here knows the condition keys of DynamoDB and EventBridge. So the calls are compared with the
policies of the transformed template by this module: those of the contract runs where botocore makes them, those of the
end-to-end run on the wire.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from tests.template.stack import ACCOUNT, REGION

_POLLER = "Lambda's own poller does this with the function's role, before it invokes the function; moto has none."
_LOGS = "Lambda writes what the function prints, with the function's role; moto has no Lambda here."
_KMS = "SNS does this for the caller when the topic is encrypted (kms:ViaService); moto's topics are not."
LACKING: Final[Mapping[tuple[str, str], str]] = {
    ("DetectTakesRecordsFromTheIntakeQueue", "sqs:ReceiveMessage"): _POLLER,
    ("DetectTakesRecordsFromTheIntakeQueue", "sqs:DeleteMessage"): _POLLER,
    ("DetectTakesRecordsFromTheIntakeQueue", "sqs:GetQueueAttributes"): _POLLER,
    **{
        (f"{who}ReadsTheStreamOfTheTable", f"dynamodb:{action}"): _POLLER
        for who in ("NotifySns", "NotifySlack")
        for action in ("DescribeStream", "GetRecords", "GetShardIterator")
    },
    **{(f"{who}FindsTheStreamOfTheTable", "dynamodb:ListStreams"): _POLLER for who in ("NotifySns", "NotifySlack")},
    **{
        (f"{who}WritesItsOwnLog", f"logs:{action}"): _LOGS
        for who in ("Detect", "NotifySns", "NotifySlack", "Triage", "Watchdog", "Report")
        for action in ("CreateLogStream", "PutLogEvents")
    },
    **{
        (f"{who}EncryptsWhatItPublishes", f"kms:{action}"): _KMS
        for who in ("NotifySns", "Watchdog", "Report")
        for action in ("GenerateDataKey", "Decrypt")
    },
}
"""What no run can ask for, by the statement's Sid and the action, and which behaviour of AWS needs it."""


_BROKEN = "An account's head is broken: `break_head`."
_GONE = "An account's head is gone: `remove_head`."
NOT_END_TO_END: Final[Mapping[tuple[str, str], str]] = {
    ("DetectFindsOpenIncidents", "dynamodb:Query"): _BROKEN,
    ("TriageListsOpenIncidentsOfAnAccount", "dynamodb:Query"): _BROKEN,
    ("TriageReadsTimelinesAndTheEndOfTheChain", "dynamodb:Query"): f"{_BROKEN} And somebody presses for the timeline.",
    ("WatchdogListsOpenIncidents", "dynamodb:Query"): _BROKEN,
    ("WatchdogFindsTheEndOfTheChain", "dynamodb:Query"): _BROKEN,
    ("TriageFindsWhetherAnAccountIsNew", "dynamodb:Query"): _GONE,
    ("WatchdogFindsWhetherAnAccountIsNew", "dynamodb:Query"): _GONE,
    ("NotifySnsReportsWhatItCouldNotDeliver", "sqs:SendMessage"): "A ledger is broken: `spoil`.",
    ("WatchdogCountsAndLeavesDeadLettersOfTheNotifiers", "sqs:SendMessage"): (
        "Slack refuses for good what the watchdog sends again."
    ),
    ("WatchdogPublishesEscalationsAgain", "sns:Publish"): "Nobody answers, and the notifier has not sent the question.",
    ("WatchdogReadsTheNamesOfAccounts", "organizations:DescribeAccount"): "LookUpAccountNames, and an incident ends.",
    ("WatchdogReadsWhichReportsAreKept", "dynamodb:BatchGetItem"): "It is the first of a month, after 09:00 UTC.",
    ("ReportTakesTheRoleOfMembers", "sts:AssumeRole"): "MemberPosture; on the emulator no other account has the role.",
}
"""What the end-to-end run does not ask for, by Sid and action, and the part of the contract run (`_play`) that does."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One permission that a call needs: the IAM action, the resource's ARN, and the partition keys of the items.

    `attributes` are those that a scan asks for or filters by; empty for all of them.
    Of a call of EventBridge the keys are what its conditions look at: the events' sources, or the tags' keys.
    """

    action: str
    resource: str
    keys: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()


Params = Mapping[str, Any]
Ideal = Callable[[str], str]
"""Returns a name as the template's stack has it, for one that an emulator made up."""


def table_arn(name: str, index: str | None = None) -> str:
    """Return the ARN of a table, or of an index of it."""
    return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}" + (f"/index/{index}" if index else "")


def _batch_get(_: Ideal, params: Params) -> list[Asked]:
    return [
        Asked("dynamodb:BatchGetItem", table_arn(name), tuple(key["pk"]["S"] for key in request["Keys"]))
        for name, request in params["RequestItems"].items()
    ]


def _put(_: Ideal, params: Params) -> list[Asked]:
    return [Asked("dynamodb:PutItem", table_arn(params["TableName"]), (params["Item"]["pk"]["S"],))]


def _transact(ideal: Ideal, params: Params) -> list[Asked]:
    # A transaction needs the permission of each of its actions; DynamoDB may test their keys together.
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
    assert all(set(action) == {"Put"} for action in params["TransactItems"])
    puts = [_put(ideal, action["Put"])[0] for action in params["TransactItems"]]
    [table] = {put.resource for put in puts}
    return [Asked("dynamodb:PutItem", table, tuple(key for put in puts for key in put.keys))]


def _query(_: Ideal, params: Params) -> list[Asked]:
    values, condition = params["ExpressionAttributeValues"], params["KeyConditionExpression"]
    name = condition.split("=", 1)[1].split()[0]
    return [Asked("dynamodb:Query", table_arn(params["TableName"], params.get("IndexName")), (values[name]["S"],))]


def _scan(_: Ideal, params: Params) -> list[Asked]:
    named = re.findall(r"[a-z]\w*(?=,|$)", params.get("ProjectionExpression", ""))
    named += re.findall(r"begins_with\((\w+)", params.get("FilterExpression", ""))
    attributes = tuple(sorted({*named}))
    return [Asked("dynamodb:Scan", table_arn(params["TableName"], params.get("IndexName")), attributes=attributes)]


def _of_queue(action: str) -> Callable[[Ideal, Params], list[Asked]]:
    return lambda _, params: [Asked(action, f"arn:aws:sqs:{REGION}:{ACCOUNT}:{params['QueueUrl'].rpartition('/')[2]}")]


NEEDS: Final[Mapping[str, Callable[[Ideal, Params], list[Asked]]]] = {
    "dynamodb:BatchGetItem": _batch_get,
    "dynamodb:PutItem": _put,
    "dynamodb:TransactWriteItems": _transact,
    "dynamodb:Query": _query,
    "dynamodb:Scan": _scan,
    "sqs:SendMessage": _of_queue("sqs:SendMessage"),
    "sqs:GetQueueAttributes": _of_queue("sqs:GetQueueAttributes"),
    "sns:Publish": lambda ideal, params: [Asked("sns:Publish", ideal(params["TopicArn"]))],
    "secretsmanager:GetSecretValue": lambda ideal, params: [
        Asked("secretsmanager:GetSecretValue", ideal(params["SecretId"]))
    ],
    "s3:PutObject": lambda ideal, params: [Asked("s3:PutObject", f"arn-of-{ideal(params['Bucket'])}/{params['Key']}")],
    "iam:GenerateCredentialReport": lambda _, __: [Asked("iam:GenerateCredentialReport", "*")],
    "iam:GetCredentialReport": lambda _, __: [Asked("iam:GetCredentialReport", "*")],
    "iam:GetAccountSummary": lambda _, __: [Asked("iam:GetAccountSummary", "*")],
    "sts:AssumeRole": lambda _, params: [Asked("sts:AssumeRole", params["RoleArn"])],
    "events:PutEvents": lambda _, params: [
        Asked("events:PutEvents", f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default", (entry["Source"],))
        for entry in params["Entries"]
    ],
    "events:TagResource": lambda ideal, params: [
        Asked("events:TagResource", ideal(params["ResourceARN"]), tuple(tag["Key"] for tag in params["Tags"]))
    ],
    "organizations:DescribeAccount": lambda _, params: [
        Asked("organizations:DescribeAccount", f"arn:aws:organizations::{ACCOUNT}:account/o-x/{params['AccountId']}")
    ],
}
"""What each operation needs. A new one that is not here is found by a test: nobody may call AWS unseen."""


def admits(statement: Mapping[str, Any], asked: Asked) -> bool:
    """Return whether a statement of a role allows what a call needs, as IAM evaluates it."""
    if asked.action not in statement["Action"]:
        return False
    if not any(fnmatchcase(asked.resource, pattern) for pattern in statement["Resource"]):
        return False
    return all(
        _holds((operator, key), wanted, asked)
        for operator, conditions in statement.get("Condition", {}).items()
        for key, wanted in conditions.items()
    )


def _holds(condition: tuple[str, str], wanted: Any, asked: Asked) -> bool:
    match condition:
        case ("ForAllValues:StringLike", "dynamodb:LeadingKeys"):
            return all(any(fnmatchcase(each, pattern) for pattern in wanted) for each in asked.keys)
        case ("Null", "dynamodb:LeadingKeys" | "aws:TagKeys") if wanted == "false":
            return bool(asked.keys)
        case ("StringEquals", "events:source") | ("ForAllValues:StringEquals", "aws:TagKeys"):
            return set(asked.keys) <= set(wanted if isinstance(wanted, list) else [wanted])
        case ("ForAllValues:StringEquals", "dynamodb:Attributes"):
            # Without a projection DynamoDB answers with all there is.
            return bool(asked.attributes) and set(asked.attributes) <= set(wanted)
        case ("StringEqualsIfExists", "dynamodb:Select") if wanted == "SPECIFIC_ATTRIBUTES":
            return bool(asked.attributes)
        case ("StringEquals", "kms:ViaService"):
            return False  # no call of our own is one of SNS on our behalf
    raise KeyError(condition)
