"""The extension engine: eBPF programs as threaded code, checked or unchecked, exactly metered.

Knows no device and no kernel: memory, registers and services reach an extension as windows and typed calls.

In the order of reading: ``isa`` (the one table of operations), ``program``, ``flow``; ``access`` (windows) and
``services``, all that an extension can reach; ``verifier`` (what is accepted, and what is proved of it); ``engine``
(how it is run); ``extension``, ``host``, ``linking`` and ``promotion`` (inserted, called, calling each other, compiled
when hot); ``timing`` (what operations cost). Sources: ``assembler``, ``disassembler``, ``expressions``; ``python``;
``cc`` and ``header`` for C. Objects: ``elf`` and its parts, ``manifest``. Compiled code is kept by ``objects``;
``bench`` measures; ``cli``, ``commands``, ``execution``, ``profile_command`` and ``inputs`` are the command line.
"""
