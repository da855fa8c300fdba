"""The text of `summary()` against the text that Keras prints."""

import io
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from keras.src.utils import summary_utils
from rich.style import Style

import torchseq
from torchseq.models.summary import print_summary, summary_html

COLOR_VARIABLES = ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TERM", "COLORTERM", "LINES")


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    # rich keeps the codes that a style had in the first terminal it was shown in.
    Style.parse.cache_clear()
    Style._add.cache_clear()
    for name in COLOR_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "120")


# --- stand-ins for models that both printers take -----------------------------------------------


def make_layer(name: str, class_name: str = "Dense", shape: Any = (None, 8), **facts: Any) -> Any:
    """A layer of given facts; what starts with `_`, and `compute_output_shape`, Keras reads."""
    weights = facts.pop("weights", [make_weight((4, 8))])
    count = facts.pop("count", sum(int(np.prod(weight.shape)) for weight in weights))
    layer = type(class_name, (), {})()
    layer.__dict__ |= {
        "name": name,
        "built": True,
        "trainable": True,
        "weights": weights,
        "count_params": lambda: count,
        "output_shape": shape,
        "_inbound_nodes": [],
        "_build_shapes_dict": {} if shape is None else {"input_shape": (None, 4)},
        **facts,
    }
    if shape is not None and not isinstance(shape, tuple):
        # Keras takes an attribute to be one shape, and asks this method about several.
        layer._inbound_nodes = [
            SimpleNamespace(output_tensors=[SimpleNamespace(shape=one) for one in shape])
        ]
    return layer


def make_weight(shape: tuple[int, ...], dtype: str = "float32") -> Any:
    return SimpleNamespace(shape=shape, dtype=dtype)


def make_model(layers: list[Any], name: str = "sequential", **facts: Any) -> Any:
    weights = [weight for layer in layers for weight in layer.weights]
    return SimpleNamespace(
        **{
            "name": name,
            "layers": layers,
            "trainable_weights": weights,
            "non_trainable_weights": [],
            "compiled": False,
            "optimizer": None,
            **facts,
        }
    )


def captured(printer: Any, model: Any, **options: Any) -> str:
    texts: list[str] = []
    printer(model, print_fn=texts.append, **options)
    assert len(texts) == 1
    return texts[0]


def assert_same_text(model: Any, **options: Any) -> None:
    expected = captured(summary_utils.print_summary, model, **options)
    assert captured(print_summary, model, **options) == expected


# --- real Keras models, described by what torchseq's models offer -------------------------------


def described_layer(layer: Any) -> Any:
    facts = {
        "name": layer.name,
        "built": layer.built,
        "trainable": layer.trainable,
        "weights": layer.weights,
        "count_params": layer.count_params,
    }
    if layer._inbound_nodes:
        shapes = [tensor.shape for tensor in layer._inbound_nodes[-1].output_tensors]
        facts["output_shape"] = shapes[0] if len(shapes) == 1 else shapes
    elif layer._build_shapes_dict:
        facts["output_shape"] = layer.compute_output_shape(**layer._build_shapes_dict)
    if hasattr(layer, "layers"):
        facts["layers"] = [described_layer(inner) for inner in layer.layers]
    return type(type(layer).__name__, (), facts)()


def described(model: Any) -> Any:
    return SimpleNamespace(
        name=model.name,
        layers=[described_layer(layer) for layer in model.layers],
        trainable_weights=model.trainable_weights,
        non_trainable_weights=model.non_trainable_weights,
        compiled=model.compiled,
        optimizer=getattr(model, "optimizer", None),  # Keras has none before compile
    )


def assert_same_as_keras(model: Any, **options: Any) -> None:
    expected = captured(summary_utils.print_summary, model, **options)
    assert captured(print_summary, described(model), **options) == expected


def mlp(*first: Any, name: str = "mlp") -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            *first,
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(10, activation="softmax"),
        ],
        name=name,
    )


def convnet() -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(16, 3, padding="same"),
            layers.Activation("relu"),
            layers.MaxPooling2D(),
            layers.Reshape((-1, 16)),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )


def nested() -> Any:
    inner = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)], name="innermost")
    middle = keras.Sequential([keras.Input((8,)), inner, keras.layers.Dense(2)], name="middle")
    return keras.Sequential([keras.Input((5,)), keras.layers.Dense(8), middle])


