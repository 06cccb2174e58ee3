"""Where the checkout is that this command was installed from: specimens, build and emulator lie in it."""

from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).resolve().parents[2]
EVENTS: Final = PROJECT / "events"
FORWARD_TEMPLATE: Final = PROJECT / "template-forward.yaml"
BUILT_TEMPLATE: Final = PROJECT / ".aws-sam" / "build" / "template.yaml"
MINISTACK: Final = PROJECT / ".venv" / "ministack" / "bin" / "ministack"
