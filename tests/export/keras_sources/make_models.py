"""Writes the Keras files that the tests read. Run in a process of its own: it loads TensorFlow.

python tests/export/keras_sources/make_models.py FOLDER
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ.update(KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")

import keras
import numpy as np
from keras import layers as kl

from medsdk_export.architectures.keras_registry import keras_model

SIDE = 32


def stirred(model: Any, seed: int = 3) -> Any:
    """Random weights whose BatchNorms do something."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        weights = layer.get_weights()
        if isinstance(layer, kl.BatchNormalization):
            layer.set_weights(
                [
                    rng.uniform(0.5, 1.5, item.shape)
                    if index in (0, 3)
                    else rng.normal(0, 0.2, item.shape)
                    for index, item in enumerate(weights)
                ]
            )
        elif isinstance(layer, keras.Model):
            stirred(layer, seed + 1)
        elif len(weights) == 2:
            layer.set_weights([weights[0], rng.normal(0, 0.3, weights[1].shape)])
    return model


def small(end: str = "softmax", units: int = 2, name: str = "predictions") -> Any:
    """A little of everything: strided, padded, depthwise, residual, dense with BatchNorm."""
    keras.utils.set_random_seed(3)
    entry = keras.Input((SIDE, SIDE, 3))
    x = kl.Conv2D(8, 5, strides=2, padding="same", name="c1")(entry)
    x = kl.ReLU(6.0)(kl.BatchNormalization(name="n1")(x))
    y = kl.ZeroPadding2D(((0, 1), (0, 1)))(x)
    y = kl.DepthwiseConv2D(3, strides=2, use_bias=False, name="d1")(y)
    y = kl.Activation("relu")(kl.BatchNormalization(name="n2")(y))
    z = kl.BatchNormalization(name="n3")(kl.Conv2D(8, 1, name="c2")(y))
    y = kl.Add()([y, z])
    y = kl.GlobalAveragePooling2D()(y)
    y = kl.BatchNormalization(name="n4")(kl.Dense(16, activation="relu", name="fc")(y))
    y = kl.Dropout(0.5)(y)
    return stirred(keras.Model(entry, kl.Dense(units, activation=end, name=name)(y)))


def flat() -> Any:
    """The head of the published mammography model: flatten, dense, ReLU, BatchNorm, dense."""
    keras.utils.set_random_seed(6)
    entry = keras.Input((SIDE, SIDE, 3))
    x = kl.Conv2D(4, 3, strides=2, activation="relu", padding="same")(entry)
    x = kl.Flatten()(kl.MaxPooling2D()(x))
    x = kl.BatchNormalization()(kl.Dense(8, activation="relu")(x))
    return stirred(keras.Model(entry, kl.Dense(2, activation="softmax")(kl.Dropout(0.5)(x))))


def nested() -> Any:
    """As transfer learning makes it: a backbone inside a Sequential."""
    keras.utils.set_random_seed(4)
    backbone = keras.applications.MobileNetV2(
        weights=None, alpha=0.35, include_top=False, input_shape=(SIDE, SIDE, 3)
    )
    return stirred(
        keras.Sequential(
            [backbone, kl.GlobalAveragePooling2D(), kl.Dropout(0.2), kl.Dense(2, "softmax")]
        )
    )


@keras.saving.register_keras_serializable(package="vendor")
class Doubled(kl.Layer):  # type: ignore[misc]  # keras has no types
    """A class of its author's."""

    def call(self, x: Any) -> Any:
        return 2 * x


def focal(truth: Any, given: Any) -> Any:
    """A loss of its author's."""
    return -keras.ops.mean(truth * (1 - given) ** 2 * keras.ops.log(given + 1e-6))


class Sharpness(keras.metrics.Mean):  # type: ignore[misc]  # keras has no types
    """A metric of its author's."""


def blob(constants: Any) -> Any:
    """The vendor's small network (tests/conftest.py), with a softmax at its end."""
    entry = keras.Input((SIDE, SIDE, 3))
    x = kl.Conv2D(8, 5, strides=2, activation="relu", name="conv")(entry)
    model = keras.Model(entry, kl.Dense(2, "softmax")(kl.GlobalAveragePooling2D()(x)))
    model.set_weights(
        [
            constants["w"].transpose(2, 3, 1, 0),
            constants["b"],
            constants["hw"],
            constants["hb"],
        ]
    )
    return model


def with_layer(layer: Any) -> Any:
    """A model whose second layer is this one."""
    entry = keras.Input((SIDE, SIDE, 3))
    return keras.Model(entry, kl.Dense(2)(kl.GlobalAveragePooling2D()(layer(entry))))


