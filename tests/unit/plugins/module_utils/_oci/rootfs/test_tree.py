# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What layers add up to (image-spec layer.md, containerd, umoci), and what is refused (threats of hostile tars)."""

from __future__ import annotations

import io
import tarfile
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content import tar
from ansible_collections.lading.oci.plugins.module_utils._oci.rootfs.entries import Listing
from ansible_collections.lading.oci.plugins.module_utils._oci.rootfs.members import parse_member
from ansible_collections.lading.oci.plugins.module_utils._oci.rootfs.tree import MAX_DEPTH, Tree
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.artifacts import (
    Member,
    folder,
    hard_link,
    member,
    plain_tar,
    symlink,
)
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.rootfs.images import attributed, fifo

OPAQUE = ".wh..wh..opq"


def listing(*layers: t.Sequence[Member], entries: int = 1000) -> Listing:
    tree = Tree(entries)
    for number, members in enumerate(layers):
        reader = tar.TarReader(io.BytesIO(plain_tar(*members)))
        for found in reader:
            entry = parse_member(found, number, reader.read)
            if entry is not None:
                tree.add(number, entry)
    return tree.listing()


def paths(*layers: t.Sequence[Member]) -> t.List[str]:
    return [entry.name for entry in listing(*layers)]


def refused(*layers: t.Sequence[Member]) -> str:
    with pytest.raises(InvalidError) as caught:
        listing(*layers)
    return str(caught.value)


LOWER = (folder("d"), member("d/a", b"a"), member("d/b", b"b"), folder("d/e"), member("d/e/f", b"f"), member("x", b"x"))


class TestChanges:
    def test_missing_folders_are_made(self) -> None:
        found = listing([member("usr/share/x")])
        assert [entry.name for entry in found] == ["usr", "usr/share", "usr/share/x"]
        assert (found[0].mode, found[0].uid, found[0].mtime) == (0o755, 0, None)

    def test_a_folder_over_a_folder_has_its_attributes_and_keeps_what_is_in_it(self) -> None:
        found = listing(LOWER, [attributed(folder("d", 0o700), uid=7)])
        assert (found[0].name, found[0].mode, found[0].uid) == ("d", 0o700, 7)
        assert "d/a" in [entry.name for entry in found]

    def test_a_file_over_a_folder_and_the_reverse(self) -> None:
        assert paths(LOWER, [member("d", b"now a file")]) == ["d", "x"]
        assert paths(LOWER, [folder("x"), member("x/y")])[-2:] == ["x", "x/y"]

    def test_a_folder_over_a_link_replaces_it(self) -> None:
        found = listing([folder("usr/lib"), symlink("lib", "usr/lib")], [folder("lib"), member("lib/x")])
        assert [entry.name for entry in found] == ["lib", "lib/x", "usr", "usr/lib"]

    def test_the_last_of_two_members_of_one_path_counts(self) -> None:
        (found,) = listing([member("a", b"1"), member("./a", b"22")])
        assert found.size == 2

    def test_a_slash_before_the_name_means_the_root(self) -> None:
        assert paths([folder("/"), member("/etc/x")]) == [".", "etc", "etc/x"]

    def test_the_root_folder_has_attributes_of_its_own(self) -> None:
        assert [(entry.name, entry.mode) for entry in listing([folder("./", 0o700)], [folder(".", 0o711)])] == [(".", 0o711)]

    def test_times_owners_and_fractions(self) -> None:
        (found,) = listing([attributed(member("a"), uid=3, gid=4, pax_headers={"mtime": "12.5"})])
        assert (found.uid, found.gid, found.mtime) == (3, 4, 12_500_000_000)

    def test_a_time_that_no_file_system_has_is_the_epoch(self) -> None:
        for stated in ("-5", "99999999999999999999"):
            assert listing([attributed(member("a"), pax_headers={"mtime": stated})])[0].mtime == 0

    def test_only_xattrs_that_may_be_taken_over(self) -> None:
        names = ("user.note", "security.capability", "security.selinux", "trusted.overlay.opaque", "user.")
        headers = {f"SCHILY.xattr.{name}": "v" for name in names}
        (found,) = listing([attributed(member("a"), pax_headers=headers)])
        assert found.xattrs == (("security.capability", b"v"), ("user.note", b"v"))

    def test_devices(self) -> None:
        null = attributed(member("dev/null", kind=tarfile.CHRTYPE), devmajor=1, devminor=3)
        found = listing([null, fifo("pipe")])
        assert [(entry.kind, entry.device) for entry in found[1:]] == [(tar.CHARACTER, (1, 3)), (tar.FIFO, (0, 0))]


