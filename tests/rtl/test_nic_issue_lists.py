"""List commands that the lists defer."""

from typing import Any

from rtl.portals import Fail, Operation, Refusal
from tests.rtl.nic_issue_bench import IssueBench
from tests.rtl.quiescence import QuiescenceJudge
from tests.rtl.test_nic_issue_turns import events, play, until

PT_DISABLE = Operation.PT_DISABLE


def test_list_commands_that_wait_take_turns_when_they_may_get_on() -> None:
    """Of three that wait all go on at once; each keeps its words, its place in its queue, and what follows it."""
    bench = IssueBench(contexts=4)
    bench.list_waits = {70, 71, 72}

    async def script(ctx: Any, judge: QuiescenceJudge) -> None:
        for context in range(3):
            bench.post(context, words=[PT_DISABLE | context << 8, 0, 0, 0, 0, 0, 70 + context, 0])
            bench.post(context, length_bytes=8, user_data=context + 1)
        bench.list_refusals[71] = Refusal.COMMAND_ENTRY
        await until(bench, ctx, judge, lambda: bench.deferrals == 3)
        for _ in range(3):
            bench.post(3, words=[PT_DISABLE, 0, 0, 0, 0, 0, 5, 0])
        await until(bench, ctx, judge, lambda: len(bench.lists) == 3)
        assert not bench.jobs
        assert [process.reserved for process in bench.processes[:3]] == [1, 1, 1]
        bench.list_waits.clear()
        await bench.run(ctx, judge)

    play(bench, script)
    assert bench.deferrals == 3
    assert sorted(bench.lists[3:]) == [
        (context, [PT_DISABLE | context << 8, 0, 0, 0, 0, 0, 70 + context, 0]) for context in range(3)
    ]
    assert [told.refusal for told in bench.of(1)] == [(Refusal.COMMAND_ENTRY, 0), None]
    assert [events(bench, context)[-1] for context in range(3)] == [(1, Fail.OK), (2, Fail.OK), (3, Fail.OK)]


def test_a_restart_ends_a_list_command_that_waits() -> None:
    bench = IssueBench(contexts=2)
    bench.list_waits = {70}

    async def script(ctx: Any, judge: QuiescenceJudge) -> None:
        bench.post(0, words=[PT_DISABLE, 0, 0, 0, 0, 0, 70, 0])
        bench.post(0, length_bytes=8, user_data=1)
        await until(bench, ctx, judge, lambda: bench.deferrals == 1)
        bench.restart(0)
        await bench.step(ctx, judge)
        bench.post(0, words=[PT_DISABLE, 0, 0, 0, 0, 0, 71, 0])
        bench.post(0, length_bytes=8, user_data=2)
        await bench.run(ctx, judge)

    play(bench, script)
    assert [words[6] for _, words in bench.lists] == [70, 71]
    assert [told.life for told in bench.of(0)] == [1, 1]
    assert events(bench, 0) == [(2, Fail.OK)]
    assert bench.processes[0].reserved == 0
