"""Draw the audited completions with an arm's own sampler and score them with the same engine.

Writes their log-probs as sampled (decode), recomputed in one pass (prefill), and the latter with another batch size.
Not covered: other engines and dtypes (`audit_trainer.py`, `audit_sampler.py`).
"""

import argparse
from pathlib import Path

from transformers import AutoTokenizer

from arc_precision.audit.completions import Audited, read_prompts, scored_rows
from arc_precision.audit.engines import make_engine, prefill_logprobs
from arc_precision.cli import run
from arc_precision.config.audit import AuditDrawSlice
from arc_precision.config.base import from_settings
from arc_precision.contracts.audit import AUDIT, batch_variant, setting_name
from arc_precision.contracts.parquet import write_rows
from arc_precision.sampling.engines import EngineMemory, completion_seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cfg", nargs="+", required=True, help="AuditDrawSlice as key=value")
    parser.add_argument("--model", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--rows", type=Path, required=True, help="task file")
    parser.add_argument("--checkpoint", type=Path, nargs="+", required=True, help="files of the trained weights")
    EngineMemory.add_arguments(parser)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    cfg = from_settings(AuditDrawSlice, args.cfg)

    prompts = read_prompts(args.rows, AutoTokenizer.from_pretrained(args.model), cfg.n_prompts)
    if not prompts:
        raise ValueError(f"{args.rows}: no prompts to audit; choose another audit.set or allow longer prompts in it")
    sampler = make_engine(
        cfg.sampling,
        args.model,
        args.checkpoint[0].parent,
        cfg.merged,
        cfg.dtype,
        cfg.device,
        max(map(len, prompts.values())),
        EngineMemory.of(args),
    )

    keys = [(row_id, sample) for row_id in prompts for sample in range(cfg.n_samples)]
    seeds = [completion_seed(cfg.seed, index) for index in range(len(keys))]
    drawn = sampler.generate([prompts[row_id] for row_id, _ in keys], seeds)
    completions = [
        Audited(row_id, sample, prompts[row_id], completion.token_ids)
        for (row_id, sample), completion in zip(keys, drawn, strict=True)
    ]
    adapter = "merged" if cfg.merged else "applied"
    prefill = setting_name("sampler", cfg.dtype, adapter)
    decode = setting_name("sampler", cfg.dtype, adapter, "decode")
    batches = [scored_rows(completions, decode, "", [completion.logprobs for completion in drawn])]
    for size, variant in zip(cfg.batch_sizes, ("", batch_variant(cfg.batch_sizes[1])), strict=True):
        logprobs = prefill_logprobs(sampler, completions, size)
        batches.append(scored_rows(completions, prefill, variant, logprobs))
    write_rows(args.output, AUDIT, batches)


run(main)
