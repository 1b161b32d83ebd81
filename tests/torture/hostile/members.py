# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Members of tars that lead out, of folders that artifacts have and of layers that images have (rows 7 to 14, 16 and 17)."""

from __future__ import annotations

import functools
import gzip
import os
import stat
import typing as t

from clients import Place, Run

from .bench import LAYER, OCI_CONFIG, TITLE, UNPACK, Bench, digest, dumps, tree
from .case import CONTAINED, PULL, REFUSED, Case
from .case import UNPACK as ROOTFS
from .rawtar import BLOCK_DEVICE, CHARACTER, END, FIFO, HARD_LINK, file, folder, hard_link, header, long_names, padded, pax, symlink, whole

# The records of a tar: ``p`` is what members are named after, "d/" in a folder and "" in a root file system; ``o`` is outside.
Records = t.Callable[[str, str], t.Sequence[bytes]]
BASE_256 = b"\x80" + b"\xff" * 11
HUGE = b"\x80\0\0\0" + (2**62).to_bytes(8, "big")
NEGATIVE = b"\xff" * 12

# What no reader may take. The links up to r13 name the outside in each way there is.
LEAD_OUT: t.Dict[str, Records] = {
    "r07-dotdot": lambda p, o: [file(p + "../../outside/evil")],
    "r07-dotdot-within": lambda p, o: [folder(p + "a"), file(p + "a/../b")],
    "r07-dotdot-last": lambda p, o: [folder(p + "a/..")],
    "r07-pax-path": lambda p, o: [pax({"path": p + "../../outside/evil"}), file(p + "good")],
    "r07-pax-global-path": lambda p, o: [pax({"path": p + "../../outside/evil"}, b"g"), file(p + "good")],
    "r07-gnu-name": lambda p, o: [long_names(p + "../" * 60 + o[1:] + "/evil"), file(p + "good")],
    "r07-prefix-field": lambda p, o: [header("evil", prefix=p + "../../outside")],
    "r07-nul-in-pax": lambda p, o: [pax({"path": p + "a\0../../outside/evil"}), file(p + "good")],
    "r10-hard-link-out": lambda p, o: [hard_link(p + "evil", "../outside/canary")],
    "r10-hard-link-dotdot": lambda p, o: [folder(p + "a"), hard_link(p + "a/evil", p + "../../outside/canary")],
    "r10-hard-link-pax": lambda p, o: [pax({"linkpath": "../../outside/canary"}), header(p + "evil", HARD_LINK, link=p + "good")],
    "r10-hard-link-bare": lambda p, o: [hard_link(p + "evil", "bare")],
    "r10-hard-link-later": lambda p, o: [hard_link(p + "a", p + "b"), file(p + "b")],
    "r10-hard-link-itself": lambda p, o: [hard_link(p + "a", p + "a")],
    "r10-hard-link-folder": lambda p, o: [folder(p + "a"), hard_link(p + "b", p + "a")],
    "r12-nul": lambda p, o: [pax({"path": p + "\0"}), file(p + "good")],
    "r17-size-negative": lambda p, o: [header(p + "a", size=NEGATIVE)],
    "r17-size-huge": lambda p, o: [header(p + "a", size=HUGE), padded(b"x")],
    "r17-size-most": lambda p, o: [header(p + "a", size=BASE_256), padded(b"x")],
    "r17-size-octal-most": lambda p, o: [header(p + "a", size=b"77777777777\0"), padded(b"x")],
    "r17-size-no-number": lambda p, o: [header(p + "a", size=b"9z9z9z9z9z9z"), padded(b"x")],
    "r17-pax-size": lambda p, o: [pax({"size": str(2**60)}), file(p + "a")],
    "r17-pax-size-negative": lambda p, o: [pax({"size": "-512"}), file(p + "a")],
    "r17-pax-size-long": lambda p, o: [pax({"size": "9" * 5000}), file(p + "a")],
    "r17-pax-length-lies": lambda p, o: [header("x", b"x", 10) + padded(b"99 path=a\n"), file(p + "a")],
    "r17-pax-length-zero": lambda p, o: [header("x", b"x", 10) + padded(b"0 path=ab\n"), file(p + "a")],
    "r17-pax-header-of-32-mib": lambda p, o: [pax({"comment": "c" * 32 * 1024 * 1024}), file(p + "a")],
    "r17-pax-headers-without-end": lambda p, o: [pax({f"k{n}": "c" * 1000}) for n in range(20_000)],
    "r17-global-headers-without-end": lambda p, o: [pax({f"k{n}": "c" * 1000}, b"g") for n in range(20_000)],
    "r17-gnu-name-of-32-mib": lambda p, o: [header("x", b"L", 32 * 1024 * 1024) + bytes(32 * 1024 * 1024), file(p + "a")],
    "r17-name-of-1-mib": lambda p, o: [pax({"path": p + "x/" * 500_000}), file(p + "a")],
    "r17-sparse-gnu": lambda p, o: [header(p + "a", b"S", 512) + bytes(512)],
    "r17-sparse-pax-1-eib": lambda p, o: [
        pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": p + "a", "GNU.sparse.realsize": str(2**60)}),
        file(p + "a", b"1\n0\n512\n" + bytes(504)),
    ],
    "r17-checksum": lambda p, o: [b"b" + file(p + "a")[1:]],
    "r17-no-tar": lambda p, o: [b"x" * 4096],
    "r14-unknown-kind": lambda p, o: [header(p + "a", b"V")],
}

