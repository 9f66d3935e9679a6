# SPDX-License-Identifier: BSD-2-Clause
noinst_HEADERS += codecs/registry.list codecs/image/hyper.h \
	codecs/image/image.h codecs/image/image_codec.h
libtsrcore_la_SOURCES += codecs/registry.c codecs/image/alpha.c \
	codecs/image/hyper.c codecs/image/hyper_model.c \
	codecs/image/hyper_nets.c codecs/image/hyper_units.c \
	codecs/image/image.c codecs/image/image_decode.c \
	codecs/image/image_encode.c codecs/image/image_head.c \
	codecs/image/image_parts.c
noinst_HEADERS += codecs/image/hyper_units.h
libtsrcore_la_SOURCES += codecs/image/hyper_predict.c
noinst_HEADERS += codecs/image/device_book.h
libtsrcore_la_SOURCES += codecs/image/device_book.c \
	codecs/image/hyper_device.c codecs/image/mcquic_device.c \
	codecs/image/token_device.c
noinst_HEADERS += codecs/image/cuda/maps.h codecs/image/cuda/maps_kernels.h
if TSR_CUDA
libtsrcuda_la_SOURCES += codecs/image/cuda/maps.cu codecs/image/cuda/maps_cuda.c
cuda_deps += codecs/image/cuda/$(DEPDIR)/maps.cu.d
else
libtsrcore_la_SOURCES += codecs/image/cuda/maps_nocuda.c
endif
noinst_HEADERS += codecs/lanes.h
pkginclude_HEADERS += include/tessera/cuda.h
libtsrcore_la_SOURCES += codecs/image/image_cuda.c
libtsrcore_la_SOURCES += codecs/groups.c codecs/groups.h
libtsrcore_la_SOURCES += codecs/image/image_group.c
libtsrcore_la_SOURCES += codecs/image/token_group.c codecs/image/mcquic_group.c
libtsrcore_la_SOURCES += codecs/lanes.c codecs/image/image_batch.c \
	codecs/image/image_keep.c
noinst_HEADERS += codecs/image/video.h
libtsrcore_la_SOURCES += codecs/image/video_decode.c \
	codecs/image/video_encode.c codecs/image/video_head.c
noinst_HEADERS += codecs/image/mcquic.h
libtsrcore_la_SOURCES += codecs/image/mcq.c codecs/image/mcquic.c codecs/image/mcquic_net.c \
	codecs/image/mcquic_run.c codecs/image/mcquic_units.c
libtsrcore_la_SOURCES += codecs/image/mcquic_stages.c
# Pictures of tokens: what a model says about its codes, and their coding.
# Lost tokens.
noinst_HEADERS += codecs/image/token_book.h codecs/image/token_book_impl.h \
	codecs/image/token_units.h
libtsrcore_la_SOURCES += codecs/image/token_book.c codecs/image/token_units.c
# How models get that.
noinst_HEADERS += codecs/image/token_nest.h
libtsrcore_la_SOURCES += codecs/image/token_context.c \
	codecs/image/token_nest.c codecs/image/token_tree.c
noinst_HEADERS += codecs/image/token_fill.h codecs/image/token_fill_net.h \
	codecs/image/token_near.h
libtsrcore_la_SOURCES += codecs/image/token_fill.c \
	codecs/image/token_fill_net.c codecs/image/token_near.c
noinst_HEADERS += codecs/image/token.h codecs/image/token_net.h
libtsrcore_la_SOURCES += codecs/image/simvq_net.c codecs/image/token.c \
	codecs/image/token_codewords.c codecs/image/token_net.c \
	codecs/image/tokens.c codecs/image/vqgan_net.c
libtsrcore_la_SOURCES += codecs/image/token_host.c
noinst_HEADERS += codecs/audio/audio_codec.h codecs/audio/codes.h

# The coding of the codes of sound.
noinst_HEADERS += codecs/audio/codes_impl.h codecs/audio/codes_inside.h
libtsrcore_la_SOURCES += codecs/audio/codes.c codecs/audio/codes_adapt.c \
	codecs/audio/codes_logs.c codecs/audio/codes_model.c \
	codecs/audio/codes_symbol.c codecs/audio/codes_tables.c
