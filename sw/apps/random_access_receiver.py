"""The receiver of a RandomAccess rank: a process of its own on the rank's core, with its own NIC context.

It applies updates itself, woken by an interrupt; or it inserts an extension that does so in the kernel, and sleeps. If
the extension is stopped, the kernel's default handler wakes the process, which finds out how far the extension came
and goes on in its place: no update is lost, none is applied twice.
"""

from dataclasses import dataclass

from rtl.portals import EventKind
from sw.extensions.random_access import MATCH, UPDATER, WORD_BYTES, Message, Updater
from sw.kernel.contexts import ContextRequest
from sw.kernel.memory import smartmap
from sw.kernel.process import Process
from sw.portals.endpoint import Endpoint
from sw.portals.events import Event
from sw.portals.operations import Target, put
from sw.portals.portal_table import take_messages

# The mailbox, in the memory of the rank's main process.
READY = 0  # word: PID of the receiving context, once it can receive
UNEXPECTED = 1  # word: messages that were no updates, as far as the process saw them
EXTENSION = 2  # word: number of the extension while it is at work, or 0
MAILBOX_BYTES = 3 * WORD_BYTES


@dataclass(frozen=True, kw_only=True)
class ReceiverPlan:
    """What the rank's main process tells its receiver. Addresses are the main process's, which is in SMARTMAP
    `slot`."""

    rank: int
    slot: int
    table_va: int
    table_words: int
    mailbox_va: int
    in_kernel: bool
    events_log2: int
    commands_log2: int
    moderation_count: int
    moderation_us: int


def receive(plan: ReceiverPlan, process: Process) -> None:
    """The receiver's main: for ever, it ends with the job."""
    request = ContextRequest(
        commands_log2=plan.commands_log2,
        events_log2=plan.events_log2,
        interrupt=True,
        moderation_count=plan.moderation_count,
        moderation_us=plan.moderation_us,
    )
    endpoint = Endpoint.open(process, request)
    take_messages(endpoint)
    mailbox = process.view(smartmap(plan.slot, plan.mailbox_va), MAILBOX_BYTES)
    table = process.view(smartmap(plan.slot, plan.table_va), plan.table_words * WORD_BYTES)
    receiver = _Receiver(process, plan, endpoint, table.data, mailbox.data)
    if plan.in_kernel:
        receiver.delegate()
    else:
        receiver.announce()
    while True:
        receiver.handle(receiver.endpoint.wait())


def updater_state(process: Process, extension: int) -> dict[str, int]:
    """What the extension has noted in its memory."""
    memory = process.calls.extension_state(extension).memory
    return UPDATER.unpack(
        [int.from_bytes(memory[at : at + WORD_BYTES], "little") for at in range(0, len(memory), WORD_BYTES)]
    )


class _Receiver:
    def __init__(
        self, process: Process, plan: ReceiverPlan, endpoint: Endpoint, table: memoryview, mailbox: memoryview
    ) -> None:  # fmt: skip
        self.endpoint = endpoint
        self._process = process
        self._plan = plan
        self._table = table
        self._mailbox = mailbox

    def announce(self) -> None:
        """Tell the main process that messages can come."""
        self._mailbox[READY] = self.endpoint.handle.pid

    def handle(self, event: Event) -> None:
        """Apply an update, and acknowledge it if it asks for that."""
        if not self._is_update(event):
            self._mailbox[UNEXPECTED] += 1
            return
        self._process.compute(self._process.costs.memory_update)
        self._table[self._index(event)] ^= event.header_data
        self._acknowledge(event)

    def _is_update(self, event: Event) -> bool:
        return event.kind == EventKind.PUT and MATCH.unpack([event.match_bits])["kind"] == Message.UPDATE

    def _index(self, event: Event) -> int:
        return event.header_data & self._plan.table_words - 1

    def _acknowledge(self, event: Event) -> None:
        match = MATCH.unpack([event.match_bits])
        if match["ack"]:
            answer = MATCH.pack(kind=Message.ACK, rank=self._plan.rank)[0]
            sender = Target(nid=event.src_nid, pid=event.src_pid, match_bits=answer)
            put(self.endpoint, sender, header_data=match["sequence"], event_send_disable=True)

    # ---- in the kernel ----

    def delegate(self) -> None:
        """Let an extension handle the events. Returns only if it was stopped, when its work has been taken over."""
        plan, calls = self._plan, self._process.calls
        handle = self.endpoint.handle
        updater = Updater(
            rank=plan.rank,
            table_va=smartmap(plan.slot, plan.table_va),
            table_words=plan.table_words,
            handle=handle,
            commands_before=self.endpoint.hand_over_ring(),
        )
        extension = calls.insert_extension(updater.program(), updater.manifest(), updater.grants())
        self._mailbox[EXTENSION] = extension
        self.announce()
        while calls.extension_state(extension).stopped is None:
            calls.wait_event(handle)
        self._take_over(extension)

    def _take_over(self, extension: int) -> None:
        """Go on exactly where the extension was stopped; random_access_updater.py says what its memory tells."""
        state = updater_state(self._process, extension)
        self._mailbox[EXTENSION] = 0
        self._process.calls.remove_extension(extension)
        self._mailbox[UNEXPECTED] += state["unexpected"]
        self.endpoint = Endpoint.resume(self._process, self.endpoint.handle, event_index=state["handled"])
        if state["applying"] != state["handled"] + 1:
            return
        event = self.endpoint.wait()
        if self._table[self._index(event)] == state["before"]:
            self.handle(event)
        else:
            self._acknowledge(event)
