"""Networks inside compiled code, in other processes: kept on disk, and with bounds checked."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.compiled

CALLERS = """
    import numba, numpy as np
    from fastnn import inside

    @numba.njit(cache=True)
    def by_arrays(parameters, layout, x, v, out, gradient, work):
        inside.linearize(parameters, layout, x, out, work)
        inside.vjp(parameters, layout, v, None, gradient, work)

    @numba.njit(cache=True)
    def by_argument(f, x, out):
        f(x, out)

    @numba.njit(cache=True)
    def by_others(f, parameters, layout, x, v, out, gradient, work):
        by_argument(f, x, out)
        by_arrays(parameters, layout, x, v, out, gradient, work)
"""
USE = """
    import sys, numpy as np, fastnn
    from fastnn import inside
    from callers import by_argument, by_arrays, by_others

    scale = float(sys.argv[1])
    net = fastnn.Network([3, 5, 2], ["tanh", "identity"])
    net.parameters = scale * net.parameters
    told = inside.parameters(net), inside.layout(net)
    x, v, out = (np.ones(n, np.float32) for n in (3, 2, 2))
    gradient, work, f = inside.gradient(net), inside.work(net), net.njit()
    by_others(f, *told, x, v, out, gradient, work)
    first = out.copy(), gradient.copy()
    by_argument(f, x, out)
    by_arrays(*told, x, v, out, gradient, work)
    expected = net.forward(x[:, None])[:, 0]
    assert np.allclose(out, expected, atol=1e-6) and np.allclose(first[0], expected, atol=1e-6)
    assert np.allclose(2 * first[1], gradient)
    for caller in (by_others, by_argument, by_arrays):
        print(caller.__name__, sum(caller.stats.cache_hits.values()),
              sum(caller.stats.cache_misses.values()))
"""


def python(code, folder, *told, **environment):
    """Run a script in a process of its own, and return what it prints."""
    path = os.pathsep.join([str(folder), *sys.path])
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *told],
        env=dict(os.environ) | {"PYTHONPATH": path} | environment,
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


def test_callers_are_kept_on_disk(tmp_path):
    (tmp_path / "callers.py").write_text(textwrap.dedent(CALLERS))
    first = python(USE, tmp_path, "1.0")
    assert first.splitlines()[0] == "by_others 0 1"
    # Another process, other parameters: nothing is compiled, and the answers are the new ones.
    again = python(USE, tmp_path, "-3.0")
    assert again == "by_others 1 0\nby_argument 1 0\nby_arrays 1 0\n"


def test_other_kernels_are_another_type(tmp_path):
    use = """
        import sys
        from fastnn.kernels.cpu import compiler
        if len(sys.argv) > 1:
            digest = sys.argv[1]
            compiler.source_digest = lambda: digest
        import numpy as np, fastnn
        from callers import by_argument
        f = fastnn.Network([3, 5, 2], ["tanh", "identity"]).njit()
        by_argument(f, np.ones(3, np.float32), np.ones(2, np.float32))
        print(sum(by_argument.stats.cache_hits.values()))
    """
    (tmp_path / "callers.py").write_text(textwrap.dedent(CALLERS))
    told = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    found = [python(use, tmp_path, *digest, **told) for digest in ((), ("0",), ("0",), ())]
    assert "".join(found) == "0\n0\n1\n1\n"


def test_a_global_frozen_network_is_not_kept_and_numba_says_so(tmp_path):
    module = """
        import numba, numpy as np, fastnn
        f = fastnn.Network([3, 5, 2], ["tanh", "identity"]).njit()

        @numba.njit(cache=True)
        def inner(x, out):
            f(x, out)

        @numba.njit(cache=True)
        def outer(x, out):
            inner(x, out)
    """
    use = """
        import warnings, numpy as np
        import frozen_caller as m
        x, out = np.ones(3, np.float32), np.empty(2, np.float32)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            m.outer(x, out)
        told = [str(w.message) for w in caught if "dynamic globals" in str(w.message)]
        print(len(told), sum(m.outer.stats.cache_hits.values()), np.array_equal(out, m.f(x)))
    """
    (tmp_path / "frozen_caller.py").write_text(textwrap.dedent(module))
    for _ in range(2):
        assert python(use, tmp_path) == "2 0 True\n"


BOUNDS = """
    import numba, numpy as np
    from numba.core import config
    from test_inside import Case, normal
    from test_inside_njit import arguments, everything
    assert config.BOUNDSCHECK
    for sizes in ([1, 1], [2, 3, 2], [7, 13, 5], [15, 16, 17], [65, 63, 66], [3, 200, 129]):
        for output in ("softmax", "relu", "silu"):
            case = Case(sizes, ["tanh"] * (len(sizes) - 2) + [output])
            told = arguments(case)
            everything(*told)
            assert case.intact() and all(np.isfinite(a).all() for a in told[3:-2])
    print("within bounds")
"""


def test_every_index_is_within_its_array(tmp_path):
    # Checked in compiled code, index by index; the frames of the cases watch the rest.
    tests = os.path.dirname(__file__)
    assert python(BOUNDS, tests, NUMBA_BOUNDSCHECK="1") == "within bounds\n"


def test_nothing_beyond_an_array_is_touched():
    # By pointers either, of whose indices Numba knows nothing.
    if sys.platform != "linux":
        pytest.skip("forbids pages as Linux does")
    program = os.path.join(os.path.dirname(__file__), "guard_pages.py")
    done = subprocess.run([sys.executable, "-W", "error", program], capture_output=True, text=True)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-2000:]}"
    assert done.stdout == "within their pages\n"
