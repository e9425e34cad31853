"""What is told where an object asks for a module or an attribute that is not there."""

import base64
import io
import pickle
import platform
import subprocess
import sys
import textwrap
import zlib
from collections.abc import Mapping
from importlib import metadata as installed
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest

from pickleseal import Keyring, Suite, adopt_bytes, extract, signed_loads
from pickleseal.envelope import seal
from pickleseal.envelope.metadata import Metadata
from pickleseal.envelope.target import join_envelope
from pickleseal.keys.store.changes import create_key

NUMPY, SKLEARN, PANDAS = (installed.version(name) for name in ("numpy", "scikit-learn", "pandas"))
PYTHON = platform.python_version()


def asking_for(module: str, name: str, protocol: int = 4) -> bytes:
    """Return a pickle of one name."""
    if protocol < 4:
        return b"\x80%c" % protocol + f"c{module}\n{name}\n.".encode()
    texts = (b"\x8c%c" % len(text) + text.encode() for text in (module, name))
    return b"\x80%c" % protocol + b"".join(texts) + b"\x93."


def sealed(stream: bytes, versions: Mapping[str, str] | None, ring: Keyring) -> bytes:
    key = ring.sealing_key(context=None, now=0)
    head = seal.seal_head(key, Metadata("pickle", versions=versions), [len(stream)])
    return join_envelope(head.data, [memoryview(stream)], head.finish, key.suite)


def notes_on(data: bytes, ring: Keyring) -> list[str]:
    with pytest.raises((ImportError, AttributeError)) as caught:
        signed_loads(data, keyring=ring, on_mismatch="ignore")
    return list(getattr(caught.value, "__notes__", []))


MOVED = [
    ("numpy._no_core.multiarray", "_reconstruct", "numpy", NUMPY),
    ("numpy", "no_such_type", "numpy", NUMPY),
    ("sklearn.ensemble._gb_losses", "BinomialDeviance", "scikit-learn", SKLEARN),
    ("sklearn.neighbors", "NoSuchNeighbors", "scikit-learn", SKLEARN),
    ("pandas.core.indexes.numeric", "Int64Index", "pandas", PANDAS),
    ("dateutil.no_such_part", "tzutc", "python-dateutil", installed.version("python-dateutil")),
    ("asynchat", "async_chat", "python", PYTHON),
    ("fractions", "NoSuchFraction", "python", PYTHON),
]


@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize(("module", "name", "package", "here"), MOVED)
def test_both_versions_are_told_where_a_name_moved(
    module: str, name: str, package: str, here: str, protocol: int, ring: Keyring
) -> None:
    if module == "asynchat" and sys.version_info < (3, 12):
        pytest.skip("this Python has that module still")
    stream = asking_for(module, name, protocol)
    (note,) = notes_on(sealed(stream, {package: "0.0.1", "python": "3.1"}, ring), ring)
    assert f"{module}.{name}: sealed with {package} " in note
    assert f"and {here} is here" in note
    assert ("0.0.1" if package != "python" else "3.1") in note
    (note,) = notes_on(sealed(stream, {package: here}, ring), ring)
    assert f"sealed with {package} {here}, which is here, too" in note
    (note,) = notes_on(sealed(stream, None, ring), ring)
    assert f"{package} {here} is here" in note
    assert "not recorded" in note


@pytest.mark.parametrize(("module", "name", "package", "here"), MOVED[1:6])
def test_of_an_adopted_file_the_version_here_is_told(
    module: str, name: str, package: str, here: str, ring: Keyring
) -> None:
    (note,) = notes_on(adopt_bytes(asking_for(module, name), keyring=ring), ring)
    assert f"{package} {here} is here" in note
    assert "not recorded" in note


@pytest.mark.parametrize("protocol", [2, 4])
def test_it_is_told_what_is_not_installed(protocol: int, ring: Keyring) -> None:
    stream = asking_for("no_such_package.models", "Model", protocol)
    data = sealed(stream, {"no_such_package": "1.2"}, ring)
    assert "no_such_package 1.2, which is not installed here" in notes_on(data, ring)[0]
    # The package of a module that is not here is not known by name; one that is gone may be it.
    data = sealed(stream, {"python": PYTHON, "No-Such": "1.2", "numpy": NUMPY}, ring)
    assert "sealed with No-Such 1.2, not installed here" in notes_on(data, ring)[0]
    data = sealed(stream, None, ring)
    assert "no_such_package is not installed here" in notes_on(data, ring)[0]