@pytest.mark.parametrize("show_trainable", [False, True])
@pytest.mark.parametrize("line_length", [None, 40, 60, 100, 120, 131])
@pytest.mark.parametrize(
    "make",
    [
        lambda: mlp(keras.Input((28, 28))),
        lambda: mlp(),
        convnet,
        nested,
        lambda: keras.Sequential(),
        lambda: keras.Sequential([keras.Input((3,))]),
        lambda: keras.Sequential([keras.Input((4,), batch_size=32), keras.layers.Dense(5)]),
    ],
    ids=["built", "unbuilt", "convnet", "nested", "empty", "input only", "batch size"],
)
def test_text_equals_that_of_keras(
    make: Any, line_length: int | None, show_trainable: bool
) -> None:
    assert_same_as_keras(make(), line_length=line_length, show_trainable=show_trainable)


def test_models_in_models_are_expanded_on_demand() -> None:
    model = nested()
    model.layers[1].layers[0].trainable = False
    assert_same_as_keras(model, expand_nested=True)
    assert_same_as_keras(model, expand_nested=True, show_trainable=True, line_length=70)
    assert "   └ innermost" in captured(print_summary, described(model), expand_nested=True)


def test_frozen_layers() -> None:
    model = convnet()
    model.layers[0].trainable = False
    assert_same_as_keras(model, show_trainable=True)
    model.trainable = False
    assert_same_as_keras(model, show_trainable=True)


def test_batch_normalization_counts_weights_that_do_not_train() -> None:
    layers = keras.layers
    assert_same_as_keras(
        keras.Sequential([keras.Input((6,)), layers.BatchNormalization(), layers.Dense(1)])
    )


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
def test_optimizer_line_appears_once_the_optimizer_is_built(optimizer: str) -> None:
    model = mlp(keras.Input((4,)))
    model.compile(optimizer, "mse")
    assert_same_as_keras(model)
    model.fit(np.zeros((8, 4)), np.zeros((8, 10)), verbose=0)
    assert_same_as_keras(model)
    assert "Optimizer params" in captured(print_summary, described(model))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "mixed_float16"])
def test_sizes_follow_the_dtype_of_weights(dtype: str) -> None:
    assert_same_as_keras(keras.Sequential([keras.Input((5,)), keras.layers.Dense(7, dtype=dtype)]))


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((), "float32"),
        ((255,), "float32"),
        ((256,), "float32"),
        ((1023, 1024), "uint8"),
        ((1024, 1024), "int8"),
        ((9, 3), "bool"),
        ((25000, 25000), "float64"),
        ((2**20, 2**20, 4), "int64"),
    ],
)
def test_large_and_small_sizes(shape: tuple[int, ...], dtype: str) -> None:
    assert_same_text(make_model([make_layer("big", weights=[make_weight(shape, dtype)])]))


def test_a_shared_weight_takes_memory_once() -> None:
    layer = make_layer("shared")
    assert_same_text(make_model([layer, layer]))


def test_layers_with_several_outputs_and_unknown_shapes() -> None:
    layers = [
        make_layer("two", shape=[(None, 4), (None, 5, 6)]),
        make_layer("one", shape=[(None, 4)]),
        make_layer("unknown", shape=None),
        make_layer("scalar", shape=()),
        make_layer("batch", shape=(None,)),
        make_layer("unbuilt", shape=None, built=False, weights=[]),
    ]
    assert_same_text(make_model(layers), show_trainable=True)


def test_a_layer_without_known_shape_shows_a_question_mark() -> None:
    layer = make_layer("dense")
    del layer.output_shape
    assert "│ ?  " in captured(print_summary, make_model([layer]))


# --- torchseq's own models beside real Keras's --------------------------------------------------


def dense_stack(library: Any) -> Any:
    layers = library.layers
    return library.Sequential(
        [
            library.Input((28, 28)),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(10, activation="softmax"),
        ]
    )


def unbuilt_stack(library: Any) -> Any:
    layers = library.layers
    return library.Sequential(
        [
            layers.Conv2D(4, 3),
            layers.MaxPooling2D(),
            layers.Activation("relu"),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(3, name="a_name_that_is_too_long_for_the_column_that_it_stands_in"),
        ],
        name="unbuilt",
    )


