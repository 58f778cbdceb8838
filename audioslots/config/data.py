"""What a benchmark's data are: a corpus, and sets of mixtures from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from audioslots.config.untrained import COST
from audioslots.runtime.errors import InputError
from audioslots.schema import Name, Section, decisive, hashed, label

TASKS = {"sep_clean": "mix_clean", "sep_noisy": "mix_both", "enh_single": "mix_single"}
"""Task -> its mixtures, both by LibriMix's names: of the speech; of speech and noise; of the first source and noise."""
SUBSETS = {
    **{"dev-clean": 337926286, "dev-other": 314305928, "test-clean": 346663984, "test-other": 328757843},
    **{"train-clean-100": 6387309499, "train-clean-360": 23049477885, "train-other-500": 30593501606},
}
"""Subset of LibriSpeech -> bytes of its archive at openslr.org; its speech takes as many once more."""
DOWNLOADED = Path("data")
"""Where LibriSpeech and LibriMix's metadata are put that were not given, for all benchmarks."""
SYNTHESIS = 2  # version of synthesized speech, part of what its data are made from: raised where a sample changes


class Corpus(Section):
    """Speech in LibriSpeech's layout: synthesized, or LibriSpeech, on disk or downloaded."""

    kind: Literal["synthesized", "librispeech"]
    speakers: int = Field(120, ge=12, description="synthesized: speakers of all subsets together")
    hours: float = Field(1.0, gt=0, description="synthesized: hours of all subsets together")
    seed: int = Field(0, ge=0)
    name: str = label("", "of the corpus, for tables and pages; LibriSpeech or synthesized speech where not given")
    train: str = Field("train-clean", description="subset to train on")
    validation: str | None = Field(None, description="subset to validate on; without one, speakers are held out")
    held_out_speakers: int = Field(0, ge=0, description="speakers held out of training for validation")

    @property
    def is_synthesized(self) -> bool:
        """Whether the speech is made here; else it is read or downloaded."""
        return self.kind != "librispeech"

    @property
    def described(self) -> str:
        """What tables and pages call it."""
        return self.name or ("synthesized speech" if self.is_synthesized else "LibriSpeech")

    @model_validator(mode="after")
    def _validates(self) -> Self:
        if (self.validation is None) == (self.held_out_speakers == 0):
            raise ValueError("give either validation (a subset) or held_out_speakers (above 0); expected exactly one")
        return self


class Noise(Section):
    """Synthesized noise: half of its recordings coloured noise, half babble of the corpus' speakers."""

    hours: float = Field(gt=0, description="hours of training, validation and test together")
    seed: int = Field(0, ge=0)


class External(Section):
    """A system of another package: where its estimates of the test mixtures are, and what it is known to cost."""

    estimates: str = Field(description="folder or CSV")
    cost: dict[Literal[COST], Annotated[float, Field(gt=0)]] = Field(  # type: ignore[valid-type]
        default_factory=dict, description="of separation, for the table of costs"
    )

    @model_validator(mode="before")
    @classmethod
    def _estimates_alone(cls, content: Any) -> Any:
        return {"estimates": content} if isinstance(content, str) else content


class MixtureSet(Section):
    """A rendered set of mixtures: official rows, rows drawn by LibriMix's rules, or conversations."""

    subset: str = Field(description="subset of the corpus, such as test-clean")
    rows: Literal["drawn", "official", "conversations"] = "drawn"
    count: int = Field(100, ge=1, description="drawn, conversations: number of mixtures")
    seed: int = Field(0, ge=0, description="drawn, conversations: seed")
    length_s: tuple[float, float] | None = Field(None, description="conversations: the shortest and the longest, s")

    @model_validator(mode="after")
    def _of_a_length(self) -> Self:
        if self.rows != "conversations":
            if self.length_s:
                raise ValueError(f"rows {self.rows} have no length_s; only conversations have one")
        elif not self.length_s or not 0 < self.length_s[0] <= self.length_s[1]:
            raise ValueError("conversations need length_s; expected the shortest and the longest, as in [30, 120]")
        return self

    def described(self, sources: int, counts: list[int], task: str = "sep_clean") -> str:
        """What the set holds, in words; ``sources`` a mixture, or each of several numbers of them."""
        if task != "sep_clean":
            whole = f"{self.described(sources, counts)}, with noise"
            return whole if task == "sep_noisy" else f"the first speakers alone of {whole}"
        if self.length_s:
            shortest, longest = self.length_s
            return f"{self.count} conversations of {sources} speakers of {self.subset}, {shortest:g} to {longest:g} s"
        drawn = f"{self.count} drawn" if self.rows == "drawn" else "official"
        if counts:
            numbers = f"{', '.join(map(str, counts[:-1]))} and {counts[-1]}"
            return f"{drawn} mixtures of {self.subset} of {numbers} speakers by LibriMix's rules"
        return f"{drawn} Libri{sources}Mix mixtures of {self.subset}"


