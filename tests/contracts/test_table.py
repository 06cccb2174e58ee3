"""The contract of a table: the same tests for the one in memory and for DynamoDB's."""

from typing import TYPE_CHECKING, Any, cast

import pytest
from boto3.dynamodb.types import TypeSerializer
from botocore.exceptions import ClientError, ConnectTimeoutError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rootwatch.audit.dynamodb import DynamoTable, _decode, _encode
from rootwatch.audit.table import (
    MOST_ACTIONS,
    MOST_ITEM_BYTES,
    OPEN_INCIDENTS,
    UNDELIVERED,
    Item,
    Key,
    Put,
    Table,
    key_of,
    size_of,
)
from rootwatch.errors import (
    StoreConflictError,
    StoreError,
    StoreUnavailableError,
    TransactionTooLargeError,
)

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient


def item(pk: str = "P", sk: str = "S", **values: Any) -> Item:
    """An item with this key."""
    return {"pk": pk, "sk": sk, **values}


class TestTable:
    """What every table does."""

    def test_an_empty_table(self, table: Table) -> None:
        """Nothing is found where nothing was written, and no error is made of it."""
        assert table.get([]) == []
        assert table.get([Key("P", "S")]) == [None]
        assert list(table.query("P")) == []

    def test_items_come_back_as_they_were(self, table: Table) -> None:
        """Text, numbers, true and false, bytes, nothing, lists and maps at any depth keep value and type."""
        values: Item = item(
            text="é 日本 🔑", empty="", number=7, zero=0, negative=-12, large=10**30, yes=True, no=False, nothing=None,
            data=b"\x00\xff", no_data=b"", list=[1, "a", None, True, b"x", [], {}, [[{"a": [b"y"]}]]], empty_list=[],
            map={"a": {"b": {"c": [1, {"d": None}]}}}, empty_map={},
        )  # fmt: skip
        table.write([Put(values)])
        for found in (table.get([Key("P", "S")])[0], next(table.query("P"))):
            assert found == values
            assert repr(sorted(found.items(), key=str)) == repr(sorted(values.items(), key=str))

    def test_get_keeps_the_order_and_the_gaps(self, table: Table) -> None:
        """More keys than one request takes, some without an item and some asked twice, come back in the order asked."""
        for start in range(0, 230, 50):
            table.write([Put(item(sk=f"{n:04}", n=n)) for n in range(start, min(start + 50, 230))])
        numbers = [*range(229, -1, -2), 5, 5, 999, *range(0, 230, 2)]
        found = table.get([Key("P", f"{n:04}") for n in numbers])
        assert [entry and entry["n"] for entry in found] == [n if n < 230 else None for n in numbers]

    def test_query_sees_its_prefix_in_order(self, table: Table) -> None:
        """A query yields its partition's items with the prefix, sorted by the bytes of the sort key."""
        keys = ["ALERT#2", "ALERT#10", "ALERT", "ALERT$", "HEAD", "a", "Z", "é", "\uffff", "🔑"]
        table.write([Put(item(sk=sk)) for sk in keys])
        table.write([Put(item("P2", "ALERT#9"))])
        assert [str(entry["sk"]) for entry in table.query("P", "ALERT#")] == ["ALERT#10", "ALERT#2"]
        assert [str(entry["sk"]) for entry in table.query("P")] == sorted(keys, key=str.encode)
        assert list(table.query("P", "X")) == []

    def test_an_index_holds_what_has_both_attributes(self, table: Table) -> None:
        """An index gives the keys of one partition in order, or of all, and none of an item that lacks an attribute."""
        for sk, account, opened in (("B", "1", "2"), ("A", "1", "3"), ("C", "1", "1"), ("D", "2", "0")):
            table.write([Put(item(sk=sk, open_account=account, opened_at=opened))])
        table.write([Put(item(sk="E", open_account="1")), Put(item(sk="F", opened_at="1"))])
        assert [entry.key.sk for entry in table.index(OPEN_INCIDENTS, "1")] == ["C", "B", "A"]
        assert sorted(entry.key.sk for entry in table.index(OPEN_INCIDENTS)) == ["A", "B", "C", "D"]
        table.write([Put(item(sk="B"))])
        assert [entry.key.sk for entry in table.index(OPEN_INCIDENTS, "1")] == ["C", "A"]
        assert list(table.index(UNDELIVERED)) == list(table.index(OPEN_INCIDENTS, "9")) == []

    def test_an_index_is_read_past_a_megabyte(self, table: Table) -> None:
        """An index larger than one page of DynamoDB is read to its end."""
        for n in range(12):
            name = f"{n:02}" + "x" * 1_000
            for m in range(100):  # one by one: moto copies the whole table for each item of a transaction
                table.write([Put(item(sk=f"{name}{m:03}", open_account="1", opened_at=f"{n:02}{m:03}"))])
        assert len(list(table.index(OPEN_INCIDENTS, "1"))) == len(list(table.index(OPEN_INCIDENTS))) == 1200

    def test_query_reads_more_than_a_megabyte(self, table: Table) -> None:
        """A partition larger than one page of DynamoDB is read to its end."""
        for n in range(20):
            table.write([Put(item(sk=f"{n:02}", data="x" * 100_000))])
        assert [entry["sk"] for entry in table.query("P")] == [f"{n:02}" for n in range(20)]

    @pytest.mark.parametrize("most", [1, 10, 11, 19, 40])
    def test_at_most_so_many_are_read_past_a_megabyte(self, table: Table, most: int) -> None:
        """A limit larger than one page of DynamoDB is reached, and none is exceeded."""
        for n in range(20):
            table.write([Put(item(sk=f"{n:02}", data="x" * 100_000))])
        expected = [f"{n:02}" for n in range(min(most, 20))]
        assert [entry["sk"] for entry in table.query("P", most=most)] == expected
        assert [entry["sk"] for entry in table.between("P", "0", "9", most=most)] == expected

    def test_between_has_both_its_ends(self, table: Table) -> None:
        """What lies between two sort keys is read in order, the ends included; the wrong way round there is nothing."""
        table.write([Put(item(sk=sk)) for sk in ("a", "b", "b#1", "c", "d")])
        table.write([Put(item("P2", "b"))])
        assert [str(entry["sk"]) for entry in table.between("P", "b", "c")] == ["b", "b#1", "c"]
        assert [str(entry["sk"]) for entry in table.between("P", "b", "b~")] == ["b", "b#1"]
        assert [str(entry["sk"]) for entry in table.between("P", "a", "d", most=2)] == ["a", "b"]
        assert list(table.between("P", "c", "b")) == list(table.between("P3", "a", "d")) == []

    def test_partitions_are_found_once(self, table: Table) -> None:
        """Every partition with one of the beginnings is found, however many items it has and past a page's end."""
        for n in range(15):
            table.write([Put(item(f"A#{n % 3}", f"{n:02}", data="x" * 100_000))])
        table.write([Put(item("B#1")), Put(item("C#1")), Put(item("AB"))])
        assert sorted(table.partitions("A#", "B#")) == ["A#0", "A#1", "A#2", "B#1"]
        assert list(table.partitions("D#")) == []

    def test_what_is_read_belongs_to_the_reader(self, table: Table) -> None:
        """Changing what was read or written changes nothing in the table."""
        written = item(list=[1])
        table.write([Put(written)])
        cast("list[int]", written["list"]).append(2)
        [found] = table.get([Key("P", "S")])
        assert found is not None
        cast("list[int]", found["list"]).append(3)
        cast("list[int]", next(table.query("P"))["list"]).append(4)
        assert table.get([Key("P", "S")]) == [item(list=[1])]

    def test_absent(self, table: Table) -> None:
        """A put that wants no item there succeeds once and then conflicts; one without a condition replaces it."""
        table.write([Put(item(n=1), absent=True)])
        with pytest.raises(StoreConflictError):
            table.write([Put(item(n=2), absent=True)])
        assert table.get([Key("P", "S")]) == [item(n=1)]
        table.write([Put(item(m=3))])
        assert table.get([Key("P", "S")]) == [item(m=3)]

    def test_expects(self, table: Table) -> None:
        """A put that expects a version writes only over that version; nothing expected is no item or no attribute."""
        expectations: list[tuple[int | None, bool]] = [(1, False), (None, True), (None, False), (2, False), (1, True)]
        for version, succeeds in expectations:
            put = Put(item(version=1), expects=("version", version))
            if succeeds:
                table.write([put])
            else:
                with pytest.raises(StoreConflictError):
                    table.write([put])
        table.write([Put(item("P", "other", n=1))])
        table.write([Put(item("P", "other", version=1), expects=("version", None))])
        with pytest.raises(StoreConflictError):
            table.write([Put(item("P", "other", version=2), expects=("size", 1))])

    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_a_conflict_leaves_nothing_written(self, table: Table, place: int) -> None:
        """One condition that does not hold, wherever it stands, keeps the whole transaction from being written."""
        table.write([Put(item("P", "there", version=1))])
        puts = [Put(item("P", "new"), absent=True), Put(item("Q", "also new"))]
        for failing in (Put(item("P", "there"), absent=True), Put(item("P", "there"), expects=("version", 2))):
            with pytest.raises(StoreConflictError):
                table.write([*puts[:place], failing, *puts[place:]])
        assert [entry["sk"] for entry in table.query("P")] == ["there"]
        assert list(table.query("Q")) == []

    def test_a_hundred_actions_and_not_one_more(self, table: Table) -> None:
        """A transaction holds 100 items; 101 are too large, and nothing of them is written."""
        with pytest.raises(TransactionTooLargeError):
            table.write([Put(item(sk=f"{n:03}")) for n in range(MOST_ACTIONS + 1)])
        assert list(table.query("P")) == []
        table.write([Put(item(sk=f"{n:03}")) for n in range(MOST_ACTIONS)])
        assert len(list(table.query("P"))) == MOST_ACTIONS

    def test_four_megabytes_are_too_large(self, table: Table) -> None:
        """A transaction of more than 4 MB is too large, and nothing of it is written."""
        with pytest.raises(TransactionTooLargeError):
            table.write([Put(item(sk=f"{n:02}", data="x" * 390_000)) for n in range(11)])
        assert list(table.query("P")) == []

    def test_an_item_that_no_split_makes_fit(self, table: Table) -> None:
        """One item of more than 400 KB, or one key twice, is another error than a transaction to split."""
        for puts in ([Put(item(data=b"x" * MOST_ITEM_BYTES))], [Put(item(n=1)), Put(item(n=2))]):
            with pytest.raises(StoreError) as caught:
                table.write(puts)
            assert not isinstance(caught.value, TransactionTooLargeError | StoreConflictError | StoreUnavailableError)
        assert list(table.query("P")) == []

    def test_an_item_without_a_key(self, table: Table) -> None:
        """An item without the texts pk and sk is an error before anything is written."""
        for wrong in ({"pk": "P"}, {"sk": "S"}, {"pk": 1, "sk": "S"}, {}):
            with pytest.raises(StoreError, match="pk and sk"):
                table.write([Put(item()), Put(cast("Item", wrong))])
        assert list(table.query("P")) == []


