"""Classify the subcellular location of human proteins from fluorescence microscopy images.

The package is the library behind the notebooks. Imports point one way, from how results look
down to facts:

1. what a user starts: ``cli``, ``doctor``, ``execution``, ``notebook``, ``sweep_jobs``
2. how results look: ``reports`` and the ``report_…`` modules, ``plots``, ``plots_errors``,
   ``plots_embeddings``, ``plots_samples``, ``gallery``, ``front_end``, ``watching``,
   ``image_browser``
3. what trained networks are worth: ``comparison``, ``seed_spread``, ``threshold_comparison``,
   ``better_predictions``, ``decision_counts``, ``misleading_metric``, ``precision_recall``,
   ``co_errors``, ``confident_errors``, ``explanations``, ``embeddings``, ``embedding_map``,
   ``embedding_store``, ``neighbours``, ``retrieval``, ``label_errors``, ``sample_selection``,
   ``folder_prediction``, ``submissions``, ``sweep_results``, ``sweep_resources``,
   ``out_of_fold``
4. protocols: ``training``, ``training_state``, ``results``, ``trained_runs``, ``run_decisions``,
   ``evaluation``, ``source_evaluation``, ``wording``, ``predictions``, ``runs``, ``run_digests``,
   ``sweeps``
5. the mathematics: ``models``, ``backbones``, ``initialization``, ``batch_normalization``,
   ``losses``, ``optimizers``, ``schedules``, ``weight_averages``, ``devices``,
   ``mixed_precision``, ``costs``, ``inference``, ``frozen_features``, ``attribution``,
   ``metrics``, ``ranking_bootstrap``, ``study_metrics``, ``thresholds``, ``calibration``,
   ``ensembles``, ``baselines``, ``fold_statistics``, ``gpu_pool``
6. the data: ``dataset``, ``file_marks``, ``layouts``, ``label_tables``, ``csv_tables``,
   ``image_files``, ``png_unpacking``, ``checks``, ``archives``, ``samples``, ``decoded_samples``,
   ``cache``, ``cache_pruning``, ``class_sampling``, ``feed``, ``images``, ``image_view``,
   ``resizing``, ``augment``, ``device_augmentation``, ``batch_memory``, ``splits``,
   ``stratification``, ``near_duplicates``, ``fetch``, ``downloads``, ``embedded``, ``synthetic``
   and the ``synthetic_…`` modules
7. facts: ``labels``, ``pattern_descriptions``, ``parameters``, ``paths``, ``files``,
   ``code_digest``, ``processes``, ``pipeline_lock``, ``errors``, ``backend``, ``imgaug_shim``,
   ``nbconvert_shim``
"""

__version__ = "0.1.0"
