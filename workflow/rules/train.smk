# One training per variant and seed.
PACKED = [benchmark.packed(subset) for subset in (benchmark.corpus.train, benchmark.corpus.validation) if subset]
RESOLVE = lambda run: resolve(benchmark.whole, run.variant, int(run.seed), ALL)
GPU = int(benchmark.device != "cpu")  # that a job asks for


# Its only trigger is the resolved variant itself, so a change elsewhere in the files never trains anything again.
rule resolve:
    output:
        f"{RESULTS}/runs/{{variant}}/seed{{seed}}/config.json",
    log:
        f"{RESULTS}/runs/{{variant}}/seed{{seed}}/resolve.log",
    localrule: True
    params:
        content=lambda wildcards: json.dumps(RESOLVE(wildcards).document(), indent=1, sort_keys=True),
    shell:
        "printf '%s\\n' {params.content:q} > {output} 2> {log}"


# checkpoint.pt is no output: Snakemake deletes the outputs of a job that failed, and the next attempt resumes from it.
rule train:
    input:
        config=rules.resolve.output,
        packed=expand("{packed}/manifest.json", packed=PACKED),
        noise=expand(
            f"{benchmark.packed_noise}/{{part}}/manifest.json", part=["tr", "cv"] if benchmark.packed_noise else []
        ),
        init_model=lambda wildcards: RESOLVE(wildcards).init_model or [],
    output:
        f"{RESULTS}/runs/{{variant}}/seed{{seed}}/model.safetensors",
        f"{RESULTS}/runs/{{variant}}/seed{{seed}}/history.csv",
        f"{RESULTS}/runs/{{variant}}/seed{{seed}}/system.json",
    log:
        f"{RESULTS}/runs/{{variant}}/seed{{seed}}/train.log",
    wildcard_constraints:
        variant="|".join(name for name in ALL if name not in SHARED),
    priority: 1
    resources:
        gpu=GPU,
        mem_mb=16000,
        runtime=minutes(2880),
    params:
        run=subpath(output[0], parent=True),
        device=benchmark.device,
    shell:
        "audioslots --wait --overwrite train {input.config} --out {params.run} --device {params.device} > {log} 2>&1"
