/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_MEDIA_PACKETS_AV_H
#define TOOLS_MEDIA_PACKETS_AV_H

/** Streams of video carry this key with a text of this form, since MOV and NUT
 *  make time bases finer: the unit of time that there was.  MOV has no other
 *  text of a stream, and both survive copying. */
#define PACKETS_AV_KEY "handler_name"
#define PACKETS_AV_TEXT "Tessera video, unit %d/%d s"
#endif
