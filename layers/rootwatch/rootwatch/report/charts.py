"""The report's pictures: inline SVG, drawn by hand. Each says in words what it shows, and has its table beside it.

They are read by people who print in black and white and by people who see no red: what a colour says, a hatching and a
label say too. Everything written into them is escaped here.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from rootwatch.report.model import AccountStatement, MonthFigures, Period, Report, counted

WIDTH: Final = 340
"""Units of every picture's width: at 320 pixels the text is still 10 pixels high."""
MOST_CALENDARS: Final = 20
"""Accounts that the calendar draws, those with most use; one more line has the days of all together."""
MOST_LISTED: Final = 200
"""Accounts that its table lists."""
MOST_BARS: Final = 8
_LINE: Final = 18
_CELL: Final = WIDTH / 31
_ROW: Final = _LINE + _CELL + 8
_Days = tuple[str, Mapping[int, int], Mapping[int, int]]
"""A line of the calendar: what it is called, its acts and its attempts by day."""
_PATTERNS: Final = """<defs>
<pattern id="{0}-hatch" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">\
<rect class="f2" width="5" height="5"/><line class="ink" x1="0" y1="0" x2="0" y2="5" stroke-width="2.4"/></pattern>
<pattern id="{0}-dots" width="5" height="5" patternUnits="userSpaceOnUse">\
<rect class="f3" width="5" height="5"/><circle class="dot" cx="2.5" cy="2.5" r="1"/></pattern>
</defs>"""


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture: its title, what it shows in one sentence, the SVG, and the table with the same figures."""

    id: str
    title: str
    says: str
    svg: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def figures(report: Report) -> dict[str, Figure]:
    """Return the report's pictures by id; one that would show nothing is left out."""
    found = [
        _calendar(report.period, report.statements),
        _stages(report.stages),
        _mfa(report.mfa),
        _owners(report.owners),
        _trend(report.months),
    ]
    return {figure.id: figure for figure in found if figure is not None}


