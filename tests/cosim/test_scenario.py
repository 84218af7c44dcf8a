"""Every way a scenario can be wrong, with the exact text that its writer reads."""

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from cosim.errors import UserError
from cosim.scenario import from_canonical, from_source, load, schema
from cosim.yaml_source import MAX_FILE_BYTES, SourceError, parse
from rtl.fabric.parameters import MAX_NODES, FabricParameters
from rtl.nic.parameters import NicParameters
from rtl.node import NodeParameters
from sw.kernel.costs import CpuCosts

GOOD = """\
name: base
machine:
  nodes: 2
  node: {cores: 2}
jobs:
  - name: one
    jid: 1
    app: random_access
    placement: [{node: 0, core: 0}, {node: 1, core: 0}]
    parameters: {handler: process}
  - name: two
    jid: 2
    app: forger
    placement: [{node: 1, core: 1}]
expect:
  forgery.delivered: 0
"""


def cases() -> Iterator[tuple[str, list[str]]]:
    """What scenario_errors.txt says: a text, and all that is wrong with it."""
    table = (Path(__file__).parent / "scenario_errors.txt").read_text(encoding="utf-8")
    for block in table.split("\n\n"):
        rows = [(line[:9].strip(), line[9:]) for line in block.splitlines() if not line.startswith("#")]
        if not rows:
            continue
        fields = {key: value for key, value in rows if key != "says"}
        old, new = (fields.get(key, "").encode().decode("unicode_escape") for key in ("replace", "by"))
        assert old in GOOD, f"{old!r} is not in the base scenario"
        yield GOOD.replace(old, new, 1) if old else new, [value for key, value in rows if key == "says"]


def lines(text: str) -> list[str]:
    """What is said about a scenario, one line per problem."""
    with pytest.raises(SourceError) as caught:
        from_source(parse(text, "f.yaml"))
    return caught.value.message.split("\n")


def test_the_base_is_good_and_has_defaults_for_the_rest():
    scenario = from_source(parse(GOOD, "f.yaml"))
    assert (scenario.name, scenario.seed, scenario.simulator) == ("base", 1, "verilator")
    assert scenario.machine.cpu.costs == CpuCosts()
    assert scenario.machine.clock_period_ps == 4000
    assert scenario.machine.link_latency_cycles == 25
    assert scenario.jobs[0].parameters.handler == "process"
    assert scenario.jobs[1].after == ()


@pytest.mark.parametrize(("text", "said"), [pytest.param(*case, id=case[1][0][:60]) for case in cases()])
def test_what_is_said_about_a_wrong_scenario(text, said):
    assert lines(text) == [f"f.yaml:{line}" for line in said]


def test_the_table_is_read_whole():
    assert len(list(cases())) > 100
    assert all(said for _, said in cases())


# ---- files ----


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name: x\nseed: \xff\n", ":2:7: byte 0xff is not UTF-8; save the file as UTF-8 text"),
        ("name: x".encode("utf-16"), ":1:1: byte 0xff is not UTF-8; save the file as UTF-8 text"),
        (b" " * (MAX_FILE_BYTES + 1), ": larger than 1048576 bytes, the most a scenario may have; make it smaller"),
    ],
)
def test_contents_that_are_no_text(tmp_path, content, said):
    path = tmp_path / "s.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load(path)
    assert caught.value.message == f"{path}{said}"


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load(path) == from_source(parse(GOOD, "f.yaml"))


def test_paths_that_are_no_files(tmp_path):
    for path, said in [
        (tmp_path / "no.yaml", "no such file; give the path of a scenario, such as configs/quickstart.yaml"),
        (tmp_path, "a directory, not a file; give the path of a scenario in it"),
        (Path("/proc/self/mem"), "cannot be read: Input/output error; check the path and its permissions"),
    ]:
        with pytest.raises(UserError) as caught:
            load(path)
        assert caught.value.message == f"{path}: {said}"


