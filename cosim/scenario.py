"""Scenario: what the user writes in YAML, as typed, validated, frozen models.

`load` refuses unknown keys, wrong types, values out of range and impossible combinations, all problems of a file at
once, with file, line, column, value, bound and remedy. Units are in the names of the keys.
"""

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError

from cosim import scenario_checks, scenario_errors, yaml_source
from cosim.yaml_source import Problem, Source, SourceError
from nimble.engine import DEFAULT_ENGINE, ENGINES
from rtl.fabric.parameters import MAX_CHANNELS, MAX_DIMENSIONS, Topology
from rtl.nic.parameters import BOUNDS as NIC_BOUNDS
from rtl.nic.parameters import NicParameters
from rtl.packets import DATAPATH_BITS
from sw.apps import APPLICATIONS
from sw.drivers import DRIVERS
from sw.kernel.costs import CpuCosts

PS_PER_US = 1_000_000
PS_PER_NS = 1_000
PS_PER_MS = 1_000_000_000
MAX_NODES = 64
MAX_DEVICE_US = 2_000_000  # 32 bits of cycles at the highest frequency of the devices

_NIC = NicParameters()


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", use_attribute_docstrings=True)


def _range(low: int, high: int, default: int | None = None, *, what: str) -> Any:
    """A field for an integer in low..high; `what` is the remedy's text."""
    return Field(default=... if default is None else default, ge=low, le=high, description=what)


def _size(name: str, what: str) -> Any:
    """A field for a size of the NIC, with the hardware's own bounds and default."""
    low, high, *_ = NIC_BOUNDS[name]
    return _range(low, high, getattr(_NIC, name), what=what)


def _power_of_two(value: int) -> int:
    if value & (value - 1) == 0:
        return value
    below = 1 << (value.bit_length() - 1)
    raise PydanticCustomError(
        "power_of_two",
        "{value} is no power of two; write {below} or {above}",
        {"value": value, "below": below, "above": 2 * below},
    )


def _period_ps(mhz: int) -> int:
    return PS_PER_US // mhz


def _whole_period(mhz: int, divides: int, what: str) -> int:
    if PS_PER_US % (mhz * divides) == 0:
        return mhz
    fitting = [rate for rate in range(1, PS_PER_US) if PS_PER_US % (rate * divides) == 0]
    below = max((rate for rate in fitting if rate < mhz), default=None)
    above = min((rate for rate in fitting if rate > mhz), default=None)
    remedy = " or ".join(str(rate) for rate in (below, above) if rate is not None)
    raise PydanticCustomError(
        "period", "{mhz} MHz has no {what}; write {remedy}", {"mhz": mhz, "what": what, "remedy": remedy}
    )


def _clock_mhz(mhz: int) -> int:
    return _whole_period(mhz, 2, "period of an even number of picoseconds")


def _core_mhz(mhz: int) -> int:
    return _whole_period(mhz, 1, "period of a whole number of picoseconds")


Name = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$"),
    Field(description="write a letter, then at most 63 letters, digits, '_' or '-'"),
]


class _Validated:
    """Marks a field whose values are of a type that is made at run time."""

    def __init__(self, made: Any) -> None:
        self._made = made

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return handler.generate_schema(self._made)


class Nic(_Model):
    """The network interface controller of every node; what most of it is made of belongs to a context each."""

    contexts: int = _size("contexts", "NIC contexts of a node, each with a command ring and an event queue")
    windows: int = _size("windows", "memory windows of a NIC context")
    portal_entries: int = _size("portal_entries", "entries of the portal table of a NIC context")
    match_entries: int = _size("match_entries", "match entries of a NIC context")
    unexpected_headers: int = _size("unexpected_headers", "headers that a NIC context keeps of unexpected messages")
    counters: int = _size("counters", "counting events of a NIC context")
    outstanding: int = _size("outstanding", "requests of a NIC context that may wait for a response")
    prefetch: int = _size("prefetch", "commands that the NIC fetches ahead for a context")
    replies: int = _range(
        0,
        NIC_BOUNDS["replies"][1],
        0,
        what="replies that a node sends by turns; when there are more, all requests to it wait. 0: as many as all "
        f"nodes together may wait for, at most {NIC_BOUNDS['replies'][1]}",
    )
    read_ahead_flits: int = _size("read_ahead_flits", "flits of payload that are read ahead of their sending")
    mtu_bytes: int = _size("mtu_bytes", "largest payload of a packet in bytes")
    datapath_bits: Annotated[int, _Validated(Literal[DATAPATH_BITS])] = Field(
        default=_NIC.datapath_bits, description="width of a node's memory and of a packet's flits in bits"
    )
    response_timeout_us: int = _range(
        0,
        MAX_DEVICE_US,
        10_000,
        what="microseconds, or up to twice as many, after which a request to which nothing comes fails, and a message "
        "of which nothing more comes is given up; 0: never",
    )

    @field_validator("*")
    @classmethod
    def _indexed_by_whole_bits(cls, value: int, info: ValidationInfo) -> int:
        _, _, power, _ = NIC_BOUNDS.get(str(info.field_name), (0, 0, False, ""))
        return _power_of_two(value) if power else value


