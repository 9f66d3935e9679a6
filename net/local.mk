# SPDX-License-Identifier: BSD-2-Clause
# Stores, and caches that stream to and from them: a library of its own, so that
# libtessera needs no network.  It sees the public headers only.
lib_LTLIBRARIES += libtessera-net.la
# As with libtessera: the tests reach the hidden symbols of the static parts.
noinst_LTLIBRARIES += libtsrnet.la
libtsrnet_la_CPPFLAGS = $(AM_CPPFLAGS) -D_XOPEN_SOURCE=700 $(CURL_CFLAGS) \
	$(HIREDIS_CFLAGS)
libtsrnet_la_LIBADD = libtessera.la $(CURL_LIBS) $(HIREDIS_LIBS)
noinst_HEADERS += net/settings.h
noinst_HEADERS += net/store_impl.h
libtsrnet_la_SOURCES = net/settings.c
libtsrnet_la_SOURCES += net/store.c
libtsrnet_la_SOURCES += net/store_dir.c net/store_dir_room.c net/store_dir.h
if TSR_CURL
libtsrnet_la_SOURCES += net/curl.c
libtsrnet_la_SOURCES += net/curl.h
libtsrnet_la_SOURCES += net/curl_object.c
libtsrnet_la_SOURCES += net/store_http.c
libtsrnet_la_SOURCES += net/store_s3.c
libtsrnet_la_SOURCES += net/xml.c
libtsrnet_la_SOURCES += net/xml.h
else
libtsrnet_la_SOURCES += net/store_http_none.c
endif
if TSR_HIREDIS
libtsrnet_la_SOURCES += net/redis_cluster.c
libtsrnet_la_SOURCES += net/redis_link.c net/redis_link.h
libtsrnet_la_SOURCES += net/redis_url.c
libtsrnet_la_SOURCES += net/store_redis.c net/store_redis.h
else
libtsrnet_la_SOURCES += net/store_redis_none.c
endif
pkginclude_HEADERS += include/tessera/store.h
# The controller of streamed caches.
noinst_HEADERS += net/control_impl.h
libtsrnet_la_SOURCES += net/control.c net/control_policy.c net/control_rate.c
libtsrnet_la_LIBADD += -lm
pkginclude_HEADERS += include/tessera/kv_control.h
# Jobs that push and pull.
noinst_HEADERS += net/pull.h net/pull_fetch.h net/stream.h
libtsrnet_la_SOURCES += net/stream.c net/stream_context.c net/stored.c
libtsrnet_la_SOURCES += net/push.c
libtsrnet_la_SOURCES += net/pull.c net/pull_decode.c net/pull_fetch.c
libtsrnet_la_SOURCES += net/pull_take.c
pkginclude_HEADERS += include/tessera/kv_stream.h

libtessera_net_la_SOURCES =
libtessera_net_la_LIBADD = libtsrnet.la
libtessera_net_la_LDFLAGS = -version-info $(TSR_LT_VERSION) -no-undefined \
	-Wl,-z,defs -export-symbols-regex '^tsr_'

pkgconfig_DATA += tessera-net.pc
