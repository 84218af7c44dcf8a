"""Events as a process reads them from its queue."""

from collections.abc import Sequence
from dataclasses import dataclass

from rtl.portals import EVENT, EventKind, Fail, Refusal

# A match entry's events carry in their user data which entry it was, above the application's own.
ENTRY_DATA_BITS = 48


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """An event; what it does not tell is 0, by its kind. Ref: Portals 4, section 3.13.

    `src_nid`, `src_pid` and `jid` are the initiator (of a REPLY or ACK: who answered), and the hardware's word.
    `requested_bytes` of a message lie or were wanted, `manipulated_bytes` were touched, from `start_offset` of
    `start_window` on. `match_bits`, `header_data`, `remote_offset`, `atomic_*` are the initiator's. `fail` is a `Fail`,
    of REFUSED a `Refusal`. `user_data` is that of the match entry or of the own command.
    """

    kind: int
    pt_index: int
    start_offset: int
    src_nid: int
    src_pid: int
    jid: int
    requested_bytes: int
    manipulated_bytes: int
    remote_offset: int
    match_bits: int
    header_data: int
    user_data: int
    sequence: int
    start_window: int
    fail: int
    list: int
    atomic_operation: int
    atomic_type: int

    @classmethod
    def unpack(cls, words: Sequence[int]) -> "Event":
        """The event that stands in memory."""
        return cls(**EVENT.unpack(words))

    @property
    def entry(self) -> int | None:
        """The match entry of `PortalTable.append` that the event is of; None if it is of none."""
        number = (self.user_data >> ENTRY_DATA_BITS) - 1
        return None if number < 0 else number

    @property
    def entry_data(self) -> int:
        """The `user_data` that `PortalTable.append` was given."""
        return self.user_data & (1 << ENTRY_DATA_BITS) - 1

    @property
    def failure(self) -> str | None:
        """`fail` in words, None if all went well."""
        if self.fail == Fail.OK:
            return None
        meaning = Refusal if self.kind == EventKind.REFUSED else Fail
        return meaning(self.fail).name
