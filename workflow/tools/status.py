"""A table of every run: steps done, last reward, state, stale jobs, disk used (`make status`)."""

import argparse
import warnings
from pathlib import Path

from arc_precision.cli import run
from arc_precision.contracts import layout

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
            name = layout.run_name(arm, seed)
            mine = {"arm": arm, "seed": str(seed)}
            steps, facts = (
                [path for path, values in kind.find(results) if mine.items() <= values.items()]
                for kind in (layout.STEPS, layout.FACTS)
            )
            rows = read_run(steps, facts, STEP, running=True)
            state = read_facts(facts[-1])["status"] if facts else "not begun"
            if state == "running" and rows and rows[-1]["step"] >= experiment.max_steps:
                state = "finished"
            jobs_of_run = [job for job in plan if any(layout.belongs_to(output, name) for output in job.output)]
            busy = sum(any(output in running for output in job.output) for job in jobs_of_run)
            stale = sum(job.stale for job in jobs_of_run)
            disk = sum(
                path.stat().st_size
                for path in results.rglob("*")
                if path.is_file() and layout.belongs_to(str(path), name)
            )
            done = f"{rows[-1]['step'] if rows else 0} of {experiment.max_steps}"
            reward = f"{rows[-1]['reward_mean']:.2f}" if rows and rows[-1]["reward_mean"] is not None else "-"
            print(f"{name:<24} {done:>13} {reward:>7}  {state:<10} {busy or '-':<8} {stale:>10} {disk / 1e6:>6.1f} MB")
    runs = [layout.run_name(arm, seed) for arm in experiment.run_arms for seed in experiment.seeds]
    others = sum(
        job.stale and job.rule != "all" and not any(layout.belongs_to(o, run) for o in job.output for run in runs)
        for job in plan
    )
    print(f"Stale jobs that belong to no run: {others}")


run(main)
