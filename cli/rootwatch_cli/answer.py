"""`rootwatch ack`, `resolve`, `suspicious`, `contain`, `close` and `note`: what a person answers, through triage.

The function `triage` takes the answer, and AWS itself says whose it is; see `rootwatch.caller_proof`.
"""

import json
import sys
from dataclasses import dataclass
from typing import Any, Final

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import NoCredentialsError
from rich.console import Console
from rich.text import Text

from rootwatch import caller_proof
from rootwatch.alert import visible
from rootwatch_cli.deployed import DeployedStack, StackNotFoundError, Where, clients, on_stack
from rootwatch_cli.show import find_incident

_FAILED: Final = (
    "The function {} failed, so nothing is certain: look with rootwatch show {} before you answer again. "
    "Its log says what went wrong."
)


@dataclass(frozen=True, slots=True)
class Given:
    """What a person typed: an action of `rootwatch.triage.Action`, and the texts with it."""

    action: str
    reason: str = ""
    ticket: str = ""
    note: str = ""


def run_answer(where: Where, incident_id: str, given: Given, *, as_json: bool) -> int:
    """Give an answer and say what became of it; return 1 where it was not taken, in words."""

    def do(stack: DeployedStack) -> int:
        found = find_incident(stack.store, incident_id)
        if isinstance(found, str):
            sys.stderr.write(f"{found}\n")
            return 1
        command: dict[str, Any] = {
            "action": given.action,
            "incident_id": found.id,
            "reason": given.reason.strip(),
            "ticket": given.ticket.strip(),
            "note": given.note.strip(),
            "seen": found.triage.moves,
        }
        answer = _invoked(where, command)
        done, words = answer.get("done") is True, visible(answer.get("words"), 600)
        if as_json:
            document = {"incident_id": found.id, "done": done, "words": words, "state": answer.get("state")}
            sys.stdout.write(json.dumps(document, ensure_ascii=True) + "\n")
        elif done:
            Console().print(Text(words))
        else:
            sys.stderr.write(f"{words}\n")
        return 0 if done else 1

    return on_stack(where, do)


def _invoked(where: Where, command: dict[str, Any]) -> dict[str, Any]:
    """Hand the answer and the proof of who gives it to the function, and return what it says."""
    function = f"{where.stack}-triage"
    event = {"command": command, "proof": signed_proof(where, caller_proof.digest(command, function))}
    client = clients(where)("lambda")
    try:
        answer = client.invoke(FunctionName=function, Payload=json.dumps(event).encode())
    except client.exceptions.ResourceNotFoundException:
        message = f"There is no function {visible(function)}: this deployment is older than triage. Deploy it again."
        raise StackNotFoundError(message) from None
    document = json.loads(answer["Payload"].read())
    if answer.get("FunctionError") or not isinstance(document, dict):
        raise StackNotFoundError(_FAILED.format(function, command["incident_id"]))
    return document


def signed_proof(where: Where, bound: str) -> dict[str, str]:
    """Sign a request to STS with this machine's credentials, and return its headers.

    Args:
        where: the stack; its region's STS is asked, as the function asks it.
        bound: what the proof is good for; see `caller_proof.digest`.

    """
    session = boto3.Session(profile_name=where.profile, region_name=where.region)
    credentials = session.get_credentials()
    if credentials is None:
        raise NoCredentialsError
    meta = clients(where)("sts").meta
    headers = {"Content-Type": caller_proof.CONTENT_TYPE, caller_proof.BOUND: bound}
    request = AWSRequest("POST", f"{meta.endpoint_url.rstrip('/')}/", headers, caller_proof.BODY)
    signer: Any = SigV4Auth(credentials.get_frozen_credentials(), "sts", meta.region_name)
    signer.add_auth(request)
    return {name: str(value) for name, value in request.headers.items()}