class Node(_Model):
    """One compute node; all nodes are alike."""

    cores: int = _range(*NIC_BOUNDS["interrupt_lines"][:2], 2, what="CPU cores of a node, each with an interrupt line")
    memory_mib: int = _range(1, 3072, 64, what="host memory of a node in MiB")
    nic: Nic = Nic()


class Memory(_Model):
    """Host memory as the devices see it."""

    read_latency_cycles: int = _range(1, 10_000, 20, what="device clock cycles from a read's address to its first data")
    write_latency_cycles: int = _range(1, 10_000, 10, what="device clock cycles from a write's last data to its answer")


class Fabric(_Model):
    """What joins the nodes."""

    topology: Annotated[str, _Validated(Literal[tuple(map(str, Topology))])] = str(Topology.POINT_TO_POINT)
    dimensions: tuple[Annotated[int, _range(1, MAX_NODES, what="nodes along this dimension")], ...] = Field(
        default=(), max_length=MAX_DIMENSIONS, description="nodes along each dimension of a mesh or torus"
    )
    link_latency_ns: int = _range(1, 1_000_000, 100, what="delay of a link in nanoseconds")
    link_width_bits: Annotated[int, AfterValidator(_power_of_two)] = _range(
        0, max(DATAPATH_BITS), 0, what="bits that a link carries in a clock cycle, or 0: a whole flit"
    )
    channels: Annotated[int, AfterValidator(_power_of_two)] = _range(
        1, MAX_CHANNELS, 1, what="virtual channels of a link that requests share, and as many for responses"
    )


class Cpu(_Model):
    """How fast the cores are; `costs` are in core cycles."""

    core_mhz: Annotated[int, AfterValidator(_core_mhz)] = _range(1, 10_000, 2000, what="frequency of the cores in MHz")
    costs: CpuCosts = CpuCosts()


class Machine(_Model):
    """The modeled machine."""

    nodes: int = _range(1, MAX_NODES, what="compute nodes of the machine")
    clock_mhz: Annotated[int, AfterValidator(_clock_mhz)] = _range(
        1, 2_000, 250, what="frequency of devices and fabric in MHz"
    )
    node: Node = Node()
    memory: Memory = Memory()
    fabric: Fabric = Fabric()
    cpu: Cpu = Cpu()

    @property
    def clock_period_ps(self) -> int:
        """Picoseconds; even, so that half a period is a whole number."""
        return _period_ps(self.clock_mhz)

    @property
    def link_latency_cycles(self) -> int:
        """Device clock cycles; checked to be a whole number."""
        return self.fabric.link_latency_ns * PS_PER_NS // self.clock_period_ps

    @property
    def nic_parameters(self) -> dict[str, Any]:
        """Arguments of `rtl.nic.parameters.NicParameters`, as values that JSON has, too."""
        nic = self.node.nic
        sizes = nic.model_dump(exclude={"response_timeout_us"})
        return {
            **sizes,
            "replies": nic.replies or self._replies_of_all,
            "nodes": self.nodes,
            "interrupt_lines": self.node.cores,
        }

    @property
    def _replies_of_all(self) -> int:
        """Replies that all nodes together may wait for at a time, as far as a NIC can be built for them."""
        nic = self.node.nic
        waited_for = self.nodes * nic.contexts * nic.outstanding
        return min(1 << (waited_for - 1).bit_length(), NIC_BOUNDS["replies"][1])

    @property
    def fabric_parameters(self) -> dict[str, Any]:
        """Arguments of `rtl.fabric.parameters.FabricParameters`, as values that JSON has, too."""
        fabric = self.fabric.model_dump(exclude={"link_latency_ns"})
        return {
            **fabric,
            "nodes": self.nodes,
            "link_latency_cycles": self.link_latency_cycles,
            "datapath_bits": self.node.nic.datapath_bits,
        }


class Kernel(_Model):
    """What boot inserts."""

    drivers: tuple[Annotated[str, _Validated(Literal[tuple(DRIVERS)])], ...] = Field(
        default=("nic",), description="trusted extensions that boot inserts"
    )
    engine: Annotated[str, _Validated(Literal[tuple(ENGINES)])] = DEFAULT_ENGINE
    """What runs extensions on this host. Results and simulated times are the same with each."""
    # One takes about 2 us of the core on which the context was opened, where others may run, too: a flood leaves them
    # four fifths.
    interrupt_interval_us: int = _range(
        0,
        MAX_DEVICE_US,
        10,
        what="microseconds at least between interrupts for events of one NIC context, whatever its process asks for; "
        "the first event after a silence interrupts at once",
    )


class Place(_Model):
    """Where a rank of a job runs."""

    node: int = _range(0, MAX_NODES - 1, what="node that the rank runs on, counted from 0")
    core: int = _range(0, 63, what="core of that node, counted from 0")


def _one_or_more(value: Any) -> Any:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


