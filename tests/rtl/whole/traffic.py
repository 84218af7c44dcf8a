"""Random commands whose outcome does not depend on what the hardware is free to do.

A context's memory and portal table are divided by who may touch them while traffic runs, so that no message reads
what another one writes:

window 0   what puts send and gets fetch; nobody writes it
window 1   from PUTS on: where puts arrive; from REPLIES on: where replies arrive; from ATOMICS on: atomics alone
window 2   rights that change from time to time, never such that two parts of the NIC may write it or one may read what
           another writes
portal table: see `Role`. What an entry of one role holds lies in that role's memory.
"""

import enum
import random
from collections.abc import Sequence

from rtl.nic.parameters import NicParameters
from rtl.portals import (
    COMMAND,
    COUNTER_COMMAND,
    DATA_OPERATIONS,
    LIST_COMMAND,
    MAX_ATOMIC_BYTES,
    MAX_MESSAGE_BYTES,
    AckRequest,
    AtomicOperation,
    AtomicType,
    List,
    Operation,
)
from rtl.records import Record
from tests.golden.context import Right
from tests.golden.wire import CONDITIONAL
from tests.rtl.whole.board import FIRST_PID, WINDOW_BYTES, Who

SOURCE_WINDOW, SHARED_WINDOW, CHANGING_WINDOW = 0, 1, 2
PUTS, REPLIES, ATOMICS = range(0, 0x8000), range(0x8000, 0xD000), range(0xD000, WINDOW_BYTES)
COMMANDS_COUNTER = 3  # only COUNTER_ commands change it; all others add to the lower ones, in any order
CHANGING_RIGHTS = (
    Right(0),
    Right.LOCAL_READ,
    Right.REMOTE_READ,
    Right.LOCAL_READ | Right.REMOTE_READ,
    Right.LOCAL_WRITE,
    Right.REMOTE_WRITE,
)
ALL_BITS = (1 << 64) - 1


class Role(enum.Enum):
    """What entries of the portal table are for, and which; the second of each pair has flow control."""

    PUTS = (0, 1)
    GETS = (2, 3)
    ATOMICS = (4, 5)
    RACES = (6,)  # puts that race with the entries that they are for, with their unlinking, and with searches
    NOTHING = (7, 8, 255)  # never allocated, or not there at all

    @staticmethod
    def of(pt_index: int) -> "Role":
        return next(role for role in Role if pt_index in role.value)


