"""`rootwatch evidence INCIDENT --out DIR`: one incident as a file that can be handed over and checked without us.

A zip with every record as it is stored, the account's chain recomputed, the timeline (for machines, and as one page
that opens anywhere), alerts with their ledgers, the steps of triage, and the SHA-256 of each file.
"""

import hashlib
import html
import io
import json
import sys
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from rootwatch import __version__
from rootwatch.alert import addresses, clock, duration, shown, standing, story
from rootwatch.audit.items import Step, key_part, moment_text, record_of, step_of
from rootwatch.audit.steps import verify_steps
from rootwatch.audit.store import AuditStore, ChainReport
from rootwatch.audit.table import Item, key_of
from rootwatch.errors import DamagedItemError
from rootwatch.incident import Incident
from rootwatch.triage import Response, response
from rootwatch_cli.deployed import DeployedStack, Where, on_stack
from rootwatch_cli.incidents import counted, incident_document, span_of, state_of
from rootwatch_cli.show import Entry, find_incident, timeline
from rootwatch_cli.verify import verify_records

_ZIP_TIME: Final = (1980, 1, 1, 0, 0, 0)
MOST_ROWS: Final = 5000
"""Lines of the page; the files beside it have all."""

README: Final = """\
What is in this file, and how to check it without Rootwatch.

timeline.html     the incident by time, for people; opens in any browser, without a network
timeline.jsonl    the same for machines, a line for each act, alert, delivery and step
incident.json     the incident as it stood when this was made
records.jsonl     every record of the incident: as CloudTrail wrote it, secrets taken out, with its place in the chain
items.jsonl       the incident's other items as the table has them: alerts, ledgers with receipts, steps, thread
chain.jsonl       every record of the account, in order: its SHA-256 and its chain value
chain.json        what computing that chain again found, and that of the steps
manifest.json     when and by whom this was made, and the SHA-256 of each file
SHA256SUMS        the same; check with: sha256sum -c SHA256SUMS

A record's SHA-256 is that of its canonical JSON: keys sorted, no blanks, ASCII only. chain is the SHA-256, in hex, of
the text of the chain value before it followed by the text of the record's SHA-256; the first one follows 64 zeros.
Each alert that people hold (a mail, a message) states the record and the chain value with which it was sent: compare.

A step's chain is made likewise, along the incident's own steps by their number: instead of a record's SHA-256 stands
that of the step's item in items.jsonl without "chain". The incident's item holds the last value (steps_chain), and each
message on Slack that tells of a step its number and the beginning of its value.
"""


@dataclass(frozen=True, slots=True)
class Pack:
    """The files of an evidence pack by name, and in words what was found altered."""

    files: Mapping[str, bytes]
    faults: tuple[str, ...]


def run_evidence(where: Where, incident_id: str, out: Path, *, as_json: bool) -> int:
    """Write an incident's evidence into a folder; return 1 if there is no such incident, or something was altered."""

    def do(stack: DeployedStack) -> int:
        found = find_incident(stack.store, incident_id)
        if isinstance(found, str):
            sys.stderr.write(f"{found}\n")
            return 1
        pack = collect(stack.store, found, stack.caller(), datetime.now(UTC).replace(microsecond=0))
        content = zipped(pack.files, f"rootwatch-{found.id}")
        path = out / f"rootwatch-{found.id}.zip"
        try:
            out.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            sys.stderr.write(f"{path} cannot be written ({error.strerror}).\n")
            return 2
        _say(path, content, pack, as_json=as_json)
        return 1 if pack.faults else 0

    return on_stack(where, do)


def _say(path: Path, content: bytes, pack: Pack, *, as_json: bool) -> None:
    digest = hashlib.sha256(content).hexdigest()
    if as_json:
        document = {"file": str(path), "bytes": len(content), "sha256": digest, "faults": list(pack.faults)}
        sys.stdout.write(json.dumps(document, ensure_ascii=True) + "\n")
        return
    console = Console()
    console.print(Text(f"{path}: {counted(len(pack.files), 'file')}, {len(content)} bytes"))
    console.print(Text(f"SHA-256 {digest}"))
    for fault in pack.faults[:20]:
        console.print(Text(shown(fault, 400), style="bold red"))
    if pack.faults:
        console.print(Text("Something was altered; the pack says what. Keep the table as it is, and its backups."))


