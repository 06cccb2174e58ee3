"""What an alert knows beyond its record, on the deployed stack: whose network it is, and what the account is called."""

import io
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest

from rootwatch_cli.demo import STACK_NAME, Stage
from rootwatch_cli.local_stack import LocalStack, LocalStackError
from tests.builders.databases import FIVE_NETWORKS, write_database
from tests.builders.records import build_record
from tests.e2e.wire import recorded_stage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

PATIENCE = 60.0
T = TypeVar("T")


def eventually(look: Callable[[], T], enough: Callable[[T], object] = bool) -> T:
    """Look until it is enough, at most a minute, and return what was seen last."""
    deadline = time.monotonic() + PATIENCE
    seen = look()
    while not enough(seen) and time.monotonic() < deadline:
        time.sleep(0.2)
        seen = look()
    return seen


def sign_in(account_id: str, address: str, number: int = 0) -> dict[str, Any]:
    """A successful root sign-in in an account, from an address."""
    changes: dict[str, Any] = {
        "recipientAccountId": account_id,
        "userIdentity.accountId": account_id,
        "userIdentity.arn": f"arn:aws:iam::{account_id}:root",
        "userIdentity.principalId": account_id,
        "sourceIPAddress": address,
    }
    return build_record("console_login", number=number, **changes)


def messages_about(stage: Stage, account_id: str) -> list[str]:
    """All text of the Slack messages about an account."""
    return [str(message.payload) for message in stage.slack.messages if account_id in message.payload["text"]]


def event_of(stage: Stage, account_id: str) -> Mapping[str, Any]:
    """The first event item of an account."""
    return next(iter(stage.store().event_items(account_id, "2026-11")))


def cached(stage: Stage) -> dict[tuple[str, str], Any]:
    """What the table remembers of look-ups, by kind and name."""
    return {
        (item["pk"]["S"], item["name"]["S"]): item for item in stage.items() if item["pk"]["S"].startswith("CACHE#")
    }


def test_owner_and_country_from_a_registry(stage: Stage) -> None:
    """ARIN's stand-in refers on, the alert names owner and country, and nobody is asked about the address again."""
    address = "203.0.113.199"
    stage.send([sign_in("333344441111", address)])
    [message] = eventually(lambda: messages_about(stage, "333344441111"))
    event = event_of(stage, "333344441111")
    eventually(lambda: cached(stage), lambda found: ("CACHE#owner", address) in found)

    assert f"{address} (public, first time in this account), country NL, owner Example Hosting" in message
    assert (event["source_owner"], event["source_country"]) == ("Example Hosting", "NL")
    asked = [path for path in stage.registries.asked if path.endswith(f"/{address}")]
    assert asked == [f"/registry/ip/{address}", f"/ip/{address}"]

    stage.send([sign_in("333344442222", address)])
    [message] = eventually(lambda: messages_about(stage, "333344442222"))
    assert "country NL, owner Example Hosting" in message
    assert [path for path in stage.registries.asked if path.endswith(f"/{address}")] == asked


def test_what_no_registry_knows_is_not_looked_up(stage: Stage) -> None:
    """An address that the registries do not know is told all the same, and remembered as a failure for an hour."""
    address = "192.0.2.77"
    stage.send([sign_in("333344443333", address)])
    [message] = eventually(lambda: messages_about(stage, "333344443333"))
    found = eventually(lambda: cached(stage), lambda items: ("CACHE#owner", address) in items)

    assert f"{address} (public, first time in this account), owner not looked up" in message
    assert event_of(stage, "333344443333")["source_owner"] is None
    item = found["CACHE#owner", address]
    assert item["fields"] == {"M": {}}
    assert 3_000 < int(item["expires"]["N"]) - time.time() < 3_700


def test_the_name_of_the_map_stands_in_the_headline(stage: Stage) -> None:
    """The account that the parameter AccountNames names is called by it, with its number."""
    stage.send([sign_in("111122223333", "203.0.113.198")])
    [message] = eventually(lambda: messages_about(stage, "(111122223333)"))
    assert "account Production (111122223333)" in message


# --- with a layer of databases, and with Organizations -------------------------------------------------------------


