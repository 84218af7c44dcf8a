"""What is measured: each block of the NIC by itself, and some of them without parts of its protection."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from rtl.nic.context.drain import Drain
from rtl.nic.context.events import Events
from rtl.nic.context.indices import Contexts
from rtl.nic.context.tallies import Tallies
from rtl.nic.host.port import MemoryPort
from rtl.nic.host.window import WindowCheck
from rtl.nic.initiator.collect import Collect
from rtl.nic.initiator.fetch import Fetch
from rtl.nic.initiator.issue import Issue
from rtl.nic.initiator.outstanding import Outstanding
from rtl.nic.parameters import NicParameters
from rtl.nic.refusal_log import Refusals
from rtl.nic.target.answers import Answers
from rtl.nic.target.atomic import Atomic
from rtl.nic.target.deliver import Deliver
from rtl.nic.target.match import Match
from rtl.nic.wire.admit import Admit
from rtl.nic.wire.receive import Receive
from rtl.nic.wire.send import Send
from rtl.nic.wire.stamp import Stamp
from tests.formal.banks import outputs_of, register_bank
from tests.formal.theorems import Bug
from tests.synth.flow import Ported

Make = Callable[[NicParameters], Any]


def _registers(parameters: NicParameters) -> Ported:
    bank, inputs = register_bank(parameters)
    return Ported(design=bank, ports=[*inputs, *outputs_of(bank)])


# As the NIC has them; `requests` and `responses` differ in little, so one of each pair stands for both.
BLOCKS: dict[str, Make] = {
    "contexts": Contexts,
    "events": lambda parameters: Events(parameters, sources=5, reservers=5),
    "tallies": Tallies,
    "drain": lambda parameters: Drain(parameters, engines=7),
    "memory port": lambda parameters: MemoryPort(parameters, readers=4, writers=4),
    "window check": WindowCheck,
    "fetch": Fetch,
    "issue": Issue,
    "outstanding": Outstanding,
    "collect": Collect,
    "match": Match,
    "deliver": Deliver,
    "atomic": Atomic,
    "answers": Answers,
    "stamp": lambda parameters: Stamp(parameters, response=False),
    "send": lambda parameters: Send(parameters, response=False),
    "receive": Receive,
    "admit": lambda parameters: Admit(parameters, response=False),
    "registers": _registers,
    "refusals": lambda parameters: Refusals(parameters, process_sources=2, packet_sources=6),
}
# How often the NIC has each, if not once; it has nothing else but wires, so it is as large as all of them. Those that
# it does not have are parts of others.
TIMES = {"send": 2, "receive": 2, "admit": 2, "stamp": 0, "window check": 0}
# They are begun first, so that nobody waits for one of them alone at the end.
LONGEST = ("issue", "answers", "deliver", "match", "events", "fetch", "contexts", "collect", "memory port")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The NIC without a part of its protection, for comparison: no product, a process could lie in it.

    `blocks` are those that the part is in.
    """

    without: str
    blocks: tuple[str, ...]
    changes: tuple[Bug, ...]

    @contextmanager
    def built(self) -> Iterator[None]:
        """What is elaborated meanwhile does without."""
        with ExitStack() as stack:
            for change in self.changes:
                stack.enter_context(change.seeded())
            yield


_ANY_JOB = Bug(
    function="rtl.nic.wire.admit:Admit._find_context",
    old="(pid == header.dst_pid), jid == header.jid",
    new="(pid == header.dst_pid), jid == jid",
)
_ANY_SEQUENCE = Bug(
    function="rtl.nic.wire.admit:SequenceCheck.elaborate",
    old="self.fresh.eq(~ahead[-1])",
    new="self.fresh.eq(1)",
)
_ANY_RANGE = (
    # The window's base is still added to the offset.
    Bug(
        function="rtl.nic.host.window:WindowCheck.elaborate",
        old="exists & (end <= size_bytes) & ~self.offset[ADDRESS_WIDTH:].any()",
        new="1",
    ),
    Bug(
        function="rtl.nic.host.window:WindowCheck._selected",
        old="return select(of_contexts, self.context)",
        new="return Value.cast(1) if member in RIGHTS else select(of_contexts, self.context)",
    ),
)
_WIRE = ("send", "admit")
_MEMORY = ("window check", "issue", "collect", "deliver", "answers")


def _header(trusted: str) -> Bug:
    """The words of a packet that the stamp writes are others."""
    return Bug(
        function="rtl.nic.wire.send:Send._head_flits", old="zip(TRUSTED_WORDS, stamp.trusted, strict=True)", new=trusted
    )


VARIANTS = (
    Variant(
        without="stamped identity, admission by job",
        blocks=_WIRE,
        # Where the kernel's registers went a word of the command goes, which software would have to fill in.
        changes=(_header("zip(TRUSTED_WORDS, (job.words[6], stamp.trusted[1]), strict=True)"), _ANY_JOB),
    ),
    Variant(
        without="sequence numbers against replays",
        blocks=_WIRE,
        changes=(_header("zip(TRUSTED_WORDS[:1], stamp.trusted[:1], strict=True)"), _ANY_SEQUENCE),
    ),
    Variant(without="bounds and rights of windows", blocks=_MEMORY, changes=_ANY_RANGE),
    Variant(
        without="all of them",
        blocks=(*_WIRE, *_MEMORY),
        changes=(_header("zip(TRUSTED_WORDS[:1], (job.words[6],), strict=True)"), _ANY_JOB, _ANY_SEQUENCE, *_ANY_RANGE),
    ),
)
