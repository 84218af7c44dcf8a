"""The NIC's driver: compiled, never imported. Trusted: it reads and writes the kernel page's registers.

Entries, records and services: sw/drivers/interface.py. Registers: rtl/nic/nic.rdl.
"""

from nimble.python import Pointer, address_of, device, entry, offset_of, parameter, service, struct, u64

nic = device("nic")

ACCESS_REFUSED = parameter()  # reasons of violations up to this one concern accesses to the NIC's own registers
COUNTERS_FIRST = parameter()  # byte offset of the first counter; the others follow it
COUNTERS = parameter()
NO_CONTEXT = 0xFFFF_FFFF_FFFF_FFFF


@struct("DEVICE_INFO")
class DeviceInfo:
    contexts: u64
    windows: u64
    mtu_bytes: u64
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
    interrupt: u64
    windows: u64


@struct("WINDOW_SETUP")
class WindowSetup:
    base: u64
    length_bytes: u64
    local_read: u64
    remote_write: u64


@struct("CONTEXT_STATE")
class ContextState:
    node_id: u64
    control: u64
    identity: u64
    command_base: u64
    event_base: u64
    window_base: u64
    window_length: u64
    window_rights: u64
    command_tail: u64
    event_head: u64


@service
def context_event(context: u64) -> u64:
    raise NotImplementedError


@service
def violation(reason: u64, context: u64, address: u64) -> u64:
    raise NotImplementedError


@entry
def init(nid: u64, info: DeviceInfo) -> u64:
    capabilities = nic.CAPABILITIES
    info.contexts = capabilities.CONTEXTS
    info.windows = capabilities.WINDOWS
    info.mtu_bytes = capabilities.MTU_BYTES
    info.page_offset = offset_of(nic.PAGE)
    info.page_stride = nic.PAGE_STRIDE
    # The node's name, final until reset. A device that was given another one refuses, and the driver stops here.
    nic.NODE_ID.write(NID=nid, LOCKED=1)
    # How many bits the field has depends on the NIC, so that it is written as a number.
    contexts = (1 << (capabilities.CONTEXTS & 63)) - 1
    nic.INT_ENABLE = contexts << nic.INT_ENABLE.CONTEXT_LSB | nic.INT_ENABLE.VIOLATION_MASK
    return 0


@entry
def interrupt() -> u64:
    status = nic.INT_STATUS
    if status == 0:
        return 0
    if status.VIOLATION:
        # Clearing the bit lets the next violation into the register: read it first.
        found = nic.VIOLATION
        nic.INT_STATUS = status
        reason, address = found.REASON, found.ADDRESS
        # An access to the kernel's page concerns no context.
        to_kernel_page = reason <= ACCESS_REFUSED and address < offset_of(nic.PAGE)
        violation(reason, NO_CONTEXT if to_kernel_page else found.CONTEXT, address)
    else:
        nic.INT_STATUS = status
    pending = (status & (nic.INT_STATUS.VIOLATION_MASK - 1)) >> nic.INT_STATUS.CONTEXT_LSB
    context: u64 = 0
    while pending:
        if pending & 1:
            context_event(context)
        pending >>= 1
        context += 1
    return 0


@entry
def open(context: u64, setup: ContextSetup) -> u64:
    nic.CONTEXT[context].IDENTITY.write(PID=setup.pid, JID=setup.jid)
    nic.CONTEXT[context].COMMAND_BASE = setup.command_base
    nic.CONTEXT[context].COMMAND_SIZE = setup.command_log2
    nic.CONTEXT[context].EVENT_BASE = setup.event_base
    nic.CONTEXT[context].EVENT_SIZE = setup.event_log2
    windows = Pointer[WindowSetup](address_of(setup) + 1)  # behind the one context setup
    for i in range(setup.windows):
        window = windows[i]
        nic.CONTEXT[context].WINDOW[i].BASE = window.base
        nic.CONTEXT[context].WINDOW[i].LENGTH = window.length_bytes
        nic.CONTEXT[context].WINDOW[i].RIGHTS.write(LOCAL_READ=window.local_read, REMOTE_WRITE=window.remote_write)
    # Last, because it lets commands and packets in.
    nic.CONTEXT[context].CONTROL.write(ENABLE=1, INTERRUPT=setup.interrupt)
    return 0


@entry
def close(context: u64) -> u64:
    nic.CONTEXT[context].CONTROL = 0
    nic.CONTEXT[context].IDENTITY = 0
    return 0


@entry
def counters(values: Pointer[u64]) -> u64:
    for i in range(COUNTERS):
        values[i] = nic[COUNTERS_FIRST + 8 * i]
    return 0


@entry
def inspect(context: u64, state: ContextState) -> u64:
    state.node_id = nic.NODE_ID
    state.control = nic.CONTEXT[context].CONTROL
    state.identity = nic.CONTEXT[context].IDENTITY
    state.command_base = nic.CONTEXT[context].COMMAND_BASE
    state.event_base = nic.CONTEXT[context].EVENT_BASE
    state.window_base = nic.CONTEXT[context].WINDOW[0].BASE
    state.window_length = nic.CONTEXT[context].WINDOW[0].LENGTH
    state.window_rights = nic.CONTEXT[context].WINDOW[0].RIGHTS
    state.command_tail = nic.PAGE[context].COMMAND_TAIL
    state.event_head = nic.PAGE[context].EVENT_HEAD
    return 0
