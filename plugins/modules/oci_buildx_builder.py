#!/usr/bin/python
# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: oci_buildx_builder
short_description: Create, change and remove builder instances of docker buildx
description:
  - Creates a builder instance, creates it anew when it is not as declared, starts it and makes it the current one, or removes it.
  - Options that are not given are left as they are.
extends_documentation_fragment:
  - lading.oci.attributes
attributes:
  diff_mode:
    description:
      - Shows the declared options before and after.
  platform:
    description:
      - Target systems that can be operated against. The C(docker) command with its C(buildx) plugin is needed there.
options:
  name:
    description:
      - The instance's name.
    type: str
    required: true
  state:
    description:
      - Whether the instance is to be there.
    type: str
    choices: [present, absent]
    default: present
  driver:
    description:
      - What runs BuildKit. V(docker-container) is a container of the engine, V(kubernetes) pods of a cluster, V(remote) a daemon that
        runs already. The latter two are how builds outgrow one machine.
      - V(docker) is the engine itself. Such builders come with the engine's contexts. Here they are only looked at, to fail when the
        engine does not run.
    type: str
    choices: [docker-container, docker, kubernetes, remote]
    default: docker-container
  endpoint:
    description:
      - A docker context or an engine's address, and for V(remote) the daemon's address, which is needed then.
    type: str
  driver_opts:
    description:
      - Options of the driver by name, for example C(network) with the value V(host), or C(namespace) with V(builds).
    type: dict
  buildkitd_config:
    description:
      - The configuration of the BuildKit daemon, TOML.
    type: str
  registry_mirrors:
    description:
      - Mirrors of registries, in place of O(buildkitd_config).
    type: list
    elements: dict
    suboptions:
      registry:
        description:
          - The host of the registry, for example V(docker.io).
        type: str
        required: true
      mirrors:
        description:
          - The hosts to ask first.
        type: list
        elements: str
        required: true
  insecure_registries:
    description:
      - Hosts of registries that are reached over plain HTTP, in place of O(buildkitd_config).
    type: list
    elements: str
  buildkitd_flags:
    description:
      - Flags of the BuildKit daemon.
    type: list
    elements: str
  platforms:
    description:
      - The platforms that the instance is declared to build for, for example V([linux/amd64, linux/arm64]).
    type: list
    elements: str
  bootstrap:
    description:
      - Whether the instance is to be running.
    type: bool
    default: false
  default:
    description:
      - Whether the instance is to be the current one. V(false) changes nothing.
    type: bool
    default: false
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
  - module: lading.oci.oci_buildx_build
author:
  - The lading.oci contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: A container that builds, with a mirror and a registry without TLS
  lading.oci.oci_buildx_builder:
    name: mirrored
    driver: docker-container
    driver_opts:
      network: host
    registry_mirrors:
      - registry: docker.io
        mirrors: ["mirror.example.com"]
    insecure_registries: ["localhost:5000"]
    bootstrap: true
    default: true

- name: Pods of a cluster
  lading.oci.oci_buildx_builder:
    name: cluster
    driver: kubernetes
    driver_opts:
      namespace: builds
      replicas: "4"
    platforms: [linux/amd64, linux/arm64]

- name: A daemon on another machine, with mutual TLS
  lading.oci.oci_buildx_builder:
    name: farm
    driver: remote
    endpoint: tcp://buildkit.example.com:1234
    driver_opts:
      cacert: /etc/buildkit/ca.pem
      cert: /etc/buildkit/cert.pem
      key: /etc/buildkit/key.pem

- name: No longer
  lading.oci.oci_buildx_builder:
    name: farm
    state: absent
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode (C(removed), C(created), C(started), C(made the default)).
  returned: success
  type: list
  elements: str
builder:
  description: The instance as it is after the run, and in check mode as it is now. Empty when there is none.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      type: str
    driver:
      description: Its driver.
      type: str
    endpoint:
      description: Its address.
      type: str
    status:
      description: What its nodes are, for example C(running) or C(inactive).
      type: str
    version:
      description: The version of its BuildKit, empty when it is not running.
      type: str
    default:
      description: Whether it is the current one.
      type: bool
