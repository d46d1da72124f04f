"""Owner, mode, ACL and SELinux label of what an install makes, on descriptors or without following links (V2-215)."""

from __future__ import annotations

import errno
import os
import stat
import struct

from ferryman_agent.core.acl import NO_ACL, Acl, AclRule
from ferryman_agent.core.install_facts import Attributes
from ferryman_agent.errors import InstallError
from ferryman_agent.system import fs

_ACCESS = "system.posix_acl_access"
_DEFAULT = "system.posix_acl_default"
ACLS = (_ACCESS, _DEFAULT)
LABEL = "security.selinux"
_LINK_FLAGS = fs.O_PATH | fs.O_NOFOLLOW if hasattr(fs, "O_PATH") else 0
_VERSION = struct.pack("<I", 2)
_NOBODY = 0xFFFFFFFF
_TAGS = {
    ("user", False): 0x01,
    ("user", True): 0x02,
    ("group", False): 0x04,
    ("group", True): 0x08,
    ("mask", False): 0x10,
    ("other", False): 0x20,
}


def set_attributes(descriptor: int, path: str, wanted: Attributes) -> None:
    """Gives an open file or directory its owner and group, then its mode, ACL and SELinux label (AG-292).

    A change of owner clears set-user-ID bits, so the mode comes after it (AG-354). Raises OSError, InstallError.
    """
    status = fs.fstat(descriptor)
    owner = _owner(wanted, status)
    if owner is not None:
        fs.fchown(descriptor, *owner)
    if wanted.acl == NO_ACL:
        # Before the mode, which would go to the mask.
        _set_acl(descriptor, path, NO_ACL)
    mode = wanted.mode if wanted.mode is not None else stat.S_IMODE(status.st_mode)
    if owner is not None or wanted.acl == NO_ACL or mode != stat.S_IMODE(status.st_mode):
        fs.fchmod(descriptor, mode)
    if wanted.acl is not None and wanted.acl != NO_ACL:
        _set_acl(descriptor, path, wanted.acl)
    if wanted.label is not None:
        _set_label(descriptor, path, wanted.label)


def set_link_owner(folder: int, name: str, wanted: Attributes) -> None:
    """Gives a link itself its owner and group. Raises OSError, FileExistsError when it is no link any more."""
    if not _LINK_FLAGS:
        # Not Linux: nothing there opens a link itself.
        owner = _owner(wanted, fs.stat(name, dir_fd=folder, follow_symlinks=False))
        if owner is not None:
            fs.chown(name, *owner, dir_fd=folder, follow_symlinks=False)
        return
    descriptor = fs.open(name, _LINK_FLAGS, dir_fd=folder)
    try:
        status = fs.fstat(descriptor)
        if not stat.S_ISLNK(status.st_mode):
            raise FileExistsError(errno.EEXIST, "it was replaced while the install was running", name)
        owner = _owner(wanted, status)
        if owner is not None:
            # By the descriptor: whoever owns the folder may have put another file under the name meanwhile.
            fs.chown(f"/proc/self/fd/{descriptor}", *owner)
    finally:
        os.close(descriptor)


def differs(status: os.stat_result, wanted: Attributes) -> bool:
    """Says whether an object needs `set_attributes`."""
    has_mode = wanted.mode is None or wanted.mode == stat.S_IMODE(status.st_mode)
    has_more = wanted.acl is not None or wanted.label is not None
    return has_more or not has_mode or _owner(wanted, status) is not None


def _owner(wanted: Attributes, status: os.stat_result) -> tuple[int, int] | None:
    uid = wanted.uid if wanted.uid is not None else status.st_uid
    gid = wanted.gid if wanted.gid is not None else status.st_gid
    return None if (uid, gid) == (status.st_uid, status.st_gid) else (uid, gid)


def _set_acl(descriptor: int, path: str, acl: Acl) -> None:
    try:
        if acl.access:
            fs.setxattr(descriptor, _ACCESS, _encoded(acl.access))
        else:
            _remove(descriptor, _ACCESS)
        if stat.S_ISDIR(fs.fstat(descriptor).st_mode):
            if acl.default:
                fs.setxattr(descriptor, _DEFAULT, _encoded(acl.default))
            else:
                _remove(descriptor, _DEFAULT)
    except OSError as problem:
        if problem.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        message = f"cannot set the ACL of {path}: the file system there has no ACLs"
        raise InstallError("PERM_ACL_UNSUPPORTED", message) from problem


def _set_label(descriptor: int, path: str, label: str) -> None:
    try:
        fs.setxattr(descriptor, LABEL, label.encode() + b"\0")
    except OSError as problem:
        message = f"cannot set the SELinux label {label} of {path}: {problem.strerror}"
        raise InstallError("PERM_CONTEXT_FAILED", message) from problem


def _remove(descriptor: int, name: str) -> None:
    try:
        fs.removexattr(descriptor, name)
    except OSError as problem:
        if problem.errno != errno.ENODATA:
            raise


def _encoded(rules: tuple[AclRule, ...]) -> bytes:
    """Returns the kernel's form: entries by tag, then by number."""
    rows = sorted(
        (
            _TAGS[rule.tag, rule.ident is not None],
            rule.ident if rule.ident is not None else _NOBODY,
            rule.permissions,
        )
        for rule in rules
    )
    return _VERSION + b"".join(struct.pack("<HHI", tag, bits, ident) for tag, ident, bits in rows)
