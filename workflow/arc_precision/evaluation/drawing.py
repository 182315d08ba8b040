"""Completions for the rows of a task file, a chunk of prompts at a time."""

from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm
from transformers import AutoTokenizer

from arc_precision.sampling.engines import Sampler, completion_seed

CHUNK_PROMPTS = 64


def draw(sampler: Sampler, model_path: Path, rows: list[dict], n_samples: int, seed: int) -> Iterator[list[dict]]:
    """Batches of sample rows, in the order of the task rows; `n_samples` per row.

    The seed of a completion comes from `seed`, the row's place in the file and the sample's number, so neither the
    chunks nor the checkpoint change it.
    """
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    with tqdm(total=len(rows) * n_samples, desc="sample", unit="completion") as bar:
        for first in range(0, len(rows), CHUNK_PROMPTS):
            chunk = rows[first : first + CHUNK_PROMPTS]
            prompts = tokenizer([row["prompt"] for row in chunk], add_special_tokens=False)["input_ids"]
            keys = [(index, sample) for index in range(len(chunk)) for sample in range(n_samples)]
            completions = sampler.generate(
                [prompts[index] for index, _ in keys],
                [completion_seed(seed, first + index, sample) for index, sample in keys],
            )
            texts = tokenizer.batch_decode([c.token_ids for c in completions], skip_special_tokens=True)
            yield [
                {
                    "row_id": chunk[index]["row_id"],
                    "sample": sample,
                    "completion": text,
                    "token_ids": completion.token_ids,
                    "logprobs": completion.logprobs,
                    "truncated": completion.truncated,
                }
                for (index, sample), completion, text in zip(keys, completions, texts, strict=True)
            ]
            bar.update(len(keys))
