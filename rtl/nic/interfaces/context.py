"""What every block sees of the contexts: what the kernel says about them, and where they stand."""

from typing import Any

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.interfaces.widths import ADDRESS_WIDTH, EPOCH_WIDTH, INDEX_WIDTH
from rtl.nic.parameters import NicParameters


class ContextRegisters(wiring.Signature):
    """What the kernel says about one context; see CONTEXT in nic.rdl. Changes at any time, register by register.

    The windows are arrays of ports, one per member of a window, because Amaranth's flipped interfaces cannot hold
    arrays of interfaces.
    """

    def __init__(self, windows: int) -> None:
        super().__init__(
            {
                "enable": Out(1),
                "interrupt": Out(1),
                "counter_interrupt": Out(1),
                "pid": Out(16),
                "jid": Out(32),
                "command_base": Out(ADDRESS_WIDTH),
                "command_log2": Out(4),
                "event_base": Out(ADDRESS_WIDTH),
                "event_log2": Out(4),
                "counter_base": Out(ADDRESS_WIDTH),
                "moderation_count": Out(16),
                "moderation_cycles": Out(32),
                "window_address": Out(ADDRESS_WIDTH).array(windows),
                "window_bytes": Out(ADDRESS_WIDTH).array(windows),
                "window_local_read": Out(1).array(windows),
                "window_local_write": Out(1).array(windows),
                "window_remote_read": Out(1).array(windows),
                "window_remote_write": Out(1).array(windows),
            }
        )


class ContextState(wiring.Signature):
    """Where one context stands. Indices are modulo 2**32.

    `active`: enabled, restarted if it was off before, and drained of its former life; nothing is done for it, no access
    to memory judged and no event taken, in a cycle in which it is not.
    `epoch` changes in the cycle in which `restarted` is high; all state kept for the context by any block belongs to
    one epoch. `command_head` <= `command_fetched` <= `command_tail` <= `command_head` + ring size, and
    `event_head` <= `event_tail` <= `event_head` + queue size, as long as the kernel leaves the sizes alone.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "active": Out(1),
                "restarted": Out(1),
                "epoch": Out(EPOCH_WIDTH),
                "command_tail": Out(INDEX_WIDTH),
                "command_fetched": Out(INDEX_WIDTH),
                "command_head": Out(INDEX_WIDTH),
                "event_head": Out(INDEX_WIDTH),
                "event_tail": Out(INDEX_WIDTH),
            }
        )


def context_ports(parameters: NicParameters) -> dict[str, Any]:
    """The members by which a block sees all contexts: `contexts` (registers) and `states`."""
    return {
        "contexts": In(ContextRegisters(parameters.windows)).array(parameters.contexts),
        "states": In(ContextState()).array(parameters.contexts),
    }
