/* STUB */
#include "codec.h"
#define STUB(x) fpg_decode_fn fpg_##x##_decode_binary, fpg_##x##_decode_text; fpg_encode_fn fpg_##x##_encode, fpg_##x##_encode_text;
STUB(numeric) STUB(date) STUB(time) STUB(timetz) STUB(timestamp) STUB(timestamptz) STUB(interval)
#undef STUB
