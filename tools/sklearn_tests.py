"""Run scikit-learn's own tests of a class on fastnn's class of the same name.

    python tools/sklearn_tests.py logistic [more arguments for pytest]

The tests are those of the installed scikit-learn. Each failed test is named with one line of why.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections import Counter
from pathlib import Path

import pytest
import sklearn

import fastnn.sklearn

# Where the tests are, where the class is looked up, and what it is called.
SUITES = {
    "logistic": (
        "linear_model/tests/test_logistic.py",
        ("sklearn.linear_model", "sklearn.linear_model._logistic"),
        ("LogisticRegression",),
    ),
    "mlp": (
        "neural_network/tests/test_mlp.py",
        ("sklearn.neural_network", "sklearn.neural_network._multilayer_perceptron"),
        ("MLPClassifier", "MLPRegressor"),
    ),
}


class Record:
    """A pytest plugin that keeps how each test ended."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.failed: list[tuple[str, str]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.passed:
            return
        self.counts[report.outcome] += 1
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            lines = str(crash.message if crash else report.longrepr).split("\n")
            self.failed.append((report.nodeid.split("::", 1)[-1], " ".join(lines[:3])[:160]))


def replace(modules: tuple[str, ...], names: tuple[str, ...]) -> None:
    """Put fastnn's classes where the tests import scikit-learn's from."""
    for module in map(importlib.import_module, modules):
        for name in names:
            setattr(module, name, getattr(fastnn.sklearn, name))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("suite", choices=SUITES)
    chosen, rest = parser.parse_known_args()
    path, modules, names = SUITES[chosen.suite]
    replace(modules, names)
    root = Path(sklearn.__file__).parent
    record = Record()
    # Not this project's settings, by which every warning is an error.
    options = ["-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", "-c", "/dev/null"]
    status = pytest.main([str(root / path), *options, f"--rootdir={root}", *rest], [record])
    print(f"\nscikit-learn {sklearn.__version__}, {path}, on {', '.join(names)} of fastnn:")
    print(", ".join(f"{n} {outcome}" for outcome, n in sorted(record.counts.items())))
    for name, why in record.failed:
        print(f"- {name}\n    {why}")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
