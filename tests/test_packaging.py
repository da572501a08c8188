"""What is installed: fastnn.kernels, the data, the type marker, and no top-level kernels."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from importlib.resources import files

import fastnn
import fastnn.kernels


def test_the_kernels_are_installed_under_fastnn_alone():
    assert fastnn.kernels.__name__ == "fastnn.kernels"
    # A checkout may hold an egg-info too; it lists sources, not what is installed.
    found = importlib.metadata.distributions(name="numba-fastnn")
    installed = [each for each in found if each.read_text("SOURCES.txt") is None]
    names = {path.parts[0] for each in installed for path in each.files or []}
    assert names
    assert "kernels" not in names
    for module in ("reference", "codes", "structures", "cpu.linear", "cpu.training", "cuda.linear"):
        assert importlib.util.find_spec(f"fastnn.kernels.{module}") is not None


def test_data_and_type_marker_are_installed():
    assert files("fastnn").joinpath("py.typed").is_file()
    assert files("fastnn.data").joinpath("digits.npz").is_file()
    assert files("fastnn.data").joinpath("README.md").is_file()
    assert fastnn.datasets.load_digits().X.shape == (64, 1797)


def test_versions_agree():
    assert importlib.metadata.version("numba-fastnn") == fastnn.__version__


def test_the_core_needs_numpy_and_numba_alone():
    needs = importlib.metadata.requires("numba-fastnn") or []
    core = sorted(need.split(">")[0] for need in needs if "extra" not in need)
    assert core == ["numba", "numpy"]
