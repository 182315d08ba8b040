# Numbers first, prose last: report.json holds every number that the page shows.
rule report_data:
    input:
        results=in_results(inputs.report_inputs(experiment)),
    output:
        report=f"<results>/{layout.REPORT}",
        tables=report(
            directory(f"<results>/{layout.REPORT_TABLES}"),
            patterns=["{table}.csv"],
            caption="../report/tables.rst",
            category="Numbers",
            labels={"table": "{table}"},
        ),
    log:
        f"<results>/{layout.log('report_data')}",
    benchmark:
        f"<results>/{layout.benchmark('report_data')}"
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
        slice=as_words(experiment.report_slice()),
        code=code("report_data"),
        pins=pins("report_data"),
    message:
        "Comparing the arms"
    shell:
        'python "$WORKFLOW/scripts/report_data.py"'
        " --slice {params.slice:q} --results-dir {resources.results} --report {output.report}"
        " --csv-dir {output.tables} {input.results} 2>&1 | tee {log}"


rule report_page:
    input:
        report=f"<results>/{layout.REPORT}",
    output:
        report(
            f"<results>/{layout.REPORT_PAGE}",
            caption="../report/report.rst",
            category="Comparison",
            labels={
                "experiment": experiment.experiment,
                "arms": ", ".join(experiment.run_arms),
            },
        ),
    log:
        f"<results>/{layout.log('report_page')}",
    conda:
        ENVIRONMENT
    threads: experiment.resources.report.threads
    resources:
        mem_mb=experiment.resources.report.mem_mb,
        runtime=experiment.resources.report.runtime,
        gpu=0,
    params:
        template=outside.digest_lines(
            file
            for file in (ROOT / "workflow/report").rglob("*")
            if file.is_file() and file.suffix != ".rst"
        ),
        code=code("report_page"),
        pins=pins("report_page"),
    message:
        "Writing the report"
    shell:
        'python "$WORKFLOW/scripts/report_page.py"'
        ' --report {input.report} --template-dir "$WORKFLOW/report" --page {output} 2>&1 | tee {log}'
