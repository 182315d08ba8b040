# Completions need the model, verdicts do not: changing a reward or a limit never draws again.
rule sample:
    input:
        model="<results>/model/manifest.json",
        rows="<results>/data/{set}.parquet",
        adapter=sampled_adapter,
    output:
        "<results>/samples/{run}/step-{step}/{set}.{dtype}.parquet",
    log:
        "<results>/logs/sample/{run}/step-{step}/{set}.{dtype}.log",
    benchmark:
        "<results>/benchmarks/sample/{run}/step-{step}/{set}.{dtype}.tsv"
    conda:
        ENVIRONMENT
    threads: experiment.resources.sample.threads
    resources:
        mem_mb=experiment.resources.sample.mem_mb,
        disk_mb=experiment.resources.sample.disk_mb,
        runtime=experiment.resources.sample.runtime,
        gpu=gpus(experiment.resources.sample),
        launcher=launcher(experiment.resources.sample),
        engine_memory=engine_memory(experiment.resources.sample),
        model=experiment.model.path,
    params:
        cfg=sample_cfg,
        code=code("sample"),
        pins=pins("sample"),
    message:
        "Sampling {wildcards.set} from {wildcards.run} at step {wildcards.step} in {wildcards.dtype}"
    shell:
        "{resources.launcher} workflow/scripts/sample.py --cfg {params.cfg:q} --model {resources.model:q} --rows {input.rows}"
        " --adapter {input.adapter} {resources.engine_memory}"
        " --output {output} 2>&1 | tee {log}"


rule score:
    input:
        rows="<results>/data/{set}.parquet",
        samples="<results>/samples/{run}/step-{step}/{set}.{dtype}.parquet",
    output:
        "<results>/scores/{run}/step-{step}/{set}.{dtype}.parquet",
    log:
        "<results>/logs/score/{run}/step-{step}/{set}.{dtype}.log",
    benchmark:
        "<results>/benchmarks/score/{run}/step-{step}/{set}.{dtype}.tsv"
    conda:
        ENVIRONMENT
    threads: experiment.resources.score.threads
    resources:
        mem_mb=experiment.resources.score.mem_mb,
        disk_mb=experiment.resources.score.disk_mb,
        runtime=experiment.resources.score.runtime,
        gpu=0,
    params:
        cfg=settings(experiment.score_slice()),
        code=code("score"),
        pins=pins("score"),
    message:
        "Scoring {wildcards.set} from {wildcards.run} at step {wildcards.step} in {wildcards.dtype}"
    shell:
        "python workflow/scripts/score.py --cfg {params.cfg:q} --rows {input.rows} --samples {input.samples} --workers {threads}"
        " --output {output} 2>&1 | tee {log}"


# A target: what the base model solves, without training anything.
rule base:
    input:
        [
            f"<results>/scores/base/step-0/{name}.{experiment.evaluation.common_dtype}.parquet"
            for name in experiment.evaluate_on
        ],
    localrule: True
