"""Property 4, the deliverer: what a request does, it does to the context to which it was admitted, in the life in which
it was admitted.

Packets, and what the match unit answers, are marked with context and life (see `marks`). No mark comes out beside the
number of another context. What was put into a queue comes out of it as it was (`trusted.buffered_queue`).
"""

from typing import Any

from amaranth import C, Cat, Mux, Signal, Value

from rtl.nic.parameters import NicParameters
from rtl.nic.target.complete import Complete
from rtl.nic.target.deliver import Deliver
from rtl.nic.target.finishes import PAYLOAD, Finishes
from rtl.nic.target.messages import Messages
from rtl.nic.target.stages import MATCHED, finish_part, header_part, match_part, payload_part, write_part
from rtl.nic.target.store import Store
from rtl.packets import REQUEST
from rtl.portals import EVENT, Operation
from tests.formal.bench import Bench
from tests.formal.marks import bears_life, hold_mark, is_live
from tests.formal.origin import told_of
from tests.formal.theorems import SMALL, Bug, theorem

FIRST = REQUEST.fields["first"]
MARK_WORD = REQUEST.fields["header_data"].word
EVENT_MARKS = (EVENT.fields["header_data"].word, EVENT.fields["user_data"].word)


def _hold_match(bench: Bench, match: Any) -> Value:
    """The rule of a MatchPort: what it answers is of the context and life that were asked for last, which are
    returned."""
    last = Signal(len(match.context) + len(match.epoch))
    with bench.m.If(match.valid):
        bench.m.d.sync += last.eq(Cat(match.context, match.epoch))
    asked: Value = Mux(match.valid, Cat(match.context, match.epoch), last)
    hold_mark(bench, C(1), match.user_data, asked[: len(match.context)], asked[len(match.context) :])
    return asked


@theorem(
    4,
    "Messages",
    bugs=(
        Bug(
            function="rtl.nic.target.messages:Messages.elaborate",
            old="arrival.context.eq(packet.context)",
            new="arrival.context.eq(0)",
        ),
        Bug(
            function="rtl.nic.target.messages:Messages.elaborate",
            old="ours.eq(live & found_live & (found.context == packet.context))",
            new="ours.eq(live & found_live)",
        ),
        Bug(
            function="rtl.nic.target.messages:Messages.elaborate",
            old="found.under_way & is_live(self.states, found.context, found.epoch)",
            new="found.under_way & is_live(self.states, found.context, packet.epoch)",
        ),
        Bug(
            function="rtl.nic.target.messages:Messages.elaborate",
            old="arrival.context.eq(found.context)",
            new="arrival.context.eq(packet.context)",
        ),
        Bug(
            function="rtl.nic.target.messages:Messages.elaborate",
            old="self.match.context.eq(packet.context)",
            new="self.match.context.eq(0)",
        ),
    ),
)
def messages() -> Bench:
    """An arrival is of the context and the life of its packet, or if a message is abandoned of those of the message;
    and so is the match entry that goes with it, unless the arrival is refused. The match unit is asked for the packet's
    context. Rules: packets hold until they are taken; a life that is over does not come back; what is answered is
    of the context that was asked for."""
    bench = Bench(block := Messages(SMALL))
    packet, match, arrival = block.i_header, block.match, block.o_arrival.payload
    bench.holds(packet.valid, packet.ready, Cat(packet.poisoned, packet.context, packet.epoch, *packet.words))
    hold_mark(bench, packet.valid, packet.words[MARK_WORD], packet.context, packet.epoch)
    bench.rule(packet.context < SMALL.contexts)
    live = is_live(block, packet.context, packet.epoch)
    bench.rule(~bench.past(packet.valid & ~packet.ready & ~live) | ~live)
    asked = _hold_match(bench, match)
    bench.always(~match.valid | packet.valid, "only packets are asked for")
    asked_for = bears_life(match.words[MARK_WORD], match.context, match.epoch)
    bench.always(~match.valid | asked_for, "a packet is asked for as one of its context")
    offered = block.o_arrival.valid
    of_packet = bears_life(arrival.words[MARK_WORD], arrival.context, arrival.epoch)
    bench.always(~offered | arrival.abandoned | of_packet, "the packet's context")
    of_entry = bears_life(arrival.matched.user_data, arrival.context, arrival.epoch)
    bench.always(~offered | arrival.refused | of_entry, "the match entry's")
    words = Cat(*packet.words) == arrival.words.as_value()
    passes = offered & block.o_arrival.ready & ~arrival.abandoned
    bench.always(~passes | words, "words pass unchanged")
    bench.always((packet.valid & packet.ready) == passes, "a packet arrives once")

    bench.stays(match.valid, match.done, Cat(match.context, match.epoch, *match.words), "what is asked for")
    found = bench.part("table")._read_ports[0].data
    _claim_under_way(bench, found, "what was found")
    for slot in range(SMALL.nodes * SMALL.contexts):
        _claim_under_way(bench, type(found)(found.shape(), bench.row(slot, "table")), "what is kept")
    idle = bench.in_state("messages", "Await-Packet")
    expires = bench.in_state("messages", "Abandon-Overdue")
    overdue = bench.in_state("messages", "Judge-Overdue") | expires
    bench.always(idle | overdue | packet.valid, "only a packet or an overdue message is worked on")
    abandoned = bench.in_state("messages", "Await-Abandonment")
    kept = bench.row(arrival.slot, "table")
    bench.always(idle | abandoned | (found.under_way == kept[0]), "what was found is kept")
    is_offered = bench.in_state("walk", "Offer-Place", "deadlines", "walk")
    bench.always(~overdue | is_offered, "an overdue message is offered until it is taken")
    abandons = bench.in_state("messages", "Abandon-Message") | expires
    bench.always(~abandons | found.under_way, "only a message under way is abandoned")
    begins = packet.words[FIRST.word][FIRST.lsb] & ~arrival.cut_short
    awaits, hands_over = bench.in_state("messages", "Await-Match"), bench.in_state("messages", "Hand-Over")
    needs_entry = awaits | (hands_over & begins & live)
    bench.always(~needs_entry | (asked == Cat(packet.context, packet.epoch)), "what is awaited is the packet's")
    return bench