def test_the_package_that_a_module_cannot_import_is_the_one_that_is_told(
    ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_models_of_ours.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    stream = asking_for("own_models_of_ours", "Model")
    versions = {"no_such_package": "1.2", "gone-too": "3.4"}
    (note,) = notes_on(sealed(stream, versions, ring), ring)
    assert "own_models_of_ours.Model: sealed with no_such_package 1.2" in note
    assert "gone-too" not in note


def test_a_name_that_a_module_does_not_find_is_no_package(
    ring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_old_models.py").write_text("import fractions\nfractions.no_such_name\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    stream = asking_for("own_old_models", "Model")
    (note,) = notes_on(sealed(stream, {"own_old_models": "1.2"}, ring), ring)
    assert "sealed with own_old_models 1.2, which is not installed here" in note


def test_a_file_of_joblibs_has_the_note_too(ring: Keyring) -> None:
    array = np.empty(1, object)
    file = io.BytesIO()
    joblib.dump(array, file)
    start = file.getvalue()[: file.getvalue().rindex(b"\x80")]
    moved = asking_for("numpy.no_such_part", "thing", 2)
    for raw in (zlib.compress(moved), start + moved + b"."):
        metadata = Metadata("joblib", raw_size=len(moved if raw[:1] == b"\x78" else raw))
        key = ring.sealing_key(context=None, now=0)
        head = seal.seal_head(key, metadata, [len(raw)])
        data = join_envelope(head.data, [memoryview(raw)], head.finish, key.suite)
        (note,) = notes_on(data, ring)
        assert f"numpy {NUMPY} is here" in note


def test_no_other_error_has_a_note(ring: Keyring) -> None:
    stream = pickle.dumps(Path("a")).replace(b"\x8c\x01a", b"K\x01K\x01"[:3])
    with pytest.raises(TypeError) as caught:
        signed_loads(sealed(stream, {"python": "3.1"}, ring), keyring=ring, on_mismatch="ignore")
    assert not hasattr(caught.value, "__notes__")


def test_a_note_shows_nothing_that_a_terminal_obeys(ring: Keyring) -> None:
    stream = asking_for("numpy.\x1b]0;x\x07", "thing")
    (note,) = notes_on(sealed(stream, None, ring), ring)
    assert "\x1b" not in note


# --- pandas ----------------------------------------------------------------------------------

OF_PANDAS_1 = {
    "a frame of whole numbers, protocol 2": (
        "c-nPS*>ck`6m`>$h^=KS`@W<sfkG((3N57+TGMn!Pkza0WJRq#b(|bap3)gI0}n}>zu_PFFpw1&rY!P|b>+M0+"
        ";gtK6hw>1b*{>ynaJ{H!W)t-bIn(*1!wvzhT15Uyb;H7SYs=}@PUjl)-s8Cq{<B*^DUVuvJ^GN_WIyNFtQ)cqR"
        ">~r;|WXSRw%Y3$^0yVU{u6uqqRGz+ejlF@+9HAge6imW2KW+Xo9gp6frfe7vrwe!6Cs!vo3`qGR_QwqBmp^`yk"
        "$!*(0vQcm{{NI6`r>hhr4SOYV?)3SCU(CF^>(Wiltdg2~vd;6#6~hm#biO75_&HjmTQYIW_0S@z{R8fW}|Q1m9"
        "9{q_CZLT)W$DliwGr8uW?-WQDdX=u8N86zqRg}Lg2>trB$xJYryE%b1i;z|csYq(bWgXX&YBvskxN)i^!9k!Z%"
        "A-Mkkusq^M8#f2?)s3#W6^sRzvfF{-;SNQ~^3cI_Flc<Eg1cGc_bBe~H~tw94mQ4^QTF>aJhX0(M_gmZx3|P*a"
        "PYXAcJYK_HuyI{L%2*rVKC~s*&OK8Hs(sfFMQ83d=-l48NNaXFLHcg1urvv^AxWPzTj_3URy~fOzdbb#dyABAy"
        "Z_L;*G|VA6S%cDVAjy?<iIVLvE%3@4aG9nEfU2!Jb(|YHnFvtzpf}s&lOq1-FflcFx#l#J3dI+o*a|nLCP_JBr"
        "oQmJyt5$s+E{NMU17rGEJ*nvx&m"
    ),
    "a series of floats, protocol 4": (
        "c-nPR!D<vi5S<x!*BBJSLNq8S=ppOD!9WlXLLdP_2lrskOH(t`yFJ*`vrKmz_YlxSVgh|j`9c0kPWg?bx+j4Z)"
        ";csz)vJ1sSM{^^=Wh~)aKkyM5_DQLEl)LXE3VNE4!h3<zW#;BIC4E!&sucPm%)`Xyj37|T7!ZaZ>e#3SgD!h`?"
        "4v%ed)5@kkJI)*1z2)|G{;dgXZYgnc_$6lg|;}JzIrTwkA~tx`!WS1LocC9Xtpu!2r5V0?ij)Uu~tSplxA6Ev)"
        "55qqJ#lVLU@W0MXqio&dSPEIPr1ILF`k6-QZ|B_}8zyMAdFbM9M`>3cjs>#Fx$`~k<~@#kxb@MMv}{QO{}v-NU"
        "s8scgXDeZa+YK~)jO3g4qu_?AZn|Qj+^};395`%cPa(>(qM7R5k{Cq$1k=P&~#BlZOm;X^Fwr@op)6(CjJG<#l"
        "XD5*3DAwH|_p8)63F*Oikk%L8xHUQmMm1XcT5c<{TG6+!WmWKCW|m~Jmteu_-~l5eiRJFb9<Z7l2x}wx+u-_O4"
        "Be1d!ln{t;rj%nY>qT5?VKiq;Y>o#rN%Suwdd&#Pni@k"
    ),
    "a sparse series, protocol 5": (
        "c-nnZO>fjN5KY(*Ek#9W3j!nr7Y;!}fl58}Ko5LeO2i(zM^sspUGF-=aUy@T-9x2v0E*-rL;o&}lMO6Vg{358="
        "lRWhGjlQc`LP!@%a3bNb1><w(mXX>7u=v9PTSxIKKqR4nD{;`mm2-!O>m(s*9xRbOHi=nnl6r~g<4AfMpm;=AK"
        "KHFBsoU^;NRPGe#T9jgW>46nBu4GFq{$IKfDg9K`jIHD119;BThldapDKYg0`4NzHe+*W7Z1+ryzD;@d$x5JlS"
        "Lhtzl(SQ-e0^9r|0-X8XF?{VBjUYf-FGgMMet!(@?n4CqIP%67^q`&hZMUbVR>q?*o%pDlD%=5DcQYLi^`+fGC"
        "=J?IC`9s17gs^*~>H;O&{e))|IB*YoN!pUUv{uiz0l|>fwEdGK%ev6hs!KuI9$vpw-sFC7nay8n>6BdeuxcC2Z"
        "i|5xfix+{{4_Pbee>Geq)-`;$w$Rp49EknkzL2t&MV)fF%c(75TigkV@kH!ok+@4*?sZK&r_3+Y-Mw_TZ8n?*K"
        "U;p7haod~+#C-(qmTTEMwQV&8pl!Y3TX>P;lRjZ7Q|#x*305x*?}`;k%pUeQkHJ|Z?ckGn1cl(7h~`Pu$HDfC}"
        "9f;%O<=JQdXyi&0S5*U^$bJb7}C>kPnxqzX7iVP~r"
    ),
}
"""What pandas 1.5.3 wrote, compressed: what it names is elsewhere since pandas 2 and 3."""


@pytest.mark.filterwarnings("ignore:numpy.core:DeprecationWarning")
@pytest.mark.parametrize("kind", OF_PANDAS_1)
def test_of_a_frame_of_pandas_1_it_is_told_what_reads_it(
    kind: str, ring: Keyring, tmp_path: Path
) -> None:
    raw = zlib.decompress(base64.b85decode(OF_PANDAS_1[kind]))
    try:
        pickle.loads(raw)
    except (ImportError, AttributeError):
        pass
    else:
        pytest.skip("this pandas has these names still")
    for data in (adopt_bytes(raw, keyring=ring), sealed(raw, {"pandas": "1.5.3"}, ring)):
        (note,) = notes_on(data, ring)
        assert "pandas.read_pickle" in note
        assert "pickleseal extract" in note
        # And what it says helps.
        plain = tmp_path / "plain.pkl"
        plain.write_bytes(extract(data, keyring=ring))
        assert isinstance(pd.read_pickle(plain), pd.DataFrame | pd.Series)


def test_the_note_is_shown_under_the_error_of_a_program(tmp_path: Path) -> None:
    folder = tmp_path / "keyring"
    create_key(folder, suite=Suite.BLAKE3, note="", now=0)
    model = tmp_path / "model"
    model.write_bytes(adopt_bytes(asking_for("numpy.no_such", "thing"), keyring=folder))
    code = f"import pickleseal; pickleseal.signed_load({str(model)!r}, keyring={str(folder)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"numpy {NUMPY} is here" in done.stderr.splitlines()[-1]


# --- what is of a package whose name is another ----------------------------------------------


def test_asking_before_a_module_is_loaded_does_not_hide_its_version_later(
    tmp_path: Path,
) -> None:
    code = """
        from pickleseal.pickling import versions
        assert "python-dateutil" in versions.compared("dateutil.no_such", {})
        import dateutil.tz
        assert "python-dateutil" in versions.versions_of(["dateutil"])
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, cwd=tmp_path)
