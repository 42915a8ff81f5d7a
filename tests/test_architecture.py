"""The layers hold: imports point down, the web stays out of the worker and torch out of the server."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = ROOT / "modules"

ROWS = (
    ("params",),
    ("prompt", "catalogue", "images", "jobs"),
    ("sampling", "models"),
    ("networks", "conditioning", "control", "enhance"),
    ("extensions",),
    ("pipeline",),
    ("training",),
    ("engine",),
    ("api", "ui", "cluster", "client"),
    ("app",),
)
ROW = {package: number for number, row in enumerate(ROWS) for package in row}
PACKAGES = sorted(path.name for path in MODULES.iterdir() if (path / "__init__.py").exists())
SERVER_SIDE = ("params", "prompt", "catalogue", "images", "jobs", "api", "ui", "cluster", "client", "app")
ONLY_IN = {
    "gradio": {"ui"},
    "fastapi": {"api", "app"},
    "starlette": {"api", "app"},
    "torch": set(ROW) - set(SERVER_SIDE),
    "diffusers": {"models", "training"},
    "transformers": {"models", "conditioning", "training"},
    "ray": {"cluster"},
}
OPTIONAL = {"ray"}
"""Libraries that need not be installed."""


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def imports(path: Path) -> tuple[str, ...]:
    """Every module a file imports, inside functions too, as an absolute name; those for type checkers left out."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    tree = parsed(path)
    unseen = {id(node) for block in ast.walk(tree) if _is_for_types(block) for node in ast.walk(block)}
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(tree):
        if id(node) in unseen:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) + "." if node.level else ""
            target = (base + (node.module or "")).rstrip(".")
            yield target
            if target == "modules":
                yield from (f"modules.{alias.name}" for alias in node.names if alias.name != "__version__")


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def files() -> list[tuple[str, Path]]:
    return [(package, path) for package in PACKAGES for path in sorted((MODULES / package).rglob("*.py"))]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_has_its_row(package: str) -> None:
    assert package in ROW


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_down(package: str) -> None:
    wrong = []
    for path in sorted((MODULES / package).rglob("*.py")):
        for name in imports(path):
            parts = name.split(".")
            if parts[0] != "modules" or len(parts) < 2 or parts[1] == package:
                continue
            if parts[1] not in ROW or ROW[parts[1]] >= ROW[package]:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_stays_where_it_belongs(library: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for package, path in files()
        for name in imports(path)
        if name.split(".")[0] == library and package not in ONLY_IN[library]
    ]
    assert not wrong


HEAVY = ("torch", "diffusers", "transformers", "accelerate", "torchsde")
IMPORT_ALL = f"""
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    loaded = [heavy for heavy in {HEAVY!r} if heavy in sys.modules]
    if loaded:
        sys.exit(f"{{name}} loads {{loaded}}")
"""


def test_the_servers_packages_load_no_torch() -> None:
    """One after the other in one process, which ends at the first that does."""
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for package in SERVER_SIDE
        for path in sorted((MODULES / package).rglob("*.py"))
        if path.name != "__main__.py" and all(find_spec(name) for name in OPTIONAL & set(imports(path)))
    ]
    assert {name.split(".")[1] for name in names} == set(SERVER_SIDE)
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *names], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


HARMLESS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)


@pytest.mark.parametrize(("package", "path"), files(), ids=lambda value: str(value).rpartition("modules")[2])
def test_importing_a_module_does_nothing(package: str, path: Path) -> None:
    """At the top of a file stand imports, definitions and constants: no call for its effect, no loop, no `global`."""
    tree = parsed(path)
    for node in tree.body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        guard = isinstance(node, ast.If) and (_is_for_types(node) or _is_main(node))
        alias = isinstance(node, getattr(ast, "TypeAlias", ()))
        assert docstring or guard or alias or isinstance(node, HARMLESS), f"line {node.lineno}"
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Global)]


def _is_main(node: ast.If) -> bool:
    return isinstance(node.test, ast.Compare) and ast.unparse(node.test) == "__name__ == '__main__'"


def test_broad_excepts_are_few() -> None:
    """A broad `except` is for the edges: the worker's job loop, HTTP, the page."""
    broad = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for _, path in files()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")))
    ]
    assert len(broad) <= 3, broad


def test_the_bootstrap_needs_only_the_standard_library() -> None:
    allowed = sys.stdlib_module_names | {"modules"}
    for path in (ROOT / "webui.py", MODULES / "bootstrap.py", MODULES / "start_script.py"):
        assert not {name for name in imports(path) if name.split(".")[0] not in allowed}, path
