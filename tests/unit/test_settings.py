"""Settings: read once, checked at once, and wrong ones named."""

import pytest

from rootwatch.errors import SettingsError
from rootwatch.settings import (
    DetectSettings,
    NotifySlackSettings,
    NotifySnsSettings,
    TriageSettings,
    WatchdogSettings,
    environment,
    networks,
)

DETECT = {"TABLE_NAME": "audit", "DEAD_LETTER_QUEUE_URL": "https://sqs/dead", "STACK_NAME": "rootwatch"}
SNS = {
    "TABLE_NAME": "audit",
    "DEAD_LETTER_QUEUE_URL": "https://sqs/dead",
    "ALERT_TOPIC_ARN": "arn:topic",
}
SLACK = {
    "TABLE_NAME": "audit",
    "DEAD_LETTER_QUEUE_URL": "https://sqs/dead",
    "SLACK_SECRET_ID": "rootwatch-slack",
}
WATCHDOG = {
    **SNS,
    **SLACK,
    "STACK_NAME": "rootwatch",
    "OPERATIONS_TOPIC_ARN": "arn:operations",
    "INTAKE_DEAD_LETTER_QUEUE_URL": "https://sqs/intake",
    "ROOT_RULE_ARN": "arn:aws:events:us-east-1:111122223333:rule/rootwatch-root",
    "RULE_DEAD_LETTER_QUEUE_URL": "https://sqs/rule",
}


def test_detect() -> None:
    """What is not required has a default, and blanks around a value do not count."""
    settings = DetectSettings.from_environment(DETECT | {"TABLE_NAME": " audit "})
    assert settings == DetectSettings("audit", "https://sqs/dead", "rootwatch", "", "", 60, "")
    values = DETECT | {"KEY_ID": "k", "DEPLOYMENT_ROLE_ARN": "r", "INCIDENT_IDLE_MINUTES": "5", "REPLAY_SOURCE": "s"}
    values |= {"CUSTODIANS": " Dana, +1 555 0100 "}
    expected = DetectSettings(
        "audit", "https://sqs/dead", "rootwatch", "k", "r", 5, "s", custodians="Dana, +1 555 0100"
    )
    assert DetectSettings.from_environment(values) == expected


@pytest.mark.parametrize("name", DETECT)
@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_one_is_named(name: str, value: str | None) -> None:
    """A required variable that is missing or empty is an error with its name."""
    values = {key: text for key, text in DETECT.items() if key != name} | ({name: value} if value is not None else {})
    with pytest.raises(SettingsError, match=name):
        DetectSettings.from_environment(values)


@pytest.mark.parametrize("text", ["4", "1441", "-5", "5.5", "sixty", "٦٠", "9" * 5_000, "1e3"])
def test_idle_minutes_out_of_range(text: str) -> None:
    """The idle time is a whole number of minutes within its range, or an error that names the range."""
    with pytest.raises(SettingsError, match="from 5 to 1440"):
        DetectSettings.from_environment(DETECT | {"INCIDENT_IDLE_MINUTES": text})


def test_trusted_networks() -> None:
    """Networks are listed with commas, blanks do not count, and a bare address is a network of one."""
    settings = DetectSettings.from_environment(
        DETECT | {"TRUSTED_NETWORKS": " 203.0.113.0/24 ,198.51.100.7,2001:db8::/32"}
    )
    assert [str(each) for each in settings.trusted_networks] == ["203.0.113.0/24", "198.51.100.7/32", "2001:db8::/32"]
    for text in (" ", ""):
        assert DetectSettings.from_environment(DETECT | {"TRUSTED_NETWORKS": text}).trusted_networks == ()


@pytest.mark.parametrize(
    "entry",
    ["", " ", "office", "203.0.113.7/24", "203.0.113.0/33", "203.0.113/24", "::ffff:203.0.113.0/120", "2001:db8::/129"],
)
def test_a_network_that_is_none_is_named_by_its_position(entry: str) -> None:
    """What would trust more, less or nothing at all is an error that says which entry, and what is expected."""
    with pytest.raises(SettingsError, match=r"Entry 2 of TRUSTED_NETWORKS .*203\.0\.113\.0/24"):
        DetectSettings.from_environment(DETECT | {"TRUSTED_NETWORKS": f"198.51.100.0/24,{entry}"})
    with pytest.raises(SettingsError, match="Entry 1 of --trusted-network"):
        networks([entry], "--trusted-network")


