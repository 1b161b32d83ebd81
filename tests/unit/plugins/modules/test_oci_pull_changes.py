# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""oci_pull from one version of an artifact to the next: what is selected, what is pruned, what is kept."""

from __future__ import annotations

import errno
import os
import pathlib
import re
import stat
import typing as t

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import apply_copy, plan_copy
from ansible_collections.lading.oci.plugins.module_utils._oci.destination import Destination
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import StorageError
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.artifacts import MemorySource, folder, member, symlink, tar_gz
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry.fake_registry import FakeRegistry
from ansible_collections.lading.oci.tests.unit.plugins.modules.test_oci_pull import Result, Run

Files = t.Mapping[str, t.Union[bytes, t.Sequence[t.Any]]]
WASM = "application/wasm"


@pytest.fixture(autouse=True)
def _home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)


class Told(Run):
    """With the warnings of each run alone: Ansible collects those of a process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(capsys)
        self._warnings: t.List[str] = []
        monkeypatch.setattr(AnsibleModule, "warn", lambda _module, warning: self._warnings.append(warning))

    def __call__(self, check: bool = False, **options: t.Any) -> Result:
        self._warnings.clear()
        return {**super().__call__(check, **options), "warnings": list(self._warnings)}


@pytest.fixture(name="run")
def _run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return Told(capsys, monkeypatch)


@pytest.fixture(name="dest")
def _dest(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "dest"


class Site:
    """Versions of an artifact in a layout; files by title, the members of a folder layer as a list."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path

    def has(self, version: str, files: Files) -> str:
        """The reference of the version, which has these files."""
        source = MemorySource()
        layers = [
            source.file(name, what) if isinstance(what, bytes) else source.folder(name, tar_gz(*what)) for name, what in files.items()
        ]
        self.put(source, source.artifact(*layers), version)
        return f"oci:{self._path}:{version}"

    def put(self, source: MemorySource, root: Descriptor, version: str) -> None:
        target = Layout(str(self._path))
        apply_copy(plan_copy(source, root, target, [version]), source, target)


@pytest.fixture(name="site")
def _site(tmp_path: pathlib.Path) -> Site:
    return Site(tmp_path / "site")


def names(dest: pathlib.Path) -> t.List[str]:
    return sorted(str(path.relative_to(dest)) for path in dest.rglob("*"))


def checked_and_done(run: Run, **options: t.Any) -> Result:
    """The result of a run that check mode foretold and that has nothing to do the second time."""
    before = names(options["dest"]) if options["dest"].exists() else None
    checked = run.done(check=True, **options)
    assert (names(options["dest"]) if options["dest"].exists() else None) == before
    done = run.done(**options)
    for key in ("changed", "removed", "diff", "files", "stats", "digest"):
        assert checked[key] == done[key], key
    assert checked["warnings"] == done["warnings"]
    again = run.done(**options)
    assert not again["changed"] and again["removed"] == [] and not again.get("backup_files") and not again["warnings"]
    assert run.done(check=True, **options)["changed"] is False
    return done


# --- selection


def test_every_way_to_select(run: Run, site: Site, dest: pathlib.Path) -> None:
    source = MemorySource()
    arm = source.artifact(
        source.file("a.conf", b"a"), source.file("etc/b.conf", b"b"), source.add(b"\0asm", WASM), config=source.add(b"{1}")
    )
    first = source.artifact(source.file("signed", b"s"))
    signature = source.artifact(source.file("signature", b"!"), subject=first.to_json())
    site.put(
        source, source.index(Descriptor(arm.media_type, arm.digest, arm.size, platform={"os": "linux", "architecture": "arm64"})), "v1"
    )
    site.put(source, first, "first")
    site.put(source, signature, "signature")
    src = f"oci:{dest.parent}/site:"

    def pulled(name: str, **options: t.Any) -> t.List[str]:
        checked_and_done(run, dest=dest / name, **options)
        return [path for path in names(dest / name) if not (dest / name / path).is_dir()]

    assert pulled("include", src=src + "v1", include=["*.conf"]) == ["a.conf"]
    assert pulled("exclude", src=src + "v1", exclude=["etc/*"]) == ["a.conf"]
    assert pulled("types", src=src + "v1", media_types=[WASM], names={WASM: "x.wasm"}) == ["x.wasm"]
    assert pulled("config", src=src + "v1", config="c.json", include=["a*"]) == ["a.conf", "c.json"]
    assert (dest / "config" / "c.json").read_bytes() == b"{1}"
    assert pulled("subject", src=src + "signature", include_subject=True) == ["signature", "signed"]
    chosen = checked_and_done(run, src=src + "v1", dest=dest / "platform", platform="linux/arm64/v8")
    assert (
        chosen["manifest_digest"] == arm.digest and chosen["reference"].endswith(f"@{chosen['digest']}") and chosen["digest"] != arm.digest
    )
    assert "nothing for linux/riscv64" in run.failed(src=src + "v1", dest=dest, platform="linux/riscv64")
    assert "not a platform: 'arm64'" in run.failed(src=src + "v1", dest=dest, platform="arm64")
    assert "a.conf (text/plain)" in run.failed(src=src + "v1", dest=dest, include=["nothing"])


