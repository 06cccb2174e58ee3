"""What breaks a deployed stack, one thing after the other: doctor finds it, the other rule tells it, redrive mends it.

The stage is this module's own, since everything here breaks it for others.
"""

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from rootwatch_cli.demo import REPLAY_SOURCE, STACK_NAME, Stage
from rootwatch_cli.deployed import Where
from rootwatch_cli.doctor.checks import examine
from rootwatch_cli.doctor.checks.verdict import Finding, State
from rootwatch_cli.doctor.look import look_at
from rootwatch_cli.local_stack import ACCOUNT_ID, REGION, LocalStackError
from rootwatch_cli.slack_receiver import Behaviour
from rootwatch_cli.specimen import load_specimen
from tests.builders import build_record
from tests.e2e.test_commands import run
from tests.e2e.test_whole_way import _at_least, eventually, of_account, slack_texts
from tests.e2e.wire import recorded_stage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

TRAIL = "management-events"
RULE, TAMPER = f"{STACK_NAME}-root", f"{STACK_NAME}-tamper"
KNOWN = {
    # What the emulator's stage is, or has not: it is in the account that it watches, needs ENABLED and a replay source.
    "region": State.WARNING,
    "watched-account": State.WARNING,
    "reads-recorded": State.WARNING,
    "replay-source": State.WARNING,
    # Both are waited for in the first two hours; the emulator has no CloudTrail, so the heartbeat never comes.
    "canary": State.NOT_CHECKED,
    "heartbeat": State.NOT_CHECKED,
}
"""What is found in a sound stack of the emulator; nothing of it is a fault."""


@dataclass
class Patient:
    """The stack, and what it takes to plant a fault in it and to take it out again."""

    stage: Stage

    def client(self, service: str) -> Any:
        """A client of the emulator."""
        return self.stage.stack.client(service)

    def resource(self, logical_id: str) -> str:
        """The physical id of a resource of the stack."""
        return self.stage.deployment.resources[logical_id]

    def examined(self) -> list[Finding]:
        """What doctor finds."""
        return examine(look_at(Where(endpoint_url=self.stage.stack.endpoint_url, region=REGION)))

    def attributes(self, queue: str) -> dict[str, str]:
        """A queue's attributes."""
        url = self.resource(queue)
        found: dict[str, str] = self.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])[
            "Attributes"
        ]
        return found

    def set_queue(self, queue: str, **attributes: str) -> None:
        """Change a queue's attributes."""
        self.client("sqs").set_queue_attributes(QueueUrl=self.resource(queue), Attributes=attributes)


Change = Callable[[Patient], Any]


@dataclass(frozen=True)
class Planted:
    """A fault: the check that has to find it, a word it has to say, how it is planted, and how it is taken out again.

    What `plant` returns is handed to `mend`. `also` is a check that finds it, too; what would hide another fault is
    planted in another round.
    """

    check: str
    word: str
    plant: Change
    mend: Callable[[Patient, Any], Any]
    round: int = 1
    also: str | None = None


def _narrow(patient: Patient) -> str:
    pattern = str(patient.client("events").describe_rule(Name=RULE)["EventPattern"])
    narrowed = json.dumps(json.loads(pattern) | {"source": ["aws.s3"]})
    patient.client("events").put_rule(Name=RULE, EventPattern=narrowed, State="ENABLED")
    return pattern


def _take_targets(patient: Patient) -> list[Any]:
    events = patient.client("events")
    targets: list[Any] = events.list_targets_by_rule(Rule=TAMPER)["Targets"]
    events.remove_targets(Rule=TAMPER, Ids=["operations"])
    return targets


def _select(patient: Patient, kind: str) -> None:
    selector = {"ReadWriteType": kind, "IncludeManagementEvents": True}
    patient.client("cloudtrail").put_event_selectors(TrailName=TRAIL, EventSelectors=[selector])


def _shut_queue(patient: Patient) -> str:
    policy = patient.attributes("IntakeQueue")["Policy"]
    patient.set_queue("IntakeQueue", Policy="")
    return policy


def _switch_mapping(patient: Patient, *, enabled: bool) -> None:
    uuid = patient.resource("DetectFunctionIntake")
    patient.client("lambda").update_event_source_mapping(UUID=uuid, Enabled=enabled)


