# SPDX-License-Identifier: BSD-2-Clause
# Filter plugins for ffmpeg and other hosts.  Modules are shared libraries.
if TSR_PLUGINS
noinst_LTLIBRARIES += tools/ffmpeg/libtsrplug.la
tools_ffmpeg_libtsrplug_la_SOURCES = tools/ffmpeg/plug.c tools/ffmpeg/plug.h \
	tools/ffmpeg/side.c
tools_ffmpeg_libtsrplug_la_CPPFLAGS = $(AM_CPPFLAGS) -D_XOPEN_SOURCE=700
# A host may unload a plugin; libraries below this one may have left threads.
plugin_ldflags = -module -avoid-version -shared -no-undefined -Wl,-z,defs \
	-Wl,-z,nodelete

frei0r_LTLIBRARIES = tools/ffmpeg/frei0r/tessera.la
tools_ffmpeg_frei0r_tessera_la_SOURCES = tools/ffmpeg/frei0r.c
tools_ffmpeg_frei0r_tessera_la_CPPFLAGS = $(AM_CPPFLAGS) -D_GNU_SOURCE
tools_ffmpeg_frei0r_tessera_la_LDFLAGS = $(plugin_ldflags) \
	-export-symbols-regex '^f0r_'
tools_ffmpeg_frei0r_tessera_la_LIBADD = tools/ffmpeg/libtsrplug.la libtessera.la

# What plugins of sound share.
noinst_LTLIBRARIES += tools/ffmpeg/libtsrtrip.la
tools_ffmpeg_libtsrtrip_la_SOURCES = tools/ffmpeg/catalog.c \
	tools/ffmpeg/catalog.h tools/ffmpeg/pool.c tools/ffmpeg/pool.h \
	tools/ffmpeg/roundtrip.c tools/ffmpeg/roundtrip.h
tools_ffmpeg_libtsrtrip_la_LIBADD = tools/ffmpeg/libtsrplug.la

ladspa_LTLIBRARIES = tools/ffmpeg/ladspa/tessera.la
tools_ffmpeg_ladspa_tessera_la_SOURCES = tools/ffmpeg/ladspa.c
tools_ffmpeg_ladspa_tessera_la_LDFLAGS = $(plugin_ldflags) \
	-export-symbols-regex '^ladspa_descriptor$$'
tools_ffmpeg_ladspa_tessera_la_LIBADD = tools/ffmpeg/libtsrtrip.la libtessera.la

lv2bundledir = $(lv2dir)/tessera.lv2
lv2bundle_LTLIBRARIES = tools/ffmpeg/lv2/tessera.la
tools_ffmpeg_lv2_tessera_la_SOURCES = tools/ffmpeg/lv2.c
tools_ffmpeg_lv2_tessera_la_LDFLAGS = $(plugin_ldflags) \
	-export-symbols-regex '^lv2_descriptor$$'
tools_ffmpeg_lv2_tessera_la_LIBADD = tools/ffmpeg/libtsrtrip.la libtessera.la
dist_lv2bundle_DATA = tools/ffmpeg/tessera.lv2/manifest.ttl \
	tools/ffmpeg/tessera.lv2/tessera.ttl

# Hosts are pointed at these: FREI0R_PATH=build/frei0r-1, LADSPA_PATH=build/ladspa,
# LV2_PATH=build/lv2.
noinst_DATA += frei0r-1/tessera.so ladspa/tessera.so lv2/tessera.lv2/tessera.so
CLEANFILES += frei0r-1/tessera.so ladspa/tessera.so lv2/tessera.lv2/tessera.so \
	lv2/tessera.lv2/manifest.ttl lv2/tessera.lv2/tessera.ttl
ladspa/tessera.so: tools/ffmpeg/ladspa/tessera.la
	@$(MKDIR_P) $(@D)
	$(AM_V_at)ln -sf ../tools/ffmpeg/ladspa/.libs/tessera.so $@
frei0r-1/tessera.so: tools/ffmpeg/frei0r/tessera.la
	@$(MKDIR_P) $(@D)
	$(AM_V_at)ln -sf ../tools/ffmpeg/frei0r/.libs/tessera.so $@
lv2/tessera.lv2/tessera.so: tools/ffmpeg/lv2/tessera.la $(dist_lv2bundle_DATA)
	@$(MKDIR_P) $(@D)
	$(AM_V_at)for f in manifest tessera; do \
	  cp -f $(srcdir)/tools/ffmpeg/tessera.lv2/$$f.ttl $(@D)/ && \
	  chmod u+w $(@D)/$$f.ttl || exit 1; done
	$(AM_V_at)ln -sf ../../tools/ffmpeg/lv2/.libs/tessera.so $@
endif

# The codec for those who build FFmpeg: not built here.  check-native fetches
# FFmpeg and takes minutes, so check leaves it out.
EXTRA_DIST += tools/ffmpeg/native/README.md tools/ffmpeg/native/apply.sh \
	tools/ffmpeg/native/build.sh tools/ffmpeg/native/edges.c \
	tools/ffmpeg/native/libtessera.c tools/ffmpeg/native/libtessera.h \
	tools/ffmpeg/native/libtessera_audiodec.c \
	tools/ffmpeg/native/libtessera_audioenc.c \
	tools/ffmpeg/native/libtessera_videodec.c \
	tools/ffmpeg/native/libtessera_videoenc.c tools/ffmpeg/native/test.sh
NATIVE_FLAGS =
.PHONY: check-native
check-native: all
	$(SHELL) $(srcdir)/tools/ffmpeg/native/build.sh --dir native --tessera . \
	  $(NATIVE_FLAGS)
