# Numbers first, prose last: report.json holds every number that the page shows.
rule report_data:
    input:
        script=script("report_data"),
        code=code("report_data"),
        results=report_inputs(),
    output:
        report="<results>/report/report.json",
        tables=directory("<results>/report/report_data"),
    log:
        "<results>/logs/report_data.log",
    benchmark:
        "<results>/benchmarks/report_data.tsv"
    params:
        cfg=canonical(experiment.report_slice()),
        pins=pins("report_data"),
    threads: experiment.resources.report.threads
    resources:
        mem_mb=experiment.resources.report.mem_mb,
        disk_mb=experiment.resources.report.disk_mb,
        runtime=experiment.resources.report.runtime,
        gpu=0,
        results=RESULTS,
    conda:
        ENVIRONMENT
    message:
        "Comparing the arms"
    shell:
        "python {input.script} --cfg {params.cfg:q} --results-dir {resources.results} --report {output.report}"
        " --csv-dir {output.tables} {input.results} 2>&1 | tee {log}"


rule report_page:
    input:
        script=script("report_page"),
        code=code("report_page"),
        template=report_template(),
        report="<results>/report/report.json",
    output:
        "<results>/report/report.html",
    log:
        "<results>/logs/report_page.log",
    params:
        pins=pins("report_page"),
    threads: experiment.resources.report.threads
    resources:
        mem_mb=experiment.resources.report.mem_mb,
        runtime=experiment.resources.report.runtime,
        gpu=0,
    conda:
        ENVIRONMENT
    message:
        "Writing the report"
    shell:
        "python {input.script} --report {input.report} --template-dir workflow/report --page {output} 2>&1 | tee {log}"