def test_what_is_skipped_is_named(run: Run, site: Site, dest: pathlib.Path) -> None:
    source = MemorySource()
    site.put(source, source.artifact(source.add(b"\0asm", WASM)), "v1")
    message = run.done(src=f"oci:{dest.parent}/site:v1", dest=dest)["msg"]
    assert f"({WASM})" in message and "names" in message


def test_the_second_run_with_options_is_one_head(run: Run, dest: pathlib.Path) -> None:
    registry = FakeRegistry()
    source = MemorySource()
    signed = source.artifact(source.file("signed", b"s"))
    image = source.artifact(source.file("a", b"a"), source.add(b"\0asm", WASM), subject=signed.to_json())
    root = source.index(Descriptor(image.media_type, image.digest, image.size, platform={"os": "linux", "architecture": "arm64"}))
    registry.state.blobs.update({str(digest): content for digest, content in source.contents.items()})
    for desc in (signed, image, root):
        registry.state.manifests["site", desc.digest] = (desc.media_type, source.contents[desc.digest])
    registry.state.tags["site", "v1"] = root.digest
    options = {"src": f"{registry.host}/site:v1", "src_registry": {"plain_http": True}, "dest": dest, "platform": "linux/arm64"}
    options.update(include_subject=True, config="c", names={WASM: "x.wasm"}, exclude=["*.txt"], prune=True, backup=True)
    assert run.done(**options)["changed"]
    again = run.done(**options)
    assert not again["changed"] and again["stats"]["requests"] == {"source": {"HEAD": 1}, "destination": {}}
    registry.close()


# --- prune


def test_what_the_artifact_no_longer_has_is_removed(run: Run, site: Site, dest: pathlib.Path) -> None:
    first = site.has("v1", {"keep": b"1", "old": b"2", "etc/old/x": b"3", "etc/new": b"4"})
    second = site.has("v2", {"keep": b"1", "etc/new": b"5"})
    run.done(src=first, dest=dest)
    (dest / "mine").write_bytes(b"2")
    stays = run.done(src=second, dest=dest)
    assert stays["removed"] == [] and (dest / "old").exists(), "prune is not the default"
    done = checked_and_done(run, src=second, dest=dest, prune=True)
    assert done["removed"] == [str(dest / name) for name in ("old", "etc/old/x", "etc/old")]
    assert "etc/old/: folder\n" in done["diff"]["before"] and "old: absent\n" in done["diff"]["after"]
    assert f"old: {Descriptor.of(b'2', '').digest}\n" in done["diff"]["before"]
    assert names(dest) == ["etc", "etc/new", "keep", "mine"]


def test_members_of_folder_layers(run: Run, site: Site, dest: pathlib.Path) -> None:
    old = [folder("d"), member("d/a", b"1"), member("d/sub/b", b"2"), symlink("d/l", "a"), symlink("d/m", "a")]
    first = site.has("v1", {"d": old, "e": [folder("e"), member("e/x", b"x")]})
    second = site.has("v2", {"d": [folder("d"), member("d/a", b"1"), symlink("d/m", "a")]})
    run.done(src=first, dest=dest)
    done = checked_and_done(run, src=second, dest=dest, prune=True)
    assert sorted(done["removed"]) == [str(dest / name) for name in ("d/l", "d/sub", "d/sub/b", "e", "e/x")]
    assert names(dest) == ["d", "d/a", "d/m"]


def test_what_was_changed_since_stays(run: Run, site: Site, dest: pathlib.Path, tmp_path: pathlib.Path) -> None:
    first = site.has("v1", {"edited": b"1", "linked": b"2", "f/x": b"3", "foldered": b"4", "gone": b"5"})
    second = site.has("v2", {"new": b"1"})
    run.done(src=first, dest=dest)
    (dest / "edited").write_bytes(b"mine")
    (dest / "linked").unlink()
    (dest / "linked").symlink_to("edited")
    (dest / "foldered").unlink()
    (dest / "foldered").mkdir()
    (dest / "gone").unlink()
    (dest / "f").rename(tmp_path / "f")
    (dest / "f").symlink_to(tmp_path / "f")
    done = checked_and_done(run, src=second, dest=dest, prune=True)
    assert done["removed"] == []
    assert sorted(done["warnings"]) == [
        f"{dest}/{name} is not in the artifact any more, and was changed since it was pulled: it stays"
        for name in ("edited", "f/x", "foldered", "linked")
    ]
    assert names(dest) == ["edited", "f", "foldered", "linked", "new"] and (tmp_path / "f" / "x").read_bytes() == b"3"


