"""The activation functions and their derivatives.

The notes: sigmoid for the output of a binary classifier and nowhere else; tanh is nearly always
better in a hidden layer; ReLU is the usual choice, and leaky ReLU lets some slope through where
z < 0. The derivative of both at 0 is taken as 1: z is never exactly zero in practice.
"""

import numpy as np

import fastnn
import fastnn.functional as F

NAMES = (
    *("identity", "sigmoid", "tanh"),
    *("relu", "leaky_relu", "elu"),
    *("gelu", "silu", "softplus"),
)


def main():
    """Tabulate g and g' at a few points, and check every g' by central differences."""
    Z = np.array([[-2.0, -0.5, 0.0, 0.5, 2.0]])
    smooth = np.array([[-3.0, -1.5, -0.25, 0.25, 1.5, 3.0]])  # no kink of ReLU among them
    derivative_at_zero, error = {}, 0.0
    print(f"{'z':>16}", *(f"{z:8.3f}" for z in Z[0]))
    for name in NAMES:
        A, slope = F.activation_forward(Z, name), F.activation_derivative(Z, name)
        print(f"{name:>12} g  ", *(f"{a:8.3f}" for a in A[0]))
        print(f"{'':>12} g' ", *(f"{d:8.3f}" for d in slope[0]))
        derivative_at_zero[name] = float(slope[0, 2])
        # Each value depends on its own z alone: the gradient of their sum holds every g'.
        numerical = fastnn.numerical_gradient(
            lambda z, name=name: F.activation_forward(z, name).sum(), smooth
        )
        error = max(error, np.abs(F.activation_derivative(smooth, name) - numerical).max())
    print(f"g' and central differences differ by at most {error:.1e}")
    return {"derivative_at_zero": derivative_at_zero, "error": error}


def draw(results, path):
    """Draw g and g' of each activation, all on the same axes."""
    from matplotlib.figure import Figure

    # Two points at the kink of the ReLU family, so that the step of g' is drawn upright.
    z = np.sort(np.append(np.linspace(-4, 4, 161), -1e-9))
    figure = Figure(figsize=(8, 7), layout="constrained")
    panels = figure.subplots(3, 3, sharex=True, sharey=True)
    for axes, name in zip(panels.flat, NAMES, strict=True):
        axes.axhline(0, color="0.6", linewidth=0.8)
        axes.axvline(0, color="0.6", linewidth=0.8)
        axes.plot(z, F.activation_forward(z, name), label="$g(z)$")
        axes.plot(z, F.activation_derivative(z, name), "--", label="$g'(z)$")
        axes.set(title=name, ylim=(-1.4, 2.4))
    panels[0, 1].legend(loc="upper left")
    for axes in panels[-1]:
        axes.set_xlabel("$z$")
    figure.suptitle("Activation functions and their derivatives")
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
