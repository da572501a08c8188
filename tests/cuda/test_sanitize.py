"""tools/sanitize.py: where it looks, and what it makes of what compute-sanitizer says."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parent.parent.parent / "tools" / "sanitize.py"


@pytest.fixture
def sanitize():
    found = importlib.util.spec_from_file_location("sanitize", TOOL)
    module = importlib.util.module_from_spec(found)
    sys.modules["sanitize"] = module
    found.loader.exec_module(module)
    yield module
    del sys.modules["sanitize"]


PASSED = "....\n4 passed, 1 skipped in 12.30s\n"
CLEAN = "========= COMPUTE-SANITIZER\n" + PASSED + "========= ERROR SUMMARY: 0 errors\n"


@pytest.mark.parametrize(
    ("code", "output", "verdict"),
    [
        (0, CLEAN, "clean"),
        (
            0,
            PASSED + "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)\n",
            "clean",
        ),
        (99, CLEAN.replace("0 errors", "3 errors"), "FOUND SOMETHING"),
        (
            99,
            PASSED + "========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)\n",
            "FOUND SOMETHING",
        ),
        (1, CLEAN.replace("4 passed", "2 failed, 2 passed"), "TESTS FAILED"),
        (0, CLEAN.replace("4 passed, 1 skipped", "5 skipped"), "NO TEST RAN"),
        (255, "========= Error: Target application terminated before", "DID NOT RUN"),
        (0, PASSED, "DID NOT RUN"),
    ],
)
def test_verdicts(sanitize, code, output, verdict):
    result = sanitize.judge("memcheck", code, output, 12.0)
    assert result.verdict.startswith(verdict)
    assert result.passed == (verdict == "clean")
    assert result.verdict in sanitize.table([result])


@pytest.mark.parametrize(
    "place",
    [
        "site/nvidia/cu13/bin",
        "site/nvidia/cuda_sanitizer_api/bin",
        "toolkit/bin",
        "toolkit/compute-sanitizer",
        "anywhere",
    ],
)
def test_it_is_found_where_it_may_be(sanitize, tmp_path, place):
    program = tmp_path / place / "compute-sanitizer"
    program.parent.mkdir(parents=True)
    variables = {"PATH": str(tmp_path / "anywhere"), "CUDA_HOME": str(tmp_path / "toolkit")}
    packages = [str(tmp_path / "site")]
    assert program not in (sanitize.find(variables, packages),)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert sanitize.find(variables, packages) == program


def fake(tmp_path, summary="0 errors", code=0):
    """Return a program that stands for compute-sanitizer: it shows how it was called."""
    program = tmp_path / "compute-sanitizer"
    program.write_text(
        f'#!/bin/sh\necho "$@"\necho "3 passed in 1.00s"\n'
        f'echo "========= ERROR SUMMARY: {summary}"\nexit {code}\n'
    )
    program.chmod(0o755)
    return program


def test_each_tool_is_run_and_judged(sanitize, tmp_path, monkeypatch, capsys):
    program = fake(tmp_path)
    monkeypatch.setattr(sanitize, "find", lambda *_: program)
    monkeypatch.setattr(sanitize, "missing", lambda program: None)
    assert sanitize.main([]) == 0
    shown = capsys.readouterr().out
    for tool in sanitize.OPTIONS:
        assert f"--tool {tool} --error-exitcode 99" in shown
    assert "test_gpu_once.py" in shown and shown.count("clean") == 4
    assert sanitize.main(["racecheck", "--", "tests/gpu", "-k", "fit"]) == 0
    shown = capsys.readouterr().out
    assert "tests/gpu -k fit" in shown and "memcheck" not in shown
    fake(tmp_path, "2 errors", 99)
    assert sanitize.main(["memcheck"]) == 1


def test_without_a_gpu_it_says_so(sanitize, capsys):
    reason = sanitize.missing(None)
    if reason is None:
        pytest.skip("a GPU and compute-sanitizer are here")
    assert sanitize.main([]) == 0
    assert capsys.readouterr().out == f"skipped: {reason}\n"
    with pytest.raises(SystemExit):
        sanitize.main(["valgrind"])


def test_what_it_runs_is_there(sanitize):
    assert (sanitize.ROOT / sanitize.TESTS).is_file()