def _claim_under_way(bench: Bench, message: Any, what: str) -> None:
    entry = bears_life(message.matched.user_data, message.context, message.epoch)
    bench.always(~message.under_way | entry, f"{what} of a message is of its context and life")


@theorem(
    4,
    "Store",
    bugs=(
        Bug(
            function="rtl.nic.target.store:Store.elaborate",
            old="completion.arrival.eq(arrival)",
            new="completion.arrival.eq(coming)",
        ),
        Bug(
            function="rtl.nic.target.store:Store._measure",
            old="untaken.eq(Mux(coming.abandoned, 0, flits))",
            new="untaken.eq(flits)",
        ),
        Bug(
            function="rtl.nic.target.store:Store.elaborate",
            old="write.data_valid.eq(payload.data_valid & unwritten.any())",
            new="write.data_valid.eq(payload.data_valid)",
        ),
        Bug(
            function="rtl.nic.target.store:Store.elaborate",
            old="stored.eq((requested | write.ready) & (~unwritten.any() |",
            new="stored.eq((requested | write.ready) & (1 |",
        ),
    ),
    every_width=True,
)
def store(parameters: NicParameters = SMALL) -> Bench:
    """Each arrival is passed on as it came, and takes the payload of its own packet and of no other. What is written of
    it are its first flits, as many as its write has. Rules: a packet has no more payload than is allowed; room for a
    completion stays until one comes."""
    bench = Bench(block := Store(parameters))
    m, coming, completion = bench.m, block.i_arrival.payload, block.o_completion
    arrives, completes = (one.valid & one.ready for one in (block.i_arrival, completion))
    bench.rule(~block.i_arrival.valid | (header(coming, "payload_bytes") <= parameters.mtu_bytes))
    bench.rule(~bench.past(completion.ready & ~completion.valid) | completion.ready)
    last, pending = Signal(coming.shape()), Signal()
    with m.If(arrives):
        m.d.sync += [last.eq(coming), pending.eq(1)]
    with m.Elif(completes):
        m.d.sync += pending.eq(0)
    idle, stores = bench.in_state("store", "Await-Arrival"), bench.in_state("store", "Store-Payload")
    judges, gathers = bench.in_state("store", "Judge"), bench.in_state("store", "Gather-Operands")
    bench.always(~completion.valid | (pending & completion.ready), "an arrival is passed on once")
    bench.always(~arrives | ~pending, "before the next one is taken")
    bench.always(pending == (judges | gathers), "when it was judged or its operands have come")
    bench.always(~(judges | gathers) | completion.ready, "there is room for it")
    kept = bench.register("arrival")
    bench.always(kept == last.as_value(), "it is kept")
    passed = completion.payload.arrival
    for name, _ in coming.shape():
        if name != "matched":
            bench.always(~completion.valid | (Value.cast(passed[name]) == Value.cast(last[name])), f"its {name}")
    for name, _ in MATCHED:
        if name != "bytes":
            bench.always(~completion.valid | (passed.matched[name] == last.matched[name]), f"its match's {name}")
    brought = header(last, "payload_bytes")
    is_put = header(last, "kind") == Operation.PUT
    bench.always(brought <= parameters.mtu_bytes, "no packet brings more than is allowed")
    puts = (judges & is_put) | stores
    bench.always(~puts | (bench.part("window").bytes <= brought), "no put is longer than what its packet brought")
    untaken = bench.register("untaken")
    due = Mux(last.abandoned, 0, _flits(parameters, brought))
    bench.always(~judges | (untaken == due), "no payload is taken before")
    _claim_payload(parameters, bench, block, arrives=arrives, idle=idle, stores=stores)
    return bench


