"""The chain as the report checks it: in any order, in little memory, and with the same verdict as `verify`."""

import hashlib
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootwatch.audit.table import Item
from rootwatch.incident import GENESIS, next_chain
from rootwatch.record import canonical_json
from rootwatch.report import chain
from rootwatch.report.chain import ChainCheck
from rootwatch.report.model import ChainResult


def links(count: int) -> list[Item]:
    """A sound chain of so many records."""
    found: list[Item] = []
    value = GENESIS
    for number in range(1, count + 1):
        text = canonical_json({"number": number})
        digest = hashlib.sha256(text.encode()).hexdigest()
        value = next_chain(value, digest)
        found.append({"sk": f"{number:04d}", "record": text, "sha256": digest, "sequence": number, "chain": value})
    return found


def checked(items: Sequence[Item], head: tuple[int, str] | None = None, head_now: int | None = None) -> ChainResult:
    """What checking these records finds, with the head that a sound chain of them would have."""
    last = max(items, key=lambda item: int(str(item["sequence"])))
    head = head or (int(str(last["sequence"])), str(last["chain"]))
    check = ChainCheck(*head)
    for item in items:
        check.add(str(item["sk"]), item, counts=True)
    return check.result(head[0] if head_now is None else head_now)


@given(st.permutations(list(range(12))))
def test_a_sound_chain_is_sound_in_any_order(order: list[int]) -> None:
    """Months are read by event time, records arrive in another order: neither makes a fault."""
    items = links(12)
    result = checked([items[place] for place in order])

    assert result == ChainResult(12, 12, str(items[-1]["chain"]), ())


@given(st.permutations(list(range(8))), st.integers(0, 7), st.sampled_from(["record", "sha256", "chain", "sequence"]))
def test_any_changed_field_is_a_fault(order: list[int], place: int, name: str) -> None:
    """Whatever of a record is changed, and in whatever order records come, the chain does not hold."""
    items = links(8)
    changed: Any = {"record": '{"number":99}', "sha256": "0" * 64, "chain": "f" * 64, "sequence": 77}[name]
    head = (8, str(items[-1]["chain"]))
    items[place] = {**items[place], name: changed}

    assert checked([items[each] for each in order], head).faults


@given(st.integers(1, 8), st.permutations(list(range(8))))
def test_a_removed_record_is_a_fault(number: int, order: list[int]) -> None:
    """A record that is gone is missed, the first and the last included."""
    items = links(8)
    head = (8, str(items[-1]["chain"]))

    assert checked([items[each] for each in order if each != number - 1], head).faults


def test_a_record_that_is_there_twice_is_a_fault() -> None:
    """A copy of a record under another key does not pass."""
    items = links(3)

    assert checked([*items, {**items[1], "sk": "copy"}]).faults


def test_what_arrives_while_it_is_read_is_no_fault() -> None:
    """A record beyond the head that was read first is left to the next report, if the head has come on meanwhile."""
    items = links(5)
    head = (3, str(items[2]["chain"]))

    assert not checked(items, head, head_now=5).faults
    assert checked(items, head, head_now=3).faults


def test_a_head_that_is_gone_is_a_fault() -> None:
    """Records without the head that counts them are no sound chain."""
    assert checked(links(2), (0, GENESIS)).faults


def test_memory_is_bounded_by_disorder(monkeypatch: pytest.MonkeyPatch) -> None:
    """More disorder than can be kept is said to be one, and never a sound chain."""
    monkeypatch.setattr(chain, "MOST_WAITING", 3)
    items = links(9)

    assert any("no order" in fault for fault in checked([*items[1::2], *items[::2]]).faults)
    assert not checked(items).faults
