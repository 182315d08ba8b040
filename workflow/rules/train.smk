# One segment of a run. It reads the checkpoint before it and writes the next; a run is a chain of these.
rule train:
    input:
        model="<results>/model/manifest.json",
        rows=train_rows,
        previous=previous_segment,
    output:
        adapter="<results>/runs/{arm}/seed-{seed}/checkpoint-{stop}/adapter_model.safetensors",
        adapter_config="<results>/runs/{arm}/seed-{seed}/checkpoint-{stop}/adapter_config.json",
        state="<results>/runs/{arm}/seed-{seed}/checkpoint-{stop}/trainer_state.tar",
        steps="<results>/runs/{arm}/seed-{seed}/steps-{stop}.jsonl",
        timing="<results>/runs/{arm}/seed-{seed}/timing-{stop}.jsonl",
        facts="<results>/runs/{arm}/seed-{seed}/facts-{stop}.json",
    log:
        "<results>/logs/train/{arm}/seed-{seed}/{stop}.log",
    benchmark:
        "<results>/benchmarks/train/{arm}/seed-{seed}/{stop}.tsv"
    conda:
        ENVIRONMENT
    threads: experiment.resources.train.threads
    resources:
        mem_mb=experiment.resources.train.mem_mb,
        disk_mb=experiment.resources.train.disk_mb,
        runtime=experiment.resources.train.runtime,
        gpu=train_gpus,
        engine_memory=engine_memory(experiment.resources.train),
        model=experiment.model.path,
        launcher=train_launcher,
        watch=experiment.watch,
        declared=json.dumps(declared(experiment.report_slice()), sort_keys=True),
    params:
        cfg=train_cfg,
        code=code("train"),
        pins=pins("train"),
    message:
        "Training {wildcards.arm}, seed {wildcards.seed}, to step {wildcards.stop}"
    shell:
        "{resources.launcher} workflow/scripts/train.py --cfg {params.cfg:q} --seeds {wildcards.seed} --stop {wildcards.stop}"
        " --model {resources.model:q} --declared {resources.declared:q} --train {input.rows} --run-dirs $(dirname {output.steps})"
        " --workers {threads} {resources.engine_memory} --watch {resources.watch} 2>&1 | tee {log}"
