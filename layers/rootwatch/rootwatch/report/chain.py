"""An account's chain, checked while its records go by in any order, in memory that does not grow with them."""

import hashlib
from collections.abc import Mapping
from typing import Final

from rootwatch.audit.items import stored_record
from rootwatch.audit.table import Value
from rootwatch.errors import DamagedItemError
from rootwatch.incident import GENESIS, next_chain
from rootwatch.report.model import ChainResult

MOST_WAITING: Final = 50_000
"""Records that may wait for the one before them. Months are read by event time, and records arrive nearly in its order;
more than this is disorder that only `rootwatch verify` sorts out."""
MOST_FAULTS: Final = 5
"""Faults that are told of one account; the others are counted."""


class ChainCheck:
    """Checks every record's hash, and that each leads to the next, from the first to the one that the head names.

    A record waits only until the one before it or after it has come: what is kept is as large as the disorder.
    """

    def __init__(self, sequence: int, chain: str) -> None:
        """Begin with what the account's head said before the first record was read."""
        self._head = (sequence, chain)
        self._ends: dict[int, str] = {}
        """Records whose successor has not come, with their chain value."""
        self._starts: dict[int, tuple[str, str]] = {}
        """Records whose predecessor has not come, with the record's hash and their chain value."""
        self._faults: list[str] = []
        self._more = 0
        self._records = 0
        self._latest = 0
        self._last = (0, GENESIS)
        self._disordered = False

    def add(self, sk: str, item: Mapping[str, Value], *, counts: bool) -> None:
        """Check one record. `counts` says whether it belongs to the months that the report states the chain for."""
        self._records += counts
        stated = item.get("sha256")
        sha256 = stated if isinstance(stated, str) else ""
        try:
            if hashlib.sha256(stored_record(item).encode()).hexdigest() != sha256:
                self.fault(f"{sk}: its record is not the one that was hashed")
        except DamagedItemError as error:
            self.fault(f"{sk}: {error}")
        sequence, chain = item.get("sequence"), item.get("chain")
        if type(sequence) is not int or sequence < 1 or not isinstance(chain, str):
            self.fault(f"{sk}: its place in the chain is gone")
            return
        self._latest = max(self._latest, sequence)
        if sequence > self._head[0]:
            return  # it arrived while we read: the next report has it
        if counts and sequence > self._last[0]:
            self._last = (sequence, chain)
        before = GENESIS if sequence == 1 else self._ends.pop(sequence - 1, None)
        if before is None:
            self._wait(sequence, sha256, chain)
        else:
            self._join(sequence, before, sha256, chain)
        after = self._starts.pop(sequence + 1, None)
        if after is None:
            self._ends[sequence] = chain
        else:
            self._join(sequence + 1, chain, *after)

    def _wait(self, sequence: int, sha256: str, chain: str) -> None:
        if len(self._starts) < MOST_WAITING:
            self._starts[sequence] = (sha256, chain)
        else:
            self._disordered = True

    def _join(self, sequence: int, before: str, sha256: str, chain: str) -> None:
        if next_chain(before, sha256) != chain:
            self.fault(f"record {sequence} does not follow from the one before it")

    def fault(self, words: str) -> None:
        """Note what is wrong."""
        if len(self._faults) < MOST_FAULTS:
            self._faults.append(words)
        else:
            self._more += 1

    def result(self, head_now: int) -> ChainResult:
        """Return what was found; `head_now` is how many records the head names after the last record was read."""
        sequence, chain = self._head
        if self._disordered:
            self.fault("its records are in no order: rootwatch verify says what is wrong")
        else:
            for number in sorted(self._starts):
                self.fault(f"the record before record {number} is missing, or record {number} is there twice")
            for number in sorted(number for number in self._ends if number != sequence):
                self.fault(f"the record after record {number} is missing")
            if sequence and sequence not in self._ends:
                self.fault(f"the head names record {sequence}, which is missing")
        if self._ends.get(sequence, chain) != chain:
            self.fault("the head's chain value is not that of the last record")
        if self._latest > head_now:
            self.fault(f"the head names {head_now} records, but there is a record {self._latest}")
        return ChainResult(self._records, *self._last, tuple(self._faults), self._more)
