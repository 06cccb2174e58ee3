"""What Slack, SNS, a mail program, a terminal and a log take, written down from their documentation, and what nobody
may ever be able to smuggle into one of them. Nothing here is read from the code that it judges.

Slack says "characters" and not which: counted are the units of UTF-16, of which a text never has fewer.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

# --- Slack ------------------------------------------------------------------------------------------------------------

BLOCKS: Final = 50
"""https://docs.slack.dev/reference/block-kit/blocks : of a message; `MODAL_BLOCKS` of a modal."""
MODAL_BLOCKS: Final = 100
HEADER_TEXT: Final = 150
"""https://docs.slack.dev/reference/block-kit/blocks/header-block ; `plain_text` only."""
SECTION_TEXT: Final = 3000
"""https://docs.slack.dev/reference/block-kit/blocks/section-block ; so are the next two."""
SECTION_FIELDS: Final = 10
FIELD_TEXT: Final = 2000
CONTEXT_ELEMENTS: Final = 10
"""https://docs.slack.dev/reference/block-kit/blocks/context-block"""
ACTIONS: Final = 25
"""https://docs.slack.dev/reference/block-kit/blocks/actions-block"""
BLOCK_ID: Final = 255
"""Also of `action_id` and `callback_id`."""
BUTTON_TEXT: Final = 75
"""https://docs.slack.dev/reference/block-kit/block-elements/button-element"""
BUTTON_VALUE: Final = 2000
INPUT_LABEL: Final = 2000
"""https://docs.slack.dev/reference/block-kit/blocks/input-block"""
PLACEHOLDER: Final = 150
"""https://docs.slack.dev/reference/block-kit/block-elements/plain-text-input-element ; `max_length` up to 3000."""
LONGEST_INPUT: Final = 3000
TEXT_OBJECT: Final = 3000
"""https://docs.slack.dev/reference/block-kit/composition-objects/text-object : any that has no limit of its own."""
MODAL_WORD: Final = 24
"""https://docs.slack.dev/reference/views/modal-views : title, submit, close."""
PRIVATE_METADATA: Final = 3000
MESSAGE_TEXT: Final = 4000
"""https://docs.slack.dev/reference/methods/chat.postMessage : the length that it recommends; from 40,000 on it cuts."""
MESSAGE_IN_BLOCKS: Final = 10_000
"""All text in the blocks of one message. Slack documents no limit, and refuses (`msg_blocks_too_long`) what its users
found to be anything above 11,000: https://github.com/slackapi/bolt-js/issues/2867 and .../2509"""

# --- SNS, mail, SMS ---------------------------------------------------------------------------------------------------

SUBJECT: Final = 99
"""https://docs.aws.amazon.com/sns/latest/api/API_Publish.html : fewer than 100 characters of ASCII, which begin with a
letter, number or punctuation mark, without line breaks or control characters."""
PUBLISH_BYTES: Final = 256 * 1024
"""The same page; the attributes count."""
SMS_BYTES: Final = 140
"""The same page: of one message, so that an alert is never sent in parts; 1,600 characters would be the most."""
MAIL_LINE_BYTES: Final = 998
"""https://www.rfc-editor.org/rfc/rfc5322#section-2.1.1"""

# --- what may never be ------------------------------------------------------------------------------------------------

UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode's categories of what no one can see: controls, formats such as reordering marks, halves of characters."""
OUR_LINKS: Final = ("https://runbook.example.com/", "https://docs.aws.amazon.com/", "aws.amazon.com/contact-us")
"""What may stand in a message of ours as an address; the first one is the tests' own runbook."""
_HOST: Final = re.compile(r"(?:evil|www)\.\w|example\.(?:com|org)|://", re.IGNORECASE)


