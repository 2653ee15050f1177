"""Claim: the tests notice small faults in labels, splits, metrics, thresholds and manifests.

Mutation testing: each mutant is one of the library's modules with one operator, number, text,
argument or condition changed, as mutmut's operators do it, and the module's tests run on it. A
mutant is killed where they fail, and survives where they pass: the fault would not be noticed.
In contrast to the command `mutmut`, properties and constants are mutated too. Left out are type
annotations, decorators, calls of `len` and `isinstance`, and the wording of errors.

    pip install -e '.[dev,mutation]'
    python benchmarks/mutants.py                    # all modules
    python benchmarks/mutants.py labels metrics
    python benchmarks/mutants.py splits --lines 60-90

The tests run in a fork that has all packages loaded but not the library, always with the same
Hypothesis examples. A mutant that takes more than four times the CPU time of the library as it is
counts as killed, by time. Needs fork, hence Linux or macOS.

docs/test-quality.md lists the survivors and says why they survive. The exit status is 0 unless
the tests fail on the library as it is.
"""

import argparse
import contextlib
import difflib
import gc
import importlib.util
import itertools
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import NamedTuple

import hypothesis
import libcst
import pytest
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation import mutators

PROJECT = Path(__file__).resolve().parent.parent

BAD_INPUT = "tests/test_bad_input.py::"
TESTS = {
    "labels": ["tests/test_labels.py"],
    "splits": ["tests/test_splits.py", f"{BAD_INPUT}test_split_that_is_refused"],
    "stratification": ["tests/test_stratification.py", "tests/test_splits.py"],
    "metrics": ["tests/test_metrics.py"],
    "thresholds": ["tests/test_thresholds.py"],
    "runs": [
        "tests/test_runs.py",
        f"{BAD_INPUT}test_run_that_is_refused_by_its_manifest",
        f"{BAD_INPUT}test_damaged_run_beside_others_stops_nothing",
    ],
    "trained_runs": [
        "tests/test_trained_runs.py",
        f"{BAD_INPUT}test_run_that_is_refused_by_its_files",
    ],
}
"""Arguments of pytest by module."""

WITHOUT_PLUGINS = [f"-pno:{name}" for name in ("cacheprovider", "unraisableexception")]
OPTIONS = ["-x", "-q", *WITHOUT_PLUGINS, "--hypothesis-profile=mutants", "--timeout=120"]
CPU_TIMES, CPU_SECONDS_AT_LEAST = 4, 5

KILLED, TIMED_OUT, SURVIVED = "killed", "timed out", "survived"


class Mutant(NamedTuple):
    """A module with one change: the line where it begins, what it changes, and the new source."""

    line: int
    change: str
    source: str


class _Mutations(libcst.CSTVisitor):
    """Collects pairs of a node and what takes its place."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[int, libcst.CSTNode, libcst.CSTNode]] = []
        self._errors: list[libcst.CSTNode] = []

    def on_visit(self, node: libcst.CSTNode) -> bool:
        if isinstance(node, libcst.Annotation | libcst.Decorator) or _calls(node, "len isinstance"):
            return False
        if _calls(node, "HpaError"):
            self._errors.append(node)
        wording = isinstance(node, libcst.SimpleString | libcst.Call) and bool(self._errors)
        if not wording:
            for kind, operator in mutators.mutation_operators:
                if isinstance(node, kind):
                    self._mutate(node, operator(node), operator is mutators.operator_string)
        return True

    def on_leave(self, node: libcst.CSTNode) -> None:
        if self._errors and self._errors[-1] is node:
            self._errors.pop()

    def _mutate(
        self, node: libcst.CSTNode, mutated: Iterator[libcst.CSTNode], is_text: bool
    ) -> None:
        position = self.get_metadata(PositionProvider, node, None)
        line = position.start.line if position else 0
        # Of a text the first mutant is enough: the others change its case.
        for other in itertools.islice(mutated, 1 if is_text else None):
            self.found.append((line, node, other))


def _calls(node: libcst.CSTNode, names: str) -> bool:
    function = node.func if isinstance(node, libcst.Call) else None
    return isinstance(function, libcst.Name) and function.value in names.split()


def mutants(source: str) -> Iterator[Mutant]:
    """All mutants of a module, each once."""
    wrapper, seen = MetadataWrapper(libcst.parse_module(source)), {source}
    mutations = _Mutations()
    wrapper.visit(mutations)
    for line, node, other in mutations.found:
        changed = wrapper.module.deep_replace(node, other).code
        if changed not in seen:
            seen.add(changed)
            yield Mutant(line, _difference(source, changed), changed)


def _difference(source: str, changed: str) -> str:
    lines = difflib.ndiff(source.splitlines(), changed.splitlines())
    shown = [line[0] + " " + line[1:].strip() for line in lines if line[0] in "+-"]
    return "\n".join(f"    {line}" for line in shown)


class _QuickTestsFirst:
    """Plugin of pytest: tests of one example come before those of many."""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: hypothesis.is_hypothesis_test(item.obj))


class _Changed:
    """Finds one module of the library, and gives it another source."""

    def __init__(self, module: str, source: str) -> None:
        self._name, self._source = f"hpa_lib.{module}", source

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        if name != self._name:
            return None
        path = PROJECT / "hpa_lib" / f"{name.partition('.')[2]}.py"
        return importlib.util.spec_from_file_location(name, path, loader=self)

    def create_module(self, _: ModuleSpec) -> None:
        return None

    def exec_module(self, module: object) -> None:
        exec(compile(self._source, module.__file__, "exec"), module.__dict__)


def load_packages(tests: list[str]) -> None:
    """Import what the tests import, and forget the project's own modules again."""
    with _silence():
        pytest.main(["--collect-only", *OPTIONS, *tests])
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        own = file and Path(file).is_relative_to(PROJECT) and ".venv" not in file
        if own and name != "__main__":
            del sys.modules[name]
    gc.freeze()  # forks neither look through what is loaded nor copy it


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    kept = os.dup(1), os.dup(2)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - no file
        for number in (1, 2):
            os.dup2(nowhere.fileno(), number)
        try:
            yield
        finally:
            for number, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, number)
                os.close(copy)


