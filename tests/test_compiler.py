"""Where compiled kernels are kept, and that what is kept gives the same bits."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from numba.core.errors import NumbaError

from fastnn.kernels.cpu import compiler
from fastnn.kernels.cpu.vectors import never_inline

pytestmark = pytest.mark.compiled

# One kernel that compiles in a second; prints how often it was loaded and compiled.
SMALL = """
    import numpy as np
    import fastnn.functional as F
    from fastnn.kernels.cpu import losses
    F.output_gradient(np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32))
    hits = sum(losses.output_gradient._cache_hits.values())
    print("hits", hits, "misses", sum(losses.output_gradient._cache_misses.values()))
"""


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "FASTNN_"))}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env=env | environment,
        capture_output=True,
        text=True,
        check=True,
    )


def test_a_second_process_loads_what_the_first_compiled(tmp_path):
    cache = {"NUMBA_CACHE_DIR": str(tmp_path)}
    assert python(SMALL, **cache).stdout == "hits 0 misses 1\n"
    (file,) = tmp_path.glob("fastnn/*.nbc")
    assert re.fullmatch(r"fastnn-[0-9a-f]{12}-output_gradient-[0-9a-f]{24}\.nbc", file.name)
    assert python(SMALL, **cache).stdout == "hits 1 misses 0\n"
    # Checks of indices are compiled in: another key.
    assert python(SMALL, **cache, NUMBA_BOUNDSCHECK="1").stdout == "hits 0 misses 1\n"


def test_a_file_cut_short_is_compiled_again(tmp_path):
    cache = {"NUMBA_CACHE_DIR": str(tmp_path)}
    python(SMALL, **cache)
    (file,) = tmp_path.glob("fastnn/*.nbc")
    whole = file.read_bytes()
    for part in (b"", whole[:100], whole[: len(whole) // 2]):
        file.write_bytes(part)
        assert python(SMALL, **cache).stdout == "hits 0 misses 1\n"
        assert file.read_bytes()[:50] == whole[:50]


@pytest.fixture
def unprivileged():
    """Give the arguments that start a process to which file permissions apply."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        # Root may write anywhere; without the capability it may not.
        return dict(
            preexec_fn=lambda: _drop_privileges(),
        )
    return {}


def _drop_privileges():
    import ctypes

    libc = ctypes.CDLL(None)
    # PR_CAPBSET_DROP of CAP_DAC_OVERRIDE takes effect for the program that is started next.
    if libc.prctl(24, 1, 0, 0, 0) != 0:
        os._exit(77)


def test_a_read_only_warm_cache_is_read_and_a_cold_one_does_no_harm(tmp_path, unprivileged):
    folder = tmp_path / "fastnn"
    cache = {"NUMBA_CACHE_DIR": str(tmp_path)}
    python(SMALL, **cache)
    (file,) = folder.glob("*.nbc")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "FASTNN_"))} | cache
    told = [sys.executable, "-W", "error", "-c", textwrap.dedent(SMALL)]
    try:
        folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
        tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
        warm = subprocess.run(told, env=env, capture_output=True, text=True, **unprivileged)
        assert (warm.stdout, warm.stderr) == ("hits 1 misses 0\n", "")
        folder.chmod(stat.S_IRWXU)
        file.unlink()
        folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
        cold = subprocess.run(told, env=env, capture_output=True, text=True, **unprivileged)
        assert cold.stdout == "hits 0 misses 1\n" and cold.returncode == 0
        assert not list(folder.glob("*"))
    finally:
        tmp_path.chmod(stat.S_IRWXU)
        folder.chmod(stat.S_IRWXU)


def test_processes_that_fill_the_cache_at_once_do_not_mix(tmp_path):
    code = """
        import sys, numpy as np, fastnn.functional as F
        dtype = sys.argv[1]
        A = F.output_gradient(np.full((2, 3), 0.75, dtype), np.full((2, 3), 0.5, dtype))
        assert A.dtype == dtype and (A == 0.25).all()
    """
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    told = [sys.executable, "-c", textwrap.dedent(code)]
    for _ in range(2):
        running = [subprocess.Popen([*told, d], env=env) for d in ("float32", "float64") * 2]
        assert [process.wait() for process in running] == [0] * 4
    assert len(list(tmp_path.glob("fastnn/*.nbc"))) == 2
    assert not list(tmp_path.glob("fastnn/*.tmp"))


