"""The audit table in memory: for replay, and for tests under the same contract as DynamoDB's."""

import copy
from collections.abc import Iterator, Sequence

from rootwatch.audit.table import Index, IndexEntry, Item, Key, Put, check_size, key_of
from rootwatch.errors import StoreConflictError


class MemoryTable:
    """A table that forgets everything when the process ends."""

    def __init__(self) -> None:
        """Begin with an empty table."""
        self._partitions: dict[str, dict[str, Item]] = {}

    def get(self, keys: Sequence[Key]) -> list[Item | None]:
        """Return copies of the items of the keys, None for one that is not there."""
        return [copy.deepcopy(self._partitions.get(key.pk, {}).get(key.sk)) for key in keys]

    def query(self, pk: str, prefix: str = "", *, most: int | None = None) -> Iterator[Item]:
        """Yield copies of the partition's items whose sort key begins with `prefix`, in the order of the sort key."""
        partition = self._partitions.get(pk, {})
        for sk in sorted(sk for sk in partition if sk.startswith(prefix))[:most]:
            yield copy.deepcopy(partition[sk])

    def between(self, pk: str, first: str, last: str, *, most: int | None = None) -> Iterator[Item]:
        """Yield copies of the partition's items whose sort key lies between the two; see `Table.between`."""
        partition = self._partitions.get(pk, {})
        for sk in sorted(sk for sk in partition if first <= sk <= last)[:most]:
            yield copy.deepcopy(partition[sk])

    def partitions(self, *prefixes: str) -> Iterator[str]:
        """Yield the partitions that begin with one of the prefixes."""
        yield from [pk for pk, items in self._partitions.items() if items and pk.startswith(prefixes)]

    def index(self, index: Index, value: str | None = None) -> Iterator[IndexEntry]:
        """Yield the items that have both attributes of the index; see `Table.index`."""
        found = [
            IndexEntry(key_of(item), str(item[index.partition]), str(item[index.sort]))
            for partition in self._partitions.values()
            for item in partition.values()
            if index.partition in item and index.sort in item and value in {None, item[index.partition]}
        ]
        yield from sorted(found, key=lambda entry: (entry.sort, entry.key.pk, entry.key.sk))

    def write(self, puts: Sequence[Put]) -> None:
        """Write all of the items or none; see `Table.write` for the errors."""
        check_size(puts)
        for put in puts:
            before = self._partitions.get(put.key.pk, {}).get(put.key.sk)
            if put.absent and before is not None:
                message = "An item is there already."
                raise StoreConflictError(message)
            if put.expects is not None:
                attribute, value = put.expects
                there = before is not None and attribute in before
                if there == (value is None) or (before is not None and before.get(attribute) != value):
                    message = "An item has been changed meanwhile."
                    raise StoreConflictError(message)
        for put in puts:
            key = key_of(put.item)
            self._partitions.setdefault(key.pk, {})[key.sk] = copy.deepcopy(put.item)
