"""Register maps against addresses and bit positions worked by hand from rtl/nic/nic.rdl."""

from pathlib import Path

import pytest

from rtl.devices import DEVICES, NIC_BASE, Device, symbols
from rtl.registers import RegisterMapError, load, load_file

NIC = load("nic", CONTEXTS=4, WINDOWS=3)

# 16 KiB for the kernel's own, then 512 bytes per context, of which windows take 32 each from 64 on; then 64 KiB pages.
ADDRESSES = [
    ("ID", 0x0),
    ("NODE_ID", 0x10),
    ("INT_STATUS", 0x18),
    ("CAPABILITIES_MATCHING", 0x28),
    ("VIOLATION_LOG.DETAIL", 0x48),
    ("PACKET_LOG.LOST", 0xA0),
    ("PACKETS_SENT", 0x100),
    ("MEMORY_ERROR", 0x188),
    ("CONTEXT[0].CONTROL", 0x4000),
    ("CONTEXT[1].IDENTITY", 0x4208),
    ("CONTEXT[0].WINDOW[0].BASE", 0x4040),
    ("CONTEXT[2].WINDOW[1].RIGHTS", 0x4400 + 0x40 + 0x20 + 0x10),
    ("CONTEXT[3].WINDOW[2].LENGTH", 0x4600 + 0x40 + 0x40 + 0x08),
    ("PAGE[0].COMMAND_TAIL", 0x10000),
    ("PAGE[3].EVENT_HEAD", 0x40010),
]

SYMBOLS = {
    "NIC.INT_STATUS": 0x18,
    "NIC.INT_STATUS.VIOLATION_LSB": 63,
    "NIC.INT_STATUS.VIOLATION_WIDTH": 1,
    "NIC.INT_STATUS.VIOLATION_MASK": 1 << 63,
    "NIC.INT_STATUS.CONTEXT_WIDTH": 4,
    "NIC.INT_STATUS.CONTEXT_MASK": 0xF,
    "NIC.CONTEXT": 0x4000,
    "NIC.CONTEXT_STRIDE": 0x200,
    "NIC.CONTEXT_COUNT": 4,
    "NIC.CONTEXT.CONTROL": 0,
    "NIC.CONTEXT.IDENTITY": 8,
    "NIC.CONTEXT.IDENTITY.JID_LSB": 32,
    "NIC.CONTEXT.IDENTITY.JID_MASK": 0xFFFF_FFFF_0000_0000,
    "NIC.CONTEXT.WINDOW": 0x40,
    "NIC.CONTEXT.WINDOW_STRIDE": 0x20,
    "NIC.CONTEXT.WINDOW_COUNT": 3,
    "NIC.CONTEXT.WINDOW.BASE": 0,
    "NIC.CONTEXT.WINDOW.RIGHTS": 0x10,
    "NIC.CONTEXT.WINDOW.RIGHTS.REMOTE_WRITE_MASK": 8,
    "NIC.PAGE": 0x10000,
    "NIC.PAGE_STRIDE": 0x10000,
    "NIC.PAGE.COMMAND_TAIL": 0,
    "NIC.PAGE.EVENT_TAIL": 0x18,
    "NIC.MEMORY_ERROR": 0x188,
}


@pytest.mark.parametrize(("path", "address"), ADDRESSES)
def test_addresses(path: str, address: int) -> None:
    assert NIC.address(path) == address
    assert NIC.register(path).path == path


def test_symbols() -> None:
    symbols = NIC.symbols()
    assert {name: symbols.get(name) for name in SYMBOLS} == SYMBOLS


def test_every_register_is_reached_by_its_symbols() -> None:
    """Every path, taken apart, gives the address again: base of each array + index * stride + offset."""
    symbols = NIC.symbols()
    for register in NIC.registers:
        name, address = "NIC", 0
        for part in register.path.split("."):
            element, _, index = part.partition("[")
            name = f"{name}.{element}"
            address += symbols[name]
            if index:
                address += int(index.rstrip("]")) * symbols[f"{name}_STRIDE"]
        assert address == register.address


def test_everything_on_the_kernels_page_is_privileged_and_nothing_on_a_context_page() -> None:
    for register in NIC.registers:
        assert register.privileged == (register.address < 0x10000), register.path


def test_checked_registers_are_those_whose_values_the_nic_judges() -> None:
    checked = {
        register.path.partition("[")[0] + register.path.partition("]")[2]
        for register in NIC.registers
        if register.checked
    }
    assert checked == {
        "NODE_ID", "PAGE.COMMAND_TAIL", "PAGE.EVENT_HEAD", "PACKET_LOG.ACKNOWLEDGE", "VIOLATION_LOG.ACKNOWLEDGE",
    }  # fmt: skip


