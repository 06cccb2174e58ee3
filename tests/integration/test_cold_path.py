"""What a cold alert imports and reads: root use is rare, so nearly every alert pays for it. Without a clock.

The handlers run in fresh processes against the loopback services of the benchmark, all the way to the alert.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import certifi
import pytest

from benchmarks.cold_path import intake_event, stream_event
from benchmarks.stage.loopback import ALERT_WRITTEN, SLACK_POSTED, Invocation, Loopback, loopback, trust

PROJECT = Path(__file__).resolve().parents[2]

PROGRAM = """
import gc, json, sys
import botocore.loaders

read, load = [], botocore.loaders.JSONFileLoader.load_file

def noted(loader, path):
    found = load(loader, path)
    if found is not None:
        read.append(path.rpartition("/data/")[2])
    return found

botocore.loaders.JSONFileLoader.load_file = noted
import app

class Context:
    function_name, memory_limit_in_mb, aws_request_id = "cold", 1024, "8476a536-e9f4-11e8-9739-2dfe598c3fcd"
    invoked_function_arn = "arn:aws:lambda:us-east-1:111122223333:function:cold"

answer = app.handler(json.load(sys.stdin), Context())
threshold = gc.get_threshold()[0]
print(json.dumps({"answer": answer, "modules": sorted(sys.modules), "read": read, "threshold": threshold}))
"""

NEVER = {
    "boto3": "its clients are botocore's; the rest of it is resources and transfers",
    "s3transfer": "comes with boto3",
    "multiprocessing": "comes with boto3",
    "aws_xray_sdk": "comes with Powertools' Tracer, which is as dear as everything else together",
    "aws_lambda_powertools.utilities.parser": "imports pydantic",
    "aws_lambda_powertools.utilities.parameters": "imports boto3",
    "aws_lambda_powertools.utilities.idempotency": "imports boto3; the transaction's conditions do it here",
    "aws_lambda_powertools.utilities.batch": "imports its models of every event; `rootwatch.delivery` has the loop",
    "pydantic": "dataclasses do",
    "jinja2": "an alert is no page",
    "maxminddb": "only where the operator has databases",
    "typer": "the terminal",
    "rich": "the terminal",
    "rootwatch_cli": "the terminal",
    "rootwatch.audit.memory": "tests and replay",
    "rootwatch.watchdog": "the watchdog",
}
"""Modules, with all that is in them, that no function may import on its way to an alert, and why."""


@dataclass(frozen=True, slots=True)
class ColdStart:
    """What a fresh process had imported, and read of botocore's descriptions, when its alert was out."""

    modules: frozenset[str]
    read: tuple[str, ...]
    threshold: int
    invocation: Invocation

    def has(self, name: str) -> bool:
        """Whether a module or anything in it was imported."""
        return any(module == name or module.startswith(f"{name}.") for module in self.modules)

    def services(self) -> list[str]:
        """The services whose whole descriptions were read."""
        return sorted({path.partition("/")[0] for path in self.read if "service-2" in path})


def cold_start(served: Loopback, certificates: Path, function: str, invocation: Invocation) -> ColdStart:
    """Handle the invocation in a fresh process."""
    served.begin(invocation)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(invocation.event),
        env=served.environment()
        | {"PYTHONPATH": f"{certificates}:{PROJECT / 'functions' / function}:{PROJECT / 'layers/rootwatch'}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert told["answer"] == {"batchItemFailures": []}, done.stdout
    assert invocation.unknown == []
    return ColdStart(frozenset(told["modules"]), tuple(told["read"]), told["threshold"], invocation)


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ColdStart]]:
    """A cold start of `detect`, and one of `notify_slack` with what it wrote."""
    certificates = tmp_path_factory.mktemp("certificates")
    shutil.copytree(Path(certifi.__file__).parent, certificates / "certifi")
    with loopback() as served:
        trust(certificates / "certifi/cacert.pem", served.authority)
        detect = cold_start(served, certificates, "detect", Invocation(intake_event()))
        [ledger] = [key for key in detect.invocation.items if key[1].startswith("DELIVERY#slack#")]
        notify = Invocation(stream_event(ledger), dict(detect.invocation.items))
        yield {"detect": detect, "notify_slack": cold_start(served, certificates, "notify_slack", notify)}


def test_the_alert_is_out(starts: dict[str, ColdStart]) -> None:
    """The processes below went the whole way: the alert was written, and Slack got the message."""
    assert ALERT_WRITTEN in starts["detect"].invocation.moments
    assert SLACK_POSTED in starts["notify_slack"].invocation.moments


@pytest.mark.parametrize("function", ["detect", "notify_slack"])
@pytest.mark.parametrize("name", NEVER)
def test_an_alert_does_not_import(name: str, function: str, starts: dict[str, ColdStart]) -> None:
    """Nothing dear that an alert does without is imported on its way."""
    assert not starts[function].has(name), NEVER[name]


@pytest.mark.parametrize(
    ("function", "name"),
    [
        ("detect", "requests"),
        ("detect", "rootwatch.channels.slack"),
        ("detect", "rootwatch.channels.sns"),
        ("detect", "rootwatch.context.rdap"),
        ("notify_slack", "rootwatch.channels.sns"),
        ("notify_slack", "rootwatch.context.rdap"),
        ("notify_slack", "rootwatch.pipeline"),
    ],
)
def test_a_function_imports_only_its_own(function: str, name: str, starts: dict[str, ColdStart]) -> None:
    """What only another function needs is not imported."""
    assert not starts[function].has(name)


@pytest.mark.parametrize("function", ["detect", "notify_slack"])
def test_little_garbage_is_looked_for(function: str, starts: dict[str, ColdStart]) -> None:
    """What an import makes stays, so that Python does not look through it for garbage every few hundred objects."""
    assert starts[function].threshold == 20_000


def test_only_the_services_that_are_called_are_read(starts: dict[str, ColdStart]) -> None:
    """Botocore reads the description of a service for each client: one for detect, two for Slack's notifier."""
    assert starts["detect"].services() == ["dynamodb"]
    assert starts["notify_slack"].services() == ["dynamodb", "secretsmanager"]


def test_no_more_is_read_of_botocore(starts: dict[str, ColdStart]) -> None:
    """What botocore reads is the same for every first client, and the two or three files of each service."""
    every = {"endpoints", "partitions", "sdk-default-configuration"}
    for start in starts.values():
        assert {path for path in start.read if "/" not in path} == every
        assert len(start.read) == len(set(start.read)) <= 3 + 3 * len(start.services())
