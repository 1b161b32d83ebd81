#!/usr/bin/python
# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: oci_verify
short_description: Verify that an image or artifact keeps a policy and is signed
description:
  - Looks at an image or artifact (Open Container Initiative, not Oracle Cloud) before it is used, in a registry or a layout. It has to keep
    the rules of O(policy), and to have the signatures that O(signatures) and O(notary_signatures) ask for. Otherwise the task fails and
    says all that is wrong.
  - Only documents are read, no layer. Use the digest that it returns (RV(pinned)) for what follows. A tag may move.
  - In check mode it looks and fails just the same.
extends_documentation_fragment:
  - lading.oci.attributes.info_module
  - lading.oci.attributes.actiongroup_registry
  - lading.oci.registry
  - lading.oci.registry.source
options:
  platform:
    description:
      - Look only at the image of an index that is for this platform, as V(linux/arm64). V(host) is Linux on the processor of the target.
      - By default all images of an index have to keep O(policy). Signatures are those of what O(src) names, whatever the platform.
    type: str
  policy:
    description:
      - The rules. One that is not given is not looked at.
    type: dict
    default: {}
    suboptions:
      annotations:
        description:
          - Annotations that each image has to have, itself or by the index that it is in. A value is a regular expression that has to match
            as a whole. An empty one matches all.
        type: dict
        default: {}
      labels:
        description:
          - Labels that the configuration of each image has to have, with values as those of O(policy.annotations).
        type: dict
        default: {}
      platforms:
        description:
          - Platforms that there has to be an image for, as its configuration says.
        type: list
        elements: str
        default: []
      media_types:
        description:
          - Globs. Each layer has to have a media type that one of them matches, for example V(application/vnd.oci.image.layer.*).
        type: list
        elements: str
        default: []
      artifact_types:
        description:
          - Artifact types, one of which an artifact has to have.
        type: list
        elements: str
        default: []
      max_size:
        description:
          - The most that the layers and the configuration of one image may take together, as V(500MB) or in bytes.
        type: bytes
      base_digests:
        description:
          - Digests, one of which the annotation C(org.opencontainers.image.base.digest) has to be.
        type: list
        elements: str
        default: []
      max_age:
        description:
          - How many days ago it may have been made, by its configuration or its annotation C(org.opencontainers.image.created).
        type: int
  signatures:
    description:
      - Signatures of cosign that there have to be. Each item asks for one more. They are looked for under the tag that cosign names
        after the digest, among what is attached, and in bundles.
      - Needs the Python library C(cryptography) on the target. Without it the task fails.
      - What is looked at is that the key has signed this digest. No transparency log is asked, and no certificate counts.
    type: list
    elements: dict
    default: []
    suboptions:
      key:
        description:
          - A file on the target with the public key, in PEM.
        type: path
      key_content:
        description:
          - The public key itself, in place of O(signatures[].key).
        type: str
      annotations:
        description:
          - What the signer has to have said of it, as with C(cosign sign -a).
        type: dict
        default: {}
  notary_signatures:
    description:
      - Signatures of Notary Project that there have to be, in a registry or a layout. Each item asks for one more.
      - They are judged by the program C(notation) on the target. Without it the task fails. It gets what it has to look at in a folder,
        with no login and nothing of the configuration that it has for other uses.
    type: list
    elements: dict
    default: []
    suboptions:
      certificates:
        description:
          - Files on the target with certificates to trust, in PEM or DER, of authorities or of the signers themselves.
        type: list
        elements: path
        required: true
      identities:
        description:
          - Who may have signed, as V(x509.subject:C=US,ST=WA,O=Example). By default all whose certificate is trusted.
        type: list
        elements: str
        default: []
      metadata:
        description:
          - What the signer has to have said of it, as with C(notation sign --user-metadata).
        type: dict
        default: {}
      level:
        description:
          - With V(strict) a signature has to be neither expired nor revoked. V(permissive) takes those, too, and is for targets that cannot
            reach who tells what is revoked.
        type: str
        choices: [strict, permissive]
        default: strict
  notation_cli:
    description:
      - Path of the C(notation) program. Without it the one on C(PATH).
    type: path
  fail:
    description:
      - Whether the task fails when something is wrong. With V(false) it says so in RV(verified) and RV(violations) alone. What cannot be
        read is an error in any case.
    type: bool
    default: true
requirements:
  - cryptography (on the target), for O(signatures)
  - notation (on the target), for O(notary_signatures)
seealso:
  - module: lading.oci.oci_info
  - module: lading.oci.oci_copy
author:
  - The lading.oci contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Only what is signed, small and of known origin is deployed
  lading.oci.oci_verify:
    src: registry.example.com/team/app:1.4
    policy:
      annotations:
        org.opencontainers.image.source: https://example[.]com/team/.*
      platforms: [linux/amd64, linux/arm64]
      max_size: 500MB
      max_age: 90
    signatures:
      - key: /etc/pki/release.pub
  register: release

- name: What was looked at is what is copied, whatever the tag names by now
  lading.oci.oci_copy:
    src: "{{ release.pinned }}"
    dest: oci:/srv/mirror/app:1.4

