"""How a process gets to know: counting events, interrupts or polling, and interrupts that wait for more of them.

Ref: Portals 4, sections 3.13 and 3.14.
"""

from collections.abc import Iterator

from rtl.portals import AckRequest, EventKind
from sw.apps.portals_check.side import PS_PER_US, Side, Step
from sw.portals.counters import Count
from sw.portals.endpoint import Endpoint
from sw.portals.operations import Counting
from sw.portals.portal_table import ALL_BITS, MatchEntry

INTERRUPTS = "kernel.interrupts"
WAKE_UPS = "kernel.wake_ups"
MESSAGES = 8
APART_US = 20  # between messages, so that each of them can interrupt by itself: the kernel lets one in 10 us
HEAD_START_US = 30  # in which who is to sleep falls asleep

# ---- counting events ----

THRESHOLD = 3


def counter_target(side: Side) -> Iterator[None]:
    for endpoint in (side.polled, side.interrupting):
        side.allocate(endpoint=endpoint)
        side.append(_counted(counter=1), endpoint=endpoint)
    asked, told = side.counter(1), side.counter(1, side.interrupting)
    side.ready()
    yield
    side.checks.equal("threshold, polled", asked.wait(THRESHOLD, due_ps=side.due_ps()), Count(success=3, failure=0))
    yield
    before, due_ps = side.charged(WAKE_UPS), side.due_ps()
    count = told.wait(THRESHOLD, due_ps=due_ps)
    side.checks.equal("threshold, asleep", (count.success >= THRESHOLD, count.failure), (True, 0))
    side.checks.equal("woken before patience was over", side.process.now_ps < due_ps, True)
    side.checks.equal("woken by an interrupt", side.charged(WAKE_UPS) > before, True)


def counter_initiator(side: Side) -> Iterator[None]:
    counter = side.counter(0)
    counter.set(success=10, failure=1)
    counter.increment(success=5)
    side.counted("set and incremented", counter, success=15, failure=1)
    counter.set()
    yield
    for _ in range(THRESHOLD):
        side.put(side.to(), ack_request=AckRequest.COUNTING, counting=Counting(counter=0, ack=True))
    count = counter.wait(THRESHOLD, due_ps=side.due_ps())
    side.checks.equal("acknowledgements", count, Count(success=THRESHOLD, failure=0))
    side.put(side.to(bits=1), ack_request=AckRequest.COUNTING, counting=Counting(counter=0, ack=True))
    side.counted("an acknowledgement of failure", counter, success=THRESHOLD, failure=1)
    yield
    side.pause(HEAD_START_US)
    for _ in range(THRESHOLD):
        side.put(side.to(interrupting=True), ack_request=AckRequest.NONE)


def _counted(counter: int) -> MatchEntry:
    return MatchEntry(op_put=True, counter=counter, ct_comm=True, event_comm_disable=True, event_link_disable=True)


# ---- interrupts ----


def interrupt_target(side: Side) -> Iterator[None]:
    for endpoint, each in ((side.polled, 0), (side.interrupting, 1)):
        _listen(side, endpoint)
        before = side.charged(INTERRUPTS)
        yield
        yield  # the initiator has sent all
        what = "interrupts of a context that has them" if each else "interrupts of a context without"
        side.checks.equal(what, side.charged(INTERRUPTS) - before, each * MESSAGES)
        for number in range(MESSAGES):
            _heard(side, endpoint, number)
    before, due_ps = side.charged(WAKE_UPS), side.due_ps()
    yield
    _heard(side, side.interrupting, MESSAGES)
    side.checks.equal("woken before patience was over", side.process.now_ps < due_ps, True)
    side.checks.equal("woken by an interrupt", side.charged(WAKE_UPS) > before, True)


def interrupt_initiator(side: Side) -> Iterator[None]:
    for interrupting in (False, True):
        yield
        _send(side, MESSAGES, apart_us=APART_US, interrupting=interrupting)
        yield
    yield
    side.pause(HEAD_START_US)
    _send(side, 1, first=MESSAGES)


# ---- moderation ----

COUNT = 4
DURATION_US = 40
EARLY_US, LATE_US = 20, 80  # after the first message: before and after the interrupt


def moderation_target(side: Side) -> Iterator[None]:
    queue, calls = side.interrupting, side.process.calls
    _listen(side, queue)
    calls.moderate(queue.handle, count=COUNT, duration_us=0)
    before = side.charged(INTERRUPTS)
    yield
    yield  # the initiator has sent all
    side.checks.equal("interrupts by count", side.charged(INTERRUPTS) - before, MESSAGES // COUNT)
    for number in range(MESSAGES):
        _heard(side, queue, number)

    calls.moderate(queue.handle, count=1000, duration_us=DURATION_US)
    before = side.charged(INTERRUPTS)
    yield
    _seen(side, queue)
    start_ps = side.process.now_ps
    for after_us, interrupts in ((EARLY_US, 0), (LATE_US, 1)):
        side.pause(after_us - (side.process.now_ps - start_ps) // PS_PER_US)
        what = f"interrupts {after_us} us after the first of several messages"
        side.checks.equal(what, side.charged(INTERRUPTS) - before, interrupts)
    for number in range(1, MESSAGES):
        _heard(side, queue, number)
    calls.moderate(queue.handle, count=0, duration_us=0)


def moderation_initiator(side: Side) -> Iterator[None]:
    yield
    _send(side, MESSAGES, apart_us=APART_US)
    yield
    yield
    _send(side, MESSAGES)


def _seen(side: Side, queue: Endpoint) -> None:
    """Looks again and again for the first message, so that it is seen when it comes."""
    due_ps = side.due_ps()
    while (event := queue.poll()) is None and side.process.now_ps < due_ps:
        pass
    side.checks.equal("the first message", event.header_data if event else None, 0)


# ---- messages that are only told of ----


def _listen(side: Side, endpoint: Endpoint) -> None:
    side.allocate(endpoint=endpoint)
    entry = MatchEntry(ignore_bits=ALL_BITS, op_put=True, event_link_disable=True)
    side.append(entry, endpoint=endpoint)
    side.ready()


def _heard(side: Side, endpoint: Endpoint, number: int) -> None:
    (entry,) = side.tables[endpoint].in_use
    side.message(
        f"PUT number {number}", EventKind.PUT, endpoint=endpoint, entry=entry, header_data=number, start_window=0
    )


def _send(side: Side, count: int, *, first: int = 0, apart_us: int = 0, interrupting: bool = True) -> None:
    for number in range(first, first + count):
        side.put(side.to(interrupting=interrupting), header_data=number, ack_request=AckRequest.NONE)
        side.pause(apart_us)


STEPS = (
    Step(name="counting events", target=counter_target, initiator=counter_initiator),
    Step(name="interrupts", target=interrupt_target, initiator=interrupt_initiator),
    Step(name="moderation", target=moderation_target, initiator=moderation_initiator),
)