def run_tests(module: str, source: str, tests: list[str], cpu_seconds: int | None) -> str:
    """Run the tests in a fork in which a module has this source; what becomes of the mutant."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        sys.meta_path.insert(0, _Changed(module, source))
        if cpu_seconds is not None:
            resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
        with _silence():
            os._exit(int(pytest.main([*OPTIONS, *tests], [_QuickTestsFirst()])))
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return TIMED_OUT
    return KILLED if os.WEXITSTATUS(status) else SURVIVED


def cpu_limit(module: str, source: str, tests: list[str]) -> int:
    """Seconds of CPU time that a mutant may take.

    Raises:
        SystemExit: If the tests fail on the library as it is.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    if run_tests(module, source, tests, None) != SURVIVED:
        sys.exit(f"The tests of {module} fail on the library as it is: pytest {' '.join(tests)}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return CPU_SECONDS_AT_LEAST + round(CPU_TIMES * seconds)


def measure(module: str, lines: range | None) -> str:
    """Try all mutants of a module; a row of the table. Survivors are printed as they come."""
    source, tests = (PROJECT / f"hpa_lib/{module}.py").read_text(encoding="utf-8"), TESTS[module]
    load_packages(tests)
    limit, started, counts = cpu_limit(module, source, tests), time.monotonic(), Counter()
    for mutant in mutants(source):
        if lines is not None and mutant.line not in lines:
            continue
        verdict = run_tests(module, mutant.source, tests, limit)
        counts[verdict] += 1
        if verdict == SURVIVED:
            print(f"{module}.py, line {mutant.line}:\n{mutant.change}", flush=True)
    cells = [module, counts.total(), counts[KILLED], counts[TIMED_OUT], counts[SURVIVED]]
    return f"| {' | '.join(map(str, cells))} | {(time.monotonic() - started) / 60:.0f} |"


def main() -> None:
    """Command line."""
    described = (__doc__ or "").partition("\n\n")[0]
    parser = argparse.ArgumentParser(description=described)
    parser.add_argument("modules", nargs="*", help=f"of {', '.join(TESTS)}; all by default")
    parser.add_argument("--lines", help="only mutants of these lines, such as 60-90")
    options = parser.parse_args()
    first, _, last = (options.lines or "").partition("-")
    lines = range(int(first), int(last or first) + 1) if first else None
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.chdir(PROJECT)
    sys.path.insert(0, str(PROJECT))
    hypothesis.settings.register_profile(
        "mutants",
        derandomize=True,
        database=None,
        deadline=None,
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
    )
    rows = [measure(module, lines) for module in options.modules or TESTS]
    print("\n| module | mutants | killed | by time | survived | minutes |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |", *rows, sep="\n")


if __name__ == "__main__":
    main()
