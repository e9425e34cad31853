"""Draw the pictures beside this file: the demo on a terminal, and the page of an audit.

`make pictures` runs it. All that is shown is real output, of a keyring and files that are made for
it; only the path of their folder is written as ~.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.padding import Padding
from rich.terminal_theme import TerminalTheme
from rich.text import Text

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))

from browser import chromium, dressed, sized  # noqa: E402 - the tests' browser

FILES = """
import pickle
from pathlib import Path

import joblib
from sklearn.datasets import load_iris, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from pickleseal import Key, Keyring, signed_dump


class Armed:
    def __reduce__(self):
        import os

        return os.system, ("echo this could be anything",)


iris, wine = load_iris(return_X_y=True), load_wine(return_X_y=True)
knn = KNeighborsClassifier(n_neighbors=3).fit(*iris)
forest = RandomForestClassifier(20, random_state=0).fit(*wine)
models = Path("models")
models.mkdir()
signed_dump(knn, models / "iris.pkl", context="iris/v1")
signed_dump(forest, models / "wine.pkl", context="wine/v4", compress="zstd")
signed_dump(forest, models / "wine-old.pkl", context="wine/v3")
damaged = bytearray((models / "wine-old.pkl").read_bytes())
damaged[len(damaged) // 2] ^= 1
(models / "wine-old.pkl").write_bytes(damaged)
stranger = Keyring(Key.generate())
signed_dump(knn, models / "from-a-colleague.pkl", context="iris/v1", keyring=stranger)
joblib.dump(StandardScaler().fit(iris[0]), models / "scaler.joblib", compress=3)
(models / "downloaded.pkl").write_bytes(pickle.dumps(Armed(), protocol=4))
"""

# Text, ground and the eight colours, of which the demo uses red, green and cyan.
LIGHT = TerminalTheme(
    (255, 255, 255),
    (31, 35, 40),
    [
        *((31, 35, 40), (207, 34, 46), (17, 99, 41), (77, 45, 0)),
        *((9, 105, 218), (130, 80, 223), (27, 124, 131), (110, 119, 129)),
    ],
)
DARK = TerminalTheme(
    (13, 17, 23),
    (230, 237, 243),
    [
        *((72, 79, 88), (255, 123, 114), (63, 185, 80), (210, 153, 34)),
        *((88, 166, 255), (188, 140, 255), (57, 197, 207), (177, 186, 196)),
    ],
)
# As rich has it, but its font comes from elsewhere, and the frame of a light one is white.
SVG = re.sub(r"@font-face {{.*?}}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "font-family: Fira Code, monospace;",
    "font-family: ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace;",
)


def run(home: Path, *command: str, codes: tuple[int, ...] = (0,)) -> str:
    """Run Python in `home`, as on a wide terminal; return what it printed."""
    environment = {
        "PATH": os.environ["PATH"],
        "PICKLESEAL_KEYRING": str(home / "keys"),
        "COLUMNS": "1000",
        "FORCE_COLOR": "1",
        "PYTHONUTF8": "1",
    }
    done = subprocess.run(  # noqa: S603 - our own commands
        [sys.executable, "-W", "ignore", *command],
        cwd=home,
        env=environment,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=False,
    )
    if done.returncode not in codes:
        raise SystemExit(f"{command} ended with {done.returncode}")
    return done.stdout.replace(str(home), "~")


def draw_demo(home: Path) -> None:
    """Draw steps 3 to 5 of the demo: the load, five refusals, and that nothing ran."""
    lines = [Text.from_ansi(line) for line in run(home, "-m", "pickleseal", "demo").splitlines()]
    begin, end = (
        next(number for number, line in enumerate(lines) if line.plain.startswith(step))
        for step in (" 3 ", " 6 ")
    )
    for name, theme in (("light", LIGHT), ("dark", DARK)):
        with Path(os.devnull).open("w") as nowhere:
            console = Console(record=True, width=96, file=nowhere, force_terminal=True)
            console.print("$ pickleseal demo", style="bold")
            console.print("…", style="dim")
            for text in lines[begin:end]:
                indent = len(text.plain) - len(text.plain.lstrip())
                indent -= indent == 1  # the space before a step's number is part of its box
                console.print(Padding(text[indent:], (0, 0, 0, indent)))
            picture = console.export_svg(
                title="pickleseal demo", theme=theme, code_format=SVG, unique_id="demo"
            )
        picture = picture.replace("rgba(255,255,255,0.35)", "rgba(128,128,128,0.5)")
        (HERE / f"demo-{name}.svg").write_text(picture, encoding="utf-8")


def draw_audit(home: Path) -> None:
    """Draw the page that `pickleseal audit --html` writes."""
    run(home, "-c", FILES)
    command = ("audit", "models/", "--keyring", "keys", "--html", "report.html")
    run(home, "-m", "pickleseal", *command, codes=(1,))
    with chromium(home / "profile") as driver:
        for name in ("light", "dark"):
            sized(driver, 1000, 890)
            driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
            dressed(driver, scheme=name)
            driver.get((home / "report.html").as_uri())
            path = HERE / f"audit-{name}.png"
            driver.save_screenshot(str(path))
            with Image.open(path) as shot:
                shot.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(
                    path, optimize=True
                )


def main() -> None:
    """Make a key in an empty home directory and draw all pictures."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        run(home, "-m", "pickleseal", "keygen")
        draw_demo(home)
        draw_audit(home)


if __name__ == "__main__":
    main()
