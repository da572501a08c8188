"""XOR: equal gives 0, different gives 1. No single line does it; two layers do.

The notes write x1 XOR x2 = (NOT x1 AND x2) OR (x1 AND NOT x2). Each of the three operations is a
line in the plane, thus one unit: two hidden units for the ANDs, the output for the OR. Gradient
descent finds weights of its own that do the same.
"""

import numpy as np

import fastnn


def by_logic():
    """Return a network whose weights are written by hand, one unit for each operation.

    A unit should be on where its z > 0. A sigmoid of 20 z is close to that step.
    """
    net = fastnn.Network([2, 2, 1], ["sigmoid", "sigmoid"], dtype=np.float64)
    net.W[0][...] = 20 * np.array([[-1.0, 1.0], [1.0, -1.0]])
    net.b[0][...] = 20 * np.array([[-0.5], [-0.5]])  # NOT x1 AND x2:  -x1 + x2 - 1/2 > 0
    net.W[1][...] = 20 * np.array([[1.0, 1.0]])
    net.b[1][...] = 20 * np.array([[-0.5]])  # h1 OR h2:  h1 + h2 - 1/2 > 0
    return net


def main():
    """Compare a single unit, the hand-made network and a trained one on the four cases."""
    X, y = fastnn.datasets.xor(dtype=np.float64)
    single = fastnn.Network([2, 1], ["sigmoid"], dtype=np.float64)
    single.fit(X, y, epochs=2000, optimizer=fastnn.SGD(1.0))

    logic = by_logic()

    trained = fastnn.Network([2, 4, 1], ["tanh", "sigmoid"], dtype=np.float64, seed=0)
    trained.fit(X, y, epochs=2000, optimizer=fastnn.SGD(1.0))

    networks = {"one unit": single, "by logic": logic, "trained": trained}
    outputs = {name: net.forward(X)[0] for name, net in networks.items()}
    print("x1 x2  xor ", *(f"{name:>9}" for name in networks))
    for i in range(4):
        x1, x2 = X[:, i].astype(int)
        print(f" {x1}  {x2}    {y[i]} ", *(f"{A[i]:9.4f}" for A in outputs.values()))
    right = {name: int(np.sum(net.predict(X) == y)) for name, net in networks.items()}
    print("right:     ", *(f"{n:9d}" for n in right.values()))
    return {
        "right": right,
        "error_by_logic": float(np.abs(outputs["by logic"] - y).max()),
        "error_trained": float(np.abs(outputs["trained"] - y).max()),
    }


if __name__ == "__main__":
    main()
