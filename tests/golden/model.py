"""The golden NIC: everything that one NIC does, in the order in which it is asked.

What runs at the same time in hardware is given to the model in the order in which the hardware is known to have done
it: a whole command or packet at a time, or packet by packet (`begin`, `proceed`; `arrive`, `reply`). Each call
returns its `Effects`; memory changes as well. Time, and with it moderation of interrupts, is not modelled.
"""

from collections.abc import Sequence

from rtl.nic.parameters import NicParameters
from rtl.portals import Refusal
from tests.golden.context import INDEX_MODULUS, Context, Settings
from tests.golden.effects import Effects, Pause, Refused
from tests.golden.initiator import Initiator, Running
from tests.golden.lists import Lists
from tests.golden.memory import Memory
from tests.golden.target import Replying, Target
from tests.golden.wire import Wire


class GoldenNic:
    """Node `nid` of a machine of `parameters.nodes`, with its host memory."""

    def __init__(self, parameters: NicParameters, nid: int, memory: Memory) -> None:
        self.parameters = parameters
        self.nid = nid
        self.memory = memory
        self.contexts = [Context(number, parameters.counters, memory) for number in range(parameters.contexts)]
        self.replies: list[Replying] = []
        self._wire = Wire(parameters, nid, self.contexts)
        self._lists = [Lists(parameters, context) for context in self.contexts]
        self._target = Target(parameters, self.contexts, self._lists, memory, self._wire)
        self._initiators = [
            Initiator(parameters, context, lists, memory, self._wire)
            for context, lists in zip(self.contexts, self._lists, strict=True)
        ]
        self._running: dict[int, Running] = {}
        self._pauses: dict[int, Pause | None] = {}
        self._effects = Effects()

    # ---- the kernel ----

    def configure(self, context: int, settings: Settings) -> None:
        """Says who a context is and what memory it has; may be said again at any time."""
        self.contexts[context].settings = settings

    def enable(self, number: int) -> None:
        """Begins a new life of a context that is off."""
        context = self.contexts[number]
        if context.active:
            return
        context.restart()
        context.active = True
        self._lists[number] = Lists(self.parameters, context)
        self._initiators[number].restart(self._lists[number])

    def disable(self, number: int) -> Effects:
        """Ends a life: a message under way is aborted, a command that waits is forgotten."""
        self.contexts[number].active = False
        self._target.forget(self.contexts[number])
        if self._pauses.get(number) is Pause.PACKET:
            return self.proceed(number)
        self._running.pop(number, None)
        return self._take_effects()

    # ---- the process ----

    def event_head(self, number: int, head: int) -> Effects:
        """The process has consumed events up to `head`, modulo 2**32."""
        self.contexts[number].queue.head = head % INDEX_MODULUS
        return self._take_effects()

    def command(self, number: int, words: Sequence[int] | None) -> Effects:
        """Carries out one command to its end, or as far as it can; None: memory did not give it."""
        effects = self.begin(number, words)
        while effects.waits is Pause.PACKET:
            effects.add(self.proceed(number))
        return effects

    def begin(self, number: int, words: Sequence[int] | None) -> Effects:
        """Begins a command of an active context whose last one is retired, and makes its first packet."""
        context = self.contexts[number]
        if not context.active or number in self._running:
            raise ValueError(f"context {number} is not active, or its last command is not retired")
        self._running[number] = self._initiators[number].run(self._effects, words)
        return self.proceed(number)

    def proceed(self, number: int) -> Effects:
        """Goes on with the command under way: makes its next packet, or looks whether what it waits for has come."""
        waits = next(self._running[number], None)
        if waits is None:
            del self._running[number]
        self._pauses[number] = waits
        return self._take_effects(waits)

    def is_idle(self, number: int) -> bool:
        """Whether no command of the context is under way."""
        return number not in self._running

    # ---- the fabric ----

    def packet(self, flits: Sequence[int], *, response: bool) -> Effects:
        """A packet has arrived on the way of requests or responses; a reply to it leaves at once."""
        effects = self.arrive(flits, response=response)
        while effects.waits is not None:
            effects.add(self.reply(len(self.replies) - 1))
        return effects

    def arrive(self, flits: Sequence[int], *, response: bool) -> Effects:
        """A packet has arrived; the packets of a reply from memory are left to `reply`, and `waits` says so."""
        admitted = self._wire.admit(flits, response=response)
        if isinstance(admitted, tuple):
            reason, detail = admitted
            self._effects.refusals.append(Refused(reason=reason, context=None, detail=detail))
            return self._take_effects()
        number = admitted.context.number
        replying = None
        if response:
            refusal = self._initiators[number].respond(self._effects, admitted)
        else:
            refusal, replying = self._target.request(self._effects, admitted)
        if refusal is not Refusal.NONE:
            detail = sum(admitted.header[name] << lsb for name, lsb in (("src_nid", 0), ("src_pid", 16), ("jid", 32)))
            self._effects.refusals.append(Refused(reason=refusal, context=number, detail=detail))
        if replying is not None:
            self.replies.append(replying)
        return self._take_effects(Pause.PACKET if replying is not None else None)

    def expire(self, number: int, handle: int) -> Effects:
        """The time of a request that waits for a response is over. ValueError if it does not wait."""
        self._initiators[number].expire(self._effects, handle)
        return self._take_effects()

    def abandon(self, source: int, lane: int) -> Effects:
        """The time of the message under way from a lane of a source node is over. ValueError if there is none."""
        self._target.expire(self._effects, (source, lane))
        return self._take_effects()

    def pass_over(self, flits: Sequence[int], *, response: bool) -> Effects:
        """A packet has arrived for a context of which nothing is known: only whether it was damaged or late is told.

        If it was admitted, its lane expects a later one by now; whether it was does not matter, as long as nothing that
        arrived before comes again."""
        admitted = self._wire.admit(flits, response=response)
        if isinstance(admitted, tuple) and admitted[0] not in (Refusal.PACKET_DESTINATION, Refusal.PACKET_JOB):
            self._effects.refusals.append(Refused(reason=admitted[0], context=None, detail=admitted[1]))
        return self._take_effects()

    def reply(self, index: int) -> Effects:
        """The next packet of a reply under way leaves."""
        waits = next(self.replies[index], None)
        if waits is None:
            del self.replies[index]
        return self._take_effects(waits)

    # ---- records ----

    def lists(self, number: int) -> Lists:
        """Portal table, match entries and unexpected headers of a context in its present life."""
        return self._lists[number]

    def waiting_requests(self, number: int) -> list[tuple[int, int]]:
        """Handles and generations of the context's requests that wait for a response, in the order of the requests."""
        return self._initiators[number].outstanding.uses

    @property
    def messages_under_way(self) -> list[tuple[int, int, int]]:
        """Source nodes, lanes and contexts of the messages to this node of which more is to come."""
        return self._target.under_way

    def next_request(self, number: int) -> int | None:
        """The handle of the context's next request that awaits a response, if it was told."""
        return self._initiators[number].outstanding.next_handle

    def has_free_request(self, number: int) -> bool:
        """Whether the context may send another request that a response answers."""
        return self._initiators[number].outstanding.has_free

    def awaits_packets(self, number: int) -> bool:
        """Whether responses or the rest of an unexpected message are still to come."""
        headers = [header for portal in self._lists[number].portals for header in portal.headers]
        return self._initiators[number].outstanding.any_waiting or not all(header.complete for header in headers)

    def name_request(self, number: int, handle: int, generation: int) -> None:
        """Tells what the hardware, which is free to choose, calls the context's next request that awaits a response.

        It may be told of several requests ahead."""
        self._initiators[number].outstanding.name(handle, generation)

    def _take_effects(self, waits: Pause | None = None) -> Effects:
        """What was done since the last time; events that were owed are written where there is room by now."""
        for context in self.contexts:
            context.pay(self._effects)
        return self._effects.take(waits)
