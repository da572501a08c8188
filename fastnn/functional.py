"""Arrays in, arrays out: one function per formula.

One example a column: ``(n, m)``. Data whose examples are rows is passed as ``X.T``, and is not
copied; any other stride is copied once. Arrays are float32 or float64, all of one type;
integers, booleans and Python's lists are converted. ``out`` may be any array of the right shape
and type, an input included. ``device`` is ``"cpu"``, ``"numpy"``, ``"auto"`` ... and beats
:func:`fastnn.use_device`, which beats ``FASTNN_DEVICE``.

Formulas: A. Ng's course notes, *Neural Networks Basics* and *Shallow neural networks*, unless
another source is named.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import residence
from . import validation as check
from .device import backend
from .kernels.codes import ACTIVATIONS, LOSSES

Array = NDArray[Any]

__all__ = [
    "activation_backward",
    "activation_derivative",
    "activation_forward",
    "bias_gradient",
    "cost",
    "gradient_step",
    "hidden_gradient",
    "layer_forward",
    "leaky_relu",
    "linear_backward",
    "linear_forward",
    "output_gradient",
    "relu",
    "sigmoid",
    "softmax",
    "tanh",
    "weight_gradient",
]


def _backend(device: str | None, A: Any) -> Any:
    """Return what computes there, or where the array is."""
    return backend(device) if isinstance(A, np.ndarray) else residence.backend(device, A)


def _order(A: Array) -> str:
    return "F" if A.flags.f_contiguous and not A.flags.c_contiguous else "C"


def _activation(Z: ArrayLike, activation: str, **others: object) -> list[Array]:
    check.one_of("activation", activation, ACTIVATIONS)
    found = residence.arrays(**others, Z=Z)
    if activation == "softmax":
        check.matrix("Z", found[-1])
    return found


def _layer(A_prev: ArrayLike, W: ArrayLike, b: ArrayLike) -> list[Array]:
    A_prev, W, b = residence.arrays(A_prev=A_prev, W=W, b=b)
    check.matrix("A_prev", A_prev)
    check.matrix("W", W)
    if W.shape[1] != A_prev.shape[0]:
        raise ValueError(f"W has {W.shape[1]} columns but A_prev has {A_prev.shape[0]} rows")
    if b.shape != (W.shape[0], 1):
        raise ValueError(
            f"b has shape {b.shape}, but W has {W.shape[0]} rows: expected {(W.shape[0], 1)}"
        )
    return [A_prev, W, b]


def _gradients(dZ: ArrayLike, A_prev: ArrayLike, **others: object) -> list[Array]:
    found = residence.arrays(dZ=dZ, A_prev=A_prev, **others)
    check.matrix("dZ", found[0])
    check.matrix("A_prev", found[1])
    if found[0].shape[1] != found[1].shape[1]:
        raise ValueError(f"dZ has {found[0].shape[1]} examples but A_prev has {found[1].shape[1]}")
    return found


def linear_forward(
    A_prev: ArrayLike,
    W: ArrayLike,
    b: ArrayLike,
    out: Array | None = None,
    *,
    device: str | None = None,
) -> Array:
    """Return the linear part of a layer, Z = W A_prev + b.

    Parameters
    ----------
    A_prev : array, (n_in, m)
        The layer's input, one example a column.
    W : array, (n_out, n_in)
        The weights.
    b : array, (n_out, 1)
        The biases.
    out : array, (n_out, m), optional
        Where to put the result.
    device : str, optional
        Where to compute.

    Returns
    -------
    array, (n_out, m)
        Z, in the type of the inputs.

    Raises
    ------
    ValueError
        If a shape does not fit, or an array is empty.
    TypeError
        If the types are not one of float32 and float64.

    Examples
    --------
    >>> import fastnn.functional as F
    >>> F.linear_forward([[1.0, 2.0]], [[3.0], [4.0]], [[0.5], [0.0]])
    array([[3.5, 6.5],
           [4. , 8. ]])
    """
    A_prev, W, b = _layer(A_prev, W, b)
    Z = residence.output(out, (W.shape[0], A_prev.shape[1]), W.dtype, "C", W)
    _backend(device, Z).linear_forward(Z, A_prev, W, b)
    return residence.result(Z)


def activation_forward(
    Z: ArrayLike, activation: str, out: Array | None = None, *, device: str | None = None
) -> Array:
    """Return the activation A = g(Z).

    ============  ==========================================  =====================
    name          g(z)                                        g'(z)
    ============  ==========================================  =====================
    identity      z                                           1
    sigmoid       1 / (1 + exp(-z))                           a (1 - a)
    tanh          tanh z                                      1 - a^2
    relu          max(0, z)                                   1 if z >= 0 else 0
    leaky_relu    max(0.01 z, z)                              1 if z >= 0 else 0.01
    softmax       exp(z_i) / sum_k exp(z_k), by columns       a_i (delta_ij - a_j)
    elu           z if z >= 0 else exp(z) - 1                 1 if z >= 0 else exp(z)
    gelu          z P(z)                                      P(z) + z p(z)
    silu          z sigmoid(z)                                s + z s (1 - s)
    softplus      log(1 + exp(z))                             sigmoid(z)
    exp           exp(z)                                      a
    ============  ==========================================  =====================

    P and p are the distribution and density of the standard normal: gelu is exact, by erf.

    Parameters
    ----------
    Z : array, (n, m)
        Any shape, except for softmax.
    activation : str
        One of the names above.
    out : array of Z's shape, optional
        Where to put the result; may be Z itself.
    device : str, optional
        Where to compute.

    Returns
    -------
    array of Z's shape
        A, in Z's memory order.

    Raises
    ------
    ValueError
        If the name is unknown, or Z is empty.
    TypeError
        If Z is neither float32 nor float64.

    Notes
    -----
    Sources beyond the notes: Clevert et al. 2016 (elu), Hendrycks & Gimpel 2016 (gelu),
    Elfwing et al. 2018 (silu), Dugas et al. 2001 (softplus).

    Examples
    --------
    >>> import fastnn.functional as F
    >>> F.activation_forward([[-1.0, 0.0, 2.0]], "leaky_relu")
    array([[-0.01,  0.  ,  2.  ]])
    """
    (Z,) = _activation(Z, activation)
    A = residence.output(out, Z.shape, Z.dtype, _order(Z), Z)
    _backend(device, A).activation_forward(A, Z, activation)
    return residence.result(A)


def layer_forward(
    A_prev: ArrayLike, W: ArrayLike, b: ArrayLike, activation: str, *, device: str | None = None
) -> tuple[Array, Array]:
    """Return a layer's output and its linear part, A = g(Z) and Z = W A_prev + b.

    Parameters
    ----------
    A_prev : array, (n_in, m)
        The layer's input.
    W : array, (n_out, n_in)
        The weights.
    b : array, (n_out, 1)
        The biases.
    activation : str
        As for :func:`activation_forward`.
    device : str, optional
        Where to compute.

    Returns
    -------
    A, Z : array, (n_out, m)

    Raises
    ------
    ValueError, TypeError
        As :func:`linear_forward` and :func:`activation_forward`.

    Examples
    --------
    >>> import fastnn.functional as F
    >>> A, Z = F.layer_forward([[1.0, -2.0]], [[3.0]], [[0.5]], "relu")
    >>> A, Z
    (array([[3.5, 0. ]]), array([[ 3.5, -5.5]]))
    """
    check.one_of("activation", activation, ACTIVATIONS)
    A_prev, W, b = _layer(A_prev, W, b)
    shape = W.shape[0], A_prev.shape[1]
    Z = residence.output(None, shape, W.dtype, "C", W)
    A = residence.output(None, shape, W.dtype, "C", W)
    _backend(device, A).layer_forward(A, Z, A_prev, W, b, activation)
    return residence.result(A), residence.result(Z)


def activation_derivative(
    Z: ArrayLike, activation: str, out: Array | None = None, *, device: str | None = None
) -> Array:
    """Return the derivative of the activation, g'(Z), value by value.

    For softmax, whose outputs depend on all inputs of a column, this is the diagonal of the
    Jacobian, a_i (1 - a_i); :func:`activation_backward` applies the whole of it.

    Parameters
    ----------
    Z : array, (n, m)
        Any shape, except for softmax.
    activation : str
        As for :func:`activation_forward`, whose table gives the formulas. At 0, relu and
        leaky_relu have the derivative 1.
    out : array of Z's shape, optional
        Where to put the result.
    device : str, optional
        Where to compute.

    Returns
    -------
    array of Z's shape

    Raises
    ------
    ValueError, TypeError
        As :func:`activation_forward`.

    Examples
    --------
    >>> import fastnn.functional as F
    >>> F.activation_derivative([[-1.0, 0.0, 2.0]], "relu")
    array([[0., 1., 1.]])
    """
    (Z,) = _activation(Z, activation)
    D = residence.output(out, Z.shape, Z.dtype, _order(Z), Z)
    _backend(device, D).activation_derivative(D, Z, activation)
    return residence.result(D)


def activation_backward(
    dA: ArrayLike,
    Z: ArrayLike,
    activation: str,
    out: Array | None = None,
    *,
    device: str | None = None,
) -> Array:
    """Return dZ = dA * g'(Z); for softmax A * (dA - sum_k dA_k A_k).

    Parameters
    ----------
    dA : array, (n, m)
        The derivative by the layer's output.
    Z : array, (n, m)
        The layer's linear part.
    activation : str
        As for :func:`activation_forward`.
    out : array, (n, m), optional
        Where to put the result; may be dA.
    device : str, optional
        Where to compute.

    Returns
    -------
    array, (n, m)

    Raises
    ------
    ValueError
        If the shapes of dA and Z differ, or as :func:`activation_forward`.
    TypeError
        If their types differ.

    Examples
    --------
    >>> import fastnn.functional as F
    >>> F.activation_backward([[3.0, 3.0]], [[-1.0, 1.0]], "leaky_relu")
    array([[0.03, 3.  ]])
    """
    dA, Z = _activation(Z, activation, dA=dA)
    check.same_shape("dA", dA, "Z", Z.shape)
    dZ = residence.output(out, Z.shape, Z.dtype, _order(Z), Z)
    _backend(device, dZ).activation_backward(dZ, dA, Z, activation)
    return residence.result(dZ)


def output_gradient(
    A: ArrayLike, Y: ArrayLike, out: Array | None = None, *, device: str | None = None
) -> Array:
    """Return the output layer's dZ = A - Y.

    It is the derivative of the loss by Z for sigmoid with binary cross-entropy, softmax with
    cross-entropy, and identity with squared error.

    Parameters
    ----------
    A : array, (n_y, m)
        The network's output.
    Y : array, (n_y, m)
        The targets.
    out : array, (n_y, m), optional
        Where to put the result; may be A.
    device : str, optional
        Where to compute.

    Returns
    -------
    array, (n_y, m)

    Raises
    ------
    ValueError
        If the shapes differ.
    TypeError
        If the types differ.

    Notes
    -----
    One page of the notes writes dz = a (1 - a) where a - y is meant; this is a - y.

    Examples
    --------
    >>> import fastnn.functional as F
    >>> F.output_gradient([[0.75, 0.25]], [[1.0, 0.0]])
    array([[-0.25,  0.25]])
    """
    A, Y = residence.arrays(A=A, Y=Y)
    check.same_shape("Y", Y, "A", A.shape)
    dZ = residence.output(out, A.shape, A.dtype, _order(A), A)
    _backend(device, dZ).output_gradient(dZ, A, Y)
    return residence.result(dZ)


def hidden_gradient(
    W_next: ArrayLike,
    dZ_next: ArrayLike,
    Z: ArrayLike,
    activation: str,
    out: Array | None = None,
    *,
    device: str | None = None,
) -> Array:
    """Return a hidden layer's dZ = (W_next^T dZ_next) * g'(Z).

    Parameters
    ----------
    W_next : array, (n_next, n)
        The weights of the layer above.
    dZ_next : array, (n_next, m)
        The dZ of the layer above.
    Z : array, (n, m)
        This layer's linear part.
    activation : str
        This layer's, as for :func:`activation_forward`.
    out : array, (n, m), optional
        Where to put the result.
    device : str, optional
        Where to compute.

    Returns
    -------
    array, (n, m)

    Raises
    ------
    ValueError
        If a shape does not fit, or as :func:`activation_forward`.
    TypeError
        If the types differ.

    Notes
    -----
    One page of the notes writes W[1]^T dZ[2] where W[2]^T dZ[2] is meant; this is the latter.

    Examples
    --------
    >>> import fastnn.functional as F
    >>> F.hidden_gradient([[2.0, -1.0]], [[0.5]], [[1.0], [-1.0]], "relu")
    array([[ 1.],
           [-0.]])
    """
    check.one_of("activation", activation, ACTIVATIONS)
    W_next, dZ_next, Z = residence.arrays(W_next=W_next, dZ_next=dZ_next, Z=Z)
    for name, array in (("W_next", W_next), ("dZ_next", dZ_next), ("Z", Z)):
        check.matrix(name, array)
    if W_next.shape[0] != dZ_next.shape[0]:
        raise ValueError(f"W_next has {W_next.shape[0]} rows but dZ_next has {dZ_next.shape[0]}")
    check.same_shape("Z", Z, "W_next^T dZ_next", (W_next.shape[1], dZ_next.shape[1]))
    dZ = residence.output(out, Z.shape, Z.dtype, "C", Z)
    _backend(device, dZ).hidden_gradient(dZ, W_next, dZ_next, Z, activation)
    return residence.result(dZ)


def weight_gradient(
    dZ: ArrayLike, A_prev: ArrayLike, out: Array | None = None, *, device: str | None = None
) -> Array:
    """Return dW = (1/m) dZ A_prev^T.

    Parameters
    ----------
    dZ : array, (n_out, m)
        The derivative by the layer's linear part.
    A_prev : array, (n_in, m)
        The layer's input.
    out : array, (n_out, n_in), optional
        Where to put the result.
    device : str, optional
        Where to compute.

    Returns
    -------
    array, (n_out, n_in)

    Raises
    ------
    ValueError
        If dZ and A_prev have not the same number of examples.
    TypeError
        If the types differ.

    Examples
    --------
    >>> import fastnn.functional as F
    >>> F.weight_gradient([[1.0, -1.0]], [[2.0, 4.0], [0.0, 6.0]])
    array([[-1., -3.]])
    """
    dZ, A_prev = _gradients(dZ, A_prev)
    dW = residence.output(out, (dZ.shape[0], A_prev.shape[0]), dZ.dtype, "C", dZ)
    _backend(device, dW).weight_gradient(dW, dZ, A_prev)
    return residence.result(dW)


def bias_gradient(dZ: ArrayLike, out: Array | None = None, *, device: str | None = None) -> Array:
    """Return db = (1/m) sum over the examples of dZ, as a column.

    Parameters
    ----------
    dZ : array, (n_out, m)
        The derivative by the layer's linear part.
    out : array, (n_out, 1), optional
        Where to put the result.
    device : str, optional
        Where to compute.

    Returns
    -------
    array, (n_out, 1)

    Raises
    ------
    ValueError
        If dZ is not a matrix.
    TypeError
        If dZ is neither float32 nor float64.

    Examples
    --------
    >>> import fastnn.functional as F
    >>> F.bias_gradient([[1.0, -1.0, 3.0]])
    array([[1.]])
    """
    (dZ,) = residence.arrays(dZ=dZ)
    check.matrix("dZ", dZ)
    db = residence.output(out, (dZ.shape[0], 1), dZ.dtype, "C", dZ)
    _backend(device, db).bias_gradient(db, dZ)
    return residence.result(db)


def linear_backward(
    dZ: ArrayLike, A_prev: ArrayLike, W: ArrayLike, *, device: str | None = None
) -> tuple[Array, Array, Array]:
    """Return dA_prev = W^T dZ, dW = (1/m) dZ A_prev^T and db = (1/m) sum dZ.

    Parameters
    ----------
    dZ : array, (n_out, m)
        The derivative by the layer's linear part.
    A_prev : array, (n_in, m)
        The layer's input.
    W : array, (n_out, n_in)
        The layer's weights.
    device : str, optional
        Where to compute.

    Returns
    -------
    dA_prev : array, (n_in, m)
    dW : array, (n_out, n_in)
    db : array, (n_out, 1)

    Raises
    ------
    ValueError
        If a shape does not fit.
    TypeError
        If the types differ.

    Examples
    --------
    >>> import fastnn.functional as F
    >>> F.linear_backward([[1.0, -1.0]], [[2.0, 4.0]], [[3.0]])
    (array([[ 3., -3.]]), array([[-1.]]), array([[0.]]))
    """
    dZ, A_prev, W = _gradients(dZ, A_prev, W=W)
    check.same_shape("W", W, "dZ A_prev^T", (dZ.shape[0], A_prev.shape[0]))
    shapes = A_prev.shape, W.shape, (dZ.shape[0], 1)
    dA_prev, dW, db = (residence.output(None, shape, dZ.dtype, "C", dZ) for shape in shapes)
    _backend(device, dA_prev).linear_backward(dA_prev, dW, db, dZ, A_prev, W)
    return residence.result(dA_prev), residence.result(dW), residence.result(db)


def cost(
    A: ArrayLike, Y: ArrayLike, loss: str, *, delta: float = 1.0, device: str | None = None
) -> float:
    """Return J, the mean over the examples of the loss.

    ====================  =============================================
    name                  loss of one example, summed over the outputs
    ====================  =============================================
    binary_cross_entropy  -sum [y log a + (1 - y) log(1 - a)]
    cross_entropy         -sum y log a
    squared_error         1/2 sum (a - y)^2
    absolute_error        sum |a - y|
    huber                 sum r^2 / 2 where r = |a - y| is at most delta,
                          else delta (r - delta / 2)
    poisson               sum a - y + y log(y / a)
    ====================  =============================================

    Parameters
    ----------
    A : array, (n_y, m)
        The network's output.
    Y : array, (n_y, m)
        The targets. For cross_entropy also a vector of m integer labels, and for one output of
        binary_cross_entropy a vector of m zeros and ones.
    loss : str
        One of the names above.
    delta : float
        Where huber turns from a square to a line, above 0.
    device : str, optional
        Where to compute.

    Returns
    -------
    float
        Infinite where an output of exactly 0 or 1 contradicts its target; a target of zero asks
        nothing of the logarithm. ``Network.cost`` starts from the logits, and stays finite.

    Raises
    ------
    ValueError
        If a shape does not fit, a label is out of range, or Y holds NaN.
    TypeError
        If the types differ.

    Examples
    --------
    >>> import fastnn.functional as F
    >>> round(F.cost([[0.5, 0.5]], [1, 0], "binary_cross_entropy"), 6)
    0.693147
    """
    check.one_of("loss", loss, LOSSES)
    delta = check.number("delta", delta, low_open=True)
    if residence.on_device(A):
        A, Y = _outputs_and_targets(A, Y, loss)
        return float(residence.backend(device, A).cost(A, Y, loss, delta))
    Y = residence.to_host("Y", Y)
    # Labels may be of any type: only where A has none of its own does Y decide.
    decides = check.own_type(A, check.host_array("A", A)) is None
    A = check.arrays(A=A, Y=Y)[0] if decides else check.arrays(A=A)[0]
    check.matrix("A", A)
    Y = check.targets(Y, A.shape[0], A.shape[1], loss, A.dtype, examples="A", output="A")
    if Y.ndim == 1:
        Y = _one_hot(Y, A.shape, A.dtype)
    return float(backend(device).cost(A, Y, loss, delta))


def _outputs_and_targets(A: Any, Y: Any, loss: str) -> list[Any]:
    """Return A, which is on a GPU, and Y as (n_y, m).

    The targets are copied to the host to be checked there: they are few beside what made A.
    """
    shown = residence.to_host("Y", Y)
    (A,) = residence.arrays(A=A)
    check.matrix("A", A)
    n_y, m = A.shape
    checked = check.targets(shown, n_y, m, loss, A.dtype, examples="A", output="A")
    if residence.on_device(Y) and np.ndim(shown) == 2:
        return residence.arrays(A=A, Y=Y)
    dense = checked if checked.ndim == 2 else _one_hot(checked, A.shape, A.dtype)
    return [A, residence.for_device(dense, A)]


def _one_hot(labels: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    Y = np.zeros(shape, dtype)
    Y[labels, np.arange(labels.size)] = 1
    return Y


def gradient_step(
    parameters: Array, gradient: ArrayLike, learning_rate: float, *, device: str | None = None
) -> None:
    """Update in place: parameters := parameters - learning_rate * gradient.

    Parameters
    ----------
    parameters : array
        Any shape; it is changed.
    gradient : array of the same shape
        dJ / dparameters.
    learning_rate : float
        Alpha, at least 0.
    device : str, optional
        Where to compute.

    Raises
    ------
    ValueError
        If the shapes differ, or parameters is read-only.
    TypeError
        If parameters is not a float32 or float64 array in the machine's byte order, or gradient
        has another type.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> w = np.array([1.0, 2.0])
    >>> F.gradient_step(w, [10.0, -10.0], 0.1)
    >>> w
    array([0., 3.])
    """
    there = residence.on_device(parameters)
    if not there and (
        not isinstance(parameters, np.ndarray) or parameters.dtype not in check.FLOATS
    ):
        found = getattr(parameters, "dtype", type(parameters).__name__)
        raise TypeError(
            "parameters is changed in place, so it must be a float32 or float64 NumPy array in"
            f" native byte order, got {found}"
        )
    old: Any
    old, step = residence.arrays(parameters=parameters, gradient=gradient)
    check.same_shape("gradient", step, "parameters", old.shape)
    if old.readonly if there else not parameters.flags.writeable:
        raise ValueError("parameters is read-only")
    rate = check.number("learning_rate", learning_rate)
    _backend(device, old).gradient_step(old if there else parameters, step, rate)


def _named(activation: str, formula: str) -> Any:
    def function(Z: ArrayLike, out: Array | None = None, *, device: str | None = None) -> Array:
        return activation_forward(Z, activation, out, device=device)

    function.__name__ = function.__qualname__ = activation
    function.__doc__ = f"""Return {formula}.

    The same as ``activation_forward(Z, "{activation}")``.

    Parameters
    ----------
    Z : array, (n, m)
        The linear part.
    out : array of Z's shape, optional
        Where to put the result; may be Z itself.
    device : str, optional
        Where to compute.

    Returns
    -------
    array of Z's shape

    Raises
    ------
    ValueError, TypeError
        As :func:`activation_forward`.

    Examples
    --------
    >>> import fastnn.functional as F
    >>> F.{activation}([[0.0], [0.0]]).shape
    (2, 1)
    """
    return function


sigmoid = _named("sigmoid", "1 / (1 + exp(-z))")
tanh = _named("tanh", "tanh z")
relu = _named("relu", "max(0, z)")
leaky_relu = _named("leaky_relu", "max(0.01 z, z)")
softmax = _named("softmax", "exp(z_i) / sum_k exp(z_k) for each column")
