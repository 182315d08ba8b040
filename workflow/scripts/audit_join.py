"""Join the audited log-probs of a checkpoint: why trainer and sampler disagree, cause by cause.

Writes chain.json; `arc_precision/contracts/audit_files.py` describes its keys. Not covered: several checkpoints or
seeds together, which is the report's work.
"""

import argparse
import json
from pathlib import Path

from arc_precision.audit.join import chain
from arc_precision.cli import run
from arc_precision.config.audit import AuditJoinSlice
from arc_precision.config.base import from_words


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slice", nargs="+", required=True, help="AuditJoinSlice as key=value")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("scored", type=Path, nargs="+", help="Parquet files of the audit")
    args = parser.parse_args()
    joined = chain(from_words(AuditJoinSlice, args.slice), args.scored)
    args.output.write_text(json.dumps(joined, indent=1, allow_nan=False) + "\n")


run(main)
