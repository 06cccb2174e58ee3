"""The stack on this machine: MiniStack on a loopback port, and the built template deployed on it.

`local_stack()` is a context manager. Inside it an AWS emulator runs; after it nothing does, however it was left:
normally, by an exception, by Ctrl-C, SIGTERM or a closed terminal. It never sees the user's AWS credentials, profile,
endpoint or proxy settings: the emulator gets an environment of its own and every client is given all it needs.

Everything here works in seconds and in UTC.
"""

import http.client
import io
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Self

import boto3
import botocore.exceptions
import botocore.session
from botocore.config import Config

from rootwatch_cli.project import MINISTACK

LOOPBACK = "127.0.0.1"
REGION = "us-east-1"
# MiniStack takes an access key of twelve digits as the number of the account, so this is both.
ACCOUNT_ID = "111122223333"
DEFAULT_STACK_NAME = "rootwatch"

_CODE_BUCKET = "rootwatch-local-code"
_TEMPLATE_KEY = "template.yaml"
_START_SECONDS = 30.0
_START_ATTEMPTS = 3
_DEPLOY_SECONDS = 90.0
_TERMINATE_SECONDS = 3.0
_LOG_TAIL_LINES = 25
_LOG_TAIL_BYTES = 64 * 1024

# `CodeUri: DetectFunction` as `sam build` writes it: one line, a folder beside the template.
_CODE_LOCATION = re.compile(r"^(?P<before>[ ]+(?:CodeUri|ContentUri):[ ]+)(?P<folder>\S+)[ ]*$", re.MULTILINE)
# A fixed time stamp (the earliest a zip can hold) gives the same bytes for the same files.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


class LocalStackError(Exception):
    """The local stack cannot be started or deployed. The message is one line; `detail` holds what the tools said.

    A repeat does not help before what the message names is put right.
    """

    def __init__(self, message: str, detail: str = "") -> None:
        """Keep the sentence for people apart from the lines of a log or a list of stack events."""
        super().__init__(message)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Deployment:
    """A stack that stands: its outputs by key and its physical ids by logical id."""

    stack_name: str
    outputs: Mapping[str, str]
    resources: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LocalStack:
    """A running emulator: where it listens, and how to talk to it."""

    endpoint_url: str
    directory: Path
    log_file: Path
    process_id: int

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3 makes its clients at run time, one type per service
        """Return a boto3 client for a service, with dummy credentials and no look at the user's settings."""
        make: Any = _session().client  # its stubs know literal names only
        return make(
            service,
            endpoint_url=self.endpoint_url,
            config=Config(
                proxies={},  # not None: None would ask HTTP_PROXY
                connect_timeout=5,
                read_timeout=60,
                retries={"mode": "standard", "total_max_attempts": 2},
                s3={"addressing_style": "path"},
            ),
        )

    def deploy(self, template: Path, parameters: Mapping[str, str], stack_name: str = DEFAULT_STACK_NAME) -> Deployment:
        """Upload the built folders beside `template`, create the stack and wait until it stands.

        Raises LocalStackError when the build is missing or the stack fails; its detail then lists the resources that
        failed and why, in CloudFormation's words.
        """
        address = self._upload(template)
        cloudformation = self.client("cloudformation")
        try:
            cloudformation.create_stack(
                StackName=stack_name,
                TemplateURL=address,
                Parameters=[
                    {"ParameterKey": key, "ParameterValue": value} for key, value in sorted(parameters.items())
                ],
                Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
            )
        except botocore.exceptions.ClientError as error:
            message = "CloudFormation refused the template"
            raise LocalStackError(message, str(error)) from error
        deadline = time.monotonic() + _DEPLOY_SECONDS
        while time.monotonic() < deadline:
            stack = cloudformation.describe_stacks(StackName=stack_name)["Stacks"][0]
            status = stack["StackStatus"]
            if status == "CREATE_COMPLETE":
                return self._deployment(cloudformation, stack)
            if status != "CREATE_IN_PROGRESS":
                message = f"the stack {stack_name} could not be created ({status})"
                raise LocalStackError(message, _failures(cloudformation, stack_name))
            time.sleep(0.1)
        message = f"the stack {stack_name} was not ready after {_DEPLOY_SECONDS:.0f} seconds"
        raise LocalStackError(message, self.log_tail())

    def log_tail(self) -> str:
        """Return the last lines the emulator and the functions inside it wrote."""
        return _tail(self.log_file)

    def _upload(self, template: Path) -> str:
        """Put each built folder into the emulator's S3, and the template with their addresses; return its own."""
        try:
            text = template.read_text(encoding="utf-8")
        except OSError as error:
            message = f"{template} is missing: run make build"
            raise LocalStackError(message) from error
        s3 = self.client("s3")
        s3.create_bucket(Bucket=_CODE_BUCKET)
        uploaded: dict[str, str] = {}

        def address(match: re.Match[str]) -> str:
            name = match["folder"].strip("'\"")
            if name.startswith("s3://"):
                return match[0]
            if name not in uploaded:
                folder = template.parent / name
                if not folder.is_dir():
                    message = f"{folder} is missing: run make build"
                    raise LocalStackError(message)
                key = f"{len(uploaded)}-{folder.name}.zip"
                s3.put_object(Bucket=_CODE_BUCKET, Key=key, Body=_zipped(folder))
                uploaded[name] = f"s3://{_CODE_BUCKET}/{key}"
            return match["before"] + uploaded[name]

        # Not in Globals, where the folder of the sources still stands; every resource has its own after a build.
        before, resources, after = text.partition("\nResources:\n")
        rewritten = _CODE_LOCATION.sub(address, after)
        if not uploaded:
            message = f"{template} names no built folder: run make build"
            raise LocalStackError(message)
        # By address and not as text, which may have 51,200 bytes at the most; `sam deploy` does the same.
        s3.put_object(Bucket=_CODE_BUCKET, Key=_TEMPLATE_KEY, Body=(before + resources + rewritten).encode())
        return f"{self.endpoint_url}/{_CODE_BUCKET}/{_TEMPLATE_KEY}"

    def _deployment(self, cloudformation: Any, stack: Mapping[str, Any]) -> Deployment:  # noqa: ANN401 - a boto3 client
        pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack["StackName"])
        return Deployment(
            stack_name=stack["StackName"],
            outputs={output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])},
            resources={
                resource["LogicalResourceId"]: resource.get("PhysicalResourceId", "")
                for page in pages
                for resource in page["StackResourceSummaries"]
            },
        )


