"""
The Pythons of this machine that evcharge runs with, of each version one, the oldest first.

    python3 tools/pythons.py

They are looked for on the PATH, and where pyenv keeps what it has installed.
"""

import os
import subprocess
from pathlib import Path

OLDEST, NEWEST = 10, 30
"""Of Python 3; the last one is far from being made."""


def works(python: Path) -> bool:
    """Whether it is there, runs, and can make a virtual environment; pyenv's stand-ins need not."""
    try:
        done = subprocess.run([python, "-c", "import ensurepip, venv"], capture_output=True)
    except OSError:
        return False
    return done.returncode == 0


def pythons() -> list[Path]:
    """All of them."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    folders = [Path(folder) for folder in os.environ.get("PATH", os.defpath).split(os.pathsep)]
    folders += sorted(pyenv.glob("versions/*/bin"))
    found = []
    for minor in range(OLDEST, NEWEST):
        there = (folder / f"python3.{minor}" for folder in folders)
        found += [path for path in there if os.access(path, os.X_OK) and works(path)][:1]
    return found


if __name__ == "__main__":
    print(*pythons(), sep="\n")
