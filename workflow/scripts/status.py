"""A table of every run: steps done, last reward, state, what is stale, disk used (`make status`)."""

import argparse
import warnings
from pathlib import Path

from arc_precision.cli import run

warnings.filterwarnings("ignore", message="The environment variable CONDOR_CONFIG")


def main() -> None:
    from arc_precision.contracts.steps import STEP, read_facts, read_run
    from arc_precision.staleness.plan import experiment_of, jobs, running_outputs

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configfile", type=Path, nargs="*", default=[], help="experiment laid over config.yaml")
    args = parser.parse_args()

    root = Path.cwd()
    experiment = experiment_of(root, args.configfile)
    results = root / "results" / experiment.experiment
    plan = jobs(root, args.configfile)
    running = running_outputs(root)
    print(f"{'run':<24} {'steps':>13} {'reward':>7}  {'state':<10} {'running':<8} {'stale jobs':>10} {'disk':>9}")
    for arm in experiment.run_arms:
        for seed in experiment.seeds:
            name = f"{arm}/seed-{seed}"
            folder = results / "runs" / name
            files = sorted(folder.glob("steps-*.jsonl"), key=lambda path: int(path.stem.split("-")[1]))
            facts = sorted(folder.glob("facts-*.json"), key=lambda path: int(path.stem.split("-")[1]))
            rows = read_run(files, facts, STEP, running=True)
            state = read_facts(facts[-1])["status"] if facts else "not begun"
            if state == "running" and rows and rows[-1]["step"] >= experiment.max_steps:
                state = "finished"
            mine = [job for job in plan if any(f"/{name}/" in output for output in job.output)]
            busy = sum(any(output in running for output in job.output) for job in mine)
            stale = sum(job.stale for job in mine)
            disk = sum(
                path.stat().st_size for path in results.rglob("*") if path.is_file() and f"/{name}/" in str(path)
            )
            done = f"{rows[-1]['step'] if rows else 0} of {experiment.max_steps}"
            reward = f"{rows[-1]['reward_mean']:.2f}" if rows and rows[-1]["reward_mean"] is not None else "-"
            print(f"{name:<24} {done:>13} {reward:>7}  {state:<10} {busy or '-':<8} {stale:>10} {disk / 1e6:>6.1f} MB")
    others = sum(job.stale for job in plan if job.rule != "all" and not any("/seed-" in o for o in job.output))
    print(f"Stale jobs that belong to no run: {others}")


run(main)
