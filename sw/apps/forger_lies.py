"""What the forger writes into its own ring, and into registers that are not its own: tables of attempts."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from rtl.packets import REQUEST
from rtl.portals import (
    COMMAND,
    COUNTER_COMMAND,
    LIST_COMMAND,
    MAX_ATOMIC_BYTES,
    MAX_MESSAGE_BYTES,
    AtomicOperation,
    AtomicType,
    Operation,
)
from rtl.records import Record
from rtl.registers import load
from sw.apps.witness import Target
from sw.kernel.contexts import ContextHandle
from sw.kernel.memory import PAGE_BYTES

NIC = load("nic").symbols()
SEND_WINDOW, WRITE_WINDOW = 0, 1  # of the forger's context, a page each: read only, written only
UPDATE_BITS = 1 << 48  # the match bits of a RandomAccess update: a delivered forgery would do harm
LAST_OFFSET = (1 << 48) - 8
NOBODY = 0xFFFF


@dataclass(frozen=True, kw_only=True)
class Lie:
    """A command that must not have an effect. `answered`: it waits for an answer that must not come."""

    name: str
    tried: str
    record: Record
    words: list[int]
    answered: bool = False

    def marked(self, mark: int) -> list[int]:
        """The command with a mark by which all that comes of it is known again."""
        words = list(self.words)
        for name in ("header_data", "user_data"):
            if name in self.record.fields:
                words[self.record.fields[name].word] = mark
        return words


@dataclass(frozen=True, kw_only=True)
class Register:
    """A register of the kernel's page, `offset` bytes from its start; `value` None: it is read."""

    name: str
    offset: int
    value: int | None


def _lie(name: str, tried: str, record: Record, **fields: int) -> Lie:
    return Lie(name=name, tried=tried, record=record, words=record.pack(**fields))


def _unnamed(lie: Lie, word: int) -> Lie:
    """The same with all bits of a word set that no field names."""
    words = list(lie.words)
    words[word] |= lie.record.reserved_mask(word)
    return replace(lie, words=words)


# ---- commands that must be refused before anything leaves ----


def commands(own: ContextHandle) -> Iterator[Lie]:
    """They go to the own address, so that none does harm."""
    yield from _malformed(own)
    yield from _windows(own)
    yield from _lists(own)


def _malformed(own: ContextHandle) -> Iterator[Lie]:
    put = {"operation": Operation.PUT, "dst_nid": own.nid, "dst_pid": own.pid}
    add = put | {"operation": Operation.ATOMIC, "length_bytes": 8, "atomic_type": AtomicType.UINT64}
    sourced = _lie("command that names a source", "all bits that name nothing", COMMAND, **put)
    yield _unnamed(_unnamed(sourced, 2), 7)
    yield _lie("command of unknown operation", "operation 0x7f", COMMAND, **put | {"operation": 0x7F})
    yield _lie(
        "command longer than a message may be", "64 MiB and a byte", COMMAND, **put, length_bytes=MAX_MESSAGE_BYTES + 1
    )
    yield _lie("put to a node that does not exist", "node 65535", COMMAND, **put | {"dst_nid": NOBODY})
    yield _lie("put with an acknowledgement of no kind", "ack_request 3", COMMAND, **put, ack_request=3)
    yield _lie("atomic that does not exist", "operation 7", COMMAND, **add, atomic_operation=7)
    yield _lie("atomic on data of no type", "type 9", COMMAND, **add | {"atomic_type": 9})
    yield _lie(
        "atomic longer than one may be",
        f"{2 * MAX_ATOMIC_BYTES} bytes",
        COMMAND,
        **add | {"length_bytes": 2 * MAX_ATOMIC_BYTES},
    )
    yield _lie("swap in the guise of a sum", "SWAP by ATOMIC", COMMAND, **add, atomic_operation=AtomicOperation.SWAP)
    yield _lie("counting event that does not exist", "number 255", COMMAND, **put, counter=255, ct_send=1)


def _windows(own: ContextHandle) -> Iterator[Lie]:
    page = PAGE_BYTES
    put = {"operation": Operation.PUT, "dst_nid": own.nid, "dst_pid": own.pid, "length_bytes": 8}
    get = put | {"operation": Operation.GET}
    fetch = put | {"operation": Operation.FETCH_ATOMIC, "atomic_type": AtomicType.UINT64}
    yield _lie("DMA beyond the window", "8 bytes behind its end", COMMAND, **put, local_offset=page)
    yield _lie(
        "DMA across the window's end",
        "16 bytes, 8 inside",
        COMMAND,
        **put | {"length_bytes": 16},
        local_offset=page - 8,
    )
    yield _lie("DMA with an offset that wraps", "8 bytes before its start", COMMAND, **put, local_offset=LAST_OFFSET)
    yield _lie("DMA across 2**48", "16 bytes from -8", COMMAND, **put | {"length_bytes": 16}, local_offset=LAST_OFFSET)
    yield _lie("DMA from a window without the right", "8 bytes", COMMAND, **put, local_window=WRITE_WINDOW)
    yield _lie("DMA from a window that does not exist", "window 255", COMMAND, **put, local_window=255)
    yield _lie("DMA into a window without the right", "a get of 8 bytes", COMMAND, **get, local_window=SEND_WINDOW)
    yield _lie(
        "DMA into memory beyond the window",
        "what a fetch brings",
        COMMAND,
        **fetch,
        local_window=SEND_WINDOW,
        get_window=WRITE_WINDOW,
        get_offset=page,
    )


