"""Boot: read the device table, insert the trusted extensions that the scenario names, let them start their devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nimble.access import READ_WRITE, Window
from nimble.extension import Attachment, Manifest, Trust, WindowWish
from nimble.services import Service, Services
from sw.drivers.interface import SERVICE_CONTEXT_EVENT, SERVICE_VIOLATION, Driver
from sw.kernel.contexts import device_cycles
from sw.kernel.errors import KernelPanic
from sw.kernel.extensions import REGISTER_WIDTHS
from sw.kernel.hardware import Device
from sw.kernel.memory import Region, RegionKind
from sw.kernel.network import PARAMETER_BYTES, Network

if TYPE_CHECKING:
    from sw.kernel.kernel import Kernel
    from sw.kernel.processor import Processor

# The kernel's own code and data, at the bottom of memory; Kitten's image with its tables takes less.
KERNEL_BYTES = 1 << 20
# Between interrupts for refusals of one kind. Reading what one interrupt may read takes about 4 us, so a flood of both
# kinds leaves nine tenths of the core that it goes to for others.
LOG_INTERVAL_US = 50
ID_MASK = 0xFFFF


def boot(kernel: Kernel, processor: Processor, drivers: Sequence[Driver]) -> None:
    """Start the node on its first core. KernelPanic."""
    kernel.memory.allocate(RegionKind.KERNEL, KERNEL_BYTES, "kernel")
    found = {_device_id(processor, device): device for device in kernel.node.devices}
    for driver in drivers:
        device = found.get(driver.device_id)
        if device is None:
            known = ", ".join(f"{device.name} {number:#06x}" for number, device in found.items()) or "none"
            raise KernelPanic(
                f"node {kernel.node.nid}: driver {driver.name}: no device has ID {driver.device_id:#06x}; the table "
                f"has {known}; take the driver out of kernel.drivers"
            )
        _start(kernel, device, driver)


def _device_id(processor: Processor, device: Device) -> int:
    """The one register that is the same in every device."""
    return processor.core.load(device.base, privileged=True) & ID_MASK


def _start(kernel: Kernel, device: Device, driver: Driver) -> None:
    network = Network(kernel, device, driver)
    parameters = {
        index: kernel.memory.allocate(RegionKind.KERNEL, PARAMETER_BYTES, f"{device.name}.parameters{index}")
        for index in range(len(kernel.processors))
    }
    services = Services(
        (
            Service(
                1, SERVICE_CONTEXT_EVENT, lambda index, *_: network.context_event(index), "Events of a context arrived."
            ),
            Service(
                2,
                SERVICE_VIOLATION,
                lambda *refusal: kernel.violations.refused(network, *refusal),
                "The device refused something.",
            ),
        )
    )
    windows = _windows(kernel, device, parameters)
    manifest = Manifest(
        name=f"{driver.name}.driver",
        trust=Trust.TRUSTED,
        attach=(Attachment(kernel.interrupt_event(device), "interrupt"),),
        budget=driver.budget,
        windows=tuple(WindowWish(window.name, window.rights) for window in windows),
    )
    extension = kernel.extensions.insert_driver(
        driver.build(device.base, services.symbols()), manifest, windows, services
    )
    # In the order of `init`.
    times_us = (kernel.response_timeout_us, LOG_INTERVAL_US, kernel.interrupt_interval_us)
    network.start(extension, parameters, *(device_cycles(time_us, device.clock_period_ps) for time_us in times_us))
    kernel.network = network


def _windows(kernel: Kernel, device: Device, parameters: dict[int, Region]) -> list[Window]:
    """All registers of the device, and the records that kernel and driver exchange."""
    registers = kernel.extensions.registers(device.base, privileged=True)
    windows = [Window(device.name, device.base, device.length_bytes, READ_WRITE, registers, REGISTER_WIDTHS)]
    for region in parameters.values():
        memory = kernel.extensions.memory(region.base, region.length_bytes, shared=False)
        windows.append(Window(region.name, region.base, region.length_bytes, READ_WRITE, memory))
    return windows