def test_what_nobody_pulled_stays(run: Run, site: Site, dest: pathlib.Path) -> None:
    """It had the right content before: who wrote it is not known. So is a folder that stood there already."""
    (dest / "etc").mkdir(parents=True)
    (dest / "same").write_bytes(b"1")
    (dest / "own").write_bytes(b"0")
    first = site.has("v1", {"same": b"1", "etc/x": b"2", "own": b"3"})
    run.done(src=first, dest=dest)
    (dest / "own").write_bytes(b"4")
    run.done(src=site.has("v2", {"own": b"4", "etc/x": b"2"}), dest=dest)
    done = checked_and_done(run, src=site.has("v3", {"new": b"1"}), dest=dest, prune=True)
    assert done["removed"] == [str(dest / "etc/x")]
    assert names(dest) == ["etc", "new", "own", "same"]


def test_a_folder_with_something_else_in_it_goes_later(run: Run, site: Site, dest: pathlib.Path) -> None:
    run.done(src=site.has("v1", {"etc/x": b"1"}), dest=dest)
    (dest / "etc" / "mine").write_bytes(b"")
    second = site.has("v2", {"new": b"1"})
    assert checked_and_done(run, src=second, dest=dest, prune=True)["removed"] == [str(dest / "etc/x")]
    (dest / "etc" / "mine").unlink()
    assert checked_and_done(run, src=second, dest=dest, prune=True)["removed"] == [str(dest / "etc")]


def test_other_sources_keep_their_files(run: Run, site: Site, dest: pathlib.Path, tmp_path: pathlib.Path) -> None:
    other = Site(tmp_path / "other").has("v1", {"theirs": b"1", "shared": b"s"})
    run.done(src=other, dest=dest)
    run.done(src=site.has("v1", {"ours": b"1", "shared": b"s"}), dest=dest)
    (dest / "shared").unlink()
    run.done(src=f"oci:{tmp_path}/site:v1", dest=dest)
    assert checked_and_done(run, src=site.has("v2", {"new": b"1"}), dest=dest, prune=True)["removed"] == [str(dest / "ours")]
    assert names(dest) == ["new", "shared", "theirs"]


def test_what_a_filter_leaves_out_is_still_in_the_artifact(run: Run, site: Site, dest: pathlib.Path) -> None:
    first = site.has("v1", {"a": b"1", "b": b"2", "old": b"3", "d": [folder("d"), member("d/x", b"x")]})
    run.done(src=first, dest=dest)
    second = site.has("v2", {"a": b"1", "b": b"2", "d": [folder("d"), member("d/y", b"y")]})
    assert checked_and_done(run, src=second, dest=dest, prune=True, include=["a"])["removed"] == [str(dest / "old")]
    assert names(dest) == ["a", "b", "d", "d/x"]


def test_names_that_are_not_given_any_more(run: Run, site: Site, dest: pathlib.Path) -> None:
    source = MemorySource()
    site.put(source, source.artifact(source.add(b"\0asm", WASM)), "v1")
    options = {"src": f"oci:{dest.parent}/site:v1", "dest": dest}
    run.done(**options, names={WASM: "old.wasm"}, config="c.json")
    done = checked_and_done(run, **options, names={WASM: "new.wasm"}, prune=True)
    assert sorted(done["removed"]) == [str(dest / "c.json"), str(dest / "old.wasm")] and names(dest) == ["new.wasm"]


def test_without_a_receipt_nothing_is_removed_and_that_is_said(run: Run, site: Site, dest: pathlib.Path, tmp_path: pathlib.Path) -> None:
    run.done(src=site.has("v1", {"a": b"1", "old": b"2"}), dest=dest)
    for file in (tmp_path / "home/.cache/lading-oci/pull").iterdir():
        file.unlink()
    second = site.has("v2", {"a": b"1"})
    for check in (True, False):
        result = run.done(check=check, src=second, dest=dest, prune=True)
        assert not result["changed"] and result["removed"] == []
        assert result["warnings"] == [
            f"prune removed nothing from {dest}: what earlier pulls from this source wrote there, if any did, is not known"
        ]
    assert (dest / "old").exists() and run.done(src=second, dest=dest, prune=True)["warnings"] == []