def test_an_alias_bomb_is_refused_before_it_goes_off():
    levels = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    text = "a0: &a0 [" + ", ".join(["1"] * 10) + "]\n" + "\n".join(levels) + "\n"
    assert lines(text) == ["f.yaml:1:1: the aliases expand to more than 100000 values; use fewer"]


def test_more_problems_than_anybody_reads_are_counted():
    said = lines(GOOD + "".join(f"unknown_{i}: 1\n" for i in range(250)))
    assert len(said) == 101
    assert said[-1] == "f.yaml: 150 more problems are not shown"


# ---- what is accepted ----


def test_aliases_and_merge_keys():
    anchored = "parameters: &p {handler: process, log2_table_words: 8}"
    third = """\
  - name: three
    jid: 3
    app: random_access
    placement: [{node: 0, core: 1}]
    parameters: {<<: *p, handler: extension}
"""
    scenario = from_source(
        parse(GOOD.replace("parameters: {handler: process}", anchored).replace("expect", third + "expect"), "f")
    )
    parameters = scenario.jobs[2].parameters
    assert (parameters.handler, parameters.log2_table_words) == ("extension", 8)
    wrong = anchored.replace("8}", "99}")
    said = lines(GOOD.replace("parameters: {handler: process}", wrong).replace("expect", third + "expect"))
    assert [line.partition(" 99")[0] for line in said] == [
        "f.yaml:10:57: jobs[0].parameters.log2_table_words:",
        "f.yaml:10:57: jobs[2].parameters.log2_table_words:",
    ]


@pytest.mark.parametrize(
    ("written", "value"), [("0x10", 16), ("0o20", 16), ("+16", 16), ("16", 16), ("!!int '16'", 16)]
)
def test_integers(written, value):
    assert from_source(parse(GOOD + f"seed: {written}\n", "f")).seed == value


@pytest.mark.parametrize("after", ["one", "[one]", "[]"])
def test_after_is_a_name_or_a_list(after):
    text = GOOD.replace("app: forger", f"app: forger\n    after: {after}")
    assert from_source(parse(text, "f")).jobs[1].after == (() if after == "[]" else ("one",))


def test_a_core_may_be_shared_by_jobs_that_wait_for_each_other():
    shared = GOOD.replace("{node: 1, core: 1}", "{node: 1, core: 0}")
    assert from_source(parse(shared.replace("app: forger", "app: forger\n    after: one"), "f")).jobs[1].after == (
        "one",
    )
    third = "  - {name: three, jid: 3, app: forger, placement: [{node: 1, core: 0}], after: two}\n"
    chain = shared.replace("app: forger", "app: forger\n    after: one").replace("expect", third + "expect")
    assert len(from_source(parse(chain, "f")).jobs) == 3


def test_canonical_text_is_the_whole_scenario():
    scenario = from_source(parse(GOOD, "f.yaml"))
    text = scenario.canonical()
    assert from_canonical(text) == scenario
    assert from_canonical(text).canonical() == text
    assert json.loads(text)["machine"]["clock_mhz"] == 250
    reordered = "\n".join(["seed: 1", *GOOD.splitlines()[1:], GOOD.splitlines()[0], "# the same"])
    assert from_source(parse(reordered, "g.yaml")).canonical() == text
    assert from_source(parse(GOOD + "seed: 2\n", "f.yaml")).canonical() != text


