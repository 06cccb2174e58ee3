"""The function triage beside the world of the other functions, and people who press buttons on Slack."""

import base64
from collections.abc import Mapping
from typing import Any, Final

from functions.triage import app as triage_app
from rootwatch import wiring
from rootwatch.channels.slack_buttons import Subject
from rootwatch.incident import Incident
from rootwatch_cli.slack_receiver import signed_headers
from tests.contracts.world import Context, World

ACCOUNT: Final = "333355557777"
RESOLVER: Final = "U0123456789"
OTHER: Final = "U9876543210"
NO_HEADERS: Final[Mapping[str, str]] = {}


class Desk:
    """The function triage beside the world of the others, and people who press."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.record(ACCOUNT, "console_login_without_mfa")
        world.run()

    @property
    def incident(self) -> Incident:
        """The one incident as it stands now."""
        store = wiring.reception().desk.store
        [found] = [each for _, each in store.incidents(store.incidents_of("2026-11"))]
        assert isinstance(found, Incident)
        return found

    def event(self, body: bytes, headers: Mapping[str, str] = NO_HEADERS, *, encoded: bool = True) -> dict[str, Any]:
        """What Lambda hands over for a signed body; the headers in lower case, as function URLs have them."""
        signed = {name.lower(): value for name, value in signed_headers(body, self.world.clock.now).items()} | dict(
            headers
        )
        return {
            "version": "2.0",
            "rawPath": "/",
            "headers": signed | dict(headers),
            "requestContext": {"http": {"method": "POST", "path": "/", "sourceIp": "198.51.100.7"}},
            "body": base64.b64encode(body).decode() if encoded else body.decode(),
            "isBase64Encoded": encoded,
        }

    def send(self, event: dict[str, Any]) -> dict[str, Any]:
        """Hand an event to the function, and let the stream run."""
        answer: dict[str, Any] = triage_app.handler(event, Context())
        self.world.run()
        return answer

    def press(self, action: str, user: str = RESOLVER, value: str = "", typed: dict[str, str] | None = None) -> Any:
        """Press a button of ours, a moment later."""
        self.world.clock.advance(1.0)
        incident = self.incident
        value = value or Subject("rootwatch", incident.id, incident.triage.moves).value
        body = self.world.slack.pressed(value, f"rootwatch:{action}", user, f"name-of-{user.lower()}", typed)
        return self.send(self.event(body))

    def steps(self) -> list[str]:
        """The kinds of the steps so far."""
        return [step.kind for step in wiring.reception().desk.store.steps(self.incident.id)]

    def last_told(self) -> str:
        """What somebody who pressed was told last."""
        return str(self.world.slack.told[-1]["text"])