noinst_HEADERS += codecs/audio/codes_lm.h
libtsrcore_la_SOURCES += codecs/audio/codes_lm.c codecs/audio/codes_lm_model.c
if TSR_X86
libtsravx2_la_SOURCES += codecs/audio/x86/codes_lm_avx2.c \
	codecs/audio/x86/codes_logs_avx2.c
else
libtsrcore_la_SOURCES += codecs/audio/x86/codes_lm_none.c \
	codecs/audio/x86/codes_logs_none.c
endif
noinst_HEADERS += codecs/audio/ecdc.h
libtsrcore_la_SOURCES += codecs/audio/ecdc.c codecs/audio/ecdc_file.c
# Sound: what is around its codecs.
noinst_HEADERS += codecs/audio_registry.list codecs/audio/audio.h
libtsrcore_la_SOURCES += codecs/audio_registry.c codecs/audio/audio.c \
	codecs/audio/audio_batch.c \
	codecs/audio/audio_decode.c codecs/audio/audio_describe.c \
	codecs/audio/audio_encode.c codecs/audio/audio_encode_open.c \
	codecs/audio/audio_file.c codecs/audio/audio_head.c \
	codecs/audio/audio_play.c codecs/audio/audio_state.c
# Several streams in time in one file.
noinst_HEADERS += codecs/media/media.h lib/stream.h
libtsrcore_la_SOURCES += codecs/media/media.c codecs/media/media_index.c \
	codecs/media/media_read.c codecs/media/media_write.c
# EnCodec and HiFi-Codec: nets, and what they have in common.
noinst_HEADERS += codecs/audio/encodec.h codecs/audio/flow.h \
	codecs/audio/hificodec.h codecs/audio/loader.h codecs/audio/quantiser.h
libtsrcore_la_SOURCES += codecs/audio/blocks.c codecs/audio/encodec.c \
	codecs/audio/encodec_nets.c codecs/audio/flow.c \
	codecs/audio/flow_dec.c codecs/audio/flow_state.c \
	codecs/audio/hificodec.c codecs/audio/hificodec_nets.c \
	codecs/audio/loader.c codecs/audio/quantiser.c codecs/audio/segments.c
noinst_HEADERS += codecs/audio/search.h
libtsrcore_la_SOURCES += codecs/audio/search.c
noinst_HEADERS += codecs/kv/kv.h codecs/kv/match.h codecs/kv/method.h \
	codecs/kv/move.h codecs/kv/profile.h codecs/kv/rope.h

# Caches to floats and back: positions, number formats, strides, quantiser.
noinst_HEADERS += codecs/kv/move_impl.h \
	codecs/kv/x86/floats_avx2.h codecs/kv/x86/tile_avx2.h
libtsrcore_la_SOURCES += codecs/kv/floats.c codecs/kv/move.c \
	codecs/kv/quantise.c codecs/kv/rope.c codecs/kv/tile.c
if TSR_X86
libtsravx2_la_SOURCES += codecs/kv/x86/move_avx2.c codecs/kv/x86/tile_avx2.c
else
libtsrcore_la_SOURCES += codecs/kv/x86/move_none.c
endif

# Profiles: transforms, prediction from token ids, references.
libtsrcore_la_SOURCES += codecs/kv/calibrate.c
noinst_HEADERS += codecs/kv/chain.h
libtsrcore_la_SOURCES += codecs/kv/chain.c codecs/kv/match.c \
	codecs/kv/predict.c codecs/kv/profile.c codecs/kv/transform.c
if TSR_X86
libtsravx2_la_SOURCES += codecs/kv/x86/chain_avx2.c
else
libtsrcore_la_SOURCES += codecs/kv/x86/chain_none.c
endif

# Published methods.
noinst_HEADERS += codecs/kv/cachegen.h codecs/kv/method_list.h \
	codecs/kv/method_parts.h
libtsrcore_la_SOURCES += codecs/kv/cachegen.c codecs/kv/cachegen_read.c \
	codecs/kv/cachegen_stream.c codecs/kv/cachegen_write.c \
	codecs/kv/method.c \
	codecs/kv/method_cachegen.c codecs/kv/method_codes.c \
	codecs/kv/method_fp8.c codecs/kv/method_gear.c \
	codecs/kv/method_grid.c codecs/kv/method_kivi.c \
	codecs/kv/method_kvquant.c codecs/kv/method_lossless.c \
	codecs/kv/method_options.c codecs/kv/method_sparse.c \
	codecs/kv/method_turboquant.c codecs/kv/method_vq.c \
	codecs/kv/method_zipcache.c

