"""Cost, gradient and training of whole networks, by one thread or several.

A batch is cut into blocks of examples, which go through the network one by one (``block``). What
follows depends on the network and on the size of the batch, never on the number of threads, and
sums are taken in a fixed order; so the bits of a result do not depend on who computed what.

Where the whole batch can be kept (``cut.slots`` blocks of it), there are two jobs:

    BLOCKS   each block goes forward and backward, up to its dZ
    PARTS    each part of the weights gets its gradient, from all blocks, and takes its step

Of larger batches, which are read once, pieces are summed one beside the other:

    PIECES   each piece goes forward and backward, block by block, and has a gradient of its own
    RANGES   each range of the parameters gets its gradient, from all pieces, and takes its step

Where the gradient is clipped, no step can be taken before all of it is known. Two jobs follow:

    SQUARES  each range of the gradient is squared and summed
    DESCENT  each range of the parameters takes its step
"""

from __future__ import annotations

import math

from ..codes import ADAMW, SGD
from ..structures import (
    N_IN,
    N_OUT,
    PLACE,
    Architecture,
    Cut,
    Examples,
    Progress,
    Rule,
    Task,
    Workspace,
)
from .block import add_gradient, block_errors, block_forward, descends, gradient_of_blocks
from .compiler import helper, kernel
from .dropout import LOW, mixed
from .linear import long_sum
from .optimizers import add_penalties, penalty, update
from .product import PANEL_BYTES
from .team import (
    FIRST,
    KIND,
    START,
    STOP,
    dismiss,
    done,
    publish,
    take,
    wait_for_others,
    wait_for_tickets,
)
from .vectors import (
    NO_DENORMALS,
    VECTOR_BYTES,
    lanes_of,
    never_inline,
    swap_denormals,
    widest_vectors,
)

# What a call of the kernel is for.
COST, GRADIENT, STEPS = 0, 1, 2

# Who does tickets that are published: the leader of several threads, or a helper.
LEADS, HELPS = 0, 1

# The kinds of jobs.
BLOCKS, PARTS, PIECES, RANGES, SQUARES, DESCENT = 0, 1, 2, 3, 4, 5

# What is done about parameters whose gradient was summed: it is made that of J, and the step taken.
WHOLE, DERIVE, DESCEND = 0, 1, 2

# Parameters in a ticket of RANGES, and those that are worked off together in the cache.
RANGE, SEGMENT = 4096, 2048


@helper
def opened(told):
    """Return the task that was told as plain tuples."""
    purpose, network, cut, examples, rule, progress, gradient, sums, totals, signals = told
    return Task(
        purpose,
        Architecture(network[0], network[1], network[2]),
        Cut(cut[0], cut[1], cut[2], cut[3], cut[4]),
        Examples(
            examples[0], examples[1], examples[2], examples[3], examples[4],
            examples[5], examples[6], examples[7], examples[8],
        ),
        Rule(
            rule[0], rule[1], rule[2], rule[3], rule[4],
            rule[5], rule[6], rule[7], rule[8], rule[9], rule[10], rule[11], rule[12],
        ),
        Progress(
            progress[0], progress[1], progress[2], progress[3],
            progress[4], progress[5], progress[6], progress[7],
        ),
        gradient, sums, totals, signals,
    )  # fmt: skip


@helper
def workspace(network, cut, gathered, slab, desk):
    """Return the workspace that lies in two pieces of memory: ``slab``, ``desk``."""
    layers, width, slots = network.layers, cut.width, max(1, cut.slots)
    last = layers.shape[0] - 1
    n_y = layers[last, N_OUT]
    units, widest = 0, 0
    for l in range(last + 1):
        units += layers[l, N_OUT]
        widest = max(widest, layers[l, N_OUT])
    slot = units * width  # values of A and of D in a slot
    cells = slot * slots
    X = slab[2 * cells :] if gathered else slab[:0]
    panel = PANEL_BYTES // VECTOR_BYTES * lanes_of(slab)
    t = panel + widest * width
    y = t + n_y * width
    return Workspace(
        width, slot, X, slab[:cells], slab[cells : 2 * cells],
        desk[panel:t], desk[t:y], desk[y : y + width], desk[y + width : y + 3 * width],
        desk[:panel],
    )  # fmt: skip


