"""A neural differential equation: du/dt = N(u), fitted to noisy data of predators and prey.

The data are those of Lotka and Volterra's equations with 5 % noise; the network has to find the
right-hand side. Runge-Kutta steps run through the network, and the gradient goes back through the
very same steps (the discrete adjoint), by a vector-Jacobian product for each of their stages. With
u = log of both populations, and a step from u to u+ of four stages k_i = N(u_i),

    u+ = u + h/6 (k_1 + 2 k_2 + 2 k_3 + k_4)
    v_4 = h/6 s+,  v_3 = h/3 s+ + h w_4,  v_2 = h/3 s+ + h/2 w_3,  v_1 = h/6 s+ + h/2 w_2
    w_i = v_i^T dN/du (u_i),   s = s+ + w_1 + w_2 + w_3 + w_4,   dJ/dtheta += v_i^T dN/dtheta (u_i)

where s is the derivative of the cost by u. Starting from each datum, the next WINDOW are predicted.
"""

import numba
import numpy as np

import fastnn
from fastnn import inside

H, WINDOW = 0.25, 10


@numba.njit
def step(parameters, layout, u, stages, after, work):
    """One Runge-Kutta step from u to ``after``; the points of its four stages are kept."""
    k, after[:], stages[0] = np.empty(2), u, u
    for i, (ahead, weight) in enumerate(((0.5, 1 / 6), (0.5, 1 / 3), (1.0, 1 / 3), (0.0, 1 / 6))):
        inside.forward(parameters, layout, stages[i], k, work)
        after += weight * H * k
        if i < 3:
            stages[i + 1] = u + ahead * H * k


@numba.njit
def step_back(parameters, layout, stages, s, gradient, work):
    """Turn s, the cost's derivative by the step's end, into that by its beginning."""
    k, w, total = np.empty(2), np.zeros(2), np.zeros(2)
    for i, (ahead, weight) in enumerate(((0.0, 1 / 6), (1.0, 1 / 3), (0.5, 1 / 3), (0.5, 1 / 6))):
        v = weight * H * s + ahead * H * w
        inside.linearize(parameters, layout, stages[3 - i], k, work)
        inside.vjp(parameters, layout, v, w, gradient, work)
        total += w
    s += total


@numba.njit
def cost_and_gradient(parameters, layout, data, gradient, work):
    """Return the mean square of what the windows miss, and put its gradient into ``gradient``."""
    windows = len(data) - WINDOW
    path, stages, J = np.empty((WINDOW + 1, 2)), np.empty((WINDOW, 4, 2)), 0.0
    gradient[:] = 0
    for first in range(windows):
        path[0] = data[first]
        for i in range(WINDOW):
            step(parameters, layout, path[i], stages[i], path[i + 1], work)
        s = np.zeros(2)
        for i in range(WINDOW, 0, -1):
            missed = path[i] - data[first + i]
            J += np.sum(missed**2) / (windows * WINDOW)
            s += 2 * missed / (windows * WINDOW)
            step_back(parameters, layout, stages[i - 1], s, gradient, work)
    return J


@numba.njit
def train(parameters, layout, data, epochs, rate, gradient, work):
    """Return the cost of each epoch; Adam, with a rate that falls to zero."""
    mean, square, costs = np.zeros_like(gradient), np.zeros_like(gradient), np.empty(epochs)
    for epoch in range(1, epochs + 1):
        costs[epoch - 1] = cost_and_gradient(parameters, layout, data, gradient, work)
        mean += 0.1 * (gradient - mean)
        square += 0.01 * (gradient**2 - square)
        now = rate * (1 - epoch / (epochs + 1))
        parameters -= now * mean / (1 - 0.9**epoch) / (np.sqrt(square / (1 - 0.99**epoch)) + 1e-8)
    return costs


@numba.njit
def solve(parameters, layout, u, count, work):
    """Return the path of ``count`` steps from u."""
    path, stages = np.empty((count + 1, 2)), np.empty((4, 2))
    path[0] = u
    for i in range(count):
        step(parameters, layout, path[i], stages, path[i + 1], work)
    return path


def lotka_volterra(count):
    """Return the logarithms of both populations, H apart: prey 4, predators 2 at first."""

    def slope(u):
        return np.array([1.1 - 0.4 * np.exp(u[1]), 0.1 * np.exp(u[0]) - 0.4])

    path, h = [np.log([4.0, 2.0])], H / 50
    for _ in range(50 * count):  # the midpoint rule, in small steps
        path.append(path[-1] + h * slope(path[-1] + h / 2 * slope(path[-1])))
    return np.array(path[::50])


def main(epochs=1000):
    """Fit the network to the first half of the data, and predict the second."""
    truth = lotka_volterra(160)
    half = truth[:81]
    data = half + 0.05 * np.random.default_rng(0).normal(size=half.shape)

    net = fastnn.Network([2, 16, 16, 2], ["tanh", "tanh", "identity"], dtype=np.float64, seed=0)
    layout, work = inside.layout(net), inside.work(net)
    parameters, gradient = inside.parameters(net), inside.gradient(net)
    costs = train(parameters, layout, data, epochs, 0.01, gradient, work)

    path = solve(parameters, layout, half[0], 160, work)
    missed = np.sqrt(np.mean((path - truth) ** 2, axis=1))
    print(f"cost {costs[0]:.3f} at first, {costs[-1]:.5f} after {epochs} epochs")
    print(f"off by {missed[:81].mean():.1%} where there were data,", end=" ")
    print(f"by {missed[81:].mean():.1%} in as much time after that")
    return {"costs": costs, "missed": missed, "truth": truth, "data": data, "path": path}


def draw(results, path):
    """Draw both populations, the data and what the network makes of them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    time = H * np.arange(len(results["truth"]))
    for i, name in enumerate(("prey", "predators")):
        axes.plot(time, np.exp(results["truth"][:, i]), color="0.7", linewidth=4)
        axes.plot(time, np.exp(results["path"][:, i]), color=f"C{i}", label=name)
        data = np.exp(results["data"][:, i])
        axes.plot(time[: len(data)], data, ".", color=f"C{i}", markersize=4)
    axes.axvspan(time[len(data) - 1], time[-1], color="0.95")
    axes.set(title="Dots: data. Grey: the truth. Lines: the network, from the first point on")
    axes.set(xlabel="time (no data in the shaded part)", ylabel="population")
    axes.set(xlim=(0, time[-1]), ylim=(0, 8))
    axes.legend(loc="upper right", ncols=2)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
