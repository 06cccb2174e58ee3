"""Leaves the given services in botocore's list of endpoints, which every first client reads whole: 1.3 MB of JSON.

    python3 trim_endpoints.py FOLDER/botocore/data/endpoints.json SERVICE...

Partitions, regions and defaults stay, so that what is left resolves as before; a test compares it region by region.
"""

import json
import pathlib
import sys
from typing import Any


def trimmed(endpoints: dict[str, Any], services: set[str]) -> dict[str, Any]:
    """Return the list with these services only; raises where it is not of the shape that botocore reads."""
    if endpoints["version"] != 3:  # noqa: PLR2004 - the only version there is
        message = f"endpoints.json is of version {endpoints['version']}; look at what botocore changed."
        raise ValueError(message)
    kept = [
        partition | {"services": {name: each for name, each in partition["services"].items() if name in services}}
        for partition in endpoints["partitions"]
    ]
    return endpoints | {"partitions": kept}


if __name__ == "__main__":
    file, *names = sys.argv[1:]
    path = pathlib.Path(file)
    path.write_text(
        json.dumps(trimmed(json.loads(path.read_text(encoding="utf-8")), set(names)), separators=(",", ":"))
    )
