"""The software that runs on the modeled CPU: lightweight kernel, drivers, extensions, libraries, applications.

Imports `nimble`, and of `rtl` the contracts alone; the machine reaches it through `sw.kernel.hardware`.
"""
