"""Methods compiled in advance make the very classes that `dataclasses` makes."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from rootwatch import compiled_methods

CLASS = """
@dataclasses.dataclass(frozen=True, slots=True)
class Made:
    name: str
    seen: tuple = ()
    more: dict = dataclasses.field(default_factory=dict, compare=False)
"""


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have a file of our own, and leave `dataclasses` as it was found."""
    monkeypatch.setattr(compiled_methods, "FILE", tmp_path / "methods.bin")
    monkeypatch.setattr(dataclasses, "exec", exec, raising=False)


def made(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[object]]:
    """Make the class; return it and what was handed to `exec` for it, text or code."""
    handed: list[object] = []

    def noting(code: Any, *rest: Any) -> None:
        handed.append(code)
        exec(code, *rest)  # noqa: S102 - as `dataclasses` does

    monkeypatch.setattr(compiled_methods, "exec", noting, raising=False)
    names: dict[str, Any] = {"dataclasses": dataclasses, "__name__": __name__}
    exec(CLASS, names)  # noqa: S102 - the text above
    return names["Made"], handed


def texts_of_the_class(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the texts that `dataclasses` writes for the class."""
    texts: list[str] = []

    def noting(text: str, *rest: Any) -> None:
        texts.append(text)
        exec(text, *rest)  # noqa: S102 - as `dataclasses` does

    monkeypatch.setattr(dataclasses, "exec", noting)
    exec(CLASS, {"dataclasses": dataclasses, "__name__": __name__})  # noqa: S102 - the text above
    return texts


def behaviour(made_class: Any) -> list[object]:
    """Tell what a class does, in words and values that can be compared."""
    one, same, other = made_class("a"), made_class(name="a", more={"b": 1}), made_class("b", ("c",))
    said = []
    for wrong in (
        made_class,
        lambda: made_class("a", unknown=1),
        lambda: setattr(one, "name", "b"),
        lambda: delattr(one, "name"),
        lambda: setattr(one, "unknown", 1),
    ):
        with pytest.raises((TypeError, AttributeError)) as caught:
            wrong()
        said.append((type(caught.value).__name__, str(caught.value)))
    return [
        repr(one), repr(other), one == same, one == other, hash(one) == hash(same), one != "a",
        repr(dataclasses.replace(other, name="d")), [each.name for each in dataclasses.fields(made_class)],
        made_class.__match_args__, made_class.__slots__, made_class.__init__.__code__.co_varnames, said,
    ]  # fmt: skip


def test_a_class_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the file nothing is compiled, and the class does and says what it did without."""
    plain, _ = made(monkeypatch)
    compiled_methods.keep(texts_of_the_class(monkeypatch))
    compiled_methods.use()

    kept, handed = made(monkeypatch)

    assert handed
    assert not any(isinstance(each, str) for each in handed)
    assert behaviour(kept) == behaviour(plain)


def test_what_is_not_in_the_file_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class that the build did not know is made as ever."""
    compiled_methods.keep(["def nobody(): pass"])
    compiled_methods.use()

    unknown, handed = made(monkeypatch)

    assert handed
    assert all(isinstance(each, str) for each in handed)
    assert repr(unknown("a")) == "Made(name='a', seen=(), more={})"


@pytest.mark.parametrize("content", [None, b"", b"another Python's", b"\x00\x00\r\n"])
def test_without_a_file_of_this_python_nothing_changes(content: bytes | None) -> None:
    """No file, or another Python's: `dataclasses` compiles for itself."""
    if content is not None:
        compiled_methods.FILE.write_bytes(content)

    compiled_methods.use()

    assert vars(dataclasses)["exec"] is exec


def test_the_same_texts_give_the_same_bytes() -> None:
    """In any order, and when one comes twice: a layer built twice is the same."""
    texts = ["def one(): return 'a'", "def two(): return ('a', 1)"]
    compiled_methods.keep(texts)
    once = compiled_methods.FILE.read_bytes()

    compiled_methods.keep([*reversed(texts), *texts])

    assert compiled_methods.FILE.read_bytes() == once
