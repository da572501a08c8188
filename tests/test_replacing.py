"""Writing files: where they may stand, and that they are there whole or not at all."""

from __future__ import annotations

import errno
import os
import random
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from saved_networks import assert_same, network, saved

import fastnn
from fastnn import persistence
from fastnn.persistence.replacing import replacing
from fastnn.persistence.tensors import opened

pytest.importorskip("safetensors", reason="files are written by safetensors")

ROOT = Path(__file__).resolve().parent.parent

posix = pytest.mark.skipif(os.name != "posix", reason="modes, links and pipes are POSIX's")
not_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do everything"
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


# ------------------------------------------------------------------ files and folders


def test_what_is_not_there_and_what_is_a_folder(tmp_path):
    net = network()
    for call in (fastnn.load, persistence.read):
        with pytest.raises(FileNotFoundError):
            call(tmp_path / "none")
        with pytest.raises(IsADirectoryError):
            call(tmp_path)
        with pytest.raises(ValueError, match="null"):
            call("a\0b")
    with pytest.raises(IsADirectoryError):
        net.save(tmp_path)
    with pytest.raises(FileNotFoundError) as caught:
        net.save(tmp_path / "none" / "net")
    assert caught.value.filename == str(tmp_path / "none" / "net")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        net.save(tmp_path / "file" / "net")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(sys.platform != "linux", reason="systems differ in which error it is")
@pytest.mark.parametrize("kind", [os.fspath, os.fsencode])
@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "new/", "new//", "new/.", "new/..", "new/../other", "none/new/"),
        *("file/", "file/.", "file/..", "file/../other", "folder", "folder/", "folder/."),
        *("folder/new/", "link/", "link/new/", "broken/", "broken/new"),
    ],
)
def test_names_that_open_takes_for_no_file(name, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "broken").symlink_to("nothing")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OSError) as expected:
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT))  # as open() does
    with pytest.raises(OSError) as caught:
        network().save(kind(name))
    assert type(caught.value) is type(expected.value)
    assert caught.value.errno == expected.value.errno
    assert sorted(tmp_path.rglob("*")) == before


@posix
@pytest.mark.parametrize("name", ["file", "./new", "folder/new", "folder//new", "folder/../new"])
def test_names_of_files(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    network().save(name)
    assert_same(fastnn.load(name), network())


@posix
def test_pipes_and_devices_are_neither_read_nor_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(fastnn.FileFormatError, match="it is not a regular file"):
            fastnn.load(path)
        with pytest.raises(OSError, match="Not a regular file"):
            network().save(path)
        assert path.exists()
    assert list(tmp_path.iterdir()) == [pipe]


@posix
@not_root
def test_files_that_may_not_be_read_or_written(path, tmp_path):
    net = network()
    net.save(path)
    path.chmod(0o400)
    with pytest.raises(PermissionError):
        net.save(path)
    path.chmod(0o200)
    with pytest.raises(PermissionError):
        fastnn.load(path)
    path.chmod(0o600)
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError) as caught:
        net.save(path)
    assert caught.value.filename == str(path)
    tmp_path.chmod(0o700)


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
def test_a_file_keeps_its_mode(mode, path):
    path.touch()
    path.chmod(mode)
    network().save(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@posix
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_mode_of_any_new_file(mask, path, tmp_path):
    before = os.umask(mask)
    try:
        network().save(path)
        (tmp_path / "other").touch()
    finally:
        os.umask(before)
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


@posix
def test_what_a_link_points_to_is_replaced(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    target, link = folder / "net", tmp_path / "link"
    link.symlink_to(Path("folder", "net"))
    for seed in (1, 2):  # a link to nothing, then to a file
        net = network(seed=seed)
        net.save(link)
        assert link.is_symlink() and target.is_file() and not target.is_symlink()
        assert_same(fastnn.load(link), net)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["folder", "link"]
    assert list(folder.iterdir()) == [target]
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(OSError):
        network().save(loop)
    assert loop.is_symlink()


def test_a_file_that_is_cut_while_it_is_read(path):
    net = network([200, 200], "squared_error")
    net.save(path)

    def read_half():
        with opened(path) as contents:
            os.truncate(path, 20_000)
            contents.copy("W1", net.W[0])

    with pytest.raises(fastnn.FileFormatError, match="it was cut short while it was read"):
        read_half()


# ------------------------------------------------------------------ whole or not at all


class Stopped(BaseException):
    """As KeyboardInterrupt, which pytest would take for its own."""


@pytest.mark.parametrize(
    ("name", "there"),
    # Only a file that is there has a mode to be kept.
    [*((name, there) for name in ("replace", "fsync", "open") for there in (0, 1)), ("chmod", 1)],
)
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), Stopped()])
def test_a_failure_leaves_the_old_file_and_nothing_else(name, error, there, path, monkeypatch):
    before = saved(network(seed=1), path) if there else None

    def fail(*told, **named):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, name, fail)
        with pytest.raises(type(error)):
            network(seed=2).save(path)
    if there:
        assert path.read_bytes() == before
        assert_same(fastnn.load(path), network(seed=1))
    assert list(path.parent.iterdir()) == ([path] if there else [])


