# The way of the data: corpus -> mixtures and packed speech -> train -> evaluate -> report.
# Every rule calls one verb of the `audioslots` command line; what to run is the config's, how much the profile's.
import json
import os
import sys

from audioslots.benchmark import read_benchmark, resolve, summary, twins, variants
from audioslots.errors import InputError

if "name" not in config:

    configfile: f"{workflow.basedir}/config/mini.yaml"


try:
    benchmark = read_benchmark(config, str((workflow.configfiles or ["config"])[-1]))
    VARIANTS = variants(benchmark)
    TWINS = twins(VARIANTS)
    OFFICIAL = {subset: benchmark.official(subset) for subset, part in benchmark.mixture_sets.items() if part.rows == "official"}
except InputError as error:
    print(f"snakemake: {error}", file=sys.stderr, flush=True)
    os._exit(2)  # an exception would come out as a traceback, and as status 1

RESULTS = f"results/{benchmark.name}"
RUNS = expand(RESULTS + "/runs/{variant}/seed{seed}", variant=VARIANTS, seed=benchmark.seeds)
BASELINES = expand(RESULTS + "/runs/{variant}/seed0", variant=benchmark.baselines)
TEST = benchmark.mixtures(benchmark.test.subset)


include: "workflow/rules/corpus.smk"
include: "workflow/rules/mixtures.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        f"{RESULTS}/index.html",
        [f"{benchmark.mixtures(subset)}/manifest.json" for subset in benchmark.mixture_sets],
