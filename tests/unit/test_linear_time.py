"""Nothing of ours takes more than linear time on hostile text: by the structure of each regular expression, and by
counting the steps of our own code. No clock decides: what is bounded here is bounded on every machine.
"""

import ast
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from re import _constants, _parser  # type: ignore[attr-defined] # the parser that re itself uses
from types import FrameType
from typing import Any, Final

import pytest

import rootwatch
from rootwatch.context.observation import observe
from rootwatch.record import read_document
from tests.builders import build_record
from tests.unit.workbench import OWN

PACKAGE: Final = Path(rootwatch.__file__).parent

# --- regular expressions ----------------------------------------------------------------------------------------------

MOST_CHOICES: Final = 512
"""Ways in which one attempt at one place of a text may try a pattern before it gives up."""

_PATTERN_FIRST: Final = {"compile", "match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer"}


class SuperLinearError(Exception):
    """A pattern that could take more than linear time, or that cannot be judged."""


def choices(pattern: str) -> int:
    """Return in how many ways a pattern can be tried from one place; from there on each way fails or matches.

    A repetition of a single character at a pattern's very end only consumes: whatever it takes is never looked at
    again, so it counts once and may be endless. Any other repetition counts each of its lengths, must end, and holds no
    other repetition. That suffices for linear time, and for nothing cleverer than this project needs.
    """
    return _sequence(list(_parser.parse(pattern)), is_end=True)


def _sequence(items: list[tuple[Any, Any]], *, is_end: bool) -> int:
    number = 1
    for position, (kind, argument) in enumerate(items):
        number *= _item(kind, argument, is_end=is_end and position == len(items) - 1)
    return number


def _item(kind: Any, argument: Any, *, is_end: bool) -> int:
    if kind in {_constants.LITERAL, _constants.NOT_LITERAL, _constants.IN, _constants.ANY, _constants.AT}:
        return 1
    if kind is _constants.SUBPATTERN:
        return _sequence(list(argument[-1]), is_end=is_end)
    if kind is _constants.BRANCH:
        return sum(_sequence(list(branch), is_end=is_end) for branch in argument[1])
    if kind in {_constants.ASSERT, _constants.ASSERT_NOT}:
        return _sequence(list(argument[1]), is_end=False)
    if kind in {_constants.MAX_REPEAT, _constants.MIN_REPEAT}:
        return _repeat(argument, is_end=is_end and kind is _constants.MAX_REPEAT)
    message = f"{kind} cannot be judged"
    raise SuperLinearError(message)


def _repeat(argument: Any, *, is_end: bool) -> int:
    least, most, body = int(argument[0]), argument[1], argument[2]
    if most == 1:
        return (1 - least) + _sequence(list(body), is_end=is_end)
    is_single = len(body) == 1 and body[0][0] in {_constants.LITERAL, _constants.NOT_LITERAL, _constants.IN}
    if is_single and is_end:
        return 1
    if most == _constants.MAXREPEAT:
        message = "an endless repetition that is not the pattern's end"
        raise SuperLinearError(message)
    if not is_single and any(kind in {_constants.MAX_REPEAT, _constants.MIN_REPEAT} for kind, _ in body):
        message = "a repetition within a repetition"
        raise SuperLinearError(message)
    lengths, inside = int(most - least + 1), _sequence(list(body), is_end=False)
    return int(lengths * inside ** (1 if is_single else int(most)))


