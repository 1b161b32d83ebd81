# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""oci_buildx_build with a real Docker engine, a real buildx and a real registry."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import tarfile
import time
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.buildx.context import scan
from ansible_collections.lading.oci.plugins.module_utils._oci.buildx.ignore import IgnorePatterns
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from support import fail, peer, run_module, start_module, succeed, tree_state

Arguments = t.Dict[str, t.Any]
DOCKERFILE = "FROM scratch AS app\nARG VERSION\nLABEL version=$VERSION\nCOPY . /app/\n"


@pytest.fixture(name="context")
def _context(tmp_path: pathlib.Path, docker: t.Any) -> pathlib.Path:
    """A context with a Dockerfile, a link, a folder and ignored files."""
    folder = tmp_path / "context"
    (folder / "src").mkdir(parents=True)
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / ".dockerignore").write_text("*.log\nbuild/\n")
    (folder / "src" / "main.c").write_text("int main;\n")
    (folder / "link").symlink_to("src/main.c")
    (folder / "debug.log").write_text("1\n")
    return folder


@pytest.fixture(name="arguments")
def _arguments(context: pathlib.Path, tmp_path: pathlib.Path) -> Arguments:
    (tmp_path / "token").write_text("s3cret-in-a-file")
    return {
        "context": str(context),
        "tags": ["hello-world:v1"],
        "outputs": [{"dest": str(tmp_path / "hello.tar")}],
        "args": {"VERSION": "1"},
        "secrets": [{"id": "token", "src": str(tmp_path / "token")}],
        "source_date_epoch": "0",
    }


def build(arguments: Arguments, check: bool = False) -> t.Dict[str, t.Any]:
    return succeed("oci_buildx_build", arguments, check)


@pytest.fixture(scope="module", name="base")
def _base(engine: t.Any, registry: t.Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A busybox that calls itself alpine, in the engine's mirror of Docker Hub. Its name there."""
    folder = tmp_path_factory.mktemp("base")
    push_base(engine, registry, folder, "one")
    return f"{registry.host}/library/alpine:latest"


def push_base(engine: t.Any, registry: t.Any, folder: pathlib.Path, label: str) -> str:
    binaries = folder / label / "bin"
    binaries.mkdir(parents=True)
    (binaries / "busybox").write_bytes(engine.busybox.read_bytes())
    (binaries / "busybox").chmod(0o755)
    for name in ("sh", "echo", "cat", "true"):
        (binaries / name).symlink_to("busybox")
    image = {
        "config": {"env": {"PATH": "/bin"}, "labels": {"label": label}},
        "layers": [{"src": f"{folder / label}/"}],
        "platform": "linux/amd64",
    }
    succeed("oci_layout_build", {"path": str(folder / f"{label}.tar"), "tag": "latest", **image})
    dest = f"{registry.host}/library/alpine:latest"
    copied = succeed("oci_copy", {"src": f"oci:{folder / label}.tar:latest", "dest": dest, "dest_registry": {"plain_http": True}})
    return copied["digest"]


def test_check_run_run(arguments: Arguments, tmp_path: pathlib.Path) -> None:
    tar = tmp_path / "hello.tar"
    planned = build(arguments, check=True)
    assert planned["changed"] and planned["built"] and planned["reasons"] == ["no earlier build of these outputs is known"]
    assert not tar.exists()
    first = build(arguments)
    assert first["changed"] and first["built"] and first["diff"] == planned["diff"]
    assert first["outputs"][0]["after"] == {"v1": first["digest"]}
    before = tree_state(tmp_path)
    for check in (True, False):
        again = build(arguments, check=check)
        assert not again["changed"] and not again["built"] and again["reasons"] == []
        assert again["digest"] == first["digest"]
    assert {name: state for name, state in tree_state(tmp_path).items() if not name.startswith("docker-config")} == {
        name: state for name, state in before.items() if not name.startswith("docker-config")
    }
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".lading")]


def edit(name: str, text: str) -> t.Callable[[Arguments, pathlib.Path], None]:
    return lambda _arguments, folder: (folder / name).write_text(text) and None


