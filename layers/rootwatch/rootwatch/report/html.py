"""The report as one page that needs nothing but itself: no script, no address, fonts of the reader's own.

Every value goes through jinja2's autoescape; only the pictures, which `charts` escapes itself, are marked as safe.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from rootwatch.alert import clock, detection_title, duration
from rootwatch.report.charts import figures
from rootwatch.report.controls import CAUTION, CONTROLS
from rootwatch.report.exceptions import WORDS
from rootwatch.report.model import Report, counted
from rootwatch.report.monitoring import proof_words

FOLDER: Final = Path(__file__).parent
STYLE: Final = FOLDER / "page.css"


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "clock": _clock,
        "short": lambda moment: f"{moment:%Y-%m-%d %H:%M}",
        "span": _span,
        "title_of": detection_title,
        "called": lambda kind: WORDS[kind][0],
    }
    environment.globals |= {"counted": counted, "proof_words": proof_words}
    return environment.get_template("page.html.j2")


def page_parts(report: Report, generated: datetime, files: Iterable[str]) -> Iterable[str]:
    """Return the page in parts; one line of it, which holds `generated` (UTC), is all that another run changes.

    Args:
        report: what to show.
        generated: when the page is made.
        files: the names of the files beside it.

    """
    pictures = figures(report)
    return _template().generate(
        report=report,
        period=report.period,
        generated=clock(generated),
        files=list(files),
        style=Markup(STYLE.read_text(encoding="utf-8")),  # noqa: S704 - our own file
        pictures={name: (figure, Markup(figure.svg)) for name, figure in pictures.items()},  # noqa: S704 - see above
        controls=CONTROLS,
        caution=CAUTION,
    )


def _clock(moment: datetime | None) -> str:
    return clock(moment) if moment is not None else "not recorded"


def _span(seconds: float | None) -> str:
    return duration(timedelta(seconds=seconds)) if seconds is not None else "not measured"
