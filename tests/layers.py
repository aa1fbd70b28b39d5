"""The rules about who may import whom, and how they are read off the source.

    natctl --> frontends --> natd.ipc <-- natd (shells) --> natd.core (pure)
       `-------------------------^

Nothing is imported to be checked: the files are parsed, so a forbidden import is found even
where it would never run.  Each rule is a function from the root of a source tree to its
violations, a line each: `natd/core/codec/stun.py:12: imports natd.core.punch, no earlier core`.
"""

import ast
import re
import sys
from pathlib import Path

from tests.sources import PACKAGES, File, is_within, module_of, read_source

CORE_WINGS = (
    "base",
    "",
    "codec",
    "keys",
    "portmap",
    "coordinator",
    "nat",
    "checks",
    "prediction",
    "punch",
    "paths",
    "session",
    "chat",
    "peer",
    "registration",
    "network",
    "node",
)
"""A wing of the core imports only those before it, so there is no circle, and a reading order;
"" is the house's own `__init__.py`: the contract of a core."""

SHELL_WINGS = (
    "",
    "core",
    "ipc",
    "host",
    "settings",
    "storage",
    "net",
    "members",
    "control",
    "doctor",
    "daemon",
    "server",
    "__main__",
)
"""The same for the daemon around it."""

NATCTL_WINGS = (
    "",
    "exit_codes",
    "secret",
    "since",
    "output",
    "invocation",
    "lazy_group",
    "network_choice",
    "sending",
    "launching",
    "words",
    "demo",
    "commands",
    "__main__",
)
"""The same for the command line."""

HOUSES = {"natd.core": CORE_WINGS, "natd": SHELL_WINGS, "natctl": NATCTL_WINGS}

DOORS = {
    "click": ("natctl/", "natd/__main__.py"),
    "cryptography": (
        "natd/core/keys/card.py",
        "natd/core/keys/membership_key.py",
        "natd/core/keys/secrets.py",
        "natd/core/session/quic.py",
    ),
    "msgspec": ("natd/core/codec/frames.py", "natd/control/command_table.py"),
    "prompt_toolkit": ("frontends/chat.py",),
    "psutil": ("natd/net/network_interfaces.py",),
    "qh3": ("natd/core/session/quic.py",),
    "sdnotify": ("natd/host/notify.py",),
    "sqlite3": (
        "natd/storage/store.py",
        "natd/storage/database.py",
        "natd/storage/reader.py",
        "natd/storage/transaction.py",
    ),
    "yaml": ("natd/settings/yaml_tree.py", "natd/settings/config.py"),
    "zmq": ("natd/ipc/client.py",),
}
"""One library, one door: what changes with the library's next version stands in one place."""

_LOOPS = ("asyncio", "concurrent", "multiprocessing", "queue", "sched", "threading")
_SOCKETS = ("http", "select", "selectors", "socket", "socketserver", "ssl", "urllib", "zmq")
_PROCESS = ("ctypes", "importlib", "platform", "signal", "subprocess", "sys", "time")
_DISK = ("fcntl", "glob", "io", "mmap", "os", "pathlib", "shutil", "sqlite3", "tempfile")
_RANDOMNESS = ("secrets", "uuid")
IMPURE = frozenset((*_LOOPS, *_SOCKETS, *_PROCESS, *_DISK, *_RANDOMNESS))
"""Loops, sockets, clocks, disks, processes and sources of randomness: a core knows none."""

IMPURE_CALLS = frozenset(("open", "print", "input", "exec", "eval", "breakpoint", "__import__"))
EAGER_FRONTENDS = ("frontends.safe",)
"""What natctl may load at once: it prints peers' texts by the same door as the front ends."""

WALL_CLOCK = frozenset(("now", "utcnow", "today"))
"""Methods of datetime and date that read a clock."""

MORE_THAN_A_DOCSTRING = ("natd/core/__init__.py", "natd/ipc/__init__.py")
"""The contract of a core, and the public client; no other package costs anything to import."""

CATCHES_ALL = ("natd/control/command_table.py", "natd/__main__.py", "natctl/__main__.py")
"""The command table and a process' top: the two places for `except Exception`."""

NODE_ATTRIBUTES_LIMIT = 10
"""The root of the cores grows unless it is kept from it: what is about one peer or one network
has a room of its own."""