# What may be unpacked, or refused, as long as it stays within the destination.
KEPT_IN: t.Dict[str, Records] = {
    "r07-absolute": lambda p, o: [file(f"{o}/evil")],
    "r08-link-then-file-through-it": lambda p, o: [symlink(p + "link", o), file(p + "link/evil")],
    "r08-relative-link-then-file": lambda p, o: [symlink(p + "link", "../../outside"), file(p + "link/evil")],
    "r08-link-then-file-of-its-name": lambda p, o: [symlink(p + "link", o + "/canary"), file(p + "link", b"evil")],
    "r08-link-then-folder-of-its-name": lambda p, o: [symlink(p + "link", o), folder(p + "link", 0o777), file(p + "link/evil")],
    "r08-link-then-link-through-it": lambda p, o: [symlink(p + "link", o), symlink(p + "link/evil", "canary")],
    "r08-folder-then-link-then-file": lambda p, o: [folder(p + "x"), symlink(p + "x", o), file(p + "x/evil")],
    "r08-chain": lambda p, o: [symlink(p + "a", "."), symlink(p + "a/b", ".."), symlink(p + "a/b/c", ".."), file(p + "a/b/c/outside/evil")],
    "r08-chain-of-folders": lambda p, o: [
        folder(p + "x"),
        symlink(p + "x/up", ".."),
        symlink(p + "x/up/y", "x/up/.."),
        file(p + "x/up/y/outside/evil"),
    ],
    "r08-link-changed-between": lambda p, o: [
        folder(p + "x"),
        file(p + "x/one"),
        symlink(p + "y", "x"),
        file(p + "y/two"),
        symlink(p + "y", o),
        file(p + "y/evil"),
    ],
    "r08-hidden-by-dots": lambda p, o: [symlink(p + "./a//link", o), file(p + "a/./link/evil")],
    "r08-loop": lambda p, o: [symlink(p + "a", "b"), symlink(p + "b", "a"), file(p + "a/evil")],
    "r09-link-past-path-max": lambda p, o: [symlink(p + "a", "x/../" * 1000 + o), file(p + "a/evil")],
    "r09-links-past-path-max": lambda p, o: [
        *(part for n in range(16) for part in _long_steps(p, n)),
        symlink(p + "end", "/".join(chr(97 + n) for n in range(16)) + "/" + "../" * 60 + o[1:]),
        file(p + "end/evil"),
    ],
    "r10-hard-link-absolute": lambda p, o: [hard_link(p + "evil", o + "/canary")],
    "r10-hard-link-through-a-link": lambda p, o: [symlink(p + "link", o), hard_link(p + "evil", p + "link/canary"), file(p + "evil", b"x")],
    "r11-hard-link-to-a-link": lambda p, o: [symlink(p + "link", o + "/canary"), hard_link(p + "evil", p + "link"), file(p + "evil", b"x")],
    "r12-root-is-a-link": lambda p, o: [symlink(p or ".", o), file(p + "evil")],
    "r12-root-is-a-link-unnamed": lambda p, o: [symlink("", o), file(p + "evil")],
    "r12-empty-name": lambda p, o: [file("", b"x")],
    "r12-slashes-only": lambda p, o: [header("///", b"0")],
    "r14-setuid": lambda p, o: [file(p + "a", mode=0o6755)],
    "r14-character-device": lambda p, o: [header(p + "null", CHARACTER)],
    "r14-block-device": lambda p, o: [header(p + "disk", BLOCK_DEVICE)],
    "r14-fifo": lambda p, o: [header(p + "fifo", FIFO)],
    "r14-security-xattr": lambda p, o: [pax({"SCHILY.xattr.security.selinux": "evil_t", "SCHILY.xattr.trusted.x": "y"}), file(p + "a")],
    "r14-owner-from-pax": lambda p, o: [pax({"uid": str(2**32 - 1)}), file(p + "a")],
    "r06-newline": lambda p, o: [file(p + "a\nFORGED\nb")],
    "r06-ansi": lambda p, o: [file(p + "a\x1b[31mFORGED"), symlink(p + "b\x1b[2J", "\x1b]0;x\x07")],
    "r06-not-utf8": lambda p, o: [file(p.encode() + b"a\xff\xfe")],
}