def _lists(own: ContextHandle) -> Iterator[Lie]:
    append = {"operation": Operation.ME_APPEND, "any_nid": 1, "any_pid": 1, "op_put": 1}
    alloc = _lie("list command with bits that name nothing", "PT_ALLOC", LIST_COMMAND, operation=Operation.PT_ALLOC)
    yield _unnamed(alloc, 1)
    yield _lie(
        "portal table entry that does not exist",
        "number 255",
        LIST_COMMAND,
        operation=Operation.PT_ALLOC,
        pt_index=255,
    )
    yield _lie(
        "match entry that does not exist", "number 65535", LIST_COMMAND, operation=Operation.ME_UNLINK, entry=NOBODY
    )
    yield _lie("match entry in a list that is not there", "entry 0", LIST_COMMAND, **append, pt_index=0, entry=0)
    yield _lie(
        "counting event beside the own",
        f"number {own.limits.counters}",
        COUNTER_COMMAND,
        operation=Operation.COUNTER_SET,
        counter=own.limits.counters,
        success=1,
    )


# ---- messages that must be refused where they arrive ----


def messages(target: Target) -> Iterator[Lie]:
    """To a process of another job, and to nobody."""
    nid, pid, jid = target.handle.nid, target.handle.pid, target.handle.jid
    trusted = REQUEST.pack(src_nid=nid, src_pid=pid, jid=jid)[1]
    put = {"operation": Operation.PUT, "dst_nid": nid, "dst_pid": pid, "match_bits": UPDATE_BITS}
    add = put | {"operation": Operation.ATOMIC, "atomic_type": AtomicType.UINT64, "length_bytes": 8}
    yield _lie("put to a process of another job", f"node {nid}", COMMAND, **put)
    yield _lie(
        "put whose user words look like the trusted word",
        f"as PID {pid} of job {jid}",
        COMMAND,
        **put | {"match_bits": trusted},
    )
    yield _lie("put of memory to a process of another job", "8 bytes", COMMAND, **put, length_bytes=8)
    yield _lie("atomic on memory of another job", "add to 8 bytes", COMMAND, **add)
    yield _lie("put to a process that does not exist", f"PID {NOBODY}", COMMAND, **put | {"dst_pid": NOBODY})


def question(target: Target) -> Lie:
    """A get from a process of another job."""
    get = _lie(
        "get from a process of another job",
        "8 bytes",
        COMMAND,
        operation=Operation.GET,
        dst_nid=target.handle.nid,
        dst_pid=target.handle.pid,
        match_bits=UPDATE_BITS,
        length_bytes=8,
        local_window=WRITE_WINDOW,
    )
    return replace(get, answered=True)


# ---- the kernel's registers, where only the hardware stands in the way ----


def registers(own: int, other: int) -> Iterator[Register]:
    """Of the contexts `own` and `other`, and of all."""
    mine = NIC["NIC.CONTEXT"] + own * NIC["NIC.CONTEXT_STRIDE"]
    theirs = NIC["NIC.CONTEXT"] + other * NIC["NIC.CONTEXT_STRIDE"]
    window = mine + NIC["NIC.CONTEXT.WINDOW"]
    violations, packets = NIC["NIC.VIOLATION_LOG"], NIC["NIC.PACKET_LOG"]
    writes = {
        "node ID": (NIC["NIC.NODE_ID"], 0x666),
        "own identity": (mine + NIC["NIC.CONTEXT.IDENTITY"], 1 << 32 | 1),
        "another context's identity": (theirs + NIC["NIC.CONTEXT.IDENTITY"], 1 << 32 | 1),
        "own window's base": (window + NIC["NIC.CONTEXT.WINDOW.BASE"], 0),
        "own window's length": (window + NIC["NIC.CONTEXT.WINDOW.LENGTH"], 1 << 40),
        "own window's rights": (window + NIC["NIC.CONTEXT.WINDOW.RIGHTS"], 0xF),
        "own counting events' base": (mine + NIC["NIC.CONTEXT.COUNTER_BASE"], 0),
        "own moderation": (mine + NIC["NIC.CONTEXT.MODERATION"], 1),
        "interrupts": (NIC["NIC.INT_ENABLE"], 0),
        "violation log": (violations + NIC["NIC.VIOLATION_LOG.ACKNOWLEDGE"], 1),
        "packet log": (packets + NIC["NIC.PACKET_LOG.ACKNOWLEDGE"], 1),
    }
    reads = {
        "read another's identity": theirs + NIC["NIC.CONTEXT.IDENTITY"],
        "read who sent what": packets + NIC["NIC.PACKET_LOG.DETAIL"],
    }
    for name, (offset, value) in writes.items():
        yield Register(name=name, offset=offset, value=value)
    for name, offset in reads.items():
        yield Register(name=name, offset=offset, value=None)
