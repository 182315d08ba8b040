"""Files that hold the tasks of a source. Planning uses this module, so it imports few packages."""

import stat
from pathlib import Path

from arc_precision.config.data import ArcJsonSource, BarcSource, Source

_CHALLENGES, _SOLUTIONS = "challenges.json", "solutions.json"


def source_files(source: Source) -> list[Path]:
    """The files with the source's tasks, sorted; none if the tasks come from a package or the generator.

    Raises:
        ValueError: the path does not exist or is no file, a file begins as none of BARC's does, or a folder holds no
            JSON file.
    """
    match source:
        case ArcJsonSource():
            files = arc_json_files(Path(source.path))
            return sorted({*files, *filter(None, map(solutions_of, files))})
        case BarcSource():
            return [barc_file(Path(source.path))]
        case _:
            return []


def unanswered_file(source: Source) -> Path | None:
    """A file of tasks without answers, if the source has one. Such a source is for sampling only.

    Raises:
        ValueError: as `source_files`.
    """
    files = arc_json_files(Path(source.path)) if isinstance(source, ArcJsonSource) else []
    return next((file for file in files if is_challenges(file) and solutions_of(file) is None), None)


def barc_file(path: Path) -> Path:
    """The path of a file that begins as gzip or as a JSON object; of anything else a ValueError."""
    if not is_gzip(_existing_file(path)) and not _first_bytes(path, 1000).lstrip().startswith(b"{"):
        raise ValueError(
            f"{path}: neither a gzip file nor a JSON object; a barc source is one JSON object of tasks by name, or "
            "JSON Lines in a file named *.jsonl or *.jsonl.gz"
        )
    return path


def is_json_lines(path: Path) -> bool:
    """Whether a file holds an object per line rather than one object."""
    return path.name.endswith((".jsonl", ".jsonl.gz"))


def is_gzip(path: Path) -> bool:
    """Whether a file begins as gzip files do."""
    return _first_bytes(path, 2) == b"\x1f\x8b"


def _first_bytes(path: Path, n_bytes: int) -> bytes:
    with open(path, "rb") as file:
        return file.read(n_bytes)


def is_challenges(file: Path) -> bool:
    """Whether a file holds tasks without their answers, in Kaggle's form."""
    return file.name.endswith(_CHALLENGES)


def solutions_name(challenges: Path) -> str:
    """Name of the file with the answers of a file of challenges."""
    return challenges.name.removesuffix(_CHALLENGES) + _SOLUTIONS


def solutions_of(file: Path) -> Path | None:
    """The file with the answers, if the file holds challenges and that file lies beside it."""
    solutions = file.with_name(solutions_name(file))
    return solutions if is_challenges(file) and solutions.is_file() else None


def arc_json_files(path: Path) -> list[Path]:
    """The files of tasks that a path names, without those of solutions; a ValueError where there are none."""
    if not stat.S_ISDIR(_mode(path)):
        return [_existing_file(path)]
    files = sorted(map(_existing_file, [*path.glob("*.json"), *path.glob("*/*.json")]))
    if not files:
        raise ValueError(
            f"{path}: no .json file in this folder or in a folder in it; write the one that holds the tasks"
        )
    joined = set(map(solutions_of, files))
    return [file for file in files if file not in joined]


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; write the path of an existing one") from None
    except (OSError, ValueError) as error:  # the path is too long, a loop of links, forbidden, or no text
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"{str(path)[:200]}: {reason}; write the path of an existing file") from None


def _existing_file(path: Path) -> Path:
    mode = _mode(path)
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "no file that can be read twice"
        raise ValueError(f"{path}: {what}; put a file there, or write the path of one")
    return path