# Kernels of two cache files meet in one process: none may run in another's place. The bits
# depend neither on the order in which they come nor on whether they were compiled just now.
MIXED = """
    import sys, numpy as np, fastnn
    import fastnn.functional as F
    X = np.random.default_rng(0).normal(size=(3, 50)).astype(np.float32)
    y = np.arange(50) % 2
    net = lambda: fastnn.Network([3, 5, 2], ["gelu", "softmax"])
    def train():
        n = net()
        n.fit(X, y, epochs=3, batch_size=16, optimizer=fastnn.Adam())
        return n.parameters
    calls = {
        "train": train,
        "gradient": lambda: net().gradient(X, y)[1],
        "forward": lambda: net().forward(X),
        "sigmoid": lambda: F.sigmoid(X),
        "tanh": lambda: F.activation_backward(X, X, "tanh"),
    }
    found = {name: calls[name]().tobytes().hex() for name in sys.argv[1:]}
    print(sorted(found.items()))
"""


def test_bits_do_not_depend_on_what_else_was_loaded(tmp_path):
    names = ["train", "gradient", "forward", "sigmoid", "tanh"]
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}

    def run(*order):
        told = [sys.executable, "-c", textwrap.dedent(MIXED), *order]
        return subprocess.run(told, env=env, capture_output=True, text=True, check=True).stdout

    # Each kernel alone compiles in a process of its own: the numbers that Numba gives to
    # functions are then used more than once.
    alone = dict(item for name in names for item in eval(run(name)))
    for order in (names, names[::-1], names[2:] + names[:2]):
        assert dict(eval(run(*order))) == alone


def test_a_name_can_be_compiled_once():
    def loop():
        pass

    with pytest.raises(ImportError, match="needs a name of its own"):
        compiler.helper(loop)
    compiler.unique(loop, "test_a_name_can_be_compiled_once")
    with pytest.raises(ImportError, match="two compiled functions are named"):
        compiler.unique(loop, "test_a_name_can_be_compiled_once")


def test_a_kernel_cannot_allocate():
    def greedy(n):
        return np.empty(n, np.float32)[0]

    with pytest.raises(NumbaError):
        compiler.kernel(compiler.unique(greedy, "greedy"))(3)


def test_a_slow_compilation_says_what_it_does(tmp_path):
    code = """
        from fastnn.kernels.cpu import compiler
        compiler.ANNOUNCE_AFTER_SECONDS = 0.01
        import numpy as np, fastnn.functional as F
        F.sigmoid(np.ones((2, 3), np.float32))
    """
    shown = python(code, NUMBA_CACHE_DIR=str(tmp_path)).stderr
    expected = (
        f"fastnn: compiling 'activation_forward' for this processor, once (kept in {tmp_path}"
    )
    assert shown.startswith(expected)
    assert python(code, NUMBA_CACHE_DIR=str(tmp_path)).stderr == ""


def test_the_source_digest_covers_every_kernel_module(tmp_path, monkeypatch):
    sources = Path(compiler.__file__).parent.parent
    copy = tmp_path / "kernels"
    for path in [*sources.glob("*.py"), *sources.glob("cpu/*.py")]:
        target = copy / path.relative_to(sources)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    monkeypatch.setattr(compiler, "_KERNELS", copy)
    digest = compiler.source_digest.__wrapped__
    original = digest()
    for path in sorted(copy.rglob("*.py")):
        text = path.read_bytes()
        path.write_bytes(text + b"\n")
        assert digest() != original, path
        path.write_bytes(text)
    assert digest() == original


def test_nothing_compiles_and_no_thread_starts_at_import(tmp_path):
    code = """
        import threading, time
        begin = time.perf_counter()
        import fastnn, fastnn.backends.cpu, fastnn.inside
        from numba.core.dispatcher import Dispatcher
        import gc
        compiled = [d for d in gc.get_objects() if isinstance(d, Dispatcher) and d.overloads
                    and d.__module__.startswith("fastnn")]
        print(len(compiled), threading.active_count())
    """
    assert python(code, NUMBA_CACHE_DIR=str(tmp_path)).stdout == "0 1\n"


@compiler.helper
def _half_of(A, B, i):
    never_inline()
    return A[i] / 2


@compiler.kernel
def _half(A, B, i):
    return _half_of(A, B, i)


def test_helpers_belong_to_their_kernel():
    _half._cache.disable()  # what comes from there has no code to look at
    A = np.arange(3.0)
    assert _half(A, A, 1) == 0.5
    (code,) = _half.inspect_llvm().values()
    (told,) = re.findall(r"define internal \S+ (?:\S+ )?@\S*_half_of\S*\((.*?)\)", code)
    # Of two arrays, each told by seven numbers, the helper needs where one stands.
    assert told.count("%") <= 4
    assert "linkonce_odr" not in code