class Job(_Model):
    """One parallel job; `app` selects the type of `parameters`."""

    name: Name
    jid: int = _range(1, 2**32 - 1, what="job ID, unique")
    app: str
    placement: tuple[Place, ...] = Field(min_length=1, max_length=4096, description="one place for each rank")
    after: Annotated[tuple[Name, ...], BeforeValidator(_one_or_more)] = Field(
        (), description="jobs that must have ended before"
    )
    parameters: Any


def _job_model(app: str) -> type[Job]:
    """Job whose `app` is this one and whose `parameters` have its type."""
    parameters = APPLICATIONS[app].Parameters
    fields: dict[str, Any] = {"app": (Literal[app], ...), "parameters": (parameters, parameters())}
    return create_model(f"{app}_job", __base__=Job, **fields)


_AnyJob: Any = Annotated[Union[tuple(map(_job_model, APPLICATIONS))], Field(discriminator="app")]  # noqa: UP007


class Limits(_Model):
    """Where a run is stopped and what it may record."""

    simulated_ms: int = _range(1, 1_000_000, 1000, what="the run fails when it has simulated that many milliseconds")
    trace_records: int = _range(0, 50_000_000, 200_000, what="records of the timeline; later ones are counted only")


Scalar = bool | int | float | str


class Expectation(_Model):
    """What a value of the report must be: a value itself, or {min, max}."""

    equals: Scalar | None = None
    min: int | float | None = None
    max: int | float | None = None

    @model_validator(mode="before")
    @classmethod
    def _checked(cls, value: Any) -> Any:
        if isinstance(value, Scalar):
            return {"equals": value}
        if not isinstance(value, dict) or not value or not value.keys() <= {"equals", "min", "max"}:
            raise ValueError("what is expected must be a number, text, true, false, or a mapping with min and max")
        for bound in ("min", "max"):
            if type(value.get(bound, 0)) not in (int, float):
                raise ValueError(f"{bound}: {yaml_source.shown(value[bound])} is not a number; write one")
        if value.get("min", -math.inf) > value.get("max", math.inf):
            raise ValueError(f"min: {value['min']} is more than max, {value['max']}; exchange them")
        return value

    @model_serializer
    def _written(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value is not None}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        number = {"type": "number"}
        bounds = {"type": "object", "properties": {"min": number, "max": number}, "additionalProperties": False}
        return {"anyOf": [{"type": ["number", "string", "boolean"]}, bounds]}


ReportPath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_@-]+(\.[A-Za-z0-9_@-]+)*$")]


class Scenario(_Model):
    """A machine, the jobs it runs, and what must come of it."""

    name: Name
    seed: int = _range(0, 2**63 - 1, 1, what="seed of everything that is random")
    simulator: Literal["verilator", "icarus"] = "verilator"
    machine: Machine
    kernel: Kernel = Kernel()
    jobs: tuple[Annotated[Job, _Validated(_AnyJob)], ...] = Field(
        min_length=1, max_length=1000, description="the jobs to run"
    )
    limits: Limits = Limits()
    expect: dict[ReportPath, Expectation] = Field(default={}, description="dotted path in report.json: what it must be")

    def canonical(self) -> str:
        """The whole scenario with its defaults as JSON; equal scenarios give equal text."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))


def from_canonical(text: str) -> Scenario:
    """The scenario that `Scenario.canonical` wrote."""
    return Scenario.model_validate_json(text)


def load(path: Path) -> Scenario:
    """The scenario in a YAML file. UserError with one line per problem if it is not a valid one."""
    return from_source(yaml_source.read(path))


def from_source(source: Source) -> Scenario:
    """The scenario that a parsed file describes. SourceError with all its problems."""
    _check_shape(source)
    problems = list(source.problems)
    try:
        scenario = Scenario.model_validate_json(json.dumps(source.value))
    except ValidationError as error:
        refused = error.errors(include_url=False)
        problems += scenario_errors.problems(refused, schema(), source)
        raise SourceError(source.file, problems + _common_problems(source, refused)) from None
    problems += scenario_checks.problems(scenario.machine, scenario.jobs, source)
    if problems:
        raise SourceError(source.file, problems)
    return scenario


def schema() -> dict[str, Any]:
    """JSON Schema of a scenario file, for editors."""
    return Scenario.model_json_schema()


def _check_shape(source: Source) -> None:
    if isinstance(source.value, dict):
        return
    what = "the file is empty" if source.value is None else f"{yaml_source.shown(source.value)} is not a scenario"
    problem = Problem(source.position(()), f"{what}; write a mapping with the keys name, machine and jobs")
    raise SourceError(source.file, source.problems or [problem])


def _common_problems(source: Source, refused: list[ErrorDetails]) -> list[Problem]:
    """What does not fit together in `machine` and `jobs`, if the models refused only other parts of the file."""
    refused_parts = {error["loc"][0] for error in refused} | {path[0] for path in source.broken if path}
    if refused_parts & {"machine", "jobs"}:
        return []
    rest = {key: source.value[key] for key in ("machine", "jobs")}
    scenario = Scenario.model_validate_json(json.dumps({"name": "unnamed", **rest}))
    return scenario_checks.problems(scenario.machine, scenario.jobs, source)
