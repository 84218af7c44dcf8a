"""The NIC's driver: compiled, never imported. Trusted: it reads and writes the kernel page's registers.

Entries, records and services: sw/drivers/interface.py. Registers: rtl/nic/nic.rdl.
"""

from nimble.python import Pointer, address_of, device, entry, offset_of, parameter, service, struct, u64

nic = device("nic")

ACCESS_REFUSED = parameter()  # reasons up to this one in VIOLATION_LOG concern accesses, the others commands
SUBJECT_ACCESS = parameter()
SUBJECT_COMMAND = parameter()
SUBJECT_PACKET = parameter()
COUNTERS_FIRST = parameter()  # byte offset of the first counter; the others follow it
COUNTERS = parameter()
LOG_LIMIT = 16  # entries of a log that one call reads


@struct("DEVICE_INFO")
class DeviceInfo:
    contexts: u64
    windows: u64
    mtu_bytes: u64
    portal_entries: u64
    match_entries: u64
    unexpected_headers: u64
    counters: u64
    outstanding: u64
    nodes: u64
    datapath_bits: u64
    page_offset: u64
    page_stride: u64


@struct("CONTEXT_SETUP")
class ContextSetup:
    pid: u64
    jid: u64
    command_base: u64
    command_log2: u64
    event_base: u64
    event_log2: u64
    counter_base: u64
    moderation_count: u64
    moderation_cycles: u64
    interrupt: u64
    counter_interrupt: u64
    core: u64
    windows: u64


@struct("WINDOW_SETUP")
class WindowSetup:
    base: u64
    length_bytes: u64
    local_read: u64
    local_write: u64
    remote_read: u64
    remote_write: u64


@struct("CONTEXT_STATE")
class ContextState:
    node_id: u64
    control: u64
    identity: u64
    command_base: u64
    event_base: u64
    counter_base: u64
    moderation: u64
    window_base: u64
    window_length: u64
    window_rights: u64
    command_tail: u64
    event_head: u64


@service
def context_event(context: u64) -> u64:
    raise NotImplementedError


@service
def violation(subject: u64, reason: u64, context: u64, detail: u64, time_cycles: u64) -> u64:
    raise NotImplementedError


@entry
def init(nid: u64, info: DeviceInfo, response_timeout: u64, log_interval: u64, interrupt_interval: u64) -> u64:
    capabilities = nic.CAPABILITIES
    info.contexts = capabilities.CONTEXTS
    info.windows = capabilities.WINDOWS
    info.mtu_bytes = capabilities.MTU_BYTES
    info.portal_entries = capabilities.PORTAL_ENTRIES
    info.counters = capabilities.COUNTERS
    info.outstanding = capabilities.OUTSTANDING
    matching = nic.CAPABILITIES_MATCHING
    info.match_entries = matching.MATCH_ENTRIES
    info.unexpected_headers = matching.UNEXPECTED_HEADERS
    info.nodes = matching.NODES
    info.datapath_bits = matching.DATAPATH_BITS
    info.page_offset = offset_of(nic.PAGE)
    info.page_stride = nic.PAGE_STRIDE
    # The node's name, final until reset. A device that was given another one refuses, and the driver stops here.
    nic.NODE_ID.write(NID=nid, LOCKED=1)
    nic.RESPONSE_TIMEOUT.write(CYCLES=response_timeout)
    nic.LOG_INTERVAL.write(CYCLES=log_interval)
    nic.INTERRUPT_INTERVAL.write(CYCLES=interrupt_interval)
    # How many bits the field has depends on the NIC, so that it is written as a number.
    contexts = (1 << (capabilities.CONTEXTS & 63)) - 1
    logs = u64(nic.INT_ENABLE.VIOLATION_MASK | nic.INT_ENABLE.PACKET_MASK)
    nic.INT_ENABLE = contexts << nic.INT_ENABLE.CONTEXT_LSB | logs
    return 0


@entry
def interrupt(core: u64) -> u64:
    # What the other cores are called for is theirs to clear. Here it is cleared at once, long before a context that is
    # closed meanwhile can be opened for somebody else: no event of the next one is lost.
    status = nic.INTERRUPT_LINE[core].PENDING
    pending = status & (nic.INT_STATUS.PACKET_MASK - 1)
    if pending:
        nic.INT_STATUS = pending
    # A log that is filled as fast as it is read must not hold the core: what is left is told of after LOG_INTERVAL, and
    # what does not fit meanwhile is counted.
    if status.VIOLATION:
        read_violations()
    if status.PACKET:
        read_packets()
    pending >>= nic.INT_STATUS.CONTEXT_LSB
    context: u64 = 0
    while pending:
        if pending & 1:
            context_event(context)
        pending >>= 1
        context += 1
    return 0