def _shut_key(patient: Patient) -> str:
    keys, key = patient.client("kms"), patient.resource("RootwatchKey")
    policy = str(keys.get_key_policy(KeyId=key, PolicyName="default")["Policy"])
    document = json.loads(policy)
    document["Statement"] = [each for each in document["Statement"] if "events." not in str(each["Principal"])]
    keys.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(document))
    return policy


def _put_key_policy(patient: Patient, policy: str) -> None:
    patient.client("kms").put_key_policy(KeyId=patient.resource("RootwatchKey"), PolicyName="default", Policy=policy)


def _unsubscribe(patient: Patient) -> list[Any]:
    topics = patient.client("sns")
    found: list[Any] = topics.list_subscriptions_by_topic(TopicArn=patient.resource("AlertTopic"))["Subscriptions"]
    for each in found:
        topics.unsubscribe(SubscriptionArn=each["SubscriptionArn"])
    return found


def _subscribe(patient: Patient, subscriptions: list[Any]) -> None:
    for each in subscriptions:
        patient.client("sns").subscribe(TopicArn=each["TopicArn"], Protocol=each["Protocol"], Endpoint=each["Endpoint"])


def _set_topic_key(patient: Patient, topic: str, key: str) -> None:
    patient.client("sns").set_topic_attributes(
        TopicArn=patient.resource(topic), AttributeName="KmsMasterKeyId", AttributeValue=key
    )


def _protect_table(patient: Patient, *, on: bool) -> None:
    patient.client("dynamodb").update_table(TableName=patient.resource("AuditTable"), DeletionProtectionEnabled=on)


def _recover_table(patient: Patient, *, on: bool) -> None:
    patient.client("dynamodb").update_continuous_backups(
        TableName=patient.resource("AuditTable"),
        PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": on},
    )


def _leave_letter(patient: Patient) -> None:
    patient.client("sqs").send_message(QueueUrl=patient.resource("RuleDeadLetterQueue"), MessageBody="{}")


def _store_secret(patient: Patient, text: str) -> None:
    patient.client("secretsmanager").put_secret_value(SecretId=f"{STACK_NAME}-slack", SecretString=text)


