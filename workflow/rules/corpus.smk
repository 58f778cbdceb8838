# Speech in LibriSpeech's layout, downloaded or synthesized where it is not on disk; packed for training.
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
        "audioslots --wait --overwrite corpus synthesize {params.folder} --speakers {params.speakers}"
        " --hours {params.hours} --seed {params.seed} --jobs {threads} 2> {log}"


rule synthesize_noise:
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
        babble=benchmark.babbles,
        noise=benchmark.noise,
    shell:
        "audioslots --wait --overwrite corpus noise {params.folder} --corpus {params.corpus:q} --train {params.babble[tr]}"
        " --validation {params.babble[cv]} --test {params.babble[tt]} --hours {params.noise.hours}"
        " --seed {params.noise.seed} --jobs {threads} 2> {log}"


# Downloads are shared by all benchmarks, and made where Snakemake runs: a cluster's nodes may have no network.
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


rule download_metadata:
    output:
        "data/LibriMix/metadata/Libri{sources}Mix/libri{sources}mix_{subset}.csv",
    log:
        "data/LibriMix/logs/download-libri{sources}mix-{subset}.log",
    localrule: True
    params:
        out=subpath(output[0], ancestor=3),
    shell:
        "audioslots --wait mixtures download {params.out} --subset {wildcards.subset} > {log} 2>&1"


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
        folder=f"{benchmark.corpus_root}/{{subset}}",
        out=subpath(output[0], parent=True),
        rate=benchmark.rate,
        noise="",
    shell:
        "audioslots --wait --overwrite corpus pack {params.folder:q} {params.out} --rate {params.rate} {params.noise}"
        " --jobs {threads} > {log} 2>&1"


use rule pack as pack_noise with:
    input:
        benchmark.noise_files,
    output:
        f"{benchmark.packed_noise}/{{part}}/manifest.json",
    log:
        f"{benchmark.data}/logs/pack-noise-{{part}}.log",
    wildcard_constraints:
        part="tr|cv",
    params:
        folder=f"{benchmark.noise_root}/{{part}}",
        noise="--noise",
