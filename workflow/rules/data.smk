rule train_candidates:
    input:
        tokenizer="<results>/model/tokenizer.json",
    output:
        rows="<results>/data/candidates.parquet",
        manifest="<results>/data/candidates.json",
    log:
        "<results>/logs/train_candidates.log",
    benchmark:
        "<results>/benchmarks/train_candidates.tsv"
    conda:
        ENVIRONMENT
    threads: experiment.resources.data.threads
    resources:
        mem_mb=experiment.resources.data.mem_mb,
        disk_mb=experiment.resources.data.disk_mb,
        runtime=experiment.resources.data.runtime,
        gpu=0,
        model=experiment.model.path,
        paths=source_paths(experiment.data.train_on),
    params:
        cfg=settings(candidates_slice()),
        code=code("train_candidates"),
        pins=pins("train_candidates"),
    message:
        "Preparing training prompts"
    shell:
        "python workflow/scripts/train_candidates.py --cfg {params.cfg:q} --model {resources.model:q} --paths {resources.paths:q}"
        " --workers {threads} --output {output.rows} --manifest {output.manifest} 2>&1 | tee {log}"


if experiment.perfectible.enabled:

    rule train_set:
        input:
            candidates="<results>/data/candidates.parquet",
            model="<results>/model/manifest.json",
        output:
            rows="<results>/data/train.parquet",
            manifest="<results>/data/train.json",
        log:
            "<results>/logs/train_set.log",
        benchmark:
            "<results>/benchmarks/train_set.tsv"
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
            cfg=settings(experiment.perfectible_slice()),
            code=code("train_set"),
            pins=pins("train_set"),
        message:
            "Keeping the training tasks that the base model solves sometimes"
        shell:
            "{resources.launcher} workflow/scripts/train_set.py --cfg {params.cfg:q} --model {resources.model:q} --candidates {input.candidates}"
            " {resources.engine_memory} --workers {threads}"
            " --output {output.rows} --manifest {output.manifest} 2>&1 | tee {log}"


rule evaluation_set:
    input:
        tokenizer="<results>/model/tokenizer.json",
        candidates="<results>/data/candidates.parquet",
    output:
        rows="<results>/data/{set}.parquet",
        manifest="<results>/data/{set}.json",
    log:
        "<results>/logs/evaluation_set/{set}.log",
    benchmark:
        "<results>/benchmarks/evaluation_set/{set}.tsv"
    wildcard_constraints:
        set="(?!candidates|train$)[A-Za-z0-9_-]+",
    conda:
        ENVIRONMENT
    threads: experiment.resources.data.threads
    resources:
        mem_mb=experiment.resources.data.mem_mb,
        disk_mb=experiment.resources.data.disk_mb,
        runtime=experiment.resources.data.runtime,
        gpu=0,
        model=experiment.model.path,
        paths=evaluation_set_paths,
    params:
        cfg=evaluation_set_cfg,
        code=code("evaluation_set"),
        pins=pins("evaluation_set"),
    message:
        "Preparing evaluation set {wildcards.set}"
    shell:
        "python workflow/scripts/evaluation_set.py --cfg {params.cfg:q} --name {wildcards.set} --model {resources.model:q}"
        " --paths {resources.paths:q} --workers {threads} --train {input.candidates}"
        " --output {output.rows} --manifest {output.manifest} 2>&1 | tee {log}"
