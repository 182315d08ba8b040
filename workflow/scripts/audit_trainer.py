"""Score the audited completions with the trainer's forward pass in one dtype, its LM head in this dtype or in float32.

Writes its log-probs at two batch sizes, and log-probs after the sampler's truncation and penalties on its logits.
Not covered: gradients, dropout.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from transformers import AutoTokenizer

from arc_precision.audit.audited import Audited, read_completions, scored_rows
from arc_precision.audit.trainer_side import Policy
from arc_precision.cli import run
from arc_precision.config.audit import AuditTrainerSlice
from arc_precision.config.base import from_words
from arc_precision.contracts.audit_files import AUDIT, batch_variant, setting_name
from arc_precision.contracts.parquet import write_rows
from arc_precision.mismatch.number_format import number_format
from arc_precision.mismatch.processing import processed_logprobs
from arc_precision.model.folder import checkpoint_folders


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slice", nargs="+", required=True, help="AuditTrainerSlice as key=value")
    parser.add_argument("--model", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--rows", type=Path, required=True, help="task file")
    parser.add_argument("--drawn", type=Path, nargs="+", required=True, help="audited completions of each")
    parser.add_argument("--checkpoints", type=Path, nargs="+", required=True, help="files of trained weights")
    parser.add_argument("--outputs", type=Path, nargs="+", required=True, help="of each checkpoint")
    args = parser.parse_args()
    slice = from_words(AuditTrainerSlice, args.slice)

    tokenizer = AutoTokenizer.from_pretrained(args.model)
    for folder, drawn, output in zip(checkpoint_folders(args.checkpoints), args.drawn, args.outputs, strict=True):
        policy = Policy(slice, args.model, folder)
        write_rows(output, AUDIT, scored(slice, policy, read_completions(drawn, args.rows, tokenizer)))


def scored(slice: AuditTrainerSlice, policy: Policy, completions: list[Audited]) -> Iterator[list[dict]]:
    """Rows of `AUDIT`: at both batch sizes, then after the processing of logits."""
    setting = setting_name("trainer", number_format(slice.dtype, slice.head))
    for size, variant in zip(slice.batch_sizes, ("", batch_variant(slice.batch_sizes[1])), strict=True):
        yield scored_rows(completions, setting, variant, policy.logprobs(completions, size))
    if slice.processings:
        for completion, logits in zip(completions, policy.logits(completions), strict=True):
            yield [
                completion.row(
                    setting,
                    processing.name,
                    processed_logprobs(logits, completion.token_ids, completion.prompt_ids, **processing.model_dump()),
                )
                for processing in slice.processings
            ]


run(main)