def collect(store: AuditStore, incident: Incident, made_by: str, made_at: datetime) -> Pack:
    """Return all that the table holds of an incident, as files.

    Args:
        store: the audit store.
        incident: the incident.
        made_by: who makes the pack, as AWS states it.
        made_at: the moment, UTC.

    """
    entries = list(timeline(store, incident))
    events = list(store.incident_events(incident))
    others = list(store.incident_items(incident.id))
    account_id = key_part(incident.account_id)
    months = store.accounts().get(account_id, [])
    chain = verify_records(store, account_id, months)
    steps = verify_steps(incident.id, others)
    faults = [*chain.faults, *steps.faults, *(entry.words for entry in entries if entry.kind == "damage")]
    missing = incident.records - len(events)
    if missing > 0:
        faults.append(f"{missing} of its {incident.records} records are not among its events")
    files = {
        "README.txt": README.encode(),
        "timeline.html": page(incident, entries, chain, _steps(others), faults, made_at).encode(),
        "timeline.jsonl": _lines(
            {"kind": entry.kind, "at": moment_text(entry.at), "words": entry.words, **entry.document}
            for entry in entries
        ),
        "incident.json": _document(incident_document(incident)),
        "records.jsonl": _lines(map(_record, events)),
        "items.jsonl": _lines(others),
        "chain.jsonl": _lines(_links(store, account_id, months)),
        "chain.json": _document(
            {
                "account_id": chain.account_id,
                "records": chain.events,
                "sequence": chain.sequence,
                "chain": chain.chain,
                "faults": list(chain.faults),
                "steps": steps.steps,
                "faults_of_steps": list(steps.faults),
            }
        ),
    }
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    files["manifest.json"] = _document(
        {
            "incident_id": incident.id,
            "made_at": moment_text(made_at),
            "made_by": made_by,
            "rootwatch": __version__,
            "sha256": digests,
        }
    )
    digests["manifest.json"] = hashlib.sha256(files["manifest.json"]).hexdigest()
    files["SHA256SUMS"] = "".join(f"{digest}  {name}\n" for name, digest in digests.items()).encode()
    return Pack(files, tuple(faults))


def _steps(items: Iterable[Item]) -> list[Step]:
    steps = []
    for item in items:
        if key_of(item).sk.startswith("STEP#"):
            try:
                steps.append(step_of(item))
            except DamagedItemError:
                continue  # the timeline shows it as it stands
    return steps


def _record(item: Item) -> dict[str, object]:
    """Return a record with its place in the chain; what cannot be read is said in its place."""
    names = ("event_id", "event_time", "received_at", "sequence", "sha256", "chain", "detections", "severity")
    document: dict[str, object] = {name: item.get(name) for name in ("pk", "sk", *names)}
    try:
        return {**document, "redacted_paths": item.get("redacted_paths"), "record": record_of(item)}
    except DamagedItemError as error:
        return {**document, "damage": str(error)}


def _links(store: AuditStore, account_id: str, months: Iterable[str]) -> list[dict[str, object]]:
    names = ("sequence", "sk", "sha256", "chain", "incident_id")
    items = (item for month in months for item in store.event_items(account_id, month))
    links: list[dict[str, object]] = [{name: item.get(name) for name in names} for item in items]
    return sorted(links, key=lambda link: (str(link["sequence"]).zfill(12), str(link["sk"])))


def _document(document: Mapping[str, object]) -> bytes:
    return (json.dumps(document, ensure_ascii=True, indent=2, sort_keys=True, default=_text_of) + "\n").encode()


def _lines(documents: Iterable[Mapping[str, object]]) -> bytes:
    texts = (json.dumps(dict(each), ensure_ascii=True, sort_keys=True, default=_text_of) for each in documents)
    return "".join(f"{text}\n" for text in texts).encode()


def _text_of(value: object) -> str:
    # Bytes stand only in what is compressed, or was altered.
    return value.hex() if isinstance(value, bytes) else repr(value)