def _claim_payload(
    parameters: NicParameters, bench: Bench, block: Any, *, arrives: Value, idle: Value, stores: Value
) -> None:
    """Flits are counted, those that are taken from the packets and those that are written."""
    m, coming, write, payload = bench.m, block.i_arrival.payload, block.write, block.payload
    takes, writes = payload.data_valid & payload.data_ready, write.data_valid & write.data_ready
    owed, unwritten = Signal(8), Signal(8)
    asked = Mux(write.valid & write.ready, _flits(parameters, write.bytes), 0)
    m.d.sync += [owed.eq(owed - takes), unwritten.eq(unwritten + asked - writes)]
    with m.If(arrives):
        brings = _flits(parameters, header(coming, "payload_bytes"))
        m.d.sync += owed.eq(Mux(coming.abandoned, 0, brings))
    bench.always(~takes | owed.any(), "no payload but that of the packet is taken")
    bench.always(~arrives | (owed == takes), "all of it is taken before the next packet comes")
    bench.always(owed == bench.register("untaken"), "what is not taken")
    bench.always(~idle | ~owed.any(), "nothing is left when the next one is awaited")
    bench.always(~bench.in_state("store", "Take-Away") | owed.any(), "only what is left is taken away")
    bench.always(~writes | (takes & (write.data == payload.data)), "what is written is payload")
    bench.always(~stores | (takes == writes), "flit by flit, from the first one on")
    bench.always(stores | (~unwritten.any() & ~writes), "a write gets as many flits as it has")
    requested, left = bench.register("requested"), bench.register("unwritten")
    bench.always(~bench.in_state("store", "Judge") | ~requested, "no write is requested before it was judged")
    not_requested = Mux(requested, 0, _flits(parameters, write.bytes))  # flits may go before their request
    wanted = (unwritten + not_requested)[: len(unwritten)]
    bench.always(~stores | (left == wanted), "what is not written")
    bench.always(~stores | (left <= owed), "no more than has come")


def header(arrival: Any, name: str) -> Value:
    field = REQUEST.fields[name]
    return arrival.words[field.word][field.lsb : field.lsb + field.width]


def _flits(parameters: NicParameters, length_bytes: Value) -> Value:
    return (length_bytes + (parameters.datapath_bytes - 1)) // parameters.datapath_bytes


