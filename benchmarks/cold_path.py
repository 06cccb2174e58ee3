"""How long a cold start takes: from the start of a process to the alert written, the Slack post, a press answered.

What `make build` built is started with Lambda's own runtime interface client (`python -m awslambdaric`), beside
handlers without Rootwatch that write an equal transaction, post an equal message or take an equal press: a bare one on
boto3's clients, with the same layer and with everything as it is installed, and a naive one. Each start is a process of
its own; the rounds are interleaved, so that whatever else the machine does falls on all of them alike. Compare the
ratios, not the milliseconds of two runs.

    make bench                                           after which:
    .venv/bin/python -m benchmarks.cold_path --rounds 31

What it does not show: Lambda's own part of a cold start (fetching the code, starting the machine), arm64, the network.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from benchmarks.stage.loopback import (
    ALERT_WRITTEN,
    ANSWERED,
    INITIALISED,
    SIGNING_SECRET,
    SLACK_POSTED,
    Invocation,
    Loopback,
    loopback,
    trust,
)

PROJECT: Final = Path(__file__).resolve().parents[1]
BUILD: Final = PROJECT / ".aws-sam/build"
PYTHON: Final = PROJECT / ".venv/bench/bin/python"
HANDLERS: Final = Path(__file__).resolve().parent / "stage/handlers"
RECORD: Final = PROJECT / "events/console_login_without_mfa.json"

ROUNDS: Final = 21
MOST_SECONDS: Final = 60
MOST_ROUNDS: Final = 201

GOALS: Final = (1.25, 0.5)
"""At most so many times the bare handler on the same layer, and at most so much of the naive one."""
SLACK_WAITS: Final = 3000
"""Milliseconds in which a press has to be answered, https://docs.slack.dev/interactivity/handling-user-interaction"""
RESOLVER: Final = "U0123456789"
BARE: Final = "bare, same layer"
OURS: Final = "Rootwatch"
NAIVE: Final = "naive"


@dataclass(frozen=True, slots=True)
class Contender:
    """A handler that is started: where it lies, and what it imports."""

    name: str
    root: Path
    handler: str
    path: Path
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Start:
    """One start: milliseconds from the start of the process, and of processor time until the handler had answered."""

    initialised: float
    arrived: float
    processor: float


class FailedStartError(Exception):
    """A handler failed or did not answer; the message says which, and what it printed."""