@contextmanager
def local_stack() -> Iterator[LocalStack]:
    """Run MiniStack on a free loopback port for the length of the block.

    Raises LocalStackError when it is not installed or does not start (detail: the end of its log). SIGTERM and SIGHUP
    end the block with SystemExit, SIGINT with KeyboardInterrupt; the emulator, its functions and its files are gone
    before the exception leaves this function.
    """
    program = MINISTACK
    if not program.is_file():
        message = f"{program} is missing: run make setup"
        raise LocalStackError(message)
    directory = Path(tempfile.mkdtemp(prefix="rootwatch-local-")).resolve()
    process: subprocess.Popen[bytes] | None = None
    with _Interruptions() as interruptions:
        try:
            for attempt in range(1, _START_ATTEMPTS + 1):
                port = free_port()
                log_file = directory / f"ministack-{attempt}.log"
                # Held back, so that no process is started that the lines below do not know of.
                with interruptions.held():
                    process = _start(program, directory, log_file, port)
                if _wait_until_ready(process, port):
                    break
                interruptions.uninterrupted(_stop, process)
                if attempt == _START_ATTEMPTS:
                    message = f"MiniStack did not start on {LOOPBACK} within {_START_SECONDS:.0f} seconds"
                    raise LocalStackError(message, _tail(log_file))
            if process is not None:  # it is: at least one attempt was made
                yield LocalStack(f"http://{LOOPBACK}:{port}", directory, log_file, process.pid)
        finally:
            interruptions.ignore()
            if process is not None:
                _stop(process)
            shutil.rmtree(directory, ignore_errors=True)


def free_port() -> int:
    """Return a TCP port that is free on the loopback address now. Somebody else can still take it before you do."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as candidate:
        candidate.bind((LOOPBACK, 0))
        return int(candidate.getsockname()[1])


class _Interruptions:
    """Turns SIGTERM and SIGHUP into SystemExit, and keeps signals away from what must not be cut in two.

    Python runs signal handlers in the main thread only; elsewhere this does nothing, and the main thread's owner is
    the one who ends the block.
    """

    def __init__(self) -> None:
        self._previous: dict[signal.Signals, Any] = {}
        self._holding = False
        self._ignoring = False
        self._pending: int | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            # None: the handler was not set by Python; the default is the nearest there is.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def ignore(self) -> None:
        """From now on signals change nothing: the stack is being taken down already, in bounded time."""
        self._ignoring = True

    @contextmanager
    def held(self) -> Iterator[None]:
        """Delay a signal until the end of the block."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        pending, self._pending = self._pending, None
        if pending is not None:
            self._raise(pending)

    def uninterrupted(self, function: Any, *arguments: Any) -> None:  # noqa: ANN401 - any callable
        """Call a function that a signal must not cut short."""
        with self.held():
            function(*arguments)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._ignoring:
            return
        if self._holding:
            self._pending = number
            return
        self._raise(number)

    @staticmethod
    def _raise(number: int) -> None:
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)


