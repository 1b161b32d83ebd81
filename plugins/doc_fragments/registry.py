# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options that say how a registry is reached. Must be kept in sync with ``side_options`` of module.py."""

from __future__ import annotations


class ModuleDocFragment:
    """``registries`` for every module of the action group; ``src``, ``base``, ``repair_from`` and their options; ``dest_registry``."""

    # Again and again the same options: ansible-test reads nothing but literal strings here, and checks each against its argument spec.
    DOCUMENTATION = r"""
options:
  registries:
    description:
      - How registries are reached, by host. Meant for C(module_defaults) of C(group/lading.oci.registry).
      - An entry is used only for the registry of its host, so that credentials go nowhere else.
      - The options of a task's own side replace the entry as a whole.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description:
          - The registry's host, with C(:port) as in the references, for example V(registry.example.com:5000).
        type: str
        required: true
      username:
        description:
          - The user name for the registry. Needs O(registries[].password).
        type: str
      password:
        description:
          - The password or access token for the registry. Needs O(registries[].username).
          - Without credentials in the task they are looked up in O(registries[].auth_file), else in the files of the containers tools
            (C(auth.json)) and of Docker (C(config.json)), with their credential helpers. Without any the access is anonymous.
        type: str
      identity_token:
        description:
          - A refresh token for the registry's token server, in place of O(registries[].password).
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
          - A client certificate (PEM). Needs O(registries[].client_key).
        type: path
      client_key:
        description:
          - The key of O(registries[].client_cert) (PEM).
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
          - The header of an answer has to come in this time, too. Its body has to come with 1 KiB a second at least, and of an
            upload 64 KiB have to be taken, as measured over this time.
          - A try of a request that hangs ends after this time. One that trickles ends after six times it at most.
        type: int
        default: 30
      retries:
        description:
          - How often a request is tried again after a passing fault (connection lost, 408, 429, 5xx), with growing pauses.
          - The pauses are of up to 0.5, 1, 2, 4 and 8 seconds, later ones of up to 30. A registry's C(Retry-After) is kept to instead,
            when it is of up to 120 seconds, and is an error when it is longer.
          - While a registry that has not answered yet refuses connections, they are of up to 1 second. Most likely its port is wrong.
          - Content that was damaged on its way is asked for, or sent, again, a blob once and a manifest twice.
        type: int
        default: 5

requirements:
  - requests (on the target), when a registry takes part
"""

    SOURCE = r"""
options:
  src:
    description:
      - Where the content comes from.
      - V(HOST[:PORT]/REPOSITORY:TAG) or V(HOST[:PORT]/REPOSITORY@DIGEST) is a registry. The host is never left out.
        A leading V(docker://) is accepted.
      - V(oci:PATH:REF), V(oci:PATH@DIGEST) or V(oci:PATH) is a layout, a folder or a tar as found on disk.
        The latter form needs a layout that has just one manifest.
      - V(oci:PATH:@N) is the N-th manifest of the layout, counted from 0.
      - V(oci-archive:PATH:REF) is a layout tar.
      - V(docker-archive:PATH:NAME:TAG), V(docker-archive:PATH:@N) or V(docker-archive:PATH) is an image in a tar that
        C(docker save) wrote. The first colon ends the path. Without a tag V(latest) is meant, as Docker does it.
        The latter form needs a tar that has just one image. The config and the layers are kept as they are in the tar.
      - A tar of C(docker save) is also found by V(oci:PATH) and V(oci-archive:PATH). Docker 25 and later writes a tar that is a layout
        too. Then the manifest of the layout is taken. Where the layout is empty or incomplete, the C(manifest.json) of Docker counts.
      - A tar may be compressed with gzip, xz, bzip2 or zstd. The module decompresses it into a temporary file that has no name.
        Zstd needs Python 3.14, or the Python library C(backports.zstd) or C(zstandard) on the target.
      - Relative paths start at the working directory of the module on the target. With the local connection that is the folder
        of the playbook, in an ad-hoc command the working directory.
    type: str
    required: true
  src_ref:
    description:
      - The tag, ref, V(@N) or digest of O(src) when it is not in it. With this O(src) has the path alone, which may then contain colons.
      - A full image name finds the image of that name in a layout that BuildKit wrote, or in a tar of C(docker save).
    type: str
  src_registry:
    description:
      - How the registry of O(src) is reached. An error when O(src) is a layout.
    type: dict
    suboptions:
      username:
        description:
          - The user name for the registry. Needs O(src_registry.password).
        type: str
      password:
        description:
          - The password or access token for the registry. Needs O(src_registry.username).
          - Without credentials in the task they are looked up in O(src_registry.auth_file), else in the files of the containers tools
            (C(auth.json)) and of Docker (C(config.json)), with their credential helpers. Without any the access is anonymous.
        type: str
      identity_token:
        description:
          - A refresh token for the registry's token server, in place of O(src_registry.password).
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
          - A client certificate (PEM). Needs O(src_registry.client_key).
        type: path
      client_key:
        description:
          - The key of O(src_registry.client_cert) (PEM).
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
          - The header of an answer has to come in this time, too. Its body has to come with 1 KiB a second at least, and of an
            upload 64 KiB have to be taken, as measured over this time.
          - A try of a request that hangs ends after this time. One that trickles ends after six times it at most.
        type: int
        default: 30
      retries:
        description:
          - How often a request is tried again after a passing fault (connection lost, 408, 429, 5xx), with growing pauses.
          - The pauses are of up to 0.5, 1, 2, 4 and 8 seconds, later ones of up to 30. A registry's C(Retry-After) is kept to instead,
            when it is of up to 120 seconds, and is an error when it is longer.
          - While a registry that has not answered yet refuses connections, they are of up to 1 second. Most likely its port is wrong.
          - Content that was damaged on its way is asked for, or sent, again, a blob once and a manifest twice.
        type: int
        default: 5
"""

    IMAGES = r"""
options:
  src:
    description:
      - The images and artifacts to tell of, one or many.
      - V(HOST[:PORT]/REPOSITORY:TAG) or V(HOST[:PORT]/REPOSITORY@DIGEST) is in a registry. The host is never left out.
      - V(oci:PATH:REF), V(oci:PATH@DIGEST), V(oci:PATH:@N) or V(oci:PATH) is in a layout, a folder or a tar as found on disk.
        V(oci-archive:PATH:REF) is in a layout tar, V(docker-archive:PATH:NAME:TAG) in a tar that C(docker save) wrote.
        M(lading.oci.oci_copy) says more of each form.
    type: list
    elements: str
    default: []
  src_registry:
    description:
      - How the registry of O(src) is reached, the same for all of them. Use O(registries) for several registries.
    type: dict
    suboptions:
      username:
        description:
          - The user name for the registry. Needs O(src_registry.password).
        type: str
      password:
        description:
          - The password or access token for the registry. Needs O(src_registry.username).
          - Without credentials in the task they are looked up in O(src_registry.auth_file), else in the files of the containers tools
            (C(auth.json)) and of Docker (C(config.json)), with their credential helpers. Without any the access is anonymous.
        type: str
      identity_token:
        description:
          - A refresh token for the registry's token server, in place of O(src_registry.password).
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
          - A client certificate (PEM). Needs O(src_registry.client_key).
        type: path
      client_key:
        description:
          - The key of O(src_registry.client_cert) (PEM).
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
          - The header of an answer has to come in this time, too. Its body has to come with 1 KiB a second at least, and of an
            upload 64 KiB have to be taken, as measured over this time.
          - A try of a request that hangs ends after this time. One that trickles ends after six times it at most.
        type: int
        default: 30
      retries:
        description:
          - How often a request is tried again after a passing fault (connection lost, 408, 429, 5xx), with growing pauses.
          - The pauses are of up to 0.5, 1, 2, 4 and 8 seconds, later ones of up to 30. A registry's C(Retry-After) is kept to instead,
            when it is of up to 120 seconds, and is an error when it is longer.
          - While a registry that has not answered yet refuses connections, they are of up to 1 second. Most likely its port is wrong.
          - Content that was damaged on its way is asked for, or sent, again, a blob once and a manifest twice.
        type: int
        default: 5
"""

    REPAIR = r"""
options:
  repair_from:
    description:
      - Repositories and other layouts from which blobs are fetched that are damaged or missing, as V(HOST[:PORT]/REPOSITORY),
        V(oci:PATH), V(oci-archive:PATH) or V(docker-archive:PATH). They are asked in this order.
      - Content is asked for by its digest, and verified. A tag or digest in a reference means nothing.
      - Damage that leaves the size as it was is only found with O(verify).
      - Only what the refs of the layout reach is repaired. Everything else stays as it is.
    type: list
    elements: str
    default: []
  repair_registry:
    description:
      - How the registry of O(repair_from) is reached, the same for all of them. Use O(registries) for several registries.
    type: dict
    suboptions:
      username:
        description:
          - The user name for the registry. Needs O(repair_registry.password).
        type: str
      password:
        description:
          - The password or access token for the registry. Needs O(repair_registry.username).
          - Without credentials in the task they are looked up in O(repair_registry.auth_file), else in the files of the containers tools
            (C(auth.json)) and of Docker (C(config.json)), with their credential helpers. Without any the access is anonymous.
        type: str
      identity_token:
        description:
          - A refresh token for the registry's token server, in place of O(repair_registry.password).
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
          - A client certificate (PEM). Needs O(repair_registry.client_key).
        type: path
      client_key:
        description:
          - The key of O(repair_registry.client_cert) (PEM).
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
          - The header of an answer has to come in this time, too. Its body has to come with 1 KiB a second at least, and of an
            upload 64 KiB have to be taken, as measured over this time.
          - A try of a request that hangs ends after this time. One that trickles ends after six times it at most.
        type: int
        default: 30
      retries:
        description:
          - How often a request is tried again after a passing fault (connection lost, 408, 429, 5xx), with growing pauses.
          - The pauses are of up to 0.5, 1, 2, 4 and 8 seconds, later ones of up to 30. A registry's C(Retry-After) is kept to instead,
            when it is of up to 120 seconds, and is an error when it is longer.
          - While a registry that has not answered yet refuses connections, they are of up to 1 second. Most likely its port is wrong.
          - Content that was damaged on its way is asked for, or sent, again, a blob once and a manifest twice.
        type: int
        default: 5
"""

    DESTINATION = r"""
options:
  dest_registry:
    description:
      - How the registry of O(dest) is reached. An error when O(dest) is a layout.
    type: dict
    suboptions:
      username:
        description:
          - The user name for the registry. Needs O(dest_registry.password).
        type: str
      password:
        description:
          - The password or access token for the registry. Needs O(dest_registry.username).
          - Without credentials in the task they are looked up in O(dest_registry.auth_file), else in the files of the containers tools
            (C(auth.json)) and of Docker (C(config.json)), with their credential helpers. Without any the access is anonymous.
        type: str
      identity_token:
        description:
          - A refresh token for the registry's token server, in place of O(dest_registry.password).
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
          - A client certificate (PEM). Needs O(dest_registry.client_key).
        type: path
      client_key:
        description:
          - The key of O(dest_registry.client_cert) (PEM).
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
          - The header of an answer has to come in this time, too. Its body has to come with 1 KiB a second at least, and of an
            upload 64 KiB have to be taken, as measured over this time.
          - A try of a request that hangs ends after this time. One that trickles ends after six times it at most.
        type: int
        default: 30
      retries:
        description:
          - How often a request is tried again after a passing fault (connection lost, 408, 429, 5xx), with growing pauses.
          - The pauses are of up to 0.5, 1, 2, 4 and 8 seconds, later ones of up to 30. A registry's C(Retry-After) is kept to instead,
            when it is of up to 120 seconds, and is an error when it is longer.
          - While a registry that has not answered yet refuses connections, they are of up to 1 second. Most likely its port is wrong.
          - Content that was damaged on its way is asked for, or sent, again, a blob once and a manifest twice.
        type: int
        default: 5
"""

    MANIFESTS = r"""
options:
  manifests:
    description:
      - Makes an index (a multi-platform image) of images, in the order of the list.
      - The content of all of them is brought into the layout. Their digests stay as they are.
      - Two with the same platform are an error, unless they are the same image.
      - Attestations of BuildKit come along, and stand after the images.
    type: list
    elements: dict
    default: []
    suboptions:
      src:
        description:
          - Where the image is. The forms are those of O(lading.oci.oci_copy#module:src), for example V(oci:PATH:REF) for a layout,
            V(oci-archive:PATH:REF) for a layout tar and V(HOST[:PORT]/REPOSITORY:TAG) for a registry.
          - Of an index all entries are added. O(manifests[].platform) takes one of them, O(manifests[].nested) keeps the index.
          - An artifact becomes an entry without a platform.
          - Needed unless O(manifests[].state=absent).
        type: str
      src_ref:
        description:
          - The tag, ref or digest of O(manifests[].src) when it is not in it.
        type: str
      src_registry:
        description:
          - How the registry of O(manifests[].src) is reached. An error when that is a layout.
        type: dict
        suboptions:
          username:
            description:
              - The user name for the registry. Needs O(manifests[].src_registry.password).
            type: str
          password:
            description:
              - The password or access token for the registry. Needs O(manifests[].src_registry.username).
              - Without credentials in the task they are looked up in O(manifests[].src_registry.auth_file), else in the files of the
                containers tools (C(auth.json)) and of Docker (C(config.json)), with their credential helpers. Without any the access
                is anonymous.
            type: str
          identity_token:
            description:
              - A refresh token for the registry's token server, in place of O(manifests[].src_registry.password).
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
              - A client certificate (PEM). Needs O(manifests[].src_registry.client_key).
            type: path
          client_key:
            description:
              - The key of O(manifests[].src_registry.client_cert) (PEM).
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
              - The header of an answer has to come in this time, too. Its body has to come with 1 KiB a second at least, and of an
                upload 64 KiB have to be taken, as measured over this time.
              - A try of a request that hangs ends after this time. One that trickles ends after six times it at most.
            type: int
            default: 30
          retries:
            description:
              - How often a request is tried again after a passing fault (connection lost, 408, 429, 5xx), with growing pauses.
              - The pauses are of up to 0.5, 1, 2, 4 and 8 seconds, later ones of up to 30. A registry's C(Retry-After) is kept to instead,
                when it is of up to 120 seconds, and is an error when it is longer.
              - While a registry that has not answered yet refuses connections, they are of up to 1 second. Most likely its port is wrong.
              - Content that was damaged on its way is asked for, or sent, again, a blob once and a manifest twice.
            type: int
            default: 5
      platform:
        description:
          - As C(os/architecture) or C(os/architecture/variant).
          - Of an image it is written in place of what its config says.
          - Of an index it takes the image that fits best, with its attestations.
          - With O(manifests[].state=absent) it says which one goes.
        type: str
      annotations:
        description:
          - Annotations of the entry in the index. Of an index that is not nested, of each of its images. Values must be strings.
        type: dict
        default: {}
      nested:
        description:
          - Whether an index becomes one entry, an index in the index. Many tools do not look into it.
        type: bool
        default: false
      state:
        description:
          - V(absent) takes the images of O(manifests[].platform) out of the index, with their attestations. It needs O(append).
        type: str
        choices: [present, absent]
        default: present
"""

    BASE = r"""
options:
  base:
    description:
      - An image to build on. Its layers come first, and are taken over by their digests. Its config is what O(config) changes.
      - It is a registry's V(HOST[:PORT]/REPOSITORY:TAG) or V(HOST[:PORT]/REPOSITORY@DIGEST), a layout's V(oci:PATH:REF),
        V(oci:PATH@DIGEST) or V(oci:PATH), or a layout tar's V(oci-archive:PATH:REF), as the O(lading.oci.oci_copy#module:src)
        of M(lading.oci.oci_copy).
      - Of an index the image for O(platform) is taken. An image of Docker media types is taken over under those of OCI, with the same
        layers. An artifact is an error.
      - A base in a layout that does not exist is an error in a run. In check mode it is a warning, and the build would be a change,
        because an earlier task may make it.
    type: str
  base_ref:
    description:
      - The tag, ref or digest of O(base) when it is not in it. With this O(base) has the path alone, which may then contain colons.
    type: str
  base_registry:
    description:
      - How the registry of O(base) is reached. An error when O(base) is a layout.
    type: dict
    suboptions:
      username:
        description:
          - The user name for the registry. Needs O(base_registry.password).
        type: str
      password:
        description:
          - The password or access token for the registry. Needs O(base_registry.username).
          - Without credentials in the task they are looked up in O(base_registry.auth_file), else in the files of the containers tools
            (C(auth.json)) and of Docker (C(config.json)), with their credential helpers. Without any the access is anonymous.
        type: str
      identity_token:
        description:
          - A refresh token for the registry's token server, in place of O(base_registry.password).
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
          - A client certificate (PEM). Needs O(base_registry.client_key).
        type: path
      client_key:
        description:
          - The key of O(base_registry.client_cert) (PEM).
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
          - The header of an answer has to come in this time, too. Its body has to come with 1 KiB a second at least, and of an
            upload 64 KiB have to be taken, as measured over this time.
          - A try of a request that hangs ends after this time. One that trickles ends after six times it at most.
        type: int
        default: 30
      retries:
        description:
          - How often a request is tried again after a passing fault (connection lost, 408, 429, 5xx), with growing pauses.
          - The pauses are of up to 0.5, 1, 2, 4 and 8 seconds, later ones of up to 30. A registry's C(Retry-After) is kept to instead,
            when it is of up to 120 seconds, and is an error when it is longer.
          - While a registry that has not answered yet refuses connections, they are of up to 1 second. Most likely its port is wrong.
          - Content that was damaged on its way is asked for, or sent, again, a blob once and a manifest twice.
        type: int
        default: 5
"""
