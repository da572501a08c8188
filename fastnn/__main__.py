"""``python -m fastnn``: what is here, a demonstration, a check of the kernels, and a warm-up."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import nullcontext

from .device import VARIABLE, DeviceError, use_device

_DESCRIPTION = """\
Compiled kernels for dense neural networks on NumPy arrays.

Without a command, says what is here: versions, devices, threads, cache folder.
"""

_EPILOG = """\
exit codes: 0, all well; 1, a check failed or nothing could be cached; 2, a wrong call, or a
device that is not there.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fastnn",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--device",
        default=None,
        help=f"auto, cpu, numpy, cuda, cuda:1 (default: {VARIABLE}, else auto)",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("info", help="versions, devices, threads, cache folder (the default)")
    demo = commands.add_parser(
        "demo", help="train softmax regression and deep networks on the embedded digits"
    )
    demo.add_argument("--epochs", type=int, default=40, help="passes over the data (default: 40)")
    demo.add_argument(
        "--picture",
        default="fastnn-demo.svg",
        help="where to save the loss curves, .svg or .png (default: fastnn-demo.svg)",
    )
    demo.add_argument("--quiet", action="store_true", help="no progress bars")
    check = commands.add_parser(
        "check", help="run every kernel against the reference; print the errors in ULP"
    )
    check.add_argument("--dtype", choices=["float32", "float64", "both"], default="both")
    warmup = commands.add_parser(
        "warmup", help="compile every kernel into the cache folder, for containers"
    )
    warmup.add_argument("--dtype", choices=["float32", "float64", "both"], default="both")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        with use_device(options.device) if options.device else nullcontext():
            return _run(options)
    except (DeviceError, ValueError) as error:
        print(f"fastnn: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("fastnn: interrupted", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    # Each command is loaded when it is asked for: --help should not wait for any of them.
    if options.command == "demo":
        from .commands.demo import demo

        return demo(epochs=options.epochs, picture=options.picture, progress=not options.quiet)
    if options.command == "check":
        from .commands.check import check

        return check(_types(options.dtype))
    if options.command == "warmup":
        from .commands.warmup import warmup

        return warmup(_types(options.dtype))
    from .commands.info import info

    return info()


def _types(dtype: str) -> list[str]:
    return ["float32", "float64"] if dtype == "both" else [dtype]


if __name__ == "__main__":
    sys.exit(main())
