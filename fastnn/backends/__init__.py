"""One module per device, all with the same functions: checked arrays in, results out.

Each function takes its output first and returns nothing. ``cpu`` and ``numpy`` know how the
kernels want their arrays laid out; they check nothing, and hold no formula.
"""
