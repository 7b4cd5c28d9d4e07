/* SPDX-License-Identifier: MIT
 *
 * codec_slice.h: values that take long to read, in slices: where a host must not be held up others have a turn between two.
 *
 * The values are read beforehand, one after the other (csrc/pg/heavy.c), and kept by where their bytes are; what reads the
 * rows then finds them ready.
 */
#ifndef FASTPG_CODEC_SLICE_H
#define FASTPG_CODEC_SLICE_H

#include "codec.h"

/* Whether values of the type can be read so, when they come in that format. */
int fpg_is_sliced(const fpg_type *type, int format);

/* Pushes what reads a value of such a type; its bytes must stay where they are. */
void fpg_slice_begin(lua_State *L, const fpg_type *type, int format, const char *p, size_t len);

/* Reads on until that time of the clock, with what is at idx: true when it is at the end, and the value pushed. */
int fpg_slice_more(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, double ends);

#endif
