# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lookups as templates call them, in this process."""

from __future__ import annotations

import pathlib
import types
import typing as t

import pytest
from ansible.errors import AnsibleError
from ansible_collections.lading.oci.plugins.plugin_utils._lookup import ReferenceLookup


class Look:
    """``look(term, ..., option=...)`` of one lookup. Relative paths start at ``folder``; ``variables`` are what the play has."""

    def __init__(self, kind: t.Type[ReferenceLookup], folder: pathlib.Path) -> None:
        self._kind = kind
        self._folder = folder
        self.variables: t.Dict[str, t.Any] = {}

    def __call__(self, *terms: t.Any, **options: t.Any) -> t.List[t.Any]:
        loader = types.SimpleNamespace(get_basedir=lambda: str(self._folder))
        templar = types.SimpleNamespace(template=lambda value: value)
        return self._kind(loader=loader, templar=templar).run(list(terms), variables=self.variables, **options)

    def failed(self, *terms: t.Any, **options: t.Any) -> str:
        """All that Ansible would show of the error."""
        with pytest.raises(AnsibleError) as caught:
            self(*terms, **options)
        assert caught.value.__cause__ is None and caught.value.__suppress_context__, "Ansible would show what caused it"
        return str(caught.value)
