"""One hidden layer of four tanh units on the planar flower, where a straight line is lost.

The two classes share eight petals so that no line has one of them on each side. Logistic
regression draws one line; four hidden units draw four, and the output layer combines them.
"""

import numpy as np

import fastnn


def main():
    """Train both models by plain gradient descent, and compare their accuracy."""
    X, y = fastnn.datasets.planar_flower(400, seed=3)

    logistic = fastnn.Network([2, 1], ["sigmoid"])
    logistic.fit(X, y, epochs=1000, optimizer=fastnn.SGD(1.2))

    net = fastnn.Network([2, 4, 1], ["tanh", "sigmoid"], seed=0)
    history = net.fit(X, y, epochs=10_000, optimizer=fastnn.SGD(1.2))

    logistic_accuracy = np.mean(logistic.predict(X) == y)
    accuracy = np.mean(net.predict(X) == y)
    print(f"logistic regression  accuracy {logistic_accuracy:.1%}, J = {logistic.cost(X, y):.3f}")
    print(f"four tanh units      accuracy {accuracy:.1%}, J = {history.cost[-1]:.3f}")
    return {
        "logistic_accuracy": logistic_accuracy,
        "accuracy": accuracy,
        "examples": (X, y),
        "networks": (logistic, net),
    }


def draw(results, path):
    """Draw what each model says of every point of the plane, and the examples on top."""
    from matplotlib.figure import Figure

    X, y = results["examples"]
    side = np.linspace(-5, 5, 101, dtype=np.float32)
    grid = np.stack(np.meshgrid(side, side)).reshape(2, -1)  # one point a column

    figure = Figure(figsize=(8, 4), layout="constrained")
    titles = (
        f"Logistic regression: {results['logistic_accuracy']:.1%} right",
        f"Four tanh units: {results['accuracy']:.1%} right",
    )
    panels = figure.subplots(1, 2, sharey=True)
    for axes, title, net in zip(panels, titles, results["networks"], strict=True):
        A = net.forward(grid).reshape(side.size, side.size)
        axes.contourf(side, side, A, levels=[0, 0.5, 1], colors=["C0", "C1"], alpha=0.25)
        for label in (0, 1):
            points = X[:, y == label]
            axes.plot(*points, "o", color=f"C{label}", markersize=2.5, label=f"class {label}")
        axes.set(title=title, xlabel="$x_1$", aspect="equal")
        axes.grid(False)
    panels[0].set_ylabel("$x_2$")
    panels[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), markerscale=2)
    figure.savefig(path, metadata={"Software": None}, dpi=100)


if __name__ == "__main__":
    main()
