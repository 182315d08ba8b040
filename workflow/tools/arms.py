"""A table of the arms that are run: the levels of their factors, and the differences between them (`make arms`)."""

import argparse
import warnings
from pathlib import Path

import pandas as pd

from arc_precision.cli import run

warnings.filterwarnings("ignore", message="The environment variable CONDOR_CONFIG")


def main() -> None:
    from arc_precision.report.runs import differences
    from arc_precision.staleness.plan import experiment_of

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configfile", type=Path, nargs="*", default=[], help="experiment laid over config.yaml")
    args = parser.parse_args()

    experiment = experiment_of(Path.cwd(), args.configfile)
    slice = experiment.report_slice()
    table = pd.DataFrame(index=pd.Index(slice.run_arms, name="arm"))
    for name, levels_of in slice.grids.items():
        for factor in experiment.arm_grids[name].factors:
            table[f"{name}: {factor}"] = pd.Series({arm: levels[factor] for arm, levels in levels_of.items()})
    for key, values in differences(slice.arms).items():
        table[key] = pd.Series(values, dtype=object)
    print(table.fillna("-").reset_index().to_string(index=False))


run(main)
