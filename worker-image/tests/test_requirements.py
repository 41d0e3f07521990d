import ast
import re
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Final

import pytest
from packaging.markers import Marker
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parents[1]

LOCKS: Final = ("requirements.lock", "requirements-dev.lock")
INPUTS: Final = ("requirements.in", "requirements-dev.in")
OWN: Final = {"worker", "model_build", "bench", "tests", "handler", "healthcheck"}
DISTRIBUTIONS: Final[Mapping[str, str]] = {"PIL": "pillow", "yaml": "pyyaml", "hcl2": "python-hcl2"}
"""Where a module's name is not its package's."""


def read_input(name: str) -> dict[str, str]:
    """The packages of an .in file with their exact versions."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pairs = [
        line.split("#")[0].strip().partition("==") for line in lines if not line.startswith("#") and line
    ]
    return {package: version for package, _, version in pairs}


def read_lock(name: str) -> dict[str, str]:
    """The entries of a lock file: package to what stands behind its name, up to the next entry."""
    entries = re.split(r"\n(?=[a-z0-9])", (ROOT / name).read_text(encoding="utf-8"))
    return {entry.partition("==")[0]: entry.partition("==")[2] for entry in entries}


def version_of(entry: str) -> str:
    return re.split(r"[\s;]", entry, maxsplit=1)[0]


def imports(paths: Iterable[Path]) -> set[str]:
    """The packages that files import, anywhere in them."""
    found: set[str] = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "importlib.import_module":
                found |= {
                    str(name.value).partition(".")[0] for name in node.args if isinstance(name, ast.Constant)
                }
    return {DISTRIBUTIONS.get(name, name) for name in found - sys.stdlib_module_names - OWN}


@pytest.mark.parametrize("name", INPUTS)
def test_each_wanted_package_has_one_exact_version_and_a_reason(name: str) -> None:
    lines = [
        line for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    ]
    assert lines
    for line in lines:
        assert re.fullmatch(r"[a-z0-9-]+==[\w.]+ +# \S.{10,}", line), line


def test_what_the_worker_imports_is_wanted_and_what_is_wanted_is_imported() -> None:
    used = imports([ROOT / "handler.py", ROOT / "healthcheck.py", *(ROOT / "worker").rglob("*.py")])
    assert used == {*read_input("requirements.in")}


def test_what_the_build_the_tests_and_the_bench_import_is_wanted() -> None:
    paths = [path for folder in ("model_build", "tests", "bench") for path in (ROOT / folder).rglob("*.py")]
    wanted = {*read_input("requirements.in"), *read_input("requirements-dev.in")}
    # packaging comes with pytest, whose own requirement it is.
    assert imports(paths) - wanted <= {"packaging"}


def test_the_build_of_the_weights_needs_no_more_than_the_image_has() -> None:
    assert imports((ROOT / "model_build").rglob("*.py")) <= {*read_input("requirements.in")}


@pytest.mark.parametrize(("wanted", "lock"), [*zip(INPUTS, LOCKS, strict=True)])
def test_a_lock_has_what_is_wanted_in_the_wanted_version(wanted: str, lock: str) -> None:
    locked = {package: version_of(entry) for package, entry in read_lock(lock).items()}
    assert read_input(wanted).items() <= locked.items()


@pytest.mark.parametrize("lock", LOCKS)
def test_each_locked_package_has_a_version_and_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert not re.search(r"://|\bindex-url\b|\bfind-links\b| @ ", text)
    names = re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE)
    assert len(names) == len(set(names)) == len(read_lock(lock))
    for name, entry in read_lock(lock).items():
        assert re.match(r"\d[\w.]*( ; .+)? \\\n", entry), name
        assert re.search(r"--hash=sha256:[0-9a-f]{64}$", entry, re.MULTILINE), name
        assert not re.search(r"--hash=(?!sha256:[0-9a-f]{64})", entry), name


@pytest.mark.parametrize("lock", LOCKS)
def test_each_locked_package_is_wanted_or_required_by_one_that_is_locked(lock: str) -> None:
    wanted = INPUTS[LOCKS.index(lock)]
    entries = read_lock(lock)
    for name, entry in entries.items():
        reasons = re.findall(r"#   (?:  )?(\S.*)$|# via (\S.*)$", entry, re.MULTILINE)
        sources = {left or right for left, right in reasons} - {"-c requirements.lock"}
        assert sources, name
        assert sources <= {f"-r {wanted}", *entries}, name


def test_both_locks_agree() -> None:
    run, develop = (read_lock(lock) for lock in LOCKS)
    shared = run.keys() & develop.keys()
    assert "numpy" in shared
    assert {name: version_of(run[name]) for name in shared} == {
        name: version_of(develop[name]) for name in shared
    }


def test_these_tests_run_on_the_versions_of_the_image() -> None:
    installed: dict[str, str] = {}
    # Of the environment alone: setuptools, once imported, adds packages of its own to the path.
    for found in metadata.distributions(path=[sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]):
        installed[canonicalize_name(found.metadata["Name"])] = found.version
    locked = {name: entry for lock in reversed(LOCKS) for name, entry in read_lock(lock).items()}
    for name, entry in locked.items():
        marker = re.match(r"\S+ ; (.+) \\\n", entry)
        # PyTorch is whatever build of its version the tests' machine takes, with or without CUDA's libraries.
        if re.match(r"(cuda-|nvidia-|triton$)", name) or (marker and not Marker(marker[1]).evaluate()):
            continue
        assert installed.get(name, "").partition("+")[0] == version_of(entry), name
