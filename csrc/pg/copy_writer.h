/* SPDX-License-Identifier: MIT
 *
 * copy_writer.h: turns records into the bytes of one COPY … FROM STDIN.
 */
#ifndef FASTPG_COPY_WRITER_H
#define FASTPG_COPY_WRITER_H

#include "buffer.h"

enum { FPG_COPY_PIECE = 64 * 1024 }; /* bytes handed on at once */

/* What the writer at idx has written and nobody has taken yet: whoever takes it empties it. */
fpg_buf *fpg_copy_written(lua_State *L, int idx);

#endif
