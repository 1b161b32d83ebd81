#!/usr/bin/python
# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: oci_buildx_build
short_description: Build an image from a Dockerfile with docker buildx when something has changed
description:
  - Runs C(docker buildx build) and puts the result into an OCI layout (tar or folder) or a registry (Open Container Initiative, not
    Oracle Cloud).
  - It is run only when it has to be. The context after its ignore file (contents, modes, links), the Dockerfile, arguments, secrets,
    platforms, the attributes of the outputs, the builder's version and, as O(pull) says, the base images are compared with those of the
    last build, and the result has to be where it was put, whole.
  - What C(RUN) or C(ADD) of the Dockerfile fetch from elsewhere is not looked at. O(rebuild=always) takes it anew where BuildKit's cache
    lets it.
  - A build that gives the digests that are there already is not a change.
  - What the last build was made of is kept in C(~/.cache/lading-oci/build) (C(XDG_CACHE_HOME)). Secrets and arguments are in it as salted
    digests. Without it the next run builds once more.
extends_documentation_fragment:
  - lading.oci.attributes
  - lading.oci.attributes.actiongroup_registry
  - lading.oci.registry
attributes:
  check_mode:
    description:
      - Says whether it would build, and why. Whether the result would have other digests is not known before.
  diff_mode:
    description:
      - Shows what decides the result, as it was at the last build and as it is now.
  idempotent:
    description:
      - With O(rebuild=always), and with a remote context (O(context) or one of O(build_contexts)) that is not pinned to a commit, it
        builds each time. That is a change only when the result has another digest.
  platform:
    description:
      - Target systems that can be operated against. The C(docker) command with its C(buildx) plugin is needed there.
