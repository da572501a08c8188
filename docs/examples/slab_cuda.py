"""The neutrons of slab.py on a GPU: a thread for each, which calls the network by itself.

A network evaluated from the host would need a launch, and memory for all neutrons, at each of their
flights, though most neutrons are gone after a few. Here each thread goes on to the end, and calls
``inside.cuda.forward`` where it needs a cross-section. The random numbers and the collisions are
those of slab.py: its functions for the CPU are compiled into the kernel.

It needs an NVIDIA GPU and numba-cuda: ``pip install "numba-fastnn[cuda13]"``. Without a GPU, a few
neutrons take the same way in numba-cuda's simulator: ``NUMBA_ENABLE_CUDASIM=1``.
"""

import math
import time

import numba
import numpy as np
import slab
from numba import cuda, float32, uint64

import fastnn
import fastnn.inside.cuda
from fastnn import inside

# What a thread works in: inside.cuda.work_size of the network, which is 2 times its widest layer.
# Numba wants to know it when it compiles the kernel.
WORK = 64


@cuda.jit
def all_neutrons(energies, parameters, layout):
    """Fill in what each neutron leaves with."""
    work = cuda.local.array(WORK, float32)
    value = cuda.local.array(1, float32)
    state = cuda.local.array(1, uint64)
    for number in range(cuda.grid(1), energies.size, cuda.gridsize(1)):
        energy, depth, cosine = slab.begin(number, state)
        while energy > slab.LOWEST and 0 <= depth <= slab.THICKNESS:
            value[0] = (math.log10(energy) - 3) / 2
            inside.cuda.forward(parameters, layout, value, value, work)
            section = math.exp(value[0])
            energy, depth, cosine = slab.next_collision(section, energy, depth, cosine, state)
        energies[number] = energy if depth > slab.THICKNESS else 0.0


def on_gpu(net, neutrons, grid=512, threads=128):
    """Return the energies, and the seconds that the launch took."""
    parameters = cuda.to_device(inside.parameters(net))
    layout = cuda.to_device(inside.layout(net))
    energies = cuda.to_device(np.zeros(neutrons))
    all_neutrons[grid, threads](energies[:1], parameters, layout)  # compiles
    cuda.synchronize()
    begin = time.perf_counter()
    all_neutrons[grid, threads](energies, parameters, layout)
    cuda.synchronize()
    return energies.copy_to_host(), time.perf_counter() - begin


def on_cpu(net, neutrons):
    """Return the same from the CPU."""
    told = inside.parameters(net), inside.layout(net), inside.work(net, numba.get_num_threads())
    energies = np.zeros(neutrons)
    slab.all_neutrons(energies[:1], True, *told)  # compiles
    begin = time.perf_counter()
    slab.all_neutrons(energies, True, *told)
    return energies, time.perf_counter() - begin


def main(neutrons=1_000_000, epochs=1000, **launch):
    """Send the same neutrons through on both."""
    with fastnn.use_device("cuda"):  # an error that says what is missing, if there is no GPU
        pass
    net = slab.trained(epochs)
    assert inside.cuda.work_size(net) == WORK
    found = {"GPU": on_gpu(net, neutrons, **launch), "CPU": on_cpu(net, neutrons)}
    for name, (energies, seconds) in found.items():
        through = np.mean(energies > 0)
        print(f"{name}: {through:.4f} of {neutrons:,} go through, in {seconds:.3f} s")
    return {name: energies for name, (energies, _) in found.items()}


if __name__ == "__main__":
    main()