- name: Is it signed by both?
  lading.oci.oci_verify:
    src: oci:/srv/mirror/app.tar:1.4
    signatures:
      - key: /etc/pki/release.pub
      - key: /etc/pki/security.pub
        annotations:
          scan: passed
    fail: false
  register: looked_at

- name: Signed with a certificate of our own authority
  lading.oci.oci_verify:
    src: registry.example.com/team/app:1.4
    notary_signatures:
      - certificates: [/etc/pki/signing-ca.pem]
        identities: ["x509.subject:C=US,ST=WA,O=Example"]
"""

RETURN = r"""
verified:
  description: Whether nothing is wrong.
  returned: always, unless it could not be looked at
  type: bool
digest:
  description: The digest of the manifest or index that was looked at.
  returned: always, unless it could not be looked at
  type: str
  sample: sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
pinned:
  description: The repository or layout with that digest, as it can be given as a source.
  returned: always, unless it could not be looked at
  type: str
  sample: registry.example.com/team/app@sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
violations:
  description: All that is wrong.
  returned: always, unless it could not be looked at
  type: list
  elements: dict
  contains:
    rule:
      description: The option of O(policy) that is broken, or C(signatures) or C(notary_signatures).
      type: str
      sample: max_size
    digest:
      description: The digest of the manifest that breaks it.
      type: str
    message:
      description: What is wrong.
      type: str
      sample: it has 734003200 bytes, more than 524288000
signatures:
  description: The signatures that were found to be good.
  returned: always, unless it could not be looked at
  type: list
  elements: dict
  contains:
    key:
      description: The file of the key, or C(key_content).
      type: str
      sample: /etc/pki/release.pub
    digest:
      description: The digest of the manifest that has the signature.
      type: str
notary_signatures:
  description: The signatures of Notary Project that were found to be good.
  returned: always, unless it could not be looked at
  type: list
  elements: dict
  contains:
    certificates:
      description: The files of the certificates that it was judged by.
      type: list
      elements: str
      sample: [/etc/pki/signing-ca.pem]
    digest:
      description: The digest of the manifest that has the signature.
      type: str
requests:
  description: HTTP requests made, by verb.
  returned: always, unless it could not be looked at
  type: dict
  sample: {"HEAD": 1, "GET": 3}
interrupted:
  description: True.
  returned: when a signal (Ctrl-C, SIGTERM, SIGHUP) ended the task
  type: bool
  sample: true
