-- SPDX-License-Identifier: MIT
std = "max"
max_line_length = 132
self = false
exclude_files = { "build", ".git" }
files["spec"] = { std = "max+busted", max_line_length = false } -- tables of cases
files["spec/support/run.lua"] = { globals = { "arg" } }
files["examples/nginx"] = { std = "max+ngx_lua" }
files["examples/love"] = { std = "max+love" }
files["examples/neovim"] = { globals = { "vim" } }
