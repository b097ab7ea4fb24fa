"""
Runs a command under the restrictions of a systemd unit, as far as no service manager is needed.

    python tests/support/confined.py UNIT COMMAND…

Of the unit: UMask, LimitNOFILE, LimitCORE, CapabilityBoundingSet (which must be empty),
NoNewPrivileges, SystemCallFilter with SystemCallErrorNumber, RestrictAddressFamilies,
RestrictNamespaces, LockPersonality and MemoryDenyWriteExecute. Not the user, and nothing that takes
a view of the file system of its own. It needs libseccomp, and systemd-analyze, which knows what the
groups of system calls are. Linux only.
"""

import ctypes
import errno
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

ALLOW, ERRNO = 0x7FFF0000, 0x00050000
EQUAL, MASKED_EQUAL = 4, 7
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
PROT_WRITE, PROT_EXEC, SHM_EXEC = 2, 4, 0o100000
CLONE_NEW = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)


class Compare(ctypes.Structure):
    """An argument of a system call, and what it is compared with."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("one", ctypes.c_uint64),
        ("other", ctypes.c_uint64),
    )


def settings(unit: Path) -> dict[str, list[str]]:
    """What the section [Service] says: each setting's values, in order."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in unit.read_text().splitlines():
        if line.startswith("["):
            section = line
        elif "=" in line and not line.startswith("#") and section == "[Service]":
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def groups() -> dict[str, list[str]]:
    """The groups of system calls, each with its members, which may be groups."""
    listed = subprocess.run(
        ["systemd-analyze", "syscall-filter"], check=True, capture_output=True, text=True
    ).stdout
    found: dict[str, list[str]] = {}
    group = ""
    for line in listed.splitlines():
        if line.startswith("@"):
            group = line.strip()
        elif line.startswith(" ") and line.strip() and not line.strip().startswith("#"):
            found.setdefault(group, []).append(line.strip())
    return found


def allowed(filters: list[str]) -> set[str]:
    """The system calls that lines of SystemCallFilter allow."""
    known = groups()

    def expanded(name: str) -> set[str]:
        if not name.startswith("@"):
            return {name}
        return set().union(*(expanded(member) for member in known[name]))

    calls = expanded("@default")
    for line in filters:
        named = set().union(*map(expanded, line.removeprefix("~").split()))
        calls = calls - named if line.startswith("~") else calls | named
    return calls


class Filter:
    """A seccomp filter: what is not named gets `default`."""

    def __init__(self, default: int) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(default)))

    def add(self, action: int, call: str, *compare: tuple[int, int, int, int]) -> None:
        """Name a system call, with what its arguments must be; one of another machine is none."""
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        if number == -1:
            return
        rows = (Compare * len(compare))(*compare)
        failed = self._library.seccomp_rule_add_array(
            self._context, ctypes.c_uint32(action), number, len(compare), rows
        )
        # A call that this machine has by another name cannot be named.
        if failed and -failed not in (errno.EDOM, errno.EINVAL):
            raise OSError(-failed, f"{call}: {os.strerror(-failed)}")

    def load(self) -> None:
        """Have it from now on."""
        if failed := self._library.seccomp_load(self._context):
            raise OSError(-failed, os.strerror(-failed))


def confine(unit: Path) -> None:
    """Put the restrictions of `unit` on this process."""
    said = {name: values[-1] for name, values in settings(unit).items()}
    calls = allowed(settings(unit)["SystemCallFilter"])
    os.umask(int(said["UMask"], 8))
    for name, limit in (
        ("LimitNOFILE", resource.RLIMIT_NOFILE),
        ("LimitCORE", resource.RLIMIT_CORE),
    ):
        _, most = resource.getrlimit(limit)
        # Only a service manager can raise what is ours at most.
        wanted = int(said[name]) if most == resource.RLIM_INFINITY else min(int(said[name]), most)
        resource.setrlimit(limit, (wanted, wanted))
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() == 0:
        assert said["CapabilityBoundingSet"] == ""
        for capability in range(64):
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    assert said["NoNewPrivileges"] == "yes"
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    some = Filter(ALLOW)
    refuse = ERRNO | errno.EPERM
    if said["MemoryDenyWriteExecute"] == "yes":
        both = PROT_WRITE | PROT_EXEC
        some.add(refuse, "mmap", (2, MASKED_EQUAL, both, both))
        for call in ("mprotect", "pkey_mprotect"):
            some.add(refuse, call, (2, MASKED_EQUAL, PROT_EXEC, PROT_EXEC))
        some.add(refuse, "shmat", (2, MASKED_EQUAL, SHM_EXEC, SHM_EXEC))
    families = {int(getattr(socket, name)) for name in said["RestrictAddressFamilies"].split()}
    for family in set(range(46)) - families:
        some.add(ERRNO | errno.EAFNOSUPPORT, "socket", (0, EQUAL, family, 0))
    if said["RestrictNamespaces"] == "yes":
        some.add(refuse, "unshare")
        some.add(refuse, "setns")
        # Its flags are in memory, where a filter does not look.
        some.add(ERRNO | errno.ENOSYS, "clone3")
        for flag in CLONE_NEW:
            some.add(refuse, "clone", (0, MASKED_EQUAL, flag, flag))
    if said["LockPersonality"] == "yes":
        some.add(refuse, "personality")
    some.load()
    rest = Filter(ERRNO | getattr(errno, said["SystemCallErrorNumber"]))
    for call in sorted(calls):
        rest.add(ALLOW, call)
    rest.load()


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