def late_stack(library: Any) -> Any:
    model = unbuilt_stack(library)
    model.build((None, 12, 12, 3))
    return model


def called_stack(library: Any) -> Any:
    model = unbuilt_stack(library)
    model(np.zeros((2, 12, 12, 3), "float32"))
    return model


def convolutional_stack(library: Any) -> Any:
    layers = library.layers
    return library.Sequential(
        [
            library.Input((28, 28, 1), batch_size=16),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Reshape((-1, 16)),
            layers.Dense(10, trainable=False),
        ]
    )


def nested_stack(library: Any) -> Any:
    dense = library.layers.Dense
    inner = library.Sequential([library.Input((8,)), dense(4)], name="innermost")
    middle = library.Sequential([library.Input((8,)), inner, dense(2)], name="middle")
    return library.Sequential([library.Input((5,)), dense(8), middle])


def empty_stack(library: Any) -> Any:
    return library.Sequential()


def fitted_stack(library: Any) -> Any:
    model = dense_stack(library)
    model.compile("adam", "mse")
    model.fit(np.zeros((4, 28, 28)), np.zeros((4, 10)), verbose=0)
    return model


@pytest.mark.parametrize(
    "make",
    [
        dense_stack,
        unbuilt_stack,
        late_stack,
        called_stack,
        convolutional_stack,
        nested_stack,
        empty_stack,
        fitted_stack,
    ],
)
@pytest.mark.parametrize(
    "options", [{}, {"line_length": 60, "show_trainable": True}, {"expand_nested": True}]
)
def test_summary_of_a_model_equals_that_of_keras(make: Any, options: dict[str, Any]) -> None:
    texts: list[list[str]] = [[], []]
    for library, lines in zip((keras, torchseq), texts, strict=True):
        make(library).summary(print_fn=lines.append, **options)
    expected, ours = texts
    assert ours == expected


def test_a_notebook_shows_the_table_of_a_model() -> None:
    assert "<b>Total params:</b> 101,770 (397.54 KB)" in dense_stack(torchseq)._repr_html_()


# --- wrapping -----------------------------------------------------------------------------------

LONG_NAMES = [
    "a_name_without_any_space_that_is_much_longer_than_the_column_is_wide_and_must_be_folded",
    "many short words that are wrapped between words as in any paragraph of text",
    "mixed: averyveryverylongwordthatdoesnotfitanywhereatall and then some short ones",
    "trailing spaces                                        end",
    "   leading spaces and a_word_that_is_too_long_for_one_line_of_the_column",
    "層の名前は全角文字で書かれているのでセルの幅は文字数の二倍になります",
    "e\u0301tude_with_combining_marks_e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301",
    "two\nlines",
    "a\ttab and \x07 a bell",
]
MARKUP_NAMES = [
    "[bold]dense[/bold]",
    "[/]",
    "[",
    "]",
    "block[0]",
    "block[a]",
    "open[abc",
    r"\[0]",
    r"\[a]",
    r"\\[a]",
    "end\\",
    "end\\\\",
    "[color(33)]x",
    "[link=https://example.org]x[/link]",
    "<b>&amp;</b>",
    "",
]


@pytest.mark.parametrize("line_length", [24, 41, 60, 100])
@pytest.mark.parametrize("name", LONG_NAMES + MARKUP_NAMES)
def test_names_are_wrapped_and_escaped(name: str, line_length: int) -> None:
    layers = [make_layer(name), make_layer(f"x{name}", class_name="VeryLongClassName" * 4)]
    options = {"line_length": line_length, "positions": [0.4, 0.7, 1.0]}
    assert_same_text(make_model(layers, name=name), **options)


def test_every_column_wraps() -> None:
    layers = [
        make_layer("dense", shape=(None, *range(1000, 1030)), count=10**40),
        make_layer("unbuilt", shape=(None,) * 20, built=False),
        make_layer("two", shape=[(None, 123456, 7), (None, 8, 123456789)]),
    ]
    for line_length in (34, 50, 88):
        assert_same_text(make_model(layers), line_length=line_length, show_trainable=True)


