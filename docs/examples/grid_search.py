"""A grid search in one call: forty points, five folds, two hundred networks on the digits.

The learning rate and the width of the hidden layer are chosen by cross-validation. One call trains
all networks, each on its four fifths of the examples, which are named by their numbers and not
copied. The five networks of the best point then answer together: the mean of their probabilities
is right more often than one of them, and where they disagree they are wrong more often.
"""

from itertools import product

import numpy as np

import fastnn

UNITS = [4, 8, 16, 32, 64]
LEARNING_RATES = np.geomspace(0.003, 3, 8).round(3).tolist()
EPOCHS = 15


def main():
    """Train, compare the points, and try the best networks on examples that none has seen."""
    digits = fastnn.datasets.load_digits()
    X, X_test, y, y_test = fastnn.preprocessing.train_test_split(
        digits.X, digits.y, test_fraction=0.3, seed=0, stratify=True
    )
    X, X_test = fastnn.preprocessing.standardize(X, X_test)

    points = fastnn.grid(units=UNITS, learning_rate=LEARNING_RATES)
    folds = fastnn.preprocessing.k_fold(X.shape[1], 5, labels=y)
    fits = list(product(points, folds))
    networks = [
        fastnn.Network([64, point["units"], 10], loss="cross_entropy", seed=i)
        for i, (point, _) in enumerate(fits)
    ]
    fastnn.fit_many(
        networks,
        X,
        y,
        EPOCHS,
        batch_size=32,
        optimizer=[fastnn.SGD(point["learning_rate"]) for point, _ in fits],
        rows=[train for _, (train, _) in fits],
    )
    held_out = [
        np.mean(net.predict(X[:, rows]) == y[rows])
        for net, (_, (_, rows)) in zip(networks, fits, strict=True)
    ]
    accuracy = np.reshape(held_out, (len(UNITS), len(LEARNING_RATES), len(folds)))

    best = int(accuracy.mean(axis=2).argmax())
    chosen = networks[best * len(folds) : (best + 1) * len(folds)]
    single = [float(np.mean(net.predict(X_test) == y_test)) for net in chosen]
    mean, _ = fastnn.ensemble_forward(chosen, X_test)
    right = mean.argmax(axis=0) == y_test
    votes = fastnn.forward_many(chosen, X_test).argmax(axis=1)
    agreed = (votes == votes[0]).all(axis=0)
    results = {
        "accuracy": accuracy,
        "best": points[best],
        "held_out": float(accuracy.mean(axis=2).max()),
        "single": single,
        "together": float(right.mean()),
        "agreed": float(agreed.mean()),
        "right_if_agreed": float(right[agreed].mean()),
        "right_if_not": float(right[~agreed].mean()),
    }
    print(f"{len(networks)} networks; best: {results['best']}, {results['held_out']:.1%} held out")
    print(f"on the test set: each {min(single):.1%} to {max(single):.1%}, together", end=" ")
    print(f"{results['together']:.1%}")
    print(
        f"all agree on {results['agreed']:.1%}, of which {results['right_if_agreed']:.1%} are"
        f" right; of the rest {results['right_if_not']:.1%}"
    )
    return results


def draw(results, path):
    """Draw the held-out accuracy of every point, and how far the folds lie apart."""
    from matplotlib.figure import Figure

    mean, spread = results["accuracy"].mean(axis=2), results["accuracy"].std(axis=2)
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    wrong = 100 * (1 - mean)
    left.imshow(np.log(wrong), cmap="viridis_r", aspect="auto")
    left.grid(visible=False)
    best = np.unravel_index(mean.argmax(), mean.shape)
    for i, j in np.ndindex(*mean.shape):
        dark = np.log(wrong[i, j]) > np.log(wrong).mean()
        left.text(
            j,
            i,
            f"{wrong[i, j]:.1f}",
            ha="center",
            va="center",
            fontsize=9,
            color="white" if dark else "black",
            weight="bold" if (i, j) == best else "normal",
        )
    rates = [f"{rate:g}" for rate in LEARNING_RATES]
    left.set_xticks(range(len(rates)), rates)
    left.set_yticks(range(len(UNITS)), UNITS)
    left.set(title="Wrong of those held out, in %", xlabel="learning rate", ylabel="hidden units")
    for i in (0, 2, 4):
        label = f"{UNITS[i]} units"
        right.errorbar(LEARNING_RATES, mean[i], spread[i], marker="o", ms=4, capsize=3, label=label)
    right.set(title="Mean and deviation of five folds", xlabel="learning rate", ylabel="accuracy")
    right.set_xscale("log")
    right.legend()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
