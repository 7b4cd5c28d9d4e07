/* SPDX-License-Identifier: MIT
 *
 * codec_range.h: codecs of ranges and multiranges.
 */
#ifndef FASTPG_CODEC_RANGE_H
#define FASTPG_CODEC_RANGE_H

#include "codec.h"

fpg_decode_fn fpg_range_decode_binary, fpg_range_decode_text;
fpg_decode_fn fpg_multirange_decode_binary, fpg_multirange_decode_text;
fpg_encode_fn fpg_range_encode, fpg_range_encode_text;
fpg_encode_fn fpg_multirange_encode, fpg_multirange_encode_text;

#endif
