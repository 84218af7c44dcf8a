"""The extension engine: eBPF programs as threaded code, checked or unchecked, exactly metered.

Knows no device and no kernel: memory, registers and services reach an extension as windows and typed calls.
"""
