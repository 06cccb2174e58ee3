"""State that an older version wrote is read as the present one has it, and a version that is none holds nobody up."""

from dataclasses import replace
from typing import Any

import pytest

from rootwatch.audit.items import _NEW_IN, SCHEMA_VERSION, head_item, head_key, head_of, incident_item, incident_of
from rootwatch.audit.memory import MemoryTable
from rootwatch.audit.store import AuditStore
from rootwatch.errors import DamagedItemError
from rootwatch.pipeline import Fate, detect_messages
from tests.builders import build_envelope
from tests.unit.workbench import ACCOUNT, NOW, fold_all, make_message, make_observation, make_recorder


@pytest.mark.parametrize("version", [1, 0, -(10**30), 3, 10**30, "2", None, True])
def test_an_older_state_is_migrated_when_it_is_read(version: Any) -> None:
    """Head and incident of the first version read back with nothing in what came later; no version holds a read up."""
    state, _ = fold_all([make_observation("console_login"), make_observation("write", number=1)])
    head, incident = head_item(state, NOW), incident_item(state.incidents[0])
    assert (head_of(head | {"schema_version": version}), incident_of(incident | {"schema_version": version})) == (
        head_of(head),
        state.incidents[0],
    )
    if version != 1:
        return
    old_head = {name: value for name, value in head.items() if name not in _NEW_IN[2]["head"]}
    old_incident = {name: value for name, value in incident.items() if name not in _NEW_IN[2]["incident"]}
    assert old_head.keys() < head.keys()
    migrated = head_of(old_head | {"schema_version": 1})
    assert (migrated.version, migrated.chain, migrated.lineages) == (state.version, state.chain, state.lineages)
    assert (migrated.sign_ins, migrated.failures, migrated.closed_incidents) == ((), (), ())
    expected = replace(state.incidents[0], members=(), expectations={}, gathered=(), told={})
    assert incident_of(old_incident | {"schema_version": 1}) == expected
    # What says that it is of the present version has to be whole.
    with pytest.raises(DamagedItemError):
        head_of(old_head)
    with pytest.raises(DamagedItemError):
        incident_of(old_incident)


def test_a_record_joins_what_an_older_version_wrote() -> None:
    """An account whose items are of the first version goes on: the same incident, the next number, written anew."""
    table = MemoryTable()
    first, second = build_envelope("console_login"), build_envelope("logging_tampered")
    second["detail"]["eventTime"] = second["time"] = "2026-11-03T08:30:00Z"
    detect_messages([make_message(first)], make_recorder(table))
    for partition in table._partitions.values():
        for sk, item in partition.items():
            kind = {"HEAD": "head", "INCIDENT": "incident"}.get(sk, "")
            new = _NEW_IN[2].get(kind, {})
            partition[sk] = {name: value for name, value in item.items() if name not in new} | {"schema_version": 1}

    [result] = detect_messages([make_message(second)], make_recorder(table))

    assert result.fate is Fate.RECORDED, result.reason
    state = AuditStore(table).read_account(ACCOUNT, (), NOW)
    assert state.damages == ()
    assert (state.sequence, [incident.records for incident in state.incidents]) == (2, [2])
    [head] = table.get([head_key(ACCOUNT)])
    assert head is not None
    assert head["schema_version"] == SCHEMA_VERSION
