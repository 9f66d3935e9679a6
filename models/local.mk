# SPDX-License-Identifier: BSD-2-Clause
modelsdir = $(pkgdatadir)/models
dist_models_DATA = models/photo.safetensors models/sound.safetensors models/mosaic.safetensors
dist_models_DATA += models/semantic.safetensors
EXTRA_DIST += models/README.md