@theorem(
    4,
    "Complete",
    bugs=(
        Bug(
            function="rtl.nic.target.complete:Complete._compose",
            old="*(port.context.eq(arrival.context) for port in (event, answer))",
            new="event.context.eq(0), answer.context.eq(arrival.context)",
        ),
        Bug(
            function="rtl.nic.target.complete:Complete._compose",
            old="*(port.context.eq(arrival.context) for port in (event, answer))",
            new="event.context.eq(arrival.context), answer.context.eq(0)",
        ),
        Bug(
            function="rtl.nic.target.complete:Complete._compose",
            old="self.reserve.release_context.eq(arrival.context)",
            new="self.reserve.release_context.eq(0)",
        ),
        Bug(
            function="rtl.nic.target.complete:Complete._compose",
            old="self.finish.finish_epoch.eq(arrival.epoch)",
            new="self.finish.finish_epoch.eq(0)",
        ),
        Bug(
            function="rtl.nic.target.complete:Complete._compose_atomic",
            old="self.atomic.address.eq(completion.address)",
            new="self.atomic.address.eq(completion.address + 4096)",
        ),
        Bug(
            function="rtl.nic.target.complete:Complete.elaborate",
            old="live.eq(is_live(self.states, arrival.context, arrival.epoch) & ~arrival.refused)",
            new="live.eq(is_live(self.states, arrival.context, arrival.epoch))",
        ),
    ),
)
def complete() -> Bench:
    """Events, counters, places, answers and ends of unexpected headers are told for the context and life of the arrival
    that is being ended, of which a refused one tells nothing; and an atomic is carried out on the range that was judged
    for it. Rule: a completion holds until it is taken."""
    bench = Bench(block := Complete(SMALL))
    ending = block.i_completion.payload
    arrival, matched = ending.arrival, ending.arrival.matched
    bench.holds(block.i_completion.valid, block.i_completion.ready, ending)
    event, answer, reserve, finish = block.o_event, block.answer, block.reserve, block.finish
    told = {
        "event": (event.valid, event.context, event.epoch),
        "answer": (answer.valid, answer.context, answer.epoch),
        "places": (reserve.release_valid, reserve.release_context, reserve.release_epoch),
        "header": (finish.finish, finish.finish_context, finish.finish_epoch),
    }
    for name, (valid, context, epoch) in told.items():
        bench.always(~valid | (block.i_completion.valid & ~arrival.refused), f"{name}: of an arrival that counts")
        bench.always(~valid | ((context == arrival.context) & (epoch == arrival.epoch)), f"{name}: for its context")
    for name, port in (("event", event), ("answer", answer)):
        bench.always(~(port.valid & port.counter_valid) | (port.counter == matched.counter), f"{name}: its counter")
    for name, words in (("event", event.words), ("answer", answer.event_words), ("unlink", answer.unlink_words)):
        user_data, header_data = (words[EVENT.fields[field].word] for field in ("user_data", "header_data"))
        of_message = (header_data == 0) | (header_data == header(arrival, "header_data"))
        bench.always((user_data == matched.user_data) & of_message, f"{name}: what it says")
    read = (answer.window == matched.window) & (answer.offset == matched.start[: len(answer.offset)])
    bench.always(~answer.valid | (read & (answer.words[4] == matched.remote_offset)), "what a reply reads")
    bench.always((finish.finish_header == matched.header) & (answer.header == matched.header), "which header")
    atomic = block.atomic
    bench.always(~atomic.valid | (block.i_completion.valid & ending.atomic), "only what was judged is carried out")
    judged = (atomic.address == ending.address) & (atomic.bytes == matched.bytes[: len(atomic.bytes)])
    bench.always(~atomic.valid | judged, "where it was judged")
    idle = bench.in_state("complete", "Await-Completion")
    begins = bench.in_state("complete", "Await-Answer")
    bench.always(idle | block.i_completion.valid, "there is one")
    bench.always(idle | begins | ~arrival.refused, "it is not refused")
    bench.stays(event.valid, event.ready, told_of(event), "an event")
    told_end = Cat(*(getattr(finish, f"finish_{name}") for name in PAYLOAD))
    bench.stays(finish.finish, finish.finish_ready, told_end, "the end of a header")
    executes = bench.in_state("complete", "Await-Atomic")
    bench.always(~executes | ending.atomic, "only atomics are executed")
    return bench


