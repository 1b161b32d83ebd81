# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of an image only an option brings to the disk: devices, setuid, owners, extended attributes (threat row 14)."""

from __future__ import annotations

import os
import pathlib
import stat
import typing as t

import clients
import pytest
import tally as tallies
from hostile import rawtar
from hostile.bench import Bench
from hostile.case import of_output

CAPABILITY = b"\1\0\0\2" + (1 << 10).to_bytes(4, "little") + bytes(12)  # cap_net_bind_service, as the kernel keeps it
NOTED = {
    "SCHILY.xattr.user.note": "note",
    "SCHILY.xattr.security.capability": CAPABILITY,
    "SCHILY.xattr.security.selinux": "system_u:object_r:evil_t:s0",
    "SCHILY.xattr.trusted.overlay.opaque": "y",
}
TAR = rawtar.whole(
    rawtar.header("null", rawtar.CHARACTER),
    rawtar.header("pipe", rawtar.FIFO),
    rawtar.header("tool", mode=0o6755, uid=4321),
    rawtar.pax(NOTED) + rawtar.file("noted"),
)
OFF = {"devices": False, "owner": "current", "special_bits": False, "xattrs": False}
ALL_OFF = {"null": False, "pipe": False, "setuid": False, "owner": False, "user.note": False, "security.capability": False}
# By option: what it brings.
BRINGS = {"devices": ["null", "pipe"], "special_bits": ["setuid"], "owner": ["owner"], "xattrs": ["user.note", "security.capability"]}


@pytest.fixture(name="able")
def _able(tmp_path: pathlib.Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    probe = tmp_path / "probe"
    try:
        os.mknod(probe, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        probe.unlink()
        probe.touch()
        os.setxattr(probe, "user.note", b"1")
        os.setxattr(probe, "security.capability", CAPABILITY)
        probe.unlink()
    except OSError as error:
        pytest.skip(f"no devices or extended attributes can be made here: {error}")


def _found(out: pathlib.Path) -> t.Dict[str, bool]:
    tool, attributes = (out / "tool").stat(), os.listxattr(out / "noted")
    return {
        "null": (out / "null").is_char_device(),
        "pipe": (out / "pipe").is_fifo(),
        "setuid": bool(tool.st_mode & (stat.S_ISUID | stat.S_ISGID)),
        "owner": tool.st_uid == 4321,
        **{name: name in attributes for name in ("user.note", "security.capability")},
    }


@pytest.mark.usefixtures("able")
@pytest.mark.parametrize("option", [None, *BRINGS, "all"])
def test_only_what_is_asked_for(
    option: t.Optional[str], ours: t.Type[clients.Ours], report: t.Callable[..., None], tmp_path: pathlib.Path
) -> None:
    """Threat row 14: each option brings its own and nothing else. No option brings labels, or attributes that only root may read."""
    bench = Bench(tmp_path)
    asked = [] if option is None else list(BRINGS) if option == "all" else [option]
    options = {**OFF, **{name: "keep" if name == "owner" else True for name in asked}}
    wanted = {**ALL_OFF, **{effect: True for name in asked for effect in BRINGS[name]}}
    done = ours(bench.home).pull(bench.named(bench.image(TAR)), str(bench.out), unpack="rootfs", rootfs_options=options)
    problems = [*of_output(done, ours.name), *([] if done.succeeded else [done.output])]
    if not problems:
        found = _found(bench.out)
        problems += [f"{name} is {found[name]}" for name in wanted if found[name] != wanted[name]]
        names = set(os.listxattr(bench.out / "noted")) - {"user.note", "security.capability", "security.selinux"}
        problems += [f"attributes that nothing brings: {names}"] if names else []
        problems += (
            ["the image's label is there"]
            if "security.selinux" in os.listxattr(bench.out / "noted")
            and (b"evil_t" in os.getxattr(bench.out / "noted", "security.selinux"))
            else []
        )
    report(tallies.INPUTS, problems)