WHITEOUTS: t.Dict[str, Records] = {
    "r13-whiteout-of-dotdot": lambda p, o: [file(".wh...")],
    "r13-whiteout-of-dot": lambda p, o: [file(".wh..")],
    "r13-whiteout-of-nothing": lambda p, o: [file(".wh.")],
    "r13-whiteout-through-a-link": lambda p, o: [symlink("link", o), file("link/.wh.canary")],
    "r13-opaque-through-a-link": lambda p, o: [symlink("link", o), file("link/.wh..wh..opq")],
    "r13-whiteout-with-slash": lambda p, o: [pax({"path": ".wh.../outside/canary"}), file("x")],
    "r13-absolute-whiteout": lambda p, o: [file(f"{o}/.wh.canary")],
    "r13-dotdot-whiteout": lambda p, o: [file("../outside/.wh.canary")],
}


def _long_steps(p: str, number: int) -> t.Iterator[bytes]:
    """CVE-2025-4517: folders of long names, each with a short link, so that realpath gives up on the whole."""
    below = p + "/".join(["d" * 247] * number)
    below += "/" if number else ""
    name = below + "d" * 247
    yield long_names(name) + folder(name)
    link = below + chr(97 + number)
    yield long_names(link) + symlink(link, "d" * 247)


def _folder(records: Records, bench: Bench) -> Place:
    tar = whole(folder("d/"), *records("d/", str(bench.outside)))
    return bench.named(bench.artifact(bench.titled("first", b"first"), bench.packed("d", tar, _fast)))


def _rootfs(records: Records, bench: Bench) -> Place:
    return bench.named(bench.image(whole(file("good"), folder("etc/")), whole(*records("", str(bench.outside))), pack=_fast))


def _fast(tar: bytes) -> bytes:
    return gzip.compress(tar, 1)


def _no_danger(bench: Bench, _run: Run) -> t.List[str]:
    """Without options: no devices, nothing of the namespaces security and trusted."""
    kinds = {stat.S_IFCHR: "a character device", stat.S_IFBLK: "a block device", stat.S_IFIFO: "a FIFO"}
    problems = [f"{path} is {kinds[state[0]]}" for path, state in tree(bench.out).items() if state[0] in kinds]
    for path, state in tree(bench.out).items():
        if stat.S_ISREG(state[0]):
            names = [name for name in os.listxattr(bench.out / path) if name.startswith(("security.", "trusted."))]
            problems += [f"{path} has {name}" for name in names if os.getxattr(bench.out / path, name) in (b"evil_t", b"y")]
    return problems


