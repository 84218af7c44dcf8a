"""HPCC RandomAccess over the ranks of a job: every update of a word that another rank owns travels as one message.

Each rank owns a contiguous part of the table and a share of the update stream. Its own process sends; what arrives is
applied by its receiver (`sw.apps.random_access_receiver`), in a second process or in an extension.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Le

from rtl.portals import EventKind
from sw.apps import hpcc
from sw.apps.application import Application, Job, NodeShape, check_slots, log2_of
from sw.apps.random_access_receiver import (
    EXTENSION,
    MAILBOX_BYTES,
    READY,
    UNEXPECTED,
    ReceiverPlan,
    receive,
    updater_state,
)
from sw.extensions.random_access import MATCH, WORD_BYTES, Message
from sw.kernel.contexts import MAX_LOG2, MAX_MODERATION_COUNT, MAX_SLOTS, ContextRequest
from sw.kernel.process import Process
from sw.portals.endpoint import Endpoint, EndpointError
from sw.portals.events import Event
from sw.portals.operations import Target, put
from sw.portals.portal_table import take_messages

# That the commands of a context keep in its event queue: one each for those whose packets have not all left yet.
COMMAND_PLACES = 20
# What may be underway to a sender from each other rank: 3 acknowledgements, and messages of 2 barriers.
SENDER_UNDERWAY = 5
CONTEXTS_PER_RANK = 2
REPORTED = {
    "context_switches": "kernel.context_switches",
    "interrupts": "kernel.interrupts",
    "extension_calls": "extension.calls",
    "extension_instructions": "extension.instructions",
}


@dataclass(frozen=True, kw_only=True)
class RandomAccessParameters:
    """What a scenario can set."""

    log2_table_words: Annotated[int, Ge(4), Le(24)] = 10
    """Base-2 logarithm of the number of 64-bit words of the whole table."""

    handler: Literal["process", "extension"] = "extension"
    """Who applies updates that arrive: a second process of each rank, or an extension in the kernel."""

    window: Annotated[int, Ge(2), Le(4096)] = 64
    """Updates that a rank sends to another before one is acknowledged; even."""

    update_cycles: Annotated[int, Ge(0), Le(1_000_000)] = 20
    """Core cycles to make an update: the next random value, its owner, its index."""

    command_slots: Annotated[int, Ge(1), Le(MAX_SLOTS)] = 64
    """Commands that fit into the ring from which a rank sends; a power of two."""

    event_slots: Annotated[int, Ge(0), Le(MAX_SLOTS)] = 0
    """Events that fit into each queue of a rank, a power of two; 0: as many as the window needs."""

    moderation_count: Annotated[int, Ge(0), Le(MAX_MODERATION_COUNT)] = 0
    """Messages after which the receiver is interrupted; 0 and 1: each."""

    moderation_us: Annotated[int, Ge(0), Le(1_000_000)] = 0
    """Microseconds after a message in which the receiver is interrupted, however few there are; 0: no limit."""


@dataclass(frozen=True, kw_only=True)
class RankResult:
    """What a rank returns. Times bracket pass 1; `counts` are what the rank's node charged to the job during pass 1;
    `table` is its part after pass 1, `wrong` the number of wrong words after pass 2."""

    nid: int
    start_ps: int
    end_ps: int
    counts: dict[str, int]
    messages: int
    unexpected: int
    table: npt.NDArray[np.uint64]
    wrong: int


class RandomAccess(Application):
    """The application `random_access`."""

    Parameters = RandomAccessParameters

    @staticmethod
    def main(process: Process, job: Job, parameters: RandomAccessParameters) -> RankResult:
        return _Rank(process, job, parameters).run()

    @staticmethod
    def report(parameters: RandomAccessParameters, results: Sequence[RankResult]) -> dict[str, Any]:
        """`updates` to `messages` are of pass 1 alone; counts are sums over nodes of what the kernels charged to the
        job. `errors`: wrong words after pass 2; `reference_mismatches`: words that differ from numpy's after pass 1."""
        updates = hpcc.UPDATES_PER_WORD << parameters.log2_table_words
        elapsed_ps = max(result.end_ps for result in results) - min(result.start_ps for result in results)
        table = np.concatenate([result.table for result in results])
        of_nodes = {result.nid: result.counts for result in reversed(results)}.values()
        section = {
            "updates": updates,
            "updates_per_s": updates * 1e12 / elapsed_ps,
            "ns_per_update": elapsed_ps / 1e3 / updates,
            "errors": sum(result.wrong for result in results),
            "reference_mismatches": int(np.count_nonzero(table != hpcc.reference(parameters.log2_table_words))),
            **{key: sum(counts[name] for counts in of_nodes) for key, name in REPORTED.items()},
            "messages": sum(result.messages for result in results),
            "unexpected_messages": sum(result.unexpected for result in results),
        }
        return {"random_access": {parameters.handler: section}}

    @staticmethod
    def check(parameters: RandomAccessParameters, placement: Sequence[tuple[int, int]], node: NodeShape) -> None:
        ranks = len(placement)
        if ranks & (ranks - 1):
            raise ValueError(f"placement: {ranks} ranks; RandomAccess needs a power of two; add or remove some")
        if ranks > 1 << parameters.log2_table_words:
            raise ValueError(f"log2_table_words: {parameters.log2_table_words} is less than a word per rank; raise it")
        if parameters.window % 2:
            raise ValueError(
                f"window: {parameters.window} is odd; acknowledgements come every half of it; make it even"
            )
        _check_queues(parameters, ranks - 1)
        _check_node(parameters, [nid for nid, _ in placement], node)


