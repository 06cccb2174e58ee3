"""The audit table in DynamoDB. The only module that knows the SDK's errors for it."""

import time
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from botocore.exceptions import BotoCoreError, ClientError

from rootwatch.audit.table import Index, IndexEntry, Item, Key, Put, Value, check_size, key_of
from rootwatch.errors import StoreConflictError, StoreError, StoreUnavailableError, TransactionTooLargeError

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

_KEYS_PER_GET: Final = 100
_GET_ROUNDS: Final = 6
_RETRY_HELPS: Final = frozenset({
    "InternalServerError", "LimitExceededException", "ProvisionedThroughputExceededException", "RequestLimitExceeded",
    "RequestTimeout", "ServiceUnavailable", "ThrottlingException", "Throttling", "TransactionInProgressException",
    "ResourceNotFoundException", "AccessDeniedException", "ExpiredTokenException", "UnrecognizedClientException",
    "KMSAccessDeniedException",
})  # fmt: skip
"""Errors after which the record must stay in the queue: the last ones until a person mended the deployment."""


class DynamoTable:
    """A table of DynamoDB, through one low-level client."""

    def __init__(self, client: "DynamoDBClient", table_name: str, pause: Callable[[float], None] = time.sleep) -> None:
        """Use the client for the table of this name; `pause` waits the seconds between rounds of an unfinished read."""
        self._client = client
        self._name = table_name
        self._pause = pause

    def get(self, keys: Sequence[Key]) -> list[Item | None]:
        """Return the items of the keys; see `Table.get`."""
        found: dict[Key, Item] = {}
        wanted = list(dict.fromkeys(keys))
        for start in range(0, len(wanted), _KEYS_PER_GET):
            self._get_some(wanted[start : start + _KEYS_PER_GET], found)
        return [found.get(key) for key in keys]

    def _get_some(self, keys: Sequence[Key], found: dict[Key, Item]) -> None:
        asked: list[dict[str, Any]] = [{"pk": {"S": key.pk}, "sk": {"S": key.sk}} for key in keys]
        for round_number in range(_GET_ROUNDS):
            request: dict[str, Any] = {self._name: {"Keys": asked, "ConsistentRead": True}}
            answer = self._call(partial(self._client.batch_get_item, RequestItems=request))
            for values in answer["Responses"].get(self._name, []):
                item = _decode(values)
                found[Key(str(item["pk"]), str(item["sk"]))] = item
            asked = answer.get("UnprocessedKeys", {}).get(self._name, {}).get("Keys", [])
            if not asked:
                return
            self._pause(0.05 * 2**round_number)
        message = f"DynamoDB left {len(asked)} keys unread after {_GET_ROUNDS} rounds; it is throttling."
        raise StoreUnavailableError(message)

    def query(self, pk: str, prefix: str = "", *, most: int | None = None) -> Iterator[Item]:
        """Yield the partition's items; see `Table.query`."""
        condition = "pk = :pk AND begins_with(sk, :prefix)" if prefix else "pk = :pk"
        return self._query(condition, {":pk": pk} | ({":prefix": prefix} if prefix else {}), most)

    def between(self, pk: str, first: str, last: str, *, most: int | None = None) -> Iterator[Item]:
        """Yield the partition's items between two sort keys; see `Table.between`."""
        if last < first:
            return iter(())  # DynamoDB takes that for an error
        return self._query(
            "pk = :pk AND sk BETWEEN :first AND :last", {":pk": pk, ":first": first, ":last": last}, most
        )

    def _query(self, condition: str, values: dict[str, str], most: int | None) -> Iterator[Item]:
        request: dict[str, Any] = {
            "TableName": self._name,
            "ConsistentRead": True,
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": {name: {"S": value} for name, value in values.items()},
        }
        if most is not None:
            request["Limit"] = most
        while most is None or request["Limit"] > 0:
            page = self._call(partial(self._client.query, **request))
            yield from (_decode(values) for values in page["Items"])
            if not page.get("LastEvaluatedKey"):
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]
            if most is not None:
                request["Limit"] -= len(page["Items"])  # a page ends after 1 MB too, with fewer items than asked for

    def partitions(self, *prefixes: str) -> Iterator[str]:
        """Yield the partitions that begin with one of the prefixes; see `Table.partitions`."""
        names = [f":prefix{number}" for number in range(len(prefixes))]
        request: dict[str, Any] = {
            "TableName": self._name,
            "ConsistentRead": True,
            "ProjectionExpression": "pk",
            "FilterExpression": " OR ".join(f"begins_with(pk, {name})" for name in names),
            "ExpressionAttributeValues": {name: {"S": each} for name, each in zip(names, prefixes, strict=True)},
        }
        seen: set[str] = set()
        while True:
            page = self._call(partial(self._client.scan, **request))
            for values in page["Items"]:
                pk = str(_decode(values)["pk"])
                if pk not in seen:
                    seen.add(pk)
                    yield pk
            if not page.get("LastEvaluatedKey"):
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def index(self, index: Index, value: str | None = None) -> Iterator[IndexEntry]:
        """Yield what a sparse index holds; see `Table.index`."""
        request: dict[str, Any] = {"TableName": self._name, "IndexName": index.name}
        read: Callable[..., Any] = self._client.scan
        if value is not None:
            read = self._client.query
            request["KeyConditionExpression"] = "#partition = :value"
            request["ExpressionAttributeNames"] = {"#partition": index.partition}
            request["ExpressionAttributeValues"] = {":value": {"S": value}}
        while True:
            page = self._call(partial(read, **request))
            for values in page["Items"]:
                item = _decode(values)
                yield IndexEntry(key_of(item), str(item[index.partition]), str(item[index.sort]))
            if not page.get("LastEvaluatedKey"):
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def write(self, puts: Sequence[Put]) -> None:
        """Write all of the items or none; see `Table.write`."""
        check_size(puts)
        requests: list[Any] = [{"TableName": self._name, "Item": _encode(put.item)} | _condition(put) for put in puts]
        if len(requests) == 1 and "ConditionExpression" not in requests[0]:
            self._call(partial(self._client.put_item, **requests[0]))
        else:
            # One put under a condition as well: where its answer is lost, the SDK sends it again. A transaction has a
            # token, by which DynamoDB knows it again; a put by itself would fail on what it has just written.
            actions: list[Any] = [{"Put": each} for each in requests]
            self._call(partial(self._client.transact_write_items, TransactItems=actions))

    def _call(self, call: Callable[[], Any]) -> Any:  # noqa: ANN401 - the SDK's answers are typed by its own stubs
        try:
            return call()
        except ClientError as error:
            raise _translated(error) from error
        except BotoCoreError as error:
            message = f"DynamoDB is out of reach ({type(error).__name__}); the write may have taken effect."
            raise StoreUnavailableError(message) from error


