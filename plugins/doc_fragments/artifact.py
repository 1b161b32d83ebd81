# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options that describe an artifact. Must be kept in sync with the argument specs of artifact_options.py."""

from __future__ import annotations


class ModuleDocFragment:
    """How an artifact is described; ``files``: what it holds."""

    DOCUMENTATION = r"""
options:
  config:
    description:
      - A file that becomes the configuration of the artifact. Most artifacts have none.
    type: dict
    suboptions:
      src:
        description: The file on the target.
        type: path
        required: true
      media_type:
        description:
          - The default is that of C(oras), V(application/vnd.unknown.config.v1+json).
        type: str
      annotations:
        description: Annotations of its descriptor. Values must be strings.
        type: dict
        default: {}
  annotations:
    description:
      - Annotations of the manifest. Values must be strings.
    type: dict
    default: {}
  annotation_file:
    description:
      - A JSON file on the target with annotations, as C(oras push --annotation-file) takes it. Its keys are titles of O(files),
        V($manifest) and V($config). A key that is none of these is an error.
      - What the other options say of an annotation goes before it.
    type: path
  created:
    description:
      - The time that the artifact is of, as RFC 3339 (V(2026-11-23T20:51:00Z)) or in seconds since 1970. It becomes the annotation
        C(org.opencontainers.image.created), and the time of what is in folders.
      - The default is the environment variable E(SOURCE_DATE_EPOCH) of the task. Without it nothing says C(created). The time of the day
        would make another artifact of the same files with each run.
    type: str
"""

    FILES = r"""
options:
  files:
    description:
      - The files of the artifact, as C(oras push) takes them. Without any the artifact is empty.
    type: list
    elements: dict
    default: []
    suboptions:
      src:
        description:
          - A file of the target. Or a folder, which travels as one reproducible C(tar.gz) with the annotation that lets
            M(lading.oci.oci_pull) and C(oras pull) unpack it.
        type: path
        required: true
      title:
        description:
          - The name under which it is pulled again, a relative path.
          - The default is O(files[].src) when that is relative, as with C(oras), else its last part.
        type: str
      media_type:
        description:
          - The default is that of C(oras), V(application/vnd.oci.image.layer.v1.tar) for a file, with V(+gzip) for a folder.
        type: str
      annotations:
        description: Annotations of the file's descriptor. Values must be strings.
        type: dict
        default: {}
"""
