"""Every formula in plain NumPy: the specification that the compiled kernels are tested against.

Notation as in the notes: one example a column, Z = W A_prev + b, A = g(Z); J is the mean over
the examples of the loss, and the 1/m lives in dW and db alone. ``dtype`` is the type that a
formula is computed in: float64 for a specification, a narrower one to see what error the plain
formula makes there. Nothing here imports Numba.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .codes import LEAK
from .structures import Progress, Rule

Array = NDArray[Any]

# ------------------------------------------------------------------ activations


def _normal_cdf(Z: Array) -> Array:
    # P(z) = erfc(x) / 2 with x = -z / sqrt 2. NumPy has no erf: the standard library's, one value
    # at a time. What x has beyond float64, in a wider type, enters by the first-order term.
    X = -Z / np.sqrt(Z.dtype.type(2))
    near = X.astype(np.float64)
    P = np.asarray(np.frompyfunc(lambda x: math.erfc(x) / 2, 1, 1)(near), Z.dtype)
    if Z.dtype.itemsize <= 8:
        return P
    with np.errstate(invalid="ignore"):
        return P - np.where(np.isfinite(X), (X - near) * np.exp(-X * X), 0) / np.sqrt(np.pi)


def _normal_density(Z: Array) -> Array:
    return np.exp(-Z * Z / 2) / Z.dtype.type(math.sqrt(2 * math.pi))


def sigmoid(Z: Array, *, dtype: Any = np.float64) -> Array:
    """Return 1 / (1 + exp(-z)), computed so that nothing overflows."""
    Z = np.asarray(Z, dtype)
    e = np.exp(-np.abs(Z))
    return np.where(Z >= 0, 1, e) / (1 + e)


def softmax(Z: Array, *, dtype: Any = np.float64) -> Array:
    """Return exp(z_i) / sum_k exp(z_k) for each column."""
    Z = np.asarray(Z, dtype)
    e = np.exp(Z - Z.max(axis=0))
    return e / e.sum(axis=0)


def activation_forward(Z: Array, activation: str, *, dtype: Any = np.float64) -> Array:
    """Return A = g(Z)."""
    Z = np.asarray(Z, dtype)
    match activation:
        case "identity":
            return Z.copy()
        case "sigmoid":
            return sigmoid(Z, dtype=dtype)
        case "tanh":
            return np.tanh(Z)
        case "relu":
            return np.maximum(Z, 0)
        case "leaky_relu":
            return np.maximum(Z.dtype.type(LEAK) * Z, Z)
        case "softmax":
            return softmax(Z, dtype=dtype)
        case "elu":
            return np.where(Z >= 0, Z, np.expm1(np.minimum(Z, 0)))
        case "gelu":
            return Z * _normal_cdf(Z)
        case "silu":
            return Z * sigmoid(Z, dtype=dtype)
        case "softplus":
            return np.logaddexp(Z.dtype.type(0), Z)
        case "exp":
            with np.errstate(over="ignore"):
                return np.exp(Z)
    raise ValueError(f"unknown activation {activation!r}")


def activation_derivative(Z: Array, activation: str, *, dtype: Any = np.float64) -> Array:
    """Return g'(Z); for softmax the diagonal of the Jacobian, a_i (1 - a_i)."""
    Z = np.asarray(Z, dtype)
    match activation:
        case "identity":
            return np.ones_like(Z)
        case "sigmoid":
            return sigmoid(Z, dtype=dtype) * sigmoid(-Z, dtype=dtype)
        case "tanh":
            # 1 - tanh(z)^2, without its cancellation
            return 4 * sigmoid(2 * Z, dtype=dtype) * sigmoid(-2 * Z, dtype=dtype)
        case "relu":
            return (Z >= 0).astype(dtype)
        case "leaky_relu":
            return np.where(Z >= 0, Z.dtype.type(1), Z.dtype.type(LEAK))
        case "softmax":
            A = softmax(Z, dtype=dtype)
            return A * (1 - A)
        case "elu":
            return np.where(Z >= 0, 1, np.exp(np.minimum(Z, 0)))
        case "gelu":
            return _normal_cdf(Z) + Z * _normal_density(Z)
        case "silu":
            s = sigmoid(Z, dtype=dtype)
            return s + Z * s * sigmoid(-Z, dtype=dtype)
        case "softplus":
            return sigmoid(Z, dtype=dtype)
        case "exp":
            with np.errstate(over="ignore"):
                return np.exp(Z)
    raise ValueError(f"unknown activation {activation!r}")


