-- SPDX-License-Identifier: MIT
std = "max"
max_line_length = 120
self = false
exclude_files = { "build", ".git" }
files["spec"] = { std = "max+busted" }
files["spec/support/run.lua"] = { globals = { "arg" } }