def test_what_is_looked_up() -> None:
    """Owners are looked up and names are not, unless told otherwise; a local stand-in may take ARIN's place."""
    settings = DetectSettings.from_environment(DETECT)
    assert (settings.look_up_owners, settings.look_up_account_names) == (True, False)
    assert (settings.rdap_origin, settings.owner_database_folder) == ("https://rdap.arin.net", "/opt/mmdb")
    values = DETECT | {
        "LOOK_UP_OWNERS": "false",
        "LOOK_UP_ACCOUNT_NAMES": " true ",
        "RDAP_ORIGIN": "http://127.0.0.1:8089/",
        "OWNER_DATABASE_FOLDER": "elsewhere",
    }
    settings = DetectSettings.from_environment(values)
    assert (settings.look_up_owners, settings.look_up_account_names) == (False, True)
    assert (settings.rdap_origin, settings.owner_database_folder) == ("http://127.0.0.1:8089", "elsewhere")


@pytest.mark.parametrize("name", ["LOOK_UP_OWNERS", "LOOK_UP_ACCOUNT_NAMES"])
@pytest.mark.parametrize("text", ["yes", "True", "1", "on"])
def test_a_switch_is_true_or_false(name: str, text: str) -> None:
    """Whoever writes something else is told the two words."""
    with pytest.raises(SettingsError, match=f"{name} must be true or false"):
        DetectSettings.from_environment(DETECT | {name: text})


@pytest.mark.parametrize("text", ["http://rdap.arin.net", "rdap.arin.net", "https://rdap.arin.net/registry"])
def test_an_origin_of_registries_that_is_none(text: str) -> None:
    """Anything but an origin over HTTPS, or on this machine, is an error that names the variable."""
    with pytest.raises(SettingsError, match=r"RDAP_ORIGIN .*https"):
        DetectSettings.from_environment(DETECT | {"RDAP_ORIGIN": text})


def test_account_names() -> None:
    """Names are listed by number, and blanks around them do not count."""
    text = "111122223333=Production , 444455556666 = Audit = log"
    settings = DetectSettings.from_environment(DETECT | {"ACCOUNT_NAMES": text})
    assert settings.account_names == {"111122223333": "Production", "444455556666": "Audit = log"}
    assert DetectSettings.from_environment(DETECT).account_names == {}


@pytest.mark.parametrize(
    "entry",
    ["", "Production", "111122223333", "111122223333=", "1111-2222-3333=Production", "11112222333=Short",
     "\u0661\u0662" * 6 + "=Production", "111122223333=" + "x" * 51],
)  # fmt: skip
def test_a_name_that_is_none_is_named_by_its_position(entry: str) -> None:
    """What is no pair of number and name is an error that says which entry, and what is expected."""
    with pytest.raises(SettingsError, match=r"Entry 2 of ACCOUNT_NAMES .*111122223333=Production"):
        DetectSettings.from_environment(DETECT | {"ACCOUNT_NAMES": f"444455556666=Audit,{entry}"})


def test_an_account_has_one_name() -> None:
    """A second name for one account is an error: a wrong name is worse than none."""
    with pytest.raises(SettingsError, match="Entry 2 of ACCOUNT_NAMES names an account a second time"):
        DetectSettings.from_environment(DETECT | {"ACCOUNT_NAMES": "111122223333=A,111122223333=B"})


def test_sns() -> None:
    """The SNS notifier needs table, dead-letter queue and topic; the runbook may be empty."""
    assert NotifySnsSettings.from_environment(SNS) == NotifySnsSettings("audit", "https://sqs/dead", "arn:topic", "")
    with pytest.raises(SettingsError, match="ALERT_TOPIC_ARN"):
        NotifySnsSettings.from_environment(SNS | {"ALERT_TOPIC_ARN": ""})


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("", "https://hooks.slack.com"),
        ("https://hooks.slack-gov.com/", "https://hooks.slack-gov.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost:1", "http://localhost:1"),
    ],
)
def test_slack_origins(text: str, origin: str) -> None:
    """The origin is https, or http on this machine for a local stack."""
    assert NotifySlackSettings.from_environment(SLACK | {"SLACK_ORIGIN": text}).slack_origin == origin


