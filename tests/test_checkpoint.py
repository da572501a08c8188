"""Fits that are written to a file, broken off, and gone on with."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

pytest.importorskip("safetensors", reason="needs safetensors, the extra files")

import fastnn
from fastnn import persistence

pytestmark = pytest.mark.compiled


class CrashError(Exception):
    """What breaks a fit off."""


def examples(m=130):
    random = np.random.default_rng(0)
    return random.normal(size=(5, m)).astype(np.float32), random.integers(0, 3, m)


def network(seed=3, device=None, loss="cross_entropy"):
    return fastnn.Network([5, 9, 7, 3], "relu", loss, seed=seed, device=device)


def crash_after(epochs):
    def progress(epoch, history):
        if epoch == epochs:
            raise CrashError

    return progress


X, Y = examples()
HELD = examples(40)
FITS = {
    "sgd": dict(optimizer=fastnn.SGD(0.1, 0.9, True), batch_size=32),
    "adam": dict(optimizer=fastnn.Adam(0.01), batch_size=32, l2=0.01),
    "in order": dict(shuffle=False, batch_size=50),
    "whole": dict(optimizer=fastnn.RMSprop(0.01)),
    "dropout": dict(dropout=0.3, batch_size=32, clip_norm=0.1),
    "scheduled": dict(schedule=fastnn.CosineDecay(8), batch_size=50),
    "plateau": dict(
        schedule=fastnn.ReduceOnPlateau(0.5, patience=0, min_delta=0.05), batch_size=50
    ),
    "validated": dict(validation=HELD, patience=3, min_delta=0.01, batch_size=50),
    "weighted": dict(sample_weight=np.arange(1.0, 131), batch_size=50),
}


@pytest.mark.parametrize("device", ["cpu", "numpy"])
@pytest.mark.parametrize("told", FITS.values(), ids=FITS)
def test_a_fit_that_is_gone_on_with_has_the_same_bits(told, device, tmp_path):
    whole = network(device=device)
    expected = whole.fit(X, Y, 8, **told)
    path = tmp_path / "fit.safetensors"
    # Broken off twice, between two writings.
    for crash in (3, 5):
        broken = network(device=device)
        with pytest.raises(CrashError):
            broken.fit(
                X, Y, 8, checkpoint=path, checkpoint_every=2, progress=crash_after(crash), **told
            )
    net = network(device=device)
    seen = []
    history = net.fit(
        X, Y, 8, checkpoint=path, checkpoint_every=2,
        progress=lambda epoch, history: seen.append(epoch), **told,
    )  # fmt: skip
    assert seen[0] == 5
    assert net.parameters.tobytes() == whole.parameters.tobytes()
    assert history.cost == expected.cost
    assert history.validation_cost == expected.validation_cost
    assert (history.stopped, history.best_epoch) == (expected.stopped, expected.best_epoch)
    assert len(history.seconds) == len(history.cost)
    # What is gone on with later goes on alike.
    rule = told.get("optimizer", fastnn.SGD(0.1))
    more = [
        each.fit(X, Y, 2, after=before, batch_size=32, optimizer=rule).cost
        for each, before in ((net, history), (whole, expected))
    ]
    assert more[0] == more[1]


def test_a_finished_fit_is_only_read(tmp_path):
    path = tmp_path / "fit.safetensors"
    first = network()
    done = first.fit(X, Y, 4, 32, checkpoint=path)
    written = path.read_bytes()
    again = network()
    seen = []
    history = again.fit(
        X, Y, 4, 32, checkpoint=path, progress=lambda epoch, history: seen.append(epoch)
    )
    assert not seen
    assert path.read_bytes() == written
    assert again.parameters.tobytes() == first.parameters.tobytes()
    assert history.cost == done.cost


def test_more_epochs_go_on_from_the_last(tmp_path):
    path = tmp_path / "fit.safetensors"
    network().fit(X, Y, 4, 32, checkpoint=path)
    longer, whole = network(), network()
    history = longer.fit(X, Y, 7, 32, checkpoint=path)
    assert history.cost == whole.fit(X, Y, 7, 32).cost
    assert longer.parameters.tobytes() == whole.parameters.tobytes()
    with pytest.raises(ValueError, match="has 7 epochs, more than epochs=4"):
        network().fit(X, Y, 4, 32, checkpoint=path)


def test_patience_that_ran_out_has_run_out(tmp_path):
    path = tmp_path / "fit.safetensors"
    told = dict(validation=HELD, patience=2, min_delta=1.0, batch_size=32, checkpoint=path)
    first, again = network(), network()
    done = first.fit(X, Y, 50, **told)
    assert done.stopped == "patience"
    history = again.fit(X, Y, 50, **told)
    assert (history.stopped, history.best_epoch) == ("patience", done.best_epoch)
    assert again.parameters.tobytes() == first.parameters.tobytes()


def test_the_memory_order_of_the_examples_does_not_matter(tmp_path):
    path = tmp_path / "fit.safetensors"
    with pytest.raises(CrashError):
        network().fit(X, Y, 4, 32, checkpoint=path, progress=crash_after(2))
    net, whole = network(), network()
    net.fit(np.asfortranarray(X), Y, 4, 32, checkpoint=path)
    whole.fit(X, Y, 4, 32)
    assert net.parameters.tobytes() == whole.parameters.tobytes()


OTHERS = {
    "batch_size": dict(batch_size=33),
    "optimizer": dict(optimizer=fastnn.SGD(0.2)),
    "shuffle": dict(shuffle=False),
    "l2": dict(l2=0.1),
    "dropout": dict(dropout=0.1),
    "clip_norm": dict(clip_norm=1.0),
    "schedule": dict(schedule=fastnn.StepDecay(2)),
    "seed": dict(seed=9),
    "training examples": dict(sample_weight=np.arange(1.0, 131)),
    "validation examples": dict(validation=HELD),
}


@pytest.mark.parametrize(("name", "other"), OTHERS.items(), ids=OTHERS)
def test_another_fit_is_refused_and_named(name, other, tmp_path):
    path = tmp_path / "fit.safetensors"
    network().fit(X, Y, 2, batch_size=32, checkpoint=path)
    written = path.read_bytes()
    net = network()
    before = net.parameters.copy()
    with pytest.raises(fastnn.FileFormatError, match=name) as caught:
        net.fit(X, Y, 2, **{"batch_size": 32, "checkpoint": path, **other})
    assert "another fit" in str(caught.value) and str(path) in str(caught.value)
    np.testing.assert_array_equal(net.parameters, before)
    assert path.read_bytes() == written


def test_other_examples_and_networks_are_refused(tmp_path):
    path = tmp_path / "fit.safetensors"
    network().fit(X, Y, 2, 32, checkpoint=path)
    changed = X.copy()
    changed[4, 129] = np.nextafter(changed[4, 129], 1)
    with pytest.raises(fastnn.FileFormatError, match="training examples"):
        network().fit(changed, Y, 2, 32, checkpoint=path)
    with pytest.raises(fastnn.FileFormatError, match="parameters before training"):
        network(seed=4).fit(X, Y, 2, 32, checkpoint=path, seed=3)
    with pytest.raises(fastnn.FileFormatError, match="network"):
        fastnn.Network([5, 8, 3], "relu", "cross_entropy", seed=3).fit(X, Y, 2, 32, checkpoint=path)


def test_files_that_are_no_checkpoints_are_refused(tmp_path):
    path = tmp_path / "fit.safetensors"
    network().save(path)
    with pytest.raises(fastnn.FileFormatError, match="no checkpoint"):
        network().fit(X, Y, 2, 32, checkpoint=path)
    path.write_bytes(b"not a file of tensors")
    with pytest.raises(fastnn.FileFormatError):
        network().fit(X, Y, 2, 32, checkpoint=path)
    path.unlink()
    network().fit(X, Y, 2, 32, checkpoint=path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(fastnn.FileFormatError):
        network().fit(X, Y, 2, 32, checkpoint=path)


DAMAGE = {
    "moments missing": lambda arrays: arrays.pop("moments"),
    "parameters too long": lambda arrays: arrays.update(parameters=np.zeros(999, np.float32)),
    "parameters of another type": lambda arrays: arrays.update(
        parameters=arrays["parameters"].astype(np.float64)
    ),
    "no epoch": lambda arrays: arrays.update(cost=np.empty(0), seconds=np.empty(0)),
    "order out of range": lambda arrays: arrays["order"].__setitem__(3, 999),
    "best epoch out of range": lambda arrays: arrays["counts"].__setitem__(1, 7),
    "more costs than epochs": lambda arrays: arrays.update(validation_cost=np.zeros(9)),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_contradictions_are_refused(damage, tmp_path):
    path = tmp_path / "fit.safetensors"
    network().fit(X, Y, 2, 32, checkpoint=path)
    arrays, about = persistence.read(path)
    arrays = {name: A.copy() for name, A in arrays.items()}
    damage(arrays)
    persistence.write(path, arrays, about)
    net = network()
    before = net.parameters.copy()
    with pytest.raises(fastnn.FileFormatError, match="cannot resume"):
        net.fit(X, Y, 2, 32, checkpoint=path)
    np.testing.assert_array_equal(net.parameters, before)


def test_ctrl_c_leaves_the_last_checkpoint(tmp_path):
    path = tmp_path / "fit.safetensors"

    def interrupt(epoch, history):
        if epoch == 3:
            raise KeyboardInterrupt

    assert network().fit(X, Y, 6, 32, checkpoint=path, progress=interrupt).stopped == "interrupted"
    net, whole = network(), network()
    net.fit(X, Y, 6, 32, checkpoint=path)
    whole.fit(X, Y, 6, 32)
    assert net.parameters.tobytes() == whole.parameters.tobytes()


def test_a_file_that_cannot_be_written_is_noticed_before_training(tmp_path):
    for path in (tmp_path / "none" / "a", tmp_path, ""):
        net = network()
        before = net.parameters.tobytes()
        with pytest.raises(OSError):
            net.fit(X, Y, 100, 32, checkpoint=path, checkpoint_every=100)
        assert net.parameters.tobytes() == before


def test_numbers_are_compared_as_numbers(tmp_path):
    path = tmp_path / "fit.safetensors"
    network().fit(X, Y, 1, 32, fastnn.SGD(0.1), checkpoint=path, l1=0)
    network().fit(X, Y, 2, 32, fastnn.SGD(np.float64(0.1)), checkpoint=path, l1=0.0)


def decay(time):
    return 1 / (1 + time)


def test_functions_are_told_by_name_in_another_process(tmp_path):
    from fastnn.checkpoint import _said

    told = _said(fastnn.WarmUp(3, then=decay))
    assert told == "WarmUp(epochs=3.0, then=decay, start=0.1)"
    path = tmp_path / "fit.safetensors"
    network().fit(X, Y, 1, 32, schedule=fastnn.WarmUp(3, then=decay), checkpoint=path)
    with pytest.raises(fastnn.FileFormatError, match="schedule"):
        network().fit(X, Y, 2, 32, schedule=fastnn.WarmUp(4, then=decay), checkpoint=path)


def test_wrong_arguments_are_refused(tmp_path):
    with pytest.raises(ValueError, match="checkpoint_every"):
        network().fit(X, Y, 2, checkpoint=tmp_path / "a", checkpoint_every=0)
    with pytest.raises(TypeError, match="checkpoint_every"):
        network().fit(X, Y, 2, checkpoint=tmp_path / "a", checkpoint_every=1.5)
    with pytest.raises(OSError):
        network().fit(X, Y, 2, checkpoint=tmp_path / "none" / "a")
    with pytest.raises(TypeError):
        network().fit(X, Y, 2, checkpoint=3.5)


# Forks: a process would take longer to start than to train.
_KILLED = """
    import os, random, signal, sys, time
    import numpy as np
    import fastnn

    path, kills = sys.argv[1], int(sys.argv[2])
    draw = np.random.default_rng(0)
    X, Y = draw.normal(size=(20, 400)).astype(np.float32), draw.integers(0, 3, 400)

    def fit(**told):
        net = fastnn.Network([20, 40, 3], "relu", "cross_entropy", seed=1)
        history = net.fit(X, Y, 12, 32, fastnn.Adam(0.01), dropout=0.1, validation=(X, Y), **told)
        return net.parameters.tobytes(), history.cost

    expected = fit()  # and the kernels are loaded, or compiled
    begin = time.perf_counter()
    fit(checkpoint=path)
    length = time.perf_counter() - begin
    os.unlink(path)
    random.seed(0)
    killed = finished = found = 0
    while killed < kills:
        child = os.fork()
        if child == 0:
            os._exit(0 if fit(checkpoint=path) == expected else 1)
        time.sleep(random.random() * length)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            killed += 1
        else:
            assert os.WEXITSTATUS(status) == 0, "other bits"
        if os.path.exists(path):
            arrays, about = fastnn.persistence.read(path)
            found += 1
            if len(arrays["cost"]) == 12:
                assert fit(checkpoint=path) == expected, "other bits"
                finished += 1
                os.unlink(path)
    while os.path.exists(path) is False or len(fastnn.persistence.read(path)[0]["cost"]) < 12:
        fit(checkpoint=path)
    assert fit(checkpoint=path) == expected, "other bits"
    print(killed, finished, found)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fit_that_is_killed_ends_with_the_same_bits(tmp_path):
    kills = int(os.environ.get("FASTNN_KILLS", "30"))
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_KILLED), str(tmp_path / "fit"), str(kills)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    killed, finished, read = map(int, found.stdout.split())
    assert killed == kills
    assert read > kills / 4 and finished > 0
