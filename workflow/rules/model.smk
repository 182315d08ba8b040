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
        model=digest_lines(MODEL_FILES),
        tokenizer=digest_lines(TOKENIZER_FILES),
        code=code("model_manifest"),
        pins=pins("model_manifest"),
    message:
        "Reading what the base model is"
    shell:
        "python workflow/scripts/model_manifest.py --path {resources.path:q} --model-files {params.model:q}"
        " --tokenizer-files {params.tokenizer:q} --output-model {output.model} --output-tokenizer {output.tokenizer}"
        " 2>&1 | tee {log}"
