"""What the documentation says, tried: docstrings run, and every public name has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import fastnn
from fastnn import cuda_driver, inside

ROOT = Path(__file__).resolve().parent.parent
MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(fastnn.__path__, "fastnn.")
    if not name.startswith(("fastnn.kernels", "fastnn.__main__"))
]


# What the examples of a module need beside fastnn, and what code that is read here may import.
CUDA = ("", "_calls", "_networks", "_populations", "_streaming", "_training")
NEEDS = {
    **{f"fastnn.backends.cuda{part}": "numba_cuda" for part in CUDA},
    "fastnn.inside._cuda_checks": "numba_cuda",
    "fastnn.inside.cuda": "numba_cuda",
    "fastnn.plotting": "matplotlib",
    "fastnn.convert.scikit": "sklearn",
    "fastnn.convert.pytorch": "torch",
    "fastnn.convert.onnx_reader": "onnx",
    "fastnn.convert.onnx_writer": "onnx",
}
OPTIONAL = ("torch", "sklearn", "scipy", "onnx")
# Pages whose snippets use what those before them made.
ONE_AFTER_ANOTHER = ("docs/populations.md",)


def needs_a_gpu():
    missing = cuda_driver.missing()
    if missing:
        pytest.skip(f"needs a GPU, or numba-cuda's simulator: {missing}")


# What Numba says of launches as small as an example's.
of_small_launches = pytest.mark.filterwarnings("ignore:Grid size", "ignore:.*Host array used")


@of_small_launches
@pytest.mark.compiled
@pytest.mark.parametrize("name", ["fastnn", *MODULES])
def test_examples_in_docstrings_run(name):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason=f"the examples of {name} need it")
    if name == "fastnn.network" or name.startswith("fastnn.persistence"):
        pytest.importorskip("safetensors", reason="the examples write files")
    if name == "fastnn.inside.cuda":
        needs_a_gpu()
    if name.startswith("fastnn.sklearn"):
        pytest.importorskip("sklearn", reason="fastnn.sklearn needs scikit-learn")
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failed == 0


def _public():
    for name in fastnn.__all__:
        found = getattr(fastnn, name)
        if inspect.ismodule(found):
            for inner in getattr(
                found, "__all__", [n for n in vars(found) if not n.startswith("_")]
            ):
                thing = getattr(found, inner)
                if callable(thing) and getattr(thing, "__module__", "").startswith("fastnn"):
                    yield f"{name}.{inner}", thing
        elif callable(found):
            yield name, found
    for name in ("forward", "predict", "njit", "cost", "gradient", "fit", "replicate", "save"):
        yield f"Network.{name}", getattr(fastnn.Network, name)
    for name in inside.__all__:
        yield f"inside.{name}", getattr(inside, name)


@pytest.mark.parametrize(
    ("name", "thing"), list(_public()), ids=lambda x: x if isinstance(x, str) else ""
)
def test_every_public_name_is_documented_and_shown(name, thing):
    text = inspect.getdoc(thing)
    assert text
    first = text.split("\n")[0]
    assert first.endswith(".") and len(first) < 100
    if name not in ("DeviceError", "Optimizer", "Device", "GradientCheck", "datasets.Digits"):
        assert ">>>" in text, "no example"


def test_the_readme_names_what_exists():
    pytest.importorskip("safetensors", reason="an example writes a file")
    text = (ROOT / "README.md").read_text()
    for link in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        if not link.startswith("http"):
            assert (ROOT / link).exists(), link


def _snippets():
    pages = (
        "coming_from_pytorch", "coming_from_scikit_learn", "inside_numba", "inside_cuda",
        "populations",
    )  # fmt: skip
    for page in ("README.md", *(f"docs/{name}.md" for name in pages)):
        text = (ROOT / page).read_text(encoding="utf-8")
        blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        assert blocks
        if page in ONE_AFTER_ANOTHER:
            blocks = ["\n".join(blocks)]
        for i, block in enumerate(blocks, start=1):
            yield pytest.param(page, block, id=f"{page}, snippet {i}")


@of_small_launches
@pytest.mark.compiled
@pytest.mark.parametrize(("page", "block"), list(_snippets()))
def test_snippets_run(page, block, tmp_path, monkeypatch):
    for library in OPTIONAL:
        if re.search(rf"^(import|from) {library}\b|to_{library}\(", block, re.MULTILINE):
            pytest.importorskip(library, reason=f"the snippet uses {library}")
    if "@cuda.jit" in block:
        needs_a_gpu()
    monkeypatch.chdir(tmp_path)
    exec(compile(block, page, "exec"), {})


def test_the_version_is_in_the_changelog():
    assert f"## {fastnn.__version__}" in (ROOT / "CHANGELOG.md").read_text()
