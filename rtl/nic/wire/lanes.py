"""Where the sequence number of each lane of each node lies in memory; sender and receiver count them alike."""

from amaranth import Cat, Value

from rtl.nic.parameters import NicParameters
from rtl.packets import REQUEST

SEQUENCE_WIDTH = REQUEST.fields["sequence"].width


class Lanes:
    """The lanes of one class: each context's requests have their own, all responses of a node share one.

    Rows of a node stand side by side, as many as make a power of two.
    """

    def __init__(self, parameters: NicParameters, *, response: bool) -> None:
        per_node = 1 if response else parameters.contexts
        self._lane_bits = (per_node - 1).bit_length()
        self.rows = ((parameters.nodes - 1) << self._lane_bits) + per_node

    def row(self, node: Value, lane: Value) -> Value:
        """Of a `lane` and a `node` that exist; as wide as `node` allows, so the upper bits are zero."""
        return Cat(lane[: self._lane_bits], node)
