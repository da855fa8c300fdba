"""Names of Keras 3, Keras 1 and 2 and tf.keras -> ours where they differ, or why there is none.

Paths are written without `keras.` in front. A name that torchseq has under Keras's own is not here:
it is found by itself. The shim, the codemod and the documentation read these tables.
"""

from __future__ import annotations

KERAS_VERSION = "3.15.1"  # what scripts are told; the version that torchseq follows

# Full names of modules that are `keras`, each with all that lies below it.
ROOTS = (
    "keras",
    "keras.api",
    "tf_keras",
    "tensorflow.keras",
    "tensorflow.python.keras",
    "tensorflow.compat.v1.keras",
    "tensorflow.compat.v2.keras",
)

_LAYER_MODULES = """
    activation advanced_activations attention convolutional convolutional_recurrent core
    cudnn_recurrent embeddings experimental local merge merging noise normalization pooling
    preprocessing recurrent regularization reshaping rnn wrappers
"""
_UTILITY_MODULES = """
    all_utils conv_utils data_utils generic_utils io_utils layer_utils np_utils tf_utils
    training_utils vis_utils
"""
_ENGINE_MODULES = "base_layer input_layer input_spec sequential topology training"

# Module -> the module that has its contents; whatever lies below it is that module too.
MODULES = {
    **{f"layers.{name}": "layers" for name in _LAYER_MODULES.split()},
    **{f"utils.{name}": "utils" for name in _UTILITY_MODULES.split()},
    **{f"engine.{name}": "engine" for name in _ENGINE_MODULES.split()},
    "backend.tensorflow_backend": "backend",
    "callbacks.callbacks": "callbacks",
    "initializations": "initializers",
    "mixed_precision.experimental": "mixed_precision",
    "objectives": "losses",
    "optimizer_v2": "optimizers",
    "optimizers.adam_v2": "optimizers",
    "optimizers.experimental": "optimizers",
    "optimizers.gradient_descent_v2": "optimizers",
    "optimizers.legacy": "optimizers",
    "optimizers.optimizer_v2": "optimizers",
    "optimizers.rmsprop_v2": "optimizers",
}

_SHORT_POOLINGS = {
    f"{scope}{short}Pool{rank}D": f"{scope}{long}Pooling{rank}D"
    for scope in ("", "Global")
    for short, long in (("Avg", "Average"), ("Max", "Max"))
    for rank in (1, 2, 3)
}

# Name -> ours.
RENAMED = {
    # Keras 3's own second names, for where the package has only the first.
    **{
        f"layers.Convolution{rank}D{suffix}": f"layers.Conv{rank}D{suffix}"
        for rank in (1, 2, 3)
        for suffix in ("", "Transpose")
    },
    **{f"layers.SeparableConvolution{rank}D": f"layers.SeparableConv{rank}D" for rank in (1, 2)},
    **{f"layers.{short}": f"layers.{long}" for short, long in _SHORT_POOLINGS.items()},
    "models.Sequential": "Sequential",
    "utils.Sequence": "utils.PyDataset",
    # Keras 1 and 2, tf.keras.
    "engine.Input": "layers.Input",
    "engine.InputLayer": "layers.InputLayer",
    "engine.InputSpec": "layers.InputSpec",
    "engine.Layer": "layers.Layer",
    "engine.Model": "models.Model",
    "engine.Sequential": "models.Sequential",
    "layers.BatchNormalizationV1": "layers.BatchNormalization",
    "layers.BatchNormalizationV2": "layers.BatchNormalization",
    "layers.CuDNNGRU": "layers.GRU",
    "layers.CuDNNLSTM": "layers.LSTM",
    "layers.Deconvolution2D": "layers.Conv2DTranspose",
    "layers.Deconvolution3D": "layers.Conv3DTranspose",
    "mixed_precision.set_policy": "mixed_precision.set_global_policy",
    "optimizers.adadelta": "optimizers.Adadelta",
    "optimizers.adagrad": "optimizers.Adagrad",
    "optimizers.adam": "optimizers.Adam",
    "optimizers.adamax": "optimizers.Adamax",
    "optimizers.nadam": "optimizers.Nadam",
    "optimizers.rmsprop": "optimizers.RMSprop",
    "optimizers.sgd": "optimizers.SGD",
    "preprocessing.image.array_to_img": "utils.array_to_img",
    "preprocessing.image.img_to_array": "utils.img_to_array",
    "preprocessing.image.load_img": "utils.load_img",
    "preprocessing.image.save_img": "utils.save_img",
    "preprocessing.image_dataset_from_directory": "utils.image_dataset_from_directory",
    "preprocessing.sequence.pad_sequences": "utils.pad_sequences",
    "preprocessing.text_dataset_from_directory": "utils.text_dataset_from_directory",
}