# Objects: front, encoding, decoding.
noinst_HEADERS += codecs/kv/kv_decode.h codecs/kv/kv_internal.h
libtsrcore_la_SOURCES += codecs/kv/kv_decode.c codecs/kv/kv_decode_group.c \
	codecs/kv/kv_encode.c codecs/kv/kv_encode_group.c \
	codecs/kv/kv_encode_rows.c codecs/kv/kv_head.c codecs/kv/kv_open.c \
	codecs/kv/kv_probe.c codecs/kv/kv_scratch.c codecs/kv/kv_step.c \
	codecs/kv/kv_units.c

# The entropy model of hyper on the GPU.
noinst_HEADERS += codecs/image/cuda/hyper_gpu.h codecs/image/cuda/hyper_kernels.h \
	codecs/image/cuda/hyper_cuda.h
if TSR_CUDA
libtsrcuda_la_SOURCES += codecs/image/cuda/hyper_cuda.c \
	codecs/image/cuda/hyper_units_cuda.c \
	codecs/image/cuda/hyper_kernels.cu
cuda_deps += codecs/image/cuda/$(DEPDIR)/hyper_kernels.cu.d
else
libtsrcore_la_SOURCES += codecs/image/cuda/hyper_nocuda.c
endif

# KV objects on the GPU.
pkginclude_HEADERS += include/tessera/kv_cuda.h
noinst_HEADERS += codecs/kv/cuda/crc.cuh codecs/kv/cuda/kv.cuh \
	codecs/kv/cuda/kv_device.h codecs/kv/cuda/kv_kernels.h \
	codecs/kv/cuda/rows.cuh
if TSR_CUDA
libtsrcuda_la_SOURCES += codecs/kv/cuda/kv_cuda.c \
	codecs/kv/cuda/kv_cuda_groups.c codecs/kv/cuda/kv_cuda_open.c \
	codecs/kv/cuda/kv_dec.cu codecs/kv/cuda/kv_enc.cu \
	codecs/kv/cuda/kv_front.cu codecs/kv/cuda/kv_get.cu \
	codecs/kv/cuda/kv_load.cu codecs/kv/cuda/kv_matrix.cu \
	codecs/kv/cuda/kv_pack.cu codecs/kv/cuda/kv_put.cu
libtsrcuda_la_SOURCES += codecs/kv/cuda/kv_cuda_method.c
libtsrcuda_la_SOURCES += codecs/kv/cuda/kv_method.cu
libtsrcuda_la_SOURCES += codecs/kv/cuda/kv_far_put.cu
libtsrcuda_la_SOURCES += codecs/kv/cuda/kv_gear_put.cu
libtsrcuda_la_SOURCES += codecs/kv/cuda/kv_kvquant_put.cu
libtsrcuda_la_SOURCES += codecs/kv/cuda/kv_vq_put.cu
libtsrcuda_la_SOURCES += codecs/kv/cuda/kv_method_put.cu
libtsrcuda_la_SOURCES += codecs/kv/cuda/kv_parts.cu
libtsrcuda_la_SOURCES += codecs/kv/cuda/kv_recode.cu
noinst_HEADERS += codecs/kv/cuda/classes.cuh codecs/kv/cuda/classes_train.cuh \
	codecs/kv/cuda/coded.cuh codecs/kv/cuda/codes_put.cuh \
	codecs/kv/cuda/far.cuh codecs/kv/cuda/method.cuh codecs/kv/cuda/put.cuh \
	codecs/kv/cuda/range_put.cuh codecs/kv/cuda/tables_put.cuh
