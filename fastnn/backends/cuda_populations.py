"""Many small networks at once on a GPU: one launch takes whole epochs of all of them.

Those that a block of threads takes whole, and between whose epochs Python has nothing to do. The
GPU shuffles, and looks at the cost of held-out examples; each network ends with the bits that it
has alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..history import History
from ..kernels.codes import ACTIVATIONS
from ..kernels.cuda import block, driver, one_unit, optimizers, training
from ..kernels.cuda import populations as P
from ..kernels.cuda.structures import TOLD, Examples, Population
from ..kernels.structures import Progress
from ..training import Prepared, new_progress
from .architecture import architecture
from .cuda_calls import Call
from .cuda_networks import examples_of, weights_of

Array = NDArray[Any]

# Networks of one launch, and seconds that it should take.
_AT_ONCE = 3 if driver.SIMULATED else 4096
_ATTENTION = 0.05

# Numbers that a launch is told, or costs that it brings back, at most.
_VALUES = 2**24


def takes(fit: Prepared) -> bool:
    """Return whether this fit can be one of many."""
    net, plan = fit.network, fit.plan
    code = ACTIVATIONS.index(net.activations[-1])
    alone = fit.checkpoint is not None or fit.trainer is not None
    by_python = callable(plan.shuffle) or plan.schedule is not None
    return (
        not alone and not by_python and isinstance(fit.examples[0], np.ndarray)
        and block.groups_for(net.sizes, net.dtype.type) > 0
        and not one_unit.serves(net.sizes, code, plan.batch)
    )  # fmt: skip


def fit_many(fits: Sequence[Prepared]) -> list[tuple[int, History]]:
    """Run these fits; return the place and the history of each. All must be ones that `takes`."""
    groups: dict[Any, list[int]] = {}
    for i, fit in enumerate(fits):
        X, Y, _ = fit.examples
        kind = id(X), id(Y), fit.network.dtype, fit.held_out is None
        if fit.held_out is not None:
            kind += fit.held_out[1].shape[:-1], fit.held_out[1].dtype  # type: ignore[assignment]
        groups.setdefault(kind, []).append(i)
    found = []
    for places in groups.values():
        for begin in range(0, len(places), _AT_ONCE):
            some = places[begin : begin + _AT_ONCE]
            gang = _Gang([fits[i] for i in some])
            found += list(zip(some, gang.run(), strict=True))
    return found


def _places(counts: Sequence[int]) -> list[int]:
    """Return where arrays of these lengths begin that follow one another."""
    return [0, *np.cumsum(counts).tolist()]


class _Gang:
    """Networks that are trained together, on the same examples."""

    def __init__(self, fits: list[Prepared]) -> None:
        self._fits, self._call = fits, Call()
        X, Y, _ = fits[0].examples
        self._real = X.dtype.type
        self._states = [self._state(fit) for fit in fits]
        self._epoch_steps = [-(-fit.m // fit.plan.batch) for fit in fits]
        self._examples = examples_of(self._call, X, Y, None)
        self._held_out, self._spans = self._others()
        self._sizes = [fit.network.parameters.size for fit in fits]
        # Whole lines of 16 bytes, so that each begins at one.
        self._at = _places([-(-n // 4) * 4 for n in self._sizes])
        self._layers = [architecture(f.network._description, f.plan.keep).layers for f in fits]
        self._orders = [*map(self._order, fits, self._states)]
        self._whole = np.zeros((len(fits), P.WHOLE), np.int64)
        self._shared = 0  # bytes of the largest network
        scratch = self._describe()
        self._stands = np.zeros((len(fits), P.STANDS), np.int64)
        for k, state in enumerate(self._states):
            self._stands[k, P.STEPS_TAKEN] = state.counts[0]
            self._stands[k, P.BEST] = -1
            self._stands[k, P.RANDOM] = state.random.view(np.int64)[0]
        self._every = self._population(self._weights(X.shape[1]), *scratch)

    def _describe(self) -> tuple[int, int, int]:
        """Tell the kernels of each network; return the sums, totals and ranges of all together."""
        layer_at = _places([table.size for table in self._layers])
        order_at = _places([order.size for order in self._orders])
        others_at = order_at[-1]
        sums_at = totals_at = ranges_at = 0
        for k, fit in enumerate(self._fits):
            net, plan, n, out = fit.network, fit.plan, self._sizes[k], self._spans[k]
            groups = block.groups_for(net.sizes, self._real)
            self._shared = max(self._shared, block.shared_bytes(net.sizes, groups, self._real))
            piece = training.piece_of(plan.batch, groups, self._real)
            tickets = training.pieces_of(plan.batch, piece)
            out_piece = training.piece_of(max(out.size, 1), groups, self._real)
            all_tickets = max(tickets, training.pieces_of(max(out.size, 1), out_piece))
            ranges, table = optimizers.ranges_of(n), architecture(net._description)
            told = {
                P.SIZE: n, P.DEPTH: len(self._layers[k]), P.LOSS: table.loss, P.GROUPS: groups,
                P.BATCH: plan.batch, P.PIECE: piece, P.M: fit.m, P.KIND: plan.rule.kind,
                P.NESTEROV: int(plan.rule.nesterov), P.KEY: plan.rule.key,
                P.PARAMETERS: self._at[k], P.LAYERS: layer_at[k], P.SUMS: sums_at,
                P.TICKETS: all_tickets, P.TOTALS: totals_at, P.RANGES: ranges,
                P.PENALTIES: ranges_at, P.ORDER: order_at[k], P.SHUFFLES: int(fit.gathers),
                P.WEIGHTS: 0, P.EPOCH_STEPS: self._epoch_steps[k], P.EPOCHS: plan.epochs,
                P.HELD_OUT: out.size, P.HELD_OUT_PIECE: out_piece, P.HELD_OUT_ORDER: others_at,
                P.PATIENCE: -1 if plan.patience is None else plan.patience,
            }  # fmt: skip
            for field, number in told.items():
                self._whole[k, field] = number
            sums_at, totals_at = sums_at + tickets * n, totals_at + 2 * all_tickets
            ranges_at, others_at = ranges_at + 2 * ranges, others_at + out.size
        return sums_at, totals_at, ranges_at

    def _population(self, weights: Array, sums: int, totals: int, ranges: int) -> Population:
        """Return all that the kernels read and write, on the GPU."""
        call, new, fits = self._call, self._new, self._fits
        flat = np.zeros(self._at[-1], self._real)
        is_weight, parameters = flat.copy(), flat.copy()
        moments = np.zeros(2 * self._at[-1], self._real)
        for k, fit in enumerate(fits):
            at, n = self._at[k], self._sizes[k]
            parameters[at : at + n] = fit.network.parameters
            moments[2 * at : 2 * (at + n)] = self._states[k].state.reshape(-1)
            is_weight[at : at + n] = weights_of(fit.network._description)
        infinite = np.full(2 * len(fits), np.inf, self._real)
        falls = np.array([fit.plan.min_delta for fit in fits])
        return Population(
            call.flat(np.zeros(1, np.int64)), call.flat(self._numbers().reshape(-1)),
            call.flat(self._stands.reshape(-1)), call.flat(infinite), call.flat(falls),
            call.flat(np.concatenate([table.reshape(-1) for table in self._layers])),
            call.flat(np.concatenate([*self._orders, *self._spans])), call.flat(weights),
            int(weights.size > 1), call.flat(parameters), call.flat(moments), call.flat(parameters),
            call.flat(parameters), new(flat.size), call.flat(is_weight), new(sums),
            new(totals), new(ranges), new(ranges), new(1), new(1), 0, new(len(fits)),
            int(driver.is_wide(driver.Place(new(1)))),
        )  # fmt: skip

    def _new(self, count: int) -> Any:
        return driver.empty(max(count, 1), self._real, self._call.stream)

    @staticmethod
    def _state(fit: Prepared) -> Progress:
        return new_progress(
            fit.network.parameters, fit.m, fit.plan.epochs, shuffled=fit.gathers,
            seed=fit.plan.seed, after=fit.before,
        )  # fmt: skip

    @staticmethod
    def _order(fit: Prepared, state: Progress) -> NDArray[np.int64]:
        """Return the numbers of a network's examples, in its order."""
        places = state.order if state.order.size else np.arange(fit.m)
        return places if fit.rows is None else fit.rows[places]

    def _others(self) -> tuple[Examples, list[NDArray[np.int64]]]:
        """Return all held-out examples one after another, and which of them are each network's."""
        kept: dict[Any, tuple[Any, int]] = {}
        spans, count = [], 0
        for fit in self._fits:
            if fit.held_out is None:
                spans.append(np.arange(0))
                continue
            # The same X may have other targets or weights for another network.
            key = tuple(map(id, fit.held_out))
            if key not in kept:
                kept[key] = fit.held_out, count
                count += fit.held_out[0].shape[1]
            begin = kept[key][1]
            spans.append(np.arange(begin, begin + fit.held_out[0].shape[1]))
        if not kept:
            return self._examples, spans
        parts = [held_out for held_out, _ in kept.values()]
        X = np.concatenate([part[0].T for part in parts]).T
        Y = np.concatenate([part[1] for part in parts], axis=-1)
        weights = None
        if any(part[2] is not None for part in parts):
            ones = [np.ones(part[0].shape[1], self._real) for part in parts]
            given = [part[2] for part in parts]
            weights = np.concatenate(
                [one if own is None else own for one, own in zip(ones, given, strict=True)]
            )
        return examples_of(self._call, X, Y, weights), spans

    def _weights(self, m: int) -> Array:
        """Return the weights of all examples, for each network, if any network has some."""
        if all(fit.examples[2] is None for fit in self._fits):
            return np.ones(1, self._real)
        found = np.ones((len(self._fits), m), self._real)
        for k, fit in enumerate(self._fits):
            self._whole[k, P.WEIGHTS] = k * m
            if fit.examples[2] is not None:
                found[k, slice(None) if fit.rows is None else fit.rows] = fit.examples[2]
        return found.reshape(-1)

    def _numbers(self) -> Array:
        found = np.zeros((len(self._fits), P.REAL))
        for k, fit in enumerate(self._fits):
            rule = optimizers.rule_of(fit.plan.rule, self._real)
            found[k] = [
                fit.network.delta, rule.momentum, rule.beta1, rule.rest1, rule.beta2, rule.rest2,
                rule.l1, rule.l2, rule.clip_norm,
            ]  # fmt: skip
        return found.astype(self._real)

    # -------------------------------------------------------------- running

    def run(self) -> list[History]:
        """Train all networks to their ends; return their histories."""
        fits = self._fits
        histories = [History(first_epoch=fit.first_epoch) for fit in fits]
        watched = fits[0].held_out is not None
        # Those with as many steps in an epoch remain alike.
        alike = {(self._alike(k), steps) for k, steps in enumerate(self._epoch_steps)}
        values = max(TOLD * len(alike), len(fits))
        most = max(1, _VALUES // (values * max(self._epoch_steps)))
        epochs, begin = 1, time.perf_counter()
        try:
            while not self._ended():
                start = time.perf_counter()
                self._launch(epochs, watched)
                self._note(histories, watched)
                took = time.perf_counter() - start
                if not watched:
                    faster = _ATTENTION / max(took, 1e-9)
                    epochs = max(1, min(most, int(epochs * min(faster, 4.0))))
        except KeyboardInterrupt:
            self._settle(histories, watched)
            for k in np.flatnonzero(~self._through()):
                histories[k].stopped = "interrupted"
        self._bring(histories)
        for history in histories:
            share = (time.perf_counter() - begin) / max(1, len(history.cost))
            history.seconds.extend([share] * len(history.cost))
        return histories

    def _through(self) -> NDArray[np.bool_]:
        last = self._stands[:, P.DONE] == self._whole[:, P.EPOCHS]
        through: NDArray[np.bool_] = last | (self._stands[:, P.STOPPED] != 0)
        return through

    def _ended(self) -> bool:
        return bool(self._through().all())

    def _launch(self, epochs: int, watched: bool) -> None:
        rows = epochs * max(self._epoch_steps)
        call, every, k = self._call, self._every, len(self._fits)
        told = self._told_of(rows)
        self._whole[:, P.COSTS] = np.arange(k) * rows
        if rows != every.rows:
            every = every._replace(rows=rows, costs=self._new(k * rows))
        whole = call.flat(self._whole.reshape(-1))
        self._every = every = every._replace(whole=whole, told=call.flat(told))
        P.fit_many(call.stream, every, self._examples, k, epochs, self._shared)
        if watched:
            P.watch_many(call.stream, every, self._held_out, k, self._shared)

    def _alike(self, k: int) -> Any:
        """Return what decides the numbers that a network's next steps are told."""
        return self._fits[k].plan.rule[:9], int(self._stands[k, P.STEPS_TAKEN])

    def _told_of(self, rows: int) -> Array:
        """Return what the next steps are told; networks that are told the same share the rows."""
        found: dict[Any, Array] = {}
        places: dict[Any, int] = {}
        for k, fit in enumerate(self._fits):
            key = self._alike(k)
            if key not in found:
                places[key] = len(found) * rows
                first = key[1] + 1
                found[key] = optimizers.told_of(fit.plan.rule, np.ones(rows), first, self._real)
            self._whole[k, P.TOLD_ROW] = places[key]
        return np.concatenate(list(found.values())).reshape(-1)

    def _settle(self, histories: list[History], watched: bool) -> None:
        """Note a launch whose end was not waited for, or was noted in part."""
        if self._every.rows == 0:  # there was none
            return
        if watched:  # it passes over networks whose last epoch it has seen
            P.watch_many(
                self._call.stream, self._every, self._held_out, len(self._fits), self._shared
            )
        self._note(histories, watched)

    def _note(self, histories: list[History], watched: bool) -> None:
        """Bring back where the networks stand, and what their epochs cost; once or again."""
        every, stream, k = self._every, self._call.stream, len(self._fits)
        stands = every.stands.copy_to_host(stream=stream)
        costs = every.costs.copy_to_host(stream=stream)
        beside = every.held_out_costs.copy_to_host(stream=stream) if watched else None
        driver.wait_for(stream)
        self._stands = stands.reshape(k, P.STANDS)
        costs = costs.reshape(k, -1)
        for i, history in enumerate(histories):
            fit, steps = self._fits[i], self._epoch_steps[i]
            new = int(self._stands[i, P.DONE]) - len(history.cost)
            if new > 0:
                sizes = np.full(steps, fit.plan.batch)
                sizes[-1] = fit.m - fit.plan.batch * (steps - 1)
                J = costs[i, : new * steps].astype(np.float64).reshape(new, steps)
                # One after another, as a fit alone adds them up.
                history.cost.extend((np.cumsum(J * sizes, axis=1)[:, -1] / fit.m).tolist())
            if beside is not None and len(history.validation_cost) < len(history.cost):
                history.validation_cost.append(float(beside[i]))
            if self._stands[i, P.BEST] >= 0:
                history.best_epoch = int(self._stands[i, P.BEST])
            if self._stands[i, P.STOPPED]:
                history.stopped = "patience"

    def _bring(self, histories: list[History]) -> None:
        """Bring back the parameters and the moments, and what other fits would go on from."""
        every, stream = self._every, self._call.stream
        wanted = every.parameters, every.best, every.state, every.orders
        parameters, best, moments, orders = (v.copy_to_host(stream=stream) for v in wanted)
        driver.wait_for(stream)
        for k, (fit, state) in enumerate(zip(self._fits, self._states, strict=True)):
            at, n = self._at[k], fit.network.parameters.size
            restored = fit.plan.patience is not None and histories[k].best_epoch is not None
            fit.network.parameters[...] = (best if restored else parameters)[at : at + n]
            state.state[...] = moments[2 * at : 2 * (at + n)].reshape(2, n)
            state.counts[0] = self._stands[k, P.STEPS_TAKEN]
            state.random[...] = self._stands[k, P.RANDOM : P.RANDOM + 1].view(np.uint64)
            if state.order.size:
                begin = int(self._whole[k, P.ORDER])
                state.order[...] = orders[begin : begin + fit.m]
            histories[k]._momentum = fit._momentum(state, fit.rows)
