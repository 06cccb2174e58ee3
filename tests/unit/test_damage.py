"""Somebody who can write to the audit table damages it: the records that come are stored and told all the same."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from rootwatch.audit.items import address_key, declared_item, head_key, incident_key, source_key
from rootwatch.audit.memory import MemoryTable
from rootwatch.audit.table import Put
from rootwatch.detections.detection import Severity
from rootwatch.incident import FAILED_SIGN_INS, LARGEST_SET, MOST_OPEN
from rootwatch.pipeline import Fate
from tests.unit.simulation import START, Simulation, naming
from tests.unit.test_adversaries import HOME, MANAGEMENT, NEWS, administrator_at_work, told
from tests.unit.test_declared_use import declare
from tests.unit.workbench import ACCOUNT, CheckedTable

Damaging = Callable[[Simulation], None]


@pytest.fixture
def simulation() -> Simulation:
    """A deployment on a table that takes only what DynamoDB takes."""
    return Simulation(table=CheckedTable())


def change(table: MemoryTable, pk: str, sk: str, **attributes: Any) -> None:
    """Change attributes of an item behind the store's back, if it is there."""
    item = table._partitions.get(pk, {}).get(sk)
    if item is not None:
        table._partitions[pk][sk] = item | attributes


def head(simulation: Simulation) -> None:
    """Make the account's head unreadable."""
    change(simulation.table, head_key(ACCOUNT).pk, "HEAD", sequence="many")


def incident(simulation: Simulation) -> None:
    """Make the open incident unreadable."""
    for each in simulation.incidents():
        change(simulation.table, incident_key(each.id).pk, "INCIDENT", opened_at="yesterday")


def source(simulation: Simulation) -> None:
    """Make what the account remembers of the address unreadable."""
    key = source_key(ACCOUNT, HOME)
    change(simulation.table, key.pk, key.sk, times="often")


def address(simulation: Simulation) -> None:
    """Make what is remembered of the address across accounts unreadable."""
    change(simulation.table, address_key(HOME).pk, "SEEN", accounts=7)


def everything(simulation: Simulation) -> None:
    """All of it at once."""
    for each in (incident, head, source, address):
        each(simulation)


@pytest.mark.parametrize("damaging", [head, incident, source, address, everything])
def test_a_damaged_state_neither_stops_nor_hides_a_record(simulation: Simulation, damaging: Damaging) -> None:
    """The trail that root stops after damaging a state item is stored, chained and told, and so is the damage."""
    own = administrator_at_work(simulation, minutes=2) | {"sourceIPAddress": HOME}
    damaging(simulation)

    alerts = simulation.happens("logging_tampered", requestParameters={"name": "payments"}, **own)

    assert simulation.fates[-1] is Fate.RECORDED
    found = naming(alerts, "StopLogging", "payments")
    assert [(alert.severity, alert.kind) for alert in found] == [(Severity.CRITICAL, "alert")]
    [damage] = [alert for alert in alerts if alert.kind == "damage"]
    assert (damage.severity, damage.detections) == (Severity.CRITICAL, ("root.rootwatch_tampered",))
    assert all(alert.kind != "damage" for alert in simulation.happens("read", **own)), "told once"
    simulation.check_chains()
    simulation.run_out()
    simulation.check_chains()


def test_every_open_incident_damaged_at_once(simulation: Simulation) -> None:
    """A dozen damaged incidents, and all else beside them, are one alert that names them and the record is stored."""
    for number in range(MOST_OPEN["assume-root"]):
        policy: dict[str, Any] = {"requestParameters.taskPolicyArn": {"arn": f"task/{number}"}}
        simulation.happens("assumed", **policy)
    damaged = simulation.incidents(MANAGEMENT)
    assert len(damaged) == MOST_OPEN["assume-root"]
    for each in damaged:
        change(simulation.table, incident_key(each.id).pk, "INCIDENT", records=None)
    for key in [*simulation.table._partitions]:
        if key.startswith("ADDRESS#"):
            change(simulation.table, key, "SEEN", version="x")
    for sk in [*simulation.table._partitions[f"ACCOUNT#{MANAGEMENT}"]]:
        if sk.startswith("SOURCE#"):
            change(simulation.table, f"ACCOUNT#{MANAGEMENT}", sk, times=None)

    alerts = simulation.happens("assumed", **{"requestParameters.taskPolicyArn": {"arn": "task/new"}})

    assert simulation.fates[-1] is Fate.RECORDED
    [damage] = [alert for alert in alerts if alert.kind == "damage"]
    # Ten are named, the others counted.
    assert len(naming([damage], *(each.id for each in damaged[:5]))) == 1
    assert "damageditems" in damage.so_far.replace(" ", "")
    assert [alert for alert in alerts if alert.kind in NEWS]
    simulation.check_chains()


