# One pass over the test mixtures a run. The mixture comes first: the others reuse its scores as their inputs'.
EVALUATE = (
    "audioslots --wait evaluate --mixtures {params.mixtures} --out {output.scores} --benchmark {params.benchmark}"
    " --examples {params.examples} --jobs {threads}"
)


rule evaluate_mixture:
    input:
        f"{TEST}/manifest.json",
    output:
        scores=f"{RESULTS}/runs/mixture/seed0/scores.parquet",
        costs=f"{RESULTS}/runs/mixture/seed0/evaluation.json",
    log:
        f"{RESULTS}/runs/mixture/seed0/evaluate.log",
    resources:
        mem_mb=8000,
        runtime=minutes(240),
    params:
        mixtures=subpath(input[0], parent=True),
        benchmark=benchmark.name,
        examples=benchmark.examples,
    shell:
        f"{EVALUATE} --model mixture > {{log}} 2>&1"


rule evaluate_oracle:
    input:
        mixture=rules.evaluate_mixture.output.scores,
    output:
        scores=f"{RESULTS}/runs/{{oracle}}/seed0/scores.parquet",
        costs=f"{RESULTS}/runs/{{oracle}}/seed0/evaluation.json",
    log:
        f"{RESULTS}/runs/{{oracle}}/seed0/evaluate.log",
    wildcard_constraints:
        oracle="oracle-[a-z0-9.-]+",
    resources:
        mem_mb=8000,
        runtime=minutes(240),
    params:
        mixtures=TEST,
        benchmark=benchmark.name,
        examples=benchmark.examples,
    shell:
        f"{EVALUATE} --model {{wildcards.oracle}} --mixture-scores {{input.mixture}} > {{log}} 2>&1"


rule evaluate:
    input:
        model=f"{RESULTS}/runs/{{variant}}/seed{{seed}}/model.safetensors",
        mixture=rules.evaluate_mixture.output.scores,
    output:
        scores=f"{RESULTS}/runs/{{variant}}/seed{{seed}}/scores.parquet",
        costs=f"{RESULTS}/runs/{{variant}}/seed{{seed}}/evaluation.json",
    log:
        f"{RESULTS}/runs/{{variant}}/seed{{seed}}/evaluate.log",
    wildcard_constraints:
        variant="|".join(VARIANTS),
    resources:
        gpu=1,
        mem_mb=16000,
        runtime=minutes(240),
    params:
        mixtures=TEST,
        benchmark=benchmark.name,
        examples=benchmark.examples,
        device=benchmark.device,
    shell:
        f"{EVALUATE} --model {{input.model}} --mixture-scores {{input.mixture}} --device {{params.device}} > {{log}} 2>&1"
