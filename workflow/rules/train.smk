# Packed speech, and one training per variant and seed.
PACKED = [benchmark.packed(subset) for subset in (benchmark.corpus.train, benchmark.corpus.validation) if subset]
GPU = int(benchmark.device != "cpu")  # that a job asks for


rule pack:
    input:
        lambda wildcards: benchmark.speech(wildcards.subset),
    output:
        f"{benchmark.packed('{subset}')}/manifest.json",
    log:
        f"{benchmark.data}/logs/pack-{{subset}}.log",
    threads: 2
    resources:
        mem_mb=8000,
        runtime=minutes(240),
    params:
        corpus=f"{benchmark.corpus_root}/{{subset}}",
        out=subpath(output[0], parent=True),
        rate=benchmark.rate,
    shell:
        "audioslots --wait --fresh pack {params.corpus:q} {params.out} --rate {params.rate} --jobs {threads} > {log} 2>&1"


rule pack_noise:
    input:
        benchmark.noise_files,
    output:
        f"{benchmark.packed_noise}/{{part}}/manifest.json",
    log:
        f"{benchmark.data}/logs/pack-noise-{{part}}.log",
    wildcard_constraints:
        part="tr|cv",
    threads: 2
    resources:
        mem_mb=8000,
        runtime=minutes(240),
    params:
        noise=f"{benchmark.noise_root}/{{part}}",
        out=subpath(output[0], parent=True),
        rate=benchmark.rate,
    shell:
        "audioslots --wait --fresh pack {params.noise:q} {params.out} --rate {params.rate} --noise --jobs {threads} > {log} 2>&1"


# Its only trigger is the resolved variant itself, so a change elsewhere in the files never trains anything again.
rule resolve:
    output:
        f"{RESULTS}/runs/{{variant}}/seed{{seed}}/config.json",
    log:
        f"{RESULTS}/runs/{{variant}}/seed{{seed}}/resolve.log",
    localrule: True
    params:
        content=lambda wildcards: json.dumps(
            resolve(benchmark.whole, wildcards.variant, int(wildcards.seed), known=ALL).document(),
            indent=1,
            sort_keys=True,
        ),
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
        init_model=lambda wildcards: (
            resolve(benchmark.whole, wildcards.variant, int(wildcards.seed), known=ALL).init_model or []
        ),
    output:
        f"{RESULTS}/runs/{{variant}}/seed{{seed}}/model.safetensors",
        f"{RESULTS}/runs/{{variant}}/seed{{seed}}/history.csv",
        f"{RESULTS}/runs/{{variant}}/seed{{seed}}/system.json",
    log:
        f"{RESULTS}/runs/{{variant}}/seed{{seed}}/train.log",
    wildcard_constraints:
        variant="|".join(name for name in ALL if name not in TWINS),
    priority: 1
    resources:
        gpu=GPU,
        mem_mb=16000,
        runtime=minutes(2880),
    params:
        run=subpath(output[0], parent=True),
        device=benchmark.device,
    shell:
        "audioslots --wait --fresh train {input.config} --out {params.run} --device {params.device} > {log} 2>&1"
