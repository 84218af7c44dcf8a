"""The timeline of a run: recorded into a file-backed map in about a microsecond per span, read back by anyone later.

File layout, little-endian:

    0       8 words of 64 bits: magic, capacity, count, names, name_bytes, 0, 0, 0
    64      64 KiB of names: for each a byte with its length, then UTF-8; the first has ID 1
    65600   `capacity` records, then a ring of 64 records

`count` is the number of records ever made. Record n (from 0) lies in slot n while n < capacity, and in slot
capacity + (n - capacity) % 64 afterwards: the timeline keeps the first `capacity`, and the ring the last 64, so that
after a crash the last events are known in any case. A record (`RECORD`, 32 bytes) holds

    kind       u16   position in TraceKind, from 1
    node       u16
    core       u16   or one of PACKET_TRACKS
    name       u16   ID of the name, 0 if the table of names was full
    start_ps   u64
    end_ps     u64
    value      u64   kind-specific: see VALUE_NAMES

Another writer in the same process (C code over the same map) takes a slot, writes the record, then increments `count`.
Its names are known beforehand: those given to `Recorder` have the IDs 1, 2, ... in their order.
"""

import itertools
import json
import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sw.kernel.hardware import TraceKind

RECORD = struct.Struct("<4H3Q")
RING_RECORDS = 64
# Packets of requests and of responses share a link flit by flit: their spans overlap, so each class has its tracks.
NIC_SENT = 0xFFFC
NIC_RECEIVED = 0xFFFD
NIC_RESPONSES_SENT = 0xFFFE
NIC_RESPONSES_RECEIVED = 0xFFFF
PACKET_TRACKS = {
    NIC_SENT: "NIC tx requests",
    NIC_RECEIVED: "NIC rx requests",
    NIC_RESPONSES_SENT: "NIC tx responses",
    NIC_RESPONSES_RECEIVED: "NIC rx responses",
}
VALUE_NAMES = {
    TraceKind.PROCESS: "pid",
    TraceKind.EXTENSION: "instructions",
    TraceKind.INTERRUPT: "value",
    TraceKind.SWITCH: "pid",
    TraceKind.TRAP: "value",
    TraceKind.MMIO: "address",
    TraceKind.PACKET: "header_data",
}

_MAGIC = 0x31304352544D494E  # "NIMTRC01"
_CAPACITY, _COUNT, _NAMES, _NAME_BYTES = 1, 2, 3, 4  # words of the head
_HEAD_BYTES = 64
_NAME_AREA_BYTES = 1 << 16
RECORDS_OFFSET = _HEAD_BYTES + _NAME_AREA_BYTES
_MAX_NAME_BYTES = 255
_VALUE_MASK = (1 << 64) - 1
_KINDS = list(TraceKind)
_CODES = {kind: code for code, kind in enumerate(_KINDS, 1)}
_FIELDS = np.dtype(
    [
        ("kind", "<u2"),
        ("node", "<u2"),
        ("core", "<u2"),
        ("name", "<u2"),
        ("start", "<u8"),
        ("end", "<u8"),
        ("value", "<u8"),
    ]
)
_CHUNK = 4096


def file_bytes(capacity: int) -> int:
    """Size of the file of a recorder."""
    return RECORDS_OFFSET + (capacity + RING_RECORDS) * RECORD.size


class Recorder:
    """Takes spans of the timeline (`sw.kernel.hardware.Trace`). OSError if the file cannot be made that large."""

    def __init__(self, path: Path, capacity: int, names: Sequence[str] = ()) -> None:
        size = file_bytes(capacity)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            os.posix_fallocate(descriptor, 0, size)  # a full disk is noticed here, not by a signal later
            self._map = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        self._head = memoryview(self._map)[:_HEAD_BYTES].cast("Q")
        self._head[0] = _MAGIC
        self._head[_CAPACITY] = capacity
        self._capacity = capacity
        self._ids: dict[str, int] = {}
        for name in names:
            self._add(name)

    @property
    def dropped(self) -> int:
        """Records that did not fit the timeline."""
        return max(0, self._head[_COUNT] - self._capacity)

    def record(
        self, kind: TraceKind, node: int, core: int, start_ps: int, end_ps: int, name: str, value: int = 0
    ) -> None:
        """A span on the track of a core, or on one of PACKET_TRACKS; see VALUE_NAMES for `value`."""
        head, capacity = self._head, self._capacity
        count = head[_COUNT]
        slot = count if count < capacity else capacity + (count - capacity) % RING_RECORDS
        code = self._ids.get(name) or self._add(name)
        offset = RECORDS_OFFSET + slot * 32
        RECORD.pack_into(self._map, offset, _CODES[kind], node, core, code, start_ps, end_ps, value & _VALUE_MASK)
        head[_COUNT] = count + 1

    def close(self) -> None:
        """Nothing is recorded afterwards; the file stays."""
        self._head.release()
        self._map.close()

    def _add(self, name: str) -> int:
        text = name.encode("utf-8", "replace")[:_MAX_NAME_BYTES]
        used, number = self._head[_NAME_BYTES], self._head[_NAMES] + 1
        if used + 1 + len(text) > _NAME_AREA_BYTES:
            return 0
        start = _HEAD_BYTES + used
        self._map[start : start + 1 + len(text)] = bytes([len(text)]) + text
        self._head[_NAME_BYTES] = used + 1 + len(text)
        self._head[_NAMES] = number
        self._ids[name] = number
        return number


