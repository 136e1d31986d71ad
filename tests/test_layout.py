"""The layout is the architecture: who may import whom, which names live where."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
PACKAGE = "jrn_lightning"

# These know nothing of how a run is driven or logged.
PURE = ("modalities", "networks", "evaluation", "influence", "report")
PURE_BUT = (f"{PACKAGE}.report.wandb", f"{PACKAGE}.report.workspace")
DRIVERS = {"pytorch_lightning", "lightning", "hydra", "wandb"}

# These work for any number of modalities, whatever they are called.
GENERAL = ("networks", "training.task", "influence", "evaluation.measure")

# Each room imports itself, those before it, and the loose files.
LOOSE = ("errors", "files", "keys", "progress")
ORDER = (
    "modalities",
    "influence",
    "networks",
    "cache",
    "evaluation",
    "importers",
    "rooms",
    "predictors",
    "records",
    "analysis",
    "report",
    "training",
    "cli",
)
MODALITY_WORDS = {"depth", "depths", "semantic", "semantics"}


def modules() -> dict[str, Path]:
    """Dotted name -> file of every module of the package."""
    found = {}
    for path in sorted((SRC / PACKAGE).rglob("*.py")):
        parts = path.relative_to(SRC).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def inside(part: str) -> list[str]:
    """Modules of one file or folder of the package."""
    name = f"{PACKAGE}.{part}"
    return [m for m in MODULES if m == name or m.startswith(name + ".")]


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imported(module: str, *, anywhere: bool = True) -> Iterator[str]:
    """What ``module`` imports: anywhere in it, or only what is imported with it."""
    is_package = MODULES[module].name == "__init__.py"
    for node in ast.walk(tree(module)) if anywhere else _run_on_import(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".")[: None if is_package else -1]
                base = ".".join([*package[: len(package) - node.level + 1], base]).rstrip(".")
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _run_on_import(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _run_on_import(child)


def closure(module: str) -> dict[str, str]:
    """Everything that importing ``module`` imports -> the module that does so."""
    found: dict[str, str] = {}
    waiting = [module]
    while waiting:
        here = waiting.pop()
        for name in imported(here, anywhere=False):
            parts = name.split(".")
            # Importing a.b.c runs a and a.b too.
            for prefix in (".".join(parts[: i + 1]) for i in range(len(parts))):
                if prefix not in found:
                    found[prefix] = here
                    if prefix in MODULES:
                        waiting.append(prefix)
    return found


def room(module: str) -> str:
    """The folder or loose file of a module of the package."""
    return module.split(".")[1]


@pytest.mark.parametrize("module", [m for m in MODULES if m != PACKAGE])
def test_each_room_imports_only_those_before_it(module: str) -> None:
    allowed = (
        {*LOOSE} if room(module) in LOOSE else {*LOOSE, *ORDER[: ORDER.index(room(module)) + 1]}
    )
    # The names that the package itself offers stand for evaluation.measure.
    named = {
        room(name)
        for name in imported(module)
        if name.startswith(f"{PACKAGE}.") and name in MODULES
    }
    assert named <= allowed, f"{module} imports {named - allowed}"


def pure_modules() -> list[str]:
    return [m for part in PURE for m in inside(part) if m not in PURE_BUT]


def test_the_parts_that_the_rules_are_about_exist() -> None:
    for part in {*PURE, *GENERAL}:
        assert inside(part), f"{PACKAGE}.{part} is gone: correct the rules here"


@pytest.mark.parametrize("module", pure_modules())
def test_no_driver_is_imported(module: str) -> None:
    named = {name.partition(".")[0] for name in imported(module)} & DRIVERS
    assert not named, f"{module} imports {named}"
    through = {name: by for name, by in closure(module).items() if name in DRIVERS}
    assert not through, f"importing {module} imports {through}"


@pytest.mark.parametrize("module", [m for part in GENERAL for m in inside(part)])
def test_no_modality_is_named(module: str) -> None:
    named = [
        f"{MODULES[module].name}:{line} {text!r}"
        for text, line in _names_and_strings(tree(module))
        if MODALITY_WORDS & set(re.findall(r"[a-z]+", _snake(text)))
    ]
    assert not named, f"{module} has to work for any modality, but names: {', '.join(named)}"


def _snake(text: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).lower()


def _names_and_strings(module: ast.Module) -> Iterator[tuple[str, int]]:
    """Identifiers and string constants, docstrings left out."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(module)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(module):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str) and id(node) not in docstrings:
                yield node.value, line
            continue
        for field in ("id", "attr", "arg", "name", "asname"):
            value = getattr(node, field, None)
            if isinstance(value, str):
                yield value, line


def test_tests_mirror_the_package() -> None:
    folders = {m.parent for m in MODULES.values() if m.name != "__init__.py"}
    for folder in sorted(folders):
        mirror = ROOT / "tests" / folder.relative_to(SRC / PACKAGE)
        assert any(mirror.glob("test_*.py")), f"{folder.relative_to(ROOT)} has no tests"


@cache
def tracked() -> list[Path]:
    """Files under version control, and new ones that are not ignored."""
    return listed("--cached", "--others", "--exclude-standard")


def listed(*options: str) -> list[Path]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", *options, "-z"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [p for n in names.split("\0") if n and (p := ROOT / n).is_file()]


def test_the_source_distribution_holds_every_tracked_file() -> None:
    """Hatch leaves out what .gitignore names, also where it is tracked."""
    assert not listed("--cached", "--ignored", "--exclude-standard")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert "sdist" not in project["tool"]["hatch"]["build"]["targets"]


# Put together here, so that this file may be searched too.
BANNED = {
    "an absolute path of one machine": r"(?<![\w.~$}/:])/(?:home|root|work|mnt|Users|opt)/\w",
    "the host or option of a package index": r"py"
    r"pi\.|python"
    r"hosted|index"
    r"-url|find"
    r"-links",
    "a document that is not part of the project": r"\b(?:DE"
    r"SIGN|FA"
    r"CTS|ST"
    r"YLE)\b(?:\.md|:)",
}


@pytest.mark.parametrize("what", BANNED)
def test_the_project_speaks_of_itself_alone(what: str) -> None:
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture
        found += [
            f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1} {match[0]!r}"
            for match in re.finditer(BANNED[what], text)
        ]
    assert not found, f"{what}: {', '.join(found)}"


def test_large_and_generated_files_stay_out() -> None:
    for path in tracked():
        assert path.suffix not in {".h5", ".mat", ".npz", ".ckpt", ".pyc"}, path
        assert path.stat().st_size < 1_500_000, f"{path} is {path.stat().st_size} bytes"