# Ours in place of boto3.dynamodb.types: that imports the whole of boto3, whose clients are botocore's own.
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html


def _encode(item: Item) -> dict[str, Any]:
    return {name: _typed(value) for name, value in item.items()}


def _typed(value: Value) -> dict[str, Any]:  # noqa: PLR0911 - a decision table, read from top to bottom
    if isinstance(value, str):
        return {"S": value}
    if value is None:
        return {"NULL": True}
    if isinstance(value, bool):  # before int, which it is too
        return {"BOOL": value}
    if isinstance(value, int):
        return {"N": str(value)}
    if isinstance(value, bytes):
        return {"B": value}
    if isinstance(value, list):
        return {"L": [_typed(entry) for entry in value]}
    return {"M": {name: _typed(entry) for name, entry in value.items()}}


def _decode(values: dict[str, Any]) -> Item:
    return {name: _plain(value) for name, value in values.items()}


def _plain(typed: dict[str, Any]) -> Value:
    [(kind, value)] = typed.items()
    match kind:
        case "S" | "BOOL" | "B":
            return cast("str | bool | bytes", value)
        case "N":
            return int(Decimal(value))
        case "M":
            return _decode(value)
        case "L":
            return [_plain(entry) for entry in value]
        case "NULL":
            return None
    return [_plain({kind[0]: entry}) for entry in sorted(value)]  # a set: not ours, but it must not stop a read


def _condition(put: Put) -> dict[str, Any]:
    if put.absent:
        return {"ConditionExpression": "attribute_not_exists(pk)"}
    if put.expects is None:
        return {}
    attribute, value = put.expects
    names = {"#expected": attribute}
    if value is None:
        return {"ConditionExpression": "attribute_not_exists(#expected)", "ExpressionAttributeNames": names}
    return {
        "ConditionExpression": "#expected = :expected",
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": {":expected": {"N": str(value)}},
    }


def _translated(error: ClientError) -> StoreError:  # noqa: PLR0911 - a decision table, read from top to bottom
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code == "ConditionalCheckFailedException":
        return StoreConflictError("An item has been changed meanwhile.")
    if code == "TransactionCanceledException":
        reasons = [str(reason.get("Code")) for reason in error.response.get("CancellationReasons", [])]
        if not reasons or {"ConditionalCheckFailed", "TransactionConflict"} & set(reasons):
            return StoreConflictError("An item has been changed meanwhile.")
        if any(reason in {"ThrottlingError", "ProvisionedThroughputExceeded"} for reason in reasons):
            return StoreUnavailableError("DynamoDB throttled the transaction; nothing was written.")
        return StoreError(f"DynamoDB refused the transaction: {', '.join(sorted(set(reasons)))}.")
    if code == "TransactionConflictException":
        return StoreConflictError("An item is being changed right now.")
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _RETRY_HELPS or status >= 500:  # noqa: PLR2004 - server errors
        return StoreUnavailableError(f"DynamoDB did not do it ({code}).")
    if code == "ValidationException" and "size" in str(error).casefold():
        return TransactionTooLargeError(f"DynamoDB found the items too large ({code}).")
    return StoreError(f"DynamoDB refused the request ({code}).")
