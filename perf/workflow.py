"""How long Snakemake takes over a benchmark of many variants: to plan it, to see that nothing is left, to add one.

The jobs themselves are pretended: a stand-in for the command line writes empty outputs. What is measured is what a user
waits for before the first job, and what Snakemake itself takes a job, beside which real jobs should be long.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import yaml

ROOT = Path(__file__).resolve().parent.parent
AIM_S = 10.0
REPEATS = 3
STAND_IN = """\
#!/bin/sh
# Pretends each command: makes its outputs.
while [ "${2#--}" != "$2" ]; do shift; done
option() { while [ $# -gt 1 ]; do [ "$1" = "$name" ] && echo "$2" && return; shift; done; }
make() { mkdir -p "$(dirname "$1")" && : > "$1"; }
name=--out; out=$(option "$@")
case "$2 $3" in
  "corpus synthesize") make "$4/manifest.json" ;;
  "mixtures sample") make "$5" ;;
  "mixtures render") set -- "${4##*mix_}"; set -- "${1%-clean.csv}"
    make "$out/Libri2Mix/wav8k/min/$1/manifest.json" ;;
  "corpus pack") make "$5/manifest.json" ;;
  train*) for file in model.safetensors history.csv system.json; do make "$out/$file"; done ;;
  separate-set*) make "$out/manifest.json" ;;
  evaluate*) make "$out"; make "${out%/*}/evaluation.json" ;;
  report*) for file in index.html scores.parquet tables/main.csv; do make "$3/$file"; done ;;
esac
"""


def add_variants(clone: Path, count: int) -> None:
    """A study of so many variants, the baseline among them."""
    deltas = {f"many-{k}": {"title": f"Many {k}", "training": {"learning_rate": 1e-6 * k}} for k in range(1, count)}
    study = {"title": "Many", "question": "Is a plan of many variants quick?", "from": "audioslots/audioslots"}
    study |= {"baseline": "audioslots", "variants": {"audioslots": {}, **deltas}}
    (clone / "ablations" / "many.yaml").write_text(yaml.safe_dump(study, sort_keys=False))


def snakemake(clone: Path, *arguments: str) -> tuple[float, dict[str, int]]:
    """Seconds of a run (the median of several dry ones), and the jobs it planned by rule."""
    path = os.pathsep.join([str(clone / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [sys.executable, "-m", "snakemake", "--cores", "16", "--configfile", "many.yaml", *arguments]
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(clone)}
    seconds = []
    for _ in range(REPEATS if "--dry-run" in arguments else 1):
        started = time.perf_counter()
        run = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)
        seconds.append(time.perf_counter() - started)
        if run.returncode:
            sys.exit(run.stdout[-2000:] + run.stderr[-2000:])
    jobs = re.findall(r"^(\w+) +(\d+)$", run.stdout + run.stderr, re.MULTILINE)
    return median(seconds), {rule: int(count) for rule, count in jobs}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--variants", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder)
        for name in ("workflow", "profiles", "ablations", "audioslots"):
            shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "Snakefile", clone)
        (clone / "bin").mkdir()
        (clone / "bin" / "audioslots").write_text(STAND_IN)
        (clone / "bin" / "audioslots").chmod(0o755)
        config = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())
        config |= {"name": "many", "seeds": list(range(given.seeds)), "studies": ["many"]}
        (clone / "many.yaml").write_text(yaml.safe_dump(config))
        add_variants(clone, given.variants)

        print(f"Snakemake over {given.variants} variants x {given.seeds} seeds (at most {AIM_S:g} s is aimed at)")
        seconds, jobs = snakemake(clone, "--dry-run")
        print(f"  dry run of {jobs['total']} jobs                    {seconds:6.1f} s")
        seconds, _ = snakemake(clone)
        print(f"  all of them, pretended               {seconds:6.1f} s, {1000 * seconds / jobs['total']:.0f} ms a job")
        seconds, jobs = snakemake(clone, "--dry-run")
        print(f"  the same again: {jobs.get('total', 0)} jobs               {seconds:6.1f} s")
        add_variants(clone, given.variants + 1)
        seconds, jobs = snakemake(clone, "--dry-run")
        print(f"  one variant more: {jobs['total']} jobs            {seconds:6.1f} s")
        print("   ", ", ".join(f"{count} {rule}" for rule, count in jobs.items() if rule != "total"))


if __name__ == "__main__":
    main()
