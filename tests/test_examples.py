"""The examples in docs: each keeps its promises, is listed, and draws its picture."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import cuda_driver, inside

EXAMPLES = Path(__file__).resolve().parent.parent / "docs" / "examples"
# An sdist without docs has nothing to test here.
pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="there is no docs/examples")

MAX_PICTURE_BYTES = 100_000


@cache
def load(name: str) -> Any:
    """Return the example as a module, without running its main."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_computation_graph_gives_the_numbers_of_the_notes():
    r = load("computation_graph").main()
    assert (r["u"], r["v"], r["J"]) == (6, 11, 33)
    assert [r[name] for name in ("dv", "du", "da", "db", "dc")] == [3, 3, 3, 6, 9]
    assert r["nudged"] == pytest.approx(33.006, rel=1e-14)
    # Central differences of a polynomial of degree 2 are exact but for rounding, about eps^(2/3).
    assert r["numerical"].tolist() == pytest.approx([3, 6, 9], rel=1e-9)


def test_logistic_regression_is_the_same_three_times():
    r = load("logistic_regression").main()
    assert r["difference"] <= r["tolerance"] < 1e-13
    assert r["trained_difference"] <= r["trained_tolerance"] < 1e-11
    assert r["accuracy"] >= 0.8
    right, slip, nudged = r["db"].values()
    assert right == pytest.approx(nudged, abs=1e-9)
    assert abs(slip - nudged) > 0.05


def test_images_become_standardised_columns():
    r = load("images").main()
    assert r["image_shape"] == (200, 16, 16, 3) and r["flat_shape"] == (16 * 16 * 3, 200)
    assert r["same_as_notes"] and r["is_view"]
    assert r["range"][0] >= 0 and r["range"][1] <= 1
    # 200 values of float32, rounded once each.
    assert r["train_mean"] < 1e-6 and r["train_deviation"] < 1e-5
    # The statistics are not those of the test set.
    assert r["test_mean"] > 0.1


def test_four_hidden_units_tell_the_petals_apart():
    r = load("planar_flower").main()
    assert r["accuracy"] >= 0.90
    assert 0.4 <= r["logistic_accuracy"] <= 0.6


def test_activations_have_the_derivatives_of_the_notes():
    r = load("activations").main()
    assert len(r["derivative_at_zero"]) == 9
    assert r["derivative_at_zero"]["relu"] == r["derivative_at_zero"]["leaky_relu"] == 1
    assert r["derivative_at_zero"]["sigmoid"] == 0.25 and r["derivative_at_zero"]["tanh"] == 1
    assert r["error"] < 1e-9


def test_linear_layers_collapse_and_solve_neither_problem():
    r = load("linear_layers").main()
    for problem in ("xor", "flower"):
        # Three products instead of one, of numbers near 1, and a sigmoid of slope 1/4.
        assert r[f"{problem}_difference"] <= 1e-14
        accuracy, J = r[f"{problem}_tanh"]
        accuracy_linear, J_linear = r[f"{problem}_identity"]
        assert accuracy >= 0.9 and accuracy_linear <= 0.75
        assert J < 0.5 * J_linear
    assert r["xor_tanh"][0] == 1
    assert r["xor_identity"][1] == pytest.approx(0.693147, abs=1e-4)


def test_units_that_start_equal_stay_equal():
    r = load("initialization").main()
    assert r["spread_zeros"] == 0 and r["largest_weight_zeros"] > 0.1
    assert r["largest_weight_tanh"] == 0
    assert r["spread_random"] > 1
    assert r["accuracy_random"] >= 0.98 and r["accuracy_zeros"] <= 0.92
    assert r["accuracy_logistic"] >= 0.8
    zeros, one, random = (cost[-1] for cost in r["costs"].values())
    assert zeros == pytest.approx(one, rel=0.05) and random < 0.2 * zeros


def test_xor_is_solved_by_logic_and_by_training():
    r = load("xor").main()
    assert r["right"]["by logic"] == r["right"]["trained"] == 4
    assert r["right"]["one unit"] <= 3
    # Each sigmoid is asked at 10 or beyond: 1 - sigmoid(10) = 4.5e-5, times the slope above it.
    assert r["error_by_logic"] < 1e-4 and r["error_trained"] < 0.01


def test_l2_trades_training_cost_for_validation_cost():
    r = load("regularization").main()
    assert r["plain_training"] < 0.01 < r["l2_training"]
    assert r["l2_validation"] < 0.85 * r["plain_validation"]
    # Nothing beats the noise: 0.4^2 / 2, up to the luck of 200 examples.
    assert r["l2_validation"] > 0.06


