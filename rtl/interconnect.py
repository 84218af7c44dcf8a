"""Joins the cores of a node to its devices: AXI4-Lite, one transaction at a time in each direction.

Reads and writes are independent. Managers are served in turn, so that none waits for more than one transaction of each
of the others. An address that no device has is answered DECERR. `prot` passes unchanged: it is the devices that judge.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.axi import AxiLite, Response
from rtl.nic.arbitration import next_in_turn

ADDRESS_WIDTH = 32


class AxiLiteInterconnect(wiring.Component):
    """`managers` In(AxiLite).array; `devices.NAME` Out(AxiLite) for every name of `map`; `quiescent`.

    `map` gives (base, size) in bytes: a power of two and a multiple of it; a device sees offsets from its base.
    ValueError if that is not so or if two devices overlap. `quiescent`: with the inputs still, a clock edge would
    change nothing.
    """

    def __init__(self, *, managers: int, map: Mapping[str, tuple[int, int]]) -> None:
        _check(managers, map)
        self._map = dict(map)
        bus = AxiLite(address_width=ADDRESS_WIDTH)
        super().__init__(
            {
                "managers": In(bus).array(managers),
                "devices": Out(wiring.Signature({name: Out(bus) for name in map})),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        reading = self._elaborate_reads(m)
        writing = self._elaborate_writes(m)
        requests = [request for bus in self.managers for request in (bus.arvalid, bus.awvalid)]
        m.d.comb += self.quiescent.eq(~Cat(reading, writing, *requests).any())
        return m

    def _elaborate_reads(self, m: Module) -> Value:
        managers = self.managers
        answer = [Signal.like(managers[0].rdata), Signal.like(managers[0].rresp), Signal()]
        data, response, valid = answer
        taken = Signal()
        request = _Request(
            m, "read", self._map, [(bus.arvalid, bus.araddr, bus.arprot, bus.arready) for bus in managers]
        )
        with m.If(request.nobody):
            m.d.comb += [valid.eq(1), response.eq(Response.DECERR)]
        for index, name in enumerate(self._map):
            device = getattr(self.devices, name)
            m.d.comb += [
                device.arvalid.eq(request.pending & request.device[index]),
                device.araddr.eq(request.address & (self._map[name][1] - 1)),
                device.arprot.eq(request.prot),
            ]
            with m.If(request.busy & request.device[index]):
                m.d.comb += [data.eq(device.rdata), response.eq(device.rresp), valid.eq(device.rvalid)]
                m.d.comb += device.rready.eq(taken)
                with m.If(device.arready):
                    m.d.sync += request.pending.eq(0)
        for index, bus in enumerate(managers):
            m.d.comb += [bus.rdata.eq(data), bus.rresp.eq(response)]
            with m.If(request.busy & (request.owner == index)):
                m.d.comb += [bus.rvalid.eq(valid), taken.eq(bus.rready)]
        with m.If(valid & taken):
            m.d.sync += request.busy.eq(0)
        return request.busy

    def _elaborate_writes(self, m: Module) -> Value:
        managers = self.managers
        response, valid = Signal.like(managers[0].bresp), Signal()
        word, strobe, word_valid = Signal.like(managers[0].wdata), Signal.like(managers[0].wstrb), Signal()
        word_ready, word_taken, taken = Signal(), Signal(), Signal()
        request = _Request(
            m, "write", self._map, [(bus.awvalid, bus.awaddr, bus.awprot, bus.awready) for bus in managers]
        )
        with m.If(request.nobody):
            m.d.comb += [word_ready.eq(~word_taken), valid.eq(word_taken), response.eq(Response.DECERR)]
        for index, name in enumerate(self._map):
            device = getattr(self.devices, name)
            m.d.comb += [
                device.awvalid.eq(request.pending & request.device[index]),
                device.awaddr.eq(request.address & (self._map[name][1] - 1)),
                device.awprot.eq(request.prot),
                device.wdata.eq(word),
                device.wstrb.eq(strobe),
            ]
            with m.If(request.busy & request.device[index]):
                m.d.comb += [device.wvalid.eq(word_valid & ~word_taken), word_ready.eq(device.wready & ~word_taken)]
                m.d.comb += [response.eq(device.bresp), valid.eq(device.bvalid), device.bready.eq(taken)]
                with m.If(device.awready):
                    m.d.sync += request.pending.eq(0)
        for index, bus in enumerate(managers):
            m.d.comb += bus.bresp.eq(response)
            with m.If(request.busy & (request.owner == index)):
                m.d.comb += [word.eq(bus.wdata), strobe.eq(bus.wstrb), word_valid.eq(bus.wvalid)]
                m.d.comb += [bus.wready.eq(word_ready), bus.bvalid.eq(valid), taken.eq(bus.bready)]
        with m.If(word_valid & word_ready):
            m.d.sync += word_taken.eq(1)
        with m.If(valid & taken):
            m.d.sync += [request.busy.eq(0), word_taken.eq(0)]
        return request.busy


class _Request:
    """Takes one address at a time from the channels (valid, address, prot, ready), in turn, and decodes it.

    `busy` from the cycle after an address is taken until the user clears it; `pending` until the user, having handed
    the address to the device, clears it; `device` has the bit of the device, `nobody` is high when there is none;
    `owner` is the channel.
    """

    def __init__(
        self, m: Module, name: str, map: Mapping[str, tuple[int, int]], channels: Sequence[tuple[Any, Any, Any, Any]]
    ) -> None:
        self.busy = Signal(name=f"{name}_busy")
        self.pending = Signal(name=f"{name}_pending")
        self.owner = Signal(range(max(len(channels), 2)), name=f"{name}_owner")
        self.address = Signal(ADDRESS_WIDTH, name=f"{name}_address")
        self.prot = Signal(3, name=f"{name}_prot")
        self.device = Signal(len(map), name=f"{name}_device")
        self.nobody = Signal(name=f"{name}_nobody")
        m.d.comb += self.nobody.eq(self.busy & ~self.device.any())
        waiting = Signal(len(channels), name=f"{name}_waiting")
        m.d.comb += waiting.eq(Cat(valid for valid, _, _, _ in channels))
        with m.If(~self.busy & waiting.any()):
            chosen = next_in_turn(m, waiting, self.owner)
            for index, (_, address, prot, ready) in enumerate(channels):
                with m.If(chosen == index):
                    m.d.comb += ready.eq(1)
                    m.d.sync += [self.owner.eq(index), self.address.eq(address), self.prot.eq(prot)]
                    m.d.sync += self.device.eq(Cat(_contains(range_, address) for range_ in map.values()))
                    m.d.sync += [self.busy.eq(1), self.pending.eq(1)]


def _contains(range_: tuple[int, int], address: Value) -> Value:
    base, size = range_
    size_bits = size.bit_length() - 1
    return address[size_bits:] == base >> size_bits


def _check(managers: int, map: Mapping[str, tuple[int, int]]) -> None:
    if managers < 1:
        raise ValueError(f"interconnect.managers: {managers} is out of range; there is at least 1")
    if not map:
        raise ValueError("interconnect.map: no device; name at least one")
    end, before = 0, ""
    for name, (base, size) in sorted(map.items(), key=lambda item: item[1]):
        if size < 8 or size & (size - 1) or base % size or not 0 <= base <= (1 << ADDRESS_WIDTH) - size:
            raise ValueError(
                f"interconnect.map.{name}: base {base:#x}, size {size:#x}; a size is a power of two, at least 8 bytes, "
                f"a base a multiple of it, and both lie within {ADDRESS_WIDTH} address bits"
            )
        if base < end:
            raise ValueError(f"interconnect.map.{name}: base {base:#x} lies inside {before}, which ends at {end:#x}")
        end, before = base + size, name