def activation_backward(dA: Array, Z: Array, activation: str, *, dtype: Any = np.float64) -> Array:
    """Return dZ = dA * g'(Z); for softmax A * (dA - sum_k dA_k A_k), its whole Jacobian."""
    dA = np.asarray(dA, dtype)
    if activation == "softmax":
        A = softmax(Z, dtype=dtype)
        return A * (dA - (dA * A).sum(axis=0))
    return dA * activation_derivative(Z, activation, dtype=dtype)


# ------------------------------------------------------------------ one layer


def linear_forward(A_prev: Array, W: Array, b: Array, *, dtype: Any = np.float64) -> Array:
    """Return Z = W A_prev + b   # (n_out, n_in) (n_in, m) + (n_out, 1) -> (n_out, m)."""
    return np.asarray(W, dtype) @ np.asarray(A_prev, dtype) + np.asarray(b, dtype)


def layer_forward(
    A_prev: Array, W: Array, b: Array, activation: str, *, dtype: Any = np.float64
) -> tuple[Array, Array]:
    """Return A = g(Z) and Z = W A_prev + b."""
    Z = linear_forward(A_prev, W, b, dtype=dtype)
    return activation_forward(Z, activation, dtype=dtype), Z


def output_gradient(A: Array, Y: Array, *, dtype: Any = np.float64) -> Array:
    """Return dZ = A - Y."""
    return np.asarray(A, dtype) - np.asarray(Y, dtype)


def input_gradient(W: Array, dZ: Array, *, dtype: Any = np.float64) -> Array:
    """Return dA_prev = W^T dZ   # (n_in, n_out) (n_out, m) -> (n_in, m)."""
    return np.asarray(W, dtype).T @ np.asarray(dZ, dtype)


def hidden_gradient(
    W_next: Array, dZ_next: Array, Z: Array, activation: str, *, dtype: Any = np.float64
) -> Array:
    """Return dZ = (W_next^T dZ_next) * g'(Z)   # (n, n_next) (n_next, m) -> (n, m)."""
    dA = input_gradient(W_next, dZ_next, dtype=dtype)
    return activation_backward(dA, Z, activation, dtype=dtype)


def weight_gradient(dZ: Array, A_prev: Array, *, dtype: Any = np.float64) -> Array:
    """Return dW = (1/m) dZ A_prev^T   # (n_out, m) (m, n_in) -> (n_out, n_in)."""
    dZ = np.asarray(dZ, dtype)
    return dZ @ np.asarray(A_prev, dtype).T / dZ.dtype.type(dZ.shape[1])


def bias_gradient(dZ: Array, *, dtype: Any = np.float64) -> Array:
    """Return db = (1/m) sum over the examples of dZ   # (n_out, m) -> (n_out, 1)."""
    return np.asarray(dZ, dtype).mean(axis=1, keepdims=True)


def linear_backward(
    dZ: Array, A_prev: Array, W: Array, *, dtype: Any = np.float64
) -> tuple[Array, Array, Array]:
    """Return dA_prev = W^T dZ, dW and db."""
    dA_prev = input_gradient(W, dZ, dtype=dtype)
    return dA_prev, weight_gradient(dZ, A_prev, dtype=dtype), bias_gradient(dZ, dtype=dtype)


# ------------------------------------------------------------------ losses


def _x_log_y(x: Array, y: Array) -> Array:
    # 0 log 0 = 0: a target of zero asks nothing of the logarithm.
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(x == 0, 0, x * np.log(y))


