"""Reads what people hand to the command: files, folders and standard input, in every shape records come in.

Understood, in any mixture: raw CloudTrail records, EventBridge envelopes, `{"Records": [...]}` of a trail's files and
of queues, the output of `aws cloudtrail lookup-events`, any wrapper whose `event` is a record, arrays of these; as one
JSON document, several documents one after the other, or JSON lines; plain or gzip (recognised by its first bytes, not
by its name); UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

Nothing is dropped in silence: what cannot be read becomes an item with an error, and what stands beside it is still
read. JSON lines are read one line at a time, so a file may be larger than the memory.
"""

import codecs
import json
import os
import re
import stat
import zlib
from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path
from typing import BinaryIO, Final

from rootwatch.record import JSON_DECODER, PATIENT_JSON_DECODER

CHUNK: Final = 1 << 16
MAXIMUM_DECOMPRESSED: Final = 1 << 30
"""Bytes of one gzip file after decompression; a small file that grows beyond this is taken for a bomb."""
MAXIMUM_DOCUMENT: Final = 1 << 28
"""Characters of one JSON document, which has to be held in memory. A trail's files have at most 50 MB."""
MAXIMUM_WRAPPERS: Final = 20
"""Containers within containers before the one in hand is refused; in life there are three."""
MAXIMUM_OPEN_BRACKETS: Final = 1_000
"""Nesting of one document that is spread over lines; Python's own reader gives up there too."""
MAXIMUM_REREAD: Final = 1_000_000
"""Lines of one file that are read again behind something broken; a file made for it could ask for that without end."""

DAMAGED: Final = "the gzip data is damaged from here on; fetch the file again"
CUT_SHORT: Final = "the gzip data ends too early: the file is cut short; fetch it again"
BOMB: Final = f"more than {MAXIMUM_DECOMPRESSED >> 20} MiB after decompression; unpack it yourself if you trust it"
EXPECTED: Final = "expected CloudTrail records or EventBridge events as JSON or JSON lines, plain or gzip"

ENDLESS_LINE: Final = f"a line of more than {MAXIMUM_DOCUMENT >> 20} million characters; {EXPECTED}"

GZIP_MAGIC: Final = b"\x1f\x8b"
BYTE_ORDER_MARKS: Final = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
ENCODING_BY_ZEROS: Final[Mapping[tuple[bool, ...], str]] = {
    (False, True, False, True): "utf-16-le",
    (True, False, True, False): "utf-16-be",
    (False, True, True, True): "utf-32-le",
    (True, True, True, False): "utf-32-be",
}
BLANK: Final = " \t\r\n\ufeff"  # a byte order mark stands in the middle where files were joined
BLANKS: Final = re.compile(f"[{BLANK}]*")
STRING: Final = re.compile(r'"(?:[^"\\\n]|\\.)*+"|\\.')
"""A string, which lies within one line, as JSON has it; or an escaped character outside of any, so that the characters
behind a quote that is never closed are looked at once and not once for every quote that they escape."""
BRACKET: Final = re.compile(r"[\[\]{}]")
STRING_OR_BRACKET: Final = re.compile(rf"{STRING.pattern}|{BRACKET.pattern}")
VALUE_BEGINS: Final = frozenset('{["-0123456789tfnNI')
LISTS: Final = ("Records", "Events", "Messages")
"""Under which name lists of records come: trails and queues; LookupEvents; `aws sqs receive-message`."""
LIST_BEGINS: Final = re.compile(rf'(?:\{{\s*"(?P<name>{"|".join(LISTS)})"\s*:\s*)?\[\s*')
LIST_ENDS: Final = re.compile(r"\]\s*(?:\}\s*)?$")
BETWEEN_ELEMENTS: Final = re.compile(r"\s*,\s*")
TEXTS: Final = ("CloudTrailEvent", "body", "Body")
"""Under which name a record comes as a string of JSON: LookupEvents; a message, as Lambda or the AWS CLI shows it."""
RECORD_KEYS: Final = frozenset({"userIdentity", "eventName", "eventVersion"})


@dataclass(frozen=True, slots=True)
class InputItem:
    """One thing found in the input: a document, or the reason why there is none.

    `document` is an EventBridge envelope (it has `detail`) or a raw record, unjudged: whether it is a record at all is
    for the package to say. Strings in it are as hostile as they were, lone surrogates included; numbers that JSON or
    Python cannot carry (NaN, 1e999, integers of thousands of digits) are kept as text. `file` and `position`
    ("line 12, Records[3]", counting lines from 1 and elements from 0) are fit to be printed.
    """

    file: str
    position: str
    document: Mapping[str, object] | None
    error: str | None


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class _Decoded:
    """What came of one text: its documents, each with the offset at which it begins, up to where it broke."""

    documents: list[tuple[int, object]]
    error: str | None = None
    broken_from: int = 0
    broken_at: int = 0
    incomplete: bool = False


