"""The examples about models, each held to its claim on small data."""

from __future__ import annotations

import numpy as np
import pytest

import autograd_ff as af
from autograd_ff import engine
from autograd_ff.examples import adversarial_training, custom_layer, custom_op, logistic_regression, uncertainty
from autograd_ff.testing import gradcheck
from autograd_ff.training import Trainer


def last_line(capsys):
    """What an example says in the end: the sentence, without the lines that name files."""
    printed = capsys.readouterr().out.splitlines()
    return [line for line in printed if line and not line.startswith(("picture:", "files:", "no picture:"))][-1]


# ---------------------------------------------------------------- a layer of one's own


@pytest.fixture(scope="module")
def own_layer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("layer")
    return custom_layer.run(samples=1500, epochs=3, output=folder), folder


def test_custom_layer_is_checked_trained_and_loaded(own_layer):
    result, _ = own_layer
    assert result.layer_check.passed
    assert {entry.input for entry in result.layer_check.entries} == {"x", "gate", "up", "down"}
    assert result.network_check.passed
    assert len(result.network_check.entries) == len(list(custom_layer.network().parameters()))
    assert result.accuracy[-1] > 0.8
    assert result.reloaded_equal


def test_custom_layer_leaves_pictures_and_weights(own_layer):
    pytest.importorskip("pygraphviz")
    _, folder = own_layer
    for name in ("custom_layer.png", "custom_layer_network.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    assert {"1.feedforward.gate", "2.norm.weight"} <= set(af.load(folder / "custom_layer.safetensors"))


def test_swiglu_is_its_formula():
    af.manual_seed(3)
    layer = custom_layer.SwiGLU(3, 5)
    assert repr(layer) == "SwiGLU(3, hidden=5)"
    x = af.randn(2, 3)
    gate, up, down = (one.detach().numpy() for one in (layer.gate, layer.up, layer.down))
    z = x.numpy() @ gate
    expected = (z / (1 + np.exp(-z)) * (x.numpy() @ up)) @ down
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-5)


def test_the_check_of_the_custom_layer_can_fail():
    class Cut(custom_layer.SwiGLU):
        def forward(self, x):
            return (af.nn.functional.silu(x @ self.gate).detach() * (x @ self.up)) @ self.down

    assert not gradcheck(Cut(4, 6), af.randn(3, 4, requires_grad=True)).passed


def test_custom_layer_says_what_it_saw(tmp_path, capsys):
    assert custom_layer.main(["--samples", "300", "--epochs", "1", "--output", str(tmp_path)]) == 0
    sentence = " ".join(capsys.readouterr().out.splitlines()[-2:])
    assert "100,234 parameters agree" in sentence
    assert "bit for bit" in sentence


# ---------------------------------------------------------------- an operation of one's own


@pytest.fixture
def op_table():
    """The table without what the example entered."""
    yield
    op = engine.OPS.pop("log_cosh", None)
    if op is not None:
        engine.TABLE.pop((op.function, op.method))
    custom_op.log_cosh.cache_clear()


@pytest.mark.usefixtures("op_table")
def test_custom_op_finds_the_mistake_that_the_usual_check_misses():
    outcomes = custom_op.run(examples=8)
    wrong = outcomes.pop("Function, wrong")
    assert wrong.seems_right
    assert wrong.report.verdict == "FAIL"
    assert wrong.report.culprit.op == "Forgetful"
    assert wrong.report.culprit.cause == "the upstream gradient is not used"
    assert "custom_op.py" in str(wrong.report.culprit.source)
    assert wrong.property is False
    assert set(outcomes) == {"log(cosh(x))", "Function", "primitive"}
    for name, one in outcomes.items():
        assert one.report.passed, name
        assert one.second_order.passed, name
        assert one.property is True, name
        assert one.at_1000 == (np.inf if name == "log(cosh(x))" else pytest.approx(1000 - np.log(2)))


@pytest.mark.usefixtures("op_table")
def test_custom_op_without_hypothesis(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "hypothesis", None)
    assert custom_op.main(["--examples", "3"]) == 0
    printed = capsys.readouterr().out
    assert "(no Hypothesis)" in printed
    assert "the right ones pass every check" in printed
    assert "lets the wrong version pass; gradcheck names Forgetful" in printed


# ---------------------------------------------------------------- attacks


@pytest.fixture(scope="module")
def hardened():
    return adversarial_training.run(samples=2500, epochs=5, tests=300, width=128)


def test_attacks_break_a_network_that_was_not_trained_on_them(hardened):
    plain, robust = hardened["on digits"], hardened["on attacked digits"]
    assert plain.clean > 0.8
    assert plain.pgd <= plain.fgsm < 0.4
    assert robust.pgd > plain.pgd + 0.3
    assert robust.fgsm > plain.fgsm + 0.2
    assert robust.clean > 0.7


@pytest.mark.parametrize("attack", [adversarial_training.fgsm, adversarial_training.pgd])
def test_an_attack_stays_in_its_box_raises_the_loss_and_leaves_the_weights_alone(hardened, attack):
    model = hardened["on digits"].model
    images, labels = adversarial_training.pixels(50, train=False)
    before = [None if one.grad is None else one.grad.tolist() for one in model.parameters()]
    attacked = attack(model, images, labels, 0.07)
    assert before == [None if one.grad is None else one.grad.tolist() for one in model.parameters()]
    assert not attacked.requires_grad
    assert (attacked - images).abs().max().item() <= 0.07 + 1e-6
    assert attacked.min().item() >= 0
    assert attacked.max().item() <= 1
    losses = [
        af.nn.functional.cross_entropy(model(one), labels, reduction="none").detach().numpy()
        for one in (images, attacked)
    ]
    assert (losses[1] >= losses[0] - 1e-6).mean() > 0.98


