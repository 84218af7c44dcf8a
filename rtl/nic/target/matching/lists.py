"""Singly linked lists in the tables, and what several blocks do with them. All of it is combinational writing."""

from typing import Any

from amaranth import C, Cat, Module, Mux, Value

from rtl.nic.target.matching.tables import EntryState


def append(m: Module, linked: Any, new: Any, index: Value) -> None:
    """`new` is `linked` with `index` at its tail; the old tail's `next` is the caller's to write."""
    m.d.comb += [new.occupied.eq(1), new.tail.eq(index)]
    with m.If(~linked.occupied):
        m.d.comb += new.head.eq(index)


def remove(m: Module, linked: Any, new: Any, index: Value, *, inner: Value, previous: Value, following: Value) -> None:
    """`new` is `linked` without `index`. It follows `previous` if it is `inner`, whose `next` the caller writes; it is
    followed by `following`, which has meaning only if `index` is not the tail."""
    last = linked.tail == index
    with m.If(~inner):
        m.d.comb += [new.occupied.eq(~last), new.head.eq(following)]
    with m.If(last):
        m.d.comb += new.tail.eq(previous)


def begin_write(m: Module, table: Any, index: Any) -> Any:
    """Writes back what was read of `table`; the fields that change are assigned afterwards."""
    m.d.comb += [table.write.eq(1), table.write_index.eq(index), table.write_data.eq(table.data)]
    return table.write_data


def read(m: Module, table: Any, index: Any) -> None:
    """`table.data` is what stands at `index`, from the next cycle on."""
    m.d.comb += [table.read.eq(1), table.index.eq(index)]


def write(m: Module, table: Any, index: Any, value: Any = 0) -> Any:
    """Writes `value` at `index`; returns it as it is being written, for fields to be assigned."""
    m.d.comb += [table.write.eq(1), table.write_index.eq(index), Value.cast(table.write_data).eq(value)]
    return table.write_data


def push_due(m: Module, tables: Any, pool: Any, *, is_entry: int, index: Value) -> None:
    """An event that waits for its place; `pool` is what is being written of `tables.pools`."""
    old = tables.pools.data
    place = (old.due_head + old.due_count)[: len(old.due_head)]
    write(m, tables.dues, place, Cat(C(is_entry, 1), index))
    m.d.comb += pool.due_count.eq(old.due_count + 1)


def frees_entry(tables: Any) -> Value:
    """Whether the match entry in `tables.positions` is held by one header alone."""
    position = tables.positions.data
    return (position.state == EntryState.HELD) & (position.headers == 1)


def unlink_header(m: Module, tables: Any, header: Value, *, inner: Value, previous: Value) -> None:
    """First of two cycles: takes `header` out of its portal table entry's list. Both have been read, `header_next`
    last for `header`."""
    following = tables.header_next.data
    pt_index = tables.headers.data.pt_index
    portal = begin_write(m, tables.portals, pt_index)
    old = tables.portals.data.unexpected
    remove(m, old, portal.unexpected, header, inner=inner, previous=previous, following=following)
    with m.If(inner):
        write(m, tables.header_next, previous, following)


def free_header(m: Module, tables: Any, header: Value, *, keep: Value) -> Any:
    """Second cycle: `header` can be used again, and its match entry counts one less; it becomes free when it was held
    for this header alone, unless told to `keep` it. `positions` and `pools` have been read. Returns the pool, as it
    is being written."""
    old = tables.pools.data
    write(m, tables.header_next, header, old.free_head)
    pool = begin_write(m, tables.pools, 0)
    m.d.comb += [pool.free_head.eq(header), pool.free_count.eq(old.free_count + 1)]
    before = tables.positions.data
    position = begin_write(m, tables.positions, tables.headers.data.entry)
    m.d.comb += [
        position.headers.eq(before.headers - 1),
        position.state.eq(Mux(frees_entry(tables) & ~keep, EntryState.FREE, before.state)),
    ]
    return pool