def _layer_of_databases(stack: LocalStack, folder: Path) -> dict[str, str]:
    """Publish a layer whose folder mmdb holds five networks, and return the parameters that use it."""
    write_database(folder / "five-networks.mmdb", FIVE_NETWORKS)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.write(folder / "five-networks.mmdb", "mmdb/five-networks.mmdb")
        zipped.writestr("mmdb/broken.mmdb", b"no database")
    layer = stack.client("lambda").publish_layer_version(
        LayerName="owner-databases", Content={"ZipFile": archive.getvalue()}, CompatibleRuntimes=["python3.13"]
    )
    return {
        "OwnerDatabaseLayerArn": layer["LayerVersionArn"],
        "LookUpAccountNames": "true",
        "AccountNames": "555566661111=Stated name,555566662222=Stated name",
    }


@pytest.fixture(scope="module")
def own_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stack apart, with databases in a layer and the names of Organizations.

    Lambda unpacks a layer into /opt. The emulator unpacks the second layer of a function beside the function's own
    folder, so the function is told to look there; the layer, the parameter and the reading are the real ones.
    """
    folder = tmp_path_factory.mktemp("mmdb")
    try:
        with recorded_stage(parameters=lambda stack: _layer_of_databases(stack, folder)) as running:
            functions = running.stack.client("lambda")
            name = f"{STACK_NAME}-detect"
            configured = functions.get_function_configuration(FunctionName=name)
            layers = [layer["Arn"] for layer in configured["Layers"]]
            place = next(number for number, arn in enumerate(layers) if ":owner-databases:" in arn)
            variables = configured["Environment"]["Variables"] | {"OWNER_DATABASE_FOLDER": f"../layer_{place}/mmdb"}
            functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
            yield running
    except LocalStackError as error:
        pytest.fail(f"{error}\n{error.detail}")


@pytest.mark.parametrize(
    ("account_id", "address", "words"),
    [
        ("333344445551", "192.0.2.7", "country DE, owner Example Telecom"),
        ("333344445552", "192.0.2.77", "first time in this account), owner Example Cloud"),
        ("333344445553", "192.0.2.133", "country JP, owner Example Broadband"),
        ("333344445554", "192.0.2.200", "country CA, owner Example Networks"),
        ("333344445555", "2001:db8::7", "country SE, owner not looked up"),
        ("333344445556", "198.51.100.7", "country US, owner Example University"),
    ],
)
def test_owner_and_country_from_a_database(own_stage: Stage, account_id: str, address: str, words: str) -> None:
    """Each of the five networks is known without anybody being asked; what they do not state, the registries are."""
    own_stage.send([sign_in(account_id, address)])
    [message] = eventually(lambda: messages_about(own_stage, account_id))

    assert words in message
    asked = any(path.endswith(f"/{address}") for path in own_stage.registries.asked)
    assert asked is (address in {"2001:db8::7", "198.51.100.7"})


def test_a_broken_database_is_named_in_the_log(own_stage: Stage) -> None:
    """The file beside the good one is no database; the log says so, and nothing stops."""
    own_stage.send([sign_in("333344446666", "192.0.2.8")])
    [message] = eventually(lambda: messages_about(own_stage, "333344446666"))

    assert "owner Example Telecom" in message
    log = own_stage.stack.log_file.read_text(encoding="utf-8", errors="replace")
    assert "broken.mmdb is no database that can be read" in log


def test_organizations_names_the_account(own_stage: Stage) -> None:
    """Organizations' name goes first, the stated name stands in where it knows none, and else the number alone."""
    organizations = own_stage.stack.client("organizations")
    created = organizations.create_account(Email="payments@example.com", AccountName="Payments")
    account_id = created["CreateAccountStatus"]["AccountId"]
    for each in (account_id, "555566662222", "555566663333"):
        own_stage.send([sign_in(each, "192.0.2.9")])

    [named] = eventually(lambda: messages_about(own_stage, account_id))
    [stated] = eventually(lambda: messages_about(own_stage, "555566662222"))
    [alone] = eventually(lambda: messages_about(own_stage, "555566663333"))
    found = eventually(lambda: cached(own_stage), lambda items: ("CACHE#account-name", account_id) in items)
    assert f"account Payments ({account_id})" in named
    assert "account Stated name (555566662222)" in stated
    assert "account 555566663333 ·" in alone
    assert found["CACHE#account-name", account_id]["fields"] == {"M": {"name": {"S": "Payments"}}}
