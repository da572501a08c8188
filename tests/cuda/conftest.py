"""The tests of the CUDA kernels: in numba-cuda's simulator, and compiled ahead of time.

Neither needs a GPU. ``tox -e cudasim`` and ``tox -e cudaaot`` run them; elsewhere they are skipped,
with the reason.
"""

from __future__ import annotations

import importlib.util
import os
import sys

import pytest

INSTALLED = importlib.util.find_spec("numba_cuda") is not None
SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "simulator: needs numba-cuda and NUMBA_ENABLE_CUDASIM=1")
    config.addinivalue_line("markers", "compiler: needs numba-cuda with a toolkit, no simulator")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("simulator") and not (INSTALLED and SIMULATED):
            reason = "needs numba-cuda and NUMBA_ENABLE_CUDASIM=1: tox -e cudasim"
            item.add_marker(pytest.mark.skip(reason=reason))
        if item.get_closest_marker("compiler") and (SIMULATED or not INSTALLED):
            reason = "needs numba-cuda with CUDA's compiler, no simulator: tox -e cudaaot"
            item.add_marker(pytest.mark.skip(reason=reason))
        if item.get_closest_marker("simulator"):
            # As Python, scalars warn where a GPU overflows in silence, as it should.
            item.add_marker(pytest.mark.filterwarnings("ignore::RuntimeWarning"))


@pytest.fixture(autouse=True, scope="session")
def _threads_take_turns_quickly():
    """Let the simulator's threads, one for each of the GPU's, wait less for each other."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    # A test's properties come home from whichever process it ran in.
    passed = terminalreporter.stats.get("passed", [])
    rows = [row for report in passed for name, row in report.user_properties if name == "compiled"]
    if rows:
        terminalreporter.section("kernels, compiled ahead of time")
        for row in [("kernel", "type", "arch", "registers", "shared bytes"), *sorted(rows)]:
            terminalreporter.write_line("{:32s} {:8s} {:6s} {:>9s} {:>12s}".format(*row))