# --- what DynamoDB alone can do ---------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(10**37), 10**37), st.binary(max_size=20),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8), inner, max_size=4),
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES)
def test_any_value_goes_there_and_back(value: Any) -> None:
    """Whatever an item may hold keeps value and type on its way through DynamoDB's own types, which are boto3's."""
    written = item(value=value)
    typed = _encode(written)
    assert repr(typed) == repr({name: TypeSerializer().serialize(each) for name, each in written.items()})
    assert repr(_decode(typed)) == repr(written)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [({"SS": ["b", "a"]}, ["a", "b"]), ({"NS": ["2", "1"]}, [1, 2]), ({"BS": [b"b", b"a"]}, [b"a", b"b"])],
)
def test_a_set_that_somebody_wrote_reads_as_a_list(typed: dict[str, Any], expected: list[Any]) -> None:
    """A set, which Rootwatch never writes, stops no read of the item that holds it."""
    assert _decode({"value": typed, "inner": {"M": {"value": {"L": [typed]}}}}) == {
        "value": expected,
        "inner": {"value": [expected]},
    }


@given(value=VALUES)
def test_size_is_never_less_than_the_texts_and_bytes_in_it(value: Any) -> None:
    """The size counted for a value covers at least what is in it."""

    def content(each: Any) -> int:
        if isinstance(each, dict):
            return sum(len(name.encode()) + content(entry) for name, entry in each.items())
        if isinstance(each, list):
            return sum(map(content, each))
        return len(each.encode()) if isinstance(each, str) else len(each) if isinstance(each, bytes) else 1

    assert size_of(value) >= content(value)


