"""The encoding against bytes written by hand from RFC 9669, section 3, and what the table refuses."""

from __future__ import annotations

import pytest

from nimble.isa import TABLE, Instruction, InstructionError, decode, encode, operation_of, wide_immediate

# Fields in the RFC's order: opcode, src and dst nibbles, offset, imm; little-endian.
ENCODED = [
    ("07 01 00 00 44 33 22 11", "add", Instruction(0x07, 1, 0, 0, 0x11223344)),
    ("0f 21 00 00 00 00 00 00", "add", Instruction(0x0F, 1, 2)),
    ("3f 21 01 00 00 00 00 00", "sdiv", Instruction(0x3F, 1, 2, 1)),
    ("bf 21 20 00 00 00 00 00", "movsx3264", Instruction(0xBF, 1, 2, 32)),
    ("d7 03 00 00 10 00 00 00", "bswap16", Instruction(0xD7, 3, 0, 0, 16)),
    ("dc 03 00 00 40 00 00 00", "be64", Instruction(0xDC, 3, 0, 0, 64)),
    ("79 a6 f8 ff 00 00 00 00", "ldxdw", Instruction(0x79, 6, 10, -8)),
    ("91 21 04 00 00 00 00 00", "ldxsb", Instruction(0x91, 1, 2, 4)),
    ("62 0a fc ff fe ff ff ff", "stw", Instruction(0x62, 10, 0, -4, -2)),
    ("63 2a fc ff 00 00 00 00", "stxw", Instruction(0x63, 10, 2, -4)),
    ("db 21 08 00 f1 00 00 00", "lock cmpxchg", Instruction(0xDB, 1, 2, 8, 0xF1)),
    ("c3 21 08 00 a1 00 00 00", "lock fetch_xor32", Instruction(0xC3, 1, 2, 8, 0xA1)),
    ("05 00 ff 7f 00 00 00 00", "ja", Instruction(0x05, 0, 0, 0x7FFF)),
    ("06 00 00 00 00 00 00 80", "gotol", Instruction(0x06, 0, 0, 0, -(1 << 31))),
    ("c6 01 02 00 ff ff ff ff", "jslt32", Instruction(0xC6, 1, 0, 2, -1)),
    ("85 00 00 00 05 00 00 00", "call", Instruction(0x85, 0, 0, 0, 5)),
    ("85 10 00 00 fd ff ff ff", "call local", Instruction(0x85, 0, 1, 0, -3)),
    ("95 00 00 00 00 00 00 00", "exit", Instruction(0x95)),
]


@pytest.mark.parametrize(("text", "mnemonic", "instruction"), ENCODED)
def test_hand_worked_bytes(text: str, mnemonic: str, instruction: Instruction) -> None:
    assert instruction.encode().hex(" ") == text
    assert Instruction.decode(bytes.fromhex(text)) == instruction
    assert operation_of(instruction).mnemonic == mnemonic


def test_wide_takes_two_slots() -> None:
    slots = decode(bytes.fromhex("18 07 00 00 88 77 66 f5 00 00 00 00 44 33 22 f1"))
    assert wide_immediate(*slots) == 0xF1223344_F5667788
    assert encode(slots).hex() == "1807000088776" + "6f50000000044" + "3322f1"


def test_no_two_rows_share_an_encoding_or_text() -> None:
    assert len({(row.opcode, row.fixed) for row in TABLE}) == len(TABLE)
    texts = {(row.mnemonic, row.operands) for row in TABLE}
    assert len(texts) == len(TABLE)


REFUSED = [
    ("8d 11 00 00 00 00 00 00", "callx: src: 1; the field is unused and must be 0; clear it"),
    ("20 00 00 00 00 00 00 00", "opcode 0x20: legacy packet access is deprecated by RFC 9669; load from a window"),
    ("50 10 00 00 00 00 00 00", "opcode 0x50: legacy packet access is deprecated by RFC 9669; load from a window"),
    ("00 00 00 00 00 00 00 00", "opcode 0x00: is none of RFC 9669's; 120 opcodes are known; rebuild the program"),
    ("85 20 00 00 05 00 00 00", "call: src: 2 is not one of 0, 1; that form is not supported"),
    ("18 11 00 00 00 00 00 00", "lddw: src: 1 is not one of 0; that form is not supported"),
    ("3f 21 02 00 00 00 00 00", "div: offset: 2 is not one of 0, 1; that form is not supported"),
    ("d4 01 00 00 11 00 00 00", "le16: imm: 17 is not one of 16, 32, 64; that form is not supported"),
    ("db 21 00 00 02 00 00 00", "lock: imm: 2 is not one of 0, 64, 80, 160, 1, 65, 81, 161, 225, 241; that form"),
    ("95 01 00 00 00 00 00 00", "exit: dst: 1; the field is unused and must be 0; clear it"),
    ("07 21 00 00 00 00 00 00", "add: src: 2; the field is unused and must be 0; clear it"),
    ("0f 21 00 00 05 00 00 00", "add: imm: 5; the field is unused and must be 0; clear it"),
    ("87 01 08 00 00 00 00 00", "neg: offset: 8; the field is unused and must be 0; clear it"),
]


@pytest.mark.parametrize(("text", "error"), REFUSED)
def test_refused(text: str, error: str) -> None:
    with pytest.raises(InstructionError) as caught:
        operation_of(Instruction.decode(bytes.fromhex(text)))
    assert str(caught.value).startswith(error)


def test_every_slot_of_random_bytes_is_an_operation_or_refused() -> None:
    for opcode in range(256):
        for src, offset, imm in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 16), (0, 0, 0xF1)):
            instruction = Instruction(opcode, 0, src, offset, imm)
            try:
                row = operation_of(instruction)
            except InstructionError as error:
                assert ";" in str(error)  # noqa: PT017 - both ends are allowed, each is looked at
            else:
                assert row.opcode == opcode


RANGES = [
    (lambda: Instruction(0x100), "opcode: 256 is out of range 0..255; it would not fit its slot"),
    (lambda: Instruction(7, 16), "dst: 16 is out of range 0..15"),
    (lambda: Instruction(7, 1, -1), "src: -1 is out of range 0..15"),
    (lambda: Instruction(7, 1, 1, 1 << 15), "offset: 32768 is out of range -32768..32767"),
    (lambda: Instruction(7, 1, 1, 0, 1 << 31), "imm: 2147483648 is out of range -2147483648..2147483647"),
    (lambda: Instruction.decode(b"123"), "slot: 3 bytes; an instruction has 8; give whole slots"),
    (lambda: decode(bytes(12)), "code: 12 bytes is no multiple of 8; the last slot is cut off"),
]


@pytest.mark.parametrize(("make", "error"), RANGES)
def test_fields_fit_their_slot(make: object, error: str) -> None:
    with pytest.raises(InstructionError) as caught:
        make()  # type: ignore[operator]
    assert str(caught.value).startswith(error)
