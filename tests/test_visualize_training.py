"""Training pictures: curves, histograms over time, confusion matrix, worst images."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_mnist import small_mnist

pytest.importorskip("matplotlib")

import autograd_ff as af
from autograd_ff import nn, optim
from autograd_ff.data import DataLoader, transforms
from visualize.charts.chart import TEST
from visualize.charts.classification import confusion_matrix, plot_confusion, plot_worst, predict
from visualize.charts.curves import plot_history
from visualize.charts.histograms import HistogramRecorder, Snapshot, plot_histograms
from visualize.graph.view import Histogram

HISTORY = [
    {"epoch": 1, "loss": 0.7, "train_accuracy": 0.81, "test_accuracy": 0.92},
    {"epoch": 2, "loss": 0.2, "train_accuracy": 0.95, "test_accuracy": 0.96},
    {"epoch": 3, "loss": 0.05, "train_accuracy": 0.99, "test_accuracy": 0.97},
]


@pytest.fixture(scope="module")
def trained():
    """A network trained on a few images of MNIST, its test data, and the histograms of its training."""
    af.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer, criterion = optim.Adam(model.parameters(), lr=3e-3), nn.CrossEntropyLoss()
    data = small_mnist(train=True, transform=transforms.ToTensor())
    recorder = HistogramRecorder(model)
    for epoch in range(4):
        for images, labels in DataLoader(data, 64, shuffle=True, generator=np.random.default_rng(epoch)):
            optimizer.zero_grad()
            criterion(model(images), labels).backward()
            optimizer.step()
        recorder.record(epoch)
    return model, small_mnist(train=False, transform=transforms.ToTensor()), recorder


@pytest.fixture(scope="module")
def predictions(trained):
    model, data, _ = trained
    return predict(model, data)


def assert_drawn(path: str) -> None:
    """The picture is there, and neither blank nor black."""
    from matplotlib.image import imread

    pixels = imread(path)
    assert min(pixels.shape[:2]) > 100
    assert 0.005 < np.mean(pixels[..., :3].min(axis=-1) < 0.9) < 0.95


def texts(axes) -> list[str]:
    return [one.get_text() for one in axes.texts]


# ---------------------------------------------------------------- curves


def test_a_panel_for_each_metric_with_the_very_numbers():
    figure = plot_history(HISTORY)
    loss, accuracy = figure.axes
    assert (loss.get_title(), accuracy.get_title()) == ("loss", "accuracy")
    (line,) = loss.lines
    assert line.get_xydata().tolist() == [[1, 0.7], [2, 0.2], [3, 0.05]]
    assert loss.get_yscale() == "log"
    assert {one.get_label(): list(one.get_ydata()) for one in accuracy.lines} == {
        "training": [0.81, 0.95, 0.99],
        "test": [0.92, 0.96, 0.97],
    }
    assert texts(accuracy) == ["97.00%"]  # the last of the test accuracy
    assert accuracy.get_xlabel() == "epoch"


def test_training_test_and_validation_are_told_apart():
    (axes,) = plot_history({"loss": [3.0, 2.0], "val_loss": [3.1, 2.2], "test_loss": [3.2, 2.3]}).axes
    assert len({line.get_color() for line in axes.lines}) == 3
    assert {line.get_linestyle() for line in axes.lines} == {"--", "-"}


class _WithHistory:
    def __init__(self, history):
        self.history = history


@pytest.mark.parametrize(
    "history",
    [
        [{"loss": 2.0, "val_loss": 3.0}, {"loss": 1.0, "val_loss": 2.5}],
        {"loss": [2.0, 1.0], "val_loss": [3.0, 2.5]},
        _WithHistory({"loss": [2.0, 1.0], "val_loss": [3.0, 2.5]}),
        [{"loss": np.float32(2), "val_loss": af.tensor(3.0), "note": "warm"}, {"loss": 1, "val_loss": 2.5}],
        ({"loss": 2.0, "val_loss": 3.0}, {"loss": 1.0, "val_loss": 2.5, "epoch": "last"}),
    ],
    ids=["dicts", "lists", "object", "other numbers", "an epoch that is a word"],
)
def test_histories_of_all_forms_are_read(history):
    (axes,) = plot_history(history).axes
    assert {line.get_label(): line.get_xydata().tolist() for line in axes.lines} == {
        "training": [[1, 2], [2, 1]],
        "validation": [[1, 3], [2, 2.5]],
    }


def test_metrics_are_chosen_and_renamed():
    figure = plot_history(HISTORY, metrics=["accuracy"], labels={"train_accuracy": "during the epoch"})
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.lines] == ["during the epoch", "test"]
    with pytest.raises(ValueError, match="no perplexity; it has loss, accuracy"):
        plot_history(HISTORY, metrics=["perplexity"])


def test_an_epoch_without_a_metric_leaves_the_rest():
    (axes,) = plot_history(
        [{"step": 10, "loss": 3}, {"step": 20, "loss": 2, "val_loss": 4}, {"step": 30, "loss": 1}]
    ).axes
    assert [line.get_xdata().tolist() for line in axes.lines] == [[10, 20, 30], [20]]
    assert axes.get_xlabel() == "step"


def test_a_run_that_diverged_shows_when():
    (axes,) = plot_history([{"loss": 2.0}, {"loss": 9.0}, {"loss": float("nan")}, {"loss": float("inf")}]).axes
    assert axes.lines[0].get_ydata().tolist() == [2, 9]
    assert "not finite from 3" in texts(axes)


@pytest.mark.parametrize(
    ("history", "words"),
    [
        ([], "history is empty"),
        ({}, "history is empty"),
        ({"loss": []}, "history is empty"),
        ([{"epoch": 1}], "no metric, only epoch"),
        ([{}], "no metric, only empty epochs"),
        ([{"loss": float("nan")}, {"loss": float("inf")}], "no number in the history is finite"),
        ([0.3, 0.2], "a dict for each epoch; number 0 is of type float"),
    ],
)
def test_a_history_without_numbers_says_so(history, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        plot_history(history, tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_charts_come_out_in_every_format_and_the_same_each_time(suffix, tmp_path, predictions):
    for name, draw in {
        "curves": lambda path: plot_history(HISTORY, path, "a title"),
        "confusion": lambda path: plot_confusion(predictions[1], predictions[2], path),
    }.items():
        one, two = (draw(tmp_path / f"{name}{at}.{suffix}") for at in (1, 2))
        assert one == str(tmp_path / f"{name}1.{suffix}")
        data = Path(one).read_bytes()
        assert data == Path(two).read_bytes()
        if suffix == "png":
            assert_drawn(one)
        elif suffix == "svg":
            assert ElementTree.fromstring(data).tag.endswith("svg")
        else:
            assert data.startswith(b"%PDF")


def test_a_suffix_that_is_no_picture_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"curves\.jpg.* should end in \.png, \.svg or \.pdf"):
        plot_history(HISTORY, tmp_path / "curves.jpg")


def test_without_matplotlib_the_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "autograd_ff\[plot\]"'):
        plot_history(HISTORY)


def test_charts_touch_no_state_of_matplotlib(tmp_path):
    program = (
        "import sys, matplotlib\n"
        "from visualize.charts.curves import plot_history\n"
        f"plot_history({{'loss': [2.0, 1.0]}}, {str(tmp_path / 'curves.svg')!r})\n"
        "print('matplotlib.pyplot' in sys.modules, matplotlib.rcParams['svg.hashsalt'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert done.stdout.split() == ["False", "None"]


def test_every_chart_can_be_dark(trained, predictions):
    style = importlib.import_module("visualize.drawing.style")
    theme = getattr(style, "DARK", None)
    if theme is None:
        pytest.skip("there is no dark theme")
    images, labels, outputs = predictions
    for figure in (
        plot_history(HISTORY, theme=theme),
        plot_histograms(trained[2], theme=theme),
        plot_confusion(labels, outputs, theme=theme),
        plot_worst(images, labels, outputs, theme=theme),
    ):
        assert sum(figure.get_facecolor()[:3]) < 1.0


# ---------------------------------------------------------------- histograms


def test_the_recorder_counts_every_number(trained):
    model, _, recorder = trained
    assert len(recorder.snapshots) == 4 * 4 * 2  # epochs, parameters, values and gradients
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    for one in recorder.snapshots:
        assert sum(one.histogram.counts) + one.nonfinite == sizes[one.name]
        assert one.histogram.low < one.histogram.high
    assert {one.step for one in recorder.snapshots} == {0, 1, 2, 3}


def test_a_snapshot_is_numpys_histogram():
    model = nn.Linear(50, 20)
    weights = model.weight.detach().numpy()
    recorder = HistogramRecorder(model, bins=30, parameters="weight")
    recorder.record()
    (one,) = recorder.snapshots  # there is no gradient yet
    assert one.step == 0
    counts, edges = np.histogram(weights.astype(np.float64), 30)
    assert one.histogram == Histogram("values", edges[0], edges[-1], tuple(counts))


@pytest.mark.parametrize(
    ("values", "nonfinite", "zeros"),
    [
        ([0.0] * 8, 0, 8),
        ([3.5] * 8, 0, 0),
        ([np.nan] * 8, 8, 0),
        ([1.0, np.inf, -np.inf, 0.0, 2.0, 0.0, 3.0, 4.0], 2, 2),
    ],
)
def test_numbers_that_are_alike_or_not_finite_are_recorded_too(values, nonfinite, zeros):
    model = nn.Linear(8, 1, bias=False)
    model.weight.data.copy_(af.tensor([values]))
    recorder = HistogramRecorder(model)
    recorder.record(7)
    recorder.record()
    first, second = recorder.snapshots
    assert (first.nonfinite, first.zeros, sum(first.histogram.counts)) == (nonfinite, zeros, 8 - nonfinite)
    assert second.step == 8
    (axes,) = plot_histograms(recorder).axes
    remarks = "\n".join(texts(axes))
    assert ("not finite from 7" in remarks) == bool(nonfinite)
    assert ("zeros at the end" in remarks) == (zeros > 4)


def test_histograms_of_values_and_gradients_stand_side_by_side(trained, tmp_path):
    _, _, recorder = trained
    figure = plot_histograms(recorder)
    assert [axes.get_title("left") for axes in figure.axes] == [
        title for name in ("1.weight", "1.bias", "3.weight", "3.bias") for title in (name, f"{name} · gradient")
    ]
    assert [axes.get_title("left") for axes in plot_histograms(recorder, of="gradient", parameters="3").axes] == [
        "3.weight · gradient",
        "3.bias · gradient",
    ]
    assert all(len(axes.collections) == 4 for axes in figure.axes)  # a ridge for each epoch
    assert_drawn(plot_histograms(recorder.snapshots, tmp_path / "histograms.png", title="a title"))


def test_many_snapshots_are_thinned_and_many_parameters_too():
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(12)))
    recorder = HistogramRecorder(model)
    for _ in range(100):
        recorder.record()
    figure = plot_histograms(recorder)
    assert len(figure.axes) == 16
    labels = [one.get_text() for one in figure.axes[0].get_yticklabels()]
    assert (labels[0], labels[-1]) == ("0", "99")
    assert len(figure.axes[0].collections) <= 24


def test_what_was_not_recorded_cannot_be_drawn(trained):
    model = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"record\(step\)"):
        plot_histograms(HistogramRecorder(model))
    with pytest.raises(ValueError, match="no parameter of Linear is called fc: it has weight, bias"):
        HistogramRecorder(model, parameters=["fc"])
    with pytest.raises(ValueError, match="at least one bin"):
        HistogramRecorder(model, bins=0)
    recorder = HistogramRecorder(model)
    recorder.record()
    with pytest.raises(ValueError, match=r"nothing gradient was recorded; .*backward"):
        plot_histograms(recorder, of="gradient")
    with pytest.raises(ValueError, match="nothing of fc1 was recorded"):
        plot_histograms(recorder, parameters="fc1")
    with pytest.raises(ValueError, match="not 'weights'"):
        plot_histograms(recorder, of="weights")
    assert Snapshot(0, "w", Histogram("values", 0.0, 1.0, (1,)), 0, 0) in {
        Snapshot(0, "w", Histogram("values", 0.0, 1.0, (1,)), 0, 0)
    }


def test_a_recorder_keeps_no_arrays(trained):
    _, _, recorder = trained
    assert not any(isinstance(getattr(one, name), np.ndarray) for one in recorder.snapshots for name in one.__slots__)


# ---------------------------------------------------------------- what a classifier confuses


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_the_confusion_matrix_counts(pairs):
    true, guessed = (np.array(one) for one in zip(*pairs, strict=True))
    matrix = confusion_matrix(true, guessed, 5)
    for row in range(5):
        for column in range(5):
            assert matrix[row, column] == sum(pair == (row, column) for pair in pairs)
    outputs = np.eye(5)[guessed] * 3 - 1
    assert np.array_equal(confusion_matrix(af.tensor(true), af.tensor(outputs)), matrix)


def test_predictions_are_those_of_the_model_in_evaluation_mode(predictions, trained):
    model, data, _ = trained
    images, labels, outputs = predictions
    assert (images.shape, labels.shape, outputs.shape) == ((150, 1, 28, 28), (150,), (150, 10))
    assert np.array_equal(labels, data.targets.numpy())
    assert np.allclose(outputs, model(af.tensor(images)).detach().numpy(), atol=1e-5)
    noisy = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), model[1], model[2], model[3]).train()
    again = predict(noisy, DataLoader(data, 64))[2]
    assert np.allclose(again, outputs, atol=1e-5)
    assert noisy.training
    assert all(parameter.grad is None or parameter.grad_fn is None for parameter in noisy.parameters())


def test_the_confusion_matrix_is_written_out(predictions, trained, tmp_path):
    _, labels, outputs = predictions
    matrix = confusion_matrix(labels, outputs)
    figure = plot_confusion(labels, outputs, classes=trained[1].classes)
    (axes,) = figure.axes
    right = np.trace(matrix)
    assert axes.get_title() == f"{right} of 150 right: {100 * right / 150:.2f} %"
    assert [one.get_text() for one in axes.get_xticklabels()] == [str(digit) for digit in range(10)]
    shown = {
        (round(one.get_position()[0]), round(one.get_position()[1] + 0.12, 6)): one.get_text() for one in axes.texts
    }
    for row, column in np.ndindex(10, 10):
        assert shown.get((column, float(row)), "0") == str(matrix[row, column])
    shares = {
        (round(one.get_position()[0]), round(one.get_position()[1] - 0.22, 6)): one.get_text() for one in axes.texts
    }
    for digit in range(10):
        assert shares[digit, float(digit)] == f"{matrix[digit, digit] / matrix[digit].sum():.1%}"
        assert shown[digit, 9.82] == f"{matrix[digit, digit] / matrix[:, digit].sum():.1%}"
    assert_drawn(plot_confusion(labels, outputs, tmp_path / "confusion.png"))


def test_shades_are_shares_of_the_true_class():
    """A class of ten samples is as dark as one of a thousand."""
    true = [0] * 1000 + [1] * 10
    guessed = [0] * 500 + [1] * 500 + [1] * 5 + [0] * 5
    (axes,) = plot_confusion(true, guessed).axes
    pixels = np.asarray(axes.images[0].get_array())
    assert np.allclose(pixels[0, 0], pixels[1, 1])
    assert np.allclose(pixels[0, 1], pixels[1, 0])
    assert not np.allclose(pixels[0, 0], pixels[0, 1])


def test_classes_that_never_occur_and_many_classes_are_drawn():
    (axes,) = plot_confusion([0, 0], [0, 0], classes=["cat", "dog", "aardvark"]).axes
    assert [one.get_text() for one in axes.get_yticklabels()] == ["cat", "dog", "aardvark"]
    assert texts(axes).count("–") == 2  # nothing was taken for a dog
    numbers = np.arange(100)
    (axes,) = plot_confusion(numbers, numbers[::-1]).axes
    assert axes.images[0].get_array().shape == (100, 100, 3)
    assert texts(axes) == []


@pytest.mark.parametrize(
    ("labels", "predicted", "words"),
    [
        ([], [], "no sample"),
        ([0, 1], [0], "2 labels, but 1 predictions"),
        ([0, -1], [0, 0], "counted from 0, not -1"),
        ([0, 0.5], [0, 0], "counted from 0, not 0.5"),
        ([[0]], [0], r"labels have shape \(n,\), not \(1, 1\)"),
        ([0, 1], [[0.0, 1.0], [np.nan, 1.0]], "the outputs of 1 of 2 samples are NaN"),
        ([0, 2], [[0.0, 1.0], [0.0, 1.0]], "class 2 occurs where there are 2 classes"),
        (["cat"], ["dog"], "labels are numbers, not <U3"),
    ],
)
def test_what_cannot_be_counted_says_so(labels, predicted, words):
    with pytest.raises(ValueError, match=words):
        plot_confusion(labels, predicted)


def test_too_few_names_are_refused():
    with pytest.raises(ValueError, match="class 2 occurs where there are 2 classes"):
        plot_confusion([0, 2], [0, 1], classes=["a", "b"])


# ---------------------------------------------------------------- the worst images


def test_the_worst_images_have_the_highest_losses_worst_first(predictions):
    images, labels, outputs = predictions
    losses = nn.CrossEntropyLoss(reduction="none")(af.tensor(outputs), af.tensor(labels)).numpy()
    order = np.argsort(-losses)[:6]
    assert len(np.unique(losses[order])) == 6
    figure = plot_worst(images, labels, outputs, rows=2, columns=3)
    probabilities = np.exp(outputs - outputs.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    for axes, at in zip(figure.axes, order, strict=True):
        assert np.allclose(axes.images[0].get_array(), images[at, 0] / images[at].max())
        guess = outputs[at].argmax()
        assert axes.get_title().startswith(f"{labels[at]} → {guess}\n")
        if guess != labels[at]:
            assert axes.get_title().endswith(f"→ {probabilities[at, guess]:.0%}")
            assert axes.title.get_color() == TEST
    wrong = np.count_nonzero(outputs.argmax(1) != labels)
    assert f"the 6 highest losses of 150 images ({wrong} wrong)" in figure.get_suptitle()


def test_the_worst_images_are_drawn_into_a_file(predictions, trained, tmp_path):
    images, labels, outputs = predictions
    assert_drawn(plot_worst(images, labels, outputs, tmp_path / "worst.png", classes=trained[1].classes, title="MNIST"))


@pytest.mark.parametrize(
    ("shape", "picture"),
    [((5, 6), (5, 6)), ((36,), (6, 6)), ((1, 5, 6), (5, 6)), ((3, 5, 6), (5, 6, 3)), ((5, 6, 3), (5, 6, 3)), ((5, 6, 1), (5, 6))],
)  # fmt: skip
def test_images_of_all_layouts_are_drawn(shape, picture):
    images = np.random.default_rng(0).normal(size=(2, *shape)) * 100 - 50
    figure = plot_worst(images, [0, 1], [[1.0, 0.0], [1.0, 0.0]])
    assert len(figure.axes) == 2
    pixels = figure.axes[0].images[0].get_array()
    assert pixels.shape == picture
    assert (pixels.min(), pixels.max()) == (0, 1)


def test_a_blank_image_is_drawn():
    figure = plot_worst(np.full((1, 4, 4), 255, np.uint8), [0], [[1.0, 0.0]])
    assert np.all(figure.axes[0].images[0].get_array() == 0)


@pytest.mark.parametrize(
    ("images", "labels", "outputs", "words"),
    [
        (np.zeros((2, 4, 4)), [0], [[1.0, 0.0]], "2 images, 1 labels and 1 outputs"),
        (np.zeros((0, 4, 4)), [], np.zeros((0, 3)), "no image"),
        (np.zeros((1, 7)), [0], [[1.0]], r"no images: shape \(1, 7\)"),
        (np.zeros((1, 4, 4)), [0], [1.0], r"outputs have shape \(n, classes\), not \(1,\)"),
        (np.zeros((1, 4, 4)), [3], [[1.0, 2.0]], "class 3 occurs where the outputs have 2 classes"),
        (np.zeros((1, 4, 4)), [0], [[np.nan, 2.0]], "the outputs of 1 of 1 samples are NaN"),
    ],
)
def test_what_are_no_images_says_so(images, labels, outputs, words):
    with pytest.raises(ValueError, match=words):
        plot_worst(images, labels, outputs)
    with pytest.raises(ValueError, match="at least one row"):
        plot_worst(np.zeros((1, 4, 4)), [0], [[1.0]], rows=0)