# ------------------------------------------------------------------ steps of parameters


@helper
def settle(
    parameters, gradient, state, rule, rate, step, doing, scale, begin, rows, apart, length, weights
):  # fmt: skip
    """Turn sums into the gradient of J, and take that step.

    ``doing`` says whether both, or one of the two: then the scaled gradient is kept, or the step
    taken by a scaled gradient. By ``rows`` of ``length`` parameters, ``apart`` from one to the
    next. They are ``weights`` of one layer, or else biases, which have no penalty and do not decay.
    """
    never_inline()
    widest_vectors()
    n = parameters.size
    penalised = weights and doing != DESCEND and (rule.l1 != 0 or rule.l2 != 0)
    decay = rule.weight_decay if weights and rule.kind == ADAMW else 0.0
    for i in range(rows):
        place = begin + i * apart
        for at in range(place, place + length, SEGMENT):
            end = min(at + SEGMENT, place + length)
            w, g = parameters[at:end], gradient[at:end]
            if penalised:
                add_penalties(w, g, scale, rule.l1, rule.l2)
            elif doing == DERIVE:
                for j in range(g.size):
                    g[j] = type(g[j])(scale) * g[j]
            if doing != DERIVE:
                first, second = state[at:end], state[n + at : n + end]
                update(w, g, first, second, rule, rate, decay, step, 1.0 if penalised else scale)


@helper
def learning_rate(task):
    """Return the learning rate of this step."""
    return task.rule.learning_rate * task.progress.rates[0]


@helper
def settle_rows(parameters, task, doing, scale, begin, rows, apart, length, weights):
    """Settle rows of the task's gradient: ``doing`` is WHOLE, DERIVE or DESCEND."""
    step, rate = 0, 0.0
    if doing != DERIVE:
        step, rate = task.progress.counts[0], learning_rate(task)
    settle(
        parameters, task.gradient, task.progress.state, task.rule, rate, step, doing, scale,
        begin, rows, apart, length, weights,
    )  # fmt: skip


@helper
def clipped(task):
    """Return whether a step waits for the length of the whole gradient."""
    return task.purpose == STEPS and task.rule.clip_norm != 0


@helper
def at_once(task):
    """Return what is done as soon as a sum is ready."""
    return WHOLE if task.purpose == STEPS and task.rule.clip_norm == 0 else DERIVE


@helper
def alike(rule):
    """Return whether weights and biases are treated alike."""
    decays = rule.kind == ADAMW and rule.weight_decay != 0
    return rule.l1 == 0 and rule.l2 == 0 and not decays


@helper
def settle_range(parameters, task, doing, scale, begin, end):
    """Settle any range of the parameters, layer by layer."""
    layers = task.network.layers
    if alike(task.rule):
        settle_rows(parameters, task, doing, scale, begin, 1, 0, end - begin, False)
        return
    for l in range(layers.shape[0]):
        place = layers[l, PLACE]
        biases = place + layers[l, N_IN] * layers[l, N_OUT]
        after = biases + layers[l, N_OUT]
        for lower, upper, weights in ((place, biases, True), (biases, after, False)):
            first, last = max(begin, lower), min(end, upper)
            if first < last:
                settle_rows(parameters, task, doing, scale, first, 1, 0, last - first, weights)


# ------------------------------------------------------------------ tickets


@helper
def draws(task):
    """Return the key of this step's draws for dropout."""
    step = 0
    if task.purpose == STEPS:
        step = task.progress.counts[0]
    return mixed(mixed(step & LOW) ^ task.rule.key)