NO_ROOMS = frozenset(("utils", "util", "helpers", "helper", "common", "manager", "misc"))
"""Names of files that say nothing about what lives there."""


def all_violations(root: Path) -> list[str]:
    return [
        *violations_of_wings(root),
        *violations_of_doors(root),
        *violations_of_doors_of_wings(root),
        *violations_of_layers(root),
        *violations_of_purity(root),
        *violations_of_emptiness(root),
        *violations_of_catching(root),
        *violations_of_naming(root),
        *violations_of_routing(root),
    ]


def violations_of_wings(root: Path) -> list[str]:
    """An import that runs up or in a circle, from wing to wing or within one."""
    found = []
    files = read_source(root)
    for file in files:
        own = module_of(file)
        house = next((house for house in HOUSES if is_within(own, house)), None)
        if house is not None and wing_of(own, house) not in HOUSES[house]:
            found.append(file.at(1, "has no place in the order of wings"))
        for one in file.imports:
            if one.module.startswith("."):
                found.append(file.at(one.line, "relative import: say which package"))
            elif (
                house is not None
                and is_within(one.module, house)
                and wing_of(one.module, house) not in wings_up_to(wing_of(own, house), house)
            ):
                found.append(file.at(one.line, f"imports {one.module}, no earlier wing"))
    return found + violations_of_circles(files)


def violations_of_circles(files: list[File]) -> list[str]:
    """Each file that its own imports lead back to."""
    imported = {
        module_of(file): {one.module: one.line for one in file.imports if one.top in PACKAGES}
        for file in files
    }
    found = []
    for file in files:
        own = module_of(file)
        for first, line in imported[own].items():
            reached, waiting = {first}, [first]
            while waiting:
                for further in imported.get(waiting.pop(), ()):
                    if further not in reached:
                        reached.add(further)
                        waiting.append(further)
            if own in reached:
                found.append(file.at(line, f"imports {first}, which leads back here"))
    return found


def wings_up_to(wing: str, house: str) -> tuple[str, ...]:
    wings = HOUSES[house]
    return wings[: wings.index(wing) + 1] if wing in wings else ()


def wing_of(module: str, house: str) -> str:
    """The package or the file of a house in which a module is; "" for the house itself."""
    return module.removeprefix(house).removeprefix(".").partition(".")[0]


def violations_of_doors(root: Path) -> list[str]:
    found = []
    taken = {
        (module_of(file), one.name): one.top
        for file in read_source(root)
        for one in file.imports
        if one.top in DOORS and one.name is not None
    }
    for file in read_source(root):
        for one in file.imports:
            doors = DOORS.get(one.top)
            if doors is not None:
                if not file.name.startswith(doors):
                    found.append(file.at(one.line, f"{one.top} outside its door"))
            elif one.top and one.top not in PACKAGES and one.top not in sys.stdlib_module_names:
                found.append(file.at(one.line, f"{one.top} has no door"))
            elif one.name is not None and (library := taken.get((one.module, one.name))):
                found.append(file.at(one.line, f"{library} outside its door, by {one.module}"))
    return list(dict.fromkeys(found))


def violations_of_doors_of_wings(root: Path) -> list[str]:
    """A wing without a line `Others import: ...` in its door, an import from outside of a module
    that this line does not name, and a name there that nobody outside imports."""
    files = read_source(root)
    wings = {module_of(file): file for file in files if is_door_of_wing(file)}
    named = {wing: names_in_door(file) for wing, file in wings.items()}
    found = [
        file.at(1, "has no last line `Others import: name, name.`")
        for wing, file in wings.items()
        if named[wing] is None
    ]
    wanted: set[tuple[str, str]] = set()
    for file in files:
        for one in file.imports:
            wing = next((wing for wing in wings if one.module.startswith(f"{wing}.")), None)
            if wing is None or is_within(module_of(file), wing):
                continue
            module = one.module.removeprefix(f"{wing}.")
            wanted.add((wing, module))
            if module not in (named[wing] or ()):
                found.append(file.at(one.line, f"imports {one.module}, not named by its door"))
    for wing, names in named.items():
        for name in names or ():
            if (wing, name) not in wanted:
                found.append(wings[wing].at(1, f"names {name}, which nobody else imports"))
    return found


