# One job per engine setting scores the same completions, and a last job splits the mismatch into its causes.
for job in SEEDS_JOBS:

    rule:
        name:
            job.rule("audit_draw")
        input:
            model=f"<results>/{layout.MODEL}",
            rows=f"<results>/{layout.ROWS.path(set=experiment.audit.set)}",
            trained=trained(job),
        output:
            of_seeds(job, layout.AUDIT_DRAW),
        log:
            of_seeds(job, layout.log("audit_draw", layout.AUDIT_DRAW))[0],
        benchmark:
            of_seeds(job, layout.benchmark("audit_draw", layout.AUDIT_DRAW))[0]
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
            slice=as_words(experiment.audit_draw_slice(job.arm)),
            code=code("audit_draw"),
            pins=pins("audit_draw"),
        message:
            f"Auditing {job} at step {{wildcards.step}}: drawing completions"
        shell:
            '{resources.launcher} "$WORKFLOW/scripts/audit_draw.py"'
            " --slice {params.slice:q} --model {resources.model:q} --rows {input.rows}"
            " --checkpoints {input.trained} {resources.engine_memory}"
            " --outputs {output} 2>&1 | tee {log}"

    rule:
        name:
            job.rule("audit_trainer")
        input:
            model=f"<results>/{layout.MODEL}",
            rows=f"<results>/{layout.ROWS.path(set=experiment.audit.set)}",
            drawn=of_seeds(job, layout.AUDIT_DRAW),
            trained=trained(job),
        output:
            of_seeds(job, layout.AUDIT_TRAINER),
        log:
            of_seeds(job, layout.log("audit_trainer", layout.AUDIT_TRAINER))[0],
        benchmark:
            of_seeds(job, layout.benchmark("audit_trainer", layout.AUDIT_TRAINER))[0]
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
            model=str(outside.model),
        params:
            slice=lambda wildcards, job=job: as_words(
                experiment.audit_trainer_slice(job.arm, wildcards.format)
            ),
            code=code("audit_trainer"),
            pins=pins("audit_trainer"),
        message:
            f"Auditing {job} at step {{wildcards.step}}: trainer in {{wildcards.format}}"
        shell:
            '{resources.launcher} "$WORKFLOW/scripts/audit_trainer.py"'
            " --slice {params.slice:q} --model {resources.model:q} --rows {input.rows}"
            " --drawn {input.drawn} --checkpoints {input.trained}"
            " --outputs {output} 2>&1 | tee {log}"

    rule:
        name:
            job.rule("audit_sampler")
        input:
            model=f"<results>/{layout.MODEL}",
            rows=f"<results>/{layout.ROWS.path(set=experiment.audit.set)}",
            drawn=of_seeds(job, layout.AUDIT_DRAW),
            trained=trained(job),
        output:
            of_seeds(job, layout.AUDIT_SAMPLER),
        log:
            of_seeds(job, layout.log("audit_sampler", layout.AUDIT_SAMPLER))[0],
        benchmark:
            of_seeds(job, layout.benchmark("audit_sampler", layout.AUDIT_SAMPLER))[0]
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
            slice=lambda wildcards, job=job: as_words(
                experiment.audit_sampler_slice(
                    job.arm, wildcards.format, wildcards.adapter
                )
            ),
            code=code("audit_sampler"),
            pins=pins("audit_sampler"),
        message:
            f"Auditing {job} at step {{wildcards.step}}: sampler in {{wildcards.format}}, {{wildcards.adapter}}"
        shell:
            '{resources.launcher} "$WORKFLOW/scripts/audit_sampler.py"'
            " --slice {params.slice:q} --model {resources.model:q} --rows {input.rows}"
            " --drawn {input.drawn} --checkpoints {input.trained} {resources.engine_memory}"
            " --outputs {output} 2>&1 | tee {log}"


rule audit_join:
    input:
        scored=lambda wildcards: in_results(
            inputs.audit_scored(experiment, wildcards.run, wildcards.step)
        ),
    output:
        f"<results>/{layout.AUDIT_CHAIN}",
    log:
        f"<results>/{layout.log('audit_join', layout.AUDIT_CHAIN)}",
    benchmark:
        f"<results>/{layout.benchmark('audit_join', layout.AUDIT_CHAIN)}"
    conda:
        ENVIRONMENT
    threads: experiment.resources.report.threads
    resources:
        mem_mb=experiment.resources.report.mem_mb,
        disk_mb=experiment.resources.report.disk_mb,
        runtime=experiment.resources.report.runtime,
        gpu=0,
    params:
        slice=lambda wildcards: as_words(
            experiment.audit_join_slice(checkpoints.arm_of(wildcards.run))
        ),
        code=code("audit_join"),
        pins=pins("audit_join"),
    message:
        "Auditing {wildcards.run} at step {wildcards.step}: causes of the mismatch"
    shell:
        'python "$WORKFLOW/scripts/audit_join.py"'
        " --slice {params.slice:q} --output {output} {input.scored} 2>&1 | tee {log}"
