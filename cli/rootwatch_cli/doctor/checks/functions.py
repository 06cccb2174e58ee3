"""The functions, what hands them their work, and whether they can run."""

import json
from collections.abc import Iterator
from typing import Final

from rootwatch.alert import visible
from rootwatch_cli.doctor.checks.verdict import (
    MAPPING,
    Verdict,
    as_json,
    aws,
    deploy,
    fault,
    warning,
)
from rootwatch_cli.doctor.deployment import (
    Answer,
    Deployment,
    Resource,
    holds_unknown,
)

_LEAST_CONCURRENCY: Final = 10
"""What a new account has; all our functions together need less."""


def mapping(deployment: Deployment, mapping: Resource) -> Iterator[Verdict]:
    """Compare what hands a function its work with the template."""
    answer, wanted = deployment.answer("lambda:GetEventSourceMapping", mapping.logical_id), mapping.properties
    function = str(answer.get("FunctionArn", "")).rpartition(":")[2]
    update = ("lambda", "update-event-source-mapping", "--uuid", str(mapping.physical_id))
    if answer["State"] not in {"Enabled", "Enabling", "Updating", "Creating"}:
        what = f"the function {function} is handed nothing: its event source mapping is {visible(answer['State'], 30)}"
        yield fault(what, aws(deployment, *update, "--enabled"))
    problem = str(answer.get("LastProcessingResult") or "")
    if problem.startswith("PROBLEM"):
        yield fault(f"Lambda cannot hand anything to {function}: {visible(problem, 300)}", "mend what Lambda names")
    most = (answer.get("ScalingConfig") or {}).get("MaximumConcurrency")
    wanted_most = (wanted.get("ScalingConfig") or {}).get("MaximumConcurrency")
    if most != wanted_most:
        scaling = as_json({"MaximumConcurrency": wanted_most} if wanted_most else {})
        what = f"{function} runs up to {most or 'any number of'} times at once, not {wanted_most or 'without a bound'}"
        yield warning(what, aws(deployment, *update, "--scaling-config", scaling))
    if set(wanted.get("FunctionResponseTypes", [])) - set(answer.get("FunctionResponseTypes") or []):
        what = f"{function} cannot report single failures: messages that it could not handle count as handled"
        yield fault(what, aws(deployment, *update, "--function-response-types", "ReportBatchItemFailures"))
    destination = ((wanted.get("DestinationConfig") or {}).get("OnFailure") or {}).get("Destination")
    if (
        destination
        and ((answer.get("DestinationConfig") or {}).get("OnFailure") or {}).get("Destination") != destination
    ):
        config = as_json({"OnFailure": {"Destination": destination}})
        what = f"what {function} cannot deliver within an hour is lost: nothing is left on its dead-letter queue"
        yield fault(what, aws(deployment, *update, "--destination-config", config))
    found, asked = _filters(answer), _filters(wanted)
    if found != asked:
        criteria = as_json({"Filters": [{"Pattern": each} for each in asked]})
        what = f"another filter decides what {function} is handed: {visible(found, 200)}"
        yield fault(what, aws(deployment, *update, "--filter-criteria", criteria))


def _filters(mapping: Answer) -> list[str]:
    filters = (mapping.get("FilterCriteria") or {}).get("Filters") or []
    return sorted(as_json(json.loads(each["Pattern"])) for each in filters)


def readers(deployment: Deployment, queue: Resource) -> Iterator[Verdict]:
    """Look for another function that reads a queue: what it takes and deletes never reaches us."""
    ours = {mapping.physical_id for mapping in deployment.resources(MAPPING)}
    for mapping in deployment.answer("lambda:ListEventSourceMappings", queue.logical_id)["EventSourceMappings"]:
        if mapping["UUID"] not in ours and mapping.get("State") not in {"Disabled", "Deleting"}:
            what = f"another function takes messages from this queue: {visible(mapping.get('FunctionArn'), 200)}"
            mend = aws(deployment, "lambda", "delete-event-source-mapping", "--uuid", str(mapping["UUID"]))
            yield fault(what, f"if nobody knows why: {mend}")


def function(deployment: Deployment, function: Resource) -> Iterator[Verdict]:
    """Compare a function with the template, but for its code: its state, role and settings."""
    answer = deployment.answer("lambda:GetFunctionConfiguration", function.logical_id)
    name = str(function.physical_id)
    # Lambda puts a function to sleep that was not called for weeks, and wakes it with the next call.
    if answer.get("State") not in {"Active", "Pending", "Inactive", None}:
        reason = visible(answer.get("StateReason") or "no reason stated", 200)
        yield fault(f"the function {name} is {visible(answer['State'], 30)}: {reason}", "mend what Lambda names")
    if answer.get("LastUpdateStatus") == "Failed":
        reason = visible(answer.get("LastUpdateStatusReason") or "no reason stated", 200)
        yield fault(f"the last update of the function {name} failed: {reason}", deploy(deployment))
    role = function.properties.get("Role")
    if isinstance(role, str) and answer.get("Role") != role:
        mend = aws(deployment, "lambda", "update-function-configuration", "--function-name", name, "--role", role)
        yield fault(f"the function {name} runs as {visible(answer.get('Role'), 120)}, not as its own role", mend)
    wanted = (function.properties.get("Environment") or {}).get("Variables") or {}
    there = (answer.get("Environment") or {}).get("Variables") or {}
    changed = sorted(
        key for key in wanted.keys() | there.keys()
        if not holds_unknown(wanted.get(key)) and str(wanted.get(key, "")) != str(there.get(key, ""))
    )  # fmt: skip
    if changed:
        shown = ", ".join(visible(key, 60) for key in changed)
        what = f"settings of the function {name} are not the stack's: {shown}"
        mend = aws(deployment, "cloudformation", "detect-stack-drift", "--stack-name", deployment.name)
        yield fault(what, f"{mend} shows the difference; set them back with aws lambda update-function-configuration")


def concurrency(deployment: Deployment, function: Resource) -> Iterator[Verdict]:
    """Look whether a reserved concurrency keeps a function from running."""
    reserved = deployment.answer("lambda:GetFunctionConcurrency", function.logical_id).get(
        "ReservedConcurrentExecutions"
    )
    if reserved is None or "ReservedConcurrentExecutions" in function.properties:
        return
    name = str(function.physical_id)
    mend = aws(deployment, "lambda", "delete-function-concurrency", "--function-name", name)
    if reserved == 0:
        yield fault(f"the function {name} is switched off: its reserved concurrency is 0", mend)
    else:
        yield warning(f"the function {name} runs at most {reserved} at once, which the template does not ask for", mend)


def account_concurrency(deployment: Deployment, _: None) -> Iterator[Verdict]:
    """Look whether the account has room for the functions beside all others."""
    limit = deployment.answer("lambda:GetAccountSettings")["AccountLimit"]
    free, whole = int(limit["UnreservedConcurrentExecutions"]), int(limit["ConcurrentExecutions"])
    mend = aws(
        deployment, "service-quotas", "request-service-quota-increase", "--service-code", "lambda",
        "--quota-code", "L-B99A9384", "--desired-value", "1000",
    )  # fmt: skip
    if free < 1:
        yield fault(
            f"no function without reserved concurrency can run: of {whole} at once in this account 0 are free", mend
        )
    elif free < _LEAST_CONCURRENCY:
        what = f"only {free} of {whole} functions at once are not reserved here: ours share them with all others"
        yield warning(what, mend)