class _BrokenStreamError(Exception):
    """The bytes end here, though the file does not. Reading again does not help."""


def read_inputs(paths: Sequence[str], stdin: BinaryIO) -> Iterator[InputItem]:
    """Yield every document in the named files and folders in their order; `-` is `stdin`.

    A folder is read to its depths, its entries sorted by name, all files but hidden ones. Raises nothing about the
    input: whatever is wrong with it is an item with `error`.
    """
    for path in paths:
        if path == "-":
            yield from _read_stream("-", stdin)
        elif Path(path).is_dir():
            yield from _read_folder(Path(path))
        else:
            yield from _read_file(path)


def _read_folder(top: Path) -> Iterator[InputItem]:
    waiting = [top]  # a stack and not recursion: folders nest deeper than Python does
    while waiting:
        path = waiting.pop()
        try:
            mode = path.stat().st_mode
            if stat.S_ISREG(mode):
                yield from _read_file(str(path))
            elif not stat.S_ISDIR(mode):
                # Opening a pipe that nobody writes to would wait for ever. Named on the command line, it is read.
                yield _failure(str(path), "file", "neither a file nor a folder; name it itself if it is to be read")
            elif path != top and path.is_symlink():
                yield _failure(str(path), "folder", "a link to a folder, which is not followed; name it itself")
            else:
                with os.scandir(path) as entries:
                    names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
                waiting.extend(path / name for name in reversed(names))
        except OSError as error:
            yield _failure(str(path), "file", f"cannot be opened: {error.strerror or error}; {EXPECTED}")


def _read_file(path: str) -> Iterator[InputItem]:
    try:
        stream = Path(path).open("rb", buffering=0)  # noqa: SIM115 - closed below; here only a failed opening is caught
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        yield _failure(path, "file", f"cannot be opened: {reason}; expected a file, a folder, or - for standard input")
        return
    with stream:
        yield from _read_stream(path, stream)


def _read_stream(file: str, stream: BinaryIO) -> Iterator[InputItem]:
    lines = _Lines(stream)
    for position, value, error in _read_documents(lines):
        if error is None:
            yield from _unwrap(file, position, value, 0)
        else:
            yield _failure(file, position, error)
    if lines.fault is not None:
        yield _failure(file, f"line {lines.last}", lines.fault)


# --- bytes to lines ---------------------------------------------------------------------------------------------------


def _bytes(stream: BinaryIO) -> Iterator[bytes]:
    """Read the stream in pieces, the first of them long enough to tell what it is."""
    first = b""
    try:
        while len(first) < 4 and (piece := stream.read(CHUNK)):  # noqa: PLR2004 - the longest byte order mark
            first += piece
        yield first
        while piece := stream.read(CHUNK):
            yield piece
    except (OSError, ValueError) as error:  # ValueError: standard input is closed
        reason = f"cannot be read any further: {error}"
        raise _BrokenStreamError(reason) from error


