"""PyTorch: eager, with modules and optimisers; and compiled, each step one graph.

The compiled step is written with functions, since that is several times as fast as a compiled
step that calls ``backward`` and the optimiser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from entrant import Entrant, Entry, missing, one_or_all
from workloads import BETA1, BETA2, EPSILON, Data, Workload, flat


def _version() -> str:
    import torch

    return torch.__version__


def _compiler() -> str | None:
    """Return None, or why nothing can be compiled."""
    reason = missing("torch")
    if reason is not None:
        return reason
    try:
        from torch._inductor.cpp_builder import get_cpp_compiler
    except ImportError:
        return None  # asked in a way that this version does not know: the first row will tell
    try:
        get_cpp_compiler()
    except Exception as error:
        return f"no C++ compiler: {type(error).__name__}"
    return None


@contextmanager
def _limit(threads: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _tensors(work: Workload, data: Data) -> tuple[Any, Any]:
    """Return X and the targets."""
    import torch

    X, y = torch.from_numpy(data.X), torch.from_numpy(data.y)
    if work.loss == "binary_cross_entropy":
        y = y.to(X.dtype).reshape(-1, 1)
    return X, y


def _loss(work: Workload) -> Callable[[Any, Any], Any]:
    """Return the function of logits and targets."""
    from torch.nn import functional

    return {
        "binary_cross_entropy": functional.binary_cross_entropy_with_logits,
        "cross_entropy": functional.cross_entropy,
        "squared_error": lambda A, Y: 0.5 / len(Y) * functional.mse_loss(A, Y, reduction="sum"),
    }[work.loss]


def _repeated(call: Callable[[], Any]) -> Callable[[int], Any]:
    def run(n: int) -> Any:
        for _ in range(n):
            found = call()
        return found

    return run


def _flat(parameters: Any) -> np.ndarray:
    found = [P.detach().numpy() for P in parameters]
    return flat(found[::2], found[1::2])


def _module(work: Workload, data: Data) -> Any:
    import torch
    from torch import nn

    hidden = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}[work.hidden]
    layers: list[Any] = []
    for W, b in zip(data.W, data.b, strict=True):
        linear = nn.Linear(W.shape[1], W.shape[0], dtype=getattr(torch, work.dtype))
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(W))
            linear.bias.copy_(torch.from_numpy(b))
        layers += [linear, hidden()]
    del layers[-1]
    if work.kind == "query":
        layers.append(nn.Sigmoid())
    return nn.Sequential(*layers)


def _eager(work: Workload, data: Data, threads: int) -> Entry | str:
    import torch

    net, loss, (X, y) = _module(work, data), _loss(work), _tensors(work, data)
    parameters = list(net.parameters())
    if work.kind == "query":
        return _query(net, X)
    if work.kind == "gradient":

        def gradient() -> tuple:
            J = loss(net(X), y)
            return J, torch.autograd.grad(J, parameters)

        return Entry(
            _repeated(gradient), lambda found: np.array([found[0].item(), *_flat(found[1])])
        )
    batches = list(zip(X.split(work.batch), y.split(work.batch), strict=True))

    def fit(epochs: int) -> list[Any]:
        if work.optimizer == "sgd":
            rule: Any = torch.optim.SGD(parameters, work.rate)
        else:
            rule = torch.optim.Adam(parameters, work.rate, (BETA1, BETA2), EPSILON)
        for _ in range(epochs):
            for x, targets in batches:
                rule.zero_grad()
                loss(net(x), targets).backward()
                rule.step()
        return parameters

    return Entry(fit, _flat)


def _query(call: Callable[[Any], Any], X: Any) -> Entry:
    import torch

    def query(n: int) -> Any:
        with torch.inference_mode():
            for _ in range(n):
                A = call(X)
        return A

    return Entry(query, lambda A: A.numpy().ravel())


def _compiled(work: Workload, data: Data, threads: int) -> Entry | str:
    import torch
    from torch.nn import functional

    # What was compiled for other shapes must not make this one's code general.
    torch._dynamo.reset()
    if work.kind == "query":
        X = torch.from_numpy(data.X)
        return _query(torch.compile(_module(work, data), fullgraph=True, dynamic=False), X)
    hidden = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}[work.hidden]
    loss, (X, y) = _loss(work), _tensors(work, data)
    pairs = zip(data.W, data.b, strict=True)
    parameters = [torch.from_numpy(P.copy()) for pair in pairs for P in pair]

    def cost(parameters: list[Any], x: Any, targets: Any) -> Any:
        for i in range(0, len(parameters) - 2, 2):
            x = hidden(functional.linear(x, parameters[i], parameters[i + 1]))
        return loss(functional.linear(x, *parameters[-2:]), targets)

    if work.kind == "gradient":
        call = torch.compile(torch.func.grad_and_value(cost), fullgraph=True, dynamic=False)

        def flat_gradient(found: Any) -> np.ndarray:
            return np.array([found[1].item(), *_flat(found[0])])

        return Entry(_repeated(lambda: call(parameters, X, y)), flat_gradient)

    @torch.compile(fullgraph=True, dynamic=False)
    def step(parameters: Any, first: Any, second: Any, t: Any, x: Any, targets: Any) -> None:
        gradients = torch.func.grad(cost)(parameters, x, targets)
        if work.optimizer == "sgd":
            for P, g in zip(parameters, gradients, strict=True):
                P.sub_(work.rate * g)
            return
        t += 1
        for P, g, v, s in zip(parameters, gradients, first, second, strict=True):
            v.mul_(BETA1).add_((1 - BETA1) * g)
            s.mul_(BETA2).add_((1 - BETA2) * g * g)
            root = torch.sqrt(s / (1 - BETA2**t))
            P.sub_(work.rate * (v / (1 - BETA1**t)) / (root + EPSILON))

    batches = list(zip(X.split(work.batch), y.split(work.batch), strict=True))

    def fit(epochs: int) -> list[Any]:
        first, second, t = [], [], torch.zeros((), dtype=torch.float64)
        if work.optimizer == "adam":
            first, second = ([torch.zeros_like(P) for P in parameters] for _ in range(2))
        with torch.no_grad():
            for _ in range(epochs):
                for x, targets in batches:
                    step(parameters, first, second, t, x, targets)
        return parameters

    return Entry(fit, _flat)


ENTRANTS = [
    Entrant("PyTorch", _version, lambda: missing("torch"), _eager, one_or_all(), _limit),
    Entrant("PyTorch compiled", _version, _compiler, _compiled, one_or_all(), _limit),
]
