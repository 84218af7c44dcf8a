"""The hardware and the contracts it offers: register maps, packet layout, NIC, fabric, node and machine.

Knows no software. Modules that software uses too (`rtl.registers`, `rtl.packets`) import no Amaranth.
"""