def _no_setuid(bench: Bench, run: Run) -> t.List[str]:
    found = [path for path, state in tree(bench.out).items() if not stat.S_ISLNK(state[0]) and state[1] & 0o7022]
    return _no_danger(bench, run) + [f"{path} has too wide a mode" for path in found]


def _blob(change: t.Callable[[bytes], bytes], bench: Bench) -> Place:
    """A folder whose packed tar is damaged, under its true digest."""
    packed = gzip.compress(whole(folder("d/"), file("d/a", os.urandom(3000))), mtime=0)
    layer = bench.put(change(packed), LAYER + "+gzip", annotations={TITLE: "d", UNPACK: "true"})
    return bench.named(bench.artifact(layer))


def _other_diff_id(bench: Bench) -> Place:
    tar = whole(file("a"))
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest(b"other")]}}
    layer = bench.put(gzip.compress(tar), LAYER + "+gzip")
    return bench.named(bench.document({"config": bench.put(dumps(config), OCI_CONFIG), "layers": [layer]}))


def _image_blob(change: t.Callable[[bytes], bytes], bench: Bench) -> Place:
    return bench.named(bench.image(whole(file("a", os.urandom(3000))), pack=lambda tar: change(gzip.compress(tar, mtime=0))))


DAMAGE: t.Dict[str, t.Callable[[bytes], bytes]] = {
    "r16-crc": lambda blob: blob[:-8] + bytes([blob[-8] ^ 1]) + blob[-7:],
    "r16-length": lambda blob: blob[:-4] + bytes([blob[-4] ^ 1]) + blob[-3:],
    "r16-cut": lambda blob: blob[:-20],
    "r16-cut-in-the-trailer": lambda blob: blob[:-3],
    "r16-rubbish-after": lambda blob: blob + b"rubbish",
    "r16-bit-in-the-middle": lambda blob: blob[:500] + bytes([blob[500] ^ 255]) + blob[501:],
    "r16-tar-cut": lambda blob: gzip.compress(gzip.decompress(blob)[:2000]),
    "r16-no-gzip": lambda blob: b"\x1f\x8b" + b"x" * 100,
    "r16-half-a-member-more": lambda blob: blob + gzip.compress(END * 4)[:15],
}

OF_LAYERS = ("r16-crc", "r16-cut", "r16-tar-cut")
# One reader of tars serves both; what it makes of names and links differs.
OF_ROOTFS = [name for name in LEAD_OUT if not name.startswith("r17")] + ["r17-size-huge", "r17-name-of-1-mib", "r17-sparse-pax-1-eib"]

CASES = [
    *(Case(f"{name}-in-a-folder", PULL, functools.partial(_folder, records)) for name, records in LEAD_OUT.items()),
    *(Case(f"{name}-in-a-rootfs", ROOTFS, functools.partial(_rootfs, LEAD_OUT[name])) for name in OF_ROOTFS),
    *(
        Case(f"{name}-in-a-folder", PULL, functools.partial(_folder, records), CONTAINED, check=_no_setuid)
        for name, records in KEPT_IN.items()
    ),
    *(
        Case(f"{name}-in-a-rootfs", ROOTFS, functools.partial(_rootfs, records), CONTAINED, check=_no_danger)
        for name, records in {**KEPT_IN, **WHITEOUTS}.items()
    ),
    *(Case(f"{name}-of-a-folder", PULL, functools.partial(_blob, change), REFUSED) for name, change in DAMAGE.items()),
    *(
        Case(f"{name}-of-a-layer", ROOTFS, functools.partial(_image_blob, DAMAGE[name]), REFUSED)
        for name in ("r16-crc", "r16-cut", "r16-tar-cut")
    ),
    Case("r16-diff-id", ROOTFS, _other_diff_id, REFUSED),
]
