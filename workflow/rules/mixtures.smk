# Test and dev mixtures: sampled by LibriMix's rules, its official rows, or conversations; rendered only where they are read.
SET = f"{benchmark.data}/{{subset}}-{{set}}"
METADATA = f"{SET}/libri{benchmark.sources}mix_{{subset}}.csv"
SPEAKERS = f"speakers-{benchmark.corpus.train}-{benchmark.corpus.held_out_speakers}"
NOISE = lambda wildcards: (
    "--noise '{}' --part {}".format(*noise) if (noise := benchmark.drawn_noise(wildcards.subset)) else ""
)
CONVERSATIONS = [subset for subset, mixtures in benchmark.mixture_sets.items() if mixtures.rows == "conversations"]


rule sample:
    input:
        lambda wildcards: benchmark.speech(wildcards.subset),
        benchmark.noise_files,
    output:
        METADATA,
    log:
        f"{SET}/sample.log",
    wildcard_constraints:
        subset="|".join(set(benchmark.mixture_sets) - set(OFFICIAL) - set(CONVERSATIONS)) or "none",
    localrule: True
    params:
        command="sample",
        corpus=f"{benchmark.corpus_root}/{{subset}}",
        speakers=",".join(map(str, benchmark.counts or [benchmark.sources])),
        mixtures=lambda wildcards: benchmark.mixture_sets[wildcards.subset],
        held_out=lambda wildcards: benchmark.held_out(wildcards.subset),
        own=NOISE,
    shell:
        "audioslots --wait --overwrite mixtures {params.command} {params.corpus:q} {output} --num-speakers {params.speakers}"
        " --count {params.mixtures.count} --seed {params.mixtures.seed} --held-out {params.held_out} {params.own} > {log} 2>&1"


use rule sample as sample_conversations with:
    wildcard_constraints:
        subset="|".join(CONVERSATIONS) or "none",
    params:
        command="sample-conversations",
        own=lambda wildcards: "--shortest {} --longest {}".format(*benchmark.mixture_sets[wildcards.subset].length_s),


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
        noise=NOISE,
    shell:
        "audioslots --wait --overwrite mixtures select {input.rows:q} {output} --librispeech {params.corpus:q} {params.single}"
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
            "audioslots --wait --overwrite mixtures render {input} --librispeech {params.corpus:q} --out {params.out}"
            " --rate {params.rate} --mode {params.mode} --types {params.mixed} {params.noise} --jobs {threads} > {log} 2>&1"


# Training does not depend on the test, so the check is a job of its own; it runs before all training, where it can.
rule check_speakers:
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
        "audioslots --wait --overwrite mixtures check-speakers {params.mixtures} --packed {params.packed}"
        " --held-out {params.held_out} > {output} 2> {log}"
