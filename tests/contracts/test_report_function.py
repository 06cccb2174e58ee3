"""functions/report on moto: what it keeps, whom it tells, and what becomes of it where AWS refuses."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import boto3
import jsonschema
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from functions.report import app
from make import report_schema
from rootwatch import wiring
from rootwatch.audit.dynamodb import DynamoTable
from rootwatch.channels import notice
from rootwatch.errors import DeliveryFailedError, ReportError, SettingsError
from rootwatch.report.posture import read_credential_report
from rootwatch.report.reporter import console_address
from rootwatch.settings import ReportSettings
from rootwatch_cli.slack_receiver import Behaviour, SlackReceiver
from tests.contracts.world import Context
from tests.template.stack import Stack
from tests.unit.report_world import LATER, play
from tests.unit.test_report_model import credential_report

BUCKET = "rootwatch-reports"
TABLE = "rootwatch-audit"
NAMES = [f"root-usage-2026-11.{kind}" for kind in ("csv", "html", "json")]


@dataclass
class Deployed:
    """The function's surroundings."""

    slack: SlackReceiver
    subscriber: str
    session: boto3.Session

    def objects(self) -> list[str]:
        """The names of what is in the bucket."""
        found = self.session.client("s3").list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return [str(each["Key"]) for each in found]

    def read(self, name: str) -> bytes:
        """The content of an object."""
        return self.session.client("s3").get_object(Bucket=BUCKET, Key=name)["Body"].read()

    def told(self) -> list[dict[str, Any]]:
        """What reached the topic's subscriber."""
        received = self.session.client("sqs").receive_message(QueueUrl=self.subscriber, MaxNumberOfMessages=10)
        return [json.loads(json.loads(each["Body"])["Message"]) for each in received.get("Messages", [])]


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    """The function in moto with a filled table, its bucket under Object Lock, a subscriber and a Slack on loopback."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws(), SlackReceiver() as receiver:
        wiring._session.cache_clear()
        wiring.reporter.cache_clear()
        session = wiring._session()
        bucket = Stack().resources["ReportBucket"]["Properties"]
        storage = session.client("s3")
        storage.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=bucket["ObjectLockEnabled"])
        rule = bucket["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]
        storage.put_object_lock_configuration(
            Bucket=BUCKET,
            ObjectLockConfiguration={
                "ObjectLockEnabled": "Enabled",
                "Rule": {"DefaultRetention": {"Mode": rule["Mode"], "Days": int(rule["Days"])}},
            },
        )
        table = Stack().resources["AuditTable"]["Properties"]
        database = session.client("dynamodb")
        database.create_table(
            TableName=TABLE, BillingMode="PAY_PER_REQUEST", KeySchema=table["KeySchema"],
            AttributeDefinitions=table["AttributeDefinitions"], GlobalSecondaryIndexes=table["GlobalSecondaryIndexes"],
        )  # fmt: skip
        play(DynamoTable(database, TABLE))
        topic = session.client("sns").create_topic(Name="rootwatch-alerts")["TopicArn"]
        subscriber = session.client("sqs").create_queue(QueueName="subscriber")["QueueUrl"]
        attributes = session.client("sqs").get_queue_attributes(QueueUrl=subscriber, AttributeNames=["QueueArn"])
        session.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=attributes["Attributes"]["QueueArn"])
        session.client("secretsmanager").create_secret(
            Name="rootwatch-slack", SecretString=json.dumps({"webhook_url": receiver.webhook_url})
        )
        for name, value in {
            "TABLE_NAME": TABLE, "STACK_NAME": "rootwatch", "REPORT_BUCKET": BUCKET, "ALERT_TOPIC_ARN": topic,
            "SLACK_SECRET_ID": "rootwatch-slack", "SLACK_ORIGIN": receiver.origin, "AWS_REGION": "us-east-1",
            "ACCOUNT_NAMES": "111122223333=Production",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(wiring, "_now", lambda: LATER)
        monkeypatch.setattr(
            wiring, "_own_credentials", lambda: read_credential_report(credential_report("2026-11-03T02:14:07+00:00"))
        )
        yield Deployed(receiver, subscriber, session)
    wiring._session.cache_clear()
    wiring.reporter.cache_clear()


def report(event: object = None) -> dict[str, Any]:
    """Run the function as Lambda does."""
    answer: dict[str, Any] = app.handler(event, Context())
    return answer


def test_the_month_before_is_kept_and_told(deployed: Deployed) -> None:
    """On the first of the month three files are in the bucket, locked, and both channels hear of it with links."""
    answer = report({"source": "aws.events"})

    assert answer["month"] == "2026-11"
    assert sorted(deployed.objects()) == NAMES
    content = json.loads(deployed.read("root-usage-2026-11.json"))
    jsonschema.Draft202012Validator(report_schema.schema()).validate(content)
    assert content["statements"][0]["account_name"] == "Production"
    assert content["postures"][0]["uses"][0]["state"] == "recorded"
    head = deployed.session.client("s3").head_object(Bucket=BUCKET, Key="root-usage-2026-11.html")
    assert head["ContentType"] == "text/html; charset=utf-8"
    assert head["ObjectLockMode"] == "COMPLIANCE"
    [told] = deployed.told()
    assert told["headline"].startswith("Root usage in November 2026: 1 use, ")
    link = told["links"][0]["address"]
    assert link == (
        f"https://us-east-1.console.aws.amazon.com/s3/object/{BUCKET}?region=us-east-1&prefix=root-usage-2026-11.html"
    )
    [message] = deployed.slack.wait_for(1, 5)
    assert f"<{link}|Open the report>" in json.dumps(message.payload)
    for name in NAMES:
        of_file = f"{name} {hashlib.sha256(deployed.read(name)).hexdigest()}"
        assert of_file in " ".join(told["paragraphs"])
        assert of_file in json.dumps(message.payload)


def test_a_person_names_the_month(deployed: Deployed) -> None:
    """Invoked with a month, that one is reported; what is none, or has not begun, is an error that says so."""
    assert report({"month": "2026-10"})["month"] == "2026-10"
    assert sorted(deployed.objects()) == [name.replace("-11", "-10") for name in NAMES]
    for month in ("2027-01", "November", 11):
        with pytest.raises(ReportError, match=r"2026-11|2027-01"):
            report({"month": month})


def test_the_same_again_is_the_same(deployed: Deployed) -> None:
    """A repetition keeps the same register, and a version of it."""
    report()
    before = deployed.read(NAMES[0])
    report()

    assert deployed.read(NAMES[0]) == before


@pytest.mark.parametrize("refused", NAMES)
def test_a_bucket_that_refuses_is_an_error_and_nobody_is_told(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """The invocation fails, so that Lambda tries again and the alarm sounds; no page is there without the rest."""
    storage = deployed.session.client("s3")
    put = storage.put_object

    def refusing(**arguments: Any) -> Any:
        if arguments["Key"] == refused:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "PutObject")
        return put(**arguments)

    make_client = deployed.session.client
    monkeypatch.setattr(storage, "put_object", refusing)
    monkeypatch.setattr(
        deployed.session, "client", lambda name, **given: storage if name == "s3" else make_client(name, **given)
    )
    with pytest.raises(DeliveryFailedError, match=r"root-usage-2026-11\.(csv|json|html) \(AccessDenied\)"):
        report()

    assert "root-usage-2026-11.html" not in deployed.objects()
    assert deployed.told() == []
    assert not deployed.slack.wait_for(1, 0.2)
    monkeypatch.undo()


def test_slack_down_does_not_stop_the_rest(deployed: Deployed) -> None:
    """The report is kept and told on the other channel; the invocation fails and is tried again."""
    deployed.slack.answer_with(Behaviour.SERVER_ERROR)
    with pytest.raises(DeliveryFailedError, match="slack"):
        report()

    assert sorted(deployed.objects()) == NAMES
    assert len(deployed.told()) == 1


def test_a_repetition_tells_only_where_it_was_not_told(deployed: Deployed) -> None:
    """Lambda repeats what failed under the same request id: the channel that took the summary hears of it once."""
    deployed.slack.answer_with(Behaviour.SERVER_ERROR)
    with pytest.raises(DeliveryFailedError, match="slack"):
        report()
    deployed.slack.answer_with(Behaviour.ACCEPT)
    before = len(deployed.slack.messages)
    assert len(deployed.told()) == 1

    assert report()["month"] == "2026-11"
    report()
    assert deployed.told() == []
    assert len(deployed.slack.messages) == before + 1


def test_an_event_that_comes_twice_is_told_once(deployed: Deployed) -> None:
    """EventBridge may hand over one event twice, as two invocations; a person's own invocation is told again."""
    event = {"id": "one", "detail-type": "Scheduled Event", "source": "aws.events"}
    for request_id in ("first", "second"):
        app.handler(event, replace(Context(), aws_request_id=request_id))
    assert len(deployed.told()) == 1
    app.handler({"month": "2026-11"}, replace(Context(), aws_request_id="third"))
    assert len(deployed.told()) == 1


