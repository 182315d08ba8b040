"""Tasks as token ids: prompt and completion, made by several processes."""

from dataclasses import dataclass

import numpy as np
from torch.utils.data import DataLoader, Dataset
from transformers import PreTrainedTokenizerBase

from arc_precision.config.warm_start import WarmStartSlice
from arc_precision.prompts import WritePrompt, prompt_writer
from arc_precision.warm_start.solutions import solved_chunks
from arc_precision.warm_start.targets import target_text


@dataclass(frozen=True)
class Example:
    """One sequence to learn from."""

    task: int
    """Number of the task in its source."""
    ids: np.ndarray
    """Prompt, completion and end token: int32 (tokens,)."""
    n_prompt: int
    """Tokens of the prompt, which the loss leaves out."""


@dataclass
class Dropped:
    """Counts of tasks that are left out."""

    prompt_too_long: int = 0
    completion_too_long: int = 0


class Chunks(Dataset):
    """Item i: the examples of the source's i-th chunk, and how many tasks were dropped."""

    def __init__(self, slice: WarmStartSlice, tokenizer: PreTrainedTokenizerBase, write_prompt: WritePrompt):
        self.slice, self.tokenizer, self.write_prompt = slice, tokenizer, write_prompt
        self.chunks = list(solved_chunks(slice.warm_start.solved_source))

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, number: int) -> tuple[list[Example], Dropped]:
        section, chunk = self.slice.warm_start, self.chunks[number]
        dropped, kept = Dropped(), []
        for index, (task, program) in enumerate(chunk.solved(), start=chunk.start):
            prompt, n_prompt = self.write_prompt(task, 0)
            if n_prompt > section.max_prompt_tokens:
                dropped.prompt_too_long += 1
                continue
            completion = target_text(section.target, self.slice.prompt, task, program)
            completion_ids = [*self._ids(completion), self.tokenizer.eos_token_id]
            if len(completion_ids) > section.max_completion_tokens:
                dropped.completion_too_long += 1
                continue
            ids = np.array([*self._ids(prompt), *completion_ids], dtype=np.int32)
            kept.append(Example(index, ids, len(ids) - len(completion_ids)))
        return kept, dropped

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False, verbose=False).input_ids


def make_examples(
    slice: WarmStartSlice, tokenizer: PreTrainedTokenizerBase, workers: int
) -> tuple[list[Example], Dropped]:
    """The examples in the order of their tasks, made by `workers` processes (0: by this one).

    Prompt and completion are tokenized apart, as in reinforcement learning.

    Raises:
        ValueError: the model lacks something that the prompt needs, the source is not valid, or too few tasks are short
            enough.
    """
    if tokenizer.eos_token_id is None:
        raise ValueError(f"{tokenizer.name_or_path}: the tokenizer has no end token; set eos_token in its config")
    chunks = Chunks(slice, tokenizer, prompt_writer(slice.prompt, tokenizer, slice.warm_start.max_prompt_tokens))
    examples, dropped = [], Dropped()
    for kept, left_out in DataLoader(chunks, batch_size=None, num_workers=workers):
        examples += kept
        dropped.prompt_too_long += left_out.prompt_too_long
        dropped.completion_too_long += left_out.completion_too_long
    if len(examples) <= slice.warm_start.held_out_tasks:
        raise ValueError(
            f"warm_start: {dropped.prompt_too_long} tasks have prompts longer than max_prompt_tokens "
            f"{slice.warm_start.max_prompt_tokens}, {dropped.completion_too_long} have completions longer than "
            f"max_completion_tokens {slice.warm_start.max_completion_tokens}, and {len(examples)} remain, not more "
            f"than held_out_tasks {slice.warm_start.held_out_tasks}; raise the limits or write more n_tasks"
        )
    return examples, dropped
