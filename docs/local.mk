# SPDX-License-Identifier: BSD-2-Clause
EXTRA_DIST += docs/audio-format.md docs/design.md docs/entropy.md docs/format.md docs/audio.md docs/ffmpeg.md docs/kv.md docs/kv-format.md docs/media.md docs/models.md docs/tokens.md \
	docs/vq.md docs/sample.md docs/sample.png docs/sample.wav docs/sample-kv.safetensors docs/codecs/hyper.md \
	docs/codecs/mcquic.md docs/codecs/encodec.md docs/codecs/hificodec.md docs/codecs/vqgan.md
EXTRA_DIST += docs/kv-store.md
EXTRA_DIST += docs/codecs/semantic.md
EXTRA_DIST += docs/gpu.md
EXTRA_DIST += docs/fuzzing.md SECURITY.md
EXTRA_DIST += docs/limits.md docs/analysis.md

# The manual.  A page for each command, and the completion, are made by the
# program from its tables of options.
dist_man_MANS = docs/man/libtessera.3 docs/man/tess.5
EXTRA_DIST += tools/complete.bash
command_pages = docs/man/tessera.1 docs/man/tessera-codebook.1 \
	docs/man/tessera-compare.1 docs/man/tessera-decode.1 \
	docs/man/tessera-encode.1 docs/man/tessera-info.1 docs/man/tessera-import.1 \
	docs/man/tessera-kv.1 docs/man/tessera-models.1 \
	docs/man/tessera-remux.1 docs/man/tessera-tokens.1 \
	docs/man/tessera-transcode.1
if TSR_PAGES
nodist_man_MANS = $(command_pages)
bash_completiondir = $(datadir)/bash-completion/completions
nodist_bash_completion_DATA = docs/completion/tessera
CLEANFILES += $(command_pages) docs/completion/tessera
$(command_pages): tessera$(EXEEXT)
	@$(MKDIR_P) $(@D)
	$(AM_V_GEN)name=$(@F) && ./tessera$(EXEEXT) help -man $${name%.1} > $@.tmp && \
	  mv -f $@.tmp $@
docs/completion/tessera: tessera$(EXEEXT) $(srcdir)/tools/complete.bash
	@$(MKDIR_P) $(@D)
	$(AM_V_GEN){ ./tessera$(EXEEXT) help -bash && cat $(srcdir)/tools/complete.bash; } > $@.tmp && \
	  mv -f $@.tmp $@
endif

# Types of files: for desktops, and for file(1), which has no folder to put it in.
mimedir = $(datadir)/mime/packages
dist_mime_DATA = docs/desktop/tessera.xml
dist_pkgdata_DATA = docs/desktop/tessera.magic
EXTRA_DIST += docs/codecs/xcodec.md
EXTRA_DIST += docs/codecs/semanticodec.md
