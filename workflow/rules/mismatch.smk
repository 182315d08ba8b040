# One job per engine setting: each scores the same completions, and the last takes the mismatch apart.
rule audit_draw:
    input:
        model="<results>/model/manifest.json",
        rows=f"<results>/data/{experiment.audit.set}.parquet",
        adapter=audited_adapter,
    output:
        "<results>/audit/{run}/step-{step}/draw.parquet",
    log:
        "<results>/logs/audit_draw/{run}/step-{step}/draw.log",
    benchmark:
        "<results>/benchmarks/audit_draw/{run}/step-{step}/draw.tsv"
    conda:
        ENVIRONMENT
    threads: experiment.resources.sample.threads
    resources:
        mem_mb=experiment.resources.sample.mem_mb,
        disk_mb=experiment.resources.sample.disk_mb,
        runtime=experiment.resources.sample.runtime,
        gpu=gpus(experiment.resources.sample),
        launcher=launcher(experiment.resources.sample),
        engine_memory=engine_memory(experiment.resources.sample),
        model=experiment.model.path,
    params:
        cfg=audit_draw_cfg,
        code=code("audit_draw"),
        pins=pins("audit_draw"),
    message:
        "Auditing {wildcards.run} at step {wildcards.step}: drawing completions"
    shell:
        "{resources.launcher} workflow/scripts/audit_draw.py --cfg {params.cfg:q} --model {resources.model:q} --rows {input.rows}"
        " --adapter {input.adapter} {resources.engine_memory}"
        " --output {output} 2>&1 | tee {log}"


rule audit_trainer:
    input:
        model="<results>/model/manifest.json",
        rows=f"<results>/data/{experiment.audit.set}.parquet",
        drawn="<results>/audit/{run}/step-{step}/draw.parquet",
        adapter=audited_adapter,
    output:
        "<results>/audit/{run}/step-{step}/trainer.{dtype}.parquet",
    log:
        "<results>/logs/audit_trainer/{run}/step-{step}/trainer.{dtype}.log",
    benchmark:
        "<results>/benchmarks/audit_trainer/{run}/step-{step}/trainer.{dtype}.tsv"
    conda:
        ENVIRONMENT
    threads: experiment.resources.sample.threads
    resources:
        mem_mb=experiment.resources.sample.mem_mb,
        disk_mb=experiment.resources.sample.disk_mb,
        runtime=experiment.resources.sample.runtime,
        gpu=gpus(experiment.resources.sample),
        launcher=launcher(experiment.resources.sample),
        model=experiment.model.path,
    params:
        cfg=audit_trainer_cfg,
        code=code("audit_trainer"),
        pins=pins("audit_trainer"),
    message:
        "Auditing {wildcards.run} at step {wildcards.step}: trainer in {wildcards.dtype}"
    shell:
        "{resources.launcher} workflow/scripts/audit_trainer.py --cfg {params.cfg:q} --model {resources.model:q} --rows {input.rows}"
        " --drawn {input.drawn} --adapter {input.adapter}"
        " --output {output} 2>&1 | tee {log}"


rule audit_sampler:
    input:
        model="<results>/model/manifest.json",
        rows=f"<results>/data/{experiment.audit.set}.parquet",
        drawn="<results>/audit/{run}/step-{step}/draw.parquet",
        adapter=audited_adapter,
    output:
        "<results>/audit/{run}/step-{step}/sampler.{dtype}.{adapter}.parquet",
    log:
        "<results>/logs/audit_sampler/{run}/step-{step}/sampler.{dtype}.{adapter}.log",
    benchmark:
        "<results>/benchmarks/audit_sampler/{run}/step-{step}/sampler.{dtype}.{adapter}.tsv"
    conda:
        ENVIRONMENT
    threads: experiment.resources.sample.threads
    resources:
        mem_mb=experiment.resources.sample.mem_mb,
        disk_mb=experiment.resources.sample.disk_mb,
        runtime=experiment.resources.sample.runtime,
        gpu=gpus(experiment.resources.sample),
        launcher=launcher(experiment.resources.sample),
        engine_memory=engine_memory(experiment.resources.sample),
        model=experiment.model.path,
    params:
        cfg=audit_sampler_cfg,
        code=code("audit_sampler"),
        pins=pins("audit_sampler"),
    message:
        "Auditing {wildcards.run} at step {wildcards.step}: sampler in {wildcards.dtype}, adapter {wildcards.adapter}"
    shell:
        "{resources.launcher} workflow/scripts/audit_sampler.py --cfg {params.cfg:q} --model {resources.model:q} --rows {input.rows}"
        " --drawn {input.drawn} --adapter {input.adapter} {resources.engine_memory}"
        " --output {output} 2>&1 | tee {log}"


rule audit_join:
    input:
        scored=audit_scored,
    output:
        "<results>/audit/{run}/step-{step}/chain.json",
    log:
        "<results>/logs/audit_join/{run}/step-{step}/chain.log",
    benchmark:
        "<results>/benchmarks/audit_join/{run}/step-{step}/chain.tsv"
    conda:
        ENVIRONMENT
    threads: experiment.resources.report.threads
    resources:
        mem_mb=experiment.resources.report.mem_mb,
        disk_mb=experiment.resources.report.disk_mb,
        runtime=experiment.resources.report.runtime,
        gpu=0,
    params:
        cfg=audit_join_cfg,
        code=code("audit_join"),
        pins=pins("audit_join"),
    message:
        "Auditing {wildcards.run} at step {wildcards.step}: causes of the mismatch"
    shell:
        "python workflow/scripts/audit_join.py --cfg {params.cfg:q} --output {output} {input.scored} 2>&1 | tee {log}"
