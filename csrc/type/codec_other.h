/* SPDX-License-Identifier: MIT
 *
 * codec_other.h: values of types that no row knows: the server's text both ways.
 */
#ifndef FASTPG_CODEC_OTHER_H
#define FASTPG_CODEC_OTHER_H

#include "codec.h"

/* What an oid that no row knows is read and written as. */
extern const fpg_type fpg_type_other;

/* A string, a number, a value of fastpg, a boolean in the server's words, a list as an array. */
fpg_encode_fn fpg_any_encode;

#endif
