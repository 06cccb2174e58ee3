"""The machinery under `rootwatch demo` and the end-to-end tests: a stack on this machine that leaves nothing behind.

A toy template stands in for the real one: rule → queue → function with a layer → table → stream with a filter →
function → topic → queue.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rootwatch_cli import local_stack as module
from rootwatch_cli.local_stack import ACCOUNT_ID, Deployment, LocalStack, LocalStackError, local_stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

TEMPLATE = """\
AWSTemplateFormatVersion: '2010-09-09'
Transform: AWS::Serverless-2016-10-31
Parameters:
  ReplaySource:
    Type: String
    Default: ''
Conditions:
  Replays:
    Fn::Not:
    - Fn::Equals:
      - Ref: ReplaySource
      - ''
Globals:
  Function:
    Runtime: python3.13
    Handler: app.handler
    Architectures:
    - arm64
    Layers:
    - Ref: ToyLayer
    Environment:
      Variables:
        TABLE_NAME:
          Ref: Table
        TOPIC_ARN:
          Ref: Topic
        SECRET_ID:
          Ref: Secret
Resources:
  Key:
    Type: AWS::KMS::Key
    DeletionPolicy: Retain
    UpdateReplacePolicy: Retain
    Properties:
      KeyPolicy:
        Version: '2012-10-17'
        Statement: []
  Secret:
    Type: AWS::SecretsManager::Secret
    Properties:
      Name:
        Fn::Sub: ${AWS::StackName}-slack
      SecretString: '{}'
  DeadLetters:
    Type: AWS::SQS::Queue
  Intake:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeout: 1
      RedrivePolicy:
        deadLetterTargetArn:
          Fn::GetAtt:
          - DeadLetters
          - Arn
        maxReceiveCount: 2
  Rule:
    Type: AWS::Events::Rule
    Properties:
      EventPattern:
        source:
        - prefix: aws.
        - Fn::If:
          - Replays
          - Ref: ReplaySource
          - Ref: AWS::NoValue
        detail:
          name:
          - prefix:
              Fn::Sub: ${AWS::StackName}-
      Targets:
      - Id: intake
        Arn:
          Fn::GetAtt:
          - Intake
          - Arn
  Table:
    Type: AWS::DynamoDB::Table
    DeletionPolicy: Retain
    Properties:
      AttributeDefinitions:
      - AttributeName: pk
        AttributeType: S
      KeySchema:
      - AttributeName: pk
        KeyType: HASH
      BillingMode: PAY_PER_REQUEST
      StreamSpecification:
        StreamViewType: NEW_IMAGE
  Topic:
    Type: AWS::SNS::Topic
    Properties:
      KmsMasterKeyId:
        Ref: Key
  ToyLayer:
    Type: AWS::Serverless::LayerVersion
    Properties:
      ContentUri: ToyLayer
      CompatibleArchitectures:
      - arm64
  Store:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: Store
      Events:
        Queue:
          Type: SQS
          Properties:
            Queue:
              Fn::GetAtt:
              - Intake
              - Arn
            FunctionResponseTypes:
            - ReportBatchItemFailures
  Tell:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: Tell
      Events:
        Stream:
          Type: DynamoDB
          Properties:
            Stream:
              Fn::GetAtt:
              - Table
              - StreamArn
            StartingPosition: TRIM_HORIZON
            FilterCriteria:
              Filters:
              - Pattern: '{"eventName":["INSERT"],"dynamodb":{"Keys":{"pk":{"S":[{"prefix":"tell-"}]}}}}'
Outputs:
  Source:
    Value:
      Fn::If:
      - Replays
      - Ref: ReplaySource
      - none
"""

STORE = """\
import json, os, boto3, toy
table = boto3.resource("dynamodb").Table(os.environ["TABLE_NAME"])
def handler(event, context):
    failed = []
    for record in event["Records"]:
        try:
            name = toy.name_of(record["body"])
        except ValueError:
            failed.append({"itemIdentifier": record["messageId"]})
            continue
        table.put_item(Item={"pk": "silent-" + name})
        table.put_item(Item={"pk": "tell-" + name})
    return {"batchItemFailures": failed}