def heads() -> dict[str, Any]:
    """Ends that are more than one layer with an activation, all behind the same two layers."""
    made: dict[str, Any] = {}

    def add(name: str, end: Any) -> None:
        keras.utils.set_random_seed(9)
        entry = keras.Input((SIDE, SIDE, 3))
        x = kl.Conv2D(6, 3, strides=2, activation="relu")(entry)
        x = kl.GlobalAveragePooling2D(keepdims=True)(x)
        strong = keras.initializers.RandomNormal(stddev=8.0, seed=1)
        made[name] = keras.Model(entry, end(x, strong))

    def conv(x: Any, strong: Any) -> Any:
        return kl.Conv2D(2, 1, kernel_initializer=strong)(x)

    def dense(x: Any, strong: Any, end: str = "softmax", name: str | None = None) -> Any:
        return kl.Dense(2, end, kernel_initializer=strong, name=name)(kl.Flatten()(x))

    def inner(x: Any, strong: Any) -> Any:
        entry = keras.Input((1, 1, 6))
        return keras.Model(entry, kl.Softmax()(dense(entry, strong, "linear")))(x)

    def inner_tail(x: Any, strong: Any) -> Any:
        tail = keras.Sequential([keras.Input((1, 1, 2)), kl.Dropout(0.1), kl.Flatten()])
        return tail(kl.Activation("softmax")(conv(x, strong)))

    def each_step(x: Any, strong: Any) -> Any:
        step = kl.TimeDistributed(kl.Dense(2, "softmax", kernel_initializer=strong))
        return kl.Flatten()(step(kl.Reshape((1, 6))(x)))

    def pooled(x: Any, strong: Any) -> Any:
        wide = kl.UpSampling2D(2)(x)
        return kl.GlobalAveragePooling2D()(kl.Activation("softmax")(conv(wide, strong)))

    def two(x: Any, strong: Any) -> Any:
        first = kl.Dense(2, "relu", name="first")(kl.Flatten()(x))
        return [first, dense(x, strong, name="second")]

    def shared(x: Any, strong: Any) -> Any:
        end = dense(x, strong)
        return [kl.Dense(2)(end), end]

    def wrong_axis(x: Any, strong: Any) -> Any:
        return kl.Flatten()(kl.Softmax(axis=1)(conv(x, strong)))

    def each_pixel(x: Any, strong: Any) -> Any:
        wide = kl.Conv2D(1, 1)(kl.UpSampling2D((2, 1))(x))
        return kl.Flatten()(kl.Activation("softmax")(wide))

    add("reshape", lambda x, s: kl.Reshape((2,))(kl.Activation("softmax")(conv(x, s))))
    add("flatten", lambda x, s: kl.Flatten()(kl.Softmax()(conv(x, s))))
    add("permute", lambda x, s: kl.Flatten()(kl.Permute((3, 1, 2))(kl.Softmax()(conv(x, s)))))
    add("dropout", lambda x, s: kl.Dropout(0.2)(dense(x, s)))
    add("identity", lambda x, s: kl.Identity()(kl.Activation("linear")(dense(x, s))))
    add("operator", lambda x, s: keras.ops.softmax(dense(x, s, "linear")))
    add("inner", inner)
    add("inner-tail", inner_tail)
    add("average", lambda x, s: kl.Average()([dense(x, s), dense(x, None)]))
    add("sharpened", lambda x, s: dense(x, s) * 3.0)
    add("each-step", each_step)
    add("pooled", pooled)
    add("two", two)
    add("shared", shared)
    add("wrong-axis", wrong_axis)
    add("each-pixel", each_pixel)
    return made


def late_norms() -> Any:
    """Conv, ReLU, BatchNorm, as the papers after 2015 do not have it and many models do."""
    keras.utils.set_random_seed(7)
    entry = keras.Input((SIDE, SIDE, 3))
    x = kl.BatchNormalization()(kl.Conv2D(4, 3, activation="relu")(entry))
    x = kl.BatchNormalization()(kl.Conv2D(6, 3, activation="relu", strides=2)(x))
    x = kl.GlobalAveragePooling2D()(x)
    return stirred(keras.Model(entry, kl.Dense(2)(x)))


def normalised() -> dict[str, Any]:
    """Normalization layers: of given statistics, and of such as it learned from images."""
    learned = kl.Normalization()
    learned.adapt(np.random.default_rng(2).normal(3.0, 2.0, (4, 8, 8, 3)).astype(np.float32))
    given = kl.Normalization(mean=[0.1, -0.2, 0.3], variance=[0.5, 0.6, 4.0])
    made = {}
    for name, layer in (("given", given), ("learned", learned)):
        keras.utils.set_random_seed(8)
        entry = keras.Input((SIDE, SIDE, 3))
        x = kl.Conv2D(4, 3, strides=2, activation="relu")(layer(entry))
        made[name] = keras.Model(entry, kl.Dense(2)(kl.GlobalAveragePooling2D()(x)))
    return made