class _File:
    """A recorder's file as it lies on the disk, whoever wrote it and however that ended."""

    def __init__(self, path: Path) -> None:
        data = np.fromfile(path, dtype=np.uint8, count=RECORDS_OFFSET)
        head = data[:_HEAD_BYTES].view("<u8") if len(data) == RECORDS_OFFSET else np.zeros(8, "<u8")
        if int(head[0]) != _MAGIC:
            raise ValueError(f"{path}: not a trace")
        self.capacity, self.count = int(head[_CAPACITY]), int(head[_COUNT])
        self.names = ["?", *_names(data[_HEAD_BYTES:].tobytes(), int(head[_NAMES]))]
        self.records: npt.NDArray[Any] = np.memmap(
            path, dtype=_FIELDS, mode="r", offset=RECORDS_OFFSET, shape=(self.capacity + RING_RECORDS,)
        )

    def last(self, n: int) -> Iterator[Any]:
        """The last `n` (at most RING_RECORDS) records, oldest first."""
        for number in range(max(0, self.count - n), self.count):
            ring = number - self.capacity
            record = self.records[number if ring < 0 else self.capacity + ring % RING_RECORDS]
            if 1 <= record["kind"] <= len(_KINDS):
                yield record

    def name(self, record: Any) -> str:
        code = int(record["name"])
        return self.names[code] if code < len(self.names) else "?"


def _names(area: bytes, count: int) -> Iterator[str]:
    position = 0
    for _ in range(count):
        end = position + 1 + area[position]
        yield area[position + 1 : end].decode("utf-8", "replace")
        position = end


def last_events(path: Path, n: int) -> list[str]:
    """The last `n` (at most 64) events as text, oldest first; empty if there is no readable trace."""
    try:
        trace = _File(path)
    except (OSError, ValueError):
        return []
    return [_line(trace, record) for record in trace.last(min(n, RING_RECORDS))]


def _line(trace: _File, record: Any) -> str:
    kind = _KINDS[int(record["kind"]) - 1]
    start, length = int(record["start"]), int(record["end"]) - int(record["start"])
    what = f"{kind.value}: {trace.name(record)} ({VALUE_NAMES[kind]} {_value(kind, int(record['value']))})"
    return f"{_microseconds(start)} us, node {record['node']}, {_track(int(record['core']))}, {what}, {length} ps"


def _value(kind: TraceKind, value: int) -> str:
    return f"{value:#x}" if kind in (TraceKind.MMIO, TraceKind.PACKET) else str(value)


def _track(core: int) -> str:
    return PACKET_TRACKS.get(core, f"core {core}")


def _microseconds(ps: int) -> str:
    """Picoseconds as microseconds, exactly."""
    return f"{ps // 1_000_000}.{ps % 1_000_000:06d}"


def write_chrome(source: Path, target: Path, *, most: int | None = None) -> None:
    """Write the timeline as Chrome trace events (an array; Perfetto opens it): a process per node, a thread per core
    and per track of packets, times in microseconds. With `most`, only the last `most` spans. `target` appears whole or
    not at all.

    Ref: Trace Event Format (Google), "JSON Array Format", complete events ("X") and metadata events ("M").
    """
    trace = _File(source)
    records = trace.records[: min(trace.count, trace.capacity)][-most if most else None :]
    temporary = target.with_name(target.name + ".part")
    with temporary.open("w", encoding="utf-8") as stream:
        separator = "[\n"
        for event in itertools.chain(_metadata(records), _spans(trace, records)):
            stream.write(separator + event)
            separator = ",\n"
        stream.write("\n]\n" if separator == ",\n" else "[]\n")
    temporary.replace(target)


def _metadata(records: npt.NDArray[Any]) -> Iterator[str]:
    """Names of the nodes and tracks that occur, in ascending order."""
    tracks = np.unique(records["node"].astype(np.uint32) << 16 | records["core"])
    for node in np.unique(tracks >> 16).tolist():
        yield _named("process_name", node, 0, f"node {node}")
    for track in tracks.tolist():
        yield _named("thread_name", track >> 16, track & 0xFFFF, _track(track & 0xFFFF))


def _named(what: str, node: int, track: int, name: str) -> str:
    return json.dumps({"name": what, "ph": "M", "pid": node, "tid": track, "args": {"name": name}})


def _spans(trace: _File, records: npt.NDArray[Any]) -> Iterator[str]:
    """The spans by start, of those with the same start the longest first, so that inner ones follow outer ones."""
    order = np.lexsort((~records["end"], records["start"]))
    names = [json.dumps(name) for name in trace.names]
    heads = {code: f'"cat":{json.dumps(kind.value)},"ph":"X"' for kind, code in _CODES.items()}
    for chunk in range(0, len(order), _CHUNK):
        for code, node, core, name, start, end, value in records[order[chunk : chunk + _CHUNK]].tolist():
            if code not in heads:
                continue
            kind = _KINDS[code - 1]
            times = f'"ts":{_microseconds(start)},"dur":{_microseconds(max(0, end - start))}'
            place = f'"pid":{node},"tid":{core}'
            label = names[name] if name < len(names) else '"?"'
            args = f'{{"{VALUE_NAMES[kind]}":{json.dumps(_value(kind, value))}}}'
            yield f'{{"name":{label},{heads[code]},{times},{place},"args":{args}}}'
