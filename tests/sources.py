"""The source as the tests about it read it: files, their imports, calls and handlers.

Nothing is imported: the files are parsed.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGES = ("natd", "natctl", "frontends")


@dataclass(frozen=True)
class Import:
    """One module that a file imports."""

    module: str
    """Dotted, as far as it names files of ours: `natd.core.codec.stun`, `os.path`."""
    name: str | None
    """What is taken out of it; None for the module as such."""
    line: int
    lazy: bool
    """Within a function, so that it happens only when that is called."""

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


@dataclass(frozen=True)
class File:
    name: str
    """Relative to the root, with slashes."""
    tree: ast.Module
    imports: tuple[Import, ...]
    calls: tuple[ast.Call, ...]
    handlers: tuple[ast.ExceptHandler, ...]

    @property
    def package(self) -> str:
        return self.name.partition("/")[0]

    def at(self, line: int, what: str) -> str:
        return f"{self.name}:{line}: {what}"


def read_source(root: Path) -> list[File]:
    return [
        read_file(root, path, path.read_text(encoding="utf-8"))
        for package in PACKAGES
        for path in sorted((root / package).rglob("*.py"))
    ]


@cache
def read_file(root: Path, path: Path, text: str) -> File:
    tree = ast.parse(text, str(path))
    nodes = list(ast.walk(tree))
    return File(
        name=path.relative_to(root).as_posix(),
        tree=tree,
        imports=tuple(find_imports(root, tree, lazy=False)),
        calls=tuple(node for node in nodes if isinstance(node, ast.Call)),
        handlers=tuple(node for node in nodes if isinstance(node, ast.ExceptHandler)),
    )


def find_imports(root: Path, node: ast.AST, lazy: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, None, child.lineno, lazy)
        elif isinstance(child, ast.ImportFrom):
            if child.level:
                yield Import("." * child.level + (child.module or ""), None, child.lineno, lazy)
                continue
            module = child.module or ""
            for alias in child.names:
                whole = f"{module}.{alias.name}"
                if is_module(root, whole):
                    yield Import(whole, None, child.lineno, lazy)
                else:
                    yield Import(module, alias.name, child.lineno, lazy)
        elif isinstance(child, ast.Call) and (named := imported_by_name(child)) is not None:
            yield Import(named, None, child.lineno, lazy)
        in_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from find_imports(root, child, lazy or in_function)


def imported_by_name(call: ast.Call) -> str | None:
    """The module of `import_module("natd.storage.store")` and the like, when it is written out."""
    called = call.func
    name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", None)
    if name in ("import_module", "__import__") and call.args:
        first = call.args[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            return first.value
    return None


def is_module(root: Path, module: str) -> bool:
    path = root / module.replace(".", "/")
    return path.with_name(f"{path.name}.py").is_file() or path.is_dir()


def module_of(file: File) -> str:
    return file.name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")
