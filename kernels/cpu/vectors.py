"""The few pieces of LLVM that Numba has no words for, and a plain Python stand-in for each.

``fma``, ``bits``, ``from_bits``, ``select``, ``polynomial`` and ``paired_polynomial`` serve the
vector mathematics. ``never_inline`` keeps a large function from being copied into each of its
callers. ``swap_denormals`` has the processor take denormal numbers for zeros. ``widest_vectors``
has LLVM fill the widest registers in a function's loops, where for some processors with AVX-512 it
would choose half of them. ``Vectors`` emits code on explicit vectors of LANES values: for
``vector_sum`` here, and for the matrix product in ``tiles``.

The stand-ins do the same with NumPy when ``NUMBA_DISABLE_JIT`` is set: to debug the kernels line
by line, and to measure which lines the tests reach.
"""

from __future__ import annotations

import platform
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

# ------------------------------------------------------------------ what the processor has


def _host_features() -> set[str]:
    """Return the vector features of the processor that Numba compiles for."""
    if config.CPU_FEATURES is not None:
        return {f[1:] for f in config.CPU_FEATURES.split(",") if f.startswith("+")}
    if config.CPU_NAME not in (None, "host"):
        return set()
    return {name for name, present in llvm.get_host_cpu_features().items() if present}


_FEATURES = _host_features()
_X86 = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")

# Width of a vector register in bytes, and the tile of the matrix product: TILE_ROWS x TILE_VECTORS
# accumulators, which with one row of B and one broadcast value must fit in the registers: 32 of
# them with AVX-512 and NEON (24 + 4 + 1), 16 elsewhere (12 + 2 + 1).
if "avx512f" in _FEATURES:
    VECTOR_BYTES, TILE_ROWS, TILE_VECTORS = 64, 6, 4
elif "avx2" in _FEATURES or "avx" in _FEATURES:
    VECTOR_BYTES, TILE_ROWS, TILE_VECTORS = 32, 6, 2
elif "neon" in _FEATURES:
    VECTOR_BYTES, TILE_ROWS, TILE_VECTORS = 16, 6, 4
else:
    VECTOR_BYTES, TILE_ROWS, TILE_VECTORS = 16, 6, 2


# ------------------------------------------------------------------ scalars


@intrinsic
def _fma(typingctx, a, b, c):
    if not (isinstance(a, types.Float) and a == b == c):
        raise TypingError("fma takes three floats of one type")

    def codegen(context, builder, signature, args):
        return builder.fma(*args)

    return a(a, a, a), codegen


@intrinsic
def _bits(typingctx, x):
    integer = {types.float32: types.int32, types.float64: types.int64}[x]

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(signature.return_type))

    return integer(x), codegen


@intrinsic
def _from_bits(typingctx, i):
    real = {types.int32: types.float32, types.int64: types.float64}[i]

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(signature.return_type))

    return real(i), codegen


@intrinsic
def _select(typingctx, condition, a, b):
    if condition != types.boolean or a != b:
        raise TypingError("select takes a boolean and two values of one type")

    def codegen(context, builder, signature, args):
        return builder.select(*args)

    return a(condition, a, b), codegen


@intrinsic
def _polynomial(typingctx, x, coefficients):
    # Unrolled here: LLVM leaves a loop over a long tuple as a loop, which does not vectorise.
    if not isinstance(coefficients, types.UniTuple) or coefficients.dtype != x:
        raise TypingError("polynomial takes a float and a tuple of floats of its type")

    def codegen(context, builder, signature, args):
        x, values = args
        total = builder.extract_value(values, 0)
        for i in range(1, len(coefficients)):
            total = builder.fma(total, x, builder.extract_value(values, i))
        return total

    return x(x, coefficients), codegen


@intrinsic
def _paired_polynomial(typingctx, x, square, coefficients):
    # The same sum as (a x + b) x^2 + (c x + d) ...: as many FMAs, since the pairs need x^2 alone,
    # which the callers have anyway, but half as many that wait for one another.
    if not isinstance(coefficients, types.UniTuple) or not x == square == coefficients.dtype:
        raise TypingError("paired_polynomial takes two floats and a tuple of floats of their type")

    def codegen(context, builder, signature, args):
        x, square, values = args
        count = len(coefficients)
        c = [builder.extract_value(values, i) for i in range(count)]
        total = c[0] if count % 2 else builder.fma(c[0], x, c[1])
        for i in range(2 - count % 2, count, 2):
            total = builder.fma(total, square, builder.fma(c[i], x, c[i + 1]))
        return total

    return x(x, square, coefficients), codegen


