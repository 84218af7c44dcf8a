"""Trusted extensions that drive devices through their registers, and what the kernel says to them."""

from sw.drivers.interface import Driver
from sw.drivers.nic import NIC_DRIVER

DRIVERS: dict[str, Driver] = {driver.name: driver for driver in (NIC_DRIVER,)}
