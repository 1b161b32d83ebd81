#!/usr/bin/python
# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: oci_login
short_description: Log in to a registry for all tools, or log out
description:
  - Writes what C(docker login), C(podman login) and C(oras login) write, the credentials of a registry (Open Container Initiative, not
    Oracle Cloud) in a Docker C(config.json) or a containers C(auth.json), or in a credential helper. The modules of this collection
    find them there, as do Docker, podman, buildah, skopeo, oras, crane and helm.
  - The registry is asked first whether it takes the credentials (C(GET /v2/)). What it refuses is not kept.
extends_documentation_fragment:
  - lading.oci.attributes
  - lading.oci.attributes.actiongroup_registry
  - lading.oci.registry
attributes:
  check_mode:
    support: full
    description:
      - Says exactly what the run would do, and changes nothing. The registry is asked in check mode too.
  diff_mode:
    support: full
    description:
      - Shows whose credentials are kept where, before and after. A password or token is only told to be the given one or another.
options:
  registry:
    description:
      - The registry's host, with C(:port) as in the references, for example V(registry.example.com:5000). Docker Hub is V(docker.io).
    type: str
    required: true
  state:
    description:
      - V(present) has O(registry) take the credentials, and keeps them. The credentials that were there before are replaced.
      - V(absent) removes what the file, and the credential helper that it names, have for O(registry). The registry is not asked.
    type: str
    choices: [present, absent]
    default: present
  username:
    description:
      - The user name for the registry. Needs O(password) or O(identity_token).
    type: str
  password:
    description:
      - The password or access token for the registry. Needs O(username).
    type: str
  identity_token:
    description:
      - A refresh token for the registry's token server, in place of O(password).
    type: str
  auth_file:
    description:
      - The file that has the credentials, a Docker C(config.json) or a containers C(auth.json). Its name tells which it is, and in a
        C(config.json) alone C(credsStore) counts.
      - The default is the file of E(REGISTRY_AUTH_FILE) of the task, else C(config.json) in the folder of E(DOCKER_CONFIG), else
        C(~/.docker/config.json) of the user who the task runs as. All tools named above read Docker's file, and it outlives a reboot, which
        the default of C(podman login) does not. What is in an C(auth.json) for the same registry is found before it by this collection and
        by the containers tools. The task warns of that.
      - A file that is not there is made, with its folder. What belongs to other registries, and fields that are not known, stay.
      - The file gets the mode V(0600) when the credentials are in it, and with each change. Its owner stays.
      - A symbolic link is kept, and what it leads to is replaced. The link has to belong to the user who the task runs as, or to root.
    type: path
  credential_helper:
    description:
      - Keep the credentials in the credential helper of this name, the program C(docker-credential-NAME) on E(PATH), and note that in
        C(credHelpers) of O(auth_file). What another helper had for O(registry) stays in that one.
      - Without this they go to the helper that O(auth_file) names for O(registry) (C(credHelpers), C(credsStore)), and into the file itself
        when there is none.
      - With a helper, credentials of O(registry) are taken out of the file.
    type: str
  auth_hosts:
    description:
      - Hosts (with C(:port) unless it is the default) of token servers that may be given this registry's credentials.
      - The registry's own origin and the known token servers of public registries need not be listed.
    type: list
    elements: str
  ca_path:
    description:
      - A file or folder with CA certificates that are trusted for this registry beside the system's.
      - The folders C(certs.d/HOST:PORT) of Docker and of the containers tools are read as well.
    type: path
  client_cert:
    description:
      - A client certificate (PEM). Needs O(client_key).
    type: path
  client_key:
    description:
      - The key of O(client_cert) (PEM).
    type: path
  validate_certs:
    description:
      - Whether the registry's TLS certificate is verified. Only ever set this to V(false) for a test. The default is V(true).
    type: bool
  plain_http:
    description:
      - Use HTTP without TLS. Never done unless asked for, not even for C(localhost). The default is V(false).
    type: bool
  timeout:
    description:
      - Seconds to wait for a connection, and for the next bytes of an answer. The default is V(30).
    type: int
  retries:
    description:
      - How often a request is tried again after a passing fault, with growing pauses. The default is V(5). A login that was refused is
        not tried again.
    type: int
notes:
  - An option that the task does not have is taken from the entry of O(registries) for O(registry). Credentials are all taken from the
    task, or all from the entry.
  - A registry that answers C(GET /v2/) without a login does not look at the credentials. They are kept, with a warning, and RV(verified) is
    false.
  - Entries of C(auth.json) that are for a part of a registry (C(HOST/REPOSITORY)) are left alone.
seealso:
  - module: lading.oci.oci_copy
  - module: lading.oci.oci_info
author:
  - The lading.oci contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: The deployment user may pull
  lading.oci.oci_login:
    registry: registry.example.com
    username: deploy
    password: "{{ registry_password }}"

- name: For podman and for the services that it runs, in a file of their own
  lading.oci.oci_login:
    registry: registry.example.com
    username: deploy
    password: "{{ registry_password }}"
    auth_file: /etc/containers/auth.json

- name: In the keyring of the user, not in a file
  lading.oci.oci_login:
    registry: docker.io
    username: deploy
    password: "{{ hub_token }}"
    credential_helper: pass

