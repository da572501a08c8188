"""Neutrons through a slab, with a network in place of a costly cross-section.

Monte Carlo asks for the cross-section at each flight of each neutron. Here it is a sum of five
resonances, each broadened by the heat of the nuclei: an integral, done by 200 points. A network
1-32-32-1 learns its logarithm from 4,000 values, and takes its place in the same compiled loop.

``neutron`` is the history of one, from its number alone: its random numbers are a function of that
number and of how many were drawn before (Steele, Lea and Flood 2014). So any thread, on any device,
may take any neutron, and the result stays the same: ``slab_cuda.py`` sends them through on a GPU,
by the same ``next_collision``. The medium is made up: hydrogen-like, so that a collision leaves a
neutron with a part of its energy that is uniform in [0, 1].
"""

import math
import time

import numba
import numpy as np

import fastnn
from fastnn import inside

# Centre and width in log10 of the energy in eV, and height in 1/cm.
RESONANCES = np.array(
    [[1.2, 0.15, 2.0], [2.1, 0.10, 4.0], [3.0, 0.20, 1.5], [4.0, 0.12, 3.0], [5.1, 0.25, 1.0]]
)
THICKNESS, SOURCE, LOWEST, ABSORBED = 5.0, 1e6, 1.0, 0.03  # cm, eV, eV, share of collisions
POINTS = 200


@numba.njit
def by_integral(log_energy):
    """Return the cross-section in 1/cm: resonances, smeared by a normal distribution."""
    total = 0.3
    for centre, width, height in RESONANCES:
        for i in range(POINTS):
            y = 8 * (i + 0.5) / POINTS - 4
            distance = (log_energy + 0.08 * y - centre) / width
            weight = 8 / POINTS * np.exp(-y * y / 2) / np.sqrt(2 * np.pi)
            total += height * weight / (1 + distance * distance)
    return total


@numba.njit
def by_network(log_energy, parameters, layout, work):
    """Return the same by a network of the scaled logarithm, which answers with a logarithm."""
    value = np.empty(1, np.float32)
    value[0] = (log_energy - 3) / 2
    inside.forward(parameters, layout, value, value, work)
    return np.exp(value[0])


@numba.njit
def draw_number(state):
    """Return a random number in (0, 1), and change the state."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (np.float64((z ^ (z >> np.uint64(31))) >> np.uint64(11)) + 0.5) / 2.0**53


@numba.njit
def begin(number, state):
    """Return energy, depth and cosine of a neutron at its source."""
    state[0] = np.uint64(number) << np.uint64(32)
    return SOURCE, 0.0, 1.0


@numba.njit
def next_collision(section, energy, depth, cosine, state):
    """Return energy, depth and cosine after the next collision; energy 0 if that was the last."""
    depth -= cosine * math.log(draw_number(state)) / section
    if depth < 0 or depth > THICKNESS:
        return energy, depth, cosine
    if draw_number(state) < ABSORBED:
        return 0.0, depth, cosine
    kept = draw_number(state)
    bent, turn = math.sqrt(kept), 2 * math.pi * draw_number(state)
    across = math.sqrt((1 - cosine * cosine) * (1 - kept))
    cosine = min(1.0, max(-1.0, cosine * bent + across * math.cos(turn)))
    return energy * kept, depth, cosine


@numba.njit
def neutron(number, learned, parameters, layout, state, work):
    """Return the energy with which this neutron leaves the far side, or 0."""
    energy, depth, cosine = begin(number, state)
    while energy > LOWEST and 0 <= depth <= THICKNESS:
        if learned:
            section = by_network(np.log10(energy), parameters, layout, work)
        else:
            section = by_integral(np.log10(energy))
        energy, depth, cosine = next_collision(section, energy, depth, cosine, state)
    return energy if depth > THICKNESS else 0.0


@numba.njit(parallel=True)
def all_neutrons(energies, learned, parameters, layout, work):
    """Fill in what each neutron leaves with; each thread has its own row of ``work``."""
    for number in numba.prange(len(energies)):
        state = np.empty(1, np.uint64)
        mine = work[numba.get_thread_id()]
        energies[number] = neutron(number, learned, parameters, layout, state, mine)


def trained(epochs=1000):
    """Return a network that knows the logarithm of the cross-section."""
    log_energy = np.random.default_rng(0).uniform(0, 6, 4000)
    Y = np.log([by_integral(x) for x in log_energy])[None].astype(np.float32)
    X = ((log_energy - 3) / 2)[None].astype(np.float32)
    net = fastnn.Network([1, 32, 32, 1], "tanh", "squared_error", seed=0)
    net.fit(X, Y, epochs, 100, fastnn.Adam(0.01), schedule=fastnn.CosineDecay(epochs))
    return net


def main(neutrons=20_000):
    """Train the network, and send the same neutrons through both."""
    net = trained()
    told = inside.parameters(net), inside.layout(net), inside.work(net, numba.get_num_threads())
    energies, seconds = {}, {}
    for name in ("integral", "network"):
        energies[name] = np.zeros(neutrons)
        all_neutrons(energies[name][:100], name == "network", *told)  # compiles
        begin = time.perf_counter()
        all_neutrons(energies[name], name == "network", *told)
        seconds[name] = time.perf_counter() - begin
    through = {name: float(np.mean(found > 0)) for name, found in energies.items()}
    error = np.sqrt(through["integral"] * (1 - through["integral"]) / neutrons)
    for name in energies:
        print(f"{name:8} {through[name]:.4f} of {neutrons:,} go through, in {seconds[name]:.2f} s")
    print(f"(standard error {error:.4f})")
    grid = np.linspace(0, 6, 201)
    exact = np.array([by_integral(x) for x in grid])
    learned = np.exp(net.forward(((grid - 3) / 2)[None].astype(np.float32))[0])
    sections = {"integral": exact, "network": learned}
    return {
        "through": through,
        "error": float(error),
        "grid": grid,
        "sections": sections,
        "energies": energies,
    }


def draw(results, path):
    """Draw both cross-sections, and the energies of the neutrons that came through."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    energy = 10 ** results["grid"]
    styles = {"integral": {"color": "0.7", "linewidth": 4}, "network": {"color": "C0"}}
    for name, style in styles.items():
        left.loglog(energy, results["sections"][name], label=name, **style)
        found = results["energies"][name]
        edges = np.linspace(0, 6, 31)
        counts, _ = np.histogram(np.log10(found[found > 0]), edges)
        right.stairs(counts / len(found), 10**edges, label=name, **style)
    left.set(title="Cross-section", xlabel="energy (eV)", ylabel="1/cm")
    share = results["through"]["network"]
    right.set(title=f"{share:.1%} come through", xlabel="energy (eV)", ylabel="share, per bin")
    right.set_xscale("log")
    right.legend(loc="upper left")
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