def option(**options: t.Any) -> t.Callable[[Arguments, pathlib.Path], None]:
    return lambda arguments, _folder: arguments.update(options)


def relink(_arguments: Arguments, folder: pathlib.Path) -> None:
    (folder / "link").unlink()
    (folder / "link").symlink_to("Dockerfile")


def another_dockerfile(arguments: Arguments, folder: pathlib.Path) -> None:
    (folder.parent / "other").write_text(DOCKERFILE + "USER 2\n")
    arguments["dockerfile"] = str(folder.parent / "other")


def output(**attributes: t.Any) -> t.Callable[[Arguments, pathlib.Path], None]:
    return lambda arguments, _folder: arguments["outputs"][0].update(attributes)


def context_named(value: str) -> t.Callable[[Arguments, pathlib.Path], None]:
    """A further context, which the build does not even use; ``{}`` stands for a folder of its own."""

    def add(arguments: Arguments, folder: pathlib.Path) -> None:
        (folder.parent / "more").mkdir()
        arguments["build_contexts"] = {"more": value.format(folder.parent / "more")}

    return add


def ssh(arguments: Arguments, folder: pathlib.Path) -> None:
    write_key(folder.parent / "key")
    arguments["ssh"] = [f"default={folder.parent}/key"]


def write_key(path: pathlib.Path) -> None:
    encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    path.write_bytes(ed25519.Ed25519PrivateKey.generate().private_bytes(*encoding))


def secret(arguments: Arguments, _folder: pathlib.Path) -> None:
    pathlib.Path(arguments["secrets"][0]["src"]).write_text("another")


DECIDES: t.Dict[str, t.Tuple[t.Callable[[Arguments, pathlib.Path], None], str]] = {
    "content": (edit("src/main.c", "int main();\n"), "context: modified src/main.c"),
    "new file": (edit("src/new.c", "\n"), "context: added src/new.c"),
    "mode": (lambda _arguments, folder: (folder / "src" / "main.c").chmod(0o755), "context: modified src/main.c"),
    "removed file": (lambda _arguments, folder: (folder / "src" / "main.c").unlink(), "context: removed src/main.c"),
    "link": (relink, "context: modified link"),
    "Dockerfile": (edit("Dockerfile", DOCKERFILE + "USER 1\n"), "dockerfile: changed"),
    "ignore file": (edit(".dockerignore", "build/\n"), "context: added debug.log"),
    "argument": (option(args={"VERSION": "2"}), "argument VERSION: changed"),
    "secret": (secret, "secret token: changed"),
    "platform": (option(platforms=["linux/arm64"]), "platforms: added"),
    "label": (option(labels={"a": "b"}), "label: added"),
    "annotation": (option(annotations={"a": "b"}), "annotation: added"),
    "provenance": (option(provenance="mode=max"), "provenance: added"),
    "network": (option(network="none"), "network: added"),
    "stage": (option(target="app"), "target: added"),
    "address": (option(add_hosts={"a.example.com": "192.0.2.1"}), "add-host: added"),
    "shared memory": (option(shm_size="1m"), "shm-size: added"),
    "entitlement": (option(allow=["network.host"]), "allow: added"),
    "ssh": (ssh, "ssh: added"),
    "folder as context": (context_named("{}"), "build context more: added"),
    "image as context": (context_named("docker-image://docker.io/library/alpine:3"), "build context more: added"),
    "another Dockerfile": (another_dockerfile, "dockerfile: changed"),
    "compression level": (output(compression="gzip", compression_level=1), "output 0: changed"),
    "forced compression": (output(force_compression=True), "output 0: changed"),
    "SBOM": (option(sbom="false"), "sbom: added"),
    "time": (option(source_date_epoch="86400"), "source date epoch: changed"),
    "names": (option(tags=["hello-world:v1", "hello-world:v2"]), "output 0: changed"),
    "compression": (output(compression="zstd"), "output 0: changed"),
    "rewritten times": (output(rewrite_timestamp=True), "output 0: changed"),
    "exporter attribute": (output(attributes={"oci-mediatypes": "true"}), "output 0: changed"),
}


