"""The match unit against the model, on random messages, commands, places and restarts."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from rtl.nic.parameters import NicParameters
from rtl.portals import EventKind, Fail, Operation, Refusal
from tests.rtl.nic_match_bench import MatchBench, message
from tests.rtl.nic_match_model import Entry, Header, Model

TINY = NicParameters(contexts=1, portal_entries=1, match_entries=1, unexpected_headers=1, counters=1)
SMALL = NicParameters(contexts=2, portal_entries=2, match_entries=8, unexpected_headers=4, counters=4)
ODD = NicParameters(contexts=3, portal_entries=4, match_entries=2, unexpected_headers=8, counters=2)
CASES = [(TINY, 4, 0.0), (SMALL, 8, 0.3), (SMALL, 4, 0.0), (ODD, 6, 0.3)]
STEPS = 500


class Traffic:
    """Random stimuli, one after the other; after each, unit and model must have told the same."""

    def __init__(self, parameters: NicParameters, places: int, stall: float, seed: int) -> None:
        self._random = random.Random(seed)
        self._parameters = parameters
        self.bench = MatchBench(parameters, places=places, stall=stall, seed=seed)
        self.model = Model(parameters, places=places)
        # Messages that have not ended: context, answers, entry, header.
        self._open: list[tuple[int, dict[str, int], Entry, Header | None]] = []
        self.fails: set[int] = set()
        self.most_waiting = 0

    def _some(self, chance: float, *names: str) -> dict[str, int]:
        return {name: int(self._random.random() < chance) for name in names}

    def _pt_index(self) -> int:
        return self._random.randrange(self._parameters.portal_entries + (self._random.random() < 0.05))

    def message(self) -> dict[str, int]:
        pick = self._random.choice
        source = {"src_nid": pick((1, 2)), "src_pid": pick((3, 4)), "jid": 9, "pt_index": self._pt_index()}
        size = {
            "message_bytes": self._random.randrange(40),
            "remote_offset": pick((0, 0, 5, 19, 64, 1 << 40, (1 << 64) - 1)),
        }
        atomic = {"atomic_operation": self._random.randrange(11), "atomic_type": self._random.randrange(4)}
        kind = {"kind": pick((1, 1, 2, 2, 3, 4, 5)), "header_data": self._random.getrandbits(64)}
        return message(match_bits=pick((0, 0, 1, 2)), **source, **size, **atomic, **kind)

    def _operation(self, context: int, pt_index: int) -> Operation:
        """Mostly what brings the portal table entry, and so the test, on."""
        portal = self.model.lives[context].portals.get(pt_index)
        if portal is None or not portal.enabled:
            likely = Operation.PT_ENABLE if portal else Operation.PT_ALLOC
            if self._random.random() < 0.7:
                return likely
        rare = [Operation.PT_ALLOC, Operation.PT_FREE, Operation.PT_ENABLE, Operation.PT_DISABLE]
        often = [Operation.ME_APPEND] * 20 + [Operation.ME_SEARCH] * 4 + [Operation.ME_UNLINK] * 4
        return self._random.choice([*often, *rare])

    def _entry(self, context: int) -> int:
        """A free match entry, if there is one."""
        used = self.model.lives[context].entries
        free = [entry for entry in range(self._parameters.match_entries) if entry not in used]
        anything = self._random.randrange(self._parameters.match_entries + 1)
        return anything if not free or self._random.random() < 0.1 else self._random.choice(free)

    def command(self, context: int) -> dict[str, int]:
        pick = self._random.choice
        pt_index = self._pt_index()
        operation = self._operation(context, pt_index)
        command = {"operation": operation, "pt_index": pt_index, "user_data": self._random.getrandbits(64)}
        if operation == Operation.ME_UNLINK:
            return command | {"entry": self._random.randrange(self._parameters.match_entries + 1)}
        if operation == Operation.PT_ALLOC:
            return command | self._some(0.4, "flow_control")
        if operation not in (Operation.ME_APPEND, Operation.ME_SEARCH):
            return command
        command |= {"match_bits": pick((0, 0, 1, 2)), "ignore_bits": pick((0, 3, 3, 3))}
        command |= {"match_nid": pick((1, 2)), "match_pid": pick((3, 4)), **self._some(0.95, "any_nid", "any_pid")}
        command |= self._some(0.2, "no_truncate", "manage_local") | self._some(0.6, "use_once")
        command |= self._some(0.2, "event_comm_disable", "event_over_disable")
        command |= self._some(0.4, "ct_overflow", "ct_bytes")
        command |= {"counter": self._random.randrange(self._parameters.counters + (self._random.random() < 0.1))}
        command |= {"length_bytes": pick((0, 20, 64, 64, 1 << 46))}
        if operation == Operation.ME_SEARCH:
            return command | self._some(0.5, "search_delete")
        command |= self._some(0.5, "list") | self._some(0.93, "op_put", "op_get")
        if command["list"]:
            command["ignore_bits"] |= pick((0, 3, 3, 3))
        command |= self._some(0.1, "unexpected_header_disable") | self._some(0.3, "event_link_disable")
        command |= self._some(0.2, "event_flow_control_disable", "event_unlink_disable") | self._some(0.4, "ct_comm")
        command |= {"offset": pick((0, 77, (1 << 48) - 3)), "window": self._random.randrange(256)}
        command |= {"min_free": pick((0, 0, 10, 50))}
        return command | {"entry": self._entry(context)}

    async def run(self) -> None:
        usual = [self._match] * 8 + [self._finish] * 8 + [self._post] * 8 + [self._consume] * 8 + [self._restart]
        scarce = [self._match] * 8 + [self._finish] * 2 + [self._post] * 16 + [self._consume] + [self._restart]
        for step in range(STEPS):
            action = self._random.choice(scarce if step // 40 % 3 == 2 else usual)
            if action == self._restart and self._random.random() < 0.8:
                continue
            await action(self._random.randrange(self._parameters.contexts))
            await self.bench.settle()
            self.model.settle()
            where = f"step {step}, {action.__name__}"
            assert self.bench.told == self.model.told, where
            assert self.bench.answered == self.model.answered, where
            self.most_waiting = max(self.most_waiting, len(self.bench.deferred))

    async def _match(self, context: int) -> None:
        fields = self.message()
        expected, (entry, header) = self.model.match(context, fields)
        found = await self.bench.match(context, **fields)
        assert {name: found[name] for name in expected} == expected
        self.fails.add(found["fail"])
        if header:
            taken = [other["header"] for number, other, _, kept in self._open if number == context and kept]
            assert found["header"] not in taken, "a header in use was given again"
        if entry:
            self._open.append((context, found, entry, header))

    async def _finish(self, context: int) -> None:
        mine = [item for item in self._open if item[0] == context]
        if mine:
            item = self._random.choice(mine)
            self._open.remove(item)
            failed = self._random.random() < 0.3
            self.model.finish(context, item[2], item[3], failed=failed)
            await self.bench.end(item[1], context, failed=failed)

    async def _post(self, context: int) -> None:
        if not self.model.busy(context):
            command = self.command(context)
            self.model.post(context, command)
            self.bench.post(context, **command)

    async def _consume(self, context: int) -> None:
        bench = self.bench
        used = bench.places - bench.free[context] - bench.owed[context]
        if used:
            # Several at once only while nothing waits for them: their order among those is not defined.
            count = 1 if self.model.busy(context) or self.model.lives[context].waiting else used
            self.model.lives[context].free += count
            bench.give_places(context, count)

    async def _restart(self, context: int) -> None:
        self.model.restart(context)
        self._open = [item for item in self._open if item[0] != context]
        await self.bench.restart(context)


@pytest.fixture(scope="module")
def met() -> Iterator[dict[str, set[Any]]]:
    """What the traffic of all cases has met; looked at when all of them have run."""
    seen: dict[str, set[Any]] = {"cases": set(), "kinds": set(), "fails": set(), "refusals": set(), "waiting": set()}
    yield seen
    if len(seen["cases"]) == len(CASES):
        overflows = {kind for kind in EventKind if kind.name.endswith("_OVERFLOW")}
        others = {EventKind.PT_DISABLED, EventKind.LINK, EventKind.AUTO_UNLINK, EventKind.AUTO_FREE, EventKind.SEARCH}
        assert seen["kinds"] == overflows | others
        assert seen["fails"] == {Fail.OK, Fail.PT_DISABLED, Fail.DROPPED, Fail.OPERATION}
        assert seen["refusals"] == {Refusal.NONE, Refusal.COMMAND_ENTRY}
        assert max(seen["waiting"]) > 1, "no two contexts' commands have waited at a time"


@pytest.mark.parametrize("case", range(len(CASES)))
def test_unit_and_model_agree(case: int, met: dict[str, set[Any]]) -> None:
    parameters, places, stall = CASES[case]
    traffic = Traffic(parameters, places, stall, seed=2 + places)
    traffic.bench.late_epoch = case % 2 == 0
    traffic.bench.run(traffic.run, judged=parameters is TINY)
    met["cases"].add(case)
    met["kinds"] |= {event["kind"] for _, event, _ in traffic.bench.told if event}
    met["fails"] |= traffic.fails
    met["refusals"] |= set(traffic.bench.answered)
    met["waiting"].add(traffic.most_waiting)
