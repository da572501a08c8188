"""Kernels of a user's own with networks inside, compiled for a GPU that is not here.

What the simulator cannot see: types, registers, which memory is read and how.
"""

from __future__ import annotations

import importlib
import re
from functools import cache

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda with CUDA's compiler: tox -e cudaaot")

from test_ahead_of_time import number, stand_in  # noqa: F401, a fixture

import fastnn

pytestmark = pytest.mark.compiler

FLOATS = (np.float32, np.float64)
NETWORK = fastnn.Network([16, 32, 32, 9], ["relu", "gelu", "softmax"], "cross_entropy", seed=0)

# The most registers, for float32 and float64. A multiprocessor has 65,536: of threads that take 64,
# it holds 1,024; of 128, 512.
CAPS = {
    "examples": (48, 64),
    "examples_in_columns": (48, 64),
    "derivatives": (80, 128),
    "derivatives_in_columns": (96, 128),
    "jacobians": (96, 128),
    "blocks": (128, 168),
}
LOCAL = ("examples", "derivatives", "jacobians")


def work_size(name):
    inside = importlib.import_module("fastnn.inside.cuda")
    return inside.work_size(NETWORK, derivatives="examples" not in name)


def kernel(name, real):
    """Return a function of the user's, and the types of its arguments."""
    types = importlib.import_module("fastnn.kernels.cuda.driver").types
    made = getattr(importlib.import_module("inside_kernels"), name)
    scalar = types.float32 if real is np.float32 else types.float64
    vector, rows = types.Array(scalar, 1, "C"), types.Array(scalar, 2, "C")
    layout = types.Array(types.int64, 1, "C")
    if name in LOCAL:
        made = made(scalar, work_size(name))
    elif name == "blocks":
        made = made(scalar)
    counts = {"examples": 2, "examples_in_columns": 3, "derivatives": 7, "jacobians": 5}
    count = 2 if name == "blocks" else counts.get(name, 8)
    last = (types.int64,) if name == "blocks" else ()
    return made, types.void(vector, layout, *[rows] * count, *last)


@cache
def compiled(name, real, output, **options):
    cuda = importlib.import_module("fastnn.kernels.cuda.driver").cuda
    function, signature = kernel(name, real)
    told = {"device": False, "abi": "numba", "cc": (9, 0), "output": output, **options}
    return cuda.compile(function, signature, **told)[0]


def assembled(name, real):
    """Return what the assembler says of it."""
    core = pytest.importorskip("cuda.core", reason="needs cuda-core, which numba-cuda installs")
    options = core.LinkerOptions(arch="sm_90", ptxas_options=["-v"], link_time_optimization=True)
    linker = core.Linker(core.ObjectCode.from_ltoir(compiled(name, real, "ltoir")), options=options)
    linker.link("cubin")
    return linker.get_info_log()


both_types = pytest.mark.parametrize("real", FLOATS, ids=lambda real: real.__name__)
every_kernel = pytest.mark.parametrize("name", list(CAPS))


@both_types
@every_kernel
def test_registers_and_local_memory(name, real, record_property):
    log = assembled(name, real)
    registers, frame = number(r"Used (\d+) registers", log), number(r"(\d+) bytes stack frame", log)
    row = f"inside: {name}", real.__name__, "sm_90", str(registers), "0"
    record_property("compiled", row)
    assert "0 bytes spill stores, 0 bytes spill loads" in log
    assert 0 < registers <= CAPS[name][FLOATS.index(real)]
    # The workspace that was asked for, and nothing else.
    asked = work_size(name) * np.dtype(real).itemsize if name in LOCAL else 0
    assert asked <= frame <= asked + 8


@every_kernel
def test_no_double_arithmetic_in_float32(name):
    ptx = compiled(name, np.float32, "ptx")
    assert re.findall(r"^\s*(\S*\.f64\S*)", ptx, re.MULTILINE) == []


@both_types
@every_kernel
def test_which_memory_is_read(name, real):
    ptx = compiled(name, real, "ptx")
    wide = "v4.f32" if real is np.float32 else "v2.f64"
    assert f"ld.global.{wide}" in ptx, "four weights at once"
    assert (f"ld.shared.{wide}" in ptx) == (name == "blocks")
    assert (f"st.shared.{wide}" in ptx) == (name == "blocks")
    assert ("ld.local" in ptx) == (name in LOCAL)
    assert re.findall(r"^\s*(?:@\S+ )?((?:atom|red|call)\S*)", ptx, re.M) == []
    generic = re.findall(r"^\s*(?:@\S+ )?((?:ld|st)\.(?:v\d\.)?[bfsu]\d+)", ptx, re.M)
    # Numba forgets of which memory the caller's X[:, first:last] is; each value is read once.
    assert generic == [] or name == "blocks", "loads of no known memory"


def test_the_loop_of_the_products():
    ptx = compiled("examples", np.float32, "ptx")
    blocks = re.split(r"^\$L\S+:$", ptx, flags=re.M)
    # Eight steps of the depth for four units.
    (loop,) = (block for block in blocks if block.count("fma.rn.f32") == 32)
    assert loop.count("ld.global.v4.f32") == loop.count("ld.local.f32") == 8
    # Addresses are counted on, not computed for each load.
    assert len(re.findall(r"^\s*(?:add|shl|mul|mad|selp)\.", loop, re.M)) <= 12


@every_kernel
def test_a_kernel_to_debug_compiles(name):
    assert compiled(name, np.float32, "ltoir", debug=True, opt=False)


def test_wrong_types_are_told_when_a_kernel_is_compiled():
    driver = importlib.import_module("fastnn.kernels.cuda.driver")
    types, errors = driver.types, importlib.import_module("numba.core.errors")
    function, signature = kernel("examples_in_columns", np.float32)
    right = list(signature.args)
    wide = types.Array(types.float64, 2, "C")
    for place, wrong, text in (
        (0, types.Array(types.float16, 1, "C"), "parameters must be an array of float64 with 1"),
        (0, types.Array(types.float32, 1, "A"), "parameters must be contiguous"),
        (1, types.Array(types.int32, 1, "C"), "layout must be an array of int64"),
        (2, wide, "x must be an array of float32 with 1 dimension, got 1 of float64"),
        (3, wide, "out must be an array of float32"),
        (3, types.Array(types.float32, 2, "C", readonly=True), "out is read-only"),
        (4, wide, "work must be an array of float32"),
    ):
        told = types.void(*right[:place], wrong, *right[place + 1 :])
        with pytest.raises(errors.TypingError, match=text):
            driver.cuda.compile(function, told, device=False, abi="numba", cc=(9, 0))