def _start(program: Path, directory: Path, log_file: Path, port: int) -> subprocess.Popen[bytes]:
    """Start MiniStack in a process group of its own, with nothing of our environment."""
    environment = {
        "PATH": os.defpath,
        "HOME": str(directory),
        "TMPDIR": str(directory),  # the functions' unpacked code and its PID file go there
        "LC_ALL": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "GATEWAY_PORT": str(port),
        "BIND_HOST": LOOPBACK,
        "MINISTACK_HOST": LOOPBACK,
        "MINISTACK_REGION": REGION,
        "MINISTACK_ACCOUNT_ID": ACCOUNT_ID,
        "STATE_DIR": str(directory / "state"),
        "S3_DATA_DIR": str(directory / "s3"),
        "PERSIST_STATE": "0",
        "S3_PERSIST": "0",
        "LAMBDA_EXECUTOR": "local",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        # A socket that is not there: it must not look at, or tidy up, the containers of this machine.
        "DOCKER_HOST": f"unix://{directory}/no-docker.sock",
        # The functions inherit these; without them botocore would look for a user's files.
        "AWS_ACCESS_KEY_ID": ACCOUNT_ID,
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": f"http://{LOOPBACK}:{port}",
    }
    with log_file.open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - a fixed program out of our own environment, no shell
            [str(program)],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _wait_until_ready(process: subprocess.Popen[bytes], port: int) -> bool:
    """Ask until the emulator says it is ready; False when it ended or took too long."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=2)
        # While it does not listen yet, or not properly, the loop asks again until the deadline, and then says so.
        with closing(connection), suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/_ministack/ready")
            if connection.getresponse().status == http.client.OK:
                # Ended by now: the port was somebody else's and the answer theirs.
                return process.poll() is None
        time.sleep(0.05)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End MiniStack and the functions it started: they are all in its process group, which is ours alone."""
    _signal_group(process, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_TERMINATE_SECONDS)
    # Also when it ended by itself: a function in the middle of a call outlives it.
    _signal_group(process, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_TERMINATE_SECONDS)


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # ProcessLookupError: nobody is left. PermissionError: how macOS says that only zombies are left.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _session() -> boto3.Session:
    """Return a session that reads neither AWS_* variables nor ~/.aws."""
    known = botocore.session.Session.SESSION_VARIABLES
    # Each setting is (name in the file, environment variable, default, conversion): keep the default only.
    settings = {name: (None, None, default, convert) for name, (_, _, default, convert) in known.items()}
    settings["config_file"] = (None, None, os.devnull, None)
    settings["credentials_file"] = (None, None, os.devnull, None)
    settings["region"] = (None, None, REGION, None)
    session = botocore.session.Session(session_vars=settings)
    session.set_credentials(access_key=ACCOUNT_ID, secret_key="local")  # noqa: S106 - no secret: the emulator takes any
    return boto3.Session(botocore_session=session)


def _zipped(folder: Path) -> bytes:
    """Return the folder as a zip, uncompressed: it travels over loopback only and is unpacked for every function."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as zipped:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), date_time=_ZIP_TIME)
                entry.external_attr = (path.stat().st_mode & 0o777) << 16
                zipped.writestr(entry, path.read_bytes())
    return archive.getvalue()


def _failures(cloudformation: Any, stack_name: str) -> str:  # noqa: ANN401 - a boto3 client
    """Return the stack events that failed, oldest first, one line each."""
    events = cloudformation.describe_stack_events(StackName=stack_name)["StackEvents"]
    return "\n".join(
        f"{event['LogicalResourceId']} ({event.get('ResourceType', '')}): {event.get('ResourceStatusReason', '')}"
        for event in reversed(events)
        if event.get("ResourceStatus", "").endswith("FAILED") and event.get("ResourceStatusReason")
    )


def _tail(log_file: Path) -> str:
    """Return the last lines of a log, reading no more than its last 64 KB."""
    try:
        with log_file.open("rb") as log:
            log.seek(max(0, log_file.stat().st_size - _LOG_TAIL_BYTES))
            lines = log.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-_LOG_TAIL_LINES:])
