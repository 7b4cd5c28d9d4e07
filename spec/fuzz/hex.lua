-- SPDX-License-Identifier: MIT
--
-- hex.lua: files of inputs: one a line, in hexadecimal; what follows a blank or # is a remark.

local hex = {}

function hex.encode(s) return (s:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end

function hex.decode(s) return (s:gsub("%x%x", function(two) return string.char(tonumber(two, 16)) end)) end

--- Adds the inputs of the file to the list.
function hex.read(path, list)
  for line in assert(io.lines(path)) do
    local digits = line:match "^%x+"
    if digits then list[#list + 1] = hex.decode(digits) end
  end
  return list
end

return hex
