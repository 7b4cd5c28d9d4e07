/* SPDX-License-Identifier: MIT
 *
 * codec_composite.h: composite types and anonymous records.
 */
#ifndef FASTPG_CODEC_COMPOSITE_H
#define FASTPG_CODEC_COMPOSITE_H

#include "codec.h"

fpg_decode_fn fpg_composite_decode_binary, fpg_composite_decode_text;
fpg_encode_fn fpg_composite_encode, fpg_composite_encode_text;

#endif
