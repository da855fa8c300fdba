"""What `tensorflow` answers to the questions of Keras scripts."""

import logging
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from torchseq import porting
from torchseq.porting import tensorflow


@pytest.fixture
def tf() -> Iterator[Any]:
    porting.install(replace=True)
    import tensorflow as tf

    yield tf
    porting.uninstall()


def test_seed_is_set_everywhere(tf: Any) -> None:
    for set_seed in (tf.random.set_seed, tf.set_random_seed, tf.compat.v1.set_random_seed):
        drawn = []
        for _ in range(2):
            set_seed(42)
            drawn.append((random.random(), np.random.rand(), torch.rand(1).item()))
        assert drawn[0] == drawn[1]


def test_devices_are_those_of_torch(tf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for count in (0, 2):
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        monkeypatch.setattr(torch.cuda, "is_available", lambda count=count: count > 0)
        gpus = tf.config.list_physical_devices("GPU")
        assert [gpu.name for gpu in gpus] == [
            f"/physical_device:GPU:{index}" for index in range(count)
        ]
        assert len(tf.config.experimental.list_physical_devices()) == count + 1
        for gpu in gpus:
            assert gpu.device_type == "GPU"
            assert tf.config.experimental.set_memory_growth(gpu, True) is None
        assert tf.test.is_gpu_available() is (count > 0)
        assert tf.test.gpu_device_name() == ("/device:GPU:0" if count else "")
    assert tf.config.list_logical_devices("CPU")[0].name == "/device:CPU:0"
    assert tf.test.is_built_with_cuda() is (torch.version.cuda is not None)


def test_eager_execution_is_all_there_is(tf: Any) -> None:
    assert tf.executing_eagerly() is True
    assert tf.compat.v1.executing_eagerly() is True
    assert tf.config.run_functions_eagerly(True) is None


def test_logging_is_quiet_and_can_be_set(tf: Any) -> None:
    tf.get_logger().setLevel("ERROR")
    assert tf.get_logger().level == logging.ERROR
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.INFO)
    assert tf.get_logger().level == logging.INFO
    tf.autograph.set_verbosity(0)


def test_dtypes_are_those_of_torch(tf: Any) -> None:
    assert tf.float32 is torch.float32
    assert tf.dtypes.int64 is torch.int64
    assert tf.keras.layers.Dense(2, dtype=tf.float64).dtype == "float64"


def test_threads(tf: Any) -> None:
    before = torch.get_num_threads()
    tf.config.threading.set_intra_op_parallelism_threads(before)
    assert tf.config.threading.get_intra_op_parallelism_threads() == before


def test_versions(tf: Any) -> None:
    assert tf.__version__ == tf.version.VERSION == tf.compat.v1.__version__ == "2.19.0"


def test_import_styles() -> None:
    porting.install(replace=True)
    try:
        from tensorflow.compat.v1 import logging as tf_logging
        from tensorflow.config import list_physical_devices
        from tensorflow.random import set_seed
    finally:
        porting.uninstall()
    assert list_physical_devices is tensorflow.list_physical_devices
    assert set_seed is tensorflow.NAMESPACES["random"]["set_seed"]
    assert tf_logging.ERROR == logging.ERROR


def test_reasons_say_what_to_do_in_a_sentence() -> None:
    for name, reason in tensorflow.NOT_OFFERED.items():
        assert reason.endswith("."), name
        assert ". " in reason or "; " in reason, name


def test_every_module_lies_in_a_module() -> None:
    for path in tensorflow.NAMESPACES:
        assert path.rpartition(".")[0] in tensorflow.NAMESPACES
