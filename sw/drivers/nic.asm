# The NIC's driver. Trusted: it reads and writes the kernel page's registers (r6 holds the device's base throughout).
# Entries, records and services: sw/drivers/interface.py. Registers: rtl/nic/nic.rdl.

# init(r1 = node ID, r2 = DEVICE_INFO)
.entry init
    lddw  %r6, DEVICE.BASE
    ldxdw %r3, [%r6 + NIC.CAPABILITIES]
    mov   %r4, %r3
    rsh   %r4, NIC.CAPABILITIES.CONTEXTS_LSB
    and   %r4, (1 << NIC.CAPABILITIES.CONTEXTS_WIDTH) - 1
    stxdw [%r2 + DEVICE_INFO.CONTEXTS], %r4
    mov   %r5, %r3
    rsh   %r5, NIC.CAPABILITIES.WINDOWS_LSB
    and   %r5, (1 << NIC.CAPABILITIES.WINDOWS_WIDTH) - 1
    stxdw [%r2 + DEVICE_INFO.WINDOWS], %r5
    rsh   %r3, NIC.CAPABILITIES.MTU_BYTES_LSB
    and   %r3, (1 << NIC.CAPABILITIES.MTU_BYTES_WIDTH) - 1
    stxdw [%r2 + DEVICE_INFO.MTU_BYTES], %r3
    stdw  [%r2 + DEVICE_INFO.PAGE_OFFSET], NIC.PAGE
    stdw  [%r2 + DEVICE_INFO.PAGE_STRIDE], NIC.PAGE_STRIDE
    # The node's name, final until reset. A device that was given another one refuses, and the driver stops here.
    lddw  %r3, NIC.NODE_ID.LOCKED_MASK
    lsh   %r1, NIC.NODE_ID.NID_LSB
    or    %r3, %r1
    stxdw [%r6 + NIC.NODE_ID], %r3
    # Interrupts: every context, and violations.
    mov   %r5, 1
    lsh   %r5, %r4
    sub   %r5, 1
    lsh   %r5, NIC.INT_ENABLE.CONTEXT_LSB
    lddw  %r3, NIC.INT_ENABLE.VIOLATION_MASK
    or    %r3, %r5
    stxdw [%r6 + NIC.INT_ENABLE], %r3
    mov   %r0, 0
    exit

# interrupt()
.entry interrupt
    lddw  %r6, DEVICE.BASE
    ldxdw %r7, [%r6 + NIC.INT_STATUS]
    mov   %r0, 0
    jeq   %r7, 0, exit
    lddw  %r1, NIC.INT_STATUS.VIOLATION_MASK
    and   %r1, %r7
    jne   %r1, 0, violated
    stxdw [%r6 + NIC.INT_STATUS], %r7
    ja    contexts
violated:
    # Clearing the bit lets the next violation into the register: read it first.
    ldxdw %r8, [%r6 + NIC.VIOLATION]
    stxdw [%r6 + NIC.INT_STATUS], %r7
    xor   %r7, %r1
    mov   %r1, %r8
    rsh   %r1, NIC.VIOLATION.REASON_LSB
    and   %r1, (1 << NIC.VIOLATION.REASON_WIDTH) - 1
    mov   %r2, %r8
    rsh   %r2, NIC.VIOLATION.CONTEXT_LSB
    and   %r2, (1 << NIC.VIOLATION.CONTEXT_WIDTH) - 1
    mov   %r3, %r8
    rsh   %r3, NIC.VIOLATION.ADDRESS_LSB
    # An access to the kernel's page concerns no context.
    jgt   %r1, REFUSAL.ACCESS_REFUSED, report
    jge   %r3, NIC.PAGE, report
    mov   %r2, -1
report:
    call  violation
contexts:
    rsh   %r7, NIC.INT_STATUS.CONTEXT_LSB
    mov   %r8, 0
next_context:
    jeq   %r7, 0, served
    mov   %r1, %r7
    and   %r1, 1
    jeq   %r1, 0, no_event
    mov   %r1, %r8
    call  context_event
no_event:
    rsh   %r7, 1
    add   %r8, 1
    ja    next_context
served:
    mov   %r0, 0
    exit

# open(r1 = context, r2 = CONTEXT_SETUP followed by its WINDOW_SETUPs)
.entry open
    lddw  %r6, DEVICE.BASE + NIC.CONTEXT
    mul   %r1, NIC.CONTEXT_STRIDE
    add   %r6, %r1
    ldxdw %r1, [%r2 + CONTEXT_SETUP.PID]
    lsh   %r1, NIC.CONTEXT.IDENTITY.PID_LSB
    ldxdw %r3, [%r2 + CONTEXT_SETUP.JID]
    lsh   %r3, NIC.CONTEXT.IDENTITY.JID_LSB
    or    %r1, %r3
    stxdw [%r6 + NIC.CONTEXT.IDENTITY], %r1
    ldxdw %r1, [%r2 + CONTEXT_SETUP.COMMAND_BASE]
    stxdw [%r6 + NIC.CONTEXT.COMMAND_BASE], %r1
    ldxdw %r1, [%r2 + CONTEXT_SETUP.COMMAND_LOG2]
    stxdw [%r6 + NIC.CONTEXT.COMMAND_SIZE], %r1
    ldxdw %r1, [%r2 + CONTEXT_SETUP.EVENT_BASE]
    stxdw [%r6 + NIC.CONTEXT.EVENT_BASE], %r1
    ldxdw %r1, [%r2 + CONTEXT_SETUP.EVENT_LOG2]
    stxdw [%r6 + NIC.CONTEXT.EVENT_SIZE], %r1
    # Windows: r4 counts them, r5 walks the records, r7 the registers.
    ldxdw %r4, [%r2 + CONTEXT_SETUP.WINDOWS]
    mov   %r5, %r2
    add   %r5, CONTEXT_SETUP.BYTES
    mov   %r7, %r6
    add   %r7, NIC.CONTEXT.WINDOW