def losses(A: Array, Y: Array, loss: str, delta: float = 1.0, *, dtype: Any = np.float64) -> Array:
    """Return the loss of each example, summed over the outputs   # (n_y, m) -> (m,)."""
    A, Y = np.asarray(A, dtype), np.asarray(Y, dtype)
    match loss:
        case "binary_cross_entropy":
            return -(_x_log_y(Y, A) + _x_log_y(1 - Y, 1 - A)).sum(axis=0)
        case "cross_entropy":
            return -_x_log_y(Y, A).sum(axis=0)
        case "squared_error":
            return ((A - Y) ** 2).sum(axis=0) / 2
        case "absolute_error":
            return np.abs(A - Y).sum(axis=0)
        case "huber":
            R = np.abs(A - Y)
            return np.where(R <= delta, R**2 / 2, dtype(delta) * (R - delta / 2)).sum(axis=0)
        case "poisson":
            return (A - Y + _x_log_y(Y, Y) - _x_log_y(Y, A)).sum(axis=0)
    raise ValueError(f"unknown loss {loss!r}")


def losses_from_logits(
    Z: Array,
    Y: Array,
    activation: str,
    loss: str,
    delta: float = 1.0,
    *,
    dtype: Any = np.float64,
) -> Array:
    """Return the loss of each example from the output layer's Z: no logarithm of zero."""
    Z, Y = np.asarray(Z, dtype), np.asarray(Y, dtype)
    if (activation, loss) == ("sigmoid", "binary_cross_entropy"):
        # -log sigmoid(z) = softplus(-z) and -log(1 - sigmoid(z)) = softplus(z)
        with np.errstate(invalid="ignore"):  # NaN goes through
            return (np.logaddexp(Z.dtype.type(0), Z) - Y * Z).sum(axis=0)
    if (activation, loss) == ("softmax", "cross_entropy"):
        # -log a_i = log(sum_k exp(z_k)) - z_i
        top = Z.max(axis=0)
        total = top + np.log(np.exp(Z - top).sum(axis=0))
        return (Y * (total - Z)).sum(axis=0)
    A = activation_forward(Z, activation, dtype=dtype)
    if (activation, loss) == ("exp", "poisson"):
        # -y log a = -y z
        return (A - Y - Y * Z + _x_log_y(Y, Y)).sum(axis=0)
    return losses(A, Y, loss, delta, dtype=dtype)


def loss_derivative(
    Z: Array,
    Y: Array,
    activation: str,
    loss: str,
    delta: float = 1.0,
    *,
    dtype: Any = np.float64,
) -> Array:
    """Return dZ of the output layer."""
    A = activation_forward(Z, activation, dtype=dtype)
    dA = output_gradient(A, Y, dtype=dtype)
    match loss:
        case "absolute_error":
            dA = np.sign(dA)
        case "huber":
            dA = np.clip(dA, -delta, delta)
        case "binary_cross_entropy" | "cross_entropy" | "poisson":
            return dA  # behind sigmoid, softmax and exp, A - Y is dZ already
    return activation_backward(dA, Z, activation, dtype=dtype)


def cost(A: Array, Y: Array, loss: str, delta: float = 1.0, *, dtype: Any = np.float64) -> float:
    """Return J, the mean over the examples of the loss."""
    return float(losses(A, Y, loss, delta, dtype=dtype).mean())


def penalty(weights: Sequence[Array], l1: float, l2: float) -> float:
    """Return l1 sum |w| + (l2/2) sum w^2 over the weights, never the biases."""
    return sum(
        l1 * float(np.abs(W, dtype=np.float64).sum())
        + l2 / 2 * float(np.square(W, dtype=np.float64).sum())
        for W in weights
    )


# ------------------------------------------------------------------ networks


def layers(parameters: Array, sizes: Sequence[int]) -> tuple[list[Array], list[Array]]:
    """Return views W_l and b_l of the flat vector W1, b1, W2, b2, ..."""
    W, b, place = [], [], 0
    for n_in, n_out in pairwise(sizes):
        W.append(parameters[place : place + n_out * n_in].reshape(n_out, n_in))
        place += n_out * n_in
        b.append(parameters[place : place + n_out].reshape(n_out, 1))
        place += n_out
    return W, b


def network_forward(
    parameters: Array,
    sizes: Sequence[int],
    activations: Sequence[str],
    X: Array,
    *,
    dtype: Any = np.float64,
) -> Array:
    """Return the output A of the last layer for the examples X."""
    A = X
    for W, b, activation in zip(*layers(parameters, sizes), activations, strict=True):
        A, _ = layer_forward(A, W, b, activation, dtype=dtype)
    return A


