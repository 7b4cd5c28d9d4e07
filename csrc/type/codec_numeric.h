/* SPDX-License-Identifier: MIT
 *
 * codec_numeric.h: numeric, as fastpg.numeric.
 */
#ifndef FASTPG_CODEC_NUMERIC_H
#define FASTPG_CODEC_NUMERIC_H

#include "codec.h"

fpg_decode_fn fpg_numeric_decode_binary, fpg_numeric_decode_text;
fpg_encode_fn fpg_numeric_encode, fpg_numeric_encode_text;

#endif
