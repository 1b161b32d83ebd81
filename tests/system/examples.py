# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""The examples of the documentation as tasks, and what they take for granted."""

from __future__ import annotations

import ast
import getpass
import grp
import importlib
import json
import os
import pathlib
import re
import time
import typing as t

import yaml
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import CREATED
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.content.saved import layer_tar, saved_image, write_saved
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images, tar_of
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.signatures.signing import KEYS, Signer, pem
from oras_artifacts import Oras, push_examples
from support import MODULES, succeed

ROOT = pathlib.Path(__file__).resolve().parents[2]
PINNED = re.compile(r"sha256:[0-9a-f]{64}")
# The layer that an example of oci_pull names by its digest.
UNTITLED_LAYER = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
Tasks = t.List[t.Dict[str, t.Any]]


def make_place(tmp_path: pathlib.Path, registry: t.Any, repository: str) -> t.Tuple[pathlib.Path, t.Dict[str, str]]:
    """A folder for /srv and /opt with what the examples take for granted, and what their names stand for here."""
    build = tmp_path / "srv" / "build"
    (build / "rootfs" / "bin").mkdir(parents=True)
    (build / "rootfs" / "bin" / "hello").write_text("#!/bin/sh\n")
    (build / "assets").mkdir()
    (build / "assets" / "logo.svg").write_text("<svg/>")
    (build / "site.conf").write_text("listen 80\n")
    (build / "hello.conf").write_text("greeting\n")
    here = {
        "/srv/": f"{tmp_path}/srv/",
        "/opt/": f"{tmp_path}/opt/",
        "localhost:5000/": f"{registry.host}/{repository}/local/",
        "registry.example.com/": f"{registry.host}/{repository}/central/",
        "edge.example.com:5000/": f"{registry.host}/{repository}/edge/",
        "www-data": getpass.getuser(),
    }
    files = [{"src": str(build / "site.conf")}]
    digest = succeed("oci_layout_build", {"path": str(tmp_path / "seed"), "tag": "v1", "files": files})["digest"]
    central, local = here["registry.example.com/"], here["localhost:5000/"]
    for dest in (f"{central}team/app:1.4", f"{central}team/site:v1", f"{central}team/model:7", f"{local}site:2.3"):
        succeed("oci_copy", {"src": f"oci:{tmp_path}/seed:v1", "dest": dest, "dest_registry": {"plain_http": True}})
    make_images(build, f"{central}team/app-armv7:1.4")
    image = {"path": str(tmp_path / "base"), "tag": "v1", "platform": "linux/amd64", "layers": [{"src": str(build / "rootfs")}]}
    succeed("oci_layout_build", image)
    succeed("oci_copy", {"src": f"oci:{tmp_path}/base:v1", "dest": f"{central}base/debian:12", "dest_registry": {"plain_http": True}})
    make_released(tmp_path, central)
    names = ["example.com/app:1.4"], ["example.com/other:1"]
    write_saved(tmp_path / "srv" / "images" / "saved.tar", *(saved_image(layer_tar(some[0]), tags=some) for some in names))
    return tmp_path, {**here, "pinned": digest, "group: " + getpass.getuser(): "group: " + grp.getgrgid(os.getgid()).gr_name}


def make_released(folder: pathlib.Path, central: str) -> None:
    """A multi-platform image with an SBOM, and a repository of releases."""
    images = Images(folder / "released")
    parts = [images.image(tar_of(arch=name), platform=f"linux/{name}") for name in ("amd64", "arm64", "s390x")]
    about = [images.attestation(part) for part in parts]
    images.referrer(images.index(*parts, *about, tags=["multi"]), "application/vnd.example.sbom")
    for tag in ("1.0.0", "1.2.0", "1.3.0", "2.0.0", "latest"):
        images.image(tar_of(base="shared"), tar_of(release=tag), tags=[tag])
    src, http = f"oci:{folder}/released", {"plain_http": True}
    succeed("oci_copy", {"src": f"{src}:multi", "dest": f"{central}team/multi:1.4", "dest_registry": http, "referrers": True})
    releases = {"src": src, "dest": f"{central}team/releases", "dest_registry": http, "tags_matching": r"[0-9.]+|latest"}
    succeed("oci_copy", releases)


def make_images(build: pathlib.Path, armv7: str) -> None:
    """Images of separate builds, and an index that is to be changed."""
    for name in ("amd64", "arm64", "arm/v7", "s390x"):
        options = {"platform": f"linux/{name}", "layers": [{"src": str(build / "assets")}]}
        succeed("oci_layout_build", {"path": str(build / f"app-{name.replace('/', '')}.tar"), "tag": "1.4", **options})
    succeed("oci_copy", {"src": f"oci:{build}/app-armv7.tar:1.4", "dest": armv7, "dest_registry": {"plain_http": True}})
    items = [{"src": f"oci:{build}/app-{name}.tar:1.4"} for name in ("amd64", "s390x")]
    fixed = build.parent / "images" / "app-fixed.tar"
    succeed("oci_layout_build", {"path": str(fixed), "tag": "1.4", "manifests": items})


def adapted(text: str, here: t.Mapping[str, str]) -> Tasks:
    for name, stand_in in here.items():
        text = text.replace(name, stand_in)
    known = set(here.values())
    return yaml.safe_load(PINNED.sub(lambda found: found.group() if found.group() in known else here["pinned"], text))


def tasks_of(module: str, here: t.Mapping[str, str]) -> Tasks:
    """The module's EXAMPLES."""
    return adapted(importlib.import_module(f"{MODULES}.{module}").EXAMPLES, here)


