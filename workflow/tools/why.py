"""Say for each stale job which setting, file or version made it so, with old and new value (`make why`)."""

import argparse
import warnings
from pathlib import Path

from arc_precision.cli import run

warnings.filterwarnings("ignore", message="The environment variable CONDOR_CONFIG")


def main() -> None:
    from arc_precision.staleness.plan import jobs

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", help="only the job that makes this file")
    parser.add_argument("--configfile", type=Path, nargs="*", default=[], help="experiment laid over config.yaml")
    args = parser.parse_args()

    plan = jobs(Path.cwd(), args.configfile)
    if args.file:
        plan = [job for job in plan if args.file in job.output]
        if not plan:
            raise ValueError(
                f"{args.file}: no job of this experiment makes it; write a path as `snakemake -n` shows it"
            )
    stale = [job for job in plan if job.stale and job.rule != "all"]
    if not stale:
        print("Nothing is stale.")
    # Jobs that only follow others are counted; those with a cause of their own are explained.
    followers = 0
    for job in stale:
        if not job.reasons and not args.file:
            followers += 1
            continue
        print(f"{job.output[0] if job.output else job.rule}  ({job.rule})")
        for reason in job.reasons or job.follows:
            print(f"    {reason}")
    if followers:
        print(f"{followers} more {'job follows' if followers == 1 else 'jobs follow'} from these.")


run(main)
