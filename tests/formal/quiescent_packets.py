"""Property 5, the blocks that packets pass through; see `stillness`."""

from amaranth import Mux

from rtl.nic.parameters import NicParameters
from rtl.nic.target.answers import Answers
from rtl.nic.target.atomic import Atomic
from rtl.nic.target.deliver import Deliver
from rtl.nic.target.match import Match
from rtl.nic.wire.admit import Admit
from rtl.nic.wire.receive import Receive
from rtl.nic.wire.send import Send
from tests.formal.bench import Bench
from tests.formal.stillness import claim_queue_is_bounded, claim_queue_settles, still
from tests.formal.theorems import SMALL, Bug, theorem


@theorem(
    5,
    "Match",
    bugs=(
        Bug(
            function="rtl.nic.target.match:Match.elaborate",
            old="*(request for _, request in requests), sweep.dirty)",
            new="*(request for _, request in requests[1:]), sweep.dirty)",
        ),
    ),
)
def match() -> Bench:
    """Quiescence of the match unit."""
    bench = still(block := Match(SMALL))
    bench.always(~block._stale | bench.register("marked", "sweep").any(), "what outlived its context is swept")
    reporting = bench.in_state("commands", "Report", "commands")
    bench.always(~bench.register("left", "commands", "reports").any() | reporting, "only what reports has reports left")
    return bench


@theorem(
    5,
    "Deliver",
    bugs=(
        Bug(
            function="rtl.nic.target.deliver:Deliver.elaborate",
            old="messages.quiescent & messages.drained & ",
            new="messages.quiescent & ",
        ),
        Bug(
            function="rtl.nic.target.messages:Messages.elaborate",
            old="~packet.valid & deadlines.quiescent",
            new="~packet.valid",
        ),
    ),
    every_width=True,
)
def deliver(parameters: NicParameters = SMALL) -> Bench:
    """Quiescence of the deliverer. Rule: the memory port, quiescent itself, tells of no write's end."""
    bench = still(block := Deliver(parameters))
    bench.rule(~(block.quiescent & block.write.done))
    claim_queue_settles(bench, "completions")
    return bench


@theorem(
    5,
    "Atomic",
    bugs=(
        Bug(
            function="rtl.nic.target.atomic:Atomic.elaborate",
            old="self.quiescent.eq(~request.valid)",
            new="self.quiescent.eq(1)",
        ),
    ),
    every_width=True,
)
def atomic(parameters: NicParameters = SMALL) -> Bench:
    """Quiescence of the atomic unit."""
    return still(Atomic(parameters))


@theorem(
    5,
    "Answers",
    bugs=(
        Bug(
            function="rtl.nic.target.answers:Answers.elaborate",
            old=" & reports.quiescent",
            new="",
        ),
        Bug(
            function="rtl.nic.target.reply_flights:ReplyFlights.elaborate",
            old="self.quiescent.eq(~due)",
            new="self.quiescent.eq(~departures.r_rdy)",
        ),
        Bug(
            function="rtl.nic.target.reply_slots:ReplySlots.elaborate",
            old="settled(turns) & settled(freed)",
            new="settled(turns)",
        ),
    ),
)
def answers() -> Bench:
    """Quiescence of the maker of responses."""
    bench = still(Answers(SMALL))
    for queue in (("slots", "turns"), ("slots", "freed"), ("reports", "ended")):
        claim_queue_is_bounded(bench, *queue)
    return bench


def _send(parameters: NicParameters, *, response: bool) -> Bench:
    bench = still(block := Send(parameters, response=response))
    read, payload = block.read, bench.part("ahead", "payload")
    unsent = bench.register("unsent", "ahead")
    flits = (read.bytes + (parameters.datapath_bytes - 1)) // parameters.datapath_bytes
    owed = bench.count("owed", up=Mux(read.valid & read.ready, flits, 0), down=read.data_valid)
    bench.rule(~read.data_valid | owed.any())
    bench.always(unsent == owed + payload.level, "what is not sent is on its way or here")
    bench.always(unsent <= bench.part("ahead").depth, "nothing is asked for that has no room")
    for queue in (("heads",), ("tags",), ("ahead", "payload")):
        claim_queue_is_bounded(bench, *queue)
    for queue in (("tags",), ("ahead", "payload")):
        claim_queue_settles(bench, *queue)
    tags = bench.part("tags")
    bench.always(~bench.past(tags.w_en & tags.w_rdy) | bench.part("heads").level.any(), "a tag comes with a head")
    bench.always(~bench.in_state("emit", "Send-CRC") | block.o_flits.valid, "the CRC follows a flit that is out")
    return bench


@theorem(
    5,
    "Send",
    bugs=(
        Bug(function="rtl.nic.wire.send:Send.elaborate", old="| ahead.unsent.any()", new=""),
        Bug(function="rtl.nic.wire.send:Send.elaborate", old="| heads.level.any()", new=""),
    ),
    every_width=True,
)
def send_requests(parameters: NicParameters = SMALL) -> Bench:
    """Quiescence of the sender of requests. Rule: memory gives the flits that it was asked for, and no others."""
    return _send(parameters, response=False)


@theorem(
    5,
    "Send",
    bugs=(Bug(function="rtl.nic.wire.send:Send.elaborate", old="| self.o_flits.valid", new=""),),
    every_width=True,
)
def send_responses(parameters: NicParameters = SMALL) -> Bench:
    """Quiescence of the sender of responses. Rule: as for requests."""
    return _send(parameters, response=True)


@theorem(
    5,
    "Receive",
    bugs=(
        Bug(
            function="rtl.nic.wire.receive:Receive._show",
            old="~(self.i_flits.valid | self.refusal.valid",
            new="~(self.i_flits.valid",
        ),
    ),
    every_width=True,
)
def receive(parameters: NicParameters = SMALL) -> Bench:
    """Quiescence of the receiver."""
    return still(Receive(parameters))


@theorem(
    5,
    "Admit",
    bugs=(
        Bug(
            function="rtl.nic.wire.admit:Admit._decide",
            old="(arriving.valid | admitted.valid) & passage.quiescent",
            new="(arriving.valid | admitted.valid)",
        ),
    ),
    every_width=True,
)
def admit_requests(parameters: NicParameters = SMALL) -> Bench:
    """Quiescence of the admission of requests."""
    return still(Admit(parameters, response=False))


@theorem(
    5,
    "Admit",
    bugs=(
        Bug(
            function="rtl.nic.wire.admit:Passage.elaborate",
            old="idle & self.room & ~self.judged",
            new="self.room & ~self.judged",
        ),
    ),
    every_width=True,
)
def admit_responses(parameters: NicParameters = SMALL) -> Bench:
    """Quiescence of the admission of responses."""
    return still(Admit(parameters, response=True))