# Name or module -> why it is not offered, and what to do. It counts for all below it, and only
# while torchseq does not have the name.
NOT_OFFERED = {
    "applications": (
        "it has no pretrained networks. Take them from torchvision.models: an `nn.Module` can be "
        "a layer of a Sequential."
    ),
    "backend": (
        "tensors are torch's own. Use torch functions, and keras.config for floatx, epsilon and "
        "image_data_format."
    ),
    "engine": "it was private to Keras. Import the name from keras or keras.layers.",
    "estimator": "it is part of TensorFlow. Use model.fit.",
    "experimental": "it was never stable. Look for the name in keras or keras.layers.",
    "export": "a model is an `nn.Module`. Use torch.export or torch.onnx.export.",
    "layers.AtrousConvolution1D": "Keras 2 dropped it. Use Conv1D with `dilation_rate`.",
    "layers.AtrousConvolution2D": "Keras 2 dropped it. Use Conv2D with `dilation_rate`.",
    "layers.Highway": "Keras 2 dropped it. Write it as a subclass of Layer.",
    "layers.LocallyConnected1D": "Keras 3 dropped it. Write it as a subclass of Layer.",
    "layers.LocallyConnected2D": "Keras 3 dropped it. Write it as a subclass of Layer.",
    "layers.MaxoutDense": "Keras 2 dropped it. Write it as a subclass of Layer.",
    "layers.Merge": "Keras 2 dropped it, and a Sequential has one input. Merge the arrays first.",
    "layers.TimeDistributedDense": "Keras 2 dropped it. Use Dense: it works on the last axis.",
    "layers.merge": "a Sequential has one input. Merge the arrays before `fit`.",
    "models.Graph": "Keras 1 dropped it. Chain the layers in a Sequential.",
    "models.model_from_yaml": "YAML could run code, Keras dropped it. Use model_from_json.",
    "ops": "tensors are torch's own. Call the torch function of that name.",
    "preprocessing.image.ImageDataGenerator": (
        "Keras 3 dropped it. Augment with torchvision.transforms and pass the arrays."
    ),
    "preprocessing.text": (
        "Keras 3 dropped it. Turn the texts into arrays of integers first, for example with the "
        "package tokenizers."
    ),
    "quantizers": "a model is an `nn.Module`. Use torch.ao.quantization or torchao.",
    "src": "it is private to Keras. Use the public name.",
    "tree": "it is Keras's own plumbing. Use torch.utils._pytree or plain Python.",
    "utils.HDF5Matrix": "Keras dropped it. Read the data set with h5py and pass the array.",
    "utils.multi_gpu_model": "Keras dropped it. Use torchrun or torch.distributed.",
    "wrappers": "a model is an `nn.Module`. Wrap it for scikit-learn with the package skorch.",
}


def canonical(full_name: str) -> str:
    """Return the one name of a module that scripts import under several.

    Examples:
        >>> canonical("tensorflow.keras.layers.core"), canonical("tensorflow.random")
        ('keras.layers', 'tensorflow.random')
    """
    root = longest_prefix(full_name, ROOTS)
    if root is None:
        return full_name
    path = full_name[len(root) + 1 :]
    legacy = longest_prefix(path, MODULES)
    path = path if legacy is None else MODULES[legacy]
    return f"keras.{path}" if path else "keras"


def longest_prefix(name: str, known: tuple[str, ...] | dict[str, str]) -> str | None:
    """Return the longest of `known` that is `name` or a module that it lies in.

    Examples:
        >>> longest_prefix("a.b.c", ("a", "a.b", "a.b.cc"))
        'a.b'
    """
    holders = [entry for entry in known if f"{name}.".startswith(f"{entry}.")]
    return max(holders, key=len, default=None)
