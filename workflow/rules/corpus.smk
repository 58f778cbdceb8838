# Speech in LibriSpeech's layout: on disk already, downloaded, or synthesized here.
rule synthesize:
    output:
        f"{benchmark.data}/corpus/manifest.json",
    log:
        f"{benchmark.data}/logs/synthesize.log",
    threads: 2
    resources:
        mem_mb=8000,
        runtime=minutes(120),
    params:
        folder=subpath(output[0], parent=True),
        speakers=benchmark.corpus.speakers,
        hours=benchmark.corpus.hours,
        seed=benchmark.corpus.seed,
    shell:
        "audioslots --wait --fresh corpus synthesize {params.folder} --speakers {params.speakers} --hours {params.hours}"
        " --seed {params.seed} --jobs {threads} 2> {log}"


rule noise:
    input:
        [file for subset in benchmark.babbles.values() for file in benchmark.speech(subset)],
    output:
        f"{benchmark.data}/noise-{{key}}/manifest.json",
    log:
        f"{benchmark.data}/logs/noise-{{key}}.log",
    threads: 2
    resources:
        mem_mb=8000,
        runtime=minutes(120),
    params:
        folder=subpath(output[0], parent=True),
        corpus=lambda wildcards: benchmark.corpus_root,
        babbles=benchmark.babbles,
        synthesized=benchmark.noise,
    shell:
        "audioslots --wait --fresh corpus noise {params.folder} --corpus {params.corpus:q} --train {params.babbles[tr]}"
        " --validation {params.babbles[cv]} --test {params.babbles[tt]} --hours {params.synthesized.hours}"
        " --seed {params.synthesized.seed} --jobs {threads} 2> {log}"


# Once for all benchmarks, by the machine that Snakemake runs on: where the network is. A download that broke off goes on.
rule download:
    output:
        touch("data/LibriSpeech/{subset}.done"),
    log:
        "data/LibriSpeech/{subset}.log",
    wildcard_constraints:
        subset="|".join(benchmark.archives) or "none",
    localrule: True
    params:
        out=subpath(output[0], parent=True),
        gigabytes=lambda wildcards: f"{benchmark.archives[wildcards.subset]:.1f}",
    message:
        "download {wildcards.subset} of LibriSpeech into data/LibriSpeech: {params.gigabytes} GB, and as much while it is extracted"
    shell:
        "audioslots --wait corpus download {params.out} --subset {wildcards.subset} > {log} 2>&1"


rule fetch:
    output:
        "data/LibriMix/metadata/Libri{sources}Mix/libri{sources}mix_{subset}.csv",
    log:
        "data/LibriMix/logs/fetch-libri{sources}mix-{subset}.log",
    localrule: True
    params:
        out=subpath(output[0], ancestor=3),
    shell:
        "audioslots --wait mixtures fetch {params.out} --subset {wildcards.subset} > {log} 2>&1"