def _all_layers(
    parameters: Array,
    sizes: Sequence[int],
    activations: Sequence[str],
    X: Array,
    masks: Sequence[Array] | None,
    dtype: Any,
) -> tuple[list[Array], list[Array]]:
    """Return A_0 = X, A_1, ..., A_L and Z_1, ..., Z_L; hidden A times their masks, if given."""
    A: list[Array] = [np.asarray(X, dtype)]
    Z: list[Array] = []
    for W, b, activation in zip(*layers(parameters, sizes), activations, strict=True):
        a, z = layer_forward(A[-1], W, b, activation, dtype=dtype)
        l = len(Z)
        A.append(a if masks is None or l == len(masks) else a * masks[l])
        Z.append(z)
    return A, Z


def network_cost(
    parameters: Array,
    sizes: Sequence[int],
    activations: Sequence[str],
    loss: str,
    X: Array,
    Y: Array,
    sample_weight: Array | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
    *,
    delta: float = 1.0,
    dtype: Any = np.float64,
) -> float:
    """Return J = (1/m) sum_j w_j loss_j + l1 sum |W| + (l2/2) sum W^2."""
    Ws, _ = layers(parameters, sizes)
    _, Z = _all_layers(parameters, sizes, activations, X, None, dtype)
    each = losses_from_logits(Z[-1], Y, activations[-1], loss, delta, dtype=dtype)
    if sample_weight is not None:
        each = each * sample_weight
    return float(each.mean()) + penalty(Ws, l1, l2)


def network_gradient(
    parameters: Array,
    sizes: Sequence[int],
    activations: Sequence[str],
    loss: str,
    X: Array,
    Y: Array,
    sample_weight: Array | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
    *,
    delta: float = 1.0,
    masks: Sequence[Array] | None = None,
    dtype: Any = np.float64,
) -> tuple[float, Array]:
    """Return J and its derivatives by all parameters, as one flat vector.

    J = (1/m) sum_j w_j loss_j + l1 sum |W| + (l2/2) sum W^2

    With dropout the outputs of the hidden layers are multiplied by ``masks``.
    """
    Ws, _ = layers(parameters, sizes)
    A, Z = _all_layers(parameters, sizes, activations, X, masks, dtype)
    each = losses_from_logits(Z[-1], Y, activations[-1], loss, delta, dtype=dtype)
    dZ = loss_derivative(Z[-1], Y, activations[-1], loss, delta, dtype=dtype)
    if sample_weight is not None:
        each, dZ = each * sample_weight, dZ * np.asarray(sample_weight, dtype)
    gradient = np.empty(parameters.size, dtype)
    dWs, dbs = layers(gradient, sizes)
    for l in reversed(range(len(Ws))):
        W = np.asarray(Ws[l], dtype)
        dWs[l][...] = weight_gradient(dZ, A[l], dtype=dtype)
        dWs[l][...] += dtype(l1) * np.sign(W) + dtype(l2) * W
        dbs[l][...] = bias_gradient(dZ, dtype=dtype)
        if l > 0:
            dZ = hidden_gradient(W, dZ, Z[l - 1], activations[l - 1], dtype=dtype)
            if masks is not None:
                dZ = dZ * masks[l - 1]
    return float(each.mean()) + penalty(Ws, l1, l2), gradient


# ------------------------------------------------------------------ derivatives of the output


def vjp(
    parameters: Array,
    sizes: Sequence[int],
    activations: Sequence[str],
    x: Array,
    v: Array,
    *,
    dtype: Any = np.float64,
) -> tuple[Array, Array]:
    """Return v^T dA/dx, (n_x,), and v^T dA/dtheta, (n_parameters,), for one example."""
    Ws, _ = layers(parameters, sizes)
    A, Z = _all_layers(parameters, sizes, activations, x[:, None], None, dtype)
    dA, gradient = np.asarray(v, dtype)[:, None], np.empty(parameters.size, dtype)
    dWs, dbs = layers(gradient, sizes)
    for l in reversed(range(len(Ws))):
        dZ = activation_backward(dA, Z[l], activations[l], dtype=dtype)
        dWs[l][...], dbs[l][...] = dZ @ A[l].T, dZ
        dA = input_gradient(Ws[l], dZ, dtype=dtype)
    return dA[:, 0], gradient


