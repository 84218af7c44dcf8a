"""Compiled objects by content: kept while the process lives, and in a folder if one is named.

A folder may be shared by processes that run at the same time. What is damaged in it counts as missing.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path

_DIGEST_BYTES = 32
_KEPT = 256  # objects in this process; the oldest makes room

_kept: dict[str, bytes] = {}
_folder: Path | None = None


def keep_in(folder: Path | None) -> None:
    """Keep objects in ``folder``, which is made when it is needed; None: in this process only."""
    global _folder
    _folder = folder


def find(key: str) -> bytes | None:
    """The object kept under a key, a name of hexadecimal digits."""
    return _kept.get(key) or _read(key)


def keep(key: str, image: bytes) -> None:
    """Keep an object. A folder that cannot be written is no error: the object is compiled again next time."""
    if len(_kept) >= _KEPT:
        del _kept[next(iter(_kept))]
    _kept[key] = image
    if _folder is None or (_folder / key).exists():
        return
    try:
        _folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=_folder)
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(image).digest() + image)
        Path(name).replace(_folder / key)  # whole or not at all
    except OSError:
        return


def _read(key: str) -> bytes | None:
    if _folder is None:
        return None
    try:
        data = (_folder / key).read_bytes()
    except OSError:
        return None
    digest, image = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if hashlib.sha256(image).digest() != digest:
        with suppress(OSError):  # it may be somebody else's folder
            (_folder / key).unlink()
        return None
    return image
