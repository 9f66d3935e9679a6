/* SPDX-License-Identifier: BSD-2-Clause */
#include <tessera/error.h>

const char *tsr_error_string(tsr_error error)
{
    switch (error) {
    case TSR_OK: return "success";
    case TSR_E_ARG: return "invalid argument";
    case TSR_E_NOMEM: return "out of memory";
    case TSR_E_EOF: return "end of data";
    case TSR_E_LIMIT: return "over the configured limit";
    case TSR_E_CORRUPT: return "corrupt data";
    case TSR_E_UNSUPPORTED: return "not supported";
    case TSR_E_VERSION: return "made by a newer major version";
    case TSR_E_CHECKSUM: return "checksum mismatch";
    case TSR_E_TRUNCATED: return "truncated data";
    case TSR_E_FORMAT: return "not a file of the expected format";
    case TSR_E_MODEL: return "model missing or not the one needed";
    case TSR_E_SHAPE: return "tensor of another type or shape";
    case TSR_E_IO: return "input/output error";
    case TSR_E_MISSING: return "not there";
    case TSR_E_DENIED: return "access denied";
    case TSR_E_BACKEND: return "compute backend failed";
    case TSR_E_CANCELED: return "canceled";
    case TSR_E_INTERNAL: return "internal error";
    }
    return "unknown error";
}
