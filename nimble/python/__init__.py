"""Extensions written in Python: a subset that compiles to eBPF objects through LLVM. Sources import their names here.

A source is ordinary Python to editors, linters and type checkers. The compiler reads its text and never runs it.
``compile_source``, ``compile_file`` and ``compile_program`` compile; whatever is outside the subset raises
``PythonError`` with file, line and remedy.

    from nimble.python import device, entry, service, state, u64

    nic = device("nic")                             # registers by name; the compiler is told where they are
    handled = state(u64)                            # the extension's own memory, kept between calls

    @service
    def wake(pid: u64) -> u64: ...                  # a call into the kernel

    @entry
    def interrupt(pid: u64) -> u64:
        global handled
        status = nic.INT_STATUS                     # one read
        nic.INT_STATUS = status                     # one write
        if status.VIOLATION:                        # a field of what was read
            return 1
        handled += 1
        return wake(pid)

**Types.** ``u8``..``u64``, ``i8``..``i64``, ``bool``, ``Pointer[T]`` and structs. Arithmetic gives what Python gives,
wrapped to the width of its type (``nimble.python.arithmetic`` has the details, division and shifts among them). A
constant takes the type of what it meets; of two widths the wider holds; signed and unsigned never mix; what would lose
bits or change a sign is written out: ``u32(x)``. A variable has one type, from its annotation or its first value.

**Structs.** ``@struct class Event: sequence: u32; ...`` with natural alignment; ``@struct("EVENT")`` takes the offsets
from constants: ``EVENT.SEQUENCE`` (of the 64-bit word, in bytes), ``_LSB``, ``_WIDTH`` and ``EVENT.BYTES``. A struct in
an expression is a reference: ``event = queue[i]`` copies nothing, and as an annotation ``Event`` is ``Pointer[Event]``.

**Memory.** ``Pointer[T](address)``, ``p[i]``, ``p.member``, ``p + elements``, ``address_of(place)``; ``state(T)`` and
``state(array(T, n))`` at the top, laid out in the order of the source; ``local(array(T, n))`` on the stack. Indexes of
arrays are checked where they are constant; beyond the end of an array lie the extension's other variables.

**Order.** LLVM may merge, reorder or leave out stores and loads of memory as long as the function computes the same.
Whoever may be stopped at any instruction, or shares memory, orders them with ``barrier()``: every store above it is
made before anything below begins. Accesses of device registers, calls of services and atomics are barriers too; each
mention of a register is exactly one access.

**Constants.** Numbers, tuples and enums at the top of the source; ``NAME = parameter()`` for those that the compiler is
given; names of constants may also be imported from wherever they are declared.
"""

from nimble.python.compiler import compile_file, compile_program, compile_source
from nimble.python.devices import Device, DeviceError
from nimble.python.errors import PythonError
from nimble.python.language import (
    Array,
    Pointer,
    address_of,
    array,
    atomic_add,
    atomic_and,
    atomic_compare_exchange,
    atomic_exchange,
    atomic_or,
    atomic_xor,
    barrier,
    byte_swap,
    device,
    entry,
    i8,
    i16,
    i32,
    i64,
    local,
    manifest,
    noinline,
    offset_of,
    parameter,
    service,
    size_of,
    state,
    struct,
    u8,
    u16,
    u32,
    u64,
)

__all__ = [
    "Array",
    "Device",
    "DeviceError",
    "Pointer",
    "PythonError",
    "address_of",
    "array",
    "atomic_add",
    "atomic_and",
    "atomic_compare_exchange",
    "atomic_exchange",
    "atomic_or",
    "atomic_xor",
    "barrier",
    "byte_swap",
    "compile_file",
    "compile_program",
    "compile_source",
    "device",
    "entry",
    "i8",
    "i16",
    "i32",
    "i64",
    "local",
    "manifest",
    "noinline",
    "offset_of",
    "parameter",
    "service",
    "size_of",
    "state",
    "struct",
    "u8",
    "u16",
    "u32",
    "u64",
]
