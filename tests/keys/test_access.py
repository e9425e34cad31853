"""Which groups give nobody else access."""

import os
import sys

import pytest

grp = pytest.importorskip("grp")
pwd = pytest.importorskip("pwd")

from pickleseal.keys.store.access import is_nobody_else  # noqa: E402 - not on Windows


def world(
    monkeypatch: pytest.MonkeyPatch, *, group: str, user: tuple[str, int, int], me: int
) -> None:
    """Replace the system's groups and users by one of each."""
    name, uid, gid = user
    one = pwd.struct_passwd((name, "x", uid, gid, "", "/", "/bin/sh"))

    def user_of(number: int) -> object:
        if number != uid:
            raise KeyError(number)
        return one

    monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group((group, "x", gid, [])))
    monkeypatch.setattr(pwd, "getpwuid", user_of)
    monkeypatch.setattr(pwd, "getpwall", lambda: [one])
    monkeypatch.setattr(os, "geteuid", lambda: me)


@pytest.mark.parametrize(
    ("platform", "group", "gid", "counts"),
    [
        ("darwin", "admin", 80, False),
        ("darwin", "admin", 81, True),
        ("darwin", "admins", 80, True),
        ("linux", "admin", 80, True),
    ],
)
def test_the_administrators_of_a_mac_are_nobody_else_and_on_linux_they_are_a_group(
    platform: str,
    group: str,
    gid: int,
    counts: bool,  # noqa: FBT001 - a column of the table
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world(monkeypatch, group=group, user=("ann", 1000, 1000), me=1000)
    monkeypatch.setattr(sys, "platform", platform)
    assert is_nobody_else(gid, 1000) is not counts


@pytest.mark.parametrize(
    ("user", "me", "counts"),
    [
        (("ann", 1000, 1000), 1000, False),
        (("ann", 1000, 1000), 0, False),
        (("ann", 1000, 2000), 1000, True),
        (("bob", 1000, 1000), 1000, True),
    ],
)
def test_the_private_group_of_the_owner_is_nobody_else(
    user: tuple[str, int, int],
    me: int,
    counts: bool,  # noqa: FBT001 - a column of the table
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world(monkeypatch, group="ann", user=user, me=me)
    assert is_nobody_else(1000, 1000) is not counts


@pytest.mark.parametrize("me", [0, 1000])
def test_the_group_of_root_is_private_to_root_alone(
    me: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In some containers every user is in it."""
    world(monkeypatch, group="root", user=("root", 0, 0), me=me)
    assert is_nobody_else(0, 0) is (me == 0)