def _python_polynomial(x: Any, coefficients: Any) -> Any:
    total = coefficients[0]
    for c in coefficients[1:]:
        total = _python_fma(total, x, c)
    return total


def _python_paired_polynomial(x: Any, square: Any, c: Any) -> Any:
    odd = len(c) % 2
    total = c[0] if odd else _python_fma(c[0], x, c[1])
    for i in range(2 - odd, len(c), 2):
        total = _python_fma(total, square, _python_fma(c[i], x, c[i + 1]))
    return total


def _python_select(condition: Any, a: Any, b: Any) -> Any:
    return a if condition else b


def _python_fma(a: Any, b: Any, c: Any) -> Any:
    # In the next wider type the product is exact for float32, and nearly so for float64.
    wide = np.float64 if isinstance(a, np.float32) else np.longdouble
    return type(a)(wide(a) * wide(b) + wide(c))


def _python_bits(x: Any) -> Any:
    return x.view(np.int32 if isinstance(x, np.float32) else np.int64)


def _python_from_bits(i: Any) -> Any:
    return i.view(np.float32 if isinstance(i, np.int32) else np.float64)


@intrinsic
def _never_inline(typingctx):
    def codegen(context, builder, signature, args):
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), codegen


def _python_never_inline() -> None:
    """Do nothing: the compiled form keeps LLVM from copying the function into its callers."""


@intrinsic
def _widest_vectors(typingctx):
    def codegen(context, builder, signature, args):
        # Narrower registers LLVM fills unasked. llvmlite lists the attributes that it lets
        # through, and this one, which LLVM reads as text, is not on its list: hence set's own add.
        if VECTOR_BYTES == 64:
            set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), codegen


def _python_widest_vectors() -> None:
    """Do nothing: the compiled form has LLVM use whole registers in the function's loops."""


# Of x86's control register MXCSR: denormal operands and results are zero.
_DENORMALS_ARE_ZERO = 0x8040


@intrinsic
def _swap_denormals(typingctx, state):
    # Denormals cost some hundred cycles each. Returns the state that was; on other processors,
    # where they cost little, nothing changes.
    if state != types.int32:
        raise TypingError("swap_denormals takes an int32")

    def codegen(context, builder, signature, args):
        kind = ir.IntType(32)
        if not _X86:
            return ir.Constant(kind, 0)
        place = cgutils.alloca_once(builder, kind)
        pointer = builder.bitcast(place, ir.IntType(8).as_pointer())
        function_type = ir.FunctionType(ir.VoidType(), [pointer.type])
        for name in ("stmxcsr", "ldmxcsr"):
            function = cgutils.get_or_insert_function(
                builder.module, function_type, f"llvm.x86.sse.{name}"
            )
            builder.call(function, [pointer])
            if name == "stmxcsr":
                before = builder.load(place)
                kept = builder.and_(before, ir.Constant(kind, ~_DENORMALS_ARE_ZERO))
                builder.store(builder.or_(kept, args[0]), place)
        return builder.and_(before, ir.Constant(kind, _DENORMALS_ARE_ZERO))

    return types.int32(types.int32), codegen


def _python_swap_denormals(state: Any) -> Any:
    return np.int32(0)


NO_DENORMALS = np.int32(_DENORMALS_ARE_ZERO)


# ------------------------------------------------------------------ arrays


@intrinsic
def _lanes(typingctx, array):
    # Known while compiling: from array.itemsize, a field in memory, each quotient is a division.
    count = VECTOR_BYTES // (array.dtype.bitwidth // 8)

    def codegen(context, builder, signature, args):
        return ir.Constant(context.get_value_type(types.intp), count)

    return types.intp(array), codegen


@intrinsic
def _address(typingctx, array, index):
    def codegen(context, builder, signature, args):
        kind = signature.args[0]
        data = context.make_array(kind)(context, builder, args[0]).data
        place = builder.gep(data, [args[1]])
        return builder.ptrtoint(place, context.get_value_type(types.intp))

    return types.intp(array, types.intp), codegen