def length(text: str) -> int:
    """How long a text is where nobody says what a character is."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def check_line(text: str) -> None:
    """A text of one line, in which nothing is hidden, and nothing would become a link."""
    check_nothing_hidden(text)
    for ours in OUR_LINKS:
        text = text.replace(ours, "")
    found = _HOST.search(text)
    assert found is None, f"a link in {text[max(0, found.start() - 40) : found.end() + 40]!r}"


def check_nothing_hidden(text: str) -> None:
    """A text of one line, of which a person sees every character."""
    hidden = {character for character in text if unicodedata.category(character) in UNSEEN}
    assert not hidden, f"hidden characters {hidden} in {text[:200]!r}"


def check_lines(text: str, forged: str, check: Callable[[str], None] = check_line) -> None:
    """A text of several lines, each as `check` has it, and none of them begins with what somebody made up."""
    for line in text.split("\n"):
        check(line)
        assert not line.strip(" │").startswith(forged), f"a forged line: {line[:200]!r}"


# --- a message on Slack -----------------------------------------------------------------------------------------------


def check_slack(message: Mapping[str, Any]) -> None:
    """A message is one that Slack takes, with blocks or without."""
    json.dumps(message, ensure_ascii=False).encode()  # raises on half a character
    assert 0 < length(message["text"]) <= MESSAGE_TEXT
    assert message["text"].strip()
    if "blocks" not in message:
        assert message["mrkdwn"] is False
        return
    _check_blocks(message["blocks"], BLOCKS)


def check_modal(view: Mapping[str, Any]) -> None:
    """A modal is one that Slack opens."""
    json.dumps(view, ensure_ascii=False).encode()
    assert view["type"] == "modal"
    words = {name: view[name] for name in ("title", "submit", "close") if name in view}
    assert "title" in words
    for entry in words.values():
        _check_text(entry, MODAL_WORD, {"plain_text"})
    assert len(view.get("private_metadata", "")) <= PRIVATE_METADATA
    assert len(view.get("callback_id", "")) <= BLOCK_ID
    # https://docs.slack.dev/reference/views/modal-views : submit is required where there is an input
    assert "submit" in words or not any(block["type"] == "input" for block in view["blocks"])
    _check_blocks(view["blocks"], MODAL_BLOCKS)


def _check_blocks(blocks: list[Any], most: int) -> None:
    assert 0 < len(blocks) <= most
    ids = [block["block_id"] for block in blocks if "block_id" in block]
    assert len(ids) == len(set(ids))
    assert all(0 < length(each) <= BLOCK_ID for each in ids)
    for block in blocks:
        _check_block(block)


def _check_block(block: Mapping[str, Any]) -> None:  # noqa: C901 - one case for each kind of block
    match block["type"]:
        case "header":
            _check_text(block["text"], HEADER_TEXT, {"plain_text"})
        case "section":
            assert "text" in block or block["fields"]
            if "text" in block:
                _check_text(block["text"], SECTION_TEXT)
            assert len(block.get("fields", [])) <= SECTION_FIELDS
            for entry in block.get("fields", []):
                _check_text(entry, FIELD_TEXT)
        case "context":
            assert 0 < len(block["elements"]) <= CONTEXT_ELEMENTS
            for entry in block["elements"]:
                _check_text(entry, TEXT_OBJECT)
        case "actions":
            assert 0 < len(block["elements"]) <= ACTIONS
            for button in block["elements"]:
                _check_button(button)
            names = [button["action_id"] for button in block["elements"]]
            assert len(names) == len(set(names))
        case "input":
            _check_text(block["label"], INPUT_LABEL, {"plain_text"})
            assert block["element"]["type"] == "plain_text_input"
            assert 0 < len(block["element"]["action_id"]) <= BLOCK_ID
            assert 1 <= block["element"]["max_length"] <= LONGEST_INPUT
            _check_text(block["element"]["placeholder"], PLACEHOLDER, {"plain_text"})
        case "rich_text":
            assert block["elements"]
            for element in block["elements"]:
                _check_rich(element)
        case other:
            assert block == {"type": "divider"}, other


def _check_button(button: Mapping[str, Any]) -> None:
    assert button["type"] == "button"
    assert button.keys() <= {"type", "action_id", "value", "text", "style"}  # no address among them
    assert 0 < length(button["action_id"]) <= BLOCK_ID
    assert 0 < length(button["value"]) <= BUTTON_VALUE
    assert button.get("style", "primary") in {"primary", "danger"}
    _check_text(button["text"], BUTTON_TEXT, {"plain_text"})


def _check_rich(element: Mapping[str, Any]) -> None:
    """Rich text is made of sections and lists of plain text elements; none of them a link, a mention or an emoji."""
    if element["type"] == "text":
        assert element.keys() <= {"type", "text", "style"}
        assert 0 < length(element["text"]) <= TEXT_OBJECT
    else:
        assert element["type"] in {"rich_text_section", "rich_text_list"}
        assert element["elements"]
        for entry in element["elements"]:
            _check_rich(entry)


def _check_text(entry: Mapping[str, Any], longest: int, kinds: frozenset[str] | set[str] = frozenset()) -> None:
    assert entry["type"] in (kinds or {"plain_text", "mrkdwn"})
    assert 0 < length(entry["text"]) <= longest
    assert entry.get("emoji", False) is False  # no `:name:` of a record becomes a picture


def texts_of(value: Any) -> Iterator[str]:
    """Every text that a message shows, at any depth of its blocks."""
    if isinstance(value, dict):
        if isinstance(value.get("text"), str) and value.get("type") in {"plain_text", "mrkdwn", "text"}:
            yield value["text"]
        for entry in value.values():
            yield from texts_of(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from texts_of(entry)


def check_tame_on_slack(message: Mapping[str, Any], ours: tuple[str, ...] = ()) -> None:
    """Nothing in a message is a mention, a link or formatting but what is in `ours`, and nothing is hidden.

    What Slack reads as markup is `text` and every `mrkdwn`: there <, > and & are special, and nothing else can mention
    or link. https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    markup = [message["text"]] if "text" in message else []
    blocks = message.get("blocks", [])
    markup += [each["text"] for each in _objects(blocks) if each.get("type") == "mrkdwn"]
    for text in markup:
        for words in ours:
            text = text.replace(words, "")  # noqa: PLW2901 - what is left
        assert "<" not in text, text[:200]
        assert ">" not in text, text[:200]
        assert not re.sub(r"&(?:amp|lt|gt);", "", text).count("&"), text[:200]
    for text in (*markup, *texts_of(blocks)):
        for line in text.split("\n"):
            check_line(line)
    assert sum(map(length, texts_of(blocks))) <= MESSAGE_IN_BLOCKS
    assert message.get("unfurl_links", False) is False
    assert "link_names" not in message
    assert message.get("parse", "none") == "none"


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, dict):
        yield value
        for entry in value.values():
            yield from _objects(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _objects(entry)


# --- a publish on SNS -------------------------------------------------------------------------------------------------


def check_sns(arguments: Mapping[str, Any]) -> None:
    """The arguments of a publish are ones that SNS takes, and its texts ones that people can read."""
    subject = arguments["Subject"]
    assert 0 < len(subject) <= SUBJECT
    assert subject.isascii()
    assert subject.isprintable()
    assert not subject.startswith(" ")
    size = len(arguments["Message"].encode())
    for name, attribute in arguments["MessageAttributes"].items():
        assert attribute["StringValue"]
        size += len(name) + len(attribute["DataType"]) + len(attribute["StringValue"].encode())
    assert size < PUBLISH_BYTES
    assert arguments["MessageStructure"] == "json"
    message = json.loads(arguments["Message"])
    assert all(isinstance(text, str) and text for text in message.values())
    assert message["default"]
    assert message["sms"].isascii()
    assert message["sms"].isprintable()
    assert len(message["sms"].encode()) <= SMS_BYTES
    for name in ("sqs", "lambda", "https", "http", "firehose", "email-json"):
        assert isinstance(json.loads(message[name]), dict)


def check_tame_on_sns(arguments: Mapping[str, Any], forged: str) -> None:
    """Nothing in a subject, a mail or an SMS is a link, a line that somebody made up, or hidden."""
    message = json.loads(arguments["Message"])
    check_line(arguments["Subject"])
    check_line(message["sms"])
    for text in {message["default"], message.get("email", message["default"])}:
        check_lines(text, forged)
        assert max(len(line.encode()) for line in text.split("\n")) <= MAIL_LINE_BYTES


# --- logs -------------------------------------------------------------------------------------------------------------


def check_log(text: str) -> None:
    """Every line of a log is a JSON object of its own, of characters that a log viewer shows."""
    for line in text.splitlines():
        assert isinstance(json.loads(line), dict), line[:200]
        assert not {unicodedata.category(character) for character in line} & (UNSEEN - {"Cf", "Co", "Cn"}), line[:200]
