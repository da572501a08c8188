"""The benchmarks on a GPU, tried without one: in the simulator, and the peers on the CPU.

No time is looked at: that everything runs, agrees with float64, and is told as it is.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def load(monkeypatch):
    """Return what imports a module of ``bench``."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "bench"), *sys.path])
    # What a run sets is undone with this.
    monkeypatch.setenv("FASTNN_DEVICE", "cuda")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    return importlib.import_module


def run(*command, **variables):
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), **variables},
        capture_output=True,
        text=True,
    )


# ------------------------------------------------------------------ in the simulator


@pytest.mark.simulator
def test_the_command_runs_in_the_simulator(tmp_path):
    pytest.importorskip("numba_cuda", reason="needs numba-cuda: tox -e cudasim")
    figures = tmp_path / "figures.json"
    done = run("bench/gpu.py", "--simulate", "--json", str(figures))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(figures.read_text())
    assert found["simulated"] and found["quick"]
    assert set(found["ceilings"]) == {"copy", "read", "float32", "float64"}
    rows = {row["name"]: row for row in found["rows"]}
    assert len(rows) == 14 and not any(row["wrong"] for row in rows.values())
    for name, row in rows.items():
        if "fastnn" not in row["seconds"]:
            assert "no CUDA kernels" in row["reasons"]["fastnn"], name
    assert "fastnn" in rows["relu, 256 MiB"]["seconds"]
    for text in ("to reach", "not measured", "these figures mean nothing", "is absent"):
        assert text in done.stdout
    again = run("bench/gpu.py", "--report", str(figures))
    assert again.returncode == 0 and again.stdout.strip() in done.stdout


@pytest.mark.simulator
def test_the_other_benchmarks_run_on_the_simulated_gpu():
    for module in ("numba_cuda", "pytest_benchmark", "threadpoolctl"):
        pytest.importorskip(module, reason="the benchmarks need it")
    # Small arrays alone: the simulator is Python.
    chosen = "(relu and 64 and float32 and activation) or (call and 8x8x8) or (6337 and float32)"
    done = run(
        "-m", "pytest", "bench", "--benchmark-disable", "-q", "-k", chosen,
        "-p", "no:cacheprovider", "--deselect", "bench/bench_training.py",
        FASTNN_DEVICE="cuda",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert "passed" in done.stdout


@pytest.mark.simulator
def test_a_wrong_result_is_not_timed(load, monkeypatch):
    pytest.importorskip("numba_cuda", reason="needs numba-cuda: tox -e cudasim")
    race, workloads, fastnn = (load(f"gpu_{name}") for name in ("race", "workloads", "fastnn"))
    work = next(work for work in workloads.WORKLOADS if work.what == "tanh").reduced()
    right = fastnn.F.activation_forward

    def wrong(Z, activation, out):
        return right(Z, "sigmoid", out=out)

    monkeypatch.setattr(fastnn.F, "activation_forward", wrong)
    row = race.race(work, fastnn.ENTRANTS, "cuda", quick=True)
    assert row["seconds"] == {} and "DisagreementError" in row["reasons"]["fastnn"]
    assert len(row["wrong"]) == 1
    # ... nor one that leaves values unwritten.
    monkeypatch.setattr(fastnn.F, "activation_forward", lambda Z, activation, out: out)
    row = race.race(work, fastnn.ENTRANTS, "cuda", quick=True)
    assert "not every value was written" in row["reasons"]["fastnn"]


# ------------------------------------------------------------------ compiled ahead of time


@pytest.mark.compiler
def test_the_ceilings_are_what_they_are_called(load, monkeypatch):
    core = pytest.importorskip("cuda.core", reason="needs cuda-core, which numba-cuda installs")
    found = SimpleNamespace(compute_capability=(9, 0))
    dispatcher = importlib.import_module("numba.cuda.dispatcher")
    monkeypatch.setattr(dispatcher, "get_current_device", lambda: found)
    ceilings, driver = load("gpu_ceilings"), load("gpu_timing").driver()

    def ptx(kernel):
        code, _ = driver.cuda.compile(
            kernel.functions(np.float32), driver.types.void(*kernel.types(np.float32)),
            device=False, abi="numba", cc=(9, 0), output="ltoir",
        )  # fmt: skip
        options = core.LinkerOptions(arch="sm_90", ptx=True, link_time_optimization=True)
        return (
            core.Linker(core.ObjectCode.from_ltoir(code), options=options).link("ptx").code.decode()
        )

    multiplies, reads = ptx(ceilings._fma), ptx(ceilings._read)
    assert multiplies.count("fma.rn.f32") >= ceilings.CHAINS * ceilings.STEPS
    assert reads.count("ld.global.v4") >= ceilings.LOADS
    assert ".local" not in multiplies + reads


# ------------------------------------------------------------------ anywhere


def test_without_a_gpu_the_command_says_what_is_missing(load):
    from fastnn import cuda_driver

    if cuda_driver.missing() is None:
        pytest.skip("a GPU, or the simulator, is here")
    done = run("bench/gpu.py")
    assert done.returncode == 1
    assert "nothing can be measured" in done.stdout and "--simulate" in done.stdout
    assert run("bench/gpu.py", "--quick", "--write").returncode == 2


def cases():
    """Yield what each peer is tried with on the CPU: a compilation takes half a minute."""
    for file in ("torch", "jax"):
        for i, kind in enumerate(["values"] * 8 + ["fit"] * 4 + ["population", "product"]):
            yield pytest.param(file, i, id=f"{file}-{kind}-{i}")


# What a compiler of PyTorch warns of is its own affair.
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("file", "index"), list(cases()))
def test_peers_agree_on_the_cpu(load, file, index):
    pytest.importorskip(file, reason=f"needs {file}")
    workloads, module = load("gpu_workloads"), load(f"gpu_{file}")
    work = workloads.WORKLOADS[index].reduced()
    given = workloads.problem(work)
    ran = 0
    for entrant in module.ENTRANTS:
        assert entrant.missing("cpu") is None and entrant.version()
        if entrant.name == "PyTorch compiled" and index not in (9, 12):
            continue
        entry = entrant.prepare(work, given, "cpu")
        if isinstance(entry, str):
            continue
        entry.run(1)
        given.check(np.array(entry.result()))
        assert entry.clock.seconds(lambda run=entry.run: run(2)) > 0
        ran += 1
    assert ran or work.what in ("gelu", "tanh derivative", "relu backward")


