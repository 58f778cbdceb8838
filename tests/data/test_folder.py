"""A folder of mixtures: verified when finished, continued when interrupted, and one process at a time."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from folder_contents import contents

from audioslots.data.corpora.folder import RECORD
from audioslots.data.librimix.metadata import read_metadata, write_metadata
from audioslots.data.librimix.rendering import render
from audioslots.runtime.errors import InputError
from audioslots.runtime.stage import Stage

SPLIT = Path("Libri2Mix/wav8k/min/test")


def test_a_finished_folder_is_left_alone_even_without_its_corpus(rendered: Path, table: Path, tmp_path: Path) -> None:
    files = [*rendered.rglob("*.wav"), *rendered.rglob("*.csv"), *rendered.rglob("*.json")]
    before = {file: file.stat().st_mtime_ns for file in files}
    render(table, tmp_path / "no corpus", rendered, 8000, "min")
    assert {file: file.stat().st_mtime_ns for file in files} == before


@pytest.mark.parametrize("damage", ["short", "missing", "changed", "stray", "table", "manifest"])
def test_a_finished_folder_that_was_damaged_is_refused(
    rendered: Path, table: Path, made_corpus: Path, tmp_path: Path, damage: str
) -> None:
    out = Path(shutil.copytree(rendered, tmp_path / "out"))
    folder = out / SPLIT
    victim = sorted((folder / "s2").glob("*.wav"))[3]
    wav = victim.read_bytes()
    if damage == "short":
        victim.write_bytes(wav[:-2])
    elif damage == "missing":
        victim.unlink()
    elif damage == "changed":
        victim.write_bytes(wav[:-1] + bytes([wav[-1] ^ 1]))
    elif damage == "stray":
        victim = Path(shutil.copy(victim, folder / "s2/zzz.wav"))
    elif damage == "table":
        victim = folder.parent / "metadata/info_test.csv"
        victim.write_text(victim.read_text() + "x")
    else:
        victim = folder / "manifest.json"
        victim.write_text("[]")
    with pytest.raises(InputError, match="; expected") as caught:
        render(table, made_corpus, out, 8000, "min")
    assert str(caught.value).startswith(f"{victim}: ")


def test_other_arguments_into_the_same_folder_are_refused_finished_or_not(
    rendered: Path, table: Path, made_corpus: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(rendered, tmp_path / "out"))
    other = tmp_path / "other.csv"
    write_metadata(read_metadata(table).assign(source_1_gain=0.5), other)
    with pytest.raises(InputError, match=r"render.stage.json: metadata_sha256 is \w+; expected \w+"):
        render(other, made_corpus, out, 8000, "min")
    (out / SPLIT / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"render.stage.json: metadata_sha256 is \w+; expected \w+"):
        render(other, made_corpus, out, 8000, "min")
    assert not (out / SPLIT / "manifest.json").exists()


def test_files_that_no_stage_tells_of_are_refused_and_left_alone(
    rendered: Path, table: Path, made_corpus: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(rendered, tmp_path / "out"))
    (out / SPLIT / "manifest.json").unlink()
    (out / SPLIT / "render.stage.json").unlink()
    before = contents(out)
    with pytest.raises(InputError, match="test: holds mix_clean, of other origin; expected"):
        render(table, made_corpus, out, 8000, "min")
    assert contents(out) == before


@pytest.mark.parametrize("damage", [None, "short", "missing", "changed"])
def test_a_folder_whose_manifest_was_taken_away_is_closed_again_and_only_damage_is_remade(
    rendered: Path, table: Path, made_corpus: Path, tmp_path: Path, damage: str | None
) -> None:
    """Snakemake removes the declared output of a rule before it runs the rule again."""
    out = Path(shutil.copytree(rendered, tmp_path / "out"))
    (out / SPLIT / "manifest.json").unlink()
    victim = sorted((out / SPLIT / "mix_clean").glob("*.wav"))[4]
    if damage == "missing":
        victim.unlink()
    elif damage is not None:
        wav = victim.read_bytes()
        victim.write_bytes(wav[:-2] if damage == "short" else wav[:-1] + bytes([wav[-1] ^ 1]))
    before = {file: file.stat().st_mtime_ns for file in out.rglob("*.wav") if file.stem != victim.stem}
    render(table, made_corpus, out, 8000, "min")
    assert contents(out) == contents(rendered)
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert damage is not None or victim.stat().st_mtime_ns == (rendered / victim.relative_to(out)).stat().st_mtime_ns


def test_a_file_of_no_mixture_keeps_a_folder_from_being_closed(
    rendered: Path, table: Path, made_corpus: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(rendered, tmp_path / "out"))
    (out / SPLIT / "manifest.json").unlink()
    (out / SPLIT / "s1/zzz.wav").write_bytes(b"RIFF")
    with pytest.raises(InputError, match=r"zzz.wav: belongs to no mixture; expected"):
        render(table, made_corpus, out, 8000, "min")
    assert not (out / SPLIT / "manifest.json").exists()


@pytest.mark.parametrize("record", ["", "null\n", "{}\n", '{"no": "arguments"}\nno json\n', "[1]\n[2]\n"])
def test_a_record_that_is_damaged_is_refused_or_begun_anew(
    rendered: Path, table: Path, made_corpus: Path, tmp_path: Path, record: str
) -> None:
    out = Path(shutil.copytree(rendered, tmp_path / "out"))
    (out / SPLIT / "manifest.json").unlink()
    (out / SPLIT / RECORD).write_text(record)
    if record:
        with pytest.raises(InputError, match=r"record.jsonl: .*; expected"):
            render(table, made_corpus, out, 8000, "min")
    else:
        render(table, made_corpus, out, 8000, "min")
        assert contents(out) == contents(rendered)


def test_an_interrupted_render_continues_to_the_same_bytes(
    rendered: Path, table: Path, made_corpus: Path, copy: Path, tmp_path: Path
) -> None:
    victim = copy / read_metadata(table)["source_1_path"][6]
    victim.write_bytes(victim.read_bytes()[:20_000])
    folder = tmp_path / "out" / SPLIT
    with pytest.raises(InputError, match=f"{victim.name}: "):
        render(table, copy, tmp_path / "out", 8000, "min")
    assert not (folder / "manifest.json").exists()
    assert not list(folder.rglob("*.tmp.wav"))
    before = {file: file.stat().st_mtime_ns for file in (folder / "mix_clean").glob("*.wav")}
    assert 0 < len(before) < 10
    # What a SIGKILL leaves besides: a file written aside, a torn last line; and somebody removed a finished file.
    (folder / "s1/.torn.0123abcd.tmp.wav").write_bytes(b"RIFF")
    (folder / ".manifest.0123abcd.tmp.json").write_text("{")
    (folder.parent / "metadata").mkdir()
    (folder.parent / "metadata/.info_test.0123abcd.tmp.csv").write_text("mixture")
    with open(folder / RECORD, "a") as record:
        record.write('{"mixture_ID": "torn')
    gone = min(before)
    gone.unlink()
    render(table, made_corpus, tmp_path / "out", 8000, "min")
    assert contents(tmp_path / "out") == contents(rendered)
    assert all(file.stat().st_mtime_ns == time for file, time in before.items() if file != gone)


def test_two_renders_into_one_folder_at_once_are_kept_apart(table: Path, made_corpus: Path, tmp_path: Path) -> None:
    with (
        Stage(tmp_path / SPLIT, "render", {}, ()).locked(),
        pytest.raises(InputError, match="another process works there"),
    ):
        render(table, made_corpus, tmp_path, 8000, "min")
    render(table, made_corpus, tmp_path, 8000, "min")