def test_a_thousand_forged_declarations_silence_nobody(simulation: Simulation) -> None:
    """However many damaged declarations somebody puts into the table, each record is stored and told; they are told
    once, and once more when there is another one.
    """
    own = administrator_at_work(simulation, minutes=2)
    for number in range(240):
        forge(simulation, number)

    alerts = simulation.happens("logging_tampered", requestParameters={"name": "payments"}, **own)

    told(alerts, "StopLogging", "payments", severity=Severity.CRITICAL, why="new_detection")
    [damage] = [alert for alert in alerts if alert.kind == "damage"]
    assert naming([damage], "a declared use", "more declared uses") or naming([damage], "a declared use", "more;")
    simulation.run_for(minutes=2)
    assert simulation.happens("read", **own) == []
    forge(simulation, 1_000)
    assert [alert.kind for alert in simulation.happens("read", **own)] == ["damage"]
    assert max(len(each.novelties) for each in simulation.incidents()) <= LARGEST_SET
    simulation.check_chains()


def forge(simulation: Simulation, number: int) -> None:
    """A declaration whose content is not the one that its key vouches for."""
    item = declared_item(declare(from_at=START, to_at=START + timedelta(hours=1), ticket=f"OPS-{number}"))
    simulation.table.write([Put(item | {"approver": "nobody"})])


def test_failures_that_were_remembered_and_damaged(simulation: Simulation) -> None:
    """A damaged memory of failed sign-ins is told, and a spray is found again from then on."""
    simulation.happens("console_login_failed", account="300000000001")
    change(simulation.table, address_key(FAILED_SIGN_INS).pk, "SEEN", version=-1)
    alerts = simulation.happens("console_login_failed", account="300000000002")
    assert sorted(alert.kind for alert in alerts) == ["alert", "damage"]
    [alert] = simulation.happens("console_login_failed", account="300000000003")
    assert "root.login_spray" in alert.detections


def remove(simulation: Simulation, *partitions: str, sk: str | None = None) -> None:
    """Remove what is in these partitions, or one item of each, behind the store's back."""
    for pk in [each for each in simulation.table._partitions if each.startswith(partitions)]:
        if sk is None:
            del simulation.table._partitions[pk]
        else:
            simulation.table._partitions[pk].pop(sk, None)


def test_a_head_that_was_removed_is_missed_in_another_month(simulation: Simulation) -> None:
    """The account's incidents alone say that it is not new, also in a month that has no record of it yet."""
    simulation.happens("console_login")
    simulation.clock.move_to(START + timedelta(days=400))
    remove(simulation, head_key(ACCOUNT).pk, sk="HEAD")

    alerts = simulation.happens("console_login")

    assert len([alert for alert in alerts if alert.kind == "damage"]) == 1
    assert [item["sequence"] for item in simulation.items("EVENTS#")] == [1, 2]
    simulation.check_chains()


def test_a_head_that_was_removed_with_all_incidents_is_missed_in_the_same_month(simulation: Simulation) -> None:
    """Whoever removes the incidents too cannot hide beside this month's records."""
    simulation.happens("console_login")
    remove(simulation, head_key(ACCOUNT).pk, sk="HEAD")
    remove(simulation, "INCIDENT#")

    alerts = simulation.happens("read")

    assert len([alert for alert in alerts if alert.kind == "damage"]) == 1
    assert [item["sequence"] for item in simulation.items("EVENTS#")] == [1, 2]


def test_an_account_s_first_record_is_no_damage_and_asks_one_month(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told of damage where there is none, and the dearest cold start does not look through the years."""
    asked: list[str] = []
    query = simulation.table.query

    def noted(pk: str, prefix: str = "", *, most: int | None = None) -> Any:
        asked.append(pk)
        return query(pk, prefix, most=most)

    monkeypatch.setattr(simulation.table, "query", noted)

    alerts = simulation.happens("console_login")

    assert [alert.kind for alert in alerts if alert.kind == "damage"] == []
    assert {pk for pk in asked if pk.startswith("EVENTS#")} == {f"EVENTS#{ACCOUNT}#{START:%Y-%m}"}
