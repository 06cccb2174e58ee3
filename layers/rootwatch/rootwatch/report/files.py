"""The report's three files: made beside each other, and put in place only once all of them are whole."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from rootwatch.report.aggregate import Reading
from rootwatch.report.compose import make_report
from rootwatch.report.csv import RegisterFile
from rootwatch.report.html import page_parts
from rootwatch.report.json import register_line, write_json
from rootwatch.report.model import Period, Report, Use


@dataclass(frozen=True, slots=True)
class Written:
    """A report, and where its files are."""

    report: Report
    page: Path
    register: Path
    document: Path

    @property
    def paths(self) -> tuple[Path, Path, Path]:
        """Return the files in the order in which they are to be kept: the page, which people open, last."""
        return self.register, self.document, self.page


def file_name(period: Period, kind: str) -> str:
    """Return the name of one of a month's files: root-usage-2026-11.html."""
    return f"root-usage-{period.name}.{kind}"


def write_report(reading: Reading, period: Period, folder: Path, generated: datetime) -> Written:
    """Make a month's report and write its files into a folder, all of them or none.

    Args:
        reading: what it is made of.
        period: the month.
        folder: where to; it must exist. Files of these names are replaced.
        generated: when it is made (UTC): the one thing in which two runs over the same table differ.

    Raises:
        StoreUnavailableError: the table did not answer; a retry helps.
        OSError: the folder cannot be written to; nothing was replaced.

    """
    page, register, document = (file_name(period, kind) for kind in ("html", "csv", "json"))
    with TemporaryDirectory(dir=folder, prefix=".root-usage-") as temporary:
        work = Path(temporary)
        with ExitStack() as opened:
            table = RegisterFile(opened.enter_context((work / register).open("w", encoding="utf-8", newline="")))
            lines = opened.enter_context((work / "lines").open("w", encoding="ascii"))

            def add(use: Use) -> None:
                table.add(use)
                lines.write(f"{register_line(use)}\n")

            report = make_report(reading, period, add)
        sha256 = sha256_of(work / register)
        report = replace(report, integrity=replace(report.integrity, register_sha256=sha256))
        with (work / document).open("w", encoding="ascii") as file:
            write_json(report, generated, _lines(work / "lines"), file)
        with (work / page).open("w", encoding="utf-8") as file:
            for part in page_parts(report, generated, (register, document)):
                file.write(part)
        for name in (register, document, page):
            (work / name).replace(folder / name)
    return Written(report, folder / page, folder / register, folder / document)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="ascii") as file:
        for line in file:
            yield line.rstrip("\n")
