# Test and dev mixtures: rows drawn by LibriMix's rules, its official rows, or conversations; rendered to the bit, where
# they are read.
SET = f"{benchmark.data}/{{subset}}-{{set}}"
METADATA = f"{SET}/libri{benchmark.sources}mix_{{subset}}.csv"
SPEAKERS = f"speakers-{benchmark.corpus.train}-{benchmark.corpus.held_out_speakers}"
NOISE = "--noise '{}' --part {}"
CONVERSATIONS = [key for key, one in benchmark.mixture_sets.items() if one.rows == "conversations"]


rule draw:
    input:
        lambda wildcards: benchmark.speech(wildcards.subset),
        benchmark.noise_files,
    output:
        METADATA,
    log:
        f"{SET}/draw.log",
    wildcard_constraints:
        subset="|".join(set(benchmark.mixture_sets) - set(OFFICIAL) - set(CONVERSATIONS)) or "none",
    localrule: True
    params:
        corpus=f"{benchmark.corpus_root}/{{subset}}",
        sources=",".join(map(str, benchmark.counts or [benchmark.sources])),
        mixtures=lambda wildcards: benchmark.mixture_sets[wildcards.subset].count,
        seed=lambda wildcards: benchmark.mixture_sets[wildcards.subset].seed,
        held_out=lambda wildcards: benchmark.held_out(wildcards.subset),
        noise=lambda wildcards: NOISE.format(*noise) if (noise := benchmark.drawn_noise(wildcards.subset)) else "",
    shell:
        "audioslots --wait --fresh mixtures draw {params.corpus:q} {output} --sources {params.sources} --count {params.mixtures}"
        " --seed {params.seed} --held-out {params.held_out} {params.noise} > {log} 2>&1"


rule converse:
    input:
        lambda wildcards: benchmark.speech(wildcards.subset),
    output:
        METADATA,
    log:
        f"{SET}/converse.log",
    wildcard_constraints:
        subset="|".join(CONVERSATIONS) or "none",
    localrule: True
    params:
        corpus=f"{benchmark.corpus_root}/{{subset}}",
        sources=benchmark.sources,
        mixtures=lambda wildcards: benchmark.mixture_sets[wildcards.subset].count,
        seed=lambda wildcards: benchmark.mixture_sets[wildcards.subset].seed,
        held_out=lambda wildcards: benchmark.held_out(wildcards.subset),
        length_s=lambda wildcards: benchmark.mixture_sets[wildcards.subset].length_s,
    shell:
        "audioslots --wait --fresh mixtures converse {params.corpus:q} {output} --sources {params.sources} --count {params.mixtures}"
        " --shortest {params.length_s[0]} --longest {params.length_s[1]} --seed {params.seed} --held-out {params.held_out}"
        " > {log} 2>&1"


rule select:
    input:
        lambda wildcards: benchmark.speech(wildcards.subset),
        benchmark.noise_files,
        rows=lambda wildcards: [str(table) for table in OFFICIAL[wildcards.subset]],
    output:
        METADATA,
    log:
        f"{SET}/select.log",
    wildcard_constraints:
        subset="|".join(OFFICIAL) or "none",
    localrule: True
    params:
        corpus=benchmark.corpus_root,
        single="--single" if 1 in benchmark.counts else "",
        noise=lambda wildcards: NOISE.format(*noise) if (noise := benchmark.drawn_noise(wildcards.subset)) else "",
    shell:
        "audioslots --wait --fresh mixtures select {input.rows:q} {output} --librispeech {params.corpus:q} {params.single}"
        " {params.noise} > {log} 2>&1"


for part in benchmark.mixture_sets:

    rule:
        name:
            f"render_{part.replace('-', '_')}"
        input:
            benchmark.metadata(part),
        output:
            f"{benchmark.mixtures(part)}/manifest.json",
        log:
            f"{benchmark.folder_of(part)}/render.log",
        priority: 2
        threads: 2
        resources:
            mem_mb=8000,
            runtime=minutes(120),
        params:
            corpus=benchmark.corpus_root,
            out=subpath(output[0], ancestor=5),
            rate=benchmark.rate,
            mode=benchmark.mode,
            mixed=benchmark.mixed,
            noise="" if benchmark.task == "sep_clean" else f"--wham '{benchmark.noise_root}'",
        shell:
            "audioslots --wait --fresh mixtures render {input} --librispeech {params.corpus:q} --out {params.out} --rate {params.rate}"
            " --mode {params.mode} --types {params.mixed} {params.noise} --jobs {threads} > {log} 2>&1"


# A check of its own, so that training does not depend on the test; before all training, where it can be.
rule apart:
    input:
        mixtures=lambda wildcards: f"{benchmark.mixtures(wildcards.subset)}/manifest.json",
        packed=f"{benchmark.packed(benchmark.corpus.train)}/manifest.json",
    output:
        f"{SET}/{SPEAKERS}.txt",
    log:
        f"{SET}/{SPEAKERS}.log",
    wildcard_constraints:
        subset="|".join(benchmark.mixture_sets),
    priority: 2
    localrule: True
    params:
        mixtures=subpath(input.mixtures, parent=True),
        packed=subpath(input.packed, parent=True),
        held_out=benchmark.corpus.held_out_speakers,
    shell:
        "audioslots --wait --fresh mixtures apart {params.mixtures} --packed {params.packed} --held-out {params.held_out}"
        " > {output} 2> {log}"
