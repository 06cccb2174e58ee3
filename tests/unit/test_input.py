"""Reading the input: every shape is understood, and nothing that is broken takes a neighbour with it."""

import gzip
import io
import json
import os
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootwatch_cli import input as reading
from rootwatch_cli.input import InputItem, read_inputs
from tests.builders import all_specimens, as_sqs_event, build_envelope, build_record, load_specimen


def read(data: bytes | str) -> list[InputItem]:
    """Read `data` as standard input."""
    stream = io.BytesIO(data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data)
    return list(read_inputs(["-"], stream))


def read_paths(*paths: Path) -> list[InputItem]:
    """Read files and folders, with nothing on standard input."""
    return list(read_inputs([str(path) for path in paths], io.BytesIO()))


def documents(items: Sequence[InputItem]) -> list[object]:
    """The documents among the items, in order."""
    return [item.document for item in items if item.error is None]


def errors(items: Sequence[InputItem]) -> list[tuple[str, str]]:
    """The position and the error of every item that could not be read."""
    return [(item.position, item.error) for item in items if item.error is not None]


def line(number: int) -> str:
    """One record as a JSON line; records of different numbers differ."""
    return json.dumps(build_record(number=number))


def record(number: int) -> dict[str, object]:
    """The record that `line(number)` holds."""
    return build_record(number=number)


# --- what is understood -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda r: r, id="raw record"),
        pytest.param(lambda r: {"Records": [r]}, id="a trail's file"),
        pytest.param(lambda r: {"source": "somewhere", "event": r, "name": "one"}, id="wrapper"),
        pytest.param(lambda r: {"eventName": "ConsoleLogin", "event": r}, id="wrapper that repeats a field"),
        pytest.param(lambda r: {"Events": [{"EventId": "1", "CloudTrailEvent": json.dumps(r)}]}, id="LookupEvents"),
        pytest.param(lambda r: {"Messages": [{"MessageId": "1", "Body": json.dumps(r)}]}, id="receive-message"),
        pytest.param(lambda r: as_sqs_event([r]), id="queue"),
        pytest.param(lambda r: [r], id="array"),
        pytest.param(lambda r: [{"Records": [{"event": r}]}], id="one within the other"),
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("specimen", ["record", "envelope"])
def test_every_shape_gives_the_record(wrap: Callable[[object], object], indent: int | None, specimen: str) -> None:
    """A record or an envelope comes out as it is, whatever it is wrapped in, pretty or not."""
    document = build_record() if specimen == "record" else build_envelope()
    items = read(json.dumps(wrap(document), indent=indent))
    assert documents(items) == [document]
    assert errors(items) == []


def test_every_specimen_is_read() -> None:
    """The project's own specimens, pretty JSON with one envelope or a list of them, come out whole."""
    for name in all_specimens():
        assert documents(read(json.dumps(load_specimen(name), indent=2))) == load_specimen(name)


@pytest.mark.parametrize("between", ["\n", "", " ", "\r\n", "\n\n\n", "\ufeff"])
@pytest.mark.parametrize("indent", [None, 2])
def test_documents_one_after_the_other(between: str, indent: int | None) -> None:
    """Several documents in one file need no separator and no line of their own."""
    text = between.join(json.dumps(record(number), indent=indent) for number in range(3))
    items = read(text)
    assert documents(items) == [record(0), record(1), record(2)]
    assert errors(items) == []


def test_positions_are_places_a_person_finds() -> None:
    """Lines count from 1, elements from 0, and a second document on a line names its column."""
    lookup = {"Events": [{"CloudTrailEvent": line(1)}, {"CloudTrailEvent": line(2)}]}
    text = f"{line(0)}\n\n{json.dumps(lookup)}\n{{}} {{}}\n"
    items = read(text)
    assert [item.position for item in items] == [
        "line 1",
        "line 3, Events[0]",
        "line 3, Events[1]",
        "line 4",
        "line 4, column 4",
    ]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
)
def test_encodings(encoding: str) -> None:
    """UTF-8, UTF-16 and UTF-32 are told apart, with or without a byte order mark."""
    document = build_record(userAgent="Mozilla/5.0 (été; 日本; 🔑)")
    assert documents(read((json.dumps(document, ensure_ascii=False) + "\r\n").encode(encoding))) == [document]


@pytest.mark.parametrize("first", [b"\0", b"\0\0\0\0", b"\0\n\0", b"x\0\0", b"\xff", b"\x1f"])
def test_rubbish_in_front_is_no_encoding(first: bytes) -> None:
    """A first line of zeros or other rubbish does not make the whole file unreadable."""
    items = read(first + b"\n" + line(0).encode())
    assert documents(items) == [record(0)]
    assert [position for position, _ in errors(items)] == [f"line {n + 1}" for n in range(first.count(b"\n") + 1)]


