"""docs/own-model.md, run as written: an own network on an own folder of speech."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import soundfile as sf
from running import REPORT, ROOT, clone, environment, snakemake

BLOCK = re.compile(r"^```(python|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def speakers(corpus: Path, subset: str, out: Path) -> None:
    """The speech of a subset as one folder per speaker, one recording per chapter."""
    for chapter in sorted((corpus / subset).glob("*/*")):
        samples = [sf.read(path)[0] for path in sorted(chapter.glob("*.flac"))]
        (out / chapter.parent.name).mkdir(parents=True, exist_ok=True)
        for number, one in enumerate(samples):
            if len(one) >= 3 * 16_000:
                sf.write(out / chapter.parent.name / f"{chapter.name}-{number}.wav", one, 16_000)


@pytest.mark.slow
def test_the_page_runs_as_written(made_corpus: Path, tmp_path: Path) -> None:
    copy = clone(tmp_path / "clone")
    (python, network), (_, study), (_, benchmark) = BLOCK.findall((ROOT / "docs/own-model.md").read_text())
    assert python == "python"
    (copy / "ablations/my_network.py").write_text(network)
    (copy / "ablations/mine.yaml").write_text(study)
    small = benchmark + "seeds: [0]\nvariant: {training: {steps: 4, validate_every: 2}}\ndevice: cpu\n"
    (copy / "config/mine.yaml").write_text(small.replace("held_out_speakers: 4", "held_out_speakers: 2"))
    for subset, source in {"my-train": "train-clean", "my-test": "test-clean"}.items():
        speakers(made_corpus, source, tmp_path / subset)
        arguments = ["corpus", "import", str(tmp_path / subset), "data/mine", "--subset", subset]
        done = subprocess.run([sys.executable, "-m", "audioslots.cli", *arguments], cwd=copy, env=environment(copy))
        assert done.returncode == 0
    done = snakemake(copy, "--configfile", "config/mine.yaml", root=copy)
    assert done.returncode == 0, done.stdout[-REPORT:]
    scores = pd.read_parquet(copy / "results/mine/scores.parquet")
    assert {"audioslots", "mine"} <= set(scores["variant"])
    assert "My network" in (copy / "results/mine/index.html").read_text()
