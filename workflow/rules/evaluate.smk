# One pass over the test mixtures per run. The mixture comes first: the others reuse its scores as their inputs'.
# A trained model separates in a job of its own, since scoring, which takes longer, needs no GPU.
# `snakemake dev` does so with the dev mixtures, in a folder that no report reads: there choices are made.
SETS = {"runs": benchmark.test.subset} | ({"dev": benchmark.dev.subset} if benchmark.dev else {})
MIXTURES = {part: benchmark.mixtures(subset) for part, subset in SETS.items()}
EXAMPLES = {"runs": benchmark.examples, "dev": 0}
RUN = f"{RESULTS}/{{part}}/{{variant}}/seed{{seed}}"
MODEL = f"{RESULTS}/runs/{{variant}}/seed{{seed}}/model.safetensors"
EXTERNAL = {f"external-{name}": system for name, system in benchmark.external.items()}
CHOOSES = choose_listening_run(benchmark, MADE)
CHOSEN_BY = ancient(f"{RESULTS}/runs/{CHOOSES[0]}/seed{CHOOSES[1]}/scores.parquet")


# A variant that differs from another only in separation trains nothing: it is that other's model with its own config.
rule separate:
    input:
        model=lambda run: MODEL.format(variant=SHARED.get(run.variant, run.variant), seed=run.seed),
        config=rules.resolve.output,
        mixtures=lambda run: f"{MIXTURES[run.part]}/manifest.json",
    output:
        temp(directory(f"{RUN}/estimates")),
    log:
        f"{RUN}/separate.log",
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
        "audioslots --wait --overwrite separate-set --model {input.model} --separation-config {input.config}"
        " --mixtures {params.mixtures} --out {output} --device {params.device} > {log} 2>&1"


rule evaluate:
    input:
        estimates=rules.separate.output,
        mixture_scores=f"{RESULTS}/{{part}}/mixture/seed0/scores.parquet",
        chosen_by=lambda run: [] if run.part == "dev" or (run.variant, int(run.seed)) == CHOOSES else CHOSEN_BY,
    output:
        scores=f"{RUN}/scores.parquet",
        costs=f"{RUN}/evaluation.json",
    log:
        f"{RUN}/evaluate.log",
    wildcard_constraints:
        part="|".join(MIXTURES),
        variant="|".join(ALL),
    resources:
        mem_mb=8000,
        runtime=minutes(240),
    params:
        system=lambda run, input: f"--estimates {input.estimates}",
        mixtures=lambda run: MIXTURES[run.part],
        benchmark=benchmark.name,
        examples=lambda run: EXAMPLES[run.part],
        known=lambda run, input: " ".join(
            f"--{key.replace('_', '-')} {input[key]}" for key in ("mixture_scores", "chosen_by") if input.get(key)
        ),
    shell:
        "audioslots --wait --overwrite evaluate {params.system} --mixtures {params.mixtures} --out {output.scores}"
        " --benchmark {params.benchmark} --examples {params.examples} {params.known} --jobs {threads} > {log} 2>&1"


use rule evaluate as evaluate_mixture with:
    input:
        mixtures=lambda run: f"{MIXTURES[run.part]}/manifest.json",
        speakers=lambda run: f"{benchmark.folder_of(SETS[run.part])}/{SPEAKERS}.txt",
    wildcard_constraints:
        part="|".join(MIXTURES),
        variant="mixture",
    params:
        system="--model mixture",
        examples=0,


use rule evaluate as evaluate_oracle with:
    input:
        mixture_scores=rules.evaluate.input.mixture_scores,
        chosen_by=CHOSEN_BY,
    wildcard_constraints:
        part="runs",
        variant="oracle-[a-z0-9.-]+",
    params:
        system="--model {variant}",


# Estimates that a system of another package has made: a folder or a CSV, named under `external`.
use rule evaluate as evaluate_external with:
    input:
        estimates=lambda run: EXTERNAL[run.variant].estimates,
        mixture_scores=rules.evaluate.input.mixture_scores,
        chosen_by=CHOSEN_BY,
    wildcard_constraints:
        part="runs",
        variant="|".join(EXTERNAL) or "none",
    params:
        system=lambda run, input: " ".join(
            [f"--estimates '{input.estimates}' --name {run.variant.removeprefix('external-')}"]
            + [f"--cost {key}={value:g}" for key, value in EXTERNAL[run.variant].cost.items()]
        ),


rule dev:
    input:
        [f"{RESULTS}/dev/{variant}/seed{seed}/scores.parquet" for variant, seed in MADE],
    output:
        f"{RESULTS}/dev/scores.csv",
    log:
        f"{RESULTS}/dev/rank.log",
    localrule: True
    shell:
        "audioslots --wait --overwrite rank {input} --out {output} > {log} 2>&1"
