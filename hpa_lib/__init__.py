"""Classify the subcellular location of human proteins from fluorescence microscopy images.

The package is the library behind the notebooks. Imports point one way, from how results look
down to facts:

1. ``cli``, ``doctor``, ``execution``, ``notebook``: what a user starts
2. ``reports``, ``plots``: how results look
3. ``training``, ``evaluation``, ``predictions``, ``runs``: protocols
4. ``models``, ``optimizers``, ``metrics``, ``baselines``: the mathematics
5. ``dataset``, ``cache``, ``feed``, ``images``, ``augment``, ``splits``, ``synthetic``: the data
6. ``labels``, ``paths``, ``parameters``, ``errors``, ``files``, ``imgaug_shim``: facts
"""

__version__ = "0.1.0"
