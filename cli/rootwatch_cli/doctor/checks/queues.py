"""The queues, and what lies in those for dead letters."""

import json
from collections.abc import Iterator

from rootwatch.alert import visible
from rootwatch_cli.doctor.checks.policies import compared, policy_of
from rootwatch_cli.doctor.checks.verdict import (
    MAPPING,
    QUEUE,
    RULE,
    Verdict,
    as_json,
    aws,
    fault,
    made_again,
    rootwatch_command,
    warning,
)
from rootwatch_cli.doctor.deployment import (
    Answer,
    Deployment,
    Resource,
    holds_unknown,
)


def _attributes(deployment: Deployment, queue: Resource) -> Answer:
    found: Answer = deployment.answer("sqs:GetQueueAttributes", queue.logical_id)["Attributes"]
    return found


def _set_queue(deployment: Deployment, queue: Resource, **attributes: object) -> str:
    stated = {name: value if isinstance(value, str) else as_json(value) for name, value in attributes.items()}
    url = queue.physical_id or ""
    return aws(deployment, "sqs", "set-queue-attributes", "--queue-url", url, "--attributes", as_json(stated))


def policy(deployment: Deployment, queue: Resource) -> Iterator[Verdict]:
    """Compare a queue's policy with the template's."""
    wanted = policy_of(deployment, "AWS::SQS::QueuePolicy", "Queues", queue.physical_id)
    found = json.loads(_attributes(deployment, queue).get("Policy") or '{"Statement": []}')
    mend = (
        made_again(deployment, queue.logical_id)
        if holds_unknown(wanted)
        else _set_queue(deployment, queue, Policy=wanted)
    )
    yield from compared(found, wanted, mend)


def encryption(deployment: Deployment, queue: Resource) -> Iterator[Verdict]:
    """Look whether a queue is encrypted with a key that those who fill it may use."""
    attributes = _attributes(deployment, queue)
    mend = _set_queue(deployment, queue, SqsManagedSseEnabled="true", KmsMasterKeyId="")
    key = attributes.get("KmsMasterKeyId")
    if key and key.endswith("alias/aws/sqs"):
        what = (
            "the queue is encrypted with the AWS-managed key of SQS, which EventBridge may not use: it receives nothing"
        )
        yield fault(what, mend)
    elif key:
        what = (
            f"the queue is encrypted with the key {visible(key, 120)}, not with SQS's own: what fills it, and the "
            "functions that read it, need that key as well"
        )
        yield warning(what, mend)
    elif attributes.get("SqsManagedSseEnabled") != "true":
        yield warning("the queue is not encrypted", mend)


def redrive(deployment: Deployment, queue: Resource) -> Iterator[Verdict]:
    """Compare how long a queue keeps messages, and where those that fail go, with the template."""
    attributes, wanted = _attributes(deployment, queue), queue.properties
    for name in ("RedrivePolicy", "RedriveAllowPolicy"):
        if name not in wanted or holds_unknown(wanted[name]):
            continue
        stated = {key: str(each) for key, each in json.loads(attributes.get(name) or "{}").items()}
        if stated != {key: str(each) for key, each in wanted[name].items()}:
            what = (
                "what fails again and again is lost, or comes back for ever: its redrive policy is not the template's"
                if name == "RedrivePolicy"
                else "others may leave their dead letters here, or ours may not: its redrive-allow policy was changed"
            )
            yield fault(what, _set_queue(deployment, queue, **{name: wanted[name]}))
    for name in ("MessageRetentionPeriod", "VisibilityTimeout"):
        if name in wanted and attributes.get(name) != str(wanted[name]):
            what = f"its {name} is {visible(attributes.get(name), 20)} seconds, not {wanted[name]}"
            yield warning(what, _set_queue(deployment, queue, **{name: str(wanted[name])}))


def _dead_letter_queues(deployment: Deployment) -> set[str]:
    """Return the ARNs of all queues that the template names as a dead-letter queue."""
    found = set()
    for queue in deployment.resources(QUEUE):
        found.add((queue.properties.get("RedrivePolicy") or {}).get("deadLetterTargetArn"))
    for rule in deployment.resources(RULE):
        found |= {(each.get("DeadLetterConfig") or {}).get("Arn") for each in rule.properties.get("Targets", [])}
    for mapping in deployment.resources(MAPPING):
        failure = (mapping.properties.get("DestinationConfig") or {}).get("OnFailure") or {}
        found.add(failure.get("Destination"))
    return {arn for arn in found if isinstance(arn, str)}


def dead_letters(deployment: Deployment, queue: Resource) -> Iterator[Verdict]:
    """Count what lies on a dead-letter queue."""
    attributes = _attributes(deployment, queue)
    if attributes["QueueArn"] not in _dead_letter_queues(deployment):
        return
    count = sum(int(attributes.get(f"ApproximateNumberOfMessages{each}", 0)) for each in ("", "NotVisible"))
    if count:
        messages = "1 message lies" if count == 1 else f"{count} messages lie"
        yield fault(
            f"{messages} on the dead-letter queue; SQS deletes each 14 days after it was sent",
            f"{rootwatch_command(deployment, 'redrive')} says what and why, and with --move moves back what can be",
        )
