"""Writes the files of this folder with Keras 2. Not part of the tests; run once, by hand.

pip install tensorflow-cpu tf_keras==2.21.0      # tf_keras is Keras 2
TF_USE_LEGACY_KERAS=1 python make.py
"""

from pathlib import Path

import numpy as np
import tf_keras as keras  # type: ignore[import-not-found]  # Keras 2 is not installed here

layers = keras.layers
folder = Path(__file__).parent
rng = np.random.default_rng(11)
model = keras.Sequential(
    [
        layers.InputLayer((32, 32, 3)),
        layers.Conv2D(8, 5, strides=2, padding="same", name="c1"),
        layers.BatchNormalization(name="n1"),
        layers.ReLU(6.0, name="r1"),
        layers.ZeroPadding2D(((0, 1), (0, 1)), name="p"),
        layers.DepthwiseConv2D(3, strides=2, name="d1"),
        layers.Activation("relu", name="a"),
        layers.GlobalAveragePooling2D(name="g"),
        layers.Dropout(0.5, name="dr"),
        layers.Dense(2, activation="softmax", name="pred"),
    ]
)
for layer in model.layers:
    layer.set_weights([rng.uniform(0.1, 0.5, w.shape) for w in layer.get_weights()])
model.compile("adam", "categorical_crossentropy")
model.save(folder / "whole.h5")
model.save(folder / "whole.keras")
image = np.random.default_rng(1).normal(0, 1, (3, 32, 32, 3)).astype(np.float32)
np.save(folder / "answers.npy", model.predict(image))
vgg = keras.Sequential([layers.InputLayer((32, 32, 3))])
for block, filters in enumerate((8, 8, 16, 24), 1):
    for number in (1, 2):
        name = f"block{block}_conv{number}"
        vgg.add(layers.Conv2D(filters, 3, padding="same", use_bias=False, name=name))
        vgg.add(layers.BatchNormalization(epsilon=1e-5, name=f"{name}_bn"))
        vgg.add(layers.ReLU(name=f"{name}_relu"))
    vgg.add(layers.MaxPooling2D(name=f"block{block}_pool"))
vgg.add(layers.GlobalAveragePooling2D(name="avg_pool"))
vgg.add(layers.Dense(16, activation="relu", name="fc1"))
vgg.add(layers.Dropout(0.5, name="dropout"))
vgg.add(layers.Dense(4, name="predictions"))
vgg.save_weights(folder / "vgg10-weights.h5")
np.save(folder / "vgg10-answers.npy", vgg.predict(image))
