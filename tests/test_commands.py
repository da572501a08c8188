"""``python -m fastnn``, called as a user calls it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastnn import __version__, functional
from fastnn.__main__ import main
from fastnn.commands import check as check_command
from fastnn.kernels.codes import ACTIVATIONS

pytestmark = pytest.mark.compiled


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "fastnn", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def test_without_a_command_it_says_what_is_here():
    done = run()
    assert done.returncode == 0 and done.stderr == ""
    for word in (__version__, np.__version__, "Numba", "cpu", "numpy", "cuda", "cache folder"):
        assert word in done.stdout


def test_help_explains_every_command():
    done = run("--help")
    assert done.returncode == 0
    for command in ("info", "demo", "check", "warmup", "--device", "exit codes"):
        assert command in done.stdout
        if command.isalpha():
            assert run(command, "--help").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "environment", "sentence"),
    [
        (["--device", "cuda"], {}, "use_device asks for 'cuda', which is not available"),
        (["check"], {"FASTNN_DEVICE": "cuda"}, "FASTNN_DEVICE asks for 'cuda'"),
        (["--device", "gpu"], {}, "unknown device 'gpu'; known are auto, cpu, cuda, cuda:N, numpy"),
        (["train"], {}, "invalid choice: 'train'"),
        (["demo", "--epochs", "0"], {}, "epochs must be at least 1"),
    ],
)
def test_a_wrong_call_ends_with_2(arguments, environment, sentence):
    done = run(*arguments, **environment)
    assert done.returncode == 2
    assert sentence in done.stderr


def test_demo_trains_prints_and_draws(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="the demo draws with matplotlib")
    picture = tmp_path / "curves.svg"
    assert main(["demo", "--quiet", "--picture", str(picture)]) == 0
    shown = capsys.readouterr().out
    rows = re.findall(r"(64(?:-\d+)+) +([\d.]+)% +([\d.]+)% +([\d.]+) s +([\d.]+) s", shown)
    assert [row[0] for row in rows] == ["64-10", "64-64-10", "64-64-64-64-10"]
    accuracy = {row[0]: float(row[2]) for row in rows}
    assert accuracy["64-10"] >= 95 and accuracy["64-64-10"] >= 97
    assert picture.read_text().startswith("<?xml")


@pytest.mark.parametrize("device", ["cpu", "numpy"])
def test_check_passes(device, capsys):
    assert main(["--device", device, "check"]) == 0
    shown = capsys.readouterr().out
    assert "all kernels pass" in shown and "FAILED" not in shown
    for activation in ACTIVATIONS:
        for direction in ("forward", "derivative", "backward"):
            assert len(re.findall(rf"activation_{direction} {activation} ", shown)) == 2
    for name in set(functional.__all__) - set(ACTIVATIONS):
        assert name in shown


def test_check_fails_where_a_kernel_is_wrong(monkeypatch, capsys):
    right = functional.bias_gradient
    monkeypatch.setattr(functional, "bias_gradient", lambda dZ: right(dZ) * np.float32(1.001))
    assert check_command.check(["float32"]) == 1
    shown = capsys.readouterr().out
    assert re.search(r"bias_gradient .*FAILED", shown) and "1 kernels FAILED" in shown


def test_warmup_leaves_nothing_to_compile(tmp_path):
    cache = {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = run("warmup", "--dtype", "float32", **cache)
    assert done.returncode == 0
    files = set(Path(tmp_path).rglob("*.nbc"))
    assert f"kept in {tmp_path}" in done.stdout and len(files) >= 15
    assert run("check", "--dtype", "float32", **cache).returncode == 0
    assert (
        run(
            "demo", "--quiet", "--epochs", "2", "--picture", str(tmp_path / "d.png"), **cache
        ).returncode
        == 0
    )
    assert set(Path(tmp_path).rglob("*.nbc")) == files