interrupted:
  description: True. The next run takes up what was begun, or begins anew.
  returned: when a signal (Ctrl-C, SIGTERM, SIGHUP) ended the task
  type: bool
  sample: true
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lading.oci.plugins.module_utils._oci.buildx import builder
from ansible_collections.lading.oci.plugins.module_utils._oci.buildx.cli import Buildx
from ansible_collections.lading.oci.plugins.module_utils._oci.module import failing
from ansible_collections.lading.oci.plugins.module_utils._oci.signals import stopping
from ansible_collections.lading.oci.plugins.module_utils._oci.strings import strings


def wanted_of(params: t.Mapping[str, t.Any]) -> builder.Wanted:
    """The builder that the options declare."""
    config = params["buildkitd_config"]
    if params["registry_mirrors"] is not None or params["insecure_registries"] is not None:
        config = builder.config_text(params["registry_mirrors"] or [], params["insecure_registries"] or [])
    return builder.Wanted(
        name=params["name"],
        driver=params["driver"],
        endpoint=params["endpoint"],
        driver_opts=None if params["driver_opts"] is None else strings(params["driver_opts"], "driver_opts"),
        config=config,
        flags=None if params["buildkitd_flags"] is None else tuple(params["buildkitd_flags"]),
        platforms=None if params["platforms"] is None else tuple(params["platforms"]),
        bootstrap=params["bootstrap"],
        default=params["default"],
    )


def run(module: AnsibleModule) -> None:
    """Plan, apply unless in check mode, report."""
    wanted = wanted_of(module.params)
    buildx = Buildx(stopping(module.run_command), module.params["docker_cli"], module.params["docker_host"])
    declared = builder.Declared(wanted.name)
    found = builder.find(buildx, wanted.name)
    absent = module.params["state"] == "absent"
    plan = builder.plan_absent(wanted.name, found) if absent else builder.plan_present(wanted, found, declared)
    if plan.actions and not module.check_mode:
        builder.apply(plan, wanted, found, declared, buildx)
        found = builder.find(buildx, wanted.name)
    module.exit_json(
        changed=bool(plan.actions),
        actions=plan.actions,
        builder=shown(found),
        diff={"before": lines(plan.before), "after": lines(plan.after)},
    )


def shown(found: t.Optional[builder.Instance]) -> t.Dict[str, t.Any]:
    """An instance for the result."""
    if found is None:
        return {}
    names = ("name", "driver", "endpoint", "status", "version")
    return {**{name: getattr(found, name) for name in names}, "default": found.current}


def lines(parts: t.Mapping[str, str]) -> str:
    """The declared parts for a diff."""
    return "".join(f"{name}: {text.rstrip()}\n" for name, text in parts.items())


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "driver": {"type": "str", "choices": ["docker-container", "docker", "kubernetes", "remote"], "default": "docker-container"},
            "endpoint": {"type": "str"},
            "driver_opts": {"type": "dict"},
            "buildkitd_config": {"type": "str"},
            "registry_mirrors": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "registry": {"type": "str", "required": True},
                    "mirrors": {"type": "list", "elements": "str", "required": True},
                },
            },
            "insecure_registries": {"type": "list", "elements": "str"},
            "buildkitd_flags": {"type": "list", "elements": "str"},
            "platforms": {"type": "list", "elements": "str"},
            "bootstrap": {"type": "bool", "default": False},
            "default": {"type": "bool", "default": False},
            "docker_cli": {"type": "path"},
            "docker_host": {"type": "str"},
        },
        mutually_exclusive=[("buildkitd_config", "registry_mirrors"), ("buildkitd_config", "insecure_registries")],
        supports_check_mode=True,
    )
    with failing(module):
        run(module)


if __name__ == "__main__":
    main()
