"""Score the audited completions with the trainer's forward pass in one dtype.

Writes its log-probs at two batch sizes, and what truncation and penalties of the sampler would make of its logits.
Not covered: gradients, dropout.
"""

import argparse
from pathlib import Path

from transformers import AutoTokenizer

from arc_precision.audit.audited import read_completions, scored_rows
from arc_precision.audit.trainer_side import Policy
from arc_precision.cli import run
from arc_precision.config.audit import AuditTrainerSlice
from arc_precision.config.base import from_words
from arc_precision.contracts.audit_files import AUDIT, batch_variant, setting_name
from arc_precision.contracts.parquet import write_rows
from arc_precision.mismatch.processing import processed_logprobs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slice", nargs="+", required=True, help="AuditTrainerSlice as key=value")
    parser.add_argument("--model", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--rows", type=Path, required=True, help="task file")
    parser.add_argument("--drawn", type=Path, required=True, help="audited completions")
    parser.add_argument("--checkpoint", type=Path, nargs="+", required=True, help="files of the trained weights")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    slice = from_words(AuditTrainerSlice, args.slice)

    completions = read_completions(args.drawn, args.rows, AutoTokenizer.from_pretrained(args.model))
    policy = Policy(slice, args.model, args.checkpoint[0].parent)
    setting = setting_name("trainer", slice.dtype)
    batches = []
    for size, variant in zip(slice.batch_sizes, ("", batch_variant(slice.batch_sizes[1])), strict=True):
        batches.append(scored_rows(completions, setting, variant, policy.logprobs(completions, size)))
    if slice.processings:
        for completion, logits in zip(completions, policy.logits(completions), strict=True):
            batches.append(
                [
                    completion.row(
                        setting,
                        processing.name,
                        processed_logprobs(
                            logits, completion.token_ids, completion.prompt_ids, **processing.model_dump()
                        ),
                    )
                    for processing in slice.processings
                ]
            )
    write_rows(args.output, AUDIT, batches)


run(main)
