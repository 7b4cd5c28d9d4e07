-- SPDX-License-Identifier: MIT
--
-- run.lua: busted over spec/ with our report; tools/test.sh sets the paths and starts it.
--
-- busted forgets, after each file, the modules that file loaded. fastpg is loaded before, so that
-- all files share it, as the parts of one program do.

arg = { [0] = "spec", "--output=spec/support/report.lua", "--pattern=_spec%.lua$" }
local filter = os.getenv "FILTER"
if filter and filter ~= "" then arg[#arg + 1] = "--filter=" .. filter end
local spec = os.getenv "SPEC"
for path in (spec and spec ~= "" and spec or "spec"):gmatch "%S+" do arg[#arg + 1] = path end

pcall(require, "fastpg")
require "spec.support.pg"

-- The loops, too, are one for all files (a second luv would be another loop), but only those files that ask
-- for one have it loaded: that a loop is loaded matters to calls in coroutines.
local here = {}
for name in pairs(package.loaded) do here[name] = true end
for _, name in ipairs{ "luv", "cqueues", "cqueues.condition", "copas" } do pcall(require, name) end
for _, name in ipairs{ "luv", "cqueues", "copas" } do pcall(require, "fastpg.host.wait." .. name) end
for name, module in pairs(package.loaded) do
  if not here[name] then
    package.preload[name] = function() return module end
    package.loaded[name] = nil
  end
end

require "busted.runner"{ standalone = false }