@entry
def refusals() -> u64:
    return read_violations() + read_packets()


def read_violations() -> u64:
    for count in range(LOG_LIMIT):
        cause = nic.VIOLATION_LOG.CAUSE
        if cause.REASON == 0:
            return count
        detail = nic.VIOLATION_LOG.DETAIL
        time_cycles = nic.VIOLATION_LOG.TIME
        nic.VIOLATION_LOG.ACKNOWLEDGE = 1
        subject = u64(SUBJECT_ACCESS) if cause.REASON <= ACCESS_REFUSED else SUBJECT_COMMAND
        violation(subject, cause.REASON, cause.CONTEXT, detail, time_cycles)
    return LOG_LIMIT


def read_packets() -> u64:
    for count in range(LOG_LIMIT):
        cause = nic.PACKET_LOG.CAUSE
        if cause.REASON == 0:
            return count
        detail = nic.PACKET_LOG.DETAIL
        time_cycles = nic.PACKET_LOG.TIME
        nic.PACKET_LOG.ACKNOWLEDGE = 1
        violation(SUBJECT_PACKET, cause.REASON, cause.CONTEXT, detail, time_cycles)
    return LOG_LIMIT


@entry
def open(context: u64, setup: ContextSetup) -> u64:
    nic.CONTEXT[context].IDENTITY.write(PID=setup.pid, JID=setup.jid)
    nic.CONTEXT[context].COMMAND_BASE = setup.command_base
    nic.CONTEXT[context].COMMAND_SIZE = setup.command_log2
    nic.CONTEXT[context].EVENT_BASE = setup.event_base
    nic.CONTEXT[context].EVENT_SIZE = setup.event_log2
    nic.CONTEXT[context].COUNTER_BASE = setup.counter_base
    nic.CONTEXT[context].MODERATION.write(COUNT=setup.moderation_count, CYCLES=setup.moderation_cycles)
    windows = Pointer[WindowSetup](address_of(setup) + 1)  # behind the one context setup
    for i in range(setup.windows):
        window = windows[i]
        nic.CONTEXT[context].WINDOW[i].BASE = window.base
        nic.CONTEXT[context].WINDOW[i].LENGTH = window.length_bytes
        nic.CONTEXT[context].WINDOW[i].RIGHTS.write(
            LOCAL_READ=window.local_read,
            LOCAL_WRITE=window.local_write,
            REMOTE_READ=window.remote_read,
            REMOTE_WRITE=window.remote_write,
        )
    # Last, because it lets commands and packets in.
    nic.CONTEXT[context].CONTROL.write(
        ENABLE=1, INTERRUPT=setup.interrupt, COUNTER_INTERRUPT=setup.counter_interrupt, LINE=setup.core
    )
    return 0


@entry
def moderate(context: u64, count: u64, cycles: u64) -> u64:
    nic.CONTEXT[context].MODERATION.write(COUNT=count, CYCLES=cycles)
    return 0


@entry
def close(context: u64) -> u64:
    nic.CONTEXT[context].CONTROL = 0
    nic.CONTEXT[context].IDENTITY = 0
    return 0


@entry
def busy(context: u64) -> u64:
    return nic.CONTEXT[context].CONTROL.BUSY


@entry
def counters(values: Pointer[u64]) -> u64:
    for i in range(COUNTERS):
        values[i] = nic[COUNTERS_FIRST + 8 * i]
    values[COUNTERS] = nic.VIOLATION_LOG.LOST
    values[COUNTERS + 1] = nic.PACKET_LOG.LOST
    return 0


@entry
def inspect(context: u64, state: ContextState) -> u64:
    state.node_id = nic.NODE_ID
    state.control = nic.CONTEXT[context].CONTROL
    state.identity = nic.CONTEXT[context].IDENTITY
    state.command_base = nic.CONTEXT[context].COMMAND_BASE
    state.event_base = nic.CONTEXT[context].EVENT_BASE
    state.counter_base = nic.CONTEXT[context].COUNTER_BASE
    state.moderation = nic.CONTEXT[context].MODERATION
    state.window_base = nic.CONTEXT[context].WINDOW[0].BASE
    state.window_length = nic.CONTEXT[context].WINDOW[0].LENGTH
    state.window_rights = nic.CONTEXT[context].WINDOW[0].RIGHTS
    state.command_tail = nic.PAGE[context].COMMAND_TAIL
    state.event_head = nic.PAGE[context].EVENT_HEAD
    return 0