def _check_queues(parameters: RandomAccessParameters, others: int) -> None:
    check_slots("command_slots", parameters.command_slots)
    check_slots("event_slots", parameters.event_slots)
    needed_log2 = max(_events_log2(parameters.window * others), _events_log2(SENDER_UNDERWAY * others))
    if needed_log2 > MAX_LOG2:
        limit = (MAX_SLOTS // 2 - COMMAND_PLACES) // others // 2 * 2
        raise ValueError(
            f"window: {parameters.window} is more than {limit}, which {others + 1} ranks can have; lower it"
        )
    if 0 < parameters.event_slots < 1 << needed_log2:
        raise ValueError(
            f"event_slots: {parameters.event_slots} is less than {1 << needed_log2}, which {others + 1} ranks with a "
            f"window of {parameters.window} need; raise it or lower the window"
        )
    if parameters.moderation_count > 1 and not parameters.moderation_us:
        raise ValueError(
            f"moderation_us: 0 with a moderation_count of {parameters.moderation_count}; the last messages would "
            "interrupt nobody; give a time"
        )


def _check_node(parameters: RandomAccessParameters, nids: Sequence[int], node: NodeShape) -> None:
    together = max(nids.count(nid) for nid in nids)
    if len(nids) > 1 and together * CONTEXTS_PER_RANK > node.nic.contexts:
        raise ValueError(
            f"placement: {together} ranks on a node need {together * CONTEXTS_PER_RANK} NIC contexts; "
            f"machine.node.nic.contexts is {node.nic.contexts}; raise it or spread the ranks"
        )
    bytes_needed = together * (WORD_BYTES << parameters.log2_table_words) // len(nids)
    if bytes_needed > node.memory_mib << 19:  # half of the memory: the rest is for kernel, rings and other jobs
        raise ValueError(
            f"log2_table_words: {parameters.log2_table_words} takes {bytes_needed} bytes of a node; "
            f"machine.node.memory_mib is {node.memory_mib}, half of it for tables; lower it or give the nodes more"
        )


def _events_log2(underway: int) -> int:
    """Size of an event queue that always has room with so many messages underway: twice as many (see Endpoint), and
    places that the NIC keeps for own commands."""
    return (2 * (underway + COMMAND_PLACES) - 1).bit_length()


class _Rank:
    """One rank: its part of the table and its sending process."""

    def __init__(self, process: Process, job: Job, parameters: RandomAccessParameters) -> None:
        self._process = process
        self._job = job
        self._parameters = parameters
        self._words = (1 << parameters.log2_table_words) // job.ranks
        self._first = job.rank * self._words
        self._table_va = process.calls.allocate(self._words * WORD_BYTES)
        self._table = process.view(self._table_va, self._words * WORD_BYTES)
        self._mailbox_va = process.calls.allocate(MAILBOX_BYTES)
        self._mailbox = process.view(self._mailbox_va, MAILBOX_BYTES)
        self._sent = [0] * job.ranks
        self._acked = [0] * job.ranks
        self._barriers: set[int] = set()
        self._barrier = 0
        self._messages = 0
        self._unexpected = 0
        self._table[:] = np.arange(self._first, self._first + self._words, dtype=np.uint64)
        self._connect()

    def _connect(self) -> None:
        """Open the sending context, start the receiver, exchange addresses with all ranks."""
        process, job = self._process, self._job
        others = job.ranks - 1
        request = ContextRequest(
            commands_log2=log2_of(self._parameters.command_slots), events_log2=self._queue_log2(SENDER_UNDERWAY)
        )
        self._endpoint = Endpoint.open(process, request)
        take_messages(self._endpoint)
        receiver_pid = self._start_receiver() if others else 0
        handle = self._endpoint.handle
        addresses = process.calls.fence((handle.nid, handle.pid, receiver_pid))
        self._mains = [(nid, pid) for nid, pid, _ in addresses]
        self._receivers = [(nid, pid) for nid, _, pid in addresses]
        self._rank_of_receiver = {address: rank for rank, address in enumerate(self._receivers)}

    def _queue_log2(self, underway: int) -> int:
        """Size of an event queue with so many messages underway to it from each other rank."""
        slots = self._parameters.event_slots
        return log2_of(slots) if slots else _events_log2(underway * (self._job.ranks - 1))

    def _start_receiver(self) -> int:
        """Start the process that receives; its context's PID."""
        others = self._job.ranks - 1
        plan = ReceiverPlan(
            rank=self._job.rank,
            slot=self._process.slot,
            table_va=self._table_va,
            table_words=self._words,
            mailbox_va=self._mailbox_va,
            in_kernel=self._parameters.handler == "extension",
            events_log2=self._queue_log2(self._parameters.window),
            moderation_count=self._parameters.moderation_count,
            moderation_us=self._parameters.moderation_us,
            commands_log2=(4 * others).bit_length(),  # at most 3 acknowledgements to each other rank are underway
        )
        self._process.calls.spawn("receiver", partial(receive, plan))
        while not self._mailbox[READY]:
            self._process.calls.yield_core()
        return int(self._mailbox[READY])

    # ---- the benchmark ----

    def run(self) -> RankResult:
        calls = self._process.calls
        self._synchronise()
        before = calls.counters()
        self._synchronise()
        start_ps = self._process.now_ps
        messages = self._messages
        self._apply_all()
        self._synchronise()
        end_ps = self._process.now_ps
        messages = self._messages - messages
        after = calls.counters()
        table = self._table.copy()
        self._synchronise()  # nobody begins pass 2 before everybody has looked
        self._apply_all()
        self._synchronise()
        expected = np.arange(self._first, self._first + self._words, dtype=np.uint64)
        return RankResult(
            nid=self._endpoint.handle.nid,
            start_ps=start_ps,
            end_ps=end_ps,
            counts={name: after[name] - before[name] for name in after},
            messages=messages,
            unexpected=self._count_unexpected(),
            table=table,
            wrong=int(np.count_nonzero(self._table != expected)),
        )

    def _apply_all(self) -> None:
        """This rank's share of the stream; returns when all of it has been applied, wherever it belongs."""
        process, parameters = self._process, self._parameters
        share = (hpcc.UPDATES_PER_WORD << parameters.log2_table_words) // self._job.ranks
        owner_shift = self._words.bit_length() - 1
        mask = (1 << parameters.log2_table_words) - 1
        local_mask = self._words - 1
        table = self._table.data
        latest: dict[int, int] = {}  # held back for each owner: the last one asks for an acknowledgement
        for value in hpcc.stream(self._job.rank * share, share):
            process.compute(parameters.update_cycles)
            owner = (value & mask) >> owner_shift
            if owner == self._job.rank:
                process.compute(process.costs.memory_update)
                table[value & local_mask] ^= value
                continue
            if owner in latest:
                self._send(owner, latest[owner], last=False)
            latest[owner] = value
        for owner in sorted(latest):
            self._send(owner, latest[owner], last=True)
        while self._acked != self._sent:
            self._progress()

    def _send(self, owner: int, value: int, *, last: bool) -> None:
        """Send an update; waits while a window of them is not acknowledged. Sequence numbers are modulo 2**32."""
        window = self._parameters.window
        while self._sent[owner] - self._acked[owner] >= window:
            self._progress()
        self._sent[owner] += 1
        sequence = self._sent[owner]
        asks = last or sequence % (window // 2) == 0
        nid, pid = self._receivers[owner]
        self._put(nid, pid, MATCH.pack(kind=Message.UPDATE, rank=self._job.rank, sequence=sequence, ack=asks)[0], value)

    def _put(self, nid: int, pid: int, match_bits: int, header_data: int) -> None:
        target = Target(nid=nid, pid=pid, match_bits=match_bits)
        put(self._endpoint, target, header_data=header_data, event_send_disable=True)
        self._messages += 1

    def _synchronise(self) -> None:
        """Barrier of all ranks by messages. Ref: dissemination barrier, Hensgen, Finkel & Manber (1988)."""
        self._barrier += 1
        distance, round_number = 1, 0
        while distance < self._job.ranks:
            word = self._barrier << 8 | round_number
            nid, pid = self._mains[(self._job.rank + distance) % self._job.ranks]
            self._put(nid, pid, MATCH.pack(kind=Message.BARRIER, rank=self._job.rank)[0], word)
            while word not in self._barriers:
                self._progress()
            self._barriers.remove(word)
            distance, round_number = 2 * distance, round_number + 1

    def _progress(self) -> None:
        """Take one event from the queue, if there is one."""
        event = self._endpoint.poll()
        if event is None:
            return
        if event.kind in (EventKind.SEND, EventKind.REFUSED):  # those of success are switched off
            raise EndpointError(f"a message of rank {self._job.rank} could not be sent: {event.failure}")
        kind = MATCH.unpack([event.match_bits])["kind"]
        if kind == Message.ACK and (event.src_nid, event.src_pid) in self._rank_of_receiver:
            self._acknowledged(event)
        elif kind == Message.BARRIER and (event.src_nid, event.src_pid) in self._mains:
            self._barriers.add(event.header_data)
        else:
            self._unexpected += 1

    def _count_unexpected(self) -> int:
        """Messages that this rank and its receiver can make nothing of: nobody but the ranks should reach them."""
        extension = int(self._mailbox[EXTENSION])
        in_kernel = updater_state(self._process, extension)["unexpected"] if extension else 0
        return self._unexpected + int(self._mailbox[UNEXPECTED]) + in_kernel

    def _acknowledged(self, event: Event) -> None:
        rank = self._rank_of_receiver[event.src_nid, event.src_pid]
        self._acked[rank] = max(self._acked[rank], event.header_data)
        self._messages += 1
