"""Writing a path: modes, links, folders, leftovers, and what a disk reports."""

import errno
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from pickleseal import Keyring, Suite, TargetError, signed_dump, signed_load
from pickleseal.files import atomic
from pickleseal.keys.store.changes import create_key

# --- writing a path --------------------------------------------------------------------------


def test_a_new_file_has_the_mode_that_the_umask_gives(ring: Keyring, tmp_path: Path) -> None:
    for umask in (0o022, 0o002, 0o077):
        before = os.umask(umask)
        try:
            signed_dump(1, tmp_path / f"{umask}", keyring=ring)
        finally:
            os.umask(before)
        mode = stat.S_IMODE((tmp_path / f"{umask}").stat().st_mode)
        assert mode == 0o666 & ~umask


def test_a_replaced_file_keeps_its_mode(ring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "it"
    for mode in (0o600, 0o640, 0o664):
        path.touch()
        path.chmod(mode)
        signed_dump(mode, path, keyring=ring)
        assert stat.S_IMODE(path.stat().st_mode) == mode
        assert signed_load(path, keyring=ring) == mode


def test_a_link_stays_a_link_and_what_it_leads_to_is_replaced(
    ring: Keyring, tmp_path: Path
) -> None:
    (tmp_path / "store").mkdir()
    target = tmp_path / "store" / "it"
    link = tmp_path / "link"
    link.symlink_to(Path("store") / "it")
    for number in range(2):  # a dangling link at first
        signed_dump(number, link, keyring=ring)
        assert link.is_symlink()
        assert signed_load(target, keyring=ring) == number
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "store"]


def test_a_folder_that_cannot_be_written_is_an_ordinary_error(
    ring: Keyring, tmp_path: Path
) -> None:
    with pytest.raises(TargetError):
        signed_dump(1, tmp_path, keyring=ring)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(OSError):  # noqa: PT011 - the class is the promise
        signed_dump(1, tmp_path / "loop", keyring=ring)


AS_NOBODY = """
import io, os, sys
from pickleseal import Key, Keyring, Suite, signed_dump
path, durable = sys.argv[1], sys.argv[2] == "yes"
ring = Keyring(Key.generate(Suite.BLAKE3))
signed_dump(1, io.BytesIO(), keyring=ring)
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    signed_dump("new", path, keyring=ring, durable=durable)
except OSError as error:
    print(type(error).__name__, error.filename, error.strerror)
"""


@pytest.fixture
def nobodys_folder() -> Iterator[Path]:
    """A folder that a user other than root may use; pytest's own are closed to others."""
    if not hasattr(os, "geteuid"):
        pytest.skip("this system has no modes")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(os.path.realpath(name))
        _give_away(folder)
        yield folder
        folder.chmod(0o700)


def _give_away(path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)


def dump_as_nobody(path: Path, *, durable: bool = True) -> str:
    """Dump to a path as a user who is not root, and give what is said then."""
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(path), "yes" if durable else "no"],
        # Nobody may not write what a measuring of coverage would write at the end.
        env={name: text for name, text in os.environ.items() if "COVERAGE" not in name},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_a_folder_that_cannot_be_waited_for_is_an_error_before_anything_is_written(
    nobodys_folder: Path,
) -> None:
    path = nobodys_folder / "it"
    path.write_bytes(b"old")
    _give_away(path)
    nobodys_folder.chmod(0o300)
    said = dump_as_nobody(path)
    assert said.startswith(f"PermissionError {path.parent} Permission denied; the folder must be")
    assert path.read_bytes() == b"old"
    assert not dump_as_nobody(path, durable=False)
    assert path.read_bytes().startswith(b"\xa6PSEAL")
    nobodys_folder.chmod(0o700)
    assert os.listdir(nobodys_folder) == ["it"]


def test_a_file_that_may_not_be_written_to_is_not_replaced(nobodys_folder: Path) -> None:
    path, link = nobodys_folder / "it", nobodys_folder / "link"
    path.write_bytes(b"old")
    _give_away(path)
    link.symlink_to("it")
    path.chmod(0o444)
    for place in (path, link):
        assert dump_as_nobody(place) == f"PermissionError {place} Permission denied"
    assert path.read_bytes() == b"old"
    assert sorted(os.listdir(nobodys_folder)) == ["it", "link"]
    path.chmod(0o644)
    assert not dump_as_nobody(path)
    assert path.read_bytes().startswith(b"\xa6PSEAL")


@pytest.mark.parametrize("error", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_only_an_error_of_the_disk_fails_the_wait_for_a_name(
    error: int, ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "fsync", fsync)
    expected = pytest.raises(OSError, match=os.strerror(error))
    with expected if error == errno.EIO else nullcontext():
        signed_dump(1, tmp_path / "it", keyring=ring)
    assert signed_load(tmp_path / "it", keyring=ring) == 1


def test_a_new_file_that_has_its_name_is_there_though_its_first_name_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unlink(path: str) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", unlink)
        atomic.write_whole(str(tmp_path / "it"), b"new", exclusive=True)
    assert (tmp_path / "it").read_bytes() == b"new"


@pytest.mark.parametrize("name", [
    "file/", "file//", "file/.", "file/..", "file/../new", "file/new",
    "none/", "none/.", "none/..", "none/new", "none/../new", "none/new/", "none/../file",
    "link/", "link/.", "link/../new", "to-slash", "to-none", "to-file", "loop", "loop/new",
])  # fmt: skip
def test_a_path_that_open_refuses_is_refused_as_open_does(
    name: str, ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(b"old")
    links = {
        "link": "file", "to-slash": "new/", "to-none": "none/../new", "to-file": "file/../new",
        "loop": "loop",
    }  # fmt: skip
    for link, leads_to in links.items():
        os.symlink(leads_to, link)
    before = sorted(os.listdir())
    for path in (name, f"{tmp_path}/{name}"):
        with pytest.raises(OSError) as expected:  # noqa: PT011 - the system's own, whatever it is
            open(path, "wb")  # noqa: SIM115 - it does not open
        with pytest.raises(OSError) as got:  # noqa: PT011 - as above
            signed_dump(1, path, keyring=ring)
        assert (got.type, got.value.errno) == (expected.type, expected.value.errno)
        assert got.value.filename == path
        with pytest.raises(OSError):  # noqa: PT011 - a link is there already
            atomic.write_whole(path, b"new", exclusive=True)
    assert sorted(os.listdir()) == before
    assert Path("file").read_bytes() == b"old"


TRACED = """
import os, sys, pickleseal
path, ring, durable = sys.argv[1:]
ring = pickleseal.open_keyring(ring)
calls = []
real = os.fsync
os.fsync = lambda descriptor: (calls.append("fsync"), real(descriptor))
replace = os.replace
os.replace = lambda *a: (calls.append("replace"), replace(*a))
pickleseal.signed_dump(1, path, keyring=ring, durable=durable == "yes")
print(*calls)
"""


def test_a_durable_write_syncs_the_file_before_its_name_and_the_name_after(
    tmp_path: Path,
) -> None:
    create_key(tmp_path / "ring", suite=Suite.BLAKE3, note="", now=0)
    for durable, expected in (("yes", ["fsync", "replace", "fsync"]), ("no", ["replace"])):
        done = subprocess.run(
            [sys.executable, "-c", TRACED, str(tmp_path / "it"), str(tmp_path / "ring"), durable],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == expected