options:
  context:
    description:
      - The folder that is the build's context, or a remote context as buildx takes it, for example a git URL.
      - A relative path starts where modules run on the target. On the controller that is the playbook's folder.
      - A git URL that ends in C(#) and a whole commit digest is taken for unchanging. Other remote contexts are built each time.
      - Needed unless O(bake) is given.
    type: str
  bake:
    description:
      - Builds targets of bake files in place of O(context). C(docker buildx bake) reads the files.
      - Each of O(outputs) names its target. The C(output) in the files is not used.
      - Other options of the task are joined with the target's where they are mappings, and replace the target's otherwise.
      - Targets are built one after the other, and each is compared with its own last build. A target that takes a context from another
        target cannot be built.
    type: dict
    suboptions:
      folder:
        description:
          - The folder with the bake files. Relative paths in them start here.
        type: path
        required: true
      files:
        description:
          - The bake files. Without any those that C(docker buildx bake) finds by itself.
        type: list
        elements: str
        default: []
      vars:
        description:
          - Values for variables of the bake files.
        type: dict
        default: {}
      set:
        description:
          - Values in place of those of targets, as C(--set) takes them, for example V(app.args.VERSION=2).
        type: list
        elements: str
        default: []
  dockerfile:
    description:
      - The Dockerfile. A relative path starts at O(context).
      - V(Dockerfile) when not given.
    type: str
  outputs:
    description:
      - Where the result goes, one or several places.
    type: list
    elements: dict
    required: true
    suboptions:
      type:
        description:
          - V(oci) is an OCI layout on this host. V(registry) is pushed by BuildKit, with the credentials that the C(docker) command has.
        type: str
        choices: [oci, registry]
        default: oci
      dest:
        description:
          - The layout's path, for V(oci). The path alone, without V(oci:) and without a ref.
          - Folders above it that are missing are made.
          - It appears there whole or not at all.
        type: path
      tar:
        description:
          - Whether the layout is a tar, which holds this result and nothing else. V(false) is a folder, whose other refs stay.
        type: bool
        default: true
      bake_target:
        description:
          - With O(bake), the target whose result goes here.
        type: str
      tags:
        description:
          - Names for this output, in place of O(tags).
        type: list
        elements: str
        default: []
      compression:
        description:
          - How new layers are compressed.
        type: str
        choices: [gzip, zstd, estargz, uncompressed]
      compression_level:
        description:
          - The level of O(outputs[].compression), as that takes it.
        type: int
      force_compression:
        description:
          - Whether layers of base images are compressed anew as well.
        type: bool
        default: false
      rewrite_timestamp:
        description:
          - Whether times in layers that are later than O(source_date_epoch) become that.
        type: bool
        default: false
      insecure:
        description:
          - For V(registry), whether BuildKit may push over HTTP, and to hosts with unverified certificates. The lookups of this module
            go by O(registries).
        type: bool
        default: false
      attributes:
        description:
          - More exporter attributes of BuildKit by name, for example C(oci-artifact) with the value V(true).
        type: dict
        default: {}
  tags:
    description:
      - Names for the result, as C(--tag) takes them. In a layout the part after the colon becomes the ref.
      - Without a tag it is V(latest). For a registry the host is never left out.
    type: list
    elements: str
    default: []
  args:
    description:
      - Build arguments. They can be seen in the process list and in the image's history. Use O(secrets) for secrets.
    type: dict
    default: {}
  target:
    description:
      - The stage to build.
    type: str
  platforms:
    description:
      - The platforms to build for, for example V([linux/amd64, linux/arm64]).
    type: list
    elements: str
    default: []
  build_contexts:
    description:
      - More contexts by name. A folder, V(docker-image://NAME), V(oci-layout:///PATH:REF) (a layout folder), or a remote context.
    type: dict
    default: {}
  secrets:
    description:
      - Secrets for C(RUN --mount=type=secret). Never in the command's arguments, nor in what this module returns.
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description:
          - The secret's name in the Dockerfile.
        type: str
        required: true
      src:
        description:
          - A file on this host.
        type: path
      env:
        description:
          - A variable of the task's environment.
        type: str
      value:
        description:
          - The secret itself.
        type: str
  ssh:
    description:
      - Agent sockets or keys for C(RUN --mount=type=ssh), as C(--ssh) takes them.
    type: list
    elements: str
    default: []
  labels:
    description:
      - Labels for the image's config.
    type: dict
    default: {}
  annotations:
    description:
      - Annotations for the manifest. A name may begin with a type, as C(index:).
    type: dict
    default: {}
  provenance:
    description:
      - The provenance attestation, as C(--provenance) takes it, for example V(mode=max) or V(false).
      - When not given, BuildKit attests what it pushes to a registry and not what goes into a layout. The two have the same digest
        only when this is given.
    type: str
  sbom:
    description:
      - The SBOM attestation, as C(--sbom) takes it, for example V(true).
    type: str
  source_date_epoch:
    description:
      - The time that the build is to be dated to (RFC 3339, or seconds since 1970), for a reproducible result.
      - The environment variable E(SOURCE_DATE_EPOCH) when not given.
    type: str
  cache_from:
    description:
      - Where BuildKit's cache comes from, as C(--cache-from) takes it.
    type: list
    elements: str
    default: []
  cache_to:
    description:
      - Where BuildKit's cache goes, as C(--cache-to) takes it.
    type: list
    elements: str
    default: []
  no_cache:
    description:
      - Whether a build does without BuildKit's cache. It does not cause one.
    type: bool
    default: false
  no_cache_filter:
    description:
      - Stages that are built without BuildKit's cache.
    type: list
    elements: str
    default: []
  pull:
    description:
      - V(missing) does not look at base images. A moved tag of one causes no build.
      - V(always) looks each base image of the last build up in its registry. One that has moved causes a build, which takes the new one.
      - V(never) does not look either, and a build for another reason takes the very base images of the last build.
    type: str
    choices: [missing, always, never]
    default: missing
  base_mirrors:
    description:
      - For O(pull=always), the registry to ask in place of a base image's own, by host, for example C(docker.io) with the value
        V(mirror.example.com).
    type: dict
    default: {}
  rebuild:
    description:
      - V(auto) builds when it has to. V(always) builds in every run.
    type: str
    choices: [auto, always]
    default: auto
  builder:
    description:
      - The builder instance. Without it the current one.
    type: str
  network:
    description:
      - The network of C(RUN), as C(--network) takes it, for example V(none).
    type: str
  add_hosts:
    description:
      - Addresses by host name, for C(RUN).
    type: dict
    default: {}
  allow:
    description:
      - Entitlements, as C(--allow) takes them.
    type: list
    elements: str
    default: []
  shm_size:
    description:
      - The size of C(/dev/shm) for C(RUN), for example V(256m).
    type: str
  metadata_file:
    description:
      - Where to put BuildKit's metadata of the build (JSON), each time that it builds. Its folder must be there.
    type: path
  docker_cli:
    description:
      - Path of the C(docker) command. Without it the one on C(PATH).
    type: path
  docker_host:
    description:
      - Address of the engine, for example V(unix:///run/user/1000/docker.sock). Without it that of the command's environment and context.
    type: str
requirements:
  - docker with the buildx plugin 0.13 or newer (on the target)
seealso:
  - module: lading.oci.oci_buildx_builder
  - module: lading.oci.oci_copy
author:
  - The lading.oci contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: From a Dockerfile to a layout tar
  lading.oci.oci_buildx_build:
    context: /srv/build/hello
    tags: [hello-world:v1]
    outputs:
      - type: oci
        dest: /srv/images/hello-world.tar

- name: Two platforms, reproducible, into a layout folder beside other images
  lading.oci.oci_buildx_build:
    context: /srv/build/hello
    tags: [hello-world:multi]
    platforms: [linux/amd64, linux/arm64]
    source_date_epoch: "2026-01-01T00:00:00Z"
    outputs:
      - type: oci
        dest: /srv/images/layout
        tar: false
        rewrite_timestamp: true

- name: With a secret, straight to a registry, following the base image's tag
  lading.oci.oci_buildx_build:
    context: /srv/build/hello
    tags: ["localhost:5000/hello-built:v1"]
    args:
      VERSION: "1.4"
    secrets:
      - id: token
        value: "{{ build_token }}"
    pull: always
    outputs:
      - type: registry

- name: Targets of bake files
  lading.oci.oci_buildx_build:
    bake:
      folder: /srv/build/hello
      vars:
        VERSION: "1.4"
    outputs:
      - bake_target: app
        dest: /srv/images/app.tar
      - bake_target: tools
        dest: /srv/images/tools.tar
"""

RETURN = r"""
targets:
  description: With O(bake), the results of each target, with the same keys. Those beside it are of all targets together.
  returned: success, with O(bake)
  type: dict
built:
  description: Whether a build was run. In check mode, whether one would be.
  returned: success
  type: bool
reasons:
  description: Why it was built or would be, a line for each input that has changed and each result that is missing or damaged.
  returned: success
  type: list
  elements: str
  sample: ["context: modified src/main.c", "dockerfile: changed"]
digest:
  description: The digest of the result, with O(bake) of the first target's. Null in check mode when nothing has been built yet.
  returned: success
  type: str
  sample: sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
outputs:
  description: What each output was and is. In check mode and when nothing was built, what it is.
  returned: success
  type: list
  elements: dict
  contains:
    type:
      description: As in O(outputs[].type).
      type: str
    dest:
      description: The layout's path, null for a registry.
      type: str
    before:
      description: Refs or names with their digests before.
      type: dict
    after:
      description: Refs or names with their digests after.
      type: dict
base_images:
  description: The base images of the result, with their digests.
  returned: success
  type: dict
  sample: {"alpine:latest": "sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b"}
build_log:
  description: The last lines of the build, from the step that failed.
  returned: when the build fails
  type: list
  elements: str
interrupted:
  description: True. The next run takes up what was begun, or begins anew.
  returned: when a signal (Ctrl-C, SIGTERM, SIGHUP) ended the task
  type: bool
  sample: true
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lading.oci.plugins.module_utils._oci.buildx import bake
from ansible_collections.lading.oci.plugins.module_utils._oci.buildx import inputs as parts
from ansible_collections.lading.oci.plugins.module_utils._oci.buildx.build import (
    BuildPlan,
    Built,
    Record,
    apply_build,
    must_have_folder,
    plan_build,
    write_file,
)
from ansible_collections.lading.oci.plugins.module_utils._oci.buildx.cli import Buildx
from ansible_collections.lading.oci.plugins.module_utils._oci.buildx.definition import REGISTRY, Definition, Output, parse_definition
from ansible_collections.lading.oci.plugins.module_utils._oci.buildx.places import FolderPlace, Place, RegistryPlace, TarPlace
from ansible_collections.lading.oci.plugins.module_utils._oci.buildx.versions import version_text
from ansible_collections.lading.oci.plugins.module_utils._oci.module import failing, open_layout, open_source, registries_argument_spec
from ansible_collections.lading.oci.plugins.module_utils._oci.signals import stopping
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, OCIError
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import LayoutReference, RegistryReference


def place_of(module: AnsibleModule, output: Output) -> Place:
    """Where an output's result stands."""
    if output.kind == REGISTRY:
        opened = [open_source(module, tag, None, None) for tag in output.tags]
        return RegistryPlace({t.cast(RegistryReference, name): store for name, store in opened})
    return TarPlace(output) if output.tar else FolderPlace(output)


def resolve_layout(found: LayoutReference) -> str:
    """The digest of a ref in a layout folder."""
    return open_layout(found.path).resolve(found.target).digest


def run(module: AnsibleModule) -> None:
    """Each build on its own: one, or one for each target of the bake files."""
    params = module.params
    buildx = Buildx(stopping(module.run_command), params["docker_cli"], params["docker_host"])
    if params["bake"] is None:
        module.exit_json(**build(module, buildx, params))
    names = target_names(params["outputs"])
    targets = bake.read_targets(buildx, params["bake"], names)
    results = {name: build(module, buildx, target_params(params, name, targets[name])) for name in names}
    module.exit_json(targets=results, **joined(results))


def target_names(outputs: t.Sequence[t.Mapping[str, t.Any]]) -> t.List[str]:
    """The bake targets that outputs name, each once."""
    if not outputs:
        raise InvalidError("outputs is empty: name the bake targets to build, and where their results go")
    for number, output in enumerate(outputs):
        if not output["bake_target"]:
            raise InvalidError(f"outputs[{number}] needs bake_target: the target of the bake files whose result goes there")
    return list(dict.fromkeys(output["bake_target"] for output in outputs))


def target_params(params: t.Mapping[str, t.Any], name: str, target: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """The options of one target's build."""
    return {**bake.merged(target, params), "outputs": [output for output in params["outputs"] if output["bake_target"] == name]}


def joined(results: t.Mapping[str, t.Dict[str, t.Any]]) -> t.Dict[str, t.Any]:
    """What the module returns of all targets together."""
    first = next(iter(results.values()))
    return {
        "changed": any(found["changed"] for found in results.values()),
        "built": any(found["built"] for found in results.values()),
        "reasons": [f"{name}: {reason}" for name, found in results.items() for reason in found["reasons"]],
        "digest": first["digest"],
        "outputs": [output for found in results.values() for output in found["outputs"]],
        "base_images": {image: digest for found in results.values() for image, digest in found["base_images"].items()},
        "diff": [found["diff"] for found in results.values()],
    }


def build(module: AnsibleModule, buildx: Buildx, params: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """Plan, build unless in check mode, report."""
    definition = parse_definition(params, os.environ)
    places = [place_of(module, output) for output in definition.outputs]
    record = Record(definition)
    known = (record.inputs or {}).get("builder")
    now = parts.gather(definition, version_text(buildx, params["builder"], known), record.salt, resolve_layout)

    def resolve_image(name: RegistryReference) -> str:
        host = params["base_mirrors"].get(name.registry, name.registry)
        _name, store = open_source(module, f"{host}/{name.repository}:{name.tag}", None, None)
        return store.resolve(name.tag).digest

    look = resolve_image if params["pull"] == "always" else None
    plan = plan_build(definition, places, record, now, params["rebuild"] == "always", look)
    built = None
    if plan.reasons and not module.check_mode:
        if params["metadata_file"]:
            must_have_folder(params["metadata_file"], "metadata_file")
        built = apply_build(plan, definition, places, buildx, params["pull"] == "never")
        if params["metadata_file"]:
            write_file(params["metadata_file"], built.metadata)
        remember(module, record, plan, built)
    return result(definition, plan, built, record)


def remember(module: AnsibleModule, record: Record, plan: BuildPlan, built: Built) -> None:
    """Keep what the build was made of, and hand on its warnings."""
    for warning in built.warnings:
        module.warn(warning)
    try:
        record.store(plan.inputs, built.bases, built.after)
    except (OCIError, OSError) as error:
        module.warn(
            f"what this build was made of could not be stored in {record.folder} ({error}): the next run will build again. "
            "Another place can be named by XDG_CACHE_HOME."
        )


def result(definition: Definition, plan: BuildPlan, built: t.Optional[Built], record: Record) -> t.Dict[str, t.Any]:
    """What the module returns, of a run, of check mode, and when there was nothing to do."""
    after = built.after if built else plan.before
    digests = [digest for names in after for digest in names.values() if digest]
    before_lines = parts.shown(record.inputs or {}) + [f"base image {name}: {digest}" for name, digest in sorted(record.bases.items())]
    after_lines = parts.shown(plan.inputs, record.inputs) + [f"base image {name}: {digest}" for name, digest in sorted(plan.bases.items())]
    header = ", ".join(output.dest or " ".join(output.tags) for output in definition.outputs)
    return {
        "changed": built.changed if built else bool(plan.reasons),
        "built": bool(plan.reasons),
        "reasons": list(plan.reasons),
        "digest": digests[0] if digests else None,
        "outputs": [
            {"type": output.kind, "dest": output.dest, "before": dict(old), "after": dict(new)}
            for output, old, new in zip(definition.outputs, plan.before, after)
        ],
        "base_images": dict(built.bases if built else plan.bases),
        "diff": {
            "before_header": header,
            "after_header": header,
            "before": "".join(f"{line}\n" for line in before_lines),
            "after": "".join(f"{line}\n" for line in after_lines),
        },
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "context": {"type": "str"},
            "bake": {
                "type": "dict",
                "options": {
                    "folder": {"type": "path", "required": True},
                    "files": {"type": "list", "elements": "str", "default": []},
                    "vars": {"type": "dict", "default": {}},
                    "set": {"type": "list", "elements": "str", "default": []},
                },
            },
            "dockerfile": {"type": "str"},
            "outputs": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "type": {"type": "str", "choices": ["oci", "registry"], "default": "oci"},
                    "dest": {"type": "path"},
                    "tar": {"type": "bool", "default": True},
                    "bake_target": {"type": "str"},
                    "tags": {"type": "list", "elements": "str", "default": []},
                    "compression": {"type": "str", "choices": ["gzip", "zstd", "estargz", "uncompressed"]},
                    "compression_level": {"type": "int"},
                    "force_compression": {"type": "bool", "default": False},
                    "rewrite_timestamp": {"type": "bool", "default": False},
                    "insecure": {"type": "bool", "default": False},
                    "attributes": {"type": "dict", "default": {}},
                },
                "required_by": {"compression_level": "compression"},
            },
            "tags": {"type": "list", "elements": "str", "default": []},
            "args": {"type": "dict", "default": {}},
            "target": {"type": "str"},
            "platforms": {"type": "list", "elements": "str", "default": []},
            "build_contexts": {"type": "dict", "default": {}},
            "secrets": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "no_log": False,
                "options": {
                    "id": {"type": "str", "required": True},
                    "src": {"type": "path"},
                    "env": {"type": "str"},
                    "value": {"type": "str", "no_log": True},
                },
                "mutually_exclusive": [("src", "env", "value")],
                "required_one_of": [("src", "env", "value")],
            },
            "ssh": {"type": "list", "elements": "str", "default": []},
            "labels": {"type": "dict", "default": {}},
            "annotations": {"type": "dict", "default": {}},
            "provenance": {"type": "str"},
            "sbom": {"type": "str"},
            "source_date_epoch": {"type": "str"},
            "cache_from": {"type": "list", "elements": "str", "default": []},
            "cache_to": {"type": "list", "elements": "str", "default": []},
            "no_cache": {"type": "bool", "default": False},
            "no_cache_filter": {"type": "list", "elements": "str", "default": []},
            "pull": {"type": "str", "choices": ["missing", "always", "never"], "default": "missing"},
            "base_mirrors": {"type": "dict", "default": {}},
            "rebuild": {"type": "str", "choices": ["auto", "always"], "default": "auto"},
            "builder": {"type": "str"},
            "network": {"type": "str"},
            "add_hosts": {"type": "dict", "default": {}},
            "allow": {"type": "list", "elements": "str", "default": []},
            "shm_size": {"type": "str"},
            "metadata_file": {"type": "path"},
            "docker_cli": {"type": "path"},
            "docker_host": {"type": "str"},
            **registries_argument_spec(),
        },
        mutually_exclusive=[("context", "bake"), ("metadata_file", "bake")],
        required_one_of=[("context", "bake")],
        supports_check_mode=True,
    )
    with failing(module):
        run(module)


if __name__ == "__main__":
    main()
