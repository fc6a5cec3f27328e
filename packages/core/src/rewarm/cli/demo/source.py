"""The slow source: what packages of the standard library import, define and weigh."""

from __future__ import annotations

import ast
import marshal
import os
import re
import sysconfig
from itertools import count
from pathlib import Path
from typing import Any

PACKAGES = ("email", "multiprocessing", "http", "logging", "urllib", "json")
MANIFEST = "SOURCES.txt"
EDIT = re.compile(r"edit_(\d+)")


def copy_packages(folder: Path) -> list[str]:
    """Copy the modules of PACKAGES, with a manifest each -> the names of those that this Python has as source."""
    library = Path(sysconfig.get_path("stdlib"))
    found = [name for name in PACKAGES if (library / name / "__init__.py").is_file()]
    for name in found:
        found_modules = sorted(path.relative_to(library / name) for path in (library / name).rglob("*.py"))
        modules = [module for module in found_modules if not {"test", "tests"}.intersection(module.parts)]
        for module in modules:
            copy = folder / name / module
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((library / name / module).read_bytes())
        (folder / name / MANIFEST).write_text("\n".join(map(str, modules)))
    return found


def modules_of(package: Path) -> list[Path]:
    # Not a listing of the folder: that may miss a file which is being replaced.
    return [package / module for module in (package / MANIFEST).read_text().splitlines()]


def describe(package: Path) -> dict[str, Any]:
    """Parse and compile every module of a package; really slow.

    `revision` is the last edit that the source itself shows, all earlier ones included.
    """
    modules = modules_of(package)
    imports: set[str] = set()
    edits: set[int] = set()
    classes = functions = source = bytecode = 0
    for path in modules:
        text = path.read_bytes()
        tree = ast.parse(text)
        for node in ast.walk(tree):
            match node:
                case ast.Import(names=names):
                    imports.update(alias.name for alias in names)
                case ast.ImportFrom(module=str(module)):
                    imports.add(module)
                case ast.ClassDef():
                    classes += 1
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    functions += 1
                    if edit := EDIT.fullmatch(name):
                        edits.add(int(edit[1]))
        source += len(text)
        bytecode += len(marshal.dumps(compile(tree, path.name, "exec", dont_inherit=True)))
    return {
        "package": package.name, "modules": len(modules), "imports": sorted(imports), "classes": classes,
        "functions": functions, "source": source, "bytecode": bytecode,
        "revision": next(number for number in count() if number + 1 not in edits),
    }  # fmt: skip


def edit(module: Path, number: int) -> None:
    """Add a function to a module, in one step: no reader sees half of it."""
    draft = module.with_suffix(".draft")
    draft.write_bytes(module.read_bytes() + f"\n\ndef edit_{number}():\n    return {number}\n".encode())
    os.replace(draft, module)