@intrinsic
def _stack_array(typingctx, like, count):
    # Beside the function's other local values, as long as it runs: a caller must never_inline().
    kind = types.Array(like.dtype, 1, "C")

    def codegen(context, builder, signature, args):
        place = builder.alloca(context.get_data_type(kind.dtype), args[1])
        place.align = VECTOR_BYTES
        array = context.make_array(kind)(context, builder)
        size = ir.Constant(args[1].type, kind.dtype.bitwidth // 8)
        populate_array(array, place, [args[1]], [size], size, None)
        return array._getvalue()

    return kind(like, types.intp), codegen


@intrinsic
def _memory(typingctx, matrix):
    # The whole of it and what lies between: only for code that goes by places and strides.
    kind = types.Array(matrix.dtype, 1, "C")

    def codegen(context, builder, signature, args):
        source = context.make_array(matrix)(context, builder, args[0])
        array = context.make_array(kind)(context, builder)
        size = ir.Constant(source.nitems.type, kind.dtype.bitwidth // 8)
        populate_array(array, source.data, [source.nitems], [size], size, None)
        return array._getvalue()

    return kind(matrix), codegen


def _python_memory(matrix: Any) -> Any:
    strides = [abs(step) // matrix.itemsize for step in matrix.strides]
    count = 1 + sum((n - 1) * step for n, step in zip(matrix.shape, strides, strict=True))
    return np.lib.stride_tricks.as_strided(matrix, (count,), (matrix.itemsize,))


def _python_stack_array(like: Any, count: int) -> Any:
    return np.empty(count, like.dtype)


def _python_lanes(array: Any) -> int:
    return VECTOR_BYTES // int(array.itemsize)


def _python_address(array: Any, index: int) -> int:
    return int(array.ctypes.data) + index * int(array.itemsize)


# ------------------------------------------------------------------ vectors


class Vectors:
    """Emits loads, stores and arithmetic of vectors of array elements: LANES of them, or fewer."""

    def __init__(self, context: Any, builder: Any, array_type: Any, lanes: int = 0) -> None:
        self.builder = builder
        self._of = context, array_type
        self.element = context.get_value_type(array_type.dtype)
        self.align = array_type.dtype.bitwidth // 8
        self.lanes = lanes or VECTOR_BYTES // self.align
        self.type = ir.VectorType(self.element, self.lanes)
        self._kind = f"v{self.lanes}f{array_type.dtype.bitwidth}"

    def narrowed(self, lanes: int) -> Vectors:
        """Return the same for vectors of so many lanes."""
        context, array_type = self._of
        return Vectors(context, self.builder, array_type, lanes)

    def data(self, value: Any, offset: Any) -> Any:
        """Return the address of a flat array's element."""
        context, array_type = self._of
        return self.pointer(
            context.make_array(array_type)(context, self.builder, value).data, offset
        )

    def pointer(self, base: Any, offset: Any) -> Any:
        return self.builder.gep(base, [offset])

    def shuffle(self, a: Any, b: Any, lanes: list[int]) -> Any:
        """Return these lanes of a and b, counted through both."""
        order = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)
        return self.builder.shuffle_vector(a, b, order)

    def halves(self, total: Any) -> tuple[Any, Vectors]:
        """Return the sum of a vector's lower and upper half."""
        half = self.lanes // 2
        low = self.shuffle(total, total, list(range(half)))
        high = self.shuffle(total, total, list(range(half, self.lanes)))
        return self.builder.fadd(low, high), self.narrowed(half)

    def splat(self, value: Any) -> Any:
        vector = ir.VectorType(value.type, self.lanes)
        zero = ir.Constant(ir.IntType(32), 0)
        one = self.builder.insert_element(ir.Constant(vector, ir.Undefined), value, zero)
        return self.shuffle(one, one, [0] * self.lanes)

    def zeros(self) -> Any:
        return ir.Constant(self.type, [0.0] * self.lanes)

    def ones(self) -> Any:
        return ir.Constant(self.type, [1.0] * self.lanes)

    def load(self, pointer: Any, mask: Any = None) -> Any:
        pointer = self.builder.bitcast(pointer, self.type.as_pointer())
        if mask is None:
            return self.builder.load(pointer, align=self.align)
        arguments = [pointer, self._align(), mask, self.zeros()]
        return self._call(f"masked.load.{self._kind}.p0", self.type, arguments)

    def store(self, value: Any, pointer: Any, mask: Any = None) -> None:
        pointer = self.builder.bitcast(pointer, self.type.as_pointer())
        if mask is None:
            self.builder.store(value, pointer, align=self.align)
        else:
            arguments = [value, pointer, self._align(), mask]
            self._call(f"masked.store.{self._kind}.p0", ir.VoidType(), arguments)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        return self._call(f"fma.{self._kind}", self.type, [a, b, c])

    def prefetch(self, pointer: Any, *, write: bool) -> None:
        """Ask for what stands there, to be read or written, in all caches."""
        kind = ir.IntType(32)
        pointer = self.builder.bitcast(pointer, ir.IntType(8).as_pointer())
        arguments = [pointer, *(ir.Constant(kind, x) for x in (int(write), 3, 1))]
        self._call("prefetch.p0", ir.VoidType(), arguments)

    def first(self, count: Any) -> Any:
        """Return the mask of the first ``count`` lanes; the count is a small number."""
        # Compared in integers as wide as the elements, so that the mask takes one register.
        kind = ir.IntType(8 * self.align)
        if kind.width < count.type.width:
            count = self.builder.trunc(count, kind)
        lanes = ir.Constant(ir.VectorType(kind, self.lanes), list(range(self.lanes)))
        return self.builder.icmp_signed("<", lanes, self.splat(count))

    def _align(self) -> Any:
        return ir.Constant(ir.IntType(32), self.align)

    def _call(self, name: str, result: Any, arguments: list[Any]) -> Any:
        function_type = ir.FunctionType(result, [a.type for a in arguments])
        module = self.builder.module
        function = cgutils.get_or_insert_function(module, function_type, f"llvm.{name}")
        return self.builder.call(function, arguments)


def _emit_sum(context: Any, builder: Any, X: Any, x: Any) -> Any:
    """Emit the sum of a flat array, in its own type and an order that depends on LANES alone."""
    v = Vectors(context, builder, X)
    array = context.make_array(X)(context, builder, x)
    index = array.nitems.type
    zeros = v.zeros()
    # Four sums side by side, since each addition waits for the one before it.
    sums = [cgutils.alloca_once_value(builder, zeros) for _ in range(4)]

    def add(total: Any, place: Any, mask: Any = None) -> None:
        value = v.load(v.pointer(array.data, place), mask)
        builder.store(builder.fadd(builder.load(total), value), total)

    step = ir.Constant(index, 4 * v.lanes)
    whole = builder.mul(builder.sdiv(array.nitems, step), step)
    with cgutils.for_range_slice(builder, ir.Constant(index, 0), whole, step) as (i, _):
        for n, total in enumerate(sums):
            add(total, builder.add(i, ir.Constant(index, n * v.lanes)))
    lanes = ir.Constant(index, v.lanes)
    with cgutils.for_range_slice(builder, whole, array.nitems, lanes) as (i, _):
        add(sums[0], i, v.first(builder.sub(array.nitems, i)))
    a, b, c, d = (builder.load(total) for total in sums)
    total = builder.fadd(builder.fadd(a, b), builder.fadd(c, d))
    while v.lanes > 1:
        total, v = v.halves(total)
    return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))


@intrinsic
def _vector_sum(typingctx, X):
    """The sum of a flat array."""

    def codegen(context, builder, signature, args):
        return _emit_sum(context, builder, X, args[0])

    return X.dtype(X), codegen


def _python_vector_sum(x: Any) -> Any:
    return x.sum()


if config.DISABLE_JIT:
    fma, bits, from_bits, select = _python_fma, _python_bits, _python_from_bits, _python_select
    polynomial, paired_polynomial = _python_polynomial, _python_paired_polynomial
    never_inline, widest_vectors = _python_never_inline, _python_widest_vectors
    swap_denormals, vector_sum = _python_swap_denormals, _python_vector_sum
    lanes_of, address = _python_lanes, _python_address
    memory, stack_array = _python_memory, _python_stack_array
else:
    fma, bits, from_bits, select = _fma, _bits, _from_bits, _select
    polynomial, paired_polynomial = _polynomial, _paired_polynomial
    never_inline, widest_vectors = _never_inline, _widest_vectors
    swap_denormals, vector_sum = _swap_denormals, _vector_sum
    lanes_of, address, memory, stack_array = _lanes, _address, _memory, _stack_array
