"""Shared by all tests."""

from __future__ import annotations

import importlib.util
import os

import pytest
import simulated_memory


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "compiled: needs compiled kernels; left out where NUMBA_DISABLE_JIT runs them as Python",
    )
    simulated = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")
    if simulated and importlib.util.find_spec("numba_cuda"):
        simulated_memory.share_arrays()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0"):
        return
    for item in items:
        # As Python, scalars warn where the compiled loops overflow in silence, as they should.
        item.add_marker(pytest.mark.filterwarnings("ignore::RuntimeWarning"))
    kept = [item for item in items if item.get_closest_marker("compiled") is None]
    dropped = [item for item in items if item.get_closest_marker("compiled") is not None]
    config.hook.pytest_deselected(items=dropped)
    items[:] = kept


@pytest.fixture(autouse=True)
def _no_device_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests choose their devices and threads themselves."""
    monkeypatch.delenv("FASTNN_DEVICE", raising=False)
    monkeypatch.delenv("FASTNN_NUM_THREADS", raising=False)
