# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documents, tars, streams and headers that were right before something in them was changed: no exception but the library's own.

The targets are those of the fuzzer (tests/fuzz), the seeds its corpus. LADING_MUTATIONS says how many are tried, 20,000 unless it does.
The same number is the same mutations: one that fails is seen again.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pathlib
import random
import sys
import time
import typing as t
import zipfile

import clients
import pytest
import tally as tallies

FUZZ = pathlib.Path(__file__).resolve().parent.parent / "fuzz"
sys.path.insert(0, str(FUZZ))

import targets  # noqa: E402

TRIED = int(os.environ.get("LADING_MUTATIONS", "20000"))
# What most attacks come by gets most of them.
SHARES = {"documents": 6, "tar": 5, "challenge": 3, "authfile": 2, "docker_archive": 1, "codec": 1, "reference": 1, "ignore": 1}
SECONDS = 10  # of processor time, for the slowest of all
NASTY = (None, True, -1, 0, 2**63, 1e308, "", "\u0000", "\u202e", "../..", "sha256:", [], {}, [None], {"": None}, [[]])


def seeds(name: str) -> t.List[bytes]:
    with zipfile.ZipFile(FUZZ / "corpus" / f"{name}.zip") as corpus:
        return [corpus.read(member) for member in sorted(corpus.namelist())]


def mutated(seed: bytes, all_seeds: t.Sequence[bytes], chance: random.Random) -> bytes:
    """Half of the JSON documents are changed in their structure, all else in its bytes."""
    if seed[:1] in (b"{", b"[") and chance.random() < 0.5:
        return _restructured(seed, chance)
    content = bytearray(seed)
    for _change in range(chance.choice((1, 1, 2, 4, 16))):
        _change_bytes(content, chance.choice(all_seeds), chance)
    return bytes(content)


def _change_bytes(content: bytearray, other: bytes, chance: random.Random) -> None:
    at = chance.randrange(len(content) + 1)
    length = chance.choice((1, 1, 2, 8, 64, 512))
    kind = chance.randrange(6)
    if kind == 0 and content:
        content[at % len(content)] ^= 1 << chance.randrange(8)
    elif kind == 1:
        del content[at : at + length]
    elif kind == 2:
        content[at:at] = content[at : at + length] * chance.choice((1, 2, 50))
    elif kind == 3:
        content[at:at] = chance.randbytes(length)
    elif kind == 4:
        start = chance.randrange(len(other) + 1)
        content[at : at + length] = other[start : start + length]
    else:
        content[at : at + 1] = chance.choice((b"\0", b"\xff", b"\n", b'"', b"\\", b"9" * 12, b"\x80", b"=", b"/../", b"\xc3\x28"))


def _restructured(seed: bytes, chance: random.Random) -> bytes:
    """One value, anywhere in the document, becomes another, is gone, or stands twice."""
    try:
        document = json.loads(seed)
    except ValueError:
        return seed[: chance.randrange(len(seed))]
    places = list(_places(document))
    if not places:
        return json.dumps(chance.choice(NASTY)).encode()
    holder, key = chance.choice(places)
    kind = chance.randrange(4)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, list):
        holder.append(holder[key])
    elif kind == 2 and isinstance(holder, dict):
        holder[str(key).swapcase()] = holder[key]
    else:
        other, place = chance.choice(places)
        holder[key] = chance.choice((chance.choice(NASTY), json.loads(json.dumps(other.get(place) if isinstance(other, dict) else place))))
    return json.dumps(document).encode()


def _places(value: t.Any) -> t.Iterator[t.Tuple[t.Any, t.Any]]:
    items: t.Iterable[t.Tuple[t.Any, t.Any]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, found in items:
        yield value, key
        yield from _places(found)


def test_every_seed_is_taken(ours: t.Type[clients.Ours]) -> None:
    """The good control: what nothing was changed in reaches the parsers, and none of the targets complains."""
    for name in targets.NAMES:
        found = seeds(name)
        assert len(found) >= 4
        for seed in found:
            importlib.import_module(f"targets.{name}").one_input(seed)


def test_tars_are_found(ours: t.Type[clients.Ours], tmp_path: pathlib.Path) -> None:
    """The good control of the target that needs a file: of the seeds some are images with names."""
    from ansible_collections.lading.oci.plugins.module_utils._oci.content.tar_source import TarSource
    from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import OCIError

    found = set()
    for seed in seeds("docker_archive"):
        (tmp_path / "x.tar").write_bytes(seed)
        with contextlib.suppress(OCIError):
            found.update(TarSource(str(tmp_path / "x.tar")).names())
    assert {"v1", "docker.io/library/alpine:3"} <= found


def test_a_target_that_fails_is_seen() -> None:
    """A harness that swallows everything would find nothing."""
    from targets.common import allowed

    with pytest.raises(KeyError), allowed():
        raise KeyError("foreign")


@pytest.mark.parametrize("name", targets.NAMES)
def test_nothing_but_our_own_errors(name: str, ours: t.Type[clients.Ours], tally: tallies.Tally) -> None:
    """Goal 7; threat rows 6, 7, 16, 17, 22 to 26, 54, 59."""
    one_input: t.Callable[[bytes], None] = importlib.import_module(f"targets.{name}").one_input
    all_seeds, chance = seeds(name), random.Random(f"lading {name}")
    tried = -(-TRIED * SHARES[name] // sum(SHARES.values()))
    failed: t.List[str] = []
    for number in range(tried):
        content = mutated(all_seeds[number % len(all_seeds)], all_seeds, chance)
        start = time.process_time()
        try:
            one_input(content)
        except Exception as error:  # whatever it is, it is what is looked for
            failed.append(f"{type(error).__name__}: {error} of {content[:400]!r}")
        if time.process_time() - start > SECONDS:
            failed.append(f"more than {SECONDS} s for {content[:400]!r}")
    tally.add(tallies.MUTATED, not failed, f"mutated {name}", tried=tried, kept=tried - len(failed), why="; ".join(failed[:3]))
    assert not failed, failed[:3]
