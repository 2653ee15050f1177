"""Augmentation ``strong`` where the network computes: the operations of `augment` as Keras layers.

On the processor imgaug takes so long that a GPU waits for it. Here the host draws what happens to
each image (`augment.draw_strong`), and the device does it to the whole batch, before several
devices share it: what a sample becomes depends on the seed and its place in the batch alone, not
on its neighbours or the number of devices. Noise comes from a generator without a state.

Like imgaug, each operation gives whole grey levels; all compute in single precision, whatever the
network does.
"""

import math
from collections.abc import Sequence

import numpy as np

from hpa_lib import augment
from hpa_lib.augment import STRONG, Mixture, StrongDraws
from hpa_lib.backend import keras, tf

ops = keras.ops

_VIEW_PARTS = np.array(
    [
        (0, 0, 1),  # horizontal flip
        (0, 1, 0),  # vertical flip
        (0, 1, 1),  # rotation by 180°
        (1, 1, 0),  # rotation by 270°
        (1, 0, 1),  # rotation by 90°
        (1, 0, 0),  # transposition
        (1, 1, 1),  # transposition of what is turned by 180°
        (0, 0, 0),  # the image itself
    ],
    dtype=bool,
)
"""Whether a view is transposed, and then whether its rows and its columns are reversed."""


class View(keras.layers.Layer):
    """Flips and turns images exactly; see `augment.take_views`."""

    def call(self, images: keras.KerasTensor, views: keras.KerasTensor) -> keras.KerasTensor:
        """Images of shape (images, size, size, channels) and any dtype, and their views."""
        parts = ops.take(_VIEW_PARTS, views, axis=0)[:, :, None, None, None]
        images = ops.where(parts[:, 0], ops.swapaxes(images, 1, 2), images)
        images = ops.where(parts[:, 1], ops.flip(images, 1), images)
        return ops.where(parts[:, 2], ops.flip(images, 2), images)


class Place(keras.layers.Layer):
    """Scales images about their centre, shifts them, and mirrors them at their edges."""

    def call(
        self, images: keras.KerasTensor, scales: keras.KerasTensor, shifts: keras.KerasTensor
    ) -> keras.KerasTensor:
        """Images, values 0–255, with scales and shifts within `augment.STRONG`."""
        size, smallest = images.shape[1], STRONG.scale[0]
        beyond = (1 / smallest - 1) / 2 + max(map(abs, STRONG.shift)) / smallest
        margin = min(math.ceil(beyond * size) + 1, size - 1)
        # TensorFlow's own reflection repeats the outermost pixels, OpenCV's doesn't.
        sides = ((0, 0), (margin, margin), (margin, margin), (0, 0))
        padded = ops.pad(images, sides, mode="reflect")
        centre, inverse = (size - 1) / 2, 1 / scales
        starts = margin + centre - (centre + shifts * size) * inverse[:, None]
        zero = ops.zeros_like(scales)
        rows = (inverse, zero, starts[:, 0], zero, inverse, starts[:, 1], zero, zero)
        moved = tf.raw_ops.ImageProjectiveTransformV3(
            images=padded,
            transforms=ops.stack(rows, axis=1),
            output_shape=(size, size),
            interpolation="BILINEAR",
            fill_mode="REFLECT",
            fill_value=0.0,
        )
        return ops.round(tf.ensure_shape(moved, images.shape))


class Brightness(keras.layers.Layer):
    """Multiplies the values of each channel."""

    def call(self, images: keras.KerasTensor, factors: keras.KerasTensor) -> keras.KerasTensor:
        """Images, values 0–255, and factors of shape (images, channels)."""
        return ops.floor(ops.clip(images * factors[:, None, None], 0, 255))


class Gamma(keras.layers.Layer):
    """Raises the values of each channel, as shares of 255, to a power."""

    def call(self, images: keras.KerasTensor, exponents: keras.KerasTensor) -> keras.KerasTensor:
        """Images, values 0–255, and exponents of shape (images, channels)."""
        return ops.floor(255 * (images / 255) ** exponents[:, None, None])


class Noise(keras.layers.Layer):
    """Adds normal noise to each pixel of each channel."""

    def call(
        self, images: keras.KerasTensor, deviations: keras.KerasTensor, seed: keras.KerasTensor
    ) -> keras.KerasTensor:
        """Images, values 0–255, a deviation for each, and two numbers to draw noise from."""
        normal = tf.random.stateless_normal(ops.shape(images), seed, alg="philox")
        noise = ops.round(normal * deviations[:, None, None, None])
        return ops.clip(images + noise, 0, 255)


class Square(keras.layers.Layer):
    """Paints a black square into images."""

    def call(
        self, images: keras.KerasTensor, sides: keras.KerasTensor, centres: keras.KerasTensor
    ) -> keras.KerasTensor:
        """Images, with the sides and the centres of the squares; see `augment.StrongDraws`."""
        size = images.shape[1]
        # As imgaug: both corners are rounded down, so that a square is whole pixels wide.
        first = ops.floor((centres - sides[:, None] / 2) * size)[:, :, None]
        after = ops.floor((centres + sides[:, None] / 2) * size)[:, :, None]
        pixels = ops.arange(size, dtype="float32")
        inside = ops.logical_and(first <= pixels, pixels < after)
        square = ops.logical_and(inside[:, 1, :, None], inside[:, 0, None, :])
        return ops.where(square[..., None], 0.0, images)


class Mix(keras.layers.Layer):
    """Mixes the images of a batch with each other; see `augment.Mixture`."""

    def call(
        self, images: keras.KerasTensor, others: keras.KerasTensor, shares: keras.KerasTensor
    ) -> keras.KerasTensor:
        """Images, the positions of those that they are mixed with, and the shares they keep."""
        shares = shares[:, None, None, None]
        return ops.round(images * shares + ops.take(images, others, axis=0) * (1 - shares))


class DeviceAugmenter:
    """Draws ``strong`` for batches of images, and does it where the network computes."""

    def __init__(self) -> None:
        self._view, self._place, self._brightness, self._gamma, self._noise, self._square = (
            layer(dtype="float32") for layer in (View, Place, Brightness, Gamma, Noise, Square)
        )
        self._mix = Mix(dtype="float32")
        self._change = tf.function(self._changed)

    def __call__(
        self,
        images: Sequence[np.ndarray] | np.ndarray | tf.Tensor,
        seed: int | Sequence[int],
        mixture: Mixture | None = None,
    ) -> tf.Tensor:
        """Augment a batch of images; see `augment.augment_batch`.

        Args:
            images: Shape (images, size, size, channels), whole values 0–255, or a list of images.
            seed: One number or several; the same ones give the same result.
            mixture: How images are mixed after that; None if they aren't.

        Returns:
            New images of the same shape and dtype, with whole values 0–255.
        """
        images, random = tf.convert_to_tensor(images), np.random.default_rng(seed)
        draws = augment.draw_strong(images.shape[0], images.shape[-1], random)
        return self._change(images, draws, mixture)

    def _changed(self, images: tf.Tensor, draws: StrongDraws, mixture: Mixture | None) -> tf.Tensor:
        changed = ops.cast(self._view(images, draws.views), "float32")
        changed = self._place(changed, draws.scales, draws.shifts)
        changed = self._brightness(changed, draws.brightness)
        changed = self._gamma(changed, draws.gammas)
        changed = self._noise(changed, draws.noise, draws.noise_seed)
        changed = self._square(changed, draws.squares, draws.centres)
        if mixture is not None:
            changed = self._mix(changed, mixture.others, mixture.shares)
        return ops.cast(changed, images.dtype)