class Data(Section):
    """The keys of a benchmark that say what its data are, and where these lie."""

    name: Name
    rate: Literal[8000, 16000]
    sources: int = Field(2, ge=2, le=9, description="speakers a mixture; of several numbers, as in [1, 2, 3], the most")
    counts: list[Annotated[int, Field(ge=1)]] = Field(default_factory=list, description="all of several numbers")
    task: Literal["sep_clean", "sep_noisy", "enh_single"] = Field(
        "sep_clean", description="LibriMix's: mixtures without noise; with noise; with noise, of the first source alone"
    )
    mode: Literal["min", "max"] = "min"
    corpus: Corpus
    test: MixtureSet
    dev: MixtureSet | None = None
    noise: Noise | None = Field(None, description="of a task with noise: synthesized")
    wham: str | None = Field(None, description="of a task with noise: folder of WHAM's recordings, tr, cv and tt")
    librispeech: str | None = Field(None, description="folder of LibriSpeech's subsets; not given, they are downloaded")
    librimix: str | None = Field(None, description="LibriMix's metadata: folder or CSV; not given nor near, downloaded")

    @model_validator(mode="before")
    @classmethod
    def _several_numbers(cls, content: Any) -> Any:
        """``sources: [1, 2, 3]`` is the most of them, and all of them."""
        if isinstance(content, dict) and isinstance(several := content.get("sources"), list):
            if len(several) < 2 or not all(type(one) is int for one in several) or several != sorted(set(several)):
                raise ValueError(
                    f"sources {several}; expected a number, or different numbers in order, as in [1, 2, 3]"
                )
            return content | {"sources": several[-1], "counts": several}
        return content

    @model_validator(mode="after")
    def _corpus_given(self) -> Self:
        if unknown := [subset for subset, size in self.archives.items() if not size]:
            raise ValueError(
                f"librispeech is not given, and {unknown[0]} is not a subset that can be downloaded; expected the "
                f"folder of the subsets, or subsets of {', '.join(SUBSETS)}"
            )
        if self.mode == "min" and any(one.length_s for one in self.mixture_sets.values()):
            raise ValueError("mode min cuts the end of conversations; expected max")
        if self.dev is not None:
            self._check_dev(self.dev)
        return self

    @model_validator(mode="after")
    def _noise_given(self) -> Self:
        if self.task == "sep_clean":
            if self.noise or self.wham:
                raise ValueError("noise or wham of task sep_clean, which has none; expected sep_noisy or enh_single")
            return self
        if (self.noise is None) == (self.wham is None):
            raise ValueError(f"task {self.task}: give either noise (synthesized) or wham (a folder); expected one")
        if self.counts or any(one.length_s for one in self.mixture_sets.values()):
            raise ValueError(f"task {self.task} of several numbers of sources or conversations; expected sep_clean")
        return self

    def _check_dev(self, dev: MixtureSet) -> None:
        """Dev mixtures are of the speakers that validate, so training and the test share none with them."""
        validates = self.corpus.validation or self.corpus.train
        if dev.subset != validates:
            raise ValueError(f"dev.subset {dev.subset} has no validation speakers; expected {validates}")
        if self.corpus.held_out_speakers and dev.rows == "official":
            raise ValueError("dev.rows official are of all speakers; expected drawn, of those held out")
        if dev.subset == self.test.subset:
            raise ValueError(f"dev.subset {dev.subset} is the test's too; expected another")

    @property
    def archives(self) -> dict[str, float]:
        """Subset -> GB of its archive, where speech is downloaded; empty where it was given, or is synthesized."""
        downloaded = not self.corpus.is_synthesized and not self.librispeech
        return {subset: SUBSETS.get(subset, 0) / 1e9 for subset in self.subsets if downloaded}

    def speech(self, subset: str) -> list[str]:
        """Files that say that the speech of a subset is there; none where it was given."""
        here = f"{self.corpus_root}/" + (f"{subset}.done" if self.archives else "manifest.json")
        return [] if self.librispeech else [here]

    @property
    def subsets(self) -> list[str]:
        """Subsets of the corpus that are trained on, validated on, or made mixtures of."""
        of_corpus = [self.corpus.train, self.corpus.validation]
        return list(dict.fromkeys(subset for subset in (*of_corpus, *self.mixture_sets) if subset))

    @property
    def data(self) -> str:
        """Folder of the data: one per content or place of the corpus, shared by all benchmarks that use it."""
        content = self._speech | ({"librispeech": self.librispeech} if self.librispeech else {})
        return f"data/{self.corpus.kind}-{hashed(content)[:8]}"

    @property
    def corpus_root(self) -> str:
        """Folder of the corpus' subsets."""
        return self.librispeech or str(DOWNLOADED / "LibriSpeech" if self.archives else f"{self.data}/corpus")

    @property
    def data_identity(self) -> str:
        """Hash of what is trained on, beside rate and sources: another dev or test set trains nothing again."""
        corpus = self.corpus
        used = {"train": corpus.train, "validation": corpus.validation, "held_out_speakers": corpus.held_out_speakers}
        return hashed(self._speech | used | self._noise)

    @property
    def test_identity(self) -> str:
        """Hash of what the test mixtures are made from: scores of the same variant agree only where it is the same."""
        mixed = {"rate": self.rate, "mode": self.mode}
        return hashed(self._speech | self._mixtures(self.test.subset) | mixed)

    @property
    def _speech(self) -> dict[str, Any]:
        """What the speech is made from; of LibriSpeech, its name: it is the same wherever it lies."""
        made = {key: getattr(self.corpus, key) for key in ("speakers", "hours", "seed")} | {"synthesis": SYNTHESIS}
        return {"corpus": self.corpus.kind} | (made if self.corpus.is_synthesized else {})

    @property
    def _noise(self) -> dict[str, Any]:
        """What decides the noise of a task with noise: how it is synthesized, and whose speakers babble in it."""
        made = {"noise": decisive(self.noise), "babbles": self.babbles} if self.noise else {"noise": "wham"}
        return {} if self.task == "sep_clean" else made

    def _mixtures(self, subset: str) -> dict[str, Any]:
        """What a set of mixtures is drawn by, beside the speech."""
        counts = {"counts": self.counts} if self.counts else {}
        task = {} if self.task == "sep_clean" else {"task": self.task, **self._noise}
        own = {"set": decisive(self.mixture_sets[subset]), "held_out": self.held_out(subset), "sources": self.sources}
        return own | counts | task

    @property
    def mixture_sets(self) -> dict[str, MixtureSet]:
        """The sets that can be rendered, by subset."""
        return {part.subset: part for part in (self.test, self.dev) if part is not None}

    @property
    def mixed(self) -> str:
        """LibriMix's name of the mixtures of the task."""
        return TASKS[self.task]

    @property
    def targets(self) -> int:
        """Sources of a mixture that a system is to estimate."""
        return 1 if self.task == "enh_single" else self.sources

    @property
    def noise_root(self) -> str:
        """Folder of the noise: ``tr`` to train on, ``cv`` to validate on, ``tt`` to test on."""
        return self.wham or f"{self.data}/noise-{self._noise_key}"

    @property
    def packed_noise(self) -> str | None:
        """Where packed noise lies, in ``tr`` and ``cv``; none of a task without."""
        folder = f"{self.data}/packed-noise-{self._noise_key}/wav{self.rate // 1000}k"
        return None if self.task == "sep_clean" else folder

    @property
    def noise_files(self) -> list[str]:
        """Files that say that the noise is there; none where it was given, or is not needed."""
        return [f"{self.noise_root}/manifest.json"] if self.noise else []

    def drawn_noise(self, subset: str) -> list[str]:
        """Where the noise of a set's mixtures is drawn from, as root and part; official rows name WHAM's themselves."""
        if self.task == "sep_clean" or (self.wham and self.mixture_sets[subset].rows == "official"):
            return []
        return [self.noise_root, "tt" if subset == self.test.subset else "cv"]

    @property
    def babbles(self) -> dict[str, str]:
        """Part of synthesized noise -> subset whose speakers babble in it."""
        return {"tr": self.corpus.train, "cv": self.corpus.validation or self.corpus.train, "tt": self.test.subset}

    @property
    def _noise_key(self) -> str:
        return hashed(self._noise | ({"wham": self.wham} if self.wham else {}))[:8]

    def held_out(self, subset: str) -> int:
        """How many speakers a subset's mixtures are drawn from, those that training holds out; 0: from all."""
        return self.corpus.held_out_speakers if subset == self.corpus.train else 0

    def folder_of(self, subset: str) -> str:
        """Folder of a set's metadata and mixtures: another for every other set, beside the corpus, which stays."""
        places = {"librimix": self.librimix, "wham": self.wham}
        content = self._mixtures(subset) | {key: place for key, place in places.items() if place}
        return f"{self.data}/{subset}-{hashed(content)[:8]}"

    def metadata(self, subset: str) -> str:
        """Where the metadata of a subset's mixtures lie."""
        return f"{self.folder_of(subset)}/libri{self.sources}mix_{subset}.csv"

    def mixtures(self, subset: str) -> str:
        """Where a subset's mixtures lie, in LibriMix's layout."""
        kind = f"Libri{self.sources}Mix/wav{self.rate // 1000}k/{self.mode}"
        return f"{self.folder_of(subset)}/{kind}/{subset.replace('-clean', '')}"

    def packed(self, subset: str) -> str:
        """Where a subset's packed speech lies."""
        return f"{self.data}/packed/wav{self.rate // 1000}k/{subset}"

    def official(self, subset: str) -> list[Path]:
        """LibriMix's own tables for a subset, one a number of sources above 1, as of ``dataset.official_table``.

        Raises:
            InputError: one is not where it was said to be.
        """
        if self.librispeech and not Path(self.librispeech).is_dir():
            raise InputError(f"librispeech: {self.librispeech}: no such folder; expected LibriSpeech's subsets in it")
        numbers = [sources for sources in self.counts or [self.sources] if sources > 1]
        return [official_table(subset, sources, Path(self.corpus_root), self.librimix) for sources in numbers]


def official_table(subset: str, sources: int, root: Path, librimix: str | None) -> Path:
    """LibriMix's own CSV for a subset: ``librimix`` itself, or in it, or in a clone near LibriSpeech, ``root``.

    Where that is not given and none is near, the place that it is downloaded to.

    Raises:
        InputError: it is not where it was said to be.
    """
    name = f"libri{sources}mix_{subset}.csv"
    inside = Path("metadata") / f"Libri{sources}Mix" / name
    near = [root.parent, root.parent.parent]
    homes = [Path(librimix)] if librimix else [p / n for p in near for n in ("LibriMix", "librimix")]
    for candidate in [p for home in homes for p in (home, home / name, home / inside)]:
        if candidate.is_file():
            return candidate
    if not librimix:
        return DOWNLOADED / "LibriMix" / inside
    raise InputError(
        f"librimix: no {name} in {' or '.join(map(str, homes))}; expected a clone of JorisCos/LibriMix, "
        "its metadata folder or the file (--config librimix=PATH)"
    )