@pytest.mark.parametrize(
    "positions",
    [
        [0.2, 0.4, 0.6],
        [0.5, 0.75, 1.5],
        [0.1, 0.2, 1.0],
        [0.45, 0.8, 1.0, 1.2],
        [1.0, 2.0, 3.0],
        [0.3, 0.6, 0.7, 1.0],
    ],
)
@pytest.mark.parametrize("show_trainable", [False, True])
def test_positions_set_the_widths(positions: list[float], show_trainable: bool) -> None:
    model = make_model([make_layer("dense"), make_layer("a long name that wraps")])
    options = {"positions": positions, "show_trainable": show_trainable, "line_length": 60}
    try:
        assert_same_text(model, **options)
    except ValueError:
        with pytest.raises(ValueError, match="Insufficient console width"):
            captured(print_summary, model, **options)


@pytest.mark.parametrize("columns", ["8", "18", "30", "60", "80", "96", "100", "300", "0", "x"])
@pytest.mark.parametrize("line_length", [None, 20, 90])
def test_width_of_the_terminal(
    monkeypatch: pytest.MonkeyPatch, columns: str, line_length: int | None
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    if columns == "0":  # at this width Keras prints nothing at all
        monkeypatch.setenv("COLUMNS", "80")
    model = make_model([make_layer("dense")], name="a model with quite a long name, in words")
    try:
        expected = captured(summary_utils.print_summary, model, line_length=line_length)
    except ValueError:
        with pytest.raises(ValueError, match="Insufficient console width to print summary"):
            captured(print_summary, model, line_length=line_length)
    else:
        assert captured(print_summary, model, line_length=line_length) == expected


ALPHABET = list("abcXYZ_019 -.[]/\\#@() 層é\u0301")


def random_name(rng: np.random.Generator) -> str:
    return "".join(rng.choice(ALPHABET, size=rng.integers(0, 60)))


def random_shape(rng: np.random.Generator) -> Any:
    kind = rng.integers(0, 8)
    if kind == 0:
        return None
    if kind == 1:
        return [random_sizes(rng), random_sizes(rng)]
    return random_sizes(rng)


def random_sizes(rng: np.random.Generator) -> tuple[int | None, ...]:
    scale = 10.0 ** rng.integers(0, 7)
    sizes = [int(size) for size in rng.uniform(0, scale, size=rng.integers(0, 6))]
    return tuple(None if rng.random() < 0.2 else size for size in sizes)


def random_layer(rng: np.random.Generator) -> Any:
    num_weights = rng.integers(0, 3)
    sizes = rng.integers(0, 5000, size=(num_weights, 2))
    return make_layer(
        random_name(rng),
        class_name="Layer" * int(rng.integers(1, 9)),
        shape=random_shape(rng),
        built=bool(rng.random() < 0.8),
        trainable=bool(rng.random() < 0.5),
        weights=[make_weight((int(rows), int(columns))) for rows, columns in sizes],
    )


@pytest.mark.parametrize("attempt", range(60))
def test_random_models(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, attempt: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(rng.integers(20, 140)))
    layers = [random_layer(rng) for _ in range(rng.integers(0, 6))]
    optimizer = SimpleNamespace(built=bool(rng.random() < 0.5), variables=[make_weight((3, 3))])
    model = make_model(layers, random_name(rng), compiled=True, optimizer=optimizer)
    ends = np.sort(rng.uniform(0.15, 1.1, size=3))
    options = {
        "line_length": int(rng.integers(20, 150)),
        "positions": None if rng.random() < 0.5 else [float(end) for end in ends],
        "show_trainable": bool(rng.random() < 0.5),
    }
    try:
        captured(summary_utils.print_summary, model, **options)
    except ValueError:
        with pytest.raises(ValueError, match="Insufficient console width"):
            captured(print_summary, model, **options)
    else:
        assert_same_text(model, **options)


# --- standard output ----------------------------------------------------------------------------


class Stream(io.StringIO):
    """Standard output of a given kind."""

    def __init__(self, is_terminal: bool, encoding: str = "utf-8"):
        super().__init__()
        self.is_terminal = is_terminal
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return self.is_terminal


def printed(
    monkeypatch: pytest.MonkeyPatch, printer: Any, stream: Stream, model: Any, **options: Any
) -> str:
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", stream)
        printer(model, **options)
    return stream.getvalue()


def colorful_model() -> Any:
    layers = [
        make_layer("dense", shape=(None, 12345)),
        make_layer("a long name that must be wrapped somewhere", "LongClassNameThatIsFolded" * 3),
        make_layer("frozen", trainable=False),
        make_layer("none", weights=[], shape=[(None, 4), (3, None)]),
        make_layer("unbuilt", shape=None, built=False),
    ]
    return make_model(layers, name="a model")


@pytest.mark.parametrize(
    "environment",
    [
        {"TERM": "xterm-256color"},
        {"TERM": "xterm"},
        {"TERM": "xterm-kitty"},
        {"TERM": "xterm", "COLORTERM": "truecolor"},
        {"TERM": "dumb"},
        {"TERM": "dumb", "LINES": "24"},
        {"TERM": "xterm-256color", "NO_COLOR": "1"},
        {"TERM": "xterm-256color", "COLUMNS": "61"},
        {"TERM": "xterm-256color", "TTY_COMPATIBLE": "0"},
        {"TERM": "xterm-256color", "FORCE_COLOR": ""},
        {"FORCE_COLOR": "1"},
        {"TTY_COMPATIBLE": "1", "TERM": "xterm-256color"},
    ],
)
@pytest.mark.parametrize("is_terminal", [True, False])
def test_colors_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], is_terminal: bool
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for options in ({}, {"line_length": 66, "show_trainable": True}, {"line_length": 130}):
        model = colorful_model()
        ours, expected = (
            printed(monkeypatch, printer, Stream(is_terminal), model, **options)
            for printer in (print_summary, summary_utils.print_summary)
        )
        assert ours == expected