def start(
    contender: Contender, served: Loopback, invocation: Invocation, moment: str, flags: Sequence[str] = ()
) -> tuple[Start, str]:
    """Start the handler in a fresh process, let it handle the invocation, and end it.

    Returns:
        The figures up to `moment`, and what it wrote to standard error.

    Raises:
        FailedStartError: it failed, did not come so far, or called what nobody answers; no repeat helps.

    """
    environment = served.environment() | {
        "PATH": os.defpath,
        "PYTHONPATH": str(contender.path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LAMBDA_TASK_ROOT": str(contender.root),
        "_HANDLER": contender.handler,
        **contender.settings,
    }
    served.begin(invocation)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        command = [str(PYTHON), *flags, "-m", "awslambdaric", contender.handler]
        begun = time.perf_counter()
        process = subprocess.Popen(command, cwd=contender.root, env=environment, stdout=out, stderr=errors)  # noqa: S603
        until = time.monotonic() + MOST_SECONDS
        while not invocation.over.wait(0.2) and process.poll() is None and time.monotonic() < until:
            pass
        process.kill()
        _, _, usage = os.wait4(process.pid, 0) if process.returncode is None else (0, 0, None)
        process.returncode = -9
        for written in (out, errors):
            written.seek(0)
        printed, said = out.read().decode(errors="replace"), errors.read().decode(errors="replace")
    undone = invocation.answer != invocation.expected or invocation.unknown or moment not in invocation.moments
    if invocation.failure or undone or usage is None:
        message = (
            f"{contender.name} did not do it. Answer: {invocation.answer}; failure: {invocation.failure}; "
            f"unknown: {invocation.unknown}\n{printed}\n{said}"
        )
        raise FailedStartError(message)
    return Start(
        (invocation.moments[INITIALISED] - begun) * 1000,
        (invocation.moments[moment] - begun) * 1000,
        (usage.ru_utime + usage.ru_stime) * 1000,
    ), said


# --- what is compared -------------------------------------------------------------------------------------------------


def intake_event() -> dict[str, Any]:
    """Return a root sign-in without MFA, of just now, as the intake queue delivers it."""
    envelope = json.loads(RECORD.read_text(encoding="utf-8"))
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    envelope["time"] = envelope["detail"]["eventTime"] = now
    return {
        "Records": [
            {
                "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
                "receiptHandle": "none",
                "body": json.dumps(envelope),
                "attributes": {
                    "ApproximateReceiveCount": "1",
                    "SentTimestamp": str(int(time.time() * 1000)),
                    "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                    "ApproximateFirstReceiveTimestamp": str(int(time.time() * 1000)),
                },
                "messageAttributes": {},
                "md5OfBody": "0" * 32,
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:111122223333:rootwatch-intake",
                "awsRegion": "us-east-1",
            }
        ]
    }


def stream_event(ledger: tuple[str, str]) -> dict[str, Any]:
    """Return the insertion of a delivery's ledger, as the table's stream delivers it."""
    keys = {"pk": {"S": ledger[0]}, "sk": {"S": ledger[1]}}
    return {
        "Records": [
            {
                "eventID": "1",
                "eventVersion": "1.1",
                "dynamodb": {
                    "ApproximateCreationDateTime": time.time(),
                    "Keys": keys,
                    "SequenceNumber": "111",
                    "SizeBytes": 100,
                    "StreamViewType": "KEYS_ONLY",
                },
                "awsRegion": "us-east-1",
                "eventName": "INSERT",
                "eventSourceARN": "arn:aws:dynamodb:us-east-1:111122223333:table/rootwatch-audit/stream/2026",
                "eventSource": "aws:dynamodb",
            }
        ]
    }


def press_event(incident_id: str, action: str, message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a press of a button below an incident's message, signed as of now, as the function URL delivers it."""
    payload = {
        "type": "block_actions",
        "user": {"id": RESOLVER, "username": "dana", "team_id": "T00000000"},
        "team": {"id": "T00000000", "domain": "example"},
        "channel": {"id": "C0000000000", "name": "root-alerts"},
        "trigger_id": "13345224609.738474920.8088930838d88f008e0",
        "response_url": "https://hooks.slack.com/actions/T00000000/1/none",
        "message": {"type": "message", "ts": "1795839462.000001", **message},
        "actions": [{"action_id": f"rootwatch:{action}", "value": f"rootwatch {incident_id} 0", "type": "button"}],
    }
    body, timestamp = urlencode({"payload": json.dumps(payload)}).encode(), str(int(time.time()))
    signed = b"v0:" + timestamp.encode() + b":" + body
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "x-slack-request-timestamp": timestamp,
        "x-slack-signature": "v0=" + hmac.new(SIGNING_SECRET.encode(), signed, hashlib.sha256).hexdigest(),
    }
    http = {
        "method": "POST", "path": "/", "protocol": "HTTP/1.1", "sourceIp": "198.51.100.7", "userAgent": "Slackbot 1.0"
    }  # fmt: skip
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "example",
            "domainName": "example.lambda-url.us-east-1.on.aws",
            "domainPrefix": "example",
            "http": http,
            "requestId": "e1506fd5-9e7b-434f-bd42-4f8fa224b599",
            "routeKey": "$default",
            "stage": "$default",
            "time": "12/Mar/2020:19:03:58 +0000",
            "timeEpoch": 1583348638390,
        },
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }


@dataclass(frozen=True, slots=True)
class Packages:
    """Folders for the path of a start: each trusts our servers."""

    layer: Path
    with_boto3: Path
    installed: Path


def prepare(folder: Path, served: Loopback) -> Packages:
    """Copy the layer, once as it is and once with boto3; who uses what is installed gets a certifi alone."""
    packages = Packages(folder / "layer", folder / "with-boto3", folder / "certifi-alone")
    for copy in (packages.layer, packages.with_boto3):
        shutil.copytree(BUILD / "RootwatchLayer/python", copy)
    shutil.copytree(BUILD / "RootwatchLayer/python/certifi", packages.installed / "certifi")
    [site] = (PYTHON.parents[1] / "lib").glob("python3.*/site-packages")
    for name in ("boto3", "s3transfer"):
        shutil.copytree(site / name, packages.with_boto3 / name)
    for each in (packages.layer, packages.with_boto3, packages.installed):
        trust(each / "certifi/cacert.pem", served.authority)
        # Lambda's Python finds the build's own byte code; another one gets as good a byte code.
        subprocess.run(  # noqa: S603
            [PYTHON, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(each)], check=True
        )
    return packages


