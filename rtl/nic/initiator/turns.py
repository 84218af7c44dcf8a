"""Whose turn it is: contexts whose next step cannot be taken hold up nobody."""

import enum

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.arbitration import next_in_turn
from rtl.nic.interfaces.widths import CONTEXT_WIDTH
from rtl.nic.parameters import NicParameters


class Need(enum.IntEnum):
    """What a command can lack."""

    SENDER = 0  # a packet can be handed over
    ENTRY = 1  # a free entry for a request that waits for a response
    PLACE = 2  # a place in the event queue
    ORDER = 3  # the commands before it are over
    ASIDE = 4  # the way of commands that send nothing, and do not go to the lists


class Turns(wiring.Component):
    """Chooses the context whose next packet is made, or whose next command is looked at.

    `begun`: a message of the context is under way. `candidates`: a command waits, and no message is under way.
    `offers` of a Need has a bit for each context to which it is granted; `offers` of SENDER is all ones or zero.
    `choice` stands with `any`; `take` accepts it. If the command is then found to lack something, `lacking` pulses
    with the `need` and the `context`, and it is not chosen again before that is offered.

    While a packet can be handed over, all take part in turn, each with one packet. While none can, only commands of
    which it is not known that they need it are looked at (`looking`), to let those through that do not; if such a
    one turns out to, it must wait for its turn. So what goes past the sender takes no turns away.
    """

    def __init__(self, parameters: NicParameters) -> None:
        contexts = parameters.contexts
        super().__init__(
            {
                "begun": In(contexts),
                "candidates": In(contexts),
                "offers": In(contexts).array(len(Need)),
                "any": Out(1),
                "choice": Out(CONTEXT_WIDTH),
                "looking": Out(1),
                "take": In(1),
                "lacking": In(1),
                "need": In(range(len(Need))),
                "context": In(CONTEXT_WIDTH),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        contexts = len(self.begun)
        lacks = [Signal(contexts, name=f"lacks_{need.name.lower()}") for need in Need]
        held_back = Signal(contexts)
        requests = Signal(contexts)
        sender_free = self.offers[Need.SENDER].any()
        last_turn = Signal(range(max(contexts, 2)))
        last_look = Signal.like(last_turn)
        m.d.comb += [
            held_back.eq(Cat(*(self._held_back(lacks, number) for number in range(contexts)))),
            requests.eq((self.begun & self.offers[Need.SENDER]) | (self.candidates & ~held_back)),
            self.any.eq(requests.any()),
            self.looking.eq(~sender_free),
            self.choice.eq(next_in_turn(m, requests, Mux(sender_free, last_turn, last_look))),
        ]
        with m.If(self.take):
            m.d.sync += [flags.bit_select(self.choice, 1).eq(0) for flags in lacks]
            with m.If(sender_free):
                m.d.sync += last_turn.eq(self.choice)
            with m.Else():
                m.d.sync += last_look.eq(self.choice)
        with m.If(self.lacking), m.Switch(self.need):
            for need, flags in zip(Need, lacks, strict=True):
                with m.Case(need):
                    m.d.sync += flags.bit_select(self.context, 1).eq(1)
        return m

    def _held_back(self, lacks: list[Signal], number: int) -> Signal:
        return Cat(*(flags[number] & ~offer[number] for flags, offer in zip(lacks, self.offers, strict=True))).any()
