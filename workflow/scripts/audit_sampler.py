"""Score the audited completions with a sampler in one dtype, the adapter applied beside the base or merged.

In float32 the adapter is always merged: vLLM's adapter kernels on GPUs know half precision only, and in float32 merging
rounds no more than computing does. Not covered: drawing (`audit_draw.py`).
"""

import argparse
from pathlib import Path

from transformers import AutoTokenizer

from arc_precision.audit.audited import read_completions, scored_rows
from arc_precision.audit.sampler_side import audit_sampler, prefill_logprobs
from arc_precision.cli import run
from arc_precision.config.audit import AuditSamplerSlice
from arc_precision.config.base import from_words
from arc_precision.contracts.audit_files import AUDIT, setting_name
from arc_precision.contracts.parquet import write_rows
from arc_precision.sampling.engines import EngineMemory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slice", nargs="+", required=True, help="AuditSamplerSlice as key=value")
    parser.add_argument("--model", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--rows", type=Path, required=True, help="task file")
    parser.add_argument("--drawn", type=Path, required=True, help="audited completions")
    parser.add_argument("--checkpoint", type=Path, nargs="+", required=True, help="files of the trained weights")
    EngineMemory.add_arguments(parser)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    slice = from_words(AuditSamplerSlice, args.slice)

    completions = read_completions(args.drawn, args.rows, AutoTokenizer.from_pretrained(args.model))
    sampler = audit_sampler(
        slice.sampling,
        args.model,
        args.checkpoint[0].parent,
        slice.adapter == "merged" or slice.dtype == "float32",
        slice.dtype,
        slice.device,
        max(len(c.prompt_ids) for c in completions),
        EngineMemory.of(args),
    )
    logprobs = prefill_logprobs(sampler, completions, slice.batch_size)
    setting = setting_name("sampler", slice.dtype, slice.adapter)
    write_rows(args.output, AUDIT, [scored_rows(completions, setting, "", logprobs)])


run(main)
