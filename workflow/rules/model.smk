# The weights stay where they are. Two small files with the SHA-256 of each file stand for them in the pipeline.
rule model_manifest:
    output:
        model=f"<results>/{layout.MODEL}",
        tokenizer=f"<results>/{layout.TOKENIZER}",
    log:
        f"<results>/{layout.log('model_manifest')}",
    conda:
        ENVIRONMENT
    resources:
        path=str(outside.model),
        prompt=str(outside.prompt),
        on_hub=outside.on_hub or "",
    params:
        on_hub=f"model on the Hub={outside.on_hub}",
        prompt=f"prompt={outside.prompt_digest()}",
        model=outside.digest_lines(outside.weights),
        tokenizer=outside.digest_lines(outside.tokenizer),
        code=code("model_manifest"),
        pins=pins("model_manifest"),
    message:
        "Describing the base model"
    shell:
        'python "$WORKFLOW/scripts/model_manifest.py"'
        " --path {resources.path:q} --on-hub={resources.on_hub:q} --prompt {resources.prompt:q} --model-files {params.model:q}"
        " --tokenizer-files {params.tokenizer:q} --output-model {output.model} --output-tokenizer {output.tokenizer}"
        " 2>&1 | tee {log}"


# The recipe of resources/tiny-arc. No other rule asks for it: model.path names a folder that is there.
rule pretrain:
    output:
        model=f"<results>/{layout.PRETRAINED.path(name='model.safetensors')}",
        config=f"<results>/{layout.PRETRAINED.path(name='config.json')}",
        generation=f"<results>/{layout.PRETRAINED.path(name='generation_config.json')}",
        tokenizer=f"<results>/{layout.PRETRAINED.path(name='tokenizer.json')}",
        tokenizer_config=f"<results>/{layout.PRETRAINED.path(name='tokenizer_config.json')}",
        metrics=f"<results>/{layout.PRETRAINED.path(name='metrics.json')}",
        sums=f"<results>/{layout.PRETRAINED.path(name='SHA256SUMS')}",
        history=f"<results>/{layout.PRETRAINED.path(name='log.jsonl')}",
    log:
        f"<results>/{layout.log('pretrain')}",
    benchmark:
        f"<results>/{layout.benchmark('pretrain')}"
    conda:
        ENVIRONMENT
    threads: experiment.resources.pretrain.threads
    resources:
        mem_mb=experiment.resources.pretrain.mem_mb,
        disk_mb=experiment.resources.pretrain.disk_mb,
        runtime=experiment.resources.pretrain.runtime,
        gpu=starting.gpus(experiment, experiment.resources.pretrain),
        launcher=starting.launcher(
            starting.gpus(experiment, experiment.resources.pretrain)
        ),
    params:
        slice=as_words(experiment.pretrain),
        code=code("pretrain"),
        pins=pins("pretrain"),
    message:
        "Training the tiny base model from scratch"
    shell:
        '{resources.launcher} "$WORKFLOW/scripts/pretrain.py"'
        " --slice {params.slice:q} --workers $(({threads} - 1))"
        " --output-dir $(dirname {output.model}) --log-jsonl {output.history} 2>&1 | tee {log}"


# A model to start from instead of model.path's, with its card. No other rule asks for it: an experiment names the finished
# folder.
rule warm_start:
    input:
        metrics=f"<results>/{layout.WARM_STARTED.path(name='metrics.json')}",
        history=f"<results>/{layout.WARM_START_HISTORY}",
        before=f"<results>/{layout.WARM_START_TRIAL.path(when='before')}",
        after=f"<results>/{layout.WARM_START_TRIAL.path(when='after')}",
    output:
        card=f"<results>/{layout.WARM_STARTED.path(name='README.md')}",
        figure=f"<results>/{layout.WARM_START_LOSS}",
    log:
        f"<results>/{layout.log('warm_start')}",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=experiment.resources.report.mem_mb,
        runtime=experiment.resources.report.runtime,
        gpu=0,
    params:
        name=outside.model.name,
        code=code("warm_start"),
        pins=pins("warm_start"),
    message:
        "Writing the card of the warmed-up model"
    shell:
        'python "$WORKFLOW/scripts/warm_start.py"'
        " --name {params.name:q} --metrics {input.metrics} --history {input.history} --before {input.before}"
        " --after {input.after} --figure {output.figure} --card {output.card} 2>&1 | tee {log}"


