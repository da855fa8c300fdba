"""Train a small network on the digits inside the package, look at it, save it, load it.

Run `python examples/quickstart.py`. It takes some seconds on a CPU and writes `digits.safetensors`
and, if matplotlib is installed, `learning_curves.png` into the current folder.
"""

import importlib.util
import os

import numpy as np

import torchseq as keras

EPOCHS = int(os.environ.get("EPOCHS", "30"))

keras.utils.set_random_seed(1)
(x_train, y_train), (x_test, y_test) = keras.datasets.digits.load_data()
x_train, x_test = x_train / 16, x_test / 16  # pixels are 0 to 16

model = keras.Sequential(
    [
        keras.Input((8, 8)),
        keras.layers.Flatten(),
        keras.layers.Dense(128, activation="relu"),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.summary()

history = model.fit(
    x_train,
    y_train,
    batch_size=32,
    epochs=EPOCHS,
    validation_split=0.1,
    callbacks=[keras.callbacks.EarlyStopping(patience=5, restore_best_weights=True)],
)
_, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"Test accuracy: {accuracy:.4f}")

model.save("digits.safetensors")
loaded = keras.models.load_model("digits.safetensors")
same = np.array_equal(loaded.predict(x_test, verbose=0), model.predict(x_test, verbose=0))
print(f"The saved model predicts the same bits: {same}")

if importlib.util.find_spec("matplotlib"):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    for axis, name in zip(axes, ("loss", "accuracy"), strict=True):
        epochs = range(1, len(history.history[name]) + 1)
        axis.plot(epochs, history.history[name], label="training")
        axis.plot(epochs, history.history[f"val_{name}"], label="validation")
        axis.set(xlabel="epoch", ylabel=name)
        axis.legend()
    figure.savefig("learning_curves.png", dpi=120)
    print("Learning curves: learning_curves.png")