def jvp(
    parameters: Array,
    sizes: Sequence[int],
    activations: Sequence[str],
    x: Array,
    t: Array,
    *,
    dtype: Any = np.float64,
) -> Array:
    """Return dA/dx t, (n_y,), for one example; the Jacobian of each activation is symmetric."""
    _, Z = _all_layers(parameters, sizes, activations, x[:, None], None, dtype)
    T = np.asarray(t, dtype)[:, None]
    for W, z, activation in zip(layers(parameters, sizes)[0], Z, activations, strict=True):
        T = activation_backward(np.asarray(W, dtype) @ T, z, activation, dtype=dtype)
    return T[:, 0]


def jacobian(
    parameters: Array,
    sizes: Sequence[int],
    activations: Sequence[str],
    x: Array,
    *,
    dtype: Any = np.float64,
) -> Array:
    """Return dA/dx, (n_y, n_x), for one example."""
    told = parameters, sizes, activations, x
    return np.stack([vjp(*told, e, dtype=dtype)[0] for e in np.eye(sizes[-1])])


# ------------------------------------------------------------------ optimisers


def gradient_step(parameters: Array, gradient: Array, learning_rate: float) -> None:
    """Update in place: theta := theta - alpha dJ/dtheta."""
    parameters -= parameters.dtype.type(learning_rate) * gradient.astype(parameters.dtype)


def optimizer_step(
    parameters: Array,
    gradient: Array,
    state: Array,
    step: int,
    optimizer: str,
    rule: Rule,
    is_weight: Array,
    rate: float | None = None,
) -> None:
    """Update parameters and state, (2, n), in place; ``step`` counts from 1.

    The learning rate is the rule's unless another is given for this step.

    Sources: Sutskever et al. 2013 (momentum, Nesterov), Hinton's lecture 6e (RMSprop),
    Kingma & Ba 2015 (Adam), Loshchilov & Hutter 2019 (AdamW).
    """
    g, first, second = gradient, state[0], state[1]
    alpha = rule.learning_rate if rate is None else rate
    match optimizer:
        case "sgd":
            first[...] = rule.momentum * first - alpha * g
            move = rule.momentum * first - alpha * g if rule.nesterov else first
            parameters += move.astype(parameters.dtype)
        case "rmsprop":
            second[...] = rule.beta2 * second + (1 - rule.beta2) * g**2
            move = g / (np.sqrt(second) + rule.epsilon)
            parameters -= (alpha * move).astype(parameters.dtype)
        case "adam" | "adamw":
            if optimizer == "adamw":
                # Decay is decoupled from the gradient, and is for weights, not biases.
                decay = 1 - alpha * rule.weight_decay * is_weight
                parameters *= decay.astype(parameters.dtype)
            first[...] = rule.beta1 * first + (1 - rule.beta1) * g
            second[...] = rule.beta2 * second + (1 - rule.beta2) * g**2
            first_hat = first / (1 - rule.beta1**step)
            second_hat = second / (1 - rule.beta2**step)
            epsilon = rule.epsilon
            if rule.epsilon_first:
                epsilon /= math.sqrt(1 - rule.beta2**step)
            move = first_hat / (np.sqrt(second_hat) + epsilon)
            parameters -= (alpha * move).astype(parameters.dtype)
        case _:
            raise ValueError(f"unknown optimizer {optimizer!r}")


# ------------------------------------------------------------------ training