def main(folder: Path) -> None:
    given = np.random.default_rng(1).normal(0, 1, (3, SIDE, SIDE, 3)).astype(np.float32)
    answers = {}
    for name, model in (normalised() | {"late": late_norms()}).items():
        model.save(folder / f"normalised-{name}.keras")
        answers[name] = model(given, training=False).numpy()
    np.savez(folder / "normalised.npz", **answers)
    ends = {}
    for name, model in heads().items():
        model.save(folder / f"end-{name}.keras")
        outputs = model(given, training=False)
        ends[name] = (outputs[-1] if isinstance(outputs, list) else outputs).numpy()
    np.savez(folder / "ends.npz", **ends)
    if (folder / "blob.npz").exists():
        blob(np.load(folder / "blob.npz")).save(folder / "blob.keras")
    model = small()
    model.compile("adam", "categorical_crossentropy")
    model.save(folder / "small.keras")
    model.save(folder / "small.h5")
    model.save(folder / "small.hdf5")
    model.compile("adam", focal, metrics=[Sharpness()])
    model.save(folder / "focal.keras")
    model.save(folder / "focal.h5")
    small("linear").save(folder / "logits.keras")
    small("sigmoid", 1).save(folder / "sigmoid.keras")
    small("relu").save(folder / "relu.keras")
    small(units=3).save(folder / "three.keras")
    body = small("linear")
    keras.Model(body.input, kl.Softmax()(body.output)).save(folder / "softmax-layer.keras")
    steps = [kl.GlobalAveragePooling2D(), kl.Dense(2), kl.Dropout(0.5), kl.Activation("softmax")]
    keras.Sequential([keras.Input((SIDE, SIDE, 3)), *steps]).save(folder / "sequential.keras")
    flat().save(folder / "flat.keras")
    entry = keras.Input((SIDE, SIDE, 3))
    mask = kl.Conv2D(2, 1, activation="softmax")(kl.Conv2D(4, 3, padding="same")(entry))
    keras.Model(entry, mask).save(folder / "mask.keras")
    transfer = nested()
    transfer.save(folder / "nested.keras")
    transfer.save(folder / "nested.h5")
    image = np.random.default_rng(1).normal(0, 1, (3, SIDE, SIDE, 3)).astype(np.float32)
    np.savez(
        folder / "answers.npz",
        small=keras.Model(model.input, model.layers[-1].input)(image, training=False).numpy()
        @ model.layers[-1].get_weights()[0]
        + model.layers[-1].get_weights()[1],
        small_softmax=model(image, training=False).numpy(),
        nested=transfer(image, training=False).numpy(),
    )
    published = stirred(
        keras.applications.MobileNetV2(
            weights=None,
            alpha=0.35,
            classes=2,
            input_shape=(SIDE, SIDE, 3),
            classifier_activation=None,
        )
    )
    published.save(folder / "mobilenet.keras")
    published.save_weights(folder / "mobilenet.weights.h5")
    np.save(folder / "mobilenet.npy", published(image, training=False).numpy())
    twin = keras_model("mobilenet-v2", {"width": 0.35, "classes": 2}, SIDE, SIDE)
    twin.set_weights(published.get_weights())
    np.save(folder / "mobilenet-twin.npy", twin(image, training=False).numpy())
    for alpha in (1.0, 1.4):
        theirs = keras.applications.MobileNetV2(
            weights=None, alpha=alpha, classes=3, input_shape=(224, 224, 3)
        )
        ours = keras_model("mobilenet-v2", {"width": alpha, "classes": 3}, 224, 224)
        kept = [
            [
                (type(item).__name__, item.name, [w.shape for w in item.weights])
                for item in model.layers[1:]
                if not isinstance(item, kl.GlobalAveragePooling2D)  # which they number
            ]
            for model in (theirs, ours)
        ]
        (folder / f"names-{alpha}").write_text(str(kept[0] == kept[1]), encoding="utf-8")
    with_layer(kl.Lambda(lambda x: 2 * x, name="twice")).save(folder / "lambda.keras")
    with_layer(kl.Lambda(lambda x: 2 * x, name="twice")).save(folder / "lambda.h5")
    with_layer(Doubled(name="doubled")).save(folder / "custom.keras")
    with_layer(Doubled(name="doubled")).save(folder / "custom.h5")
    with_layer(kl.Conv2D(4, 3, dtype="mixed_float16", name="half")).save(folder / "half.keras")
    for source in sorted(folder.glob("vgg10*.h5")):
        twin = keras_model("vgg10", {"width": 0.1, "classes": 4}, SIDE, SIDE)
        twin.load_weights(source)
        twin.save(folder / "twin.keras")
        twin.save_weights(folder / "twin.weights.h5")
    for source in sorted(folder.glob("odd*.h5")):
        twin = keras_model("mobilenet-v2", {"width": 0.35, "classes": 2}, 65, 65)
        twin.load_weights(source)
        twin.save_weights(folder / "odd-twin.weights.h5")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