rule warm_start_fit:
    output:
        model=f"<results>/{layout.WARM_STARTED.path(name='model.safetensors')}",
        config=f"<results>/{layout.WARM_STARTED.path(name='config.json')}",
        tokenizer=[
            f"<results>/{layout.WARM_STARTED.path(name=file.name)}"
            for file in outside.tokenizer
        ],
        metrics=f"<results>/{layout.WARM_STARTED.path(name='metrics.json')}",
        sums=f"<results>/{layout.WARM_STARTED.path(name='SHA256SUMS')}",
        history=f"<results>/{layout.WARM_START_HISTORY}",
    log:
        f"<results>/{layout.log('warm_start_fit')}",
    benchmark:
        f"<results>/{layout.benchmark('warm_start_fit')}"
    conda:
        ENVIRONMENT
    threads: experiment.resources.warm_start.threads
    resources:
        path=str(outside.model),
        prompt=str(outside.prompt),
        source=(
            f"--source-path {shlex.quote(outside.located(experiment.warm_start.barc).path)}"
            if experiment.warm_start.barc
            else ""
        ),
        mem_mb=experiment.resources.warm_start.mem_mb,
        disk_mb=experiment.resources.warm_start.disk_mb,
        runtime=experiment.resources.warm_start.runtime,
        gpu=starting.gpus(experiment, experiment.resources.warm_start),
        launcher=starting.launcher(
            starting.gpus(experiment, experiment.resources.warm_start)
        ),
    params:
        slice=as_words(slices.warm_start(experiment, outside)),
        model=outside.digest_lines(outside.weights + outside.tokenizer),
        code=code("warm_start_fit"),
        pins=pins("warm_start_fit"),
    message:
        "Fine-tuning {resources.path} on tasks and their programs"
    shell:
        '{resources.launcher} "$WORKFLOW/scripts/warm_start_fit.py"'
        " --slice {params.slice:q} --model {resources.path:q} --prompt {resources.prompt:q} {resources.source}"
        " --model-files {params.model:q} --workers $(({threads} - 1)) --output-dir $(dirname {output.model})"
        " --checkpoints $(dirname {output.model}).checkpoints --log-jsonl {output.history} 2>&1 | tee {log}"


rule warm_start_trial:
    input:
        model=lambda wildcards: in_results(inputs.warm_started(wildcards.when)),
    output:
        f"<results>/{layout.WARM_START_TRIAL}",
    log:
        f"<results>/{layout.log('warm_start_trial', layout.WARM_START_TRIAL)}",
    benchmark:
        f"<results>/{layout.benchmark('warm_start_trial', layout.WARM_START_TRIAL)}"
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
        model=lambda wildcards, input: (
            os.path.dirname(input[0]) if input else str(outside.model)
        ),
        prompt=str(outside.prompt),
    params:
        slice=as_words(slices.warm_start_trial(experiment, outside)),
        model=outside.digest_lines(outside.weights + outside.tokenizer),
        code=code("warm_start_trial"),
        pins=pins("warm_start_trial"),
    message:
        "Counting the tasks that the model solves {wildcards.when} its warm start"
    shell:
        '{resources.launcher} "$WORKFLOW/scripts/warm_start_trial.py"'
        " --slice {params.slice:q} --model {resources.model:q} --prompt {resources.prompt:q}"
        " {resources.engine_memory} --workers {threads}"
        " --output {output} 2>&1 | tee {log}"
