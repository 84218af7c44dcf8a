"""The C header for extensions: types, entries, registers as numbers and services as functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from nimble.services import Service

NAME = "nimble.h"
_WORD = re.compile(r"\W", re.ASCII)
_NUMBERS = range(-(1 << 63), 1 << 64)
_KEYWORDS = re.compile(
    "auto|bool|break|case|char|const|continue|default|do|double|else|enum|extern|false|float|for|goto|if|inline|int|"
    "long|register|restrict|return|short|signed|sizeof|static|struct|switch|true|typedef|typeof|union|unsigned|void|"
    "volatile|while|u8|u16|u32|u64|i8|i16|i32|i64|SEC|MANIFEST"
)
_BEGIN = """\
/* Made by nimble: what an extension in C needs. Every global function is an entry. */
#ifndef NIMBLE_H
#define NIMBLE_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef signed char i8;
typedef short i16;
typedef int i32;
typedef long i64;

/* Puts what follows into a section, whose name becomes one of the entry's. */
#define SEC(name) __attribute__((section(name), used))
/* The manifest, as YAML: MANIFEST("name: counter\\nbudget: 1000\\n"); */
#define MANIFEST(text) SEC(".nimble") static const char nimble_manifest[] = text
"""


class HeaderError(ValueError):
    """Names that C cannot tell apart or does not allow."""


def header(symbols: Mapping[str, int], services: Iterable[Service]) -> str:
    """The text of the header. A symbol ``NIC.INT_STATUS`` becomes the macro ``NIC_INT_STATUS``, a service
    ``kernel.wake`` the function ``kernel_wake`` with its declared arguments. Raises HeaderError."""
    names = _Names()
    macros = [f"#define {names.add(name, 'symbol')} {_number(name, value)}" for name, value in symbols.items()]
    functions = [_prototype(service, names.add(service.name, "service")) for service in services]
    return "\n".join([_BEGIN, *macros, "", *functions, "", "#endif"]) + "\n"


class _Names:
    """C's names, and what each was before."""

    def __init__(self) -> None:
        self._origin: dict[str, str] = {}

    def add(self, name: str, kind: str) -> str:
        word = _WORD.sub("_", name)
        if not word or word[0].isdigit() or _KEYWORDS.fullmatch(word):
            raise HeaderError(f"{kind} {name}: is {word or 'nothing'!r} in C, which is no free name; choose another")
        if word in self._origin:
            raise HeaderError(f"{kind} {name}: is {word} in C, as is {self._origin[word]}; rename one")
        self._origin[word] = name
        return word


def _number(name: str, value: int) -> str:
    if value not in _NUMBERS:
        raise HeaderError(f"symbol {name}: {value} does not fit 64 bits; make it smaller")
    if value == _NUMBERS[0]:
        return f"({value + 1}L - 1)"
    return f"({value}L)" if value < 0 else f"0x{value:x}{'UL' if value >> 31 else ''}"


def _prototype(service: Service, word: str) -> str:
    """C's name may differ from the service's, by which the object asks for it."""
    arguments = ", ".join(f"u64 {_WORD.sub('_', argument.name)}" for argument in service.arguments) or "void"
    label = "" if word == service.name else f' __asm__("{service.name}")'
    doc = " ".join(service.doc.split()).replace("*/", "* /")
    return f"/* {doc} */\nextern u64 {word}({arguments}){label};"
