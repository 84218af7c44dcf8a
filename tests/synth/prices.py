"""What the measured costs say of each block, and of each part of the protection: the NIC beside one without it."""

from collections.abc import Mapping

from tests.synth.blocks import BLOCKS, TIMES, VARIANTS
from tests.synth.flow import Cost

NIC = "NIC, their sum"

# By block, and by variant if it is not the whole.
Costs = dict[tuple[str, int | None], Cost]


def block_rows(costs: Costs) -> list[list[str]]:
    """Of each block, in the order of BLOCKS, and of the NIC: area and speed."""
    rows = []
    for block, cost in [*((block, costs.get((block, None))) for block in BLOCKS), (NIC, nic_cost(costs, None))]:
        if cost:
            numbers = (cost.luts, cost.flip_flops, cost.block_rams, cost.multipliers)
            rows.append([block, *map(str, numbers), "" if cost.fmax_mhz is None else f"{cost.fmax_mhz:.0f}"])
    return rows


def nic_cost(costs: Costs, variant: int | None) -> Cost | None:
    """Of all blocks, as often as the NIC has each, and as fast as the slowest; None if one was not measured."""
    without = () if variant is None else VARIANTS[variant].blocks
    found = [
        (TIMES.get(block, 1), costs.get((block, variant if block in without else None)))
        for block in BLOCKS
        if TIMES.get(block, 1)
    ]
    if any(cost is None for _, cost in found):
        return None
    parts = [(times, cost) for times, cost in found if cost is not None]
    speeds = [cost.fmax_mhz for _, cost in parts if cost.fmax_mhz is not None]
    return Cost(
        luts=sum(times * cost.luts for times, cost in parts),
        flip_flops=sum(times * cost.flip_flops for times, cost in parts),
        block_rams=sum(times * cost.block_rams for times, cost in parts),
        multipliers=sum(times * cost.multipliers for times, cost in parts),
        fmax_mhz=min(speeds, default=None),
    )


def price_rows(costs: Costs) -> list[list[str]]:
    """What each part of the protection adds to each block that it is in, and to the longest path there."""
    rows = []
    for index, variant in enumerate(VARIANTS):
        pairs = [(block, costs.get((block, None)), costs.get((block, index))) for block in variant.blocks]
        for block, whole, without in [*pairs, (NIC, nic_cost(costs, None), nic_cost(costs, index))]:
            if whole and without:
                rows.append(
                    [
                        variant.without,
                        block,
                        f"{whole.luts - without.luts:+}",
                        f"{whole.flip_flops - without.flip_flops:+}",
                        f"{whole.block_rams - without.block_rams:+}",
                        "" if whole.path_ns is None or without.path_ns is None
                        else f"{whole.path_ns - without.path_ns:+.1f}",
                    ]
                )  # fmt: skip
    return rows


def clock_rows(costs: Costs) -> list[list[str]]:
    """What each part of the protection adds to the longest path: of the blocks that it is in, and of all placed blocks,
    which is as much as can be said of the NIC's clock. Without rows for which a block was not measured."""
    rows = []
    for index, variant in enumerate(VARIANTS):
        for which, blocks in (("its blocks", variant.blocks), ("all blocks", tuple(BLOCKS))):
            whole = {block: costs.get((block, None)) for block in blocks}
            without = {block: costs.get((block, index if block in variant.blocks else None)) for block in blocks}
            slowest, other = _slowest(whole), _slowest(without)
            if slowest and other:
                cells = (f"{path_ns:.1f} {block}" for path_ns, block in (slowest, other))
                rows.append([variant.without, which, *cells, f"{slowest[0] - other[0]:+.1f}"])
    return rows


def _slowest(costs: Mapping[str, Cost | None]) -> tuple[float, str] | None:
    """The longest path of some blocks and whose it is; None if one was not measured or none has a path."""
    if None in costs.values():
        return None
    paths = [(cost.path_ns, block) for block, cost in costs.items() if cost is not None and cost.path_ns is not None]
    return max(paths, default=None)
