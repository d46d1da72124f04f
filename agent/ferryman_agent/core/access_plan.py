"""The `permissions` section for one install: who gets which owner, mode, ACL and context (AG 10.6, V2 section 12)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ferryman.appspec import EntryKind, Findings, Permission, SelinuxContext, select
from ferryman_agent.core.acl import complete_acl
from ferryman_agent.core.contexts import UNCONFINED, label_of
from ferryman_agent.core.install_facts import Attributes, Situation
from ferryman_agent.core.rights import OWNER

_SET_ID = 0o6000


class AccessPlan:
    """Applied to the attributes that an object would have otherwise. Mistakes go to `findings`."""

    def __init__(
        self,
        situation: Situation,
        objects: Mapping[str, EntryKind],
        directories: Iterable[str],
        findings: Findings,
    ) -> None:
        self._given = situation
        self._objects = objects
        self._findings = findings
        self.warnings: list[str] = []
        self._chosen = select(situation.appspec, objects, directories, findings)
        for permission in situation.appspec.permissions:
            self._check(permission)
        self._remark_links()

    def apply(self, path: str, attributes: Attributes) -> Attributes:
        """Returns how an object must be in the end: owner and group, then mode, ACL, context (AG-292)."""
        permission = self._chosen.get(path)
        if permission is None:
            return attributes
        uid = self._given.users[permission.owner] if permission.owner is not None else attributes.uid
        gid = self._given.groups[permission.group] if permission.group is not None else attributes.gid
        if self._objects[path] is EntryKind.LINK:
            # Its mode means nothing and an ACL would be the target's (AG-355).
            return Attributes(None, uid, gid)
        mode = permission.mode if permission.mode is not None else attributes.mode
        acl = None
        if permission.acls:
            acl = complete_acl(permission.acls, mode or 0, self._given.users, self._given.groups)
        label = None
        if permission.context is not None and self._given.selinux is not None:
            label = label_of(permission.context, self._given.selinux)
        return Attributes(mode, uid, gid, acl, label)

    def instructions(self) -> Iterator[Mapping[str, object]]:
        """Yields what `install.json` says of it, in AppSpec order (AG-156)."""
        by_entry: dict[int, list[str]] = {}
        for path, permission in self._chosen.items():
            by_entry.setdefault(permission.number, []).append(path)
        for permission in self._given.appspec.permissions:
            for path in by_entry.get(permission.number, ()):
                yield from _instructions(permission, path, is_link=self._objects[path] is EntryKind.LINK)

    def _check(self, permission: Permission) -> None:
        self._check_account("user", permission.owner, self._given.users, permission)
        self._check_account("group", permission.group, self._given.groups, permission)
        for ace in permission.acls:
            if ace.name:
                known = self._given.users if ace.tag == "user" else self._given.groups
                if ace.name not in known:
                    self._unknown(ace.tag, ace.name, permission)
        self._check_right(permission)
        if permission.mode is not None and permission.mode & _SET_ID and not self._given.allow_set_id:
            message = (
                f"mode {permission.mode:04o} sets a set-user-id or set-group-id bit, which this agent refuses"
            )
            self._findings.error("PERM_MODE_SET_ID", permission.place, message)
        if permission.context is not None:
            self._check_context(permission, permission.context)

    def _check_account(
        self, what: str, name: str | None, known: Mapping[str, int], permission: Permission
    ) -> None:
        if name is not None and name not in known:
            self._unknown(what, name, permission)

    def _unknown(self, what: str, name: str, permission: Permission) -> None:
        message = f"there is no {what} {name!r} on this host, which entry {permission.number} of 'permissions' names"
        self._findings.error("PERM_OWNER_UNKNOWN", permission.place, message)

    def _check_right(self, permission: Permission) -> None:
        user = self._given.user
        if user.is_root:
            return
        uid = self._given.users.get(permission.owner or "", user.uid)
        gid = self._given.groups.get(permission.group or "")
        if uid != user.uid or (gid is not None and gid not in user.gids):
            entry = f"entry {permission.number} of 'permissions'"
            message = f"{entry} gives files away, which only root may: run the agent as root"
            self._findings.error(OWNER, permission.place, message)

    def _check_context(self, permission: Permission, context: SelinuxContext) -> None:
        entry = f"entry {permission.number} of 'permissions'"
        if context.type in UNCONFINED and self._given.reject_unconfined:
            message = (
                f"{entry} sets the SELinux type {context.type}, which confines nothing and this agent refuses"
            )
            self._findings.error("PERM_CONTEXT_UNCONFINED", permission.place, message)
        if self._given.selinux is not None:
            if not self._given.selinux.semanage:
                message = (
                    f"{entry} sets an SELinux context, but there is no 'semanage' on this host, without which the next"
                    " relabelling would undo it: install it (policycoreutils-python-utils)"
                )
                self._findings.error("PERM_CONTEXT_TOOL_MISSING", permission.place, message)
        elif self._given.require_selinux:
            message = f"{entry} sets an SELinux context, but this host has no SELinux"
            self._findings.error("PERM_CONTEXT_UNSUPPORTED", permission.place, message)
        else:
            self.warnings.append(
                f"the SELinux context of {permission.object} has no effect: this host has no SELinux"
            )

    def _remark_links(self) -> None:
        links = [
            path
            for path, permission in self._chosen.items()
            if self._objects[path] is EntryKind.LINK and (permission.mode is not None or permission.acls)
        ]
        if links:
            self.warnings.append(
                f"mode and ACL do not apply to symbolic links: {', '.join(links[:5])}{', …' if len(links) > 5 else ''}"
            )


def _instructions(permission: Permission, path: str, *, is_link: bool) -> Iterator[Mapping[str, object]]:
    if permission.owner is not None or permission.group is not None:
        yield {"type": "chown", "owner": permission.owner, "group": permission.group, "file": path}
    if is_link:
        return
    if permission.mode is not None:
        yield {"type": "chmod", "mode": f"{permission.mode:04o}", "file": path}
    if permission.acls:
        yield {"type": "setfacl", "acl": [str(ace) for ace in permission.acls], "file": path}
    if permission.context is not None:
        context = permission.context
        yield {
            "type": "semanage",
            "context": {"user": context.user, "role": None, "type": context.type, "range": context.range},
            "file": path,
        }