def test_adversarial_trainer_evaluates_on_the_images_themselves(hardened):
    model = hardened["on attacked digits"].model
    images, labels = adversarial_training.pixels(50, train=False)
    both = [
        kind(model, af.nn.CrossEntropyLoss()).evaluate(images, labels)["loss"]
        for kind in (Trainer, adversarial_training.AdversarialTrainer)
    ]
    assert both[0] == both[1]


def test_adversarial_training_says_what_it_saw(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    arguments = ["--samples", "300", "--epochs", "1", "--tests", "50", "--output", str(tmp_path)]
    assert adversarial_training.main(arguments) == 0
    assert "A change of at most 0.1 takes the network from" in last_line(capsys)
    assert (tmp_path / "adversarial_training.png").read_bytes().startswith(b"\x89PNG")


# ---------------------------------------------------------------- logistic regression


def test_logistic_regression_finds_the_solver_s_optimum():
    result = logistic_regression.run(samples=800, steps=400, l2=0.01)
    assert result.objective == pytest.approx(result.best_objective, rel=1e-5)
    assert result.similarity > 0.9999
    assert result.losses[0] == pytest.approx(np.log(2))
    assert result.accuracy > 0.9
    assert result.auc > 0.97
    (_, even, _, even_recall), (_, wanted, _, wanted_recall) = result.thresholds
    assert wanted < even
    assert wanted_recall > even_recall


def test_logistic_regression_stopped_early_says_so(capsys, tmp_path):
    """The figures are computed: far from the optimum they tell that it is far."""
    pytest.importorskip("matplotlib")
    assert logistic_regression.main(["--samples", "200", "--steps", "10", "--output", str(tmp_path)]) == 0
    assert (tmp_path / "logistic_regression.png").exists()
    sentence = last_line(capsys)
    cosine = float(sentence.split("solver's is ")[1].split(". ")[0])
    assert 0 < cosine < 0.95


def test_area_and_thresholds_of_logistic_regression_by_counting():
    result = logistic_regression.run(samples=300, steps=50)
    positive, negative = (result.probabilities[result.labels == label] for label in (1, 0))
    pairs = positive[:, None] - negative[None, :]
    assert result.auc == pytest.approx(np.mean(pairs > 0) + np.mean(pairs == 0) / 2, abs=1e-6)
    for _, threshold, precision, recall in result.thresholds:
        reported = result.probabilities > threshold
        assert precision == pytest.approx(result.labels[reported].mean())
        assert recall == pytest.approx(reported[result.labels == 1].mean())


def test_logistic_regression_on_breast_cancer(tmp_path, capsys):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    result = logistic_regression.run(data="cancer", steps=800)
    assert result.objective == pytest.approx(result.best_objective, rel=1e-5)
    assert result.auc > 0.98
    logistic_regression.draw(str(tmp_path / "cancer.png"), result)


def test_without_scikit_learn_the_way_out_is_named(monkeypatch, capsys):
    monkeypatch.setattr(logistic_regression.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        logistic_regression.main(["--data", "cancer"])
    assert "pip install scikit-learn" in capsys.readouterr().err


# ---------------------------------------------------------------- uncertainty


@pytest.fixture(scope="module")
def uncertain():
    return uncertainty.run(samples=3000, epochs=6, members=4, tests=1500)


def test_predicted_deviations_are_those_that_occur(uncertain):
    predicted, occurring = uncertain.ensemble.reliability(uncertain.targets, groups=5)
    assert occurring[-1] > 1.8 * occurring[0]
    np.testing.assert_allclose(occurring, predicted, rtol=0.35)
    assert 0.6 < uncertain.ensemble.within(uncertain.targets, 1) < 0.82
    assert 0.9 < uncertain.ensemble.within(uncertain.targets, 2) < 0.99


def test_an_ensemble_is_better_than_one_network_and_than_one_variance(uncertain):
    targets = uncertain.targets
    assert uncertain.ensemble.nll(targets) < uncertain.single.nll(targets)
    assert uncertain.ensemble.nll(targets) < uncertain.constant.nll(targets)


def test_members_disagree_on_what_they_have_not_seen(uncertain):
    known, unknown = (np.median(np.sqrt(one.ignorance)) for one in (uncertain.ensemble, uncertain.negatives))
    assert unknown > 2 * known
    assert not uncertain.single.ignorance.any()


def test_variance_of_an_ensemble_is_that_of_the_mixture():
    class Fixed(Trainer):
        def predict(self, inputs, **options):
            return af.tensor([[self.mean, np.log(self.variance)]])

    members = []
    for mean, variance in ((0.0, 1.0), (2.0, 4.0)):
        member = Fixed(af.nn.Identity())
        member.mean, member.variance = mean, variance
        members.append(member)
    mixed = uncertainty.Prediction.of(members, np.zeros((1, 1)))
    draws = np.random.default_rng(0).normal([0.0, 2.0], [1.0, 2.0], (200_000, 2)).ravel()
    assert mixed.mean[0] == pytest.approx(1.0)
    assert mixed.deviation[0] == pytest.approx(draws.std(), rel=0.01)


def test_uncertainty_says_what_it_saw(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    arguments = ["--samples", "300", "--epochs", "1", "--members", "2", "--output", str(tmp_path)]
    assert uncertainty.main(arguments) == 0
    assert "lie within two of its deviations" in last_line(capsys)
    assert (tmp_path / "uncertainty.png").read_bytes().startswith(b"\x89PNG")
