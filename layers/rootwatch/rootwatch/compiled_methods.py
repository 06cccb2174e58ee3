"""The methods that `dataclasses` writes, compiled in advance: what was dearest in importing Rootwatch for a cold alert.

`dataclass` writes the text of a class's methods and has Python compile it, in every process anew, since a module's byte
code does not hold it: about a millisecond for each class, and an alert imports seventy. `make build` keeps what was
compiled, by its text, in a file beside the byte code. The classes are the same ones. Text that is not in there, another
Python or no file at all: then it is compiled as ever.
"""

import dataclasses
import marshal
from collections.abc import Iterable
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).with_suffix(".bin")
"""Python's own mark of its byte code, then a marshalled dictionary of texts and their marshalled code."""


def keep(texts: Iterable[str]) -> None:
    """Compile the texts and write the file; the same texts give the same bytes."""
    compiled = {text: marshal.dumps(compile(text, "<dataclass>", "exec")) for text in sorted(set(texts))}
    FILE.write_bytes(MAGIC_NUMBER + marshal.dumps(compiled))


def use() -> None:
    """Have `dataclasses` take from the file what it would compile, in this process from now on."""
    try:
        stored = FILE.read_bytes()
    except FileNotFoundError:
        return  # a clone: only a build has the file
    if not stored.startswith(MAGIC_NUMBER):
        return  # another Python's
    compiled: dict[str, bytes] = marshal.loads(stored[len(MAGIC_NUMBER) :])  # noqa: S302 - part of the layer, as byte code

    def execute(text: str, names: dict[str, Any] | None = None, local: dict[str, Any] | None = None, /) -> None:
        found = compiled.get(text)
        exec(text if found is None else marshal.loads(found), names, local)  # noqa: S102, S302 - as `dataclasses` does

    # The name that `dataclasses` calls it by: there it hides the builtin, and nowhere else.
    setattr(dataclasses, "exec", execute)  # noqa: B010 - the module does not declare it
