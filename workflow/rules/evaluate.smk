# One pass over the test mixtures a run. The mixture comes first: the others reuse its scores as their inputs'.
# A trained model separates in a job of its own, since scoring, which takes longer, needs no GPU.
# `snakemake dev` does so with the dev mixtures, in a folder that no report reads: there choices are made.
SETS = {"runs": benchmark.test.subset} | ({"dev": benchmark.dev.subset} if benchmark.dev else {})
MIXTURES = {part: benchmark.mixtures(subset) for part, subset in SETS.items()}
MODEL = f"{RESULTS}/runs/{{variant}}/seed{{seed}}/model.safetensors"
EXAMPLES = {"runs": benchmark.examples, "dev": 0}
CHOOSES = choosing_run(benchmark, MADE)
CHOSEN_BY = f"{RESULTS}/runs/{CHOOSES[0]}/seed{CHOOSES[1]}/scores.parquet"
EVALUATE = (
    "audioslots --wait --fresh evaluate --mixtures {params.mixtures} --out {output.scores} --benchmark {params.benchmark}"
    " --examples {params.examples} --jobs {threads}"
)


rule evaluate_mixture:
    input:
        mixtures=lambda wildcards: f"{MIXTURES[wildcards.part]}/manifest.json",
        apart=lambda wildcards: f"{benchmark.folder_of(SETS[wildcards.part])}/{SPEAKERS}.txt",
    output:
        scores=f"{RESULTS}/{{part}}/mixture/seed0/scores.parquet",
        costs=f"{RESULTS}/{{part}}/mixture/seed0/evaluation.json",
    log:
        f"{RESULTS}/{{part}}/mixture/seed0/evaluate.log",
    wildcard_constraints:
        part="|".join(MIXTURES),
    resources:
        mem_mb=8000,
        runtime=minutes(240),
    params:
        mixtures=subpath(input.mixtures, parent=True),
        benchmark=benchmark.name,
        examples=0,
    shell:
        f"{EVALUATE} --model mixture > {{log}} 2>&1"


rule evaluate_oracle:
    input:
        mixture=f"{RESULTS}/runs/mixture/seed0/scores.parquet",
        chosen_by=ancient(CHOSEN_BY),
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
        mixtures=MIXTURES["runs"],
        benchmark=benchmark.name,
        examples=benchmark.examples,
    shell:
        f"{EVALUATE} --model {{wildcards.oracle}} --mixture-scores {{input.mixture}} --chosen-by {{input.chosen_by}} > {{log}} 2>&1"


# Estimates that a system of another package has made: a folder or a CSV, named under `external`.
rule evaluate_external:
    input:
        estimates=lambda wildcards: benchmark.external[wildcards.system].estimates,
        mixture=f"{RESULTS}/runs/mixture/seed0/scores.parquet",
        chosen_by=ancient(CHOSEN_BY),
    output:
        scores=f"{RESULTS}/runs/external-{{system}}/seed0/scores.parquet",
        costs=f"{RESULTS}/runs/external-{{system}}/seed0/evaluation.json",
    log:
        f"{RESULTS}/runs/external-{{system}}/seed0/evaluate.log",
    wildcard_constraints:
        system="|".join(benchmark.external) or "none",
    resources:
        mem_mb=8000,
        runtime=minutes(240),
    params:
        mixtures=MIXTURES["runs"],
        benchmark=benchmark.name,
        examples=benchmark.examples,
        cost=lambda wildcards: [
            f"--cost {key}={value:g}" for key, value in benchmark.external[wildcards.system].cost.items()
        ],
    shell:
        f"{EVALUATE} --estimates {{input.estimates:q}} --name {{wildcards.system}} {{params.cost}} --mixture-scores {{input.mixture}} --chosen-by {{input.chosen_by}} > {{log}} 2>&1"


# A variant that differs from another in separation alone trains nothing: it is that other's model with its own config.
rule separate:
    input:
        model=lambda wildcards: MODEL.format(
            variant=TWINS.get(wildcards.variant, wildcards.variant), seed=wildcards.seed
        ),
        config=rules.resolve.output,
        mixtures=lambda wildcards: f"{MIXTURES[wildcards.part]}/manifest.json",
    output:
        temp(directory(f"{RESULTS}/{{part}}/{{variant}}/seed{{seed}}/estimates")),
    log:
        f"{RESULTS}/{{part}}/{{variant}}/seed{{seed}}/separate.log",
    wildcard_constraints:
        part="|".join(MIXTURES),
        variant="|".join(ALL),
    resources:
        gpu=GPU,
        mem_mb=16000,
        runtime=minutes(120),
    params:
        mixtures=subpath(input.mixtures, parent=True),
        device=benchmark.device,
    shell:
        "audioslots --wait --fresh estimate --model {input.model} --config {input.config} --mixtures {params.mixtures}"
        " --out {output} --device {params.device} > {log} 2>&1"


rule evaluate:
    input:
        estimates=rules.separate.output,
        mixture=f"{RESULTS}/{{part}}/mixture/seed0/scores.parquet",
        chosen_by=lambda run: (
            ancient(CHOSEN_BY) if run.part == "runs" and (run.variant, int(run.seed)) != CHOOSES else []
        ),
    output:
        scores=f"{RESULTS}/{{part}}/{{variant}}/seed{{seed}}/scores.parquet",
        costs=f"{RESULTS}/{{part}}/{{variant}}/seed{{seed}}/evaluation.json",
    log:
        f"{RESULTS}/{{part}}/{{variant}}/seed{{seed}}/evaluate.log",
    wildcard_constraints:
        part="|".join(MIXTURES),
        variant="|".join(ALL),
    resources:
        mem_mb=8000,
        runtime=minutes(240),
    params:
        mixtures=lambda wildcards: MIXTURES[wildcards.part],
        benchmark=benchmark.name,
        examples=lambda wildcards: EXAMPLES[wildcards.part],
        chosen_by=lambda wildcards, input: f"--chosen-by {input.chosen_by}" if input.get("chosen_by") else "",
    shell:
        f"{EVALUATE} --estimates {{input.estimates}} --mixture-scores {{input.mixture}} {{params.chosen_by}} > {{log}} 2>&1"


rule dev:
    input:
        [f"{RESULTS}/dev/{variant}/seed{seed}/scores.parquet" for variant, seed in MADE],
    output:
        f"{RESULTS}/dev/scores.csv",
    log:
        f"{RESULTS}/dev/means.log",
    localrule: True
    shell:
        "audioslots --wait --fresh means {input} --out {output} > {log} 2>&1"
