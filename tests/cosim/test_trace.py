"""The timeline: bytes worked out by hand, what a JSON reader sees, what is left after a sudden death."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from cosim.trace import (
    NIC_RECEIVED,
    NIC_RESPONSES_SENT,
    NIC_SENT,
    RECORD,
    RECORDS_OFFSET,
    RING_RECORDS,
    Recorder,
    file_bytes,
    last_events,
    write_chrome,
)
from sw.kernel.hardware import TraceKind

MMIO_BYTES = bytes.fromhex(
    "0600 0100 0200 0200"  # kind 6 (mmio), node 1, core 2, name 2
    "e803000000000000 dc05000000000000"  # 1000 ps .. 1500 ps
    "0810000000000000"  # value 0x1008
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.bin"


def chrome(source: Path, **options: int) -> list[dict]:
    target = source.with_suffix(".json")
    write_chrome(source, target, **options)
    return json.loads(target.read_text())


def spans(events: list[dict]) -> list[dict]:
    return [event for event in events if event["ph"] == "X"]


def test_record_is_laid_out_as_documented(path):
    recorder = Recorder(path, 4, names=("put",))
    recorder.record(TraceKind.MMIO, 1, 2, 1000, 1500, "store", 0x1008)
    recorder.close()
    data = path.read_bytes()
    assert len(data) == file_bytes(4) == 64 + 65536 + (4 + 64) * 32
    assert struct.unpack("<5Q", data[:40]) == (int.from_bytes(b"NIMTRC01", "little"), 4, 1, 2, 10)
    assert data[64:74] == b"\x03put\x05store"
    assert data[RECORDS_OFFSET : RECORDS_OFFSET + 32] == MMIO_BYTES
    assert RECORD.size == 32


def test_another_writer_over_the_same_map(path):
    recorder = Recorder(path, 4, names=("put",))
    recorder.close()
    with path.open("r+b") as file:  # as C code does it
        file.seek(RECORDS_OFFSET)
        file.write(RECORD.pack(7, 0, NIC_SENT, 1, 2_000_000, 2_040_000, 0xABC))
        file.seek(16)
        file.write((1).to_bytes(8, "little"))
    (span,) = spans(chrome(path))
    assert span == {
        "name": "put", "cat": "packet", "ph": "X", "ts": 2.0, "dur": 0.04, "pid": 0, "tid": NIC_SENT,
        "args": {"header_data": "0xabc"},
    }  # fmt: skip


def test_times_are_exact_decimals(path):
    recorder = Recorder(path, 4)
    recorder.record(TraceKind.PROCESS, 0, 0, 123_456_789_012_345_678, 123_456_789_012_345_679, "p", 7)
    recorder.close()
    chrome(path)
    text = path.with_suffix(".json").read_text()
    assert '"ts":123456789012.345678,"dur":0.000001,' in text
    assert '"args":{"pid":"7"}' in text


def test_tracks_are_named_and_outer_spans_come_first(path):
    recorder = Recorder(path, 10)
    recorder.record(TraceKind.MMIO, 1, 0, 100, 200, "inner")
    recorder.record(TraceKind.EXTENSION, 1, 0, 100, 300, "outer", 12)
    recorder.record(TraceKind.PACKET, 0, NIC_RECEIVED, 50, 60, "put")
    recorder.record(TraceKind.PACKET, 0, NIC_RESPONSES_SENT, 55, 65, "ack")
    recorder.close()
    events = chrome(path)
    assert [(e["name"], e["pid"], e["tid"], e["args"]["name"]) for e in events if e["ph"] == "M"] == [
        ("process_name", 0, 0, "node 0"),
        ("process_name", 1, 0, "node 1"),
        ("thread_name", 0, NIC_RECEIVED, "NIC rx requests"),
        ("thread_name", 0, NIC_RESPONSES_SENT, "NIC tx responses"),
        ("thread_name", 1, 0, "core 0"),
    ]
    assert [span["name"] for span in spans(events)] == ["put", "ack", "outer", "inner"]


@pytest.mark.parametrize(
    ("made", "capacity", "kept", "dropped"), [(0, 3, 0, 0), (3, 3, 3, 0), (4, 3, 3, 1), (200, 3, 3, 197), (5, 0, 0, 5)]
)
def test_capacity_bounds_the_timeline_and_the_ring_keeps_the_last(path, made, capacity, kept, dropped):
    recorder = Recorder(path, capacity)
    for number in range(made):
        recorder.record(TraceKind.TRAP, 0, 0, number, number + 1, f"trap {number % 5}", number)
    assert recorder.dropped == dropped
    recorder.close()
    assert [span["args"]["value"] for span in spans(chrome(path))] == [str(number) for number in range(kept)]
    expected = [f"(value {number})" for number in range(max(0, made - 10), made)]
    assert [line.split(": ")[1].split(" ", 2)[2].partition(",")[0] for line in last_events(path, 10)] == expected
    assert len(last_events(path, 1000)) == min(made, RING_RECORDS)


def test_most_keeps_the_last_spans(path):
    recorder = Recorder(path, 10)
    for number in range(8):
        recorder.record(TraceKind.TRAP, 0, 0, number, number, "t", number)
    recorder.close()
    assert [span["args"]["value"] for span in spans(chrome(path, most=3))] == ["5", "6", "7"]


def test_last_event_as_text(path):
    recorder = Recorder(path, 4)
    recorder.record(TraceKind.MMIO, 1, 2, 12_345_678, 12_349_678, "store", 0xC0001008)
    assert last_events(path, 5) == ["12.345678 us, node 1, core 2, mmio: store (address 0xc0001008), 4000 ps"]


def test_events_survive_a_process_that_is_killed(path):
    code = (
        "import os, signal, sys; from pathlib import Path; from cosim.trace import Recorder\n"
        "from sw.kernel.hardware import TraceKind\n"
        "recorder = Recorder(Path(sys.argv[1]), 100)\n"
        "recorder.record(TraceKind.INTERRUPT, 0, 0, 5, 6, 'device')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
    assert last_events(path, 10) == ["0.000005 us, node 0, core 0, interrupt: device (value 0), 1 ps"]


def test_names_that_are_odd_or_too_many_stay_readable(path):
    recorder = Recorder(path, 400)
    odd = 'quote " backslash \\ newline \n snowman \u2603 ' + "x" * 300
    recorder.record(TraceKind.TRAP, 0, 0, 1, 2, odd)
    for number in range(399):
        recorder.record(TraceKind.TRAP, 0, 0, 3 + number, 3 + number, f"{number:0255}")
    recorder.close()
    names = [span["name"] for span in spans(chrome(path))]
    assert names[0].startswith('quote " backslash \\ newline \n snowman \u2603 x')
    assert names[1] == f"{0:0255}"
    assert names[-1] == "?"


def test_two_writings_are_equal_bytes_and_an_empty_timeline_is_an_empty_list(path):
    Recorder(path, 10).close()
    assert chrome(path) == []
    first = path.with_suffix(".json").read_bytes()
    chrome(path)
    assert path.with_suffix(".json").read_bytes() == first
    assert sorted(os.listdir(path.parent)) == ["trace.bin", "trace.json"]


@pytest.mark.parametrize("content", [b"", b"NIMTRC01", b"x" * 100_000])
def test_what_is_no_trace_has_no_last_events(path, content):
    path.write_bytes(content)
    assert last_events(path, 10) == []
    assert last_events(path.with_name("missing"), 10) == []
    with pytest.raises(ValueError, match=r"trace\.bin: not a trace"):
        write_chrome(path, path.with_suffix(".json"))


def test_a_full_disk_is_noticed_when_recording_starts():
    with pytest.raises(OSError, match="No such device"):
        Recorder(Path("/dev/full"), 10)
