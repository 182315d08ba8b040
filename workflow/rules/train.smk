# One segment of a run. It reads the checkpoint before it and writes the next; a run is a chain of these.
rule train:
    input:
        model=f"<results>/{layout.MODEL}",
        rows=f"<results>/{layout.ROWS.path(set=inputs.training_set(experiment))}",
        previous=previous_segment,
    output:
        adapter=f"<results>/{layout.ADAPTER}",
        adapter_config=f"<results>/{layout.ADAPTER_CONFIG}",
        state=f"<results>/{layout.STATE}",
        steps=f"<results>/{layout.STEPS}",
        timing=f"<results>/{layout.TIMING}",
        facts=f"<results>/{layout.FACTS}",
    log:
        f"<results>/{layout.log('train', layout.STEPS)}",
    benchmark:
        f"<results>/{layout.benchmark('train', layout.STEPS)}"
    wildcard_constraints:
        arm=arms_pattern(whole=False),
    conda:
        ENVIRONMENT
    threads: experiment.resources.train.threads
    resources:
        mem_mb=experiment.resources.train.mem_mb,
        disk_mb=experiment.resources.train.disk_mb,
        runtime=experiment.resources.train.runtime,
        gpu=train_gpus,
        engine_memory=starting.engine_memory(experiment.resources.train),
        model=str(MODEL),
        launcher=train_launcher,
        watch=experiment.watch,
        declared=json.dumps(declared(experiment.report_slice()), sort_keys=True),
    params:
        slice=train_slice,
        code=code("train"),
        pins=pins("train"),
    message:
        "Training {wildcards.arm}, seed {wildcards.seed}, to step {wildcards.stop}"
    shell:
        '{resources.launcher} "$WORKFLOW/scripts/train.py"'
        " --slice {params.slice:q} --seeds {wildcards.seed} --stop {wildcards.stop}"
        " --model {resources.model:q} --declared {resources.declared:q} --train {input.rows} --run-dirs $(dirname {output.steps})"
        " --workers {threads} {resources.engine_memory} --watch {resources.watch} 2>&1 | tee {log}"


# The same with full fine-tuning: a checkpoint holds the model, and no adapter.
use rule train as train_whole with:
    output:
        weights=f"<results>/{layout.WEIGHTS}",
        config=f"<results>/{layout.WEIGHTS_CONFIG}",
        state=f"<results>/{layout.STATE}",
        steps=f"<results>/{layout.STEPS}",
        timing=f"<results>/{layout.TIMING}",
        facts=f"<results>/{layout.FACTS}",
    wildcard_constraints:
        arm=arms_pattern(whole=True),
