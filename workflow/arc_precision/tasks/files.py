"""Files that hold the tasks of a source. Nothing is imported that planning has to do without."""

from pathlib import Path

from arc_precision.config.data import ArcJsonSource, BarcSource, Source

_CHALLENGES, _SOLUTIONS = "challenges.json", "solutions.json"


def source_files(source: Source) -> list[Path]:
    """The files whose content decides the source's tasks, sorted; none where they come with a package or a generator.

    Raises:
        ValueError: the path does not exist, or a folder holds no JSON file.
    """
    match source:
        case ArcJsonSource():
            files = arc_json_files(Path(source.path))
            return sorted({*files, *(solutions_of(file) for file in files if is_challenges(file))})
        case BarcSource():
            return [existing_file(Path(source.path))]
        case _:
            return []


def existing_file(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; write the path of an existing one")
    return path


def is_challenges(file: Path) -> bool:
    return file.name.endswith(_CHALLENGES)


def solutions_of(challenges: Path) -> Path:
    solutions = challenges.with_name(challenges.name.removesuffix(_CHALLENGES) + _SOLUTIONS)
    if not solutions.is_file():
        raise ValueError(f"{challenges}: its solutions are missing; put {solutions.name} beside it")
    return solutions


def arc_json_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [existing_file(path)]
    files = sorted(path.glob("*.json"))
    challenges = {file for file in files if is_challenges(file)}
    joined = {solutions_of(file) for file in challenges}
    if not files:
        raise ValueError(f"{path}: no .json file in this folder; write the folder that holds the tasks")
    return [file for file in files if file not in joined]