# --- figures ----------------------------------------------------------------------------------------------------------


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the first quartile, the median and the third."""
    first, median, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, median, third


def ratios(figures: Mapping[str, Sequence[Start]], name: str, base: str) -> list[float]:
    """Return the ratio of each round."""
    return [mine.arrived / theirs.arrived for mine, theirs in zip(figures[name], figures[base], strict=True)]


def report(moment: str, figures: Mapping[str, Sequence[Start]]) -> None:
    """Print the figures of one path, and whether its goals are met."""
    print(f"\nprocess start -> {moment}, milliseconds")
    print(
        f"{'':38} {'median':>8} {'quartiles':>15} {'least':>7} {'initialised':>12} {'processor':>10}"
        f" {'x bare':>18} {'x naive':>18}"
    )
    for name, starts in figures.items():
        arrived = [each.arrived for each in starts]
        first, median, third = quartiles(arrived)
        cells = [
            f"{middle:.2f} ({low:.2f}-{high:.2f})"
            for low, middle, high in (quartiles(ratios(figures, name, base)) for base in (BARE, NAIVE))
        ]
        print(
            f"{name:38} {median:8.0f} {f'{first:.0f}-{third:.0f}':>15}"
            f" {min(arrived):7.0f}"
            f" {statistics.median(each.initialised for each in starts):12.0f}"
            f" {statistics.median(each.processor for each in starts):10.0f} {cells[0]:>18} {cells[1]:>18}"
        )
    for base, most in zip((BARE, NAIVE), GOALS, strict=True):
        found = statistics.median(ratios(figures, OURS, base))
        print(f"goal: at most {most} x {base}: {'met' if found <= most else 'MISSED'} ({found:.2f})")


def report_limit(what: str, starts: Sequence[Start]) -> None:
    """Print how long a press takes until it is answered, beside the time that Slack waits for it."""
    first, median, third = quartiles([each.arrived for each in starts])
    most = max(each.arrived for each in starts)
    verdict = "met" if most <= SLACK_WAITS else "MISSED"
    print(
        f"{what + ':':24} {median:.0f} ms ({first:.0f}-{third:.0f}, at the most {most:.0f}); "
        f"Slack waits for {SLACK_WAITS:,} ms: {verdict} here, {median / SLACK_WAITS:.0%} of it"
    )


IMPORTED: Final = re.compile(r"^import time:\s+(\d+) \|\s+(\d+) \|\s*(\S+)$", re.MULTILINE)
"""A line of `python -X importtime`: microseconds of the module itself, those of all it imports, its name."""


def imports(said: str) -> tuple[Counter[str], Counter[str], list[tuple[int, str]]]:
    """Return microseconds and modules by package, and the modules by their own microseconds, the dearest first."""
    costs: Counter[str] = Counter()
    modules: Counter[str] = Counter()
    each: list[tuple[int, str]] = []
    for own, _, name in IMPORTED.findall(said):
        package = name.partition(".")[0]
        package = "(Python's own)" if package in sys.stdlib_module_names else package
        costs[package] += int(own)
        modules[package] += 1
        each.append((int(own), name))
    return costs, modules, sorted(each, reverse=True)


def report_imports(name: str, said: Iterable[str]) -> None:
    """Print what the imports of some starts cost: per package the median, and the dearest modules of the last start."""
    read = [imports(each) for each in said]
    print(f"\nimports of {name}, milliseconds with the tracer's own (median of {len(read)} starts)")
    total = statistics.median(sum(costs.values()) for costs, _, _ in read) / 1000
    modules = read[-1][1]
    medians = {package: statistics.median(costs[package] for costs, _, _ in read) / 1000 for package in modules}
    print(f"{'all':28} {total:8.1f} {sum(modules.values()):5} modules")
    for package in sorted(medians, key=medians.__getitem__, reverse=True):
        if medians[package] >= 1:
            print(f"{package:28} {medians[package]:8.1f} {modules[package]:5} modules")
    print("dearest: " + ", ".join(f"{module} {own / 1000:.1f}" for own, module in read[-1][2][:12]))


def machine() -> str:
    """Return what the figures were taken on."""
    version = subprocess.run(  # noqa: S603
        [PYTHON, "-c", "import platform, awslambdaric; print(platform.python_version(), awslambdaric.__version__)"],
        check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    system = f"{os.cpu_count()} processors, {platform.machine()}, {platform.system()}"
    return f"Python {version[0]}, awslambdaric {version[1]}, {system}, load {os.getloadavg()[0]:.1f}"


def main() -> None:
    """Measure all of it in one run."""
    arguments = argparse.ArgumentParser(description="How long a cold alert takes, as ratios.")
    arguments.add_argument("--rounds", type=int, default=ROUNDS, help=f"starts of each, at most {MOST_ROUNDS}")
    rounds = min(max(2, arguments.parse_args().rounds), MOST_ROUNDS)
    with tempfile.TemporaryDirectory(prefix="rootwatch-cold-") as folder, loopback() as served:
        packages, handlers = prepare(Path(folder), served), Path(folder) / "handlers"
        shutil.copytree(HANDLERS, handlers)
        first = Invocation(intake_event())
        detect = Contender(OURS, BUILD / "DetectFunction", "app.handler", packages.layer)
        start(detect, served, first, ALERT_WRITTEN)
        (handlers / "transaction.json").write_text(json.dumps(first.transaction))
        [ledger] = [key for key in first.items if key[1].startswith("DELIVERY#slack#")]
        event = stream_event(ledger)
        notify = Contender(OURS, BUILD / "NotifySlackFunction", "app.handler", packages.layer)
        posted = Invocation(event, dict(first.items))
        start(notify, served, posted, SLACK_POSTED)
        (handlers / "message.json").write_bytes(posted.message)
        print(
            f"{machine()}; {rounds} rounds; the transaction: {len(first.transaction)} items, "
            f"{len(json.dumps(first.transaction)):,} bytes; the message: {len(posted.message):,} bytes"
        )

        def beside(function: str) -> list[Contender]:
            return [
                Contender(NAIVE, handlers, f"naive_{function}.handler", packages.installed),
                Contender("bare, boto3 as installed", handlers, f"bare_{function}.handler", packages.installed),
                Contender(BARE, handlers, f"bare_{function}.handler", packages.with_boto3),
            ]

        asking = Contender(
            f"{OURS}, a registry asked first", detect.root, "app.handler", packages.layer, {"LOOK_UP_OWNERS": "true"}
        )

        def compare(
            moment: str, contenders: Sequence[Contender], made: Callable[[], Invocation]
        ) -> dict[str, list[Start]]:
            figures: dict[str, list[Start]] = {each.name: [] for each in contenders}
            for each in contenders:  # once for the machine's own caches
                start(each, served, made(), moment)
            for _ in range(rounds):
                for each in contenders:
                    figures[each.name].append(start(each, served, made(), moment)[0])
            report(moment, figures)
            for each in contenders:
                if each.name in {BARE, OURS}:
                    said = [start(each, served, made(), moment, ("-X", "importtime"))[1] for _ in range(3)]
                    report_imports(f"{each.name} ({moment})", said)
            return figures

        compare(ALERT_WRITTEN, [*beside("detect"), detect, asking], lambda: Invocation(intake_event()))
        compare(SLACK_POSTED, [*beside("notify_slack"), notify], lambda: Invocation(event, dict(first.items)))

        incident_id, message = ledger[0].removeprefix("INCIDENT#"), json.loads(posted.message)
        settings = {"SLACK_RESOLVERS": RESOLVER}
        triage = Contender(OURS, BUILD / "TriageFunction", "app.handler", packages.layer, settings)

        def press(action: str, *, bot: bool = False) -> Invocation:
            answered = {"statusCode": 200, "body": ""}
            pressed = press_event(incident_id, action, message)
            return Invocation(pressed, dict(first.items), expected=answered, bot=bot)

        starts = compare(ANSWERED, [*beside("triage"), triage], lambda: press("acknowledge"))[OURS]
        asked = [press("resolve", bot=True) for _ in range(rounds)]
        asking_why = [start(triage, served, each, ANSWERED)[0] for each in asked]
        if not all(each.modals == 1 for each in asked):
            words = "a modal was not opened"
            raise FailedStartError(words)
        report_limit("who has it, written", starts)
        report_limit("the modal, opened", asking_why)


if __name__ == "__main__":
    main()
