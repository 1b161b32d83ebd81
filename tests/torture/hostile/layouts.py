# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Layout folders whose files are not what they ought to be, and digests that are none (rows 18 to 23, 28 and 64)."""

from __future__ import annotations

import functools
import os
import pathlib
import shutil
import typing as t

from clients import Place, Run

from .bench import LAYER, OCI_CONFIG, REF_NAME, TITLE, Bench, Document, digest, dumps, tree
from .case import ACCEPTED, CONTAINED, COPY, PULL, RELAY, Case
from .rawtar import file, whole

HEX = "0" * 64


class Parts(t.NamedTuple):
    """A good image with its parts, to be damaged."""

    bench: Bench
    root: Document
    config: Document
    layer: Document

    def place(self) -> Place:
        return self.bench.named(self.root)


def parts(bench: Bench) -> Parts:
    tar = whole(file("a", b"content" * 100))
    layer = bench.put(tar, LAYER)
    config = bench.put(
        dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}), OCI_CONFIG
    )
    return Parts(bench, bench.document({"config": config, "layers": [layer]}), config, layer)


def _damaged(damage: t.Callable[[Parts], t.Any], bench: Bench) -> Place:
    found = parts(bench)
    place = found.place()
    damage(found)
    return place


def _replace(path: pathlib.Path, make: t.Callable[[pathlib.Path], t.Any]) -> None:
    path.unlink()
    make(path)


def _of_secret(found: Parts, target: t.Callable[[Parts], t.Union[str, pathlib.Path]]) -> None:
    """A layer with the secret's digest and size, which is a link to it."""
    secret = found.bench.secret.read_bytes()
    layer = {"mediaType": LAYER, "digest": digest(secret), "size": len(secret)}
    found.bench.path_of(layer).symlink_to(target(found))
    found.bench.named(found.bench.document({"config": found.config, "layers": [layer]}))


def _moved_out(path: pathlib.Path, bench: Bench) -> None:
    """The part stands outside of the layout, a link in its place."""
    moved = bench.outside / path.name
    shutil.move(str(path), str(moved))
    path.symlink_to(moved)


def _cut(path: pathlib.Path, less: int) -> None:
    path.write_bytes(path.read_bytes()[:-less])


