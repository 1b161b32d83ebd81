# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the lookups share. The registry options must be kept in sync with ``side_options`` of module.py."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
notes:
  - It runs on the controller, each time that the expression is evaluated. M(ansible.builtin.set_fact) with C(run_once) asks once for
    all hosts, and all of them get the same answer.
  - Lookups have no protection of secrets as the options of modules have. Keep passwords in a vault or in O(auth_file), never in the
    playbook itself, of which Ansible shows the lines that an error is in. No error of the lookup has a password in it.
requirements:
  - requests (on the controller), when a registry takes part
options:
  registries:
    description:
      - How registries are reached, by host, as the option of that name of M(lading.oci.oci_copy). Each entry has C(host) (with its port)
        and options as those of this lookup.
      - An entry is used only for the registry of its host, so that credentials go nowhere else.
      - Registry options that are given to the lookup itself replace the entry as a whole.
    type: list
    elements: dict
    default: []
    vars:
      - name: lading_oci_registries
  username:
    description:
      - The user name for the registry. Needs O(password).
    type: str
  password:
    description:
      - The password or access token for the registry. Needs O(username).
      - Without credentials here or in O(registries) they are looked up in O(auth_file), else in the files of the containers tools
        (C(auth.json)) and of Docker (C(config.json)), with their credential helpers. Without any the access is anonymous.
    type: str
  identity_token:
    description:
      - A refresh token for the registry's token server, in place of O(password).
    type: str
  auth_file:
    description:
      - A Docker C(config.json) or a containers C(auth.json) to take the credentials from, and from nowhere else.
    type: path
  auth_hosts:
    description:
      - Hosts (with C(:port) unless it is the default) of token servers that may be given this registry's credentials.
      - The registry's own origin and the known token servers of public registries need not be listed.
    type: list
    elements: str
    default: []
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
      - Whether the registry's TLS certificate is verified. Only ever set this to V(false) for a test.
    type: bool
    default: true
  plain_http:
    description:
      - Use HTTP without TLS. Never done unless asked for, not even for C(localhost).
    type: bool
    default: false
  timeout:
    description:
      - Seconds to wait for a connection, and for the next bytes of an answer.
    type: int
    default: 30
  retries:
    description:
      - How often a request is tried again after a passing fault (connection lost, 408, 429, 5xx), with growing pauses.
      - They do not grow, and are of up to 1 second, while a registry that has not answered yet refuses connections.
    type: int
    default: 5
"""
