-- SPDX-License-Identifier: MIT
--
-- run.lua: one target for $FUZZ_SECONDS; tools/fuzz.sh sets the paths and starts it.
--
--   run.lua TARGET               fuzzes, or runs the inputs of $FUZZ_INPUT and no others
--   run.lua --save TARGET CODE   after a crash: the input it had, as a file like those of the seeds

local hex = require "spec.fuzz.hex"

local function current_of(target) return ("build/fuzz/%s.current"):format(target) end

local function save(target, code)
  local f = io.open(current_of(target), "rb")
  if not f then return end
  local all = f:read "*a"
  f:close()
  local b = { all:byte(1, 8) }
  local len = (b[1] or 0) + (b[2] or 0) * 256
  os.execute "mkdir -p build/fuzz/findings"
  local path = ("build/fuzz/findings/%s-%d.hex"):format(target, os.time())
  local out = assert(io.open(path, "w"))
  out:write(hex.encode(all:sub(9, 8 + len)), "\n")
  out:close()
  print(("%s: exit code %s (142: it does not end; 23: leaks, and this is only the last input)"):format(target, code))
  print(("  the input: %s\n  once more: make fuzz FUZZ_INPUT=%s"):format(path, path))
end

local function seeds_of(target)
  local list = {}
  local pipe = assert(io.popen(("ls spec/fuzz/seeds/%s/*.hex"):format(target)))
  for path in pipe:lines() do hex.read(path, list) end
  pipe:close()
  return list
end

local function main(name)
  local target = assert(require("spec.fuzz.targets")[name], "no such target: " .. name)
  local open = assert(package.loadlib("build/fuzz/fastpg/core.so", "luaopen_fuzz"))
  local input = os.getenv "FUZZ_INPUT"
  local only = input and input ~= ""
  local executions, kept, found = open().run(target.run, only and hex.read(input, {}) or seeds_of(name), {
    seconds = only and 0 or tonumber(os.getenv "FUZZ_SECONDS") or 60,
    keep = target.keep or 0,
    seed = tonumber(os.getenv "FUZZ_SEED") or 1,
    current = current_of(name),
  })
  print(("fuzz %-10s %9d executions, %d inputs kept"):format(name, executions, kept))
  if found then
    print(("%s: %s"):format(name, tostring(found)))
    os.exit(1, true)
  end
  os.remove(current_of(name))
end

if arg[1] == "--save" then save(arg[2], arg[3]) else main(arg[1]) end
