"""Draw the pictures of the examples again: python docs/examples/make_pictures.py [folder]

Needs matplotlib. The same matplotlib draws the same files, byte for byte.
"""

import importlib.util
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent

PICTURES = (
    "planar_flower.png",
    "activations.svg",
    "initialization.svg",
    "regularization.svg",
    "autoencoder.png",
    "grid_search.svg",
    "cart_pole.svg",
    "neural_ode.svg",
    "slab.svg",
)

STYLE = {
    "svg.hashsalt": "fastnn",  # names inside an SVG are otherwise drawn by chance
    # Blue, vermilion, green, purple: apart for colour-blind eyes as well (Okabe and Ito, 2008).
    "axes.prop_cycle": "cycler('color', ['#0072B2', '#D55E00', '#009E73', '#CC79A7'])",
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "grid.alpha": 0.3,
    "lines.linewidth": 1.8,
}


def load(name):
    """Return the example as a module, without running its main."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(folder=EXAMPLES.parent / "pictures"):
    """Run each example that draws, and put its picture into the folder."""
    import matplotlib

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for picture in PICTURES:
        example = load(Path(picture).stem)
        results = example.main()
        with matplotlib.rc_context():
            # A matplotlibrc of one's own must not change the files.
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(STYLE)
            example.draw(results, folder / picture)
        paths.append(folder / picture)
    return paths


if __name__ == "__main__":
    main(*sys.argv[1:])
