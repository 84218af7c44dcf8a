"""Results that took long to find, kept by the contents of all that they depend on."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def kept(folder: Path, depends_on: Sequence[str], find: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `find` gives, which JSON can hold, or has given when it was asked for the same before.

    Who is stopped on the way leaves nothing behind that could be taken for a result.
    """
    digest = hashlib.sha256()
    for part in depends_on:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    path = folder / f"{digest.hexdigest()}.json"
    if path.exists():
        return dict(json.loads(path.read_text()))
    found = find()
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(found))
    partial.replace(path)
    return found
