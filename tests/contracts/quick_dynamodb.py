"""DynamoDB's side of the few requests that the audit table makes, for tests that make hundreds of thousands of them.

moto spends ten milliseconds on an answer that holds an alert. This one keeps items as they came, knows exactly the
expressions that `rootwatch.audit.dynamodb` writes, and fails on any other. It is proved by the contract that the table
in memory and the one on moto fulfil, too: see `table` in conftest.py.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from moto.core.botocore_stubber import MockRawResponse

from rootwatch.audit.table import INDEXES

Item = Mapping[str, Any]

PAGE: Final = 100
"""Items of a page; DynamoDB's ends after a megabyte."""


class RefusedError(Exception):
    """What DynamoDB refuses: its code, and for a transaction the reason for each action."""

    def __init__(self, code: str, reasons: Sequence[str] = ()) -> None:
        """Keep the code and the reasons."""
        super().__init__(code)
        self.code = code
        self.reasons = reasons


class QuickDynamoDb:
    """One table, in a dictionary of partitions."""

    def __init__(self) -> None:
        """Begin with an empty table."""
        self.partitions: dict[str, dict[str, Item]] = defaultdict(dict)
        self._tokens: set[str] = set()

    def clear(self) -> None:
        """Forget everything."""
        self.partitions.clear()
        self._tokens.clear()

    def items(self) -> Iterable[Item]:
        """Every item, as it came."""
        return (item for partition in self.partitions.values() for item in partition.values())

    def before_send(self, event_name: str, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        """Answer in place of the network, as an event handler of botocore."""
        operation = event_name.rpartition(".")[2]
        body = request.body or b"{}"
        answers: dict[str, Callable[[Any], Mapping[str, Any]]] = {
            "BatchGetItem": self._batch_get_item,
            "Query": self._query,
            "Scan": self._scan,
            "PutItem": self._put_item,
            "DeleteItem": self._delete_item,
            "TransactWriteItems": self._transact_write_items,
        }
        try:
            status, answer = (
                200,
                answers[operation](json.loads(str(body, "utf-8") if isinstance(body, bytes) else str(body))),
            )
        except RefusedError as error:
            status = 400
            answer = {"__type": f"com.amazonaws.dynamodb.v20120810#{error.code}", "message": error.code}
            if error.reasons:
                answer["CancellationReasons"] = [{"Code": reason} for reason in error.reasons]
        return AWSResponse(request.url, status, HTTPHeaders(), MockRawResponse(json.dumps(answer)))

    def _batch_get_item(self, body: Any) -> Mapping[str, Any]:
        [(table, wanted)] = body["RequestItems"].items()
        assert wanted["ConsistentRead"] is True
        keys = [(key["pk"]["S"], key["sk"]["S"]) for key in wanted["Keys"]]
        assert len(set(keys)) == len(keys) <= 100
        found = [self.partitions[pk][sk] for pk, sk in keys if sk in self.partitions.get(pk, {})]
        return {"Responses": {table: found}, "UnprocessedKeys": {}}

    def _query(self, body: Any) -> Mapping[str, Any]:
        condition = body["KeyConditionExpression"]
        values = {name: value["S"] for name, value in body["ExpressionAttributeValues"].items()}
        if "IndexName" in body:
            assert condition == "#partition = :value"
            found = [item for item in self._in_index(body) if item[_index(body).partition]["S"] == values[":value"]]
            return _page(found, body)
        assert body["ConsistentRead"] is True
        matches: Mapping[str, Callable[[str], bool]] = {
            "pk = :pk": lambda _sk: True,
            "pk = :pk AND begins_with(sk, :prefix)": lambda sk: sk.startswith(values[":prefix"]),
            "pk = :pk AND sk BETWEEN :first AND :last": lambda sk: values[":first"] <= sk <= values[":last"],
        }
        assert values.get(":first", "") <= values.get(":last", "")
        partition = self.partitions.get(values[":pk"], {})
        return _page([partition[sk] for sk in sorted(partition) if matches[condition](sk)], body)

    def _scan(self, body: Any) -> Mapping[str, Any]:
        if "IndexName" in body:
            return _page(self._in_index(body), body)
        names = re.findall(r"begins_with\(pk, (:prefix\d+)\)", body["FilterExpression"])
        assert body["FilterExpression"] == " OR ".join(f"begins_with(pk, {name})" for name in names)
        assert body["ProjectionExpression"] == "pk"
        prefixes = tuple(body["ExpressionAttributeValues"][name]["S"] for name in names)
        page = _page(sorted(self.items(), key=lambda item: (item["pk"]["S"], item["sk"]["S"])), body)
        kept = [{"pk": item["pk"]} for item in page["Items"] if item["pk"]["S"].startswith(prefixes)]
        return {**page, "Items": kept}

    def _in_index(self, body: Any) -> list[Item]:
        index = _index(body)
        names = ("pk", "sk", index.partition, index.sort)
        found = [{name: item[name] for name in names} for item in self.items() if names[2] in item and names[3] in item]
        return sorted(found, key=lambda item: tuple(item[name]["S"] for name in (*names[2:], "pk", "sk")))

    def _put_item(self, body: Any) -> Mapping[str, Any]:
        if not self._holds(body):
            raise RefusedError("ConditionalCheckFailedException")
        self._put(body["Item"])
        return {}

    def _delete_item(self, body: Any) -> Mapping[str, Any]:
        """Remove an item, as no code of ours does: tests that damage the table do."""
        assert body.keys() == {"TableName", "Key"}
        self.partitions[body["Key"]["pk"]["S"]].pop(body["Key"]["sk"]["S"], None)
        return {}

    def _transact_write_items(self, body: Any) -> Mapping[str, Any]:
        """Write all or nothing; again with the same token, nothing.

        https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
        """
        token = body["ClientRequestToken"]
        if token in self._tokens:
            return {}
        puts = [action["Put"] for action in body["TransactItems"]]
        assert len(puts) <= 100
        reasons = ["None" if self._holds(put) else "ConditionalCheckFailed" for put in puts]
        if set(reasons) != {"None"}:
            raise RefusedError("TransactionCanceledException", reasons)
        for put in puts:
            self._put(put["Item"])
        self._tokens.add(token)
        return {}

    def _holds(self, put: Any) -> bool:
        before = self.partitions.get(put["Item"]["pk"]["S"], {}).get(put["Item"]["sk"]["S"])
        condition = put.get("ConditionExpression")
        if condition is None:
            return True
        if condition == "attribute_not_exists(pk)":
            return before is None
        name = put["ExpressionAttributeNames"]["#expected"]
        if condition == "attribute_not_exists(#expected)":
            return before is None or name not in before
        assert condition == "#expected = :expected"
        return before is not None and before.get(name) == put["ExpressionAttributeValues"][":expected"]

    def _put(self, item: Item) -> None:
        self.partitions[item["pk"]["S"]][item["sk"]["S"]] = item


def _index(body: Any) -> Any:
    return next(index for index in INDEXES if index.name == body["IndexName"])


def _page(items: Sequence[Item], body: Any) -> dict[str, Any]:
    """Return a page of what was found, behind the place where the last one ended."""
    start = 0
    if "ExclusiveStartKey" in body:
        after = body["ExclusiveStartKey"]
        start = 1 + next(
            place for place, item in enumerate(items) if (item["pk"], item["sk"]) == (after["pk"], after["sk"])
        )
    most = min(PAGE, body.get("Limit", PAGE))
    page = items[start : start + most]
    more = start + most < len(items)
    return {"Items": page} | ({"LastEvaluatedKey": {name: page[-1][name] for name in ("pk", "sk")}} if more else {})
