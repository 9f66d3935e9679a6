/* SPDX-License-Identifier: BSD-2-Clause */
/* Zip archives in memory, read: stored and deflated members, zip64.  The
 * format is PKWARE's APPNOTE.TXT 6.3; what the central directory says is
 * compared with the local headers. */
#ifndef TSR_LIB_ZIP_H
#define TSR_LIB_ZIP_H
#include "lib/core.h"

typedef struct tsri_zip tsri_zip;

typedef struct tsri_zip_member {
    const char *name;           /* as long as the archive is open */
    uint64_t at;                /* of its local header in the file */
    uint64_t data, packed;      /* where its bytes lie, and how many */
    uint64_t bytes;             /* of its contents */
    uint32_t crc;
    bool deflated, checked;
} tsri_zip_member;

/**
 * Reads the directory of an archive.
 *
 * file, size  borrowed while it is open
 * what        the file's name for messages, borrowed
 *
 * Refused: names twice, with a 0 byte or over 1000 bytes; members that overlap
 * one another or the directory; encryption; other methods; a member that is
 * deflated to less than a hundredth and has over 16 MiB, or an archive that
 * grows over twentyfold to more than 32 MiB (bombs); more than 2^20 members.
 *
 * Returns TSR_OK; TSR_E_FORMAT no zip; TSR_E_TRUNCATED its end is missing;
 * TSR_E_CORRUPT; TSR_E_UNSUPPORTED; TSR_E_NOMEM.  Cost: the directory's size.
 */
tsr_error tsri_zip_open(tsri_zip **zip, tsr_context *ctx, const uint8_t *file,
                        size_t size, const char *what);
/** NULL and *NULL are allowed. */
void tsri_zip_close(tsri_zip **zip);

size_t tsri_zip_count(const tsri_zip *zip);

/** Member i in order of names (bytewise), i < count. */
const tsri_zip_member *tsri_zip_at(const tsri_zip *zip, size_t i);

/** NULL: no such member. */
const tsri_zip_member *tsri_zip_find(const tsri_zip *zip, const char *name);

/**
 * The contents of a member; its CRC is compared when it is first read.
 *
 * data  out: stored members lie in the file; deflated ones in one buffer of the
 *       archive, until the next deflated one is read
 *
 * Returns TSR_OK; TSR_E_CHECKSUM; TSR_E_CORRUPT; TSR_E_NOMEM.
 */
tsr_error tsri_zip_read(tsri_zip *zip, const tsri_zip_member *member,
                        const uint8_t **data);
#endif