FAULTS = {
    "the root rule lets through S3 alone": Planted(
        "rule-pattern", "pattern", _narrow,
        lambda patient, pattern: patient.client("events").put_rule(Name=RULE, EventPattern=pattern, State="ENABLED"),
        also="rule-matches",
    ),
    "the root rule is disabled": Planted(
        "rule-state", "switched off",
        lambda patient: patient.client("events").disable_rule(Name=RULE),
        lambda patient, _: patient.client("events").enable_rule(Name=RULE),
    ),
    "the tamper rule has lost its way to people": Planted(
        "rule-targets", "lost its target", _take_targets,
        lambda patient, targets: patient.client("events").put_targets(Rule=TAMPER, Targets=targets),
    ),
    "the hub's bus is open to everybody": Planted(
        "bus-policy", "open to everybody",
        lambda patient: patient.client("events").put_permission(
            EventBusName=f"{STACK_NAME}-forwarded", Action="events:PutEvents", Principal="*", StatementId="everybody"
        ),
        lambda patient, _: patient.client("events").remove_permission(
            EventBusName=f"{STACK_NAME}-forwarded", StatementId="everybody"
        ),
    ),
    "the trail is stopped": Planted(
        "trail", "stopped",
        lambda patient: patient.client("cloudtrail").stop_logging(Name=TRAIL),
        lambda patient, _: patient.client("cloudtrail").start_logging(Name=TRAIL),
        round=2,
    ),
    "the trail logs no management events": Planted(
        "trail-events", "write",
        lambda patient: patient.client("cloudtrail").put_event_selectors(
            TrailName=TRAIL, EventSelectors=[{"ReadWriteType": "All", "IncludeManagementEvents": False}]
        ),
        lambda patient, _: _select(patient, "All"),
    ),
    "the intake queue does not admit EventBridge": Planted(
        "queue-policy", "no longer says", _shut_queue,
        lambda patient, policy: patient.set_queue("IntakeQueue", Policy=policy),
    ),
    "detect is not handed anything": Planted(
        "mapping", "handed nothing",
        lambda patient: _switch_mapping(patient, enabled=False),
        lambda patient, _: _switch_mapping(patient, enabled=True),
    ),
    "notify_slack may not run": Planted(
        "function-concurrency", "switched off",
        lambda patient: patient.client("lambda").put_function_concurrency(
            FunctionName=f"{STACK_NAME}-notify-slack", ReservedConcurrentExecutions=0
        ),
        lambda patient, _: patient.client("lambda").delete_function_concurrency(
            FunctionName=f"{STACK_NAME}-notify-slack"
        ),
    ),
    "the key does not admit EventBridge": Planted("key-policy", "silently", _shut_key, _put_key_policy),
    "the topic is under the AWS-managed key": Planted(
        "topic-key", "AWS-managed",
        lambda patient: _set_topic_key(patient, "OperationsTopic", "alias/aws/sns"),
        lambda patient, _: _set_topic_key(patient, "OperationsTopic", patient.resource("RootwatchKey")),
    ),
    "nobody is subscribed": Planted("topic-subscription", "nobody", _unsubscribe, _subscribe),
    "Slack's webhook was removed": Planted(
        "slack", "removed",
        lambda patient: patient.stage.slack.answer_with(Behaviour.NO_SERVICE),
        lambda patient, _: patient.stage.slack.answer_with(Behaviour.ACCEPT),
    ),
    "Slack's secret is no JSON": Planted(
        "slack-secret", "not JSON",
        lambda patient: _store_secret(patient, "https://hooks.slack.com/services/secret"),
        lambda patient, _: _store_secret(patient, json.dumps({"webhook_url": patient.stage.slack.webhook_url})),
        round=2,
    ),
    "an alarm tells nobody": Planted(
        "alarm", "actions are switched off",
        lambda patient: patient.client("cloudwatch").disable_alarm_actions(AlarmNames=[f"{STACK_NAME}-detect-errors"]),
        lambda patient, _: patient.client("cloudwatch").enable_alarm_actions(
            AlarmNames=[f"{STACK_NAME}-detect-errors"]
        ),
    ),
    "the table can be deleted": Planted(
        "table", "deletion protection",
        lambda patient: _protect_table(patient, on=False), lambda patient, _: _protect_table(patient, on=True),
    ),
    "the table cannot be restored": Planted(
        "table-recovery", "recovery",
        lambda patient: _recover_table(patient, on=False), lambda patient, _: _recover_table(patient, on=True),
    ),
    "a dead letter lies there": Planted(
        "dead-letters", "1 message lies", _leave_letter,
        lambda patient, _: patient.client("sqs").purge_queue(QueueUrl=patient.resource("RuleDeadLetterQueue")),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def patient() -> Iterator[Patient]:
    """A sound stack: with a trail, and with what the emulator does not apply from the template."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", ACCOUNT_ID)
        patch.setenv("AWS_SECRET_ACCESS_KEY", "local")
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        try:
            with recorded_stage() as stage:
                found = Patient(stage)
                trails = found.client("cloudtrail")
                found.client("s3").create_bucket(Bucket="logs")
                trails.create_trail(Name=TRAIL, S3BucketName="logs", IsMultiRegionTrail=True)
                trails.start_logging(Name=TRAIL)
                for topic in ("AlertTopic", "EscalationTopic", "OperationsTopic"):
                    _set_topic_key(found, topic, found.resource("RootwatchKey"))
                _recover_table(found, on=True)
                found.client("cloudformation").update_termination_protection(
                    StackName=STACK_NAME, EnableTerminationProtection=True
                )
                stage.run_watchdog()  # from now on canary and heartbeat are waited for
                yield found
        except LocalStackError as error:
            pytest.fail(f"{error}\n{error.detail}")


def not_well(findings: list[Finding]) -> set[tuple[str, str, State]]:
    """What was found that is not well, without what a sound stack of the emulator has."""
    return {
        (finding.check, finding.subject, finding.state)
        for finding in findings
        if finding.state is not State.OK and KNOWN.get(finding.check) is not finding.state
    }


@pytest.fixture(autouse=True)
def no_dead_letters(patient: Patient) -> None:
    """No test meets the dead letters that another one caused, in whatever order they run."""
    for name in ("IntakeDeadLetterQueue", "RuleDeadLetterQueue", "NotifyDeadLetterQueue"):
        patient.client("sqs").purge_queue(QueueUrl=patient.resource(name))


def test_each_planted_fault_is_found_and_nothing_in_a_sound_stack(patient: Patient) -> None:
    """A sound stack has no fault; each planted one is found by its check, and nothing else is; then all is well."""
    assert not_well(patient.examined()) == set()
    posted = patient.stage.slack.messages
    for number in sorted({fault.round for fault in FAULTS.values()}):
        faults = {name: fault for name, fault in FAULTS.items() if fault.round == number}
        planted = {name: fault.plant(patient) for name, fault in faults.items()}
        found = [each for each in patient.examined() if each.state is State.FAULT]
        for name, fault in faults.items():
            told = [each for each in found if each.check == fault.check and fault.word in each.what]
            assert told, (name, found)
            assert all(each.mend for each in told), name
        expected = {check for fault in faults.values() for check in (fault.check, fault.also) if check}
        assert {each.check for each in found} == expected
        for name, fault in reversed(faults.items()):
            fault.mend(patient, planted[name])
    assert not_well(patient.examined()) == set()
    assert patient.stage.slack.messages == posted  # Slack was asked again and again, and nothing was posted


def test_the_command_as_a_script_sees_it(patient: Patient) -> None:
    """The command prints a line for each finding and a summary, and its exit status tells faults from the rest."""
    sound = run(patient.stage, "doctor", "--json")
    patient.client("events").disable_rule(Name=TAMPER)
    spoilt = run(patient.stage, "doctor", "--json")
    shown = run(patient.stage, "doctor")
    patient.client("events").enable_rule(Name=TAMPER)
    *findings, summary = [json.loads(line) for line in spoilt.stdout.splitlines()]

    assert sound.returncode == 3, sound.stdout  # the first heartbeat is still waited for
    assert spoilt.returncode == shown.returncode == 1
    assert [(each["check"], each["subject"]) for each in findings if each["state"] == "fault"] == [
        ("rule-state", "TamperRule")
    ]
    assert summary["summary"]["fault"] == 1
    assert sum(summary["summary"].values()) == len(findings)
    assert "FAULT  rule-state: TamperRule" in shown.stdout
    assert f"put-rule --name {TAMPER} --state ENABLED --event-pattern" in shown.stdout


def test_dead_letters_go_back_and_arrive(patient: Patient) -> None:
    """A record that failed too often is recorded and told after all, an alert that Slack refused arrives when Slack is
    back, and what is no record stays, with its reason.
    """
    stage, queues = patient.stage, patient.client("sqs")
    account_id = "222233339999"
    stage.slack.answer_with(Behaviour.NO_SERVICE)
    stage.send([of_account("222233338888", "console_login")])
    assert eventually(lambda: lying_on(patient, "NotifyDeadLetterQueue"), bool) == 1
    stage.slack.answer_with(Behaviour.ACCEPT)
    envelope = {**load_specimen("console_login"), "source": REPLAY_SOURCE}
    body = json.dumps(envelope | {"detail": of_account(account_id, "console_login")})
    queues.send_message(QueueUrl=patient.resource("IntakeDeadLetterQueue"), MessageBody=body)  # as after 100 receives
    queues.send_message(QueueUrl=patient.resource("IntakeQueue"), MessageBody="no JSON at all")
    assert eventually(lambda: lying_on(patient, "IntakeDeadLetterQueue"), lambda count: count == 2) == 2

    moved = run(stage, "redrive", "--move", "--json")
    *letters, summary = [json.loads(line) for line in moved.stdout.splitlines()]
    told = eventually(lambda: slack_texts(stage, account_id), _at_least(1))
    stage.let_time_pass(timedelta(minutes=6))
    stage.run_watchdog()
    late = eventually(lambda: slack_texts(stage, "222233338888"), _at_least(1))

    assert moved.returncode == 1  # one is left
    assert {(each["queue"], each["fate"]) for each in letters} == {
        ("intake", "moved"), ("intake", "stays"), ("notify", "moved"),
    }  # fmt: skip
    assert summary["summary"] == {"moves": 0, "moved": 2, "stays": 1, "failed": 0}
    assert len(told) == len(late) == 1
    [poison] = [each["why"] for each in letters if each["fate"] == "stays"]
    assert poison.startswith("detect could not read it: ")
    assert [lying_on(patient, f"{which}DeadLetterQueue") for which in ("Intake", "Rule", "Notify")] == [1, 0, 0]


def lying_on(patient: Patient, queue: str) -> int:
    """How many messages lie on a queue."""
    return int(patient.attributes(queue)["ApproximateNumberOfMessages"])


# --- tampering -----------------------------------------------------------------------------------------------------


def tampering(
    account_id: str, event_source: str, event_name: str, request_parameters: dict[str, Any]
) -> dict[str, Any]:
    """A record of an act of a role, not of root, on one of the stack's own resources.

    Each in an account of its own: of one account the third within five minutes would be gathered with the others.
    """
    changes: dict[str, Any] = {
        "eventSource": event_source, "eventName": event_name, "requestParameters": request_parameters,
        "recipientAccountId": account_id, "userIdentity.accountId": account_id,
    }  # fmt: skip
    return build_record("rootwatch_tampered", number=next(NUMBERS), **changes)


NUMBERS = itertools.count(700)


def told_of(patient: Patient, record: dict[str, Any]) -> list[str]:
    """The alerts that name a record and whose ledger on Slack says sent."""
    items = {(item["pk"]["S"], item["sk"]["S"]): item for item in patient.stage.items()}
    alerts = [key for key, item in items.items() if key[1].startswith("ALERT#") and record["eventID"] in str(item)]
    ledgers = [items[pk, sk.replace("ALERT#", "DELIVERY#slack#")] for pk, sk in alerts]
    return [each["incident_id"]["S"] for each in ledgers if each["state"]["S"] == "sent"]


def is_told(patient: Patient, record: dict[str, Any]) -> bool:
    """Wait until an alert that names a record has reached Slack."""
    return bool(eventually(lambda: told_of(patient, record), bool))


def test_each_rule_tells_what_happens_to_the_other(patient: Patient) -> None:
    """With a rule switched off, without its target, or gone, that arrives by the other rule and alerts."""
    events = patient.client("events")
    for rule, accounts in ((RULE, ("222233336661", "222233336662")), (TAMPER, ("222233336663", "222233336664"))):
        targets = events.list_targets_by_rule(Rule=rule)["Targets"]
        disabled = tampering(
            accounts[0], "events.amazonaws.com", "DisableRule", {"name": rule, "eventBusName": "default"}
        )
        stripped = tampering(accounts[1], "events.amazonaws.com", "RemoveTargets", {"rule": rule, "ids": ["intake"]})
        events.disable_rule(Name=rule)
        patient.stage.send([disabled])
        assert is_told(patient, disabled), rule
        events.enable_rule(Name=rule)
        events.remove_targets(Rule=rule, Ids=[target["Id"] for target in targets])
        patient.stage.send([stripped])
        assert is_told(patient, stripped), rule
        events.put_targets(Rule=rule, Targets=targets)


def test_people_hear_that_the_topic_was_unsubscribed(patient: Patient) -> None:
    """When nobody is subscribed to the alert topic any more, Slack has an alert, and the operations topic the words."""
    queues, topics = patient.client("sqs"), patient.client("sns")
    url = queues.create_queue(QueueName="operator")["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    watched = topics.subscribe(TopicArn=patient.resource("OperationsTopic"), Protocol="sqs", Endpoint=arn)
    subscriptions = _unsubscribe(patient)
    record = tampering(
        "222233336665", "sns.amazonaws.com", "Unsubscribe", {"subscriptionArn": subscriptions[0]["SubscriptionArn"]}
    )
    patient.stage.send([record])

    def words() -> str:
        return str(queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0))

    assert is_told(patient, record)
    assert record["eventID"] in eventually(words, lambda found: record["eventID"] in found)
    assert "Rootwatch itself was changed: Unsubscribe" in words()
    topics.unsubscribe(SubscriptionArn=watched["SubscriptionArn"])
    _subscribe(patient, subscriptions)
