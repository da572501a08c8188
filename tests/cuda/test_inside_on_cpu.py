"""The code for kernels of a user's own, compiled for this CPU: ``inside_on_cpu.py``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.compiler
SCRIPT = Path(__file__).resolve().with_name("inside_on_cpu.py")


def test_the_same_code_compiled_for_this_cpu():
    command = [sys.executable, str(SCRIPT)]
    done = subprocess.run(command, cwd=SCRIPT.parents[2], capture_output=True, text=True)
    assert "all as the reference says" in done.stdout, done.stderr[-4000:]
