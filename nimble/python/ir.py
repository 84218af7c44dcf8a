"""LLVM's language as text: functions of numbered values and labels, each instruction with its source line.

Nothing written here is undefined: no wrapping flags, no ``inbounds``. Loads and stores of address 0 are allowed, and
calls of C's library are never invented (eBPF has none).
"""

from __future__ import annotations

from collections.abc import Sequence

# As LLVM sees it, an empty instruction that may read and write all memory.
BARRIER = 'call void asm sideeffect "", "~{memory}"() nounwind'
_ATTRIBUTES = 'nounwind null_pointer_is_valid "no-builtins" "no-jump-tables"="true"'
_FIRST_SCOPE = 5  # metadata nodes 0..4 are the compile unit's


def quoted(name: str) -> str:
    """A global name."""
    return f'@"{name}"'


def escaped(data: bytes) -> str:
    """Bytes as an LLVM string constant."""
    return 'c"' + "".join(f"\\{byte:02X}" for byte in data) + '"'


class Module:
    """The text of one module."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._heads: list[str] = []
        self._functions: list[Function] = []
        self._places: dict[tuple[int, int], int] = {}  # (scope, line) -> metadata number
        self._metadata: list[str] = []

    def declare(self, text: str) -> None:
        """A global variable, alias or declaration."""
        self._heads.append(text)

    def function(
        self, name: str, result: str, parameters: Sequence[str], line: int, *, public: bool, inline: str
    ) -> Function:
        """A function to fill; its parameters are %0, %1 and so on. ``inline`` is an attribute, or nothing."""
        scope = self._node(
            f'distinct !DISubprogram(name: "{name}", scope: !1, file: !1, line: {line}, scopeLine: {line}, type: !4, '
            "spFlags: DISPFlagDefinition | DISPFlagOptimized, unit: !0)"
        )
        linkage = "" if public else "internal "
        attributes = f"{_ATTRIBUTES} {inline}"
        types = ", ".join(parameters)
        head = f"define {linkage}{result} {quoted(name)}({types}) {attributes} !dbg !{scope} {{"
        made = Function(self, head, scope, len(parameters), line)
        self._functions.append(made)
        return made

    def place(self, scope: int, line: int) -> int:
        """The number of the metadata node for a line inside a function."""
        key = (scope, line)
        if key not in self._places:
            self._places[key] = self._node(f"!DILocation(line: {line}, scope: !{scope})")
        return self._places[key]

    def _node(self, text: str) -> int:
        self._metadata.append(text)
        return _FIRST_SCOPE + len(self._metadata) - 1

    def text(self) -> str:
        """All of it."""
        file = "".join(
            c if c.isprintable() and c not in '"\\' and c.isascii() else "".join(f"\\{b:02X}" for b in c.encode())
            for c in self._source
        )
        nodes = [
            "distinct !DICompileUnit(language: DW_LANG_Python, file: !1, isOptimized: true, runtimeVersion: 0, "
            "emissionKind: LineTablesOnly)",
            f'!DIFile(filename: "{file}", directory: "")',
            '!{i32 2, !"Debug Info Version", i32 3}',
            '!{i32 7, !"Dwarf Version", i32 4}',
            "!DISubroutineType(types: !{})",
            *self._metadata,
        ]
        lines = ['target triple = "bpf"', *self._heads]
        for function in self._functions:
            lines += function.lines()
        lines += ["!llvm.dbg.cu = !{!0}", "!llvm.module.flags = !{!2, !3}"]
        lines += [f"!{number} = {node}" for number, node in enumerate(nodes)]
        return "\n".join(lines) + "\n"


class Function:
    """One function while it is written. ``line`` is where the next instructions come from."""

    def __init__(self, module: Module, head: str, scope: int, parameters: int, line: int) -> None:
        self.line = line
        self._module = module
        self._head = head
        self._scope = scope
        self._parameters = parameters
        self._storage: list[str] = []
        self._lines: list[str] = []
        self._values = 0
        self._labels = 0

    def lines(self) -> list[str]:
        return [self._head, "entry:", *self._storage, *self._lines, "}"]

    def do(self, text: str) -> None:
        """An instruction without a value."""
        self._lines.append(f"  {text}, !dbg !{self._module.place(self._scope, self.line)}")

    def make(self, text: str) -> str:
        """An instruction with a value; its operand."""
        self._values += 1
        name = f"%v{self._values}"
        self.do(f"{name} = {text}")
        return name

    def storage(self, kind: str, align: int) -> str:
        """Stack memory of the function; its address."""
        self._values += 1
        name = f"%v{self._values}"
        self._storage.append(f"  {name} = alloca {kind}, align {align}")
        return name

    def label(self) -> str:
        """A new label, to be begun once."""
        self._labels += 1
        return f"l{self._labels}"

    def begin(self, label: str) -> None:
        """What follows stands at ``label``; what came before must have ended in a jump."""
        self._lines.append(f"{label}:")

    def jump(self, label: str) -> None:
        self.do(f"br label %{label}")

    def branch(self, condition: str, taken: str, otherwise: str) -> None:
        self.do(f"br i1 {condition}, label %{taken}, label %{otherwise}")