"""
TELL = """\
import json, os, boto3
sns, secrets = boto3.client("sns"), boto3.client("secretsmanager")
def handler(event, context):
    secret = secrets.get_secret_value(SecretId=os.environ["SECRET_ID"])["SecretString"]
    for record in event["Records"]:
        message = {"key": record["dynamodb"]["Keys"]["pk"]["S"], "secret": secret, "profile": os.getenv("AWS_PROFILE")}
        texts = {"default": "short", "sqs": json.dumps(message)}
        sns.publish(TopicArn=os.environ["TOPIC_ARN"], MessageStructure="json", Message=json.dumps(texts))
"""
LAYER = """\
import json
def name_of(body):
    return json.loads(body)["detail"]["name"]
"""


@pytest.fixture(scope="module")
def toy_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build folder as `sam build` leaves it; returns its template."""
    build = tmp_path_factory.mktemp("build")
    for name, text in {"Store/app.py": STORE, "Tell/app.py": TELL, "ToyLayer/python/toy.py": LAYER}.items():
        (build / name).parent.mkdir(parents=True)
        (build / name).write_text(text, encoding="utf-8")
    template = build / "template.yaml"
    template.write_text(TEMPLATE, encoding="utf-8")
    return template


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """A running emulator, started among the settings of a user who works with AWS."""
    hostile = {
        "AWS_PROFILE": "no-such-profile",
        "AWS_ENDPOINT_URL": "http://192.0.2.1",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "HTTP_PROXY": "http://192.0.2.1:3128",
        "http_proxy": "http://192.0.2.1:3128",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in hostile.items():
            patch.setenv(name, value)
        with local_stack() as running:
            yield running


@pytest.fixture(scope="module")
def deployment(stack: LocalStack, toy_build: Path) -> Deployment:
    """The toy stack, deployed with a replay source."""
    return stack.deploy(toy_build, {"ReplaySource": "toy.replay"}, "toy")


def until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Ask again until the answer is true, for a bounded time; return the last answer."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return answer


def exists(process_group: int) -> bool:
    """Tell whether any process of the group is left."""
    try:
        os.killpg(process_group, 0)
    except ProcessLookupError:
        return False
    return True


def test_conditions_and_parameters_are_applied(deployment: Deployment) -> None:
    """A parameter reaches the outputs through a condition, and every resource has a physical id."""
    assert deployment.outputs == {"Source": "toy.replay"}
    assert all(deployment.resources.values())


def test_an_event_travels_the_whole_way(stack: LocalStack, deployment: Deployment) -> None:
    """Rule, queue, layer, table, filtered stream, secret, topic: one message arrives, without the user's profile."""
    sqs, sns = stack.client("sqs"), stack.client("sns")
    queue = sqs.create_queue(QueueName="subscriber")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(
        TopicArn=deployment.resources["Topic"],
        Protocol="sqs",
        Endpoint=arn,
        Attributes={"RawMessageDelivery": "true"},
    )
    entries = [
        {"Source": source, "DetailType": "toy", "Detail": json.dumps({"name": name})}
        for source, name in [("toy.replay", "toy-one"), ("toy.replay", "other"), ("elsewhere", "toy-two")]
    ]
    assert stack.client("events").put_events(Entries=entries)["FailedEntryCount"] == 0

    messages = until(lambda: sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages"))
    assert messages, stack.log_tail()
    assert json.loads(messages[0]["Body"]) == {"key": "tell-toy-one", "secret": "{}", "profile": None}
    assert ":" + ACCOUNT_ID + ":" in arn
    assert not sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages")


def test_a_message_that_keeps_failing_is_dead_lettered_alone(stack: LocalStack, deployment: Deployment) -> None:
    """The queue's redrive policy works: the bad message is set aside after two tries, the good one is stored."""
    sqs = stack.client("sqs")
    intake, dead = deployment.resources["Intake"], deployment.resources["DeadLetters"]
    good = json.dumps({"detail": {"name": "toy-good"}})
    entries = [{"Id": "1", "MessageBody": "not JSON"}, {"Id": "2", "MessageBody": good}]
    sqs.send_message_batch(QueueUrl=intake, Entries=entries)

    set_aside: list[str] = []

    def is_set_aside() -> bool:
        """What another test sent may be here too, where the machine was too slow for the function's time."""
        messages = sqs.receive_message(QueueUrl=dead, WaitTimeSeconds=1, MaxNumberOfMessages=10).get("Messages", [])
        set_aside.extend(message["Body"] for message in messages)
        return "not JSON" in set_aside

    assert until(is_set_aside), stack.log_tail()
    assert good not in set_aside
    key = {"pk": {"S": "tell-toy-good"}}
    assert "Item" in stack.client("dynamodb").get_item(TableName=deployment.resources["Table"], Key=key)


def test_a_missing_build_is_one_sentence(stack: LocalStack, tmp_path: Path) -> None:
    """Without a build the error names the file and the command that makes it."""
    with pytest.raises(LocalStackError, match=r"template\.yaml is missing: run make build"):
        stack.deploy(tmp_path / "template.yaml", {})


@pytest.mark.parametrize(
    ("resource", "message"),
    [
        ("{Type: AWS::Nobody::Knows}", "refused the template"),
        ("{Type: AWS::Events::Rule, Properties: {EventBusName: 'arn:aws:odd'}}", "could not be created"),
    ],
    ids=["unknown-type", "failing-resource"],
)
def test_a_template_that_fails_says_why(stack: LocalStack, tmp_path: Path, resource: str, message: str) -> None:
    """The resource at fault is named in the error's detail, in CloudFormation's words."""
    (tmp_path / "Code").mkdir()
    template = tmp_path / "template.yaml"
    template.write_text(
        f"Transform: AWS::Serverless-2016-10-31\nResources:\n  Odd: {resource}\n"
        "  Layer:\n    Type: AWS::Serverless::LayerVersion\n    Properties:\n      ContentUri: Code\n",
        encoding="utf-8",
    )
    with pytest.raises(LocalStackError, match=message) as caught:
        stack.deploy(template, {}, "broken")
    assert "Nobody" in caught.value.detail or "Odd" in caught.value.detail


def test_a_missing_emulator_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without MiniStack's environment the error names the command that makes it, and no directory is made."""
    monkeypatch.setattr(module, "MINISTACK", tmp_path / "ministack")
    with pytest.raises(LocalStackError, match="is missing: run make setup"), local_stack():
        pytest.fail("the block must not run")


def test_an_emulator_that_ends_at_once_shows_its_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the program wrote before it ended is in the error's detail, and its directory is gone."""
    program = tmp_path / "ministack" / "bin" / "ministack"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "no luck in $HOME"\nexit 3\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(module, "MINISTACK", program)
    with pytest.raises(LocalStackError) as caught, local_stack():
        pytest.fail("the block must not run")
    assert caught.value.detail.startswith("no luck in ")
    assert not Path(caught.value.detail.removeprefix("no luck in ").strip()).exists()


BUSY = """\
import sys, time
from pathlib import Path
from rootwatch_cli.local_stack import local_stack
with local_stack() as stack:
    deployment = stack.deploy(Path(sys.argv[1]), {{"ReplaySource": "toy.replay"}}, "toy")
    stack.client("lambda").invoke(FunctionName=deployment.resources["Store"], Payload=b'{{"Records": []}}')
    print(stack.process_id, stack.directory, flush=True)
    {what}
"""


@pytest.mark.parametrize(
    ("what", "number", "status"),
    [
        ("time.sleep(60)", signal.SIGINT, -signal.SIGINT),
        ("time.sleep(60)", signal.SIGTERM, 128 + signal.SIGTERM),
        ("time.sleep(60)", signal.SIGHUP, 128 + signal.SIGHUP),
        ("raise RuntimeError", None, 1),
        ("pass", None, 0),
    ],
    ids=["ctrl-c", "sigterm", "closed-terminal", "exception", "normal"],
)
def test_nothing_is_left_however_it_ends(toy_build: Path, what: str, number: int | None, status: int) -> None:
    """The emulator, the function it has running and their files are gone once the process has ended."""
    command = [sys.executable, "-c", BUSY.format(what=what), str(toy_build)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            process_id, directory = process.stdout.readline().split()
            if number is not None:
                assert Path(directory).is_dir()
                os.killpg(int(process_id), 0)
                process.send_signal(number)
            assert process.wait(30) == status
        finally:
            process.kill()
    # A killed process is still counted until the machine's first process has collected it.
    assert until(lambda: not exists(int(process_id)), 5.0)
    assert not Path(directory).exists()


def test_the_same_folder_makes_the_same_zip(tmp_path: Path) -> None:
    """Zips are reproducible: the time stamps of the files do not count."""
    file = tmp_path / "app.py"
    file.write_text("x = 1\n", encoding="utf-8")
    first = module._zipped(tmp_path)
    os.utime(file, (0, 0))
    assert module._zipped(tmp_path) == first