PLUGINS = [
    (path.parent.name, path.stem) for kind in ("lookup", "filter", "test") for path in sorted((ROOT / "plugins" / kind).glob("*.py"))
]


def plugins_tasks(kind: str, name: str, here: t.Mapping[str, str]) -> Tasks:
    """The EXAMPLES of a lookup, filter or test, which is read and not imported: in a process with Ansible's controller modules warn
    otherwise than on a host."""
    for node in ast.parse((ROOT / "plugins" / kind / f"{name}.py").read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "EXAMPLES":
            return adapted(ast.literal_eval(node.value), here)
    raise AssertionError(f"the {kind} {name} has no EXAMPLES")


def readme_tasks(here: t.Mapping[str, str]) -> Tasks:
    """The tasks of the README that are not in plays."""
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return [task for block in blocks if block.startswith("- name") for task in adapted(block, here) if "hosts" not in task]


def pushed_by_oras(folder: pathlib.Path, here: t.Mapping[str, str], peers: t.Any) -> t.Dict[str, str]:
    """What the examples of oci_pull take for granted; what stands for their names then."""
    digests = push_examples(Oras(peers.require("oras"), folder / "by-oras"), here["registry.example.com/"])
    return {**here, UNTITLED_LAYER: digests["data"]}


def make_toolbox(folder: pathlib.Path, here: t.Mapping[str, str]) -> t.Dict[str, t.Any]:
    """What the examples of single operations take for granted, and the variables in them."""
    srv, http = folder / "srv", {"plain_http": True}
    for name in ("build/sbom.spdx.json", "build/report.xml", "model/weights.bin", "model/config.json"):
        (srv / name).parent.mkdir(exist_ok=True)
        (srv / name).write_text(f"{name}\n")
    (srv / "model" / "annotations.json").write_text(json.dumps({"$manifest": {"org.example.trained": "2026"}}))
    local, central = here["localhost:5000/"], here["registry.example.com/"]
    for dest in (f"{local}hello-artifact:v1", f"{central}team/web:2.0"):
        succeed("oci_copy", {"src": f"oci:{folder}/seed:v1", "dest": dest, "dest_registry": http})
    for dest in ("hello.tar", "releases", "app"):
        succeed("oci_copy", {"src": f"oci:{folder}/seed:v1", "dest": f"oci:{srv}/mirror/{dest}:v1", "tags": ["v0.9", "1.4"]})
    sbom = {
        "dest": f"oci:{srv}/mirror/app:v1",
        "artifact_type": "application/spdx+json",
        "files": [{"src": str(srv / "build" / "sbom.spdx.json")}],
    }
    attached = succeed("oci_attach", sbom)["digest"]
    (seed,) = succeed("oci_info", {"src": f"oci:{srv}/mirror/app:v1", "gather": ["raw"]})["images"]
    make_signed(folder, central)
    document = {**json.loads(seed["raw"]), "annotations": {"org.example.edited": "by hand"}}
    (srv / "build" / "manifest.json").write_text(json.dumps(document))
    return {"sbom": {"digest": attached}, "deployed": {"digest": seed["digest"]}, "broken": {"digest": seed["digest"]}}


def make_signed(folder: pathlib.Path, central: str) -> None:
    """An index that keeps the rules of the examples, with the signatures that they ask for; the keys."""
    images = Images(folder / "signed")
    release, security = (Signer(images, KEYS["P-256"]()) for _key in range(2))
    for name, signer in (("release", release), ("security", security)):
        (folder / f"{name}.pub").write_text(pem(signer.key))
    notes = {"org.opencontainers.image.source": "https://example.com/team/app", CREATED: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    parts = [images.image(tar_of(arch=name), platform=f"linux/{name}") for name in ("amd64", "arm64")]
    root = images.index(*parts, tags=["v1"], annotations=notes)
    layers = [release.layer(release.payload(root.digest)), security.layer(security.payload(root.digest, {"scan": "passed"}))]
    release.tagged(root, *layers)
    for dest in (f"{central}team/app:1.4", f"oci:{folder}/srv/mirror/app.tar:1.4"):
        reach = {} if dest.startswith("oci:") else {"dest_registry": {"plain_http": True}}
        succeed("oci_copy", {"src": f"oci:{folder}/signed:v1", "dest": dest, "digest_tags": True, **reach})


def make_context(folder: pathlib.Path) -> None:
    context = folder / "srv" / "build" / "hello"
    (context / "docker").mkdir(parents=True)
    for name in ("Dockerfile", "docker/Dockerfile"):
        (context / name).write_text("FROM scratch\nCOPY Dockerfile /\n")
    (context / "docker-bake.hcl").write_text('variable "VERSION" {}\ntarget "app" {}\ntarget "tools" {}\n')


def builders_tasks(here: t.Mapping[str, str]) -> Tasks:
    """The examples of both modules of buildx, but for those that this engine cannot show."""
    tasks = adapted(importlib.import_module(f"{MODULES}.oci_buildx_build").EXAMPLES.replace("{{ build_token }}", "a token"), here)
    for task in tasks_of("oci_buildx_builder", here):
        options = task["lading.oci.oci_buildx_builder"]
        # No cluster is here, no image of BuildKit, and what was removed would be made again.
        if options.get("driver") != "kubernetes" and options.get("state") != "absent":
            tasks.append({**task, "lading.oci.oci_buildx_builder": {**options, "bootstrap": False, "default": False}})
    return tasks
