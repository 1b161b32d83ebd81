# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the lookups share: options, what the terms name, errors."""

from __future__ import annotations

import abc
import itertools
import typing as t
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.collections import is_sequence
from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import Source
from ansible_collections.lading.oci.plugins.module_utils._oci.module import (
    open_image,
    registries_argument_spec,
    side_argument_spec,
    side_options,
)
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.origin import secrets
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, NotFoundError, printable
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import Reference
from ansible_collections.lading.oci.plugins.plugin_utils._errors import VARIABLE, failing_lookup

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

CONCURRENCY = 8
_SECRETS = ("password", "identity_token")

Params = t.Dict[str, t.Any]
display = Display()


@dataclass(frozen=True)
class _Asker:
    """As much of an AnsibleModule as it takes to open what a reference names."""

    params: Params = field(repr=False)
    warn: t.Callable[[str], None]


class ReferenceLookup(LookupBase):
    """A lookup whose terms are references. ``OPTIONS``: its own, beside those of registries and ``default``."""

    OPTIONS: t.ClassVar[t.Dict[str, t.Any]] = {}

    @abc.abstractmethod
    def prepare(self, params: Params) -> t.Callable[[Reference, Source], t.List[t.Any]]:
        """What tells of one reference, with these options. Both raise OCIError; for what is not there NotFoundError."""

    def run(self, terms: t.List[t.Any], variables: t.Optional[t.Mapping[str, t.Any]] = None, **kwargs: t.Any) -> t.List[t.Any]:
        with failing_lookup():
            given = self._given(kwargs, variables or {})
            params = _validated(given, self.OPTIONS)
            find = self.prepare(params)
            opened = [self._open(term, given, params) for term in self._flatten(terms)]

            def found(one: t.Tuple[Reference, Source]) -> t.List[t.Any]:
                try:
                    return find(*one)
                except NotFoundError:
                    if "default" not in given:
                        raise
                    return params["default"] if is_sequence(params["default"]) else [params["default"]]

            with ThreadPoolExecutor(max_workers=CONCURRENCY) as pool:
                return list(itertools.chain.from_iterable(pool.map(found, opened)))

    def _given(self, options: t.Mapping[str, t.Any], variables: t.Mapping[str, t.Any]) -> Params:
        """The options without what templates are made of; those that are null are left out. All secrets in them are known then."""
        given = {name: _plain(value) for name, value in options.items() if value is not None or name == "default"}
        if "registries" not in given and VARIABLE in variables:
            given["registries"] = _plain(self._templar.template(variables[VARIABLE]))
        _register_secrets(given)
        return given

    def _open(self, term: t.Any, given: Params, params: Params) -> t.Tuple[Reference, Source]:
        if not isinstance(term, str):
            raise InvalidError(f"not a reference: {printable(repr(term), 160)}")
        own = {name: params[name] for name in side_options()} if given.keys() & side_options().keys() else None
        asker = t.cast("AnsibleModule", _Asker(params, display.warning))
        return open_image(asker, term, own, self._loader.get_basedir() if self._loader is not None else "")


def _validated(given: Params, options: t.Mapping[str, t.Any]) -> Params:
    """As modules do it: types, defaults, what belongs together, what there is no such option of. Raises InvalidError."""
    side = side_argument_spec()
    spec = {"default": {"type": "raw"}, **options, **registries_argument_spec(), **side["options"]}
    rules = {name: side[name] for name in ("required_together", "mutually_exclusive")}
    result = ArgumentSpecValidator(spec, **rules).validate(given)
    if result.error_messages:
        raise InvalidError("; ".join(result.error_messages))
    return t.cast(Params, result.validated_parameters)


def _register_secrets(given: Params) -> None:
    entries = given.get("registries")
    for some in [given, *(entries if is_sequence(entries) else [entries])]:
        if isinstance(some, dict):
            secrets.add(*(str(some[name]) for name in _SECRETS if some.get(name) is not None))


def _plain(value: t.Any) -> t.Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if is_sequence(value) else value
