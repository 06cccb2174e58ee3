"""The few things the store asks of a table. Two tables do them, in memory and in DynamoDB; one contract tests both."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias, Union

from rootwatch.errors import StoreError, TransactionTooLargeError

Value: TypeAlias = Union[str, int, bool, bytes, list["Value"], dict[str, "Value"], None]  # noqa: UP007 - names itself
Item: TypeAlias = dict[str, Value]

MOST_ACTIONS: Final = 100
MOST_BYTES: Final = 4 * 1024 * 1024
MOST_ITEM_BYTES: Final = 400 * 1024
"""https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html"""


@dataclass(frozen=True, slots=True)
class Key:
    """An item's partition key and sort key."""

    pk: str
    sk: str


@dataclass(frozen=True, slots=True)
class Put:
    """An item to write, and what must hold of the one it replaces.

    `absent`: there must be none. `expects`: an attribute's name and value, or a value of None for "the item or the
    attribute is not there". Neither: write in any case.
    """

    item: Item
    absent: bool = False
    expects: tuple[str, int | None] | None = None

    @property
    def key(self) -> Key:
        """Return the key of the item."""
        return key_of(self.item)


@dataclass(frozen=True, slots=True)
class Index:
    """A sparse index of the table: an item is in it while it has both attributes. It holds keys only."""

    name: str
    partition: str
    sort: str


UNDELIVERED: Final = Index("undelivered", "undelivered_channel", "undelivered_since")
"""Deliveries that are not sent, by channel, since when."""
OPEN_INCIDENTS: Final = Index("open-incidents", "open_account", "opened_at")
"""Open incidents, by account, since when."""
INCIDENTS: Final = Index("incidents", "incident_month", "opened_at")
"""Every incident, by the month in which it opened (`2026-11`)."""
UNANSWERED: Final = Index("unanswered", "unanswered_account", "unanswered_since")
"""Incidents about which people may still be asked, by account, since when an answer is awaited."""
ACCOUNT_INCIDENTS: Final = Index("account-incidents", "incident_account", "opened_at")
"""Every incident, by account, since when."""
INDEXES: Final = (UNDELIVERED, OPEN_INCIDENTS, INCIDENTS, UNANSWERED, ACCOUNT_INCIDENTS)


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """What an index holds of an item: its key, and the two attributes of the index as text."""

    key: Key
    partition: str
    sort: str


class Table(Protocol):
    """A table with a partition key `pk` and a sort key `sk`. Every read but of an index is strongly consistent."""

    def get(self, keys: Sequence[Key]) -> list[Item | None]:
        """Return the items of the keys, in their order, None for one that is not there.

        Raises:
            StoreUnavailableError: throttled or out of reach; a retry helps.

        """

    def query(self, pk: str, prefix: str = "", *, most: int | None = None) -> Iterator[Item]:
        """Yield the items of a partition whose sort key begins with `prefix`, in the order of the sort key.

        Args:
            pk: the partition.
            prefix: what the sort key begins with.
            most: how many items to read at the most; None for all.

        Raises:
            StoreUnavailableError: throttled or out of reach; a retry helps.

        """

    def between(self, pk: str, first: str, last: str, *, most: int | None = None) -> Iterator[Item]:
        """Yield the items of a partition whose sort key lies from `first` to `last`, both included, in their order.

        Args:
            pk: the partition.
            first: the least sort key.
            last: the greatest sort key; where it is less than `first`, there is nothing.
            most: how many items to read at the most; None for all.

        Raises:
            StoreUnavailableError: throttled or out of reach; a retry helps.

        """

    def partitions(self, *prefixes: str) -> Iterator[str]:
        """Yield every partition that begins with one of the prefixes, once, in any order. It reads the whole table.

        Raises:
            StoreUnavailableError: throttled or out of reach; a retry helps.

        """

    def index(self, index: Index, value: str | None = None) -> Iterator[IndexEntry]:
        """Yield what a sparse index holds of its items; what was written a moment ago may be missing.

        Args:
            index: which index.
            value: only the items whose partition attribute is this one, in the order of their sort attribute; None for
                all, in any order.

        Raises:
            StoreUnavailableError: throttled or out of reach; a retry helps.

        """

    def write(self, puts: Sequence[Put]) -> None:
        """Write all of the items or none.

        Raises:
            StoreConflictError: a condition did not hold, or somebody writes one of the items right now; nothing was
                written: read again.
            TransactionTooLargeError: more than one transaction holds; split it.
            StoreUnavailableError: throttled, timed out or out of reach; the write may have taken effect.

        """


def key_of(item: Mapping[str, Value]) -> Key:
    """Return the key of an item.

    Raises:
        StoreError: it has none; no retry helps.

    """
    pk, sk = item.get("pk"), item.get("sk")
    if not isinstance(pk, str) or not isinstance(sk, str):
        message = "An item of the audit table needs the texts pk and sk."
        raise StoreError(message)
    return Key(pk, sk)


def check_size(puts: Sequence[Put]) -> None:
    """Check that the items fit one transaction.

    Raises:
        TransactionTooLargeError: they do not; split them.
        StoreError: two of them have one key, or one item alone is too large; no retry helps.

    """
    keys = [put.key for put in puts]
    if len(set(keys)) != len(keys):
        message = "One transaction cannot write an item twice."
        raise StoreError(message)
    sizes = [size_of(put.item) for put in puts]
    if len(puts) > MOST_ACTIONS or sum(sizes) > MOST_BYTES:
        message = f"{len(puts)} items of {sum(sizes)} bytes do not fit one transaction of 100 actions and 4 MB."
        raise TransactionTooLargeError(message)
    if any(size > MOST_ITEM_BYTES for size in sizes):
        message = f"An item of {max(sizes)} bytes is larger than the 400 KB that DynamoDB holds."
        raise StoreError(message)


def size_of(value: Value) -> int:
    """Return about how many bytes DynamoDB counts for a value, never fewer than it does."""
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, dict):
        return 3 + sum(len(name.encode()) + size_of(entry) + 1 for name, entry in value.items())
    if isinstance(value, list):
        return 3 + sum(size_of(entry) + 1 for entry in value)
    return 22 if isinstance(value, int) and not isinstance(value, bool) else 1
