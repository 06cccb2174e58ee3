"""The specimens: each true to its name, whole, synthetic, and read by the package as a careful reader reads it."""

import ipaddress
import json
import re
import uuid
from datetime import datetime
from typing import Any, Final

import pytest

from rootwatch.detections.catalogue import CATALOGUE
from rootwatch.detections.detection import OwnResources
from rootwatch.pipeline import inspect_document, inspection
from tests.builders import (
    all_specimens,
    load_expectations,
    load_specimen,
    near_miss_stems,
    silent_names,
    specimen_stems,
)
from tests.builders.specimens import EVENTS, EXPECTATIONS

FOUND_IN_REPLAY_ONLY: Final = frozenset(detection.stem for detection in CATALOGUE if detection.rule is None)
"""Detections that need more than one record; `tests/integration/test_corpus.py` finds them by replaying."""

ENVELOPE_FIELDS: Final = {"version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"}
RECORD_FIELDS: Final = {
    "eventVersion", "userIdentity", "eventTime", "eventSource", "eventName", "awsRegion", "sourceIPAddress",
    "userAgent", "requestParameters", "responseElements", "eventID", "readOnly", "eventType", "managementEvent",
    "recipientAccountId", "eventCategory",
}  # fmt: skip
ACCOUNTS: Final = {"111122223333", "444455556666"}
NETWORKS: Final = tuple(
    ipaddress.ip_network(text) for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
)

every_specimen = pytest.mark.parametrize("name", all_specimens())


@every_specimen
def test_a_specimen_and_its_expectations_are_parallel(name: str) -> None:
    """Each record of a specimen has its expectation; that no file is left over is tests/docs/test_stem_law.py's."""
    assert len(load_specimen(name)) == len(load_expectations(name))


@every_specimen
def test_the_package_reads_a_specimen_as_a_careful_reader_does(name: str) -> None:
    """Relevance, actor, outcome, detections, severity, MFA, source, client and need of root are as worked out."""
    for envelope, expected in zip(load_specimen(name), load_expectations(name), strict=True):
        line: dict[str, Any] = inspection(inspect_document(envelope, OwnResources("rootwatch")))
        found = {
            "relevant": line["relevant"],
            "actor": line["actor"],
            "outcome": line["outcome"],
            "detections": sorted(line["detections"]),
            "severity": line["severity"],
            "mfa": {"used": line["mfa"]["used"]},
            "source": {"kind": line["source"]["kind"]},
            "client": {"kind": line["client"]["kind"]},
            "root_only_task": line["root_only_task"],
            "role_alternative": line["role_alternative"],
        }
        assert found == expected | {"detections": sorted(expected["detections"])}
        identity, event_type = envelope["detail"]["userIdentity"], envelope["detail"]["eventType"]
        thin = "type" not in identity and event_type != "AwsServiceEvent"
        assert line["problems"] == (["userIdentity.type is not stated"] if thin else [])


@pytest.mark.parametrize("stem", sorted(set(specimen_stems()) - FOUND_IN_REPLAY_ONLY))
def test_a_specimen_is_expected_to_give_its_detection(stem: str) -> None:
    """Every record of a specimen gives the detection that it is named after."""
    for expected in load_expectations(stem):
        assert f"root.{stem}" in expected["detections"]


@pytest.mark.parametrize("stem", near_miss_stems())
def test_a_near_miss_is_expected_to_miss(stem: str) -> None:
    """No record of a near miss gives the detection that it is named after."""
    for expected in load_expectations(f"near_misses/{stem}"):
        assert f"root.{stem}" not in expected["detections"]


@pytest.mark.parametrize("name", silent_names())
def test_a_silent_specimen_is_expected_to_stay_silent(name: str) -> None:
    """Nothing concerns root in a silent specimen, so it has neither detections nor a severity."""
    for expected in load_expectations(f"silent/{name}"):
        assert (expected["relevant"], expected["detections"], expected["severity"]) == (False, [], None)


@every_specimen
def test_a_specimen_is_a_whole_envelope(name: str) -> None:
    """Nothing that AWS sends is missing, and the envelope agrees with the record that it carries."""
    for envelope in load_specimen(name):
        record = envelope["detail"]
        assert envelope.keys() == ENVELOPE_FIELDS
        assert record.keys() >= RECORD_FIELDS
        assert record["eventVersion"] == "1.11"
        assert envelope["source"] == "aws." + record["eventSource"].removesuffix(".amazonaws.com")
        assert envelope["account"] == record["recipientAccountId"]
        assert envelope["time"] == record["eventTime"]
        assert envelope["region"] == record["awsRegion"]
        # AWS leaves these out where a service calls, and where the console calls for its user.
        proxied = "invokedBy" in record["userIdentity"] or "sessionCredentialFromConsole" in record
        assert ("tlsDetails" in record) is not proxied
        assert ("requestID" in record) is (record["eventType"] == "AwsApiCall") or record[
            "eventType"
        ] == "AwsServiceEvent"


@every_specimen
def test_a_specimen_is_synthetic(name: str) -> None:
    """Accounts, addresses, keys and the day are those set aside for examples."""
    for envelope in load_specimen(name):
        text = json.dumps(envelope)
        assert set(re.findall(r"(?<![0-9A-Za-z-])\d{12}(?![0-9A-Za-z-])", text)) <= ACCOUNTS
        assert all("EXAMPLE" in key for key in re.findall(r"\b(?:AKIA|ASIA|AROA|AIDA)\w+", text))
        assert datetime.fromisoformat(envelope["time"]).strftime("%Y-%m-%d") == "2026-11-03"
        address = envelope["detail"]["sourceIPAddress"]
        if address != "AWS Internal" and not address.endswith(".amazonaws.com"):
            assert any(ipaddress.ip_address(address) in network for network in NETWORKS)


def test_event_ids_are_unique() -> None:
    """No two records share an eventID, and no envelope's id is another's or an event's: each is a UUID."""
    envelopes = [envelope for name in all_specimens() for envelope in load_specimen(name)]
    identifiers = [envelope["id"] for envelope in envelopes] + [envelope["detail"]["eventID"] for envelope in envelopes]
    assert len(set(identifiers)) == 2 * len(envelopes)
    assert all(str(uuid.UUID(identifier)) == identifier for identifier in identifiers)


@pytest.mark.parametrize("folder", [EVENTS, EXPECTATIONS])
def test_files_are_pretty(folder: Any) -> None:
    """Specimens and expectations are read by people: two spaces, one newline at the end, no escapes."""
    for path in folder.rglob("*.json"):
        text = path.read_text(encoding="utf-8")
        assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n", path.name
