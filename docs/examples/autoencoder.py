"""An autoencoder: the digits through 16 numbers and back, against PCA of the same width.

The target is the input, Y = X. With linear layers the best that 64-16-64 can do is PCA, whose 16
directions the singular value decomposition gives at once. Layers with activations around the
narrow one bend those directions, and lose less.
"""

import numpy as np

import fastnn
import fastnn.functional as F

WIDTH = 16


def pca(X, mean, U):
    """Return the projection of X on the leading directions: U Uᵀ (X - mean) + mean."""
    return U @ (U.T @ (X - mean)) + mean


def train(sizes, activations, X):
    """Return the autoencoder: fast steps first, small ones to settle."""
    net = fastnn.Network(sizes, activations, loss="squared_error", seed=0)
    for epochs, learning_rate in ((200, 0.003), (50, 0.0005)):
        net.fit(X, X, epochs=epochs, batch_size=32, optimizer=fastnn.Adam(learning_rate))
    return net


def main():
    """Train a linear and a deeper autoencoder, and compare them with PCA."""
    digits = fastnn.datasets.load_digits()
    X, X_test, _, y_test = fastnn.preprocessing.train_test_split(
        digits.X / 16, digits.y, stratify=True
    )
    mean = X.mean(axis=1, keepdims=True)
    U = np.linalg.svd(X - mean, full_matrices=False)[0][:, :WIDTH]

    linear = train([64, WIDTH, 64], ["identity", "identity"], X)
    deep = train([64, 64, WIDTH, 64, 64], ["relu", "identity", "relu", "sigmoid"], X)

    models = {"PCA": lambda A: pca(A, mean, U), "linear": linear.forward, "deep": deep.forward}
    costs = {}
    for name, model in models.items():
        # ½ Σ (x̂ - x)² of an image, the mean over all images.
        costs[name] = [F.cost(model(part), part, "squared_error") for part in (X, X_test)]
        J, J_test = costs[name]
        print(f"{name:7} {WIDTH} numbers an image: cost {J:.4f}, of the test set {J_test:.4f}")
    first = [int(np.flatnonzero(y_test == digit)[0]) for digit in range(10)]
    rows = [X_test[:, first], deep.forward(X_test[:, first]), pca(X_test[:, first], mean, U)]
    return {"costs": costs, "rows": rows}


def draw(results, path):
    """Draw one test digit of each kind, and what is left of it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 2.9), layout="constrained")
    names = "digit", "autoencoder", "PCA"
    for axes_of_row, X, name in zip(figure.subplots(3, 10), results["rows"], names, strict=True):
        for axes, x in zip(axes_of_row, X.T, strict=True):
            axes.imshow(x.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(visible=True, color="0.8")
        axes_of_row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    figure.suptitle(f"Digits of the test set, rebuilt from {WIDTH} numbers")
    figure.savefig(path, metadata={"Software": None}, dpi=100)


if __name__ == "__main__":
    main()
