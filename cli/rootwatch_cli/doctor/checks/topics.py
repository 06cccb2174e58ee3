"""The topics and their key: who may publish, and who receives it."""

import json
from collections.abc import Iterator

from rootwatch.alert import visible
from rootwatch_cli.doctor.checks.policies import compared, policy_of
from rootwatch_cli.doctor.checks.verdict import (
    State,
    Verdict,
    as_json,
    aws,
    fault,
    warning,
)
from rootwatch_cli.doctor.deployment import (
    Deployment,
    Resource,
    holds_unknown,
)


def key_state(deployment: Deployment, key: Resource) -> Iterator[Verdict]:
    """Look whether the topics' key can be used."""
    state = str(deployment.answer("kms:DescribeKey", key.logical_id)["KeyMetadata"]["KeyState"])
    key_id = ("--key-id", str(key.physical_id))
    if state == "PendingDeletion":
        mend = " && ".join(aws(deployment, "kms", verb, *key_id) for verb in ("cancel-key-deletion", "enable-key"))
        yield fault("the topics' key is about to be deleted: nothing can be published now", mend)
    elif state != "Enabled":
        what = f"the topics' key is {visible(state, 30)}: nothing can be published"
        yield fault(what, aws(deployment, "kms", "enable-key", *key_id))


def key_policy(deployment: Deployment, key: Resource) -> Iterator[Verdict]:
    """Compare the key's policy with the template's: it has to admit those who publish."""
    found = json.loads(deployment.answer("kms:GetKeyPolicy", key.logical_id)["Policy"])
    wanted = key.properties["KeyPolicy"]
    mend = aws(
        deployment, "kms", "put-key-policy", "--key-id", str(key.physical_id), "--policy-name", "default",
        "--policy", "" if holds_unknown(wanted) else as_json(wanted),
    )  # fmt: skip
    for verdict in compared(found, wanted, mend):
        silent = verdict.state is State.FAULT and ".amazonaws.com" in verdict.what
        words = f"{verdict.what}; without it a topic silently receives nothing" if silent else verdict.what
        yield Verdict(verdict.state, words, verdict.mend)


def topic_key(deployment: Deployment, topic: Resource) -> Iterator[Verdict]:
    """Look whether a topic is encrypted with the key that its publishers may use."""
    attributes = deployment.answer("sns:GetTopicAttributes", topic.logical_id)["Attributes"]
    key, wanted = str(attributes.get("KmsMasterKeyId") or ""), topic.properties.get("KmsMasterKeyId")
    if wanted is None or (isinstance(wanted, str) and key.rpartition("/")[2] == wanted.rpartition("/")[2] != ""):
        return
    mend = aws(
        deployment, "sns", "set-topic-attributes", "--topic-arn", str(topic.physical_id),
        "--attribute-name", "KmsMasterKeyId", "--attribute-value", str(wanted),
    )  # fmt: skip
    if key.endswith("alias/aws/sns"):
        what = (
            "the topic is encrypted with the AWS-managed key, which neither EventBridge nor CloudWatch may use: it "
            "silently receives nothing from them"
        )
        yield fault(what, mend)
    elif key:
        what = f"the topic is encrypted with another key ({visible(key, 120)}), which our publishers may be refused"
        yield fault(what, mend)
    else:
        yield warning("the topic is not encrypted", mend)


def topic_policy(deployment: Deployment, topic: Resource) -> Iterator[Verdict]:
    """Compare a topic's policy with the template's."""
    attributes = deployment.answer("sns:GetTopicAttributes", topic.logical_id)["Attributes"]
    wanted = policy_of(deployment, "AWS::SNS::TopicPolicy", "Topics", topic.physical_id)
    found = json.loads(attributes.get("Policy") or '{"Statement": []}')
    mend = aws(
        deployment, "sns", "set-topic-attributes", "--topic-arn", str(topic.physical_id),
        "--attribute-name", "Policy", "--attribute-value", "" if holds_unknown(wanted) else as_json(wanted),
    )  # fmt: skip
    yield from compared(found, wanted, mend)


def subscriptions(deployment: Deployment, topic: Resource) -> Iterator[Verdict]:
    """Look whether a topic has a confirmed subscription."""
    subscriptions = deployment.answer("sns:ListSubscriptionsByTopic", topic.logical_id)["Subscriptions"]
    waiting = [each for each in subscriptions if not str(each["SubscriptionArn"]).startswith("arn:")]
    email = deployment.parameter("AlertEmail") or "you@example.com"
    mend = aws(
        deployment, "sns", "subscribe", "--topic-arn", str(topic.physical_id), "--protocol", "email",
        "--notification-endpoint", email,
    )  # fmt: skip
    mend = f"{mend}, and confirm the mail that AWS sends"
    if len(waiting) == len(subscriptions):
        what = "nobody receives what this topic is told: it has no confirmed subscription"
        yield fault(what if not waiting else f"{what}, and {len(waiting)} that wait for a confirmation", mend)
        return
    for each in waiting:
        address = visible(each.get("Endpoint"), 100)
        yield warning(f"the subscription of {address} ({visible(each.get('Protocol'), 20)}) is not confirmed", mend)
