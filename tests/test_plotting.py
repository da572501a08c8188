"""Pictures of training."""

from __future__ import annotations

import pytest

import fastnn

pytest.importorskip("matplotlib", reason="pictures are drawn with matplotlib")


@pytest.mark.parametrize("ending", ["svg", "png"])
@pytest.mark.parametrize("with_validation", [False, True])
def test_the_same_training_gives_the_same_picture(tmp_path, ending, with_validation):
    from fastnn.plotting import draw_histories

    history = fastnn.History([2.0, 1.0, 0.5], [2.1, 1.2, 0.9] if with_validation else [])
    files = []
    for i in range(2):
        path = tmp_path / f"{i}.{ending}"
        draw_histories({"a network": history}, path)
        files.append(path.read_bytes())
    assert files[0] == files[1] and len(files[0]) > 1000
    if ending == "svg":
        assert (b"held-out" in files[0]) == with_validation
