# Float16 against bfloat16 in RL fine-tuning: prepare data, train every arm and seed, evaluate each kept checkpoint,
# split the mismatch into its causes, write a comparison report.
#
#     snakemake                            the embedded experiment on this machine
#     snakemake --profile condor           the same, GPU steps on an HTCondor pool
#     snakemake --configfile experiments/NAME.yaml
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27")


# This clone, even if workflow/Snakefile includes this file.
ROOT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True))


include: "workflow/rules/common.smk"


# Used with --sdm apptainer alone, from the working directory; docs/clusters.md builds it from envs/Containerfile.
container: f"envs/arc-precision-{STACK}.sif"


include: "workflow/rules/data.smk"
include: "workflow/rules/model.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/mismatch.smk"
include: "workflow/rules/report.smk"


onstart:
    refuse_unusable_results()
    OLD_RESULTS.keep(workflow.dag.needrun_jobs(), workflow.persistence)
    seed_groups.keep(GROUPS, Path(RESULTS))


onsuccess:
    OLD_RESULTS.forget()
    tidy(Path(RESULTS), experiment.retention)


onerror:
    OLD_RESULTS.put_back_failed(workflow.persistence)


localrules:
    all,


rule all:
    default_target: True
    input:
        f"<results>/{layout.REPORT_PAGE}",
