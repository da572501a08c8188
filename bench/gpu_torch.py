"""PyTorch on a GPU: eager, compiled, and an epoch as one CUDA graph; float32 without TF32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpu_entrants import Entrant, Entry, absent
from gpu_timing import EventClock, HostClock
from gpu_workloads import RATE, Problem, Workload, layers_of
from workloads import flat


def _version() -> str:
    import torch

    return str(torch.__version__)


def _missing(device: str) -> str | None:
    reason = absent("torch")
    if reason is None and device == "cuda":
        import torch

        return None if torch.cuda.is_available() else "PyTorch sees no GPU"
    return reason


def _clock(device: str) -> Any:
    import torch

    if device == "cpu":
        return HostClock()
    return EventClock(
        lambda: torch.cuda.Event(enable_timing=True),
        lambda first, second: first.elapsed_time(second),
    )


def _exact_products() -> None:
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def _repeated(call: Callable[[], Any]) -> Callable[[int], None]:
    def run(n: int) -> None:
        for _ in range(n):
            call()

    return run


def _sent(problem: Problem, device: str) -> list[Any]:
    import torch

    return [torch.from_numpy(array).to(device, copy=True) for array in problem.inputs]


def _eager(work: Workload, problem: Problem, device: str) -> Entry | str:
    if work.kind in _TRAINING:
        return _TRAINING[work.kind](work, problem, device).eager()
    if work.kind == "product":
        return "it is cuBLAS's product, below" if device == "cuda" else "on a GPU it is cuBLAS's"
    import torch

    x, y = _sent(problem, device)
    out = torch.full_like(x, torch.nan)
    calls: dict[str, Callable[[], Any]] = {
        "relu": lambda: torch.clamp_min(x, 0, out=out),
        "tanh": lambda: torch.tanh(x, out=out),
        "sigmoid": lambda: torch.sigmoid(x, out=out),
        "output gradient": lambda: torch.sub(x, y, out=out),
        "gradient step": lambda: x.sub_(y, alpha=RATE),
    }
    if work.what not in calls:
        return "no function of PyTorch's writes it into an array in one pass"
    written = x if work.what == "gradient step" else out
    return Entry(_repeated(calls[work.what]), lambda: written.cpu().numpy(), _clock(device))


def _product(work: Workload, problem: Problem, device: str) -> Entry | str:
    if work.kind != "product":
        return "for products alone"
    import torch

    _exact_products()
    A, B = _sent(problem, device)
    out = torch.full_like(A, torch.nan)
    return Entry(
        _repeated(lambda: torch.mm(A, B, out=out)), lambda: out.cpu().numpy(), _clock(device)
    )


class _Training:
    """A network, its batches on the device, and three ways to train it for an epoch."""

    def __init__(self, work: Workload, problem: Problem, device: str) -> None:
        import torch
        from torch.nn import functional

        _exact_products()
        told, data = work.network, problem.data
        assert told is not None
        assert data is not None
        self.device, self.rate = device, told.rate
        X, y = torch.from_numpy(data.X).to(device), torch.from_numpy(data.y)
        if told.loss == "binary_cross_entropy":
            y = y.to(X.dtype).reshape(-1, 1)
            self.loss = functional.binary_cross_entropy_with_logits
        else:
            self.loss = functional.cross_entropy
        batches = X.split(told.batch), y.to(device).split(told.batch)
        self.batches = list(zip(*batches, strict=True))
        pairs = zip(data.W, data.b, strict=True)
        self.start = [torch.from_numpy(P).to(device, copy=True) for pair in pairs for P in pair]
        self.parameters = [P.clone() for P in self.start]

    def result(self) -> np.ndarray:
        found = [P.detach().cpu().numpy() for P in self.parameters]
        return flat(found[::2], found[1::2])

    def cost(self, parameters: list[Any], x: Any, targets: Any) -> Any:
        from torch.nn import functional

        for i in range(0, len(parameters) - 2, 2):
            x = functional.relu(functional.linear(x, parameters[i], parameters[i + 1]))
        return self.loss(functional.linear(x, *parameters[-2:]), targets)

    def epoch(self) -> None:
        """Train as it is usually written: a cost, its backward pass, an optimiser's step."""
        for x, targets in self.batches:
            self.rule.zero_grad(set_to_none=True)
            self.cost(self.parameters, x, targets).backward()
            self.rule.step()

    def begin(self) -> None:
        """Make ready for `epoch`."""
        import torch

        for P in self.parameters:
            P.requires_grad_()
        self.rule = torch.optim.SGD(self.parameters, self.rate)

    def entry(self, epoch: Callable[[], Any]) -> Entry:
        """Return what trains by this function."""
        return Entry(_repeated(epoch), self.result, _clock(self.device))

    def eager(self) -> Entry:
        self.begin()
        return self.entry(self.epoch)

    def graph(self) -> Entry | str:
        import torch

        if self.device == "cpu":
            return "CUDA graphs need a GPU"
        self.begin()
        # A capture wants its kernels loaded and its memory known: a few epochs on another stream.
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                self.epoch()
        torch.cuda.current_stream().wait_stream(aside)
        for P in self.parameters:
            P.grad = None
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            self.epoch()
        with torch.no_grad():
            for P, first in zip(self.parameters, self.start, strict=True):
                P.copy_(first)
        return self.entry(captured.replay)

    def compiled(self) -> Entry:
        import torch

        # What was compiled for other shapes must not make this one's code general.
        torch._dynamo.reset()

        @torch.compile(fullgraph=True, dynamic=False)
        def step(parameters: list[Any], x: Any, targets: Any) -> None:
            gradients = self.gradients(parameters, x, targets)
            for P, g in zip(parameters, gradients, strict=True):
                P.sub_(self.rate * g)

        def epoch() -> None:
            with torch.no_grad():
                for x, targets in self.batches:
                    step(self.parameters, x, targets)

        return self.entry(epoch)

    def gradients(self, parameters: list[Any], x: Any, targets: Any) -> list[Any]:
        """Return the derivatives of the cost."""
        import torch

        found: list[Any] = torch.func.grad(self.cost)(parameters, x, targets)
        return found