def shuffle(order: NDArray[np.int64], random: NDArray[np.uint64]) -> None:
    """Permute in place (Fisher and Yates), drawing from a 64-bit xorshift (Marsaglia 2003)."""
    mask = 2**64 - 1
    x = int(random[0])
    values = order.tolist()
    for i in range(len(values) - 1, 0, -1):
        x ^= (x << 13) & mask
        x ^= x >> 7
        x ^= (x << 17) & mask
        j = ((x >> 32) * (i + 1)) >> 32
        values[i], values[j] = values[j], values[i]
    order[...] = values
    random[0] = x


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return a hash of 32-bit numbers, held in 64 (C. Wellons' lowbias32, 2018)."""
    low = np.uint64(0xFFFFFFFF)
    x = ((x ^ (x >> np.uint64(16))) * np.uint64(0x7FEB352D)) & low
    x = ((x ^ (x >> np.uint64(15))) * np.uint64(0x846CA68B)) & low
    return x ^ (x >> np.uint64(16))


def dropout_masks(
    hidden: Sequence[int], keep: Sequence[int], start: int, stop: int, step: int, key: int
) -> list[Array]:
    """Return a mask for each hidden layer, (n, stop - start): 0, or what kept units are scaled by.

    ``keep`` of 2^32 draws keep a unit of a layer; 0 stands for all. A draw is a hash of the step,
    the unit, counted through all layers, and the example's place in the epoch.
    """
    low = np.uint64(0xFFFFFFFF)
    draw = _mixed(_mixed(np.array([[step]], np.uint64) & low) ^ np.uint64(key))
    examples = np.arange(start, stop, dtype=np.uint64)[None]
    masks, above = [], 0
    for n, kept in zip(hidden, keep, strict=True):
        units = np.arange(above, above + n, dtype=np.uint64)[:, None]
        first = _mixed(draw ^ _mixed(units))
        second = _mixed(first ^ low)
        x = _mixed(_mixed((first + examples * np.uint64(0x9E3779B1)) & low) ^ second)
        masks.append(np.where(x < kept, 2.0**32 / kept, 0.0) if kept else np.ones(x.shape))
        above += n
    return masks


def clip(gradient: Array, norm: float) -> Array:
    """Return the gradient, scaled to that Euclidean norm if it is longer and finite."""
    length = math.sqrt(float(np.square(gradient, dtype=np.float64).sum()))
    return gradient * gradient.dtype.type(norm / length) if norm < length < math.inf else gradient


def train(
    parameters: Array,
    sizes: Sequence[int],
    activations: Sequence[str],
    loss: str,
    X: Array,
    Y: Array,
    sample_weight: Array | None,
    batch_size: int,
    optimizer: str,
    rule: Rule,
    progress: Progress,
    steps: int,
    *,
    delta: float = 1.0,
    keep: Sequence[int] | None = None,
    dtype: Any = np.float64,
) -> None:
    """Take up to ``steps`` steps of training, from where ``progress`` stands.

    With dropout ``keep`` of 2^32 draws keep a unit of each hidden layer (`dropout_masks`).
    The cost of an epoch is the mean over its examples of J, as each batch met it.
    """
    m = X.shape[1]
    counts = progress.counts
    is_weight = np.zeros(parameters.size)
    for W in layers(is_weight, sizes)[0]:
        W[...] = 1
    for _ in range(steps):
        if counts[1] == counts[3]:
            return
        if counts[2] == 0 and progress.random[0] != 0:
            shuffle(progress.order, progress.random)
        start, stop = int(counts[2]), min(int(counts[2]) + batch_size, m)
        counts[0] += 1
        step = int(counts[0])
        masks = None
        if keep:
            masks = dropout_masks(sizes[1:-1], keep, start, stop, step, rule.key)
        batch = progress.order[counts[2] : stop] if progress.order.size else slice(counts[2], stop)
        J, gradient = network_gradient(
            parameters,
            sizes,
            activations,
            loss,
            X[:, batch],
            Y[:, batch],
            None if sample_weight is None else sample_weight[batch],
            rule.l1,
            rule.l2,
            delta=delta,
            masks=masks,
            dtype=dtype,
        )
        if rule.clip_norm:
            gradient = clip(gradient, rule.clip_norm)
        factors = progress.rates[1:]
        rate = rule.learning_rate * float(factors[(step - 1) % len(factors)])
        optimizer_step(parameters, gradient, progress.state, step, optimizer, rule, is_weight, rate)
        progress.cost[0] += J * (stop - counts[2])
        counts[2] = stop
        if counts[2] == m:
            progress.costs[counts[1]] = progress.cost[0] / m
            progress.cost[0] = 0
            progress.snapshot[...] = parameters
            counts[1] += 1
            counts[2] = 0
