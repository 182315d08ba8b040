"""Rows of data/*.parquet: the candidates for training, and an evaluation set.

A source is worked on chunk by chunk, in as many processes as are allowed. Each chunk becomes a part: a table of its
rows in a file of its own, in a scratch folder beside the output. A part depends on the slice and the chunk alone, so
a run that was killed goes on with the parts that it left, and the result is the same for any number of processes. The
parts, in order, then become the rows.
"""

import hashlib
import heapq
import pickle
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm import tqdm

from arc_precision.config.data import CandidatesSlice, EvaluationSetSlice, Source
from arc_precision.contracts.parquet import read_table
from arc_precision.contracts.tasks import TASKS
from arc_precision.tasks.row_parts import make_parts, part_facts, process_pool, read_part
from arc_precision.tasks.row_tables import Counts, Recipe, WritePrompt
from arc_precision.tasks.source_files import source_files
from arc_precision.tasks.sources import add_names

SCHEMA_VERSION = 1
"""Version of the manifests beside the Parquet files."""

ROW_GROUP_ROWS = 500
PROMPT_MODULES = ("chat", "prompts", "prompt_templates")


def write_candidates(
    slice: CandidatesSlice, write_prompt: WritePrompt, output: Path, scratch: Path, workers: int = 1
) -> dict:
    """Write the candidate training rows, and return the manifest.

    Args:
        slice: What decides the rows.
        write_prompt: Makes the prompts; it goes to other processes by pickle.
        output: The Parquet file.
        scratch: As `scratch_folder` gives it; removed at the end.
        workers: Processes that make parts.

    Raises:
        ValueError: a source is not valid, or no prompt is short enough.
    """
    data = slice.data
    recipe = Recipe(write_prompt, data.max_prompt_tokens, data.augment, data.augmentations, data.seed)
    with process_pool(recipe, workers) as pool, _Writer(output) as writer:
        for name in data.train_on:
            parts = make_parts(name, slice.sources[name], recipe, scratch / name, pool, workers)
            writer.write_source(name, parts, data.n_tasks, data.seed)
        writer.refuse_empty("data.max_prompt_tokens", data.max_prompt_tokens)
    shutil.rmtree(scratch.parent)
    return writer.manifest()


def write_evaluation_set(
    name: str,
    slice: EvaluationSetSlice,
    write_prompt: WritePrompt,
    training_keys: pa.Array,
    output: Path,
    scratch: Path,
    workers: int = 1,
) -> dict:
    """Write an evaluation set, one row per task, and return the manifest.

    Nothing is augmented, and the prompt asks for the first test pair.

    Args:
        name: The set's name in the config.
        slice: What decides the rows.
        write_prompt: Makes the prompts.
        training_keys: Canonical keys of the training candidates.
        output: The Parquet file.
        scratch: As in `write_candidates`.
        workers: As in `write_candidates`.

    Raises:
        ValueError: the source is not valid, or no task is left.
    """
    chosen = slice.set
    recipe = Recipe(write_prompt, chosen.max_prompt_tokens)

    def label(table: pa.Table) -> pa.Table:
        known = pc.is_valid(table["canonical"])
        seen = pc.if_else(known, pc.is_in(table["canonical"], value_set=training_keys), pa.scalar(None, pa.bool_()))
        labelled = table.set_column(table.schema.get_field_index("seen_in_training"), "seen_in_training", seen)
        return labelled.filter(pc.invert(pc.fill_null(seen, False))) if chosen.held_out else labelled

    with process_pool(recipe, workers) as pool, _Writer(output) as writer:
        parts = make_parts(chosen.source, slice.source, recipe, scratch, pool, workers)
        writer.write_source(chosen.source, parts, chosen.n_tasks, chosen.seed, label)
        counts = writer.counts[chosen.source]
        if counts.tasks_in_training and not writer.n_rows:
            raise ValueError(
                f"evaluation_sets.{name}: all {counts.tasks_in_training} tasks that fit are in the training data; "
                "choose another source, or write held_out: false"
            )
        writer.refuse_empty(f"evaluation_sets.{name}.max_prompt_tokens", chosen.max_prompt_tokens)
    shutil.rmtree(scratch.parent)
    return writer.manifest()


def scratch_folder(output: Path, slice: Sequence[str], sources: Iterable[Source], write_prompt: WritePrompt) -> Path:
    """The folder beside `output` for parts that depend on all this; those left over from anything else are removed."""
    hashed = hashlib.sha256(pickle.dumps((list(slice), write_prompt)))
    library = Path(__file__).parents[1]
    for file in [*sorted(library.glob("tasks/*.py")), *(library / f"{name}.py" for name in PROMPT_MODULES)]:
        hashed.update(file.read_bytes())
    for file in [file for source in sources for file in source_files(source)]:
        hashed.update(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}".encode())
    folder = output.with_name(f"{output.name}.parts") / hashed.hexdigest()[:16]
    for other in folder.parent.glob("*"):
        if other != folder:
            shutil.rmtree(other)
    return folder


