"""A small, strict matcher of EventBridge patterns: an operator it does not know is an error, never a silent no.

It knows what the EventBridge guide documents for the operators that our two rules may use. Arrays in an event match if
one of their elements does. It is no proof of what AWS does: `aws events test-event-pattern` is.
"""

import re
from collections.abc import Mapping

# The operators our patterns may use; also the whole of what this matcher knows.
OPERATORS = frozenset({"prefix", "suffix", "wildcard", "anything-but", "exists", "equals-ignore-case"})


class UnknownOperatorError(Exception):
    """The pattern holds something that EventBridge does not know, or that we have not decided to trust."""


def matches(pattern: Mapping[str, object], event: Mapping[str, object]) -> bool:
    """Say whether `event` (an envelope) fits `pattern`; raise UnknownOperatorError for a pattern we cannot judge."""
    # No short cut: every part of the pattern is judged, so that a misspelt operator is found by any event.
    judged = [_field_matches(name, wanted, event) for name, wanted in pattern.items()]
    return all(judged)


def _field_matches(name: str, wanted: object, event: Mapping[str, object]) -> bool:
    if name == "$or":
        if not isinstance(wanted, list) or len(wanted) < 2:  # EventBridge refuses an $or of one
            raise UnknownOperatorError(name)
        judged = [matches(choice, event) for choice in wanted]
        return any(judged)
    present = name in event
    values = _flat(event.get(name))
    if isinstance(wanted, Mapping):
        inner = [value for value in values if isinstance(value, Mapping)]
        judged = [matches(wanted, value) for value in inner or [{}]]
        return any(judged)
    if isinstance(wanted, list) and wanted:
        judged = [_value_matches(choice, values, present=present) for choice in wanted]
        return any(judged)
    message = f"{name} is neither an object nor a list of what it may be"
    raise UnknownOperatorError(message)


def _flat(value: object) -> list[object]:
    """Return the elements of an array, as deep as it goes, or the one value itself."""
    if isinstance(value, list):
        return [leaf for element in value for leaf in _flat(element)]
    return [value]


def _value_matches(choice: object, values: list[object], *, present: bool) -> bool:
    if not isinstance(choice, Mapping):
        # 1 is no true, and "true" is neither: the type counts.
        return present and any(type(value) is type(choice) and value == choice for value in values)
    if len(choice) != 1:
        raise UnknownOperatorError(str(choice))
    [(operator, argument)] = choice.items()
    if operator == "exists" and isinstance(argument, bool):
        return present is argument
    texts = [value for value in values if isinstance(value, str)]
    if operator == "anything-but":
        forbidden = argument if isinstance(argument, list) else [argument]
        if not all(isinstance(one, str) for one in forbidden):
            raise UnknownOperatorError(str(choice))
        return present and any(value not in forbidden for value in values)
    if operator in OPERATORS and isinstance(argument, str):
        judged = [_text_matches(operator, argument, text) for text in texts or [""]]
        return bool(texts) and any(judged)
    raise UnknownOperatorError(str(choice))


def _text_matches(operator: str, argument: str, text: str) -> bool:
    if operator == "prefix":
        return text.startswith(argument)
    if operator == "suffix":
        return text.endswith(argument)
    if operator == "equals-ignore-case":
        return text.lower() == argument.lower()
    if operator == "wildcard" and "**" not in argument and "\\" not in argument:
        return re.fullmatch(".*".join(map(re.escape, argument.split("*"))), text, re.DOTALL) is not None
    raise UnknownOperatorError(operator)


def operators(pattern: Mapping[str, object]) -> set[str]:
    """Return the name of every operator that the pattern uses, known or not."""
    found: set[str] = set()
    for name, wanted in pattern.items():
        if isinstance(wanted, Mapping):
            found |= operators(wanted)
        elif isinstance(wanted, list):
            for choice in wanted:
                if isinstance(choice, Mapping):
                    found |= operators(choice) if name == "$or" else set(choice)
    return found
