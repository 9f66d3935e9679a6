#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Makes configure from configure.ac; needed in a git checkout only.
cd "$(dirname "$0")" && exec autoreconf -fi