def test_fields() -> None:
    identity = NIC.register("ID")
    assert identity.field("device").reset == 0x4E49
    assert (identity.field("device").lsb, identity.field("device").width) == (0, 16)
    assert (identity.field("version").lsb, identity.field("version").mask) == (16, 0xFFFF_0000)
    assert not identity.writable
    status = NIC.register("INT_STATUS").field("context")
    assert (status.software, status.hardware, status.hwset, status.woclr, status.width) == ("rw", "w", True, True, 4)
    with pytest.raises(RegisterMapError, match=r"^ID: no field 'maker'; there are device, version$"):
        identity.field("maker")


def test_counters_have_names_descriptions_and_units() -> None:
    counters = NIC.counters()
    assert len(counters) == 20
    assert [counter.address for counter in counters] == list(range(0x100, 0x1A0, 8))
    assert (counters[0].name, counters[0].unit) == ("nic.packets_sent", "packets")
    assert (counters[17].name, counters[17].unit) == ("nic.memory_error", "accesses")
    assert all(counter.description and counter.unit for counter in counters)
    assert len({counter.description for counter in counters}) == 20


@pytest.mark.parametrize(("contexts", "windows", "size_bytes"), [(1, 1, 0x20000), (4, 3, 0x50000), (62, 14, 0x3F0000)])
def test_size_follows_the_contexts_and_fits_the_device_table(contexts: int, windows: int, size_bytes: int) -> None:
    nic = load("nic", CONTEXTS=contexts, WINDOWS=windows)
    assert nic.size_bytes == size_bytes
    assert nic.registers[-1].address + 8 <= nic.size_bytes <= DEVICES[0].length_bytes


def test_the_same_arguments_give_the_same_map() -> None:
    assert load("nic", WINDOWS=3, CONTEXTS=4) is NIC
    assert load("nic", CONTEXTS=4, WINDOWS=2) is not NIC


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"CONTEXTS": 0}, r"nic\.rdl: line \d+: Array dimension must be greater than zero"),
        ({"PORTS": 1}, r"nic\.rdl: Elaboration top does not have a parameter 'PORTS'"),
        ({"CONTEXTS": 64}, r"Field 'violation\[63:63\]' overlaps with field 'context\[63:0\]'"),
        ({"WINDOWS": 15}, r"nic\.rdl: line \d+: .*"),
    ],
)
def test_impossible_parameters_are_refused(parameters: dict[str, int], text: str) -> None:
    with pytest.raises(RegisterMapError, match=text):
        load("nic", **parameters)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("addrmap a { reg { field { sw = rw; } x[7:0]", r"a\.rdl: line 1: "),
        ("addrmap a { reg { regwidth = 32; field {} x[7:0] = 0; } R @ 0; };", r"^R: 4 bytes at 0x0; a register has 8"),
        ("addrmap a { reg { regwidth = 64; field {} x[7:0]; } R @ 0; };", r"^a\.R\.x: reset None is not a number"),
        (
            "addrmap a { reg { regwidth = 64; field {} x[7:0] = 0; } R[2][3] @ 0; };",
            r"^A\.R: 2 dimensions; an array has one$",
        ),
    ],
)
def test_a_wrong_map_is_refused_with_its_place(source: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.rdl"
    path.write_text(source)
    with pytest.raises(RegisterMapError, match=text):
        load_file(path)


def test_an_unknown_block_is_refused() -> None:
    with pytest.raises(
        RegisterMapError, match=r"^register map 'abacus': no file .*abacus\.rdl; a block's map lies beside it$"
    ):
        load("abacus")


def test_an_unknown_register_is_refused() -> None:
    with pytest.raises(RegisterMapError, match=r"^nic: no register 'CONTEXT\[4\]\.CONTROL'; a path is like "):
        NIC.address("CONTEXT[4].CONTROL")


def test_the_device_table_is_there_as_symbols() -> None:
    assert NIC_BASE == 0xC000_0000
    assert symbols() == {"NIC.BASE": 0xC000_0000, "NIC.LENGTH": 0x40_0000}
    assert not symbols().keys() & NIC.symbols().keys()


@pytest.mark.parametrize(
    ("base", "length_bytes", "text"),
    [
        (0, 0x3000, r"^device d: length_bytes 0x3000 is no power of two$"),
        (0, 0, r"^device d: length_bytes 0x0 is no power of two$"),
        (0x1000, 0x2000, r"^device d: base 0x1000 is no multiple of 0x2000$"),
    ],
)
def test_an_impossible_device_is_refused(base: int, length_bytes: int, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Device(name="d", base=base, length_bytes=length_bytes)
