"""L2 against overfitting: twenty noisy points, and a network with 2,701 parameters.

Without a penalty the network learns the noise: the cost of the training set goes to nearly zero
while that of the validation set rises. The L2 penalty adds (l2 / 2) sum W^2 to J, hence l2 W to
dW: weights stay small, and a tanh network with small weights is a smooth curve.
"""

import numpy as np

import fastnn

L2 = 0.003


def train(l2, examples, validation):
    """Return the trained network and its history."""
    net = fastnn.Network([1, 50, 50, 1], ["tanh", "tanh", "identity"], seed=0)
    history = net.fit(
        *examples, epochs=4000, optimizer=fastnn.Adam(0.003), l2=l2, validation=validation
    )
    return net, history


def main():
    """Train with and without the penalty, and compare the cost of both sets."""
    examples = fastnn.datasets.regression_curve(20, noise=0.4, seed=2)
    validation = fastnn.datasets.regression_curve(200, noise=0.4, seed=3)
    results = {"examples": examples, "networks": {}, "validation_costs": {}}
    for l2 in (0.0, L2):
        net, history = train(l2, examples, validation)
        training_cost, validation_cost = net.cost(*examples), net.cost(*validation)
        size = np.sqrt(sum(np.sum(W**2) for W in net.W))
        print(
            f"l2 = {l2:<5}  cost of the training set {training_cost:.4f}, of the validation set"
            f" {validation_cost:.4f}, norm of the weights {size:.1f}"
        )
        key = "l2" if l2 else "plain"
        results |= {f"{key}_training": training_cost, f"{key}_validation": validation_cost}
        results["networks"][f"l2 = {l2:g}"] = net
        results["validation_costs"][f"l2 = {l2:g}"] = history.validation_cost
    # No curve can do better than the noise allows, 0.4^2 / 2.
    print(f"the noise alone costs {0.4**2 / 2:.4f}")
    return results


def draw(results, path):
    """Draw the two fitted curves, and the validation cost while training."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    x = np.linspace(-3, 3, 300, dtype=np.float32)[np.newaxis]
    truth = fastnn.datasets.regression_curve(300, noise=0.0)
    left.plot(*(row[0] for row in truth), ":", color="0.4", label="without noise")
    left.plot(*(row[0] for row in results["examples"]), "o", color="0.2", label="training set")
    for (name, net), color in zip(results["networks"].items(), ("C1", "C0"), strict=True):
        left.plot(x[0], net.forward(x)[0], color=color, label=name)
        cost = results["validation_costs"][name]
        right.plot(range(0, len(cost), 10), cost[::10], color=color, label=name)
    left.set(title="What the network learns", xlabel="$x$", ylabel="$y$")
    right.set(title="Cost of the validation set", xlabel="epoch", ylabel="$J$", ylim=(0, 0.3))
    right.set_xticks(range(0, 4001, 1000))
    right.axhline(0.4**2 / 2, linestyle=":", color="0.4", label="noise alone")
    left.legend()
    right.legend()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