def _flip(path: pathlib.Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def _sized(found: Parts, difference: int, of_layer: bool) -> None:
    part = found.layer if of_layer else found.config
    wrong = {**part, "size": part["size"] + difference}
    fields = {"config": found.config, "layers": [wrong]} if of_layer else {"config": wrong, "layers": [found.layer]}
    found.bench.named(found.bench.document(fields))


FILES: t.Dict[str, t.Callable[[Parts], t.Any]] = {
    "r18-layer-is-a-link-to-a-secret": lambda f: _of_secret(f, lambda g: g.bench.secret),
    "r18-layer-is-a-relative-link-to-a-secret": lambda f: _of_secret(f, lambda g: "../../../outside/secret"),
    "r18-layer-is-a-link-within": lambda f: _replace(f.bench.path_of(f.layer), lambda p: p.symlink_to(f.config["digest"][7:])),
    "r18-layer-is-a-dangling-link": lambda f: _replace(f.bench.path_of(f.layer), lambda p: p.symlink_to("nowhere")),
    "r18-layer-is-a-link-to-itself": lambda f: _replace(f.bench.path_of(f.layer), lambda p: p.symlink_to(p.name)),
    "r18-config-is-a-link": lambda f: _moved_out(f.bench.path_of(f.config), f.bench),
    "r18-manifest-is-a-link": lambda f: _moved_out(f.bench.path_of(f.root), f.bench),
    "r19-blobs-is-a-link": lambda f: _moved_out(f.bench.source / "blobs", f.bench),
    "r19-sha256-is-a-link": lambda f: _moved_out(f.bench.blobs, f.bench),
    "r19-index-is-a-link": lambda f: _moved_out(f.bench.source / "index.json", f.bench),
    "r19-oci-layout-is-a-link": lambda f: _moved_out(f.bench.source / "oci-layout", f.bench),
    "r20-layer-is-a-fifo": lambda f: _replace(f.bench.path_of(f.layer), os.mkfifo),
    "r20-config-is-a-fifo": lambda f: _replace(f.bench.path_of(f.config), os.mkfifo),
    "r20-manifest-is-a-fifo": lambda f: _replace(f.bench.path_of(f.root), os.mkfifo),
    "r20-index-is-a-fifo": lambda f: _replace(f.bench.source / "index.json", os.mkfifo),
    "r20-oci-layout-is-a-fifo": lambda f: _replace(f.bench.source / "oci-layout", os.mkfifo),
    "r20-layer-is-a-folder": lambda f: _replace(f.bench.path_of(f.layer), os.mkdir),
    "r20-manifest-is-a-folder": lambda f: _replace(f.bench.path_of(f.root), os.mkdir),
    "r20-index-is-a-folder": lambda f: _replace(f.bench.source / "index.json", os.mkdir),
    "r20-layer-is-dev-zero": lambda f: _replace(f.bench.path_of(f.layer), lambda p: p.symlink_to("/dev/zero")),
    "r20-index-is-dev-zero": lambda f: _replace(f.bench.source / "index.json", lambda p: p.symlink_to("/dev/zero")),
    "r20-blobs-is-a-file": lambda f: (shutil.rmtree(f.bench.source / "blobs"), (f.bench.source / "blobs").write_text("")),
    "r21-layer-flipped": lambda f: _flip(f.bench.path_of(f.layer)),
    "r21-config-flipped": lambda f: _flip(f.bench.path_of(f.config)),
    "r21-manifest-flipped": lambda f: _flip(f.bench.path_of(f.root)),
    "r21-layer-cut": lambda f: _cut(f.bench.path_of(f.layer), 100),
    "r21-config-cut": lambda f: _cut(f.bench.path_of(f.config), 1),
    "r21-manifest-cut": lambda f: _cut(f.bench.path_of(f.root), 1),
    "r21-layer-longer": lambda f: f.bench.path_of(f.layer).write_bytes(f.bench.path_of(f.layer).read_bytes() + b"x"),
    "r21-manifest-longer": lambda f: f.bench.path_of(f.root).write_bytes(f.bench.path_of(f.root).read_bytes() + b" "),
    "r21-layer-empty": lambda f: f.bench.path_of(f.layer).write_bytes(b""),
    "r21-layer-absent": lambda f: f.bench.path_of(f.layer).unlink(),
    "r21-config-absent": lambda f: f.bench.path_of(f.config).unlink(),
    "r21-manifest-absent": lambda f: f.bench.path_of(f.root).unlink(),
    "r21-size-of-layer-less": lambda f: _sized(f, -1, True),
    "r21-size-of-layer-more": lambda f: _sized(f, 1, True),
    "r21-size-of-config-more": lambda f: _sized(f, 1, False),
    "r21-size-of-layer-2-63": lambda f: _sized(f, 2**63 - 1 - f.layer["size"], True),
    "r21-size-of-manifest-less": lambda f: f.bench.named({**f.root, "size": f.root["size"] - 1}),
}

# What stands in the place of a digest.
DIGESTS: t.Dict[str, t.Any] = {
    "r22-dotdot": "sha256:../../../outside/secret",
    "r22-dotdot-encoded": "sha256:..%2f..%2f..%2foutside%2fsecret",
    "r22-absolute": "sha256:/etc/hostname",
    "r22-algorithm-dotdot": f"../outside:{HEX}",
    "r22-algorithm-slash": f"sha256/../../outside:{HEX}",
    "r22-slash-last": f"sha256:{HEX[:-1]}/",
    "r22-only-dots": "sha256:..",
    "r22-query": f"sha256:{HEX[:40]}?x=/../../evil#aaaaaaaaa",
    "r23-unregistered": f"md5:{HEX[:32]}",
    "r23-sha384": "sha384:" + "0" * 96,
    "r23-blake3": f"blake3:{HEX}",
    "r23-upper-case": f"sha256:{'A' * 64}",
    "r23-upper-algorithm": f"SHA256:{HEX}",
    "r23-short": f"sha256:{HEX[:63]}",
    "r23-long": f"sha256:{HEX}0",
    "r23-sha512-of-64": f"sha512:{HEX}",
    "r23-newline": f"sha256:{HEX}\n",
    "r23-newline-forged": f"sha256:{HEX[:20]}\nFORGED\n{HEX[:30]}",
    "r23-nul": f"sha256:{HEX[:63]}\0",
    "r23-arabic-digits": "sha256:" + "\u0661" * 64,
    "r23-full-width": "sha256:" + "\uff10" * 64,
    "r23-ansi": f"sha256:{HEX[:50]}\x1b[2J",
    "r23-space": f"sha256: {HEX[:63]}",
    "r23-empty": "",
    "r23-no-algorithm": HEX,
    "r23-two-colons": f"sha256:sha256:{HEX}",
    "r23-number": 5,
    "r23-null": None,
    "r23-list": ["sha256", HEX],
    "r23-long-text": "sha256:" + "0" * 1_000_000,
}


def _digest_of_layer(text: t.Any, bench: Bench) -> Place:
    found = parts(bench)
    return bench.named(bench.document({"config": found.config, "layers": [{**found.layer, "digest": text}]}))


def _digest_of_entry(text: t.Any, bench: Bench) -> Place:
    return bench.named({**parts(bench).root, "digest": text})


# Names of refs. The good one beside them has to be found, and only what it names is copied.
REFS: t.Dict[str, str] = {
    "r28-dotdot": "../../outside/evil",
    "r28-newline": "v2\r\nFORGED\r\nX: y",
    "r28-ansi": "v2\x1b[31m",
    "r28-nul": "v2\0",
    "r28-bidi": "v2\u202e1v",
    "r28-query": "v2?x=y#z",
    "r28-very-long": "v" * 100_000,
    "r28-empty": "",
}


def _beside_good_one(ref: str, bench: Bench) -> Place:
    found = parts(bench)
    return bench.named(found.root, {**bench.artifact(bench.put(b"x")), "annotations": {REF_NAME: ref}})


def _other_ref(ref: str, bench: Bench) -> Place:
    """What is asked for is not there: the message lists what is."""
    return bench.named(parts(bench).root, ref=ref)


def _same_ref(same: bool, bench: Bench) -> Place:
    root = parts(bench).root
    return bench.named(root, {**(root if same else bench.artifact(bench.put(b"x"))), "annotations": {REF_NAME: "v1"}})


def _annotated(bench: Bench) -> Place:
    """Everything that a document can say."""
    text = "\x1b[2J\nFORGED\r\nFORGED\u202e"
    layer = bench.put(b"content", annotations={TITLE: "good", "x\n\x1b": text})
    root = bench.artifact(layer, annotations={"org.opencontainers.image.description": text, text: "x"})
    return bench.named({**root, "annotations": {"note": text}})


def _media_type(text: str, bench: Bench) -> Place:
    return bench.named(bench.artifact({**bench.titled("a"), "mediaType": text}))


def _good(bench: Bench) -> Place:
    return parts(bench).place()


# What stands at the destination of a copy from layout to layout.
def _there(make: t.Callable[[Bench], t.Any], bench: Bench) -> None:
    shutil.copytree(bench.source, bench.out)
    make(bench)


def _out(bench: Bench, desc: Document) -> pathlib.Path:
    return bench.out.joinpath("blobs", *desc["digest"].split(":"))


def _link_out(name: str, bench: Bench) -> None:
    path = bench.out / name
    moved = bench.outside / path.name
    shutil.move(str(path), str(moved))
    path.symlink_to(moved)


def _untagged(bench: Bench) -> None:
    (bench.out / "index.json").write_bytes(dumps({"schemaVersion": 2, "manifests": []}))


def _damage(name: str, damage: t.Callable[[pathlib.Path], t.Any], bench: Bench) -> None:
    """As a copy that was cut off leaves it: blobs are there, what names them is not. So they are asked for, one by one."""
    _untagged(bench)
    found = parts(bench)._asdict()
    damage(_out(bench, found[name]))
    if name != "root":
        _out(bench, found["root"]).unlink()


def _to_zeros(path: pathlib.Path) -> None:
    _replace(path, lambda blob: blob.symlink_to("/dev/zero"))


def whole_layout(bench: Bench, run: Run) -> t.List[str]:
    """What a copy that succeeded left: every blob is what its name says."""
    if not run.succeeded:
        return []
    blobs = {path: state[3] for path, state in tree(bench.out / "blobs").items() if isinstance(state[3], bytes)}
    return [f"{path} is not what it says" for path, found in blobs.items() if digest(found, path.split("/")[0]) != path.replace("/", ":")]


THERE: t.Dict[str, t.Tuple[t.Callable[[Bench], t.Any], str]] = {
    "r19-destination-blobs-is-a-link": (functools.partial(_link_out, "blobs"), CONTAINED),
    "r19-destination-sha256-is-a-link": (functools.partial(_link_out, "blobs/sha256"), CONTAINED),
    "r19-destination-index-is-a-link": (functools.partial(_link_out, "index.json"), CONTAINED),
    "r19-destination-oci-layout-is-a-link": (functools.partial(_link_out, "oci-layout"), CONTAINED),
    "r64-blob-is-cut": (functools.partial(_damage, "layer", lambda path: _cut(path, 10)), ACCEPTED),
    "r64-blob-is-empty": (functools.partial(_damage, "layer", lambda path: path.write_bytes(b"")), ACCEPTED),
    "r64-config-is-cut": (functools.partial(_damage, "config", lambda path: _cut(path, 10)), ACCEPTED),
    "r64-manifest-is-cut": (functools.partial(_damage, "root", lambda path: _cut(path, 10)), ACCEPTED),
    "r64-blob-is-a-link": (
        functools.partial(_damage, "layer", _to_zeros),
        CONTAINED,
    ),
    "r64-blob-is-a-fifo": (functools.partial(_damage, "layer", lambda path: _replace(path, os.mkfifo)), CONTAINED),
}

MEDIA_TYPES = {"ansi": "text/\x1b[2J", "newline": "text/plain\nFORGED", "path": "../../evil", "long": "a/" + "b" * 100_000}
# One reading of digests serves both places: of the root only those that could make a path, a request or a line.
OF_THE_ROOT = ("r22-dotdot", "r22-absolute", "r22-algorithm-slash", "r22-query", "r23-unregistered", "r23-newline-forged", "r23-ansi")

CASES = [
    *(Case(name, COPY, functools.partial(_damaged, damage)) for name, damage in FILES.items()),
    *(Case(f"{name}-relayed", RELAY, functools.partial(_damaged, FILES[name])) for name in FILES if name.startswith(("r18", "r21-layer"))),
    *(Case(f"{name}-of-a-layer", COPY, functools.partial(_digest_of_layer, text)) for name, text in DIGESTS.items()),
    *(Case(f"{name}-of-the-root", COPY, functools.partial(_digest_of_entry, DIGESTS[name])) for name in OF_THE_ROOT),
    *(Case(f"{name}-beside-a-good-one", COPY, functools.partial(_beside_good_one, ref), ACCEPTED) for name, ref in REFS.items() if ref),
    *(Case(f"{name}-is-all", COPY, functools.partial(_other_ref, ref)) for name, ref in REFS.items()),
    Case("r28-twice-with-two-digests", COPY, functools.partial(_same_ref, False)),
    Case("r28-twice-with-one-digest", COPY, functools.partial(_same_ref, True), ACCEPTED),
    Case("r59-annotations", PULL, _annotated, ACCEPTED),
    *(Case(f"r06-media-type-{name}", PULL, functools.partial(_media_type, text)) for name, text in MEDIA_TYPES.items()),
    *(Case(name, RELAY, _good, expected, functools.partial(_there, make), whole_layout) for name, (make, expected) in THERE.items()),
]
