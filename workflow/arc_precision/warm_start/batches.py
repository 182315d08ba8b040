"""The examples of each step, and the tensors of a batch."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random

import torch

from arc_precision.warm_start.examples import Example

POOL_EXAMPLES = 2000
"""Number of examples that are sorted by length together: large, so that batches have little padding."""

IGNORED = -100
"""Label of a token that the loss leaves out."""


def plan_batches(lengths: list[int], batch_tokens: int, steps: int, seed: int) -> list[list[int]]:
    """Indices of the examples of each step.

    An example is used again only after all others. Batches hold examples of similar length, in random order.
    """
    return list(islice(_endless_batches(lengths, batch_tokens, Random(seed)), steps))


def _endless_batches(lengths: list[int], batch_tokens: int, rng: Random) -> Iterator[list[int]]:
    while True:
        order = list(range(len(lengths)))
        rng.shuffle(order)
        epoch: list[list[int]] = []
        for start in range(0, len(order), POOL_EXAMPLES):
            pool = sorted(order[start : start + POOL_EXAMPLES], key=lengths.__getitem__)
            epoch += in_batches(pool, lengths, batch_tokens)
        rng.shuffle(epoch)
        yield from epoch


def in_batches(order: list[int], lengths: list[int], batch_tokens: int) -> list[list[int]]:
    """Runs of the order that have at most `batch_tokens` when padded to their longest."""
    batches: list[list[int]] = []
    longest = 0
    for index in order:
        longest = max(longest, lengths[index])
        if not batches or (len(batches[-1]) + 1) * longest > batch_tokens:
            batches.append([])
            longest = lengths[index]
        batches[-1].append(index)
    return batches


@dataclass(frozen=True)
class Collator:
    """A row of indices to the tensors of its batch."""

    examples: list[Example]
    pad_id: int

    def __call__(self, rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        """`input_ids`, `labels`, `position_ids`: int64 (examples, tokens of the longest).

        Padding is on the right, so causal attention needs no mask, and without a mask it is fastest.
        """
        (row,) = rows
        chosen = [self.examples[index] for index in row["examples"]]
        shape = len(chosen), max(len(example.ids) for example in chosen)
        ids, labels = torch.full(shape, self.pad_id), torch.full(shape, IGNORED)
        for i, example in enumerate(chosen):
            tokens = torch.from_numpy(example.ids).long()
            ids[i, : len(tokens)] = tokens
            labels[i, example.n_prompt : len(tokens)] = tokens[example.n_prompt :]
        positions = torch.arange(shape[1]).expand(shape).contiguous()
        return {"input_ids": ids, "labels": labels, "position_ids": positions}
