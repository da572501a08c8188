"""Why a hidden layer needs an activation: linear layers, however many, collapse to one.

With g the identity, W2 (W1 x + b1) + b2 = (W2 W1) x + (W2 b1 + b2) = W' x + b'. The network below
has a hidden layer and its sigmoid output, and is still logistic regression.
"""

import numpy as np

import fastnn


def train(hidden, X, y):
    """Return a trained network with four hidden units of this activation."""
    net = fastnn.Network([2, 4, 1], [hidden, "sigmoid"], dtype=np.float64, seed=0)
    net.fit(X, y, epochs=3000, optimizer=fastnn.SGD(1.0))
    return net


def collapse(net):
    """Return the network without the linear hidden layer of `net` that computes the same."""
    (W1, W2), (b1, b2) = net.W, net.b
    single = fastnn.Network([2, 1], ["sigmoid"], dtype=np.float64)
    single.W[0][...] = W2 @ W1
    single.b[0][...] = W2 @ b1 + b2
    return single


def main():
    """Train with and without an activation on XOR and on the flower, and collapse."""
    problems = {
        "xor": fastnn.datasets.xor(dtype=np.float64),
        "flower": fastnn.datasets.planar_flower(400, seed=3, dtype=np.float64),
    }
    results = {}
    for problem, (X, y) in problems.items():
        for hidden in ("identity", "tanh"):
            net = train(hidden, X, y)
            accuracy, J = float(np.mean(net.predict(X) == y)), net.cost(X, y)
            results[f"{problem}_{hidden}"] = accuracy, J
            print(f"{problem:6} {hidden:8} hidden units: J = {J:.4f}, {accuracy:.0%} right")

            if hidden == "identity":
                single = collapse(net)
                difference = float(np.abs(net.forward(X) - single.forward(X)).max())
                results[f"{problem}_difference"] = difference
                W, b = single.W[0].round(4), single.b[0].round(4)
                print(f"    W' = W2 W1 = {W}, b' = W2 b1 + b2 = {b}")
                print(f"    outputs of one layer and of two differ by at most {difference:.0e}")
    print("On XOR the best single line answers 1/2 to everything, J = log 2 = 0.6931:")
    print("rounding alone decides which of the four are then counted as right.")
    return results


if __name__ == "__main__":
    main()
