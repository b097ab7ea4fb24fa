"""What to do where the system says "Permission denied": whom it says so to, and what cures it."""

from __future__ import annotations

import os
import pwd
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

USE_FILE = os.R_OK | os.W_OK
USE_FOLDER = USE_FILE | os.X_OK

OF_ALL = {
    Path("/", *name.split())
    for name in (
        *("", "bin", "boot", "dev", "etc", "home", "lib", "media", "mnt", "opt", "proc", "root"),
        *("run", "sbin", "srv", "sys", "tmp", "usr", "usr local", "var", "var lib", "var tmp"),
    )
}
"""Folders that are never to be given to one user, as are those of people under /home."""


def remedy(error: OSError, path: Path, place: Path, is_folder: bool) -> str:
    """
    What a message about `error` is to end with: where a permission is missing, the user who is
    without it, and the command that gives it; else nothing.

    :param path: what could not be read, written or made.
    :param place: what has to be its user's: where `is_folder`, a folder with all that is in it;
        else a file, those beside it whose names begin with its name, and the folder's own entries.
    """
    return _told(error, _for_folder if is_folder else _for_file, path, place)


def remedy_to_read(error: OSError, path: Path) -> str:
    """The same where `path` is somebody else's file, which is only to be read."""
    return _told(error, _for_reader, path)


def _told(error: OSError, tell: Callable[..., str | None], *paths: Path) -> str:
    if not isinstance(error, PermissionError):
        return ""
    who = f", for {_user(os.geteuid())}"
    if os.geteuid() == 0:
        return f"{who}; the file system, or a security module, withholds it from root too"
    try:
        what = tell(*(path.absolute() for path in paths))
    except OSError:
        return who
    if what is None:
        return f"{who}; the modes allow it, so a security module (SELinux, AppArmor) may forbid it"
    return f"{who}; {what}"


def _user(uid: int) -> str:
    try:
        return f"user {uid} ({pwd.getpwuid(uid).pw_name})"
    except KeyError:
        return f"user {uid}"


def _for_folder(path: Path, folder: Path) -> str | None:
    if what := _for_way(folder):
        return what
    if _is_of_all(folder) and not _may_use(folder):
        return _own_folder(folder)
    looked_at = {folder, path, *(way for way in path.parents if folder in way.parents)}
    if all(_may_use(one) for one in looked_at if os.path.lexists(one)):
        return None
    return _give(["-R"], [folder], looked_at)


def _for_file(path: Path, file: Path) -> str | None:
    folder = file.parent
    if what := _for_way(folder):
        return what
    names = os.listdir(folder) if os.access(folder, os.R_OK, effective_ids=True) else []
    files = sorted(folder / name for name in names if name.startswith(file.name))
    if not _may_use(folder):
        if _is_of_all(folder) or len(files) < len(names):
            # It has other things too.
            return _own_folder(folder)
        if not names:
            # What is in it cannot be seen.
            return _give(["-R"], [folder], [folder])
    wrong = [one for one in (folder, *files) if not _may_use(one)]
    return _give([], wrong, wrong) if wrong else None


def _for_reader(path: Path) -> str | None:
    # Whoever renews certificates keeps them elsewhere, behind links.
    file = Path(os.path.realpath(path))
    for way in (*reversed(path.parents), *reversed(file.parents)):
        if not os.access(way, os.X_OK, effective_ids=True):
            return _as_root("chmod", "o+x", way)
    return None if os.access(file, os.R_OK, effective_ids=True) else _give([], [file], [file])


def _for_way(folder: Path) -> str | None:
    """What is to be done before the folder can be reached."""
    for way in reversed(folder.parents):
        if os.path.lexists(way) and not os.access(way, os.X_OK, effective_ids=True):
            return _as_root("chmod", "o+x", way)
    return None if os.path.lexists(folder) else _make(folder)


def _own_folder(folder: Path) -> str:
    return f"choose a folder of its own for it, {_make(folder / 'evcharge')}"


def _make(folder: Path) -> str:
    user, group = os.geteuid(), os.getegid()
    return _as_root("install", "-d", "-o", user, "-g", group, "-m", 700, folder)


def _give(options: Sequence[str], paths: Sequence[Path], looked_at: Iterable[Path]) -> str:
    """Own `paths`; or, where all that was looked at is ours, may use them."""
    owners = {one.lstat().st_uid for one in looked_at if os.path.lexists(one)}
    if owners == {os.geteuid()}:
        return _as_root("chmod", *options, "u+rwX", *paths)
    return _as_root("chown", *options, f"{os.geteuid()}:{os.getegid()}", *paths)


def _is_of_all(folder: Path) -> bool:
    return folder in OF_ALL or folder.parent == Path("/home")


def _may_use(path: Path) -> bool:
    return os.access(path, USE_FOLDER if path.is_dir() else USE_FILE, effective_ids=True)


def _as_root(*words: object) -> str:
    return f"as root: {shlex.join(map(str, words))}"
