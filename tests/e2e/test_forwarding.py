"""Two accounts in two regions that forward to one hub, on the emulator, and what the hub makes of their silence.

The emulator carries nothing from one region or account to another. So a queue stands beside the hub's bus as a second
target of the rule that forwards, and the test carries what it holds to the hub's intake queue, where the hub's rule
would put it. What the emulator has of the hub's bus and rule is tested by itself.
"""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from rootwatch.audit.items import moment_text
from rootwatch.coverage import Place
from rootwatch_cli.demo import Stage
from rootwatch_cli.local_stack import ACCOUNT_ID, REGION
from rootwatch_cli.project import FORWARD_TEMPLATE
from tests.builders import build_envelope
from tests.e2e.test_commands import run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PLACES = (("888811118888", "eu-west-1"), ("888822228888", "us-west-2"))
PATIENCE = 60.0


class Forwarder:
    """The forwarding stack in one region of one account, with a queue beside the hub's bus."""

    def __init__(self, stage: Stage, account_id: str, region: str) -> None:
        """Deploy template-forward.yaml there."""
        self.stage, self.account_id, self.region = stage, account_id, region
        parameters = {
            "HubBusArn": stage.deployment.outputs["ForwardedBusArn"],
            "RecordReadOnlyEvents": "false",  # the emulator's rules know no other state than ENABLED
        }
        cloudformation = self.client("cloudformation")
        cloudformation.create_stack(
            StackName="rootwatch-forward",
            TemplateBody=FORWARD_TEMPLATE.read_text(),
            Capabilities=["CAPABILITY_NAMED_IAM"],
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        )
        cloudformation.get_waiter("stack_create_complete").wait(
            StackName="rootwatch-forward", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
        queues = self.client("sqs")
        self.carrier = queues.create_queue(QueueName="carrier")["QueueUrl"]
        arn = queues.get_queue_attributes(QueueUrl=self.carrier, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        self.client("events").put_targets(Rule="rootwatch-forward-root", Targets=[{"Id": "carrier", "Arn": arn}])

    def client(self, service: str) -> Any:
        """A client in this account and region: the emulator takes an account's number for its key."""
        make: Any = boto3.client
        return make(
            service,
            endpoint_url=self.stage.stack.endpoint_url,
            region_name=self.region,
            aws_access_key_id=self.account_id,
            aws_secret_access_key="local",
        )

    def beat(self) -> None:
        """Do what the schedule does: put its own entry on the default bus, filled in as the Scheduler fills it in."""
        schedule = self.client("scheduler").get_schedule(Name="rootwatch-forward-heartbeat")
        text = schedule["Target"]["Input"].replace("<aws.scheduler.execution-id>", "one")
        text = text.replace("<aws.scheduler.scheduled-time>", f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
        answer = self.client("events").put_events(Entries=json.loads(text)["Entries"])
        assert answer["FailedEntryCount"] == 0

    def carry(self, patience: float = PATIENCE) -> list[dict[str, Any]]:
        """Carry what the rule let through to the hub's intake queue, and return it."""
        queues, hub = self.client("sqs"), self.stage.stack.client("sqs")
        carried: list[dict[str, Any]] = []
        deadline = time.monotonic() + patience
        while not carried and time.monotonic() < deadline:
            for message in queues.receive_message(QueueUrl=self.carrier, WaitTimeSeconds=1).get("Messages", []):
                hub.send_message(QueueUrl=self.stage.deployment.outputs["IntakeQueueUrl"], MessageBody=message["Body"])
                queues.delete_message(QueueUrl=self.carrier, ReceiptHandle=message["ReceiptHandle"])
                carried.append(json.loads(message["Body"]))
        return carried


def eventually(look: Callable[[], Any], enough: Callable[[Any], object]) -> Any:
    """Look until it is enough, and return what was seen last."""
    deadline = time.monotonic() + PATIENCE
    while not enough(seen := look()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return seen


def heard(stage: Stage, account_id: str, region: str) -> Place | None:
    """What the hub knows of an account in a region."""
    return stage.store().place(account_id, region)


def change(stage: Stage, pk: str, sk: str, **values: Any) -> None:
    """Change an item of the table, as time would: a function's clock cannot be moved on."""
    table = stage.stack.client("dynamodb")
    [item] = [each for each in stage.items() if (each["pk"]["S"], each["sk"]["S"]) == (pk, sk)]
    table.put_item(TableName=stage.deployment.outputs["AuditTableName"], Item={**item, **values})


def test_two_accounts_in_two_regions_forward_to_one_hub(stage: Stage) -> None:
    """Heartbeats of two accounts pass their own rules and make both known. One rule is switched off: its account's next
    heartbeat does not pass, people hear who is silent and nobody else, and hear when it is over.
    """
    forwarders = [Forwarder(stage, account_id, region) for account_id, region in PLACES]
    for forwarder in forwarders:
        forwarder.beat()
        [envelope] = forwarder.carry()
        assert (envelope["account"], envelope["region"]) == (forwarder.account_id, forwarder.region)
    for place in PLACES:
        known = eventually(lambda place=place: heard(stage, *place), bool)  # type: ignore[misc] # bound for the loop
        assert known is not None
        assert known.heartbeat_at is not None

    sign_in = build_envelope("console_login", recipientAccountId=PLACES[0][0]) | {"region": PLACES[0][1]}
    stage.stack.client("sqs").send_message(
        QueueUrl=stage.deployment.outputs["IntakeQueueUrl"], MessageBody=json.dumps(sign_in)
    )
    known = eventually(lambda: heard(stage, *PLACES[0]), lambda place: place is not None and place.record_at)
    assert known.record_at is not None

    (account_id, _), (other, _) = PLACES
    silent, going_on = forwarders
    silent.client("events").disable_rule(Name="rootwatch-forward-root")
    three_hours_pass(stage)
    silent.beat()
    going_on.beat()
    assert len(going_on.carry()) == 1
    assert silent.carry(patience=3) == []
    eventually(lambda: heard(stage, *PLACES[1]), lambda place: is_heard(place, now=datetime.now(UTC)))
    look_again(stage)

    def told(words: str) -> list[str]:
        texts = [each.payload["text"] for each in stage.slack.messages]
        return [text for text in texts if words in text and (account_id in text or other in text)]

    assert eventually(lambda: told("not heard for two hours"), bool)
    assert not [text for text in told("not heard for two hours") if other in text]
    answer = run(stage, "coverage", "--json")
    states = {
        (line["account_id"], line["region"]): line["state"] for line in map(json.loads, answer.stdout.splitlines())
    }
    assert answer.returncode == 1
    assert (states[PLACES[0]], states[PLACES[1]]) == ("quiet", "heard")

    silent.client("events").enable_rule(Name="rootwatch-forward-root")
    silent.beat()
    assert len(silent.carry()) == 1
    eventually(lambda: heard(stage, *PLACES[0]), lambda place: is_heard(place, now=datetime.now(UTC)))
    look_again(stage)
    assert eventually(lambda: told("not quiet any more"), bool)


def three_hours_pass(stage: Stage) -> None:
    """Let three hours pass since both were heard."""
    for account_id, region in PLACES:
        for name in ("heartbeat_at", "scheduled_at"):
            place = heard(stage, account_id, region)
            assert place is not None
            earlier = moment_text(getattr(place, name) - timedelta(hours=3))
            change(stage, "COVERAGE", f"{account_id}#{region}", **{name: {"S": earlier}})


def is_heard(place: Place | None, now: datetime) -> bool:
    """Whether somebody was heard within the last minutes."""
    return place is not None and now - place.last_heartbeat < timedelta(minutes=30)


def look_again(stage: Stage) -> None:
    """Let the watchdog look at all places now, and not only every ten minutes."""
    stage.run_watchdog()
    change(stage, "WATCHDOG", "PROOF", looked_at={"NULL": True})
    stage.run_watchdog()


def test_the_hub_s_bus_leads_to_detect(stage: Stage) -> None:
    """A heartbeat on the hub's bus passes the hub's rule and is heard; the same on its default bus is not."""
    events = stage.stack.client("events")

    def put(bus: str, at: datetime) -> None:
        detail = {"eventName": "RootwatchHeartbeat", "scheduledTime": f"{at:%Y-%m-%dT%H:%M:%SZ}", "executionId": "e"}
        entry = {"Source": "rootwatch.heartbeat", "DetailType": "x", "Detail": json.dumps(detail), "EventBusName": bus}
        assert events.put_events(Entries=[entry])["FailedEntryCount"] == 0

    now = datetime.now(UTC).replace(microsecond=0)
    put("default", now)
    put("rootwatch-forwarded", now - timedelta(minutes=1))
    place = eventually(lambda: heard(stage, ACCOUNT_ID, REGION), lambda found: found is not None and found.heartbeat_at)

    assert place is not None
    assert place.scheduled_at == now - timedelta(minutes=1)


def test_a_canary_takes_the_whole_way_by_itself(stage: Stage) -> None:
    """The deployed watchdog's canary passes rule, queue, detect, table, stream and both notifiers; nobody sees it."""
    stage.run_watchdog()

    def proven() -> list[str]:
        return [
            item["state"]["S"]
            for item in stage.items()
            if item["pk"]["S"] == "CANARY"
            and item["sk"]["S"].startswith("DELIVERY#")
            and item["state"]["S"] != "pending"
        ]

    assert set(eventually(proven, lambda states: len(states) >= 2)) == {"sent"}
    assert not [each for each in stage.slack.messages if "canary" in str(each.payload).casefold()]
    [tag] = stage.stack.client("events").list_tags_for_resource(
        ResourceARN=f"arn:aws:events:{REGION}:{ACCOUNT_ID}:rule/rootwatch-root"
    )["Tags"]
    assert tag["Key"] == "rootwatch-heartbeat"


def test_a_test_alert_arrives(stage: Stage) -> None:
    """The command's test alert arrives on Slack, says that it is a test, and its ledgers say sent on both channels."""
    answer = run(stage, "test-alert")

    assert answer.returncode == 0, answer.stdout
    assert "slack: sent" in answer.stdout
    assert "sns: sent" in answer.stdout
    assert [each for each in stage.slack.messages if "TEST of Rootwatch" in each.payload["text"]]


def test_forwarders_are_deployed_by_the_command(stage: Stage) -> None:
    """The command makes the stack in another region of the hub's account, and finds it unchanged the next time."""
    first = run(stage, "deploy-forwarders", "--json", "--regions", f"{REGION},eu-central-1")
    again = run(stage, "deploy-forwarders", "--json", "--dry-run", "--regions", "eu-central-1")

    assert first.returncode == 0, first.stderr
    assert [json.loads(line)["result"] for line in first.stdout.splitlines()] == ["done", "skip"]
    assert json.loads(again.stdout)["result"] == "update"