def test_a_receipt_that_somebody_changed_hides_nothing(deployed: Deployed) -> None:
    """Where nobody can tell who was told, everybody is."""
    report()
    table = deployed.session.client("dynamodb")
    item = table.get_item(TableName=TABLE, Key={"pk": {"S": "REPORT"}, "sk": {"S": "2026-11"}})["Item"]
    table.put_item(TableName=TABLE, Item={**item, "told": {"S": "everybody"}})
    report()
    assert len(deployed.told()) == 2


def test_without_the_credential_report_the_report_says_so(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    """IAM's refusal is an exception on the first page, and no failure."""

    def refused() -> Any:
        raise ReportError("not read: IAM did not give the credential report (AccessDenied)")

    monkeypatch.setattr(wiring, "_own_credentials", refused)
    wiring.reporter.cache_clear()

    assert report()["exceptions"]["posture_not_read"] == 1
    assert b"AccessDenied" in deployed.read("root-usage-2026-11.html")


def test_iam_s_own_answers_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The report is waited for while IAM makes it; IAM's errors are named by their code."""
    states = iter(["STARTED", "INPROGRESS", "COMPLETE"])
    waited: list[float] = []

    class Iam:
        """IAM as boto3 has it."""

        def generate_credential_report(self) -> dict[str, str]:
            """Say how far it is."""
            return {"State": next(states)}

        def get_credential_report(self) -> dict[str, bytes]:
            """Give the report."""
            return {"Content": credential_report().encode()}

        def get_account_summary(self) -> dict[str, dict[str, int]]:
            """Say that root has a password."""
            return {"SummaryMap": {"AccountPasswordPresent": 1}}

    class Session:
        """A session that knows IAM."""

        def client(self, _name: str, **_given: object) -> Iam:
            """Make the client."""
            return Iam()

    monkeypatch.setattr(wiring, "_session", Session)
    monkeypatch.setattr("rootwatch.wiring.time.sleep", waited.append)

    own = wiring._own_credentials()
    assert (own.account_id, own.password) == ("111122223333", True)
    assert len(waited) == 2
    monkeypatch.setattr(Iam, "get_credential_report", lambda _self: _refuse())
    states = iter(["COMPLETE"])
    with pytest.raises(ReportError, match="CredentialReportNotPresent"):
        wiring._own_credentials()


def _refuse() -> Any:
    raise ClientError({"Error": {"Code": "CredentialReportNotPresent", "Message": "no"}}, "GetCredentialReport")


@pytest.mark.parametrize(
    ("arn", "region", "console"),
    [
        ("arn:aws:sns:eu-west-1:1:t", "eu-west-1", "https://eu-west-1.console.aws.amazon.com/s3/object/b?"),
        ("arn:aws-cn:sns:cn-north-1:1:t", "cn-north-1", "https://console.amazonaws.cn/s3/object/b?"),
        ("arn:aws-us-gov:sns:us-gov-west-1:1:t", "us-gov-west-1", "https://console.amazonaws-us-gov.com/s3/object/b?"),
    ],
)
def test_links_lead_to_the_partition_s_console(arn: str, region: str, console: str) -> None:
    """Each partition has a console of its own; what is in the address is encoded."""
    assert console_address(arn, region, "b", "a b&c").startswith(console)
    assert console_address(arn, region, "b", "a b&c").endswith("&prefix=a%20b%26c")


def test_links_of_a_notice_are_never_wrapped() -> None:
    """A long address stays on one line of the mail, and is the only markup on Slack."""
    address = f"https://us-east-1.console.aws.amazon.com/s3/object/{'x' * 60}?region=us-east-1&prefix=root-usage.html"
    made = notice.make_notice(
        "<h>", ["a <b>"], datetime(2026, 12, 1, tzinfo=UTC), urgent=False, links=[("Open", address)]
    )

    assert f"\nOpen:\n{address}\n" in json.loads(notice.sns_arguments(made, "arn")["Message"])["email"]
    marked = [b["text"] for b in notice.slack_payload(made)["blocks"] if b.get("text", {}).get("type") == "mrkdwn"]
    assert marked == [{"type": "mrkdwn", "text": f"<{address}|Open>"}]


def test_the_settings_say_what_is_missing() -> None:
    """Without a bucket the function says which variable is missing."""
    with pytest.raises(SettingsError, match="REPORT_BUCKET"):
        ReportSettings.from_environment({"TABLE_NAME": "t", "STACK_NAME": "s"})