"""

import tempfile
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import Source
from ansible_collections.lading.oci.plugins.module_utils._oci.layer import open_regular
from ansible_collections.lading.oci.plugins.module_utils._oci.module import (
    failing,
    open_source,
    registries_argument_spec,
    side_argument_spec,
)
from ansible_collections.lading.oci.plugins.module_utils._oci.platforms import parse_platform
from ansible_collections.lading.oci.plugins.module_utils._oci.policy import Rules, Violation, violations
from ansible_collections.lading.oci.plugins.module_utils._oci.signals import stopping
from ansible_collections.lading.oci.plugins.module_utils._oci.signatures import cosign, notation
from ansible_collections.lading.oci.plugins.module_utils._oci.signatures.keys import PublicKey
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, located, storage_errors
from ansible_collections.lading.oci.plugins.module_utils._oci.strings import strings

_MAX_KEY = 64 * 1024
Good = t.List[t.Dict[str, t.Any]]


class Wanted(t.NamedTuple):
    """One item of ``signatures``."""

    key: PublicKey
    annotations: t.Mapping[str, str]


class WantedOfNotary(t.NamedTuple):
    """One item of ``notary_signatures``; ``files`` of its certificates."""

    files: t.List[str]
    trust: notation.Trust


def wanted_of(item: t.Mapping[str, t.Any], what: str) -> Wanted:
    """Raises InvalidError, NotFoundError, StorageError, MissingCryptography."""
    annotations = strings(item["annotations"], f"{what}.annotations")
    if item["key_content"] is not None:
        return Wanted(PublicKey(item["key_content"].encode(), "key_content"), annotations)
    return Wanted(PublicKey(read_key(item["key"], what), item["key"]), annotations)


def wanted_of_notary(item: t.Mapping[str, t.Any], what: str) -> WantedOfNotary:
    """Raises InvalidError, NotFoundError, StorageError."""
    if not item["certificates"]:
        raise InvalidError(f"{what}.certificates is empty: nobody would be trusted")
    metadata = strings(item["metadata"], f"{what}.metadata")
    if any("=" in name or not name for name in metadata):
        raise InvalidError(f"{what}.metadata has a name that is empty or has a '='")
    certificates = {path: read_key(path, what) for path in item["certificates"]}
    return WantedOfNotary(item["certificates"], notation.Trust(certificates, tuple(item["identities"]), metadata, item["level"]))


def read_key(path: str, what: str) -> bytes:
    with located(what), storage_errors(f"reading {path}"), open_regular(path) as file:
        return file.read(_MAX_KEY)


def unsigned(wanted: t.Sequence[Wanted], source: Source, root: Descriptor) -> t.Tuple[Good, t.List[Violation]]:
    """What is signed as it ought to be, and what is not."""
    good: Good = []
    missing: t.List[Violation] = []
    found = cosign.signatures_of(source, root) if wanted else []
    for item in wanted:
        made = cosign.verified(found, item.key, item.annotations)
        if made:
            good.append({"key": item.key.name, "digest": made[0].digest})
            continue
        saying = f" that says {', '.join(f'{name}={value}' for name, value in item.annotations.items())}" if item.annotations else ""
        others = f" (it has {len(found)} of others)" if found else " (it has none)"
        missing.append(Violation("signatures", root.digest, f"it has no signature by {item.key.name}{saying}{others}"))
    return good, missing


def unsigned_for_notary(
    wanted: t.Sequence[WantedOfNotary], program: t.Optional[notation.Notation], source: Source, root: Descriptor
) -> t.Tuple[Good, t.List[Violation]]:
    """As ``unsigned``. ``program``: None when nothing is wanted."""
    good: Good = []
    missing: t.List[Violation] = []
    found = notation.signatures_of(source, root) if program is not None else []
    for item in wanted if program is not None else ():
        refusals = []
        for signature in found:
            refusal = program.refusal(root, signature, item.trust)
            if refusal is None:
                good.append({"certificates": item.files, "digest": signature.manifest.digest})
                break
            refusals.append(f"{signature.manifest.digest}: {refusal}")
        else:
            why = "; ".join(refusals) or "it has none"
            trusted = ", ".join(item.files)
            missing.append(Violation("notary_signatures", root.digest, f"it has no signature that {trusted} vouches for ({why})"))
    return good, missing


def run(module: AnsibleModule) -> None:
    params = module.params
    rules = Rules.parse(params["policy"])
    platform = parse_platform(params["platform"]) if params["platform"] is not None else None
    wanted = [wanted_of(item, f"signatures[{number}]") for number, item in enumerate(params["signatures"])]
    of_notary = [wanted_of_notary(item, f"notary_signatures[{number}]") for number, item in enumerate(params["notary_signatures"])]
    if not wanted and not of_notary and rules == Rules.parse(_NO_RULES):
        raise InvalidError("policy, signatures and notary_signatures are all empty: everything would be let through")
    parsed, source = open_source(module, params["src"], params["src_ref"], params["src_registry"])
    with tempfile.TemporaryDirectory(dir=module.tmpdir) as scratch:
        program = notation.Notation(stopping(module.run_command), scratch, params["notation_cli"]) if of_notary else None
        root = source.resolve(parsed.target)
        wrong = violations(source, root, rules, time.time(), platform)
        with located(source.location):
            good, missing = unsigned(wanted, source, root)
            good_for_notary, missing_for_notary = unsigned_for_notary(of_notary, program, source, root)
    wrong += [*missing, *missing_for_notary]
    result = {
        "verified": not wrong,
        "digest": root.digest,
        "pinned": f"{parsed.name}@{root.digest}",
        "violations": [violation._asdict() for violation in wrong],
        "signatures": good,
        "notary_signatures": good_for_notary,
        "requests": dict(source.requests),
    }
    if wrong and params["fail"]:
        told = "; ".join(f"{violation.digest}: {violation.message} ({violation.rule})" for violation in wrong)
        module.fail_json(msg=f"{source.location} must not be used: {told}", **result)
    module.exit_json(changed=False, **result)


_RULES: t.Dict[str, t.Dict[str, t.Any]] = {
    "annotations": {"type": "dict", "default": {}},
    "labels": {"type": "dict", "default": {}},
    "platforms": {"type": "list", "elements": "str", "default": []},
    "media_types": {"type": "list", "elements": "str", "default": []},
    "artifact_types": {"type": "list", "elements": "str", "default": []},
    "max_size": {"type": "bytes"},
    "base_digests": {"type": "list", "elements": "str", "default": []},
    "max_age": {"type": "int"},
}
_NO_RULES = {name: option.get("default") for name, option in _RULES.items()}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "src": {"type": "str", "required": True},
            "src_ref": {"type": "str"},
            "src_registry": side_argument_spec(),
            "platform": {"type": "str"},
            "policy": {"type": "dict", "default": {}, "apply_defaults": True, "options": _RULES},
            "signatures": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "key": {"type": "path", "no_log": False},
                    "key_content": {"type": "str", "no_log": False},
                    "annotations": {"type": "dict", "default": {}},
                },
                "required_one_of": [("key", "key_content")],
                "mutually_exclusive": [("key", "key_content")],
            },
            "notary_signatures": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "certificates": {"type": "list", "elements": "path", "required": True},
                    "identities": {"type": "list", "elements": "str", "default": []},
                    "metadata": {"type": "dict", "default": {}},
                    "level": {"type": "str", "choices": list(notation.LEVELS), "default": notation.LEVELS[0]},
                },
            },
            "notation_cli": {"type": "path"},
            "fail": {"type": "bool", "default": True},
            **registries_argument_spec(),
        },
        supports_check_mode=True,
    )
    with failing(module):
        run(module)


if __name__ == "__main__":
    main()
