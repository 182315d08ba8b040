"""Files that hold the tasks of a source. Nothing is imported that planning has to do without."""

import stat
from pathlib import Path

from arc_precision.config.data import ArcJsonSource, BarcSource, Source

_CHALLENGES, _SOLUTIONS = "challenges.json", "solutions.json"


def source_files(source: Source) -> list[Path]:
    """The files whose content decides the source's tasks, sorted; none where they come with a package or a generator.

    Raises:
        ValueError: the path does not exist or is no file, a BARC file is not gzip, or a folder holds no JSON file.
    """
    match source:
        case ArcJsonSource():
            files = arc_json_files(Path(source.path))
            return sorted({*files, *(solutions_of(file) for file in files if is_challenges(file))})
        case BarcSource():
            return [barc_file(Path(source.path))]
        case _:
            return []


def barc_file(path: Path) -> Path:
    """The path of a gzip file; of anything else a ValueError."""
    if not is_gzip(_existing_file(path)):
        raise ValueError(
            f"{path}: not a gzip file; a barc source is BARC's dataset_100k.json.gz, gzip of one JSON object of tasks "
            "by name (for plain JSON of that form write kind: arc_json; JSON Lines are not read)"
        )
    return path


def is_gzip(path: Path) -> bool:
    """Whether a file begins as gzip files do."""
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def is_challenges(file: Path) -> bool:
    """Whether a file holds tasks without their answers, in Kaggle's form."""
    return file.name.endswith(_CHALLENGES)


def solutions_of(challenges: Path) -> Path:
    """The file with the answers; a ValueError where it is missing."""
    solutions = challenges.with_name(challenges.name.removesuffix(_CHALLENGES) + _SOLUTIONS)
    if not solutions.is_file():
        raise ValueError(f"{challenges}: its solutions are missing; put {solutions.name} beside it")
    return solutions


def arc_json_files(path: Path) -> list[Path]:
    """The files of tasks that a path names, without those of solutions; a ValueError where there are none."""
    if not stat.S_ISDIR(_mode(path)):
        return [_existing_file(path)]
    files = sorted(map(_existing_file, path.glob("*.json")))
    challenges = {file for file in files if is_challenges(file)}
    joined = {solutions_of(file) for file in challenges}
    if not files:
        raise ValueError(f"{path}: no .json file in this folder; write the folder that holds the tasks")
    return [file for file in files if file not in joined]


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; write the path of an existing one") from None
    except (OSError, ValueError) as error:  # too long, a loop of links, not allowed, a sign that no path has
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"{str(path)[:200]}: {reason}; write the path of an existing file") from None


def _existing_file(path: Path) -> Path:
    mode = _mode(path)
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "no file that can be read twice"
        raise ValueError(f"{path}: {what}; put a file there, or write the path of one")
    return path