class TestWhiteouts:
    def test_a_file_and_a_folder_with_all_in_it(self) -> None:
        assert paths(LOWER, [member("d/.wh.a"), member("d/.wh.e")]) == ["d", "d/b", "x"]
        assert paths(LOWER, [member(".wh.d")]) == ["x"]

    def test_only_lower_layers_are_hidden(self) -> None:
        again = [member("d/a", b"new"), member("d/.wh.a"), member("d/e/new"), member("d/.wh.e")]
        assert paths(LOWER, again) == ["d", "d/a", "d/b", "d/e", "d/e/new", "x"]

    def test_a_new_folder_under_the_name_is_empty(self) -> None:
        for members in ([member(".wh.d"), folder("d")], [folder("d"), member(".wh.d")]):
            assert paths(LOWER, members) == ["d", "x"]

    def test_nothing_to_hide(self) -> None:
        assert paths(LOWER, [member("no/such/.wh.thing"), member("x/.wh.y"), member(".wh.none")]) == paths(LOWER)

    @pytest.mark.parametrize("position", [0, 1, 2, 3])
    def test_opaque_in_any_position(self, position: int) -> None:
        upper = [folder("d"), member("d/new", b"n"), member("d/e/g", b"g")]
        upper.insert(position, member(f"d/{OPAQUE}"))
        assert paths(LOWER, upper) == ["d", "d/e", "d/e/g", "d/new", "x"]

    def test_opaque_at_the_top(self) -> None:
        assert paths(LOWER, [member(OPAQUE), member("y")]) == ["y"]

    def test_a_layer_above_is_not_hidden_by_one_below(self) -> None:
        assert paths(LOWER, [member(f"d/{OPAQUE}")], [member("d/a")]) == ["d", "d/a", "x"]

    def test_through_a_linked_folder(self) -> None:
        lower = [folder("usr/lib"), member("usr/lib/a"), symlink("lib", "usr/lib")]
        assert paths(lower, [member("lib/.wh.a")]) == ["lib", "usr", "usr/lib"]

    def test_of_a_link_hides_the_link_only(self) -> None:
        assert paths([member("usr/lib/a"), symlink("lib", "usr/lib")], [member(".wh.lib")]) == ["usr", "usr/lib", "usr/lib/a"]

    def test_a_hard_link_in_its_layer_stays(self) -> None:
        assert paths([member("a", b"1")], [hard_link("b", "a"), member(".wh.a"), member(".wh.b")]) == ["b"]

    def test_twice_in_a_layer(self) -> None:
        hide = member(f"d/{OPAQUE}")
        assert paths(LOWER, [hide, member("d/n"), hide, member("d/.wh.e"), member("d/e/g"), hide]) == ["d", "d/e", "d/e/g", "d/n", "x"]
        assert paths(LOWER, [hide, member("d/n")], [hide, member("d/o")]) == ["d", "d/o", "x"]

    def test_aufs_books_are_ignored(self) -> None:
        assert paths([folder(".wh..wh.plnk"), member(".wh..wh.plnk/1.2"), member(".wh..wh.aufs"), member("a")]) == ["a"]

    def test_what_names_nothing_below_does_nothing(self) -> None:
        assert paths(LOWER, [member("d/.wh..."), member("d/.wh..")]) == paths(LOWER)

    def test_bare(self) -> None:
        assert "'d/.wh.' is a whiteout of nothing" in refused(LOWER, [member("d/.wh.")])

    def test_below_one(self) -> None:
        assert "lies below a whiteout" in refused([member(".wh.d/x")])


