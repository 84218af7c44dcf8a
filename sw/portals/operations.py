"""What an initiator asks of another process: put, get and atomics, each one command.

Ref: Portals 4, sections 3.15 and 3.16.

Events come to the endpoint's queue: SEND when what was sent has left, ACK or REPLY when the target has answered,
REFUSED if the hardware refused the command. `user_data` comes back in all of them. `event_send_disable`: no SEND at
all; `event_success_disable`: none of them if all went well. Everything waits while the ring is full.
Raises EndpointError, and ValueError if a value does not fit into its field.
"""

from dataclasses import dataclass

from rtl.portals import COMMAND, AckRequest, AtomicOperation, AtomicType, Operation
from sw.portals.endpoint import Endpoint


@dataclass(frozen=True, kw_only=True)
class Region:
    """`length_bytes` from byte `offset` of a window of the own context."""

    window: int
    offset: int
    length_bytes: int


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a message goes: a process, an entry of its portal table, what is matched, and where in the match entry."""

    nid: int
    pid: int
    pt_index: int = 0
    match_bits: int = 0
    remote_offset: int = 0


@dataclass(frozen=True, kw_only=True)
class Counting:
    """What the counting event `counter` counts: SENDs, ACKs, REPLYs; operations, or with `in_bytes` their bytes."""

    counter: int
    send: bool = False
    ack: bool = False
    reply: bool = False
    in_bytes: bool = False


NOTHING = Region(window=0, offset=0, length_bytes=0)
NO_COUNTING = Counting(counter=0)


def put(
    endpoint: Endpoint,
    target: Target,
    *,
    local: Region = NOTHING,
    header_data: int = 0,
    ack_request: AckRequest = AckRequest.NONE,
    user_data: int = 0,
    counting: Counting = NO_COUNTING,
    event_send_disable: bool = False,
    event_success_disable: bool = False,
) -> None:
    """Write `local` into the target's memory."""
    _submit(
        endpoint,
        Operation.PUT,
        target,
        local,
        counting,
        header_data=header_data,
        ack_request=ack_request,
        user_data=user_data,
        event_send_disable=event_send_disable,
        event_success_disable=event_success_disable,
    )


def get(
    endpoint: Endpoint,
    target: Target,
    *,
    local: Region,
    user_data: int = 0,
    counting: Counting = NO_COUNTING,
    event_success_disable: bool = False,
) -> None:
    """Read the target's memory into `local`. There is a REPLY and no SEND."""
    _submit(
        endpoint,
        Operation.GET,
        target,
        local,
        counting,
        user_data=user_data,
        event_success_disable=event_success_disable,
    )


def atomic(
    endpoint: Endpoint,
    target: Target,
    *,
    operation: AtomicOperation,
    datum: AtomicType,
    local: Region,
    header_data: int = 0,
    ack_request: AckRequest = AckRequest.NONE,
    user_data: int = 0,
    counting: Counting = NO_COUNTING,
    event_send_disable: bool = False,
    event_success_disable: bool = False,
) -> None:
    """Combine `local`, one or more data, with the target's memory; SUM to XOR."""
    _submit(
        endpoint,
        Operation.ATOMIC,
        target,
        local,
        counting,
        atomic_operation=operation,
        atomic_type=datum,
        header_data=header_data,
        ack_request=ack_request,
        user_data=user_data,
        event_send_disable=event_send_disable,
        event_success_disable=event_success_disable,
    )


def fetch_atomic(
    endpoint: Endpoint,
    target: Target,
    *,
    operation: AtomicOperation,
    datum: AtomicType,
    local: Region,
    fetched: Region,
    header_data: int = 0,
    user_data: int = 0,
    counting: Counting = NO_COUNTING,
    event_send_disable: bool = False,
    event_success_disable: bool = False,
) -> None:
    """As `atomic`; what stood in the target's memory comes to `fetched`, which is as long as `local`."""
    _submit(
        endpoint,
        Operation.FETCH_ATOMIC,
        target,
        local,
        counting,
        get_window=fetched.window,
        get_offset=fetched.offset,
        atomic_operation=operation,
        atomic_type=datum,
        header_data=header_data,
        user_data=user_data,
        event_send_disable=event_send_disable,
        event_success_disable=event_success_disable,
    )


def swap(
    endpoint: Endpoint,
    target: Target,
    *,
    datum: AtomicType,
    local: Region,
    fetched: Region,
    operation: AtomicOperation = AtomicOperation.SWAP,
    header_data: int = 0,
    user_data: int = 0,
    counting: Counting = NO_COUNTING,
    event_send_disable: bool = False,
    event_success_disable: bool = False,
) -> None:
    """Put `local` into the target's memory; what stood there comes to `fetched`.

    CSWAP (only if the operand stood there) and MSWAP (only the operand's bits): the operand lies in the 8 bytes at
    `local`'s offset, behind it the datum, which alone `length_bytes` counts.
    """
    _submit(
        endpoint,
        Operation.SWAP,
        target,
        local,
        counting,
        get_window=fetched.window,
        get_offset=fetched.offset,
        atomic_operation=operation,
        atomic_type=datum,
        header_data=header_data,
        user_data=user_data,
        event_send_disable=event_send_disable,
        event_success_disable=event_success_disable,
    )


def _submit(
    endpoint: Endpoint, operation: Operation, target: Target, local: Region, counting: Counting, **fields: int
) -> None:
    endpoint.submit(
        COMMAND.pack(
            operation=operation,
            dst_nid=target.nid,
            dst_pid=target.pid,
            pt_index=target.pt_index,
            match_bits=target.match_bits,
            remote_offset=target.remote_offset,
            local_window=local.window,
            local_offset=local.offset,
            length_bytes=local.length_bytes,
            counter=counting.counter,
            ct_send=counting.send,
            ct_ack=counting.ack,
            ct_reply=counting.reply,
            ct_bytes=counting.in_bytes,
            **fields,
        )
    )
