/* SPDX-License-Identifier: MIT
 *
 * codec_search.h: the text of tsvector and tsquery.
 */
#ifndef FASTPG_CODEC_SEARCH_H
#define FASTPG_CODEC_SEARCH_H

#include "codec.h"

fpg_decode_fn fpg_tsvector_decode_binary;
fpg_decode_fn fpg_tsquery_decode_binary;

#endif
