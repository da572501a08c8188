"""What Numba must know of a frozen network: two arrays, and what a call compiles to."""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_constant
from numba.extending import (
    NativeValue,
    lower_builtin,
    make_attribute_wrapper,
    models,
    overload_method,
    register_model,
    typeof_impl,
    unbox,
)
from numba.np.arrayobj import populate_array

from ..kernels.cpu import inside as kernels
from ..kernels.cpu.compiler import OPTIONS, source_digest
from ..kernels.cpu.inside import LAYERS, SIZES
from ._compiled import _expected, _writable
from ._frozen import Frozen


class FrozenType(types.Type):
    """The type of a frozen network: that of its parameters, and which kernels it is answered by.

    Numba finds what it keeps on disk by the types of the arguments: with other kernels, a function
    that takes a frozen network is compiled anew.
    """

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"fastnn.inside.Frozen({dtype}, kernels {source_digest()})")

    @property
    def members(self) -> list[tuple[str, Any]]:
        """Return the names and types of its arrays."""
        return [
            ("parameters", types.Array(self.dtype, 1, "C", readonly=True)),
            ("layout", types.Array(types.int64, 1, "C", readonly=True)),
        ]


@register_model(FrozenType)
class _Model(models.StructModel):
    def __init__(self, manager: Any, frozen: FrozenType) -> None:
        super().__init__(manager, frozen, frozen.members)


for _name in ("parameters", "layout"):
    make_attribute_wrapper(FrozenType, _name, _name)


@typeof_impl.register(Frozen)
def _typeof(value: Frozen, _: Any) -> FrozenType:
    return FrozenType(numba.from_dtype(value.parameters.dtype))


@unbox(FrozenType)
def _unbox(frozen: FrozenType, found: Any, c: Any) -> Any:
    value = cgutils.create_struct_proxy(frozen)(c.context, c.builder)
    for name, kind in frozen.members:
        array = c.pyapi.object_getattr_string(found, name)
        setattr(value, name, c.unbox(kind, array).value)
        c.pyapi.decref(array)
    return NativeValue(
        value._getvalue(), is_error=cgutils.is_not_null(c.builder, c.pyapi.err_occurred())
    )


# Networks that are constants of some compiled function: their memory must stay.
_constants: list[Frozen] = []


@lower_constant(FrozenType)
def _constant(context: Any, builder: Any, frozen: FrozenType, found: Frozen) -> Any:
    """Compile addresses into the code, not the numbers: such code is never kept on disk.

    With the numbers in it, it would be, and would go on with them after the network has changed.
    """
    _constants.append(found)
    value = cgutils.create_struct_proxy(frozen)(context, builder)
    for name, kind in frozen.members:
        memory = getattr(found, name)
        array = context.make_array(kind)(context, builder)
        place = context.add_dynamic_addr(builder, memory.ctypes.data, info="fastnn.inside.Frozen")
        count, size = (ir.Constant(array.nitems.type, n) for n in (memory.size, memory.itemsize))
        populate_array(array, builder.bitcast(place, array.data.type), [count], [size], size, None)
        setattr(value, name, array._getvalue())
    return value._getvalue()


@overload_method(FrozenType, "__call__", jit_options=OPTIONS)
def _call(self: Any, x: Any, out: Any) -> Any:
    _expected("x", x, self.dtype, 1)
    _expected("out", out, self.dtype, 1)
    _writable("out", out)
    kernel = kernels.forward_on_stack

    def compiled(self: Any, x: Any, out: Any) -> None:
        layout = self.layout
        if x.size != layout[SIZES]:
            raise ValueError("fastnn.inside.Frozen: x has not the size n_x of the network")
        if out.size != layout[SIZES + layout[LAYERS]]:
            raise ValueError("fastnn.inside.Frozen: out has not the size n_y of the network")
        kernel(out, self.parameters, layout, x)

    return compiled


@lower_builtin(FrozenType, FrozenType, types.VarArg(types.Any))
def _lower_call(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    # Numba finds the type of f(x, out) by the method, but its code by the type.
    typing = context.typing_context
    method = typing.resolve_getattr(signature.args[0], "__call__")
    inner = method.get_call_type(typing, signature.args[1:], {})
    return context.get_function(method, inner)(builder, args)
