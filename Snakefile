# The way of the data: corpus -> mixtures and packed speech -> train -> evaluate -> report.
# Every rule calls one verb of the `audioslots` command line; what to run is the config's, how much the profile's.
import json
import os
import sys

from audioslots.benchmark import read_benchmark, read_study, resolve, resolve_rate, twins, untrained, variants
from audioslots.cluster import leave_warnings_to_training, minutes
from audioslots.errors import InputError
from audioslots.summary import summary

leave_warnings_to_training()


# The image of a job where an engine wants one: built from Containerfile, under the name that a registry knows it by.
container: os.environ.get("AUDIOSLOTS_IMAGE", "docker://audioslots:latest")


if "name" not in config:

    configfile: f"{workflow.basedir}/config/mini.yaml"


try:
    benchmark = read_benchmark(config, str((workflow.configfiles or ["config"])[-1]))
    VARIANTS = variants(benchmark)
    TWINS = twins(VARIANTS)
    OFFICIAL = {key: benchmark.official(key) for key, one in benchmark.mixture_sets.items() if one.rows == "official"}
except InputError as error:
    print(f"snakemake: {error}", file=sys.stderr, flush=True)
    os._exit(2)  # an exception would come out as a traceback, and as status 1

RESULTS = f"results/{benchmark.name}"
RUNS = expand(f"{RESULTS}/runs/{{variant}}/seed{{seed}}", variant=VARIANTS, seed=benchmark.seeds)
BASELINES = expand(f"{RESULTS}/runs/{{variant}}/seed0", variant=untrained(benchmark, VARIANTS))


include: "workflow/rules/corpus.smk"
include: "workflow/rules/mixtures.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/rates.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        f"{RESULTS}/index.html",
