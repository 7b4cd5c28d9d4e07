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

require "busted.runner"{ standalone = false }
