/* SPDX-License-Identifier: MIT
 *
 * codec_array.h: arrays, as nested lists; fastpg.null is NULL in them.
 */
#ifndef FASTPG_CODEC_ARRAY_H
#define FASTPG_CODEC_ARRAY_H

#include "codec.h"

fpg_decode_fn fpg_array_decode_binary, fpg_array_decode_text;
fpg_encode_fn fpg_array_encode, fpg_array_encode_text;

/* What is between the elements in the text of an array of that type. */
char fpg_array_delimiter(const fpg_type *type);

#endif
