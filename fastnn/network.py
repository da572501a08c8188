"""A dense network: its description, and its parameters in one flat vector."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from . import residence
from . import validation as check
from .description import Description
from .device import backend, selected
from .history import History
from .initializers import INITIALIZERS, initial_parameters
from .kernels import reference
from .kernels.codes import ACTIVATIONS, LOSSES
from .optimizers import Optimizer
from .preprocessing import Standardizer
from .schedules import ReduceOnPlateau, Schedule
from .training import fit

if TYPE_CHECKING:
    from .inside import Frozen

Array = NDArray[Any]

_LOSS_OF_OUTPUT = {
    "sigmoid": "binary_cross_entropy",
    "softmax": "cross_entropy",
    "exp": "poisson",
}
_OUTPUT_OF_LOSS = {loss: output for output, loss in _LOSS_OF_OUTPUT.items()}


def _describe(
    sizes: Sequence[int],
    activations: str | Sequence[str] | None,
    loss: str | None,
    delta: float,
) -> Description:
    try:
        units = tuple(check.integer(f"sizes[{i}]", n) for i, n in enumerate(sizes))
    except TypeError as error:
        raise TypeError(f"sizes must be whole numbers n_x, n_1, ..., n_y: {error}") from None
    if len(units) < 2:
        raise ValueError(f"sizes must name at least n_x and n_y, got {list(units)}")
    if loss is not None:
        loss = check.one_of("loss", loss, LOSSES)
    layers = len(units) - 1
    if activations is None or isinstance(activations, str):
        if loss is None:
            raise TypeError("give loss, or one activation for each layer")
        hidden = "relu" if activations is None else activations
        names = (hidden,) * (layers - 1) + (_OUTPUT_OF_LOSS.get(loss, "identity"),)
    elif isinstance(activations, Iterable):
        names = tuple(activations)
    else:
        found = type(activations).__name__
        raise TypeError(f"activations must be a name or a sequence of names, got {found}")
    names = tuple(check.one_of("activation", name, ACTIVATIONS) for name in names)
    if len(names) != layers:
        raise ValueError(
            f"activations names {len(names)} layers but sizes {list(units)} make {layers}"
        )
    loss = loss or _LOSS_OF_OUTPUT.get(names[-1], "squared_error")
    if names[-1] != _OUTPUT_OF_LOSS.get(loss, names[-1]):
        raise ValueError(
            f"loss {loss!r} needs the output activation {_OUTPUT_OF_LOSS[loss]!r},"
            f" got {names[-1]!r}"
        )
    return Description(units, names, loss, check.number("delta", delta, low_open=True))


class Network:
    """A dense network: A_l = g_l(W_l A_(l-1) + b_l), from A_0 = X to the output A_L.

    Parameters
    ----------
    sizes : sequence of int
        ``[n_x, n_1, ..., n_y]``: the number of inputs, and of units in each layer.
    activations : str or sequence of str, optional
        One name for each layer; or one for all hidden layers (``"relu"`` unless given), with
        the output's following from the loss. The names are those of
        :func:`fastnn.functional.activation_forward`.
    loss : str, optional
        A name of :func:`fastnn.functional.cost`. Unless given, it follows from the output
        activation: binary_cross_entropy from sigmoid, cross_entropy from softmax, poisson from
        exp, squared_error from any other. Those three need these outputs; squared_error,
        absolute_error and huber take any.
    dtype : {float32, float64}
        The type of the parameters, and of all arithmetic.
    seed : int
        Draws the initial parameters, and shuffles the examples in :meth:`fit`.
    initializer : {"auto", "he", "glorot", "zeros"}
        ``"auto"`` takes He for the ReLU family, Glorot for the others, and zeros where there is
        no hidden layer.
    delta : float
        Where the loss huber turns from a square to a line.
    device : str, optional
        Where this network computes; it beats :func:`fastnn.use_device` and ``FASTNN_DEVICE``.

    Attributes
    ----------
    parameters : array, (n_parameters,)
        W1, b1, W2, b2, ..., each in C order. Assigning copies into it.
    W, b : list of array
        Views of ``parameters``, (n_l, n_(l-1)) and (n_l, 1); ``W[0]`` is the first layer's.
    preprocessing : tuple of Standardizer
        What the inputs went through, for :meth:`save` to keep; empty at first. It is carried
        and never applied: see :meth:`save` for how to.
    sizes, activations, loss, delta, dtype, seed, device
        As given.

    Raises
    ------
    ValueError
        If a name is unknown, or the activations do not fit the sizes or the loss.
    TypeError
        If an argument has the wrong type.
    DeviceError
        If the device is not there.

    Notes
    -----
    Source: A. Ng's course notes, *Shallow neural networks* and *Deep neural networks*.

    Examples
    --------
    >>> import fastnn
    >>> net = fastnn.Network([2, 4, 1], activations=["tanh", "sigmoid"], seed=0)
    >>> net
    Network([2, 4, 1], activations=['tanh', 'sigmoid'], loss='binary_cross_entropy', dtype=float32)
    >>> net.W[0].shape, net.b[0].shape, net.parameters.shape
    ((4, 2), (4, 1), (17,))
    """

    # Of the class: pickles from before there were any have none, nor do networks out of files.
    _preprocessing: tuple[Standardizer, ...] = ()
    _initializer = "auto"

    def __init__(
        self,
        sizes: Sequence[int],
        activations: str | Sequence[str] | None = None,
        loss: str | None = None,
        dtype: DTypeLike = np.float32,
        seed: int = 0,
        *,
        initializer: str = "auto",
        delta: float = 1.0,
        device: str | None = None,
    ) -> None:
        self._description = _describe(sizes, activations, loss, delta)
        self.dtype = check.float_type(dtype)
        self.seed = check.integer("seed", seed, low=0)
        self._initializer = check.one_of("initializer", initializer, INITIALIZERS)
        if device is not None:
            selected(device)  # an unknown or missing device is an error now, not at the first call
        self.device = device
        self._parameters = initial_parameters(self._description, initializer, self.seed, self.dtype)
        self._predict_one: Callable[..., Array] | None = None

    @classmethod
    def _of(cls, description: Description, parameters: Array, seed: int) -> Network:
        """Return a network of these very parameters, without drawing any."""
        net = cls.__new__(cls)
        net._description = description
        net.dtype = parameters.dtype
        net.seed = seed
        net.device = None
        net._parameters = parameters
        net._predict_one = None
        return net

    def __getstate__(self) -> dict[str, Any]:
        # A copy answers for its own parameters.
        return {**self.__dict__, "_predict_one": None}

    def __repr__(self) -> str:
        delta = f", delta={self.delta:g}" if self.loss == "huber" else ""
        return (
            f"Network({list(self.sizes)}, activations={list(self.activations)}, "
            f"loss={self.loss!r}{delta}, dtype={self.dtype})"
        )

    @property
    def sizes(self) -> tuple[int, ...]:
        """n_x, n_1, ..., n_y."""
        return self._description.sizes

    @property
    def activations(self) -> tuple[str, ...]:
        """The activation of each layer."""
        return self._description.activations

    @property
    def loss(self) -> str:
        """The loss that J is the mean of."""
        return self._description.loss

    @property
    def delta(self) -> float:
        """Where Huber's loss turns from a square to a line."""
        return self._description.delta

    @property
    def parameters(self) -> Array:
        """W1, b1, W2, b2, ... in one flat vector."""
        return self._parameters

    @parameters.setter
    def parameters(self, values: ArrayLike) -> None:
        (found,) = check.arrays(dtype=self.dtype, parameters=values)
        check.same_shape("parameters", found, "the network's", self._parameters.shape)
        self._parameters[...] = found

    @property
    def W(self) -> list[Array]:  # noqa: N802
        """The weights of each layer, views of ``parameters``."""
        return reference.layers(self._parameters, self.sizes)[0]

    @property
    def b(self) -> list[Array]:
        """The biases of each layer, views of ``parameters``."""
        return reference.layers(self._parameters, self.sizes)[1]

    @property
    def preprocessing(self) -> tuple[Standardizer, ...]:
        """What the inputs went through, in that order: carried for files, never applied."""
        return self._preprocessing

    @preprocessing.setter
    def preprocessing(self, steps: Iterable[Standardizer]) -> None:
        if not isinstance(steps, Iterable):
            found = type(steps).__name__
            raise TypeError(f"preprocessing must be a sequence of Standardizers, got {found}")
        kept = tuple(steps)
        for i, step in enumerate(kept):
            # Of a subclass a file would keep less than there is.
            if type(step) is not Standardizer:
                found = type(step).__name__
                raise TypeError(f"preprocessing[{i}] must be a Standardizer, got {found}")
            if not hasattr(step, "mean_"):
                raise ValueError(f"preprocessing[{i}] has no statistics yet: call its fit first")
            features = len(step.mean_)
            if features != self.sizes[0]:
                raise ValueError(
                    f"preprocessing[{i}] was fitted on {features} features, but the network has"
                    f" {self.sizes[0]} inputs"
                )
        self._preprocessing = kept

    def forward(self, X: ArrayLike, out: Array | None = None) -> Array:
        """Return the output A of the last layer.

        Parameters
        ----------
        X : array, (n_x, m)
            The examples; rows of examples are passed as ``X.T``. Those on a GPU are computed
            there.
        out : array, (n_y, m), optional
            Where to put the result.

        Returns
        -------
        array, (n_y, m)
            Where X is, on the host or a GPU.

        Raises
        ------
        ValueError
            If X has not n_x rows, or is empty.
        TypeError
            If X is of the other float type.

        Examples
        --------
        >>> import numpy as np, fastnn
        >>> net = fastnn.Network([2, 1], ["sigmoid"])
        >>> net.forward(np.zeros((2, 3), np.float32))
        array([[0.5, 0.5, 0.5]], dtype=float32)
        """
        X = self._inputs(X)
        A = residence.output(out, (self.sizes[-1], X.shape[1]), self.dtype, "C", X)
        self._backend(X).network_forward(A, self._parameters, self._description, X)
        return residence.result(A)

    def predict(self, X: ArrayLike) -> Array:
        """Return what the network says of each example: labels, or values.

        Parameters
        ----------
        X : array, (n_x, m)
            The examples.

        Returns
        -------
        array
            On the host. For cross-entropy the likeliest class, (m,), integers. For binary
            cross-entropy whether the output is at least 1/2, as zeros and ones: (m,) for one
            output, else (n_y, m). For the other losses the outputs, (n_y, m).

        Raises
        ------
        ValueError, TypeError
            As :meth:`forward`.

        Examples
        --------
        >>> import numpy as np, fastnn
        >>> fastnn.Network([2, 3], loss="cross_entropy").predict(np.zeros((2, 2), np.float32))
        array([0, 0])
        """
        A: Array = residence.to_host("A", self.forward(X))
        if self.loss == "cross_entropy":
            classes: Array = A.argmax(axis=0)
            return classes
        if self.loss == "binary_cross_entropy":
            labels: Array = (A >= 0.5).astype(np.int64)
            return labels.ravel() if labels.shape[0] == 1 else labels
        return A

    def predict_one(self, x: Array, out: Array | None = None) -> Array:
        """Return the output for one example, in the shortest time.

        Nothing is checked and nothing allocated but the result: **an ``x`` or ``out`` of another
        length reads or writes beyond its memory.** For data that is not known to fit, there is
        :meth:`forward`.

        Parameters
        ----------
        x : array, (n_x,)
            The example, in the network's type; contiguous and writable, or the first call
            compiles for what it is.
        out : array, (n_y,), optional
            Where to put the result.

        Returns
        -------
        array, (n_y,)
            A of the last layer. Its last bits may differ from those of :meth:`forward`, which
            sums in another order.

        Notes
        -----
        The device is chosen at the first call, and kept.

        Examples
        --------
        >>> import numpy as np, fastnn
        >>> net = fastnn.Network([2, 1], ["sigmoid"])
        >>> net.predict_one(np.zeros(2, np.float32))
        array([0.5], dtype=float32)
        """
        predict = self._predict_one
        if predict is None:
            predict = backend(self.device).predictor(self._parameters, self._description)
            self._predict_one = predict
        return predict(x, out)

    def njit(self, preprocessing: bool = False) -> Frozen:
        """Return the network as a function for your own compiled code: ``f(x, out)``.

        It has a copy of the parameters, and can be called from Python and from Numba's ``@njit``
        functions. For parameters that change, and for derivatives: :mod:`fastnn.inside`.

        Parameters
        ----------
        preprocessing : bool
            Whether :attr:`preprocessing` becomes a part of the first layer.

        Returns
        -------
        Frozen

        Raises
        ------
        TypeError
            If ``preprocessing`` is no bool.
        ValueError
            If the network is very wide, or the preprocessing is missing or does not fit: see
            :class:`fastnn.inside.Frozen`.

        Notes
        -----
        Computes on the CPU, whatever the device.

        Examples
        --------
        >>> import numba, numpy as np, fastnn
        >>> f = fastnn.Network([2, 1], ["sigmoid"]).njit()
        >>> @numba.njit
        ... def at_zero(f):
        ...     out = np.empty(1, np.float32)
        ...     f(np.zeros(2, np.float32), out)
        ...     return out[0]
        >>> at_zero(f)
        0.5
        """
        # Here, because it needs Numba.
        from .inside import Frozen

        return Frozen(self, preprocessing)

    def cost(
        self,
        X: ArrayLike,
        Y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
    ) -> float:
        """Return J = (1/m) sum_j w_j loss_j + l1 sum |W| + (l2/2) sum W^2.

        Computed from the logits where the output is sigmoid or softmax: finite however sure the
        network is of a wrong answer.

        Parameters
        ----------
        X, Y, sample_weight, l1, l2
            As for :meth:`gradient`.

        Returns
        -------
        float

        Raises
        ------
        ValueError, TypeError
            As :meth:`gradient`.

        Examples
        --------
        >>> import numpy as np, fastnn
        >>> net = fastnn.Network([2, 1], ["sigmoid"])
        >>> round(net.cost(np.zeros((2, 3), np.float32), [0, 1, 1]), 6)
        0.693147
        """
        return self._cost_of(*self._checked(X, Y, sample_weight), l1, l2)

    def gradient(
        self,
        X: ArrayLike,
        Y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
    ) -> tuple[float, Array]:
        """Return J and its derivatives by all parameters.

        Parameters
        ----------
        X : array, (n_x, m)
            The examples; those on a GPU are computed there.
        Y : array, (n_y, m)
            The targets, which are checked on the host. Where the output is softmax also m integer
            labels, and for one sigmoid output m zeros and ones.
        sample_weight : array, (m,), optional
            How much each example counts; only the ratios matter.
        l1, l2 : float
            Penalties on the weights, not the biases.

        Returns
        -------
        J : float
        gradient : array, (n_parameters,)
            On the host, in the order of ``parameters``.

        Raises
        ------
        ValueError
            If a shape does not fit, a label is out of range, or Y holds NaN.
        TypeError
            If an array is of the other float type.

        Examples
        --------
        >>> import numpy as np, fastnn
        >>> net = fastnn.Network([1, 1], ["sigmoid"])
        >>> J, gradient = net.gradient(np.ones((1, 4), np.float32), [1, 1, 1, 1])
        >>> gradient
        array([-0.5, -0.5], dtype=float32)
        """
        gradient = np.empty_like(self._parameters)
        J = self._cost_of(*self._checked(X, Y, sample_weight), l1, l2, gradient)
        return J, gradient

    def fit(
        self,
        X: ArrayLike,
        Y: ArrayLike,
        epochs: int,
        batch_size: int | None = None,
        optimizer: Optimizer | None = None,
        shuffle: bool | Callable[[int], ArrayLike] = True,
        l1: float = 0.0,
        l2: float = 0.0,
        sample_weight: ArrayLike | None = None,
        validation: tuple[Any, ...] | None = None,
        patience: int | None = None,
        progress: bool | Callable[[int, History], Any] = False,
        threads: int | None = None,
        seed: int | None = None,
        *,
        dropout: float | Sequence[float] = 0.0,
        clip_norm: float | None = None,
        schedule: Schedule | ReduceOnPlateau | None = None,
        min_delta: float = 0.0,
        after: History | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 1,
    ) -> History:
        """Train by gradient descent on mini-batches; return the history.

        Parameters
        ----------
        X, Y : array, (n_x, m) and (n_y, m)
            The examples and targets, as for :meth:`gradient`.
        epochs : int
            Passes over the examples.
        batch_size : int, optional
            Examples in a step; all of them unless given. The last batch of an epoch may be
            smaller.
        optimizer : Optimizer, optional
            ``SGD(0.1)`` unless given. Its moments start from zero, unless ``after`` is given.
        shuffle : bool or callable
            Whether each epoch visits the examples in a new order. One batch of all examples is
            never shuffled. A callable is given the epoch's number and returns the order, m
            indices; one that draws with repetition makes a bootstrap.
        l1, l2 : float
            Penalties on the weights, not the biases: J gains l1 sum |W| + (l2/2) sum W^2.
        sample_weight : array, (m,), optional
            How much each example counts; only the ratios matter.
        validation : (X, Y) or (X, Y, sample_weight), optional
            Examples that are not trained on; their cost, without penalties, is recorded after
            each epoch.
        patience : int, optional
            Stop when the validation cost has not fallen for so many epochs, and restore the
            parameters of the best one.
        progress : bool or callable
            True shows a bar (tqdm where it is installed, else lines); a callable is called after
            each epoch with its number, counted from 1, and the history. Training ends when it
            returns True.
        threads : int, optional
            At most so many threads; ``FASTNN_NUM_THREADS``, or the processors that this process
            may run on, unless given. Small batches are not shared. The result has the same bits
            for any number.
        seed : int, optional
            Of the shuffle and of dropout; the network's unless given.
        dropout : float or sequence of float
            The share of a hidden layer's units, in [0, 1), that each step does without, drawn anew
            for each example; one number for all hidden layers, or one for each. The others count
            1 / (1 - dropout) times, so that the trained network needs no change.
        clip_norm : float, optional
            Scale the gradient of J to this Euclidean length wherever it is longer.
        schedule : callable, optional
            What the learning rate is multiplied by: `StepDecay`, `ExponentialDecay`,
            `InverseDecay`, `CosineDecay`, `WarmUp`, `ReduceOnPlateau`, or any function from an
            array of times, in epochs, at which steps begin, to an array of factors.
            `ReduceOnPlateau` begins anew in each fit.
        min_delta : float
            What counts as a fall for ``patience``.
        after : History, optional
            Of an earlier fit of this network by the same kind of optimiser: go on with its
            moments, the shuffle and the schedule's time where that one ended.
        checkpoint : path, optional
            A file that the fit is written to as it goes, and resumed from if it is there: the same
            script, started again after a crash, ends with the same bits as if nothing had
            happened. The network must stand as it did before the first call, and functions given
            as ``shuffle`` and ``schedule`` must depend on the epoch alone. Needs the extra
            ``files``.
        checkpoint_every : int
            Epochs from one writing to the next. The end is always written.

        Returns
        -------
        History
            The costs and seconds of each epoch, and why training stopped.

        Raises
        ------
        ValueError, TypeError
            As :meth:`gradient`, and for arguments out of range. The parameters are unchanged,
            unless it is a schedule or an order that turns out wrong in the midst of training.
        FileFormatError
            If the file at ``checkpoint`` is none, or is of another fit.

        Notes
        -----
        Two equal calls on equal networks give equal bits. Ctrl-C ends training with the
        parameters of the last whole epoch, and the history says so.

        Examples
        --------
        >>> import fastnn
        >>> X, y = fastnn.datasets.xor()
        >>> net = fastnn.Network([2, 8, 1], ["tanh", "sigmoid"], seed=1)
        >>> history = net.fit(X, y, epochs=500, optimizer=fastnn.Adam(0.05))
        >>> net.predict(X) == y
        array([ True,  True,  True,  True])
        """
        return fit(
            self,
            X,
            Y,
            epochs=epochs,
            batch_size=batch_size,
            optimizer=optimizer,
            shuffle=shuffle,
            l1=l1,
            l2=l2,
            sample_weight=sample_weight,
            validation=validation,
            patience=patience,
            progress=progress,
            threads=threads,
            seed=seed,
            dropout=dropout,
            clip_norm=clip_norm,
            schedule=schedule,
            min_delta=min_delta,
            after=after,
            checkpoint=checkpoint,
            checkpoint_every=checkpoint_every,
        )

    def replicate(self, K: int, seeds: Sequence[int] | None = None) -> list[Network]:
        """Return K networks of this description, each with initial parameters of its own.

        Parameters
        ----------
        K : int
            How many.
        seeds : sequence of int, optional
            Each one's ``seed``; this one's, the next, and so on unless given.

        Returns
        -------
        list of Network
            New ones, whatever this one has learned: of the same sizes, activations, loss, type,
            device, preprocessing and initializer ("auto" if this one came out of a file).

        Raises
        ------
        ValueError
            If K is below 1, or there are not K seeds.
        TypeError
            If K or a seed is no whole number, or ``seeds`` no sequence.

        Examples
        --------
        >>> import fastnn
        >>> [net.seed for net in fastnn.Network([2, 4, 1], loss="squared_error").replicate(3)]
        [0, 1, 2]
        """
        K = check.integer("K", K)
        if seeds is None:
            seeds = range(self.seed, self.seed + K)
        if not isinstance(seeds, Iterable):
            raise TypeError(f"seeds must be a sequence of int, got {type(seeds).__name__}")
        seeds = list(seeds)
        if len(seeds) != K:
            raise ValueError(f"seeds has {len(seeds)} values; expected {K}, one for each network")
        copies = [
            Network(
                self.sizes, self.activations, self.loss, self.dtype, seed,
                initializer=self._initializer, delta=self.delta, device=self.device,
            )
            for seed in seeds
        ]  # fmt: skip
        for net in copies:
            net._preprocessing = self._preprocessing
        return copies

    def save(self, path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> None:
        """Write the network to a safetensors file, for :func:`fastnn.load`.

        Description, parameters, dtype, seed and ``preprocessing`` are kept, bit for bit; the
        device is not. At any moment the old file or the new one is there, whole.

        Parameters
        ----------
        path : str, bytes or path-like
            The file, by custom ``*.safetensors``. One that is there is replaced.

        Raises
        ------
        OSError
            If the file cannot be written.
        ValueError
            If the header would be longer than a megabyte (some 7,000 layers).
        ImportError
            If safetensors is not installed: ``pip install "numba-fastnn[files]"``.

        Notes
        -----
        The tensors are called ``W1``, ``b1``, ``W2``, ..., shaped like ``W`` and ``b``: any program
        that reads safetensors finds them. A process that is killed while it saves may leave a
        ``.fastnn-*.tmp`` beside the file.

        Examples
        --------
        The statistics that the inputs were standardized by go into the file, but are applied by
        the caller alone, in the order of ``preprocessing``:

        >>> import tempfile, fastnn
        >>> X, y = fastnn.datasets.moons(100)
        >>> standardizer = fastnn.preprocessing.Standardizer().fit(X)
        >>> net = fastnn.Network([2, 1], ["sigmoid"])
        >>> history = net.fit(standardizer.transform(X), y, epochs=10)
        >>> net.preprocessing = [standardizer]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     net.save(folder + "/moons.safetensors")
        ...     loaded = fastnn.load(folder + "/moons.safetensors")
        >>> X_new = X[:, :3]
        >>> for step in loaded.preprocessing:
        ...     X_new = step.transform(X_new)
        >>> bool((loaded.forward(X_new) == net.forward(standardizer.transform(X[:, :3]))).all())
        True
        """
        # Here, because what reads files makes networks.
        from .persistence.networks import save

        save(self, path)

    def _inputs(self, X: ArrayLike) -> Array:
        (X,) = residence.arrays(dtype=self.dtype, X=X)
        check.matrix("X", X)
        if X.shape[0] != self.sizes[0]:
            raise ValueError(
                f"X has {X.shape[0]} rows but the network has {self.sizes[0]} inputs"
                " (one example a column: pass rows of examples as X.T)"
            )
        return X

    def _checked(
        self, X: ArrayLike, Y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> tuple[Array, Array, Array | None]:
        """Return examples, targets and weights as the backends take them."""
        X = self._inputs(X)
        m = X.shape[1]
        # Targets and weights are checked on the host, value by value.
        Y = residence.to_host("Y", Y)
        sample_weight = residence.to_host("sample_weight", sample_weight)
        targets = check.targets(Y, self.sizes[-1], m, self.loss, self.dtype)
        return X, targets, check.weights(sample_weight, m, self.dtype)

    def _backend(self, X: Array) -> Any:
        """Return what computes on this network's device, or where the examples are."""
        if isinstance(X, np.ndarray):
            return backend(self.device)
        return residence.backend(self.device, X)

    def _cost_of(
        self,
        X: Array,
        targets: Array,
        weights: Array | None,
        l1: float,
        l2: float,
        gradient: Array | None = None,
    ) -> float:
        """Return J of checked examples, and put its derivatives into ``gradient``, if given."""
        l1, l2 = check.number("l1", l1), check.number("l2", l2)
        J: float = self._backend(X).network_cost(
            self._parameters, self._description, X, targets, weights, l1, l2, gradient
        )
        return J