def test_a_peer_that_errs_is_found_out(load):
    workloads = load("gpu_workloads")
    for work in workloads.WORKLOADS:
        small = work.reduced()
        given = workloads.problem(small)
        size = sum(P.size for P in [*given.data.W, *given.data.b]) if given.data else small.n
        shape = {"product": (size, size), "population": (small.n, size)}.get(small.kind, (size,))
        with pytest.raises(workloads.DisagreementError):
            given.check(np.full(shape, 0.1, np.float32))


def test_what_the_work_is(load):
    workloads = load("gpu_workloads")
    known = {work.name: work for work in workloads.WORKLOADS}
    told = known["logistic regression, 16,000,000 x 32"]
    assert told.bytes == 4 * 33 * 16e6 and told.operations == 4 * 32 * 16e6
    told = known["32-64-64-1, batch 65,536"]
    assert told.steps == 16
    assert told.operations == 2 * 65_536 * (3 * (32 * 64 + 64 * 64 + 64) - 32 * 64)
    told = known["4,096 networks 30-16-1, batch 32 of 576"]
    assert told.network_size == 513 and told.bytes == 4 * (31 * 576 + 2 * 4096 * 513)
    assert told.operations == 4096 * 100 * 2 * 576 * (3 * (30 * 16 + 16) - 30 * 16)
    assert known["product of 4096 x 4096 matrices"].operations == 2 * 4096**3
    assert known["relu backward, 256 MiB"].bytes == 3 * 2**28
    ceilings = {"copy": 1e9, "read": 2e9, "float32": 1e12}
    assert told.floor(2e9, 1e11, ceilings) == (1.0, "read")
    assert told.floor(2e9, 2e12, ceilings) == (2.0, "float32")


def row(name, bytes=1e9, reasons=(), **seconds):
    times = {key.replace("_", " "): [t, t, t] for key, t in seconds.items()}
    return {
        "name": name, "unit": "call", "bytes": bytes, "operations": 0.0, "seconds": times,
        "clocks": {}, "reasons": dict(reasons), "wrong": [],
    }  # fmt: skip


CEILINGS = {"copy": 1e12, "read": 2e12, "float32": 1e13, "float64": 5e12}
LOGISTIC = "logistic regression, 16,000,000 x 32"
PRODUCT = "product of 4096 x 4096 matrices"


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (row("relu, 256 MiB", fastnn=1.1e-3), ["90.9%", "| yes |"]),
        (row("relu, 256 MiB", fastnn=2e-3), ["50.0%", "| **no** |"]),
        (row(LOGISTIC, fastnn=6e-4, PyTorch_eager=3e-3, PyTorch_CUDA_graph=9e-4),
         ["83.3%", "1.50 times (PyTorch CUDA graph)", "| yes |", "| **no** |"]),
        (row(LOGISTIC, fastnn=6e-4), ["not measured: PyTorch was not |"]),
        (row(LOGISTIC, PyTorch_eager=6e-4, reasons={"fastnn": "DeviceError: none"}),
         ["not measured: DeviceError: none |"]),
        (row(PRODUCT, fastnn=1e-3, cuBLAS_through_CuPy=7e-4),
         ["70% (cuBLAS through CuPy)", "| yes |"]),
        (row(PRODUCT, fastnn=1e-3, cuBLAS_through_CuPy=5e-4), ["50%", "| **no** |"]),
    ],
)  # fmt: skip
def test_targets_are_judged(load, told, words):
    text = load("gpu_table").targets({"rows": [told], "ceilings": CEILINGS})
    for word in words:
        assert word in text


def whole(rows, **more):
    return {
        "machine": {
            "gpu": "NVIDIA Make-believe 9000, compute capability 9.0, 80.0 GiB", "driver": "1.2",
            "packages": "numba 1", "date": "2026-01-02",
        },
        "quick": False, "simulated": False, "ceilings": CEILINGS, "rows": rows,
        "entrants": {"fastnn": {"version": "0"}, "PyTorch eager": {"version": "3"},
                     "JAX": {"absent": "not here"}},
        **more,
    }  # fmt: skip


def test_figures_are_kept_and_shown(load, tmp_path):
    gpu, table = load("gpu"), load("gpu_table")
    found = whole([row("relu, 256 MiB", fastnn=2e-3, PyTorch_eager=1e-3), row(LOGISTIC)])
    page = gpu.write(found, tmp_path / "results")
    assert page.name == "gpu-nvidia-make-believe-9000.md"
    text = page.read_text()
    assert table.document(found) in text
    for word in ("Make-believe", "driver 1.2", "2026-01-02", "JAX is absent: not here", "(0.50)"):
        assert word in text
    assert "0 of 3 targets reached, 1 not, 2 not measured" in text
    assert json.loads(page.with_suffix(".json").read_text()) == found
    with pytest.raises(SystemExit, match="quick"):
        gpu.write({**found, "quick": True}, tmp_path)
    wrong = {**row("relu, 256 MiB"), "wrong": ["relu, fastnn: off"]}
    assert "WRONG" in table.document(whole([wrong]))