next_window:
    jeq   %r4, 0, enable
    ldxdw %r1, [%r5 + WINDOW_SETUP.BASE]
    stxdw [%r7 + NIC.CONTEXT.WINDOW.BASE], %r1
    ldxdw %r1, [%r5 + WINDOW_SETUP.LENGTH_BYTES]
    stxdw [%r7 + NIC.CONTEXT.WINDOW.LENGTH], %r1
    ldxdw %r1, [%r5 + WINDOW_SETUP.LOCAL_READ]
    lsh   %r1, NIC.CONTEXT.WINDOW.RIGHTS.LOCAL_READ_LSB
    ldxdw %r3, [%r5 + WINDOW_SETUP.REMOTE_WRITE]
    lsh   %r3, NIC.CONTEXT.WINDOW.RIGHTS.REMOTE_WRITE_LSB
    or    %r1, %r3
    stxdw [%r7 + NIC.CONTEXT.WINDOW.RIGHTS], %r1
    add   %r5, WINDOW_SETUP.BYTES
    add   %r7, NIC.CONTEXT.WINDOW_STRIDE
    sub   %r4, 1
    ja    next_window
enable:
    # Last, because it lets commands and packets in.
    ldxdw %r1, [%r2 + CONTEXT_SETUP.INTERRUPT]
    lsh   %r1, NIC.CONTEXT.CONTROL.INTERRUPT_LSB
    or    %r1, NIC.CONTEXT.CONTROL.ENABLE_MASK
    stxdw [%r6 + NIC.CONTEXT.CONTROL], %r1
    mov   %r0, 0
    exit

# close(r1 = context)
.entry close
    lddw  %r6, DEVICE.BASE + NIC.CONTEXT
    mul   %r1, NIC.CONTEXT_STRIDE
    add   %r6, %r1
    mov   %r0, 0
    stxdw [%r6 + NIC.CONTEXT.CONTROL], %r0
    stxdw [%r6 + NIC.CONTEXT.IDENTITY], %r0
    exit

# counters(r1 = where to)
.entry counters
    lddw  %r6, DEVICE.BASE + COUNTERS.FIRST
    mov   %r2, COUNTERS.COUNT
next_counter:
    ldxdw %r3, [%r6]
    stxdw [%r1], %r3
    add   %r6, 8
    add   %r1, 8
    sub   %r2, 1
    jne   %r2, 0, next_counter
    mov   %r0, 0
    exit

# inspect(r1 = context, r2 = CONTEXT_STATE)
.entry inspect
    lddw  %r6, DEVICE.BASE
    ldxdw %r3, [%r6 + NIC.NODE_ID]
    stxdw [%r2 + CONTEXT_STATE.NODE_ID], %r3
    mov   %r4, %r1
    mul   %r4, NIC.PAGE_STRIDE
    lddw  %r7, DEVICE.BASE + NIC.PAGE
    add   %r7, %r4
    ldxdw %r3, [%r7 + NIC.PAGE.COMMAND_TAIL]
    stxdw [%r2 + CONTEXT_STATE.COMMAND_TAIL], %r3
    ldxdw %r3, [%r7 + NIC.PAGE.EVENT_HEAD]
    stxdw [%r2 + CONTEXT_STATE.EVENT_HEAD], %r3
    lddw  %r6, DEVICE.BASE + NIC.CONTEXT
    mul   %r1, NIC.CONTEXT_STRIDE
    add   %r6, %r1
    ldxdw %r3, [%r6 + NIC.CONTEXT.CONTROL]
    stxdw [%r2 + CONTEXT_STATE.CONTROL], %r3
    ldxdw %r3, [%r6 + NIC.CONTEXT.IDENTITY]
    stxdw [%r2 + CONTEXT_STATE.IDENTITY], %r3
    ldxdw %r3, [%r6 + NIC.CONTEXT.COMMAND_BASE]
    stxdw [%r2 + CONTEXT_STATE.COMMAND_BASE], %r3
    ldxdw %r3, [%r6 + NIC.CONTEXT.EVENT_BASE]
    stxdw [%r2 + CONTEXT_STATE.EVENT_BASE], %r3
    ldxdw %r3, [%r6 + NIC.CONTEXT.WINDOW + NIC.CONTEXT.WINDOW.BASE]
    stxdw [%r2 + CONTEXT_STATE.WINDOW_BASE], %r3
    ldxdw %r3, [%r6 + NIC.CONTEXT.WINDOW + NIC.CONTEXT.WINDOW.LENGTH]
    stxdw [%r2 + CONTEXT_STATE.WINDOW_LENGTH], %r3
    ldxdw %r3, [%r6 + NIC.CONTEXT.WINDOW + NIC.CONTEXT.WINDOW.RIGHTS]
    stxdw [%r2 + CONTEXT_STATE.WINDOW_RIGHTS], %r3
    mov   %r0, 0
    exit
