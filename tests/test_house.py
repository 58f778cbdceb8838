"""The house rules: pins, layering, small deltas, and nothing that ties the project to one machine."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "audioslots"
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = SETTINGS["project"]
LOCK = [line for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines() if line[0] != "#"]
LOCKED = {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, LOCK)}
LARGEST_DELTA = 25  # lines
MACHINE_PATH = re.compile(r"(?<![\w.~})\]/-])/(home|Users|root|work|tmp|mnt|workspace)/\w")


@pytest.mark.parametrize(
    "tool", [["lint-imports", "--no-cache", "--no-logo"], ["deptry", "."]], ids=lambda tool: tool[0]
)
def test_imports_keep_the_contracts_of_pyproject(tool: list[str]) -> None:
    program, *options = tool
    done = subprocess.run(
        [Path(sys.executable).with_name(program), *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


# --- the environment -----------------------------------------------------------------------------------------------


def version(requirement: Requirement) -> str:
    """The one version a line of the lock allows."""
    (specifier,) = requirement.specifier
    return specifier.version


def test_lock_pins_every_package_once_and_keeps_cuda_to_linux() -> None:
    assert len(LOCKED) == len(LOCK) > 0
    for line, (name, requirement) in zip(LOCK, LOCKED.items(), strict=True):
        cuda = name == "triton" or name.startswith(("nvidia-", "cuda-"))
        marker = ' ; sys_platform == "linux"' if cuda else ""
        assert line == f"{requirement.name}=={version(requirement)}{marker}"


def test_lock_satisfies_the_projects_own_bounds() -> None:
    for requirement in map(Requirement, PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]):
        name = canonicalize_name(requirement.name)
        assert name in LOCKED, f"{name} is not in requirements.lock: make lock"
        assert requirement.specifier.contains(version(LOCKED[name])), f"{LOCKED[name]}; expected {requirement}"


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize(("sys_platform", "platform_system"), [("linux", "Linux"), ("darwin", "Darwin")])
def test_lock_lacks_no_requirement_of_its_packages(python: str, sys_platform: str, platform_system: str) -> None:
    """The lock is installed without resolving, so it must be closed, on other platforms and Pythons too."""
    place = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    place |= {"sys_platform": sys_platform, "platform_system": platform_system}
    lock = {name: line for name, line in LOCKED.items() if line.marker is None or line.marker.evaluate(place)}
    missing = []
    for name in lock:
        try:
            requires = [Requirement(line) for line in distribution(name).requires or []]
        except PackageNotFoundError:  # a package of the other platforms
            continue
        for needed in requires:
            if needed.marker is None or needed.marker.evaluate(place):
                line = lock.get(canonicalize_name(needed.name))
                if line is None or not needed.specifier.contains(version(line), prereleases=True):
                    missing.append(f"{name} needs {needed}, the lock has {line}")
    assert missing == []


def test_conda_environment_equals_the_lock() -> None:
    *conda, pip = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    assert pip["pip"] == [*LOCK, "-e ."]
    assert {"pip", "make", "c-compiler"} < set(conda)
    assert any(package.startswith(f"python {PROJECT['requires-python']}") for package in conda)


def test_image_holds_the_lock_and_all_that_the_workflow_reads() -> None:
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    copied = {name for line in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE) for name in line.split()}
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert {"requirements.lock", "Snakefile", "workflow", "profiles", "config", "ablations", "audioslots"} <= copied
    (base,) = re.findall(r"^FROM python:([\d.]+)-", text, re.MULTILINE)
    assert SpecifierSet(PROJECT["requires-python"]).contains(f"{base}.0")


# --- the package, the studies, the repository ------------------------------------------------------------------------


def test_package_ships_the_files_it_reads() -> None:
    """Whatever is no Python module must be named as package data, or an installed package lacks it."""
    shipped = {
        path
        for package, patterns in SETTINGS["tool"]["setuptools"]["package-data"].items()
        for pattern in patterns
        for path in ROOT.joinpath(*package.split(".")).glob(pattern)
    }
    other = {p for p in PACKAGE.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc") and p.name[0] != "."}
    assert other <= shipped


def test_the_workflow_includes_all_rules() -> None:
    included = re.findall(r'^include: "rules/(.+)"', (ROOT / "workflow/Snakefile").read_text(), re.MULTILINE)
    assert sorted(included) == sorted(path.name for path in (ROOT / "workflow/rules").iterdir())


@pytest.mark.parametrize("study", sorted((ROOT / "ablations").glob("*.y*ml")), ids=lambda path: path.stem)
def test_every_variant_is_a_small_delta(study: Path) -> None:
    variants = yaml.safe_load(study.read_text(encoding="utf-8"))["variants"]
    lines = {name: yaml.safe_dump(delta).count("\n") for name, delta in variants.items()}
    assert lines and {name: count for name, count in lines.items() if count > LARGEST_DELTA} == {}


def test_no_file_names_a_path_of_one_machine() -> None:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        pytest.skip("not a git checkout: which files belong to the project is unknown")
    found = []
    for path in (ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()):
        with suppress(UnicodeDecodeError):  # audio, images
            found += [f"{path}: {match[0]}" for match in MACHINE_PATH.finditer(path.read_text(encoding="utf-8"))]
    assert found == []