@pytest.mark.parametrize("name", DECIDES)
def test_what_decides_the_result_builds(name: str, arguments: Arguments, context: pathlib.Path) -> None:
    build(arguments)
    change, reason = DECIDES[name]
    change(arguments, context)
    planned = build(arguments, check=True)
    assert any(line.startswith(reason) for line in planned["reasons"]), planned["reasons"]
    assert build(arguments)["reasons"] == planned["reasons"]
    assert build(arguments)["reasons"] == []


def later(_arguments: Arguments, folder: pathlib.Path) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (time.time() + 100, time.time() + 100), follow_symlinks=False)


def recreated(_arguments: Arguments, folder: pathlib.Path) -> None:
    """The same entries, made in another order."""
    content = (folder / "src" / "main.c").read_text()
    (folder / "src" / "main.c").unlink()
    (folder / "link").unlink()
    (folder / "link").symlink_to("src/main.c")
    (folder / "src" / "main.c").write_text(content)


DECIDES_NOTHING: t.Dict[str, t.Callable[[Arguments, pathlib.Path], None]] = {
    "mtime": later,
    "ignored file": edit("debug.log", "2\n"),
    "ignored folder": lambda _arguments, folder: (folder / "build").mkdir(),
    "file order": recreated,
    "owner": lambda _arguments, folder: os.chown(folder / "src" / "main.c", 1234, 1234),
    "cache": option(cache_from=["type=local,src=/nowhere"], no_cache=True),
    "cache of stages": option(no_cache_filter=["app"]),
    "exported cache": option(cache_to=["type=local,dest=/nowhere"]),
    "metadata file": option(metadata_file="/nowhere/metadata.json"),
    "pull": option(pull="never"),
}


@pytest.mark.parametrize("name", DECIDES_NOTHING)
def test_what_does_not_decide_the_result_builds_nothing(name: str, arguments: Arguments, context: pathlib.Path) -> None:
    build(arguments)
    DECIDES_NOTHING[name](arguments, context)
    result = build(arguments)
    assert (result["changed"], result["built"], result["reasons"]) == (False, False, [])


def test_metadata_file(arguments: Arguments, tmp_path: pathlib.Path) -> None:
    result = build({**arguments, "metadata_file": str(tmp_path / "metadata.json")})
    assert json.loads((tmp_path / "metadata.json").read_text())["containerimage.digest"] == result["digest"]


def test_a_build_with_the_same_result_is_no_change(arguments: Arguments, tmp_path: pathlib.Path) -> None:
    """BuildKit stamps each tar with the time: the old one stays."""
    first = build(arguments)
    content = (tmp_path / "hello.tar").read_bytes()
    result = build({**arguments, "rebuild": "always"})
    assert (result["built"], result["changed"], result["digest"]) == (True, False, first["digest"])
    assert (tmp_path / "hello.tar").read_bytes() == content


