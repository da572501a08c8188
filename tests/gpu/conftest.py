"""The tests on a GPU: ``pytest -m gpu``, or ``tox -e cuda``, which installs what they need.

Where no GPU is, each is skipped with the reason. In numba-cuda's simulator (``tox -e cudasim``)
most run as well, on arrays as small as it needs: so that the tests are tried before a GPU is
there. Those marked ``hardware`` need a real one.
"""

from __future__ import annotations

import sys

import pytest
from gpu_machine import SIMULATED, WORST, why_not

import fastnn


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gpu: needs an NVIDIA GPU, or numba-cuda's simulator")
    config.addinivalue_line("markers", "hardware: needs a real GPU, not the simulator")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    chosen = [item for item in items if item.get_closest_marker("gpu")]
    reason = why_not() if chosen else None
    for item in chosen:
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=f"no GPU: {reason}"))
        elif SIMULATED and item.get_closest_marker("hardware"):
            item.add_marker(pytest.mark.skip(reason="needs a real GPU, not the simulator"))
        # Other libraries are of any version on a machine with a GPU: their warnings are shown, and
        # only those of fastnn's own code are errors.
        item.add_marker(pytest.mark.filterwarnings("default"))
        item.add_marker(pytest.mark.filterwarnings(r"error:::fastnn(\..*)?"))
        if SIMULATED:
            # As Python, scalars warn where a GPU overflows in silence, as it should.
            item.add_marker(pytest.mark.filterwarnings("ignore::RuntimeWarning"))


@pytest.fixture(autouse=True, scope="session")
def _threads_take_turns_quickly():
    """Let the simulator's threads, one for each of the GPU's, wait less for each other."""
    before = sys.getswitchinterval()
    if SIMULATED:
        sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def on_gpu():
    """Compute on the first GPU."""
    with fastnn.use_device("cuda") as name:
        assert name == "cuda:0"
        yield


@pytest.fixture
def driver():
    """Return the module that launches kernels."""
    from fastnn.kernels.cuda import driver

    return driver


@pytest.fixture
def cuda(driver):
    """Return ``numba.cuda``."""
    return driver.cuda


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if WORST:
        where = "the simulator, which computes with NumPy" if SIMULATED else "the GPU"
        terminalreporter.section(f"largest errors found on {where}, in ULP")
        for (name, dtype), (found, allowed) in sorted(WORST.items()):
            terminalreporter.write_line(f"{name:32s} {dtype:8s} {found:6.2f} of {allowed:g}")
