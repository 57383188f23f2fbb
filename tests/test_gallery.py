"""The gallery: every picture is there, is what its program draws, and stays small; the page shows all of them."""

from __future__ import annotations

import configparser
import importlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_mnist import small_mnist

import visualize
from autograd_ff.training import Classification, LambdaCallback, Settings
from autograd_ff.training.classification.settings import DATASETS
from visualize.charts.histograms import HistogramRecorder
from visualize.gallery import trained
from visualize.gallery.__main__ import CHARTS, GRAPHS, NAMES, caption_of, draw, file_of, main, page

FOLDER = Path(visualize.__file__).parent / "gallery"
TOP = FOLDER.parent.parent
HELPERS = {"__init__.py", "__main__.py", "trained.py"}


def dot_of(name: str, folder: Path) -> str:
    """The text of a graph's picture: what a layout engine is given."""
    path = folder / f"{name}.dot"
    importlib.import_module(f"visualize.gallery.{name}").draw(str(path))
    return path.read_text(encoding="utf-8")


# ---------------------------------------------------------------- what lies in the folder


def test_every_program_has_its_picture_and_no_picture_is_left_over():
    programs = {path.name for path in FOLDER.glob("*.py")} - HELPERS
    assert programs == {f"{name}.py" for name in NAMES}
    pictures = {path.name for path in FOLDER.iterdir() if path.suffix in (".png", ".gif", ".svg")}
    assert pictures == {file_of(name) for name in NAMES}


def test_the_page_shows_every_picture_with_the_caption_of_its_program():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert text == page(), "draw the gallery again: python -m visualize.gallery"
    assert re.findall(r"!\[.*?\]\((.*?)\)", text) == [file_of(name) for name in NAMES]
    for name in NAMES:
        title, caption = caption_of(name)
        assert 5 < len(title) < 80
        assert len(caption) > 100


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_small_and_not_blank(name):
    pillow = pytest.importorskip("PIL.Image")
    path = FOLDER / file_of(name)
    assert path.stat().st_size < (1_000_000 if path.suffix == ".gif" else 300_000)
    with pillow.open(path) as image:
        pixels = np.asarray(image.convert("L"))
    assert min(pixels.shape) > 200
    assert 0.01 < np.mean(pixels < 230) < 0.95


def test_pictures_are_no_part_of_the_package():
    """A wheel holds the programs, not what they draw."""
    config = configparser.ConfigParser()
    config.read(TOP / "setup.cfg")
    assert config["options"]["include_package_data"] == "false"
    assert config["options.package_data"]["visualize"].split() == ["py.typed"]


def test_the_readme_shows_pictures_that_are_there():
    shown = re.findall(r"visualize/gallery/([\w.]+)", (TOP / "README.md").read_text(encoding="utf-8"))
    assert {"mnist.png"} <= set(shown)
    for name in shown:
        assert (FOLDER / name).exists(), name


# ---------------------------------------------------------------- what the pictures show


def marks(text: str, symbol: str) -> int:
    return len(re.findall(rf"<B>{re.escape(symbol)}", text))


def test_the_graphs_show_what_their_captions_say(tmp_path):
    text = {name: dot_of(name, tmp_path) for name in GRAPHS if name != "animation"}
    assert text["mnist"].count("784→128") >= 1
    assert "∂loss/∂fc1.weight" in text["backward"]
    assert text["residual"].count("block · Block") == 3
    assert len(re.findall(r"n\d+ \[.*widen\.weight", text["residual"])) == 1
    assert "×12" in text["transformer"]
    assert len(re.findall(r"^ *n\d+ \[", text["transformer"], re.MULTILINE)) <= 40
    assert "Cube" in text["failed_check"]
    assert marks(text["failed_check"], visualize.LIGHT.marks["wrong"].symbol) == 1
    assert "log of 0 is -inf" in text["nan_hunt"]
    assert "units are 0 for the whole batch" in text["dying_relu"]
    for mark in ("added", "removed", "changed"):
        assert visualize.LIGHT.marks[mark].line in text["difference"]


def test_the_transformer_is_small_without_being_asked():
    """Twelve layers of attention in at most forty nodes, at the default depth."""
    import autograd_ff as af
    from visualize.gallery.transformer import Encoder

    view = visualize.trace(Encoder(), af.rand(2, 4, 128))
    assert len(view.nodes) > 600
    assert len(visualize.simplify(view).nodes) <= 40


@pytest.mark.skipif(not shutil.which("dot"), reason="there is no layout engine")
def test_one_command_draws_by_name(tmp_path, capsys):
    pytest.importorskip("PIL.Image")
    assert main(["mnist", "animation", "--output", str(tmp_path / "new")]) == 0
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["animation.gif", "mnist.png"]
    assert "mnist.png" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["no_such_picture"])
    assert "no picture named no_such_picture" in capsys.readouterr().err


def test_the_charts_are_drawn_of_a_training_run(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setitem(DATASETS, "mnist", small_mnist)

    def small_run():
        session = Classification(Settings(layers=(16, 16), epochs=2))
        recorder = HistogramRecorder(session.model)
        watch = LambdaCallback(on_train_batch_end=lambda batch, logs: recorder.record())
        session.train([watch], checks=False, verbose=0)
        return session, recorder

    result = small_run()
    for name in CHARTS:
        monkeypatch.setattr(importlib.import_module(f"visualize.gallery.{name}"), "run", lambda: result)
        assert draw(name, tmp_path).stat().st_size > 3000


def test_the_training_run_is_the_main_job(monkeypatch):
    """The charts' network is trained with the defaults of the command line; here on few images."""
    monkeypatch.setitem(DATASETS, "mnist", small_mnist)
    monkeypatch.setattr(trained, "_BETWEEN", 5)
    trained.run.cache_clear()
    try:
        session, recorder = trained.run()
        assert session.settings == Settings()
        assert session.finished
        assert not session.model.training
        assert {one.name for one in recorder.snapshots} >= {"fc1.weight", "fc3.weight"}
    finally:
        trained.run.cache_clear()