libtsrcuda_la_SOURCES += codecs/kv/cuda/kv_refer.cu
libtsrcuda_la_SOURCES += codecs/kv/cuda/kv_destination.c
cuda_deps += codecs/kv/cuda/$(DEPDIR)/kv_dec.cu.d \
	codecs/kv/cuda/$(DEPDIR)/kv_enc.cu.d codecs/kv/cuda/$(DEPDIR)/kv_front.cu.d \
	codecs/kv/cuda/$(DEPDIR)/kv_get.cu.d codecs/kv/cuda/$(DEPDIR)/kv_load.cu.d \
	codecs/kv/cuda/$(DEPDIR)/kv_matrix.cu.d \
	codecs/kv/cuda/$(DEPDIR)/kv_pack.cu.d codecs/kv/cuda/$(DEPDIR)/kv_put.cu.d
cuda_deps += codecs/kv/cuda/$(DEPDIR)/kv_method.cu.d
cuda_deps += codecs/kv/cuda/$(DEPDIR)/kv_far_put.cu.d
cuda_deps += codecs/kv/cuda/$(DEPDIR)/kv_gear_put.cu.d
cuda_deps += codecs/kv/cuda/$(DEPDIR)/kv_kvquant_put.cu.d
cuda_deps += codecs/kv/cuda/$(DEPDIR)/kv_vq_put.cu.d
cuda_deps += codecs/kv/cuda/$(DEPDIR)/kv_method_put.cu.d
cuda_deps += codecs/kv/cuda/$(DEPDIR)/kv_parts.cu.d
cuda_deps += codecs/kv/cuda/$(DEPDIR)/kv_recode.cu.d
cuda_deps += codecs/kv/cuda/$(DEPDIR)/kv_refer.cu.d
else
libtsrcore_la_SOURCES += codecs/kv/cuda/kv_nocuda.c
endif
# Checkpoints of other programs become model files.
noinst_HEADERS += codecs/import/import_impl.h
libtsrcore_la_SOURCES += codecs/import/import.c codecs/import/import_arch.c \
	codecs/import/import_audio.c codecs/import/import_decide.c \
	codecs/import/import_image.c codecs/import/import_make.c
# KV caches: names, and the form in which stores keep them.
libtsrcore_la_SOURCES += codecs/kv/chunk.c codecs/kv/chunk_name.c
# Features of recognisers.
noinst_HEADERS += codecs/audio/fbank.h
libtsrcore_la_SOURCES += codecs/audio/fbank.c
# Speech at a kilobit, and the search in its codes.
pkginclude_HEADERS += include/tessera/find.h
libtsrcore_la_SOURCES += codecs/audio/find.c codecs/audio/semantic.c
# X-Codec, its decoder.
libtsrcore_la_SOURCES += codecs/audio/xcodec.c
# SemantiCodec's decoder: noise, the UNet.
noinst_HEADERS += codecs/audio/diffusion.h
noinst_HEADERS += codecs/audio/latent.h
noinst_HEADERS += codecs/audio/noise.h
noinst_HEADERS += codecs/audio/semanticodec_decode.h
noinst_HEADERS += codecs/audio/unet.h
noinst_HEADERS += codecs/audio/unet_device.h
noinst_HEADERS += codecs/audio/unet_device_impl.h
noinst_HEADERS += codecs/audio/unet_impl.h
libtsrcore_la_SOURCES += codecs/audio/diffusion.c
libtsrcore_la_SOURCES += codecs/audio/latent.c
libtsrcore_la_SOURCES += codecs/audio/noise.c
libtsrcore_la_SOURCES += codecs/audio/semanticodec_decode.c
libtsrcore_la_SOURCES += codecs/audio/semanticodec_draw.c
libtsrcore_la_SOURCES += codecs/audio/semanticodec_front.c
libtsrcore_la_SOURCES += codecs/audio/semanticodec_macs.c
libtsrcore_la_SOURCES += codecs/audio/unet.c
libtsrcore_la_SOURCES += codecs/audio/unet_device.c
libtsrcore_la_SOURCES += codecs/audio/unet_load.c
libtsrcore_la_SOURCES += codecs/audio/unet_size.c
libtsrcore_la_SOURCES += codecs/audio/unet_steps.c
# SemantiCodec, its encoder.
noinst_HEADERS += codecs/audio/bilstm.h codecs/audio/semanticodec.h codecs/audio/vit.h
libtsrcore_la_SOURCES += codecs/audio/bilstm.c codecs/audio/semanticodec.c \
	codecs/audio/semanticodec_window.c codecs/audio/vit.c
