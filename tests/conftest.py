"""For all tests: which files come first when several processes share them, and what must have run at the end."""

from pathlib import Path

import pytest

from tests.evidence import Evidence

TESTS = Path(__file__).parent
# Each keeps a process busy for longest, since models are compiled or much is simulated. Whoever gets one of them last
# would work on alone.
LONGEST = (
    "cosim/test_whole_path.py",
    "rtl/test_nic_whole.py",
    "rtl/test_nic_whole_crowded.py",
    "rtl/test_machine.py",
    "rtl/test_nic_axi.py",
    "cosim/test_bridge.py",
    "rtl/test_fabric_load.py",
    "rtl/test_nic_whole_drain.py",
    "rtl/test_fabric_network.py",
    "rtl/test_nic_host.py",
    "rtl/test_nic_answers.py",
    "sw/test_sw_random_access.py",
    "rtl/test_nic_whole_random.py",
)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # pytest-xdist's mark of those that see their own tests alone
        config.pluginmanager.register(Evidence(config))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, the others in their order."""
    places = {TESTS / name: place for place, name in enumerate(LONGEST)}
    assert all(path.exists() for path in places), "LONGEST names a file that is not there"
    items.sort(key=lambda item: places.get(item.path, len(places)))