@helper
def do_block(parameters, task, start, stop, index, work):
    """Take a block forward and, if there is to be a gradient, backward."""
    first = start + index * work.width
    m = min(work.width, stop - first)
    backward = task.purpose != COST
    examples, order = task.examples, task.progress.order
    task.totals[index] = block_forward(
        parameters, task.network, examples, order, first, m, index, work, backward, draws(task)
    )
    if backward:
        block_errors(parameters, task.network, m, index, work)


@helper
def do_part(parameters, task, start, stop, index, work):
    """Sum a part of the gradient over all blocks, and settle it."""
    layers, parts, width = task.network.layers, task.cut.parts, work.width
    l, top, bottom = parts[index, 0], parts[index, 1], parts[index, 2]
    left, right = parts[index, 3], parts[index, 4]
    n_in, n, place = layers[l, N_IN], layers[l, N_OUT], layers[l, PLACE]
    G, scale, count = task.gradient, 1 / (stop - start), stop - start
    # The plainest step is taken by the product itself.
    rate, plain = 0.0, task.rule.kind == SGD and task.rule.momentum == 0 and alike(task.rule)
    fits = descends(layers, l, bottom - top, right - left, task.examples, work)
    doing = at_once(task)
    if plain and fits and doing == WHOLE:
        rate = learning_rate(task) * scale
    slots = (count + width - 1) // width
    if fits and slots > 1:
        gradient_of_blocks(
            G, parameters, rate, task.network, task.examples, task.progress.order, start, stop,
            l, top, bottom, left, right, work,
        )  # fmt: skip
    else:
        for slot in range(slots):
            first = start + slot * width
            add_gradient(
                G, 0, parameters, rate, task.network, task.examples, task.progress.order, first,
                min(width, stop - first), slot, l, top, bottom, left, right, slot == 0, work,
            )  # fmt: skip
    if rate == 0 and top == 0 and bottom == n and left == 0 and right == n_in:
        settle_range(parameters, task, doing, scale, place, place + n * n_in + n)
        return
    if rate == 0:
        first, rows, length = place + top * n_in + left, bottom - top, right - left
        if length == n_in:
            rows, length = 1, rows * n_in
        settle_rows(parameters, task, doing, scale, first, rows, n_in, length, True)
    if left == 0:
        biases = place + n * n_in + top
        settle_rows(parameters, task, doing, scale, biases, 1, 0, bottom - top, False)


@helper
def do_piece(parameters, task, start, stop, index, work):
    """Take a piece forward and backward, block by block, and sum its gradient."""
    layers, order, examples = task.network.layers, task.progress.order, task.examples
    first = start + index * task.cut.piece
    end = min(first + task.cut.piece, stop)
    backward = task.purpose != COST
    g = index * parameters.size
    total = 0.0
    for block in range(first, end, work.width):
        m = min(work.width, end - block)
        total += block_forward(
            parameters, task.network, examples, order, block, m, 0, work, backward, draws(task)
        )
        if backward:
            block_errors(parameters, task.network, m, 0, work)
            for l in range(layers.shape[0] - 1, -1, -1):
                add_gradient(
                    task.sums, g, parameters, 0.0, task.network, examples, order, block, m, 0,
                    l, 0, layers[l, N_OUT], 0, layers[l, N_IN], block == first, work,
                )  # fmt: skip
    task.totals[index] = total


@helper
def do_range(parameters, task, start, stop, index):
    """Add the pieces' gradients by a range of the parameters, and settle it."""
    pieces = (stop - start + task.cut.piece - 1) // task.cut.piece
    n, sums, gradient = parameters.size, task.sums, task.gradient
    after = min((index + 1) * RANGE, n)
    for begin in range(index * RANGE, after, SEGMENT):
        end = min(begin + SEGMENT, after)
        g = gradient[begin:end]
        s = sums[begin:end]
        for i in range(g.size):
            g[i] = s[i]
        for piece in range(1, pieces):
            more = sums[piece * n + begin : piece * n + end]
            for i in range(g.size):
                g[i] = g[i] + more[i]
        settle_range(parameters, task, at_once(task), 1 / (stop - start), begin, end)


