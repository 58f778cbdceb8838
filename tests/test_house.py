"""The house rules: pins, layering, small deltas, and nothing that ties the project to one machine."""

from __future__ import annotations

import re
import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "audioslots"
MODULES = sorted(PACKAGE.rglob("*.py"))

LARGEST_SNAKEFILE = 75  # lines, of workflow/Snakefile
LARGEST_DELTA = 25  # lines


def lock_lines() -> list[str]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def locked() -> dict[str, Requirement]:
    requirements = [Requirement(line) for line in lock_lines()]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


def pinned(requirement: Requirement) -> str:
    """The one version a line of the lock allows."""
    (specifier,) = requirement.specifier
    return specifier.version


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


# --- the environment -----------------------------------------------------------------------------------------------


def test_lock_pins_every_package_once_by_version_and_names_no_index() -> None:
    pin = re.compile(r'[A-Za-z0-9][\w.-]*==[\w.!+]+( ; sys_platform == "linux")?')
    assert lock_lines()
    assert [line for line in lock_lines() if not pin.fullmatch(line)] == []
    assert len(locked()) == len(lock_lines())


def test_lock_keeps_cuda_packages_to_linux() -> None:
    for name, requirement in locked().items():
        cuda = name == "triton" or name.startswith(("nvidia-", "cuda-"))
        assert (requirement.marker is not None) == cuda, name


def test_lock_satisfies_the_projects_own_bounds() -> None:
    direct = project()["dependencies"] + project()["optional-dependencies"]["dev"]
    for requirement in map(Requirement, direct):
        name = canonicalize_name(requirement.name)
        assert name in locked(), f"{name} is not in requirements.lock: make lock"
        assert requirement.specifier.contains(pinned(locked()[name])), f"{locked()[name]}; expected {requirement}"


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize(("sys_platform", "platform_system"), [("linux", "Linux"), ("darwin", "Darwin")])
def test_lock_lacks_no_requirement_of_its_packages(python: str, sys_platform: str, platform_system: str) -> None:
    """The lock is installed without resolving, so it must be closed, on other platforms and Pythons too."""
    place = {"python_version": python, "python_full_version": f"{python}.0"}
    place |= {"sys_platform": sys_platform, "platform_system": platform_system}
    lock = {n: r for n, r in locked().items() if r.marker is None or r.marker.evaluate(place)}
    missing, seen = [], 0
    for name in lock:
        try:
            requires = distribution(name).requires or []
        except PackageNotFoundError:  # a package of the other platforms
            continue
        seen += 1
        for needed in map(Requirement, requires):
            if needed.marker is not None and not needed.marker.evaluate(place | {"extra": ""}):
                continue
            found = lock.get(canonicalize_name(needed.name))
            if found is None or not needed.specifier.contains(pinned(found), prereleases=True):
                missing.append(f"{name} needs {needed}, the lock has {found}")
    assert missing == []
    assert seen > len(lock) / 2


def test_conda_environment_equals_the_lock() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *conda, pip = environment["dependencies"]
    assert pip["pip"] == [*lock_lines(), "-e ."]
    assert environment["channels"] == ["conda-forge"]
    assert {"pip", "make", "c-compiler"} < set(conda)
    assert any(package.startswith(f"python {project()['requires-python']}") for package in conda)


def test_image_holds_the_lock_and_all_that_the_workflow_reads() -> None:
    lines = (ROOT / "Containerfile").read_text(encoding="utf-8").splitlines()
    copied = {name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]}
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert {"requirements.lock", "Snakefile", "workflow", "profiles", "config", "ablations", "audioslots"} <= copied
    (base,) = re.findall(r"^FROM python:([\d.]+)-", "\n".join(lines), re.MULTILINE)
    assert SpecifierSet(project()["requires-python"]).contains(f"{base}.0")
    assert any("--requirement requirements.lock" in line for line in lines)


# --- the package ---------------------------------------------------------------------------------------------------


def test_package_ships_the_files_it_reads() -> None:
    """Whatever is no Python module must be named as package data, or an installed package lacks it."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shipped = {
        path
        for package, patterns in settings["tool"]["setuptools"]["package-data"].items()
        for pattern in patterns
        for path in ROOT.joinpath(*package.split(".")).glob(pattern)
    }
    other = {p for p in PACKAGE.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc") and p.name[0] != "."}
    assert other <= shipped


# --- the workflow --------------------------------------------------------------------------------------------------


def test_the_root_snakefile_only_includes_the_workflow() -> None:
    lines = (ROOT / "Snakefile").read_text(encoding="utf-8").splitlines()
    code = [line for line in (line.partition("#")[0].strip() for line in lines) if line]
    assert code == ['include: "workflow/Snakefile"', 'workflow.default_target = "all"']


def test_the_workflow_has_one_rule_and_includes_the_others() -> None:
    text = (ROOT / "workflow" / "Snakefile").read_text(encoding="utf-8")
    assert re.findall(r"^(?:rule|checkpoint) (\w+):", text, re.MULTILINE) == ["all"]
    assert "def " not in text and len(text.splitlines()) <= LARGEST_SNAKEFILE
    included = re.findall(r'^include: "rules/(.+)"', text, re.MULTILINE)
    assert sorted(included) == sorted(path.name for path in (ROOT / "workflow" / "rules").iterdir())


def delta_lines(study: str) -> dict[str, int]:
    """Lines of each variant's delta in a study's YAML, comments and blank lines included where they lie inside."""

    def last_line(node: yaml.Node) -> int:
        if isinstance(node, yaml.MappingNode) and node.value and not node.flow_style:
            return last_line(node.value[-1][1])
        if isinstance(node, yaml.SequenceNode) and node.value and not node.flow_style:
            return last_line(node.value[-1])
        return node.end_mark.line

    root = yaml.compose(study, yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    sections = {key.value: value for key, value in root.value}
    return {key.value: last_line(value) - key.start_mark.line for key, value in sections["variants"].value}


def test_delta_lines_counts_a_variants_lines_without_its_name() -> None:
    study = "variants:\n  one:\n    a: 1\n    # why\n    b: {c: 1,\n      d: 2}\n\n  two: {}\n  three:\n    a: [1]\n"
    assert delta_lines(study) == {"one": 4, "two": 0, "three": 1}


def test_every_variant_is_a_small_delta() -> None:
    studies = sorted((ROOT / "ablations").glob("*.y*ml"))
    assert studies
    for path in studies:
        lines = delta_lines(path.read_text(encoding="utf-8"))
        assert lines, path.name
        assert {name: count for name, count in lines.items() if count > LARGEST_DELTA} == {}, path.name


# --- the repository ------------------------------------------------------------------------------------------------

MACHINE_PATH = re.compile(r"(?<![\w.~})\]/-])/(home|Users|root|work|tmp|mnt|workspace)/\w")


@pytest.mark.parametrize(
    "text", ["cd /" + "home/me/x", "root: /" + "work/data", '"/' + 'tmp/x"', "file:///" + "root/x"]
)
def test_machine_paths_are_found(text: str) -> None:
    assert MACHINE_PATH.search(text.removeprefix("file://"))


def test_no_file_names_a_path_of_one_machine() -> None:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listing.returncode != 0:
        pytest.skip("not a git checkout: which files belong to the project is unknown")
    found = []
    for name in filter(None, listing.stdout.split("\0")):
        path = ROOT / name
        try:
            text = path.read_text(encoding="utf-8") if path.is_file() else ""
        except UnicodeDecodeError:  # audio, images
            continue
        found += [f"{name}: {match[0]}" for match in MACHINE_PATH.finditer(text)]
    assert found == []