def _patterns(path: Path) -> Iterator[tuple[int, ast.expr]]:
    """Every first argument of a function of `re` in a module, with its line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "re":
            message = f"{path.name}:{node.lineno} imports out of re, which hides its patterns from this test"
            raise SuperLinearError(message)
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "re"
            and node.func.attr in _PATTERN_FIRST
        ):
            yield node.lineno, node.args[0]


MODULES: Final = sorted(PACKAGE.rglob("*.py"))
FOUND: Final = [(path, line, node) for path in MODULES for line, node in _patterns(path)]


@pytest.mark.parametrize(
    ("path", "line", "node"), FOUND, ids=[f"{path.relative_to(PACKAGE)}:{line}" for path, line, _ in FOUND]
)
def test_a_regular_expression_is_linear(path: Path, line: int, node: ast.expr) -> None:
    """Each pattern stands in the source as plain text, and can be tried from any place in a bounded number of ways."""
    assert isinstance(node, ast.Constant), f"{path.name}:{line} makes its pattern, so nobody can judge it"
    assert isinstance(node.value, str)
    assert choices(node.value) <= MOST_CHOICES


def test_every_module_is_searched() -> None:
    """The search finds the patterns that are known to be there, in the package and below it."""
    assert {path.relative_to(PACKAGE).parts[0] for path, _, _ in FOUND} > {"record.py", "detections", "context"}
    assert len(FOUND) > 20


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a+)+", r"(?:a|a)*b", r".*x", r"\s+$", r"a*b", r"a{1,100}a{1,100}b", r"(a{1,9}b?){1,9}", r"(.)\1",
        r"x(?=a*b)", r"a+?", r"(?:a{0,3}){20}b", r"^(\d+,?)*$",
    ],
)  # fmt: skip
def test_a_pattern_that_is_not_linear_is_found(pattern: str) -> None:
    """The judge refuses nested, endless, ambiguous and referring repetitions, as they are known to be misused."""
    with pytest.raises((SuperLinearError, AssertionError)):
        assert choices(pattern) <= MOST_CHOICES


@pytest.mark.parametrize(
    ("pattern", "expected"), [("abc", 1), ("a?b", 2), ("a|b|cd", 3), ("a{2,5}b", 4), ("x[a-z]+", 1), ("(?:ab){2}c", 1)]
)
def test_choices_are_counted(pattern: str, expected: int) -> None:
    """A fixed text is one way, an option two, alternatives as many as they are, a repetition one for each length."""
    assert choices(pattern) == expected


# --- our own code -----------------------------------------------------------------------------------------------------

BYTES: Final = 20_000
STEPS_PER_BYTE: Final = 4
"""Lines of our code that one byte of a record may cause, all of reading, detections and context together."""

STEPS: Final = 10_000
"""Lines that a record takes whatever its size."""


def steps(act: Callable[[], object]) -> int:
    """Return how many lines of the package run in a call; the same on every machine and at every load."""
    count = 0

    def local(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return local

    def trace(frame: FrameType, _event: str, _argument: object) -> Any:
        return local if frame.f_code.co_filename.startswith(str(PACKAGE)) else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    return count


def judged(record: dict[str, Any]) -> int:
    """Return the steps of reading a record and saying everything about it."""

    def act() -> None:
        observation = observe(read_document(record), OWN)
        assert observation.relevant
        assert observation.role_alternative is None or observation.root_need is None

    return steps(act)


def test_steps_are_counted() -> None:
    """The counter counts: a plain record takes some hundreds of lines, and a longer list takes more."""
    plain, longer = (build_record("write", requestParameters={"name": ["x"] * size}) for size in (1, 2_000))
    assert 200 < judged(plain) < STEPS
    assert judged(longer) > judged(plain) + 2_000


def bound(record: dict[str, Any]) -> int:
    """Return the steps that a record of this size may take."""
    return STEPS + STEPS_PER_BYTE * len(json.dumps(record))


@pytest.mark.parametrize(
    "unit", ["a", "rootwatch", "rootwatch-", ":rootwatch", "/", "a/", ":", "arn:aws:", "-", "%7B", "1", "é", "\ud800"]
)
def test_long_names_take_linear_steps(unit: str) -> None:
    """A text of 20 KB in every field that is compared takes a bounded number of steps for each of its bytes."""
    text = unit * (BYTES // len(unit))
    fields = ("name", "rule", "tableName", "keyId", "targetKeyId", "userName", "serialNumber", "taskPolicyArn")
    request = {**dict.fromkeys(fields, text), "alarmNames": [text] * 4, "policyDocument": text, "principal": text}
    for name in ("AssumeRoot", "StopLogging", "CreateAccessKey", "PutBucketPolicy", text):
        record = build_record(
            "assumed",
            eventName=name,
            userIdentity={"type": "Root"},
            requestParameters=request,
            responseElements={"functionArn": text, "accessKey": {"accessKeyId": text}},
            resources=[{"ARN": text}],
            userAgent=text,
            sourceIPAddress=text,
            errorCode=text,
        )
        assert judged(record) <= bound(record)


def policy(**statement: Any) -> str:
    """A policy document of one statement."""
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


def statements(body: str) -> str:
    """A document made of one statement over and over."""
    return '{"Statement":[' + ",".join([body] * (BYTES // len(body))) + "]}"


DOCUMENTS: Final = [
    "{" * BYTES,
    "[" * BYTES,
    "%7B" * (BYTES // 3),
    " " * BYTES,
    "9" * BYTES,
    '{"Statement":' + "9" * BYTES + "}",
    policy(Action="*" * BYTES, Resource="*" * BYTES, Principal="*" * BYTES),
    policy(Action="*a" * (BYTES // 2), Resource="?" * BYTES, Principal={"AWS": "1" * BYTES}),
    policy(Action=[f"*{n}*?" for n in range(BYTES // 9)], Resource=[f"arn:*{n}" for n in range(BYTES // 11)]),
    policy(Action="x", Resource="*", Principal="*", Condition={"StringLike": {"aws:PrincipalArn": ["*1" * 50] * 180}}),
    statements('{"Effect":"Allow","Action":"iam:*x","Resource":"*:x","Principal":{"AWS":"111122223333"}}'),
    statements(
        '{"Effect":"Allow","NotAction":"a","NotResource":"*","NotPrincipal":"x","Condition":{"StringEquals":{}}}'
    ),
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document[:30])
@pytest.mark.parametrize(
    "name", ["PutUserPolicy", "CreateRole", "PutKeyPolicy", "PutBucketPolicy", "AddPermission", "PutBucketAcl"]
)
def test_documents_take_linear_steps(name: str, document: str) -> None:
    """A policy takes a bounded number of steps for each of its bytes, whatever its author meant it to do."""
    fields = ("policyDocument", "assumeRolePolicyDocument", "policy", "principal", "x-amz-acl")
    record = build_record("write", eventName=name, requestParameters=dict.fromkeys(fields, document))
    del record["eventSource"]
    assert judged(record) <= bound(record)


@pytest.mark.parametrize(
    "nested", [{"a": {"a": {}}}, [[[]]], {"password": ["x"] * 3_000}, {str(n): n for n in range(3_000)}]
)
def test_broad_and_deep_parameters_take_linear_steps(nested: Any) -> None:
    """Parameters of thousands of entries, or as deep as JSON allows, are walked once."""
    deep: Any = nested
    for _ in range(200):
        deep = {"n": deep} if isinstance(nested, dict) else [deep]
    record = build_record("write", requestParameters={"x": deep, "y": [nested] * 5})
    assert judged(record) <= bound(record)
