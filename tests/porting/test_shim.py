"""Each style of import, in a process where `keras` and `tensorflow` mean torchseq."""

import importlib
import pickle
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

import torchseq
from torchseq import porting
from torchseq.porting import keras_api, keras_names, shim


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    porting.install(replace=True)
    yield
    porting.uninstall()


def after(statement: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(statement, names)
    return names


# --- what imports give --------------------------------------------------------------------------

DENSE = [
    "import keras; Dense = keras.layers.Dense",
    "import keras.layers; Dense = keras.layers.Dense",
    "import keras.layers as layers; Dense = layers.Dense",
    "import keras as k; Dense = k.layers.Dense",
    "from keras import layers; Dense = layers.Dense",
    "from keras.layers import Dense",
    "from keras.layers import *",
    "from keras.layers.core import Dense",
    "import keras.layers.core; Dense = keras.layers.core.Dense",
    "from keras.layers.core.dense import Dense",
    "from keras.api.layers import Dense",
    "from tf_keras.layers import Dense",
    "import tensorflow as tf; Dense = tf.keras.layers.Dense",
    "import tensorflow; Dense = tensorflow.keras.layers.Dense",
    "import tensorflow.keras as keras; Dense = keras.layers.Dense",
    "import tensorflow.keras.layers as layers; Dense = layers.Dense",
    "from tensorflow import keras; Dense = keras.layers.Dense",
    "from tensorflow.keras import layers; Dense = layers.Dense",
    "from tensorflow.keras.layers import Dense",
    "from tensorflow.keras.layers import *",
    "from tensorflow.python.keras.layers import Dense",
    "from tensorflow.python.keras.layers.core import Dense",
    "import tensorflow.python.keras as keras; Dense = keras.layers.Dense",
    "import tensorflow.compat.v1 as tf; Dense = tf.keras.layers.Dense",
    "from tensorflow.compat.v2.keras.layers import Dense",
    "import importlib; Dense = importlib.import_module('keras.layers').Dense",
    "import importlib; Dense = importlib.import_module('tensorflow.keras').layers.Dense",
    "Dense = __import__('keras').layers.Dense",
    "Dense = __import__('keras.layers', fromlist=['Dense']).Dense",
]


@pytest.mark.parametrize("statement", DENSE)
def test_every_import_style_gives_the_class_of_torchseq(statement: str) -> None:
    assert after(statement)["Dense"] is torchseq.layers.Dense


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("from keras.models import Sequential as found", "Sequential"),
        ("from keras import Sequential as found", "Sequential"),
        ("from tensorflow.keras import Sequential as found", "Sequential"),
        ("import tensorflow as tf; found = tf.keras.models.Sequential", "models.Sequential"),
        ("from keras.engine.topology import Layer as found", "layers.Layer"),
        ("from keras.engine import InputSpec as found", "layers.InputSpec"),
        ("from keras.layers.convolutional import Convolution2D as found", "layers.Conv2D"),
        ("from keras.layers.pooling import MaxPool2D as found", "layers.MaxPooling2D"),
        ("from keras.utils.np_utils import to_categorical as found", "utils.to_categorical"),
        ("from keras.utils import np_utils; found = np_utils.to_categorical",
         "utils.to_categorical"),
        ("import tensorflow as tf; found = tf.keras.utils.to_categorical", "utils.to_categorical"),
        ("from keras.optimizers.legacy import Adam as found", "optimizers.Adam"),
        ("from tensorflow.keras.optimizers.legacy import SGD as found", "optimizers.SGD"),
        ("import tensorflow as tf; found = tf.keras.optimizers.legacy.Adam", "optimizers.Adam"),
        ("from keras.optimizers import adam as found", "optimizers.Adam"),
        ("from keras.objectives import mean_squared_error as found",
         "losses.mean_squared_error"),
        ("from keras.datasets import mnist; found = mnist.load_data", "datasets.mnist.load_data"),
        ("import keras.datasets.mnist; found = keras.datasets.mnist.load_data",
         "datasets.mnist.load_data"),
        ("from tensorflow.keras.datasets.mnist import load_data as found",
         "datasets.mnist.load_data"),
        ("import keras; found = keras.callbacks.EarlyStopping", "callbacks.EarlyStopping"),
        ("from keras.callbacks import ModelCheckpoint as found", "callbacks.ModelCheckpoint"),
        ("from keras.initializers import GlorotUniform as found", "initializers.GlorotUniform"),
    ],
)  # fmt: skip
def test_names_lead_to_their_object_in_torchseq(statement: str, expected: str) -> None:
    found: Any = torchseq
    for part in expected.split("."):
        found = getattr(found, part)
    assert after(statement)["found"] is found