def test_a_pull_that_failed_is_pruned_too(run: Run, dest: pathlib.Path) -> None:
    registry = FakeRegistry()
    source = MemorySource()
    options = {"src_registry": {"plain_http": True, "retries": 0}, "dest": dest, "concurrency": 1}
    good, bad = source.file("good", b"1"), source.file("bad", b"2")
    for version, root in (("v1", source.artifact(good, bad)), ("v2", source.artifact(source.file("new", b"3")))):
        registry.state.blobs.update({str(digest): content for digest, content in source.contents.items()})
        registry.state.manifests["site", root.digest] = (root.media_type, source.contents[root.digest])
        registry.state.tags["site", version] = root.digest
    del registry.state.blobs[str(bad.digest)]
    run.failed(src=f"{registry.host}/site:v1", **options)
    assert names(dest) == ["good"]
    assert run.done(src=f"{registry.host}/site:v2", **options, prune=True)["removed"] == [str(dest / "good")]
    registry.close()


# --- backup


def test_what_is_replaced_or_removed_is_kept(run: Run, site: Site, dest: pathlib.Path) -> None:
    tree = [folder("d"), member("d/x", b"1"), symlink("d/l", "x")]
    run.done(src=site.has("v1", {"a": b"1", "same": b"2", "old/gone": b"3", "d": tree}), dest=dest)
    (dest / "a").write_bytes(b"mine")
    (dest / "a").chmod(0o640)
    inode = (dest / "a").stat().st_ino
    second = site.has("v2", {"a": b"new", "same": b"2", "d": [folder("d"), member("d/x", b"2"), member("d/l", b"no link")]})
    assert "backup_files" not in run.done(check=True, src=second, dest=dest, prune=True, backup=True)
    done = checked_and_done(run, src=second, dest=dest, prune=True, backup=True)
    kept = {re.sub(r"\.\d+\.\d{4}-\d\d-\d\d@\d\d:\d\d:\d\d~$", "", path): pathlib.Path(path) for path in done["backup_files"]}
    assert {name: path.read_bytes() for name, path in kept.items()} == {
        f"{dest}/a": b"mine",
        f"{dest}/d/x": b"1",
        f"{dest}/old/gone": b"3",
    }
    assert kept[f"{dest}/a"].stat().st_ino == inode and stat.S_IMODE(kept[f"{dest}/a"].stat().st_mode) == 0o640
    assert done["removed"] == [str(dest / "old/gone")], "its folder has the copy"
    assert (dest / "a").read_bytes() == b"new" and len(names(dest)) == 5 + 1 + 3


def test_without_backup_nothing_is_kept(run: Run, site: Site, dest: pathlib.Path) -> None:
    run.done(src=site.has("v1", {"a": b"1", "old": b"2"}), dest=dest)
    done = run.done(src=site.has("v2", {"a": b"2"}), dest=dest, prune=True)
    assert "backup_files" not in done and names(dest) == ["a"]


def test_a_file_in_a_links_place_is_kept(dest: pathlib.Path) -> None:
    dest.mkdir()
    (dest / "l").write_bytes(b"1")
    destination = Destination(str(dest), backup=True)
    destination.make_link(("l",), "target")
    assert os.readlink(dest / "l") == "target" and [pathlib.Path(path).read_bytes() for path in destination.backups] == [b"1"]
    destination.write_file(("l",), [b"2"])
    assert len(destination.backups) == 1, "a link is not kept"


def test_a_file_system_without_hard_links(dest: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_args: object, **_options: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    dest.mkdir()
    (dest / "a").write_bytes(b"1")
    destination = Destination(str(dest), backup=True)
    destination.write_file(("a",), [b"2"])
    assert (dest / "a").read_bytes() == b"2" and [pathlib.Path(path).read_bytes() for path in destination.backups] == [b"1"]
    (dest / "b").write_bytes(b"3")
    destination.remove(("b",), False)
    assert not (dest / "b").exists() and pathlib.Path(destination.backups[1]).read_bytes() == b"3"


def test_a_name_too_long_to_keep_is_an_error_before_it_is_replaced(dest: pathlib.Path) -> None:
    dest.mkdir()
    (dest / ("x" * 250)).write_bytes(b"1")
    with pytest.raises(StorageError, match="writing xxx.*too long"):
        Destination(str(dest), backup=True).write_file(("x" * 250,), [b"2"])
    assert (dest / ("x" * 250)).read_bytes() == b"1"
