# The weights stay where they are. What enters the pipeline is what they are: two small files of SHA-256.
rule model_manifest:
    output:
        model="<results>/model/manifest.json",
        tokenizer="<results>/model/tokenizer.json",
    log:
        "<results>/logs/model_manifest.log",
    conda:
        ENVIRONMENT
    resources:
        path=experiment.model.path,
    params:
        prompt=experiment.model.prompt,
        model=digest_lines(MODEL_FILES),
        tokenizer=digest_lines(TOKENIZER_FILES),
        code=code("model_manifest"),
        pins=pins("model_manifest"),
    message:
        "Reading what the base model is"
    shell:
        "python workflow/scripts/model_manifest.py --path {resources.path:q} --prompt {params.prompt}"
        " --model-files {params.model:q}"
        " --tokenizer-files {params.tokenizer:q} --output-model {output.model} --output-tokenizer {output.tokenizer}"
        " 2>&1 | tee {log}"


# The recipe of resources/tiny-arc. No other rule asks for it: model.path names a folder that is there.
rule pretrain:
    output:
        model="<results>/pretrain/model.safetensors",
        config="<results>/pretrain/config.json",
        generation="<results>/pretrain/generation_config.json",
        tokenizer="<results>/pretrain/tokenizer.json",
        tokenizer_config="<results>/pretrain/tokenizer_config.json",
        metrics="<results>/pretrain/metrics.json",
        sums="<results>/pretrain/SHA256SUMS",
        history="<results>/pretrain/log.jsonl",
    log:
        "<results>/logs/pretrain.log",
    benchmark:
        "<results>/benchmarks/pretrain.tsv"
    conda:
        ENVIRONMENT
    threads: experiment.resources.pretrain.threads
    resources:
        mem_mb=experiment.resources.pretrain.mem_mb,
        disk_mb=experiment.resources.pretrain.disk_mb,
        runtime=experiment.resources.pretrain.runtime,
        gpu=gpus(experiment.resources.pretrain),
        launcher=launcher(experiment.resources.pretrain),
    params:
        cfg=settings(experiment.pretrain),
        code=code("pretrain"),
        pins=pins("pretrain"),
    message:
        "Training the tiny base model from scratch"
    shell:
        "{resources.launcher} workflow/scripts/pretrain.py --cfg {params.cfg:q} --workers $(({threads} - 1))"
        " --output-dir $(dirname {output.model}) --log-jsonl {output.history} 2>&1 | tee {log}"


# A model to start from instead of model.path's. No other rule asks for it: an experiment names the finished folder.
rule warm_start:
    output:
        model="<results>/warm-start/model.safetensors",
        config="<results>/warm-start/config.json",
        tokenizer=[
            f"<results>/warm-start/{Path(file).name}" for file in TOKENIZER_FILES
        ],
        metrics="<results>/warm-start/metrics.json",
        sums="<results>/warm-start/SHA256SUMS",
        history="<results>/warm-start.jsonl",
    log:
        "<results>/logs/warm_start.log",
    benchmark:
        "<results>/benchmarks/warm_start.tsv"
    conda:
        ENVIRONMENT
    threads: experiment.resources.warm_start.threads
    resources:
        path=experiment.model.path,
        mem_mb=experiment.resources.warm_start.mem_mb,
        disk_mb=experiment.resources.warm_start.disk_mb,
        runtime=experiment.resources.warm_start.runtime,
        gpu=gpus(experiment.resources.warm_start),
        launcher=launcher(experiment.resources.warm_start),
    params:
        cfg=settings(experiment.warm_start_slice()),
        model=digest_lines(MODEL_FILES + TOKENIZER_FILES),
        code=code("warm_start"),
        pins=pins("warm_start"),
    message:
        "Fine-tuning {resources.path} on tasks and their programs"
    shell:
        "{resources.launcher} workflow/scripts/warm_start.py --cfg {params.cfg:q} --model {resources.path:q}"
        " --model-files {params.model:q} --workers $(({threads} - 1)) --output-dir $(dirname {output.model})"
        " --checkpoints $(dirname {output.model}).checkpoints --log-jsonl {output.history} 2>&1 | tee {log}"
