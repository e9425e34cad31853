"""Shells complete the command: real ones, at a terminal, with the script as it is printed."""

import fcntl
import os
import select
import shutil
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from pickleseal.cli import cli
from pickleseal.keys.store.directory import read_roster

pytestmark = pytest.mark.once

PICKLESEAL = Path(sys.executable).with_name("pickleseal")
ZSH = 'autoload -U compinit; compinit -u; eval "$(pickleseal completion zsh)"'
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(pickleseal completion bash)"'),
    "fish": (["fish", "--no-config", "-i"], "pickleseal completion fish | source"),
    "zsh": (["zsh", "-f", "-i"], ZSH),
}


class Terminal:
    """A shell at a terminal. What a line calls of pickleseal is recorded and not done."""

    def __init__(self, shell: str, folder: Path) -> None:
        self.folder = folder
        self.called = folder / "called"
        script = folder / "bin" / "pickleseal"
        script.parent.mkdir()
        script.write_text(
            "#!/bin/sh\n"
            f'[ -z "$_PICKLESEAL_COMPLETE" ] && [ "$1" != completion ] || exec {PICKLESEAL} "$@"\n'
            f'printf "%s\\n" "$*" > {self.called}.part && mv {self.called}.part {self.called}\n'
        )
        script.chmod(0o755)
        command, setup = SHELLS[shell]
        self.ours, theirs = os.openpty()
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=folder,
            env={
                **{name: text for name, text in os.environ.items() if "PICKLESEAL" not in name},
                "PATH": f"{script.parent}{os.pathsep}{os.environ['PATH']}",
                "HOME": str(folder),
                "TERM": "xterm",
            },
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no threads
        )
        os.close(theirs)
        self.screen = b""
        self.line(f"{setup}; pickleseal ready")

    def line(self, text: str) -> str:
        """Type a line and return what pickleseal was called with."""
        self.called.unlink(missing_ok=True)
        os.write(self.ours, text.encode() + b"\r")
        end = time.monotonic() + 60
        while not self.called.exists():
            assert time.monotonic() < end, self.screen.decode(errors="replace")
            if select.select([self.ours], [], [], 0.05)[0]:
                self.screen += os.read(self.ours, 10_000)
        return self.called.read_text().strip()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.ours)


@pytest.mark.parametrize(
    "shell", ["bash", *(pytest.param(one, marks=pytest.mark.sweep) for one in ("fish", "zsh"))]
)
def test_a_shell_completes_commands_options_files_and_keys(
    shell: str, ring_directory: Path, tmp_path: Path
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "iris.pkl").touch()
    (only,) = read_roster(ring_directory).entries
    terminal = Terminal(shell, tmp_path)
    try:
        assert terminal.line("pickleseal insp\t") == "inspect"
        assert terminal.line("pickleseal keys doct\t") == "keys doctor"
        assert terminal.line("pickleseal audit --fail\t nev\t") == "audit --fail-on never"
        assert terminal.line("pickleseal verify models/ir\t") == "verify models/iris.pkl"
        assert (
            terminal.line("pickleseal audit --html models/ir\t") == "audit --html models/iris.pkl"
        )
        ring = f"--keyring {ring_directory}"
        assert (
            terminal.line(f"pickleseal keys show {ring} {only[:3]}\t") == f"keys show {ring} {only}"
        )
    finally:
        terminal.close()


def variables(words: str) -> dict[str, str]:
    """Return what bash sets where it asks for completions."""
    return {
        "_PICKLESEAL_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }


def complete(words: str, **environment: str) -> list[str]:
    env = {**variables(words), **environment}
    return CliRunner().invoke(cli, prog_name="pickleseal", env=env).output.split()


def test_a_keyring_that_cannot_be_read_completes_nothing(tmp_path: Path) -> None:
    for ring in (tmp_path / "nowhere", tmp_path):
        assert complete(f"pickleseal keys show --keyring {ring} ") == []
    assert complete("pickleseal keys show ", PICKLESEAL_KEYRING="relative") == []


def test_completing_a_command_imports_none() -> None:
    code = (
        "import sys; from pickleseal.cli import cli\n"
        "try: cli(args=[], prog_name='pickleseal')\n"
        "except SystemExit: pass\n"
        "print({'pickleseal.cli.keys', 'pickleseal.auditing'} & {*sys.modules})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **variables("pickleseal ")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "plain,audit" in done.stdout
    assert done.stdout.endswith("set()\n")
