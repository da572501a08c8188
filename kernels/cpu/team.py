"""How threads share the work of one call: tickets, taken by whoever is free.

One thread leads. It cuts a job into tickets, publishes them, takes some itself, and goes on when
all are done. The others help: they wait for tickets until the leader dismisses them. A helper
that comes late, or is held up, costs nothing but its help: a ticket that nobody holds can be taken
by anyone.

Tickets are numbered through all jobs of a call. A ticket below the limit can be taken, and until
it is done the leader leaves what describes the job alone; so whoever holds one reads the right
description.
"""

from __future__ import annotations

from .atomics import atomic_add, atomic_load, atomic_store, atomic_swap, give_way, pause
from .compiler import helper

# Where things stand in ``signals``; each that changes often has its own lines of the cache.
NEXT, LIMIT, DONE, DISMISSED, JOB = 0, 16, 32, 48, 64
SIGNALS = 80

# A job: its kind, its first ticket, and the range of examples it is about.
KIND, FIRST, START, STOP = JOB, JOB + 1, JOB + 2, JOB + 3

# How often a waiting thread looks before it lets others run, some 50 microseconds.
LOOKS = 1000


@helper
def publish(signals, kind, start, stop, count):
    """Offer the tickets of a job. All earlier ones must be done."""
    first = signals[LIMIT]
    signals[KIND] = kind
    signals[FIRST] = first
    signals[START] = start
    signals[STOP] = stop
    atomic_store(signals, LIMIT, first + count)


@helper
def take(signals):
    """Return a ticket's number, or -1 where there is none to take now."""
    while True:
        ticket = atomic_load(signals, NEXT)
        if ticket >= atomic_load(signals, LIMIT):
            return -1
        if atomic_swap(signals, NEXT, ticket, ticket + 1):
            return ticket


@helper
def done(signals):
    """Say that a ticket is done."""
    atomic_add(signals, DONE, 1)


@helper
def wait_for_tickets(signals):
    """Return a ticket's number, or -1 when the helpers are dismissed."""
    looks = 0
    while atomic_load(signals, DISMISSED) == 0:
        ticket = take(signals)
        if ticket >= 0:
            return ticket
        looks += 1
        if looks < LOOKS:
            pause()
        else:
            give_way()
    return -1


@helper
def wait_for_others(signals):
    """Return when all published tickets are done."""
    looks = 0
    while atomic_load(signals, DONE) < signals[LIMIT]:
        looks += 1
        if looks < LOOKS:
            pause()
        else:
            give_way()


@helper
def dismiss(signals):
    """Send the helpers home."""
    atomic_store(signals, DISMISSED, 1)
