-- SPDX-License-Identifier: MIT
--
-- A command for Neovim: :Rows select … shows the rows in a new buffer when they have come; the editor
-- goes on meanwhile.
--
--   eval "$(make env LUA=luajit)"; PGDATABASE=test nvim +'luafile examples/neovim/rows.lua'

local fastpg = require "fastpg"

fastpg.set_loop "luv" -- Neovim's own loop
fastpg.on_error = vim.schedule_wrap(function(err) vim.notify(tostring(err), vim.log.levels.ERROR) end)
local db = fastpg.create_pool({}, { max_size = 2 })

local function show(name, text)
  vim.cmd "new"
  vim.bo.buftype, vim.bo.bufhidden = "nofile", "wipe"
  vim.api.nvim_buf_set_name(0, name)
  vim.api.nvim_buf_set_lines(0, 0, -1, false, vim.split(text, "\n"))
end

local count = 0

-- In a task most of the editor's API is forbidden, as in all of the loop's callbacks: vim.schedule.
vim.api.nvim_create_user_command("Rows", function(command)
  fastpg.spawn(function()
    local rows, err = fastpg.try(db.q, db, command.args)
    local text = tostring(rows or err)
    vim.schedule(function()
      count = count + 1
      show("rows " .. count, text)
    end)
  end)
end, { nargs = "+" })

vim.api.nvim_create_autocmd("VimLeavePre", { callback = function() db:close() end })
