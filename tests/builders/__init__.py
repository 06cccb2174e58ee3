"""What tests build their input from: the specimens under `events/`, and records derived from them."""

from tests.builders.records import ABSENT, as_sqs_event, as_sqs_message, build_envelope, build_record
from tests.builders.specimens import (
    all_specimens,
    load_expectations,
    load_specimen,
    near_miss_stems,
    silent_names,
    specimen_stems,
)

__all__ = [
    "ABSENT",
    "all_specimens",
    "as_sqs_event",
    "as_sqs_message",
    "build_envelope",
    "build_record",
    "load_expectations",
    "load_specimen",
    "near_miss_stems",
    "silent_names",
    "specimen_stems",
]
