"""Logistic regression three times: the loops of the notes, their vectorised form, and fastnn.

A slip to know of: one loop of the notes writes dz = a (1 - a), which is da/dz. What belongs
there is the derivative of the loss, dL/dz = dL/da * da/dz = a - y.
"""

import numpy as np

import fastnn
import fastnn.functional as F

STEPS, LEARNING_RATE = 200, 0.5


def gradient_by_loops(w, b, X, y):
    """Return J, dw, db: one loop over the examples, and one over the features inside it."""
    n_x, m = X.shape
    J, dw, db = 0.0, np.zeros(n_x), 0.0
    for i in range(m):
        z = b
        for j in range(n_x):
            z += w[j] * X[j, i]
        a = 1 / (1 + np.exp(-z))
        J += -(y[i] * np.log(a) + (1 - y[i]) * np.log(1 - a))
        dz = a - y[i]  # not a (1 - a)
        for j in range(n_x):
            dw[j] += X[j, i] * dz
        db += dz
    return J / m, dw / m, db / m


def gradient_vectorised(w, b, X, y):
    """Return J, dw, db without a loop."""
    m = X.shape[1]
    A = 1 / (1 + np.exp(-(w @ X + b)))
    J = -np.sum(y * np.log(A) + (1 - y) * np.log(1 - A)) / m
    dZ = A - y
    return J, X @ dZ / m, np.sum(dZ) / m


def main():
    """Compare the three gradients, then the parameters after equal training."""
    X, y = fastnn.datasets.moons(100, dtype=np.float64)
    w, b = np.array([0.5, -1.0]), 0.25
    net = fastnn.Network([2, 1], ["sigmoid"], dtype=np.float64)
    net.parameters = np.append(w, b)  # the flat vector: W, then b

    gradients = []
    for gradient in (gradient_by_loops, gradient_vectorised):
        J, dw, db = gradient(w, b, X, y)
        gradients.append((J, np.append(dw, db)))
    gradients.append(net.gradient(X, y))
    for name, (J, d) in zip(("loops", "vectorised", "fastnn"), gradients, strict=True):
        print(f"{name:10}  J = {J:.15f}  dw1, dw2, db = {np.array2string(d, precision=15)}")

    # Sums of the same m terms in another order differ by at most m eps times the largest term,
    # and each a by a few eps. A gradient step of a convex cost does not make errors grow (its
    # learning rate is small enough), so T of them add up to T times the error of one.
    tolerance = (X.shape[1] + 10) * np.finfo(np.float64).eps * max(1.0, np.abs(X).max())
    difference = max(np.abs(d - gradients[0][1]).max() for _, d in gradients)
    print(f"largest difference {difference:.1e}, rounding allows {tolerance:.1e}")

    for _ in range(STEPS):
        _, dw, db = gradient_vectorised(w, b, X, y)
        w, b = w - LEARNING_RATE * dw, b - LEARNING_RATE * db
    net.fit(X, y, epochs=STEPS, optimizer=fastnn.SGD(LEARNING_RATE))
    trained_difference = np.abs(net.parameters - np.append(w, b)).max()
    trained_tolerance = STEPS * LEARNING_RATE * tolerance
    accuracy = np.mean(net.predict(X) == y)
    print(f"after {STEPS} steps: w, b = {net.parameters}, accuracy {accuracy:.0%}")
    print(f"largest difference {trained_difference:.1e}, rounding allows {trained_tolerance:.1e}")

    # The slip in numbers: db of the right dz, of the slip, and by nudging b alone.
    W = net.W[0]
    A = F.sigmoid(F.linear_forward(X, W, net.b[0]))
    db = {
        "a - y": F.bias_gradient(A - y)[0, 0],
        "a (1 - a)": F.bias_gradient(A * (1 - A))[0, 0],
        "nudging b": fastnn.numerical_gradient(
            lambda b: F.cost(F.sigmoid(F.linear_forward(X, W, b)), y, net.loss), net.b[0]
        )[0, 0],
    }
    print("db by", ",  by ".join(f"{name}: {value:.6f}" for name, value in db.items()))
    return {
        "difference": difference,
        "tolerance": tolerance,
        "trained_difference": trained_difference,
        "trained_tolerance": trained_tolerance,
        "accuracy": accuracy,
        "db": db,
    }


if __name__ == "__main__":
    main()
