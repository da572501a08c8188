"""The computation graph of J = 3 (a + b c): forward for the value, backward for the derivatives.

Every node knows the derivative of its own output by its inputs; the chain rule multiplies them
along the way back. This is all that backpropagation does, with matrices in place of numbers.
"""

import fastnn


def cost(a, b, c):
    """Return the nodes of the graph, from the inputs to J."""
    u = b * c
    v = a + u
    J = 3 * v
    return u, v, J


def derivatives(a, b, c):
    """Return dJ by each node, named as in the notes: dv is dJ/dv, and so on."""
    dv = 3  # J = 3 v
    du = dv * 1  # v = a + u
    da = dv * 1
    db = du * c  # u = b c
    dc = du * b
    return {"dv": dv, "du": du, "da": da, "db": db, "dc": dc}


def main():
    """Walk the graph both ways, and check the derivatives by two kinds of nudges."""
    a, b, c = 5, 3, 2
    u, v, J = cost(a, b, c)
    print(f"forward:   u = b c = {u},  v = a + u = {v},  J = 3 v = {J}")

    by_hand = derivatives(a, b, c)
    print("backward: ", ",  ".join(f"{name} = {value}" for name, value in by_hand.items()))

    # The nudge of the notes: b grows by 0.001 and J by 6 times as much, so db = 6.
    _, _, nudged = cost(a, b + 0.001, c)
    print(f"nudge:     b = 3.001 gives J = {nudged:.3f}, so db = {(nudged - J) / 0.001:.3f}")

    # The same from both sides and for every input: this is how gradients are checked.
    numerical = fastnn.numerical_gradient(lambda x: cost(*x)[-1], [a, b, c])
    numbers = ",  ".join(f"d{n} = {x:.6f}" for n, x in zip("abc", numerical, strict=True))
    print("numerical:", numbers)
    return {"u": u, "v": v, "J": J, **by_hand, "nudged": nudged, "numerical": numerical}


if __name__ == "__main__":
    main()
