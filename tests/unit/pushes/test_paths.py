"""Paths are read from their end: each has one reading, and it is the longest."""

from __future__ import annotations

import re
from itertools import product

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import moderately
from wsaas.connections.identity import is_key
from wsaas.groups import names
from wsaas.pushes.paths import Form, Path, is_plain, read_path

KEY = "AbCdEfGhIjKlMnOpQrStUv_-"
#: A MongoDB id, which has a key's shape.
MONGO = "507f1f77bcf86cd799439011"
SEGMENTS = ("groups", "users", "all", "members", "batch", KEY, "x", "")

#: As the contract writes them down, by the segments of each.
FORMS: dict[Form, tuple[str, ...]] = {
    form: tuple(form.value.split("/"))
    for form in sorted(Form, key=lambda it: it.value.count("/"))
    if form is not Form.NOTHING
}


def matching(path: str) -> list[Form]:
    """:returns: every form that the end of a path matches, the shortest first"""
    segments = path.split("/")

    def fits(segment: str, pattern: str) -> bool:
        if pattern == "<key>":
            return is_key(segment)
        return pattern.startswith("<") or segment == pattern

    return [
        form
        for form, patterns in FORMS.items()
        if len(segments) > len(patterns)
        and all(fits(*pair) for pair in zip(segments[-len(patterns) :], patterns, strict=True))
    ]


def check(case: SynchronousTestCase, path: str) -> None:
    """A path has one reading, the longest that there is."""
    found = matching(path)
    longest = [form for form in found if len(FORMS[form]) == len(FORMS[found[-1]])]
    case.assertLessEqual(len(longest), 1, path)
    read = read_path(path.encode("latin-1"))
    case.assertEqual(read.form, longest[0] if longest else Form.NOTHING, path)
    if is_plain(path.encode("latin-1")):
        case.assertIn(read.form, (Form.CONNECTION, Form.NOTHING), path)
        if read.form is Form.CONNECTION:
            case.assertEqual(read.first, path.rpartition("/")[2])


class ReadPathTests(SynchronousTestCase):
    """Every form, and nothing else."""

    def test_each_form(self) -> None:
        """At the root, and behind whatever WS_HOSTNAME has."""
        for base in ("", "/gw", "/a/b", "/groupsx", "/xgroups/y"):
            for end, path in {
                KEY: Path(Form.CONNECTION, KEY),
                f"{KEY}/groups": Path(Form.CONNECTION_GROUPS, KEY),
                f"{KEY}/groups/a": Path(Form.CONNECTION_GROUP, KEY, "a"),
                "groups/a": Path(Form.GROUP, "a"),
                "groups/a/members": Path(Form.GROUP_MEMBERS, "a"),
                "users/a": Path(Form.USER, "a"),
                "users/a/members": Path(Form.USER_MEMBERS, "a"),
                "users/a/groups/b": Path(Form.USER_GROUP, "a", "b"),
                "all": Path(Form.ALL),
                "all/members": Path(Form.ALL_MEMBERS),
                "batch": Path(Form.BATCH),
                "": Path(Form.NOTHING),
                "members": Path(Form.NOTHING),
                "a/groups": Path(Form.NOTHING),
                KEY + "x": Path(Form.NOTHING),
            }.items():
                for query in ("", "?x=/groups/y", f"?/{KEY}"):
                    self.assertEqual(read_path(f"{base}/{end}{query}".encode()), path, (base, end, query))

    def test_names_like_words_and_keys(self) -> None:
        """The longest form counts."""
        for end, path in {
            f"groups/{MONGO}": Path(Form.GROUP, MONGO),
            f"users/{MONGO}": Path(Form.USER, MONGO),
            f"users/{MONGO}/groups/{MONGO}": Path(Form.USER_GROUP, MONGO, MONGO),
            f"{KEY}/groups/members": Path(Form.CONNECTION_GROUP, KEY, "members"),
            f"{KEY}/groups/all": Path(Form.CONNECTION_GROUP, KEY, "all"),
            "groups/all": Path(Form.GROUP, "all"),
            "groups/members": Path(Form.GROUP, "members"),
            "groups/groups": Path(Form.GROUP, "groups"),
            "groups/groups/members": Path(Form.GROUP_MEMBERS, "groups"),
            "groups/all/members": Path(Form.GROUP_MEMBERS, "all"),
            "users/groups/members": Path(Form.USER_MEMBERS, "groups"),
            "users/batch": Path(Form.USER, "batch"),
            "users/users/groups/users": Path(Form.USER_GROUP, "users", "users"),
        }.items():
            self.assertEqual(read_path(f"/{end}".encode()), path, end)
            self.assertFalse(is_plain(f"/{end}".encode()))

    def test_what_no_hostname_has(self) -> None:
        """A name that was not encoded."""
        for path in (
            "groups/x/all",
            "groups/../all",
            "groups/./x",
            "users/a/b/groups/c/groups/d",
            f"{KEY}/x/all",
            "all/all",
        ):
            self.assertTrue(read_path(f"/{path}".encode()).strays, path)
        for path in (
            "groups/all",
            "users/all/groups/groups",
            "all/members",
            f"x/{KEY}/groups/all",
            "gw/all",
            "...//batch",
        ):
            self.assertFalse(read_path(f"/{path}".encode()).strays, path)

    def test_a_host_with_such_a_name(self) -> None:
        """In absolute form it is no part of the path."""
        self.assertEqual(read_path(f"http://groups/{KEY}".encode()), Path(Form.CONNECTION, KEY))
        self.assertEqual(read_path(b"http://users/groups/a"), Path(Form.GROUP, "a"))
        self.assertEqual(read_path(b"http://all"), Path(Form.NOTHING))
        self.assertEqual(read_path(b"*"), Path(Form.NOTHING))

    def test_names(self) -> None:
        """Decoded once, after splitting: an encoded text is one name or an error."""
        self.assertEqual(read_path(b"/groups/a%2Fmembers").target, "groups/a/members")
        self.assertEqual(read_path(b"/users/%C3%A9%20%25/members").target, "users/é %")
        self.assertEqual(read_path(b"/all").target, "all")
        both = read_path(b"/users/a%2Cb/groups/%2e%2e%2e")
        self.assertEqual((both.user, both.group), ("a,b", "..."))
        for target in (b"/groups/", b"/groups//members", b"/users/a b", b"/groups/..", b"/groups/%2e", b"/groups/1,2"):
            with self.assertRaises(ValueError):
                _ = read_path(target).target

    def test_a_key_is_not_in_its_repr(self) -> None:
        """It might get into a log."""
        self.assertNotIn(KEY, repr(read_path(f"/{KEY}/groups/a".encode())))


