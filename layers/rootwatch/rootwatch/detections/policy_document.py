"""What a policy document grants and to whom, read for the worst that it may mean.

The documents are hostile text of up to 100 KB: every function here takes time in proportion to their size, never
raises, and tells "cannot be read" from "grants nothing". Grammar:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import unquote

from rootwatch.errors import UnreadableRecordError
from rootwatch.record import read_json

Statement = Mapping[str, object]
"""A statement that allows; its keys are folded to lower case."""

_ANY_IAM_ACTION: Final = "iam:~any"
"""Only a pattern that stands for every action of IAM matches it."""

_NARROWING_OPERATORS: Final = frozenset(
    {"stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike"}
)
_NARROWING_KEYS: Final = frozenset({
    "aws:principalaccount", "aws:principalarn", "aws:principalorgid", "aws:principalorgpaths", "aws:sourceaccount",
    "aws:sourcearn", "aws:sourceorgid", "aws:sourceorgpaths", "aws:sourceowner", "kms:calleraccount",
})  # fmt: skip
"""Conditions that say whose principals are meant. Negations and …IfExists let strangers through: they do not count."""

_ACCOUNT: Final = re.compile(r"(?<![0-9])[0-9]{12}(?![0-9])")
_ORGANIZATION: Final = re.compile(r"o-[a-z0-9]{10,32}(?:/|\Z)")


def allowing_statements(policy: object) -> tuple[Statement, ...] | None:
    """Return the statements of a policy, an object or its JSON text, that allow; None where it cannot be read."""
    if isinstance(policy, str):
        text = policy.lstrip()
        try:
            policy = read_json(unquote(text) if text[:3].casefold() == "%7b" else text)
        except UnreadableRecordError:
            return None
    if not isinstance(policy, Mapping):
        return None
    stated = _folded(policy).get("statement")
    if isinstance(stated, Mapping):
        stated = [stated]
    if not isinstance(stated, list):
        return None
    statements = [_folded(each) for each in stated if isinstance(each, Mapping)]
    return tuple(each for each in statements if _is_allow(each.get("effect")))


def grants_administration(policy: object, account_id: str | None) -> bool:
    """Return whether a policy allows everything, or everything of IAM, on everything in the account.

    Conditions and denials beside it are not weighed: whoever wrote them can take them away.
    """
    partitions = ("aws", "aws-cn", "aws-us-gov")
    resources = [f"arn:{partition}:iam::{account_id}:role/~any" for partition in partitions]
    return any(
        _covers(statement, "action", [_ANY_IAM_ACTION], fold=True) and _covers(statement, "resource", resources)
        for statement in allowing_statements(policy) or ()
    )


def trusts_everybody(policy: object) -> bool:
    """Return whether anybody with an AWS account may use what the policy guards.

    A condition counts only where it names an account or an organization; an external id is no secret.
    """
    return any(
        _is_everybody(kind, name) and not _narrowed(statement)
        for statement in allowing_statements(policy) or ()
        for kind, name in _principals(statement)
    )


def open_to_outsiders(policy: object, account_id: str | None) -> bool | None:
    """Return whether a policy lets in anybody outside the account; AWS's own services are not counted.

    None where the policy cannot be read.
    """
    statements = allowing_statements(policy)
    if statements is None:
        return None
    return any(
        is_outsider(name, account_id, kind=kind)
        and not (_is_everybody(kind, name) and _narrowed(statement, account_id))
        for statement in statements
        for kind, name in _principals(statement)
    )


def is_outsider(principal: str, account_id: str | None, *, kind: str = "aws") -> bool:
    """Return whether a principal (everybody, an account, an ARN, a federation) lies outside the account."""
    if _is_everybody(kind, principal) or kind in {"federated", "canonicaluser"}:
        return True
    if kind == "service":
        return False
    return any(number != account_id for number in _ACCOUNT.findall(principal))


def _principals(statement: Statement) -> Iterator[tuple[str, str]]:
    if "notprincipal" in statement:
        yield "aws", "*"  # everybody but those named
    stated = statement.get("principal")
    if isinstance(stated, str):
        yield "aws", stated
    elif isinstance(stated, Mapping):
        for kind, names in stated.items():
            for name in texts(names):
                yield str(kind).casefold(), name


def _is_everybody(kind: str, name: str) -> bool:
    return kind in {"aws", "*"} and "*" in name


def _narrowed(statement: Statement, account_id: str | None = None) -> bool:
    """Return whether a condition keeps strangers out: to accounts or organizations, or to this one account if given."""
    conditions = statement.get("condition")
    for operator, keys in conditions.items() if isinstance(conditions, Mapping) else ():
        if str(operator).casefold().removeprefix("foranyvalue:") not in _NARROWING_OPERATORS:
            continue
        for key, stated in keys.items() if isinstance(keys, Mapping) else ():
            values = texts(stated)
            if values and str(key).casefold() in _NARROWING_KEYS and all(_names(value, account_id) for value in values):
                return True
    return False


def _names(value: str, account_id: str | None) -> bool:
    numbers = set(_ACCOUNT.findall(value))
    if account_id is not None:
        return numbers == {account_id}
    return bool(numbers) or _ORGANIZATION.match(value) is not None


def _covers(statement: Statement, element: str, examples: list[str], *, fold: bool = False) -> bool:
    """Return whether Action or Resource takes in an example, or NotAction or NotResource leaves it in."""
    for name, expected in ((element, True), (f"not{element}", False)):
        if name in statement:
            patterns = {text.casefold() if fold else text for text in texts(statement[name])}
            return any(_matches(pattern, each) for each in examples for pattern in patterns) is expected
    return False


def _matches(pattern: str, text: str) -> bool:
    """Return whether a pattern of `*` and `?` matches a short text; time grows with the pattern's length only."""
    at, position, star, mark = 0, 0, -1, 0
    while position < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, mark, at = at, position, at + 1
        elif at < len(pattern) and pattern[at] in {text[position], "?"}:
            at, position = at + 1, position + 1
        elif star >= 0:
            mark += 1
            at, position = star + 1, mark
        else:
            return False
    return not pattern[at:].strip("*")


def texts(value: object) -> list[str]:
    """Return the texts of a value that is one text or a list of them, as policies and requests have it."""
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)]


def _is_allow(effect: object) -> bool:
    return isinstance(effect, str) and effect.casefold() == "allow"


def _folded(mapping: Mapping[str, object]) -> dict[str, object]:
    return {str(key).casefold(): value for key, value in mapping.items()}
