"""Keras's layers over `nn`: building, naming, weights, penalties, freezing, writing down, and layers of one's own."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import keras, nn
from autograd_ff.errors import ModuleError, ShapeError
from autograd_ff.keras import layers
from autograd_ff.keras.naming import reset_names
from autograd_ff.testing import assert_gradients


def every_layer():
    """One layer of each kind, with the shape of a batch for it."""
    return [
        (layers.Dense(3, activation="gelu", kernel_regularizer="l2", kernel_initializer="he_normal"), (4, 6)),
        (layers.Dense(3, use_bias=False, activity_regularizer="l1", input_shape=(6,)), (4, 2, 6)),
        (layers.Activation("tanh"), (4, 6)),
        (layers.ReLU(max_value=2.0), (4, 6)),
        (layers.LeakyReLU(0.1), (4, 6)),
        (layers.ELU(), (4, 6)),
        (layers.PReLU(shared_axes=[1]), (4, 2, 6)),
        (layers.Softmax(), (4, 6)),
        (layers.Dropout(0.5, seed=3), (4, 6)),
        (layers.GaussianNoise(0.1), (4, 6)),
        (layers.ActivityRegularization(l1=0.1, l2=0.2), (4, 6)),
        (layers.BatchNormalization(momentum=0.9, scale=False), (4, 6)),
        (layers.BatchNormalization(axis=1), (4, 2, 6)),
        (layers.LayerNormalization(axis=[1, 2]), (4, 2, 6)),
        (layers.RMSNormalization(), (4, 6)),
        (layers.Flatten(), (4, 2, 6)),
        (layers.Reshape((3, -1)), (4, 6)),
        (layers.Permute((2, 1)), (4, 2, 6)),
        (layers.Rescaling(1 / 255, offset=[0.1] * 6), (4, 6)),
        (layers.Identity(), (4, 6)),
        (layers.Embedding(9, 5), (4, 6)),
    ]


EVERY = range(len(every_layer()))


def a_batch(layer, shape):
    rng = np.random.default_rng(0)
    return af.tensor(rng.integers(0, 9, shape) if isinstance(layer, layers.Embedding) else rng.normal(size=shape)).to(
        "int64" if isinstance(layer, layers.Embedding) else "float32"
    )


@pytest.mark.parametrize("number", EVERY)
def test_a_layer_says_its_shapes_and_writes_itself_down(number):
    layer, shape = every_layer()[number]
    x = a_batch(layer, shape)
    said = layer.compute_output_shape((None, *shape[1:])) if not isinstance(layer, layers.PReLU) else None
    out = layer(x)
    assert layer.built
    assert layer.input_shape == (None, *shape[1:])
    assert layer.output_shape == (None, *out.shape[1:])
    assert said in (None, layer.output_shape)
    config = json.loads(json.dumps(layers.serialize(layer)))
    again = layers.deserialize(config)
    assert type(again) is type(layer)
    assert again.get_config() == layer.get_config()
    again.build(layer.input_shape)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(x).detach().numpy(), out.detach().numpy())


@pytest.mark.parametrize("number", EVERY)
def test_a_layer_is_a_module_whose_copy_and_state_dict_are_its_own(number):
    layer, shape = every_layer()[number]
    x = a_batch(layer, shape)
    out = layer(x).detach().numpy()
    twin = copy.deepcopy(layer)
    for weight in layer.named_weights():
        weight.assign(np.full(weight.shape, 0.5))
    np.testing.assert_array_equal(twin(x).detach().numpy(), out)
    twin.load_state_dict(layer.state_dict())
    for mine, other in zip(twin.get_weights(), layer.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)
    assert sum(array.size for array in layer.get_weights()) == layer.count_params()


@pytest.mark.parametrize("number", EVERY)
def test_gradients_of_layers(number):
    layer, shape = every_layer()[number]
    if isinstance(layer, layers.Embedding):
        pytest.skip("its input is no number to differentiate by")
    layer = type(layer).from_config({**layer.get_config(), "dtype": "float64"})
    layer.build((None, *shape[1:]))
    x = af.tensor(np.random.default_rng(1).normal(size=shape), requires_grad=True)
    assert_gradients(lambda x: (layer(x) ** 2).sum(), (x,))


@settings(max_examples=20)
@given(st.integers(1, 5), st.integers(1, 5), st.booleans())
def test_dense_is_linear_in_keras_layout(inputs, units, bias):
    layer = layers.Dense(units, use_bias=bias)
    x = np.random.default_rng(0).normal(size=(3, inputs)).astype(np.float32)
    out = layer(x).detach().numpy()
    kernel, *rest = layer.get_weights()
    np.testing.assert_allclose(out, x @ kernel + (rest[0] if bias else 0), rtol=1e-5, atol=1e-6)
    assert isinstance(layer.linear, nn.Linear)
    assert layer.linear.weight.shape == (units, inputs)
    np.testing.assert_array_equal(layer.kernel.detach().numpy(), kernel)
    limit = (6 / (inputs + units)) ** 0.5  # glorot_uniform
    assert np.abs(kernel).max() <= limit


def test_names_are_counted_by_class_and_forgotten():
    reset_names()
    names = [layers.Dense(1).name, layers.Dense(1).name, layers.ReLU().name, layers.Dense(1, name="mine").name]
    assert names == ["dense", "dense_1", "re_lu", "mine"]
    assert layers.Dense(1).name == "dense_2"
    keras.backend.clear_session()
    assert layers.Dense(1).name == "dense"


def test_a_layer_drops_only_in_training():
    x = af.ones(1000)
    for layer in (layers.Dropout(0.5), layers.GaussianNoise(0.5), layers.Dropout(0.5, seed=1)):
        assert af.equal(layer(x), x)
        assert not af.equal(layer(x, training=True), x)
        assert not layer.training
        layer.train()
        assert not af.equal(layer(x), x)
        assert af.equal(layer(x, training=False), x)


def test_seeds_make_streams_of_their_own():
    first, second = (layers.Dropout(0.5, seed=7) for _ in range(2))
    x = af.ones(50)
    one = first(x, training=True)
    assert af.equal(one, second(x, training=True))
    assert not af.equal(one, first(x, training=True))


def test_split_gives_what_the_activation_works_on():
    x = af.randn(4, 6)
    dense = layers.Dense(3, activation="softmax")
    logits, name = dense.split(x)
    assert name == "softmax"
    np.testing.assert_allclose(logits.softmax(-1).detach().numpy(), dense(x).detach().numpy(), rtol=1e-6)
    assert layers.Dense(3).split(x)[1] == "linear"
    assert layers.Activation("sigmoid").split(x)[1] == "sigmoid"
    assert layers.Softmax().split(x)[1] == "softmax"
    assert layers.Softmax(axis=0).split(x)[1] == "linear"
    assert layers.Dense(3, activation=lambda x: x.softmax(-1)).split(x)[1] == "linear"
    seen = []
    dense.register_forward_hook(lambda layer, args, out: seen.append(out))
    out, name = dense.split(x)
    assert name == "linear"
    assert seen[0] is out


def test_penalties_are_those_of_the_weights_and_of_the_last_call():
    layer = layers.Dense(2, kernel_regularizer=keras.regularizers.L2(0.1), activity_regularizer="l1")
    assert layer.losses == []
    x = af.ones(4, 3)
    for _ in range(2):
        out = layer(x)
    kernel = layer.get_weights()[0]
    values = sorted(loss.item() for loss in layer.losses)
    expected = sorted([0.1 * (kernel**2).sum(), 0.01 * out.abs().sum().item() / 4])
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    sum(layer.losses).backward()
    assert layer.linear.weight.grad is not None


def test_freezing():
    layer = layers.Dense(2)
    layer.trainable = False
    layer(af.ones(1, 3))
    assert layer.trainable_weights == []
    assert len(layer.non_trainable_weights) == 2
    assert not layer.linear.weight.requires_grad
    layer.trainable = True
    assert len(layer.trainable_weights) == 2
    norm = layers.BatchNormalization(trainable=False)
    norm(af.randn(8, 3) + 5, training=True)
    assert norm.get_weights()[2].tolist() == [0.0, 0.0, 0.0]
    norm.trainable = True
    norm(af.randn(8, 3) + 5, training=True)
    assert norm.get_weights()[2].tolist() != [0.0, 0.0, 0.0]
    assert [weight.name for weight in norm.named_weights()] == ["gamma", "beta", "moving_mean", "moving_variance"]
    assert len(norm.non_trainable_weights) == 2


class Block(layers.Layer):
    """A layer of layers, some in a list, with a weight of its own and one that is not trained."""

    def __init__(self, units, depth=2, **options):
        super().__init__(**options)
        self.units = units
        self.inner = [layers.Dense(units, activation="relu") for _ in range(depth)]
        self.norm = nn.LayerNorm(units)

    def build(self, input_shape):
        self.scale = self.add_weight((self.units,), "ones", name="scale", regularizer="l2")
        self.seen = self.add_weight((), "zeros", name="seen", trainable=False)

    def call(self, inputs, training=None):
        self.modes.append(training)
        for layer in self.inner:
            inputs = layer(inputs)
        self.add_loss(inputs.mean())
        return self.norm(inputs) * self.scale

    modes: list


def test_a_layer_of_ones_own():
    block = Block(3, name="block")
    block.__dict__["modes"] = []
    x = af.randn(4, 5)
    assert block(x).shape == (4, 3)
    block(x, training=True)
    assert block.modes == [False, True]
    names = [weight.name for weight in block.named_weights()]
    assert names == ["scale", "seen", "kernel", "bias", "kernel", "bias", "weight", "bias"]
    assert block.count_params() == 3 + 1 + (15 + 3) + (9 + 3) + 6
    assert len(block.trainable_weights) == 7
    assert len(block.losses) == 2  # not three: those of the call before are gone
    assert "scale" in dict(block.named_parameters())
    assert "seen" in dict(block.named_buffers())
    assert block.inner[1].built
    assert block.get_config() == {"name": "block", "trainable": True, "dtype": "float32", "units": 3}
    again = layers.deserialize(layers.serialize(block), {"Block": Block})
    assert again.units == 3
    assert block.compute_output_shape((None, 5)) == (None, 3)


def test_a_weight_that_is_not_assigned_is_registered():
    class Shift(layers.Layer):
        def build(self, input_shape):
            self.add_weight((2,), "zeros", name="shift")

        def call(self, inputs):
            return inputs + self.shift

    layer = Shift()
    assert layer(af.ones(1, 2)).tolist() == [[1.0, 1.0]]
    assert list(layer.state_dict()) == ["shift"]


def test_symbols_go_through_layers():
    x = layers.Input((28, 28), name="image")
    y = layers.Dense(10)(layers.Flatten()(x))
    assert y.shape == (None, 10)
    assert isinstance(y.layer, layers.Dense)
    assert y.parents[0].parents[0] is x
    assert layers.Concatenate()([y, y]).shape == (None, 20)
    assert layers.Input(batch_shape=(8, 3)).shape == (8, 3)
    assert layers.Input((3,), batch_size=8).shape == (8, 3)
    assert layers.Dense(2, input_dim=7).declared_shape == (None, 7)


def test_bytes_and_arrays_and_float64_go_in():
    images = np.random.default_rng(0).integers(0, 256, (4, 2, 3), dtype=np.uint8)
    scaled = layers.Rescaling(1 / 255)(images)
    assert scaled.dtype == np.float32
    assert 0 <= scaled.min().item() <= scaled.max().item() <= 1
    assert layers.Dense(2)(layers.Flatten()(images)).shape == (4, 2)
    assert layers.Dense(2)(np.ones((4, 3))).dtype == np.float32
    assert layers.Dense(2, dtype="float64")(af.ones(4, 3, dtype="float64")).dtype == np.float64


def test_one_sample_can_be_normalised():
    layer = layers.BatchNormalization(beta_initializer="ones")
    assert layer(af.tensor([[5.0, 7.0]]), training=True).tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: layers.Dense(0), ShapeError, "1 or more"),
        (lambda: layers.Dense(3, activaton="relu"), ModuleError, "no argument 'activaton'(.|\n)*activation"),
        (lambda: layers.Dense(3, activation="rleu"), ShapeError, "did you mean 'relu'"),
        (lambda: layers.Dense(3, kernel_initializer="glorot"), ShapeError, "did you mean 'glorot_"),
        (lambda: layers.Dense(3, kernel_regularizer="l3"), ShapeError, "did you mean 'l"),
        (lambda: layers.Dense(3, kernel_constraint="max_norm"), ModuleError, "kernel_constraint"),
        (lambda: layers.Dense(3)(af.ones(4)), ShapeError, "batch of one"),
        (lambda: layers.Dense(3).count_params(), ModuleError, "not built"),
        (lambda: layers.Dense(3).set_weights([np.ones((2, 3))]), ShapeError, "not built yet"),
        (lambda: layers.Dropout(1.5), ShapeError, "1.5"),
        (lambda: layers.Dropout("half"), ShapeError, "half"),
        (lambda: layers.Embedding(5, 2, mask_zero=True), ModuleError, "mask"),
        (lambda: layers.Embedding(5, 2)(af.tensor([7])), IndexError, "7 is out of range"),
        (lambda: layers.Reshape((4,))(af.ones(2, 6)), ShapeError, r"\(4,\)"),
        (lambda: layers.LayerNormalization(axis=1)(af.ones(2, 3, 4)), ShapeError, "last axes"),
        (lambda: layers.BatchNormalization(axis=3)(af.ones(2, 3)), ShapeError, "axis 3"),
        (lambda: layers.Add()(af.ones(2)), ShapeError, "list of two"),
        (lambda: layers.Input(), ShapeError, "shape"),
        (lambda: layers.Input((3, "x")), ShapeError, "whole numbers"),
        (lambda: layers.Lambda(abs).get_config(), ModuleError, "Lambda"),
        (lambda: layers.deserialize({"class_name": "Dnse", "config": {}}), ModuleError, "did you mean 'Dense'"),
        (lambda: layers.Layer()(af.ones(1)), NotImplementedError, "call"),
        (lambda: layers.Permute((0, 1)), ShapeError, "from 1 to 2"),
    ],
)
def test_errors_say_what_is_wrong_and_the_way_out(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_weights_of_other_shapes_leave_the_layer_as_it_was():
    layer = layers.Dense(2)
    layer.build((None, 3))
    before = layer.get_weights()
    with pytest.raises(ShapeError, match=r"'bias' of dense.* has shape \(2,\), and the given one \(3,\)"):
        layer.set_weights([np.ones((3, 2)), np.ones(3)])
    for mine, other in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_the_moving_variance_is_that_which_normalises():
    x = np.array([[1.0], [3.0], [8.0]], np.float32)
    for unbiased, factor in ((False, 1.0), (True, 1.5)):
        norm = nn.BatchNorm1d(1, momentum=1.0, unbiased=unbiased)
        norm(af.tensor(x))
        assert norm.running_var.item() == pytest.approx(factor * x.var(), rel=1e-6)
    layer = layers.BatchNormalization(momentum=0.0)
    layer(x, training=True)
    assert layer.moving_variance.item() == pytest.approx(x.var(), rel=1e-6)
