# Speech in LibriSpeech's layout: synthesized here, or on disk already (`audioslots corpus download` gets LibriSpeech).
CORPUS = [] if benchmark.librispeech else f"{benchmark.corpus_root}/manifest.json"


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
