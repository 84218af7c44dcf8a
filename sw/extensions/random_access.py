"""RandomAccess's extension and the messages that both of its handlers understand."""

import enum
from dataclasses import dataclass
from pathlib import Path

from nimble.access import READ_WRITE, Right
from nimble.extension import Attachment, Manifest, Trust, WindowWish
from nimble.program import Program
from nimble.python import Device, compile_program
from rtl.portals import COMMAND, EVENT, EventKind, Operation
from rtl.records import Record
from sw.kernel.contexts import ENTRY_BYTES, ContextHandle
from sw.kernel.extensions import Grant
from sw.portals.endpoint import COMMAND_TAIL, EVENT_HEAD

SOURCE = Path(__file__).with_name("random_access_updater.py")
WORD_BYTES = 8
# The longest way through the loop, with room to spare; a call handles at most one queue full.
BUDGET_PER_EVENT = 96
BUDGET_PER_CALL = 64


class Message(enum.IntEnum):
    """What a message of RandomAccess is; stands in its match bits."""

    UPDATE = 1  # header_data: the value
    ACK = 2  # header_data: number of the last update that was applied
    BARRIER = 3  # header_data: number and round of the barrier


# `sequence` numbers the updates from one rank to another; `ack` asks for an acknowledgement.
MATCH = Record("match", [{"sequence": (0, 32), "rank": (32, 16), "kind": (48, 8), "ack": (63, 1)}])

# The extension's memory. `handled` counts events since the context was opened, `sent` the extension's own commands.
UPDATER = Record(
    "updater",
    [{name: (0, 64)} for name in ("handled", "sent", "applying", "before", "unexpected")],
)


@dataclass(frozen=True, kw_only=True)
class Updater:
    """What the extension works on. `table_va`: address of the rank's `table_words` words in the inserting process;
    `commands_before`: how many commands the process wrote into the ring, which is zeros again, before the extension
    writes there."""

    rank: int
    table_va: int
    table_words: int
    handle: ContextHandle
    commands_before: int

    @property
    def queue_entries(self) -> int:
        return 1 << self.handle.events_log2

    def program(self) -> Program:
        """The extension's program, for this place. PythonError."""
        handle = self.handle
        constants = {
            **EVENT.symbols(),
            **COMMAND.symbols(),
            **MATCH.symbols(),
            **UPDATER.symbols(),
            "EVENT_KIND_PUT": EventKind.PUT,
            "OPERATION_PUT": Operation.PUT,
            "COMMANDS_BEFORE": self.commands_before,
            "MESSAGE_UPDATE": Message.UPDATE,
            "ACKNOWLEDGEMENT": MATCH.pack(kind=Message.ACK, rank=self.rank)[0],
            "TABLE_BASE": self.table_va,
            "TABLE_WORDS": self.table_words,
            "QUEUE_BASE": handle.events_va,
            "QUEUE_ENTRIES": self.queue_entries,
            "RING_BASE": handle.commands_va,
            "RING_ENTRIES": 1 << handle.commands_log2,
        }
        page = Device(handle.page_va, {"PAGE.COMMAND_TAIL": COMMAND_TAIL, "PAGE.EVENT_HEAD": EVENT_HEAD})
        text = SOURCE.read_text(encoding="utf-8")
        return compile_program(SOURCE.name, {}, text=text, constants=constants, devices={"page": page})

    def manifest(self) -> Manifest:
        """Untrusted, attached to the context's event."""
        return Manifest(
            name="random_access",
            trust=Trust.UNTRUSTED,
            attach=(Attachment(self.handle.event, "message"),),
            budget=BUDGET_PER_CALL + BUDGET_PER_EVENT * self.queue_entries,
            windows=tuple(WindowWish(grant.name, grant.rights) for grant in self.grants()),
        )

    def grants(self) -> tuple[Grant, ...]:
        """All that it needs and no more; of the device two registers."""
        handle = self.handle
        page = handle.page_va
        return (
            Grant(name="table", va=self.table_va, length_bytes=WORD_BYTES * self.table_words, rights=READ_WRITE),
            Grant(
                name="events", va=handle.events_va, length_bytes=ENTRY_BYTES << handle.events_log2, rights=Right.READ
            ),
            Grant(
                name="commands",
                va=handle.commands_va,
                length_bytes=ENTRY_BYTES << handle.commands_log2,
                rights=READ_WRITE,
            ),
            Grant(name="command_tail", va=page + COMMAND_TAIL, length_bytes=WORD_BYTES, rights=Right.WRITE),
            Grant(name="event_head", va=page + EVENT_HEAD, length_bytes=WORD_BYTES, rights=Right.WRITE),
        )