def test_a_module_under_several_names_is_one() -> None:
    import keras
    import tensorflow as tf
    import tensorflow.keras.layers as tf_layers
    from tensorflow.python.keras import layers as python_layers

    assert tf.keras is keras
    assert tf_layers is python_layers is keras.layers
    assert importlib.import_module("keras.layers.core") is keras.layers


def test_every_public_name_of_torchseq_is_there() -> None:
    import keras

    for path in ("", "layers", "models", "optimizers", "losses", "metrics", "callbacks", "utils"):
        theirs, ours = keras, torchseq
        if path:
            theirs, ours = getattr(keras, path), getattr(torchseq, path)
        for name in ours.__all__:
            value = getattr(ours, name)
            if not isinstance(value, types.ModuleType):
                assert getattr(theirs, name) is value
        assert set(ours.__all__) <= {*theirs.__all__, "porting"}
        assert set(ours.__all__) <= {*dir(theirs), "porting"}


def test_the_inside_of_torchseq_is_not_shown() -> None:
    import keras

    for name in ("base", "data", "porting", "cli"):
        assert not hasattr(keras, name)
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(f"keras.{name}")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("keras.layers.geometry")
    assert not {"loop", "step", "trainer"} & set(dir(keras.engine))


def test_versions_are_those_that_scripts_expect() -> None:
    import keras
    import tensorflow as tf

    assert keras.__version__ == tf.keras.__version__ == keras.version() == "3.15.1"
    assert tf.__version__.startswith("2.")
    assert torchseq.__version__ != keras.__version__


def test_settings_are_shared() -> None:
    import keras

    assert not hasattr(torchseq.layers, "added_later")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torchseq.layers, "Dense", "another")
        assert keras.layers.Dense == "another"
    assert keras.layers.Dense is torchseq.layers.Dense


def test_classes_keep_their_module_so_pickles_need_no_shim() -> None:
    from keras.layers import Dense

    assert Dense.__module__.startswith("torchseq.")
    data = pickle.dumps(Dense)
    porting.uninstall()
    assert pickle.loads(data) is torchseq.layers.Dense


# --- what is not there --------------------------------------------------------------------------

KERAS_HAS_IT = "keras.layers.JaxLayer: Keras 3.15.1 has it, torchseq does not offer it."