@helper
def do_squares(parameters, task, index, work):
    """Sum the squares of a range of the gradient."""
    first, after = index * RANGE, min((index + 1) * RANGE, parameters.size)
    scratch, total = work.losses, 0.0
    for begin in range(first, after, scratch.size):
        g = task.gradient[begin : min(begin + scratch.size, after)]
        squares = scratch[: g.size]
        for i in range(g.size):
            squares[i] = g[i] * g[i]
        total += long_sum(squares)
    if total == math.inf:
        # Above 1e19 the squares of float32 are infinite, where their norm is not.
        total = 0.0
        for i in range(first, after):
            wide = 1.0 * task.gradient[i]
            total += wide * wide
    task.totals[index] = total


@helper
def do_descent(parameters, task, index):
    """Let a range of the parameters take its step, by a gradient that is known."""
    end = min((index + 1) * RANGE, parameters.size)
    settle_range(parameters, task, DESCEND, task.totals[0], index * RANGE, end)


@helper
def do_ticket(parameters, task, kind, start, stop, index, work):
    """Do one ticket of a job over the examples order[start:stop]."""
    if kind == BLOCKS:
        do_block(parameters, task, start, stop, index, work)
    elif kind == PARTS:
        do_part(parameters, task, start, stop, index, work)
    elif kind == PIECES:
        do_piece(parameters, task, start, stop, index, work)
    elif kind == RANGES:
        do_range(parameters, task, start, stop, index)
    elif kind == SQUARES:
        do_squares(parameters, task, index, work)
    else:
        do_descent(parameters, task, index)


@helper
def do_tickets(parameters, task, role, work):
    """Do the tickets that are published: those that are left of a job, or until dismissed."""
    never_inline()
    signals = task.signals
    while True:
        ticket = take(signals) if role == LEADS else wait_for_tickets(signals)
        if ticket < 0:
            break
        kind, start, stop = signals[KIND], signals[START], signals[STOP]
        do_ticket(parameters, task, kind, start, stop, ticket - signals[FIRST], work)
        done(signals)


@helper
def do_job(parameters, task, kind, start, stop, count, work):
    """Do all tickets of a job, with the helpers if there are any."""
    if task.signals.size == 0 or count == 1:
        for index in range(count):
            do_ticket(parameters, task, kind, start, stop, index, work)
        return
    publish(task.signals, kind, start, stop, count)
    do_tickets(parameters, task, LEADS, work)
    wait_for_others(task.signals)


# ------------------------------------------------------------------ steps of training


@helper
def job(task, stage, count, ranges):
    """Return the kind of a batch's job, the first being stage 0, and how many tickets it has."""
    cut = task.cut
    if stage == 0:
        if cut.slots > 0:
            return BLOCKS, (count + cut.width - 1) // cut.width
        return PIECES, (count + cut.piece - 1) // cut.piece
    if stage == 1:
        if cut.slots > 0:
            return PARTS, cut.parts.shape[0]
        return RANGES, ranges
    return SQUARES if stage == 2 else DESCENT, ranges


@helper
def batch_penalty(parameters, task, work):
    """Return what the penalties add to J."""
    layers, rule = task.network.layers, task.rule
    J = 0.0
    if rule.l1 != 0 or rule.l2 != 0:
        for l in range(layers.shape[0]):
            place = layers[l, PLACE]
            end = place + layers[l, N_IN] * layers[l, N_OUT]
            J += penalty(parameters[place:end], rule.l1, rule.l2, work.losses)
    return J


