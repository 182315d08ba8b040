# Numbers first, prose last: report.json holds every number that the page shows.
rule report_data:
    input:
        results=report_inputs(),
    output:
        report="<results>/report/report.json",
        tables=report(
            directory("<results>/report/report_data"),
            patterns=["{table}.csv"],
            caption="../report/tables.rst",
            category="Numbers",
            labels={"table": "{table}"},
        ),
    log:
        "<results>/logs/report_data.log",
    benchmark:
        "<results>/benchmarks/report_data.tsv"
    conda:
        ENVIRONMENT
    threads: experiment.resources.report.threads
    resources:
        mem_mb=experiment.resources.report.mem_mb,
        disk_mb=experiment.resources.report.disk_mb,
        runtime=experiment.resources.report.runtime,
        gpu=0,
        results=RESULTS,
    params:
        cfg=settings(experiment.report_slice()),
        code=code("report_data"),
        pins=pins("report_data"),
    message:
        "Comparing the arms"
    shell:
        "python workflow/scripts/report_data.py --cfg {params.cfg:q} --results-dir {resources.results} --report {output.report}"
        " --csv-dir {output.tables} {input.results} 2>&1 | tee {log}"


rule report_page:
    input:
        template=report_template(),
        report="<results>/report/report.json",
    output:
        report(
            "<results>/report/report.html",
            caption="../report/report.rst",
            category="Comparison",
            labels={
                "experiment": experiment.experiment,
                "arms": ", ".join(experiment.run_arms),
            },
        ),
    log:
        "<results>/logs/report_page.log",
    conda:
        ENVIRONMENT
    threads: experiment.resources.report.threads
    resources:
        mem_mb=experiment.resources.report.mem_mb,
        runtime=experiment.resources.report.runtime,
        gpu=0,
    params:
        code=code("report_page"),
        pins=pins("report_page"),
    message:
        "Writing the report"
    shell:
        "python workflow/scripts/report_page.py --report {input.report} --template-dir workflow/report --page {output} 2>&1 | tee {log}"
