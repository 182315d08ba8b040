# Float16 against bfloat16 in RL fine-tuning: prepare data, train every arm and seed, evaluate each kept checkpoint,
# take the mismatch apart, write a comparison report.
#
#     snakemake                            the embedded experiment on this machine
#     snakemake --profile condor           the same, GPU steps on an HTCondor pool
#     snakemake --configfile experiments/NAME.yaml
from snakemake.utils import min_version

min_version("9.27")


configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/model.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/mismatch.smk"
include: "workflow/rules/report.smk"


onstart:
    refuse_full_disk()
    OLD_RESULTS.keep(workflow.dag.needrun_jobs(), workflow.persistence)


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
        "<results>/report/report.html",
