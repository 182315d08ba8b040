"""Draw the audited completions with an arm's own sampler and score them with the same sampler.

Writes their log-probs as sampled (decode), recomputed in one pass (prefill), and recomputed with another batch size.
Not covered: other engines and dtypes (`audit_trainer.py`, `audit_sampler.py`).
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from transformers import AutoTokenizer

from arc_precision.audit.audited import Audited, read_prompts, scored_rows
from arc_precision.audit.sampler_side import audit_sampler, load_checkpoint, prefill_logprobs
from arc_precision.cli import run
from arc_precision.config.audit import AuditDrawSlice
from arc_precision.config.base import from_words
from arc_precision.contracts.audit_files import AUDIT, batch_variant, setting_name
from arc_precision.contracts.parquet import write_rows
from arc_precision.mismatch.number_format import number_format
from arc_precision.model.folder import checkpoint_folders
from arc_precision.sampling.engines import EngineMemory, Sampler, completion_seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slice", nargs="+", required=True, help="AuditDrawSlice as key=value")
    parser.add_argument("--model", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--rows", type=Path, required=True, help="task file")
    parser.add_argument("--checkpoints", type=Path, nargs="+", required=True, help="files of trained weights")
    EngineMemory.add_arguments(parser)
    parser.add_argument("--outputs", type=Path, nargs="+", required=True, help="of each checkpoint")
    args = parser.parse_args()
    slice = from_words(AuditDrawSlice, args.slice)

    prompts = read_prompts(args.rows, AutoTokenizer.from_pretrained(args.model), slice.n_prompts)
    if not prompts:
        raise ValueError(f"{args.rows}: no prompts to audit; choose another audit.set or allow longer prompts in it")
    checkpoints = checkpoint_folders(args.checkpoints)
    sampler = audit_sampler(
        slice.sampling,
        args.model,
        checkpoints[0],
        slice.merged,
        slice.dtype,
        slice.device,
        max(map(len, prompts.values())),
        EngineMemory.of(args),
    )
    for folder, output in zip(checkpoints, args.outputs, strict=True):
        load_checkpoint(sampler, args.model, folder, slice.merged)
        write_rows(output, AUDIT, drawn_and_scored(slice, sampler, prompts))


def drawn_and_scored(slice: AuditDrawSlice, sampler: Sampler, prompts: dict[str, list[int]]) -> Iterator[list[dict]]:
    """Rows of `AUDIT`: as sampled, recomputed, and recomputed with the other batch size."""
    keys = [(row_id, sample) for row_id in prompts for sample in range(slice.n_samples)]
    seeds = [completion_seed(slice.seed, index) for index in range(len(keys))]
    drawn = sampler.generate([prompts[row_id] for row_id, _ in keys], seeds)
    completions = [
        Audited(row_id, sample, prompts[row_id], completion.token_ids)
        for (row_id, sample), completion in zip(keys, drawn, strict=True)
    ]
    adapter = "merged" if slice.merged else "applied"
    form = number_format(slice.dtype, slice.sampling.head_dtype)
    storage = "float8" if slice.sampling.in_float8 else "plain"
    prefill, decode = (setting_name("sampler", form, adapter, phase, storage) for phase in ("prefill", "decode"))
    yield scored_rows(completions, decode, "", [completion.logprobs for completion in drawn])
    for size, variant in zip(slice.batch_sizes, ("", batch_variant(slice.batch_sizes[1])), strict=True):
        yield scored_rows(completions, prefill, variant, prefill_logprobs(sampler, completions, size))


run(main)
