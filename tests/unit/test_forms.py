"""The forms of one alert: the best one that can be made and is taken goes out, and what went wrong before is told."""

from collections.abc import Callable

import pytest

from rootwatch.channels.forms import bare_words, post_best_form
from rootwatch.errors import DeliveryFailedError, DeliveryRefusedError, MessageRefusedError
from tests.unit.workbench import make_alert


def form(text: str) -> Callable[[], str]:
    """A form that can be made."""
    return lambda: text


def faulty() -> str:
    """A form that cannot be made."""
    message = "never-to-be-seen"
    raise RecursionError(message)


class Channel:
    """A channel that refuses some forms, and remembers which it was asked to take."""

    def __init__(self, **refusals: Exception) -> None:
        self.refusals = refusals
        self.asked: list[str] = []

    def post(self, message: str) -> str:
        """Answer with a receipt, or refuse."""
        self.asked.append(message)
        if message in self.refusals:
            raise self.refusals[message]
        return f"receipt of {message}"


def test_the_best_form_goes_out_alone() -> None:
    """Where nothing is wrong, one message is posted, and there is nothing to tell."""
    channel = Channel()
    assert post_best_form([form("rich"), form("plain")], channel.post) == ("receipt of rich", ())
    assert channel.asked == ["rich"]


def test_a_form_that_is_refused_is_followed_by_a_plainer_one() -> None:
    """What the channel does not take in one form it gets in the next; each refusal is told."""
    channel = Channel(rich=MessageRefusedError("no blocks"), plain=MessageRefusedError("too long"))
    answer = post_best_form([form("rich"), form("plain"), form("bare")], channel.post)
    assert answer == ("receipt of bare", ("no blocks", "too long"))


def test_a_form_that_cannot_be_made_is_followed_by_a_plainer_one() -> None:
    """A fault of ours costs the form, not the alert, and only its kind is told: its text may quote a record."""
    receipt, before = post_best_form([faulty, form("plain")], Channel().post)
    assert receipt == "receipt of plain"
    [words] = before
    assert "RecursionError" in words
    assert "never-to-be-seen" not in words


@pytest.mark.parametrize("error", [DeliveryFailedError("out of reach"), DeliveryRefusedError("no service")])
def test_what_no_form_can_help_is_raised_at_once(error: Exception) -> None:
    """A channel that is gone, or out of reach, is not asked once more."""
    channel = Channel(rich=error)
    with pytest.raises(type(error)) as caught:
        post_best_form([form("rich"), form("plain")], channel.post)
    assert caught.value is error
    assert channel.asked == ["rich"]


def test_a_channel_that_takes_no_form_has_refused_for_good() -> None:
    """When every form is refused, the error is a refusal and holds every reason."""
    channel = Channel(rich=MessageRefusedError("no blocks."), plain=MessageRefusedError("no text."))
    with pytest.raises(MessageRefusedError, match=r"no blocks\. .*RecursionError.* no text\."):
        post_best_form([form("rich"), faulty, form("plain")], channel.post)


def test_an_alert_of_which_no_form_can_be_made_is_not_refused() -> None:
    """When nothing could be made the channel refused nothing: it is tried again, after we are mended."""
    channel = Channel()
    with pytest.raises(DeliveryFailedError, match="RecursionError"):
        post_best_form([faulty, faulty], channel.post)
    assert channel.asked == []


def test_the_bare_words_are_plain() -> None:
    """Even an id that somebody changed in the table becomes plain letters, bounded."""
    words = bare_words(make_alert(recipientAccountId="<!channel> https://evil.example.com\n" * 100))
    assert words.isascii()
    assert words.isprintable()
    assert "<" not in words
    assert "//" not in words
    assert len(words) < 400