def test_encoding_without_box_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model([make_layer("dense"), make_layer("dense_1")])
    ours, expected = (
        printed(monkeypatch, printer, Stream(False, "ascii"), model)
        for printer in (print_summary, summary_utils.print_summary)
    )
    assert ours == expected
    assert ours.isascii()


def test_characters_that_the_encoding_lacks_do_not_stop_the_summary(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = make_model([make_layer("層")])
    assert "?" in printed(monkeypatch, print_summary, Stream(False, "ascii"), model)


@pytest.mark.parametrize(("variable", "width"), [(None, 115), ("70", 70)])
def test_width_in_a_notebook(
    monkeypatch: pytest.MonkeyPatch, variable: str | None, width: int
) -> None:
    shell = type("ZMQInteractiveShell", (), {})
    monkeypatch.setitem(
        __import__("sys").modules, "IPython", SimpleNamespace(get_ipython=lambda: shell())
    )
    if variable is not None:
        monkeypatch.setenv("JUPYTER_COLUMNS", variable)
    text = captured(print_summary, make_model([make_layer("dense")]), line_length=200)
    assert max(map(len, text.splitlines())) == width


# --- layer_range, errors ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer_range", [("b", "d"), ("d", "b"), ["c", "c"], (".", "b"), ("a|c", "b|e")]
)
def test_layer_range(layer_range: Any) -> None:
    assert_same_text(make_model([make_layer(name) for name in "abcde"]), layer_range=layer_range)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer_range": ("a", "z")}, r"summary: .*match names of layers.*The layers are \['a'\]"),
        ({"layer_range": ("a",)}, "summary: `layer_range` must be two layer names"),
        ({"layer_range": (1, 2)}, "summary: `layer_range` must be two layer names"),
        ({"line_length": 15}, "got 3 for column 3 of a line of 15. Insufficient console width"),
        ({"positions": [0.5, 1.0]}, "where each of 3 columns ends; got positions="),
    ],
)
def test_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        captured(print_summary, make_model([make_layer("a")]), **options)


# --- notebooks ----------------------------------------------------------------------------------


def test_html_has_the_same_content_escaped() -> None:
    model = make_model([make_layer("<b>x</b>"), make_layer("unbuilt", built=False)], name="a<b&c")
    page = summary_html(model)
    assert "<td" in page
    assert "&lt;b&gt;x&lt;/b&gt; (Dense)" in page
    assert "0 (unbuilt)" in page
    assert "(None, 8)" in page
    assert "Model: &quot;a&lt;b&amp;c&quot;" in page
    assert "<b>Total params:</b> 64 (256.00 B)" in page
    assert "<b>x" not in page


def test_html_takes_its_colors_from_the_page() -> None:
    page = summary_html(make_model([make_layer("dense")]))
    assert "background" not in page
    assert ";color:" not in page
    assert '"color:' not in page
