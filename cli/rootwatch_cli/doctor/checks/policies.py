"""The policies of queues, topics and the key, compared with the template's."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rootwatch.alert import visible
from rootwatch_cli.doctor.checks.verdict import Verdict, as_json, fault, not_checked, warning
from rootwatch_cli.doctor.deployment import Answer, Deployment, holds_unknown


@dataclass(frozen=True, slots=True)
class _Statement:
    """One statement of a policy in a form that can be compared."""

    effect: str
    principal: str
    actions: frozenset[str]
    resources: frozenset[str]
    condition: str

    def __str__(self) -> str:
        actions = ", ".join(sorted(self.actions))
        under = f" under the condition {self.condition}" if self.condition != "{}" else ""
        return visible(f"{self.principal} to do {actions}{under}", 300)


def _statements(document: Answer) -> list[_Statement]:
    found = document.get("Statement", [])
    return [_statement(each) for each in (found if isinstance(found, list) else [found])]


def _statement(statement: Answer) -> _Statement:
    principal = statement.get("Principal", statement.get("NotPrincipal"))
    negative = {key for key in ("NotPrincipal", "NotAction", "NotResource") if key in statement}
    return _Statement(
        effect=str(statement.get("Effect")),
        principal=as_json([_sorted(principal), sorted(negative)] if negative else _sorted(principal)),
        actions=frozenset(str(each).lower() for each in _list(statement.get("Action", statement.get("NotAction", [])))),
        resources=frozenset(_list(statement.get("Resource", statement.get("NotResource", "*")))),
        condition=as_json(_sorted(_lowered(statement.get("Condition") or {}))),
    )


def _list(value: Any) -> list[Any]:  # noqa: ANN401 - one value or several
    return value if isinstance(value, list) else [value]


def _sorted(value: Any) -> Any:  # noqa: ANN401 - a principal or a condition
    if isinstance(value, Mapping):
        return {key: _sorted(each) for key, each in value.items()}
    listed = [str(each) for each in _list(value)]
    return sorted(listed) if len(listed) != 1 else listed[0]


def _lowered(condition: Answer) -> Answer:
    """Return a condition with its keys in small letters, as IAM takes them."""
    return {operator: {key.lower(): value for key, value in keys.items()} for operator, keys in condition.items()}


def compared(found: Answer, wanted: Answer, mend: str) -> Iterator[Verdict]:
    """Compare a policy with the template's: what it no longer grants or now forbids silences somebody."""
    if holds_unknown(wanted):
        yield not_checked("a part of the template's policy is known to AWS alone")
        return
    there, asked = _statements(found), _statements(wanted)
    for statement in asked:
        if statement not in there:
            verdict = fault if statement.effect == "Allow" else warning
            yield verdict(f"the policy no longer says: {_says(statement)}", mend)
    for statement in there:
        if statement not in asked:
            verdict = fault if statement.effect != "Allow" else warning
            yield verdict(f"the policy says besides the template's: {_says(statement)}", mend)


def _says(statement: _Statement) -> str:
    return f"{'allow' if statement.effect == 'Allow' else 'deny'} {statement}"


def policy_of(deployment: Deployment, kind: str, listed: str, physical_id: str | None) -> Answer:
    """Return the policy that the template gives a queue or a topic; the empty one where it gives none."""
    for policy in deployment.resources(kind):
        if physical_id in policy.properties.get(listed, []):
            document: Answer = policy.properties["PolicyDocument"]
            return document
    return {"Statement": []}
