"""Every kernel, compiled for GPUs that are not here: what the simulator cannot see.

Types, registers, memory that spills, double arithmetic in float32 kernels. Numba's code for a
kernel goes through NVIDIA's linker, as it does for a GPU, and the assembler tells what it took.
"""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda with CUDA's compiler: tox -e cudaaot")

pytestmark = pytest.mark.compiler

FLOATS = (np.float32, np.float64)
ARCHITECTURES = ((8, 0), (9, 0))

# What ptxas is told of blocks and threads leaves 128 registers to a product and to the answers of a
# network, 255 to its training. Of the others, what lets a multiprocessor (65,536 registers) hold 5
# and 3 blocks of 256 threads.
CAP = {np.float32: 48, np.float64: 80}

# What is linked with CUDA's own code for that.
WAITS_FOR_THE_GRID = {"train_together"}

# What is left of the registers of float64 is not enough: some numbers wait in memory, once a step.
MAY_SPILL = {("fit_many", np.float64)}

# The last stage of the cost sums in float64; patience is compared there, as on the host.
MAY_USE_FLOAT64 = {"cost", "watch_many"}


def kernels():
    """Return all kernels by name, or none where they cannot be imported."""
    try:
        driver = importlib.import_module("fastnn.kernels.cuda.driver")
        importlib.import_module("fastnn.backends.cuda")
    except ImportError:
        return {}
    return {} if driver.SIMULATED else driver.KERNELS


KERNELS = kernels()