@helper
def batch_cost(parameters, task, start, stop, work):
    """Return J over the examples order[start : stop]; with its gradient, and a step, if asked."""
    totals, clip_norm, count = task.totals, task.rule.clip_norm, stop - start
    J = batch_penalty(parameters, task, work)  # of the parameters before the step
    ranges = (parameters.size + RANGE - 1) // RANGE
    stages = 1 if task.purpose == COST else 4 if clipped(task) else 2
    # One call for all jobs: LLVM then puts what it leads to in its place.
    for stage in range(stages):
        kind, tickets = job(task, stage, count, ranges)
        do_job(parameters, task, kind, start, stop, tickets, work)
        if stage == 0 or stage == 2:
            total = 0.0
            for i in range(tickets):
                total += totals[i]
            if stage == 0:
                J += total / count
            else:
                # A norm that is NaN or infinite leaves the gradient as it is: the cost will show.
                longer = total > clip_norm**2 and total < math.inf
                totals[0] = clip_norm / math.sqrt(total) if longer else 1.0
    return J


@helper
def shuffle(order, random):
    """Permute in place (Fisher and Yates), drawing from a 64-bit xorshift (Marsaglia 2003)."""
    x = random[0]
    for i in range(order.size - 1, 0, -1):
        x ^= x << type(x)(13)
        x ^= x >> type(x)(7)
        x ^= x << type(x)(17)
        # the high half of a 32-bit draw times i + 1 is a number from 0 to i
        j = ((x >> type(x)(32)) * type(x)(i + 1)) >> type(x)(32)
        order[i], order[j] = order[j], order[i]
    random[0] = x


@helper
def begin_step(task):
    """Make ready for a step of training; return which examples it is about."""
    progress = task.progress
    counts, rates = progress.counts, progress.rates
    start = counts[2]
    if start == 0 and progress.random[0] != 0:
        shuffle(progress.order, progress.random)
    rates[0] = rates[1 + counts[0] % (rates.size - 1)]
    counts[0] += 1
    return start, min(start + task.cut.batch, task.examples.m)


@helper
def end_step(parameters, task, J, start, stop):
    """Note a step of training, and at an epoch's end its cost and its parameters."""
    progress, m = task.progress, task.examples.m
    counts = progress.counts
    progress.cost[0] += J * (stop - start)
    counts[2] = stop
    if stop == m:
        progress.costs[counts[1]] = progress.cost[0] / m
        progress.cost[0] = 0
        snapshot = progress.snapshot
        for i in range(parameters.size):
            snapshot[i] = parameters[i]
        counts[1] += 1
        counts[2] = 0


@kernel
def train(parameters, told, steps, slab, desk, leads):
    """Take up to ``steps`` steps of training, from where the task's progress stands; return J.

    Or return the cost of all examples, with or without its gradient: the task's purpose says which.
    The task is told as plain tuples, ``Task.plain``.
    One thread ``leads``; the others, each with a ``desk`` and perhaps a ``slab`` of its own, help.

    The cost of an epoch is the mean over its examples of J, as each batch met it. In training
    denormal numbers are taken for zeros: gradients that fade away would else make each step several
    times as long.
    """
    task = opened(told)
    training = task.purpose == STEPS
    gathered = task.progress.order.size > 0
    work = workspace(task.network, task.cut, gathered, slab, desk)
    J, start, stop = 0.0, 0, task.examples.m
    before = NO_DENORMALS
    if training:
        before = swap_denormals(NO_DENORMALS)
    if leads:
        for _ in range(steps if training else 1):
            if training:
                if task.progress.counts[1] == task.progress.counts[3]:
                    break
                start, stop = begin_step(task)
            J = batch_cost(parameters, task, start, stop, work)
            if training:
                end_step(parameters, task, J, start, stop)
        if task.signals.size > 0:
            dismiss(task.signals)
    else:
        do_tickets(parameters, task, HELPS, work)
    if training:
        swap_denormals(before)
    return J


def network_cost(parameters, told, slab, desk):
    """Return J over all examples; leave its gradient in the task's, if that is the purpose.

    The same compiled code as for training, with nobody to help.
    """
    return train(parameters, told, 0, slab, desk, True)
