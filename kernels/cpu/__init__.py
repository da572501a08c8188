"""The kernels compiled by Numba for the CPU.

Read in this order: ``compiler`` (how a kernel is compiled and cached), ``vectors`` (the few
pieces of LLVM that Numba has no words for), ``product`` (the matrix product), ``vector_math``
(exp, tanh, log ... that LLVM can vectorise), then one module per family of kernels.
"""