@pytest.mark.parametrize("tar", [True, False])
def test_a_lost_or_damaged_result_is_built_again(tar: bool, arguments: Arguments, tmp_path: pathlib.Path) -> None:
    dest = tmp_path / ("hello.tar" if tar else "layout")
    arguments["outputs"] = [{"dest": str(dest), "tar": tar}]
    first = build(arguments)
    blob = max((path for path in dest.rglob("blobs/sha256/*")), key=lambda path: path.stat().st_size) if not tar else dest
    content = bytearray(blob.read_bytes())
    content[len(content) // 2 if not tar else content.index(b"int main") if b"int main" in content else 600] ^= 255
    blob.write_bytes(content)
    broken = build(arguments)
    assert broken["changed"] and broken["reasons"][0].startswith("the result is damaged: "), broken
    assert not build(arguments)["changed"]
    peer("rm", "-r", dest)
    lost = build(arguments)
    assert lost["changed"] and lost["reasons"][0].startswith("the result is not there"), lost
    assert lost["digest"] == first["digest"]


def test_a_folder_keeps_its_other_refs(arguments: Arguments, tmp_path: pathlib.Path, peers: t.Any) -> None:
    layout = tmp_path / "layout"
    for tag in ("v1", "v2"):
        build({**arguments, "tags": [f"hello-world:{tag}"], "args": {"VERSION": tag}, "outputs": [{"dest": str(layout), "tar": False}]})
    listed = peer(peers.require("oras"), "repo", "tags", "--oci-layout", layout).split()
    assert listed == ["v1", "v2"]
    for tag in ("v1", "v2"):
        again = {**arguments, "tags": [f"hello-world:{tag}"], "args": {"VERSION": tag}, "outputs": [{"dest": str(layout), "tar": False}]}
        assert not build(again)["changed"]


def test_two_platforms_with_attestations(
    arguments: Arguments, tmp_path: pathlib.Path, registry: t.Any, repository: str, peers: t.Any
) -> None:
    result = build({**arguments, "platforms": ["linux/amd64", "linux/arm64"], "provenance": "true"})
    dest = f"{registry.host}/{repository}:v1"
    copied = succeed("oci_copy", {"src": f"oci:{tmp_path}/hello.tar:v1", "dest": dest, "dest_registry": {"plain_http": True}})
    assert copied["digest"] == result["digest"] == peer(peers.require("crane"), "digest", dest).strip()
    index = json.loads(peer(peers.require("crane"), "manifest", dest))
    platforms = [f"{item['platform']['os']}/{item['platform']['architecture']}" for item in index["manifests"]]
    assert platforms == ["linux/amd64", "linux/arm64", "unknown/unknown", "unknown/unknown"]
    config = json.loads(peer(peers.require("crane"), "config", "--platform", "linux/arm64", dest))
    assert config["architecture"] == "arm64"


def test_several_outputs_registry_among_them(arguments: Arguments, tmp_path: pathlib.Path, registry: t.Any, repository: str) -> None:
    name = f"{registry.host}/{repository}:v1"
    arguments["registries"] = [{"host": registry.host, "plain_http": True}]
    arguments["outputs"] = [{"dest": str(tmp_path / "hello.tar")}, {"type": "registry", "tags": [name]}]
    # BuildKit by itself attests what it pushes, and not what it writes into a layout.
    arguments["provenance"] = "false"
    first = build(arguments)
    assert [output["after"] for output in first["outputs"]] == [{"v1": first["digest"]}, {name: first["digest"]}]
    assert not build(arguments)["changed"]
    succeed("oci_layout_build", {"path": str(tmp_path / "other"), "tag": "v1", "artifact_type": "application/vnd.x"})
    succeed("oci_copy", {"src": f"oci:{tmp_path}/other:v1", "dest": name, "dest_registry": {"plain_http": True}})
    moved = build(arguments)
    assert moved["changed"] and moved["reasons"] == [f"the result at {name} is another than the last build's"]
    assert moved["outputs"][1]["after"] == {name: first["digest"]}


def test_base_images(
    base: str, arguments: Arguments, context: pathlib.Path, engine: t.Any, registry: t.Any, tmp_path: pathlib.Path
) -> None:
    """A moved base tag builds with pull=always, not with missing; with never another build takes the old one."""
    (context / "Dockerfile").write_text("FROM alpine\nCOPY src /src\n")
    look = {"pull": "always", "base_mirrors": {"docker.io": registry.host}, "registries": [{"host": registry.host, "plain_http": True}]}
    first = build({**arguments, **look})
    old = first["base_images"]["alpine:latest"]
    assert old.startswith("sha256:") and not build({**arguments, **look})["built"]
    new = push_base(engine, registry, tmp_path, f"moved-{time.time_ns()}")
    assert not build(arguments)["built"]
    (context / "src" / "main.c").write_text("changed\n")
    pinned = build({**arguments, "pull": "never"})
    assert pinned["built"] and pinned["base_images"] == {"alpine:latest": old}
    (context / "Dockerfile").write_text("FROM scratch\nCOPY src /src\n")
    # A base that the Dockerfile no longer has is not one of the result.
    assert build({**arguments, "pull": "never"})["base_images"] == {}
    (context / "Dockerfile").write_text("FROM alpine@{old}\nCOPY src /src\n".replace("{old}", old))
    assert build(arguments)["base_images"] == {}
    (context / "Dockerfile").write_text("FROM alpine\nCOPY src /src\n")
    engine_has = build({**arguments, **look})
    assert engine_has["base_images"] == {"alpine:latest": new}
    old, new = new, push_base(engine, registry, tmp_path, f"moved-{time.time_ns()}")
    planned = build({**arguments, **look}, check=True)
    assert planned["reasons"] == [f"base image alpine:latest: {old} is now {new}"]
    moved = build({**arguments, **look})
    assert moved["changed"] and moved["base_images"] == {"alpine:latest": new}


@pytest.mark.usefixtures("base")
def test_secrets_reach_the_build_and_nothing_else(arguments: Arguments, context: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILD_TOKEN", "canary-from-the-environment")
    arguments["secrets"] = [
        {"id": "a", "value": "canary-from-the-task"},
        {"id": "b", "env": "BUILD_TOKEN"},
        {"id": "c", "src": arguments["secrets"][0]["src"]},
    ]
    mounts = " ".join(f"--mount=type=secret,id={name}" for name in "abc")
    (context / "Dockerfile").write_text(
        f"FROM alpine\nRUN --network=none {mounts} cat /run/secrets/a /run/secrets/b /run/secrets/c >/out; false\n"
    )
    message = fail("oci_buildx_build", {**arguments, "network": "none"})
    assert message.startswith("the build failed at Dockerfile:2 (RUN"), message
    (context / "Dockerfile").write_text(f"FROM alpine\nRUN {mounts} cat /run/secrets/c; echo; false\n")
    printed = run_module("oci_buildx_build", {**arguments, "network": "none"})
    log = "\n".join(printed["build_log"])
    assert printed["failed"] and "***" in log and "canary" not in log and "s3cret" not in log, log
    (context / "Dockerfile").write_text(f"FROM alpine\nRUN {mounts} cat /run/secrets/a /run/secrets/b /run/secrets/c >/out\n")
    result = build({**arguments, "network": "none"})
    assert "canary" not in json.dumps({key: value for key, value in result.items() if key != "invocation"})
    with tarfile.open(arguments["outputs"][0]["dest"]) as tar:
        assert any(
            b"canary-from-the-taskcanary-from-the-environments3cret-in-a-file" in _inflated(tar, member)
            for member in tar
            if member.isfile()
        )
    cache = pathlib.Path(os.environ["HOME"], ".cache", "lading-oci", "build")
    assert not any(b"canary" in path.read_bytes() or b"s3cret" in path.read_bytes() for path in cache.iterdir())


def _inflated(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    content = t.cast(t.IO[bytes], tar.extractfile(member)).read()
    return subprocess.run(["gzip", "-dc"], input=content, capture_output=True, check=True).stdout if content[:2] == b"\x1f\x8b" else content


@pytest.mark.usefixtures("base")
def test_warnings_and_failures(arguments: Arguments, context: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (context / "Dockerfile").write_text("FROM alpine\nCMD echo 'hello world!'\n")
    result = build(arguments)
    assert "Dockerfile:2: JSONArgsRecommended" in str(result["warnings"]), result
    before = (tmp_path / "hello.tar").read_bytes()
    (context / "Dockerfile").write_text("FROM alpine\nCOPY nowhere /\n")
    assert "the build failed at Dockerfile:2 (COPY nowhere /): " in fail("oci_buildx_build", arguments)
    assert (tmp_path / "hello.tar").read_bytes() == before
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".lading")]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"context": "/nowhere"}, "context: no such folder: /nowhere"),
        ({"dockerfile": "Nope"}, "dockerfile: no such file: "),
        ({"outputs": []}, "outputs is empty"),
        ({"outputs": [{"type": "registry"}], "tags": []}, "outputs[0]: a registry needs tags"),
        ({"outputs": [{"type": "registry"}]}, "outputs[0]: the tag 'hello-world:v1' is no image name"),
        ({"outputs": [{}]}, "outputs[0]: an output of type oci needs dest"),
        ({"outputs": [{"dest": "/tmp", "tar": True}]}, "/tmp is a folder"),
        ({"tags": ["a b"]}, "outputs[0]: the tag 'a b' is no image name"),
        ({"args": {"A": 1}}, "args: the value of 'A' is 1, not a string"),
        ({"secrets": [{"id": "x", "env": "NOT_SET_ANYWHERE"}]}, "secrets[0].env: the environment has no variable NOT_SET_ANYWHERE"),
        ({"secrets": [{"id": "x"}]}, "one of the following is required: src, env, value"),
        ({"platforms": ["amd64"]}, "not a platform"),
        ({"builder": "nobody"}, "nobody"),
        ({"metadata_file": "/nowhere/x.json"}, "metadata_file: no such folder: /nowhere"),
        ({"secrets": [{"id": "x", "src": "/nowhere"}]}, "secrets[0].src: no such file: /nowhere"),
        ({"secrets": [{"id": "x y", "value": "z"}]}, "secrets[0].id is 'x y'"),
        ({"outputs": [{"dest": "/tmp/a.tar"}, {"dest": "/tmp/a.tar"}]}, "two of them have the same dest"),
        ({"outputs": [{"dest": "/tmp/a.tar", "compression_level": 1}]}, "compression"),
        ({"target": "nobody"}, "nobody"),
        ({"docker_cli": "/nowhere/docker"}, "docker_cli: no program at /nowhere/docker"),
        ({"docker_host": "unix:///nowhere.sock"}, "/nowhere.sock"),
        ({"build_contexts": {"x": "/nowhere"}}, "build_contexts[x]: no such folder"),
        ({"build_contexts": {"x": "oci-layout:///nowhere:v1"}}, "build_contexts[x]: /nowhere is no folder"),
    ],
)
def test_wrong_input_says_so(change: Arguments, says: str, arguments: Arguments, tmp_path: pathlib.Path) -> None:
    message = fail("oci_buildx_build", {**arguments, **change})
    assert says in message and "\n" not in message, message
    assert not (tmp_path / "hello.tar").exists()