def _gunzip(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Decompress every member of a gzip file, never more than a chunk at a time."""
    member = zlib.decompressobj(wbits=31)
    total = 0
    for piece in pieces:
        rest = piece
        while rest:
            if member.eof:
                rest = rest.lstrip(b"\0")  # tapes and some tools pad with zeros
                if not rest:
                    break
                member = zlib.decompressobj(wbits=31)
            try:
                plain = member.decompress(rest, CHUNK)
            except zlib.error as error:
                raise _BrokenStreamError(DAMAGED) from error
            rest = member.unused_data if member.eof else member.unconsumed_tail
            total += len(plain)
            if total > MAXIMUM_DECOMPRESSED:
                raise _BrokenStreamError(BOMB)
            yield plain
    if not member.eof:
        raise _BrokenStreamError(CUT_SHORT)


def _text(pieces: Iterator[bytes]) -> Iterator[str]:
    first = b""
    for piece in pieces:
        first += piece
        if len(first) >= 4:  # noqa: PLR2004 - the longest byte order mark
            break
    # What is no text in its encoding is replaced by U+FFFD: the record can still be judged and printed.
    decoder = codecs.getincrementaldecoder(_encoding(first))(errors="replace")
    yield decoder.decode(first)
    for piece in pieces:
        yield decoder.decode(piece)
    yield decoder.decode(b"", final=True)


def _encoding(first: bytes) -> str:
    """Tell the encoding by the byte order mark, else by where the zeros stand beside the first bracket.

    Stricter than `json.detect_encoding`, which takes any file that begins with a zero byte for UTF-16: one line of
    rubbish would make all the lines after it unreadable.
    """
    for mark, encoding in BYTE_ORDER_MARKS:
        if first.startswith(mark):
            return encoding
    if not first.lstrip(b"\0").startswith((b"{", b"[")):
        return "utf-8"
    return ENCODING_BY_ZEROS.get(tuple(byte == 0 for byte in first[:4]), "utf-8")


class _Lines:
    """The lines of a stream, numbered from 1, with a way to put some back.

    `fault` says, after the last line, why the stream ended too early, if it did.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.fault: str | None = None
        self.last = 1
        self._returned: list[_Line] = []
        self._fresh = self._read(stream)

    def next(self) -> _Line | None:
        return self._returned.pop() if self._returned else next(self._fresh, None)

    def put_back(self, lines: Sequence[_Line]) -> None:
        self._returned.extend(reversed(lines))

    def _read(self, stream: BinaryIO) -> Iterator[_Line]:
        held: list[str] = []
        size = 0
        try:
            for text in _decoded(stream):
                # Not splitlines(): it also splits at characters that may stand inside a JSON string.
                *ends, rest = text.split("\n")
                for end in ends:
                    held.append(end)
                    yield _Line(self.last, "".join(held))
                    held, size = [], 0
                    self.last += 1
                if rest:
                    held.append(rest)
                    size += len(rest)
                    if size > MAXIMUM_DOCUMENT:
                        raise _BrokenStreamError(ENDLESS_LINE)  # noqa: TRY301 - one end of reading, whoever finds it
        except _BrokenStreamError as error:
            self.fault = str(error)
        if held:
            yield _Line(self.last, "".join(held))


def _decoded(stream: BinaryIO) -> Iterator[str]:
    pieces = _bytes(stream)
    first = next(pieces)
    whole = chain([first], pieces)
    return _text(_gunzip(whole) if first.startswith(GZIP_MAGIC) else whole)


# --- lines to documents -----------------------------------------------------------------------------------------------

Found = tuple[str, object, str | None]
"""Position, value, error."""


def _read_documents(lines: _Lines) -> Iterator[Found]:
    """Yield every JSON document, and an error for each one that is broken.

    A line is tried by itself first. One that is whole is a document (or several). One that is only unfinished begins a
    document spread over lines, which is gathered until it closes or cannot go on. If it turns out broken, the lines
    behind the break are read again, as lines that may begin something of their own: a broken line costs itself and no
    neighbour. While `mending`, lines that are plainly the inside of the broken document are not errors of their own.
    """
    mending = False
    reread = 0
    while (line := lines.next()) is not None:
        text = line.text.strip(BLANK)
        if not text:
            continue
        inner = mending and (line.text[0] in " \t" or text[0] in '"}],' or text[-1] == ",")
        if inner and text[0] != "{":
            continue
        block = _Block([line], [text])
        decoded = _decode(block.text)
        if decoded.incomplete:
            block = _gather(line, text, lines)
            decoded = _decode(block.text)
        if inner:
            # An element of a list that broke before it. Any other object in there is the inside of a record.
            recognised = [document for document in decoded.documents if _is_recognised(document[1])]
            for offset, value in recognised:
                yield block.position(offset), value, None
            resume = len(block.lines) if recognised else 1
        else:
            for offset, value in decoded.documents:
                yield block.position(offset), value, None
            resume, mending = len(block.lines), False
            if decoded.error is not None:
                cut = lines.fault is not None and block.lines[-1].number == lines.last
                resume = yield from _salvage(block, decoded, cut=cut)
                mending = len(block.lines) > 1
        again = block.lines[resume:]
        reread += len(again)
        lines.put_back(again if reread <= MAXIMUM_REREAD else [each for each in again if _is_whole(each)])


def _is_whole(line: _Line) -> bool:
    text = line.text.strip(BLANK)
    return text.startswith("{") and bool(_decode(text).documents)


class _Block:
    """One line or several that are read as one text; knows where in the file each character of it stands."""

    def __init__(self, lines: list[_Line], texts: list[str]) -> None:
        self.lines = lines
        self.text = "\n".join(texts)
        self._begins = list(accumulate((len(text) + 1 for text in texts[:-1]), initial=0))

    def line_at(self, offset: int) -> int:
        """Give the index of the line in which the character at `offset` stands."""
        return bisect_right(self._begins, offset) - 1

    def place(self, offset: int) -> str:
        """Give the line and the column of `offset`, both from 1."""
        index = self.line_at(offset)
        line = self.lines[index]
        indentation = len(line.text) - len(line.text.lstrip(BLANK))
        return f"line {line.number}, column {offset - self._begins[index] + indentation + 1}"

    def position(self, offset: int) -> str:
        """Give the place of a document: its line alone, where it is the first on it."""
        return f"line {self.lines[0].number}" if offset == 0 else self.place(offset)


def _decode(text: str) -> _Decoded:
    """Every JSON document in `text`, one after the other."""
    documents: list[tuple[int, object]] = []
    offset = 0
    while offset < len(text):
        try:
            value, end = _decode_one(text, offset)
        except json.JSONDecodeError as error:
            reason = f"not JSON ({error.msg})"
            return _Decoded(documents, reason, offset, error.pos, incomplete=error.pos >= len(text))
        except RecursionError:
            return _Decoded(documents, "nested too deeply", offset, offset)
        documents.append((offset, value))
        offset = _behind_blanks(text, end)
    return _Decoded(documents)


def _decode_one(text: str, offset: int) -> tuple[object, int]:
    try:
        return JSON_DECODER.raw_decode(text, offset)
    except json.JSONDecodeError:
        raise
    except ValueError:  # an integer of more digits than Python converts
        return PATIENT_JSON_DECODER.raw_decode(text, offset)


def _gather(first: _Line, text: str, lines: _Lines) -> _Block:
    """Collect the lines of the document that begins with `first`: to where it closes, or to where it cannot go on."""
    gathered, texts = [first], [text]
    structure = _Structure()
    structure.take(text)
    size = len(text)
    while structure.open and (line := lines.next()) is not None:
        more = line.text.strip(BLANK)
        size += len(more) + 1
        if more and (size > MAXIMUM_DOCUMENT or not structure.may_go_on_with(more[0])):
            lines.put_back([line])
            break
        structure.take(more)
        gathered.append(line)
        texts.append(more)
    return _Block(gathered, texts)


class _Structure:
    """The brackets of an unfinished document, enough to see that the next line does not belong to it.

    JSON strings hold no line breaks, so a line of JSON is always whole strings, numbers and brackets.
    """

    def __init__(self) -> None:
        self._brackets: list[str] = []
        self._end = ""

    @property
    def open(self) -> bool:
        """Whether another line can belong to the document."""
        return 0 < len(self._brackets) <= MAXIMUM_OPEN_BRACKETS

    def take(self, text: str) -> None:
        """Go on behind one more line."""
        for bracket in BRACKET.findall(STRING.sub("", text)):
            if bracket in "{[":
                self._brackets.append(bracket)
            elif self._brackets:
                self._brackets.pop()
        self._end = text[-1:] or self._end

    def may_go_on_with(self, character: str) -> bool:
        """Whether a line that begins so can follow; the decoder judges the rest."""
        in_object = self._brackets[-1] == "{"
        if self._end in "{[":
            return character in ('"}' if in_object else VALUE_BEGINS | {"]"})
        if self._end == ",":
            return character == '"' if in_object else character in VALUE_BEGINS
        if self._end == ":":
            return character in VALUE_BEGINS
        return character in (",:}" if in_object else ",]")


def _salvage(block: _Block, decoded: _Decoded, *, cut: bool) -> Generator[Found, None, int]:
    """Yield what can still be had of a broken document, then its error; return the line of the block to go on with.

    Had can be the elements of a list of records: those before the break, and those behind one that is broken in itself.
    `cut`: the stream broke off in this document, which is reported already.
    """
    text, offset, complete = block.text, decoded.broken_from, False
    position = block.position(offset)
    if (opening := LIST_BEGINS.match(text, offset)) is not None:
        offset, index = opening.end(), 0
        while offset < len(text) and text[offset] != "]":
            element = _decode_element(text, offset)
            if element is None:
                break
            value, error, end = element
            yield f"{position}, {opening['name'] or ''}[{index}]", value, error
            comma = BETWEEN_ELEMENTS.match(text, end)
            offset = comma.end() if comma else _behind_blanks(text, end)
            if not comma:
                break
            index += 1
        complete = LIST_ENDS.match(text, offset) is not None
    if complete:
        return len(block.lines)
    if not cut:
        yield position, None, f"{decoded.error}, {block.place(decoded.broken_at)}; {EXPECTED}"
    index = block.line_at(offset)
    begins_there = text[offset - 1 : offset] == "\n"
    return max(1, index if begins_there else index + 1)  # never the first line again: every round gets on


def _decode_element(text: str, offset: int) -> tuple[object, str | None, int] | None:
    """(value, error, offset behind it) of one element of a list; None if it cannot be told where it ends."""
    ends = _end_of_element(text, offset)
    # By itself: an error of the decoder counts the lines before it, and before the millionth element they are many.
    element, begins = (text, offset) if ends is None else (text[offset:ends], 0)
    try:
        value, end = _decode_one(element, begins)
    except json.JSONDecodeError as error:
        reason = f"not JSON ({error.msg}); {EXPECTED}"
    except RecursionError:
        reason = f"nested too deeply; {EXPECTED}"
    else:
        return value, None, offset - begins + end
    return None if ends is None else (None, reason, ends)


def _end_of_element(text: str, offset: int) -> int | None:
    """Give where the object or list that begins at `offset` closes; None where it does not, or is neither."""
    depth = 0
    for match in STRING_OR_BRACKET.finditer(text, offset):
        bracket = match[0]
        depth += (bracket in "{[") - (bracket in "]}")
        if depth <= 0:  # at once, where the element is no object or list
            return match.end() if bracket in "]}" and depth == 0 else None
    return None


def _behind_blanks(text: str, offset: int) -> int:
    blanks = BLANKS.match(text, offset)
    return blanks.end() if blanks else offset


# --- documents to records ---------------------------------------------------------------------------------------------


def _unwrap(file: str, position: str, value: object, depth: int) -> Iterator[InputItem]:
    """Yield the records in one JSON value, whatever they are wrapped in."""
    if depth > MAXIMUM_WRAPPERS:
        yield _failure(file, position, f"wrapped more than {MAXIMUM_WRAPPERS} times; {EXPECTED}")
    elif isinstance(value, list):
        yield from _unwrap_list(file, f"{position}, ", value, depth)
    elif not isinstance(value, dict):
        yield _failure(file, position, f"{_kind(value)}, not a JSON object; {EXPECTED}")
    elif _is_record(value):
        yield InputItem(_printable(file), position, value, None)
    elif (text := _carried_text(value)) is not None:
        yield from _unwrap_text(file, position, text, depth)
    elif (name := next((name for name in LISTS if name in value), None)) is not None:
        records = value[name]
        if isinstance(records, list):
            yield from _unwrap_list(file, f"{position}, {name}", records, depth)
        else:
            yield _failure(file, position, f"{name} is {_kind(records)}, not a list; {EXPECTED}")
    elif isinstance(value.get("event"), dict):
        yield from _unwrap(file, position, value["event"], depth + 1)
    elif not _is_digest(value):
        yield InputItem(_printable(file), position, value, None)


def _unwrap_list(file: str, place: str, records: list[object], depth: int) -> Iterator[InputItem]:
    for index, record in enumerate(records):
        yield from _unwrap(file, f"{place}[{index}]", record, depth + 1)


def _unwrap_text(file: str, position: str, text: str, depth: int) -> Iterator[InputItem]:
    decoded = _decode(text.strip(BLANK))
    if decoded.error is not None or len(decoded.documents) != 1:
        yield _failure(file, position, f"the text in it is {decoded.error or 'not one JSON document'}; {EXPECTED}")
    else:
        yield from _unwrap(file, position, decoded.documents[0][1], depth + 1)


def _is_record(value: Mapping[str, object]) -> bool:
    """Whether this is an envelope or a record itself, and no wrapper that repeats some of its fields."""
    if isinstance(value.get("detail"), dict) or "userIdentity" in value:
        return True
    return not isinstance(value.get("event"), dict) and not RECORD_KEYS.isdisjoint(value)


def _is_recognised(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    return _is_record(value) or _carried_text(value) is not None or isinstance(value.get("event"), dict)


def _carried_text(value: Mapping[str, object]) -> str | None:
    return next((text for name in TEXTS if isinstance(text := value.get(name), str)), None)


def _is_digest(value: Mapping[str, object]) -> bool:
    """Whether this is one of the digest files that lie beside a trail's files.

    A digest lists log files and their hashes. It holds no records, so a folder as it was copied from the trail's bucket
    is read without complaint. Only what has all of a digest's marks passes; anything else unknown is shown.
    """
    return {"digestStartTime", "digestEndTime", "digestS3Object", "logFiles"} <= value.keys()


def _kind(value: object) -> str:
    names = {
        type(None): "null",
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a text",
        dict: "an object",
    }
    return names.get(type(value), "a list")


def _failure(file: str, position: str, error: str) -> InputItem:
    return InputItem(_printable(file), position, None, error)


def _printable(file: str) -> str:
    """Replace the bytes of a file's name that are no UTF-8, which no terminal or JSON writer takes."""
    return file.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
