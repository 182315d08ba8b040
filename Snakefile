# Float16 against bfloat16 in RL fine-tuning: prepare data, train every arm and seed, evaluate each kept checkpoint,
# take the mismatch apart, write a comparison report.
#
#     snakemake                            the embedded experiment on this machine
#     snakemake --profile condor           the same, GPU steps on an HTCondor pool
#     snakemake --configfile experiments/NAME.yaml
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27")


# Of the working directory (snakemake --directory FOLDER) or else of this clone.
BESIDE = "" if Path("config.yaml").exists() else f"{workflow.basedir}/"


configfile: f"{BESIDE}config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/model.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/mismatch.smk"
include: "workflow/rules/report.smk"


onstart:
    refuse_unusable_results()
    OLD_RESULTS.keep(workflow.dag.needrun_jobs(), workflow.persistence)
    together.keep(GROUPS, Path(RESULTS))


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