def test_bytes_that_are_no_text_are_replaced() -> None:
    """A record with invalid UTF-8 is read; what was no text becomes U+FFFD, which every printer takes."""
    data = json.dumps(build_record(userAgent="MARK")).encode().replace(b"MARK", b"a\xff\xfeb")
    [item] = read(data)
    assert item.document is not None
    assert item.document["userAgent"] == "a\ufffd\ufffdb"


def test_values_that_json_or_python_cannot_carry() -> None:
    """NaN, infinities, huge numbers and lone surrogates neither stop a record nor its way back into JSON."""
    text = '{"eventName": "X", "a": NaN, "b": -Infinity, "c": 1e999, "d": %s, "e": "\\ud800", "f": 1.5}' % ("9" * 9_000)
    [item] = read(text)
    assert item.document == {
        "eventName": "X", "a": "NaN", "b": "-Infinity", "c": "1e999", "d": "9" * 9_000, "e": "\ud800", "f": 1.5,
    }  # fmt: skip
    assert json.loads(json.dumps(item.document, allow_nan=False)) == item.document


@pytest.mark.parametrize("data", [b"", b"\n", b" \r\n\t\n", b"\xef\xbb\xbf", gzip.compress(b"", mtime=0), b"[]"])
def test_nothing_in_the_file_is_no_error(data: bytes) -> None:
    """An empty file has no lines and nothing wrong with it."""
    assert read(data) == []


def test_a_digest_is_no_record() -> None:
    """The digest files beside a trail's files give nothing; something that merely resembles one is shown."""
    digest = {"digestStartTime": "…", "digestEndTime": "…", "digestS3Object": "…", "logFiles": [], "awsAccountId": "…"}
    assert read(json.dumps(digest, indent=2)) == []
    assert documents(read('{"digestStartTime": "…"}')) == [{"digestStartTime": "…"}]


@pytest.mark.parametrize("document", [{}, {"a": 1}, {"detail": None, "detail-type": "x"}, {"event": "text"}])
def test_an_unknown_object_is_handed_on(document: dict[str, object]) -> None:
    """Whether an object is a record at all is not for the reader to say, so none is dropped here."""
    assert documents(read(json.dumps(document))) == [document]


# --- files, folders, gzip ---------------------------------------------------------------------------------------------


def test_files_and_folders_in_order(tmp_path: Path) -> None:
    """Paths are read in the order given, a folder to its depths by name, hidden files left out, `-` where it stands."""
    (tmp_path / "folder" / "b").mkdir(parents=True)
    (tmp_path / "folder" / ".git").mkdir()
    names = ("z.json", "folder/a.jsonl", "folder/b/c.json", "folder/d", "folder/.git/x", "folder/.y")
    for number, name in enumerate(names):
        (tmp_path / name).write_text(line(number))
    paths = [str(tmp_path / "z.json"), "-", str(tmp_path / "folder")]
    items = list(read_inputs(paths, io.BytesIO(line(9).encode())))
    assert documents(items) == [record(number) for number in (0, 9, 1, 2, 3)]
    assert [item.file for item in items] == [
        str(tmp_path / "z.json"),
        "-",
        *(str(tmp_path / "folder" / name) for name in ("a.jsonl", "b/c.json", "d")),
    ]


@pytest.mark.parametrize("name", ["trail.json.gz", "trail.json"])
def test_gzip_is_known_by_its_first_bytes(tmp_path: Path, name: str) -> None:
    """Every member of a gzip file is read, also behind padding, whatever the file is called."""
    members = [gzip.compress(f"{line(number)}\n".encode()) for number in range(3)]
    (tmp_path / name).write_bytes(members[0] + members[1] + bytes(512) + members[2] + bytes(512))
    items = read_paths(tmp_path / name)
    assert documents(items) == [record(0), record(1), record(2)]
    assert errors(items) == []


def test_a_name_that_says_gzip_of_a_file_that_is_none(tmp_path: Path) -> None:
    """A plain file called .gz is read as what it is."""
    (tmp_path / "plain.gz").write_text(line(0))
    assert documents(read_paths(tmp_path / "plain.gz")) == [record(0)]


