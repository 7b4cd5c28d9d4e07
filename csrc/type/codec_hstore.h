/* SPDX-License-Identifier: MIT
 *
 * codec_hstore.h: the codec of the extension type hstore.
 */
#ifndef FASTPG_CODEC_HSTORE_H
#define FASTPG_CODEC_HSTORE_H

#include "codec.h"

fpg_decode_fn fpg_hstore_decode_binary, fpg_hstore_decode_text;
fpg_encode_fn fpg_hstore_encode, fpg_hstore_encode_text;

#endif
