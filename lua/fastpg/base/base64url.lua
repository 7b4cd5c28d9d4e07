-- SPDX-License-Identifier: MIT
--
-- base64url: bytes as text that may stand in a URL (RFC 4648, section 5, without padding).

local base64url = {}

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

local letters, values = {}, {}
for i = 0, 63 do
  local letter = ALPHABET:sub(i + 1, i + 1)
  letters[i], values[letter] = letter, i
end

--- The text of these bytes.
---@param bytes string
---@return string
function base64url.encode(bytes)
  local out = {}
  for i = 1, #bytes, 3 do
    local a, b, c = bytes:byte(i, i + 2)
    local n = a * 65536 + (b or 0) * 256 + (c or 0)
    local four = letters[math.floor(n / 262144)] .. letters[math.floor(n / 4096) % 64] .. letters[math.floor(n / 64) % 64]
      .. letters[n % 64]
    out[#out + 1] = four:sub(1, c and 4 or b and 3 or 2)
  end
  return table.concat(out)
end

--- The bytes of a text; nil where it is none of encode's.
---@param text string
---@return string?
function base64url.decode(text)
  if #text % 4 == 1 or text:find "[^%w%-_]" then return nil end
  local out = {}
  for i = 1, #text, 4 do
    local part = text:sub(i, i + 3)
    local n = 0
    for k = 1, 4 do n = n * 64 + (values[part:sub(k, k)] or 0) end
    local bytes = string.char(math.floor(n / 65536), math.floor(n / 256) % 256, n % 256)
    out[#out + 1] = bytes:sub(1, #part - 1)
  end
  return table.concat(out)
end

return base64url