class FailingClient:
    """Every call raises."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getattr__(self, name: str) -> Any:
        def call(**_arguments: Any) -> Any:
            raise self.error

        return call


def client_error(code: str, status: int = 400, reasons: list[str] | None = None, message: str = "") -> ClientError:
    """The SDK's error of this code."""
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
        "CancellationReasons": [{"Code": reason} for reason in reasons or []],
    }
    return ClientError(response, "TransactWriteItems")


CANCELLED = "TransactionCanceledException"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (client_error("ConditionalCheckFailedException"), StoreConflictError),
        (client_error(CANCELLED, reasons=["None", "ConditionalCheckFailed"]), StoreConflictError),
        (client_error(CANCELLED, reasons=["TransactionConflict", "None"]), StoreConflictError),
        (client_error(CANCELLED), StoreConflictError),
        (client_error(CANCELLED, reasons=["None", "ThrottlingError"]), StoreUnavailableError),
        (client_error(CANCELLED, reasons=["None", "ProvisionedThroughputExceeded"]), StoreUnavailableError),
        (client_error(CANCELLED, reasons=["ValidationError"]), StoreError),
        (client_error("TransactionConflictException"), StoreConflictError),
        (client_error("ThrottlingException"), StoreUnavailableError),
        (client_error("ProvisionedThroughputExceededException"), StoreUnavailableError),
        (client_error("AccessDeniedException"), StoreUnavailableError),
        (client_error("ResourceNotFoundException"), StoreUnavailableError),
        (client_error("SomethingNew", status=503), StoreUnavailableError),
        (client_error("ValidationException", message="Item size has exceeded the maximum"), TransactionTooLargeError),
        (client_error("ValidationException", message="odd"), StoreError),
        (ConnectTimeoutError(endpoint_url="https://dynamodb"), StoreUnavailableError),
    ],
)
def test_dynamodb_s_errors_say_whether_a_retry_helps(error: Exception, expected: type[StoreError]) -> None:
    """Each error of the SDK becomes the one of ours that says what to do, on a write and on every read."""
    table = DynamoTable(cast("DynamoDBClient", FailingClient(error)), "t")
    calls = [
        lambda: table.write([Put(item())]),
        lambda: table.write([Put(item()), Put(item("Q"))]),
        lambda: table.get([Key("P", "S")]),
        lambda: list(table.query("P")),
        lambda: list(table.between("P", "a", "b")),
        lambda: list(table.partitions("P")),
    ]
    for call in calls:
        with pytest.raises(StoreError) as caught:
            call()  # type: ignore[no-untyped-call] # a lambda
        assert type(caught.value) is expected


