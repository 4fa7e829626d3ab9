"""What is installed and what runs in the workflows is named by digest: locks with hashes, actions by commit. Tokens can do the least."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def locked(name: str) -> dict[str, list[Requirement]]:
    """The requirements of a lock, by package: several where they differ by Python or platform."""
    found = {}
    for line in (ROOT / name).read_text().replace("\\\n", " ").splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line.partition("--hash")[0].strip())
            found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_every_package_of_a_lock_has_a_version_and_hashes(name):
    for line in (ROOT / name).read_text().replace("\\\n", " ").splitlines():
        if not line.startswith("#"):
            assert re.fullmatch(r"[\w.-]+==[\w.]+( ; [^#]*?)?( +--hash=sha256:[0-9a-f]{64})+", line), line


def test_the_locks_hold_what_pyproject_asks_for_in_versions_that_it_allows():
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = asked["project"]["optional-dependencies"]
    wanted = [*asked["project"]["dependencies"], *extras["train"], *extras["book"], *extras["test"]]
    held = locked("requirements.lock") | locked("requirements-torch.lock")
    dev = locked("requirements-dev.lock")
    for requirement, lock in [(Requirement(t), held) for t in wanted] + [(Requirement(t), dev) for t in asked["dependency-groups"]["dev"]]:
        if requirement.name != "ncbook":
            for pinned in lock[canonicalize_name(requirement.name)]:
                assert requirement.specifier.contains(next(iter(pinned.specifier)).version), f"{requirement}, but {pinned}"
    assert all(dev[name] == held[name] for name in dev.keys() & held.keys()), "the two locks differ"
    assert not {name for name in held if name.startswith(("nvidia-", "cuda-")) or name == "triton"}  # they follow from PyTorch's build


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit_and_tokens_can_only_read(workflow):
    text = workflow.read_text()
    used = re.findall(r"uses: *(.*)", text)
    assert used and all(re.fullmatch(r"[\w-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action) for action in used), used
    content = yaml.safe_load(text)
    assert content["permissions"] == {"contents": "read"}
    for job in content["jobs"].values():
        runs_our_code = any("run" in step or "checkout" in step["uses"] for step in job["steps"])
        assert not (runs_our_code and "permissions" in job), "a token that can write, in a job that runs code of the repository"
        for step in job["steps"]:
            if "checkout@" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False
            assert "${{" not in step.get("run", "").replace("${{ matrix.", ""), "a value that others may choose, in a shell"


def test_an_action_has_one_version_everywhere():
    used = {line for workflow in WORKFLOWS for line in re.findall(r"uses: *(.*)", workflow.read_text())}
    assert len({line.partition("@")[0] for line in used}) == len(used)