def test_a_layout_as_build_context(arguments: Arguments, context: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The ref is what decides, not its name: when it moves, the build follows."""
    (tmp_path / "files").mkdir()
    for content in ("one", "two"):
        (tmp_path / "files" / "x").write_text(content)
        layers = [{"src": f"{tmp_path}/files/"}]
        succeed("oci_layout_build", {"path": str(tmp_path / "base"), "tag": "v1", "layers": layers, "platform": "linux/amd64"})
        (context / "Dockerfile").write_text("FROM base\nCOPY src /src\n")
        arguments["build_contexts"] = {"base": f"oci-layout://{tmp_path}/base:v1"}
        assert build(arguments)["changed"]
        assert not build(arguments)["built"]


IGNORE_FILES = [
    "*.log\n**/*.tmp\nsub/*\n!sub/keep\n",
    "*\n!sub/deep\n!**/x.c\n",
    "sub\n!sub/deep/x.c\nsub/deep/*.c\n!sub/deep/y.c\n",
    "[a-b]?c\n\\[x\\]\n/top\n sub/../other \n# comment\n**/deep/**\n",
    "sub/deep\n!sub\n",
    "**\n!top\n",
]


@pytest.mark.parametrize("ignore_file", IGNORE_FILES)
def test_we_see_the_context_that_buildkit_sees(ignore_file: str, context: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """What our ignore patterns leave in is what ``COPY . /`` copies."""
    for name in (
        "a.log",
        "top",
        "abc",
        "[x]",
        "sub/keep",
        "sub/x.c",
        "sub/deep/x.c",
        "sub/deep/y.c",
        "sub/z.tmp",
        "other/x.c",
        "other/top",
    ):
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        (context / name).write_text(name)
    (context / ".dockerignore").write_text(ignore_file)
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    peer("docker", "buildx", "build", context, "--file", tmp_path / "Dockerfile", "--output", f"type=local,dest={tmp_path}/out")
    copied = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*"))
    patterns = IgnorePatterns.parse(ignore_file.encode())
    assert sorted(scan(str(context), patterns)) == copied


BAKE_FILE = """
variable "VERSION" { default = "1" }
target "app" {
  context = "context"
  args = { VERSION = VERSION }
  tags = ["app:v1"]
  secret = ["id=token,src=token"]
  annotations = ["a=b"]
  attest = ["type=provenance,mode=max"]
  output = ["type=oci,dest=kept.tar"]
}
target "tools" {
  context = "context"
  platforms = ["linux/amd64", "linux/arm64"]
  tags = ["tools:v1"]
}
target "linked" { contexts = { base = "target:app" } }
group "all" { targets = ["app", "tools"] }
"""


@pytest.mark.usefixtures("context")
def test_bake(tmp_path: pathlib.Path) -> None:
    """Each target on its own: an input of one does not build the other."""
    (tmp_path / "docker-bake.hcl").write_text(BAKE_FILE)
    (tmp_path / "token").write_text("s3cret")
    (tmp_path / "kept.tar").write_text("a file that the bake file names as its output")
    outputs = [{"bake_target": name, "dest": str(tmp_path / f"{name}.tar")} for name in ("app", "tools")]
    arguments = {"bake": {"folder": str(tmp_path)}, "outputs": outputs}
    planned = build(arguments, check=True)
    assert planned["built"] and not (tmp_path / "app.tar").exists()
    done = build(arguments)
    assert done["changed"] and done["diff"] == planned["diff"] and set(done["targets"]) == {"app", "tools"}
    assert peer("tar", "xOf", tmp_path / "app.tar", "index.json").count("app:v1") == 1
    assert not build(arguments)["built"]
    moved = build({**arguments, "bake": {"folder": str(tmp_path), "vars": {"VERSION": "2"}}})
    assert moved["reasons"] == ["app: argument VERSION: changed"] and not moved["targets"]["tools"]["built"]
    assert (tmp_path / "kept.tar").read_text().startswith("a file")
    for name, says in (("linked", "from another target"), ("all", "is a group"), ("nobody", "nobody")):
        wrong = [{"bake_target": name, "dest": str(tmp_path / "x.tar")}]
        assert says in fail("oci_buildx_build", {**arguments, "outputs": wrong})
    assert "outputs is empty" in fail("oci_buildx_build", {**arguments, "outputs": []})
    assert "needs bake_target" in fail("oci_buildx_build", {**arguments, "outputs": [{"dest": str(tmp_path / "x.tar")}]})


def test_cache_goes_out_and_comes_back(arguments: Arguments, tmp_path: pathlib.Path) -> None:
    cache = f"type=local,dest={tmp_path}/cache"
    build({**arguments, "cache_to": [cache]})
    assert (tmp_path / "cache" / "index.json").exists()
    again = build({**arguments, "cache_from": [f"type=local,src={tmp_path}/cache"], "rebuild": "always"})
    assert again["built"] and not again["changed"]


@pytest.mark.usefixtures("base")
def test_ssh_keys_are_forwarded(arguments: Arguments, context: pathlib.Path, tmp_path: pathlib.Path) -> None:
    write_key(tmp_path / "key")
    (context / "Dockerfile").write_text('FROM alpine\nRUN --mount=type=ssh [ -S "$SSH_AUTH_SOCK" ]\n')
    arguments["network"] = "none"
    assert "the build failed at Dockerfile:2" in fail("oci_buildx_build", arguments)
    assert build({**arguments, "ssh": [f"default={tmp_path}/key"]})["changed"]


@pytest.mark.usefixtures("base")
def test_a_killed_build_leaves_nothing_that_lasts(arguments: Arguments, context: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (context / "Dockerfile").write_text("FROM alpine\nRUN busybox sleep 4\n")
    arguments["network"] = "none"
    process = start_module("oci_buildx_build", arguments, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".lading-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "hello.tar").exists()
    assert build(arguments)["changed"]
    assert not list(tmp_path.glob(".lading-*"))