def test_keys_that_dynamodb_leaves_unread_are_asked_again_and_then_given_up() -> None:
    """What a batch get leaves unprocessed is asked for again, with growing pauses, and in the end it is an error."""
    asked: list[int] = []
    pauses: list[float] = []

    class Half:
        def __init__(self, *, for_ever: bool) -> None:
            self.for_ever = for_ever

        def batch_get_item(self, RequestItems: Any) -> Any:  # noqa: N803 - the SDK's name
            keys = RequestItems["t"]["Keys"]
            assert RequestItems["t"]["ConsistentRead"] is True
            asked.append(len(keys))
            done = keys[:0] if self.for_ever else keys[: len(keys) // 2 + 1]
            rest = keys[len(done) :]
            return {"Responses": {"t": done}, "UnprocessedKeys": {"t": {"Keys": rest}} if rest else {}}

    table = DynamoTable(cast("DynamoDBClient", Half(for_ever=False)), "t", pauses.append)
    keys = [Key("P", str(n)) for n in range(8)]
    assert [found and key_of(found) for found in table.get(keys)] == keys
    assert asked == [8, 3, 1]
    assert pauses == sorted(pauses)
    stuck = DynamoTable(cast("DynamoDBClient", Half(for_ever=True)), "t", pauses.append)
    with pytest.raises(StoreUnavailableError, match="8 keys unread"):
        stuck.get(keys)
