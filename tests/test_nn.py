"""Modules: what is registered, what is saved, what is refused."""

import copy
import pickle

import numpy as np
import pytest

from fastprop import Parameter, Tensor, nn
from fastprop import functional as F
from fastprop import random as fr


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inner = nn.Dense(width, width, activation="tanh")

    def forward(self, x):
        return x + self.inner(x)


class TwoInputs(nn.Module):
    """Several inputs and outputs, and a layer that is used twice."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Dense(3, 4)
        self.heads = nn.ModuleList([nn.Dense(4, 1), nn.Dense(4, 2)])

    def forward(self, a, b, scale=1.0):
        h = F.tanh(self.shared(a) + self.shared(b)) * scale
        return tuple(head(h) for head in self.heads)


def batch(rows, columns, dtype=np.float32):
    return np.random.default_rng(0).normal(size=(rows, columns)).astype(dtype)


def dense_values(layer, x):
    return x @ layer.weight.data + (0 if layer.bias is None else layer.bias.data)


# -- registration ---


def test_parameters_are_found_under_attribute_names():
    model = nn.Sequential(
        nn.Dense(3, 4, activation="relu"), Residual(4), nn.Dense(4, 2, bias=False)
    )
    assert [name for name, _ in model.named_parameters()] == [
        "0.weight",
        "0.bias",
        "1.inner.weight",
        "1.inner.bias",
        "2.weight",
    ]
    assert model.count_parameters() == 12 + 4 + 16 + 4 + 8
    assert [p.name for p in model.parameters()][2] == "1.inner.weight"
    assert "1.inner.weight" in repr(next(iter(model[1].parameters())))


def test_a_name_seen_from_further_outside_stays():
    inner = nn.Dense(2, 2)
    assert [name for name, _ in inner.named_parameters()] == ["weight", "bias"]
    outer = nn.Sequential(nn.Sequential(inner))
    list(outer.parameters())
    assert inner.weight.name == "0.0.weight"
    list(inner.parameters())
    assert inner.weight.name == "0.0.weight"


def test_a_shared_layer_counts_once_and_is_saved_under_both_names():
    layer = nn.Dense(3, 3)
    model = nn.Sequential(layer, nn.Tanh(), layer)
    assert len(list(model.parameters())) == 2
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert len(list(model.modules())) == 3


def test_a_shared_parameter_counts_once():
    a, b = nn.Dense(3, 3), nn.Dense(3, 3)
    b.weight = a.weight
    model = nn.Sequential(a, b)
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias", "1.bias"]


def test_replacing_and_deleting_attributes():
    model = nn.Module()
    model.layer = nn.Dense(2, 2)
    model.scale = Parameter(np.ones(3))
    model.layer = Parameter(np.zeros(1))
    assert [name for name, _ in model.named_parameters()] == ["scale", "layer"]
    model.scale = None
    del model.layer
    assert list(model.parameters()) == []
    with pytest.raises(AttributeError, match="no attribute 'layer'"):
        model.layer  # noqa: B018


def test_forgotten_super_init_is_said():
    class Forgot(nn.Module):
        def __init__(self):
            self.width = 3
            self.layer = nn.Dense(2, 2)

    with pytest.raises(RuntimeError, match=r"Forgot.__init__: call super\(\).__init__\(\) before"):
        Forgot()

    class Empty(nn.Module):
        def __init__(self):
            self.width = 3

    with pytest.raises(RuntimeError, match=r"call super\(\).__init__\(\)"):
        list(Empty().parameters())


@pytest.mark.parametrize("wrap", [list, tuple, lambda items: dict(enumerate(items))])
def test_modules_hidden_in_a_container_are_refused(wrap):
    model = nn.Module()
    with pytest.raises(TypeError, match=r"Module.layers: .* hides its modules .*ModuleList"):
        model.layers = wrap([nn.Dense(2, 2)])
    with pytest.raises(TypeError, match="hides its parameters"):
        model.scales = wrap([Parameter(np.zeros(2))])
    model.layer = nn.Dense(2, 2)
    model.order = wrap([model.layer])  # known already
    model.sizes = wrap([1, 2])


def test_module_inside_itself_ends():
    model = nn.Module()
    model.layer = nn.Dense(2, 2)
    model.layer.parent = model
    assert len(list(model.modules())) == 2
    assert list(model.state_dict()) == ["layer.weight", "layer.bias"]


def test_train_and_eval_reach_all_modules():
    model = nn.Sequential(nn.Dense(2, 2), Residual(2))
    assert model.eval() is model
    assert not any(module.training for module in model.modules())
    model.train()
    assert all(module.training for module in model.modules())


def test_zero_grad():
    model = nn.Dense(2, 1)
    F.sum(model(batch(3, 2))).backward()
    assert model.weight.grad is not None
    model.zero_grad()
    assert model.weight.grad is None
    assert model.bias.grad is None


# -- calling ---


def test_arrays_and_tensors_give_the_same():
    model = nn.Sequential(
        nn.Dense(3, 4, activation="relu", dtype="float64"), nn.Dense(4, 2, dtype="float64")
    )
    x = batch(5, 3, np.float64)
    y = model(x)
    assert isinstance(y, Tensor)
    assert y.dtype == np.float64
    np.testing.assert_array_equal(y.data, model(Tensor(x)).data)
    np.testing.assert_array_equal(
        y.data, model(x.astype(np.float32).astype(np.float64) * 0 + x).data
    )
    h = np.maximum(dense_values(model[0], x), 0)
    np.testing.assert_allclose(y.data, dense_values(model[1], h), rtol=1e-12, atol=1e-12)


def test_arrays_of_other_dtypes_are_converted():
    model = nn.Dense(2, 2)
    x = np.array([[1, 2], [3, 4]])
    for other in (x, x.astype(np.uint8), x.astype(np.float64), x > 2, np.asfortranarray(x)):
        assert model(other).dtype == np.float32
    for bad in (x.astype(complex), x.astype(str), x.astype(object)):
        with pytest.raises(TypeError, match="Dense: expects real numbers"):
            model(bad)


def test_a_tensor_of_another_dtype_is_refused():
    with pytest.raises(TypeError, match="dtype"):
        nn.Dense(2, 2)(Tensor(np.zeros((1, 2))))


@pytest.mark.parametrize("value", [np.ones((3, 4)), Tensor(np.ones((3, 4))), 1.0, nn.Dense(3, 4)])
def test_numbers_do_not_take_the_place_of_a_parameter(value):
    """They would no longer be trained, and nobody would notice."""
    layer = nn.Dense(3, 4)
    with pytest.raises(
        TypeError, match=r"Dense\.weight is a Parameter, got .*write \.weight\.data"
    ):
        layer.weight = value
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    layer.weight.data = np.ones((3, 4))
    layer.weight = Parameter(np.zeros((3, 4)))
    layer.bias = None
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    assert not layer.weight.data.any()
    norm = nn.BatchNorm(3)
    with pytest.raises(TypeError, match=r"BatchNorm\.running_mean is a Buffer"):
        norm.running_mean = np.zeros(3)


def test_several_inputs_and_outputs():
    model = TwoInputs()
    a, b = batch(5, 3), batch(5, 3) + 1
    y, z = model(a, b, scale=2.0)
    assert (y.shape, z.shape) == ((5, 1), (5, 2))
    assert len(model.state_dict()) == 6
    h = 2 * np.tanh(dense_values(model.shared, a) + dense_values(model.shared, b))
    np.testing.assert_allclose(z.data, dense_values(model.heads[1], h), rtol=1e-5, atol=1e-6)


def test_gradient_of_a_shared_layer_is_the_sum_over_its_uses():
    layer = nn.Dense(3, 3, dtype="float64")
    x = batch(4, 3, np.float64)
    F.sum(layer(layer(x))).backward()
    W, b = layer.weight.data, layer.bias.data
    ones = np.ones((4, 3))
    expected = (x @ W + b).T @ ones + x.T @ (ones @ W.T)
    np.testing.assert_allclose(layer.weight.grad.data, expected, rtol=1e-12)


def test_forward_must_be_defined():
    with pytest.raises(NotImplementedError, match="Module: define forward"):
        nn.Module()(np.zeros((1, 1)))
    with pytest.raises(TypeError, match="ModuleList"):
        nn.ModuleList()(np.zeros((1, 1)))


# -- containers ---


def test_sequential_is_a_sequence():
    model = nn.Sequential(nn.Dense(2, 3), nn.ReLU(), nn.Dense(3, 1))
    assert len(model) == 3
    assert model[-1] is model[2]
    assert [type(m).__name__ for m in model] == ["Dense", "ReLU", "Dense"]
    assert model[:2][0] is model[0]
    model.append(nn.Tanh())
    assert isinstance(model[3], nn.Tanh)
    with pytest.raises(IndexError, match="Sequential: index 9 is out of range for 4"):
        model[9]


def test_empty_sequential_is_the_identity():
    x = Tensor(batch(2, 2))
    assert nn.Sequential()(x) is x


def test_module_list():
    layers = nn.ModuleList(nn.Dense(2, 2) for _ in range(2))
    layers.extend([nn.Tanh(), nn.Dense(2, 1)])
    assert len(layers) == 4
    assert len(layers[1:]) == 3
    assert list(layers.state_dict())[-1] == "3.bias"


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (nn.ReLU, r"item 1 must be a Module, got ReLU; make one with ReLU\(...\)"),
        ([nn.ReLU()], r"got list; write Sequential\(\*modules\)"),
        (F.relu, "got function; put the function"),
        ("relu", "got str$"),
    ],
)
def test_sequential_takes_modules_only(item, message):
    with pytest.raises(TypeError, match=message):
        nn.Sequential(nn.Dense(2, 2), item)


def test_extend_adds_nothing_if_an_item_is_wrong():
    layers = nn.ModuleList()
    with pytest.raises(TypeError, match="item 1"):
        layers.extend([nn.ReLU(), 3])
    assert len(layers) == 0


def test_flatten():
    x = np.arange(24.0).reshape(2, 3, 4)
    assert nn.Flatten()(x).shape == (2, 12)
    assert nn.Flatten()(x[:, 0, 0]).shape == (2, 1)
    with pytest.raises(ValueError, match="scalar"):
        nn.Flatten()(np.array(1.0))


# -- state ---


def test_state_dict_round_trip():
    fr.seed(0)
    model, other = Residual(3), Residual(3)
    x = batch(4, 3)
    assert not np.array_equal(model(x).data, other(x).data)
    result = other.load_state_dict(model.state_dict())
    assert result == ([], [])
    np.testing.assert_array_equal(model(x).data, other(x).data)


def test_state_dict_is_a_copy_and_loading_keeps_the_arrays():
    model = nn.Dense(2, 2)
    saved = model.state_dict()
    before = model.weight.data
    saved["weight"][...] = 7
    assert not np.any(model.weight.data == 7)
    model.load_state_dict(saved)
    assert model.weight.data is before
    np.testing.assert_array_equal(before, 7)


def test_loading_converts_numbers():
    model = nn.Dense(2, 1)
    model.load_state_dict({"weight": [[1], [2]], "bias": np.array([0.5], dtype=np.float64)})
    assert model.weight.dtype == np.float32
    np.testing.assert_array_equal(model.weight.data, [[1], [2]])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: s.pop("0.bias"), ValueError, "missing '0.bias'"),
        (lambda s: s.update(extra=np.zeros(1)), ValueError, "unexpected 'extra'"),
        (
            lambda s: s.update({"1.weight": np.zeros((1, 3))}),
            ValueError,
            r"'1.weight' has shape \(1, 3\), expected \(3, 1\)",
        ),
        (
            lambda s: s.update({"1.bias": np.array(["a"])}),
            TypeError,
            "'1.bias': expects real numbers",
        ),
        (lambda s: s.update({"1.bias": np.array([1j])}), TypeError, "real numbers"),
    ],
)
def test_loading_refuses_and_changes_nothing(change, error, message):
    model = nn.Sequential(nn.Dense(2, 3), nn.Dense(3, 1))
    before = model.state_dict()
    state = {name: array + 1 for name, array in before.items()}
    change(state)
    with pytest.raises(error, match=message):
        model.load_state_dict(state)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_loading_lists_every_problem():
    model = nn.Dense(2, 3)
    with pytest.raises(
        ValueError, match=r"nothing was loaded: missing 'bias'; unexpected 'b'; 'weight'"
    ):
        model.load_state_dict({"weight": np.zeros((3, 2)), "b": np.zeros(3)})
    with pytest.raises(TypeError, match="expects a mapping"):
        model.load_state_dict([np.zeros((2, 3))])


def test_loading_what_there_is():
    model = nn.Dense(2, 3)
    result = model.load_state_dict({"bias": np.ones(3), "other": np.ones(1)}, strict=False)
    assert result.missing == ["weight"]
    assert result.unexpected == ["other"]
    np.testing.assert_array_equal(model.bias.data, 1)
    with pytest.raises(ValueError, match="'bias' has shape"):
        model.load_state_dict({"bias": np.ones(2)}, strict=False)


def test_copies_are_independent():
    model = nn.Sequential(nn.Dense(2, 3, activation="gelu"), nn.Dense(3, 1))
    x = batch(4, 2)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(twin(x).data, model(x).data)
        twin[0].weight.data = np.zeros((2, 3))
        assert np.any(model[0].weight.data)
        assert next(iter(twin.parameters())) is twin[0].weight


# -- printing ---


def test_repr_shows_the_tree_and_counts():
    model = nn.Sequential(
        nn.Dense(64, 128, activation="relu"), nn.Tanh(), nn.Dense(128, 1, bias=False)
    )
    assert repr(model).splitlines() == [
        "Sequential(  # 8,448 parameters",
        "  (0): Dense(64, 128, activation='relu')  # 8,320 parameters",
        "  (1): Tanh()",
        "  (2): Dense(128, 1, bias=False)  # 128 parameters",
        ")",
    ]
    assert repr(nn.PReLU()) == "PReLU(num_parameters=1)  # 1 parameter"
    nested = repr(nn.Sequential(Residual(2))).splitlines()
    assert nested[2].startswith("    (inner): Dense(2, 2, activation='tanh')")
