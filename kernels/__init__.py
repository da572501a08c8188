"""Everything that loops over data.

``reference`` holds the formulas in NumPy; ``cpu`` holds the same names, compiled.
Imported as ``fastnn.kernels``, from wherever it stands.
"""
