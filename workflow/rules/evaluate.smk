# Completions need the model, verdicts do not: changing a reward or a limit never draws again.
for job in [seed_groups.BASE_JOB, *SEEDS_JOBS]:

    rule:
        name:
            job.rule("sample")
        input:
            model=f"<results>/{layout.MODEL}",
            rows=f"<results>/{layout.ROWS}",
            trained=trained(job),
        output:
            samples=of_seeds(job, layout.SAMPLES),
            cost=of_seeds(job, layout.SAMPLING_COST),
        log:
            of_seeds(job, layout.log("sample", layout.SAMPLES))[0],
        benchmark:
            of_seeds(job, layout.benchmark("sample", layout.SAMPLES))[0]
        wildcard_constraints:
            step="|".join(map(str, job.stops)),
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
            slice=lambda wildcards, job=job: sample_words(
                job.arm if job.seeds else None, wildcards.set, wildcards.dtype
            ),
            code=code("sample"),
            pins=pins("sample"),
        message:
            f"Sampling {{wildcards.set}} from {job} at step {{wildcards.step}} in {{wildcards.dtype}}"
        shell:
            '{resources.launcher} "$WORKFLOW/scripts/sample.py"'
            " --slice {params.slice:q} --model {resources.model:q} --rows {input.rows}"
            " --checkpoints {input.trained} {resources.engine_memory}"
            " --outputs {output.samples} --costs {output.cost} 2>&1 | tee {log}"


rule score:
    input:
        rows=f"<results>/{layout.ROWS}",
        samples=f"<results>/{layout.SAMPLES}",
    output:
        f"<results>/{layout.SCORES}",
    log:
        f"<results>/{layout.log('score', layout.SCORES)}",
    benchmark:
        f"<results>/{layout.benchmark('score', layout.SCORES)}"
    conda:
        ENVIRONMENT
    threads: experiment.resources.score.threads
    resources:
        mem_mb=experiment.resources.score.mem_mb,
        disk_mb=experiment.resources.score.disk_mb,
        runtime=experiment.resources.score.runtime,
        gpu=0,
    params:
        slice=as_words(experiment.score_slice()),
        code=code("score"),
        pins=pins("score"),
    message:
        "Scoring {wildcards.set} from {wildcards.run} at step {wildcards.step} in {wildcards.dtype}"
    shell:
        'python "$WORKFLOW/scripts/score.py"'
        " --slice {params.slice:q} --rows {input.rows} --samples {input.samples} --workers {threads}"
        " --output {output} 2>&1 | tee {log}"


# A target in Kaggle's form: two attempts for each test input of a checkpoint's set.
rule submission:
    input:
        f"<results>/{layout.SCORES}",
    output:
        f"<results>/{layout.SUBMISSION}",
    log:
        f"<results>/{layout.log('submission', layout.SUBMISSION)}",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=experiment.resources.score.mem_mb,
        disk_mb=experiment.resources.score.disk_mb,
        runtime=experiment.resources.score.runtime,
        gpu=0,
        paths=lambda wildcards: outside.paths_json(
            [experiment.evaluation_sets[wildcards.set].source]
        ),
    params:
        slice=lambda wildcards: as_words(
            slices.submission(experiment, outside, wildcards.set)
        ),
        code=code("submission"),
        pins=pins("submission"),
    message:
        "Writing the submission for {wildcards.set} from {wildcards.run} at step {wildcards.step} in {wildcards.dtype}"
    shell:
        'python "$WORKFLOW/scripts/submission.py"'
        " --slice {params.slice:q} --paths {resources.paths:q} --scores {input}"
        " --output {output} 2>&1 | tee {log}"


# A target: the scores of the base model, without training anything.
rule base:
    input:
        in_results(inputs.base_scores(experiment)),
    localrule: True
