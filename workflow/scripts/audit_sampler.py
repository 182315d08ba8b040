"""Score the audited completions with a sampler in one dtype, the adapter applied beside the base or merged.

In float32 the adapter is always merged: vLLM's adapter kernels on GPUs know half precision only, and in float32 merging
rounds no more than computing does. Not covered: drawing (`audit_draw.py`).
"""

import argparse
from pathlib import Path

from transformers import AutoTokenizer

from arc_precision.audit.audited import read_completions, scored_rows
from arc_precision.audit.sampler_side import audit_sampler, load_checkpoint, prefill_logprobs
from arc_precision.cli import run
from arc_precision.config.audit import AuditSamplerSlice
from arc_precision.config.base import from_words
from arc_precision.contracts.audit_files import AUDIT, setting_name
from arc_precision.contracts.parquet import write_rows
from arc_precision.mismatch.number_format import number_format
from arc_precision.model.folder import checkpoint_folders
from arc_precision.sampling.engines import EngineMemory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slice", nargs="+", required=True, help="AuditSamplerSlice as key=value")
    parser.add_argument("--model", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--rows", type=Path, required=True, help="task file")
    parser.add_argument("--drawn", type=Path, nargs="+", required=True, help="audited completions of each")
    parser.add_argument("--checkpoints", type=Path, nargs="+", required=True, help="files of trained weights")
    EngineMemory.add_arguments(parser)
    parser.add_argument("--outputs", type=Path, nargs="+", required=True, help="of each checkpoint")
    args = parser.parse_args()
    slice = from_words(AuditSamplerSlice, args.slice)

    tokenizer = AutoTokenizer.from_pretrained(args.model)
    drawn = [read_completions(path, args.rows, tokenizer) for path in args.drawn]
    checkpoints = checkpoint_folders(args.checkpoints)
    merged = slice.adapter == "merged" or slice.dtype == "float32"
    sampler = audit_sampler(
        slice.sampling,
        args.model,
        checkpoints[0],
        merged,
        slice.dtype,
        slice.device,
        max(len(c.prompt_ids) for completions in drawn for c in completions),
        EngineMemory.of(args),
    )
    setting = setting_name("sampler", number_format(slice.dtype, slice.sampling.head_dtype), slice.adapter)
    for folder, completions, output in zip(checkpoints, drawn, args.outputs, strict=True):
        load_checkpoint(sampler, args.model, folder, merged)
        logprobs = prefill_logprobs(sampler, completions, slice.batch_size)
        write_rows(output, AUDIT, [scored_rows(completions, setting, "", logprobs)])


run(main)