@theorem(
    4,
    "Deliver",
    bugs=(
        Bug(
            function="rtl.nic.target.deliver:Deliver.elaborate",
            old="completions.w_data.eq(store.o_completion.payload)",
            new="completions.w_data.eq(store.o_completion.payload.arrival)",
        ),
        Bug(
            function="rtl.nic.target.deliver:Deliver.elaborate",
            old="zip(complete.operands, store.operands, strict=True)",
            new="zip(complete.operands, store.operands[:1] * 8, strict=True)",
        ),
        Bug(
            function="rtl.nic.target.deliver:Deliver.elaborate",
            old="wiring.connect(m, wiring.flipped(ours), store.contexts[index])",
            new="wiring.connect(m, wiring.flipped(self.contexts[0]), store.contexts[index])",
        ),
    ),
    every_width=True,
)
def wiring(parameters: NicParameters = SMALL) -> Bench:
    """The stages are joined to each other and to the outside, and to nothing else; between the last two lies a
    queue."""
    bench = Bench(block := Deliver(parameters), keep=("completions",))
    stages = messages, store, complete = [bench.part(name) for name in ("messages", "store", "complete")]
    queue, finishes = bench.part("completions"), bench.part("finishes")
    bench.joined(block.i_packet, messages.i_header, "packets", names=header_part(parameters).members)
    bench.joined(block.i_packet, store.payload, "payload", names=payload_part(parameters).members)
    bench.joined(messages.match, block.match, "matches", names=match_part().members)
    bench.joined(messages.o_arrival, store.i_arrival, "arrivals")
    bench.joined(store.write, block.write, "writes", names=write_part(parameters).members)
    completion, ending = store.o_completion, complete.i_completion
    said = (queue.w_en == completion.valid) & (queue.w_data == Value.cast(completion.payload))
    bench.always(said & (queue.w_rdy == completion.ready), "completions go into the queue")
    heard = (ending.valid == queue.r_rdy) & (Value.cast(ending.payload) == queue.r_data)
    bench.always(heard & (queue.r_en == ending.ready), "and come out of it")
    for name in ("atomic", "answer", "o_event", "reserve"):
        bench.joined(getattr(complete, name), getattr(block, name), name)
    bench.joined(complete.finish, finishes.i_finish[0], "headers of messages")
    bench.joined(block.i_finish, finishes.i_finish[1], "headers of replies")
    bench.joined(finishes.o_finish, block.match, "headers", names=finish_part().members)
    bench.always(Cat(*store.operands) == Cat(*complete.operands), "operands")
    answered = (complete.answered == block.write.done) & (complete.answer_error == block.write.error)
    bench.always(answered & (store.atomic_done == complete.atomic_done), "answers of memory")
    for number in range(parameters.contexts):
        bench.joined(block.contexts[number], store.contexts[number], f"registers of context {number}")
        for stage in stages:
            bench.joined(block.states[number], stage.states[number], f"state of context {number}")
    return bench


@theorem(
    4,
    "Finishes",
    bugs=(
        Bug(
            function="rtl.nic.target.finishes:Finishes.elaborate",
            old="m.d.comb += to.eq(Mux(chosen, other, one))",
            new="m.d.comb += to.eq(Mux(second.finish, other, one))",
        ),
    ),
)
def finishes() -> Bench:
    """The end of an unexpected header is told as it was offered, to whoever is then told that it is done."""
    bench = Bench(block := Finishes())
    told = Cat(*(getattr(block.o_finish, f"finish_{name}") for name in PAYLOAD))
    ready = Cat(one.finish_ready for one in block.i_finish)
    bench.always(ready.any() == block.o_finish.finish_ready, "somebody is told")
    bench.always(~ready.all(), "and nobody else")
    for one in block.i_finish:
        offered = Cat(*(getattr(one, f"finish_{name}") for name in PAYLOAD))
        done = one.finish_ready & block.o_finish.finish
        bench.always(~done | (one.finish & (offered == told)), "of what he offered")
    for one in block.i_finish:
        bench.holds(one.finish, one.finish_ready, Cat(*(getattr(one, f"finish_{name}") for name in PAYLOAD)))
    bench.stays(block.o_finish.finish, block.o_finish.finish_ready, told, "what is told")
    offered = bench.register("offered")
    bench.always(~offered | block.i_finish[1].finish, "what was offered is")
    return bench
