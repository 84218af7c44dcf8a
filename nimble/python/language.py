"""The names that an extension's source imports, so that editors, linters and type checkers understand it.

The compiler reads the source's text and never runs it; nothing here does anything. What each name means is said in
``nimble.python``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeAlias, TypeVar

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])

u8: TypeAlias = int
u16: TypeAlias = int
u32: TypeAlias = int
u64: TypeAlias = int
i8: TypeAlias = int
i16: TypeAlias = int
i32: TypeAlias = int
i64: TypeAlias = int

_UNSET: Any = object()


class Pointer(Generic[T]):
    """An address of elements of type T."""

    def __init__(self, address: int | Pointer[Any] = 0) -> None:
        pass

    def __getitem__(self, index: int) -> T:
        raise NotImplementedError("an extension's source is compiled, not run; use nimble.python.compile_file")

    def __setitem__(self, index: int, value: T) -> None:
        raise NotImplementedError("an extension's source is compiled, not run; use nimble.python.compile_file")

    def __add__(self, elements: int) -> Pointer[T]:
        return self

    def __sub__(self, elements: int) -> Pointer[T]:
        return self

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(name)


class Array(Pointer[T]):
    """Elements of type T in memory of the extension's own; the length stands in ``array(T, length)``."""


def array(element: type[T], length: int) -> type[Array[T]]:
    """``length`` elements, for ``state``, ``local`` and a struct's members."""
    return Array


def state(kind: type[T], initial: Any = _UNSET, **members: int) -> T:
    """A variable in the extension's own memory, zero or ``initial`` at insertion."""
    return _UNSET


def local(kind: type[T]) -> T:
    """An array or struct on the stack of the running function, zero at first."""
    return _UNSET


def device(name: str) -> Any:
    """The registers of a device that the compiler is told of."""
    return _UNSET


def parameter(default: int = _UNSET) -> Any:
    """A constant that the compiler is given under the name it is assigned to."""
    return _UNSET


def entry(function: F) -> F:
    """The function is an entry point of the program."""
    return function


def service(function: F) -> F:
    """The signature of a service of the kernel; its body is ``...``."""
    return function


def noinline(function: F) -> F:
    """The function is always called, never merged into its caller."""
    return function


def struct(layout: Any) -> Any:
    """The class is a record in memory; ``@struct("NAME")`` takes offsets from the constants ``NAME.MEMBER``."""
    return layout if isinstance(layout, type) else lambda made: made


def manifest(**keys: Any) -> None:
    """What the extension asks for; the keys are those of ``nimble.manifest``."""


def barrier() -> None:
    """All stores above are made before it, none below, and no load is taken from before."""


def byte_swap(value: int) -> int:
    """The bytes of a u16, u32 or u64 in reverse order."""
    return value


def address_of(place: T) -> Pointer[T]:
    """The address of a variable of state, an element or a member."""
    return Pointer()


def offset_of(place: object) -> int:
    """The byte offset of a device's register or array from the device's base."""
    return 0


def size_of(kind: object) -> int:
    """The size of a type in bytes."""
    return 0


def _atomic(place: Pointer[int], value: int) -> int:
    """Change what is at ``place`` in one step; the value before."""
    return value


atomic_add = atomic_and = atomic_or = atomic_xor = atomic_exchange = _atomic


def atomic_compare_exchange(place: Pointer[int], expected: int, value: int) -> int:
    """Store ``value`` if ``expected`` is there, in one step; the value before."""
    return value