@pytest.mark.parametrize(
    ("statement", "error", "message"),
    [
        ("from keras.layers import JaxLayer", ImportError, KERAS_HAS_IT),
        ("from tensorflow.keras.layers import Dense, JaxLayer", ImportError, KERAS_HAS_IT),
        ("import keras.layers.JaxLayer", ModuleNotFoundError, KERAS_HAS_IT),
        ("import keras; keras.layers.JaxLayer", AttributeError, KERAS_HAS_IT),
        ("import keras; keras.layers.Dens", AttributeError,
         "keras.layers.Dens: neither Keras 3.15.1 nor torchseq has it. Nearest: 'Dense'"),
        ("import keras; keras.Sequental", AttributeError, "Nearest: 'Sequential'"),
        ("from keras import sequential", ImportError, "Nearest: 'Sequential'"),
        ("import keras.nothing_like_it", ModuleNotFoundError,
         "keras.nothing_like_it: neither Keras 3.15.1 nor torchseq has it. Check the spelling"),
        ("from keras.nothing_like_it import x", ModuleNotFoundError, "keras.nothing_like_it: "),
        ("import importlib; importlib.import_module('keras.nothing_like_it')",
         ModuleNotFoundError, "keras.nothing_like_it: "),
        ("from keras.applications import VGG16", ImportError, "Take them from torchvision.models"),
        ("import keras.applications.vgg16", ModuleNotFoundError, "torchvision.models"),
        ("import keras; keras.applications.VGG16", AttributeError, "torchvision.models"),
        ("from keras.wrappers.scikit_learn import KerasClassifier", ModuleNotFoundError, "skorch"),
        ("from keras.preprocessing.text import Tokenizer", ModuleNotFoundError,
         "keras.preprocessing.text: torchseq does not offer it: Keras 3 dropped it."),
        ("from keras.preprocessing.image import ImageDataGenerator", ImportError,
         "torchvision.transforms"),
        ("from keras.layers import TimeDistributedDense", ImportError, "Use Dense"),
        ("from keras.utils import multi_gpu_model", ImportError, "Use torchrun"),
        ("from keras.src import layers", ModuleNotFoundError, "it is private to Keras"),
        ("import tensorflow as tf; tf.reduce_mean", AttributeError,
         "tensorflow.reduce_mean: torchseq offers of TensorFlow only Keras and .* plain torch"),
        ("import tensorflow as tf; tf.data.Dataset", AttributeError,
         "tensorflow.data: .* Pass them to `fit`"),
        ("from tensorflow import GradientTape", ImportError, "loss.backward"),
        ("import tensorflow.data", ModuleNotFoundError, "tensorflow.data: "),
        ("import tensorflow as tf; tf.ConfigProto()", AttributeError, "torch has no sessions"),
        ("import tensorflow.compat.v1 as tf; tf.disable_eager_execution()", AttributeError,
         "torch has no graphs to switch to. Leave the line out."),
        ("from tensorflow.python.client import device_lib", ModuleNotFoundError,
         "tensorflow.python.client: "),
        ("import tensorflow as tf; tf.config.list_physical_device", AttributeError,
         "Nearest: 'list_physical_devices'"),
    ],
)  # fmt: skip
def test_errors_name_what_is_missing_and_what_to_do(
    statement: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        after(statement)
    assert type(caught.value) is error or error is ImportError


def test_a_missing_name_has_the_plain_import_error_of_a_from_import() -> None:
    with pytest.raises(ImportError) as caught:
        after("from keras.layers import JaxLayer")
    assert type(caught.value) is ImportError
    assert caught.value.name == "keras.layers.JaxLayer"


def test_scripts_can_ask_whether_a_name_is_there() -> None:
    import keras

    assert not hasattr(keras.layers, "JaxLayer")
    assert not hasattr(keras, "__wrapped__")
    assert getattr(keras, "JaxLayer", None) is None
    found = after(
        "try:\n    from keras.layers import JaxLayer as found\n"
        "except ImportError:\n    from keras.layers import Dense as found\n"
    )
    assert found["found"] is torchseq.layers.Dense


def test_backend_is_there_if_torchseq_has_one_else_explained() -> None:
    if hasattr(torchseq, "backend"):
        assert after("from keras import backend as K")["K"].floatx() == "float32"
    else:
        with pytest.raises(ImportError, match=r"keras.backend: .* Use torch functions"):
            after("from keras import backend as K")


# --- install and uninstall ----------------------------------------------------------------------


def test_install_twice_is_once() -> None:
    finders = list(sys.meta_path)
    porting.install()
    assert sys.meta_path == finders


def test_uninstall_brings_back_what_was_there() -> None:
    porting.uninstall()
    before = {name: module for name, module in sys.modules.items() if "keras" in name}
    finders = list(sys.meta_path)
    import keras as real

    porting.install(replace=True)
    import keras as ours

    assert ours is not real
    porting.uninstall()
    assert sys.modules["keras"] is real
    assert sys.meta_path == finders
    assert before.items() <= sys.modules.items()
    porting.uninstall()  # once more does nothing
    assert sys.modules["keras"] is real


def test_install_does_not_replace_an_imported_keras_unasked() -> None:
    porting.uninstall()
    importlib.import_module("keras")
    with pytest.raises(RuntimeError, match=r"must not be imported yet; got 'keras' from .*replace"):
        porting.install()
    assert not any("torchseq" in type(finder).__module__ for finder in sys.meta_path)


def test_importing_torchseq_does_not_install() -> None:
    porting.uninstall()
    assert not any("torchseq" in type(finder).__module__ for finder in sys.meta_path)


def test_other_modules_are_left_alone() -> None:
    assert importlib.util.find_spec("json").origin != "torchseq"
    with pytest.raises(ModuleNotFoundError, match="No module named 'kerasish'"):
        importlib.import_module("kerasish")


def test_tensorboard_is_told_to_do_without_tensorflow() -> None:
    finder = next(entry for entry in sys.meta_path if isinstance(entry, shim._Finder))
    assert finder.find_spec("tensorboard.compat.notf", None) is not None
    assert finder.find_spec("tensorboard.compat.tf", None) is None


def test_modules_look_like_modules() -> None:
    import keras

    assert isinstance(keras.layers, types.ModuleType)
    assert repr(keras.layers) == "<module 'keras.layers' from torchseq>"
    assert importlib.reload(keras) is keras
    assert keras.__spec__.name == "keras"


# --- the tables ---------------------------------------------------------------------------------


def test_reasons_say_what_to_do_in_a_sentence() -> None:
    for name, reason in keras_names.NOT_OFFERED.items():
        assert reason.endswith("."), name
        assert ". " in reason, name


def test_old_names_are_in_no_table_twice() -> None:
    assert not keras_names.RENAMED.keys() & keras_names.NOT_OFFERED.keys()


def test_new_names_are_names_of_keras() -> None:
    for old, new in keras_names.RENAMED.items():
        module, _, name = new.rpartition(".")
        assert name in keras_api.NAMES[module], f"{old} -> {new}"
    for module in keras_names.MODULES.values():
        assert module in keras_api.NAMES or module == "engine"
