"""Integrated gradients: how much each pixel of a stain adds to the log-odds of a class.

The network sees an image fade in from a baseline, and the gradient of the class's log-odds is
summed up along the way. Here the baseline is the same image with one channel black, so that the
map says what this channel's pixels add, given all the others, which stay as they are.

Chosen for these networks with reasons:

* Grad-CAM has the resolution of the last convolution. InceptionResNetV2 leaves a single place of
  an image of 75 pixels and VGG16 four; and a place there mixes all channels of the image.
* Black is what an unstained sample would give, so the baseline means something.
* A map adds up to the difference between the log-odds of image and baseline (completeness). The
  difference is computed too, which checks the numerical integral.

Source: Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks" (2017). The check
with changed weights: Adebayo et al., "Sanity checks for saliency maps" (2018).
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from hpa_lib.backend import keras, tf

# Values of images whose gradient is computed at once: 48 images of 75 × 75 pixels.
_PIXELS_AT_ONCE = 48 * 75 * 75


@dataclass(frozen=True)
class Attribution:
    """Maps of some images for one network and one class each.

    Attributes:
        maps: What each pixel adds to the log-odds, shape (samples, height, width), float64.
        log_odds: Of the class, given the image, shape (samples,).
        baseline_log_odds: Of the class, given the baseline, shape (samples,).
    """

    maps: np.ndarray
    log_odds: np.ndarray
    baseline_log_odds: np.ndarray

    @property
    def difference(self) -> np.ndarray:
        """Log-odds of the image minus those of the baseline, shape (samples,)."""
        return self.log_odds - self.baseline_log_odds

    @property
    def total(self) -> np.ndarray:
        """Sum of each map, shape (samples,); the difference up to the error of the integral."""
        return self.maps.sum(axis=(1, 2))


class IntegratedGradients:
    """Integrated gradients of one network, traced once; uses the network's present weights.

    The straight way from baseline to image is passed at a speed that grows from 0: the integral
    over a way doesn't depend on the speed, and the integrand stays smooth where a network takes
    the square root of an intensity. The integral is a Gauss–Legendre sum.

    Args:
        model: Network that maps images 0–255 to probabilities; its last layer is dense with a
            sigmoid.
    """

    def __init__(self, model: keras.Model) -> None:
        last = model.layers[-1]
        features = keras.Model(model.inputs, last.input)
        self._at_once = max(1, _PIXELS_AT_ONCE // (model.input_shape[1] * model.input_shape[2]))

        def log_odds_and_gradient(images: tf.Tensor, classes: tf.Tensor) -> tuple[tf.Tensor, ...]:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(images)
                hidden = tf.cast(features(images, training=False), tf.float32)
                weights = tf.gather(last.kernel.value, classes, axis=1)
                bias = tf.gather(last.bias.value, classes)
                log_odds = tf.reduce_sum(hidden * tf.transpose(weights), axis=-1) + bias
            return log_odds, tape.gradient(log_odds, images)

        signature = [
            tf.TensorSpec((None, *model.input_shape[1:]), tf.float32),
            tf.TensorSpec((None,), tf.int32),
        ]
        self._forward_and_back = tf.function(log_odds_and_gradient, input_signature=signature)

    def __call__(
        self, images: np.ndarray, baselines: np.ndarray, classes: np.ndarray, steps: int = 16
    ) -> Attribution:
        """Explain one class of each image.

        Args:
            images: Shape (samples, height, width, channels), values 0–255.
            baselines: Same shape; pixels that equal the image's get 0 in the map.
            classes: Class index of each sample, shape (samples,).
            steps: Points on the way from baseline to image where the gradient is taken.

        Returns:
            The maps, summed over the channels of the image.
        """
        images, baselines = np.float32(images), np.float32(baselines)
        change = images - baselines
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        speed = (nodes + 1) / 2
        fractions = np.float32([0, *np.square(speed), 1])
        samples, points = len(images), len(fractions)
        log_odds = np.empty((samples, points))
        gradients = np.zeros(images.shape)
        jobs = np.argwhere(np.ones((samples, points), bool))
        for start in range(0, len(jobs), self._at_once):
            sample, point = jobs[start : start + self._at_once].T
            on_the_way = baselines[sample] + fractions[point, None, None, None] * change[sample]
            odds, gradient = self._forward_and_back(on_the_way, np.int32(classes)[sample])
            log_odds[sample, point] = odds.numpy()
            # Both ends count for their log-odds only: a square root has no gradient at 0.
            share = np.array([0, *(weights * speed), 0])[point]
            inside = share > 0
            part = np.where(change[sample] != 0, gradient.numpy(), 0)
            np.add.at(gradients, sample[inside], part[inside] * share[inside, None, None, None])
        maps = (gradients * change).sum(axis=-1)
        return Attribution(maps, log_odds[:, -1], log_odds[:, 0])


def shuffle_weights(model: keras.Model, seed: int) -> None:
    """Exchange the values within each of a network's weight arrays at random, in place.

    Each layer keeps the distribution of its weights and loses what it has learned.
    """
    random = np.random.default_rng(seed)
    for weight in model.weights:
        values = weight.numpy()
        weight.assign(random.permutation(values.ravel()).reshape(values.shape))


def rank_correlation(first: np.ndarray, second: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of two maps of each sample, over some of their pixels.

    Args:
        first: Maps, shape (samples, height, width).
        second: Same shape.
        where: Same shape; whether a pixel counts.

    Returns:
        Array of shape (samples,), values −1 to 1; NaN where a map is constant.
    """
    pairs = zip(first, second, where, strict=True)
    with np.errstate(invalid="ignore"):
        return np.array(
            [
                stats.spearmanr(one[chosen], other[chosen]).statistic
                if np.ptp(one[chosen]) and np.ptp(other[chosen])
                else np.nan
                for one, other, chosen in pairs
            ]
        )
