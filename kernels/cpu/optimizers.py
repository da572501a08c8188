"""Optimisers on the flat vector of parameters, and the penalties on the weights.

g = dJ/dw = scale * gradient + l1 sign(w) + l2 w        (penalties: weights only)

SGD       v := mu v - alpha g;  w := w + v,   or w + mu v - alpha g with Nesterov
RMSprop   s := beta2 s + (1 - beta2) g^2;  w := w - alpha g / (sqrt(s) + eps)
Adam      v := beta1 v + (1 - beta1) g, s as above;
          w := w - alpha (v / (1 - beta1^t)) / (sqrt(s / (1 - beta2^t)) + eps)
          or, as scikit-learn, / ((sqrt(s) + eps) / sqrt(1 - beta2^t))
AdamW     Adam, after w := w (1 - alpha decay)           (decay: weights only)
"""

from __future__ import annotations

import math

from ..codes import ADAM, ADAMW, RMSPROP, SGD
from .compiler import helper, kernel
from .linear import long_sum


@kernel
def gradient_step(parameters, gradient, learning_rate):
    """Parameters := parameters - learning_rate * gradient, in place."""
    rate = type(parameters[0])(learning_rate)
    for i in range(parameters.size):
        parameters[i] = parameters[i] - rate * gradient[i]


@helper
def add_penalties(w, g, scale, l1, l2):
    """G := scale g + l1 sign(w) + l2 w."""
    real = type(w[0])
    scale, l1, l2 = real(scale), real(l1), real(l2)
    if l1 == real(0) and l2 == real(0):
        for i in range(w.size):
            g[i] = scale * g[i]
    else:
        for i in range(w.size):
            sign = real(w[i] > real(0)) - real(w[i] < real(0))
            g[i] = scale * g[i] + l1 * sign + l2 * w[i]


@helper
def penalty(w, l1, l2, scratch):
    """Return l1 sum |w| + (l2/2) sum w^2; ``scratch`` is worked in."""
    real = type(w[0])
    total = 0.0
    for i in range(0, w.size, scratch.size):
        n = min(scratch.size, w.size - i)
        x, out = w[i : i + n], scratch[:n]
        for j in range(n):
            out[j] = real(l1) * abs(x[j]) + real(l2 / 2) * x[j] * x[j]
        total += long_sum(out)
    return total


@helper
def update(w, g, first, second, rule, rate, decay, step, scale):
    """Update the parameters w by their gradients, ``scale`` g; biases have a ``decay`` of 0."""
    real = type(w[0])
    alpha, scale = real(rate), real(scale)
    if rule.kind == SGD:
        mu = real(rule.momentum)
        if rule.momentum == 0:
            for i in range(w.size):
                w[i] = w[i] - alpha * (scale * g[i])
        elif rule.nesterov:
            for i in range(w.size):
                move = alpha * (scale * g[i])
                first[i] = mu * first[i] - move
                w[i] = w[i] + (mu * first[i] - move)
        else:
            for i in range(w.size):
                first[i] = mu * first[i] - alpha * (scale * g[i])
                w[i] = w[i] + first[i]
        return
    beta2, rest2 = real(rule.beta2), real(1 - rule.beta2)
    epsilon = real(rule.epsilon)
    if rule.kind == RMSPROP:
        for i in range(w.size):
            d = scale * g[i]
            second[i] = beta2 * second[i] + rest2 * d * d
            w[i] = w[i] - alpha * d / (real(math.sqrt(second[i])) + epsilon)
    elif rule.kind == ADAM or rule.kind == ADAMW:
        beta1, rest1 = real(rule.beta1), real(1 - rule.beta1)
        # The corrections for the moments' start at zero, made once per step.
        alpha_hat = real(rate / (1 - rule.beta1**step))
        correction = 1 / math.sqrt(1 - rule.beta2**step)
        root_hat = real(correction)
        if rule.epsilon_first:
            epsilon = real(rule.epsilon * correction)
        keep = real(1 - rate * decay)
        for i in range(w.size):
            d = scale * g[i]
            first[i] = beta1 * first[i] + rest1 * d
            second[i] = beta2 * second[i] + rest2 * d * d
            root = real(math.sqrt(second[i])) * root_hat + epsilon
            w[i] = keep * w[i] - alpha_hat * first[i] / root
