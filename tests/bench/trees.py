"""Other checkouts of this repository, to be measured beside this one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.fixtures.mesh import ROOT, Tree

CACHE: Final = ROOT / "build" / "bench"


def tree_at(root: Path) -> Tree:
    """Return the checkout in a folder.

    Raises:
        SystemExit: it has no environment.
    """
    python = root / ".venv" / "bin" / "python"
    if not (root / ".venv" / "installed").exists():
        sys.exit(f"found no .venv/installed in {root}: `make .venv/installed` there makes it")
    commit = _git("describe", "--always", "--dirty", at=root)
    return Tree(commit, root.resolve(), str(python.absolute()))


def tree_of_commit(commit: str) -> Tree:
    """Check a commit out under `build/bench`, with an environment of its own, or take the one that is there.

    Raises:
        SystemExit: there is no such commit, or it cannot be installed.
    """
    found = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if found.returncode:
        sys.exit(f"found no commit {commit!r} in this repository")
    sha = found.stdout.strip()
    root = CACHE / sha[:12]
    if not (root / ".git").exists():
        _git("clone", "--quiet", "--no-checkout", ".", str(root), at=ROOT)
    _git("checkout", "--quiet", sha, at=root)
    if not (root / ".venv" / "installed").exists():
        sys.stderr.write(f"installing {commit} in {root} (a minute, once)\n")
        if subprocess.run(["make", ".venv/installed"], cwd=root, stdout=sys.stderr, check=False).returncode:
            sys.exit(f"found {commit} not to be installed by `make .venv/installed` in {root}: see above")
    return tree_at(root)


def _git(*arguments: str, at: Path) -> str:
    return subprocess.run(["git", *arguments], cwd=at, check=True, capture_output=True, text=True).stdout.strip()
