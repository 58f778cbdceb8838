# Learning rates tried on dev speakers before all else (`snakemake learning_rates`), where the benchmark says which.
TRIED = [f"{factor:g}" for factor in benchmark.learning_rates.factors] if benchmark.learning_rates else []
TUNED = [name for name in variants(benchmark.model_copy(update={"lengths": 1})) if name not in SHARED]
RATE = f"{RESULTS}/learning_rates/{{variant}}/{{factor}}"


use rule resolve as resolve_rate with:
    output:
        f"{RATE}/config.json",
    log:
        f"{RATE}/resolve.log",
    params:
        content=lambda wildcards: json.dumps(
            resolve_rate(benchmark, wildcards.variant, float(wildcards.factor)).document(), indent=1, sort_keys=True
        ),


use rule train as train_rate with:
    input:
        config=f"{RATE}/config.json",
        packed=rules.train.input.packed,
        noise=rules.train.input.noise,
    output:
        f"{RATE}/model.safetensors",
        f"{RATE}/history.csv",
        f"{RATE}/system.json",
    log:
        f"{RATE}/train.log",


rule learning_rates:
    input:
        expand(f"{RATE}/history.csv", variant=TUNED, factor=TRIED),
    output:
        f"{RESULTS}/learning_rates.csv",
    log:
        f"{RESULTS}/learning_rates.log",
    localrule: True
    params:
        folder=lambda wildcards, output: os.path.splitext(output[0])[0],
    shell:
        "audioslots --wait --overwrite select-lr {params.folder} --out {output} 2> {log}"