def is_door_of_wing(file: File) -> bool:
    """An `__init__.py` right below a house, unless it is itself a house."""
    house, _, _ = module_of(file).rpartition(".")
    return file.name.endswith("/__init__.py") and house in HOUSES and module_of(file) not in HOUSES


def names_in_door(file: File) -> tuple[str, ...] | None:
    """The modules that the door's last paragraph names; None without such a one."""
    last = (ast.get_docstring(file.tree) or "").strip().split("\n\n")[-1]
    line = re.fullmatch(r"Others import: (.+)\.", " ".join(last.split()))
    if line is None:
        return None
    return () if line[1] == "nothing" else tuple(line[1].split(", "))


def violations_of_layers(root: Path) -> list[str]:
    found = []
    for file in read_source(root):
        for one in file.imports:
            if one.top not in PACKAGES:
                continue
            if file.name.startswith("natd/ipc/"):
                allowed = is_within(one.module, "natd.ipc")
            elif file.name.startswith("natd/core/"):
                allowed = is_within(one.module, "natd.core")
            elif file.package == "natd":
                allowed = one.top == "natd"
            elif file.package == "frontends":
                allowed = is_within(one.module, "natd.ipc") or one.top == "frontends"
            else:
                allowed = is_within(one.module, "natd.ipc") or one.top in ("natctl", "frontends")
                if one.top == "frontends" and not (one.lazy or one.module in EAGER_FRONTENDS):
                    found.append(file.at(one.line, f"loads {one.module} before it is wanted"))
            if not allowed:
                found.append(file.at(one.line, f"imports {one.module}, no layer below it"))
    return found


def violations_of_purity(root: Path) -> list[str]:
    found = []
    for file in core_files(root):
        for one in file.imports:
            if one.top in IMPURE or (one.top == "random" and one.name != "Random"):
                found.append(file.at(one.line, f"imports {one.top}: a core is pure"))
        for call in file.calls:
            called = call.func
            if isinstance(called, ast.Name) and called.id in IMPURE_CALLS:
                found.append(file.at(call.lineno, f"calls {called.id}: a core is pure"))
            if isinstance(called, ast.Attribute) and is_wall_clock(called):
                found.append(file.at(call.lineno, f"reads {called.attr}: a core is pure"))
    return found


def violations_of_emptiness(root: Path) -> list[str]:
    return [
        file.at(statement.lineno, "more than a docstring")
        for file in read_source(root)
        if file.name.endswith("/__init__.py") and file.name not in MORE_THAN_A_DOCSTRING
        for statement in file.tree.body[ast.get_docstring(file.tree) is not None :]
    ]


def violations_of_catching(root: Path) -> list[str]:
    found = []
    for file in read_source(root):
        if file.name in CATCHES_ALL:
            continue
        for handler in file.handlers:
            kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
            if any(
                kind is None or (isinstance(kind, ast.Name) and kind.id == "Exception")
                for kind in kinds
            ):
                found.append(file.at(handler.lineno, "catches everything"))
    return found


def violations_of_naming(root: Path) -> list[str]:
    return [
        file.at(1, "a name that says nothing")
        for file in read_source(root)
        if not NO_ROOMS.isdisjoint(file.name.removesuffix(".py").split("/"))
        or file.name.endswith("/base.py")
    ]


def violations_of_routing(root: Path) -> list[str]:
    return [
        file.at(function.lineno, f"Node keeps {len(kept)} things: it only routes")
        for file in read_source(root)
        if file.name == "natd/core/node.py"
        for kind in file.tree.body
        if isinstance(kind, ast.ClassDef) and kind.name == "Node"
        for function in kind.body
        if isinstance(function, ast.FunctionDef) and function.name == "__init__"
        if len(kept := attributes_set(function)) > NODE_ATTRIBUTES_LIMIT
    ]


def core_files(root: Path) -> list[File]:
    return [file for file in read_source(root) if file.name.startswith("natd/core/")]


def attributes_set(function: ast.FunctionDef) -> set[str]:
    return {
        node.attr
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }


def is_wall_clock(called: ast.Attribute) -> bool:
    owner = called.value
    name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", None)
    return called.attr in WALL_CLOCK and name in ("datetime", "date")