def zipped(files: Mapping[str, bytes], folder: str) -> bytes:
    """Return a zip of the files in one folder; the same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(f"{folder}/{name}", _ZIP_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


# --- the page ------------------------------------------------------------------------------------------------------

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --paper: #ffffff; --line: #d0d7de; --card: #f6f8fa;
  --critical: #b3261e; --high: #9a4a00; --medium: #7a5d00; --step: #0b57a4; --good: #1a6b34; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9aa4af; --paper: #0d1117; --line: #30363d;
  --card: #161b22; --critical: #ff8a80; --high: #ffb070; --medium: #e3c35a; --step: #79b8ff; --good: #7ee2a0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--paper); overflow-wrap: anywhere; }
h1 { font-size: 1.35rem; line-height: 1.3; margin: 0 0 .25rem; }
h2 { font-size: 1.05rem; margin: 1.75rem 0 .5rem; }
p { margin: .25rem 0; }
.soft { color: var(--soft); }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: .5rem; margin: 1rem 0; }
dl div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .5rem .75rem; }
dt { font-size: .8rem; color: var(--soft); } dd { margin: 0; font-weight: 600; }
ol { list-style: none; margin: 0; padding: 0; border-top: 1px solid var(--line); }
li { display: grid; grid-template-columns: 5.5rem 5.5rem 1fr; gap: .25rem .75rem; padding: .4rem 0;
  border-bottom: 1px solid var(--line); }
li time { font-variant-numeric: tabular-nums; color: var(--soft); }
li b { font-weight: 600; }
.critical b { color: var(--critical); } .high b { color: var(--high); } .medium b { color: var(--medium); }
.step b, .step p { color: var(--step); } .alert p, .delivery p { color: var(--soft); }
.damage b, .damage p, .fault { color: var(--critical); font-weight: 600; }
.good { color: var(--good); font-weight: 600; }
li p { margin: 0; }
.day { font-weight: 600; padding: .75rem 0 .25rem; display: block; }
code { font: .85em ui-monospace, monospace; }
@media (max-width: 40rem) { li { grid-template-columns: 5.5rem 1fr; } li p { grid-column: 1 / -1; } }
@media print { body { max-width: none; font-size: .8rem; } li { break-inside: avoid; } }
"""


def page(  # noqa: PLR0913, PLR0917 - what a page shows
    incident: Incident,
    entries: Iterable[Entry],
    chain: ChainReport,
    steps: Iterable[Step],
    faults: Iterable[str],
    made_at: datetime,
) -> str:
    """Return the timeline as one page: no script, no address that is called, every text of a record as text."""
    taken = list(steps)
    facts = [
        ("State", f"{state_of(incident)}, {incident.severity}"),
        ("Answer", standing(incident)),
        ("When", span_of(incident)),
        ("Records, alerts", f"{incident.records}, {incident.alerts}"),
        ("Root from", addresses(incident.sources) or "none stated"),
        *_response_facts(response(incident, taken)),
    ]
    found = list(faults)
    intact = f"The account's chain of {counted(chain.events, 'record')} was computed again and is intact."
    if taken:
        intact += f" So is that of the incident's {counted(len(taken), 'step')}."
    verdict = [f'<p class="fault">{_text(fault, 400)}</p>' for fault in found] or [f'<p class="good">{intact}</p>']
    title = f"Incident {incident.id}, account {incident.account_id}"
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>{_text(title, 200)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
            f"<h1>{_text(title, 200)}</h1>",
            f"<p>{_text(story(incident), 600)}</p>",
            f'<p class="soft">Made {clock(made_at)} by Rootwatch {__version__}. All times are UTC.</p>',
            "<dl>",
            *(f"<div><dt>{_text(name, 40)}</dt><dd>{_text(value, 400)}</dd></div>" for name, value in facts),
            "</dl>",
            "<h2>Is it as it was recorded?</h2>",
            *verdict,
            f'<p class="soft">Record {chain.sequence} has the chain value <code>{_text(chain.chain, 64)}</code>.',
            "Whoever can write the table can compute a chain anew: compare it with the alerts that people hold.</p>",
            "<h2>Timeline</h2>",
            "<ol>",
            *_rows(entries),
            "</ol>",
            "</body>\n</html>\n",
        ]
    )


def _response_facts(found: Response) -> Iterable[tuple[str, str]]:
    for name, moment in (("Told", found.told_at), ("Taken", found.acknowledged_at), ("Over", found.closed_at)):
        after = f"after {duration(moment - found.acted_at)}" if moment is not None else "not yet"
        yield f"{name} (from the first act)", after


def _rows(entries: Iterable[Entry]) -> Iterable[str]:
    day, rows = "", 0
    for entry in entries:
        if entry.told:
            continue
        rows += 1
        if rows > MOST_ROWS:
            continue
        if f"{entry.at:%Y-%m-%d}" != day:
            day = f"{entry.at:%Y-%m-%d}"
            yield f'<li class="day">{day}</li>'
        severity = str(entry.severity or "")
        label = entry.kind if entry.kind != "act" else severity or "act"
        yield (
            f'<li class="{entry.kind} {severity}"><time datetime="{moment_text(entry.at)}">{entry.at:%H:%M:%S}</time>'
            f"<b>{_text(label, 20)}</b><p>{_text(entry.words, 1500)}</p></li>"
        )
    if rows > MOST_ROWS:
        yield f'<li class="day">{rows - MOST_ROWS} further lines are in timeline.jsonl.</li>'


def _text(value: object, longest: int) -> str:
    """Return text as HTML text in which nothing is hidden and nothing reorders it."""
    return html.escape(shown(value, longest), quote=True)
