"""Stands in for the simulator's process in tests of its supervisor: does one thing, named by its first argument."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from cosim.handover import Order, Progress, write_result
from cosim.trace import Recorder
from sw.kernel.hardware import TraceKind

SECTION = {
    "updates": 4096,
    "updates_per_s": 1234567.8,
    "ns_per_update": 810.0,
    "errors": 0,
    "reference_mismatches": 0,
    "context_switches": 2048,
    "interrupts": 1024,
    "extension_calls": 0,
    "extension_instructions": 0,
    "messages": 2048,
}
RESULT: dict[str, Any] = {
    "status": "finished",
    "simulated_ps": 5_000_000_000,
    "cycles": 1_250_000,
    "wall_s": 2.5,
    "random_access": {"process": SECTION},
    "forgery": {"attempts": 12, "delivered": 0},
    "jobs": {"one": {"state": "finished"}, "two": {"state": "finished"}},
    "counters": {},
    "violations": [],
}


def main(what: str) -> None:
    order = Order.read()
    if what == "early":  # never gets as far as progress
        signal.pause()
    if what == "torn":  # while it makes the timeline's file
        Path(order.trace_path).write_bytes(b"")
        os.kill(os.getpid(), signal.SIGKILL)
    progress = Progress(order)
    recorder = Recorder(Path(order.trace_path), 100)
    for number in range(25):
        recorder.record(TraceKind.MMIO, 0, 1, number * 1000, number * 1000 + 500, "store", number)
    print("arguments:", *sys.argv[2:], flush=True)
    if what == "polite":
        # Whichever thread takes the signal (numpy has some), and whenever: it lies in the pipe until it is waited for.
        signalled, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGINT, lambda *_: None)
    if what == "deaf":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    progress.send(simulated_ps=7_000_000, cycles=1750, jobs={"one": "running", "two": "waiting"})
    match what:
        case "finish":
            write_result(order, RESULT)
        case "wrong":
            write_result(order, RESULT | {"random_access": {"process": SECTION | {"errors": 3}}})
        case "job":
            jobs = {"one": {"state": "failed", "reason": "node 0: page fault"}, "two": {"state": "finished"}}
            write_result(order, RESULT | {"jobs": jobs})
        case "limit":
            write_result(order, RESULT | {"status": "failed", "reason": "limits.simulated_ms: 5 ms have passed"})
        case "crash":
            write_result(order, RESULT | {"status": "crashed", "reason": "internal error: KeyError: 3"})
        case "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "exception":
            raise ZeroDivisionError("of the testbench")
        case "silent":
            pass
        case "polite":
            os.read(signalled, 1)
            write_result(order, RESULT | {"status": "interrupted", "reason": "stopped by a signal"})
        case "deaf":
            while True:
                signal.pause()


main(sys.argv[1])
