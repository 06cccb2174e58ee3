"""Databases of who owns an address, which the operator puts into a layer: every `*.mmdb` of one folder."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rootwatch.context.network_owner import Owner, of_databases

if TYPE_CHECKING:
    from maxminddb import Reader

_LOG: Final = logging.getLogger(__name__)
_MOST_FILES: Final = 16


class OwnerDatabases:
    """The databases in a folder, by name. They are opened at the first question; a folder without any costs nothing."""

    def __init__(self, folder: Path) -> None:
        """Look into this folder, which need not be there."""
        self._folder = folder
        self._opened: list[tuple[str, Reader]] | None = None

    def look_up(self, address: str) -> Owner | None:
        """Return what the databases know of an address in its normal spelling; None where none knows anything.

        A broken database is named in the log and left out, whatever is wrong with it; the others still count.
        """
        if self._opened is None:
            self._opened = self._open()
        records = []
        for name, reader in self._opened:
            try:
                records.append(reader.get(address))
            except Exception as error:  # noqa: BLE001 - a broken tree raises anything; an IPv4 one takes no IPv6
                _LOG.warning("%s could not be searched (%s)", name, type(error).__name__)
        return of_databases(records)

    def _open(self) -> list[tuple[str, "Reader"]]:
        try:
            files = sorted(self._folder.glob("*.mmdb"))[:_MOST_FILES]
        except OSError as error:
            _LOG.warning("%s cannot be listed (%s)", self._folder, type(error).__name__)
            files = []
        if not files:
            return []
        import maxminddb  # noqa: PLC0415 - only where there is a database to read

        opened = []
        for file in files:
            try:
                opened.append((file.name, maxminddb.open_database(file)))
            except Exception as error:  # noqa: BLE001 - whatever is wrong with the file, the alert is due without it
                _LOG.warning("%s is no database that can be read (%s)", file.name, type(error).__name__)
        return opened