class TestLinks:
    def test_usrmerge(self) -> None:
        lower = [folder("usr/lib"), symlink("lib", "usr/lib"), symlink("bin", "/usr/bin")]
        found = paths(lower, [member("lib/x"), member("bin/y"), folder("lib/d")])
        assert found == ["bin", "lib", "usr", "usr/bin", "usr/bin/y", "usr/lib", "usr/lib/d", "usr/lib/x"]

    def test_chains_and_dots_stay_in_the_root(self) -> None:
        lower = [symlink("a", "b"), symlink("b", "../../../etc"), folder("d"), symlink("d/up", "../..")]
        assert paths(lower, [member("a/x"), member("d/up/y")]) == ["a", "b", "d", "d/up", "etc", "etc/x", "y"]

    def test_what_they_name_is_kept_as_it_is(self) -> None:
        found = listing([symlink("a", "/etc/passwd"), symlink("b", "../../../x")])
        assert [entry.link for entry in found] == ["/etc/passwd", "../../../x"]

    def test_a_loop(self) -> None:
        assert "behind more than 255 symbolic links" in refused([symlink("a", "b"), symlink("b", "a"), member("a/x")])

    def test_hard_links_across_layers_are_one_file(self) -> None:
        found = listing([member("a", b"content")], [hard_link("z/b", "a"), hard_link("c", "z/b")])
        assert [(entry.name, "/".join(entry.same)) for entry in found if entry.kind == tar.FILE] == [("a", ""), ("c", "a"), ("z/b", "a")]

    def test_a_hard_link_keeps_the_content_that_is_replaced_under_the_first_name(self) -> None:
        found = listing([member("a", b"old"), hard_link("b", "a")], [member("a", b"other")])
        assert [(entry.name, entry.size, entry.same) for entry in found] == [("a", 5, ()), ("b", 3, ())]

    def test_hard_links_through_linked_folders(self) -> None:
        found = listing([member("usr/lib/a", b"x"), symlink("lib", "usr/lib")], [hard_link("lib/b", "lib/a")])
        assert [(entry.name, "/".join(entry.same)) for entry in found][-1] == ("usr/lib/b", "usr/lib/a")

    def test_a_hard_link_to_a_link_is_a_link_of_its_own(self) -> None:
        found = listing([symlink("a", "/etc/passwd"), hard_link("b", "a")])
        assert [(entry.kind, entry.link, entry.same) for entry in found] == [(tar.SYMLINK, "/etc/passwd", ())] * 2

    @pytest.mark.parametrize("target", ["none", "d", "/", "d/none", "out/passwd"])
    def test_a_hard_link_to_no_file(self, target: str) -> None:
        message = refused([folder("d"), symlink("out", "/etc"), hard_link("x", target)])
        assert "'x' is a hard link to" in message and "no file in the layers so far" in message


class TestRefused:
    @pytest.mark.parametrize("name", ["../x", "a/../x", "a/..", ".."])
    def test_dots(self, name: str) -> None:
        assert "is not a plain relative path" in refused([member(name)])
        assert "is not a plain relative path" in refused([member("a"), hard_link("b", name)])

    def test_below_a_file(self) -> None:
        assert "'a/b' lies below 'a', which is not a folder" in refused([member("a"), member("a/b")])

    def test_the_root_as_a_link(self) -> None:
        assert "is to be the root folder itself" in refused([symlink("./", "/etc")])

    def test_long_paths_and_names(self) -> None:
        assert "more than 4095 bytes" in refused([member("/".join(["d" * 200] * 21))])
        assert "more than 255 bytes" in refused([member("n" * 256)])

    def test_our_temporary_files(self) -> None:
        assert "temporary files" in refused([member("d/.lading-1")])

    def test_links_that_say_much(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each member would be a walk of its own through all that they say."""
        monkeypatch.setattr("ansible_collections.lading.oci.plugins.module_utils._oci.rootfs.tree._MAX_STEPS", 100)
        links = [symlink("a", "/".join(["d", ".."] * 20 + ["d"]))]
        assert paths([folder("d"), *links, member("a/1"), member("a/2")]) == ["a", "d", "d/1", "d/2"]
        assert "symbolic links on the way" in refused([folder("d"), *links, member("a/1"), member("a/2"), member("a/3")])

    def test_depth(self) -> None:
        assert f"more than {MAX_DEPTH} folders deep" in refused([member("d/" * MAX_DEPTH + "x")])

    def test_more_entries_than_allowed_with_the_folders_that_are_made(self) -> None:
        assert len(listing([member("a/b/c")], entries=3)) == 3
        with pytest.raises(InvalidError, match="more than the limit of 2 entries"):
            listing([member("a/b/c")], entries=2)

    def test_owners_and_devices_out_of_range(self) -> None:
        assert "has the uid 4294967295" in refused([attributed(member("a"), pax_headers={"uid": "4294967295"})])
        assert "has the gid -1" in refused([attributed(member("a"), pax_headers={"gid": "-1"})])
        assert "has the major number" in refused([attributed(member("a", kind=tarfile.CHRTYPE), devmajor=5000)])

    def test_kinds_that_no_layer_has(self) -> None:
        assert "is of type 'V'" in refused([member("a", kind=b"V")])

    def test_links_to_nothing(self) -> None:
        assert "is a link to nothing" in refused([symlink("a", "")])
        assert "with a NUL" in refused([attributed(symlink("a", "x"), pax_headers={"linkpath": "x\0y"})])

    def test_a_large_xattr(self) -> None:
        assert "no file system takes" in refused([attributed(member("a"), pax_headers={"SCHILY.xattr.user.a": "v" * 65537})])