def test_a_failure_between_two_writes(path):
    path.write_bytes(b"old")

    def write_half():
        with replacing(path) as file:
            file.write(b"new" * 100_000)
            raise Stopped

    with pytest.raises(Stopped):
        write_half()
    assert path.read_bytes() == b"old" and list(path.parent.iterdir()) == [path]


@posix
def test_a_full_disk_is_an_error_of_the_system(tmp_path):
    """Where a file may not grow beyond some length, as on a full disk."""
    script = """
import resource, signal, sys, errno
import fastnn
path = sys.argv[1]
fastnn.Network([2, 1], ["sigmoid"]).save(path)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
try:
    fastnn.Network([2, 10_000, 1], "relu", "squared_error").save(path)
except OSError as error:
    assert error.errno == errno.EFBIG, error
    assert fastnn.load(path).sizes == (2, 1)
    print("refused")
"""
    path = tmp_path / "net"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, path],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.stdout == "refused\n", done.stderr
    assert list(tmp_path.iterdir()) == [path]


@posix
def test_values_then_name_then_folder_are_flushed(path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace

    def seen_fsync(descriptor):
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        calls.append("folder" if is_folder else f"{os.fstat(descriptor).st_size} bytes")
        fsync(descriptor)

    def seen_replace(source, target):
        calls.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(os, "replace", seen_replace)
    length = len(saved(network(), path))
    assert calls == [f"{length} bytes", "replace", "folder"]


@posix
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EIO])
def test_folders_that_cannot_be_flushed(number, path, monkeypatch):
    fsync = os.fsync

    def fail_for_folders(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail_for_folders)
    if number == errno.EIO:  # that is not a folder which has no flushing
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            network().save(path)
    else:
        network().save(path)
    assert_same(fastnn.load(path), network())
    assert list(path.parent.iterdir()) == [path]


# Writes one of two networks without end in a child of its own, and kills it: once a line is read,
# and after as many seconds as the line says.
NURSERY = """
import os, signal, sys, time
import numpy as np
import fastnn

path = sys.argv[1]
nets = [fastnn.Network([300, 200], loss="squared_error", seed=seed) for seed in (1, 2)]
for seed, net in enumerate(nets, 1):
    net.parameters[...] = seed
for line in sys.stdin:
    ready, begun = os.pipe()
    child = os.fork()
    if child == 0:
        while True:
            for net in nets:
                net.save(path)
                os.write(begun, b"x") if begun else None
                begun = 0
    os.read(ready, 1)
    time.sleep(float(line))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(ready)
    os.close(begun)
    print("killed", flush=True)
"""


@posix
def test_a_process_killed_while_writing_leaves_a_whole_file(path):
    kills = int(os.environ.get("FASTNN_KILLS", "20"))
    rng = random.Random(0)
    with subprocess.Popen(
        [sys.executable, "-c", NURSERY, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as nursery:
        try:
            seen = set()
            for _ in range(kills):
                nursery.stdin.write(f"{rng.uniform(0, 0.03)}\n")
                nursery.stdin.flush()
                assert nursery.stdout.readline() == "killed\n"
                net = fastnn.load(path)
                assert net.sizes == (300, 200) and net.seed in (1, 2)
                assert (net.parameters == net.seed).all()
                seen.add(net.seed)
        finally:
            nursery.stdin.close()
    # What is left beside it are files cut in the middle, under names of their own.
    left = set(path.parent.iterdir()) - {path}
    assert all(each.name.startswith(".fastnn-") and each.suffix == ".tmp" for each in left)
    assert len(left) <= kills