- name: No login is left behind
  lading.oci.oci_login:
    registry: registry.example.com
    state: absent
"""

RETURN = r"""
registry:
  description: The registry, as other tools name it.
  returned: success
  type: str
  sample: registry.example.com
username:
  description: The user name. Null where there is an identity token without one.
  returned: with O(state=present)
  type: str
  sample: deploy
verified:
  description: Whether the registry asked for the credentials, and took them. False when it lets everybody in.
  returned: with O(state=present)
  type: bool
  sample: true
auth_file:
  description: The file.
  returned: success
  type: str
  sample: /home/deploy/.docker/config.json
credential_helper:
  description: The credential helper that has the credentials, or had them. Null when they are in the file.
  returned: success
  type: str
  sample: pass
requests:
  description: HTTP requests made, by verb.
  returned: success
  type: dict
  sample: {"GET": 3}
interrupted:
  description: True.
  returned: when a signal (Ctrl-C, SIGTERM, SIGHUP) ended the task
  type: bool
  sample: true
"""

import os
import typing as t
from dataclasses import replace

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lading.oci.plugins.module_utils._oci.logins import Login, LoginPlan, apply_login, plan_login
from ansible_collections.lading.oci.plugins.module_utils._oci.module import (
    at_least,
    failing,
    options_for,
    registries_argument_spec,
    side_options,
)
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.authfile_writer import check_credential
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.credentials import (
    Credential,
    default_auth_file,
    looked_at_before,
)
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.options import RegistryOptions
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.ping import ping
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import OCIError, located
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import RegistryReference, parse_host

Result = t.Dict[str, t.Any]
_CREDENTIALS = ("username", "password", "identity_token")


def options_of(module: AnsibleModule, registry: RegistryReference) -> RegistryOptions:
    """The task's own options over those of ``registries`` for this host. Credentials are of one of the two, never of both."""
    entry = options_for(module, registry, None)
    own = {name: module.params[name] for name in side_options() if module.params[name] is not None}
    if any(name in own for name in _CREDENTIALS):
        entry = replace(entry, username=None, password=None, identity_token=None)
    options = replace(entry, **own)
    at_least(1, timeout=int(options.timeout))
    at_least(0, retries=options.retries)
    return options


def verify(module: AnsibleModule, registry: RegistryReference, options: RegistryOptions) -> t.Tuple[Credential, Result]:
    """The credential, which the registry takes, and what is told of that."""
    credential = Credential(options.username or "", options.password or "", options.identity_token or "")
    check_credential(credential)
    answer = ping(registry, credential, options, module.warn)
    if not answer.asked:
        module.warn(f"{registry.registry} lets everybody in: it did not look at the credentials")
    told = {"username": options.username, "verified": answer.asked, "requests": dict(answer.requests)}
    return credential, told


def warn_of_others(module: AnsibleModule, path: str, registry: RegistryReference) -> None:
    try:
        for other in looked_at_before(path, registry.registry):
            module.warn(f"{other} has something for {registry.registry} too, and is looked at before {path}")
    except OCIError as error:
        module.warn(f"a file that is looked at before {path} cannot be used: {error}")


def result_of(plan: LoginPlan, login: Login) -> Result:
    return {
        "changed": plan.changed,
        "registry": login.registry,
        "auth_file": login.auth_file,
        "credential_helper": plan.helper or None,
        "diff": {
            "before_header": login.auth_file,
            "after_header": login.auth_file,
            "before": "".join(f"{line.place}: {line.before}\n" for line in plan.lines),
            "after": "".join(f"{line.place}: {line.after}\n" for line in plan.lines),
        },
    }


def run(module: AnsibleModule) -> None:
    registry = parse_host(module.params["registry"])
    options = options_of(module, registry)
    path = os.path.abspath(options.auth_file or default_auth_file())
    credential: t.Optional[Credential] = None
    told: Result = {"requests": {}}
    with located(f"registry {registry.registry}"):
        if module.params["state"] == "present":
            credential, told = verify(module, registry, options)
        login = Login(registry.registry, credential, path, module.params["credential_helper"] or "")
        plan = plan_login(login)
        if plan.changed and not module.check_mode:
            plan = apply_login(login)
    if credential is not None and not options.auth_file:
        warn_of_others(module, path, registry)
    module.exit_json(**result_of(plan, login), **told)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "registry": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "credential_helper": {"type": "str", "no_log": False},
            # Without defaults: what the task does not say, an entry of registries may.
            "username": {"type": "str"},
            "password": {"type": "str", "no_log": True},
            "identity_token": {"type": "str", "no_log": True},
            "auth_file": {"type": "path"},
            "auth_hosts": {"type": "list", "elements": "str", "no_log": False},
            "ca_path": {"type": "path"},
            "client_cert": {"type": "path"},
            "client_key": {"type": "path", "no_log": False},
            "validate_certs": {"type": "bool"},
            "plain_http": {"type": "bool"},
            "timeout": {"type": "int"},
            "retries": {"type": "int"},
            **registries_argument_spec(),
        },
        required_by={"password": "username"},
        required_together=[("client_cert", "client_key")],
        mutually_exclusive=[("password", "identity_token")],
        supports_check_mode=True,
    )
    with failing(module):
        run(module)


if __name__ == "__main__":
    main()
