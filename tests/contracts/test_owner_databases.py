"""The operator's own databases: read where there are any, named in the log where they are broken."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rootwatch.context.network_owner import Owner
from rootwatch.context.owner_databases import OwnerDatabases
from tests.builders.databases import FIVE_NETWORKS, write_database


@pytest.mark.parametrize(
    ("address", "owner"),
    [
        ("192.0.2.7", Owner("Example Telecom", "DE")),
        ("192.0.2.77", Owner("Example Cloud", None)),
        ("192.0.2.133", Owner("Example Broadband", "JP")),
        ("192.0.2.200", Owner("Example Networks", "CA")),
        ("2001:db8::7", Owner(None, "SE")),
        ("203.0.113.7", None),
        ("2001:db9::7", None),
    ],
)
def test_five_networks(address: str, owner: Owner | None, tmp_path: Path) -> None:
    """Each of the five networks is found with what its product states, and no other is."""
    write_database(tmp_path / "five.mmdb", FIVE_NETWORKS)
    assert OwnerDatabases(tmp_path).look_up(address) == owner


def test_several_databases_complete_each_other(tmp_path: Path) -> None:
    """One product knows the owner and another the country; by name, the first that states something counts."""
    write_database(tmp_path / "a-country.mmdb", {"192.0.2.0/24": {"country": {"iso_code": "SE"}}})
    write_database(tmp_path / "b-asn.mmdb", {"192.0.2.0/24": {"autonomous_system_organization": "Example"}})
    write_database(tmp_path / "c-both.mmdb", {"192.0.2.0/23": {"as_name": "Other", "country_code": "NO"}})
    databases = OwnerDatabases(tmp_path)
    assert databases.look_up("192.0.2.7") == Owner("Example", "SE")
    assert databases.look_up("192.0.3.7") == Owner("Other", "NO")


@pytest.mark.parametrize("content", ["empty", "text", "cut short", "metadata only", "scrambled", "a folder"])
def test_a_broken_database_is_left_out_and_named(
    content: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is wrong with a file, the log names it and the database beside it still counts."""
    write_database(tmp_path / "good.mmdb", {"192.0.2.0/24": {"as_name": "Example", "country_code": "SE"}})
    whole = (tmp_path / "good.mmdb").read_bytes()
    broken = tmp_path / "broken.mmdb"
    mark = whole.index(b"\xab\xcd\xefMaxMind.com")
    if content == "a folder":
        broken.mkdir()
    else:
        contents = {
            "empty": b"",
            "text": b"no database " * 99,
            "cut short": whole[:mark],
            "metadata only": whole[mark:],
            "scrambled": bytes(255 - byte for byte in whole[:mark]) + whole[mark:],
        }
        broken.write_bytes(contents[content])
    with caplog.at_level(logging.WARNING):
        databases = OwnerDatabases(tmp_path)
        for _ in range(2):
            assert databases.look_up("192.0.2.7") == Owner("Example", "SE")
    assert "broken.mmdb" in caplog.text


def test_a_folder_without_databases_costs_nothing(tmp_path: Path) -> None:
    """Where there is no database, or no folder, nothing is known, and the reader is not even imported."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "README.txt").write_text("no database", encoding="utf-8")
    program = (
        "import sys; from pathlib import Path; from rootwatch.context.owner_databases import OwnerDatabases\n"
        f"for name in ('empty', 'missing', '.'):\n"
        f"    assert OwnerDatabases(Path({str(tmp_path)!r}) / name).look_up('192.0.2.7') is None\n"
        "assert 'maxminddb' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_a_database_of_ipv4_says_nothing_of_ipv6(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An address that a database cannot hold is one that it does not know."""
    from mmdb_writer import MMDBWriter  # noqa: PLC0415 - another kind of database than the builder's
    from netaddr import IPSet  # noqa: PLC0415

    writer = MMDBWriter(ip_version=4, database_type="Example", description="Example")
    record: Any = {"as_name": "Example", "country_code": "SE"}
    writer.insert_network(IPSet(["192.0.2.0/24"]), record)  # type: ignore[no-untyped-call] # netaddr has no types
    writer.to_db_file(str(tmp_path / "four.mmdb"))
    databases = OwnerDatabases(tmp_path)
    assert databases.look_up("192.0.2.7") == Owner("Example", "SE")
    with caplog.at_level(logging.WARNING):
        assert databases.look_up("2001:db8::7") is None
    assert "2001:db8" not in caplog.text