def test_bounds_are_those_of_the_hardware():
    """Everything that the scenario lets pass can be built, and the next value beyond cannot."""
    definitions = schema()["$defs"]
    least, most = (definitions["Node"]["properties"]["cores"][bound] for bound in ("minimum", "maximum"))
    for cores in (least, most):
        NodeParameters(cores=cores, nic=NicParameters(interrupt_lines=cores))
    for cores in (least - 1, most + 1):
        with pytest.raises(ValueError, match=rf"nic\.interrupt_lines: {cores} "):
            NicParameters(interrupt_lines=cores)
    assert definitions["Machine"]["properties"]["nodes"]["maximum"] <= MAX_NODES
    sizes = dict(definitions["Nic"]["properties"])
    del sizes["response_timeout_us"]  # which the kernel sets
    assert [*sizes, "nodes", "interrupt_lines"] == [field.name for field in fields(NicParameters)]
    assert sizes["replies"]["minimum"] == sizes["replies"]["default"] == 0  # which is no size
    for name, size in sizes.items():
        if name == "replies":
            size = {**size, "minimum": 1}
        else:
            assert size["default"] == getattr(NicParameters(), name)
        low, high = size.get("minimum", min(size.get("enum", [0]))), size.get("maximum", max(size.get("enum", [0])))
        assert {getattr(NicParameters(**{name: value}), name) for value in (low, high)} == {low, high}
        for beyond in (low - 1, high + 1, 2 * high):
            with pytest.raises(ValueError, match=rf"nic\.{name}: {beyond} "):
                NicParameters(**{name: beyond})


NIC_SIZES = {
    "contexts": 3, "windows": 5, "portal_entries": 16, "match_entries": 64, "unexpected_headers": 2, "counters": 32,
    "outstanding": 4, "prefetch": 2, "replies": 8, "mtu_bytes": 512, "datapath_bits": 128,
}  # fmt: skip


def test_what_the_hardware_is_built_with():
    machine = f"""\
  nodes: 6
  clock_mhz: 500
  node: {{cores: 5, nic: {json.dumps(NIC_SIZES)}}}
  fabric: {{topology: torus, dimensions: [3, 2], link_latency_ns: 10, link_width_bits: 32, channels: 2}}
"""
    found = from_source(parse(GOOD.replace("  nodes: 2\n  node: {cores: 2}\n", machine), "f")).machine
    assert NicParameters(**found.nic_parameters) == NicParameters(nodes=6, interrupt_lines=5, **NIC_SIZES)
    assert FabricParameters(**found.fabric_parameters) == FabricParameters(
        nodes=6, topology="torus", dimensions=(3, 2), link_latency_cycles=5, link_width_bits=32, channels=2,
        datapath_bits=128,
    )  # fmt: skip
    for parameters in (found.nic_parameters, found.fabric_parameters):
        assert json.loads(json.dumps(parameters)).keys() == parameters.keys()


@pytest.mark.parametrize(
    ("nodes", "nic", "replies"),
    [
        (2, {}, 64),  # 2 nodes of 4 contexts with 8 requests each
        (3, {}, 128),  # 96, and the next power of two
        (2, {"contexts": 1, "outstanding": 1}, 2),
        (1, {"contexts": 1, "outstanding": 1}, 1),
        (16, {}, 512),
        (64, {}, 1024),  # 2048, more than there can be
        (16, {"replies": 32}, 32),
        (16, {"replies": 0}, 512),
    ],
)
def test_replies_are_as_many_as_all_nodes_may_wait_for(nodes, nic, replies):
    machine = f"  nodes: {nodes}\n  node: {{cores: 2, nic: {json.dumps(nic)}}}\n  fabric: {{topology: ring}}\n"
    text = GOOD.replace("  nodes: 2\n  node: {cores: 2}\n", machine).replace(", {node: 1, core: 0}]", "]")
    text = text[: text.index("  - name: two")]
    parameters = NicParameters(**from_source(parse(text, "f")).machine.nic_parameters)
    assert parameters.replies == replies


def test_scenarios_cannot_be_changed():
    scenario = from_source(parse(GOOD, "f.yaml"))
    with pytest.raises(ValueError, match="frozen"):
        scenario.machine.nodes = 3


def test_schema_describes_every_key_for_editors():
    def properties(node: object) -> Iterator[tuple[str, dict]]:
        if isinstance(node, dict):
            for name, inner in node.get("properties", {}).items():
                yield name, inner
            for inner in node.values():
                yield from properties(inner)

    found = dict(properties(schema()))
    assert {"nodes", "clock_mhz", "context_switch", "handler", "link_latency_ns"} <= found.keys()
    assert found["nodes"]["maximum"] == 64
    assert schema()["additionalProperties"] is False
    assert json.loads(json.dumps(schema())) == schema()