class _Population(_Training):
    """Many networks on the same batches: ``torch.func.vmap`` of the gradient, then a step."""

    def __init__(self, work: Workload, problem: Problem, device: str) -> None:
        import torch

        super().__init__(work, problem, device)
        told = work.network
        assert told is not None
        self.epochs, self.n = told.epochs, work.n
        pairs = zip(*layers_of(problem.inputs[0], told.sizes), strict=True)
        self.start = [torch.tensor(P, device=device) for pair in pairs for P in pair]
        self.parameters = [P.clone() for P in self.start]

    def result(self) -> np.ndarray:
        found = [P.cpu().numpy().reshape(self.n, -1) for P in self.parameters]
        return np.concatenate(found, axis=1)

    def begin(self) -> None:
        pass

    def entry(self, epoch: Callable[[], Any]) -> Entry:
        def run(fits: int) -> None:
            for _ in range(fits * self.epochs):
                epoch()

        return Entry(run, self.result, _clock(self.device))

    def gradients(self, parameters: list[Any], x: Any, targets: Any) -> list[Any]:
        import torch

        grad = torch.func.grad(self.cost)
        found: list[Any] = torch.func.vmap(grad, in_dims=(0, None, None))(parameters, x, targets)
        return found

    def epoch(self) -> None:
        import torch

        with torch.no_grad():
            for x, targets in self.batches:
                gradients = self.gradients(self.parameters, x, targets)
                for P, g in zip(self.parameters, gradients, strict=True):
                    P.sub_(g, alpha=self.rate)


_TRAINING = {"fit": _Training, "population": _Population}


def _compiled(work: Workload, problem: Problem, device: str) -> Entry | str:
    if work.kind not in _TRAINING:
        return "for fits alone"
    return _TRAINING[work.kind](work, problem, device).compiled()


def _graph(work: Workload, problem: Problem, device: str) -> Entry | str:
    if work.kind not in _TRAINING:
        return "for fits alone"
    return _TRAINING[work.kind](work, problem, device).graph()


ENTRANTS = [
    Entrant("PyTorch eager", _version, _missing, _eager),
    Entrant("PyTorch compiled", _version, _missing, _compiled),
    Entrant("PyTorch CUDA graph", _version, _missing, _graph),
    Entrant("cuBLAS through PyTorch", _version, _missing, _product),
]