@pytest.mark.parametrize(
    "text",
    [
        "hooks.slack.com",
        "ftp://x",
        "https://",
        "https://x/services",
        "http://evil.example.com",
        "https://[",
        "http://[::1",
    ],
)
def test_slack_origins_that_are_none(text: str) -> None:
    """Anything else is an error that names the variable."""
    with pytest.raises(SettingsError, match="SLACK_ORIGIN"):
        NotifySlackSettings.from_environment(SLACK | {"SLACK_ORIGIN": text})


def test_watchdog() -> None:
    """The watchdog needs what both notifiers need and more, and has the idle time of detect within the same range."""
    settings = WatchdogSettings.from_environment(WATCHDOG)
    assert (settings.table_name, settings.stack_name, settings.idle_minutes) == ("audit", "rootwatch", 60)
    assert settings.operations_topic_arn == "arn:operations"
    letters = (settings.intake_letters_url, settings.rule_letters_url, settings.notify_letters_url)
    assert letters == ("https://sqs/intake", "https://sqs/rule", "https://sqs/dead")
    assert settings.sns == NotifySnsSettings.from_environment(SNS)
    assert settings.slack == NotifySlackSettings.from_environment(SLACK)
    assert WatchdogSettings.from_environment(WATCHDOG | {"INCIDENT_IDLE_MINUTES": "5"}).idle_minutes == 5
    with pytest.raises(SettingsError, match="from 5 to 1440"):
        WatchdogSettings.from_environment(WATCHDOG | {"INCIDENT_IDLE_MINUTES": "4"})
    assert (settings.look_up_account_names, settings.account_names) == (False, {})
    named = {"LOOK_UP_ACCOUNT_NAMES": "true", "ACCOUNT_NAMES": "111122223333=Production"}
    settings = WatchdogSettings.from_environment(WATCHDOG | named)
    assert (settings.look_up_account_names, settings.account_names) == (True, {"111122223333": "Production"})
    for name in WATCHDOG:
        with pytest.raises(SettingsError, match=name):
            WatchdogSettings.from_environment(WATCHDOG | {name: " "})


@pytest.mark.parametrize(
    ("text", "minutes"), [("", ()), ("5,15,30", (5, 15, 30)), (" 30, 5 ,15,5", (5, 15, 30)), ("9999", (9999,))]
)
def test_when_people_are_asked(text: str, minutes: tuple[int, ...]) -> None:
    """Minutes may stand in any order: a watch that stood still for that would escalate nothing at all."""
    settings = WatchdogSettings.from_environment(WATCHDOG | {"ESCALATE_HIGH": text})
    assert settings.escalation_minutes == {"critical": (), "high": minutes, "medium": ()}


@pytest.mark.parametrize("text", ["0", "-5", "5,,15", "5;15", "five", "99999", "\u0665", "1.5", "5,", "\u00b2"])
def test_minutes_that_are_none_are_named(text: str) -> None:
    """What is no number of minutes is an error that names the variable."""
    with pytest.raises(SettingsError, match="ESCALATE_MEDIUM"):
        WatchdogSettings.from_environment(WATCHDOG | {"ESCALATE_MEDIUM": text})


TRIAGE = {"TABLE_NAME": "audit", "STACK_NAME": "rootwatch", "SLACK_SECRET_ID": "rootwatch-slack"}


def test_triage() -> None:
    """Nobody may resolve on Slack unless named; blanks beside a name do not count, and a name is none."""
    assert TriageSettings.from_environment(TRIAGE).slack_resolvers == ()
    users = TriageSettings.from_environment(TRIAGE | {"SLACK_RESOLVERS": " U0123456789 , W1234567890"}).slack_resolvers
    assert users == ("U0123456789", "W1234567890")
    for text in ("dana", "U0123456789,", "u0123456789", "U0123456789 W1234567890"):
        with pytest.raises(SettingsError, match="SLACK_RESOLVERS"):
            TriageSettings.from_environment(TRIAGE | {"SLACK_RESOLVERS": text})


def test_the_environment_is_read_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable set after the import is seen."""
    monkeypatch.setenv("ROOTWATCH_TEST", "1")
    assert environment()["ROOTWATCH_TEST"] == "1"
