rule train_candidates:
    input:
        tokenizer=f"<results>/{layout.TOKENIZER}",
    output:
        rows=f"<results>/{layout.ROWS.path(set='candidates')}",
        manifest=f"<results>/{layout.ROWS_MANIFEST.path(set='candidates')}",
    log:
        f"<results>/{layout.log('train_candidates')}",
    benchmark:
        f"<results>/{layout.benchmark('train_candidates')}"
    conda:
        ENVIRONMENT
    threads: experiment.resources.data.threads
    resources:
        mem_mb=experiment.resources.data.mem_mb,
        disk_mb=experiment.resources.data.disk_mb,
        runtime=experiment.resources.data.runtime,
        gpu=0,
        model=str(outside.model),
        prompt=str(outside.prompt),
        paths=outside.paths_json(experiment.data.train_on),
    params:
        slice=as_words(slices.candidates(experiment, outside)),
        code=code("train_candidates"),
        pins=pins("train_candidates"),
    message:
        "Preparing training prompts"
    shell:
        'python "$WORKFLOW/scripts/train_candidates.py"'
        " --slice {params.slice:q} --model {resources.model:q} --prompt {resources.prompt:q}"
        " --paths {resources.paths:q} --workers {threads} --output {output.rows} --manifest {output.manifest} 2>&1 | tee {log}"


if experiment.perfectible.enabled:

    rule train_set:
        input:
            candidates=f"<results>/{layout.ROWS.path(set='candidates')}",
            model=f"<results>/{layout.MODEL}",
        output:
            rows=f"<results>/{layout.ROWS.path(set='train')}",
            manifest=f"<results>/{layout.ROWS_MANIFEST.path(set='train')}",
        log:
            f"<results>/{layout.log('train_set')}",
        benchmark:
            f"<results>/{layout.benchmark('train_set')}"
        conda:
            ENVIRONMENT
        threads: experiment.resources.sample.threads
        resources:
            mem_mb=experiment.resources.sample.mem_mb,
            disk_mb=experiment.resources.sample.disk_mb,
            runtime=experiment.resources.sample.runtime,
            gpu=starting.gpus(experiment, experiment.resources.sample),
            launcher=starting.sample_launcher(experiment),
            engine_memory=starting.engine_memory(experiment.resources.sample),
            model=str(outside.model),
        params:
            slice=as_words(experiment.perfectible_slice()),
            code=code("train_set"),
            pins=pins("train_set"),
        message:
            "Keeping the training tasks that the base model solves sometimes"
        shell:
            '{resources.launcher} "$WORKFLOW/scripts/train_set.py"'
            " --slice {params.slice:q} --model {resources.model:q} --candidates {input.candidates}"
            " {resources.engine_memory} --workers {threads}"
            " --output {output.rows} --manifest {output.manifest} 2>&1 | tee {log}"


rule evaluation_set:
    input:
        tokenizer=f"<results>/{layout.TOKENIZER}",
        candidates=f"<results>/{layout.ROWS.path(set='candidates')}",
    output:
        rows=f"<results>/{layout.ROWS}",
        manifest=f"<results>/{layout.ROWS_MANIFEST}",
    log:
        f"<results>/{layout.log('evaluation_set', layout.ROWS)}",
    benchmark:
        f"<results>/{layout.benchmark('evaluation_set', layout.ROWS)}"
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
        model=str(outside.model),
        prompt=str(outside.prompt),
        paths=lambda wildcards: outside.paths_json(
            [experiment.evaluation_sets[wildcards.set].source]
        ),
    params:
        slice=lambda wildcards: as_words(
            slices.evaluation_set(experiment, outside, wildcards.set)
        ),
        code=code("evaluation_set"),
        pins=pins("evaluation_set"),
    message:
        "Preparing evaluation set {wildcards.set}"
    shell:
        'python "$WORKFLOW/scripts/evaluation_set.py"'
        " --slice {params.slice:q} --name {wildcards.set} --model {resources.model:q}"
        " --prompt {resources.prompt:q} --paths {resources.paths:q} --workers {threads} --train {input.candidates}"
        " --output {output.rows} --manifest {output.manifest} 2>&1 | tee {log}"