def read_canonical_keys(candidates: Path) -> pa.Array:
    """Distinct canonical keys of a file of rows."""
    return pc.unique(read_table(candidates, TASKS, ["canonical"])["canonical"])


class _Writer:
    """Writes tables of rows to a Parquet file, and keeps account of them."""

    def __init__(self, output: Path):
        self.output = output
        self.counts: dict[str, Counts] = {}
        self.n_rows = 0
        self._tokens: dict[str, list[np.ndarray]] = {}
        self._held: list[pa.Table] = []

    def __enter__(self) -> "_Writer":
        # Dictionaries save space only in columns whose values recur.
        cells = [f"{part}.list.element.{side}.list.element.list.element" for part, side in _GRIDS]
        options = {"compression": "zstd", "compression_level": 1, "use_dictionary": ["source", *cells]}
        self._file = pq.ParquetWriter(self.output, TASKS, **options)
        return self

    def __exit__(self, error: type[BaseException] | None, *_) -> None:
        if error is None:
            self._flush()
        self._file.close()

    def write_source(
        self,
        name: str,
        parts: Iterator[Path],
        n_tasks: int | None,
        seed: int,
        label: Callable[[pa.Table], pa.Table] = lambda table: table,
    ) -> None:
        """Write the parts of a source, of at most `n_tasks` tasks.

        The tasks with the least hash of seed and name are chosen, so the choice of a task does not depend on other
        tasks.
        """
        counts = self.counts[name] = Counts()
        self._tokens[name] = []
        drawn = None
        if n_tasks is not None:
            parts = list(tqdm(parts, desc=name, unit=" chunks", mininterval=1))
            labelled = (label(read_part(path, _LABEL_COLUMNS)) for path in parts)
            names = {task_id for table in labelled for task_id in table["task_id"].to_pylist()}
            luck = {task_id: hashlib.sha256(f"{seed}/{task_id}".encode()).digest() for task_id in names}
            drawn = pa.array(heapq.nsmallest(n_tasks, names, key=luck.__getitem__), pa.string())
            counts.tasks_not_drawn = len(names) - len(drawn)
        seen: set[str] = set()
        progress = tqdm(desc=name, unit=" tasks", mininterval=1)
        for path in parts:
            table = read_part(path)
            part, task_names = part_facts(path)
            _add_names(name, seen, task_names)
            counts.add(part)
            progress.update(part.tasks_read)
            kept = label(table)
            counts.tasks_in_training += len(table) - len(kept)
            if drawn is not None:
                kept = kept.filter(pc.is_in(kept["task_id"], value_set=drawn))
            self._write(name, kept)
        progress.close()

    def _write(self, name: str, table: pa.Table) -> None:
        self.n_rows += len(table)
        self._tokens[name].append(table["prompt_tokens"].to_numpy())
        self._held.append(table)
        if sum(map(len, self._held)) >= ROW_GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._held:
            table = pa.concat_tables(self._held).replace_schema_metadata(TASKS.metadata)
            self._file.write_table(table, row_group_size=max(len(table), 1))
        self._held = []

    def refuse_empty(self, key: str, max_prompt_tokens: int) -> None:
        """Raise ValueError if no row was written, and name the length that would admit one."""
        if self.n_rows:
            return
        lengths = [counts.shortest_prompt_tokens for counts in self.counts.values()]
        shortest = min((length for length in lengths if length is not None), default=None)
        if shortest is None:
            raise ValueError(f"sources: {', '.join(self.counts)} have no task at all; choose another source")
        raise ValueError(
            f"{key}: {max_prompt_tokens} leaves no task, because the shortest prompt has {shortest} tokens; "
            f"write {shortest} or more"
        )

    def manifest(self) -> dict:
        """The content of the JSON beside the file."""
        with open(self.output, "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        sources = {}
        for name, counts in self.counts.items():
            tokens = np.concatenate(self._tokens[name])
            shown = (
                {"min": int(tokens.min()), "median": float(np.median(tokens)), "max": int(tokens.max())}
                if len(tokens)
                else None
            )
            sources[name] = {**asdict(counts), "rows": len(tokens), "prompt_tokens": shown}
        return {"schema_version": SCHEMA_VERSION, "rows": self.n_rows, "sha256": sha256, "sources": sources}


def _add_names(source: str, names: set[str], more: list[str]) -> None:
    try:
        add_names(names, more)
    except ValueError as error:
        raise ValueError(f"sources.{source}: {error}") from None


_GRIDS = [(part, side) for part in ("train", "test") for side in ("input", "output")]
_LABEL_COLUMNS = ("task_id", "canonical", "seen_in_training")
