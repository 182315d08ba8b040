"""The audited completions: drawn once by the arm's own sampler, scored by every engine setting."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from arc_precision.contracts.audit_files import AUDIT
from arc_precision.contracts.parquet import read_rows
from arc_precision.contracts.tasks import TASKS


@dataclass(frozen=True)
class Audited:
    """One completion and the prompt it continues, as token ids."""

    row_id: str
    sample: int
    prompt_ids: list[int]
    token_ids: list[int]

    def row(self, setting: str, variant: str, logprobs: Sequence[float]) -> dict:
        """A row of `AUDIT`."""
        return {
            "row_id": self.row_id,
            "sample": self.sample,
            "setting": setting,
            "variant": variant,
            "token_ids": self.token_ids,
            "logprobs": list(map(float, logprobs)),
        }


def scored_rows(
    completions: Sequence[Audited], setting: str, variant: str, logprobs: Sequence[np.ndarray]
) -> list[dict]:
    """Rows of `AUDIT` from the log-probs (T,) of each completion."""
    return [c.row(setting, variant, values) for c, values in zip(completions, logprobs, strict=True)]


def read_prompts(path: Path, tokenizer: PreTrainedTokenizerBase, n: int | None = None) -> dict[str, list[int]]:
    """Token ids of the first `n` prompts of a task file (None: all) by row id."""
    rows = list(islice(read_rows(path, TASKS, columns=["row_id", "prompt"]), n))
    prompts = tokenizer([row["prompt"] for row in rows], add_special_tokens=False)["input_ids"]
    return dict(zip((row["row_id"] for row in rows), prompts, strict=True))


def read_completions(drawn: Path, tasks: Path, tokenizer: PreTrainedTokenizerBase) -> list[Audited]:
    """The completions of a drawing, in its order."""
    prompts = read_prompts(tasks, tokenizer)
    rows = read_rows(drawn, AUDIT, columns=["row_id", "sample", "setting", "token_ids"])
    return [
        Audited(row["row_id"], row["sample"], prompts[row["row_id"]], row["token_ids"])
        for row in rows
        if "decode" in row["setting"].split("/")
    ]


def batches(completions: Sequence[Audited], size: int) -> Iterator[Sequence[Audited]]:
    """The completions, `size` at a time."""
    for first in range(0, len(completions), size):
        yield completions[first : first + size]
