"""The kernels compiled by Numba for NVIDIA GPUs.

Read in this order: ``driver`` (the one module that imports ``numba.cuda``; how a kernel is
declared and launched), ``memory`` (16 bytes at a time), ``scalars`` (functions of one value),
``product`` (the matrix product), then one module per family of kernels. A public function of those
launches the kernels of its name: outputs first, then inputs, then sizes.
"""