def _svg(name: str, title: str, says: str, height: float, parts: Iterator[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg class="chart" role="img" viewBox="0 0 {WIDTH} {height:g}" aria-labelledby="{name}-title {name}-desc">\n'
        f'<title id="{name}-title">{escape(title)}</title>\n<desc id="{name}-desc">{escape(says)}</desc>\n'
        f"{_PATTERNS.format(name)}\n{body}\n</svg>"
    )


def _label(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'


def _rect(x: float, y: float, width: float, height: float, fill: str) -> str:
    style = f'fill="url(#{fill})"' if "-" in fill else f'class="{fill}"'
    return f'<rect {style} x="{x:.2f}" y="{y:.2f}" width="{max(width, 0):.2f}" height="{height:.2f}"/>'


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


# --- calendar ------------------------------------------------------------------------------------------------------


def _calendar(period: Period, statements: Sequence[AccountStatement]) -> Figure | None:
    active = [each for each in statements if each.days or each.attempt_days]
    if not active:
        return None
    by_weight = sorted(active, key=lambda each: (-each.uses, -sum(each.days.values()), each.account_id))
    drawn, listed = by_weight[:MOST_CALENDARS], by_weight[:MOST_LISTED]
    lines = [(f"{each.account_id} {each.account_name}".strip(), each.days, each.attempt_days) for each in drawn]
    days, left_out = sum(len(each.days) for each in active), len(active) - len(drawn)
    says = f"Root acted on {counted(days, 'day')} in {counted(len(active), 'account')} (days counted in each account)."
    if left_out:
        says += f" Drawn are the days of all of them together, and the {len(drawn)} accounts with most use; "
        says += f"{counted(left_out, 'account')} with acts or attempts {'is' if left_out == 1 else 'are'} not drawn."
        lines.insert(0, _together(active))
    if len(active) > len(listed):
        says += f" The table has the first {len(listed)}; the days of all are in the JSON file (statements, days)."
    of_accounts = [(f"{each.account_id} {each.account_name}".strip(), each.days, each.attempt_days) for each in listed]
    rows = tuple(
        (title, _by_day(acts), _by_day(attempts))
        for title, acts, attempts in ([lines[0], *of_accounts] if left_out else of_accounts)
    )
    name, title = "calendar", f"{period.title}, day by day"
    height = len(lines) * _ROW + 34 + (_LINE if left_out else 0)
    svg = _svg(name, title, says, height, _draw_days(name, period, lines, left_out))
    return Figure(name, title, says, svg, ("Account", "Acts by day", "Attempts by day"), rows)


def _draw_days(name: str, period: Period, lines: Sequence[_Days], left_out: int) -> Iterator[str]:
    for position, (title, acts, attempts) in enumerate(lines):
        top = position * _ROW
        yield _label(0, top + 12, _short(title, 46), "strong")
        for day in range(1, period.days + 1):
            fill = "f1" if day in acts else f"{name}-hatch" if day in attempts else "f0"
            yield _rect((day - 1) * _CELL + 0.6, top + _LINE, _CELL - 1.2, _CELL - 1.2, fill)
    bottom = len(lines) * _ROW + 4
    if left_out:
        yield _label(0, bottom + 8, f"{counted(left_out, 'more account')} not drawn: see the table", "strong")
        bottom += _LINE
    for day in (1, 5, 10, 15, 20, 25, period.days):
        yield _label((day - 0.5) * _CELL, bottom + 4, str(day), "small", "middle")
    for left, fill, words in (
        (0, "f1", "acts of root"),
        (104, f"{name}-hatch", "attempts only"),
        (220, "f0", "nothing"),
    ):
        yield _rect(left, bottom + 13, 11, 11, fill)
        yield _label(left + 16, bottom + 23, words)


def _together(active: Sequence[AccountStatement]) -> _Days:
    """Return the line of all accounts: their acts and attempts of each day."""
    acts, attempts = Counter[int](), Counter[int]()
    for each in active:
        acts.update(each.days)
        attempts.update(each.attempt_days)
    return f"All {len(active):,} accounts with acts or attempts", acts, attempts


def _by_day(counts: Mapping[int, int]) -> str:
    return ", ".join(f"{day}: {count:,}" for day, count in sorted(counts.items())) or "none"


# --- bars ----------------------------------------------------------------------------------------------------------

_STAGE_ORDER: Final = ("attempt", "in", "credentials changed", "logging changed", "destruction", "no takeover stage")


def _stages(stages: Mapping[str, int]) -> Figure | None:
    counts = [(stage, stages.get(stage, 0)) for stage in _STAGE_ORDER]
    total = sum(count for _, count in counts)
    if not total:
        return None
    furthest = [stage for stage, count in counts[:-1] if count]
    says = f"Of {counted(total, 'act')}, the furthest stage of a takeover that any could be is: "
    says += f"{furthest[-1]}." if furthest else "none."
    return _bars("stages", "Acts by stage of a takeover", says, counts, ("Stage", "Acts"))


def _owners(owners: Mapping[str, int]) -> Figure | None:
    if not owners:
        return None
    counts = list(owners.items())
    rest = sum(count for _, count in counts[MOST_BARS:])
    if rest:
        counts = [*counts[:MOST_BARS], (f"{len(owners) - MOST_BARS} others", rest)]
    says = f"Root acted from networks of {counted(len(owners), 'owner')}; most from: {counts[0][0]}."
    return _bars("owners", "Sources by owner and country", says, counts, ("Owner and country", "Acts"))


def _bars(name: str, title: str, says: str, counts: Sequence[tuple[str, int]], columns: tuple[str, str]) -> Figure:
    most = max(count for _, count in counts) or 1

    def draw() -> Iterator[str]:
        for position, (words, count) in enumerate(counts):
            top = position * 32
            yield _label(0, top + 11, _short(words, 52))
            yield _rect(0, top + 15, WIDTH - 50, 11, "f0")
            yield _rect(0, top + 15, (WIDTH - 50) * count / most, 11, "f1")
            yield _label(WIDTH, top + 25, f"{count:,}", "strong", "end")

    rows = tuple((words, f"{count:,}") for words, count in counts)
    return Figure(name, title, says, _svg(name, title, says, len(counts) * 32, draw()), columns, rows)


def _mfa(mfa: Mapping[str, int]) -> Figure | None:
    total = sum(mfa.values())
    if not total:
        return None
    name, title = "mfa", "Sign-ins by MFA"
    says = f"Of {counted(total, 'successful sign-in')}, {mfa['yes']:,} with MFA, {mfa['no']:,} without, "
    says += f"{mfa['not stated']:,} where the record does not state it."
    parts = (("with MFA", mfa["yes"], "f1"), ("without MFA", mfa["no"], f"{name}-hatch"),
             ("not stated", mfa["not stated"], f"{name}-dots"))  # fmt: skip

    def draw() -> Iterator[str]:
        left = 0.0
        for _, count, fill in parts:
            width = WIDTH * count / total
            yield _rect(left, 0, width - (1 if width > 2 else 0), 26, fill)  # noqa: PLR2004 - a gap between parts
            left += width
        for position, (words, count, fill) in enumerate(parts):
            top = 36 + position * _LINE
            yield _rect(0, top, 11, 11, fill)
            yield _label(16, top + 10, f"{words}: {count:,}")

    rows = tuple((words, f"{count:,}") for words, count, _ in parts)
    return Figure(name, title, says, _svg(name, title, says, 92, draw()), ("MFA", "Sign-ins"), rows)


# --- trend ---------------------------------------------------------------------------------------------------------


def _trend(months: Sequence[MonthFigures]) -> Figure | None:
    if not any(month.uses or month.attempts for month in months):
        return None
    name, title = "trend", "Uses of root, month by month"
    last, before = months[-1], [month.uses for month in months[:-1]]
    says = f"{counted(last.uses, 'use')} in {last.month}; in each of the months before, {min(before)} to {max(before)}."
    most = max(month.uses for month in months) or 1
    step, height = WIDTH / len(months), 92.0

    def draw() -> Iterator[str]:
        for position, month in enumerate(months):
            left = position * step
            tall = height * month.uses / most
            without = height * month.without_mfa / most
            yield _rect(left + 3, 16 + height - tall, step - 6, tall - without, "f1")
            yield _rect(left + 3, 16 + height - without, step - 6, without, f"{name}-hatch")
            yield _label(left + step / 2, 12 + height - tall, str(month.uses), "strong", "middle")
            yield _label(left + step / 2, 30 + height, month.month[5:], "small", "middle")
            if month.month.endswith("-01") or position == 0:
                yield _label(left + step / 2, 43 + height, month.month[:4], "small", "middle")
        yield f'<line class="ink" x1="0" x2="{WIDTH}" y1="{16 + height:g}" y2="{16 + height:g}"/>'
        for left, fill, words in ((0, "f1", "uses of root"), (120, f"{name}-hatch", "of them without MFA")):
            yield _rect(left, height + 52, 11, 11, fill)
            yield _label(left + 16, height + 62, words)

    rows = tuple(
        (
            month.month,
            str(month.uses),
            str(month.without_mfa),
            str(month.sign_ins),
            str(month.attempts),
            str(month.records),
        )
        for month in months
    )
    columns = ("Month", "Uses", "Without MFA", "Sign-ins", "Attempts", "Records")
    return Figure(name, title, says, _svg(name, title, says, height + 68, draw()), columns, rows)
