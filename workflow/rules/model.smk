# The weights stay where they are. What enters the pipeline is what they are: two small files of SHA-256.
rule model_manifest:
    input:
        script=script("model_manifest"),
        code=code("model_manifest"),
    output:
        model="<results>/model/manifest.json",
        tokenizer="<results>/model/tokenizer.json",
    log:
        "<results>/logs/model_manifest.log",
    params:
        model=json.dumps(HASHES.of_all(MODEL_FILES), sort_keys=True),
        tokenizer=json.dumps(HASHES.of_all(TOKENIZER_FILES), sort_keys=True),
        pins=pins("model_manifest"),
    resources:
        path=experiment.model.path,
    conda:
        ENVIRONMENT
    message:
        "Reading what the base model is"
    shell:
        "python {input.script} --path {resources.path:q} --model-files {params.model:q}"
        " --tokenizer-files {params.tokenizer:q} --output-model {output.model} --output-tokenizer {output.tokenizer}"
        " 2>&1 | tee {log}"