@pytest.mark.parametrize("shape", ["lines", "records", "pretty records"])
def test_a_gzip_file_cut_short(shape: str) -> None:
    """What stands before the break is read, then one error says that the file is cut short."""
    records = [record(number) for number in range(200)]
    text = {
        "lines": "\n".join(json.dumps(each) for each in records),
        "records": json.dumps({"Records": records}),
        "pretty records": json.dumps({"Records": records}, indent=2),
    }[shape]
    whole = gzip.compress(text.encode())
    items = read(whole[: len(whole) * 3 // 4])
    found = documents(items)
    assert found == records[: len(found)]
    assert 100 < len(found) < 200
    assert [error for _, error in errors(items)] == [reading.CUT_SHORT]
    assert items[-1].error is not None


def test_a_damaged_gzip_file() -> None:
    """Damage in the middle ends the file with an error, and no exception; the other files are still read."""
    whole = bytearray(gzip.compress("\n".join(line(number) for number in range(2_000)).encode()))
    whole[len(whole) // 2 :] = b"\xff" * (len(whole) - len(whole) // 2)
    items = read(bytes(whole))
    assert items[0].document == record(0)
    assert items[-1].error in (reading.DAMAGED, reading.CUT_SHORT)


def test_rubbish_behind_a_gzip_member() -> None:
    """What follows a member and is no member is an error; the member counts."""
    items = read(gzip.compress(line(0).encode()) + b"rubbish")
    assert documents(items) == [record(0)]
    assert [error for _, error in errors(items)] == [reading.DAMAGED]


def test_a_bomb_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file that decompresses without end is stopped at the limit and reported; what came before counts."""
    monkeypatch.setattr(reading, "MAXIMUM_DECOMPRESSED", 1 << 20)
    bomb = gzip.compress(line(0).encode() + b"\n" * (1 << 23))
    items = read(bomb)
    assert documents(items) == [record(0)]
    assert [error for _, error in errors(items)] == [reading.BOMB]


def test_what_compresses_well_is_no_bomb() -> None:
    """Megabytes out of a few kilobytes are read to their end, and nothing is called cut short."""
    items = read(gzip.compress(b"\n" * (1 << 21) + line(0).encode()) + gzip.compress(b" " * (1 << 21)))
    assert documents(items) == [record(0)]
    assert errors(items) == []


def test_reading_again_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the limit, lines that are whole records are still read; only records spread over lines are given up."""
    monkeypatch.setattr(reading, "MAXIMUM_REREAD", 0)
    pretty = json.dumps(record(1), indent=2)
    items = read("\n".join(['{"a": [', line(0), ",[", "[", pretty, line(2), line(3)]))
    assert documents(items) == [record(0), record(2), record(3)]
    assert errors(items)


def test_a_line_without_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that does not end is given up at the limit, and what stands before it counts."""
    monkeypatch.setattr(reading, "MAXIMUM_DOCUMENT", 1 << 20)
    items = read(line(0).encode() + b'\n{"a": "' + b"x" * (1 << 22))
    assert documents(items) == [record(0)]
    assert [error for _, error in errors(items)] == [reading.ENDLESS_LINE]


class _EndlessLines(io.RawIOBase):
    """A stream of JSON lines that is far larger than what may be held of it."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._block = (line(0) + "\n").encode() * 200
        self._left = size // len(self._block)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:  # noqa: ARG002 - more than asked for is no harm here
        self._left -= 1
        return self._block if self._left >= 0 else b""


def test_json_lines_are_not_loaded_whole() -> None:
    """Sixteen megabytes of lines pass through less than four megabytes of memory."""
    tracemalloc.start()
    try:
        count = sum(1 for _ in read_inputs(["-"], cast("BinaryIO", _EndlessLines(1 << 24))))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count > 10_000
    assert peak < 1 << 22


def test_a_missing_file_and_its_neighbours(tmp_path: Path) -> None:
    """A file that is not there is an error that names it and says what was expected; the others are read."""
    (tmp_path / "here.json").write_text(line(0))
    items = read_paths(tmp_path / "gone.json", tmp_path / "here.json")
    assert documents(items) == [record(0)]
    [error] = [item for item in items if item.error]
    assert error.file == str(tmp_path / "gone.json")
    assert error.position == "file"
    assert "No such file" in str(error.error)
    assert "expected a file, a folder, or -" in str(error.error)


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without permission is an error of its own, and its neighbours are read."""
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.json").write_text(line(0))
    scandir = os.scandir

    def forbidding(path: Path) -> object:  # the tests may run as a user to whom nothing is forbidden
        if path.name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidding)
    items = read_paths(tmp_path)
    assert documents(items) == [record(0), record(0)]
    [error] = [item for item in items if item.error]
    assert error.file == str(tmp_path / "b")
    assert "Permission denied" in str(error.error)


def test_what_is_no_file_in_a_folder_does_not_hang(tmp_path: Path) -> None:
    """A pipe, a link that leads nowhere and a link in a circle are errors; nothing waits and nothing goes round."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    (tmp_path / "round").symlink_to(tmp_path)
    (tmp_path / "x.json").write_text(line(0))
    items = read_paths(tmp_path)
    assert documents(items) == [record(0)]
    assert {Path(item.file).name for item in items if item.error} == {"pipe", "nowhere", "round"}


def test_a_stream_that_fails_while_it_is_read() -> None:
    """An error of the disk or a closed standard input ends that input with an error, after what was read."""

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(size) or self._fail()

        def _fail(self) -> bytes:
            raise OSError(5, "Input/output error")

    items = list(read_inputs(["-"], Failing(line(0).encode())))
    assert documents(items) == [record(0)]
    assert "Input/output error" in errors(items)[0][1]
    closed = io.BytesIO()
    closed.close()
    assert "closed" in errors(list(read_inputs(["-"], closed)))[0][1]


def test_a_file_name_that_is_no_text(tmp_path: Path) -> None:
    """A name with bytes that are no UTF-8 is opened by its bytes and named so that it can be printed."""
    path = os.fsencode(tmp_path) + b"/\xff.json"
    Path(os.fsdecode(path)).write_text(line(0))
    [item] = read_paths(tmp_path)
    assert item.document == record(0)
    item.file.encode()
    assert item.file.endswith("\ufffd.json")


# --- what is broken ---------------------------------------------------------------------------------------------------


def test_a_broken_line_costs_only_itself() -> None:
    """Each line that is not JSON is one error, with its place and what was expected, between its good neighbours."""
    items = read(f'{line(0)}\n{{"eventName": tru\n{line(1)}\nrubbish\n{{"a": [\n{line(2)}\n{line(3)}')
    assert documents(items) == [record(number) for number in range(4)]
    assert [position for position, _ in errors(items)] == ["line 2", "line 4", "line 5"]
    for _, error in errors(items):
        assert "not JSON" in error
        assert reading.EXPECTED in error


@pytest.mark.parametrize("value", ["1", '"text"', "null", "true", "1.5"])
def test_json_that_is_no_object(value: str) -> None:
    """A number, a text or null is JSON and yet no record: an error, alone or as an element of a list."""
    items = read(f'{value}\n{{"Records": [{line(0)}, {value}, {line(1)}]}}')
    assert documents(items) == [record(0), record(1)]
    assert [position for position, _ in errors(items)] == ["line 1", "line 2, Records[1]"]
    assert all("not a JSON object" in error for _, error in errors(items))


@pytest.mark.parametrize("name", ["Records", "Events"])
def test_a_list_that_is_none(name: str) -> None:
    """Records that are no list are an error that says so."""
    [(_, error)] = errors(read(json.dumps({name: {"a": 1}})))
    assert f"{name} is an object, not a list" in error


@pytest.mark.parametrize("text", ["", "rubbish", "{", '{"a": 1} {"b": 2}', "7"])
def test_a_record_in_a_text_that_is_none(text: str) -> None:
    """A message whose body is no JSON object is an error at its place; the messages beside it are read."""
    messages = as_sqs_event([record(0), text, record(1)])
    items = read(json.dumps(messages, indent=2))
    assert documents(items) == [record(0), record(1)]
    assert [position for position, _ in errors(items)] == ["line 1, Records[1]"]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("broken", ['{"eventName": tru}', '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"])
def test_a_broken_element_in_a_list(indent: int | None, broken: str) -> None:
    """One element that is broken in itself, or nested so deeply that it cannot be read, hides no other."""
    text = json.dumps({"Records": [record(0), "MARK", record(1), record(2)]}, indent=indent).replace('"MARK"', broken)
    items = read(text)
    assert documents(items) == [record(0), record(1), record(2)]
    assert [position for position, _ in errors(items)] == ["line 1, Records[1]"]


def test_a_pretty_list_with_a_comma_missing() -> None:
    """A pretty list that breaks in the middle is one error, with the place; the records on both sides are read."""
    text = json.dumps({"Records": [record(number) for number in range(4)]}, indent=2)
    head, _, tail = text.partition("},\n    {")
    items = read(f"{head}}}\n    {{{tail}\n{line(7)}")
    assert documents(items) == [*(record(number) for number in range(4)), record(7)]
    [(position, error)] = errors(items)
    assert position == "line 1"
    assert f"line {head.count(chr(10)) + 1}, column 6" in error  # right behind the element that lacks it


def test_a_pretty_document_cut_short_before_another() -> None:
    """A document that is not finished costs itself: the next one is read, and the first is one error."""
    pretty = [json.dumps(record(number), indent=2) for number in range(3)]
    for cut in range(1, pretty[0].count("\n") + 1):
        begun = "\n".join(pretty[0].split("\n")[:cut])
        items = read("\n".join([begun, pretty[1], pretty[2]]))
        assert documents(items) == [record(1), record(2)], begun
        assert [position for position, _ in errors(items)] == ["line 1"], begun


@pytest.mark.parametrize("depth", [500, 5_000, 200_000])
@pytest.mark.parametrize("opening", ["[", '{"a":', "[\n", '{"event":', '{"Records":['])
def test_deep_nesting(depth: int, opening: str) -> None:
    """Brackets without end are errors and no exception, and the record behind them is read."""
    if "\n" in opening:
        depth = min(depth, 5_000)
    items = read(f"{line(0)}\n{opening * depth}\n{line(1)}\n{line(2)}")
    assert record(0) in documents(items)
    assert record(2) in documents(items)
    assert errors(items)


def test_wrappers_without_end() -> None:
    """A record wrapped a hundred times is refused with a reason, and not by running out of stack."""
    document: object = record(0)
    for _ in range(100):
        document = {"event": document}
    [(_, error)] = errors(read(json.dumps(document)))
    assert "wrapped more than" in error


@pytest.mark.parametrize(
    "tail",
    [
        '{"' + '\\"' * 300_000,
        '{\n"a": "' + '\\"' * 300_000,
        "{bad}]" + " " * 300_000 + "x",
        "{bad}]" + " " * 300_000 + "}" + " " * 300_000 + "x",
        "{bad}" + " " * 300_000 + ";",
        '{"' * 300_000,
        "{" + "\\" * 300_000,
    ],
    ids=["quotes", "quotes on a line", "blanks", "blanks twice", "no comma", "openings", "backslashes"],
)
def test_text_made_to_be_looked_at_again_and_again(tail: str) -> None:
    """No text makes a pattern look at it once for each of its characters. Without that, this would take hours."""
    items = read(f"[{line(0)},{tail}")
    assert documents(items)[:1] == [record(0)]
    assert errors(items)


def test_a_list_of_broken_elements_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each broken element is read by itself, so that the last one costs no more than the first."""
    read_again: list[int] = []
    real = reading._decode_one

    def count(text: str, offset: int) -> tuple[object, int]:
        read_again.append(len(text))
        return real(text, offset)

    monkeypatch.setattr(reading, "_decode_one", count)
    text = "[" + "{bad}," * 2_000 + line(0) + "]"
    items = read(text)
    assert documents(items) == [record(0)]
    assert len(errors(items)) == 2_000
    assert sum(read_again) < 4 * len(text)


GOOD = st.integers(0, 5).map(line)
BROKEN = st.one_of(
    # Beginnings of a line: what a writer that was killed leaves behind.
    st.tuples(GOOD, st.integers(1, 200)).map(lambda pair: pair[0][: -pair[1]]),
    # Ends of a line, and rubbish; no line that only closes, since with a beginning that may be one whole document.
    st.tuples(GOOD, st.integers(3, 40)).map(lambda pair: pair[0][-pair[1] :]),
    st.text(st.characters(exclude_characters='\n{}[]":,')).filter(lambda text: bool(text.strip(reading.BLANK))),
    st.sampled_from(["{", "[", "{{", '{"a": [', '{"Records": [', '{"event":', "<", '"', '{"a": tru', "\0"]),
)


@given(st.lists(st.tuples(st.booleans(), GOOD, BROKEN), max_size=8))
def test_every_good_line_is_read_whatever_stands_beside_it(lines: list[tuple[bool, str, str]]) -> None:
    """Any succession of good and broken lines yields every good one, in order."""
    text = "\n".join(good if is_good else broken for is_good, good, broken in lines)
    found = iter(documents(read(text)))
    # A beginning and an end that fit together are a document too, so there may be more.
    assert all(json.loads(good) in found for is_good, good, _ in lines if is_good)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_exception(data: bytes) -> None:
    """Whatever the bytes are, reading ends, and every item is a document or an error, with a place fit to print."""
    for prefix in (b"", b"\x1f\x8b\x08\x00", b'{"Records": [', b"\xff\xfe"):
        for item in read(prefix + data):
            assert (item.document is None) != (item.error is None)
            f"{item.file} {item.position} {item.error}".encode()
