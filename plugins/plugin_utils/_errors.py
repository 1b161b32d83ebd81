# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Errors of the library as Ansible's own, for lookups, filters and tests."""

from __future__ import annotations

import contextlib
import typing as t

from ansible.errors import AnsibleError, AnsibleFilterError, AnsibleLookupError
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.faults import NoTLS
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.origin import secrets
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import OCIError

# Set by people: inventory, play, task or --extra-vars.
VARIABLE = "lading_oci_registries"


@contextlib.contextmanager
def _failing(kind: t.Type[AnsibleError]) -> t.Iterator[None]:
    try:
        yield
    except OCIError as error:
        if isinstance(error, NoTLS):
            error.advise(f"plain_http=true, or plain_http in {VARIABLE}")
        # Ansible would show what caused it as well, and the words of other libraries may have secrets in them.
        raise kind(secrets.redact(error)) from None


def failing_lookup() -> t.ContextManager[None]:
    return _failing(AnsibleLookupError)


def failing_filter() -> t.ContextManager[None]:
    return _failing(AnsibleFilterError)
