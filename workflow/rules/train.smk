# One segment of the runs that train together. It reads the checkpoints before it and writes the next; a run is a chain
# of these.
for job in SEEDS_JOBS:

    rule:
        name:
            job.rule("train")
        input:
            model=f"<results>/{layout.MODEL}",
            rows=f"<results>/{layout.ROWS.path(set=inputs.training_set(experiment))}",
            previous=lambda wildcards, job=job: in_results(
                inputs.previous_segment(experiment, job, int(wildcards.stop))
            ),
        output:
            **trained_outputs(job),
            state=of_seeds(job, layout.STATE),
            steps=of_seeds(job, layout.STEPS),
            timing=of_seeds(job, layout.TIMING),
            completions=of_seeds(job, layout.COMPLETIONS),
            facts=of_seeds(job, layout.FACTS),
        log:
            of_seeds(job, layout.log("train", layout.STEPS))[0],
        benchmark:
            of_seeds(job, layout.benchmark("train", layout.STEPS))[0]
        wildcard_constraints:
            stop="|".join(map(str, job.stops)),
        conda:
            ENVIRONMENT
        threads: experiment.resources.train.threads
        resources:
            mem_mb=experiment.resources.train.mem_mb,
            disk_mb=experiment.resources.train.disk_mb,
            runtime=experiment.resources.train.runtime,
            gpu=starting.train_gpus(experiment, job.arm),
            engine_memory=starting.engine_memory(experiment.resources.train),
            model=str(outside.model),
            launcher=starting.train_launcher(experiment, job.arm),
            watch=experiment.watch,
            declared=json.dumps(declared(experiment.report_slice()), sort_keys=True),
            seeds=" ".join(map(str, job.seeds)),
        params:
            slice=as_words(experiment.train_slice(job.arm)),
            code=code("train"),
            pins=pins("train"),
        message:
            f"Training {job}, to step {{wildcards.stop}}"
        # One pool of memory for all threads: each run is a thread, and with a pool of its own it would keep the memory
        # it freed.
        shell:
            'MALLOC_ARENA_MAX=1 {resources.launcher} "$WORKFLOW/scripts/train.py"'
            " --slice {params.slice:q} --seeds {resources.seeds} --stop {wildcards.stop}"
            " --model {resources.model:q} --declared {resources.declared:q} --train {input.rows}"
            " --run-dirs $(dirname {output.steps})"
            " --workers {threads} {resources.engine_memory} --watch {resources.watch} 2>&1 | tee {log}"
