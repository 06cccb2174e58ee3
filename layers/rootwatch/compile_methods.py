"""Compiles in advance the methods that `dataclasses` writes for Rootwatch's classes; see `rootwatch.compiled_methods`.

    python3.13 compile_methods.py FOLDER

FOLDER holds the package and all that it imports. The Python has to be the version that will read the file.
"""

import dataclasses
import importlib
import pkgutil
import sys
from typing import Any


def texts(folder: str) -> list[str]:
    """Import every module of the package in the folder, and return what `dataclasses` had compiled meanwhile."""
    seen: list[str] = []

    def execute(text: str, names: dict[str, Any] | None = None, local: dict[str, Any] | None = None, /) -> None:
        seen.append(text)
        exec(text, names, local)  # noqa: S102 - as `dataclasses` does

    sys.path.insert(0, folder)
    setattr(dataclasses, "exec", execute)  # noqa: B010 - the module does not declare it
    package = importlib.import_module("rootwatch")
    for module in pkgutil.walk_packages(package.__path__, "rootwatch."):
        importlib.import_module(module.name)
    return seen


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    found = texts(sys.argv[1])
    importlib.import_module("rootwatch.compiled_methods").keep(found)
