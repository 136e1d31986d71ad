"""What the site takes from elsewhere in the project: references, studies, notebooks."""

from __future__ import annotations

import ast
import inspect
import os
import re
import shutil
import subprocess
import sys
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_type_hints

import omegaconf
from docutils import nodes

from jrn_lightning.predictors import settings
from jrn_lightning.training import config


def _comments(cls: type) -> dict[str, str]:
    """The ``#:`` comment above each field, or the one behind it."""
    lines = inspect.getsource(cls).splitlines()
    tree = ast.parse(inspect.getsource(cls)).body[0]
    assert isinstance(tree, ast.ClassDef)
    said = {}
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            above, line = lines[node.lineno - 2].strip(), lines[node.lineno - 1]
            behind = line.partition("  # ")[2]
            said[node.target.id] = above[2:].strip() if above.startswith("#:") else behind
    return said


def _type(kind: Any, key: str = "") -> str:
    """A type, or the choices of an enumeration or a name."""
    if key in config.NAMED:
        several = "list of " * (kind is not str)
        return several + ", ".join(f"`{name}`" for name in config.NAMED[key]) + ", or of a plug-in"
    parts = [part for part in get_args(kind) if part is not type(None)]
    null = " or null" if type(None) in get_args(kind) else ""
    if getattr(kind, "__origin__", None) is list:
        return f"list of {_type(parts[0])}"
    if null:
        return _type(parts[0]) + null
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(f"`{member.name}`" for member in kind)
    return {"int": "whole number", "float": "number", "str": "text", "bool": "true or false"}.get(
        getattr(kind, "__name__", str(kind)), "any"
    )


def _default(field: Any) -> str:
    if field.default is MISSING and field.default_factory is MISSING:
        return "set by the choice"
    value = field.default if field.default is not MISSING else field.default_factory()
    if value == omegaconf.MISSING:
        return "set by the choice"
    if value is None:
        return "`null`"
    return f"`{value.name if isinstance(value, Enum) else value}`"


def configuration() -> str:
    """Every key of the schema."""
    text = [
        "# Configuration",
        "",
        "Every key of `python run.py` and `jrn run`, from the schema that refuses a wrong one. "
        "`python run.py --help` lists the choices of each group, and "
        "`python run.py --cfg job` shows what a command line comes to.",
    ]

    def table(name: str, cls: type) -> None:
        said, hints = _comments(cls), get_type_hints(cls)
        groups = [f.name for f in fields(cls) if is_dataclass(hints[f.name])]
        doc = inspect.cleandoc(cls.__doc__ or "").replace("``", "`")
        text.extend(["", *([f"## `{name}`", "", doc] if name else ["## One job"]), ""])
        text.extend(["| key | value | default | |", "|---|---|---|---|"])
        for field in fields(cls):
            if not name and field.name in groups:
                continue  # a section of its own
            kind = hints[field.name]
            key = f"{name}.{field.name}" if name else field.name
            nested = next((t for t in (kind, *get_args(kind)) if is_dataclass(t)), None)
            if nested is not None:
                text.append(f"| `{key}` | see below | | {said[field.name]} |")
            else:
                text.append(
                    f"| `{key}` | {_type(kind, key)} | {_default(field)} | {said[field.name]} |"
                )

    table("", config.Config)
    for name, cls in (
        ("arch", config.JRNConfig),
        ("data", config.DataConfig),
        ("data.rooms", config.RoomsConfig),
        ("data.single_task", settings.SingleTaskSettings),
        ("recipe", config.RecipeConfig),
        ("evaluation", config.EvaluationConfig),
        ("trainer", config.TrainerConfig),
        ("logger", config.LoggerConfig),
    ):
        table(name, cls)
    return "\n".join(text) + "\n"


def command_line() -> str:
    """Every command of ``jrn``, as Typer documents it."""
    command = [sys.executable, "-m", "typer", "jrn_lightning.cli", "utils", "docs", "--name", "jrn"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    text = done.stdout.split("\n", 1)[1]
    said = dict(re.findall(r"^#+ `jrn (.+)`\n\n(.+)", text, re.M))
    within = ""  # the group whose commands are listed; Typer cuts what it says of them

    def whole(line: re.Match[str]) -> str:
        nonlocal within
        if line["group"]:
            within = line["group"] + " "
            return line[0]
        return f"* `{line['name']}`: {said[within + line['name']]}"

    text = re.sub(r"^#+ `jrn (?P<group>.+)`$|^\* `(?P<name>\w+)`: .*$", whole, text, flags=re.M)
    # Examples are to be copied.
    example = re.compile(r"^Examples?: (jrn .+)$", re.M)
    text = example.sub(lambda m: "```console\n$ " + m[1].replace(" · ", "\n$ ") + "\n```", text)
    return "# Command line\n\n" + text


def _write(app: Any) -> None:
    folder = Path(app.srcdir) / "reference"
    for name, make in (("configuration", configuration), ("cli", command_line)):
        page, text = folder / f"{name}.md", make()
        if not page.exists() or page.read_text("utf-8") != text:  # else it is not built again
            page.write_text(text, "utf-8")


def _studies(app: Any) -> None:
    """The READMEs of the studies as pages, and what they link to."""
    source, target = Path(app.srcdir).parent / "experiments", Path(app.srcdir) / "studies"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))


def _notebooks(app: Any) -> None:
    """The notebooks, with what they show of the sweep ``runs/rooms`` where there is one."""
    import nbformat
    from nbclient import NotebookClient

    root, target = Path(app.srcdir).parent, Path(app.srcdir) / "notebooks"
    sweep = Path(os.environ.get("JRN_SWEEP") or root / "runs" / "rooms")
    target.mkdir(exist_ok=True)
    # A warning would show where packages lie here.
    quiet = {"JUPYTER_PLATFORM_DIRS": "1", "PYTHONWARNINGS": "ignore"}
    os.environ |= {"JRN_SWEEP": str(sweep), **quiet}
    for path in (root / "notebooks").glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        if sweep.is_dir():
            folder = {"metadata": {"path": str(path.parent)}}
            NotebookClient(notebook, timeout=600, resources=folder).execute()
        nbformat.write(notebook, target / path.name)


def _links(app: Any, page: str, source: list[str]) -> None:
    """Links between the studies and the site, as they lie in the repository."""
    up = "../" * page.count("/")
    text = re.sub(r"\((?:\.\./)+experiments/", f"({up}studies/", source[0])
    source[0] = re.sub(r"\((?:\.\./)+docs/", f"({up or './'}", text)


def _dashes(app: Any, page: nodes.document) -> None:
    """Between a parameter and what it is; those of options stay."""
    for text in list(page.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" – "))


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("builder-inited", _write)
    app.connect("builder-inited", _studies)
    app.connect("builder-inited", _notebooks)
    app.connect("source-read", _links)
    app.connect("doctree-read", _dashes)
    return {"parallel_read_safe": True}
