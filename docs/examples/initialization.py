"""Zeros or random numbers to start from: why hidden units must not start equal.

Units that start equal get equal gradients, step after step: however many there are, they work as
one. With tanh it is worse: A1 = 0 and W2 = 0 make dW2 = 0 and dZ1 = 0, and no weight ever moves.
Logistic regression has no hidden units, and may well start from zeros.
"""

import numpy as np

import fastnn


def train(sizes, hidden, initializer, X, y):
    """Return the network after training from this initialiser, and the cost of each epoch."""
    activations = [hidden] * (len(sizes) - 2) + ["sigmoid"]
    net = fastnn.Network(sizes, activations, seed=0, initializer=initializer)
    history = net.fit(X, y, epochs=3000, optimizer=fastnn.SGD(1.0))
    return net, history.cost


def main():
    """Train the same network from zeros and from random numbers, on two moons."""
    X, y = fastnn.datasets.moons(200)
    # With as many examples of one class as of the other, the zeros would not move at all.
    X, y = X[:, :150], y[:150]

    zeros, cost_zeros = train([2, 6, 1], "sigmoid", "zeros", X, y)
    random, cost_random = train([2, 6, 1], "sigmoid", "auto", X, y)
    _, cost_one = train([2, 1, 1], "sigmoid", "auto", X, y)
    tanh, _ = train([2, 6, 1], "tanh", "zeros", X, y)
    logistic, cost_logistic = train([2, 1], None, "zeros", X, y)

    print("the six rows of W1 after training")
    for name, net in (("zeros", zeros), ("zeros, tanh", tanh), ("random", random)):
        print(f"  {name:12}", "  ".join(f"({w1:5.2f} {w2:5.2f})" for w1, w2 in net.W[0]))
    print(f"J of six units from zeros   {cost_zeros[-1]:.3f}")
    print(f"     one unit from random   {cost_one[-1]:.3f}")
    print(f"     six units from random  {cost_random[-1]:.3f}")
    print(f"     logistic regression from zeros {cost_logistic[-1]:.3f}")
    return {
        # How far the other rows of W1 are from the first: 0 if all units are equal.
        "spread_zeros": float(np.abs(zeros.W[0] - zeros.W[0][0]).max()),
        "spread_random": float(np.abs(random.W[0] - random.W[0][0]).max()),
        "largest_weight_zeros": float(np.abs(zeros.W[0]).max()),
        "largest_weight_tanh": float(max(np.abs(W).max() for W in tanh.W)),
        "accuracy_zeros": float(np.mean(zeros.predict(X) == y)),
        "accuracy_random": float(np.mean(random.predict(X) == y)),
        "accuracy_logistic": float(np.mean(logistic.predict(X) == y)),
        "costs": {
            "6 hidden units, from zeros": cost_zeros,
            "1 hidden unit, from random": cost_one,
            "6 hidden units, from random": cost_random,
        },
    }


def draw(results, path):
    """Draw the costs while training."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.subplots()
    styles = ("-", "C1"), ("--", "C3"), ("-", "C0")
    for (name, cost), (line, color) in zip(results["costs"].items(), styles, strict=True):
        epochs = range(0, len(cost), 10)  # enough for the eye, and a small file
        axes.plot(epochs, cost[::10], line, color=color, label=name)
    axes.set(title="Six hidden units that start equal learn as one", xlabel="epoch", ylim=(0, 0.8))
    axes.set_ylabel("cost $J$")
    axes.legend()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
