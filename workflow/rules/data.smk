rule train_candidates:
    input:
        script=script("train_candidates"),
        code=code("train_candidates"),
        tokenizer="<results>/model/tokenizer.json",
    output:
        rows="<results>/data/candidates.parquet",
        manifest="<results>/data/candidates.json",
    log:
        "<results>/logs/train_candidates.log",
    benchmark:
        "<results>/benchmarks/train_candidates.tsv"
    params:
        cfg=canonical(candidates_slice()),
        pins=pins("train_candidates"),
    threads: experiment.resources.data.threads
    resources:
        mem_mb=experiment.resources.data.mem_mb,
        disk_mb=experiment.resources.data.disk_mb,
        runtime=experiment.resources.data.runtime,
        gpu=0,
        model=experiment.model.path,
        paths=source_paths(experiment.data.train_on),
    conda:
        ENVIRONMENT
    message:
        "Preparing training prompts"
    shell:
        "python {input.script} --cfg {params.cfg:q} --model {resources.model:q}"
        " --workers {threads} --output {output.rows} --manifest {output.manifest} 2>&1 | tee {log}"


if experiment.perfectible.enabled:

    rule train_set:
        input:
            script=script("train_set"),
            code=code("train_set"),
            candidates="<results>/data/candidates.parquet",
            model="<results>/model/manifest.json",
        output:
            rows="<results>/data/train.parquet",
            manifest="<results>/data/train.json",
        log:
            "<results>/logs/train_set.log",
        benchmark:
            "<results>/benchmarks/train_set.tsv"
        params:
            cfg=canonical(experiment.perfectible_slice()),
            pins=pins("train_set"),
        threads: experiment.resources.sample.threads
        resources:
            mem_mb=experiment.resources.sample.mem_mb,
            disk_mb=experiment.resources.sample.disk_mb,
            runtime=experiment.resources.sample.runtime,
            gpu=gpus(experiment.resources.sample),
            gpu_memory_percent=experiment.resources.sample.gpu_memory_percent,
            model=experiment.model.path,
        conda:
            ENVIRONMENT
        message:
            "Keeping the training tasks that the base model solves sometimes"
        shell:
            "python {input.script} --cfg {params.cfg:q} --model {resources.model:q} --candidates {input.candidates}"
            " --gpu-memory-percent {resources.gpu_memory_percent} --workers {threads}"
            " --output {output.rows} --manifest {output.manifest} 2>&1 | tee {log}"


rule evaluation_set:
    input:
        script=script("evaluation_set"),
        code=code("evaluation_set"),
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
    params:
        cfg=evaluation_set_cfg,
        pins=pins("evaluation_set"),
    threads: experiment.resources.data.threads
    resources:
        mem_mb=experiment.resources.data.mem_mb,
        disk_mb=experiment.resources.data.disk_mb,
        runtime=experiment.resources.data.runtime,
        gpu=0,
        model=experiment.model.path,
        paths=evaluation_set_paths,
    conda:
        ENVIRONMENT
    message:
        "Preparing evaluation set {wildcards.set}"
    shell:
        "python {input.script} --cfg {params.cfg:q} --name {wildcards.set} --model {resources.model:q}"
        " --train {input.candidates}"
        " --output {output.rows} --manifest {output.manifest} 2>&1 | tee {log}"