class Traffic:
    """Makes commands out of a random generator."""

    def __init__(self, parameters: NicParameters, chooser: random.Random) -> None:
        self._parameters = parameters
        self._chooser = chooser
        self._scale = max(1, parameters.mtu_bytes // 256)  # of match entries and what is asked of them
        self.most_bytes = max(600, 3 * parameters.mtu_bytes)

    def chance(self, one_in: int) -> bool:
        return self._chooser.randrange(one_in) == 0

    def length(self, *, long: bool = False) -> int:
        """All classes of size alike; if `long` those of several packets."""
        mtu, choose = self._parameters.mtu_bytes, self._chooser
        short = [0, choose.randrange(1, 8), choose.randrange(8, mtu), mtu]
        several = [choose.randrange(mtu + 1, 2 * mtu + 1), choose.randrange(2 * mtu + 1, self.most_bytes + 1)]
        return choose.choice(several if long else [*short, *several])

    def place(self, area: range, length: int) -> int:
        """Where so many bytes lie in an area; one in two is a multiple of 8."""
        at = self._chooser.randrange(area.start, area.stop - length + 1)
        return at & ~7 if self.chance(2) and at & ~7 >= area.start else at

    # ---- data movement ----

    def message(self, to: Who, pt_index: int, *, answered: bool = True, long: bool = False) -> list[int]:
        """A command that is in order. If not `answered` it is one to which no response comes; `long`: see `length`."""
        role = Role.of(pt_index)
        choose = self._chooser
        if not answered or role is Role.PUTS:
            operation = Operation.PUT
        elif role is Role.GETS:
            operation = Operation.GET
        elif role is Role.ATOMICS:
            operation = choose.choice([Operation.ATOMIC, Operation.FETCH_ATOMIC, Operation.SWAP])
        else:
            operation = choose.choice([Operation.PUT, Operation.GET, Operation.ATOMIC, Operation.SWAP])
        if answered and self.chance(12):  # what the entry does not allow
            operation = {Role.PUTS: Operation.GET, Role.GETS: Operation.PUT}.get(role, operation)
        return self._command(operation, to, pt_index, answered=answered, long=long)

    def _command(
        self, operation: Operation, to: Who, pt_index: int, *, answered: bool, long: bool = False, **fixed: int
    ) -> list[int]:
        choose = self._chooser
        fields: dict[str, int] = {
            "operation": operation,
            "pt_index": pt_index,
            "dst_nid": to[0],
            "dst_pid": FIRST_PID + to[1],
            "length_bytes": self.length(long=long),
            "match_bits": choose.randrange(4),
            "header_data": choose.getrandbits(64),
            "user_data": choose.getrandbits(64),
            "remote_offset": self._remote_offset(),
            "counter": choose.randrange(COMMANDS_COUNTER),
        }
        for flag in ("ct_send", "ct_ack", "ct_reply", "ct_bytes"):
            fields[flag] = choose.getrandbits(1)
        for flag in ("event_send_disable", "event_success_disable"):
            fields[flag] = int(self.chance(4))
        if operation in (Operation.PUT, Operation.ATOMIC) and answered:
            fields["ack_request"] = choose.choice(list(AckRequest))
        if operation in (Operation.ATOMIC, Operation.FETCH_ATOMIC, Operation.SWAP):
            fields |= self._atomic(operation)
        fields |= self._local(operation, fields)
        return COMMAND.pack(**(fields | fixed))

    def _remote_offset(self) -> int:
        if self.chance(20):
            return self._chooser.choice([1 << 63, ALL_BITS, 1 << 48, 2 * len(PUTS)])
        offset = self._chooser.randrange(0x200 * self._scale)
        return offset & ~7 if self.chance(2) else offset

    def _atomic(self, operation: Operation) -> dict[str, int]:
        swaps = operation == Operation.SWAP
        atomic = self._chooser.choice([a for a in AtomicOperation if (a >= AtomicOperation.SWAP) == swaps])
        datum = self._chooser.choice(list(AtomicType))
        size = datum.length_bytes
        length = size if atomic in CONDITIONAL else size * self._chooser.randrange(1, MAX_ATOMIC_BYTES // size + 1)
        offset = self._chooser.randrange(0x80) * (size if not self.chance(8) else 1)
        return {"atomic_operation": atomic, "atomic_type": datum, "length_bytes": length, "remote_offset": offset}

    def _local(self, operation: Operation, fields: dict[str, int]) -> dict[str, int]:
        """Memory at the initiator; one in eight in the window whose rights change."""
        length, changing = fields["length_bytes"], self.chance(8)
        window = CHANGING_WINDOW if changing else SHARED_WINDOW
        replies = range(WINDOW_BYTES) if changing else REPLIES
        if operation == Operation.GET:
            return {"local_window": window, "local_offset": self.place(replies, length)}
        window = CHANGING_WINDOW if changing else SOURCE_WINDOW
        local = {"local_window": window, "local_offset": self.place(range(WINDOW_BYTES - 8), length)}
        if operation in (Operation.PUT, Operation.ATOMIC):
            return local
        window = CHANGING_WINDOW if changing else SHARED_WINDOW
        return local | {"get_window": window, "get_offset": self.place(replies, length)}

    def race(self, to: Who, match_bits: int, length_bytes: int) -> list[int]:
        """A put to an entry that nobody else wants."""
        fixed = {"match_bits": match_bits, "length_bytes": length_bytes, "remote_offset": 0}
        fixed |= {"local_window": SOURCE_WINDOW, "local_offset": self.place(range(WINDOW_BYTES), length_bytes)}
        return self._command(Operation.PUT, to, Role.RACES.value[0], answered=True, **fixed)

    def refused(self, to: Who) -> list[int]:
        """A command that is refused, or nearly so."""
        operation = self._chooser.choice(DATA_OPERATIONS)
        role = {Operation.PUT: Role.PUTS, Operation.GET: Role.GETS}.get(operation, Role.ATOMICS)
        words = self._command(operation, to, role.value[0], answered=True)
        fields = COMMAND.unpack(words)
        fault = self._chooser.randrange(9)
        if fault == 0:
            fields["ack_request"] = 3
        elif fault == 1:
            fields["length_bytes"] = MAX_MESSAGE_BYTES + 1
        elif fault == 2:
            fields["dst_nid"] = self._parameters.nodes
        elif fault == 3:
            fields["atomic_type"] = 7
        elif fault == 4:
            fields |= {"counter": self._parameters.counters, "ct_send": 1}
        elif fault == 5:
            fields |= {"local_window": self._parameters.windows, "length_bytes": max(1, fields["length_bytes"])}
        elif fault == 6:
            fields |= {"local_offset": WINDOW_BYTES - 3, "length_bytes": max(8, fields["length_bytes"])}
        elif fault == 7:
            fields |= {"local_offset": (1 << 48) - 8, "length_bytes": max(8, fields["length_bytes"])}
        words = COMMAND.pack(**fields)
        return self.reserved(words, COMMAND) if fault == 8 else words

    def reserved(self, words: Sequence[int], record: Record) -> list[int]:
        """The command with a reserved bit set."""
        spoiled = list(words)
        free = [i for i in range(len(words)) if record.reserved_mask(i)]
        index = self._chooser.choice(free)
        mask = record.reserved_mask(index)
        spoiled[index] |= 1 << self._chooser.choice([bit for bit in range(64) if mask >> bit & 1])
        return spoiled

    def unknown(self) -> list[int]:
        known = set(Operation)
        operation = self._chooser.choice([number for number in range(256) if number not in known])
        return [operation, *COMMAND.pack(user_data=self._chooser.getrandbits(64))[1:]]

    # ---- counters ----

    def counter(self) -> list[int]:
        choose = self._chooser
        number = COMMANDS_COUNTER if not self.chance(6) else self._parameters.counters + choose.randrange(4)
        words = COUNTER_COMMAND.pack(
            operation=choose.choice([Operation.COUNTER_SET, Operation.COUNTER_INCREMENT]),
            counter=number,
            success=choose.getrandbits(64),
            failure=choose.getrandbits(64),
            user_data=choose.getrandbits(64),
        )
        return self.reserved(words, COUNTER_COMMAND) if self.chance(8) else words

    # ---- lists ----

    def portal(self, operation: Operation, pt_index: int) -> list[int]:
        flow_control = int(pt_index in (role.value[1] for role in (Role.PUTS, Role.GETS, Role.ATOMICS)))
        words = LIST_COMMAND.pack(
            operation=operation,
            pt_index=pt_index,
            flow_control=flow_control if operation == Operation.PT_ALLOC else 0,
            user_data=self._chooser.getrandbits(64),
        )
        return self.reserved(words, LIST_COMMAND) if self.chance(20) else words

    def portal_in_order(self, pt_index: int) -> list[int]:
        return LIST_COMMAND.pack(operation=Operation.PT_ALLOC, pt_index=pt_index)

    def append(self, pt_index: int, entry: int) -> list[int]:
        words = LIST_COMMAND.pack(**self._entry(pt_index, entry))
        return self.reserved(words, LIST_COMMAND) if self.chance(20) else words

    def racing_entry(self, entry: int, match_bits: int, *, use_once: bool) -> list[int]:
        """An entry for one message, which tells how its race with that message has ended."""
        fields = self._entry(Role.RACES.value[0], entry)
        fields |= dict.fromkeys(("ignore_bits", "event_comm_disable", "event_success_disable"), 0)
        fields |= dict.fromkeys(("event_over_disable", "no_truncate", "list", "manage_local"), 0)
        fields |= {"window": SHARED_WINDOW, "offset": self.place(PUTS, self.most_bytes)}
        fields |= {"length_bytes": self.most_bytes}
        fields |= {"match_bits": match_bits, "any_nid": 1, "any_pid": 1, "use_once": use_once}
        return LIST_COMMAND.pack(**fields)

    def racing_unlink(self, entry: int, match_bits: int) -> list[int]:
        """Of a racing entry; if it is refused the event says so."""
        return LIST_COMMAND.pack(operation=Operation.ME_UNLINK, entry=entry, user_data=match_bits)

    def racing_search(self, match_bits: int) -> list[int]:
        """For one message that the catching entry has taken or not, which it tells."""
        return LIST_COMMAND.pack(
            operation=Operation.ME_SEARCH,
            pt_index=Role.RACES.value[0],
            match_bits=match_bits,
            any_nid=1,
            any_pid=1,
            use_once=1,
            search_delete=self._chooser.getrandbits(1),
            no_truncate=self._chooser.getrandbits(1),
            length_bytes=self.most_bytes,
            user_data=match_bits,
        )

    def clearing_search(self) -> list[int]:
        """Takes out what was left of earlier races."""
        return LIST_COMMAND.pack(
            operation=Operation.ME_SEARCH,
            pt_index=Role.RACES.value[0],
            ignore_bits=ALL_BITS,
            any_nid=1,
            any_pid=1,
            search_delete=1,
            event_comm_disable=self._chooser.getrandbits(1),
            event_over_disable=self._chooser.getrandbits(1),
            ct_overflow=self._chooser.getrandbits(1),
            counter=self._chooser.randrange(COMMANDS_COUNTER),
        )

    def catching_entry(self, entry: int) -> list[int]:
        """An overflow entry for all messages that come before their own entries."""
        fields = self._entry(Role.RACES.value[0], entry)
        fields |= dict.fromkeys(("no_truncate", "use_once", "unexpected_header_disable", "min_free"), 0)
        length = min(0x1000 * self._scale, len(PUTS))
        fields |= {"list": List.OVERFLOW, "window": SHARED_WINDOW, "offset": self.place(PUTS, length)}
        fields |= {"length_bytes": length, "manage_local": 1, "ignore_bits": ALL_BITS, "any_nid": 1, "any_pid": 1}
        fields |= {"event_comm_disable": 0, "event_success_disable": 0}
        return LIST_COMMAND.pack(**fields)

    def _entry(self, pt_index: int, entry: int) -> dict[str, int]:
        choose, role = self._chooser, Role.of(pt_index)
        which = List.OVERFLOW if self.chance(3) else List.PRIORITY
        fields: dict[str, int] = {
            "operation": Operation.ME_APPEND,
            "pt_index": pt_index,
            "entry": entry,
            "list": which,
            "match_bits": choose.randrange(4),
            "ignore_bits": choose.choice([0, 1, 3, ALL_BITS]),
            "match_nid": choose.randrange(self._parameters.nodes),
            "match_pid": FIRST_PID + choose.randrange(self._parameters.contexts),
            "any_nid": int(not self.chance(4)),
            "any_pid": int(not self.chance(4)),
            "user_data": choose.getrandbits(64),
            "counter": choose.randrange(COMMANDS_COUNTER),
            "op_put": int(role is not Role.GETS),
            "op_get": int(role in (Role.GETS, Role.ATOMICS) and not self.chance(12)),
        }
        for flag in ("ct_comm", "ct_overflow", "ct_bytes", "manage_local"):
            fields[flag] = choose.getrandbits(1)
        for flag in (
            *("ack_disable", "no_truncate", "use_once", "unexpected_header_disable", "event_link_disable"),
            *("event_comm_disable", "event_flow_control_disable", "event_success_disable", "event_over_disable"),
            "event_unlink_disable",
        ):
            fields[flag] = int(self.chance(5))
        if self.chance(2):  # it takes nearly everything
            fields |= {"ignore_bits": ALL_BITS, "any_nid": 1, "any_pid": 1, "use_once": 0, "no_truncate": 0}
            fields["op_get"] = int(role is not Role.PUTS)
        return fields | self._entry_memory(role)

    def _entry_memory(self, role: Role) -> dict[str, int]:
        """Areas by role; one in six in the window whose rights change, or in none."""
        window, area = {
            Role.PUTS: (SHARED_WINDOW, PUTS),
            Role.RACES: (SHARED_WINDOW, PUTS),
            Role.GETS: (SOURCE_WINDOW, range(WINDOW_BYTES)),
        }.get(role, (SHARED_WINDOW, ATOMICS))
        scale = self._scale
        length = self._chooser.choice([0, 8, 64, 0x200 * scale, 0x400 * scale, 0x600 * scale, 0x600 * scale])
        length = min(length, len(area))
        memory = {"window": window, "length_bytes": length, "offset": self.place(area, length)}
        if role is Role.ATOMICS and not self.chance(8):
            memory["offset"] &= ~7
        if self.chance(6):
            memory |= {"window": CHANGING_WINDOW, "offset": self._chooser.randrange(WINDOW_BYTES)}
            if self.chance(5):
                memory["window"] = self._parameters.windows + self._chooser.randrange(3)
        return memory | {"min_free": self._chooser.choice([0, 0, 0, 1, 64, length])}

    def unlink(self, entry: int) -> list[int]:
        words = LIST_COMMAND.pack(operation=Operation.ME_UNLINK, entry=entry, user_data=self._chooser.getrandbits(64))
        return self.reserved(words, LIST_COMMAND) if self.chance(20) else words

    def search(self, pt_index: int) -> list[int]:
        choose = self._chooser
        words = LIST_COMMAND.pack(
            operation=Operation.ME_SEARCH,
            pt_index=pt_index,
            match_bits=choose.randrange(4),
            ignore_bits=choose.choice([0, 1, ALL_BITS]),
            any_nid=int(not self.chance(4)),
            match_nid=choose.randrange(self._parameters.nodes),
            any_pid=choose.getrandbits(1),
            match_pid=FIRST_PID + choose.randrange(self._parameters.contexts),
            use_once=choose.getrandbits(1),
            search_delete=choose.getrandbits(1),
            no_truncate=int(self.chance(4)),
            manage_local=int(self.chance(4)),
            length_bytes=choose.choice([0, self._parameters.mtu_bytes, self.most_bytes]),
            event_comm_disable=int(self.chance(4)),
            event_over_disable=int(self.chance(4)),
            ct_overflow=choose.getrandbits(1),
            ct_bytes=choose.getrandbits(1),
            counter=choose.randrange(COMMANDS_COUNTER) if not self.chance(16) else self._parameters.counters,
            user_data=choose.getrandbits(64),
        )
        return self.reserved(words, LIST_COMMAND) if self.chance(20) else words
