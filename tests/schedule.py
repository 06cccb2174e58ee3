"""In which order the tests run, and which of them in one process: what is long begins first, what shares a stage stays
together.

`pytest-xdist` deals the files of `--dist loadfile` out by the number of their tests, so the few long stories of the
end-to-end run would come last, and others between them: the shared stage would have to begin again after each.
"""

from typing import Final

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

LONGEST_FIRST: Final = ("e2e", "crash", "integration", "contracts", "docs", "template", "unit")
"""The folders of tests, by how long one file of them takes."""
TOGETHER: Final = "tests/e2e/"
"""What runs in one process, one after another: what begins here is one unit of work."""


def sort(items: list[pytest.Item]) -> None:
    """Put the long folders first; within a folder everything stays as it is, in the order that chance chose."""

    def place(item: pytest.Item) -> int:
        folder = item.path.parent.name
        return LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else len(LONGEST_FIRST)

    items.sort(key=place)


class Schedule(LoadFileScheduling):
    """`--dist loadfile`, with the end-to-end tests as if they were one file, and the files in their order."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        """Take the files in the order in which they are collected, and not by their number of tests."""
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return TOGETHER if nodeid.startswith(TOGETHER) else super()._split_scope(nodeid)
