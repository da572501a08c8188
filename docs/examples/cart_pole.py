"""Cart-pole, learned by an evolution strategy: simulation, policy and search in compiled code.

A pole stands on a cart; a force on the cart, at most 10 N to either side, is to keep it upright.
The policy is a network of 4 inputs (place, speed, angle, angular speed) and one tanh output. No
gradient is needed: each generation tries 64 networks near the present one, and moves it towards
those that kept the pole up for longer (Salimans et al. 2017). The equations are those of Barto,
Sutton and Anderson (1983).
"""

import numba
import numpy as np

import fastnn
from fastnn import inside

STEPS, DT = 500, 0.02  # 10 seconds
PAIRS, STARTS, SIGMA, RATE = 32, 4, 0.1, 0.2


@numba.njit
def push(state, force):
    """Move on by DT: a cart of 1 kg on 2.4 m of track to either side, a pole of 1 m and 0.1 kg."""
    place, speed, angle, turn = state
    sine, cosine = np.sin(angle), np.cos(angle)
    pull = (force + 0.05 * turn * turn * sine) / 1.1
    turning = (9.8 * sine - cosine * pull) / (0.5 * (4 / 3 - 0.1 * cosine * cosine / 1.1))
    state[0] = place + DT * speed
    state[1] = speed + DT * (pull - 0.05 * turning * cosine / 1.1)
    state[2] = angle + DT * turn
    state[3] = turn + DT * turning


@numba.njit
def episode(parameters, layout, state, path, work):
    """Return for how many steps the pole stays within 12 degrees; ``path`` gets the states."""
    force = np.empty(1)
    for step in range(len(path)):
        if abs(state[0]) > 2.4 or abs(state[2]) > 0.21:
            return step
        inside.forward(parameters, layout, state, force, work)
        push(state, 10 * force[0])
        path[step] = state
    return len(path)


@numba.njit
def evolve(parameters, layout, generations, random, work):
    """Return the mean number of steps of each generation; the parameters change in place."""
    path = np.empty((STEPS, 4))
    score, noise = np.empty(2 * PAIRS), np.empty((PAIRS, parameters.size))
    means = np.empty(generations)
    for generation in range(generations):
        starts = random.uniform(-0.15, 0.15, (STARTS, 4))
        for i in range(2 * PAIRS):
            if i < PAIRS:
                noise[i] = random.normal(0.0, 1.0, parameters.size)
            # Each direction is tried forward and back.
            tried = parameters + (SIGMA if i < PAIRS else -SIGMA) * noise[i % PAIRS]
            score[i] = 0
            for start in starts:
                score[i] += episode(tried, layout, start.copy(), path, work) / STARTS
        # Only the order of the scores counts: from 1/2 for the best to -1/2 for the worst.
        rank = np.argsort(np.argsort(score)) / (2 * PAIRS - 1) - 0.5
        for i in range(2 * PAIRS):
            side = 1 if i < PAIRS else -1
            parameters += RATE / (2 * PAIRS * SIGMA) * rank[i] * side * noise[i % PAIRS]
        means[generation] = score.mean()
    return means


def main(generations=60):
    """Evolve the policy, and let it and the one before balance 1,000 poles."""
    net = fastnn.Network([4, 8, 1], ["tanh", "tanh"], dtype=np.float64, seed=0)
    layout, work, random = inside.layout(net), inside.work(net), np.random.default_rng(0)
    parameters = inside.parameters(net)
    means = evolve(parameters, layout, generations, random, work)

    starts, paths, kept = random.uniform(-0.15, 0.15, (1000, 4)), {}, {}
    for name, policy in (("at first", net.parameters), ("evolved", parameters)):
        path = np.full((STEPS, 4), np.nan)
        kept[name] = [episode(policy, layout, x.copy(), path, work) == STEPS for x in starts]
        path[:] = np.nan
        episode(policy, layout, np.array([0.5, 0.0, 0.1, 0.0]), path, work)
        paths[name] = path
        print(f"{name:9} {np.mean(kept[name]):6.1%} of 1,000 poles stand for {STEPS * DT:.0f} s")
    return {
        "steps": means,
        "kept": {name: float(np.mean(good)) for name, good in kept.items()},
        "paths": paths,
    }


def draw(results, path):
    """Draw the search, and how the evolved policy catches a pole."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(np.arange(1, len(results["steps"]) + 1), results["steps"] * DT)
    left.set(title="64 networks a generation", xlabel="generation", ylabel="mean time upright (s)")
    left.set_ylim(0, None)
    time = DT * np.arange(1, STEPS + 1)
    evolved, first = results["paths"]["evolved"], results["paths"]["at first"]
    right.plot(time, evolved[:, 2] * 180 / np.pi, label="angle (degrees), evolved")
    right.plot(time, evolved[:, 0] * 10, label="place of the cart (dm), evolved")
    right.plot(time, first[:, 2] * 180 / np.pi, "--", label="angle, at first")
    right.set(title="One start", xlabel="time (s)", ylim=(-13, 13))
    right.legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
