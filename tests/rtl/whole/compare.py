"""Golden NICs beside the real ones: each is given what its real one was given, and what both did is compared.

The model is told of everything in the order in which the hardware is known to have done it: a packet when its last flit
has arrived, a command when the first packet that it or a later one sends has left, and at the latest in the end. What
hardware is free to do otherwise is left free by `tests.golden.judge` (events of different sources, packets of different
streams) or must not matter, which is the business of who makes the traffic:

- bytes that one message writes are not read by another message or written by another part of the NIC meanwhile;
- a list that messages search is not changed meanwhile, but for the races of which the events tell how they ended
  (`before`, `early`);
- there is room in event queues that messages need, and unexpected headers do not come free while they are scarce.

Of contexts whose lives end meanwhile (`victims`) no more is known than what they may never do; all that others do is
compared as ever, because the model is given what arrived for them, whoever sent it.

Handles of requests are the hardware's choice: the model is told them from the packets that were sent.

On nodes with a response timeout (`time_out`) no request waits and no message is under way when everything has come to
rest: what still does in the model is over then. It was over earlier, nobody knows when, but not before the last packet
of it. So a request is given up earlier in the model if hardware can have gone on only because it was: nothing more
comes for it, and its handle was given out again, or the room that it held. Who makes the traffic leaves more time than
anything takes that does come.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from rtl.packets import HEADER_WORDS, REQUEST, RESPONSE
from rtl.portals import EVENT, Refusal
from tests.golden.commands import is_answered
from tests.golden.context import Settings, Window
from tests.golden.effects import Effects, Pause
from tests.golden.judge import Judge
from tests.golden.memory import Memory
from tests.golden.model import GoldenNic
from tests.rtl.whole.board import (
    CONTEXT_BYTES,
    FIRST_PID,
    RING_LOG2,
    WINDOW_BYTES,
    WINDOWS,
    Board,
    Place,
    Who,
    words_at,
)
from tests.rtl.whole.simulator import Seen

COUNTED_REASONS = tuple(reason for reason in Refusal if reason > Refusal.ACCESS_REFUSED)
# What does not depend on what has become of victims.
WIRE_REASONS = (Refusal.PACKET_CRC, Refusal.PACKET_MALFORMED, Refusal.PACKET_SEQUENCE, Refusal.MEMORY_ERROR)
PAGE_COUNTS = {"COMMAND_HEAD": "command_head", "REFUSED": "refused", "DROPPED": "dropped", "VIOLATIONS": "violations"}


# How many commands of a context a message finds carried out; it is known by node, source node and match bits.
Order = Mapping[tuple[int, int, int], tuple[Who, int]]


class DifferenceError(AssertionError):
    """Hardware and model disagree."""


@dataclass(kw_only=True)
class Happened:
    """What there was between two comparisons, for who counts coverage."""

    seen: Sequence[Seen]
    effects: list[tuple[int, Effects]] = field(default_factory=list)  # of each node, one transaction at a time
    commands: list[tuple[Who, Sequence[int], Effects]] = field(default_factory=list)
    arrivals: list[tuple[int, Seen, Effects]] = field(default_factory=list)
    silences: list[str] = field(default_factory=list)  # what never came, and what was given up for it
    exhausted: int = 0  # how often all a context's requests that a response answers were waiting for it


def header_words(flits: Sequence[int], datapath_bits: int) -> list[int]:
    """The words of a packet's header; zeros for those that are wanting."""
    size = datapath_bits // 8
    text = b"".join(flit.to_bytes(size, "little") for flit in flits[: HEADER_WORDS * 8 // size])
    return list(words_at(memoryview(text.ljust(8 * HEADER_WORDS, b"\0")), 0, HEADER_WORDS))


class Comparison:
    """A board and its golden NICs, which are in step after every `compare`. `nics` are by node."""

    def __init__(self, board: Board) -> None:
        self.board = board
        parameters = board.parameters
        size = board.simulator.settings.memory_bytes
        self.nics = [GoldenNic(parameters, nid, Memory(size)) for nid in range(parameters.nodes)]
        self._judges = [Judge(parameters) for _ in self.nics]
        self._commands: dict[Who, deque[Sequence[int]]] = defaultdict(deque)
        self._command: dict[Who, Sequence[int]] = {}
        self._begun: Counter[Who] = Counter()  # messages that the model has made and hardware has not
        self._counted = [self._refusals(nid) for nid in range(parameters.nodes)]
        self._happened = Happened(seen=())
        self._victims: Set[Who] = frozenset()
        self._timed_out = [self._overdue(nid) for nid in range(parameters.nodes)]
        self._requests_given_up: Counter[int] = Counter()  # by node
        self._messages_given_up: Counter[int] = Counter()  # by node, for their silence
        self._messages_replaced: Counter[int] = Counter()  # by node, when a packet came; perhaps it was late
        self._impatient: set[int] = set()  # nodes with a response timeout
        self._to_come: Counter[tuple[int, int, int]] = Counter()  # responses, by node, handle and generation

    # ---- the kernel's and the processes' actions, on both ----

    def start(self, who: Who, settings: Settings, **control: int) -> None:
        """Begins a life of a context, with `control` as of Board.enable; nothing may be on its way to it."""
        self.board.configure(who, settings)
        self.board.enable(who, **control)
        nic = self.nics[who[0]]
        nic.configure(who[1], settings)
        nic.enable(who[1])

    def stop(self, who: Who) -> None:
        """Ends a life. It has no packet to send any more."""
        self.board.disable(who)
        self.board.simulator.settle()
        self.nics[who[0]].disable(who[1])
        self._commands.pop(who, None)
        self._judges[who[0]].restarted(who[1])

    def reset(self, nid: int) -> None:
        """Resets a node in the middle of anything. Its contexts are victims of the next comparison, and begin their
        next lives in the model by `resume`."""
        self.board.simulator.reset(nid)
        self._judges[nid].was_reset()
        self._counted[nid] = Counter()
        self._impatient.discard(nid)

    def resume(self, who: Who) -> None:
        """After a reset and the comparison that followed it: what the hardware has begun meanwhile is a life of the
        model, too. No event has been told in it, messages that nobody awaited may have been dropped."""
        nic = self.nics[who[0]]
        nic.disable(who[1])
        self._judges[who[0]].restarted(who[1])
        nic.configure(who[1], self.board.settings[who])
        nic.enable(who[1])
        nic.contexts[who[1]].dropped = self.board.page(who, "DROPPED")

    def time_out(self, nid: int, cycles: int) -> None:
        """Sets a node's response timeout."""
        self.board.simulator.configure(nid, "RESPONSE_TIMEOUT", cycles=cycles)
        self._impatient.discard(nid)
        if cycles:
            self._impatient.add(nid)

    def window(self, who: Who, number: int, window: Window) -> None:
        """Changes one window; nothing may be on its way that needs it."""
        settings = self.board.settings[who]
        windows = [*settings.windows[:number], window, *settings.windows[number + 1 :]]
        changed = Settings(**{**vars(settings), "windows": windows})
        self.board.window(who, number, window)
        self.board.settings[who] = changed
        self.nics[who[0]].configure(who[1], changed)

    def fill(self, nid: int, address: int, data: bytes) -> None:
        self.board.memory[nid][address : address + len(data)] = data
        self.nics[nid].memory.bytes[address : address + len(data)] = data

    def bad_words(self, nid: int, words: Iterable[int]) -> None:
        """From now on accesses to these bus words (by number), and to no others, are answered with an error."""
        size = self.board.parameters.datapath_bytes
        bad = self.board.simulator.bad[nid]
        for faulty in self.nics[nid].memory.faulty:
            bad[faulty.start // size] = 0
        self.nics[nid].memory.faulty = [range(word * size, (word + 1) * size) for word in words]
        for faulty in self.nics[nid].memory.faulty:
            bad[faulty.start // size] = 1

    def write_ring(self, who: Who, *commands: Sequence[int]) -> None:
        """Puts commands into a ring; the doorbell is the caller's."""
        self.board.write_ring(who, *commands)
        self._commands[who] += commands

    def is_stuck(self, who: Who) -> bool:
        """Whether a context waits for something, although nothing is on its way."""
        nic = self.nics[who[0]]
        return nic.awaits_packets(who[1]) or not nic.is_idle(who[1]) or bool(self._commands[who])

    # ---- comparison ----

    def saw_events(self, who: Who) -> list[dict[str, int]]:
        """Consumes what events there are by now."""
        found = self.board.events(who)
        for words in found:
            self._judges[who[0]].saw_event(who[1], words)
        return [EVENT.unpack(words) for words in found]

    def compare(
        self,
        before: Order | None = None,
        early: Set[tuple[Who, int]] = frozenset(),
        victims: Set[Who] = frozenset(),
    ) -> Happened:
        """Everything has come to rest: runs the model over what there was. DifferenceError if the two are not alike.

        `before`: the message of (node, source node, match bits) found what the first so many commands of a context had
        done; for others it does not matter. `early`: unlinkings of a context, by their user data, that were refused
        because a message of the entry had begun; when it ended is the hardware's choice. `victims` are to be restarted
        before anything else."""
        for who, user_data in early:
            self.nics[who[0]].lists(who[1]).early.add(user_data)
        self._happened, self._victims = Happened(seen=self.board.simulator.packets()), victims
        for who in victims:
            self._commands.pop(who, None)
        for who in self._survivors:
            self.saw_events(who)
        self._begun.clear()
        self._name_requests()
        self._count_responses()
        for seen in self._happened.seen:
            if seen.received:
                self._arrived(seen, before or {})
            else:
                self._left(seen)
        self._run_rest()
        self._give_up()
        self._run_rest()
        for nid, judge in enumerate(self._judges):
            self._compare_node(nid, judge)
            judge.forget()
        for counts in (self._requests_given_up, self._messages_given_up, self._messages_replaced):
            counts.clear()
        return self._happened

    @property
    def _survivors(self) -> list[Who]:
        return [who for who in self.board.everybody if who not in self._victims]

    def _left(self, seen: Seen) -> None:
        """A packet has left; if it begins a message, its context's commands are carried out up to that message, unless
        they are: a later one may have been carried out while the packet was leaving (see `before`)."""
        header = REQUEST.unpack(header_words(seen.flits, self.board.parameters.datapath_bits))
        if (seen.node, header["src_pid"] - FIRST_PID) in self._victims:
            self._judges[seen.node].passed_over(seen.flits)
            return
        self._judges[seen.node].saw_packet(seen.flits)
        if seen.response or not header["first"]:
            return
        who = (seen.node, header["lane"])
        self._begun[who] -= 1
        while self._begun[who] < 0 and (self._step(who) is not None or self._gave_up_one(who)):
            pass

    def _name_requests(self) -> None:
        """Tells the models what the requests that have left are called."""
        for seen in self._happened.seen:
            header = REQUEST.unpack(header_words(seen.flits, self.board.parameters.datapath_bits))
            if seen.received or seen.response or not header["first"]:
                continue
            if (seen.node, header["lane"]) not in self._victims and is_answered(header | {"operation": header["kind"]}):
                self.nics[seen.node].name_request(header["lane"], header["handle"], header["generation"])

    def _count_responses(self) -> None:
        self._to_come.clear()
        for seen in self._happened.seen:
            if seen.received and seen.response:
                self._to_come[self._answered(seen)] += 1

    def _answered(self, seen: Seen) -> tuple[int, int, int]:
        """The request that a response names: node, handle, generation."""
        header = RESPONSE.unpack(header_words(seen.flits, self.board.parameters.datapath_bits))
        return seen.node, header["handle"], header["generation"]

    def _arrived(self, seen: Seen, before: Order) -> None:
        header = REQUEST.unpack(header_words(seen.flits, self.board.parameters.datapath_bits))
        if (seen.node, header["dst_pid"] - FIRST_PID) in self._victims:
            self._took(seen.node, self.nics[seen.node].pass_over(seen.flits, response=seen.response))
            return
        message = (seen.node, header["src_nid"], header["match_bits"])
        who, count = before.get(message, ((seen.node, 0), 0))
        while self.nics[seen.node].contexts[who[1]].command_head < count and self._step(who) is not None:
            pass
        if seen.response:
            self._to_come[self._answered(seen)] -= 1
        effects = self.nics[seen.node].packet(seen.flits, response=seen.response)
        self._happened.arrivals.append((seen.node, seen, effects))
        self._messages_replaced[seen.node] += sum(
            refused.reason is Refusal.PACKET_ABORTED and not refused.detail for refused in effects.refusals
        )
        self._took(seen.node, effects)

    def _step(self, who: Who) -> Effects | None:
        """One command, or what is left of it; None if there is none, or it did nothing but wait."""
        nic = self.nics[who[0]]
        if not nic.is_idle(who[1]):
            effects = nic.proceed(who[1])
        elif self._commands[who] and nic.contexts[who[1]].active:
            self._command[who] = self._commands[who].popleft()
            effects = nic.begin(who[1], self._command[who])
        else:
            return None
        while effects.waits is Pause.PACKET:
            effects.add(nic.proceed(who[1]))
        if effects.waits is None:
            self._happened.commands.append((who, self._command[who], effects))
        if effects.packets:
            self._begun[who] += 1
            self._happened.exhausted += not nic.has_free_request(who[1])
        self._took(who[0], effects)
        return effects if effects.waits is None or effects.packets or effects.events else None

    def _run_rest(self) -> None:
        """All commands that can still be carried out: they sent nothing."""
        progress = True
        while progress:
            progress = any([self._step(who) is not None for who in self._survivors])  # noqa: C419 all of them

    # ---- what is over because nothing more comes ----

    def _give_up(self) -> None:
        """All that still waits."""
        for nid in self._impatient:
            nic = self.nics[nid]
            for source, lane, context in nic.messages_under_way:
                if (nid, context) not in self._victims:
                    self._took(nid, nic.abandon(source, lane))
                    self._messages_given_up[nid] += 1
                    self._happened.silences.append("a message that nothing goes on with")
            for context in range(self.board.parameters.contexts):
                for handle, _ in nic.waiting_requests(context) if (nid, context) not in self._victims else ():
                    self._took(nid, nic.expire(context, handle))
                    self._requests_given_up[nid] += 1
                    self._happened.silences.append("a request that nothing answers")

    def _gave_up_one(self, who: Who) -> bool:
        """Ends a request of a context that can go on no other way: that whose handle is wanted, or the oldest one.
        False if there is none to which nothing more comes."""
        nid, nic = who[0], self.nics[who[0]]
        over = [handle for handle, use in nic.waiting_requests(who[1]) if not self._to_come[nid, handle, use]]
        if nid not in self._impatient or not over:
            return False
        wanted = nic.next_request(who[1])
        self._took(nid, nic.expire(who[1], wanted if wanted in over else over[0]))
        self._requests_given_up[nid] += 1
        self._happened.silences.append("a request whose place is taken by another one")
        return True

    def _took(self, nid: int, effects: Effects) -> None:
        """Tells the judge; the model's processes consume every event at once, so that none of it ever waits for them.

        Hardware that waits longer does the same later."""
        nic = self.nics[nid]
        self._judges[nid].expect(effects)
        self._happened.effects.append((nid, effects))
        for number in {event.context for event in effects.events}:
            owed = nic.event_head(number, nic.contexts[number].queue.tail)
            if owed.events:
                self._took(nid, owed)

    # ---- one node ----

    def _compare_node(self, nid: int, judge: Judge) -> None:
        counted = self._refusals(nid)
        judge.saw_refusals((counted - self._counted[nid]).elements())
        self._counted[nid] = counted
        found = judge.differences() + self._timeout_differences(nid)
        if self._victims:
            unknown = tuple(f"refusals {reason.name}:" for reason in Refusal if reason not in WIRE_REASONS)
            found = [text for text in found if not text.startswith(unknown)]
        for who in self._survivors:
            found += self._page_differences(who) if who[0] == nid else []
        found += self._memory_differences(nid)
        if found:
            raise DifferenceError("\n".join(f"node {nid}: {text}" for text in found))

    def _timeout_differences(self, nid: int) -> list[str]:
        """How often the time of requests and messages was over; of victims' nobody knows."""
        before, self._timed_out[nid] = self._timed_out[nid], self._overdue(nid)
        requests, messages = (now - then for now, then in zip(self._timed_out[nid], before, strict=True))
        silent, replaced = self._messages_given_up[nid], self._messages_replaced[nid]
        found = []
        if requests != self._requests_given_up[nid]:
            found.append(f"{requests} requests timed out instead of {self._requests_given_up[nid]}")
        if not silent <= messages <= silent + replaced * (nid in self._impatient):
            found.append(f"{messages} messages timed out, of {silent} that stopped and {replaced} that were replaced")
        return [] if self._victims else found

    def _overdue(self, nid: int) -> tuple[int, int]:
        value = self.board.simulator.value
        return value(nid, "RESPONSES_TIMED_OUT"), value(nid, "MESSAGES_TIMED_OUT")

    def _refusals(self, nid: int) -> Counter[Refusal]:
        return Counter({reason: self.board.simulator.value(nid, reason.name) for reason in COUNTED_REASONS})

    def _page_differences(self, who: Who) -> list[str]:
        context = self.nics[who[0]].contexts[who[1]]
        wanted = {register: getattr(context, name) for register, name in PAGE_COUNTS.items()}
        wanted["EVENT_TAIL"] = context.queue.tail
        seen = {register: self.board.page(who, register) for register in wanted}
        return [f"context {who[1]}: {r} is {seen[r]} instead of {wanted[r]}" for r in wanted if seen[r] != wanted[r]]

    def _memory_differences(self, nid: int) -> list[str]:
        """Rings are the processes' to write; event queues are compared event by event. Of victims' memory what the
        windows and counters hold is believed, but for the window that nobody may write."""
        seen, wanted = bytearray(self.board.memory[nid]), bytearray(self.nics[nid].memory.bytes)
        for number in range(self.board.parameters.contexts):
            ring = slice(Place(number).ring, Place(number).ring + (64 << RING_LOG2))
            queue = slice(Place(number).queue, Place(number).counters)
            believed = [ring, queue]
            if (nid, number) in self._victims:
                believed.append(slice(Place(number).counters, Place(number).counters + 0x1000))
                believed += [slice(at, at + WINDOW_BYTES) for at in map(Place(number).window, range(1, WINDOWS))]
            for part in believed:
                wanted[part] = self.nics[nid].memory.bytes[part] = seen[part]
        if seen == wanted:
            return []
        places = [place for place in range(len(seen)) if seen[place] != wanted[place]]
        at, context = places[0], places[0] // CONTEXT_BYTES
        return [
            f"{len(places)} bytes differ, the first at {at:#x} (context {context}, {at % CONTEXT_BYTES:#x}): "
            f"{seen[at : at + 16].hex()} instead of {wanted[at : at + 16].hex()}"
        ]
