"""The source address of a record: what kind it is, whatever stands in the field.

sourceIPAddress holds an address, the name of a service, "AWS Internal", a list, or anything at all.
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class SourceKind(StrEnum):
    """What stands in sourceIPAddress."""

    PUBLIC = "public"
    PRIVATE = "private"
    AWS_SERVICE = "aws_service"
    AWS_INTERNAL = "aws_internal"
    INVALID = "invalid"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a record came from: `ip` in its normal spelling, `raw` as the record has it.

    `trusted` is None where no network is configured as trusted, or the source is no address. `owner` and `country` are
    None for "not looked up".
    """

    kind: SourceKind
    ip: str | None = None
    raw: str | None = None
    trusted: bool | None = None
    owner: str | None = None
    country: str | None = None

    @property
    def key(self) -> str:
        """Return what this source is remembered by: its address, else its kind and text."""
        return self.ip or (f"{self.kind}:{self.raw}" if self.raw else str(self.kind))


_SERVICE: Final = re.compile(r"[a-z0-9.-]{1,100}\.amazonaws\.com(?:\.cn)?", re.IGNORECASE)
_PRIVATE: Final[tuple[Network, ...]] = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
                 "::1/128", "fc00::/7", "fe80::/10")
)  # fmt: skip
_NO_ONES: Final[tuple[Network, ...]] = tuple(
    ipaddress.ip_network(text) for text in ("0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "::/128", "ff00::/8")
)
"""Addresses that no host can send from."""


def classify(text: str | None, trusted: Sequence[Network] = ()) -> Source:
    """Return what kind of source the text of sourceIPAddress names; never raises.

    Of a list, the first public address counts, else the first address; whoever calls through proxies of their own may
    have written the first ones, so it is trusted only where all its public addresses are. `trusted` holds the
    operator's own networks.
    """
    if text is None or not text.strip():
        return Source(SourceKind.ABSENT)
    raw = text.strip()
    word = raw.casefold()
    if word in {"aws.internal", "aws internal"} or word.startswith(("aws internal/", "aws-internal")):
        return Source(SourceKind.AWS_INTERNAL, raw=text)
    if _SERVICE.fullmatch(raw):
        return Source(SourceKind.AWS_SERVICE, raw=text)
    addresses = [address for part in raw.split(",")[:16] if (address := _address(part.strip()))]
    usable = [address for address in addresses if not _within(address, _NO_ONES)]
    public = [address for address in usable if not _within(address, _PRIVATE)]
    if not usable:
        return Source(SourceKind.INVALID, raw=text)
    address = public[0] if public else usable[0]
    return Source(
        SourceKind.PUBLIC if public else SourceKind.PRIVATE,
        ip=str(address),
        raw=text,
        trusted=all(_within(each, trusted) for each in public or usable[:1]) if trusted else None,
    )


def _address(text: str) -> Address | None:
    if "%" in text:
        return None  # the zone behind an IPv6 address is free text, and no host far away sends one
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
