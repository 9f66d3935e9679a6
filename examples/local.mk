# SPDX-License-Identifier: BSD-2-Clause
# Short programs that show the library; built and run by make check only.
EXTRA_DIST += examples/README.md
EXAMPLES = examples/encode_picture$(EXEEXT)
EXAMPLES += examples/decode_picture$(EXEEXT)
EXAMPLES += examples/stream_audio$(EXEEXT)
EXAMPLES += examples/tokens_npy$(EXEEXT)
EXAMPLES += examples/kv_push_pull$(EXEEXT)
EXTRA_PROGRAMS += examples/encode_picture
EXTRA_PROGRAMS += examples/decode_picture
EXTRA_PROGRAMS += examples/stream_audio
EXTRA_PROGRAMS += examples/tokens_npy
EXTRA_PROGRAMS += examples/kv_push_pull
CLEANFILES += $(EXAMPLES)
examples_encode_picture_LDADD = libtessera.la
examples_decode_picture_LDADD = libtessera.la
examples_stream_audio_LDADD = libtessera.la
examples_tokens_npy_LDADD = libtessera.la
examples_kv_push_pull_LDADD = libtessera-net.la libtessera.la -lm

EXTRA_DIST += tests/test_examples.sh
check_SCRIPTS += tests/test_examples.sh
tests/test_examples.log: $(EXAMPLES) tessera$(EXEEXT)
