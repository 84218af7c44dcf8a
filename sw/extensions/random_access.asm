# Applies RandomAccess updates in the kernel: the message event of the receiving context runs `message`.
# Untrusted. Windows: table (rw), event queue (r), command ring (rw), and of the device EVENT_HEAD and COMMAND_TAIL of this
# context's page. Names: sw/extensions/random_access.py.
#
# It may be stopped at any instruction, and the process that takes over must apply each update exactly once. So before an
# update it notes in BEFORE what stood in the table and in APPLYING the number of the event; and it counts the event in
# HANDLED when update and acknowledgement are done.

# r6 state, r7 events handled, r8 this event, r9 events that this call may still handle
.entry message
    lddw  %r6, STATE
    ldxdw %r7, [%r6 + UPDATER.HANDLED]
    stxdw [%r10 - 8], %r7
    # At most one queue full: whatever arrived later raises the interrupt again.
    mov   %r9, QUEUE.ENTRIES
next_event:
    mov   %r8, %r7
    and   %r8, QUEUE.ENTRIES - 1
    mul   %r8, EVENT.BYTES
    lddw  %r1, QUEUE.BASE
    add   %r8, %r1
    ldxw  %r1, [%r8 + EVENT.SEQUENCE]
    mov32 %r2, %r7
    add32 %r2, 1
    jne32 %r1, %r2, drained
    ldxb  %r1, [%r8 + EVENT.KIND]
    jne   %r1, EVENT_KIND.PUT, unexpected
    ldxdw %r4, [%r8 + EVENT.MATCH_BITS]
    mov   %r1, %r4
    rsh   %r1, MATCH.KIND_LSB
    and   %r1, (1 << MATCH.KIND_WIDTH) - 1
    jne   %r1, MESSAGE.UPDATE, unexpected
    # T[value & (words - 1)] ^= value
    ldxdw %r2, [%r8 + EVENT.HEADER_DATA]
    mov   %r3, %r2
    and   %r3, TABLE.WORDS - 1
    lsh   %r3, 3
    lddw  %r1, TABLE.BASE
    add   %r3, %r1
    ldxdw %r1, [%r3]
    stxdw [%r6 + UPDATER.BEFORE], %r1
    mov   %r5, %r7
    add   %r5, 1
    stxdw [%r6 + UPDATER.APPLYING], %r5
    lock xor [%r3], %r2
    mov   %r1, %r4
    rsh   %r1, MATCH.ACK_LSB
    jeq   %r1, 0, handled
    mov   %r1, %r8
    mov   %r2, %r4
    call local acknowledge
handled:
    add   %r7, 1
    stxdw [%r6 + UPDATER.HANDLED], %r7
    # Tell the NIC at each half of the queue, so that the other half always has room.
    mov   %r1, %r7
    and   %r1, QUEUE.HALF - 1
    jne   %r1, 0, more
    mov   %r1, %r7
    call local tell
more:
    sub   %r9, 1
    jne   %r9, 0, next_event
drained:
    ldxdw %r1, [%r10 - 8]
    jeq   %r1, %r7, done
    mov   %r1, %r7
    call local tell
done:
    mov   %r0, 0
    exit
unexpected:
    ldxdw %r1, [%r6 + UPDATER.UNEXPECTED]
    add   %r1, 1
    stxdw [%r6 + UPDATER.UNEXPECTED], %r1
    ja    handled

# EVENT_HEAD = r1
tell:
    lddw  %r2, PAGE.EVENT_HEAD
    mov32 %r1, %r1
    stxdw [%r2], %r1
    exit

# Answer the sender of the event at r1, whose match bits are in r2, with the number of its update. The ring began as zeros:
# the words that an acknowledgement leaves zero are never written.
acknowledge:
    lddw  %r6, STATE
    mov   %r8, %r1
    mov   %r4, %r2
    ldxdw %r7, [%r6 + UPDATER.SENT]
    mov   %r1, %r7
    and   %r1, RING.ENTRIES - 1
    mul   %r1, COMMAND.BYTES
    lddw  %r9, RING.BASE
    add   %r9, %r1
    stdw  [%r9 + COMMAND.OPERATION], PACKET_OPERATION.PUT
    # Source node and PID of an event stand as destination node and PID do in a command.
    ldxw  %r1, [%r8 + EVENT.SRC_NID]
    stxdw [%r9 + COMMAND.DST_NID], %r1
    lddw  %r1, ACKNOWLEDGEMENT
    stxdw [%r9 + COMMAND.MATCH_BITS], %r1
    mov32 %r1, %r4
    stxdw [%r9 + COMMAND.HEADER_DATA], %r1
    add   %r7, 1
    mov32 %r7, %r7
    lddw  %r1, PAGE.COMMAND_TAIL
    stxdw [%r1], %r7
    stxdw [%r6 + UPDATER.SENT], %r7
    exit

.state UPDATER.BYTES
