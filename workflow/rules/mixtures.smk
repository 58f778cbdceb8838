# Test and dev mixtures: rows drawn by LibriMix's rules, or its official rows; rendered to the bit, where they are read.
METADATA = f"{benchmark.data}/metadata/libri{benchmark.sources}mix_{{subset}}.csv"


rule draw:
    input:
        CORPUS,
    output:
        METADATA,
    log:
        f"{benchmark.data}/logs/draw-{{subset}}.log",
    wildcard_constraints:
        subset="|".join(set(benchmark.mixture_sets) - set(OFFICIAL)) or "none",
    localrule: True
    params:
        corpus=f"{benchmark.corpus_root}/{{subset}}",
        sources=benchmark.sources,
        mixtures=lambda wildcards: benchmark.mixture_sets[wildcards.subset].count,
        seed=lambda wildcards: benchmark.mixture_sets[wildcards.subset].seed,
        held_out=lambda wildcards: benchmark.held_out(wildcards.subset),
    shell:
        "audioslots --wait --fresh mixtures draw {params.corpus:q} {output} --sources {params.sources} --count {params.mixtures}"
        " --seed {params.seed} --held-out {params.held_out} > {log} 2>&1"


rule select:
    input:
        lambda wildcards: str(OFFICIAL[wildcards.subset]),
    output:
        METADATA,
    log:
        f"{benchmark.data}/logs/select-{{subset}}.log",
    wildcard_constraints:
        subset="|".join(OFFICIAL) or "none",
    localrule: True
    params:
        corpus=benchmark.corpus_root,
    shell:
        "audioslots --wait --fresh mixtures select {input:q} {output} --librispeech {params.corpus:q} > {log} 2>&1"


for part in benchmark.mixture_sets:

    rule:
        name:
            f"render_{part.replace('-', '_')}"
        input:
            METADATA.format(subset=part),
        output:
            f"{benchmark.mixtures(part)}/manifest.json",
        log:
            f"{benchmark.data}/logs/render-{part}.log",
        threads: 2
        resources:
            mem_mb=8000,
            runtime=minutes(120),
        params:
            corpus=benchmark.corpus_root,
            out=subpath(output[0], ancestor=5),
            rate=benchmark.rate,
            mode=benchmark.mode,
        shell:
            "audioslots --wait --fresh mixtures render {input} --librispeech {params.corpus:q} --out {params.out} --rate {params.rate}"
            " --mode {params.mode} --jobs {threads} > {log} 2>&1"