class OneReadingTests(SynchronousTestCase):
    """No path has two readings."""

    def test_all_paths_of_such_segments(self) -> None:
        """Some 37,000."""
        count = 0
        for length in range(1, 6):
            for segments in product(SEGMENTS, repeat=length):
                check(self, "/" + "/".join(segments))
                count += 1
        self.assertGreater(count, 2800)

    @moderately
    @given(st.lists(st.sampled_from((*SEGMENTS, MONGO, KEY[1:], "Groups", "%67roups", "members ")), max_size=8))
    def test_longer_paths(self, segments: list[str]) -> None:
        """With whatever stands before them."""
        check(self, "/" + "/".join(segments))

    @moderately
    @given(st.text(st.characters(max_codepoint=255, exclude_characters="?"), max_size=60))
    def test_any_path(self, path: str) -> None:
        """Without an exception."""
        check(self, "/" + path)

    @moderately
    @given(
        st.sampled_from(sorted(FORMS, key=str)),
        st.text(min_size=1, max_size=64),
        st.text(min_size=1, max_size=64),
        st.lists(st.sampled_from(("x", "gw", "Groups", "v1")), max_size=3),
    )
    def test_what_was_meant_is_read(self, form: Form, one: str, other: str, base: list[str]) -> None:
        """Whatever the names are, once they are encoded."""
        for name in (one, other):
            try:
                names.check_name(name)
            except ValueError:
                return
        encoded = iter((names.encode(one), names.encode(other)))
        path = re.sub("<[gu]>", lambda _: next(encoded), form.value).replace("<key>", KEY)
        read = read_path("/".join(["", *base, path]).encode())
        self.assertEqual(read.form, form)
        if form in (Form.GROUP, Form.GROUP_MEMBERS):
            self.assertEqual(read.target, f"groups/{one}")
        elif form in (Form.USER, Form.USER_MEMBERS):
            self.assertEqual(read.target, f"users/{one}")
        elif form is Form.USER_GROUP:
            self.assertEqual((read.user, read.group), (one, other))
        elif form is Form.CONNECTION_GROUP:
            self.assertEqual((read.first, read.group), (KEY, one))