def test_autoencoder_beats_pca_and_a_linear_one_does_not():
    costs = load("autoencoder").main()["costs"]
    # PCA is the best of all linear ones (Eckart and Young): the slack is for float32.
    assert costs["PCA"][0] * (1 - 1e-4) <= costs["linear"][0] <= costs["PCA"][0] * 1.02
    assert costs["deep"][1] < 0.6 * costs["PCA"][1]


def test_forty_points_on_five_folds_and_the_best_together():
    r = load("grid_search").main()
    assert r["accuracy"].shape == (5, 8, 5)
    assert r["best"]["units"] >= 16 and r["held_out"] > 0.95
    # Too small a rate learns little in so few epochs, and too large a one nothing.
    mean = r["accuracy"].mean(axis=2)
    assert (mean[:, 0] < mean[:, 4]).all() and (mean[:, -1] < 0.2).all()
    assert r["together"] > max(r["single"]) - 0.005 and r["together"] > 0.95
    assert r["right_if_agreed"] > 0.98 > 0.9 > r["right_if_not"]


@pytest.mark.compiled
def test_an_evolved_policy_balances_the_pole():
    r = load("cart_pole").main()
    assert r["kept"]["at first"] < 0.1 and r["kept"]["evolved"] > 0.9
    assert r["steps"][:3].mean() < 200 < 400 < r["steps"][-10:].mean()


@pytest.mark.compiled
def test_a_neural_ode_goes_on_where_its_data_end():
    example = load("neural_ode")
    data = example.lotka_volterra(14)
    net = fastnn.Network([2, 5, 2], ["tanh", "identity"], dtype=np.float64)
    told = net.parameters, inside.layout(net), data
    gradient, scratch, work = inside.gradient(net), inside.gradient(net), inside.work(net)
    example.cost_and_gradient(*told, gradient, work)

    def cost(theta):
        return example.cost_and_gradient(theta, *told[1:], scratch, work)

    for i in range(net.parameters.size):
        h = 1e-5 * np.eye(net.parameters.size)[i]
        nudged = (cost(net.parameters + h) - cost(net.parameters - h)) / 2e-5
        assert gradient[i] == pytest.approx(nudged, abs=1e-7)

    r = example.main()
    assert r["costs"][-1] < 0.02 < 0.5 < r["costs"][0]
    assert r["missed"][:81].mean() < 0.06 and r["missed"][81:].mean() < 0.12


@pytest.mark.compiled
def test_neutrons_do_not_notice_that_a_network_says_how_far_they_fly():
    r = load("slab").main(neutrons=10_000)
    exact, learned = r["sections"].values()
    assert np.abs(learned / exact - 1).max() < 0.05
    # The same random numbers: most neutrons do the same, so three standard errors are many.
    assert abs(r["through"]["network"] - r["through"]["integral"]) < 3 * r["error"]
    assert 0.5 < r["through"]["integral"] < 0.7


@pytest.mark.compiled
def test_the_same_neutrons_go_through_on_a_gpu(monkeypatch):
    missing = cuda_driver.missing()
    if missing:
        pytest.skip(f"needs a GPU, or numba-cuda's simulator: {missing}")
    monkeypatch.syspath_prepend(EXAMPLES)  # it imports slab
    example = load("slab_cuda")
    few = {"neutrons": 12, "epochs": 5, "grid": 2, "threads": 4}
    found = example.main(**few if cuda_driver.simulated() else {})
    # The random numbers alone say how much energy is left after so many collisions. A cross-section
    # that is rounded otherwise changes their number where one is at the very edge.
    assert (found["GPU"] == found["CPU"]).mean() > 0.999
    assert found["GPU"].max() > 0


def test_every_example_is_listed_and_tested():
    names = sorted(path.name for path in EXAMPLES.glob("*.py"))
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert [name for name in names if f"[{name}]({name})" not in readme] == []
    source = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in names if f'load("{Path(name).stem}")' not in source] == []


@pytest.mark.compiled
def test_every_picture_is_shown_drawn_and_small(tmp_path):
    pytest.importorskip("matplotlib").use("agg")
    make_pictures = load("make_pictures")
    make_pictures.load = load  # what they compile is compiled once
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    kept = {path.name for path in (EXAMPLES.parent / "pictures").iterdir()}
    drawn = make_pictures.main(tmp_path / "pictures")
    assert [path.name for path in drawn] == list(make_pictures.PICTURES)
    for path in drawn:
        assert 1_000 < path.stat().st_size < MAX_PICTURE_BYTES
        assert path.name in kept
        assert f"(../pictures/{path.name})" in readme
        content = path.read_bytes()
        assert content.startswith(b"\x89PNG") if path.suffix == ".png" else b"</svg>" in content
