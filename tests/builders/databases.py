"""Databases of who owns an address, small enough to be written where they are needed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mmdb_writer import MMDBWriter
from netaddr import IPSet

FIVE_NETWORKS: Final[Mapping[str, Mapping[str, Any]]] = {
    # MaxMind's GeoIP2 Enterprise
    "192.0.2.0/26": {
        "country": {"iso_code": "DE", "names": {"en": "Germany", "de": "Deutschland"}},
        "traits": {"organization": "Example Telecom", "isp": "Example Backbone", "autonomous_system_number": 64500},
    },
    # MaxMind's GeoLite2 ASN, which states no country
    "192.0.2.64/26": {"autonomous_system_number": 64501, "autonomous_system_organization": "Example Cloud"},
    # DB-IP's IP to ISP
    "192.0.2.128/26": {
        "continent": {"code": "AS"},
        "country": {"iso_code": "JP", "is_in_european_union": False},
        "traits": {"autonomous_system_organization": "Example AS", "isp": "Example Broadband"},
    },
    # IPinfo's Lite
    "192.0.2.192/26": {
        "country": "Canada", "country_code": "CA", "asn": "AS64502", "as_name": "Example Networks",
        "as_domain": "example.com",
    },
    # MaxMind's GeoLite2 Country, which states no owner
    "2001:db8::/32": {"country": {"iso_code": "SE"}, "registered_country": {"iso_code": "NO"}},
}  # fmt: skip
"""Five networks, each in the shape of another product."""


def write_database(file: Path, networks: Mapping[str, Mapping[str, Any]]) -> None:
    """Write an `.mmdb` with a record for each network in CIDR notation; its folder is made."""
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type="Example", description="Example networks")
    for network, record in networks.items():
        writer.insert_network(IPSet([network]), dict(record))  # type: ignore[no-untyped-call] # netaddr has no types
    file.parent.mkdir(parents=True, exist_ok=True)
    writer.to_db_file(str(file))
