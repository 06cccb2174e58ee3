"""The source address: what kind of thing stands in the field, in one spelling."""

import pytest

from rootwatch.context.source import SourceKind, classify
from rootwatch.settings import networks


@pytest.mark.parametrize(
    ("text", "kind", "ip"),
    [
        ("203.0.113.7", SourceKind.PUBLIC, "203.0.113.7"),
        (" 203.0.113.7 ", SourceKind.PUBLIC, "203.0.113.7"),
        ("2001:DB8:0:0::1", SourceKind.PUBLIC, "2001:db8::1"),
        ("::ffff:203.0.113.7", SourceKind.PUBLIC, "203.0.113.7"),
        ("10.1.2.3", SourceKind.PRIVATE, "10.1.2.3"),
        ("100.64.0.1", SourceKind.PRIVATE, "100.64.0.1"),
        ("fe80::1", SourceKind.PRIVATE, "fe80::1"),
        ("::1", SourceKind.PRIVATE, "::1"),
        ("10.0.0.1, 203.0.113.9, 198.51.100.1", SourceKind.PUBLIC, "203.0.113.9"),
        ("10.0.0.1,rubbish", SourceKind.PRIVATE, "10.0.0.1"),
        ("cloudformation.amazonaws.com", SourceKind.AWS_SERVICE, None),
        ("ec2.amazonaws.com.cn", SourceKind.AWS_SERVICE, None),
        ("AWS Internal", SourceKind.AWS_INTERNAL, None),
        ("aws.internal", SourceKind.AWS_INTERNAL, None),
        ("AWS Internal/1", SourceKind.AWS_INTERNAL, None),
        ("", SourceKind.ABSENT, None),
        (" \t", SourceKind.ABSENT, None),
        (None, SourceKind.ABSENT, None),
        ("0.0.0.0", SourceKind.INVALID, None),  # noqa: S104 - no address to bind to
        ("255.255.255.255", SourceKind.INVALID, None),
        ("256.1.1.1", SourceKind.INVALID, None),
        ("203.0.113.7:443", SourceKind.INVALID, None),
        ("0x7f.1", SourceKind.INVALID, None),
        ("203.0.113.007", SourceKind.INVALID, None),
        ("fe80::1%eth0", SourceKind.INVALID, None),
        ("2001:db8::1%\u202ehttps://evil.example.com", SourceKind.INVALID, None),
        ("evil.amazonaws.com.example.com", SourceKind.INVALID, None),
        ("," * 100_000, SourceKind.INVALID, None),
    ],
)
def test_kinds(text: str | None, kind: SourceKind, ip: str | None) -> None:
    """Addresses, services, AWS itself, lists and rubbish are told apart, and an address has one spelling only."""
    source = classify(text)
    assert (source.kind, source.ip) == (kind, ip)
    assert source.raw == (None if kind is SourceKind.ABSENT else text)


@pytest.mark.parametrize(
    ("text", "trusted"),
    [
        ("203.0.113.7", True),
        ("::ffff:203.0.113.7", True),
        ("203.0.114.7", False),
        ("2001:db8:1::7", True),
        ("2001:db8:2::7", False),
        ("10.1.2.3", False),
        ("198.51.100.9", True),
        ("10.0.0.1, 203.0.113.9", True),
        ("203.0.114.1, 203.0.113.9", False),
        ("203.0.113.9, 203.0.114.1", False),
        ("203.0.113.9, 198.51.100.9", True),
        ("AWS Internal", None),
        ("ec2.amazonaws.com", None),
        ("0.0.0.0", None),  # noqa: S104 - no address to bind to
        ("rubbish", None),
        (None, None),
    ],
)
def test_trusted_networks(text: str | None, trusted: bool | None) -> None:  # noqa: FBT001
    """Any address is inside or outside of the configured networks; what is no address is neither."""
    configured = networks(["203.0.113.0/24", "2001:db8:1::/48", "198.51.100.9"], "TRUSTED_NETWORKS")
    assert classify(text, configured).trusted is trusted


def test_without_trusted_networks_nothing_is_said() -> None:
    """Where no network is configured, no address is called trusted, and none is called untrusted."""
    assert classify("203.0.113.7").trusted is None


def test_what_a_source_is_remembered_by() -> None:
    """An address is remembered by its normal spelling, anything else by its kind and text, so that none is mixed up."""
    assert classify("2001:DB8::1").key == classify("2001:db8:0::1").key
    keys = {classify(text).key for text in ("203.0.113.7", "rubbish", "AWS Internal", "a.amazonaws.com", None)}
    assert len(keys) == 5
