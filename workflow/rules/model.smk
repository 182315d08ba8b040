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
        path=str(MODEL),
    params:
        prompt=experiment.model.prompt,
        model=digest_lines(MODEL_FILES),
        tokenizer=digest_lines(TOKENIZER_FILES),
        code=code("model_manifest"),
        pins=pins("model_manifest"),
    message:
        "Reading what the base model is"
    shell:
        'python "$WORKFLOW/scripts/model_manifest.py"'
        " --path {resources.path:q} --prompt {params.prompt} --model-files {params.model:q}"
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


# A model to start from instead of model.path's. No other rule asks for it: an experiment names the finished folder.
rule warm_start:
    output:
        model=f"<results>/{layout.WARM_STARTED.path(name='model.safetensors')}",
        config=f"<results>/{layout.WARM_STARTED.path(name='config.json')}",
        tokenizer=[
            f"<results>/{layout.WARM_STARTED.path(name=file.name)}"
            for file in TOKENIZER_FILES
        ],
        metrics=f"<results>/{layout.WARM_STARTED.path(name='metrics.json')}",
        sums=f"<results>/{layout.WARM_STARTED.path(name='SHA256SUMS')}",
        history=f"<results>/{layout.WARM_START_HISTORY}",
    log:
        f"<results>/{layout.log('warm_start')}",
    benchmark:
        f"<results>/{layout.benchmark('warm_start')}"
    conda:
        ENVIRONMENT
    threads: experiment.resources.warm_start.threads
    resources:
        path=str(MODEL),
        mem_mb=experiment.resources.warm_start.mem_mb,
        disk_mb=experiment.resources.warm_start.disk_mb,
        runtime=experiment.resources.warm_start.runtime,
        gpu=starting.gpus(experiment, experiment.resources.warm_start),
        launcher=starting.launcher(
            starting.gpus(experiment, experiment.resources.warm_start)
        ),
    params:
        slice=as_words(experiment.warm_start_slice()),
        model=digest_lines(MODEL_FILES + TOKENIZER_FILES),
        code=code("warm_start"),
        pins=pins("warm_start"),
    message:
        "Fine-tuning {resources.path} on tasks and their programs"
    shell:
        '{resources.launcher} "$WORKFLOW/scripts/warm_start.py"'
        " --slice {params.slice:q} --model {resources.path:q}"
        " --model-files {params.model:q} --workers $(({threads} - 1)) --output-dir $(dirname {output.model})"
        " --checkpoints $(dirname {output.model}).checkpoints --log-jsonl {output.history} 2>&1 | tee {log}"