def cap(kernel, real):
    limits = kernel.limits(real)
    if limits is None:
        return CAP[real]
    threads, blocks = limits
    return min(65536 // (threads * blocks), 255)


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    """Let functions that kernels call be compiled though no GPU is here to compile for."""
    found = SimpleNamespace(compute_capability=(9, 0))
    dispatcher = importlib.import_module("numba.cuda.dispatcher")
    monkeypatch.setattr(dispatcher, "get_current_device", lambda: found)
    driver = importlib.import_module("fastnn.kernels.cuda.driver")
    monkeypatch.setattr(driver, "compute_capability", lambda: found.compute_capability)


def compiled(kernel, real, capability, output):
    driver = importlib.import_module("fastnn.kernels.cuda.driver")
    code, _ = driver.cuda.compile(
        kernel.functions(real),
        driver.types.void(*kernel.types(real)),
        device=False,
        abi="numba",
        cc=capability,
        output=output,
        launch_bounds=kernel.limits(real),
    )
    return code


def linked(kernel, real, capability):
    """Return the machine code, and what the assembler says of it."""
    core = pytest.importorskip("cuda.core", reason="needs cuda-core, which numba-cuda installs")
    arch = f"sm_{capability[0]}{capability[1]}"
    options = core.LinkerOptions(arch=arch, ptxas_options=["-v"], link_time_optimization=True)
    code = [core.ObjectCode.from_ltoir(compiled(kernel, real, capability, "ltoir"))]
    if kernel.name in WAITS_FOR_THE_GRID:
        libraries = importlib.import_module("numba.cuda.cudadrv.libs")
        code.append(core.ObjectCode.from_library(libraries.get_cudalib("cudadevrt", static=True)))
    linker = core.Linker(*code, options=options)
    cubin = linker.link("cubin")
    return cubin.code, linker.get_info_log()


def number(pattern, text):
    found = re.search(pattern, text)
    return int(found.group(1)) if found else 0


both_types = pytest.mark.parametrize("real", FLOATS, ids=lambda real: real.__name__)
every_kernel = pytest.mark.parametrize("kernel", KERNELS.values(), ids=lambda kernel: kernel.name)


@pytest.mark.parametrize("capability", ARCHITECTURES, ids=lambda c: f"sm_{c[0]}{c[1]}")
@both_types
@every_kernel
def test_registers_and_memory(kernel, real, capability, record_property):
    _, log = linked(kernel, real, capability)
    registers, shared = number(r"Used (\d+) registers", log), number(r"(\d+) bytes smem", log)
    arch = f"sm_{capability[0]}{capability[1]}"
    row = kernel.name, real.__name__, arch, str(registers), str(shared)
    record_property("compiled", row)
    if (kernel.name, real) in MAY_SPILL:
        assert number(r"(\d+) bytes spill stores", log) <= 256
    else:
        assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in log
    assert 0 < registers <= cap(kernel, real)
    assert shared <= 48 * 1024


@every_kernel
def test_no_double_arithmetic_in_float32(kernel):
    ptx = compiled(kernel, np.float32, (9, 0), "ptx")
    found = sorted(set(re.findall(r"^\s*(\S*\.f64\S*)", ptx, re.MULTILINE)))
    if kernel.name in MAY_USE_FLOAT64:
        assert found
    else:
        assert found == []


@both_types
@every_kernel
def test_a_launch_finds_the_types_that_are_compiled_here(kernel, real):
    driver = importlib.import_module("fastnn.kernels.cuda.driver")
    arrays = importlib.import_module("numba.cuda.cudadrv.devicearray")

    def vector(dtype):
        item = np.dtype(dtype).itemsize
        return arrays.DeviceNDArray((4,), (item,), dtype, gpu_data=SimpleNamespace())

    values = {"V": vector(real), "D": vector(np.float64), "R": real(1), "I": 1}
    values["J"] = vector(np.int64)
    for letter, (kind, fields) in driver.TYPES.items():
        values[letter] = kind(*(values[field] for field in fields))
    dispatcher = kernel.compiled(real)
    found = tuple(dispatcher.typeof_pyval(values[letter]) for letter in kernel.signature)
    assert found == kernel.types(real)


def test_a_small_grid_gives_no_warning():
    for kernel in KERNELS.values():
        kernel._configured(np.float32, 1, 256, 0)
    config = importlib.import_module("numba.cuda.core.config")
    assert config.CUDA_LOW_OCCUPANCY_WARNINGS == 1


@both_types
@every_kernel
def test_no_atomics_and_no_local_memory(kernel, real):
    # Atomics on floats would let the order of threads into the sums.
    ptx = compiled(kernel, real, (9, 0), "ptx")
    assert re.findall(r"^\s*(?:@\S+ )?((?:atom|red|ld\.local|st\.local)\.\S+)", ptx, re.M) == []


@pytest.mark.parametrize(
    ("name", "real", "operation", "products", "loads"),
    [
        # Two of the depth at once: 8 x 8 products each, from 4 loads of 16 bytes.
        ("product_large", np.float32, "fma.rn.f32", 2 * 64, 2 * 4),
        ("product_small", np.float32, "fma.rn.f32", 2 * 16, 2 * 2),
        ("product_large", np.float64, "fma.rn.f64", 2 * 16, 2 * 4),
    ],
)
def test_the_loop_of_the_product(name, real, operation, products, loads):
    if not KERNELS:
        pytest.skip("no compiler")
    ptx = compiled(KERNELS[name], real, (9, 0), "ptx")
    assert ptx.count(operation) % products == 0
    steps = ptx.count(operation) // products
    assert len(re.findall(r"ld\.shared\.v[24]\.[fbu](?:32|64)", ptx)) == steps * loads
    assert re.findall(r"^\s*ld\.(?:v\d\.)?[fbu]\d+", ptx, re.M) == [], "loads of no known memory"


def test_the_instructions_of_the_product(tmp_path):
    places = [Path(sysconfig.get_paths()["purelib"]) / "nvidia/cu13/bin/nvdisasm"]
    tool = shutil.which("nvdisasm") or next((str(p) for p in places if p.is_file()), None)
    if tool is None or not KERNELS:
        pytest.skip("needs nvdisasm, for instance of the package nvidia-cuda-nvdisasm")
    path = tmp_path / "product.cubin"
    path.write_bytes(linked(KERNELS["product_large"], np.float32, (9, 0))[0])
    shown = subprocess.run([tool, "-c", str(path)], capture_output=True, text=True, check=True)
    assert shown.stdout.count(" FFMA ") == 128
    assert shown.stdout.count("LDS.128") == 8
    assert "LDG.E.128" in shown.stdout
    assert "STG.E.128" in shown.stdout
    assert "STS.128" in shown.stdout


@pytest.mark.parametrize("name", ["train_together", "settle", "product_small"])
def test_what_a_launch_compiles_is_kept_and_found_again(name, monkeypatch, tmp_path):
    dispatcher = importlib.import_module("numba.cuda.dispatcher")
    compiler = importlib.import_module("fastnn.kernels.cpu.compiler")
    library = importlib.import_module("numba.cuda.codegen").CUDACodeLibrary
    monkeypatch.setattr(library, "_ensure_cc", lambda self, cc: cc or (9, 0))
    monkeypatch.setattr(compiler.config, "CACHE_DIR", str(tmp_path))
    kernel = KERNELS[name]
    compiled, signature = kernel.compiled(np.float32), kernel.types(np.float32)
    cache = compiled._cache
    assert cache.load_overload(signature, compiled.targetctx) is None
    built = dispatcher._Kernel(compiled.py_func, signature, **compiled.targetoptions)
    # As a launch does it: Numba's own linker, for the machine code of a GPU.
    code = built._codelibrary.get_cubin(cc=(9, 0))
    assert built.cooperative == (name in WAITS_FOR_THE_GRID)
    cache.save_overload(signature, built)
    (path,) = (tmp_path / "fastnn").iterdir()
    assert path.stat().st_size < 1_000_000
    # The CPU's kernels tidy up old files of theirs.
    assert not path.match(f"{compiler.KernelCache.family}-*.nbc")
    found = cache.load_overload(signature, compiled.targetctx)
    assert found.cooperative == built.cooperative
    assert found._codelibrary.get_cubin(cc=(9, 0)).code == code.code
    # Cut short, it is compiled again.
    path.write_bytes(path.read_bytes()[:1000])
    assert cache.load_overload(signature, compiled.targetctx) is None
    cache.flush()
    assert list((tmp_path / "fastnn").iterdir()) == []
